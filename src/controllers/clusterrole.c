/* SPDX-License-Identifier: Apache-2.0 */
/* ClusterRoles made of others: their rules are those of all roles that their aggregationRule selects. */
#include "controllers/cluster.h"

#include "controllers/pods.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"
#include "type/selector.h"

static const struct val *selectors_of(const struct object *role)
{
    return val_at(role->val, N_aggregationRule, N_clusterRoleSelectors);
}

static bool is_selected(struct arena *a, const struct val *selectors, const struct object *role)
{
    VAL_EACH (selectors, v) {
        struct selector s;
        if (selector_from_val(a, v, &s, NULL) == 0 && selector_matches(&s, obj_labels(role->val)))
            return true;
    }
    return false;
}

static void add_rules(struct arena *a, struct val *list, const struct val *rules)
{
    VAL_EACH (rules, r) {
        bool there = false;
        for (uint32_t i = 0; i < list->n && !there; i++)
            there = val_equal(&list->items[i], r);
        if (!there)
            val_add(a, list, *r);
    }
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct resource *res = &resources[RES_CLUSTERROLES];
    const struct object *role = snapshot_get(world, res, STR_NULL, key.name);
    if (!role || val_len(selectors_of(role)) == 0 || obj_deleting(role->val))
        return 0;
    struct val *rules = val_new(w->arena, VAL_LIST);
    struct tree_iter it;
    for (tree_seek(&it, snapshot_tree(world, res), STR_NULL); it.object; tree_next(&it))
        if (it.object != role && is_selected(w->arena, selectors_of(role), it.object))
            add_rules(w->arena, rules, val_get(it.object->val, N_rules));
    if (val_equal(rules, val_get(role->val, N_rules)))
        return 0;
    struct val *v = val_copy_shallow(w->arena, role->val);
    val_set_ref(w->arena, v, N_rules, rules);
    writes_update(w, res, v);
    return 0;
}

/* Roles change seldom: every role that is made of others is looked at. */
static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    struct tree_iter it;
    for (tree_seek(&it, snapshot_tree(world, res), STR_NULL); it.object; tree_next(&it))
        if (val_len(selectors_of(it.object)) > 0)
            sink(arg, (struct key){STR_NULL, it.object->name});
}

const struct controller clusterrole_aggregation_controller = {
    .name = "clusterrole-aggregation-controller",
    .alias = "clusterrole-aggregation",
    .reads = (const uint16_t[]){RES_CLUSTERROLES, 0},
    .keys_of = keys_of,
    .reconcile = reconcile,
};
