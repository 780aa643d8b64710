/* SPDX-License-Identifier: Apache-2.0 */
/* Streams, dialling and gzip: the small things below HTTP. */
#include "net/stream.h"

#include "../testing.h"
#include "net/gzip.h"
#include "net/resolve.h"

#include <stdio.h>

static struct mono soon(int ms)
{
    return mono_add(os_mono(), MILLISECONDS(ms));
}

static void make_pair(int kind, struct stream *s[2])
{
    int fds[2];
    if (kind == 0) {
        stream_pair(1000, s);
        return;
    }
    assert_int_equal(os_socketpair(fds), 0);
    s[0] = stream_of_fd(fds[0]);
    s[1] = stream_of_fd(fds[1]);
}

FIBER_TEST(reading_and_writing)
{
    for (int kind = 0; kind < 2; kind++) {
        struct stream *s[2];
        char p[32];
        make_pair(kind, s);
        assert_int_equal(stream_try_read(s[0], p, 4), -EAGAIN);
        assert_int_equal(stream_read(s[0], p, 4, soon(20)), -ETIMEDOUT);
        assert_int_equal(stream_write(s[1], "abcdef", 6, soon(100)), 0);
        assert_int_equal(stream_read(s[0], p, 4, soon(100)), 4);
        stream_unread(s[0], "cd", 2);
        stream_unread(s[0], "ab", 2);
        assert_int_equal(stream_wait(s[0], OS_READABLE, soon(0)), 0);
        assert_int_equal(stream_read_full(s[0], p, 6, soon(100)), 0);
        assert_memory_equal(p, "abcdef", 6);
        stream_write(s[1], "x", 1, soon(100));
        stream_shutdown(s[1]);
        assert_int_equal(stream_read_full(s[0], p, 2, soon(100)), -EPIPE);   /* in between */
        assert_int_equal(stream_read_full(s[0], p, 2, soon(100)), -ENODATA); /* at once */
        assert_int_equal(stream_read(s[0], p, 2, soon(100)), 0);
        assert_int_equal(stream_write(s[0], "back", 4, soon(100)), 0); /* half closed */
        assert_int_equal(stream_read(s[1], p, 4, soon(100)), 4);
        stream_free(s[0]);
        stream_free(s[1]);
    }
}

static void abort_main(void *arg)
{
    fiber_sleep(MILLISECONDS(5));
    stream_abort(arg);
}

FIBER_TEST(abort_wakes)
{
    for (int kind = 0; kind < 2; kind++) {
        struct stream *s[2];
        struct group g = {0};
        char p[4];
        make_pair(kind, s);
        group_spawn(&g, "abort", abort_main, s[0]);
        assert_int_equal(stream_read(s[0], p, 4, soon(2000)), -ECONNABORTED);
        assert_int_equal(stream_write(s[0], p, 4, soon(2000)), -ECONNABORTED);
        assert_true(stream_read(s[1], p, 4, soon(2000)) <= 0);
        group_stop(&g);
        stream_free(s[0]);
        stream_free(s[1]);
    }
}

struct pumping {
    struct stream *s;
    size_t n;
};

static void pump_main(void *arg)
{
    struct pumping *p = arg;
    char bytes[5000] = {0};
    for (size_t at = 0; at < p->n; at += sizeof(bytes))
        if (stream_write(p->s, bytes, sizeof(bytes), soon(5000)) < 0)
            return;
    stream_shutdown(p->s);
}

struct splicing {
    struct stream *a, *b;
    int64_t idle;
    int r;
};

static void splice_main(void *arg)
{
    struct splicing *sp = arg;
    sp->r = stream_splice(sp->a, sp->b, sp->idle);
}

static size_t drain(struct stream *s)
{
    char p[3000];
    size_t total = 0;
    ssize_t n;
    while ((n = stream_read(s, p, sizeof(p), soon(5000))) > 0)
        total += (size_t)n;
    return n == 0 ? total : 0;
}

FIBER_TEST(splice)
{
    for (int kind = 0; kind < 2; kind++) {
        struct stream *x[2], *y[2];
        struct group g = {0};
        make_pair(kind, x);
        make_pair(!kind, y);
        struct splicing sp = {x[1], y[0], 0, 1};
        struct pumping there = {x[0], 500000};
        group_spawn(&g, "splice", splice_main, &sp);
        group_spawn(&g, "pump", pump_main, &there);
        assert_int_equal(drain(y[1]), 500000);
        struct pumping back = {y[1], 20000}; /* after one direction has ended the other goes on */
        group_spawn(&g, "pump", pump_main, &back);
        assert_int_equal(drain(x[0]), 20000);
        assert_int_equal(group_wait(&g, soon(2000)), 0);
        assert_int_equal(sp.r, 0);
        for (int i = 0; i < 2; i++) {
            stream_free(x[i]);
            stream_free(y[i]);
        }
    }
}

FIBER_TEST(splice_idle)
{
    struct stream *x[2], *y[2];
    struct group g = {0};
    make_pair(0, x);
    make_pair(0, y);
    struct splicing sp = {x[1], y[0], MILLISECONDS(200), 1};
    group_spawn(&g, "splice", splice_main, &sp);
    for (int i = 0; i < 6; i++) { /* one direction alive keeps both */
        char p[4];
        fiber_sleep(MILLISECONDS(60));
        stream_write(x[0], "a", 1, soon(100));
        assert_int_equal(stream_read(y[1], p, 4, soon(100)), 1);
    }
    assert_int_equal(sp.r, 1);
    assert_int_equal(group_wait(&g, soon(2000)), 0);
    assert_int_equal(sp.r, -ETIMEDOUT);
    for (int i = 0; i < 2; i++) {
        stream_free(x[i]);
        stream_free(y[i]);
    }
}

static bool not_loopback(const void *ctx, const char *address)
{
    *(unsigned *)(uintptr_t)ctx += 1;
    return !str_starts(str_of(address), STR("127.")) && strcmp(address, "::1");
}

/* CVE-2020-8562: a name is judged by what it leads to, and what was judged is what is connected to. */
FIBER_TEST(dialling_through_a_gate)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    unsigned asked = 0;
    struct net_gate gate = {not_loopback, &asked};
    char *host, address[64];
    uint16_t port;
    int c, fd = os_listen("127.0.0.1:0", &e);
    assert_true(fd >= 0);
    os_local_address(fd, address, sizeof(address));
    assert_int_equal(net_split(&a, str_of(address), &host, &port), 0);
    assert_int_equal(net_dial_through(&gate, "localhost", port, soon(2000), &c, &e), -EACCES);
    assert_int_equal(net_dial_through(&gate, "127.0.0.1", port, soon(2000), &c, &e), -EACCES);
    assert_true(asked >= 2);
    assert_int_equal(net_dial_through(&(struct net_gate){0}, "localhost", port, soon(2000), &c, &e), 0);
    os_close(c);
    os_close(fd);
}

FIBER_TEST(names_and_dialling)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    char **list, *host, address[64];
    uint16_t port;
    assert_int_equal(net_resolve(&a, "10.1.2.3", 80, &list, &e), 0);
    assert_string_equal(list[0], "10.1.2.3:80");
    assert_int_equal(net_resolve(&a, "fd00::1", 80, &list, &e), 0);
    assert_string_equal(list[0], "[fd00::1]:80");
    assert_int_equal(net_resolve(&a, "localhost", 80, &list, &e), 0);
    assert_non_null(list[0]);
    assert_int_equal(net_split(&a, STR("[::1]:443"), &host, &port), 0);
    assert_string_equal(host, "::1");
    assert_int_equal(port, 443);
    assert_int_equal(net_split(&a, STR("::1"), &host, &port), 0);
    assert_string_equal(host, "::1");
    assert_int_equal(port, 0);
    assert_int_equal(net_split(&a, STR("h:x"), &host, &port), -EINVAL);

    int fd = os_listen("127.0.0.1:0", &e), c;
    assert_true(fd >= 0);
    os_local_address(fd, address, sizeof(address));
    assert_int_equal(net_split(&a, str_of(address), &host, &port), 0);
    assert_int_equal(net_dial("localhost", port, soon(2000), &c, &e), 0); /* also when ::1 comes first */
    os_close(c);
    os_close(fd);
    assert_true(net_dial("127.0.0.1", port, soon(2000), &c, &e) < 0);
    assert_non_null(strstr(e.text, "127.0.0.1"));
}

static void gzip(void **state)
{
    static const size_t sizes[] = {0, 1, 1000, 200000};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct buf z CLEANUP_BUF = BUF_INIT, out CLEANUP_BUF = BUF_INIT;
        char *p = xcalloc(1, sizes[i] + 1);
        for (size_t j = 0; j < sizes[i]; j++)
            p[j] = (char)(j % 100 + j / 1000);
        gzip_deflate(&z, str_n(p, sizes[i]), 1);
        assert_int_equal(gzip_inflate(&out, buf_str(&z), 1 << 20), 0);
        assert_true(str_eq(buf_str(&out), str_n(p, sizes[i])));
        if (sizes[i] == 200000) {
            assert_true(z.n < 50000);
            assert_int_equal(gzip_inflate(&out, buf_str(&z), 199999), -EFBIG); /* a bomb is noticed in time */
            assert_int_equal(out.n, 200000);
        }
        assert_int_equal(gzip_inflate(&out, str_n(z.p, z.n - 1), 1 << 20), -EINVAL);
        z.p[z.n - 6] ^= 1;
        assert_int_equal(gzip_inflate(&out, buf_str(&z), 1 << 20), -EINVAL);
        free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_and_writing), cmocka_unit_test(abort_wakes),        cmocka_unit_test(splice),
        cmocka_unit_test(splice_idle),         cmocka_unit_test(dialling_through_a_gate), cmocka_unit_test(names_and_dialling), cmocka_unit_test(gzip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
