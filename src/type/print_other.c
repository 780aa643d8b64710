/* SPDX-License-Identifier: Apache-2.0 */
/* Computed cells of the other groups. */
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "type/print-internal.h"
#include "wire/quantity.h"

enum { PARTS_MAX = 64 };

/* ---- batch, apps --------------------------------------------------------------------------------------- */

static struct str cell_job_status(const struct cell_in *in)
{
    const struct val *conditions = val_at(in->v, N_status, N_conditions);
    static const char *const later[] = {"Suspended", "FailureTarget", "SuccessCriteriaMet"};
    if (condition_is(conditions, STR("Complete"), "True"))
        return STR("Complete");
    if (condition_is(conditions, STR("Failed"), "True"))
        return STR("Failed");
    if (obj_deleting(in->v))
        return STR("Terminating");
    for (size_t i = 0; i < ARRAY_SIZE(later); i++)
        if (condition_is(conditions, str_of(later[i]), "True"))
            return str_of(later[i]);
    return STR("Running");
}

static struct str cell_job_completions(const struct cell_in *in)
{
    const struct val *wanted = val_at(in->v, N_spec, N_completions);
    long long done = val_int(val_at(in->v, N_status, N_succeeded), 0),
              pods = val_int(val_at(in->v, N_spec, N_parallelism), 0);
    if (wanted)
        return arena_printf(in->arena, "%lld/%lld", done, (long long)val_int(wanted, 0));
    if (pods > 1)
        return arena_printf(in->arena, "%lld/1 of %lld", done, pods);
    return arena_printf(in->arena, "%lld/1", done);
}

static struct str cell_job_duration(const struct cell_in *in)
{
    const struct val *start = val_at(in->v, N_status, N_startTime),
                     *end = val_at(in->v, N_status, N_completionTime);
    char text[TIME_TEXT_MAX];
    if (!start)
        return STR("");
    return arena_str(in->arena,
                     str_of(duration_human((end ? val_time(end) : in->now).ns - val_time(start).ns, text)));
}

static char *lower(struct arena *a, struct str s)
{
    char *text = arena_cstr(a, s);
    for (char *p = text; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + 'a' - 'A');
    return text;
}

static struct str cell_revision_owner(const struct cell_in *in)
{
    const struct val *ref = obj_controller(in->v);
    struct str group, version;
    if (!ref)
        return STR("<none>");
    bool grouped = str_cut(val_getstr(ref, N_apiVersion), '/', &group, &version);
    return arena_printf(in->arena, "%s%s" STR_FMT "/" STR_FMT, lower(in->arena, val_getstr(ref, N_kind)),
                        grouped ? "." : "", STR_ARG(grouped ? group : STR("")),
                        STR_ARG(val_getstr(ref, N_name)));
}

/* ---- autoscaling --------------------------------------------------------------------------------------- */

static name_id metric_member(struct str type)
{
    static const struct {
        const char *type;
        name_id member;
    } members[] = {{"External", N_external},
                   {"Pods", N_pods},
                   {"Object", N_object},
                   {"Resource", N_resource},
                   {"ContainerResource", N_containerResource}};
    for (size_t i = 0; i < ARRAY_SIZE(members); i++)
        if (str_is(type, members[i].type))
            return members[i].member;
    return 0;
}

static struct str percent(struct arena *a, const struct val *v, const char *none)
{
    return v ? arena_printf(a, "%lld%%", (long long)val_int(v, 0)) : str_of(none);
}

static struct str metric_text(struct arena *a, const struct val *spec, const struct val *status)
{
    struct str type = val_getstr(spec, N_type);
    name_id member = metric_member(type);
    const struct val *source = val_get(spec, member), *target = val_get(source, N_target);
    const struct val *current = val_at(status, member, N_current), *average = val_get(target, N_averageValue);
    bool of_resource = member == N_resource || member == N_containerResource;
    struct str now, wanted;
    if (!member)
        return STR("<unknown type>");
    if (average) {
        now = print_or(val_getstr(current, N_averageValue), "<unknown>");
        wanted = val_str(average);
    } else if (of_resource) {
        now = percent(a, val_get(current, N_averageUtilization), "<unknown>");
        wanted = percent(a, val_get(target, N_averageUtilization), "<auto>");
    } else {
        now = print_or(val_getstr(current, N_value), "<unknown>");
        wanted = val_getstr(target, N_value);
    }
    struct str name = of_resource ? val_getstr(source, N_name) : STR("");
    return arena_printf(a, STR_FMT "%s" STR_FMT "/" STR_FMT "%s", STR_ARG(name), name.n ? ": " : "",
                        STR_ARG(now), STR_ARG(wanted),
                        average && !of_resource && member != N_pods ? " (avg)" : "");
}

static struct str cell_hpa_targets(const struct cell_in *in)
{
    const struct val *specs = val_at(in->v, N_spec, N_metrics),
                     *statuses = val_at(in->v, N_status, N_currentMetrics);
    struct str parts[2];
    size_t n = 0;
    for (; n < MIN(val_len(specs), ARRAY_SIZE(parts)); n++)
        parts[n] = metric_text(in->arena, val_item(specs, n), val_item(statuses, n));
    return val_len(specs) ? join_some(in->arena, parts, n, ARRAY_SIZE(parts), val_len(specs), ", ")
                          : STR("<none>");
}

static struct str cell_hpa_v1_targets(const struct cell_in *in)
{
    const struct val *target = val_at(in->v, N_spec, N_targetCPUUtilizationPercentage);
    if (!target)
        return STR("<none>");
    struct str now =
        percent(in->arena, val_at(in->v, N_status, N_currentCPUUtilizationPercentage), "<unknown>");
    return arena_printf(in->arena, "cpu: " STR_FMT "/%lld%%", STR_ARG(now), (long long)val_int(target, 0));
}

/* ---- metrics ------------------------------------------------------------------------------------------- */

static struct str metrics_sum(const struct cell_in *in, struct str resource)
{
    char text[QUANTITY_TEXT_MAX];
    struct quantity sum = {0};
    VAL_EACH (val_get(in->v, N_containers), c)
        sum = quantity_add(sum, quantity_or_zero(val_str(val_key(val_get(c, N_usage), resource))));
    return arena_str(in->arena, str_of(quantity_text(sum, text)));
}

static struct str cell_metrics_cpu(const struct cell_in *in)
{
    return metrics_sum(in, STR("cpu"));
}

static struct str cell_metrics_memory(const struct cell_in *in)
{
    return metrics_sum(in, STR("memory"));
}

/* ---- certificates -------------------------------------------------------------------------------------- */

static struct str cell_csr_duration(const struct cell_in *in)
{
    const struct val *seconds = val_at(in->v, N_spec, N_expirationSeconds);
    char text[TIME_TEXT_MAX];
    if (!seconds)
        return STR("<none>");
    return arena_str(in->arena, str_of(duration_human(SECONDS(val_int(seconds, 0)), text)));
}

static struct str cell_csr_condition(const struct cell_in *in)
{
    const struct val *conditions = val_at(in->v, N_status, N_conditions);
    const char *decision = condition_find(conditions, STR("Denied"))     ? "Denied"
                           : condition_find(conditions, STR("Approved")) ? "Approved"
                                                                         : "Pending";
    return arena_printf(in->arena, "%s%s%s", decision,
                        condition_find(conditions, STR("Failed")) ? ",Failed" : "",
                        val_str(val_at(in->v, N_status, N_certificate)).n ? ",Issued" : "");
}

static struct str cell_pod_certificate_state(const struct cell_in *in)
{
    struct str state = STR("Pending");
    VAL_EACH (val_at(in->v, N_status, N_conditions), c)
        if (str_is(val_getstr(c, N_type), "Issued") || str_is(val_getstr(c, N_type), "Denied") ||
            str_is(val_getstr(c, N_type), "Failed"))
            state = val_getstr(c, N_type);
    return state;
}

/* ---- networking ---------------------------------------------------------------------------------------- */

static struct str cell_ingress_class(const struct cell_in *in)
{
    return print_or(val_str(val_at(in->v, N_spec, N_ingressClassName)), "<none>");
}

static struct str cell_ingress_hosts(const struct cell_in *in)
{
    const struct val *rules = val_at(in->v, N_spec, N_rules);
    struct str parts[3];
    size_t n = 0;
    bool more = false;
    VAL_EACH (rules, rule) {
        more = more || n == ARRAY_SIZE(parts);
        if (!more && val_getstr(rule, N_host).n)
            parts[n++] = val_getstr(rule, N_host);
    }
    if (!n)
        return STR("*");
    return join_some(in->arena, parts, n, ARRAY_SIZE(parts), more ? val_len(rules) : n, ",");
}

static struct str cell_ingress_address(const struct cell_in *in)
{
    struct str parts[PARTS_MAX];
    size_t n = 0;
    VAL_EACH (val_at(in->v, N_status, N_loadBalancer, N_ingress), ingress)
        if (n < PARTS_MAX)
            parts[n++] = print_or(val_getstr(ingress, N_ip), val_cstr(val_get(ingress, N_hostname)));
    return arena_join(in->arena, parts, n, STR(","));
}

static struct str cell_ingress_ports(const struct cell_in *in)
{
    return val_len(val_at(in->v, N_spec, N_tls)) ? STR("80, 443") : STR("80");
}

static struct str cell_class_parameters(const struct cell_in *in)
{
    const struct val *p = val_at(in->v, N_spec, N_parameters);
    struct str group = val_getstr(p, N_apiGroup);
    if (!p)
        return STR("<none>");
    return arena_printf(in->arena, STR_FMT "%s" STR_FMT "/" STR_FMT, STR_ARG(val_getstr(p, N_kind)),
                        group.n ? "." : "", STR_ARG(group), STR_ARG(val_getstr(p, N_name)));
}

static struct str cell_parent_ref(const struct cell_in *in)
{
    const struct val *ref = val_at(in->v, N_spec, N_parentRef);
    struct str group = val_getstr(ref, N_group), ns = val_getstr(ref, N_namespace);
    if (!ref)
        return STR("<none>");
    return arena_printf(in->arena, "%s%s%s%s" STR_FMT "/" STR_FMT,
                        lower(in->arena, val_getstr(ref, N_resource)), group.n ? "." : "",
                        lower(in->arena, group), ns.n ? "/" : "", STR_ARG(ns),
                        STR_ARG(val_getstr(ref, N_name)));
}

/* ---- rbac ---------------------------------------------------------------------------------------------- */

static struct str subjects(const struct cell_in *in, const char *kind)
{
    struct str parts[PARTS_MAX];
    size_t n = 0;
    VAL_EACH (val_get(in->v, N_subjects), s) {
        struct str ns = val_getstr(s, N_namespace), name = val_getstr(s, N_name);
        if (!str_is(val_getstr(s, N_kind), kind) || n == PARTS_MAX)
            continue;
        bool account = strcmp(kind, "ServiceAccount") == 0 && ns.n;
        parts[n++] =
            account ? arena_printf(in->arena, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name)) : name;
    }
    return arena_join(in->arena, parts, n, STR(", "));
}

static struct str cell_users(const struct cell_in *in)
{
    return subjects(in, "User");
}

static struct str cell_groups(const struct cell_in *in)
{
    return subjects(in, "Group");
}

static struct str cell_accounts(const struct cell_in *in)
{
    return subjects(in, "ServiceAccount");
}

/* ---- the rest ------------------------------------------------------------------------------------------ */

static struct str cell_param_kind(const struct cell_in *in)
{
    const struct val *kind = val_at(in->v, N_spec, N_paramKind);
    if (!kind)
        return STR("<unset>");
    return arena_printf(in->arena, STR_FMT "/" STR_FMT, STR_ARG(val_getstr(kind, N_apiVersion)),
                        STR_ARG(val_getstr(kind, N_kind)));
}

/* A LabelSelector as Go prints one. */
static struct str go_selector(struct arena *a, const struct val *selector)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    buf_puts(&b, "&LabelSelector{MatchLabels:map[string]string{");
    VAL_EACH_ENTRY (val_get(selector, N_matchLabels), k, v)
        buf_printf(&b, STR_FMT ": " STR_FMT ",", STR_ARG(val_str(k)), STR_ARG(val_str(v)));
    buf_puts(&b, "},MatchExpressions:[]LabelSelectorRequirement{");
    VAL_EACH (val_get(selector, N_matchExpressions), e) {
        const char *space = "";
        buf_printf(&b, "LabelSelectorRequirement{Key:" STR_FMT ",Operator:" STR_FMT ",Values:[", STR_ARG(val_getstr(e, N_key)),
                   STR_ARG(val_getstr(e, N_operator)));
        VAL_EACH (val_get(e, N_values), v) {
            buf_printf(&b, "%s" STR_FMT, space, STR_ARG(val_str(v)));
            space = " ";
        }
        buf_puts(&b, "],},");
    }
    buf_puts(&b, "},}");
    return arena_str(a, buf_str(&b));
}

static struct str cell_param_ref(const struct cell_in *in)
{
    const struct val *ref = val_at(in->v, N_spec, N_paramRef);
    struct str name = val_getstr(ref, N_name);
    if (!name.n && val_get(ref, N_selector))
        return go_selector(in->arena, val_get(ref, N_selector));
    if (!name.n)
        return STR("<unset>");
    return arena_printf(in->arena, STR_FMT "/" STR_FMT, STR_ARG(print_or(val_getstr(ref, N_namespace), "*")),
                        STR_ARG(name));
}

static struct str cell_missing_level(const struct cell_in *in)
{
    const struct val *c = condition_find(val_at(in->v, N_status, N_conditions), STR("Dangling"));
    return c ? val_getstr(c, N_status) : STR("?");
}

static struct str cell_claim_state(const struct cell_in *in)
{
    const struct val *status = val_get(in->v, N_status);
    struct str parts[3];
    size_t n = 0;
    if (obj_deleting(in->v))
        parts[n++] = STR("deleted");
    if (val_get(status, N_allocation)) {
        parts[n++] = STR("allocated");
        if (val_len(val_get(status, N_reservedFor)))
            parts[n++] = STR("reserved");
    } else if (!n) {
        parts[n++] = STR("pending");
    }
    return arena_join(in->arena, parts, n, STR(","));
}

static struct str cell_taint_added(const struct cell_in *in)
{
    return age_text(in->arena, val_at(in->v, N_spec, N_taint, N_timeAdded), in->now);
}

static struct str cell_token_requests(const struct cell_in *in)
{
    const struct val *list = val_at(in->v, N_spec, N_tokenRequests);
    struct str parts[PARTS_MAX];
    size_t n = 0;
    if (!list)
        return STR("<unset>");
    VAL_EACH (list, request)
        if (n < PARTS_MAX)
            parts[n++] = val_getstr(request, N_audience);
    return arena_join(in->arena, parts, n, STR(","));
}

static struct str cell_migration_resource(const struct cell_in *in)
{
    const struct val *r = val_at(in->v, N_spec, N_resource);
    struct str group = val_getstr(r, N_group);
    return arena_printf(in->arena, STR_FMT "%s" STR_FMT, STR_ARG(val_getstr(r, N_resource)),
                        group.n ? "." : "", STR_ARG(group));
}

static struct str cell_migration_status(const struct cell_in *in)
{
    struct str status = STR("Unknown");
    VAL_EACH (val_at(in->v, N_status, N_conditions), c)
        if (str_is(val_getstr(c, N_status), "True"))
            status = val_getstr(c, N_type);
    return status;
}

static struct str cell_established(const struct cell_in *in)
{
    return condition_is(val_at(in->v, N_status, N_conditions), STR("Established"), "True") ? STR("true")
                                                                                           : STR("false");
}

/* "v1(storage),v2": those that are served. */
static struct str cell_crd_versions(const struct cell_in *in)
{
    struct str parts[PARTS_MAX];
    size_t n = 0;
    VAL_EACH (val_at(in->v, N_spec, N_versions), version)
        if (val_bool(val_get(version, N_served), false) && n < PARTS_MAX)
            parts[n++] = arena_printf(in->arena, STR_FMT "%s", STR_ARG(val_getstr(version, N_name)),
                                      val_bool(val_get(version, N_storage), false) ? "(storage)" : "");
    return arena_join(in->arena, parts, n, STR(","));
}

static struct str cell_api_service(const struct cell_in *in)
{
    const struct val *s = val_at(in->v, N_spec, N_service);
    if (!s)
        return STR("Local");
    return arena_printf(in->arena, STR_FMT "/" STR_FMT, STR_ARG(val_getstr(s, N_namespace)),
                        STR_ARG(val_getstr(s, N_name)));
}

static struct str cell_api_available(const struct cell_in *in)
{
    const struct val *c = condition_find(val_at(in->v, N_status, N_conditions), STR("Available"));
    struct str reason = val_getstr(c, N_reason), status = print_or(val_getstr(c, N_status), "Unknown");
    if (str_is(status, "True") || !reason.n)
        return status;
    return arena_printf(in->arena, STR_FMT " (" STR_FMT ")", STR_ARG(status), STR_ARG(reason));
}

const struct cell_rule cells_other[] = {
    {RES_APISERVICES, "Service", cell_api_service},
    {RES_APISERVICES, "Available", cell_api_available},
    {RES_CERTIFICATESIGNINGREQUESTS, "RequestedDuration", cell_csr_duration},
    {RES_CERTIFICATESIGNINGREQUESTS, "Condition", cell_csr_condition},
    {RES_CLUSTERROLEBINDINGS, "Users", cell_users},
    {RES_CLUSTERROLEBINDINGS, "Groups", cell_groups},
    {RES_CLUSTERROLEBINDINGS, "ServiceAccounts", cell_accounts},
    {RES_CONTROLLERREVISIONS, "Controller", cell_revision_owner},
    {RES_CSIDRIVERS, "TokenRequests", cell_token_requests},
    {RES_CUSTOMRESOURCEDEFINITIONS, "Versions", cell_crd_versions},
    {RES_CUSTOMRESOURCEDEFINITIONS, "Established", cell_established, true},
    {RES_DEVICETAINTRULES, "TimeAdded", cell_taint_added},
    {RES_FLOWSCHEMAS, "MissingPL", cell_missing_level},
    {RES_HORIZONTALPODAUTOSCALERS, "Targets", cell_hpa_targets},
    {RES_HORIZONTALPODAUTOSCALERS_V1, "Targets", cell_hpa_v1_targets},
    {RES_INGRESSCLASSES, "Parameters", cell_class_parameters},
    {RES_INGRESSES, "Class", cell_ingress_class},
    {RES_INGRESSES, "Hosts", cell_ingress_hosts},
    {RES_INGRESSES, "Address", cell_ingress_address},
    {RES_INGRESSES, "Ports", cell_ingress_ports},
    {RES_IPADDRESSES, "ParentRef", cell_parent_ref},
    {RES_JOBS, "Status", cell_job_status},
    {RES_JOBS, "Completions", cell_job_completions},
    {RES_JOBS, "Duration", cell_job_duration},
    {RES_PODS_METRICS_K8S_IO, "cpu", cell_metrics_cpu},
    {RES_PODS_METRICS_K8S_IO, "memory", cell_metrics_memory},
    {RES_MUTATINGADMISSIONPOLICIES, "ParamKind", cell_param_kind},
    {RES_MUTATINGADMISSIONPOLICYBINDINGS, "ParamRef", cell_param_ref},
    {RES_PODCERTIFICATEREQUESTS, "State", cell_pod_certificate_state},
    {RES_RESOURCECLAIMS, "State", cell_claim_state},
    {RES_ROLEBINDINGS, "Users", cell_users},
    {RES_ROLEBINDINGS, "Groups", cell_groups},
    {RES_ROLEBINDINGS, "ServiceAccounts", cell_accounts},
    {RES_STORAGEVERSIONMIGRATIONS, "Resource", cell_migration_resource},
    {RES_STORAGEVERSIONMIGRATIONS, "Status", cell_migration_status},
    {RES_VALIDATINGADMISSIONPOLICIES, "ParamKind", cell_param_kind},
    {RES_VALIDATINGADMISSIONPOLICYBINDINGS, "ParamRef", cell_param_ref},
    {0},
};
