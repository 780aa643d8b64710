/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key is the name of a pod, of a claim, or of both: whatever there is by it is looked after.
 *
 * A claim whose last user went gives its devices back and loses its finalizer. That takes two writes, status and
 * metadata; between them its uid stands in the state, as a finalizer without devices may also be the scheduler's that
 * is about to write them.
 */
#include "controllers/resourceclaim.h"

#include "base/map.h"
#include "controllers/own.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/resourceclaim.h"
#include "wire/json.h"

enum { GENERATE_NAME_MAX = 57 /* a name of 63 characters less hyphen and 5 random ones */ };

struct emptied {
    struct map uids; /* of claims that gave their devices back and are to lose their finalizer */
};

static void *state_new(const struct controllers_config *config)
{
    (void)config;
    return NEW(struct emptied);
}

static void state_free(void *state)
{
    struct emptied *s = state;
    map_done(&s->uids);
    free(s);
}

static const struct resource *claims_res(void)
{
    return &resources[RES_RESOURCECLAIMS];
}

static const struct object *get_pod(const struct snapshot *world, struct str ns, struct str name)
{
    return snapshot_get(world, &resources[RES_PODS], ns, name);
}

static bool has_node(const struct val *pod)
{
    return val_str(val_at(pod, N_spec, N_nodeName)).n > 0;
}

/* It will not run any more, so that it needs no devices. */
static bool is_done(const struct val *pod)
{
    return pod_finished(pod) || (obj_deleting(pod) && !has_node(pod));
}

/* ---- claims for pods -------------------------------------------------------------------------------------- */

static const struct object *find_generated(const struct snapshot *world, struct arena *a, const struct object *pod,
                                           struct str entry)
{
    struct objects own = {0};
    owned_children(world, claims_res(), a, pod->namespace_, pod->uid, &own);
    for (size_t i = 0; i < own.n; i++)
        if (str_eq(obj_annotation(own.items[i]->val, STR(ANN_POD_CLAIM)), entry))
            return own.items[i];
    return NULL;
}

/* Both names, cut down alike when they are too long together. */
static struct str base_name(struct arena *a, struct str pod, struct str entry)
{
    size_t n = pod.n + entry.n + 2;
    if (n <= GENERATE_NAME_MAX)
        return arena_printf(a, STR_FMT "-" STR_FMT "-", STR_ARG(pod), STR_ARG(entry));
    struct str base = arena_printf(a, STR_FMT "-", STR_ARG(str_slice(pod, 0, pod.n * GENERATE_NAME_MAX / n)));
    return arena_printf(a, STR_FMT STR_FMT, STR_ARG(base),
                        STR_ARG(str_slice(entry, 0, entry.n * GENERATE_NAME_MAX / n)));
}

static struct val *make_claim(struct arena *a, const struct object *pod, struct str entry, const struct val *template)
{
    const struct val *meta_from = val_at(template, N_spec, N_metadata);
    struct val *v = val_new(a, VAL_OBJ), *meta = val_sub_obj(a, v, N_metadata);
    struct val ref = obj_owner_ref(a, "v1", "Pod", pod->val);
    val_del(&ref, N_blockOwnerDeletion);
    val_set_str(a, meta, N_generateName, base_name(a, pod->name, entry));
    val_set_str(a, meta, N_namespace, pod->namespace_);
    val_set_ref(a, meta, N_labels, val_get(meta_from, N_labels));
    if (val_get(meta_from, N_annotations))
        val_set(a, meta, N_annotations, *val_copy(a, val_get(meta_from, N_annotations)));
    val_put_str(a, val_sub_map(a, meta, N_annotations), STR(ANN_POD_CLAIM), entry);
    val_add(a, val_sub_list(a, meta, N_ownerReferences), ref);
    val_set_ref(a, v, N_spec, val_at(template, N_spec, N_spec));
    return v;
}

static int complain(struct writes *w, const struct object *pod, struct str entry, struct str why)
{
    writes_event(w, pod->res, pod->val, true, "FailedResourceClaimCreation", "PodResourceClaim " STR_FMT ": " STR_FMT,
                 STR_ARG(entry), STR_ARG(why));
    return -ENOENT;
}

/* Has the entry the claim that the pod's status names? */
static bool is_served(const struct snapshot *world, const struct object *pod, struct str name)
{
    const struct object *claim = snapshot_get(world, claims_res(), pod->namespace_, name);
    return claim && obj_controlled_by(claim->val, pod->uid);
}

/* *ret_name: of a claim that the pod's status does not name yet. */
static int serve_entry(const struct snapshot *world, const struct object *pod, const struct val *entry,
                       struct writes *w, struct str *ret_name)
{
    struct str name, of = val_getstr(entry, N_name), template_name = val_getstr(entry, N_resourceClaimTemplateName);
    bool generated;
    enum pod_claim kind = pod_resource_claim(pod->val, entry, &name, &generated);
    if (!generated || !template_name.n || kind == POD_CLAIM_NONE || (kind == POD_CLAIM_NAMED && is_served(world, pod, name)))
        return 0;
    const struct object *claim = find_generated(world, w->arena, pod, of);
    if (claim) {
        *ret_name = claim->name;
        return 0;
    }
    const struct object *template =
        snapshot_get(world, &resources[RES_RESOURCECLAIMTEMPLATES], pod->namespace_, template_name);
    if (!template)
        return complain(w, pod, of,
                        arena_printf(w->arena,
                                     "resource claim template \"" STR_FMT
                                     "\": resourceclaimtemplate.resource.k8s.io \"" STR_FMT "\" not found",
                                     STR_ARG(template_name), STR_ARG(template_name)));
    writes_add(w, WRITE_CREATE, claims_res(), pod->namespace_, STR_NULL)->body =
        make_claim(w->arena, pod, of, template->val);
    return 0;
}

static void add_status(struct buf *b, struct str entry, struct str claim)
{
    buf_puts(b, b->n ? "," : "{\"status\":{\"resourceClaimStatuses\":[");
    buf_puts(b, "{\"name\":");
    json_encode_str(b, entry, 0);
    buf_puts(b, ",\"resourceClaimName\":");
    json_encode_str(b, claim, 0);
    buf_putc(b, '}');
}

/* A pod that was given its node by hand: the scheduler did not reserve for it. */
static void reserve_for(const struct snapshot *world, const struct object *pod, struct writes *w)
{
    VAL_EACH (val_at(pod->val, N_spec, N_resourceClaims), entry) {
        struct str name;
        bool generated;
        enum pod_claim kind = pod_resource_claim(pod->val, entry, &name, &generated);
        const struct object *claim =
            kind == POD_CLAIM_NAMED ? snapshot_get(world, claims_res(), pod->namespace_, name) : NULL;
        if (!claim || (generated && !obj_controlled_by(claim->val, pod->uid)) ||
            !val_at(claim->val, N_status, N_allocation) || claim_reserved_for(claim->val, pod->uid))
            continue;
        struct val *status, *v = with_status(w->arena, claim, &status);
        struct val *ref = val_add_obj(w->arena, own_list(w->arena, status, N_reservedFor));
        val_set_str(w->arena, ref, N_resource, STR("pods"));
        val_set_str(w->arena, ref, N_name, pod->name);
        val_set_str(w->arena, ref, N_uid, pod->uid);
        writes_update_status(w, claims_res(), v);
    }
}

static int sync_pod(const struct snapshot *world, const struct object *pod, struct writes *w)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (obj_deleting(pod->val))
        return 0;
    VAL_EACH (val_at(pod->val, N_spec, N_resourceClaims), entry) {
        struct str name = STR_NULL;
        int r = serve_entry(world, pod, entry, w, &name);
        if (r < 0)
            return r;
        if (name.n)
            add_status(&b, val_getstr(entry, N_name), name);
    }
    if (b.n) {
        buf_puts(&b, "]}}");
        struct write *x = writes_add(w, WRITE_PATCH_STATUS, pod->res, pod->namespace_, pod->name);
        x->strategic = true;
        x->uid = pod->uid;
        x->patch = arena_str(w->arena, buf_str(&b));
    }
    if (has_node(pod->val) && !pod_finished(pod->val))
        reserve_for(world, pod, w);
    return 0;
}

/* ---- claims and their users -------------------------------------------------------------------------------- */

/* False: the pod needs it no more. A pod that is not to be seen is asked for: it may be too new for us. */
static bool still_needs(const struct snapshot *world, const struct object *claim, const struct val *ref, struct writes *w)
{
    struct str name = val_getstr(ref, N_name), uid = val_getstr(ref, N_uid);
    const struct object *pod = get_pod(world, claim->namespace_, name);
    if (val_getstr(ref, N_apiGroup).n || !str_is(val_getstr(ref, N_resource), "pods"))
        return true; /* whatever it is */
    if (!pod)
        writes_add(w, WRITE_CHECK_ABSENT, &resources[RES_PODS], claim->namespace_, name)->uid = uid;
    return pod && str_eq(pod->uid, uid) && !is_done(pod->val);
}

/* How many users are left; writes when some are not. */
static size_t drop_users(const struct snapshot *world, const struct object *claim, struct writes *w)
{
    const struct val *users = val_at(claim->val, N_status, N_reservedFor);
    struct val *left = val_new(w->arena, VAL_LIST), *status;
    VAL_EACH (users, ref)
        if (still_needs(world, claim, ref, w))
            val_add(w->arena, left, *ref);
    if (left->n == val_len(users))
        return left->n;
    struct val *v = with_status(w->arena, claim, &status);
    val_set(w->arena, status, N_reservedFor, left->n ? *left : (struct val){0});
    if (!left->n && obj_has_finalizer(claim->val, STR(CLAIM_FINALIZER))) {
        struct emptied *s = w->state;
        val_del(status, N_allocation);
        val_del(status, N_devices);
        map_put(&s->uids, claim->uid, s);
    }
    writes_update_status(w, claims_res(), v);
    return left->n;
}

static void remove_finalizer(const struct object *claim, struct writes *w)
{
    struct val *meta, *v = with_meta(w->arena, claim, &meta);
    put_finalizer(w->arena, meta, STR(CLAIM_FINALIZER), false);
    writes_update(w, claims_res(), v);
}

/* Nobody has it: devices and finalizer are of no use any more. True when that took a write. */
static bool release(const struct object *claim, struct writes *w)
{
    struct emptied *s = w->state;
    bool allocated = val_at(claim->val, N_status, N_allocation), deleting = obj_deleting(claim->val);
    if (!obj_has_finalizer(claim->val, STR(CLAIM_FINALIZER)) || (!deleting && (allocated || !map_has(&s->uids, claim->uid)))) {
        map_del(&s->uids, claim->uid);
        return false;
    }
    if (!allocated) {
        if (deleting)
            map_del(&s->uids, claim->uid); /* it goes with its finalizer: nobody asks again */
        remove_finalizer(claim, w);
        return true;
    }
    struct val *status, *v = with_status(w->arena, claim, &status);
    val_del(status, N_allocation);
    val_del(status, N_devices);
    writes_update_status(w, claims_res(), v);
    return true;
}

/* The garbage collector would delete it as well, but only when the pod's object goes. */
static void delete_unused(const struct snapshot *world, const struct object *claim, struct writes *w)
{
    const struct val *owner = obj_controller(claim->val);
    if (!str_is(val_getstr(owner, N_kind), "Pod") || !str_is(val_getstr(owner, N_apiVersion), "v1") ||
        obj_deleting(claim->val))
        return;
    const struct object *pod = get_pod(world, claim->namespace_, val_getstr(owner, N_name));
    if (pod && (!str_eq(pod->uid, val_getstr(owner, N_uid)) || is_done(pod->val)))
        writes_delete(w, claim);
}

static void sync_claim(const struct snapshot *world, const struct object *claim, struct writes *w)
{
    bool had_users = val_len(val_at(claim->val, N_status, N_reservedFor)) > 0;
    if (drop_users(world, claim, w) || had_users)
        return; /* what is written comes back here */
    if (!release(claim, w))
        delete_unused(world, claim, w);
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *pod = get_pod(world, key.ns, key.name);
    const struct object *claim = snapshot_get(world, claims_res(), key.ns, key.name);
    (void)now;
    if (claim)
        sync_claim(world, claim, w);
    return pod ? sync_pod(world, pod, w) : 0;
}

static void refused(const struct snapshot *world, struct key key, const struct write *x, const struct status *s,
                    struct wall now, struct writes *w)
{
    const struct object *pod = get_pod(world, key.ns, key.name);
    (void)now;
    if (pod && x->verb == WRITE_CREATE && !refused_by_terminating_namespace(s))
        complain(w, pod, obj_annotation(x->body, STR(ANN_POD_CLAIM)),
                 arena_printf(w->arena, "create ResourceClaim : " STR_FMT, STR_ARG(s->message)));
}

/* ---- what concerns whom ------------------------------------------------------------------------------------- */

static void sink_claims_of(const struct val *pod, struct str ns, key_sink *sink, void *arg)
{
    struct str extended = val_str(val_at(pod, N_status, N_extendedResourceClaimStatus, N_resourceClaimName));
    VAL_EACH (val_at(pod, N_spec, N_resourceClaims), entry) {
        struct str name;
        bool generated;
        if (pod_resource_claim(pod, entry, &name, &generated) == POD_CLAIM_NAMED)
            sink(arg, (struct key){ns, name});
    }
    if (extended.n)
        sink(arg, (struct key){ns, extended});
}

static void keys_of_pod(const struct object *old, const struct object *new_, key_sink *sink, void *arg)
{
    const struct object *any = new_ ? new_ : old;
    bool has_claims = val_len(val_at(any->val, N_spec, N_resourceClaims)) > 0;
    if (new_ && has_claims)
        sink(arg, (struct key){any->namespace_, any->name});
    if (!new_ || is_done(new_->val))
        sink_claims_of(any->val, any->namespace_, sink, arg);
}

static bool names_claim(const struct val *pod, struct str claim)
{
    VAL_EACH (val_at(pod, N_spec, N_resourceClaims), entry) {
        struct str name;
        bool generated;
        if (pod_resource_claim(pod, entry, &name, &generated) == POD_CLAIM_NAMED && str_eq(name, claim))
            return true;
    }
    return false;
}

static void keys_of_claim(const struct snapshot *world, const struct object *any, key_sink *sink, void *arg)
{
    const struct val *owner = obj_controller(any->val);
    sink(arg, (struct key){any->namespace_, any->name});
    if (str_is(val_getstr(owner, N_kind), "Pod")) {
        sink(arg, (struct key){any->namespace_, val_getstr(owner, N_name)});
        return;
    }
    TREE_EACH (snapshot_tree(world, &resources[RES_PODS]), any->namespace_, it)
        if (names_claim(it.object->val, any->name))
            sink(arg, (struct key){it.object->namespace_, it.object->name});
}

static void keys_of_template(const struct snapshot *world, const struct object *template, key_sink *sink, void *arg)
{
    TREE_EACH (snapshot_tree(world, &resources[RES_PODS]), template->namespace_, it)
        VAL_EACH (val_at(it.object->val, N_spec, N_resourceClaims), entry)
            if (str_eq(val_getstr(entry, N_resourceClaimTemplateName), template->name))
                sink(arg, (struct key){it.object->namespace_, it.object->name});
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    if (res->index == RES_PODS)
        keys_of_pod(old, new_, sink, arg);
    else if (res->index == RES_RESOURCECLAIMS)
        keys_of_claim(world, new_ ? new_ : old, sink, arg);
    else if (!old && new_)
        keys_of_template(world, new_, sink, arg);
}

const struct controller resourceclaim_controller = {
    .name = "resourceclaim-controller",
    .alias = "resource-claim-controller",
    .source = "resource_claim",
    .account = "resource-claim-controller",
    .reads = (const uint16_t[]){RES_PODS, RES_RESOURCECLAIMS, RES_RESOURCECLAIMTEMPLATES, 0},
    .workers = 4,
    .keys_of = keys_of,
    .reconcile = reconcile,
    .refused = refused,
    .state_new = state_new,
    .state_free = state_free,
};
