/* SPDX-License-Identifier: Apache-2.0 */
/* Questions through a Corefile's plug-ins: who answers what, and how it is changed on its way; and the cache by itself. */
#include "asking.h"

#include <stdio.h>

#include "dns/chain.h"
#include "dns/rewrite.h"

static struct config *config_of(const char *text)
{
    struct config *c = NULL;
    struct err e = {0};
    struct config_world w = {0};
    if (config_parse("Corefile", str_of(text), &w, &c, &e) < 0)
        fail_msg("%s", e.text);
    return c;
}

static struct str ask(struct chain *c, struct arena *a, const char *name, uint16_t type, const char *peer, bool may_wait)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct dns_query q;
    struct dns_reply reply = {0};
    make_question(name, type, false, &b);
    assert_int_equal(dns_parse(buf_str(&b), &q), 0);
    struct chain_ask ask = {.q = &q, .port = 53, .peer = peer, .may_wait = may_wait, .limit = 512};
    int r = chain_answer(c, &ask, &reply);
    struct str text = r == CHAIN_WAIT ? STR("waits") : r == CHAIN_DROP ? STR("dropped") : print_reply(a, buf_str(&reply.out));
    dns_reply_done(&reply);
    return text;
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
        cmocka_unit_test(small_ones),
        cmocka_unit_test(who_may_ask),
        cmocka_unit_test(nothing_of_a_half_filled_zone),
        cmocka_unit_test(answers_are_kept_as_long_as_they_may),
        cmocka_unit_test(a_cache_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
