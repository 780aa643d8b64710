/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

#include "base/map.h"

#include <stdio.h>

static struct str key_of(int i, char buf[static 32])
{
    return str_n(buf, (size_t)snprintf(buf, 32, "key-%d", i));
}

static void keeps_what_is_put(void **state UNUSED)
{
    struct map m = MAP_INIT;
    char b[32];
    for (intptr_t i = 1; i <= 5000; i++)
        assert_null(map_put(&m, key_of((int)i, b), (void *)i));
    assert_int_equal(m.n, 5000);
    for (intptr_t i = 1; i <= 5000; i += 2)
        assert_ptr_equal(map_del(&m, key_of((int)i, b)), (void *)i);
    for (intptr_t i = 1; i <= 5000; i++)
        assert_ptr_equal(map_get(&m, key_of((int)i, b)), i % 2 ? NULL : (void *)i);
    assert_ptr_equal(map_put(&m, STR("key-2"), (void *)7), (void *)2);
    assert_int_equal(m.n, 2500);
    map_done(&m);
}

static void iterates_in_order_of_insertion(void **state UNUSED)
{
    struct map m = MAP_INIT;
    char b[32];
    for (intptr_t i = 100; i > 0; i--)
        map_put(&m, key_of((int)i, b), (void *)i);
    map_del(&m, STR("key-50"));
    intptr_t last = 101, n = 0;
    MAP_EACH(&m, e)
    {
        assert_true((intptr_t)e->value < last);
        last = (intptr_t)e->value;
        n++;
        map_del(&m, str_n(key_of((int)last, b).p, key_of((int)last, b).n));
    }
    assert_int_equal(n, 99);
    assert_int_equal(m.n, 0);
    map_done(&m);
}

static void churn_does_not_grow_it(void **state UNUSED)
{
    struct map m = MAP_INIT;
    char b[32];
    map_put(&m, STR("stays"), &m);
    for (int i = 0; i < 100000; i++) {
        map_put(&m, key_of(i, b), &m);
        map_del(&m, key_of(i, b));
    }
    assert_true(m.cap <= 64);
    map_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_is_put),
        cmocka_unit_test(iterates_in_order_of_insertion),
        cmocka_unit_test(churn_does_not_grow_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
