/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints mirrored into EndpointSlices; the time to live that nodes are told. */
#include "controllers/endpoints.h"
#include "controllers/nodes.h"

#include <stdio.h>

#include "testing.h"
#include "type/meta.h"
#include "world.h"

static struct world *w;

static int setup(void **state)
{
    w = world_new();
    return 0;
}

static int teardown(void **state)
{
    world_free(w);
    return 0;
}

static const char *sync(void)
{
    return world_reconcile(w, &endpointslice_mirroring_controller, "x/s");
}

#define MANAGED "kubernetes.io/service-name: s, endpointslice.kubernetes.io/managed-by: endpointslicemirroring-controller.k8s.io"

static void service(const char *spec)
{
    world_addf(w, RES_SERVICES, "{metadata: {namespace: x, name: s}, spec: {%s}}", spec);
}

static void endpoints(const char *meta, const char *subsets)
{
    world_addf(w, RES_ENDPOINTS, "{metadata: {namespace: x, name: s, uid: u-e, %s}, subsets: [%s]}", meta, subsets);
}

static void slice(const char *name, const char *type, const char *port)
{
    world_addf(w, RES_ENDPOINTSLICES,
               "{metadata: {namespace: x, name: %s, labels: {" MANAGED "}}, addressType: %s, ports: [{name: '', protocol: "
               "TCP, port: %s}], endpoints: []}",
               name, type, port);
}

static void endpoints_without_selector_are_mirrored(void **state)
{
    service("ports: [{port: 80}]");
    endpoints("labels: {a: b}, annotations: {k: v, kubectl.kubernetes.io/last-applied-configuration: '{}'}",
              "{addresses: [{ip: 1.2.3.4, hostname: h, nodeName: n}, {ip: '2001:db8::1'}], notReadyAddresses: [{ip: 1.2.3.5}, "
              "{ip: 1.2.3.4}], ports: [{name: p, port: 9376}]}");
    assert_string_equal(sync(), "create endpointslices x/\ncreate endpointslices x/\n");
    const struct val *v4 = world_write(w, 0)->body, *v6 = world_write(w, 1)->body, *e = val_get(v4, N_endpoints);
    assert_str(val_getstr(v4, N_addressType), "IPv4");
    assert_str(val_getstr(v6, N_addressType), "IPv6");
    assert_str(val_str(val_at(v4, N_metadata, N_generateName)), "s-");
    assert_str(obj_label(v4, STR("a")), "b");
    assert_str(obj_label(v4, STR("kubernetes.io/service-name")), "s");
    assert_str(obj_annotation(v4, STR("k")), "v");
    assert_int_equal(val_len(val_at(v4, N_metadata, N_annotations)), 1);
    assert_true(obj_controlled_by(v4, STR("u-e")));
    assert_int_equal(val_len(e), 2);
    assert_str(val_str(val_item(val_get(val_item(e, 0), N_addresses), 0)), "1.2.3.4");
    assert_true(val_bool(val_at(val_item(e, 0), N_conditions, N_ready), false));
    assert_str(val_getstr(val_item(e, 0), N_hostname), "h");
    assert_str(val_getstr(val_item(e, 0), N_nodeName), "n");
    assert_false(val_bool(val_at(val_item(e, 1), N_conditions, N_ready), true));
    assert_int_equal(val_int(val_get(val_item(val_get(v4, N_ports), 0), N_port), 0), 9376);
    world_apply(w);
    assert_string_equal(sync(), "");
}

static void others_are_not(void **state)
{
    static const struct {
        const char *spec, *meta;
    } cases[] = {{"selector: {a: b}", ""},
                 {"ports: []", "labels: {endpointslice.kubernetes.io/skip-mirror: 'true'}"},
                 {"ports: []", "annotations: {control-plane.alpha.kubernetes.io/leader: '{}'}"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        service(cases[i].spec);
        endpoints(cases[i].meta, "{addresses: [{ip: 1.2.3.4}], ports: [{port: 1}]}");
        assert_string_equal(sync(), "");
        slice("s-1", "IPv4", "1"); /* it was, once */
        assert_string_equal(sync(), "delete endpointslices x/s-1\n");
        world_remove(w, RES_ENDPOINTSLICES, "x", "s-1");
    }
    world_remove(w, RES_SERVICES, "x", "s");
    endpoints("", "{addresses: [{ip: 1.2.3.4}], ports: [{port: 1}]}");
    assert_string_equal(sync(), "");
    world_remove(w, RES_ENDPOINTS, "x", "s");
    slice("s-1", "IPv4", "1");
    assert_string_equal(sync(), "delete endpointslices x/s-1\n");
}

static void slices_are_kept_or_used_again(void **state)
{
    service("ports: [{port: 80}]");
    endpoints("", "{addresses: [{ip: 1.2.3.4}], ports: [{port: 1}]}, {addresses: [{ip: 1.2.3.5}], ports: [{port: 3}]}");
    slice("s-1", "IPv4", "2"); /* becomes that of port 3 */
    slice("s-2", "IPv4", "1");
    slice("s-3", "IPv4", "1"); /* one is enough */
    slice("s-4", "IPv6", "3");
    assert_string_equal(sync(), "update endpointslices x/s-2\nupdate endpointslices x/s-1\ndelete endpointslices x/s-4\ndelete "
                                "endpointslices x/s-3\n");
    assert_int_equal(val_int(val_get(val_item(val_get(world_write(w, 1)->body, N_ports), 0), N_port), 0), 3);
}

static void only_so_many_addresses(void **state)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    service("ports: [{port: 80}]");
    for (int i = 0; i < 1003; i++)
        buf_printf(&b, "%s{ip: 10.0.%d.%d}", i ? ", " : "", i / 250, i % 250);
    world_addf(w, RES_ENDPOINTS, "{metadata: {namespace: x, name: s}, subsets: [{addresses: [%s], ports: [{port: 1}]}]}", b.p);
    assert_string_equal(sync(), "event Warning TooManyAddressesToMirror A max of 1000 addresses can be mirrored to "
                                "EndpointSlices per Endpoints subset. 3 addresses were skipped\ncreate endpointslices x/\n");
    assert_int_equal(val_len(val_get(world_write(w, 1)->body, N_endpoints)), 1000);
}

static void whom_a_change_concerns(void **state)
{
    service("");
    slice("s-1", "IPv4", "1");
    const struct controller *c = &endpointslice_mirroring_controller;
    assert_string_equal(world_keys(w, c, NULL, world_get(w, RES_SERVICES, "x", "s")), "x/s");
    assert_string_equal(world_keys(w, c, world_get(w, RES_ENDPOINTSLICES, "x", "s-1"), NULL), "x/s");
    world_add(w, RES_ENDPOINTSLICES, "{metadata: {namespace: x, name: o, labels: {kubernetes.io/service-name: s}}}");
    assert_string_equal(world_keys(w, c, NULL, world_get(w, RES_ENDPOINTSLICES, "x", "o")), "");
}

/* ---- nodes ------------------------------------------------------------------------------------------- */

static void set_nodes(int from, int to)
{
    char name[16];
    for (; from < to; from++)
        world_addf(w, RES_NODES, "{metadata: {name: n%d}}", from);
    for (; from > to; from--) {
        snprintf(name, sizeof(name), "n%d", from - 1);
        world_remove(w, RES_NODES, "", name);
    }
}

static void nodes_are_told_how_long(void **state)
{
    static const struct {
        int nodes, seconds;
    } steps[] = {{1, 0}, {100, 0}, {101, 15}, {95, 15}, {89, 0}, {501, 30}, {449, 15}, {2001, 300}, {1799, 60}, {1, 0}};
    int n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        char want[120];
        set_nodes(n, steps[i].nodes);
        n = steps[i].nodes;
        snprintf(want, sizeof(want), "patch nodes n0 {\"metadata\":{\"annotations\":{\"node.alpha.kubernetes.io/ttl\":\"%d\"}}}\n",
                 steps[i].seconds);
        assert_string_equal(world_reconcile(w, &ttl_controller, "n0"), want);
    }
    world_add(w, RES_NODES, "{metadata: {name: n0, annotations: {node.alpha.kubernetes.io/ttl: '0'}}}");
    assert_string_equal(world_reconcile(w, &ttl_controller, "n0"), "");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(endpoints_without_selector_are_mirrored),
        T(others_are_not),
        T(slices_are_kept_or_used_again),
        T(only_so_many_addresses),
        T(whom_a_change_concerns),
        T(nodes_are_told_how_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
