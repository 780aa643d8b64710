/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/scheduler.h"

#include "base/fiber.h"
#include "base/log.h"
#include "base/os.h"
#include "client/replica.h"
#include "names.h"
#include "resources.h"
#include "scheduler/binding.h"
#include "scheduler/claim_binding.h"
#include "scheduler/extended.h"
#include "scheduler/judge.h"
#include "scheduler/preempt.h"
#include "scheduler/queue.h"
#include "scheduler/volumes.h"
#include "type/claim.h"
#include "type/meta.h"
#include "type/resourceclaim.h"
#include "wire/json.h"

enum { MAX_BINDING = 256, DECISIONS_A_TURN = 32 };

struct scheduler {
    const struct scheduler_config *config;
    struct client *client;
    struct profile own_profile;      /* when none was given */
    const struct profile *profiles;
    size_t n_profiles;
    struct replica *replica;
    struct event_recorder **events;  /* one a profile, in its name */
    struct snapshot objects;         /* borrowed anew for each decision */
    struct volume_promises promises;
    struct claim_promises claim_promises;
    struct inventory_memory inventory;
    struct selector_cache selectors;
    struct device_judge judge;
    struct table table;
    struct pod_queue queue;
    struct world world;
    struct group fibers;
    unsigned binding;        /* bindings and refusals being told */
    struct waitq work, told, volumes; /* volumes: a claim or a volume changed */
    struct waitq claims;              /* a ResourceClaim changed */
};

/* What decisions about volumes and devices read. */
static const uint16_t volume_kinds[] = {RES_PERSISTENTVOLUMECLAIMS, RES_PERSISTENTVOLUMES,    RES_STORAGECLASSES,
                                        RES_CSINODES,               RES_CSIDRIVERS,           RES_CSISTORAGECAPACITIES,
                                        RES_VOLUMEATTACHMENTS,      RES_RESOURCECLAIMS,    RES_RESOURCESLICES,
                                        RES_DEVICECLASSES,          0};

/* ---- following the cluster ------------------------------------------------------------------------------------- */

static bool has_ended(const struct val *pod)
{
    struct str phase = val_getstr(val_get(pod, N_status), N_phase);
    return str_is(phase, "Succeeded") || str_is(phase, "Failed");
}

/* The profile that the pod asks for; NULL: it is another scheduler's. */
static const struct profile *profile_of(const struct scheduler *s, const struct val *pod)
{
    struct str name = val_getstr(val_get(pod, N_spec), N_schedulerName);
    for (size_t i = 0; i < s->n_profiles; i++)
        if (str_is(name.n ? name : STR("default-scheduler"), s->profiles[i].name))
            return &s->profiles[i];
    return NULL;
}

static struct event_recorder *recorder_of(const struct scheduler *s, const struct val *pod)
{
    const struct profile *p = profile_of(s, pod);
    return s->events[p ? (size_t)(p - s->profiles) : 0];
}

static bool waits_for_node(const struct scheduler *s, const struct object *pod)
{
    const struct val *spec = val_get(pod->val, N_spec);
    return !val_getstr(spec, N_nodeName).n && profile_of(s, pod->val) && !obj_deleting(pod->val) && !has_ended(pod->val) &&
           !val_len(val_get(spec, N_schedulingGates)) && claims_made(pod->val);
}

/* Others made room for it, or did not, or it needs it no more. */
static void note_nomination(struct scheduler *s, const struct object *any, bool waits)
{
    struct str node = waits ? val_str(val_at(any->val, N_status, N_nominatedNodeName)) : STR_NULL;
    if (node.n) {
        table_nominate(&s->table, needs_new(&s->table, any), node);
    } else if (map_has(&s->table.nominated, any->uid)) {
        table_unnominate(&s->table, any->uid);
        pod_queue_wake(&s->queue, os_mono());
    }
}

static void pod_changed(struct scheduler *s, const struct object *old, const struct object *new_)
{
    struct str node = new_ ? val_str(val_at(new_->val, N_spec, N_nodeName)) : STR_NULL;
    const struct object *any = new_ ? new_ : old;
    bool placed = new_ && node.n && !has_ended(new_->val);
    if (placed) {
        const struct needs *was = map_get(&s->table.placed, new_->uid);
        struct needs *n = needs_new(&s->table, new_);
        bool smaller = was && (n->cpu < was->cpu || n->memory < was->memory);
        table_place(&s->table, n, node);
        if (smaller) /* resized in place: there is more room */
            pod_queue_wake(&s->queue, os_mono());
    } else if (map_has(&s->table.placed, any->uid) && (!new_ || node.n || has_ended(new_->val))) {
        table_unplace(&s->table, any->uid); /* its room is free */
        pod_queue_wake(&s->queue, os_mono());
    }
    note_nomination(s, any, new_ && waits_for_node(s, new_) && !map_has(&s->table.placed, any->uid));
    if (new_ && waits_for_node(s, new_)) {
        if (!map_has(&s->table.placed, new_->uid)) /* else it is assumed: the binding is on its way */
            pod_queue_put(&s->queue, new_, os_mono());
    } else {
        pod_queue_drop(&s->queue, any->uid);
        if (placed && old && !val_str(val_at(old->val, N_spec, N_nodeName)).n && s->table.n_anti + s->table.n_preferring)
            pod_queue_wake(&s->queue, os_mono()); /* a pod to be near to */
    }
}

/* Heartbeats change a node's status all the time; only what the predicates read is news. */
static bool node_differs(const struct object *a, const struct object *b)
{
    static const name_id spec[] = {N_unschedulable, N_taints};
    if (!a || !b)
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(spec); i++)
        if (!val_equal(val_at(a->val, N_spec, spec[i]), val_at(b->val, N_spec, spec[i])))
            return true;
    return !val_equal(val_at(a->val, N_status, N_allocatable), val_at(b->val, N_status, N_allocatable)) ||
           !val_equal(obj_labels(a->val), obj_labels(b->val));
}

static bool has_volumes(void *arg UNUSED, const struct object *pod)
{
    VAL_EACH(val_at(pod->val, N_spec, N_volumes), v)
    {
        if (val_get(v, N_persistentVolumeClaim) || val_get(v, N_ephemeral))
            return true;
    }
    return false;
}

static bool has_claim(void *arg, const struct object *pod)
{
    const struct object *claim = arg;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    if (!str_eq(pod->namespace_, claim->namespace_))
        return false;
    VAL_EACH(val_at(pod->val, N_spec, N_volumes), v)
    {
        if (str_eq(pod_claim_name(&a, pod->name, v), claim->name))
            return true;
    }
    return false;
}

static bool has_resource_claims(void *arg UNUSED, const struct object *pod)
{
    return val_len(val_at(pod->val, N_spec, N_resourceClaims)) > 0 || extended_possible(val_get(pod->val, N_spec));
}

static bool has_resource_claim(void *arg, const struct object *pod)
{
    const struct object *claim = arg;
    VAL_EACH(val_at(pod->val, N_spec, N_resourceClaims), entry)
    {
        struct str name;
        bool generated;
        if (str_eq(pod->namespace_, claim->namespace_) &&
            pod_resource_claim(pod->val, entry, &name, &generated) == POD_CLAIM_NAMED && str_eq(name, claim->name))
            return true;
    }
    return false;
}

/* A claim concerns the pods that have it; devices that it gives back, and anything else, all that wait for devices. */
static void devices_changed(struct scheduler *s, const struct resource *res, const struct object *old, const struct object *new_)
{
    bool freed = old && val_at(old->val, N_status, N_allocation) && (!new_ || !val_at(new_->val, N_status, N_allocation));
    if (res->index == RES_RESOURCECLAIMS && !freed)
        pod_queue_wake_some(&s->queue, os_mono(), has_resource_claim, (void *)(uintptr_t)(new_ ? new_ : old));
    else
        pod_queue_wake_some(&s->queue, os_mono(), has_resource_claims, NULL);
    waitq_wake_all(&s->claims);
}

static void volumes_changed(struct scheduler *s, const struct resource *res, const struct object *old, const struct object *new_)
{
    const struct object *any = new_ ? new_ : old;
    if (res->index == RES_PERSISTENTVOLUMECLAIMS)
        pod_queue_wake_some(&s->queue, os_mono(), has_claim, (void *)(uintptr_t)any);
    else if (res->index != RES_VOLUMEATTACHMENTS || !new_)
        pod_queue_wake_some(&s->queue, os_mono(), has_volumes, NULL);
    waitq_wake_all(&s->volumes);
}

static void changed(void *arg, const struct resource *res, const struct object *old, const struct object *new_)
{
    struct scheduler *s = arg;
    if (res->index == RES_PODS) {
        pod_changed(s, old, new_);
    } else if (res->index == RES_NODES) {
        table_node(&s->table, old, new_);
        if (new_ && node_differs(old, new_))
            pod_queue_wake(&s->queue, os_mono());
    } else if (res->index == RES_RESOURCECLAIMS || res->index == RES_RESOURCESLICES || res->index == RES_DEVICECLASSES) {
        devices_changed(s, res, old, new_);
    } else {
        for (const uint16_t *k = volume_kinds; *k; k++)
            if (*k == res->index)
                volumes_changed(s, res, old, new_);
    }
    waitq_wake_all(&s->work);
}

/* ---- what decisions ask about the cluster ------------------------------------------------------------------------- */

static const struct val *labels_of_namespace(void *ctx, struct str ns)
{
    struct scheduler *s = ctx;
    const struct object *o = replica_get(s->replica, &resources[RES_NAMESPACES], STR_NULL, ns);
    return o ? obj_labels(o->val) : NULL;
}

static size_t owner_selector(struct scheduler *s, const struct object *pod, struct arena *a, struct selector *ret)
{
    static const uint16_t sets[] = {RES_REPLICASETS, RES_STATEFULSETS};
    const struct val *owner = obj_controller(pod->val);
    struct str kind = val_getstr(owner, N_kind), name = val_getstr(owner, N_name);
    for (size_t i = 0; owner && i < ARRAY_SIZE(sets); i++) {
        const struct object *o = replica_get(s->replica, &resources[sets[i]], pod->namespace_, name);
        if (str_is(kind, resources[sets[i]].kind) && o &&
            selector_from_val(a, val_at(o->val, N_spec, N_selector), ret, NULL) == 0)
            return 1;
    }
    const struct object *rc = str_is(kind, "ReplicationController")
        ? replica_get(s->replica, &resources[RES_REPLICATIONCONTROLLERS], pod->namespace_, name) : NULL;
    if (rc)
        selector_from_map(a, val_at(rc->val, N_spec, N_selector), ret);
    return rc != NULL;
}

static size_t default_selectors(void *ctx, const struct object *pod, struct arena *a, struct selector *ret, size_t max)
{
    struct scheduler *s = ctx;
    size_t n = owner_selector(s, pod, a, ret);
    TREE_EACH(replica_tree(s->replica, &resources[RES_SERVICES]), pod->namespace_, it)
    {
        const struct val *map = val_at(it.object->val, N_spec, N_selector);
        struct selector sel;
        if (!val_len(map) || n == max)
            continue;
        selector_from_map(a, map, &sel);
        if (selector_matches(&sel, obj_labels(pod->val)))
            ret[n++] = sel;
    }
    return n;
}

/* ---- telling ---------------------------------------------------------------------------------------------------------- */

/* A fact to be told to the API server by a fiber of its own. */
struct tell {
    struct scheduler *s;
    struct arena arena;
    const struct object *pod; /* referenced */
    struct str node;          /* bind to it; empty: tell why it does not fit */
    struct str message;
    struct str *victims;      /* "ns/name/uid": to be deleted first */
    size_t n_victims;
    struct str *displaced;    /* likewise: less important pods that were nominated to the node, and are no more */
    size_t n_displaced;
    bool give_up;             /* the room that was made for it is of no use */
    struct volume_plan plan;  /* binding: volumes to be had first; objects referenced */
    struct claim_plan claims; /* likewise: claims of devices to be written first */
    const struct object *obstacle; /* a claim to be deallocated; referenced */
    bool failed;              /* not the pod's fault: "SchedulerError" */
};

static struct tell *tell_new(struct scheduler *s, const struct object *pod)
{
    struct tell *t = NEW(struct tell);
    t->s = s;
    t->pod = object_ref(pod);
    return t;
}

static void tell_free(struct tell *t)
{
    object_unref((struct object *)t->pod);
    for (size_t i = 0; i < t->plan.n; i++) {
        object_unref((struct object *)(uintptr_t)t->plan.list[i].claim);
        object_unref((struct object *)(uintptr_t)t->plan.list[i].volume);
    }
    for (size_t i = 0; i < t->claims.n; i++) {
        object_unref((struct object *)(uintptr_t)t->claims.list[i].claim);
        object_unref((struct object *)(uintptr_t)t->claims.list[i].made);
    }
    object_unref((struct object *)(uintptr_t)t->obstacle);
    arena_done(&t->arena);
    t->s->binding--;
    waitq_wake_all(&t->s->told);
    free(t);
}

static struct val *binding_of(struct arena *a, const struct object *pod, struct str node)
{
    struct val *v = val_new(a, VAL_OBJ), *meta = val_sub_obj(a, v, N_metadata), *target = val_sub_obj(a, v, N_target);
    val_set_str(a, v, N_kind, STR("Binding"));
    val_set_str(a, v, N_apiVersion, STR("v1"));
    val_set_str(a, meta, N_name, pod->name);
    val_set_str(a, meta, N_namespace, pod->namespace_);
    val_set_str(a, meta, N_uid, pod->uid);
    val_set_str(a, target, N_kind, STR("Node"));
    val_set_str(a, target, N_name, node);
    return v;
}

/* It could not be bound: its room is free again, and it is tried again after its back-off. */
static void unassume(struct tell *t)
{
    struct scheduler *s = t->s;
    const struct object *now = replica_get(s->replica, &resources[RES_PODS], t->pod->namespace_, t->pod->name);
    struct needs *assumed = map_get(&s->table.placed, t->pod->uid);
    if (assumed && (!now || !val_str(val_at(now->val, N_spec, N_nodeName)).n))
        table_unplace(&s->table, t->pod->uid);
    if (now && waits_for_node(s, now)) {
        pod_queue_put(&s->queue, now, os_mono());
        struct waiting *w = map_get(&s->queue.pods, now->uid);
        w->tried = os_mono();
    }
    fiber_sleep(MILLISECONDS(100));
    waitq_wake_all(&s->work);
}

/* Has its volumes bound, which may take minutes: others may bind meanwhile. 0, or it was told why not. */
static int get_volumes(struct tell *t)
{
    struct scheduler *s = t->s;
    const struct profile *p = profile_of(s, t->pod->val);
    struct err e = {0};
    if (!t->plan.n)
        return 0;
    struct volume_work work = {.client = s->client, .replica = s->replica, .moved = &s->volumes, .pod = t->pod, .node = t->node,
                               .timeout_ns = p ? p->bind_timeout_ns : SECONDS(600)};
    s->binding--;
    waitq_wake_all(&s->told);
    int r = volumes_bind(&work, &t->plan, &t->arena, &e);
    s->binding++;
    volume_unpromise(&s->promises, &t->plan);
    if (r && r != -ECANCELED)
        event_record(recorder_of(s, t->pod->val), &resources[RES_PODS], t->pod->val, true, "FailedScheduling",
                     "running PreBind plugin \"VolumeBinding\": %s", err_text(&e, r));
    return r;
}

static struct claim_work claim_work_of(struct tell *t)
{
    return (struct claim_work){.client = t->s->client, .replica = t->s->replica, .moved = &t->s->claims, .pod = t->pod};
}

/* Has its claims written, and waits for devices that are attached first. 0, or it was told why not. */
static int get_claims(struct tell *t)
{
    struct scheduler *s = t->s;
    struct claim_work work = claim_work_of(t);
    struct err e = {0};
    int r = claims_bind(&work, &t->claims, &t->arena, &e);
    if (r == 0 && t->claims.conditions) {
        event_record(recorder_of(s, t->pod->val), &resources[RES_PODS], t->pod->val, false, "BindingConditionsPending",
                     "waiting for binding conditions for device on node " STR_FMT, STR_ARG(t->node));
        s->binding--;
        waitq_wake_all(&s->told);
        r = claims_wait_ready(&work, &t->claims, &e);
        s->binding++;
    }
    claim_unpromise(&s->claim_promises, &t->claims);
    if (r && r != -ECANCELED)
        event_record(recorder_of(s, t->pod->val), &resources[RES_PODS], t->pod->val, true, "FailedScheduling",
                     "running PreBind plugin \"DynamicResources\": %s", err_text(&e, r));
    return r;
}

/* It does not go there: what was kept for it is free again. */
static void give_up(struct tell *t)
{
    struct claim_work work = claim_work_of(t);
    claim_unpromise(&t->s->claim_promises, &t->claims);
    claims_unreserve(&work, &t->claims, &t->arena);
    if (t->claims.n)
        pod_queue_wake_some(&t->s->queue, os_mono(), has_resource_claims, NULL);
    unassume(t);
}

static void bind_pod(void *arg)
{
    struct tell *t = arg;
    struct scheduler *s = t->s;
    struct status status;
    status_init(&status, &t->arena);
    int r = get_volumes(t);
    r = r ? r : get_claims(t);
    if (r) {
        give_up(t);
        tell_free(t);
        return;
    }
    r = client_create(s->client,
                      CALL(.res = &resources[RES_PODS], .ns = t->pod->namespace_, .name = t->pod->name,
                           .subresource = "binding"),
                      binding_of(&t->arena, t->pod, t->node), &t->arena, NULL, &status);
    if (r == 0) {
        event_record(recorder_of(s, t->pod->val), &resources[RES_PODS], t->pod->val, false, "Scheduled",
                     "Successfully assigned " STR_FMT "/" STR_FMT " to " STR_FMT, STR_ARG(t->pod->namespace_),
                     STR_ARG(t->pod->name), STR_ARG(t->node));
    } else if (r != -ECANCELED) {
        log_warn("scheduler", "binding " STR_FMT "/" STR_FMT " to " STR_FMT " failed: " STR_FMT, STR_ARG(t->pod->namespace_),
                 STR_ARG(t->pod->name), STR_ARG(t->node), STR_ARG(r > 0 ? status.message : str_of(strerror(-r))));
        give_up(t);
    }
    tell_free(t);
}

/* give_up: it is no longer nominated. */
static struct str condition_patch(struct arena *a, const struct tell *t, struct str nominated)
{
    char now[TIME_TEXT_MAX];
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_puts(&b, "{\"status\":{");
    if (nominated.n) {
        buf_puts(&b, "\"nominatedNodeName\":");
        json_encode_str(&b, nominated, 0);
        buf_putc(&b, ',');
    } else if (t->give_up) {
        buf_puts(&b, "\"nominatedNodeName\":null,");
    }
    buf_printf(&b, "\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":\"%s\","
                   "\"lastProbeTime\":null,\"lastTransitionTime\":\"%s\",\"message\":",
               t->failed ? "SchedulerError" : "Unschedulable", time_format(os_wall(), now));
    json_encode_str(&b, t->message, 0);
    buf_puts(&b, "}]}}");
    return arena_str(a, buf_str(&b));
}

/* Why it has to go, for Jobs and people to tell it from a failure (KEP-3329). Nothing waits for this to succeed. */
static void mark_victim(struct tell *t, struct str ns, struct str name, const struct object *victim, struct status *status)
{
    char now[TIME_TEXT_MAX];
    struct str patch = arena_printf(
        &t->arena,
        "{\"metadata\":{\"uid\":\"" STR_FMT "\"},\"status\":{\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\","
        "\"reason\":\"PreemptionByScheduler\",\"lastTransitionTime\":\"%s\",\"observedGeneration\":%lld,"
        "\"message\":\"" STR_FMT ": preempting to accommodate a higher priority pod\"}]}}",
        STR_ARG(victim->uid), time_format(os_wall(), now), (long long)val_int(val_get(obj_meta(victim->val), N_generation), 0),
        STR_ARG(val_str(val_at(t->pod->val, N_spec, N_schedulerName))));
    int r = client_patch(t->s->client,
                         CALL(.res = &resources[RES_PODS], .ns = ns, .name = name, .subresource = "status"),
                         PATCH_STRATEGIC, patch, &t->arena, NULL, status);
    if (r && r != 404 && r != 409)
        log_warn("scheduler", "status of " STR_FMT "/" STR_FMT ": " STR_FMT, STR_ARG(ns), STR_ARG(name),
                 STR_ARG(r > 0 ? status->message : str_of(strerror(-r))));
}

static void delete_victim(struct tell *t, struct str text)
{
    struct str ns, rest, name, uid;
    struct status status;
    status_init(&status, &t->arena);
    str_cut(text, '/', &ns, &rest);
    str_cut(rest, '/', &name, &uid);
    const struct object *victim = replica_get(t->s->replica, &resources[RES_PODS], ns, name);
    if (victim && str_eq(victim->uid, uid)) {
        event_record(recorder_of(t->s, t->pod->val), &resources[RES_PODS], victim->val, false, "Preempted",
                     "Preempted by pod " STR_FMT " on node " STR_FMT, STR_ARG(t->pod->uid), STR_ARG(t->node));
        mark_victim(t, ns, name, victim, &status); /* from here on the object may be gone */
    }
    int r = client_delete(t->s->client, CALL(.res = &resources[RES_PODS], .ns = ns, .name = name, .uid = uid), &t->arena,
                          NULL, &status);
    if (r && r != 404 && r != 409)
        log_warn("scheduler", "preempting " STR_FMT "/" STR_FMT ": " STR_FMT, STR_ARG(ns), STR_ARG(name),
                 STR_ARG(r > 0 ? status.message : str_of(strerror(-r))));
}

/* Its room goes to somebody more important: it is to look for another. */
static void displace(struct tell *t, struct str text)
{
    struct str ns, rest, name, uid;
    struct status status;
    status_init(&status, &t->arena);
    str_cut(text, '/', &ns, &rest);
    str_cut(rest, '/', &name, &uid);
    client_patch(t->s->client, CALL(.res = &resources[RES_PODS], .ns = ns, .name = name, .uid = uid, .subresource = "status"),
                 PATCH_MERGE, STR("{\"status\":{\"nominatedNodeName\":null}}"), &t->arena, NULL, &status);
}

static void tell_unschedulable(void *arg)
{
    struct tell *t = arg;
    struct status status;
    status_init(&status, &t->arena);
    if (t->obstacle)
        claim_deallocate(t->s->client, t->obstacle, &t->arena, &status); /* or somebody uses it now after all */
    for (size_t i = 0; i < t->n_victims; i++)
        delete_victim(t, t->victims[i]);
    for (size_t i = 0; i < t->n_displaced; i++)
        displace(t, t->displaced[i]);
    int r = client_patch(t->s->client,
                         CALL(.res = &resources[RES_PODS], .ns = t->pod->namespace_, .name = t->pod->name,
                              .subresource = "status"),
                         PATCH_STRATEGIC, condition_patch(&t->arena, t, t->n_victims ? t->node : STR_NULL),
                         &t->arena,
                         NULL, &status);
    if (r && r != 404 && r != -ECANCELED)
        log_warn("scheduler", "status of " STR_FMT "/" STR_FMT ": " STR_FMT, STR_ARG(t->pod->namespace_),
                 STR_ARG(t->pod->name), STR_ARG(r > 0 ? status.message : str_of(strerror(-r))));
    event_record(recorder_of(t->s, t->pod->val), &resources[RES_PODS], t->pod->val, true, "FailedScheduling", STR_FMT, STR_ARG(t->message));
    tell_free(t);
}

static void start_telling(struct scheduler *s, struct tell *t, fiber_fn *fn)
{
    s->binding++;
    group_spawn(&s->fibers, "scheduler-tell", fn, t);
}

/* ---- one pod ------------------------------------------------------------------------------------------------------------ */

static void plan_volumes(struct scheduler *s, struct needs *n, int node, struct tell *t)
{
    if (!n->volumes_matter)
        return;
    volumes_plan_for(&s->world, n, node, &t->arena, &t->plan);
    for (size_t i = 0; i < t->plan.n; i++) {
        object_ref(t->plan.list[i].claim);
        if (t->plan.list[i].volume)
            object_ref(t->plan.list[i].volume);
    }
    volume_promise(&s->promises, &t->plan, t->node);
}

/* False: what the decision rested on is no longer so. */
static bool plan_claims(struct scheduler *s, struct needs *n, int node, struct tell *t)
{
    if (!profile_filters(s->world.profile, PLUGIN_DYNAMIC_RESOURCES))
        return true;
    if (!claims_plan_for(&s->world, n, node, os_random_u64(), &t->arena, &t->claims))
        return false;
    for (size_t i = 0; i < t->claims.n; i++) {
        struct claim_bind *b = &t->claims.list[i];
        if (!b->mappings)
            object_ref(b->claim); /* one that is to be made is ours already */
        b->allocation = val_copy(&t->arena, b->allocation); /* it shares parts with slices and classes */
    }
    claim_promise(&s->claim_promises, &t->claims);
    return true;
}

/* False: it could not be planned after all. */
static bool assume(struct scheduler *s, struct needs *n, int node)
{
    struct tell *t = tell_new(s, n->pod);
    t->node = arena_str(&t->arena, s->table.nodes[node].object->name);
    if (!plan_claims(s, n, node, t)) {
        s->binding++; /* tell_free takes it back */
        t->claims.n = 0;
        tell_free(t);
        return false;
    }
    plan_volumes(s, n, node, t);
    pod_queue_drop(&s->queue, n->pod->uid);
    table_unnominate(&s->table, n->pod->uid);
    table_place(&s->table, n, t->node);
    start_telling(s, t, bind_pod);
    return true;
}

static struct str text_of(struct arena *a, const struct object *pod)
{
    return arena_printf(a, STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(pod->namespace_), STR_ARG(pod->name), STR_ARG(pod->uid));
}

static void find_displaced(const struct scheduler *s, const struct needs *n, int node, struct tell *t)
{
    const struct node *at = &s->table.nodes[node];
    t->displaced = ARENA_ARRAY(&t->arena, struct str, at->n_nominated);
    LIST_EACH(&at->nominated, l)
    {
        const struct needs *other = LIST_ENTRY(l, struct needs, nominee);
        if (other->priority < n->priority)
            t->displaced[t->n_displaced++] = text_of(&t->arena, other->pod);
    }
}

static struct str try_preempting(struct scheduler *s, struct needs *n, const struct decision *d, struct tell *t)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct preemption p;
    const struct tree *tree = replica_tree(s->replica, &resources[RES_PODDISRUPTIONBUDGETS]);
    const struct val **budgets = ARENA_ARRAY(&a, const struct val *, tree_count(tree) + 1);
    size_t n_budgets = 0;
    TREE_EACH(tree, STR_NULL, it)
    {
        budgets[n_budgets++] = it.object->val;
    }
    if (!profile_filters(s->world.profile, PLUGIN_PREEMPTION))
        return STR_NULL;
    if (str_is(val_getstr(n->spec, N_preemptionPolicy), "Never"))
        return STR("preemption: not eligible due to preemptionPolicy=Never.");
    if (!d->n_resolvable)
        p = (struct preemption){.node = -1, .n_unhelpful = s->table.n_present};
    else if (!preempt_allowed(&s->world, n))
        return STR("preemption: not eligible due to a terminating pod on the nominated node.");
    else
        preempt_find(&s->world, n, budgets, n_budgets, &a, &p);
    t->give_up = p.node < 0 && val_str(val_at(n->pod->val, N_status, N_nominatedNodeName)).n > 0;
    if (p.node < 0)
        return preemption_message(&t->arena, &p, s->table.n_present);
    t->node = arena_str(&t->arena, s->table.nodes[p.node].object->name);
    t->victims = ARENA_ARRAY(&t->arena, struct str, p.n_victims);
    for (size_t i = 0; i < p.n_victims; i++)
        t->victims[t->n_victims++] = text_of(&t->arena, p.victims[i]->pod);
    find_displaced(s, n, p.node, t);
    return STR_NULL;
}

static void refuse(struct scheduler *s, struct waiting *w, struct needs *n, const struct decision *d)
{
    if (d->silent) {
        pod_queue_unschedulable(&s->queue, w, os_mono());
        return;
    }
    struct tell *t = tell_new(s, n->pod);
    t->failed = d->failed;
    t->obstacle = d->obstacle ? object_ref(d->obstacle) : NULL;
    t->message = d->failed ? arena_printf(&t->arena, "running \"DynamicResources\" filter plugin: " STR_FMT, STR_ARG(d->whole))
                           : decision_message(&t->arena, d, s->table.n_present);
    if (s->table.n_present && !d->failed) {
        struct str more = try_preempting(s, n, d, t);
        if (more.n)
            t->message = arena_printf(&t->arena, STR_FMT " " STR_FMT, STR_ARG(t->message), STR_ARG(more));
    }
    if (d->failed)
        pod_queue_failed(&s->queue, w, os_mono());
    else
        pod_queue_unschedulable(&s->queue, w, os_mono());
    if (t->n_victims)
        table_nominate(&s->table, needs_new(&s->table, n->pod), t->node);
    if (str_eq(w->said, t->message) && !t->n_victims && !t->give_up && !t->obstacle) {
        s->binding++; /* tell_free takes it back */
        tell_free(t);
        return;
    }
    free((char *)w->said.p);
    w->said = str_n(str_dup(t->message), t->message.n);
    start_telling(s, t, tell_unschedulable);
}

static void schedule_one(struct scheduler *s, struct waiting *w)
{
    struct decision d;
    struct needs *n = needs_new(&s->table, w->pod);
    s->world.profile = profile_of(s, w->pod->val);
    s->world.now = os_wall();
    snapshot_borrow(s->replica, volume_kinds, &s->objects);
    decide(&s->world, n, os_random_u64(), &d);
    if (d.node >= 0 && assume(s, n, d.node))
        return;
    if (d.node >= 0)
        pod_queue_failed(&s->queue, w, os_mono());
    else
        refuse(s, w, n, &d);
    needs_free(n);
}

static int serve(struct scheduler *s)
{
    for (unsigned n = 0;; n++) {
        int r = 0;
        while (s->binding >= MAX_BINDING && (r = waitq_wait(&s->told, MONO_NEVER)) == 0)
            ;
        struct waiting *w = r ? NULL : pod_queue_take(&s->queue, os_mono());
        if (r)
            return r;
        if (w) {
            schedule_one(s, w);
            if (n % DECISIONS_A_TURN == 0)
                fiber_yield(); /* others live on this loop, too */
            continue;
        }
        struct mono next = pod_queue_tick(&s->queue, os_mono());
        if (s->queue.n_ready)
            continue;
        r = waitq_wait(&s->work, next);
        if (r < 0 && r != -ETIMEDOUT)
            return r;
    }
}

static void read_config(struct scheduler *s, const struct scheduler_config *c)
{
    s->own_profile = default_profile;
    if (c->name)
        s->own_profile.name = c->name;
    s->profiles = c->n_profiles ? c->profiles : &s->own_profile;
    s->n_profiles = MAX(c->n_profiles, (size_t)1);
    s->queue.backoff_first = c->backoff_first_ns ? c->backoff_first_ns : SECONDS(1);
    s->queue.backoff_max = c->backoff_max_ns ? c->backoff_max_ns : SECONDS(10);
    s->events = xcalloc(s->n_profiles, sizeof(struct event_recorder *));
    for (size_t i = 0; i < s->n_profiles; i++)
        s->events[i] = event_recorder_new(c->client, s->profiles[i].name, NULL);
}

static void scheduler_done(struct scheduler *s)
{
    group_stop(&s->fibers);
    replica_free(s->replica);
    for (size_t i = 0; i < s->n_profiles; i++)
        event_recorder_free(s->events[i]);
    free(s->events);
    snapshot_return(&s->objects);
    volume_promises_done(&s->promises);
    claim_promises_done(&s->claim_promises);
    inventory_memory_done(&s->inventory);
    selector_cache_done(&s->selectors);
    pod_queue_done(&s->queue);
    table_done(&s->table);
}

int scheduler_run(const struct scheduler_config *c, struct err *e UNUSED)
{
    const struct replica_kind kinds[] = {
        {.res = &resources[RES_PODS], .field_selector = STR("status.phase!=Succeeded,status.phase!=Failed")},
        {.res = &resources[RES_NODES]},
        {.res = &resources[RES_NAMESPACES]},
        {.res = &resources[RES_SERVICES]},
        {.res = &resources[RES_REPLICASETS]},
        {.res = &resources[RES_REPLICATIONCONTROLLERS]},
        {.res = &resources[RES_STATEFULSETS]},
        {.res = &resources[RES_PODDISRUPTIONBUDGETS]},
        {.res = &resources[RES_PERSISTENTVOLUMECLAIMS]},
        {.res = &resources[RES_PERSISTENTVOLUMES]},
        {.res = &resources[RES_STORAGECLASSES]},
        {.res = &resources[RES_CSINODES]},
        {.res = &resources[RES_CSIDRIVERS]},
        {.res = &resources[RES_CSISTORAGECAPACITIES]},
        {.res = &resources[RES_VOLUMEATTACHMENTS]},
        {.res = &resources[RES_RESOURCECLAIMS]},
        {.res = &resources[RES_RESOURCESLICES]},
        {.res = &resources[RES_DEVICECLASSES]},
    };
    struct scheduler s = {.config = c, .client = c->client};
    read_config(&s, c);
    s.world = (struct world){.table = &s.table, .namespace_labels = labels_of_namespace, .default_selectors = default_selectors,
                             .ctx = &s, .objects = &s.objects, .promises = &s.promises, .claim_promises = &s.claim_promises, .judge = &s.judge, .inventory = &s.inventory};
    s.judge = selector_judge(&s.selectors);
    s.replica = replica_new(c->client, kinds, ARRAY_SIZE(kinds));
    replica_on_change(s.replica, changed, &s);
    replica_start(s.replica);
    int r = replica_wait_synced(s.replica, MONO_NEVER); /* half a picture would overfill nodes */
    if (r == 0)
        r = serve(&s);
    scheduler_done(&s);
    return r;
}
