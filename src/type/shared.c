/* SPDX-License-Identifier: Apache-2.0 */
#include "type/shared.h"

#include <pthread.h>

struct text {
    struct text *next;
    uint64_t hash;
    uint32_t refs, n;
    char bytes[];
};

static struct {
    pthread_mutex_t lock;
    struct text **slots; /* a power of two of them */
    size_t n_slots, n;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct text **slot_of(uint64_t hash)
{
    return &all.slots[hash & (all.n_slots - 1)];
}

/* At most as many texts as slots. */
static void grow(void)
{
    struct text **old = all.slots;
    size_t n_old = all.n_slots;
    all.n_slots = MAX(2 * n_old, (size_t)256);
    all.slots = xcalloc(all.n_slots, sizeof(struct text *));
    for (size_t i = 0; i < n_old; i++)
        for (struct text *t = old[i], *next; t; t = next) {
            struct text **to = slot_of(t->hash);
            next = t->next;
            t->next = *to;
            *to = t;
        }
    free(old);
}

static struct text *make(struct str s, uint64_t hash)
{
    if (all.n == all.n_slots)
        grow();
    struct text *t = xmalloc(sizeof(*t) + s.n + 1), **to = slot_of(hash);
    *t = (struct text){.next = *to, .hash = hash, .n = (uint32_t)s.n};
    memcpy(t->bytes, s.p, s.n);
    t->bytes[s.n] = 0;
    *to = t;
    all.n++;
    return t;
}

const char *shared_text(struct str s)
{
    uint64_t hash = str_hash(s);
    pthread_mutex_lock(&all.lock);
    struct text *t = all.n_slots ? *slot_of(hash) : NULL;
    while (t && !(t->hash == hash && str_eq(str_n(t->bytes, t->n), s)))
        t = t->next;
    if (!t)
        t = make(s, hash);
    t->refs++;
    pthread_mutex_unlock(&all.lock);
    return t->bytes;
}

void shared_text_unref(const char *text)
{
    struct text *t = (struct text *)(void *)((char *)(uintptr_t)text - offsetof(struct text, bytes));
    pthread_mutex_lock(&all.lock);
    if (--t->refs == 0) {
        struct text **at = slot_of(t->hash);
        while (*at != t)
            at = &(*at)->next;
        *at = t->next;
        all.n--;
        free(t);
    }
    if (!all.n) { /* the last one takes the table with it */
        free(all.slots);
        all.slots = NULL;
        all.n_slots = 0;
    }
    pthread_mutex_unlock(&all.lock);
}

size_t shared_texts(void)
{
    pthread_mutex_lock(&all.lock);
    size_t n = all.n;
    pthread_mutex_unlock(&all.lock);
    return n;
}
