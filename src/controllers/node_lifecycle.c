/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes that are not heard of become Unknown; conditions become taints. What is heard is the change of a
 * node's lease or of its Ready heartbeat, by this process' own clock: clocks of nodes do not matter.
 * NoExecute taints, which cost pods their place, are set slowly, more slowly in zones where many nodes are
 * bad, and not at all when no node is well, since then it is more likely us who cannot hear.
 *
 * Keys: a node's name, or empty for the round over all of them every five seconds.
 */
#include "controllers/nodes.h"

#include "base/map.h"
#include "controllers/pods.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

#define NOT_READY "node.kubernetes.io/not-ready"
#define UNREACHABLE "node.kubernetes.io/unreachable"
#define UNSCHEDULABLE "node.kubernetes.io/unschedulable"

enum { PERIOD_SECONDS = 5, GRACE_SECONDS = 50, STARTUP_GRACE_SECONDS = 60, LARGE_ZONE = 50 };
#define EVICTION_RATE 0.1
#define SECONDARY_EVICTION_RATE 0.01
#define UNHEALTHY_ZONE 0.55

/* ---- what it remembers ------------------------------------------------------------------------------- */

struct health {
    int64_t heard; /* when something new was last seen of it */
    char renewed[TIME_TEXT_MAX], heartbeat[TIME_TEXT_MAX];
    bool greeted, seen;
};

struct zone {
    size_t ready, not_ready;
    double rate, tokens; /* of NoExecute taints */
    int64_t filled;
};

struct memory {
    struct map health, zones;
    int64_t last_round;
    bool all_bad; /* no zone has a node that is well */
};

struct sync {
    const struct snapshot *world;
    struct writes *w;
    struct memory *m;
    struct wall now;
    int64_t grace, startup_grace;
    double rate;
};

static struct zone *zone_of(struct memory *m, const struct object *node)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str parts[] = {obj_label(node->val, STR("topology.kubernetes.io/region")),
                          obj_label(node->val, STR("topology.kubernetes.io/zone"))};
    struct str key = arena_join(&a, parts, 2, STR("/"));
    struct zone *z = map_get(&m->zones, key);
    if (!z) {
        z = NEW(struct zone);
        z->rate = EVICTION_RATE;
        z->tokens = 1;
        map_put(&m->zones, key, z);
    }
    return z;
}

static struct health *health_of(struct sync *s, const struct object *node)
{
    struct health *h = map_get(&s->m->health, node->name);
    if (!h) {
        h = NEW(struct health);
        h->heard = s->now.ns;
        map_put(&s->m->health, node->name, h);
    }
    h->seen = true;
    return h;
}

/* ---- hearing ----------------------------------------------------------------------------------------- */

static bool differs(char was[static TIME_TEXT_MAX], struct str is)
{
    if (str_is(is, was) || is.n >= TIME_TEXT_MAX)
        return false;
    memcpy(was, is.p ? is.p : "", is.n);
    was[is.n] = 0;
    return true;
}

static const struct val *ready_condition(const struct object *node)
{
    return condition_find(val_at(node->val, N_status, N_conditions), STR("Ready"));
}

static void listen(struct sync *s, const struct object *node, struct health *h)
{
    const struct object *lease =
        snapshot_get(s->world, &resources[RES_LEASES], STR("kube-node-lease"), node->name);
    struct str renewed = lease ? val_str(val_at(lease->val, N_spec, N_renewTime)) : STR_NULL;
    bool news = differs(h->heartbeat, val_getstr(ready_condition(node), N_lastHeartbeatTime));
    news |= !str_empty(renewed) && differs(h->renewed, renewed);
    if (news)
        h->heard = s->now.ns;
}

static bool is_silent(const struct sync *s, const struct object *node, const struct health *h)
{
    bool spoke = ready_condition(node) != NULL;
    int64_t since = spoke || h->renewed[0] ? h->heard : val_time(val_get(node->meta, N_creationTimestamp)).ns;
    return s->now.ns > since + (spoke ? s->grace : s->startup_grace);
}

/* ---- conditions -------------------------------------------------------------------------------------- */

static bool make_unknown(struct sync *s, const struct object *node, struct val *conditions, struct str type)
{
    struct arena *a = s->w->arena;
    char now[TIME_TEXT_MAX];
    const struct val *old = condition_find(conditions, type);
    if (str_is(val_getstr(old, N_status), "Unknown"))
        return false;
    struct val *c = NULL;
    for (uint32_t i = 0; i < conditions->n; i++)
        if (str_eq(val_getstr(&conditions->items[i], N_type), type))
            c = &conditions->items[i];
    if (!c) {
        c = val_add_obj(a, conditions);
        val_set_str(a, c, N_type, type);
        val_set_str(a, c, N_lastHeartbeatTime, val_getstr(node->meta, N_creationTimestamp));
    }
    val_set_str(a, c, N_status, STR("Unknown"));
    val_set_str(a, c, N_reason, old ? STR("NodeStatusUnknown") : STR("NodeStatusNeverUpdated"));
    val_set_str(a, c, N_message,
                old ? STR("Kubelet stopped posting node status.") : STR("Kubelet never posted node status."));
    val_set_str(a, c, N_lastTransitionTime, str_of(time_format(s->now, now)));
    return true;
}

/* The pods there may still run, but nobody can tell: they no longer count as ready. */
static void mark_pods(struct sync *s, const struct object *node)
{
    char now[TIME_TEXT_MAX];
    TREE_EACH (snapshot_index(s->world, &resources[RES_PODS], index_pod_node), node->name, it) {
        if (!pod_ready(it.object->val))
            continue;
        struct write *x =
            writes_add(s->w, WRITE_PATCH_STATUS, it.object->res, it.object->namespace_, it.object->name);
        x->strategic = true;
        x->uid = it.object->uid;
        x->may_fail = 404;
        x->patch = arena_printf(s->w->arena,
                                "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\","
                                "\"lastTransitionTime\":\"%s\"}]}}",
                                time_format(s->now, now));
        writes_event(s->w, it.object->res, it.object->val, true, "NodeNotReady", "Node is not ready");
    }
}

/* Whether the status was written; its taints follow when that is seen. */
static bool mark_unknown(struct sync *s, const struct object *node)
{
    static const char *const kinds[] = {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"};
    struct arena *a = s->w->arena;
    struct val *status, *v = with_status(a, node, &status);
    const struct val *old = val_get(status, N_conditions);
    struct val *conditions = old ? val_copy(a, old) : val_new(a, VAL_LIST);
    bool changed = false;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        changed |= make_unknown(s, node, conditions, str_of(kinds[i]));
    if (!changed)
        return false;
    val_set_ref(a, status, N_conditions, conditions);
    writes_update_status(s->w, node->res, v)->may_fail = 409;
    if (str_is(val_getstr(ready_condition(node), N_status), "True")) {
        writes_event(s->w, node->res, node->val, false, "NodeNotReady",
                     "Node " STR_FMT " status is now: NodeNotReady", STR_ARG(node->name));
        mark_pods(s, node);
    }
    return true;
}

/* ---- taints ------------------------------------------------------------------------------------------ */

/* Conditions that keep new pods away. */
static const struct {
    const char *type, *status, *key;
} condition_taints[] = {
    {"Ready", "False", NOT_READY},
    {"Ready", "Unknown", UNREACHABLE},
    {"MemoryPressure", "True", "node.kubernetes.io/memory-pressure"},
    {"DiskPressure", "True", "node.kubernetes.io/disk-pressure"},
    {"PIDPressure", "True", "node.kubernetes.io/pid-pressure"},
    {"NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"},
};

static bool is_condition_taint(struct str key)
{
    for (size_t i = 0; i < ARRAY_SIZE(condition_taints); i++)
        if (str_is(key, condition_taints[i].key))
            return true;
    return str_is(key, UNSCHEDULABLE);
}

static const struct val *find_taint(const struct val *taints, const char *key, const char *effect)
{
    VAL_EACH (taints, t)
        if (str_is(val_getstr(t, N_key), key) && str_is(val_getstr(t, N_effect), effect))
            return t;
    return NULL;
}

/* Keeps the one that is there, with its time. */
static void want_taint(struct sync *s, struct val *list, const struct val *old, const char *key,
                       const char *effect)
{
    char now[TIME_TEXT_MAX];
    const struct val *there = find_taint(old, key, effect);
    if (there) {
        val_add(s->w->arena, list, *there);
        return;
    }
    struct val *t = val_add_obj(s->w->arena, list);
    val_set_str(s->w->arena, t, N_key, str_of(key));
    val_set_str(s->w->arena, t, N_effect, str_of(effect));
    val_set_str(s->w->arena, t, N_timeAdded, str_of(time_format(s->now, now)));
}

static bool take_token(struct sync *s, struct zone *z)
{
    z->tokens = MIN(1.0, z->tokens + z->rate * (double)(s->now.ns - z->filled) / 1e9);
    z->filled = s->now.ns;
    if (z->rate <= 0 || z->tokens < 1)
        return false;
    z->tokens -= 1;
    return true;
}

/* The NoExecute taint the node shall have: that of its condition, if it has one already or may get it now. */
static const char *eviction_taint(struct sync *s, const struct object *node, const struct val *old)
{
    struct str status = val_getstr(ready_condition(node), N_status);
    const char *key = str_is(status, "False") ? NOT_READY : str_is(status, "Unknown") ? UNREACHABLE : NULL;
    bool has = find_taint(old, NOT_READY, "NoExecute") || find_taint(old, UNREACHABLE, "NoExecute");
    if (!key || s->m->all_bad)
        return NULL;
    return has || take_token(s, zone_of(s->m, node)) ? key : NULL;
}

static void set_taints(struct sync *s, const struct object *node)
{
    struct arena *a = s->w->arena;
    const struct val *old = val_at(node->val, N_spec, N_taints),
                     *conditions = val_at(node->val, N_status, N_conditions);
    struct val *list = val_new(a, VAL_LIST);
    VAL_EACH (old, t) {
        struct str key = val_getstr(t, N_key), effect = val_getstr(t, N_effect);
        bool ours = (str_is(effect, "NoSchedule") && is_condition_taint(key)) ||
                    (str_is(effect, "NoExecute") && (str_is(key, NOT_READY) || str_is(key, UNREACHABLE)));
        if (!ours)
            val_add(a, list, *t);
    }
    for (size_t i = 0; i < ARRAY_SIZE(condition_taints); i++)
        if (condition_is(conditions, str_of(condition_taints[i].type), condition_taints[i].status))
            want_taint(s, list, old, condition_taints[i].key, "NoSchedule");
    if (val_bool(val_at(node->val, N_spec, N_unschedulable), false))
        want_taint(s, list, old, UNSCHEDULABLE, "NoSchedule");
    const char *eviction = eviction_taint(s, node, old);
    if (eviction)
        want_taint(s, list, old, eviction, "NoExecute");
    bool same = val_len(list) == val_len(old);
    VAL_EACH (list, t)
        same &= find_taint(old, val_cstr(val_get(t, N_key)), val_cstr(val_get(t, N_effect))) != NULL;
    if (same)
        return;
    struct val *v = val_copy_shallow(a, node->val);
    const struct val *spec = val_get(v, N_spec);
    struct val *own = val_set(a, v, N_spec, spec ? *val_copy_shallow(a, spec) : *val_new(a, VAL_OBJ));
    val_set_ref(a, own, N_taints, list->n ? list : NULL);
    writes_update(s->w, node->res, v)->may_fail = 409; /* the change that came between brings us here again */
}

/* ---- nodes and rounds -------------------------------------------------------------------------------- */

static void greet(struct sync *s, const struct object *node, struct health *h)
{
    if (h->greeted)
        return;
    h->greeted = true;
    writes_event(s->w, node->res, node->val, false, "RegisteredNode",
                 "Node " STR_FMT " event: Registered Node " STR_FMT " in Controller", STR_ARG(node->name),
                 STR_ARG(node->name));
}

static void look_after(struct sync *s, const struct object *node)
{
    struct health *h = health_of(s, node);
    greet(s, node, h);
    listen(s, node, h);
    if (!is_silent(s, node, h) || !mark_unknown(s, node))
        set_taints(s, node);
}

static void count_zones(struct sync *s)
{
    struct tree_iter it;
    MAP_EACH (&s->m->zones, e)
        ((struct zone *)e->value)->ready = ((struct zone *)e->value)->not_ready = 0;
    for (tree_seek(&it, snapshot_tree(s->world, &resources[RES_NODES]), STR_NULL); it.object;
         tree_next(&it)) {
        struct zone *z = zone_of(s->m, it.object);
        if (val_key(obj_labels(it.object->val), STR("node.kubernetes.io/exclude-disruption")))
            continue;
        bool ready = str_is(val_getstr(ready_condition(it.object), N_status), "True");
        ready ? z->ready++ : z->not_ready++;
    }
}

/* Upstream's zone states: all bad, many bad, normal. */
static void judge_zones(struct sync *s)
{
    bool all_bad = true;
    MAP_EACH (&s->m->zones, e) {
        struct zone *z = e->value;
        size_t n = z->ready + z->not_ready;
        bool partly = z->ready > 0 && z->not_ready > 2 && (double)z->not_ready / (double)n >= UNHEALTHY_ZONE;
        z->rate = !partly ? s->rate : n > LARGE_ZONE ? SECONDARY_EVICTION_RATE : 0;
        all_bad &= z->ready == 0;
    }
    s->m->all_bad = all_bad;
}

static void forget_gone_nodes(struct sync *s)
{
    MAP_EACH (&s->m->health, e) {
        struct health *h = e->value;
        bool seen = h->seen;
        h->seen = false;
        if (!seen) {
            map_del(&s->m->health, e->key);
            free(h);
        }
    }
}

/* The machine slept, or its clock jumped: silence in that time was ours. */
static void allow_for_gap(struct sync *s, int64_t every)
{
    int64_t gap = s->now.ns - s->m->last_round - every;
    if (s->m->last_round && (gap > 3 * every || gap < -every))
        MAP_EACH (&s->m->health, e)
            ((struct health *)e->value)->heard += gap;
    s->m->last_round = s->now.ns;
}

static int64_t period(const struct controllers_config *config)
{
    return config->node_monitor_period > 0 ? config->node_monitor_period : SECONDS(PERIOD_SECONDS);
}

static void round_of_all(struct sync *s)
{
    struct tree_iter it;
    bool were_all_bad = s->m->all_bad;
    allow_for_gap(s, period(s->w->config));
    count_zones(s);
    judge_zones(s);
    if (were_all_bad && !s->m->all_bad)
        MAP_EACH (&s->m->health, e)
            ((struct health *)e->value)->heard = s->now.ns; /* everybody gets a new chance */
    for (tree_seek(&it, snapshot_tree(s->world, &resources[RES_NODES]), STR_NULL); it.object; tree_next(&it))
        look_after(s, it.object);
    forget_gone_nodes(s);
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct controllers_config *c = w->config;
    struct sync s = {.world = world,
                     .w = w,
                     .m = w->state,
                     .now = now,
                     .grace = c->node_monitor_grace ? c->node_monitor_grace : SECONDS(GRACE_SECONDS),
                     .startup_grace =
                         c->node_startup_grace ? c->node_startup_grace : SECONDS(STARTUP_GRACE_SECONDS),
                     .rate = c->node_eviction_rate > 0 ? c->node_eviction_rate : EVICTION_RATE};
    if (str_empty(key.name)) {
        round_of_all(&s);
        return 0;
    }
    const struct object *node = snapshot_get(world, &resources[RES_NODES], STR_NULL, key.name);
    if (node)
        look_after(&s, node);
    return 0;
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    if (res == &resources[RES_NODES] && new_)
        sink(arg, (struct key){STR_NULL, new_->name});
}

static void *state_new(const struct controllers_config *config)
{
    struct memory *m = NEW(struct memory);
    m->all_bad = true; /* until the first round has shown otherwise */
    return m;
}

static void state_free(void *state)
{
    struct memory *m = state;
    map_done_with(&m->health, free);
    map_done_with(&m->zones, free);
    free(m);
}

const struct controller node_lifecycle_controller = {
    .name = "node-lifecycle-controller",
    .account = "node-controller",
    .alias = "nodelifecycle",
    .source = "node-controller",
    .reads = (const uint16_t[]){RES_NODES, RES_LEASES, RES_PODS, 0},
    .keys_of = keys_of,
    .reconcile = reconcile,
    .resync_of = period,
    .state_new = state_new,
    .state_free = state_free,
};
