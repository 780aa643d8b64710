/* SPDX-License-Identifier: Apache-2.0 */
/* Resources of a Pod: sums, quality of service, and what they become in the kernel's units. Pure. */
#pragma once

#include "node/pod.h"
#include "wire/quantity.h"

enum qos_class pod_qos(const struct val *pod);
const char *qos_name(enum qos_class q); /* "Guaranteed" ... */

/* What one list (limits or requests) says about a resource; zero when nothing. */
struct quantity resource_amount(const struct val *resources, name_id list, const char *name);
/* Requests or limits (N_requests, N_limits) of the whole Pod: the larger of its init phase and its main phase,
 * sidecars in both (KEP-753), pod-level values first (KEP-2837), overhead on top. */
struct quantity pod_amount(const struct val *pod, name_id list, const char *name);
bool pod_limits_declared(const struct val *pod, const char *name); /* by every container, or by the Pod */

#define CPU_PERIOD_US INT64_C(100000)
int64_t cpu_shares(int64_t milli);                /* cgroup v1 cpu.shares, 2 at least */
int64_t cpu_quota(int64_t milli, int64_t period); /* microseconds a period; 0: no limit */
int64_t cpu_weight(int64_t shares);               /* cgroup v2 cpu.weight of v1 shares (KEP-2254) */

/* Of a cgroup; -1 leaves the present setting. */
struct cgroup_limits {
    int64_t cpu_shares, cpu_quota, cpu_period;
    int64_t memory; /* bytes */
    int64_t pids;
};
#define CGROUP_LIMITS_NONE ((struct cgroup_limits){-1, -1, -1, -1, -1})
/* What a cgroup has: cpu_quota and memory 0 are no limit, -1 is not known. */
struct cgroup_state {
    struct cgroup_limits limits;
    int64_t memory_usage, pids;
};
/* The Pod's own cgroup. */
struct cgroup_limits pod_cgroup_limits(const struct val *pod, bool cfs_quota, int64_t period, int64_t pids);
/* "/<root>/kubepods/burstable/pod<uid>" */
struct str pod_cgroup_path(struct arena *a, const char *root, const struct val *pod);
struct str qos_cgroup_path(struct arena *a, const char *root, enum qos_class q);

/* How eagerly the kernel's OOM killer takes the container's processes. */
int pod_oom_score_adj(const struct val *pod, const struct val *container, int64_t node_memory);
