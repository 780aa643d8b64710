/* SPDX-License-Identifier: Apache-2.0 */
/* Which nodes a DaemonSet's pods belong on, and how a pod is bound to one without binding it (the scheduler
 * does). */
#include "controllers/daemonset.h"

#include "controllers/own.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/fit.h"
#include "type/meta.h"

/* ---- tolerations ------------------------------------------------------------------------------------- */

/* What every daemon puts up with: it is there to look after the node, above all when that is not well. */
static const struct standard {
    const char *key, *effect;
    bool host_network; /* only those */
} standard[] = {
    {"node.kubernetes.io/not-ready", "NoExecute", false},
    {"node.kubernetes.io/unreachable", "NoExecute", false},
    {"node.kubernetes.io/disk-pressure", "NoSchedule", false},
    {"node.kubernetes.io/memory-pressure", "NoSchedule", false},
    {"node.kubernetes.io/pid-pressure", "NoSchedule", false},
    {"node.kubernetes.io/unschedulable", "NoSchedule", false},
    {"node.kubernetes.io/network-unavailable", "NoSchedule", true},
};

static bool is_standard(const struct val *t, const struct standard *s)
{
    return str_is(val_getstr(t, N_key), s->key) && str_is(val_getstr(t, N_operator), "Exists") &&
           str_is(val_getstr(t, N_effect), s->effect) && str_empty(val_getstr(t, N_value));
}

/* One that differs only in its seconds is made to last. */
static void add_toleration(struct arena *a, struct val *list, const struct standard *s)
{
    for (size_t i = 0; i < list->n; i++)
        if (is_standard(&list->items[i], s)) {
            struct val *t = val_copy_shallow(a, &list->items[i]);
            val_del(t, N_tolerationSeconds);
            list->items[i] = *t;
            return;
        }
    struct val *t = val_add_obj(a, list);
    val_set_str(a, t, N_key, str_of(s->key));
    val_set_str(a, t, N_operator, STR("Exists"));
    val_set_str(a, t, N_effect, str_of(s->effect));
}

void daemon_needs_read(struct arena *a, const struct object *set, struct daemon_needs *ret)
{
    const struct val *spec = val_at(set->val, N_spec, N_template, N_spec),
                     *own = val_get(spec, N_tolerations);
    struct val *list = own ? val_copy_shallow(a, own) : val_new(a, VAL_LIST);
    bool host_network = val_bool(val_get(spec, N_hostNetwork), false);
    for (size_t i = 0; i < ARRAY_SIZE(standard); i++)
        if (host_network || !standard[i].host_network)
            add_toleration(a, list, &standard[i]);
    *ret = (struct daemon_needs){.spec = spec, .tolerations = list, .node = val_getstr(spec, N_nodeName)};
}

/* ---- nodes ------------------------------------------------------------------------------------------- */

struct fit daemon_fit(const struct daemon_needs *n, const struct object *node)
{
    const struct val *taints = val_at(node->val, N_spec, N_taints);
    if ((!str_empty(n->node) && !str_eq(n->node, node->name)) ||
        !match_node(n->spec, obj_labels(node->val), node->name))
        return (struct fit){false, false};
    if (!match_untolerated(taints, n->tolerations, EFFECT_NO_EXECUTE | EFFECT_NO_SCHEDULE))
        return (struct fit){true, true};
    return (struct fit){false, !match_untolerated(taints, n->tolerations, EFFECT_NO_EXECUTE)};
}

/* ---- pinning ----------------------------------------------------------------------------------------- */

static struct str pinned_to(const struct val *term)
{
    VAL_EACH (val_get(term, N_matchFields), r)
        if (str_is(val_getstr(r, N_key), "metadata.name") && str_is(val_getstr(r, N_operator), "In"))
            return val_len(val_get(r, N_values)) == 1 ? val_str(val_item(val_get(r, N_values), 0)) : STR_NULL;
    return STR_NULL;
}

struct str daemon_target(const struct val *pod)
{
    struct str name = val_str(val_at(pod, N_spec, N_nodeName));
    if (!str_empty(name))
        return name;
    VAL_EACH (val_at(pod, N_spec, N_affinity, N_nodeAffinity,
                     N_requiredDuringSchedulingIgnoredDuringExecution, N_nodeSelectorTerms),
              term) {
        name = pinned_to(term);
        if (!str_empty(name))
            return name;
    }
    return STR_NULL;
}

static struct val *own_obj(struct arena *a, struct val *obj, name_id name)
{
    const struct val *old = val_get(obj, name);
    return val_set(a, obj, name, old ? *val_copy_shallow(a, old) : *val_new(a, VAL_OBJ));
}

/* The node's name takes the place of all required terms: that they hold is known. */
static void pin(struct arena *a, struct val *spec, struct str node)
{
    struct val *affinity = own_obj(a, own_obj(a, spec, N_affinity), N_nodeAffinity);
    struct val *required =
        val_set(a, affinity, N_requiredDuringSchedulingIgnoredDuringExecution, *val_new(a, VAL_OBJ));
    struct val *term = val_add_obj(a, val_sub_list(a, required, N_nodeSelectorTerms));
    struct val *field = val_add_obj(a, val_sub_list(a, term, N_matchFields));
    val_set_str(a, field, N_key, STR("metadata.name"));
    val_set_str(a, field, N_operator, STR("In"));
    val_add_str(a, val_sub_list(a, field, N_values), node);
}

const struct val *daemon_template(const struct daemon *d, struct str node)
{
    struct arena *a = d->w->arena;
    struct val *t = val_copy_shallow(a, val_get(d->spec, N_template));
    struct val *labels = own_map(a, own_obj(a, t, N_metadata), N_labels), *spec = own_obj(a, t, N_spec);
    int64_t generation;
    struct str text = obj_annotation(d->set->val, STR("deprecated.daemonset.template.generation"));
    if (str_to_i64(text, &generation) == 0)
        val_put_str(a, labels, STR("pod-template-generation"), text);
    val_put_str(a, labels, STR("controller-revision-hash"), d->current->hash);
    val_set_ref(a, spec, N_tolerations, d->needs.tolerations);
    pin(a, spec, node);
    return t;
}

/* ---- keys -------------------------------------------------------------------------------------------- */

/* Of the pods on the node only: a cluster has many more. */
static bool has_pod_on(const struct snapshot *world, const struct object *set, const struct object *node)
{
    TREE_EACH (snapshot_index(world, &resources[RES_PODS], index_pod_node), node->name, it)
        if (str_eq(it.object->namespace_, set->namespace_) && obj_controlled_by(it.object->val, set->uid))
            return true;
    return false;
}

static bool concerns(const struct snapshot *world, const struct object *set, const struct object *node,
                     bool gone)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct daemon_needs needs;
    daemon_needs_read(&a, set, &needs);
    struct fit fit = daemon_fit(&needs, node);
    bool has = has_pod_on(world, set, node);
    if (gone)
        return fit.run || has;
    return fit.run != has || (!fit.stay && has) ||
           (has && val_int(val_at(set->val, N_status, N_numberMisscheduled), 0) > 0);
}

void keys_of_node(const struct snapshot *world, const struct object *old, const struct object *new_,
                  key_sink *sink, void *arg)
{
    const struct object *node = new_ ? new_ : old;
    if (old && new_ && val_equal(obj_labels(old->val), obj_labels(new_->val)) &&
        val_equal(val_at(old->val, N_spec, N_taints), val_at(new_->val, N_spec, N_taints)))
        return;
    struct tree_iter it;
    for (tree_seek(&it, snapshot_tree(world, &resources[RES_DAEMONSETS]), STR_NULL); it.object;
         tree_next(&it))
        if (concerns(world, it.object, node, !new_))
            sink(arg, (struct key){it.object->namespace_, it.object->name});
}
