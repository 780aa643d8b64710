/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Profiles (KubeSchedulerConfiguration): pods choose one by spec.schedulerName, and it says which of the
 * default plugins filter and score, with which weights, and the arguments of some. All profiles share queue
 * and table.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "wire/value.h"

/* Those that decide something. In the order in which they filter. */
enum plugin {
    PLUGIN_NODE_UNSCHEDULABLE,
    PLUGIN_NODE_NAME,
    PLUGIN_TAINT_TOLERATION,
    PLUGIN_NODE_AFFINITY,
    PLUGIN_NODE_PORTS,
    PLUGIN_RESOURCES_FIT,
    PLUGIN_VOLUME_RESTRICTIONS,
    PLUGIN_NODE_VOLUME_LIMITS,
    PLUGIN_VOLUME_BINDING,
    PLUGIN_VOLUME_ZONE,
    PLUGIN_TOPOLOGY_SPREAD,
    PLUGIN_POD_AFFINITY,
    PLUGIN_DYNAMIC_RESOURCES,
    PLUGIN_PREEMPTION,
    PLUGIN_BALANCED_ALLOCATION,
    PLUGIN_IMAGE_LOCALITY,
    PLUGINS
};

enum fit_strategy { FIT_LEAST_ALLOCATED, FIT_MOST_ALLOCATED, FIT_BY_SHAPE };

/* A broken line from percent in use to a score of 0 to 100. */
struct shape {
    struct shape_point {
        int64_t percent, score;
    } points[16];
    size_t n;
};
int64_t shape_score(const struct shape *s, int64_t percent);

struct profile {
    const char *name;         /* schedulerName */
    uint32_t filters;         /* bits 1 << PLUGIN_x; PLUGIN_PREEMPTION: may take others' places */
    int64_t weights[PLUGINS]; /* of scores; 0: does not score */
    enum fit_strategy fit;
    struct shape fit_shape, volume_shape;
    int64_t cpu_weight, memory_weight; /* in NodeResourcesFit's score */
    int64_t hard_pod_affinity_weight;  /* of placed pods' required terms in InterPodAffinity's score */
    bool ignore_preferred_of_others;   /* only the pod's own wishes count */
    bool spread_by_list;               /* PodTopologySpread: default_constraints instead of the system's */
    const struct val *default_constraints, *added_affinity; /* LIST; NodeAffinity */
    int64_t bind_timeout_ns;                                /* VolumeBinding */
};
extern const struct profile default_profile;

static inline bool profile_filters(const struct profile *p, enum plugin x)
{
    return p->filters & (1u << x);
}

/* From KubeSchedulerConfiguration.profiles; an empty list gives the default profile. Texts and arrays in the
 * arena, values shared. 0, or -EINVAL with a sentence for what is unknown, and for what is known upstream and
 * not here. */
int profiles_read(struct arena *a, const struct val *list, struct profile **ret, size_t *ret_n,
                  struct err *e);
