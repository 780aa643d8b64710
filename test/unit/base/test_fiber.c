/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static struct buf trace;

static void say_and_sleep(void *arg)
{
    long ms = (long)(intptr_t)arg;
    fiber_sleep(MILLISECONDS(ms));
    buf_printf(&trace, "%ld ", ms);
}

FIBER_TEST(sleepers_wake_in_order_of_time)
{
    buf_clear(&trace);
    struct group g = {0};
    for (intptr_t i = 5; i > 0; i--)
        group_spawn(&g, "sleeper", say_and_sleep, (void *)(i * 4));
    assert_int_equal(group_wait(&g, MONO_NEVER), 0);
    assert_string_equal(trace.p, "4 8 12 16 20 ");
    buf_done(&trace);
}

static void sleep_long(void *arg)
{
    *(int *)arg = fiber_sleep(SECONDS(1000));
}

static void say_afterwards(struct afterwards *a)
{
    assert_null(fiber_self());
    buf_puts(&trace, "after ");
}

static struct afterwards later = {.fn = say_afterwards};

static void say_before(void *arg)
{
    buf_puts(&trace, "turn ");
    afterwards_do(&later);
}

FIBER_TEST(afterwards_is_once_and_behind_all_that_was_ready)
{
    buf_clear(&trace);
    struct group g = {0};
    for (int i = 0; i < 3; i++)
        group_spawn(&g, "turn", say_before, NULL);
    assert_int_equal(group_wait(&g, MONO_NEVER), 0);
    fiber_yield();
    assert_string_equal(trace.p, "turn turn turn after ");
    afterwards_do(&later);
    afterwards_cancel(&later);
    fiber_yield();
    assert_string_equal(trace.p, "turn turn turn after ");
    buf_done(&trace);
}

FIBER_TEST(cancelled_fibers_unwind)
{
    int r[3] = {1, 1, 1};
    struct group g = {0};
    for (int i = 0; i < 3; i++)
        group_spawn(&g, "long", sleep_long, &r[i]);
    fiber_yield();
    group_stop(&g);
    for (int i = 0; i < 3; i++)
        assert_int_equal(r[i], -ECANCELED);
}

FIBER_TEST(cancelled_before_it_ran_too)
{
    int r = 1;
    struct group g = {0};
    group_spawn(&g, "long", sleep_long, &r);
    group_stop(&g);
    assert_int_equal(r, -ECANCELED);
}

FIBER_TEST(group_wait_times_out)
{
    int r = 1;
    struct group g = {0};
    group_spawn(&g, "long", sleep_long, &r);
    assert_int_equal(group_wait(&g, mono_add(os_mono(), MILLISECONDS(5))), -ETIMEDOUT);
    group_stop(&g);
}

static void produce(void *arg)
{
    struct queue *q = arg;
    for (intptr_t i = 1; i <= 100; i++)
        queue_push(q, (void *)i, MONO_NEVER);
    queue_close(q);
}

FIBER_TEST(queues_bound_and_close)
{
    struct queue q;
    struct group g = {0};
    queue_init(&q, 3);
    group_spawn(&g, "producer", produce, &q);
    void *item;
    intptr_t n = 0;
    while (queue_pop(&q, &item, MONO_NEVER) == 0)
        assert_int_equal((intptr_t)item, ++n);
    assert_int_equal(n, 100);
    group_wait(&g, MONO_NEVER);
    queue_done(&q);
}

struct locked {
    struct fmutex m;
    int inside, most;
};

static void enter(void *arg)
{
    struct locked *l = arg;
    fmutex_lock(&l->m);
    l->most = MAX(l->most, ++l->inside);
    fiber_sleep(MILLISECONDS(1));
    l->inside--;
    fmutex_unlock(&l->m);
}

FIBER_TEST(a_mutex_admits_one)
{
    struct locked l = {0};
    struct group g = {0};
    for (int i = 0; i < 10; i++)
        group_spawn(&g, "enter", enter, &l);
    group_wait(&g, MONO_NEVER);
    assert_int_equal(l.most, 1);
}

static void add_one(void *arg)
{
    ++*(int *)arg;
}

static void offload_some(void *arg)
{
    for (int i = 0; i < 50; i++)
        fiber_offload(add_one, arg);
}

FIBER_TEST(offloaded_calls_come_back)
{
    int n[8] = {0};
    struct group g = {0};
    for (int i = 0; i < 8; i++)
        group_spawn(&g, "offload", offload_some, &n[i]);
    group_wait(&g, MONO_NEVER);
    for (int i = 0; i < 8; i++)
        assert_int_equal(n[i], 50);
}

static int stuck[2];

static void wait_for_a_byte(void *arg UNUSED)
{
    char c;
    ssize_t r UNUSED = read(stuck[0], &c, 1);
}

static void offload_one_stuck(void *arg UNUSED)
{
    fiber_offload(wait_for_a_byte, NULL);
}

/* As many calls as there are helpers wait on something slow: a sync goes on nevertheless. */
FIBER_TEST(a_sync_waits_for_no_other_call)
{
    struct group g = {0};
    char path[] = "/tmp/cube-fiber-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(pipe(stuck), 0);
    for (int i = 0; i < 8; i++)
        group_spawn(&g, "stuck", offload_one_stuck, NULL);
    fiber_yield();
    assert_int_equal(os_fdatasync(fd), 0);
    assert_int_equal(write(stuck[1], "12345678", 8), 8);
    group_wait(&g, MONO_NEVER);
    unlink(path);
    close(fd);
    close(stuck[0]);
    close(stuck[1]);
}

static int ended;

static void forever(void *arg UNUSED)
{
    while (fiber_sleep(SECONDS(1000)) == 0)
        ;
    ended++;
}

static void leave_many(void *arg UNUSED)
{
    for (int i = 0; i < 1000; i++)
        fiber_spawn("forever", forever, NULL);
    fiber_yield();
}

static void the_end_of_main_ends_all(void **state UNUSED)
{
    ended = 0;
    loop_run(leave_many, NULL);
    assert_int_equal(ended, 1000);
}

/* Uses a large part of the stack for a while. */
static unsigned deep(unsigned n)
{
    volatile char here[1024];
    memset((char *)(uintptr_t)here, (int)n, sizeof(here));
    return n ? deep(n - 1) + (unsigned)here[n % sizeof(here)] : 0;
}

static struct waitq trimmed;

static void keep_through(void *arg)
{
    unsigned mine[64], *ret = arg;
    deep(60);
    for (unsigned i = 0; i < ARRAY_SIZE(mine); i++)
        mine[i] = i * 7 + *ret;
    waitq_wait(&trimmed, MONO_NEVER);
    for (unsigned i = 0; i < ARRAY_SIZE(mine); i++)
        if (mine[i] != i * 7 + *ret)
            return;
    deep(60);
    *ret = 0;
}

static long resident_kib(void)
{
    long pages = 0, unused;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f || fscanf(f, "%ld %ld", &unused, &pages) != 2)
        pages = 0;
    if (f)
        fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* What stacks held is given back, what they hold stays. */
FIBER_TEST(stacks_are_trimmed)
{
    enum { FIBERS = 100 };
    unsigned results[FIBERS];
    struct group g = {0};
    for (unsigned i = 0; i < FIBERS; i++) {
        results[i] = i + 1;
        group_spawn(&g, "keep", keep_through, &results[i]);
    }
    fiber_yield();
    long before = resident_kib();
    fiber_trim_stacks();
#if (defined(__x86_64__) || defined(__aarch64__)) && !defined(__SANITIZE_ADDRESS__)
    assert_true(resident_kib() < before - FIBERS * 32); /* of 60 KiB each */
#else
    (void)before;
#endif
    waitq_wake_all(&trimmed);
    assert_int_equal(group_wait(&g, mono_add(os_mono(), SECONDS(10))), 0);
    for (unsigned i = 0; i < FIBERS; i++)
        assert_int_equal(results[i], 0);
    os_give_back(true); /* code is still there */
    assert_int_equal(deep(3) != UINT_MAX, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(afterwards_is_once_and_behind_all_that_was_ready),
        cmocka_unit_test(sleepers_wake_in_order_of_time), cmocka_unit_test(cancelled_fibers_unwind),
        cmocka_unit_test(cancelled_before_it_ran_too),    cmocka_unit_test(group_wait_times_out),
        cmocka_unit_test(queues_bound_and_close),         cmocka_unit_test(a_mutex_admits_one),
        cmocka_unit_test(offloaded_calls_come_back), cmocka_unit_test(a_sync_waits_for_no_other_call),
        cmocka_unit_test(stacks_are_trimmed), cmocka_unit_test(the_end_of_main_ends_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
