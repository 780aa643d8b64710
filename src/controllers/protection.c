/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is being deleted and still used waits behind a finalizer that admission gave it. Here it is taken away
 * when the last user has gone: pods of a claim, the claim of a volume, volumes and claims of a
 * VolumeAttributesClass.
 */
#include "controllers/cluster.h"

#include "controllers/util.h"
#include "controllers/pods.h"
#include "resources.h"
#include "type/claim.h"
#include "type/meta.h"

typedef bool in_use_fn(const struct snapshot *world, const struct object *o);

static void release(struct writes *w, const struct object *o, struct str finalizer)
{
    struct val *meta, *v = with_meta(w->arena, o, &meta);
    put_finalizer(w->arena, meta, finalizer, false);
    writes_update(w, o->res, v)->may_fail = 404;
}

static int reconcile(const struct snapshot *world, uint16_t res, struct key key, const char *finalizer,
                     in_use_fn *in_use, struct writes *w)
{
    const struct object *o = snapshot_get(world, &resources[res], key.ns, key.name);
    if (o && obj_deleting(o->val) && obj_has_finalizer(o->val, str_of(finalizer)) && !in_use(world, o))
        release(w, o, str_of(finalizer));
    return 0;
}

static void sink_if_going(const struct snapshot *world, uint16_t res, struct str ns, struct str name,
                          key_sink *sink, void *arg)
{
    const struct object *o = snapshot_get(world, &resources[res], ns, name);
    if (o && obj_deleting(o->val))
        sink(arg, (struct key){ns, name});
}

/* ---- claims: used by pods that have a node ----------------------------------------------------------- */

#define PVC_FINALIZER "kubernetes.io/pvc-protection"

/* What the server says of a claim that is to be released, in writes.gathered. */
static const bool claim_is_used = true, claim_is_free = false;

static bool has_claim(struct arena *a, struct str pod_name, const struct val *pod, struct str claim)
{
    VAL_EACH (val_at(pod, N_spec, N_volumes), v)
        if (str_eq(pod_claim_name(a, pod_name, v), claim))
            return true;
    return false;
}

static bool claim_in_use(const struct snapshot *world, const struct object *claim)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    TREE_EACH (snapshot_tree(world, &resources[RES_PODS]), claim->namespace_, it)
        /* one without a node does not count: no kubelet starts a pod whose claim is going */
        if (!str_empty(index_pod_node(it.object)) && has_claim(&a, it.object->name, it.object->val, claim->name))
            return true;
    return false;
}

/* Whose finalizer would go, by what is seen here. */
static const struct object *claim_to_release(const struct snapshot *world, struct key key)
{
    const struct object *o = snapshot_get(world, &resources[RES_PERSISTENTVOLUMECLAIMS], key.ns, key.name);
    return o && obj_deleting(o->val) && obj_has_finalizer(o->val, STR(PVC_FINALIZER)) && !claim_in_use(world, o) ? o
                                                                                                              : NULL;
}

/* Our copy of the pods may lag behind that of the claims, and with the claim goes its data: the server has the last
 * word on whether a pod has it. */
static const void *pvc_gather(struct client *c, const struct snapshot *world, struct key key, struct arena *a)
{
    const struct object *claim = claim_to_release(world, key);
    const struct val *list;
    struct status s;
    status_init(&s, a);
    if (!claim)
        return NULL;
    if (client_list(c, CALL(.res = &resources[RES_PODS], .ns = key.ns), a, &list, &s) != 0)
        return &claim_is_used;
    VAL_EACH (val_get(list, N_items), pod)
        if (val_str(val_at(pod, N_spec, N_nodeName)).n && has_claim(a, obj_name(pod), pod, key.name))
            return &claim_is_used;
    return &claim_is_free;
}

/* Is there a pod with it, on a node or not yet? */
static bool claim_wanted(const struct snapshot *world, const struct object *claim)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    TREE_EACH (snapshot_tree(world, &resources[RES_PODS]), claim->namespace_, it)
        if (!pod_is_over(it.object->val) && has_claim(&a, it.object->name, it.object->val, claim->name))
            return true;
    return false;
}

/* Condition Unused (KEP-5541): since when nobody needs a bound claim. */
static void write_unused(const struct snapshot *world, const struct object *claim, struct wall now, struct writes *w)
{
    const struct val *had = condition_find(val_at(claim->val, N_status, N_conditions), STR("Unused"));
    bool wanted = claim_wanted(world, claim);
    if (had && wanted == !str_is(val_getstr(had, N_status), "True"))
        return;
    struct val *status, *v = with_status(w->arena, claim, &status), *list = own_list(w->arena, status, N_conditions);
    for (size_t i = 0; i < val_len(list); i++) /* items are shared */
        if (str_is(val_getstr(&list->items[i], N_type), "Unused"))
            list->items[i] = *val_copy(w->arena, &list->items[i]);
    condition_set(w->arena, list, STR("Unused"), wanted ? "False" : "True", wanted ? "PodUsingPVC" : "NoPodsUsingPVC",
                  wanted ? STR("A pod is currently referencing this PVC")
                         : STR("No pods are currently referencing this PVC"), now);
    writes_update_status(w, claim->res, v);
}

static int pvc_reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *claim = snapshot_get(world, &resources[RES_PERSISTENTVOLUMECLAIMS], key.ns, key.name);
    if (claim && !obj_deleting(claim->val) && str_is(val_str(val_at(claim->val, N_status, N_phase)), "Bound")) {
        write_unused(world, claim, now, w);
        return 0;
    }
    const bool *used = w->gathered;
    if (!claim_to_release(world, key))
        return 0;
    if (used && !*used)
        release(w, claim, STR(PVC_FINALIZER));
    else
        writes_again(w, used ? SECONDS(1) : MILLISECONDS(10)); /* it is not so yet here, or was not when asked */
    return 0;
}

static void sink_claims_of(const struct object *pod, key_sink *sink, void *arg)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    VAL_EACH (val_at(pod->val, N_spec, N_volumes), v) {
        struct str name = pod_claim_name(&a, pod->name, v);
        if (name.n)
            sink(arg, (struct key){pod->namespace_, name});
    }
}

static void pvc_keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                        const struct object *new_, key_sink *sink, void *arg)
{
    if (res == &resources[RES_PERSISTENTVOLUMECLAIMS]) {
        bool bound = new_ && str_is(val_str(val_at(new_->val, N_status, N_phase)), "Bound");
        if (new_ && (obj_deleting(new_->val) ||
                     (bound && !condition_find(val_at(new_->val, N_status, N_conditions), STR("Unused")))))
            sink(arg, (struct key){new_->namespace_, new_->name});
    } else if (!old || !new_ || pod_is_over(old->val) != pod_is_over(new_->val)) {
        sink_claims_of(new_ ? new_ : old, sink, arg);
    }
}

/* ---- volumes: used while bound ----------------------------------------------------------------------- */

static bool volume_in_use(const struct snapshot *world, const struct object *volume)
{
    return str_is(val_str(val_at(volume->val, N_status, N_phase)), "Bound");
}

static int pv_reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    return reconcile(world, RES_PERSISTENTVOLUMES, key, "kubernetes.io/pv-protection", volume_in_use, w);
}

static void pv_keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                       const struct object *new_, key_sink *sink, void *arg)
{
    if (new_)
        sink_if_going(world, RES_PERSISTENTVOLUMES, STR_NULL, new_->name, sink, arg);
}

/* ---- classes: used by volumes and claims that name them ---------------------------------------------- */

static bool names_class(const struct object *o, struct str class)
{
    return str_eq(val_str(val_at(o->val, N_spec, N_volumeAttributesClassName)), class) ||
           str_eq(val_str(val_at(o->val, N_status, N_currentVolumeAttributesClassName)), class) ||
           str_eq(val_str(val_at(o->val, N_status, N_modifyVolumeStatus, N_targetVolumeAttributesClassName)),
                  class);
}

static bool class_in_use(const struct snapshot *world, const struct object *class)
{
    static const uint16_t users[] = {RES_PERSISTENTVOLUMECLAIMS, RES_PERSISTENTVOLUMES};
    struct tree_iter it;
    for (size_t i = 0; i < ARRAY_SIZE(users); i++)
        for (tree_seek(&it, snapshot_tree(world, &resources[users[i]]), STR_NULL); it.object; tree_next(&it))
            if (names_class(it.object, class->name))
                return true;
    return false;
}

static int vac_reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    return reconcile(world, RES_VOLUMEATTRIBUTESCLASSES, key, "kubernetes.io/vac-protection", class_in_use,
                     w);
}

static void vac_keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                        const struct object *new_, key_sink *sink, void *arg)
{
    struct tree_iter it;
    const struct resource *classes = &resources[RES_VOLUMEATTRIBUTESCLASSES];
    for (tree_seek(&it, snapshot_tree(world, classes), STR_NULL); it.object; tree_next(&it))
        if (obj_deleting(it.object->val))
            sink(arg, (struct key){STR_NULL, it.object->name});
}

/* ---- the controllers --------------------------------------------------------------------------------- */

const struct controller pvc_protection_controller = {
    .name = "persistentvolumeclaim-protection-controller",
    .account = "pvc-protection-controller",
    .alias = "pvc-protection",
    .reads = (const uint16_t[]){RES_PERSISTENTVOLUMECLAIMS, RES_PODS, 0},
    .keys_of = pvc_keys_of,
    .gather = pvc_gather,
    .reconcile = pvc_reconcile,
};

const struct controller pv_protection_controller = {
    .name = "persistentvolume-protection-controller",
    .account = "pv-protection-controller",
    .alias = "pv-protection",
    .reads = (const uint16_t[]){RES_PERSISTENTVOLUMES, 0},
    .keys_of = pv_keys_of,
    .reconcile = pv_reconcile,
};

const struct controller vac_protection_controller = {
    .name = "volumeattributesclass-protection-controller",
    .reads =
        (const uint16_t[]){RES_VOLUMEATTRIBUTESCLASSES, RES_PERSISTENTVOLUMECLAIMS, RES_PERSISTENTVOLUMES, 0},
    .keys_of = vac_keys_of,
    .reconcile = vac_reconcile,
};
