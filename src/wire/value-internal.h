/* SPDX-License-Identifier: Apache-2.0 */
/* What the walkers of this folder know about a value's flags and nobody else does. */
#pragma once

#include "wire/value.h"

enum val_flags {
    VAL_GROWABLE = 1 << 0, /* items has room for a power of two (at least 4) of items or pairs, not just n */
    VAL_ORDERED = 1 << 1,  /* OBJ: members in declared order, none null; MAP: keys ascending, none twice */
};

/* How deep values may be nested where they come from outside. Fibers have small stacks and walkers recurse.
 */
#define WIRE_MAX_DEPTH 128

/* How many struct val one item (LIST), member (OBJ) or pair (MAP) takes. */
static inline unsigned val_stride(const struct val *v)
{
    return v->kind == VAL_MAP ? 2 : 1;
}
static inline bool val_is_container(const struct val *v)
{
    return v->kind >= VAL_LIST;
}
static inline bool val_is_text(const struct val *v)
{
    return v->kind >= VAL_STR && v->kind <= VAL_RAW;
}
static inline struct str val_text(const struct val *v)
{
    return (struct str){v->s, v->n};
}

/* Puts the pairs of a map in the order of their keys and drops all but the last of equal ones. Returns the
 * new number of pairs. Calls twice(arg, key) for each pair dropped when twice is not NULL. */
uint32_t val_sort_pairs(struct val *pairs, uint32_t n, void (*twice)(void *arg, struct str key), void *arg);
