/* SPDX-License-Identifier: Apache-2.0 */
/* The node's Lease (KEP-589): a sign of life that costs little, renewed four times in its duration. */
#include "node/kubelet-internal.h"

#define LEASE_NAMESPACE "kube-node-lease"

static const struct resource *lease_resource(void)
{
    return resource_find(STR("coordination.k8s.io"), STR("v1"), STR("leases"));
}

static struct val *make_lease(struct kubelet *k, struct arena *a, const struct val *old)
{
    struct val *v = old ? val_copy(a, old) : val_new(a, VAL_OBJ), *spec = val_sub_obj(a, v, N_spec);
    struct val *meta = val_sub_obj(a, v, N_metadata);
    char now[TIME_TEXT_MAX];
    const struct object *node =
        k->world ? replica_get(k->world, &resources[RES_NODES], STR_NULL, str_of(k->cfg.node_name)) : NULL;
    val_set_str(a, meta, N_name, str_of(k->cfg.node_name));
    val_set_str(a, meta, N_namespace, STR(LEASE_NAMESPACE));
    if (node && !val_len(val_get(meta, N_ownerReferences))) {
        struct val ref = obj_owner_ref(a, "v1", "Node", node->val);
        val_del(&ref, N_controller);
        val_del(&ref, N_blockOwnerDeletion);
        val_add(a, val_sub_list(a, meta, N_ownerReferences), ref);
    }
    val_set_str(a, spec, N_holderIdentity, str_of(k->cfg.node_name));
    val_set_int(a, spec, N_leaseDurationSeconds, k->cfg.lease_duration / NSEC_PER_SEC);
    val_set_str(a, spec, N_renewTime, str_of(time_format_micro(os_wall(), now)));
    return v;
}

/* 0 when it was renewed. *last (in its arena) is what the server gave back, NULL when it must be asked first. */
static int renew(struct kubelet *k, struct arena *keep, const struct val **last)
{
    struct arena a = ARENA_INIT, next = ARENA_INIT;
    struct status s;
    const struct val *v = NULL, *old = *last;
    const struct call *call = CALL(.res = lease_resource(), .ns = STR(LEASE_NAMESPACE), .name = str_of(k->cfg.node_name));
    int r = 0;
    status_init(&s, &a);
    if (!old)
        r = client_get(k->client, call, &a, &old, &s);
    if (r == 404) {
        struct call create = *call;
        create.name = STR_NULL;
        status_init(&s, &a);
        r = client_create(k->client, &create, make_lease(k, &a, NULL), &a, &v, &s);
    } else if (r == 0) {
        r = client_update(k->client, call, make_lease(k, &a, old), &a, &v, &s);
    }
    *last = r == 0 ? val_copy(&next, v) : NULL;
    arena_done(keep);
    *keep = next;
    arena_done(&a);
    return r;
}

void lease_run(void *arg)
{
    struct kubelet *k = arg;
    struct arena keep = ARENA_INIT;
    const struct val *last = NULL;
    int64_t pause = MILLISECONDS(200);
    while (!fiber_cancelled()) {
        if (!k->node_registered) {
            fiber_sleep(MILLISECONDS(100));
            continue;
        }
        int r = renew(k, &keep, &last);
        if (r == 409)
            r = renew(k, &keep, &last);
        if (r == 0)
            pause = MILLISECONDS(200);
        int64_t period = k->cfg.lease_duration / 4;
        fiber_sleep(r == 0 ? period - period / 50 + (int64_t)os_random_below((uint64_t)(period / 25)) : pause);
        if (r != 0)
            pause = MIN(2 * pause, SECONDS(7));
    }
    arena_done(&keep);
}
