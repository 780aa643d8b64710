/* SPDX-License-Identifier: Apache-2.0 */
/* Where pods go, as tables of cases: a cluster in a few lines of JSON, a pod, and the node or the message expected. */
#include "../testing.h"

#include "names.h"
#include "resources.h"
#include "scheduler/preempt.h"
#include "type/meta.h"
#include "wire/json.h"

#include <stdio.h>

struct setup {
    struct table table;
    struct world world;
    struct arena arena;
};

static struct object *object_of(unsigned res, const char *json)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v;
    struct err e = {0};
    if (json_decode(&a, resources[res].type, str_of(json), 0, NULL, &v, &e))
        fail_msg("%s: %s", json, e.text);
    return object_new(&resources[res], v);
}

/* "name|labels JSON|cpu|memory|spec JSON" */
static void add_node(struct setup *s, const char *name, const char *labels, const char *cpu, const char *spec)
{
    const char *json = arena_printf(&s->arena,
                                    "{\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\",\"labels\":{\"kubernetes.io/hostname\":\"%s\"%s}},"
                                    "\"spec\":{%s},\"status\":{\"allocatable\":{\"cpu\":\"%s\",\"memory\":\"4Gi\",\"pods\":\"10\"}}}",
                                    name, name, name, labels, spec, cpu).p;
    struct object *o CLEANUP_OBJECT = object_of(RES_NODES, json);
    table_node(&s->table, NULL, o);
}

static struct needs *make_pod(struct setup *s, const char *name, const char *labels, const char *spec)
{
    const char *json = arena_printf(&s->arena,
                                    "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"default\",\"uid\":\"%s\",\"labels\":{%s}},"
                                    "\"spec\":{%s}}", name, name, labels, spec).p;
    struct object *o CLEANUP_OBJECT = object_of(RES_PODS, json);
    return needs_new(&s->table, o);
}

static void place(struct setup *s, const char *name, const char *labels, const char *spec, const char *node)
{
    table_place(&s->table, make_pod(s, name, labels, spec), str_of(node));
}

static void setup_init(struct setup *s)
{
    *s = (struct setup){0};
    s->world.table = &s->table;
}

static void setup_done(struct setup *s)
{
    table_done(&s->table);
    arena_done(&s->arena);
}

/* The chosen node's name, or the message. */
static const char *where(struct setup *s, const char *labels, const char *spec)
{
    struct decision d;
    struct needs *p = make_pod(s, "new", labels, spec);
    decide(&s->world, p, 1, &d);
    const char *r = d.node >= 0 ? arena_cstr(&s->arena, s->table.nodes[d.node].object->name)
                                : decision_message(&s->arena, &d, s->table.n_present).p;
    needs_free(p);
    return r;
}

#define CPU(n) "\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"" n "\",\"memory\":\"64Mi\"}}}]"
#define ZONE(z) ",\"topology.kubernetes.io/zone\":\"" z "\""

static void resources_must_fit(void **state UNUSED)
{
    struct setup s;
    setup_init(&s);
    assert_string_equal(where(&s, "", CPU("1")), "no nodes available to schedule pods");
    add_node(&s, "small", "", "1", "");
    add_node(&s, "large", "", "4", "");
    assert_string_equal(where(&s, "", CPU("2")), "large");
    place(&s, "a", "", CPU("3"), "large");
    assert_string_equal(where(&s, "", CPU("2")), "0/2 nodes are available: 2 Insufficient cpu.");
    assert_string_equal(where(&s, "", "\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"2\",\"memory\":\"8Gi\"}}}]"),
                        "0/2 nodes are available: 2 Insufficient cpu, 2 Insufficient memory.");
    assert_string_equal(where(&s, "", "\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"nvidia.com/gpu\":\"1\"}}}]"),
                        "0/2 nodes are available: 2 Insufficient nvidia.com/gpu.");
    table_unplace(&s.table, STR("a"));
    assert_string_equal(where(&s, "", CPU("4")), "large");
    /* The largest init container counts, and sidecars beside it. */
    assert_string_equal(where(&s, "", "\"initContainers\":[{\"name\":\"s\",\"restartPolicy\":\"Always\",\"resources\":{\"requests\":"
                                      "{\"cpu\":\"1\"}}},{\"name\":\"i\",\"resources\":{\"requests\":{\"cpu\":\"4\"}}}],"
                                      "\"containers\":[{\"name\":\"c\"}]"),
                        "0/2 nodes are available: 2 Insufficient cpu.");
    setup_done(&s);
}

static void the_emptier_node_wins(void **state UNUSED)
{
    struct setup s;
    setup_init(&s);
    add_node(&s, "a", "", "4", "");
    add_node(&s, "b", "", "4", "");
    place(&s, "x", "", CPU("2"), "a");
    assert_string_equal(where(&s, "", CPU("1")), "b");
    place(&s, "y", "", CPU("3"), "b");
    assert_string_equal(where(&s, "", CPU("1")), "a");
    setup_done(&s);
}

static void taints_keep_away(void **state UNUSED)
{
    struct setup s;
    setup_init(&s);
    add_node(&s, "a", "", "4", "\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]");
    add_node(&s, "b", "", "4", "\"unschedulable\":true");
    assert_string_equal(where(&s, "", CPU("1")),
                        "0/2 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable.");
    assert_string_equal(where(&s, "", "\"tolerations\":[{\"key\":\"k\",\"operator\":\"Exists\"}]," CPU("1")), "a");
    assert_string_equal(where(&s, "", "\"tolerations\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]," CPU("1")), "a");
    assert_string_equal(where(&s, "", "\"tolerations\":[{\"key\":\"k\",\"value\":\"w\"},{\"key\":\"node.kubernetes.io/unschedulable\","
                                      "\"operator\":\"Exists\",\"effect\":\"NoSchedule\"}]," CPU("1")), "b");
    setup_done(&s);
}

static void prefer_no_schedule_only_weighs(void **state UNUSED)
{
    struct setup s;
    setup_init(&s);
    add_node(&s, "a", "", "64", "\"taints\":[{\"key\":\"k\",\"effect\":\"PreferNoSchedule\"}]");
    assert_string_equal(where(&s, "", CPU("1")), "a");
    add_node(&s, "b", "", "4", "");
    assert_string_equal(where(&s, "", CPU("1")), "b");
    setup_done(&s);
}

static void node_selectors_and_affinity(void **state UNUSED)
{
    struct setup s;
    setup_init(&s);
    add_node(&s, "a", ",\"disk\":\"ssd\",\"n\":\"5\"", "4", "");
    add_node(&s, "b", ",\"disk\":\"hdd\"", "4", "");
    assert_string_equal(where(&s, "", "\"nodeSelector\":{\"disk\":\"hdd\"}," CPU("1")), "b");
    assert_string_equal(where(&s, "", "\"nodeSelector\":{\"disk\":\"tape\"}," CPU("1")),
                        "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.");
#define REQUIRED(expr)                                                                                       \
    "\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":[{" expr "}]}}},"
    assert_string_equal(where(&s, "", REQUIRED("\"matchExpressions\":[{\"key\":\"n\",\"operator\":\"Gt\",\"values\":[\"4\"]}]") CPU("1")), "a");
    assert_string_equal(where(&s, "", REQUIRED("\"matchExpressions\":[{\"key\":\"disk\",\"operator\":\"NotIn\",\"values\":[\"ssd\"]}]") CPU("1")), "b");
    assert_string_equal(where(&s, "", REQUIRED("\"matchFields\":[{\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":[\"b\"]}]") CPU("1")), "b");
    assert_string_equal(where(&s, "", "\"affinity\":{\"nodeAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":9,"
                                      "\"preference\":{\"matchExpressions\":[{\"key\":\"disk\",\"operator\":\"In\",\"values\":[\"hdd\"]}]}}]}},"
                                      CPU("1")), "b");
    setup_done(&s);
}

static void host_ports_are_taken_once(void **state UNUSED)
{
    struct setup s;
    setup_init(&s);
#define PORT(extra) "\"containers\":[{\"name\":\"c\",\"ports\":[{\"containerPort\":80,\"hostPort\":80" extra "}]}]"
    add_node(&s, "a", "", "4", "");
    place(&s, "x", "", PORT(",\"protocol\":\"TCP\""), "a");
    assert_string_equal(where(&s, "", PORT(",\"protocol\":\"TCP\"")),
                        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.");
    assert_string_equal(where(&s, "", PORT(",\"protocol\":\"UDP\"")), "a");
    setup_done(&s);
}

#define SPREAD(when)                                                                                         \
    "\"topologySpreadConstraints\":[{\"maxSkew\":1,\"topologyKey\":\"topology.kubernetes.io/zone\",\"whenUnsatisfiable\":\"" when  \
    "\",\"labelSelector\":{\"matchLabels\":{\"app\":\"x\"}}}],"

static void pods_spread_over_zones(void **state UNUSED)
{
    struct setup s;
    setup_init(&s);
    add_node(&s, "a", ZONE("1"), "4", "");
    add_node(&s, "b", ZONE("2"), "4", "");
    place(&s, "x", "\"app\":\"x\"", CPU("100m"), "a");
    place(&s, "y", "\"app\":\"y\"", CPU("3"), "b");
    assert_string_equal(where(&s, "\"app\":\"x\"", SPREAD("DoNotSchedule") CPU("100m")), "b");
    assert_string_equal(where(&s, "\"app\":\"x\"", SPREAD("ScheduleAnyway") CPU("100m")), "b");
    assert_string_equal(where(&s, "\"app\":\"x\"", SPREAD("DoNotSchedule") CPU("2")),
                        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints.");
    setup_done(&s);
}

#define TERM(kind, app)                                                                                      \
    "\"affinity\":{\"" kind "\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[{\"topologyKey\":\"topology.kubernetes.io/zone\","     \
    "\"labelSelector\":{\"matchLabels\":{\"app\":\"" app "\"}}}]}},"

static void pods_like_and_avoid_each_other(void **state UNUSED)
{
    struct setup s;
    setup_init(&s);
    add_node(&s, "a", ZONE("1"), "4", "");
    add_node(&s, "b", ZONE("2"), "4", "");
    add_node(&s, "c", ZONE("2"), "4", "");
    place(&s, "x", "\"app\":\"x\"", CPU("4"), "b");
    assert_string_equal(where(&s, "", TERM("podAffinity", "x") CPU("1")), "c");
    assert_string_equal(where(&s, "", TERM("podAntiAffinity", "x") CPU("1")), "a");
    assert_string_equal(where(&s, "", TERM("podAffinity", "nobody") CPU("1")),
                        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't match pod affinity rules.");
    /* The first of a group that wants to be together. */
    assert_true(where(&s, "\"app\":\"g\"", TERM("podAffinity", "g") CPU("1"))[1] == '\0');
    /* Somebody there wants no g around. */
    place(&s, "shy", "\"app\":\"shy\"", TERM("podAntiAffinity", "g") CPU("100m"), "a");
    assert_string_equal(where(&s, "\"app\":\"g\"", CPU("1")), "c");
    setup_done(&s);
}

static void lower_pods_give_way(void **state UNUSED)
{
    struct setup s;
    struct preemption p;
    setup_init(&s);
    add_node(&s, "a", "", "2", "");
    add_node(&s, "b", "", "2", "");
    place(&s, "low1", "", "\"priority\":10," CPU("1"), "a");
    place(&s, "low2", "", "\"priority\":5," CPU("1"), "a");
    place(&s, "mid", "", "\"priority\":50," CPU("2"), "b");
    struct needs *n = make_pod(&s, "high", "", "\"priority\":100," CPU("1"));
    preempt_find(&s.world, n, NULL, 0, &s.arena, &p);
    assert_int_equal(p.node, table_find(&s.table, STR("a")));
    assert_int_equal(p.n_victims, 1);
    assert_str(p.victims[0]->pod->name, "low2");
    assert_int_equal(s.table.rows[p.node].cpu_free, 0); /* nothing was changed by trying */
    needs_free(n);
    n = make_pod(&s, "lowest", "", "\"priority\":1," CPU("1"));
    preempt_find(&s.world, n, NULL, 0, &s.arena, &p);
    assert_int_equal(p.node, -1);
    assert_str(preemption_message(&s.arena, &p, 2),
               "preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.");
    needs_free(n);
    setup_done(&s);
}

static void budgets_are_respected_when_possible(void **state UNUSED)
{
    struct setup s;
    struct preemption p;
    setup_init(&s);
    add_node(&s, "a", "", "1", "");
    add_node(&s, "b", "", "1", "");
    place(&s, "guarded", "\"app\":\"db\"", CPU("1"), "a");
    place(&s, "free", "", "\"priority\":3," CPU("1"), "b");
    struct object *pdb CLEANUP_OBJECT = object_of(
        RES_PODDISRUPTIONBUDGETS, "{\"metadata\":{\"name\":\"p\",\"namespace\":\"default\",\"uid\":\"p\"},\"spec\":{\"selector\":"
                                  "{\"matchLabels\":{\"app\":\"db\"}}},\"status\":{\"disruptionsAllowed\":0}}");
    struct needs *n = make_pod(&s, "high", "", "\"priority\":100," CPU("1"));
    preempt_find(&s.world, n, &(const struct val *){pdb->val}, 1, &s.arena, &p);
    assert_int_equal(p.node, table_find(&s.table, STR("b")));
    needs_free(n);
    setup_done(&s);
}

static size_t violations_of(struct setup *s, const char *spec, const char *status)
{
    struct preemption p;
    struct str text = arena_printf(&s->arena,
                                   "{\"metadata\":{\"name\":\"p\",\"namespace\":\"default\",\"uid\":\"p\"},\"spec\":{%s},"
                                   "\"status\":{%s}}",
                                   spec, status);
    struct object *pdb CLEANUP_OBJECT = object_of(RES_PODDISRUPTIONBUDGETS, text.p);
    struct needs *n = make_pod(s, "high", "", "\"priority\":100," CPU("1"));
    preempt_find(&s->world, n, &(const struct val *){pdb->val}, 1, &s->arena, &p);
    assert_int_equal(p.n_victims, 1);
    needs_free(n);
    return p.n_violations;
}

static void what_a_budget_has_counted_is_no_violation(void **state UNUSED)
{
    struct setup s;
    setup_init(&s);
    add_node(&s, "a", "", "1", "");
    place(&s, "guarded", "\"app\":\"db\"", CPU("1"), "a");
    const char *db = "\"selector\":{\"matchLabels\":{\"app\":\"db\"}}";
    assert_int_equal(violations_of(&s, db, ""), 1);
    assert_int_equal(violations_of(&s, db, "\"disruptionsAllowed\":1"), 0);
    assert_int_equal(violations_of(&s, db, "\"disruptedPods\":{\"guarded\":\"2026-01-01T00:00:00Z\"}"), 0);
    assert_int_equal(violations_of(&s, "\"selector\":{}", ""), 0); /* upstream's: selecting all is selecting none here */
    setup_done(&s);
}

/* The same placements from the table as it grew and shrank, and from a table built anew: nothing is left behind. */
static void counting_up_equals_counting_anew(void **state UNUSED)
{
    struct setup s;
    uint64_t r = 42;
    setup_init(&s);
    char name[16], node[16];
    int at[200];
    for (int i = 0; i < 10; i++) {
        snprintf(node, sizeof(node), "n%d", i);
        add_node(&s, node, "", "4", "");
    }
    memset(at, -1, sizeof(at));
    for (int step = 0; step < 5000; step++) {
        r = r * UINT64_C(6364136223846793005) + 1;
        int pod = (int)(r >> 33) % 200, to = (int)(r >> 45) % 10;
        snprintf(name, sizeof(name), "p%d", pod);
        snprintf(node, sizeof(node), "n%d", to);
        if (at[pod] >= 0 && r % 3 == 0) {
            table_unplace(&s.table, str_of(name));
            at[pod] = -1;
        } else {
            place(&s, name, "", CPU("250m"), node);
            at[pod] = to;
        }
        if (step % 500 == 0)
            arena_reset(&s.arena);
    }
    for (int i = 0; i < 10; i++) {
        int64_t n = 0;
        for (int p = 0; p < 200; p++)
            n += at[p] == i;
        assert_int_equal(s.table.rows[i].cpu_free, 4000 - 250 * n);
        assert_int_equal(s.table.rows[i].pods_free, 10 - n);
    }
    setup_done(&s);
}

/* A pod that is resized counts for the larger of what it wants, was granted and has (KEP-1287). */
static void resized_pods(void **state)
{
#define ASKS(cpu) "\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{\"requests\":{\"cpu\":\"" cpu "\"}}}]"
#define TOLD(granted, has) "\"containerStatuses\":[{\"name\":\"c\",\"allocatedResources\":{\"cpu\":\"" granted "\"},\"resources\":{\"requests\":{\"cpu\":\"" has "\"}}}]"
    static const struct {
        const char *spec, *status;
        int64_t milli;
    } cases[] = {
        {ASKS("1"), "", 1000},
        {ASKS("1"), TOLD("1", "1"), 1000},
        {ASKS("2"), TOLD("1", "1"), 2000},  /* wants more */
        {ASKS("1"), TOLD("1", "2"), 2000},  /* has not given back yet */
        {ASKS("1"), TOLD("3", "2"), 3000},
        {ASKS("9"), TOLD("1", "1") ",\"conditions\":[{\"type\":\"PodResizePending\",\"status\":\"True\",\"reason\":\"Infeasible\"}]", 1000},
        {ASKS("9"), TOLD("1", "1") ",\"conditions\":[{\"type\":\"PodResizePending\",\"status\":\"True\",\"reason\":\"Deferred\"}]", 9000},
        {"\"resources\":{\"requests\":{\"cpu\":\"2\"}}," ASKS("1"), "\"allocatedResources\":{\"cpu\":\"4\"},\"resources\":{\"requests\":{\"cpu\":\"3\"}}", 4000},
    };
    struct setup s;
    setup_init(&s);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct object *o CLEANUP_OBJECT = object_of(
            RES_PODS, arena_printf(&s.arena, "{\"metadata\":{\"name\":\"p\",\"namespace\":\"d\",\"uid\":\"p\"},\"spec\":{%s},\"status\":{%s}}",
                                   cases[i].spec, cases[i].status).p);
        struct needs *n = needs_new(&s.table, o);
        if (n->cpu != cases[i].milli)
            fail_msg("%s, %s: %lld, not %lld", cases[i].spec, cases[i].status, (long long)n->cpu, (long long)cases[i].milli);
        needs_free(n);
    }
    setup_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resized_pods),
        cmocka_unit_test(resources_must_fit),
        cmocka_unit_test(the_emptier_node_wins),
        cmocka_unit_test(taints_keep_away),
        cmocka_unit_test(prefer_no_schedule_only_weighs),
        cmocka_unit_test(node_selectors_and_affinity),
        cmocka_unit_test(host_ports_are_taken_once),
        cmocka_unit_test(pods_spread_over_zones),
        cmocka_unit_test(pods_like_and_avoid_each_other),
        cmocka_unit_test(lower_pods_give_way),
        cmocka_unit_test(budgets_are_respected_when_possible),
        cmocka_unit_test(what_a_budget_has_counted_is_no_violation),
        cmocka_unit_test(counting_up_equals_counting_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
