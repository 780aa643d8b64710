/* SPDX-License-Identifier: Apache-2.0 */
/* Questions through a Corefile's plug-ins: who answers what, and how it is changed on its way; and the cache by itself. */
#include "asking.h"

#include <stdio.h>

#include "dns/chain.h"
#include "dns/rewrite.h"
#include "resources.h"
#include "wire/json.h"

static struct config *config_of(const char *text)
{
    struct config *c = NULL;
    struct err e = {0};
    struct config_world w = {0};
    if (config_parse("Corefile", str_of(text), &w, &c, &e) < 0)
        fail_msg("%s", e.text);
    return c;
}

static struct str ask_with(struct chain *c, struct arena *a, struct str wire, const char *peer, bool may_wait)
{
    struct dns_query q;
    struct dns_reply reply = {0};
    assert_int_equal(dns_parse(wire, &q), 0);
    struct chain_ask ask = {.q = &q, .port = 53, .peer = peer, .peer_port = 0x1234, .local = "10.9.9.9", .v6 = strchr(peer, ':') != NULL,
                            .may_wait = may_wait, .limit = 512};
    int r = chain_answer(c, &ask, &reply);
    struct str text = r == CHAIN_WAIT ? STR("waits") : r == CHAIN_DROP ? STR("dropped") : print_reply(a, buf_str(&reply.out));
    dns_reply_done(&reply);
    return text;
}

static struct str ask(struct chain *c, struct arena *a, const char *name, uint16_t type, const char *peer, bool may_wait)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    make_question(name, type, false, &b);
    return ask_with(c, a, buf_str(&b), peer, may_wait);
}

struct ask_case {
    const char *name;
    uint16_t type;
    const char *want;
};

static void check(const char *corefile, const struct ask_case *cases, size_t n)
{
    struct zone *z = zone_new();
    struct config *config = config_of(corefile);
    struct chain c = {.config = config, .zone = z, .ready = true};
    for (size_t i = 0; i < n; i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        assert_string_equal(ask(&c, &a, cases[i].name, cases[i].type, "10.0.0.1", true).p, cases[i].want);
    }
    config_unref(config);
    zone_free(z);
}

static void hosts_and_fallthrough(void **state UNUSED)
{
    static const struct ask_case cases[] = {
        {"One.test", DNS_A, "0 aa | One.test A 10.0.0.1; One.test A 10.0.0.2; | |"},
        {"one.test", DNS_AAAA, "0 aa | one.test AAAA ..0001; | |"},
        {"one.test", DNS_TXT, "0 aa | | |"},
        {"1.0.0.10.in-addr.arpa", DNS_PTR, "0 aa | 1.0.0.10.in-addr.arpa PTR one.test; | |"},
        {"two.test", DNS_A, "2 | | |"},
    };
    check(". {\n hosts /nowhere {\n 10.0.0.1 one.test\n 10.0.0.2 one.test\n fd00::1 one.test\n}\n}\n", cases, ARRAY_SIZE(cases));
    static const struct ask_case falls[] = {{"two.test", DNS_A, "3 aa | | |"}};
    check(". {\n hosts /nowhere {\n 10.0.0.1 one.test\n fallthrough\n}\n template ANY ANY one.test {\n rcode REFUSED\n}\n}\n"
          "two.test {\n hosts /nowhere {\n fallthrough\n}\n template ANY ANY {\n rcode NXDOMAIN\n}\n}\n", falls, ARRAY_SIZE(falls));
}

static void templates_answer(void **state UNUSED)
{
    static const struct ask_case cases[] = {
        {"5-7.t.test", DNS_A, "0 aa | 5-7.t.test A 10.0.5.7; | |"},
        {"5-7.t.test", DNS_AAAA, "3 aa | | t.test SOA; |"},
        {"x.t.test", DNS_A, "3 aa | | t.test SOA; |"},
        {"srv.t.test", DNS_SRV, "0 aa | srv.t.test SRV 80 a.t.test; | | a.t.test A 1.2.3.4;"},
        {"txt.t.test", DNS_TXT, "0 aa | txt.t.test TXT a b; | |"},
        {"other.test", DNS_A, "2 | | |"},
    };
    check(". {\n"
          " template IN A t.test {\n match ^([0-9]+)-(?P<b>[0-9]+)[.]\n answer \"{{ .Name }} 60 IN A 10.0.{{ index .Match 1 }}.{{ .Group.b }}\"\n fallthrough\n}\n"
          " template IN SRV t.test {\n answer \"{{ .Name }} 60 IN SRV 0 1 80 a.t.test.\"\n additional \"a.t.test. 60 IN A 1.2.3.4\"\n}\n"
          " template IN TXT t.test {\n answer \"{{ .Name }} TXT \\\"a b\\\"\"\n}\n"
          " template ANY ANY t.test {\n rcode NXDOMAIN\n authority \"t.test. 60 IN SOA a. b. 1 2 3 4 5\"\n}\n}\n", cases, ARRAY_SIZE(cases));
}

static void questions_are_rewritten_and_answers_back(void **state UNUSED)
{
    static const struct ask_case cases[] = {
        {"alias.test", DNS_A, "0 aa | alias.test A 10.0.0.1; | |"},
        {"pre-host.test", DNS_A, "0 aa | pre-host.test A 10.0.0.1; | |"},
        {"host.suf", DNS_A, "0 aa | host.suf A 10.0.0.1; | |"},
        {"a.old", DNS_SRV, "0 aa | a.old SRV 80 b.old; | | b.old A 1.2.3.4;"},
        {"hidden.test", DNS_AAAA, "0 aa | hidden.test A 10.0.0.9; | |"},
        {"missing.test", DNS_A, "0 aa | | |"},
    };
    check(". {\n rewrite name alias.test host.test\n rewrite name prefix pre- \"\"\n rewrite name suffix .suf. .test.\n"
          " rewrite stop {\n name regex (.*)\\.old\\.$ {1}.new.\n answer name (.*)\\.new\\.$ {1}.old.\n answer value (.*)\\.new\\.$ {1}.old.\n}\n"
          " rewrite type AAAA A\n rewrite rcode missing.test NXDOMAIN NOERROR\n"
          " template IN SRV new {\n answer \"{{ .Name }} 60 IN SRV 0 1 80 b.new.\"\n additional \"b.new. 60 IN A 1.2.3.4\"\n}\n"
          " template ANY ANY missing.test {\n rcode NXDOMAIN\n}\n"
          " hosts /nowhere {\n 10.0.0.1 host.test\n 10.0.0.9 hidden.test\n}\n}\n", cases, ARRAY_SIZE(cases));
}

static void small_ones(void **state UNUSED)
{
    static const struct ask_case any[] = {{"x.test", DNS_ANY, "0 aa | x.test type13(27); | |"},
                                          {"x.test", DNS_AXFR, "5 | | |"},
                                          {"y.other", DNS_A, "5 | | |"}};
    check("test {\n any\n whoami\n}\n", any, ARRAY_SIZE(any));
    static const struct ask_case minimal[] = {{"x.test", DNS_A, "0 aa | x.test A 1.2.3.4; | |"}};
    check(". {\n minimal\n template IN A {\n answer \"{{ .Name }} A 1.2.3.4\"\n additional \"b. A 1.2.3.4\"\n}\n}\n", minimal, 1);
    static const struct ask_case early[] = {{"web.a.svc.c.local", DNS_A, "3 aa | | c.local SOA; |"}};
    check("c.local {\n kubernetes\n}\n", early, 1);
}

static void who_may_ask(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct zone *z = zone_new();
    struct config *config = config_of(". {\n acl {\n allow net 10.1.0.0/16\n block type AAAA net 10.0.0.0/8\n filter net 10.2.0.0/16\n"
                                      " drop net fd00::/8 192.168.0.1\n}\n hosts /nowhere {\n 10.0.0.1 h.test\n}\n}\n");
    struct chain c = {.config = config, .zone = z, .ready = true};
    static const struct {
        const char *peer;
        uint16_t type;
        const char *want;
    } cases[] = {
        {"10.1.2.3", DNS_AAAA, "0 aa | | |"}, {"10.3.0.1", DNS_AAAA, "5 | | |"}, {"10.3.0.1", DNS_A, "0 aa | h.test A 10.0.0.1; | |"},
        {"10.2.0.1", DNS_A, "0 | | |"},       {"fd00::5", DNS_A, "dropped"},     {"192.168.0.1", DNS_A, "dropped"},
        {"192.168.0.2", DNS_A, "0 aa | h.test A 10.0.0.1; | |"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_string_equal(ask(&c, &a, "h.test", cases[i].type, cases[i].peer, true).p, cases[i].want);
    assert_str(ask(&c, &a, "h.test", DNS_A, "10.1.1.1", false), "waits"); /* the threads do not know who asks */
    config_unref(config);
    zone_free(z);
}

static void nothing_of_a_half_filled_zone(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct zone *z = zone_new();
    struct config *config = config_of("c.local {\n kubernetes\n}\n");
    struct chain c = {.config = config, .zone = z};
    assert_str(ask(&c, &a, "web.a.svc.c.local", DNS_A, "10.0.0.1", false), "2 | | |");
    config_unref(config);
    zone_free(z);
}

static void rules_are_undone_backwards(void **state UNUSED)
{
    static const struct ask_case cases[] = {
        {"x.one", DNS_SRV, "0 aa | x.one SRV 80 y.one; | |"}, /* y.three is y.two's, and that is y.one's */
        {"number.test", DNS_A, "0 aa | | |"},
        {"naptr.test", DNS_SOA, "0 aa | naptr.test SOA; | |"},
    };
    check(". {\n rewrite continue name suffix .one. .two. answer auto value ^(.*)[.]two[.]$ {1}.one.\n"
          " rewrite name suffix .two. .three. answer auto value ^(.*)[.]three[.]$ {1}.two.\n"
          " rewrite rcode number.test 3 0\n"
          " template IN SRV three {\n answer \"{{ .Name }} 60 IN SRV 0 1 80 y.three.\"\n}\n"
          " template ANY ANY number.test {\n rcode NXDOMAIN\n}\n"
          " template IN SOA naptr.test {\n answer \"{{ .Name }} 60 IN SOA a. b. 1 2 3 4 5\"\n}\n}\n", cases, ARRAY_SIZE(cases));
}

static void targets_are_changed(void **state UNUSED)
{
    static const struct ask_case cases[] = {
        {"app.test", DNS_A, "0 aa | app.test CNAME mid.test; mid.test CNAME app.new.test; app.new.test A 10.0.0.7; | |"},
        {"plain.test", DNS_A, "0 aa | plain.test A 10.0.0.1; | |"},
        {"round.test", DNS_A, "0 aa | round.test CNAME round2.test; | |"}, /* what leads to itself ends */
        {"exact.test", DNS_CNAME, "0 aa | exact.test CNAME other.test; | |"},
    };
    check(". {\n rewrite continue cname regex (.*)[.]old[.]test[.] {1}.new.test.\n rewrite continue cname round.test round2.test\n"
          " rewrite continue cname target.test other.test\n"
          " template IN A app.test {\n answer \"app.test. 60 IN CNAME mid.test.\"\n answer \"mid.test. 60 IN CNAME app.old.test.\"\n"
          " answer \"app.old.test. 60 IN A 10.0.0.6\"\n}\n"
          " template IN A old.test new.test {\n answer \"{{ .Name }} 60 IN A 10.0.0.7\"\n}\n"
          " template IN A round.test round2.test {\n match ^round2\n rcode NOERROR\n fallthrough\n}\n"
          " template IN A round.test {\n answer \"round.test. 60 IN CNAME round.test.\"\n}\n"
          " template IN CNAME exact.test {\n answer \"exact.test. 60 IN CNAME target.test.\"\n}\n"
          " hosts /nowhere {\n 10.0.0.1 plain.test\n}\n}\n", cases, ARRAY_SIZE(cases));
}

static void addresses_are_made_of_four(void **state UNUSED)
{
    static const struct {
        const char *name, *peer, *want;
        uint16_t type;
    } cases[] = {
        {"four.test", "fd00::1", "0 | four.test AAAA ..0102; | |", DNS_AAAA},
        {"four.test", "10.0.0.1", "0 aa | | |", DNS_AAAA}, /* who asks over IPv4 has it */
        {"four.test", "fd00::1", "0 aa | four.test A 10.0.1.2; | |", DNS_A},
        {"six.test", "fd00::1", "0 aa | six.test AAAA ..0009; | |", DNS_AAAA},
        {"gone.test", "fd00::1", "3 aa | | |", DNS_AAAA},
        {"alias.test", "fd00::1", "0 | alias.test CNAME four.test; four.test AAAA ..0102; | |", DNS_AAAA},
    };
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct zone *z = zone_new();
    struct config *config = config_of(". {\n dns64\n template IN A alias.test {\n answer \"{{ .Name }} 60 IN CNAME four.test.\"\n}\n"
                                      " template ANY ANY gone.test {\n rcode NXDOMAIN\n}\n"
                                      " hosts /nowhere {\n 10.0.1.2 four.test\n fd00::9 six.test\n}\n}\n");
    struct chain c = {.config = config, .zone = z, .ready = true};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_string_equal(ask(&c, &a, cases[i].name, cases[i].type, cases[i].peer, true).p, cases[i].want);
    assert_int_equal(config->blocks[0].dns64->translated, 2);
    config_unref(config);
    static const struct { /* RFC 6052 section 2.4's own examples: the last two bytes */
        const char *prefix, *want;
    } prefixes[] = {{"2001:db8::/32", "0000"}, {"2001:db8:122:344::/64", "0000"}, {"2001:db8:122:344::/96", "0221"}, {"2001:db8:122::/48", "0000"}};
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
        struct str text = arena_printf(&a, ". {\n dns64 {\n prefix %s\n translate_all\n allow_ipv4\n}\n hosts /nowhere {\n 192.0.2.33 x.test\n fd00::9 x.test\n}\n}\n", prefixes[i].prefix);
        config = c.config = config_of(text.p);
        assert_string_equal(ask(&c, &a, "x.test", DNS_AAAA, "10.0.0.1", true).p, arena_printf(&a, "0 | x.test AAAA ..%s; | |", prefixes[i].want).p);
        assert_str(ask(&c, &a, "x.test", DNS_A, "10.0.0.1", true), "0 aa | x.test A 192.0.2.33; | |");
        config_unref(config);
    }
    zone_free(z);
}

/* A question with one EDNS option. */
static struct str with_option(struct arena *a, const char *name, uint16_t code, const char *data)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    size_t n = strlen(data);
    make_question(name, DNS_A, true, &b);
    b.p[b.n - 1] = (char)(n + 4);
    const char head[4] = {(char)(code >> 8), (char)code, 0, (char)n};
    buf_put(&b, head, 4);
    buf_put(&b, data, n);
    return arena_str(a, buf_str(&b));
}

/* What goes onward and what the answer shows, as "code:hex code:hex". */
static struct str print_options(struct arena *a, struct str options)
{
    struct buf out CLEANUP_BUF = BUF_INIT;
    while (options.n >= 4) {
        buf_printf(&out, "%s%x:", out.n ? " " : "", dns_get16(options.p));
        for (size_t i = 0; i < dns_get16(options.p + 2); i++)
            buf_printf(&out, "%02x", (uint8_t)options.p[4 + i]);
        options = str_from(options, 4u + dns_get16(options.p + 2));
    }
    return arena_str(a, buf_str(&out));
}

static void options_are_set(void **state UNUSED)
{
    static const struct {
        const char *rules, *onward, *shown;
    } cases[] = { /* the asker sends 0xffee "old" */
        {"rewrite edns0 local set 0xffee abcd", "ffee:61626364", "ffee:61626364"},
        {"minimal\n template IN A . {\n  answer \"{{ .Name }} A 1.2.3.4\"\n }\n rewrite edns0 local set 0xffee abcd", "ffee:61626364", "ffee:61626364"},
        {"rewrite edns0 local set 0xffee 0x6162 revert", "ffee:6162", "ffee:6f6c64"},
        {"rewrite edns0 local set 0xffed ab revert", "ffed:6162", ""},
        {"rewrite edns0 local append 0xffee abcd", "", ""}, /* it was there: the rule did nothing */
        {"rewrite edns0 local replace 0xffed abcd", "", ""},
        {"rewrite edns0 local replace 0xffee ab", "ffee:6162", "ffee:6162"},
        {"rewrite edns0 local unset 0xffee", "", ""},
        {"rewrite edns0 nsid set", "3:", "3:"},
        {"rewrite edns0 subnet set 24 56", "8:000118000a0102", ""},
        {"rewrite edns0 subnet set 20 56", "8:000114000a0100", ""},
        {"rewrite edns0 local set 1 {qname}", "1:782e746573742e", "1:782e746573742e"},
        {"rewrite edns0 local set 1 {qtype}", "1:0001", "1:0001"},
        {"rewrite edns0 local set 1 {client_ip}", "1:0a010203", "1:0a010203"},
        {"rewrite edns0 local set 1 {client_port}", "1:1234", "1:1234"},
        {"rewrite edns0 local set 1 {protocol}", "1:756470", "1:756470"},
        {"rewrite edns0 local set 1 {server_ip}", "1:0a090909", "1:0a090909"},
        {"rewrite edns0 local set 1 {server_port}", "1:0035", "1:0035"},
        {"rewrite continue {\n edns0 local set 0xffee abcd\n }\n rewrite edns0 local replace 0xffee bcde revert", "ffee:62636465", "ffee:61626364"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct config *config = config_of(arena_printf(&a, ". {\n %s\n whoami\n}\n", cases[i].rules).p);
        struct zone *z = zone_new();
        struct chain c = {.config = config, .zone = z, .ready = true};
        struct dns_query q, changed;
        struct dns_reply reply = {0};
        struct rewriting done;
        struct buf question CLEANUP_BUF = BUF_INIT;
        size_t at;
        struct str shown = STR_NULL;
        assert_int_equal(dns_parse(with_option(&a, "x.test", 0xffee, "old"), &q), 0);
        struct chain_ask ask = {.q = &q, .port = 53, .peer = "10.1.2.3", .peer_port = 0x1234, .local = "10.9.9.9", .may_wait = true, .limit = 1232};
        changed = q;
        rewrite_question(&config->blocks[0].rewrites, &ask, &changed, &question, &done);
        assert_string_equal(print_options(&a, done.changed ? changed.onward : STR_NULL).p, cases[i].onward);
        rewriting_done(&done);
        assert_int_equal(chain_answer(&c, &ask, &reply), CHAIN_ANSWERED);
        assert_true(dns_find_opt(buf_str(&reply.out), &at, &shown));
        assert_string_equal(print_options(&a, shown).p, cases[i].shown);
        dns_reply_done(&reply);
        config_unref(config);
        zone_free(z);
    }
}

static struct str search_file(void *ctx UNUSED, struct arena *a UNUSED, const char *path)
{
    return !strcmp(path, "/search") ? STR("nameserver 1.1.1.1\nsearch ns.svc.c svc.c c\tcorp.test.\n") : STR_NULL;
}

static void search_lists_are_gone_through(void **state UNUSED)
{
    static const struct ask_case cases[] = {
        {"WEB.ns.svc.c", DNS_A, "0 aa | WEB.ns.svc.c A 10.0.0.1; | |"},
        {"db.two.ns.svc.c", DNS_A, "0 aa | db.two.ns.svc.c CNAME db.two.svc.c; db.two.svc.c A 10.0.0.2; | |"},
        {"host.ns.svc.c", DNS_A, "0 aa | host.ns.svc.c CNAME host.corp.test; host.corp.test A 10.0.0.3; | |"},
        {"www.example.ns.svc.c", DNS_A, "0 aa | www.example.ns.svc.c CNAME www.example; www.example A 10.0.0.4; | |"},
        {"nobody.ns.svc.c", DNS_A, "2 | | |"}, /* as if it had not been looked for */
        {"www.example", DNS_A, "0 aa | www.example A 10.0.0.4; | |"},
        {"host.svc.c", DNS_A, "2 | | |"}, /* not in the first of the list */
    };
    struct err e = {0};
    struct config *config = NULL;
    struct config_world w = {.file = search_file};
    struct zone *z = zone_new();
    if (config_parse("Corefile", STR(". {\n autopath /search\n hosts /nowhere {\n 10.0.0.1 web.ns.svc.c\n 10.0.0.2 db.two.svc.c\n 10.0.0.3 host.corp.test\n"
                                     " 10.0.0.4 www.example\n}\n}\n"), &w, &config, &e) < 0)
        fail_msg("%s", e.text);
    struct chain c = {.config = config, .zone = z, .ready = true};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        assert_string_equal(ask(&c, &a, cases[i].name, cases[i].type, "10.0.0.1", true).p, cases[i].want);
        assert_str(ask(&c, &a, cases[i].name, cases[i].type, "10.0.0.1", false), "waits");
    }
    assert_int_equal(config->blocks[0].autopath->found, 3);
    config_unref(config);
    zone_free(z);
}

static struct object *object_of(unsigned res, struct str json)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v;
    struct err e = {0};
    if (json_decode(&a, resources[res].type, json, 0, NULL, &v, &e) < 0)
        fail_msg("%s", e.text);
    return object_new(&resources[res], v);
}

static void search_lists_of_pods(void **state UNUSED)
{
    static const struct {
        const char *peer, *want;
    } cases[] = {
        {"10.1.0.5", "0 aa | x.test.one.svc.c CNAME x.test; x.test A 10.0.0.1; | |"},
        {"10.1.0.6", "3 aa | | c SOA; |"}, /* a pod of another namespace */
        {"10.1.0.7", "3 aa | | c SOA; |"}, /* one that has its node's address */
        {"10.1.0.8", "3 aa | | c SOA; |"}, /* one that has ended */
        {"10.1.0.9", "3 aa | | c SOA; |"},
    };
    struct zone *z = zone_new();
    struct object *objects[] = {
        object_of(RES_PODS, STR("{\"metadata\":{\"name\":\"a\",\"namespace\":\"one\",\"uid\":\"a\"},\"status\":{\"podIPs\":[{\"ip\":\"10.1.0.5\"}]}}")),
        object_of(RES_PODS, STR("{\"metadata\":{\"name\":\"b\",\"namespace\":\"two\",\"uid\":\"b\"},\"status\":{\"podIPs\":[{\"ip\":\"10.1.0.6\"}]}}")),
        object_of(RES_PODS, STR("{\"metadata\":{\"name\":\"c\",\"namespace\":\"one\",\"uid\":\"c\"},\"spec\":{\"hostNetwork\":true},\"status\":{\"podIPs\":[{\"ip\":\"10.1.0.7\"}]}}")),
        object_of(RES_PODS, STR("{\"metadata\":{\"name\":\"d\",\"namespace\":\"one\",\"uid\":\"d\"},\"status\":{\"phase\":\"Succeeded\",\"podIPs\":[{\"ip\":\"10.1.0.8\"}]}}")),
    };
    for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
        zone_changed(z, objects[i]->res, NULL, objects[i]);
    struct config *config = config_of(". {\n autopath @kubernetes\n kubernetes c {\n pods verified\n}\n hosts /nowhere {\n 10.0.0.1 x.test\n fallthrough\n}\n}\n");
    struct chain c = {.config = config, .zone = z, .ready = true};
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_string_equal(ask(&c, &a, "x.test.one.svc.c", DNS_A, cases[i].peer, true).p, cases[i].want);
    for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
        zone_changed(z, objects[i]->res, objects[i], NULL);
        object_unref(objects[i]);
    }
    assert_string_equal(ask(&c, &a, "x.test.one.svc.c", DNS_A, "10.1.0.5", true).p, "3 aa | | c SOA; |");
    config_unref(config);
    zone_free(z);
}

/* ad-blockers' files: all names of one address */
static void many_names_of_one_address(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf text CLEANUP_BUF = BUF_INIT;
    static const char *const zones[] = {""};
    struct hosts h = {.zones = zones, .n_zones = 1, .ttl = 60};
    for (int i = 0; i < 50000; i++)
        buf_printf(&text, "0.0.0.0 host%d.test\n", i);
    hosts_read(&h, &a, buf_str(&text));
    hosts_read(&h, &a, STR("0.0.0.0 host1.test\n"));
    const struct host_list *l = map_get(&h.by_reverse, STR("0.0.0.0.in-addr.arpa"));
    assert_int_equal(l->n, 50000);
    assert_true(a.total < 16u << 20);
    hosts_done(&h);
}

/* ---- the cache ------------------------------------------------------------------------------------------------------ */

static const char *const all_zones[] = {""};

static struct buf answer_for(const struct dns_query *q, uint32_t ttl, enum dns_code code)
{
    struct dns_reply r = {0};
    dns_reply_start(&r, q, 512);
    if (code == DNS_NOERROR)
        dns_put_a(&r, DNS_ANSWER, NULL, ttl, (const uint8_t[]){1, 2, 3, 4});
    else
        dns_put_soa(&r, DNS_AUTHORITY, "test", 3600, ttl, 1);
    dns_reply_end(&r, code, false);
    return r.out;
}

static uint32_t kept_ttl(struct dns_cache *c, const struct dns_query *q, int64_t at, enum dns_cache_state want)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    assert_int_equal(dns_cache_get(c, q, (struct mono){SECONDS(at)}, &b), want);
    if (want == CACHE_MISS)
        return 0;
    assert_int_equal(dns_get16(b.p), q->id);
    return dns_get32(b.p + DNS_HEADER + q->question.n + 6);
}

static void answers_are_kept_as_long_as_they_may(void **state UNUSED)
{
    struct dns_cache_options o = CACHE_DEFAULTS;
    o.zones = all_zones;
    o.n_zones = 1;
    o.success_max = 30;
    o.stale = SECONDS(60);
    o.prefetch = 2;
    struct dns_cache *c = dns_cache_new(&o);
    struct buf question CLEANUP_BUF = BUF_INIT, no_question CLEANUP_BUF = BUF_INIT;
    struct dns_query q, no;
    make_question("a.test", DNS_A, false, &question);
    make_question("no.test", DNS_A, false, &no_question);
    dns_parse(buf_str(&question), &q);
    dns_parse(buf_str(&no_question), &no);
    struct buf yes_answer CLEANUP_BUF = answer_for(&q, 100, DNS_NOERROR), no_answer CLEANUP_BUF = answer_for(&no, 10, DNS_NXDOMAIN);
    kept_ttl(c, &q, 1000, CACHE_MISS);
    dns_cache_put(c, &q, buf_str(&yes_answer), (struct mono){SECONDS(1000)});
    dns_cache_put(c, &no, buf_str(&no_answer), (struct mono){SECONDS(1000)});
    assert_int_equal(kept_ttl(c, &q, 1000, CACHE_FRESH), 100);
    assert_int_equal(kept_ttl(c, &q, 1010, CACHE_FRESH), 90);
    assert_int_equal(kept_ttl(c, &q, 1028, CACHE_PREFETCH), 72); /* often asked, near its end */
    assert_int_equal(kept_ttl(c, &q, 1031, CACHE_STALE), 69);
    kept_ttl(c, &q, 1091, CACHE_MISS);
    kept_ttl(c, &no, 1009, CACHE_FRESH); /* as long as its SOA says (RFC 2308) */
    kept_ttl(c, &no, 1011, CACHE_STALE);
    struct dns_cache_figures f;
    dns_cache_figures(c, &f);
    assert_int_equal(f.misses, 2);
    assert_int_equal(f.prefetches, 1);
    assert_int_equal(f.entries_success, 1);
    assert_int_equal(f.entries_denial, 1);
    dns_cache_free(c);
}

static void a_cache_is_bounded(void **state UNUSED)
{
    struct dns_cache_options o = CACHE_DEFAULTS;
    o.zones = all_zones;
    o.n_zones = 1;
    o.success_size = 64;
    struct dns_cache *c = dns_cache_new(&o);
    for (int i = 0; i < 2000; i++) {
        struct buf question CLEANUP_BUF = BUF_INIT;
        struct dns_query q;
        char name[32];
        snprintf(name, sizeof(name), "n%d.test", i);
        make_question(name, DNS_A, false, &question);
        dns_parse(buf_str(&question), &q);
        struct buf answer CLEANUP_BUF = answer_for(&q, 100, DNS_NOERROR);
        dns_cache_put(c, &q, buf_str(&answer), (struct mono){SECONDS(1)});
    }
    struct dns_cache_figures f;
    dns_cache_figures(c, &f);
    assert_true(f.entries_success <= 64);
    assert_int_equal(f.evictions, 2000 - f.entries_success);
    dns_cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_and_fallthrough),
        cmocka_unit_test(templates_answer),
        cmocka_unit_test(questions_are_rewritten_and_answers_back),
        cmocka_unit_test(rules_are_undone_backwards),
        cmocka_unit_test(targets_are_changed),
        cmocka_unit_test(addresses_are_made_of_four),
        cmocka_unit_test(options_are_set),
        cmocka_unit_test(search_lists_are_gone_through),
        cmocka_unit_test(search_lists_of_pods),
        cmocka_unit_test(many_names_of_one_address),
        cmocka_unit_test(small_ones),
        cmocka_unit_test(who_may_ask),
        cmocka_unit_test(nothing_of_a_half_filled_zone),
        cmocka_unit_test(answers_are_kept_as_long_as_they_may),
        cmocka_unit_test(a_cache_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
