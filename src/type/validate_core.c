/* SPDX-License-Identifier: Apache-2.0 */
/* ConfigMap, Secret, Event, LimitRange, ResourceQuota and what is like them. */
#include "type/validate-internal.h"
#include "wire/json.h"
#include "wire/quantity.h"

/* ---- ConfigMap and Secret ------------------------------------------------------------------------------ */

enum { DATA_MAX = 1024 * 1024 };

static bool is_immutable(const struct val *v)
{
    return val_bool(val_get(v, N_immutable), false);
}

/* What was declared immutable stays as it is, and immutable. */
static void check_sealed(struct validation *x, const struct vpath *p, const struct val *v,
                         const struct val *old, const name_id *parts)
{
    if (!is_immutable(old))
        return;
    if (!is_immutable(v))
        say_forbidden(x, AT(p, N_immutable), "field is immutable when `immutable` is set");
    for (; *parts; parts++)
        if (!val_equal(val_get(v, *parts), val_get(old, *parts)))
            say_forbidden(x, AT(p, *parts), "field is immutable when `immutable` is set");
}

static size_t check_keys(struct validation *x, const struct vpath *p, const struct val *map,
                         const struct val *other)
{
    size_t total = 0;
    VAL_EACH_ENTRY (map, k, v) {
        check_text(x, KEY(p, val_str(k)), val_str(k), check_config_key);
        if (val_key(other, val_str(k)))
            say_invalid(x, KEY(p, val_str(k)), k, "duplicate of key present in binaryData");
        total += val_str(v).n;
    }
    return total;
}

static void rule_config_map(struct validation *x, const struct vpath *p, const struct val *v,
                            const struct val *old)
{
    static const name_id parts[] = {N_data, N_binaryData, 0};
    size_t total = check_keys(x, AT(p, N_data), val_get(v, N_data), val_get(v, N_binaryData));
    total += check_keys(x, AT(p, N_binaryData), val_get(v, N_binaryData), NULL);
    static const struct vpath root = {0};
    if (total > DATA_MAX)
        say_too_long(x, AT_TEXT(&root, ""), DATA_MAX);
    check_sealed(x, p, v, old, parts);
}

static void want_key(struct validation *x, const struct vpath *p, const struct val *data, const char *key)
{
    if (!val_key(data, str_of(key)))
        say_required(x, KEY(AT(p, N_data), str_of(key)), NULL);
}

static void want_json_key(struct validation *x, const struct vpath *p, const struct val *data,
                          const char *key)
{
    const struct val *v = val_key(data, str_of(key));
    struct val *parsed = NULL;
    want_key(x, p, data, key);
    if (v &&
        (json_decode(x->s->arena, NULL, val_str(v), 0, NULL, &parsed, NULL) != 0 || !val_is(parsed, VAL_MAP)))
        say_invalid_str(x, KEY(AT(p, N_data), str_of(key)), STR("<secret contents redacted>"),
                        "must be a JSON object");
}

static void check_secret_type(struct validation *x, const struct vpath *p, const struct val *v)
{
    struct str type = val_getstr(v, N_type), name_key = STR("kubernetes.io/service-account.name");
    const struct val *data = val_get(v, N_data);
    if (str_is(type, "kubernetes.io/service-account-token")) {
        if (!obj_annotation(v, name_key).n)
            say_required(x, KEY(AT(AT(p, N_metadata), N_annotations), name_key), NULL);
    } else if (str_is(type, "kubernetes.io/dockercfg")) {
        want_json_key(x, p, data, ".dockercfg");
    } else if (str_is(type, "kubernetes.io/dockerconfigjson")) {
        want_json_key(x, p, data, ".dockerconfigjson");
    } else if (str_is(type, "kubernetes.io/basic-auth")) {
        if (!val_key(data, STR("username")) && !val_key(data, STR("password"))) {
            want_key(x, p, data, "username");
            want_key(x, p, data, "password");
        }
    } else if (str_is(type, "kubernetes.io/ssh-auth")) {
        if (!val_str(val_key(data, STR("ssh-privatekey"))).n)
            say_required(x, KEY(AT(p, N_data), STR("ssh-privatekey")), NULL);
    } else if (str_is(type, "kubernetes.io/tls")) {
        want_key(x, p, data, "tls.crt");
        want_key(x, p, data, "tls.key");
    }
}

static void rule_secret(struct validation *x, const struct vpath *p, const struct val *v,
                        const struct val *old)
{
    static const name_id parts[] = {N_data, 0};
    if (check_keys(x, AT(p, N_data), val_get(v, N_data), NULL) > DATA_MAX)
        say_too_long(x, AT(p, N_data), DATA_MAX);
    check_secret_type(x, p, v);
    if (old)
        check_same(x, AT(p, N_type), val_get(v, N_type), val_get(old, N_type));
    check_sealed(x, p, v, old, parts);
}

/* ---- Event --------------------------------------------------------------------------------------------- */

/* The namespace of the thing is the event's, or the default one for things without. */
static void check_involved(struct validation *x, const struct vpath *p, const struct val *event,
                           const struct val *ref)
{
    struct str own = obj_namespace(event), of = val_getstr(ref, N_namespace);
    bool fresh = val_get(event, N_eventTime), fits = of.n ? fresh || str_eq(own, of) : !own.n || str_is(own, "default");
    if (!fits && !(fresh && str_is(own, "kube-system")))
        say_invalid_str(x, AT(p, N_namespace), of, "does not match event.namespace");
}

static void check_new_event(struct validation *x, const struct vpath *p, const struct val *v,
                            const struct val *series)
{
    const struct val *controller = val_get(v, N_reportingController),
                     *instance = val_get(v, N_reportingInstance);
    if (!controller)
        controller = val_get(v, N_reportingComponent); /* its name in core/v1 */
    if (!val_get(v, N_eventTime))
        return;
    if (!val_str(controller).n)
        say_required(x, AT(p, N_reportingController), NULL);
    check_text(x, AT(p, N_reportingController), val_str(controller), check_label_key);
    if (!val_str(instance).n)
        say_required(x, AT(p, N_reportingInstance), NULL);
    if (val_str(instance).n > 128)
        say_invalid(x, AT(p, N_reportingInstance), instance, "can have at most 128 characters");
    if (!val_getstr(v, N_action).n)
        say_required(x, AT(p, N_action), NULL);
    if (val_getstr(v, N_action).n > 128)
        say_invalid(x, AT(p, N_action), val_get(v, N_action), "can have at most 128 characters");
    if (!val_getstr(v, N_reason).n)
        say_required(x, AT(p, N_reason), NULL);
    if (val_getstr(v, N_reason).n > 128)
        say_invalid(x, AT(p, N_reason), val_get(v, N_reason), "can have at most 128 characters");
    struct str text = val_get(v, N_note) ? val_getstr(v, N_note) : val_getstr(v, N_message);
    if (text.n > 1024)
        say_invalid_str(x, AT(p, N_message), STR(""), "can have at most 1024 characters");
    (void)series;
}

static void rule_event(struct validation *x, const struct vpath *p, const struct val *v,
                       const struct val *old)
{
    check_involved(x, AT(p, N_involvedObject), v, val_get(v, N_involvedObject));
    check_new_event(x, p, v, NULL);
}

/* Paths are those of the old form, which is what the server keeps. */
static void check_events_update(struct validation *x, const struct vpath *p, const struct val *v,
                                const struct val *old)
{
    static const struct {
        name_id field;
        const char *path;
    } fixed[] = {
        {N_regarding, "involvedObject"},
        {N_reason, "reason"},
        {N_note, "message"},
        {N_deprecatedSource, "source"},
        {N_deprecatedFirstTimestamp, "firstTimestamp"},
        {N_deprecatedLastTimestamp, "lastTimestamp"},
        {N_deprecatedCount, "count"},
        {N_type, "type"},
        {N_eventTime, "eventTime"},
        {N_action, "action"},
        {N_related, "related"},
        {N_reportingController, "reportingController"},
        {N_reportingInstance, "reportingInstance"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
        check_same(x, AT_TEXT(p, fixed[i].path), val_get(v, fixed[i].field), val_get(old, fixed[i].field));
}

static void rule_events_event(struct validation *x, const struct vpath *p, const struct val *v,
                              const struct val *old)
{
    static const char *const kinds[] = {"Normal", "Warning", NULL};
    static const struct {
        name_id field;
        const char *path;
    } unset[] = {{N_deprecatedFirstTimestamp, "firstTimestamp"},
                 {N_deprecatedLastTimestamp, "lastTimestamp"},
                 {N_deprecatedCount, "count"}};
    const struct val *series = val_get(v, N_series), *empty = &(struct val){.kind = VAL_STR, .s = ""};
    check_involved(x, AT(p, N_involvedObject), v, val_get(v, N_regarding));
    check_new_event(x, p, v, series);
    if (old) {
        check_events_update(x, p, v, old);
        return;
    }
    if (series && val_int(val_get(series, N_count), 0) < 2)
        say_invalid(x, AT_TEXT(p, "series.count"), empty, "should be at least 2");
    if (series && !val_get(series, N_lastObservedTime))
        say_required(x, AT_TEXT(p, "series.lastObservedTime"), NULL);
    if (!val_get(v, N_eventTime))
        say_required(x, AT(p, N_eventTime), NULL);
    if (!str_in(val_getstr(v, N_type), kinds))
        say_invalid(x, AT(p, N_type), empty, "has invalid value");
    for (size_t i = 0; i < ARRAY_SIZE(unset); i++)
        if (val_get(v, unset[i].field))
            say_invalid(x, AT_TEXT(p, unset[i].path), empty, "needs to be unset");
    if (val_len(val_get(v, N_deprecatedSource)))
        say_invalid(x, AT_TEXT(p, "source"), empty, "needs to be unset");
}

/* ---- LimitRange ---------------------------------------------------------------------------------------- */

static void check_limit_name(struct validation *x, const struct vpath *p, struct str type, struct str name)
{
    if (str_is(type, "Pod") || str_is(type, "Container"))
        check_container_resource_name(x, p, name);
    else
        check_resource_name(x, p, name);
}

static const struct val *amount(const struct val *item, name_id map, struct str name)
{
    return val_key(val_get(item, map), name);
}

static bool more(const struct val *a, const struct val *b)
{
    return a && b && quantity_cmp(quantity_or_zero(val_str(a)), quantity_or_zero(val_str(b))) > 0;
}

static void check_ratio(struct validation *x, const struct vpath *p, const struct val *ratio,
                        const struct val *min, const struct val *max)
{
    if (!ratio)
        return;
    double r = quantity_float(quantity_or_zero(val_str(ratio)));
    if (r < 1)
        say_invalid(x, p, ratio, "ratio is less than 1");
    double low = min ? quantity_float(quantity_or_zero(val_str(min))) : 0;
    double high = max ? quantity_float(quantity_or_zero(val_str(max))) : 0;
    if (min && max && low > 0 && r > high / low)
        say_invalid(x, p, ratio, "ratio is greater than max/min");
}

static void check_limit(struct validation *x, const struct vpath *p, const struct val *item, struct str name)
{
    const struct val *min = amount(item, N_min, name), *max = amount(item, N_max, name);
    const struct val *limit = amount(item, N_default, name), *request = amount(item, N_defaultRequest, name);
    const struct vpath *min_at = KEY(AT(p, N_min), name), *limit_at = KEY(AT(p, N_default), name);
    const struct vpath *request_at = KEY(AT(p, N_defaultRequest), name);
    if (more(min, max))
        say_invalid(x, min_at, min, "min value is greater than max value");
    if (more(min, request))
        say_invalid(x, request_at, request, "min value is greater than default request value");
    if (more(request, max))
        say_invalid(x, request_at, request, "default request value is greater than max value");
    if (more(request, limit))
        say_invalid(x, request_at, request, "default request value is greater than default limit value");
    if (more(min, limit))
        say_invalid(x, limit_at, min, "min value is greater than default value");
    if (more(limit, max))
        say_invalid(x, limit_at, max, "default value is greater than max value");
    check_ratio(x, KEY(AT(p, N_maxLimitRequestRatio), name), amount(item, N_maxLimitRequestRatio, name), min,
                max);
}

static void rule_limit_item(struct validation *x, const struct vpath *p, const struct val *v,
                            const struct val *old)
{
    static const name_id maps[] = {N_max, N_min, N_default, N_defaultRequest, N_maxLimitRequestRatio};
    struct str type = val_getstr(v, N_type), storage = STR("storage");
    struct val *names = val_new(x->s->arena, VAL_MAP);
    check_text(x, AT(p, N_type), type, check_label_key);
    for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
        bool of_pod = str_is(type, "Pod") && (maps[i] == N_default || maps[i] == N_defaultRequest);
        if (of_pod && val_len(val_get(v, maps[i])))
            say_forbidden(x, AT(p, maps[i]), "may not be specified when `type` is 'Pod'");
        VAL_EACH_ENTRY (of_pod ? NULL : val_get(v, maps[i]), k, q) {
            check_limit_name(x, KEY(AT(p, maps[i]), val_str(k)), type, val_str(k));
            val_put(x->s->arena, names, val_str(k), *q);
        }
    }
    if (str_is(type, "PersistentVolumeClaim") && !amount(v, N_min, storage) && !amount(v, N_max, storage))
        say_required(x, AT(p, N_limits),
                     "either minimum or maximum storage value is required, but neither was provided");
    EACH_KEY (names, k)
        check_limit(x, p, v, val_str(k));
}

static void rule_limit_spec(struct validation *x, const struct vpath *p, const struct val *v,
                            const struct val *old)
{
    const struct val *limits = val_get(v, N_limits);
    check_unique(x, AT(p, N_limits), limits, N_type);
}

/* ---- ResourceQuota ------------------------------------------------------------------------------------- */

static bool is_quota_name(struct str s)
{
    return is_standard_resource(s) && !str_is(s, "storage"); /* that is what a claim asks for, not what a quota counts */
}

void check_quota_name(struct validation *x, const struct vpath *p, struct str s)
{
    check_resource_name(x, p, s);
    if (str_find(s, '/') < 0 && !is_quota_name(s))
        say_invalid_str(x, p, s, "must be a standard resource for quota");
}

static const char *const scopes[] = {"Terminating",
                                     "NotTerminating",
                                     "BestEffort",
                                     "NotBestEffort",
                                     "PriorityClass",
                                     "CrossNamespacePodAffinity",
                                     "VolumeAttributesClass",
                                     NULL};

static bool scope_fits(struct str scope, struct str resource)
{
    static const char *const of_best_effort[] = {"pods", NULL};
    static const char *const computed[] = {
        "pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory", NULL};
    if (str_is(scope, "BestEffort"))
        return str_in(resource, of_best_effort);
    if (str_is(scope, "VolumeAttributesClass"))
        return str_is(resource, "persistentvolumeclaims") || str_is(resource, "requests.storage");
    return !str_in(scope, scopes) || str_in(resource, computed);
}

static bool has_str(const struct val *list, const char *s)
{
    VAL_EACH (list, v)
        if (str_is(val_str(v), s))
            return true;
    return false;
}

static void check_scopes(struct validation *x, const struct vpath *p, const struct val *list,
                         const struct val *hard)
{
    VAL_EACH (list, scope) {
        if (!str_in(val_str(scope), scopes))
            say_invalid(x, p, list, "unsupported scope");
        EACH_KEY (hard, k)
            if (is_quota_name(val_str(k)) && !scope_fits(val_str(scope), val_str(k)))
                say_invalid(x, p, list, "unsupported scope applied to resource");
    }
    if ((has_str(list, "BestEffort") && has_str(list, "NotBestEffort")) ||
        (has_str(list, "Terminating") && has_str(list, "NotTerminating")))
        say_invalid(x, p, list, "conflicting scopes");
}

static void check_scope_expression(struct validation *x, const struct vpath *p, const struct val *e,
                                   const struct val *hard)
{
    const struct val *scope = val_get(e, N_scopeName), *op = val_get(e, N_operator),
                     *values = val_get(e, N_values);
    static const char *const of_exists[] = {"BestEffort", "NotBestEffort", "Terminating", "NotTerminating",
                                            "CrossNamespacePodAffinity", NULL};
    static const struct val empty_text = {.kind = VAL_STR, .s = ""};
    struct str word = val_str(op);
    if (!str_in(val_str(scope), scopes))
        say_invalid(x, AT(p, N_scopeName), scope, "unsupported scope");
    EACH_KEY (hard, k)
        if (is_quota_name(val_str(k)) && !scope_fits(val_str(scope), val_str(k)))
            say_invalid(x, p, e, "unsupported scope applied to resource");
    if (str_in(val_str(scope), of_exists) && !str_is(word, "Exists"))
        say_invalid(x, AT(p, N_operator), op ?: &empty_text, "must be 'Exists' for this scope");
    if (str_is(word, "In") || str_is(word, "NotIn")) {
        if (!val_len(values))
            say_required(x, AT(p, N_values),
                         "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
    } else if (str_is(word, "Exists") || str_is(word, "DoesNotExist")) {
        if (val_len(values))
            say_invalid(x, AT(p, N_values), values,
                        "must be no value when `operator` is 'Exist' or 'DoesNotExist'");
    } else {
        say_invalid(x, AT(p, N_operator), op, "not a valid selector operator");
    }
}

static void rule_quota_spec(struct validation *x, const struct vpath *p, const struct val *v,
                            const struct val *old)
{
    const struct val *hard = val_get(v, N_hard), *selector = val_get(v, N_scopeSelector);
    VAL_EACH_ENTRY (hard, k, q) {
        check_quota_name(x, KEY(AT(p, N_hard), val_str(k)), val_str(k));
        check_resource_amount(x, KEY(AT(p, N_hard), val_str(k)), val_str(k), q);
    }
    check_scopes(x, AT(p, N_scopes), val_get(v, N_scopes), hard);
    VAL_EACH (val_get(selector, N_matchExpressions), e)
        check_scope_expression(x, AT(AT(p, N_scopeSelector), N_matchExpressions), e,
                               hard); /* upstream names no item */
    if (old && !val_equal(val_get(v, N_scopes), val_get(old, N_scopes)))
        say_invalid(x, AT(p, N_scopes), val_get(v, N_scopes), "field is immutable");
}

/* ---- Namespace, ServiceAccount ------------------------------------------------------------------------- */

static void rule_namespace(struct validation *x, const struct vpath *p, const struct val *v,
                           const struct val *old)
{
    size_t i = 0;
    VAL_EACH (val_at(v, N_spec, N_finalizers), f) {
        const struct vpath *at = AT(AT(p, N_spec), N_finalizers);
        check_text(x, at, val_str(f), check_label_key);
        if (str_find(val_str(f), '/') < 0 && !str_is(val_str(f), "kubernetes"))
            say_invalid(x, at, f, "name is neither a standard finalizer name nor is it fully qualified");
        i++;
    }
}

const struct rule rules_core[] = {
    {T_core_v1_ConfigMap, RULE_OWN, rule_config_map},
    {T_core_v1_Event, RULE_OWN, rule_event},
    {T_core_v1_EventSeries, RULE_OWN, NULL},
    {T_core_v1_EventSource, RULE_OWN, NULL},
    {T_core_v1_LimitRangeItem, RULE_OWN, rule_limit_item},
    {T_core_v1_LimitRangeSpec, 0, rule_limit_spec},
    {T_core_v1_Namespace, 0, rule_namespace},
    {T_core_v1_ResourceQuotaSpec, RULE_OWN, rule_quota_spec},
    {T_core_v1_ScopedResourceSelectorRequirement, RULE_OWN, NULL},
    {T_core_v1_Secret, RULE_OWN, rule_secret},
    {T_events_v1_Event, RULE_OWN, rule_events_event},
    {T_events_v1_EventSeries, RULE_OWN, NULL},
    {0, 0, NULL},
};
