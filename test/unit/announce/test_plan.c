/* SPDX-License-Identifier: Apache-2.0 */
/* Who announces which address, and on which links. */
#include "../testing.h"

#include "announce/links.h"
#include "announce/plan.h"
#include "client/fake_client.h"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>

#define SERVICE(spec, points) "{metadata: {namespace: n, name: s}, spec: {type: LoadBalancer" spec "}, status: {loadBalancer: {ingress: [" points "]}}}"
#define SLICE(endpoints) "{metadata: {namespace: n, name: s-1, labels: {kubernetes.io/service-name: s}}, addressType: IPv4, endpoints: [" endpoints "]}"
#define AT(node) "{addresses: [10.0.0.1], nodeName: " node "}"
#define AT_IF(node, conditions) "{addresses: [10.0.0.1], nodeName: " node ", conditions: {" conditions "}}"

struct world {
    struct object *service, *slice;
    struct service_entry entry;
    const struct object *slices[1];
};

static struct world world_of(const char *service, const char *slice)
{
    struct world w = {.service = object_relaxed(RES_SERVICES, service)};
    w.entry.service = w.service;
    if (slice)
        w.slice = object_relaxed(RES_ENDPOINTSLICES, slice);
    return w;
}

static const char *chosen(struct world *w, const char *address, const struct member *members, size_t n)
{
    struct ip ip;
    static char text[64];
    w->slices[0] = w->slice;
    w->entry.slices = w->slices;
    w->entry.n_slices = w->slice ? 1 : 0;
    assert_true(ip_parse(str_of(address), &ip));
    const struct member *m = choose_member(&w->entry, &ip, members, n);
    snprintf(text, sizeof(text), STR_FMT, STR_ARG(m ? m->node : STR("-")));
    return text;
}

static void world_free(struct world *w)
{
    object_unref(w->service);
    object_unref(w->slice);
}

static const struct member three[] = {{STR("a"), {0}}, {STR("b"), {0}}, {STR("c"), {0}}};

static void test_which_addresses(void **state UNUSED)
{
    static const struct {
        const char *service;
        size_t n;
    } cases[] = {
        {SERVICE("", "{ip: 192.0.2.1, ipMode: VIP}"), 1},
        {SERVICE("", "{ip: 192.0.2.1}, {ip: '2001:db8::1'}"), 2},
        {SERVICE("", "{ip: 192.0.2.1, ipMode: Proxy}"), 0},
        {SERVICE("", "{hostname: x.example}"), 0},
        {SERVICE(", loadBalancerClass: cube.local/load-balancer", "{ip: 192.0.2.1}"), 1},
        {SERVICE(", loadBalancerClass: metallb.io/x", "{ip: 192.0.2.1}"), 0},
        {"{metadata: {namespace: n, name: s}, spec: {type: ClusterIP}, status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}}", 0},
    };
    struct ip ips[4];
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world w = world_of(cases[i].service, NULL);
        if (service_addresses(w.service, ips, 4) != cases[i].n)
            fail_msg("case %zu", i);
        world_free(&w);
    }
    assert_int_equal(service_addresses(NULL, ips, 4), 0);
}

/* Each of many addresses has one node, all nodes have some, and one that goes moves its own alone. */
static void test_shares(void **state UNUSED)
{
    struct world w = world_of(SERVICE("", "{ip: 192.0.2.1}"), SLICE(AT("a")));
    size_t count[3] = {0};
    for (int i = 0; i < 90; i++) {
        char address[32], before[64];
        snprintf(address, sizeof(address), "192.0.2.%d", i + 1);
        snprintf(before, sizeof(before), "%s", chosen(&w, address, three, 3));
        count[before[0] - 'a']++;
        const char *after = chosen(&w, address, three, 2);
        if (*before != 'c')
            assert_string_equal(before, after);
        const struct member turned[] = {three[2], three[0], three[1]};
        assert_string_equal(before, chosen(&w, address, turned, 3)); /* whatever the order in which it knows them */
    }
    for (int i = 0; i < 3; i++)
        assert_true(count[i] > 10);
    assert_string_equal(chosen(&w, "192.0.2.1", three, 0), "-");
    world_free(&w);
}

static void test_endpoints(void **state UNUSED)
{
    static const struct {
        const char *policy, *slice, *want;
    } cases[] = {
        {"", NULL, "-"},
        {"", SLICE(""), "-"},
        {"", SLICE(AT_IF("b", "ready: false, serving: false")), "-"},
        {", externalTrafficPolicy: Local", SLICE(AT("b")), "b"},
        {", externalTrafficPolicy: Local", SLICE(AT("c")), "c"},
        {", externalTrafficPolicy: Local", SLICE(AT_IF("a", "ready: false") ", " AT("c")), "c"},
        {", externalTrafficPolicy: Local", SLICE(AT_IF("a", "ready: false, serving: true, terminating: true")), "a"},
        {", externalTrafficPolicy: Local", SLICE(AT("elsewhere")), "-"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char service[300];
        snprintf(service, sizeof(service), SERVICE("%s", "{ip: 192.0.2.1}"), cases[i].policy);
        struct world w = world_of(service, cases[i].slice);
        if (strcmp(chosen(&w, "192.0.2.1", three, 3), cases[i].want) != 0)
            fail_msg("case %zu: %s", i, chosen(&w, "192.0.2.1", three, 3));
        world_free(&w);
    }
}

/* Who is on the address's network is heard there. */
static void test_networks(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct member some[] = {three[0], three[1], three[2]};
    struct world w = world_of(SERVICE("", "{ip: 192.0.2.1}"), SLICE(AT("a")));
    for (int i = 1; i < 40; i++) {
        char address[32];
        for (size_t k = 0; k < 3; k++)
            prefixes_parse(&a, k == 1 ? "192.0.2.0/24,2001:db8::/64" : "10.1.0.0/16", &some[k].networks, NULL);
        snprintf(address, sizeof(address), "192.0.2.%d", i);
        assert_string_equal(chosen(&w, address, some, 3), "b");
        assert_string_equal(chosen(&w, "2001:db8::7", some, 3), "b");
        struct ip ip;
        ip_parse(str_of(address), &ip);
        assert_int_equal(member_rank(&w.entry, &ip, some, 3, STR("b")), 0);
        assert_int_equal(member_rank(&w.entry, &ip, some, 3, STR("a")), -1); /* it would hear nobody */
        snprintf(address, sizeof(address), "198.51.100.%d", i); /* nobody is: all may */
        char free_choice[8];
        snprintf(free_choice, sizeof(free_choice), "%s", chosen(&w, address, three, 3));
        assert_string_equal(chosen(&w, address, some, 3), free_choice);
    }
    world_free(&w);
}

static void test_ranks(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct member some[] = {three[0], three[1], three[2]};
    struct world w = world_of(SERVICE("", "{ip: 192.0.2.1}"), SLICE(AT("a")));
    for (size_t k = 0; k < 3; k++)
        prefixes_parse(&a, "192.0.2.0/24", &some[k].networks, NULL);
    for (int i = 1; i < 20; i++) {
        char address[32], first[8];
        bool taken[3] = {false};
        struct ip ip;
        snprintf(address, sizeof(address), "192.0.2.%d", i);
        snprintf(first, sizeof(first), "%s", chosen(&w, address, some, 3));
        ip_parse(str_of(address), &ip);
        for (size_t k = 0; k < 3; k++) {
            int rank = member_rank(&w.entry, &ip, some, 3, some[k].node);
            assert_true(rank >= 0 && rank < 3 && !taken[rank]); /* each its own */
            taken[rank] = true;
            assert_int_equal(rank == 0, str_is(some[k].node, first));
        }
        assert_int_equal(member_rank(&w.entry, &ip, some, 3, STR("stranger")), -1);
    }
    world_free(&w);
}

static void test_nodes(void **state UNUSED)
{
    static const struct {
        const char *node;
        bool takes;
    } cases[] = {
        {"{metadata: {name: a}}", true},
        {"{metadata: {name: a, labels: {node.kubernetes.io/exclude-from-external-load-balancers: ''}}}", false},
        {"{metadata: {name: a}, status: {conditions: [{type: NetworkUnavailable, status: 'True'}]}}", false},
        {"{metadata: {name: a}, status: {conditions: [{type: NetworkUnavailable, status: 'False'}]}}", true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct object *o CLEANUP_OBJECT = object_relaxed(RES_NODES, cases[i].node);
        assert_int_equal(node_takes_part(o->val), cases[i].takes);
    }
}

static void test_links(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct prefixes pods;
    struct rtnl_address list[] = {{.link = 1, .scope = RT_SCOPE_UNIVERSE}, {.link = 2, .scope = RT_SCOPE_UNIVERSE}, {.link = 3, .scope = RT_SCOPE_LINK}};
    struct rtnl_addresses addresses = {list, 3};
    struct rtnl_link eth = {.index = 1, .name = "eth0", .flags = IFF_UP | IFF_BROADCAST, .mac = {2, 0, 0, 0, 0, 1}}, l;
    const char *const only[] = {"eth1", NULL};
    prefixes_parse(&a, "10.244.0.0/16", &pods, NULL);
    prefix_parse_address(STR("192.0.2.1/24"), &list[0].at);
    prefix_parse_address(STR("10.244.3.1/24"), &list[1].at);
    prefix_parse_address(STR("fe80::1/64"), &list[2].at);
    assert_true(link_suits(&eth, &addresses, &pods, NULL));
    assert_false(link_suits(&eth, &addresses, &pods, only));
    l = eth, l.index = 2; /* the pods' bridge */
    assert_false(link_suits(&l, &addresses, &pods, NULL));
    l = eth, l.index = 3; /* nobody is reached by it */
    assert_false(link_suits(&l, &addresses, &pods, NULL));
    snprintf(l.name, sizeof(l.name), "eth1");
    assert_true(link_suits(&l, &addresses, &pods, only));
    static const uint32_t without[] = {IFF_LOOPBACK, IFF_NOARP, IFF_POINTOPOINT};
    for (size_t i = 0; i < ARRAY_SIZE(without); i++) {
        l = eth, l.flags |= without[i];
        assert_false(link_suits(&l, &addresses, &pods, NULL));
    }
    l = eth, l.flags = IFF_BROADCAST; /* it is down */
    assert_false(link_suits(&l, &addresses, &pods, NULL));
    l = eth, l.master = 9;
    assert_false(link_suits(&l, &addresses, &pods, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_which_addresses), cmocka_unit_test(test_shares), cmocka_unit_test(test_endpoints),
                                       cmocka_unit_test(test_networks),        cmocka_unit_test(test_ranks), cmocka_unit_test(test_nodes),  cmocka_unit_test(test_links)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
