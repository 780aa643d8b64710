/* SPDX-License-Identifier: Apache-2.0 */
/* rbac.authorization.k8s.io. */
#include "type/selector.h"
#include "type/validate-internal.h"

static void check_rule(struct validation *x, const struct vpath *p, const struct val *v, bool namespaced)
{
    const struct val *urls = val_get(v, N_nonResourceURLs);
    if (!val_len(val_get(v, N_verbs)))
        say_required(x, AT(p, N_verbs), "verbs must contain at least one value");
    if (val_len(urls)) {
        if (namespaced)
            say_invalid(x, AT(p, N_nonResourceURLs), urls,
                        "namespaced rules cannot apply to non-resource URLs");
        if (val_len(val_get(v, N_apiGroups)) || val_len(val_get(v, N_resources)) ||
            val_len(val_get(v, N_resourceNames)))
            say_invalid(x, AT(p, N_nonResourceURLs), urls,
                        "rules cannot apply to both regular resources and non-resource URLs");
        return;
    }
    if (!val_len(val_get(v, N_apiGroups)))
        say_required(x, AT(p, N_apiGroups), "resource rules must supply at least one api group");
    if (!val_len(val_get(v, N_resources)))
        say_required(x, AT(p, N_resources), "resource rules must supply at least one resource");
}

static void check_rules(struct validation *x, const struct vpath *p, const struct val *v, bool namespaced)
{
    size_t i = 0;
    VAL_EACH (val_get(v, N_rules), rule)
        check_rule(x, ITEM(AT(p, N_rules), i++), rule, namespaced);
}

static void rule_role(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    check_rules(x, p, v, true);
}

static void rule_cluster_role(struct validation *x, const struct vpath *p, const struct val *v,
                              const struct val *old)
{
    const struct val *selectors = val_at(v, N_aggregationRule, N_clusterRoleSelectors);
    size_t i = 0;
    check_rules(x, p, v, false);
    VAL_EACH (selectors, selector) {
        struct selector parsed;
        struct err why = {0};
        const struct vpath *at = ITEM(AT(AT(p, N_aggregationRule), N_clusterRoleSelectors), i++);
        if (selector_from_val(x->s->arena, selector, &parsed, &why))
            say_invalid(x, at, selector, arena_printf(x->s->arena, "invalid labels: %s", why.text).p);
    }
    if (val_get(v, N_aggregationRule) && !val_len(selectors))
        say_required(x, AT(AT(p, N_aggregationRule), N_clusterRoleSelectors),
                     "at least one clusterRoleSelector required if aggregationRule is non-nil");
}

static void check_subject(struct validation *x, const struct vpath *p, const struct val *v, bool namespaced)
{
    static const char *const kinds[] = {"ServiceAccount", "User", "Group", NULL};
    static const char *const none[] = {"", NULL}, *const own[] = {"rbac.authorization.k8s.io", NULL};
    const struct val *kind = val_get(v, N_kind), *name = val_get(v, N_name);
    struct str group = val_getstr(v, N_apiGroup), ns = val_getstr(v, N_namespace);
    const struct val group_val = val_of_str(arena_str(x->s->arena, group));
    if (!val_str(name).n)
        say_required(x, AT(p, N_name), NULL);
    if (str_is(val_str(kind), "ServiceAccount")) {
        if (val_str(name).n)
            check_text(x, AT(p, N_name), val_str(name), check_subdomain);
        if (group.n)
            say_unsupported(x, AT(p, N_apiGroup), &group_val, none);
        if (!namespaced && !ns.n)
            say_required(x, AT(p, N_namespace), NULL);
    } else if (!str_in(val_str(kind), kinds)) {
        say_unsupported(x, AT(p, N_kind), kind ?: &(struct val){.kind = VAL_STR, .s = ""}, kinds);
    } else if (!str_is(group, own[0])) {
        say_unsupported(x, AT(p, N_apiGroup), &group_val, own);
    }
}

static void check_role_ref(struct validation *x, const struct vpath *p, const struct val *v, bool namespaced)
{
    static const char *const both[] = {"Role", "ClusterRole", NULL}, *const cluster[] = {"ClusterRole", NULL};
    static const char *const own[] = {"rbac.authorization.k8s.io", NULL};
    const struct val *kind = val_get(v, N_kind), *empty = &(struct val){.kind = VAL_STR, .s = ""};
    const char *const *kinds = namespaced ? both : cluster;
    if (!str_is(val_getstr(v, N_apiGroup), own[0]))
        say_unsupported(x, AT(p, N_apiGroup), val_get(v, N_apiGroup) ?: empty, own);
    if (!str_in(val_str(kind), kinds))
        say_unsupported(x, AT(p, N_kind), kind ?: empty, kinds);
    if (!val_getstr(v, N_name).n)
        say_required(x, AT(p, N_name), NULL);
    else
        check_text(x, AT(p, N_name), val_getstr(v, N_name), check_path_segment);
}

static void check_binding(struct validation *x, const struct vpath *p, const struct val *v,
                          const struct val *old, bool namespaced)
{
    size_t i = 0;
    check_role_ref(x, AT(p, N_roleRef), val_get(v, N_roleRef), namespaced);
    VAL_EACH (val_get(v, N_subjects), subject)
        check_subject(x, ITEM(AT(p, N_subjects), i++), subject, namespaced);
    if (old && !val_equal(val_get(v, N_roleRef), val_get(old, N_roleRef)))
        say_invalid(x, AT(p, N_roleRef), val_get(v, N_roleRef), "cannot change roleRef");
}

static void rule_role_binding(struct validation *x, const struct vpath *p, const struct val *v,
                              const struct val *old)
{
    check_binding(x, p, v, old, true);
}

static void rule_cluster_binding(struct validation *x, const struct vpath *p, const struct val *v,
                                 const struct val *old)
{
    check_binding(x, p, v, old, false);
}

const struct rule rules_rbac[] = {
    {T_rbac_v1_AggregationRule, RULE_OWN, NULL},
    {T_rbac_v1_ClusterRole, RULE_OWN, rule_cluster_role},
    {T_rbac_v1_ClusterRoleBinding, RULE_OWN, rule_cluster_binding},
    {T_rbac_v1_PolicyRule, RULE_OWN, NULL},
    {T_rbac_v1_Role, RULE_OWN, rule_role},
    {T_rbac_v1_RoleBinding, RULE_OWN, rule_role_binding},
    {T_rbac_v1_RoleRef, RULE_OWN, NULL},
    {T_rbac_v1_Subject, RULE_OWN, NULL},
    {0, 0, NULL},
};
