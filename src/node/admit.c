/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a Pod that was bound to this node may run here: the last look, with upstream's reasons. Pure. */
#include "node/kubelet-internal.h"

/* ---- resources -------------------------------------------------------------------------------------------- */

static int64_t amount(const struct val *pod, const char *name)
{
    struct quantity q = pod_amount(pod, N_requests, name);
    return !strcmp(name, "cpu") ? quantity_milli(q) : quantity_units(q);
}

static const char *too_little(struct arena *a, const char *reason, const char *name, int64_t wanted, int64_t used,
                              int64_t have, struct str *ret_message)
{
    *ret_message = arena_printf(a, "Node didn't have enough resource: %s, requested: %lld, used: %lld, capacity: %lld",
                                name, (long long)wanted, (long long)used, (long long)have);
    return reason;
}

static const char *admit_resources(struct arena *a, const struct val *pod, const struct admit_world *w,
                                   struct str *ret_message)
{
    static const char *const kinds[][2] = {
        {"cpu", "OutOfcpu"}, {"memory", "OutOfmemory"}, {"ephemeral-storage", "OutOfephemeral-storage"},
    };
    const struct val *pods = val_key(w->allocatable, STR("pods"));
    int64_t most = pods ? quantity_units(quantity_or_zero(val_str(pods))) : INT64_MAX;
    if ((int64_t)w->n_others + 1 > most)
        return too_little(a, "OutOfpods", "pods", 1, (int64_t)w->n_others, most, ret_message);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const struct val *v = val_key(w->allocatable, str_of(kinds[i][0]));
        int64_t wanted = amount(pod, kinds[i][0]), used = 0;
        if (!v || wanted == 0)
            continue;
        struct quantity q = quantity_or_zero(val_str(v));
        int64_t have = i == 0 ? quantity_milli(q) : quantity_units(q);
        for (size_t j = 0; j < w->n_others; j++)
            used += amount(w->others[j], kinds[i][0]);
        if (wanted > have - used)
            return too_little(a, kinds[i][1], kinds[i][0], wanted, used, have, ret_message);
    }
    return NULL;
}

/* ---- host ports ------------------------------------------------------------------------------------------- */

static bool same_host_port(const struct val *a, const struct val *b)
{
    struct str ip_a = val_getstr(a, N_hostIP), ip_b = val_getstr(b, N_hostIP);
    struct str p_a = val_getstr(a, N_protocol), p_b = val_getstr(b, N_protocol);
    bool any = !ip_a.n || !ip_b.n || str_is(ip_a, "0.0.0.0") || str_is(ip_b, "0.0.0.0") || str_eq(ip_a, ip_b);
    return any && str_eq(p_a.n ? p_a : STR("TCP"), p_b.n ? p_b : STR("TCP")) &&
           val_int(val_get(a, N_hostPort), 0) == val_int(val_get(b, N_hostPort), 0);
}

static bool port_taken(const struct val *port, const struct val *other)
{
    VAL_EACH (pod_containers(other, CK_MAIN), c)
        VAL_EACH (val_get(c, N_ports), p)
            if (same_host_port(port, p))
                return true;
    return false;
}

static const char *admit_ports(const struct val *pod, const struct admit_world *w, struct str *ret_message)
{
    VAL_EACH (pod_containers(pod, CK_MAIN), c)
        VAL_EACH (val_get(c, N_ports), p)
            for (size_t i = 0; val_int(val_get(p, N_hostPort), 0) && i < w->n_others; i++)
                if (port_taken(p, w->others[i])) {
                    *ret_message = STR("Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports");
                    return "NodePorts";
                }
    return NULL;
}

/* ---- the rest --------------------------------------------------------------------------------------------- */

static const char *admit_labels(const struct val *pod, const struct admit_world *w, struct str *ret_message)
{
    const struct val *labels = obj_labels(w->node);
    struct str os = val_str(val_at(pod, N_spec, N_os, N_name));
    if (os.n && !str_is(os, "linux")) {
        *ret_message = STR("Failed to admit pod as the OS field doesn't match node OS");
        return "PodOSNotSupported";
    }
    VAL_EACH_ENTRY (val_at(pod, N_spec, N_nodeSelector), k, v) {
        const struct val *have = val_key(labels, val_str(k));
        if (w->node && !(have && str_eq(val_str(have), val_str(v)))) {
            *ret_message = STR("Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector");
            return "NodeAffinity";
        }
    }
    return NULL;
}

static const char *admit_groups(const struct val *pod, const struct admit_world *w, struct str *ret_message)
{
    if (!str_is(val_str(val_at(pod, N_spec, N_securityContext, N_supplementalGroupsPolicy)), "Strict") || !w->node ||
        val_bool(val_at(w->node, N_status, N_features, N_supplementalGroupsPolicy), false))
        return NULL;
    *ret_message = STR("SupplementalGroupsPolicy=Strict is not supported in this node");
    return "SupplementalGroupsPolicyNotSupported";
}

static bool sysctl_fits(const char *pattern, struct str name)
{
    struct str p = str_of(pattern);
    if (p.n && p.p[p.n - 1] == '*')
        return str_starts(name, str_slice(p, 0, p.n - 1));
    return str_eq(p, name);
}

/* Those that are namespaced and harm nobody else (upstream's list). */
static bool sysctl_allowed(struct str name, const char *const *allowed)
{
    static const char *const safe[] = {
        "kernel.shm_rmid_forced",       "net.ipv4.ip_local_port_range",     "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",  "net.ipv4.tcp_fin_timeout",         "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem",               "net.ipv4.tcp_wmem",
        "net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_notsent_lowat",
    };
    for (size_t i = 0; i < ARRAY_SIZE(safe); i++)
        if (str_is(name, safe[i]))
            return true;
    for (; allowed && *allowed; allowed++)
        if (sysctl_fits(*allowed, name))
            return true;
    return false;
}

static const char *admit_sysctls(struct arena *a, const struct val *pod, const struct admit_world *w,
                                 struct str *ret_message)
{
    VAL_EACH (val_at(pod, N_spec, N_securityContext, N_sysctls), s) {
        char *name = arena_cstr(a, val_getstr(s, N_name));
        for (char *p = name; *p; p++)
            if (*p == '/')
                *p = '.';
        if (!sysctl_allowed(str_of(name), w->allowed_sysctls)) {
            *ret_message = arena_printf(a, "forbidden sysctl: \"%s\" not allowlisted", name);
            return "SysctlForbidden";
        }
    }
    return NULL;
}

const char *admit_resize(struct arena *a, const struct val *pod, const struct admit_world *w, struct str *ret_message)
{
    return admit_resources(a, pod, w, ret_message);
}

const char *admit_pod(struct arena *a, const struct val *pod, const struct admit_world *w, struct str *ret_message)
{
    const char *why = admit_labels(pod, w, ret_message);
    if (!why)
        why = admit_groups(pod, w, ret_message);
    if (!why)
        why = admit_sysctls(a, pod, w, ret_message);
    if (!why && !pod_is_static(pod))
        why = admit_resources(a, pod, w, ret_message);
    if (!why)
        why = admit_ports(pod, w, ret_message);
    return why;
}
