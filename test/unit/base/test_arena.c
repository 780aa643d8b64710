/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

static void alloc_is_aligned_and_zero(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    for (size_t n = 0; n < 20000; n += 37) {
        arena_bytes(&a, 3);
        char *p = arena_alloc(&a, n);
        assert_int_equal((uintptr_t)p & 15, 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, n);
    }
}

static void text_is_terminated(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str s = arena_str(&a, str_n("hello world", 5));
    assert_int_equal(s.p[5], 0);
    struct str parts[] = {STR("a"), STR(""), STR("bc")};
    assert_str(arena_join(&a, parts, 3, STR("--")), "a----bc");
    struct str big = arena_printf(&a, "%0500d", 7);
    assert_int_equal(big.n, 500);
    assert_int_equal(big.p[499], '7');
}

static void reset_keeps_it_usable(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++)
            memset(arena_alloc(&a, 1000), round, 1000);
        arena_reset(&a);
        assert_true(a.total < 150000); /* one block of those it had */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alloc_is_aligned_and_zero),
        cmocka_unit_test(text_is_terminated),
        cmocka_unit_test(reset_keeps_it_usable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
