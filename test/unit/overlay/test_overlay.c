/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The overlay against a real kernel, in a network namespace of the test's own (needs root, else skipped): one
 * end of a cable is this node's link, Nodes come and go in an API of the mind, and `ip route` says what
 * became of it.
 */
#include "../testing.h"

#include "base/err.h"
#include "base/log.h"
#include "client/fake_client.h"
#include "overlay/overlay.h"
#include "type/meta.h"

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

struct world {
    struct fake_client *fake;
    struct overlay_config config;
    struct group g;
    struct err err;
    int r;
};

static void ip(const char *words)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *argv[] = {"sh", "-c", arena_printf(&a, "ip %s", words).p, NULL};
    struct str text;
    if (os_run(&a, argv, NULL, &text, mono_add(os_mono(), SECONDS(10))))
        fail_msg("ip %s: " STR_FMT, words, STR_ARG(text));
}

/* Our routes as "range via gateway", sorted, joined by "; ". */
static const char *routes_now(struct arena *a)
{
    const char *argv[] = {"sh", "-c",
                          "(ip -4 route show proto 67; ip -6 route show proto 67) | awk '{print $1, $2, $3}' "
                          "| sort | paste -sd';'",
                          NULL};
    struct str text = STR_NULL;
    os_run(a, argv, &text, NULL, mono_add(os_mono(), SECONDS(10)));
    return arena_cstr(a, str_trim(text));
}

static void expect(const char *want)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct mono deadline = mono_add(os_mono(), SECONDS(8));
    while (strcmp(routes_now(&a), want)) {
        if (os_mono().ns > deadline.ns)
            fail_msg("\"%s\" instead of \"%s\"", routes_now(&a), want);
        fiber_sleep(MILLISECONDS(20));
    }
}

static void put_node(struct world *w, const char *name, const char *range, const char *address)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    fake_put_text(
        w->fake, RES_NODES,
        arena_printf(
            &a,
            "{metadata:{name:%s},spec:{podCIDRs:['%s']},status:{addresses:[{type:InternalIP,address:'%s'}]}}",
            name, range, address)
            .p);
}

static void run(void *arg)
{
    struct world *w = arg;
    w->r = overlay_run(&w->config, &w->err);
}

static void start(struct world *w)
{
    group_spawn(&w->g, "overlay", run, w);
}

static void begin(struct world *w)
{
    *w = (struct world){.fake = fake_client_new()};
    w->config = (struct overlay_config){
        .client = fake_client_as(w->fake), .node_name = "self", .cluster_cidr = "10.77.0.0/16,fd77::/48"};
    ip("link add wire0 type veth peer name wire1");
    ip("address add 10.0.7.1/24 dev wire0");
    ip("-6 address add fd07::1/64 dev wire0 nodad");
    ip("link set lo up");
    ip("link set wire1 up");
    ip("link set wire0 up");
    put_node(w, "self", "10.77.0.0/24", "10.0.7.1");
}

static void end(struct world *w)
{
    group_stop(&w->g);
    fake_client_free(w->fake);
    ip("link delete wire0");
}

FIBER_TEST(routes_follow_nodes)
{
    struct world w;
    begin(&w);
    put_node(&w, "b", "10.77.1.0/24", "10.0.7.2");
    start(&w);
    expect("10.77.1.0/24 via 10.0.7.2");
    put_node(&w, "c", "10.77.2.0/24", "10.0.7.3");
    expect("10.77.1.0/24 via 10.0.7.2;10.77.2.0/24 via 10.0.7.3");
    put_node(&w, "c", "10.77.2.0/24", "10.0.7.4"); /* it has a new address */
    expect("10.77.1.0/24 via 10.0.7.2;10.77.2.0/24 via 10.0.7.4");
    put_node(&w, "six", "fd77:0:0:6::/64", "fd07::6");
    expect("10.77.1.0/24 via 10.0.7.2;10.77.2.0/24 via 10.0.7.4;fd77:0:0:6::/64 via fd07::6");
    fake_remove(w.fake, RES_NODES, "", "b");
    expect("10.77.2.0/24 via 10.0.7.4;fd77:0:0:6::/64 via fd07::6");
    end(&w);
}

/* What an earlier run left is taken over, or removed where no Node wants it; what is not ours stays. */
FIBER_TEST(only_ours_is_touched)
{
    struct world w;
    begin(&w);
    put_node(&w, "b", "10.77.1.0/24", "10.0.7.2");
    put_node(&w, "d", "10.77.4.0/24", "10.0.7.9");
    ip("route add 10.77.1.0/24 via 10.0.7.2 proto 67");
    ip("route add 10.77.9.0/24 via 10.0.7.9 proto 67");
    ip("route add 10.77.3.0/24 via 10.0.7.8 proto static");
    ip("route add 10.77.4.0/24 via 10.0.7.8 proto static"); /* in our way, but not ours */
    ip("route add 10.99.0.0/24 via 10.0.7.8 proto 67");     /* another cluster's */
    start(&w);
    expect("10.77.1.0/24 via 10.0.7.2;10.99.0.0/24 via 10.0.7.8");
    ip("route show proto static | grep -q '10.77.4.0/24 via 10.0.7.8'");
    ip("route show proto static | grep -q '10.77.3.0/24 via 10.0.7.8'");
    group_stop(&w.g);
    expect("10.77.1.0/24 via 10.0.7.2;10.99.0.0/24 via 10.0.7.8"); /* traffic goes on without us */
    assert_int_equal(overlay_cleanup("10.77.0.0/16", &w.err), 0);
    expect("10.99.0.0/24 via 10.0.7.8");
    assert_int_equal(overlay_cleanup(NULL, &w.err), 0);
    expect("");
    end(&w);
}

FIBER_TEST(what_others_take_comes_back)
{
    struct world w;
    begin(&w);
    put_node(&w, "b", "10.77.1.0/24", "10.0.7.2");
    start(&w);
    expect("10.77.1.0/24 via 10.0.7.2");
    ip("route delete 10.77.1.0/24");
    expect("10.77.1.0/24 via 10.0.7.2");
    ip("link set wire0 down"); /* IPv4 routes go without a word */
    ip("link set wire0 up");
    expect("10.77.1.0/24 via 10.0.7.2");
    /* A node on no network of ours, until we get an address there. */
    put_node(&w, "far", "10.77.5.0/24", "10.0.8.5");
    fiber_sleep(MILLISECONDS(200));
    expect("10.77.1.0/24 via 10.0.7.2");
    ip("address add 10.0.8.1/24 dev wire0");
    expect("10.77.1.0/24 via 10.0.7.2;10.77.5.0/24 via 10.0.8.5");
    fake_break_watches(w.fake, true); /* the API goes away for a moment: nothing is lost */
    put_node(&w, "e", "10.77.6.0/24", "10.0.7.6");
    expect("10.77.1.0/24 via 10.0.7.2;10.77.5.0/24 via 10.0.8.5;10.77.6.0/24 via 10.0.7.6");
    end(&w);
}

/* What a shell line prints, without the newline at its end. */
static const char *says(struct arena *a, const char *line)
{
    const char *argv[] = {"sh", "-c", line, NULL};
    struct str text = STR_NULL;
    os_run(a, argv, &text, NULL, mono_add(os_mono(), SECONDS(10)));
    return arena_cstr(a, str_trim(text));
}

static void expect_says(const char *line, const char *want)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct mono deadline = mono_add(os_mono(), SECONDS(8));
    while (strcmp(says(&a, line), want)) {
        if (os_mono().ns > deadline.ns)
            fail_msg("%s: \"%s\" instead of \"%s\"", line, says(&a, line), want);
        fiber_sleep(MILLISECONDS(20));
    }
}

static const char *note(struct world *w, const char *name)
{
    const struct object *node = fake_get(w->fake, RES_NODES, "", "self");
    char key[100];
    snprintf(key, sizeof(key), FLANNEL_PREFIX "/%s", name);
    return val_cstr(val_key(val_get(obj_meta(node->val), N_annotations), str_of(key)));
}

static void put_vtep(struct world *w, const char *name, const char *range, const char *address, const char *mac)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    fake_put_text(w->fake, RES_NODES,
                  arena_printf(&a,
                               "{metadata:{name:%s,annotations:{'" FLANNEL_PREFIX "/kube-subnet-manager':'true','" FLANNEL_PREFIX
                               "/backend-type':vxlan,'" FLANNEL_PREFIX "/public-ip':'%s','" FLANNEL_PREFIX
                               "/backend-data':'{\\u0022VNI\\u0022:1,\\u0022VtepMAC\\u0022:\\u0022%s\\u0022}'}},"
                               "spec:{podCIDRs:['%s']},status:{addresses:[{type:InternalIP,address:'%s'}]}}",
                               name, address, mac, range, address)
                      .p);
}

#define MTU(link) "ip -o link show " link " | grep -o 'mtu [0-9]*' | cut -c5-"
#define MAC(link) "ip -o link show " link " | grep -o 'ether [0-9a-f:]*' | cut -c7-"
#define FDB "bridge fdb show dev flannel.1 | grep permanent | cut -d' ' -f1-3 | sort | paste -sd';'"
#define ARP "ip -4 neigh show dev flannel.1 nud permanent | cut -d' ' -f1-3 | sort | paste -sd';'"
#define FLANNEL_ROUTES "ip -4 route show dev flannel.1 | awk '{print $1, $2, $3, $NF}' | sort | paste -sd';'"

/* As Flannel makes it: names, numbers, entries; and everything that a foreign hand takes is put back. */
FIBER_TEST(a_vxlan)
{
    struct world w;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    begin(&w);
    w.config.backend = "vxlan";
    w.config.subnet_file = arena_printf(&a, "/tmp/cube-test-overlay.%d/subnet.env", (int)getpid()).p;
    put_vtep(&w, "far", "10.77.1.0/24", "198.51.100.7", "0a:00:00:00:00:07");
    put_vtep(&w, "near", "10.77.2.0/24", "10.0.7.2", "0a:00:00:00:00:08");
    start(&w);
    expect("10.77.1.0/24 via 10.77.1.0;10.77.2.0/24 via 10.0.7.2");
    expect_says(FLANNEL_ROUTES, "10.77.1.0/24 via 10.77.1.0 onlink");
    expect_says(FDB, "0a:00:00:00:00:07 dst 198.51.100.7");
    expect_says(ARP, "10.77.1.0 lladdr 0a:00:00:00:00:07");
    expect_says("ip -d link show flannel.1 | grep -o 'vxlan id.*nolearning'",
                "vxlan id 1 local 10.0.7.1 dev wire0 srcport 0 0 dstport 8472 nolearning");
    expect_says("ip -o -4 address show flannel.1 | awk '{print $4}'", "10.77.0.0/32");
    expect_says(MTU("flannel.1"), "1450");
    const char *mac = says(&a, MAC("flannel.1"));
    assert_string_equal(note(&w, "backend-type"), "vxlan");
    assert_string_equal(note(&w, "public-ip"), "10.0.7.1");
    assert_string_equal(note(&w, "kube-subnet-manager"), "true");
    assert_string_equal(note(&w, "backend-data"), arena_printf(&a, "{\"VNI\":1,\"VtepMAC\":\"%s\"}", mac).p);
    expect_says(arena_printf(&a, "paste -sd' ' %s", w.config.subnet_file).p,
                "FLANNEL_NETWORK=10.77.0.0/16 FLANNEL_SUBNET=10.77.0.1/24 FLANNEL_MTU=1450 FLANNEL_IPMASQ=false");
    /* another address, another hardware address, one less */
    put_vtep(&w, "far", "10.77.1.0/24", "198.51.100.9", "0a:00:00:00:00:07");
    expect_says(FDB, "0a:00:00:00:00:07 dst 198.51.100.9");
    put_vtep(&w, "far", "10.77.1.0/24", "198.51.100.9", "0a:00:00:00:00:99");
    expect_says(FDB, "0a:00:00:00:00:99 dst 198.51.100.9");
    expect_says(ARP, "10.77.1.0 lladdr 0a:00:00:00:00:99");
    put_vtep(&w, "further", "10.77.9.0/24", "198.51.100.10", "0a:00:00:00:00:10");
    expect_says(FDB, "0a:00:00:00:00:10 dst 198.51.100.10;0a:00:00:00:00:99 dst 198.51.100.9");
    fake_remove(w.fake, RES_NODES, "", "further");
    expect_says(FDB, "0a:00:00:00:00:99 dst 198.51.100.9");
    expect_says(ARP, "10.77.1.0 lladdr 0a:00:00:00:00:99");
    /* foreign hands */
    expect_says("bridge fdb del 0a:00:00:00:00:99 dev flannel.1; echo $?", "0");
    expect_says(FDB, "0a:00:00:00:00:99 dst 198.51.100.9");
    ip("neigh del 10.77.1.0 dev flannel.1");
    expect_says(ARP, "10.77.1.0 lladdr 0a:00:00:00:00:99");
    ip("link delete flannel.1");
    expect_says(FDB, "0a:00:00:00:00:99 dst 198.51.100.9");
    expect_says(MAC("flannel.1"), mac);
    ip("link set flannel.1 down");
    expect_says(FLANNEL_ROUTES, "10.77.1.0/24 via 10.77.1.0 onlink");
    /* we restart: nothing changes; our own address changes: the device follows, its hardware address stays */
    const char *index = says(&a, "ip -o link show flannel.1 | cut -d: -f1");
    group_stop(&w.g);
    expect_says(FDB, "0a:00:00:00:00:99 dst 198.51.100.9");
    start(&w);
    put_vtep(&w, "more", "10.77.3.0/24", "198.51.100.3", "0a:00:00:00:00:03");
    expect_says(FDB, "0a:00:00:00:00:03 dst 198.51.100.3;0a:00:00:00:00:99 dst 198.51.100.9");
    expect_says("ip -o link show flannel.1 | cut -d: -f1", index);
    ip("address del 10.0.7.1/24 dev wire0");
    ip("address add 10.0.7.50/24 dev wire0");
    put_vtep(&w, "self", "10.77.0.0/24", "10.0.7.50", mac);
    expect_says("ip -d link show flannel.1 | grep -o 'local 10.0.7.50'", "local 10.0.7.50");
    expect_says(FDB, "0a:00:00:00:00:03 dst 198.51.100.3;0a:00:00:00:00:99 dst 198.51.100.9");
    expect_says(MAC("flannel.1"), mac);
    group_stop(&w.g);
    assert_int_equal(overlay_cleanup("10.77.0.0/16", &w.err), 0);
    expect_says("ip -o link | grep -c flannel", "0");
    expect("");
    os_unlink(w.config.subnet_file);
    rmdir(arena_printf(&a, "/tmp/cube-test-overlay.%d", (int)getpid()).p);
    end(&w);
}

/* A device and entries that Flannel left: taken over, not made anew. */
FIBER_TEST(what_flannel_left)
{
    struct world w;
    begin(&w);
    w.config.backend = "vxlan";
    put_vtep(&w, "far", "10.77.1.0/24", "198.51.100.7", "0a:00:00:00:00:07");
    ip("link add flannel.1 address 0e:00:00:00:00:01 mtu 1450 type vxlan id 1 local 10.0.7.1 dev wire0 dstport 8472 nolearning");
    ip("address add 10.77.0.0/32 dev flannel.1");
    ip("link set flannel.1 up");
    ip("neigh replace 10.77.1.0 lladdr 0a:00:00:00:00:07 dev flannel.1 nud permanent");
    ip("neigh replace 10.77.8.0 lladdr 0a:00:00:00:00:55 dev flannel.1 nud permanent");
    ip("route add 10.77.1.0/24 via 10.77.1.0 dev flannel.1 onlink");
    ip("route add 10.77.8.0/24 via 10.77.8.0 dev flannel.1 onlink"); /* a node that is no more */
    start(&w);
    expect_says(FLANNEL_ROUTES, "10.77.1.0/24 via 10.77.1.0 onlink");
    expect_says(ARP, "10.77.1.0 lladdr 0a:00:00:00:00:07");
    expect_says(FDB, "0a:00:00:00:00:07 dst 198.51.100.7");
    expect_says(MAC("flannel.1"), "0e:00:00:00:00:01");
    group_stop(&w.g);
    ip("link delete flannel.1");
    end(&w);
}

FIBER_TEST(a_vxlan_of_both_families)
{
    struct world w;
    begin(&w);
    fake_put_text(w.fake, RES_CONFIGMAPS,
                  "{metadata:{namespace:kube-flannel,name:kube-flannel-cfg},data:{'net-conf.json':'{\\u0022Network\\u0022:"
                  "\\u002210.77.0.0/16\\u0022,\\u0022EnableIPv6\\u0022:true,\\u0022IPv6Network\\u0022:\\u0022fd77::/48\\u0022,"
                  "\\u0022Backend\\u0022:{\\u0022Type\\u0022:\\u0022vxlan\\u0022,\\u0022VNI\\u0022:9,\\u0022Port\\u0022:4789}}'}}");
    fake_put_text(w.fake, RES_NODES,
                  "{metadata:{name:self},spec:{podCIDRs:['10.77.0.0/24','fd77:0:0:1::/64']},status:{addresses:["
                  "{type:InternalIP,address:'10.0.7.1'},{type:InternalIP,address:'fd07::1'}]}}");
    fake_put_text(w.fake, RES_NODES,
                  "{metadata:{name:far,annotations:{'" FLANNEL_PREFIX "/kube-subnet-manager':'true','" FLANNEL_PREFIX
                  "/backend-type':vxlan,'" FLANNEL_PREFIX "/public-ipv6':'2001:db8::7','" FLANNEL_PREFIX
                  "/backend-v6-data':'{\\u0022VNI\\u0022:9,\\u0022VtepMAC\\u0022:\\u00220a:00:00:00:00:07\\u0022}'}},"
                  "spec:{podCIDRs:['10.77.1.0/24','fd77:0:0:7::/64']},status:{addresses:[]}}");
    start(&w);
    expect_says("bridge fdb show dev flannel-v6.9 | grep permanent | cut -d' ' -f1-3", "0a:00:00:00:00:07 dst 2001:db8::7");
    expect_says("ip -6 route show dev flannel-v6.9 proto 67 | awk '{print $1,$2,$3}'", "fd77:0:0:7::/64 via fd77:0:0:7::");
    expect_says("ip -o -6 address show flannel-v6.9 scope global | awk '{print $4}'", "fd77:0:0:1::/128");
    expect_says(MTU("flannel-v6.9") ";" MTU("flannel.9"), "1430\n1450");
    expect_says("ip -d link show flannel-v6.9 | grep -o 'vxlan id 9 local fd07::1 dev wire0 srcport 0 0 dstport 4789'",
                "vxlan id 9 local fd07::1 dev wire0 srcport 0 0 dstport 4789");
    group_stop(&w.g);
    assert_int_equal(overlay_cleanup(NULL, &w.err), 0);
    end(&w);
}

FIBER_TEST(a_node_without_a_network_gets_one)
{
    struct world w;
    begin(&w);
    w.config.tell_network = true;
    fake_put_text(w.fake, RES_NODES,
                  "{metadata:{name:self},spec:{podCIDRs:['10.77.0.0/24']},status:{addresses:[{type:InternalIP,address:'10.0.7.1'}],"
                  "conditions:[{type:Ready,status:'True'},{type:NetworkUnavailable,status:'True',reason:NoRouteCreated}]}}");
    start(&w);
    struct mono deadline = mono_add(os_mono(), SECONDS(8));
    const struct val *c = NULL;
    do {
        fiber_sleep(MILLISECONDS(20));
        c = val_item(val_at(fake_get(w.fake, RES_NODES, "", "self")->val, N_status, N_conditions), 1);
    } while (!str_is(val_getstr(c, N_status), "False") && os_mono().ns < deadline.ns);
    assert_str(val_getstr(c, N_type), "NetworkUnavailable");
    assert_str(val_getstr(c, N_status), "False");
    assert_str(val_getstr(c, N_reason), "OverlayIsUp");
    assert_int_equal(val_len(val_at(fake_get(w.fake, RES_NODES, "", "self")->val, N_status, N_conditions)), 2);
    end(&w);
}

FIBER_TEST(clusters_share_a_machine)
{
    struct world w;
    begin(&w);
    w.config.backend = "vxlan";
    w.config.ip_masq = true;
    ip("link add flannel.2 type vxlan id 2 dev wire0 dstport 8473");
    ip("link set flannel.2 alias cube-overlay-10.99.0.0/16");
    expect_says("nft add table inet cube-overlay-10.99.0.0/16; echo $?", "0");
    start(&w);
    expect_says("nft list tables | sort", "table inet cube-overlay-10.77.0.0/16\ntable inet cube-overlay-10.99.0.0/16");
    expect_says("ip -o link | grep -o 'flannel[.][0-9]' | sort | paste -sd' '", "flannel.1 flannel.2");
    group_stop(&w.g);
    assert_int_equal(overlay_cleanup("10.77.0.0/16", &w.err), 0);
    expect_says("nft list tables", "table inet cube-overlay-10.99.0.0/16");
    expect_says("ip -o link | grep -o 'flannel[.][0-9]'", "flannel.2");
    ip("link delete flannel.2");
    expect_says("nft flush ruleset; echo $?", "0");
    end(&w);
}

FIBER_TEST(bad_settings)
{
    struct err e = {0};
    struct overlay_config c = {.node_name = "self", .backend = "carrier-pigeon"};
    assert_int_equal(overlay_run(&c, &e), -EINVAL);
    assert_true(strstr(e.text, "carrier-pigeon"));
    c = (struct overlay_config){.node_name = "self", .cluster_cidr = "10.0.0.0"};
    assert_int_equal(overlay_run(&c, &e), -EINVAL);
    assert_true(strstr(e.text, "10.0.0.0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_settings),
        cmocka_unit_test(routes_follow_nodes),
        cmocka_unit_test(only_ours_is_touched),
        cmocka_unit_test(what_others_take_comes_back),
        cmocka_unit_test(a_vxlan),
        cmocka_unit_test(what_flannel_left),
        cmocka_unit_test(a_vxlan_of_both_families),
        cmocka_unit_test(a_node_without_a_network_gets_one),
        cmocka_unit_test(clusters_share_a_machine),
    };
    log_set_level(LOG_ERROR);
    if (geteuid() || unshare(CLONE_NEWNET) < 0)
        return 77; /* meson's word for skipped */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
