/* SPDX-License-Identifier: Apache-2.0 */
#include "net/websocket.h"

#include "base/base64.h"
#include "net/http-internal.h"

#include <openssl/evp.h>
#include <stdio.h>

enum {
    OP_CONTINUATION = 0,
    OP_CLOSE = 8,
    OP_PING = 9,
    OP_PONG = 10,
    CONTROL_MAX = 125,
    HEADER_MAX = 14,
    DEFAULT_MAX = 4 << 20,
    CHUNK = 16384,
    STALL = 120, /* seconds */
};

struct websocket {
    struct stream *stream;
    bool client;
    char protocol[64];
    size_t max;
    struct mono heard;
    /* reading */
    struct buf in; /* bytes not yet looked at */
    bool in_frame; /* `frame` is being read, `left` bytes of it are missing */
    struct websocket_frame frame;
    uint64_t left;
    struct buf message, control;
    enum websocket_opcode opcode; /* of message */
    bool in_message, delivered;
    bool closed; /* the peer has closed in order */
    /* writing */
    struct fmutex write_lock;
    bool close_sent, broken;
};

/* ---- frames ------------------------------------------------------------------------------------------- */

int websocket_parse_frame(const uint8_t *p, size_t n, struct websocket_frame *ret)
{
    if (n < 2)
        return 0;
    struct websocket_frame f = {.fin = p[0] & 0x80,
                                .rsv = (p[0] >> 4) & 7,
                                .opcode = p[0] & 15,
                                .masked = p[1] & 0x80,
                                .length = p[1] & 0x7f};
    size_t extra = f.length == 126 ? 2 : f.length == 127 ? 8 : 0, size = 2 + extra + (f.masked ? 4 : 0);
    bool control = f.opcode >= OP_CLOSE;
    if (f.rsv || (f.opcode > WS_BINARY && f.opcode < OP_CLOSE) || f.opcode > OP_PONG ||
        (control && (!f.fin || f.length > CONTROL_MAX)))
        return -EPROTO;
    if (n < size)
        return 0;
    if (extra) {
        f.length = 0;
        for (size_t i = 0; i < extra; i++)
            f.length = f.length << 8 | p[2 + i];
        if (f.length < (extra == 2 ? 126u : 65536u) || f.length >> 63) /* not the shortest form */
            return -EPROTO;
    }
    if (f.masked)
        memcpy(f.mask, p + 2 + extra, 4);
    *ret = f;
    return (int)size;
}

static void put_frame(struct buf *b, bool client, uint8_t opcode, const uint8_t *first, struct str data)
{
    uint64_t n = data.n + (first ? 1 : 0);
    uint8_t head[HEADER_MAX], mask[4] = {0};
    size_t h = 0;
    head[h++] = 0x80 | opcode;
    if (n < 126) {
        head[h++] = (uint8_t)n;
    } else if (n < 65536) {
        head[h++] = 126;
        head[h++] = (uint8_t)(n >> 8);
        head[h++] = (uint8_t)n;
    } else {
        head[h++] = 127;
        for (int i = 7; i >= 0; i--)
            head[h++] = (uint8_t)(n >> 8 * i);
    }
    if (client) {
        head[1] |= 0x80;
        os_random(mask, sizeof(mask));
        memcpy(head + h, mask, 4);
        h += 4;
    }
    buf_put(b, head, h);
    size_t start = b->n;
    if (first)
        buf_putc(b, (char)*first);
    buf_putstr(b, data);
    for (size_t i = 0; client && i < n; i++)
        b->p[start + i] = (char)((uint8_t)b->p[start + i] ^ mask[i % 4]);
}

/* ---- writing ------------------------------------------------------------------------------------------ */

static int send_frame(struct websocket *w, uint8_t opcode, const uint8_t *first, struct str data,
                      struct mono deadline)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    int r = fmutex_lock(&w->write_lock);
    if (r < 0)
        return r;
    if (w->broken || w->close_sent) {
        r = -EPIPE;
    } else {
        put_frame(&b, w->client, opcode, first, data);
        w->close_sent = opcode == OP_CLOSE;
        r = http_stream_write(w->stream, b.p, b.n, deadline, SECONDS(STALL));
    }
    if (r < 0)
        w->broken = true; /* part of a frame may have gone out: nothing can follow */
    fmutex_unlock(&w->write_lock);
    return r < 0 && r != -ECANCELED && r != -ETIMEDOUT ? -EPIPE : r;
}

int websocket_write(struct websocket *w, enum websocket_opcode opcode, struct str data, struct mono deadline)
{
    return send_frame(w, (uint8_t)opcode, NULL, data, deadline);
}

int websocket_write_channel(struct websocket *w, uint8_t first, struct str data, struct mono deadline)
{
    return send_frame(w, WS_BINARY, &first, data, deadline);
}

int websocket_ping(struct websocket *w, struct mono deadline)
{
    return send_frame(w, OP_PING, NULL, STR_NULL, deadline);
}

int websocket_close(struct websocket *w, unsigned code, const char *reason, struct mono deadline)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (w->close_sent)
        return 0;
    buf_putc(&b, (char)(code >> 8));
    buf_putc(&b, (char)code);
    buf_put(&b, reason, MIN(strlen(reason), (size_t)CONTROL_MAX - 2));
    return send_frame(w, OP_CLOSE, NULL, buf_str(&b), deadline);
}

/* ---- reading ------------------------------------------------------------------------------------------ */

static int fail(struct websocket *w, int r, unsigned code, const char *why)
{
    websocket_close(w, code, why, mono_add(os_mono(), SECONDS(5)));
    w->broken = true;
    return r;
}

/* A frame's header was read: is it allowed here? */
static int begin_frame(struct websocket *w)
{
    const struct websocket_frame *f = &w->frame;
    if (f->masked == w->client)
        return fail(w, -EPROTO, 1002, "masking");
    w->in_frame = true;
    w->left = f->length;
    if (f->opcode >= OP_CLOSE) {
        buf_clear(&w->control);
        return 0;
    }
    if ((f->opcode == OP_CONTINUATION) != w->in_message)
        return fail(w, -EPROTO, 1002, "fragment out of order");
    if (w->message.n + f->length > w->max)
        return fail(w, -EMSGSIZE, 1009, "message too large");
    if (f->opcode != OP_CONTINUATION)
        w->opcode = (enum websocket_opcode)f->opcode;
    w->in_message = true;
    return 0;
}

static void take_payload(struct websocket *w)
{
    size_t take = (size_t)MIN(w->left, (uint64_t)w->in.n);
    struct buf *to = w->frame.opcode >= OP_CLOSE ? &w->control : &w->message;
    uint64_t at = w->frame.length - w->left;
    size_t start = to->n;
    buf_put(to, w->in.p, take);
    for (size_t i = 0; w->frame.masked && i < take; i++)
        to->p[start + i] = (char)((uint8_t)to->p[start + i] ^ w->frame.mask[(at + i) % 4]);
    buf_consume(&w->in, take);
    w->left -= take;
}

/* A control frame is complete. */
static int handle_control(struct websocket *w)
{
    struct mono soon = mono_add(os_mono(), SECONDS(10));
    if (w->frame.opcode == OP_PING) {
        int r = send_frame(w, OP_PONG, NULL, buf_str(&w->control), soon);
        return r == -EPIPE && w->close_sent ? 0 : r;
    }
    if (w->frame.opcode != OP_CLOSE)
        return 0;
    w->closed = true;
    if (!w->close_sent)
        send_frame(w, OP_CLOSE, NULL, str_slice(buf_str(&w->control), 0, 2), soon);
    return -ENODATA;
}

/* Uses what is in w->in. 1: a message is complete; 0: more bytes are needed; negative: the end. */
static int advance(struct websocket *w)
{
    for (;;) {
        if (!w->in_frame) {
            int n = websocket_parse_frame((const uint8_t *)w->in.p, w->in.n, &w->frame);
            if (n < 0)
                return fail(w, n, 1002, "bad frame");
            if (n == 0)
                return 0;
            buf_consume(&w->in, (size_t)n);
            int r = begin_frame(w);
            if (r < 0)
                return r;
        }
        take_payload(w);
        if (w->left)
            return 0;
        w->in_frame = false;
        if (w->frame.opcode >= OP_CLOSE) {
            int r = handle_control(w);
            if (r < 0)
                return r;
        } else if (w->frame.fin) {
            w->in_message = false;
            return 1;
        }
    }
}

int websocket_read(struct websocket *w, struct websocket_message *ret, struct mono deadline)
{
    if (w->closed)
        return -ENODATA;
    if (w->delivered)
        buf_clear(&w->message);
    w->delivered = false;
    for (;;) {
        int r = w->broken ? -EPIPE : advance(w);
        if (r < 0)
            return r;
        if (r == 1) {
            w->delivered = true;
            *ret = (struct websocket_message){w->opcode, buf_str(&w->message)};
            return 0;
        }
        ssize_t n = stream_read(w->stream, buf_grow(&w->in, CHUNK), CHUNK, deadline);
        if (n == 0 || (n < 0 && n != -ETIMEDOUT && n != -ECANCELED))
            return -EPIPE;
        if (n < 0)
            return (int)n;
        w->in.n += (size_t)n;
        w->heard = os_mono();
    }
}

/* ---- life --------------------------------------------------------------------------------------------- */

struct websocket *websocket_of_stream(struct stream *stream, bool client, const char *protocol)
{
    struct websocket *w = NEW(struct websocket);
    w->stream = stream;
    w->client = client;
    w->max = DEFAULT_MAX;
    w->heard = os_mono();
    snprintf(w->protocol, sizeof(w->protocol), "%s", protocol);
    return w;
}

const char *websocket_protocol(const struct websocket *w)
{
    return w->protocol;
}

void websocket_set_max(struct websocket *w, size_t max)
{
    w->max = max;
}

struct mono websocket_last_heard(const struct websocket *w)
{
    return w->heard;
}

void websocket_abort(struct websocket *w)
{
    w->broken = true;
    stream_abort(w->stream);
}

void websocket_free(struct websocket *w)
{
    if (!w)
        return;
    stream_free(w->stream);
    buf_done(&w->in);
    buf_done(&w->message);
    buf_done(&w->control);
    free(w);
}

/* ---- handshakes --------------------------------------------------------------------------------------- */

/* RFC 6455 section 4.2.2. */
static void accept_text(struct str key, struct buf *b)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    struct buf s CLEANUP_BUF = BUF_INIT;
    buf_putstr(&s, key);
    buf_puts(&s, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    EVP_Digest(s.p, s.n, hash, &n, EVP_sha1(), NULL);
    base64_put(b, str_n((char *)hash, n));
}

bool websocket_wanted(const struct http_exchange *x)
{
    return http_wants_upgrade(x, "websocket");
}

static int refuse(struct http_exchange *x, int status, struct err *e, const char *why)
{
    http_respond(x, status, "text/plain", str_of(why));
    return err_set(e, -EPROTO, "WebSocket handshake: %s", why);
}

/* The first of the client's protocols that is ours; "" when it offers none and we take none; NULL: no
 * agreement. */
static const char *choose_protocol(const struct http_exchange *x, const char *const *ours)
{
    bool offered = false;
    for (size_t i = 0; i < x->headers.n; i++) {
        struct str rest = x->headers.items[i].value, item;
        if (!str_is(x->headers.items[i].name, "sec-websocket-protocol"))
            continue;
        while (str_next(&rest, ',', &item)) {
            offered = offered || str_trim(item).n;
            for (size_t j = 0; ours && ours[j]; j++)
                if (ours[j][0] && str_is(str_trim(item), ours[j]))
                    return ours[j];
        }
    }
    if (!ours)
        return "";
    for (size_t j = 0; !offered && ours[j]; j++)
        if (!ours[j][0])
            return "";
    return NULL;
}

int websocket_accept(struct http_exchange *x, const char *const *protocols, struct websocket **ret,
                     struct err *e)
{
    struct buf accept CLEANUP_BUF = BUF_INIT, raw CLEANUP_BUF = BUF_INIT;
    struct str key = http_header(&x->headers, "sec-websocket-key");
    struct stream *stream;
    if (!websocket_wanted(x) || !str_is(x->method, "GET"))
        return refuse(x, 400, e, "not a WebSocket request\n");
    if (!str_is(http_header(&x->headers, "sec-websocket-version"), "13")) {
        http_add_header(x, "Sec-WebSocket-Version", STR("13"));
        return refuse(x, 426, e, "WebSocket version 13 is needed\n");
    }
    if (base64_take(&raw, key) < 0 || raw.n != 16)
        return refuse(x, 400, e, "bad Sec-WebSocket-Key\n");
    const char *protocol = choose_protocol(x, protocols);
    if (!protocol)
        return refuse(x, 400, e, "no WebSocket subprotocol in common\n");
    accept_text(key, &accept);
    http_add_header(x, "Sec-WebSocket-Accept", buf_str(&accept));
    if (protocol[0])
        http_add_header(x, "Sec-WebSocket-Protocol", str_of(protocol));
    int r = http_upgrade(x, "websocket", &stream);
    if (r)
        return err_set(e, r < 0 ? r : -EPROTO, "WebSocket handshake: the connection cannot be upgraded");
    *ret = websocket_of_stream(stream, false, protocol);
    return 0;
}

enum { MAX_HEADERS = 64 };

static bool is_offered(const char *const *protocols, struct str s)
{
    if (s.n == 0)
        return true;
    for (size_t i = 0; protocols && protocols[i]; i++)
        if (str_is(s, protocols[i]))
            return true;
    return false;
}

int websocket_connect(struct http_client *c, const struct http_request *r, const char *const *protocols,
                      struct mono deadline, struct websocket **ret, struct http_call **ret_call,
                      struct err *e)
{
    struct buf key CLEANUP_BUF = BUF_INIT, list CLEANUP_BUF = BUF_INIT, accept CLEANUP_BUF = BUF_INIT;
    struct http_header headers[MAX_HEADERS + 3];
    uint8_t random[16];
    size_t n = MIN(r->n_headers, (size_t)MAX_HEADERS);
    if (n)
        memcpy(headers, r->headers, n * sizeof(*headers));
    os_random(random, sizeof(random));
    base64_put(&key, str_n((char *)random, sizeof(random)));
    for (size_t i = 0; protocols && protocols[i]; i++)
        buf_printf(&list, "%s%s", i ? ", " : "", protocols[i]);
    headers[n++] = (struct http_header){STR("Sec-WebSocket-Key"), buf_str(&key)};
    headers[n++] = (struct http_header){STR("Sec-WebSocket-Version"), STR("13")};
    if (list.n)
        headers[n++] = (struct http_header){STR("Sec-WebSocket-Protocol"), buf_str(&list)};
    struct http_request request = *r;
    request.headers = headers;
    request.n_headers = n;
    struct stream *stream;
    struct http_call *call;
    int x = http_client_upgrade(c, &request, "websocket", deadline, &call, &stream, e);
    if (x < 0)
        return x;
    *ret_call = call;
    if (x)
        return x;
    accept_text(buf_str(&key), &accept);
    struct str chosen = http_header(&call->headers, "sec-websocket-protocol");
    if (!str_eq(http_header(&call->headers, "sec-websocket-accept"), buf_str(&accept)) ||
        !is_offered(protocols, chosen)) {
        stream_free(stream);
        http_call_free(call);
        return err_set(e, -EPROTO, "WebSocket handshake: the server's answer does not fit");
    }
    char name[64];
    snprintf(name, sizeof(name), STR_FMT, STR_ARG(chosen));
    *ret = websocket_of_stream(stream, true, name);
    return 0;
}

/* ---- a byte stream over messages ---------------------------------------------------------------------- */

struct tunnel {
    struct stream s;
    struct websocket *w;
    struct str rest; /* of the message last read */
    bool ended;
};

static struct tunnel *tunnel_of(struct stream *s)
{
    return CONTAINER_OF(s, struct tunnel, s);
}

static ssize_t tunnel_try_read(struct stream *s, void *p, size_t n)
{
    struct tunnel *t = tunnel_of(s);
    if (t->rest.n == 0)
        return t->ended ? 0 : -EAGAIN;
    size_t take = MIN(n, t->rest.n);
    memcpy(p, t->rest.p, take);
    t->rest = str_from(t->rest, take);
    return (ssize_t)take;
}

/* A whole message goes out, so this one does wait (for at most the stall limit); nobody writes to tunnels
 * from places that must not. */
static ssize_t tunnel_try_write(struct stream *s, const void *p, size_t n)
{
    size_t take = MIN(n, (size_t)CHUNK * 2);
    int r = websocket_write(tunnel_of(s)->w, WS_BINARY, str_n(p, take), MONO_NEVER);
    return r < 0 ? r : (ssize_t)take;
}

static int tunnel_wait(struct stream *s, int events, struct mono deadline)
{
    struct tunnel *t = tunnel_of(s);
    struct websocket_message m;
    if (!(events & OS_READABLE))
        return 0;
    while (t->rest.n == 0 && !t->ended) {
        int r = websocket_read(t->w, &m, deadline);
        if (r == -ENODATA)
            t->ended = true;
        else if (r < 0)
            return r;
        else if (m.opcode != WS_BINARY)
            return fail(t->w, -EPROTO, 1003, "binary messages only");
        else
            t->rest = m.data;
    }
    return 0;
}

static int tunnel_shutdown(struct stream *s)
{
    return websocket_close(tunnel_of(s)->w, 1000, "", mono_add(os_mono(), SECONDS(10)));
}

static void tunnel_abort(struct stream *s)
{
    websocket_abort(tunnel_of(s)->w);
}

static void tunnel_free(struct stream *s)
{
    websocket_free(tunnel_of(s)->w);
    free(tunnel_of(s));
}

static const struct stream_ops tunnel_ops = {tunnel_try_read, tunnel_try_write, tunnel_wait,
                                             tunnel_shutdown, tunnel_abort,     tunnel_free};

struct stream *websocket_stream(struct websocket *w)
{
    struct tunnel *t = NEW(struct tunnel);
    t->s.ops = &tunnel_ops;
    t->s.tls = w->stream->tls;
    t->w = w;
    return &t->s;
}
