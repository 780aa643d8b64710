/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUs of their own for containers of Guaranteed Pods that ask for whole ones (CPU manager, policy "static"). All others
 * share what is left, the reserved ones among it. Who has which is what the runtime has as the containers' cpusets, and for
 * those that were not made yet upstream's state file (checkpoint.h).
 */
#pragma once

#include "node/numa.h"
#include "node/pod.h"

struct cpu_place {
    int cpu, core, socket; /* core: unique over sockets */
    int numa, cache;       /* numa: place in the machine's list; cache: of the last level, its first CPU */
};
struct cpu_topology {
    struct cpu_place *cpus;
    size_t n;
};

/* Options of the policy (--cpu-manager-policy-options, KEP-2625 and others). */
enum {
    CPUS_FULL_CORES = 1, /* full-pcpus-only: whole cores or nothing */
    CPUS_SPREAD = 2,     /* distribute-cpus-across-numa: evenly over the nodes that are needed */
    CPUS_BY_SOCKET = 4,  /* align-by-socket: nodes of one socket are as good as one node */
    CPUS_STRICT = 8,     /* strict-cpu-reservation: nobody runs on reserved ones */
    CPUS_BY_CACHE = 16,  /* prefer-align-cpus-by-uncorecache: of one last-level cache where that can be */
};
/* "full-pcpus-only=true,...". -EINVAL. */
int cpus_options_parse(const char *text, unsigned *ret, struct err *e);
/* Takes n of the free ones: whole sockets and nodes, then whole cores, then threads of cores that are in use already. False
 * when there are not enough. */
bool cpus_take(const struct cpu_topology *t, const struct cpuset *free_, size_t n, unsigned options, struct cpuset *ret);
/* The same, from these nodes as far as they have some; 0: from anywhere. */
bool cpus_take_near(const struct cpu_topology *t, const struct cpuset *free_, size_t n, numa_mask nodes, unsigned options, struct cpuset *ret);
/* From which sets of nodes n could come; reusable ones must be among them. */
struct numa_hints cpus_hints(struct arena *a, const struct numa_machine *m, const struct cpu_topology *t, const struct cpuset *free_,
                             const struct cpuset *reusable, size_t n, unsigned options);
/* How many CPUs of its own a container gets: a whole number in a Guaranteed Pod, else 0. */
size_t cpus_exclusive(const struct val *pod, const struct val *container);

struct kubelet;
struct worker;
struct cpu_manager;

/* Reads the machine. *ret NULL: policy "none". -EINVAL when nothing is reserved. */
int cpus_start(struct kubelet *k, struct err *e);
void cpus_stop(struct kubelet *k);
void cpus_run(void *kubelet); /* a fiber: keeps the sharing containers on what is left */
/* What the topology manager asks: a list for a container (NULL: the whole Pod) in the arena, false when it has no preference;
 * and CPUs for one, from near these nodes. -EBUSY. */
bool cpus_hint(struct worker *w, const struct val *pod, const struct val *container, struct arena *a, struct numa_hints *ret);
int cpus_allocate(struct worker *w, const struct val *pod, const struct val *container, numa_mask nodes, struct err *e);
const char *cpus_admit(struct kubelet *k, const struct worker *w, const struct val *pod, struct arena *a, struct str *ret_message);
/* The cpuset a container is to be made with; empty when the policy is "none". 0 or -EBUSY. */
int cpus_prepare(struct worker *w, const struct val *pod, const struct val *container, struct arena *a, struct str *ret, struct err *e);
struct val *cpus_checkpoint(const struct kubelet *k, struct arena *a); /* as upstream's file has it */
void cpus_recall(struct worker *w);
void cpus_release(struct worker *w);
bool cpus_static(const struct kubelet *k);
/* Those that a container has for itself; false: none. */
bool cpus_of(const struct kubelet *k, const char *uid, struct str container, struct cpuset *ret);
struct cpuset cpus_allocatable(const struct kubelet *k);
