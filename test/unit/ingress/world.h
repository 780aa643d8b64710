/* SPDX-License-Identifier: Apache-2.0 */
/* The controller with real sockets in a network namespace of the test's own: Ingresses in an API of the mind, back ends in this
 * loop, the controller's threads between them. */
#pragma once

#include "../testing.h"

#include "auth/x509.h"
#include "base/log.h"
#include "client/fake_client.h"
#include "ingress/ingress.h"
#include "ingress/plane.h"
#include "net/http.h"
#include "net/websocket.h"
#include "type/meta.h"

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#define HTTP "127.0.0.1:8080"
#define HTTPS "127.0.0.1:8443"

struct world {
    struct fake_client *fake;
    struct ingress_config config;
    struct group g;
    struct http_server *back;
    struct http_client *client;
    unsigned seen;        /* requests at the back end */
    struct arena arena;   /* of last */
    struct str last;      /* "METHOD target\nname: value\n..." of the last one */
    size_t last_body;
    int last_version;
    bool read_secrets_wholesale;
    bool smuggled;        /* a request for /smuggled came */
    unsigned under_way, peak; /* at the back end */
};

/* ---- the back end -------------------------------------------------------------------------------------- */

static UNUSED void note(struct world *w, struct http_exchange *x)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_printf(&b, STR_FMT " " STR_FMT "\n", STR_ARG(x->method), STR_ARG(x->target));
    for (size_t i = 0; i < x->headers.n; i++)
        buf_printf(&b, STR_FMT ": " STR_FMT "\n", STR_ARG(x->headers.items[i].name), STR_ARG(x->headers.items[i].value));
    arena_reset(&w->arena);
    w->last = arena_str(&w->arena, buf_str(&b));
    w->last_version = x->version;
    w->smuggled = w->smuggled || str_contains(x->target, STR("smuggled"));
    w->seen++;
}

static UNUSED void echo_socket(struct http_exchange *x)
{
    struct websocket *ws;
    struct websocket_message m;
    struct err e;
    if (websocket_accept(x, NULL, &ws, &e) < 0)
        return;
    while (websocket_read(ws, &m, MONO_NEVER) == 0)
        websocket_write(ws, m.opcode, m.data, MONO_NEVER);
    websocket_free(ws);
}

/* Each piece of the body comes back at once. */
static UNUSED void echo_body(struct http_exchange *x)
{
    char piece[16384];
    ssize_t n;
    http_start(x, 200, "application/grpc", -1);
    while ((n = http_read(x, piece, sizeof(piece), MONO_NEVER)) > 0)
        http_write(x, str_n(piece, (size_t)n), MONO_NEVER);
    http_add_trailer(x, "Grpc-Status", STR("0"));
    http_end(x);
}

static UNUSED void back_end(void *ctx, struct http_exchange *x);

static UNUSED void counted_back_end(void *ctx, struct http_exchange *x)
{
    struct world *w = ctx;
    w->peak = MAX(w->peak, ++w->under_way);
    back_end(ctx, x);
    w->under_way--;
}

static UNUSED void back_end(void *ctx, struct http_exchange *x)
{
    struct world *w = ctx;
    char piece[16384];
    ssize_t n;
    note(w, x);
    if (str_is(x->path, "/echo")) {
        echo_body(x);
        return;
    }
    if (str_is(x->path, "/slow"))
        fiber_sleep(SECONDS(3));
    if (websocket_wanted(x)) {
        echo_socket(x);
        return;
    }
    w->last_body = 0;
    while ((n = http_read(x, piece, sizeof(piece), MONO_NEVER)) > 0)
        w->last_body += (size_t)n;
    http_add_header(x, "X-Back", STR("yes"));
    if (str_is(x->path, "/stream")) {
        http_start(x, 200, "text/plain", -1);
        for (int i = 0; i < 50; i++)
            http_write(x, str_n(piece, 10000), MONO_NEVER);
        http_add_trailer(x, "Grpc-Status", STR("0"));
        http_end(x);
        return;
    }
    http_respond(x, 200, "text/plain", STR("hello"));
}

/* ---- the world ----------------------------------------------------------------------------------------- */

static UNUSED void run(void *arg)
{
    struct world *w = arg;
    struct err e = {0};
    int r = ingress_run(&w->config, &e);
    if (r != -ECANCELED)
        fail_msg("%s", err_text(&e, r));
}

static UNUSED int hook(void *arg, uint16_t verb, const struct call *call, const struct val *body UNUSED, struct status *s UNUSED)
{
    struct world *w = arg;
    if (call->res->index == RES_SECRETS && (verb != VERB_LIST || !str_starts(call->field_selector, STR("metadata.name=")) || !call->ns.n))
        w->read_secrets_wholesale = true;
    return 0;
}

static UNUSED void shell(const char *command)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    assert_int_equal(os_run(&a, (const char *const[]){"sh", "-c", command, NULL}, NULL, NULL, mono_add(os_mono(), SECONDS(10))), 0);
}

#define SERVICE(name, more)                                                                                  \
    "{metadata:{name:" name ",namespace:a,uid:" name "},spec:{ports:[{name:http,port:80" more "}]}}"
#define SLICE(name, endpoints)                                                                               \
    "{metadata:{name:" name "-1,namespace:a,uid:" name "-1,labels:{kubernetes.io/service-name:" name "}},addressType:IPv4,ports:[{name:http,port:9000}]," \
    "endpoints:[" endpoints "]}"
#define PATH(path, service) "{path:'" path "',pathType:Prefix,backend:{service:{name:" service ",port:{number:80}}}}"
#define RULE(host, path, service) "{host:'" host "',http:{paths:[" PATH(path, service) "]}}"
#define INGRESS(name, annotations, spec) "{metadata:{name:" name ",namespace:a,uid:" name ",annotations:{" annotations "}},spec:{ingressClassName:cube," spec "}}"

static UNUSED void begin(struct world *w)
{
    static const char *const publish[] = {"192.0.2.7", NULL};
    struct err e;
    *w = (struct world){.fake = fake_client_new()};
    w->config = (struct ingress_config){.client = fake_client_as(w->fake), .http = HTTP, .https = HTTPS, .threads = 2, .publish = publish,
                                        .metrics = "127.0.0.1:8081"};
    fake_client_hook(w->fake, hook, w);
    struct http_server_config c = {.handler = counted_back_end, .ctx = w};
    w->back = http_server_new(&c);
    assert_int_equal(http_server_listen(w->back, "10.77.0.1:9000", &e), 0);
    w->client = http_client_new(&(struct http_client_config){0});
    fake_put_text(w->fake, RES_INGRESSCLASSES, "{metadata:{name:cube},spec:{controller:cube.dev/ingress}}");
    fake_put_text(w->fake, RES_SERVICES, SERVICE("web", ""));
    fake_put_text(w->fake, RES_SERVICES, SERVICE("rpc", ",appProtocol:kubernetes.io/h2c"));
    fake_put_text(w->fake, RES_SERVICES, SERVICE("half", ""));
    fake_put_text(w->fake, RES_SERVICES, SERVICE("none", ""));
    fake_put_text(w->fake, RES_ENDPOINTSLICES, SLICE("web", "{addresses:['10.77.0.1']}"));
    fake_put_text(w->fake, RES_ENDPOINTSLICES, SLICE("rpc", "{addresses:['10.77.0.1']}"));
    fake_put_text(w->fake, RES_ENDPOINTSLICES, SLICE("half", "{addresses:['10.77.0.1']},{addresses:['10.77.0.2']}"));
    log_set_level(LOG_ERROR);
    group_spawn(&w->g, "ingress", run, w);
}

static UNUSED void end(struct world *w)
{
    group_stop(&w->g);
    http_client_free(w->client);
    http_server_free(w->back);
    fake_client_free(w->fake);
    arena_done(&w->arena);
}

struct answer {
    int status;
    char body[256], location[128];
    size_t length;
    struct str trailer;
};

static UNUSED int ask_with(struct world *w, struct http_client *client, const char *base, const char *host, const char *target, const char *method,
                    const struct http_header *more, size_t n_more, struct str body, struct answer *ret)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct http_header *h = ARENA_ARRAY(&a, struct http_header, n_more + 1);
    struct http_call *call;
    struct err e;
    struct str text;
    h[0] = (struct http_header){STR("Host"), str_of(host)};
    for (size_t i = 0; i < n_more; i++)
        h[i + 1] = more[i];
    struct http_request r = {.method = method, .url = arena_printf(&a, "%s%s", base, target).p, .headers = h, .n_headers = n_more + 1, .body = body};
    int n = http_do(client, &r, mono_add(os_mono(), SECONDS(10)), &call, &e);
    if (n < 0)
        return n;
    *ret = (struct answer){.status = call->status};
    n = http_call_read_all(call, 1 << 24, mono_add(os_mono(), SECONDS(10)), &text);
    if (n == 0) {
        ret->length = text.n;
        snprintf(ret->body, sizeof(ret->body), "%.*s", (int)MIN(text.n, (size_t)200), text.p ? text.p : "");
        snprintf(ret->location, sizeof(ret->location), STR_FMT, STR_ARG(http_header(&call->headers, "location")));
    }
    http_call_free(call);
    return n;
}

static UNUSED int get(struct world *w, const char *host, const char *target, struct answer *ret)
{
    return ask_with(w, w->client, "http://" HTTP, host, target, "GET", NULL, 0, STR_NULL, ret);
}

/* The table is made after the API's news: asks until the answer is that. */
static UNUSED void expect(struct world *w, const char *host, const char *target, int status)
{
    struct mono deadline = mono_add(os_mono(), SECONDS(8));
    struct answer a = {0};
    int r;
    while ((r = get(w, host, target, &a)) < 0 || a.status != status) {
        if (os_mono().ns > deadline.ns)
            fail_msg("%s%s: %d, %d instead of %d", host, target, r, a.status, status);
        fiber_sleep(MILLISECONDS(10));
    }
}

static UNUSED bool saw(const struct world *w, const char *line)
{
    return str_contains(w->last, str_of(line));
}

/* Raw bytes in, the first of the answer out. */
static const char *raw(struct arena *a, const char *bytes)
{
    struct stream *s;
    char *answer = arena_bytes(a, 4097);
    size_t n = 0;
    assert_int_equal(stream_connect(HTTP, mono_add(os_mono(), SECONDS(5)), &s), 0);
    stream_write(s, bytes, strlen(bytes), mono_add(os_mono(), SECONDS(5)));
    for (ssize_t r = 1; r > 0 && n < 4096; n += r > 0 ? (size_t)r : 0)
        r = stream_read(s, answer + n, 4096 - n, mono_add(os_mono(), MILLISECONDS(700)));
    answer[n] = '\0';
    stream_free(s);
    return answer;
}

static UNUSED void bring_up(void *arg UNUSED)
{
    shell("ip link set lo up && ip addr add 10.77.0.1/24 dev lo && ip addr add 10.77.0.2/24 dev lo");
}
