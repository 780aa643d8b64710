/* SPDX-License-Identifier: Apache-2.0 */
#include "net/remotecommand.h"

#include "base/base64.h"
#include "base/fiber.h"
#include "net/spdy.h"
#include "net/url.h"
#include "net/websocket.h"
#include "wire/json.h"

#include <stdio.h>

enum {
    BUFFER_MAX = 1 << 20, /* of a channel, then the WebSocket is not read */
    OUTCOME_MAX = 1 << 20,
    CREATE_TIMEOUT = 30, /* seconds for a client to open its streams, as upstream */
    CLOSE_TIMEOUT = 5,   /* seconds for a peer to notice the end */
    CLOSE_CHANNEL = 255, /* v5.channel.k8s.io */
};

static const char *const channel_names[RC_CHANNELS] = {"stdin", "stdout", "stderr", "error", "resize"};

struct rc_protocol {
    const char *name;
    int version;
    bool base64;
};

/* Best first; "" is a client that names none. */
static const struct rc_protocol ws_protocols[] = {
    {"v5.channel.k8s.io", 5, false},       {"v4.channel.k8s.io", 4, false},
    {"v4.base64.channel.k8s.io", 4, true}, {"channel.k8s.io", 1, false},
    {"base64.channel.k8s.io", 1, true},    {"", 1, false},
};
static const char *const ws_names[] = {"v5.channel.k8s.io",
                                       "v4.channel.k8s.io",
                                       "v4.base64.channel.k8s.io",
                                       "channel.k8s.io",
                                       "base64.channel.k8s.io",
                                       "",
                                       NULL};
static const struct rc_protocol spdy_protocols[] = {
    {"v4.channel.k8s.io", 4, false},
    {"v3.channel.k8s.io", 3, false},
    {"v2.channel.k8s.io", 2, false},
    {"channel.k8s.io", 1, false},
};

/* What came in over a WebSocket for one channel. */
struct channel {
    struct buf in;
    size_t in_at;
    bool ended, sent_end;
    struct waitq q;
};

struct rc_session {
    const struct rc_protocol *protocol;
    struct rc_options options;
    bool server, broken;
    struct buf resize; /* text of sizes, not yet whole */
    /* one of the two carriers */
    struct websocket *ws;
    struct channel channels[RC_CHANNELS];
    struct group reader;
    struct waitq ended_q;
    bool reader_ended;
    struct spdy_conn *spdy;
    struct spdy_stream *streams[RC_CHANNELS];
};

/* ---- options ------------------------------------------------------------------------------------------ */

/* The API's name, and what the API server has always sent to kubelets. */
static bool flag(struct arena *a, struct str query, const char *name, const char *old)
{
    struct str v;
    if (!query_get(a, query, name, &v) && !query_get(a, query, old, &v))
        return false;
    return str_is(v, "1") || str_is(v, "true");
}

int rc_options_parse(struct arena *a, struct str query, struct rc_options *ret, struct err *e)
{
    struct rc_options o = {.stdin_ = flag(a, query, "stdin", "input"),
                           .stdout_ = flag(a, query, "stdout", "output"),
                           .stderr_ = flag(a, query, "stderr", "error"),
                           .tty = flag(a, query, "tty", "tty")};
    if (o.tty)
        o.stderr_ = false; /* a terminal has one output */
    if (!o.stdin_ && !o.stdout_ && !o.stderr_)
        return err_set(e, -EINVAL, "you must specify at least 1 of stdin, stdout, stderr");
    *ret = o;
    return 0;
}

static bool takes_part(const struct rc_options *o, int version, enum rc_channel ch)
{
    switch (ch) {
    case RC_STDIN:
        return o->stdin_;
    case RC_STDOUT:
        return o->stdout_;
    case RC_STDERR:
        return o->stderr_ && !o->tty;
    case RC_ERROR:
        return true;
    case RC_RESIZE:
        return o->tty && version >= 3;
    case RC_CHANNELS:
        break;
    }
    return false;
}

/* Does this side read that channel? */
static bool incoming(const struct rc_session *s, enum rc_channel ch)
{
    return (ch == RC_STDIN || ch == RC_RESIZE) == s->server;
}

static struct rc_session *session_new(const struct rc_options *o, bool server)
{
    struct rc_session *s = NEW(struct rc_session);
    s->options = *o;
    s->server = server;
    return s;
}

/* ---- WebSocket: taking messages apart ------------------------------------------------------------------ */

static void channel_end(struct channel *c)
{
    c->ended = true;
    waitq_wake_all(&c->q);
}

/* The channel of a message and what is in it (decoded into b if need be). False for what makes no sense. */
static bool open_message(const struct rc_session *s, const struct websocket_message *m, struct buf *b,
                         unsigned *ret_channel, struct str *ret_data)
{
    if (m->data.n == 0)
        return false;
    uint8_t first = (uint8_t)m->data.p[0];
    struct str rest = str_from(m->data, 1);
    if (!s->protocol->base64) {
        *ret_channel = first;
        *ret_data = rest;
        return true;
    }
    if (base64_take(b, rest) < 0)
        return false;
    *ret_channel = (unsigned)(first - '0');
    *ret_data = buf_str(b);
    return true;
}

static int channel_put(struct rc_session *s, struct channel *c, struct str data)
{
    while (c->in.n - c->in_at >= BUFFER_MAX && !s->broken) {
        int r = waitq_wait(&c->q, MONO_NEVER);
        if (r < 0)
            return r;
    }
    if (!c->ended)
        buf_put(&c->in, data.p, data.n);
    waitq_wake_all(&c->q);
    return 0;
}

static int on_message(struct rc_session *s, const struct websocket_message *m)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    unsigned ch;
    struct str data;
    if (!open_message(s, m, &b, &ch, &data))
        return 0;
    if (ch == CLOSE_CHANNEL && s->protocol->version >= 5) {
        unsigned which = data.n ? (uint8_t)data.p[0] : RC_CHANNELS;
        if (which < RC_CHANNELS && incoming(s, (enum rc_channel)which))
            channel_end(&s->channels[which]);
        return 0;
    }
    if (ch >= RC_CHANNELS || !incoming(s, (enum rc_channel)ch))
        return 0; /* upstream ignores data on channels it does not read */
    return channel_put(s, &s->channels[ch], data);
}

static void ws_reader(void *arg)
{
    struct rc_session *s = arg;
    struct websocket_message m;
    int r;
    do {
        r = websocket_read(s->ws, &m, MONO_NEVER);
        if (r == 0)
            r = on_message(s, &m);
    } while (r == 0);
    if (r != -ENODATA)
        s->broken = true;
    for (size_t i = 0; i < RC_CHANNELS; i++)
        channel_end(&s->channels[i]);
    s->reader_ended = true;
    waitq_wake_all(&s->ended_q);
}

static void start_ws(struct rc_session *s)
{
    for (size_t i = 0; i < ARRAY_SIZE(ws_protocols); i++)
        if (!strcmp(ws_protocols[i].name, websocket_protocol(s->ws)))
            s->protocol = &ws_protocols[i];
    group_spawn(&s->reader, "rc-read", ws_reader, s);
}

static ssize_t channel_read(struct rc_session *s, struct channel *c, void *p, size_t n, struct mono deadline)
{
    while (c->in.n == c->in_at) {
        if (c->ended)
            return s->broken ? -EPIPE : 0;
        int r = waitq_wait(&c->q, deadline);
        if (r < 0)
            return r;
    }
    size_t take = MIN(n, c->in.n - c->in_at);
    memcpy(p, c->in.p + c->in_at, take);
    c->in_at += take;
    if (c->in_at == c->in.n) {
        c->in_at = 0;
        buf_done(&c->in);
    }
    waitq_wake_all(&c->q);
    return (ssize_t)take;
}

static int ws_write(struct rc_session *s, enum rc_channel ch, struct str data, struct mono deadline)
{
    enum { MESSAGE = 32768 };
    struct buf b CLEANUP_BUF = BUF_INIT;
    do {
        struct str piece = str_slice(data, 0, MESSAGE);
        int r;
        if (s->protocol->base64) {
            buf_clear(&b);
            buf_putc(&b, (char)('0' + ch));
            base64_put(&b, piece);
            r = websocket_write(s->ws, WS_TEXT, buf_str(&b), deadline);
        } else {
            r = websocket_write_channel(s->ws, (uint8_t)ch, piece, deadline);
        }
        if (r < 0)
            return r;
        data = str_from(data, piece.n);
    } while (data.n);
    return 0;
}

/* ---- SPDY: one stream a channel ------------------------------------------------------------------------ */

/* The first protocol of the client's list that we know. A client that sends none speaks v1 (Kubernetes 1.0).
 */
static const struct rc_protocol *choose_spdy(const struct http_exchange *x)
{
    bool offered = false;
    for (size_t i = 0; i < x->headers.n; i++) {
        struct str rest = x->headers.items[i].value, item;
        if (!str_is(x->headers.items[i].name, "x-stream-protocol-version"))
            continue;
        while (str_next(&rest, ',', &item)) {
            offered = true;
            for (size_t j = 0; j < ARRAY_SIZE(spdy_protocols); j++)
                if (str_is(str_trim(item), spdy_protocols[j].name))
                    return &spdy_protocols[j];
        }
    }
    return offered ? NULL : &spdy_protocols[3];
}

static int find_channel(struct str name)
{
    for (int i = 0; i < RC_CHANNELS; i++)
        if (str_is(name, channel_names[i]))
            return i;
    return -1;
}

/* Until every stream that the options promise is there. */
static int accept_streams(struct rc_session *s, struct mono deadline)
{
    unsigned missing = 0;
    for (int i = 0; i < RC_CHANNELS; i++)
        missing += takes_part(&s->options, s->protocol->version, (enum rc_channel)i);
    while (missing) {
        struct spdy_stream *stream;
        int r = spdy_accept(s->spdy, deadline, &stream);
        if (r < 0)
            return r;
        int ch = find_channel(http_header(spdy_headers(stream), "streamtype"));
        if (ch < 0 || s->streams[ch]) {
            spdy_stream_free(stream); /* resets it */
            continue;
        }
        missing -= takes_part(&s->options, s->protocol->version, (enum rc_channel)ch);
        s->streams[ch] = stream;
        r = spdy_reply(stream, NULL, false);
        if (r < 0)
            return r;
    }
    return 0;
}

static int open_streams(struct rc_session *s, struct mono deadline)
{
    static const enum rc_channel order[] = {RC_ERROR, RC_STDIN, RC_STDOUT, RC_STDERR, RC_RESIZE};
    for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
        enum rc_channel ch = order[i];
        if (!takes_part(&s->options, s->protocol->version, ch))
            continue;
        struct http_header h = {STR("streamtype"), str_of(channel_names[ch])};
        int r = spdy_open(s->spdy, &(struct http_headers){&h, 1}, false, deadline, &s->streams[ch]);
        if (r == 0)
            r = spdy_wait_reply(s->streams[ch], deadline);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- server ------------------------------------------------------------------------------------------- */

static int accept_ws(struct http_exchange *x, struct rc_session *s, struct err *e)
{
    int r = websocket_accept(x, ws_names, &s->ws, e);
    if (r < 0)
        return r;
    start_ws(s);
    /* Upstream tells WebSocket clients so that the session stands. */
    return rc_write(s,
                    s->options.stdout_   ? RC_STDOUT
                    : s->options.stderr_ ? RC_STDERR
                                         : RC_ERROR,
                    STR_NULL, MONO_NEVER);
}

static int accept_spdy(struct http_exchange *x, struct rc_session *s, struct mono deadline, struct err *e)
{
    struct stream *stream;
    s->protocol = choose_spdy(x);
    if (!s->protocol) {
        for (size_t i = 0; i < ARRAY_SIZE(spdy_protocols); i++)
            http_add_header(x, "X-Accepted-Stream-Protocol-Versions", str_of(spdy_protocols[i].name));
        http_respond(x, 403, "text/plain", STR("unable to upgrade: no stream protocol version in common\n"));
        return err_set(e, -EPROTO, "no stream protocol version in common");
    }
    http_add_header(x, "X-Stream-Protocol-Version", str_of(s->protocol->name));
    int r = http_upgrade(x, "SPDY/3.1", &stream);
    if (r)
        return err_set(e, r < 0 ? r : -EPROTO, "the connection cannot be upgraded");
    s->spdy = spdy_new(stream, true);
    struct mono create = mono_add(os_mono(), SECONDS(CREATE_TIMEOUT));
    r = accept_streams(s, create.ns < deadline.ns ? create : deadline);
    return r < 0 ? err_set(e, r, "waiting for the client's streams: %s", strerror(-r)) : 0;
}

int rc_accept(struct http_exchange *x, const struct rc_options *o, struct mono deadline,
              struct rc_session **ret, struct err *e)
{
    bool ws = websocket_wanted(x);
    if (!ws && !http_wants_upgrade(x, "SPDY/3.1")) {
        http_respond(x, 400, "text/plain", STR("unable to upgrade: missing upgrade headers in request\n"));
        return err_set(e, -EPROTO, "neither a WebSocket nor a SPDY request");
    }
    struct rc_session *s = session_new(o, true);
    int r = ws ? accept_ws(x, s, e) : accept_spdy(x, s, deadline, e);
    if (r < 0) {
        rc_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

static void wait_for_peer(struct rc_session *s)
{
    struct mono deadline = mono_add(os_mono(), SECONDS(CLOSE_TIMEOUT));
    int r = 0;
    if (s->spdy)
        spdy_wait_gone(s->spdy, deadline);
    while (s->ws && !s->reader_ended && r == 0)
        r = waitq_wait(&s->ended_q, deadline);
}

int rc_finish(struct rc_session *s, struct str status_json, struct str text)
{
    struct str outcome = s->protocol->version >= 4 ? status_json : text;
    int r = outcome.n ? rc_write(s, RC_ERROR, outcome, MONO_NEVER) : 0;
    for (int i = 0; i < RC_CHANNELS; i++)
        rc_close_channel(s, (enum rc_channel)i);
    if (s->ws)
        websocket_close(s->ws, 1000, "", mono_add(os_mono(), SECONDS(CLOSE_TIMEOUT)));
    wait_for_peer(s);
    return r;
}

/* ---- client ------------------------------------------------------------------------------------------- */

enum { MAX_HEADERS = 64 };

static int connect_spdy(struct http_client *c, const struct http_request *r, struct rc_session *s,
                        struct mono deadline, struct http_call **ret_call, struct err *e)
{
    struct http_header headers[MAX_HEADERS + ARRAY_SIZE(spdy_protocols)];
    size_t n = MIN(r->n_headers, (size_t)MAX_HEADERS);
    if (n)
        memcpy(headers, r->headers, n * sizeof(*headers));
    for (size_t i = 0; i < ARRAY_SIZE(spdy_protocols); i++)
        headers[n++] = (struct http_header){STR("X-Stream-Protocol-Version"), str_of(spdy_protocols[i].name)};
    struct http_request request = *r;
    request.headers = headers;
    request.n_headers = n;
    struct stream *stream;
    int x = http_client_upgrade(c, &request, "SPDY/3.1", deadline, ret_call, &stream, e);
    if (x)
        return x;
    struct str chosen = http_header(&(*ret_call)->headers, "x-stream-protocol-version");
    s->protocol = &spdy_protocols[3];
    for (size_t i = 0; i < ARRAY_SIZE(spdy_protocols); i++)
        if (str_is(chosen, spdy_protocols[i].name))
            s->protocol = &spdy_protocols[i];
    s->spdy = spdy_new(stream, false);
    x = open_streams(s, deadline);
    if (x < 0) {
        http_call_free(TAKE_PTR(*ret_call));
        return err_set(e, x, "opening streams: %s", strerror(-x));
    }
    return 0;
}

static int connect_ws(struct http_client *c, const struct http_request *r, struct rc_session *s,
                      struct mono deadline, struct http_call **ret_call, struct err *e)
{
    static const char *const names[] = {"v5.channel.k8s.io", NULL};
    int x = websocket_connect(c, r, names, deadline, &s->ws, ret_call, e);
    if (x)
        return x;
    start_ws(s);
    return 0;
}

int rc_connect(struct http_client *c, const struct http_request *r, const struct rc_options *o,
               bool websocket, struct mono deadline, struct rc_session **ret, struct http_call **ret_call,
               struct err *e)
{
    struct rc_session *s = session_new(o, false);
    struct http_call *call = NULL;
    int x = websocket ? connect_ws(c, r, s, deadline, &call, e) : HTTP_NO_UPGRADE;
    if (x == -EPROTO || x == HTTP_NO_UPGRADE) { /* a server from before 1.29 */
        http_call_free(TAKE_PTR(call));
        struct http_request post = *r;
        if (websocket)
            post.method = "POST"; /* a WebSocket has to be a GET, the older way was always a POST */
        x = connect_spdy(c, &post, s, deadline, &call, e);
    }
    if (x >= 0)
        *ret_call = call;
    if (x) {
        rc_free(s);
        return x;
    }
    *ret = s;
    return 0;
}

int rc_read_outcome(struct rc_session *s, struct arena *a, struct str *ret, struct mono deadline)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (;;) {
        ssize_t n = rc_read(s, RC_ERROR, buf_grow(&b, 1024), 1024, deadline);
        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        b.n += (size_t)n;
        if (b.n > OUTCOME_MAX)
            return -EFBIG;
    }
    *ret = arena_str(a, buf_str(&b));
    return 0;
}

/* ---- both --------------------------------------------------------------------------------------------- */

const char *rc_protocol(const struct rc_session *s)
{
    return s->protocol->name;
}

ssize_t rc_read(struct rc_session *s, enum rc_channel ch, void *p, size_t n, struct mono deadline)
{
    if (!incoming(s, ch))
        return -EINVAL;
    if (s->ws) /* its old protocols have sizes, too */
        return takes_part(&s->options, 5, ch) ? channel_read(s, &s->channels[ch], p, n, deadline) : 0;
    return s->streams[ch] ? spdy_read(s->streams[ch], p, n, deadline) : 0;
}

int rc_write(struct rc_session *s, enum rc_channel ch, struct str data, struct mono deadline)
{
    if (incoming(s, ch))
        return -EINVAL;
    if (!takes_part(&s->options, s->ws ? 5 : s->protocol->version, ch))
        return 0;
    if (s->ws)
        return ws_write(s, ch, data, deadline);
    return s->streams[ch] ? spdy_write(s->streams[ch], data, deadline) : 0;
}

int rc_close_channel(struct rc_session *s, enum rc_channel ch)
{
    if (incoming(s, ch) || (s->ws && s->channels[ch].sent_end))
        return 0;
    s->channels[ch].sent_end = true;
    if (s->streams[ch])
        return spdy_close_write(s->streams[ch]);
    const char which = (char)ch;
    if (!s->ws || s->protocol->version < 5 || s->server) /* only clients announce it (KEP-4006) */
        return 0;
    return websocket_write_channel(s->ws, CLOSE_CHANNEL, str_n(&which, 1), MONO_NEVER);
}

/* The first whole {...} of the text so far; sizes are flat objects. */
static bool take_size(struct buf *b, uint16_t *ret_width, uint16_t *ret_height)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v;
    ssize_t end = str_find(buf_str(b), '}');
    if (end < 0)
        return false;
    bool ok = json_decode(&a, NULL, str_n(b->p, (size_t)end + 1), JSON_DECODE_DEFAULT, NULL, &v, NULL) == 0;
    if (ok) {
        *ret_width = (uint16_t)val_int(val_key(v, STR("Width")), 0);
        *ret_height = (uint16_t)val_int(val_key(v, STR("Height")), 0);
    }
    buf_consume(b, (size_t)end + 1);
    return ok;
}

int rc_read_resize(struct rc_session *s, uint16_t *ret_width, uint16_t *ret_height, struct mono deadline)
{
    enum { SIZE_TEXT_MAX = 4096 };
    while (!take_size(&s->resize, ret_width, ret_height)) {
        char p[256];
        if (str_find(buf_str(&s->resize), '}') >= 0)
            continue;
        if (s->resize.n > SIZE_TEXT_MAX)
            return -EPROTO;
        ssize_t n = rc_read(s, RC_RESIZE, p, sizeof(p), deadline);
        if (n <= 0)
            return n ? (int)n : -ENODATA;
        buf_put(&s->resize, p, (size_t)n);
    }
    return 0;
}

int rc_write_resize(struct rc_session *s, uint16_t width, uint16_t height, struct mono deadline)
{
    char text[64];
    int n = snprintf(text, sizeof(text), "{\"Width\":%u,\"Height\":%u}\n", width, height);
    return rc_write(s, RC_RESIZE, str_n(text, (size_t)n), deadline);
}

void rc_abort(struct rc_session *s)
{
    s->broken = true;
    if (s->ws)
        websocket_abort(s->ws);
    if (s->spdy)
        spdy_abort(s->spdy);
}

void rc_free(struct rc_session *s)
{
    if (!s)
        return;
    if (s->ws && !s->broken)
        websocket_close(s->ws, 1000, "", mono_add(os_mono(), SECONDS(CLOSE_TIMEOUT)));
    group_stop(&s->reader);
    websocket_free(s->ws);
    for (int i = 0; i < RC_CHANNELS; i++) {
        buf_done(&s->channels[i].in);
        spdy_stream_free(s->streams[i]);
    }
    if (s->spdy)
        spdy_goaway(s->spdy);
    spdy_free(s->spdy);
    buf_done(&s->resize);
    free(s);
}

/* ---- bridge ------------------------------------------------------------------------------------------- */

struct bridge {
    struct rc_session *client, *backend;
    unsigned backwards; /* channels from the backend that have not ended */
    struct waitq q;
};

struct lane {
    struct bridge *b;
    enum rc_channel ch;
};

static int carry(struct rc_session *from, struct rc_session *to, enum rc_channel ch)
{
    enum { PIECE = 32768 };
    char *p = xmalloc(PIECE);
    ssize_t n;
    int r = 0;
    while (r == 0 && (n = rc_read(from, ch, p, PIECE, MONO_NEVER)) > 0)
        r = rc_write(to, ch, str_n(p, (size_t)n), MONO_NEVER);
    free(p);
    if (r == 0 && n == 0)
        return rc_close_channel(to, ch);
    return r ? r : (int)n;
}

/* How it ended, in the words of the client's protocol: before v4 nothing when all is well, else a sentence. */
static int carry_outcome(struct rc_session *from, struct rc_session *to)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str outcome;
    struct val *v;
    if (to->protocol->version >= 4 || from->protocol->version < 4)
        return carry(from, to, RC_ERROR);
    int r = rc_read_outcome(from, &a, &outcome, MONO_NEVER);
    if (r < 0)
        return r;
    if (json_decode(&a, NULL, outcome, JSON_DECODE_DEFAULT, NULL, &v, NULL) == 0)
        outcome = str_is(val_str(val_key(v, STR("status"))), "Success") ? STR("") : val_str(val_key(v, STR("message")));
    if (outcome.n)
        r = rc_write(to, RC_ERROR, outcome, MONO_NEVER);
    return r ? r : rc_close_channel(to, RC_ERROR);
}

/* From the client. Its leaving ends the backend; the mere end of stdin does not. */
static void forward_lane(void *arg)
{
    struct lane *l = arg;
    int r = carry(l->b->client, l->b->backend, l->ch);
    if (r < 0 && r != -ECANCELED)
        rc_abort(l->b->backend);
}

static void backward_lane(void *arg)
{
    struct lane *l = arg;
    struct rc_session *from = l->b->backend, *to = l->b->client;
    if ((l->ch == RC_ERROR ? carry_outcome(from, to) : carry(from, to, l->ch)) == -EPIPE)
        rc_abort(l->b->backend);
    l->b->backwards--;
    waitq_wake_all(&l->b->q);
}

/* A client may also vanish while it sends nothing and gets nothing. */
static void watch_client(void *arg)
{
    struct bridge *b = arg;
    struct rc_session *s = b->client;
    int r = 0;
    if (s->spdy)
        r = spdy_wait_gone(s->spdy, MONO_NEVER);
    while (s->ws && !s->reader_ended && r == 0)
        r = waitq_wait(&s->ended_q, MONO_NEVER);
    if (r == 0)
        rc_abort(b->backend);
}

int rc_bridge(struct rc_session *client, struct rc_session *backend)
{
    struct bridge b = {.client = client, .backend = backend};
    struct lane lanes[RC_CHANNELS];
    struct group g = {0};
    int r = 0;
    for (int i = 0; i < RC_CHANNELS; i++) {
        lanes[i] = (struct lane){&b, (enum rc_channel)i};
        bool forward = i == RC_STDIN || i == RC_RESIZE;
        b.backwards += !forward;
        group_spawn(&g, "rc-bridge", forward ? forward_lane : backward_lane, &lanes[i]);
    }
    group_spawn(&g, "rc-watch", watch_client, &b);
    while (b.backwards && r == 0)
        r = waitq_wait(&b.q, MONO_NEVER);
    group_stop(&g);
    if (client->ws && r == 0)
        websocket_close(client->ws, 1000, "", mono_add(os_mono(), SECONDS(CLOSE_TIMEOUT)));
    if (r == 0)
        wait_for_peer(client);
    return r;
}
