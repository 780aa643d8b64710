/* SPDX-License-Identifier: Apache-2.0 */
/* create role, clusterrole and their bindings. */
#include "cli/create.h"

#include "names.h"
#include "resources.h"

#define RBAC STR("rbac.authorization.k8s.io")

struct role {
    struct creation x;
    struct flag_list verbs, resources, names, urls;
    const char *aggregate;
};

static bool is_among(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (!strcmp(text, *words))
            return true;
    return false;
}

/* Each word once; "*" stands for all. */
static void only_once(struct flag_list *l, bool star)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        size_t k = 0;
        while (k < n && strcmp(l->items[k], l->items[i]))
            k++;
        if (k < n)
            continue;
        l->items[n++] = l->items[i];
        if (star && !strcmp(l->items[i], "*")) {
            l->items[0] = l->items[i];
            n = 1;
            break;
        }
    }
    l->n = n;
}

/* ---- what rules are about ------------------------------------------------------------------------------------------------- */

struct target {
    struct str group, plural, sub;
};

/* "deployments.apps/scale"; plural and group as the server has them, where it has them. */
static struct target target_of(struct cli *c, const char *text, bool *ret_known)
{
    struct str front, sub;
    struct target t = {{0}, {0}, {0}};
    str_cut(str_of(text), '/', &front, &sub);
    str_cut(front, '.', &t.plural, &t.group);
    t.sub = sub;
    *ret_known = str_is(t.plural, "*");
    const struct kind *k = t.plural.n && !*ret_known ? kind_by_name(c, front) : NULL;
    if (k) {
        *ret_known = true;
        t.plural = k->plural;
        t.group = k->group;
    }
    return t;
}

/* Verbs for resources that are none, or only for some. */
static const struct special {
    const char *verb, *plural, *group;
} specials[] = {
    {"use", "podsecuritypolicies", "policy"},
    {"use", "podsecuritypolicies", "extensions"},
    {"bind", "roles", "rbac.authorization.k8s.io"},
    {"bind", "clusterroles", "rbac.authorization.k8s.io"},
    {"escalate", "roles", "rbac.authorization.k8s.io"},
    {"escalate", "clusterroles", "rbac.authorization.k8s.io"},
    {"impersonate", "users", ""},
    {"impersonate", "serviceaccounts", ""},
    {"impersonate", "groups", ""},
    {"impersonate", "userextras", "authentication.k8s.io"},
};

static int check_special(struct cli *c, const char *verb, const struct target *t, bool *known)
{
    bool special = false;
    for (size_t i = 0; i < ARRAY_SIZE(specials); i++) {
        if (strcmp(specials[i].verb, verb))
            continue;
        special = true;
        if (str_is(t->plural, specials[i].plural) && str_is(t->group, specials[i].group)) {
            *known = true;
            return 0;
        }
    }
    if (special)
        return cli_fail(c, "can not perform '%s' on '" STR_FMT "' in group '" STR_FMT "'", verb, STR_ARG(t->plural),
                        STR_ARG(t->group));
    return 0;
}

static int check_resources(struct role *x)
{
    struct cli *c = x->x.c;
    for (size_t i = 0; i < x->resources.n; i++) {
        bool known;
        struct target t = target_of(c, x->resources.items[i], &known);
        if (!t.plural.n)
            return cli_fail(c, "resource must be specified if apiGroup/subresource specified");
        if (str_is(t.plural, "*"))
            return 0;
        for (size_t k = 0; k < x->verbs.n; k++) {
            int r = check_special(c, x->verbs.items[k], &t, &known);
            if (r)
                return r;
        }
        if (!known)
            return cli_note(c, "the server doesn't have a resource type \"" STR_FMT "\"", STR_ARG(t.plural)), 1;
    }
    return 0;
}

static void warn_of_verbs(struct role *x)
{
    static const char *const usual[] = {"*",     "get",    "delete", "list", "create",   "update",      "patch", "watch",
                                        "proxy", "deletecollection", "use",  "bind", "escalate", "impersonate", NULL};
    for (size_t i = 0; i < x->verbs.n; i++)
        if (!is_among(x->verbs.items[i], usual))
            cli_note(x->x.c, "Warning: '%s' is not a standard resource verb", x->verbs.items[i]);
}

static int check_urls(struct role *x)
{
    static const char *const allowed[] = {"*", "get", "post", "put", "delete", "patch", "head", "options", NULL};
    struct cli *c = x->x.c;
    for (size_t i = 0; x->urls.n && i < x->verbs.n; i++)
        if (!is_among(x->verbs.items[i], allowed))
            return cli_fail(c, "invalid verb: '%s' for nonResourceURL", x->verbs.items[i]);
    for (size_t i = 0; i < x->urls.n; i++) {
        const char *url = x->urls.items[i], *star = strchr(url, '*');
        if (!strcmp(url, "*"))
            continue;
        if (url[0] != '/')
            return cli_fail(c, "nonResourceURL should start with /");
        if (star && star[1])
            return cli_fail(c, "nonResourceURL only supports wildcard matches when '*' is at the end");
    }
    return 0;
}

/* ---- rules -------------------------------------------------------------------------------------------------------------------- */

static void put_list(struct role *x, struct val *rule, name_id name, const struct flag_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        val_add_str(&x->x.c->a, val_sub_list(&x->x.c->a, rule, name), str_of(l->items[i]));
}

static bool has_text(const struct val *list, struct str s)
{
    VAL_EACH(list, v)
    {
        if (str_eq(val_str(v), s))
            return true;
    }
    return false;
}

static int compare_groups(const void *a, const void *b)
{
    return str_cmp(val_str(val_item(val_get((const struct val *)a, N_apiGroups), 0)),
                   val_str(val_item(val_get((const struct val *)b, N_apiGroups), 0)));
}

/* The rule of a group. */
static struct val *rule_of(struct role *x, struct val *rules, struct str group)
{
    struct arena *a = &x->x.c->a;
    VAL_EACH(rules, v)
    {
        if (str_eq(val_str(val_item(val_get(v, N_apiGroups), 0)), group))
            return (struct val *)v;
    }
    struct val *rule = val_add_obj(a, rules);
    put_list(x, rule, N_verbs, &x->verbs);
    val_add_str(a, val_sub_list(a, rule, N_apiGroups), group);
    put_list(x, rule, N_resourceNames, &x->names);
    return rule;
}

/* A rule for each group, by group; and one for the URLs. */
static void set_rules(struct role *x)
{
    struct cli *c = x->x.c;
    struct arena *a = &c->a;
    struct val *rules = val_sub_list(a, x->x.v, N_rules);
    for (size_t i = 0; i < x->resources.n; i++) {
        bool known;
        struct target t = target_of(c, x->resources.items[i], &known);
        struct str plural = t.sub.n ? cli_printf(c, STR_FMT "/" STR_FMT, STR_ARG(t.plural), STR_ARG(t.sub)) : t.plural;
        struct val *rule = rule_of(x, rules, t.group);
        if (!has_text(val_get(rule, N_resources), plural))
            val_add_str(a, val_sub_list(a, rule, N_resources), plural);
    }
    qsort(rules->items, rules->n, sizeof(*rules->items), compare_groups);
    if (x->urls.n) {
        struct val *rule = val_add_obj(a, rules);
        put_list(x, rule, N_verbs, &x->verbs);
        put_list(x, rule, N_nonResourceURLs, &x->urls);
    }
}

#define RULE_FLAGS(r)                                                                                        \
    {"resource", 0, FLAG_STRINGS, &(r)->resources, "What the rule is about: TYPE[.GROUP][/PART]"},           \
        {"resource-name", 0, FLAG_ARRAY, &(r)->names, "Only objects of this name; may be given several times"}, \
        {"verb", 0, FLAG_STRINGS, &(r)->verbs, "What may be done"}

static int tidy(struct role *x)
{
    only_once(&x->verbs, true);
    only_once(&x->resources, true);
    only_once(&x->names, false);
    only_once(&x->urls, false);
    return x->verbs.n || x->aggregate ? 0 : cli_fail(x->x.c, "at least one verb must be specified");
}

int cmd_create_role(struct cli *c, int argc, char **argv)
{
    struct role x = {.x = {.c = c, .w = WRITE_INIT}};
    struct flag flags[] = {CREATE_FLAGS(&x.x), RULE_FLAGS(&x), NO_FLAGS};
    int r = create_begin(&x.x, RES_ROLES, flags, NULL, argc, argv);
    if (r == 0)
        r = tidy(&x);
    if (r)
        return r;
    warn_of_verbs(&x);
    if (!x.resources.n)
        return cli_fail(c, "at least one resource must be specified");
    r = check_resources(&x);
    if (r)
        return r;
    set_rules(&x);
    return create_end(&x.x, NULL);
}

static int set_aggregation(struct role *x)
{
    struct cli *c = x->x.c;
    struct arena *a = &c->a;
    struct val *labels;
    if (x->urls.n || x->verbs.n || x->resources.n || x->names.n)
        return cli_fail(c, "aggregation rule must be specified without nonResourceURLs, verbs, resources or resourceNames");
    int r = gen_labels(c, x->aggregate, &labels);
    if (r)
        return r;
    struct val *list = val_sub_list(a, val_sub_obj(a, x->x.v, N_aggregationRule), N_clusterRoleSelectors);
    val_set_ref(a, val_add_obj(a, list), N_matchLabels, labels);
    return create_end(&x->x, NULL);
}

int cmd_create_clusterrole(struct cli *c, int argc, char **argv)
{
    struct role x = {.x = {.c = c, .w = WRITE_INIT}};
    struct flag flags[] = {
        CREATE_FLAGS(&x.x),
        RULE_FLAGS(&x),
        {"aggregation-rule", 0, FLAG_STRING, &x.aggregate, "Labels of the cluster roles that it is made of"},
        {"non-resource-url", 0, FLAG_STRINGS, &x.urls, "URL that the rule is about; may end with *"},
        NO_FLAGS,
    };
    int r = create_begin(&x.x, RES_CLUSTERROLES, flags, NULL, argc, argv);
    if (r == 0)
        r = tidy(&x);
    if (r || x.aggregate)
        return r ? r : set_aggregation(&x);
    if (!x.resources.n && !x.urls.n)
        return cli_fail(c, "one of resource or nonResourceURL must be specified");
    if (x.resources.n) {
        warn_of_verbs(&x);
        r = check_resources(&x);
    }
    if (r == 0)
        r = check_urls(&x);
    if (r)
        return r;
    set_rules(&x);
    return create_end(&x.x, NULL);
}

/* ---- bindings ------------------------------------------------------------------------------------------------------------------ */

struct binding {
    struct creation x;
    const char *cluster_role, *role;
    struct flag_list users, groups, accounts;
};
#define SUBJECT_FLAGS(b)                                                                                     \
    {"clusterrole", 0, FLAG_STRING, &(b)->cluster_role, "Cluster role to bind to"},                          \
        {"group", 0, FLAG_ARRAY, &(b)->groups, "Group; may be given several times"},                         \
        {"serviceaccount", 0, FLAG_ARRAY, &(b)->accounts, "NAMESPACE:NAME; may be given several times"},     \
        {"user", 0, FLAG_ARRAY, &(b)->users, "User; may be given several times"}

static void add_subjects(struct binding *b, const char *kind, const struct flag_list *l)
{
    struct arena *a = &b->x.c->a;
    for (size_t i = 0; i < l->n; i++) {
        struct val *s = val_add_obj(a, val_sub_list(a, b->x.v, N_subjects));
        val_set_str(a, s, N_kind, str_of(kind));
        val_set_str(a, s, N_apiGroup, RBAC);
        val_set_str(a, s, N_name, str_of(l->items[i]));
    }
}

static int add_accounts(struct binding *b)
{
    struct arena *a = &b->x.c->a;
    struct str ns, name;
    for (size_t i = 0; i < b->accounts.n; i++) {
        if (!str_cut(str_of(b->accounts.items[i]), ':', &ns, &name) || !ns.n || !name.n || str_find(name, ':') >= 0)
            return cli_fail(b->x.c, "serviceaccount must be <namespace>:<name>");
        struct val *s = val_add_obj(a, val_sub_list(a, b->x.v, N_subjects));
        val_set_str(a, s, N_kind, STR("ServiceAccount"));
        val_set_str(a, s, N_name, name);
        val_set_str(a, s, N_namespace, ns);
    }
    return 0;
}

static int bind(struct binding *b, const char *failed)
{
    struct arena *a = &b->x.c->a;
    bool cluster = b->cluster_role && b->cluster_role[0];
    struct val *ref = val_sub_obj(a, b->x.v, N_roleRef);
    val_set_str(a, ref, N_apiGroup, RBAC);
    val_set_str(a, ref, N_kind, cluster ? STR("ClusterRole") : STR("Role"));
    val_set_str(a, ref, N_name, str_of(cluster ? b->cluster_role : b->role));
    add_subjects(b, "User", &b->users);
    add_subjects(b, "Group", &b->groups);
    int r = add_accounts(b);
    return r ? r : create_end(&b->x, failed);
}

int cmd_create_rolebinding(struct cli *c, int argc, char **argv)
{
    struct binding b = {.x = {.c = c, .w = WRITE_INIT}, .cluster_role = "", .role = ""};
    struct flag flags[] = {
        CREATE_FLAGS(&b.x),
        SUBJECT_FLAGS(&b),
        {"role", 0, FLAG_STRING, &b.role, "Role to bind to"},
        NO_FLAGS,
    };
    int r = create_begin(&b.x, RES_ROLEBINDINGS, flags, NULL, argc, argv);
    if (r)
        return r;
    if (!b.cluster_role[0] == !b.role[0])
        return cli_fail(c, "exactly one of clusterrole or role must be specified");
    return bind(&b, "failed to create rolebinding:");
}

int cmd_create_clusterrolebinding(struct cli *c, int argc, char **argv)
{
    struct binding b = {.x = {.c = c, .w = WRITE_INIT}, .cluster_role = "", .role = ""};
    struct flag flags[] = {CREATE_FLAGS(&b.x), SUBJECT_FLAGS(&b), NO_FLAGS};
    int r = create_begin(&b.x, RES_CLUSTERROLEBINDINGS, flags, (const char *const[]){"clusterrole", NULL}, argc, argv);
    return r ? r : bind(&b, "failed to create clusterrolebinding:");
}
