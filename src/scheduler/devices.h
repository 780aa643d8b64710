/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices (resource.k8s.io, KEP-4381): what there is, what is taken, and which of them meet claims on a node. Pure:
 * slices, classes and claims in, AllocationResults out.
 *
 * The search is upstream's: claims, requests and the devices of a request one after the other, first fit, backtracking
 * over devices in the order of pools (driver, pool), slices (name) and devices; the first full solution wins, so that
 * drivers decide by their names which devices go first. It looks at no more than ALLOCATE_MAX_STEPS devices a node
 * and ALLOCATE_MAX_ALL a pod: everything else of the process waits meanwhile.
 */
#pragma once

#include "base/err.h"
#include "base/map.h"
#include "type/tree.h"
#include "wire/quantity.h"

enum { ALLOCATE_MAX_STEPS = 1 << 18, ALLOCATE_MAX_ALL = 1 << 21, ALLOCATE_MAX_CLAIMS = 256, ALLOCATION_MAX_DEVICES = 32 };

/* ---- what there is -------------------------------------------------------------------------------------- */

/* Amounts by name: few, so a list. */
struct device_amounts {
    struct device_amount {
        struct str name;
        __int128 nano;
    } * items;
    size_t n;
};

struct device {
    const struct val *v;
    struct str name;
    const struct slice *slice;
    size_t index;    /* in the inventory */
    bool multiple;   /* several claims may have it */
    bool taken;      /* a claim has it for itself */
    bool shared;     /* claims have shares of it */
    struct device_amounts used;
};

struct slice {
    const struct val *spec;
    struct str name, driver, node_name;
    const struct val *node_selector;
    bool all_nodes, per_device, has_counters, not_for_us;
    int64_t generation, count; /* count: slices that the pool has in this generation */
    struct device_pool *pool;
    struct device *devices;
    size_t n_devices;
};

struct device_pool {
    struct str driver, name;
    struct slice **slices; /* by name; of all generations */
    size_t n, cap;
};

struct inventory {
    struct arena *a;
    struct device_pool **pools; /* by driver and name */
    size_t n_pools;
    struct map by_id;           /* "driver/pool" -> struct device_pool * */
    struct map by_device;       /* "driver/pool/device" -> struct device *; of the newest generation */
    size_t n_devices;
};

struct inventory *inventory_new(struct arena *a, const struct tree *slices);
void inventory_done(struct inventory *inv);
/* Nothing is taken. */
void inventory_clear(struct inventory *inv);
/* The devices of an AllocationResult are taken; amounts go into the arena. */
void inventory_take(struct inventory *inv, const struct val *allocation, struct arena *a);
const struct device *inventory_find(const struct inventory *inv, struct str driver, struct str pool, struct str device);

/* ---- what a node can reach ------------------------------------------------------------------------------ */

/* The pool as a node sees it. */
struct node_pool {
    const struct device_pool *pool;
    int64_t generation;
    const struct slice **slices; /* those that the node reaches, with devices */
    size_t n;
    bool incomplete; /* being updated: nothing is taken from it */
    bool invalid;    /* its driver published nonsense: likewise */
    bool conditions; /* of devices, to be waited for: comes last */
};

struct node_pools {
    struct node_pool *items;
    size_t n;
};
void node_pools(const struct inventory *inv, struct str node, const struct val *labels, struct arena *a,
                struct node_pools *ret);
/* Does a selection (of a slice or a device: node_name, all_nodes, node_selector) reach the node? */
bool selection_reaches(struct str node_name, bool all_nodes, const struct val *selector, struct str node,
                       const struct val *labels);

/* ---- capacity (KEP-5075) -------------------------------------------------------------------------------- */

enum capacity_fit { CAPACITY_FITS, CAPACITY_SHORT, CAPACITY_NONSENSE };
/* What a request (CapacityRequirements, or NULL) takes of each capacity of the device, beside what is used. On
 * CAPACITY_FITS *ret (may be NULL) has the amounts. */
enum capacity_fit capacity_fit(const struct device *d, const struct val *request, const struct device_amounts *also_used,
                               struct arena *a, struct device_amounts *ret);
void device_amounts_add(struct arena *a, struct device_amounts *to, struct str name, __int128 nano);
const struct device_amount *device_amounts_find(const struct device_amounts *l, struct str name);

/* ---- allocating ----------------------------------------------------------------------------------------- */

/* Who evaluates CEL selectors: 0, or -EINVAL with why it cannot be. */
struct device_judge {
    int (*matches)(void *ctx, struct str expression, struct str driver, const struct val *device, bool *ret,
                   struct err *e);
    void *ctx;
};

struct allocator;
/* For these claims (root values; the order is that of the results). 0, or -EINVAL with what is wrong with them. */
int allocator_new(struct arena *a, struct inventory *inv, const struct tree *classes, const struct device_judge *judge,
                  const struct val *const *claims, size_t n, struct allocator **ret, struct err *e);

enum allocate_outcome {
    ALLOCATE_IMPOSSIBLE = 1, /* not on this node */
    ALLOCATE_INVALID_POOLS,  /* not on this node, and a pool there is invalid */
};
/* ret[i]: AllocationResult of claim i in the arena. Negative with a sentence: nowhere, something is wrong with the
 * claims (-EINVAL), or it takes too long (-ETIME). random: of the identifiers of shares. */
int allocate(struct allocator *al, struct str node, const struct val *node_labels, uint64_t random, struct arena *a,
             const struct val **ret, struct err *e);
