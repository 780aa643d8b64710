/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Probing: one fiber a probe of a running container. Startup comes first and alone; then liveness and readiness.
 *
 * A container that has just started is asked about readiness (and having started) more often than its period says,
 * with growing pauses up to the period: nobody should wait ten seconds for a server that took a tenth of one. Only
 * tries in the rhythm of the period count as failures and are told as events.
 */
#include "node/metrics.h"

struct probe_entry {
    struct worker *w;
    char *id, *name;
    struct wall started;
    bool survivor; /* ran before this kubelet did */
    enum probe_result results[PROBE_KINDS];
    struct group fibers[PROBE_KINDS];
    bool probing;
};

struct probe_run {
    struct probe_entry *entry;
    enum probe_kind kind;
    struct arena arena;
    const struct val *pod, *container, *probe; /* copies: the Pod may change while we wait */
    struct str ip;
    int64_t period;
    int64_t failure_threshold, success_threshold;
    /* so far */
    enum probe_result last;
    int64_t run; /* how often in a row */
};

static const name_id probe_names[PROBE_KINDS] = {
    [PROBE_STARTUP] = N_startupProbe,
    [PROBE_LIVENESS] = N_livenessProbe,
    [PROBE_READINESS] = N_readinessProbe,
};
static const char *const probe_words[PROBE_KINDS] = {"Startup", "Liveness", "Readiness"};

enum probe_result worker_probe_result(void *worker, enum probe_kind kind, struct str container_id)
{
    const struct worker *w = worker;
    const struct probe_entry *e = map_get(&w->probes, container_id);
    return e ? e->results[kind] : PROBE_UNKNOWN;
}

static void set_result(struct probe_entry *e, enum probe_kind kind, enum probe_result r)
{
    if (e->results[kind] == r)
        return;
    e->results[kind] = r;
    worker_wake(e->w);
}

/* ---- one probe --------------------------------------------------------------------------------------------- */

static void tell_failure(struct probe_run *p, int rc, struct str output)
{
    struct kubelet *k = p->entry->w->k;
    struct str name = str_of(p->entry->name);
    if (rc < 0)
        container_event(k, p->pod, name, true, "Unhealthy", "%s probe errored and resulted in unknown state: " STR_FMT,
                        probe_words[p->kind], STR_ARG(output));
    else
        container_event(k, p->pod, name, true, "Unhealthy", "%s probe failed: " STR_FMT, probe_words[p->kind],
                        STR_ARG(output));
}

/* The verdict of one try: success, failure, or unknown when it could not be tried. */
static enum probe_result try_once(struct probe_run *p, bool counts)
{
    struct arena a = ARENA_INIT;
    struct str output = STR("");
    struct action_target t = {p->entry->w->k, p->pod, p->container, str_of(p->entry->id), p->ip, false};
    int64_t timeout = MAX(val_int(val_get(p->probe, N_timeoutSeconds), 1), (int64_t)1);
    int rc = action_run(&t, p->probe, timeout, &a, &output);
    if (rc != 0 && rc != -ECANCELED && counts)
        tell_failure(p, rc, output);
    arena_done(&a);
    enum probe_result r = rc == 0 ? PROBE_SUCCESS : rc < 0 ? PROBE_UNKNOWN : PROBE_FAILURE;
    if (rc != -ECANCELED)
        metrics_probe(p->entry->w, p->kind, p->entry->name, r);
    return r;
}

/* Takes a verdict into account. True when the result stands now (threshold reached). */
static bool take(struct probe_run *p, enum probe_result r)
{
    if (r == PROBE_UNKNOWN)
        return false;
    p->run = r == p->last ? p->run + 1 : 1;
    p->last = r;
    if (p->run < (r == PROBE_SUCCESS ? p->success_threshold : p->failure_threshold))
        return false;
    set_result(p->entry, p->kind, r);
    return true;
}

/* Between two tries of the rhythm: asks in growing pauses, for success only. True when it came. */
static bool ask_eagerly(struct probe_run *p, struct mono until)
{
    for (int64_t pause = MILLISECONDS(100); mono_add(os_mono(), 2 * pause).ns < until.ns; pause *= 2) {
        if (fiber_sleep(pause) < 0)
            return false;
        if (try_once(p, false) == PROBE_SUCCESS)
            return take(p, PROBE_SUCCESS);
    }
    return false;
}

static void probe_loop(struct probe_run *p)
{
    bool eager = p->kind != PROBE_LIVENESS && p->success_threshold <= 1 && !p->entry->survivor;
    struct mono tick = os_mono();
    while (!fiber_cancelled()) {
        bool stands = take(p, try_once(p, true));
        tick = mono_add(tick, p->period);
        if (tick.ns < os_mono().ns)
            tick = os_mono();
        if (!stands && eager && p->entry->results[p->kind] != PROBE_SUCCESS)
            stands = ask_eagerly(p, tick);
        /* Having started is asked once; a container that is to be killed is left in peace. */
        if (stands && (p->kind == PROBE_STARTUP || (p->kind == PROBE_LIVENESS && p->last == PROBE_FAILURE)))
            return;
        if (p->last == PROBE_SUCCESS)
            eager = false;
        if (fiber_sleep_until(tick) < 0)
            return;
    }
}

static void probe_fiber(void *arg)
{
    struct probe_run *p = arg;
    int64_t delay = SECONDS(val_int(val_get(p->probe, N_initialDelaySeconds), 0));
    int64_t wait = p->entry->started.ns + delay - os_wall().ns;
    wait = MIN(wait, delay);
    if (p->entry->survivor) /* not all at once after a restart of ours */
        wait = MAX(wait, (int64_t)os_random_below((uint64_t)p->period));
    if (wait <= 0 || fiber_sleep(wait) == 0)
        probe_loop(p);
    arena_done(&p->arena);
    free(p);
}

static void start_probe(struct probe_entry *e, const struct val *pod, const struct val *container, enum probe_kind kind)
{
    if (!val_get(container, probe_names[kind]))
        return;
    struct probe_run *p = NEW(struct probe_run);
    const struct str *ips = NULL;
    p->entry = e;
    p->kind = kind;
    p->pod = val_copy(&p->arena, pod);
    p->container = pod_find_container(p->pod, val_getstr(container, N_name), NULL);
    p->probe = val_get(p->container, probe_names[kind]);
    if (pod_host_network(pod))
        p->ip = e->w->k->n_ips ? arena_str(&p->arena, e->w->k->ips[0]) : STR("");
    else
        p->ip = podstate_ips(e->w->state, &ips) ? arena_str(&p->arena, ips[0]) : STR("");
    p->period = SECONDS(MAX(val_int(val_get(p->probe, N_periodSeconds), 10), (int64_t)1));
    p->failure_threshold = MAX(val_int(val_get(p->probe, N_failureThreshold), 3), (int64_t)1);
    p->success_threshold = MAX(val_int(val_get(p->probe, N_successThreshold), 1), (int64_t)1);
    group_spawn(&e->fibers[kind], "probe", probe_fiber, p);
}

/* ---- all probes of a Pod ------------------------------------------------------------------------------------ */

static void entry_free(void *v)
{
    struct probe_entry *e = v;
    for (int i = 0; i < PROBE_KINDS; i++)
        group_cancel(&e->fibers[i]);
    for (int i = 0; i < PROBE_KINDS; i++)
        group_stop(&e->fibers[i]);
    free(e->id);
    free(e->name);
    free(e);
}

/* A container that ran before we did is as ready as the API says until a probe says otherwise. */
static void seed(struct probe_entry *e, const struct val *pod, enum container_kind kind, const struct rt_container *c)
{
    const struct val *s = val_named(pod_statuses(pod_status(pod), kind), c->name);
    if (!str_ends(val_getstr(s, N_containerID), c->id))
        return;
    e->survivor = c->started.ns < e->w->k->started_wall.ns;
    if (!e->survivor)
        return;
    if (val_bool(val_get(s, N_started), false))
        e->results[PROBE_STARTUP] = PROBE_SUCCESS;
    if (val_bool(val_get(s, N_ready), false))
        e->results[PROBE_READINESS] = PROBE_SUCCESS;
}

static bool has_probes(const struct val *container)
{
    for (int i = 0; i < PROBE_KINDS; i++)
        if (val_get(container, probe_names[i]))
            return true;
    return false;
}

static struct probe_entry *entry_of(struct worker *w, const struct val *pod, enum container_kind kind,
                                    const struct rt_container *c)
{
    struct probe_entry *e = map_get(&w->probes, c->id);
    if (e)
        return e;
    e = NEW(struct probe_entry);
    *e = (struct probe_entry){.w = w, .id = str_dup(c->id), .name = str_dup(c->name), .started = c->started};
    seed(e, pod, kind, c);
    map_put(&w->probes, c->id, e);
    return e;
}

static void update_container(struct worker *w, const struct val *pod, enum container_kind kind,
                             const struct val *container)
{
    const struct rt_container *c = podstate_find(w->state, val_getstr(container, N_name));
    if (!c || c->state != RT_RUNNING || !has_probes(container))
        return;
    struct probe_entry *e = entry_of(w, pod, kind, c);
    bool started = !val_get(container, N_startupProbe) || e->results[PROBE_STARTUP] == PROBE_SUCCESS;
    if (!started && !e->fibers[PROBE_STARTUP].n && e->results[PROBE_STARTUP] == PROBE_UNKNOWN) {
        start_probe(e, pod, container, PROBE_STARTUP);
    } else if (started && !e->probing) {
        e->probing = true;
        start_probe(e, pod, container, PROBE_LIVENESS);
        start_probe(e, pod, container, PROBE_READINESS);
    }
}

/* One that is probed but no longer runs; NULL when there is none. */
static struct probe_entry *any_stale(struct worker *w)
{
    MAP_EACH (&w->probes, m) {
        const struct rt_container *c = podstate_find_id(w->state, m->key);
        if (!c || c->state != RT_RUNNING)
            return m->value;
    }
    return NULL;
}

void probes_update(struct worker *w)
{
    struct probe_entry *stale;
    while ((stale = any_stale(w))) {
        map_del(&w->probes, str_of(stale->id));
        entry_free(stale);
    }
    struct object *pod CLEANUP_OBJECT = w->pod ? object_ref(w->pod) : NULL;
    if (!pod || w->stage != WORKER_SYNCING)
        return;
    for (enum container_kind kind = CK_INIT; kind <= CK_MAIN; kind++)
        VAL_EACH (pod_containers(pod->val, kind), c)
            if (kind == CK_MAIN || container_is_sidecar(c))
                update_container(w, pod->val, kind, c);
}

void probes_stop(struct worker *w, bool readiness_too)
{
    int kinds = readiness_too ? PROBE_KINDS : PROBE_READINESS;
    MAP_EACH (&w->probes, m) {
        struct probe_entry *e = m->value;
        for (int i = 0; i < kinds; i++)
            group_cancel(&e->fibers[i]);
    }
}

void probes_free(struct worker *w)
{
    map_done_with(&w->probes, entry_free);
}
