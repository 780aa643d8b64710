/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tz.h"

#include <stdlib.h>

#include "base/os.h"
#include "../testing.h"

static struct wall at(const char *text)
{
    struct wall t = {0};
    assert_int_equal(time_parse(str_of(text), &t), 0);
    return t;
}

static int64_t seconds(const char *text)
{
    return at(text).ns / NSEC_PER_SEC;
}

static void rules_say_the_offset(void **state)
{
    static const struct {
        const char *rule, *when;
        int64_t minutes;
    } cases[] = {
        {"UTC0", "2024-06-01T00:00:00Z", 0},
        {"IST-5:30", "2024-06-01T00:00:00Z", 330},
        {"<-0930>9:30", "2024-06-01T00:00:00Z", -570},
        {"CET-1CEST,M3.5.0,M10.5.0/3", "2024-03-31T00:59:59Z", 60},
        {"CET-1CEST,M3.5.0,M10.5.0/3", "2024-03-31T01:00:00Z", 120},
        {"CET-1CEST,M3.5.0,M10.5.0/3", "2024-10-27T00:59:59Z", 120},
        {"CET-1CEST,M3.5.0,M10.5.0/3", "2024-10-27T01:00:00Z", 60},
        {"EST5EDT,M3.2.0,M11.1.0", "2024-03-10T06:59:59Z", -300},
        {"EST5EDT,M3.2.0,M11.1.0", "2024-03-10T07:00:00Z", -240},
        {"AEST-10AEDT,M10.1.0,M4.1.0/3", "2024-01-01T00:00:00Z", 660},
        {"AEST-10AEDT,M10.1.0,M4.1.0/3", "2024-07-01T00:00:00Z", 600},
        {"AEST-10AEDT,M10.1.0,M4.1.0/3", "2024-12-31T23:59:59Z", 660},
        {"IST-1GMT0,M10.5.0,M3.5.0/1", "2024-01-01T00:00:00Z", 0}, /* Dublin: winter is the exception */
        {"IST-1GMT0,M10.5.0,M3.5.0/1", "2024-07-01T00:00:00Z", 60},
        {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2024-03-31T00:59:59Z", -120}, /* an hour before Sunday begins */
        {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2024-03-31T01:00:00Z", -60},
        {"AAA3BBB,J60/0,J300/0", "2024-03-01T02:59:59Z", -180}, /* J60 is 1 March, leap year or not */
        {"AAA3BBB,J60/0,J300/0", "2024-03-01T03:00:00Z", -120},
        {"AAA3BBB,59/0,300/0", "2024-02-29T03:00:00Z", -120}, /* 59 is the 60th day */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct tz *z = NULL;
        assert_int_equal(tz_parse_rule(str_of(cases[i].rule), &z), 0);
        int64_t got = tz_at(z, seconds(cases[i].when)).offset;
        if (got != cases[i].minutes * 60)
            fail_msg("%s at %s: %lld", cases[i].rule, cases[i].when, (long long)got);
        tz_free(z);
    }
}

static void a_span_ends_where_the_next_begins(void **state)
{
    struct tz *z = NULL;
    assert_int_equal(tz_parse_rule(STR("CET-1CEST,M3.5.0,M10.5.0/3"), &z), 0);
    struct tz_span s = tz_at(z, seconds("2024-07-01T00:00:00Z"));
    assert_int_equal(s.from, seconds("2024-03-31T01:00:00Z"));
    assert_int_equal(s.until, seconds("2024-10-27T01:00:00Z"));
    tz_free(z);
}

static void rules_that_are_none_are_refused(void **state)
{
    static const char *const bad[] = {"",         "CE-1",           "CET",       "CET-1CEST",    "CET-1CEST,M3.5.0",
                                      "CET-1x",   "CET-200",        "<+01-1",    "CET-1CEST,M13.1.0,M10.5.0",
                                      "CET-1CEST,M3.6.0,M10.5.0", "CET-1CEST,M3.5.0,M10.5.0/3x", "CET-99999999"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct tz *z = NULL;
        if (tz_parse_rule(str_of(bad[i]), &z) != -EINVAL)
            fail_msg("%s was taken", bad[i]);
    }
}

static void civil_time_and_back(void **state)
{
    struct tz *z = NULL;
    assert_int_equal(tz_parse_rule(STR("EST5EDT,M3.2.0,M11.1.0"), &z), 0);
    struct civil c = tz_civil(z, seconds("2024-03-01T04:05:06Z"));
    assert_int_equal(c.year, 2024);
    assert_int_equal(c.month, 2);
    assert_int_equal(c.day, 29);
    assert_int_equal(c.hour, 23);
    assert_int_equal(c.minute, 5);
    assert_int_equal(c.second, 6);
    assert_int_equal(c.weekday, 4);
    assert_int_equal(tz_seconds(z, c), seconds("2024-03-01T04:05:06Z"));
    c.day += 2; /* carries over */
    assert_int_equal(tz_seconds(z, c), seconds("2024-03-03T04:05:06Z"));
    assert_int_equal(tz_seconds(z, (struct civil){.year = 2023, .month = 13, .day = 1}), seconds("2024-01-01T05:00:00Z"));
    /* twice: the first (of zones in the west); skipped: as far before the jump */
    assert_int_equal(tz_seconds(z, (struct civil){.year = 2024, .month = 11, .day = 3, .hour = 1, .minute = 30}),
                     seconds("2024-11-03T05:30:00Z"));
    assert_int_equal(tz_seconds(z, (struct civil){.year = 2024, .month = 3, .day = 10, .hour = 2, .minute = 30}),
                     seconds("2024-03-10T06:30:00Z"));
    assert_int_equal(tz_civil(NULL, -1).second, 59);
    assert_int_equal(tz_civil(NULL, -1).year, 1969);
    tz_free(z);
}

static void formats_with_the_offset(void **state)
{
    char buf[TIME_TEXT_MAX];
    struct tz *z = NULL;
    assert_int_equal(tz_parse_rule(STR("<-0930>9:30"), &z), 0);
    assert_string_equal(tz_format(z, at("2024-01-01T00:00:00Z"), buf), "2023-12-31T14:30:00-09:30");
    assert_string_equal(tz_format(NULL, at("2024-01-01T00:00:00Z"), buf), "2024-01-01T00:00:00Z");
    tz_free(z);
}

/* A file of two transitions, both forms, and a rule. */
static size_t make_file(char *p)
{
    static const char v1[] = "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\1"
                             "\0\0\0\0\0\0\0";
    static const char v2[] = "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2\0\0\0\2\0\0\0\4"
                             "\0\0\0\0\0\0\3\xe8\0\0\0\0\0\0\x07\xd0\1\0" /* at 1000 and 2000: types 1, 0 */
                             "\0\0\x0e\x10\0\0\xff\xff\xf1\xf0\1\0AAA\0";  /* +3600, -3600 */
    size_t n = 0;
    memcpy(p, v1, sizeof(v1) - 1);
    n += sizeof(v1) - 1;
    memcpy(p + n, v2, sizeof(v2) - 1);
    n += sizeof(v2) - 1;
    memcpy(p + n, "\nAAA-2\n", 7);
    return n + 7;
}

static void reads_files(void **state)
{
    char file[512];
    size_t n = make_file(file);
    struct tz *z = NULL;
    assert_int_equal(tz_parse(str_n(file, n), &z), 0);
    assert_int_equal(tz_at(z, 0).offset, 3600);
    assert_int_equal(tz_at(z, 1000).offset, -3600);
    assert_int_equal(tz_at(z, 1999).until, 2000);
    assert_int_equal(tz_at(z, 2000).offset, 7200); /* the rule has the last word */
    assert_int_equal(tz_at(z, 2000).from, 2000);
    tz_free(z);
    for (size_t cut = 0; cut < n - 7; cut++) {
        z = NULL;
        if (tz_parse(str_n(file, cut), &z) != -EINVAL)
            fail_msg("%zu bytes were taken", cut);
    }
}

static void finds_zones(void **state)
{
    static const char *const good[] = {"UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "Asia/Kolkata"};
    static const char *const bad[] = {"", "Europe", "Europe/", "europe/nowhere", "../etc/passwd", "/etc/localtime",
                                      "Mars/Olympus", "tzdata.zi", "zone.tab", "Europe/Berlin "};
    struct tz *z = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        if (tz_load(str_of(good[i]), &z) != 0)
            fail_msg("%s was not found", good[i]);
        z = tz_free(z);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (tz_load(str_of(bad[i]), &z) == 0)
            fail_msg("%s was found", bad[i]);
    assert_int_equal(tz_load(STR("Asia/Kathmandu"), &z), 0);
    assert_int_equal(tz_at(z, seconds("2024-01-01T00:00:00Z")).offset, 20700);
    tz_free(z);
}

/* What is built in agrees with what the machine knows, years ahead. */
static void built_in_rules_can_be_read(void **state)
{
    for (size_t i = 0; i < n_tz_rules; i++) {
        struct tz *z = NULL;
        if (tz_parse_rule(str_of(tz_rules[i].rule), &z) != 0)
            fail_msg("%s", tz_rules[i].rule);
        tz_free(z);
    }
}

static void the_machine_has_a_zone(void **state)
{
    setenv("TZ", "Asia/Kolkata", 1);
    struct tz *z = tz_local();
    assert_int_equal(tz_at(z, 1700000000).offset, 19800);
    tz_free(z);
    setenv("TZ", "Nowhere/At_All", 1);
    assert_null(tz_local());
    unsetenv("TZ");
    tz_free(tz_local());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_say_the_offset),
        cmocka_unit_test(a_span_ends_where_the_next_begins),
        cmocka_unit_test(rules_that_are_none_are_refused),
        cmocka_unit_test(civil_time_and_back),
        cmocka_unit_test(formats_with_the_offset),
        cmocka_unit_test(reads_files),
        cmocka_unit_test(finds_zones),
        cmocka_unit_test(built_in_rules_can_be_read),
        cmocka_unit_test(the_machine_has_a_zone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
