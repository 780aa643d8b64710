/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/nodes.h"

#include <stdio.h>

#include "controllers/cidr.h"
#include "testing.h"
#include "type/meta.h"
#include "world.h"

static struct wall start;

static int set_up(void **state)
{
    start = world_now;
    return 0;
}

static int tear_down(void **state)
{
    world_now = start;
    return 0;
}

/* ---- pod GC ------------------------------------------------------------------------------------------ */

static const char *gc(struct world *w)
{
    return world_reconcile(w, &pod_gc_controller, "");
}

static void the_oldest_finished_pods_go(void **state)
{
    struct world *w = world_new();
    world_config(w)->terminated_pod_threshold = 1;
    world_add(w, RES_PODS,
              "{metadata: {namespace: x, name: new, creationTimestamp: '2025-06-02T00:00:00Z'}, status: "
              "{phase: Failed}}");
    world_add(w, RES_PODS,
              "{metadata: {namespace: x, name: old, creationTimestamp: '2025-06-01T00:00:00Z'}, status: "
              "{phase: Succeeded}}");
    world_add(w, RES_PODS,
              "{metadata: {namespace: x, name: on, creationTimestamp: '2025-01-01T00:00:00Z'}, status: "
              "{phase: Running}}");
    assert_string_equal(gc(w), "delete pods x/old grace 0\n");
    world_free(w);
}

static void pods_of_nodes_that_are_gone_go_after_a_while(void **state)
{
    struct world *w = world_new();
    world_add(w, RES_PODS,
              "{metadata: {namespace: x, name: p}, spec: {nodeName: n1}, status: {phase: Running}}");
    assert_string_equal(gc(w), "");
    world_now.ns += SECONDS(39);
    assert_string_equal(gc(w), "");
    world_now.ns += SECONDS(2);
    const char *got = gc(w);
    assert_non_null(
        strstr(got, "check-absent nodes n1\npatch-status pods x/p {\"status\":{\"phase\":\"Failed\","));
    assert_non_null(strstr(got, "delete pods x/p grace 0\n"));
    world_add(w, RES_NODES, "{metadata: {name: n1}}");
    assert_string_equal(gc(w), "");
    world_remove(w, RES_NODES, "", "n1");
    assert_string_equal(gc(w), ""); /* the time counts anew */
    world_free(w);
}

static void pods_without_a_node_need_no_grace(void **state)
{
    struct world *w = world_new();
    world_add(w, RES_PODS,
              "{metadata: {namespace: x, name: p, deletionTimestamp: '2026-01-01T00:00:00Z'}, status: "
              "{phase: Pending}}");
    world_add(w, RES_PODS, "{metadata: {namespace: x, name: q}, status: {phase: Pending}}");
    assert_string_equal(gc(w), "delete pods x/p grace 0\n");
    world_free(w);
}

static void out_of_service_nodes_let_their_pods_go(void **state)
{
    struct world *w = world_new();
    world_add(w, RES_NODES,
              "{metadata: {name: n1}, spec: {taints: [{key: node.kubernetes.io/out-of-service, effect: "
              "NoExecute}]}}");
    world_add(w, RES_PODS,
              "{metadata: {namespace: x, name: p, deletionTimestamp: '2026-01-01T00:00:00Z'}, spec: "
              "{nodeName: n1}}");
    assert_non_null(strstr(gc(w), "delete pods x/p grace 0\n"));
    world_free(w);
}

/* ---- taint eviction ---------------------------------------------------------------------------------- */

#define TAINT "taints: [{key: k, value: v, effect: NoExecute, timeAdded: '2025-12-31T23:59:00Z'}]"

struct eviction_case {
    const char *tolerations;
    bool goes;
    const char *again; /* NULL: never */
};

static void pods_go_when_they_no_longer_tolerate(void **state)
{
    static const struct eviction_case cases[] = {
        {"", true, NULL},
        {"{key: k, operator: Exists}", false, NULL},
        {"{operator: Exists}", false, NULL},
        {"{key: k, value: v}", false, NULL},
        {"{key: k, value: other}", true, NULL},
        {"{key: k, operator: Exists, effect: NoSchedule}", true, NULL},
        {"{key: k, operator: Exists, tolerationSeconds: 90}", false, "again 30s\n"},
        {"{key: k, operator: Exists, tolerationSeconds: 60}", true, NULL},
        {"{key: k, operator: Exists, tolerationSeconds: 0}", true, NULL},
        {"{key: k, operator: Exists, tolerationSeconds: 9223372036854775807}", false, "again 437999h59m0s\n"},
        {"{key: k, operator: Exists, tolerationSeconds: 18446744073}", false, "again 437999h59m0s\n"},
        {"{key: k, operator: Exists}, {key: k, operator: Exists, tolerationSeconds: 61}", false,
         "again 1s\n"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world *w = world_new();
        world_add(w, RES_NODES, "{metadata: {name: n1}, spec: {" TAINT "}}");
        world_addf(w, RES_PODS,
                   "{metadata: {namespace: x, name: p}, spec: {nodeName: n1, tolerations: [%s]}}",
                   cases[i].tolerations);
        const char *got = world_reconcile(w, &taint_eviction_controller, "n1");
        if ((strstr(got, "delete pods x/p\n") != NULL) != cases[i].goes)
            fail_msg("%s: %s", cases[i].tolerations, got);
        if (!cases[i].goes)
            assert_string_equal(got, cases[i].again ? cases[i].again : "");
        world_free(w);
    }
}

static void evictions_are_told(void **state)
{
    struct world *w = world_new();
    world_add(w, RES_NODES, "{metadata: {name: n1}, spec: {" TAINT "}}");
    world_add(w, RES_PODS, "{metadata: {namespace: x, name: p}, spec: {nodeName: n1}}");
    const char *got = world_reconcile(w, &taint_eviction_controller, "n1");
    assert_non_null(strstr(got, "event Normal TaintManagerEviction Marking for deletion Pod x/p\n"));
    assert_non_null(strstr(got, "\"reason\":\"DeletionByTaintManager\""));
    const struct object *n = world_get(w, RES_NODES, "", "n1"), *p = world_get(w, RES_PODS, "x", "p");
    assert_string_equal(world_keys(w, &taint_eviction_controller, NULL, n), "n1");
    assert_string_equal(world_keys(w, &taint_eviction_controller, n, n), "");
    assert_string_equal(world_keys(w, &taint_eviction_controller, NULL, p), "n1");
    world_free(w);
}

/* ---- node lifecycle ---------------------------------------------------------------------------------- */

static void add_node(struct world *w, const char *name, const char *ready, const char *heartbeat,
                     const char *spec)
{
    world_addf(
        w, RES_NODES,
        "{metadata: {name: %s, uid: u-%s, creationTimestamp: '2025-12-31T00:00:00Z'}, spec: {%s}, status: "
        "{conditions: [{type: Ready, status: %s, lastHeartbeatTime: '%s'}]}}",
        name, name, spec, ready, heartbeat);
}

static void add_lease(struct world *w, const char *name, const char *time)
{
    world_addf(w, RES_LEASES, "{metadata: {namespace: kube-node-lease, name: %s}, spec: {renewTime: '%s'}}",
               name, time);
}

static const char *look(struct world *w, const char *node)
{
    return world_reconcile(w, &node_lifecycle_controller, node);
}

static void a_node_that_is_well_is_left_alone(void **state)
{
    struct world *w = world_new();
    add_node(w, "n1", "'True'", "2026-01-01T00:00:00Z", "");
    assert_non_null(
        strstr(look(w, ""), "event Normal RegisteredNode Node n1 event: Registered Node n1 in Controller\n"));
    assert_string_equal(look(w, ""), "");
    for (int i = 1; i < 10; i++) { /* its status stands still, its lease does not */
        char time[64];
        snprintf(time, sizeof(time), "2026-01-01T00:%02d:00.000000Z", i);
        add_lease(w, "n1", time);
        world_now.ns += SECONDS(15);
        assert_string_equal(look(w, ""), "");
    }
    world_free(w);
}

static void silence_makes_a_node_unknown(void **state)
{
    struct world *w = world_new();
    add_node(w, "n1", "'True'", "2026-01-01T00:00:00Z", "");
    add_node(w, "n2", "'True'", "2026-01-01T00:00:00Z", "");
    world_add(w, RES_PODS,
              "{metadata: {namespace: x, name: p}, spec: {nodeName: n1}, status: {conditions: [{type: Ready, "
              "status: 'True'}]}}");
    world_add(w, RES_PODS,
              "{metadata: {namespace: x, name: q}, spec: {nodeName: n2}, status: {conditions: [{type: Ready, "
              "status: 'True'}]}}");
    look(w, "");
    for (int i = 0; i < 10; i++) {
        world_now.ns += SECONDS(5);
        char time[64];
        snprintf(time, sizeof(time), "2026-01-01T00:00:%02d.000000Z", i);
        add_lease(w, "n2", time);
        assert_string_equal(look(w, ""), "");
    }
    world_now.ns += SECONDS(5);
    add_lease(w, "n2", "2026-01-01T00:01:00.000000Z");
    const char *got = look(w, "");
    assert_non_null(strstr(got, "status nodes n1 "));
    assert_non_null(strstr(got, "Kubelet stopped posting node status."));
    assert_non_null(strstr(got, "Kubelet never posted node status.")); /* the other conditions */
    assert_non_null(strstr(got, "event Normal NodeNotReady Node n1 status is now: NodeNotReady\n"));
    assert_non_null(strstr(got, "patch-status pods x/p {"));
    assert_null(strstr(got, "pods x/q"));
    world_apply(w);
    got = look(w, "n1");
    assert_string_equal(got, "update nodes n1\n");
    const struct val *taints = val_at(world_write(w, 0)->body, N_spec, N_taints);
    assert_int_equal(val_len(taints), 2);
    assert_str(val_getstr(val_item(taints, 0), N_key), "node.kubernetes.io/unreachable");
    assert_str(val_getstr(val_item(taints, 0), N_effect), "NoSchedule");
    assert_str(val_getstr(val_item(taints, 1), N_effect), "NoExecute");
    assert_false(str_empty(val_getstr(val_item(taints, 1), N_timeAdded)));
    world_apply(w);
    assert_string_equal(look(w, "n1"), "");
    world_free(w);
}

static void when_no_node_is_well_nobody_is_evicted(void **state)
{
    struct world *w = world_new();
    add_node(w, "n1", "'False'", "2026-01-01T00:00:00Z", "");
    look(w, "");
    const struct val *taints = val_at(world_write(w, 1)->body, N_spec, N_taints);
    assert_int_equal(val_len(taints), 1);
    assert_str(val_getstr(val_item(taints, 0), N_key), "node.kubernetes.io/not-ready");
    assert_str(val_getstr(val_item(taints, 0), N_effect), "NoSchedule");
    world_free(w);
}

static void conditions_are_taints_and_others_taints_stay(void **state)
{
    struct world *w = world_new();
    world_add(
        w, RES_NODES,
        "{metadata: {name: n1}, spec: {unschedulable: true, taints: [{key: mine, effect: NoSchedule}, {key: "
        "node.kubernetes.io/not-ready, effect: NoSchedule}]}, status: {conditions: [{type: Ready, status: "
        "'True'}, {type: "
        "DiskPressure, status: 'True'}]}}");
    look(w, "");
    const struct val *taints = val_at(world_write(w, 1)->body, N_spec, N_taints);
    assert_int_equal(val_len(taints), 3);
    assert_str(val_getstr(val_item(taints, 0), N_key), "mine");
    assert_str(val_getstr(val_item(taints, 1), N_key), "node.kubernetes.io/disk-pressure");
    assert_str(val_getstr(val_item(taints, 2), N_key), "node.kubernetes.io/unschedulable");
    world_free(w);
}

static void evictions_are_slow(void **state)
{
    struct world *w = world_new();
    char name[8];
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        add_node(w, name, i < 2 ? "'False'" : "'True'", "2026-01-01T00:00:00Z", "");
    }
    int evicted = 0;
    for (int round = 0; round < 5; round++) {
        look(w, "");
        evicted = 0;
        world_apply(w);
        for (int i = 0; i < 2; i++) {
            snprintf(name, sizeof(name), "n%d", i);
            VAL_EACH (val_at(world_get(w, RES_NODES, "", name)->val, N_spec, N_taints), t)
                evicted += str_is(val_getstr(t, N_effect), "NoExecute");
        }
        assert_int_equal(evicted, round < 2 ? 1 : 2); /* one at once, the next after ten seconds */
        world_now.ns += SECONDS(5);
    }
    world_free(w);
}

static void a_gap_in_our_own_time_is_not_held_against_nodes(void **state)
{
    struct world *w = world_new();
    add_node(w, "n1", "'True'", "2026-01-01T00:00:00Z", "");
    look(w, "");
    world_now.ns += SECONDS(3600); /* the lid was closed */
    assert_string_equal(look(w, ""), "");
    world_free(w);
}

static void a_node_that_never_spoke_has_a_minute(void **state)
{
    struct world *w = world_new();
    world_add(w, RES_NODES, "{metadata: {name: n1, creationTimestamp: '2025-12-31T23:59:30Z'}}");
    look(w, "");
    for (int i = 0; i < 6; i++) {
        world_now.ns += SECONDS(5);
        assert_string_equal(look(w, ""), "");
    }
    world_now.ns += SECONDS(5);
    assert_non_null(strstr(look(w, ""), "Kubelet never posted node status."));
    world_free(w);
}

/* ---- pod networks ------------------------------------------------------------------------------------ */

static const char *allocate(struct world *w, const char *node)
{
    return world_reconcile(w, &node_ipam_controller, node);
}

static void every_node_gets_a_network_of_its_own(void **state)
{
    struct world *w = world_new();
    world_config(w)->cluster_cidr = "10.244.0.0/16";
    world_add(w, RES_NODES,
              "{metadata: {name: a}, spec: {podCIDR: 10.244.0.0/24, podCIDRs: [10.244.0.0/24]}}");
    world_add(w, RES_NODES, "{metadata: {name: b}}");
    world_add(w, RES_NODES, "{metadata: {name: c}}");
    assert_string_equal(allocate(w, "a"), "");
    assert_string_equal(
        allocate(w, "b"),
        "patch nodes b {\"spec\":{\"podCIDR\":\"10.244.1.0/24\",\"podCIDRs\":[\"10.244.1.0/24\"]}}\n");
    /* The write for b was not seen yet. */
    assert_string_equal(
        allocate(w, "c"),
        "patch nodes c {\"spec\":{\"podCIDR\":\"10.244.2.0/24\",\"podCIDRs\":[\"10.244.2.0/24\"]}}\n");
    /* And when it failed, b gets the same again. */
    assert_non_null(strstr(allocate(w, "b"), "10.244.1.0/24"));
    world_free(w);
}

static void networks_are_given_back_and_run_out(void **state)
{
    struct world *w = world_new();
    world_config(w)->cluster_cidr = "10.0.0.0/23,fd00::/62";
    world_config(w)->service_cidr = "10.0.0.0/25";
    world_add(w, RES_NODES, "{metadata: {name: a}}");
    world_add(w, RES_NODES, "{metadata: {name: b}}");
    assert_string_equal(
        allocate(w, "a"),
        "patch nodes a "
        "{\"spec\":{\"podCIDR\":\"10.0.1.0/24\",\"podCIDRs\":[\"10.0.1.0/24\",\"fd00::/64\"]}}\n");
    assert_non_null(strstr(allocate(w, "b"), "event Normal CIDRNotAvailable"));
    world_remove(w, RES_NODES, "", "a");
    assert_non_null(strstr(allocate(w, "b"), "10.0.1.0/24"));
    world_free(w);
}

static void networks_are_numbers(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct cidr c, d;
    assert_int_equal(cidr_parse(STR("10.1.2.3/16"), &c), 0);
    assert_str(cidr_text(&a, c), "10.1.0.0/16");
    assert_str(cidr_text(&a, cidr_sub(c, 24, 255)), "10.1.255.0/24");
    assert_int_equal(cidr_count(c, 24), 256);
    assert_int_equal(cidr_count(c, 8), 0);
    assert_int_equal(cidr_parse(STR("fd00::/48"), &d), 0);
    assert_str(cidr_text(&a, cidr_sub(d, 64, 65535)), "fd00:0:0:ffff::/64");
    assert_false(cidr_overlap(c, d));
    cidr_parse(STR("10.1.9.0/24"), &d);
    assert_true(cidr_overlap(c, d));
    static const char *const bad[] = {"10.0.0.0", "10.0.0.0/33", "x/8", "fd00::/129", "/8", "10.0.0/8"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(cidr_parse(str_of(bad[i]), &c), -EINVAL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(the_oldest_finished_pods_go),
        T(pods_of_nodes_that_are_gone_go_after_a_while),
        T(pods_without_a_node_need_no_grace),
        T(out_of_service_nodes_let_their_pods_go),
        T(pods_go_when_they_no_longer_tolerate),
        T(evictions_are_told),
        T(a_node_that_is_well_is_left_alone),
        T(silence_makes_a_node_unknown),
        T(when_no_node_is_well_nobody_is_evicted),
        T(conditions_are_taints_and_others_taints_stay),
        T(evictions_are_slow),
        T(a_gap_in_our_own_time_is_not_held_against_nodes),
        T(a_node_that_never_spoke_has_a_minute),
        T(every_node_gets_a_network_of_its_own),
        T(networks_are_given_back_and_run_out),
        T(networks_are_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
