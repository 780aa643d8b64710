/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resources that the node has set aside (KEP-1287). A Pod is granted those of its spec when it is admitted. When they are
 * changed later, the new ones are granted as soon as there is room for them; until then it goes on with the old ones and
 * its condition PodResizePending says so. What runs in it is brought to what was granted by the next pass (resizing.c).
 *
 * All in memory: see resize.h for what becomes of it over a restart.
 */
#include "node/kubelet-internal.h"

#define LOOK_AGAIN SECONDS(180) /* at what waits, though nothing told of more room */

/* ---- conditions ------------------------------------------------------------------------------------------ */

static void clear(struct resize_condition *c)
{
    free(c->message);
    *c = (struct resize_condition){0};
}

/* Returns whether it is another than before. reason: a literal. */
static bool set(struct resize_condition *c, const char *reason, const char *message, int64_t generation)
{
    struct wall now = os_wall();
    if (c->set && !strcmp(c->reason, reason) && !strcmp(c->message ? c->message : "", message) && c->generation == generation)
        return false;
    struct wall since = c->set && !strcmp(c->reason, reason) ? c->since : now;
    char *text = xstrdup(message);
    clear(c);
    *c = (struct resize_condition){true, reason, text, generation, since, now};
    return true;
}

static int64_t generation_of(const struct worker *w)
{
    return val_int(val_get(obj_meta(w->api->val), N_generation), 0);
}

static void tell(struct worker *w, const struct val *pod, bool warning, const char *reason, const char *prefix, int64_t generation,
                 struct str error)
{
    struct arena a = ARENA_INIT;
    struct str text = resize_message(&a, pod, prefix, generation, error);
    pod_event(w->k, pod, warning, reason, STR_FMT, STR_ARG(text));
    arena_done(&a);
}

/* ---- in force -------------------------------------------------------------------------------------------- */

const struct val *worker_in_force(void *worker, struct str container, bool *ret_known)
{
    const struct worker *w = worker;
    if (!container.n) {
        *ret_known = w->whole_known;
        return w->whole_in_force;
    }
    const struct container_book *b = map_get(&w->books, container);
    *ret_known = b && b->in_force;
    return b ? b->in_force : NULL;
}

/* Limits that it has from the Pod as a whole become its own here: those may change without it. */
static const struct val *with_limits_of(struct arena *a, const struct val *own, const struct val *whole)
{
    static const char *const names[] = {"cpu", "memory"};
    struct val *r = own ? val_copy(a, own) : val_new(a, VAL_OBJ);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const struct val *limit = val_key(val_get(whole, N_limits), str_of(names[i]));
        if (limit && !val_key(val_get(r, N_limits), str_of(names[i])))
            val_put_str(a, val_sub_map(a, r, N_limits), str_of(names[i]), val_str(limit));
    }
    return r;
}

static void book_in_force(struct worker *w, struct str container, const struct val *own, const struct val *whole)
{
    struct container_book *b = worker_book(w, container);
    struct arena keep = ARENA_INIT;
    const struct val *r = with_limits_of(&keep, own, whole);
    arena_done(&b->in_force_arena);
    b->in_force_arena = keep;
    b->in_force = r;
}

static void whole_in_force(struct worker *w, const struct val *whole)
{
    struct arena keep = ARENA_INIT;
    const struct val *r = val_copy(&keep, whole);
    arena_done(&w->whole_arena);
    w->whole_arena = keep;
    w->whole_in_force = r;
    w->whole_known = true;
}

void worker_set_in_force(struct worker *w, struct str container, const struct val *pod)
{
    enum container_kind kind;
    const struct val *whole = val_get(pod_spec(pod), N_resources), *spec;
    if (!container.n)
        whole_in_force(w, whole);
    else if ((spec = pod_find_container(pod, container, &kind)) && kind != CK_EPHEMERAL)
        book_in_force(w, container, val_get(spec, N_resources), whole);
}

bool worker_cgroup_differs(const struct worker *w)
{
    const struct val *pod = worker_pod(w);
    if (!pod || !w->cgroup_known || w->k->cfg.no_cgroups)
        return false;
    struct cgroup_limits want = pod_cgroup_limits(pod, w->k->cri.cfs_quota, w->k->cri.cfs_period, w->k->cfg.pod_pids);
    const struct cgroup_limits *have = &w->cgroup;
    if (want.cpu_shares >= 0 && have->cpu_shares >= 0 && cpu_weight(want.cpu_shares) != cpu_weight(have->cpu_shares))
        return true;
    if (want.cpu_quota >= 0 && (want.cpu_quota != have->cpu_quota))
        return true;
    return want.memory >= 0 && want.memory / 4096 != have->memory / 4096; /* the kernel counts pages */
}

/* ---- granting -------------------------------------------------------------------------------------------- */

static void run_as(struct worker *w, struct object *o)
{
    object_unref(w->pod);
    w->pod = o;
}

/* What the API has, with the resources of `with`. */
static struct object *with_resources_of(const struct object *api, const struct val *with)
{
    struct arena a = ARENA_INIT;
    const struct val *v = resize_with(&a, api->val, with);
    struct object *o = v == api->val ? object_ref(api) : object_new(api->res, v);
    if (v != api->val)
        object_stamp(o, api->revision);
    arena_done(&a);
    return o;
}

/* CPUs of its own are given for life. */
static bool moves_own_cpus(const struct worker *w)
{
    if (!cpus_static(w->k) || pod_qos(w->api->val) != QOS_GUARANTEED)
        return false;
    for (enum container_kind kind = CK_INIT; kind <= CK_MAIN; kind++)
        VAL_EACH (pod_containers(w->api->val, kind), c) {
            const struct val *was = pod_find_container(w->pod->val, val_getstr(c, N_name), NULL);
            if (quantity_cmp(resource_amount(val_get(c, N_resources), N_requests, "cpu"),
                             resource_amount(val_get(was, N_resources), N_requests, "cpu")) != 0)
                return true;
        }
    return false;
}

static void refuse_for_good(struct worker *w, const char *message)
{
    int64_t generation = generation_of(w);
    if (set(&w->resize_pending, "Infeasible", message, generation))
        tell(w, w->api->val, true, "ResizeInfeasible", "Pod resize Infeasible", generation, str_of(message));
    worker_wake(w);
}

/* Tries to grant what is wanted. Returns whether it need not wait any more. */
static bool try_grant(struct worker *w)
{
    struct arena a = ARENA_INIT;
    struct admit_world world;
    struct str message = STR("");
    bool over = true;
    int64_t generation = generation_of(w);
    if (!resize_differs(w->pod->val, w->api->val)) {
        clear(&w->resize_pending);
        return true;
    }
    if (moves_own_cpus(w)) {
        refuse_for_good(w, "Resize is infeasible for Guaranteed Pods alongside CPU Manager policy \"static\"");
        arena_done(&a);
        return true;
    }
    admit_world_of(w->k, w, &a, &world);
    if (!admit_resize(&a, w->api->val, &world, &message)) {
        run_as(w, object_ref(w->api));
        clear(&w->resize_pending);
        clear(&w->resize_progress); /* an error of the one before */
        set(&w->resize_progress, "", "", generation);
        tell(w, w->api->val, false, "ResizeStarted", "Pod resize started", generation, STR_NULL);
        w->volumes_dirty = true; /* downward API files show resources */
    } else {
        bool news = !w->resize_pending.set || strcmp(w->resize_pending.reason, "Deferred") != 0 ||
                    w->resize_pending.generation != generation;
        set(&w->resize_pending, "Deferred", arena_cstr(&a, message), generation);
        if (news)
            tell(w, w->api->val, true, "ResizeDeferred", "Pod resize Deferred", generation, message);
        over = false;
    }
    worker_wake(w);
    arena_done(&a);
    return over;
}

/* Who goes first: those that ask for no more, then by priority, quality of service and how long they have waited. */
static int order(const void *pa, const void *pb)
{
    const struct worker *a = *(struct worker *const *)pa, *b = *(struct worker *const *)pb;
    bool shrinks_a = resize_shrinks(a->pod->val, a->api->val), shrinks_b = resize_shrinks(b->pod->val, b->api->val);
    int64_t p_a = val_int(val_at(a->api->val, N_spec, N_priority), 0), p_b = val_int(val_at(b->api->val, N_spec, N_priority), 0);
    bool guaranteed_a = pod_qos(a->api->val) == QOS_GUARANTEED, guaranteed_b = pod_qos(b->api->val) == QOS_GUARANTEED;
    int64_t since_a = a->resize_pending.set ? a->resize_pending.since.ns : INT64_MAX;
    int64_t since_b = b->resize_pending.set ? b->resize_pending.since.ns : INT64_MAX;
    if (shrinks_a != shrinks_b)
        return shrinks_a ? -1 : 1;
    if (p_a != p_b)
        return p_a > p_b ? -1 : 1;
    if (guaranteed_a != guaranteed_b)
        return guaranteed_a ? -1 : 1;
    return (since_a > since_b) - (since_a < since_b);
}

static bool waits(const struct worker *w)
{
    return w->resize_queued && w->granted && w->pod && w->api && w->stage == WORKER_SYNCING;
}

static bool any_waits(struct kubelet *k)
{
    MAP_EACH (&k->workers, e)
        if (waits(e->value))
            return true;
    return false;
}

static void try_all(struct kubelet *k)
{
    struct arena a = ARENA_INIT;
    struct worker **list = ARENA_ARRAY(&a, struct worker *, k->workers.n);
    size_t n = 0;
    MAP_EACH (&k->workers, e)
        if (waits(e->value))
            list[n++] = e->value;
    if (n > 1)
        qsort(list, n, sizeof(*list), order);
    for (size_t i = 0; i < n; i++)
        if (try_grant(list[i]))
            list[i]->resize_queued = false;
    arena_done(&a);
}

void grant_retry(struct kubelet *k)
{
    k->room_made = true;
    waitq_wake_all(&k->room);
}

void grants_run(void *arg)
{
    struct kubelet *k = arg;
    do {
        if (k->room_made && !fiber_cancelled()) {
            k->room_made = false;
            if (!k->pods || replica_synced(k->pods))
                try_all(k);
        }
        if (waitq_wait(&k->room, any_waits(k) ? mono_add(os_mono(), LOOK_AGAIN) : MONO_NEVER) == -ETIMEDOUT)
            k->room_made = true;
    } while (!fiber_cancelled());
}

/* ---- a Pod's resources over time --------------------------------------------------------------------------- */

void grant_first(struct worker *w)
{
    w->granted = true;
    worker_set_in_force(w, STR(""), w->pod->val);
}

static void recall_condition(const struct val *pod, const char *type, struct resize_condition *ret)
{
    static const char *const reasons[] = {"Deferred", "Infeasible", "Error"};
    const struct val *c = condition_find(val_get(pod_status(pod), N_conditions), str_of(type));
    const char *reason = "";
    if (!c)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
        if (str_is(val_getstr(c, N_reason), reasons[i]))
            reason = reasons[i];
    set(ret, reason, val_cstr(val_get(c, N_message)), val_int(val_get(c, N_observedGeneration), 0));
    ret->since = val_time(val_get(c, N_lastTransitionTime));
    ret->probed = val_time(val_get(c, N_lastProbeTime));
}

/* What runs has what the runtime says, and for the rest what was told of this very container. */
static void recall_containers(struct worker *w, enum container_kind kind)
{
    struct arena a = ARENA_INIT;
    const struct val *pod = w->pod->val, *whole = val_get(pod_spec(pod), N_resources);
    VAL_EACH (pod_containers(pod, kind), spec) {
        struct str name = val_getstr(spec, N_name);
        const struct rt_container *c = podstate_find(w->state, name);
        const struct val *told = val_named(pod_statuses(pod_status(pod), kind), name);
        if (!c || c->state != RT_RUNNING)
            continue;
        bool same = c->id.n && str_ends(val_getstr(told, N_containerID), c->id);
        const struct val *own = resize_in_force(&a, val_get(spec, N_resources), c, same ? val_get(told, N_resources) : NULL);
        book_in_force(w, name, own, whole);
    }
    arena_done(&a);
}

void grant_recall(struct worker *w)
{
    struct arena a = ARENA_INIT;
    if (!pod_is_static(w->api->val))
        run_as(w, with_resources_of(w->api, resize_recall(&a, w->api->val)));
    arena_done(&a);
    grant_first(w);
    recall_containers(w, CK_INIT);
    recall_containers(w, CK_MAIN);
    recall_condition(w->api->val, "PodResizePending", &w->resize_pending);
    recall_condition(w->api->val, "PodResizeInProgress", &w->resize_progress);
    if (resize_differs(w->pod->val, w->api->val)) {
        w->resize_queued = true;
        grant_retry(w->k);
    }
}

void grant_follow(struct worker *w, bool resized)
{
    if (!w->granted || !w->pod) {
        run_as(w, object_ref(w->api));
        return;
    }
    run_as(w, with_resources_of(w->api, w->pod->val));
    if (!resize_differs(w->pod->val, w->api->val)) {
        clear(&w->resize_pending); /* taken back */
        w->resize_queued = false;
    } else if (resized) {
        w->resize_queued = true;
        try_all(w->k); /* at once: the status of this generation tells the outcome */
    }
}

void grant_check(struct worker *w)
{
    if (!w->granted || !w->pod)
        return;
    if (w->phase_terminal || w->stage >= WORKER_TERMINATED) {
        clear(&w->resize_pending);
        clear(&w->resize_progress);
        return;
    }
    struct actions_input in = {.pod = w->pod->val, .state = w->state, .in_force = worker_in_force, .ctx = w};
    if (resize_in_progress(&in)) {
        if (!w->resize_progress.set)
            set(&w->resize_progress, "", "", generation_of(w));
    } else if (w->resize_progress.set) {
        int64_t generation = w->resize_progress.generation;
        clear(&w->resize_progress);
        tell(w, w->pod->val, false, "ResizeCompleted", "Pod resize completed", generation, STR_NULL);
        grant_retry(w->k);
    }
}

void grant_failed(struct worker *w, const char *message)
{
    int64_t generation = w->resize_progress.set ? w->resize_progress.generation : generation_of(w);
    if (set(&w->resize_progress, "Error", message, generation))
        tell(w, w->pod->val, true, "ResizeError", "Pod resize error", generation, str_of(message));
}

void grant_done(struct worker *w)
{
    clear(&w->resize_pending);
    clear(&w->resize_progress);
    arena_done(&w->whole_arena);
}
