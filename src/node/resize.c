/* SPDX-License-Identifier: Apache-2.0 */
#include "node/resize.h"

#include "type/resource.h"
#include "types.h"
#include "wire/json.h"

static const char *const resizable[] = {"cpu", "memory"};

/* ---- amounts --------------------------------------------------------------------------------------------- */

struct resize_amounts resize_amounts_of(const struct val *whole, const struct val *own)
{
    struct resize_amounts r = {
        .cpu_request = quantity_milli(resource_amount(own, N_requests, "cpu")),
        .cpu_limit = quantity_milli(resource_amount(own, N_limits, "cpu")),
        .memory_request = quantity_units(resource_amount(own, N_requests, "memory")),
        .memory_limit = quantity_units(resource_amount(own, N_limits, "memory")),
    };
    if (!val_key(val_get(own, N_limits), STR("cpu")))
        r.cpu_limit = quantity_milli(resource_amount(whole, N_limits, "cpu"));
    if (!val_key(val_get(own, N_limits), STR("memory")))
        r.memory_limit = quantity_units(resource_amount(whole, N_limits, "memory"));
    return r;
}

bool resize_same(const struct resize_amounts *a, const struct resize_amounts *b)
{
    return a->cpu_request == b->cpu_request && a->cpu_limit == b->cpu_limit && a->memory_request == b->memory_request &&
           a->memory_limit == b->memory_limit;
}

bool resize_restarts(const struct val *container, const char *resource)
{
    VAL_EACH (val_get(container, N_resizePolicy), policy)
        if (str_is(val_getstr(policy, N_resourceName), resource))
            return str_is(val_getstr(policy, N_restartPolicy), "RestartContainer");
    return false;
}

/* ---- one Pod with the resources of another ------------------------------------------------------------------ */

bool resize_differs(const struct val *pod, const struct val *other)
{
    for (enum container_kind k = CK_INIT; k <= CK_MAIN; k++)
        VAL_EACH (pod_containers(pod, k), c) {
            const struct val *o = pod_find_container(other, val_getstr(c, N_name), NULL);
            if (o && !val_equal(val_get(c, N_resources), val_get(o, N_resources)))
                return true;
        }
    return !val_equal(val_get(pod_spec(pod), N_resources), val_get(pod_spec(other), N_resources));
}

typedef const struct val *resources_fn(struct arena *a, const struct val *container, const void *arg);

/* The Pod with other resources, container by container; fn gets NULL for the Pod as a whole. */
static const struct val *with_resources(struct arena *a, const struct val *pod, resources_fn *fn, const void *arg)
{
    struct val *spec = val_copy_shallow(a, pod_spec(pod)), *out = val_copy_shallow(a, pod);
    static const name_id lists[] = {[CK_INIT] = N_initContainers, [CK_MAIN] = N_containers};
    for (enum container_kind k = CK_INIT; k <= CK_MAIN; k++) {
        struct val *list = val_new(a, VAL_LIST);
        VAL_EACH (pod_containers(pod, k), c) {
            struct val *mine = val_copy_shallow(a, c);
            val_set_ref(a, mine, N_resources, fn(a, c, arg));
            val_add(a, list, *mine);
        }
        if (val_len(list))
            val_set_ref(a, spec, lists[k], list);
    }
    val_set_ref(a, spec, N_resources, fn(a, NULL, arg));
    val_set_ref(a, out, N_spec, spec);
    return out;
}

static const struct val *of_other(struct arena *a UNUSED, const struct val *container, const void *arg)
{
    const struct val *other = arg;
    if (!container)
        return val_get(pod_spec(other), N_resources);
    const struct val *o = pod_find_container(other, val_getstr(container, N_name), NULL);
    return val_get(o ? o : container, N_resources);
}

const struct val *resize_with(struct arena *a, const struct val *pod, const struct val *other)
{
    return resize_differs(pod, other) ? with_resources(a, pod, of_other, other) : pod;
}

/* ---- recalling -------------------------------------------------------------------------------------------- */

/* Numbers that are the same to the kernel are the same: what it is told is coarser than what the API has. */
static bool same_to_kernel(const char *name, name_id list, struct quantity a, struct quantity b)
{
    if (!strcmp(name, "memory"))
        return quantity_cmp(a, b) == 0;
    int64_t x = quantity_milli(a), y = quantity_milli(b);
    if (list == N_requests)
        return cpu_shares(x) == cpu_shares(y);
    return cpu_quota(x, CPU_PERIOD_US) == cpu_quota(y, CPU_PERIOD_US);
}

/* list: a MAP that is ours. What is said to be in force replaces what differs from it; what is not there, is not. */
static void take(struct arena *a, struct val *r, name_id list, const struct val *said)
{
    for (size_t i = 0; i < ARRAY_SIZE(resizable); i++) {
        struct str name = str_of(resizable[i]);
        const struct val *now = val_key(val_get(r, list), name), *was = val_key(said, name);
        if (!was && now)
            val_unput(val_mut(r, list), name);
        else if (was && !(now && same_to_kernel(resizable[i], list, quantity_or_zero(val_str(now)),
                                                quantity_or_zero(val_str(was)))))
            val_put_str(a, val_sub_map(a, r, list), name, val_str(was));
    }
}

static const struct val *of_status(struct arena *a, const struct val *container, const void *arg)
{
    const struct val *pod = arg, *status = pod_status(pod), *said = NULL, *spec = NULL;
    if (container) {
        struct str name = val_getstr(container, N_name);
        for (enum container_kind k = CK_INIT; k <= CK_MAIN && !said; k++)
            said = val_named(pod_statuses(status, k), name);
        spec = val_get(container, N_resources);
    } else {
        spec = val_get(pod_spec(pod), N_resources);
        /* What is told for the whole is a sum when nothing was granted to the whole. */
        said = val_len(val_get(spec, N_requests)) || val_len(val_get(spec, N_limits)) ? status : NULL;
    }
    if (!said || !val_get(said, N_resources))
        return spec;
    struct val *out = spec ? val_copy(a, spec) : val_new(a, VAL_OBJ);
    if (val_len(val_get(spec, N_requests)))
        take(a, out, N_requests, val_get(said, N_allocatedResources));
    if (val_len(val_get(spec, N_limits)))
        take(a, out, N_limits, val_at(said, N_resources, N_limits));
    return out;
}

const struct val *resize_recall(struct arena *a, const struct val *pod)
{
    return with_resources(a, pod, of_status, pod);
}

bool resize_shrinks(const struct val *granted, const struct val *wanted)
{
    for (size_t i = 0; i < ARRAY_SIZE(resizable); i++)
        if (quantity_cmp(pod_amount(wanted, N_requests, resizable[i]), pod_amount(granted, N_requests, resizable[i])) > 0)
            return false;
    return true;
}

/* ---- in force ---------------------------------------------------------------------------------------------- */

static void put_quantity(struct arena *a, struct val *r, name_id list, const char *name, struct quantity q)
{
    char text[QUANTITY_TEXT_MAX];
    val_put_str(a, val_sub_map(a, r, list), str_of(name), str_of(quantity_text(q, text)));
}

enum { LEAST_SHARES = 2, LEAST_LIMIT = 10 }; /* what the kernel takes at least: shares, milli-CPU of a limit */

static int64_t milli_of_shares(int64_t shares)
{
    return shares < LEAST_SHARES ? 0 : (shares * 1000 + 1023) / 1024;
}

static int64_t milli_of_quota(int64_t quota, int64_t period)
{
    return quota > 0 && period > 0 ? quota * 1000 / period : 0;
}

/* CPU as the kernel has it. At or below its least what was granted is shown: the kernel cannot tell these apart. */
static void put_cpu(struct arena *a, struct val *r, name_id list, int64_t milli, int64_t least)
{
    int64_t granted = quantity_milli(resource_amount(r, list, "cpu"));
    if (milli > 0 && (milli > least || granted > least))
        put_quantity(a, r, list, "cpu", quantity_of_milli(milli, QUANTITY_DECIMAL_SI));
}

static void put_actuated(struct arena *a, struct val *r, name_id list, const char *name, const struct val *actuated)
{
    const struct val *q = val_key(val_get(actuated, list), str_of(name));
    if (q && !quantity_is_zero(quantity_or_zero(val_str(q))))
        val_put_str(a, val_sub_map(a, r, list), str_of(name), val_str(q));
}

struct val *resize_in_force(struct arena *a, const struct val *granted, const struct rt_container *c,
                            const struct val *actuated)
{
    struct val *r = granted ? val_copy(a, granted) : val_new(a, VAL_OBJ);
    if (c->state != RT_RUNNING)
        return r;
    bool told = c->cpu_shares > 0 || c->cpu_quota > 0 || c->memory_limit > 0;
    if (val_get(r, N_limits)) {
        if (told) {
            put_cpu(a, r, N_limits, milli_of_quota(c->cpu_quota, c->cpu_period), LEAST_LIMIT);
            if (c->memory_limit > 0)
                put_quantity(a, r, N_limits, "memory", quantity_of(c->memory_limit, QUANTITY_BINARY_SI));
        } else if (actuated) {
            put_actuated(a, r, N_limits, "cpu", actuated);
            put_actuated(a, r, N_limits, "memory", actuated);
        }
    }
    if (val_get(r, N_requests)) {
        if (told)
            put_cpu(a, r, N_requests, milli_of_shares(c->cpu_shares), LEAST_SHARES);
        else
            put_actuated(a, r, N_requests, "cpu", actuated);
        put_actuated(a, r, N_requests, "memory", actuated); /* the kernel does not hear of it */
    }
    return r;
}

static void add_names(struct arena *a, struct val *sum, const struct val *pod, name_id list, const struct val *map)
{
    char text[QUANTITY_TEXT_MAX];
    for (size_t i = 0; i < val_len(map); i++) {
        struct str key = val_str(&map->items[2 * i]);
        if (!val_key(sum, key))
            val_put_str(a, sum, key, str_of(quantity_text(pod_amount(pod, list, arena_cstr(a, key)), text)));
    }
}

struct val *resize_sum(struct arena *a, const struct val *pod, name_id list)
{
    struct val *sum = val_new(a, VAL_MAP);
    for (enum container_kind k = CK_INIT; k <= CK_MAIN; k++)
        VAL_EACH (pod_containers(pod, k), c)
            add_names(a, sum, pod, list, val_at(c, N_resources, list));
    add_names(a, sum, pod, list, val_at(pod_spec(pod), N_resources, list));
    if (list == N_requests)
        add_names(a, sum, pod, list, val_get(pod_spec(pod), N_overhead));
    return sum;
}

struct val *resize_pod_in_force(struct arena *a, const struct val *pod, const struct cgroup_limits *l)
{
    const struct val *granted = val_get(pod_spec(pod), N_resources);
    struct val *r = granted ? val_copy(a, granted) : val_new(a, VAL_OBJ);
    int64_t asked = cpu_shares(quantity_milli(resource_amount(r, N_requests, "cpu")));
    /* Weights of version 2 are coarser than shares: what comes to the same weight is the same. */
    if (l->cpu_shares > 0 && cpu_weight(asked) != cpu_weight(l->cpu_shares))
        put_cpu(a, r, N_requests, milli_of_shares(l->cpu_shares), LEAST_SHARES);
    if (!val_key(val_get(r, N_requests), STR("memory"))) {
        const struct val *sum = val_key(resize_sum(a, pod, N_requests), STR("memory"));
        if (sum)
            val_put_str(a, val_sub_map(a, r, N_requests), STR("memory"), val_str(sum));
    }
    put_cpu(a, r, N_limits, milli_of_quota(l->cpu_quota, l->cpu_period), LEAST_LIMIT);
    if (l->memory > 0)
        put_quantity(a, r, N_limits, "memory", quantity_of(l->memory, QUANTITY_BINARY_SI));
    return r;
}

/* ---- events ------------------------------------------------------------------------------------------------ */

static void put_containers(struct buf *b, const struct val *list, const char *name)
{
    const char *between = "[";
    if (!val_len(list))
        return;
    buf_printf(b, "\"%s\":", name);
    VAL_EACH (list, c) {
        buf_printf(b, "%s{\"name\":", between);
        json_encode_str(b, val_getstr(c, N_name), 0);
        buf_puts(b, ",\"resources\":");
        const struct val *r = val_get(c, N_resources);
        if (r)
            json_encode(b, type_at(T_core_v1_ResourceRequirements), r, 0);
        else
            buf_puts(b, "{}");
        buf_putc(b, '}');
        between = ",";
    }
    buf_puts(b, "],");
}

struct str resize_message(struct arena *a, const struct val *pod, const char *prefix, int64_t generation, struct str error)
{
    struct buf b = BUF_INIT;
    buf_printf(&b, "%s: {", prefix);
    put_containers(&b, pod_containers(pod, CK_INIT), "initContainers");
    put_containers(&b, pod_containers(pod, CK_MAIN), "containers");
    buf_printf(&b, "\"generation\":%lld", (long long)generation);
    if (error.n) {
        buf_puts(&b, ",\"error\":");
        json_encode_str(&b, error, 0);
    }
    buf_putc(&b, '}');
    struct str s = arena_str(a, buf_str(&b));
    buf_done(&b);
    return s;
}
