/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pod's volumes ask of a node: VolumeRestrictions, NodeVolumeLimits, VolumeBinding and VolumeZone.
 * Read once a pod, asked once a node. Pure: claims, volumes and classes come from a snapshot, and from what
 * was promised to pods whose binding is on its way (promises).
 */
#pragma once

#include "scheduler/decide.h"

/* ---- promises: decided and not yet to be seen in the snapshot ----------------------------------- */

struct volume_promises {
    struct map volumes; /* name -> uid of the claim that gets it (malloc'd) */
    struct map claims;  /* uid -> name of the node it shall be made on (malloc'd) */
};
void volume_promises_done(struct volume_promises *p);

/* What has to be written so that the pod can go to a node. */
struct volume_plan {
    struct volume_bind {
        const struct object *claim, *volume; /* volume NULL: to be made on the node */
    } * list;
    size_t n;
};
void volume_promise(struct volume_promises *p, const struct volume_plan *plan, struct str node);
void volume_unpromise(struct volume_promises *p, const struct volume_plan *plan);

/* ---- deciding ----------------------------------------------------------------------------------- */

struct volumes;
/* NULL: the pod has no volumes that matter here. */
struct volumes *volumes_new(const struct world *w, struct needs *pod, struct arena *a);
/* Why the pod can go nowhere; STR_NULL: it depends on the node. */
struct str volumes_refusal(const struct volumes *v);
/* Why it cannot go to the node: the at-th reason; STR_NULL: none (more). */
struct str volumes_filter(const struct volumes *v, int node, size_t at, bool *ret_resolvable);
/* 0 to 100: nodes where the volumes leave more room over. False: the pod's volumes do not tell nodes apart.
 */
bool volumes_score(const struct volumes *v, int node, int64_t *ret);
/* For a node that the filter let pass. */
void volumes_plan(const struct volumes *v, int node, struct arena *a, struct volume_plan *ret);
/* The plan for a pod that was given a node. */
void volumes_plan_for(const struct world *w, struct needs *pod, int node, struct arena *a,
                      struct volume_plan *ret);
