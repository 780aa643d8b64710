/* SPDX-License-Identifier: Apache-2.0 */
/* Claims for the generic ephemeral volumes of pods (KEP-1698), owned by their pod so that they go with it. */
#include "controllers/util.h"
#include "controllers/volumes.h"
#include "resources.h"
#include "type/meta.h"

static struct val *make_claim(struct arena *a, const struct object *pod, const struct val *volume,
                              struct str name)
{
    const struct val *template = val_at(volume, N_ephemeral, N_volumeClaimTemplate);
    struct val *v = val_new(a, VAL_OBJ), *meta = val_sub_obj(a, v, N_metadata);
    struct val ref = obj_owner_ref(a, "v1", "Pod", pod->val);
    val_set_str(a, meta, N_name, name);
    val_set_str(a, meta, N_namespace, pod->namespace_);
    val_set_ref(a, meta, N_annotations, val_at(template, N_metadata, N_annotations));
    val_set_ref(a, meta, N_labels, val_at(template, N_metadata, N_labels));
    val_add(a, val_sub_list(a, meta, N_ownerReferences), ref);
    val_set_ref(a, v, N_spec, val_get(template, N_spec));
    return v;
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *pod = snapshot_get(world, &resources[RES_PODS], key.ns, key.name);
    if (!pod || obj_deleting(pod->val))
        return 0;
    VAL_EACH (val_at(pod->val, N_spec, N_volumes), v) {
        if (!val_get(v, N_ephemeral))
            continue;
        const struct resource *res = &resources[RES_PERSISTENTVOLUMECLAIMS];
        struct str name = pod_claim_name(w->arena, pod->name, v);
        const struct object *claim = snapshot_get(world, res, key.ns, name);
        if (claim && !claim_is_of_pod(claim->val, pod->uid)) {
            writes_event(w, pod->res, pod->val, true, "FailedBinding",
                         "ephemeral volume " STR_FMT ": PVC " STR_FMT "/" STR_FMT
                         " was not created for pod " STR_FMT "/" STR_FMT " (pod is not owner)",
                         STR_ARG(val_getstr(v, N_name)), STR_ARG(key.ns), STR_ARG(name), STR_ARG(key.ns),
                         STR_ARG(key.name));
            return -EEXIST;
        }
        if (!claim)
            writes_add(w, WRITE_CREATE, res, key.ns, STR_NULL)->body = make_claim(w->arena, pod, v, name);
    }
    return 0;
}

static void refused(const struct snapshot *world, struct key key, const struct write *x,
                    const struct status *s, struct wall now, struct writes *w)
{
    const struct object *pod = snapshot_get(world, &resources[RES_PODS], key.ns, key.name);
    struct str name = obj_name(x->body);
    if (pod && x->verb == WRITE_CREATE && s->code != 409)
        writes_event(w, pod->res, pod->val, true, "FailedBinding",
                     "ephemeral volume " STR_FMT ": create PVC " STR_FMT ": " STR_FMT,
                     STR_ARG(str_from(name, pod->name.n + 1)), STR_ARG(name), STR_ARG(s->message));
}

/* A claim that went while its pod stays is made again. */
static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    if (res == &resources[RES_PERSISTENTVOLUMECLAIMS]) {
        const struct val *owner = new_ ? NULL : obj_controller(old->val);
        if (str_is(val_getstr(owner, N_kind), "Pod"))
            sink(arg, (struct key){old->namespace_, val_getstr(owner, N_name)});
        return;
    }
    if (!old && new_)
        VAL_EACH (val_at(new_->val, N_spec, N_volumes), v)
            if (val_get(v, N_ephemeral)) {
                sink(arg, (struct key){new_->namespace_, new_->name});
                return;
            }
}

const struct controller ephemeral_volume_controller = {
    .name = "ephemeral-volume-controller",
    .alias = "ephemeral-volume",
    .source = "ephemeral_volume",
    .reads = (const uint16_t[]){RES_PODS, RES_PERSISTENTVOLUMECLAIMS, 0},
    .workers = 4,
    .keys_of = keys_of,
    .reconcile = reconcile,
    .refused = refused,
};
