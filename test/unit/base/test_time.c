/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

static void formats_and_parses(void **state UNUSED)
{
    static const struct {
        const char *text;
        int64_t ns;
        const char *nano;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z"},
        {"2023-11-14T22:13:20Z", SECONDS(1700000000), "2023-11-14T22:13:20Z"},
        {"2023-11-14T22:13:20.5Z", SECONDS(1700000000) + 500000000, "2023-11-14T22:13:20.5Z"},
        {"2023-11-15T00:13:20.000000001+02:00", SECONDS(1700000000) + 1, "2023-11-14T22:13:20.000000001Z"},
        {"1969-12-31T23:59:59.25Z", -750000000, "1969-12-31T23:59:59.25Z"},
        {"2024-02-29T00:00:00Z", SECONDS(1709164800), "2024-02-29T00:00:00Z"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct wall t;
        char b[TIME_TEXT_MAX];
        assert_int_equal(time_parse(str_of(cases[i].text), &t), 0);
        assert_true(t.ns == cases[i].ns);
        assert_string_equal(time_format_nano(t, b), cases[i].nano);
    }
    char b[TIME_TEXT_MAX];
    assert_string_equal(time_format_micro((struct wall){1500}, b), "1970-01-01T00:00:00.000001Z");
}

static void refuses_what_is_no_time(void **state UNUSED)
{
    static const char *bad[] = {"",
                                "2023-11-14",
                                "2023-11-14T22:13:20",
                                "2023-13-14T22:13:20Z",
                                "2023-02-29T00:00:00Z",
                                "2023-11-14T24:13:20Z",
                                "2023-11-14T22:13:20.Z",
                                "2023-11-14T22:13:20Zx",
                                "9999999-11-14T22:13:20Z"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct wall t;
        assert_int_equal(time_parse(str_of(bad[i]), &t), -EINVAL);
    }
}

static void durations_as_go_has_them(void **state UNUSED)
{
    static const struct {
        const char *text;
        int64_t ns;
        const char *out;
    } cases[] = {
        {"0", 0, "0s"},
        {"1h30m", SECONDS(5400), "1h30m0s"},
        {"1.5s", 1500 * NSEC_PER_MSEC, "1.5s"},
        {"-2m", -SECONDS(120), "-2m0s"},
        {"100ms", MILLISECONDS(100), "100ms"},
        {"1500us", 1500000, "1.5ms"},
        {"3ns", 3, "3ns"},
        {".5s", MILLISECONDS(500), "500ms"},
        {"2\xce\xbcs", 2000, "2\xc2\xb5s"}, /* the Greek letter beside the micro sign */
        {"-9223372036.854775808s", INT64_MIN, "-2562047h47m16.854775808s"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t ns;
        char b[TIME_TEXT_MAX];
        assert_int_equal(duration_parse(str_of(cases[i].text), &ns), 0);
        assert_true(ns == cases[i].ns);
        assert_string_equal(duration_format(ns, b), cases[i].out);
    }
    int64_t ns;
    assert_int_equal(duration_parse(STR(""), &ns), -EINVAL);
    assert_int_equal(duration_parse(STR("5"), &ns), -EINVAL);
    assert_int_equal(duration_parse(STR("5 s"), &ns), -EINVAL);
    assert_int_equal(duration_parse(STR("9999999999h"), &ns), -ERANGE);
    assert_int_equal(duration_parse(STR("9223372036.854775808s"), &ns), -ERANGE);
}

static void ages_as_kubectl_prints_them(void **state UNUSED)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {{5, "5s"},       {119, "119s"},       {120, "2m"},        {190, "3m10s"},   {600, "10m"},
                 {10799, "179m"}, {10800, "3h"},       {11400, "3h10m"},   {28800, "8h"},    {172800, "2d"},
                 {176400, "2d1h"}, {691200, "8d"}, {63072000, "2y"}, {252288000, "8y"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char b[TIME_TEXT_MAX];
        assert_string_equal(duration_human(SECONDS(cases[i].seconds), b), cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_and_parses),
        cmocka_unit_test(refuses_what_is_no_time),
        cmocka_unit_test(durations_as_go_has_them),
        cmocka_unit_test(ages_as_kubectl_prints_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
