/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/rbac.h"

#include "names.h"

/* ---- one rule ----------------------------------------------------------------------------------------- */

static bool has(const struct val *list, struct str s)
{
    VAL_EACH (list, it) {
        if (str_eq(val_str(it), s))
            return true;
    }
    return false;
}

static bool has_or_star(const struct val *list, struct str s)
{
    return has(list, s) || has(list, STR("*"));
}

/* "pods", "pods/log", "*" for all, and "*" + "/log" for that subresource of every resource. */
static bool resource_matches(const struct val *list, struct str resource, struct str subresource)
{
    VAL_EACH (list, it) {
        struct str want = val_str(it), head, tail;
        if (str_is(want, "*"))
            return true;
        bool slash = str_cut(want, '/', &head, &tail);
        if (!slash && subresource.n == 0 && str_eq(want, resource))
            return true;
        if (slash && subresource.n && str_eq(tail, subresource) &&
            (str_is(head, "*") || str_eq(head, resource)))
            return true;
    }
    return false;
}

static bool path_covers(struct str pattern, struct str path)
{
    if (str_is(pattern, "*") || str_eq(pattern, path))
        return true;
    return str_ends(pattern, STR("*")) && str_starts(path, str_slice(pattern, 0, pattern.n - 1));
}

static bool path_matches(const struct val *list, struct str path)
{
    VAL_EACH (list, it) {
        if (path_covers(val_str(it), path))
            return true;
    }
    return false;
}

bool rbac_rule_allows(const struct val *rule, const struct rbac_request *r)
{
    if (!has_or_star(val_get(rule, N_verbs), r->verb))
        return false;
    if (!r->resource_request)
        return path_matches(val_get(rule, N_nonResourceURLs), r->path);
    const struct val *names = val_get(rule, N_resourceNames);
    return has_or_star(val_get(rule, N_apiGroups), r->group) &&
           resource_matches(val_get(rule, N_resources), r->resource, r->subresource) &&
           (val_len(names) == 0 || has(names, r->name));
}

bool rbac_rules_allow(const struct val *rules, const struct rbac_request *r)
{
    VAL_EACH (rules, it) {
        if (rbac_rule_allows(it, r))
            return true;
    }
    return false;
}

/* ---- subjects ----------------------------------------------------------------------------------------- */

static bool in_groups(const struct rbac_user *u, struct str group)
{
    for (size_t i = 0; i < u->n_groups; i++)
        if (str_eq(u->groups[i], group))
            return true;
    return false;
}

/* "system:serviceaccount:<namespace>:<name>" */
static bool is_service_account(struct str user, struct str namespace, struct str name)
{
    struct str prefix = STR("system:serviceaccount:");
    if (namespace.n == 0 || !str_starts(user, prefix))
        return false;
    struct str rest = str_from(user, prefix.n), ns, n;
    return str_cut(rest, ':', &ns, &n) && str_eq(ns, namespace) && str_eq(n, name);
}

static bool subject_matches(const struct val *subject, struct str namespace, const struct rbac_user *u)
{
    struct str kind = val_getstr(subject, N_kind), name = val_getstr(subject, N_name);
    if (str_is(kind, "User"))
        return str_eq(name, u->name);
    if (str_is(kind, "Group"))
        return in_groups(u, name);
    if (!str_is(kind, "ServiceAccount"))
        return false;
    struct str own = val_getstr(subject, N_namespace);
    return is_service_account(u->name, own.n ? own : namespace, name);
}

static const struct val *matching_subject(const struct val *subjects, struct str namespace,
                                          const struct rbac_user *u)
{
    VAL_EACH (subjects, it) {
        if (subject_matches(it, namespace, u))
            return it;
    }
    return NULL;
}

/* ---- all bindings of a user --------------------------------------------------------------------------- */

/* Called with the rules of each binding that applies; false stops. */
typedef bool use_rules(void *arg, const struct val *binding, const struct val *subject,
                       const struct val *rules);

struct walk {
    const struct rbac_world *world;
    const struct rbac_user *user;
    struct str namespace; /* of the bindings being visited; "" for cluster role bindings */
    use_rules *use;
    void *arg;
    bool stopped;
};

static const struct val *rules_of(const struct walk *w, const struct val *binding)
{
    const struct val *ref = val_get(binding, N_roleRef);
    struct str kind = val_getstr(ref, N_kind), name = val_getstr(ref, N_name);
    const struct val *role = NULL;
    if (str_is(kind, "ClusterRole"))
        role = w->world->cluster_role(w->world->ctx, name);
    else if (str_is(kind, "Role") && w->namespace.n)
        role = w->world->role(w->world->ctx, w->namespace, name);
    return val_get(role, N_rules);
}

static bool visit(void *arg, const struct val *binding)
{
    struct walk *w = arg;
    const struct val *subject = matching_subject(val_get(binding, N_subjects), w->namespace, w->user);
    if (!subject)
        return true;
    w->stopped = !w->use(w->arg, binding, subject, rules_of(w, binding));
    return !w->stopped;
}

static void walk_bindings(const struct rbac_world *world, const struct rbac_user *u, struct str namespace,
                          use_rules *use, void *arg)
{
    struct walk w = {.world = world, .user = u, .use = use, .arg = arg};
    world->cluster_role_bindings(world->ctx, visit, &w);
    if (w.stopped || namespace.n == 0)
        return;
    w.namespace = namespace;
    world->role_bindings(world->ctx, namespace, visit, &w);
}

/* ---- the question ------------------------------------------------------------------------------------- */

struct asking {
    const struct rbac_request *request;
    struct err *e;
    bool allowed;
};

static void explain(struct err *e, const struct val *binding, const struct val *subject)
{
    struct str name = val_str(val_at(binding, N_metadata, N_name));
    struct str ns = val_str(val_at(binding, N_metadata, N_namespace));
    const struct val *ref = val_get(binding, N_roleRef);
    struct str kind = val_getstr(subject, N_kind), who = val_getstr(subject, N_name);
    struct str who_ns = val_getstr(subject, N_namespace);
    bool sa = str_is(kind, "ServiceAccount");
    if (!who_ns.n)
        who_ns = ns;
    err_set(e, 0,
            "RBAC: allowed by %s \"" STR_FMT "%s" STR_FMT "\" of " STR_FMT " \"" STR_FMT "\" to " STR_FMT
            " \"" STR_FMT "%s" STR_FMT "\"",
            ns.n ? "RoleBinding" : "ClusterRoleBinding", STR_ARG(name), ns.n ? "/" : "", STR_ARG(ns),
            STR_ARG(val_getstr(ref, N_kind)), STR_ARG(val_getstr(ref, N_name)), STR_ARG(kind), STR_ARG(who),
            sa ? "/" : "", (int)(sa ? who_ns.n : 0), sa && who_ns.p ? who_ns.p : "");
}

static bool ask(void *arg, const struct val *binding, const struct val *subject, const struct val *rules)
{
    struct asking *q = arg;
    q->allowed = rbac_rules_allow(rules, q->request);
    if (q->allowed && q->e)
        explain(q->e, binding, subject);
    return !q->allowed;
}

bool rbac_authorize(const struct rbac_world *w, const struct rbac_request *r, struct err *e)
{
    struct asking q = {.request = r, .e = e};
    walk_bindings(w, &r->user, r->resource_request ? r->namespace : STR_NULL, ask, &q);
    return q.allowed;
}

struct collecting {
    struct arena *a;
    struct val *list;
};

static bool collect(void *arg, const struct val *binding, const struct val *subject, const struct val *rules)
{
    struct collecting *c = arg;
    VAL_EACH (rules, it) {
        val_add(c->a, c->list, *it);
    }
    return true;
}

struct val *rbac_user_rules(const struct rbac_world *w, struct arena *a, const struct rbac_user *u,
                            struct str namespace)
{
    struct collecting c = {a, val_new(a, VAL_LIST)};
    walk_bindings(w, u, namespace, collect, &c);
    return c.list;
}

/* ---- escalation --------------------------------------------------------------------------------------- */

static bool has_all(const struct val *owned, const struct val *wanted)
{
    if (has(owned, STR("*")))
        return true;
    VAL_EACH (wanted, it) {
        if (!has(owned, val_str(it)))
            return false;
    }
    return true;
}

static bool resources_cover(const struct val *owned, const struct val *wanted)
{
    if (has(owned, STR("*")))
        return true;
    VAL_EACH (wanted, it) {
        struct str resource, sub;
        if (has(owned, val_str(it)))
            continue;
        if (!str_cut(val_str(it), '/', &resource, &sub) || !resource_matches(owned, STR_NULL, sub))
            return false;
    }
    return true;
}

static bool paths_cover(const struct val *owned, const struct val *wanted)
{
    VAL_EACH (wanted, it) {
        if (!path_matches(owned, val_str(it)))
            return false;
    }
    return true;
}

static bool names_cover(const struct val *owned, const struct val *wanted)
{
    if (val_len(owned) == 0)
        return true;
    if (val_len(wanted) == 0)
        return false;
    VAL_EACH (wanted, it) {
        if (!has(owned, val_str(it)))
            return false;
    }
    return true;
}

static bool rule_covers(const struct val *owned, const struct val *wanted)
{
    return has_all(val_get(owned, N_verbs), val_get(wanted, N_verbs)) &&
           has_all(val_get(owned, N_apiGroups), val_get(wanted, N_apiGroups)) &&
           resources_cover(val_get(owned, N_resources), val_get(wanted, N_resources)) &&
           paths_cover(val_get(owned, N_nonResourceURLs), val_get(wanted, N_nonResourceURLs)) &&
           names_cover(val_get(owned, N_resourceNames), val_get(wanted, N_resourceNames));
}

static bool any_covers(const struct val *owned, const struct val *wanted)
{
    VAL_EACH (owned, it) {
        if (rule_covers(it, wanted))
            return true;
    }
    return false;
}

enum { COMBINATIONS_MAX = 1 << 20, MISSING_MAX = 256 };

struct covering {
    struct arena *a;
    const struct val *owned;
    struct val *missing;
    size_t left; /* combinations that are still looked at; what is beyond counts as not covered */
    bool ok;
};

static void set_one(struct arena *a, struct val *rule, name_id name, const struct val *item)
{
    if (item)
        val_add(a, val_sub_list(a, rule, name), val_of_str(val_str(item)));
}

/* One right: at most one entry a list. */
static void check_single(struct covering *c, const struct val *verb, const struct val *group,
                         const struct val *resource, const struct val *name, const struct val *path)
{
    if (c->left == 0 || val_len(c->missing) >= MISSING_MAX) {
        c->ok = false;
        return;
    }
    c->left--;
    struct val lists[5], items[5];
    const struct val *parts[5] = {verb, group, resource, name, path};
    static const name_id names[5] = {N_verbs, N_apiGroups, N_resources, N_resourceNames, N_nonResourceURLs};
    struct val rule = {.kind = VAL_OBJ, .items = lists};
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        if (!parts[i])
            continue;
        items[i] = val_of_str(val_str(parts[i]));
        lists[rule.n++] = (struct val){.kind = VAL_LIST, .name = names[i], .n = 1, .items = &items[i]};
    }
    if (any_covers(c->owned, &rule))
        return;
    c->ok = false;
    struct val *miss = val_add_obj(c->a, c->missing);
    set_one(c->a, miss, N_verbs, verb);
    set_one(c->a, miss, N_apiGroups, group);
    set_one(c->a, miss, N_resources, resource);
    set_one(c->a, miss, N_resourceNames, name);
    set_one(c->a, miss, N_nonResourceURLs, path);
}

static void check_names(struct covering *c, const struct val *rule, const struct val *verb,
                        const struct val *group, const struct val *resource)
{
    const struct val *names = val_get(rule, N_resourceNames);
    if (val_len(names) == 0)
        check_single(c, verb, group, resource, NULL, NULL);
    VAL_EACH (names, name) {
        check_single(c, verb, group, resource, name, NULL);
    }
}

/* A rule that no single rule of ours covers may still be covered by several, each a part. */
static void check_rule(struct covering *c, const struct val *rule)
{
    if (any_covers(c->owned, rule))
        return;
    VAL_EACH (val_get(rule, N_apiGroups), group) {
        VAL_EACH (val_get(rule, N_resources), resource) {
            VAL_EACH (val_get(rule, N_verbs), verb) {
                check_names(c, rule, verb, group, resource);
                if (c->left == 0)
                    return;
            }
        }
    }
    VAL_EACH (val_get(rule, N_nonResourceURLs), path) {
        VAL_EACH (val_get(rule, N_verbs), verb) {
            check_single(c, verb, NULL, NULL, NULL, path);
        }
    }
}

bool rbac_rules_cover(struct arena *a, const struct val *owned, const struct val *wanted,
                      struct val **ret_missing)
{
    struct covering c = {
        .a = a, .owned = owned, .missing = val_new(a, VAL_LIST), .left = COMBINATIONS_MAX, .ok = true};
    VAL_EACH (wanted, rule) {
        check_rule(&c, rule);
    }
    if (ret_missing)
        *ret_missing = c.missing;
    return c.ok;
}

void rbac_rule_text(struct buf *b, const struct val *rule)
{
    static const struct {
        name_id name;
        const char *text;
    } parts[] = {{N_apiGroups, "APIGroups"},
                 {N_resources, "Resources"},
                 {N_nonResourceURLs, "NonResourceURLs"},
                 {N_resourceNames, "ResourceNames"},
                 {N_verbs, "Verbs"}};
    const char *between = "";
    buf_putc(b, '{');
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        const struct val *list = val_get(rule, parts[i].name);
        if (val_len(list) == 0)
            continue;
        buf_printf(b, "%s%s:[", between, parts[i].text);
        between = "";
        VAL_EACH (list, it) {
            buf_printf(b, "%s\"" STR_FMT "\"", between, STR_ARG(val_str(it)));
            between = " ";
        }
        buf_putc(b, ']');
        between = ", ";
    }
    buf_putc(b, '}');
}
