/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/replicaset.h"

#include "testing.h"
#include "type/meta.h"
#include "world.h"

#define RS                                                                                                   \
    "{metadata: {namespace: x, name: rs, uid: u-rs, generation: 1}, spec: {replicas: %d, selector: "         \
    "{matchLabels: "                                                                                         \
    "{app: web}}, template: {metadata: {labels: {app: web, v: '1'}}, spec: {containers: [{name: c, image: "  \
    "i}]}}}"                                                                                                 \
    "%s}"
#define OWNED                                                                                                \
    "ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: rs, uid: u-rs, controller: true}]"
#define STATUS(n, labelled, ready, available)                                                                \
    "status replicasets x/rs {\"replicas\":" #n ",\"fullyLabeledReplicas\":" #labelled                       \
    ",\"readyReplicas\":" #ready ",\"availableReplicas\":" #available                                        \
    ",\"terminatingReplicas\":0,\"observedGeneration\":1}\n"

static void add_pod(struct world *w, const char *name, const char *more_meta, const char *more)
{
    world_addf(w, RES_PODS,
               "{metadata: {namespace: x, name: %s, labels: {app: web, v: '1'}, creationTimestamp: "
               "'2025-12-31T00:00:00Z', %s}, %s}",
               name, more_meta, more);
}

#define READY                                                                                                \
    "status: {phase: Running, conditions: [{type: Ready, status: 'True', lastTransitionTime: "               \
    "'2025-12-31T12:00:00Z'}]}"

static void makes_what_is_missing(void **state)
{
    struct world *w = world_new();
    world_addf(w, RES_REPLICASETS, RS, 3, "");
    add_pod(w, "a", OWNED, READY);
    assert_string_equal(world_reconcile(w, &replicaset_controller, "x/rs"),
                        "create pods x/\ncreate pods x/\n" STATUS(1, 1, 1, 1));
    const struct val *pod = world_write(w, 0)->body;
    assert_str(val_str(val_at(pod, N_metadata, N_generateName)), "rs-");
    assert_str(obj_label(pod, STR("v")), "1");
    assert_true(obj_controlled_by(pod, STR("u-rs")));
    assert_true(val_bool(
        val_get(val_item(val_at(pod, N_metadata, N_ownerReferences), 0), N_blockOwnerDeletion), false));
    assert_str(val_getstr(val_item(val_at(pod, N_spec, N_containers), 0), N_image), "i");
    world_free(w);
}

static void leaves_alone_what_is_right(void **state)
{
    struct world *w = world_new();
    world_addf(w, RES_REPLICASETS, RS, 1,
               ", status: {replicas: 1, fullyLabeledReplicas: 1, readyReplicas: 1, "
               "availableReplicas: 1, terminatingReplicas: 0, observedGeneration: 1}");
    add_pod(w, "a", OWNED, READY);
    assert_string_equal(world_reconcile(w, &replicaset_controller, "x/rs"), "");
    assert_string_equal(world_reconcile(w, &replicaset_controller, "x/gone"), "");
    world_free(w);
}

static void finished_and_deleted_pods_do_not_count(void **state)
{
    struct world *w = world_new();
    world_addf(w, RES_REPLICASETS, RS, 1, "");
    add_pod(w, "a", OWNED, "status: {phase: Failed}");
    add_pod(w, "b", OWNED ", deletionTimestamp: '2025-12-31T00:00:00Z'", READY);
    assert_string_equal(world_reconcile(w, &replicaset_controller, "x/rs"),
                        "create pods x/\nstatus replicasets x/rs {\"replicas\":0,\"terminatingReplicas\":1,"
                        "\"observedGeneration\":1}\n");
    world_free(w);
}

static void adopts_orphans_and_releases_strangers(void **state)
{
    struct world *w = world_new();
    world_addf(w, RES_REPLICASETS, RS, 1, "");
    add_pod(w, "orphan", "", READY);
    world_add(w, RES_PODS, "{metadata: {namespace: x, name: stranger, labels: {app: other}, " OWNED "}}");
    world_add(w, RES_PODS, "{metadata: {namespace: y, name: far, labels: {app: web}}}");
    const char *got = world_reconcile(w, &replicaset_controller, "x/rs");
    assert_string_equal(
        got,
        "patch pods x/stranger {\"metadata\":{\"ownerReferences\":[{\"$patch\":\"delete\",\"uid\":\"u-rs\"}],"
        "\"uid\":\"u-stranger\"}}\n"
        "patch pods x/orphan {\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":"
        "\"ReplicaSet\",\"name\":\"rs\",\"uid\":\"u-rs\",\"controller\":true,\"blockOwnerDeletion\":true}],"
        "\"uid\":\"u-orphan\"}}\n" STATUS(1, 1, 1, 1));
    world_free(w);
}

static void a_set_being_deleted_does_nothing_but_status(void **state)
{
    struct world *w = world_new();
    world_addf(w, RES_REPLICASETS,
               "{metadata: {namespace: x, name: rs, uid: u-rs, generation: 1, deletionTimestamp: "
               "'2025-12-31T00:00:00Z', finalizers: [foregroundDeletion]}, spec: {replicas: 3, selector: "
               "{matchLabels: "
               "{app: web}}}}");
    add_pod(w, "a", OWNED, READY);
    add_pod(w, "orphan", "", READY);
    assert_string_equal(world_reconcile(w, &replicaset_controller, "x/rs"), STATUS(1, 1, 1, 1));
    world_free(w);
}

/* The first line of what is written when two of these must become one. */
struct rank_case {
    const char *what, *a, *b; /* a goes first */
};

static void check_rank(const struct rank_case *c, bool swapped)
{
    struct world *w = world_new();
    world_addf(w, RES_REPLICASETS, RS, 1, "");
    add_pod(w, swapped ? "p2" : "p1", swapped ? OWNED : OWNED, c->a);
    add_pod(w, swapped ? "p1" : "p2", OWNED, c->b);
    const char *got = world_reconcile(w, &replicaset_controller, "x/rs");
    const char *want = swapped ? "delete pods x/p2\n" : "delete pods x/p1\n";
    if (strncmp(got, want, strlen(want)) != 0)
        fail_msg("%s: %s", c->what, got);
    world_free(w);
}

#define ON(node) "spec: {nodeName: " node "}, "
#define READY_AT(t)                                                                                          \
    "status: {phase: Running, conditions: [{type: Ready, status: 'True', lastTransitionTime: '" t "'}]}"

static void ranks_pods_for_deletion(void **state)
{
    static const struct rank_case cases[] = {
        {"unassigned first", READY, ON("n1") "status: {phase: Pending}"},
        {"pending before running", ON("n1") "status: {phase: Pending}", ON("n1") "status: {phase: Running}"},
        {"unknown before running", ON("n1") "status: {phase: Unknown}", ON("n1") "status: {phase: Running}"},
        {"not ready before ready", ON("n1") "status: {phase: Running}", ON("n1") READY},
        {"the youngest ready first", ON("n1") READY_AT("2025-12-31T23:59:00Z"),
         ON("n1") READY_AT("2025-12-01T00:00:00Z")},
        {"restarts", ON("n1") "status: {phase: Running, containerStatuses: [{name: c, restartCount: 5}]}",
         ON("n1") "status: {phase: Running, containerStatuses: [{name: c, restartCount: 1}]}"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        check_rank(&cases[i], false);
        check_rank(&cases[i], true);
    }
}

static void deletion_cost_comes_before_age(void **state)
{
    struct world *w = world_new();
    world_addf(w, RES_REPLICASETS, RS, 1, "");
    add_pod(w, "old", OWNED ", annotations: {controller.kubernetes.io/pod-deletion-cost: '-5'}",
            ON("n1") READY);
    add_pod(w, "new", OWNED, ON("n1") READY_AT("2025-12-31T23:59:00Z"));
    assert_non_null(strstr(world_reconcile(w, &replicaset_controller, "x/rs"), "delete pods x/old\n"));
    world_free(w);
}

static void doubled_up_pods_go_first(void **state)
{
    struct world *w = world_new();
    world_addf(w, RES_REPLICASETS, RS, 2, "");
    add_pod(w, "alone", OWNED, ON("n1") READY_AT("2025-12-31T23:59:00Z"));
    add_pod(w, "two", OWNED, ON("n2") READY);
    add_pod(w, "three", OWNED, ON("n2") READY);
    const char *got = world_reconcile(w, &replicaset_controller, "x/rs");
    assert_null(strstr(got, "delete pods x/alone\n"));
    world_free(w);
}

static void availability_takes_time(void **state)
{
    struct world *w = world_new();
    world_add(w, RES_REPLICASETS,
              "{metadata: {namespace: x, name: rs, uid: u-rs, generation: 1}, spec: {replicas: 1, "
              "minReadySeconds: 60, selector: {matchLabels: {app: web}}}}");
    add_pod(w, "a", OWNED, READY_AT("2025-12-31T23:59:30Z"));
    assert_string_equal(
        world_reconcile(w, &replicaset_controller, "x/rs"),
        "status replicasets x/rs {\"replicas\":1,\"fullyLabeledReplicas\":1,\"readyReplicas\":1,"
        "\"terminatingReplicas\":0,\"observedGeneration\":1}\nagain 30s\n");
    world_free(w);
}

static void says_why_pods_cannot_be_made(void **state)
{
    struct world *w = world_new();
    world_addf(w, RES_REPLICASETS, RS, 2, "");
    world_reconcile(w, &replicaset_controller, "x/rs");
    assert_string_equal(
        world_refuse(w, &replicaset_controller, "x/rs", 0, 403, "exceeded quota"),
        "status replicasets x/rs "
        "{\"replicas\":0,\"terminatingReplicas\":0,\"observedGeneration\":1,\"conditions\":"
        "[{\"type\":\"ReplicaFailure\",\"status\":\"True\",\"lastTransitionTime\":\"2026-01-01T00:00:00Z\","
        "\"reason\":\"FailedCreate\",\"message\":\"exceeded quota\"}]}\n");
    world_apply(w);
    world_reconcile(w, &replicaset_controller, "x/rs"); /* creates succeed this time: the condition goes */
    assert_string_equal(world_write(w, 2)->verb == WRITE_UPDATE_STATUS ? "status" : "", "status");
    assert_int_equal(val_len(val_at(world_write(w, 2)->body, N_status, N_conditions)), 0);
    world_free(w);
}

static void a_replication_controller_is_the_same(void **state)
{
    struct world *w = world_new();
    world_add(w, RES_REPLICATIONCONTROLLERS,
              "{metadata: {namespace: x, name: rc, uid: u-rc}, spec: {replicas: 1, "
              "selector: {app: web}, template: {metadata: {labels: {app: web}}}}}");
    assert_string_equal(world_reconcile(w, &replicationcontroller_controller, "x/rc"), "create pods x/\n");
    assert_str(
        val_getstr(val_item(val_at(world_write(w, 0)->body, N_metadata, N_ownerReferences), 0), N_kind),
        "ReplicationController");
    world_free(w);
}

static void finds_the_keys(void **state)
{
    struct world *w = world_new();
    const struct object *rs = world_addf(w, RES_REPLICASETS, RS, 1, "");
    assert_string_equal(world_keys(w, &replicaset_controller, NULL, rs), "x/rs");
    struct object *owned = object_relaxed(RES_PODS, "{metadata: {namespace: x, name: a, " OWNED "}}");
    struct object *orphan =
        object_relaxed(RES_PODS, "{metadata: {namespace: x, name: a, labels: {app: web}}}");
    struct object *other = object_relaxed(RES_PODS, "{metadata: {namespace: x, name: a, labels: {app: db}}}");
    assert_string_equal(world_keys(w, &replicaset_controller, NULL, owned), "x/rs");
    assert_string_equal(world_keys(w, &replicaset_controller, owned, NULL), "x/rs");
    assert_string_equal(world_keys(w, &replicaset_controller, NULL, orphan), "x/rs");
    assert_string_equal(world_keys(w, &replicaset_controller, orphan, orphan),
                        ""); /* nothing that matters changed */
    assert_string_equal(world_keys(w, &replicaset_controller, NULL, other), "");
    assert_string_equal(world_keys(w, &replicaset_controller, owned, other), "x/rs");
    object_unref(owned);
    object_unref(orphan);
    object_unref(other);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_what_is_missing),
        cmocka_unit_test(leaves_alone_what_is_right),
        cmocka_unit_test(finished_and_deleted_pods_do_not_count),
        cmocka_unit_test(adopts_orphans_and_releases_strangers),
        cmocka_unit_test(a_set_being_deleted_does_nothing_but_status),
        cmocka_unit_test(ranks_pods_for_deletion),
        cmocka_unit_test(deletion_cost_comes_before_age),
        cmocka_unit_test(doubled_up_pods_go_first),
        cmocka_unit_test(availability_takes_time),
        cmocka_unit_test(says_why_pods_cannot_be_made),
        cmocka_unit_test(a_replication_controller_is_the_same),
        cmocka_unit_test(finds_the_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
