/* SPDX-License-Identifier: Apache-2.0 */
/* What may change in a Pod once it is there: little (API documentation, "Pod update and replacement"). */
#include "type/validate-internal.h"

/* The specs with what may change made the same: what still differs must not. */
struct munged {
    struct arena *arena;
    struct val *spec;
    const struct val *old;
};

static void take_old(struct munged *m, name_id name)
{
    val_set_ref(m->arena, m->spec, name, val_get(m->old, name));
}

static void take_old_images(struct munged *m, name_id list)
{
    struct val *containers = val_copy_shallow(m->arena, val_get(m->spec, list));
    for (size_t i = 0; i < val_len(containers); i++) {
        struct val *c = val_copy_shallow(m->arena, &containers->items[i]);
        val_set_ref(m->arena, c, N_image, val_get(val_item(val_get(m->old, list), i), N_image));
        name_id keep = containers->items[i].name;
        containers->items[i] = *c;
        containers->items[i].name = keep;
    }
    if (containers)
        val_set(m->arena, m->spec, list, *containers);
}

static bool check_containers(struct validation *x, const struct vpath *p, const struct val *list,
                             const struct val *old)
{
    if (val_len(list) == val_len(old))
        return true;
    say_forbidden(x, p, "pod updates may not add or remove containers");
    return false;
}

static bool check_deadline(struct validation *x, const struct vpath *p, const struct val *v,
                           const struct val *old)
{
    int64_t n = val_int(v, 0);
    if (!v && old)
        say_invalid(x, p, NULL, "must not update from a positive integer to nil value");
    if (!v)
        return true;
    if (n < 0 || n > INT32_MAX)
        say_invalid(x, p, v, "must be between 0 and 2147483647, inclusive");
    else if (old && val_int(old, 0) < n)
        say_invalid(x, p, v, "must be less than or equal to previous value");
    else
        return true;
    return false;
}

/* Those there were stay; how long they hold may change. */
static void check_tolerations(struct validation *x, const struct vpath *p, const struct val *list,
                              const struct val *old)
{
    VAL_EACH (old, was) {
        bool found = false;
        struct val *plain = val_copy_shallow(x->s->arena, was);
        val_del(plain, N_tolerationSeconds);
        VAL_EACH (list, t) {
            struct val *other = val_copy_shallow(x->s->arena, t);
            val_del(other, N_tolerationSeconds);
            found = found || val_equal(plain, other);
        }
        if (!found) {
            say_forbidden(x, p, "existing toleration can not be modified except its tolerationSeconds");
            return;
        }
    }
}

static void check_gates(struct validation *x, const struct vpath *p, const struct val *list,
                        const struct val *old)
{
    size_t i = 0;
    VAL_EACH (list, gate) {
        if (!val_named(old, val_getstr(gate, N_name)))
            say_forbidden(x, AT(ITEM(p, i), N_name),
                          "only deletion is allowed, but found new scheduling gate");
        i++;
    }
}

/* While scheduling gates hold a Pod back, it may be told more about where to go (KEP-3838). */
static void check_node_selector_growth(struct validation *x, const struct vpath *p, const struct val *map,
                                       const struct val *old)
{
    VAL_EACH_ENTRY (old, k, v)
        if (!val_equal(val_key(map, val_str(k)), v)) {
            say_invalid(x, p, map,
                        "only additions to spec.nodeSelector are allowed (no mutations or deletions)");
            return;
        }
}

static bool is_prefix(const struct val *list, const struct val *old)
{
    for (size_t i = 0; i < val_len(old); i++)
        if (!val_equal(val_item(list, i), val_item(old, i)))
            return false;
    return true;
}

static void check_term_growth(struct validation *x, const struct vpath *p, const struct val *terms,
                              const struct val *old)
{
    if (val_len(terms) != val_len(old)) {
        say_invalid(x, p, terms, "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
        return;
    }
    for (size_t i = 0; i < val_len(old); i++) {
        const struct val *t = val_item(terms, i), *was = val_item(old, i);
        bool nothing = !val_len(val_get(was, N_matchExpressions)) && !val_len(val_get(was, N_matchFields));
        if (val_equal(t, was))
            continue;
        if (nothing || !is_prefix(val_get(t, N_matchExpressions), val_get(was, N_matchExpressions)) ||
            !is_prefix(val_get(t, N_matchFields), val_get(was, N_matchFields)))
            say_invalid(x, ITEM(p, i), t, "only additions are allowed (no mutations or deletions)");
    }
}

static void check_gated(struct validation *x, const struct vpath *p, struct munged *m)
{
    const struct val *selector = val_get(m->spec, N_nodeSelector), *affinity = val_get(m->spec, N_affinity);
    const struct val *node = val_get(affinity, N_nodeAffinity),
                     *was = val_at(m->old, N_affinity, N_nodeAffinity);
    check_node_selector_growth(x, AT(p, N_nodeSelector), selector, val_get(m->old, N_nodeSelector));
    take_old(m, N_nodeSelector);
    if (val_equal(node, was))
        return;
    const struct val *old_terms =
        val_at(was, N_requiredDuringSchedulingIgnoredDuringExecution, N_nodeSelectorTerms);
    if (old_terms)
        check_term_growth(
            x,
            AT(AT(AT(AT(p, N_affinity), N_nodeAffinity), N_requiredDuringSchedulingIgnoredDuringExecution),
               N_nodeSelectorTerms),
            val_at(node, N_requiredDuringSchedulingIgnoredDuringExecution, N_nodeSelectorTerms), old_terms);
    struct val *munged = val_copy_shallow(m->arena, affinity) ?: val_new(m->arena, VAL_OBJ);
    val_set_ref(m->arena, munged, N_nodeAffinity, was);
    val_set(m->arena, m->spec, N_affinity, *munged);
}

static void check_rest(struct validation *x, const struct vpath *p, const struct val *spec,
                       const struct val *old)
{
    struct munged m = {.arena = x->s->arena, .spec = val_copy_shallow(x->s->arena, spec), .old = old};
    static const name_id free_to_change[] = {N_activeDeadlineSeconds, N_schedulingGates, N_tolerations};
    for (size_t i = 0; i < ARRAY_SIZE(free_to_change); i++)
        take_old(&m, free_to_change[i]);
    take_old_images(&m, N_containers);
    take_old_images(&m, N_initContainers);
    if (val_int(val_get(old, N_terminationGracePeriodSeconds), 0) < 0 &&
        val_int(val_get(spec, N_terminationGracePeriodSeconds), 0) == 1)
        take_old(&m, N_terminationGracePeriodSeconds);
    if (val_len(val_get(old, N_schedulingGates)))
        check_gated(x, p, &m);
    if (!val_equal(m.spec, old))
        say_forbidden(x, p,
                      "pod updates may not change fields other than `spec.containers[*].image`,"
                      "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
                      "additions to "
                      "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 "
                      "if it was previously "
                      "negative)");
}

static void check_spec_update(struct validation *x, const struct vpath *p, const struct val *spec,
                              const struct val *old)
{
    static const name_id lists[] = {N_containers, N_initContainers};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        if (!check_containers(x, AT(p, lists[i]), val_get(spec, lists[i]), val_get(old, lists[i])))
            return;
    if (!check_deadline(x, AT(p, N_activeDeadlineSeconds), val_get(spec, N_activeDeadlineSeconds),
                        val_get(old, N_activeDeadlineSeconds)))
        return;
    check_tolerations(x, AT(p, N_tolerations), val_get(spec, N_tolerations), val_get(old, N_tolerations));
    check_gates(x, AT(p, N_schedulingGates), val_get(spec, N_schedulingGates),
                val_get(old, N_schedulingGates));
    if (!val_equal(spec, old))
        check_rest(x, p, spec, old);
}

static void check_ephemeral(struct validation *x, const struct vpath *p, const struct val *list,
                            const struct val *old)
{
    VAL_EACH (old, was) {
        const struct val *now = val_named(list, val_getstr(was, N_name));
        if (!now)
            say_forbidden(x, p, "existing ephemeral containers may not be removed");
        else if (!val_equal(now, was))
            say_forbidden(x, p, "existing ephemeral containers may not be changed");
    }
}

void check_pod_update(struct validation *x, const struct vpath *p, const struct val *pod,
                      const struct val *old)
{
    const struct val *spec = val_get(pod, N_spec), *was = val_get(old, N_spec);
    if (!x->subresource)
        check_spec_update(x, p, spec, was);
    else if (strcmp(x->subresource, "ephemeralcontainers") == 0 &&
             val_key(val_get(obj_meta(old), N_annotations), STR("kubernetes.io/config.mirror")))
        say_forbidden(x, &(const struct vpath){0}, "static pods do not support ephemeral containers");
    else if (strcmp(x->subresource, "ephemeralcontainers") == 0)
        check_ephemeral(x, AT(p, N_ephemeralContainers), val_get(spec, N_ephemeralContainers),
                        val_get(was, N_ephemeralContainers));
    else if (strcmp(x->subresource, "resize") == 0)
        check_pod_resize(x, p, pod, old);
}
