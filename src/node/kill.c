/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stopping containers: preStop, then the signal, then force; all of a Pod at once, except that sidecars outlive the
 * containers they serve and end in the reverse of their order (KEP-753).
 */
#include "node/kubelet-internal.h"

#define LEAST_GRACE 2 /* seconds between signal and force, whatever preStop left */

/* ---- who waits for whom ---------------------------------------------------------------------------------- */

struct sidecar_order {
    const struct val *pod;
    struct map running; /* names of containers that have not ended */
    struct waitq ended;
};

static ssize_t sidecar_index(const struct val *pod, struct str name)
{
    ssize_t i = 0;
    VAL_EACH (pod_containers(pod, CK_INIT), c) {
        if (container_is_sidecar(c) && str_eq(val_getstr(c, N_name), name))
            return i;
        i++;
    }
    return -1;
}

/* Is somebody running that must end before this one? */
static bool must_wait(const struct sidecar_order *o, ssize_t mine)
{
    MAP_EACH (&o->running, e)
        if (sidecar_index(o->pod, e->key) < 0 || sidecar_index(o->pod, e->key) > mine)
            return true;
    return false;
}

static void wait_turn(struct sidecar_order *o, struct str name, struct mono deadline)
{
    ssize_t mine = o->pod ? sidecar_index(o->pod, name) : -1;
    while (mine >= 0 && must_wait(o, mine))
        if (waitq_wait(&o->ended, deadline) < 0)
            return;
}

static void has_ended(struct sidecar_order *o, struct str name)
{
    map_del(&o->running, name);
    waitq_wake_all(&o->ended);
}

/* ---- one container --------------------------------------------------------------------------------------- */

static int64_t grace_of(const struct kill_request *r, const struct val *pod)
{
    name_id probe = r->reason == KILL_LIVENESS_PROBE ? N_livenessProbe : r->reason == KILL_STARTUP_PROBE ? N_startupProbe : 0;
    const struct val *own = probe ? val_at(r->spec, probe, N_terminationGracePeriodSeconds) : NULL;
    if (r->grace >= 0)
        return r->grace;
    if (own)
        return val_int(own, 30);
    if (pod)
        return pod_grace_seconds(pod);
    return r->container->grace >= 0 ? r->container->grace : 30;
}

struct hook_run {
    struct action_target target;
    const struct val *hook;
    struct arena arena;
    struct str output;
    int rc;
};

static void hook_fiber(void *arg)
{
    struct hook_run *h = arg;
    h->rc = action_run(&h->target, h->hook, 0, &h->arena, &h->output);
}

/* Runs preStop for at most grace seconds. Its failure does not keep anything from being stopped. */
static void run_pre_stop(const struct kill_request *r, const struct val *pod, int64_t grace)
{
    const struct val *hook = val_at(r->spec, N_lifecycle, N_preStop);
    const struct str *ips = NULL;
    if (!hook || !pod || grace <= 0)
        return;
    size_t n = podstate_ips(r->w->state, &ips);
    struct hook_run h = {.target = {r->w->k, pod, r->spec, r->container->id, STR(""), true}, .hook = hook};
    if (n)
        h.target.ip = arena_str(&h.arena, ips[0]);
    struct group g = {0};
    group_spawn(&g, "pre-stop", hook_fiber, &h);
    int late = group_wait(&g, mono_add(os_mono(), SECONDS(grace)));
    group_stop(&g);
    if (late == 0 && h.rc != 0)
        container_event(r->w->k, pod, r->container->name, true, "FailedPreStopHook", "PreStopHook failed");
    arena_done(&h.arena);
}

int kill_container(const struct kill_request *r, struct err *e)
{
    struct object *held CLEANUP_OBJECT = r->w->pod ? object_ref(r->w->pod) : NULL;
    const struct val *pod = held ? held->val : NULL;
    int64_t grace = MIN(grace_of(r, pod), (int64_t)UINT32_MAX); /* the API server's limit; what it says is any int64 */
    struct mono end = mono_add(os_mono(), SECONDS(grace));
    if (r->container->state == RT_RUNNING) {
        container_event(r->w->k, pod, r->container->name, false, "Killing", "%s" STR_FMT,
                        r->message.n ? "" : "Stopping container ", STR_ARG(r->message.n ? r->message : r->container->name));
        run_pre_stop(r, pod, grace);
    }
    if (r->order && grace > 0)
        wait_turn(r->order, r->container->name, end);
    if (fiber_cancelled())
        return -ECANCELED;
    int64_t left = (end.ns - os_mono().ns + NSEC_PER_SEC - 1) / NSEC_PER_SEC;
    int rc = runtime_stop_container(r->w->k->rt, r->container->id, MAX(left, (int64_t)LEAST_GRACE), e);
    if (r->order)
        has_ended(r->order, r->container->name);
    return rc;
}

/* ---- all of a Pod ---------------------------------------------------------------------------------------- */

struct kill_one {
    struct kill_request request;
    struct err e;
    int rc;
};

static void kill_fiber(void *arg)
{
    struct kill_one *one = arg;
    one->rc = kill_container(&one->request, &one->e);
}

static int kill_containers(struct worker *w, const struct val *pod, const struct podstate *s, int64_t grace,
                           struct err *e)
{
    struct arena a = ARENA_INIT;
    struct sidecar_order order = {.pod = pod};
    struct kill_one *all = ARENA_ARRAY(&a, struct kill_one, s->n_containers);
    struct group g = {0};
    size_t n = 0;
    static char present;
    for (size_t i = 0; i < s->n_containers; i++)
        if (s->containers[i].state == RT_RUNNING || s->containers[i].state == RT_UNKNOWN) {
            map_put(&order.running, s->containers[i].name, &present);
            all[n++].request = (struct kill_request){
                .w = w,
                .spec = pod ? pod_find_container(pod, s->containers[i].name, NULL) : NULL,
                .container = &s->containers[i],
                .grace = grace,
                .order = &order,
            };
        }
    for (size_t i = 0; i < n; i++)
        group_spawn(&g, "container-kill", kill_fiber, &all[i]);
    int rc = group_wait(&g, MONO_NEVER);
    group_stop(&g);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (all[i].rc != 0) {
            rc = all[i].rc;
            if (e)
                *e = all[i].e;
        }
    map_done(&order.running);
    arena_done(&a);
    return rc;
}

static int stop_all(struct worker *w, const struct val *pod, const struct podstate *s, int64_t grace, struct err *e)
{
    int rc = podstate_any_running(s) ? kill_containers(w, pod, s, grace, e) : 0;
    for (size_t i = 0; rc == 0 && s && i < s->n_sandboxes; i++)
        if (s->sandboxes[i].ready)
            rc = runtime_stop_sandbox(w->k->rt, s->sandboxes[i].id, e);
    return rc;
}

int kill_pod(struct worker *w, int64_t grace, struct err *e)
{
    struct object *pod CLEANUP_OBJECT = w->pod ? object_ref(w->pod) : NULL;
    int rc = pleg_refresh(w->k, str_of(w->uid), e);
    if (rc != 0)
        return rc;
    struct podstate *s CLEANUP_PODSTATE = podstate_ref(w->state);
    if (!s)
        return 0;
    rc = stop_all(w, pod ? pod->val : NULL, s, grace, e);
    if (rc != 0)
        return rc;
    rc = pleg_refresh(w->k, str_of(w->uid), e);
    if (rc == 0 && (podstate_any_running(w->state) || podstate_any_ready_sandbox(w->state)))
        rc = err_set(e, -EAGAIN, "something of it still runs");
    return rc;
}
