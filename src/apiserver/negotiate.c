/* SPDX-License-Identifier: Apache-2.0 */
/* In which form to answer: the Accept header with upstream's extensions (as=Table;g=meta.k8s.io;v=v1),
 * ?pretty. */
#include "apiserver/request.h"

#include "net/url.h"

static const struct {
    const char *name;
    enum media media;
} medias[] = {
    {"application/json", MEDIA_JSON},
    {"application/yaml", MEDIA_YAML},
    {"application/vnd.kubernetes.protobuf", MEDIA_PROTO},
    {"*/*", MEDIA_JSON},
};

const char *media_name(enum media m)
{
    for (size_t i = 0; i < ARRAY_SIZE(medias); i++)
        if (medias[i].media == m)
            return medias[i].name;
    return "application/json";
}

struct clause {
    enum media media;
    enum form form;
    bool stream;
    double q;
};

static bool is_name(struct str s, const char *name)
{
    return s.n == strlen(name) && !strncasecmp(s.p, name, s.n);
}

static double quality(struct str v)
{
    char text[16] = "";
    memcpy(text, v.p, MIN(v.n, sizeof(text) - 1));
    return strtod(text, NULL);
}

/* False when the clause asks for something that is not served. */
static bool parse_params(struct str rest, struct clause *c)
{
    struct str param, k, v, as = STR_NULL, g = STR_NULL, version = STR_NULL;
    while (str_next(&rest, ';', &param)) {
        str_cut(str_trim(param), '=', &k, &v);
        if (is_name(k, "q"))
            c->q = quality(v);
        else if (str_is(k, "as"))
            as = v;
        else if (str_is(k, "g"))
            g = v;
        else if (str_is(k, "v"))
            version = v;
        else if (str_is(k, "stream"))
            c->stream = str_is(v, "watch");
    }
    if (!as.n)
        return true;
    bool list = str_is(as, "PartialObjectMetadataList");
    c->form = str_is(as, "Table") ? FORM_TABLE : FORM_PARTIAL;
    if (c->form == FORM_PARTIAL && !list && !str_is(as, "PartialObjectMetadata"))
        return false;
    return str_is(g, "meta.k8s.io") && (str_is(version, "v1") || str_is(version, "v1beta1"));
}

static bool parse_clause(struct str text, struct clause *c)
{
    struct str name, rest;
    str_cut(text, ';', &name, &rest);
    if (!rest.n)
        rest = STR_NULL;
    name = str_trim(name);
    *c = (struct clause){.q = 1};
    for (size_t i = 0; i < ARRAY_SIZE(medias) && !c->media; i++)
        if (is_name(name, medias[i].name))
            c->media = medias[i].media;
    return c->media && parse_params(rest, c);
}

static bool accepts(struct str clause, const char *offered)
{
    return str_is(clause, "*/*") || str_is(clause, "application/*") || is_name(clause, offered);
}

int accept_best(struct str accept, const char *const *offered, size_t n)
{
    struct str text, name, rest;
    double best = 0;
    int found = accept.n || !n ? -1 : 0;
    while (str_next(&accept, ',', &text)) {
        struct clause c = {.q = 1};
        bool more = str_cut(text, ';', &name, &rest);
        if (more)
            parse_params(rest, &c);
        for (size_t i = 0; i < n && c.q > best; i++)
            if (accepts(str_trim(more ? name : text), offered[i])) {
                found = (int)i;
                best = c.q;
            }
    }
    return found;
}

/* Reviews and subresources with bodies of their own are no rows of a table. */
static bool has_table(const struct request *r)
{
    if (!r->res || !(r->res->verbs & (VERB_LIST | VERB_GET)))
        return !r->res;
    return !r->sub || r->sub->type == r->res->type || strcmp(r->sub->name, "scale") == 0;
}

/* Tables and custom resources have no protobuf. */
static bool form_fits(const struct request *r, const struct clause *c)
{
    if (c->form == FORM_TABLE && !has_table(r))
        return false;
    bool custom = r->res && r->res->type && r->res->type->flags & TYPE_OPEN && (!r->sub || r->sub->type == r->res->type);
    return c->media != MEDIA_PROTO || (c->form != FORM_TABLE && !(custom && c->form == FORM_OBJECT));
}

static bool best_clause(struct request *r, struct str accept, struct clause *ret)
{
    struct clause best = {.media = MEDIA_NONE}, c;
    struct str text;
    while (str_next(&accept, ',', &text))
        if (parse_clause(str_trim(text), &c) && form_fits(r, &c) && c.q > 0 && (!best.media || c.q > best.q))
            best = c;
    *ret = best;
    return best.media != MEDIA_NONE;
}

static int not_acceptable(struct request *r)
{
    struct str accept = http_header(&r->x->headers, "accept"), text;
    struct clause c;
    r->media = MEDIA_JSON; /* the refusal itself has every form */
    while (str_next(&accept, ',', &text))
        if (parse_clause(str_trim(text), &c) && c.form == FORM_OBJECT) {
            r->media = c.media;
            break;
        }
    return status_set(&r->status, 406, "NotAcceptable",
                      "only the following media types are accepted: application/json, application/yaml, "
                      "application/vnd.kubernetes.protobuf");
}

static int parse_include(struct request *r)
{
    struct str v;
    if (r->form != FORM_TABLE || !query_get(r->arena, r->query, "includeObject", &v) ||
        str_is(v, "Metadata") || !v.n)
        return 0;
    if (str_is(v, "None"))
        r->include = INCLUDE_NONE;
    else if (str_is(v, "Object"))
        r->include = INCLUDE_OBJECT;
    else
        return status_bad_request(&r->status, "unrecognized includeObject value: \"%.*s\"", STR_ARG(v));
    return 0;
}

/* Browsers and curl get indented text, as upstream has it. */
static bool wants_pretty(struct request *r)
{
    static const char *const people[] = {"curl", "Wget", "Mozilla/5.0"};
    struct str v;
    if (query_get(r->arena, r->query, "pretty", &v))
        return query_bool(r->arena, r->query, "pretty", false);
    struct str agent = http_header(&r->x->headers, "user-agent");
    for (size_t i = 0; i < ARRAY_SIZE(people); i++)
        if (str_starts(agent, str_of(people[i])))
            return true;
    return false;
}

int request_negotiate(struct request *r)
{
    struct str accept = http_header(&r->x->headers, "accept");
    r->opt.pretty = wants_pretty(r);
    if (!r->info.is_resource || r->extended)
        return 0;
    struct clause c = {.media = MEDIA_JSON};
    if (str_trim(accept).n && !best_clause(r, accept, &c))
        return request_long_running(r) && r->info.subresource.n ? 0 : not_acceptable(r);
    r->media = c.media;
    r->form = c.form;
    return parse_include(r);
}
