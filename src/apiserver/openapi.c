/* SPDX-License-Identifier: Apache-2.0 */
/* /openapi/v2, and /openapi/v3 with a document a group version (KEP-2896). The documents are large and clients keep
 * them by their hash: the server keeps the hash alone and makes the text again when somebody asks. */
#include "apiserver/pages.h"

#include "apiserver/state.h"
#include "auth/crypto.h"
#include "net/url.h"
#include "type/openapi.h"

enum { HASH_TEXT = 65 };

static void make_v3(const struct group_version *g, struct buf *b)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct openapi_group group = openapi_compiled_in(&a, g->group, g->version);
    openapi_v3(&group, NULL, NULL, b);
}

static void make_v2(struct buf *b)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct openapi_group *groups = ARENA_ARRAY(&a, struct openapi_group, n_group_versions);
    for (unsigned i = 0; i < n_group_versions; i++)
        groups[i] = openapi_compiled_in(&a, group_versions[i].group, group_versions[i].version);
    openapi_v2(groups, n_group_versions, NULL, NULL, b);
}

/* The hash of a document, kept under its path. */
static struct str hash_of(struct apiserver *s, const struct group_version *g, struct str path)
{
    struct str *hash = map_get(&s->pages, path);
    if (!hash) {
        CLEANUP_BUF struct buf b = BUF_INIT;
        char hex[HASH_TEXT];
        make_v3(g, &b);
        hash = ARENA_NEW(&s->pages_arena, struct str);
        *hash = arena_str(&s->pages_arena, str_of(sha256_hex(buf_str(&b), hex)));
        map_put(&s->pages, path, hash);
    }
    return *hash;
}

static struct str path_of(struct arena *a, const struct group_version *g)
{
    return g->group[0] ? arena_printf(a, "apis/%s/%s", g->group, g->version) : arena_printf(a, "api/%s", g->version);
}

static int serve_index(struct request *r)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    buf_puts(&b, "{\"paths\":{");
    for (unsigned i = 0; i < n_group_versions; i++) {
        struct str path = path_of(r->arena, &group_versions[i]);
        struct str hash = hash_of(r->server, &group_versions[i], path);
        buf_printf(&b, "%s\"%.*s\":{\"serverRelativeURL\":\"/openapi/v3/%.*s?hash=%.*s\"}", i ? "," : "", STR_ARG(path),
                   STR_ARG(path), STR_ARG(hash));
    }
    buf_puts(&b, "}}");
    answer_text(r, 200, "application/json", arena_str(r->arena, buf_str(&b)));
    return 0;
}

static int serve_document(struct request *r, const struct group_version *g, struct str path)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct str asked, hash = hash_of(r->server, g, path);
    bool named = query_get(r->arena, r->query, "hash", &asked);
    if (named && !str_eq(asked, hash)) {
        http_add_header(r->x, "Location", arena_printf(r->arena, "/openapi/v3/%.*s?hash=%.*s", STR_ARG(path), STR_ARG(hash)));
        answer_text(r, 301, NULL, STR(""));
        return 0;
    }
    make_v3(g, &b);
    http_add_header(r->x, "ETag", arena_printf(r->arena, "\"%.*s\"", STR_ARG(hash)));
    answer_text(r, 200, "application/json", arena_str(r->arena, buf_str(&b)));
    r->answer.forever = named;
    return 0;
}

int page_openapi_v3(struct request *r)
{
    struct str rest = str_from(r->info.path, sizeof("/openapi/v3/") - 1);
    if (!rest.n)
        return serve_index(r);
    for (unsigned i = 0; i < n_group_versions; i++)
        if (str_eq(rest, path_of(r->arena, &group_versions[i])))
            return serve_document(r, &group_versions[i], rest);
    return 0;
}

/* The protobuf form of v2 (gnostic) is not made. */
static bool accepts_json(struct str accept)
{
    return !str_trim(accept).n || str_contains(accept, STR("application/json")) || str_contains(accept, STR("*/*"));
}

int page_openapi_v2(struct request *r)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    if (!accepts_json(http_header(&r->x->headers, "accept")))
        return status_set(&r->status, 406, "NotAcceptable",
                          "only the following media types are accepted: application/json");
    make_v2(&b);
    answer_text(r, 200, "application/json", arena_str(r->arena, buf_str(&b)));
    return 0;
}
