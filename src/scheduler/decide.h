/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a pod goes: upstream's default predicates and scores over the table. Pure: table, pod and a random number in,
 * a node or the reasons out.
 *
 * Predicates run in upstream's order (NodeUnschedulable, NodeName, TaintToleration, NodeAffinity, NodePorts,
 * NodeResourcesFit, the four of volumes.h, PodTopologySpread, InterPodAffinity, DynamicResources) and the first that refuses a node names its reason. Scores and
 * weights are those of the default profile: TaintToleration 3, NodeAffinity 2, DynamicResources 2, PodTopologySpread 2, InterPodAffinity 2,
 * NodeResourcesFit (LeastAllocated) 1, VolumeBinding 1, NodeResourcesBalancedAllocation 1, ImageLocality 1, or what the
 * profile says.
 */
#pragma once

#include "base/time.h"
#include "scheduler/match.h"
#include "scheduler/profile.h"

/* What the decision may look at besides the table. */
struct world {
    struct table *table; /* lifted from and dropped to only by preemption's what-if, and left as it was */
    namespace_labels *namespace_labels;
    /* Selectors of Services, ReplicaSets ... that select the pod, for default spreading; fills at most max. */
    size_t (*default_selectors)(void *ctx, const struct object *pod, struct arena *a, struct selector *ret, size_t max);
    void *ctx;
    const struct profile *profile;          /* NULL: the default profile */
    const struct snapshot *objects;         /* claims, volumes, classes ...; NULL: there are none */
    const struct volume_promises *promises; /* may be NULL */
    const struct claim_promises *claim_promises; /* likewise */
    const struct device_judge *judge;       /* of CEL selectors */
    struct inventory_memory *inventory;     /* what the last decision knew of devices; may be NULL */
    struct wall now;                        /* for what has waited too long */
};

struct reason {
    struct str text;
    size_t n;          /* nodes */
};

struct decision {
    int node;          /* -1: fits nowhere */
    struct str whole;  /* why it can go nowhere at all; nodes were not looked at */
    bool silent;       /* what it waits for is on its way: nobody is told */
    bool failed;       /* deciding itself failed (whole says how): to be tried again soon */
    const struct object *obstacle; /* a claim that may be given up to make it fit (claims_obstacle); NULL: none */
    struct reason reasons[32];
    size_t n_reasons;
    size_t n_resolvable; /* refusing nodes where fewer pods would help */
};

void decide(const struct world *w, struct needs *pod, uint64_t random, struct decision *ret);
/* "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s)." */
struct str decision_message(struct arena *a, const struct decision *d, size_t n_nodes);

/* ---- the parts, for preemption and tests ------------------------------------------------------------------------ */

/* What is computed once a pod before nodes are looked at. */
struct look;
struct look *look_new(const struct world *w, struct needs *pod, struct arena *a);
void look_done(struct look *l);
/* Why the pod can go nowhere at all; STR_NULL: ask about nodes. */
struct str look_refusal(const struct look *l);
/* Why the node refuses the pod: STR_NULL when it takes it. *ret_resolvable: taking pods away might help. *ret_more
 * (may be NULL): a further reason (several resources may be short), to be asked for with at = 1, 2 ... */
struct str look_filter(const struct look *l, int node, size_t at, bool *ret_resolvable);
/* As look_filter with at 0, but heeding those nominated to the node that are as important: it must fit with and without
 * them. For the length of the call they are in the table. */
struct str look_fits(const struct look *l, int node, bool *ret_resolvable);
/* Total score of each node listed. */
void look_score(const struct look *l, const int *nodes, size_t n, int64_t *ret);
