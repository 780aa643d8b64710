/* SPDX-License-Identifier: Apache-2.0 */
/* Cluster IPs and node ports. */
#include "fixture.h"

#define SERVICES "/api/v1/namespaces/default/services"

static struct reply make(struct fixture *f, const char *name, const char *spec)
{
    return post(f, SERVICES,
                arena_printf(&f->arena, "{\"metadata\":{\"name\":\"%s\"},\"spec\":%s}", name, spec).p);
}

FIBER_TEST(the_kubernetes_service)
{
    struct fixture f;
    struct apiserver_config c = {.authorization = "AlwaysAllow", .advertise = "10.1.2.3"};
    fixture_start(&f, &c);
    assert_at(&f, get(&f, SERVICES "/kubernetes"), "spec.clusterIP", "10.96.0.1");
    struct reply r = get(&f, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes");
    assert_at(&f, r, "endpoints.0.addresses.0", "10.1.2.3");
    assert_int_equal(strlen(at(&f, r.v, "metadata.uid")), 36);
    assert_int_equal(strlen(at(&f, r.v, "metadata.creationTimestamp")), strlen("2026-01-02T03:04:05Z"));
    r = get(&f, "/apis/networking.k8s.io/v1/ipaddresses/10.96.0.1");
    assert_at(&f, r, "spec.parentRef.name", "kubernetes");
    c.advertise = "10.1.2.4"; /* a changed address finds its way */
    fixture_restart(&f, &c);
    r = get(&f, "/api/v1/namespaces/default/endpoints/kubernetes");
    assert_at(&f, r, "subsets.0.addresses.0.ip", "10.1.2.4");
    fixture_stop(&f);
}

FIBER_TEST(addresses_are_given_and_taken_back)
{
    struct fixture f;
    struct apiserver_config c = {.authorization = "AlwaysAllow", .service_cidr = "10.96.0.0/29"};
    fixture_start(&f, &c);
    struct reply r = make(&f, "a", "{\"ports\":[{\"port\":80}],\"clusterIP\":\"10.96.0.4\"}");
    assert_code(r, 201);
    assert_at(&f, r, "spec.clusterIPs.0", "10.96.0.4");
    assert_at(&f, r, "spec.ipFamilies.0", "IPv4");
    assert_code(make(&f, "b", "{\"ports\":[{\"port\":80}],\"clusterIP\":\"10.96.0.4\"}"), 422);
    assert_code(make(&f, "b", "{\"ports\":[{\"port\":80}],\"clusterIP\":\"10.97.0.4\"}"), 422);
    for (int i = 0; i < 4; i++) /* 2 3 5 6 are left */
        assert_code(make(&f, arena_printf(&f.arena, "c%d", i).p, "{\"ports\":[{\"port\":80}]}"), 201);
    assert_code(make(&f, "d", "{\"ports\":[{\"port\":80}]}"), 500);
    assert_code(ask(&f, "DELETE", SERVICES "/a", NULL, NULL), 200);
    assert_code(get(&f, "/apis/networking.k8s.io/v1/ipaddresses/10.96.0.4"), 404);
    r = make(&f, "d", "{\"ports\":[{\"port\":80}]}");
    assert_at(&f, r, "spec.clusterIP", "10.96.0.4");
    fixture_restart(&f, &c); /* known again from the store */
    assert_code(make(&f, "e", "{\"ports\":[{\"port\":80}]}"), 500);
    fixture_stop(&f);
}

FIBER_TEST(headless_and_external_have_none)
{
    struct fixture f;
    fixture_start(&f, NULL);
    struct reply r =
        make(&f, "h", "{\"ports\":[{\"port\":80}],\"clusterIP\":\"None\",\"selector\":{\"a\":\"b\"}}");
    assert_at(&f, r, "spec.clusterIPs.0", "None");
    r = make(&f, "x", "{\"type\":\"ExternalName\",\"externalName\":\"e.com\"}");
    assert_code(r, 201);
    assert_at(&f, r, "spec.clusterIP", "");
    r = patch(&f, SERVICES "/x", "merge-patch+json",
              "{\"spec\":{\"type\":\"ClusterIP\",\"externalName\":null,\"ports\":[{\"port\":80}]}}");
    assert_code(r, 200);
    assert_true(*at(&f, r.v, "spec.clusterIP"));
    fixture_stop(&f);
}

FIBER_TEST(node_ports)
{
    struct fixture f;
    struct apiserver_config c = {
        .authorization = "AlwaysAllow", .node_port_first = 30000, .node_port_last = 30002};
    fixture_start(&f, &c);
    struct reply r =
        make(&f, "a",
             "{\"type\":\"NodePort\",\"ports\":[{\"port\":53,\"protocol\":\"TCP\",\"name\":\"t\"},"
             "{\"port\":53,\"protocol\":\"UDP\",\"name\":\"u\"}]}");
    assert_code(r, 201);
    const char *port = at(&f, r.v, "spec.ports.0.nodePort");
    assert_at(&f, r, "spec.ports.1.nodePort", port); /* one number for both protocols */
    assert_code(make(&f, "b", "{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":29999}]}"), 422);
    assert_code(
        make(&f, "b",
             arena_printf(&f.arena, "{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":%s}]}", port)
                 .p),
        422);
    assert_code(make(&f, "b", "{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}"), 201);
    assert_code(make(&f, "c", "{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}"), 201);
    assert_code(make(&f, "d", "{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}"), 500);
    r = patch(&f, SERVICES "/a", "merge-patch+json", "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}");
    assert_at(&f, r, "spec.ports.0.nodePort", port);
    r = patch(&f, SERVICES "/a", "merge-patch+json", "{\"spec\":{\"type\":\"ClusterIP\"}}");
    assert_code(r, 200);
    assert_at(&f, r, "spec.ports.0.nodePort", "");
    assert_code(make(&f, "d", "{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}"), 201);
    fixture_stop(&f);
}

FIBER_TEST(updates_keep_what_they_do_not_name)
{
    struct fixture f;
    fixture_start(&f, NULL);
    struct reply r = make(&f, "a", "{\"ports\":[{\"port\":80}]}");
    const char *ip = at(&f, r.v, "spec.clusterIP");
    r = ask(&f, "PUT", SERVICES "/a", "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"ports\":[{\"port\":81}]}}",
            NULL);
    assert_code(r, 200);
    assert_at(&f, r, "spec.clusterIP", ip);
    assert_code(patch(&f, SERVICES "/a", "merge-patch+json", "{\"spec\":{\"clusterIP\":\"10.96.9.9\"}}"),
                422);
    fixture_stop(&f);
}

/* Refused for one reason. */
static void assert_cause(struct fixture *f, struct reply r, const char *field)
{
    assert_code(r, 422);
    assert_at(f, r, "details.causes.0.field", field);
    assert_at(f, r, "details.causes.1.field", "");
}

/* KEP-563: who asks for what, and what comes of it. */
FIBER_TEST(both_families)
{
    struct fixture f;
    struct apiserver_config c = {.authorization = "AlwaysAllow", .service_cidr = "10.96.0.0/24,fd00:96::/112"};
    fixture_start(&f, &c);
    struct reply r = make(&f, "single", "{\"ports\":[{\"port\":80}]}");
    assert_at(&f, r, "spec.ipFamilies.1", "");
    assert_at(&f, r, "spec.ipFamilyPolicy", "SingleStack");
    r = make(&f, "prefer", "{\"ipFamilyPolicy\":\"PreferDualStack\",\"ports\":[{\"port\":80}]}");
    assert_at(&f, r, "spec.ipFamilies.1", "IPv6");
    assert_true(strncmp(at(&f, r.v, "spec.clusterIPs.1"), "fd00:96::", 9) == 0);
    const char *second = arena_cstr(&f.arena, str_of(at(&f, r.v, "spec.clusterIPs.1")));
    const char *object = arena_printf(&f.arena, "/apis/networking.k8s.io/v1/ipaddresses/%s", second).p;
    assert_code(get(&f, object), 200);
    r = make(&f, "six", "{\"ipFamilies\":[\"IPv6\",\"IPv4\"],\"ipFamilyPolicy\":\"RequireDualStack\",\"ports\":[{\"port\":80}]}");
    assert_true(strchr(at(&f, r.v, "spec.clusterIP"), ':') != NULL);
    assert_at(&f, r, "spec.ipFamilies.1", "IPv4");
    r = make(&f, "told", "{\"clusterIP\":\"fd00:96::77\",\"ports\":[{\"port\":80}]}");
    assert_at(&f, r, "spec.ipFamilies.0", "IPv6");
    r = make(&f, "two", "{\"ipFamilies\":[\"IPv6\",\"IPv4\"],\"ports\":[{\"port\":80}]}");
    assert_code(r, 422);
    assert_cause(&f, r, "spec.ipFamilyPolicy");
    /* up and down again */
    r = patch(&f, SERVICES "/single", "merge-patch+json", "{\"spec\":{\"ipFamilyPolicy\":\"RequireDualStack\"}}");
    assert_code(r, 200);
    assert_true(*at(&f, r.v, "spec.clusterIPs.1"));
    r = patch(&f, SERVICES "/prefer", "merge-patch+json", "{\"spec\":{\"ipFamilies\":[\"IPv4\"]}}");
    assert_code(r, 422);
    r = patch(&f, SERVICES "/prefer", "merge-patch+json", "{\"spec\":{\"ipFamilyPolicy\":\"SingleStack\"}}");
    assert_code(r, 200);
    assert_at(&f, r, "spec.clusterIPs.1", "");
    assert_at(&f, r, "spec.ipFamilies.1", "");
    assert_code(get(&f, object), 404); /* what it had is free */
    fixture_stop(&f);
}

/* KEP-1880: a cluster whose range is full gets another. */
FIBER_TEST(ranges_are_added)
{
#define CIDRS "/apis/networking.k8s.io/v1/servicecidrs"
    struct fixture f;
    struct apiserver_config c = {.authorization = "AlwaysAllow", .service_cidr = "10.96.0.0/29"};
    fixture_start(&f, &c);
    for (int i = 0; i < 5; i++) /* 2 to 6 */
        assert_code(make(&f, arena_printf(&f.arena, "c%d", i).p, "{\"ports\":[{\"port\":80}]}"), 201);
    assert_code(make(&f, "d", "{\"ports\":[{\"port\":80}]}"), 500);
    assert_code(make(&f, "d", "{\"clusterIP\":\"10.99.0.9\",\"ports\":[{\"port\":80}]}"), 422);
    assert_code(post(&f, CIDRS, "{\"metadata\":{\"name\":\"more\"},\"spec\":{\"cidrs\":[\"10.99.0.0/28\",\"fd00:99::/112\"]}}"), 201);
    struct reply r = make(&f, "d", "{\"clusterIP\":\"10.99.0.9\",\"ports\":[{\"port\":80}]}");
    assert_code(r, 201);
    assert_code(get(&f, "/apis/networking.k8s.io/v1/ipaddresses/10.99.0.9"), 200);
    r = make(&f, "e", "{\"ports\":[{\"port\":80}]}");
    assert_code(r, 201);
    assert_true(strncmp(at(&f, r.v, "spec.clusterIP"), "10.99.0.", 8) == 0);
    assert_code(make(&f, "f", "{\"ipFamilies\":[\"IPv6\"],\"ports\":[{\"port\":80}]}"), 422); /* families are the server's */
    r = patch(&f, CIDRS "/more/status", "merge-patch+json",
              "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\",\"reason\":\"X\",\"message\":\"\",\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}]}}");
    assert_code(r, 200);
    assert_code(make(&f, "g", "{\"ports\":[{\"port\":80}]}"), 500);
    assert_code(patch(&f, SERVICES "/e", "merge-patch+json", "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}"), 200); /* who has one keeps it */
    fixture_stop(&f);
#undef CIDRS
}

FIBER_TEST(a_cluster_of_one_family)
{
    struct fixture f;
    struct apiserver_config c = {.authorization = "AlwaysAllow", .service_cidr = "fd00:96::/112"};
    fixture_start(&f, &c);
    assert_at(&f, get(&f, SERVICES "/kubernetes"), "spec.clusterIP", "fd00:96::1");
    struct reply r = make(&f, "prefer", "{\"ipFamilyPolicy\":\"PreferDualStack\",\"ports\":[{\"port\":80}]}");
    assert_at(&f, r, "spec.ipFamilies.1", "");
    assert_at(&f, r, "spec.ipFamilies.0", "IPv6");
    r = make(&f, "must", "{\"ipFamilyPolicy\":\"RequireDualStack\",\"ports\":[{\"port\":80}]}");
    assert_cause(&f, r, "spec.ipFamilyPolicy");
    r = make(&f, "four", "{\"ipFamilies\":[\"IPv4\"],\"ports\":[{\"port\":80}]}");
    assert_cause(&f, r, "spec.ipFamilies[0]");
    r = make(&f, "none", "{\"clusterIP\":\"None\",\"selector\":{\"a\":\"b\"},\"ipFamilies\":[\"IPv4\"],\"ports\":[{\"port\":80}]}");
    assert_cause(&f, r, "spec.ipFamilies[0]");
    r = make(&f, "ip", "{\"clusterIP\":\"10.96.0.7\",\"ports\":[{\"port\":80}]}");
    assert_cause(&f, r, "spec.clusterIPs[0]");
    r = make(&f, "hand", "{\"clusterIP\":\"None\",\"ports\":[{\"port\":80}]}"); /* its endpoints are anybody's */
    assert_at(&f, r, "spec.ipFamilyPolicy", "RequireDualStack");
    assert_at(&f, r, "spec.ipFamilies.1", "IPv4");
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kubernetes_service),
        cmocka_unit_test(addresses_are_given_and_taken_back),
        cmocka_unit_test(headless_and_external_have_none),
        cmocka_unit_test(node_ports),
        cmocka_unit_test(updates_keep_what_they_do_not_name),
        cmocka_unit_test(both_families),
        cmocka_unit_test(ranges_are_added),
        cmocka_unit_test(a_cluster_of_one_family),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
