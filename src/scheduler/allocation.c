/* SPDX-License-Identifier: Apache-2.0 */
/* From chosen devices to an AllocationResult: results, settings, where the devices can be used. */
#include "scheduler/allocation.h"

#include "names.h"
#include "type/meta.h"
#include "type/resourceclaim.h"

/* ---- results --------------------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static struct str share_id(struct arena *a, uint64_t *random)
{
    uint64_t x = next_random(random), y = next_random(random);
    return arena_printf(a, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(x >> 32), (unsigned)(x >> 16) & 0xffff,
                        (unsigned)x & 0xfff, (unsigned)(0x8000 | ((y >> 48) & 0x3fff)),
                        (unsigned long long)(y & UINT64_C(0xffffffffffff)));
}

static struct str amount_text(struct arena *a, const struct device *d, const struct val *request, struct str name,
                              __int128 nano)
{
    char text[QUANTITY_TEXT_MAX];
    const struct val *capacity = val_key(val_get(d->v, N_capacity), name);
    const struct val *step = val_at(capacity, N_requestPolicy, N_validRange, N_step);
    const struct val *asked = val_key(val_get(request, N_requests), name);
    struct str like = val_str(step ?: asked ?: val_get(capacity, N_value));
    struct quantity q = {nano, quantity_or_zero(like).format};
    return arena_str(a, str_of(quantity_text(q, text)));
}

static void set_share(struct val *result, const struct device *d, const struct request_way *w, uint64_t *random,
                      struct arena *a)
{
    struct device bare = {.v = d->v};
    struct device_amounts n = {0};
    const struct val *request = val_get(w->v, N_capacity);
    val_set_str(a, result, N_shareID, share_id(a, random));
    capacity_fit(&bare, request, NULL, a, &n);
    for (size_t i = 0; i < n.n; i++)
        val_put_str(a, val_sub_map(a, result, N_consumedCapacity), n.items[i].name,
                    amount_text(a, d, request, n.items[i].name, n.items[i].nano));
}

static void add_result(struct val *results, const struct frame *f, const struct request_way *w, uint64_t *random,
                       struct arena *a)
{
    const struct device *d = f->device;
    struct val *r = val_add_obj(a, results);
    val_set_str(a, r, N_request, w->full_name);
    val_set_str(a, r, N_driver, d->slice->driver);
    val_set_str(a, r, N_pool, d->slice->pool->name);
    val_set_str(a, r, N_device, d->name);
    if (w->admin)
        val_set_bool(a, r, N_adminAccess, true);
    val_set_ref(a, r, N_tolerations, val_get(w->v, N_tolerations));
    val_set_ref(a, r, N_bindingConditions, val_get(d->v, N_bindingConditions));
    val_set_ref(a, r, N_bindingFailureConditions, val_get(d->v, N_bindingFailureConditions));
    if (d->multiple)
        set_share(r, d, w, random, a);
}

/* ---- settings -------------------------------------------------------------------------------------------- */

/* The way that was taken for each request. */
static const struct request_way *way_of(const struct search *s, size_t claim, size_t request)
{
    const struct request_search *q = &s->al->claims[claim].requests[request];
    for (size_t i = 0; i < s->n_frames; i++)
        if (s->frames[i].claim == claim && s->frames[i].request == request)
            return &q->ways[s->frames[i].way];
    return &q->ways[0];
}

static struct val *add_setting(struct arena *a, struct val *configs, const char *source, const struct val *from)
{
    struct val *c = val_add_obj(a, configs);
    val_set_str(a, c, N_source, str_of(source));
    val_set_ref(a, c, N_opaque, val_get(from, N_opaque));
    return c;
}

static void add_class_settings(const struct search *s, size_t claim, struct val *configs, struct arena *a)
{
    const struct claim_search *c = &s->al->claims[claim];
    for (size_t i = 0; i < c->n_requests; i++) {
        const struct request_way *w = way_of(s, claim, i);
        bool first = true;
        for (size_t k = 0; k < i; k++)
            first &= way_of(s, claim, k)->class != w->class;
        if (!first)
            continue;
        VAL_EACH (val_at(w->class, N_spec, N_config), from) {
            struct val *to = add_setting(a, configs, "FromClass", from);
            for (size_t k = i; k < c->n_requests; k++)
                if (way_of(s, claim, k)->class == w->class)
                    val_add_str(a, val_sub_list(a, to, N_requests), way_of(s, claim, k)->full_name);
        }
    }
}

static bool names(const struct val *requests, struct str a, struct str b)
{
    VAL_EACH (requests, r)
        if (str_eq(val_str(r), a) || str_eq(val_str(r), b))
            return true;
    return false;
}

static void add_claim_settings(const struct search *s, size_t claim, struct val *configs, struct arena *a)
{
    const struct claim_search *c = &s->al->claims[claim];
    VAL_EACH (val_at(c->v, N_spec, N_devices, N_config), from) {
        const struct val *requests = val_get(from, N_requests);
        bool concerns = !val_len(requests);
        for (size_t i = 0; i < c->n_requests; i++)
            concerns |= names(requests, c->requests[i].name, way_of(s, claim, i)->full_name);
        if (concerns)
            val_set_ref(a, add_setting(a, configs, "FromClaim", from), N_requests, requests);
    }
}

/* What concerns every request says so by naming none. */
static void shorten(const struct search *s, size_t claim, struct val *configs)
{
    const struct claim_search *c = &s->al->claims[claim];
    for (size_t k = 0; k < configs->n; k++) {
        const struct val *requests = val_get(&configs->items[k], N_requests);
        bool all = true;
        for (size_t i = 0; i < c->n_requests; i++)
            all &= names(requests, c->requests[i].name, way_of(s, claim, i)->full_name);
        if (all)
            val_del(&configs->items[k], N_requests);
    }
}

/* ---- where ------------------------------------------------------------------------------------------------ */

static void only_node(struct arena *a, struct val *result, struct str node)
{
    struct val *ns = val_sub_obj(a, result, N_nodeSelector);
    ns->n = 0;
    struct val *f = val_add_obj(a, val_sub_list(a, val_add_obj(a, val_sub_list(a, ns, N_nodeSelectorTerms)), N_matchFields));
    val_set_str(a, f, N_key, STR("metadata.name"));
    val_set_str(a, f, N_operator, STR("In"));
    val_add_str(a, val_sub_list(a, f, N_values), node);
}

static void merge_term(struct arena *a, struct val *to, const struct val *from, name_id list)
{
    VAL_EACH (val_get(from, list), x) {
        bool there = false;
        VAL_EACH (val_get(to, list), y)
            there |= val_equal(x, y);
        if (!there)
            val_add(a, val_sub_list(a, to, list), *x);
    }
}

static void set_node_selector(const struct search *s, size_t claim, struct val *result, struct arena *a)
{
    struct val *term = val_new(a, VAL_OBJ);
    for (size_t i = 0; i < s->n_frames; i++) {
        const struct device *d = s->frames[i].device;
        if (s->frames[i].claim != claim || !d)
            continue;
        const struct val *where = d->slice->per_device ? d->v : d->slice->spec;
        if (val_get(where, N_nodeName) || val_bool(val_get(d->v, N_bindsToNode), false)) {
            only_node(a, result, s->node);
            return;
        }
        const struct val *one = val_item(val_at(where, N_nodeSelector, N_nodeSelectorTerms), 0);
        merge_term(a, term, one, N_matchFields);
        merge_term(a, term, one, N_matchExpressions);
    }
    if (term->n)
        val_add(a, val_sub_list(a, val_sub_obj(a, result, N_nodeSelector), N_nodeSelectorTerms), *term);
}

const struct val *allocation_result(const struct search *s, size_t claim, uint64_t *random, struct arena *a)
{
    struct val *result = val_new(a, VAL_OBJ);
    struct val *results = val_new(a, VAL_LIST), *configs = val_new(a, VAL_LIST), *devices = val_new(a, VAL_OBJ);
    for (size_t i = 0; i < s->n_frames; i++) {
        const struct frame *f = &s->frames[i];
        if (f->claim == claim && f->device)
            add_result(results, f, &s->al->claims[claim].requests[f->request].ways[f->way], random, a);
    }
    add_class_settings(s, claim, configs, a);
    add_claim_settings(s, claim, configs, a);
    shorten(s, claim, configs);
    val_set_ref(a, devices, N_results, results);
    if (configs->n)
        val_set_ref(a, devices, N_config, configs);
    val_set_ref(a, result, N_devices, devices);
    set_node_selector(s, claim, result, a);
    return val_copy(a, result);
}
