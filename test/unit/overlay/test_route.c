/* SPDX-License-Identifier: Apache-2.0 */
/* Which routes a node wants and what must change: tables of cases. */
#include "../testing.h"

#include "base/err.h"
#include "client/fake_client.h"
#include "overlay/route.h"

#include <stdio.h>

/* ---- texts ---------------------------------------------------------------------------------------- */

static void addresses_and_ranges(void **state UNUSED)
{
    struct ip ip;
    struct prefix p, q;
    static const char *const good[] = {"10.0.0.1", "0.0.0.0", "fd00::1", "::"};
    static const char *const bad[] = {"",
                                      "10.0.0",
                                      "10.0.0.256",
                                      "10.0.0.1 ",
                                      "fd00::g",
                                      "10.0.0.1/24",
                                      "1.2.3.4.5.6.7.8.9.0.1.2.3.4.5.6.7.8.9.0.1.2.3.4.5"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_true(ip_parse(str_of(good[i]), &ip));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(ip_parse(str_of(bad[i]), &ip));
    static const char *const bad_ranges[] = {"10.0.0.0",   "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/",
                                             "fd00::/129", "/8",          "10.0.0.0/8x"};
    for (size_t i = 0; i < ARRAY_SIZE(bad_ranges); i++)
        assert_false(prefix_parse(str_of(bad_ranges[i]), &p));
    /* Bits beyond the prefix do not count. */
    assert_true(prefix_parse(STR("10.244.7.9/21"), &p) && prefix_parse(STR("10.244.0.0/21"), &q));
    assert_memory_equal(&p, &q, sizeof(p));
    static const struct {
        const char *outer, *inner;
        bool contains;
    } cases[] = {
        {"10.244.0.0/16", "10.244.3.0/24", true},  {"10.244.0.0/16", "10.244.0.0/16", true},
        {"10.244.0.0/16", "10.245.0.0/24", false}, {"10.244.0.0/16", "10.0.0.0/8", false},
        {"0.0.0.0/0", "10.244.3.0/24", true},      {"fd00::/48", "fd00:0:0:1::/64", true},
        {"fd00::/48", "fd00:0:1::/64", false},     {"0.0.0.0/0", "fd00::/64", false},
        {"10.244.0.0/20", "10.244.15.0/24", true}, {"10.244.0.0/20", "10.244.16.0/24", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_true(prefix_parse(str_of(cases[i].outer), &p) && prefix_parse(str_of(cases[i].inner), &q));
        assert_int_equal(prefix_contains(&p, &q), cases[i].contains);
    }
}

static void lists_of_ranges(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct prefixes p = {0};
    struct err e = {0};
    assert_int_equal(prefixes_parse(&a, NULL, &p, &e), 0);
    assert_int_equal(p.n, 0);
    assert_int_equal(prefixes_parse(&a, "10.244.0.0/16, fd00::/56", &p, &e), 0);
    assert_int_equal(p.n, 2);
    assert_int_equal(prefixes_parse(&a, "10.244.0.0/16,x", &p, &e), -EINVAL);
    assert_true(strstr(e.text, "\"x\""));
    assert_int_equal(p.n, 2); /* untouched */
}

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

static const char *text_of(struct arena *a, const struct routes *r)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    char text[ROUTE_TEXT_MAX];
    for (size_t i = 0; i < r->n; i++)
        buf_printf(&b, "%s%s%s", i ? "; " : "", route_text(&r->list[i], text),
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

static void nodes_become_routes(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct tree *t = tree_of(cases[i].nodes);
        struct prefixes within;
        struct routes want;
        struct peer *peers;
        struct err e = {0};
        assert_int_equal(prefixes_parse(&a, cases[i].within, &within, &e), 0);
        size_t n = peers_of_nodes(&a, t, STR("self"), &peers);
        routes_wanted(&a, peers, n, &within, &want);
        if (strcmp(text_of(&a, &want), cases[i].want))
            fail_msg("%s: \"%s\" instead of \"%s\"", cases[i].what, text_of(&a, &want), cases[i].want);
        tree_unref(t);
    }
}

static void what_changes_a_peer(void **state UNUSED)
{
    struct object *a = object_relaxed(RES_NODES, NODE("b", "10.1.1.0/24", INTERNAL("10.0.0.2")));
    struct object *heartbeat = object_relaxed(
        RES_NODES,
        "{metadata:{name:b,labels:{x:y}},spec:{podCIDRs:[10.1.1.0/24]},status:{addresses:[" INTERNAL(
            "10.0.0.2") "],conditions:[{type:Ready,status:'True'}]}}");
    struct object *moved = object_relaxed(RES_NODES, NODE("b", "10.1.1.0/24", INTERNAL("10.0.0.7")));
    struct object *other = object_relaxed(RES_NODES, NODE("b", "10.1.2.0/24", INTERNAL("10.0.0.2")));
    assert_false(peer_differs(a, heartbeat));
    assert_true(peer_differs(a, moved));
    assert_true(peer_differs(a, other));
    assert_true(peer_differs(NULL, a));
    assert_true(peer_differs(a, NULL));
    object_unref(a);
    object_unref(heartbeat);
    object_unref(moved);
    object_unref(other);
}

/* ---- changes -------------------------------------------------------------------------------------- */

/* "10.1.1.0/24 10.0.0.2, ..." */
static struct routes routes_of(struct arena *a, const char *text)
{
    struct routes r = {ARENA_ARRAY(a, struct route, strlen(text) + 1), 0};
    struct str rest = str_of(text), word, to, via;
    while (*text && str_next(&rest, ',', &word)) {
        str_cut(str_trim(word), ' ', &to, &via);
        assert_true(prefix_parse(to, &r.list[r.n].to) && ip_parse(via, &r.list[r.n].via));
        r.n++;
    }
    routes_sort(&r);
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
        struct routes have = routes_of(&a, list[i].have), want = routes_of(&a, list[i].want);
        struct route_changes c;
        routes_compare(&a, &have, &want, &c);
        assert_string_equal(text_of(&a, &c.set), list[i].set);
        assert_string_equal(text_of(&a, &c.drop), list[i].drop);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_and_ranges), cmocka_unit_test(lists_of_ranges),
        cmocka_unit_test(nodes_become_routes),  cmocka_unit_test(what_changes_a_peer),
        cmocka_unit_test(differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
