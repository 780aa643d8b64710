/* SPDX-License-Identifier: Apache-2.0 */
#include "net/websocket.h"

#include "../testing.h"

#include <stdio.h>

static struct mono soon(int ms)
{
    return mono_add(os_mono(), MILLISECONDS(ms));
}

/* ---- frame headers ------------------------------------------------------------------------------------ */

static void frame_headers(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        int want;
        uint64_t length;
    } cases[] = {
        {"", 0, 0, 0},
        {"\x82", 1, 0, 0},
        {"\x82\x05", 2, 2, 5},
        {"\x82\x85\x01\x02\x03\x04", 6, 6, 5},
        {"\x82\x85\x01\x02\x03", 5, 0, 0},
        {"\x82\x7e\x01\x00", 4, 4, 256},
        {"\x82\x7e\x00\x10", 4, -EPROTO, 0}, /* not the shortest form */
        {"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10, 10, 65536},
        {"\x82\x7f\x00\x00\x00\x00\x00\x00\x01\x00", 10, -EPROTO, 0},
        {"\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", 10, -EPROTO, 0},
        {"\xc2\x05", 2, -EPROTO, 0}, /* reserved bits */
        {"\x83\x05", 2, -EPROTO, 0}, /* unknown opcodes */
        {"\x8b\x05", 2, -EPROTO, 0},
        {"\x09\x00", 2, -EPROTO, 0},         /* control frame in pieces */
        {"\x89\x7e\x01\x00", 4, -EPROTO, 0}, /* long control frame */
        {"\x88\x00", 2, 2, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct websocket_frame f = {0};
        int r = websocket_parse_frame((const uint8_t *)cases[i].bytes, cases[i].n, &f);
        if (r != cases[i].want || (r > 0 && f.length != cases[i].length))
            fail_msg("case %zu: %d", i, r);
    }
}

/* ---- two ends over a pair ----------------------------------------------------------------------------- */

static struct websocket *ends[2]; /* client, server */
static struct stream *raw;        /* the other end of `one` */

static void make_ends(void)
{
    struct stream *s[2];
    stream_pair(1 << 16, s);
    ends[0] = websocket_of_stream(s[0], true, "p");
    ends[1] = websocket_of_stream(s[1], false, "p");
}

static struct websocket *make_one(bool client)
{
    struct stream *s[2];
    stream_pair(1 << 16, s);
    raw = s[1];
    return websocket_of_stream(s[0], client, "");
}

static void free_ends(void)
{
    websocket_free(ends[0]);
    websocket_free(ends[1]);
}

struct echoing {
    struct websocket *w;
    int r;
};

static void echo_main(void *arg)
{
    struct echoing *e = arg;
    struct websocket_message m;
    while ((e->r = websocket_read(e->w, &m, soon(5000))) == 0)
        websocket_write(e->w, m.opcode, m.data, soon(5000));
}

FIBER_TEST(messages_of_all_sizes)
{
    static const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536, 300000};
    struct websocket_message m;
    struct group g = {0};
    make_ends();
    struct echoing e = {ends[1], 1};
    group_spawn(&g, "echo", echo_main, &e);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        char *p = xmalloc(sizes[i] + 1);
        for (size_t j = 0; j < sizes[i]; j++)
            p[j] = (char)(j * 7);
        assert_int_equal(websocket_write(ends[0], WS_BINARY, str_n(p, sizes[i]), soon(5000)), 0);
        assert_int_equal(websocket_read(ends[0], &m, soon(5000)), 0);
        assert_int_equal(m.opcode, WS_BINARY);
        assert_true(str_eq(m.data, str_n(p, sizes[i])));
        free(p);
    }
    assert_int_equal(websocket_close(ends[0], 1000, "bye", soon(1000)), 0);
    assert_int_equal(websocket_read(ends[0], &m, soon(1000)), -ENODATA); /* the answer to our close */
    group_wait(&g, soon(1000));
    assert_int_equal(e.r, -ENODATA);
    assert_int_equal(websocket_write(ends[0], WS_TEXT, STR("x"), soon(100)), -EPIPE);
    free_ends();
}

static int feed(const char *bytes, size_t n, bool client, struct str *ret)
{
    static struct buf kept;
    struct websocket_message m;
    struct websocket *w = make_one(client);
    stream_write(raw, bytes, n, soon(1000));
    stream_shutdown(raw);
    int r = websocket_read(w, &m, soon(1000));
    buf_done(&kept);
    if (r == 0) {
        buf_putstr(&kept, m.data);
        *ret = buf_str(&kept);
    }
    websocket_free(w);
    stream_free(raw);
    if (r != 0)
        return r;
    return 0;
}
#define FEED(lit, client) feed("" lit, sizeof(lit) - 1, client, &got)

FIBER_TEST(rules)
{
    struct str got;
    assert_int_equal(FEED("\x82\x03"
                          "abc",
                          true),
                     0);
    assert_str(got, "abc");
    /* fragments with a ping in between */
    assert_int_equal(FEED("\x01\x01"
                          "a"
                          "\x89\x00"
                          "\x00\x01"
                          "b"
                          "\x80\x01"
                          "c",
                          true),
                     0);
    assert_str(got, "abc");
    assert_int_equal(FEED("\x80\x01"
                          "a",
                          true),
                     -EPROTO); /* continues nothing */
    assert_int_equal(FEED("\x01\x01"
                          "a"
                          "\x81\x01"
                          "b",
                          true),
                     -EPROTO); /* new message inside another */
    assert_int_equal(FEED("\x82\x03"
                          "abc",
                          false),
                     -EPROTO);                                  /* clients must mask */
    assert_int_equal(FEED("\x82\x81\0\0\0\0a", true), -EPROTO); /* servers must not */
    assert_int_equal(FEED("\x82\x7f\0\0\0\0\x7f\0\0\0", true), -EMSGSIZE);
    assert_int_equal(FEED("\x88\x02\x03\xe8", true), -ENODATA);
    assert_int_equal(FEED("\x82\x05"
                          "ab",
                          true),
                     -EPIPE); /* cut short */
    FEED("\x82\x00", true);
}

FIBER_TEST(ping_is_answered_and_reads_go_on_after_a_timeout)
{
    struct websocket_message m;
    struct websocket *w = make_one(true);
    char p[16];
    stream_write(raw,
                 "\x89\x02hi\x82\x04"
                 "ab",
                 8, soon(100));
    assert_int_equal(websocket_read(w, &m, soon(30)), -ETIMEDOUT);
    assert_int_equal(stream_read_full(raw, p, 8, soon(100)), 0); /* masked pong */
    assert_int_equal((uint8_t)p[0], 0x8a);
    assert_int_equal((uint8_t)p[1], 0x82);
    assert_int_equal(p[6] ^ p[2], 'h');
    stream_write(raw, "cd", 2, soon(100));
    assert_int_equal(websocket_read(w, &m, soon(1000)), 0);
    assert_str(m.data, "abcd");
    websocket_free(w);
    stream_free(raw);
}

FIBER_TEST(a_stream_inside)
{
    make_ends();
    struct stream *a = websocket_stream(ends[0]), *b = websocket_stream(ends[1]);
    char p[64];
    assert_int_equal(stream_write(a, "hello", 5, soon(1000)), 0);
    assert_int_equal(stream_read_full(b, p, 3, soon(1000)), 0);
    assert_int_equal(stream_read_full(b, p + 3, 2, soon(1000)), 0);
    assert_memory_equal(p, "hello", 5);
    assert_int_equal(stream_read(b, p, sizeof(p), soon(20)), -ETIMEDOUT);
    stream_shutdown(a);
    assert_int_equal(stream_read(b, p, sizeof(p), soon(1000)), 0);
    stream_free(a);
    stream_free(b);
}

/* ---- handshakes --------------------------------------------------------------------------------------- */

static const char *const ours[] = {"v5", "v4", NULL};

static void handler(void *ctx, struct http_exchange *x)
{
    struct websocket *w;
    struct err e;
    if (websocket_accept(x, ours, &w, &e) < 0)
        return;
    struct echoing echo = {w, 0};
    echo_main(&echo);
    websocket_free(w);
}

FIBER_TEST(handshakes)
{
    struct err e = {0};
    char address[64], url[96];
    struct http_server *server = http_server_new(&(struct http_server_config){.handler = handler});
    http_server_listen(server, "127.0.0.1:0", &e);
    http_server_address(server, address, sizeof(address));
    snprintf(url, sizeof(url), "http://%s/x", address);
    struct http_client *client = http_client_new(&(struct http_client_config){0});
    struct http_request r = {.url = url};
    static const struct {
        const char *offer[3];
        const char *want; /* NULL: refused */
    } cases[] = {{{"v5", NULL}, "v5"},
                 {{"v4", "v5", NULL}, "v4"},
                 {{"x", "v5", NULL}, "v5"},
                 {{"x", NULL}, NULL},
                 {{NULL}, NULL}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct websocket *w;
        struct http_call *call;
        struct websocket_message m;
        int n = websocket_connect(client, &r, cases[i].offer, soon(2000), &w, &call, &e);
        assert_int_equal(n, cases[i].want ? 0 : HTTP_NO_UPGRADE);
        assert_int_equal(call->status, cases[i].want ? 101 : 400);
        http_call_free(call);
        if (!cases[i].want)
            continue;
        assert_string_equal(websocket_protocol(w), cases[i].want);
        assert_int_equal(websocket_write(w, WS_TEXT, STR("hi"), soon(1000)), 0);
        assert_int_equal(websocket_read(w, &m, soon(1000)), 0);
        assert_str(m.data, "hi");
        websocket_free(w);
    }
    http_client_free(client);
    http_server_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_headers),   cmocka_unit_test(messages_of_all_sizes),
        cmocka_unit_test(rules),           cmocka_unit_test(ping_is_answered_and_reads_go_on_after_a_timeout),
        cmocka_unit_test(a_stream_inside), cmocka_unit_test(handshakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
