/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the node from running short: looks every ten seconds, says so in the node's conditions, clears away what nobody
 * needs, and else ends Pods, one at a time. What is decided is in evictrules.c.
 */
#include "node/eviction.h"

#include "grpc.h"
#include "node/kubelet-internal.h"

#define PERIOD SECONDS(10)
#define CLEANUP_WAIT SECONDS(30) /* for an evicted Pod to give back what it had, before the next look */
#define CLEANUP_POLL MILLISECONDS(500)

/* ---- observing --------------------------------------------------------------------------------------------- */

/* Where the runtime keeps images and containers; empty: it does not say. */
static struct str image_dir(struct kubelet *k, struct arena *a)
{
    const struct val *answer;
    if (runtime_call(k->rt, G_runtime_v1_ImageService_ImageFsInfo, val_new(a, VAL_OBJ), mono_add(os_mono(), SECONDS(10)), a, &answer, NULL) != 0)
        return STR_NULL;
    return val_str(val_at(val_item(val_get(answer, N_image_filesystems), 0), N_fs_id, N_mountpoint));
}

static int observe(struct kubelet *k, struct eviction_observation obs[EVICTION_SIGNALS])
{
    struct arena a = ARENA_INIT;
    struct host_usage u;
    struct host_space s;
    for (int i = 0; i < EVICTION_SIGNALS; i++)
        obs[i] = (struct eviction_observation){-1, 0};
    if (k->host->ops->usage(k->host, &u) < 0)
        return -EIO;
    obs[EVICT_MEMORY] = (struct eviction_observation){u.memory_available, k->facts.memory};
    obs[EVICT_NODEFS] = (struct eviction_observation){u.fs_available, u.fs_bytes};
    obs[EVICT_NODEFS_INODES] = (struct eviction_observation){u.fs_inodes_free, u.fs_inodes};
    if (u.max_pids > 0 && u.pids >= 0)
        obs[EVICT_PIDS] = (struct eviction_observation){u.max_pids - u.pids, u.max_pids};
    struct str dir = image_dir(k, &a);
    if (dir.n && host_space(k->host, arena_cstr(&a, dir), &s) == 0) {
        obs[EVICT_IMAGEFS] = (struct eviction_observation){s.available, s.capacity};
        obs[EVICT_IMAGEFS_INODES] = (struct eviction_observation){s.inodes_free, s.inodes};
    }
    arena_done(&a);
    return 0;
}

static void set_pressure(struct kubelet *k, const bool now[PRESSURES])
{
    bool *flags[PRESSURES] = {&k->memory_pressure, &k->disk_pressure, &k->pid_pressure};
    for (int p = 0; p < PRESSURES; p++)
        if (*flags[p] != now[p]) {
            *flags[p] = now[p];
            node_touch(k);
        }
}

/* ---- who uses what ------------------------------------------------------------------------------------------- */

struct use {
    struct kubelet *k;
    struct arena *a;
    enum eviction_signal signal;
    const struct val *stats; /* LIST of ContainerStats */
};

static bool is_memory(const struct use *u)
{
    return u->signal == EVICT_MEMORY;
}

static bool is_inodes(const struct use *u)
{
    return u->signal == EVICT_NODEFS_INODES || u->signal == EVICT_IMAGEFS_INODES;
}

static int64_t of_container(const struct use *u, const struct val *stats)
{
    name_id list = is_memory(u) ? N_memory : N_writable_layer;
    name_id what = is_memory(u) ? N_working_set_bytes : is_inodes(u) ? N_inodes_used : N_used_bytes;
    return MAX(val_int(val_at(stats, list, what, N_value), 0), (int64_t)0);
}

static bool is_of(const struct val *stats, const char *uid)
{
    return str_is(val_str(val_key(val_at(stats, N_attributes, N_labels), STR(CRI_LABEL_POD_UID))), uid);
}

static int64_t below(const struct use *u, struct str dir)
{
    struct host_space s;
    if (host_du(u->k->host, dir.p, &s) < 0)
        return 0;
    return is_inodes(u) ? s.inodes_used : s.used;
}

/* What a Pod has of the resource; -1: nobody knows. */
static int64_t of_pod(const struct use *u, const struct val *pod, const char *uid)
{
    struct kubelet *k = u->k;
    struct cgroup_state now;
    int64_t sum = 0, found = 0;
    if (u->signal == EVICT_PIDS)
        return k->host->ops->cgroup_get && k->host->ops->cgroup_get(k->host, pod_cgroup_path(u->a, k->cfg.cgroup_root, pod).p, &now) == 0
                   ? now.pids
                   : -1;
    VAL_EACH (u->stats, s)
        if (is_of(s, uid)) {
            sum += of_container(u, s);
            found++;
        }
    if (!found)
        return -1;
    if (is_memory(u))
        return sum;
    sum += below(u, pod_log_dir(u->a, k->cfg.pod_logs_dir, pod));
    return sum + below(u, arena_printf(u->a, STR_FMT "/volumes/kubernetes.io~empty-dir", STR_ARG(pod_dir(u->a, k->cfg.root_dir, str_of(uid)))));
}

static size_t candidates(const struct use *u, struct eviction_candidate *ret, size_t most)
{
    size_t n = 0;
    struct str *uids = ARENA_ARRAY(u->a, struct str, most);
    MAP_EACH (&u->k->workers, m) {
        const struct worker *w = m->value;
        if (n < most && worker_pod(w) && w->stage == WORKER_SYNCING && podstate_any_running(w->state))
            uids[n++] = arena_str(u->a, m->key);
    }
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        struct worker *w = worker_find(u->k, uids[i]); /* measuring waits: it may be gone */
        if (!w || !w->pod)
            continue;
        struct object *pod CLEANUP_OBJECT = object_ref(w->pod);
        const char *resource = eviction_resource(u->signal);
        int64_t request = is_inodes(u) ? 0 : quantity_units(pod_amount(pod->val, N_requests, resource));
        ret[kept] = (struct eviction_candidate){val_copy(u->a, pod->val), of_pod(u, pod->val, uids[i].p), request, (void *)(uintptr_t)uids[i].p};
        kept++;
    }
    return kept;
}

/* ---- evicting --------------------------------------------------------------------------------------------------- */

static struct str amount_text(struct arena *a, struct quantity q)
{
    char text[QUANTITY_TEXT_MAX];
    return arena_str(a, str_of(quantity_text(q, text)));
}

static struct str units_text(const struct use *u, int64_t n)
{
    return amount_text(u->a, quantity_of(n, QUANTITY_BINARY_SI));
}

static struct str blame_one(const struct use *u, const char *what, struct str name, int64_t used, struct quantity request)
{
    return arena_printf(u->a, "%s " STR_FMT " was using " STR_FMT ", request is " STR_FMT ", has larger consumption of %s. ", what, STR_ARG(name),
                        STR_ARG(units_text(u, used)), STR_ARG(amount_text(u->a, request)),
                        eviction_resource(u->signal));
}

static void blame_pod(const struct use *u, const struct eviction_candidate *c, struct buf *b, struct val *notes)
{
    const struct val *resources_ = val_at(c->pod, N_spec, N_resources);
    const char *resource = eviction_resource(u->signal);
    if (!is_memory(u) || !val_key(val_get(resources_, N_requests), str_of(resource)))
        return;
    buf_putstr(b, blame_one(u, "Pod", obj_name(c->pod), c->usage, resource_amount(resources_, N_requests, resource)));
    val_put_str(u->a, notes, STR("offending_pod"), obj_name(c->pod));
    val_put_str(u->a, notes, STR("offending_pod_usage"), units_text(u, c->usage));
}

static void blame_containers(const struct use *u, const struct eviction_candidate *c, struct buf *b, struct buf *names, struct buf *amounts)
{
    const char *resource = eviction_resource(u->signal), *logs = pod_log_dir(u->a, u->k->cfg.pod_logs_dir, c->pod).p;
    VAL_EACH (u->stats, s) {
        enum container_kind kind = CK_MAIN;
        struct str name = val_str(val_key(val_at(s, N_attributes, N_labels), STR(CRI_LABEL_CONTAINER)));
        const struct val *spec = is_of(s, c->owner) ? pod_find_container(c->pod, name, &kind) : NULL;
        struct quantity request = resource_amount(val_get(spec, N_resources), N_requests, resource);
        if (!spec || kind == CK_EPHEMERAL)
            continue;
        int64_t used = of_container(u, s) + (is_memory(u) ? 0 : below(u, arena_printf(u->a, "%s/" STR_FMT, logs, STR_ARG(name))));
        if (used <= quantity_units(request))
            continue;
        buf_putstr(b, blame_one(u, "Container", name, used, request));
        buf_printf(names, "%s" STR_FMT, names->n ? "," : "", STR_ARG(name));
        buf_printf(amounts, "%s" STR_FMT, amounts->n ? "," : "", STR_ARG(units_text(u, used)));
    }
}

/* Of its containers, those that have more than they asked for; before them the Pod, when it asks for memory as a whole. The
 * event's annotations say the same to programs. */
static struct str blame(const struct use *u, const struct eviction_candidate *c, struct val *notes)
{
    struct buf b CLEANUP_BUF = BUF_INIT, names CLEANUP_BUF = BUF_INIT, amounts CLEANUP_BUF = BUF_INIT;
    if (c->usage < 0)
        return STR("");
    blame_pod(u, c, &b, notes);
    if (!is_inodes(u) && u->signal != EVICT_PIDS)
        blame_containers(u, c, &b, &names, &amounts);
    val_put_str(u->a, notes, STR("offending_containers"), arena_str(u->a, buf_str(&names)));
    val_put_str(u->a, notes, STR("offending_containers_usage"), arena_str(u->a, buf_str(&amounts)));
    val_put_str(u->a, notes, STR("starved_resource"), str_of(eviction_resource(u->signal)));
    return arena_str(u->a, buf_str(&b));
}

/* Seconds that it gets: one when the threshold is hard, else as it wants but no more than the node's most. */
static int64_t grace_for(struct kubelet *k, const struct val *pod, bool hard)
{
    int64_t own = val_int(val_at(pod, N_spec, N_terminationGracePeriodSeconds), k->cfg.eviction_max_grace);
    return hard ? 1 : MIN(own, k->cfg.eviction_max_grace);
}

static void wait_for_cleanup(struct kubelet *k, struct str uid)
{
    struct mono end = mono_add(os_mono(), CLEANUP_WAIT);
    for (;;) {
        const struct worker *w = worker_find(k, uid);
        if (!w || w->stage >= WORKER_FINISHED || os_mono().ns > end.ns || fiber_sleep(CLEANUP_POLL) < 0)
            return;
    }
}

static void evict_one(struct use *u, const struct eviction_look *look, const struct eviction_observation *o)
{
    struct kubelet *k = u->k;
    struct eviction_candidate *c = ARENA_ARRAY(u->a, struct eviction_candidate, k->workers.n);
    size_t n = candidates(u, c, k->workers.n);
    eviction_rank(c, n, u->signal);
    for (size_t i = 0; i < n; i++) {
        struct worker *w = worker_find(k, str_of(c[i].owner));
        if (!w || w->stage != WORKER_SYNCING || w->fail_reason || pod_critical(c[i].pod))
            continue;
        struct val *notes = val_new(u->a, VAL_MAP);
        struct str why = blame(u, &c[i], notes), message = arena_printf(u->a, STR_FMT STR_FMT, STR_ARG(eviction_why(u->a, look, o)), STR_ARG(why));
        w = worker_find(k, str_of(c[i].owner)); /* measuring waits */
        if (!w || w->stage != WORKER_SYNCING || w->fail_reason)
            continue;
        pod_event_noted(k, c[i].pod, notes, "Evicted", message);
        worker_fail(w, "Evicted", message, grace_for(k, c[i].pod, look->reclaim->hard), pod_disruption(u->a, c[i].pod, message));
        wait_for_cleanup(k, str_of(c[i].owner));
        return;
    }
}

/* Disk may be had without ending anything: containers that have ended, and images that nothing uses. */
static bool reclaim_disk(struct kubelet *k, enum eviction_signal signal, struct eviction_rules *rules)
{
    struct eviction_observation obs[EVICTION_SIGNALS];
    struct eviction_look again;
    if (signal < EVICT_NODEFS || signal > EVICT_IMAGEFS_INODES)
        return false;
    gc_dead_containers(k);
    gc_unused_images(k);
    if (observe(k, obs) < 0)
        return false;
    eviction_look(rules, obs, os_wall(), &again);
    return !again.reclaim;
}

static void reclaim(struct kubelet *k, struct eviction_rules *rules, const struct eviction_look *look, const struct eviction_observation obs[])
{
    struct arena a = ARENA_INIT;
    enum eviction_signal signal = look->reclaim->signal;
    struct use u = {.k = k, .a = &a, .signal = signal};
    const struct val *answer;
    node_event(k, true, "EvictionThresholdMet", "Attempting to reclaim %s", eviction_resource(signal));
    log_warn(LOG, "short of %s: %lld available, threshold %lld", eviction_resource(signal), (long long)obs[signal].available,
             (long long)look->least);
    if (!reclaim_disk(k, signal, rules) && look->reclaim &&
        runtime_call(k->rt, G_runtime_v1_RuntimeService_ListContainerStats, val_new(&a, VAL_OBJ), mono_add(os_mono(), SECONDS(30)), &a, &answer,
                     NULL) == 0) {
        u.stats = val_get(answer, N_stats);
        evict_one(&u, look, &obs[signal]);
    }
    arena_done(&a);
}

void eviction_run(void *arg)
{
    struct kubelet *k = arg;
    struct eviction_rules rules;
    struct err e = {{0}};
    const struct eviction_settings s = {k->cfg.eviction_hard, k->cfg.eviction_soft, k->cfg.eviction_soft_grace, k->cfg.eviction_reclaim,
                                        k->cfg.eviction_transition};
    int r = eviction_rules_make(&k->arena, &s, &rules, &e);
    if (r < 0) {
        log_error(LOG, "no eviction: %s", err_text(&e, r)); /* flags and files were checked: only a caller of the library gets here */
        return;
    }
    while (fiber_sleep(PERIOD) == 0) {
        struct eviction_observation obs[EVICTION_SIGNALS];
        struct eviction_look look;
        if (observe(k, obs) < 0)
            continue;
        eviction_look(&rules, obs, os_wall(), &look);
        set_pressure(k, look.pressure);
        if (look.reclaim && k->relisted)
            reclaim(k, &rules, &look, obs);
    }
}
