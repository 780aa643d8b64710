/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h2.h"

enum { OUT_CHUNK = 64 << 10, MAX_FIELDS = 512 };

/* ---- writing ------------------------------------------------------------------------------------------ */

/* Moves frames from nghttp2 into h->out, about a chunk, so that they share calls and TLS records. */
static int fill(struct h2 *h)
{
    while (h->out.n < OUT_CHUNK) {
        const uint8_t *p;
        size_t had = h->out.n;
        ssize_t n = nghttp2_session_mem_send(h->session, &p);
        if (n < 0)
            return n == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
        buf_put(&h->out, p, (size_t)n);
        if (h->out.n == had)
            break;
    }
    return 0;
}

/* Writes as much as goes without waiting: 0 when nothing is left, -EAGAIN, or an error. */
static int drain(struct h2 *h)
{
    for (;;) {
        if (h->out_at == 0) {
            int r = fill(h);
            if (r < 0 || h->out.n == 0)
                return r;
        }
        ssize_t n = stream_try_write(h->stream, h->out.p + h->out_at, h->out.n - h->out_at);
        if (n < 0)
            return (int)n;
        h->out_at += (size_t)n;
        if (h->out_at == h->out.n) {
            buf_clear(&h->out);
            h->out_at = 0;
        }
    }
}

static void break_off(struct h2 *h, int error)
{
    if (h->broken)
        return;
    h->broken = true;
    h->error = error;
    stream_abort(h->stream);
    LIST_EACH_SAFE (&h->streams, l) {
        struct h2_stream *s = LIST_ENTRY(l, struct h2_stream, link);
        if (!s->closed) {
            s->closed = true;
            s->error = NGHTTP2_INTERNAL_ERROR;
            s->out = STR_NULL;
            waitq_wake_all(&s->q);
            h->role->closed(s);
        }
    }
}

static void writer_main(void *arg)
{
    struct h2 *h = arg;
    int r = -EAGAIN;
    while (r == -EAGAIN && !h->broken) {
        r = stream_wait(h->stream, OS_WRITABLE, mono_add(os_mono(), h->write_timeout));
        if (r == 0)
            r = drain(h);
    }
    h->writing = false;
    if (r < 0)
        break_off(h, r);
}

void h2_send(struct h2 *h)
{
    if (h->writing || h->broken)
        return;
    int r = drain(h);
    if (r == -EAGAIN) {
        h->writing = true;
        group_spawn(&h->writer, "h2-write", writer_main, h);
    } else if (r < 0) {
        break_off(h, r);
    } else {
        buf_done(&h->out); /* what waits for events holds no buffer */
    }
}

static void send_afterwards(struct afterwards *a)
{
    h2_send(CONTAINER_OF(a, struct h2, send));
}

void h2_flush(struct h2 *h)
{
    if (h->writing || h->broken)
        return;
    int r = fill(h);
    if (r < 0)
        break_off(h, r);
    else if (h->out.n >= OUT_CHUNK)
        h2_send(h);
    else if (h->out.n)
        afterwards_do(&h->send);
}

void h2_break(struct h2 *h, int error)
{
    if (!h->broken && !h->writing)
        drain(h); /* what was said before still goes, if it goes at once */
    break_off(h, error);
}

/* ---- streams that are over -------------------------------------------------------------------------------- */

/* nghttp2 ignores what comes for streams that it has forgotten, since late frames for those that we have reset are nobody's
 * fault. What the peer itself has ended it may not go on with (RFC 9113, 5.1): of the last ones we know which those are. */
static void note_ended(struct h2 *h, int32_t id)
{
    h->ended[h->n_ended++ % H2_ENDED_MAX] = id;
}

/* A frame that goes on with a stream: what it costs the peer when that is over. */
static void look_at(struct h2 *h, int32_t id)
{
    for (size_t i = 0; i < MIN(h->n_ended, (unsigned)H2_ENDED_MAX); i++)
        if (h->ended[i] == id || h->ended[i] == -id) {
            nghttp2_session_terminate_session(h->session, h->ended[i] < 0 ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_STREAM_CLOSED);
            return;
        }
}

/* Streams below the newest that were not opened never will be (5.1.1). */
static void note_opened(struct h2 *h, int32_t id)
{
    enum { PASSED_MAX = 4 };
    int32_t first = MAX(h->last_opened + 1, id - 2 * PASSED_MAX);
    for (int32_t passed = first | 1; passed < id; passed += 2)
        note_ended(h, -passed);
    h->last_opened = MAX(h->last_opened, id);
}

static int on_begin_frame(nghttp2_session *session UNUSED, const nghttp2_frame_hd *hd, void *user)
{
    struct h2 *h = user;
    if (h->server && hd->type == NGHTTP2_HEADERS)
        look_at(h, hd->stream_id);
    return 0;
}

/* nghttp2 tells nothing of DATA that it ignores. How many of these bytes it shall have before the stream of such a frame is
 * looked at, and which that is; 0: none. */
static size_t next_data(struct h2 *h, const uint8_t *p, size_t n, int32_t *ret_id)
{
    size_t at = 0;
    *ret_id = 0;
    while (at < n) {
        if (h->skip) {
            size_t step = MIN((size_t)h->skip, n - at);
            at += step;
            h->skip -= (unsigned)step;
            continue;
        }
        h->head[h->n_head++] = p[at++];
        if (h->n_head < sizeof(h->head))
            continue;
        h->n_head = 0;
        h->skip = (unsigned)h->head[0] << 16 | (unsigned)h->head[1] << 8 | h->head[2];
        if (h->head[3] == NGHTTP2_DATA) {
            *ret_id = (int32_t)((unsigned)(h->head[5] & 0x7f) << 24 | (unsigned)h->head[6] << 16 | (unsigned)h->head[7] << 8 | h->head[8]);
            break;
        }
    }
    return at;
}

/* ---- what nghttp2 tells ------------------------------------------------------------------------------- */

static struct h2_stream *stream_at(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *f, void *user)
{
    struct h2 *h = user;
    if (f->hd.type != NGHTTP2_HEADERS || !h->server || f->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    note_opened(h, f->hd.stream_id);
    struct h2_stream *s = h->role->open(h, f->hd.stream_id);
    if (!s) {
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, f->hd.stream_id, NGHTTP2_REFUSED_STREAM);
        return 0;
    }
    nghttp2_session_set_stream_user_data(session, f->hd.stream_id, s);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *f, const uint8_t *name, size_t name_n,
                     const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    struct h2 *h = user;
    struct h2_stream *s = stream_at(session, f->hd.stream_id);
    if (!s || f->hd.type != NGHTTP2_HEADERS)
        return 0;
    s->header_bytes += name_n + value_n + 32;
    struct http_fields *fields = s->head_done ? &s->received_trailers : &s->fields;
    if (s->header_bytes > h->max_header_bytes || fields->n >= MAX_FIELDS) {
        s->too_large = true;
        return 0;
    }
    http_fields_add(s->arena, fields, str_n((const char *)name, name_n), str_n((const char *)value, value_n),
                    false);
    return 0;
}

/* An interim response (1xx) is not the head; what it said is dropped. */
static bool is_interim(const struct h2 *h, struct h2_stream *s)
{
    struct str status = http_fields_get(&s->fields, ":status");
    if (h->server || status.n != 3 || status.p[0] != '1')
        return false;
    s->fields.n = 0;
    return true;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *f, void *user)
{
    struct h2 *h = user;
    if (f->hd.type == NGHTTP2_GOAWAY)
        h->got_goaway = true;
    if (f->hd.type == NGHTTP2_SETTINGS && !(f->hd.flags & NGHTTP2_FLAG_ACK))
        h->got_settings = true;
    if (f->hd.type == NGHTTP2_RST_STREAM)
        note_ended(h, f->hd.stream_id);
    if (f->hd.type == NGHTTP2_PING && (f->hd.flags & NGHTTP2_FLAG_ACK))
        h->pinged.ns = 0;
    struct h2_stream *s = f->hd.stream_id ? stream_at(session, f->hd.stream_id) : NULL;
    if (!s || (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA))
        return 0;
    if (f->hd.flags & NGHTTP2_FLAG_END_STREAM)
        s->in_end = true;
    if (f->hd.type == NGHTTP2_HEADERS && !s->head_done && !is_interim(h, s)) {
        s->head_done = true;
        h->role->head(s);
    }
    waitq_wake_all(&s->q);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                   void *user)
{
    struct h2_stream *s = stream_at(session, id);
    if (!s || s->aborted) {
        nghttp2_session_consume(session, id, n);
        return 0;
    }
    buf_put(&s->in, p, n);
    waitq_wake_all(&s->q);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct h2 *h = user;
    struct h2_stream *s = stream_at(session, id);
    if (!s || s->closed)
        return 0;
    if (s->in_end)
        note_ended(h, id);
    s->closed = true;
    s->error = code;
    s->out = STR_NULL;
    waitq_wake_all(&s->q);
    h->role->closed(s);
    return 0;
}

/* A frame of a stream's body, behind what is on its way already. */
static int on_send_data(nghttp2_session *session, nghttp2_frame *f, const uint8_t *head, size_t n, nghttp2_data_source *source,
                        void *user)
{
    struct h2 *h = user;
    struct h2_stream *s = stream_at(session, f->hd.stream_id);
    if (!s || s->out.n < n)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (h->out.n >= OUT_CHUNK)
        return NGHTTP2_ERR_WOULDBLOCK;
    if (n > OUT_CHUNK / 8 && h->out.cap < OUT_CHUNK)
        buf_grow(&h->out, OUT_CHUNK + OUT_CHUNK / 2 - h->out.n); /* more is to come: at once, and less than malloc maps anew each time */
    buf_put(&h->out, head, 9);
    buf_put(&h->out, s->out.p, n);
    s->out = str_from(s->out, n);
    waitq_wake_all(&s->q);
    return 0;
}

static nghttp2_session_callbacks *callbacks_new(void)
{
    nghttp2_session_callbacks *cb;
    if (nghttp2_session_callbacks_new(&cb))
        panic("nghttp2: no memory");
    nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    nghttp2_session_callbacks_set_send_data_callback(cb, on_send_data);
    return cb;
}

/* Rapid reset (CVE-2023-44487): the library ends connections that reset streams faster than this. Controllers
 * that restart cancel a few hundred watches at once and then none for long, hence the large burst. The true
 * limit is elsewhere: the server counts handlers that still run, not streams that are open. */
enum { RESET_BURST = 10000, RESET_RATE = 100 };

static nghttp2_option *option_new(void)
{
    nghttp2_option *o;
    if (nghttp2_option_new(&o))
        panic("nghttp2: no memory");
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_stream_reset_rate_limit(o, RESET_BURST, RESET_RATE);
    nghttp2_option_set_no_closed_streams(o, 1);
    return o;
}

void h2_init(struct h2 *h, struct stream *stream, const struct h2_config *c, const struct h2_role *role,
             void *owner)
{
    *h = (struct h2){.stream = stream, .role = role, .owner = owner, .server = c->server};
    h->max_header_bytes = c->max_header_bytes;
    h->write_timeout = c->write_timeout;
    h->ping_after = c->ping_after;
    h->ping_timeout = c->ping_timeout;
    h->skip = c->server ? NGHTTP2_CLIENT_MAGIC_LEN : 0;
    h->heard = os_mono();
    h->send.fn = send_afterwards;
    list_init(&h->streams);
    nghttp2_session_callbacks *cb = callbacks_new();
    nghttp2_option *o = option_new();
    int r = c->server ? nghttp2_session_server_new2(&h->session, cb, h, o)
                      : nghttp2_session_client_new2(&h->session, cb, h, o);
    nghttp2_option_del(o);
    nghttp2_session_callbacks_del(cb);
    if (r)
        panic("nghttp2: no session");
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, c->max_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, c->stream_window},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)c->max_header_bytes},
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
    };
    nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings));
    nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, (int32_t)c->connection_window);
}

void h2_done(struct h2 *h)
{
    h2_break(h, -EPIPE);
    afterwards_cancel(&h->send);
    group_stop(&h->writer);
    nghttp2_session_del(h->session);
    buf_done(&h->out);
}

/* ---- reading ------------------------------------------------------------------------------------------ */

int h2_feed(struct h2 *h, const char *p, size_t n)
{
    ssize_t r = 0;
    for (size_t at = 0; at < n && r >= 0;) {
        int32_t id = 0;
        size_t step = h->server ? next_data(h, (const uint8_t *)p + at, n - at, &id) : n;
        r = nghttp2_session_mem_recv(h->session, (const uint8_t *)p + at, step);
        at += step;
        if (id)
            look_at(h, id);
    }
    h->heard = os_mono();
    h2_flush(h); /* also when it failed: GOAWAY says why */
    return r < 0 ? -EPROTO : h->broken ? h->error : 0;
}

bool h2_finished(const struct h2 *h)
{
    return !h->writing && !h->out.n && !nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session);
}

/* When the peer has to have been heard again, given open streams and pings. */
static struct mono silence_limit(const struct h2 *h)
{
    if (h->pinged.ns)
        return mono_add(h->pinged, h->ping_timeout);
    return mono_add(h->heard, h->ping_after);
}

/* 0: go on waiting; -ETIMEDOUT: the peer is dead. */
static int check_silence(struct h2 *h)
{
    if (!h->n_streams || os_mono().ns < silence_limit(h).ns)
        return 0;
    if (h->pinged.ns)
        return -EPIPE;
    h->pinged = os_mono();
    nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, NULL);
    h2_flush(h);
    return 0;
}

/* Without open streams the limit lies in the past: look again after a whole interval. */
static struct mono next_look(const struct h2 *h)
{
    struct mono limit = silence_limit(h);
    return h->n_streams ? limit : mono_add(os_mono(), h->ping_after);
}

int h2_pump(struct h2 *h, struct mono deadline)
{
    for (;;) {
        if (h->broken)
            return h->error;
        ssize_t n = stream_try_read(h->stream, http_scratch(), HTTP_SCRATCH);
        if (n > 0) {
            h->pinged.ns = 0;
            return h2_feed(h, http_scratch(), (size_t)n);
        }
        if (n != -EAGAIN)
            return n ? (int)n : -EPIPE;
        int r = stream_wait(h->stream, OS_READABLE, mono_min(deadline, next_look(h)));
        if (r == -ETIMEDOUT) {
            if (os_mono().ns >= deadline.ns)
                return r;
            r = check_silence(h);
        }
        if (r < 0)
            return h->broken ? h->error : r;
    }
}

/* ---- streams ------------------------------------------------------------------------------------------ */

void h2_stream_init(struct h2_stream *s, struct h2 *h, int32_t id, struct arena *a, void *owner)
{
    *s = (struct h2_stream){.h2 = h, .id = id, .arena = a, .owner = owner};
    list_push_back(&h->streams, &s->link);
    h->n_streams++;
}

void h2_stream_reset(struct h2_stream *s, uint32_t code)
{
    if (s->closed)
        return;
    s->aborted = true;
    s->out = STR_NULL;
    nghttp2_submit_rst_stream(s->h2->session, NGHTTP2_FLAG_NONE, s->id, code);
    waitq_wake_all(&s->q);
    h2_flush(s->h2);
}

void h2_stream_done(struct h2_stream *s, uint32_t code)
{
    struct h2 *h = s->h2;
    if (!s->closed && s->id > 0) {
        if (!s->aborted && !(s->in_end && s->out_done))
            h2_stream_reset(s, code);
        if (!s->closed)
            nghttp2_session_set_stream_user_data(h->session, s->id, NULL);
    }
    if (s->in.n > s->in_at && !h->broken) {
        nghttp2_session_consume(h->session, s->id, s->in.n - s->in_at);
        h2_flush(h);
    }
    list_remove(&s->link);
    h->n_streams--;
    buf_done(&s->in);
}

int h2_stream_error(const struct h2_stream *s)
{
    if (s->aborted)
        return -ECONNABORTED;
    return s->closed && !(s->in_end && s->error == NGHTTP2_NO_ERROR) ? -EPIPE : 0;
}

static ssize_t take_input(struct h2_stream *s, void *p, size_t n)
{
    size_t take = MIN(n, s->in.n - s->in_at);
    memcpy(p, s->in.p + s->in_at, take);
    s->in_at += take;
    if (s->in_at == s->in.n) {
        s->in_at = 0;
        buf_clear(&s->in);
    }
    if (!s->h2->broken) {
        nghttp2_session_consume(s->h2->session, s->id, take);
        if (nghttp2_session_want_write(s->h2->session))
            h2_flush(s->h2);
    }
    return (ssize_t)take;
}

ssize_t h2_stream_read(struct h2_stream *s, void *p, size_t n, struct mono deadline)
{
    for (;;) {
        if (s->aborted)
            return -ECONNABORTED;
        if (s->in.n > s->in_at)
            return take_input(s, p, n);
        if (s->in_end)
            return 0;
        if (s->closed)
            return -EPIPE;
        int r = waitq_wait(&s->q, deadline);
        if (r < 0)
            return r;
    }
}

/* nghttp2 asks how many bytes of a stream's body the next frame has. */
static ssize_t provide(nghttp2_session *session, int32_t id, uint8_t *p UNUSED, size_t n, uint32_t *flags,
                       nghttp2_data_source *source, void *user)
{
    struct h2_stream *s = stream_at(session, id);
    if (!s || s->aborted)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t take = MIN(n, s->out.n);
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY; /* on_send_data takes them */
    if (take < s->out.n || (!s->out_end && take))
        return (ssize_t)take;
    if (!s->out_end) {
        s->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    s->out_done = true;
    waitq_wake_all(&s->q);
    if (s->trailers && s->trailers->n) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        size_t count = MIN(s->trailers->n, (size_t)64);
        nghttp2_nv nv[64];
        for (size_t i = 0; i < count; i++)
            nv[i] = h2_nv(s->trailers->items[i].name, s->trailers->items[i].value);
        nghttp2_submit_trailer(session, id, nv, count);
    }
    return (ssize_t)take;
}

nghttp2_data_provider h2_provider(struct h2_stream *s)
{
    return (nghttp2_data_provider){.source.ptr = s, .read_callback = provide};
}

nghttp2_nv h2_nv(struct str name, struct str value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.p, (uint8_t *)(uintptr_t)value.p, name.n, value.n,
                        NGHTTP2_NV_FLAG_NONE};
}

int h2_stream_write(struct h2_stream *s, struct str piece, bool end, struct mono deadline)
{
    if (s->closed || s->aborted)
        return -EPIPE;
    if (s->out_end)
        return -EINVAL;
    s->out = piece;
    s->out_end = end;
    if (s->deferred) {
        s->deferred = false;
        nghttp2_session_resume_data(s->h2->session, s->id);
    }
    h2_flush(s->h2);
    size_t left = SIZE_MAX;
    struct mono stall = {0};
    while (!s->closed && !s->aborted && (s->out.n || (end && !s->out_done))) {
        if (s->out.n < left) {
            left = s->out.n;
            stall = mono_add(os_mono(), s->h2->write_timeout);
        }
        int r = waitq_wait(&s->q, mono_min(deadline, stall));
        if (r < 0) {
            s->out = STR_NULL; /* the piece is the caller's again */
            return r;
        }
    }
    return s->out_done || !(s->closed || s->aborted) ? 0 : -EPIPE;
}
