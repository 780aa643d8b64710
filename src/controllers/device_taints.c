/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods whose devices got a NoExecute taint (KEP-5055): those whose claims do not tolerate it go at once, those that
 * tolerate it for a while when that has passed. Keys are claims.
 */
#include "controllers/nodes.h"
#include "controllers/pods.h"
#include "controllers/resourceclaim.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/fit.h"
#include "type/resourceclaim.h"

static const struct val *results_of(const struct object *claim)
{
    return val_at(claim->val, N_status, N_allocation, N_devices, N_results);
}

/* The device as the newest generation of its pool has it. */
static const struct val *find_device(const struct snapshot *world, const struct val *result)
{
    const struct val *found = NULL;
    int64_t newest = -1;
    TREE_EACH (snapshot_tree(world, &resources[RES_RESOURCESLICES]), STR_NULL, it) {
        const struct val *spec = val_get(it.object->val, N_spec), *pool = val_get(spec, N_pool);
        int64_t generation = val_int(val_get(pool, N_generation), 0);
        if (generation < newest || !str_eq(val_getstr(spec, N_driver), val_getstr(result, N_driver)) ||
            !str_eq(val_getstr(pool, N_name), val_getstr(result, N_pool)))
            continue;
        const struct val *d = val_named(val_get(spec, N_devices), val_getstr(result, N_device));
        found = d ? d : generation > newest ? NULL : found;
        newest = generation;
    }
    return found;
}

/* INT64_MAX: never. */
static int64_t deadline_of_taint(const struct val *tolerations, const struct val *taint, struct wall now)
{
    struct wall added = val_time(val_get(taint, N_timeAdded));
    int64_t since = added.ns ? added.ns : now.ns, least = -1;
    VAL_EACH (tolerations, t) {
        struct val one = {.kind = VAL_LIST, .n = 1, .items = (struct val *)(uintptr_t)t};
        const struct val *seconds = val_get(t, N_tolerationSeconds);
        if (!str_is(val_getstr(t, N_effect), "NoExecute") || !match_tolerates(&one, taint))
            continue;
        if (!seconds)
            return INT64_MAX;
        int64_t ns = MAX(seconds_ns(seconds, 0), (int64_t)0);
        least = least < 0 ? ns : MIN(least, ns);
    }
    return since + MAX(least, (int64_t)0);
}

static int64_t deadline_of(const struct snapshot *world, const struct object *claim, struct wall now)
{
    int64_t deadline = INT64_MAX;
    VAL_EACH (results_of(claim), r)
        VAL_EACH (val_get(find_device(world, r), N_taints), t)
            if (str_is(val_getstr(t, N_effect), "NoExecute"))
                deadline = MIN(deadline, deadline_of_taint(val_get(r, N_tolerations), t, now));
    return deadline;
}

static void evict(struct writes *w, const struct object *pod, struct wall now)
{
    writes_event(w, pod->res, pod->val, false, "DeviceTaintManagerEviction", "Marking for deletion");
    writes_disruption(w, pod, "DeletionByDeviceTaintManager", "Device Taint manager: deleting due to NoExecute taint", false,
                      now);
    writes_delete(w, pod);
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *claim = snapshot_get(world, &resources[RES_RESOURCECLAIMS], key.ns, key.name);
    int64_t deadline = claim && results_of(claim) ? deadline_of(world, claim, now) : INT64_MAX;
    if (deadline == INT64_MAX)
        return 0;
    if (deadline > now.ns) {
        writes_again(w, deadline - now.ns);
        return 0;
    }
    VAL_EACH (val_at(claim->val, N_status, N_reservedFor), ref) {
        const struct object *pod = snapshot_get(world, &resources[RES_PODS], key.ns, val_getstr(ref, N_name));
        if (pod && str_is(val_getstr(ref, N_resource), "pods") && str_eq(pod->uid, val_getstr(ref, N_uid)) &&
            val_str(val_at(pod->val, N_spec, N_nodeName)).n && !obj_deleting(pod->val) && !pod_finished(pod->val))
            evict(w, pod, now);
    }
    return 0;
}

static bool has_no_execute(const struct object *slice)
{
    VAL_EACH (slice ? val_at(slice->val, N_spec, N_devices) : NULL, d)
        VAL_EACH (val_get(d, N_taints), t)
            if (str_is(val_getstr(t, N_effect), "NoExecute"))
                return true;
    return false;
}

static void keys_of_slice(const struct snapshot *world, const struct object *slice, key_sink *sink, void *arg)
{
    const struct val *spec = val_get(slice->val, N_spec);
    TREE_EACH (snapshot_tree(world, &resources[RES_RESOURCECLAIMS]), STR_NULL, it)
        VAL_EACH (results_of(it.object), r)
            if (str_eq(val_getstr(r, N_driver), val_getstr(spec, N_driver)) &&
                str_eq(val_getstr(r, N_pool), val_str(val_at(spec, N_pool, N_name)))) {
                sink(arg, (struct key){it.object->namespace_, it.object->name});
                break;
            }
}

static void keys_of_pod(const struct object *pod, key_sink *sink, void *arg)
{
    VAL_EACH (val_at(pod->val, N_spec, N_resourceClaims), entry) {
        struct str name;
        bool generated;
        if (pod_resource_claim(pod->val, entry, &name, &generated) == POD_CLAIM_NAMED)
            sink(arg, (struct key){pod->namespace_, name});
    }
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    if (!new_)
        return;
    if (res->index == RES_RESOURCECLAIMS && results_of(new_))
        sink(arg, (struct key){new_->namespace_, new_->name});
    else if (res->index == RES_RESOURCESLICES && has_no_execute(new_))
        keys_of_slice(world, new_, sink, arg);
    else if (res->index == RES_PODS && index_pod_node(new_).n && !(old && index_pod_node(old).n))
        keys_of_pod(new_, sink, arg);
}

const struct controller device_taint_eviction_controller = {
    .name = "device-taint-eviction-controller",
    .source = "device-taint-eviction-controller",
    .reads = (const uint16_t[]){RES_PODS, RES_RESOURCECLAIMS, RES_RESOURCESLICES, 0},
    .workers = 4,
    .keys_of = keys_of,
    .reconcile = reconcile,
};
