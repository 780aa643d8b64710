/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Discovery: aggregated (two requests) where the server has it, else one request a group version. Kinds that are
 * compiled in keep their tables, so that typed work goes on with them.
 */
#include "cli/discovery.h"

#include "cli/request.h"
#include "names.h"

#define AGGREGATED                                                                                           \
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"                                  \
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"

static const char *const *texts(struct cli *c, const struct val *list)
{
    const char **out = ARENA_ARRAY(&c->a, const char *, val_len(list) + 1);
    size_t n = 0;
    VAL_EACH(list, v)
    {
        out[n++] = val_cstr(v);
    }
    return out;
}

struct found {
    struct discovery *d;
    size_t cap, cap_groups;
};

static void add_kind(struct cli *c, struct found *f, struct kind *k)
{
    struct discovery *d = f->d;
    k->res = resource_find(k->group, k->version, k->plural);
    k->type = k->res ? k->res->type : NULL;
    kind_finish(c, k);
    if (d->n == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 128;
        d->kinds = xrealloc(d->kinds, f->cap * sizeof(*d->kinds));
    }
    d->kinds[d->n++] = k;
}

static struct discovery_group *add_group(struct cli *c, struct found *f, struct str group, size_t max_versions)
{
    struct discovery *d = f->d;
    if (d->n_groups == f->cap_groups) {
        f->cap_groups = f->cap_groups ? 2 * f->cap_groups : 32;
        d->groups = xrealloc(d->groups, f->cap_groups * sizeof(*d->groups));
    }
    struct discovery_group *g = &d->groups[d->n_groups++];
    *g = (struct discovery_group){.group = group, .versions = ARENA_ARRAY(&c->a, struct str, max_versions + 1)};
    return g;
}

/* ---- aggregated --------------------------------------------------------------------------------------------- */

static void take_aggregated_version(struct cli *c, struct found *f, struct str group, const struct val *version)
{
    VAL_EACH(val_get(version, N_resources), v)
    {
        if (!val_getstr(v, N_resource).n || !val_len(val_get(v, N_verbs)))
            continue;
        struct kind *k = ARENA_NEW(&c->a, struct kind);
        *k = (struct kind){.group = group,
                           .version = val_getstr(version, N_version),
                           .plural = val_getstr(v, N_resource),
                           .singular = val_getstr(v, N_singularResource),
                           .kind = val_str(val_at(v, N_responseKind, N_kind)),
                           .short_names = texts(c, val_get(v, N_shortNames)),
                           .categories = texts(c, val_get(v, N_categories)),
                           .verbs = texts(c, val_get(v, N_verbs)),
                           .namespaced = str_is(val_getstr(v, N_scope), "Namespaced")};
        add_kind(c, f, k);
    }
}

static void take_aggregated(struct cli *c, struct found *f, const struct val *list)
{
    VAL_EACH(val_get(list, N_items), item)
    {
        const struct val *versions = val_get(item, N_versions);
        struct str group = val_str(val_at(item, N_metadata, N_name));
        struct discovery_group *g = add_group(c, f, group, val_len(versions));
        VAL_EACH(versions, v)
        {
            g->versions[g->n_versions++] = val_getstr(v, N_version);
            take_aggregated_version(c, f, group, v);
        }
    }
}

/* ---- one by one --------------------------------------------------------------------------------------------- */

static void take_resource_list(struct cli *c, struct found *f, struct str group, struct str version, const struct val *list)
{
    VAL_EACH(val_get(list, N_resources), v)
    {
        if (str_find(val_getstr(v, N_name), '/') >= 0)
            continue;
        struct kind *k = ARENA_NEW(&c->a, struct kind);
        *k = (struct kind){.group = group,
                           .version = version,
                           .plural = val_getstr(v, N_name),
                           .singular = val_getstr(v, N_singularName),
                           .kind = val_getstr(v, N_kind),
                           .short_names = texts(c, val_get(v, N_shortNames)),
                           .categories = texts(c, val_get(v, N_categories)),
                           .verbs = texts(c, val_get(v, N_verbs)),
                           .namespaced = val_bool(val_get(v, N_namespaced), false)};
        add_kind(c, f, k);
    }
}

static void ask_version(struct cli *c, struct found *f, struct str group, struct str version)
{
    struct status s;
    struct val *v = NULL;
    struct request r = {.path = group.n ? cli_printf(c, "/apis/" STR_FMT "/" STR_FMT, STR_ARG(group), STR_ARG(version))
                                        : cli_printf(c, "/api/" STR_FMT, STR_ARG(version))};
    if (request_value(c, &r, &v, &s) == 0)
        take_resource_list(c, f, group, version, v);
}

static void take_group_list(struct cli *c, struct found *f, const struct val *list)
{
    VAL_EACH(val_get(list, N_groups), item)
    {
        const struct val *versions = val_get(item, N_versions);
        struct str preferred = val_str(val_at(item, N_preferredVersion, N_version)), name = val_getstr(item, N_name);
        struct discovery_group *g = add_group(c, f, name, val_len(versions) + 1);
        if (preferred.n)
            g->versions[g->n_versions++] = preferred;
        VAL_EACH(versions, v)
        {
            if (!str_eq(val_getstr(v, N_version), preferred))
                g->versions[g->n_versions++] = val_getstr(v, N_version);
        }
        for (size_t i = 0; i < g->n_versions; i++)
            ask_version(c, f, name, g->versions[i]);
    }
}

static void take_core_versions(struct cli *c, struct found *f, const struct val *versions)
{
    struct discovery_group *g = add_group(c, f, STR(""), val_len(versions));
    VAL_EACH(versions, v)
    {
        g->versions[g->n_versions++] = val_str(v);
        ask_version(c, f, STR(""), val_str(v));
    }
}

static int ask(struct cli *c, struct found *f, const char *path)
{
    struct status s;
    struct val *v = NULL;
    struct request r = {.path = str_of(path), .accept = AGGREGATED};
    int code = request_value(c, &r, &v, &s);
    if (code) {
        f->d->code = code;
        f->d->refused = s;
        return code;
    }
    struct str kind = val_getstr(v, N_kind);
    if (str_is(kind, "APIGroupDiscoveryList"))
        take_aggregated(c, f, v);
    else if (str_is(kind, "APIGroupList"))
        take_group_list(c, f, v);
    else if (str_is(kind, "APIVersions"))
        take_core_versions(c, f, val_get(v, N_versions));
    return 0;
}

const struct discovery *discover(struct cli *c)
{
    if (c->discovery)
        return c->discovery;
    c->discovery = ARENA_NEW(&c->a, struct discovery);
    struct found f = {.d = c->discovery};
    if (ask(c, &f, "/api") == 0)
        ask(c, &f, "/apis");
    return c->discovery;
}
