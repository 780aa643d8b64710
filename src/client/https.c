/* SPDX-License-Identifier: Apache-2.0 */
#include "client/https.h"

#include "auth/crypto.h"
#include "base/fiber.h"
#include "base/os.h"
#include "names.h"
#include "net/url.h"
#include "type/meta.h"
#include "types.h"
#include "wire/json.h"

#include <stdio.h>

enum {
    MAX_ANSWER = 1 << 30,
    PAGE = 500, /* objects of one list page, as upstream's reflectors */
    WATCH_SECONDS =
        300,         /* a watch ends after that long to twice that: a dead connection is no watch for ever */
    BUSY_TRIES = 10, /* of a call that the server asks to come back with later */
    BUSY_SECONDS_MAX = 60,
};

struct https {
    struct client base;
    struct arena arena; /* the configuration's texts */
    struct https_config config;
    struct http_client *pool;
    bool shared_pool;      /* it is another client's */
    struct buf own_token;  /* set by https_client_set_token; goes before the configuration's */
    struct buf file_token; /* what the token file held at file_read */
    struct mono file_read;
    bool no_watch_list; /* the server cannot send the present state in a watch (KEP-3157) */
};

/* What a list found, to be handed out as if it had been watched. */
struct listed {
    struct object **objects; /* the last is the bookmark */
    size_t n, next;
};

struct https_watch {
    struct client_watch base;
    const struct resource *res;
    struct http_call *call;
    struct listed listed;
    struct buf pending; /* bytes of events not yet whole */
    size_t scanned;     /* bytes of pending known to hold no line end */
};

static const struct client_ops https_ops;

bool client_is_https(const struct client *c)
{
    return c->ops == &https_ops;
}

static struct https *https_of(struct client *c)
{
    ASSERT(client_is_https(c));
    return CONTAINER_OF(c, struct https, base);
}

/* ---- URLs and headers -------------------------------------------------------------------------------- */

struct http_client *https_pool(struct client *c)
{
    return https_of(c)->pool;
}

const char *https_url(struct client *c, struct arena *a, const char *path)
{
    struct str server = https_of(c)->config.server;
    while (str_ends(server, STR("/")))
        server.n--;
    return arena_printf(a, STR_FMT "%s", STR_ARG(server), path).p;
}

static struct str bearer_token(struct https *h)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str text;
    if (h->own_token.n)
        return buf_str(&h->own_token);
    if (!h->config.token_file.n)
        return h->config.token;
    struct mono now = os_mono();
    if ((!h->file_token.n || now.ns - h->file_read.ns > SECONDS(60)) &&
        os_read_file(&a, h->config.token_file.p, 1 << 20, &text) == 0) {
        buf_clear(&h->file_token);
        buf_putstr(&h->file_token, str_trim(text));
        h->file_read = now;
    }
    return buf_str(&h->file_token);
}

static void add_header(struct http_header *list, size_t *n, const char *name, struct str value)
{
    if (value.n)
        list[(*n)++] = (struct http_header){str_of(name), value};
}

static struct str basic_auth(struct https *h, struct arena *a)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (!h->config.username.n)
        return STR_NULL;
    buf_puts(&b, "Basic ");
    base64_put(
        &b, arena_printf(a, STR_FMT ":" STR_FMT, STR_ARG(h->config.username), STR_ARG(h->config.password)));
    return arena_str(a, buf_str(&b));
}

size_t https_headers(struct client *c, struct arena *a, struct http_header **ret)
{
    struct https *h = https_of(c);
    struct http_header *list = ARENA_ARRAY(a, struct http_header, 5 + h->config.n_as_groups);
    size_t n = 0;
    struct str token = bearer_token(h);
    add_header(list, &n, "User-Agent", str_of(c->name));
    add_header(list, &n, "Authorization",
               token.n ? arena_printf(a, "Bearer " STR_FMT, STR_ARG(token)) : basic_auth(h, a));
    add_header(list, &n, "Impersonate-User", h->config.as_user);
    add_header(list, &n, "Impersonate-Uid", h->config.as_uid);
    for (size_t i = 0; i < h->config.n_as_groups; i++)
        add_header(list, &n, "Impersonate-Group", h->config.as_groups[i]);
    *ret = list;
    return n;
}

int https_raw(struct client *c, const struct https_raw *r, struct mono deadline, struct http_call **ret,
              struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct http_header *own;
    size_t n = https_headers(c, &a, &own);
    struct http_header *all = ARENA_ARRAY(&a, struct http_header, n + r->n_headers + 2);
    memcpy(all, own, n * sizeof(*all));
    add_header(all, &n, "Accept", str_of(r->accept ? r->accept : "application/json"));
    if (r->body.n)
        add_header(all, &n, "Content-Type", str_of(r->content_type ? r->content_type : "application/json"));
    for (size_t i = 0; i < r->n_headers; i++)
        all[n++] = r->headers[i];
    struct http_request request = {.method = r->method,
                                   .url = https_url(c, &a, r->path),
                                   .headers = all,
                                   .n_headers = n,
                                   .body = r->body};
    return http_do(https_pool(c), &request, deadline, ret, e);
}

/* ---- the path of a call ------------------------------------------------------------------------------ */

static void put_segment(struct buf *b, struct str s)
{
    buf_putc(b, '/');
    url_encode_segment(b, s);
}

static void put_path(struct buf *b, const struct call *call)
{
    const struct resource *r = call->res;
    if (r->group[0])
        buf_printf(b, "/apis/%s/%s", r->group, r->version);
    else
        buf_printf(b, "/api/%s", r->version);
    if (r->namespaced && call->ns.n) {
        buf_puts(b, "/namespaces");
        put_segment(b, call->ns);
    }
    buf_printf(b, "/%s", r->name);
    if (call->name.n)
        put_segment(b, call->name);
    if (call->subresource)
        buf_printf(b, "/%s", call->subresource);
}

static void put_query(struct buf *b, const char *key, struct str value)
{
    if (value.n)
        query_add(b, key, value);
}

static void put_number(struct buf *b, const char *key, int64_t value)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "%lld", (long long)value);
    put_query(b, key, str_n(text, (size_t)n));
}

static void put_options(struct buf *b, struct client *c, uint16_t verb, const struct call *call)
{
    bool writes = verb & (VERB_CREATE | VERB_UPDATE | VERB_PATCH);
    if (call->dry_run && (writes || (verb & (VERB_DELETE | VERB_DELETECOLLECTION))))
        put_query(b, "dryRun", STR("All"));
    if (writes)
        put_query(b, "fieldManager", str_of(call->field_manager ? call->field_manager : c->name));
    if (verb == VERB_PATCH && call->force)
        put_query(b, "force", STR("true"));
    if (verb & (VERB_LIST | VERB_WATCH | VERB_DELETECOLLECTION)) {
        put_query(b, "labelSelector", call->label_selector);
        put_query(b, "fieldSelector", call->field_selector);
        if (call->limit)
            put_number(b, "limit", call->limit);
        put_query(b, "continue", call->continue_token);
        if (call->query.n)
            buf_printf(b, "%s" STR_FMT, b->n ? "&" : "", STR_ARG(call->query));
    }
}

/* ---- calls ------------------------------------------------------------------------------------------- */

static const char *method_of(uint16_t verb)
{
    switch ((enum verb)verb) {
    case VERB_GET:
    case VERB_LIST:
    case VERB_WATCH:
        return "GET";
    case VERB_CREATE:
        return "POST";
    case VERB_UPDATE:
        return "PUT";
    case VERB_PATCH:
        return "PATCH";
    case VERB_DELETE:
    case VERB_DELETECOLLECTION:
        return "DELETE";
    }
    return "GET";
}

static const char *patch_type(enum patch_kind kind)
{
    static const char *const types_of[] = {"application/json-patch+json", "application/merge-patch+json",
                                           "application/strategic-merge-patch+json",
                                           "application/apply-patch+yaml"};
    return types_of[kind];
}

static struct val *delete_options(struct arena *a, const struct call *call)
{
    struct val *v = val_new(a, VAL_OBJ);
    val_set_str(a, v, N_kind, STR("DeleteOptions"));
    val_set_str(a, v, N_apiVersion, STR("v1"));
    if (call->grace_seconds >= 0)
        val_set_int(a, v, N_gracePeriodSeconds, call->grace_seconds);
    if (call->propagation)
        val_set_str(a, v, N_propagationPolicy, str_of(call->propagation));
    if (call->uid.n || call->resource_version.n) {
        struct val *p = val_sub_obj(a, v, N_preconditions);
        if (call->uid.n)
            val_set_str(a, p, N_uid, call->uid);
        if (call->resource_version.n)
            val_set_str(a, p, N_resourceVersion, call->resource_version);
    }
    if (call->dry_run)
        val_add_str(a, val_sub_list(a, v, N_dryRun), STR("All"));
    return v;
}

static const struct type *body_type(const struct call *call)
{
    const struct subresource *s =
        call->subresource ? resource_subresource(call->res, str_of(call->subresource)) : NULL;
    return s && s->type ? s->type : call->res->type;
}

static struct str encode_body(struct arena *a, const struct call *call, uint16_t verb, const struct val *body,
                              struct str patch)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (verb == VERB_PATCH)
        return patch;
    if (verb == VERB_DELETE || verb == VERB_DELETECOLLECTION)
        json_encode(&b, &types[T_meta_v1_DeleteOptions], delete_options(a, call), 0);
    else if (body)
        json_encode(&b, body_type(call), body, 0);
    return arena_str(a, buf_str(&b));
}

/* The answer of a server that refused: its Status, or what can be told from the code. Returns the code. */
static int refused(int code, struct str body, struct status *s)
{
    struct val *v = NULL;
    if (json_decode(s->arena, &types[T_meta_v1_Status], body, 0, NULL, &v, NULL) == 0 &&
        str_is(val_getstr(v, N_kind), "Status")) {
        status_from_val(s, v);
        s->code = s->code ? s->code : code;
        return s->code;
    }
    return status_set(s, code, NULL, "the server answered %d: " STR_FMT, code, (int)MIN(body.n, (size_t)300),
                      body.p ? body.p : "");
}

/* The object's own type: lists, subresources' kinds and Status differ from the resource's. */
static const struct type *answer_type(const struct call *call, uint16_t verb, struct str kind)
{
    if (str_is(kind, "Status"))
        return &types[T_meta_v1_Status];
    if (verb == VERB_LIST || verb == VERB_DELETECOLLECTION)
        return call->res->list_type;
    return body_type(call);
}

static int decode_answer(const struct call *call, uint16_t verb, struct str body, struct arena *a,
                         const struct val **ret, struct status *s)
{
    struct err e = {0};
    struct str version, kind;
    struct val *v = NULL;
    int r = json_type_meta(a, body, &version, &kind, &e);
    if (r == 0)
        r = json_decode(a, answer_type(call, verb, kind), body, 0, NULL, &v, &e);
    if (r < 0)
        return status_set(s, 500, NULL, "the server's answer cannot be read: %s", err_text(&e, r)), -EBADMSG;
    if (ret)
        *ret = v;
    return 0;
}

static struct mono deadline_of(const struct https *h)
{
    return h->config.timeout_ns ? mono_add(os_mono(), h->config.timeout_ns) : MONO_NEVER;
}

static int lost(struct status *s, int r, const struct err *e)
{
    status_set(s, 503, NULL, "%s", err_text(e, r));
    return r;
}

/* Seconds the server asks to wait before the same is tried again; 0: it does not. */
static int64_t asked_to_wait(const struct http_call *http)
{
    int64_t seconds;
    if (http->status != 429 && http->status < 500)
        return 0;
    if (str_to_i64(http_header(&http->headers, "retry-after"), &seconds) < 0 || seconds < 0)
        return 0;
    return MIN(MAX(seconds, (int64_t)1), (int64_t)BUSY_SECONDS_MAX);
}

/* As https_raw, with the patience that a busy server asks for (API priority and fairness). */
static int ask(struct client *c, const struct https_raw *raw, struct mono deadline, struct http_call **ret,
               struct err *e)
{
    for (int i = 0;; i++) {
        int r = https_raw(c, raw, deadline, ret, e);
        int64_t wait = r == 0 ? asked_to_wait(*ret) : 0;
        if (!wait || i == BUSY_TRIES || os_mono().ns + SECONDS(wait) > deadline.ns)
            return r;
        http_call_free(TAKE_PTR(*ret));
        r = fiber_sleep(SECONDS(wait));
        if (r < 0)
            return r;
    }
}

static int https_call(struct client *c, uint16_t verb, const struct call *call, const struct val *body,
                      enum patch_kind kind, struct str patch, struct arena *a, const struct val **ret,
                      struct status *s)
{
    struct https *h = https_of(c);
    struct buf path CLEANUP_BUF = BUF_INIT, query CLEANUP_BUF = BUF_INIT;
    struct arena own CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    struct http_call *http = NULL;
    struct str answer = STR_NULL;
    put_path(&path, call);
    put_options(&query, c, verb, call);
    if (query.n)
        buf_printf(&path, "?%s", query.p);
    struct https_raw raw = {.method = method_of(verb),
                            .path = path.p,
                            .body = encode_body(&own, call, verb, body, patch),
                            .content_type = verb == VERB_PATCH ? patch_type(kind) : NULL};
    struct mono deadline = deadline_of(h);
    int r = ask(c, &raw, deadline, &http, &e);
    if (r == 0)
        r = http_call_read_all(http, MAX_ANSWER, deadline, &answer);
    if (r < 0)
        r = lost(s, r, &e);
    else if (http->status >= 400)
        r = refused(http->status, answer, s);
    else
        r = decode_answer(call, verb, answer, a, ret, s);
    http_call_free(http);
    return r;
}

/* ---- watches ----------------------------------------------------------------------------------------- */

static void put_watch(struct buf *path, struct client *c, const struct call *call, int64_t revision)
{
    struct buf query CLEANUP_BUF = BUF_INIT;
    put_path(path, call);
    put_query(&query, "watch", STR("true"));
    put_query(&query, "allowWatchBookmarks", STR("true"));
    put_options(&query, c, VERB_WATCH, call);
    put_number(&query, "timeoutSeconds", WATCH_SECONDS + (int64_t)os_random_below(WATCH_SECONDS));
    if (revision)
        put_number(&query, "resourceVersion", revision);
    else
        buf_puts(&query, "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
    buf_printf(path, "?%s", query.p);
}

/* Asks for the stream: 0 with its call, the server's refusal in s, or -errno. */
static int open_stream(struct client *c, const struct call *call, int64_t revision, struct http_call **ret,
                       struct status *s)
{
    struct buf path CLEANUP_BUF = BUF_INIT;
    struct err e = {0};
    struct http_call *http = NULL;
    put_watch(&path, c, call, revision);
    int r = ask(c, &(struct https_raw){.path = path.p}, MONO_NEVER, &http, &e);
    if (r < 0)
        return lost(s, r, &e);
    if (http->status < 400) {
        *ret = http;
        return 0;
    }
    struct str answer = STR_NULL;
    http_call_read_all(http, 1 << 20, mono_add(os_mono(), SECONDS(10)), &answer);
    r = refused(http->status, answer, s);
    http_call_free(http);
    return r;
}

/* ---- watches from a list, for servers that cannot send their state in a watch ------------------------ */

static void listed_done(struct listed *l)
{
    for (; l->next < l->n; l->next++)
        object_unref(l->objects[l->next]);
    free(l->objects);
    *l = (struct listed){0};
}

static void listed_add(struct listed *l, struct object *o)
{
    if ((l->n & (l->n - 1)) == 0)
        l->objects = xrealloc(l->objects, MAX(l->n * 2, (size_t)1) * sizeof(*l->objects));
    l->objects[l->n++] = o;
}

/* The table of types has no list of a custom kind. NULL when the item is none of its. */
static const struct val *typed_item(struct arena *a, const struct resource *res, const struct val *item)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct val *v = NULL;
    if (res->list_type)
        return item;
    json_encode(&b, NULL, item, 0);
    return json_decode(a, res->type, arena_str(a, buf_str(&b)), 0, NULL, &v, NULL) == 0 ? v : NULL;
}

static int list_page(struct client *c, struct call *call, struct arena *a, struct listed *l,
                     int64_t *ret_revision, struct status *s)
{
    const struct val *list = NULL;
    int r = https_call(c, VERB_LIST, call, NULL, PATCH_JSON, STR_NULL, a, &list, s);
    if (r)
        return r;
    VAL_EACH (val_get(list, N_items), item) {
        const struct val *v = typed_item(a, call->res, item);
        struct object *o = v ? object_new(call->res, v) : NULL;
        if (!o)
            return status_set(s, 500, NULL, "the server's answer cannot be read"), -EBADMSG;
        object_stamp(o, obj_revision(v));
        listed_add(l, o);
    }
    *ret_revision = obj_revision(list);
    call->continue_token = val_str(val_at(list, N_metadata, N_continue));
    return 0;
}

static int list_all(struct client *c, const struct call *from, struct listed *l, int64_t *ret_revision,
                    struct status *s)
{
    struct call call = *from;
    char token[8192];
    call.limit = PAGE;
    do {
        struct arena a = ARENA_INIT; /* of one page: the token is copied before it goes */
        int r = list_page(c, &call, &a, l, ret_revision, s);
        if (r == 0 && call.continue_token.n >= sizeof(token))
            r = status_internal(s, "the token to continue a list with is too long");
        if (r == 0 && call.continue_token.n) {
            memcpy(token, call.continue_token.p, call.continue_token.n);
            call.continue_token.p = token;
        }
        arena_done(&a);
        if (r)
            return r;
    } while (call.continue_token.n);
    listed_add(l, watch_bookmark(call.res, *ret_revision));
    return 0;
}

static int https_watch(struct client *c, const struct call *call, int64_t revision, struct client_watch **ret,
                       struct status *s)
{
    struct https *h = https_of(c);
    struct http_call *http = NULL;
    struct listed listed = {0};
    int r = 0;
    if (revision || !h->no_watch_list) {
        r = open_stream(c, call, revision, &http, s);
        h->no_watch_list |= !revision && (r == 422 || r == 400);
    }
    if (!revision && h->no_watch_list) {
        status_init(s, s->arena);
        r = list_all(c, call, &listed, &revision, s);
        if (r == 0)
            r = open_stream(c, call, revision, &http, s);
    }
    if (r) {
        listed_done(&listed);
        return r;
    }
    struct https_watch *w = NEW(struct https_watch);
    w->base.ops = c->ops;
    w->res = call->res;
    w->call = http;
    w->listed = listed;
    *ret = &w->base;
    return 0;
}

/* The next whole line of the stream, consumed by the caller. */
static int next_line(struct https_watch *w, struct mono deadline, struct str *ret)
{
    for (;;) {
        struct str unseen = str_from(buf_str(&w->pending), w->scanned);
        ssize_t end = str_find(unseen, '\n');
        if (end >= 0) {
            *ret = str_n(w->pending.p, w->scanned + (size_t)end);
            return 0;
        }
        w->scanned = w->pending.n;
        ssize_t n = http_call_read(w->call, buf_grow(&w->pending, 16384), 16384, deadline);
        if (n == 0)
            return -EPIPE;
        if (n < 0)
            return (int)n;
        w->pending.n += (size_t)n;
    }
}

static const struct {
    const char *text;
    enum watch_event_kind kind;
} event_kinds[] = {{"ADDED", WATCH_ADDED},
                   {"MODIFIED", WATCH_MODIFIED},
                   {"DELETED", WATCH_DELETED},
                   {"BOOKMARK", WATCH_BOOKMARK}};

static int decode_event(struct https_watch *w, struct str line, struct watch_event *ret, struct status *s)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    struct val *event = NULL, *v = NULL;
    int r = json_decode(&a, &types[T_meta_v1_WatchEvent], line, 0, NULL, &event, &e);
    struct str kind = val_getstr(event, N_type), object = val_getstr(event, N_object);
    if (r == 0 && str_is(kind, "ERROR"))
        return refused(500, object, s);
    if (r == 0)
        r = json_decode(&a, w->res->type, object, 0, NULL, &v, &e);
    if (r < 0)
        return lost(s, -EBADMSG, &e);
    for (size_t i = 0; i < ARRAY_SIZE(event_kinds); i++) {
        if (!str_is(kind, event_kinds[i].text))
            continue;
        int64_t revision = obj_revision(v);
        ret->kind = event_kinds[i].kind;
        ret->object = ret->kind == WATCH_BOOKMARK ? watch_bookmark(w->res, revision) : object_new(w->res, v);
        if (ret->kind != WATCH_BOOKMARK)
            object_stamp(ret->object, revision);
        return 0;
    }
    return status_set(s, 500, NULL, "unknown watch event \"" STR_FMT "\"", STR_ARG(kind)), -EBADMSG;
}

static int https_watch_next(struct client_watch *base, struct mono deadline, struct watch_event *ret,
                            struct status *s)
{
    struct https_watch *w = CONTAINER_OF(base, struct https_watch, base);
    struct listed *l = &w->listed;
    struct str line;
    if (l->next < l->n) {
        bool last = l->next + 1 == l->n;
        *ret = (struct watch_event){last ? WATCH_BOOKMARK : WATCH_ADDED, l->objects[l->next++]};
        return 0;
    }
    int r = next_line(w, deadline, &line);
    if (r < 0)
        return r == -ETIMEDOUT || r == -ECANCELED ? r : -EPIPE;
    r = decode_event(w, line, ret, s);
    buf_consume(&w->pending, line.n + 1);
    w->scanned = 0;
    return r;
}

static void https_watch_close(struct client_watch *base)
{
    struct https_watch *w = CONTAINER_OF(base, struct https_watch, base);
    http_call_free(w->call);
    buf_done(&w->pending);
    listed_done(&w->listed);
    free(w);
}

/* ---- making ------------------------------------------------------------------------------------------ */

static void https_free(struct client *c)
{
    struct https *h = https_of(c);
    if (!h->shared_pool)
        http_client_free(h->pool);
    buf_done(&h->own_token);
    buf_done(&h->file_token);
    arena_done(&h->arena);
    free(h);
}

static const struct client_ops https_ops = {
    .call = https_call,
    .watch = https_watch,
    .watch_next = https_watch_next,
    .watch_close = https_watch_close,
    .free = https_free,
};

static void copy_config(struct https *h, const struct https_config *c)
{
    struct https_config *to = &h->config;
    *to = *c;
    struct str *texts[] = {&to->server,      &to->ca_pem,     &to->cert_pem, &to->key_pem,
                           &to->token,       &to->token_file, &to->username, &to->password,
                           &to->server_name, &to->as_user,    &to->as_uid};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (texts[i]->n)
            *texts[i] = arena_str(&h->arena, *texts[i]);
    struct str *groups = ARENA_ARRAY(&h->arena, struct str, c->n_as_groups);
    for (size_t i = 0; i < c->n_as_groups; i++)
        groups[i] = arena_str(&h->arena, c->as_groups[i]);
    to->as_groups = groups;
}

int https_client_new(const struct https_config *config, struct client **ret, struct err *e)
{
    struct tls_client_config tls = {
        .ca = config->ca_pem, .insecure = config->insecure, .key = {config->cert_pem, config->key_pem}};
    struct tls_client *t = NULL;
    struct url u;
    if (url_parse(config->server, &u) < 0 || !u.host.n)
        return err_set(e, -EINVAL, "server address \"" STR_FMT "\": expected https://HOST:PORT",
                       STR_ARG(config->server));
    int r = tls_client_new(&tls, &t, e);
    if (r < 0)
        return r;
    struct https *h = NEW(struct https);
    h->base = (struct client){&https_ops, config->user_agent ? config->user_agent : "cube"};
    copy_config(h, config);
    struct http_client_config pool = {
        .tls = t, .server_name = h->config.server_name.n ? h->config.server_name.p : NULL};
    h->pool = http_client_new(&pool);
    tls_client_unref(t);
    *ret = &h->base;
    return 0;
}

/* ---- as somebody else -------------------------------------------------------------------------------- */

void https_client_set_token(struct client *c, struct str token)
{
    struct https *h = https_of(c);
    buf_clear(&h->own_token);
    buf_putstr(&h->own_token, token);
}

static struct client *share_pool(struct https *other, const char *name)
{
    struct https *h = NEW(struct https);
    h->base = (struct client){&https_ops, name};
    copy_config(h, &other->config);
    h->pool = other->pool;
    h->shared_pool = true;
    return &h->base;
}

int https_client_as(struct client *other, struct str token, const char *name, struct client **ret,
                    struct err *e)
{
    struct https *from = https_of(other);
    if (from->own_token.n) {
        *ret = share_pool(from, name);
    } else {
        struct https_config config = {.server = from->config.server,
                                      .ca_pem = from->config.ca_pem,
                                      .server_name = from->config.server_name,
                                      .insecure = from->config.insecure,
                                      .timeout_ns = from->config.timeout_ns,
                                      .user_agent = name};
        int r = https_client_new(&config, ret, e);
        if (r < 0)
            return r;
    }
    https_client_set_token(*ret, token);
    return 0;
}
