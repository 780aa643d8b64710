/* SPDX-License-Identifier: Apache-2.0 */
/* One server, asked over HTTP/1.1 and over HTTP/2, must give the same answers. */
#include "net/http.h"

#include "../testing.h"

#include <stdio.h>

/* ---- the server under test ---------------------------------------------------------------------------- */

struct world {
    struct http_server *server;
    struct http_client *client;
    char base[96];
    unsigned gone, cancelled, running, peak;
    struct waitq events;
    unsigned n_events;
};

static struct world w;

static struct mono soon(int ms)
{
    return mono_add(os_mono(), MILLISECONDS(ms));
}

static void serve_echo(struct http_exchange *x)
{
    struct str body;
    int r = http_read_all(x, 8 << 20, soon(5000), &body);
    if (r < 0) {
        http_respond(x, r == -EFBIG ? 413 : 400, "text/plain", STR("no"));
        return;
    }
    http_add_header(x, "X-Method", x->method);
    http_add_header(x, "X-Query", x->query);
    http_add_header(x, "X-Host", x->host);
    http_respond(x, 200, "application/octet-stream", body);
}

static void serve_stream(struct http_exchange *x)
{
    http_start(x, 200, "text/plain", -1);
    for (int i = 0; i < 5; i++) {
        char line[32];
        int n = snprintf(line, sizeof(line), "event %d\n", i);
        if (http_write(x, str_n(line, (size_t)n), soon(5000)) < 0)
            return;
        fiber_sleep(MILLISECONDS(2));
    }
    http_add_trailer(x, "X-Sum", STR("5"));
}

/* As a watch is written: waits for events or for the client's leaving. */
static void serve_watch(struct http_exchange *x)
{
    unsigned seen = w.n_events;
    http_start(x, 200, "application/json", -1);
    http_notify_gone(x, &w.events);
    while (!http_gone(x) && !http_stopping(x)) {
        if (seen != w.n_events) {
            seen++;
            if (http_write(x, STR("{}\n"), soon(5000)) < 0)
                break;
            continue;
        }
        if (waitq_wait(&w.events, MONO_NEVER) < 0) {
            w.cancelled++;
            break;
        }
    }
    http_notify_gone(x, NULL);
    w.gone++;
}

static void serve_big(struct http_exchange *x)
{
    size_t n = 3 << 20;
    char *p = arena_bytes(&x->arena, n);
    memset(p, 'b', n);
    http_respond(x, 200, "text/plain", str_n(p, n));
}

static void serve_slow(struct http_exchange *x)
{
    w.running++;
    w.peak = w.running > w.peak ? w.running : w.peak;
    fiber_sleep(MILLISECONDS(50));
    w.running--;
    http_respond(x, 200, NULL, STR("slow"));
}

static void serve_upgrade(struct http_exchange *x)
{
    struct stream *s;
    if (!http_wants_upgrade(x, "echo") || http_upgrade(x, "echo", &s) != 0) {
        http_respond(x, 400, NULL, STR("not an upgrade"));
        return;
    }
    char p[64];
    ssize_t n;
    while ((n = stream_read(s, p, sizeof(p), soon(5000))) > 0)
        stream_write(s, p, (size_t)n, soon(5000));
    stream_free(s);
}

static void serve_short(struct http_exchange *x)
{
    http_start(x, 200, NULL, 100);
    http_write(x, STR("too little"), soon(1000));
}

static void serve_silent(struct http_exchange *x) {}

static const struct {
    const char *path;
    void (*serve)(struct http_exchange *x);
} routes[] = {{"/echo", serve_echo},   {"/stream", serve_stream}, {"/watch", serve_watch},
              {"/big", serve_big},     {"/slow", serve_slow},     {"/upgrade", serve_upgrade},
              {"/short", serve_short}, {"/silent", serve_silent}};

static void handler(void *ctx, struct http_exchange *x)
{
    for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
        if (str_is(x->path, routes[i].path)) {
            routes[i].serve(x);
            return;
        }
    }
    http_respond(x, 404, "text/plain", STR("nothing here\n"));
}

/* ---- running a case inside a loop --------------------------------------------------------------------- */

struct run {
    void (*fn)(void);
    bool h2;
};

static void start_server(const struct http_server_config *more)
{
    struct http_server_config config = *more;
    struct err e;
    char address[64];
    config.handler = handler;
    w.server = http_server_new(&config);
    assert_int_equal(http_server_listen(w.server, "127.0.0.1:0", &e), 0);
    assert_int_equal(http_server_address(w.server, address, sizeof(address)), 0);
    snprintf(w.base, sizeof(w.base), "http://%s", address);
}

static void run_main(void *arg)
{
    struct run *run = arg;
    w = (struct world){0};
    start_server(&(struct http_server_config){0});
    w.client = http_client_new(&(struct http_client_config){.h2_prior = run->h2});
    run->fn();
    http_client_free(w.client);
    http_server_free(w.server);
}

static void run_both(void (*fn)(void))
{
    struct run run = {fn, false};
    loop_run(run_main, &run);
    run.h2 = true;
    loop_run(run_main, &run);
}

static void run_h1(void (*fn)(void))
{
    struct run run = {fn, false};
    loop_run(run_main, &run);
}

static void run_h2(void (*fn)(void))
{
    struct run run = {fn, true};
    loop_run(run_main, &run);
}

static struct http_call *call(const char *method, const char *path, struct str body)
{
    char url[256];
    struct err e = {0};
    struct http_call *c = NULL;
    snprintf(url, sizeof(url), "%s%s", w.base, path);
    struct http_request r = {.method = method, .url = url, .body = body};
    int n = http_do(w.client, &r, soon(5000), &c, &e);
    if (n < 0)
        print_message("%s: %s\n", path, err_text(&e, n));
    assert_int_equal(n, 0);
    return c;
}

static struct str body_of(struct http_call *c)
{
    struct str s;
    assert_int_equal(http_call_read_all(c, 8 << 20, soon(5000), &s), 0);
    return s;
}

/* ---- cases -------------------------------------------------------------------------------------------- */

static void echo_case(void)
{
    struct http_call *c = call("POST", "/echo?a=b&c", STR("hello"));
    assert_int_equal(c->status, 200);
    assert_true(str_is(body_of(c), "hello"));
    assert_true(str_is(http_header(&c->headers, "x-method"), "POST"));
    assert_true(str_is(http_header(&c->headers, "x-query"), "a=b&c"));
    assert_true(str_is(http_header(&c->headers, "x-host"), w.base + 7));
    assert_true(str_is(http_header(&c->headers, "content-length"), "5"));
    assert_non_null(http_header(&c->headers, "date").p);
    http_call_free(c);
    for (int i = 0; i < 3; i++) { /* the connection is used again */
        c = call("GET", "/nothing", STR_NULL);
        assert_int_equal(c->status, 404);
        assert_true(str_is(body_of(c), "nothing here\n"));
        http_call_free(c);
    }
    assert_int_equal(http_server_connections(w.server), 1);
}

static void test_echo(void **state)
{
    run_both(echo_case);
}

static void head_case(void)
{
    struct http_call *c = call("HEAD", "/big", STR_NULL);
    assert_int_equal(c->content_length, 3 << 20);
    assert_int_equal(body_of(c).n, 0);
    http_call_free(c);
    c = call("GET", "/silent", STR_NULL);
    assert_int_equal(c->status, 500);
    http_call_free(c);
    assert_int_equal(http_server_connections(w.server), 1);
}

static void test_head(void **state)
{
    run_both(head_case);
}

static void stream_case(void)
{
    struct http_call *c = call("GET", "/stream", STR_NULL);
    char p[64];
    ssize_t n = http_call_read(c, p, sizeof(p), soon(5000));
    assert_int_equal(n, 8); /* the first event comes at once and alone */
    assert_true(str_is(body_of(c), "event 1\nevent 2\nevent 3\nevent 4\n"));
    assert_true(str_is(http_header(&c->trailers, "x-sum"), "5"));
    http_call_free(c);
}

static void test_stream(void **state)
{
    run_both(stream_case);
}

static void big_case(void)
{
    struct http_call *c = call("GET", "/big", STR_NULL);
    assert_int_equal(body_of(c).n, 3 << 20);
    http_call_free(c);
    size_t n = 5 << 20;
    char *p = xmalloc(n);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(i * 7 + i / 251);
    c = call("PUT", "/echo", str_n(p, n));
    assert_true(str_eq(body_of(c), str_n(p, n)));
    http_call_free(c);
    free(p);
}

static void test_big(void **state)
{
    run_both(big_case);
}

static void too_large_case(void)
{
    size_t n = 9 << 20;
    char *p = xcalloc(1, n);
    struct http_call *c = call("POST", "/echo", str_n(p, n));
    assert_int_equal(c->status, 413);
    http_call_free(c);
    free(p);
}

static void test_too_large(void **state)
{
    run_both(too_large_case);
}

static void watch_case(void)
{
    struct http_call *c = call("GET", "/watch", STR_NULL);
    char p[64];
    fiber_sleep(MILLISECONDS(10));
    for (int i = 0; i < 3; i++) {
        w.n_events++;
        waitq_wake_all(&w.events);
        assert_int_equal(http_call_read(c, p, sizeof(p), soon(1000)), 3);
    }
    assert_int_equal(http_call_read(c, p, sizeof(p), soon(20)), -ETIMEDOUT);
    assert_int_equal(w.gone, 0);
    http_call_free(c); /* leaving is noticed without an event */
    struct mono end = soon(2000);
    while (!w.gone && os_mono().ns < end.ns)
        fiber_sleep(MILLISECONDS(2));
    assert_int_equal(w.gone, 1);
    assert_int_equal(w.cancelled, 0);
}

static void test_watch(void **state)
{
    run_both(watch_case);
}

static void one_slow(void *arg)
{
    struct http_call *c = call("GET", "/slow", STR_NULL);
    assert_true(str_is(body_of(c), "slow"));
    http_call_free(c);
    ++*(int *)arg;
}

static void parallel_case(void)
{
    struct group g = {0};
    int done = 0;
    for (int i = 0; i < 40; i++)
        group_spawn(&g, "slow", one_slow, &done);
    assert_int_equal(group_wait(&g, soon(5000)), 0);
    assert_int_equal(done, 40);
    assert_int_equal(w.peak, 40);
}

static void test_parallel(void **state)
{
    run_both(parallel_case);
}

static void parallel_h2_case(void)
{
    parallel_case();
    assert_int_equal(http_server_connections(w.server), 1);
}

static void test_parallel_h2(void **state)
{
    run_h2(parallel_h2_case);
}

static void short_case(void)
{
    struct http_call *c = call("GET", "/short", STR_NULL);
    struct str s;
    assert_true(http_call_read_all(c, 1000, soon(2000), &s) < 0); /* never taken for whole */
    http_call_free(c);
}

static void test_short(void **state)
{
    run_both(short_case);
}

static void upload_case(void)
{
    char url[128];
    struct err e;
    struct http_call *c;
    snprintf(url, sizeof(url), "%s/echo", w.base);
    struct http_request r = {.method = "POST", .url = url, .stream_body = true};
    assert_int_equal(http_begin(w.client, &r, soon(2000), &c, &e), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(http_call_write(c, STR("0123456789"), soon(1000)), 0);
    assert_int_equal(http_call_end(c), 0);
    assert_int_equal(http_call_wait(c, soon(1000), &e), 0);
    assert_int_equal(body_of(c).n, 100);
    http_call_free(c);
}

static void test_upload(void **state)
{
    run_both(upload_case);
}

static void abort_main(void *arg)
{
    fiber_sleep(MILLISECONDS(20));
    http_call_abort(arg);
}

static void abort_case(void)
{
    struct http_call *c = call("GET", "/watch", STR_NULL);
    struct group g = {0};
    char p[8];
    group_spawn(&g, "abort", abort_main, c);
    assert_int_equal(http_call_read(c, p, sizeof(p), soon(2000)), -ECONNABORTED);
    group_stop(&g);
    http_call_free(c);
}

static void test_abort(void **state)
{
    run_both(abort_case);
}

static void stop_main(void *arg)
{
    *(int *)arg = http_server_stop(w.server, soon(2000));
}

/* Stopping ends watches through http_stopping(), lets the slow one finish, and takes nothing new. */
static void stop_case(void)
{
    struct group g = {0};
    int done = 0, r = -1;
    struct http_call *c = call("GET", "/watch", STR_NULL);
    group_spawn(&g, "slow", one_slow, &done);
    fiber_sleep(MILLISECONDS(20));
    group_spawn(&g, "stop", stop_main, &r);
    assert_int_equal(body_of(c).n, 0);
    http_call_free(c);
    assert_int_equal(group_wait(&g, soon(4000)), 0);
    assert_int_equal(done, 1);
    assert_int_equal(r, 0);
    assert_int_equal(http_server_connections(w.server), 0);
}

static void test_stop(void **state)
{
    run_both(stop_case);
}

static void stop_hard_case(void)
{
    struct http_call *c = call("GET", "/watch", STR_NULL);
    /* This server's watch does look at http_stopping(); a handler that sleeps on is cancelled at the
     * deadline. */
    int r = http_server_stop(w.server, (struct mono){1});
    assert_true(r == 0 || r == -ETIMEDOUT);
    assert_int_equal(http_server_connections(w.server), 0);
    http_call_free(c);
}

static void test_stop_hard(void **state)
{
    run_both(stop_hard_case);
}

/* ---- upgrades ----------------------------------------------------------------------------------------- */

static void upgrade_case(void)
{
    char url[128], p[16];
    struct err e;
    struct http_call *c;
    struct stream *s;
    snprintf(url, sizeof(url), "%s/upgrade", w.base);
    struct http_request r = {.url = url};
    assert_int_equal(http_client_upgrade(w.client, &r, "echo", soon(2000), &c, &s, &e), 0);
    assert_int_equal(c->status, 101);
    assert_true(str_is(http_header(&c->headers, "upgrade"), "echo"));
    assert_int_equal(stream_write(s, "ping", 4, soon(1000)), 0);
    assert_int_equal(stream_read_full(s, p, 4, soon(1000)), 0);
    assert_memory_equal(p, "ping", 4);
    stream_free(s);
    http_call_free(c);
    assert_int_equal(http_client_upgrade(w.client, &r, "other", soon(2000), &c, &s, &e), HTTP_NO_UPGRADE);
    assert_int_equal(c->status, 400);
    assert_true(str_is(body_of(c), "not an upgrade"));
    http_call_free(c);
}

static void test_upgrade(void **state)
{
    run_both(upgrade_case);
}

/* ---- the proxy ---------------------------------------------------------------------------------------- */

static char proxy_to[128];

static struct str rewrite(void *ctx, struct arena *a, struct str name, struct str value)
{
    return str_is(name, "x-host") ? STR_NULL : value;
}

static void proxy_handler(void *ctx, struct http_exchange *x)
{
    struct err e;
    const struct http_header set[] = {{STR("X-Added"), STR("1")}, {STR("authorization"), STR_NULL}};
    struct http_proxy p = {.client = w.client,
                           .url = arena_printf(&x->arena, "%s" STR_FMT, proxy_to, STR_ARG(x->target)).p,
                           .headers = set,
                           .n_headers = 2,
                           .response_header = rewrite};
    if (http_proxy(x, &p, &e) < 0)
        http_respond(x, 502, "text/plain", str_of(e.text));
}

static void proxy_case(void)
{
    struct http_server *front = http_server_new(&(struct http_server_config){.handler = proxy_handler});
    struct err e;
    char address[64];
    assert_int_equal(http_server_listen(front, "127.0.0.1:0", &e), 0);
    http_server_address(front, address, sizeof(address));
    snprintf(proxy_to, sizeof(proxy_to), "%s", w.base);
    snprintf(w.base, sizeof(w.base), "http://%s", address);
    struct http_call *c = call("POST", "/echo?q=1", STR("through"));
    assert_int_equal(c->status, 200);
    assert_true(str_is(body_of(c), "through"));
    assert_null(http_header(&c->headers, "x-host").p);
    assert_true(str_is(http_header(&c->headers, "x-query"), "q=1"));
    http_call_free(c);
    stream_case();
    big_case();
    watch_case();
    upgrade_case();
    snprintf(proxy_to, sizeof(proxy_to), "http://127.0.0.1:1");
    c = call("GET", "/echo", STR_NULL);
    assert_int_equal(c->status, 502);
    http_call_free(c);
    http_server_free(front);
}

static void test_proxy(void **state)
{
    run_both(proxy_case);
}

/* ---- raw bytes: what HTTP/1 must refuse ---------------------------------------------------------------- */

static void raw(const char *request, size_t n, char *answer, size_t size)
{
    struct stream *s;
    assert_int_equal(stream_connect(w.base + 7, soon(1000), &s), 0);
    stream_write(s, request, n, soon(1000));
    stream_shutdown(s);
    size_t at = 0;
    ssize_t r;
    while (at + 1 < size && (r = stream_read(s, answer + at, size - 1 - at, soon(3000))) > 0)
        at += (size_t)r;
    answer[at] = '\0';
    stream_free(s);
}

static void raw_case(void)
{
    static const struct {
        const char *request;
        int status;
    } cases[] = {
        {"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404},
        {"GET /nothing HTTP/1.0\r\n\r\n", 404},
        {"\r\nGET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404},
        {"GET http://a/nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404},
        {"GET /nothing HTTP/1.1\r\n\r\n", 400}, /* no Host */
        {"GET /nothing HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        {"GET /nothing HTTP/1.1\nHost: a\n\n", 400},                     /* bare LF */
        {"GET /nothing HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400},         /* bare CR */
        {"GET /nothing HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400},      /* space before the colon */
        {"GET /nothing HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400}, /* folded */
        {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         400},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", 400},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501},
        {"POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {"GET /nothing HTTP/3.0\r\nHost: a\r\n\r\n", 505},
        {"nonsense\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", 400},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char answer[2048], want[32];
        raw(cases[i].request, strlen(cases[i].request), answer, sizeof(answer));
        snprintf(want, sizeof(want), "HTTP/1.1 %d ", cases[i].status);
        if (strncmp(answer, want, strlen(want)))
            print_message("case %zu: wanted %sgot %.30s\n", i, want, answer);
        assert_memory_equal(answer, want, strlen(want));
    }
}

static void test_raw(void **state)
{
    run_h1(raw_case);
}

static void header_limit_case(void)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    char answer[1024];
    buf_puts(&b, "GET /nothing HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 100; i++)
        buf_printf(&b, "X-%d: %01000d\r\n", i, 7);
    buf_puts(&b, "\r\n");
    raw(b.p, b.n, answer, sizeof(answer));
    assert_memory_equal(answer, "HTTP/1.1 431", 12);
}

static void test_header_limit(void **state)
{
    run_h1(header_limit_case);
}

static void pipeline_case(void)
{
    static const char two[] = "GET /slow HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\n"
                              "Content-Length: 2\r\nConnection: close\r\n\r\nhi";
    char answer[2048];
    raw(two, sizeof(two) - 1, answer, sizeof(answer));
    assert_non_null(strstr(answer, "slow"));
    assert_non_null(strstr(answer, "X-Method: POST"));
    assert_string_equal(answer + strlen(answer) - 2, "hi");
}

static void test_pipeline(void **state)
{
    run_h1(pipeline_case);
}

static void continue_case(void)
{
    struct stream *s;
    char p[64];
    assert_int_equal(stream_connect(w.base + 7, soon(1000), &s), 0);
    static const char head[] =
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    stream_write(s, head, sizeof(head) - 1, soon(1000));
    assert_int_equal(stream_read_full(s, p, 25, soon(1000)), 0);
    assert_memory_equal(p, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    stream_write(s, "ok", 2, soon(1000));
    assert_int_equal(stream_read_full(s, p, 12, soon(1000)), 0);
    assert_memory_equal(p, "HTTP/1.1 200", 12);
    stream_free(s);
}

static void test_continue(void **state)
{
    run_h1(continue_case);
}

static void slow_header_case(void)
{
    http_server_free(w.server);
    start_server(
        &(struct http_server_config){.header_timeout = MILLISECONDS(50), .idle_timeout = MILLISECONDS(80)});
    struct stream *s;
    char p[8];
    struct mono start = os_mono();
    assert_int_equal(stream_connect(w.base + 7, soon(1000), &s), 0);
    stream_write(s, "GET / HT", 8, soon(1000));
    assert_true(stream_read(s, p, sizeof(p), soon(3000)) <= 0);
    stream_free(s);
    assert_int_equal(stream_connect(w.base + 7, soon(1000), &s), 0);
    assert_true(stream_read(s, p, sizeof(p), soon(3000)) <= 0); /* idle */
    stream_free(s);
    assert_true(os_mono().ns - start.ns < SECONDS(2));
}

static void test_slow_header(void **state)
{
    run_h1(slow_header_case);
}

static void stale_case(void)
{
    http_server_free(w.server);
    start_server(&(struct http_server_config){.idle_timeout = MILLISECONDS(30)});
    for (int i = 0; i < 3; i++) { /* the server closes between our requests */
        struct http_call *c = call("POST", "/echo", STR("x"));
        assert_true(str_is(body_of(c), "x"));
        http_call_free(c);
        fiber_sleep(MILLISECONDS(60));
    }
}

static void test_stale(void **state)
{
    run_both(stale_case);
}

/* A thousand watches cancelled at once is an honest client. */
static void cancel_many_case(void)
{
    for (int round = 0; round < 5; round++) {
        struct http_call *c[200];
        for (size_t i = 0; i < ARRAY_SIZE(c); i++)
            c[i] = call("GET", "/watch", STR_NULL);
        for (size_t i = 0; i < ARRAY_SIZE(c); i++)
            http_call_free(c[i]);
    }
    struct http_call *c = call("GET", "/nothing", STR_NULL);
    assert_int_equal(c->status, 404);
    http_call_free(c);
    assert_int_equal(http_server_connections(w.server), 1);
    struct mono end = soon(5000);
    while (w.gone < 1000 && os_mono().ns < end.ns)
        fiber_sleep(MILLISECONDS(5));
    assert_int_equal(w.gone, 1000);
}

static void test_cancel_many(void **state)
{
    run_h2(cancel_many_case);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),         cmocka_unit_test(test_head),
        cmocka_unit_test(test_stream),       cmocka_unit_test(test_big),
        cmocka_unit_test(test_too_large),    cmocka_unit_test(test_watch),
        cmocka_unit_test(test_parallel),     cmocka_unit_test(test_parallel_h2),
        cmocka_unit_test(test_short),        cmocka_unit_test(test_upload),
        cmocka_unit_test(test_abort),        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_stop_hard),    cmocka_unit_test(test_upgrade),
        cmocka_unit_test(test_proxy),        cmocka_unit_test(test_raw),
        cmocka_unit_test(test_header_limit), cmocka_unit_test(test_pipeline),
        cmocka_unit_test(test_continue),     cmocka_unit_test(test_slow_header),
        cmocka_unit_test(test_stale),        cmocka_unit_test(test_cancel_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
