/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PodDisruptionBudgets (KEP-85): how many of the selected pods may be taken away now. The eviction
 * subresource counts disruptionsAllowed down and notes the pod in disruptedPods; here both are brought up to
 * date. Keys are budgets; a pod that says that it will be disrupted and never was has the key "ns/pods/name".
 */
#include "controllers/disruption.h"

#include "base/map.h"
#include "controllers/own.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

#define POD_KEY STR("pods/")

/* How long an evicted pod may take to be deleted before it counts again, and one that says it will be
 * disrupted before it is made to take that back. */
enum { DELETION_SECONDS = 120, STALE_SECONDS = 120 };

struct budget {
    const struct snapshot *world;
    const struct object *pdb;
    const struct val *spec, *status;
    struct wall now;
    struct writes *w;
    struct objects pods;
    struct str unmanaged, why; /* why: the number of pods to expect cannot be told */
    struct val *disrupted;
    int64_t expected, desired;
};

/* ---- how many pods to expect ------------------------------------------------------------------------- */

/* What scales a pod, and to how many: the Deployment of its replica set rather than that. */
static const struct object *scaler_of(const struct budget *b, const struct object *pod)
{
    const struct object *set = controlling_owner(b->world, &resources[RES_REPLICASETS], pod);
    if (set)
        return controlling_owner(b->world, &resources[RES_DEPLOYMENTS], set) ?: set;
    return controlling_owner(b->world, &resources[RES_STATEFULSETS], pod)
               ?: controlling_owner(b->world, &resources[RES_REPLICATIONCONTROLLERS], pod);
}

static struct str explain_no_scaler(const struct budget *b, const struct object *pod)
{
    struct arena *a = b->w->arena;
    const struct val *ref = obj_controller(pod->val);
    struct str version = val_getstr(ref, N_apiVersion), kind = val_getstr(ref, N_kind), group, rest;
    if (!str_cut(version, '/', &group, &rest)) {
        rest = version;
        group = STR_NULL;
    }
    const struct resource *res = resource_find_kind(group, rest, kind);
    if (!res)
        return arena_printf(a, "no matches for kind \"" STR_FMT "\" in version \"" STR_FMT "\"",
                            STR_ARG(kind), STR_ARG(version));
    if (!resource_subresource(res, STR("scale")))
        return arena_printf(a, "%s%s" STR_FMT " does not implement the scale subresource", res->name,
                            str_empty(group) ? "" : ".", STR_ARG(group));
    return arena_printf(a, "found no controllers for pod \"" STR_FMT "\"", STR_ARG(pod->name));
}

/* The sum of what all owners of the pods are scaled to. False when one of them has no scale. */
static bool add_up_scales(struct budget *b)
{
    struct map seen = MAP_INIT;
    bool good = true;
    b->expected = 0;
    for (size_t i = 0; i < b->pods.n && good; i++) {
        const struct object *pod = b->pods.items[i], *scaler;
        if (!obj_controller(pod->val)) {
            b->unmanaged = pod->name;
            continue;
        }
        scaler = scaler_of(b, pod);
        good = scaler != NULL;
        if (!scaler)
            b->why = explain_no_scaler(b, pod);
        else if (!map_put(&seen, scaler->uid, (void *)(uintptr_t)scaler))
            b->expected += val_int(val_at(scaler->val, N_spec, N_replicas), 1);
    }
    map_done(&seen);
    return good;
}

static bool expect(struct budget *b)
{
    const struct val *max = val_get(b->spec, N_maxUnavailable), *min = val_get(b->spec, N_minAvailable);
    if (max) {
        if (!add_up_scales(b))
            return false;
        b->desired = MAX(b->expected - intstr_scaled(max, b->expected, true, 0), (int64_t)0);
    } else if (val_is(min, VAL_INT)) {
        b->expected = (int64_t)b->pods.n;
        b->desired = min->i;
    } else if (min) {
        if (!add_up_scales(b))
            return false;
        b->desired = intstr_scaled(min, b->expected, true, 0);
    }
    return true;
}

/* ---- pods -------------------------------------------------------------------------------------------- */

static bool selects(const struct object *pdb, const struct object *pod)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct selector s;
    return pod && selector_from_val(&a, val_at(pdb->val, N_spec, N_selector), &s, NULL) == 0 &&
           selector_matches(&s, obj_labels(pod->val));
}

static void find_pods(struct budget *b)
{
    struct selector s;
    if (selector_from_val(b->w->arena, val_get(b->spec, N_selector), &s, NULL) < 0)
        return;
    TREE_EACH (snapshot_tree(b->world, &resources[RES_PODS]), b->pdb->namespace_, it)
        if (selector_matches(&s, obj_labels(it.object->val)))
            objects_add(b->w->arena, &b->pods, it.object);
}

/* Evicted pods that are not being deleted yet. Those for which that takes too long will not be. */
static void look_at_disrupted(struct budget *b)
{
    const struct val *noted = val_get(b->status, N_disruptedPods);
    b->disrupted = val_new(b->w->arena, VAL_MAP);
    for (size_t i = 0; i < b->pods.n && noted; i++) {
        const struct object *pod = b->pods.items[i];
        const struct val *since = val_key(noted, pod->name);
        if (!since || obj_deleting(pod->val))
            continue;
        int64_t left = val_time(since).ns + SECONDS(DELETION_SECONDS) - b->now.ns;
        if (left < 0) {
            writes_event(b->w, pod->res, pod->val, true, "NotDeleted",
                         "Pod was expected by PDB " STR_FMT "/" STR_FMT " to be deleted but it wasn't",
                         STR_ARG(b->pdb->namespace_), STR_ARG(b->pdb->name));
            continue;
        }
        val_put(b->w->arena, b->disrupted, pod->name, *since);
        writes_again(b->w, left + MILLISECONDS(1));
    }
}

static int64_t count_healthy(const struct budget *b)
{
    int64_t n = 0;
    for (size_t i = 0; i < b->pods.n; i++) {
        const struct object *pod = b->pods.items[i];
        n += !obj_deleting(pod->val) && !val_key(b->disrupted, pod->name) && pod_ready(pod->val);
    }
    return n;
}

/* ---- status ------------------------------------------------------------------------------------------ */

static void set_condition(struct budget *b, struct val *status, bool allowed, const char *reason,
                          struct str message)
{
    struct arena *a = b->w->arena;
    const struct val *old = val_get(b->status, N_conditions);
    struct val *list = old ? val_copy(a, old) : val_new(a, VAL_LIST);
    condition_set(a, list, STR("DisruptionAllowed"), allowed ? "True" : "False", reason, message, b->now);
    for (size_t i = 0; i < list->n; i++)
        if (str_is(val_getstr(&list->items[i], N_type), "DisruptionAllowed"))
            val_set_ref(a, &list->items[i], N_observedGeneration, val_get(status, N_observedGeneration));
    val_set_ref(a, status, N_conditions, list);
}

static void write_status(struct budget *b, const struct val *status)
{
    if (val_equal(status, b->status))
        return;
    struct val *v = val_copy_shallow(b->w->arena, b->pdb->val);
    val_set_ref(b->w->arena, v, N_status, status);
    writes_update_status(b->w, b->pdb->res, v);
}

/* What cannot be counted is not given away. */
static void fail_safe(struct budget *b)
{
    struct arena *a = b->w->arena;
    writes_event(b->w, b->pdb->res, b->pdb->val, true, "CalculateExpectedPodCountFailed",
                 "Failed to calculate the number of expected pods: " STR_FMT, STR_ARG(b->why));
    struct val *status = b->status ? val_copy_shallow(a, b->status) : val_new(a, VAL_OBJ);
    val_del(status, N_disruptionsAllowed);
    set_condition(b, status, false, "SyncFailed", b->why);
    write_status(b, status);
}

static void judge(struct budget *b)
{
    struct arena *a = b->w->arena;
    struct val *status = val_new(a, VAL_OBJ);
    look_at_disrupted(b);
    int64_t healthy = count_healthy(b), allowed = healthy - b->desired;
    if (b->expected <= 0 || allowed < 0) /* a budget without pods has none to give, whatever comes next */
        allowed = 0;
    val_set_ref(a, status, N_observedGeneration, val_get(b->pdb->meta, N_generation));
    val_set_ref(a, status, N_disruptedPods, b->disrupted->n ? b->disrupted : NULL);
    set_count(a, status, N_disruptionsAllowed, allowed);
    set_count(a, status, N_currentHealthy, healthy);
    set_count(a, status, N_desiredHealthy, b->desired);
    set_count(a, status, N_expectedPods, b->expected);
    set_condition(b, status, allowed > 0, allowed > 0 ? "SufficientPods" : "InsufficientPods", STR_NULL);
    write_status(b, status);
}

static void sync_budget(struct budget *b)
{
    find_pods(b);
    if (b->pods.n == 0)
        writes_event(b->w, b->pdb->res, b->pdb->val, false, "NoPods", "No matching pods found");
    if (!expect(b)) {
        fail_safe(b);
        return;
    }
    if (!str_empty(b->unmanaged))
        writes_event(
            b->w, b->pdb->res, b->pdb->val, true, "UnmanagedPods",
            "Pods selected by this PodDisruptionBudget (selector: " STR_FMT
            ") were found to be unmanaged. As a "
            "result, the status of the PDB cannot be calculated correctly, which may result in undefined "
            "behavior. To account for these pods please set \".spec.minAvailable\" field of the PDB to an "
            "integer value.",
            STR_ARG(selector_as_go(b->w->arena, val_get(b->spec, N_selector))));
    judge(b);
}

/* ---- pods that were to be disrupted and were not ------------------------------------------------------ */

static const struct val *stale_condition(const struct object *pod)
{
    const struct val *c = condition_find(val_at(pod->val, N_status, N_conditions), STR("DisruptionTarget"));
    if (!str_is(val_getstr(c, N_status), "True") || obj_deleting(pod->val) || pod_finished(pod->val) ||
        str_is(val_getstr(c, N_reason),
               "TerminationByKubelet")) /* whose pods may take as long as they need */
        return NULL;
    return c;
}

static void take_back(const struct object *pod, struct wall now, struct writes *w)
{
    const struct val *c = stale_condition(pod);
    int64_t left = c ? val_time(val_get(c, N_lastTransitionTime)).ns + SECONDS(STALE_SECONDS) - now.ns : 0;
    if (!c)
        return;
    if (left > 0) {
        writes_again(w, left);
        return;
    }
    struct val *status, *v = with_status(w->arena, pod, &status);
    struct val *list = val_copy(w->arena, val_get(status, N_conditions));
    condition_set(w->arena, list, STR("DisruptionTarget"), "False", "", STR_NULL, now);
    val_set_ref(w->arena, status, N_conditions, list);
    writes_update_status(w, pod->res, v)->may_fail = 404;
}

/* ---- reconcile --------------------------------------------------------------------------------------- */

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    if (str_starts(key.name, POD_KEY)) {
        struct str name = str_from(key.name, POD_KEY.n);
        const struct object *pod = snapshot_get(world, &resources[RES_PODS], key.ns, name);
        if (pod)
            take_back(pod, now, w);
        return 0;
    }
    const struct object *pdb = snapshot_get(world, &resources[RES_PODDISRUPTIONBUDGETS], key.ns, key.name);
    if (!pdb)
        return 0;
    struct budget b = {.world = world,
                       .pdb = pdb,
                       .spec = val_get(pdb->val, N_spec),
                       .status = val_get(pdb->val, N_status),
                       .now = now,
                       .w = w};
    sync_budget(&b);
    return 0;
}

/* ---- keys -------------------------------------------------------------------------------------------- */

static void keys_of_pod(const struct snapshot *world, const struct object *old, const struct object *new_,
                        key_sink *sink, void *arg)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    if (new_ && stale_condition(new_) && !(old && stale_condition(old)))
        sink(arg, (struct key){new_->namespace_,
                               arena_printf(&a, STR_FMT STR_FMT, STR_ARG(POD_KEY), STR_ARG(new_->name))});
    if (pods_alike(old, new_))
        return;
    TREE_EACH (snapshot_tree(world, &resources[RES_PODDISRUPTIONBUDGETS]), (new_ ? new_ : old)->namespace_,
               it)
        if (selects(it.object, new_) || selects(it.object, old))
            sink(arg, (struct key){it.object->namespace_, it.object->name});
}

/* Upstream waits for a pod to change; how many there should be changes when the scale does. */
static void keys_of_scale(const struct snapshot *world, const struct object *old, const struct object *new_,
                          key_sink *sink, void *arg)
{
    if (old && new_ && val_equal(val_at(old->val, N_spec, N_replicas), val_at(new_->val, N_spec, N_replicas)))
        return;
    TREE_EACH (snapshot_tree(world, &resources[RES_PODDISRUPTIONBUDGETS]), (new_ ? new_ : old)->namespace_,
               it)
        if (!val_is(val_at(it.object->val, N_spec, N_minAvailable), VAL_INT))
            sink(arg, (struct key){it.object->namespace_, it.object->name});
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    const struct object *o = new_ ? new_ : old;
    if (res == &resources[RES_PODDISRUPTIONBUDGETS])
        sink(arg, (struct key){o->namespace_, o->name});
    else if (res == &resources[RES_PODS])
        keys_of_pod(world, old, new_, sink, arg);
    else
        keys_of_scale(world, old, new_, sink, arg);
}

const struct controller disruption_controller = {
    .name = "disruption-controller",
    .alias = "disruption",
    .source = "controllermanager",
    .reads = (const uint16_t[]){RES_PODDISRUPTIONBUDGETS, RES_PODS, RES_REPLICATIONCONTROLLERS,
                                RES_REPLICASETS, RES_DEPLOYMENTS, RES_STATEFULSETS, 0},
    .workers = 5,
    .keys_of = keys_of,
    .reconcile = reconcile,
};
