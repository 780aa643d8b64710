/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/deployment.h"

#include "controllers/util.h"
#include "type/meta.h"

#define REVISION "deployment.kubernetes.io/revision"

/* ---- conditions -------------------------------------------------------------------------------------- */

const struct val *rollout_condition(const struct rollout *r, const char *type)
{
    return condition_find(r->conditions, str_of(type));
}

static void remove_condition(struct rollout *r, const char *type)
{
    r->conditions = conditions_without(r->w->arena, r->conditions, str_of(type));
}

/* Puts it at the end of the list, whatever was there before. */
static void put_condition(struct rollout *r, const char *type, const char *status, const char *reason,
                          struct str message, struct str updated, struct str transition)
{
    struct arena *a = r->w->arena;
    remove_condition(r, type);
    struct val *c = val_add_obj(a, r->conditions);
    val_set_str(a, c, N_type, str_of(type));
    val_set_str(a, c, N_status, str_of(status));
    val_set_str(a, c, N_lastUpdateTime, updated);
    val_set_str(a, c, N_lastTransitionTime, transition);
    set_text(a, c, N_reason, str_of(reason));
    set_text(a, c, N_message, message);
}

static struct str now_text(const struct rollout *r)
{
    char buf[TIME_TEXT_MAX];
    return arena_str(r->w->arena, str_of(time_format(r->now, buf)));
}

/* When the status is the same as before, the time of its last change is kept. */
static void replace_condition(struct rollout *r, const char *type, const char *status, const char *reason,
                              struct str message)
{
    const struct val *old = rollout_condition(r, type);
    struct str now = now_text(r);
    bool same = str_is(val_getstr(old, N_status), status);
    put_condition(r, type, status, reason, message, now, same ? val_getstr(old, N_lastTransitionTime) : now);
}

void rollout_set_condition(struct rollout *r, const char *type, const char *status, const char *reason,
                           const char *fmt, ...)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    const struct val *old = rollout_condition(r, type);
    if (str_is(val_getstr(old, N_status), status) && str_is(val_getstr(old, N_reason), reason))
        return;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    replace_condition(r, type, status, reason, buf_str(&b));
}

/* ---- numbers ----------------------------------------------------------------------------------------- */

struct numbers {
    int64_t replicas, updated, ready, available, observed;
};

static struct numbers stored_numbers(const struct rollout *r)
{
    const struct val *s = val_get(r->deployment->val, N_status);
    return (struct numbers){
        .replicas = val_int(val_get(s, N_replicas), 0),
        .updated = val_int(val_get(s, N_updatedReplicas), 0),
        .ready = val_int(val_get(s, N_readyReplicas), 0),
        .available = val_int(val_get(s, N_availableReplicas), 0),
        .observed = val_int(val_get(s, N_observedGeneration), 0),
    };
}

static struct numbers numbers_now(const struct rollout *r)
{
    struct numbers n = {.observed = val_int(val_get(r->deployment->meta, N_generation), 0)};
    for (size_t i = 0; i < r->n_sets; i++) {
        n.replicas += r->sets[i].actual;
        n.ready += r->sets[i].ready;
        n.available += r->sets[i].available;
    }
    n.updated = r->newest ? r->newest->actual : 0;
    return n;
}

static bool is_complete(const struct rollout *r, struct numbers n)
{
    return n.updated == r->wanted && n.replicas == r->wanted && n.available == r->wanted &&
           n.observed >= val_int(val_get(r->deployment->meta, N_generation), 0);
}

bool rollout_was_complete(const struct rollout *r)
{
    return is_complete(r, stored_numbers(r));
}

static bool has_moved(struct numbers old, struct numbers now)
{
    return now.updated > old.updated || now.replicas - now.updated < old.replicas - old.updated ||
           now.ready > old.ready || now.available > old.available;
}

/* -1 when a set's controller does not count them. */
static int64_t terminating(const struct rollout *r)
{
    int64_t n = 0;
    for (size_t i = 0; i < r->n_sets; i++) {
        const struct val *t = val_get(r->sets[i].status, N_terminatingReplicas);
        if (!t && r->sets[i].observed != 0)
            return -1;
        n += val_int(t, 0);
    }
    return n;
}

/* ---- progress ---------------------------------------------------------------------------------------- */

static int64_t deadline_seconds(const struct rollout *r)
{
    return val_int(val_get(r->spec, N_progressDeadlineSeconds), INT32_MAX);
}

bool rollout_has_deadline(const struct rollout *r)
{
    return deadline_seconds(r) != INT32_MAX;
}

static bool timed_out(const struct rollout *r)
{
    const struct val *c = rollout_condition(r, "Progressing");
    struct str reason = val_getstr(c, N_reason);
    if (!c || str_is(reason, "NewReplicaSetAvailable"))
        return false;
    return str_is(reason, "ProgressDeadlineExceeded") ||
           val_time(val_get(c, N_lastUpdateTime)).ns + SECONDS(deadline_seconds(r)) < r->now.ns;
}

static struct str about(const struct rollout *r, const char *what)
{
    if (r->newest)
        return arena_printf(r->w->arena, "ReplicaSet \"" STR_FMT "\" %s", STR_ARG(r->newest->name), what);
    return arena_printf(r->w->arena, "Deployment \"" STR_FMT "\" %s", STR_ARG(r->deployment->name), what);
}

static void judge_progress(struct rollout *r, struct numbers now)
{
    struct str reason = val_getstr(rollout_condition(r, "Progressing"), N_reason);
    if (!rollout_has_deadline(r)) {
        remove_condition(r, "Progressing");
        return;
    }
    if (now.replicas == now.updated && str_is(reason, "NewReplicaSetAvailable"))
        return; /* the last rollout is over; this is an ordinary change of its pods */
    if (is_complete(r, now))
        rollout_set_condition(r, "Progressing", "True", "NewReplicaSetAvailable", STR_FMT,
                              STR_ARG(about(r, "has successfully progressed.")));
    else if (has_moved(stored_numbers(r), now))
        replace_condition(r, "Progressing", "True", "ReplicaSetUpdated", about(r, "is progressing."));
    else if (timed_out(r))
        rollout_set_condition(r, "Progressing", "False", "ProgressDeadlineExceeded", STR_FMT,
                              STR_ARG(about(r, "has timed out progressing.")));
}

static const struct val *failure_of(const struct depset *s)
{
    return s ? condition_find(val_get(s->status, N_conditions), STR("ReplicaFailure")) : NULL;
}

/* A failure of a replica set is one of the deployment, the newest set's first. */
static void take_over_failure(struct rollout *r)
{
    const struct val *c = failure_of(r->newest), *old = rollout_condition(r, "ReplicaFailure");
    for (size_t i = 0; i < r->n_sets && !c; i++)
        c = failure_of(&r->sets[i]);
    if (!c) {
        if (old)
            remove_condition(r, "ReplicaFailure");
        return;
    }
    if (str_eq(val_getstr(old, N_status), val_getstr(c, N_status)) &&
        str_eq(val_getstr(old, N_reason), val_getstr(c, N_reason)))
        return;
    struct str time = val_getstr(c, N_lastTransitionTime);
    put_condition(r, "ReplicaFailure", arena_cstr(r->w->arena, val_getstr(c, N_status)),
                  arena_cstr(r->w->arena, val_getstr(c, N_reason)), val_getstr(c, N_message), time, time);
}

static void judge_availability(struct rollout *r, struct numbers now)
{
    if (now.available >= r->wanted - r->max_unavailable)
        rollout_set_condition(r, "Available", "True", "MinimumReplicasAvailable",
                              "Deployment has minimum availability.");
    else
        rollout_set_condition(r, "Available", "False", "MinimumReplicasUnavailable",
                              "Deployment does not have minimum availability.");
}

/* Nothing will happen that wakes us when the deadline passes. */
static void come_back_at_deadline(struct rollout *r, struct numbers now)
{
    const struct val *c = rollout_condition(r, "Progressing");
    if (!rollout_has_deadline(r) || !c || is_complete(r, now) ||
        str_is(val_getstr(c, N_reason), "ProgressDeadlineExceeded"))
        return;
    int64_t left = val_time(val_get(c, N_lastUpdateTime)).ns + SECONDS(deadline_seconds(r)) - r->now.ns;
    writes_again(r->w, MAX(left, (int64_t)0) + SECONDS(1));
}

/* ---- writing ----------------------------------------------------------------------------------------- */

static void fill_status(struct rollout *r, struct val *s, struct numbers n)
{
    struct arena *a = r->w->arena;
    set_count(a, s, N_observedGeneration, n.observed);
    set_count(a, s, N_replicas, n.replicas);
    set_count(a, s, N_updatedReplicas, n.updated);
    set_count(a, s, N_readyReplicas, n.ready);
    set_count(a, s, N_availableReplicas, n.available);
    set_count(a, s, N_unavailableReplicas, MAX(rollout_total(r) - n.available, (int64_t)0));
    int64_t t = terminating(r);
    if (t >= 0)
        val_set_int(a, s, N_terminatingReplicas, t);
    else
        val_del(s, N_terminatingReplicas);
    val_set_ref(a, s, N_conditions, r->conditions);
}

/* Upstream writes the revision through the status subresource, too: its strategy lets annotations through. */
static bool set_revision(struct rollout *r, struct val *v)
{
    struct arena *a = r->w->arena;
    if (str_empty(r->revision) || str_eq(obj_annotation(v, STR(REVISION)), r->revision))
        return false;
    struct val *meta = val_set(a, v, N_metadata, *val_copy_shallow(a, obj_meta(v)));
    val_put_str(a, own_map(a, meta, N_annotations), STR(REVISION), r->revision);
    return true;
}

void rollout_write_status(struct rollout *r, bool estimate)
{
    struct numbers now = numbers_now(r);
    judge_availability(r, now);
    if (estimate) {
        judge_progress(r, now);
        take_over_failure(r);
        come_back_at_deadline(r, now);
    }
    struct val *status, *v = with_status(r->w->arena, r->deployment, &status);
    fill_status(r, status, now);
    bool same = val_equal(status, val_get(r->deployment->val, N_status));
    if (set_revision(r, v) || !same)
        writes_update_status(r->w, r->deployment->res, v);
}
