/* SPDX-License-Identifier: Apache-2.0 */
/* Defaults that depend on other fields, of the groups beside core. */
#include "names.h"
#include "type/defaults-internal.h"
#include "type/meta.h"
#include "types.h"
#include "wire/json.h"

static bool empty(const struct val *v, name_id name)
{
    return val_getstr(v, name).n == 0;
}

static void set_json(struct arena *a, struct val *v, name_id name, const struct type *t, const char *json)
{
    struct val *c = NULL;
    if (json_decode(a, t, str_of(json), JSON_DECODE_DEFAULT, NULL, &c, NULL) == 0)
        val_set(a, v, name, *c);
}

/* ---- apps ---------------------------------------------------------------------------------------------- */

/* A rolling update has its parameters, so that their own defaults apply. */
static void default_rolling_update(struct arena *a, struct val *strategy)
{
    if (str_is(val_getstr(strategy, N_type), "RollingUpdate"))
        val_sub_obj(a, strategy, N_rollingUpdate);
}

/* Upstream makes the parameters only together with the type. */
static void default_stateful_set_spec(struct arena *a, struct val *spec)
{
    if (empty(val_get(spec, N_updateStrategy), N_type))
        val_sub_obj(a, val_sub_obj(a, spec, N_updateStrategy), N_rollingUpdate);
    struct val *claims = val_mut(spec, N_volumeClaimTemplates);
    for (size_t i = 0; i < val_len(claims); i++) {
        val_set_str(a, &claims->items[i], N_apiVersion, STR("v1"));
        val_set_str(a, &claims->items[i], N_kind, STR("PersistentVolumeClaim"));
    }
}

/* ---- batch --------------------------------------------------------------------------------------------- */

static void default_job_counts(struct arena *a, struct val *spec)
{
    if (!val_get(spec, N_completions) && !val_get(spec, N_parallelism))
        val_set_int(a, spec, N_completions, 1);
    if (!val_get(spec, N_parallelism))
        val_set_int(a, spec, N_parallelism, 1);
    if (!val_get(spec, N_backoffLimit))
        val_set_int(a, spec, N_backoffLimit, val_get(spec, N_backoffLimitPerIndex) ? INT32_MAX : 6);
}

static void default_job(struct arena *a, struct val *job)
{
    struct val *spec = val_sub_obj(a, job, N_spec);
    const struct val *labels = val_at(spec, N_template, N_metadata, N_labels);
    default_job_counts(a, spec);
    if (val_len(labels) && !val_len(obj_labels(job)))
        val_set(a, val_sub_obj(a, job, N_metadata), N_labels, *val_copy(a, labels));
    if (!val_get(spec, N_completionMode))
        val_set_str(a, spec, N_completionMode, STR("NonIndexed"));
    if (!val_get(spec, N_suspend))
        val_set_bool(a, spec, N_suspend, false);
    if (!val_get(spec, N_podReplacementPolicy))
        val_set_str(a, spec, N_podReplacementPolicy,
                    val_get(spec, N_podFailurePolicy) ? STR("Failed") : STR("TerminatingOrFailed"));
    if (!val_get(spec, N_manualSelector))
        val_set_bool(a, spec, N_manualSelector, false);
}

/* ---- autoscaling --------------------------------------------------------------------------------------- */

static void default_hpa_spec(struct arena *a, struct val *spec)
{
    if (val_len(val_get(spec, N_metrics)))
        return;
    struct val *list = val_new(a, VAL_LIST), *m = val_add_obj(a, list);
    val_set_str(a, m, N_type, STR("Resource"));
    struct val *resource = val_sub_obj(a, m, N_resource), *target = NULL;
    val_set_str(a, resource, N_name, STR("cpu"));
    target = val_sub_obj(a, resource, N_target);
    val_set_str(a, target, N_type, STR("Utilization"));
    val_set_int(a, target, N_averageUtilization, 80);
    val_set(a, spec, N_metrics, *list);
}

/* As the metric that the newer version has by default. */
static void default_hpa_v1_spec(struct arena *a, struct val *spec)
{
    if (!val_get(spec, N_targetCPUUtilizationPercentage))
        val_set_int(a, spec, N_targetCPUUtilizationPercentage, 80);
}

static void default_hpa_behavior(struct arena *a, struct val *behavior)
{
    const struct type *t = type_at(T_autoscaling_v2_HPAScalingRules);
    static const struct {
        name_id direction;
        const char *rules;
    } defaults[] = {
        {N_scaleUp, "{\"stabilizationWindowSeconds\":0,\"selectPolicy\":\"Max\",\"policies\":[{\"type\":"
                    "\"Pods\",\"value\":4,"
                    "\"periodSeconds\":15},{\"type\":\"Percent\",\"value\":100,\"periodSeconds\":15}]}"},
        {N_scaleDown, "{\"selectPolicy\":\"Max\",\"policies\":[{\"type\":\"Percent\",\"value\":100,"
                      "\"periodSeconds\":15}]}"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(defaults); i++) {
        struct val *given = val_copy_shallow(a, val_get(behavior, defaults[i].direction));
        set_json(a, behavior, defaults[i].direction, t, defaults[i].rules);
        struct val *rules = val_mut(behavior, defaults[i].direction);
        VAL_EACH_MEMBER (given, m)
            val_set(a, rules, m->name, *m);
    }
}

/* ---- networking, rbac ... ------------------------------------------------------------------------------ */

static void default_network_policy_spec(struct arena *a, struct val *spec)
{
    if (val_len(val_get(spec, N_policyTypes)))
        return;
    struct val *list = val_sub_list(a, spec, N_policyTypes);
    val_add_str(a, list, STR("Ingress"));
    if (val_len(val_get(spec, N_egress)))
        val_add_str(a, val_mut(spec, N_policyTypes), STR("Egress"));
}

static void default_subject(struct arena *a, struct val *subject)
{
    struct str kind = val_getstr(subject, N_kind);
    if (empty(subject, N_apiGroup) && (str_is(kind, "User") || str_is(kind, "Group")))
        val_set_str(a, subject, N_apiGroup, STR("rbac.authorization.k8s.io"));
}

static void default_device_request(struct arena *a, struct val *request)
{
    if (str_is(val_getstr(request, N_allocationMode), "ExactCount") && !val_int(val_get(request, N_count), 0))
        val_set_int(a, request, N_count, 1);
}

/* ---- apiextensions ------------------------------------------------------------------------------------- */

static void default_crd_names(struct arena *a, struct val *names)
{
    struct str kind = val_getstr(names, N_kind);
    if (empty(names, N_singular) && kind.n) {
        char *lower = arena_cstr(a, kind);
        for (char *p = lower; *p; p++)
            if (*p >= 'A' && *p <= 'Z')
                *p = (char)(*p + 'a' - 'A');
        val_set_str(a, names, N_singular, str_of(lower));
    }
    if (empty(names, N_listKind) && kind.n)
        val_set_str(a, names, N_listKind, arena_printf(a, STR_FMT "List", STR_ARG(kind)));
}

const struct default_rule defaults_other[] = {
    {T_apiextensions_v1_CustomResourceDefinitionNames, default_crd_names},
    {T_apps_v1_DaemonSetUpdateStrategy, default_rolling_update},
    {T_apps_v1_DeploymentStrategy, default_rolling_update},
    {T_apps_v1_StatefulSetSpec, default_stateful_set_spec},
    {T_autoscaling_v1_HorizontalPodAutoscalerSpec, default_hpa_v1_spec},
    {T_autoscaling_v2_HorizontalPodAutoscalerBehavior, default_hpa_behavior},
    {T_autoscaling_v2_HorizontalPodAutoscalerSpec, default_hpa_spec},
    {T_batch_v1_Job, default_job},
    {T_networking_v1_NetworkPolicySpec, default_network_policy_spec},
    {T_rbac_v1_Subject, default_subject},
    {T_resource_v1_DeviceSubRequest, default_device_request},
    {T_resource_v1_ExactDeviceRequest, default_device_request},
    {0, NULL},
};
