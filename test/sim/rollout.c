/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster on virtual time from a seed rolls a Deployment to a new image while nodes, their kubelets, the network and the
 * control plane with its store fail at random, and must come to rest with everything as it should be. The same seed gives
 * the same history, which is checked, too.
 *
 *     sim_rollout --seed 7 --trace       one seed, and its history
 *     sim_rollout --seed 7 --repeat      twice: both must be the same; then another seed, which must not be
 *     sim_rollout --seed 7 --seeds 100   seeds 7 to 106
 */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "blame.h"
#include "base/flags.h"
#include "base/log.h"
#include "base/os.h"
#include "resources.h"
#include "sim/settled.h"
#include "sim/world.h"
#include "trouble.h"
#include "type/meta.h"
#include "wire/json.h"

struct options {
    int64_t seed, seeds, nodes, pods;
    int64_t trouble_s; /* how long things go wrong, virtual */
    bool calm, users, trace, repeat, verbose;
    const char *dump;
};

struct result {
    uint64_t hash;
    bool good;
    char why[600];
    double virtual_s, real_s;
    unsigned crashes, node_failures;
    size_t least;
    uint64_t bindings, checked, promises;
    int64_t revision;
};

struct scene {
    const struct options *options;
    struct result *result;
    struct cluster_world world;
};

/* ---- what a user does --------------------------------------------------------------------------------------------- */

#define fail(s, ...) blame((s)->result->why, sizeof((s)->result->why), __VA_ARGS__)

static const struct val *from_json(struct arena *a, const struct resource *res, const char *text)
{
    struct val *v = NULL;
    struct err e = {0};
    int r = json_decode(a, res->type, str_of(text), 0, NULL, &v, &e);
    if (r < 0)
        panic("%s: %s", res->name, e.text);
    return v;
}

static int make(struct scene *s, uint16_t res, const char *ns, const char *text)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status st;
    status_init(&st, &a);
    const struct resource *r = &resources[res];
    int e = client_create(s->world.client, CALL(.res = r, .ns = str_of(ns)), from_json(&a, r, text), &a, NULL, &st);
    return e == 0 ? 0 : fail(s, "%s cannot be made: %d " STR_FMT, r->name, e, STR_ARG(st.message));
}

static int make_all(struct scene *s)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str deployment = arena_printf(&a,
        "{\"metadata\":{\"name\":\"" NAME "\"},\"spec\":{\"replicas\":%lld,\"selector\":{\"matchLabels\":{\"app\":\"" NAME "\"}},"
        "\"template\":{\"metadata\":{\"labels\":{\"app\":\"" NAME "\"}},\"spec\":{\"automountServiceAccountToken\":false,\"containers\":[{\"name\":\"web\",\"image\":\"%s\","
        "\"ports\":[{\"containerPort\":80}],\"resources\":{\"requests\":{\"cpu\":\"100m\",\"memory\":\"64Mi\"}}}]}}}}",
        (long long)s->options->pods, IMAGE(1));
    if (make(s, RES_NAMESPACES, NULL, "{\"metadata\":{\"name\":\"" NS "\"}}") ||
        make(s, RES_SERVICES, NS, "{\"metadata\":{\"name\":\"" NAME "\"},\"spec\":{\"selector\":{\"app\":\"" NAME "\"},"
                                  "\"ports\":[{\"port\":80}]}}"))
        return -1;
    return make(s, RES_DEPLOYMENTS, NS, deployment.p);
}

/* What there is, for whoever replays a failure: --trace --dump "pods" */
static void dump(struct scene *s, const char *plural)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    const struct val *v = NULL;
    struct status st;
    status_init(&st, &a);
    for (unsigned i = 1; i < n_resources; i++)
        if (strcmp(resources[i].name, plural) == 0 && resources[i].stored &&
            client_list(s->world.client, CALL(.res = &resources[i]), &a, &v, &st) == 0)
            json_encode(&b, NULL, v, JSON_PRETTY2);
    printf(STR_FMT "\n", STR_ARG(buf_str(&b)));
}

/* Until the cluster has settled with that image. */
static int wait_settled(struct scene *s, const char *image, int64_t within_ns)
{
    const struct rollout r = {.ns = NS, .name = NAME, .image = image, .replicas = (size_t)s->options->pods};
    struct mono start = os_mono(), deadline = mono_add(start, within_ns);
    for (;;) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct str why = STR_NULL;
        if (world_settled(&s->world, &r, &a, &why) == 0) {
            sim_trace("settled with %s", image);
            return 0;
        }
        if (os_mono().ns > deadline.ns)
            return fail(s, "not settled after %lld s: " STR_FMT, (long long)(within_ns / NSEC_PER_SEC), STR_ARG(why));
        fiber_sleep(SECONDS(1));
    }
}

/* ---- the play -------------------------------------------------------------------------------------------------------------- */

static int roll_in_trouble(struct scene *s, const char *image)
{
    const struct options *o = s->options;
    struct trouble t = {.world = &s->world, .image = image, .replicas = (size_t)o->pods, .users = o->users};
    int r = user_rolls(&t, image, t.replicas);
    if (r)
        return fail(s, "the image cannot be set: %d", r);
    if (!o->calm)
        trouble_cause(&t, SECONDS(o->trouble_s));
    s->result->node_failures = t.node_failures;
    return t.why[0] ? fail(s, "%s", t.why) : 0;
}

static int play(struct scene *s)
{
    struct err e = {0};
    size_t n = (size_t)s->options->pods;
    struct cluster_world_config c = {.nodes = (unsigned)s->options->nodes, .ns = NS, .apart = sim_below(2)};
    sim_trace("seed %lld, %lld nodes, %zu pods%s", (long long)s->options->seed, (long long)s->options->nodes, n,
              c.apart ? ", parts apart" : "");
    if (cluster_world_start(&s->world, &c, &e) < 0)
        return fail(s, "the control plane does not start: %s", e.text);
    if (make_all(s) || wait_settled(s, IMAGE(1), SECONDS(600)))
        return -1;
    size_t fewest = s->options->users ? trouble_fewest(n) : n;
    watcher_expect(&s->world.watcher, n, fewest - fewest / 4);
    if (roll_in_trouble(s, IMAGE(2)))
        return -1;
    return wait_settled(s, IMAGE(2), SECONDS(3600));
}

static void main_fiber(void *arg)
{
    struct scene *s = arg;
    struct cluster_world *w = &s->world;
    struct result *r = s->result;
    if (s->options->trace)
        sim_trace_to(STDOUT_FILENO);
    struct mono start = os_mono();
    play(s);
    if (s->options->dump && w->server)
        dump(s, s->options->dump);
    if (w->truth.violations)
        fail(s, "%u violations, the first %s", w->truth.violations, w->truth.first);
    r->least = w->watcher.least;
    r->bindings = w->watcher.bindings;
    r->crashes = w->crashes;
    r->virtual_s = (double)(os_mono().ns - start.ns) / NSEC_PER_SEC;
    cluster_world_end(w);
    r->checked = w->historian.checked;
    r->promises = w->historian.promises;
    r->hash = sim_trace_hash();
    r->good = !r->why[0];
}

static double real_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void run(const struct options *o, struct result *r)
{
    struct scene s = {.options = o, .result = r};
    double start = real_now();
    *r = (struct result){0};
    sim_run(&(struct sim_config){.seed = (uint64_t)o->seed}, main_fiber, &s);
    r->real_s = real_now() - start;
    printf("seed %lld: %s, trace %016llx; %.0f s in %.1f s; %u crashes, %u node failures, %llu pods bound, at least %zu available; "
           "%llu events and %llu promises found again after crashes\n", (long long)o->seed, r->good ? "good" : "FAILED",
           (unsigned long long)r->hash, r->virtual_s, r->real_s, r->crashes, r->node_failures,
           (unsigned long long)r->bindings, r->least, (unsigned long long)r->checked, (unsigned long long)r->promises);
    if (!r->good)
        printf("  %s\n  replay: sim_rollout --seed %lld --nodes %lld --pods %lld --trouble %lld%s --trace\n", r->why,
               (long long)o->seed, (long long)o->nodes, (long long)o->pods, (long long)o->trouble_s, o->calm ? " --calm" : o->users ? " --users" : "");
    fflush(stdout);
}

/* The same seed again, and another one: 0 when the histories are as they must be. */
static int repeat(const struct options *o, const struct result *first)
{
    struct options again = *o, other = *o;
    struct result second, third;
    again.trace = other.trace = false;
    other.seed++;
    run(&again, &second);
    run(&other, &third);
    if (first->hash != second.hash)
        printf("FAILED: the same seed gave two histories\n");
    if (first->hash == third.hash)
        printf("FAILED: two seeds gave the same history\n");
    return !second.good || !third.good || first->hash != second.hash || first->hash == third.hash;
}

static int run_all(struct options *o)
{
    int64_t failed = 0, n = o->seeds;
    struct result r;
    for (; n > 0; n--, o->seed++) {
        run(o, &r);
        failed += !r.good;
    }
    if (o->seeds > 1)
        printf("%lld seeds, %lld failed\n", (long long)o->seeds, (long long)failed);
    o->seed--;
    return (o->repeat ? repeat(o, &r) : 0) || failed;
}

int main(int argc, char **argv)
{
    struct options o = {.seed = 1, .seeds = 1, .nodes = 100, .pods = 500, .trouble_s = 120};
    struct flag flags[] = {
        {"seed", 0, FLAG_INT, &o.seed, "what everything random comes from"},
        {"seeds", 0, FLAG_INT, &o.seeds, "how many, from that one on"},
        {"nodes", 0, FLAG_INT, &o.nodes, "how many nodes"},
        {"pods", 0, FLAG_INT, &o.pods, "replicas of the Deployment"},
        {"trouble", 0, FLAG_INT, &o.trouble_s, "how many (virtual) seconds things go wrong"},
        {"users", 0, FLAG_BOOL, &o.users, "users scale, roll and delete meanwhile"},
        {"calm", 0, FLAG_BOOL, &o.calm, "nothing goes wrong"},
        {"repeat", 0, FLAG_BOOL, &o.repeat, "the last seed once more and then another one: are the histories the same?"},
        {"trace", 0, FLAG_BOOL, &o.trace, "print the history"},
        {"dump", 0, FLAG_STRING, &o.dump, "print all objects of that kind (plural) at the end"},
        {"verbose", 'v', FLAG_BOOL, &o.verbose, "let the parts log"},
        {0},
    };
    struct err e = {0};
    int operands, r = flags_parse(flags, argc, argv, &operands, NULL, &e);
    if (r == FLAGS_HELP) {
        struct buf b CLEANUP_BUF = BUF_INIT;
        flags_help(flags, &b);
        printf(STR_FMT, STR_ARG(buf_str(&b)));
        return 0;
    }
    if (r < 0 || operands || o.seeds < 1 || o.nodes < 1 || o.pods < 1) {
        fprintf(stderr, "sim_rollout: %s\n", e.text[0] ? e.text : "no operands; at least one seed, node and pod");
        return 2;
    }
    log_set_level(o.verbose ? LOG_DEBUG : LOG_ERROR);
    return run_all(&o) != 0;
}
