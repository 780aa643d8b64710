/* SPDX-License-Identifier: Apache-2.0 */
/* What a request is about, read from its method and path (upstream's RequestInfo, the names RBAC knows). */
#include "apiserver/aggregate.h"
#include "apiserver/custom.h"
#include "apiserver/state.h"
#include "apiserver/request.h"

#include "net/url.h"
#include "resources.h"
#include "type/selector.h"

enum { PARTS_MAX = 64 };

struct parts {
    struct str decoded[PARTS_MAX], raw[PARTS_MAX];
    size_t n;
};

static int split(struct arena *a, struct str path, struct parts *ret)
{
    struct str rest = path, part;
    while (str_next(&rest, '/', &part)) {
        if (!part.n)
            continue;
        if (ret->n == PARTS_MAX)
            return -E2BIG;
        if (url_decode(a, part, false, &ret->decoded[ret->n]) < 0)
            return -EINVAL;
        ret->raw[ret->n++] = part;
    }
    return 0;
}

static const struct {
    const char *method, *verb;
} methods[] = {
    {"POST", "create"}, {"GET", "get"},     {"HEAD", "get"},
    {"PUT", "update"},  {"PATCH", "patch"}, {"DELETE", "delete"},
};

static struct str verb_of_method(struct arena *a, struct str method, bool resource)
{
    for (size_t i = 0; resource && i < ARRAY_SIZE(methods); i++)
        if (str_is(method, methods[i].method))
            return str_of(methods[i].verb);
    char *s = arena_cstr(a, method);
    for (char *p = s; *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
    return resource ? STR("") : str_of(s);
}

/* A list of one name is authorised as that name: metadata.name=x in the field selector. */
struct str name_in_selector(struct arena *a, struct str text)
{
    struct selector s;
    if (!text.n || field_selector_parse(a, text, &s, NULL))
        return STR_NULL;
    for (size_t i = 0; i < s.n; i++)
        if (s.reqs[i].op == SEL_EQ && str_is(s.reqs[i].key, "metadata.name"))
            return s.reqs[i].values[0];
    return STR_NULL;
}

static void refine_verb(struct arena *a, struct str query, struct request_info *in)
{
    struct str text = STR_NULL;
    if (in->name.n)
        return;
    if (str_is(in->verb, "get"))
        in->verb = query_bool(a, query, "watch", false) ? STR("watch") : STR("list");
    else if (str_is(in->verb, "delete"))
        in->verb = STR("deletecollection");
    else if (!str_is(in->verb, "watch"))
        return;
    query_get(a, query, "fieldSelector", &text);
    in->name = name_in_selector(a, text);
}

/* parts[at...] is what follows the version. */
static void read_resource(struct arena *a, const struct parts *p, size_t at, struct str query,
                          struct request_info *in)
{
    if (at < p->n && str_is(p->decoded[at], "watch")) {
        in->verb = STR("watch");
        at++;
    }
    if (at < p->n && str_is(p->decoded[at], "namespaces")) {
        if (at + 1 < p->n)
            in->ns = p->decoded[at + 1];
        bool own_sub = at + 2 < p->n &&
                       (str_is(p->decoded[at + 2], "status") || str_is(p->decoded[at + 2], "finalize"));
        if (at + 2 < p->n && !own_sub)
            at += 2;
    }
    in->resource = at < p->n ? p->decoded[at] : STR_NULL;
    if (at + 1 < p->n)
        in->name = p->decoded[at + 1];
    if (at + 2 < p->n)
        in->subresource = p->decoded[at + 2];
    if (at + 3 < p->n)
        in->rest = str_n(p->raw[at + 3].p - 1,
                         (size_t)(p->raw[p->n - 1].p + p->raw[p->n - 1].n - p->raw[at + 3].p + 1));
    refine_verb(a, query, in);
}

int info_parse(struct arena *a, struct str method, struct str path, struct str query,
               struct request_info *ret)
{
    struct parts p = {.n = 0};
    struct request_info in = {.verb = verb_of_method(a, method, false), .ns = STR_NULL};
    int r = split(a, path, &p);
    if (r < 0 || url_decode(a, path, false, &in.path) < 0)
        return -EINVAL;
    size_t at = 0;
    if (p.n >= 3 && str_is(p.decoded[0], "api")) {
        in.version = p.decoded[1];
        at = 2;
    } else if (p.n >= 4 && str_is(p.decoded[0], "apis")) {
        in.group = p.decoded[1];
        in.version = p.decoded[2];
        at = 3;
    }
    if (at) {
        in.is_resource = true;
        in.verb = verb_of_method(a, method, true);
        read_resource(a, &p, at, query, &in);
        if (in.rest.n && path.p[path.n - 1] == '/')
            in.rest.n++;
    }
    *ret = in;
    return 0;
}

int request_parse(struct request *r)
{
    struct http_exchange *x = r->x;
    r->query = x->query;
    if (info_parse(r->arena, x->method, x->path, x->query, &r->info) < 0)
        return status_bad_request(&r->status, "the request path is not valid");
    if (!r->info.is_resource)
        return 0;
    if (aggregate_find(r->server, r->info.group, r->info.version)) {
        r->extended = true;
        return 0;
    }
    r->res = served_find(r->server, r->info.group, r->info.version, r->info.resource);
    const struct custom_version *custom = r->res ? custom_version(r->res) : NULL;
    if (custom && custom->warning.n)
        request_warn(r, custom->warning);
    if (r->res && r->res->index == RES_ENDPOINTS)
        request_warn(r, STR("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"));
    if (r->res && r->info.subresource.n)
        r->sub = resource_subresource(r->res, r->info.subresource);
    r->ns = r->res && !r->res->namespaced ? STR("") : r->info.ns;
    if (r->res && r->res->stored)
        r->kind = cache_kind(r->server->cache, r->res);
    return 0;
}
