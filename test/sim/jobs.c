/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thousand Jobs on a cluster on virtual time, whose containers end well or badly by themselves while nodes, roads, disks
 * and the control plane fail. All must complete, and every pod must be accounted for exactly once: somebody who watches
 * all the time knows which pods have succeeded and which have failed, and each Job's numbers must be the same.
 *
 *     sim_jobs --seed 7 --trace          one seed, and its history
 *     sim_jobs --seed 1 --seeds 20       seeds 1 to 20
 */
#include <stdio.h>
#include <unistd.h>

#include "blame.h"
#include "base/flags.h"
#include "base/log.h"
#include "base/os.h"
#include "client/replica.h"
#include "controllers/job.h"
#include "resources.h"
#include "sim/world.h"
#include "trouble.h"
#include "type/meta.h"
#include "wire/json.h"

struct options {
    int64_t seed, seeds, nodes, jobs, trouble_s;
    bool calm, dump, trace, verbose;
};

/* A pod, by uid, as it was when it was last seen. */
struct seen_pod {
    char *job; /* uid */
    bool succeeded, failed, deleted, gone;
    bool tracked; /* it had its finalizer when it was first seen to have ended: it must be counted */
};

/* A Job's numbers: they only grow. */
struct seen_job {
    int64_t succeeded, failed;
};

struct scene {
    const struct options *options;
    struct cluster_world world;
    struct replica *replica;
    struct map pods, jobs; /* uid -> struct seen_pod, struct seen_job */
    bool over;
    char why[600];
    size_t n_succeeded, n_failed, n_missed;
    uint64_t hash;
};

#define fail(s, ...) blame((s)->why, sizeof((s)->why), __VA_ARGS__)

/* ---- watching ---------------------------------------------------------------------------------------------------- */

static void see_pod(struct scene *s, const struct object *old, const struct object *new_)
{
    const struct object *o = new_ ? new_ : old;
    struct seen_pod *p = map_get(&s->pods, o->uid);
    struct str phase = val_str(val_at(o->val, N_status, N_phase));
    if (!p) {
        p = NEW(struct seen_pod);
        p->job = str_dup(val_getstr(obj_controller(o->val), N_uid));
        map_put(&s->pods, o->uid, p);
    }
    if (p->succeeded && str_is(phase, "Failed"))
        fail(s, "pod " STR_FMT " failed after it had succeeded", STR_ARG(o->name));
    if (!p->succeeded && !p->failed)
        p->tracked = obj_has_finalizer(o->val, STR(JOB_FINALIZER));
    p->succeeded |= str_is(phase, "Succeeded");
    p->failed |= str_is(phase, "Failed");
    p->deleted |= obj_deleting(o->val) || !new_;
    p->gone = !new_;
}

static bool is_indexed(const struct object *job)
{
    return str_is(val_str(val_at(job->val, N_spec, N_completionMode)), "Indexed");
}

static void see_job(struct scene *s, const struct object *o)
{
    const struct val *status = val_get(o->val, N_status);
    struct seen_job now = {val_int(val_get(status, N_succeeded), 0), val_int(val_get(status, N_failed), 0)};
    struct seen_job *j = map_get(&s->jobs, o->uid);
    if (!j)
        map_put(&s->jobs, o->uid, j = NEW(struct seen_job));
    if (now.succeeded < j->succeeded || now.failed < j->failed)
        fail(s, "the numbers of " STR_FMT " went back", STR_ARG(o->name));
    if (is_indexed(o) && now.succeeded > val_int(val_at(o->val, N_spec, N_completions), 0))
        fail(s, STR_FMT " has more successes than it has indexes", STR_ARG(o->name));
    *j = now;
}

static void on_change(void *arg, const struct resource *res, const struct object *old, const struct object *new_)
{
    struct scene *s = arg;
    if (res == &resources[RES_PODS])
        see_pod(s, old, new_);
    else if (new_)
        see_job(s, new_);
}

/* ---- what there is to do ------------------------------------------------------------------------------------------- */

/* Containers end by themselves, one of ten badly. */
static void work(void *arg)
{
    struct scene *s = arg;
    while (!s->over && fiber_sleep(MILLISECONDS(20 + (int64_t)sim_below(60))) == 0) {
        struct world_node *n = &s->world.nodes[sim_below(s->world.config.nodes)];
        if (n->up)
            hollow_end_container(n->machine, sim_below(10) ? 0 : 1);
    }
}

static const char *const kinds[] = {
    "\"completions\":1,\"parallelism\":1",
    "\"completions\":3,\"parallelism\":2,\"podReplacementPolicy\":\"Failed\"",
    "\"completions\":3,\"parallelism\":3,\"completionMode\":\"Indexed\",\"podReplacementPolicy\":\"Failed\"",
    "\"completions\":2,\"parallelism\":2,\"completionMode\":\"Indexed\",\"backoffLimitPerIndex\":1000",
};

static int make(struct scene *s, uint16_t res, const char *ns, const char *text)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status st;
    struct err e = {0};
    struct val *v = NULL;
    const struct resource *r = &resources[res];
    int code = 0;
    if (json_decode(&a, r->type, str_of(text), 0, NULL, &v, &e) < 0)
        panic("%s: %s", r->name, e.text);
    for (int i = 0; i < 600; i++) { /* the server may be away */
        status_init(&st, &a);
        code = client_create(s->world.client, CALL(.res = r, .ns = str_of(ns)), v, &a, NULL, &st);
        if (code == 0 || code == 409)
            return 0;
        fiber_sleep(SECONDS(1));
    }
    return fail(s, "%s cannot be made: %d " STR_FMT, r->name, code, STR_ARG(st.message));
}

static void make_jobs(void *arg)
{
    struct scene *s = arg;
    for (int64_t i = 0; i < s->options->jobs && !s->why[0]; i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        make(s, RES_JOBS, NS,
             arena_printf(&a,
                          "{\"metadata\":{\"name\":\"job-%lld\"},\"spec\":{%s,\"backoffLimit\":1000,\"template\":{\"spec\":{"
                          "\"restartPolicy\":\"Never\",\"automountServiceAccountToken\":false,"
                          "\"containers\":[{\"name\":\"c\",\"image\":\"example.org/work:1\"}]}}}}",
                          (long long)i, kinds[i % ARRAY_SIZE(kinds)])
                 .p);
        fiber_sleep(MILLISECONDS((int64_t)sim_below(100)));
    }
}

/* ---- what must be ---------------------------------------------------------------------------------------------------- */

static size_t count_complete(struct scene *s)
{
    size_t n = 0;
    TREE_EACH(replica_tree(s->replica, &resources[RES_JOBS]), STR(NS), it)
        n += str_is(val_getstr(job_finished(it.object->val), N_type), "Complete");
    return n;
}

static bool is_strict(const struct val *job)
{
    return str_is(val_str(val_at(job, N_spec, N_podReplacementPolicy)), "Failed");
}

/* How often pods of a Job ended so or so. Some may count or not: those that were lost sight of, those whose end was seen
 * when they had no finalizer any more (they were counted, or they were too many), those that were deleted. */
struct sums {
    int64_t succeeded, failed, maybe_succeeded, maybe_failed;
};

static struct sums sum(struct scene *s, struct str job_uid)
{
    struct sums n = {0};
    MAP_EACH(&s->pods, e)
    {
        const struct seen_pod *p = e->value;
        if (!str_is(job_uid, p->job))
            continue;
        bool unknown = p->gone && !p->succeeded && !p->failed;
        n.succeeded += p->succeeded && p->tracked;
        n.failed += p->failed && p->tracked;
        n.maybe_succeeded += unknown || (p->succeeded && !p->tracked);
        n.maybe_failed += unknown || p->deleted || (p->failed && !p->tracked);
        s->n_missed += unknown;
    }
    return n;
}

static bool within(int64_t n, int64_t least, int64_t most)
{
    return n >= least && n <= most;
}

static void check_job(struct scene *s, const struct object *job)
{
    const struct val *status = val_get(job->val, N_status), *uncounted = val_get(status, N_uncountedTerminatedPods);
    int64_t succeeded = val_int(val_get(status, N_succeeded), 0), failed = val_int(val_get(status, N_failed), 0);
    int64_t completions = val_int(val_at(job->val, N_spec, N_completions), 0);
    struct sums n = sum(s, job->uid);
    /* Of an index, two pods may have succeeded: it counts once. A pod that is deleted counts as failed at once, unless only
     * those are replaced that really are. A pod whose making was not answered is made twice, and both may succeed. */
    int64_t least = is_strict(job->val) && !is_indexed(job) ? n.succeeded : completions;
    if (succeeded < completions || !within(succeeded, least, n.succeeded + n.maybe_succeeded))
        fail(s, STR_FMT ": %lld of %lld succeeded, but %lld (and perhaps %lld) did", STR_ARG(job->name), (long long)succeeded,
             (long long)completions, (long long)n.succeeded, (long long)n.maybe_succeeded);
    if (!within(failed, n.failed, n.failed + n.maybe_failed))
        fail(s, STR_FMT ": %lld failed, but %lld (and perhaps %lld) did", STR_ARG(job->name), (long long)failed,
             (long long)n.failed, (long long)n.maybe_failed);
    if (val_len(val_get(uncounted, N_succeeded)) || val_len(val_get(uncounted, N_failed)) ||
        val_int(val_get(status, N_active), 0) || val_int(val_get(status, N_terminating), 0))
        fail(s, STR_FMT " is complete and yet not done", STR_ARG(job->name));
    s->n_succeeded += (size_t)succeeded;
    s->n_failed += (size_t)failed;
}

static void check_all(struct scene *s)
{
    TREE_EACH(replica_tree(s->replica, &resources[RES_JOBS]), STR(NS), it)
        check_job(s, it.object);
    TREE_EACH(replica_tree(s->replica, &resources[RES_PODS]), STR(NS), it)
        if (obj_has_finalizer(it.object->val, STR(JOB_FINALIZER)))
            fail(s, "pod " STR_FMT " still has its finalizer", STR_ARG(it.object->name));
}

/* For whoever replays a failure: the Jobs that are not complete, and their pods. */
static void dump(struct scene *s)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    TREE_EACH(replica_tree(s->replica, &resources[RES_JOBS]), STR(NS), it)
        if (!job_finished(it.object->val))
            json_encode(&b, it.object->res->type, it.object->val, JSON_PRETTY2);
    TREE_EACH(replica_tree(s->replica, &resources[RES_PODS]), STR(NS), it)
        if (obj_has_finalizer(it.object->val, STR(JOB_FINALIZER)))
            json_encode(&b, it.object->res->type, it.object->val, JSON_PRETTY2);
    printf(STR_FMT "\n", STR_ARG(buf_str(&b)));
}

static int wait_complete(struct scene *s, int64_t seconds)
{
    struct mono deadline = mono_add(os_mono(), SECONDS(seconds));
    while (!s->why[0] && count_complete(s) < (size_t)s->options->jobs) {
        if (os_mono().ns > deadline.ns)
            return fail(s, "%zu of %lld Jobs are complete after %lld s", count_complete(s), (long long)s->options->jobs,
                        (long long)seconds);
        fiber_sleep(SECONDS(1));
    }
    fiber_sleep(SECONDS(30)); /* whoever would still count something, does */
    return s->why[0] ? -1 : 0;
}

/* ---- the play ---------------------------------------------------------------------------------------------------------- */

static void watch(struct scene *s)
{
    static const uint16_t watched[] = {RES_PODS, RES_JOBS};
    struct replica_kind k[ARRAY_SIZE(watched)];
    for (size_t i = 0; i < ARRAY_SIZE(watched); i++)
        k[i] = (struct replica_kind){.res = &resources[watched[i]], .ns = STR(NS)};
    s->replica = replica_new(s->world.client, k, ARRAY_SIZE(k));
    replica_on_change(s->replica, on_change, s);
    replica_start(s->replica);
}

static int play(struct scene *s, struct group *g)
{
    const struct options *o = s->options;
    struct err e = {0};
    struct cluster_world_config c = {.nodes = (unsigned)o->nodes, .ns = NS, .apart = sim_below(2)};
    struct trouble t = {.world = &s->world, .often = 15};
    if (cluster_world_start(&s->world, &c, &e) < 0)
        return fail(s, "the control plane does not start: %s", e.text);
    watch(s);
    if (make(s, RES_NAMESPACES, NULL, "{\"metadata\":{\"name\":\"" NS "\"}}"))
        return -1;
    group_spawn(g, "work", work, s);
    group_spawn(g, "jobs", make_jobs, s);
    s->world.parts_road.loss = o->calm ? 0 : 20000; /* controllers of their own do not always learn what became of a write */
    if (!o->calm)
        trouble_cause(&t, SECONDS(o->trouble_s));
    s->world.parts_road.loss = 0;
    if (t.why[0])
        return fail(s, "%s", t.why);
    if (wait_complete(s, 4 * 3600))
        return -1;
    check_all(s);
    return 0;
}

static void pod_free(void *p)
{
    free(((struct seen_pod *)p)->job);
    free(p);
}

static void main_fiber(void *arg)
{
    struct scene *s = arg;
    struct group g = {0};
    if (s->options->trace)
        sim_trace_to(STDOUT_FILENO);
    play(s, &g);
    s->over = true;
    if (s->options->dump && s->replica)
        dump(s);
    group_stop(&g);
    if (s->world.truth.violations)
        fail(s, "%u violations, the first %s", s->world.truth.violations, s->world.truth.first);
    if (s->replica)
        replica_free(s->replica);
    cluster_world_end(&s->world);
    s->hash = sim_trace_hash();
}

static bool run(const struct options *o)
{
    struct scene s = {.options = o};
    sim_run(&(struct sim_config){.seed = (uint64_t)o->seed}, main_fiber, &s);
    printf("seed %lld: %s; %lld Jobs, %zu pods succeeded, %zu failed, %zu went unseen, %u crashes, trace %016llx\n", (long long)o->seed,
           s.why[0] ? "FAILED" : "good", (long long)o->jobs, s.n_succeeded, s.n_failed, s.n_missed, s.world.crashes,
           (unsigned long long)s.hash);
    if (s.why[0])
        printf("  %s\n", s.why);
    map_done_with(&s.pods, pod_free);
    map_done_with(&s.jobs, free);
    fflush(stdout);
    return !s.why[0];
}

int main(int argc, char **argv)
{
    struct options o = {.seed = 1, .seeds = 1, .nodes = 20, .jobs = 1000, .trouble_s = 240};
    struct flag flags[] = {
        {"seed", 0, FLAG_INT, &o.seed, "what everything random comes from"},
        {"seeds", 0, FLAG_INT, &o.seeds, "how many, from that one on"},
        {"nodes", 0, FLAG_INT, &o.nodes, "how many nodes"},
        {"jobs", 0, FLAG_INT, &o.jobs, "how many Jobs"},
        {"trouble", 0, FLAG_INT, &o.trouble_s, "how many (virtual) seconds things go wrong"},
        {"calm", 0, FLAG_BOOL, &o.calm, "nothing goes wrong"},
        {"dump", 0, FLAG_BOOL, &o.dump, "print the Jobs that are not complete at the end, and their pods"},
        {"trace", 0, FLAG_BOOL, &o.trace, "print the history"},
        {"verbose", 'v', FLAG_BOOL, &o.verbose, "let the parts log"},
        {0},
    };
    struct err e = {0};
    int operands, failed = 0, r = flags_parse(flags, argc, argv, &operands, NULL, &e);
    if (r < 0 || r == FLAGS_HELP || operands || o.nodes < 1 || o.jobs < 1) {
        fprintf(stderr, "sim_jobs: %s\n", e.text[0] ? e.text : "no operands; at least one node and Job");
        return 2;
    }
    log_set_level(o.verbose ? LOG_DEBUG : LOG_ERROR);
    for (int64_t n = o.seeds; n > 0; n--, o.seed++)
        failed += !run(&o);
    return failed != 0;
}
