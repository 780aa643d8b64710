/* SPDX-License-Identifier: Apache-2.0 */
/* rtnetlink against a real kernel, in network namespaces of the test's own (needs root, else skipped). `ip` and `tc`
 * say what became of what we asked for. */
#include "../testing.h"

#include "netlink/rtnl.h"

#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <unistd.h>

static struct rtnl n;

/* Whether a shell line succeeds. */
static bool sh(const char *line)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *argv[] = {"sh", "-c", line, NULL};
    struct str text;
    int r = os_run(&a, argv, &text, &text, mono_add(os_mono(), SECONDS(10)));
    return r == 0;
}
#define SAYS(line, pattern) assert_true(sh(line " | grep -qE '" pattern "'"))

static struct ip ip_of(const char *text)
{
    struct ip ip;
    assert_true(ip_parse(str_of(text), &ip));
    return ip;
}

static struct prefix range_of(const char *text)
{
    struct prefix p;
    assert_true(prefix_parse(str_of(text), &p));
    return p;
}

static struct prefix at(const char *text)
{
    struct prefix p;
    assert_true(prefix_parse_address(str_of(text), &p));
    return p;
}

static int index_of(const char *name)
{
    struct rtnl_link l;
    assert_int_equal(rtnl_link_read(&n, name, &l), 0);
    return l.index;
}

static void begin(void)
{
    assert_int_equal(unshare(CLONE_NEWNET), 0);
    assert_int_equal(rtnl_open(&n, -1), 0);
}

static void end(void)
{
    rtnl_close(&n);
}

FIBER_TEST(links)
{
    begin();
    struct rtnl_batch b CLEANUP_BATCH = {0};
    struct rtnl_link l;
    const uint8_t mac[6] = {0x0a, 0x58, 1, 2, 3, 4};
    assert_int_equal(rtnl_link_read(&n, "br0", &l), -ENODEV);
    rtnl_add_link(&b, "bridge", "br0", 1400, mac);
    assert_int_equal(rtnl_run(&n, &b, NULL), 0);
    assert_int_equal(rtnl_link_read(&n, "br0", &l), 0);
    assert_string_equal(l.kind, "bridge");
    assert_int_equal(l.mtu, 1400);
    assert_memory_equal(l.mac, mac, 6);
    assert_true(l.flags & IFF_UP);
    int bridge = l.index;
    /* The other end of a cable goes to another namespace. */
    assert_true(sh("ip netns add cube-rtnl-test"));
    int ns = open("/run/netns/cube-rtnl-test", O_RDONLY | O_CLOEXEC);
    rtnl_add_veth(&b, &(struct rtnl_veth){.name = "v0", .master = bridge, .mtu = 1400, .peer_name = "eth0",
                                          .peer_mac = mac, .peer_ns = ns});
    rtnl_set_link(&b, &(struct rtnl_link_change){.name = "v0", .hairpin = 1});
    assert_int_equal(rtnl_run(&n, &b, NULL), 0);
    assert_int_equal(rtnl_link_read(&n, "v0", &l), 0);
    assert_true(l.hairpin && l.master == bridge && (l.flags & IFF_UP));
    SAYS("ip -d link show v0", "hairpin on");
    struct rtnl within;
    assert_int_equal(rtnl_open(&within, ns), 0);
    assert_int_equal(rtnl_link_read(&within, "eth0", &l), 0);
    assert_memory_equal(l.mac, mac, 6);
    assert_int_equal(l.mtu, 1400);
    assert_int_equal(rtnl_link_read(&n, "eth0", &l), -ENODEV);
    rtnl_close(&within);
    close(ns);
    assert_true(sh("ip netns delete cube-rtnl-test"));
    rtnl_set_link(&b, &(struct rtnl_link_change){.index = bridge, .mtu = 1300, .rename = "br1", .mask = IFF_UP});
    assert_int_equal(rtnl_run(&n, &b, NULL), 0);
    SAYS("ip link show br1", "mtu 1300 .*state DOWN");
    rtnl_delete_link(&b, bridge);
    assert_int_equal(rtnl_run(&n, &b, NULL), 0);
    assert_int_equal(rtnl_link_read(&n, "br1", &l), -ENODEV);
    end();
}

FIBER_TEST(vxlan)
{
    begin();
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct rtnl_batch b CLEANUP_BATCH = {0};
    struct rtnl_link l;
    const uint8_t mac[6] = {0x0a, 0x58, 1, 2, 3, 4}, far[6] = {0x0a, 0x58, 9, 9, 9, 9};
    assert_true(sh("ip link add w0 type veth peer name w1; ip address add 192.0.2.1/24 dev w0; ip link set w0 up"));
    struct rtnl_vxlan v = {.vni = 7, .port = 4789, .lower = index_of("w0"), .local = ip_of("192.0.2.1"), .gbp = true};
    rtnl_add_vxlan(&b, "vx", mac, 1450, &v);
    assert_int_equal(rtnl_run(&n, &b, NULL), 0);
    assert_int_equal(rtnl_link_read(&n, "vx", &l), 0);
    assert_string_equal(l.kind, "vxlan");
    assert_memory_equal(&l.vxlan, &v, sizeof(v));
    SAYS("ip -d link show vx", "vxlan id 7 local 192.0.2.1 dev w0 srcport 0 0 dstport 4789 nolearning.* gbp");
    assert_int_equal(rtnl_checksum_in_software("vx"), 0);
    struct rtnl_neigh e = {.link = l.index, .fdb = true, .ip = ip_of("192.0.2.9"), .state = NUD_PERMANENT};
    memcpy(e.mac, far, 6);
    struct rtnl_neigh arp = {.link = l.index, .ip = ip_of("10.1.9.0"), .state = NUD_PERMANENT};
    memcpy(arp.mac, far, 6);
    rtnl_add_neigh(&b, &e);
    rtnl_add_neigh(&b, &arp);
    assert_int_equal(rtnl_run(&n, &b, NULL), 0);
    SAYS("bridge fdb show dev vx", "^0a:58:09:09:09:09 dst 192.0.2.9 self permanent");
    SAYS("ip neigh show dev vx", "^10.1.9.0 lladdr 0a:58:09:09:09:09 PERMANENT");
    struct rtnl_neighs got;
    assert_int_equal(rtnl_neighs_read(&n, &a, l.index, true, &got), 0);
    assert_int_equal(got.n, 1);
    assert_memory_equal(got.list[0].mac, far, 6);
    assert_true(ip_equal(&got.list[0].ip, &e.ip));
    e.ip = ip_of("192.0.2.8"); /* replaces */
    rtnl_add_neigh(&b, &e);
    assert_int_equal(rtnl_run(&n, &b, NULL), 0);
    assert_int_equal(rtnl_neighs_read(&n, &a, l.index, true, &got), 0);
    assert_int_equal(got.n, 1);
    rtnl_delete_neigh(&b, &e);
    rtnl_delete_neigh(&b, &arp);
    assert_int_equal(rtnl_run(&n, &b, NULL), 0);
    assert_int_equal(rtnl_neighs_read(&n, &a, l.index, true, &got), 0);
    assert_int_equal(got.n, 0);
    assert_int_equal(rtnl_neighs_read(&n, &a, l.index, false, &got), 0);
    for (size_t i = 0; i < got.n; i++)
        assert_false(got.list[i].state & NUD_PERMANENT);
    end();
}

FIBER_TEST(addresses_and_routes)
{
    begin();
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct rtnl_batch b CLEANUP_BATCH = {0};
    rtnl_add_link(&b, "bridge", "br0", 0, NULL);
    assert_int_equal(rtnl_run(&n, &b, NULL), 0);
    int link = index_of("br0");
    struct rtnl_address four = {.link = link, .at = at("10.1.0.1/24")},
                        six = {.link = link, .at = at("fd01::1/64"), .flags = IFA_F_NODAD};
    rtnl_add_address(&b, RTNL_NEW, &four);
    rtnl_add_address(&b, RTNL_NEW, &six);
    rtnl_add_address(&b, RTNL_NEW, &four); /* it is there */
    rtnl_add_address(&b, RTNL_REPLACE, &four);
    int results[4];
    assert_int_equal(rtnl_run(&n, &b, results), -EEXIST);
    assert_int_equal(results[0] | results[1] | results[3], 0);
    assert_int_equal(results[2], -EEXIST);
    SAYS("ip address show br0", "inet 10.1.0.1/24 brd 10.1.0.255 scope global br0");
    SAYS("ip address show br0", "inet6 fd01::1/64 scope global nodad");
    struct rtnl_addresses got;
    assert_int_equal(rtnl_addresses_read(&n, &a, link, &got), 0);
    assert_true(got.n >= 2 && prefix_compare(&got.list[0].at, &four.at) == 0);
    struct rtnl_route r = {.to = range_of("10.2.0.0/16"), .via = ip_of("10.9.9.9"), .link = link, .onlink = true,
                           .protocol = 67, .metric = 5};
    rtnl_add_route(&b, RTNL_NEW, &r);
    struct rtnl_route r6 = {.to = range_of("fd02::/64"), .via = ip_of("fd01::9"), .protocol = 67};
    rtnl_add_route(&b, RTNL_NEW, &r6);
    assert_int_equal(rtnl_run(&n, &b, NULL), 0);
    SAYS("ip route show proto 67", "^10.2.0.0/16 via 10.9.9.9 dev br0 metric 5 onlink");
    struct rtnl_routes routes;
    assert_int_equal(rtnl_routes_read(&n, &a, &(struct rtnl_route_filter){.protocol = 67}, &routes), 0);
    assert_int_equal(routes.n, 2);
    assert_memory_equal(&routes.list[0], &r, sizeof(r));
    assert_int_equal(routes.list[1].link, link);
    rtnl_delete_route(&b, &r);
    rtnl_delete_route(&b, &r);
    rtnl_delete_address(&b, &four);
    assert_int_equal(rtnl_run(&n, &b, results), -ESRCH);
    assert_int_equal(results[0] | results[2], 0);
    assert_int_equal(rtnl_routes_read(&n, &a, &(struct rtnl_route_filter){.protocol = 67}, &routes), 0);
    assert_int_equal(routes.n, 1);
    end();
}

/* More than fits into one datagram, one of them wrong: each has its own answer. */
FIBER_TEST(a_large_batch)
{
    enum { MANY = 5000 };
    begin();
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct rtnl_batch b CLEANUP_BATCH = {0};
    int *results = ARENA_ARRAY(&a, int, MANY);
    rtnl_add_link(&b, "bridge", "br0", 0, NULL);
    assert_int_equal(rtnl_run(&n, &b, NULL), 0);
    struct rtnl_route r = {.to = range_of("10.0.0.0/24"), .link = index_of("br0"), .protocol = 67, .scope = RT_SCOPE_LINK};
    for (size_t i = 0; i < MANY; i++) {
        if (i != 1234)
            assert_true(ip_add(&r.to.ip, 256, &r.to.ip));
        rtnl_add_route(&b, RTNL_NEW, &r);
    }
    assert_int_equal(b.n, MANY);
    assert_int_equal(rtnl_run(&n, &b, results), -EEXIST);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(results[i], i == 1234 ? -EEXIST : 0);
    struct rtnl_routes routes;
    assert_int_equal(rtnl_routes_read(&n, &a, &(struct rtnl_route_filter){.protocol = 67}, &routes), 0);
    assert_int_equal(routes.n, MANY - 1);
    end();
}

FIBER_TEST(queues)
{
    begin();
    struct rtnl_batch b CLEANUP_BATCH = {0};
    rtnl_add_link(&b, "bridge", "br0", 0, NULL);
    rtnl_add_link(&b, "ifb", "ifb9", 0, NULL);
    assert_int_equal(rtnl_run(&n, &b, NULL), 0);
    uint64_t rate;
    uint32_t burst;
    int link = index_of("br0"), ifb = index_of("ifb9");
    assert_int_equal(rtnl_tbf_read(&n, link, &rate, &burst), -ENOENT);
    rtnl_add_tbf(&b, link, 125000, 20000, 30000);
    rtnl_add_tbf(&b, ifb, UINT64_C(5000000000), 10000000, 20000000);
    rtnl_add_redirect(&b, link, ifb);
    assert_int_equal(rtnl_run(&n, &b, NULL), 0);
    SAYS("tc qdisc show dev br0", "tbf .*rate 1Mbit burst 20000b");
    SAYS("tc qdisc show dev ifb9", "tbf .*rate 40Gbit");
    SAYS("tc filter show dev br0 parent ffff:", "mirred \\(Egress Redirect to device ifb9\\)");
    assert_int_equal(rtnl_tbf_read(&n, link, &rate, &burst), 0);
    assert_int_equal(rate, 125000);
    assert_in_range(burst, 19990, 20010);
    assert_int_equal(rtnl_tbf_read(&n, ifb, &rate, &burst), 0);
    assert_int_equal(rate, UINT64_C(5000000000));
    end();
}

static void count_change(void *arg, const struct nlmsghdr *h)
{
    struct rtnl_route r;
    if (h && h->nlmsg_type == RTM_DELROUTE && rtnl_parse_route(h, &r) && r.protocol == 67)
        ++*(unsigned *)arg;
}

FIBER_TEST(watching)
{
    begin();
    struct rtnl_batch b CLEANUP_BATCH = {0};
    struct err e = {0};
    int fd;
    unsigned gone = 0;
    rtnl_add_link(&b, "bridge", "br0", 0, NULL);
    assert_int_equal(rtnl_run(&n, &b, NULL), 0);
    assert_int_equal(rtnl_watch(true, &fd, &e), 0);
    struct rtnl_route r = {.to = range_of("10.2.0.0/16"), .link = index_of("br0"), .protocol = 67, .scope = RT_SCOPE_LINK};
    rtnl_add_route(&b, RTNL_NEW, &r);
    rtnl_delete_route(&b, &r);
    assert_int_equal(rtnl_run(&n, &b, NULL), 0);
    struct mono deadline = mono_add(os_mono(), SECONDS(10));
    while (!gone && os_mono().ns < deadline.ns)
        assert_int_equal(rtnl_wait(fd, count_change, &gone, deadline), 0);
    assert_int_equal(gone, 1);
    rtnl_unwatch(fd);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links),         cmocka_unit_test(vxlan),  cmocka_unit_test(addresses_and_routes),
        cmocka_unit_test(a_large_batch), cmocka_unit_test(queues), cmocka_unit_test(watching),
    };
    if (geteuid() || unshare(CLONE_NEWNET) < 0)
        return 77; /* meson's word for skipped */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
