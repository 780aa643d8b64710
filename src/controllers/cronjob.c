/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CronJobs. A Job's name is made of the minute that it is for, so that no minute's Job is made twice, whatever happens
 * between making it and saying so in the status; a Job that is there and not in status.active is put there by its name.
 */
#include "controllers/cronjob.h"

#include "base/map.h"
#include "controllers/job.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/cron.h"
#include "type/meta.h"

#define SCHEDULED "batch.kubernetes.io/cronjob-scheduled-timestamp"
#define LATER MILLISECONDS(100) /* clocks differ a little, as upstream */

enum { MANY_MISSED = 100 };

static const struct telling create_telling = {"SuccessfulCreate", "Created job ", "FailedCreate",
                                              "Error creating job: "},
                            delete_telling = {"SuccessfulDelete", "Deleted job ", "FailedDelete", "Deleted job: "};

/* ---- what is remembered ------------------------------------------------------------------------------ */

/* Of one CronJob: since when its schedule is what it is. Times before count for nothing. */
struct memory {
    char *uid, *schedule;
    struct wall since; /* zero: ever since it is known */
};

/* Time zones do not change while the program runs, so that reading them once is as good as having them all. */
struct state {
    struct map zones; /* by name */
    struct tz *local;
    struct map memories; /* by key */
};

static void memory_free(void *p)
{
    struct memory *m = p;
    free(m->uid);
    free(m->schedule);
    free(m);
}

static void zone_free(void *p)
{
    tz_free(p);
}

static void *state_new(const struct controllers_config *config)
{
    struct state *s = NEW(struct state);
    s->local = tz_local();
    return s;
}

static void state_free(void *p)
{
    struct state *s = p;
    map_done_with(&s->zones, zone_free);
    map_done_with(&s->memories, memory_free);
    tz_free(s->local);
    free(s);
}

/* NULL: there is none of that name. */
static const struct tz *zone_of(struct state *s, struct str name)
{
    struct tz *z = map_get(&s->zones, name);
    if (!z && tz_load(name, &z) == 0)
        map_put(&s->zones, name, z);
    return z;
}

static void forget(struct state *s, struct str key)
{
    struct memory *m = map_del(&s->memories, key);
    if (m)
        memory_free(m);
}

static struct wall schedule_since(struct state *s, struct str key, const struct object *cron_job, struct wall now)
{
    struct buf text CLEANUP_BUF = BUF_INIT;
    const struct val *spec = val_get(cron_job->val, N_spec);
    struct str zone = val_getstr(spec, N_timeZone), schedule = val_getstr(spec, N_schedule);
    buf_printf(&text, STR_FMT " " STR_FMT, STR_ARG(zone), STR_ARG(schedule));
    struct memory *m = map_get(&s->memories, key);
    if (m && !str_is(cron_job->uid, m->uid)) {
        forget(s, key);
        m = NULL;
    }
    if (!m) {
        m = NEW(struct memory);
        *m = (struct memory){.uid = str_dup(cron_job->uid), .schedule = str_dup(buf_str(&text))};
        map_put(&s->memories, key, m);
    } else if (!str_is(buf_str(&text), m->schedule)) {
        free(m->schedule);
        m->schedule = str_dup(buf_str(&text));
        m->since = now;
    }
    return m->since;
}

/* ---- one reconcile ----------------------------------------------------------------------------------- */

struct cronsync {
    const struct object *cron_job;
    const struct val *spec;
    struct state *state;
    struct wall now, since;
    struct writes *w;
    struct objects jobs;
    struct val *status, *active; /* as they shall be */
    struct list events;          /* what to tell once the status is written */
    struct cron cron;
    const struct tz *zone;
};

static void tell(struct cronsync *s, bool warning, const char *reason, const char *fmt, ...) PRINTF(4, 5);
static void tell(struct cronsync *s, bool warning, const char *reason, const char *fmt, ...)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    struct write *x = ARENA_NEW(s->w->arena, struct write);
    *x = (struct write){.verb = WRITE_EVENT,
                        .res = s->cron_job->res,
                        .ns = s->cron_job->namespace_,
                        .name = s->cron_job->name,
                        .body = s->cron_job->val,
                        .warning = warning,
                        .reason = reason,
                        .message = arena_str(s->w->arena, buf_str(&b))};
    list_push_back(&s->events, &x->link);
}

static bool is_active(const struct cronsync *s, const struct object *job)
{
    VAL_EACH (s->active, ref)
        if (str_eq(val_getstr(ref, N_uid), job->uid))
            return true;
    return false;
}

static bool take_from_active(struct cronsync *s, struct str uid)
{
    for (size_t i = 0; i < val_len(s->active); i++)
        if (str_eq(val_getstr(val_item(s->active, i), N_uid), uid)) {
            val_remove(s->active, i);
            return true;
        }
    return false;
}

static void add_to_active(struct cronsync *s, const struct object *job)
{
    struct arena *a = s->w->arena;
    struct val *ref = val_add_obj(a, s->active);
    val_set_str(a, ref, N_kind, STR("Job"));
    val_set_str(a, ref, N_namespace, job->namespace_);
    val_set_str(a, ref, N_name, job->name);
    val_set_str(a, ref, N_uid, job->uid);
    val_set_str(a, ref, N_apiVersion, STR("batch/v1"));
    val_set_str(a, ref, N_resourceVersion, val_getstr(job->meta, N_resourceVersion));
}

static struct wall last_schedule(const struct cronsync *s)
{
    return val_time(val_get(s->status, N_lastScheduleTime));
}

static struct str job_name(const struct cronsync *s, struct wall scheduled)
{
    return arena_printf(s->w->arena, STR_FMT "-%lld", STR_ARG(s->cron_job->name),
                        (long long)(scheduled.ns / SECONDS(60)));
}

/* The time a Job was made for; zero when it was made by somebody else (kubectl create job --from). */
static struct wall scheduled_time(const struct cronsync *s, const struct object *job)
{
    struct wall t = {0};
    if (time_parse(obj_annotation(job->val, STR(SCHEDULED)), &t) < 0 || !str_eq(job_name(s, t), job->name))
        return (struct wall){0};
    return t;
}

/* ---- Jobs that are there ----------------------------------------------------------------------------- */

static bool is_complete(const struct val *job)
{
    return str_is(val_getstr(job_finished(job), N_type), "Complete");
}

static void note_success(struct cronsync *s, const struct object *job)
{
    const struct val *done = val_at(job->val, N_status, N_completionTime);
    if (done && is_complete(job->val) && val_time(done).ns > val_time(val_get(s->status, N_lastSuccessfulTime)).ns)
        val_set_time(s->w->arena, s->status, N_lastSuccessfulTime, val_time(done));
}

static void look_at_job(struct cronsync *s, const struct object *job)
{
    const struct val *finished = job_finished(job->val);
    struct wall scheduled = scheduled_time(s, job);
    bool news = scheduled.ns > last_schedule(s).ns;
    if (news)
        val_set_time(s->w->arena, s->status, N_lastScheduleTime, scheduled);
    if (!finished && !is_active(s, job) && !obj_deleting(job->val)) {
        if (scheduled.ns)
            add_to_active(s, job);
        else
            tell(s, true, "UnexpectedJob", "Saw a job that the controller did not create or forgot: " STR_FMT,
                 STR_ARG(job->name));
    }
    if (!finished)
        return;
    if (take_from_active(s, job->uid) || news)
        tell(s, false, "SawCompletedJob", "Saw completed job: " STR_FMT ", condition: " STR_FMT, STR_ARG(job->name),
             STR_ARG(val_getstr(finished, N_type)));
    note_success(s, job);
}

static bool is_there(const struct cronsync *s, struct str uid)
{
    for (size_t i = 0; i < s->jobs.n; i++)
        if (str_eq(s->jobs.items[i]->uid, uid))
            return true;
    return false;
}

/* The server has the last word on whether a Job is gone. */
static void drop_missing(struct cronsync *s)
{
    for (size_t i = 0; i < val_len(s->active);) {
        const struct val *ref = val_item(s->active, i);
        struct str uid = val_getstr(ref, N_uid), name = val_getstr(ref, N_name);
        if (is_there(s, uid)) {
            i++;
            continue;
        }
        writes_add(s->w, WRITE_CHECK_ABSENT, &resources[RES_JOBS], s->cron_job->namespace_, name)->uid = uid;
        tell(s, false, "MissingJob", "Active job went missing: " STR_FMT, STR_ARG(name));
        val_remove(s->active, i);
    }
}

static void delete_job(struct cronsync *s, const struct object *job)
{
    take_from_active(s, job->uid);
    if (obj_deleting(job->val))
        return;
    struct write *x = writes_delete(s->w, job);
    x->propagation = "Background";
    x->telling = &delete_telling;
    x->about_res = s->cron_job->res;
    x->about = s->cron_job->val;
}

static int by_start(const void *pa, const void *pb)
{
    const struct object *a = *(const struct object *const *)pa, *b = *(const struct object *const *)pb;
    struct wall ta = val_time(val_at(a->val, N_status, N_startTime)), tb = val_time(val_at(b->val, N_status, N_startTime));
    if (!ta.ns != !tb.ns)
        return ta.ns ? -1 : 1;
    if (ta.ns != tb.ns)
        return ta.ns < tb.ns ? -1 : 1;
    return str_cmp(a->name, b->name);
}

static void keep_only(struct cronsync *s, const char *condition, const struct val *limit)
{
    struct objects ended = {0};
    for (size_t i = 0; i < s->jobs.n; i++)
        if (str_is(val_getstr(job_finished(s->jobs.items[i]->val), N_type), condition))
            objects_add(s->w->arena, &ended, s->jobs.items[i]);
    int64_t n = limit ? (int64_t)ended.n - val_int(limit, 0) : 0;
    if (n <= 0)
        return;
    qsort(ended.items, ended.n, sizeof(*ended.items), by_start);
    for (int64_t i = 0; i < n; i++)
        delete_job(s, ended.items[i]);
}

/* ---- times ------------------------------------------------------------------------------------------- */

static struct wall next_after(const struct cronsync *s, struct wall t)
{
    return cron_next(&s->cron, t, s->zone);
}

struct slot {
    struct wall earliest, due; /* due: zero when nothing is */
    int64_t missed;
};

/* The last time it should have run, counted from when it last did. Times are taken to be as far apart as the first two:
 * to walk through them one by one could take for ever when a clock was wrong. */
static int find_slot(const struct cronsync *s, bool within_deadline, struct slot *ret)
{
    const struct val *deadline = val_get(s->spec, N_startingDeadlineSeconds);
    struct slot x = {.earliest = last_schedule(s)};
    if (!x.earliest.ns)
        x.earliest = val_time(val_get(s->cron_job->meta, N_creationTimestamp));
    x.earliest.ns = MAX(x.earliest.ns, s->since.ns);
    if (within_deadline && deadline)
        x.earliest.ns = MAX(x.earliest.ns, s->now.ns - seconds_ns(deadline, 0));
    struct wall first = next_after(s, x.earliest), second = first.ns ? next_after(s, first) : (struct wall){0};
    bool waits = first.ns && s->now.ns < first.ns;
    if (!waits && second.ns && s->now.ns < second.ns)
        x.due = first;
    if (waits || x.due.ns) {
        *ret = x;
        return 0;
    }
    int64_t apart = (second.ns - first.ns) / NSEC_PER_SEC;
    if (!second.ns || apart < 1)
        return -EINVAL;
    x.missed = (s->now.ns - first.ns) / NSEC_PER_SEC / apart + 1;
    struct wall t = {first.ns + SECONDS((x.missed - 2) * apart)};
    while (t = next_after(s, t), t.ns && t.ns <= s->now.ns)
        x.due = t;
    *ret = x;
    return 0;
}

static void come_back(struct cronsync *s)
{
    struct slot x;
    struct wall from = s->now;
    if (find_slot(s, false, &x) == 0)
        from = x.due.ns ? x.due : x.missed ? s->now : x.earliest;
    struct wall next = next_after(s, from);
    if (next.ns)
        writes_again(s->w, next.ns + LATER - s->now.ns);
}

/* ---- the schedule ------------------------------------------------------------------------------------ */

/* A zone in front of the schedule was once possible and may still be there. */
static struct str cut_zone(struct cronsync *s, struct str schedule, struct str *ret_zone)
{
    static const char *const prefixes[] = {"TZ=", "CRON_TZ="};
    struct str head, tail;
    if (!str_contains(schedule, STR("TZ")))
        return schedule;
    tell(s, true, "UnsupportedSchedule",
         "CRON_TZ or TZ used in schedule \"" STR_FMT "\" is not officially supported, see "
         "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details",
         STR_ARG(schedule));
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
        if (str_starts(schedule, str_of(prefixes[i])) && str_cut(schedule, ' ', &head, &tail)) {
            *ret_zone = str_from(head, strlen(prefixes[i]));
            return str_trim(tail);
        }
    return schedule;
}

/* False: it says so to the user, and there is nothing to be done before that changes. */
static bool read_schedule(struct cronsync *s)
{
    struct str schedule = val_getstr(s->spec, N_schedule), zone = val_getstr(s->spec, N_timeZone);
    struct err e = {0};
    if (zone.n && !zone_of(s->state, zone)) {
        tell(s, true, "UnknownTimeZone", "invalid timeZone: \"" STR_FMT "\": unknown time zone " STR_FMT,
             STR_ARG(zone), STR_ARG(zone));
        return false;
    }
    if (val_bool(val_get(s->spec, N_suspend), false))
        return false;
    struct str text = cut_zone(s, schedule, &zone);
    s->zone = zone.n ? zone_of(s->state, zone) : s->state->local;
    if (zone.n && !s->zone)
        err_set(&e, -EINVAL, "provided bad location " STR_FMT ": unknown time zone " STR_FMT, STR_ARG(zone),
                STR_ARG(zone));
    else if (cron_parse(text, &s->cron, &e) == 0)
        return true;
    tell(s, true, "UnparseableSchedule", "unparseable schedule: \"" STR_FMT "\" : %s", STR_ARG(schedule), e.text);
    return false;
}

/* ---- making a Job ------------------------------------------------------------------------------------ */

static void create_job(struct cronsync *s, struct wall scheduled)
{
    struct arena *a = s->w->arena;
    const struct val *template = val_get(s->spec, N_jobTemplate);
    struct str name = job_name(s, scheduled), zone = val_getstr(s->spec, N_timeZone);
    struct val *job = val_new(a, VAL_OBJ), *meta = val_sub_obj(a, job, N_metadata);
    char text[TIME_TEXT_MAX];
    val_set_str(a, meta, N_name, name);
    val_set_str(a, meta, N_namespace, s->cron_job->namespace_);
    val_set_ref(a, meta, N_labels, val_at(template, N_metadata, N_labels));
    val_set_ref(a, meta, N_annotations, val_at(template, N_metadata, N_annotations));
    val_put_str(a, own_map(a, meta, N_annotations), STR(SCHEDULED),
                str_of(tz_format(zone.n ? zone_of(s->state, zone) : NULL, scheduled, text)));
    val_add(a, val_sub_list(a, meta, N_ownerReferences),
            obj_owner_ref(a, "batch/v1", "CronJob", s->cron_job->val));
    val_set_ref(a, job, N_spec, val_get(template, N_spec));
    struct write *x = writes_add(s->w, WRITE_CREATE, &resources[RES_JOBS], s->cron_job->namespace_, name);
    x->body = job;
    x->may_fail = 409; /* it was made before, and is not in the replica yet */
    x->telling = &create_telling;
    x->about_res = s->cron_job->res;
    x->about = s->cron_job->val;
    val_set_time(a, s->status, N_lastScheduleTime, scheduled);
}

/* Active Jobs make room for the next. */
static void replace_active(struct cronsync *s)
{
    for (size_t i = 0; i < s->jobs.n; i++)
        if (is_active(s, s->jobs.items[i]))
            delete_job(s, s->jobs.items[i]);
}

static bool is_too_late(const struct cronsync *s, struct wall due)
{
    const struct val *deadline = val_get(s->spec, N_startingDeadlineSeconds);
    return deadline && due.ns + seconds_ns(deadline, 0) < s->now.ns;
}

static struct str rfc1123(struct arena *a, struct wall t)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct civil c = tz_civil(NULL, t.ns / NSEC_PER_SEC);
    return arena_printf(a, "%s, %02d %s %04lld %02d:%02d:%02d +0000", days[c.weekday], c.day, months[c.month - 1],
                        (long long)c.year, c.hour, c.minute, c.second);
}

static void start(struct cronsync *s, struct wall due)
{
    struct str policy = val_getstr(s->spec, N_concurrencyPolicy);
    if (is_too_late(s, due)) {
        tell(s, true, "MissSchedule", "Missed scheduled time to start a job: " STR_FMT,
             STR_ARG(rfc1123(s->w->arena, due)));
        return;
    }
    if (last_schedule(s).ns == due.ns)
        return;
    if (str_is(policy, "Forbid") && val_len(s->active)) {
        tell(s, false, "JobAlreadyActive",
             "Not starting job because prior execution is running and concurrency policy is Forbid");
        return;
    }
    if (str_is(policy, "Replace"))
        replace_active(s);
    create_job(s, due);
}

static void keep_schedule(struct cronsync *s)
{
    struct slot x;
    if (obj_deleting(s->cron_job->val) || !read_schedule(s))
        return;
    if (find_slot(s, true, &x) < 0) {
        tell(s, true, "InvalidSchedule",
             "invalid schedule: " STR_FMT " : time difference between two schedules is less than 1 second",
             STR_ARG(val_getstr(s->spec, N_schedule)));
        return;
    }
    if (x.due.ns && x.missed > MANY_MISSED)
        tell(s, true, "TooManyMissedTimes",
             "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew");
    if (x.due.ns)
        start(s, x.due);
    come_back(s);
}

/* ---- reconcile --------------------------------------------------------------------------------------- */

static void write_status(struct cronsync *s)
{
    struct arena *a = s->w->arena;
    val_set_ref(a, s->status, N_active, val_len(s->active) ? s->active : NULL);
    if (!val_equal(s->status, val_get(s->cron_job->val, N_status))) {
        struct val *v = val_copy_shallow(a, s->cron_job->val);
        val_set_ref(a, v, N_status, s->status);
        writes_update_status(s->w, s->cron_job->res, v);
    }
    for (struct list *l; (l = list_pop_front(&s->events));)
        list_push_back(&s->w->list, l);
}

static void cronsync_init(struct cronsync *s, const struct snapshot *world, const struct object *cron_job,
                          struct wall now, struct writes *w)
{
    const struct val *old = val_get(cron_job->val, N_status);
    *s = (struct cronsync){.cron_job = cron_job,
                           .spec = val_get(cron_job->val, N_spec),
                           .state = w->state,
                           .now = now,
                           .w = w};
    list_init(&s->events);
    s->status = old ? val_copy_shallow(w->arena, old) : val_new(w->arena, VAL_OBJ);
    s->active = val_copy(w->arena, val_get(old, N_active)) ?: val_new(w->arena, VAL_LIST);
    owned_children(world, &resources[RES_JOBS], w->arena, cron_job->namespace_, cron_job->uid, &s->jobs);
}

static void look_at_jobs(struct cronsync *s)
{
    for (size_t i = 0; i < s->jobs.n; i++)
        look_at_job(s, s->jobs.items[i]);
    drop_missing(s);
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *cron_job = snapshot_get(world, &resources[RES_CRONJOBS], key.ns, key.name);
    struct str text = obj_key(w->arena, key.ns, key.name);
    struct cronsync s;
    if (!cron_job) {
        forget(w->state, text);
        return 0;
    }
    cronsync_init(&s, world, cron_job, now, w);
    s.since = schedule_since(s.state, text, cron_job, now);
    keep_only(&s, "Complete", val_get(s.spec, N_successfulJobsHistoryLimit));
    keep_only(&s, "Failed", val_get(s.spec, N_failedJobsHistoryLimit));
    look_at_jobs(&s);
    keep_schedule(&s);
    write_status(&s);
    return 0;
}

/* No Job can be made or deleted: what has become of the others goes into the status all the same. */
static void refused(const struct snapshot *world, struct key key, const struct write *w, const struct status *why,
                    struct wall now, struct writes *ret)
{
    const struct object *cron_job = snapshot_get(world, &resources[RES_CRONJOBS], key.ns, key.name);
    struct cronsync s;
    if (!cron_job || (w->verb != WRITE_CREATE && w->verb != WRITE_DELETE) || refused_by_terminating_namespace(why))
        return;
    cronsync_init(&s, world, cron_job, now, ret);
    look_at_jobs(&s);
    write_status(&s);
}

static void key_of_owner(const struct snapshot *world, const struct object *job, key_sink *sink, void *arg)
{
    const struct object *owner = controlling_owner(world, &resources[RES_CRONJOBS], job);
    if (owner)
        sink(arg, (struct key){owner->namespace_, owner->name});
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    const struct object *o = new_ ? new_ : old;
    if (res == &resources[RES_CRONJOBS]) {
        sink(arg, (struct key){o->namespace_, o->name});
        return;
    }
    key_of_owner(world, old, sink, arg);
    key_of_owner(world, new_, sink, arg);
}

const struct controller cronjob_controller = {
    .name = "cronjob-controller",
    .alias = "cronjob",
    .reads = (const uint16_t[]){RES_CRONJOBS, RES_JOBS, 0},
    .workers = 5,
    .keys_of = keys_of,
    .reconcile = reconcile,
    .refused = refused,
    .state_new = state_new,
    .state_free = state_free,
};
