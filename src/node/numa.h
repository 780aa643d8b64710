/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which NUMA nodes a container's resources come from (topology manager). Whoever hands out resources says with hints from
 * which sets of nodes they could come; the hints of all are merged into one, and the policy says whether that is good
 * enough. Sets are masks over the machine's nodes in ascending order of their numbers: bit 0 is the first, whatever its
 * number. All pure but for reading the machine.
 */
#pragma once

#include "node/cpuset.h"

enum { NUMA_MOST = 16, MEMORY_KINDS = 5, MEMORY_KIND_NAME = 32 };
typedef uint32_t numa_mask;

struct numa_node {
    int id;
    struct cpuset cpus;
    int64_t memory; /* bytes */
    int64_t huge[MEMORY_KINDS]; /* bytes in pages of machine.kinds[i]; [0] is not used */
    int distance[NUMA_MOST];
};
struct numa_machine {
    struct numa_node nodes[NUMA_MOST];
    size_t n;
    char kinds[MEMORY_KINDS][MEMORY_KIND_NAME]; /* resources: "memory", "hugepages-2Mi" ... */
    size_t n_kinds;
};

struct host;
/* From /sys/devices/system/node; a machine that shows none is one node. -E2BIG: more than NUMA_MOST nodes. */
int numa_read(struct host *h, struct numa_machine *ret, struct err *e);
struct str numa_text(struct arena *a, const struct numa_machine *m, numa_mask nodes); /* their numbers, "0-1" */
static inline numa_mask numa_all(const struct numa_machine *m)
{
    return (numa_mask)((UINT64_C(1) << m->n) - 1);
}
static inline int numa_count(numa_mask m)
{
    return __builtin_popcount(m);
}

/* ---- hints ------------------------------------------------------------------------------------------------ */

struct numa_hint {
    numa_mask nodes; /* 0: any will do */
    bool preferred;
};
/* Of one resource. n 0: it cannot be had. Nobody who has no preference gives a list. */
struct numa_hints {
    struct numa_hint *items;
    size_t n;
};
/* Room for one hint for each set of nodes. */
struct numa_hints numa_hints_new(struct arena *a, const struct numa_machine *m);
void numa_hints_add(struct numa_hints *h, numa_mask nodes);
void numa_hints_prefer(struct numa_hints *h, int least); /* those of as many nodes */
/* The narrowest, a preferred one if there is any; nodes 0: there is none. */
struct numa_hint numa_hints_best(const struct numa_hints *h);
bool numa_narrower(numa_mask a, numa_mask b); /* fewer nodes, or the first ones */

enum topology_policy { TOPOLOGY_NONE, TOPOLOGY_BEST_EFFORT, TOPOLOGY_RESTRICTED, TOPOLOGY_SINGLE_NODE };
struct topology_options {
    enum topology_policy policy;
    bool of_pod;  /* scope: all containers of a Pod together */
    bool closest; /* of two sets of as many nodes, the one whose nodes are nearer to each other */
    int64_t most_nodes;
};
/* "best-effort" "container" "prefer-closest-numa-nodes=true,max-allowable-numa-nodes=8". -EINVAL. */
int topology_parse(const char *policy, const char *scope, const char *options, struct topology_options *ret, struct err *e);
/* False: such a container must not run here. *ret: what resources are to be taken from. */
bool topology_merge(const struct numa_machine *m, const struct topology_options *o, const struct numa_hints *lists, size_t n,
                    struct numa_hint *ret);
