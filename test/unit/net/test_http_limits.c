/* SPDX-License-Identifier: Apache-2.0 */
/* What clients and servers do to each other when they are slow, silent, greedy or hostile. */
#include "../testing.h"
#include "net/http.h"

#include <stdio.h>

static struct http_server *server;
static struct http_client *client;
static char base[128];
static unsigned running, peak, timed_out, gone;

static struct mono soon(int ms)
{
    return mono_add(os_mono(), MILLISECONDS(ms));
}

static void serve_slow(struct http_exchange *x)
{
    running++;
    peak = MAX(peak, running);
    fiber_sleep(MILLISECONDS(30));
    running--;
    http_respond(x, 200, NULL, STR("slow"));
}

static void serve_endless(struct http_exchange *x)
{
    static char piece[65536];
    http_start(x, 200, NULL, -1);
    int r;
    do {
        r = http_write(x, str_n(piece, sizeof(piece)), MONO_NEVER);
    } while (r == 0);
    timed_out += r == -ETIMEDOUT;
}

static void serve_hang(struct http_exchange *x)
{
    if (http_wait_gone(x, soon(5000)) == 0)
        gone++;
}

static void serve_injection(struct http_exchange *x)
{
    static const char *const values[] = {"a\r\nSet-Cookie: x", "a\nb", "a\rb"};
    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
        assert_int_equal(http_add_header(x, "X-Bad", str_of(values[i])), -EINVAL);
    assert_int_equal(http_add_header(x, "X Bad", STR("v")), -EINVAL);
    assert_int_equal(http_add_header(x, "", STR("v")), -EINVAL);
    assert_int_equal(http_add_header(x, "Content-Length", STR("7")), 0); /* ignored: framing is ours */
    http_respond(x, 200, NULL, STR("ok"));
}

static void serve_large_head(struct http_exchange *x)
{
    char value[2000];
    memset(value, 'h', sizeof(value));
    for (int i = 0; i < 20; i++)
        http_add_header(x, "X-Large", str_n(value, sizeof(value)));
    http_respond(x, 200, NULL, STR("ok"));
}

static void serve_too_much(struct http_exchange *x)
{
    http_start(x, 200, NULL, 3);
    assert_int_equal(http_write(x, STR("four"), soon(100)), -EINVAL);
}

static const struct {
    const char *path;
    void (*serve)(struct http_exchange *x);
} routes[] = {{"/slow", serve_slow},           {"/endless", serve_endless},       {"/hang", serve_hang},
              {"/injection", serve_injection}, {"/large-head", serve_large_head}, {"/too-much", serve_too_much}};

static void handler(void *ctx, struct http_exchange *x)
{
    for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
        if (str_is(x->path, routes[i].path)) {
            routes[i].serve(x);
            return;
        }
    }
    http_respond(x, 200, NULL, STR("unread"));
}

static void start(struct http_server_config s, struct http_client_config c)
{
    struct err e;
    char address[64];
    s.handler = handler;
    running = peak = timed_out = gone = 0;
    server = http_server_new(&s);
    assert_int_equal(http_server_listen(server, "127.0.0.1:0", &e), 0);
    http_server_address(server, address, sizeof(address));
    snprintf(base, sizeof(base), "http://%s", address);
    client = http_client_new(&c);
}

static void stop(void)
{
    http_client_free(client);
    http_server_free(server);
}

static int ask(const char *path, struct str body, struct http_call **ret, struct err *e)
{
    char url[256];
    snprintf(url, sizeof(url), "%s%s", base, path);
    struct http_request r = {.method = body.n ? "POST" : "GET", .url = url, .body = body};
    return http_do(client, &r, soon(5000), ret, e);
}

static void ask_slow(void *arg)
{
    struct http_call *c;
    struct err e = {0};
    if (ask("/slow", STR_NULL, &c, &e) == 0) {
        *(int *)arg += c->status == 200;
        http_call_free(c);
    }
}

static bool becomes(const unsigned *what, unsigned want)
{
    struct mono end = soon(3000);
    while (*what != want && os_mono().ns < end.ns)
        fiber_sleep(MILLISECONDS(2));
    return *what == want;
}

/* ---- cases -------------------------------------------------------------------------------------------- */

/* Requests that are reset at once leave their handlers running: those count, however many streams "are open". */
FIBER_TEST(rapid_reset)
{
    char url[256];
    start((struct http_server_config){.max_streams = 20}, (struct http_client_config){.h2_prior = true});
    snprintf(url, sizeof(url), "%s/slow", base);
    struct http_request r = {.url = url};
    for (int i = 0; i < 2000; i++) {
        struct http_call *c;
        struct err e;
        assert_int_equal(http_begin(client, &r, soon(1000), &c, &e), 0);
        http_call_free(c);
        if (i % 50 == 0)
            fiber_yield();
    }
    fiber_sleep(MILLISECONDS(100));
    assert_true(peak <= 40);
    int ok = 0;
    ask_slow(&ok);
    assert_int_equal(ok, 1); /* others are still served */
    stop();
}

FIBER_TEST(more_requests_than_connections)
{
    struct group g = {0};
    int ok = 0;
    start((struct http_server_config){0}, (struct http_client_config){.max_conns = 3});
    for (int i = 0; i < 12; i++)
        group_spawn(&g, "ask", ask_slow, &ok);
    assert_int_equal(group_wait(&g, soon(5000)), 0);
    assert_int_equal(ok, 12);
    assert_int_equal(peak, 3);
    stop();
}

FIBER_TEST(more_requests_than_streams)
{
    struct group g = {0};
    int ok = 0;
    start((struct http_server_config){.max_streams = 5}, (struct http_client_config){.h2_prior = true});
    ask_slow(&ok); /* the server's limit is known afterwards */
    for (int i = 0; i < 30; i++)
        group_spawn(&g, "ask", ask_slow, &ok);
    assert_int_equal(group_wait(&g, soon(5000)), 0);
    assert_int_equal(ok, 31);
    stop();
}

FIBER_TEST(a_server_that_takes_few_connections)
{
    struct group g = {0};
    int ok = 0;
    start((struct http_server_config){.max_connections = 2, .idle_timeout = MILLISECONDS(20)},
          (struct http_client_config){0});
    for (int i = 0; i < 6; i++)
        group_spawn(&g, "ask", ask_slow, &ok);
    fiber_sleep(MILLISECONDS(20));
    assert_true(http_server_connections(server) <= 2);
    assert_int_equal(group_wait(&g, soon(5000)), 0);
    assert_int_equal(ok, 6); /* the others waited */
    stop();
}

FIBER_TEST(clients_that_do_not_read)
{
    for (int h2 = 0; h2 < 2; h2++) {
        struct http_call *c;
        struct err e;
        start((struct http_server_config){.write_timeout = MILLISECONDS(60)},
              (struct http_client_config){.h2_prior = h2});
        assert_int_equal(ask("/endless", STR_NULL, &c, &e), 0);
        assert_true(becomes(&timed_out, 1));
        http_call_free(c);
        stop();
    }
}

FIBER_TEST(bodies_that_nobody_reads)
{
    size_t n = 1 << 20;
    char *p = xcalloc(1, n);
    for (int h2 = 0; h2 < 2; h2++) {
        start((struct http_server_config){0}, (struct http_client_config){.h2_prior = h2});
        for (int i = 0; i < 5; i++) {
            static const size_t sizes[] = {10, 1000, 100000, 1 << 20, 10};
            struct http_call *c;
            struct err e = {0};
            struct str body;
            int r = ask("/unread", str_n(p, sizes[i]), &c, &e);
            if (r)
                fail_msg("h2 %d size %zu: %s", h2, sizes[i], e.text);
            assert_int_equal(c->status, 200);
            assert_int_equal(http_call_read_all(c, 100, soon(1000), &body), 0);
            assert_str(body, "unread");
            http_call_free(c);
        }
        stop();
    }
    free(p);
}

static void ask_hang(void *arg)
{
    struct http_call *c;
    struct err e;
    *(int *)arg = ask("/hang", STR_NULL, &c, &e);
}

FIBER_TEST(cancelled_callers)
{
    for (int h2 = 0; h2 < 2; h2++) {
        struct group g = {0};
        int r = 1;
        start((struct http_server_config){0}, (struct http_client_config){.h2_prior = h2});
        group_spawn(&g, "hang", ask_hang, &r);
        fiber_sleep(MILLISECONDS(20));
        group_stop(&g);
        assert_int_equal(r, -ECANCELED);
        assert_true(becomes(&gone, 1));
        stop();
    }
}

/* Accepts and says nothing more. */
FIBER_TEST(silent_servers)
{
    struct err e = {0};
    char address[64];
    struct http_call *c;
    int fd = os_listen("127.0.0.1:0", &e);
    os_local_address(fd, address, sizeof(address));
    snprintf(base, sizeof(base), "http://%s", address);
    client = http_client_new(&(struct http_client_config){
        .h2_prior = true, .ping_after = MILLISECONDS(30), .ping_timeout = MILLISECONDS(30)});
    struct mono before = os_mono();
    assert_true(ask("/x", STR_NULL, &c, &e) < 0);
    assert_true(os_mono().ns - before.ns < SECONDS(2)); /* long before the deadline */
    http_client_free(client);
    client = http_client_new(&(struct http_client_config){0});
    char url[160];
    snprintf(url, sizeof(url), "%s/x", base);
    struct http_request r = {.url = url};
    assert_int_equal(http_do(client, &r, soon(50), &c, &e), -ETIMEDOUT);
    assert_non_null(strstr(e.text, "no answer in time"));
    http_client_free(client);
    os_close(fd);
    client = http_client_new(&(struct http_client_config){0});
    assert_int_equal(http_do(client, &r, soon(500), &c, &e), -ECONNREFUSED);
    http_client_free(client);
}

FIBER_TEST(answers_that_are_no_http)
{
    static const char *const answers[] = {
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 20",
        "",
    };
    struct err e;
    char address[64];
    int fd = os_listen("127.0.0.1:0", &e);
    os_local_address(fd, address, sizeof(address));
    snprintf(base, sizeof(base), "http://%s", address);
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        struct group g = {0};
        int r = 1;
        client = http_client_new(&(struct http_client_config){0});
        group_spawn(&g, "ask", ask_hang, &r);
        int c = os_accept(fd, NULL, 0, soon(1000));
        os_send(c, answers[i], strlen(answers[i]), soon(100));
        os_shutdown(c);
        assert_int_equal(group_wait(&g, soon(2000)), 0);
        assert_true(r == -EPROTO || r == -EPIPE);
        os_close(c);
        http_client_free(client);
    }
    os_close(fd);
}

struct reading {
    ssize_t n; /* of the body; negative: how it ended */
    char text[64];
};

static void read_answer(void *arg)
{
    struct reading *r = arg;
    struct http_call *c;
    struct err e = {0};
    struct str body;
    char url[160];
    snprintf(url, sizeof(url), "%s/x", base);
    int n = http_do(client, &(struct http_request){.url = url}, soon(1000), &c, &e);
    if (n == 0)
        n = http_call_read_all(c, sizeof(r->text), soon(1000), &body);
    r->n = n < 0 ? n : snprintf(r->text, sizeof(r->text), STR_FMT, STR_ARG(body));
    http_call_free(c);
}

/* A body without a length ends with the connection (RFC 9112 section 6.3); one with a length must have it. */
FIBER_TEST(bodies_that_end_with_the_connection)
{
    static const struct {
        const char *answer, *body; /* NULL: an error */
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello", "hello"},
        {"HTTP/1.0 200 OK\r\n\r\nhello", "hello"},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", NULL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", NULL},
    };
    struct err e;
    char address[64];
    int fd = os_listen("127.0.0.1:0", &e);
    os_local_address(fd, address, sizeof(address));
    snprintf(base, sizeof(base), "http://%s", address);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct group g = {0};
        struct reading got = {.n = 1};
        char head[1000];
        client = http_client_new(&(struct http_client_config){0});
        group_spawn(&g, "ask", read_answer, &got);
        int c = os_accept(fd, NULL, 0, soon(1000));
        os_recv(c, head, sizeof(head), soon(1000)); /* what is unread would reset the connection */
        os_send(c, cases[i].answer, strlen(cases[i].answer), soon(100));
        os_shutdown(c);
        assert_int_equal(group_wait(&g, soon(2000)), 0);
        if (cases[i].body)
            assert_string_equal(got.n < 0 ? strerror((int)-got.n) : got.text, cases[i].body);
        else
            assert_true(got.n < 0);
        os_close(c);
        http_client_free(client);
    }
    os_close(fd);
}

FIBER_TEST(header_injection)
{
    struct http_call *c;
    struct err e;
    start((struct http_server_config){0}, (struct http_client_config){0});
    assert_int_equal(ask("/injection", STR_NULL, &c, &e), 0);
    assert_int_equal(c->content_length, 2);
    http_call_free(c);
    char url[160];
    snprintf(url, sizeof(url), "%s/", base);
    struct http_header bad[] = {{STR("X-A"), STR("b\r\nX-C: d")}};
    struct http_request r = {.url = url, .headers = bad, .n_headers = 1};
    assert_int_equal(http_do(client, &r, soon(1000), &c, &e), -EINVAL);
    r = (struct http_request){.url = "http://h/a b"};
    assert_int_equal(http_do(client, &r, soon(1000), &c, &e), -EINVAL);
    r = (struct http_request){.url = url, .method = "GET /x HTTP/1.1\r\n"};
    assert_int_equal(http_do(client, &r, soon(1000), &c, &e), -EINVAL);
    r = (struct http_request){.url = "ftp://h/"};
    assert_int_equal(http_do(client, &r, soon(1000), &c, &e), -EINVAL);
    stop();
}

FIBER_TEST(heads_and_lengths)
{
    for (int h2 = 0; h2 < 2; h2++) {
        struct http_call *c;
        struct err e;
        start((struct http_server_config){0},
              (struct http_client_config){.h2_prior = h2, .max_header_bytes = 10000});
        assert_true(ask("/large-head", STR_NULL, &c, &e) < 0);
        assert_int_equal(ask("/too-much", STR_NULL, &c, &e), 0);
        struct str body;
        assert_true(http_call_read_all(c, 100, soon(1000), &body) < 0);
        http_call_free(c);
        int ok = 0;
        ask_slow(&ok);
        assert_int_equal(ok, 1);
        stop();
    }
}

FIBER_TEST(certificates_changed)
{
    for (int h2 = 0; h2 < 2; h2++) {
        struct http_call *c, *d;
        struct err e;
        struct str body;
        start((struct http_server_config){0}, (struct http_client_config){.h2_prior = h2});
        assert_int_equal(ask("/endless", STR_NULL, &c, &e), 0);
        http_client_reset(client);
        assert_int_equal(ask("/", STR_NULL, &d, &e), 0); /* over a new connection */
        assert_int_equal(http_call_read_all(d, 100, soon(1000), &body), 0);
        http_call_free(d);
        assert_int_equal(http_server_connections(server), 2);
        char p[10];
        assert_true(http_call_read(c, p, sizeof(p), soon(1000)) > 0); /* the old one goes on */
        http_call_free(c);
        struct mono end = soon(2000);
        while (http_server_connections(server) > 1 && os_mono().ns < end.ns)
            fiber_sleep(MILLISECONDS(2));
        assert_int_equal(http_server_connections(server), 1); /* and ends with its call */
        stop();
    }
}

FIBER_TEST(unix_sockets)
{
    struct err e;
    struct http_call *c;
    char name[64];
    start((struct http_server_config){0}, (struct http_client_config){0});
    snprintf(name, sizeof(name), "unix:@cube-test-http-%lx", (unsigned long)os_random_u64());
    assert_int_equal(http_server_listen(server, name, &e), 0);
    struct http_request r = {.url = "http://localhost/", .unix_socket = name + 5};
    assert_int_equal(http_do(client, &r, soon(1000), &c, &e), 0);
    assert_int_equal(c->status, 200);
    http_call_free(c);
    stop();
}

/* ---- streams that are over ------------------------------------------------------------------------------ */

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, GOAWAY = 7, END_STREAM = 1, END_HEADERS = 4 };
enum { PROTOCOL_ERROR = 1, STREAM_CLOSED = 5, NOTHING = 99 };

static void put_frame(struct buf *b, uint8_t type, uint8_t flags, uint8_t id, struct str payload)
{
    const uint8_t head[9] = {0, 0, (uint8_t)payload.n, type, flags, 0, 0, 0, id};
    buf_put(b, head, sizeof(head));
    buf_putstr(b, payload);
}

/* GET / of "x" (HPACK, RFC 7541). */
static void put_request(struct buf *b, uint8_t id, uint8_t flags)
{
    put_frame(b, HEADERS, END_HEADERS | flags, id, STR("\x82\x86\x84\x41\x01x"));
}

/* What the server's GOAWAY says; NOTHING when there is none until it has said nothing for a while. */
static unsigned goaway_of(struct stream *s)
{
    struct buf in CLEANUP_BUF = BUF_INIT;
    char piece[4096];
    for (;;) {
        for (size_t at = 0; at + 17 <= in.n;) {
            const uint8_t *f = (const uint8_t *)in.p + at;
            if (f[3] == GOAWAY)
                return f[16];
            at += 9 + ((size_t)f[0] << 16 | (size_t)f[1] << 8 | f[2]);
        }
        ssize_t n = stream_read(s, piece, sizeof(piece), soon(300));
        if (n <= 0)
            return NOTHING;
        buf_put(&in, piece, (size_t)n);
    }
}

static unsigned after(const struct buf *first, const struct buf *then)
{
    struct stream *s;
    assert_int_equal(stream_connect(base + strlen("http://"), soon(1000), &s), 0);
    struct buf hello CLEANUP_BUF = BUF_INIT;
    buf_puts(&hello, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    put_frame(&hello, SETTINGS, 0, 0, STR(""));
    buf_putstr(&hello, buf_str(first));
    assert_int_equal(stream_write(s, hello.p, hello.n, soon(1000)), 0);
    fiber_sleep(MILLISECONDS(50)); /* answered */
    assert_int_equal(stream_write(s, then->p, then->n, soon(1000)), 0);
    unsigned said = goaway_of(s);
    stream_free(s);
    return said;
}

/* RFC 9113, 5.1 and 5.1.1: the peer may not go on with what it has ended, reset or passed over. Late frames for what we have
 * ended are nobody's fault. */
FIBER_TEST(streams_that_are_over)
{
    static const struct {
        uint8_t first_flags, reset, type, id;
        unsigned want;
    } cases[] = {
        {END_STREAM, 0, DATA, 5, STREAM_CLOSED},    {END_STREAM, 0, HEADERS, 5, STREAM_CLOSED},
        {0, 1, DATA, 5, STREAM_CLOSED},             {0, 1, HEADERS, 5, STREAM_CLOSED},
        {END_STREAM, 0, HEADERS, 3, PROTOCOL_ERROR}, {END_STREAM, 0, HEADERS, 1, PROTOCOL_ERROR},
        {END_STREAM, 0, HEADERS, 7, NOTHING},       {0, 0, DATA, 5, NOTHING},
    };
    start((struct http_server_config){0}, (struct http_client_config){0});
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct buf first CLEANUP_BUF = BUF_INIT, then CLEANUP_BUF = BUF_INIT;
        put_request(&first, 5, cases[i].first_flags);
        if (cases[i].reset)
            put_frame(&first, RST_STREAM, 0, 5, STR("\0\0\0\x8"));
        if (cases[i].type == DATA)
            put_frame(&then, DATA, END_STREAM, cases[i].id, STR("late"));
        else
            put_request(&then, cases[i].id, END_STREAM);
        unsigned said = after(&first, &then);
        if (said != cases[i].want)
            fail_msg("case %zu: GOAWAY says %u, expected %u", i, said, cases[i].want);
    }
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rapid_reset),
        cmocka_unit_test(more_requests_than_connections),
        cmocka_unit_test(more_requests_than_streams),
        cmocka_unit_test(a_server_that_takes_few_connections),
        cmocka_unit_test(clients_that_do_not_read),
        cmocka_unit_test(bodies_that_nobody_reads),
        cmocka_unit_test(cancelled_callers),
        cmocka_unit_test(silent_servers),
        cmocka_unit_test(answers_that_are_no_http),
        cmocka_unit_test(bodies_that_end_with_the_connection),
        cmocka_unit_test(header_injection),
        cmocka_unit_test(heads_and_lengths),
        cmocka_unit_test(certificates_changed),
        cmocka_unit_test(unix_sockets),
        cmocka_unit_test(streams_that_are_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
