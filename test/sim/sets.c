/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A StatefulSet of five and a DaemonSet on a cluster on virtual time that loses one node after the other: its machine goes,
 * then somebody deletes it, then it comes back as a new one. The StatefulSet's pods must be there again under the same
 * names, each once (sim/truth.h sees to that), and the DaemonSet must follow nodes that leave and join within 5 s.
 *
 *     sim_sets --seed 7 --trace          one seed, and its history
 *     sim_sets --seed 1 --seeds 20       seeds 1 to 20
 */
#include <stdio.h>
#include <unistd.h>

#include "blame.h"
#include "base/flags.h"
#include "base/log.h"
#include "base/os.h"
#include "resources.h"
#include "sim/cluster.h"
#include "sim/world.h"
#include "type/meta.h"
#include "wire/json.h"

#define NS "sets"

enum { REPLICAS = 5, FOLLOW_SECONDS = 5 };

struct options {
    int64_t seed, seeds, nodes, rounds;
    bool calm, trace, verbose;
};

struct scene {
    const struct options *options;
    struct cluster_world world;
    char why[600];
    double slowest_leave, slowest_join; /* s */
};

#define fail(s, ...) blame((s)->why, sizeof((s)->why), __VA_ARGS__)

/* ---- asking ---------------------------------------------------------------------------------------------------- */

static const struct val *list(struct scene *s, struct arena *a, uint16_t res, const char *ns)
{
    const struct val *v = NULL;
    struct status st;
    status_init(&st, a);
    return client_list(s->world.client, CALL(.res = &resources[res], .ns = str_of(ns)), a, &v, &st) ? NULL
                                                                                                      : val_get(v, N_items);
}

static const struct val *get(struct scene *s, struct arena *a, uint16_t res, const char *ns, const char *name)
{
    const struct val *v = NULL;
    struct status st;
    status_init(&st, a);
    return client_get(s->world.client, CALL(.res = &resources[res], .ns = str_of(ns), .name = str_of(name)), a, &v, &st)
               ? NULL
               : v;
}

static int make(struct scene *s, uint16_t res, const char *ns, const char *text)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status st;
    struct err e = {0};
    struct val *v = NULL;
    const struct resource *r = &resources[res];
    status_init(&st, &a);
    if (json_decode(&a, r->type, str_of(text), 0, NULL, &v, &e) < 0)
        panic("%s: %s", r->name, e.text);
    int code = client_create(s->world.client, CALL(.res = r, .ns = str_of(ns)), v, &a, NULL, &st);
    return code == 0 ? 0 : fail(s, "%s cannot be made: %d " STR_FMT, r->name, code, STR_ARG(st.message));
}

static int make_all(struct scene *s)
{
#define POD(app) "\"selector\":{\"matchLabels\":{\"app\":\"" app "\"}},\"template\":{\"metadata\":{\"labels\":{\"app\":\"" app     \
    "\"}},\"spec\":{\"automountServiceAccountToken\":false,\"containers\":[{\"name\":\"c\",\"image\":\"example.org/" app ":1\"}]}}"
    return make(s, RES_NAMESPACES, NULL, "{\"metadata\":{\"name\":\"" NS "\"}}") ||
           make(s, RES_STATEFULSETS, NS, "{\"metadata\":{\"name\":\"db\"},\"spec\":{\"replicas\":5,\"serviceName\":\"db\"," POD("db") "}}") ||
           make(s, RES_DAEMONSETS, NS, "{\"metadata\":{\"name\":\"log\"},\"spec\":{" POD("log") "}}");
}

/* ---- what must be ------------------------------------------------------------------------------------------------ */

static struct world_node *node_named(struct scene *s, struct str name)
{
    for (unsigned i = 0; i < s->world.config.nodes; i++)
        if (str_is(name, s->world.nodes[i].name))
            return &s->world.nodes[i];
    return NULL;
}

static bool is_well(struct scene *s, const struct val *pod)
{
    struct world_node *n = node_named(s, val_str(val_at(pod, N_spec, N_nodeName)));
    return n && n->up && !obj_deleting(pod) && condition_is(val_at(pod, N_status, N_conditions), STR("Ready"), "True");
}

static int64_t count_up(const struct scene *s)
{
    int64_t n = 0;
    for (unsigned i = 0; i < s->world.config.nodes; i++)
        n += s->world.nodes[i].up;
    return n;
}

/* NULL: all is well; else what is not. */
static const char *look(struct scene *s)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct val *pods = list(s, &a, RES_PODS, NS);
    const struct val *db = val_get(get(s, &a, RES_STATEFULSETS, NS, "db"), N_status);
    int64_t seen = 0, others = 0;
    VAL_EACH(pods, p)
    {
        if (!is_well(s, p))
            return "a pod is not well";
        struct str name = obj_name(p);
        if (!str_starts(name, STR("db-")))
            others++;
        else if (name.n == 4 && name.p[3] >= '0' && name.p[3] < '0' + REPLICAS)
            seen |= 1 << (name.p[3] - '0');
        else
            return "a pod of a strange name";
    }
    if (seen != (1 << REPLICAS) - 1)
        return "a name is missing";
    if (others != count_up(s))
        return "not every node has its daemon";
    return val_int(val_get(db, N_readyReplicas), 0) == REPLICAS && val_int(val_get(db, N_replicas), 0) == REPLICAS
               ? NULL
               : "the StatefulSet does not know it";
}

static int wait_well(struct scene *s, int64_t seconds)
{
    struct mono deadline = mono_add(os_mono(), SECONDS(seconds));
    const char *why;
    while ((why = look(s)) && os_mono().ns < deadline.ns)
        fiber_sleep(SECONDS(1));
    if (why)
        return fail(s, "not well after %lld s: %s", (long long)seconds, why);
    sim_trace("all well");
    return 0;
}

/* ---- leaving and joining ------------------------------------------------------------------------------------------ */

static int64_t desired(struct scene *s)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct val *d = get(s, &a, RES_DAEMONSETS, NS, "log");
    return d ? val_int(val_at(d, N_status, N_desiredNumberScheduled), 0) : -1;
}

/* The DaemonSet counts so many nodes in time. */
static int follows(struct scene *s, int64_t want, double *slowest)
{
    struct mono start = os_mono();
    while (desired(s) != want) {
        if (os_mono().ns - start.ns > SECONDS(FOLLOW_SECONDS))
            return fail(s, "the DaemonSet counts %lld nodes instead of %lld for %d s", (long long)desired(s), (long long)want,
                        FOLLOW_SECONDS);
        fiber_sleep(MILLISECONDS(50));
    }
    *slowest = MAX(*slowest, (double)(os_mono().ns - start.ns) / NSEC_PER_SEC);
    return 0;
}

static int delete_node(struct scene *s, struct world_node *n)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status st;
    const struct val *v;
    status_init(&st, &a);
    int code = client_delete(s->world.client, CALL(.res = &resources[RES_NODES], .name = str_of(n->name)), &a, &v, &st);
    sim_trace("%s deleted", n->name);
    return code ? fail(s, "%s cannot be deleted: %d", n->name, code) : 0;
}

static int leaves(struct scene *s, struct world_node *n)
{
    sim_trace("%s goes", n->name);
    world_node_power_off(n, true);
    fiber_sleep(SECONDS((int64_t)sim_below(500))); /* unnoticed, silent, or its pods evicted already */
    return delete_node(s, n) || follows(s, count_up(s), &s->slowest_leave);
}

/* New ones are tainted until they are ready: nothing belongs on them before. */
static bool is_ready(struct scene *s, const struct world_node *n)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct val *v = get(s, &a, RES_NODES, NULL, n->name);
    return condition_is(val_at(v, N_status, N_conditions), STR("Ready"), "True") && !val_len(val_at(v, N_spec, N_taints));
}

static int joins(struct scene *s, struct world_node *n)
{
    sim_trace("%s comes", n->name);
    world_node_start(n);
    for (int i = 0; !is_ready(s, n); i++) {
        if (i > 2400)
            return fail(s, "%s does not join", n->name);
        fiber_sleep(MILLISECONDS(50));
    }
    return follows(s, count_up(s), &s->slowest_join);
}

static void crash(struct scene *s)
{
    struct err e = {0};
    cluster_world_crash(&s->world, (enum crash)sim_below(3));
    fiber_sleep(SECONDS((int64_t)sim_below(60)));
    if (cluster_world_recover(&s->world, &e) < 0)
        fail(s, "the control plane does not come back: %s", e.text);
}

static int play(struct scene *s)
{
    struct err e = {0};
    struct cluster_world_config c = {.nodes = (unsigned)s->options->nodes, .ns = NS};
    if (cluster_world_start(&s->world, &c, &e) < 0)
        return fail(s, "the control plane does not start: %s", e.text);
    if (make_all(s) || wait_well(s, 600))
        return -1;
    for (int64_t i = 0; i < s->options->rounds && !s->why[0]; i++) {
        struct world_node *n = &s->world.nodes[sim_below((uint64_t)s->options->nodes)];
        if (leaves(s, n))
            return -1;
        if (!s->options->calm && sim_below(2))
            crash(s);
        if (wait_well(s, 1200) || joins(s, n) || wait_well(s, 600))
            return -1;
    }
    return 0;
}

static void main_fiber(void *arg)
{
    struct scene *s = arg;
    if (s->options->trace)
        sim_trace_to(STDOUT_FILENO);
    play(s);
    if (s->world.truth.violations)
        fail(s, "%u violations, the first %s", s->world.truth.violations, s->world.truth.first);
    cluster_world_end(&s->world);
}

static bool run(const struct options *o)
{
    struct scene s = {.options = o};
    sim_run(&(struct sim_config){.seed = (uint64_t)o->seed}, main_fiber, &s);
    printf("seed %lld: %s; nodes left in %.2f s and joined in %.2f s at most\n", (long long)o->seed, s.why[0] ? "FAILED" : "good",
           s.slowest_leave, s.slowest_join);
    if (s.why[0])
        printf("  %s\n", s.why);
    fflush(stdout);
    return !s.why[0];
}

int main(int argc, char **argv)
{
    struct options o = {.seed = 1, .seeds = 1, .nodes = 8, .rounds = 3};
    struct flag flags[] = {
        {"seed", 0, FLAG_INT, &o.seed, "what everything random comes from"},
        {"seeds", 0, FLAG_INT, &o.seeds, "how many, from that one on"},
        {"nodes", 0, FLAG_INT, &o.nodes, "how many nodes"},
        {"rounds", 0, FLAG_INT, &o.rounds, "how often a node leaves and joins"},
        {"calm", 0, FLAG_BOOL, &o.calm, "the control plane does not crash meanwhile"},
        {"trace", 0, FLAG_BOOL, &o.trace, "print the history"},
        {"verbose", 'v', FLAG_BOOL, &o.verbose, "let the parts log"},
        {0},
    };
    struct err e = {0};
    int operands, failed = 0, r = flags_parse(flags, argc, argv, &operands, NULL, &e);
    if (r < 0 || r == FLAGS_HELP || operands || o.nodes < 1) {
        fprintf(stderr, "sim_sets: %s\n", e.text[0] ? e.text : "no operands; at least one node");
        return 2;
    }
    log_set_level(o.verbose ? LOG_DEBUG : LOG_ERROR);
    for (int64_t n = o.seeds; n > 0; n--, o.seed++)
        failed += !run(&o);
    return failed != 0;
}
