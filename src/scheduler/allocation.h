/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the allocator: what the search (allocate.c) and the making of results (allocation.c) share. */
#pragma once

#include "scheduler/devices.h"

struct candidate {
    const struct device *device;
    const struct node_pool *pool;
};

/* One way to meet a request: the only one (exactly), or one of firstAvailable. */
struct request_way {
    const struct val *v, *class;
    struct str name, full_name; /* "r"; "r/sub" for one of several */
    bool all, admin;
    int64_t count;
    int8_t *matches;               /* by device: 0 not asked yet, 1 yes, -1 no; the same on all nodes */
    struct candidate *all_devices; /* on the node that is looked at */
};

struct request_search {
    struct str name;
    bool prioritized;
    struct request_way *ways;
    size_t n_ways;
};

struct device_constraint {
    const struct val *requests;
    struct str attribute;
    bool distinct;
    const struct val *values[ALLOCATION_MAX_DEVICES];
    size_t n;
};

struct claim_search {
    const struct val *v;
    struct str name; /* "ns/name" */
    struct request_search *requests;
    struct device_constraint *constraints;
    size_t n_requests, n_constraints;
    size_t n_devices; /* chosen so far */
};

struct allocator {
    struct arena *a;
    struct inventory *inv;
    const struct tree *classes;
    const struct device_judge *judge;
    struct claim_search *claims;
    size_t n_claims;
    size_t steps; /* on all nodes so far */
};

/* A device that was chosen, or (device NULL) the way of a prioritized request. */
struct frame {
    size_t claim, request, way;
    size_t number; /* of the device in its request */
    size_t next;   /* where to look for another */
    const struct device *device;
    const struct node_pool *pool;
    bool counters; /* took some */
    bool all_full; /* every way so far would have needed too many devices */
};

struct position {
    size_t claim, request, way, device, from;
    bool chosen; /* the way */
};

struct device_use {
    uint32_t takers, shares;
    struct device_amounts used;
};

struct pool_counters {
    const struct device_pool *pool;
    struct device_amounts left; /* "set/counter"; may be below zero from the start */
};

struct search {
    struct allocator *al;
    struct arena *a, scratch; /* scratch: of one step */
    struct str node;
    const struct val *labels;
    struct node_pools pools;
    struct candidate *candidates;
    size_t n_candidates;
    struct device_use *uses; /* by device */
    struct pool_counters *counters;
    size_t n_counters;
    struct frame *frames;
    size_t n_frames, cap_frames, steps;
};

struct str counter_name(struct arena *a, struct str set, struct str counter);
/* sign -1: the device's counters are taken from what is left; 1: given back. */
void counters_take(struct arena *a, struct device_amounts *left, const struct val *device, int sign);

/* The AllocationResult of a claim whose devices were found. */
const struct val *allocation_result(const struct search *s, size_t claim, uint64_t *random, struct arena *a);
