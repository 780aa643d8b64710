/* SPDX-License-Identifier: Apache-2.0 */
/* One request: who serves it, and passing it on. */
#include "ingress/plane-internal.h"

#include "base/os.h"
#include "net/url.h"
#include "wire/json.h"

#include <stdio.h>
#include <unistd.h>

enum {
    PIECE = 32768,
    SMALL = 16384,       /* bodies up to that go in one piece, without a fiber of their own */
    TRIES = 3,           /* endpoints */
    BAD_S = 5,           /* one that did not take a connection is not asked so long, if there are others */
    WATCH_AFTER_MS = 500, /* then somebody looks whether the client is still there */
    UPGRADED_IDLE_S = 3600,
};

struct passing {
    struct worker *w;
    struct http_exchange *x;
    struct table *table;
    const struct target *target;
    struct counts *counts;
    struct mono start;
    char host[HOST_MAX], client[IP_TEXT_MAX];
    const char *endpoint; /* "" before one was chosen */
    const char *url;
    struct http_header *headers;
    size_t n_headers;
    struct str whole_body; /* a small one, read already */
    bool streams;          /* else */
    bool too_large, too_slow;
    uint64_t bytes_in;
    struct http_call *call;
    struct group fibers;
    unsigned hijacked_status;
};

/* ---- pages of our own ---------------------------------------------------------------------------------- */

static void page(struct passing *p, int status, const char *text)
{
    struct str body = arena_printf(&p->x->arena, "%d %s\n%s\n", status, http_status_text(status), text);
    http_respond(p->x, status, "text/plain; charset=utf-8", body);
}

static bool redirect(struct passing *p)
{
    struct http_exchange *x = p->x;
    int64_t port = p->w->plane->config.public_https_port;
    if (x->tls || !p->target->tls || p->target->options->no_redirect || !p->w->plane->https_port)
        return false;
    struct str to = arena_printf(&x->arena, "https://%s", p->host);
    if (port != 443)
        to = arena_printf(&x->arena, STR_FMT ":%lld", STR_ARG(to), (long long)port);
    to = arena_printf(&x->arena, STR_FMT STR_FMT "%s" STR_FMT, STR_ARG(to), STR_ARG(x->path), x->query.n ? "?" : "", STR_ARG(x->query));
    http_add_header(x, "Location", to);
    page(p, 308, "This is served by HTTPS.");
    return true;
}

/* ---- who serves it ------------------------------------------------------------------------------------- */

/* An absolute target names the host a second time; two names would be two opinions. */
static bool one_host(struct passing *p)
{
    struct http_exchange *x = p->x;
    struct str rest = x->target, scheme, host;
    char other[HOST_MAX];
    if (host_canonical(x->host, p->host) < 0)
        return false;
    if (rest.n && rest.p[0] == '/')
        return true;
    if (!str_cut(rest, ':', &scheme, &rest) || !str_starts(rest, STR("//")))
        return false;
    rest = str_from(rest, 2);
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
        n++;
    host = str_slice(rest, 0, n);
    return host_canonical(host, other) == 0 && !strcmp(other, p->host);
}

static bool is_plain_text(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f || s.p[i] == '#')
            return false;
    return true;
}

static bool has_prefix(const struct prefixes *list, const char *client)
{
    struct ip ip;
    for (size_t i = 0; ip_parse(str_of(client), &ip) && i < list->n; i++)
        if (prefix_has(&list->list[i], &ip))
            return true;
    return false;
}

/* False when it was answered. */
static bool choose_target(struct passing *p)
{
    struct http_exchange *x = p->x;
    struct str path;
    if (!one_host(p) || !is_plain_text(x->query) || path_canonical(&x->arena, x->path, &path) < 0) {
        page(p, 400, "Host and path must be plain: no dot segments, no backslashes, no bad escapes.");
        return false;
    }
    p->target = router_find(p->table->router, str_of(p->host), path);
    if (!p->target) {
        page(p, 404, "No Ingress is for this host and path.");
        return false;
    }
    p->counts = p->target->counts;
    const struct ingress_options *o = p->target->options;
    if (o->allow.n && !has_prefix(&o->allow, p->client)) {
        page(p, 403, "This address is not let in.");
        return false;
    }
    if (redirect(p))
        return false;
    if (o->max_body && x->content_length > o->max_body) {
        page(p, 413, "The body is too large.");
        return false;
    }
    if (!p->target->backend)
        page(p, 503, "The Service, or its port, is not there.");
    return p->target->backend != NULL;
}

/* ---- headers ------------------------------------------------------------------------------------------- */

/* Headers that are ours to write, and those that only a proxy that we trust may have written. Lower case, as they come. */
#define NAME(s) {s, sizeof(s) - 1}
static const struct str ours[] = {NAME("host"),           NAME("content-length"), NAME("expect"),         NAME("upgrade"),
                                  NAME("http2-settings"), NAME("forwarded"),      NAME("x-forwarded-for")};
static const struct str untrusted[] = {NAME("x-forwarded-proto"),  NAME("x-forwarded-host"),   NAME("x-forwarded-port"),
                                       NAME("x-real-ip"),          NAME("x-forwarded-server"), NAME("x-forwarded-scheme"),
                                       NAME("x-forwarded-prefix"), NAME("x-original-url"),     NAME("x-rewrite-url")};
#undef NAME

static bool is_one_of(struct str name, const struct str *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(name, list[i]))
            return true;
    return false;
}

static bool named_by_connection(const struct http_headers *h, struct str connection, struct str name)
{
    char text[64];
    if (!connection.p || name.n >= sizeof(text))
        return false;
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    return http_header_has(h, "connection", text);
}

static void add(struct passing *p, const char *name, struct str value)
{
    p->headers[p->n_headers++] = (struct http_header){str_of(name), value};
}

/* Who the client says it is counts for nothing, unless a proxy that we know says so. */
static void add_forwarded(struct passing *p, bool trusted)
{
    struct http_exchange *x = p->x;
    struct arena *a = &x->arena;
    const char *proto = x->tls ? "https" : "http";
    int port = x->tls ? p->w->plane->https_port : p->w->plane->http_port;
    struct str before = trusted ? http_header(&x->headers, "x-forwarded-for") : STR_NULL, client = str_of(p->client);
    struct str forwarded = trusted ? http_header(&x->headers, "forwarded") : STR_NULL;
    bool six = str_find(client, ':') >= 0;
    const struct str chain[] = {before, client};
    const struct str hop[] = {forwarded, forwarded.n ? STR(", for=") : STR("for="), six ? STR("\"[") : STR(""), client,
                              six ? STR("]\"") : STR(""), STR(";host=\""), str_of(p->host), STR("\";proto="), str_of(proto)};
    add(p, "X-Forwarded-For", before.n ? arena_join(a, chain, 2, STR(", ")) : client);
    add(p, "Forwarded", arena_join(a, hop, ARRAY_SIZE(hop), STR("")));
    if (trusted && http_header(&x->headers, "x-forwarded-proto").n)
        return; /* the others are passed on as they are */
    add(p, "X-Forwarded-Proto", str_of(proto));
    add(p, "X-Forwarded-Host", x->host);
    add(p, "X-Forwarded-Port", arena_printf(a, "%d", port));
    add(p, "X-Real-IP", client);
}

static void make_headers(struct passing *p)
{
    struct http_exchange *x = p->x;
    struct str connection = http_header(&x->headers, "connection");
    bool trusted = has_prefix(&p->w->plane->config.trusted, p->client);
    p->headers = ARENA_ARRAY(&x->arena, struct http_header, x->headers.n + 8);
    add(p, "Host", x->host);
    add_forwarded(p, trusted);
    bool theirs = trusted && http_header(&x->headers, "x-forwarded-proto").n;
    for (size_t i = 0; i < x->headers.n; i++) {
        struct http_header h = x->headers.items[i];
        if (!is_one_of(h.name, ours, ARRAY_SIZE(ours)) && (theirs || !is_one_of(h.name, untrusted, ARRAY_SIZE(untrusted))) &&
             !named_by_connection(&x->headers, connection, h.name))
            p->headers[p->n_headers++] = h;
    }
}

static void answer_headers(struct passing *p, bool upgrade)
{
    const struct http_headers *h = &p->call->headers;
    struct str connection = http_header(h, "connection");
    for (size_t i = 0; i < h->n; i++)
        if (!str_is(h->items[i].name, "date") && !named_by_connection(h, upgrade ? STR_NULL : connection, h->items[i].name))
            http_add_header(p->x, arena_cstr(&p->x->arena, h->items[i].name), h->items[i].value);
}

/* ---- bodies -------------------------------------------------------------------------------------------- */

static struct mono soon(const struct passing *p)
{
    return mono_add(os_mono(), p->target->options->timeout);
}

/* The client's body to the back end, while its answer may come already. */
static void send_body(void *arg)
{
    struct passing *p = arg;
    int64_t most = p->target->options->max_body;
    char *piece = xmalloc(PIECE);
    ssize_t n;
    while ((n = http_read(p->x, piece, PIECE, soon(p))) > 0) {
        p->bytes_in += (uint64_t)n;
        p->too_large = most && p->bytes_in > (uint64_t)most;
        if (p->too_large || http_call_write(p->call, str_n(piece, (size_t)n), soon(p)) < 0)
            break; /* the back end may have answered already: its answer is what counts */
    }
    free(piece);
    p->too_slow = n == -ETIMEDOUT;
    if (n < 0 || p->too_large)
        http_call_abort(p->call);
    else if (n == 0) {
        http_call_end(p->call);
        if (http_wait_gone(p->x, MONO_NEVER) == 0)
            http_call_abort(p->call);
    }
}

static void watch_client(void *arg)
{
    struct passing *p = arg;
    if (http_wait_gone(p->x, MONO_NEVER) == 0)
        http_call_abort(p->call);
}

/* Most answers come at once; a fiber to look after the client is only for the others. */
static int wait_answer(struct passing *p, struct err *e)
{
    struct mono deadline = soon(p), first = mono_add(os_mono(), MILLISECONDS(WATCH_AFTER_MS));
    uint64_t before = 0;
    int r;
    if (p->streams) { /* while the body moves, nobody is late */
        group_spawn(&p->fibers, "ingress-body", send_body, p);
        do
            before = p->bytes_in;
        while ((r = http_call_wait(p->call, soon(p), e)) == -ETIMEDOUT && p->bytes_in != before);
        return r;
    }
    r = http_call_wait(p->call, first.ns > deadline.ns ? deadline : first, e);
    if (r != -ETIMEDOUT)
        return r;
    group_spawn(&p->fibers, "ingress-watch", watch_client, p);
    return http_call_wait(p->call, deadline, e);
}

static void pass_small(struct passing *p, size_t length)
{
    char *body = arena_bytes(&p->x->arena, length + 1);
    size_t n = 0;
    ssize_t r = 1;
    while (n < length && (r = http_call_read(p->call, body + n, length - n, soon(p))) > 0)
        n += (size_t)r;
    if (n == length)
        http_call_read(p->call, body + n, 1, soon(p)); /* its end */
    if (n < length)
        page(p, 502, "The back end's answer was cut short.");
    else
        http_respond(p->x, p->call->status, NULL, str_n(body, n));
}

static void pass_streaming(struct passing *p)
{
    char *piece = xmalloc(PIECE);
    ssize_t n = 0;
    int w = http_start(p->x, p->call->status, NULL, p->call->content_length);
    while (w == 0) {
        n = http_call_read(p->call, piece, PIECE, mono_add(os_mono(), MILLISECONDS(WATCH_AFTER_MS)));
        if (n == -ETIMEDOUT) {
            if (!p->fibers.n)
                group_spawn(&p->fibers, "ingress-watch", watch_client, p);
            n = http_call_read(p->call, piece, PIECE, soon(p));
        }
        if (n <= 0)
            break;
        w = http_write(p->x, str_n(piece, (size_t)n), soon(p));
    }
    free(piece);
    if (n < 0 || w < 0) {
        http_abort(p->x);
        return;
    }
    for (size_t i = 0; i < p->call->trailers.n; i++)
        http_add_trailer(p->x, arena_cstr(&p->x->arena, p->call->trailers.items[i].name), p->call->trailers.items[i].value);
    http_end(p->x);
}

static void pass_answer(struct passing *p)
{
    int64_t length = p->call->content_length;
    bool has_body = !str_is(p->x->method, "HEAD") && p->call->status != 204 && p->call->status != 304;
    answer_headers(p, false);
    if (has_body && length >= 0 && length <= SMALL && !p->streams)
        pass_small(p, (size_t)length);
    else
        pass_streaming(p);
}

/* ---- endpoints ----------------------------------------------------------------------------------------- */

static bool is_bad(struct worker *w, const char *address)
{
    const struct mono *until = w->bad.n ? map_get(&w->bad, str_of(address)) : NULL;
    return until && until->ns > os_mono().ns;
}

static void mark_bad(struct worker *w, const char *address)
{
    struct mono until = mono_add(os_mono(), SECONDS(BAD_S)), *slot;
    MAP_EACH(&w->bad, e)
    {
        if (((struct mono *)e->value)->ns < os_mono().ns)
            free(map_del(&w->bad, e->key));
    }
    slot = map_get(&w->bad, str_of(address));
    if (!slot) {
        slot = NEW(struct mono);
        map_put(&w->bad, str_of(address), slot);
    }
    *slot = until;
}

/* In turn; those that took no connection lately only when there is no other. */
static const char *next_endpoint(struct passing *p, const struct endpoints *e)
{
    struct backend *b = p->target->backend;
    for (size_t i = 0; i < e->n; i++) {
        const char *address = e->list[b->next++ % e->n].address;
        if (!is_bad(p->w, address))
            return arena_cstr(&p->x->arena, str_of(address));
    }
    return e->n ? arena_cstr(&p->x->arena, str_of(e->list[b->next++ % e->n].address)) : NULL;
}

static void set_endpoint(struct passing *p, const char *address)
{
    struct http_exchange *x = p->x;
    p->endpoint = address;
    const struct str parts[] = {p->target->backend->protocol == PROTOCOL_HTTPS ? STR("https://") : STR("http://"), str_of(address), x->path,
                                x->query.n ? STR("?") : STR(""), x->query};
    p->url = arena_join(&x->arena, parts, ARRAY_SIZE(parts), STR("")).p;
}

static struct http_client *client_of(const struct passing *p)
{
    return p->w->clients[p->target->backend->protocol];
}

static struct http_request request_of(const struct passing *p)
{
    return (struct http_request){
        .method = arena_cstr(&p->x->arena, p->x->method),
        .url = p->url,
        .headers = p->headers,
        .n_headers = p->n_headers,
        .body = p->whole_body,
        .stream_body = p->streams,
        .content_length = p->x->content_length,
    };
}

static bool may_ask_again(const struct passing *p, int r)
{
    bool safe = str_is(p->x->method, "GET") || str_is(p->x->method, "HEAD") || str_is(p->x->method, "OPTIONS");
    return safe && !p->streams && !p->whole_body.n && (r == -EPIPE || r == -ECONNRESET);
}

static void fail(struct passing *p, int r)
{
    if (p->too_large)
        page(p, 413, "The body is too large.");
    else if (p->too_slow)
        page(p, 408, "The body did not come in time.");
    else if (r == -ETIMEDOUT)
        page(p, 504, "The back end did not answer in time.");
    else if (r == -ECANCELED || http_gone(p->x))
        http_abort(p->x);
    else
        page(p, 502, "The back end did not answer.");
}

/* One endpoint: 0 when there was an answer, of whatever kind. connect: no byte of the request has gone out yet. */
static int ask(struct passing *p, bool *ret_connect)
{
    struct http_request r = request_of(p);
    struct err e;
    *ret_connect = true;
    int n = http_begin(client_of(p), &r, mono_add(os_mono(), p->target->options->timeout), &p->call, &e);
    if (n < 0)
        return n;
    *ret_connect = false;
    n = wait_answer(p, &e);
    if (n == 0)
        pass_answer(p);
    group_stop(&p->fibers);
    http_call_free(TAKE_PTR(p->call));
    return n;
}

static void pass_on(struct passing *p)
{
    struct endpoints *list = backend_endpoints(p->target->backend);
    const char *address = next_endpoint(p, list);
    int r = -EHOSTUNREACH;
    if (!address)
        page(p, 503, "The Service has no endpoint that is ready.");
    for (int i = 0; address && i < TRIES; i++, address = next_endpoint(p, list)) {
        bool connect;
        set_endpoint(p, address);
        r = ask(p, &connect);
        if (r < 0 && r != -ECANCELED && connect)
            mark_bad(p->w, address);
        if (r == 0 || r == -ECANCELED || !(connect || may_ask_again(p, r)) || http_gone(p->x))
            break;
    }
    if (address && r < 0)
        fail(p, r);
    endpoints_unref(list);
}

/* ---- WebSocket ----------------------------------------------------------------------------------------- */

/* No other protocol is passed on: an upgrade to h2c would take the rest of the connection past all rules. */
static bool is_websocket(const struct passing *p)
{
    return p->target->backend->protocol != PROTOCOL_H2C && http_wants_upgrade(p->x, "websocket");
}

static void join(struct passing *p, struct stream *back)
{
    struct stream *front;
    answer_headers(p, true);
    if (http_upgrade(p->x, "websocket", &front) == 0) {
        counts_add(p->counts, 101, os_mono().ns - p->start.ns, 0, 0);
        p->hijacked_status = 101;
        stream_splice(front, back, MAX(p->target->options->timeout, SECONDS(UPGRADED_IDLE_S)));
        stream_free(front);
    }
    stream_free(back);
}

/* No byte has gone out yet. One that took the connection and is silent was asked, and is not asked again. */
static bool took_no_connection(int r, struct mono began, int64_t timeout)
{
    return r == -ECONNREFUSED || r == -EHOSTUNREACH || r == -ENETUNREACH || (r == -ETIMEDOUT && os_mono().ns - began.ns < timeout);
}

static void upgrade(struct passing *p)
{
    struct endpoints *list = backend_endpoints(p->target->backend);
    const char *address = next_endpoint(p, list);
    struct stream *back;
    struct err e;
    int r = -EHOSTUNREACH;
    if (!address)
        page(p, 503, "The Service has no endpoint that is ready.");
    for (int i = 0; address && i < TRIES; i++, address = next_endpoint(p, list)) {
        struct mono began = os_mono();
        set_endpoint(p, address);
        struct http_request q = request_of(p);
        r = http_client_upgrade(client_of(p), &q, "websocket", soon(p), &p->call, &back, &e);
        if (r >= 0 || !took_no_connection(r, began, p->target->options->timeout))
            break;
        mark_bad(p->w, address);
    }
    if (address && r < 0)
        fail(p, r);
    else if (address && r == HTTP_NO_UPGRADE)
        pass_answer(p);
    else if (address)
        join(p, back);
    http_call_free(p->call);
    endpoints_unref(list);
}

/* ---- the access log ------------------------------------------------------------------------------------ */

static void put_field(struct buf *b, const char *name, struct str value)
{
    buf_printf(b, ",\"%s\":", name);
    json_encode_str(b, value, 0);
}

/* One JSON object a line, in one write: lines of several threads do not mix. */
static void log_access(const struct passing *p, int status, int64_t ns)
{
    const struct http_exchange *x = p->x;
    char when[TIME_TEXT_MAX];
    struct buf b CLEANUP_BUF = BUF_INIT;
    int fd = p->w->plane->config.access_log;
    if (fd < 0)
        return;
    buf_printf(&b, "{\"time\":\"%s\"", time_format_micro(os_wall(), when));
    put_field(&b, "client", str_of(p->client));
    put_field(&b, "method", x->method);
    put_field(&b, "host", str_slice(x->host, 0, HOST_MAX));
    put_field(&b, "target", str_slice(x->target, 0, 2048));
    put_field(&b, "userAgent", str_slice(http_header(&x->headers, "user-agent"), 0, 256));
    if (p->target)
        put_field(&b, "ingress", arena_printf((struct arena *)&x->arena, "%s/%s", p->target->ns, p->target->ingress));
    put_field(&b, "endpoint", str_of(p->endpoint));
    buf_printf(&b, ",\"version\":%d,\"tls\":%s,\"status\":%d,\"bytesIn\":%llu,\"bytesOut\":%llu,\"seconds\":%.6f}\n", x->version,
               x->tls ? "true" : "false", status, (unsigned long long)p->bytes_in, (unsigned long long)x->bytes_written, (double)ns / 1e9);
    ssize_t n UNUSED = write(fd, b.p, b.n); /* a full disk is no reason to serve nobody */
}

/* ---- the handler --------------------------------------------------------------------------------------- */

/* A small body of known length is read first: no fiber, and no half request at the back end when the client is slow. */
static bool take_body(struct passing *p)
{
    struct http_exchange *x = p->x;
    if (x->content_length == 0)
        return true;
    p->streams = x->content_length < 0 || x->content_length > SMALL || p->target->backend->protocol == PROTOCOL_H2C;
    if (p->streams)
        return true;
    int r = http_read_all(x, SMALL, soon(p), &p->whole_body);
    p->bytes_in = p->whole_body.n;
    if (r == -ETIMEDOUT)
        page(p, 408, "The body did not come in time.");
    else if (r < 0)
        http_abort(x);
    return r == 0;
}

void serve_request(void *ctx, struct http_exchange *x)
{
    struct worker *w = ctx;
    struct passing p = {.w = w, .x = x, .table = worker_table(w), .counts = w->plane->config.no_rule, .start = os_mono(), .endpoint = ""};
    peer_address(x->peer, p.client);
    if (choose_target(&p)) {
        bool socket = is_websocket(&p);
        make_headers(&p);
        if (socket)
            upgrade(&p);
        else if (take_body(&p))
            pass_on(&p);
    }
    int status = p.hijacked_status ? 101 : x->status ? x->status : 499;
    int64_t ns = os_mono().ns - p.start.ns;
    if (!p.hijacked_status)
        counts_add(p.counts, status, ns, p.bytes_in, x->bytes_written);
    log_access(&p, status, ns);
    table_unref(p.table);
}
