/* SPDX-License-Identifier: Apache-2.0 */
/* Who goes first when the node runs short. Pure. */
#pragma once

#include "node/pod.h"

struct eviction_candidate {
    const struct val *pod;
    int64_t usage, request; /* bytes */
    void *owner;
};

/* Orders: those that use more than they asked for, then by priority, then by how much more (upstream's order). */
void eviction_rank(struct eviction_candidate *c, size_t n);

/* A threshold "100Mi" or "10%" of a whole; 0 when there is none. */
int64_t eviction_threshold(const char *const *settings, const char *signal, int64_t whole);
