/* SPDX-License-Identifier: Apache-2.0 */
#include "net/spdy.h"

#include "../testing.h"
#include "net/spdy-internal.h"

static struct spdy_conn *client, *server;

static struct mono soon(int ms)
{
    return mono_add(os_mono(), MILLISECONDS(ms));
}

static void make_ends(void)
{
    struct stream *s[2];
    stream_pair(1 << 16, s);
    client = spdy_new(s[0], false);
    server = spdy_new(s[1], true);
}

static void free_ends(void)
{
    spdy_free(client);
    spdy_free(server);
}

static void open_both(const char *type, struct spdy_stream **c, struct spdy_stream **s)
{
    struct http_header h[] = {{STR("streamType"), str_of(type)}, {STR("Port"), STR("80")}};
    assert_int_equal(spdy_open(client, &(struct http_headers){h, 2}, false, soon(1000), c), 0);
    assert_int_equal(spdy_accept(server, soon(1000), s), 0);
    assert_int_equal(spdy_reply(*s, NULL, false), 0);
    assert_int_equal(spdy_wait_reply(*c, soon(1000)), 0);
}

/* The dictionary of the specification, by its checksum. */
static void dictionary(void **state)
{
    struct str d = spdy_dictionary();
    assert_int_equal(d.n, 1423);
    assert_int_equal(adler32(adler32(0, NULL, 0), (const Bytef *)d.p, (uInt)d.n), 0xe3c6a7c2);
}

FIBER_TEST(streams)
{
    struct spdy_stream *c[3], *s[3];
    char p[64];
    make_ends();
    static const char *const types[] = {"stdin", "stdout", "error"};
    for (int i = 0; i < 3; i++) {
        open_both(types[i], &c[i], &s[i]);
        assert_str(http_header(spdy_headers(s[i]), "streamtype"), types[i]);
        assert_str(http_header(spdy_headers(s[i]), "port"), "80");
    }
    assert_int_equal(spdy_write(c[0], STR("in"), soon(1000)), 0);
    assert_int_equal(spdy_write(s[1], STR("out"), soon(1000)), 0);
    assert_int_equal(spdy_read(c[1], p, sizeof(p), soon(1000)), 3);
    assert_int_equal(spdy_read(s[0], p, sizeof(p), soon(1000)), 2);
    assert_int_equal(spdy_read(s[0], p, sizeof(p), soon(20)), -ETIMEDOUT);
    /* half close: the other direction goes on */
    assert_int_equal(spdy_close_write(c[0]), 0);
    assert_int_equal(spdy_read(s[0], p, sizeof(p), soon(1000)), 0);
    assert_int_equal(spdy_write(s[0], STR("still"), soon(1000)), 0);
    assert_int_equal(spdy_read(c[0], p, sizeof(p), soon(1000)), 5);
    assert_int_equal(spdy_write(c[0], STR("x"), soon(1000)), -EPIPE);
    /* reset: bytes that came before are still there */
    assert_int_equal(spdy_write(s[1], STR("last"), soon(1000)), 0);
    spdy_reset(s[1]);
    fiber_sleep(MILLISECONDS(5));
    assert_int_equal(spdy_read(c[1], p, sizeof(p), soon(1000)), 4);
    assert_int_equal(spdy_read(c[1], p, sizeof(p), soon(1000)), 0);
    assert_int_equal(spdy_write(c[1], STR("x"), soon(1000)), -EPIPE);
    assert_int_equal(spdy_ping(client, soon(1000)), 0);
    assert_int_equal(spdy_ping(server, soon(1000)), 0);
    for (int i = 0; i < 3; i++) {
        spdy_stream_free(c[i]);
        spdy_stream_free(s[i]);
    }
    free_ends();
}

static void slurp(void *arg)
{
    struct spdy_stream *s = arg;
    char p[10000];
    ssize_t n;
    size_t total = 0;
    while ((n = spdy_read(s, p, sizeof(p), soon(5000))) > 0)
        total += (size_t)n;
    assert_int_equal(n, 0);
    assert_int_equal(total, 3 << 20);
}

FIBER_TEST(bulk_and_back_pressure)
{
    struct spdy_stream *c, *s;
    struct group g = {0};
    size_t n = 3 << 20;
    char *p = xcalloc(1, n);
    make_ends();
    open_both("stdout", &c, &s);
    /* nobody reads: the writer stops before all is buffered */
    assert_int_equal(spdy_write(c, str_n(p, n), soon(50)), -ETIMEDOUT);
    spdy_stream_free(c);
    spdy_stream_free(s);
    free_ends();
    make_ends();
    open_both("stdout", &c, &s);
    group_spawn(&g, "slurp", slurp, s);
    assert_int_equal(spdy_write(c, str_n(p, n), soon(5000)), 0);
    assert_int_equal(spdy_close_write(c), 0);
    assert_int_equal(group_wait(&g, soon(5000)), 0);
    free(p);
    spdy_stream_free(c);
    spdy_stream_free(s);
    free_ends();
}

FIBER_TEST(the_end_of_a_connection)
{
    struct spdy_stream *c, *s, *more;
    char p[8];
    make_ends();
    open_both("stdout", &c, &s);
    spdy_abort(client);
    assert_int_equal(spdy_wait_gone(server, soon(1000)), 0);
    assert_int_equal(spdy_read(s, p, sizeof(p), soon(1000)), -EPIPE);
    assert_int_equal(spdy_write(s, STR("x"), soon(1000)), -EPIPE);
    assert_int_equal(spdy_accept(server, soon(1000), &more), -EPIPE);
    assert_int_equal(spdy_open(client, NULL, false, soon(1000), &more), -EPIPE);
    spdy_stream_free(c);
    spdy_stream_free(s);
    free_ends();
}

static int answer_to(const char *bytes, size_t n)
{
    struct stream *s[2];
    stream_pair(1 << 16, s);
    struct spdy_conn *conn = spdy_new(s[0], true);
    stream_write(s[1], bytes, n, soon(1000));
    int r = spdy_wait_gone(conn, soon(30));
    spdy_free(conn);
    stream_free(s[1]);
    return r;
}

FIBER_TEST(rubbish_ends_the_connection)
{
    assert_int_equal(answer_to("\x80\x02\x00\x01\0\0\0\x0a\0\0\0\x01\0\0\0\0\0\0", 18), 0); /* SPDY/2 */
    assert_int_equal(answer_to("\x80\x03\x00\x01\x00\0\0\x02\0\0", 10), 0);                 /* too short */
    assert_int_equal(answer_to("\x80\x03\x00\x01\x00\xff\xff\xff", 8), 0);                  /* too long */
    assert_int_equal(answer_to("\x80\x03\x00\x01\0\0\0\x0e\0\0\0\x01\0\0\0\0\0\0rubb", 22), 0);
    /* unknown control frames, data for unknown streams, SETTINGS: nothing happens */
    assert_int_equal(answer_to("\x80\x03\x00\x63\0\0\0\x02zz", 10), -ETIMEDOUT);
    assert_int_equal(answer_to("\0\0\0\x63\0\0\0\x02zz", 10), -ETIMEDOUT);
    assert_int_equal(answer_to("\x80\x03\x00\x04\0\0\0\x04\0\0\0\0", 12), -ETIMEDOUT);
}

static void header_blocks(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct http_header h[] = {{STR("StreamType"), STR("data")}, {STR("port"), STR("")}};
    struct http_headers got;
    spdy_write_headers(&b, &(struct http_headers){h, 2});
    assert_int_equal(spdy_parse_headers(&a, buf_str(&b), &got), 0);
    assert_int_equal(got.n, 2);
    assert_str(http_header(&got, "streamtype"), "data");
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(spdy_parse_headers(&a, str_n(b.p, n), &got), -EPROTO);
    assert_int_equal(spdy_parse_headers(&a, str_n("\xff\xff\xff\xff\0\0\0\0", 8), &got), -EPROTO);
    assert_int_equal(spdy_parse_headers(&a, str_n("\0\0\0\x01\0\0\0\x01X\0\0\0\0", 13), &got), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dictionary),
        cmocka_unit_test(streams),
        cmocka_unit_test(bulk_and_back_pressure),
        cmocka_unit_test(the_end_of_a_connection),
        cmocka_unit_test(rubbish_ends_the_connection),
        cmocka_unit_test(header_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
