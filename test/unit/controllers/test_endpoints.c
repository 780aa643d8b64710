/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/endpoints.h"

#include <stdio.h>

#include "testing.h"
#include "type/meta.h"
#include "world.h"

static void add_service(struct world *w, const char *spec)
{
    world_addf(w, RES_SERVICES,
               "{metadata: {namespace: x, name: web, uid: u-web, labels: {tier: front}}, spec: {clusterIP: "
               "10.96.0.9, ipFamilies: [IPv4], selector: {app: web}, ports: [{name: http, port: 80, "
               "targetPort: web, "
               "protocol: TCP}], %s}}",
               spec);
}

static void add_node(struct world *w, const char *name, const char *zone)
{
    world_addf(w, RES_NODES, "{metadata: {name: %s, labels: {topology.kubernetes.io/zone: %s}}}", name, zone);
}

static void add_pod(struct world *w, const char *name, int ip, bool ready, const char *meta, const char *spec)
{
    world_addf(
        w, RES_PODS,
        "{metadata: {namespace: x, name: %s, labels: {app: web}, %s}, spec: {nodeName: n1, containers: "
        "[{name: c, ports: [{name: web, containerPort: 8080}]}], %s}, status: {phase: Running, podIP: "
        "10.0.0.%d, "
        "podIPs: [{ip: 10.0.0.%d}], conditions: [{type: Ready, status: '%s'}]}}",
        name, meta, spec, ip, ip, ready ? "True" : "False");
}

static const char *run_slices(struct world *w)
{
    return world_reconcile(w, &endpointslice_controller, "x/web");
}

static const char *run_endpoints(struct world *w)
{
    return world_reconcile(w, &endpoints_controller, "x/web");
}

static const struct val *endpoint(const struct val *slice, size_t i)
{
    return val_item(val_get(slice, N_endpoints), i);
}

static bool condition(const struct val *e, name_id name)
{
    return val_bool(val_at(e, N_conditions, name), false);
}

static void a_slice_says_all_about_its_pods(void **state)
{
    struct world *w = world_new();
    add_node(w, "n1", "east");
    add_service(w, "");
    add_pod(w, "a", 1, true, "", "hostname: h, subdomain: web");
    add_pod(w, "b", 2, false, "", "");
    add_pod(w, "c", 3, true, "deletionTimestamp: '2026-01-01T00:00:00Z'", "");
    world_add(
        w, RES_PODS,
        "{metadata: {namespace: x, name: d, labels: {app: web}}, spec: {nodeName: n1}}"); /* no IP yet */
    world_add(
        w, RES_PODS,
        "{metadata: {namespace: x, name: e, labels: {app: web}}, status: {phase: Failed, podIP: 10.0.0.9}}");
    assert_string_equal(run_slices(w), "create endpointslices x/\n");
    const struct val *s = world_write(w, 0)->body;
    assert_str(obj_label(s, STR("kubernetes.io/service-name")), "web");
    assert_str(obj_label(s, STR("tier")), "front");
    assert_str(obj_label(s, STR("endpointslice.kubernetes.io/managed-by")),
               "endpointslice-controller.k8s.io");
    assert_str(val_getstr(s, N_addressType), "IPv4");
    assert_int_equal(val_int(val_get(val_item(val_get(s, N_ports), 0), N_port), 0), 8080);
    assert_int_equal(val_len(val_get(s, N_endpoints)), 3);
    const struct val *a = endpoint(s, 0), *b = endpoint(s, 1), *c = endpoint(s, 2);
    assert_str(val_str(val_item(val_get(a, N_addresses), 0)), "10.0.0.1");
    assert_str(val_getstr(a, N_hostname), "h");
    assert_str(val_getstr(a, N_zone), "east");
    assert_str(val_getstr(a, N_nodeName), "n1");
    assert_str(val_str(val_at(a, N_targetRef, N_name)), "a");
    assert_true(condition(a, N_ready) && condition(a, N_serving) && !condition(a, N_terminating));
    assert_true(!condition(b, N_ready) && !condition(b, N_serving));
    assert_true(!condition(c, N_ready) && condition(c, N_serving) && condition(c, N_terminating));
    world_apply(w);
    assert_string_equal(run_slices(w), "");
    world_free(w);
}

static void a_change_of_one_pod_moves_one_slice(void **state)
{
    struct world *w = world_new();
    add_node(w, "n1", "east");
    add_service(w, "");
    world_config(w)->endpoints_per_slice = 3;
    char name[16];
    for (int i = 1; i <= 7; i++) {
        snprintf(name, sizeof(name), "p%d", i);
        add_pod(w, name, i, true, "", "");
    }
    assert_string_equal(run_slices(w),
                        "create endpointslices x/\ncreate endpointslices x/\ncreate endpointslices x/\n");
    world_apply(w);
    add_pod(w, "p2", 2, false, "", "");
    assert_string_equal(run_slices(w), "update endpointslices x/web-1\n");
    world_apply(w);
    add_pod(w, "p8", 8, true, "", ""); /* there is room in the last */
    assert_string_equal(run_slices(w), "update endpointslices x/web-3\n");
    world_apply(w);
    world_remove(w, RES_PODS, "x", "p7");
    world_remove(w, RES_PODS, "x", "p8");
    assert_string_equal(run_slices(w), "delete endpointslices x/web-3\n");
    world_free(w);
}

static void without_endpoints_there_is_a_placeholder(void **state)
{
    struct world *w = world_new();
    add_node(w, "n1", "east");
    add_service(w, "");
    assert_string_equal(run_slices(w), "create endpointslices x/\n");
    assert_int_equal(val_len(val_get(world_write(w, 0)->body, N_endpoints)), 0);
    world_apply(w);
    assert_string_equal(run_slices(w), "");
    add_pod(w, "a", 1, true, "", "");
    assert_string_equal(run_slices(w), "update endpointslices x/web-1\n"); /* it is used, not replaced */
    world_apply(w);
    world_remove(w, RES_PODS, "x", "a");
    assert_string_equal(run_slices(w), "update endpointslices x/web-1\n");
    world_apply(w);
    assert_string_equal(run_slices(w), "");
    world_free(w);
}

static void pods_with_other_ports_have_another_slice(void **state)
{
    struct world *w = world_new();
    add_node(w, "n1", "east");
    add_service(w, "");
    add_pod(w, "a", 1, true, "", "");
    world_add(
        w, RES_PODS,
        "{metadata: {namespace: x, name: b, labels: {app: web}}, spec: {nodeName: n1, containers: [{name: "
        "c, ports: [{name: web, containerPort: 9090}]}]}, status: {phase: Running, podIP: 10.0.0.2}}");
    assert_string_equal(run_slices(w), "create endpointslices x/\ncreate endpointslices x/\n");
    world_free(w);
}

static void families_have_their_own_slices(void **state)
{
    struct world *w = world_new();
    add_node(w, "n1", "east");
    world_add(w, RES_SERVICES,
              "{metadata: {namespace: x, name: web, uid: u-web}, spec: {clusterIP: None, ipFamilies: [IPv6, "
              "IPv4], selector: {app: web}}}");
    world_add(w, RES_PODS,
              "{metadata: {namespace: x, name: a, labels: {app: web}}, spec: {nodeName: n1}, status: {podIP: "
              "10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}}");
    assert_string_equal(run_slices(w), "create endpointslices x/\ncreate endpointslices x/\n");
    assert_str(val_str(val_item(val_get(endpoint(world_write(w, 1)->body, 0), N_addresses), 0)), "fd00::1");
    assert_true(val_key(obj_labels(world_write(w, 0)->body), STR("service.kubernetes.io/headless")) != NULL);
    world_apply(w);
    world_add(w, RES_SERVICES,
              "{metadata: {namespace: x, name: web, uid: u-web}, spec: {clusterIP: None, ipFamilies: [IPv4], "
              "selector: {app: web}}}");
    assert_string_equal(run_slices(w), "delete endpointslices x/web-2\n");
    world_free(w);
}

static void a_pod_of_an_unknown_node_waits(void **state)
{
    struct world *w = world_new();
    add_service(w, "");
    add_pod(w, "a", 1, true, "", "");
    assert_string_equal(run_slices(w), "create endpointslices x/\nerror -11\n");
    assert_int_equal(val_len(val_get(world_write(w, 0)->body, N_endpoints)), 0);
    add_service(w, "publishNotReadyAddresses: true");
    run_slices(w);
    assert_int_equal(val_len(val_get(world_write(w, 0)->body, N_endpoints)), 1);
    world_free(w);
}

static void traffic_may_stay_in_its_zone(void **state)
{
    struct world *w = world_new();
    add_node(w, "n1", "east");
    add_service(w, "trafficDistribution: PreferSameNode");
    add_pod(w, "a", 1, true, "", "");
    run_slices(w);
    const struct val *hints = val_get(endpoint(world_write(w, 0)->body, 0), N_hints);
    assert_str(val_getstr(val_item(val_get(hints, N_forZones), 0), N_name), "east");
    assert_str(val_getstr(val_item(val_get(hints, N_forNodes), 0), N_name), "n1");
    world_free(w);
}

static void services_without_selector_are_left_alone(void **state)
{
    struct world *w = world_new();
    world_add(w, RES_SERVICES, "{metadata: {namespace: x, name: web}, spec: {clusterIP: 10.96.0.9}}");
    assert_string_equal(run_slices(w), "");
    assert_string_equal(run_endpoints(w), "");
    world_free(w);
}

static void endpoints_tell_ready_from_not_ready(void **state)
{
    struct world *w = world_new();
    add_service(w, "");
    add_pod(w, "b", 2, true, "", "");
    add_pod(w, "a", 3, true, "", "");
    add_pod(w, "c", 1, false, "", "");
    add_pod(w, "d", 4, true, "deletionTimestamp: '2026-01-01T00:00:00Z'", "");
    assert_string_equal(run_endpoints(w), "create endpoints x/web\n");
    const struct val *v = world_write(w, 0)->body, *s = val_item(val_get(v, N_subsets), 0);
    assert_int_equal(val_len(val_get(v, N_subsets)), 1);
    assert_str(val_getstr(val_item(val_get(s, N_addresses), 0), N_ip), "10.0.0.2");
    assert_str(val_getstr(val_item(val_get(s, N_addresses), 1), N_ip), "10.0.0.3");
    assert_int_equal(val_len(val_get(s, N_addresses)), 2);
    assert_str(val_getstr(val_item(val_get(s, N_notReadyAddresses), 0), N_ip), "10.0.0.1");
    assert_int_equal(val_int(val_get(val_item(val_get(s, N_ports), 0), N_port), 0), 8080);
    world_apply(w);
    assert_string_equal(run_endpoints(w), "");
    world_remove(w, RES_SERVICES, "x", "web");
    assert_string_equal(run_endpoints(w), "delete endpoints x/web\n");
    world_free(w);
}

static void pods_find_their_services(void **state)
{
    struct world *w = world_new();
    add_service(w, "");
    struct object *a = object_relaxed(RES_PODS, "{metadata: {namespace: x, name: a, labels: {app: web}}}");
    struct object *b = object_relaxed(
        RES_PODS, "{metadata: {namespace: x, name: a, labels: {app: web}}, status: {podIP: 1.2.3.4}}");
    struct object *c = object_relaxed(RES_PODS, "{metadata: {namespace: x, name: a, labels: {app: db}}}");
    assert_string_equal(world_keys(w, &endpointslice_controller, a, b), "x/web");
    assert_string_equal(world_keys(w, &endpointslice_controller, a, a), "");
    assert_string_equal(world_keys(w, &endpointslice_controller, a, c), "x/web");
    assert_string_equal(world_keys(w, &endpoints_controller, NULL, c), "");
    object_unref(a);
    object_unref(b);
    object_unref(c);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slice_says_all_about_its_pods),
        cmocka_unit_test(a_change_of_one_pod_moves_one_slice),
        cmocka_unit_test(without_endpoints_there_is_a_placeholder),
        cmocka_unit_test(pods_with_other_ports_have_another_slice),
        cmocka_unit_test(families_have_their_own_slices),
        cmocka_unit_test(a_pod_of_an_unknown_node_waits),
        cmocka_unit_test(traffic_may_stay_in_its_zone),
        cmocka_unit_test(services_without_selector_are_left_alone),
        cmocka_unit_test(endpoints_tell_ready_from_not_ready),
        cmocka_unit_test(pods_find_their_services),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
