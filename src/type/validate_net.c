/* SPDX-License-Identifier: Apache-2.0 */
/* networking.k8s.io and policy. */
#include "type/validate-internal.h"

/* ---- Ingress ------------------------------------------------------------------------------------------- */

static void check_backend(struct validation *x, const struct vpath *p, const struct val *v)
{
    const struct val *service = val_get(v, N_service), *resource = val_get(v, N_resource),
                     *port = val_get(service, N_port);
    const struct vpath *at = AT(p, N_service);
    if (service && resource) {
        say_invalid(x, p, &(struct val){.kind = VAL_STR, .s = ""},
                    "cannot set both resource and service backends");
    } else if (resource) {
        static const name_id wanted[] = {N_name, N_kind};
        for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
            if (!val_getstr(resource, wanted[i]).n)
                say_required(x, AT(AT(p, N_resource), wanted[i]), NULL);
            else
                check_text(x, AT(AT(p, N_resource), wanted[i]), val_getstr(resource, wanted[i]), check_path_segment);
        if (val_get(resource, N_apiGroup))
            check_text(x, AT(AT(p, N_resource), N_apiGroup), val_getstr(resource, N_apiGroup),
                       check_subdomain);
    } else if (!service) {
        say_invalid(x, p, &(struct val){.kind = VAL_STR, .s = ""},
                    "must specify either a resource or a service backend");
    }
    if (!service || resource)
        return;
    if (!val_getstr(service, N_name).n)
        say_required(x, AT(at, N_name), NULL);
    else
        check_text(x, AT(at, N_name), val_getstr(service, N_name), check_label_of_dns);
    if (val_getstr(port, N_name).n && val_get(port, N_number))
        say_invalid(x, p, service, "cannot set both port name & port number");
    else if (val_getstr(port, N_name).n)
        check_text(x, AT(AT(at, N_port), N_name), val_getstr(port, N_name), check_port_name);
    else if (val_get(port, N_number))
        check_range(x, AT(AT(at, N_port), N_number), val_get(port, N_number), 1, 65535);
    else
        say_required(x, p, "port name or number is required");
}

static void check_path(struct validation *x, const struct vpath *p, const struct val *v)
{
    static const char *const kinds[] = {"Exact", "ImplementationSpecific", "Prefix", NULL};
    static const char *const wrong[] = {"//", "/./", "/../", "%2f", "%2F"}, *const ends[] = {"/..", "/."};
    const struct val *kind = val_get(v, N_pathType), *path = val_get(v, N_path);
    struct str s = val_str(path);
    if (!kind) {
        say_required(x, AT(p, N_pathType), "pathType must be specified");
        return;
    } else if (str_is(val_str(kind), "Exact") || str_is(val_str(kind), "Prefix")) {
        if (!str_starts(s, STR("/")))
            say_invalid_str(x, AT(p, N_path), s, "must be an absolute path");
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
            if (s.n && str_contains(s, str_of(wrong[i])))
                say_invalid(x, AT(p, N_path), path, "must not contain what a path is cleaned of");
        for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
            if (s.n && str_ends(s, str_of(ends[i])))
                say_invalid(x, AT(p, N_path), path, "cannot end with a dot segment");
    } else if (!str_in(val_str(kind), kinds)) {
        say_unsupported(x, AT(p, N_pathType), kind, kinds);
    } else if (s.n && !str_starts(s, STR("/"))) {
        say_invalid(x, AT(p, N_path), path, "must be an absolute path");
    }
    check_backend(x, AT(p, N_backend), val_get(v, N_backend));
}

static bool is_ip(struct str s)
{
    struct check c = {0};
    check_ip(&c, s);
    return c.n == 0;
}

static void check_rules(struct validation *x, const struct vpath *p, const struct val *rules)
{
    size_t i = 0;
    VAL_EACH (rules, rule) {
        const struct vpath *at = ITEM(p, i++);
        struct str host = val_getstr(rule, N_host);
        const struct val *http = val_get(rule, N_http), *paths = val_get(http, N_paths);
        size_t j = 0;
        if (host.n && is_ip(host))
            say_invalid_str(x, AT(at, N_host), host, "must be a DNS name, not an IP address");
        if (host.n)
            check_text(x, AT(at, N_host), host,
                       str_find(host, '*') >= 0 ? check_wildcard_subdomain : check_subdomain);
        if (http && !val_len(paths))
            say_required(x, AT(AT(at, N_http), N_paths), NULL);
        VAL_EACH (paths, path)
            check_path(x, ITEM(AT(AT(at, N_http), N_paths), j++), path);
    }
}

static void check_tls(struct validation *x, const struct vpath *p, const struct val *list)
{
    size_t i = 0;
    VAL_EACH (list, tls) {
        size_t j = 0;
        VAL_EACH (val_get(tls, N_hosts), host)
            check_text(x, ITEM(AT(ITEM(p, i), N_hosts), j++), val_str(host),
                       str_find(val_str(host), '*') >= 0 ? check_wildcard_subdomain : check_subdomain);
        if (val_getstr(tls, N_secretName).n)
            check_text(x, AT(ITEM(p, i), N_secretName), val_getstr(tls, N_secretName), check_subdomain);
        i++;
    }
}

static void rule_ingress_spec(struct validation *x, const struct vpath *p, const struct val *v,
                              const struct val *old)
{
    const struct val *backend = val_get(v, N_defaultBackend), *rules = val_get(v, N_rules);
    check_rules(x, AT(p, N_rules), rules);
    if (backend)
        check_backend(x, AT(p, N_defaultBackend), backend);
    check_tls(x, AT(p, N_tls), val_get(v, N_tls));
    if (val_get(v, N_ingressClassName))
        check_text(x, AT(p, N_ingressClassName), val_getstr(v, N_ingressClassName), check_subdomain);
}

static void rule_ingress(struct validation *x, const struct vpath *p, const struct val *v,
                         const struct val *old)
{
    struct str key = STR("kubernetes.io/ingress.class");
    struct str class = obj_annotation(v, key);
    const struct val *spec = val_get(v, N_spec);
    if (!val_len(val_get(spec, N_rules)) && !val_get(spec, N_defaultBackend)) /* also when there is no spec at all */
        say_invalid(x, AT(p, N_spec), spec, "either `defaultBackend` or `rules` must be specified");
    if (class.n && !old && val_at(v, N_spec, N_ingressClassName) &&
        !str_eq(class, val_str(val_at(v, N_spec, N_ingressClassName))))
        say_invalid_str(x, KEY(AT(AT(p, N_metadata), N_annotations), key), class,
                        "must match `ingressClassName` when both are specified");
}

static void rule_class_parameters(struct validation *x, const struct vpath *p, const struct val *v,
                                  const struct val *old)
{
    static const char *const scopes[] = {"Cluster", "Namespace", NULL};
    const struct val *scope = val_get(v, N_scope), *ns = val_get(v, N_namespace);
    static const name_id wanted[] = {N_name, N_kind};
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
        if (!val_getstr(v, wanted[i]).n)
            say_required(x, AT(p, wanted[i]), NULL);
        else
            check_text(x, AT(p, wanted[i]), val_getstr(v, wanted[i]), check_path_segment);
    if (val_get(v, N_apiGroup))
        check_text(x, AT(p, N_apiGroup), val_getstr(v, N_apiGroup), check_subdomain);
    if (!scope)
        say_required(x, AT(p, N_scope), NULL);
    else if (!str_in(val_str(scope), scopes))
        say_unsupported(x, AT(p, N_scope), scope, scopes);
    else if (str_is(val_str(scope), "Namespace") && !val_str(ns).n)
        say_required(x, AT(p, N_namespace), "`parameters.scope` is set to 'Namespace'");
    else if (str_is(val_str(scope), "Namespace"))
        check_text(x, AT(p, N_namespace), val_str(ns), check_label_of_dns);
    else if (str_is(val_str(scope), "Cluster") && ns)
        say_forbidden(x, AT(p, N_namespace), "`parameters.scope` is set to 'Cluster'");
}

static void rule_ingress_class_spec(struct validation *x, const struct vpath *p, const struct val *v,
                                    const struct val *old)
{
    struct str controller = val_getstr(v, N_controller), host, path;
    if (!controller.n)
        return;
    if (!str_cut(controller, '/', &host, &path) || !host.n || !path.n)
        say_invalid_str(x, AT(p, N_controller), controller,
                        "must be a domain-prefixed path (such as \"acme.io/foo\")");
    else
        check_text(x, AT(p, N_controller), host, check_subdomain);
}

/* ---- NetworkPolicy ------------------------------------------------------------------------------------- */

static void check_policy_port(struct validation *x, const struct vpath *p, const struct val *v)
{
    static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
    const struct val *protocol = val_get(v, N_protocol), *port = val_get(v, N_port),
                     *end = val_get(v, N_endPort);
    if (protocol && !str_in(val_str(protocol), protocols))
        say_unsupported(x, AT(p, N_protocol), protocol, protocols);
    if (val_is(port, VAL_STR))
        check_text(x, AT(p, N_port), val_str(port), check_port_name);
    else if (port)
        check_range(x, AT(p, N_port), port, 1, 65535);
    if (end && !val_is(port, VAL_INT)) {
        say_invalid(x, AT(p, N_endPort), end, "may not be specified when `port` is non-numeric or absent");
        return;
    }
    if (end && end->i < port->i)
        say_invalid(x, AT(p, N_endPort), end, "must be greater than or equal to `port`");
    if (end)
        check_range(x, AT(p, N_endPort), end, 1, 65535);
}

/* Addresses as numbers, to see whether one range is within another. */
static void check_block(struct validation *x, const struct vpath *p, const struct val *v)
{
    const struct val *cidr = val_get(v, N_cidr);
    size_t i = 0;
    if (!val_str(cidr).n) {
        say_required(x, AT(p, N_cidr), NULL);
        return;
    }
    struct check c = {0};
    check_cidr(&c, val_str(cidr));
    check_text(x, AT(p, N_cidr), val_str(cidr), check_cidr);
    if (c.n)
        return;
    VAL_EACH (val_get(v, N_except), e)
        check_text(x, ITEM(AT(p, N_except), i++), val_str(e), check_cidr);
}

static void check_peer(struct validation *x, const struct vpath *p, const struct val *v)
{
    unsigned n =
        (val_get(v, N_podSelector) || val_get(v, N_namespaceSelector)) + (val_get(v, N_ipBlock) != NULL);
    if (val_get(v, N_ipBlock))
        check_block(x, AT(p, N_ipBlock), val_get(v, N_ipBlock));
    if (!n)
        say_required(x, p, "must specify a peer");
    else if (n > 1)
        say_forbidden(x, p, "may not specify both ipBlock and another peer");
}

static void check_traffic(struct validation *x, const struct vpath *p, const struct val *rules, name_id peers)
{
    size_t i = 0;
    VAL_EACH (rules, rule) {
        const struct vpath *at = ITEM(p, i++);
        size_t j = 0, k = 0;
        VAL_EACH (val_get(rule, N_ports), port)
            check_policy_port(x, ITEM(AT(at, N_ports), j++), port);
        VAL_EACH (val_get(rule, peers), peer)
            check_peer(x, ITEM(AT(at, peers), k++), peer);
    }
}

static void rule_policy_spec(struct validation *x, const struct vpath *p, const struct val *v,
                             const struct val *old)
{
    static const char *const kinds[] = {"Egress", "Ingress", NULL};
    const struct val *list = val_get(v, N_policyTypes);
    size_t i = 0;
    check_traffic(x, AT(p, N_ingress), val_get(v, N_ingress), N_from);
    check_traffic(x, AT(p, N_egress), val_get(v, N_egress), N_to);
    if (val_len(list) > 2) {
        say_invalid(x, AT(p, N_policyTypes), list, "may not specify more than two policyTypes");
        return;
    }
    VAL_EACH (list, type) {
        if (!str_in(val_str(type), kinds))
            say_unsupported(x, ITEM(AT(p, N_policyTypes), i), type, kinds);
        i++;
    }
}

/* ---- addresses of Services ----------------------------------------------------------------------------- */

static void rule_ip_address(struct validation *x, const struct vpath *p, const struct val *v,
                            const struct val *old)
{
    const struct val *ref = val_at(v, N_spec, N_parentRef);
    const struct vpath *at = AT(AT(p, N_spec), N_parentRef);
    if (!ref) {
        say_required(x, at, NULL);
        return;
    }
    if (!val_getstr(ref, N_resource).n)
        say_required(x, AT(at, N_resource), NULL);
    else
        check_text(x, AT(at, N_resource), val_getstr(ref, N_resource), check_path_segment);
    if (!val_getstr(ref, N_name).n)
        say_required(x, AT(at, N_name), NULL);
    else
        check_text(x, AT(at, N_name), val_getstr(ref, N_name), check_path_segment);
    if (val_getstr(ref, N_group).n)
        check_text(x, AT(at, N_group), val_getstr(ref, N_group), check_subdomain);
    if (val_getstr(ref, N_namespace).n)
        check_text(x, AT(at, N_namespace), val_getstr(ref, N_namespace), check_path_segment);
    if (old)
        check_same(x, at, ref, val_at(old, N_spec, N_parentRef));
}

static void rule_service_cidr_spec(struct validation *x, const struct vpath *p, const struct val *v,
                                   const struct val *old)
{
    const struct val *cidrs = val_get(v, N_cidrs);
    size_t i = 0;
    if (!val_len(cidrs)) {
        say_required(x, AT(p, N_cidrs), "at least one CIDR required");
        return;
    }
    if (val_len(cidrs) > 2) {
        say_invalid(x, AT(p, N_cidrs), cidrs, "may only hold up to 2 values");
        return;
    }
    size_t before = x->s->n_causes;
    VAL_EACH (cidrs, cidr)
        check_text(x, ITEM(AT(p, N_cidrs), i++), val_str(cidr), check_cidr);
    if (x->s->n_causes == before && val_len(cidrs) == 2 && (str_find(val_str(val_item(cidrs, 0)), ':') >= 0) ==
                                   (str_find(val_str(val_item(cidrs, 1)), ':') >= 0))
        say_invalid(x, AT(p, N_cidrs), cidrs,
                    "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and "
                    "2001:db8::/96");
}

/* ---- policy -------------------------------------------------------------------------------------------- */

static void rule_budget_spec(struct validation *x, const struct vpath *p, const struct val *v,
                             const struct val *old)
{
    static const char *const policies[] = {"AlwaysAllow", "IfHealthyBudget", NULL};
    const struct val *min = val_get(v, N_minAvailable), *max = val_get(v, N_maxUnavailable);
    const struct val *policy = val_get(v, N_unhealthyPodEvictionPolicy);
    if (min && max)
        say_invalid(x, p, v, "minAvailable and maxUnavailable cannot be both set");
    check_int_or_percent(x, AT(p, N_minAvailable), min);
    check_at_most_100_percent(x, AT(p, N_minAvailable), min);
    check_int_or_percent(x, AT(p, N_maxUnavailable), max);
    check_at_most_100_percent(x, AT(p, N_maxUnavailable), max);
    if (policy && !str_in(val_str(policy), policies))
        say_unsupported(x, AT(p, N_unhealthyPodEvictionPolicy), policy, policies);
}

const struct rule rules_net[] = {
    {T_networking_v1_HTTPIngressPath, RULE_OWN, NULL},
    {T_networking_v1_HTTPIngressRuleValue, RULE_OWN, NULL},
    {T_networking_v1_IPAddressSpec, RULE_OWN, NULL},
    {T_networking_v1_IPAddress, RULE_OWN, rule_ip_address},
    {T_networking_v1_IPBlock, RULE_OWN, NULL},
    {T_networking_v1_Ingress, 0, rule_ingress},
    {T_networking_v1_IngressBackend, RULE_OWN, NULL},
    {T_networking_v1_IngressClassParametersReference, RULE_OWN, rule_class_parameters},
    {T_networking_v1_IngressClassSpec, 0, rule_ingress_class_spec},
    {T_networking_v1_IngressRule, RULE_OWN, NULL},
    {T_networking_v1_IngressServiceBackend, RULE_OWN, NULL},
    {T_networking_v1_IngressSpec, RULE_OWN, rule_ingress_spec},
    {T_networking_v1_IngressTLS, RULE_OWN, NULL},
    {T_networking_v1_NetworkPolicyPeer, RULE_OWN, NULL},
    {T_networking_v1_NetworkPolicyPort, RULE_OWN, NULL},
    {T_networking_v1_NetworkPolicySpec, RULE_OWN, rule_policy_spec},
    {T_networking_v1_ParentReference, RULE_OWN, NULL},
    {T_networking_v1_ServiceBackendPort, RULE_OWN, NULL},
    {T_networking_v1_ServiceCIDRSpec, RULE_OWN, rule_service_cidr_spec},
    {T_policy_v1_PodDisruptionBudgetSpec, RULE_OWN, rule_budget_spec},
    {0, 0, NULL},
};
