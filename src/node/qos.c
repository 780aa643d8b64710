/* SPDX-License-Identifier: Apache-2.0 */
#include "node/qos.h"

/* Shares per CPU, and the least there is: the kernel's own numbers. */
enum { SHARES_PER_CPU = 1024, SHARES_MIN = 2, SHARES_MAX = 262144, QUOTA_MIN_US = 1000 };

static struct quantity amount_in(const struct val *list, const char *name)
{
    const struct val *v = val_key(list, str_of(name));
    return v ? quantity_or_zero(val_str(v)) : quantity_of(0, QUANTITY_DECIMAL_SI);
}

struct quantity resource_amount(const struct val *resources, name_id list, const char *name)
{
    return amount_in(val_get(resources, list), name);
}

static bool pod_level_set(const struct val *pod)
{
    const struct val *r = val_get(pod_spec(pod), N_resources);
    return val_len(val_get(r, N_requests)) || val_len(val_get(r, N_limits));
}

/* ---- quality of service ---------------------------------------------------------------------------------- */

static enum qos_class resource_qos(const struct val *resources, const char *name)
{
    struct quantity req = resource_amount(resources, N_requests, name);
    struct quantity lim = resource_amount(resources, N_limits, name);
    if (quantity_cmp(req, lim) != 0)
        return QOS_BURSTABLE;
    return quantity_is_zero(req) ? QOS_BEST_EFFORT : QOS_GUARANTEED;
}

static enum qos_class requirements_qos(const struct val *resources)
{
    if (!val_len(val_get(resources, N_requests)) && !val_len(val_get(resources, N_limits)))
        return QOS_BEST_EFFORT;
    enum qos_class cpu = resource_qos(resources, "cpu"), memory = resource_qos(resources, "memory");
    return cpu == memory ? cpu : QOS_BURSTABLE;
}

enum qos_class pod_qos(const struct val *pod)
{
    struct str set = val_getstr(pod_status(pod), N_qosClass);
    if (set.n)
        return str_is(set, "Guaranteed") ? QOS_GUARANTEED : str_is(set, "BestEffort") ? QOS_BEST_EFFORT : QOS_BURSTABLE;
    if (pod_level_set(pod))
        return requirements_qos(val_get(pod_spec(pod), N_resources));
    bool first = true;
    enum qos_class q = QOS_BEST_EFFORT;
    for (enum container_kind k = CK_INIT; k <= CK_MAIN; k++)
        VAL_EACH (pod_containers(pod, k), c) {
            enum qos_class one = requirements_qos(val_get(c, N_resources));
            if (!first && one != q)
                return QOS_BURSTABLE;
            q = one;
            first = false;
        }
    return q;
}

const char *qos_name(enum qos_class q)
{
    static const char *const names[] = {"Guaranteed", "Burstable", "BestEffort"};
    return names[q];
}

/* ---- sums ------------------------------------------------------------------------------------------------ */

static struct quantity container_amount(const struct val *c, name_id list, const char *name)
{
    return resource_amount(val_get(c, N_resources), list, name);
}

static struct quantity larger(struct quantity a, struct quantity b)
{
    return quantity_cmp(a, b) >= 0 ? a : b;
}

struct quantity pod_amount(const struct val *pod, name_id list, const char *name)
{
    struct quantity zero = quantity_of(0, QUANTITY_DECIMAL_SI), sidecars = zero, init = zero, mains = zero;
    VAL_EACH (pod_containers(pod, CK_INIT), c) {
        struct quantity one = container_amount(c, list, name);
        if (container_is_sidecar(c)) {
            sidecars = quantity_add(sidecars, one);
            init = larger(init, sidecars);
        } else {
            init = larger(init, quantity_add(sidecars, one));
        }
    }
    VAL_EACH (pod_containers(pod, CK_MAIN), c)
        mains = quantity_add(mains, container_amount(c, list, name));
    struct quantity sum = larger(init, quantity_add(mains, sidecars));
    const struct val *own = val_key(val_get(val_get(pod_spec(pod), N_resources), list), str_of(name));
    if (own)
        sum = quantity_or_zero(val_str(own));
    if (list == N_requests || !quantity_is_zero(sum))
        sum = quantity_add(sum, amount_in(val_get(pod_spec(pod), N_overhead), name));
    return sum;
}

bool pod_limits_declared(const struct val *pod, const char *name)
{
    if (!quantity_is_zero(resource_amount(val_get(pod_spec(pod), N_resources), N_limits, name)))
        return true;
    for (enum container_kind k = CK_INIT; k <= CK_MAIN; k++)
        VAL_EACH (pod_containers(pod, k), c)
            if (quantity_is_zero(container_amount(c, N_limits, name)))
                return false;
    return true;
}

/* ---- the kernel's units ---------------------------------------------------------------------------------- */

int64_t cpu_shares(int64_t milli)
{
    int64_t s = milli <= 0 ? SHARES_MIN : milli > SHARES_MAX ? SHARES_MAX : milli * SHARES_PER_CPU / 1000;
    return MIN(MAX(s, (int64_t)SHARES_MIN), (int64_t)SHARES_MAX);
}

int64_t cpu_quota(int64_t milli, int64_t period)
{
    if (milli <= 0)
        return 0;
    int64_t q = milli > INT64_MAX / period ? INT64_MAX : milli * period / 1000;
    return MAX(q, (int64_t)QUOTA_MIN_US);
}

int64_t cpu_weight(int64_t shares)
{
    shares = MIN(MAX(shares, (int64_t)SHARES_MIN), (int64_t)SHARES_MAX);
    return 1 + (shares - SHARES_MIN) * 9999 / (SHARES_MAX - SHARES_MIN);
}

struct cgroup_limits pod_cgroup_limits(const struct val *pod, bool cfs_quota, int64_t period, int64_t pids)
{
    struct cgroup_limits l = CGROUP_LIMITS_NONE;
    l.pids = pids > 0 ? pids : -1;
    if (pod_qos(pod) == QOS_BEST_EFFORT) {
        l.cpu_shares = SHARES_MIN;
        return l;
    }
    l.cpu_shares = cpu_shares(quantity_milli(pod_amount(pod, N_requests, "cpu")));
    if (cfs_quota && pod_limits_declared(pod, "cpu")) {
        l.cpu_period = period;
        l.cpu_quota = cpu_quota(quantity_milli(pod_amount(pod, N_limits, "cpu")), period);
    }
    if (pod_limits_declared(pod, "memory"))
        l.memory = quantity_units(pod_amount(pod, N_limits, "memory"));
    return l;
}

static const char *root_of(const char *root)
{
    return root && strcmp(root, "/") != 0 ? root : "";
}

struct str qos_cgroup_path(struct arena *a, const char *root, enum qos_class q)
{
    static const char *const parts[] = {"", "/burstable", "/besteffort"};
    return arena_printf(a, "%s/kubepods%s", root_of(root), parts[q]);
}

struct str pod_cgroup_path(struct arena *a, const char *root, const struct val *pod)
{
    struct str q = qos_cgroup_path(a, root, pod_qos(pod));
    return arena_printf(a, STR_FMT "/pod" STR_FMT, STR_ARG(q), STR_ARG(obj_uid(pod)));
}

/* ---- OOM score ------------------------------------------------------------------------------------------- */

static int64_t memory_request(const struct val *c)
{
    return quantity_units(container_amount(c, N_requests, "memory"));
}

/* Pod-level memory that no container asked for is shared out evenly (KEP-2837). */
static int64_t unassigned_share(const struct val *pod)
{
    const struct val *requests = val_get(val_get(pod_spec(pod), N_resources), N_requests);
    const struct val *own = val_key(requests, STR("memory"));
    if (!val_len(requests))
        return 0;
    int64_t sum = 0, n = 0;
    VAL_EACH (pod_containers(pod, CK_MAIN), c) {
        sum += memory_request(c);
        n++;
    }
    VAL_EACH (pod_containers(pod, CK_INIT), c)
        if (container_is_sidecar(c)) {
            sum += memory_request(c);
            n++;
        }
    int64_t left = (own ? quantity_units(quantity_or_zero(val_str(own))) : sum) - sum;
    return n && left > 0 ? left / n : 0;
}

static bool is_sidecar_of(const struct val *pod, const struct val *container)
{
    VAL_EACH (pod_containers(pod, CK_INIT), c)
        if (str_eq(val_getstr(c, N_name), val_getstr(container, N_name)))
            return container_is_sidecar(c);
    return false;
}

int pod_oom_score_adj(const struct val *pod, const struct val *container, int64_t node_memory)
{
    enum { LAST = -997, FIRST = 1000 };
    enum qos_class q = pod_qos(pod);
    if (val_int(val_at(pod, N_spec, N_priority), 0) >= INT64_C(2000001000) || q == QOS_GUARANTEED)
        return LAST;
    if (q == QOS_BEST_EFFORT || node_memory <= 0)
        return FIRST;
    int64_t share = unassigned_share(pod);
    double part = 1000.0 * (double)(memory_request(container) + share) / (double)node_memory;
    int64_t adj = part >= 1000 ? 0 : 1000 - (int64_t)part;
    if (is_sidecar_of(pod, container)) {
        /* Never killed before the containers it serves. */
        int64_t least = INT64_MAX;
        VAL_EACH (pod_containers(pod, CK_MAIN), c)
            least = MIN(least, memory_request(c));
        if (least != INT64_MAX)
            adj = MIN(adj, 1000 - (int64_t)(1000.0 * (double)(least + share) / (double)node_memory));
    }
    return (int)MIN(MAX(adj, (int64_t)FIRST + LAST), (int64_t)FIRST - 1);
}
