/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/workq.h"

#include <stdio.h>

#include "testing.h"

static struct mono at(int64_t ms)
{
    return (struct mono){MILLISECONDS(ms)};
}

static void expect(struct workq *q, int64_t ms, const char *want, struct workq_item **ret)
{
    struct workq_item *item = workq_get(q, at(ms));
    if (!want) {
        assert_null(item);
        return;
    }
    assert_non_null(item);
    assert_string_equal(item->text, want);
    if (ret)
        *ret = item;
}

static void a_key_is_in_it_once(void **state)
{
    struct workq q;
    workq_init(&q, NULL);
    workq_add(&q, STR("a"));
    workq_add(&q, STR("b"));
    workq_add(&q, STR("a"));
    expect(&q, 0, "a", NULL);
    expect(&q, 0, "b", NULL);
    expect(&q, 0, NULL, NULL);
    workq_done(&q);
}

static void a_key_added_while_in_work_comes_again(void **state)
{
    struct workq q;
    struct workq_item *a;
    workq_init(&q, NULL);
    workq_add(&q, STR("a"));
    expect(&q, 0, "a", &a);
    workq_add(&q, STR("a"));
    expect(&q, 0, NULL, NULL); /* never in two hands */
    workq_finish(&q, a, true, at(0));
    expect(&q, 0, "a", &a);
    workq_finish(&q, a, true, at(0));
    expect(&q, 0, NULL, NULL);
    assert_int_equal(workq_len(&q), 0);
    workq_done(&q);
}

static void failures_wait_longer_each_time(void **state)
{
    struct workq q;
    struct workq_item *a;
    workq_init(&q, NULL);
    workq_add(&q, STR("a"));
    int64_t now = 0;
    for (int64_t wait = 5; wait <= 20; wait *= 2) {
        expect(&q, now, "a", &a);
        workq_finish(&q, a, false, at(now));
        assert_int_equal(workq_due(&q).ns, at(now + wait).ns);
        expect(&q, now + wait - 1, NULL, NULL);
        now += wait;
    }
    expect(&q, now, "a", &a);
    workq_finish(&q, a, true, at(now));
    assert_int_equal(workq_len(&q), 0); /* forgotten */
    assert_int_equal(workq_backoff(100), SECONDS(1000));
    q.backoff_max = MILLISECONDS(7);
    for (int i = 0; i < 5; i++) {
        workq_add(&q, STR("a"));
        expect(&q, now, "a", &a);
        workq_finish(&q, a, false, at(now));
        assert_int_equal(workq_due(&q).ns, at(now + (i ? 7 : 5)).ns);
        now += 7;
    }
    workq_done(&q);
}

static void of_two_times_the_soonest_wins(void **state)
{
    struct workq q;
    workq_init(&q, NULL);
    workq_add_at(&q, STR("a"), at(50));
    workq_add_at(&q, STR("a"), at(20));
    workq_add_at(&q, STR("a"), at(70));
    workq_add_at(&q, STR("b"), at(10));
    expect(&q, 9, NULL, NULL);
    expect(&q, 10, "b", NULL);
    assert_int_equal(workq_due(&q).ns, at(20).ns);
    expect(&q, 20, "a", NULL);
    assert_int_equal(workq_due(&q).ns, MONO_NEVER.ns);
    workq_done(&q);
}

static void many_times_come_in_order(void **state)
{
    struct workq q;
    workq_init(&q, NULL);
    for (int i = 0; i < 500; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        workq_add_at(&q, str_of(key), at((i * 7919) % 1009));
    }
    int64_t last = 0;
    for (int i = 0; i < 500; i++) {
        struct mono due = workq_due(&q);
        assert_true(due.ns >= last);
        last = due.ns;
        assert_non_null(workq_get(&q, due));
    }
    workq_done(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_in_it_once),
        cmocka_unit_test(a_key_added_while_in_work_comes_again),
        cmocka_unit_test(failures_wait_longer_each_time),
        cmocka_unit_test(of_two_times_the_soonest_wins),
        cmocka_unit_test(many_times_come_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
