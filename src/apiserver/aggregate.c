/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/aggregate.h"

#include <stdio.h>

#include "apiserver/backend.h"
#include "apiserver/custom.h"
#include "apiserver/peers.h"
#include "apiserver/state.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

/* ---- which there are ------------------------------------------------------------------------------------ */

struct extension *aggregate_find(const struct apiserver *s, struct str group, struct str version)
{
    char name[512];
    if (!s->aggregate || !s->aggregate->extensions.n || !version.n)
        return NULL;
    int n = snprintf(name, sizeof(name), STR_FMT "." STR_FMT, STR_ARG(version), STR_ARG(group));
    return n > 0 && (size_t)n < sizeof(name) ? map_get(&s->aggregate->extensions, str_n(name, (size_t)n)) : NULL;
}

static void look(struct extension *x)
{
    x->look = true;
    waitq_wake_all(&x->changed);
}

static struct extension *extension_new(struct apiserver *s, const struct object *o)
{
    const struct val *spec = val_get(o->val, N_spec);
    struct extension *x = NEW(struct extension);
    *x = (struct extension){.refs = 1, .server = s, .object = object_ref(o), .name = str_of(str_dup(o->name)),
                            .group = str_of(str_dup(val_getstr(spec, N_group))), .version = str_of(str_dup(val_getstr(spec, N_version)))};
    return x;
}

static void take_up(struct apiserver *s, const struct object *o)
{
    struct extension *x = map_get(&s->aggregate->extensions, o->name);
    bool another = !x || !val_same(val_get(x->object->val, N_spec), val_get(o->val, N_spec));
    if (!x) {
        x = extension_new(s, o);
        map_put(&s->aggregate->extensions, o->name, x);
        group_spawn(&s->fibers, "extension", extension_follow, extension_ref(x));
    }
    bool was = extension_available(x);
    object_unref(x->object);
    x->object = object_ref(o);
    if (another || was != extension_available(x)) {
        x->asked = (struct mono){0};
        look(x);
        served_changed(s);
    }
}

static void put_down(struct apiserver *s, struct str name)
{
    struct extension *x = map_del(&s->aggregate->extensions, name);
    if (!x)
        return;
    x->gone = true;
    look(x);
    extension_unref(x);
    served_changed(s);
}

/* The group version goes to the other server, or comes back, with the very write. */
static void api_service_changed(void *arg, const struct object *old, const struct object *now)
{
    struct apiserver *s = arg;
    const struct object *o = now ? now : old;
    if (now && val_at(now->val, N_spec, N_service))
        take_up(s, now);
    else
        put_down(s, o->name);
    map_put(&s->aggregate->dirty, o->name, s);
    waitq_wake_all(&s->aggregate->changed);
}

static void look_at_those_of(struct apiserver *s, struct str ns, struct str service)
{
    MAP_EACH (&s->aggregate->extensions, e) {
        struct extension *x = e->value;
        const struct val *to = val_at(x->object->val, N_spec, N_service);
        if (str_eq(val_getstr(to, N_namespace), ns) && str_eq(val_getstr(to, N_name), service))
            look(x);
    }
}

static void service_changed(void *arg, const struct object *old, const struct object *now)
{
    const struct object *o = now ? now : old;
    look_at_those_of(arg, o->namespace_, o->name);
}

static void endpoints_changed(void *arg, const struct object *old, const struct object *now)
{
    const struct object *o = now ? now : old;
    look_at_those_of(arg, o->namespace_, obj_label(o->val, STR("kubernetes.io/service-name")));
}

static void definition_changed(void *arg, const struct object *old, const struct object *now)
{
    struct apiserver *s = arg;
    const struct object *both[] = {old, now};
    char name[512];
    if (old && now && val_same(val_get(old->val, N_spec), val_get(now->val, N_spec)))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(both); i++)
        VAL_EACH (both[i] ? val_at(both[i]->val, N_spec, N_versions) : NULL, v) {
            int n = snprintf(name, sizeof(name), STR_FMT "." STR_FMT, STR_ARG(val_getstr(v, N_name)),
                             STR_ARG(val_str(val_at(both[i]->val, N_spec, N_group))));
            if (n > 0 && (size_t)n < sizeof(name))
                map_put(&s->aggregate->dirty, str_n(name, (size_t)n), s);
        }
    waitq_wake_all(&s->aggregate->changed);
}

static void follow_kind(struct apiserver *s, uint16_t res, struct cache_hook *hook, cache_changed *fn, bool tell)
{
    struct cache_kind *k = state_kind(s, res);
    cache_on_change(k, hook, fn, s);
    TREE_EACH (tell ? k->root : NULL, STR(""), it)
        fn(s, NULL, it.object);
}

void aggregate_open(struct apiserver *s)
{
    struct aggregate *g = s->aggregate = NEW(struct aggregate);
    follow_kind(s, RES_APISERVICES, &g->api_services, api_service_changed, true);
    follow_kind(s, RES_CUSTOMRESOURCEDEFINITIONS, &g->definitions, definition_changed, true);
    follow_kind(s, RES_SERVICES, &g->services, service_changed, false);
    follow_kind(s, RES_ENDPOINTSLICES, &g->endpoints, endpoints_changed, false);
}

static void drop(void *extension)
{
    extension_unref(extension);
}

/* After its fibers. */
void aggregate_close(struct apiserver *s)
{
    struct aggregate *g = TAKE_PTR(s->aggregate);
    if (!g)
        return;
    cache_off_change(&g->api_services);
    cache_off_change(&g->definitions);
    cache_off_change(&g->services);
    cache_off_change(&g->endpoints);
    map_done_with(&g->extensions, drop);
    map_done(&g->dirty);
    map_done(&g->unavailable);
    free(g);
}

/* ---- the order of discovery ----------------------------------------------------------------------------- */

static int64_t priority(const struct served_version *v, bool of_group)
{
    if (v->own)
        return of_group ? v->own->group_priority : v->own->version_priority;
    return val_int(val_at(v->extension->object->val, N_spec, of_group ? N_groupPriorityMinimum : N_versionPriority), 0);
}

static int by_name(const struct served_version *a, const struct served_version *b)
{
    int c = strcmp(a->version, b->version);
    return c ? c : strcmp(a->group, b->group);
}

/* Does v come before the group version `at` of another group? Our own first two groups stay the first. */
static bool before_group(const struct served_version *v, const struct served_version *at)
{
    int64_t mine = priority(v, true), other = priority(at, true);
    if (!at->group[0] || strcmp(at->group, "apiregistration.k8s.io") == 0)
        return false;
    return mine != other ? mine > other : by_name(v, at) < 0;
}

static bool before_version(const struct served_version *v, const struct served_version *at)
{
    int64_t mine = priority(v, false), other = priority(at, false);
    return mine != other ? mine > other : version_order(v->version, at->version) < 0;
}

static bool starts_group(const struct served_version *list, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (strcmp(list[j].group, list[i].group) == 0)
            return false;
    return true;
}

/* Where in the list v belongs: among the versions of its group, or where the group would stand. */
static size_t place(const struct served_version *list, size_t n, const struct served_version *v)
{
    size_t behind = 0, group = n;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].group, v->group) == 0) {
            if (before_version(v, &list[i]))
                return i;
            behind = i + 1;
        } else if (group == n && starts_group(list, i) && before_group(v, &list[i])) {
            group = i;
        }
    }
    return behind ? behind : group;
}

static void insert(struct served_version *list, size_t *n, const struct served_version *v)
{
    size_t at = place(list, *n, v);
    memmove(&list[at + 1], &list[at], (*n - at) * sizeof(*list));
    list[at] = *v;
    ++*n;
}

static void mark_first(struct served_version *list, size_t n)
{
    struct map seen = MAP_INIT;
    for (size_t i = 0; i < n; i++) {
        list[i].first = !map_has(&seen, str_of(list[i].group));
        if (list[i].first)
            map_put(&seen, str_of(list[i].group), list);
    }
    map_done(&seen);
}

struct served_version *aggregate_versions(const struct apiserver *s, struct arena *a, size_t *ret_n)
{
    size_t n = 0, own = served_count(s), others = s->aggregate ? s->aggregate->extensions.n : 0;
    struct served_version *list = ARENA_ARRAY(a, struct served_version, own + others);
    for (size_t i = 0; i < own; i++) {
        const struct group_version *g = served_at(s, i);
        if (!others || !aggregate_find(s, str_of(g->group), str_of(g->version)))
            list[n++] = (struct served_version){.group = g->group, .version = g->version, .own = g};
    }
    if (others)
        MAP_EACH (&s->aggregate->extensions, e) {
            struct extension *x = e->value;
            insert(list, &n, &(struct served_version){.group = x->group.p, .version = x->version.p, .extension = x});
        }
    mark_first(list, n);
    *ret_n = n;
    return list;
}

/* ---- on the way ----------------------------------------------------------------------------------------- */

static int unavailable(struct request *r)
{
    answer_text(r, 503, "text/plain; charset=utf-8", STR("service unavailable\n"));
    return 0;
}

/* Characters of a header's name as they are, others as %XX (client-go's headerKeyEscape). */
static struct str escaped(struct arena *a, struct str key)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (size_t i = 0; i < key.n; i++) {
        char c = key.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("!#$&'*+-.^_`|~", c));
        buf_printf(&b, plain ? "%c" : "%%%02X", (unsigned char)c);
    }
    return arena_str(a, buf_str(&b));
}

/* Who asks, as a front proxy says it. */
static struct http_header *user_headers(struct arena *a, const struct user *u, size_t *ret_n)
{
    size_t n = 0, most = 2 + u->n_groups;
    for (size_t i = 0; i < u->n_extra; i++)
        most += u->extra[i].n;
    struct http_header *out = ARENA_ARRAY(a, struct http_header, most);
    out[n++] = (struct http_header){STR("X-Remote-User"), u->name};
    if (u->uid.n)
        out[n++] = (struct http_header){STR("X-Remote-Uid"), u->uid};
    for (size_t i = 0; i < u->n_groups; i++)
        out[n++] = (struct http_header){STR("X-Remote-Group"), u->groups[i]};
    for (size_t i = 0; i < u->n_extra; i++)
        for (size_t j = 0; j < u->extra[i].n; j++)
            out[n++] = (struct http_header){arena_printf(a, "X-Remote-Extra-" STR_FMT, STR_ARG(escaped(a, u->extra[i].key))), u->extra[i].values[j]};
    *ret_n = n;
    return out;
}

/* 0, or -errno when nobody answered: that is told. */
static int pass_on(struct request *r, struct http_client *http, struct str base)
{
    struct err e = {0};
    size_t n;
    const struct http_header *user = user_headers(r->arena, &r->user, &n);
    struct str url = arena_printf(r->arena, STR_FMT STR_FMT "%s" STR_FMT, STR_ARG(base), STR_ARG(r->x->path), r->query.n ? "?" : "",
                                  STR_ARG(r->query));
    int x = backend_forward(r, http, url, user, n, &e);
    if (x < 0)
        answer_text(r, 503, "text/plain; charset=utf-8", arena_printf(r->arena, "error trying to reach service: %s\n", err_text(&e, x)));
    return x;
}

int aggregate_proxy(struct request *r, struct extension *x)
{
    struct err e = {0};
    struct peer_client *c = NULL;
    struct str base;
    if (!extension_available(x))
        return unavailable(r);
    extension_ref(x);
    int n = extension_reach(x, r->arena, &c, &base, &e);
    if (n == -EINVAL)
        answer_text(r, 500, "text/plain; charset=utf-8", arena_printf(r->arena, "%s\n", err_text(&e, n)));
    else if (n < 0)
        unavailable(r);
    else if (pass_on(r, peer_http(c), base) < 0)
        look(x); /* before its time */
    peer_give_back(c);
    extension_unref(x);
    return 0;
}

/* ---- metrics -------------------------------------------------------------------------------------------- */

void aggregate_metrics(const struct apiserver *s, struct buf *b)
{
    struct str name, reason;
    buf_puts(b, "# HELP aggregator_unavailable_apiservice APIServices that are not available are 1.\n# TYPE aggregator_unavailable_apiservice gauge\n");
    TREE_EACH (state_kind(s, RES_APISERVICES)->root, STR(""), it)
        buf_printf(b, "aggregator_unavailable_apiservice{name=\"" STR_FMT "\"} %d\n", STR_ARG(it.object->name),
                   !condition_is(val_at(it.object->val, N_status, N_conditions), STR("Available"), "True"));
    buf_puts(b, "# HELP aggregator_unavailable_apiservice_total How often APIServices ceased to be available.\n"
                "# TYPE aggregator_unavailable_apiservice_total counter\n");
    MAP_EACH (&s->aggregate->unavailable, e) {
        str_cut(e->key, '/', &name, &reason);
        buf_printf(b, "aggregator_unavailable_apiservice_total{name=\"" STR_FMT "\",reason=\"" STR_FMT "\"} %llu\n", STR_ARG(name),
                   STR_ARG(reason), (unsigned long long)(uintptr_t)e->value);
    }
}
