/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods on nodes with NoExecute taints: those that do not tolerate them go at once, those that tolerate them
 * for a while when that has passed, counted from when the taint was set. Keys are nodes.
 */
#include "controllers/nodes.h"
#include "controllers/pods.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

static bool is_no_execute(const struct val *taint)
{
    return str_is(val_getstr(taint, N_effect), "NoExecute");
}

static bool has_no_execute(const struct object *node)
{
    VAL_EACH (val_at(node->val, N_spec, N_taints), t)
        if (is_no_execute(t))
            return true;
    return false;
}

static bool tolerates(const struct val *toleration, const struct val *taint)
{
    struct str effect = val_getstr(toleration, N_effect), key = val_getstr(toleration, N_key);
    if (!str_empty(effect) && !str_eq(effect, val_getstr(taint, N_effect)))
        return false;
    if (!str_empty(key) && !str_eq(key, val_getstr(taint, N_key)))
        return false;
    struct str op = val_getstr(toleration, N_operator);
    if (str_is(op, "Exists"))
        return true;
    return (str_empty(op) || str_is(op, "Equal")) && !str_empty(key) &&
           str_eq(val_getstr(toleration, N_value), val_getstr(taint, N_value));
}

/* When the pod has to go because of one taint: INT64_MIN at once, INT64_MAX never. */
static int64_t deadline_of_taint(const struct val *pod, const struct val *taint, struct wall now)
{
    int64_t deadline = INT64_MIN;
    struct wall added = val_time(val_get(taint, N_timeAdded));
    VAL_EACH (val_at(pod, N_spec, N_tolerations), t) {
        if (!tolerates(t, taint))
            continue;
        const struct val *seconds = val_get(t, N_tolerationSeconds);
        int64_t until = INT64_MAX;
        if (seconds)
            until = (added.ns ? added.ns : now.ns) + MAX(seconds_ns(seconds, 0), (int64_t)0);
        deadline = deadline == INT64_MIN ? until : MIN(deadline, until);
    }
    return deadline;
}

static int64_t deadline_of(const struct val *pod, const struct object *node, struct wall now)
{
    int64_t deadline = INT64_MAX;
    VAL_EACH (val_at(node->val, N_spec, N_taints), t)
        if (is_no_execute(t))
            deadline = MIN(deadline, deadline_of_taint(pod, t, now));
    return deadline;
}

static void evict(struct writes *w, const struct object *pod, struct wall now)
{
    writes_event(w, pod->res, pod->val, false, "TaintManagerEviction",
                 "Marking for deletion Pod " STR_FMT "/" STR_FMT, STR_ARG(pod->namespace_),
                 STR_ARG(pod->name));
    writes_disruption(w, pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint",
                      false, now);
    writes_delete(w, pod);
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *node = snapshot_get(world, &resources[RES_NODES], STR_NULL, key.name);
    if (!node || !has_no_execute(node))
        return 0;
    TREE_EACH (snapshot_index(world, &resources[RES_PODS], index_pod_node), key.name, it) {
        if (obj_deleting(it.object->val) || pod_finished(it.object->val))
            continue;
        int64_t deadline = deadline_of(it.object->val, node, now);
        if (deadline <= now.ns)
            evict(w, it.object, now);
        else if (deadline != INT64_MAX)
            writes_again(w, deadline - now.ns);
    }
    return 0;
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    if (!new_)
        return;
    if (res == &resources[RES_NODES]) {
        if (has_no_execute(new_) &&
            !(old && val_equal(val_at(old->val, N_spec, N_taints), val_at(new_->val, N_spec, N_taints))))
            sink(arg, (struct key){STR_NULL, new_->name});
        return;
    }
    struct str name = index_pod_node(new_);
    if (str_empty(name) ||
        (old && str_eq(index_pod_node(old), name) &&
         val_equal(val_at(old->val, N_spec, N_tolerations), val_at(new_->val, N_spec, N_tolerations))))
        return;
    const struct object *node = snapshot_get(world, &resources[RES_NODES], STR_NULL, name);
    if (!node || has_no_execute(node)) /* an unknown one may be on its way to us with taints */
        sink(arg, (struct key){STR_NULL, name});
}

const struct controller taint_eviction_controller = {
    .name = "taint-eviction-controller",
    .account = "node-controller",
    .source = "taint-eviction-controller",
    .reads = (const uint16_t[]){RES_NODES, RES_PODS, 0},
    .workers = 4,
    .keys_of = keys_of,
    .reconcile = reconcile,
};
