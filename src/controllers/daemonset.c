/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/daemonset.h"

#include "base/map.h"
#include "controllers/own.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

#define HASH_LABEL "controller-revision-hash"

/* Pods made or deleted in one go, and back-off of failed ones, as upstream. */
enum { BURST = 250, BACKOFF_SECONDS = 1, BACKOFF_MAX_SECONDS = 15 * 60 };

/* ---- failed pods: a kubelet that refuses one refuses the next as well --------------------------------- */

struct backoff {
    int64_t wait, last;
};

struct backoffs {
    struct map map; /* struct backoff by "uid/generation/node" */
    size_t sweep_at;
};

static void *backoffs_new(const struct controllers_config *config)
{
    return NEW(struct backoffs);
}

static void backoffs_free(void *state)
{
    struct backoffs *b = state;
    map_done_with(&b->map, free);
    free(b);
}

static bool is_forgotten(const struct backoff *b, struct wall now)
{
    return now.ns - b->last > 2 * SECONDS(BACKOFF_MAX_SECONDS);
}

static void sweep(struct backoffs *all, struct wall now)
{
    MAP_EACH (&all->map, e)
        if (is_forgotten(e->value, now))
            free(map_del(&all->map, e->key));
    all->sweep_at = all->map.n * 2 + 64;
}

/* How long the failed pod on that node has to stay; 0: it may go now, which is remembered. */
static int64_t wait_with(const struct daemon *d, struct str node)
{
    struct backoffs *all = d->w->state;
    int64_t generation = val_int(val_at(d->set->val, N_status, N_observedGeneration), 0);
    struct str key = arena_printf(d->w->arena, STR_FMT "/%lld/" STR_FMT, STR_ARG(d->set->uid),
                                  (long long)generation, STR_ARG(node));
    struct backoff *b = map_get(&all->map, key);
    int64_t passed = b ? d->now.ns - b->last : 0;
    if (b && !is_forgotten(b, d->now) && passed >= 0 && passed < b->wait)
        return b->wait - passed;
    if (all->map.n >= all->sweep_at)
        sweep(all, d->now);
    b = map_get(&all->map, key);
    bool again = b && !is_forgotten(b, d->now);
    int64_t wait = again ? MIN(b->wait * 2, SECONDS(BACKOFF_MAX_SECONDS)) : SECONDS(BACKOFF_SECONDS);
    if (!b) {
        b = NEW(struct backoff);
        map_put(&all->map, key, b);
    }
    *b = (struct backoff){wait, d->now.ns};
    return 0;
}

/* ---- pods -------------------------------------------------------------------------------------------- */

bool daemon_is_available(const struct daemon *d, const struct object *pod)
{
    return pod_available(pod->val, d->min_ready, d->now);
}

/* By the hash of its template, or by the number of templates that there were once instead. */
bool daemon_is_updated(const struct daemon *d, const struct object *pod)
{
    struct str hash = obj_label(pod->val, STR(HASH_LABEL));
    struct str generation = obj_annotation(d->set->val, STR("deprecated.daemonset.template.generation"));
    return (!str_empty(hash) && str_eq(hash, d->current->hash)) ||
           (!str_empty(generation) &&
            str_eq(obj_label(pod->val, STR("pod-template-generation")), generation));
}

void daemon_delete(struct daemon *d, const struct object *pod)
{
    objects_add(d->w->arena, &d->to_delete, pod);
}

void daemon_create(struct daemon *d, struct str node)
{
    d->to_create[d->n_create++] = node;
}

/* Those bound before those only pinned, then by age. */
static int by_weight(const struct object *a, const struct object *b)
{
    bool bound_a = !str_empty(index_pod_node(a)), bound_b = !str_empty(index_pod_node(b));
    int64_t ta = val_time(val_get(a->meta, N_creationTimestamp)).ns;
    int64_t tb = val_time(val_get(b->meta, N_creationTimestamp)).ns;
    if (bound_a != bound_b)
        return bound_a ? -1 : 1;
    if (ta != tb)
        return ta < tb ? -1 : 1;
    return str_cmp(a->name, b->name);
}

/* ---- who is where ------------------------------------------------------------------------------------ */

struct targeted {
    struct str node;
    const struct object *pod;
};

static int by_target(const void *pa, const void *pb)
{
    const struct targeted *a = pa, *b = pb;
    return str_cmp(a->node, b->node) ?: by_weight(a->pod, b->pod);
}

/* Pods by node. Those that have ended and are being deleted are left out: nothing remains to be done with
 * them. */
static size_t by_node(struct daemon *d, struct targeted *ret)
{
    size_t n = 0;
    for (size_t i = 0; i < d->pods.n; i++) {
        const struct object *pod = d->pods.items[i];
        if (pod_finished(pod->val) && obj_deleting(pod->val))
            continue;
        struct str node = daemon_target(pod->val);
        if (!str_empty(node))
            ret[n++] = (struct targeted){node, pod};
    }
    qsort(ret, n, sizeof(*ret), by_target);
    return n;
}

/* The pods from `at` on; how many of them are there is returned. */
static size_t add_stop(struct daemon *d, struct str name, const struct object *node,
                       const struct targeted *pods, const struct object **sorted, size_t at, size_t n)
{
    struct stop *s = &d->stops[d->n_stops++];
    *s = (struct stop){.node = node, .name = name, .pods = sorted + at};
    while (at + s->n < n && str_eq(pods[at + s->n].node, name))
        s->n++;
    if (node)
        s->fit = daemon_fit(&d->needs, node);
    d->wanted += s->fit.run;
    return s->n;
}

static void look_at_nodes(struct daemon *d)
{
    struct arena *a = d->w->arena;
    const struct tree *nodes = snapshot_tree(d->world, &resources[RES_NODES]);
    struct targeted *pods = ARENA_ARRAY(a, struct targeted, d->pods.n);
    size_t n = by_node(d, pods), at = 0;
    const struct object **sorted = ARENA_ARRAY(a, const struct object *, n);
    for (size_t i = 0; i < n; i++)
        sorted[i] = pods[i].pod;
    d->stops = ARENA_ARRAY(a, struct stop, tree_count(nodes) + n);
    struct tree_iter it;
    for (tree_seek(&it, nodes, STR_NULL); it.object; tree_next(&it)) { /* in the order of names, too */
        while (at < n && str_cmp(pods[at].node, it.object->name) < 0)
            at += add_stop(d, pods[at].node, NULL, pods, sorted, at, n);
        at += add_stop(d, it.object->name, it.object, pods, sorted, at, n);
    }
    while (at < n)
        at += add_stop(d, pods[at].node, NULL, pods, sorted, at, n);
    d->to_create = ARENA_ARRAY(a, struct str, d->n_stops);
}

/* ---- revisions --------------------------------------------------------------------------------------- */

/* Of a time before there were hashes: the name does. True when something had to be written first. */
static bool label_revisions(struct daemon *d)
{
    struct arena *a = d->w->arena;
    bool any = false;
    for (size_t i = 0; i < d->history.n; i++) {
        const struct object *o = d->history.items[i].object;
        if (!str_empty(obj_label(o->val, STR(HASH_LABEL))))
            continue;
        struct val *meta, *v = with_meta(a, o, &meta);
        val_put_str(a, own_map(a, meta, N_labels), STR(HASH_LABEL), o->name);
        writes_update(d->w, o->res, v);
        any = true;
    }
    return any;
}

static void relabel_pods(struct daemon *d, struct str from)
{
    for (size_t i = 0; i < d->pods.n; i++) {
        const struct object *pod = d->pods.items[i];
        if (!str_eq(obj_label(pod->val, STR(HASH_LABEL)), from))
            continue;
        struct write *x = writes_add(d->w, WRITE_PATCH, pod->res, pod->namespace_, pod->name);
        x->may_fail = 404;
        x->patch =
            arena_printf(d->w->arena, "{\"metadata\":{\"labels\":{\"" HASH_LABEL "\":\"" STR_FMT "\"}}}",
                         STR_ARG(d->current->hash));
    }
}

/* Two writers made the same revision once: the younger one stays and takes over the other's pods. */
static bool drop_doubles(struct daemon *d)
{
    bool any = false;
    for (size_t i = 0; i < d->history.n; i++) {
        const struct revision *r = &d->history.items[i];
        if (r == d->current || !r->object || r->going || !str_eq(r->data, d->current->data))
            continue;
        relabel_pods(d, r->hash);
        writes_delete(d->w, r->object);
        any = true;
    }
    return any;
}

static int64_t next_number(const struct daemon *d)
{
    int64_t max = 0;
    for (size_t i = 0; i < d->history.n; i++)
        if (&d->history.items[i] != d->current)
            max = MAX(max, d->history.items[i].number);
    return max + 1;
}

/* False when the history has to be put in order before anything else. */
static bool look_at_history(struct daemon *d, const struct selector *selector)
{
    const struct val *template = val_get(d->spec, N_template);
    history_load(&d->history, d->world, d->set, selector, d->w);
    if (label_revisions(d))
        return false;
    d->current = history_of(&d->history, template);
    if (!d->current)
        d->current = history_make(&d->history, history_data(d->w->arena, template), next_number(d));
    else if (drop_doubles(d))
        return false;
    else if (d->current->number < next_number(d))
        history_renumber(&d->history, d->current, next_number(d));
    return true;
}

static bool is_live(void *arg, const struct revision *r)
{
    const struct daemon *d = arg;
    if (r == d->current)
        return true;
    for (size_t i = 0; i < d->pods.n; i++)
        if (str_eq(obj_label(d->pods.items[i]->val, STR(HASH_LABEL)), r->hash))
            return true;
    return false;
}

/* ---- each node --------------------------------------------------------------------------------------- */

/* True when the pod has ended, and what is to be done about that is done. */
static bool bury(struct daemon *d, const struct stop *s, const struct object *pod)
{
    bool failed = str_is(pod_phase(pod->val), "Failed");
    if (!pod_finished(pod->val))
        return false;
    int64_t wait = failed && d->w->state ? wait_with(d, s->name) : 0;
    if (wait > 0)
        writes_again(d->w, wait);
    if (wait > 0 || !d->w->state)
        return true;
    writes_event(d->w, d->set->res, d->set->val, failed, failed ? "FailedDaemonPod" : "SucceededDaemonPod",
                 "Found %s daemon pod " STR_FMT "/" STR_FMT " on node " STR_FMT ", will try to %s it",
                 failed ? "failed" : "succeeded", STR_ARG(pod->namespace_), STR_ARG(pod->name),
                 STR_ARG(s->name), failed ? "kill" : "delete");
    daemon_delete(d, pod);
    return true;
}

/* Two pods may run while the new one is not ready and the old one is; else the new one alone. */
static void thin_out_surge(struct daemon *d, const struct objects *running)
{
    const struct object *updated = NULL, *old = NULL;
    for (size_t i = 0; i < running->n; i++) {
        const struct object *pod = running->items[i];
        bool now = str_eq(obj_label(pod->val, STR(HASH_LABEL)), d->current->hash);
        const struct object **at = now ? &updated : &old;
        if (*at)
            daemon_delete(d, pod);
        else
            *at = pod;
    }
    if (updated && old && (!pod_ready(old->val) || daemon_is_available(d, updated)))
        daemon_delete(d, old);
}

static void tend(struct daemon *d, const struct stop *s)
{
    struct objects running = {0};
    for (size_t i = 0; i < s->n; i++)
        if (!obj_deleting(s->pods[i]->val) && !bury(d, s, s->pods[i]))
            objects_add(d->w->arena, &running, s->pods[i]);
    if (daemon_max_surge(d, 1) == 0) {
        for (size_t i = 1; i < running.n; i++)
            daemon_delete(d, running.items[i]);
    } else if (running.n == 0 && s->fit.run) {
        daemon_create(d, s->name);
    } else if (running.n > 1) {
        thin_out_surge(d, &running);
    }
}

static void leave(struct daemon *d, const struct stop *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct object *pod = s->pods[i];
        bool bound = !str_empty(index_pod_node(pod)); /* a bound one without a node is the pod collector's */
        if (!obj_deleting(pod->val) && (s->node || !bound))
            daemon_delete(d, pod);
    }
}

static void manage(struct daemon *d)
{
    for (size_t i = 0; i < d->n_stops; i++) {
        const struct stop *s = &d->stops[i];
        if (s->fit.run && s->n == 0)
            daemon_create(d, s->name);
        else if (s->fit.stay)
            tend(d, s);
        else
            leave(d, s);
    }
}

static void write_pods(struct daemon *d)
{
    for (size_t i = 0; i < MIN(d->to_delete.n, (size_t)BURST); i++)
        writes_delete_pod(d->w, d->to_delete.items[i], d->set);
    for (size_t i = 0; i < MIN(d->n_create, (size_t)BURST); i++)
        writes_create_pod(d->w, daemon_template(d, d->to_create[i]), d->set);
}

/* ---- status ------------------------------------------------------------------------------------------ */

struct counts {
    int64_t desired, current, misscheduled, ready, updated, available;
};

static struct counts count(const struct daemon *d)
{
    struct counts n = {.desired = d->wanted};
    for (size_t i = 0; i < d->n_stops; i++) {
        const struct stop *s = &d->stops[i];
        if (!s->node || s->n == 0)
            continue;
        if (!s->fit.run) {
            n.misscheduled++;
            continue;
        }
        n.current++;
        n.ready += pod_ready(s->pods[0]->val);
        n.available += daemon_is_available(d, s->pods[0]);
        n.updated += daemon_is_updated(d, s->pods[0]);
    }
    return n;
}

static void write_status(struct daemon *d)
{
    struct arena *a = d->w->arena;
    struct counts n = count(d);
    struct val *status, *v = with_status(a, d->set, &status);
    val_set_ref(a, status, N_observedGeneration, val_get(d->set->meta, N_generation));
    set_count(a, status, N_desiredNumberScheduled, n.desired);
    set_count(a, status, N_currentNumberScheduled, n.current);
    set_count(a, status, N_numberMisscheduled, n.misscheduled);
    set_count(a, status, N_numberReady, n.ready);
    set_count(a, status, N_updatedNumberScheduled, n.updated);
    set_count(a, status, N_numberAvailable, n.available);
    set_count(a, status, N_numberUnavailable, n.desired - n.available);
    if (d->history.collisions >= 0)
        val_set_int(a, status, N_collisionCount, d->history.collisions);
    if (n.ready != n.available)
        writes_again(d->w, pods_next_available(&d->pods, d->min_ready, d->now)
                               ?: SECONDS(MAX(d->min_ready, (int64_t)1)));
    if (!val_equal(status, val_get(d->set->val, N_status)))
        writes_update_status(d->w, d->set->res, v);
}

/* ---- reconcile --------------------------------------------------------------------------------------- */

static bool refuse_empty_selector(struct daemon *d, const struct selector *selector)
{
    if (selector->n > 0 || selector->nothing)
        return false;
    writes_event(d->w, d->set->res, d->set->val, true, "SelectingAll",
                 "This daemon set is selecting all pods. A non-empty selector is required.");
    return true;
}

/* What pods still have counts toward the limit here, unlike that of a StatefulSet. */
static void truncate_history(struct daemon *d)
{
    int64_t limit = val_int(val_get(d->spec, N_revisionHistoryLimit), 10);
    for (size_t i = 0; i < d->history.n; i++)
        limit -= &d->history.items[i] != d->current && is_live(d, &d->history.items[i]);
    history_truncate(&d->history, MAX(limit, (int64_t)0), is_live, d);
}

static void decide(struct daemon *d)
{
    manage(d);
    if (d->to_delete.n == 0 && d->n_create == 0)
        daemon_roll(d);
    write_pods(d);
    write_status(d);
    truncate_history(d);
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    struct selector selector;
    struct daemon d = {.world = world,
                       .set = snapshot_get(world, &resources[RES_DAEMONSETS], key.ns, key.name),
                       .now = now,
                       .w = w};
    if (!d.set || obj_deleting(d.set->val) || owner_selector(w->arena, d.set, &selector) < 0 ||
        refuse_empty_selector(&d, &selector))
        return 0;
    d.spec = val_get(d.set->val, N_spec);
    d.min_ready = val_int(val_get(d.spec, N_minReadySeconds), 0);
    d.rolling = !str_is(val_str(val_at(d.spec, N_updateStrategy, N_type)), "OnDelete");
    daemon_needs_read(w->arena, d.set, &d.needs);
    claim_children(world, &resources[RES_PODS], d.set, &selector, false, w, &d.pods);
    if (!look_at_history(&d, &selector))
        return 0;
    look_at_nodes(&d);
    decide(&d);
    return 0;
}

static void refused(const struct snapshot *world, struct key key, const struct write *w,
                    const struct status *why, struct wall now, struct writes *ret)
{
    if (w->verb == WRITE_UPDATE_STATUS || w->res == &resources[RES_CONTROLLERREVISIONS])
        return;
    ret->state = NULL; /* what was remembered of failed pods is so already */
    reconcile(world, key, now, ret);
    writes_keep_status(ret);
}

/* ---- keys -------------------------------------------------------------------------------------------- */

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    const struct object *o = new_ ? new_ : old;
    if (res == &resources[RES_DAEMONSETS])
        sink(arg, (struct key){o->namespace_, o->name});
    else if (res == &resources[RES_NODES])
        keys_of_node(world, old, new_, sink, arg);
    else if (res == &resources[RES_PODS] ? !pods_alike(old, new_) : old != NULL)
        keys_of_owners(world, &resources[RES_DAEMONSETS], old, new_, sink, arg);
}

const struct controller daemonset_controller = {
    .name = "daemonset-controller",
    .alias = "daemonset",
    .account = "daemon-set-controller",
    .reads = (const uint16_t[]){RES_DAEMONSETS, RES_PODS, RES_NODES, RES_CONTROLLERREVISIONS, 0},
    .workers = 2,
    .keys_of = keys_of,
    .reconcile = reconcile,
    .refused = refused,
    .state_new = backoffs_new,
    .state_free = backoffs_free,
};
