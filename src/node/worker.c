/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One fiber a Pod. It looks at what is wanted and what is, tells the API, and has one other fiber do the next thing
 * (a pass of sync_pod, kill_pod, cleaning up), which it calls off when things change so that it must not go on.
 *
 *   SYNCING -> TERMINATING -> TERMINATED -> FINISHED, never back: a Pod does not live twice.
 */
#include "node/kubelet-internal.h"
#include "node/memory.h"

#define CLEANUP_RETRY SECONDS(2)
#define DISPOSE_PATIENCE 5u /* failures in a row before an event tells of them */

struct worker *worker_find(struct kubelet *k, struct str uid)
{
    return map_get(&k->workers, uid);
}

const struct val *worker_pod(const struct worker *w)
{
    return w->pod ? w->pod->val : NULL;
}

void worker_wake(struct worker *w)
{
    w->dirty = true;
    waitq_wake_all(&w->wake);
}

/* ---- books ----------------------------------------------------------------------------------------------- */

struct container_book *worker_book(struct worker *w, struct str container)
{
    struct container_book *b = map_get(&w->books, container);
    if (!b) {
        b = NEW(struct container_book);
        map_put(&w->books, container, b);
    }
    return b;
}

void book_clear_reason(struct container_book *b)
{
    free((char *)b->reason.reason.p);
    free((char *)b->reason.message.p);
    b->reason = (struct wait_reason){STR_NULL, STR_NULL};
    b->retry_at.ns = 0;
}

void book_set_reason(struct container_book *b, const char *reason, struct str message)
{
    struct wait_reason r = {str_of(xstrdup(reason)), str_of(str_dup(message))};
    book_clear_reason(b);
    b->reason = r;
}

static void book_free(void *p)
{
    struct container_book *b = p;
    book_clear_reason(b);
    arena_done(&b->in_force_arena);
    free(b);
}

/* ---- what is known --------------------------------------------------------------------------------------- */

struct worker *worker_new(struct kubelet *k, struct str uid, struct str ns, struct str name)
{
    struct worker *w = NEW(struct worker);
    w->k = k;
    w->uid = str_dup(uid);
    w->ns = str_dup(ns);
    w->name = str_dup(name);
    w->fail_grace = -1;
    w->state = pleg_state(k, uid);
    map_put(&k->workers, uid, w);
    return w;
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    pod_certs_free(w); /* its fibers look at the Pod */
    worker_hold_references(w, worker_pod(w), false);
    object_unref(w->pod);
    object_unref(w->api);
    grant_done(w);
    podstate_unref(w->state);
    probes_free(w);
    map_done_with(&w->books, book_free);
    for (size_t i = 0; i < w->n_tokens; i++) {
        free(w->tokens[i].audience);
        free(w->tokens[i].text);
    }
    free(w->tokens);
    pod_volumes_free(w->volumes);
    arena_done(&w->fail_arena);
    arena_done(&w->status_arena);
    free(w->uid);
    free(w->ns);
    free(w->name);
    free(w);
}

void worker_set_pod(struct worker *w, const struct object *pod)
{
    struct object *old = w->api;
    worker_hold_references(w, pod->val, true);
    w->api = object_ref(pod);
    worker_hold_references(w, old ? old->val : NULL, false);
    grant_follow(w, old && resize_differs(old->val, pod->val));
    /* What the status says is ours to say: somebody may have written otherwise (the Pods of a node that was not heard of
     * are marked as not ready). Nothing is written when it is as we want it. */
    if (old && !val_equal(pod_status(old->val), pod_status(pod->val)))
        w->posted = false;
    /* Labels and annotations show in downward API volumes. */
    if (!old || !val_equal(obj_labels(old->val), obj_labels(pod->val)) ||
        !val_equal(val_get(old->meta, N_annotations), val_get(pod->meta, N_annotations)))
        w->volumes_dirty = true;
    object_unref(old);
    worker_wake(w);
}

void worker_set_removed(struct worker *w)
{
    w->removed = true;
    worker_wake(w);
}

void worker_set_state(struct worker *w, const struct podstate *state)
{
    podstate_unref(w->state);
    w->state = podstate_ref(state);
    w->progress = true;
    worker_wake(w);
}

void worker_set_volumes_dirty(struct worker *w)
{
    w->volumes_dirty = true;
    w->failures = 0;
    w->retry_at.ns = 0;
    MAP_EACH (&w->books, e) {
        struct container_book *b = e->value;
        if (str_is(b->reason.reason, "CreateContainerConfigError"))
            b->retry_at.ns = 0; /* what was missing may be there now */
    }
    worker_wake(w);
}

void worker_fail(struct worker *w, const char *reason, struct str message, int64_t grace, const struct val *disruption)
{
    if (w->fail_reason)
        return;
    w->fail_reason = arena_cstr(&w->fail_arena, str_of(reason));
    w->fail_message = arena_str(&w->fail_arena, message);
    w->fail_grace = grace;
    w->disruption = val_copy(&w->fail_arena, disruption);
    worker_wake(w);
}

/* ---- deciding -------------------------------------------------------------------------------------------- */

/* When it will have run longer than it may; MONO_NEVER for no limit. */
static struct mono active_deadline(const struct worker *w)
{
    const struct val *limit = val_at(worker_pod(w), N_spec, N_activeDeadlineSeconds);
    struct wall start = val_time(val_get(w->status, N_startTime));
    if (!limit || start.ns == 0)
        return MONO_NEVER;
    return mono_add(os_mono(), start.ns + SECONDS(MIN(val_int(limit, 0), (int64_t)INT32_MAX)) - os_wall().ns);
}

static void check_deadline(struct worker *w)
{
    if (w->stage == WORKER_SYNCING && active_deadline(w).ns <= os_mono().ns) {
        pod_event(w->k, worker_pod(w), false, "DeadlineExceeded",
                  "Pod was active on the node longer than the specified deadline");
        worker_fail(w, "DeadlineExceeded", STR("Pod was active on the node longer than the specified deadline"), -1,
                    NULL);
    }
}

static bool must_end(const struct worker *w)
{
    return w->removed || !w->pod || obj_deleting(w->pod->val) || w->fail_reason || w->phase_terminal;
}

static void decide_stage(struct worker *w)
{
    if (w->stage == WORKER_SYNCING && must_end(w)) {
        w->stage = WORKER_TERMINATING;
        probes_stop(w, false);
        w->retry_at.ns = 0;
        w->failures = 0;
    }
    if (w->stage == WORKER_TERMINATING && w->stopped) {
        w->stage = WORKER_TERMINATED;
        w->retry_at.ns = 0;
        devices_release(w);
        cpus_release(w);
        memory_release(w);
        pod_certs_free(w);
    }
    if (w->stage == WORKER_TERMINATED && w->cleaned)
        w->stage = WORKER_FINISHED;
}

/* Seconds that containers get to end by themselves. */
static int64_t grace_now(const struct worker *w)
{
    if (w->fail_reason && w->fail_grace >= 0)
        return w->fail_grace;
    return w->pod ? pod_grace_seconds(w->pod->val) : -1;
}

bool worker_restarting(const struct worker *w)
{
    const struct val *pod = worker_pod(w), *told = w->status ? w->status : pod_status(pod);
    return pod && pod_may_restart_all(pod) && condition_is(val_get(told, N_conditions), STR("AllContainersRestarting"), "True");
}

/* Is a pass over the Pod wanted now? Also finds out when the next will be. */
static bool wants_pass(struct worker *w, struct mono *next)
{
    struct arena a = ARENA_INIT;
    struct actions act;
    struct wall now = os_wall();
    struct mono mono = os_mono();
    bool want = w->volumes_dirty;
    actions_compute(&a, &(struct actions_input){.pod = worker_pod(w), .state = w->state, .probe = worker_probe_result,
                                                .in_force = worker_in_force, .cgroup_differs = worker_cgroup_differs(w), .ctx = w,
                                                .restarting = worker_restarting(w)},
                    &act);
    want = want || act.kill_pod || act.create_sandbox || act.n_kills || act.resize || act.n_resets;
    for (size_t i = 0; !want && i < act.n_starts; i++) {
        const struct container_book *b = map_get(&w->books, val_getstr(act.starts[i].spec, N_name));
        int64_t wait = b ? b->retry_at.ns - now.ns : 0;
        if (wait <= 0)
            want = true;
        else
            next->ns = MIN(next->ns, mono_add(mono, wait).ns);
    }
    arena_done(&a);
    if (want && w->retry_at.ns > mono.ns) {
        next->ns = MIN(next->ns, w->retry_at.ns);
        return false;
    }
    return want;
}

/* ---- doing ----------------------------------------------------------------------------------------------- */

/* What is wanted may stay wanted though a pass did what it could: then ever more slowly. */
static void pace(struct worker *w, int rc)
{
    if (rc == 0 && w->progress)
        w->failures = 0;
    else
        w->failures++;
    int64_t pause = 0;
    if (w->failures)
        pause = rc == 0 ? MILLISECONDS(50) << MIN(w->failures, 7u) : SECONDS(1) << MIN(w->failures - 1, 3u);
    w->retry_at = mono_add(os_mono(), MIN(pause, SECONDS(10)));
}

static void sync_fiber(void *arg)
{
    struct worker *w = arg;
    struct err e = {{0}};
    w->progress = false;
    int rc = sync_pod(w, &e);
    if (rc == -ECANCELED || fiber_cancelled())
        return;
    if (rc != 0)
        log_warn(LOG, "%s/%s: %s", w->ns, w->name, err_text(&e, rc));
    pace(w, rc);
    worker_wake(w);
}

static void terminate_fiber(void *arg)
{
    struct worker *w = arg;
    struct err e = {{0}};
    int rc = kill_pod(w, w->doing_grace, &e);
    if (rc == -ECANCELED || fiber_cancelled())
        return;
    int unprepared = rc == 0 ? dra_unprepare(w->k, str_of(w->uid), &e) : 0;
    if (unprepared == -ECANCELED || fiber_cancelled())
        return;
    if (unprepared != 0) { /* its devices are not free: it has not ended */
        log_warn(LOG, "%s/%s: %s", w->ns, w->name, err_text(&e, unprepared));
        pace(w, unprepared);
    } else if (rc == 0) {
        probes_stop(w, true);
        w->stopped = true;
    } else {
        pod_event(w->k, worker_pod(w), true, "FailedKillPod", "error killing pod: %s", err_text(&e, rc));
        pace(w, rc);
    }
    worker_wake(w);
}

/* Gives back what the Pod had of the machine. */
static int clean_up(struct worker *w, struct err *e)
{
    struct kubelet *k = w->k;
    struct arena a = ARENA_INIT;
    int r = volumes_tear_down(k, str_of(w->uid), e);
    if (r == 0 && w->pod && !k->cfg.no_cgroups)
        r = k->host->ops->cgroup_remove(k->host, pod_cgroup_path(&a, k->cfg.cgroup_root, w->pod->val).p, e);
    arena_done(&a);
    return r;
}

static void clean_fiber(void *arg)
{
    struct worker *w = arg;
    struct err e = {{0}};
    int r = clean_up(w, &e);
    if (r < 0) {
        log_warn(LOG, "%s/%s: %s", w->ns, w->name, err_text(&e, r));
        w->retry_at = mono_add(os_mono(), CLEANUP_RETRY);
    } else {
        w->cleaned = true;
        qos_update(w->k, NULL);
    }
    worker_wake(w);
}

/* Nobody will ask for its logs any more: the runtime and the disk forget it. */
static int dispose(struct worker *w, struct err *e)
{
    struct kubelet *k = w->k;
    struct arena a = ARENA_INIT;
    struct podstate *s CLEANUP_PODSTATE = podstate_ref(w->state);
    int r = 0;
    for (size_t i = 0; r == 0 && s && i < s->n_containers; i++)
        r = runtime_remove_container(k->rt, s->containers[i].id, e);
    for (size_t i = 0; r == 0 && s && i < s->n_sandboxes; i++)
        r = runtime_remove_sandbox(k->rt, s->sandboxes[i].id, e);
    if (r == 0)
        r = k->host->ops->remove_tree(k->host, pod_dir(&a, k->cfg.root_dir, str_of(w->uid)).p, e);
    if (r == 0)
        r = k->host->ops->remove_tree(
            k->host, arena_printf(&a, "%s/%s_%s_%s", k->cfg.pod_logs_dir, w->ns, w->name, w->uid).p, e);
    if (r == 0 && s)
        r = pleg_refresh(k, str_of(w->uid), e);
    arena_done(&a);
    return r;
}

static void dispose_fiber(void *arg)
{
    struct worker *w = arg;
    struct err e = {{0}};
    int r = dispose(w, &e);
    if (r == -ECANCELED)
        return;
    if (r != 0) {
        log_warn(LOG, "%s/%s: %s", w->ns, w->name, err_text(&e, r));
        if (++w->failures == DISPOSE_PATIENCE)
            pod_event(w->k, worker_pod(w), true, "FailedRemovePod", "the runtime does not let go of the pod: %s", err_text(&e, r));
        w->retry_at = mono_add(os_mono(), CLEANUP_RETRY << MIN(w->failures - 1, 5u));
    } else {
        w->disposed = true;
    }
    worker_wake(w);
}

static bool may_act(const struct worker *w, struct mono *next)
{
    if (w->doing.n)
        return false;
    if (w->retry_at.ns <= os_mono().ns)
        return true;
    next->ns = MIN(next->ns, w->retry_at.ns);
    return false;
}

static void act_terminating(struct worker *w, struct mono *next)
{
    int64_t grace = grace_now(w);
    bool killing = w->doing.n && w->doing_grace != INT64_MIN;
    /* A pass in progress must not start more; a kill in progress may be told to hurry. */
    if (w->doing.n && (!killing || (grace >= 0 && grace < w->doing_grace)))
        group_stop(&w->doing);
    if (may_act(w, next)) {
        w->doing_grace = grace;
        group_spawn(&w->doing, "pod-terminate", terminate_fiber, w);
    }
}

static void act(struct worker *w, struct mono *next)
{
    switch (w->stage) {
    case WORKER_SYNCING:
        if (!w->doing.n && wants_pass(w, next)) {
            w->doing_grace = INT64_MIN; /* not killing */
            group_spawn(&w->doing, "pod-sync", sync_fiber, w);
        }
        break;
    case WORKER_TERMINATING:
        act_terminating(w, next);
        break;
    case WORKER_TERMINATED:
        if (may_act(w, next))
            group_spawn(&w->doing, "pod-clean-up", clean_fiber, w);
        break;
    case WORKER_FINISHED:
        if ((w->removed || !w->pod || w->api_deleted) && !w->disposed && may_act(w, next))
            group_spawn(&w->doing, "pod-dispose", dispose_fiber, w);
        break;
    }
}

/* ---- the fiber ------------------------------------------------------------------------------------------- */

static struct mono next_refresh(const struct worker *w)
{
    struct mono next = MONO_NEVER;
    struct wall now = os_wall();
    for (size_t i = 0; i < w->n_tokens; i++)
        next.ns = MIN(next.ns, mono_add(os_mono(), MAX(w->tokens[i].refresh.ns - now.ns, SECONDS(1))).ns);
    return next;
}

static bool tokens_stale(const struct worker *w)
{
    struct wall now = os_wall();
    for (size_t i = 0; i < w->n_tokens; i++)
        if (w->tokens[i].refresh.ns <= now.ns)
            return true;
    return false;
}

static struct mono step(struct worker *w)
{
    struct mono next = mono_add(os_mono(), w->k->cfg.sync_period);
    if (w->stage == WORKER_SYNCING && (tokens_stale(w) || worker_volumes_due(w).ns <= os_mono().ns))
        w->volumes_dirty = true;
    probes_update(w);
    grant_check(w);
    worker_make_status(w);
    check_deadline(w);
    enum worker_stage before = w->stage;
    decide_stage(w);
    if (w->stage != before) {
        worker_make_status(w);
        grant_retry(w->k);
    }
    worker_post(w);
    act(w, &next);
    if (w->stage == WORKER_SYNCING) {
        next.ns = MIN(next.ns, next_refresh(w).ns);
        next.ns = MIN(next.ns, MAX(worker_volumes_due(w).ns, mono_add(os_mono(), SECONDS(1)).ns));
        next.ns = MIN(next.ns, active_deadline(w).ns);
    }
    return next;
}

static void worker_fiber(void *arg)
{
    struct worker *w = arg;
    while (!w->disposed && !fiber_cancelled()) {
        w->dirty = false;
        struct mono next = step(w);
        while (!w->dirty && !w->disposed)
            if (waitq_wait(&w->wake, next) < 0)
                break; /* time is up, or cancelled */
    }
    group_stop(&w->doing);
    group_stop(&w->posting);
    probes_stop(w, true);
    w->ended = true;
    waitq_wake_all(&w->k->workers_ended);
}

void worker_start(struct worker *w)
{
    if (w->started)
        return;
    w->started = true;
    group_spawn(&w->k->fibers, "pod", worker_fiber, w);
}

static struct worker *any_ended(struct kubelet *k)
{
    MAP_EACH (&k->workers, e) {
        struct worker *w = e->value;
        if (w->ended)
            return w;
    }
    return NULL;
}

void workers_reap(void *arg)
{
    struct kubelet *k = arg;
    do {
        struct worker *w;
        while ((w = any_ended(k))) {
            map_del(&k->workers, str_of(w->uid));
            worker_free(w);
        }
        sources_reconcile(k);
    } while (waitq_wait(&k->workers_ended, MONO_NEVER) == 0);
}
