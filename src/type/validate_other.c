/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of autoscaling, certificates and flow control. */
#include "type/validate-internal.h"
#include "wire/quantity.h"

/* ---- HorizontalPodAutoscaler --------------------------------------------------------------------------- */

static bool is_core_kind(struct str kind)
{
    return str_is(kind, "ReplicationController");
}

static void check_target_ref(struct validation *x, const struct vpath *p, const struct val *ref,
                             bool group_wanted)
{
    static const name_id wanted[] = {N_kind, N_name};
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
        if (!val_getstr(ref, wanted[i]).n)
            say_required(x, AT(p, wanted[i]), NULL);
        else
            check_text(x, AT(p, wanted[i]), val_getstr(ref, wanted[i]), check_path_segment);
    struct str version = val_getstr(ref, N_apiVersion), group, rest;
    if (group_wanted && (!str_cut(version, '/', &group, &rest) || !group.n || str_find(rest, '/') >= 0) &&
        !is_core_kind(val_getstr(ref, N_kind)))
        say_invalid_str(x, AT(p, N_apiVersion), version, "apiVersion must specify API group");
}

static void check_positive(struct validation *x, const struct vpath *p, const struct val *q)
{
    if (q && quantity_or_zero(val_str(q)).nano <= 0)
        say_invalid(x, p, q, "must be positive");
}

static void check_target(struct validation *x, const struct vpath *p, const struct val *v)
{
    static const char *const kinds[] = {"Utilization", "Value", "AverageValue", NULL};
    const struct val *type = val_get(v, N_type), *share = val_get(v, N_averageUtilization);
    if (!val_str(type).n)
        say_required(x, AT(p, N_type), "must specify a metric target type");
    if (!str_in(val_str(type), kinds))
        say_invalid(x, AT(p, N_type), type ?: &(const struct val){.kind = VAL_STR, .s = ""},
                    "must be either Utilization, Value, or AverageValue");
    check_positive(x, AT(p, N_value), val_get(v, N_value));
    check_positive(x, AT(p, N_averageValue), val_get(v, N_averageValue));
    if (share && share->i < 1)
        say_invalid(x, AT(p, N_averageUtilization), share, "must be greater than 0");
}

static void check_identifier(struct validation *x, const struct vpath *p, const struct val *metric)
{
    if (!val_getstr(metric, N_name).n)
        say_required(x, AT(p, N_name), "must specify a metric name");
    else
        check_text(x, AT(p, N_name), val_getstr(metric, N_name), check_path_segment);
}

/* What each source has to say about its target. */
static void check_either(struct validation *x, const struct vpath *p, const struct val *target, name_id one,
                         name_id other, const char *why)
{
    if (!val_get(target, one) && !val_get(target, other))
        say_required(x, AT(p, one), why);
    if (val_get(target, one) && val_get(target, other))
        say_forbidden(x, AT(p, other), why);
}

static void check_resource_source(struct validation *x, const struct vpath *p, const struct val *v,
                                  name_id name)
{
    const struct val *target = val_get(v, N_target);
    if (!val_getstr(v, name).n)
        say_required(x, AT(p, name), "must specify a resource name");
    check_target(x, AT(p, N_target), target);
    check_either(x, AT(p, N_target), target, N_averageUtilization, N_averageValue,
                 "may not set both a target raw value and a target utilization");
}

static void check_metric_source(struct validation *x, const struct vpath *p, struct str type,
                                const struct val *v)
{
    const struct val *target = val_get(v, N_target);
    if (str_is(type, "Resource") || str_is(type, "ContainerResource")) {
        check_resource_source(x, p, v, N_name);
        if (str_is(type, "ContainerResource") && !val_getstr(v, N_container).n)
            say_required(x, AT(p, N_container), "must specify a container name");
        return;
    }
    check_identifier(x, AT(p, N_metric), val_get(v, N_metric));
    check_target(x, AT(p, N_target), target);
    if (str_is(type, "Object"))
        check_target_ref(x, AT(p, N_describedObject), val_get(v, N_describedObject), false);
    if (str_is(type, "Pods")) {
        if (!val_get(target, N_averageValue))
            say_required(x, AT(AT(p, N_target), N_averageValue),
                         "must specify a positive target averageValue");
        return;
    }
    if (!val_get(target, N_value) && !val_get(target, N_averageValue))
        say_required(x, AT(AT(p, N_target), N_averageValue),
                     "must set either a target value or averageValue");
    if (str_is(type, "External") && val_get(target, N_value) && val_get(target, N_averageValue))
        say_forbidden(x, AT(AT(p, N_target), N_value),
                      "may not set both a target value for metric and a per-pod target");
}

static const struct {
    const char *type;
    name_id member;
} sources[] = {{"Object", N_object},
               {"Pods", N_pods},
               {"Resource", N_resource},
               {"External", N_external},
               {"ContainerResource", N_containerResource}};

static void check_metric(struct validation *x, const struct vpath *p, const struct val *v)
{
    static const char *const kinds[] = {"ContainerResource", "External", "Object", "Pods", "Resource", NULL};
    const struct val *type = val_get(v, N_type);
    if (!val_str(type).n)
        say_required(x, AT(p, N_type), "must specify a metric source type");
    else if (!str_in(val_str(type), kinds))
        say_unsupported(x, AT(p, N_type), type, kinds);
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
        const struct val *source = val_get(v, sources[i].member);
        bool wanted = str_is(val_str(type), sources[i].type);
        if (wanted && !source)
            say_required(x, AT(p, sources[i].member),
                         "must populate information for the given metric source");
        else if (source && wanted)
            check_metric_source(x, AT(p, sources[i].member), val_str(type), source);
        else if (source && str_in(val_str(type), kinds))
            say_forbidden(x, AT(p, sources[i].member), "must populate the given metric source only");
    }
}

static void check_scaling_rules(struct validation *x, const struct vpath *p, const struct val *v)
{
    static const char *const policies[] = {"Disabled", "Max", "Min", NULL}, *const kinds[] = {"Percent",
                                                                                              "Pods", NULL};
    const struct val *window = val_get(v, N_stabilizationWindowSeconds), *select = val_get(v, N_selectPolicy);
    const struct val *list = val_get(v, N_policies);
    size_t i = 0;
    if (!v)
        return;
    check_range(x, AT(p, N_stabilizationWindowSeconds), window, 0, 3600);
    if (select && !str_in(val_str(select), policies))
        say_unsupported(x, AT(p, N_selectPolicy), select, policies);
    if (!val_len(list))
        say_required(x, AT(p, N_policies), "must specify at least one Policy");
    VAL_EACH (list, policy) {
        const struct vpath *at = ITEM(AT(p, N_policies), i++);
        const struct val *seconds = val_get(policy, N_periodSeconds), *value = val_get(policy, N_value);
        const struct val *zero = &(struct val){.kind = VAL_INT};
        if (!str_in(val_getstr(policy, N_type), kinds))
            say_unsupported(x, AT(at, N_type), val_get(policy, N_type) ?: zero, kinds);
        if (val_int(value, 0) <= 0)
            say_invalid(x, AT(at, N_value), value ?: zero, "must be greater than zero");
        if (val_int(seconds, 0) <= 0 || val_int(seconds, 0) > 1800)
            say_invalid(x, AT(at, N_periodSeconds), seconds ?: zero,
                        "must be greater than zero and at most 1800");
    }
}

static bool measures_outside(const struct val *metrics)
{
    VAL_EACH (metrics, m)
        if (str_is(val_getstr(m, N_type), "Object") || str_is(val_getstr(m, N_type), "External"))
            return true;
    return false;
}

static void check_replicas(struct validation *x, const struct vpath *p, const struct val *v, bool may_be_zero)
{
    const struct val *min = val_get(v, N_minReplicas), *max = val_get(v, N_maxReplicas);
    if (min && min->i < (may_be_zero ? 0 : 1))
        say_invalid(x, AT(p, N_minReplicas), min, "must be greater than or equal to the least number");
    if (val_int(max, 0) == 0)
        say_required(x, AT(p, N_maxReplicas), "must be set and greater than 0");
    else if (max->i < 0)
        say_invalid(x, AT(p, N_maxReplicas), max, "must be greater than or equal to 1");
    if (min && val_int(max, 0) < min->i)
        say_invalid(x, AT(p, N_maxReplicas), max ?: &(struct val){.kind = VAL_INT},
                    "must be greater than or equal to `minReplicas`");
}

static void rule_hpa_spec(struct validation *x, const struct vpath *p, const struct val *v,
                          const struct val *old)
{
    const struct val *behavior = val_get(v, N_behavior), *metrics = val_get(v, N_metrics);
    size_t i = 0;
    check_replicas(x, p, v, true);
    check_target_ref(x, AT(p, N_scaleTargetRef), val_get(v, N_scaleTargetRef), !old);
    VAL_EACH (metrics, m)
        check_metric(x, ITEM(AT(p, N_metrics), i++), m);
    if (val_int(val_get(v, N_minReplicas), 1) == 0 && !measures_outside(metrics))
        say_forbidden(x, AT(p, N_metrics),
                      "must specify at least one Object or External metric to support scaling to zero "
                      "replicas");
    check_scaling_rules(x, AT(AT(p, N_behavior), N_scaleUp), val_get(behavior, N_scaleUp));
    check_scaling_rules(x, AT(AT(p, N_behavior), N_scaleDown), val_get(behavior, N_scaleDown));
}

static void rule_hpa_v1_spec(struct validation *x, const struct vpath *p, const struct val *v,
                             const struct val *old)
{
    check_replicas(x, p, v, true);
    check_target_ref(x, AT(p, N_scaleTargetRef), val_get(v, N_scaleTargetRef), !old);
    if (val_int(val_get(v, N_minReplicas), 1) == 0)
        say_forbidden(x, AT(p, N_metrics),
                      "must specify at least one Object or External metric to support scaling to zero "
                      "replicas");
}

/* ---- CertificateSigningRequest ------------------------------------------------------------------------- */

bool is_signer_name(struct str s)
{
    struct str host, path;
    return str_cut(s, '/', &host, &path) && str_find(host, '.') > 0 && !check_dns_subdomain(host) &&
           !check_dns_subdomain(path);
}

static void rule_csr_spec(struct validation *x, const struct vpath *p, const struct val *v,
                          const struct val *old)
{
    static const char *const known[] = {
        "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
        "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
        "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
        "server auth", "signing", "timestamping", NULL};
    const struct val *usages = val_get(v, N_usages), *was = val_get(old, N_usages);
    const struct val *signer = val_get(v, N_signerName);
    if (val_str(signer).n && !is_signer_name(val_str(signer)))
        say_invalid(x, AT(p, N_signerName), signer,
                    "must be a fully qualified domain and path of the form "
                    "'example.com/signer-name'");
    for (size_t i = 0; i < val_len(usages) && !val_len(was); i++)
        if (!str_in(val_str(val_item(usages, i)), known))
            say_unsupported(x, ITEM(AT(p, N_usages), i), val_item(usages, i), known);
    for (size_t i = 1; i < val_len(usages); i++)
        for (size_t j = 0; j < i; j++)
            if (val_equal(val_item(usages, i), val_item(usages, j))) {
                say_duplicate(x, ITEM(AT(p, N_usages), i), val_item(usages, i));
                break;
            }
}

const struct rule rules_other[] = {
    {T_autoscaling_v1_CrossVersionObjectReference, RULE_OWN, NULL},
    {T_autoscaling_v1_HorizontalPodAutoscalerSpec, RULE_OWN, rule_hpa_v1_spec},
    {T_autoscaling_v2_ContainerResourceMetricSource, RULE_OWN, NULL},
    {T_autoscaling_v2_CrossVersionObjectReference, RULE_OWN, NULL},
    {T_autoscaling_v2_ExternalMetricSource, RULE_OWN, NULL},
    {T_autoscaling_v2_HPAScalingPolicy, RULE_OWN, NULL},
    {T_autoscaling_v2_HPAScalingRules, RULE_OWN, NULL},
    {T_autoscaling_v2_HorizontalPodAutoscalerSpec, RULE_OWN, rule_hpa_spec},
    {T_autoscaling_v2_MetricIdentifier, RULE_OWN, NULL},
    {T_autoscaling_v2_MetricSpec, RULE_OWN, NULL},
    {T_autoscaling_v2_MetricTarget, RULE_OWN, NULL},
    {T_autoscaling_v2_ObjectMetricSource, RULE_OWN, NULL},
    {T_autoscaling_v2_PodsMetricSource, RULE_OWN, NULL},
    {T_autoscaling_v2_ResourceMetricSource, RULE_OWN, NULL},
    {T_certificates_v1_CertificateSigningRequestSpec, 0, rule_csr_spec},
    {0, 0, NULL},
};
