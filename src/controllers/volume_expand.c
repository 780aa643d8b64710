/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims that ask for more than they have. Nothing that upstream's controller manager still carries grows
 * volumes by itself: it is the CSI driver's resizer or another provisioner that does, and this controller
 * says that it is waited for.
 */
#include "controllers/volumes.h"
#include "resources.h"
#include "type/meta.h"

static struct quantity capacity_of(const struct val *claim)
{
    return quantity_or_zero(val_str(val_key(val_at(claim, N_status, N_capacity), STR("storage"))));
}

static bool is_bound(const struct object *o)
{
    return str_is(val_str(val_at(o->val, N_status, N_phase)), "Bound");
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *claim =
        snapshot_get(world, &resources[RES_PERSISTENTVOLUMECLAIMS], key.ns, key.name);
    if (!claim || !is_bound(claim) || quantity_cmp(claim_size(claim->val), capacity_of(claim->val)) <= 0)
        return 0;
    const struct object *volume = snapshot_get(world, &resources[RES_PERSISTENTVOLUMES], STR_NULL,
                                               val_str(val_at(claim->val, N_spec, N_volumeName)));
    if (!volume || !volume_is_for(volume->val, claim->val))
        return -ENOENT;
    if (!str_is(obj_annotation(volume->val, STR(ANN_PROVISIONED_BY)), LOCAL_PATH_PROVISIONER))
        writes_event(w, claim->res, claim->val, false, "ExternalExpanding",
                     "waiting for an external controller to expand this PVC");
    return 0;
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    if (res != &resources[RES_PERSISTENTVOLUMECLAIMS] || !new_ || !is_bound(new_))
        return;
    if (!old || quantity_cmp(claim_size(new_->val), claim_size(old->val)) > 0)
        sink(arg, (struct key){new_->namespace_, new_->name});
}

const struct controller volume_expand_controller = {
    .name = "persistentvolume-expander-controller",
    .alias = "persistentvolume-expander",
    .account = "expand-controller",
    .source = "volume_expand",
    .reads = (const uint16_t[]){RES_PERSISTENTVOLUMECLAIMS, RES_PERSISTENTVOLUMES, 0},
    .keys_of = keys_of,
    .reconcile = reconcile,
};
