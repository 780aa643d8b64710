/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds that keep Pods running: Deployment, ReplicaSet, ReplicationController, StatefulSet, DaemonSet. */
#include "type/selector.h"
#include "type/validate-internal.h"

static bool selector_empty(const struct val *selector)
{
    return !val_len(val_get(selector, N_matchLabels)) && !val_len(val_get(selector, N_matchExpressions));
}

/* An empty selector, or one that does not match the labels of its own template, is refused. */
static void check_own_selector(struct validation *x, const struct vpath *p, const struct val *spec,
                               const char *why)
{
    const struct val *selector = val_get(spec, N_selector);
    if (!selector)
        return;
    if (selector_empty(selector))
        say_invalid(x, AT(p, N_selector), selector, why);
}

static void check_template(struct validation *x, const struct vpath *p, const struct val *spec,
                           bool nil_matches)
{
    static const struct val nothing = {.kind = VAL_NULL};
    const struct val *selector = val_get(spec, N_selector), *template = val_get(spec, N_template);
    const struct vpath *labels_at = AT(AT(AT(p, N_template), N_metadata), N_labels);
    if (nil_matches && (!selector || selector_empty(selector)))
        return;
    check_selector_matches(x, AT(p, N_selector), selector ?: &nothing, labels_at, obj_labels(template));
}

/* What runs for good restarts always and has no deadline. */
static void check_long_running(struct validation *x, const struct vpath *p, const struct val *spec,
                               const char *why)
{
    const struct val *policy = val_at(spec, N_template, N_spec, N_restartPolicy);
    const struct vpath *at = AT(AT(p, N_template), N_spec);
    if (policy && !str_is(val_str(policy), "Always"))
        say_unsupported(x, AT(at, N_restartPolicy), policy, (const char *const[]){"Always", NULL});
    if (val_at(spec, N_template, N_spec, N_activeDeadlineSeconds))
        say_forbidden(x, AT(at, N_activeDeadlineSeconds), why);
}

/* ---- Deployment ---------------------------------------------------------------------------------------- */

static void check_rolling(struct validation *x, const struct vpath *p, const struct val *rolling)
{
    const struct val *unavailable = val_get(rolling, N_maxUnavailable), *surge = val_get(rolling, N_maxSurge);
    check_int_or_percent(x, AT(p, N_maxUnavailable), unavailable);
    check_int_or_percent(x, AT(p, N_maxSurge), surge);
    if (int_or_percent_is_zero(unavailable) && int_or_percent_is_zero(surge))
        say_invalid(x, AT(p, N_maxUnavailable), unavailable, "may not be 0 when `maxSurge` is 0");
    check_at_most_100_percent(x, AT(p, N_maxUnavailable), unavailable);
}

static void check_deployment_strategy(struct validation *x, const struct vpath *p, const struct val *v)
{
    const struct val *type = val_get(v, N_type), *rolling = val_get(v, N_rollingUpdate);
    static const char *const kinds[] = {"Recreate", "RollingUpdate", NULL};
    if (str_is(val_str(type), "Recreate")) {
        if (rolling)
            say_forbidden(x, AT(p, N_rollingUpdate),
                          "may not be specified when strategy `type` is 'Recreate'");
    } else if (!str_is(val_str(type), "RollingUpdate")) {
        say_unsupported(x, p, type, kinds);
    } else if (!rolling) {
        say_required(x, AT(p, N_rollingUpdate), "this should be defaulted and never be nil");
    } else {
        check_rolling(x, AT(p, N_rollingUpdate), rolling);
    }
}

static void rule_deployment_spec(struct validation *x, const struct vpath *p, const struct val *v,
                                 const struct val *old)
{
    const struct val *deadline = val_get(v, N_progressDeadlineSeconds);
    check_own_selector(x, p, v, "empty selector is invalid for deployment");
    check_template(x, p, v, false);
    check_long_running(x, p, v, "activeDeadlineSeconds in ReplicaSet is not Supported");
    check_deployment_strategy(x, AT(p, N_strategy), val_get(v, N_strategy));
    if (deadline && val_int(deadline, 0) <= val_int(val_get(v, N_minReadySeconds), 0))
        say_invalid(x, AT(p, N_progressDeadlineSeconds), deadline, "must be greater than minReadySeconds");
}

/* ---- ReplicaSet and ReplicationController -------------------------------------------------------------- */

static void rule_replica_set_spec(struct validation *x, const struct vpath *p, const struct val *v,
                                  const struct val *old)
{
    check_own_selector(x, p, v, "empty selector is invalid for deployment");
    check_template(x, p, v, true);
    check_long_running(x, p, v, "activeDeadlineSeconds in ReplicaSet is not Supported");
}

static void rule_controller_spec(struct validation *x, const struct vpath *p, const struct val *v,
                                 const struct val *old)
{
    const struct val *selector = val_get(v, N_selector), *template = val_get(v, N_template);
    const struct val *labels = obj_labels(template);
    if (!val_len(selector))
        say_required(x, AT(p, N_selector), NULL);
    if (!template)
        say_required(x, AT(p, N_template), NULL);
    VAL_EACH_ENTRY (selector, k, value)
        if (template && !str_eq(val_str(val_key(labels, val_str(k))), val_str(value))) {
            say_invalid(x, AT(AT(AT(p, N_template), N_metadata), N_labels), labels,
                        "`selector` does not match template `labels`");
            break;
        }
    check_long_running(x, p, v, "activeDeadlineSeconds in ReplicationController is not Supported");
}

/* ---- StatefulSet --------------------------------------------------------------------------------------- */

static void check_partitioned(struct validation *x, const struct vpath *p, const struct val *rolling)
{
    const struct val *unavailable = val_get(rolling, N_maxUnavailable);
    check_range(x, AT(p, N_partition), val_get(rolling, N_partition), 0, INT32_MAX);
    if (!unavailable)
        return;
    check_int_or_percent(x, AT(p, N_maxUnavailable), unavailable);
    if (int_or_percent_is_zero(unavailable))
        say_invalid(x, AT(p, N_maxUnavailable), unavailable, "cannot be 0");
    check_at_most_100_percent(x, AT(p, N_maxUnavailable), unavailable);
}

static void check_set_strategy(struct validation *x, const struct vpath *p, const struct val *v)
{
    struct str type = val_getstr(v, N_type);
    const struct val *rolling = val_get(v, N_rollingUpdate);
    if (!type.n)
        say_required(x, p, NULL);
    else if (str_is(type, "RollingUpdate"))
        check_partitioned(x, AT(p, N_rollingUpdate), rolling);
    else if (!str_is(type, "OnDelete"))
        say_invalid(x, p, v, "must be 'RollingUpdate' or 'OnDelete'");
    else if (rolling)
        say_invalid(x, AT(p, N_rollingUpdate), rolling, "only allowed for updateStrategy 'RollingUpdate'");
}

static void rule_stateful_set_spec(struct validation *x, const struct vpath *p, const struct val *v,
                                   const struct val *old)
{
    static const char *const orders[] = {"OrderedReady", "Parallel", NULL};
    struct str order = val_getstr(v, N_podManagementPolicy);
    x->claim_templates = val_get(v, N_volumeClaimTemplates);
    if (order.n && !str_in(order, orders))
        say_invalid_str(x, AT(p, N_podManagementPolicy), order, "must be 'OrderedReady' or 'Parallel'");
    check_set_strategy(x, AT(p, N_updateStrategy), val_get(v, N_updateStrategy));
    check_range(x, AT_TEXT(p, "ordinals.start"), val_at(v, N_ordinals, N_start), 0, INT32_MAX);
    check_own_selector(x, p, v, "empty selector is invalid for statefulset");
    check_template(x, p, v, val_get(v, N_selector) != NULL);
    check_long_running(x, p, v, "activeDeadlineSeconds in StatefulSet is not Supported");
    static const name_id fixed[] = {N_volumeClaimTemplates, N_serviceName, N_podManagementPolicy};
    for (size_t k = 0; old && k < ARRAY_SIZE(fixed); k++)
        check_same(x, AT(p, fixed[k]), val_get(v, fixed[k]), val_get(old, fixed[k]));
}

/* ---- DaemonSet ----------------------------------------------------------------------------------------- */

static void check_daemon_rolling(struct validation *x, const struct vpath *p, const struct val *rolling)
{
    const struct val *unavailable = val_get(rolling, N_maxUnavailable), *surge = val_get(rolling, N_maxSurge);
    bool has_unavailable = !int_or_percent_is_zero(unavailable), has_surge = !int_or_percent_is_zero(surge);
    check_int_or_percent(x, AT(p, N_maxUnavailable), unavailable);
    check_at_most_100_percent(x, AT(p, N_maxUnavailable), unavailable);
    check_int_or_percent(x, AT(p, N_maxSurge), surge);
    check_at_most_100_percent(x, AT(p, N_maxSurge), surge);
    if (has_unavailable && has_surge)
        say_invalid(x, AT(p, N_maxSurge), surge, "may not be set when maxUnavailable is non-zero");
    else if (!has_unavailable && !has_surge)
        say_required(x, AT(p, N_maxUnavailable), "cannot be 0 when maxSurge is 0");
}

static void rule_daemon_set_spec(struct validation *x, const struct vpath *p, const struct val *v,
                                 const struct val *old)
{
    static const char *const kinds[] = {"RollingUpdate", "OnDelete", NULL};
    const struct val *strategy = val_get(v, N_updateStrategy), *type = val_get(strategy, N_type);
    const struct vpath *at = AT(p, N_updateStrategy);
    struct selector parsed;
    check_own_selector(x, p, v, "empty selector is invalid for daemonset");
    if (!val_get(v, N_selector) || selector_from_val(x->s->arena, val_get(v, N_selector), &parsed, NULL) == 0)
        check_template(x, p, v, false);
    check_long_running(x, p, v, "activeDeadlineSeconds in DaemonSet is not Supported");
    if (str_is(val_str(type), "RollingUpdate"))
        check_daemon_rolling(x, AT(at, N_rollingUpdate), val_get(strategy, N_rollingUpdate));
    else if (!str_is(val_str(type), "OnDelete"))
        say_unsupported(x, at, type ?: &(struct val){.kind = VAL_STR, .s = ""}, kinds);
}

static void rule_revision(struct validation *x, const struct vpath *p, const struct val *v,
                          const struct val *old)
{
    if (!val_get(v, N_data))
        say_required(x, AT(p, N_data), "data is mandatory");
    check_range(x, AT(p, N_revision), val_get(v, N_revision), 0, INT64_MAX);
}

const struct rule rules_apps[] = {
    {T_apps_v1_ControllerRevision, 0, rule_revision},
    {T_apps_v1_DaemonSetSpec, 0, rule_daemon_set_spec},
    {T_apps_v1_DaemonSetUpdateStrategy, RULE_OWN, NULL},
    {T_apps_v1_DeploymentSpec, 0, rule_deployment_spec},
    {T_apps_v1_DeploymentStrategy, RULE_OWN, NULL},
    {T_apps_v1_ReplicaSetSpec, 0, rule_replica_set_spec},
    {T_apps_v1_RollingUpdateDaemonSet, RULE_OWN, NULL},
    {T_apps_v1_RollingUpdateDeployment, RULE_OWN, NULL},
    {T_apps_v1_RollingUpdateStatefulSetStrategy, RULE_OWN, NULL},
    {T_apps_v1_StatefulSetSpec, 0, rule_stateful_set_spec},
    {T_apps_v1_StatefulSetOrdinals, RULE_OWN, NULL},
    {T_apps_v1_StatefulSetUpdateStrategy, RULE_OWN, NULL},
    {T_core_v1_ReplicationControllerSpec, 0, rule_controller_spec},
    {0, 0, NULL},
};
