/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash map from byte strings to pointers. Keys are copied and owned by the map; values are the caller's.
 * Iteration is in insertion order (deletions keep the order of the rest), so that runs repeat exactly.
 */
#pragma once

#include "base/str.h"

struct map_entry {
    struct str key; /* NUL-terminated copy owned by the map; key.p is NULL for a deleted slot */
    void *value;
    uint64_t hash;
};

struct map {
    struct map_entry *entries; /* insertion order, with holes */
    uint32_t *index;           /* open addressing; entry number + 1, 0 for free */
    size_t n;                  /* live entries */
    size_t used, cap;          /* entries used (with holes) and allocated */
    size_t slots;              /* size of index, a power of two */
};

#define MAP_INIT ((struct map){0})

void map_done(struct map *m); /* frees keys and tables, not values; usable again */
void map_done_with(struct map *m, void (*free_value)(void *));
void *map_get(const struct map *m, struct str key); /* NULL when absent */
bool map_has(const struct map *m, struct str key);
void *map_put(struct map *m, struct str key, void *value); /* returns the value it replaced, or NULL */
void *map_del(struct map *m, struct str key);              /* returns the value removed, or NULL */

/* e is a `struct map_entry *`; deleting the current entry in the body is allowed, adding is not. */
#define MAP_EACH(m, e)                                                                                       \
    for (struct map_entry *e = (m)->entries; e && e < (m)->entries + (m)->used; e++)                         \
        if (e->key.p)
