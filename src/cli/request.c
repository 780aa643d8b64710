/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/request.h"

#include "base/os.h"
#include "names.h"
#include "net/url.h"
#include "wire/yaml.h"

#include <stdio.h>

enum { MAX_ANSWER = 1 << 30, MAX_EVENT = 64 << 20 };

/* ---- paths and queries ------------------------------------------------------------------------------------ */

static void put_segment(struct buf *b, struct str s)
{
    buf_putc(b, '/');
    url_encode_segment(b, s);
}

struct str request_path(struct cli *c, const struct kind *k, struct str ns, struct str name, const char *sub)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_puts(&b, k->group.n ? "/apis" : "/api");
    if (k->group.n)
        put_segment(&b, k->group);
    put_segment(&b, k->version);
    if (k->namespaced && ns.n) {
        buf_puts(&b, "/namespaces");
        put_segment(&b, ns);
    }
    put_segment(&b, k->plural);
    if (name.n)
        put_segment(&b, name);
    if (sub && sub[0])
        buf_printf(&b, "/%s", sub);
    return arena_str(&c->a, buf_str(&b));
}

struct str query_with(struct cli *c, struct str query, const char *key, struct str value)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (!value.n)
        return query;
    buf_putstr(&b, query);
    query_add(&b, key, value);
    return arena_str(&c->a, buf_str(&b));
}

struct str query_write(struct cli *c, const char *manager, bool dry_run, const char *validation)
{
    struct str q = query_with(c, STR_NULL, "fieldManager", str_of(manager));
    q = query_with(c, q, "dryRun", dry_run ? STR("All") : STR_NULL);
    return query_with(c, q, "fieldValidation", str_of(validation));
}

struct str json_text(struct cli *c, const struct type *t, const struct val *v)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode(&b, t, v, 0);
    return arena_str(&c->a, buf_str(&b));
}

/* ---- refusals ------------------------------------------------------------------------------------------------- */

/* What client-go says for a code whose answer was no Status. */
static const struct generic {
    int code;
    const char *reason, *text;
} generics[] = {
    {400, "BadRequest", "the server rejected our request for an unknown reason"},
    {401, "Unauthorized", "the server has asked for the client to provide credentials"},
    {403, "Forbidden", "the server does not allow access to the requested resource"},
    {404, "NotFound", "the server could not find the requested resource"},
    {405, "MethodNotAllowed", "the server does not allow this method on the requested resource"},
    {406, "NotAcceptable", "the server was unable to respond with a content type that the client supports"},
    {409, "Conflict", "the server reported a conflict"},
    {415, "UnsupportedMediaType",
     "the body of the request was in an unknown format - accepted media types include: application/json"},
    {422, "Invalid", "the server rejected our request due to an error in our request"},
    {429, "TooManyRequests", "the server has received too many requests and has asked us to try again later"},
    {503, "ServiceUnavailable", "the server is currently unable to handle the request"},
    {504, "Timeout",
     "the server was unable to return a response in the time allotted, but may still be processing the request"},
};

static void generic_refusal(struct cli *c, const struct request *r, int code, struct str body, struct status *s)
{
    const char *text = "unknown", *reason = "";
    for (size_t i = 0; i < ARRAY_SIZE(generics); i++)
        if (generics[i].code == code)
            text = generics[i].text, reason = generics[i].reason;
    body = str_trim(body);
    if (code >= 500 && !reason[0]) {
        reason = "InternalError";
        text = cli_printf(c, "an error on the server (\"" STR_FMT "\") has prevented the request from succeeding",
                          STR_ARG(str_slice(body.n ? body : STR("unknown"), 0, 2048))).p;
    } else if (code == 403 && body.n) {
        text = arena_cstr(&c->a, str_slice(body, 0, 2048));
    }
    struct str about = r->kind ? cli_printf(c, " (%s " STR_FMT "%s" STR_FMT ")", r->verb ? r->verb : "get",
                                            STR_ARG(r->kind->qualified), r->name.n ? " " : "", STR_ARG(r->name))
                               : STR("");
    status_set(s, code, reason, "%s" STR_FMT, text, STR_ARG(about));
}

static int refused(struct cli *c, const struct request *r, int code, struct str body, struct status *s)
{
    struct val *v = NULL;
    struct str text = arena_str(&c->a, body);
    if (yaml_is_json(text) && json_decode(&c->a, NULL, text, 0, NULL, &v, NULL) == 0 &&
        str_is(val_getstr(v, N_kind), "Status")) {
        status_from_val(s, v);
        if (!s->code)
            s->code = code;
        return s->code;
    }
    generic_refusal(c, r, code, body, s);
    return code;
}

static int lost(struct cli *c, int r, const struct err *e, struct status *s)
{
    struct url u = {0};
    if (r == -ECONNREFUSED && url_parse(c->access.server, &u) == 0) {
        char port[16] = "";
        if (u.port)
            snprintf(port, sizeof(port), ":%u", u.port);
        s->message = cli_printf(c, "The connection to the server " STR_FMT "%s was refused - did you specify the right "
                                   "host or port?", STR_ARG(u.host), port);
    } else {
        s->message = cli_printf(c, "Unable to connect to the server: %s", err_text(e, r));
    }
    s->reason = "";
    return s->code = REQUEST_LOST;
}

/* Warning: 299 - "text" (RFC 7234 section 5.5), as API servers send it. */
static void take_warnings(struct cli *c, const struct http_headers *h)
{
    for (size_t i = 0; i < h->n; i++) {
        struct str v = h->items[i].value;
        if (!str_is(h->items[i].name, "warning") || !str_starts(v, STR("299 ")))
            continue;
        ssize_t open = str_find(v, '"'), close = str_rfind(v, '"');
        struct buf b CLEANUP_BUF = BUF_INIT;
        for (ssize_t k = open + 1; open >= 0 && k < close; k++) {
            if (v.p[k] == '\\' && k + 1 < close)
                k++;
            buf_putc(&b, v.p[k]);
        }
        cli_warn(c, buf_str(&b));
    }
}

static void trace(struct cli *c, const struct request *r, const char *path, int status, struct mono start)
{
    if (c->g.verbosity < 6)
        return;
    cli_note(c, "I %s " STR_FMT "%s -> %d in %lld milliseconds", r->method ? r->method : "GET", STR_ARG(c->access.server),
             path, status, (long long)((os_mono().ns - start.ns) / NSEC_PER_MSEC));
    if (c->g.verbosity >= 8 && r->body.n)
        cli_note(c, "I request body: " STR_FMT, STR_ARG(r->body));
}

int request_open(struct cli *c, const struct request *r, struct http_call **ret, struct status *s)
{
    struct err e = {0};
    struct http_call *call = NULL;
    status_init(s, &c->a);
    if (cli_client(c)) {
        s->message = STR("");
        s->reason = "";
        return s->code = REQUEST_LOST;
    }
    const char *path = r->query.n ? cli_printf(c, STR_FMT "?" STR_FMT, STR_ARG(r->path), STR_ARG(r->query)).p : r->path.p;
    struct https_raw raw = {.method = r->method, .path = path, .accept = r->accept, .content_type = r->content_type,
                            .body = r->body};
    struct mono start = os_mono(), deadline = cli_deadline(c);
    int code = https_raw(c->client, &raw, deadline, &call, &e);
    if (code < 0)
        return lost(c, code, &e, s);
    take_warnings(c, &call->headers);
    trace(c, r, path, call->status, start);
    if (call->status < 400) {
        *ret = call;
        return 0;
    }
    struct str body = STR_NULL;
    http_call_read_all(call, MAX_ANSWER, deadline, &body);
    code = refused(c, r, call->status, body, s);
    http_call_free(call);
    return code;
}

int request_text(struct cli *c, const struct request *r, struct str *ret, struct status *s)
{
    struct http_call *call;
    struct str body;
    int code = request_open(c, r, &call, s);
    if (code)
        return code;
    code = http_call_read_all(call, MAX_ANSWER, cli_deadline(c), &body);
    if (code < 0) {
        http_call_free(call);
        return lost(c, code, NULL, s);
    }
    *ret = body; /* in the call's arena, which is kept: the answer may be large */
    if (c->g.verbosity >= 8)
        cli_note(c, "I response body: " STR_FMT, STR_ARG(body));
    return 0;
}

int request_value(struct cli *c, const struct request *r, struct val **ret, struct status *s)
{
    struct str text;
    struct err e = {0};
    struct val *v = NULL;
    int code = request_text(c, r, &text, s);
    if (code)
        return code;
    if (json_decode(&c->a, r->type, text, 0, NULL, &v, &e) < 0) {
        s->message = cli_printf(c, "error: the server's answer cannot be read: %s", e.text);
        return s->code = REQUEST_LOST;
    }
    if (ret)
        *ret = v;
    return 0;
}

/* ---- the usual ones --------------------------------------------------------------------------------------------- */

int request_get(struct cli *c, const struct kind *k, struct str ns, struct str name, const char *sub, struct val **ret,
                struct status *s)
{
    struct request r = {.path = request_path(c, k, ns, name, sub), .kind = k, .verb = "get", .name = name};
    return request_value(c, &r, ret, s);
}

int request_list(struct cli *c, const struct kind *k, struct str ns, struct str query, struct val **ret,
                 struct status *s)
{
    struct request r = {.path = request_path(c, k, ns, STR_NULL, NULL), .query = query, .kind = k, .verb = "get"};
    return request_value(c, &r, ret, s);
}

int request_create(struct cli *c, const struct kind *k, struct str ns, struct str name, const char *sub,
                   struct str query, struct str body, struct val **ret, struct status *s)
{
    struct request r = {.method = "POST", .path = request_path(c, k, ns, name, sub), .query = query, .body = body,
                        .kind = k, .verb = "post", .name = name};
    return request_value(c, &r, ret, s);
}

int request_update(struct cli *c, const struct kind *k, struct str ns, struct str name, const char *sub,
                   struct str query, struct str body, struct val **ret, struct status *s)
{
    struct request r = {.method = "PUT", .path = request_path(c, k, ns, name, sub), .query = query, .body = body,
                        .kind = k, .verb = "put", .name = name};
    return request_value(c, &r, ret, s);
}

int request_patch(struct cli *c, const struct kind *k, struct str ns, struct str name, const char *sub, struct str query,
                  enum patch_kind how, struct str patch, struct val **ret, struct status *s)
{
    static const char *const media[] = {"application/json-patch+json", "application/merge-patch+json",
                                        "application/strategic-merge-patch+json", "application/apply-patch+yaml"};
    struct request r = {.method = "PATCH", .path = request_path(c, k, ns, name, sub), .query = query, .body = patch,
                        .content_type = media[how], .kind = k, .verb = "patch", .name = name};
    return request_value(c, &r, ret, s);
}

int request_delete(struct cli *c, const struct kind *k, struct str ns, struct str name, struct str options,
                   struct val **ret, struct status *s)
{
    struct request r = {.method = "DELETE", .path = request_path(c, k, ns, name, NULL), .body = options, .kind = k,
                        .verb = "delete", .name = name};
    return request_value(c, &r, ret, s);
}

/* ---- watching --------------------------------------------------------------------------------------------------- */

struct watching {
    struct http_call *call;
    struct buf pending;
    size_t scanned; /* bytes of pending that hold no line end */
};

int watch_open(struct cli *c, const struct kind *k, struct str ns, struct str query, struct str revision,
               const char *accept, struct watching **ret, struct status *s)
{
    query = query_with(c, query, "watch", STR("true"));
    query = query_with(c, query, "resourceVersion", revision);
    struct request r = {.path = request_path(c, k, ns, STR_NULL, NULL), .query = query, .accept = accept, .kind = k,
                        .verb = "watch"};
    struct http_call *call;
    int code = request_open(c, &r, &call, s);
    if (code)
        return code;
    struct watching *w = NEW(struct watching);
    w->call = call;
    *ret = w;
    return 0;
}

static int read_more(struct watching *w, struct mono deadline)
{
    enum { PIECE = 32 << 10 };
    if (w->pending.n > MAX_EVENT)
        return -EPIPE;
    ssize_t n = http_call_read(w->call, buf_grow(&w->pending, PIECE), PIECE, deadline);
    if (n == -ETIMEDOUT)
        return -ETIMEDOUT;
    if (n <= 0)
        return -EPIPE;
    w->pending.n += (size_t)n;
    return 0;
}

int watch_next(struct watching *w, struct arena *a, struct mono deadline, struct event *ret)
{
    for (;;) {
        const char *end = w->pending.n > w->scanned
                              ? memchr(w->pending.p + w->scanned, '\n', w->pending.n - w->scanned) : NULL;
        if (!end) {
            w->scanned = w->pending.n;
            int r = read_more(w, deadline);
            if (r < 0)
                return r;
            continue;
        }
        struct val *v = NULL;
        struct str line = arena_str(a, str_n(w->pending.p, (size_t)(end - w->pending.p)));
        buf_consume(&w->pending, line.n + 1);
        w->scanned = 0;
        if (!str_trim(line).n)
            continue;
        if (json_decode(a, NULL, line, 0, NULL, &v, NULL) < 0)
            return -EPIPE;
        const struct val *object = val_key(v, STR("object"));
        *ret = (struct event){val_str(val_key(v, STR("type"))), (struct val *)object};
        return 0;
    }
}

void watch_close(struct watching *w)
{
    if (!w)
        return;
    http_call_free(w->call);
    buf_done(&w->pending);
    free(w);
}
