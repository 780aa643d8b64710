/* SPDX-License-Identifier: Apache-2.0 */
/* The cells of Pods, which tell more than the phase: why a Pod does not run, and how often it was started
 * again. */
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "type/print-internal.h"

struct pod_state {
    struct str reason;
    size_t ready, total;
    int64_t restarts;
    struct wall last_restart;
};

static bool is_sidecar(const struct val *container)
{
    return str_is(val_getstr(container, N_restartPolicy), "Always");
}

static void later(struct wall *t, const struct val *status)
{
    struct wall at = val_time(val_at(status, N_lastState, N_terminated, N_finishedAt));
    if (at.ns > t->ns)
        *t = at;
}

/* "Error", "Signal:9", "ExitCode:1", with a prefix. */
static struct str end_reason(struct arena *a, const char *prefix, const struct val *ended)
{
    struct str reason = val_getstr(ended, N_reason);
    long long signal = val_int(val_get(ended, N_signal), 0);
    if (reason.n)
        return arena_printf(a, "%s" STR_FMT, prefix, STR_ARG(reason));
    if (signal)
        return arena_printf(a, "%sSignal:%lld", prefix, signal);
    return arena_printf(a, "%sExitCode:%lld", prefix, (long long)val_int(val_get(ended, N_exitCode), 0));
}

/* ---- before the containers run ------------------------------------------------------------------------- */

struct init_state {
    int64_t restarts, sidecar_restarts;
    struct wall last, sidecar_last;
    bool busy; /* an init container has not come to its end */
};

static bool init_is_done(const struct val *status, bool sidecar, struct pod_state *s)
{
    const struct val *ended = val_at(status, N_state, N_terminated);
    if (ended && val_int(val_get(ended, N_exitCode), 0) == 0)
        return true;
    if (!sidecar || !val_bool(val_get(status, N_started), false))
        return false;
    s->ready += val_bool(val_get(status, N_ready), false);
    return true;
}

static struct str init_reason(struct arena *a, const struct val *status, size_t i, size_t n)
{
    const struct val *ended = val_at(status, N_state, N_terminated);
    struct str waiting = val_str(val_at(status, N_state, N_waiting, N_reason));
    if (ended)
        return end_reason(a, "Init:", ended);
    if (waiting.n && !str_is(waiting, "PodInitializing"))
        return arena_printf(a, "Init:" STR_FMT, STR_ARG(waiting));
    return arena_printf(a, "Init:%zu/%zu", i, n);
}

static void read_init(struct arena *a, const struct val *pod, struct pod_state *s, struct init_state *init)
{
    const struct val *containers = val_at(pod, N_spec, N_initContainers);
    size_t i = 0;
    VAL_EACH (val_at(pod, N_status, N_initContainerStatuses), status) {
        bool sidecar = is_sidecar(val_named(containers, val_getstr(status, N_name)));
        init->restarts += val_int(val_get(status, N_restartCount), 0);
        later(&init->last, status);
        if (sidecar) {
            init->sidecar_restarts += val_int(val_get(status, N_restartCount), 0);
            later(&init->sidecar_last, status);
        }
        if (!init_is_done(status, sidecar, s)) {
            s->reason = init_reason(a, status, i, val_len(containers));
            init->busy = true;
            return;
        }
        i++;
    }
}

/* ---- the containers ------------------------------------------------------------------------------------ */

static void read_containers(struct arena *a, const struct val *pod, struct pod_state *s)
{
    const struct val *list = val_at(pod, N_status, N_containerStatuses);
    struct str error = STR("");
    bool running = false;
    for (size_t i = val_len(list); i-- > 0;) {
        const struct val *status = val_item(list, i), *ended = val_at(status, N_state, N_terminated);
        struct str waiting = val_str(val_at(status, N_state, N_waiting, N_reason));
        s->restarts += val_int(val_get(status, N_restartCount), 0);
        later(&s->last_restart, status);
        if (waiting.n) {
            s->reason = waiting;
        } else if (ended) {
            s->reason = end_reason(a, "", ended);
            if (val_int(val_get(ended, N_exitCode), 0))
                error = s->reason;
        } else if (val_bool(val_get(status, N_ready), false) && val_at(status, N_state, N_running)) {
            running = true;
            s->ready++;
        }
    }
    if (!str_is(s->reason, "Completed"))
        return;
    if (running && condition_is(val_at(pod, N_status, N_conditions), STR("Ready"), "True"))
        s->reason = STR("Running");
    else if (error.n)
        s->reason = error;
    else if (running)
        s->reason = STR("NotReady");
}

static struct str first_reason(const struct val *pod)
{
    const struct val *status = val_get(pod, N_status);
    struct str reason = print_or(val_getstr(status, N_reason), val_cstr(val_get(status, N_phase)));
    const struct val *scheduled = condition_find(val_get(status, N_conditions), STR("PodScheduled"));
    return str_is(val_getstr(scheduled, N_reason), "SchedulingGated") ? STR("SchedulingGated") : reason;
}

static bool has_ended(const struct val *pod)
{
    struct str phase = val_str(val_at(pod, N_status, N_phase));
    return str_is(phase, "Succeeded") || str_is(phase, "Failed");
}

static struct pod_state pod_state(struct arena *a, const struct val *pod)
{
    struct pod_state s = {.reason = first_reason(pod), .total = val_len(val_at(pod, N_spec, N_containers))};
    struct init_state init = {0};
    VAL_EACH (val_at(pod, N_spec, N_initContainers), c)
        s.total += is_sidecar(c);
    read_init(a, pod, &s, &init);
    s.restarts = init.restarts;
    s.last_restart = init.last;
    if (!init.busy || condition_is(val_at(pod, N_status, N_conditions), STR("Initialized"), "True")) {
        s.restarts = init.sidecar_restarts;
        s.last_restart = init.sidecar_last;
        read_containers(a, pod, &s);
    }
    if (obj_deleting(pod) && str_is(val_str(val_at(pod, N_status, N_reason)), "NodeLost"))
        s.reason = STR("Unknown");
    else if (obj_deleting(pod) && !has_ended(pod))
        s.reason = STR("Terminating");
    return s;
}

/* ---- cells --------------------------------------------------------------------------------------------- */

static struct str cell_ready(const struct cell_in *in)
{
    struct pod_state s = pod_state(in->arena, in->v);
    return arena_printf(in->arena, "%zu/%zu", s.ready, s.total);
}

static struct str cell_status(const struct cell_in *in)
{
    return pod_state(in->arena, in->v).reason;
}

static struct str cell_restarts(const struct cell_in *in)
{
    struct pod_state s = pod_state(in->arena, in->v);
    char age[TIME_TEXT_MAX];
    if (!s.restarts || !s.last_restart.ns)
        return arena_printf(in->arena, "%lld", (long long)s.restarts);
    return arena_printf(in->arena, "%lld (%s ago)", (long long)s.restarts,
                        duration_human(in->now.ns - s.last_restart.ns, age));
}

static struct str cell_ip(const struct cell_in *in)
{
    return print_or(val_getstr(val_item(val_at(in->v, N_status, N_podIPs), 0), N_ip), "<none>");
}

static struct str cell_gates(const struct cell_in *in)
{
    const struct val *gates = val_at(in->v, N_spec, N_readinessGates);
    size_t n = 0;
    VAL_EACH (gates, gate)
        n += condition_is(val_at(in->v, N_status, N_conditions), val_getstr(gate, N_conditionType), "True");
    return val_len(gates) ? arena_printf(in->arena, "%zu/%zu", n, val_len(gates)) : STR("<none>");
}

const struct cell_rule cells_pod[] = {
    {RES_PODS, "Ready", cell_ready},           {RES_PODS, "Status", cell_status},
    {RES_PODS, "Restarts", cell_restarts},     {RES_PODS, "IP", cell_ip},
    {RES_PODS, "Readiness Gates", cell_gates}, {0},
};
