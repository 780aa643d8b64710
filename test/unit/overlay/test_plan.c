/* SPDX-License-Identifier: Apache-2.0 */
/* Which routes a node wants and what must change: tables of cases. */
#include "../testing.h"

#include "base/err.h"
#include "client/fake_client.h"
#include "overlay/overlay.h"

#include <stdio.h>

/* ---- wanted --------------------------------------------------------------------------------------- */

static struct tree *tree_of(const char *const *nodes)
{
    struct tree *t = NULL;
    for (; *nodes; nodes++) {
        struct object *o = object_relaxed(RES_NODES, *nodes);
        t = tree_put(t, o->name, o);
        object_unref(o);
    }
    return t;
}

static const char *text_of(struct arena *a, const struct entries *r)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    char text[ENTRY_TEXT_MAX];
    for (size_t i = 0; i < r->n; i++)
        buf_printf(&b, "%s%s%s", i ? "; " : "", entry_text(&r->list[i], text),
                   r->list[i].replaces ? " (other way)" : "");
    return arena_cstr(a, buf_str(&b));
}

#define NODE(name, ranges, ...)                                                                              \
    "{metadata:{name:" name "},spec:{podCIDRs:[" ranges "]},status:{addresses:[" __VA_ARGS__ "]}}"
#define INTERNAL(ip) "{type:InternalIP,address:'" ip "'},"

static const struct {
    const char *what, *within, *nodes[6], *want;
} cases[] = {
    {"alone", NULL, {NODE("self", "10.1.0.0/24", INTERNAL("10.0.0.1"))}, ""},
    {"one other, and none to oneself",
     NULL,
     {NODE("self", "10.1.0.0/24", INTERNAL("10.0.0.1")), NODE("b", "10.1.1.0/24", INTERNAL("10.0.0.2"))},
     "10.1.1.0/24 via 10.0.0.2"},
    {"no range yet, no address yet",
     NULL,
     {NODE("b", "", INTERNAL("10.0.0.2")), NODE("c", "10.1.2.0/24", "")},
     ""},
    {"other types of address are no way",
     NULL,
     {NODE("b", "10.1.1.0/24",
           "{type:Hostname,address:b},{type:ExternalIP,address:'192.0.2.9'}," INTERNAL("10.0.0.2"))},
     "10.1.1.0/24 via 10.0.0.2"},
    {"the first InternalIP of a family",
     NULL,
     {NODE("b", "10.1.1.0/24", INTERNAL("10.0.0.2") INTERNAL("10.9.0.2"))},
     "10.1.1.0/24 via 10.0.0.2"},
    {"each family its own way",
     NULL,
     {NODE("b", "10.1.1.0/24,'fd01:0:0:1::/64'", INTERNAL("fd00::2") INTERNAL("10.0.0.2"))},
     "10.1.1.0/24 via 10.0.0.2; fd01:0:0:1::/64 via fd00::2"},
    {"a family without address",
     NULL,
     {NODE("b", "10.1.1.0/24,'fd01:0:0:1::/64'", INTERNAL("10.0.0.2"))},
     "10.1.1.0/24 via 10.0.0.2"},
    {"only podCIDR",
     NULL,
     {"{metadata:{name:b},spec:{podCIDR:'10.1.1.0/24'},status:{addresses:[" INTERNAL("10.0.0.2") "]}}"},
     "10.1.1.0/24 via 10.0.0.2"},
    {"only ranges of this cluster: no Node may take the machine's default route",
     "10.1.0.0/16",
     {NODE("b", "10.1.1.0/24,0.0.0.0/0,10.2.0.0/24,10.0.0.0/8", INTERNAL("10.0.0.2"))},
     "10.1.1.0/24 via 10.0.0.2"},
    {"texts that are nothing",
     NULL,
     {NODE("b", "what,10.1.1.0/24", INTERNAL("elsewhere") INTERNAL("10.0.0.2"))},
     "10.1.1.0/24 via 10.0.0.2"},
    {"two claim a range: the first by name",
     NULL,
     {NODE("b", "10.1.1.0/24", INTERNAL("10.0.0.9")), NODE("c", "10.1.1.0/24", INTERNAL("10.0.0.3")),
      NODE("d", "10.1.0.0/24", INTERNAL("10.0.0.4"))},
     "10.1.0.0/24 via 10.0.0.4; 10.1.1.0/24 via 10.0.0.9"},
    {"sorted by range",
     NULL,
     {NODE("b", "10.1.9.0/24", INTERNAL("10.0.0.2")), NODE("c", "10.1.3.0/24", INTERNAL("10.0.0.3"))},
     "10.1.3.0/24 via 10.0.0.3; 10.1.9.0/24 via 10.0.0.2"},
};

struct want_input {
    enum backend_kind backend;
    bool direct_routing;
    const char *networks;
};

static const char *plan_of(struct arena *a, const char *const *nodes, const char *ranges, const struct want_input *w,
                           struct plan *ret)
{
    struct tree *t = tree_of(nodes);
    struct netconf conf;
    struct prefixes within;
    struct peer self, *peers;
    struct err e = {0};
    netconf_default(w->backend, &conf);
    conf.direct_routing = w->direct_routing;
    assert_int_equal(prefixes_parse(a, ranges, &within, &e), 0);
    struct plan_input in = {.conf = &conf, .within = &within,
                            .devices = {{.index = 4, .mac = {2, 0, 0, 0, 0, 1}}, {.index = 6, .mac = {2, 0, 0, 0, 0, 2}}}};
    assert_int_equal(prefixes_parse(a, w->networks, &in.networks, &e), 0);
    if (peers_of_nodes(a, t, STR("self"), STR(FLANNEL_PREFIX "/"), &peers, &in.n, &self))
        in.self = &self;
    in.peers = peers;
    plan_make(a, &in, ret);
    const char *text = text_of(a, &ret->want);
    for (size_t i = 0; i < ret->n_refused; i++) /* they outlive the nodes' texts here */
        ret->refused[i].node = arena_str(a, ret->refused[i].node), ret->refused[i].other = arena_str(a, ret->refused[i].other);
    tree_unref(t);
    return text;
}

static void nodes_become_routes(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct plan plan;
        const char *got = plan_of(&a, cases[i].nodes, cases[i].within, &(struct want_input){BACKEND_HOST_GW}, &plan);
        if (strcmp(got, cases[i].want))
            fail_msg("%s: \"%s\" instead of \"%s\"", cases[i].what, got, cases[i].want);
    }
}

#define VTEP(name, age, ranges, ip, mac, more)                                                               \
    "{metadata:{name:" name ",creationTimestamp:'" age "',annotations:{'flannel.alpha.coreos.com/backend-type':vxlan,"  \
    "'flannel.alpha.coreos.com/kube-subnet-manager':'true','flannel.alpha.coreos.com/public-ip':'" ip "',"    \
    "'flannel.alpha.coreos.com/backend-data':'{\\u0022VNI\\u0022:1,\\u0022VtepMAC\\u0022:\\u0022" mac "\\u0022}'" more "}},"  \
    "spec:{podCIDRs:[" ranges "]},status:{addresses:[" INTERNAL(ip) "]}}"
#define T1 "2026-01-01T00:00:00Z"
#define T2 "2026-01-02T00:00:00Z"

static const struct {
    const char *what, *nodes[6], *networks;
    bool direct;
    const char *want;
} vxlans[] = {
    {"a far node",
     {VTEP("b", T1, "10.1.1.0/24", "192.0.2.2", "0a:00:00:00:00:02", "")},
     NULL, false,
     "0a:00:00:00:00:02 at 192.0.2.2; 10.1.1.0 is 0a:00:00:00:00:02; 10.1.1.0/24 via 10.1.1.0 by vxlan"},
    {"a near one is no other without direct routing",
     {VTEP("b", T1, "10.1.1.0/24", "192.0.2.2", "0a:00:00:00:00:02", "")},
     "192.0.2.0/24", false,
     "0a:00:00:00:00:02 at 192.0.2.2; 10.1.1.0 is 0a:00:00:00:00:02; 10.1.1.0/24 via 10.1.1.0 by vxlan"},
    {"a near one plainly",
     {VTEP("b", T1, "10.1.1.0/24", "192.0.2.2", "0a:00:00:00:00:02", "")},
     "192.0.2.0/24", true,
     "10.1.1.0/24 via 192.0.2.2"},
    {"a near one that has said nothing, and a far one",
     {NODE("b", "10.1.1.0/24", INTERNAL("192.0.2.2")), NODE("c", "10.1.2.0/24", INTERNAL("198.51.100.2"))},
     "192.0.2.0/24", true,
     "10.1.1.0/24 via 192.0.2.2"},
    {"our own hardware address on another node: not believed",
     {VTEP("b", T1, "10.1.1.0/24", "192.0.2.2", "02:00:00:00:00:01", "")},
     NULL, false,
     ""},
    {"two with one hardware address: the older one's frames",
     {VTEP("b", T2, "10.1.1.0/24", "192.0.2.2", "0a:00:00:00:00:02", ""),
      VTEP("c", T1, "10.1.2.0/24", "192.0.2.3", "0a:00:00:00:00:02", "")},
     NULL, false,
     "0a:00:00:00:00:02 at 192.0.2.2; 10.1.1.0 is 0a:00:00:00:00:02; 10.1.2.0 is 0a:00:00:00:00:02; "
     "10.1.1.0/24 via 10.1.1.0 by vxlan; 10.1.2.0/24 via 10.1.2.0 by vxlan"},
    {"a hardware address that is none",
     {VTEP("b", T1, "10.1.1.0/24", "192.0.2.2", "0a:00:00:00:00", "")},
     NULL, false,
     ""},
};

static void nodes_become_a_vxlan(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(vxlans); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct plan plan;
        struct want_input w = {BACKEND_VXLAN, vxlans[i].direct, vxlans[i].networks};
        const char *got = plan_of(&a, vxlans[i].nodes, NULL, &w, &plan);
        if (strcmp(got, vxlans[i].want))
            fail_msg("%s: \"%s\" instead of \"%s\"", vxlans[i].what, got, vxlans[i].want);
    }
}

/* Whoever claims what another has, in part or whole, gets nothing; our own range first of all. */
static void overlapping_ranges(void **state UNUSED)
{
    static const char *const nodes[] = {
        VTEP("self", T2, "10.1.0.0/24", "192.0.2.1", "0a:00:00:00:00:01", ""),
        VTEP("all", T2, "10.1.0.0/16", "192.0.2.6", "0a:00:00:00:00:06", ""),   /* ours is in it */
        VTEP("part", T2, "10.1.1.128/25", "192.0.2.7", "0a:00:00:00:00:07", ""), /* of the older one's */
        VTEP("z-old", T1, "10.1.1.0/24", "192.0.2.2", "0a:00:00:00:00:02", ""),
        VTEP("mine", T1, "10.1.0.64/26", "192.0.2.8", "0a:00:00:00:00:08", ""),
        NULL,
    };
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct plan plan;
    struct want_input w = {BACKEND_VXLAN, true, "192.0.2.0/24"};
    assert_string_equal(plan_of(&a, nodes, NULL, &w, &plan), "10.1.1.0/24 via 192.0.2.2");
    assert_int_equal(plan.n_refused, 3);
    static const char *const refused[][2] = {{"mine", "self"}, {"all", "self"}, {"part", "z-old"}};
    for (size_t i = 0; i < 3; i++) {
        assert_str(plan.refused[i].node, refused[i][0]);
        assert_str(plan.refused[i].other, refused[i][1]);
    }
}

static void what_changes_a_peer(void **state UNUSED)
{
    struct str prefix = STR(FLANNEL_PREFIX "/");
    struct object *a = object_relaxed(RES_NODES, NODE("b", "10.1.1.0/24", INTERNAL("10.0.0.2")));
    struct object *noted = object_relaxed(RES_NODES, VTEP("b", T1, "10.1.1.0/24", "10.0.0.2", "0a:00:00:00:00:02", ""));
    struct object *heartbeat = object_relaxed(
        RES_NODES,
        "{metadata:{name:b,labels:{x:y}},spec:{podCIDRs:[10.1.1.0/24]},status:{addresses:[" INTERNAL(
            "10.0.0.2") "],conditions:[{type:Ready,status:'True'}]}}");
    struct object *moved = object_relaxed(RES_NODES, NODE("b", "10.1.1.0/24", INTERNAL("10.0.0.7")));
    struct object *other = object_relaxed(RES_NODES, NODE("b", "10.1.2.0/24", INTERNAL("10.0.0.2")));
    assert_false(peer_differs(a, heartbeat, prefix));
    assert_true(peer_differs(a, moved, prefix));
    assert_true(peer_differs(a, other, prefix));
    assert_true(peer_differs(NULL, a, prefix));
    assert_true(peer_differs(a, NULL, prefix));
    assert_true(peer_differs(a, noted, prefix));
    assert_true(peer_differs(noted, a, prefix));
    assert_false(peer_differs(noted, noted, prefix));
    object_unref(noted);
    object_unref(a);
    object_unref(heartbeat);
    object_unref(moved);
    object_unref(other);
}

/* ---- changes -------------------------------------------------------------------------------------- */

/* "10.1.1.0/24 10.0.0.2, ..." */
static struct entries routes_of(struct arena *a, const char *text)
{
    struct entries r = {ARENA_ARRAY(a, struct entry, strlen(text) + 1), 0};
    struct str rest = str_of(text), word, to, via;
    while (*text && str_next(&rest, ',', &word)) {
        str_cut(str_trim(word), ' ', &to, &via);
        assert_true(prefix_parse(to, &r.list[r.n].to) && ip_parse(via, &r.list[r.n].via));
        r.list[r.n++].kind = ENTRY_ROUTE;
    }
    entries_sort(&r);
    return r;
}

static void differences(void **state UNUSED)
{
    static const struct {
        const char *have, *want, *set, *drop;
    } list[] = {
        {"", "", "", ""},
        {"", "10.1.1.0/24 10.0.0.2", "10.1.1.0/24 via 10.0.0.2", ""},
        {"10.1.1.0/24 10.0.0.2", "10.1.1.0/24 10.0.0.2", "", ""},
        {"10.1.1.0/24 10.0.0.2", "", "", "10.1.1.0/24 via 10.0.0.2"},
        {"10.1.1.0/24 10.0.0.2", "10.1.1.0/24 10.0.0.3", "10.1.1.0/24 via 10.0.0.3 (other way)", ""},
        {"10.1.1.0/24 10.0.0.2,10.1.2.0/24 10.0.0.3", "10.1.2.0/24 10.0.0.3,10.1.3.0/24 10.0.0.4",
         "10.1.3.0/24 via 10.0.0.4", "10.1.1.0/24 via 10.0.0.2"},
        {"10.1.0.0/16 10.0.0.2", "10.1.0.0/24 10.0.0.2", "10.1.0.0/24 via 10.0.0.2",
         "10.1.0.0/16 via 10.0.0.2"},
        {"fd01::/64 fd00::2,10.1.1.0/24 10.0.0.2", "10.1.1.0/24 10.0.0.2", "", "fd01::/64 via fd00::2"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct entries have = routes_of(&a, list[i].have), want = routes_of(&a, list[i].want);
        struct entry_changes c;
        entries_compare(&a, &have, &want, &c);
        assert_string_equal(text_of(&a, &c.set), list[i].set);
        assert_string_equal(text_of(&a, &c.drop), list[i].drop);
    }
}

/* ---- configuration --------------------------------------------------------------------------------- */

static void network_configurations(void **state UNUSED)
{
    struct netconf c;
    struct err e = {0};
    assert_int_equal(netconf_parse(STR("{\"Network\":\"10.244.0.0/16\",\"EnableNFTables\":true,"
                                       "\"Backend\":{\"Type\":\"vxlan\"}}"),
                                   &c, &e),
                     0);
    assert_true(c.backend == BACKEND_VXLAN && c.vni == 1 && c.port == 0 && c.enabled[V4] && !c.enabled[V6]);
    assert_false(c.direct_routing || c.gbp || c.learning);
    assert_int_equal(netconf_parse(STR("{\"network\":\"10.0.0.0/8\",\"EnableIPv6\":true,\"IPv6Network\":\"fd00::/48\","
                                       "\"SubnetLen\":20,\"backend\":{\"type\":\"vxlan\",\"vni\":4096,\"Port\":4789,"
                                       "\"DirectRouting\":true,\"gbp\":true,\"Learning\":true,\"mtu\":9000}}"),
                                   &c, &e),
                     0);
    assert_true(c.vni == 4096 && c.port == 4789 && c.direct_routing && c.gbp && c.learning && c.mtu == 9000);
    assert_true(c.enabled[V6] && c.subnet_bits[V4] == 20 && c.network[V6].bits == 48);
    static const char *const bad[][2] = {
        {"", "JSON"},
        {"[]", "JSON"},
        {"{}", "back end"},
        {"{\"Network\":\"10.0.0.0/8\",\"Backend\":{\"Type\":\"udp\"}}", "udp"},
        {"{\"Backend\":{\"Type\":\"vxlan\"}}", "Network is missing"},
        {"{\"Network\":\"10.0.0.0\",\"Backend\":{\"Type\":\"vxlan\"}}", "10.0.0.0"},
        {"{\"Network\":\"fd00::/48\",\"Backend\":{\"Type\":\"vxlan\"}}", "fd00::/48"},
        {"{\"Network\":\"10.0.0.0/8\",\"Backend\":{\"Type\":\"vxlan\",\"VNI\":16777216}}", "VNI"},
        {"{\"Network\":\"10.0.0.0/8\",\"Backend\":{\"Type\":\"vxlan\",\"Port\":-1}}", "Port"},
        {"{\"Network\":\"10.0.0.0/8\",\"Backend\":{\"Type\":\"vxlan\",\"GBP\":\"yes\"}}", "GBP"},
        {"{\"EnableIPv4\":false,\"Backend\":{\"Type\":\"vxlan\"}}", "neither"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(netconf_parse(str_of(bad[i][0]), &c, &e), -EINVAL);
        if (!strstr(e.text, bad[i][1]))
            fail_msg("%s: %s", bad[i][0], e.text);
    }
}

static void shares(void **state UNUSED)
{
    static const struct {
        const char *network, *more, *first, *last;
        unsigned bits;
    } list[] = {
        {"10.1.0.0/16", "", "10.1.1.0", "10.1.255.0", 24},
        {"10.1.0.0/23", "", "10.1.0.128", "10.1.1.128", 25},
        {"10.1.0.0/16", ",\"SubnetLen\":20", "10.1.16.0", "10.1.240.0", 20},
        {"10.1.0.0/16", ",\"SubnetMin\":\"10.1.10.0\",\"SubnetMax\":\"10.1.20.0\"", "10.1.10.0", "10.1.20.0", 24},
        {"10.1.0.0/29", "", NULL, NULL, 0},
        {"10.1.0.0/16", ",\"SubnetLen\":31", NULL, NULL, 0},
        {"10.1.0.0/16", ",\"SubnetLen\":17", NULL, NULL, 0},
        {"10.1.0.0/16", ",\"SubnetMin\":\"10.2.0.0\"", NULL, NULL, 0},
        {"10.1.0.0/16", ",\"SubnetMax\":\"10.1.3.7\"", NULL, NULL, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct netconf c;
        struct err e = {0};
        char text[IP_TEXT_MAX];
        struct str json = arena_printf(&a, "{\"Network\":\"%s\"%s,\"Backend\":{\"Type\":\"vxlan\"}}", list[i].network, list[i].more);
        assert_int_equal(netconf_parse(json, &c, &e), 0);
        int r = netconf_complete(&c, &e);
        assert_int_equal(r, list[i].first ? 0 : -EINVAL);
        if (r)
            continue;
        assert_int_equal(c.subnet_bits[V4], list[i].bits);
        assert_string_equal(ip_format(&c.first[V4], text), list[i].first);
        assert_string_equal(ip_format(&c.last[V4], text), list[i].last);
    }
}

/* ---- what others are told ---------------------------------------------------------------------------- */

static void announcements(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str prefix = STR(FLANNEL_PREFIX "/");
    struct object *fresh = object_relaxed(RES_NODES, NODE("b", "10.1.1.0/24", INTERNAL("10.0.0.2")));
    struct object *told = object_relaxed(RES_NODES, VTEP("b", T1, "10.1.1.0/24", "192.0.2.2", "0a:00:00:00:00:02", ""));
    struct object *other = object_relaxed(
        RES_NODES, VTEP("b", T1, "10.1.1.0/24", "192.0.2.2", "0a:00:00:00:00:02",
                        ",'flannel.alpha.coreos.com/public-ip-overwrite':'203.0.113.5'"));
    struct announcement say = {.backend = BACKEND_VXLAN, .vni = 1, .mac = {{0x0a, 0, 0, 0, 0, 2}}};
    assert_true(ip_parse(STR("192.0.2.2"), &say.address[V4]));
    assert_str(announcement_patch(&a, told, prefix, &say), "");
    assert_str(announcement_patch(&a, fresh, prefix, &say),
               "{\"metadata\":{\"annotations\":{\"flannel.alpha.coreos.com/kube-subnet-manager\":\"true\","
               "\"flannel.alpha.coreos.com/backend-type\":\"vxlan\","
               "\"flannel.alpha.coreos.com/backend-data\":\"{\\\"VNI\\\":1,\\\"VtepMAC\\\":\\\"0a:00:00:00:00:02\\\"}\","
               "\"flannel.alpha.coreos.com/public-ip\":\"192.0.2.2\"}}}");
    assert_str(announcement_patch(&a, other, prefix, &say),
               "{\"metadata\":{\"annotations\":{\"flannel.alpha.coreos.com/public-ip\":\"203.0.113.5\"}}}");
    object_unref(fresh);
    object_unref(told);
    object_unref(other);
    static const char *const prefixes[][2] = {{NULL, "flannel.alpha.coreos.com/"}, {"a.example", "a.example/"},
                                              {"a.example/x", "a.example/x-"},     {"a.example/x-", "a.example/x-"},
                                              {"a/b/c", ""},                       {"not good", ""}};
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
        assert_str(annotation_prefix(&a, prefixes[i][0]), prefixes[i][1]);
}

static void written_texts(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct netconf c;
    struct prefixes own;
    struct err e = {0};
    netconf_default(BACKEND_VXLAN, &c);
    assert_true(prefix_parse(STR("10.244.0.0/16"), &c.network[V4]));
    assert_int_equal(prefixes_parse(&a, "10.244.7.0/24,fd00:7::/64", &own, &e), 0);
    subnet_file_text(&b, &c, &own, 1450, true);
    assert_str(buf_str(&b), "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.7.1/24\n"
                            "FLANNEL_IPV6_NETWORK=fd00:7::/64\nFLANNEL_IPV6_SUBNET=fd00:7::1/64\n"
                            "FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n");
}

/* ---- the kernel's part that is pure ----------------------------------------------------------------- */

static struct prefix address_at(const char *text)
{
    struct prefix p;
    assert_true(prefix_parse_address(str_of(text), &p));
    return p;
}

static void uplinks(void **state UNUSED)
{
    struct rtnl_link links[] = {{.index = 1, .name = "lo", .mtu = 65536},
                                {.index = 2, .name = "eth0", .mtu = 1500},
                                {.index = 3, .name = "eth1", .mtu = 9000}};
    struct rtnl_address addresses[] = {{.link = 1, .at = address_at("127.0.0.1/8"), .scope = 254},
                                       {.link = 2, .at = address_at("10.0.0.5/24")},
                                       {.link = 3, .at = address_at("192.168.1.4/24")},
                                       {.link = 3, .at = address_at("192.168.1.5/24")}};
    struct rtnl_route routes[] = {{.to = {{.family = AF_INET}, 0}, .via = address_at("10.0.0.1/32").ip, .link = 2},
                                  {.to = address_at("192.168.0.0/16"), .link = 3}};
    struct rtnl_links l = {links, 3};
    struct rtnl_addresses a = {addresses, 4};
    struct rtnl_routes r = {routes, 2};
    const char *eth1 = "eth1", *nothing = "wlan0", *pattern = "^eth[1-9]$", *by_ip = "192.168.1.4";
    struct flag_list one = {&eth1, 1}, none = {&nothing, 1}, re = {&pattern, 1}, ip = {&by_ip, 1};
    struct peer self = {.internal = {address_at("192.168.1.5/32").ip}};
    struct peer elsewhere = {.internal = {address_at("172.16.0.1/32").ip}};
    const struct {
        struct uplink_choice choice;
        const struct peer *self;
        const char *link, *address;
    } list[] = {
        {{0}, NULL, "eth0", "10.0.0.5"},
        {{0}, &elsewhere, "eth0", "10.0.0.5"},
        {{0}, &self, "eth1", "192.168.1.5"},
        {{.links = &one}, NULL, "eth1", "192.168.1.4"},
        {{.links = &one}, &self, "eth1", "192.168.1.5"},
        {{.links = &ip}, NULL, "eth1", "192.168.1.4"},
        {{.patterns = &re}, NULL, "eth1", "192.168.1.4"},
        {{.links = &none, .patterns = &re}, NULL, "eth1", "192.168.1.4"},
        {{.links = &none}, &self, NULL, NULL},
        {{.can_reach = "192.168.77.1"}, NULL, "eth1", "192.168.1.4"},
        {{.can_reach = "8.8.8.8"}, NULL, "eth0", "10.0.0.5"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
        struct uplink u;
        char text[IP_TEXT_MAX];
        int got = uplink_find(&list[i].choice, list[i].self, &l, &a, &r, &u, NULL);
        assert_int_equal(got, list[i].link ? 0 : -ENODEV);
        if (got)
            continue;
        assert_string_equal(u.name, list[i].link);
        assert_string_equal(ip_format(&u.address[V4], text), list[i].address);
    }
}

static void kernels_with_a_fault(void **state UNUSED)
{
    assert_true(kernel_spoils_checksums("4.19.0-6-amd64"));
    assert_true(kernel_spoils_checksums("5.6.19"));
    assert_false(kernel_spoils_checksums("5.7.0-rc1"));
    assert_false(kernel_spoils_checksums("6.1.0-10-amd64"));
    assert_false(kernel_spoils_checksums("what"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_become_routes), cmocka_unit_test(nodes_become_a_vxlan),
        cmocka_unit_test(overlapping_ranges),  cmocka_unit_test(what_changes_a_peer),
        cmocka_unit_test(differences),         cmocka_unit_test(network_configurations),
        cmocka_unit_test(shares),              cmocka_unit_test(announcements),
        cmocka_unit_test(written_texts),       cmocka_unit_test(uplinks),
        cmocka_unit_test(kernels_with_a_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
