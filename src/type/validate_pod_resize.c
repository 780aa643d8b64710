/* SPDX-License-Identifier: Apache-2.0 */
/* Resources of a Pod as a whole (KEP-2837), and changing resources while it runs (KEP-1287). */
#include "type/podresources.h"
#include "type/qos.h"
#include "type/validate-internal.h"
#include "wire/quantity.h"

static int compare(const struct val *a, const struct val *b)
{
    return quantity_cmp(quantity_or_zero(val_str(a)), quantity_or_zero(val_str(b)));
}

static const char *with_amount(struct validation *x, const char *text, const struct val *q)
{
    return arena_printf(x->s->arena, "%s " STR_FMT, text, STR_ARG(val_str(q))).p;
}

/* ---- the Pod's resources and its containers' ----------------------------------------------------------- */

static void check_container_limits(struct validation *x, const struct vpath *p, const struct val *spec)
{
    const struct val *limits = val_at(spec, N_resources, N_limits);
    size_t i = 0;
    VAL_EACH (val_get(spec, N_containers), c) {
        const struct vpath *at = ITEM(AT(p, N_containers), i++);
        VAL_EACH_ENTRY (val_at(c, N_resources, N_limits), k, q) {
            const struct val *most = val_key(limits, val_str(k));
            if (most && compare(q, most) > 0)
                say_invalid(x, AT(KEY(at, val_str(k)), N_limits), q,
                            with_amount(x, "must be less than or equal to pod limits of", most));
        }
    }
}

void check_resource_sums(struct validation *x, const struct vpath *p, const struct val *spec)
{
    const struct val *r = val_get(spec, N_resources), *q;
    VAL_EACH_ENTRY (pod_resources_sum(x->s->arena, spec, N_requests), k, sum)
        if ((q = val_key(val_get(r, N_requests), val_str(k))) && compare(sum, q) > 0)
            say_invalid(
                x, KEY(AT(p, N_requests), val_str(k)), q,
                with_amount(x, "must be greater than or equal to aggregate container requests of", sum));
    VAL_EACH_ENTRY (pod_resources_sum(x->s->arena, spec, N_limits), k, sum)
        if (is_hugepages(val_str(k)) && (q = val_key(val_get(r, N_limits), val_str(k))) &&
            compare(sum, q) > 0)
            say_invalid(
                x, KEY(AT(p, N_limits), val_str(k)), q,
                with_amount(x, "must be greater than or equal to aggregate container limits of", sum));
    check_container_limits(x, p, spec);
}

/* ---- resize -------------------------------------------------------------------------------------------- */

static bool same_containers(struct validation *x, const struct vpath *p, const struct val *list,
                            const struct val *old, const char *what)
{
    struct arena *a = x->s->arena;
    if (val_len(list) != val_len(old)) {
        say_forbidden(x, p, arena_printf(a, "%s may not be added or removed on resize", what).p);
        return false;
    }
    bool same = true;
    for (size_t i = 0; i < val_len(old); i++)
        if (!str_eq(val_getstr(val_item(list, i), N_name), val_getstr(val_item(old, i), N_name))) {
            say_forbidden(x, AT(ITEM(p, i), N_name),
                          arena_printf(a, "%s may not be renamed or reordered on resize", what).p);
            same = false;
        }
    return same;
}

static bool removed(const struct val *map, const struct val *old)
{
    EACH_KEY (old, k)
        if (!val_key(map, val_str(k)))
            return true;
    return false;
}

static void check_removed(struct validation *x, const struct vpath *p, const struct val *r,
                          const struct val *old, const char *what)
{
    struct arena *a = x->s->arena;
    if (removed(val_get(r, N_requests), val_get(old, N_requests)))
        say_forbidden(x, AT(p, N_requests), arena_printf(a, "%sresource requests cannot be removed", what).p);
    if (removed(val_get(r, N_limits), val_get(old, N_limits)))
        say_forbidden(x, AT(p, N_limits), arena_printf(a, "%sresource limits cannot be removed", what).p);
}

static bool same_amount(const struct val *map, const struct val *old, struct str name)
{
    const struct val *q = val_key(map, name), *was = val_key(old, name);
    return q && was ? compare(q, was) == 0 : q == was;
}

static bool only_cpu_and_memory_moved(const struct val *r, const struct val *old)
{
    static const name_id lists[] = {N_requests, N_limits};
    static const char *const movable[] = {"cpu", "memory", NULL};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        const struct val *now = val_get(r, lists[i]), *was = val_get(old, lists[i]);
        EACH_KEY (now, k)
            if (!str_in(val_str(k), movable) && !same_amount(now, was, val_str(k)))
                return false;
        EACH_KEY (was, k)
            if (!str_in(val_str(k), movable) && !same_amount(now, was, val_str(k)))
                return false;
    }
    return val_equal(val_get(r, N_claims), val_get(old, N_claims));
}

static bool restarts_on_resize(const struct val *container)
{
    VAL_EACH (val_get(container, N_resizePolicy), policy)
        if (str_is(val_getstr(policy, N_restartPolicy), "RestartContainer"))
            return true;
    return false;
}

static void check_containers(struct validation *x, const struct vpath *p, const struct val *list,
                             const struct val *old)
{
    for (size_t i = 0; i < val_len(old); i++) {
        const struct val *c = val_item(list, i), *was = val_item(old, i);
        check_removed(x, AT(ITEM(p, i), N_resources), val_get(c, N_resources), val_get(was, N_resources), "");
    }
}

static bool moved_more(const struct val *c, const struct val *was)
{
    return !only_cpu_and_memory_moved(val_get(c, N_resources), val_get(was, N_resources)) ||
           !val_equal(val_get(c, N_resizePolicy), val_get(was, N_resizePolicy));
}

static void check_what_moved(struct validation *x, const struct vpath *p, const struct val *spec,
                             const struct val *old)
{
    const struct val *list = val_get(spec, N_containers), *was = val_get(old, N_containers);
    for (size_t i = 0; i < val_len(was); i++)
        if (moved_more(val_item(list, i), val_item(was, i)))
            say_forbidden(x, p, "only cpu and memory resources are mutable");
    list = val_get(spec, N_initContainers);
    was = val_get(old, N_initContainers);
    for (size_t i = 0; i < val_len(was); i++) {
        const struct vpath *at = ITEM(AT(p, N_initContainers), i);
        const struct val *c = val_item(list, i);
        bool sidecar = str_is(val_getstr(c, N_restartPolicy), "Always");
        if (moved_more(c, val_item(was, i)))
            say_forbidden(x, at, "only cpu and memory resources for init or sidecar containers are mutable");
        if (!sidecar && !val_equal(c, val_item(was, i)) && restarts_on_resize(c))
            say_forbidden(
                x, at,
                "non-sidecar init containers with a resize policy of RestartContainer cannot be resized");
    }
}

/* Nodes before KEP-1287 do not report the resources of running containers. */
static bool node_can_resize(const struct val *pod)
{
    VAL_EACH (val_at(pod, N_status, N_containerStatuses), c)
        if (val_at(c, N_state, N_running))
            return val_get(c, N_resources) != NULL;
    return true;
}

static bool resizable(struct validation *x, const struct val *old)
{
    static const struct vpath nowhere = {0};
    const char *why = NULL;
    if (val_key(val_get(obj_meta(old), N_annotations), STR("kubernetes.io/config.mirror")))
        why = "static pods cannot be resized";
    else if (str_is(val_str(val_at(old, N_spec, N_os, N_name)), "windows"))
        why = "windows pods cannot be resized";
    if (why)
        say_forbidden(x, &nowhere, why);
    return !why;
}

void check_pod_resize(struct validation *x, const struct vpath *p, const struct val *pod,
                      const struct val *old)
{
    const struct val *spec = val_get(pod, N_spec), *was = val_get(old, N_spec),
                     *qos = val_at(old, N_status, N_qosClass);
    const struct val *r = val_get(spec, N_resources), *r_was = val_get(was, N_resources);
    if (!resizable(x, old))
        return;
    if (!str_is(val_str(qos).n ? val_str(qos) : str_of(pod_qos_class(was)), pod_qos_class(spec)))
        say_invalid(x, p, val_at(pod, N_status, N_qosClass),
                    "Pod QOS Class may not change as a result of resizing");
    if (!node_can_resize(old))
        say_forbidden(x, p, "Pod running on node without support for resize");
    check_removed(x, AT(p, N_resources), r, r_was, "pod-level ");
    if (!only_cpu_and_memory_moved(r, r_was))
        say_forbidden(x, p, "only cpu and memory resources are mutable at pod-level");
    bool same = same_containers(x, AT(p, N_containers), val_get(spec, N_containers),
                                val_get(was, N_containers), "containers");
    same = same_containers(x, AT(p, N_initContainers), val_get(spec, N_initContainers),
                           val_get(was, N_initContainers), "initContainers") &&
           same;
    if (!same)
        return;
    check_containers(x, AT(p, N_initContainers), val_get(spec, N_initContainers),
                     val_get(was, N_initContainers));
    check_containers(x, AT(p, N_containers), val_get(spec, N_containers), val_get(was, N_containers));
    check_what_moved(x, p, spec, was);
}
