/* SPDX-License-Identifier: Apache-2.0 */
#include "type/podresources.h"

#include "names.h"
#include "wire/quantity.h"

static struct quantity amount(const struct val *map, struct str name)
{
    return quantity_or_zero(val_str(val_key(map, name)));
}

static void put(struct arena *a, struct val *map, struct str name, struct quantity q)
{
    char text[QUANTITY_TEXT_MAX];
    val_put_str(a, map, name, str_of(quantity_text(q, text)));
}

static void add(struct arena *a, struct val *map, const struct val *more)
{
    VAL_EACH_ENTRY (more, k, q) {
        struct quantity one = quantity_or_zero(val_str(q));
        put(a, map, val_str(k), val_key(map, val_str(k)) ? quantity_add(amount(map, val_str(k)), one) : one);
    }
}

static void raise(struct arena *a, struct val *map, const struct val *other)
{
    VAL_EACH_ENTRY (other, k, q)
        if (!val_key(map, val_str(k)) ||
            quantity_cmp(quantity_or_zero(val_str(q)), amount(map, val_str(k))) > 0)
            put(a, map, val_str(k), quantity_or_zero(val_str(q)));
}

static bool is_sidecar(const struct val *container)
{
    return str_is(val_getstr(container, N_restartPolicy), "Always");
}

const struct val *pod_resources_sum(struct arena *a, const struct val *spec, name_id list)
{
    struct val *all = val_new(a, VAL_MAP), *sidecars = val_new(a, VAL_MAP), *peak = val_new(a, VAL_MAP);
    VAL_EACH (val_get(spec, N_containers), c)
        add(a, all, val_at(c, N_resources, list));
    VAL_EACH (val_get(spec, N_initContainers), c) {
        const struct val *wants = val_at(c, N_resources, list);
        if (is_sidecar(c)) {
            add(a, all, wants);
            add(a, sidecars, wants);
            raise(a, peak, sidecars);
        } else {
            struct val *now = val_copy(a, sidecars);
            add(a, now, wants);
            raise(a, peak, now);
        }
    }
    raise(a, all, peak);
    return all;
}

/* ---- defaults ------------------------------------------------------------------------------------------ */

static bool is_huge(struct str name)
{
    return str_starts(name, STR("hugepages-"));
}

static bool overcommits(struct str name)
{
    return str_is(name, "cpu") || str_is(name, "memory");
}

/* A map is added only when there is something to put there. */
static void put_missing(struct arena *a, struct val *resources, name_id list, struct str name,
                        const struct val *q)
{
    if (!val_key(val_get(resources, list), name))
        val_put_str(a, val_sub_map(a, resources, list), name, val_str(q));
}

/* Huge pages cannot be shared out twice: what the containers may use is what the Pod may. */
static void limit_huge_pages(struct arena *a, struct val *resources, const struct val *spec)
{
    VAL_EACH_ENTRY (pod_resources_sum(a, spec, N_limits), k, q)
        if (is_huge(val_str(k)) && !val_key(val_get(resources, N_requests), val_str(k)))
            put_missing(a, resources, N_limits, val_str(k), q);
}

static void request(struct arena *a, struct val *resources, const struct val *spec)
{
    VAL_EACH_ENTRY (pod_resources_sum(a, spec, N_requests), k, q)
        if (overcommits(val_str(k)))
            put_missing(a, resources, N_requests, val_str(k), q);
    VAL_EACH_ENTRY (val_get(resources, N_limits), k, q)
        if (overcommits(val_str(k)) || is_huge(val_str(k)))
            put_missing(a, resources, N_requests, val_str(k), q);
}

static bool all_limit(const struct val *spec, struct str name)
{
    static const name_id lists[] = {N_containers, N_initContainers, N_ephemeralContainers};
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
        VAL_EACH (val_get(spec, lists[l]), c)
            if (!val_key(val_at(c, N_resources, N_limits), name))
                return false;
    return true;
}

/* Where every container has a limit, so has the Pod; never less than it requests. */
static void limit(struct arena *a, struct val *resources, const struct val *spec)
{
    const struct val *sum = pod_resources_sum(a, spec, N_limits);
    VAL_EACH_ENTRY (val_get(resources, N_requests), k, q) {
        const struct val *most = val_key(sum, val_str(k));
        if ((!overcommits(val_str(k)) && !is_huge(val_str(k))) || !most || !all_limit(spec, val_str(k)))
            continue;
        if (quantity_cmp(quantity_or_zero(val_str(q)), quantity_or_zero(val_str(most))) > 0)
            most = q;
        put_missing(a, resources, N_limits, val_str(k), most);
    }
}

void pod_resources_default(struct arena *a, struct val *pod)
{
    struct val *spec = val_mut(pod, N_spec), *resources = val_mut(spec, N_resources);
    if (!val_len(val_get(resources, N_requests)) && !val_len(val_get(resources, N_limits)))
        return;
    resources = val_copy(a, resources);
    limit_huge_pages(a, resources, spec);
    request(a, resources, spec);
    limit(a, resources, spec);
    val_set(a, spec, N_resources, *resources);
}
