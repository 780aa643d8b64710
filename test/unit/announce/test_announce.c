/* SPDX-License-Identifier: Apache-2.0 */
/* The announcer whole, on a link of a network namespace of its own, heard from the link's other end. Needs root. */
#include "../testing.h"

#include "announce/announce.h"
#include "announce/message.h"
#include "base/fiber.h"
#include "base/log.h"
#include "base/os.h"
#include "client/fake_client.h"
#include "netlink/rtnl.h"
#include "type/meta.h"

#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#define OURS4 "192.0.2.77"
#define OURS6 "2001:db8::77"

struct world {
    struct fake_client *fake;
    struct announce_config config;
    struct group g;
    int arp, icmp6; /* at the far end */
    uint8_t near[6], far[6];
    bool cut_off;
    int asked;
};

static void sh(const char *line)
{
    if (system(line) != 0)
        fail_msg("%s", line);
}

static void read_mac(const char *name, uint8_t ret[6])
{
    struct rtnl n;
    struct rtnl_link link;
    assert_int_equal(rtnl_open(&n, -1), 0);
    assert_int_equal(rtnl_link_read(&n, name, &link), 0);
    memcpy(ret, link.mac, 6);
    rtnl_close(&n);
}

static int cut(void *arg, uint16_t verb UNUSED, const struct call *call, const struct val *body UNUSED, struct status *s)
{
    const struct world *w = arg;
    return w->cut_off && call->res->index == RES_LEASES ? status_set(s, 503, "ServiceUnavailable", "cut off") : 0;
}

static void run(void *arg)
{
    struct world *w = arg;
    struct err e = {0};
    int r = announce_run(&w->config, &e);
    if (r != -ECANCELED)
        fail_msg("%s", e.text);
}

static void service(struct world *w, const char *addresses)
{
    char text[400];
    snprintf(text, sizeof(text), "{metadata: {namespace: n, name: s, uid: u-s}, spec: {type: LoadBalancer}, status: {loadBalancer: {ingress: [%s]}}}", addresses);
    fake_put_text(w->fake, RES_SERVICES, text);
}

static void begin(struct world *w)
{
    struct err e = {0};
    *w = (struct world){.fake = fake_client_new()};
    w->config = (struct announce_config){.client = fake_client_as(w->fake), .node_name = "self", .lease_ns = SECONDS(1)};
    fake_client_hook(w->fake, cut, w);
    sh("ip link add near0 type veth peer name far0");
    sh("for i in near0 far0; do echo 0 >/proc/sys/net/ipv6/conf/$i/accept_dad; ip link set $i up; done; ip address add 192.0.2.1/24 dev near0; "
       "ip address add 2001:db8::1/64 dev near0 nodad");
    read_mac("near0", w->near);
    read_mac("far0", w->far);
    assert_true((w->arp = os_link_open(OS_LINK_ARP, (int)if_nametoindex("far0"), &e)) >= 0);
    assert_true((w->icmp6 = os_link_open(OS_LINK_ICMP6, (int)if_nametoindex("far0"), &e)) >= 0);
    fake_put_text(w->fake, RES_NODES, "{metadata: {name: self, uid: u-self}}");
    fake_put_text(w->fake, RES_NODES, "{metadata: {name: other, uid: u-other}}");
    fake_put_text(w->fake, RES_ENDPOINTSLICES,
                  "{metadata: {namespace: n, name: s-1, labels: {kubernetes.io/service-name: s}}, addressType: IPv4, endpoints: "
                  "[{addresses: [10.0.0.1], nodeName: self}]}");
    service(w, "{ip: " OURS4 "}, {ip: '" OURS6 "'}");
    group_spawn(&w->g, "announce", run, w);
}

static void end(struct world *w)
{
    group_stop(&w->g);
    os_close(w->arp);
    os_close(w->icmp6);
    fake_client_free(w->fake);
    sh("ip link delete near0");
}

static struct ip ip_of(const char *text)
{
    struct ip ip;
    assert_true(ip_parse(str_of(text), &ip));
    return ip;
}

static void say_arp(struct world *w, unsigned op, const char *sender, const char *target)
{
    struct arp_message m = {.op = op, .sender = ip_of(sender), .target = ip_of(target)};
    struct os_link_peer all = {.mac = {255, 255, 255, 255, 255, 255}};
    uint8_t p[MESSAGE_ARP_SIZE];
    memcpy(m.sender_mac, w->far, 6);
    arp_write(&m, p);
    assert_int_equal(os_link_send(w->arp, p, sizeof(p), &all), sizeof(p));
}

/* Is there a reply, or (unasked) news, that the address is at the near end? */
static bool hears_arp(struct world *w, const char *address, bool unasked, int64_t ns)
{
    struct mono deadline = mono_add(os_mono(), ns);
    struct ip ip = ip_of(address);
    uint8_t p[MESSAGE_MAX];
    struct os_link_peer from;
    struct arp_message m;
    ssize_t n;
    while ((n = os_link_recv(w->arp, p, sizeof(p), &from, deadline)) >= 0)
        if (arp_parse(p, (size_t)n, &m) && ip_equal(&m.sender, &ip) && !memcmp(m.sender_mac, w->near, 6) &&
            ip_equal(&m.target, &m.sender) == unasked)
            return true;
    return false;
}

static bool asks_arp(struct world *w, const char *address)
{
    say_arp(w, ARP_REQUEST, "192.0.2.9", address);
    return hears_arp(w, address, false, MILLISECONDS(300));
}

static bool asks_neighbour(struct world *w, const char *address)
{
    struct ip ip = ip_of(address), group = neighbour_group(&ip);
    uint8_t q[32] = {135, [24] = 1, [25] = 1}, p[MESSAGE_MAX];
    struct os_link_peer to = {0}, from;
    struct neighbour_message m;
    struct mono deadline = mono_add(os_mono(), MILLISECONDS(300));
    ssize_t n;
    memcpy(q + 8, ip.b, 16);
    memcpy(q + 26, w->far, 6);
    memcpy(to.ip, group.b, 16);
    os_link_send(w->icmp6, q, sizeof(q), &to);
    while ((n = os_link_recv(w->icmp6, p, sizeof(p), &from, deadline)) >= 0)
        if (neighbour_parse(p, (size_t)n, from.hops, &m) && !m.solicitation && ip_equal(&m.target, &ip) && p[4] & 0x40 &&
            m.has_mac && !memcmp(m.mac, w->near, 6))
            return true;
    return false;
}

typedef bool asks_fn(struct world *w, const char *address);
static void until(struct world *w, asks_fn *asks, const char *address, bool want)
{
    struct mono deadline = mono_add(os_mono(), SECONDS(20));
    while (asks(w, address) != want)
        if (os_mono().ns > deadline.ns)
            fail_msg("%s is %s", address, want ? "not answered for" : "answered for still");
}

FIBER_TEST(answers_for_what_is_ours)
{
    struct world w;
    begin(&w);
    assert_true(hears_arp(&w, OURS4, true, SECONDS(20))); /* says so at once, unasked */
    until(&w, asks_arp, OURS4, true);
    until(&w, asks_neighbour, OURS6, true);
    assert_false(asks_arp(&w, "192.0.2.78"));
    assert_false(asks_neighbour(&w, "2001:db8::78"));
    service(&w, "{ip: " OURS4 "}");
    until(&w, asks_neighbour, OURS6, false);
    assert_true(asks_arp(&w, OURS4));
    fake_remove(w.fake, RES_ENDPOINTSLICES, "n", "s-1");
    until(&w, asks_arp, OURS4, false);
    end(&w);
}

/* A link that comes later is heard, too; one that was made anew has another address. */
FIBER_TEST(links_come_and_go)
{
    struct world w;
    begin(&w);
    until(&w, asks_arp, OURS4, true);
    sh("ip link set near0 down; ip link set near0 address 02:00:00:00:77:01; ip link set near0 up");
    read_mac("near0", w.near);
    until(&w, asks_arp, OURS4, true);
    until(&w, asks_neighbour, OURS6, true);
    end(&w);
}

FIBER_TEST(two_say_that_they_have_it)
{
    struct world w;
    begin(&w);
    until(&w, asks_arp, OURS4, true);
    while (hears_arp(&w, OURS4, true, MILLISECONDS(1500))) /* until it has said it often enough */
        ;
    say_arp(&w, ARP_REQUEST, OURS4, OURS4);
    assert_true(hears_arp(&w, OURS4, true, SECONDS(20))); /* stands by it: the others know that it is here */
    assert_true(asks_arp(&w, OURS4));
    w.cut_off = true; /* soon they may think that it is gone */
    fiber_sleep(SECONDS(2));
    assert_true(asks_arp(&w, OURS4)); /* but nobody took over */
    say_arp(&w, ARP_REQUEST, OURS4, OURS4);
    until(&w, asks_arp, OURS4, false);
    assert_true(asks_neighbour(&w, OURS6)); /* the other address nobody claims */
    w.cut_off = false;
    until(&w, asks_arp, OURS4, true);
    end(&w);
}

#define THEIRS "192.0.2.79" /* by the hash of the two names, of two nodes `other`'s */

/* The other node, as long as it lives. */
static void answer_for_theirs(void *arg)
{
    struct world *w = arg;
    struct ip theirs = ip_of(THEIRS);
    struct os_link_peer from, all = {.mac = {255, 255, 255, 255, 255, 255}};
    struct arp_message m;
    uint8_t p[MESSAGE_MAX];
    ssize_t n;
    int fd = os_link_open(OS_LINK_ARP, (int)if_nametoindex("far0"), NULL);
    while ((n = os_link_recv(fd, p, sizeof(p), &from, MONO_NEVER)) >= 0) {
        if (!arp_parse(p, (size_t)n, &m) || m.op != ARP_REQUEST || !ip_equal(&m.target, &theirs) || memcmp(m.sender_mac, w->near, 6) != 0)
            continue;
        struct arp_message answer = {.op = ARP_REPLY, .sender = theirs, .target = m.sender};
        memcpy(answer.sender_mac, w->far, 6);
        memcpy(answer.target_mac, m.sender_mac, 6);
        arp_write(&answer, p);
        os_link_send(fd, p, MESSAGE_ARP_SIZE, &all);
        w->asked++;
    }
    os_close(fd);
}

FIBER_TEST(the_api_goes_with_a_node)
{
    struct world w;
    struct group g = {0};
    begin(&w);
    service(&w, "{ip: " OURS4 "}, {ip: " THEIRS "}");
    fake_put_text(w.fake, RES_LEASES, "{metadata: {namespace: cube-announce, name: other, annotations: {cube.local/networks: '192.0.2.0/24'}}, spec: "
                                      "{holderIdentity: other, leaseDurationSeconds: 3600, renewTime: '2030-01-01T00:00:00.000000Z'}}");
    until(&w, asks_arp, THEIRS, false); /* we had it before we saw the other */
    group_spawn(&g, "other", answer_for_theirs, &w);
    w.cut_off = true;
    for (int i = 0; i < 2000 && w.asked < 8; i++) /* more than it has patience for */
        fiber_sleep(MILLISECONDS(10));
    assert_true(w.asked >= 8);
    assert_false(asks_arp(&w, THEIRS)); /* it is answered for */
    group_stop(&g);
    until(&w, asks_arp, THEIRS, true);
    say_arp(&w, ARP_REQUEST, THEIRS, THEIRS); /* back again */
    until(&w, asks_arp, THEIRS, false);
    end(&w);
}

FIBER_TEST(lease_says_where_we_are)
{
    struct world w;
    begin(&w);
    until(&w, asks_arp, OURS4, true);
    const struct object *lease = fake_get(w.fake, RES_LEASES, "cube-announce", "self");
    assert_non_null(lease);
    assert_str(obj_annotation(lease->val, STR("cube.local/networks")), "192.0.2.0/24,2001:db8::/64");
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers_for_what_is_ours), cmocka_unit_test(links_come_and_go),
                                       cmocka_unit_test(two_say_that_they_have_it), cmocka_unit_test(the_api_goes_with_a_node),
                                       cmocka_unit_test(lease_says_where_we_are)};
    log_set_level(LOG_ERROR);
    if (geteuid() || unshare(CLONE_NEWNET) < 0)
        return 77; /* meson's word for skipped */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
