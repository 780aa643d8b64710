/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/pods.h"

#include "base/map.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

void objects_add(struct arena *a, struct objects *o, const struct object *x)
{
    if (o->n == o->cap) {
        size_t cap = MAX(o->cap * 2, (size_t)16);
        const struct object **items = ARENA_ARRAY(a, const struct object *, cap);
        if (o->n > 0)
            memcpy(items, o->items, o->n * sizeof(*items));
        o->items = items;
        o->cap = cap;
    }
    o->items[o->n++] = x;
}

struct str pod_phase(const struct val *pod)
{
    return val_str(val_at(pod, N_status, N_phase));
}

bool pod_finished(const struct val *pod)
{
    struct str phase = pod_phase(pod);
    return str_is(phase, "Succeeded") || str_is(phase, "Failed");
}

static bool not_running(const struct val *statuses)
{
    VAL_EACH (statuses, s)
        if (!val_at(s, N_state, N_terminated) && !val_at(s, N_state, N_waiting))
            return false;
    return true;
}

bool pod_is_over(const struct val *pod)
{
    return pod_finished(pod) || (obj_deleting(pod) && not_running(val_at(pod, N_status, N_containerStatuses)));
}

bool pod_active(const struct val *pod)
{
    return !pod_finished(pod) && !obj_deleting(pod);
}

static const struct val *ready_condition(const struct val *pod)
{
    return condition_find(val_at(pod, N_status, N_conditions), STR("Ready"));
}

bool pod_ready(const struct val *pod)
{
    return str_is(val_getstr(ready_condition(pod), N_status), "True");
}

/* Zero when unknown. */
static struct wall ready_since(const struct val *pod)
{
    const struct val *c = ready_condition(pod);
    return str_is(val_getstr(c, N_status), "True") ? val_time(val_get(c, N_lastTransitionTime))
                                                   : (struct wall){0};
}

bool pod_available(const struct val *pod, int64_t min_ready_seconds, struct wall now)
{
    if (!pod_ready(pod))
        return false;
    struct wall since = ready_since(pod);
    return min_ready_seconds == 0 || (since.ns != 0 && since.ns + SECONDS(min_ready_seconds) <= now.ns);
}

int64_t pods_next_available(const struct objects *pods, int64_t min_ready_seconds, struct wall now)
{
    int64_t soonest = 0;
    for (size_t i = 0; i < pods->n && min_ready_seconds > 0; i++) {
        struct wall since = ready_since(pods->items[i]->val);
        int64_t left = since.ns + SECONDS(min_ready_seconds) - now.ns;
        if (since.ns != 0 && left > 0 && (soonest == 0 || left < soonest))
            soonest = left;
    }
    return soonest;
}

bool pods_alike(const struct object *old, const struct object *new_)
{
    return old && new_ && str_eq(old->uid, new_->uid) && obj_deleting(old->val) == obj_deleting(new_->val) &&
           str_eq(pod_phase(old->val), pod_phase(new_->val)) &&
           str_eq(index_pod_node(old), index_pod_node(new_)) &&
           val_equal(ready_condition(old->val), ready_condition(new_->val)) &&
           val_equal(obj_labels(old->val), obj_labels(new_->val)) &&
           val_equal(val_get(old->meta, N_ownerReferences), val_get(new_->meta, N_ownerReferences));
}

/* ---- which to delete first --------------------------------------------------------------------------- */

/* What the order looks at, taken from the pod once. */
struct ranked {
    const struct object *pod;
    struct wall now, ready_at, created_at;
    int64_t cost, restarts, colocated;
    int phase;
    bool assigned, ready;
};

static int phase_order(struct str phase)
{
    return str_is(phase, "Pending") ? 0 : str_is(phase, "Running") ? 2 : str_is(phase, "Unknown") ? 1 : 0;
}

static int64_t deletion_cost(const struct val *pod)
{
    int64_t cost;
    struct str s = obj_annotation(pod, STR("controller.kubernetes.io/pod-deletion-cost"));
    return str_to_i64(s, &cost) == 0 ? cost : 0;
}

/* Regular containers first, restartable init containers second: the order only needs one number of them. */
static int64_t max_restarts(const struct val *pod)
{
    int64_t max = 0;
    VAL_EACH (val_at(pod, N_status, N_containerStatuses), c)
        max = MAX(max, val_int(val_get(c, N_restartCount), 0));
    return max;
}

static int64_t log2_of(int64_t ns)
{
    return ns > 0 ? 63 - __builtin_clzll((unsigned long long)ns) : -1;
}

/* Ages are compared by their order of magnitude, so that of pods made in one go any may go (KEP-2185). */
static int compare_age(struct wall a, struct wall b, const struct ranked *x, const struct ranked *y)
{
    int64_t d = log2_of(x->now.ns - a.ns) - log2_of(x->now.ns - b.ns);
    return d ? (d < 0 ? -1 : 1) : str_cmp(x->pod->uid, y->pod->uid);
}

static int compare_times(struct wall a, struct wall b, const struct ranked *x, const struct ranked *y)
{
    if (a.ns == 0 || b.ns == 0)
        return a.ns == 0 ? -1 : 1;
    return compare_age(a, b, x, y);
}

static int sign(int64_t d)
{
    return (d > 0) - (d < 0);
}

static int compare_ranked(const void *pa, const void *pb)
{
    const struct ranked *a = pa, *b = pb;
    if (a->assigned != b->assigned)
        return a->assigned ? 1 : -1;
    if (a->phase != b->phase)
        return a->phase - b->phase;
    if (a->ready != b->ready)
        return a->ready ? 1 : -1;
    if (a->cost != b->cost)
        return sign(a->cost - b->cost);
    if (a->colocated != b->colocated)
        return sign(b->colocated - a->colocated);
    if (a->ready && a->ready_at.ns != b->ready_at.ns)
        return compare_times(a->ready_at, b->ready_at, a, b);
    if (a->restarts != b->restarts)
        return sign(b->restarts - a->restarts);
    if (a->created_at.ns != b->created_at.ns)
        return compare_times(a->created_at, b->created_at, a, b);
    return str_cmp(a->pod->name, b->pod->name); /* the same answer every time */
}

/* How many ready pods each node has. */
static void count_ready(const struct objects *related, struct map *ret)
{
    for (size_t i = 0; i < related->n; i++) {
        struct str node = index_pod_node(related->items[i]);
        if (!str_empty(node) && pod_active(related->items[i]->val) && pod_ready(related->items[i]->val))
            map_put(ret, node, (void *)((uintptr_t)map_get(ret, node) + 1));
    }
}

void pods_rank_for_deletion(struct objects *pods, const struct objects *related, struct wall now,
                            struct arena *a)
{
    struct ranked *r = ARENA_ARRAY(a, struct ranked, pods->n);
    struct map on_node = MAP_INIT;
    count_ready(related, &on_node);
    for (size_t i = 0; i < pods->n; i++) {
        const struct val *v = pods->items[i]->val;
        r[i] = (struct ranked){
            .pod = pods->items[i],
            .now = now,
            .ready_at = ready_since(v),
            .created_at = val_time(val_get(obj_meta(v), N_creationTimestamp)),
            .cost = deletion_cost(v),
            .restarts = max_restarts(v),
            .colocated = (int64_t)(uintptr_t)map_get(&on_node, index_pod_node(pods->items[i])),
            .phase = phase_order(pod_phase(v)),
            .assigned = !str_empty(index_pod_node(pods->items[i])),
            .ready = pod_ready(v),
        };
    }
    map_done(&on_node);
    qsort(r, pods->n, sizeof(*r), compare_ranked);
    for (size_t i = 0; i < pods->n; i++)
        pods->items[i] = r[i].pod;
}

/* ---- making ------------------------------------------------------------------------------------------ */

const struct telling pod_create_telling = {"SuccessfulCreate", "Created pod: ", "FailedCreate",
                                           "Error creating: "};
const struct telling pod_delete_telling = {"SuccessfulDelete", "Deleted pod: ", "FailedDelete",
                                           "Error deleting: "};

/* "owner-" unless that makes names that are too long. */
static struct str name_prefix(struct arena *a, struct str owner)
{
    return owner.n + 1 > 253 ? owner : arena_printf(a, STR_FMT "-", STR_ARG(owner));
}

struct val *pod_from_template(struct arena *a, const struct val *template, const struct resource *owner_res,
                              const struct object *owner)
{
    struct val *pod = val_new(a, VAL_OBJ);
    struct val *meta = val_sub_obj(a, pod, N_metadata);
    val_set_str(a, meta, N_generateName, name_prefix(a, owner->name));
    val_set_str(a, meta, N_namespace, owner->namespace_);
    static const name_id copied[] = {N_labels, N_annotations, N_finalizers};
    for (size_t i = 0; i < ARRAY_SIZE(copied); i++)
        val_set_ref(a, meta, copied[i], val_at(template, N_metadata, copied[i]));
    val_add(a, val_sub_list(a, meta, N_ownerReferences),
            obj_owner_ref(a, api_version(a, owner_res).p, owner_res->kind, owner->val));
    val_set_ref(a, pod, N_spec, val_get(template, N_spec));
    return pod;
}

void writes_create_pod(struct writes *w, const struct val *template, const struct object *owner)
{
    struct write *x = writes_add(w, WRITE_CREATE, &resources[RES_PODS], owner->namespace_, STR_NULL);
    x->body = pod_from_template(w->arena, template, owner->res, owner);
    x->telling = &pod_create_telling;
    x->about_res = owner->res;
    x->about = owner->val;
}

void writes_delete_pod(struct writes *w, const struct object *pod, const struct object *owner)
{
    struct write *x = writes_delete(w, pod);
    x->telling = &pod_delete_telling;
    x->about_res = owner->res;
    x->about = owner->val;
}
