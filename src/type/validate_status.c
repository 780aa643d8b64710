/* SPDX-License-Identifier: Apache-2.0 */
/* What is written to the status subresource: by controllers mostly, and rules keep them from nonsense. */
#include "type/validate-internal.h"

/* ---- counts -------------------------------------------------------------------------------------------- */

static int64_t number(const struct val *status, name_id field)
{
    return val_int(val_get(status, field), 0);
}

static void check_counts(struct validation *x, const struct vpath *p, const struct val *status,
                         const name_id *fields)
{
    for (; *fields; fields++)
        check_range(x, AT(p, *fields), val_get(status, *fields), 0, INT64_MAX);
}

static void check_at_most(struct validation *x, const struct vpath *p, const struct val *status,
                          name_id field, name_id most, const char *detail)
{
    if (val_get(status, field) && number(status, field) > number(status, most))
        say_invalid(x, AT(p, field), val_get(status, field), detail);
}

static void check_collisions(struct validation *x, const struct vpath *p, const struct val *status,
                             const struct val *old)
{
    const struct val *now = val_get(status, N_collisionCount), *was = val_get(old, N_collisionCount);
    if (was && (!now || now->i < was->i))
        say_invalid(x, AT(p, N_collisionCount), now ? now : &(const struct val){.kind = VAL_INT},
                    "cannot be decremented");
}

static const name_id of_replicas[] = {N_replicas,
                                      N_readyReplicas,
                                      N_currentReplicas,
                                      N_updatedReplicas,
                                      N_availableReplicas,
                                      N_fullyLabeledReplicas,
                                      N_unavailableReplicas,
                                      N_terminatingReplicas,
                                      N_observedGeneration,
                                      N_collisionCount,
                                      0};
static const name_id of_daemons[] = {N_currentNumberScheduled, N_numberMisscheduled,
                                     N_desiredNumberScheduled, N_numberReady,
                                     N_observedGeneration,     N_updatedNumberScheduled,
                                     N_numberAvailable,        N_numberUnavailable,
                                     N_collisionCount,         0};
static const name_id of_disruptions[] = {N_disruptionsAllowed, N_currentHealthy, N_desiredHealthy,
                                         N_expectedPods, 0};
static const name_id of_autoscaler[] = {N_currentReplicas, N_desiredReplicas, 0};

static void status_of_replicas(struct validation *x, const struct vpath *p, const struct val *v,
                               const struct val *old)
{
    static const name_id parts[] = {N_fullyLabeledReplicas, N_readyReplicas, N_currentReplicas,
                                    N_updatedReplicas, N_availableReplicas};
    const struct val *status = val_get(v, N_status);
    check_counts(x, p, status, of_replicas);
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        check_at_most(x, p, status, parts[i], N_replicas, "cannot be greater than status.replicas");
    check_at_most(x, p, status, N_availableReplicas, N_readyReplicas, "cannot be greater than readyReplicas");
    check_collisions(x, p, status, val_get(old, N_status));
}

static void status_of_daemons(struct validation *x, const struct vpath *p, const struct val *v,
                              const struct val *old)
{
    check_counts(x, p, val_get(v, N_status), of_daemons);
    check_collisions(x, p, val_get(v, N_status), val_get(old, N_status));
}

static void status_of_autoscaler(struct validation *x, const struct vpath *p, const struct val *v,
                                 const struct val *old)
{
    size_t i = 0;
    (void)old;
    VAL_EACH (val_at(v, N_status, N_conditions), c)
        check_range(x, AT(ITEM(AT(p, N_conditions), i++), N_observedGeneration),
                    val_get(c, N_observedGeneration), 0, INT64_MAX);
    check_counts(x, p, val_get(v, N_status), of_autoscaler);
}

/* ---- conditions of metav1 ------------------------------------------------------------------------------ */

enum { REASON_MAX = 1024, MESSAGE_MAX = 32768 };

static bool is_reason(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'), last = i + 1 == s.n;
        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '_' || (!last && (c == ',' || c == ':')))))
            return false;
    }
    return true;
}

static void check_condition(struct validation *x, const struct vpath *p, const struct val *c)
{
    static const char *const values[] = {"False", "True", "Unknown", NULL};
    struct str reason = val_getstr(c, N_reason);
    if (!val_getstr(c, N_type).n)
        say_required(x, AT(p, N_type), "is required");
    else
        check_text(x, AT(p, N_type), val_getstr(c, N_type), check_label_key);
    if (!val_getstr(c, N_status).n)
        say_required(x, AT(p, N_status), NULL);
    else if (!str_in(val_getstr(c, N_status), values))
        say_unsupported(x, AT(p, N_status), val_get(c, N_status), values);
    check_range(x, AT(p, N_observedGeneration), val_get(c, N_observedGeneration), 0, INT64_MAX);
    if (!val_get(c, N_lastTransitionTime))
        say_required(x, AT(p, N_lastTransitionTime), NULL);
    if (!reason.n)
        say_required(x, AT(p, N_reason), NULL);
    else if (!is_reason(reason))
        say_invalid_str(
            x, AT(p, N_reason), reason,
            "a condition reason must start with alphabetic character, optionally followed by a string of "
            "alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. "
            "'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex "
            "used for "
            "validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')");
    if (reason.n > REASON_MAX)
        say_too_long(x, AT(p, N_reason), REASON_MAX);
    if (val_getstr(c, N_message).n > MESSAGE_MAX)
        say_too_long(x, AT(p, N_message), MESSAGE_MAX);
}

static void check_conditions(struct validation *x, const struct vpath *p, const struct val *list)
{
    for (size_t i = 0; i < val_len(list); i++) {
        const struct val *c = val_item(list, i);
        for (size_t j = 0; j < i; j++)
            if (str_eq(val_getstr(val_item(list, j), N_type), val_getstr(c, N_type))) {
                say_duplicate(x, ITEM(p, i), val_get(c, N_type));
                break;
            }
        check_condition(x, ITEM(p, i), c);
    }
}

static void status_of_disruptions(struct validation *x, const struct vpath *p, const struct val *v,
                                  const struct val *old)
{
    (void)old;
    check_conditions(x, AT(p, N_conditions), val_at(v, N_status, N_conditions));
    check_counts(x, p, val_get(v, N_status), of_disruptions);
}

/* ---- load balancers ------------------------------------------------------------------------------------ */

static bool had_ip(const struct val *old, struct str ip)
{
    VAL_EACH (old, i)
        if (str_eq(val_getstr(i, N_ip), ip))
            return true;
    return false;
}

static void check_ip_mode(struct validation *x, const struct vpath *p, const struct val *ingress)
{
    static const char *const modes[] = {"Proxy", "VIP", NULL};
    const struct val *mode = val_get(ingress, N_ipMode);
    bool ip = val_getstr(ingress, N_ip).n > 0;
    if (ip && !mode)
        say_required(x, AT(p, N_ipMode), "must be specified when `ip` is set");
    else if (!ip && mode)
        say_forbidden(x, AT(p, N_ipMode), "may not be specified when `ip` is not set");
    else if (mode && !str_in(val_str(mode), modes))
        say_unsupported(x, AT(p, N_ipMode), mode, modes);
}

static void check_ingress_point(struct validation *x, const struct vpath *p, const struct val *v,
                                const struct val *old)
{
    struct str ip = val_getstr(v, N_ip), host = val_getstr(v, N_hostname);
    struct check c = {0};
    if (ip.n && !had_ip(old, ip))
        check_text(x, AT(p, N_ip), ip, check_ip);
    if (!host.n)
        return;
    check_text(x, AT(p, N_hostname), host, check_subdomain);
    check_ip(&c, host);
    if (!c.n)
        say_invalid_str(x, AT(p, N_hostname), host, "must be a DNS name, not an IP address");
}

static void check_balancer(struct validation *x, const struct vpath *p, const struct val *v,
                           const struct val *old, bool modes)
{
    const struct val *was = val_at(old, N_status, N_loadBalancer, N_ingress);
    const struct vpath *list_at = AT(AT(p, N_loadBalancer), N_ingress);
    size_t i = 0;
    VAL_EACH (val_at(v, N_status, N_loadBalancer, N_ingress), point) {
        const struct vpath *at = ITEM(list_at, i++);
        check_ingress_point(x, at, point, was);
        if (modes)
            check_ip_mode(x, at, point);
    }
}

static void status_of_service(struct validation *x, const struct vpath *p, const struct val *v,
                              const struct val *old)
{
    bool balanced = str_is(val_str(val_at(v, N_spec, N_type)), "LoadBalancer");
    if (!balanced && val_len(val_at(v, N_status, N_loadBalancer, N_ingress)))
        say_forbidden(x, AT(AT(p, N_loadBalancer), N_ingress),
                      "may only be used when `spec.type` is 'LoadBalancer'");
    else
        check_balancer(x, p, v, old, true);
}

static void status_of_ingress(struct validation *x, const struct vpath *p, const struct val *v,
                              const struct val *old)
{
    check_balancer(x, p, v, old, false);
}

/* ---- Pods ---------------------------------------------------------------------------------------------- */

static void check_pod_conditions(struct validation *x, const struct vpath *p, const struct val *list)
{
    static const char *const own[] = {"PodScheduled", "Ready", "Initialized", NULL};
    size_t i = 0;
    VAL_EACH (list, c) {
        check_range(x, AT(ITEM(p, i), N_observedGeneration), val_get(c, N_observedGeneration), 0, INT64_MAX);
        if (!str_in(val_getstr(c, N_type), own))
            check_text(x, AT_TEXT(ITEM(p, i), "Type"), val_getstr(c, N_type), check_label_key);
        i++;
    }
}

static bool code_in(const struct val *codes, int64_t code)
{
    bool in = false;
    VAL_EACH (val_get(codes, N_values), c)
        in = in || c->i == code;
    return str_is(val_getstr(codes, N_operator), "NotIn") ? !in : in;
}

static bool policy_restarts(struct str policy, int64_t code)
{
    return !str_is(policy, "Never") && (!str_is(policy, "OnFailure") || code != 0);
}

/* KEP-5307: rules of the container come first, then its policy, then that of the Pod. */
static bool may_restart(const struct val *container, const struct val *spec, int64_t code)
{
    struct str policy = val_getstr(container, N_restartPolicy);
    if (policy.n) {
        VAL_EACH (val_get(container, N_restartPolicyRules), rule)
            if (code_in(val_get(rule, N_exitCodes), code))
                return true;
        return policy_restarts(policy, code);
    }
    return policy_restarts(val_getstr(spec, N_restartPolicy), code);
}

static bool all_may_restart(const struct val *spec)
{
    static const name_id lists[] = {N_initContainers, N_containers};
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
        VAL_EACH (val_get(spec, lists[l]), c)
            VAL_EACH (val_get(c, N_restartPolicyRules), rule)
                if (str_is(val_getstr(rule, N_action), "RestartAllContainers"))
                    return true;
    return false;
}

/* A container that has ended and is not to be started again stays as it is. containers: NULL, those never
 * are. */
static void check_ended(struct validation *x, const struct vpath *p, const struct val *list,
                        const struct val *old, const struct val *spec, const struct val *containers)
{
    size_t i = 0;
    VAL_EACH (old, was) {
        const struct vpath *at = ITEM(p, i++);
        const struct val *ended = val_at(was, N_state, N_terminated),
                         *now = val_named(list, val_getstr(was, N_name));
        const struct val *container = val_named(containers, val_getstr(was, N_name));
        if (ended && now && !val_at(now, N_state, N_terminated) &&
            !(container && may_restart(container, spec, number(ended, N_exitCode))))
            say_forbidden(x, AT(at, N_state), "may not be transitioned to non-terminated state");
    }
}

static bool is_v6(const struct val *ip)
{
    return str_find(val_getstr(ip, N_ip), ':') >= 0;
}

static void check_addresses(struct validation *x, const struct vpath *p, const struct val *list,
                            const struct val *old)
{
    size_t i = 0;
    VAL_EACH (list, item) {
        if (!had_ip(old, val_getstr(item, N_ip)))
            check_text(x, ITEM(p, i), val_getstr(item, N_ip), check_ip);
        i++;
    }
    if (val_len(list) > 2 || (val_len(list) == 2 && is_v6(val_item(list, 0)) == is_v6(val_item(list, 1))))
        say_invalid(x, p, list, "may specify no more than one IP for each IP family");
}

static void check_pod_addresses(struct validation *x, const struct vpath *p, const struct val *status,
                                const struct val *was)
{
    const struct val *ips = val_get(status, N_podIPs), *hosts = val_get(status, N_hostIPs);
    struct str ip = val_getstr(status, N_podIP), first = val_getstr(val_item(ips, 0), N_ip);
    check_addresses(x, AT(p, N_podIPs), ips, val_get(was, N_podIPs));
    if ((ip.n > 0) != (val_len(ips) > 0))
        say_invalid(x, AT(p, N_podIPs), ips, "podIP and podIPs must either both be set or both be unset");
    else if (ip.n && !str_eq(ip, first))
        say_invalid_str(x, AT(ITEM(AT(p, N_podIPs), 0), N_ip), first, "must be equal to `podIP`");
    if (!val_len(hosts))
        return;
    first = val_getstr(val_item(hosts, 0), N_ip);
    if (!str_eq(val_getstr(status, N_hostIP), first))
        say_invalid_str(x, AT(ITEM(AT(p, N_hostIPs), 0), N_ip), first, "must be equal to `hostIP`");
    check_addresses(x, AT(p, N_hostIPs), hosts, val_get(was, N_hostIPs));
}

static void check_nominated(struct validation *x, const struct vpath *p, const struct val *v,
                            const struct val *old)
{
    const struct val *node = val_at(v, N_status, N_nominatedNodeName);
    if (!val_str(node).n || val_equal(node, val_at(old, N_status, N_nominatedNodeName)))
        return;
    check_text(x, AT(p, N_nominatedNodeName), val_str(node), check_subdomain);
    if (val_str(val_at(old, N_spec, N_nodeName)).n)
        say_forbidden(x, AT(p, N_nominatedNodeName),
                      "may not be set on pods that are already bound to a node");
}

static void status_of_pod(struct validation *x, const struct vpath *p, const struct val *v,
                          const struct val *old)
{
    static const struct {
        name_id statuses, containers;
    } lists[] = {{N_containerStatuses, N_containers}, {N_initContainerStatuses, N_initContainers}};
    const struct val *status = val_get(v, N_status), *was = val_get(old, N_status),
                     *spec = val_get(old, N_spec);
    check_pod_conditions(x, AT(p, N_conditions), val_get(status, N_conditions));
    check_nominated(x, p, v, old);
    check_range(x, AT(p, N_observedGeneration), val_get(status, N_observedGeneration), 0, INT64_MAX);
    check_same(x, AT(p, N_qosClass), val_get(status, N_qosClass), val_get(was, N_qosClass));
    for (size_t i = 0; !all_may_restart(spec) && i < ARRAY_SIZE(lists); i++)
        check_ended(x, AT(p, lists[i].statuses), val_get(status, lists[i].statuses),
                    val_get(was, lists[i].statuses), spec, val_get(spec, lists[i].containers));
    check_ended(x, AT(p, N_ephemeralContainerStatuses), val_get(status, N_ephemeralContainerStatuses),
                val_get(was, N_ephemeralContainerStatuses), spec, NULL);
    check_pod_addresses(x, p, status, was);
}

/* ---- others of the core group -------------------------------------------------------------------------- */

static void status_of_namespace(struct validation *x, const struct vpath *p, const struct val *v,
                                const struct val *old)
{
    const struct val *phase = val_at(v, N_status, N_phase);
    bool deleting = obj_deleting(v);
    (void)old;
    if (!deleting && !str_is(val_str(phase), "Active"))
        say_invalid(x, AT_TEXT(p, "Phase"), phase, "may only be 'Active' if `deletionTimestamp` is empty");
    if (deleting && !str_is(val_str(phase), "Terminating"))
        say_invalid(x, AT_TEXT(p, "Phase"), phase,
                    "may only be 'Terminating' if `deletionTimestamp` is not empty");
}

static void status_of_node(struct validation *x, const struct vpath *p, const struct val *v,
                           const struct val *old)
{
    const struct val *addresses = val_at(v, N_status, N_addresses);
    (void)old;
    check_node_amounts(x, p, val_get(v, N_status));
    for (size_t i = 0; i < val_len(addresses); i++)
        for (size_t j = 0; j < i; j++)
            if (val_equal(val_item(addresses, i), val_item(addresses, j))) {
                say_duplicate(x, ITEM(AT(p, N_addresses), i), val_item(addresses, i));
                break;
            }
}

static void status_of_quota(struct validation *x, const struct vpath *p, const struct val *v,
                            const struct val *old)
{
    static const name_id lists[] = {N_hard, N_used};
    (void)old;
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        VAL_EACH_ENTRY (val_at(v, N_status, lists[i]), k, q) {
            check_quota_name(x, KEY(AT(p, lists[i]), val_str(k)), val_str(k));
            check_resource_amount(x, KEY(AT(p, lists[i]), val_str(k)), val_str(k), q);
        }
}

static bool check_claim_key(struct validation *x, const struct vpath *p, const struct val *key)
{
    size_t before = x->s->n_causes;
    struct str k = val_str(key), prefix, rest;
    check_text(x, p, k, check_label_key);
    bool native = !str_cut(k, '/', &prefix, &rest) || str_ends(prefix, STR("kubernetes.io"));
    if (x->s->n_causes == before && native && !str_is(k, "storage"))
        say_unsupported(x, p, key, (const char *const[]){"storage", NULL});
    return x->s->n_causes == before;
}

static void status_of_claim(struct validation *x, const struct vpath *p, const struct val *v,
                            const struct val *old)
{
    static const char *const resizing[] = {"ControllerResizeInProgress", "ControllerResizeInfeasible",
                                           "NodeResizePending",          "NodeResizeInProgress",
                                           "NodeResizeInfeasible",       NULL};
    const struct val *status = val_get(v, N_status);
    const struct vpath *at = AT(p, N_allocatedResourceStatuses);
    (void)old;
    VAL_EACH_ENTRY (val_get(status, N_capacity), k, q)
        check_quantity(x, KEY(AT(p, N_capacity), val_str(k)), q);
    VAL_EACH_ENTRY (val_get(status, N_allocatedResourceStatuses), k, s) {
        check_claim_key(x, at, k);
        if (!str_in(val_str(s), resizing))
            say_unsupported(x, at, k, resizing);
    }
    VAL_EACH_ENTRY (val_get(status, N_allocatedResources), k, q)
        if (check_claim_key(x, AT(p, N_allocatedResources), k))
            check_resource_amount(x, KEY(AT(p, N_allocatedResources), val_str(k)), STR("storage"), q);
}

static const struct {
    const char *group, *name;
    rule_fn *fn;
} kinds[] = {
    {"", "pods", status_of_pod},
    {"", "replicationcontrollers", status_of_replicas},
    {"", "services", status_of_service},
    {"", "namespaces", status_of_namespace},
    {"", "nodes", status_of_node},
    {"", "resourcequotas", status_of_quota},
    {"", "persistentvolumeclaims", status_of_claim},
    {"apps", "deployments", status_of_replicas},
    {"apps", "replicasets", status_of_replicas},
    {"apps", "statefulsets", status_of_replicas},
    {"apps", "daemonsets", status_of_daemons},
    {"batch", "jobs", check_job_status},
    {"certificates.k8s.io", "certificatesigningrequests", check_csr_status},
    {"autoscaling", "horizontalpodautoscalers", status_of_autoscaler},
    {"resource.k8s.io", "resourceclaims", check_resource_claim_status},
    {"networking.k8s.io", "ingresses", status_of_ingress},
    {"policy", "poddisruptionbudgets", status_of_disruptions},
};

void check_status(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (strcmp(kinds[i].name, x->res->name) == 0 && strcmp(kinds[i].group, x->res->group) == 0)
            kinds[i].fn(x, p, v, old);
}
