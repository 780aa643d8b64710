/* SPDX-License-Identifier: Apache-2.0 */
/* Pods of a Job: how many there should be, which go, and what they are made like. */
#include "controllers/job.h"

#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

#define INDEX_FAILURES "batch.kubernetes.io/job-index-failure-count"
#define INDEX_IGNORED "batch.kubernetes.io/job-index-ignored-failure-count"
#define INDEX_ENV "JOB_COMPLETION_INDEX"

enum {
    BURST = 500,          /* pods made or deleted in one go, as upstream */
    NAME_PREFIX_MAX = 58, /* the server adds five letters */
};

/* ---- deleting ---------------------------------------------------------------------------------------- */

static void delete_pod(struct jobsync *s, const struct object *pod)
{
    writes_delete_pod(s->w, pod, s->job);
    s->active--;
    s->terminating++;
    s->ready -= pod_ready(pod->val);
}

void jobsync_delete_active(struct jobsync *s)
{
    for (size_t i = 0; i < s->n_pods; i++)
        if (s->pods[i].active)
            delete_pod(s, s->pods[i].object);
}

/* Pods that are deleted because there are too many have not failed: their finalizers go first, unaccounted for. */
static void let_go(struct jobsync *s, const struct objects *pods)
{
    bool all = (int64_t)pods->n == s->active;
    for (size_t i = 0; i < pods->n; i++)
        if (obj_has_finalizer(pods->items[i]->val, STR(JOB_FINALIZER)))
            job_untrack(s->w, pods->items[i], true);
    for (size_t i = 0; i < pods->n; i++)
        delete_pod(s, pods->items[i]);
    for (size_t i = 0; all && i < s->n_pods; i++)
        if (s->pods[i].active)
            s->pods[i].tracked = false;
}

static void rank(struct jobsync *s, struct objects *pods)
{
    const struct objects none = {0};
    pods_rank_for_deletion(pods, &none, s->now, s->w->arena);
}

static void add_all(struct jobsync *s, struct objects *to, const struct objects *from, size_t start, size_t n)
{
    for (size_t i = start; i < start + n; i++)
        objects_add(s->w->arena, to, from->items[i]);
}

/* Of pods with the same index, the one that has come farthest stays. */
static void sort_out_index(struct jobsync *s, struct objects *same, struct objects *go, struct objects *stay)
{
    if (same->n == 0)
        return;
    if (same->n > 1)
        rank(s, same);
    add_all(s, go, same, 0, same->n - 1);
    add_all(s, stay, same, same->n - 1, 1);
    same->n = 0;
}

static void sort_out(struct jobsync *s, struct objects *go, struct objects *stay)
{
    struct objects same = {0};
    int64_t index = -1;
    for (size_t i = 0; i < s->n_pods; i++) {
        const struct jobpod *p = &s->pods[i];
        if (!p->active)
            continue;
        if (s->indexed && !p->valid) {
            objects_add(s->w->arena, go, p->object);
            continue;
        }
        if (!s->indexed || p->index != index)
            sort_out_index(s, &same, go, stay);
        index = p->index;
        objects_add(s->w->arena, &same, p->object);
    }
    sort_out_index(s, &same, go, stay);
}

/* At least so many, and those whose index is none, or somebody else's. */
static void superfluous(struct jobsync *s, int64_t least, struct objects *ret)
{
    struct objects stay = {0};
    sort_out(s, ret, &stay);
    if ((int64_t)ret->n >= least)
        return;
    rank(s, &stay);
    add_all(s, ret, &stay, 0, MIN((size_t)least - ret->n, stay.n));
}

/* ---- failures of an index ---------------------------------------------------------------------------- */

static int64_t number_of(const struct jobpod *p, const char *annotation)
{
    int64_t n;
    struct str s = obj_annotation(p->object->val, str_of(annotation));
    return str_to_i64(s, &n) == 0 && n >= 0 && n <= INT32_MAX ? n : 0;
}

int64_t jobpod_index_failures(const struct jobpod *p, bool ignored_too)
{
    return number_of(p, INDEX_FAILURES) + (ignored_too ? number_of(p, INDEX_IGNORED) : 0);
}

static bool is_later(const struct jobpod *p, const struct jobpod *than)
{
    return jobpod_index_failures(p, true) >= jobpod_index_failures(than, true) &&
           pod_finish_time(p->object->val).ns >= pod_finish_time(than->object->val).ns;
}

static size_t first_of_index(const struct jobsync *s, int64_t index)
{
    size_t lo = 0, hi = s->n_pods;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->pods[mid].index < index)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const struct jobpod *jobsync_last_failed(const struct jobsync *s, int64_t index)
{
    const struct jobpod *last = NULL;
    if (!s->per_index || spans_has(s->done, index) || spans_has(s->failed_indexes, index))
        return NULL;
    for (size_t i = first_of_index(s, index); i < s->n_pods && s->pods[i].index == index; i++) {
        const struct jobpod *p = &s->pods[i];
        if (p->active)
            return NULL; /* it knows the count */
        if (p->failed && p->tracked && p->valid && (!last || is_later(p, last)))
            last = p;
    }
    return last;
}

bool jobpod_is_last_failed(const struct jobsync *s, const struct jobpod *p)
{
    return p->valid && jobsync_last_failed(s, p->index) == p;
}

/* ---- making ------------------------------------------------------------------------------------------ */

static struct val *index_env(struct arena *a)
{
    struct val *env = val_new(a, VAL_OBJ);
    val_set_str(a, env, N_name, STR(INDEX_ENV));
    val_set_str(a, val_sub_obj(a, val_sub_obj(a, env, N_valueFrom), N_fieldRef), N_fieldPath,
                STR("metadata.labels['" JOB_INDEX "']"));
    return env;
}

static bool has_env(const struct val *container, const char *name)
{
    VAL_EACH (val_get(container, N_env), e)
        if (str_is(val_getstr(e, N_name), name))
            return true;
    return false;
}

/* The template's spec whose containers are told their index. */
static const struct val *spec_with_index(struct arena *a, const struct val *spec)
{
    static const name_id lists[] = {N_initContainers, N_containers};
    struct val *ret = val_copy_shallow(a, spec);
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
        struct val *list = val_new(a, VAL_LIST);
        VAL_EACH (val_get(spec, lists[l]), c) {
            struct val *container = val_copy_shallow(a, c);
            if (!has_env(c, INDEX_ENV))
                val_add(a, own_list(a, container, N_env), *index_env(a));
            val_add(a, list, *container);
        }
        if (list->n)
            val_set_ref(a, ret, lists[l], list);
    }
    return ret;
}

static void add_index(struct jobsync *s, struct val *pod, struct val *annotations, int64_t index,
                      const struct val *spec)
{
    struct arena *a = s->w->arena;
    struct val *meta = val_mut(pod, N_metadata);
    struct str number = arena_printf(a, "%lld", (long long)index);
    size_t name_max = NAME_PREFIX_MAX - number.n - 2;
    val_put_str(a, annotations, STR(JOB_INDEX), number);
    val_put_str(a, own_map(a, meta, N_labels), STR(JOB_INDEX), number);
    val_set_str(a, meta, N_generateName,
                arena_printf(a, STR_FMT "-" STR_FMT "-", STR_ARG(str_slice(s->job->name, 0, name_max)),
                             STR_ARG(number)));
    struct val *own_spec = val_copy_shallow(a, spec);
    val_set_str(a, own_spec, N_hostname,
                arena_printf(a, STR_FMT "-" STR_FMT, STR_ARG(s->job->name), STR_ARG(number)));
    val_set_ref(a, pod, N_spec, own_spec);
}

static void add_failures(struct jobsync *s, struct val *annotations, const struct jobpod *replaced)
{
    struct arena *a = s->w->arena;
    int64_t failures = 0, ignored = 0;
    if (replaced) {
        failures = jobpod_index_failures(replaced, false);
        ignored = jobpod_index_failures(replaced, true) - failures;
        if (replaced->action == FAILURE_IGNORE)
            ignored++;
        else
            failures++;
    }
    val_put_str(a, annotations, STR(INDEX_FAILURES), arena_printf(a, "%lld", (long long)failures));
    if (ignored)
        val_put_str(a, annotations, STR(INDEX_IGNORED), arena_printf(a, "%lld", (long long)ignored));
}

/* index: -1 for a Job without. spec: with the environment that an index takes. */
static void create_pod(struct jobsync *s, int64_t index, const struct val *spec)
{
    struct arena *a = s->w->arena;
    struct val *pod = pod_from_template(a, val_get(s->spec, N_template), s->job->res, s->job);
    struct val *meta = val_mut(pod, N_metadata);
    if (!obj_has_finalizer(pod, STR(JOB_FINALIZER)))
        val_add_str(a, own_list(a, meta, N_finalizers), STR(JOB_FINALIZER));
    if (index >= 0) {
        struct val *annotations = own_map(a, meta, N_annotations);
        if (s->per_index)
            add_failures(s, annotations, jobsync_last_failed(s, index));
        add_index(s, pod, annotations, index, spec);
    }
    struct write *x = writes_add(s->w, WRITE_CREATE, &resources[RES_PODS], s->job->namespace_, STR_NULL);
    x->body = pod;
    x->telling = &pod_create_telling;
    x->about_res = s->job->res;
    x->about = s->job->val;
    s->active++;
}

/* Indexes of pods that stand in the way of new ones. */
static struct spans busy_indexes(const struct jobsync *s)
{
    int64_t *indexes = ARENA_ARRAY(s->w->arena, int64_t, s->n_pods);
    size_t n = 0;
    for (size_t i = 0; i < s->n_pods; i++)
        if (s->pods[i].index >= 0 && (s->pods[i].active || (s->only_failed && s->pods[i].terminating)))
            indexes[n++] = s->pods[i].index;
    return spans_with(s->w->arena, (struct spans){0}, indexes, n);
}

/* The lowest so many indexes for which nothing runs and nothing is decided. Returns how many. */
static size_t pending_indexes(const struct jobsync *s, size_t n, int64_t *ret)
{
    struct arena *a = s->w->arena;
    struct spans taken = spans_merge(a, spans_merge(a, s->done, busy_indexes(s)), s->failed_indexes);
    int64_t next = 0, completions = jobsync_completions(s);
    size_t found = 0;
    for (size_t i = 0; i <= taken.n; i++) {
        int64_t end = i < taken.n ? MIN(taken.items[i].first, completions) : completions;
        while (next < end && found < n)
            ret[found++] = next++;
        if (i < taken.n)
            next = MAX(next, taken.items[i].last + 1);
    }
    return found;
}

static void create_indexed(struct jobsync *s, size_t n)
{
    struct arena *a = s->w->arena;
    int64_t *indexes = ARENA_ARRAY(a, int64_t, n);
    const struct val *spec = spec_with_index(a, val_at(s->spec, N_template, N_spec));
    n = pending_indexes(s, n, indexes);
    for (size_t i = 0; i < n; i++) {
        int64_t pause = job_index_backoff(s, jobsync_last_failed(s, indexes[i]));
        if (pause)
            writes_again(s->w, pause);
        else
            create_pod(s, indexes[i], spec);
    }
}

static void create_pods(struct jobsync *s, int64_t n, int64_t pause)
{
    if (n <= 0)
        return;
    if (pause && !s->per_index) {
        writes_again(s->w, pause);
        return;
    }
    n = MIN(n, (int64_t)BURST);
    if (s->indexed) {
        create_indexed(s, (size_t)n);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        create_pod(s, -1, NULL);
}

/* ---- how many ---------------------------------------------------------------------------------------- */

static int64_t wanted_pods(const struct jobsync *s)
{
    int64_t parallelism = val_int(val_get(s->spec, N_parallelism), 1), completions = jobsync_completions(s);
    if (completions < 0)
        return s->succeeded > 0 ? s->active : parallelism;
    return MAX(MIN(completions - s->succeeded, parallelism), (int64_t)0);
}

void jobsync_manage(struct jobsync *s)
{
    struct objects go = {0};
    int64_t pause = job_backoff(s), wanted = s->suspended ? 0 : wanted_pods(s);
    superfluous(s, s->active - wanted, &go);
    if (!s->suspended)
        go.n = MIN(go.n, (size_t)BURST);
    if (go.n) /* deleting and making in one go would make what is deleted next time */
        let_go(s, &go);
    else
        create_pods(s, wanted - s->active - (s->only_failed ? s->terminating : 0), pause);
}
