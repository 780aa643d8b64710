/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

#include "cli/tab.h"

static void check(const char *text, struct tab_style style, const char *want)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    tab_align(&b, str_of(text), style, NULL);
    assert_str(buf_str(&b), want);
}

static void test_table(void **state)
{
    (void)state;
    check("NAME\tREADY\tAGE\nweb\t1/1\t5m\n", TAB_TABLE, "NAME   READY   AGE\nweb    1/1     5m\n");
    check("A\tB\nlonger-than-six\tx\n", TAB_TABLE, "A                 B\nlonger-than-six   x\n");
}

static void test_describe(void **state)
{
    (void)state;
    check("Name:\tweb\nNamespace:\tdefault\n", TAB_DESCRIBE, "Name:       web\nNamespace:  default\n");
    /* A line without the cell ends the column. */
    check("a:\tx\nplain\nlonger:\ty\n", TAB_DESCRIBE, "a:  x\nplain\nlonger:  y\n");
}

static void test_characters(void **state)
{
    (void)state;
    assert_int_equal(text_width(STR("abc")), 3);
    assert_int_equal(text_width(STR("\xc3\xa4\xe2\x82\xac")), 2);
    check("\xc3\xa4\xc3\xb6:\tx\nabc:\ty\n", TAB_DESCRIBE, "\xc3\xa4\xc3\xb6:   x\nabc:  y\n");
}

static void test_remembered(void **state)
{
    struct tab_widths w = {0};
    struct buf b CLEANUP_BUF = BUF_INIT;
    (void)state;
    tab_align(&b, STR("a-long-first-cell\tx\n"), TAB_TABLE, &w);
    b.n = 0;
    tab_align(&b, STR("a\tx\n"), TAB_TABLE, &w);
    assert_str(buf_str(&b), "a                   x\n");
    tab_widths_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_describe),
                                       cmocka_unit_test(test_characters), cmocka_unit_test(test_remembered)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
