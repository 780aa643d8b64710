/* SPDX-License-Identifier: Apache-2.0 */
/* The client: hosts, their connections, calls over them. */
#include "base/map.h"
#include "net/h1_wire.h"
#include "net/h2.h"
#include "net/url.h"

#include <stdio.h>

enum {
    STREAM_WINDOW = 1 << 20,
    CONNECTION_WINDOW = 16 << 20,
    HOSTS_KEPT = 256,
    SMALL_BODY = 32768, /* sent together with the head */
    WRITE_TIMEOUT = 120,
    TRIES = 3,           /* after a lost connection */
    REFUSALS = 10,       /* of streams by servers that had no room */
};

struct client_host {
    struct list conns;
    struct waitq q; /* something about the connections changed */
    unsigned n_conns, dialing;
    unsigned refs; /* connections, also unlisted ones, and who waits for one */
    bool may_h2;   /* or not known yet: one dial at a time then */
    char *name;    /* host to resolve, or "unix:..." */
    char *peer_cn; /* see http_request */
    uint16_t port;
    bool tls;
};

struct client_conn {
    struct list link; /* host->conns while new calls may use it */
    struct client_host *host;
    struct http_client *client;
    struct stream *stream;
    unsigned refs; /* calls, and the pump */
    unsigned n_calls;
    bool is_h2, listed, private_; /* private_: of an upgrade, never shared */
    bool retired;                 /* ends after its present calls */
    struct mono idle_since;
    uint64_t n_used;
    struct h1_wire w;
    struct h2 h2;
};

struct http_client {
    struct http_client_config config;
    char *server_name;
    struct tls_client *tls;
    struct map hosts;
    struct group fibers;
    bool reaping;
};

struct call {
    struct http_call c;
    struct http_client *client;
    struct client_conn *conn;
    struct h2_stream s;
    bool has_stream;               /* s is initialised */
    bool head;                     /* method HEAD */
    bool safe;                     /* may be sent twice */
    bool streaming, chunked, sent; /* sent: the whole body went out */
    bool got_head, got_trailers, reused, aborted;
    int64_t length_left;
};

static struct call *call_of(struct http_call *c)
{
    return CONTAINER_OF(c, struct call, c);
}

/* ---- connections -------------------------------------------------------------------------------------- */

/* The list, the pump (HTTP/2) and each call hold a reference. */
static void conn_unref(struct client_conn *c)
{
    if (--c->refs)
        return;
    if (!c->is_h2)
        h1_wire_done(&c->w);
    stream_free(c->stream);
    c->host->refs--;
    free(c);
}

static void conn_unlist(struct client_conn *c)
{
    if (!c->listed)
        return;
    c->listed = false;
    list_remove(&c->link);
    c->host->n_conns--;
    waitq_wake_all(&c->host->q);
    conn_unref(c);
}

static void role_head(struct h2_stream *s) {}

static const struct h2_role client_role = {.head = role_head, .closed = role_head};

static bool h2_idle_over(struct client_conn *c)
{
    if (c->n_calls)
        return false;
    return c->retired || c->h2.got_goaway ||
           os_mono().ns >= mono_add(c->idle_since, c->client->config.idle_timeout).ns;
}

static void pump_main(void *arg)
{
    struct client_conn *c = arg;
    int r;
    do {
        r = h2_pump(&c->h2, mono_add(c->n_calls ? os_mono() : c->idle_since, c->client->config.idle_timeout));
        if (c->h2.got_goaway || c->retired)
            conn_unlist(c);
        waitq_wake_all(&c->host->q);
    } while ((r == 0 || r == -ETIMEDOUT) && !h2_idle_over(c) && !h2_finished(&c->h2));
    conn_unlist(c);
    if (r == 0 || r == -ETIMEDOUT) {
        nghttp2_session_terminate_session(c->h2.session, NGHTTP2_NO_ERROR);
        h2_flush(&c->h2);
    }
    h2_done(&c->h2);
    conn_unref(c);
}

static void conn_start_h2(struct client_conn *c)
{
    const struct http_client_config *config = &c->client->config;
    struct h2_config h2c = {.max_streams = 0,
                            .stream_window = STREAM_WINDOW,
                            .connection_window = CONNECTION_WINDOW,
                            .max_header_bytes = config->max_header_bytes,
                            .write_timeout = SECONDS(WRITE_TIMEOUT),
                            .ping_after = config->ping_after,
                            .ping_timeout = config->ping_timeout};
    h2_init(&c->h2, c->stream, &h2c, &client_role, c);
    c->refs++;
    group_spawn(&c->client->fibers, "http-client", pump_main, c);
    h2_flush(&c->h2);
}

static struct client_conn *conn_new(struct http_client *client, struct client_host *host,
                                    struct stream *stream, bool private_)
{
    struct client_conn *c = NEW(struct client_conn);
    c->client = client;
    c->host = host;
    host->refs++;
    c->stream = stream;
    c->private_ = private_;
    c->refs = 1;
    c->idle_since = os_mono();
    c->is_h2 = stream->tls ? str_is(str_of(stream->tls->alpn), "h2") : client->config.h2_prior;
    if (private_)
        c->is_h2 = false;
    if (c->is_h2) {
        conn_start_h2(c);
    } else {
        c->w.stream = stream;
        h1_init(&c->w.h1, false, client->config.max_header_bytes);
    }
    return c;
}

static int client_tls(struct http_client *client, struct err *e)
{
    if (client->tls)
        return 0;
    struct tls_client_config config = {0};
    return tls_client_new(&config, &client->tls, e);
}

static int dial(struct http_client *client, struct client_host *host, bool h1_only, struct mono deadline,
                struct stream **ret, struct err *e)
{
    int fd;
    deadline = mono_min(deadline, mono_add(os_mono(), client->config.connect_timeout));
    int r = net_dial_through(&client->config.gate, host->name, host->port, deadline, &fd, e);
    if (r < 0)
        return r;
    if (!host->tls) {
        *ret = stream_of_fd(fd);
        return 0;
    }
    r = client_tls(client, e);
    if (r < 0) {
        os_close(fd);
        return r;
    }
    const char *name = client->server_name ? client->server_name : host->name;
    struct stream *stream;
    r = tls_connect(client->tls, fd, name, h1_only, deadline, &stream, e);
    if (r < 0)
        return err_wrap(e, r, "%s:%u", host->name, host->port);
    if (host->peer_cn && strcmp(stream->tls->cn, host->peer_cn) != 0) {
        r = err_set(e, -EACCES, "%s:%u: its certificate is that of \"%s\", not of \"%s\"", host->name, host->port,
                    stream->tls->cn, host->peer_cn);
        stream_free(stream);
        return r;
    }
    *ret = stream;
    return 0;
}

/* ---- choosing a connection ---------------------------------------------------------------------------- */

static bool h2_has_room(struct client_conn *c)
{
    if (c->h2.broken || c->h2.got_goaway || c->retired ||
        !nghttp2_session_check_request_allowed(c->h2.session))
        return false;
    return c->n_calls <
           nghttp2_session_get_remote_settings(c->h2.session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

/* An idle HTTP/1 connection has nothing to say; if it does (bytes or the end), it is of no use. */
static bool h1_still_good(struct client_conn *c)
{
    char byte;
    return stream_try_read(c->stream, &byte, 1) == -EAGAIN;
}

static struct client_conn *pick(struct client_host *host)
{
    LIST_EACH_SAFE (&host->conns, l) {
        struct client_conn *c = LIST_ENTRY(l, struct client_conn, link);
        if (c->is_h2) {
            if (h2_has_room(c))
                return c;
        } else if (!c->n_calls) {
            if (h1_still_good(c))
                return c;
            conn_unlist(c);
        }
    }
    return NULL;
}

static void conn_take(struct client_conn *c)
{
    c->refs++;
    c->n_calls++;
    c->n_used++;
}

static int dial_and_list(struct http_client *client, struct client_host *host, struct mono deadline,
                         struct err *e)
{
    struct stream *stream;
    host->dialing++;
    int r = dial(client, host, false, deadline, &stream, e);
    host->dialing--;
    if (r == 0) {
        struct client_conn *c = conn_new(client, host, stream, false);
        host->may_h2 = c->is_h2;
        c->listed = true;
        host->n_conns++;
        list_push_front(&host->conns, &c->link); /* our reference is the list's now */
    }
    waitq_wake_all(&host->q);
    return r;
}

static int conn_wait(struct http_client *client, struct client_host *host, struct mono deadline,
                     struct client_conn **ret, struct err *e)
{
    struct client_conn *c;
    while (!(c = pick(host))) {
        bool wait =
            (host->dialing && host->may_h2) || host->n_conns + host->dialing >= client->config.max_conns;
        int r = wait ? waitq_wait(&host->q, deadline) : dial_and_list(client, host, deadline, e);
        if (r < 0)
            return wait ? err_set(e, r, "waiting for a connection to %s: %s", host->name, strerror(-r)) : r;
    }
    conn_take(c);
    *ret = c;
    return 0;
}

static int conn_get(struct http_client *client, struct client_host *host, struct mono deadline,
                    struct client_conn **ret, struct err *e)
{
    host->refs++; /* it must not be forgotten while we wait */
    int r = conn_wait(client, host, deadline, ret, e);
    host->refs--;
    return r;
}

/* Idle HTTP/1 connections are closed here; HTTP/2 ones have their pump. */
static void reap_main(void *arg)
{
    struct http_client *client = arg;
    bool left = true;
    while (left && fiber_sleep(client->config.idle_timeout / 2) == 0) {
        left = false;
        MAP_EACH (&client->hosts, entry) {
            struct client_host *host = entry->value;
            LIST_EACH_SAFE (&host->conns, l) {
                struct client_conn *c = LIST_ENTRY(l, struct client_conn, link);
                if (c->is_h2)
                    continue;
                left = true;
                if (!c->n_calls && os_mono().ns >= mono_add(c->idle_since, client->config.idle_timeout).ns) {
                    conn_unlist(c);
                }
            }
        }
    }
    client->reaping = false;
}

static void start_reaper(struct http_client *client)
{
    if (!client->reaping)
        group_spawn(&client->fibers, "http-reap", reap_main, client);
    client->reaping = true;
}

/* A call is over. reusable (HTTP/1): the connection is where a next response would begin. */
static void conn_release(struct client_conn *c, bool reusable)
{
    c->n_calls--;
    c->idle_since = os_mono();
    if (c->is_h2) {
        if (c->n_calls == 0 && !c->listed)
            h2_break(&c->h2, -EPIPE);
    } else if (reusable) {
        h1_next(&c->w.h1);
        start_reaper(c->client);
    } else {
        conn_unlist(c);
    }
    waitq_wake_all(&c->host->q);
    conn_unref(c);
}

/* ---- requests ----------------------------------------------------------------------------------------- */

/* The parts of a request that both versions need. */
struct request_plan {
    struct url url;
    struct str target, authority;
    const char *method;
    struct client_host *host;
};

static void host_free(void *p)
{
    struct client_host *h = p;
    free(h->name);
    free(h->peer_cn);
    free(h);
}

/* A proxy meets ever new hosts; those without connections are forgotten now and then. */
static void forget_hosts(struct http_client *client)
{
    MAP_EACH (&client->hosts, entry) {
        struct client_host *h = entry->value;
        if (h->refs == 0) {
            map_del(&client->hosts, entry->key);
            host_free(h);
        }
    }
}

static struct client_host *host_get(struct http_client *client, const struct url *u, const char *unix_socket,
                                    const char *peer_cn)
{
    struct buf key CLEANUP_BUF = BUF_INIT;
    bool tls = str_is(u->scheme, "https");
    if (unix_socket)
        buf_printf(&key, "unix:%s", unix_socket);
    else
        buf_printf(&key, "%s " STR_FMT " %u", tls ? "https" : "http", STR_ARG(u->host), url_port(u));
    if (peer_cn)
        buf_printf(&key, " %s", peer_cn);
    struct client_host *h = map_get(&client->hosts, buf_str(&key));
    if (h)
        return h;
    if (client->hosts.n >= HOSTS_KEPT)
        forget_hosts(client);
    h = NEW(struct client_host);
    list_init(&h->conns);
    h->tls = tls && !unix_socket;
    h->may_h2 = h->tls || client->config.h2_prior;
    h->name = unix_socket ? str_dup(buf_str(&key)) : str_dup(u->host);
    h->port = url_port(u);
    h->peer_cn = peer_cn ? str_dup(str_of(peer_cn)) : NULL;
    map_put(&client->hosts, buf_str(&key), h);
    return h;
}

static int plan_request(struct http_client *client, const struct http_request *r, struct arena *a,
                        struct request_plan *p, struct err *e)
{
    struct str text = str_of(r->url);
    if (url_parse(text, &p->url) < 0 || p->url.host.n == 0 ||
        (!str_is(p->url.scheme, "http") && !str_is(p->url.scheme, "https")))
        return err_set(e, -EINVAL, "\"%s\" is no http or https URL", r->url);
    p->method = r->method ? r->method : "GET";
    if (!http_name_ok(str_of(p->method)))
        return err_set(e, -EINVAL, "\"%s\" is no HTTP method", p->method);
    const struct str parts[] = {p->url.path.n ? p->url.path : STR("/"), p->url.query};
    p->target = arena_join(a, parts, p->url.query.n ? 2 : 1, STR("?"));
    for (size_t i = 0; i < r->n_headers; i++) {
        if (!http_name_ok(r->headers[i].name) || !http_value_ok(r->headers[i].value))
            return err_set(e, -EINVAL, "header \"" STR_FMT "\" cannot be sent", STR_ARG(r->headers[i].name));
        if (http_fold_eq(r->headers[i].name, STR("host")))
            p->authority = r->headers[i].value;
    }
    if (!p->authority.p) { /* no header says otherwise */
        bool six = str_find(p->url.host, ':') >= 0;
        p->authority = arena_printf(a, six ? "[" STR_FMT "]" : STR_FMT, STR_ARG(p->url.host));
        if (p->url.port)
            p->authority = arena_printf(a, STR_FMT ":%u", STR_ARG(p->authority), p->url.port);
    }
    p->host = host_get(client, &p->url, r->unix_socket, r->peer_cn);
    return 0;
}

static bool sendable(struct str name)
{
    return !http_is_hop_header(name) && !http_fold_eq(name, STR("host")) &&
           !http_fold_eq(name, STR("content-length"));
}

/* Length to declare: -1 for none (no body, or not known). */
static int64_t body_length(const struct http_request *r, const char *method)
{
    if (r->stream_body)
        return r->content_length > 0 ? r->content_length : -1;
    bool expected = !strcmp(method, "POST") || !strcmp(method, "PUT") || !strcmp(method, "PATCH");
    return r->body.n || expected ? (int64_t)r->body.n : -1;
}

/* ---- HTTP/1 ------------------------------------------------------------------------------------------- */

static void put_head(struct buf *b, struct call *call, const struct http_request *r,
                     const struct request_plan *p, const char *upgrade)
{
    buf_puts(b, p->method);
    buf_putc(b, ' ');
    buf_putstr(b, p->target);
    buf_putstr(b, STR(" HTTP/1.1\r\nHost: "));
    buf_putstr(b, p->authority);
    buf_putstr(b, STR("\r\n"));
    for (size_t i = 0; i < r->n_headers; i++)
        if (sendable(r->headers[i].name))
            http_put_header(b, &r->headers[i]);
    if (upgrade)
        buf_printf(b, "Connection: Upgrade\r\nUpgrade: %s\r\n", upgrade);
    int64_t length = body_length(r, p->method);
    call->chunked = r->stream_body && length < 0;
    call->length_left = length;
    if (call->chunked)
        buf_puts(b, "Transfer-Encoding: chunked\r\n");
    else if (length >= 0)
        buf_printf(b, "Content-Length: %lld\r\n", (long long)length);
    buf_puts(b, "\r\n");
}

static int h1_send(struct call *call, const void *p, size_t n, struct mono deadline)
{
    return http_stream_write(call->conn->stream, p, n, deadline, SECONDS(WRITE_TIMEOUT));
}

static int h1_begin(struct call *call, const struct http_request *r, const struct request_plan *p,
                    const char *upgrade, struct mono deadline)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    call->conn->w.h1.no_body = call->head;
    put_head(&b, call, r, p, upgrade);
    bool together = !r->stream_body && r->body.n <= SMALL_BODY;
    if (together)
        buf_putstr(&b, r->body);
    int w = h1_send(call, b.p, b.n, deadline);
    if (w == 0 && !r->stream_body && !together)
        w = h1_send(call, r->body.p, r->body.n, deadline);
    call->sent = w == 0 && !r->stream_body;
    return w;
}

static void h1_fill_response(struct call *call)
{
    struct h1 *h = &call->conn->w.h1;
    call->c.status = h->parser.status_code;
    call->c.version = 11;
    call->c.headers = h1_headers(h, &call->c.arena, false);
    call->c.content_length = h1_content_length(h);
}

static int h1_wait(struct call *call, struct mono deadline)
{
    struct client_conn *c = call->conn;
    for (;;) {
        int r = h1_wire_head(&c->w, deadline, 0);
        if (r > 0)
            return -EPROTO;
        if (r < 0)
            return r == -ENODATA ? -EPIPE : r;
        int status = c->w.h1.parser.status_code;
        if (status / 100 != 1 || status == 101)
            break;
        h1_next(&c->w.h1); /* interim */
        c->w.h1.no_body = call->head;
    }
    h1_fill_response(call);
    return 0;
}

static int h1_write(struct call *call, struct str piece, struct mono deadline)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (call->length_left >= 0) {
        if ((uint64_t)call->length_left < piece.n)
            return -EINVAL;
        call->length_left -= (int64_t)piece.n;
        return h1_send(call, piece.p, piece.n, deadline);
    }
    if (piece.n == 0)
        return 0;
    buf_printf(&b, "%zx\r\n", piece.n);
    buf_putstr(&b, piece);
    buf_puts(&b, "\r\n");
    return h1_send(call, b.p, b.n, deadline);
}

static int h1_end(struct call *call)
{
    if (!call->chunked)
        return call->length_left > 0 ? -EINVAL : 0;
    return h1_send(call, "0\r\n\r\n", 5, MONO_NEVER);
}

/* ---- HTTP/2 ------------------------------------------------------------------------------------------- */

static struct str lower_copy(struct arena *a, struct str s)
{
    char *p = arena_cstr(a, s);
    for (size_t i = 0; i < s.n; i++)
        p[i] = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] + 32) : p[i];
    return str_n(p, s.n);
}

static size_t h2_head(struct call *call, const struct http_request *r, const struct request_plan *p,
                      nghttp2_nv **ret)
{
    struct arena *a = &call->c.arena;
    nghttp2_nv *nv = ARENA_ARRAY(a, nghttp2_nv, r->n_headers + 5);
    size_t n = 0;
    nv[n++] = h2_nv(STR(":method"), str_of(p->method));
    nv[n++] = h2_nv(STR(":scheme"), p->url.scheme);
    nv[n++] = h2_nv(STR(":authority"), p->authority);
    nv[n++] = h2_nv(STR(":path"), p->target);
    for (size_t i = 0; i < r->n_headers; i++) {
        struct http_header h = r->headers[i];
        if (sendable(h.name) || (http_fold_eq(h.name, STR("te")) && str_is(h.value, "trailers")))
            nv[n++] = h2_nv(lower_copy(a, h.name), h.value);
    }
    int64_t length = body_length(r, p->method);
    if (length >= 0)
        nv[n++] = h2_nv(STR("content-length"), arena_printf(a, "%lld", (long long)length));
    *ret = nv;
    return n;
}

static int h2_begin(struct call *call, const struct http_request *r, const struct request_plan *p,
                    struct mono deadline)
{
    struct h2 *h = &call->conn->h2;
    nghttp2_nv *nv;
    size_t n = h2_head(call, r, p, &nv);
    h2_stream_init(&call->s, h, -1, &call->c.arena, call);
    call->has_stream = true;
    nghttp2_data_provider provider = h2_provider(&call->s);
    bool body = r->stream_body || r->body.n;
    int32_t id =
        h->broken ? -1 : nghttp2_submit_request(h->session, NULL, nv, n, body ? &provider : NULL, &call->s);
    if (id < 0) {
        call->s.closed = true;
        call->s.error = NGHTTP2_REFUSED_STREAM;
        return -EPIPE;
    }
    call->s.id = id;
    if (!body)
        call->s.out_end = call->s.out_done = call->sent = true;
    if (!body || r->stream_body) {
        h2_flush(h);
        return 0;
    }
    int w = h2_stream_write(&call->s, r->body, true, deadline);
    call->sent = w == 0;
    return w;
}

static void h2_fill_response(struct call *call)
{
    struct http_fields *f = &call->s.fields;
    int64_t status = 0;
    size_t n = 0;
    call->c.content_length = -1;
    for (size_t i = 0; i < f->n; i++) {
        struct http_header h = f->items[i];
        if (str_is(h.name, ":status"))
            str_to_i64(h.value, &status);
        else if (h.name.n && h.name.p[0] != ':')
            f->items[n++] = h;
        if (str_is(h.name, "content-length"))
            str_to_i64(h.value, &call->c.content_length);
    }
    call->c.status = (int)status;
    call->c.version = 20;
    call->c.headers = (struct http_headers){f->items, n};
}

static int h2_wait(struct call *call, struct mono deadline)
{
    struct h2_stream *s = &call->s;
    while (!s->head_done) {
        if (s->aborted)
            return -ECONNABORTED;
        if (s->closed)
            return s->h2->broken && s->h2->error != -ECONNABORTED ? s->h2->error : -EPIPE;
        int r = waitq_wait(&s->q, deadline);
        if (r < 0)
            return r;
    }
    if (s->too_large)
        return -EMSGSIZE;
    h2_fill_response(call);
    return 0;
}

/* ---- calls -------------------------------------------------------------------------------------------- */

/* What a passed deadline, a cut connection and the like are called. */
static int call_error(struct call *call, int r, struct err *e)
{
    const char *host = call->conn ? call->conn->host->name : "";
    if (r == -ETIMEDOUT)
        return err_set(e, r, "%s: no answer in time", host);
    if (r == -EPIPE || r == -ECONNRESET)
        return err_set(e, r, "%s: the server closed the connection before it answered", host);
    if (r == -EPROTO)
        return err_set(e, r, "%s: the server does not speak HTTP", host);
    return err_set(e, r, "%s: %s", host, strerror(-r));
}

static struct call *call_new(struct http_client *client, const struct http_request *r)
{
    struct call *call = NEW(struct call);
    call->client = client;
    call->streaming = r->stream_body;
    call->c.content_length = -1;
    const char *m = r->method ? r->method : "GET";
    call->head = !strcmp(m, "HEAD");
    call->safe = !r->stream_body && (call->head || !strcmp(m, "GET") || !strcmp(m, "OPTIONS") ||
                                     !strcmp(m, "PUT") || !strcmp(m, "DELETE"));
    return call;
}

/* Sends. A failure to send is no failure yet: the server may have answered before it read all. */
static int call_begin(struct http_client *client, const struct http_request *r, struct mono deadline,
                      struct call **ret, struct err *e)
{
    struct call *call = call_new(client, r);
    struct request_plan p = {0};
    int n = plan_request(client, r, &call->c.arena, &p, e);
    if (n == 0)
        n = conn_get(client, p.host, deadline, &call->conn, e);
    if (n < 0) {
        http_call_free(&call->c);
        return n;
    }
    call->reused = call->conn->n_used > 1;
    call->c.tls = call->conn->stream->tls;
    n = call->conn->is_h2 ? h2_begin(call, r, &p, deadline) : h1_begin(call, r, &p, NULL, deadline);
    if (n == -ETIMEDOUT || n == -ECANCELED) {
        call_error(call, n, e);
        http_call_free(&call->c);
        return n;
    }
    *ret = call;
    return 0;
}

int http_begin(struct http_client *c, const struct http_request *r, struct mono deadline,
               struct http_call **ret, struct err *e)
{
    struct call *call;
    int n = call_begin(c, r, deadline, &call, e);
    if (n == 0)
        *ret = &call->c;
    return n;
}

int http_call_wait(struct http_call *c, struct mono deadline, struct err *e)
{
    struct call *call = call_of(c);
    if (call->got_head)
        return 0;
    int r = call->conn->is_h2 ? h2_wait(call, deadline) : h1_wait(call, deadline);
    if (r < 0)
        return call_error(call, r, e);
    call->got_head = true;
    return 0;
}

enum repeat { REPEAT_NO, REPEAT_LOST, REPEAT_REFUSED };

/* May a request be sent again after this failure? */
static enum repeat may_repeat(const struct call *call, int r)
{
    if (call->streaming || call->aborted || (r != -EPIPE && r != -ECONNRESET && r != -ECONNABORTED))
        return REPEAT_NO;
    if (call->conn->is_h2 && call->has_stream && call->s.closed && call->s.error == NGHTTP2_REFUSED_STREAM)
        return REPEAT_REFUSED; /* RFC 9113 section 8.7: not processed */
    return call->reused && call->safe ? REPEAT_LOST : REPEAT_NO;
}

int http_do(struct http_client *c, const struct http_request *r, struct mono deadline, struct http_call **ret,
            struct err *e)
{
    unsigned lost = 0, refused = 0;
    for (;;) {
        struct call *call;
        int n = call_begin(c, r, deadline, &call, e);
        if (n < 0)
            return n;
        n = http_call_wait(&call->c, deadline, e);
        if (n == 0) {
            *ret = &call->c;
            return 0;
        }
        enum repeat repeat = may_repeat(call, n);
        http_call_free(&call->c);
        if (repeat == REPEAT_NO || ++*(repeat == REPEAT_LOST ? &lost : &refused) >
                                       (repeat == REPEAT_LOST ? TRIES : (unsigned)REFUSALS))
            return n;
        if (repeat == REPEAT_REFUSED && fiber_sleep(MILLISECONDS(1) << refused) < 0)
            return -ECANCELED;
    }
}

int http_call_write(struct http_call *c, struct str piece, struct mono deadline)
{
    struct call *call = call_of(c);
    if (!call->streaming || call->sent)
        return -EINVAL;
    if (piece.n == 0)
        return 0;
    return call->conn->is_h2 ? h2_stream_write(&call->s, piece, false, deadline)
                             : h1_write(call, piece, deadline);
}

int http_call_end(struct http_call *c)
{
    struct call *call = call_of(c);
    if (!call->streaming || call->sent)
        return 0;
    int r = call->conn->is_h2 ? h2_stream_write(&call->s, STR_NULL, true, MONO_NEVER) : h1_end(call);
    call->sent = r == 0;
    return r;
}

static void take_trailers(struct call *call)
{
    if (call->got_trailers)
        return;
    call->got_trailers = true;
    if (call->conn->is_h2)
        call->c.trailers =
            (struct http_headers){call->s.received_trailers.items, call->s.received_trailers.n};
    else
        call->c.trailers = h1_headers(&call->conn->w.h1, &call->c.arena, true);
}

ssize_t http_call_read(struct http_call *c, void *p, size_t n, struct mono deadline)
{
    struct call *call = call_of(c);
    if (!call->got_head)
        return -EINVAL;
    ssize_t r = call->conn->is_h2 ? h2_stream_read(&call->s, p, n, deadline)
                                  : h1_wire_read(&call->conn->w, p, n, deadline);
    if (r == 0)
        take_trailers(call);
    return r;
}

int http_call_read_all(struct http_call *c, size_t max, struct mono deadline, struct str *ret)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (c->content_length > 0 && (uint64_t)c->content_length > max && !call_of(c)->head)
        return -EFBIG;
    for (size_t step = 8192;; step = MAX((size_t)8192, b.n)) {
        ssize_t n = http_call_read(c, buf_grow(&b, step), step, deadline);
        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        b.n += (size_t)n;
        if (b.n > max)
            return -EFBIG;
    }
    *ret = arena_str(&c->arena, buf_str(&b));
    return 0;
}

void http_call_abort(struct http_call *c)
{
    struct call *call = call_of(c);
    if (call->aborted || !call->conn)
        return;
    call->aborted = true;
    if (!call->conn->is_h2)
        stream_abort(call->conn->stream);
    else if (call->has_stream)
        h2_stream_reset(&call->s, NGHTTP2_CANCEL);
}

void http_call_free(struct http_call *c)
{
    if (!c)
        return;
    struct call *call = call_of(c);
    struct client_conn *conn = call->conn;
    if (conn && conn->is_h2) {
        if (call->has_stream)
            h2_stream_done(&call->s, NGHTTP2_CANCEL);
        conn_release(conn, true);
    } else if (conn) {
        struct h1 *h = &conn->w.h1;
        bool reusable = call->got_head && h->done && !h->fault && h->keep_alive && !h->upgrade &&
                        h->body.n == 0 && call->sent && !conn->w.in.n && !call->aborted && conn->listed;
        conn_release(conn, reusable);
    }
    arena_done(&call->c.arena);
    free(call);
}

/* ---- upgrades ----------------------------------------------------------------------------------------- */

static int upgrade_begin(struct http_client *c, const struct http_request *r, const char *protocol,
                         struct mono deadline, struct call *call, struct err *e)
{
    struct request_plan p = {0};
    struct stream *stream;
    int n = plan_request(c, r, &call->c.arena, &p, e);
    if (n < 0)
        return n;
    p.host->refs++;
    n = dial(c, p.host, true, deadline, &stream, e);
    p.host->refs--;
    if (n < 0)
        return n;
    call->conn = conn_new(c, p.host, stream, true);
    call->conn->n_calls = 1;
    call->c.tls = stream->tls;
    n = h1_begin(call, r, &p, protocol, deadline);
    if (n == 0 || n == -EPIPE || n == -ECONNRESET)
        return http_call_wait(&call->c, deadline, e);
    return call_error(call, n, e);
}

int http_client_upgrade(struct http_client *c, const struct http_request *r, const char *protocol,
                        struct mono deadline, struct http_call **ret_call, struct stream **ret_stream,
                        struct err *e)
{
    struct call *call = call_new(c, r);
    int n = r->stream_body ? -EINVAL : upgrade_begin(c, r, protocol, deadline, call, e);
    if (n < 0) {
        http_call_free(&call->c);
        return n;
    }
    *ret_call = &call->c;
    if (call->c.status != 101)
        return HTTP_NO_UPGRADE;
    h1_wire_unread(&call->conn->w);
    call->c.tls = NULL; /* belongs to the stream, which is the caller's now */
    *ret_stream = TAKE_PTR(call->conn->stream);
    return 0;
}

/* ---- the client --------------------------------------------------------------------------------------- */

#define DEFAULT(field, value)                                                                                \
    if (!c->config.field)                                                                                    \
    c->config.field = (value)

struct http_client *http_client_new(const struct http_client_config *config)
{
    struct http_client *c = NEW(struct http_client);
    c->config = *config;
    c->server_name = config->server_name ? xstrdup(config->server_name) : NULL;
    c->tls = config->tls ? tls_client_ref(config->tls) : NULL;
    DEFAULT(max_conns, 100);
    DEFAULT(max_header_bytes, 262144);
    DEFAULT(connect_timeout, SECONDS(30));
    DEFAULT(idle_timeout, SECONDS(90));
    DEFAULT(ping_after, SECONDS(30));
    DEFAULT(ping_timeout, SECONDS(15));
    return c;
}

void http_client_reset(struct http_client *c)
{
    MAP_EACH (&c->hosts, entry) {
        struct client_host *host = entry->value;
        LIST_EACH_SAFE (&host->conns, l) {
            struct client_conn *conn = LIST_ENTRY(l, struct client_conn, link);
            conn->retired = true;
            if (conn->is_h2 && !conn->n_calls)
                h2_break(&conn->h2, -EPIPE);
            conn_unlist(conn);
        }
    }
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    http_client_reset(c);
    group_stop(&c->fibers);
    map_done_with(&c->hosts, host_free);
    tls_client_unref(c->tls);
    free(c->server_name);
    free(c);
}
