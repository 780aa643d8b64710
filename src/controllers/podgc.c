/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods that nobody will ever look at again: the oldest finished ones beyond a threshold, those of nodes that
 * are gone, those being deleted that never had a node, and those being deleted on nodes marked out of
 * service.
 */
#include "base/map.h"
#include "controllers/nodes.h"
#include "controllers/pods.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"
#include "wire/json.h"

enum { PERIOD_SECONDS = 20, QUARANTINE_SECONDS = 40, THRESHOLD = 12500 };

void writes_disruption(struct writes *w, const struct object *pod, const char *reason, const char *message,
                       bool failed, struct wall now)
{
    char time[TIME_TEXT_MAX];
    struct buf b CLEANUP_BUF = BUF_INIT;
    const struct val *c = condition_find(val_at(pod->val, N_status, N_conditions), STR("DisruptionTarget"));
    bool fail = failed && !pod_finished(pod->val);
    if (!fail && str_is(val_getstr(c, N_status), "True") && str_is(val_getstr(c, N_reason), reason))
        return;
    buf_puts(&b, "{\"status\":{");
    if (fail)
        buf_puts(&b, "\"phase\":\"Failed\",");
    buf_printf(&b,
               "\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\",\"lastTransitionTime\":\"%"
               "s\",\"reason\":"
               "\"%s\",\"message\":",
               time_format(now, time), reason);
    json_encode_str(&b, str_of(message), 0);
    buf_puts(&b, "}]}}");
    struct write *x = writes_add(w, WRITE_PATCH_STATUS, pod->res, pod->namespace_, pod->name);
    x->strategic = true;
    x->uid = pod->uid;
    x->may_fail = 404;
    x->patch = arena_str(w->arena, buf_str(&b));
}

/* ---- what it remembers: nodes that pods name and that are not there, and since when ------------------ */

struct missing {
    int64_t since;
    bool seen; /* in this round */
};

static struct missing *missing_of(struct map *m, struct str node, struct wall now)
{
    struct missing *x = map_get(m, node);
    if (!x) {
        x = NEW(struct missing);
        x->since = now.ns;
        map_put(m, node, x);
    }
    x->seen = true;
    return x;
}

static void forget_unseen(struct map *m)
{
    MAP_EACH (m, e) {
        struct missing *x = e->value;
        bool seen = x->seen;
        x->seen = false;
        if (!seen) {
            map_del(m, e->key);
            free(x);
        }
    }
}

/* ---- the rounds -------------------------------------------------------------------------------------- */

static void force_delete(struct writes *w, const struct object *pod, const char *reason, const char *message,
                         struct wall now)
{
    if (reason)
        writes_disruption(w, pod, reason, message, true, now);
    writes_delete(w, pod)->grace_seconds = 0;
}

static int by_age(const void *pa, const void *pb)
{
    const struct object *a = *(const struct object *const *)pa, *b = *(const struct object *const *)pb;
    int64_t ta = val_time(val_get(a->meta, N_creationTimestamp)).ns,
            tb = val_time(val_get(b->meta, N_creationTimestamp)).ns;
    return ta != tb ? (ta < tb ? -1 : 1) : str_cmp(a->uid, b->uid);
}

static void delete_oldest(struct objects *finished, struct writes *w)
{
    int64_t threshold = w->config->terminated_pod_threshold ? w->config->terminated_pod_threshold : THRESHOLD;
    if (threshold < 0 || (int64_t)finished->n <= threshold)
        return;
    qsort(finished->items, finished->n, sizeof(*finished->items), by_age);
    for (size_t i = 0; i < finished->n - (size_t)threshold; i++)
        force_delete(w, finished->items[i], NULL, NULL, (struct wall){0});
}

static bool is_out_of_service(const struct object *node)
{
    VAL_EACH (val_at(node->val, N_spec, N_taints), t)
        if (str_is(val_getstr(t, N_key), "node.kubernetes.io/out-of-service"))
            return true;
    return false;
}

static bool is_ready(const struct object *node)
{
    return condition_is(val_at(node->val, N_status, N_conditions), STR("Ready"), "True");
}

static void judge(const struct snapshot *world, const struct object *pod, struct wall now, struct writes *w)
{
    struct str name = index_pod_node(pod);
    bool deleting = obj_deleting(pod->val);
    if (str_empty(name)) {
        if (deleting)
            force_delete(w, pod, NULL, NULL, now);
        return;
    }
    const struct object *node = snapshot_get(world, &resources[RES_NODES], STR_NULL, name);
    if (node) {
        if (deleting && !is_ready(node) && is_out_of_service(node))
            force_delete(w, pod, "DeletionByPodGC", "PodGC: node has out-of-service taint", now);
        return;
    }
    if (now.ns - missing_of(w->state, name, now)->since < SECONDS(QUARANTINE_SECONDS))
        return;
    writes_add(w, WRITE_CHECK_ABSENT, &resources[RES_NODES], STR_NULL, name);
    force_delete(w, pod, "DeletionByPodGC", "PodGC: node no longer exists", now);
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    struct objects finished = {0};
    struct tree_iter it;
    for (tree_seek(&it, snapshot_tree(world, &resources[RES_PODS]), STR_NULL); it.object; tree_next(&it)) {
        if (pod_finished(it.object->val) && !obj_deleting(it.object->val))
            objects_add(w->arena, &finished, it.object);
        judge(world, it.object, now, w);
    }
    forget_unseen(w->state);
    delete_oldest(&finished, w);
    return 0;
}

static void *state_new(const struct controllers_config *config)
{
    return NEW(struct map);
}

static void state_free(void *state)
{
    map_done_with(state, free);
    free(state);
}

const struct controller pod_gc_controller = {
    .name = "pod-garbage-collector-controller",
    .account = "pod-garbage-collector",
    .alias = "podgc",
    .source = "pod-garbage-collector",
    .reads = (const uint16_t[]){RES_PODS, RES_NODES, 0},
    .reconcile = reconcile,
    .resync_ns = SECONDS(PERIOD_SECONDS),
    .state_new = state_new,
    .state_free = state_free,
};
