/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

static void compares_and_searches(void **state UNUSED)
{
    assert_true(str_cmp(STR("a"), STR("ab")) < 0);
    assert_true(str_cmp(STR("b"), STR("ab")) > 0);
    assert_int_equal(str_cmp(STR(""), STR_NULL), 0);
    assert_true(str_starts(STR("abc"), STR("ab")) && !str_starts(STR("a"), STR("ab")));
    assert_true(str_ends(STR("abc"), STR("bc")) && !str_ends(STR("c"), STR("bc")));
    assert_true(str_contains(STR("abc"), STR("b")) && !str_contains(STR("abc"), STR("d")));
    assert_int_equal(str_find(STR("a.b.c"), '.'), 1);
    assert_int_equal(str_rfind(STR("a.b.c"), '.'), 3);
    assert_str(str_trim(STR(" \t x y \n")), "x y");
    assert_str(str_slice(STR("abcdef"), 4, 10), "ef");
}

static void splits(void **state UNUSED)
{
    struct str head, tail, rest = STR("a,,b"), f;
    assert_true(str_cut(STR("k=v=w"), '=', &head, &tail));
    assert_str(head, "k");
    assert_str(tail, "v=w");
    assert_false(str_cut(STR("k"), '=', &head, &tail));
    assert_str(tail, "");
    const char *want[] = {"a", "", "b"};
    int n = 0;
    while (str_next(&rest, ',', &f))
        assert_str(f, want[n++]);
    assert_int_equal(n, 3);
}

static void numbers_are_exact(void **state UNUSED)
{
    int64_t i;
    uint64_t u;
    assert_int_equal(str_to_i64(STR("-9223372036854775808"), &i), 0);
    assert_true(i == INT64_MIN);
    assert_int_equal(str_to_i64(STR("9223372036854775808"), &i), -ERANGE);
    assert_int_equal(str_to_u64(STR("18446744073709551615"), &u), 0);
    assert_int_equal(str_to_u64(STR("18446744073709551616"), &u), -ERANGE);
    assert_int_equal(str_to_i64(STR(""), &i), -EINVAL);
    assert_int_equal(str_to_i64(STR("-"), &i), -EINVAL);
    assert_int_equal(str_to_i64(STR("1x"), &i), -EINVAL);
}

static void buffers_grow(void **state UNUSED)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "%d,", i);
    buf_printf(&b, "%0300d", 1);
    assert_int_equal(b.n, 3890 + 300);
    assert_int_equal(b.p[b.n], 0);
    buf_consume(&b, 3890);
    assert_int_equal(b.n, 300);
    assert_int_equal(b.p[299], '1');
}

static void errors_are_sentences(void **state UNUSED)
{
    struct err e = {0};
    assert_int_equal(err_set(&e, -EINVAL, "field %s: bad", "x"), -EINVAL);
    err_wrap(&e, -EINVAL, "file %s", "f");
    assert_string_equal(err_text(&e, -EINVAL), "file f: field x: bad");
    struct err none = {0};
    assert_string_equal(err_text(&none, -ENOENT), strerror(ENOENT));
    err_set(&e, -EINVAL, "%01000d", 0);
    assert_string_equal(e.text + sizeof(e.text) - 4, "...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares_and_searches), cmocka_unit_test(splits),         cmocka_unit_test(numbers_are_exact),
        cmocka_unit_test(buffers_grow),          cmocka_unit_test(errors_are_sentences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
