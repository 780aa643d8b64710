/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

#include "wire/quantity.h"

/* Text, what the API gives back, whole units and thousandths rounded up: as resource.Quantity has them. */
static const struct {
    const char *text, *canonical;
    int64_t units, milli;
} quantities[] = {
    {"0", "0", 0, 0},
    {"00", "0", 0, 0},
    {"0Ki", "0", 0, 0},
    {"1", "1", 1, 1000},
    {"100m", "100m", 1, 100},
    {"1000m", "1", 1, 1000},
    {"1500m", "1500m", 2, 1500},
    {"0.5", "500m", 1, 500},
    {".5", "500m", 1, 500},
    {"1.5", "1500m", 2, 1500},
    {"1.500", "1.500", 2, 1500}, /* upstream keeps what needs no shift of the point */
    {"2.50", "2500m", 3, 2500},
    {"+5", "+5", 5, 5000},
    {"-1", "-1", -1, -1000},
    {"0.1n", "1n", 1, 1},
    {"1.0000000001", "1000000001n", 2, 1001},
    {"1Ki", "1Ki", 1024, 1024000},
    {"512Ki", "512Ki", 524288, 524288000},
    {"1024Ki", "1Mi", 1048576, 1048576000},
    {"1536Mi", "1536Mi", 1610612736, 1610612736000},
    {"1.5Gi", "1536Mi", 1610612736, 1610612736000},
    {"0.5Mi", "512Ki", 524288, 524288000},
    {"0.0001Ki", "102400u", 1, 103},
    {"1000Ki", "1000Ki", 1024000, 1024000000},
    {"8Ei", "9223372036854775807", INT64_MAX, INT64_MAX},
    {"1k", "1k", 1000, 1000000},
    {"1000k", "1M", 1000000, 1000000000},
    {"1e3", "1e3", 1000, 1000000},
    {"1E3", "1E3", 1000, 1000000},
    {"1e+3", "1e+3", 1000, 1000000},
    {"12e2", "1200", 1200, 1200000},
    {"1e-3", "1e-3", 1, 1},
    {"1E", "1E", 1000000000000000000, INT64_MAX},
    {"1234567890123456789", "1234567890123456789", 1234567890123456789, INT64_MAX},
};

static void text_becomes_canonical(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(quantities); i++) {
        char text[QUANTITY_TEXT_MAX];
        struct str canonical;
        struct quantity q, again;
        struct err e;
        assert_int_equal(quantity_canonical(str_of(quantities[i].text), text, &canonical, &e), 0);
        assert_str(canonical, quantities[i].canonical);
        assert_int_equal(quantity_parse(str_of(quantities[i].text), &q, &e), 0);
        assert_true(quantity_units(q) == quantities[i].units);
        assert_true(quantity_milli(q) == quantities[i].milli);
        assert_int_equal(quantity_parse(str_of(quantity_text(q, text)), &again, &e), 0);
        assert_int_equal(quantity_cmp(q, again), 0);
    }
}

static void nonsense_is_refused_in_upstreams_words(void **state UNUSED)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"", "quantities must match"},
        {"1.2.3", "quantities must match"},
        {"1 ", "quantities must match"},
        {"x", "quantities must match"},
        {"1_0", "quantities must match"},
        {"1Ki1", "unable to parse quantity's suffix"},
        {"1K", "unable to parse quantity's suffix"},
        {"1ki", "unable to parse quantity's suffix"},
        {"1e", "unable to parse quantity's suffix"},
        {"1mm", "unable to parse quantity's suffix"},
    };
    struct quantity q = {.nano = 5};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err e = {0};
        assert_int_equal(quantity_parse(str_of(cases[i].text), &q, &e), -EINVAL);
        assert_true(str_starts(str_of(e.text), str_of(cases[i].error)));
    }
    assert_int_equal(quantity_parse(STR("1e30"), &q, NULL), -ERANGE);
    assert_int_equal(quantity_parse(STR("1e2147483648"), &q, NULL), -EINVAL);
    assert_int_equal(quantity_parse(STR("0e2147483647"), &q, NULL), 0);
    assert_true(quantity_is_zero(q));
    assert_true(quantity_is_zero(quantity_or_zero(STR("x"))));
}

static void arithmetic_keeps_the_format(void **state UNUSED)
{
    char text[QUANTITY_TEXT_MAX];
    struct quantity zero = quantity_or_zero(STR("0")), mi = quantity_or_zero(STR("512Mi")),
                    m = quantity_or_zero(STR("250m"));
    assert_string_equal(quantity_text(quantity_add(mi, mi), text), "1Gi");
    assert_string_equal(quantity_text(quantity_add(zero, mi), text), "512Mi");
    assert_string_equal(quantity_text(quantity_sub(m, quantity_of_milli(1250, QUANTITY_DECIMAL_SI)), text),
                        "-1");
    assert_string_equal(quantity_text(quantity_sub(mi, m), text), "536870911750m");
    assert_string_equal(quantity_text(quantity_of(1023, QUANTITY_BINARY_SI), text), "1023");
    assert_string_equal(quantity_text(quantity_of(-2048, QUANTITY_BINARY_SI), text), "-2Ki");
    assert_string_equal(quantity_text(quantity_of(12000, QUANTITY_DECIMAL_EXPONENT), text), "12e3");
    assert_true(quantity_float(m) == 0.25);
    assert_true(quantity_cmp(m, mi) < 0 && quantity_cmp(mi, m) > 0);
    struct quantity huge = {.nano = (__int128)(~(unsigned __int128)0 >> 1)};
    assert_int_equal(quantity_cmp(quantity_add(huge, mi), huge), 0); /* cut, not wrapped */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_becomes_canonical),
        cmocka_unit_test(nonsense_is_refused_in_upstreams_words),
        cmocka_unit_test(arithmetic_keeps_the_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
