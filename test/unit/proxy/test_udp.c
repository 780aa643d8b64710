/* SPDX-License-Identifier: Apache-2.0 */
/* Which connections of UDP Services are stale; and how ctnetlink's messages are read. */
#include "../testing.h"

#include "proxy/udp.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/resource.h>
#include <linux/netlink.h>
#include <netinet/in.h>

static struct ip four(const char *text)
{
    struct ip ip;
    assert_true(ip_parse(str_of(text), &ip));
    return ip;
}

static bool stale(struct udp *u, const char *to, uint16_t port, const char *from, uint16_t from_port)
{
    struct conntrack_flow f = {.l4 = IPPROTO_UDP, .to_port = port, .answers_from_port = from_port};
    memcpy(f.to, four(to).b, 16);
    memcpy(f.answers_from, four(from).b, 16);
    return udp_stale(u, &f);
}

static void rules_of_staleness(void **state UNUSED)
{
    struct udp u = {0};
    struct ip outside = four("192.0.2.1");
    struct endpoint eps[] = {{.ip = four("10.1.0.1"), .port = 53, .serving = true}, {.ip = four("10.1.0.2"), .port = 53, .serving = false}};
    struct service_port p = {.l4 = IPPROTO_UDP, .cluster_ip = four("10.96.0.10"), .port = 53, .node_port = 30053, .external = {&outside, 1}, .endpoints = eps, .n_endpoints = 2};
    struct service_ports ports = {&p, 1}, none = {0};
    udp_service(&u, STR("a/b"), &ports);
    assert_true(u.due);
    assert_false(stale(&u, "10.96.0.10", 53, "10.1.0.1", 53));
    assert_true(stale(&u, "10.96.0.10", 53, "10.1.0.2", 53));  /* serves no more */
    assert_true(stale(&u, "10.96.0.10", 53, "10.96.0.10", 53)); /* nobody was there when it began */
    assert_true(stale(&u, "192.0.2.1", 53, "10.1.0.9", 53));
    assert_true(stale(&u, "10.77.0.1", 30053, "10.1.0.9", 53));
    assert_false(stale(&u, "10.77.0.1", 30053, "10.1.0.1", 53));
    assert_false(stale(&u, "10.96.0.11", 53, "10.1.0.9", 53)); /* no Service of ours */
    udp_done(&u);
    /* A port of the node without endpoints: who knows whose connections those are. */
    p.n_endpoints = 0;
    udp_service(&u, STR("a/b"), &ports);
    assert_true(stale(&u, "10.96.0.10", 53, "10.1.0.1", 53));
    assert_false(stale(&u, "10.77.0.1", 30053, "10.1.0.9", 53));
    /* What has not changed is not looked for again. */
    u.due = false;
    udp_service(&u, STR("a/b"), &ports);
    assert_false(u.due);
    p.n_endpoints = 1;
    udp_service(&u, STR("a/b"), &ports);
    assert_true(u.due);
    udp_service(&u, STR("a/b"), &none);
    assert_int_equal(u.services.n, 0);
    udp_done(&u);
}

static void tcp_does_not_matter(void **state UNUSED)
{
    struct udp u = {0};
    struct service_port p = {.l4 = IPPROTO_TCP, .cluster_ip = four("10.96.0.10"), .port = 53};
    udp_service(&u, STR("a/b"), &(struct service_ports){&p, 1});
    assert_false(u.due);
    udp_done(&u);
}

/* A message as the kernel writes it (recorded shape: nests flagged). */
static void attr(struct buf *b, uint16_t type, const void *p, size_t n)
{
    struct nlattr a = {(uint16_t)(sizeof(a) + n), type};
    buf_put(b, &a, sizeof(a));
    buf_put(b, p, n);
    buf_put(b, "\0\0\0", (4 - n % 4) % 4);
}

static void tuple(struct buf *b, uint16_t type, const char *src, const char *dst, uint16_t sport, uint16_t dport)
{
    struct buf ip CLEANUP_BUF = BUF_INIT, proto CLEANUP_BUF = BUF_INIT, all CLEANUP_BUF = BUF_INIT;
    uint8_t l4 = IPPROTO_UDP;
    uint16_t s = htons(sport), d = htons(dport);
    attr(&ip, CTA_IP_V4_SRC, four(src).b, 4);
    attr(&ip, CTA_IP_V4_DST, four(dst).b, 4);
    attr(&proto, CTA_PROTO_NUM, &l4, 1);
    attr(&proto, CTA_PROTO_SRC_PORT, &s, 2);
    attr(&proto, CTA_PROTO_DST_PORT, &d, 2);
    attr(&all, CTA_TUPLE_IP | NLA_F_NESTED, ip.p, ip.n);
    attr(&all, CTA_TUPLE_PROTO | NLA_F_NESTED, proto.p, proto.n);
    attr(b, type | NLA_F_NESTED, all.p, all.n);
}

static void messages_are_read(void **state UNUSED)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct nlmsghdr h = {.nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW};
    struct nfgenmsg g = {.nfgen_family = AF_INET};
    struct conntrack_flow f;
    buf_put(&b, &h, sizeof(h));
    buf_put(&b, &g, sizeof(g));
    tuple(&b, CTA_TUPLE_ORIG, "10.77.0.2", "10.96.0.10", 4000, 53);
    tuple(&b, CTA_TUPLE_REPLY, "10.1.0.1", "10.77.0.2", 5353, 4000);
    h.nlmsg_len = (uint32_t)b.n;
    memcpy(b.p, &h, sizeof(h));
    assert_true(conntrack_parse(b.p, b.n, &f));
    assert_int_equal(f.l4, IPPROTO_UDP);
    assert_int_equal(f.to_port, 53);
    assert_int_equal(f.answers_from_port, 5353);
    assert_memory_equal(f.to, four("10.96.0.10").b, 4);
    assert_memory_equal(f.answers_from, four("10.1.0.1").b, 4);
    for (size_t cut = 0; cut < b.n; cut++) { /* cut short, it is none */
        char *copy = xmalloc(b.n);
        memcpy(copy, b.p, b.n);
        uint32_t len = (uint32_t)cut;
        memcpy(copy, &len, sizeof(len));
        assert_false(conntrack_parse(copy, cut, &f));
        free(copy);
    }
}

/* Nobody can open a socket: what was to be looked for is not forgotten. */
static void a_sweep_that_fails_is_made_again(void **state UNUSED)
{
    struct udp u = {0};
    struct service_port p = {.proto = "udp", .l4 = IPPROTO_UDP, .cluster_ip = four("10.96.0.10"), .port = 53};
    struct service_ports ports = {&p, 1};
    struct rlimit was, none;
    struct err e = {0};
    size_t ended;
    udp_service(&u, STR("ns/dns"), &ports);
    assert_true(u.due);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    none = (struct rlimit){0, was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int r = udp_sweep(&u, false, &ended, &e);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    assert_true(r < 0);
    assert_true(u.due);
    struct conntrack_flow f = {.l4 = IPPROTO_UDP, .to_port = 53, .answers_from_port = 53};
    memcpy(f.to, four("10.96.0.10").b, 4);
    memcpy(f.answers_from, four("10.1.0.9").b, 4);
    assert_true(udp_stale(&u, &f));
    udp_done(&u);
}

/* Cluster DNS on the node itself: its ClusterIP is none of ours, its NodePort is. */
static void what_the_node_serves_is_let_alone(void **state UNUSED)
{
    struct udp u = {0};
    struct endpoint ep = {.ip = four("10.1.0.1"), .port = 53, .serving = true};
    struct service_port p = {.proto = "udp", .l4 = IPPROTO_UDP, .cluster_ip = four("10.96.0.10"), .cluster_ip_skipped = true,
                             .port = 53, .node_port = 30053, .endpoints = &ep, .n_endpoints = 1};
    struct service_ports ports = {&p, 1};
    struct conntrack_flow f = {.l4 = IPPROTO_UDP, .to_port = 53, .answers_from_port = 53};
    udp_service(&u, STR("ns/dns"), &ports);
    memcpy(f.to, four("10.96.0.10").b, 4);
    memcpy(f.answers_from, four("10.96.0.10").b, 4);
    assert_false(udp_stale(&u, &f));
    f.to_port = 30053;
    assert_true(udp_stale(&u, &f));
    udp_done(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rules_of_staleness), cmocka_unit_test(tcp_does_not_matter), cmocka_unit_test(messages_are_read),
                                       cmocka_unit_test(a_sweep_that_fails_is_made_again), cmocka_unit_test(what_the_node_serves_is_let_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
