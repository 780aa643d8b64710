/* SPDX-License-Identifier: Apache-2.0 */
/* Pods and templates of Pods: what concerns the Pod as a whole, and where it may run. */
#include "type/validate-internal.h"
#include "wire/quantity.h"

/* ---- affinity ------------------------------------------------------------------------------------------ */

static void check_node_requirement(struct validation *x, const struct vpath *p, const struct val *v,
                                   bool check_values)
{
    struct str op = val_getstr(v, N_operator);
    const struct val *values = val_get(v, N_values);
    if (str_in(op, (const char *const[]){"In", "NotIn", NULL})) {
        if (!val_len(values))
            say_required(x, AT(p, N_values), "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (str_in(op, (const char *const[]){"Exists", "DoesNotExist", NULL})) {
        if (val_len(values))
            say_forbidden(x, AT(p, N_values),
                          "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else if (str_in(op, (const char *const[]){"Gt", "Lt", NULL})) {
        if (val_len(values) != 1)
            say_required(x, AT(p, N_values),
                         "must be specified single value when `operator` is 'Lt' or 'Gt'");
    } else {
        say_invalid_str(x, AT(p, N_operator), op, "not a valid selector operator");
    }
    check_text(x, AT(p, N_key), val_getstr(v, N_key), check_label_key);
    for (size_t i = 0; check_values && i < val_len(values); i++)
        check_text(x, ITEM(AT(p, N_values), i), val_str(val_item(values, i)), check_label_text);
}

static void check_node_field(struct validation *x, const struct vpath *p, const struct val *v)
{
    struct str op = val_getstr(v, N_operator), key = val_getstr(v, N_key);
    const struct val *values = val_get(v, N_values);
    if (!str_is(op, "In") && !str_is(op, "NotIn"))
        say_invalid_str(x, AT(p, N_operator), op, "not a valid selector operator");
    else if (val_len(values) != 1)
        say_required(x, AT(p, N_values),
                     "must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
    if (!str_is(key, "metadata.name")) {
        say_invalid_str(x, AT(p, N_key), key, "not a valid field selector key");
        return;
    }
    for (size_t i = 0; i < val_len(values); i++)
        check_text(x, ITEM(AT(p, N_values), i), val_str(val_item(values, i)), check_subdomain);
}

void check_node_selector_term(struct validation *x, const struct vpath *p, const struct val *term,
                              bool check_values)
{
    size_t i = 0, j = 0;
    VAL_EACH (val_get(term, N_matchExpressions), r)
        check_node_requirement(x, ITEM(AT(p, N_matchExpressions), i++), r, check_values);
    VAL_EACH (val_get(term, N_matchFields), r)
        check_node_field(x, ITEM(AT(p, N_matchFields), j++), r);
}

void check_node_selector(struct validation *x, const struct vpath *p, const struct val *v)
{
    size_t i = 0;
    const struct val *terms = val_get(v, N_nodeSelectorTerms);
    if (!val_len(terms))
        say_required(x, AT(p, N_nodeSelectorTerms), "must have at least one node selector term");
    VAL_EACH (terms, term)
        check_node_selector_term(x, ITEM(AT(p, N_nodeSelectorTerms), i++), term, true);
}

static void rule_node_affinity(struct validation *x, const struct vpath *p, const struct val *v,
                               const struct val *old)
{
    const struct val *required = val_get(v, N_requiredDuringSchedulingIgnoredDuringExecution);
    if (required)
        check_node_selector(x, AT(p, N_requiredDuringSchedulingIgnoredDuringExecution), required);
    size_t i = 0;
    VAL_EACH (val_get(v, N_preferredDuringSchedulingIgnoredDuringExecution), term) {
        const struct vpath *at = ITEM(AT(p, N_preferredDuringSchedulingIgnoredDuringExecution), i++);
        int64_t weight = val_int(val_get(term, N_weight), 0);
        if (weight < 1 || weight > 100)
            say_invalid(x, AT(at, N_weight), &(struct val){.kind = VAL_INT, .i = weight},
                        "must be in the range 1-100");
        check_node_selector_term(x, AT(at, N_preference), val_get(term, N_preference), false);
    }
}

static bool selector_names(const struct val *selector, struct str key)
{
    if (val_key(val_get(selector, N_matchLabels), key))
        return true;
    VAL_EACH (val_get(selector, N_matchExpressions), e)
        if (str_eq(val_getstr(e, N_key), key))
            return true;
    return false;
}

static void check_label_key_list(struct validation *x, const struct vpath *p, const struct val *keys,
                                 const struct val *selector)
{
    if (!val_len(keys))
        return;
    if (!selector) {
        say_forbidden(x, p, "must not be specified when labelSelector is not set");
        return;
    }
    size_t i = 0;
    VAL_EACH (keys, key)
        check_text(x, ITEM(p, i++), val_str(key), check_label_key);
}

/* How often the selector asks for the key, in the way matchLabelKeys would (KEP-3633). */
static bool key_is_taken(const struct val *selector, struct str key, const char *op)
{
    int n = val_key(val_get(selector, N_matchLabels), key) != NULL ? 2 : 0;
    VAL_EACH (val_get(selector, N_matchExpressions), e)
        if (str_eq(val_getstr(e, N_key), key))
            n += str_is(val_getstr(e, N_operator), op) ? 1 : 2;
    return n > 1;
}

static bool has_str(const struct val *list, struct str s)
{
    VAL_EACH (list, v)
        if (str_eq(val_str(v), s))
            return true;
    return false;
}

static void check_keys_against_selector(struct validation *x, const struct vpath *p, name_id name,
                                        const struct val *keys, const struct val *selector, const char *op)
{
    size_t i = 0;
    VAL_EACH (keys, key) {
        if (x->in_template ? selector_names(selector, val_str(key))
                           : key_is_taken(selector, val_str(key), op))
            say_invalid(x, ITEM(AT(p, name), i), key, "exists in both matchLabelKeys and labelSelector");
        i++;
    }
}

static void check_match_keys(struct validation *x, const struct vpath *p, const struct val *v)
{
    const struct val *match = val_get(v, N_matchLabelKeys), *mismatch = val_get(v, N_mismatchLabelKeys);
    const struct val *selector = val_get(v, N_labelSelector);
    check_label_key_list(x, AT(p, N_matchLabelKeys), match, selector);
    check_label_key_list(x, AT(p, N_mismatchLabelKeys), mismatch, selector);
    if (!selector)
        return;
    size_t i = 0;
    VAL_EACH (match, key) {
        if (has_str(mismatch, val_str(key)))
            say_invalid(x, ITEM(AT(p, N_matchLabelKeys), i), key,
                        "exists in both matchLabelKeys and mismatchLabelKeys");
        i++;
    }
    check_keys_against_selector(x, p, N_matchLabelKeys, match, selector, "In");
    check_keys_against_selector(x, p, N_mismatchLabelKeys, mismatch, selector, "NotIn");
}

static void rule_pod_affinity_term(struct validation *x, const struct vpath *p, const struct val *v,
                                   const struct val *old)
{
    VAL_EACH (val_get(v, N_namespaces), ns)
        check_text(x, AT(p, N_namespace), val_str(ns), check_label_of_dns);
    check_match_keys(x, p, v);
    if (!val_getstr(v, N_topologyKey).n)
        say_required(x, AT(p, N_topologyKey), "can not be empty");
    check_text(x, AT(p, N_topologyKey), val_getstr(v, N_topologyKey), check_label_key);
}

/* ---- tolerations, spreading ---------------------------------------------------------------------------- */

void check_taint_effect(struct validation *x, const struct vpath *p, const struct val *effect)
{
    static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
    if (!str_in(val_str(effect), effects))
        say_unsupported(x, p, effect, effects);
}

static void check_toleration_value(struct validation *x, const struct vpath *p, struct str op,
                                   struct str value)
{
    struct check c = {0};
    if (str_is(op, "Exists")) {
        if (value.n)
            say_invalid_str(x, p, value, "value must be empty when `operator` is 'Exists'");
        return;
    }
    if (op.n && !str_is(op, "Equal")) {
        struct val v = val_of_str(op);
        say_unsupported(x, p, &v, (const char *const[]){"Equal", "Exists", NULL});
        return;
    }
    check_label_text(&c, value);
    if (c.n)
        say_invalid_str(x, p, value, c.texts[0]);
}

static void rule_toleration(struct validation *x, const struct vpath *p, const struct val *v,
                            const struct val *old)
{
    struct str key = val_getstr(v, N_key), op = val_getstr(v, N_operator);
    const struct val *effect = val_get(v, N_effect);
    if (key.n)
        check_text(x, AT(p, N_key), key, check_label_key);
    else if (!str_is(op, "Exists"))
        say_invalid_str(x, AT(p, N_operator), op,
                        "operator must be Exists when `key` is empty, which means \"match all "
                        "values and all keys\"");
    if (val_get(v, N_tolerationSeconds) && !str_is(val_str(effect), "NoExecute"))
        say_invalid_str(x, AT(p, N_effect), val_str(effect),
                        "effect must be 'NoExecute' when `tolerationSeconds` is set");
    check_toleration_value(x, AT(p, N_operator), op, val_getstr(v, N_value));
    if (val_str(effect).n)
        check_taint_effect(x, AT(p, N_effect), effect);
}

static void rule_spread(struct validation *x, const struct vpath *p, const struct val *v,
                        const struct val *old)
{
    static const char *const actions[] = {"DoNotSchedule", "ScheduleAnyway", NULL}, *const inclusion[] = {
                                                                                        "Honor", "Ignore",
                                                                                        NULL};
    static const name_id policies[] = {N_nodeAffinityPolicy, N_nodeTaintsPolicy};
    const struct val *skew = val_get(v, N_maxSkew), *domains = val_get(v, N_minDomains);
    struct str key = val_getstr(v, N_topologyKey);
    if (val_int(skew, 0) <= 0)
        say_invalid(x, AT(p, N_maxSkew), skew ?: &(struct val){.kind = VAL_INT}, "must be greater than zero");
    if (!key.n)
        say_required(x, AT(p, N_topologyKey), "can not be empty");
    if (!str_in(val_getstr(v, N_whenUnsatisfiable), actions))
        say_unsupported(x, AT(p, N_whenUnsatisfiable),
                        val_get(v, N_whenUnsatisfiable) ?: &(struct val){.kind = VAL_STR, .s = ""}, actions);
    for (size_t i = 0; i < ARRAY_SIZE(policies); i++)
        if (val_get(v, policies[i]) && !str_in(val_getstr(v, policies[i]), inclusion))
            say_unsupported(x, AT(p, policies[i]), val_get(v, policies[i]), inclusion);
    if (domains && val_int(domains, 1) <= 0)
        say_invalid(x, AT(p, N_minDomains), domains, "must be greater than zero");
    if (domains && !str_is(val_getstr(v, N_whenUnsatisfiable), "DoNotSchedule"))
        say_invalid(x, AT(p, N_minDomains), domains,
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule");
    check_match_keys(x, p, v);
}

static void check_spread_repeats(struct validation *x, const struct vpath *p, const struct val *list)
{
    for (size_t i = 0; i < val_len(list); i++)
        for (size_t j = i + 1; j < val_len(list); j++) {
            const struct val *a = val_item(list, i), *b = val_item(list, j);
            if (!str_eq(val_getstr(a, N_topologyKey), val_getstr(b, N_topologyKey)) ||
                !str_eq(val_getstr(a, N_whenUnsatisfiable), val_getstr(b, N_whenUnsatisfiable)))
                continue;
            say_duplicate(x, AT_TEXT(ITEM(p, i), "{topologyKey, whenUnsatisfiable}"),
                          val_get(a, N_topologyKey));
            break;
        }
}

/* ---- DNS, hosts ---------------------------------------------------------------------------------------- */

enum { NAMESERVERS_MAX = 3, SEARCHES_MAX = 32, SEARCH_TEXT_MAX = 2048 };

static bool is_search_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

/* A subdomain whose labels may have underscores. */
static void check_search(struct validation *x, const struct vpath *p, struct str s)
{
    struct str rest = str_ends(s, STR(".")) ? str_slice(s, 0, s.n - 1) : s, part;
    bool right = rest.n && rest.n <= 253;
    if (str_is(s, "."))
        return;
    for (size_t i = 0; i < rest.n; i++)
        right = right && is_search_char(rest.p[i]);
    while (right && str_next(&rest, '.', &part))
        right = part.n && part.p[0] != '-' && part.p[part.n - 1] != '-' && part.p[part.n - 1] != '_';
    if (!right)
        say_invalid_str(
            x, p, s,
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or "
            "'.', and must start and end with an alphanumeric character");
}

static void check_dns_config(struct validation *x, const struct vpath *p, const struct val *spec)
{
    const struct val *config = val_get(spec, N_dnsConfig), *servers = val_get(config, N_nameservers);
    const struct val *searches = val_get(config, N_searches);
    if (str_is(val_getstr(spec, N_dnsPolicy), "None") && !val_len(servers)) {
        say_required(x, config ? AT(p, N_nameservers) : p,
                     "must provide at least one DNS nameserver when `dnsPolicy` is None");
        return;
    }
    if (val_len(servers) > NAMESERVERS_MAX)
        say_invalid(x, AT(p, N_nameservers), servers, "must not have more than 3 nameservers");
    size_t i = 0, chars = 0, j = 0;
    VAL_EACH (servers, server)
        check_text(x, ITEM(AT(p, N_nameservers), i++), val_str(server), check_ip);
    if (val_len(searches) > SEARCHES_MAX)
        say_invalid(x, AT(p, N_searches), searches, "must not have more than 32 search paths");
    VAL_EACH (searches, s)
        chars += val_str(s).n + (s != searches->items);
    if (chars > SEARCH_TEXT_MAX)
        say_invalid(x, AT(p, N_searches), searches,
                    "must not have more than 2048 characters (including spaces) in the search list");
    i = 0;
    VAL_EACH (searches, s)
        check_search(x, ITEM(AT(p, N_searches), i++), val_str(s));
    VAL_EACH (val_get(config, N_options), option) {
        if (!val_getstr(option, N_name).n)
            say_required(x, ITEM(AT(p, N_options), j), "must not be empty");
        j++;
    }
}

static void check_host_name(struct validation *x, const struct vpath *p, const struct val *spec)
{
    const struct vpath *at = AT(p, N_hostnameOverride);
    const struct val *name = val_get(spec, N_hostnameOverride);
    if (!name)
        return;
    if (val_bool(val_get(spec, N_setHostnameAsFQDN), false))
        say_forbidden(x, at, "may not be specified when setHostnameAsFQDN is true");
    if (val_bool(val_get(spec, N_hostNetwork), false))
        say_forbidden(x, at, "may not be specified when hostNetwork is true");
    if (name->n > 64)
        say_too_long(x, at, 64);
    if (!name->n)
        check_text(x, at, val_str(name), check_subdomain);
}

/* ---- host namespaces, system --------------------------------------------------------------------------- */

static void check_host_ports(struct validation *x, const struct vpath *p, const struct val *spec)
{
    size_t i = 0;
    if (!val_bool(val_get(spec, N_hostNetwork), false))
        return;
    VAL_EACH (val_get(spec, N_containers), c) {
        size_t j = 0;
        VAL_EACH (val_get(c, N_ports), port) {
            int64_t host = val_int(val_get(port, N_hostPort), 0),
                    own = val_int(val_get(port, N_containerPort), 0);
            if ((!x->in_template || host) && host != own)
                say_invalid(x, AT(ITEM(AT(ITEM(AT(p, N_containers), i), N_ports), j), N_hostPort),
                            &(struct val){.kind = VAL_INT, .i = host},
                            "must match `containerPort` when `hostNetwork` is true");
            j++;
        }
        i++;
    }
}

static void check_host_users(struct validation *x, const struct vpath *p, const struct val *spec)
{
    if (val_bool(val_get(spec, N_hostUsers), true))
        return;
    if (val_bool(val_get(spec, N_hostNetwork), false))
        say_forbidden(x, AT(p, N_hostNetwork), "when `hostUsers` is false");
    if (val_bool(val_get(spec, N_hostPID), false))
        say_forbidden(x, AT_TEXT(p, "HostPID"), "when `hostUsers` is false");
    if (val_bool(val_get(spec, N_hostIPC), false))
        say_forbidden(x, AT_TEXT(p, "HostIPC"), "when `hostUsers` is false");
    static const name_id lists[] = {N_initContainers, N_containers, N_ephemeralContainers};
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
        size_t i = 0;
        VAL_EACH (val_get(spec, lists[l]), c) {
            if (val_len(val_get(c, N_volumeDevices)))
                say_forbidden(x, AT(ITEM(AT(p, lists[l]), i), N_volumeDevices), "when `hostUsers` is false");
            i++;
        }
    }
}

/* What the other system knows and this one does not. */
static void check_linux(struct validation *x, const struct vpath *p, const struct val *spec)
{
    static const char why[] = "windows options cannot be set for a linux pod";
    static const name_id lists[] = {N_initContainers, N_containers, N_ephemeralContainers};
    if (val_at(spec, N_securityContext, N_windowsOptions))
        say_forbidden(x, AT(AT(p, N_securityContext), N_windowsOptions), why);
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
        size_t i = 0;
        VAL_EACH (val_get(spec, lists[l]), c) {
            if (val_at(c, N_securityContext, N_windowsOptions))
                say_forbidden(x, AT(AT(ITEM(AT(p, lists[l]), i), N_securityContext), N_windowsOptions), why);
            i++;
        }
    }
}

static void forbid(struct validation *x, const struct vpath *p, const struct val *v, const name_id *names)
{
    for (; *names; names++) {
        const struct val *m = val_get(v, *names);
        if (m && !(m->kind == VAL_BOOL && !m->b))
            say_forbidden(x, AT(p, *names), "cannot be set for a windows pod");
    }
}

static void check_windows(struct validation *x, const struct vpath *p, const struct val *spec)
{
    static const name_id of_spec[] = {N_hostPID, N_hostIPC, N_shareProcessNamespace, N_hostUsers, 0};
    static const name_id of_context[] = {
        N_seLinuxOptions, N_seccompProfile, N_appArmorProfile,    N_fsGroup, N_fsGroupChangePolicy, N_sysctls,
        N_runAsUser,      N_runAsGroup,     N_supplementalGroups, 0};
    static const name_id of_container[] = {N_seLinuxOptions,
                                           N_seccompProfile,
                                           N_appArmorProfile,
                                           N_capabilities,
                                           N_readOnlyRootFilesystem,
                                           N_privileged,
                                           N_allowPrivilegeEscalation,
                                           N_procMount,
                                           N_runAsUser,
                                           N_runAsGroup,
                                           0};
    static const name_id lists[] = {N_initContainers, N_containers, N_ephemeralContainers};
    forbid(x, p, spec, of_spec);
    forbid(x, AT(p, N_securityContext), val_get(spec, N_securityContext), of_context);
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
        size_t i = 0;
        VAL_EACH (val_get(spec, lists[l]), c)
            forbid(x, AT(ITEM(AT(p, lists[l]), i++), N_securityContext), val_get(c, N_securityContext),
                   of_container);
    }
}

static void check_os(struct validation *x, const struct vpath *p, const struct val *spec)
{
    static const char *const systems[] = {"linux", "windows", NULL};
    const struct val *os = val_get(spec, N_os), *name = val_get(os, N_name);
    if (!os)
        return;
    if (!val_str(name).n)
        say_required(x, AT(AT(p, N_os), N_name), NULL);
    else if (!str_in(val_str(name), systems))
        say_unsupported(x, AT(p, N_os), name, systems);
    else if (str_is(val_str(name), "linux"))
        check_linux(x, p, spec);
    else
        check_windows(x, p, spec);
}

/* ---- claims of devices, resources of the Pod ----------------------------------------------------------- */

static void check_claims(struct validation *x, const struct vpath *p, const struct val *claims)
{
    size_t i = 0;
    check_unique(x, p, claims, N_name);
    VAL_EACH (claims, claim) {
        bool by_name = val_get(claim, N_resourceClaimName),
             by_template = val_get(claim, N_resourceClaimTemplateName);
        if (by_name && by_template)
            say_invalid(x, ITEM(p, i), claim,
                        "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified");
        if (!by_name && !by_template)
            say_invalid(x, ITEM(p, i), claim,
                        "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
        i++;
    }
}

/* ---- the spec ------------------------------------------------------------------------------------------ */

static void check_gates(struct validation *x, const struct vpath *p, const struct val *gates)
{
    size_t i = 0;
    VAL_EACH (gates, gate) {
        check_text(x, ITEM(p, i), val_getstr(gate, N_name), check_label_key);
        for (size_t j = 0; j < i; j++)
            if (val_equal(val_item(gates, j), gate)) {
                say_duplicate(x, ITEM(p, i), val_get(gate, N_name));
                break;
            }
        i++;
    }
}

static void check_readiness_gates(struct validation *x, const struct vpath *p, const struct val *gates)
{
    size_t i = 0;
    VAL_EACH (gates, gate)
        check_text(x, AT(ITEM(p, i++), N_conditionType), val_getstr(gate, N_conditionType), check_label_key);
}

static void check_file_keys(struct validation *x, const struct vpath *p, const struct val *spec);

static void rule_pod_spec(struct validation *x, const struct vpath *p, const struct val *v,
                          const struct val *old)
{
    x->pod = v;
    x->pod_at = p;
    x->old_pod = old;
    check_unique(x, AT(p, N_volumes), val_get(v, N_volumes), N_name);
    check_claims(x, AT(p, N_resourceClaims), val_get(v, N_resourceClaims));
    check_host_ports(x, p, v);
    check_host_users(x, p, v);
    check_spread_repeats(x, AT(p, N_topologySpreadConstraints), val_get(v, N_topologySpreadConstraints));
    check_dns_config(x, AT(p, N_dnsConfig), v);
    check_host_name(x, p, v);
    check_gates(x, AT(p, N_schedulingGates), val_get(v, N_schedulingGates));
    check_readiness_gates(x, AT(p, N_readinessGates), val_get(v, N_readinessGates));
    check_os(x, p, v);
    check_file_keys(x, p, v);
    if (val_bool(val_get(v, N_shareProcessNamespace), false) && val_bool(val_get(v, N_hostPID), false))
        say_invalid(x, AT(p, N_shareProcessNamespace), val_get(v, N_shareProcessNamespace),
                    "ShareProcessNamespace and HostPID cannot both be enabled");
    VAL_EACH_ENTRY (val_get(v, N_overhead), k, q) {
        check_container_resource_name(x, KEY(AT(p, N_overhead), val_str(k)), val_str(k));
        check_resource_amount(x, KEY(AT(p, N_overhead), val_str(k)), val_str(k), q);
    }
    if (val_get(v, N_resources)) {
        check_resources(x, AT(p, N_resources), val_get(v, N_resources), NULL, true);
        check_resource_sums(x, AT(p, N_resources), v);
    }
}

/* A variable from a file needs an emptyDir volume of that name. */
static void check_file_key(struct validation *x, const struct vpath *p, const struct val *ref,
                           const struct val *volumes)
{
    const struct val *name = val_get(ref, N_volumeName);
    VAL_EACH (volumes, volume) {
        if (!str_eq(val_getstr(volume, N_name), val_str(name)))
            continue;
        if (!val_get(volume, N_emptyDir))
            say_invalid(x, AT(p, N_volumeName), name, "referenced volume must be of type emptyDir");
        return;
    }
    if (val_str(name).n)
        say_not_found(x, AT(p, N_volumeName), name);
}

static void check_file_keys(struct validation *x, const struct vpath *p, const struct val *spec)
{
    static const name_id lists[] = {N_initContainers, N_containers, N_ephemeralContainers};
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
        size_t i = 0;
        VAL_EACH (val_get(spec, lists[l]), c) {
            size_t j = 0;
            VAL_EACH (val_get(c, N_env), env) {
                const struct val *ref = val_at(env, N_valueFrom, N_fileKeyRef);
                const struct vpath *at = ITEM(AT(ITEM(AT(p, lists[l]), i), N_env), j++);
                if (ref)
                    check_file_key(x, AT(AT(at, N_valueFrom), N_fileKeyRef), ref, val_get(spec, N_volumes));
            }
            i++;
        }
    }
}

/* ---- Pods and templates -------------------------------------------------------------------------------- */

static void check_images(struct validation *x, const struct vpath *p, const struct val *containers)
{
    size_t i = 0;
    VAL_EACH (containers, c) {
        struct str image = val_getstr(c, N_image);
        if (str_trim(image).n != image.n)
            say_invalid_str(x, AT(ITEM(p, i), N_image), image,
                            "must not have leading or trailing whitespace");
        i++;
    }
}

static void check_pod_annotations(struct validation *x, const struct vpath *p, const struct val *pod)
{
    const struct val *map = val_get(obj_meta(pod), N_annotations);
    struct str mirror = STR("kubernetes.io/config.mirror"),
               cost = STR("controller.kubernetes.io/pod-deletion-cost");
    if (val_key(map, mirror) && !val_getstr(val_get(pod, N_spec), N_nodeName).n)
        say_invalid(x, KEY(p, mirror), val_key(map, mirror),
                    "must set spec.nodeName if mirror pod annotation is set");
    int64_t n;
    struct str text = val_str(val_key(map, cost));
    bool plain = text.n && (text.p[0] == '-' || (text.p[0] >= '1' && text.p[0] <= '9') || str_is(text, "0"));
    if (val_key(map, cost) && (!plain || str_to_i64(text, &n) != 0 || n > INT32_MAX || n < INT32_MIN))
        say_invalid(x, KEY(p, cost), val_key(map, cost), "must be a 32bit integer");
}

/* Tokens are a service account's. */
static void check_token_sources(struct validation *x, const struct vpath *p, const struct val *spec)
{
    size_t i = 0;
    if (val_getstr(spec, N_serviceAccountName).n)
        return;
    VAL_EACH (val_get(spec, N_volumes), volume) {
        size_t j = 0;
        VAL_EACH (val_at(volume, N_projected, N_sources), source) {
            if (val_get(source, N_serviceAccountToken))
                say_forbidden(x,
                              AT(ITEM(AT(AT(ITEM(AT(p, N_volumes), i), N_projected), N_sources), j),
                                 N_serviceAccountToken),
                              "must not be specified when serviceAccountName is not set");
            j++;
        }
        i++;
    }
}

static void rule_pod(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    const struct val *spec = val_get(v, N_spec);
    const struct vpath *at = AT(p, N_spec);
    x->pod_meta = obj_meta(v);
    check_pod_annotations(x, AT(AT(p, N_metadata), N_annotations), v);
    check_token_sources(x, at, spec);
    check_images(x, AT(at, N_containers), val_get(spec, N_containers));
    check_images(x, AT(at, N_initContainers), val_get(spec, N_initContainers));
    if (x->old) {
        check_pod_update(x, at, v, old);
        return;
    }
    if (val_len(val_get(spec, N_ephemeralContainers)))
        say_forbidden(x, AT(at, N_ephemeralContainers), "cannot be set on create");
    if (val_getstr(spec, N_nodeName).n && val_len(val_get(spec, N_schedulingGates)))
        say_forbidden(x, AT(at, N_nodeName), "cannot be set until all schedulingGates have been cleared");
}

/* Labels and annotations of a template are checked as those of an object, but upstream's paths leave out
 * "metadata". */
static void rule_template(struct validation *x, const struct vpath *p, const struct val *v,
                          const struct val *old)
{
    const struct val *meta = obj_meta(v), *spec = val_get(v, N_spec);
    struct check c;
    x->in_template = true;
    x->pod_meta = NULL;
    check_labels(x, AT(p, N_labels), val_get(meta, N_labels));
    EACH_KEY (val_get(meta, N_annotations), k) {
        char *lower = arena_cstr(x->s->arena, val_str(k));
        for (char *t = lower; *t; t++)
            if (*t >= 'A' && *t <= 'Z')
                *t = (char)(*t + 'a' - 'A');
        c = (struct check){0};
        check_label_key(&c, str_n(lower, k->n));
        for (unsigned i = 0; i < c.n; i++)
            say_invalid(x, AT(p, N_annotations), k, c.texts[i]);
    }
    if (val_len(val_get(spec, N_ephemeralContainers)))
        say_forbidden(x, AT(AT(p, N_spec), N_ephemeralContainers),
                      "ephemeral containers not allowed in pod template");
}

const struct rule rules_pod[] = {
    {T_core_v1_NodeAffinity, RULE_OWN, rule_node_affinity},
    {T_core_v1_NodeSelector, RULE_OWN, NULL},
    {T_core_v1_NodeSelectorRequirement, RULE_OWN, NULL},
    {T_core_v1_NodeSelectorTerm, RULE_OWN, NULL},
    {T_core_v1_Pod, 0, rule_pod},
    {T_core_v1_PodAffinityTerm, RULE_OWN, rule_pod_affinity_term},
    {T_core_v1_PodDNSConfig, RULE_OWN, NULL},
    {T_core_v1_PodDNSConfigOption, RULE_OWN, NULL},
    {T_core_v1_PodOS, RULE_OWN, NULL},
    {T_core_v1_PodReadinessGate, RULE_OWN, NULL},
    {T_core_v1_PodSchedulingGate, RULE_OWN, NULL},
    {T_core_v1_PodSpec, 0, rule_pod_spec},
    {T_core_v1_PodTemplateSpec, 0, rule_template},
    {T_core_v1_PreferredSchedulingTerm, RULE_OWN, NULL},
    {T_core_v1_Toleration, RULE_OWN, rule_toleration},
    {T_core_v1_TopologySpreadConstraint, RULE_OWN, rule_spread},
    {0, 0, NULL},
};
