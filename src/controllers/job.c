/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/job.h"

#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

#define OWN_NAME "kubernetes.io/job-controller" /* in spec.managedBy */
#define POD_KEY "pods/"                         /* keys of pods that no Job looks after: no Job is called so */

int64_t jobsync_completions(const struct jobsync *s)
{
    return val_int(val_get(s->spec, N_completions), -1);
}

struct str jobpod_uid(const struct jobpod *p)
{
    return p->object->uid;
}

void jobsync_tell(struct jobsync *s, bool warning, const char *reason, struct str message)
{
    struct write *x = ARENA_NEW(s->w->arena, struct write);
    *x = (struct write){.verb = WRITE_EVENT,
                        .res = s->job->res,
                        .ns = s->job->namespace_,
                        .name = s->job->name,
                        .body = s->job->val,
                        .warning = warning,
                        .reason = reason,
                        .message = message};
    list_push_back(&s->events, &x->link);
}

const struct val *job_finished(const struct val *job)
{
    VAL_EACH (val_at(job, N_status, N_conditions), c)
        if ((str_is(val_getstr(c, N_type), "Complete") || str_is(val_getstr(c, N_type), "Failed")) &&
            str_is(val_getstr(c, N_status), "True"))
            return c;
    return NULL;
}

static bool managed_elsewhere(const struct val *job)
{
    struct str by = val_str(val_at(job, N_spec, N_managedBy));
    return by.n && !str_is(by, OWN_NAME);
}

/* ---- seeing what is there ---------------------------------------------------------------------------- */

static int64_t completion_index(const struct val *pod)
{
    int64_t i;
    return str_to_i64(obj_annotation(pod, STR(JOB_INDEX)), &i) == 0 && i >= 0 ? i : -1;
}

static struct jobpod jobpod_of(const struct jobsync *s, const struct object *o)
{
    const struct val *v = o->val;
    bool adopted = !obj_controller(v); /* its finalizer is being written */
    struct jobpod p = {
        .object = o,
        .index = completion_index(v),
        .tracked = adopted || obj_has_finalizer(v, STR(JOB_FINALIZER)),
        .succeeded = str_is(pod_phase(v), "Succeeded"),
        .active = pod_active(v),
        .terminating = obj_deleting(v) && !pod_finished(v),
    };
    p.valid = !s->indexed || (p.index >= 0 && p.index < jobsync_completions(s));
    p.ready = p.active && pod_ready(v);
    p.failed = str_is(pod_phase(v), "Failed") || (!s->only_failed && obj_deleting(v) && !p.succeeded);
    if (p.failed)
        p.action = failure_policy(s->w->arena, val_get(s->spec, N_podFailurePolicy), v, NULL);
    return p;
}

static int by_index(const void *pa, const void *pb)
{
    const struct jobpod *a = pa, *b = pb;
    if (a->index != b->index)
        return a->index < b->index ? -1 : 1;
    return str_cmp(a->object->name, b->object->name);
}

static void look_at_pods(struct jobsync *s, const struct objects *pods)
{
    s->pods = ARENA_ARRAY(s->w->arena, struct jobpod, pods->n);
    for (size_t i = 0; i < pods->n; i++)
        s->pods[i] = jobpod_of(s, pods->items[i]);
    s->n_pods = pods->n;
    qsort(s->pods, s->n_pods, sizeof(*s->pods), by_index);
    for (size_t i = 0; i < s->n_pods; i++) {
        s->active += s->pods[i].active;
        s->ready += s->pods[i].ready;
        s->terminating += s->pods[i].terminating;
    }
}

static void put_all(struct map *m, const struct val *list)
{
    VAL_EACH (list, uid)
        map_put(m, val_str(uid), m);
}

static void look_at_status(struct jobsync *s)
{
    struct arena *a = s->w->arena;
    const struct val *uncounted = val_get(s->old_status, N_uncountedTerminatedPods);
    s->status = s->old_status ? val_copy_shallow(a, s->old_status) : val_new(a, VAL_OBJ);
    s->conditions = val_copy(a, val_get(s->old_status, N_conditions)) ?: val_new(a, VAL_LIST);
    put_all(&s->uncounted_succeeded, val_get(uncounted, N_succeeded));
    put_all(&s->uncounted_failed, val_get(uncounted, N_failed));
}

static void count_ended(struct jobsync *s)
{
    s->succeeded = val_int(val_get(s->old_status, N_succeeded), 0) + (int64_t)s->uncounted_succeeded.n;
    s->failed = val_int(val_get(s->old_status, N_failed), 0) + (int64_t)s->uncounted_failed.n;
    for (size_t i = 0; i < s->n_pods; i++) {
        const struct jobpod *p = &s->pods[i];
        s->succeeded += jobpod_newly_succeeded(s, p);
        s->failed += jobpod_newly_failed(s, p) && p->action != FAILURE_IGNORE;
    }
}

static bool fails_index(const struct jobsync *s, const struct jobpod *p)
{
    if (!p->failed || !p->tracked || !p->valid)
        return false;
    return p->action == FAILURE_INDEX ||
           (p->action != FAILURE_IGNORE &&
            jobpod_index_failures(p, false) >= val_int(val_get(s->spec, N_backoffLimitPerIndex), 0));
}

static void look_at_indexes(struct jobsync *s)
{
    struct arena *a = s->w->arena;
    int64_t completions = jobsync_completions(s);
    int64_t *done = ARENA_ARRAY(a, int64_t, s->n_pods), *failed = ARENA_ARRAY(a, int64_t, s->n_pods);
    size_t n_done = 0, n_failed = 0;
    for (size_t i = 0; i < s->n_pods; i++) {
        const struct jobpod *p = &s->pods[i];
        if (p->succeeded && p->tracked && p->valid)
            done[n_done++] = p->index;
        else if (s->per_index && fails_index(s, p))
            failed[n_failed++] = p->index;
    }
    s->done_before = spans_parse(a, val_getstr(s->old_status, N_completedIndexes), completions);
    s->done = spans_with(a, s->done_before, done, n_done);
    s->succeeded = spans_total(s->done);
    if (s->per_index)
        s->failed_indexes = spans_with(
            a, spans_parse(a, val_getstr(s->old_status, N_failedIndexes), completions), failed, n_failed);
}

static int look(struct jobsync *s)
{
    struct selector selector;
    struct objects pods = {0};
    int r = owner_selector(s->w->arena, s->job, &selector);
    if (r < 0)
        return r;
    claim_tracked_pods(s->world, s->job, &selector, JOB_FINALIZER, s->w, &pods);
    look_at_status(s);
    look_at_pods(s, &pods);
    count_ended(s);
    if (s->indexed)
        look_at_indexes(s);
    if (!s->suspended && !val_get(s->status, N_startTime))
        val_set_time(s->w->arena, s->status, N_startTime, s->now);
    return 0;
}

/* ---- is it over? ------------------------------------------------------------------------------------- */

static void decide(struct jobsync *s, const char *type, const char *reason, struct str message)
{
    s->verdict = (struct verdict){type, reason, message};
}

/* What an earlier reconcile has decided stands. */
static void judge_before(struct jobsync *s)
{
    static const char *const before[][2] = {{"SuccessCriteriaMet", "SuccessCriteriaMet"}, {"FailureTarget", "Failed"}};
    for (size_t i = 0; i < ARRAY_SIZE(before) && !s->verdict.type; i++) {
        const struct val *c = condition_find(s->conditions, str_of(before[i][0]));
        if (str_is(val_getstr(c, N_status), "True"))
            decide(s, before[i][1], arena_cstr(s->w->arena, val_getstr(c, N_reason)), val_getstr(c, N_message));
    }
}

static void judge_failure_policy(struct jobsync *s)
{
    const struct val *policy = val_get(s->spec, N_podFailurePolicy);
    struct str message;
    for (size_t i = 0; i < s->n_pods && !s->verdict.type; i++)
        if (s->pods[i].action == FAILURE_JOB) {
            failure_policy(s->w->arena, policy, s->pods[i].object->val, &message);
            decide(s, "FailureTarget", "PodFailurePolicy", message);
        }
}

static int64_t restarts_in(const struct val *statuses)
{
    int64_t n = 0;
    VAL_EACH (statuses, c)
        n += val_int(val_get(c, N_restartCount), 0);
    return n;
}

/* Containers that are restarted in their pods fail as well as pods do. */
static bool restarted_too_often(const struct jobsync *s, int64_t limit)
{
    int64_t n = 0;
    if (!str_is(val_str(val_at(s->spec, N_template, N_spec, N_restartPolicy)), "OnFailure"))
        return false;
    for (size_t i = 0; i < s->n_pods; i++) {
        const struct val *pod = s->pods[i].object->val, *status = val_get(pod, N_status);
        if (str_is(pod_phase(pod), "Running") || str_is(pod_phase(pod), "Pending"))
            n += restarts_in(val_get(status, N_initContainerStatuses)) +
                 restarts_in(val_get(status, N_containerStatuses));
    }
    return limit == 0 ? n > 0 : n >= limit;
}

static void judge_limits(struct jobsync *s)
{
    int64_t limit = val_int(val_get(s->spec, N_backoffLimit), 6);
    const struct val *deadline = val_get(s->spec, N_activeDeadlineSeconds), *start = val_get(s->status, N_startTime);
    if (s->failed > limit || restarted_too_often(s, limit)) {
        decide(s, "FailureTarget", "BackoffLimitExceeded", STR("Job has reached the specified backoff limit"));
        return;
    }
    if (!deadline || !start || s->suspended)
        return;
    int64_t left = seconds_ns(deadline, 0) - (s->now.ns - val_time(start).ns);
    if (left <= 0)
        decide(s, "FailureTarget", "DeadlineExceeded", STR("Job was active longer than specified deadline"));
    else
        writes_again(s->w, left);
}

static void judge_failed_indexes(struct jobsync *s)
{
    const struct val *max = val_get(s->spec, N_maxFailedIndexes);
    int64_t n = spans_total(s->failed_indexes);
    if (max && n > val_int(max, 0))
        decide(s, "FailureTarget", "MaxFailedIndexesExceeded",
               STR("Job has exceeded the specified maximal number of failed indexes"));
    else if (n > 0 && n + spans_total(s->done) >= jobsync_completions(s))
        decide(s, "FailureTarget", "FailedIndexes", STR("Job has failed indexes"));
}

static void judge_success_policy(struct jobsync *s)
{
    struct str why =
        success_policy(s->w->arena, val_get(s->spec, N_successPolicy), jobsync_completions(s), s->done);
    if (why.n)
        decide(s, "SuccessCriteriaMet", "SuccessPolicy", why);
}

/* A Job may meet several ends at once: the order is part of the API. */
static void judge(struct jobsync *s)
{
    static const struct {
        void (*judge)(struct jobsync *s);
        bool indexed; /* only of Indexed Jobs */
    } judges[] = {{judge_before, false},
                  {judge_failure_policy, false},
                  {judge_limits, false},
                  {judge_failed_indexes, true},
                  {judge_success_policy, true}};
    for (size_t i = 0; i < ARRAY_SIZE(judges) && !s->verdict.type; i++)
        if (!judges[i].indexed || s->indexed)
            judges[i].judge(s);
}

static bool is_complete(const struct jobsync *s)
{
    int64_t completions = jobsync_completions(s);
    return s->active == 0 && (completions < 0 ? s->succeeded > 0 : s->succeeded >= completions);
}

/* Of the time that a Job spends suspended, nothing counts against its deadline. */
static void note_suspension(struct jobsync *s)
{
    const char *reason = s->suspended ? "Suspended" : "Resumed";
    struct str message = s->suspended ? STR("Job suspended") : STR("Job resumed");
    if (!job_set_condition(s, "Suspended", s->suspended ? "True" : "False",
                           s->suspended ? "JobSuspended" : "JobResumed", message))
        return;
    jobsync_tell(s, false, reason, message);
    if (s->suspended)
        val_del(s->status, N_startTime);
    else
        val_set_time(s->w->arena, s->status, N_startTime, s->now);
}

/* ---- reconcile --------------------------------------------------------------------------------------- */

static void jobsync_init(struct jobsync *s, const struct snapshot *world, const struct object *job, struct wall now,
                         struct writes *w)
{
    const struct val *spec = val_get(job->val, N_spec);
    *s = (struct jobsync){
        .world = world,
        .job = job,
        .spec = spec,
        .key = obj_key(w->arena, job->namespace_, job->name),
        .now = now,
        .w = w,
        .old_status = val_get(job->val, N_status),
        .indexed = str_is(val_getstr(spec, N_completionMode), "Indexed"),
        .suspended = val_bool(val_get(spec, N_suspend), false),
        .only_failed = str_is(val_getstr(spec, N_podReplacementPolicy), "Failed"),
        .deleting = obj_deleting(job->val),
    };
    s->per_index = s->indexed && val_get(spec, N_backoffLimitPerIndex);
    list_init(&s->events);
}

static void jobsync_done(struct jobsync *s)
{
    map_done(&s->uncounted_succeeded);
    map_done(&s->uncounted_failed);
}

static void act(struct jobsync *s)
{
    judge(s);
    if (s->verdict.type) {
        jobsync_delete_active(s);
        return;
    }
    if (!s->deleting)
        jobsync_manage(s);
    if (is_complete(s))
        decide(s, "SuccessCriteriaMet", "CompletionsReached", STR("Reached expected number of succeeded pods"));
    else if (!s->deleting)
        note_suspension(s);
}

static bool mode_is_known(const struct object *job)
{
    struct str mode = val_str(val_at(job->val, N_spec, N_completionMode));
    return !mode.n || str_is(mode, "NonIndexed") || str_is(mode, "Indexed");
}

static void reconcile_pod(const struct snapshot *world, struct str ns, struct str name, struct writes *w);

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *job = snapshot_get(world, &resources[RES_JOBS], key.ns, key.name);
    if (str_starts(key.name, STR(POD_KEY))) {
        reconcile_pod(world, key.ns, str_from(key.name, sizeof(POD_KEY) - 1), w);
        return 0;
    }
    if (!job || managed_elsewhere(job->val) || job_finished(job->val)) {
        job_memory_forget(w->state, obj_key(w->arena, key.ns, key.name));
        return 0;
    }
    if (!mode_is_known(job)) {
        writes_event(w, job->res, job->val, true, "UnknownCompletionMode",
                     "Skipped Job sync because completion mode is unknown");
        return 0;
    }
    struct jobsync s;
    jobsync_init(&s, world, job, now, w);
    if (look(&s) == 0) { /* a selector that cannot be read will not get better by trying again */
        act(&s);
        jobsync_track(&s);
    }
    jobsync_done(&s);
    return 0;
}

/* No pods can be made (a quota): that others have ended must be accounted for all the same. */
static void refused(const struct snapshot *world, struct key key, const struct write *w, const struct status *why,
                    struct wall now, struct writes *ret)
{
    const struct object *job = snapshot_get(world, &resources[RES_JOBS], key.ns, key.name);
    struct jobsync s;
    if (!job || w->verb != WRITE_CREATE || refused_by_terminating_namespace(why))
        return;
    jobsync_init(&s, world, job, now, ret);
    if (look(&s) == 0) {
        list_init(&ret->list); /* adoption was done by the reconcile that came before */
        if (!s.deleting)
            note_suspension(&s);
        jobsync_track(&s);
    }
    jobsync_done(&s);
}

/* ---- pods that no Job looks after -------------------------------------------------------------------- */

/* Nobody accounts for it (any more): its Job is gone or has ended, or it is nobody's. */
static bool is_left_over(const struct snapshot *world, const struct object *pod)
{
    const struct val *ref = obj_controller(pod->val);
    if (!obj_has_finalizer(pod->val, STR(JOB_FINALIZER)))
        return false;
    if (ref && (!str_is(val_getstr(ref, N_kind), "Job") || !str_is(val_getstr(ref, N_apiVersion), "batch/v1")))
        return false;
    const struct object *job = controlling_owner(world, &resources[RES_JOBS], pod);
    return !job || (job_finished(job->val) && !managed_elsewhere(job->val));
}

static void reconcile_pod(const struct snapshot *world, struct str ns, struct str name, struct writes *w)
{
    const struct object *pod = snapshot_get(world, &resources[RES_PODS], ns, name);
    if (!pod || !is_left_over(world, pod))
        return;
    const struct val *ref = obj_controller(pod->val);
    if (ref && !controlling_owner(world, &resources[RES_JOBS], pod)) {
        struct write *x = writes_add(w, WRITE_CHECK_ABSENT, &resources[RES_JOBS], ns, val_getstr(ref, N_name));
        x->uid = val_getstr(ref, N_uid);
    }
    job_untrack(w, pod, false);
}

/* ---- keys -------------------------------------------------------------------------------------------- */

static void key_of_pod(const struct object *pod, key_sink *sink, void *arg)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    sink(arg, (struct key){pod->namespace_, arena_printf(&a, POD_KEY STR_FMT, STR_ARG(pod->name))});
}

static void keys_of_job(const struct snapshot *world, const struct object *old, const struct object *new_,
                        key_sink *sink, void *arg)
{
    const struct object *o = new_ ? new_ : old;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct objects pods = {0};
    sink(arg, (struct key){o->namespace_, o->name});
    if (new_ && !job_finished(new_->val))
        return;
    owned_children(world, &resources[RES_PODS], &a, o->namespace_, o->uid, &pods);
    for (size_t i = 0; i < pods.n; i++)
        if (obj_has_finalizer(pods.items[i]->val, STR(JOB_FINALIZER)))
            key_of_pod(pods.items[i], sink, arg);
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    if (res == &resources[RES_JOBS]) {
        keys_of_job(world, old, new_, sink, arg);
        return;
    }
    keys_of_owners(world, &resources[RES_JOBS], old, new_, sink, arg);
    if (new_ && is_left_over(world, new_))
        key_of_pod(new_, sink, arg);
}

const struct controller job_controller = {
    .name = "job-controller",
    .alias = "job",
    .reads = (const uint16_t[]){RES_JOBS, RES_PODS, 0},
    .workers = 5,
    .retry_max_ns = SECONDS(60), /* what a quota refuses today it may allow soon */
    .keys_of = keys_of,
    .reconcile = reconcile,
    .refused = refused,
    .state_new = job_memory_new,
    .state_free = job_memory_free,
};
