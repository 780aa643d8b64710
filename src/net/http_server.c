/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners, connections and what an exchange is in both versions. */
#include "net/http-internal.h"

#include <stdio.h>

/* ---- exchanges ---------------------------------------------------------------------------------------- */

static struct exchange *ex_of(struct http_exchange *x)
{
    return CONTAINER_OF(x, struct exchange, x);
}

static const struct exchange *ex_of_const(const struct http_exchange *x)
{
    return (const struct exchange *)((const char *)x - offsetof(struct exchange, x));
}

void exchange_init(struct exchange *ex, struct server_conn *c, const struct exchange_ops *ops)
{
    *ex = (struct exchange){.ops = ops, .server = c->server, .length = -1};
    ex->x.peer = c->peer;
    ex->x.tls = c->stream->tls;
    list_push_back(&c->server->exchanges, &ex->link);
}

void exchange_done(struct exchange *ex)
{
    list_remove(&ex->link);
    arena_done(&ex->x.arena);
}

void exchange_gone(struct exchange *ex)
{
    if (ex->gone)
        return;
    ex->gone = true;
    waitq_wake_all(&ex->gone_q);
    if (ex->notify)
        waitq_wake_all(ex->notify);
}

/* Absolute form ("http://host/path") is allowed in HTTP/1.1; only its path is of interest. */
static void split_target(struct http_exchange *x)
{
    struct str t = x->target;
    if (t.n && t.p[0] != '/') {
        ssize_t scheme = str_find(t, ':');
        if (scheme > 0 && str_starts(str_from(t, (size_t)scheme), STR("://"))) {
            t = str_from(t, (size_t)scheme + 3);
            ssize_t slash = str_find(t, '/');
            t = slash < 0 ? STR("/") : str_from(t, (size_t)slash);
        }
    }
    str_cut(t, '?', &x->path, &x->query);
}

void exchange_run(struct exchange *ex)
{
    struct http_exchange *x = &ex->x;
    split_target(x);
    ex->server->config.handler(ex->server->config.ctx, x);
    if (ex->hijacked || ex->broken)
        return;
    if (!ex->started && !ex->gone)
        http_respond(x, 500, "text/plain", STR("no answer\n"));
    if (ex->started && !ex->ended)
        http_end(x);
}

ssize_t http_read(struct http_exchange *x, void *p, size_t n, struct mono deadline)
{
    struct exchange *ex = ex_of(x);
    return ex->hijacked ? -EPIPE : ex->ops->read(ex, p, n, deadline);
}

int http_read_all(struct http_exchange *x, size_t max, struct mono deadline, struct str *ret)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (x->content_length > 0 && (uint64_t)x->content_length > max)
        return -EFBIG;
    size_t step = x->content_length > 0 ? MIN((size_t)x->content_length, (size_t)1 << 20) : 4096;
    for (;;) {
        ssize_t n = http_read(x, buf_grow(&b, step), step, deadline);
        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        b.n += (size_t)n;
        if (b.n > max)
            return -EFBIG;
        step = MAX((size_t)4096, b.n);
    }
    *ret = arena_str(&x->arena, buf_str(&b));
    return 0;
}

/* What frames a message or belongs to the connection is ours to write. */
static bool framing_header(struct str name)
{
    return http_is_hop_header(name) || http_fold_eq(name, STR("content-length"));
}

int http_add_header(struct http_exchange *x, const char *name, struct str value)
{
    struct exchange *ex = ex_of(x);
    struct str n = str_of(name);
    if (ex->started || !http_name_ok(n) || !http_value_ok(value))
        return -EINVAL;
    if (!framing_header(n))
        http_fields_add(&x->arena, &ex->headers, n, value, false);
    return 0;
}

int http_add_trailer(struct http_exchange *x, const char *name, struct str value)
{
    struct exchange *ex = ex_of(x);
    struct str n = str_of(name);
    if (ex->ended || !http_name_ok(n) || !http_value_ok(value) || framing_header(n))
        return -EINVAL;
    http_fields_add(&x->arena, &ex->trailers, n, value, true);
    return 0;
}

/* Client gone, too slow, reset: to the handler it is all the same, -EPIPE; only its own end differs. */
static int outcome(struct exchange *ex, int r)
{
    if (r >= 0)
        return r;
    ex->broken = true;
    if (r == -ECANCELED || r == -ETIMEDOUT || r == -EINVAL)
        return r;
    exchange_gone(ex);
    return -EPIPE;
}

static void set_status(struct http_exchange *x, int status)
{
    x->status = status;
    if (x->started)
        x->started(x);
}

static int begin(struct http_exchange *x, int status, const char *content_type, int64_t length,
                 struct str piece, bool end)
{
    struct exchange *ex = ex_of(x);
    if (ex->started || ex->hijacked || status < 200 || status > 999)
        return -EINVAL;
    if (ex->gone)
        return -EPIPE;
    if (content_type && !http_fields_get(&ex->headers, "content-type").p)
        http_add_header(x, "Content-Type", str_of(content_type));
    ex->bodyless = str_is(x->method, "HEAD") || status == 204 || status == 304;
    if (status == 204)
        length = -1;
    set_status(x, status);
    ex->started = true;
    ex->ended = end || ex->bodyless;
    ex->length = length;
    x->bytes_written += piece.n;
    return outcome(ex, ex->ops->start(ex, length, ex->bodyless ? STR_NULL : piece, ex->ended));
}

int http_respond(struct http_exchange *x, int status, const char *content_type, struct str body)
{
    return begin(x, status, content_type, (int64_t)body.n, body, ex_of(x)->trailers.n == 0);
}

int http_start(struct http_exchange *x, int status, const char *content_type, int64_t content_length)
{
    return begin(x, status, content_type, content_length, STR_NULL, false);
}

int http_write(struct http_exchange *x, struct str piece, struct mono deadline)
{
    struct exchange *ex = ex_of(x);
    if (ex->gone)
        return -EPIPE;
    if (!ex->started || ex->broken || (ex->ended && !ex->bodyless))
        return -EINVAL;
    x->bytes_written += piece.n;
    if (ex->length >= 0 && x->bytes_written > (uint64_t)ex->length)
        return -EINVAL;
    if (ex->bodyless || piece.n == 0)
        return 0;
    return outcome(ex, ex->ops->write(ex, piece, deadline));
}

int http_end(struct http_exchange *x)
{
    struct exchange *ex = ex_of(x);
    if (ex->ended || ex->broken || !ex->started)
        return ex->ended ? 0 : -EINVAL;
    if (ex->length >= 0 && x->bytes_written < (uint64_t)ex->length) { /* promised more than was given */
        http_abort(x);
        return -EINVAL;
    }
    ex->ended = true;
    return outcome(ex, ex->ops->end(ex));
}

void http_abort(struct http_exchange *x)
{
    struct exchange *ex = ex_of(x);
    if (ex->hijacked)
        return;
    ex->broken = ex->ended = true;
    ex->ops->abort(ex);
}

void http_close_after(struct http_exchange *x)
{
    struct exchange *ex = ex_of(x);
    if (!ex->hijacked)
        ex->ops->close_after(ex);
}

bool http_gone(const struct http_exchange *x)
{
    return ex_of_const(x)->gone;
}

bool http_stopping(const struct http_exchange *x)
{
    return ex_of_const(x)->server->stopping;
}

int http_wait_gone(struct http_exchange *x, struct mono deadline)
{
    struct exchange *ex = ex_of(x);
    ex->ops->watch(ex);
    while (!ex->gone) {
        int r = waitq_wait(&ex->gone_q, deadline);
        if (r < 0)
            return r;
    }
    return 0;
}

void http_notify_gone(struct http_exchange *x, struct waitq *q)
{
    struct exchange *ex = ex_of(x);
    ex->notify = q;
    if (q)
        ex->ops->watch(ex);
}

bool http_wants_upgrade(const struct http_exchange *x, const char *protocol)
{
    if (x->version != 11 || !http_header_has(&x->headers, "connection", "upgrade"))
        return false;
    return protocol ? http_header_has(&x->headers, "upgrade", protocol)
                    : http_header(&x->headers, "upgrade").p != NULL;
}

int http_hijack(struct http_exchange *x, struct stream **ret)
{
    struct exchange *ex = ex_of(x);
    if (x->version == 20)
        return HTTP_NO_UPGRADE;
    if (ex->started || ex->hijacked)
        return -EINVAL;
    struct stream *s;
    int r = ex->ops->hijack(ex, &s);
    if (r < 0)
        return r;
    ex->hijacked = true;
    *ret = s;
    return 0;
}

int http_upgrade(struct http_exchange *x, const char *protocol, struct stream **ret)
{
    struct exchange *ex = ex_of(x);
    struct stream *s;
    int r = http_hijack(x, &s);
    if (r)
        return r;
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_printf(&b, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n", protocol);
    for (size_t i = 0; i < ex->headers.n; i++)
        buf_printf(&b, STR_FMT ": " STR_FMT "\r\n", STR_ARG(ex->headers.items[i].name),
                   STR_ARG(ex->headers.items[i].value));
    buf_puts(&b, "\r\n");
    set_status(x, 101);
    r = http_stream_write(s, b.p, b.n, MONO_NEVER, ex->server->config.write_timeout);
    if (r < 0) {
        stream_free(s);
        return r == -ECANCELED ? r : -EPIPE;
    }
    *ret = s;
    return 0;
}

/* ---- connections -------------------------------------------------------------------------------------- */

static const char h2_preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
enum { PREFACE_LEAST = 18 }; /* up to the first empty line: no HTTP/1 request begins so */

/* Tells h2c by prior knowledge from HTTP/1 by the first bytes, which are returned in early. */
static bool sniff_h2(struct server_conn *c, char *early, size_t *ret_n)
{
    struct mono deadline = mono_add(os_mono(), c->server->config.idle_timeout);
    size_t n = 0;
    while (n < PREFACE_LEAST && memcmp(early, h2_preface, n) == 0) {
        ssize_t r = stream_read(c->stream, early + n, PREFACE_LEAST - n, deadline);
        if (r <= 0)
            break;
        if (n == 0)
            deadline = mono_add(os_mono(), c->server->config.header_timeout);
        n += (size_t)r;
    }
    *ret_n = n;
    return n == PREFACE_LEAST && memcmp(early, h2_preface, n) == 0;
}

static int conn_handshake(struct server_conn *c)
{
    if (c->stream)
        return 0;
    if (!c->server->config.tls) {
        c->stream = stream_of_fd(TAKE_FD(c->fd));
        return 0;
    }
    struct mono deadline = mono_add(os_mono(), c->server->config.header_timeout);
    struct err e;
    int r = tls_accept(c->server->config.tls, TAKE_FD(c->fd), deadline, &c->stream, &e);
    c->server->tls_failures += r < 0;
    return r;
}

static void conn_serve(struct server_conn *c)
{
    char early[PREFACE_LEAST];
    size_t n = 0;
    if (conn_handshake(c) < 0 || c->draining)
        return;
    if (c->stream->tls && str_is(str_of(c->stream->tls->alpn), "h2"))
        h2_serve(c, early, 0);
    else if (!c->stream->tls && sniff_h2(c, early, &n))
        h2_serve(c, early, n);
    else
        h1_serve(c, early, n);
}

static void conn_main(void *arg)
{
    struct server_conn *c = arg;
    struct http_server *s = c->server;
    conn_serve(c);
    stream_free(c->stream);
    if (c->fd >= 0)
        os_close(c->fd);
    list_remove(&c->link);
    free(c);
    s->n_conns--;
    waitq_wake_all(&s->conns_q);
}

static void conn_start(struct http_server *s, int fd, struct stream *stream, const char *peer)
{
    struct server_conn *c = NEW(struct server_conn);
    c->server = s;
    c->fd = fd;
    c->stream = stream;
    snprintf(c->peer, sizeof(c->peer), "%s", peer);
    list_push_back(&s->conns, &c->link);
    s->n_conns++;
    group_spawn(&s->fibers, "http-conn", conn_main, c);
}

/* ---- listeners ---------------------------------------------------------------------------------------- */

struct listener {
    struct list link;
    struct http_server *server;
    int fd;
};

static bool accept_wait_room(struct http_server *s)
{
    while (s->n_conns >= s->config.max_connections && !s->stopping)
        if (waitq_wait(&s->conns_q, MONO_NEVER) < 0)
            return false;
    return !s->stopping;
}

static void accept_main(void *arg)
{
    struct listener *l = arg;
    struct http_server *s = l->server;
    char peer[64];
    while (accept_wait_room(s)) {
        int fd = os_accept(l->fd, peer, sizeof(peer), MONO_NEVER);
        if (fd >= 0)
            conn_start(s, fd, NULL, peer);
        else if (fd == -ECANCELED || fd == -EBADF || fd == -EINVAL)
            break;
        else if (fiber_sleep(MILLISECONDS(100)) <
                 0) /* out of descriptors or memory: others may give some back */
            break;
    }
}

void http_server_listen_fd(struct http_server *s, int fd)
{
    struct listener *l = NEW(struct listener);
    l->server = s;
    l->fd = fd;
    list_push_back(&s->listeners, &l->link);
    group_spawn(&s->acceptors, "http-accept", accept_main, l);
}

int http_server_listen(struct http_server *s, const char *address, struct err *e)
{
    int fd = os_listen(address, e);
    if (fd < 0)
        return fd;
    http_server_listen_fd(s, fd);
    return 0;
}

int http_server_address(const struct http_server *s, char *ret, size_t size)
{
    if (list_empty(&s->listeners))
        return -ENOENT;
    return os_local_address(LIST_ENTRY(s->listeners.next, struct listener, link)->fd, ret, size);
}

void http_server_serve(struct http_server *s, struct stream *stream, const char *peer)
{
    conn_start(s, -1, stream, peer);
}

unsigned http_server_connections(const struct http_server *s)
{
    return s->n_conns;
}

uint64_t http_server_tls_failures(const struct http_server *s)
{
    return s->tls_failures;
}

/* ---- the server --------------------------------------------------------------------------------------- */

#define DEFAULT(field, value)                                                                                \
    if (!s->config.field)                                                                                    \
    s->config.field = (value)

struct http_server *http_server_new(const struct http_server_config *config)
{
    struct http_server *s = NEW(struct http_server);
    s->config = *config;
    DEFAULT(max_connections, 10000);
    DEFAULT(max_streams, 250);
    DEFAULT(max_header_bytes, 65536);
    DEFAULT(header_timeout, SECONDS(32));
    DEFAULT(idle_timeout, SECONDS(120));
    DEFAULT(write_timeout, SECONDS(120));
    if (config->tls)
        tls_server_ref(config->tls);
    list_init(&s->listeners);
    list_init(&s->conns);
    list_init(&s->exchanges);
    return s;
}

static void close_listeners(struct http_server *s)
{
    group_stop(&s->acceptors);
    struct list *l;
    while ((l = list_pop_front(&s->listeners))) {
        os_close(LIST_ENTRY(l, struct listener, link)->fd);
        free(LIST_ENTRY(l, struct listener, link));
    }
}

static void begin_stop(struct http_server *s)
{
    s->stopping = true;
    close_listeners(s);
    LIST_EACH (&s->exchanges, l) {
        struct exchange *ex = LIST_ENTRY(l, struct exchange, link);
        if (ex->notify)
            waitq_wake_all(ex->notify);
    }
    LIST_EACH_SAFE (&s->conns, l) {
        struct server_conn *c = LIST_ENTRY(l, struct server_conn, link);
        c->draining = true;
        if (c->drain)
            c->drain(c);
        else if (c->stream)
            stream_abort(c->stream);
    }
}

void http_server_drain(struct http_server *s)
{
    if (!s->stopping)
        begin_stop(s);
}

int http_server_stop(struct http_server *s, struct mono deadline)
{
    http_server_drain(s);
    int r = 0;
    while (s->n_conns && r == 0)
        r = waitq_wait(&s->conns_q, deadline);
    group_stop(&s->fibers);
    return s->n_conns || r == -ETIMEDOUT ? -ETIMEDOUT : r;
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    s->stopping = true;
    close_listeners(s);
    group_stop(&s->fibers);
    tls_server_unref(s->config.tls);
    free(s);
}
