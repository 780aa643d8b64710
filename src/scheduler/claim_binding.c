/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/claim_binding.h"

#include "base/os.h"
#include "client/replica.h"
#include "names.h"
#include "resources.h"
#include "scheduler/extended.h"
#include "type/resourceclaim.h"
#include "wire/json.h"

enum { FAILED = 1, TRIES = 5 };

static const struct resource *claims_res(void)
{
    return &resources[RES_RESOURCECLAIMS];
}

static int answered(int r, const struct status *s, const char *what, const struct object *claim, struct err *e)
{
    if (r == 0 || r == -ECANCELED)
        return r;
    return err_set(e, FAILED, "%s claim " STR_FMT "/" STR_FMT ": " STR_FMT, what, STR_ARG(claim->namespace_),
                   STR_ARG(claim->name), STR_ARG(r > 0 ? s->message : str_of(strerror(-r))));
}

/* ---- allocation and reservation --------------------------------------------------------------------------- */

struct binding {
    const struct claim_work *w;
    struct arena *a;
    struct err *e;
    const struct claim_bind *what;
    const struct object *claim; /* of it, or the one that was made for it */
    int64_t revision; /* that the replica must have seen */
};

static int update(const struct binding *b, const struct val *v, const char *subresource, const struct val **ret,
                  struct status *s)
{
    status_init(s, b->a);
    return client_update(b->w->client,
                         CALL(.res = claims_res(), .ns = b->claim->namespace_, .name = b->claim->name,
                              .subresource = subresource),
                         v, b->a, ret, s);
}

/* The finalizer comes first: from the moment that devices are allocated nobody may lose sight of them. */
static int add_finalizer(const struct binding *b, const struct val **claim, struct status *s)
{
    if (obj_has_finalizer(*claim, STR(CLAIM_FINALIZER)))
        return 0;
    struct val *v = val_copy(b->a, *claim);
    val_add_str(b->a, val_sub_list(b->a, val_sub_obj(b->a, v, N_metadata), N_finalizers), STR(CLAIM_FINALIZER));
    return update(b, v, NULL, claim, s);
}

static void reserve(const struct binding *b, struct val *status)
{
    const struct object *pod = b->w->pod;
    struct val *ref = val_add_obj(b->a, val_sub_list(b->a, status, N_reservedFor));
    val_set_str(b->a, ref, N_resource, STR("pods"));
    val_set_str(b->a, ref, N_name, pod->name);
    val_set_str(b->a, ref, N_uid, pod->uid);
}

static int write_status(struct binding *b, const struct val *claim, struct status *s)
{
    struct val *v = val_copy(b->a, claim), *status = val_sub_obj(b->a, v, N_status);
    const struct val *got = NULL;
    if (b->what->allocation)
        val_set(b->a, status, N_allocation, *val_copy(b->a, b->what->allocation));
    struct val *allocation = val_mut(status, N_allocation);
    if (!val_get(allocation, N_allocationTimestamp))
        val_set_time(b->a, allocation, N_allocationTimestamp, os_wall());
    reserve(b, status);
    int r = update(b, v, "status", &got, s);
    b->revision = r == 0 ? obj_revision(got) : 0;
    return r;
}

static int refused(const struct binding *b, const char *why)
{
    return err_set(b->e, FAILED, "claim " STR_FMT "/" STR_FMT " %s in the meantime",
                   STR_ARG(b->claim->namespace_), STR_ARG(b->claim->name), why);
}

/* 409 in s: somebody was faster, look again. */
static int bind_version(struct binding *b, const struct val *claim, struct status *s)
{
    const struct val *allocation = val_at(claim, N_status, N_allocation);
    s->code = 0;
    if (obj_deleting(claim) || !str_eq(obj_uid(claim), b->claim->uid))
        return refused(b, "got deleted");
    if (claim_reserved_for(claim, b->w->pod->uid) && allocation)
        return 0;
    if (b->what->allocation && allocation)
        return refused(b, "got allocated elsewhere");
    if (!b->what->allocation && !allocation)
        return refused(b, "got deallocated elsewhere");
    int r = b->what->allocation ? add_finalizer(b, &claim, s) : 0;
    r = r ? r : write_status(b, claim, s);
    return answered(r, s, b->what->allocation ? "add allocation and reservation to" : "add reservation to", b->claim,
                    b->e);
}

static int bind_one(struct binding *b)
{
    const struct val *claim = b->claim->val;
    struct status s;
    for (int i = 0;; i++) {
        status_init(&s, b->a);
        int r = bind_version(b, claim, &s);
        if (r <= 0 || s.code != 409 || i == TRIES)
            return r;
        status_init(&s, b->a);
        r = client_get(b->w->client,
                       CALL(.res = claims_res(), .ns = b->claim->namespace_, .name = b->claim->name), b->a, &claim,
                       &s);
        if (r)
            return answered(r, &s, "get", b->claim, b->e);
    }
}

/* ---- claims for extended resources ------------------------------------------------------------------------- */

static int make_claim(const struct binding *b, struct claim_bind *what)
{
    const struct object *o = what->claim;
    struct val *v = val_copy(b->a, o->val);
    const struct val *got = NULL;
    struct status s;
    status_init(&s, b->a);
    val_del(val_sub_obj(b->a, v, N_metadata), N_uid);
    int r = client_create(b->w->client, CALL(.res = claims_res(), .ns = o->namespace_), v, b->a, &got, &s);
    if (r)
        return answered(r, &s, "create", o, b->e);
    what->made = object_new(claims_res(), got);
    return 0;
}

/* The kubelet finds there which devices are for which container. */
static int tell_pod(const struct binding *b)
{
    const struct object *pod = b->w->pod;
    struct buf text CLEANUP_BUF = BUF_INIT;
    struct status s;
    status_init(&s, b->a);
    buf_puts(&text, "{\"status\":{\"extendedResourceClaimStatus\":{\"resourceClaimName\":");
    json_encode_str(&text, b->claim->name, 0);
    buf_puts(&text, ",\"requestMappings\":");
    json_encode(&text, NULL, b->what->mappings, 0);
    buf_puts(&text, "}}}");
    int r = client_patch(b->w->client,
                         CALL(.res = &resources[RES_PODS], .ns = pod->namespace_, .name = pod->name, .uid = pod->uid,
                              .subresource = "status"),
                         PATCH_MERGE, buf_str(&text), b->a, NULL, &s);
    if (r > 0)
        return err_set(b->e, FAILED, "update pod " STR_FMT "/" STR_FMT " ExtendedResourceClaimStatus: " STR_FMT,
                       STR_ARG(pod->namespace_), STR_ARG(pod->name), STR_ARG(s.message));
    return r < 0 && r != -ECANCELED ? err_set(b->e, FAILED, "%s", strerror(-r)) : r;
}

static void delete_claim(struct client *client, const struct object *claim, struct arena *a)
{
    struct status s;
    status_init(&s, a);
    client_patch(client, CALL(.res = claims_res(), .ns = claim->namespace_, .name = claim->name, .uid = claim->uid),
                 PATCH_MERGE, STR("{\"metadata\":{\"finalizers\":null}}"), a, NULL, &s);
    client_delete(client, CALL(.res = claims_res(), .ns = claim->namespace_, .name = claim->name, .uid = claim->uid), a, NULL, &s);
}

int claims_bind(const struct claim_work *w, struct claim_plan *plan, struct arena *a, struct err *e)
{
    int64_t revision = 0;
    for (size_t i = 0; i < plan->n; i++) {
        struct claim_bind *what = &plan->list[i];
        struct binding b = {.w = w, .a = a, .e = e, .what = what};
        int r = what->mappings && !what->made ? make_claim(&b, what) : 0;
        b.claim = what->made ? what->made : what->claim;
        r = r ? r : bind_one(&b);
        r = r || !what->mappings ? r : tell_pod(&b);
        if (r)
            return r;
        revision = MAX(revision, b.revision);
    }
    int r = replica_wait_revision(w->replica, claims_res(), revision, mono_add(os_mono(), SECONDS(30)));
    return r == -ECANCELED ? r : 0; /* late news are no reason to give up what is written */
}

void claims_unreserve(const struct claim_work *w, const struct claim_plan *plan, struct arena *a)
{
    for (size_t i = 0; i < plan->n; i++) {
        const struct object *c = plan->list[i].claim;
        struct status s;
        status_init(&s, a);
        if (plan->list[i].mappings) {
            if (plan->list[i].made)
                delete_claim(w->client, plan->list[i].made, a);
            continue;
        }
        struct str patch = arena_printf(a, "{\"metadata\":{\"uid\":\"" STR_FMT "\"},\"status\":{\"reservedFor\":[{\"$patch\":"
                                           "\"delete\",\"uid\":\"" STR_FMT "\"}]}}",
                                        STR_ARG(c->uid), STR_ARG(w->pod->uid));
        /* Whether or not the replica has seen our reservation. */
        client_patch(w->client, CALL(.res = claims_res(), .ns = c->namespace_, .name = c->name, .subresource = "status"),
                     PATCH_STRATEGIC, patch, a, NULL, &s);
    }
}

int claim_deallocate(struct client *client, const struct object *claim, struct arena *a, struct status *s)
{
    static const name_id gone[] = {N_reservedFor, N_allocation, N_devices};
    struct val *v = val_copy(a, claim->val);
    if (str_is(obj_annotation(claim->val, STR(ANN_EXTENDED_CLAIM)), "true")) {
        delete_claim(client, claim, a);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
        val_del(val_sub_obj(a, v, N_status), gone[i]);
    return client_update(client, CALL(.res = claim->res, .ns = claim->namespace_, .name = claim->name, .subresource = "status"),
                         v, a, NULL, s);
}

/* ---- devices that are attached to the node first ------------------------------------------------------------- */

static enum claim_binding look_at_claims(const struct claim_work *w, const struct claim_plan *plan, struct err *e)
{
    enum claim_binding all = CLAIM_READY;
    for (size_t i = 0; i < plan->n; i++) {
        const struct object *was = plan->list[i].made ? plan->list[i].made : plan->list[i].claim;
        const struct object *c = replica_get(w->replica, claims_res(), was->namespace_, was->name);
        const struct val *failed = NULL;
        enum claim_binding b = c ? claim_binding(c->val, &failed) : CLAIM_FAILED;
        if (b == CLAIM_FAILED) {
            err_set(e, FAILED, "device binding failed: claim=" STR_FMT ", reason=" STR_FMT ", message=\"" STR_FMT "\"",
                    STR_ARG(was->name), STR_ARG(val_getstr(failed, N_reason)), STR_ARG(val_getstr(failed, N_message)));
            return b;
        }
        all = b == CLAIM_WAITS ? b : all;
    }
    return all;
}

static bool pod_is_gone(const struct claim_work *w)
{
    const struct object *pod = replica_get(w->replica, &resources[RES_PODS], w->pod->namespace_, w->pod->name);
    return !pod || !str_eq(pod->uid, w->pod->uid) || obj_deleting(pod->val);
}

int claims_wait_ready(const struct claim_work *w, const struct claim_plan *plan, struct err *e)
{
    struct mono until = mono_add(os_mono(), SECONDS(600));
    while (plan->conditions) {
        enum claim_binding b = look_at_claims(w, plan, e);
        if (b != CLAIM_WAITS)
            return b == CLAIM_READY ? 0 : FAILED;
        if (pod_is_gone(w))
            return err_set(e, FAILED, "the pod is gone");
        if (os_mono().ns >= until.ns)
            return err_set(e, FAILED, "device binding timeout: claim=" STR_FMT, STR_ARG(plan->list[0].claim->name));
        struct mono next = mono_add(os_mono(), SECONDS(5));
        int r = waitq_wait(w->moved, next.ns < until.ns ? next : until);
        if (r < 0 && r != -ETIMEDOUT)
            return r;
    }
    return 0;
}
