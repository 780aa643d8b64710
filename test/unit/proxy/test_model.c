/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoints take which traffic: a table. */
#include "services.h"

static struct node_side node = {.node_name = "here", .zone = "z1", .nodeports_all = true};

/* The last figures of the addresses that take that traffic. */
static const char *takers(const struct service_port *p, bool local, char ret[static 16])
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_endpoints; i++)
        if (local ? p->endpoints[i].in_local : p->endpoints[i].in_cluster)
            ret[n++] = (char)('0' + p->endpoints[i].ip.b[3]);
    ret[n] = '\0';
    return ret;
}

#define LOCAL_IN ",\"internalTrafficPolicy\":\"Local\""
#define LOCAL_OUT ",\"type\":\"NodePort\",\"externalTrafficPolicy\":\"Local\""
#define NODEPORT ",\"type\":\"NodePort\""

static const struct {
    const char *spec, *endpoints, *cluster, *local;
    bool any, inside, outside;
} cases[] = {
    {"", "", "", "", false, false, false},
    {"", "H1 T2", "12", "", true, true, true},
    {"", "T2 H1 T2", "12", "", true, true, true},           /* each once, sorted */
    {"", "H1- T2", "2", "", true, true, true},
    {"", "H1- T2-", "", "", false, false, false},
    {"", "H1-ts T2-ts", "12", "", true, true, true},         /* none ready: those that leave and still serve */
    {"", "H1-ts T2", "2", "", true, true, true},
    {"", "H1-t", "", "", false, false, false},               /* leaves and serves no more */
    {"", "H1-s", "", "", false, false, false},               /* not ready, not leaving */
    {"", "H1z T2Z", "1", "", true, true, true},              /* hints */
    {"", "H1Z T2Z", "12", "", true, true, true},             /* none for us: not heeded */
    {"", "H1z T2", "12", "", true, true, true},              /* one has none: not heeded */
    {"", "H1z T2Z-", "1", "", true, true, true},             /* those not ready do not count */
    {"", "H1zn T2zN", "1", "", true, true, true},            /* the node goes before the zone */
    {"", "T1zN T2ZN", "1", "", true, true, true},            /* no hint for this node: by zone */
    {LOCAL_IN, "H1 T2", "", "1", true, true, true},
    {LOCAL_IN, "T2", "", "", true, false, true},
    {LOCAL_IN, "H1-ts T2", "", "1", true, true, true},
    {LOCAL_IN, "T2-ts", "", "", true, false, true},
    {LOCAL_IN, "T2-", "", "", false, false, false},
    {LOCAL_OUT, "H1 T2", "12", "1", true, true, true},
    {LOCAL_OUT, "T2", "2", "", true, true, false},
    {LOCAL_OUT, "H1-ts T2", "2", "1", true, true, true},     /* apart: each policy falls back by itself */
    {LOCAL_OUT, "H1Z T2z", "2", "1", true, true, true},      /* hints are for Cluster only */
    {LOCAL_IN NODEPORT, "H1 T2", "12", "1", true, true, true},
    {LOCAL_IN NODEPORT, "T2", "2", "", true, false, true},
};

static void endpoints_are_chosen(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct few w = {0};
        struct service_ports ports;
        char text[16];
        put_service(&w, cases[i].spec, "");
        put_slice(&w, 0, cases[i].endpoints);
        ports_of(&w, &node, &a, &ports);
        assert_int_equal(ports.n, 1);
        const struct service_port *p = &ports.list[0];
        print_message("%s | %s\n", cases[i].spec, cases[i].endpoints);
        assert_string_equal(takers(p, false, text), cases[i].cluster);
        assert_string_equal(takers(p, true, text), cases[i].local);
        assert_int_equal(p->any, cases[i].any);
        assert_int_equal(p->inside, cases[i].inside);
        if (p->accessible || !cases[i].any)
            assert_int_equal(p->outside, cases[i].outside);
        few_done(&w);
    }
}

static size_t count_ports(const char *spec, const char *more, struct arena *a, struct service_ports *ret)
{
    struct few w = {0};
    put_service(&w, spec, more);
    put_slice(&w, 0, "H1");
    ports_of(&w, &node, a, ret);
    few_done(&w);
    return ret->n;
}

static void only_our_services(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct service_ports p;
    struct few w = {0};
    assert_int_equal(count_ports("", "", &a, &p), 1);
    put_object(&w, &w.service, RES_SERVICES, "{\"metadata\":{\"name\":\"svc1\",\"namespace\":\"ns1\",\"labels\":{\"service.kubernetes.io/service-proxy-name\":\"x\"}},"
                                             "\"spec\":{\"clusterIP\":\"172.30.0.41\",\"clusterIPs\":[\"172.30.0.41\"],\"ports\":[{\"port\":80,\"protocol\":\"TCP\"}]}}");
    ports_of(&w, &node, &a, &p);
    assert_int_equal(p.n, 0);
    node.proxy_name = STR("x");
    ports_of(&w, &node, &a, &p);
    assert_int_equal(p.n, 1);
    assert_str(p.list[0].name, "ns1/svc1"); /* no colon without a port name */
    node.proxy_name = STR_NULL;
    put_object(&w, &w.service, RES_SERVICES, "{\"metadata\":{\"name\":\"svc1\",\"namespace\":\"ns1\"},\"spec\":{\"clusterIP\":\"None\",\"clusterIPs\":[\"None\"],\"ports\":[{\"port\":80}]}}");
    ports_of(&w, &node, &a, &p);
    assert_int_equal(p.n, 0);
    put_object(&w, &w.service, RES_SERVICES, "{\"metadata\":{\"name\":\"svc1\",\"namespace\":\"ns1\"},\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"x.y\",\"ports\":[{\"port\":80}]}}");
    ports_of(&w, &node, &a, &p);
    assert_int_equal(p.n, 0);
    few_done(&w);
}

static void balancers_and_ranges(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct service_ports p;
    const char *status = ",\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"1.2.3.4\"},{\"ip\":\"1.2.3.5\",\"ipMode\":\"Proxy\"},{\"ip\":\"1.2.3.6\",\"ipMode\":\"VIP\"},"
                         "{\"ip\":\"fd00::1\"},{\"hostname\":\"x\"}]}}";
    node.has_node_ip = ip_parse(STR("192.0.2.5"), &node.node_ip);
    count_ports(",\"type\":\"LoadBalancer\",\"loadBalancerSourceRanges\":[\" 192.0.2.0/24 \",\"fd00::/8\",\"10.0.0.1/8\"]", status, &a, &p);
    assert_int_equal(p.list[0].balancers.n, 2);
    assert_int_equal(p.list[0].sources.n, 2);
    assert_true(p.list[0].firewall && p.list[0].from_node);
    char text[IP_TEXT_MAX];
    assert_string_equal(prefix_format(&p.list[0].sources.list[1], text), "10.0.0.0/8");
    count_ports(",\"type\":\"LoadBalancer\",\"loadBalancerSourceRanges\":[\"192.0.2.0/24\",\"0.0.0.0/0\"]", status, &a, &p);
    assert_false(p.list[0].firewall); /* everybody */
    node.has_node_ip = false;
}

static void local_endpoints_are_counted_by_address(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct few w = {0};
    struct service_ports p;
    put_object(&w, &w.service, RES_SERVICES, "{\"metadata\":{\"name\":\"svc1\",\"namespace\":\"ns1\"},\"spec\":{\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":\"Local\",\"healthCheckNodePort\":30999,"
                                             "\"clusterIP\":\"172.30.0.41\",\"clusterIPs\":[\"172.30.0.41\"],\"ports\":[{\"name\":\"p80\",\"port\":80,\"protocol\":\"TCP\"},{\"name\":\"q\",\"port\":81,\"protocol\":\"TCP\"}]}}");
    put_slice(&w, 0, "H1 H2 T3 H4-");
    put_slice(&w, 1, "H2");
    ports_of(&w, &node, &a, &p);
    assert_int_equal(p.n, 2);
    assert_int_equal(p.list[0].health_port, 30999);
    assert_int_equal(model_local_ready(&p), 2);
    few_done(&w);
}

static void slices_for_dns_only(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct service_ports p;
    struct few w = {0};
    put_service(&w, "", "");
    for (int headless = 0; headless < 2; headless++) {
        struct str json = arena_printf(&a, "{\"metadata\":{\"name\":\"s\",\"namespace\":\"ns1\",\"uid\":\"s\",\"labels\":{\"kubernetes.io/service-name\":\"svc1\"%s}},"
                                           "\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"p80\",\"port\":80}],\"endpoints\":[{\"addresses\":[\"10.180.0.1\"]}]}",
                                       headless ? ",\"service.kubernetes.io/headless\":\"\"" : "");
        put_object(&w, &w.slices[0], RES_ENDPOINTSLICES, json.p);
        ports_of(&w, &node, &a, &p);
        assert_int_equal(p.list[0].n_endpoints, headless ? 0 : 1);
    }
    few_done(&w);
}

/* Else the kernel has fewer than are counted, and everything is written anew again and again. */
static void an_address_of_two_links_is_one(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct ip list[3] = {{AF_INET, {10, 0, 0, 1}}, {AF_INET, {10, 0, 0, 2}}, {AF_INET, {10, 0, 0, 1}}};
    struct node_side n = {.nodeports_all = true, .local_addresses = {list, 3}};
    assert_int_equal(model_nodeport_ips(&n, false, &a).n, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints_are_chosen),
        cmocka_unit_test(only_our_services),
        cmocka_unit_test(balancers_and_ranges),
        cmocka_unit_test(local_endpoints_are_counted_by_address),
        cmocka_unit_test(slices_for_dns_only),
        cmocka_unit_test(an_address_of_two_links_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
