/* SPDX-License-Identifier: Apache-2.0 */
#include "type/amounts.h"

#include "names.h"
#include "type/meta.h"

struct quantity *amounts_find(const struct amounts *a, struct str name)
{
    for (size_t i = 0; i < a->n; i++)
        if (str_eq(a->items[i].name, name))
            return &a->items[i].q;
    return NULL;
}

static struct quantity *make(struct arena *a, struct amounts *to, struct str name)
{
    struct quantity *q = amounts_find(to, name);
    if (q)
        return q;
    if (to->n == to->cap) {
        size_t cap = to->cap ? to->cap * 2 : 8;
        struct amount *items = ARENA_ARRAY(a, struct amount, cap);
        if (to->n)
            memcpy(items, to->items, to->n * sizeof(*items));
        to->items = items;
        to->cap = cap;
    }
    to->items[to->n] = (struct amount){.name = name};
    return &to->items[to->n++].q;
}

void amounts_add(struct arena *a, struct amounts *to, struct str name, struct quantity q)
{
    struct quantity *sum = make(a, to, name);
    *sum = quantity_add(*sum, q);
}

void amounts_add_all(struct arena *a, struct amounts *to, const struct amounts *more)
{
    for (size_t i = 0; i < more->n; i++)
        amounts_add(a, to, more->items[i].name, more->items[i].q);
}

void amounts_add_list(struct arena *a, struct amounts *to, const struct val *list)
{
    VAL_EACH_ENTRY (list, k, v)
        amounts_add(a, to, val_str(k), quantity_or_zero(val_str(v)));
}

static void raise_to(struct arena *a, struct amounts *to, const struct amounts *least)
{
    for (size_t i = 0; i < least->n; i++) {
        struct quantity *q = make(a, to, least->items[i].name);
        if (quantity_cmp(least->items[i].q, *q) > 0)
            *q = least->items[i].q;
    }
}

/* ---- pods -------------------------------------------------------------------------------------------- */

static bool is_sidecar(const struct val *container)
{
    return str_is(val_getstr(container, N_restartPolicy), "Always");
}

/* Only these can be said for the pod as a whole. */
static bool of_whole_pod(struct str name)
{
    return str_is(name, "cpu") || str_is(name, "memory") || str_starts(name, STR("hugepages-"));
}

static bool any_of_whole_pod(const struct val *list)
{
    VAL_EACH_ENTRY (list, k, v)
        if (v && of_whole_pod(val_str(k)))
            return true;
    return false;
}

bool pod_level_resources(const struct val *spec)
{
    return any_of_whole_pod(val_at(spec, N_resources, N_requests)) ||
           any_of_whole_pod(val_at(spec, N_resources, N_limits));
}

static bool resize_infeasible(const struct val *pod)
{
    const struct val *c = condition_find(val_at(pod, N_status, N_conditions), STR("PodResizePending"));
    return str_is(val_getstr(c, N_reason), "Infeasible");
}

/* What one container asks for; pod: also what it was given and has, NULL: as the spec says. */
static void container_amounts(struct arena *a, const struct val *pod, const struct val *c, name_id statuses,
                              name_id which, struct amounts *ret)
{
    struct amounts has = {.n = 0}, given = {.n = 0};
    const struct val *s = val_named(val_at(pod, N_status, statuses), val_getstr(c, N_name));
    *ret = (struct amounts){.n = 0};
    if (!s || !resize_infeasible(pod))
        amounts_add_list(a, ret, val_at(c, N_resources, which));
    if (!s)
        return;
    amounts_add_list(a, &has, val_at(s, N_resources, which));
    raise_to(a, ret, &has);
    if (which == N_requests)
        amounts_add_list(a, &given, val_get(s, N_allocatedResources));
    raise_to(a, ret, &given);
}

static void sum(struct arena *a, const struct val *spec, const struct val *pod, name_id which,
                struct amounts *ret)
{
    struct amounts all = {.n = 0}, most = {.n = 0}, sidecars = {.n = 0}, one;
    VAL_EACH (val_get(spec, N_containers), c) {
        container_amounts(a, pod, c, N_containerStatuses, which, &one);
        amounts_add_all(a, &all, &one);
    }
    VAL_EACH (val_get(spec, N_initContainers), c) {
        struct amounts now = {.n = 0};
        container_amounts(a, is_sidecar(c) ? pod : NULL, c, N_initContainerStatuses, which, &one);
        amounts_add_all(a, &now, &sidecars);
        amounts_add_all(a, &now, &one);
        raise_to(a, &most, &now);
        if (is_sidecar(c)) {
            amounts_add_all(a, &sidecars, &one);
            amounts_add_all(a, &all, &one);
        }
    }
    raise_to(a, &all, &most);
    VAL_EACH_ENTRY (val_at(spec, N_resources, which), k, v)
        if (of_whole_pod(val_str(k)))
            *make(a, &all, val_str(k)) = quantity_or_zero(val_str(v));
    *ret = all;
}

void pod_amounts(struct arena *a, const struct val *spec, name_id which, struct amounts *ret)
{
    sum(a, spec, NULL, which, ret);
}

void pod_amounts_held(struct arena *a, const struct val *pod, name_id which, struct amounts *ret)
{
    const struct val *spec = val_get(pod, N_spec);
    sum(a, spec, pod, which, ret);
    VAL_EACH_ENTRY (val_get(spec, N_overhead), k, v) {
        const struct quantity *q = amounts_find(ret, val_str(k));
        if (which == N_requests || (q && !quantity_is_zero(*q)))
            amounts_add(a, ret, val_str(k), quantity_or_zero(val_str(v)));
    }
}
