/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/limits.h"

#include "names.h"

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
    struct amount *items = ARENA_ARRAY(a, struct amount, to->n + 1);
    if (to->n)
        memcpy(items, to->items, to->n * sizeof(*items));
    items[to->n] = (struct amount){.name = name};
    to->items = items;
    return &items[to->n++].q;
}

void amounts_add(struct arena *a, struct amounts *to, struct str name, struct quantity q)
{
    struct quantity *sum = make(a, to, name);
    *sum = quantity_add(*sum, q);
}

void amounts_add_list(struct arena *a, struct amounts *to, const struct val *list)
{
    VAL_EACH_ENTRY(list, k, v)
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

static bool is_sidecar(const struct val *container)
{
    return str_is(val_getstr(container, N_restartPolicy), "Always");
}

void pod_amounts(struct arena *a, const struct val *spec, name_id which, struct amounts *ret)
{
    struct amounts sum = {.n = 0}, most = {.n = 0}, sidecars = {.n = 0};
    VAL_EACH(val_get(spec, N_containers), c)
        amounts_add_list(a, &sum, val_at(c, N_resources, which));
    VAL_EACH(val_get(spec, N_initContainers), c) {
        const struct val *list = val_at(c, N_resources, which);
        struct amounts now = {.n = 0};
        for (size_t i = 0; i < sidecars.n; i++)
            amounts_add(a, &now, sidecars.items[i].name, sidecars.items[i].q);
        amounts_add_list(a, &now, list);
        raise_to(a, &most, &now);
        if (is_sidecar(c)) {
            amounts_add_list(a, &sidecars, list);
            amounts_add_list(a, &sum, list);
        }
    }
    raise_to(a, &sum, &most);
    const struct val *whole = val_at(spec, N_resources, which);
    VAL_EACH_ENTRY(whole, k, v)
        *make(a, &sum, val_str(k)) = quantity_or_zero(val_str(v)); /* KEP-2837: said for the pod as a whole */
    if (val_get(spec, N_overhead) && (which == N_requests || sum.n))
        VAL_EACH_ENTRY(val_get(spec, N_overhead), k, v)
            if (which == N_requests || amounts_find(&sum, val_str(k)))
                amounts_add(a, &sum, val_str(k), quantity_or_zero(val_str(v)));
    *ret = sum;
}
