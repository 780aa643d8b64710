/* SPDX-License-Identifier: Apache-2.0 */
/* Cells that no column expression can say. */
#pragma once

#include "type/print.h"

struct cell_in {
    struct arena *arena;
    const struct val *v;
    struct wall now;
};

typedef struct str cell_fn(const struct cell_in *in);

struct cell_rule {
    uint16_t resource; /* RES_xxx; 0 ends a table */
    const char *column;
    cell_fn *fn;
    bool scalar; /* the text is a number or a boolean and shown as one */
};

extern const struct cell_rule cells_core[], cells_pod[], cells_other[];

/* "5m", or "<unknown>" for no time. */
struct str age_text(struct arena *a, const struct val *time, struct wall now);
struct str print_or(struct str s, const char *other); /* other when s is empty */
/* Joined with ",", the first `max` and how many more there are. */
struct str join_some(struct arena *a, const struct str *parts, size_t n, size_t max, size_t count,
                     const char *between);
