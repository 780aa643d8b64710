/* SPDX-License-Identifier: Apache-2.0 */
/* What is served: compiled in and custom. */
#include "apiserver/custom-internal.h"

#include <stdio.h>

#include "apiserver/state.h"
#include "resources.h"

static bool is_served(const struct custom_version *v)
{
    return v->served && v->kind->cache;
}

/* ---- look-ups ------------------------------------------------------------------------------------------ */

const struct custom_version *custom_version(const struct resource *r)
{
    return r->index >= n_resources ? CONTAINER_OF(r, struct custom_version, res) : NULL;
}

const struct resource *custom_stored(const struct resource *r)
{
    const struct custom_version *v = custom_version(r);
    return v ? &v->kind->stored->res : r;
}

bool custom_terminating(const struct resource *r)
{
    const struct custom_version *v = custom_version(r);
    return v && v->kind->terminating;
}

static struct str map_key(char *buf, size_t size, struct str group, struct str version, struct str name)
{
    int n = snprintf(buf, size, STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(group), STR_ARG(version), STR_ARG(name));
    return n > 0 && (size_t)n < size ? str_n(buf, (size_t)n) : STR_NULL;
}

static const struct resource *find(const struct map *m, struct str group, struct str version, struct str name)
{
    char buf[512];
    struct str key = map_key(buf, sizeof(buf), group, version, name);
    const struct custom_version *v = key.n ? map_get(m, key) : NULL;
    return v ? &v->res : NULL;
}

const struct resource *served_find(const struct apiserver *s, struct str group, struct str version, struct str plural)
{
    const struct resource *r = resource_find(group, version, plural);
    return r || !s->custom ? r : find(&s->custom->by_name, group, version, plural);
}

const struct resource *served_find_kind(const struct apiserver *s, struct str group, struct str version, struct str kind)
{
    const struct resource *r = resource_find_kind(group, version, kind);
    return r || !s->custom ? r : find(&s->custom->by_kind, group, version, kind);
}

const struct resource *custom_resolve(const struct apiserver *s, const struct resource *r)
{
    char name[512];
    if (r->index < n_resources)
        return r;
    int n = snprintf(name, sizeof(name), "%s.%s", r->name, r->group);
    const struct custom_kind *k = n > 0 && (size_t)n < sizeof(name) ? map_get(&s->custom->definitions, str_n(name, (size_t)n)) : NULL;
    for (size_t i = 0; k && i < k->n_versions; i++) {
        const struct custom_version *v = k->versions[i];
        if (&v->res == r || (is_served(v) && strcmp(v->res.version, r->version) == 0))
            return &v->res;
    }
    return NULL;
}

/* ---- group versions ------------------------------------------------------------------------------------ */

/* k8s.io/apimachinery version.CompareKubeAwareVersionStrings */
struct kube_version {
    int stage; /* 3 release, 2 beta, 1 alpha, 0 none of them */
    int64_t major, minor;
};

static struct kube_version kube_version(struct str v)
{
    struct kube_version out = {.stage = 0};
    size_t n = 1;
    if (v.n < 2 || v.p[0] != 'v')
        return out;
    while (n < v.n && v.p[n] >= '0' && v.p[n] <= '9')
        n++;
    struct str rest = str_from(v, n);
    int stage = !rest.n ? 3 : str_starts(rest, STR("beta")) ? 2 : str_starts(rest, STR("alpha")) ? 1 : 0;
    if (n == 1 || !stage || str_to_i64(str_slice(v, 1, n - 1), &out.major) < 0)
        return out;
    if (stage < 3 && str_to_i64(str_from(rest, stage == 2 ? 4 : 5), &out.minor) < 0)
        return (struct kube_version){.stage = 0};
    out.stage = stage;
    return out;
}

int version_order(const char *x, const char *y)
{
    struct kube_version a = kube_version(str_of(x)), b = kube_version(str_of(y));
    if (a.stage != b.stage)
        return b.stage - a.stage;
    if (a.major != b.major)
        return a.major < b.major ? 1 : -1;
    if (a.minor != b.minor)
        return a.minor < b.minor ? 1 : -1;
    return strcmp(x, y);
}

/* The served versions in the order of discovery, and where each group version begins among them. Made when somebody asks for it
 * after kinds came or went: a thousand definitions that come at once cost one. */
struct served {
    struct arena *arena; /* that it lies in itself */
    const struct resource **items;
    size_t n;
    struct group_version *groups; /* those that are not compiled in */
    size_t n_groups;
};

static int by_group(const struct resource *x, const struct resource *y)
{
    int c = strcmp(x->group, y->group);
    return c ? c : version_order(x->version, y->version);
}

static int by_group_and_name(const void *px, const void *py)
{
    const struct resource *x = *(const struct resource *const *)px, *y = *(const struct resource *const *)py;
    int c = by_group(x, y);
    return c ? c : strcmp(x->name, y->name);
}

static bool is_compiled_in(const struct resource *r)
{
    for (unsigned i = 0; i < n_group_versions; i++)
        if (strcmp(group_versions[i].group, r->group) == 0 && strcmp(group_versions[i].version, r->version) == 0)
            return true;
    return false;
}

static struct served *make_served(const struct custom_state *c)
{
    struct arena *a = custom_arena();
    struct served *out = ARENA_NEW(a, struct served);
    size_t most = c->by_name.n;
    out->arena = a;
    out->items = ARENA_ARRAY(a, const struct resource *, most + 1);
    out->groups = ARENA_ARRAY(a, struct group_version, most + 1);
    MAP_EACH (&c->by_name, e)
        out->items[out->n++] = &((const struct custom_version *)e->value)->res;
    qsort(out->items, out->n, sizeof(*out->items), by_group_and_name);
    for (size_t i = 0; i < out->n; i++) {
        const struct resource *r = out->items[i];
        if ((!i || by_group(out->items[i - 1], r) != 0) && !is_compiled_in(r))
            out->groups[out->n_groups++] = (struct group_version){r->group, r->version, 1000, 100};
    }
    return out;
}

static const struct served *served(const struct apiserver *s)
{
    struct custom_state *c = s->custom;
    if (!c->served)
        c->served = make_served(c);
    return c->served;
}

size_t served_count(const struct apiserver *s)
{
    return n_group_versions + (s->custom ? served(s)->n_groups : 0);
}

const struct group_version *served_at(const struct apiserver *s, size_t i)
{
    return i < n_group_versions ? &group_versions[i] : &served(s)->groups[i - n_group_versions];
}

/* Where the group version begins among the items, or would. */
static size_t first_of(const struct served *x, const struct resource *like)
{
    size_t lo = 0, hi = x->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (by_group(x->items[mid], like) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const struct resource *const *served_versions(struct arena *a, const struct resource *r, size_t *ret_n)
{
    const struct custom_version *v = custom_version(r);
    size_t most = v ? v->kind->n_versions : n_resources, n = 0;
    const struct resource **out = ARENA_ARRAY(a, const struct resource *, most);
    for (size_t i = 0; v && i < most; i++)
        if (is_served(v->kind->versions[i]))
            out[n++] = &v->kind->versions[i]->res;
    for (size_t i = 1; !v && i < most; i++)
        if (resources[i].stored && stored_resource(&resources[i]) == stored_resource(r))
            out[n++] = &resources[i];
    *ret_n = n;
    return out;
}

const struct resource **served_resources(const struct apiserver *s, struct arena *a, const struct group_version *g, size_t *ret_n)
{
    const struct served *x = served(s);
    const struct resource like = {.group = g->group, .version = g->version};
    size_t n = 0, first = first_of(x, &like), end = first;
    while (end < x->n && by_group(x->items[end], &like) == 0)
        end++;
    const struct resource **out = ARENA_ARRAY(a, const struct resource *, n_resources + end - first);
    for (unsigned i = 1; i < n_resources; i++)
        if (strcmp(resources[i].group, g->group) == 0 && strcmp(resources[i].version, g->version) == 0)
            out[n++] = &resources[i];
    for (size_t i = first; i < end; i++)
        out[n++] = x->items[i];
    *ret_n = n;
    return out;
}

/* ---- coming and going ---------------------------------------------------------------------------------- */

void served_changed(struct apiserver *s)
{
    if (!s->pages_arena.total)
        return;
    struct arena *pages = custom_arena();
    *pages = s->pages_arena;
    s->pages_arena = (struct arena)ARENA_INIT;
    map_done(&s->pages);
    custom_retire(s->custom, pages, NULL, NULL);
}

/* Everything that was made from what is served is made anew. */
static void forget_what_was_made(struct apiserver *s)
{
    custom_served_done(s->custom);
    served_changed(s);
}

void custom_served_done(struct custom_state *c)
{
    if (c->served)
        custom_retire(c, c->served->arena, NULL, NULL);
    c->served = NULL;
}

static struct str key_of(char *buf, size_t size, const struct resource *r, const char *name)
{
    return map_key(buf, size, str_of(r->group), str_of(r->version), str_of(name));
}

void custom_serve(struct apiserver *s, struct custom_kind *k)
{
    char buf[512];
    for (size_t i = 0; i < k->n_versions; i++) {
        struct custom_version *v = k->versions[i];
        if (!is_served(v))
            continue;
        map_put(&s->custom->by_name, key_of(buf, sizeof(buf), &v->res, v->res.name), v);
        map_put(&s->custom->by_kind, key_of(buf, sizeof(buf), &v->res, v->res.kind), v);
    }
    forget_what_was_made(s);
}

void custom_unserve(struct apiserver *s, struct custom_kind *k)
{
    char buf[512];
    for (size_t i = 0; i < k->n_versions; i++) {
        const struct custom_version *v = k->versions[i];
        if (!is_served(v))
            continue;
        map_del(&s->custom->by_name, key_of(buf, sizeof(buf), &v->res, v->res.name));
        map_del(&s->custom->by_kind, key_of(buf, sizeof(buf), &v->res, v->res.kind));
    }
    forget_what_was_made(s);
}
