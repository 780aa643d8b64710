/* SPDX-License-Identifier: Apache-2.0 */
/* exec and port-forward over each carrier, straight and through a bridge as the API server makes it. */
#include "net/remotecommand.h"

#include "../testing.h"
#include "net/websocket.h"

#include <stdio.h>

static struct http_server *kubelet, *front;
static struct http_client *client, *inner;
static char kubelet_url[96], front_url[96];
static unsigned gone;
static struct arena query_arena;

static struct mono soon(int ms)
{
    return mono_add(os_mono(), MILLISECONDS(ms));
}

static const char success[] = "{\"metadata\":{},\"status\":\"Success\"}";

/* ---- a kubelet ---------------------------------------------------------------------------------------- */

/* "runs" cat: stdin comes back on stdout, its size on stderr at the end; sizes of the terminal on stdout. */
static void serve_exec(struct http_exchange *x)
{
    struct rc_options o;
    struct rc_session *s;
    struct err e = {0};
    if (rc_options_parse(&x->arena, x->query, &o, &e) < 0) {
        http_respond(x, 400, "text/plain", str_of(e.text));
        return;
    }
    if (rc_accept(x, &o, soon(5000), &s, &e) < 0)
        return;
    char p[8192], text[64];
    size_t total = 0;
    ssize_t n = 0;
    uint16_t width, height;
    if (o.tty && rc_read_resize(s, &width, &height, soon(5000)) == 0) {
        n = snprintf(text, sizeof(text), "%ux%u", width, height);
        rc_write(s, RC_STDOUT, str_n(text, (size_t)n), soon(1000));
    }
    while ((n = rc_read(s, RC_STDIN, p, sizeof(p), soon(20000))) > 0) {
        total += (size_t)n;
        if (rc_write(s, RC_STDOUT, str_n(p, (size_t)n), soon(20000)) < 0)
            break;
        if (n == 5 && !memcmp(p, "exit\n", 5)) /* carriers that cannot end stdin */
            break;
    }
    if (n < 0)
        gone++;
    n = snprintf(text, sizeof(text), "%zu", total);
    rc_write(s, RC_STDERR, str_n(text, (size_t)n), soon(1000));
    rc_finish(s, str_of(success), STR_NULL);
    rc_free(s);
}

/* A pair on port 7 is echoed, others are refused. */
static void serve_pair(void *arg)
{
    struct pf_pair *p = arg;
    if (p->port == 7) {
        struct stream *loop[2];
        char bytes[4096];
        ssize_t n;
        stream_pair(65536, loop);
        while ((n = stream_read(p->data, bytes, sizeof(bytes), soon(20000))) > 0)
            stream_write(p->data, bytes, (size_t)n, soon(20000));
        stream_free(loop[0]);
        stream_free(loop[1]);
        stream_shutdown(p->data);
        stream_shutdown(p->error);
    } else {
        pf_serve(p, NULL, "connection refused");
    }
    pf_pair_done(p);
    free(p);
}

static void serve_portforward(struct http_exchange *x)
{
    struct pf_session *s;
    struct err e;
    struct pf_pair pair;
    struct group g = {0};
    if (pf_accept(x, &s, &e) < 0)
        return;
    while (pf_next(s, MONO_NEVER, &pair) == 0) {
        struct pf_pair *p = NEW(struct pf_pair);
        *p = pair;
        group_spawn(&g, "pair", serve_pair, p);
    }
    pf_abort(s);
    group_stop(&g);
    pf_free(s);
    gone++;
}

static void serve_kubelet(void *ctx, struct http_exchange *x)
{
    if (str_is(x->path, "/exec"))
        serve_exec(x);
    else if (str_is(x->path, "/portforward"))
        serve_portforward(x);
    else
        http_respond(x, 404, "text/plain", STR("no such pod"));
}

/* ---- an API server ------------------------------------------------------------------------------------ */

static void serve_front(void *ctx, struct http_exchange *x)
{
    struct err e = {0};
    char *url = (char *)(uintptr_t)arena_printf(&x->arena, "%s" STR_FMT, kubelet_url, STR_ARG(x->target)).p;
    struct http_request r = {.method = "POST", .url = url};
    struct rc_options o;
    if (pf_tunnel_wanted(x)) {
        if (pf_tunnel(x, inner, &r, &e) < 0)
            http_respond(x, 502, "text/plain", str_of(e.text));
    } else if (websocket_wanted(x) && rc_options_parse(&x->arena, x->query, &o, &e) == 0) {
        struct rc_session *a, *b;
        struct http_call *call;
        if (rc_connect(inner, &r, &o, false, soon(5000), &b, &call, &e) != 0)
            return;
        if (rc_accept(x, &o, soon(5000), &a, &e) == 0) {
            rc_bridge(a, b);
            rc_free(a);
        }
        rc_free(b);
        http_call_free(call);
    } else {
        struct http_proxy p = {.client = inner, .url = url};
        if (http_proxy(x, &p, &e) < 0)
            http_respond(x, 502, "text/plain", str_of(e.text));
    }
}

static struct http_server *start(http_handler *handler, char *url)
{
    struct err e;
    char address[64];
    struct http_server *s = http_server_new(&(struct http_server_config){.handler = handler});
    assert_int_equal(http_server_listen(s, "127.0.0.1:0", &e), 0);
    http_server_address(s, address, sizeof(address));
    snprintf(url, 96, "http://%s", address);
    return s;
}

static void setup(void)
{
    gone = 0;
    kubelet = start(serve_kubelet, kubelet_url);
    front = start(serve_front, front_url);
    client = http_client_new(&(struct http_client_config){0});
    inner = http_client_new(&(struct http_client_config){0});
}

static void teardown(void)
{
    http_client_free(client);
    http_server_free(front);
    http_client_free(inner);
    http_server_free(kubelet);
}

/* ---- exec --------------------------------------------------------------------------------------------- */

static struct rc_session *open_exec(const char *base, const char *query, bool ws, struct http_call **call)
{
    char url[256];
    struct err e = {0};
    struct rc_options o;
    struct rc_session *s;
    snprintf(url, sizeof(url), "%s/exec?%s", base, query);
    assert_int_equal(rc_options_parse(&query_arena, str_of(query), &o, &e), 0);
    arena_done(&query_arena);
    struct http_request r = {.method = ws ? "GET" : "POST", .url = url};
    int n = rc_connect(client, &r, &o, ws, soon(3000), &s, call, &e);
    if (n)
        fail_msg("%d %s", n, e.text);
    return s;
}

static struct str read_all(struct rc_session *s, enum rc_channel ch, struct arena *a)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    ssize_t n;
    while ((n = rc_read(s, ch, buf_grow(&b, 4096), 4096, soon(10000))) > 0)
        b.n += (size_t)n;
    assert_int_equal(n, 0);
    return arena_str(a, buf_str(&b));
}

struct feeding {
    struct rc_session *s;
    struct str data;
};

static void feed_main(void *arg)
{
    struct feeding *f = arg;
    assert_int_equal(rc_write(f->s, RC_STDIN, f->data, soon(10000)), 0);
    assert_int_equal(rc_close_channel(f->s, RC_STDIN), 0);
}

static void exec_all(const char *base, bool ws, size_t size)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct http_call *call;
    struct group g = {0};
    struct str outcome;
    char *p = arena_bytes(&a, size), text[32];
    for (size_t i = 0; i < size; i++)
        p[i] = (char)(i * 13 + i / 777);
    struct rc_session *s = open_exec(base, "stdin=true&stdout=true&stderr=true", ws, &call);
    assert_string_equal(rc_protocol(s), ws ? "v5.channel.k8s.io" : "v4.channel.k8s.io");
    struct feeding f = {s, str_n(p, size)};
    group_spawn(&g, "feed", feed_main, &f);
    assert_true(str_eq(read_all(s, RC_STDOUT, &a), str_n(p, size)));
    snprintf(text, sizeof(text), "%zu", size);
    assert_str(read_all(s, RC_STDERR, &a), text);
    assert_int_equal(rc_read_outcome(s, &a, &outcome, soon(2000)), 0);
    assert_str(outcome, success);
    assert_int_equal(group_wait(&g, soon(1000)), 0);
    rc_free(s);
    http_call_free(call);
}

FIBER_TEST(exec_over_each_carrier)
{
    static const size_t sizes[] = {0, 5, 3 << 20};
    setup();
    for (int ws = 0; ws < 2; ws++) {
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
            exec_all(kubelet_url, ws, sizes[i]);
            exec_all(front_url, ws, sizes[i]); /* SPDY passed through, WebSocket translated to SPDY */
        }
    }
    assert_int_equal(gone, 0);
    teardown();
}

FIBER_TEST(terminals)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    setup();
    for (int i = 0; i < 4; i++) {
        struct http_call *call;
        char p[8] = "";
        struct rc_session *s = open_exec(i & 2 ? front_url : kubelet_url,
                                         "stdin=true&stdout=true&stderr=true&tty=true", i & 1, &call);
        assert_int_equal(rc_write_resize(s, 120, 40, soon(1000)), 0);
        assert_int_equal(rc_read(s, RC_STDOUT, p, sizeof(p), soon(2000)), 6);
        assert_memory_equal(p, "120x40", 6);
        assert_int_equal(rc_read(s, RC_STDERR, p, sizeof(p), soon(100)), 0); /* takes no part */
        rc_write(s, RC_STDIN, STR("exit\n"), soon(1000));
        assert_str(read_all(s, RC_STDOUT, &a), "exit\n");
        rc_free(s);
        http_call_free(call);
    }
    teardown();
}

FIBER_TEST(a_client_that_vanishes)
{
    setup();
    for (unsigned i = 0; i < 4; i++) {
        struct http_call *call;
        struct rc_session *s =
            open_exec(i & 2 ? front_url : kubelet_url, "stdin=true&stdout=true", i & 1, &call);
        fiber_sleep(MILLISECONDS(10));
        rc_abort(s);
        rc_free(s);
        http_call_free(call);
        struct mono end = soon(2000);
        while (gone <= i && os_mono().ns < end.ns)
            fiber_sleep(MILLISECONDS(2));
        assert_int_equal(gone, i + 1);
    }
    teardown();
}

FIBER_TEST(refusals)
{
    struct err e = {0};
    struct http_call *call;
    struct rc_session *s;
    struct rc_options o = {.stdout_ = true};
    struct str body;
    char url[128];
    setup();
    for (int i = 0; i < 4; i++) {
        snprintf(url, sizeof(url), "%s/nothing?stdout=true", i & 2 ? front_url : kubelet_url);
        struct http_request r = {.method = "GET", .url = url};
        if (i == 3)
            continue; /* the bridge of this test answers nothing of its own */
        assert_int_equal(rc_connect(client, &r, &o, i & 1, soon(2000), &s, &call, &e), HTTP_NO_UPGRADE);
        assert_int_equal(call->status, 404);
        assert_int_equal(http_call_read_all(call, 1000, soon(1000), &body), 0);
        assert_str(body, "no such pod");
        http_call_free(call);
    }
    struct http_request plain = {.url = url};
    snprintf(url, sizeof(url), "%s/exec?stdout=true", kubelet_url);
    assert_int_equal(http_do(client, &plain, soon(1000), &call, &e), 0);
    assert_int_equal(call->status, 400);
    http_call_free(call);
    assert_int_equal(rc_options_parse(&query_arena, STR("tty=true&stderr=true"), &o, &e), -EINVAL);
    arena_done(&query_arena);
    assert_string_equal(e.text, "you must specify at least 1 of stdin, stdout, stderr");
    teardown();
}

/* A client from before v5: binary and base64 channels by hand. The end comes as a status since v4; before, all well says
 * nothing. */
static void old_protocols(const char *base)
{
    static const char *const protocols[] = {"v4.channel.k8s.io", "base64.channel.k8s.io", "channel.k8s.io"};
    struct err e;
    char url[128];
    snprintf(url, sizeof(url), "%s/exec?input=1&output=1", base);
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
        const char *const offer[] = {protocols[i], NULL};
        bool base64 = i == 1;
        struct http_request r = {.url = url};
        struct http_call *call;
        struct websocket *w;
        struct websocket_message m;
        assert_int_equal(websocket_connect(client, &r, offer, soon(1000), &w, &call, &e), 0);
        assert_int_equal(websocket_read(w, &m, soon(1000)), 0); /* "the session stands" */
        assert_str(m.data, base64 ? "1" : "\x01");
        assert_int_equal(websocket_write(w, base64 ? WS_TEXT : WS_BINARY,
                                         base64 ? STR("0ZXhpdAo=") : str_n("\0exit\n", 6), soon(1000)),
                         0);
        assert_int_equal(websocket_read(w, &m, soon(1000)), 0);
        assert_str(m.data, base64 ? "1ZXhpdAo="
                                  : "\x01"
                                    "exit\n");
        int n;
        while ((n = websocket_read(w, &m, soon(1000))) == 0 && m.data.p[0] != 3 && m.data.p[0] != '3')
            ;
        assert_int_equal(n, i == 0 ? 0 : -ENODATA);
        if (i == 0)
            assert_str(str_from(m.data, 1), success);
        websocket_free(w);
        http_call_free(call);
    }
}

FIBER_TEST(old_websocket_protocols)
{
    setup();
    old_protocols(kubelet_url);
    old_protocols(front_url);
    teardown();
}

/* ---- port-forward ------------------------------------------------------------------------------------- */

static void forward(const char *base, bool ws)
{
    char url[128], p[64] = "";
    struct err e = {0};
    struct http_call *call;
    struct pf_session *s;
    struct pf_pair pairs[3];
    snprintf(url, sizeof(url), "%s/portforward", base);
    struct http_request r = {.method = ws ? "GET" : "POST", .url = url};
    int n = pf_connect(client, &r, ws, soon(2000), &s, &call, &e);
    if (n)
        fail_msg("%d %s", n, e.text);
    for (int i = 0; i < 3; i++) /* several at once */
        assert_int_equal(pf_open(s, 7, soon(1000), &pairs[i]), 0);
    for (int i = 2; i >= 0; i--) {
        snprintf(p, sizeof(p), "hello %d", i);
        assert_int_equal(stream_write(pairs[i].data, p, 7, soon(1000)), 0);
        memset(p, 0, sizeof(p));
        assert_int_equal(stream_read_full(pairs[i].data, p, 7, soon(1000)), 0);
        assert_int_equal(p[6], '0' + i);
        stream_shutdown(pairs[i].data);
        assert_int_equal(stream_read(pairs[i].data, p, sizeof(p), soon(1000)), 0);
        assert_int_equal(stream_read(pairs[i].error, p, sizeof(p), soon(1000)), 0); /* no error */
        pf_pair_done(&pairs[i]);
    }
    assert_int_equal(pf_open(s, 8, soon(1000), &pairs[0]), 0);
    assert_int_equal(stream_read(pairs[0].error, p, sizeof(p), soon(1000)), 18);
    assert_memory_equal(p, "connection refused", 18);
    pf_pair_done(&pairs[0]);
    pf_free(s);
    http_call_free(call);
}

FIBER_TEST(portforward_over_each_carrier)
{
    setup();
    forward(kubelet_url, false);
    forward(kubelet_url, true); /* tunnelled to the kubelet itself */
    forward(front_url, false);  /* SPDY passed through */
    forward(front_url, true);   /* unwrapped by the API server */
    struct mono end = soon(2000);
    while (gone < 4 && os_mono().ns < end.ns)
        fiber_sleep(MILLISECONDS(2));
    assert_int_equal(gone, 4);
    teardown();
}

FIBER_TEST(portforward_by_websocket_channels)
{
    static const char *const offer[] = {"v4.channel.k8s.io", NULL};
    static const char *const greetings[] = {"\x00\x07\x00", "\x01\x07\x00", "\x02\x08\x00", "\x03\x08\x00"};
    struct err e;
    char url[128];
    struct http_call *call;
    struct websocket *w;
    struct websocket_message m;
    setup();
    snprintf(url, sizeof(url), "%s/portforward?ports=7,8", kubelet_url);
    struct http_request r = {.url = url};
    assert_int_equal(websocket_connect(client, &r, offer, soon(1000), &w, &call, &e), 0);
    for (size_t i = 0; i < ARRAY_SIZE(greetings); i++) {
        assert_int_equal(websocket_read(w, &m, soon(1000)), 0);
        assert_true(str_eq(m.data, str_n(greetings[i], 3)));
    }
    assert_int_equal(websocket_read(w, &m, soon(1000)), 0);
    assert_str(m.data, "\x03"
                       "connection refused");
    assert_int_equal(websocket_write(w, WS_BINARY, str_n("\0abc", 4), soon(1000)), 0);
    assert_int_equal(websocket_read(w, &m, soon(1000)), 0);
    assert_true(str_eq(m.data, str_n("\0abc", 4)));
    websocket_close(w, 1000, "", soon(1000));
    websocket_free(w);
    http_call_free(call);
    snprintf(url, sizeof(url), "%s/portforward?ports=0", kubelet_url);
    assert_int_equal(websocket_connect(client, &r, offer, soon(1000), &w, &call, &e), HTTP_NO_UPGRADE);
    assert_int_equal(call->status, 400);
    http_call_free(call);
    teardown();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exec_over_each_carrier),
        cmocka_unit_test(terminals),
        cmocka_unit_test(a_client_that_vanishes),
        cmocka_unit_test(refusals),
        cmocka_unit_test(old_websocket_protocols),
        cmocka_unit_test(portforward_over_each_carrier),
        cmocka_unit_test(portforward_by_websocket_channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
