/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/binding.h"

#include "base/os.h"
#include "names.h"
#include "resources.h"
#include "type/claim.h"
#include "type/fit.h"
#include "type/meta.h"
#include "wire/json.h"

enum { FAILED = 1 };

struct progress {
    const struct volume_work *w;
    struct arena *a;
    int64_t claims_seen, volumes_seen; /* revisions of our own writes, which the replica must have reached */
    struct err *e;
};

static int answered(struct progress *p, int r, const struct status *s, const struct object *o)
{
    if (r > 0)
        return err_set(p->e, FAILED, "%s " STR_FMT ": " STR_FMT, o->res->kind, STR_ARG(o->name),
                       STR_ARG(s->message));
    return r < 0 && r != -ECANCELED
               ? err_set(p->e, FAILED, "%s " STR_FMT ": %s", o->res->kind, STR_ARG(o->name), strerror(-r))
               : r;
}

/* ---- writing ------------------------------------------------------------------------------------ */

/* The volume is kept for the claim; the binder does the rest. */
static int reserve(struct progress *p, const struct object *volume, const struct object *claim)
{
    const struct object *now = replica_get(p->w->replica, volume->res, STR_NULL, volume->name);
    const struct val *got = NULL;
    struct status s;
    if (!now)
        return err_set(p->e, FAILED, "PersistentVolume " STR_FMT " is gone", STR_ARG(volume->name));
    bool reserved = volume_is_for(now->val, claim->val);
    if (reserved && val_str(val_at(now->val, N_spec, N_claimRef, N_uid)).n)
        return 0;
    struct val *v = val_copy(p->a, now->val), *ref = val_new(p->a, VAL_OBJ);
    val_set_str(p->a, ref, N_kind, STR("PersistentVolumeClaim"));
    val_set_str(p->a, ref, N_apiVersion, STR("v1"));
    val_set_str(p->a, ref, N_namespace, claim->namespace_);
    val_set_str(p->a, ref, N_name, claim->name);
    val_set_str(p->a, ref, N_uid, claim->uid);
    val_set_ref(p->a, ref, N_resourceVersion, val_get(claim->meta, N_resourceVersion));
    val_set_ref(p->a, val_sub_obj(p->a, v, N_spec), N_claimRef, ref);
    if (!reserved)
        val_put_str(p->a, val_sub_map(p->a, val_sub_obj(p->a, v, N_metadata), N_annotations),
                    STR(ANN_BOUND_BY_CONTROLLER), STR("yes"));
    status_init(&s, p->a);
    int r = client_update(p->w->client, CALL(.res = volume->res, .name = volume->name), v, p->a, &got, &s);
    p->volumes_seen = MAX(p->volumes_seen, obj_revision(got));
    return answered(p, r, &s, volume);
}

/* The claim's volume shall be made on the node. */
static int select_node(struct progress *p, const struct object *claim)
{
    const struct val *got = NULL;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct status s;
    if (str_eq(obj_annotation(claim->val, STR(ANN_SELECTED_NODE)), p->w->node))
        return 0;
    buf_puts(&b, "{\"metadata\":{\"annotations\":{\"" ANN_SELECTED_NODE "\":");
    json_encode_str(&b, p->w->node, 0);
    buf_puts(&b, "}}}");
    status_init(&s, p->a);
    int r =
        client_patch(p->w->client,
                     CALL(.res = claim->res, .ns = claim->namespace_, .name = claim->name, .uid = claim->uid),
                     PATCH_MERGE, buf_str(&b), p->a, &got, &s);
    p->claims_seen = MAX(p->claims_seen, obj_revision(got));
    return answered(p, r, &s, claim);
}

/* ---- waiting ------------------------------------------------------------------------------------ */

static bool reaches(const struct object *volume, const struct object *node)
{
    const struct val *required = val_at(volume->val, N_spec, N_nodeAffinity, N_required);
    VAL_EACH (val_get(required, N_nodeSelectorTerms), t) {
        if (match_node_term(t, obj_labels(node->val), STR("")))
            return true;
    }
    return !required;
}

enum state { DONE, WAITING, BROKEN };

static enum state broken(struct progress *p, const char *what, struct str name)
{
    err_set(p->e, FAILED, "binding volumes: %s \"" STR_FMT "\"", what, STR_ARG(name));
    return BROKEN;
}

static enum state look_at(struct progress *p, const struct volume_bind *b)
{
    const struct volume_work *w = p->w;
    const struct object *claim = replica_get(w->replica, b->claim->res, b->claim->namespace_, b->claim->name);
    if (!claim || !str_eq(claim->uid, b->claim->uid))
        return broken(p, "the claim is gone: PVC", b->claim->name);
    struct str name = val_str(val_at(claim->val, N_spec, N_volumeName));
    const struct object *volume =
        name.n ? replica_get(w->replica, &resources[RES_PERSISTENTVOLUMES], STR_NULL, name) : NULL;
    const struct object *node = replica_get(w->replica, &resources[RES_NODES], STR_NULL, w->node);
    if (!node)
        return broken(p, "the node is gone: node", w->node);
    if (!b->volume && !str_eq(obj_annotation(claim->val, STR(ANN_SELECTED_NODE)), w->node))
        return broken(p, "provisioning failed for PVC", claim->name); /* its provisioner wants another node */
    if (b->volume && name.n && !str_eq(name, b->volume->name))
        return broken(p, "another volume was bound to PVC", claim->name);
    if (volume && !reaches(volume, node))
        return broken(p, "the node cannot reach what was made for it: pv", volume->name);
    /* Its status, too: kubelets look at that. */
    bool bound = claim_bound(claim->val) && str_is(val_str(val_at(claim->val, N_status, N_phase)), "Bound");
    return volume && bound ? DONE : WAITING;
}

static bool pod_is_gone(const struct volume_work *w)
{
    const struct object *pod =
        replica_get(w->replica, &resources[RES_PODS], w->pod->namespace_, w->pod->name);
    return !pod || !str_eq(pod->uid, w->pod->uid) || obj_deleting(pod->val);
}

static enum state look_at_all(struct progress *p, const struct volume_plan *plan)
{
    const struct replica *r = p->w->replica;
    enum state all = DONE;
    if (pod_is_gone(p->w))
        return broken(p, "the pod is gone:", p->w->pod->name);
    if (replica_revision(r, &resources[RES_PERSISTENTVOLUMECLAIMS]) < p->claims_seen ||
        replica_revision(r, &resources[RES_PERSISTENTVOLUMES]) < p->volumes_seen)
        return WAITING;
    for (size_t i = 0; i < plan->n; i++) {
        enum state s = look_at(p, &plan->list[i]);
        if (s == BROKEN)
            return s;
        all = s == WAITING ? WAITING : all;
    }
    return all;
}

static int wait_for_all(struct progress *p, const struct volume_plan *plan)
{
    struct mono until = mono_add(os_mono(), p->w->timeout_ns);
    for (;;) {
        enum state s = look_at_all(p, plan);
        if (s != WAITING)
            return s == DONE ? 0 : FAILED;
        struct mono next = mono_add(os_mono(), SECONDS(10)); /* pods and nodes wake nobody here */
        int r = waitq_wait(p->w->moved, next.ns < until.ns ? next : until);
        if (r < 0 && r != -ETIMEDOUT)
            return r;
        if (os_mono().ns >= until.ns)
            return err_set(p->e, FAILED, "binding volumes: context deadline exceeded");
    }
}

int volumes_bind(const struct volume_work *w, const struct volume_plan *plan, struct arena *a, struct err *e)
{
    struct progress p = {.w = w, .a = a, .e = e};
    int r = 0;
    for (size_t i = 0; r == 0 && i < plan->n; i++)
        r = plan->list[i].volume ? reserve(&p, plan->list[i].volume, plan->list[i].claim)
                                 : select_node(&p, plan->list[i].claim);
    return r ? r : wait_for_all(&p, plan);
}
