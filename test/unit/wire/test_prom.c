/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/prom.h"

#include "../testing.h"

static void test_samples(void **state)
{
    (void)state;
    struct str text = STR("# HELP a b\n# TYPE a counter\n"
                          "a 1\n"
                          "b{} 2.5 1700000000123\n"
                          "\n"
                          "c{x=\"1\",y=\"}\"} 1e+06\n"
                          "d{x=\"open} 4\n"
                          "{} 5\n"
                          "e five\n"
                          "f +Inf\n"
                          "g{x=\"1\"}7 8");
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct prom_sample s;
    assert_true(prom_next(&text, &s));
    assert_str(s.name, "a");
    assert_true(s.value == 1 && s.time_ms == 0);
    assert_true(prom_next(&text, &s));
    assert_str(s.name, "b");
    assert_true(s.value == 2.5 && s.time_ms == 1700000000123);
    assert_true(prom_next(&text, &s));
    assert_str(s.name, "c");
    assert_str(prom_label(&s, "y", &a), "}");
    assert_null(prom_label(&s, "z", &a).p);
    assert_true(s.value == 1e6);
    assert_true(prom_next(&text, &s));
    assert_str(s.name, "f");
    assert_true(prom_next(&text, &s));
    assert_str(s.name, "g");
    assert_true(s.value == 7 && s.time_ms == 8);
    assert_false(prom_next(&text, &s));
    assert_false(prom_next(&text, &s));
}

static void test_escapes(void **state)
{
    (void)state;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct prom_sample s;
    buf_puts(&b, "m{k=\"");
    prom_escape(&b, STR("a\"b\\c\nd"));
    buf_puts(&b, "\", l = \"2\"} 1");
    assert_string_equal(b.p, "m{k=\"a\\\"b\\\\c\\nd\", l = \"2\"} 1");
    struct str text = buf_str(&b);
    assert_true(prom_next(&text, &s));
    assert_str(prom_label(&s, "k", &a), "a\"b\\c\nd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
