/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/hpa.h"

#include <stdio.h>

#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"
#include "types.h"

#define UNABLE_TO_GET_SCALE "the HPA controller was unable to get the target's current scale: "

/* One look at one autoscaler. */
struct look {
    const struct snapshot *world;
    const struct object *hpa;
    const struct hpa_readings *readings;
    struct hpa_memory *memory;
    struct hpa_settings settings;
    struct str key;
    struct wall now;
    struct writes *w;

    struct val *status;     /* the new one */
    struct val *conditions; /* a list of our own, put into it at the end */
    struct val *metrics;    /* MetricStatuses; NULL: not looked at */
    int64_t current;        /* replicas that the target has, as its spec says */
    int64_t wanted;
    const char *reason; /* for a change */
};

/* ---- settings ---------------------------------------------------------------------------------------- */

static int64_t or_default(int64_t given, int64_t absent)
{
    return given > 0 ? given : absent;
}

struct hpa_settings hpa_settings_of(const struct controllers_config *c)
{
    return (struct hpa_settings){
        .period = or_default(c->hpa_sync_period, SECONDS(15)),
        .downscale_window = or_default(c->hpa_downscale_stabilization, SECONDS(300)),
        .cpu_initialization = or_default(c->hpa_cpu_initialization, SECONDS(300)),
        .readiness_delay = or_default(c->hpa_initial_readiness_delay, SECONDS(30)),
        .tolerance = c->hpa_tolerance > 0 ? c->hpa_tolerance : 0.1,
    };
}

int64_t hpa_min_replicas(const struct val *hpa)
{
    return val_int(val_at(hpa, N_spec, N_minReplicas), 1);
}

static bool measures_outside(const struct val *hpa)
{
    VAL_EACH (val_at(hpa, N_spec, N_metrics), m)
        if (str_is(val_getstr(m, N_type), "Object") || str_is(val_getstr(m, N_type), "External"))
            return true;
    return false;
}

bool hpa_scaled_to_zero(const struct val *hpa)
{
    return condition_is(val_at(hpa, N_status, N_conditions), STR("ScaledToZero"), "True");
}

/* Zero is switched off, unless it was this controller that went there (KEP-2021). */
static bool may_leave_zero(const struct val *hpa)
{
    return hpa_scaled_to_zero(hpa) && (hpa_min_replicas(hpa) != 0 || measures_outside(hpa));
}

bool hpa_needs_metrics(const struct val *hpa, int64_t replicas)
{
    if (replicas == 0)
        return may_leave_zero(hpa);
    return replicas >= hpa_min_replicas(hpa) && replicas <= val_int(val_at(hpa, N_spec, N_maxReplicas), 0);
}

/* ---- status ------------------------------------------------------------------------------------------ */

static void set_condition(struct look *l, const char *type, bool on, const char *reason, struct str message)
{
    condition_set(l->w->arena, l->conditions, str_of(type), on ? "True" : "False", reason, message, l->now);
}

static void warn(struct look *l, const char *reason, struct str message)
{
    writes_event(l->w, l->hpa->res, l->hpa->val, true, reason, STR_FMT, STR_ARG(message));
}

static void begin_status(struct look *l)
{
    const struct val *old = val_get(l->hpa->val, N_status);
    l->status = old ? val_copy_shallow(l->w->arena, old) : val_new(l->w->arena, VAL_OBJ);
    l->conditions = val_new(l->w->arena, VAL_LIST);
    VAL_EACH (val_get(old, N_conditions), c)
        val_add(l->w->arena, l->conditions, *val_copy_shallow(l->w->arena, c));
}

/* What was looked at. desired: HPA_UNKNOWN leaves what is there. */
static void set_sizes(struct look *l, int64_t desired)
{
    struct arena *a = l->w->arena;
    set_count(a, l->status, N_currentReplicas, l->current);
    if (desired != HPA_UNKNOWN || !val_get(l->status, N_desiredReplicas))
        val_set_int(a, l->status, N_desiredReplicas, desired == HPA_UNKNOWN ? 0 : desired);
    if (l->metrics && val_len(l->metrics))
        val_set_ref(a, l->status, N_currentMetrics, l->metrics);
    else
        val_del(l->status, N_currentMetrics);
    val_set_ref(a, l->status, N_observedGeneration, val_get(l->hpa->meta, N_generation));
}

static void write_status(struct look *l)
{
    val_set_ref(l->w->arena, l->status, N_conditions, l->conditions);
    if (val_equal(l->status, val_get(l->hpa->val, N_status)))
        return;
    struct val *v = val_copy_shallow(l->w->arena, l->hpa->val);
    val_set_ref(l->w->arena, v, N_status, l->status);
    writes_update_status(l->w, l->hpa->res, v);
}

/* ---- whose pods -------------------------------------------------------------------------------------- */

static bool inactive(struct look *l, const char *event, const char *reason, struct str message,
                     struct str condition)
{
    warn(l, event, message);
    set_condition(l, "ScalingActive", false, reason, condition);
    l->reason = message.p;
    return false;
}

/* Names of autoscalers (two at most) that would count one of these pods as theirs. */
static size_t others_with_them(struct look *l, const struct objects *pods, struct str names[2])
{
    size_t n = 0;
    struct map *all = l->w->state;
    MAP_EACH (all, m) {
        const struct hpa_memory *other = m->value;
        struct selector s;
        struct str ns, name;
        bool same = other->selector && str_cut(m->key, '/', &ns, &name) && str_eq(ns, l->hpa->namespace_) &&
                    selector_parse(l->w->arena, str_of(other->selector), &s, NULL) == 0;
        for (size_t i = 0; same && i < pods->n; i++)
            if (selector_matches(&s, obj_labels(pods->items[i]->val))) {
                names[n++] = m->key;
                break;
            }
        if (n == 2)
            break;
    }
    return n;
}

static bool find_pods(struct look *l, struct objects *ret)
{
    struct arena *a = l->w->arena;
    struct str text = val_str(val_at(l->readings->scale, N_status, N_selector)), names[2];
    struct selector selector;
    struct err e = {0};
    if (!text.n)
        return inactive(l, "SelectorRequired", "InvalidSelector", STR("selector is required"),
                        STR("the HPA target's scale is missing a selector"));
    int r = selector_parse(a, text, &selector, &e);
    if (r < 0) {
        struct str why =
            arena_printf(a, "couldn't convert selector into a corresponding internal selector object: %s",
                         err_text(&e, r));
        return inactive(l, "InvalidSelector", "InvalidSelector", why, why);
    }
    free(l->memory->selector);
    l->memory->selector = str_dup(text);
    TREE_EACH (snapshot_tree(l->world, &resources[RES_PODS]), l->hpa->namespace_, it)
        if (selector_matches(&selector, obj_labels(it.object->val)))
            objects_add(a, ret, it.object);
    if (others_with_them(l, ret, names) > 1) {
        struct str why = arena_printf(a,
                                      "pods by selector " STR_FMT
                                      " are controlled by more than one HPA (e.g. [" STR_FMT " " STR_FMT "])",
                                      STR_ARG(text), STR_ARG(names[0]), STR_ARG(names[1]));
        return inactive(l, "AmbiguousSelector", "AmbiguousSelector", why, why);
    }
    return true;
}

/* ---- what the metrics say ---------------------------------------------------------------------------- */

struct sum {
    int64_t replicas; /* the most that any of them proposes */
    struct str metric;
    size_t n, failed;
    struct hpa_proposal first_failed;
};

static void ask_metrics(struct look *l, const struct objects *pods, struct sum *ret)
{
    struct hpa_view x = {.arena = l->w->arena,
                         .hpa = l->hpa->val,
                         .pods = pods,
                         .spec_replicas = l->current,
                         .status_replicas = val_int(val_at(l->readings->scale, N_status, N_replicas), 0),
                         .settings = l->settings,
                         .now = l->now};
    *ret = (struct sum){0};
    VAL_EACH (val_at(l->hpa->val, N_spec, N_metrics), m) {
        struct hpa_proposal p;
        bool well = hpa_propose(&x, m, &l->readings->metrics[ret->n++], &p);
        val_add(l->w->arena, l->metrics, well ? *p.status : *val_new(l->w->arena, VAL_OBJ));
        if (!well) {
            warn(l, p.failed_reason, p.failed);
            if (!ret->failed++)
                ret->first_failed = p;
        } else if (ret->replicas == 0 || p.replicas > ret->replicas) {
            ret->replicas = p.replicas;
            ret->metric = p.metric;
        }
    }
}

/* Some may fail as long as the others do not ask for fewer pods. */
static bool judge(struct look *l, const struct sum *s)
{
    struct arena *a = l->w->arena;
    if (s->failed < s->n && (!s->failed || s->replicas >= l->current)) {
        set_condition(l, "ScalingActive", true, "ValidMetricFound",
                      arena_printf(a,
                                   "the HPA was able to successfully calculate a replica count from " STR_FMT,
                                   STR_ARG(s->metric)));
        return true;
    }
    set_condition(l, "ScalingActive", false, s->first_failed.failed_reason,
                  arena_printf(a, "the HPA was unable to compute the replica count: " STR_FMT,
                               STR_ARG(s->first_failed.failed)));
    l->reason = arena_printf(a, "invalid metrics (%zu invalid out of %zu), first error is: " STR_FMT,
                             s->failed, s->n, STR_ARG(s->first_failed.failed_first))
                    .p;
    return false;
}

/* False: there is nothing to go by; l->reason says why. */
static bool decide_by_metrics(struct look *l)
{
    struct objects pods = {0};
    struct sum s;
    struct hpa_limited limited;
    l->metrics = val_new(l->w->arena, VAL_LIST);
    if (!find_pods(l, &pods))
        return false;
    ask_metrics(l, &pods, &s);
    if (!judge(l, &s))
        return false;
    l->reason = s.replicas > l->current
                    ? arena_printf(l->w->arena, STR_FMT " above target", STR_ARG(s.metric)).p
                : s.replicas < l->current ? "All metrics below target"
                                          : "";
    hpa_limit(l->hpa->val, &l->settings, l->memory, l->current, s.replicas, l->now, &limited);
    set_condition(l, "AbleToScale", true, limited.able_reason, str_of(limited.able_message));
    set_condition(l, "ScalingLimited", limited.limited, limited.limit_reason, str_of(limited.limit_message));
    l->wanted = limited.replicas;
    int64_t min = hpa_min_replicas(l->hpa->val);
    if (l->current == 0 && min && l->wanted < min) {
        l->wanted = min;
        if (!*l->reason)
            l->reason = "Current number of replicas below Spec.MinReplicas";
    }
    return true;
}

/* ---- the new size ------------------------------------------------------------------------------------ */

static bool decide(struct look *l)
{
    int64_t min = hpa_min_replicas(l->hpa->val), max = val_int(val_at(l->hpa->val, N_spec, N_maxReplicas), 0);
    if (hpa_needs_metrics(l->hpa->val, l->current) && l->readings->metrics)
        return decide_by_metrics(l);
    l->wanted = l->current;
    if (l->current == 0) {
        set_condition(l, "ScalingActive", false, "ScalingDisabled",
                      STR("scaling is disabled since the replica count of the target is zero"));
    } else if (l->current > max) {
        l->reason = "Current number of replicas above Spec.MaxReplicas";
        l->wanted = max;
    } else if (l->current < min) {
        l->reason = "Current number of replicas below Spec.MinReplicas";
        l->wanted = min;
    }
    return true;
}

static void write_scale(struct look *l)
{
    struct arena *a = l->w->arena;
    struct val *v = val_copy(a, l->readings->scale);
    set_count(a, val_sub_obj(a, v, N_spec), N_replicas, l->wanted);
    struct write *w = writes_add(l->w, WRITE_UPDATE, l->readings->res, l->hpa->namespace_,
                                 val_str(val_at(l->hpa->val, N_spec, N_scaleTargetRef, N_name)));
    w->subresource = "scale";
    w->body = v;
}

static void rescale(struct look *l)
{
    struct arena *a = l->w->arena;
    bool to_zero = l->wanted == 0 && hpa_min_replicas(l->hpa->val) == 0 && measures_outside(l->hpa->val);
    write_scale(l);
    writes_event(l->w, l->hpa->res, l->hpa->val, false, "SuccessfulRescale", "New size: %lld; reason: %s",
                 (long long)l->wanted, l->reason);
    set_condition(l, "AbleToScale", true, "SucceededRescale",
                  arena_printf(a, "the HPA controller was able to update the target scale to %lld",
                               (long long)l->wanted));
    set_condition(l, "ScaledToZero", to_zero, to_zero ? "ScaledToZero" : "NotScaledToZero",
                  to_zero ? STR("the HPA controller scaled the workload to zero")
                          : STR("the HPA controller did not scale the workload to zero"));
    hpa_note_change(l->hpa->val, l->memory, l->current, l->wanted, l->now);
    snprintf(l->memory->reason_text, sizeof(l->memory->reason_text), "%s", l->reason);
    val_set_time(a, l->status, N_lastScaleTime, l->now);
}

/* What was asked for last time and did not come about was no change. */
static void check_last_change(struct look *l)
{
    struct hpa_memory *m = l->memory;
    if (m->from != m->to && l->current == m->from)
        hpa_unnote_change(m);
    m->from = m->to = 0;
}

static void look_at(struct look *l)
{
    if (!l->readings->scale) {
        warn(l, "FailedGetScale", l->readings->scale_failed);
        set_condition(
            l, "AbleToScale", false, "FailedGetScale",
            arena_printf(l->w->arena, UNABLE_TO_GET_SCALE STR_FMT, STR_ARG(l->readings->scale_failed)));
        write_status(l);
        return;
    }
    set_condition(l, "AbleToScale", true, "SucceededGetScale",
                  STR("the HPA controller was able to get the target's current scale"));
    l->current = val_int(val_at(l->readings->scale, N_spec, N_replicas), 0);
    check_last_change(l);
    hpa_first_look(l->memory, l->current, l->now);
    if (!decide(l)) {
        warn(l, "FailedComputeMetricsReplicas", str_of(l->reason));
        set_sizes(l, HPA_UNKNOWN);
    } else {
        if (l->wanted != l->current)
            rescale(l);
        set_sizes(l, l->wanted);
    }
    write_status(l);
}

/* ---- reconcile --------------------------------------------------------------------------------------- */

static struct hpa_memory *memory_of(struct map *all, struct str key)
{
    struct hpa_memory *m = map_get(all, key);
    if (!m) {
        m = NEW(struct hpa_memory);
        map_put(all, key, m);
    }
    return m;
}

static bool begin(struct look *l, const struct snapshot *world, struct key key, struct wall now,
                  struct writes *w)
{
    *l = (struct look){.world = world, .now = now, .w = w, .readings = w->gathered, .reason = ""};
    l->hpa = snapshot_get(world, &resources[RES_HORIZONTALPODAUTOSCALERS], key.ns, key.name);
    l->key = obj_key(w->arena, key.ns, key.name);
    l->settings = hpa_settings_of(w->config);
    if (!l->hpa || obj_deleting(l->hpa->val)) {
        hpa_memory_free(map_del(w->state, l->key));
        return false;
    }
    l->memory = memory_of(w->state, l->key);
    begin_status(l);
    return true;
}

/* The object may have come, or asked for other metrics or another target, only after they had been gathered. */
static bool readings_fit(const struct look *l)
{
    return l->readings && (!l->readings->spec || val_equal(l->readings->spec, val_get(l->hpa->val, N_spec)));
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *ret)
{
    struct look l;
    if (!begin(&l, world, key, now, ret))
        return 0;
    bool fit = readings_fit(&l);
    if (fit)
        look_at(&l);
    writes_again(ret, fit ? l.settings.period : MILLISECONDS(10));
    return 0;
}

/* The target would not be scaled. A conflict is looked at anew at once, all else after the usual time. */
static void refused(const struct snapshot *world, struct key key, const struct write *w,
                    const struct status *s, struct wall now, struct writes *ret)
{
    struct look l;
    if (!w->subresource || s->code == 409 || !begin(&l, world, key, now, ret))
        return;
    int64_t wanted = val_int(val_at(w->body, N_spec, N_replicas), 0);
    writes_event(ret, l.hpa->res, l.hpa->val, true, "FailedRescale",
                 "New size: %lld; reason: %s; error: " STR_FMT, (long long)wanted, l.memory->reason_text,
                 STR_ARG(s->message));
    set_condition(&l, "AbleToScale", false, "FailedUpdateScale",
                  arena_printf(ret->arena,
                               "the HPA controller was unable to update the target scale: " STR_FMT,
                               STR_ARG(s->message)));
    write_status(&l);
    writes_again(ret, l.settings.period);
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    if (res != &resources[RES_HORIZONTALPODAUTOSCALERS])
        return;
    if (old && new_ && val_equal(val_get(old->val, N_spec), val_get(new_->val, N_spec)))
        return; /* our own status, mostly */
    const struct object *o = new_ ? new_ : old;
    sink(arg, (struct key){o->namespace_, o->name});
}

static void *state_new(const struct controllers_config *config)
{
    return NEW(struct map);
}

static void state_free(void *state)
{
    map_done_with(state, hpa_memory_free);
    free(state);
}

const struct controller hpa_controller = {
    .name = "horizontal-pod-autoscaler-controller",
    .alias = "horizontalpodautoscaling",
    .account = "horizontal-pod-autoscaler",
    .source = "horizontal-pod-autoscaler",
    .reads = (const uint16_t[]){RES_HORIZONTALPODAUTOSCALERS, RES_PODS, 0},
    .workers = 5,
    .keys_of = keys_of,
    .gather = hpa_gather,
    .reconcile = reconcile,
    .refused = refused,
    .state_new = state_new,
    .state_free = state_free,
};
