/* SPDX-License-Identifier: Apache-2.0 */
/* Policies taken apart: address ranges, defaults of policyTypes, ports, and what cannot be understood. */
#include "../testing.h"

#include "client/fake_client.h"
#include "policy/spec.h"

static struct policy_spec spec_of(struct arena *a, const char *spec, int *ret_r)
{
    struct object *o = object_relaxed(
        RES_NETWORKPOLICIES, arena_printf(a, "{metadata:{name:p,namespace:here},spec:%s}", spec).p);
    struct policy_spec s;
    struct err e;
    int r = policy_spec_of(a, o->val, &s, &e);
    if (ret_r)
        *ret_r = r;
    else
        assert_int_equal(r, 0);
    object_unref(o);
    return s;
}

static void blocks(void **state UNUSED)
{
    static const struct {
        const char *in, *out; /* NULL: refused */
    } cases[] = {
        {"10.1.2.3/8", "10.0.0.0/8"},     {"10.1.2.3", "10.1.2.3"},  {"10.1.2.3/32", "10.1.2.3"},
        {"0.0.0.0/0", "0.0.0.0/0"},       {"fd00::1:2/64", "fd00::/64"}, {"::/0", "::/0"},
        {"10.1.2.3/33", NULL},            {"10.1.2/24", NULL},       {"", NULL},
        {"10.0.0.0/", NULL},              {"10.0.0.0/-1", NULL},     {"fd00::/129", NULL},
        {"1.2.3.4; drop", NULL},          {"10.0.0.255/31", "10.0.0.254/31"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct prefix b;
        char text[IP_TEXT_MAX];
        int r = block_parse(str_of(cases[i].in), &b);
        assert_int_equal(r, cases[i].out ? 0 : -EINVAL);
        if (cases[i].out)
            assert_string_equal(block_text(&b, text), cases[i].out);
    }
    struct prefix inner, outer;
    assert_int_equal(block_parse(STR("10.1.0.0/16"), &inner) | block_parse(STR("10.0.0.0/8"), &outer), 0);
    assert_true(prefix_contains(&outer, &inner));
    assert_false(prefix_contains(&inner, &outer));
    assert_int_equal(block_parse(STR("fd00::/8"), &outer), 0);
    assert_false(prefix_contains(&outer, &inner));
}

static void directions(void **state UNUSED)
{
    static const struct {
        const char *spec;
        bool in, out;
    } cases[] = {
        {"{podSelector:{}}", true, false},
        {"{podSelector:{},egress:[{}]}", true, true},
        {"{podSelector:{},ingress:[{}]}", true, false},
        {"{podSelector:{},policyTypes:[Egress]}", false, true},
        {"{podSelector:{},policyTypes:[Ingress],egress:[{}]}", true, false},
        {"{podSelector:{},policyTypes:[Ingress,Egress]}", true, true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct policy_spec s = spec_of(&a, cases[i].spec, NULL);
        assert_int_equal(s.to[INGRESS].applies, cases[i].in);
        assert_int_equal(s.to[EGRESS].applies, cases[i].out);
    }
}

static void ports_are_joined(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct policy_spec s = spec_of(&a,
                                   "{podSelector:{},ingress:[{ports:[{port:90},{port:80,endPort:85},{port:84,endPort:86},"
                                   "{port:87},{protocol:UDP,port:dns},{protocol:UDP},{protocol:SCTP,port:web}]}]}",
                                   NULL);
    const struct policy_rule *r = &s.to[INGRESS].rules[0];
    assert_int_equal(r->n_peers, 0);
    assert_int_equal(r->n_ports, 3);
    assert_string_equal(r->ports[0].protocol, "tcp");
    assert_int_equal(r->ports[0].n_ranges, 2);
    assert_int_equal(r->ports[0].ranges[0].first, 80);
    assert_int_equal(r->ports[0].ranges[0].last, 87);
    assert_int_equal(r->ports[0].ranges[1].first, 90);
    assert_true(r->ports[1].all);
    assert_int_equal(r->ports[2].n_names, 1);
}

static void peers(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct policy_spec s = spec_of(
        &a,
        "{podSelector:{},ingress:[{from:[{podSelector:{matchLabels:{a:b}}},{namespaceSelector:{}},"
        "{podSelector:{},namespaceSelector:{matchLabels:{n:m}}},"
        "{ipBlock:{cidr:'10.0.0.0/8',except:['10.1.0.0/16','10.1.2.0/24','10.1.0.0/16','192.168.0.0/16']}},"
        "{ipBlock:{cidr:'10.1.0.0/16',except:['10.0.0.0/8']}}]}]}",
        NULL);
    const struct policy_rule *r = &s.to[INGRESS].rules[0];
    assert_int_equal(r->n_peers, 4); /* the last block is empty */
    assert_str(r->peers[0].pods.id, "here/a=b");
    assert_str(r->peers[0].pods.ns, "here");
    assert_str(r->peers[1].pods.id, "[]");
    assert_null(r->peers[1].pods.ns.p);
    assert_str(r->peers[2].pods.id, "[n=m]");
    assert_int_equal(r->peers[3].n_except, 1); /* nested, doubled and foreign ones add nothing */
}

/* What is not understood lets nothing through, and is told. */
static void nonsense_is_safe(void **state UNUSED)
{
    static const char *const cases[] = {
        "{podSelector:{},ingress:[{from:[{ipBlock:{cidr:'10.0.0.0/99'}}]}]}",
        "{podSelector:{},ingress:[{from:[{ipBlock:{cidr:'10.0.0.0/8',except:['x']}}]}]}",
        "{podSelector:{},ingress:[{ports:[{protocol:QUIC}]}]}",
        "{podSelector:{},ingress:[{ports:[{port:90,endPort:80}]}]}",
        "{podSelector:{},ingress:[{from:[{podSelector:{matchExpressions:[{key:a,operator:Near}]}}]}]}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        int r;
        struct policy_spec s = spec_of(&a, cases[i], &r);
        assert_int_equal(r, -EINVAL);
        assert_true(s.to[INGRESS].applies);
        assert_int_equal(s.to[INGRESS].n, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks), cmocka_unit_test(directions),      cmocka_unit_test(ports_are_joined),
        cmocka_unit_test(peers),  cmocka_unit_test(nonsense_is_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
