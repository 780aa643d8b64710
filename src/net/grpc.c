/* SPDX-License-Identifier: Apache-2.0 */
#include "net/grpc.h"

#include "net/url.h"
#include "wire/proto.h"

#include <stdio.h>

enum { PREFIX = 5, DEFAULT_MAX = 16 << 20, MAX_METADATA = 16 };

static const char *const code_names[] = {
    "OK",       "Canceled",        "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",   "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",      "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated",
};

const char *grpc_code_name(int code)
{
    return code >= 0 && (size_t)code < ARRAY_SIZE(code_names) ? code_names[code] : "Unknown";
}

/* ---- messages on the wire: compressed flag, length, bytes ---------------------------------------------- */

static void put_message(struct buf *b, const struct type *type, const struct val *v)
{
    size_t start = b->n;
    buf_put(b, "\0\0\0\0\0", PREFIX);
    proto_encode(b, type, v);
    size_t n = b->n - start - PREFIX;
    uint8_t *p = (uint8_t *)b->p + start;
    p[1] = (uint8_t)(n >> 24);
    p[2] = (uint8_t)(n >> 16);
    p[3] = (uint8_t)(n >> 8);
    p[4] = (uint8_t)n;
}

/* Looks for a whole message at the front of b: 1 and its size with prefix; 0 when bytes are missing; -code.
 */
static int find_message(const struct buf *b, size_t max, size_t *ret_size, struct err *e)
{
    if (b->n < PREFIX)
        return 0;
    const uint8_t *p = (const uint8_t *)b->p;
    size_t n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    if (p[0])
        return err_set(e, -GRPC_UNIMPLEMENTED, "compressed gRPC message");
    if (n > max)
        return err_set(e, -GRPC_RESOURCE_EXHAUSTED, "gRPC message of %zu bytes, more than %zu", n, max);
    *ret_size = n + PREFIX;
    return b->n >= *ret_size;
}

typedef ssize_t read_fn(void *from, void *p, size_t n, struct mono deadline);

/* The next message out of a body: 1; 0 at a clean end; negative: minus a code for bad framing, -errno - 1000
 * for trouble below (so that the two cannot be mixed up). */
enum { BELOW = 1000 };

static int next_message(struct buf *in, size_t max, read_fn *read, void *from, struct mono deadline,
                        size_t *ret_size, struct err *e)
{
    for (;;) {
        size_t size = 0;
        int r = find_message(in, max, &size, e);
        if (r) {
            *ret_size = size;
            return r;
        }
        size_t want = MAX(size > in->n ? size - in->n : 0, (size_t)4096);
        ssize_t n = read(from, buf_grow(in, want), want, deadline);
        if (n < 0)
            return (int)n - BELOW;
        if (n == 0)
            return in->n ? err_set(e, -GRPC_INTERNAL, "gRPC message cut short") : 0;
        in->n += (size_t)n;
    }
}

/* ---- client ------------------------------------------------------------------------------------------- */

struct grpc_client {
    struct http_client *http;
    char *base; /* "http://localhost" */
    char *unix_socket;
    size_t max_message;
    struct arena arena; /* of metadata */
    struct http_header headers[MAX_METADATA];
    size_t n_headers;
};

struct grpc_stream {
    struct grpc_client *client;
    const struct grpc_method *method;
    struct http_call *call;
    struct buf in;
    bool got_head, ended, aborted;
    int status; /* after ended */
    struct err message;
};

static void set_base(struct grpc_client *c, const struct grpc_client_config *config)
{
    struct str address = str_of(config->address);
    struct buf b = BUF_INIT;
    if (str_starts(address, STR("unix:"))) {
        struct str path = str_from(address, 5);
        while (str_starts(path, STR("//"))) /* "unix:///run/x.sock" */
            path = str_from(path, 1);
        c->unix_socket = str_dup(path);
        buf_puts(&b, "http://localhost");
    } else {
        buf_printf(&b, "%s://%s", config->tls ? "https" : "http", config->address);
    }
    c->base = b.p;
}

static void add_header(struct grpc_client *c, struct str name, struct str value)
{
    if (c->n_headers < MAX_METADATA)
        c->headers[c->n_headers++] =
            (struct http_header){arena_str(&c->arena, name), arena_str(&c->arena, value)};
}

struct grpc_client *grpc_client_new(const struct grpc_client_config *config)
{
    struct grpc_client *c = NEW(struct grpc_client);
    c->max_message = config->max_message ? config->max_message : DEFAULT_MAX;
    set_base(c, config);
    add_header(c, STR("content-type"), STR("application/grpc"));
    add_header(c, STR("te"), STR("trailers"));
    add_header(c, STR("user-agent"), STR("cube/" CUBE_VERSION));
    if (config->authority)
        add_header(c, STR("host"), str_of(config->authority));
    for (size_t i = 0; i < config->n_metadata; i++)
        add_header(c, config->metadata[i].name, config->metadata[i].value);
    struct http_client_config http = {
        .tls = config->tls,
        .h2_prior = !config->tls,
        .connect_timeout = config->connect_timeout ? config->connect_timeout : SECONDS(10),
        .idle_timeout = SECONDS(1800),
    };
    c->http = http_client_new(&http);
    return c;
}

void grpc_client_free(struct grpc_client *c)
{
    if (!c)
        return;
    http_client_free(c->http);
    arena_done(&c->arena);
    free(c->base);
    free(c->unix_socket);
    free(c);
}

/* "grpc-timeout": at most eight digits and a unit. */
static struct str timeout_text(char ret[static 24], struct mono deadline)
{
    int64_t left = MAX(deadline.ns - os_mono().ns, (int64_t)1);
    if (left < INT64_C(99999999) * NSEC_PER_USEC)
        snprintf(ret, 24, "%lldu", (long long)((left + NSEC_PER_USEC - 1) / NSEC_PER_USEC));
    else if (left < INT64_C(99999999) * NSEC_PER_MSEC)
        snprintf(ret, 24, "%lldm", (long long)(left / NSEC_PER_MSEC));
    else
        snprintf(ret, 24, "%lldH", (long long)MIN(left / SECONDS(3600), (int64_t)99999999));
    return str_of(ret);
}

/* An error of the transport as a gRPC code; -ECANCELED stays. */
static int transport_code(const struct grpc_stream *s, int r)
{
    if (r == -ECANCELED)
        return r;
    if (r == -ETIMEDOUT)
        return GRPC_DEADLINE_EXCEEDED;
    return s->aborted ? GRPC_CANCELLED : GRPC_UNAVAILABLE;
}

static int begin(struct grpc_stream *s, struct str body, bool whole, struct mono deadline, struct err *e)
{
    struct grpc_client *c = s->client;
    struct buf url CLEANUP_BUF = BUF_INIT;
    struct http_header headers[MAX_METADATA + 1];
    char timeout[24];
    size_t n = c->n_headers;
    memcpy(headers, c->headers, n * sizeof(*headers));
    if (deadline.ns != INT64_MAX)
        headers[n++] = (struct http_header){STR("grpc-timeout"), timeout_text(timeout, deadline)};
    buf_printf(&url, "%s%s", c->base, s->method->path);
    struct http_request r = {.method = "POST",
                             .url = url.p,
                             .unix_socket = c->unix_socket,
                             .headers = headers,
                             .n_headers = n,
                             .body = body,
                             .stream_body = !whole};
    int x =
        whole ? http_do(c->http, &r, deadline, &s->call, e) : http_begin(c->http, &r, deadline, &s->call, e);
    if (x == 0 && !whole && body.n)
        x = http_call_write(s->call, body, deadline);
    return x < 0 ? transport_code(s, x) : 0;
}

int grpc_stream_open(struct grpc_client *c, const struct grpc_method *m, const struct val *request,
                     struct mono deadline, struct grpc_stream **ret, struct err *e)
{
    struct buf body CLEANUP_BUF = BUF_INIT;
    struct grpc_stream *s = NEW(struct grpc_stream);
    s->client = c;
    s->method = m;
    if (request)
        put_message(&body, m->request, request);
    int r = begin(s, buf_str(&body), false, deadline, e);
    if (r == 0 && request && !m->client_stream)
        r = grpc_stream_close_send(s);
    if (r) {
        grpc_stream_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

int grpc_stream_send(struct grpc_stream *s, const struct val *message, struct mono deadline)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    put_message(&b, s->method->request, message);
    int r = http_call_write(s->call, buf_str(&b), deadline);
    return r < 0 ? transport_code(s, r) : 0;
}

int grpc_stream_close_send(struct grpc_stream *s)
{
    int r = http_call_end(s->call);
    return r < 0 ? transport_code(s, r) : 0;
}

static int code_of_http(int status)
{
    switch (status) {
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return GRPC_UNAVAILABLE;
    }
    return GRPC_UNKNOWN;
}

/* The status is in the trailers, or with the headers when there was nothing else ("Trailers-Only"). */
static void read_status(struct grpc_stream *s)
{
    const struct http_headers *h = &s->call->trailers;
    struct str code = http_header(h, "grpc-status");
    if (!code.p) {
        h = &s->call->headers;
        code = http_header(h, "grpc-status");
    }
    int64_t n;
    s->ended = true;
    if (!code.p || str_to_i64(code, &n) < 0 || n < 0) {
        s->status = s->call->status == 200 ? GRPC_UNKNOWN : code_of_http(s->call->status);
        err_set(&s->message, 0, "no gRPC status in the answer, HTTP status %d", s->call->status);
        return;
    }
    s->status = (int)n;
    struct str text = http_header(h, "grpc-message"), plain;
    if (url_decode(&s->call->arena, text, false, &plain) < 0)
        plain = text;
    err_set(&s->message, 0, STR_FMT, STR_ARG(plain));
}

static int final_status(struct grpc_stream *s, struct err *e)
{
    if (s->status && e)
        *e = s->message;
    return s->status;
}

static ssize_t read_call(void *from, void *p, size_t n, struct mono deadline)
{
    return http_call_read(from, p, n, deadline);
}

static int need_head(struct grpc_stream *s, struct mono deadline, struct err *e)
{
    if (s->got_head)
        return 0;
    int r = http_call_wait(s->call, deadline, e);
    if (r < 0)
        return transport_code(s, r);
    s->got_head = true;
    struct str type = http_header(&s->call->headers, "content-type");
    if (s->call->status == 200 && str_starts(type, STR("application/grpc")))
        return 0;
    read_status(s);
    return final_status(s, e);
}

/* 0 and *ret_size: a message lies at the front of s->in; 0 and size 0: the end with OK. */
static int recv_raw(struct grpc_stream *s, struct mono deadline, size_t *ret_size, struct err *e)
{
    *ret_size = 0;
    if (s->ended)
        return final_status(s, e);
    int r = need_head(s, deadline, e);
    if (r)
        return r;
    r = next_message(&s->in, s->client->max_message, read_call, s->call, deadline, ret_size, e);
    if (r > 0)
        return 0;
    if (r <= -BELOW) {
        r = transport_code(s, r + BELOW);
        return err_set(e, r, r == GRPC_DEADLINE_EXCEEDED ? "deadline exceeded" : "connection lost");
    }
    if (r < 0)
        return -r;
    read_status(s);
    return final_status(s, e);
}

int grpc_stream_recv(struct grpc_stream *s, struct mono deadline, struct arena *a, const struct val **ret,
                     struct err *e)
{
    size_t size;
    int r = recv_raw(s, deadline, &size, e);
    if (r)
        return r;
    if (size == 0) {
        *ret = NULL;
        return 0;
    }
    struct val *v;
    r = proto_decode(a, s->method->response, str_n(s->in.p + PREFIX, size - PREFIX), &v, e);
    buf_consume(&s->in, size);
    if (r < 0)
        return GRPC_INTERNAL;
    *ret = v;
    return 0;
}

void grpc_stream_abort(struct grpc_stream *s)
{
    s->aborted = true;
    http_call_abort(s->call);
}

void grpc_stream_free(struct grpc_stream *s)
{
    if (!s)
        return;
    http_call_free(s->call);
    buf_done(&s->in);
    free(s);
}

/* Reads the one response and the status after it. */
static int unary_answer(struct grpc_stream *s, struct mono deadline, struct arena *a, const struct val **ret,
                        struct err *e)
{
    const struct val *v = NULL, *more = NULL;
    int r = grpc_stream_recv(s, deadline, a, &v, e);
    if (r == 0 && v)
        r = grpc_stream_recv(s, deadline, a, &more, e);
    if (r)
        return r;
    if (!v || more)
        return err_set(e, GRPC_INTERNAL,
                       v ? "more than one response to a unary call" : "no response to a unary call");
    *ret = v;
    return 0;
}

int grpc_call(struct grpc_client *c, const struct grpc_method *m, const struct val *request,
              struct mono deadline, struct arena *a, const struct val **ret, struct err *e)
{
    struct buf body CLEANUP_BUF = BUF_INIT;
    struct grpc_stream s = {.client = c, .method = m};
    put_message(&body, m->request, request);
    int r = begin(&s, buf_str(&body), true, deadline, e);
    if (r == 0)
        r = unary_answer(&s, deadline, a, ret, e);
    http_call_free(s.call);
    buf_done(&s.in);
    return r;
}

/* ---- server ------------------------------------------------------------------------------------------- */

struct grpc_exchange {
    struct http_exchange *x;
    const struct grpc_server *server;
    const struct grpc_method *method;
    struct buf in;
};

struct arena *grpc_arena(struct grpc_exchange *g)
{
    return &g->x->arena;
}

struct http_exchange *grpc_http(struct grpc_exchange *g)
{
    return g->x;
}

static ssize_t read_exchange(void *from, void *p, size_t n, struct mono deadline)
{
    return http_read(from, p, n, deadline);
}

int grpc_recv(struct grpc_exchange *g, struct mono deadline, const struct val **ret)
{
    size_t size, max = g->server->max_message ? g->server->max_message : DEFAULT_MAX;
    struct val *v;
    int r = next_message(&g->in, max, read_exchange, g->x, deadline, &size, NULL);
    if (r <= -BELOW)
        return r + BELOW == -ETIMEDOUT ? GRPC_DEADLINE_EXCEEDED : GRPC_CANCELLED;
    if (r < 0)
        return -r;
    if (r == 0) {
        *ret = NULL;
        return 0;
    }
    r = proto_decode(&g->x->arena, g->method->request, str_n(g->in.p + PREFIX, size - PREFIX), &v, NULL);
    buf_consume(&g->in, size);
    if (r < 0)
        return GRPC_INTERNAL;
    *ret = v;
    return 0;
}

int grpc_recv_request(struct grpc_exchange *g, const struct val **ret)
{
    const struct val *v;
    int r = grpc_recv(g, MONO_NEVER, &v);
    if (r)
        return r;
    if (!v)
        return GRPC_INTERNAL;
    *ret = v;
    return 0;
}

int grpc_send(struct grpc_exchange *g, const struct val *message)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    put_message(&b, g->method->response, message);
    return http_write(g->x, buf_str(&b), MONO_NEVER) < 0 ? GRPC_CANCELLED : 0;
}

/* "grpc-message": percent-encoded but for printable ASCII. */
static struct str encode_message(struct arena *a, const char *text)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (; *text; text++) {
        if (*text >= ' ' && *text <= '~' && *text != '%')
            buf_putc(&b, *text);
        else
            buf_printf(&b, "%%%02X", (uint8_t)*text);
    }
    return arena_str(a, buf_str(&b));
}

static void finish(struct http_exchange *x, int code, const struct err *e)
{
    http_add_trailer(x, "grpc-status", arena_printf(&x->arena, "%d", code));
    if (e->text[0])
        http_add_trailer(x, "grpc-message", encode_message(&x->arena, e->text));
    http_end(x);
}

static const struct grpc_service *find_service(const struct grpc_server *s, struct str path)
{
    for (const struct grpc_service *v = s->services; v->method; v++)
        if (str_is(path, v->method->path))
            return v;
    return NULL;
}

void grpc_serve(void *grpc_server, struct http_exchange *x)
{
    struct grpc_server *s = grpc_server;
    struct err e = {0};
    if (!str_starts(http_header(&x->headers, "content-type"), STR("application/grpc"))) {
        http_respond(x, 415, "text/plain", STR("this is a gRPC server\n"));
        return;
    }
    const struct grpc_service *service = find_service(s, x->path);
    if (http_start(x, 200, "application/grpc", -1) < 0)
        return;
    if (!service) {
        err_set(&e, 0, "unknown method " STR_FMT, STR_ARG(x->path));
        finish(x, GRPC_UNIMPLEMENTED, &e);
        return;
    }
    struct grpc_exchange g = {.x = x, .server = s, .method = service->method};
    int code = service->handler(s->ctx, &g, &e);
    buf_done(&g.in);
    finish(x, code < 0 ? GRPC_CANCELLED : code, &e);
}
