/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/witness.h"

#include "base/os.h"
#include "client/replica.h"
#include "resources.h"
#include "sim/world.h"
#include "store/store.h"
#include "type/meta.h"

enum { EXCUSE_SECONDS = 60 };

/* ---- history: what was -------------------------------------------------------------------------------------------- */

static void *one_more(void **items, size_t *n, size_t *cap, size_t size)
{
    if (*n == *cap) {
        *cap = MAX(*cap * 2, (size_t)1024);
        *items = xrealloc(*items, *cap * size);
    }
    return (char *)*items + (*n)++ * size;
}

static struct happened happened_of(const struct store_event *e)
{
    return (struct happened){
        .revision = e->modified.n,
        .key = str_hash(e->key),
        .value = e->deleted ? 0 : str_hash(e->value) | 1,
        .lazy = str_starts(e->key, STR("/registry/leases/")),
    };
}

static int64_t newest(const struct historian *h)
{
    return h->n ? h->log[h->n - 1].revision : 0;
}

static void note(struct historian *h, const struct store_event *e)
{
    if (e->modified.n < newest(h))
        truth_violated(h->truth, "the store tells of revision %lld after %lld", (long long)e->modified.n,
                       (long long)newest(h));
    struct happened x = happened_of(e);
    sim_trace_mix(x.key ^ x.value ^ (uint64_t)x.revision);
    *(struct happened *)one_more((void **)&h->log, &h->n, &h->cap, sizeof(*h->log)) = x;
}

void historian_acknowledged(void *arg, uint16_t verb UNUSED, const struct call *call, const struct val *answer)
{
    struct historian *h = arg;
    int64_t rev = obj_revision(answer);
    if (call->res->index == RES_LEASES || !call->res->stored || !rev)
        return;
    *(int64_t *)one_more((void **)&h->acknowledged, &h->n_acknowledged, &h->cap_acknowledged, sizeof(int64_t)) = rev;
}

/* ---- history: what is ---------------------------------------------------------------------------------------------- */

/* The events that the store has now, after `after` and up to `upto`. */
struct reread {
    struct happened *log;
    size_t n, cap;
};

/* Everything committed so far, at once. */
static void reread_all(struct store_watch *w, revision upto, struct reread *r)
{
    const struct store_event *events;
    revision progress = {0};
    size_t n;
    while (progress.n < upto.n && store_watch_next(w, os_mono(), &events, &n, &progress) == 0)
        for (size_t i = 0; i < n; i++)
            *(struct happened *)one_more((void **)&r->log, &r->n, &r->cap, sizeof(*r->log)) = happened_of(&events[i]);
}

static bool same(const struct happened *a, const struct happened *b)
{
    return a->revision == b->revision && a->key == b->key;
}

/* Walks both histories in step. What is told of one revision comes in one order. */
static void compare(struct historian *h, const struct reread *r, int64_t after)
{
    size_t i = 0, k = 0;
    int64_t known = newest(h);
    while (i < h->n && h->log[i].revision <= after)
        i++;
    while (i < h->n || (k < r->n && r->log[k].revision <= known)) {
        const struct happened *was = i < h->n ? &h->log[i] : NULL;
        const struct happened *is = k < r->n && r->log[k].revision <= known ? &r->log[k] : NULL;
        if (was && is && same(was, is)) {
            if (was->value != is->value)
                truth_violated(h->truth, "revision %lld is another one after a crash", (long long)was->revision);
            h->checked++;
            i++;
            k++;
        } else if (was && (!is || was->revision <= is->revision)) {
            if (!was->lazy)
                truth_violated(h->truth, "revision %lld was seen and is lost", (long long)was->revision);
            i++;
        } else {
            truth_violated(h->truth, "revision %lld was not there before the crash", (long long)is->revision);
            k++;
        }
    }
}

static bool has_revision(const struct reread *r, int64_t rev)
{
    size_t low = 0, high = r->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (r->log[middle].revision < rev)
            low = middle + 1;
        else
            high = middle;
    }
    return low < r->n && r->log[low].revision == rev;
}

static void check_promises(struct historian *h, const struct reread *r, int64_t after)
{
    for (size_t i = 0; i < h->n_acknowledged; i++) {
        if (h->acknowledged[i] <= after)
            continue;
        if (!has_revision(r, h->acknowledged[i]))
            truth_violated(h->truth, "the acknowledged write of revision %lld is lost", (long long)h->acknowledged[i]);
        h->promises++;
    }
    h->n_acknowledged = 0;
}

static void take_over(struct historian *h, const struct reread *r)
{
    int64_t known = newest(h);
    for (size_t k = 0; k < r->n; k++)
        if (r->log[k].revision > known)
            *(struct happened *)one_more((void **)&h->log, &h->n, &h->cap, sizeof(*h->log)) = r->log[k];
}

struct reading {
    struct historian *historian;
    struct store_watch *watch;
};

static void read_on(void *arg)
{
    struct reading *r = arg;
    const struct store_event *events;
    revision progress;
    size_t n;
    while (store_watch_next(r->watch, MONO_NEVER, &events, &n, &progress) == 0)
        for (size_t i = 0; i < n; i++)
            note(r->historian, &events[i]);
    store_watch_close(r->watch);
    free(r);
}

void historian_begin(struct historian *h, struct store *s)
{
    struct reread seen = {0};
    struct reading *reading = NEW(struct reading);
    revision now = store_revision(s), after = store_compacted(s);
    if (now.n < newest(h))
        truth_violated(h->truth, "the store went back from revision %lld to %lld", (long long)newest(h), (long long)now.n);
    *reading = (struct reading){.historian = h};
    after.n = MAX(after.n, (int64_t)1); /* nothing is written in revision 1, and 0 would mean "from now" */
    int r = store_watch(s, STR("/"), STR("0"), after, false, &reading->watch);
    if (r != 0) {
        truth_violated(h->truth, "the store's history cannot be read: %d", r);
        free(reading);
        return;
    }
    reread_all(reading->watch, now, &seen);
    compare(h, &seen, after.n);
    check_promises(h, &seen, after.n);
    take_over(h, &seen);
    free(seen.log);
    h->store = s;
    group_spawn(&h->fibers, "historian", read_on, reading);
}

void historian_pause(struct historian *h)
{
    group_stop(&h->fibers);
    h->store = NULL;
}

void historian_done(struct historian *h)
{
    free(h->log);
    free(h->acknowledged);
}

/* ---- pods ------------------------------------------------------------------------------------------------------------ */

struct pod_seen {
    char *node;
    char phase[16];
    int64_t revision;
    bool available, deleting;
};

static void seen_free(void *p)
{
    struct pod_seen *s = p;
    free(s->node);
    free(s);
}

static struct pod_seen *seen_of(struct watcher *w, const struct object *o)
{
    struct pod_seen *s = map_get(&w->pods, o->uid);
    if (s)
        return s;
    s = NEW(struct pod_seen);
    map_put(&w->pods, o->uid, s);
    sim_trace("pod " STR_FMT " made", STR_ARG(o->name));
    return s;
}

static void check_binding(struct watcher *w, struct pod_seen *s, const struct object *o)
{
    struct str node = val_str(val_at(o->val, N_spec, N_nodeName));
    if (s->node && !str_is(node, s->node)) {
        truth_violated(w->truth, "pod " STR_FMT " was bound to %s and now to " STR_FMT, STR_ARG(o->name), s->node,
                       STR_ARG(node));
    } else if (!s->node && node.n) {
        s->node = str_dup(node);
        w->bindings++;
        sim_trace("pod " STR_FMT " bound to " STR_FMT, STR_ARG(o->name), STR_ARG(node));
    }
}

static void check_phase(struct pod_seen *s, const struct object *o)
{
    struct str phase = val_str(val_at(o->val, N_status, N_phase));
    if (str_is(phase, s->phase) || phase.n >= sizeof(s->phase))
        return;
    memcpy(s->phase, phase.p, phase.n);
    s->phase[phase.n] = 0;
    sim_trace("pod " STR_FMT " %s", STR_ARG(o->name), s->phase);
}

void watcher_excuse(struct watcher *w, size_t pods, int64_t ns)
{
    struct mono until = mono_add(os_mono(), ns);
    w->excused += pods;
    w->excused_until.ns = MAX(w->excused_until.ns, until.ns);
}

static bool excuses_are_old(const struct watcher *w)
{
    return os_mono().ns > w->excused_until.ns;
}

/* One available pod less. Whose doing? The Deployment's is that it was marked for deletion. */
static void check_loss(struct watcher *w, const struct object *o, bool deleted)
{
    if (!w->replicas)
        return;
    if (!deleted) {
        watcher_excuse(w, 1, SECONDS(EXCUSE_SECONDS));
        return;
    }
    if (w->available >= w->available_min && excuses_are_old(w))
        w->excused = 0;
    if (w->available + w->excused < w->available_min)
        truth_violated(w->truth, "%zu of %zu pods are available, %zu were lost, %zu must be: " STR_FMT " was deleted",
                       w->available, w->replicas, w->excused, w->available_min, STR_ARG(o->name));
}

static void check_availability(struct watcher *w, struct pod_seen *s, const struct object *o, bool gone)
{
    bool deleting = gone || obj_deleting(o->val);
    bool ready = condition_is(val_at(o->val, N_status, N_conditions), STR("Ready"), "True");
    bool available = ready && !deleting, was = s->available;
    if (deleting && !s->deleting) {
        w->deletions++;
        sim_trace("pod " STR_FMT " to be deleted", STR_ARG(o->name));
    }
    s->deleting = deleting;
    if (available == was)
        return;
    s->available = available;
    w->available += available ? 1 : -(size_t)1;
    sim_trace("pod " STR_FMT " %s (%zu)", STR_ARG(o->name), available ? "ready" : "not ready", w->available);
    if (!available)
        check_loss(w, o, deleting);
    w->least = MIN(w->least, w->available);
}

static void check_revision(struct watcher *w, struct pod_seen *s, const struct object *o)
{
    if (o->revision <= s->revision)
        truth_violated(w->truth, "pod " STR_FMT " goes from revision %lld to %lld", STR_ARG(o->name),
                       (long long)s->revision, (long long)o->revision);
    s->revision = o->revision;
}

static void pod_changed(void *arg, const struct resource *res UNUSED, const struct object *old, const struct object *new_)
{
    struct watcher *w = arg;
    const struct object *o = new_ ? new_ : old;
    if (!str_is(o->namespace_, w->ns))
        return;
    struct pod_seen *s = seen_of(w, o);
    if (new_ && o->revision == s->revision)
        return; /* listed again after a crash */
    if (new_) {
        check_revision(w, s, o);
        check_binding(w, s, o);
        check_phase(s, o);
    }
    check_availability(w, s, o, !new_);
    if (!new_) {
        sim_trace("pod " STR_FMT " gone", STR_ARG(o->name));
        seen_free(map_del(&w->pods, o->uid));
    }
}

/* What was there before the crash and is not listed any more went while nobody looked. */
static void drop_missing(struct watcher *w)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct map present CLEANUP(map_done) = MAP_INIT;
    TREE_EACH(replica_tree(w->replica, &resources[RES_PODS]), str_of(w->ns), it)
        map_put(&present, it.object->uid, w);
    char **gone = ARENA_ARRAY(&a, char *, w->pods.n + 1), **next = gone;
    MAP_EACH(&w->pods, e)
        if (!map_has(&present, e->key))
            *next++ = arena_cstr(&a, e->key);
    for (; *gone; gone++) {
        struct pod_seen *s = map_del(&w->pods, str_of(*gone));
        w->available -= s->available;
        if (s->available)
            w->excused++;
        seen_free(s);
    }
}

void watcher_begin(struct watcher *w, struct client *c)
{
    const struct replica_kind kinds[] = {{.res = &resources[RES_PODS]}};
    w->replica = replica_new(c, kinds, ARRAY_SIZE(kinds));
    replica_on_change(w->replica, pod_changed, w);
    replica_start(w->replica);
    replica_wait_synced(w->replica, MONO_NEVER);
    drop_missing(w);
}

void watcher_pause(struct watcher *w)
{
    replica_free(TAKE_PTR(w->replica));
}

void watcher_expect(struct watcher *w, size_t replicas, size_t available_min)
{
    w->replicas = replicas;
    w->available_min = available_min;
    w->excused = 0;
    w->least = w->available;
}

void watcher_done(struct watcher *w)
{
    map_done_with(&w->pods, seen_free);
}
