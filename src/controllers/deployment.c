/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/deployment.h"

#include "controllers/own.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

/* ---- seeing what is there ---------------------------------------------------------------------------- */

static struct depset depset_of(const struct object *o)
{
    const struct val *status = val_get(o->val, N_status);
    int64_t replicas = val_int(val_at(o->val, N_spec, N_replicas), 1);
    return (struct depset){
        .object = o,
        .name = o->name,
        .replicas = replicas,
        .stored = replicas,
        .status = status,
        .actual = val_int(val_get(status, N_replicas), 0),
        .ready = val_int(val_get(status, N_readyReplicas), 0),
        .available = val_int(val_get(status, N_availableReplicas), 0),
        .observed = val_int(val_get(status, N_observedGeneration), 0),
        .generation = val_int(val_get(o->meta, N_generation), 0),
        .created = val_time(val_get(o->meta, N_creationTimestamp)),
    };
}

static int oldest_first(const void *pa, const void *pb)
{
    const struct depset *a = pa, *b = pb;
    if (a->created.ns != b->created.ns)
        return a->created.ns < b->created.ns ? -1 : 1;
    return str_cmp(a->name, b->name);
}

static void look_at_sets(struct rollout *r, const struct selector *selector)
{
    struct objects owned = {0};
    claim_children(r->world, &resources[RES_REPLICASETS], r->deployment, selector, false, r->w, &owned);
    r->sets = ARENA_ARRAY(r->w->arena, struct depset, owned.n + 1); /* room for a new one */
    for (size_t i = 0; i < owned.n; i++)
        r->sets[r->n_sets++] = depset_of(owned.items[i]);
    qsort(r->sets, r->n_sets, sizeof(*r->sets), oldest_first);
    rollout_find_newest(r);
}

static void look_at_strategy(struct rollout *r)
{
    const struct val *strategy = val_get(r->spec, N_strategy), *rolling = val_get(strategy, N_rollingUpdate);
    r->rolling = !str_is(val_getstr(strategy, N_type), "Recreate");
    r->wanted = val_int(val_get(r->spec, N_replicas), 1);
    if (!r->rolling)
        return;
    int64_t surge = intstr_scaled(val_get(rolling, N_maxSurge), r->wanted, true, 0);
    int64_t unavailable = intstr_scaled(val_get(rolling, N_maxUnavailable), r->wanted, false, 0);
    if (surge == 0 && unavailable == 0)
        unavailable = 1; /* else nothing could ever move */
    r->max_surge = surge;
    r->max_unavailable = r->wanted == 0 ? 0 : MIN(unavailable, r->wanted);
}

static void rollout_init(struct rollout *r, const struct snapshot *world, const struct object *deployment,
                         struct wall now, struct writes *w)
{
    const struct val *status = val_get(deployment->val, N_status), *old = val_get(status, N_conditions);
    *r = (struct rollout){.world = world,
                          .deployment = deployment,
                          .spec = val_get(deployment->val, N_spec),
                          .now = now,
                          .w = w,
                          .collisions = val_int(val_get(status, N_collisionCount), -1)};
    r->conditions = old ? val_copy(w->arena, old) : val_new(w->arena, VAL_LIST);
    look_at_strategy(r);
}

/* ---- rolling ----------------------------------------------------------------------------------------- */

static bool scale_newest(struct rollout *r)
{
    struct depset *n = r->newest;
    if (n->replicas == r->wanted)
        return false;
    if (n->replicas > r->wanted)
        return rollout_scale_set(r, n, r->wanted, false);
    return rollout_scale_set(r, n, rollout_new_replicas(r, n->replicas), false);
}

/* Pods of old sets that are not available can go without making anything worse. Returns how many go. */
static int64_t scale_down_unhealthy(struct rollout *r, int64_t max)
{
    int64_t gone = 0;
    for (size_t i = 0; i < r->n_sets && gone < max; i++) {
        struct depset *s = &r->sets[i];
        if (!rollout_is_old(r, s) || s->replicas == 0 || s->replicas == s->available)
            continue;
        int64_t n = MIN(max - gone, s->replicas - s->available);
        if (n <= 0)
            continue;
        rollout_scale_set(r, s, s->replicas - n, false);
        gone += n;
    }
    return gone;
}

static int64_t scale_down_available(struct rollout *r)
{
    int64_t spare = rollout_available(r) - (r->wanted - r->max_unavailable), gone = 0;
    for (size_t i = 0; i < r->n_sets && gone < spare; i++) {
        struct depset *s = &r->sets[i];
        if (!rollout_is_old(r, s) || s->replicas == 0)
            continue;
        int64_t n = MIN(s->replicas, spare - gone);
        rollout_scale_set(r, s, s->replicas - n, false);
        gone += n;
    }
    return gone;
}

/* How many old pods may go: what stands above the least that must be there, less the new ones that are not up
 * yet. */
static bool scale_down_old(struct rollout *r)
{
    int64_t total = rollout_total(r), least = r->wanted - r->max_unavailable;
    if (total == r->newest->replicas)
        return false;
    int64_t max = total - least - (r->newest->replicas - r->newest->available);
    if (max <= 0)
        return false;
    return scale_down_unhealthy(r, max) + scale_down_available(r) > 0;
}

static void roll(struct rollout *r)
{
    rollout_sync_newest(r, true);
    if (!scale_newest(r) && !scale_down_old(r) && rollout_was_complete(r))
        rollout_clean_up_history(r);
}

/* ---- recreating -------------------------------------------------------------------------------------- */

static bool scale_old_to_nothing(struct rollout *r)
{
    bool scaled = false;
    for (size_t i = 0; i < r->n_sets; i++)
        if (rollout_is_old(r, &r->sets[i]) && r->sets[i].replicas > 0)
            scaled |= rollout_scale_set(r, &r->sets[i], 0, false);
    return scaled;
}

static bool old_pods_run(const struct rollout *r)
{
    for (size_t i = 0; i < r->n_sets; i++) {
        struct objects pods = {0};
        if (!rollout_is_old(r, &r->sets[i]))
            continue;
        if (r->sets[i].actual > 0)
            return true;
        owned_children(r->world, &resources[RES_PODS], r->w->arena, r->deployment->namespace_,
                       r->sets[i].object->uid, &pods);
        for (size_t p = 0; p < pods.n; p++)
            if (!pod_finished(pods.items[p]->val))
                return true;
    }
    return false;
}

static void recreate(struct rollout *r)
{
    rollout_sync_newest(r, false);
    if (scale_old_to_nothing(r) || old_pods_run(r))
        return;
    if (!r->newest)
        rollout_sync_newest(r, true);
    rollout_scale_set(r, r->newest, r->wanted, false);
    if (rollout_was_complete(r))
        rollout_clean_up_history(r);
}

/* ---- reconcile --------------------------------------------------------------------------------------- */

/* Pausing and resuming are marked in the conditions, so that time spent paused does not count as lack of
 * progress. */
static void note_pause(struct rollout *r, bool paused)
{
    struct str reason = val_getstr(rollout_condition(r, "Progressing"), N_reason);
    if (!rollout_has_deadline(r) || str_is(reason, "ProgressDeadlineExceeded"))
        return;
    if (paused && !str_is(reason, "DeploymentPaused"))
        rollout_set_condition(r, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused");
    else if (!paused && str_is(reason, "DeploymentPaused"))
        rollout_set_condition(r, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed");
}

static void scale_only(struct rollout *r, bool paused)
{
    rollout_sync_newest(r, false);
    rollout_scale_in_proportion(r);
    if (paused)
        rollout_clean_up_history(r);
    rollout_write_sets(r);
    rollout_write_status(r, false);
}

static void decide(struct rollout *r)
{
    bool paused = val_bool(val_get(r->spec, N_paused), false);
    if (obj_deleting(r->deployment->val)) {
        rollout_write_status(r, false);
        return;
    }
    note_pause(r, paused);
    if (paused || rollout_is_scaling(r)) {
        scale_only(r, paused);
        return;
    }
    if (r->rolling)
        roll(r);
    else
        recreate(r);
    rollout_write_sets(r);
    rollout_write_status(r, true);
}

/* An empty selector would take every pod of the namespace; it is refused by being ignored. */
static bool refuse_empty_selector(struct rollout *r, const struct selector *selector)
{
    if (selector->n > 0 && !selector->nothing)
        return false;
    writes_event(r->w, r->deployment->res, r->deployment->val, true, "SelectingAll",
                 "This deployment is selecting all pods. A non-empty selector is required.");
    const struct val *generation = val_get(r->deployment->meta, N_generation);
    if (val_int(val_at(r->deployment->val, N_status, N_observedGeneration), 0) < val_int(generation, 0)) {
        struct val *status, *v = with_status(r->w->arena, r->deployment, &status);
        val_set_ref(r->w->arena, status, N_observedGeneration, generation);
        writes_update_status(r->w, r->deployment->res, v);
    }
    return true;
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *d = snapshot_get(world, &resources[RES_DEPLOYMENTS], key.ns, key.name);
    struct selector selector;
    struct rollout r;
    if (!d || owner_selector(w->arena, d, &selector) < 0)
        return 0;
    rollout_init(&r, world, d, now, w);
    if (refuse_empty_selector(&r, &selector))
        return 0;
    look_at_sets(&r, &selector);
    decide(&r);
    return 0;
}

static void refused(const struct snapshot *world, struct key key, const struct write *w,
                    const struct status *why, struct wall now, struct writes *ret)
{
    const struct object *d = snapshot_get(world, &resources[RES_DEPLOYMENTS], key.ns, key.name);
    struct selector selector;
    struct rollout r;
    if (!d || w->verb != WRITE_CREATE || refused_by_terminating_namespace(why) ||
        owner_selector(ret->arena, d, &selector) < 0)
        return;
    rollout_init(&r, world, d, now, ret);
    look_at_sets(&r, &selector);
    list_init(&ret->list); /* adoption was done by the reconcile that came before */
    rollout_create_refused(&r, w, why);
}

/* ---- keys -------------------------------------------------------------------------------------------- */

/* Only the Recreate strategy waits for pods to go. */
static void keys_of_pod(const struct snapshot *world, const struct object *old, const struct object *new_,
                        key_sink *sink, void *arg)
{
    if (new_ && !pod_finished(new_->val))
        return;
    const struct object *set = controlling_owner(world, &resources[RES_REPLICASETS], new_ ? new_ : old);
    const struct object *d = controlling_owner(world, &resources[RES_DEPLOYMENTS], set);
    if (d && str_is(val_str(val_at(d->val, N_spec, N_strategy, N_type)), "Recreate"))
        sink(arg, (struct key){d->namespace_, d->name});
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    const struct object *o = new_ ? new_ : old;
    if (res == &resources[RES_DEPLOYMENTS])
        sink(arg, (struct key){o->namespace_, o->name});
    else if (res == &resources[RES_REPLICASETS])
        keys_of_owners(world, &resources[RES_DEPLOYMENTS], old, new_, sink, arg);
    else
        keys_of_pod(world, old, new_, sink, arg);
}

const struct controller deployment_controller = {
    .name = "deployment-controller",
    .alias = "deployment",
    .reads = (const uint16_t[]){RES_DEPLOYMENTS, RES_REPLICASETS, RES_PODS, 0},
    .workers = 5,
    .keys_of = keys_of,
    .reconcile = reconcile,
    .refused = refused,
};
