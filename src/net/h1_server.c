/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP/1.x connection of a server: requests one after the other, the handler on the connection's own
 * fiber. */
#include "net/h1_wire.h"

#include <stdio.h>

enum {
    PIPELINE_MAX = 65536, /* bytes of further requests taken in while a handler runs */
    DRAIN_MAX = 262144,   /* of an unread body, to keep the connection */
    SMALL_PIECE = 32768,  /* copied together with its framing */
};

struct h1_conn {
    struct server_conn *c;
    struct h1_wire w;
    struct exchange ex;
    struct group monitor;
    bool keep, chunked, expects_continue, waiting_head;
};

static struct h1_conn *conn_of(struct exchange *ex)
{
    return CONTAINER_OF(ex, struct h1_conn, ex);
}

/* 0 when a head is there, a fault of h1, -errno when the connection ended or was idle too long. */
static int read_head(struct h1_conn *hc)
{
    const struct http_server_config *config = &hc->c->server->config;
    struct mono idle = mono_add(os_mono(), config->idle_timeout);
    while (hc->w.in.n == 0) { /* read before waiting: the next request is often there */
        int r = h1_wire_feed(&hc->w);
        if (r == 0)
            return -ENODATA;
        if (r > 0)
            break;
        if (r != -EAGAIN)
            return r;
        hc->waiting_head = true; /* idle: h1_drain() may end it here */
        r = stream_wait(hc->c->stream, OS_READABLE, idle);
        hc->waiting_head = false;
        if (r < 0)
            return r;
    }
    return h1_wire_head(&hc->w, mono_add(os_mono(), config->header_timeout), 0);
}

/* ---- the exchange's operations ------------------------------------------------------------------------ */

static int send_bytes(struct h1_conn *hc, const void *p, size_t n, struct mono deadline)
{
    int r = http_stream_write(hc->c->stream, p, n, deadline, hc->c->server->config.write_timeout);
    if (r < 0)
        hc->keep = false;
    return r;
}

static int send_continue(struct h1_conn *hc)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    hc->expects_continue = false;
    return hc->ex.started ? 0 : send_bytes(hc, text, sizeof(text) - 1, MONO_NEVER);
}

static ssize_t h1x_read(struct exchange *ex, void *p, size_t n, struct mono deadline)
{
    struct h1_conn *hc = conn_of(ex);
    struct h1 *h = &hc->w.h1;
    if (hc->expects_continue && !h->done && !h->body.n) {
        int r = send_continue(hc);
        if (r < 0)
            return r;
    }
    ssize_t r = h1_wire_read(&hc->w, p, n, deadline);
    if (r == -EPIPE)
        exchange_gone(ex);
    return r;
}

static void put_head(struct h1_conn *hc, struct buf *b, int64_t length)
{
    struct exchange *ex = &hc->ex;
    char date[32];
    buf_printf(b, "HTTP/1.1 %d ", ex->x.status);
    buf_puts(b, http_status_text(ex->x.status));
    buf_puts(b, "\r\nDate: ");
    buf_puts(b, http_date(date));
    buf_putstr(b, STR("\r\n"));
    for (size_t i = 0; i < ex->headers.n; i++)
        http_put_header(b, &ex->headers.items[i]);
    if (length >= 0)
        buf_printf(b, "Content-Length: %lld\r\n", (long long)length);
    else if (hc->chunked)
        buf_puts(b, "Transfer-Encoding: chunked\r\n");
    if (!hc->keep)
        buf_puts(b, "Connection: close\r\n");
    else if (ex->x.version == 10)
        buf_puts(b, "Connection: keep-alive\r\n");
    buf_puts(b, "\r\n");
}

static void put_chunk(struct buf *b, struct str piece)
{
    buf_printf(b, "%zx\r\n", piece.n);
    buf_putstr(b, piece);
    buf_puts(b, "\r\n");
}

static int write_piece(struct h1_conn *hc, struct buf *b, struct str piece, struct mono deadline)
{
    if (piece.n <= SMALL_PIECE) {
        if (hc->chunked)
            put_chunk(b, piece);
        else
            buf_putstr(b, piece);
        return send_bytes(hc, b->p, b->n, deadline);
    }
    if (hc->chunked)
        buf_printf(b, "%zx\r\n", piece.n);
    int r = send_bytes(hc, b->p, b->n, deadline);
    if (r == 0)
        r = send_bytes(hc, piece.p, piece.n, deadline);
    if (r == 0 && hc->chunked)
        r = send_bytes(hc, "\r\n", 2, deadline);
    return r;
}

static int h1x_start(struct exchange *ex, int64_t length, struct str piece, bool end)
{
    struct h1_conn *hc = conn_of(ex);
    struct buf b CLEANUP_BUF = BUF_INIT;
    hc->chunked = length < 0 && !ex->bodyless && ex->x.version == 11;
    if (length < 0 && !ex->bodyless && !hc->chunked)
        hc->keep = false; /* HTTP/1.0: the end of the connection is the end of the body */
    if (hc->c->draining || (hc->expects_continue && !hc->w.h1.done))
        hc->keep =
            false; /* the client may or may not send the body now: no telling where a next request begins */
    put_head(hc, &b, length);
    if (piece.n == 0)
        return send_bytes(hc, b.p, b.n, MONO_NEVER);
    return write_piece(hc, &b, piece, MONO_NEVER);
}

static int h1x_write(struct exchange *ex, struct str piece, struct mono deadline)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    return write_piece(conn_of(ex), &b, piece, deadline);
}

static int h1x_end(struct exchange *ex)
{
    struct h1_conn *hc = conn_of(ex);
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (!hc->chunked)
        return 0;
    buf_puts(&b, "0\r\n");
    for (size_t i = 0; i < ex->trailers.n; i++)
        http_put_header(&b, &ex->trailers.items[i]);
    buf_puts(&b, "\r\n");
    return send_bytes(hc, b.p, b.n, MONO_NEVER);
}

static void h1x_abort(struct exchange *ex)
{
    conn_of(ex)->keep = false;
    stream_abort(conn_of(ex)->c->stream);
}

/* Reads ahead while the handler is busy, only to see the end of the connection. */
static void monitor_main(void *arg)
{
    struct h1_conn *hc = arg;
    while (hc->w.in.n < PIPELINE_MAX) {
        int r = stream_wait(hc->c->stream, OS_READABLE, MONO_NEVER);
        if (r == -ECANCELED)
            return;
        ssize_t n = r < 0 ? r : stream_try_read(hc->c->stream, http_scratch(), HTTP_SCRATCH);
        if (n == -EAGAIN)
            continue;
        if (n <= 0) {
            hc->keep = false;
            exchange_gone(&hc->ex);
            return;
        }
        buf_put(&hc->w.in, http_scratch(), (size_t)n);
    }
}

static void h1x_watch(struct exchange *ex)
{
    struct h1_conn *hc = conn_of(ex);
    if (!hc->monitor.n && hc->w.h1.done && !ex->gone)
        group_spawn(&hc->monitor, "http-monitor", monitor_main, hc);
}

static int h1x_hijack(struct exchange *ex, struct stream **ret)
{
    struct h1_conn *hc = conn_of(ex);
    group_stop(&hc->monitor);
    h1_wire_unread(&hc->w);
    hc->keep = false;
    *ret = TAKE_PTR(hc->c->stream);
    return 0;
}

static void h1x_close_after(struct exchange *ex)
{
    conn_of(ex)->keep = false;
}

static const struct exchange_ops h1_ops = {
    .read = h1x_read,
    .start = h1x_start,
    .write = h1x_write,
    .end = h1x_end,
    .abort = h1x_abort,
    .watch = h1x_watch,
    .hijack = h1x_hijack,
    .close_after = h1x_close_after,
};

/* ---- the connection ----------------------------------------------------------------------------------- */

static void fill_request(struct h1_conn *hc)
{
    struct http_exchange *x = &hc->ex.x;
    struct h1 *h = &hc->w.h1;
    x->method = arena_str(&x->arena, str_of(h1_method(h)));
    x->target = arena_str(&x->arena, buf_str(&h->target));
    x->headers = h1_headers(h, &x->arena, false);
    x->host = http_header(&x->headers, "host");
    x->version = h1_version(h);
    x->content_length = h1_content_length(h);
    hc->keep = h1_keep_alive(h);
    hc->expects_continue = x->version == 11 && http_header_has(&x->headers, "expect", "100-continue");
}

/* What is left of the request's body, up to a limit: only then can the connection be used again. */
static bool drain_body(struct h1_conn *hc)
{
    struct mono deadline = mono_add(os_mono(), SECONDS(1));
    char *p = xmalloc(HTTP_SCRATCH);
    size_t total = 0;
    ssize_t n = 1;
    while (total < DRAIN_MAX && (n = h1x_read(&hc->ex, p, HTTP_SCRATCH, deadline)) > 0)
        total += (size_t)n;
    free(p);
    return n == 0;
}

static void refuse(struct h1_conn *hc, int fault)
{
    static const int status[] = {
        [H1_BAD] = 400, [H1_TOO_LARGE] = 431, [H1_BAD_ENCODING] = 501, [H1_BAD_VERSION] = 505};
    struct buf b CLEANUP_BUF = BUF_INIT;
    const char *text = http_status_text(status[fault]);
    buf_printf(
        &b,
        "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s\n",
        status[fault], text, strlen(text) + 1, text);
    http_stream_write(hc->c->stream, b.p, b.n, MONO_NEVER, SECONDS(5));
}

/* Closing with unread bytes makes the kernel send a reset, which can overtake the response. */
static void linger(struct h1_conn *hc)
{
    struct mono deadline = mono_add(os_mono(), MILLISECONDS(500));
    size_t total = 0;
    if (hc->c->stream->aborted || stream_shutdown(hc->c->stream) < 0)
        return;
    while (total < DRAIN_MAX) {
        ssize_t n = stream_try_read(hc->c->stream, http_scratch(), HTTP_SCRATCH);
        if (n == -EAGAIN && stream_wait(hc->c->stream, OS_READABLE, deadline) == 0)
            continue;
        if (n <= 0)
            return;
        total += (size_t)n;
    }
}

static bool serve_one(struct h1_conn *hc)
{
    struct exchange *ex = &hc->ex;
    exchange_init(ex, hc->c, &h1_ops);
    hc->chunked = false;
    fill_request(hc);
    exchange_run(ex);
    group_stop(&hc->monitor);
    bool again = hc->keep && !ex->broken && !ex->gone && !ex->hijacked && !hc->c->draining;
    bool answered = ex->started && !ex->broken && !ex->gone;
    if (again && !hc->w.h1.done)
        again = drain_body(hc);
    if (!again && answered && !ex->hijacked)
        linger(hc);
    exchange_done(ex);
    return again;
}

static void h1_drain(struct server_conn *c)
{
    struct h1_conn *hc = c->proto;
    if (hc->waiting_head)
        stream_abort(c->stream);
}

void h1_serve(struct server_conn *c, const char *early, size_t n)
{
    struct h1_conn *hc = NEW(struct h1_conn);
    hc->c = c;
    hc->w.stream = c->stream;
    c->proto = hc;
    c->drain = h1_drain;
    buf_put(&hc->w.in, early, n);
    h1_init(&hc->w.h1, true, c->server->config.max_header_bytes);
    int r;
    do {
        r = read_head(hc);
        if (r == 0)
            r = serve_one(hc) ? 0 : -ENODATA;
        h1_next(&hc->w.h1);
    } while (r == 0 && !c->draining);
    if (r > 0) {
        refuse(hc, r);
        linger(hc);
    }
    c->drain = NULL;
    h1_wire_done(&hc->w);
    free(hc);
}
