/* SPDX-License-Identifier: Apache-2.0 */
#include "asking.h"

static void questions_are_read(void **state UNUSED)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct dns_query q;
    make_question("WWW.Example.COM", DNS_AAAA, true, &b);
    assert_int_equal(dns_parse(buf_str(&b), &q), 0);
    assert_string_equal(q.name, "www.example.com");
    assert_int_equal(q.type, DNS_AAAA);
    assert_int_equal(q.id, 0x1234);
    assert_true(q.edns && q.recursion_desired && !q.dnssec_ok);
    assert_int_equal(q.udp_size, 1232);
}

static void broken_questions_are_refused(void **state UNUSED)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct dns_query q;
    make_question("www.example.com", DNS_A, true, &b);
    for (size_t n = 0; n < b.n; n++)
        assert_int_not_equal(dns_parse(str_n(b.p, n), &q), 0);
    b.p[12] = (char)0xc0; /* a pointer in the question */
    assert_int_equal(dns_parse(buf_str(&b), &q), DNS_FORMERR);
    b.p[2] = (char)0x80; /* a response is never answered */
    assert_int_equal(dns_parse(buf_str(&b), &q), -EBADMSG);
    b.p[2] = 0x28;
    assert_int_equal(dns_parse(buf_str(&b), &q), DNS_NOTIMP);
}

static void replies_are_cut_with_tc(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct dns_query q;
    struct dns_reply r = {0};
    make_question("many.example.com", DNS_A, false, &b);
    dns_parse(buf_str(&b), &q);
    dns_reply_start(&r, &q, 512);
    for (uint8_t i = 0; i < 100; i++)
        dns_put_a(&r, DNS_ANSWER, NULL, 5, (uint8_t[]){10, 0, 0, i});
    dns_reply_end(&r, DNS_NOERROR, true);
    assert_true(r.out.n <= 512);
    assert_true(r.out.p[2] & 2);
    assert_int_equal(dns_get16(r.out.p + 6), (512 - 34) / 16);
    assert_true(str_starts(print_reply(&a, buf_str(&r.out)), STR("0 aa tc | many.example.com A 10.0.0.0;")));
    dns_reply_done(&r);
}

static bool sum_ttls(void *arg, const struct dns_record *r)
{
    *(uint32_t *)arg += r->ttl;
    return true;
}

static void ttls_are_found(void **state UNUSED)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct dns_query q;
    struct dns_reply r = {0};
    unsigned sum = 0;
    make_question("x.example.com", DNS_A, true, &b);
    dns_parse(buf_str(&b), &q);
    dns_reply_start(&r, &q, 512);
    dns_put_name(&r, DNS_ANSWER, NULL, DNS_CNAME, 100, "y.example.com");
    dns_put_a(&r, DNS_ANSWER, "y.example.com", 20, (uint8_t[]){1, 2, 3, 4});
    dns_put_soa(&r, DNS_AUTHORITY, "example.com", 3, 3, 1);
    dns_reply_end(&r, DNS_NOERROR, false);
    assert_true(dns_each_record(buf_str(&r.out), sum_ttls, &sum));
    assert_int_equal(sum, 123);
    assert_false(dns_each_record(str_n(r.out.p, r.out.n - 12), sum_ttls, &sum));
    dns_reply_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions_are_read),
        cmocka_unit_test(broken_questions_are_refused),
        cmocka_unit_test(replies_are_cut_with_tc),
        cmocka_unit_test(ttls_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
