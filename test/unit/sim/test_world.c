/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

#include "sim/world.h"

#include <fcntl.h>

/* ---- time and chance -------------------------------------------------------------------------------------- */

struct history {
    uint64_t hash;
    int64_t took;
    struct wall end;
};

static void wander(void *arg)
{
    for (int i = 0; i < 20; i++) {
        fiber_sleep((int64_t)os_random_below((uint64_t)SECONDS(3600)));
        sim_trace("%s %d", (const char *)arg, i);
    }
}

static void two_wander(void *arg)
{
    struct history *h = arg;
    struct group g = {0};
    struct mono start = os_mono();
    group_spawn(&g, "a", wander, (char[]){"a"});
    group_spawn(&g, "b", wander, (char[]){"b"});
    group_wait(&g, MONO_NEVER);
    h->hash = sim_trace_hash();
    h->took = os_mono().ns - start.ns;
    h->end = os_wall();
}

static void one_seed_one_history(void **state UNUSED)
{
    struct history h[3];
    const uint64_t seeds[] = {7, 7, 8};
    for (int i = 0; i < 3; i++)
        sim_run(&(struct sim_config){.seed = seeds[i]}, two_wander, &h[i]);
    assert_true(h[0].hash == h[1].hash && h[0].took == h[1].took);
    assert_true(h[0].hash != h[2].hash);
    assert_true(h[0].took > SECONDS(3600)); /* hours passed, no second of ours */
    assert_true(h[0].end.ns > SECONDS(1767225600));
}

static void jump(void *arg UNUSED)
{
    struct mono m = os_mono();
    struct wall w = os_wall();
    sim_clock_jump(-SECONDS(86400 * 365));
    assert_true(os_mono().ns == m.ns);
    assert_true(os_wall().ns == w.ns - SECONDS(86400 * 365));
}

static void the_time_of_day_may_jump(void **state UNUSED)
{
    sim_run(&(struct sim_config){.seed = 1}, jump, NULL);
}

/* ---- disk --------------------------------------------------------------------------------------------------- */

static int make(const char *path, const char *content, bool sync)
{
    int fd = os_open(path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(os_pwrite(fd, content, strlen(content), 0), strlen(content));
    if (sync) {
        assert_int_equal(os_fdatasync(fd), 0);
        assert_int_equal(os_sync_dir("/d"), 0);
    }
    return fd;
}

static void cut_power(void *arg)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str s;
    bool *lost = arg;
    assert_int_equal(os_mkdir("/d", 0700), 0);
    os_close(make("/d/synced", "kept", true));
    int fd = make("/d/synced2", "old", true);
    assert_int_equal(os_pwrite(fd, "new", 3, 0), 3);
    sim_disk_power_cut("/d");
    assert_int_equal(os_pwrite(fd, "x", 1, 0), -EIO);
    os_close(fd);
    assert_int_equal(os_read_file(&a, "/d/synced", 100, &s), 0);
    assert_str(s, "kept");
    assert_int_equal(os_read_file(&a, "/d/synced2", 100, &s), 0);
    assert_true(str_is(s, "old") || str_is(s, "new")); /* one sector: whole or not at all */
    *lost = str_is(s, "old");
}

static void a_power_cut_takes_what_was_not_synced(void **state UNUSED)
{
    int lost = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        bool l = false;
        sim_run(&(struct sim_config){.seed = seed}, cut_power, &l);
        lost += l;
    }
    assert_in_range(lost, 5, 35);
}

static void kill_process(void *arg UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str s;
    os_mkdir("/d", 0700);
    int fd = make("/d/f", "unsynced", false), lock = os_open("/d/f", O_RDWR, 0);
    assert_int_equal(os_flock(fd), 0);
    assert_int_equal(os_flock(lock), -EWOULDBLOCK);
    sim_disk_kill("/d");
    lock = os_open("/d/f", O_RDWR, 0);
    assert_int_equal(os_flock(lock), 0);
    assert_int_equal(os_read_file(&a, "/d/f", 100, &s), 0);
    assert_str(s, "unsynced");
}

static void a_kill_keeps_files_and_frees_locks(void **state UNUSED)
{
    sim_run(&(struct sim_config){.seed = 3}, kill_process, NULL);
}

static void fail_disk(void *arg UNUSED)
{
    char big[2000] = {0};
    os_mkdir("/d", 0700);
    int fd = make("/d/f", "x", true);
    sim_disk_fail_syncs(1, 1);
    assert_int_equal(os_fdatasync(fd), 0);
    assert_int_equal(os_fdatasync(fd), -EIO);
    assert_int_equal(os_fdatasync(fd), 0);
    sim_disk_capacity(1000);
    assert_int_equal(os_pwrite(fd, big, sizeof(big), 0), -ENOSPC);
    sim_disk_capacity(0);
    assert_int_equal(os_pwrite(fd, big, sizeof(big), 0), sizeof(big));
    assert_int_equal(sim_disk_flip("/d/f", 3), 0);
    char c;
    os_pread(fd, &c, 1, 0);
    assert_int_equal(c, 8);
}

static void the_disk_fails_and_fills_as_told(void **state UNUSED)
{
    sim_run(&(struct sim_config){.seed = 4}, fail_disk, NULL);
}

/* ---- sockets ------------------------------------------------------------------------------------------------ */

static void serve_echo(void *arg)
{
    char data[1000];
    int fd = os_accept(*(int *)arg, NULL, 0, MONO_NEVER);
    ssize_t n;
    while ((n = os_recv(fd, data, sizeof(data), MONO_NEVER)) > 0)
        os_send(fd, data, (size_t)n, MONO_NEVER);
    os_close(fd);
}

static void talk(void *arg UNUSED)
{
    struct err e = {0};
    struct group g = {0};
    char got[16] = {0};
    int listener = os_listen("10.0.0.1:80", &e);
    group_spawn(&g, "echo", serve_echo, &listener);
    assert_int_equal(os_connect("10.0.0.1:81", MONO_NEVER), -ECONNREFUSED);
    int fd = os_connect("10.0.0.1:80", MONO_NEVER);
    struct mono before = os_mono();
    assert_int_equal(os_send(fd, "ping", 4, MONO_NEVER), 4);
    assert_int_equal(os_recv(fd, got, sizeof(got), MONO_NEVER), 4);
    assert_string_equal(got, "ping");
    assert_true(os_mono().ns - before.ns >= 100 * NSEC_PER_USEC);
    assert_int_equal(os_recv(fd, got, 1, mono_add(os_mono(), SECONDS(1))), -ETIMEDOUT);
    os_close(fd);
    group_wait(&g, MONO_NEVER);
    os_close(listener);
}

static void streams_have_latency_and_an_end(void **state UNUSED)
{
    sim_run(&(struct sim_config){.seed = 5}, talk, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_seed_one_history),
        cmocka_unit_test(the_time_of_day_may_jump),
        cmocka_unit_test(a_power_cut_takes_what_was_not_synced),
        cmocka_unit_test(a_kill_keeps_files_and_frees_locks),
        cmocka_unit_test(the_disk_fails_and_fills_as_told),
        cmocka_unit_test(streams_have_latency_and_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
