/* SPDX-License-Identifier: Apache-2.0 */
#include "type/service.h"

#include "names.h"

static bool is_type(const struct val *spec, const char *type)
{
    return str_is(val_getstr(spec, N_type), type);
}

bool service_needs_cluster_ip(const struct val *spec)
{
    return !is_type(spec, "ExternalName");
}

bool service_needs_node_ports(const struct val *spec)
{
    return is_type(spec, "NodePort") || is_type(spec, "LoadBalancer");
}

bool service_needs_health_port(const struct val *spec)
{
    return is_type(spec, "LoadBalancer") && str_is(val_getstr(spec, N_externalTrafficPolicy), "Local");
}

bool service_headless(const struct val *spec)
{
    const struct val *ips = val_get(spec, N_clusterIPs);
    return str_is(ips ? val_str(val_item(ips, 0)) : val_getstr(spec, N_clusterIP), "None");
}

/* ---- clusterIP and clusterIPs -------------------------------------------------------------------------- */

static void set_ips(struct arena *a, struct val *spec, struct str ip)
{
    struct val *list = val_new(a, VAL_LIST);
    val_add_str(a, list, ip);
    val_set(a, spec, N_clusterIPs, *list);
}

/* On an update, the client that changed only the singular means the plural, too. */
static void normalize_change(struct arena *a, struct val *spec, const struct val *old)
{
    struct str ip = val_getstr(spec, N_clusterIP), was = val_getstr(old, N_clusterIP);
    bool same_ips = val_equal(val_get(spec, N_clusterIPs), val_get(old, N_clusterIPs));
    if (!ip.n && was.n && same_ips) {
        val_del(spec, N_clusterIPs);
    } else if (ip.n && !was.n && !val_len(val_get(spec, N_clusterIPs))) {
        set_ips(a, spec, ip);
    } else if (ip.n && was.n && !str_eq(ip, was) && same_ips && val_len(val_get(spec, N_clusterIPs))) {
        struct val *list = val_copy(a, val_get(spec, N_clusterIPs));
        list->items[0] = val_of_str(arena_str(a, ip));
        val_set(a, spec, N_clusterIPs, *list);
    }
}

void service_normalize(struct arena *a, struct val *v, const struct val *old)
{
    struct val *spec = val_mut(v, N_spec);
    if (!spec)
        return;
    if (old)
        normalize_change(a, spec, val_get(old, N_spec));
    else if (val_getstr(spec, N_clusterIP).n && !val_len(val_get(spec, N_clusterIPs)))
        set_ips(a, spec, val_getstr(spec, N_clusterIP));
}

/* ---- what goes with the old type ----------------------------------------------------------------------- */

static bool same(const struct val *spec, const struct val *old, name_id name)
{
    return val_equal(val_get(spec, name), val_get(old, name));
}

static bool port_was(const struct val *old, int64_t port)
{
    VAL_EACH (val_get(old, N_ports), p)
        if (val_int(val_get(p, N_nodePort), 0) == port)
            return true;
    return false;
}

static void drop_node_ports(struct val *spec, const struct val *old)
{
    struct val *ports = val_mut(spec, N_ports);
    for (size_t i = 0; i < val_len(ports); i++) {
        int64_t port = val_int(val_get(&ports->items[i], N_nodePort), 0);
        if (port && !port_was(old, port))
            return; /* a new one was asked for: validation has to see it */
    }
    for (size_t i = 0; i < val_len(ports); i++)
        val_del(&ports->items[i], N_nodePort);
}

static void drop_addresses(struct val *spec, const struct val *old)
{
    if (same(spec, old, N_clusterIP) && same(spec, old, N_clusterIPs)) {
        val_del(spec, N_clusterIP);
        val_del(spec, N_clusterIPs);
    }
    if (same(spec, old, N_ipFamilies))
        val_del(spec, N_ipFamilies);
    if (same(spec, old, N_ipFamilyPolicy))
        val_del(spec, N_ipFamilyPolicy);
}

static void drop_same(struct val *spec, const struct val *old, name_id name)
{
    if (same(spec, old, name))
        val_del(spec, name);
}

static bool reached_from_outside(const struct val *spec)
{
    return service_needs_node_ports(spec) ||
           (is_type(spec, "ClusterIP") && val_len(val_get(spec, N_externalIPs)));
}

void service_drop_internal(struct val *v)
{
    struct val *spec = val_mut(v, N_spec);
    struct str policy = val_getstr(spec, N_internalTrafficPolicy);
    if (spec && is_type(spec, "ExternalName") && (str_is(policy, "Cluster") || str_is(policy, "Local")))
        val_del(spec, N_internalTrafficPolicy);
}

void prepare_service_update(struct arena *a, struct val *v, const struct val *old_service)
{
    struct val *spec = val_mut(v, N_spec);
    const struct val *old = val_get(old_service, N_spec);
    bool balanced = is_type(spec, "LoadBalancer"), was_balanced = is_type(old, "LoadBalancer");
    if (!spec)
        return;
    if (service_needs_cluster_ip(old) && !service_needs_cluster_ip(spec))
        drop_addresses(spec, old);
    if (service_needs_node_ports(old) && !service_needs_node_ports(spec))
        drop_node_ports(spec, old);
    if (service_needs_health_port(old) && !service_needs_health_port(spec))
        drop_same(spec, old, N_healthCheckNodePort);
    if (was_balanced && !balanced) {
        drop_same(spec, old, N_allocateLoadBalancerNodePorts);
        drop_same(spec, old, N_loadBalancerClass);
    }
    service_drop_internal(v);
    if (reached_from_outside(old) && !reached_from_outside(spec))
        drop_same(spec, old, N_externalTrafficPolicy);
    struct val *status = val_mut(v, N_status);
    if (!balanced && val_get(status, N_loadBalancer)) {
        struct val *copy = val_copy_shallow(a, status);
        val_del(copy, N_loadBalancer);
        val_set(a, v, N_status, *copy);
    }
}
