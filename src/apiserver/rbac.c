/* SPDX-License-Identifier: Apache-2.0 */
/* RBAC over the watch cache. Bindings are found by their subjects through an index that is made anew after
 * bindings have changed, which is seldom; each request then looks at the few bindings that can matter. */
#include "apiserver/auth.h"
#include "apiserver/authz.h"
#include "apiserver/state.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

struct bindings {
    const struct object **items;
    size_t n, cap;
};

struct rbac_index {
    struct cache *cache;
    int64_t built; /* revision of the cluster role bindings the map is made of */
    struct map by_subject; /* "G<group>", "U<user>", "S<ns>/<name>" to struct bindings */
    struct tree *root;     /* keeps the bindings alive */
};

static void bindings_free(void *p)
{
    struct bindings *b = p;
    free(b->items);
    free(b);
}

static void index_add(struct rbac_index *x, struct str key, const struct object *o)
{
    struct bindings *b = map_get(&x->by_subject, key);
    if (!b) {
        b = NEW(struct bindings);
        map_put(&x->by_subject, key, b);
    }
    if (b->n && b->items[b->n - 1] == o)
        return;
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 4;
        b->items = xrealloc(b->items, b->cap * sizeof(*b->items));
    }
    b->items[b->n++] = o;
}

static void index_binding(struct rbac_index *x, struct arena *a, const struct object *o)
{
    VAL_EACH(val_get(o->val, N_subjects), s) {
        struct str kind = val_getstr(s, N_kind), name = val_getstr(s, N_name);
        struct str key;
        if (str_is(kind, "ServiceAccount"))
            key = arena_printf(a, "S%.*s/%.*s", STR_ARG(val_getstr(s, N_namespace)), STR_ARG(name));
        else
            key = arena_printf(a, "%c%.*s", str_is(kind, "Group") ? 'G' : 'U', STR_ARG(name));
        index_add(x, key, o);
    }
}

static void build(struct rbac_index *x)
{
    struct cache_kind *k = cache_kind(x->cache, &resources[RES_CLUSTERROLEBINDINGS]);
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    if (x->built == k->changed)
        return;
    map_done_with(&x->by_subject, bindings_free);
    tree_unref(x->root);
    x->root = tree_ref(k->root);
    x->built = k->changed;
    TREE_EACH(x->root, STR(""), it)
        index_binding(x, &a, it.object);
}

struct rbac_index *rbac_index_new(struct cache *c)
{
    struct rbac_index *x = NEW(struct rbac_index);
    x->cache = c;
    x->built = -1;
    return x;
}

void rbac_index_free(struct rbac_index *x)
{
    if (!x)
        return;
    map_done_with(&x->by_subject, bindings_free);
    tree_unref(x->root);
    free(x);
}

/* ---- what auth/rbac.h asks for ----------------------------------------------------------------------- */

struct world {
    struct rbac_index *index;
    const struct user *user;
};

static bool visit_key(struct rbac_index *x, struct str key, rbac_visit *visit, void *arg)
{
    const struct bindings *b = map_get(&x->by_subject, key);
    for (size_t i = 0; b && i < b->n; i++)
        if (!visit(arg, b->items[i]->val))
            return false;
    return true;
}

static void cluster_role_bindings(void *ctx, rbac_visit *visit, void *arg)
{
    const struct world *w = ctx;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str ns, name;
    build(w->index);
    if (!visit_key(w->index, arena_printf(&a, "U%.*s", STR_ARG(w->user->name)), visit, arg))
        return;
    if (is_service_account(w->user->name, &ns, &name) &&
        !visit_key(w->index, arena_printf(&a, "S%.*s/%.*s", STR_ARG(ns), STR_ARG(name)), visit, arg))
        return;
    for (size_t i = 0; i < w->user->n_groups; i++)
        if (!visit_key(w->index, arena_printf(&a, "G%.*s", STR_ARG(w->user->groups[i])), visit, arg))
            return;
}

static void role_bindings(void *ctx, struct str ns, rbac_visit *visit, void *arg)
{
    const struct world *w = ctx;
    struct cache_kind *k = cache_kind(w->index->cache, &resources[RES_ROLEBINDINGS]);
    if (!ns.n)
        return;
    TREE_EACH(k->root, ns, it)
        if (!visit(arg, it.object->val))
            return;
}

static const struct val *cluster_role(void *ctx, struct str name)
{
    const struct world *w = ctx;
    const struct object *o =
        cache_get(cache_kind(w->index->cache, &resources[RES_CLUSTERROLES]), STR(""), name);
    return o ? o->val : NULL;
}

static const struct val *role(void *ctx, struct str ns, struct str name)
{
    const struct world *w = ctx;
    const struct object *o = cache_get(cache_kind(w->index->cache, &resources[RES_ROLES]), ns, name);
    return o ? o->val : NULL;
}

static struct rbac_world world_of(struct world *w)
{
    return (struct rbac_world){.ctx = w,
                               .cluster_role_bindings = cluster_role_bindings,
                               .role_bindings = role_bindings,
                               .cluster_role = cluster_role,
                               .role = role};
}

bool rbac_allowed(struct rbac_index *x, const struct attributes *at, struct err *e)
{
    struct world w = {.index = x, .user = at->user};
    struct rbac_world rw = world_of(&w);
    struct rbac_request q = {
        .user = {.name = at->user->name, .groups = at->user->groups, .n_groups = at->user->n_groups},
        .verb = at->verb,
        .resource_request = at->resource_request,
        .group = at->group,
        .resource = at->resource,
        .subresource = at->subresource,
        .name = at->name,
        .namespace = at->ns,
        .path = at->path};
    return rbac_authorize(&rw, &q, e);
}

struct val *rbac_rules(struct rbac_index *x, struct arena *a, const struct user *u, struct str ns)
{
    struct world w = {.index = x, .user = u};
    struct rbac_world rw = world_of(&w);
    struct rbac_user user = {.name = u->name, .groups = u->groups, .n_groups = u->n_groups};
    return rbac_user_rules(&rw, a, &user, ns);
}

/* ---- escalation -------------------------------------------------------------------------------------- */

static bool may(struct request *r, const char *verb, const char *resource, struct str ns, struct str name)
{
    struct attributes at = {.user = &r->user,
                            .verb = str_of(verb),
                            .resource_request = true,
                            .group = STR("rbac.authorization.k8s.io"),
                            .version = STR("v1"),
                            .resource = str_of(resource),
                            .ns = ns,
                            .name = name};
    return authorize(r, &at, NULL) == DECISION_ALLOW;
}

static int refuse(struct request *r, const struct val *v, const struct val *missing)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    buf_printf(&b, "user \"%.*s\" (groups=[", STR_ARG(r->user.name));
    for (size_t i = 0; i < r->user.n_groups; i++)
        buf_printf(&b, "%s\"%.*s\"", i ? " " : "", STR_ARG(r->user.groups[i]));
    buf_puts(&b, "]) is attempting to grant RBAC permissions not currently held:");
    VAL_EACH(missing, rule) {
        buf_putc(&b, '\n');
        rbac_rule_text(&b, rule);
    }
    return status_forbidden(&r->status, r->kind->res, obj_name(v), arena_str(r->arena, buf_str(&b)).p);
}

static int check_cover(struct request *r, const struct val *v, const struct val *wanted, struct str ns)
{
    struct val *missing = NULL;
    if (rbac_rules_cover(r->arena, rules_of_user(r, &r->user, ns), wanted, &missing))
        return 0;
    return refuse(r, v, missing);
}

static int check_role(struct request *r, const struct val *v, const struct val *old)
{
    bool cluster = r->kind->res->index == RES_CLUSTERROLES;
    const struct val *rules = val_get(v, N_rules);
    if (old && val_equal(rules, val_get(old, N_rules)) &&
        val_equal(val_get(v, N_aggregationRule), val_get(old, N_aggregationRule)))
        return 0;
    if (may(r, "escalate", cluster ? "clusterroles" : "roles", obj_namespace(v), obj_name(v)))
        return 0;
    if (val_get(v, N_aggregationRule)) {
        struct val *all = val_new(r->arena, VAL_LIST);
        struct val *rule = val_add_obj(r->arena, all);
        val_add_str(r->arena, val_sub_list(r->arena, rule, N_verbs), STR("*"));
        val_add_str(r->arena, val_sub_list(r->arena, rule, N_apiGroups), STR("*"));
        val_add_str(r->arena, val_sub_list(r->arena, rule, N_resources), STR("*"));
        int e = check_cover(r, v, all, STR(""));
        if (e)
            return e;
    }
    return check_cover(r, v, rules, cluster ? STR("") : obj_namespace(v));
}

static int check_binding(struct request *r, const struct val *v, const struct val *old)
{
    const struct val *ref = val_get(v, N_roleRef);
    bool cluster_role_ref = str_is(val_getstr(ref, N_kind), "ClusterRole");
    struct str ns = obj_namespace(v), name = val_getstr(ref, N_name);
    if (old && val_equal(ref, val_get(old, N_roleRef)) &&
        val_equal(val_get(v, N_subjects), val_get(old, N_subjects)))
        return 0;
    if (may(r, "bind", cluster_role_ref ? "clusterroles" : "roles", ns, name))
        return 0;
    const struct object *target = cluster_role_ref
                                      ? cache_get(state_kind(r->server, RES_CLUSTERROLES), STR(""), name)
                                      : cache_get(state_kind(r->server, RES_ROLES), ns, name);
    if (!target)
        return status_not_found(&r->status, &resources[cluster_role_ref ? RES_CLUSTERROLES : RES_ROLES],
                                name);
    return check_cover(r, v, val_get(target->val, N_rules), ns);
}

int rbac_check_escalation(struct request *r, const struct val *v, const struct val *old)
{
    if (!authz_has(r->server, AUTHZ_RBAC) || r->trusted || user_in_group(&r->user, "system:masters"))
        return 0;
    switch (r->kind->res->index) {
    case RES_ROLES:
    case RES_CLUSTERROLES:
        return check_role(r, v, old);
    case RES_ROLEBINDINGS:
    case RES_CLUSTERROLEBINDINGS:
        return check_binding(r, v, old);
    }
    return 0;
}
