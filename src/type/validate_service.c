/* SPDX-License-Identifier: Apache-2.0 */
/* Services, and the Endpoints and EndpointSlices behind them. */
#include "type/service.h"
#include "type/validate-internal.h"

#include <arpa/inet.h>

static bool is_v6(struct str ip)
{
    return str_find(ip, ':') >= 0;
}

/* ---- ports --------------------------------------------------------------------------------------------- */

static void check_port_or_name(struct validation *x, const struct vpath *p, const struct val *v)
{
    if (val_is(v, VAL_STR))
        check_text(x, p, val_str(v), check_port_name);
    else
        check_range(x, p, v ?: &(struct val){.kind = VAL_INT}, 1, 65535);
}

static bool same_int(const struct val *a, const struct val *b, name_id name)
{
    return val_int(val_get(a, name), 0) == val_int(val_get(b, name), 0);
}

static bool same_str(const struct val *a, const struct val *b, name_id name)
{
    return str_eq(val_getstr(a, name), val_getstr(b, name));
}

/* A port before this one has the same protocol and the same number. */
static bool port_repeats(const struct val *ports, size_t i, name_id number)
{
    const struct val *port = val_item(ports, i);
    for (size_t j = 0; j < i; j++)
        if (same_int(val_item(ports, j), port, number) && same_str(val_item(ports, j), port, N_protocol))
            return true;
    return false;
}

static void check_ports(struct validation *x, const struct vpath *p, const struct val *spec)
{
    static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
    const struct val *ports = val_get(spec, N_ports);
    bool cluster_ip = str_is(val_getstr(spec, N_type), "ClusterIP");
    check_unique(x, p, ports, N_name);
    for (size_t i = 0; i < val_len(ports); i++) {
        const struct val *port = val_item(ports, i), *node = val_get(port, N_nodePort);
        const struct vpath *at = ITEM(p, i);
        if (val_getstr(port, N_name).n)
            check_text(x, AT(at, N_name), val_getstr(port, N_name), check_label_of_dns);
        else if (val_len(ports) > 1)
            say_required(x, AT(at, N_name), NULL);
        check_range(x, AT(at, N_port), val_get(port, N_port) ?: &(struct val){.kind = VAL_INT}, 1, 65535);
        if (!str_in(val_getstr(port, N_protocol), protocols))
            say_unsupported(x, AT(at, N_protocol), val_get(port, N_protocol), protocols);
        check_port_or_name(x, AT(at, N_targetPort), val_get(port, N_targetPort));
        if (val_get(port, N_appProtocol))
            check_text(x, AT(at, N_appProtocol), val_getstr(port, N_appProtocol), check_label_key);
        if (node && cluster_ip)
            say_forbidden(x, AT(at, N_nodePort), "may not be used when `type` is 'ClusterIP'");
        if (node && port_repeats(ports, i, N_nodePort))
            say_duplicate(x, AT(at, N_nodePort), node);
        if (port_repeats(ports, i, N_port))
            say_duplicate(x, at, port);
    }
}

/* ---- addresses ----------------------------------------------------------------------------------------- */

static void check_families(struct validation *x, const struct vpath *p, const struct val *list)
{
    static const char *const families[] = {"IPv4", "IPv6", NULL};
    check_unique(x, p, list, 0);
    size_t i = 0;
    VAL_EACH (list, f) {
        if (!str_in(val_str(f), families))
            say_unsupported(x, ITEM(p, i), f, families);
        i++;
    }
}

static void check_cluster_ip(struct validation *x, const struct vpath *p, const struct val *spec)
{
    struct str ip = val_getstr(spec, N_clusterIP);
    const struct val *ips = val_get(spec, N_clusterIPs);
    if (ip.n && !val_len(ips))
        say_required(x, p, NULL);
    else if (ip.n && !str_eq(val_str(val_item(ips, 0)), ip))
        say_invalid(x, p, ips, "first value must match `clusterIP`");
    else if (!ip.n && val_len(ips))
        say_invalid(x, p, ips, "must be empty when `clusterIP` is not specified");
}

static bool check_ip_list(struct validation *x, const struct vpath *p, const struct val *ips)
{
    size_t before = x->s->n_causes;
    if (str_is(val_str(val_item(ips, 0)), "None") && val_len(ips) > 1)
        say_invalid(x, p, ips, "'None' must be the first and only value");
    for (size_t i = 0; i < val_len(ips); i++)
        if (i || !str_is(val_str(val_item(ips, 0)), "None"))
            check_text(x, ITEM(p, i), val_str(val_item(ips, i)), check_ip);
    bool right = x->s->n_causes == before;
    if (val_len(ips) > 2)
        say_invalid(x, p, ips, "may only hold up to 2 values");
    return right;
}

static void check_addresses(struct validation *x, const struct vpath *p, const struct val *spec)
{
    static const char *const policies[] = {"PreferDualStack", "RequireDualStack", "SingleStack", NULL};
    const struct val *ips = val_get(spec, N_clusterIPs), *families = val_get(spec, N_ipFamilies);
    const struct val *policy = val_get(spec, N_ipFamilyPolicy);
    const struct vpath *at = AT(p, N_clusterIPs);
    if (!service_needs_cluster_ip(spec))
        return;
    check_cluster_ip(x, at, spec);
    check_families(x, AT(p, N_ipFamilies), families);
    if (policy && !str_in(val_str(policy), policies))
        say_unsupported(x, AT(p, N_ipFamilyPolicy), policy, policies);
    if (!check_ip_list(x, at, ips))
        return;
    if (val_len(ips) == 2 && is_v6(val_str(val_item(ips, 0))) == is_v6(val_str(val_item(ips, 1))))
        say_invalid(x, at, ips, "may specify no more than one IP for each IP family");
    for (size_t i = 0; !service_headless(spec) && i < val_len(ips) && i < val_len(families); i++)
        if (is_v6(val_str(val_item(ips, i))) != str_is(val_str(val_item(families, i)), "IPv6"))
            say_invalid(x, ITEM(at, i), val_item(ips, i), "expected a value of the family in `ipFamilies`");
}

/* By the numbers, since an address has many spellings; IPv4 within IPv6 is IPv4 to the kernel. */
static bool never_an_endpoint(struct str ip)
{
    char text[INET6_ADDRSTRLEN] = "";
    struct in6_addr six;
    struct in_addr four;
    memcpy(text, ip.p, MIN(ip.n, sizeof(text) - 1));
    if (inet_pton(AF_INET, text, &four) != 1) {
        if (inet_pton(AF_INET6, text, &six) != 1)
            return true;
        if (!IN6_IS_ADDR_V4MAPPED(&six))
            return IN6_IS_ADDR_UNSPECIFIED(&six) || IN6_IS_ADDR_LOOPBACK(&six) || IN6_IS_ADDR_LINKLOCAL(&six) || IN6_IS_ADDR_MC_LINKLOCAL(&six);
        memcpy(&four, six.s6_addr + 12, sizeof(four));
    }
    uint32_t a = ntohl(four.s_addr);
    return a == 0 || a >> 24 == 127 || a >> 16 == 0xa9fe || a >> 8 == 0xe00000;
}

static void check_endpoint_ip(struct validation *x, const struct vpath *p, struct str ip)
{
    struct check c = {0};
    check_ip(&c, ip);
    if (c.n)
        say_invalid_str(x, p, ip, c.texts[0]);
    else if (never_an_endpoint(ip))
        say_invalid_str(x, p, ip,
                        "may not be an unspecified, loopback, link-local or link-local multicast address");
}

/* ---- the spec ------------------------------------------------------------------------------------------ */

static void check_external_name(struct validation *x, const struct vpath *p, const struct val *spec)
{
    static const name_id forbidden[] = {N_clusterIPs, N_ipFamilies, N_ipFamilyPolicy};
    struct str name = val_getstr(spec, N_externalName);
    for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++)
        if (val_get(spec, forbidden[i]))
            say_forbidden(x, AT(p, forbidden[i]), "may not be set for ExternalName services");
    if (str_ends(name, STR(".")))
        name.n--;
    if (name.n)
        check_text(x, AT(p, N_externalName), name, check_subdomain);
    else
        say_required(x, AT(p, N_externalName), NULL);
}

static void check_kind(struct validation *x, const struct vpath *p, const struct val *spec)
{
    static const char *const kinds[] = {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort", NULL};
    const struct val *type = val_get(spec, N_type);
    if (!val_str(type).n)
        say_required(x, AT(p, N_type), NULL);
    else if (!str_in(val_str(type), kinds))
        say_unsupported(x, AT(p, N_type), type, kinds);
    if (str_is(val_str(type), "ExternalName"))
        check_external_name(x, p, spec);
    else if (!val_len(val_get(spec, N_ports)) && !service_headless(spec))
        say_required(x, AT(p, N_ports), NULL);
    if (service_needs_node_ports(spec) && service_headless(spec))
        say_invalid_str(x, ITEM(AT(p, N_clusterIPs), 0), STR("None"),
                        "may not be set to 'None' for this type of service");
}

static void check_affinity(struct validation *x, const struct vpath *p, const struct val *spec)
{
    static const char *const kinds[] = {"ClientIP", "None", NULL};
    const struct val *kind = val_get(spec, N_sessionAffinity),
                     *config = val_get(spec, N_sessionAffinityConfig);
    const struct val *seconds = val_at(config, N_clientIP, N_timeoutSeconds);
    const struct vpath *at = AT(AT(AT(p, N_sessionAffinityConfig), N_clientIP), N_timeoutSeconds);
    if (!val_str(kind).n)
        say_required(x, AT(p, N_sessionAffinity), NULL);
    else if (!str_in(val_str(kind), kinds))
        say_unsupported(x, AT(p, N_sessionAffinity), kind, kinds);
    if (str_is(val_str(kind), "None") && config)
        say_forbidden(x, AT(p, N_sessionAffinityConfig), "must not be set when session affinity is None");
    if (str_is(val_str(kind), "ClientIP") && (val_int(seconds, 0) < 1 || val_int(seconds, 0) > 86400))
        say_invalid(x, at, seconds, "must be greater than 0 and less than 86400");
}

static void check_balancer(struct validation *x, const struct vpath *p, const struct val *spec)
{
    bool balanced = str_is(val_getstr(spec, N_type), "LoadBalancer");
    static const char only[] = "may only be used when `type` is 'LoadBalancer'";
    const struct val *sources = val_get(spec, N_loadBalancerSourceRanges),
                     *class = val_get(spec, N_loadBalancerClass);
    const struct vpath *at = AT_TEXT(p, "LoadBalancerSourceRanges");
    size_t i = 0;
    if (val_len(sources) && !balanced)
        say_forbidden(x, at, only);
    VAL_EACH (sources, range)
        check_text(x, ITEM(at, i++), str_trim(val_str(range)), check_cidr);
    if (val_get(spec, N_allocateLoadBalancerNodePorts) && !balanced)
        say_forbidden(x, AT(p, N_allocateLoadBalancerNodePorts), only);
    if (class && !balanced)
        say_forbidden(x, AT(p, N_loadBalancerClass), only);
    else if (class)
        check_text(x, AT(p, N_loadBalancerClass), val_str(class), check_label_key);
}

static bool reached_from_outside(const struct val *spec)
{
    return service_needs_node_ports(spec) ||
           (str_is(val_getstr(spec, N_type), "ClusterIP") && val_len(val_get(spec, N_externalIPs)));
}

static void check_policies(struct validation *x, const struct vpath *p, const struct val *spec)
{
    static const char *const policies[] = {"Cluster", "Local", NULL};
    static const char *const closeness[] = {"PreferClose", "PreferSameZone", "PreferSameNode", NULL};
    const struct val *external = val_get(spec, N_externalTrafficPolicy),
                     *internal = val_get(spec, N_internalTrafficPolicy);
    const struct val *health = val_get(spec, N_healthCheckNodePort),
                     *near = val_get(spec, N_trafficDistribution);
    if (!reached_from_outside(spec)) {
        if (val_str(external).n)
            say_invalid(x, AT(p, N_externalTrafficPolicy), external,
                        "may only be set for externally-accessible services");
    } else if (!val_str(external).n) {
        say_required(x, AT(p, N_externalTrafficPolicy), NULL);
    } else if (!str_in(val_str(external), policies)) {
        say_unsupported(x, AT(p, N_externalTrafficPolicy), external, policies);
    }
    if (!service_needs_health_port(spec)) {
        if (health)
            say_invalid(
                x, AT(p, N_healthCheckNodePort), health,
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
    } else if (health) { /* allocated after validation when it is missing */
        check_range(x, AT(p, N_healthCheckNodePort), health, 1, 65535);
    }
    if (internal && !str_in(val_str(internal), policies))
        say_unsupported(x, AT(p, N_internalTrafficPolicy), internal, policies);
    if (near && !str_in(val_str(near), closeness))
        say_unsupported(x, AT(p, N_trafficDistribution), near, closeness);
}

static bool contains(const struct val *list, const struct val *v)
{
    VAL_EACH (list, item)
        if (val_equal(item, v))
            return true;
    return false;
}

static void check_service_update(struct validation *x, const struct vpath *p, const struct val *spec,
                                 const struct val *old)
{
    const struct val *ips = val_get(spec, N_clusterIPs), *was = val_get(old, N_clusterIPs);
    bool both = service_needs_cluster_ip(spec) && service_needs_cluster_ip(old);
    if (both && !(service_headless(spec) && service_headless(old))) {
        if (val_len(was) && !val_len(ips))
            say_invalid(x, ITEM(AT(p, N_clusterIPs), 0), ips, "primary clusterIP can not be unset");
        for (size_t i = 0; i < val_len(was) && i < val_len(ips); i++)
            if (!val_equal(val_item(ips, i), val_item(was, i)))
                say_invalid(x, ITEM(AT(p, N_clusterIPs), i), ips, "may not change once set");
        if (val_len(was) == 2 && val_len(ips) == 1 &&
            !str_is(val_getstr(spec, N_ipFamilyPolicy), "SingleStack"))
            say_invalid(x, AT(p, N_ipFamilyPolicy), val_get(spec, N_ipFamilyPolicy),
                        "must be set to 'SingleStack' when releasing the secondary clusterIP");
    }
    const struct val *families = val_get(spec, N_ipFamilies), *had = val_get(old, N_ipFamilies);
    if (both && val_len(had) && val_len(families) && !val_equal(val_item(families, 0), val_item(had, 0)))
        say_invalid(x, ITEM(AT(p, N_ipFamilies), 0), families, "may not change once set");
    if (str_is(val_getstr(spec, N_type), "LoadBalancer") && str_is(val_getstr(old, N_type), "LoadBalancer") &&
        !val_equal(val_get(spec, N_loadBalancerClass), val_get(old, N_loadBalancerClass)))
        say_invalid(x, AT(p, N_loadBalancerClass), val_get(spec, N_loadBalancerClass),
                    "may not change once set");
    if (service_needs_health_port(spec) && service_needs_health_port(old) &&
        !val_equal(val_get(spec, N_healthCheckNodePort), val_get(old, N_healthCheckNodePort)))
        say_invalid(x, AT(p, N_healthCheckNodePort), val_get(spec, N_healthCheckNodePort),
                    "field is immutable");
}

static void rule_service_spec(struct validation *x, const struct vpath *p, const struct val *v,
                              const struct val *old)
{
    size_t i = 0, before = x->s->n_causes;
    check_addresses(x, p, v);
    if (!old && x->s->n_causes > before)
        return; /* nothing is asked further of what cannot have an address */
    check_kind(x, p, v);
    check_ports(x, AT(p, N_ports), v);
    check_labels(x, AT(p, N_selector), val_get(v, N_selector));
    check_affinity(x, p, v);
    VAL_EACH (val_get(v, N_externalIPs), ip) {
        if (!contains(val_get(old, N_externalIPs), ip))
            check_endpoint_ip(x, ITEM(AT(p, N_externalIPs), i), val_str(ip));
        i++;
    }
    check_balancer(x, p, v);
    check_policies(x, p, v);
    if (old)
        check_service_update(x, p, v, old);
}

/* ---- Endpoints ----------------------------------------------------------------------------------------- */

/* What is no address at all is told twice. */
static void check_legacy_ip(struct validation *x, const struct vpath *p, struct str ip)
{
    struct check c = {0};
    check_ip(&c, ip);
    if (c.n)
        say_invalid_str(x, p, ip, c.texts[0]);
    check_endpoint_ip(x, p, ip);
}

static void check_endpoint_address(struct validation *x, const struct vpath *p, const struct val *v)
{
    struct str host = val_getstr(v, N_hostname);
    check_legacy_ip(x, AT(p, N_ip), val_getstr(v, N_ip));
    if (host.n)
        check_text(x, AT(p, N_hostname), host, check_label_of_dns);
    if (val_get(v, N_nodeName))
        check_text(x, AT(p, N_nodeName), val_getstr(v, N_nodeName), check_subdomain);
}

static void rule_subset(struct validation *x, const struct vpath *p, const struct val *v,
                        const struct val *old)
{
    static const name_id lists[] = {N_addresses, N_notReadyAddresses};
    static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
    const struct val *ports = val_get(v, N_ports);
    if (!val_len(val_get(v, N_addresses)) && !val_len(val_get(v, N_notReadyAddresses)))
        say_required(x, p, "must specify `addresses` or `notReadyAddresses`");
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
        size_t i = 0;
        VAL_EACH (val_get(v, lists[l]), address)
            check_endpoint_address(x, ITEM(AT(p, lists[l]), i++), address);
    }
    for (size_t i = 0; i < val_len(ports); i++) {
        const struct val *port = val_item(ports, i);
        const struct vpath *at = ITEM(AT(p, N_ports), i);
        if (val_getstr(port, N_name).n)
            check_text(x, AT(at, N_name), val_getstr(port, N_name), check_label_of_dns);
        else if (val_len(ports) > 1)
            say_required(x, AT(at, N_name), NULL);
        check_range(x, AT(at, N_port), val_get(port, N_port) ?: &(struct val){.kind = VAL_INT}, 1, 65535);
        if (!str_in(val_getstr(port, N_protocol), protocols))
            say_unsupported(x, AT(at, N_protocol), val_get(port, N_protocol), protocols);
        if (val_get(port, N_appProtocol))
            check_text(x, AT(at, N_appProtocol), val_getstr(port, N_appProtocol), check_label_key);
    }
}

/* ---- EndpointSlices ------------------------------------------------------------------------------------ */

static void check_slice_address(struct validation *x, const struct vpath *list, size_t i, struct str kind, struct str text)
{
    struct check c = {0};
    const struct vpath *p = ITEM(list, i);
    if (str_is(kind, "FQDN")) {
        check_text(x, p, text, check_subdomain);
    } else if (str_is(kind, "IPv4") || str_is(kind, "IPv6")) {
        check_ip(&c, text);
        if (!c.n && is_v6(text) != str_is(kind, "IPv6"))
            say_invalid_str(x, list, text, "must be an address of the slice's `addressType`");
        check_endpoint_ip(x, p, text);
    }
}

static void check_hints(struct validation *x, const struct vpath *p, const struct val *hints)
{
    static const name_id lists[] = {N_forZones, N_forNodes};
    for (size_t k = 0; k < ARRAY_SIZE(lists); k++) {
        const struct val *list = val_get(hints, lists[k]);
        check_unique(x, AT(p, lists[k]), list, N_name);
        if (val_len(list) > 8)
            say_too_many(x, AT(p, lists[k]), val_len(list), 8);
        for (size_t i = 0; i < val_len(list); i++)
            check_text(x, AT(ITEM(AT(p, lists[k]), i), N_name), val_getstr(val_item(list, i), N_name),
                       lists[k] == N_forZones ? check_label_text : check_subdomain);
    }
}

static void check_endpoint(struct validation *x, const struct vpath *p, const struct val *e, struct str kind)
{
    enum { ADDRESSES_MAX = 100 };
    const struct val *addresses = val_get(e, N_addresses);
    if (!val_len(addresses))
        say_required(x, AT(p, N_addresses), "must contain at least 1 address");
    else if (val_len(addresses) > ADDRESSES_MAX)
        say_too_many(x, AT(p, N_addresses), val_len(addresses), ADDRESSES_MAX);
    for (size_t i = 0; i < val_len(addresses); i++)
        check_slice_address(x, AT(p, N_addresses), i, kind, val_str(val_item(addresses, i)));
    if (val_get(e, N_nodeName))
        check_text(x, AT(p, N_nodeName), val_getstr(e, N_nodeName), check_subdomain);
    check_labels(x, AT(p, N_deprecatedTopology), val_get(e, N_deprecatedTopology));
    if (val_get(e, N_hostname))
        check_text(x, AT(p, N_hostname), val_getstr(e, N_hostname), check_label_of_dns);
    check_hints(x, AT(p, N_hints), val_get(e, N_hints));
}

static void check_slice_ports(struct validation *x, const struct vpath *p, const struct val *ports)
{
    enum { PORTS_MAX = 20000 };
    static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
    if (val_len(ports) > PORTS_MAX) {
        say_too_many(x, p, val_len(ports), PORTS_MAX);
        return;
    }
    for (size_t i = 0; i < val_len(ports); i++) {
        const struct val *port = val_item(ports, i), *protocol = val_get(port, N_protocol);
        const struct vpath *at = ITEM(p, i);
        if (val_getstr(port, N_name).n)
            check_text(x, AT(at, N_name), val_getstr(port, N_name), check_label_of_dns);
        for (size_t j = 0; j < i; j++)
            if (same_str(val_item(ports, j), port, N_name)) {
                say_duplicate(x, AT(at, N_name), val_get(port, N_name));
                break;
            }
        if (!protocol)
            say_required(x, AT(at, N_protocol), NULL);
        else if (!str_in(val_str(protocol), protocols))
            say_unsupported(x, AT(at, N_protocol), protocol, protocols);
        if (val_get(port, N_appProtocol))
            check_text(x, AT(at, N_appProtocol), val_getstr(port, N_appProtocol), check_label_key);
    }
}

static void rule_slice(struct validation *x, const struct vpath *p, const struct val *v,
                       const struct val *old)
{
    enum { ENDPOINTS_MAX = 1000 };
    static const char *const kinds[] = {"FQDN", "IPv4", "IPv6", NULL};
    const struct val *kind = val_get(v, N_addressType), *endpoints = val_get(v, N_endpoints);
    if (!val_str(kind).n)
        say_required(x, AT(p, N_addressType), NULL);
    else if (!str_in(val_str(kind), kinds))
        say_unsupported(x, AT(p, N_addressType), kind, kinds);
    if (val_len(endpoints) > ENDPOINTS_MAX) {
        say_too_many(x, AT(p, N_endpoints), val_len(endpoints), ENDPOINTS_MAX);
        return;
    }
    for (size_t i = 0; i < val_len(endpoints) && !(old && val_equal(endpoints, val_get(old, N_endpoints))); i++)
        check_endpoint(x, ITEM(AT(p, N_endpoints), i), val_item(endpoints, i), val_str(kind));
    check_slice_ports(x, AT(p, N_ports), val_get(v, N_ports));
    if (old)
        check_same(x, AT(p, N_addressType), kind, val_get(old, N_addressType));
}

const struct rule rules_service[] = {
    {T_core_v1_EndpointAddress, RULE_OWN, NULL},
    {T_core_v1_EndpointPort, RULE_OWN, NULL},
    {T_core_v1_EndpointSubset, RULE_OWN, rule_subset},
    {T_core_v1_ServicePort, RULE_OWN, NULL},
    {T_core_v1_ServiceSpec, RULE_OWN, rule_service_spec},
    {T_core_v1_ClientIPConfig, RULE_OWN, NULL},
    {T_discovery_v1_Endpoint, RULE_OWN, NULL},
    {T_discovery_v1_EndpointPort, RULE_OWN, NULL},
    {T_discovery_v1_EndpointSlice, RULE_OWN, rule_slice},
    {0, 0, NULL},
};
