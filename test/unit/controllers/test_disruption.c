/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/disruption.h"

#include <stdio.h>

#include "testing.h"
#include "type/meta.h"
#include "world.h"

#define OWNER(kind, api)                                                                                     \
    "ownerReferences: [{apiVersion: " api ", kind: " kind ", name: own, uid: u-own, controller: true}]"
#define READY                                                                                                \
    "status: {phase: Running, conditions: [{type: Ready, status: 'True', lastTransitionTime: "               \
    "'2025-12-31T12:00:00Z'}]}"

static void add_budget(struct world *w, const char *bound, const char *status)
{
    world_addf(w, RES_PODDISRUPTIONBUDGETS,
               "{metadata: {namespace: x, name: pdb, uid: u-pdb, generation: 2}, spec: {selector: "
               "{matchLabels: {app: web}}, "
               "%s}, status: {%s}}",
               bound, status);
}

static void add_pod(struct world *w, const char *name, const char *meta, const char *status)
{
    world_addf(w, RES_PODS, "{metadata: {namespace: x, name: %s, labels: {app: web}, %s}, %s}", name, meta,
               status);
}

static const char *run(struct world *w)
{
    return world_reconcile(w, &disruption_controller, "x/pdb");
}

/* "allowed healthy desired expected" of the status written. */
static const char *numbers(struct world *w)
{
    static char text[64];
    const struct write *x;
    run(w);
    for (size_t i = 0; (x = world_write(w, i)); i++)
        if (x->verb == WRITE_UPDATE_STATUS) {
            const struct val *s = val_get(x->body, N_status);
            snprintf(text, sizeof(text), "%lld %lld %lld %lld",
                     (long long)val_int(val_get(s, N_disruptionsAllowed), 0),
                     (long long)val_int(val_get(s, N_currentHealthy), 0),
                     (long long)val_int(val_get(s, N_desiredHealthy), 0),
                     (long long)val_int(val_get(s, N_expectedPods), 0));
            return text;
        }
    return "none";
}

struct count_case {
    const char *what, *bound;
    int scale, ready, other;
    const char *want;
};

static void counts_what_may_go(void **state)
{
    static const struct count_case cases[] = {
        {"a number that must stay", "minAvailable: 2", 3, 3, 0, "1 3 2 3"},
        {"of the pods there are", "minAvailable: 2", 5, 3, 1, "1 3 2 4"},
        {"too few", "minAvailable: 3", 3, 2, 1, "0 2 3 3"},
        {"percent of the scale, rounded up", "minAvailable: '50%'", 3, 3, 0, "1 3 2 3"},
        {"percent of the scale, not of the pods", "minAvailable: '50%'", 10, 5, 0, "0 5 5 10"},
        {"a number that may miss", "maxUnavailable: 1", 3, 3, 0, "1 3 2 3"},
        {"of the scale", "maxUnavailable: 1", 4, 3, 0, "0 3 3 4"},
        {"percent that may miss, rounded up", "maxUnavailable: '10%'", 3, 3, 0, "1 3 2 3"},
        {"all may miss", "maxUnavailable: '100%'", 3, 3, 0, "3 3 0 3"},
        {"more than all", "maxUnavailable: 9", 3, 3, 0, "3 3 0 3"},
        {"none there", "minAvailable: 0", 3, 0, 0, "0 0 0 0"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world *w = world_new();
        add_budget(w, cases[i].bound, "");
        world_addf(w, RES_STATEFULSETS,
                   "{metadata: {namespace: x, name: own, uid: u-own}, spec: {replicas: %d}}", cases[i].scale);
        for (int p = 0; p < cases[i].ready + cases[i].other; p++) {
            char name[8];
            snprintf(name, sizeof(name), "p%d", p);
            add_pod(w, name, OWNER("StatefulSet", "apps/v1"),
                    p < cases[i].ready ? READY : "status: {phase: Running}");
        }
        const char *got = numbers(w);
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s: got \"%s\", wanted \"%s\"", cases[i].what, got, cases[i].want);
        world_free(w);
    }
}

static void says_so_in_its_condition(void **state)
{
    struct world *w = world_new();
    add_budget(w, "minAvailable: 1", "");
    add_pod(w, "a", "", READY);
    assert_string_equal(
        run(w), "status poddisruptionbudgets x/pdb {\"observedGeneration\":2,\"disruptionsAllowed\":0,"
                "\"currentHealthy\":1,\"desiredHealthy\":1,\"expectedPods\":1,\"conditions\":[{\"type\":"
                "\"DisruptionAllowed\",\"status\":\"False\",\"observedGeneration\":2,\"lastTransitionTime\":"
                "\"2026-01-01T00:00:00Z\",\"reason\":\"InsufficientPods\",\"message\":\"\"}]}\n");
    world_apply(w);
    assert_string_equal(run(w), "");
    add_pod(w, "b", "", READY);
    assert_non_null(strstr(run(w), "\"status\":\"True\",\"observedGeneration\":2,\"lastTransitionTime\":"
                                   "\"2026-01-01T00:00:00Z\",\"reason\":\"SufficientPods\""));
    world_free(w);
}

/* A deployment's pods belong to a replica set, and what counts is the deployment's scale. */
static void looks_through_replica_sets(void **state)
{
    struct world *w = world_new();
    add_budget(w, "maxUnavailable: 1", "");
    world_add(w, RES_REPLICASETS,
              "{metadata: {namespace: x, name: own, uid: u-own, ownerReferences: [{apiVersion: apps/v1, "
              "kind: Deployment, name: web, uid: u-web, controller: true}]}, spec: {replicas: 2}}");
    add_pod(w, "a", OWNER("ReplicaSet", "apps/v1"), READY);
    assert_string_equal(numbers(w), "0 1 1 2");
    world_add(w, RES_DEPLOYMENTS, "{metadata: {namespace: x, name: web, uid: u-web}, spec: {replicas: 7}}");
    assert_string_equal(numbers(w), "0 1 6 7");
    world_add(w, RES_REPLICATIONCONTROLLERS,
              "{metadata: {namespace: x, name: rc, uid: u-rc}, spec: {replicas: 3}}");
    add_pod(w, "b",
            "ownerReferences: [{apiVersion: v1, kind: ReplicationController, name: rc, uid: u-rc, "
            "controller: true}]",
            READY);
    assert_string_equal(numbers(w), "0 2 9 10");
    world_free(w);
}

static void fails_safe(void **state)
{
    struct world *w = world_new();
    add_budget(w, "maxUnavailable: 1", "disruptionsAllowed: 1, currentHealthy: 3, observedGeneration: 1");
    add_pod(w, "a", OWNER("DaemonSet", "apps/v1"), READY);
    const char *got = run(w);
    assert_non_null(strstr(
        got, "event Warning CalculateExpectedPodCountFailed Failed to calculate the number of expected "
             "pods: daemonsets.apps does not implement the scale subresource\n"));
    assert_non_null(strstr(got, "{\"observedGeneration\":1,\"disruptionsAllowed\":0,\"currentHealthy\":3,"));
    assert_non_null(strstr(got, "\"reason\":\"SyncFailed\",\"message\":\"daemonsets.apps does not"));
    add_pod(w, "a", OWNER("Rocket", "space.example/v1"), READY);
    assert_non_null(strstr(run(w), "no matches for kind \\\"Rocket\\\" in version \\\"space.example/v1\\\""));
    add_pod(w, "a", OWNER("StatefulSet", "apps/v1"), READY);
    assert_non_null(strstr(run(w), "found no controllers for pod \\\"a\\\""));
    world_free(w);
}

static void unmanaged_pods_are_told_of(void **state)
{
    struct world *w = world_new();
    add_budget(w, "maxUnavailable: 1", "");
    add_pod(w, "a", "", READY);
    const char *got = run(w);
    assert_non_null(strstr(got,
                           "event Warning UnmanagedPods Pods selected by this PodDisruptionBudget (selector: "
                           "&LabelSelector{MatchLabels:map[string]string{app: web,},MatchExpressions:"
                           "[]LabelSelectorRequirement{},}) were found to be unmanaged."));
    add_budget(w, "minAvailable: 1", "");
    assert_null(strstr(run(w), "Unmanaged"));
    world_remove(w, RES_PODS, "x", "a");
    assert_non_null(strstr(run(w), "event Normal NoPods No matching pods found\n"));
    world_free(w);
}

static void evicted_pods_do_not_count(void **state)
{
    struct world *w = world_new();
    add_budget(w, "minAvailable: 1",
               "disruptedPods: {a: '2025-12-31T23:59:00Z', b: '2025-12-31T00:00:00Z', gone: "
               "'2025-12-31T23:59:00Z', d: '2025-12-31T23:59:00Z'}");
    add_pod(w, "a", "", READY);
    add_pod(w, "b", "", READY);
    add_pod(w, "c", "", READY);
    add_pod(w, "d", "deletionTimestamp: '2025-12-31T23:59:01Z'", READY);
    const char *got = run(w);
    assert_non_null(
        strstr(got, "event Warning NotDeleted Pod was expected by PDB x/pdb to be deleted but it wasn't\n"));
    assert_non_null(strstr(got, "\"disruptedPods\":{\"a\":\"2025-12-31T23:59:00Z\"},\"disruptionsAllowed\":1,"
                                "\"currentHealthy\":2,\"desiredHealthy\":1,\"expectedPods\":4,"));
    assert_non_null(strstr(got, "again 1m0.001s\n"));
    world_free(w);
}

#define TARGET(status, reason, time)                                                                         \
    "status: {phase: Running, conditions: [{type: DisruptionTarget, status: '" status "', reason: " reason   \
    ", message: m, lastTransitionTime: '" time "'}]}"

static void what_was_to_be_disrupted_and_was_not_takes_it_back(void **state)
{
    struct world *w = world_new();
    const struct controller *c = &disruption_controller;
    add_pod(w, "a", "", TARGET("True", "EvictionByEvictionAPI", "2025-12-31T23:59:00Z"));
    assert_string_equal(world_keys(w, c, NULL, world_get(w, RES_PODS, "x", "a")), "x/pods/a");
    assert_string_equal(world_reconcile(w, c, "x/pods/a"), "again 1m0s\n");
    add_pod(w, "a", "", TARGET("True", "EvictionByEvictionAPI", "2025-12-31T23:57:00Z"));
    assert_string_equal(
        world_reconcile(w, c, "x/pods/a"),
        "status pods x/a {\"phase\":\"Running\",\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":"
        "\"False\",\"lastProbeTime\":null,\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}]}\n");
    add_pod(w, "a", "", TARGET("True", "TerminationByKubelet", "2025-12-31T23:57:00Z"));
    assert_string_equal(world_reconcile(w, c, "x/pods/a"), "");
    add_pod(w, "a", "deletionTimestamp: '2025-12-31T23:59:01Z'", TARGET("True", "X", "2025-12-31T23:57:00Z"));
    assert_string_equal(world_reconcile(w, c, "x/pods/a"), "");
    add_pod(w, "a", "", TARGET("False", "X", "2025-12-31T23:57:00Z"));
    assert_string_equal(world_reconcile(w, c, "x/pods/a"), "");
    world_free(w);
}

static void finds_the_keys(void **state)
{
    struct world *w = world_new();
    const struct controller *c = &disruption_controller;
    add_budget(w, "maxUnavailable: 1", "");
    world_add(w, RES_PODDISRUPTIONBUDGETS,
              "{metadata: {namespace: x, name: all}, spec: {selector: {}, minAvailable: 1}}");
    world_add(w, RES_PODDISRUPTIONBUDGETS, "{metadata: {namespace: x, name: none}, spec: {minAvailable: 1}}");
    world_add(w, RES_PODDISRUPTIONBUDGETS,
              "{metadata: {namespace: y, name: elsewhere}, spec: {selector: {matchLabels: {app: web}}, "
              "minAvailable: 1}}");
    add_pod(w, "a", "", READY);
    const struct object *a = world_get(w, RES_PODS, "x", "a");
    assert_string_equal(world_keys(w, c, NULL, a), "x/all x/pdb");
    assert_string_equal(world_keys(w, c, a, NULL), "x/all x/pdb");
    assert_string_equal(world_keys(w, c, a, a), "");
    struct object *was =
        object_relaxed(RES_STATEFULSETS, "{metadata: {namespace: x, name: own}, spec: {replicas: 1}}");
    struct object *is =
        object_relaxed(RES_STATEFULSETS, "{metadata: {namespace: x, name: own}, spec: {replicas: 2}}");
    assert_string_equal(world_keys(w, c, was, is),
                        "x/pdb"); /* a number of pods that must stay does not change */
    assert_string_equal(world_keys(w, c, is, is), "");
    object_unref(was);
    object_unref(is);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_what_may_go),
        cmocka_unit_test(says_so_in_its_condition),
        cmocka_unit_test(looks_through_replica_sets),
        cmocka_unit_test(fails_safe),
        cmocka_unit_test(unmanaged_pods_are_told_of),
        cmocka_unit_test(evicted_pods_do_not_count),
        cmocka_unit_test(what_was_to_be_disrupted_and_was_not_takes_it_back),
        cmocka_unit_test(finds_the_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
