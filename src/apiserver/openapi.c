/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /openapi/v3 (KEP-2896): an index of documents, one a group version, each with a hash in its address, so
 * that clients keep them; /openapi/v2: all in one. The whole takes milliseconds to make from the tables: only
 * the index is kept.
 */
#include "apiserver/pages.h"

#include "apiserver/aggregate.h"
#include "apiserver/custom.h"
#include "apiserver/state.h"
#include "auth/crypto.h"
#include "type/openapi.h"
#include "types.h"
#include "wire/json.h"

/* What v2 is served as: the second name is what clients ask by, the third what the answer says. */
static const char *const v2_media[] = {"application/json", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
                                       "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"};

static void answer_document(struct request *r, const char *media, struct str text, struct str hash)
{
    struct str tag = arena_printf(r->arena, "\"%.*s\"", STR_ARG(hash));
    http_add_header(r->x, "ETag", tag);
    http_add_header(r->x, "Vary", STR("Accept"));
    struct str have = http_header(&r->x->headers, "if-none-match");
    if (have.n && str_contains(have, tag))
        answer_text(r, 304, NULL, STR(""));
    else
        answer_text(r, 200, media, text);
}

static struct str hash_of(struct arena *a, struct str text)
{
    char hex[65];
    sha256_hex(text, hex);
    return arena_printf(a, "%s", hex);
}

/* "api/v1", "apis/apps/v1" */
static struct str path_of(struct arena *a, const struct served_version *g)
{
    return g->group[0] ? arena_printf(a, "apis/%s/%s", g->group, g->version)
                       : arena_printf(a, "api/%s", g->version);
}

/* arg: the arena. */
static struct str schema_of(void *arg, const struct resource *r)
{
    const struct custom_version *v = custom_version(r);
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (!v || !v->schema)
        return STR_NULL;
    json_encode(&b, &types[T_apiextensions_v1_JSONSchemaProps], v->schema, 0);
    return arena_str(arg, buf_str(&b));
}

static struct openapi_group group_of(const struct apiserver *s, struct arena *a, const struct group_version *g)
{
    struct openapi_group out = {.group = g->group, .version = g->version};
    out.resources = served_resources(s, a, g, &out.n);
    return out;
}

static void make_v3(const struct apiserver *s, const struct group_version *g, struct buf *b)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct openapi_group group = group_of(s, &a, g);
    openapi_v3(&group, schema_of, &a, b);
}

static void put_in_index(const struct apiserver *s, const struct served_version *g, struct arena *a, struct buf *b)
{
    struct buf text CLEANUP_BUF = BUF_INIT;
    struct str path = path_of(a, g), at;
    if (g->own) {
        make_v3(s, g->own, &text);
        at = arena_printf(a, "/openapi/v3/" STR_FMT "?hash=" STR_FMT, STR_ARG(path), STR_ARG(hash_of(a, buf_str(&text))));
    } else {
        at = g->extension->documents.openapi_v3;
    }
    if (!at.n)
        return;
    buf_printf(b, "%s\"" STR_FMT "\":{\"serverRelativeURL\":", b->p[b->n - 1] == '{' ? "" : ",", STR_ARG(path));
    json_encode_str(b, at, JSON_NO_HTML);
    buf_putc(b, '}');
}

static void make_index(const struct apiserver *s, struct buf *b)
{
    struct arena list CLEANUP_ARENA = ARENA_INIT;
    size_t n;
    const struct served_version *served = aggregate_versions(s, &list, &n);
    buf_puts(b, "{\"paths\":{");
    for (size_t i = 0; i < n; i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        put_in_index(s, &served[i], &a, b);
    }
    buf_puts(b, "}}");
}

static int serve_index(struct request *r)
{
    struct apiserver *s = r->server;
    struct str *text = map_get(&s->pages, STR("openapi/v3"));
    if (!text) {
        CLEANUP_BUF struct buf b = BUF_INIT;
        make_index(s, &b);
        text = ARENA_NEW(&s->pages_arena, struct str);
        *text = arena_str(&s->pages_arena, buf_str(&b));
        map_put(&s->pages, STR("openapi/v3"), text);
    }
    answer_document(r, "application/json", *text, hash_of(r->arena, *text));
    return 0;
}

int page_openapi_v3(struct request *r)
{
    struct str rest = str_from(r->info.path, sizeof("/openapi/v3/") - 1);
    if (!str_is(r->info.verb, "get"))
        return page_not_allowed(r);
    if (!rest.n)
        return serve_index(r);
    size_t n;
    const struct served_version *served = aggregate_versions(r->server, r->arena, &n);
    for (size_t i = 0; i < n; i++) {
        if (!str_eq(path_of(r->arena, &served[i]), rest))
            continue;
        if (served[i].extension)
            return aggregate_proxy(r, served[i].extension);
        CLEANUP_BUF struct buf b = BUF_INIT;
        make_v3(r->server, served[i].own, &b);
        answer_document(r, "application/json", arena_str(r->arena, buf_str(&b)), hash_of(r->arena, buf_str(&b)));
        return 0;
    }
    answer_text(r, 404, "text/plain; charset=utf-8", STR("404 page not found\n"));
    return 0;
}

/* Our own, and what extension servers say of theirs. */
static int make_v2(struct request *r, struct buf *ret, struct err *e)
{
    size_t n, n_own = 0, n_others = 0;
    const struct served_version *served = aggregate_versions(r->server, r->arena, &n);
    struct openapi_group *groups = ARENA_ARRAY(r->arena, struct openapi_group, n);
    struct str *others = ARENA_ARRAY(r->arena, struct str, n);
    for (size_t i = 0; i < n; i++) {
        if (served[i].own)
            groups[n_own++] = group_of(r->server, r->arena, served[i].own);
        else if (served[i].extension->documents.openapi_v2.n)
            others[n_others++] = served[i].extension->documents.openapi_v2;
    }
    if (!n_others) {
        openapi_v2(groups, n_own, schema_of, r->arena, ret);
        return 0;
    }
    struct buf own CLEANUP_BUF = BUF_INIT;
    openapi_v2(groups, n_own, schema_of, r->arena, &own);
    return documents_merge_v2(r->arena, buf_str(&own), others, n_others, ret, e);
}

int page_openapi_v2(struct request *r)
{
    CLEANUP_BUF struct buf b = BUF_INIT, proto = BUF_INIT;
    struct err e = {0};
    if (!str_is(r->info.verb, "get"))
        return page_not_allowed(r);
    int media = accept_best(http_header(&r->x->headers, "accept"), v2_media, ARRAY_SIZE(v2_media));
    if (media < 0)
        return status_set(&r->status, 406, "NotAcceptable", "OpenAPI v2 is served as %s and %s", v2_media[0], v2_media[2]);
    if (make_v2(r, &b, &e) < 0)
        return status_internal(&r->status, "%s", e.text);
    if (media > 0 && openapi_v2_proto(buf_str(&b), &proto, &e) < 0)
        return status_set(&r->status, 500, "InternalError", "%s", e.text);
    struct str text = arena_str(r->arena, buf_str(media > 0 ? &proto : &b));
    answer_document(r, v2_media[media > 0 ? 2 : 0], text, hash_of(r->arena, text));
    return 0;
}
