/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http-internal.h"
#include "net/spdy-internal.h"

enum {
    CHUNK = 16384,
    PIECE_MAX = 32768,    /* of data in one frame that we send */
    BUFFER_MAX = 1 << 20, /* of a stream, then the connection is not read */
    STREAMS_MAX = 1000,   /* open at once */
    STALL = 120,          /* seconds */
};

struct spdy_stream {
    struct spdy_conn *conn;
    struct list link, accept_link;
    uint32_t id;
    struct arena arena; /* of headers */
    struct http_headers headers;
    struct buf in;
    size_t in_at;
    bool in_end, out_end, reset, replied, local;
    struct waitq q;
};

struct spdy_conn {
    struct stream *stream;
    bool server;
    z_stream deflater, inflater;
    struct list streams, accepting;
    unsigned n_streams;
    struct waitq accept_q, gone_q, ping_q;
    struct fmutex write_lock;
    struct group reader;
    uint32_t next_id, last_peer_id, next_ping, last_pong;
    bool gone, goaway_received, goaway_sent, write_broken;
    struct buf in;
};

/* ---- writing ------------------------------------------------------------------------------------------ */

/* Under the lock: header blocks must go out in the order in which they were compressed. */
static int send_locked(struct spdy_conn *c, struct str bytes, struct mono deadline)
{
    if (c->gone || c->write_broken)
        return -EPIPE;
    int r = http_stream_write(c->stream, bytes.p, bytes.n, deadline, SECONDS(STALL));
    if (r < 0)
        c->write_broken = true;
    return r < 0 && r != -ETIMEDOUT && r != -ECANCELED ? -EPIPE : r;
}

static void put_control(struct buf *b, uint16_t type, uint8_t flags, uint32_t length)
{
    spdy_put_u32(b, 0x80030000u | type);
    spdy_put_u32(b, (uint32_t)flags << 24 | length);
}

static int send_bytes(struct spdy_conn *c, struct str bytes, struct mono deadline)
{
    int r = fmutex_lock(&c->write_lock);
    if (r < 0)
        return r;
    r = send_locked(c, bytes, deadline);
    fmutex_unlock(&c->write_lock);
    return r;
}

/* A control frame of up to two words. */
static int send_small(struct spdy_conn *c, uint16_t type, uint32_t first, const uint32_t *second)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    put_control(&b, type, 0, second ? 8 : 4);
    spdy_put_u32(&b, first);
    if (second)
        spdy_put_u32(&b, *second);
    return send_bytes(c, buf_str(&b), MONO_NEVER);
}

/* SYN_STREAM or SYN_REPLY. */
static int send_headers(struct spdy_conn *c, uint16_t type, uint32_t id, const struct http_headers *h,
                        bool fin, struct mono deadline)
{
    struct buf plain CLEANUP_BUF = BUF_INIT, body CLEANUP_BUF = BUF_INIT, b CLEANUP_BUF = BUF_INIT;
    spdy_write_headers(&plain, h);
    spdy_put_u32(&body, id);
    if (type == SPDY_SYN_STREAM)
        buf_put(&body, "\0\0\0\0\0\0", 6); /* no associated stream, priority 0 */
    int r = fmutex_lock(&c->write_lock);
    if (r < 0)
        return r;
    spdy_compress(&c->deflater, &body, buf_str(&plain));
    put_control(&b, type, fin ? SPDY_FLAG_FIN : 0, (uint32_t)body.n);
    buf_putstr(&b, buf_str(&body));
    r = send_locked(c, buf_str(&b), deadline);
    fmutex_unlock(&c->write_lock);
    return r;
}

static int send_data(struct spdy_stream *s, struct str piece, bool fin, struct mono deadline)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    spdy_put_u32(&b, s->id);
    spdy_put_u32(&b, (uint32_t)(fin ? SPDY_FLAG_FIN : 0) << 24 | (uint32_t)piece.n);
    buf_putstr(&b, piece);
    return send_bytes(s->conn, buf_str(&b), deadline);
}

/* ---- frames that come in ------------------------------------------------------------------------------ */

static struct spdy_stream *find(struct spdy_conn *c, uint32_t id)
{
    LIST_EACH (&c->streams, l) {
        struct spdy_stream *s = LIST_ENTRY(l, struct spdy_stream, link);
        if (s->id == id)
            return s;
    }
    return NULL;
}

static struct spdy_stream *stream_new(struct spdy_conn *c, uint32_t id)
{
    struct spdy_stream *s = NEW(struct spdy_stream);
    s->conn = c;
    s->id = id;
    list_push_back(&c->streams, &s->link);
    c->n_streams++;
    return s;
}

static int unpack(struct spdy_conn *c, struct str packed, struct arena *a, struct http_headers *ret)
{
    struct buf plain CLEANUP_BUF = BUF_INIT;
    int r = spdy_decompress(&c->inflater, &plain, packed);
    return r < 0 ? r : spdy_parse_headers(a, buf_str(&plain), ret);
}

static int refuse(struct spdy_conn *c, uint32_t id, uint32_t status)
{
    send_small(c, SPDY_RST_STREAM, id, &status);
    return 0;
}

static int on_syn_stream(struct spdy_conn *c, uint8_t flags, struct str body)
{
    struct http_headers headers;
    struct arena a = ARENA_INIT;
    if (body.n < 10)
        return -EPROTO;
    uint32_t id = spdy_u32((const uint8_t *)body.p) & 0x7fffffff;
    int r =
        unpack(c, str_from(body, 10), &a, &headers); /* also when refused: the compressor's state goes on */
    bool theirs = (id & 1) == (c->server ? 1 : 0);
    if (r < 0 || !theirs || id <= c->last_peer_id || c->goaway_sent || c->n_streams >= STREAMS_MAX) {
        arena_done(&a);
        return r < 0 ? r : refuse(c, id, theirs ? SPDY_RST_CANCEL : SPDY_RST_PROTOCOL_ERROR);
    }
    c->last_peer_id = id;
    struct spdy_stream *s = stream_new(c, id);
    s->arena = a;
    s->headers = headers;
    s->in_end = flags & SPDY_FLAG_FIN;
    list_push_back(&c->accepting, &s->accept_link);
    waitq_wake_all(&c->accept_q);
    return 0;
}

static int on_syn_reply(struct spdy_conn *c, uint8_t flags, struct str body)
{
    struct http_headers headers;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    if (body.n < 4)
        return -EPROTO;
    int r = unpack(c, str_from(body, 4), &a, &headers);
    struct spdy_stream *s = find(c, spdy_u32((const uint8_t *)body.p) & 0x7fffffff);
    if (r < 0 || !s)
        return r;
    s->replied = true;
    s->in_end = s->in_end || (flags & SPDY_FLAG_FIN);
    waitq_wake_all(&s->q);
    return 0;
}

static int on_headers(struct spdy_conn *c, struct str body)
{
    struct http_headers headers;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    return body.n < 4 ? -EPROTO : unpack(c, str_from(body, 4), &a, &headers);
}

static int on_reset(struct spdy_conn *c, struct str body)
{
    struct spdy_stream *s = body.n < 8 ? NULL : find(c, spdy_u32((const uint8_t *)body.p) & 0x7fffffff);
    if (!s)
        return body.n < 8 ? -EPROTO : 0;
    s->reset = s->in_end = true;
    waitq_wake_all(&s->q);
    return 0;
}

static int on_ping(struct spdy_conn *c, struct str body)
{
    if (body.n < 4)
        return -EPROTO;
    uint32_t id = spdy_u32((const uint8_t *)body.p);
    bool ours = (id & 1) == (c->server ? 0 : 1);
    if (!ours)
        return send_small(c, SPDY_PING, id, NULL);
    c->last_pong = id;
    waitq_wake_all(&c->ping_q);
    return 0;
}

static int on_control(struct spdy_conn *c, const struct spdy_frame *f, struct str body)
{
    switch (f->type) {
    case SPDY_SYN_STREAM:
        return on_syn_stream(c, f->flags, body);
    case SPDY_SYN_REPLY:
        return on_syn_reply(c, f->flags, body);
    case SPDY_RST_STREAM:
        return on_reset(c, body);
    case SPDY_PING:
        return on_ping(c, body);
    case SPDY_HEADERS:
        return on_headers(c, body);
    case SPDY_GOAWAY:
        c->goaway_received = true;
        return 0;
    }
    return 0; /* SETTINGS, WINDOW_UPDATE and what we do not know */
}

/* ---- the reading fiber -------------------------------------------------------------------------------- */

static int fill(struct spdy_conn *c)
{
    ssize_t n = stream_read(c->stream, buf_grow(&c->in, CHUNK), CHUNK, MONO_NEVER);
    if (n <= 0)
        return n ? (int)n : -EPIPE;
    c->in.n += (size_t)n;
    return 0;
}

static int need(struct spdy_conn *c, size_t n)
{
    int r = 0;
    while (r == 0 && c->in.n < n)
        r = fill(c);
    return r;
}

/* Hands bytes to a stream when its buffer has room. The stream may end while we wait. */
static int deliver(struct spdy_conn *c, uint32_t id, struct str piece)
{
    struct spdy_stream *s;
    while ((s = find(c, id)) && s->in.n - s->in_at >= BUFFER_MAX && !s->reset) {
        int r = waitq_wait(&s->q, MONO_NEVER);
        if (r < 0)
            return r;
    }
    if (!s || s->in_end)
        return 0;
    buf_put(&s->in, piece.p, piece.n);
    waitq_wake_all(&s->q);
    return 0;
}

static int read_data(struct spdy_conn *c, const struct spdy_frame *f)
{
    uint32_t left = f->length;
    while (left) {
        int r = need(c, 1);
        if (r < 0)
            return r;
        size_t take = MIN((size_t)left, c->in.n);
        r = deliver(c, f->stream_id, str_n(c->in.p, take));
        if (r < 0)
            return r;
        buf_consume(&c->in, take);
        left -= (uint32_t)take;
    }
    struct spdy_stream *s = f->flags & SPDY_FLAG_FIN ? find(c, f->stream_id) : NULL;
    if (s) {
        s->in_end = true;
        waitq_wake_all(&s->q);
    }
    return 0;
}

static int read_frame(struct spdy_conn *c)
{
    struct spdy_frame f;
    int r = need(c, SPDY_FRAME_HEAD);
    if (r == 0)
        r = spdy_parse_frame((const uint8_t *)c->in.p, &f);
    if (r < 0)
        return r;
    buf_consume(&c->in, SPDY_FRAME_HEAD);
    if (!f.control)
        return read_data(c, &f);
    if (f.length > SPDY_CONTROL_MAX)
        return -EPROTO;
    r = need(c, f.length);
    if (r < 0)
        return r;
    r = on_control(c, &f, str_n(c->in.p, f.length));
    buf_consume(&c->in, f.length);
    return r;
}

static void mark_gone(struct spdy_conn *c)
{
    c->gone = true;
    LIST_EACH (&c->streams, l) {
        waitq_wake_all(&LIST_ENTRY(l, struct spdy_stream, link)->q);
    }
    waitq_wake_all(&c->accept_q);
    waitq_wake_all(&c->gone_q);
    waitq_wake_all(&c->ping_q);
}

static void reader_main(void *arg)
{
    struct spdy_conn *c = arg;
    while (read_frame(c) == 0)
        ;
    mark_gone(c);
}

/* ---- connections -------------------------------------------------------------------------------------- */

struct spdy_conn *spdy_new(struct stream *stream, bool server)
{
    struct spdy_conn *c = NEW(struct spdy_conn);
    c->stream = stream;
    c->server = server;
    c->next_id = server ? 2 : 1;
    c->next_ping = server ? 2 : 1;
    list_init(&c->streams);
    list_init(&c->accepting);
    spdy_zlib_init(&c->deflater, &c->inflater);
    group_spawn(&c->reader, "spdy-read", reader_main, c);
    return c;
}

int spdy_open(struct spdy_conn *c, const struct http_headers *headers, bool fin, struct mono deadline,
              struct spdy_stream **ret)
{
    if (c->gone || c->goaway_received)
        return -EPIPE;
    struct spdy_stream *s = stream_new(c, c->next_id);
    c->next_id += 2;
    s->local = true;
    s->out_end = fin;
    int r = send_headers(c, SPDY_SYN_STREAM, s->id, headers, fin, deadline);
    if (r < 0) {
        s->reset = true; /* nothing to tell the peer */
        spdy_stream_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

int spdy_accept(struct spdy_conn *c, struct mono deadline, struct spdy_stream **ret)
{
    struct list *l;
    while (!(l = list_pop_front(&c->accepting))) {
        if (c->gone)
            return -EPIPE;
        int r = waitq_wait(&c->accept_q, deadline);
        if (r < 0)
            return r;
    }
    *ret = LIST_ENTRY(l, struct spdy_stream, accept_link);
    return 0;
}

int spdy_ping(struct spdy_conn *c, struct mono deadline)
{
    uint32_t id = c->next_ping;
    c->next_ping += 2;
    int r = send_small(c, SPDY_PING, id, NULL);
    while (r == 0 && (int32_t)(c->last_pong - id) < 0)
        r = c->gone ? -EPIPE : waitq_wait(&c->ping_q, deadline);
    return r;
}

bool spdy_gone(const struct spdy_conn *c)
{
    return c->gone;
}

int spdy_wait_gone(struct spdy_conn *c, struct mono deadline)
{
    while (!c->gone) {
        int r = waitq_wait(&c->gone_q, deadline);
        if (r < 0)
            return r;
    }
    return 0;
}

void spdy_goaway(struct spdy_conn *c)
{
    static const uint32_t ok = 0;
    if (!c->goaway_sent)
        send_small(c, SPDY_GOAWAY, c->last_peer_id, &ok);
    c->goaway_sent = true;
}

void spdy_abort(struct spdy_conn *c)
{
    stream_abort(c->stream);
    mark_gone(c);
}

void spdy_free(struct spdy_conn *c)
{
    if (!c)
        return;
    struct list *l;
    group_stop(&c->reader);
    c->gone = true;
    while ((l = list_pop_front(&c->accepting))) /* offered, never taken */
        spdy_stream_free(LIST_ENTRY(l, struct spdy_stream, accept_link));
    stream_free(c->stream);
    spdy_zlib_done(&c->deflater, &c->inflater);
    buf_done(&c->in);
    free(c);
}

/* ---- streams ------------------------------------------------------------------------------------------ */

int spdy_reply(struct spdy_stream *s, const struct http_headers *headers, bool fin)
{
    s->replied = true;
    s->out_end = s->out_end || fin;
    return send_headers(s->conn, SPDY_SYN_REPLY, s->id, headers, fin, MONO_NEVER);
}

int spdy_wait_reply(struct spdy_stream *s, struct mono deadline)
{
    while (!s->replied) {
        if (s->reset || s->conn->gone)
            return -EPIPE;
        int r = waitq_wait(&s->q, deadline);
        if (r < 0)
            return r;
    }
    return 0;
}

const struct http_headers *spdy_headers(const struct spdy_stream *s)
{
    return &s->headers;
}

ssize_t spdy_read(struct spdy_stream *s, void *p, size_t n, struct mono deadline)
{
    while (s->in.n == s->in_at) {
        if (s->in_end)
            return 0;
        if (s->conn->gone)
            return -EPIPE;
        int r = waitq_wait(&s->q, deadline);
        if (r < 0)
            return r;
    }
    size_t take = MIN(n, s->in.n - s->in_at);
    memcpy(p, s->in.p + s->in_at, take);
    s->in_at += take;
    if (s->in_at == s->in.n) {
        s->in_at = 0;
        buf_done(&s->in);
    }
    waitq_wake_all(&s->q); /* the reading fiber may wait for room */
    return (ssize_t)take;
}

int spdy_write(struct spdy_stream *s, struct str data, struct mono deadline)
{
    while (data.n) {
        if (s->reset || s->out_end)
            return -EPIPE;
        size_t take = MIN(data.n, (size_t)PIECE_MAX);
        int r = send_data(s, str_slice(data, 0, take), false, deadline);
        if (r < 0)
            return r;
        data = str_from(data, take);
    }
    return 0;
}

int spdy_close_write(struct spdy_stream *s)
{
    if (s->out_end || s->reset)
        return 0;
    s->out_end = true;
    return send_data(s, STR_NULL, true, MONO_NEVER);
}

void spdy_reset(struct spdy_stream *s)
{
    static const uint32_t cancel = SPDY_RST_CANCEL;
    if (!s->reset && !s->conn->gone)
        send_small(s->conn, SPDY_RST_STREAM, s->id, &cancel);
    s->reset = s->in_end = s->out_end = true;
    waitq_wake_all(&s->q);
}

void spdy_stream_free(struct spdy_stream *s)
{
    if (!s)
        return;
    if (!(s->in_end && s->out_end))
        spdy_reset(s);
    list_remove(&s->link);
    list_remove(&s->accept_link);
    s->conn->n_streams--;
    waitq_wake_all(&s->q);
    arena_done(&s->arena);
    buf_done(&s->in);
    free(s);
}

/* ---- the byte stream view ----------------------------------------------------------------------------- */

struct view {
    struct stream s;
    struct spdy_stream *stream;
};

static struct spdy_stream *viewed(struct stream *s)
{
    return CONTAINER_OF(s, struct view, s)->stream;
}

static ssize_t view_try_read(struct stream *s, void *p, size_t n)
{
    struct spdy_stream *v = viewed(s);
    if (v->in.n == v->in_at && !v->in_end)
        return v->conn->gone ? -EPIPE : -EAGAIN;
    return spdy_read(v, p, n, MONO_NEVER);
}

/* A frame is written whole, so this waits while the connection is busy (at most the stall limit). */
static ssize_t view_try_write(struct stream *s, const void *p, size_t n)
{
    size_t take = MIN(n, (size_t)PIECE_MAX);
    int r = spdy_write(viewed(s), str_n(p, take), MONO_NEVER);
    return r < 0 ? r : (ssize_t)take;
}

static int view_wait(struct stream *s, int events, struct mono deadline)
{
    struct spdy_stream *v = viewed(s);
    while ((events & OS_READABLE) && !s->aborted && v->in.n == v->in_at && !v->in_end && !v->conn->gone) {
        int r = waitq_wait(&v->q, deadline);
        if (r < 0)
            return r;
    }
    return 0;
}

static int view_shutdown(struct stream *s)
{
    return spdy_close_write(viewed(s));
}

static void view_abort(struct stream *s)
{
    spdy_reset(viewed(s));
}

static void view_free(struct stream *s)
{
    spdy_stream_free(viewed(s));
    free(CONTAINER_OF(s, struct view, s));
}

static const struct stream_ops view_ops = {view_try_read, view_try_write, view_wait,
                                           view_shutdown, view_abort,     view_free};

struct stream *spdy_stream_of(struct spdy_stream *s)
{
    struct view *v = NEW(struct view);
    v->s.ops = &view_ops;
    v->stream = s;
    return &v->s;
}
