/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one metric proposes. Pods that have no metric, and pods that are not ready yet, are first left out;
 * when what remains asks for a change, they are counted in the way that makes the change smaller (KEP-117 and
 * the documentation, "Algorithm details"). All pure.
 */
#include "controllers/hpa.h"

#include <math.h>

#include "controllers/util.h"
#include "names.h"
#include "type/meta.h"
#include "type/podresources.h"
#include "wire/quantity.h"

enum { DEFAULT_WINDOW_SECONDS = 60 };

enum group { READY, UNREADY, MISSING, IGNORED };

struct sample {
    const struct val *pod;
    enum group group;
    bool measured;
    int64_t value; /* thousandths */
    struct wall at;
    int64_t window;
    int64_t request;
};

struct samples {
    struct sample *items;
    size_t n;
};

static bool fail(struct hpa_view const *x, struct hpa_proposal *p, const char *reason, struct str why)
{
    p->failed_reason = reason;
    p->failed = why;
    p->failed_first = why;
    return false;
}

static int64_t milli_of(const struct val *quantity)
{
    return quantity_milli(quantity_or_zero(val_str(quantity)));
}

static int64_t whole(double d)
{
    if (isnan(d))
        return 0;
    d = ceil(d);
    return d >= (double)INT32_MAX ? INT32_MAX : d <= 0 ? 0 : (int64_t)d;
}

/* The same for usage in thousandths, where numbers may be large. */
static int64_t whole_milli(double d)
{
    if (isnan(d))
        return 0;
    d = ceil(d);
    return d >= 9.2e18 ? INT64_MAX : d <= -9.2e18 ? INT64_MIN : (int64_t)d;
}

static double tolerance(const struct hpa_view *x, name_id direction)
{
    const struct val *t = val_at(x->hpa, N_spec, N_behavior, direction, N_tolerance);
    return t ? quantity_float(quantity_or_zero(val_str(t))) : x->settings.tolerance;
}

static bool tolerable(const struct hpa_view *x, double ratio)
{
    return 1.0 - tolerance(x, N_scaleDown) <= ratio && ratio <= 1.0 + tolerance(x, N_scaleUp);
}

/* ---- which pods count -------------------------------------------------------------------------------- */

static bool starting_up(const struct hpa_view *x, const struct sample *s)
{
    const struct val *status = val_get(s->pod, N_status),
                     *ready = condition_find(val_get(status, N_conditions), STR("Ready"));
    struct wall started = val_time(val_get(status, N_startTime)),
                changed = val_time(val_get(ready, N_lastTransitionTime));
    bool not_ready = str_is(val_getstr(ready, N_status), "False");
    if (!ready || !started.ns)
        return true;
    if (started.ns + x->settings.cpu_initialization > x->now.ns)
        return not_ready || s->at.ns < changed.ns + s->window;
    return not_ready && started.ns + x->settings.readiness_delay > changed.ns;
}

static enum group group_of(const struct hpa_view *x, const struct sample *s, bool cpu)
{
    struct str phase = pod_phase(s->pod);
    if (obj_deleting(s->pod) || str_is(phase, "Failed"))
        return IGNORED;
    if (str_is(phase, "Pending"))
        return UNREADY;
    if (!s->measured)
        return MISSING;
    return cpu && starting_up(x, s) ? UNREADY : READY;
}

static size_t count(const struct samples *s, enum group g)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += s->items[i].group == g;
    return n;
}

/* ---- reading the answers ----------------------------------------------------------------------------- */

static bool container_value(const struct val *containers, struct str resource, struct str container,
                            int64_t *ret)
{
    VAL_EACH (containers, c) {
        const struct val *v = val_key(val_get(c, N_usage), resource);
        if (!str_eq(val_getstr(c, N_name), container))
            continue;
        if (v)
            *ret = milli_of(v);
        return v != NULL;
    }
    return false;
}

/* Whoever serves metrics, or writes Pods, may say anything: sums stay at the largest number. */
static int64_t add(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? (a < 0 ? INT64_MIN : INT64_MAX) : sum;
}

static bool pod_value(const struct val *containers, struct str resource, int64_t *ret)
{
    int64_t sum = 0;
    VAL_EACH (containers, c) {
        const struct val *v = val_key(val_get(c, N_usage), resource);
        if (!v)
            return false;
        sum = add(sum, milli_of(v));
    }
    *ret = sum;
    return val_len(containers) > 0;
}

/* PodMetrics, or values of a custom metric. */
static void take_value(struct sample *s, const struct val *item, struct str resource, struct str container)
{
    if (resource.n) {
        const struct val *list = val_get(item, N_containers);
        s->measured = container.n ? container_value(list, resource, container, &s->value)
                                  : pod_value(list, resource, &s->value);
        if (duration_parse(val_getstr(item, N_window), &s->window) < 0)
            s->window = 0;
    } else {
        s->measured = true;
        s->value = milli_of(val_get(item, N_value));
        s->window = SECONDS(val_int(val_get(item, N_windowSeconds), DEFAULT_WINDOW_SECONDS));
    }
    s->at = val_time(val_get(item, N_timestamp));
}

static struct str described_pod(const struct val *item, bool of_resource)
{
    return of_resource ? obj_name(item) : val_str(val_at(item, N_describedObject, N_name));
}

static void take_samples(const struct hpa_view *x, const struct val *list, struct str resource,
                         struct str container, struct samples *ret)
{
    struct map by_name = MAP_INIT;
    *ret = (struct samples){ARENA_ARRAY(x->arena, struct sample, x->pods->n), x->pods->n};
    VAL_EACH (val_get(list, N_items), item)
        map_put(&by_name, described_pod(item, resource.n > 0), (void *)(uintptr_t)item);
    for (size_t i = 0; i < ret->n; i++) {
        struct sample *s = &ret->items[i];
        s->pod = x->pods->items[i]->val;
        const struct val *item = map_get(&by_name, x->pods->items[i]->name);
        if (item)
            take_value(s, item, resource, container);
        s->group = group_of(x, s, str_is(resource, "cpu"));
    }
    map_done(&by_name);
}

/* ---- requests ---------------------------------------------------------------------------------------- */

static bool has_pod_level(const struct val *pod)
{
    return val_len(val_at(pod, N_spec, N_resources, N_requests)) > 0;
}

static bool pod_level_request(const struct hpa_view *x, struct sample *s, struct str resource,
                              struct str *why)
{
    const struct val *spec = val_get(s->pod, N_spec),
                     *own = val_key(val_at(spec, N_resources, N_requests), resource),
                     *q = own ? own : val_key(pod_resources_sum(x->arena, spec, N_requests), resource);
    s->request = milli_of(q) + milli_of(val_key(val_get(spec, N_overhead), resource));
    if (!q)
        *why = arena_printf(x->arena, "missing pod-level request for " STR_FMT " in Pod " STR_FMT,
                            STR_ARG(resource), STR_ARG(obj_name(s->pod)));
    return q != NULL;
}

static bool add_request(const struct hpa_view *x, struct sample *s, const struct val *c, struct str resource,
                        struct str *why)
{
    const struct val *q = val_key(val_at(c, N_resources, N_requests), resource);
    if (!q)
        *why =
            arena_printf(x->arena, "missing request for " STR_FMT " in container " STR_FMT " of Pod " STR_FMT,
                         STR_ARG(resource), STR_ARG(val_getstr(c, N_name)), STR_ARG(obj_name(s->pod)));
    s->request = add(s->request, milli_of(q));
    return q != NULL;
}

static bool containers_request(const struct hpa_view *x, struct sample *s, struct str resource,
                               struct str container, struct str *why)
{
    static const name_id lists[] = {N_containers, N_initContainers};
    bool found = !container.n;
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        VAL_EACH (val_at(s->pod, N_spec, lists[i]), c) {
            bool counts = lists[i] == N_containers || str_is(val_getstr(c, N_restartPolicy), "Always");
            if (!counts || (container.n && !str_eq(container, val_getstr(c, N_name))))
                continue;
            found = true;
            if (!add_request(x, s, c, resource, why))
                return false;
        }
    if (!found)
        *why = arena_printf(x->arena, "container " STR_FMT " not found in Pod " STR_FMT, STR_ARG(container),
                            STR_ARG(obj_name(s->pod)));
    return found;
}

static bool take_requests(const struct hpa_view *x, struct samples *s, struct str resource,
                          struct str container, struct str *why)
{
    for (size_t i = 0; i < s->n; i++) {
        struct sample *one = &s->items[i];
        bool whole_pod = !container.n && has_pod_level(one->pod);
        if (!(whole_pod ? pod_level_request(x, one, resource, why)
                        : containers_request(x, one, resource, container, why)))
            return false;
    }
    return true;
}

/* ---- ratios ------------------------------------------------------------------------------------------ */

/* What a target is: a share of the requests, or a value a pod. */
struct aim {
    bool percent;
    int64_t target; /* per cent, or thousandths */
};

struct ratio {
    double ratio;
    int64_t percent, average;
    size_t n;
};

/* Over the pods of the groups that count. False: nothing was requested. */
static bool ratio_of(const struct samples *s, const struct aim *aim, bool with_unready, bool with_missing,
                     struct ratio *ret)
{
    int64_t total = 0, requests = 0;
    *ret = (struct ratio){0};
    for (size_t i = 0; i < s->n; i++) {
        const struct sample *one = &s->items[i];
        if (one->group == IGNORED || (one->group == UNREADY && !with_unready) ||
            (one->group == MISSING && !with_missing))
            continue;
        total = add(total, one->value);
        requests = add(requests, one->request);
        ret->n++;
    }
    if (!ret->n || (aim->percent && requests <= 0))
        return false;
    ret->average = total / (int64_t)ret->n;
    ret->percent = aim->percent ? (int64_t)((double)total * 100 / (double)requests) : 0;
    ret->ratio = (double)(aim->percent ? ret->percent : ret->average) / (double)aim->target;
    return true;
}

/* What those without a metric are taken to use, so that the change becomes smaller. */
static void assume(struct samples *s, const struct aim *aim, double ratio)
{
    for (size_t i = 0; i < s->n; i++) {
        struct sample *one = &s->items[i];
        if (one->group == UNREADY)
            one->value = 0;
        else if (one->group == MISSING && ratio < 1.0)
            one->value = aim->percent ? one->request * MAX((int64_t)100, aim->target) / 100 : aim->target;
        else if (one->group == MISSING)
            one->value = 0;
    }
}

static bool turns(double from, double to)
{
    return (from < 1.0 && to > 1.0) || (from > 1.0 && to < 1.0);
}

/* *ret_ratio: what was measured; the number of pods for it, or -1 with *why. */
static int64_t replicas_for(const struct hpa_view *x, struct samples *s, const struct aim *aim,
                            struct ratio *ret_ratio, struct str *why)
{
    struct ratio now, again;
    int64_t current = x->spec_replicas;
    if (!count(s, READY)) {
        *why = STR("did not receive metrics for targeted pods (pods might be unready)");
        return -1;
    }
    if (!ratio_of(s, aim, false, false, &now)) {
        *why = STR("no metrics returned matched known pods");
        return -1;
    }
    *ret_ratio = now;
    bool unready = count(s, UNREADY) && now.ratio > 1.0, missing = count(s, MISSING) > 0;
    if (!unready && !missing)
        return tolerable(x, now.ratio) ? current : whole(now.ratio * (double)count(s, READY));
    assume(s, aim, now.ratio);
    if (!ratio_of(s, aim, unready, missing && now.ratio != 1.0, &again) || tolerable(x, again.ratio) ||
        turns(now.ratio, again.ratio))
        return current;
    int64_t n = whole(again.ratio * (double)again.n);
    bool other_way = (again.ratio < 1.0 && n > current) || (again.ratio > 1.0 && n < current);
    return other_way ? current : n;
}

/* ---- statuses ---------------------------------------------------------------------------------------- */

static void set_milli(struct arena *a, struct val *current, name_id name, int64_t milli, bool binary)
{
    char text[QUANTITY_TEXT_MAX];
    enum quantity_format f = binary ? QUANTITY_BINARY_SI : QUANTITY_DECIMAL_SI;
    val_set_str(a, current, name, str_of(quantity_text(quantity_of_milli(milli, f), text)));
}

/* A MetricStatus with its member of that name; *ret_current is where the value goes. */
static struct val *make_status(struct arena *a, const struct val *metric, name_id member,
                               const name_id *shared, struct val **ret_current)
{
    struct val *v = val_new(a, VAL_OBJ);
    val_set_ref(a, v, N_type, val_get(metric, N_type));
    struct val *m = val_sub_obj(a, v, member);
    for (; *shared; shared++)
        val_set_ref(a, m, *shared, val_get(val_get(metric, member), *shared));
    *ret_current = val_sub_obj(a, m, N_current);
    return v;
}

/* ---- Resource, ContainerResource --------------------------------------------------------------------- */

static bool resource_failed(const struct hpa_view *x, struct hpa_proposal *p, bool of_container,
                            const char *what, struct str name, struct str container, struct str why)
{
    fail(x, p, of_container ? "FailedGetContainerResourceMetric" : "FailedGetResourceMetric",
         arena_printf(x->arena, "failed to get " STR_FMT " %s: " STR_FMT, STR_ARG(name), what, STR_ARG(why)));
    p->failed_first = arena_printf(x->arena, "failed to get " STR_FMT " %s metric value: " STR_FMT,
                                   STR_ARG(of_container ? container : name),
                                   of_container ? "container" : "resource", STR_ARG(p->failed));
    return false;
}

static bool propose_resource(const struct hpa_view *x, const struct val *metric, const struct hpa_reading *r,
                             name_id member, struct hpa_proposal *p)
{
    static const name_id shared[] = {N_name, 0}, shared_container[] = {N_name, N_container, 0};
    const struct val *source = val_get(metric, member), *target = val_get(source, N_target),
                     *average = val_get(target, N_averageValue),
                     *percent = val_get(target, N_averageUtilization);
    bool of_container = member == N_containerResource;
    struct str name = val_getstr(source, N_name), container = val_getstr(source, N_container), why = STR_NULL;
    const char *what = average ? "usage" : "utilization";
    struct aim aim = {!average, average ? milli_of(average) : val_int(percent, 0)};
    struct samples s;
    struct ratio ratio;
    struct val *current;
    if (!average && !percent)
        return resource_failed(
            x, p, of_container, "usage", name, container,
            STR("invalid resource metric source: neither an average utilization target nor an "
                "average value (usage) target was set"));
    if (r->failed.n)
        return resource_failed(x, p, of_container, what, name, container,
                               arena_printf(x->arena,
                                            "unable to get metrics for resource " STR_FMT ": " STR_FMT,
                                            STR_ARG(name), STR_ARG(r->failed)));
    if (!x->pods->n)
        return resource_failed(x, p, of_container, what, name, container,
                               STR("no pods returned by selector while calculating replica count"));
    take_samples(x, r->v, name, container, &s);
    if (aim.percent && count(&s, READY) && !take_requests(x, &s, name, container, &why))
        return resource_failed(x, p, of_container, what, name, container, why);
    p->replicas = replicas_for(x, &s, &aim, &ratio, &why);
    if (p->replicas < 0)
        return resource_failed(x, p, of_container, what, name, container, why);
    p->metric = average ? arena_printf(x->arena, STR_FMT " resource", STR_ARG(name))
                        : arena_printf(x->arena, STR_FMT "%s resource utilization (percentage of request)",
                                       STR_ARG(name), of_container ? " container" : "");
    p->status = make_status(x->arena, metric, member, of_container ? shared_container : shared, &current);
    if (!average)
        val_set_int(x->arena, current, N_averageUtilization, ratio.percent);
    set_milli(x->arena, current, N_averageValue, ratio.average, str_is(name, "memory"));
    return true;
}

/* ---- Pods -------------------------------------------------------------------------------------------- */

static bool propose_pods(const struct hpa_view *x, const struct val *metric, const struct hpa_reading *r,
                         struct hpa_proposal *p)
{
    static const name_id shared[] = {N_metric, 0};
    const struct val *source = val_get(metric, N_pods);
    struct str name = val_str(val_at(source, N_metric, N_name)), why = STR_NULL;
    struct aim aim = {false, milli_of(val_at(source, N_target, N_averageValue))};
    struct samples s;
    struct ratio ratio;
    struct val *current;
    if (r->failed.n)
        why = arena_printf(x->arena, "unable to get metric " STR_FMT ": " STR_FMT, STR_ARG(name),
                           STR_ARG(r->failed));
    else if (!x->pods->n)
        why = STR("no pods returned by selector while calculating replica count");
    else
        take_samples(x, r->v, STR(""), STR(""), &s);
    p->replicas = why.n ? -1 : replicas_for(x, &s, &aim, &ratio, &why);
    if (p->replicas < 0) {
        fail(x, p, "FailedGetPodsMetric", why);
        p->failed_first = arena_printf(x->arena, "failed to get pods metric value: " STR_FMT, STR_ARG(why));
        return false;
    }
    p->metric = arena_printf(x->arena, "pods metric " STR_FMT, STR_ARG(name));
    p->status = make_status(x->arena, metric, N_pods, shared, &current);
    set_milli(x->arena, current, N_averageValue, ratio.average, false);
    return true;
}

/* ---- Object, External -------------------------------------------------------------------------------- */

static int64_t ready_pods(const struct hpa_view *x)
{
    int64_t n = 0;
    for (size_t i = 0; i < x->pods->n; i++)
        n += str_is(pod_phase(x->pods->items[i]->val), "Running") && pod_ready(x->pods->items[i]->val);
    return n;
}

/* For a value in all: -1 when there are no pods. */
static int64_t replicas_for_value(const struct hpa_view *x, double usage, int64_t target)
{
    double ratio = usage / (double)target;
    if (!x->spec_replicas)
        return whole(ratio);
    if (tolerable(x, ratio))
        return x->spec_replicas;
    return x->pods->n ? whole(ratio * (double)ready_pods(x)) : -1;
}

static int64_t replicas_for_average(const struct hpa_view *x, double usage, int64_t target)
{
    double ratio = usage / ((double)target * (double)x->status_replicas);
    return tolerable(x, ratio) ? x->status_replicas : whole(usage / (double)target);
}

/* Of an object the one value; of an external metric the sum. */
static double usage_of_items(const struct val *list)
{
    double sum = 0;
    VAL_EACH (val_get(list, N_items), i)
        sum += (double)milli_of(val_get(i, N_value));
    return sum;
}

/* What the two kinds of metrics that are not of pods differ in. */
struct outside {
    name_id member;
    const name_id *shared;
    const char *reason;
    struct str cannot; /* "unable to get metric x on Service ns/y" */
    struct str wrap;   /* "failed to get x external metric: ", or empty */
    struct str name_of_value, name_of_average;
    const char *first;
};

static bool outside_failed(const struct hpa_view *x, const struct outside *o, struct hpa_proposal *p,
                           struct str why)
{
    fail(x, p, o->reason, why);
    p->failed_first = arena_printf(x->arena, "%s" STR_FMT STR_FMT, o->first, STR_ARG(o->wrap), STR_ARG(why));
    return false;
}

static bool propose_outside(const struct hpa_view *x, const struct val *metric, const struct hpa_reading *r,
                            const struct outside *o, bool average, struct hpa_proposal *p)
{
    struct arena *a = x->arena;
    const struct val *target = val_get(val_get(metric, o->member), N_target);
    int64_t wanted = milli_of(val_get(target, average ? N_averageValue : N_value));
    struct val *current;
    if (r->failed.n)
        return outside_failed(x, o, p,
                              arena_printf(a, STR_FMT ": " STR_FMT, STR_ARG(o->cannot), STR_ARG(r->failed)));
    double usage = usage_of_items(r->v);
    p->replicas = average ? replicas_for_average(x, usage, wanted) : replicas_for_value(x, usage, wanted);
    if (p->replicas < 0)
        return outside_failed(
            x, o, p,
            STR("unable to calculate ready pods: no pods returned by selector while calculating "
                "replica count"));
    p->metric = average ? o->name_of_average : o->name_of_value;
    p->status = make_status(a, metric, o->member, o->shared, &current);
    if (average)
        set_milli(a, current, N_averageValue, whole_milli(usage / (double)x->status_replicas), false);
    else
        set_milli(a, current, N_value, whole_milli(usage), false);
    return true;
}

static bool propose_object(const struct hpa_view *x, const struct val *metric, const struct hpa_reading *r,
                           struct hpa_proposal *p)
{
    static const name_id shared[] = {N_metric, N_describedObject, 0};
    struct arena *a = x->arena;
    const struct val *source = val_get(metric, N_object), *target = val_get(source, N_target),
                     *about = val_get(source, N_describedObject), *id = val_get(source, N_metric);
    struct str name = val_getstr(id, N_name), kind = val_getstr(about, N_kind),
               type = val_getstr(target, N_type);
    bool value = str_is(type, "Value") && val_get(target, N_value),
         average = str_is(type, "AverageValue") && val_get(target, N_averageValue);
    struct outside o = {.member = N_object,
                        .shared = shared,
                        .reason = "FailedGetObjectMetric",
                        .first = "failed to get object metric value: "};
    o.cannot =
        arena_printf(a, "unable to get metric " STR_FMT " on " STR_FMT " " STR_FMT "/" STR_FMT, STR_ARG(name),
                     STR_ARG(kind), STR_ARG(obj_namespace(x->hpa)), STR_ARG(val_getstr(about, N_name)));
    o.name_of_value = arena_printf(a, STR_FMT " metric " STR_FMT, STR_ARG(kind), STR_ARG(name));
    o.name_of_average = arena_printf(a, "external metric " STR_FMT "(" STR_FMT ")", STR_ARG(name),
                                     STR_ARG(selector_as_go(a, val_get(id, N_selector))));
    if (average)
        o.wrap = arena_printf(a, "failed to get " STR_FMT " object metric: ", STR_ARG(name));
    if (!value && !average)
        return outside_failed(
            x, &o, p,
            STR("invalid object metric source: neither a value target nor an average value target "
                "was set"));
    return propose_outside(x, metric, r, &o, average, p);
}

static bool propose_external(const struct hpa_view *x, const struct val *metric, const struct hpa_reading *r,
                             struct hpa_proposal *p)
{
    static const name_id shared[] = {N_metric, 0};
    struct arena *a = x->arena;
    const struct val *source = val_get(metric, N_external), *target = val_get(source, N_target),
                     *id = val_get(source, N_metric);
    struct str name = val_getstr(id, N_name), selector = selector_as_go(a, val_get(id, N_selector));
    bool average = val_get(target, N_averageValue) != NULL;
    struct outside o = {.member = N_external, .shared = shared, .reason = "FailedGetExternalMetric"};
    o.first = arena_printf(a, "failed to get " STR_FMT " external metric value: ", STR_ARG(name)).p;
    o.cannot = arena_printf(a, "unable to get external metric " STR_FMT "/" STR_FMT "/" STR_FMT,
                            STR_ARG(obj_namespace(x->hpa)), STR_ARG(name), STR_ARG(selector));
    o.name_of_value = o.name_of_average =
        arena_printf(a, "external metric " STR_FMT "(" STR_FMT ")", STR_ARG(name), STR_ARG(selector));
    o.wrap = arena_printf(a,
                          average ? "failed to get " STR_FMT " external metric: "
                                  : "failed to get external metric " STR_FMT ": ",
                          STR_ARG(name));
    if (!average && !val_get(target, N_value))
        return outside_failed(
            x, &o, p,
            STR("invalid external metric source: neither a value target nor an average value target "
                "was set"));
    return propose_outside(x, metric, r, &o, average, p);
}

/* ---- by kind ----------------------------------------------------------------------------------------- */

bool hpa_propose(const struct hpa_view *x, const struct val *metric, const struct hpa_reading *r,
                 struct hpa_proposal *ret)
{
    struct str type = val_getstr(metric, N_type);
    *ret = (struct hpa_proposal){0};
    if (str_is(type, "Resource"))
        return propose_resource(x, metric, r, N_resource, ret);
    if (str_is(type, "ContainerResource"))
        return propose_resource(x, metric, r, N_containerResource, ret);
    if (str_is(type, "Pods"))
        return propose_pods(x, metric, r, ret);
    if (str_is(type, "Object"))
        return propose_object(x, metric, r, ret);
    if (str_is(type, "External"))
        return propose_external(x, metric, r, ret);
    return fail(x, ret, "InvalidMetricSourceType",
                arena_printf(x->arena, "unknown metric source type \"" STR_FMT "\"", STR_ARG(type)));
}
