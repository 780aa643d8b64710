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
#include "type/meta.h"

typedef bool in_use_fn(const struct snapshot *world, const struct object *o);

static void release(struct writes *w, const struct object *o, struct str finalizer)
{
    struct val *meta, *v = with_meta(w->arena, o, &meta), *left = val_new(w->arena, VAL_LIST);
    VAL_EACH (val_get(o->meta, N_finalizers), f)
        if (!str_eq(val_str(f), finalizer))
            val_add(w->arena, left, *f);
    val_set_ref(w->arena, meta, N_finalizers, left->n ? left : NULL);
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

/* The claim a volume of a pod stands for; that of an ephemeral volume has the pod's name and its own. */
static struct str claim_of(struct arena *a, const struct object *pod, const struct val *volume)
{
    struct str claim = val_str(val_at(volume, N_persistentVolumeClaim, N_claimName));
    if (!str_empty(claim) || !val_get(volume, N_ephemeral))
        return claim;
    return arena_printf(a, STR_FMT "-" STR_FMT, STR_ARG(pod->name), STR_ARG(val_getstr(volume, N_name)));
}

static bool claim_in_use(const struct snapshot *world, const struct object *claim)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    TREE_EACH (snapshot_tree(world, &resources[RES_PODS]), claim->namespace_, it) {
        if (str_empty(index_pod_node(it.object)))
            continue; /* no kubelet starts a pod whose claim is going */
        VAL_EACH (val_at(it.object->val, N_spec, N_volumes), v)
            if (str_eq(claim_of(&a, it.object, v), claim->name))
                return true;
    }
    return false;
}

static int pvc_reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    return reconcile(world, RES_PERSISTENTVOLUMECLAIMS, key, "kubernetes.io/pvc-protection", claim_in_use, w);
}

static void pvc_keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                        const struct object *new_, key_sink *sink, void *arg)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct object *o = new_ ? new_ : old;
    if (res == &resources[RES_PERSISTENTVOLUMECLAIMS])
        sink_if_going(world, RES_PERSISTENTVOLUMECLAIMS, o->namespace_, o->name, sink, arg);
    else if (!new_)
        VAL_EACH (val_at(o->val, N_spec, N_volumes), v)
            if (!str_empty(claim_of(&a, o, v)))
                sink_if_going(world, RES_PERSISTENTVOLUMECLAIMS, o->namespace_, claim_of(&a, o, v), sink,
                              arg);
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
