/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/devices.h"

#include "names.h"
#include "type/fit.h"
#include "type/meta.h"

/* ---- the inventory -------------------------------------------------------------------------------------- */

static struct str pool_id(struct arena *a, struct str driver, struct str pool)
{
    return arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(driver), STR_ARG(pool));
}

static struct str device_id(struct arena *a, struct str driver, struct str pool, struct str device)
{
    return arena_printf(a, STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(driver), STR_ARG(pool), STR_ARG(device));
}

static struct device_pool *pool_of(struct inventory *inv, struct str driver, struct str name)
{
    struct str id = pool_id(inv->a, driver, name);
    struct device_pool *p = map_get(&inv->by_id, id);
    if (p)
        return p;
    p = ARENA_NEW(inv->a, struct device_pool);
    *p = (struct device_pool){.driver = driver, .name = name};
    map_put(&inv->by_id, id, p);
    return p;
}

static void add_slice_to(struct arena *a, struct device_pool *p, struct slice *s)
{
    if (p->n == p->cap) {
        struct slice **more = ARENA_ARRAY(a, struct slice *, p->cap = MAX(2 * p->cap, (size_t)4));
        if (p->n)
            memcpy(more, p->slices, p->n * sizeof(struct slice *));
        p->slices = more;
    }
    p->slices[p->n++] = s; /* the tree is in the order of names */
}

/* Compatibility groups (an alpha feature) could not be heeded: such a slice is as good as not there, which makes its
 * pool incomplete. */
static bool uses_groups(const struct val *spec)
{
    VAL_EACH (val_get(spec, N_devices), d)
        VAL_EACH (val_get(d, N_consumesCounters), c)
            if (val_len(val_get(c, N_compatibilityGroups)))
                return true;
    return false;
}

static void read_devices(struct inventory *inv, struct slice *s)
{
    const struct val *list = val_get(s->spec, N_devices);
    size_t n = val_len(list);
    s->devices = ARENA_ARRAY(inv->a, struct device, n);
    VAL_EACH (list, v) {
        struct device *d = &s->devices[s->n_devices++];
        *d = (struct device){.v = v, .name = val_getstr(v, N_name), .slice = s, .index = inv->n_devices++};
        d->multiple = val_bool(val_get(v, N_allowMultipleAllocations), false);
    }
}

static void read_slice(struct inventory *inv, const struct object *o)
{
    const struct val *spec = val_get(o->val, N_spec), *pool = val_get(spec, N_pool);
    struct slice *s = ARENA_NEW(inv->a, struct slice);
    if (uses_groups(spec))
        return;
    *s = (struct slice){.spec = spec, .name = o->name, .driver = val_getstr(spec, N_driver)};
    s->node_name = val_getstr(spec, N_nodeName);
    s->node_selector = val_get(spec, N_nodeSelector);
    s->all_nodes = val_bool(val_get(spec, N_allNodes), false);
    s->per_device = val_bool(val_get(spec, N_perDeviceNodeSelection), false);
    s->has_counters = val_len(val_get(spec, N_sharedCounters)) > 0;
    s->generation = val_int(val_get(pool, N_generation), 0);
    s->count = val_int(val_get(pool, N_resourceSliceCount), 0);
    s->pool = pool_of(inv, s->driver, val_getstr(pool, N_name));
    read_devices(inv, s);
    add_slice_to(inv->a, s->pool, s);
}

static int64_t newest(const struct device_pool *p)
{
    int64_t g = p->n ? p->slices[0]->generation : 0;
    for (size_t i = 1; i < p->n; i++)
        g = MAX(g, p->slices[i]->generation);
    return g;
}

static void index_devices(struct inventory *inv, const struct device_pool *p)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    int64_t g = newest(p);
    for (size_t i = 0; i < p->n; i++)
        for (size_t k = 0; k < p->slices[i]->n_devices; k++) {
            struct device *d = &p->slices[i]->devices[k];
            struct str id = device_id(&a, p->driver, p->name, d->name);
            if (p->slices[i]->generation == g || !map_has(&inv->by_device, id))
                map_put(&inv->by_device, id, d);
        }
}

static int by_pool(const void *pa, const void *pb)
{
    const struct device_pool *a = *(struct device_pool *const *)pa, *b = *(struct device_pool *const *)pb;
    int c = str_cmp(a->driver, b->driver);
    return c ? c : str_cmp(a->name, b->name);
}

struct inventory *inventory_new(struct arena *a, const struct tree *slices)
{
    struct inventory *inv = ARENA_NEW(a, struct inventory);
    inv->a = a;
    TREE_EACH (slices, STR_NULL, it)
        read_slice(inv, it.object);
    inv->pools = ARENA_ARRAY(a, struct device_pool *, inv->by_id.n);
    MAP_EACH (&inv->by_id, e) {
        inv->pools[inv->n_pools++] = e->value;
        index_devices(inv, e->value);
    }
    if (inv->n_pools > 1)
        qsort(inv->pools, inv->n_pools, sizeof(struct device_pool *), by_pool);
    return inv;
}

void inventory_done(struct inventory *inv)
{
    if (!inv)
        return;
    map_done(&inv->by_id);
    map_done(&inv->by_device);
}

const struct device *inventory_find(const struct inventory *inv, struct str driver, struct str pool, struct str device)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    return map_get(&inv->by_device, device_id(&a, driver, pool, device));
}

/* ---- what is taken -------------------------------------------------------------------------------------- */

const struct device_amount *device_amounts_find(const struct device_amounts *l, struct str name)
{
    for (size_t i = 0; l && i < l->n; i++)
        if (str_eq(l->items[i].name, name))
            return &l->items[i];
    return NULL;
}

void device_amounts_add(struct arena *a, struct device_amounts *to, struct str name, __int128 nano)
{
    struct device_amount *there = (struct device_amount *)(uintptr_t)device_amounts_find(to, name);
    if (there) {
        there->nano += nano;
        return;
    }
    struct device_amount *more = ARENA_ARRAY(a, struct device_amount, to->n + 1);
    if (to->n)
        memcpy(more, to->items, to->n * sizeof(*more));
    more[to->n] = (struct device_amount){name, nano};
    to->items = more;
    to->n++;
}

static void take_one(struct device *d, const struct val *result, struct arena *a)
{
    bool share = val_getstr(result, N_shareID).n > 0;
    d->shared |= share;
    d->taken |= !share;
    if (share)
        VAL_EACH_ENTRY (val_get(result, N_consumedCapacity), k, q)
            device_amounts_add(a, &d->used, val_str(k), quantity_or_zero(val_str(q)).nano);
}

void inventory_clear(struct inventory *inv)
{
    for (size_t i = 0; i < inv->n_pools; i++)
        for (size_t k = 0; k < inv->pools[i]->n; k++) {
            struct slice *s = inv->pools[i]->slices[k];
            for (size_t d = 0; d < s->n_devices; d++) {
                s->devices[d].taken = s->devices[d].shared = false;
                s->devices[d].used = (struct device_amounts){0};
            }
        }
}

void inventory_take(struct inventory *inv, const struct val *allocation, struct arena *a)
{
    VAL_EACH (val_at(allocation, N_devices, N_results), r) {
        const struct device *d =
            inventory_find(inv, val_getstr(r, N_driver), val_getstr(r, N_pool), val_getstr(r, N_device));
        if (d && !val_bool(val_get(r, N_adminAccess), false))
            take_one((struct device *)(uintptr_t)d, r, a);
    }
}

/* ---- what a node can reach ------------------------------------------------------------------------------ */

bool selection_reaches(struct str node_name, bool all_nodes, const struct val *selector, struct str node,
                       const struct val *labels)
{
    if (node_name.n)
        return str_eq(node_name, node);
    if (all_nodes)
        return true;
    VAL_EACH (val_get(selector, N_nodeSelectorTerms), t)
        if (match_node_term(t, labels, node))
            return true;
    return false;
}

static bool device_reaches(const struct val *d, struct str node, const struct val *labels)
{
    return selection_reaches(val_getstr(d, N_nodeName), val_bool(val_get(d, N_allNodes), false),
                             val_get(d, N_nodeSelector), node, labels);
}

static bool slice_reaches(const struct slice *s, struct str node, const struct val *labels)
{
    if (s->node_name.n || s->all_nodes || s->node_selector)
        return selection_reaches(s->node_name, s->all_nodes, s->node_selector, node, labels);
    for (size_t i = 0; s->per_device && i < s->n_devices; i++)
        if (device_reaches(s->devices[i].v, node, labels))
            return true;
    return false;
}

/* The set of counters of that name in the generation; *ret_n: how many have it. */
static const struct val *counter_set(const struct device_pool *p, int64_t generation, struct str name, size_t *ret_n)
{
    const struct val *found = NULL;
    *ret_n = 0;
    for (size_t i = 0; i < p->n; i++)
        VAL_EACH (p->slices[i]->generation == generation ? val_get(p->slices[i]->spec, N_sharedCounters) : NULL, c)
            if (str_eq(val_getstr(c, N_name), name)) {
                found = found ? found : c;
                ++*ret_n;
            }
    return found;
}

static bool counters_known(const struct device_pool *p, int64_t generation, const struct val *device)
{
    VAL_EACH (val_get(device, N_consumesCounters), c) {
        size_t n;
        const struct val *set = counter_set(p, generation, val_getstr(c, N_counterSet), &n);
        if (n != 1)
            return false;
        VAL_EACH_ENTRY (val_get(c, N_counters), k, v) {
            (void)v;
            if (!val_key(val_get(set, N_counters), val_str(k)))
                return false;
        }
    }
    return true;
}

/* Every device name once, every counter that is consumed there. */
static bool is_valid(const struct node_pool *np)
{
    struct map names = MAP_INIT;
    bool ok = true;
    for (size_t i = 0; i < np->n; i++)
        for (size_t k = 0; k < np->slices[i]->n_devices; k++)
            ok &= map_put(&names, np->slices[i]->devices[k].name, &names) == NULL;
    map_done(&names);
    for (size_t i = 0; ok && i < np->pool->n; i++) {
        const struct slice *s = np->pool->slices[i];
        for (size_t k = 0; s->generation == np->generation && k < s->n_devices; k++)
            ok &= counters_known(np->pool, np->generation, s->devices[k].v);
    }
    return ok;
}

static bool has_conditions(const struct node_pool *np)
{
    for (size_t i = 0; i < np->n; i++)
        for (size_t k = 0; k < np->slices[i]->n_devices; k++)
            if (val_len(val_get(np->slices[i]->devices[k].v, N_bindingConditions)))
                return true;
    return false;
}

/* False: nothing of it concerns the node, or a newer generation that does not is on its way. */
static bool look_at_pool(const struct device_pool *p, struct str node, const struct val *labels, struct arena *a,
                         struct node_pool *ret)
{
    struct node_pool np = {.pool = p, .slices = ARENA_ARRAY(a, const struct slice *, p->n)};
    const struct slice *first = NULL;
    size_t reached = 0, all = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct slice *s = p->slices[i];
        if (!slice_reaches(s, node, labels) || (first && s->generation < np.generation))
            continue;
        if (!first || s->generation > np.generation) {
            first = s;
            np.generation = s->generation;
            np.n = reached = 0;
        }
        reached++;
        if (!s->has_counters)
            np.slices[np.n++] = s;
    }
    if (!first)
        return false;
    for (size_t i = 0; i < p->n; i++)
        all += p->slices[i]->generation == np.generation;
    if ((int64_t)reached != first->count) {
        if (newest(p) > np.generation)
            return false;
        np.incomplete = (int64_t)all != first->count;
    }
    np.invalid = !np.incomplete && !is_valid(&np);
    np.conditions = !np.incomplete && !np.invalid && has_conditions(&np);
    if (np.incomplete || np.invalid)
        np.n = 0;
    *ret = np;
    return true;
}

void node_pools(const struct inventory *inv, struct str node, const struct val *labels, struct arena *a,
                struct node_pools *ret)
{
    struct node_pool *late = ARENA_ARRAY(a, struct node_pool, inv->n_pools);
    size_t n_late = 0;
    ret->items = ARENA_ARRAY(a, struct node_pool, inv->n_pools);
    ret->n = 0;
    for (size_t i = 0; i < inv->n_pools; i++) {
        struct node_pool np;
        if (look_at_pool(inv->pools[i], node, labels, a, &np)) {
            if (np.conditions)
                late[n_late++] = np;
            else
                ret->items[ret->n++] = np;
        }
    }
    if (n_late)
        memcpy(ret->items + ret->n, late, n_late * sizeof(*late));
    ret->n += n_late;
}
