/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/cluster.h"

#include "names.h"
#include "resources.h"
#include "testing.h"
#include "type/meta.h"
#include "world.h"

#define ROUND() world_reconcile(w, &service_repair_controller, "")
#define LABELS4 "labels: {\"ipaddress.kubernetes.io/ip-family\": IPv4, \"ipaddress.kubernetes.io/managed-by\": ipallocator.k8s.io}"
#define OF(name) "spec: {parentRef: {resource: services, namespace: default, name: " name "}}"
#define LONG_AGO "creationTimestamp: \"2025-01-01T00:00:00Z\""

static struct world *world_ready(void)
{
    struct world *w = world_new();
    world_now = world_time("2026-01-01T00:00:00Z");
    world_add(w, RES_SERVICECIDRS, "{metadata: {name: kubernetes}, spec: {cidrs: [10.96.0.0/16, \"fd00::/112\"]}}");
    return w;
}

static void service(struct world *w, const char *name, const char *spec)
{
    world_addf(w, RES_SERVICES, "{metadata: {namespace: default, name: %s}, spec: {%s}}", name, spec);
}

static void address(struct world *w, const char *name, const char *meta, const char *rest)
{
    world_addf(w, RES_IPADDRESSES, "{metadata: {name: \"%s\", " LONG_AGO ", %s}, %s}", name, meta, rest);
}

/* What is wrong is only looked at again at first; five seconds later it is acted upon. */
static const char *confirmed_round(struct world *w)
{
    assert_string_equal(ROUND(), "again 5s\n");
    world_now.ns += SECONDS(5);
    return ROUND();
}

static void what_is_right_stays(void **state UNUSED)
{
    struct world *w = world_ready();
    service(w, "a", "clusterIPs: [10.96.0.7, \"fd00:0::7\"], ports: [{port: 1, nodePort: 30001}]");
    service(w, "b", "clusterIPs: [None]");
    service(w, "c", "type: ExternalName, externalName: example.com");
    address(w, "10.96.0.7", LABELS4, OF("a"));
    address(w, "fd00::7", "labels: {\"ipaddress.kubernetes.io/ip-family\": IPv6, \"ipaddress.kubernetes.io/managed-by\": ipallocator.k8s.io}", OF("a"));
    address(w, "10.96.0.99", "labels: {}", "spec: {parentRef: {group: example.com, resource: gateways, name: g}}"); /* somebody's own */
    assert_string_equal(ROUND(), "");
    world_free(w);
}

static void a_missing_address_is_made(void **state UNUSED)
{
    struct world *w = world_ready();
    service(w, "a", "clusterIPs: [10.96.0.7]");
    assert_string_equal(confirmed_round(w), "event Warning ClusterIPNotAllocated Cluster IP [IPv4]: 10.96.0.7 is not allocated; repairing\n"
                                            "create ipaddresses 10.96.0.7\n");
    world_apply(w);
    assert_string_equal(ROUND(), ""); /* as the API server would have made it */
    world_free(w);
}

static void half_a_transaction_is_no_trouble(void **state UNUSED)
{
    struct world *w = world_ready();
    service(w, "a", "clusterIPs: [10.96.0.7]");
    assert_string_equal(ROUND(), "again 5s\n");
    world_now.ns += SECONDS(4);
    assert_string_equal(ROUND(), "again 1s\n");
    address(w, "10.96.0.7", LABELS4, OF("a"));
    assert_string_equal(ROUND(), "");
    world_remove(w, RES_IPADDRESSES, "", "10.96.0.7");
    world_now.ns += SECONDS(60);
    assert_string_equal(ROUND(), "again 5s\n"); /* the first time was forgotten */
    world_now.ns -= SECONDS(600);
    assert_string_equal(ROUND(), "again 5s\n"); /* a clock that went back delays no more than that */
    world_free(w);
}

static void addresses_out_of_range_or_invalid_are_told(void **state UNUSED)
{
    struct world *w = world_ready();
    service(w, "a", "clusterIPs: [10.97.0.1, \"300.1.1.1\"]");
    assert_string_equal(confirmed_round(w),
                        "event Warning ClusterIPOutOfRange Cluster IP [IPv4]: 10.97.0.1 is not within any configured Service CIDR; please recreate service\n"
                        "event Warning ClusterIPNotValid Cluster IP 300.1.1.1 is not a valid IP; please recreate Service\n");
    world_free(w);
}

static void an_address_that_names_nobody_is_made_anew(void **state UNUSED)
{
    struct world *w = world_ready();
    service(w, "a", "clusterIPs: [10.96.0.7]");
    address(w, "10.96.0.7", "labels: {}", OF("gone"));
    assert_string_equal(confirmed_round(w),
                        "delete ipaddresses 10.96.0.7\n"
                        "event Warning ClusterIPNotAllocated the ClusterIP [IPv4]: 10.96.0.7 for Service default/a has a wrong reference; repairing\n"
                        "create ipaddresses 10.96.0.7\n");
    assert_str(world_find(w, WRITE_DELETE)->uid, "u-10.96.0.7");
    world_free(w);
}

static void wrong_labels_are_put_right(void **state UNUSED)
{
    struct world *w = world_ready();
    service(w, "a", "clusterIPs: [10.96.0.7]");
    address(w, "10.96.0.7", "labels: {\"ipaddress.kubernetes.io/managed-by\": ipallocator.k8s.io}", OF("a"));
    assert_string_equal(confirmed_round(w), "delete ipaddresses 10.96.0.7\ncreate ipaddresses 10.96.0.7\n");
    world_apply(w);
    assert_string_equal(ROUND(), "");
    world_free(w);
}

static void one_address_of_two_services_is_told_of_the_one_without(void **state UNUSED)
{
    struct world *w = world_ready();
    service(w, "a", "clusterIPs: [10.96.0.7]");
    service(w, "b", "clusterIPs: [10.96.0.7]");
    address(w, "10.96.0.7", LABELS4, OF("b"));
    assert_string_equal(confirmed_round(w),
                        "event Warning ClusterIPAlreadyAllocated Cluster IP [IPv4]:10.96.0.7 was assigned to multiple services; please recreate service\n");
    assert_str(obj_name(world_find(w, WRITE_EVENT)->body), "a");
    world_free(w);
}

static void leaked_addresses_go_but_not_while_a_request_may_run(void **state UNUSED)
{
    struct world *w = world_ready();
    world_add(w, RES_IPADDRESSES, "{metadata: {name: 10.96.0.8, creationTimestamp: \"2025-12-31T23:59:30Z\", " LABELS4 "}, " OF("gone") "}");
    assert_string_equal(ROUND(), "again 30s\n");
    world_now.ns += SECONDS(30);
    assert_string_equal(confirmed_round(w),
                        "check-absent services default/gone\n"
                        "event Warning IPAddressNotAllocated IPAddress: 10.96.0.8 for Service default/gone appears to have leaked: cleaning up\n"
                        "delete ipaddresses 10.96.0.8\n");
    world_free(w);
}

static void addresses_of_services_that_have_others_go(void **state UNUSED)
{
    struct world *w = world_ready();
    service(w, "a", "clusterIPs: [10.96.0.7]");
    address(w, "10.96.0.7", LABELS4, OF("a"));
    address(w, "10.96.0.8", LABELS4, OF("a"));
    assert_string_equal(confirmed_round(w),
                        "event Warning IPAddressWrongReference IPAddress: 10.96.0.8 for Service default/a has a wrong reference; cleaning up\n"
                        "delete ipaddresses 10.96.0.8\n");
    world_free(w);
}

static void addresses_of_ours_that_name_no_service_go(void **state UNUSED)
{
    struct world *w = world_ready();
    address(w, "10.96.0.8", LABELS4, "spec: {parentRef: {group: example.com, resource: gateways, name: g}}");
    assert_string_equal(confirmed_round(w),
                        "event Warning IPAddressNotAllocated IPAddress 10.96.0.8 appears to have been modified, not referencing a Service: cleaning up\n"
                        "delete ipaddresses 10.96.0.8\n");
    world_free(w);
}

static void ports_of_two_services_or_none_are_told(void **state UNUSED)
{
    struct world *w = world_ready();
    world_config(w)->service_node_ports = "30000-30010";
    service(w, "a", "ports: [{port: 1, nodePort: 30001, protocol: TCP}, {port: 1, nodePort: 30001, protocol: UDP}]");
    service(w, "b", "ports: [{port: 1, nodePort: 30001}, {port: 2, nodePort: 30011}], healthCheckNodePort: 30002");
    service(w, "c", "healthCheckNodePort: 30002");
    assert_string_equal(confirmed_round(w),
                        "event Warning PortAlreadyAllocated Port 30001 was assigned to multiple services; please recreate service\n"
                        "event Warning PortOutOfRange Port 30011 is not within the port range 30000-30010; please recreate service\n"
                        "event Warning PortAlreadyAllocated Port 30002 was assigned to multiple services; please recreate service\n");
    assert_str(obj_name(world_write(w, 0)->body), "b");
    assert_str(obj_name(world_write(w, 2)->body), "c");
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_right_stays),
        cmocka_unit_test(a_missing_address_is_made),
        cmocka_unit_test(half_a_transaction_is_no_trouble),
        cmocka_unit_test(addresses_out_of_range_or_invalid_are_told),
        cmocka_unit_test(an_address_that_names_nobody_is_made_anew),
        cmocka_unit_test(wrong_labels_are_put_right),
        cmocka_unit_test(one_address_of_two_services_is_told_of_the_one_without),
        cmocka_unit_test(leaked_addresses_go_but_not_while_a_request_may_run),
        cmocka_unit_test(addresses_of_services_that_have_others_go),
        cmocka_unit_test(addresses_of_ours_that_name_no_service_go),
        cmocka_unit_test(ports_of_two_services_or_none_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
