/* SPDX-License-Identifier: Apache-2.0 */
#include "node/podstatus.h"

#include "node/qos.h"

/* ---- one container --------------------------------------------------------------------------------------- */

static struct str container_ref(struct arena *a, const char *runtime, struct str id)
{
    return arena_printf(a, "%s://" STR_FMT, runtime, STR_ARG(id));
}

static struct val *set_state(struct arena *a, struct val *status, name_id list, name_id which)
{
    struct val *state = val_new(a, VAL_OBJ);
    val_set_ref(a, status, list, state);
    return val_sub_obj(a, val_mut(status, list), which);
}

static void set_time(struct arena *a, struct val *obj, name_id name, struct wall t)
{
    if (t.ns > 0)
        val_set_time(a, obj, name, t);
}

static void set_terminated(struct arena *a, struct val *status, name_id list, const struct rt_container *c,
                           const char *runtime)
{
    struct val *t = set_state(a, status, list, N_terminated);
    val_set_int(a, t, N_exitCode, c->exit_code);
    if (c->reason.n)
        val_set_str(a, t, N_reason, c->reason);
    if (c->message.n)
        val_set_str(a, t, N_message, c->message);
    set_time(a, t, N_startedAt, c->started);
    set_time(a, t, N_finishedAt, c->finished);
    val_set_str(a, t, N_containerID, container_ref(a, runtime, c->id));
}

static void set_lost(struct arena *a, struct val *status, name_id list, const char *message)
{
    struct val *t = set_state(a, status, list, N_terminated);
    val_set_int(a, t, N_exitCode, 137);
    val_set_str(a, t, N_reason, STR("ContainerStatusUnknown"));
    val_set_str(a, t, N_message, str_of(message));
}

static void set_waiting(struct arena *a, struct val *status, struct str reason, struct str message)
{
    struct val *w = set_state(a, status, N_state, N_waiting);
    if (reason.n)
        val_set_str(a, w, N_reason, reason);
    if (message.n)
        val_set_str(a, w, N_message, message);
}

static const struct val *state_of(const struct val *status, name_id which)
{
    return val_get(val_get(status, N_state), which);
}

static const struct val *last_terminated(const struct val *status)
{
    return val_get(val_get(status, N_lastState), N_terminated);
}

static void set_mounts(struct arena *a, struct val *status, const struct val *spec)
{
    VAL_EACH (val_get(spec, N_volumeMounts), m) {
        struct val *o = val_add_obj(a, val_sub_list(a, status, N_volumeMounts));
        val_set_str(a, o, N_name, val_getstr(m, N_name));
        val_set_str(a, o, N_mountPath, val_getstr(m, N_mountPath));
        if (val_bool(val_get(m, N_readOnly), false)) {
            val_set_bool(a, o, N_readOnly, true);
            val_set_str(a, o, N_recursiveReadOnly, STR("Disabled"));
        }
    }
}

/* What can be said of a container before the runtime is asked. */
static struct val *base_status(struct arena *a, const struct val *spec, const struct val *old, struct str waiting)
{
    if (val_get(val_get(old, N_state), N_terminated))
        return val_copy_shallow(a, old);
    struct val *s = val_new(a, VAL_OBJ);
    val_set_str(a, s, N_name, val_getstr(spec, N_name));
    set_waiting(a, s, waiting, STR_NULL);
    if (val_get(old, N_lastState))
        val_set_ref(a, s, N_lastState, val_get(old, N_lastState));
    val_set_int(a, s, N_restartCount, val_int(val_get(old, N_restartCount), 0));
    val_set_str(a, s, N_image, val_getstr(spec, N_image));
    val_set_str(a, s, N_imageID, STR(""));
    set_mounts(a, s, spec);
    return s;
}

#define RESTARTING_ALL "RestartingAllContainers"

/* It was taken away so that the whole Pod begins anew. */
static void set_reset(struct arena *a, struct val *s, const struct val *old)
{
    static const char message[] = "The container is removed because RestartAllContainers in place";
    struct val *t = set_state(a, s, N_lastState, N_terminated);
    val_set_int(a, t, N_exitCode, 137);
    val_set_str(a, t, N_reason, STR(RESTARTING_ALL));
    val_set_str(a, t, N_message, str_of(message));
    set_waiting(a, s, STR(RESTARTING_ALL), str_of(message));
    val_set_int(a, s, N_restartCount, val_int(val_get(old, N_restartCount), 0) + 1);
}

/* The runtime no longer knows a container that we saw running: it ended, and nobody can tell how. */
static void infer_lost(struct arena *a, struct val *s, const struct val *old, const struct val *pod)
{
    if (!state_of(old, N_running) || last_terminated(s) || !state_of(s, N_waiting))
        return;
    set_lost(a, s, N_lastState,
             "The container could not be located when the pod was deleted.  The container used to be Running");
    if (!obj_deleting(pod))
        val_set_int(a, s, N_restartCount, val_int(val_get(s, N_restartCount), 0) + 1);
}

/* waiting: why one that was made but does not run yet does not. */
static void set_from_runtime(struct arena *a, struct val *s, const struct rt_container *c, const struct val *old,
                             struct str waiting, const char *runtime)
{
    int64_t before = val_int(val_get(old, N_restartCount), 0);
    val_set_int(a, s, N_restartCount, MAX(before, (int64_t)c->restarts));
    val_set_str(a, s, N_image, c->image);
    val_set_str(a, s, N_imageID, c->image_ref);
    val_set_str(a, s, N_containerID, container_ref(a, runtime, c->id));
    switch (c->state) {
    case RT_RUNNING:
        set_time(a, set_state(a, s, N_state, N_running), N_startedAt, c->started);
        break;
    case RT_EXITED:
        set_terminated(a, s, N_state, c, runtime);
        break;
    case RT_CREATED:
        set_waiting(a, s, waiting, STR_NULL);
        break;
    case RT_UNKNOWN:
        if (state_of(old, N_running)) {
            set_lost(a, s, N_state, "The container could not be located when the pod was terminated");
            val_set_int(a, s, N_restartCount, before + 1);
        } else {
            set_waiting(a, s, STR_NULL, STR_NULL);
        }
        break;
    }
}

static void set_user(struct arena *a, struct val *s, const struct rt_container *c)
{
    if (!c->has_user)
        return;
    struct val *u = val_sub_obj(a, val_sub_obj(a, s, N_user), N_linux);
    val_set_int(a, u, N_uid, c->uid);
    val_set_int(a, u, N_gid, c->gid);
    if (c->groups)
        val_set_ref(a, u, N_supplementalGroups, c->groups);
}

/* Granted, and in force (KEP-1287). */
static void set_resources(struct arena *a, const struct status_input *in, struct val *s, const struct val *spec,
                          const struct rt_container *c)
{
    const struct val *r = val_get(spec, N_resources);
    bool known = false;
    const struct val *actuated = in->in_force ? in->in_force(in->ctx, val_getstr(spec, N_name), &known) : NULL;
    if (val_len(val_get(r, N_requests)))
        val_set_ref(a, s, N_allocatedResources, val_get(r, N_requests));
    val_set_ref(a, s, N_resources, resize_in_force(a, r, c, known ? actuated : NULL));
}

static bool initialized_silently(const struct status_input *in, const struct val *spec, const struct val *s)
{
    return !container_is_sidecar(spec) && state_of(s, N_waiting) && pod_main_created(in->pod, in->state);
}

/* The reason why a container that is to be started is not, said in place of how the last one ended. */
static void apply_wait_reason(struct arena *a, const struct status_input *in, enum container_kind kind,
                              const struct val *spec, const struct rt_container *newest, struct val *s)
{
    if (kind == CK_INIT && newest && newest->state == RT_EXITED && newest->exit_code == 0 &&
        !container_is_sidecar(spec))
        return;
    if (kind == CK_INIT && !newest && initialized_silently(in, spec, s)) {
        struct val *t = set_state(a, s, N_state, N_terminated);
        val_set_int(a, t, N_exitCode, 0);
        val_set_str(a, t, N_reason, STR("Completed"));
        val_set_str(a, t, N_message, STR("Unable to get init container status from container runtime and pod has been "
                                         "initialized, treat it as exited normally"));
        return;
    }
    const struct wait_reason *w = in->waiting ? in->waiting(in->ctx, val_getstr(spec, N_name)) : NULL;
    if (!w || !container_to_start(in->pod, spec, in->state))
        return;
    const struct val *ended = state_of(s, N_terminated);
    if (ended) {
        struct val *last = val_new(a, VAL_OBJ);
        val_set_ref(a, last, N_terminated, ended);
        val_set_ref(a, s, N_lastState, last);
    }
    set_waiting(a, s, w->reason, w->message);
}

static struct val *container_status(struct arena *a, const struct status_input *in, enum container_kind kind,
                                    const struct val *spec, const struct val *old, struct str waiting)
{
    const struct rt_container *found[2] = {NULL, NULL};
    struct str name = val_getstr(spec, N_name);
    for (size_t i = 0, n = 0; in->state && i < in->state->n_containers && n < 2; i++)
        if (str_eq(in->state->containers[i].name, name))
            found[n++] = &in->state->containers[i];
    struct val *s = base_status(a, spec, old, waiting);
    if (!found[0] && in->restarting && old && kind != CK_EPHEMERAL) {
        if (state_of(old, N_waiting)) /* told already */
            return val_copy_shallow(a, old);
        s = base_status(a, spec, NULL, waiting);
        set_reset(a, s, old);
        return s;
    }
    if (!found[0]) {
        infer_lost(a, s, old, in->pod);
    } else {
        const struct val *last = val_get(old, N_lastState);
        s = val_new(a, VAL_OBJ);
        val_set_str(a, s, N_name, name);
        if (last)
            val_set_ref(a, s, N_lastState, last);
        set_from_runtime(a, s, found[0], old, waiting, in->runtime);
        if (found[1] && found[1]->state == RT_EXITED)
            set_terminated(a, s, N_lastState, found[1], in->runtime);
        set_mounts(a, s, spec);
        if (kind != CK_EPHEMERAL)
            set_resources(a, in, s, spec, found[0]);
        set_user(a, s, found[0]);
    }
    apply_wait_reason(a, in, kind, spec, found[0], s);
    return s;
}

/* ---- started and ready ----------------------------------------------------------------------------------- */

static enum probe_result verdict(const struct status_input *in, enum probe_kind kind, struct str id)
{
    return in->probe && id.n ? in->probe(in->ctx, kind, id) : PROBE_UNKNOWN;
}

static bool has_started(const struct status_input *in, const struct val *spec, const struct rt_container *c)
{
    if (!c || c->state != RT_RUNNING)
        return false;
    return !val_get(spec, N_startupProbe) || verdict(in, PROBE_STARTUP, c->id) == PROBE_SUCCESS;
}

static bool is_ready(const struct status_input *in, const struct val *spec, const struct rt_container *c)
{
    if (!has_started(in, spec, c))
        return false;
    return !val_get(spec, N_readinessProbe) || verdict(in, PROBE_READINESS, c->id) == PROBE_SUCCESS;
}

static void set_probed(struct arena *a, const struct status_input *in, enum container_kind kind,
                       const struct val *spec, struct val *s)
{
    const struct rt_container *c = podstate_find(in->state, val_getstr(spec, N_name));
    bool running = state_of(s, N_running) != NULL, ready = false, started = running && has_started(in, spec, c);
    const struct val *ended = state_of(s, N_terminated);
    if (kind == CK_INIT && !container_is_sidecar(spec))
        ready = ended && val_int(val_get(ended, N_exitCode), 0) == 0;
    else if (kind != CK_EPHEMERAL)
        ready = running && is_ready(in, spec, c);
    val_set_bool(a, s, N_ready, ready);
    if (kind == CK_EPHEMERAL)
        val_del(s, N_started);
    else
        val_set_bool(a, s, N_started, started);
}

static void set_containers(struct arena *a, const struct status_input *in, enum container_kind kind,
                           const struct val *old, struct val *status)
{
    const struct val *specs = pod_containers(in->pod, kind), *before = pod_statuses(old, kind);
    bool init = val_len(pod_containers(in->pod, CK_INIT)) > 0;
    struct str waiting = init ? STR("PodInitializing") : STR("ContainerCreating");
    struct val *list = val_new(a, VAL_LIST);
    VAL_EACH (specs, spec) {
        struct val *s = container_status(a, in, kind, spec, val_named(before, val_getstr(spec, N_name)), waiting);
        set_probed(a, in, kind, spec, s);
        val_add(a, list, *s);
    }
    if (val_len(list))
        val_set_ref(a, status, pod_statuses_name(kind), list);
    else
        val_del(status, pod_statuses_name(kind));
}

/* ---- phase ----------------------------------------------------------------------------------------------- */

struct tally {
    unsigned init_pending, sidecar_pending, init_failed;
    unsigned unknown, running, waiting, stopped, stopped_for_good, succeeded;
};

static bool was_reset(const struct val *ended)
{
    return str_is(val_getstr(ended, N_reason), RESTARTING_ALL);
}

static void tally_init(struct tally *t, const struct val *pod, const struct val *spec, const struct val *s)
{
    const struct val *ended = state_of(s, N_terminated);
    if (!ended && state_of(s, N_waiting))
        ended = last_terminated(s);
    if (!s || state_of(s, N_running) || !ended) {
        t->init_pending++;
        return;
    }
    int64_t code = val_int(val_get(ended, N_exitCode), 0);
    if (was_reset(ended))
        t->init_pending++;
    else if (code != 0 && !container_restarts(pod, spec, code))
        t->init_failed++;
}

static void tally_sidecar(struct tally *t, const struct val *s)
{
    if (!s) {
        t->unknown++;
    } else if (state_of(s, N_running)) {
        t->sidecar_pending += !val_bool(val_get(s, N_started), false);
        t->running++;
    } else if (state_of(s, N_waiting)) {
        if (!last_terminated(s)) {
            t->sidecar_pending++;
            t->waiting++;
        }
    } else if (!state_of(s, N_terminated)) {
        t->sidecar_pending++;
        t->unknown++;
    }
}

static void tally_main(struct tally *t, const struct val *pod, const struct val *spec, const struct val *s)
{
    const struct val *ended = state_of(s, N_terminated);
    bool now = ended != NULL;
    if (!s) {
        t->unknown++;
        return;
    }
    if (state_of(s, N_running)) {
        t->running++;
        return;
    }
    if (!ended && state_of(s, N_waiting))
        ended = last_terminated(s);
    if (ended) {
        int64_t code = val_int(val_get(ended, N_exitCode), 0);
        t->stopped++;
        t->stopped_for_good += !was_reset(ended) && !container_restarts(pod, spec, code);
        t->succeeded += now && code == 0;
    } else if (state_of(s, N_waiting)) {
        t->waiting++;
    } else {
        t->unknown++;
    }
}

const char *podstatus_phase(const struct val *pod, const struct val *status, bool ended, bool initialized)
{
    struct tally t = {0};
    VAL_EACH (pod_containers(pod, CK_INIT), c) {
        const struct val *s = val_named(pod_statuses(status, CK_INIT), val_getstr(c, N_name));
        if (container_is_sidecar(c))
            tally_sidecar(&t, s);
        else
            tally_init(&t, pod, c, s);
    }
    VAL_EACH (pod_containers(pod, CK_MAIN), c)
        tally_main(&t, pod, c, val_named(pod_statuses(status, CK_MAIN), val_getstr(c, N_name)));
    if (t.init_failed)
        return "Failed";
    if (t.init_pending || (t.sidecar_pending && !initialized) || t.waiting)
        return "Pending";
    if (t.running && !t.unknown)
        return "Running";
    if (!t.running && t.stopped && !t.unknown) {
        if (!(ended && !pod_is_static(pod)) && t.stopped != t.stopped_for_good)
            return "Running"; /* between two lives */
        return t.stopped == t.succeeded ? "Succeeded" : "Failed";
    }
    return "Pending";
}

/* ---- conditions ------------------------------------------------------------------------------------------ */

static const char *const own_conditions[] = {
    "PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled", "PodResizePending",
    "PodResizeInProgress", "AllContainersRestarting", NULL,
};

static bool is_own(struct str type)
{
    for (const char *const *c = own_conditions; *c; c++)
        if (str_is(type, *c))
            return true;
    return false;
}

struct condition {
    const char *type;
    bool is_true;
    const char *reason; /* NULL: none */
    struct str message;
};

static void add_condition(struct arena *a, struct val *list, const struct condition *c, const struct val *old,
                          const struct val *pod, struct wall now)
{
    const char *status = c->is_true ? "True" : "False";
    const struct val *before = condition_find(old, str_of(c->type));
    struct val *o = val_add_obj(a, list);
    int64_t generation = val_int(val_get(obj_meta(pod), N_generation), 0);
    val_set_str(a, o, N_type, str_of(c->type));
    if (generation)
        val_set_int(a, o, N_observedGeneration, generation);
    val_set_str(a, o, N_status, str_of(status));
    const struct val *since = val_get(before, N_lastTransitionTime);
    if (since && str_is(val_getstr(before, N_status), status))
        val_set_ref(a, o, N_lastTransitionTime, since);
    else
        val_set_time(a, o, N_lastTransitionTime, now);
    if (c->reason)
        val_set_str(a, o, N_reason, str_of(c->reason));
    if (c->message.n)
        val_set_str(a, o, N_message, c->message);
}

struct names {
    struct buf text;
    unsigned n;
};

static void name_add(struct names *l, struct str name)
{
    buf_printf(&l->text, "%s" STR_FMT, l->n++ ? " " : "", STR_ARG(name));
}

/* "containers with unknown status: [a], containers with <what> status: [b c]" */
static struct str unready_text(struct arena *a, const struct names *unknown, const char *what, const struct names *bad)
{
    struct str u = STR(""), b = STR("");
    if (unknown->n)
        u = arena_printf(a, "containers with unknown status: [" STR_FMT "]", STR_ARG(buf_str(&unknown->text)));
    if (bad->n)
        b = arena_printf(a, "containers with %s status: [" STR_FMT "]", what, STR_ARG(buf_str(&bad->text)));
    return arena_printf(a, STR_FMT "%s" STR_FMT, STR_ARG(u), u.n && b.n ? ", " : "", STR_ARG(b));
}

static void sort_unready(const struct val *specs, const struct val *statuses, bool sidecars_only, struct names *unknown,
                         struct names *bad)
{
    VAL_EACH (specs, c) {
        struct str name = val_getstr(c, N_name);
        const struct val *s = val_named(statuses, name);
        if (sidecars_only && !container_is_sidecar(c))
            continue;
        if (!s)
            name_add(unknown, name);
        else if (!val_bool(val_get(s, N_ready), false))
            name_add(bad, name);
    }
}

static struct condition containers_ready(struct arena *a, const struct val *pod, const struct val *status)
{
    struct condition c = {.type = "ContainersReady"};
    struct names unknown = {0}, bad = {0};
    struct str phase = val_getstr(status, N_phase);
    sort_unready(pod_containers(pod, CK_INIT), pod_statuses(status, CK_INIT), true, &unknown, &bad);
    sort_unready(pod_containers(pod, CK_MAIN), pod_statuses(status, CK_MAIN), false, &unknown, &bad);
    if (str_is(phase, "Succeeded") && !unknown.n) {
        c.reason = "PodCompleted";
    } else if (str_is(phase, "Failed")) {
        c.reason = "PodFailed";
    } else if (unknown.n || bad.n) {
        c.reason = "ContainersNotReady";
        c.message = unready_text(a, &unknown, "unready", &bad);
    } else {
        c.is_true = true;
    }
    buf_done(&unknown.text);
    buf_done(&bad.text);
    return c;
}

static struct condition pod_ready(struct arena *a, const struct val *pod, const struct val *others,
                                  const struct condition *containers)
{
    struct condition c = *containers;
    c.type = "Ready";
    if (!c.is_true)
        return c;
    VAL_EACH (val_at(pod, N_spec, N_readinessGates), gate) {
        struct str type = val_getstr(gate, N_conditionType);
        const struct val *have = condition_find(others, type);
        const char *sep = c.message.n ? ", " : "";
        if (!have)
            c.message = arena_printf(
                a, STR_FMT "%scorresponding condition of pod readiness gate \"" STR_FMT "\" does not exist.",
                STR_ARG(c.message), sep, STR_ARG(type));
        else if (!str_is(val_getstr(have, N_status), "True"))
            c.message = arena_printf(
                a, STR_FMT "%sthe status of pod readiness gate \"" STR_FMT "\" is not \"True\", but " STR_FMT,
                STR_ARG(c.message), sep, STR_ARG(type), STR_ARG(val_getstr(have, N_status)));
    }
    if (c.message.n) {
        c.is_true = false;
        c.reason = "ReadinessGatesNotReady";
    }
    return c;
}

static bool main_ever_started(const struct val *pod, const struct val *status)
{
    VAL_EACH (pod_containers(pod, CK_MAIN), c) {
        const struct val *s = val_named(pod_statuses(status, CK_MAIN), val_getstr(c, N_name));
        if (val_bool(val_get(s, N_started), false) || state_of(s, N_running) || last_terminated(s) ||
            val_getstr(state_of(s, N_terminated), N_startedAt).n)
            return true;
    }
    return false;
}

static struct condition initialized(struct arena *a, const struct val *pod, const struct val *status)
{
    struct condition c = {.type = "Initialized", .is_true = true};
    struct names unknown = {0}, bad = {0};
    VAL_EACH (pod_containers(pod, CK_INIT), spec) {
        struct str name = val_getstr(spec, N_name);
        const struct val *s = val_named(pod_statuses(status, CK_INIT), name);
        if (!s)
            name_add(&unknown, name);
        else if (!val_bool(val_get(s, container_is_sidecar(spec) ? N_started : N_ready), false))
            name_add(&bad, name);
    }
    if (str_is(val_getstr(status, N_phase), "Succeeded") && !unknown.n) {
        c.reason = "PodCompleted";
    } else if ((unknown.n || bad.n) && !main_ever_started(pod, status)) {
        c.is_true = false;
        c.reason = "ContainersNotInitialized";
        c.message = unready_text(a, &unknown, "incomplete", &bad);
    }
    buf_done(&unknown.text);
    buf_done(&bad.text);
    return c;
}

static void add_resize(struct arena *a, struct val *list, const char *type, const struct resize_condition *c)
{
    if (!c || !c->set)
        return;
    struct val *o = val_add_obj(a, list);
    val_set_str(a, o, N_type, str_of(type));
    if (c->generation)
        val_set_int(a, o, N_observedGeneration, c->generation);
    val_set_str(a, o, N_status, STR("True"));
    val_set_time(a, o, N_lastProbeTime, c->probed);
    val_set_time(a, o, N_lastTransitionTime, c->since);
    if (*c->reason)
        val_set_str(a, o, N_reason, str_of(c->reason));
    if (c->message && *c->message)
        val_set_str(a, o, N_message, str_of(c->message));
}

/* Until all that was there is gone. */
static struct condition all_restarting(const struct status_input *in, const struct val *status)
{
    struct condition c = {.type = "AllContainersRestarting"};
    struct str phase = val_getstr(status, N_phase);
    bool any = false;
    for (size_t i = 0; in->state && i < in->state->n_containers; i++) {
        enum container_kind kind;
        any = any || (pod_find_container(in->pod, in->state->containers[i].name, &kind) && kind != CK_EPHEMERAL);
    }
    if (pod_phase_is_terminal(phase)) {
        c.reason = str_is(phase, "Succeeded") ? "PodCompleted" : "PodFailed";
    } else if (in->restarting && any) {
        c.is_true = true;
        c.reason = "RestartAllContainersStarted";
        c.message = STR("container exited with restart policy rule");
    }
    return c;
}

static void set_conditions(struct arena *a, const struct status_input *in, const struct val *old, struct val *status)
{
    const struct val *theirs = val_get(pod_status(in->pod), N_conditions), *before = val_get(old, N_conditions);
    struct val *list = val_new(a, VAL_LIST);
    VAL_EACH (theirs, c)
        if (!is_own(val_getstr(c, N_type)) && !(in->disruption && str_is(val_getstr(c, N_type), "DisruptionTarget")))
            val_add(a, list, *c);
    if (!pod_phase_is_terminal(val_getstr(status, N_phase))) {
        add_resize(a, list, "PodResizePending", in->pending);
        add_resize(a, list, "PodResizeInProgress", in->progress);
    }
    if (in->disruption)
        val_add(a, list, *in->disruption);
    uint32_t attempt;
    const char *stale = sandbox_stale(in->pod, in->state, &attempt);
    struct condition sandbox = {
        .type = "PodReadyToStartContainers",
        .is_true = !stale,
        .reason = stale ? "PodSandboxNotReady" : NULL,
        .message = stale ? str_of(stale) : STR_NULL,
    };
    struct condition init = initialized(a, in->pod, status), containers = containers_ready(a, in->pod, status);
    struct condition ready = pod_ready(a, in->pod, list, &containers);
    struct condition scheduled = {.type = "PodScheduled", .is_true = true};
    const struct condition *all[] = {&sandbox, &init, &ready, &containers, &scheduled};
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        add_condition(a, list, all[i], before ? before : theirs, in->pod, in->now);
    if (pod_may_restart_all(in->pod)) {
        struct condition again = all_restarting(in, status);
        add_condition(a, list, &again, before ? before : theirs, in->pod, in->now);
    }
    val_set_ref(a, status, N_conditions, list);
}

/* ---- the whole ------------------------------------------------------------------------------------------- */

static struct val *ip_list(struct arena *a, const struct str *ips, size_t n)
{
    struct val *list = val_new(a, VAL_LIST);
    for (size_t i = 0; i < n; i++)
        val_set_str(a, val_add_obj(a, list), N_ip, ips[i]);
    return list;
}

static void set_ips(struct arena *a, const struct status_input *in, struct val *status)
{
    const struct str *ips = NULL;
    size_t n = podstate_ips(in->state, &ips);
    if (in->n_host_ips) {
        val_set_str(a, status, N_hostIP, in->host_ips[0]);
        val_set_ref(a, status, N_hostIPs, ip_list(a, in->host_ips, in->n_host_ips));
    }
    if (pod_host_network(in->pod)) {
        ips = in->host_ips;
        n = in->n_host_ips;
    }
    if (n == 0)
        return; /* a stopped sandbox has none: the last known stay */
    val_set_str(a, status, N_podIP, ips[0]);
    val_set_ref(a, status, N_podIPs, ip_list(a, ips, n));
}

/* Fields that others write and we carry along. */
static const name_id carried[] = {
    N_nominatedNodeName,       N_startTime, N_podIP, N_podIPs, N_hostIP, N_hostIPs, N_resize, N_resourceClaimStatuses,
    N_extendedResourceClaimStatus,
};

static void set_phase(struct arena *a, const struct status_input *in, const struct val *old, struct val *status)
{
    struct str api = val_getstr(pod_status(in->pod), N_phase), before = val_getstr(old, N_phase);
    struct str phase = str_of(podstatus_phase(in->pod, status, in->ended, pod_main_started(in->pod, in->state)));
    if (!pod_phase_is_terminal(phase) && pod_phase_is_terminal(before))
        phase = before;
    if (pod_phase_is_terminal(api)) /* there is no way back from a terminal phase */
        phase = api;
    bool failed = in->fail_reason && !pod_phase_is_terminal(api);
    if (failed)
        phase = STR("Failed");
    val_set_str(a, status, N_phase, phase);
    struct str reason = STR_NULL, message = STR_NULL;
    if (failed) {
        reason = str_of(in->fail_reason);
        message = in->fail_message;
    } else if (str_eq(phase, before)) {
        reason = val_getstr(old, N_reason);
        message = val_getstr(old, N_message);
    }
    if (reason.n)
        val_set_str(a, status, N_reason, reason);
    if (message.n)
        val_set_str(a, status, N_message, message);
}

/* Of the Pod as a whole (KEP-2837): granted, and in force once it is known to run. */
static void set_pod_resources(struct arena *a, const struct status_input *in, struct val *status)
{
    struct val *sum = resize_sum(a, in->pod, N_requests), *r;
    if (val_len(sum))
        val_set_ref(a, status, N_allocatedResources, sum);
    if (in->cgroup && str_is(val_getstr(pod_status(in->pod), N_phase), "Running")) {
        r = resize_pod_in_force(a, in->pod, in->cgroup);
    } else {
        const struct val *own = val_get(pod_spec(in->pod), N_resources);
        r = own ? val_copy(a, own) : val_new(a, VAL_OBJ);
        val_set_ref(a, r, N_requests, val_len(sum) ? sum : NULL);
        sum = resize_sum(a, in->pod, N_limits);
        val_set_ref(a, r, N_limits, val_len(sum) ? sum : NULL);
    }
    val_set_ref(a, status, N_resources, r);
}

struct val *pod_status_make(struct arena *a, const struct status_input *in)
{
    const struct val *api = pod_status(in->pod), *old = in->old ? in->old : api;
    struct val *status = val_new(a, VAL_OBJ);
    int64_t generation = val_int(val_get(obj_meta(in->pod), N_generation), 0);
    for (size_t i = 0; i < ARRAY_SIZE(carried); i++) {
        const struct val *v = val_get(old, carried[i]);
        if (v)
            val_set_ref(a, status, carried[i], v);
    }
    if (generation)
        val_set_int(a, status, N_observedGeneration, generation);
    for (int k = 0; k < CONTAINER_KINDS; k++)
        set_containers(a, in, (enum container_kind)k, old, status);
    if (!val_get(status, N_startTime))
        val_set_time(a, status, N_startTime, in->now);
    val_set_str(a, status, N_qosClass, str_of(qos_name(pod_qos(in->pod))));
    set_phase(a, in, old, status);
    set_pod_resources(a, in, status);
    set_ips(a, in, status);
    set_conditions(a, in, old, status);
    return status;
}

void pod_status_hold_phase(struct arena *a, struct val *status, const struct val *before)
{
    static const name_id fields[] = {N_phase, N_reason, N_message};
    if (!pod_phase_is_terminal(val_getstr(status, N_phase)) || pod_phase_is_terminal(val_getstr(before, N_phase)))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        val_set_ref(a, status, fields[i], val_get(before, fields[i]));
    if (!val_getstr(status, N_phase).n)
        val_set_str(a, status, N_phase, STR("Pending"));
}

/* ---- the end --------------------------------------------------------------------------------------------- */

static void finish_containers(struct arena *a, struct val *status, enum container_kind kind, size_t upto)
{
    const struct val *list = pod_statuses(status, kind);
    if (!val_len(list))
        return;
    struct val *copy = val_new(a, VAL_LIST);
    size_t i = 0;
    VAL_EACH (list, s) {
        struct val *mine = val_copy_shallow(a, s);
        if (i++ < upto && !state_of(s, N_terminated))
            set_lost(a, mine, N_state, "The container could not be located when the pod was terminated");
        if (!state_of(mine, N_terminated) || val_int(val_get(state_of(mine, N_terminated), N_exitCode), 0) != 0 ||
            kind == CK_MAIN)
            val_set_bool(a, mine, N_ready, false);
        if (kind != CK_EPHEMERAL)
            val_set_bool(a, mine, N_started, false);
        val_add(a, copy, *mine);
    }
    val_set_ref(a, status, pod_statuses_name(kind), copy);
}

/* Init containers up to the last that shows signs of having run. */
static size_t initialized_prefix(const struct val *statuses)
{
    size_t n = val_len(statuses);
    while (n > 0) {
        const struct val *s = val_item(statuses, n - 1);
        if (last_terminated(s) || !state_of(s, N_waiting))
            break;
        n--;
    }
    return n;
}

static void conditions_not_ready(struct arena *a, struct val *status, const char *reason, struct wall now)
{
    struct val *list = val_copy(a, val_get(status, N_conditions));
    static const char *const types[] = {"Ready", "ContainersReady"};
    for (size_t i = 0; list && i < ARRAY_SIZE(types); i++)
        condition_set(a, list, str_of(types[i]), "False", reason, STR(""), now);
    if (list)
        val_set_ref(a, status, N_conditions, list);
}

/* What comes after the init containers could begin. */
static bool last_init_is_done(const struct val *pod, const struct val *statuses)
{
    const struct val *specs = pod_containers(pod, CK_INIT);
    if (!val_len(specs))
        return true;
    const struct val *spec = val_item(specs, val_len(specs) - 1), *s = val_named(statuses, val_getstr(spec, N_name));
    if (container_is_sidecar(spec))
        return state_of(s, N_running) && val_bool(val_get(s, N_started), false);
    const struct val *ended = state_of(s, N_terminated), *before = last_terminated(s);
    return (ended && val_int(val_get(ended, N_exitCode), 0) == 0) || (before && val_int(val_get(before, N_exitCode), 0) == 0);
}

void pod_status_finish(struct arena *a, const struct val *pod, struct val *status, struct wall now)
{
    const struct val *init = pod_statuses(status, CK_INIT);
    size_t inits = initialized_prefix(init);
    bool initialized_all = last_init_is_done(pod, init);
    VAL_EACH (pod_statuses(status, CK_MAIN), s)
        initialized_all = initialized_all || !state_of(s, N_waiting) || last_terminated(s);
    finish_containers(a, status, CK_INIT, inits);
    finish_containers(a, status, CK_MAIN, initialized_all ? SIZE_MAX : 0);
    if (!pod_phase_is_terminal(val_getstr(status, N_phase)) && !pod_is_static(pod))
        val_set_str(a, status, N_phase, STR("Failed"));
    bool failed = str_is(val_getstr(status, N_phase), "Failed");
    conditions_not_ready(a, status, failed ? "PodFailed" : "PodCompleted", now);
}
