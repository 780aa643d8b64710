/* SPDX-License-Identifier: Apache-2.0 */
/* ReplicaSet and ReplicationController: so many pods of one template. One core for both. */
#include "controllers/replicaset.h"

#include "controllers/own.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

enum { BURST = 500 }; /* pods made or deleted in one go, as upstream */

/* What one reconcile works on. */
struct sync {
    const struct snapshot *world;
    const struct object *set;
    struct objects pods; /* active ones that belong to it */
    int64_t wanted, terminating;
    struct wall now;
    struct writes *w;
};

/* ---- making and deleting pods ------------------------------------------------------------------------ */

/* Pods of all replica sets that share this one's owner (of a deployment's old and new). */
static void related_pods(struct sync *s, struct objects *ret)
{
    struct arena *a = s->w->arena;
    const struct resource *pods = &resources[RES_PODS];
    struct str owner = val_getstr(obj_controller(s->set->val), N_uid);
    if (str_empty(owner)) {
        owned_children(s->world, pods, a, s->set->namespace_, s->set->uid, ret);
        return;
    }
    struct objects sets = {0};
    owned_children(s->world, s->set->res, a, s->set->namespace_, owner, &sets);
    for (size_t i = 0; i < sets.n; i++)
        owned_children(s->world, pods, a, s->set->namespace_, sets.items[i]->uid, ret);
}

static void delete_pods(struct sync *s, size_t n)
{
    struct objects related = {0}, order = {0};
    related_pods(s, &related);
    for (size_t i = 0; i < s->pods.n; i++)
        objects_add(s->w->arena, &order, s->pods.items[i]);
    if (n < order.n)
        pods_rank_for_deletion(&order, &related, s->now, s->w->arena);
    for (size_t i = 0; i < n; i++)
        writes_delete_pod(s->w, order.items[i], s->set);
}

static void manage(struct sync *s)
{
    int64_t missing = s->wanted - (int64_t)s->pods.n;
    const struct val *template = val_at(s->set->val, N_spec, N_template);
    for (int64_t i = 0; i < MIN(missing, (int64_t)BURST); i++)
        writes_create_pod(s->w, template, s->set);
    if (missing < 0)
        delete_pods(s, (size_t)MIN(-missing, (int64_t)BURST));
}

/* ---- status ------------------------------------------------------------------------------------------ */

static bool has_labels_of(const struct val *pod, const struct val *template_labels)
{
    VAL_EACH_ENTRY (template_labels, k, v)
        if (!str_eq(obj_label(pod, val_str(k)), val_str(v)))
            return false;
    return true;
}

static int64_t min_ready_seconds(const struct sync *s)
{
    return val_int(val_at(s->set->val, N_spec, N_minReadySeconds), 0);
}

/* Conditions without (or, when failed is given, with) ReplicaFailure. One that is there stays as it is. */
static void set_failure(struct sync *s, struct val *status, const char *reason, struct str message)
{
    struct arena *a = s->w->arena;
    const struct val *old = val_get(status, N_conditions);
    if ((condition_find(old, STR("ReplicaFailure")) != NULL) == (reason != NULL))
        return;
    struct val *list = conditions_without(a, old, STR("ReplicaFailure"));
    if (reason)
        condition_set(a, list, STR("ReplicaFailure"), "True", reason, message, s->now);
    val_set_ref(a, status, N_conditions, list);
}

static struct val *make_status(struct sync *s, const char *reason, struct str message)
{
    struct arena *a = s->w->arena;
    int64_t labelled = 0, ready = 0, available = 0;
    const struct val *labels = val_at(s->set->val, N_spec, N_template, N_metadata, N_labels);
    for (size_t i = 0; i < s->pods.n; i++) {
        const struct val *pod = s->pods.items[i]->val;
        labelled += has_labels_of(pod, labels);
        ready += pod_ready(pod);
        available += pod_available(pod, min_ready_seconds(s), s->now);
    }
    const struct val *old = val_get(s->set->val, N_status);
    struct val *status = old ? val_copy_shallow(a, old) : val_new(a, VAL_OBJ);
    set_count(a, status, N_replicas, (int64_t)s->pods.n);
    set_count(a, status, N_fullyLabeledReplicas, labelled);
    set_count(a, status, N_readyReplicas, ready);
    set_count(a, status, N_availableReplicas, available);
    if (s->set->res == &resources[RES_REPLICASETS])
        val_set_int(a, status, N_terminatingReplicas, s->terminating);
    val_set_ref(a, status, N_observedGeneration, val_get(s->set->meta, N_generation));
    set_failure(s, status, reason, message);
    if (ready != available)
        writes_again(s->w, pods_next_available(&s->pods, min_ready_seconds(s), s->now) ?: SECONDS(1));
    return status;
}

static void write_status(struct sync *s, const char *reason, struct str message)
{
    struct val *status = make_status(s, reason, message);
    if (val_equal(status, val_get(s->set->val, N_status)))
        return;
    struct val *v = val_copy_shallow(s->w->arena, s->set->val);
    val_set_ref(s->w->arena, v, N_status, status);
    writes_update_status(s->w, s->set->res, v);
}

/* ---- reconcile --------------------------------------------------------------------------------------- */

static int64_t count_terminating(const struct sync *s, const struct selector *selector)
{
    struct objects all = {0};
    int64_t n = 0;
    owned_children(s->world, &resources[RES_PODS], s->w->arena, s->set->namespace_, s->set->uid, &all);
    for (size_t i = 0; i < all.n; i++)
        n += obj_deleting(all.items[i]->val) && !pod_finished(all.items[i]->val) &&
             selector_matches(selector, obj_labels(all.items[i]->val));
    return n;
}

static int look(struct sync *s)
{
    struct selector selector;
    int r = owner_selector(s->w->arena, s->set, &selector);
    if (r < 0)
        return r;
    claim_children(s->world, &resources[RES_PODS], s->set, &selector, true, s->w, &s->pods);
    s->wanted = val_int(val_at(s->set->val, N_spec, N_replicas), 1);
    s->terminating = count_terminating(s, &selector);
    return 0;
}

static int reconcile(const struct snapshot *world, const struct resource *res, struct key key,
                     struct wall now, struct writes *w)
{
    struct sync s = {.world = world, .set = snapshot_get(world, res, key.ns, key.name), .now = now, .w = w};
    if (!s.set || look(&s) < 0)
        return 0; /* a selector that cannot be read will not get better by trying again */
    if (!obj_deleting(s.set->val))
        manage(&s);
    write_status(&s, NULL, STR_NULL);
    return 0;
}

static void refused(const struct snapshot *world, const struct resource *res, struct key key,
                    const struct write *w, const struct status *why, struct wall now, struct writes *ret)
{
    struct sync s = {.world = world, .set = snapshot_get(world, res, key.ns, key.name), .now = now, .w = ret};
    bool create = w->verb == WRITE_CREATE;
    if (!s.set || (!create && w->verb != WRITE_DELETE) || refused_by_terminating_namespace(why) ||
        look(&s) < 0)
        return;
    list_init(&ret->list); /* adoption was done by the reconcile that came before */
    write_status(&s, create ? "FailedCreate" : "FailedDelete", why->message);
}

static void keys_of(const struct snapshot *world, const struct resource *owner_res,
                    const struct resource *res, const struct object *old, const struct object *new_,
                    key_sink *sink, void *arg)
{
    const struct object *o = new_ ? new_ : old;
    if (res == owner_res)
        sink(arg, (struct key){o->namespace_, o->name});
    else if (res == &resources[RES_PODS])
        keys_of_owners(world, owner_res, old, new_, sink, arg);
}

/* ---- the two controllers ----------------------------------------------------------------------------- */

static void rs_keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                       const struct object *new_, key_sink *sink, void *arg)
{
    keys_of(world, &resources[RES_REPLICASETS], res, old, new_, sink, arg);
}

static int rs_reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *ret)
{
    return reconcile(world, &resources[RES_REPLICASETS], key, now, ret);
}

static void rs_refused(const struct snapshot *world, struct key key, const struct write *w,
                       const struct status *s, struct wall now, struct writes *ret)
{
    refused(world, &resources[RES_REPLICASETS], key, w, s, now, ret);
}

static void rc_keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                       const struct object *new_, key_sink *sink, void *arg)
{
    keys_of(world, &resources[RES_REPLICATIONCONTROLLERS], res, old, new_, sink, arg);
}

static int rc_reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *ret)
{
    return reconcile(world, &resources[RES_REPLICATIONCONTROLLERS], key, now, ret);
}

static void rc_refused(const struct snapshot *world, struct key key, const struct write *w,
                       const struct status *s, struct wall now, struct writes *ret)
{
    refused(world, &resources[RES_REPLICATIONCONTROLLERS], key, w, s, now, ret);
}

const struct controller replicaset_controller = {
    .name = "replicaset-controller",
    .alias = "replicaset",
    .reads = (const uint16_t[]){RES_REPLICASETS, RES_PODS, 0},
    .workers = 5,
    .keys_of = rs_keys_of,
    .reconcile = rs_reconcile,
    .refused = rs_refused,
};

const struct controller replicationcontroller_controller = {
    .name = "replicationcontroller-controller",
    .account = "replication-controller",
    .alias = "replicationcontroller",
    .source = "replication-controller",
    .reads = (const uint16_t[]){RES_REPLICATIONCONTROLLERS, RES_PODS, 0},
    .workers = 5,
    .keys_of = rc_keys_of,
    .reconcile = rc_reconcile,
    .refused = rc_refused,
};
