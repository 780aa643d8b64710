/* SPDX-License-Identifier: Apache-2.0 */
/* Accounting: every pod that ends is counted once, whatever happens between the writes, since a number and the uid that
 * it stands for change in one write, and a pod loses its finalizer only after its uid (or index) is in the status. */
#include "controllers/job.h"

#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

enum { UNCOUNTED_MAX = 500 }; /* keeps the status small, as upstream */

void job_untrack(struct writes *w, const struct object *pod, bool unchanged)
{
    struct arena *a = w->arena;
    struct write *x = writes_add(w, WRITE_PATCH, pod->res, pod->namespace_, pod->name);
    struct str revision = unchanged ? arena_printf(a, "\"resourceVersion\":\"" STR_FMT "\",",
                                                   STR_ARG(val_getstr(pod->meta, N_resourceVersion)))
                                    : STR("");
    x->strategic = true;
    x->may_fail = 404;
    x->patch = arena_printf(a,
                            "{\"metadata\":{\"uid\":\"" STR_FMT "\"," STR_FMT
                            "\"$deleteFromPrimitiveList/finalizers\":[\"" JOB_FINALIZER "\"]}}",
                            STR_ARG(pod->uid), STR_ARG(revision));
}

/* ---- conditions -------------------------------------------------------------------------------------- */

bool job_set_condition(struct jobsync *s, const char *type, const char *status, const char *reason,
                       struct str message)
{
    struct arena *a = s->w->arena;
    const struct val *old = condition_find(s->conditions, str_of(type));
    if (old ? str_is(val_getstr(old, N_status), status) && str_is(val_getstr(old, N_reason), reason) &&
                  str_eq(val_getstr(old, N_message), message)
            : strcmp(status, "True") != 0)
        return false;
    struct val *c = NULL;
    for (size_t i = 0; i < val_len(s->conditions); i++)
        if (str_is(val_getstr(&s->conditions->items[i], N_type), type))
            c = &s->conditions->items[i];
    if (!c)
        c = val_add_obj(a, s->conditions);
    val_set_str(a, c, N_type, str_of(type));
    val_set_str(a, c, N_status, str_of(status));
    val_set_time(a, c, N_lastProbeTime, s->now);
    val_set_time(a, c, N_lastTransitionTime, s->now);
    val_set_str(a, c, N_reason, str_of(reason));
    val_set_str(a, c, N_message, message);
    return true;
}

/* ---- uids on their way to a number ------------------------------------------------------------------- */

struct account {
    struct jobsync *s;
    struct val *succeeded, *failed; /* lists of uids, as they shall be */
    const struct object **done;     /* pods whose finalizers go */
    size_t n_done;
    int64_t indexes; /* that newly succeeded */
    bool full;
};

/* uids of pods that still have their finalizer; the others become numbers. */
static struct val *still_tracked(struct jobsync *s, const struct map *tracked, name_id which)
{
    struct arena *a = s->w->arena;
    struct val *list = val_new(a, VAL_LIST);
    int64_t n = val_int(val_get(s->old_status, which), 0);
    VAL_EACH (val_at(s->old_status, N_uncountedTerminatedPods, which), uid) {
        if (map_has(tracked, val_str(uid)))
            val_add(a, list, *uid);
        else
            n++;
    }
    set_count(a, s->status, which, n);
    return list;
}

static void count_untracked(struct account *x)
{
    struct jobsync *s = x->s;
    struct map tracked = MAP_INIT;
    for (size_t i = 0; i < s->n_pods; i++)
        if (s->pods[i].tracked)
            map_put(&tracked, jobpod_uid(&s->pods[i]), s);
    x->succeeded = still_tracked(s, &tracked, N_succeeded);
    x->failed = still_tracked(s, &tracked, N_failed);
    map_done(&tracked);
}

/* When the Job has failed, whatever has not ended has failed with it. */
static bool counts_as_failed(const struct jobsync *s, const struct jobpod *p)
{
    if (!p->valid || map_has(&s->uncounted_failed, jobpod_uid(p)))
        return false;
    if (!p->failed && (!s->verdict.type || strcmp(s->verdict.type, "SuccessCriteriaMet") == 0))
        return false;
    const struct val *policy = val_get(s->spec, N_podFailurePolicy);
    return !policy || failure_policy(s->w->arena, policy, p->object->val, NULL) != FAILURE_IGNORE;
}

static void account_for(struct account *x, const struct jobpod *p)
{
    struct jobsync *s = x->s;
    struct str uid = jobpod_uid(p);
    if (p->succeeded && !map_has(&s->uncounted_failed, uid)) {
        if (s->indexed)
            x->indexes += p->valid && !spans_has(s->done_before, p->index);
        else if (!map_has(&s->uncounted_succeeded, uid))
            val_add_str(s->w->arena, x->succeeded, uid);
    } else if (counts_as_failed(s, p)) {
        val_add_str(s->w->arena, x->failed, uid);
    }
    x->full = x->indexes + val_len(x->succeeded) + val_len(x->failed) >= UNCOUNTED_MAX;
}

static bool may_untrack(const struct jobsync *s, const struct jobpod *p)
{
    if (s->deleting || s->verdict.type || p->succeeded)
        return true;
    return p->failed && !jobpod_is_last_failed(s, p);
}

static void account_for_all(struct account *x)
{
    struct jobsync *s = x->s;
    x->done = ARENA_ARRAY(s->w->arena, const struct object *, s->n_pods);
    for (size_t i = 0; i < s->n_pods && !x->full; i++) {
        const struct jobpod *p = &s->pods[i];
        if (!p->tracked || !may_untrack(s, p))
            continue;
        x->done[x->n_done++] = p->object;
        account_for(x, p);
    }
}

/* ---- the end ----------------------------------------------------------------------------------------- */

/* First the status says that the Job is about to end and why. Then its pods go. Then it has ended. */
static void announce_end(struct jobsync *s)
{
    struct verdict *v = &s->verdict;
    if (!v->type || strcmp(v->type, "Failed") == 0)
        return;
    job_set_condition(s, v->type, "True", v->reason, v->message);
    v->type = strcmp(v->type, "FailureTarget") == 0 ? "Failed" : "Complete";
}

static void end(struct jobsync *s)
{
    const struct verdict *v = &s->verdict;
    int64_t completions = jobsync_completions(s);
    job_set_condition(s, v->type, "True", v->reason, v->message);
    bool nothing_to_do = s->suspended && completions == 0;
    if (!val_get(s->status, N_startTime) && !nothing_to_do) /* suspended meanwhile: what has ended has started */
        val_set_time(s->w->arena, s->status, N_startTime, s->now);
    if (strcmp(v->type, "Failed") == 0) {
        jobsync_tell(s, true, v->reason, v->message);
        return;
    }
    /* A clock may have been set back since: the API takes no Job that ends before it starts. */
    struct wall start = val_time(val_get(s->status, N_startTime));
    val_set_time(s->w->arena, s->status, N_completionTime, start.ns > s->now.ns ? start : s->now);
    if (completions >= 0 && val_int(val_get(s->status, N_succeeded), 0) > completions)
        jobsync_tell(s, true, "TooManySucceededPods", STR("Too many succeeded pods running after completion count reached"));
    jobsync_tell(s, false, "Completed", STR("Job completed"));
}

/* ---- writing ----------------------------------------------------------------------------------------- */

static void set_indexes(struct jobsync *s)
{
    struct arena *a = s->w->arena;
    if (!s->indexed)
        return;
    set_count(a, s->status, N_succeeded, spans_total(s->done));
    set_text(a, s->status, N_completedIndexes, spans_text(a, s->done));
    if (s->per_index)
        val_set_str(a, s->status, N_failedIndexes, spans_text(a, s->failed_indexes));
    else
        val_del(s->status, N_failedIndexes);
}

static void set_uncounted(struct account *x)
{
    struct arena *a = x->s->w->arena;
    struct val *uncounted = val_new(a, VAL_OBJ);
    if (x->succeeded->n)
        val_set_ref(a, uncounted, N_succeeded, x->succeeded);
    if (x->failed->n)
        val_set_ref(a, uncounted, N_failed, x->failed);
    val_set_ref(a, x->s->status, N_uncountedTerminatedPods, uncounted);
}

static void write_status(struct jobsync *s)
{
    struct arena *a = s->w->arena;
    set_count(a, s->status, N_active, s->active);
    val_set_int(a, s->status, N_ready, s->ready);
    val_set_int(a, s->status, N_terminating, s->terminating);
    val_set_ref(a, s->status, N_conditions, val_len(s->conditions) ? s->conditions : NULL);
    if (val_equal(s->status, s->old_status))
        return;
    struct val *v = val_copy_shallow(a, s->job->val);
    val_set_ref(a, v, N_status, s->status);
    writes_update_status(s->w, s->job->res, v);
}

void jobsync_track(struct jobsync *s)
{
    struct account x = {.s = s};
    count_untracked(&x);
    account_for_all(&x);
    set_indexes(s);
    set_uncounted(&x);
    announce_end(s);
    if (s->verdict.type && !x.n_done && !x.succeeded->n && !x.failed->n && s->terminating == 0)
        end(s);
    write_status(s);
    for (size_t i = 0; i < x.n_done; i++)
        job_untrack(s->w, x.done[i], false);
    for (struct list *l; (l = list_pop_front(&s->events));)
        list_push_back(&s->w->list, l);
}
