/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/extended.h"

#include "client/replica.h"
#include "names.h"
#include "resources.h"
#include "type/amounts.h"
#include "type/meta.h"

enum { EXTENDED_MAX = 32 };

static bool may_be_device(struct str resource)
{
    return str_find(resource, '/') > 0;
}

/* The class of a resource; of several the newest, then the first by name. */
static const struct val *class_of(const struct tree *classes, struct str resource)
{
    const struct val *best = NULL;
    if (str_starts(resource, STR(DEVICE_CLASS_PREFIX))) {
        const struct object *o = tree_get(classes, str_from(resource, sizeof(DEVICE_CLASS_PREFIX) - 1));
        return o ? o->val : NULL;
    }
    TREE_EACH (classes, STR_NULL, it) {
        const struct val *v = it.object->val;
        if (str_eq(val_str(val_at(v, N_spec, N_extendedResourceName)), resource) &&
            (!best || str_cmp(val_getstr(obj_meta(v), N_creationTimestamp), val_getstr(obj_meta(best), N_creationTimestamp)) > 0))
            best = v;
    }
    return best;
}

static int by_name(const void *a, const void *b)
{
    return str_cmp(((const struct extended_resource *)a)->name, ((const struct extended_resource *)b)->name);
}

bool extended_possible(const struct val *spec)
{
    static const name_id lists[] = {N_initContainers, N_containers};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        VAL_EACH (val_get(spec, lists[i]), c)
            VAL_EACH_ENTRY (val_at(c, N_resources, N_requests), k, q) {
                (void)q;
                if (may_be_device(val_str(k)))
                    return true;
            }
    return false;
}

struct extended *extended_new(const struct world *w, const struct needs *pod, struct arena *a)
{
    const struct tree *classes = w->objects ? snapshot_tree(w->objects, &resources[RES_DEVICECLASSES]) : NULL;
    struct amounts all = {0};
    if (!classes || !extended_possible(pod->spec))
        return NULL;
    pod_amounts(a, pod->spec, N_requests, &all);
    struct extended *x = ARENA_NEW(a, struct extended);
    x->items = ARENA_ARRAY(a, struct extended_resource, EXTENDED_MAX);
    for (size_t i = 0; i < all.n && x->n < EXTENDED_MAX; i++) {
        const struct val *class =
            may_be_device(all.items[i].name) && !quantity_is_zero(all.items[i].q) ? class_of(classes, all.items[i].name) : NULL;
        if (class)
            x->items[x->n++] = (struct extended_resource){all.items[i].name, class};
    }
    if (x->n > 1)
        qsort(x->items, x->n, sizeof(*x->items), by_name);
    return x->n ? x : NULL;
}

bool extended_has(const struct extended *x, struct str name)
{
    for (size_t i = 0; x && i < x->n; i++)
        if (str_eq(x->items[i].name, name))
            return true;
    return false;
}

uint32_t extended_on(const struct extended *x, const struct node *node)
{
    const struct val *allocatable = val_at(node->object->val, N_status, N_allocatable);
    uint32_t bits = 0;
    for (size_t i = 0; x && i < x->n; i++)
        if (quantity_is_zero(quantity_or_zero(val_str(val_key(allocatable, x->items[i].name)))))
            bits |= 1u << i;
    return bits;
}

/* ---- the claim -------------------------------------------------------------------------------------------- */

struct making {
    struct arena *a;
    const struct val *spec;
    struct val *mappings;
    struct str resource, class;
    const struct val **requests; /* of this resource by container */
};

static size_t n_init(const struct making *m)
{
    return val_len(val_get(m->spec, N_initContainers));
}

static const struct val *container_at(const struct making *m, size_t i)
{
    return i < n_init(m) ? val_item(val_get(m->spec, N_initContainers), i)
                         : val_item(val_get(m->spec, N_containers), i - n_init(m));
}

static bool is_short_lived(const struct making *m, size_t i)
{
    return i < n_init(m) && !str_is(val_getstr(container_at(m, i), N_restartPolicy), "Always");
}

static void map_to(const struct making *m, const struct val *container, struct str request)
{
    struct val *o = val_add_obj(m->a, m->mappings);
    val_set_str(m->a, o, N_containerName, val_getstr(container, N_name));
    val_set_str(m->a, o, N_resourceName, m->resource);
    val_set_str(m->a, o, N_requestName, request);
}

static int64_t count_of(const struct val *request)
{
    return val_int(val_at(request, N_exactly, N_count), 0);
}

/* The place of the resource among the container's, by name. */
static size_t place_of(const struct val *requests, struct str resource)
{
    size_t n = 0;
    VAL_EACH_ENTRY (requests, k, q) {
        (void)q;
        n += str_cmp(val_str(k), resource) < 0;
    }
    return n;
}

/* The devices that a container needs beside those it may have from the containers after it (from on: devices are used
 * again by who comes later). NULL: none. */
static const struct val *request_of(const struct making *m, size_t i, size_t from, size_t to)
{
    const struct val *c = container_at(m, i), *requests = val_at(c, N_resources, N_requests);
    int64_t wanted = quantity_units(quantity_or_zero(val_str(val_key(requests, m->resource)))), have = 0;
    if (wanted <= 0)
        return NULL;
    for (size_t k = from; k < to; k++)
        if (m->requests[k]) {
            have += count_of(m->requests[k]);
            map_to(m, c, val_getstr(m->requests[k], N_name));
            if (have >= wanted)
                return NULL;
        }
    struct val *r = val_new(m->a, VAL_OBJ), *exactly = val_sub_obj(m->a, r, N_exactly);
    val_set_str(m->a, r, N_name, arena_printf(m->a, "container-%zu-request-%zu", i, place_of(requests, m->resource)));
    exactly = val_mut(r, N_exactly);
    val_set_str(m->a, exactly, N_deviceClassName, m->class);
    val_set_str(m->a, exactly, N_allocationMode, STR("ExactCount"));
    val_set_int(m->a, exactly, N_count, wanted - have);
    map_to(m, c, val_getstr(r, N_name));
    return r;
}

/* Init containers run one after the other: what the hungriest needs does for all. */
static const struct val *largest_short_lived(struct making *m, size_t n)
{
    const struct val *most = NULL;
    struct map names = MAP_INIT;
    uint32_t first = m->mappings->n;
    for (size_t i = 0; i < n; i++) {
        const struct val *r = is_short_lived(m, i) ? request_of(m, i, i, n) : NULL;
        if (!r)
            continue;
        map_put(&names, val_getstr(r, N_name), m);
        if (!most || count_of(r) > count_of(most))
            most = r;
    }
    for (uint32_t i = first; i < m->mappings->n; i++)
        if (map_has(&names, val_getstr(&m->mappings->items[i], N_requestName)))
            val_set_str(m->a, &m->mappings->items[i], N_requestName, val_getstr(most, N_name));
    map_done(&names);
    return most;
}

static void add_resource(struct making *m, struct val *requests)
{
    size_t n = n_init(m) + val_len(val_get(m->spec, N_containers));
    m->requests = ARENA_ARRAY(m->a, const struct val *, n);
    for (size_t i = 0; i < n; i++)
        m->requests[i] = is_short_lived(m, i) ? NULL : request_of(m, i, 0, 0);
    const struct val *most = largest_short_lived(m, n);
    if (most)
        val_add(m->a, requests, *most);
    for (size_t i = 0; i < n; i++)
        if (m->requests[i])
            val_add(m->a, requests, *m->requests[i]);
}

static int by_request_name(const void *a, const void *b)
{
    return str_cmp(val_getstr(a, N_name), val_getstr(b, N_name));
}

struct val *extended_claim(const struct extended *x, uint32_t which, const struct needs *pod, struct arena *a,
                           const struct val **ret_mappings)
{
    struct val *v = val_new(a, VAL_OBJ), *meta = val_sub_obj(a, v, N_metadata), *requests = val_new(a, VAL_LIST);
    struct val ref = obj_owner_ref(a, "v1", "Pod", pod->pod->val), *devices = val_new(a, VAL_OBJ), *spec = val_new(a, VAL_OBJ);
    struct making m = {.a = a, .spec = pod->spec, .mappings = val_new(a, VAL_LIST)};
    val_del(&ref, N_blockOwnerDeletion);
    val_set_str(a, meta, N_namespace, pod->pod->namespace_);
    val_set_str(a, meta, N_generateName, arena_printf(a, STR_FMT "-extended-resources-", STR_ARG(pod->pod->name)));
    val_put_str(a, val_sub_map(a, meta, N_annotations), STR(ANN_EXTENDED_CLAIM), STR("true"));
    val_add(a, val_sub_list(a, meta, N_ownerReferences), ref);
    for (size_t i = 0; i < x->n; i++)
        if (which & (1u << i)) {
            m.resource = x->items[i].name;
            m.class = obj_name(x->items[i].class);
            add_resource(&m, requests);
        }
    if (requests->n > 1)
        qsort(requests->items, requests->n, sizeof(struct val), by_request_name);
    val_set_ref(a, devices, N_requests, requests);
    val_set_ref(a, spec, N_devices, devices);
    val_set_ref(a, v, N_spec, spec);
    *ret_mappings = m.mappings;
    return v;
}
