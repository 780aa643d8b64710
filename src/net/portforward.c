/* SPDX-License-Identifier: Apache-2.0 */
/* Port-forward sessions: over SPDY, SPDY inside a WebSocket, or WebSocket channels. */
#include "net/remotecommand.h"

#include "base/base64.h"
#include "base/fiber.h"
#include "net/spdy.h"
#include "net/url.h"
#include "net/websocket.h"

#include <stdio.h>

enum { PAIR_TIMEOUT = 30, PORTS_MAX = 32, HALVES_MAX = 256, BUFFER_MAX = 1 << 20, CONNECT_TIMEOUT = 30 };

static const char spdy_protocol[] = "portforward.k8s.io";
static const char tunnel_protocol[] = "SPDY/3.1+portforward.k8s.io";
static const char *const ws_protocols[] = {tunnel_protocol, "v4.channel.k8s.io", "v4.base64.channel.k8s.io",
                                           "", NULL};

/* One of the two streams of a pair whose other one has not come yet. */
struct half {
    struct list link;
    struct spdy_stream *stream;
    bool data;
    uint16_t port;
    char id[32];
    struct mono since;
};

/* A port of a WebSocket session: its data channel as a stream. */
struct ws_port {
    struct stream s;
    struct pf_session *session;
    uint16_t port;
    uint8_t channel;
    bool error; /* the error channel: nothing comes in */
    struct buf in;
    size_t in_at;
    struct waitq q;
};

struct pf_session {
    struct spdy_conn *spdy;
    struct list halves;
    unsigned n_halves;
    uint32_t next_id; /* client: request ids */
    /* WebSocket channels */
    struct websocket *ws;
    bool base64, gone;
    struct ws_port *ports[2 * PORTS_MAX]; /* by channel; NULL once freed */
    struct pf_pair *waiting;              /* not yet taken by pf_next */
    size_t n_ports, next_port;
    struct group reader;
    struct waitq gone_q;
};

void pf_pair_done(struct pf_pair *p)
{
    stream_free(p->data);
    stream_free(p->error);
    *p = (struct pf_pair){0};
}

/* ---- pairing SPDY streams ------------------------------------------------------------------------------ */

/* What the headers of a stream say: 0 or -EPROTO. Clients before 1.5 send no request id: their data stream
 * follows the error stream at once, two numbers higher; without ids both get the one empty id and pair up in
 * order. */
static int read_half(struct spdy_stream *stream, struct half *ret)
{
    const struct http_headers *h = spdy_headers(stream);
    struct str type = http_header(h, "streamtype"), port = http_header(h, "port"),
               id = http_header(h, "requestid");
    uint64_t n;
    if (!str_is(type, "data") && !str_is(type, "error"))
        return -EPROTO;
    if (str_to_u64(port, &n) < 0 || n < 1 || n > 65535 || id.n >= sizeof(ret->id))
        return -EPROTO;
    *ret = (struct half){
        .stream = stream, .data = str_is(type, "data"), .port = (uint16_t)n, .since = os_mono()};
    snprintf(ret->id, sizeof(ret->id), STR_FMT, STR_ARG(id));
    return 0;
}

static void half_free(struct pf_session *s, struct half *h, bool with_stream)
{
    list_remove(&h->link);
    s->n_halves--;
    if (with_stream)
        spdy_stream_free(h->stream);
    free(h);
}

static void drop_old_halves(struct pf_session *s)
{
    LIST_EACH_SAFE (&s->halves, l) {
        struct half *h = LIST_ENTRY(l, struct half, link);
        if (os_mono().ns >= mono_add(h->since, SECONDS(PAIR_TIMEOUT)).ns)
            half_free(s, h, true);
    }
}

/* Pairs the new half with one that waits (true), or keeps it. */
static bool pair_up(struct pf_session *s, const struct half *new, struct pf_pair *ret)
{
    LIST_EACH (&s->halves, l) {
        struct half *h = LIST_ENTRY(l, struct half, link);
        if (h->data == new->data || h->port != new->port || strcmp(h->id, new->id))
            continue;
        struct spdy_stream *data = new->data ? new->stream : h->stream,
                           *error = new->data ? h->stream : new->stream;
        *ret =
            (struct pf_pair){.port = new->port, .data = spdy_stream_of(data), .error = spdy_stream_of(error)};
        snprintf(ret->id, sizeof(ret->id), "%s", new->id);
        half_free(s, h, false);
        return true;
    }
    struct half *kept = NEW(struct half);
    *kept = *new;
    kept->link = (struct list){0};
    list_push_back(&s->halves, &kept->link);
    s->n_halves++;
    return false;
}

static int next_spdy(struct pf_session *s, struct mono deadline, struct pf_pair *ret)
{
    for (;;) {
        struct spdy_stream *stream;
        struct half h;
        int r = spdy_accept(s->spdy, deadline, &stream);
        if (r < 0)
            return r;
        drop_old_halves(s);
        if (s->n_halves >= HALVES_MAX || read_half(stream, &h) < 0) {
            spdy_stream_free(stream);
            continue;
        }
        if (spdy_reply(stream, NULL, false) < 0) {
            spdy_stream_free(stream);
            return -EPIPE;
        }
        if (pair_up(s, &h, ret))
            return 0;
    }
}

/* ---- WebSocket channels ------------------------------------------------------------------------------- */

static struct ws_port *port_of(struct stream *s)
{
    return CONTAINER_OF(s, struct ws_port, s);
}

static ssize_t port_try_read(struct stream *s, void *p, size_t n)
{
    struct ws_port *w = port_of(s);
    size_t take = MIN(n, w->in.n - w->in_at);
    if (take == 0)
        return w->session->gone || w->error ? 0 : -EAGAIN;
    memcpy(p, w->in.p + w->in_at, take);
    w->in_at += take;
    if (w->in_at == w->in.n) {
        w->in_at = 0;
        buf_done(&w->in);
    }
    waitq_wake_all(&w->q);
    return (ssize_t)take;
}

static int ws_send(struct pf_session *s, uint8_t channel, struct str data)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (!s->base64)
        return websocket_write_channel(s->ws, channel, data, MONO_NEVER);
    buf_putc(&b, (char)('0' + channel));
    base64_put(&b, data);
    return websocket_write(s->ws, WS_TEXT, buf_str(&b), MONO_NEVER);
}

/* Waits while the connection is busy, as all streams that share one do. */
static ssize_t port_try_write(struct stream *s, const void *p, size_t n)
{
    size_t take = MIN(n, (size_t)32768);
    int r = ws_send(port_of(s)->session, port_of(s)->channel, str_n(p, take));
    return r < 0 ? r : (ssize_t)take;
}

static int port_wait(struct stream *s, int events, struct mono deadline)
{
    struct ws_port *w = port_of(s);
    while ((events & OS_READABLE) && !s->aborted && w->in.n == w->in_at && !w->session->gone) {
        int r = waitq_wait(&w->q, deadline);
        if (r < 0)
            return r;
    }
    return 0;
}

static int port_shutdown(struct stream *s)
{
    return 0; /* this protocol has no message for it */
}

static void port_abort(struct stream *s)
{
    waitq_wake_all(&port_of(s)->q);
}

static void port_free(struct stream *s)
{
    struct ws_port *w = port_of(s);
    w->session->ports[w->channel] = NULL;
    waitq_wake_all(&w->q);
    buf_done(&w->in);
    free(w);
}

static const struct stream_ops port_ops = {port_try_read, port_try_write, port_wait,
                                           port_shutdown, port_abort,     port_free};

static struct stream *port_new(struct pf_session *s, uint16_t port, uint8_t channel)
{
    struct ws_port *w = NEW(struct ws_port);
    w->s.ops = &port_ops;
    w->session = s;
    w->port = port;
    w->channel = channel;
    w->error = channel & 1;
    s->ports[channel] = w;
    return &w->s;
}

static int on_message(struct pf_session *s, const struct websocket_message *m)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct str data = str_from(m->data, 1);
    if (m->data.n == 0)
        return 0;
    unsigned channel = s->base64 ? (unsigned)(uint8_t)m->data.p[0] - '0' : (uint8_t)m->data.p[0];
    if (s->base64) {
        if (base64_take(&b, data) < 0)
            return 0;
        data = buf_str(&b);
    }
    while (channel < 2 * s->n_ports && s->ports[channel] && !s->ports[channel]->error) {
        struct ws_port *w = s->ports[channel];
        if (w->in.n - w->in_at < BUFFER_MAX) {
            buf_put(&w->in, data.p, data.n);
            waitq_wake_all(&w->q);
            return 0;
        }
        int r = waitq_wait(&w->q, MONO_NEVER);
        if (r < 0)
            return r;
    }
    return 0;
}

static void ws_reader(void *arg)
{
    struct pf_session *s = arg;
    struct websocket_message m;
    while (websocket_read(s->ws, &m, MONO_NEVER) == 0 && on_message(s, &m) == 0)
        ;
    s->gone = true;
    for (size_t i = 0; i < 2 * s->n_ports; i++)
        if (s->ports[i])
            waitq_wake_all(&s->ports[i]->q);
    waitq_wake_all(&s->gone_q);
}

/* "port=80,81&port=82" (kubelet) or "ports=80" (API): at most PORTS_MAX of them. */
static int read_ports(struct http_exchange *x, uint16_t ports[PORTS_MAX], size_t *ret_n)
{
    struct str query = x->query, key, value, item;
    size_t n = 0;
    while (query_next(&x->arena, &query, &key, &value)) {
        if (!str_is(key, "port") && !str_is(key, "ports"))
            continue;
        while (str_next(&value, ',', &item)) {
            uint64_t port;
            if (n == PORTS_MAX || str_to_u64(item, &port) < 0 || port < 1 || port > 65535)
                return -EINVAL;
            ports[n++] = (uint16_t)port;
        }
    }
    *ret_n = n;
    return n ? 0 : -EINVAL;
}

/* Both channels of a port begin with its number, little endian. */
static int open_ws_ports(struct pf_session *s, const uint16_t *ports, size_t n)
{
    s->waiting = xcalloc(n, sizeof(*s->waiting));
    s->n_ports = n;
    for (size_t i = 0; i < n; i++) {
        const char number[2] = {(char)(ports[i] & 255), (char)(ports[i] >> 8)};
        uint8_t channel = (uint8_t)(2 * i);
        s->waiting[i] = (struct pf_pair){.port = ports[i],
                                         .data = port_new(s, ports[i], channel),
                                         .error = port_new(s, ports[i], (uint8_t)(channel + 1))};
        int r = ws_send(s, channel, str_n(number, 2));
        if (r == 0)
            r = ws_send(s, (uint8_t)(channel + 1), str_n(number, 2));
        if (r < 0)
            return r;
    }
    return 0;
}

static int next_ws(struct pf_session *s, struct mono deadline, struct pf_pair *ret)
{
    if (s->next_port < s->n_ports) {
        struct pf_pair *p = &s->waiting[s->next_port++];
        *ret = *p;
        *p = (struct pf_pair){0};
        return 0;
    }
    int r = pf_wait_gone(s, deadline);
    return r < 0 ? r : -EPIPE;
}

/* ---- server ------------------------------------------------------------------------------------------- */

static struct pf_session *session_new(void)
{
    struct pf_session *s = NEW(struct pf_session);
    list_init(&s->halves);
    return s;
}

static int accept_ws(struct http_exchange *x, struct pf_session *s, struct err *e)
{
    uint16_t ports[PORTS_MAX];
    size_t n = 0;
    bool tunnel = pf_tunnel_wanted(x);
    if (!tunnel && read_ports(x, ports, &n) < 0) {
        http_respond(x, 400, "text/plain", STR("query parameter \"port\" is required\n"));
        return err_set(e, -EPROTO, "port-forward without valid ports");
    }
    int r = websocket_accept(x, ws_protocols, &s->ws, e);
    if (r < 0)
        return r;
    if (!strcmp(websocket_protocol(s->ws), tunnel_protocol)) {
        s->spdy = spdy_new(websocket_stream(TAKE_PTR(s->ws)), true);
        return 0;
    }
    s->base64 = strstr(websocket_protocol(s->ws), "base64") != NULL;
    r = open_ws_ports(s, ports, n);
    if (r == 0)
        group_spawn(&s->reader, "pf-read", ws_reader, s);
    return r;
}

static int accept_spdy(struct http_exchange *x, struct pf_session *s, struct err *e)
{
    struct stream *stream;
    if (http_header(&x->headers, "x-stream-protocol-version").p &&
        !http_header_has(&x->headers, "x-stream-protocol-version", spdy_protocol)) {
        http_add_header(x, "X-Accepted-Stream-Protocol-Versions", STR("portforward.k8s.io"));
        http_respond(x, 403, "text/plain", STR("unable to upgrade: no stream protocol version in common\n"));
        return err_set(e, -EPROTO, "no stream protocol version in common");
    }
    http_add_header(x, "X-Stream-Protocol-Version", STR("portforward.k8s.io"));
    int r = http_upgrade(x, "SPDY/3.1", &stream);
    if (r)
        return err_set(e, r < 0 ? r : -EPROTO, "the connection cannot be upgraded");
    s->spdy = spdy_new(stream, true);
    return 0;
}

int pf_accept(struct http_exchange *x, struct pf_session **ret, struct err *e)
{
    bool ws = websocket_wanted(x);
    if (!ws && !http_wants_upgrade(x, "SPDY/3.1")) {
        http_respond(x, 400, "text/plain", STR("unable to upgrade: missing upgrade headers in request\n"));
        return err_set(e, -EPROTO, "neither a WebSocket nor a SPDY request");
    }
    struct pf_session *s = session_new();
    int r = ws ? accept_ws(x, s, e) : accept_spdy(x, s, e);
    if (r < 0) {
        pf_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

int pf_next(struct pf_session *s, struct mono deadline, struct pf_pair *ret)
{
    return s->spdy ? next_spdy(s, deadline, ret) : next_ws(s, deadline, ret);
}

/* ---- client ------------------------------------------------------------------------------------------- */

enum { MAX_HEADERS = 64 };

static int upgrade_spdy(struct http_client *c, const struct http_request *r, struct mono deadline,
                        struct http_call **ret_call, struct stream **ret, struct err *e)
{
    struct http_header headers[MAX_HEADERS + 1];
    size_t n = MIN(r->n_headers, (size_t)MAX_HEADERS);
    if (n)
        memcpy(headers, r->headers, n * sizeof(*headers));
    headers[n++] = (struct http_header){STR("X-Stream-Protocol-Version"), STR("portforward.k8s.io")};
    struct http_request request = *r;
    request.headers = headers;
    request.n_headers = n;
    return http_client_upgrade(c, &request, "SPDY/3.1", deadline, ret_call, ret, e);
}

int pf_connect(struct http_client *c, const struct http_request *r, bool websocket, struct mono deadline,
               struct pf_session **ret, struct http_call **ret_call, struct err *e)
{
    static const char *const names[] = {tunnel_protocol, NULL};
    struct websocket *ws;
    struct stream *stream;
    struct http_call *call = NULL;
    int x = websocket ? websocket_connect(c, r, names, deadline, &ws, &call, e) : HTTP_NO_UPGRADE;
    if (x == 0) {
        stream = websocket_stream(ws);
    } else if (x == -EPROTO || x == HTTP_NO_UPGRADE) { /* a server that does not tunnel */
        http_call_free(TAKE_PTR(call));
        struct http_request post = *r;
        if (websocket)
            post.method = "POST"; /* a WebSocket has to be a GET, the older way was always a POST */
        x = upgrade_spdy(c, &post, deadline, &call, &stream, e);
    }
    if (x >= 0)
        *ret_call = call;
    if (x)
        return x;
    struct pf_session *s = session_new();
    s->spdy = spdy_new(stream, false);
    *ret = s;
    return 0;
}

static int open_half(struct pf_session *s, const char *type, uint16_t port, const char *id,
                     struct mono deadline, struct spdy_stream **ret)
{
    char number[8];
    snprintf(number, sizeof(number), "%u", port);
    struct http_header h[] = {
        {STR("streamtype"), str_of(type)}, {STR("port"), str_of(number)}, {STR("requestid"), str_of(id)}};
    struct spdy_stream *stream;
    int r = spdy_open(s->spdy, &(struct http_headers){h, ARRAY_SIZE(h)}, false, deadline, &stream);
    if (r < 0)
        return r;
    r = spdy_wait_reply(stream, deadline);
    if (r < 0)
        spdy_stream_free(stream);
    else
        *ret = stream;
    return r;
}

int pf_open(struct pf_session *s, uint16_t port, struct mono deadline, struct pf_pair *ret)
{
    struct spdy_stream *error, *data;
    struct pf_pair p = {.port = port};
    snprintf(p.id, sizeof(p.id), "%u", s->next_id++);
    int r = open_half(s, "error", port, p.id, deadline, &error);
    if (r < 0)
        return r;
    spdy_close_write(error); /* we only read it */
    r = open_half(s, "data", port, p.id, deadline, &data);
    if (r < 0) {
        spdy_stream_free(error);
        return r;
    }
    p.data = spdy_stream_of(data);
    p.error = spdy_stream_of(error);
    *ret = p;
    return 0;
}

/* ---- both --------------------------------------------------------------------------------------------- */

bool pf_gone(const struct pf_session *s)
{
    return s->spdy ? spdy_gone(s->spdy) : s->gone;
}

int pf_wait_gone(struct pf_session *s, struct mono deadline)
{
    if (s->spdy)
        return spdy_wait_gone(s->spdy, deadline);
    while (!s->gone) {
        int r = waitq_wait(&s->gone_q, deadline);
        if (r < 0)
            return r;
    }
    return 0;
}

void pf_abort(struct pf_session *s)
{
    if (s->spdy)
        spdy_abort(s->spdy);
    if (s->ws)
        websocket_abort(s->ws);
}

void pf_free(struct pf_session *s)
{
    if (!s)
        return;
    LIST_EACH_SAFE (&s->halves, l) {
        half_free(s, LIST_ENTRY(l, struct half, link), true);
    }
    for (size_t i = s->next_port; i < s->n_ports; i++)
        pf_pair_done(&s->waiting[i]);
    if (s->ws)
        websocket_close(s->ws, 1000, "", mono_add(os_mono(), SECONDS(5)));
    group_stop(&s->reader);
    websocket_free(s->ws);
    if (s->spdy)
        spdy_goaway(s->spdy);
    spdy_free(s->spdy);
    free(s->waiting);
    free(s);
}

int pf_serve(struct pf_pair *p, struct stream *backend, const char *fault)
{
    int r = 0;
    if (backend)
        r = stream_splice(p->data, backend, 0);
    else
        r = stream_write(p->error, fault, strlen(fault), mono_add(os_mono(), SECONDS(30)));
    stream_shutdown(p->data);
    stream_shutdown(p->error);
    return r;
}

/* ---- tunnelling through the API server ----------------------------------------------------------------- */

bool pf_tunnel_wanted(const struct http_exchange *x)
{
    return websocket_wanted(x) && http_header_has(&x->headers, "sec-websocket-protocol", tunnel_protocol);
}

static int pass_refusal(struct http_exchange *x, struct http_call *call)
{
    struct str body = STR_NULL;
    http_call_read_all(call, 1 << 20, mono_add(os_mono(), SECONDS(CONNECT_TIMEOUT)), &body);
    struct str type = http_header(&call->headers, "content-type");
    http_respond(x, call->status, type.p ? arena_cstr(&x->arena, type) : NULL, body);
    return 0;
}

int pf_tunnel(struct http_exchange *x, struct http_client *c, const struct http_request *r, struct err *e)
{
    static const char *const names[] = {tunnel_protocol, NULL};
    struct http_call *call;
    struct stream *back, *front;
    struct websocket *ws;
    struct mono deadline = mono_add(os_mono(), SECONDS(CONNECT_TIMEOUT));
    int n = upgrade_spdy(c, r, deadline, &call, &back, e);
    if (n < 0)
        return n;
    if (n) {
        n = pass_refusal(x, call);
    } else {
        n = websocket_accept(x, names, &ws, e);
        if (n == 0) {
            front = websocket_stream(ws);
            stream_splice(front, back, 0);
            stream_free(front);
        }
        stream_free(back);
        n = 0; /* answered in any case */
    }
    http_call_free(call);
    return n;
}
