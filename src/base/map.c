/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

void map_done_with(struct map *m, void (*free_value)(void *))
{
    MAP_EACH(m, e)
    {
        if (free_value && e->value)
            free_value(e->value);
        free((char *)e->key.p);
    }
    free(m->entries);
    free(m->index);
    *m = MAP_INIT;
}

void map_done(struct map *m)
{
    map_done_with(m, NULL);
}

/* The slot of the key, or the free slot where it would go. Slots of deleted entries stay taken until a rebuild. */
static size_t map_slot(const struct map *m, struct str key, uint64_t hash)
{
    size_t at = hash & (m->slots - 1);
    for (;; at = (at + 1) & (m->slots - 1)) {
        uint32_t i = m->index[at];
        if (!i)
            return at;
        const struct map_entry *e = &m->entries[i - 1];
        if (e->key.p && e->hash == hash && str_eq(e->key, key))
            return at;
    }
}

static void map_rebuild(struct map *m)
{
    size_t cap = MAX(m->n * 2, (size_t)8), slots = 16;
    while (slots < cap * 2)
        slots *= 2;
    struct map_entry *entries = xcalloc(cap, sizeof(*entries));
    size_t used = 0;
    MAP_EACH(m, e)
    {
        entries[used++] = *e;
    }
    free(m->entries);
    free(m->index);
    m->entries = entries;
    m->used = used;
    m->cap = cap;
    m->slots = slots;
    m->index = xcalloc(slots, sizeof(*m->index));
    for (size_t i = 0; i < used; i++)
        m->index[map_slot(m, entries[i].key, entries[i].hash)] = (uint32_t)i + 1;
}

static struct map_entry *map_find(const struct map *m, struct str key)
{
    if (!m->n)
        return NULL;
    uint32_t i = m->index[map_slot(m, key, str_hash(key))];
    return i ? &m->entries[i - 1] : NULL;
}

void *map_get(const struct map *m, struct str key)
{
    struct map_entry *e = map_find(m, key);
    return e ? e->value : NULL;
}

bool map_has(const struct map *m, struct str key)
{
    return map_find(m, key) != NULL;
}

void *map_put(struct map *m, struct str key, void *value)
{
    struct map_entry *e = map_find(m, key);
    if (e) {
        void *old = e->value;
        e->value = value;
        return old;
    }
    if (m->used == m->cap)
        map_rebuild(m);
    uint64_t hash = str_hash(key);
    size_t slot = map_slot(m, key, hash);
    m->entries[m->used] = (struct map_entry){str_n(str_dup(key), key.n), value, hash};
    m->index[slot] = (uint32_t)++m->used;
    m->n++;
    return NULL;
}

void *map_del(struct map *m, struct str key)
{
    struct map_entry *e = map_find(m, key);
    if (!e)
        return NULL;
    void *value = e->value;
    free((char *)e->key.p);
    e->key = STR_NULL;
    e->value = NULL;
    if (--m->n == 0)
        map_done(m);
    return value;
}
