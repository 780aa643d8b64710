/* SPDX-License-Identifier: Apache-2.0 */
/* Passing an exchange on to a backend. */
#include "net/http-internal.h"

enum { PIECE = 32768 };

struct proxying {
    struct http_exchange *x;
    const struct http_proxy *p;
    struct http_call *call;
    struct group fibers;
    bool has_body;
    bool filtered; /* the answer's body goes through p->response_piece */
};

/* ---- headers ------------------------------------------------------------------------------------------ */

/* RFC 9110 section 7.6.1: the fixed ones and those that Connection names. */
static bool is_hop(const struct http_headers *h, struct str name)
{
    char lower[64];
    if (http_is_hop_header(name))
        return true;
    if (name.n >= sizeof(lower))
        return false;
    memcpy(lower, name.p, name.n);
    lower[name.n] = '\0';
    return http_header_has(h, "connection", lower);
}

static const struct http_header *override_of(const struct http_proxy *p, struct str name)
{
    for (size_t i = 0; i < p->n_headers; i++)
        if (http_fold_eq(p->headers[i].name, name))
            return &p->headers[i];
    return NULL;
}

static void request_headers(const struct http_exchange *x, const struct http_proxy *p, struct arena *a,
                            struct http_fields *ret)
{
    for (size_t i = 0; i < x->headers.n; i++) {
        struct http_header h = x->headers.items[i];
        if (!is_hop(&x->headers, h.name) && !str_is(h.name, "host") && !override_of(p, h.name))
            http_fields_add(a, ret, h.name, h.value, false);
    }
    for (size_t i = 0; i < p->n_headers; i++)
        if (p->headers[i].value.n)
            http_fields_add(a, ret, p->headers[i].name, p->headers[i].value, false);
}

static void response_headers(struct http_exchange *x, const struct http_proxy *p,
                             const struct http_call *call, bool no_length)
{
    for (size_t i = 0; i < call->headers.n; i++) {
        struct http_header h = call->headers.items[i];
        if (is_hop(&call->headers, h.name) || str_is(h.name, "date") ||
            (no_length && str_is(h.name, "content-length")))
            continue;
        struct str value =
            p->response_header ? p->response_header(p->ctx, &x->arena, h.name, h.value) : h.value;
        if (value.p)
            http_add_header(x, arena_cstr(&x->arena, h.name), value);
    }
}

/* ---- bodies ------------------------------------------------------------------------------------------- */

/* Request body to the backend; then looks whether the client goes. */
static void forward_main(void *arg)
{
    struct proxying *px = arg;
    char *piece = px->has_body ? xmalloc(PIECE) : NULL;
    ssize_t n = 0;
    while (px->has_body && (n = http_read(px->x, piece, PIECE, MONO_NEVER)) > 0)
        if (http_call_write(px->call, str_n(piece, (size_t)n), MONO_NEVER) < 0)
            break; /* the backend may have answered already: its answer is what counts */
    free(piece);
    if (n < 0)
        http_call_abort(px->call);
    if (n != 0)
        return;
    if (px->has_body)
        http_call_end(px->call);
    if (http_wait_gone(px->x, MONO_NEVER) == 0)
        http_call_abort(px->call);
}

static int write_filtered(struct proxying *px, struct str piece, bool end)
{
    struct buf out CLEANUP_BUF = BUF_INIT;
    px->p->response_piece(px->p->ctx, piece, end, &out);
    return out.n ? http_write(px->x, buf_str(&out), MONO_NEVER) : 0;
}

static int write_piece(struct proxying *px, struct str piece)
{
    return px->filtered ? write_filtered(px, piece, false) : http_write(px->x, piece, MONO_NEVER);
}

static int copy_response(struct proxying *px)
{
    struct http_exchange *x = px->x;
    char *piece = xmalloc(PIECE);
    ssize_t n;
    int w = 0;
    while ((n = http_call_read(px->call, piece, PIECE, MONO_NEVER)) > 0 && w == 0)
        w = write_piece(px, str_n(piece, (size_t)n));
    if (n == 0 && w == 0 && px->filtered)
        w = write_filtered(px, STR(""), true);
    free(piece);
    if (n < 0 || w < 0) {
        http_abort(x);
        return 0; /* answered, though cut short */
    }
    for (size_t i = 0; i < px->call->trailers.n; i++)
        http_add_trailer(x, arena_cstr(&x->arena, px->call->trailers.items[i].name),
                         px->call->trailers.items[i].value);
    http_end(x);
    return 0;
}

static int answer(struct proxying *px)
{
    px->filtered = px->p->response_filter && !str_is(px->x->method, "HEAD") && px->p->response_filter(px->p->ctx, px->call);
    response_headers(px->x, px->p, px->call, px->filtered);
    int r = http_start(px->x, px->call->status, NULL, px->filtered ? -1 : px->call->content_length);
    return r < 0 ? 0 : copy_response(px);
}

static int proxy_plain(struct http_exchange *x, const struct http_proxy *p, const struct http_request *r,
                       struct err *e)
{
    struct proxying px = {.x = x, .p = p, .has_body = x->content_length != 0};
    int n = http_begin(p->client, r, MONO_NEVER, &px.call, e);
    if (n < 0)
        return n;
    group_spawn(&px.fibers, "http-proxy", forward_main, &px);
    n = http_call_wait(px.call, MONO_NEVER, e);
    if (n == 0)
        n = answer(&px);
    group_stop(&px.fibers);
    http_call_free(px.call);
    return n;
}

/* ---- upgrades ----------------------------------------------------------------------------------------- */

static int join(struct http_exchange *x, const struct http_proxy *p, struct http_call *call,
                struct stream *back)
{
    struct stream *front;
    struct str protocol = http_header(&call->headers, "upgrade");
    response_headers(x, p, call, true);
    int r = http_upgrade(x, arena_cstr(&x->arena, protocol), &front);
    if (r == 0) {
        stream_splice(front, back, 0);
        stream_free(front);
    }
    stream_free(back);
    return 0;
}

static int proxy_upgrade(struct http_exchange *x, const struct http_proxy *p, struct http_request *r,
                         struct err *e)
{
    struct http_call *call;
    struct stream *back;
    if (x->content_length != 0)
        return err_set(e, -EINVAL, "an upgrade with a body");
    struct str protocol = http_header(&x->headers, "upgrade");
    int n = http_client_upgrade(p->client, r, arena_cstr(&x->arena, protocol), MONO_NEVER, &call, &back, e);
    if (n < 0)
        return n;
    if (n == 0) {
        n = join(x, p, call, back);
    } else {
        struct proxying px = {.x = x, .p = p, .call = call};
        n = answer(&px);
    }
    http_call_free(call);
    return n;
}

int http_proxy(struct http_exchange *x, const struct http_proxy *p, struct err *e)
{
    struct http_fields fields = {0};
    request_headers(x, p, &x->arena, &fields);
    struct http_request r = {
        .method = arena_cstr(&x->arena, x->method),
        .url = p->url,
        .unix_socket = p->unix_socket,
        .peer_cn = p->peer_cn,
        .headers = fields.items,
        .n_headers = fields.n,
        .stream_body = x->content_length != 0,
        .content_length = x->content_length,
    };
    if (!p->no_upgrade && http_wants_upgrade(x, NULL)) {
        r.stream_body = false;
        return proxy_upgrade(x, p, &r, e);
    }
    return proxy_plain(x, p, &r, e);
}
