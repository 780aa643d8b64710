/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

#include "resources.h"
#include "scheduler/queue.h"
#include "wire/json.h"

#include <stdio.h>

static struct object *pod(const char *name, int priority)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v;
    struct str json = arena_printf(&a, "{\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\"},\"spec\":{\"priority\":%d,\"containers\":[]}}",
                                   name, name, priority);
    assert_int_equal(json_decode(&a, resources[RES_PODS].type, json, 0, NULL, &v, NULL), 0);
    return object_new(&resources[RES_PODS], v);
}

static void put(struct pod_queue *q, const char *name, int priority, int64_t second)
{
    struct object *o CLEANUP_OBJECT = pod(name, priority);
    pod_queue_put(q, o, (struct mono){SECONDS(second)});
}

static struct waiting *take(struct pod_queue *q, int64_t second)
{
    struct mono now = {SECONDS(second)};
    pod_queue_tick(q, now);
    return pod_queue_take(q, now);
}

static struct pod_queue queue_new(void)
{
    return (struct pod_queue){.backoff_first = SECONDS(1), .backoff_max = SECONDS(10)};
}

static void priority_then_age(void **state UNUSED)
{
    struct pod_queue q = queue_new();
    put(&q, "a", 0, 1);
    put(&q, "b", 5, 1);
    put(&q, "c", 0, 1);
    put(&q, "gone", 9, 1);
    pod_queue_drop(&q, STR("gone"));
    const char *want[] = {"b", "a", "c"};
    for (int i = 0; i < 3; i++)
        assert_str(take(&q, 1)->pod->name, want[i]);
    assert_null(take(&q, 1));
    pod_queue_done(&q);
}

static void unschedulable_ones_wait_for_a_change(void **state UNUSED)
{
    struct pod_queue q = queue_new();
    put(&q, "a", 0, 10);
    struct waiting *w = take(&q, 10);
    pod_queue_unschedulable(&q, w, (struct mono){SECONDS(10)});
    put(&q, "a", 0, 11); /* its own status changed: no reason */
    assert_null(take(&q, 100));
    pod_queue_wake(&q, (struct mono){SECONDS(100)});
    assert_ptr_equal(take(&q, 100), w);
    /* A change while it was being tried is not lost, but back-off is kept. */
    pod_queue_wake(&q, (struct mono){SECONDS(100)});
    pod_queue_unschedulable(&q, w, (struct mono){SECONDS(100)});
    assert_null(take(&q, 101));
    assert_ptr_equal(take(&q, 102), w); /* the second back-off is 2 s */
    pod_queue_unschedulable(&q, w, (struct mono){SECONDS(102)});
    assert_null(take(&q, 401));
    assert_ptr_equal(take(&q, 402), w); /* forgotten for five minutes */
    pod_queue_done(&q);
}

static void back_off_doubles_to_its_limit(void **state UNUSED)
{
    static const int64_t waits[] = {1, 2, 4, 8, 10, 10};
    struct pod_queue q = queue_new();
    int64_t now = 0;
    put(&q, "a", 0, now);
    struct waiting *w = take(&q, now);
    for (size_t i = 0; i < ARRAY_SIZE(waits); i++) {
        pod_queue_failed(&q, w, (struct mono){SECONDS(now)});
        assert_null(take(&q, now + waits[i] - 1));
        now += waits[i];
        assert_ptr_equal(take(&q, now), w);
    }
    pod_queue_done(&q);
}

static void a_thousand_come_out_in_order(void **state UNUSED)
{
    struct pod_queue q = queue_new();
    char name[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "p%d", i);
        put(&q, name, (i * 7919) % 100, 1);
    }
    int last = 100;
    for (int i = 0; i < 1000; i++) {
        struct waiting *w = take(&q, 1);
        assert_true(w->priority <= last);
        last = w->priority;
    }
    pod_queue_done(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(priority_then_age),
        cmocka_unit_test(unschedulable_ones_wait_for_a_change),
        cmocka_unit_test(back_off_doubles_to_its_limit),
        cmocka_unit_test(a_thousand_come_out_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
