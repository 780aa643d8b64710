/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Noticing what happens in the runtime (upstream's pod lifecycle event generator, KEP-3386).
 *
 * Three ways, cheapest first. The end of a container's first process is seen at once through a pidfd. A runtime with
 * an event stream tells of everything else. And all is listed now and then: every second while something runs whose
 * end could not be noticed otherwise, else every ten seconds. A Pod is looked at closely only when the lists say
 * that something about it is different.
 */
#include "grpc.h"
#include "net/grpc.h"
#include "node/metrics.h"

#define RELIST_FAST SECONDS(1)
#define RELIST_SLOW SECONDS(10)

/* ---- records --------------------------------------------------------------------------------------------- */

static void unwatch_all(struct pod_record *r)
{
    group_stop(&r->watchers);
    map_done_with(&r->watched, free);
}

static void record_free(void *p)
{
    struct pod_record *r = p;
    unwatch_all(r);
    podstate_unref(r->state);
    free(r);
}

static struct pod_record *record_of(struct kubelet *k, struct str uid)
{
    struct pod_record *r = map_get(&k->records, uid);
    if (!r) {
        r = NEW(struct pod_record);
        map_put(&k->records, uid, r);
    }
    return r;
}

struct podstate *pleg_state(struct kubelet *k, struct str uid)
{
    struct pod_record *r = map_get(&k->records, uid);
    return r ? podstate_ref(r->state) : NULL;
}

void pleg_forget_all(struct kubelet *k)
{
    map_done_with(&k->records, record_free);
}

/* ---- the end of a process -------------------------------------------------------------------------------- */

struct watch {
    struct kubelet *k;
    char *uid, *id;
    int pid;
};

static bool still_running(struct kubelet *k, const char *uid, const char *id)
{
    struct pod_record *r = map_get(&k->records, str_of(uid));
    const struct rt_container *c = r ? podstate_find_id(r->state, str_of(id)) : NULL;
    return c && c->state == RT_RUNNING;
}

static void forget_watch(struct watch *w)
{
    struct pod_record *r = map_get(&w->k->records, str_of(w->uid));
    if (r)
        free(map_del(&r->watched, str_of(w->id)));
}

static void watch_free(struct watch *w)
{
    free(w->uid);
    free(w->id);
    free(w);
}

/* The runtime hears of it a moment later than we do. Stands outside of the record's group: it looks at the Pod anew,
 * which may end the watches of the record. */
static void ended_fiber(void *arg)
{
    static const int wait_ms[] = {0, 2, 5, 10, 20, 50, 100, 200, 500, 1000};
    struct watch *w = arg;
    for (size_t i = 0; i < ARRAY_SIZE(wait_ms); i++) {
        if (wait_ms[i] && fiber_sleep(MILLISECONDS(wait_ms[i])) < 0)
            break;
        if (pleg_refresh(w->k, str_of(w->uid), NULL) == 0 && !still_running(w->k, w->uid, w->id))
            break;
    }
    forget_watch(w); /* when it still runs, it is not where we look: it can only be asked for */
    waitq_wake_all(&w->k->relist_wanted);
    watch_free(w);
}

static void watch_fiber(void *arg)
{
    struct watch *w = arg;
    int r = w->k->host->ops->wait_process(w->k->host, w->pid, MONO_NEVER);
    if (r == 0 || r == -ESRCH) {
        group_spawn(&w->k->fibers, "container-ended", ended_fiber, w);
        return;
    }
    if (r != -ECANCELED) {
        forget_watch(w);
        waitq_wake_all(&w->k->relist_wanted);
    }
    watch_free(w);
}

static void watch_running(struct kubelet *k, struct pod_record *r, struct str uid)
{
    for (size_t i = 0; r->state && i < r->state->n_containers; i++) {
        const struct rt_container *c = &r->state->containers[i];
        if (c->state != RT_RUNNING || c->pid <= 0 || map_has(&r->watched, c->id))
            continue;
        struct watch *w = NEW(struct watch);
        *w = (struct watch){.k = k, .uid = str_dup(uid), .id = str_dup(c->id), .pid = c->pid};
        map_put(&r->watched, c->id, xstrdup(""));
        group_spawn(&r->watchers, "container-watch", watch_fiber, w);
    }
}

/* Does anything run whose end nobody would tell us? */
static bool must_ask(struct kubelet *k)
{
    if (k->events_work)
        return false;
    MAP_EACH (&k->records, e) {
        const struct pod_record *r = e->value;
        for (size_t i = 0; r->state && i < r->state->n_containers; i++)
            if (r->state->containers[i].state == RT_RUNNING && !map_has(&r->watched, r->state->containers[i].id))
                return true;
    }
    return false;
}

/* ---- one Pod --------------------------------------------------------------------------------------------- */

static struct str uid_of(const struct val *item)
{
    return val_str(val_key(val_get(item, N_labels), STR(CRI_LABEL_POD_UID)));
}

static uint64_t mix(uint64_t h, struct str id, int64_t state)
{
    return (h ^ str_hash(id) ^ (uint64_t)state) * UINT64_C(0x100000001b3);
}

/* The order of a list means nothing. */
static uint64_t signature(struct str uid, const struct val *sandboxes, const struct val *containers)
{
    uint64_t h = 0;
    VAL_EACH (sandboxes, s)
        if (str_eq(uid_of(s), uid))
            h += mix(1, val_getstr(s, N_id), val_int(val_get(s, N_state), 0));
    VAL_EACH (containers, c)
        if (str_eq(uid_of(c), uid))
            h += mix(2, val_getstr(c, N_id), val_int(val_get(c, N_state), 0));
    return h;
}

static int look_at(struct kubelet *k, struct str uid, uint64_t sign, const struct val *sandboxes,
                   const struct val *containers, struct err *e)
{
    struct podstate *state = NULL;
    int rc = runtime_pod_state(k->rt, uid, sandboxes, containers, &state, e);
    if (rc != 0)
        return rc;
    if (state)
        state_read_messages(k, state);
    struct pod_record *r = record_of(k, uid);
    podstate_unref(r->state);
    r->state = state;
    r->signature = sign;
    watch_running(k, r, uid);
    struct worker *w = worker_find(k, uid);
    if (w) {
        podstate_forgive_cut_starts(state, pod_status(worker_pod(w)), k->started_wall);
        worker_set_state(w, state);
    }
    if (!state) {
        unwatch_all(r);
        if (map_get(&k->records, uid) == r && !r->state) {
            map_del(&k->records, uid);
            free(r);
        }
    }
    return 0;
}

int pleg_refresh(struct kubelet *k, struct str uid, struct err *e)
{
    struct arena a = ARENA_INIT;
    const struct val *sandboxes, *containers;
    struct str mine = arena_str(&a, uid);
    int rc = fmutex_lock(&k->relisting);
    if (rc < 0) {
        arena_done(&a);
        return rc;
    }
    rc = runtime_list(k->rt, mine, &a, &sandboxes, &containers, e);
    if (rc == 0)
        rc = look_at(k, mine, signature(mine, sandboxes, containers), sandboxes, containers, e);
    fmutex_unlock(&k->relisting);
    arena_done(&a);
    return rc;
}

/* ---- all of them ----------------------------------------------------------------------------------------- */

/* uids of both lists and of the records, each once. */
static void collect(struct kubelet *k, const struct val *sandboxes, const struct val *containers, struct map *ret)
{
    static char seen;
    VAL_EACH (sandboxes, s)
        map_put(ret, uid_of(s), &seen);
    VAL_EACH (containers, c)
        map_put(ret, uid_of(c), &seen);
    MAP_EACH (&k->records, r)
        map_put(ret, r->key, &seen);
}

int pleg_relist(struct kubelet *k, struct err *e)
{
    struct mono began = os_mono();
    struct arena a = ARENA_INIT;
    const struct val *sandboxes, *containers;
    struct map uids = MAP_INIT;
    int rc = fmutex_lock(&k->relisting);
    if (rc < 0)
        return rc;
    rc = runtime_list(k->rt, STR_NULL, &a, &sandboxes, &containers, e);
    if (rc == 0)
        collect(k, sandboxes, containers, &uids);
    MAP_EACH (&uids, u) {
        if (rc != 0 || !u->key.n)
            continue;
        uint64_t sign = signature(u->key, sandboxes, containers);
        struct pod_record *r = map_get(&k->records, u->key);
        if (r ? r->signature != sign : sign != 0)
            rc = look_at(k, u->key, sign, sandboxes, containers, e);
    }
    map_done(&uids);
    fmutex_unlock(&k->relisting);
    arena_done(&a);
    if (rc == 0) {
        bool first = !k->relisted;
        k->relisted = true;
        k->relisted_at = os_mono();
        metrics_relisted(k, k->relisted_at.ns - began.ns);
        if (first)
            node_touch(k);
        sources_reconcile(k);
    }
    return rc;
}

static void note_health(struct kubelet *k, int rc, const struct err *e)
{
    bool ready = rc == 0;
    if (rc < 0 || ready == k->runtime_ready)
        return;
    k->runtime_ready = ready;
    if (ready)
        log_info(LOG, "the container runtime answers");
    else
        log_error(LOG, "the container runtime does not answer: %s", err_text(e, -EIO));
    node_touch(k);
}

static void events_fiber(void *arg)
{
    struct kubelet *k = arg;
    for (;;) {
        struct arena a = ARENA_INIT;
        struct err e = {{0}};
        struct str uid = STR_NULL;
        int rc = k->rt->ops->wait_event(k->rt, MONO_NEVER, &a, &uid, &e);
        if (rc == 0 && uid.n)
            pleg_refresh(k, uid, NULL);
        else if (rc == 0)
            pleg_relist(k, NULL);
        arena_done(&a);
        if (rc == GRPC_UNIMPLEMENTED) {
            k->events_work = false;
            waitq_wake_all(&k->relist_wanted);
        }
        if (rc == -ECANCELED || rc == GRPC_UNIMPLEMENTED || (rc > 0 && fiber_sleep(SECONDS(1)) < 0))
            return;
    }
}

void pleg_run(void *arg)
{
    struct kubelet *k = arg;
    k->events_work = true;
    group_spawn(&k->fibers, "runtime-events", events_fiber, k);
    while (!fiber_cancelled()) {
        struct err e = {{0}};
        int rc = pleg_relist(k, &e);
        note_health(k, rc, &e);
        int64_t pause = rc != 0 || must_ask(k) ? RELIST_FAST : RELIST_SLOW;
        waitq_wait(&k->relist_wanted, mono_add(os_mono(), pause));
    }
}
