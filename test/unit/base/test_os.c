/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *temporary_dir(struct arena *a)
{
    char *p = arena_cstr(a, STR("/tmp/cube-test-XXXXXX"));
    return mkdtemp(p);
}

FIBER_TEST(files_are_replaced_whole)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *dir = temporary_dir(&a);
    const char *path = arena_printf(&a, "%s/a/b/file", dir).p;
    assert_int_equal(os_mkdir_all(arena_printf(&a, "%s/a/b", dir).p, 0700), 0);
    assert_int_equal(os_write_file(path, STR("one"), 0600), 0);
    assert_int_equal(os_write_file(path, STR("second"), 0600), 0);
    struct str s;
    assert_int_equal(os_read_file(&a, path, 100, &s), 0);
    assert_str(s, "second");
    assert_int_equal(os_read_file(&a, path, 3, &s), -EFBIG);
    char **names;
    assert_int_equal(os_list_dir(&a, arena_printf(&a, "%s/a/b", dir).p, &names), 0);
    assert_string_equal(names[0], "file");
    assert_null(names[1]);
    os_run(&a, (const char *[]){"rm", "-rf", dir, NULL}, NULL, NULL, MONO_NEVER);
}

struct server {
    int fd;
};

static void echo_once(void *arg)
{
    struct server *s = arg;
    char peer[64], data[64];
    int c = os_accept(s->fd, peer, sizeof(peer), MONO_NEVER);
    assert_true(c >= 0);
    ssize_t n;
    while ((n = os_recv(c, data, sizeof(data), MONO_NEVER)) > 0)
        assert_int_equal(os_send(c, data, (size_t)n, MONO_NEVER), n);
    os_close(c);
}

static void echo_through(const char *address)
{
    struct group g = {0};
    struct err e = {0};
    struct server s = {os_listen(address, &e)};
    assert_true(s.fd >= 0);
    char where[128];
    os_local_address(s.fd, where, sizeof(where));
    group_spawn(&g, "echo", echo_once, &s);
    int c = os_connect(str_starts(str_of(address), STR("unix:")) ? address : where,
                       mono_add(os_mono(), SECONDS(5)));
    assert_true(c >= 0);
    char data[64] = {0};
    assert_int_equal(os_send(c, "hello", 5, MONO_NEVER), 5);
    assert_int_equal(os_recv(c, data, sizeof(data), MONO_NEVER), 5);
    assert_string_equal(data, "hello");
    assert_int_equal(os_recv(c, data, sizeof(data), mono_add(os_mono(), MILLISECONDS(5))), -ETIMEDOUT);
    os_shutdown(c);
    assert_int_equal(os_recv(c, data, sizeof(data), MONO_NEVER), 0);
    os_close(c);
    group_wait(&g, MONO_NEVER);
    os_close(s.fd);
}

FIBER_TEST(sockets_carry_bytes)
{
    echo_through("127.0.0.1:0");
    echo_through("unix:@cube-test-os");
}

FIBER_TEST(bad_addresses_are_named)
{
    struct err e = {0};
    assert_int_equal(os_listen("localhost:80", &e), -EINVAL);
    assert_non_null(strstr(e.text, "localhost:80"));
    assert_int_equal(os_connect("127.0.0.1:1", mono_add(os_mono(), SECONDS(5))), -ECONNREFUSED);
}

static void close_it(void *arg)
{
    fiber_sleep(MILLISECONDS(2));
    os_close(*(int *)arg);
}

FIBER_TEST(closing_wakes_the_waiter)
{
    int pair[2];
    char c;
    struct group g = {0};
    assert_int_equal(os_socketpair(pair), 0);
    group_spawn(&g, "close", close_it, &pair[0]);
    assert_int_equal(os_recv(pair[0], &c, 1, MONO_NEVER), -EBADF);
    group_wait(&g, MONO_NEVER);
    os_close(pair[1]);
}

FIBER_TEST(programs_run_to_their_end)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str out, err;
    const char *argv[] = {"sh", "-c", "echo out; echo err >&2; exit 3", NULL};
    assert_int_equal(os_run(&a, argv, &out, &err, MONO_NEVER), 3);
    assert_str(out, "out\n");
    assert_str(err, "err\n");
    const char *missing[] = {"no-such-program-here", NULL};
    assert_int_equal(os_run(&a, missing, NULL, NULL, MONO_NEVER), -ENOENT);
    const char *slow[] = {"sleep", "100", NULL};
    assert_int_equal(os_run(&a, slow, NULL, NULL, mono_add(os_mono(), MILLISECONDS(20))), -ETIMEDOUT);
    const char *killed[] = {"sh", "-c", "kill -9 $$", NULL};
    assert_int_equal(os_run(&a, killed, NULL, NULL, MONO_NEVER), 128 + 9);
}

FIBER_TEST(datagrams_come_with_their_sender)
{
    struct err e = {0};
    int server = os_udp_bind("127.0.0.1:0", &e), client = os_udp_bind("127.0.0.1:0", &e);
    char server_at[64], client_at[64], peer[64], data[16] = {0};
    os_local_address(server, server_at, sizeof(server_at));
    os_local_address(client, client_at, sizeof(client_at));
    assert_int_equal(os_sendto(client, "ping", 4, server_at), 4);
    assert_int_equal(os_recvfrom(server, data, sizeof(data), peer, sizeof(peer), MONO_NEVER), 4);
    assert_string_equal(peer, client_at);
    os_close(server);
    os_close(client);
}

static void note_signal(void *arg)
{
    *(int *)arg = os_wait_signal(MONO_NEVER);
}

/* Whatever fiber runs at the moment: each has a signal mask of its own. */
FIBER_TEST(signals_reach_their_waiter)
{
    int got = 0;
    struct group g = {0};
    group_spawn(&g, "signal", note_signal, &got);
    fiber_sleep(MILLISECONDS(1));
    kill(getpid(), SIGTERM);
    assert_int_equal(group_wait(&g, mono_add(os_mono(), SECONDS(5))), 0);
    assert_int_equal(got, SIGTERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_replaced_whole),  cmocka_unit_test(sockets_carry_bytes),
        cmocka_unit_test(bad_addresses_are_named),   cmocka_unit_test(closing_wakes_the_waiter),
        cmocka_unit_test(programs_run_to_their_end), cmocka_unit_test(datagrams_come_with_their_sender),
        cmocka_unit_test(signals_reach_their_waiter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
