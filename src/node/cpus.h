/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUs of their own for containers of Guaranteed Pods that ask for whole ones (CPU manager, policy "static"). All others
 * share what is left, the reserved ones among it. Who has which is what the runtime has as the containers' cpusets: there is
 * no state file.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "node/pod.h"

enum { CPUS_MAX = 1024 };

struct cpuset {
    uint64_t bits[CPUS_MAX / 64];
};

static inline bool cpuset_has(const struct cpuset *s, int cpu)
{
    return cpu >= 0 && cpu < CPUS_MAX && (s->bits[cpu / 64] >> (cpu % 64) & 1);
}
static inline void cpuset_add(struct cpuset *s, int cpu)
{
    if (cpu >= 0 && cpu < CPUS_MAX)
        s->bits[cpu / 64] |= UINT64_C(1) << (cpu % 64);
}
size_t cpuset_count(const struct cpuset *s);
struct cpuset cpuset_without(const struct cpuset *a, const struct cpuset *b);
struct cpuset cpuset_with(const struct cpuset *a, const struct cpuset *b);
bool cpuset_equal(const struct cpuset *a, const struct cpuset *b);
/* "0-3,5" and back. 0 or -EINVAL. */
int cpuset_parse(struct str s, struct cpuset *ret);
struct str cpuset_text(struct arena *a, const struct cpuset *s);

struct cpu_place {
    int cpu, core, socket; /* core: unique over sockets */
};
struct cpu_topology {
    struct cpu_place *cpus;
    size_t n;
};
/* Takes n of the free ones: whole sockets, then whole cores, then threads of cores that are in use already. False when there
 * are not enough. */
bool cpus_take(const struct cpu_topology *t, const struct cpuset *free_, size_t n, struct cpuset *ret);
/* How many CPUs of its own a container gets: a whole number in a Guaranteed Pod, else 0. */
size_t cpus_exclusive(const struct val *pod, const struct val *container);

struct kubelet;
struct worker;
struct cpu_manager;

/* Reads the machine. *ret NULL: policy "none". -EINVAL when nothing is reserved. */
int cpus_start(struct kubelet *k, struct err *e);
void cpus_stop(struct kubelet *k);
void cpus_run(void *kubelet); /* a fiber: keeps the sharing containers on what is left */
const char *cpus_admit(struct kubelet *k, const struct worker *w, const struct val *pod, struct arena *a, struct str *ret_message);
/* The cpuset a container is to be made with; empty when the policy is "none". 0 or -EBUSY. */
int cpus_prepare(struct worker *w, const struct val *pod, const struct val *container, struct arena *a, struct str *ret, struct err *e);
void cpus_recall(struct worker *w);
void cpus_release(struct worker *w);
bool cpus_static(const struct kubelet *k);
/* Those that a container has for itself; false: none. */
bool cpus_of(const struct kubelet *k, const char *uid, struct str container, struct cpuset *ret);
struct cpuset cpus_allocatable(const struct kubelet *k);
