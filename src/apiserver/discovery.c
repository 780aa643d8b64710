/* SPDX-License-Identifier: Apache-2.0 */
/* /api and /apis: the old documents, one a group version, and the aggregated one (KEP-3352) with an ETag. All
 * are made of resources[]. */
#include "apiserver/bootstrap.h"
#include "apiserver/pages.h"

#include <stdio.h>

#include "apiserver/aggregate.h"
#include "apiserver/custom.h"
#include "apiserver/state.h"
#include "auth/crypto.h"
#include "base/base64.h"
#include "names.h"
#include "resources.h"
#include "types.h"
#include "wire/json.h"

#define AGGREGATED "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

static const struct {
    uint16_t bit;
    const char *name;
} verb_names[] = {
    {VERB_CREATE, "create"}, {VERB_DELETE, "delete"}, {VERB_DELETECOLLECTION, "deletecollection"},
    {VERB_GET, "get"},       {VERB_LIST, "list"},     {VERB_PATCH, "patch"},
    {VERB_UPDATE, "update"}, {VERB_WATCH, "watch"},
};

static void set_verbs(struct arena *a, struct val *v, uint16_t verbs)
{
    struct val *list = val_sub_list(a, v, N_verbs);
    for (size_t i = 0; i < ARRAY_SIZE(verb_names); i++)
        if (verbs & verb_names[i].bit)
            val_add_str(a, list, str_of(verb_names[i].name));
}

static void set_names(struct arena *a, struct val *v, name_id name, const char *const *texts)
{
    for (size_t i = 0; texts && texts[i]; i++)
        val_add_str(a, val_sub_list(a, v, name), str_of(texts[i]));
}

static void set_kind(struct arena *a, struct val *v, const char *kind, const char *api_version)
{
    val_set_str(a, v, N_kind, str_of(kind));
    val_set_str(a, v, N_apiVersion, str_of(api_version));
}

/* ---- APIResourceList --------------------------------------------------------------------------------- */

static void list_resource(struct arena *a, struct val *list, const struct resource *res)
{
    struct val *v = val_add_obj(a, list);
    val_set_str(a, v, N_name, str_of(res->name));
    val_set_str(a, v, N_singularName, str_of(res->singular));
    val_set_bool(a, v, N_namespaced, res->namespaced);
    val_set_str(a, v, N_kind, str_of(res->kind));
    set_verbs(a, v, res->verbs);
    set_names(a, v, N_shortNames, res->short_names);
    set_names(a, v, N_categories, res->categories);
    if (res->stored) {
        CLEANUP_BUF struct buf b = BUF_INIT;
        uint8_t hash[32];
        const struct resource *kept = stored_resource(res);
        bool definitions = kept->index == RES_CUSTOMRESOURCEDEFINITIONS; /* upstream still stores them so */
        sha256(arena_printf(a, "%s/%s/%s", kept->group, definitions ? "v1beta1" : kept->version, kept->kind), hash);
        base64_put(&b, str_n((const char *)hash, 8));
        val_set_str(a, v, N_storageVersionHash, buf_str(&b));
    }
    for (unsigned i = 0; i < res->n_subresources; i++) {
        const struct subresource *s = &res->subresources[i];
        v = val_add_obj(a, list);
        val_set_str(a, v, N_name, arena_printf(a, "%s/%s", res->name, s->name));
        val_set_str(a, v, N_singularName, STR(""));
        val_set_bool(a, v, N_namespaced, res->namespaced);
        val_set_str(a, v, N_kind, str_of(s->kind));
        if (strcmp(s->group, res->group) != 0 || strcmp(s->version, res->version) != 0) {
            val_set_str(a, v, N_group, str_of(s->group));
            val_set_str(a, v, N_version, str_of(s->version));
        }
        set_verbs(a, v, s->verbs);
    }
}

static int serve_resources(struct request *r, struct str group, struct str version)
{
    struct val *v = val_new(r->arena, VAL_OBJ);
    if (!str_is(r->info.verb, "get"))
        return page_not_allowed(r);
    set_kind(r->arena, v, "APIResourceList", "v1");
    if (!group.n)
        val_del(v, N_apiVersion);
    val_set_str(r->arena, v, N_groupVersion,
                arena_printf(r->arena, "%.*s%s%.*s", STR_ARG(group), group.n ? "/" : "", STR_ARG(version)));
    struct val *list = val_sub_list(r->arena, v, N_resources);
    size_t n;
    struct group_version g = {.group = arena_cstr(r->arena, group), .version = arena_cstr(r->arena, version)};
    const struct resource **served = served_resources(r->server, r->arena, &g, &n);
    for (size_t i = 0; i < n; i++)
        list_resource(r->arena, list, served[i]);
    if (!list->n) /* the group is there: upstream answers in kind, not in plain text */
        return status_set(&r->status, 404, "NotFound", "the server could not find the requested resource");
    answer_value(r, 200, &types[T_meta_v1_APIResourceList], v);
    return 0;
}

/* ---- APIGroup and its list --------------------------------------------------------------------------- */

static struct val *version_of(struct arena *a, const struct served_version *g)
{
    struct val *v = val_new(a, VAL_OBJ);
    val_set_str(a, v, N_groupVersion,
                arena_printf(a, "%s%s%s", g->group, g->group[0] ? "/" : "", g->version));
    val_set_str(a, v, N_version, str_of(g->version));
    return v;
}

static struct val *group_of(struct arena *a, const struct served_version *list, size_t n, const char *group)
{
    struct val *v = val_new(a, VAL_OBJ);
    val_set_str(a, v, N_name, str_of(group));
    for (size_t i = 0; i < n; i++) {
        const struct served_version *g = &list[i];
        if (strcmp(g->group, group) != 0)
            continue;
        val_add(a, val_sub_list(a, v, N_versions), *version_of(a, g));
        if (!val_get(v, N_preferredVersion))
            val_set_ref(a, v, N_preferredVersion, version_of(a, g));
    }
    return v;
}

static int serve_groups(struct request *r)
{
    struct val *v = val_new(r->arena, VAL_OBJ);
    size_t n;
    const struct served_version *served = aggregate_versions(r->server, r->arena, &n);
    set_kind(r->arena, v, "APIGroupList", "v1");
    struct val *list = val_sub_list(r->arena, v, N_groups);
    for (size_t i = 0; i < n; i++)
        if (served[i].group[0] && served[i].first)
            val_add(r->arena, list, *group_of(r->arena, served, n, served[i].group));
    answer_value(r, 200, &types[T_meta_v1_APIGroupList], v);
    return 0;
}

static int serve_group(struct request *r, struct str group)
{
    size_t n;
    const struct served_version *served = aggregate_versions(r->server, r->arena, &n);
    for (size_t i = 0; group.n && i < n; i++) {
        if (!str_is(group, served[i].group))
            continue;
        struct val *v = group_of(r->arena, served, n, served[i].group);
        set_kind(r->arena, v, "APIGroup", "v1");
        answer_value(r, 200, &types[T_meta_v1_APIGroup], v);
        break;
    }
    return 0;
}

static int serve_versions(struct request *r)
{
    struct val *v = val_new(r->arena, VAL_OBJ);
    val_set_str(r->arena, v, N_kind, STR("APIVersions"));
    val_add_str(r->arena, val_sub_list(r->arena, v, N_versions), STR("v1"));
    struct val *address = val_add_obj(r->arena, val_sub_list(r->arena, v, N_serverAddressByClientCIDRs));
    val_set_str(r->arena, address, N_clientCIDR, STR("0.0.0.0/0"));
    const char *advertised = r->server->config.advertise;
    int port = advertised ? bootstrap_port(r->server) : 0;
    val_set_str(r->arena, address, N_serverAddress, port ? arena_printf(r->arena, strchr(advertised, ':') ? "[%s]:%d" : "%s:%d", advertised, port) : r->x->host);
    answer_value(r, 200, &types[T_meta_v1_APIVersions], v);
    return 0;
}

/* ---- aggregated -------------------------------------------------------------------------------------- */

static struct val *kind_of(struct arena *a, const char *group, const char *version, const char *kind)
{
    struct val *v = val_new(a, VAL_OBJ);
    val_set_str(a, v, N_group, str_of(group));
    val_set_str(a, v, N_version, str_of(version));
    val_set_str(a, v, N_kind, str_of(kind));
    return v;
}

static void discover_resource(struct arena *a, struct val *list, const struct resource *res)
{
    struct val *v = val_add_obj(a, list);
    val_set_str(a, v, N_resource, str_of(res->name));
    val_set_ref(a, v, N_responseKind, kind_of(a, res->group, res->version, res->kind));
    val_set_str(a, v, N_scope, res->namespaced ? STR("Namespaced") : STR("Cluster"));
    val_set_str(a, v, N_singularResource, str_of(res->singular));
    set_verbs(a, v, res->verbs);
    set_names(a, v, N_shortNames, res->short_names);
    set_names(a, v, N_categories, res->categories);
    for (unsigned i = 0; i < res->n_subresources; i++) {
        const struct subresource *s = &res->subresources[i];
        struct val *sub = val_add_obj(a, val_sub_list(a, v, N_subresources));
        val_set_str(a, sub, N_subresource, str_of(s->name));
        val_set_ref(a, sub, N_responseKind, kind_of(a, s->group, s->version, s->kind));
        set_verbs(a, sub, s->verbs);
    }
}

static void discover_own(const struct apiserver *s, struct arena *a, struct val *v, const struct group_version *g)
{
    size_t n;
    const struct resource **served = served_resources(s, a, g, &n);
    struct val *list = val_sub_list(a, v, N_resources);
    for (size_t j = 0; j < n; j++)
        discover_resource(a, list, served[j]);
    val_set_str(a, v, N_freshness, STR("Current"));
}

/* What its server said last; a version without resources as long as it said nothing. */
static void discover_extension(struct arena *a, struct val *v, const struct extension *x)
{
    const struct extension_documents *d = &x->documents;
    struct str text = arena_printf(a, "{\"version\":\"\",\"resources\":" STR_FMT "}", STR_ARG(d->resources));
    struct val *said = NULL;
    if (d->resources.n && json_decode(a, &types[T_apidiscovery_v2_APIVersionDiscovery], text, 0, NULL, &said, NULL) == 0)
        val_set_ref(a, v, N_resources, val_get(said, N_resources));
    val_set_str(a, v, N_freshness, d->current ? STR("Current") : STR("Stale"));
}

static void discover_version(const struct apiserver *s, struct arena *a, struct val *group, const struct served_version *g)
{
    struct val *v = val_add_obj(a, val_sub_list(a, group, N_versions));
    val_set_str(a, v, N_version, str_of(g->version));
    if (g->own)
        discover_own(s, a, v, g->own);
    else
        discover_extension(a, v, g->extension);
}

static struct val *discover(const struct apiserver *s, struct arena *a, bool core)
{
    struct val *v = val_new(a, VAL_OBJ);
    size_t n;
    const struct served_version *served = aggregate_versions(s, a, &n);
    set_kind(a, v, "APIGroupDiscoveryList", "apidiscovery.k8s.io/v2");
    val_sub_obj(a, v, N_metadata);
    struct val *items = val_sub_list(a, v, N_items);
    for (size_t i = 0; i < n; i++) {
        const char *name = served[i].group;
        if ((name[0] == '\0') != core || !served[i].first)
            continue;
        struct val *group = val_add_obj(a, items);
        struct val *meta = val_sub_obj(a, group, N_metadata);
        if (name[0])
            val_set_str(a, meta, N_name, str_of(name));
        for (size_t j = i; j < n; j++)
            if (strcmp(served[j].group, name) == 0)
                discover_version(s, a, group, &served[j]);
    }
    return v;
}

/* The text and its tag are made once. */
static struct str discovery_text(struct apiserver *s, bool core)
{
    struct str key = core ? STR("discovery/api") : STR("discovery/apis");
    struct str *text = map_get(&s->pages, key);
    if (!text) {
        CLEANUP_BUF struct buf b = BUF_INIT;
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        json_encode(&b, &types[T_apidiscovery_v2_APIGroupDiscoveryList], discover(s, &a, core), 0);
        text = ARENA_NEW(&s->pages_arena, struct str);
        *text = arena_str(&s->pages_arena, buf_str(&b));
        map_put(&s->pages, key, text);
    }
    return *text;
}

static bool wants_aggregated(const struct request *r)
{
    struct str accept = http_header(&r->x->headers, "accept"), clause;
    while (str_next(&accept, ',', &clause))
        if (str_contains(clause, STR("as=APIGroupDiscoveryList")) && str_contains(clause, STR("v=v2")) &&
            !str_contains(clause, STR("v=v2beta1")) && str_contains(clause, STR("application/json")))
            return true;
    return false;
}

static int serve_aggregated(struct request *r, bool core)
{
    char hex[65];
    struct str text = discovery_text(r->server, core);
    sha256_hex(text, hex);
    struct str tag = arena_printf(r->arena, "\"%.64s\"", hex);
    http_add_header(r->x, "ETag", tag);
    http_add_header(r->x, "Vary", STR("Accept"));
    struct str have = http_header(&r->x->headers, "if-none-match");
    if (have.n && str_contains(have, tag))
        answer_text(r, 304, NULL, STR(""));
    else
        answer_text(r, 200, AGGREGATED, text);
    return 0;
}

/* ---- the two trees ----------------------------------------------------------------------------------- */

static int serve_version(struct request *r, struct str group, struct str version)
{
    struct extension *x = aggregate_find(r->server, group, version);
    return x ? aggregate_proxy(r, x) : serve_resources(r, group, version);
}

int page_api(struct request *r)
{
    struct str rest = str_from(r->info.path, 5), version, more;
    if (!rest.n)
        return wants_aggregated(r) ? serve_aggregated(r, true) : serve_versions(r);
    str_cut(rest, '/', &version, &more);
    return more.n ? 0 : serve_version(r, STR(""), version);
}

int page_apis(struct request *r)
{
    struct str rest = str_from(r->info.path, 6), group, version, more;
    if (!rest.n)
        return wants_aggregated(r) ? serve_aggregated(r, false) : serve_groups(r);
    str_cut(rest, '/', &group, &rest);
    str_cut(rest, '/', &version, &more);
    if (more.n)
        return 0;
    return version.n ? serve_version(r, group, version) : serve_group(r, group);
}
