/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and ranges: texts and arithmetic, as tables. */
#include "../testing.h"

#include "netlink/prefix.h"

static void texts(void **state UNUSED)
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
    assert_false(ip_parse(STR("10.0.0.1\0x"), &ip));
    static const char *const bad_ranges[] = {"10.0.0.0",   "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/",
                                             "fd00::/129", "/8",          "10.0.0.0/8x"};
    for (size_t i = 0; i < ARRAY_SIZE(bad_ranges); i++)
        assert_false(prefix_parse(str_of(bad_ranges[i]), &p));
    /* Bits beyond the prefix do not count, unless it is an address. */
    char text[IP_TEXT_MAX];
    assert_true(prefix_parse(STR("10.244.7.9/21"), &p) && prefix_parse(STR("10.244.0.0/21"), &q));
    assert_memory_equal(&p, &q, sizeof(p));
    assert_true(prefix_parse_address(STR("10.244.7.9/21"), &p));
    assert_string_equal(prefix_format(&p, text), "10.244.7.9/21");
}

static void containing(void **state UNUSED)
{
    static const struct {
        const char *outer, *inner;
        bool contains, overlaps;
    } cases[] = {
        {"10.244.0.0/16", "10.244.3.0/24", true, true},  {"10.244.0.0/16", "10.244.0.0/16", true, true},
        {"10.244.0.0/16", "10.245.0.0/24", false, false}, {"10.244.0.0/16", "10.0.0.0/8", false, true},
        {"0.0.0.0/0", "10.244.3.0/24", true, true},      {"fd00::/48", "fd00:0:0:1::/64", true, true},
        {"fd00::/48", "fd00:0:1::/64", false, false},     {"0.0.0.0/0", "fd00::/64", false, false},
        {"10.244.0.0/20", "10.244.15.0/24", true, true}, {"10.244.0.0/20", "10.244.16.0/24", false, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct prefix p, q;
        assert_true(prefix_parse(str_of(cases[i].outer), &p) && prefix_parse(str_of(cases[i].inner), &q));
        assert_int_equal(prefix_contains(&p, &q), cases[i].contains);
        assert_int_equal(prefix_overlaps(&p, &q), cases[i].overlaps);
        assert_int_equal(prefix_overlaps(&q, &p), cases[i].overlaps);
    }
}

static void lists(void **state UNUSED)
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

static void arithmetic(void **state UNUSED)
{
    static const struct {
        const char *from;
        uint64_t n;
        const char *want;
    } cases[] = {
        {"10.0.0.1", 1, "10.0.0.2"},     {"10.0.0.255", 1, "10.0.1.0"},  {"10.0.0.0", 70000, "10.1.17.112"},
        {"255.255.255.255", 1, NULL},    {"0.0.0.0", 1ull << 32, NULL},  {"fd00::ffff", 1, "fd00::1:0"},
        {"fd00::ffff:ffff:ffff:ffff", 1, "fd00:0:0:1::"}, {"10.0.0.9", 0, "10.0.0.9"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1, NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct ip ip, out;
        char text[IP_TEXT_MAX];
        assert_true(ip_parse(str_of(cases[i].from), &ip));
        assert_int_equal(ip_add(&ip, cases[i].n, &out), cases[i].want != NULL);
        if (cases[i].want)
            assert_string_equal(ip_format(&out, text), cases[i].want);
    }
    struct prefix p;
    char text[IP_TEXT_MAX];
    assert_true(prefix_parse_address(STR("10.1.2.3/22"), &p));
    struct ip first = prefix_network(&p), end = prefix_last(&p);
    assert_string_equal(ip_format(&first, text), "10.1.0.0");
    assert_string_equal(ip_format(&end, text), "10.1.3.255");
}

static void hardware_addresses(void **state UNUSED)
{
    uint8_t mac[6] = {0};
    char text[MAC_TEXT_MAX];
    assert_true(mac_parse(STR("0a:58:0A:f4:01:02"), mac));
    assert_string_equal(mac_format(mac, text), "0a:58:0a:f4:01:02");
    static const char *const bad[] = {"", "0a:58:0a:f4:01", "0a:58:0a:f4:01:0", "0a-58-0a-f4-01-02", "0a:58:0a:f4:01:0g",
                                      "0a:58:0a:f4:01:02:03"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(mac_parse(str_of(bad[i]), mac));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),      cmocka_unit_test(containing),         cmocka_unit_test(lists),
        cmocka_unit_test(arithmetic), cmocka_unit_test(hardware_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
