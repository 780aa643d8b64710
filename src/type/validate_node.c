/* SPDX-License-Identifier: Apache-2.0 */
/* Node, RuntimeClass, Lease, PriorityClass. */
#include "type/validate-internal.h"

static void check_taints(struct validation *x, const struct vpath *p, const struct val *taints)
{
    for (size_t i = 0; i < val_len(taints); i++) {
        const struct val *t = val_item(taints, i);
        const struct vpath *at = ITEM(p, i);
        check_text(x, AT(at, N_key), val_getstr(t, N_key), check_label_key);
        check_text(x, AT(at, N_value), val_getstr(t, N_value), check_label_text);
        if (!val_getstr(t, N_effect).n)
            say_required(x, AT(at, N_effect), NULL);
        else
            check_taint_effect(x, AT(at, N_effect), val_get(t, N_effect));
        for (size_t j = 0; j < i; j++)
            if (val_equal(val_get(val_item(taints, j), N_key), val_get(t, N_key)) &&
                val_equal(val_get(val_item(taints, j), N_effect), val_get(t, N_effect))) {
                say_duplicate(x, at, t);
                break;
            }
    }
}

static void check_pod_cidrs(struct validation *x, const struct vpath *p, const struct val *cidrs)
{
    for (size_t i = 0; i < val_len(cidrs); i++)
        check_text(x, ITEM(p, i), val_str(val_item(cidrs, i)), check_cidr);
    bool pair = val_len(cidrs) == 2 && (str_find(val_str(val_item(cidrs, 0)), ':') >= 0) !=
                                           (str_find(val_str(val_item(cidrs, 1)), ':') >= 0);
    if (val_len(cidrs) > 1 && !pair)
        say_invalid(x, p, cidrs, "may specify no more than one CIDR for each IP family");
}

static void check_node_update(struct validation *x, const struct vpath *p, const struct val *spec,
                              const struct val *old)
{
    const struct val *cidrs = val_get(spec, N_podCIDRs), *had = val_get(old, N_podCIDRs);
    if (val_len(had) && !val_equal(cidrs, had))
        say_forbidden(x, AT(p, N_podCIDRs), "node updates may not change podCIDR except from \"\" to valid");
    if (val_getstr(old, N_providerID).n &&
        !val_equal(val_get(spec, N_providerID), val_get(old, N_providerID)))
        say_invalid(x, AT(p, N_providerID), val_get(spec, N_providerID),
                    "node updates may not change providerID except from \"\" to valid");
}

void check_node_amounts(struct validation *x, const struct vpath *p, const struct val *status)
{
    static const name_id amounts[] = {N_capacity, N_allocatable};
    for (size_t i = 0; i < ARRAY_SIZE(amounts); i++)
        VAL_EACH_ENTRY (val_get(status, amounts[i]), k, q)
            check_resource_amount(x, AT_TEXT(AT(p, amounts[i]), val_cstr(k)), val_str(k), q);
}

static void rule_node(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    const struct val *spec = val_get(v, N_spec);
    const struct vpath *at = AT(p, N_spec);
    check_taints(x, AT(AT(p, N_metadata), N_taints), val_get(spec, N_taints)); /* so upstream names it */
    check_pod_cidrs(x, AT(at, N_podCIDRs), val_get(spec, N_podCIDRs));
    if (!old)
        check_node_amounts(x, AT(p, N_status), val_get(v, N_status));
    if (old)
        check_node_update(x, at, spec, val_get(old, N_spec));
}

/* ---- RuntimeClass -------------------------------------------------------------------------------------- */

static void rule_runtime_class(struct validation *x, const struct vpath *p, const struct val *v,
                               const struct val *old)
{
    const struct val *fixed = val_at(v, N_overhead, N_podFixed),
                     *tolerations = val_at(v, N_scheduling, N_tolerations);
    if (val_getstr(v, N_handler).n)
        check_text(x, AT(p, N_handler), val_getstr(v, N_handler), check_label_of_dns);
    else
        say_required(x, AT(p, N_handler), NULL);
    VAL_EACH_ENTRY (fixed, k, q) {
        const struct vpath *at = KEY(AT(AT(p, N_overhead), N_limits), val_str(k)); /* so upstream names it */
        check_container_resource_name(x, at, val_str(k));
        check_resource_amount(x, at, val_str(k), q);
    }
    for (size_t i = 0; i < val_len(tolerations); i++)
        for (size_t j = 0; j < i; j++)
            if (val_equal(val_item(tolerations, i), val_item(tolerations, j))) {
                say_duplicate(x, ITEM(AT(AT(p, N_scheduling), N_tolerations), i), val_item(tolerations, i));
                break;
            }
    if (old)
        check_same(x, AT(p, N_handler), val_get(v, N_handler), val_get(old, N_handler));
}

/* ---- Lease, PriorityClass ------------------------------------------------------------------------------ */

static void rule_lease_spec(struct validation *x, const struct vpath *p, const struct val *v,
                            const struct val *old)
{
    const struct val *duration = val_get(v, N_leaseDurationSeconds),
                     *transitions = val_get(v, N_leaseTransitions);
    if (duration && duration->i <= 0)
        say_invalid(x, AT(p, N_leaseDurationSeconds), duration, "must be greater than 0");
    if (transitions && transitions->i < 0)
        say_invalid(x, AT(p, N_leaseTransitions), transitions, "must be greater than or equal to 0");
    /* An empty holderIdentity is a lease given up (client-go's ReleaseOnCancel). */
    if (val_getstr(v, N_preferredHolder).n && !val_getstr(v, N_strategy).n)
        say_invalid(x, AT(p, N_preferredHolder), val_get(v, N_preferredHolder),
                    "may only be specified if `strategy` is defined");
}

static void rule_priority_class(struct validation *x, const struct vpath *p, const struct val *v,
                                const struct val *old)
{
    enum { USER_MAX = 1000000000 };
    static const char *const policies[] = {"Never", "PreemptLowerPriority", NULL};
    const struct val *value = val_get(v, N_value), *policy = val_get(v, N_preemptionPolicy);
    struct str name = obj_name(v);
    bool system = str_is(name, "system-node-critical") || str_is(name, "system-cluster-critical");
    if (str_starts(name, STR("system-")) && !system)
        say_forbidden(x, AT(AT(p, N_metadata), N_name),
                      "priority class names with 'system-' prefix are reserved for system use only");
    if (!system && val_int(value, 0) > USER_MAX)
        say_forbidden(x, AT(p, N_value), "maximum allowed value of a user defined priority is 1000000000");
    if (policy && !policy->n)
        say_required(x, AT(p, N_preemptionPolicy), NULL);
    else if (policy && !str_in(val_str(policy), policies))
        say_unsupported(x, AT(p, N_preemptionPolicy), policy, policies);
    if (!old)
        return;
    if (!val_equal(value, val_get(old, N_value)))
        say_forbidden(x, AT(p, N_value), "may not be changed in an update.");
    check_same(x, AT(p, N_preemptionPolicy), policy, val_get(old, N_preemptionPolicy));
}

const struct rule rules_node[] = {
    {T_coordination_v1_LeaseSpec, RULE_OWN, rule_lease_spec},
    {T_core_v1_Node, RULE_OWN, rule_node},
    {T_core_v1_NodeSpec, RULE_OWN, NULL},
    {T_core_v1_Taint, RULE_OWN, NULL},
    {T_node_v1_Overhead, RULE_OWN, NULL},
    {T_node_v1_RuntimeClass, RULE_OWN, rule_runtime_class},
    {T_scheduling_v1_PriorityClass, RULE_OWN, rule_priority_class},
    {0, 0, NULL},
};
