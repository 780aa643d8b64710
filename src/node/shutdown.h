/* SPDX-License-Identifier: Apache-2.0 */
/* The end of the node (KEP-2000, KEP-2712): Pods end by priority, the least important first. Pure part. */
#pragma once

#include "node/pod.h"

struct shutdown_group {
    int64_t priority, seconds; /* Pods from this priority on have so long */
};

/* Sorted by priority. settings: "priority=seconds", NULL-terminated. Without any: two groups from the whole time and the
 * critical Pods' part of it (ns). In the arena; *ret_n 0: no graceful shutdown was asked for. */
const struct shutdown_group *shutdown_groups(struct arena *a, const char *const *settings, int64_t whole, int64_t critical,
                                             size_t *ret_n);
/* Which group a Pod of that priority belongs to: the highest that is not above it; below all, the lowest. */
size_t shutdown_group_of(const struct shutdown_group *g, size_t n, int64_t priority);
