/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to reverse proxies: smuggled requests, slow clients, floods of HTTP/2 frames, heads without end. Others are served
 * meanwhile, and afterwards everybody is. */
#include "world.h"

/* ---- HTTP/2 by hand ------------------------------------------------------------------------------------ */

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, GOAWAY = 7, CONTINUATION = 9 };
enum { END_STREAM = 1, END_HEADERS = 4 };

static void put_frame(struct buf *b, int type, int flags, uint32_t stream, struct str payload)
{
    const char head[9] = {(char)(payload.n >> 16), (char)(payload.n >> 8), (char)payload.n, (char)type, (char)flags,
                          (char)(stream >> 24), (char)(stream >> 16), (char)(stream >> 8), (char)stream};
    buf_put(b, head, sizeof(head));
    buf_putstr(b, payload);
}

/* A header without Huffman coding and without an index (RFC 7541 section 6.2.2); table: with one. */
static void put_header(struct buf *b, const char *name, struct str value, bool table)
{
    buf_putc(b, table ? 0x40 : 0);
    buf_putc(b, (char)strlen(name));
    buf_puts(b, name);
    if (value.n < 127) {
        buf_putc(b, (char)value.n);
    } else { /* section 5.1 */
        size_t n = value.n - 127;
        buf_putc(b, 127);
        for (; n >= 128; n /= 128)
            buf_putc(b, (char)(n % 128 | 128));
        buf_putc(b, (char)n);
    }
    buf_putstr(b, value);
}

static void put_request(struct buf *b, const char *path)
{
    put_header(b, ":method", STR("GET"), false);
    put_header(b, ":scheme", STR("http"), false);
    put_header(b, ":authority", STR("web.example"), false);
    put_header(b, ":path", str_of(path), false);
}

static struct stream *h2_open(void)
{
    struct stream *s;
    struct buf b CLEANUP_BUF = BUF_INIT;
    assert_int_equal(stream_connect(HTTP, mono_add(os_mono(), SECONDS(5)), &s), 0);
    buf_puts(&b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    put_frame(&b, SETTINGS, 0, 0, STR(""));
    assert_int_equal(stream_write(s, b.p, b.n, mono_add(os_mono(), SECONDS(5))), 0);
    return s;
}

/* Reads frames until the connection ends or nothing comes for a while. The status of the last response (indexed by HPACK's static
 * table), 0 for none; *ret_ended: with GOAWAY, a reset stream or the end of the connection. */
static int h2_read(struct stream *s, int64_t patience, bool *ret_ended)
{
    static const int statuses[] = {200, 204, 206, 304, 400, 404, 500};
    int status = 0;
    *ret_ended = false;
    for (;;) {
        uint8_t head[9];
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        int r = stream_read_full(s, head, 9, mono_add(os_mono(), patience));
        *ret_ended = *ret_ended || (r < 0 && r != -ETIMEDOUT);
        if (r < 0)
            return status;
        size_t n = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        char *p = arena_bytes(&a, n + 1);
        if (n && stream_read_full(s, p, n, mono_add(os_mono(), patience)) < 0)
            return status;
        *ret_ended = *ret_ended || head[3] == GOAWAY || head[3] == RST_STREAM;
        if (head[3] != HEADERS || !n)
            continue;
        uint8_t first = (uint8_t)p[0];
        status = first >= 0x88 && first <= 0x8e ? statuses[first - 0x88] : 999;
    }
}

/* One request by hand; what more holds goes behind the pseudo headers, data (.p NULL: none) is its body. */
static int h2_ask(const struct buf *more, struct str data, bool *ret_ended)
{
    struct stream *s = h2_open();
    struct buf head CLEANUP_BUF = BUF_INIT, b CLEANUP_BUF = BUF_INIT;
    put_request(&head, "/h2");
    buf_putstr(&head, buf_str(more));
    put_frame(&b, HEADERS, END_HEADERS | (data.p ? 0 : END_STREAM), 1, buf_str(&head));
    if (data.p)
        put_frame(&b, DATA, END_STREAM, 1, data);
    stream_write(s, b.p, b.n, mono_add(os_mono(), SECONDS(5)));
    int status = h2_read(s, MILLISECONDS(700), ret_ended);
    stream_free(s);
    return status;
}

static void serve_web(struct world *w, const char *annotations)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    fake_put_text(w->fake, RES_INGRESSES, arena_printf(&a, INGRESS("i", "%s", "rules:[" RULE("web.example", "/", "web") "," RULE("rpc.example", "/", "rpc") "]"), annotations).p);
    expect(w, "web.example", "/", 200);
}

/* ---- smuggling ----------------------------------------------------------------------------------------- */

#define WEB "Host: web.example\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"

FIBER_TEST(no_second_request_in_a_first)
{
    static const char *const cases[] = { /* what stands before the smuggled request */
        "POST / HTTP/1.1\r\n" WEB "Content-Length: 5\r\n" CHUNKED "\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" WEB CHUNKED "Content-Length: 5\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" WEB CHUNKED CHUNKED "\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" WEB "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" WEB "Transfer-Encoding:\x0b" "chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" WEB "Transfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" WEB "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" WEB "X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" WEB "X: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" WEB "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" WEB "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\n" WEB CHUNKED "\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" WEB CHUNKED "\r\n0\n\n",
        "POST / HTTP/1.1\r\n" WEB CHUNKED "\r\n3\nabc\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" WEB CHUNKED "\r\n3\r\nabcX\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" WEB CHUNKED "\r\n0x3\r\nabc\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" WEB CHUNKED "\r\n-1\r\nabc\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" WEB CHUNKED "\r\n10000000000000003\r\nabc\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" WEB CHUNKED "\r\n3;a=\nb\r\nabc\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" WEB CHUNKED "\r\n3 3\r\nabc\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" WEB "Content-Length: 3, 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\n" WEB "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\n" WEB "Content-Length: 0x3\r\n\r\nabc",
        "POST / HTTP/1.1\r\n" WEB "Content-Length: 3 \x0c\r\n\r\nabc",
        "POST / HTTP/1.1\r\n" WEB "Content-Length: -3\r\n\r\nabc",
        "POST / HTTP/1.1\r\n" WEB "Content-Length: 18446744073709551619\r\n\r\nabc",
        "POST / HTTP/1.1\r\n" WEB "Content-Length:\r\n\r\nabc",
        "POST / HTTP/1.1\r\n" WEB "Content-Length: 3\r\nX: a\r\n b\r\n\r\nabc",
        "POST / HTTP/1.1\r\n" WEB " Content-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\n" WEB "Content Length: 3\r\n\r\nabc",
        "GET / HTTP/1.1\n" WEB "\n\n",
        "GET / HTTP/1.1\r\r\n" WEB "\r\n",
        "GET / HTTP/2.0\r\n" WEB "\r\n",
        "GET /\r\n",
        "GET /\tHTTP/1.1\r\n" WEB "\r\n",
    };
    struct world w;
    begin(&w);
    serve_web(&w, "");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        const char *answer = raw(&a, arena_printf(&a, "%sGET /smuggled HTTP/1.1\r\n" WEB "\r\n", cases[i]).p);
        if (w.smuggled || (answer[0] && !strstr(answer, " 400 ") && !strstr(answer, " 501 ") && !strstr(answer, " 502 ") && !strstr(answer, " 505 ")))
            fail_msg("case %zu: %s\n--> %s", i, cases[i], answer);
    }
    struct arena a CLEANUP_ARENA = ARENA_INIT; /* that the test would see one */
    raw(&a, "POST / HTTP/1.1\r\n" WEB CHUNKED "\r\n3\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n" WEB "\r\n");
    assert_true(w.smuggled);
    end(&w);
}

/* HTTP/2 has no such framing, HTTP/1 behind us has. */
FIBER_TEST(no_second_request_out_of_http2)
{
    static const struct {
        const char *name;
        struct str value;
    } cases[] = {
        {"x-a", STR("b\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: web.example\r\n\r\n")}, {"x-a", STR("b\nGET /smuggled HTTP/1.1")},
        {"x-a\r\nx-b", STR("c")},        {"x-a: b\r\nx", STR("c")},  {"transfer-encoding", STR("chunked")},
        {"connection", STR("close")},    {"X-Upper", STR("a")},      {"content-length", STR("3")},
        {"content-length", STR("+5")},   {":path", STR("/smuggled")}, {":authority", STR("rpc.example")},
        {"upgrade", STR("websocket")},   {"te", STR("chunked")},     {"x-nul", {"a\0b", 3}},
    };
    struct world w;
    bool ended;
    begin(&w);
    serve_web(&w, "");
    unsigned before = w.seen;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct buf more CLEANUP_BUF = BUF_INIT;
        put_header(&more, cases[i].name, cases[i].value, false);
        int status = h2_ask(&more, STR("0\r\n\r\nGET /smuggled HTTP/1.1\r\n"), &ended);
        if (!ended || (status && status < 400) || w.smuggled)
            fail_msg("case %zu, %s: status %d, %s", i, cases[i].name, status, ended ? "ended" : "not ended");
    }
    assert_true(w.seen <= before + 2); /* wrong lengths may show only at the body's end */
    struct buf fine CLEANUP_BUF = BUF_INIT; /* that the test's own frames are good ones */
    put_header(&fine, "x-fine", STR("1"), false);
    assert_int_equal(h2_ask(&fine, STR_NULL, &ended), 200);
    assert_true(saw(&w, "x-fine: 1\n"));
    struct buf host CLEANUP_BUF = BUF_INIT; /* two hosts are two opinions */
    put_header(&host, "host", STR("rpc.example"), false);
    int status = h2_ask(&host, STR_NULL, &ended);
    assert_false(status == 200 && saw(&w, "rpc.example"));
    end(&w);
}

/* ---- heads without end --------------------------------------------------------------------------------- */

FIBER_TEST(large_heads)
{
    struct world w;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT, big CLEANUP_BUF = BUF_INIT;
    bool ended;
    begin(&w);
    serve_web(&w, "");
    unsigned before = w.seen;
    buf_puts(&b, "GET / HTTP/1.1\r\n" WEB);
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "X-%d: a\r\n", i);
    buf_puts(&b, "\r\n");
    buf_putc(&b, '\0');
    assert_non_null(strstr(raw(&a, b.p), " 431 "));
    buf_clear(&b);
    for (int i = 0; i < 10000; i++)
        buf_puts(&big, "0123456789");
    assert_non_null(strstr(raw(&a, arena_printf(&a, "GET / HTTP/1.1\r\n" WEB "X: %.*s\r\n\r\n", (int)big.n, big.p).p), " 431 "));
    assert_non_null(strstr(raw(&a, arena_printf(&a, "GET /%.*s HTTP/1.1\r\n" WEB "\r\n", (int)big.n, big.p).p), " 431 "));
    /* a bomb: one large header in the table, then named in one byte again and again */
    put_header(&b, "x-bomb", str_n(big.p, 3500), true);
    for (int i = 0; i < 2000; i++)
        buf_putc(&b, (char)0xbe); /* RFC 7541 section 6.1: 62, the newest of the table */
    int status = h2_ask(&b, STR_NULL, &ended);
    assert_true(status != 200);
    assert_true(ended || status == 999); /* 431 is not in HPACK's static table */
    assert_int_equal(w.seen, before);
    expect(&w, "web.example", "/", 200);
    end(&w);
}

/* ---- slow clients -------------------------------------------------------------------------------------- */

FIBER_TEST(slow_clients_hold_up_nobody)
{
    enum { MANY = 300 };
    struct world w;
    struct stream *s[MANY];
    struct answer answer;
    char byte;
    begin(&w);
    group_stop(&w.g); /* anew, with less patience */
    w.config.header_timeout = MILLISECONDS(1500);
    group_spawn(&w.g, "ingress", run, &w);
    serve_web(&w, "'ingress.cube.dev/timeout':1s");
    unsigned before = w.seen;
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(stream_connect(HTTP, mono_add(os_mono(), SECONDS(5)), &s[i]), 0);
        stream_write(s[i], "GET / HTTP/1.1\r\nHo", 18, mono_add(os_mono(), SECONDS(1)));
    }
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < MANY; i++)
            stream_write(s[i], "s", 1, mono_add(os_mono(), SECONDS(1)));
        assert_int_equal(get(&w, "web.example", "/", &answer), 0);
        assert_int_equal(answer.status, 200);
    }
    assert_int_equal(w.seen, before + 5);
    for (int i = 0; i < MANY; i++) { /* a byte now and then is no progress */
        ssize_t n;
        while ((n = stream_read(s[i], &byte, 1, mono_add(os_mono(), SECONDS(8)))) > 0)
            ;
        assert_true(n != -ETIMEDOUT);
        stream_free(s[i]);
    }
    struct stream *one; /* a small body that stops: no back end waits for it */
    before = w.seen;
    char text[13] = {0};
    assert_int_equal(stream_connect(HTTP, mono_add(os_mono(), SECONDS(5)), &one), 0);
    stream_write(one, "POST / HTTP/1.1\r\n" WEB "Content-Length: 10\r\n\r\nabc", 58, mono_add(os_mono(), SECONDS(1)));
    assert_int_equal(stream_read_full(one, text, 12, mono_add(os_mono(), SECONDS(5))), 0);
    assert_string_equal(text, "HTTP/1.1 408");
    assert_int_equal(w.seen, before);
    stream_free(one);
    end(&w);
}

/* ---- floods -------------------------------------------------------------------------------------------- */

/* CVE-2023-44487: the handlers of requests that were taken back count, too. */
FIBER_TEST(rapid_reset)
{
    struct world w;
    struct buf head CLEANUP_BUF = BUF_INIT;
    begin(&w);
    serve_web(&w, "");
    struct stream *s = h2_open();
    put_request(&head, "/slow");
    bool broken = false;
    for (uint32_t i = 0; i < 3000 && !broken; i += 100) {
        struct buf asked CLEANUP_BUF = BUF_INIT, taken_back CLEANUP_BUF = BUF_INIT;
        for (uint32_t k = i; k < i + 100; k++) {
            put_frame(&asked, HEADERS, END_HEADERS | END_STREAM, 2 * k + 1, buf_str(&head));
            put_frame(&taken_back, RST_STREAM, 0, 2 * k + 1, STR("\0\0\0\x08"));
        }
        broken = stream_write(s, asked.p, asked.n, mono_add(os_mono(), SECONDS(5))) < 0;
        fiber_sleep(MILLISECONDS(10)); /* they have handlers now */
        broken = broken || stream_write(s, taken_back.p, taken_back.n, mono_add(os_mono(), SECONDS(5))) < 0;
    }
    expect(&w, "web.example", "/", 200);
    assert_true(w.peak > 50); /* else it was no attack */
    assert_true(w.peak <= 502); /* twice the streams that a connection may have, and ours */
    stream_free(s);
    expect(&w, "web.example", "/", 200);
    end(&w);
}

/* CVE-2024-27316 and its like: a head that never ends, in frames that cost the server memory or time. */
FIBER_TEST(continuation_flood)
{
    struct world w;
    struct buf head CLEANUP_BUF = BUF_INIT, piece CLEANUP_BUF = BUF_INIT, b CLEANUP_BUF = BUF_INIT;
    bool ended;
    begin(&w);
    serve_web(&w, "");
    unsigned before = w.seen;
    struct stream *s = h2_open();
    put_request(&head, "/");
    put_frame(&b, HEADERS, END_STREAM, 1, buf_str(&head));
    put_header(&piece, "x-more", STR("0123456789012345678901234567890123456789"), false);
    for (int i = 0; i < 10000; i++)
        put_frame(&b, CONTINUATION, 0, 1, buf_str(&piece));
    int r = stream_write(s, b.p, b.n, mono_add(os_mono(), SECONDS(5)));
    int status = h2_read(s, SECONDS(2), &ended);
    assert_true((r < 0 && r != -ETIMEDOUT) || ended);
    assert_int_equal(status, 0);
    assert_int_equal(w.seen, before);
    stream_free(s);
    expect(&w, "web.example", "/", 200);
    end(&w);
}

/* CVE-2019-9512, 9515: answers that nobody reads pile up. */
FIBER_TEST(ping_and_settings_floods)
{
    static const struct {
        int type;
        struct str payload;
    } cases[] = {{PING, STR("01234567")}, {SETTINGS, STR("")}};
    struct world w;
    begin(&w);
    serve_web(&w, "");
    for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
        struct stream *s = h2_open();
        struct buf b CLEANUP_BUF = BUF_INIT;
        int r = 0;
        for (int i = 0; i < 1000; i++)
            put_frame(&b, cases[k].type, 0, 0, cases[k].payload);
        for (int i = 0; i < 2000 && r == 0; i++) /* nothing is read meanwhile */
            r = stream_write(s, b.p, b.n, mono_add(os_mono(), SECONDS(2)));
        assert_true(r < 0); /* it was ended, or is read from no more */
        expect(&w, "web.example", "/", 200);
        stream_free(s);
    }
    end(&w);
}

/* ---- what is to work ----------------------------------------------------------------------------------- */

/* As gRPC has it: messages both ways while the request goes on, trailers at the end. */
FIBER_TEST(streams_both_ways)
{
    struct world w;
    struct http_call *call;
    struct err e;
    char text[8];
    begin(&w);
    serve_web(&w, "");
    struct http_client *c = http_client_new(&(struct http_client_config){.h2_prior = true});
    const struct http_header h[] = {{STR("Host"), STR("rpc.example")}, {STR("Content-Type"), STR("application/grpc")}, {STR("TE"), STR("trailers")}};
    struct http_request r = {.method = "POST", .url = "http://" HTTP "/echo", .headers = h, .n_headers = ARRAY_SIZE(h), .stream_body = true};
    assert_int_equal(http_begin(c, &r, mono_add(os_mono(), SECONDS(5)), &call, &e), 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(http_call_write(call, STR("hello"), mono_add(os_mono(), SECONDS(5))), 0);
        if (i == 0)
            assert_int_equal(http_call_wait(call, mono_add(os_mono(), SECONDS(5)), &e), 0);
        assert_int_equal(http_call_read(call, text, sizeof(text), mono_add(os_mono(), SECONDS(5))), 5);
    }
    assert_int_equal(call->status, 200);
    assert_int_equal(call->version, 20);
    assert_int_equal(w.last_version, 20);
    assert_int_equal(http_call_end(call), 0);
    assert_int_equal(http_call_read(call, text, sizeof(text), mono_add(os_mono(), SECONDS(5))), 0);
    assert_str(http_header(&call->trailers, "grpc-status"), "0");
    http_call_free(call);
    http_client_free(c);
    end(&w);
}

/* A large body passes through; it is never held. */
FIBER_TEST(large_uploads)
{
    enum { PIECES = 640, PIECE_SIZE = 100000 };
    struct world w;
    struct http_call *call;
    struct err e;
    struct str answer;
    begin(&w);
    serve_web(&w, "");
    char *piece = xcalloc(1, PIECE_SIZE);
    const struct http_header h[] = {{STR("Host"), STR("web.example")}};
    for (int known = 0; known < 2; known++) {
        struct http_request r = {.method = "PUT", .url = "http://" HTTP "/up", .headers = h, .n_headers = 1, .stream_body = true,
                                 .content_length = known ? (int64_t)PIECES * PIECE_SIZE : 0};
        assert_int_equal(http_begin(w.client, &r, mono_add(os_mono(), SECONDS(5)), &call, &e), 0);
        for (int i = 0; i < PIECES; i++)
            assert_int_equal(http_call_write(call, str_n(piece, PIECE_SIZE), mono_add(os_mono(), SECONDS(10))), 0);
        assert_int_equal(http_call_end(call), 0);
        assert_int_equal(http_call_wait(call, mono_add(os_mono(), SECONDS(10)), &e), 0);
        assert_int_equal(call->status, 200);
        assert_int_equal(http_call_read_all(call, 100, mono_add(os_mono(), SECONDS(5)), &answer), 0);
        assert_int_equal(w.last_body, PIECES * PIECE_SIZE);
        http_call_free(call);
    }
    free(piece);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_second_request_in_a_first),
        cmocka_unit_test(no_second_request_out_of_http2),
        cmocka_unit_test(large_heads),
        cmocka_unit_test(slow_clients_hold_up_nobody),
        cmocka_unit_test(rapid_reset),
        cmocka_unit_test(continuation_flood),
        cmocka_unit_test(ping_and_settings_floods),
        cmocka_unit_test(streams_both_ways),
        cmocka_unit_test(large_uploads),
    };
    if (geteuid() || unshare(CLONE_NEWNET) < 0)
        return 0;
    loop_run(bring_up, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
