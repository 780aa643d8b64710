/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP/2 connection of a server: the connection's fiber reads, each request has a fiber of its own. */
#include "net/h2.h"

enum {
    STREAM_WINDOW = 256 << 10,
    CONNECTION_WINDOW = 1 << 20,
    PING_AFTER = 45, /* seconds: watches of a client that vanished without a word should not live for long */
    PING_TIMEOUT = 20,
    GOAWAY_GRACE_MS = 100,
};

struct h2_conn {
    struct server_conn *c;
    struct h2 h2;
    struct group fibers;
    unsigned n_handlers; /* handlers that still run, also of streams that were reset */
    struct waitq handlers_q;
    struct mono idle_since;
    bool goaway;
};

struct h2_exchange {
    struct exchange ex;
    struct h2_conn *hc;
    struct h2_stream s;
    bool head_sent, expects_continue;
};

static void h2_drain(struct server_conn *c);

static struct h2_exchange *hx_of(struct exchange *ex)
{
    return CONTAINER_OF(ex, struct h2_exchange, ex);
}

/* ---- the exchange's operations ------------------------------------------------------------------------ */

static ssize_t h2x_read(struct exchange *ex, void *p, size_t n, struct mono deadline)
{
    struct h2_exchange *hx = hx_of(ex);
    if (hx->expects_continue && !hx->head_sent && !hx->s.in_end && !hx->s.closed) {
        nghttp2_nv nv = h2_nv(STR(":status"), STR("100"));
        nghttp2_submit_headers(hx->hc->h2.session, NGHTTP2_FLAG_NONE, hx->s.id, NULL, &nv, 1, NULL);
        h2_flush(&hx->hc->h2);
    }
    hx->expects_continue = false;
    return h2_stream_read(&hx->s, p, n, deadline);
}

static struct str decimal(struct arena *a, int64_t n)
{
    return arena_printf(a, "%lld", (long long)n);
}

/* The head as nghttp2 wants it; names in lower case (RFC 9113 section 8.2). */
static size_t make_head(struct exchange *ex, int64_t length, nghttp2_nv **ret)
{
    struct arena *a = &ex->x.arena;
    nghttp2_nv *nv = ARENA_ARRAY(a, nghttp2_nv, ex->headers.n + 3);
    size_t n = 0;
    char date[32];
    nv[n++] = h2_nv(STR(":status"), decimal(a, ex->x.status));
    nv[n++] = h2_nv(STR("date"), arena_str(a, str_of(http_date(date))));
    for (size_t i = 0; i < ex->headers.n; i++) {
        struct http_header *h = &ex->headers.items[i];
        char *name = arena_cstr(a, h->name);
        for (char *c = name; *c; c++)
            *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
        nv[n++] = h2_nv(str_n(name, h->name.n), h->value);
    }
    if (length >= 0)
        nv[n++] = h2_nv(STR("content-length"), decimal(a, length));
    *ret = nv;
    return n;
}

static int h2x_start(struct exchange *ex, int64_t length, struct str piece, bool end)
{
    struct h2_exchange *hx = hx_of(ex);
    struct h2 *h = &hx->hc->h2;
    if (hx->s.closed)
        return -EPIPE;
    nghttp2_nv *nv;
    size_t n = make_head(ex, length, &nv);
    nghttp2_data_provider provider = h2_provider(&hx->s);
    bool body = !end || piece.n;
    hx->head_sent = true;
    hx->s.trailers = &ex->trailers;
    if (!body)
        hx->s.out_end = hx->s.out_done = true;
    if (nghttp2_submit_response(h->session, hx->s.id, nv, n, body ? &provider : NULL))
        return -EPROTO;
    if (body && (piece.n || end))
        return h2_stream_write(&hx->s, piece, end, MONO_NEVER);
    h2_flush(h);
    return 0;
}

static int h2x_write(struct exchange *ex, struct str piece, struct mono deadline)
{
    return h2_stream_write(&hx_of(ex)->s, piece, false, deadline);
}

static int h2x_end(struct exchange *ex)
{
    struct h2_exchange *hx = hx_of(ex);
    if (hx->s.out_end)
        return 0;
    return h2_stream_write(&hx->s, STR_NULL, true, MONO_NEVER);
}

static void h2x_abort(struct exchange *ex)
{
    h2_stream_reset(&hx_of(ex)->s, NGHTTP2_INTERNAL_ERROR);
}

static void h2x_watch(struct exchange *ex)
{
    /* Resets are always noticed. */
}

static int h2x_hijack(struct exchange *ex, struct stream **ret)
{
    return -ENOTSUP;
}

static void h2x_close_after(struct exchange *ex)
{
    h2_drain(hx_of(ex)->hc->c);
}

static const struct exchange_ops h2_ops = {
    .read = h2x_read,
    .start = h2x_start,
    .write = h2x_write,
    .end = h2x_end,
    .abort = h2x_abort,
    .watch = h2x_watch,
    .hijack = h2x_hijack,
    .close_after = h2x_close_after,
};

/* ---- requests ----------------------------------------------------------------------------------------- */

/* Pseudo headers go into their own fields; Cookie crumbs and the rest stay as they came. */
static void fill_request(struct h2_exchange *hx)
{
    struct http_exchange *x = &hx->ex.x;
    struct http_fields *f = &hx->s.fields;
    size_t n = 0;
    x->content_length = hx->s.in_end ? 0 : -1;
    for (size_t i = 0; i < f->n; i++) {
        struct http_header h = f->items[i];
        if (str_is(h.name, ":method"))
            x->method = h.value;
        else if (str_is(h.name, ":path"))
            x->target = h.value;
        else if (str_is(h.name, ":authority"))
            x->host = h.value;
        else if (h.name.n && h.name.p[0] != ':')
            f->items[n++] = h;
        if (str_is(h.name, "content-length"))
            str_to_i64(h.value, &x->content_length);
    }
    x->headers = (struct http_headers){f->items, n};
    if (!x->host.p)
        x->host = http_header(&x->headers, "host");
    x->version = 20;
    hx->expects_continue = http_header_has(&x->headers, "expect", "100-continue");
}

static void handler_main(void *arg)
{
    struct h2_exchange *hx = arg;
    struct h2_conn *hc = hx->hc;
    fill_request(hx);
    if (hx->s.too_large)
        http_respond(&hx->ex.x, 431, "text/plain", STR("Request Header Fields Too Large\n"));
    else
        exchange_run(&hx->ex);
    /* A complete response to an unread request ends with NO_ERROR (RFC 9113 section 8.1). */
    h2_stream_done(&hx->s, hx->s.out_done ? NGHTTP2_NO_ERROR : NGHTTP2_INTERNAL_ERROR);
    h2_flush(&hc->h2);
    exchange_done(&hx->ex);
    free(hx);
    if (--hc->n_handlers == 0)
        hc->idle_since = os_mono();
    waitq_wake_all(&hc->handlers_q);
}

/* Handlers that outlive their reset streams count, too: that is what a rapid reset attack makes many of. */
static struct h2_stream *role_open(struct h2 *h, int32_t id)
{
    struct h2_conn *hc = h->owner;
    if (hc->n_handlers >= 2 * hc->c->server->config.max_streams)
        return NULL;
    struct h2_exchange *hx = NEW(struct h2_exchange);
    hx->hc = hc;
    exchange_init(&hx->ex, hc->c, &h2_ops);
    h2_stream_init(&hx->s, h, id, &hx->ex.x.arena, hx);
    hc->n_handlers++;
    return &hx->s;
}

static void role_head(struct h2_stream *s)
{
    struct h2_exchange *hx = s->owner;
    group_spawn(&hx->hc->fibers, "http-request", handler_main, hx);
}

static void role_closed(struct h2_stream *s)
{
    struct h2_exchange *hx = s->owner;
    if (s->head_done) {
        exchange_gone(&hx->ex);
        return;
    }
    /* No handler was ever started for it. */
    hx->hc->n_handlers--;
    h2_stream_done(s, NGHTTP2_CANCEL);
    exchange_done(&hx->ex);
    free(hx);
}

static const struct h2_role server_role = {role_open, role_head, role_closed};

/* ---- the connection ----------------------------------------------------------------------------------- */

/* The notice first, so that requests already on their way are still taken (RFC 9113 section 6.8); then the
 * last handlers and the last bytes; then the end, not before the peer had time to read them. */
static void goaway_main(void *arg)
{
    struct h2_conn *hc = arg;
    struct h2 *h = &hc->h2;
    nghttp2_submit_shutdown_notice(h->session);
    h2_flush(h);
    if (fiber_sleep(MILLISECONDS(GOAWAY_GRACE_MS)) < 0 || h->broken)
        return;
    nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->session),
                          NGHTTP2_NO_ERROR, NULL, 0);
    h2_flush(h);
    while (hc->n_handlers)
        if (waitq_wait(&hc->handlers_q, MONO_NEVER) < 0)
            return;
    h2_send(h);
    if (group_wait(&h->writer, MONO_NEVER) < 0 || h->broken)
        return;
    stream_shutdown(h->stream);
    if (fiber_sleep(MILLISECONDS(GOAWAY_GRACE_MS)) == 0)
        h2_break(h, -EPIPE);
}

static void h2_drain(struct server_conn *c)
{
    struct h2_conn *hc = c->proto;
    if (!hc->goaway)
        group_spawn(&hc->fibers, "http-goaway", goaway_main, hc);
    hc->goaway = true;
}

static void pump(struct h2_conn *hc)
{
    int64_t idle = hc->c->server->config.idle_timeout;
    for (;;) {
        int r = h2_pump(&hc->h2, mono_add(hc->n_handlers ? os_mono() : hc->idle_since, idle));
        if (r < 0 && r != -ETIMEDOUT)
            return;
        if (h2_finished(&hc->h2) && !hc->n_handlers)
            return;
        if (r == -ETIMEDOUT && !hc->n_handlers && os_mono().ns >= mono_add(hc->idle_since, idle).ns) {
            nghttp2_session_terminate_session(hc->h2.session, NGHTTP2_NO_ERROR);
            h2_flush(&hc->h2);
            return;
        }
    }
}

void h2_serve(struct server_conn *c, const char *early, size_t n)
{
    const struct http_server_config *config = &c->server->config;
    struct h2_conn *hc = NEW(struct h2_conn);
    struct h2_config h2c = {.server = true,
                            .max_streams = config->max_streams,
                            .stream_window = STREAM_WINDOW,
                            .connection_window = CONNECTION_WINDOW,
                            .max_header_bytes = config->max_header_bytes,
                            .write_timeout = config->write_timeout,
                            .ping_after = SECONDS(PING_AFTER),
                            .ping_timeout = SECONDS(PING_TIMEOUT)};
    hc->c = c;
    hc->idle_since = os_mono();
    c->proto = hc;
    h2_init(&hc->h2, c->stream, &h2c, &server_role, hc);
    c->drain = h2_drain;
    h2_flush(&hc->h2);
    if (h2_feed(&hc->h2, early, n) == 0)
        pump(hc);
    c->drain = NULL;
    h2_break(&hc->h2, -EPIPE);
    group_stop(&hc->fibers);
    h2_done(&hc->h2);
    free(hc);
}
