/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pod's claims of devices (spec.resourceClaims) ask of a node: upstream's DynamicResources. Read once a pod,
 * asked once a node. Pure: claims, slices and classes come from a snapshot, and from what was promised to pods whose
 * binding is on its way.
 */
#pragma once

#include "scheduler/decide.h"
#include "scheduler/devices.h"

/* ---- promises: decided and not yet to be seen in the snapshot ------------------------------------------- */

struct claim_promises {
    struct map claims; /* uid -> object that holds the claim with its allocation (a reference) */
    uint64_t changes;  /* how many there were */
};
void claim_promises_done(struct claim_promises *p);

/* What has to be written so that the pod can go to a node. */
struct claim_plan {
    struct claim_bind {
        const struct object *claim;
        const struct val *allocation; /* NULL: it has one, and is only to be reserved */
        const struct val *mappings;   /* of a claim for extended resources, which is to be made first; else NULL */
        const struct object *made;    /* that claim, once it is */
    } * list;
    size_t n;
    bool conditions; /* devices have conditions that must come true first */
};
void claim_promise(struct claim_promises *p, const struct claim_plan *plan);
void claim_unpromise(struct claim_promises *p, const struct claim_plan *plan);

/* ---- the inventory, from one decision to the next ---------------------------------------------------------- */

/* It is made anew when slices have changed, and what is taken is counted anew when claims or promises have: with many
 * devices and claims that costs more than a decision. The references keep the trees from being mistaken for later ones. */
struct inventory_memory {
    struct arena arena, taken;
    struct inventory *inv;
    struct tree *slices, *claims;
    uint64_t promises;
    bool counted;
};
void inventory_memory_done(struct inventory_memory *m);

/* ---- deciding -------------------------------------------------------------------------------------------- */

/* Are all its claims there? Otherwise the pod is not even tried, and nobody is told. */
bool claims_made(const struct val *pod);

struct claims;
struct extended;
/* extended: resources of the pod that are to be had as devices, too; may be NULL. NULL: the pod has none of both. */
struct claims *claims_new(const struct world *w, struct needs *pod, const struct extended *extended, struct arena *a);
void claims_done(struct claims *c); /* NULL is fine */
/* Why the pod can go nowhere; STR_NULL: it depends on the node. *ret_silent: it is to be waited for. */
struct str claims_refusal(const struct claims *c, bool *ret_silent);
/* Why it cannot go to the node; *ret_failed: nor to any other, as something is wrong. */
struct str claims_filter(struct claims *c, int node, bool *ret_failed);
/* The better the alternatives that a node has (firstAvailable), the more. False: there are none. */
bool claims_score(const struct claims *c, int node, int64_t *ret);
/* An allocated claim that keeps the pod from all nodes and is nobody else's: to be deallocated (or deleted, when it was
 * made for extended resources). NULL: none. */
const struct object *claims_obstacle(const struct claims *c);
/* For a pod that was given a node. False: there is no plan after all. Claims that are to be made are the caller's to unref. */
bool claims_plan_for(const struct world *w, struct needs *pod, int node, uint64_t random, struct arena *a,
                     struct claim_plan *ret);
