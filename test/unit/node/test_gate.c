/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

#include "node/gate.h"

static struct gate gate;
static unsigned inside, most, passed;

static void pass_through(void *arg)
{
    struct gate_pass p CLEANUP_GATE_PASS = {.gate = NULL};
    if (gate_enter(&gate, &p) < 0)
        return;
    most = MAX(most, ++inside);
    fiber_sleep((int64_t)(intptr_t)arg);
    inside--;
    passed++;
}

static void send(struct group *g, int n, int64_t stay)
{
    for (int i = 0; i < n; i++)
        group_spawn(g, "pod", pass_through, (void *)(intptr_t)stay);
}

FIBER_TEST(only_so_many_are_inside)
{
    struct group g = {0};
    inside = most = passed = 0;
    gate_init(&gate, 3, SECONDS(100));
    send(&g, 20, MILLISECONDS(1));
    group_wait(&g, MONO_NEVER);
    assert_int_equal(most, 3);
    assert_int_equal(passed, 20);
}

FIBER_TEST(who_takes_too_long_does_not_count)
{
    struct group slow = {0}, g = {0};
    inside = most = passed = 0;
    gate_init(&gate, 2, MILLISECONDS(20));
    send(&slow, 2, SECONDS(1000));
    fiber_yield();
    send(&g, 5, MILLISECONDS(1));
    group_wait(&g, MONO_NEVER);
    assert_int_equal(passed, 5);
    group_stop(&slow);
}

FIBER_TEST(who_gives_up_outside_leaves_nothing)
{
    struct group first = {0}, g = {0};
    inside = most = passed = 0;
    gate_init(&gate, 1, SECONDS(100));
    send(&first, 1, MILLISECONDS(20));
    fiber_yield();
    send(&g, 3, MILLISECONDS(1));
    fiber_yield();
    group_stop(&g);
    group_wait(&first, MONO_NEVER);
    send(&g, 1, MILLISECONDS(1));
    group_wait(&g, MONO_NEVER);
    assert_int_equal(most, 1);
    assert_true(passed >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_so_many_are_inside),
        cmocka_unit_test(who_takes_too_long_does_not_count),
        cmocka_unit_test(who_gives_up_outside_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
