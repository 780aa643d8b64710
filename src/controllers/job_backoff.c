/* SPDX-License-Identifier: Apache-2.0 */
/* When the next pod of a Job may be made. The number of failures since the last success is nowhere in the API: it is
 * what this controller remembers. */
#include "controllers/job.h"

#include "controllers/util.h"
#include "type/meta.h"

#define BACKOFF_FIRST SECONDS(10)
#define BACKOFF_MAX SECONDS(600)

struct failures {
    int64_t n; /* since the last success */
    struct wall last;
};

/* Of one Job. What a reconcile has found counts only once its pods are in the status: as long as the first of them is
 * still new in the next one, its write was refused and they are found again. */
struct memory {
    char *uid; /* the Job's */
    struct failures known, found;
    char *first_found; /* uid of a pod; NULL: nothing is open */
    struct map ahead;  /* pods that ended in the future, by uid: when that was seen (struct wall) */
};

static void memory_clear(struct memory *m)
{
    free(m->uid);
    free(m->first_found);
    map_done_with(&m->ahead, free);
    *m = (struct memory){0};
}

static void memory_free(void *p)
{
    memory_clear(p);
    free(p);
}

void *job_memory_new(const struct controllers_config *config)
{
    return NEW(struct map);
}

void job_memory_free(void *state)
{
    map_done_with(state, memory_free);
    free(state);
}

void job_memory_forget(void *state, struct str key)
{
    struct memory *m = map_del(state, key);
    if (m)
        memory_free(m);
}

/* ---- when a pod ended -------------------------------------------------------------------------------- */

static bool is_sidecar(const struct val *pod, struct str name)
{
    VAL_EACH (val_at(pod, N_spec, N_initContainers), c)
        if (str_eq(val_getstr(c, N_name), name))
            return str_is(val_getstr(c, N_restartPolicy), "Always");
    return false;
}

/* False when one of them has not ended. */
static bool latest_end(const struct val *pod, const struct val *statuses, bool only_sidecars, struct wall *latest)
{
    VAL_EACH (statuses, c) {
        if (only_sidecars && !is_sidecar(pod, val_getstr(c, N_name)))
            continue;
        struct wall t = val_time(val_at(c, N_state, N_terminated, N_finishedAt));
        if (t.ns == 0)
            return false;
        latest->ns = MAX(latest->ns, t.ns);
    }
    return true;
}

/* Its containers know best; a pod whose node went away has a condition or the time of its deletion instead. */
struct wall pod_finish_time(const struct val *pod)
{
    const struct val *status = val_get(pod, N_status), *meta = obj_meta(pod);
    struct wall t = {0};
    if (latest_end(pod, val_get(status, N_containerStatuses), false, &t) &&
        latest_end(pod, val_get(status, N_initContainerStatuses), true, &t) && t.ns)
        return t;
    const struct val *ready = condition_find(val_get(status, N_conditions), STR("Ready"));
    t = val_time(val_get(ready, N_lastTransitionTime));
    if (str_is(val_getstr(ready, N_status), "False") && t.ns)
        return t;
    t = val_time(val_get(meta, N_deletionTimestamp));
    if (t.ns)
        return (struct wall){t.ns - seconds_ns(val_get(meta, N_deletionGracePeriodSeconds), 0)};
    return val_time(val_get(meta, N_creationTimestamp));
}

/* ---- counting ---------------------------------------------------------------------------------------- */

bool jobpod_newly_succeeded(const struct jobsync *s, const struct jobpod *p)
{
    return p->succeeded && p->tracked && p->valid && !map_has(&s->uncounted_succeeded, jobpod_uid(p));
}

bool jobpod_newly_failed(const struct jobsync *s, const struct jobpod *p)
{
    return p->failed && p->tracked && p->valid && !map_has(&s->uncounted_failed, jobpod_uid(p));
}

/* Ended and in the status already, for a controller that has just started. */
static bool known_success(const struct jobsync *s, const struct jobpod *p)
{
    return p->succeeded && p->valid && !jobpod_newly_succeeded(s, p);
}

static bool known_failure(const struct jobsync *s, const struct jobpod *p)
{
    return str_is(pod_phase(p->object->val), "Failed") && p->valid && !jobpod_newly_failed(s, p);
}

typedef bool is_fn(const struct jobsync *s, const struct jobpod *p);

/* Failures go on from `before` unless there was a success: then those after it count. */
static struct failures count(const struct jobsync *s, struct failures before, is_fn *succeeded, is_fn *failed)
{
    struct failures ret = before;
    struct wall success = {0};
    for (size_t i = 0; i < s->n_pods; i++)
        if (succeeded(s, &s->pods[i]))
            success.ns = MAX(success.ns, pod_finish_time(s->pods[i].object->val).ns);
    if (success.ns)
        ret = (struct failures){0};
    for (size_t i = 0; i < s->n_pods; i++) {
        if (!failed(s, &s->pods[i]))
            continue;
        struct wall t = pod_finish_time(s->pods[i].object->val);
        if (t.ns <= success.ns)
            continue;
        ret.n++;
        ret.last.ns = MAX(ret.last.ns, MIN(t.ns, s->now.ns));
    }
    return ret;
}

static struct memory *remember(struct jobsync *s)
{
    struct map *all = s->w->state;
    struct memory *m = map_get(all, s->key);
    if (m && str_is(s->job->uid, m->uid))
        return m;
    if (m)
        memory_clear(m);
    else
        map_put(all, s->key, m = NEW(struct memory));
    m->uid = str_dup(s->job->uid);
    m->known = count(s, (struct failures){0}, known_success, known_failure);
    return m;
}

/* A pod that was found before: is it found again? */
static const struct jobpod *find_new(const struct jobsync *s, struct str uid)
{
    for (size_t i = 0; i < s->n_pods; i++) {
        const struct jobpod *p = &s->pods[i];
        if ((!uid.n || str_eq(jobpod_uid(p), uid)) && (jobpod_newly_failed(s, p) || jobpod_newly_succeeded(s, p)))
            return p;
    }
    return NULL;
}

static int64_t remaining(struct failures f, struct wall now)
{
    int64_t pause = BACKOFF_FIRST;
    if (f.n == 0)
        return 0;
    for (int64_t i = 1; i < f.n && pause < BACKOFF_MAX; i++)
        pause *= 2;
    return MAX(MIN(pause, BACKOFF_MAX) - (now.ns - f.last.ns), (int64_t)0);
}

int64_t job_backoff(struct jobsync *s)
{
    struct memory *m = remember(s);
    if (m->first_found && !find_new(s, str_of(m->first_found)))
        m->known = m->found;
    free(m->first_found);
    const struct jobpod *first = find_new(s, STR_NULL);
    m->first_found = first ? str_dup(jobpod_uid(first)) : NULL;
    m->known.last.ns = MIN(m->known.last.ns, s->now.ns); /* the clock may have been set back */
    m->found = count(s, m->known, jobpod_newly_succeeded, jobpod_newly_failed);
    return remaining(m->found, s->now);
}

/* The clock of a node may be ahead of ours, or ours may have been set back: what will have ended has ended when we first
 * saw it. */
static struct wall end_until_now(struct jobsync *s, const struct jobpod *p)
{
    struct wall t = pod_finish_time(p->object->val), *seen;
    if (t.ns <= s->now.ns)
        return t;
    struct memory *m = remember(s);
    seen = map_get(&m->ahead, jobpod_uid(p));
    if (!seen) {
        map_put(&m->ahead, jobpod_uid(p), seen = NEW(struct wall));
        *seen = s->now;
    }
    seen->ns = MIN(seen->ns, s->now.ns);
    return *seen;
}

int64_t job_index_backoff(struct jobsync *s, const struct jobpod *last_failed)
{
    if (!last_failed)
        return 0;
    struct failures f = {.n = jobpod_index_failures(last_failed, true) + 1, .last = end_until_now(s, last_failed)};
    return remaining(f, s->now);
}
