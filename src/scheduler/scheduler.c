/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/scheduler.h"

#include "base/fiber.h"
#include "base/log.h"
#include "base/os.h"
#include "client/replica.h"
#include "names.h"
#include "resources.h"
#include "scheduler/preempt.h"
#include "scheduler/queue.h"
#include "type/meta.h"
#include "wire/json.h"

enum { MAX_BINDING = 256, DECISIONS_A_TURN = 32 };

struct scheduler {
    const struct scheduler_config *config;
    struct client *client;
    const char *name;
    struct replica *replica;
    struct event_recorder *events;
    struct table table;
    struct pod_queue queue;
    struct world world;
    struct group fibers;
    unsigned binding;        /* bindings and refusals being told */
    struct waitq work, told;
};

/* ---- following the cluster ------------------------------------------------------------------------------------- */

static bool has_ended(const struct val *pod)
{
    struct str phase = val_getstr(val_get(pod, N_status), N_phase);
    return str_is(phase, "Succeeded") || str_is(phase, "Failed");
}

static bool is_ours(const struct scheduler *s, const struct val *pod)
{
    struct str name = val_getstr(val_get(pod, N_spec), N_schedulerName);
    return str_is(name.n ? name : STR("default-scheduler"), s->name);
}

static bool waits_for_node(const struct scheduler *s, const struct object *pod)
{
    const struct val *spec = val_get(pod->val, N_spec);
    return !val_getstr(spec, N_nodeName).n && is_ours(s, pod->val) && !obj_deleting(pod->val) && !has_ended(pod->val) &&
           !val_len(val_get(spec, N_schedulingGates));
}

static void pod_changed(struct scheduler *s, const struct object *old, const struct object *new_)
{
    struct str node = new_ ? val_str(val_at(new_->val, N_spec, N_nodeName)) : STR_NULL;
    const struct object *any = new_ ? new_ : old;
    bool placed = new_ && node.n && !has_ended(new_->val);
    if (placed) {
        const struct needs *was = map_get(&s->table.placed, new_->uid);
        struct needs *n = needs_new(&s->table, new_);
        bool smaller = was && (n->cpu < was->cpu || n->memory < was->memory);
        table_place(&s->table, n, node);
        if (smaller) /* resized in place: there is more room */
            pod_queue_wake(&s->queue, os_mono());
    } else if (map_has(&s->table.placed, any->uid) && (!new_ || node.n || has_ended(new_->val))) {
        table_unplace(&s->table, any->uid); /* its room is free */
        pod_queue_wake(&s->queue, os_mono());
    }
    if (new_ && waits_for_node(s, new_)) {
        if (!map_has(&s->table.placed, new_->uid)) /* else it is assumed: the binding is on its way */
            pod_queue_put(&s->queue, new_, os_mono());
    } else {
        pod_queue_drop(&s->queue, any->uid);
        if (placed && old && !val_str(val_at(old->val, N_spec, N_nodeName)).n && s->table.n_anti + s->table.n_preferring)
            pod_queue_wake(&s->queue, os_mono()); /* a pod to be near to */
    }
}

/* Heartbeats change a node's status all the time; only what the predicates read is news. */
static bool node_differs(const struct object *a, const struct object *b)
{
    static const name_id spec[] = {N_unschedulable, N_taints};
    if (!a || !b)
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(spec); i++)
        if (!val_equal(val_at(a->val, N_spec, spec[i]), val_at(b->val, N_spec, spec[i])))
            return true;
    return !val_equal(val_at(a->val, N_status, N_allocatable), val_at(b->val, N_status, N_allocatable)) ||
           !val_equal(obj_labels(a->val), obj_labels(b->val));
}

static void changed(void *arg, const struct resource *res, const struct object *old, const struct object *new_)
{
    struct scheduler *s = arg;
    if (res->index == RES_PODS) {
        pod_changed(s, old, new_);
    } else if (res->index == RES_NODES) {
        table_node(&s->table, old, new_);
        if (new_ && node_differs(old, new_))
            pod_queue_wake(&s->queue, os_mono());
    }
    waitq_wake_all(&s->work);
}

/* ---- what decisions ask about the cluster ------------------------------------------------------------------------- */

static const struct val *labels_of_namespace(void *ctx, struct str ns)
{
    struct scheduler *s = ctx;
    const struct object *o = replica_get(s->replica, &resources[RES_NAMESPACES], STR_NULL, ns);
    return o ? obj_labels(o->val) : NULL;
}

static size_t owner_selector(struct scheduler *s, const struct object *pod, struct arena *a, struct selector *ret)
{
    static const uint16_t sets[] = {RES_REPLICASETS, RES_STATEFULSETS};
    const struct val *owner = obj_controller(pod->val);
    struct str kind = val_getstr(owner, N_kind), name = val_getstr(owner, N_name);
    for (size_t i = 0; owner && i < ARRAY_SIZE(sets); i++) {
        const struct object *o = replica_get(s->replica, &resources[sets[i]], pod->namespace_, name);
        if (str_is(kind, resources[sets[i]].kind) && o &&
            selector_from_val(a, val_at(o->val, N_spec, N_selector), ret, NULL) == 0)
            return 1;
    }
    const struct object *rc = str_is(kind, "ReplicationController")
        ? replica_get(s->replica, &resources[RES_REPLICATIONCONTROLLERS], pod->namespace_, name) : NULL;
    if (rc)
        selector_from_map(a, val_at(rc->val, N_spec, N_selector), ret);
    return rc != NULL;
}

static size_t default_selectors(void *ctx, const struct object *pod, struct arena *a, struct selector *ret, size_t max)
{
    struct scheduler *s = ctx;
    size_t n = owner_selector(s, pod, a, ret);
    TREE_EACH(replica_tree(s->replica, &resources[RES_SERVICES]), pod->namespace_, it)
    {
        const struct val *map = val_at(it.object->val, N_spec, N_selector);
        struct selector sel;
        if (!val_len(map) || n == max)
            continue;
        selector_from_map(a, map, &sel);
        if (selector_matches(&sel, obj_labels(pod->val)))
            ret[n++] = sel;
    }
    return n;
}

/* ---- telling ---------------------------------------------------------------------------------------------------------- */

/* A fact to be told to the API server by a fiber of its own. */
struct tell {
    struct scheduler *s;
    struct arena arena;
    const struct object *pod; /* referenced */
    struct str node;          /* bind to it; empty: tell why it does not fit */
    struct str message;
    struct str *victims;      /* "ns/name/uid": to be deleted first */
    size_t n_victims;
};

static struct tell *tell_new(struct scheduler *s, const struct object *pod)
{
    struct tell *t = NEW(struct tell);
    t->s = s;
    t->pod = object_ref(pod);
    return t;
}

static void tell_free(struct tell *t)
{
    object_unref((struct object *)t->pod);
    arena_done(&t->arena);
    t->s->binding--;
    waitq_wake_all(&t->s->told);
    free(t);
}

static struct val *binding_of(struct arena *a, const struct object *pod, struct str node)
{
    struct val *v = val_new(a, VAL_OBJ), *meta = val_sub_obj(a, v, N_metadata), *target = val_sub_obj(a, v, N_target);
    val_set_str(a, v, N_kind, STR("Binding"));
    val_set_str(a, v, N_apiVersion, STR("v1"));
    val_set_str(a, meta, N_name, pod->name);
    val_set_str(a, meta, N_namespace, pod->namespace_);
    val_set_str(a, meta, N_uid, pod->uid);
    val_set_str(a, target, N_kind, STR("Node"));
    val_set_str(a, target, N_name, node);
    return v;
}

static void bind_pod(void *arg)
{
    struct tell *t = arg;
    struct scheduler *s = t->s;
    struct status status;
    status_init(&status, &t->arena);
    int r = client_create(s->client,
                          CALL(.res = &resources[RES_PODS], .ns = t->pod->namespace_, .name = t->pod->name,
                               .subresource = "binding"),
                          binding_of(&t->arena, t->pod, t->node), &t->arena, NULL, &status);
    if (r == 0) {
        event_record(s->events, &resources[RES_PODS], t->pod->val, false, "Scheduled",
                     "Successfully assigned " STR_FMT "/" STR_FMT " to " STR_FMT, STR_ARG(t->pod->namespace_),
                     STR_ARG(t->pod->name), STR_ARG(t->node));
    } else if (r != -ECANCELED) {
        log_warn("scheduler", "binding " STR_FMT "/" STR_FMT " to " STR_FMT " failed: " STR_FMT, STR_ARG(t->pod->namespace_),
                 STR_ARG(t->pod->name), STR_ARG(t->node), STR_ARG(r > 0 ? status.message : str_of(strerror(-r))));
        const struct object *now = replica_get(s->replica, &resources[RES_PODS], t->pod->namespace_, t->pod->name);
        struct needs *assumed = map_get(&s->table.placed, t->pod->uid);
        if (assumed && (!now || !val_str(val_at(now->val, N_spec, N_nodeName)).n))
            table_unplace(&s->table, t->pod->uid);
        if (now && waits_for_node(s, now)) {
            pod_queue_put(&s->queue, now, os_mono());
            struct waiting *w = map_get(&s->queue.pods, now->uid);
            w->tried = os_mono();
        }
        fiber_sleep(MILLISECONDS(100));
        waitq_wake_all(&s->work);
    }
    tell_free(t);
}

static struct str condition_patch(struct arena *a, struct str message, struct str nominated)
{
    char now[TIME_TEXT_MAX];
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_puts(&b, "{\"status\":{");
    if (nominated.n) {
        buf_puts(&b, "\"nominatedNodeName\":");
        json_encode_str(&b, nominated, 0);
        buf_putc(&b, ',');
    }
    buf_printf(&b, "\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":\"Unschedulable\","
                   "\"lastProbeTime\":null,\"lastTransitionTime\":\"%s\",\"message\":", time_format(os_wall(), now));
    json_encode_str(&b, message, 0);
    buf_puts(&b, "}]}}");
    return arena_str(a, buf_str(&b));
}

static void delete_victim(struct tell *t, struct str text)
{
    struct str ns, rest, name, uid;
    struct status status;
    status_init(&status, &t->arena);
    str_cut(text, '/', &ns, &rest);
    str_cut(rest, '/', &name, &uid);
    const struct object *victim = replica_get(t->s->replica, &resources[RES_PODS], ns, name);
    if (victim)
        event_record(t->s->events, &resources[RES_PODS], victim->val, false, "Preempted",
                     "Preempted by pod " STR_FMT " on node " STR_FMT, STR_ARG(t->pod->uid), STR_ARG(t->node));
    int r = client_delete(t->s->client, CALL(.res = &resources[RES_PODS], .ns = ns, .name = name, .uid = uid), &t->arena,
                          NULL, &status);
    if (r && r != 404 && r != 409)
        log_warn("scheduler", "preempting " STR_FMT "/" STR_FMT ": " STR_FMT, STR_ARG(ns), STR_ARG(name),
                 STR_ARG(r > 0 ? status.message : str_of(strerror(-r))));
}

static void tell_unschedulable(void *arg)
{
    struct tell *t = arg;
    struct status status;
    status_init(&status, &t->arena);
    for (size_t i = 0; i < t->n_victims; i++)
        delete_victim(t, t->victims[i]);
    int r = client_patch(t->s->client,
                         CALL(.res = &resources[RES_PODS], .ns = t->pod->namespace_, .name = t->pod->name,
                              .subresource = "status"),
                         PATCH_STRATEGIC, condition_patch(&t->arena, t->message, t->n_victims ? t->node : STR_NULL), &t->arena,
                         NULL, &status);
    if (r && r != 404 && r != -ECANCELED)
        log_warn("scheduler", "status of " STR_FMT "/" STR_FMT ": " STR_FMT, STR_ARG(t->pod->namespace_),
                 STR_ARG(t->pod->name), STR_ARG(r > 0 ? status.message : str_of(strerror(-r))));
    event_record(t->s->events, &resources[RES_PODS], t->pod->val, true, "FailedScheduling", STR_FMT, STR_ARG(t->message));
    tell_free(t);
}

static void start_telling(struct scheduler *s, struct tell *t, fiber_fn *fn)
{
    s->binding++;
    group_spawn(&s->fibers, "scheduler-tell", fn, t);
}

/* ---- one pod ------------------------------------------------------------------------------------------------------------ */

static void assume(struct scheduler *s, struct needs *n, int node)
{
    struct tell *t = tell_new(s, n->pod);
    t->node = arena_str(&t->arena, s->table.nodes[node].object->name);
    pod_queue_drop(&s->queue, n->pod->uid);
    table_place(&s->table, n, t->node);
    start_telling(s, t, bind_pod);
}

static struct str try_preempting(struct scheduler *s, struct needs *n, const struct decision *d, struct tell *t)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct preemption p;
    const struct tree *tree = replica_tree(s->replica, &resources[RES_PODDISRUPTIONBUDGETS]);
    const struct val **budgets = ARENA_ARRAY(&a, const struct val *, tree_count(tree) + 1);
    size_t n_budgets = 0;
    TREE_EACH(tree, STR_NULL, it)
    {
        budgets[n_budgets++] = it.object->val;
    }
    if (!d->n_resolvable)
        p = (struct preemption){.node = -1, .n_unhelpful = s->table.n_present};
    else if (!preempt_allowed(&s->world, n))
        return STR("preemption: not eligible due to preemptionPolicy=Never.");
    else
        preempt_find(&s->world, n, budgets, n_budgets, &a, &p);
    if (p.node < 0)
        return preemption_message(&t->arena, &p, s->table.n_present);
    t->node = arena_str(&t->arena, s->table.nodes[p.node].object->name);
    t->victims = ARENA_ARRAY(&t->arena, struct str, p.n_victims);
    for (size_t i = 0; i < p.n_victims; i++) {
        const struct object *v = p.victims[i]->pod;
        t->victims[t->n_victims++] = arena_printf(&t->arena, STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(v->namespace_),
                                                  STR_ARG(v->name), STR_ARG(v->uid));
    }
    return STR_NULL;
}

static void refuse(struct scheduler *s, struct waiting *w, struct needs *n, const struct decision *d)
{
    struct tell *t = tell_new(s, n->pod);
    t->message = decision_message(&t->arena, d, s->table.n_present);
    if (s->table.n_present) {
        struct str more = try_preempting(s, n, d, t);
        if (more.n)
            t->message = arena_printf(&t->arena, STR_FMT " " STR_FMT, STR_ARG(t->message), STR_ARG(more));
    }
    pod_queue_unschedulable(&s->queue, w, os_mono());
    if (str_eq(w->said, t->message) && !t->n_victims) {
        s->binding++; /* tell_free takes it back */
        tell_free(t);
        return;
    }
    free((char *)w->said.p);
    w->said = str_n(str_dup(t->message), t->message.n);
    start_telling(s, t, tell_unschedulable);
}

static void schedule_one(struct scheduler *s, struct waiting *w)
{
    struct decision d;
    struct needs *n = needs_new(&s->table, w->pod);
    decide(&s->world, n, os_random_u64(), &d);
    if (d.node >= 0) {
        assume(s, n, d.node);
        return;
    }
    refuse(s, w, n, &d);
    needs_free(n);
}

static int serve(struct scheduler *s)
{
    for (unsigned n = 0;; n++) {
        int r = 0;
        while (s->binding >= MAX_BINDING && (r = waitq_wait(&s->told, MONO_NEVER)) == 0)
            ;
        struct waiting *w = r ? NULL : pod_queue_take(&s->queue, os_mono());
        if (r)
            return r;
        if (w) {
            schedule_one(s, w);
            if (n % DECISIONS_A_TURN == 0)
                fiber_yield(); /* others live on this loop, too */
            continue;
        }
        struct mono next = pod_queue_tick(&s->queue, os_mono());
        if (s->queue.n_ready)
            continue;
        r = waitq_wait(&s->work, next);
        if (r < 0 && r != -ETIMEDOUT)
            return r;
    }
}

int scheduler_run(const struct scheduler_config *c, struct err *e UNUSED)
{
    const struct replica_kind kinds[] = {
        {.res = &resources[RES_PODS], .field_selector = STR("status.phase!=Succeeded,status.phase!=Failed")},
        {.res = &resources[RES_NODES]},
        {.res = &resources[RES_NAMESPACES]},
        {.res = &resources[RES_SERVICES]},
        {.res = &resources[RES_REPLICASETS]},
        {.res = &resources[RES_REPLICATIONCONTROLLERS]},
        {.res = &resources[RES_STATEFULSETS]},
        {.res = &resources[RES_PODDISRUPTIONBUDGETS]},
    };
    struct scheduler s = {.config = c, .client = c->client, .name = c->name ? c->name : "default-scheduler"};
    s.queue.backoff_first = c->backoff_first_ns ? c->backoff_first_ns : SECONDS(1);
    s.queue.backoff_max = c->backoff_max_ns ? c->backoff_max_ns : SECONDS(10);
    s.world = (struct world){&s.table, labels_of_namespace, default_selectors, &s};
    s.events = event_recorder_new(c->client, s.name, NULL);
    s.replica = replica_new(c->client, kinds, ARRAY_SIZE(kinds));
    replica_on_change(s.replica, changed, &s);
    replica_start(s.replica);
    int r = replica_wait_synced(s.replica, MONO_NEVER); /* half a picture would overfill nodes */
    if (r == 0)
        r = serve(&s);
    group_stop(&s.fibers);
    replica_free(s.replica);
    event_recorder_free(s.events);
    pod_queue_done(&s.queue);
    table_done(&s.table);
    return r;
}
