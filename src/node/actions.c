/* SPDX-License-Identifier: Apache-2.0 */
#include "node/actions.h"

#include "base/list.h"

const char *sandbox_stale(const struct val *pod, const struct podstate *s, uint32_t *ret_attempt)
{
    if (!s || s->n_sandboxes == 0) {
        *ret_attempt = 0;
        return "No sandbox for pod can be found";
    }
    size_t ready = 0;
    for (size_t i = 0; i < s->n_sandboxes; i++)
        ready += s->sandboxes[i].ready;
    const struct rt_sandbox *newest = &s->sandboxes[0];
    const char *why = NULL;
    if (ready > 1)
        why = "Multiple sandboxes are ready for pod";
    else if (!newest->ready)
        why = "Pod sandbox is not ready";
    else if (newest->host_network != pod_host_network(pod))
        why = "Pod sandbox network namespace mode changed";
    else if (!newest->host_network && newest->n_ips == 0)
        why = "Pod sandbox has no IP address";
    *ret_attempt = why ? newest->attempt + 1 : newest->attempt;
    return why;
}

bool pod_main_started(const struct val *pod, const struct podstate *s)
{
    VAL_EACH (pod_containers(pod, CK_MAIN), c) {
        const struct rt_container *rt = podstate_find_active(s, val_getstr(c, N_name));
        if (rt && rt->state != RT_CREATED && rt->started.ns > 0)
            return true;
    }
    return false;
}

bool pod_main_created(const struct val *pod, const struct podstate *s)
{
    VAL_EACH (pod_containers(pod, CK_MAIN), c)
        if (podstate_find(s, val_getstr(c, N_name)))
            return true;
    return false;
}

bool container_to_start(const struct val *pod, const struct val *container, const struct podstate *s)
{
    if (obj_deleting(pod))
        return false;
    const struct rt_container *rt = podstate_find(s, val_getstr(container, N_name));
    if (!rt)
        return true;
    switch (rt->state) {
    case RT_RUNNING:
        return false;
    case RT_CREATED:
    case RT_UNKNOWN:
        return true;
    case RT_EXITED:
        break;
    }
    return container_restarts(pod, container, rt->exit_code);
}

/* ---- the decision, one container at a time --------------------------------------------------------------- */

struct deciding {
    struct arena *arena;
    const struct actions_input *in;
    struct actions *out;
};

static void add_start(struct deciding *d, enum container_kind kind, const struct val *spec)
{
    d->out->starts[d->out->n_starts++] = (struct start_action){kind, spec};
}

static void add_kill(struct deciding *d, const struct rt_container *c, const struct val *spec,
                     enum kill_reason reason, struct str message)
{
    d->out->kills[d->out->n_kills++] = (struct kill_action){c, spec, reason, message};
}

static enum probe_result verdict(const struct deciding *d, enum probe_kind k, const struct rt_container *c)
{
    return d->in->probe ? d->in->probe(d->in->ctx, k, c->id) : PROBE_UNKNOWN;
}

static bool definition_changed(struct deciding *d, const struct val *spec, const struct rt_container *c)
{
    return c->hash.n && !str_eq(c->hash, container_hash(d->arena, spec));
}

static bool always_restarts_pod(const struct val *pod)
{
    return !str_is(val_getstr(pod_spec(pod), N_restartPolicy), "Never");
}

static bool succeeded(const struct deciding *d, const struct val *spec)
{
    const struct rt_container *c = podstate_find(d->in->state, val_getstr(spec, N_name));
    return c && c->state == RT_EXITED && c->exit_code == 0;
}

static bool runs_once(const struct val *pod, const struct val *spec)
{
    struct str own = val_getstr(spec, N_restartPolicy);
    return str_is(own.n ? own : val_getstr(pod_spec(pod), N_restartPolicy), "OnFailure");
}

/* A sandbox is missing: everything starts over, unless there is nothing left to do. */
static void decide_without_sandbox(struct deciding *d)
{
    const struct val *pod = d->in->pod, *init = pod_containers(pod, CK_INIT);
    struct actions *out = d->out;
    bool seen = d->in->state && d->in->state->n_containers > 0;
    out->kill_pod = true;
    out->create_sandbox = true;
    if (!always_restarts_pod(pod) && out->attempt != 0 && seen) {
        out->create_sandbox = false;
        return;
    }
    size_t wanted = 0;
    VAL_EACH (pod_containers(pod, CK_MAIN), c)
        wanted += !(runs_once(pod, c) && succeeded(d, c));
    if (wanted == 0 && pod_main_created(pod, d->in->state)) {
        out->create_sandbox = false;
        return;
    }
    if (val_len(init)) {
        add_start(d, CK_INIT, val_item(init, 0));
        return;
    }
    VAL_EACH (pod_containers(pod, CK_MAIN), c)
        if (!(runs_once(pod, c) && succeeded(d, c)))
            add_start(d, CK_MAIN, c);
}

/* ---- resizing -------------------------------------------------------------------------------------------- */

static const struct val *in_force(const struct actions_input *in, struct str name, bool *ret_known)
{
    *ret_known = false;
    return in->in_force ? in->in_force(in->ctx, name, ret_known) : NULL;
}

static bool amounts_of(const struct actions_input *in, const struct val *spec, struct resize_amounts *ret_have,
                       struct resize_amounts *ret_want)
{
    bool known;
    const struct val *own = in_force(in, val_getstr(spec, N_name), &known);
    *ret_want = resize_amounts_of(val_get(pod_spec(in->pod), N_resources), val_get(spec, N_resources));
    *ret_have = resize_amounts_of(NULL, own);
    return known && !resize_same(ret_have, ret_want);
}

static bool cpu_moved(const struct resize_amounts *a, const struct resize_amounts *b)
{
    return a->cpu_limit != b->cpu_limit || a->cpu_request != b->cpu_request;
}

static bool memory_moved(const struct resize_amounts *a, const struct resize_amounts *b)
{
    return a->memory_limit != b->memory_limit || a->memory_request != b->memory_request;
}

/* A container that is to be kept: false when its new resources need a restart. */
static bool decide_resize(struct deciding *d, const struct val *spec, const struct rt_container *c)
{
    struct update_action u = {c, spec};
    if (!amounts_of(d->in, spec, &u.have, &u.want))
        return true;
    d->out->resize = true;
    if ((cpu_moved(&u.have, &u.want) && resize_restarts(spec, "cpu")) ||
        (memory_moved(&u.have, &u.want) && resize_restarts(spec, "memory"))) {
        add_kill(d, c, spec, KILL_OTHER,
                 arena_printf(d->arena, "Container " STR_FMT " resize requires restart", STR_ARG(val_getstr(spec, N_name))));
        return false;
    }
    d->out->updates[d->out->n_updates++] = u;
    return true;
}

static bool container_resizing(const struct actions_input *in, enum container_kind kind, const struct val *spec)
{
    struct resize_amounts have, want;
    const struct rt_container *c = podstate_find(in->state, val_getstr(spec, N_name));
    if (kind == CK_INIT && !container_is_sidecar(spec))
        return false;
    return c && c->state == RT_RUNNING && amounts_of(in, spec, &have, &want);
}

bool resize_in_progress(const struct actions_input *in)
{
    bool known;
    for (enum container_kind k = CK_INIT; k <= CK_MAIN; k++)
        VAL_EACH (pod_containers(in->pod, k), c)
            if (container_resizing(in, k, c))
                return true;
    const struct val *whole = in_force(in, STR(""), &known), *wanted = val_get(pod_spec(in->pod), N_resources);
    struct resize_amounts have = resize_amounts_of(NULL, whole), want = resize_amounts_of(NULL, wanted);
    return known && wanted && podstate_any_running(in->state) && !resize_same(&have, &want);
}

/* What initialization looks like from the last init container backwards: only the last that ran need still be known
 * to the runtime, earlier ones may have been collected. */
struct init_walk {
    bool over;        /* all init containers have done their part */
    bool later_ran;   /* a later one (or a main container) is known to have run */
    bool failed;      /* for good */
    bool *start;      /* by index */
};

static void sidecar_running(struct deciding *d, struct init_walk *w, size_t i, size_t n, const struct val *spec,
                            const struct rt_container *c)
{
    struct str name = val_getstr(spec, N_name);
    if (val_get(spec, N_startupProbe)) {
        enum probe_result r = verdict(d, PROBE_STARTUP, c);
        if (r == PROBE_FAILURE) {
            add_kill(d, c, spec, KILL_STARTUP_PROBE,
                     arena_printf(d->arena, "Init container " STR_FMT " failed startup probe", STR_ARG(name)));
            w->start[i] = true;
        }
        if (r != PROBE_SUCCESS)
            return;
    }
    if (i + 1 == n)
        w->over = true;
    else if (!w->later_ran)
        w->start[i + 1] = true;
    if (definition_changed(d, spec, c)) {
        add_kill(d, c, spec, KILL_OTHER,
                 arena_printf(d->arena, "Init container " STR_FMT " definition changed", STR_ARG(name)));
        w->start[i] = true;
    } else if (val_get(spec, N_livenessProbe) && verdict(d, PROBE_LIVENESS, c) == PROBE_FAILURE) {
        add_kill(d, c, spec, KILL_LIVENESS_PROBE,
                 arena_printf(d->arena, "Init container " STR_FMT " failed liveness probe", STR_ARG(name)));
        w->start[i] = true;
    } else if (!decide_resize(d, spec, c)) {
        w->start[i] = true;
    }
}

static void init_exited(struct deciding *d, struct init_walk *w, size_t i, size_t n, const struct val *spec,
                        const struct rt_container *c)
{
    if (container_is_sidecar(spec)) {
        w->start[i] = true;
    } else if (c->exit_code != 0) {
        if (container_restarts(d->in->pod, spec, c->exit_code))
            w->start[i] = true;
        else
            w->failed = true;
    } else if (i + 1 == n) {
        w->over = true;
    } else {
        w->start[i + 1] = true;
    }
}

static void init_unknown(struct deciding *d, struct init_walk *w, size_t i, const struct val *spec,
                         const struct rt_container *c)
{
    if (!container_is_sidecar(spec) && !container_restarts_when_killed(d->in->pod, spec)) {
        w->failed = true;
        return;
    }
    add_kill(d, c, spec, KILL_UNKNOWN_STATE, STR("Init container is in \"unknown\" state, try killing it before restart"));
    w->start[i] = true;
}

static void init_step(struct deciding *d, struct init_walk *w, size_t i, size_t n, const struct val *spec)
{
    const struct rt_container *c = podstate_find_active(d->in->state, val_getstr(spec, N_name));
    bool sidecar = container_is_sidecar(spec);
    if (!c) {
        if (w->later_ran && sidecar)
            w->start[i] = true;
        return;
    }
    if (!(w->later_ran && !sidecar)) {
        switch (c->state) {
        case RT_CREATED: /* made but never started: what made it was interrupted */
            w->start[i] = true;
            break;
        case RT_RUNNING:
            if (sidecar)
                sidecar_running(d, w, i, n, spec, c);
            else
                decide_resize(d, spec, c); /* the API refuses those that would have to be restarted */
            break;
        case RT_EXITED:
            init_exited(d, w, i, n, spec, c);
            break;
        case RT_UNKNOWN:
            init_unknown(d, w, i, spec, c);
            break;
        }
    }
    w->later_ran = true;
}

/* True when initialization is over and the main containers' turn has come. */
static bool decide_init(struct deciding *d)
{
    const struct val *init = pod_containers(d->in->pod, CK_INIT);
    size_t n = val_len(init);
    if (n == 0)
        return true;
    bool started = pod_main_started(d->in->pod, d->in->state);
    struct init_walk w = {.over = started, .later_ran = started, .start = ARENA_ARRAY(d->arena, bool, n)};
    for (size_t i = n; i-- > 0 && !w.failed;)
        init_step(d, &w, i, n, val_item(init, i));
    if (w.failed) {
        d->out->kill_pod = true;
        return false;
    }
    if (!w.later_ran)
        w.start[0] = true;
    for (size_t i = 0; i < n; i++)
        if (w.start[i])
            add_start(d, CK_INIT, val_item(init, i));
    return w.over;
}

/* A container that runs: NULL to keep it, else why it must go. */
static const char *why_kill(struct deciding *d, const struct val *spec, const struct rt_container *c,
                            enum kill_reason *ret_reason)
{
    *ret_reason = KILL_OTHER;
    if (definition_changed(d, spec, c))
        return "definition changed";
    if (verdict(d, PROBE_LIVENESS, c) == PROBE_FAILURE) {
        *ret_reason = KILL_LIVENESS_PROBE;
        return "failed liveness probe";
    }
    if (verdict(d, PROBE_STARTUP, c) == PROBE_FAILURE) {
        *ret_reason = KILL_STARTUP_PROBE;
        return "failed startup probe";
    }
    return NULL;
}

/* Returns whether the container is kept running. */
static bool decide_main(struct deciding *d, const struct val *spec)
{
    const struct rt_container *c = podstate_find(d->in->state, val_getstr(spec, N_name));
    if (!c || c->state != RT_RUNNING) {
        if (!container_to_start(d->in->pod, spec, d->in->state))
            return false;
        if (c && c->state == RT_UNKNOWN)
            add_kill(d, c, spec, KILL_UNKNOWN_STATE,
                     STR("Container is in \"unknown\" state, try killing it before restart"));
        add_start(d, CK_MAIN, spec);
        return false;
    }
    enum kill_reason reason;
    const char *why = why_kill(d, spec, c, &reason);
    if (!why) {
        if (decide_resize(d, spec, c))
            return true;
        add_start(d, CK_MAIN, spec);
        return false;
    }
    bool again = !strcmp(why, "definition changed") || container_restarts_when_killed(d->in->pod, spec);
    add_kill(d, c, spec, reason,
             arena_printf(d->arena, "Container " STR_FMT " %s%s", STR_ARG(val_getstr(spec, N_name)), why,
                          again ? ", will be restarted" : ""));
    if (again)
        add_start(d, CK_MAIN, spec);
    return false;
}

static void decide_with_sandbox(struct deciding *d)
{
    const struct val *pod = d->in->pod;
    VAL_EACH (pod_containers(pod, CK_EPHEMERAL), c)
        if (!podstate_find(d->in->state, val_getstr(c, N_name)))
            add_start(d, CK_EPHEMERAL, c);
    if (!decide_init(d))
        return;
    size_t kept = 0, before = d->out->n_starts;
    VAL_EACH (pod_containers(pod, CK_MAIN), c)
        kept += decide_main(d, c);
    if (kept == 0 && d->out->n_starts == before) {
        /* Nothing runs and nothing will: sidecars must not keep the Pod alive. */
        d->out->kill_pod = true;
        d->out->n_starts = 0;
        d->out->resize = false;
    }
}

/* ---- all over again ------------------------------------------------------------------------------------- */

static bool is_source(const struct val *pod, const struct rt_container *c)
{
    enum container_kind kind;
    const struct val *spec = pod_find_container(pod, c->name, &kind);
    return spec && kind != CK_EPHEMERAL && c->state == RT_EXITED && container_restarts_all(spec, c->exit_code);
}

bool pod_restarts_all(const struct val *pod, const struct podstate *s)
{
    for (enum container_kind k = CK_INIT; k <= CK_MAIN; k++)
        VAL_EACH (pod_containers(pod, k), spec) {
            const struct rt_container *c = podstate_find(s, val_getstr(spec, N_name));
            if (c && is_source(pod, c))
                return true;
        }
    return false;
}

static void add_resets(struct deciding *d, enum container_kind kind, bool sources)
{
    const struct podstate *s = d->in->state;
    VAL_EACH (pod_containers(d->in->pod, kind), spec)
        for (size_t i = 0; i < s->n_containers; i++)
            if (str_eq(s->containers[i].name, val_getstr(spec, N_name)) && is_source(d->in->pod, &s->containers[i]) == sources)
                d->out->resets[d->out->n_resets++] = &s->containers[i];
}

/* Main containers before init containers; what asked for it goes last, so that it is not forgotten half way. */
static bool decide_reset(struct deciding *d)
{
    const struct podstate *s = d->in->state;
    if (!s || obj_deleting(d->in->pod) || !pod_may_restart_all(d->in->pod) || !(d->in->restarting || pod_restarts_all(d->in->pod, s)))
        return false;
    d->out->resets = ARENA_ARRAY(d->arena, const struct rt_container *, s->n_containers + 1);
    add_resets(d, CK_MAIN, false);
    add_resets(d, CK_INIT, false);
    add_resets(d, CK_MAIN, true);
    add_resets(d, CK_INIT, true);
    return d->out->n_resets > 0;
}

void actions_compute(struct arena *a, const struct actions_input *in, struct actions *ret)
{
    size_t most = val_len(pod_containers(in->pod, CK_INIT)) + val_len(pod_containers(in->pod, CK_MAIN)) +
                  val_len(pod_containers(in->pod, CK_EPHEMERAL));
    *ret = (struct actions){
        .kills = ARENA_ARRAY(a, struct kill_action, most),
        .starts = ARENA_ARRAY(a, struct start_action, most),
        .updates = ARENA_ARRAY(a, struct update_action, most),
        .resize = in->cgroup_differs,
    };
    struct deciding d = {a, in, ret};
    const char *stale = sandbox_stale(in->pod, in->state, &ret->attempt);
    if (in->state && in->state->n_sandboxes)
        ret->sandbox_id = in->state->sandboxes[0].id;
    if (!stale && decide_reset(&d)) {
        ret->resize = false;
        return;
    }
    if (stale)
        decide_without_sandbox(&d);
    else
        decide_with_sandbox(&d);
    if (!ret->kill_pod && !ret->resize && !stale) {
        bool known;
        struct resize_amounts have = resize_amounts_of(NULL, in_force(in, STR(""), &known));
        struct resize_amounts want = resize_amounts_of(NULL, val_get(pod_spec(in->pod), N_resources));
        ret->resize = known && !resize_same(&have, &want);
    }
}
