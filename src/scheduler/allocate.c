/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The search for devices: a stack of frames, each a device that was chosen or the way of a request that has several
 * (firstAvailable). Going on pushes a frame, going back takes frames off until one has something else to offer.
 */
#include "names.h"
#include "scheduler/allocation.h"
#include "type/fit.h"
#include "type/resourceclaim.h"

/* ---- reading claims ------------------------------------------------------------------------------------- */

static const struct val *class_of(const struct tree *classes, struct str name)
{
    const struct object *o = tree_get(classes, name);
    return o ? o->val : NULL;
}

static int read_way(struct allocator *al, const struct claim_search *c, const struct val *v, struct str name,
                    struct request_way *ret, struct err *e)
{
    struct str class = val_getstr(v, N_deviceClassName), mode = val_getstr(v, N_allocationMode);
    *ret = (struct request_way){.v = v, .name = name};
    ret->class = class_of(al->classes, class);
    ret->admin = val_bool(val_get(v, N_adminAccess), false);
    ret->all = str_is(mode, "All");
    ret->count = val_int(val_get(v, N_count), 1);
    if (!ret->class)
        return err_set(e, -EINVAL, "claim " STR_FMT ", request " STR_FMT ": device class " STR_FMT " does not exist",
                       STR_ARG(c->name), STR_ARG(ret->name), STR_ARG(class));
    if (!ret->all && mode.n && !str_is(mode, "ExactCount"))
        return err_set(e, -EINVAL, "claim " STR_FMT ", request " STR_FMT ": unsupported count mode " STR_FMT,
                       STR_ARG(c->name), STR_ARG(ret->name), STR_ARG(mode));
    if (val_len(val_get(v, N_derivedAttributes)))
        return err_set(e, -EINVAL,
                       "claim " STR_FMT ", request " STR_FMT
                       ": cannot handle request with derived attributes, the feature is disabled",
                       STR_ARG(c->name), STR_ARG(ret->name));
    ret->matches = ARENA_ARRAY(al->a, int8_t, al->inv->n_devices);
    return 0;
}

static int read_request(struct allocator *al, const struct claim_search *c, const struct val *v,
                        struct request_search *ret, struct err *e)
{
    const struct val *exactly = val_get(v, N_exactly), *list = val_get(v, N_firstAvailable);
    size_t n = exactly ? 1 : val_len(list);
    int r = 0;
    *ret = (struct request_search){.name = val_getstr(v, N_name), .prioritized = !exactly};
    if (!n)
        return err_set(e, -EINVAL, "claim " STR_FMT ", request " STR_FMT ": unknown request type", STR_ARG(c->name),
                       STR_ARG(ret->name));
    ret->ways = ARENA_ARRAY(al->a, struct request_way, n);
    for (size_t i = 0; r == 0 && i < n; i++) {
        const struct val *way = exactly ?: val_item(list, i);
        struct str name = exactly ? ret->name : val_getstr(way, N_name);
        r = read_way(al, c, way, name, &ret->ways[i], e);
        ret->ways[i].full_name =
            exactly ? name : arena_printf(al->a, STR_FMT "/" STR_FMT, STR_ARG(ret->name), STR_ARG(name));
    }
    ret->n_ways = n;
    return r;
}

static int read_constraints(struct allocator *al, struct claim_search *c, struct err *e)
{
    const struct val *list = val_at(c->v, N_spec, N_devices, N_constraints);
    c->constraints = ARENA_ARRAY(al->a, struct device_constraint, val_len(list));
    VAL_EACH (list, v) {
        struct device_constraint *k = &c->constraints[c->n_constraints];
        const struct val *match = val_get(v, N_matchAttribute), *distinct = val_get(v, N_distinctAttribute);
        *k = (struct device_constraint){.requests = val_get(v, N_requests), .distinct = !match};
        k->attribute = val_str(match ?: distinct);
        if (!k->attribute.n)
            return err_set(e, -EINVAL, "claim " STR_FMT ", constraint #%zu: empty constraint (unsupported constraint type?)",
                           STR_ARG(c->name), c->n_constraints);
        c->n_constraints++;
    }
    return 0;
}

static int read_claim(struct allocator *al, const struct val *v, struct claim_search *ret, struct err *e)
{
    const struct val *requests = val_at(v, N_spec, N_devices, N_requests);
    int r = 0;
    *ret = (struct claim_search){.v = v};
    ret->name = arena_printf(al->a, STR_FMT "/" STR_FMT, STR_ARG(obj_namespace(v)), STR_ARG(obj_name(v)));
    ret->requests = ARENA_ARRAY(al->a, struct request_search, val_len(requests));
    VAL_EACH (requests, q)
        if (r == 0)
            r = read_request(al, ret, q, &ret->requests[ret->n_requests++], e);
    return r ? r : read_constraints(al, ret, e);
}

int allocator_new(struct arena *a, struct inventory *inv, const struct tree *classes, const struct device_judge *judge,
                  const struct val *const *claims, size_t n, struct allocator **ret, struct err *e)
{
    struct allocator *al = ARENA_NEW(a, struct allocator);
    int r = 0;
    *al = (struct allocator){.a = a, .inv = inv, .classes = classes, .judge = judge};
    if (n > ALLOCATE_MAX_CLAIMS)
        return err_set(e, -EINVAL, "no more than %d claims of a pod can be allocated", ALLOCATE_MAX_CLAIMS);
    al->claims = ARENA_ARRAY(a, struct claim_search, n);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = read_claim(al, claims[i], &al->claims[al->n_claims++], e);
    if (r == 0)
        *ret = al;
    return r;
}

/* ---- may a device meet a request? ----------------------------------------------------------------------- */

static int selectors_match(struct search *s, const struct val *selectors, const char *whose, struct str name,
                           const struct device *d, bool *ret, struct err *e)
{
    size_t i = 0;
    bool match = true;
    VAL_EACH (selectors, x) {
        struct str expr = val_str(val_at(x, N_cel, N_expression));
        if (!expr.n)
            return err_set(e, -EINVAL, "%s " STR_FMT ": selector #%zu: CEL expression empty (unsupported selector type?)",
                           whose, STR_ARG(name), i);
        int r = s->al->judge->matches(s->al->judge->ctx, expr, d->slice->driver, d->v, &match, e);
        if (r < 0)
            return err_wrap(e, r, "%s " STR_FMT ": selector #%zu on device " STR_FMT "/" STR_FMT "/" STR_FMT, whose,
                            STR_ARG(name), i, STR_ARG(d->slice->driver), STR_ARG(d->slice->pool->name), STR_ARG(d->name));
        if (!match)
            break;
        i++;
    }
    *ret = match;
    return 0;
}

/* The selectors' part is the same for all nodes: asked once a device. */
static int is_selectable(struct search *s, const struct claim_search *c, const struct request_way *w,
                         const struct device *d, bool *ret, struct err *e)
{
    int8_t *known = &w->matches[d->index];
    bool match = true;
    if (!*known) {
        int r = selectors_match(s, val_at(w->class, N_spec, N_selectors), "class", obj_name(w->class), d, &match, e);
        if (r == 0 && match)
            r = selectors_match(s, val_get(w->v, N_selectors), "claim", c->name, d, &match, e);
        if (r < 0)
            return r;
        *known = match ? 1 : -1;
    }
    match = *known > 0;
    if (match && d->slice->per_device)
        match = selection_reaches(val_getstr(d->v, N_nodeName), val_bool(val_get(d->v, N_allNodes), false),
                                  val_get(d->v, N_nodeSelector), s->node, s->labels);
    *ret = match;
    return 0;
}

static bool kept_off_by_taint(const struct val *device, const struct val *request)
{
    return match_untolerated(val_get(device, N_taints), val_get(request, N_tolerations),
                             EFFECT_NO_SCHEDULE | EFFECT_NO_EXECUTE) != NULL;
}

/* ---- constraints ---------------------------------------------------------------------------------------- */

/* An attribute by its full name; those of the driver's own domain may be there without it. */
static const struct val *attribute_of(const struct device *d, struct str name)
{
    const struct val *all = val_get(d->v, N_attributes), *v = val_key(all, name);
    struct str domain, id;
    if (!v && str_cut(name, '/', &domain, &id) && str_eq(domain, d->slice->driver))
        v = val_key(all, id);
    return v;
}

static const struct val *scalar_of(const struct val *attribute)
{
    static const name_id kinds[] = {N_string, N_int, N_bool, N_version};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (val_get(attribute, kinds[i]))
            return val_get(attribute, kinds[i]);
    return NULL;
}

static bool same_value(const struct val *a, const struct val *b)
{
    const struct val *x = scalar_of(a), *y = scalar_of(b);
    return x && y && x->name == y->name && val_equal(x, y);
}

static bool concerns(const struct device_constraint *k, const struct request_way *w)
{
    return requests_include(k->requests, w->full_name);
}

static bool constraint_add(struct device_constraint *k, const struct request_way *w, const struct device *d)
{
    const struct val *attribute = attribute_of(d, k->attribute);
    if (!concerns(k, w))
        return true;
    if (!attribute || (!scalar_of(attribute) && (k->n || k->distinct)) || k->n == ARRAY_SIZE(k->values))
        return false;
    for (size_t i = 0; i < k->n; i++)
        if (same_value(k->values[i], attribute) == k->distinct)
            return false;
    k->values[k->n++] = attribute;
    return true;
}

static void constraint_remove(struct device_constraint *k, const struct request_way *w)
{
    if (concerns(k, w))
        k->n--;
}

/* ---- counters that devices share (KEP-4815) -------------------------------------------------------------- */

static struct pool_counters *counters_of(struct search *s, const struct node_pool *np)
{
    for (size_t i = 0; i < s->n_counters; i++)
        if (s->counters[i].pool == np->pool)
            return &s->counters[i];
    struct pool_counters *pc = &s->counters[s->n_counters++];
    *pc = (struct pool_counters){.pool = np->pool};
    for (size_t i = 0; i < np->pool->n; i++) {
        const struct slice *sl = np->pool->slices[i];
        if (sl->generation != np->generation)
            continue;
        VAL_EACH (val_get(sl->spec, N_sharedCounters), set)
            VAL_EACH_ENTRY (val_get(set, N_counters), k, c)
                device_amounts_add(s->a, &pc->left, counter_name(s->a, val_getstr(set, N_name), val_str(k)),
                                   quantity_or_zero(val_getstr(c, N_value)).nano);
        for (size_t k = 0; k < sl->n_devices; k++)
            if (sl->devices[k].taken || sl->devices[k].shared)
                counters_take(s->a, &pc->left, sl->devices[k].v, -1);
    }
    return pc;
}

struct str counter_name(struct arena *a, struct str set, struct str counter)
{
    return arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(set), STR_ARG(counter));
}

void counters_take(struct arena *a, struct device_amounts *left, const struct val *device, int sign)
{
    VAL_EACH (val_get(device, N_consumesCounters), c)
        VAL_EACH_ENTRY (val_get(c, N_counters), k, v) {
            struct str name = counter_name(a, val_getstr(c, N_counterSet), val_str(k));
            device_amounts_add(a, left, name, sign * quantity_or_zero(val_getstr(v, N_value)).nano);
        }
}

/* False, and nothing taken: there is not enough left. */
static bool take_counters(struct search *s, const struct node_pool *np, const struct device *d)
{
    struct pool_counters *pc = counters_of(s, np);
    counters_take(&s->scratch, &pc->left, d->v, -1);
    for (size_t i = 0; i < pc->left.n; i++)
        if (pc->left.items[i].nano < 0) {
            counters_take(&s->scratch, &pc->left, d->v, 1);
            return false;
        }
    return true;
}

/* ---- taking a device ------------------------------------------------------------------------------------- */

/* What this search did with a device so far. */
static struct device_use *use_of(struct search *s, const struct device *d)
{
    return &s->uses[d->index];
}

static bool in_use(struct search *s, const struct device *d)
{
    return d->taken || use_of(s, d)->takers;
}

static bool in_use_by(const struct search *s, const struct device *d, size_t claim)
{
    for (size_t i = 0; i < s->n_frames; i++)
        if (s->frames[i].device == d && s->frames[i].claim == claim && !d->multiple)
            return true;
    return false;
}

static void add_share(struct search *s, const struct device *d, const struct request_way *w, int sign)
{
    struct device_amounts n = {0};
    struct device_use *u = use_of(s, d);
    if (capacity_fit(d, val_get(w->v, N_capacity), NULL, &s->scratch, &n) != CAPACITY_FITS)
        n.n = 0; /* it did before */
    for (size_t i = 0; i < n.n; i++)
        device_amounts_add(s->a, &u->used, n.items[i].name, sign * n.items[i].nano);
    u->shares = (uint32_t)((int)u->shares + sign);
}

static void undo(struct search *s, const struct frame *f)
{
    struct claim_search *c = &s->al->claims[f->claim];
    const struct request_way *w = &c->requests[f->request].ways[f->way];
    if (f->device->multiple)
        add_share(s, f->device, w, -1);
    else
        use_of(s, f->device)->takers--;
    for (size_t i = 0; i < c->n_constraints; i++)
        constraint_remove(&c->constraints[i], w);
    if (f->counters)
        counters_take(&s->scratch, &counters_of(s, f->pool)->left, f->device->v, 1);
    c->n_devices--;
}

static bool add_constraints(struct claim_search *c, const struct request_way *w, const struct device *d)
{
    for (size_t i = 0; i < c->n_constraints; i++)
        if (!constraint_add(&c->constraints[i], w, d)) {
            while (i-- > 0)
                constraint_remove(&c->constraints[i], w);
            return false;
        }
    return true;
}

enum { TAKEN, REFUSED, REFUSED_BY_CONSTRAINT };

/* Tries to put the device on the frame, whose request it is selectable for. */
static int take(struct search *s, struct frame *f, const struct node_pool *np, const struct device *d)
{
    struct claim_search *c = &s->al->claims[f->claim];
    const struct request_way *w = &c->requests[f->request].ways[f->way];
    bool shared_before = d->multiple && (d->shared || use_of(s, d)->shares);
    f->counters = !shared_before && val_len(val_get(d->v, N_consumesCounters));
    if (f->counters && !take_counters(s, np, d))
        return REFUSED;
    bool tainted = kept_off_by_taint(d->v, w->v);
    if (tainted || !add_constraints(c, w, d)) {
        if (f->counters)
            counters_take(&s->scratch, &counters_of(s, np)->left, d->v, 1);
        return tainted ? REFUSED : REFUSED_BY_CONSTRAINT;
    }
    if (d->multiple)
        add_share(s, d, w, 1);
    else
        use_of(s, d)->takers++;
    f->device = d;
    f->pool = np;
    c->n_devices++;
    return TAKEN;
}

/* ---- the search ------------------------------------------------------------------------------------------ */

static struct frame *push(struct search *s, struct frame f)
{
    if (s->n_frames == s->cap_frames) {
        struct frame *more = ARENA_ARRAY(s->a, struct frame, s->cap_frames = MAX(2 * s->cap_frames, (size_t)32));
        if (s->n_frames)
            memcpy(more, s->frames, s->n_frames * sizeof(*more));
        s->frames = more;
    }
    s->frames[s->n_frames] = f;
    return &s->frames[s->n_frames++];
}

/* All that a request for all devices stands for on this node. */
static int gather_all(struct search *s, const struct claim_search *c, struct request_way *w, struct err *e)
{
    struct candidate *list = ARENA_ARRAY(s->a, struct candidate, s->n_candidates);
    size_t n = 0;
    for (size_t i = 0; i < s->pools.n; i++)
        if (s->pools.items[i].incomplete || s->pools.items[i].invalid)
            return err_set(e, ALLOCATE_IMPOSSIBLE,
                           "claim " STR_FMT ", request " STR_FMT ": asks for all devices, but resource pool " STR_FMT
                           "/" STR_FMT " is currently %s",
                           STR_ARG(c->name), STR_ARG(w->name), STR_ARG(s->pools.items[i].pool->driver),
                           STR_ARG(s->pools.items[i].pool->name),
                           s->pools.items[i].incomplete ? "being updated" : "invalid");
    for (size_t i = 0; i < s->n_candidates; i++) {
        const struct device *d = s->candidates[i].device;
        struct device bare = {.v = d->v};
        bool match;
        int r = is_selectable(s, c, w, d, &match, e);
        if (r < 0)
            return r;
        arena_reset(&s->scratch);
        enum capacity_fit fit = match ? capacity_fit(&bare, val_get(w->v, N_capacity), NULL, &s->scratch, NULL) : CAPACITY_SHORT;
        if (fit == CAPACITY_NONSENSE)
            return err_set(e, -EINVAL, "claim " STR_FMT ", request " STR_FMT ": checking capacity for device " STR_FMT,
                           STR_ARG(c->name), STR_ARG(w->name), STR_ARG(d->name));
        if (fit == CAPACITY_FITS)
            list[n++] = s->candidates[i];
    }
    w->all_devices = list;
    w->count = (int64_t)n;
    return 0;
}

/* How many devices each request takes; a claim that cannot be met whatever is chosen is an error. */
static int count_devices(struct search *s, struct err *e)
{
    for (size_t i = 0; i < s->al->n_claims; i++) {
        struct claim_search *c = &s->al->claims[i];
        int64_t least = 0;
        c->n_devices = 0;
        for (size_t k = 0; k < c->n_constraints; k++)
            c->constraints[k].n = 0;
        for (size_t k = 0; k < c->n_requests; k++) {
            int64_t fewest = INT64_MAX;
            for (size_t w = 0; w < c->requests[k].n_ways; w++) {
                struct request_way *way = &c->requests[k].ways[w];
                int r = way->all ? gather_all(s, c, way, e) : 0;
                if (r)
                    return r;
                fewest = MIN(fewest, way->count);
            }
            if (fewest > ALLOCATION_MAX_DEVICES - least)
                return err_set(e, -EINVAL,
                               "claim " STR_FMT ", request " STR_FMT
                               ": adding %lld devices exceeds the claim limit of %d, with %lld already accounted for",
                               STR_ARG(c->name), STR_ARG(c->requests[k].name), (long long)fewest, ALLOCATION_MAX_DEVICES,
                               (long long)least);
            least += fewest;
        }
    }
    return 0;
}

/* The next device for the frame, from where it stands: 0 found, ALLOCATE_IMPOSSIBLE none, negative. */
static int next_device(struct search *s, struct frame *f, struct err *e)
{
    struct claim_search *c = &s->al->claims[f->claim];
    const struct request_way *w = &c->requests[f->request].ways[f->way];
    const struct candidate *list = w->all ? w->all_devices : s->candidates;
    size_t end = w->all ? f->next + 1 : s->n_candidates;
    while (f->next < end) {
        const struct candidate *x = &list[f->next++];
        const struct device *d = x->device;
        bool match = true;
        if (++s->steps > ALLOCATE_MAX_STEPS || ++s->al->steps > ALLOCATE_MAX_ALL)
            return err_set(e, -ETIME, "node " STR_FMT ": timed out trying to allocate devices", STR_ARG(s->node));
        arena_reset(&s->scratch);
        if (w->admin ? in_use_by(s, d, f->claim) : in_use(s, d))
            continue;
        int r = w->all ? 0 : is_selectable(s, c, w, d, &match, e);
        if (r < 0)
            return r;
        if (!match)
            continue;
        enum capacity_fit fit = capacity_fit(d, val_get(w->v, N_capacity), &use_of(s, d)->used, &s->scratch, NULL);
        if (fit == CAPACITY_NONSENSE)
            return err_set(e, -EINVAL, "claim " STR_FMT ", request " STR_FMT ": checking capacity for device " STR_FMT,
                           STR_ARG(c->name), STR_ARG(w->name), STR_ARG(d->name));
        r = fit == CAPACITY_FITS ? take(s, f, x->pool, d) : REFUSED;
        if (r == TAKEN)
            return 0;
        if (w->all && r == REFUSED_BY_CONSTRAINT)
            return err_set(e, -EINVAL,
                           "claim " STR_FMT ", request " STR_FMT ": cannot add device " STR_FMT
                           " because a claim constraint would not be satisfied",
                           STR_ARG(c->name), STR_ARG(w->name), STR_ARG(d->name));
    }
    return ALLOCATE_IMPOSSIBLE;
}

enum { GO_ON, GO_BACK, GO_BACK_FULL /* the claim would have too many devices */, FOUND };

/* What comes after the frame on top: a further device, the next request, the next claim. */
static int forward(struct search *s, struct position *at, struct err *e)
{
    for (;;) {
        if (at->claim == s->al->n_claims)
            return FOUND;
        struct claim_search *c = &s->al->claims[at->claim];
        if (at->request == c->n_requests) {
            *at = (struct position){.claim = at->claim + 1};
            continue;
        }
        const struct request_search *q = &c->requests[at->request];
        if (q->prioritized && !at->chosen) {
            push(s, (struct frame){.claim = at->claim, .request = at->request, .all_full = true});
            at->chosen = true;
            at->way = at->device = at->from = 0;
        }
        const struct request_way *w = &q->ways[at->way];
        if (w->all && !w->count)
            return GO_BACK;
        if ((int64_t)at->device >= w->count) {
            *at = (struct position){.claim = at->claim, .request = at->request + 1};
            continue;
        }
        if (w->count - (int64_t)at->device > ALLOCATION_MAX_DEVICES - (int64_t)c->n_devices)
            return GO_BACK_FULL;
        struct frame *f = push(s, (struct frame){.claim = at->claim, .request = at->request, .way = at->way,
                                                 .number = at->device, .next = w->all ? at->device : at->from});
        int r = next_device(s, f, e);
        if (r < 0)
            return r;
        if (r) {
            s->n_frames--;
            return GO_BACK;
        }
        at->device++;
        at->from = f->next;
    }
}

/* Takes frames off until one has another choice. `full`: as long as it is the same claim, other devices will not
 * help, only another way that needs fewer. GO_ON, GO_BACK (nothing is left), or negative. */
static int backward(struct search *s, struct position *at, bool full, struct err *e)
{
    size_t claim = at->claim;
    while (s->n_frames) {
        struct frame *f = &s->frames[s->n_frames - 1];
        const struct request_search *q = &s->al->claims[f->claim].requests[f->request];
        full &= f->claim == claim;
        if (!f->device) {
            f->all_full &= full;
            if (++f->way < q->n_ways) {
                *at = (struct position){.claim = f->claim, .request = f->request, .chosen = true, .way = f->way};
                return GO_ON;
            }
            full = f->all_full;
            s->n_frames--;
            continue;
        }
        undo(s, f);
        f->device = NULL;
        int r = full || q->ways[f->way].all ? ALLOCATE_IMPOSSIBLE : next_device(s, f, e);
        if (r < 0)
            return r;
        if (r == 0) {
            *at = (struct position){.claim = f->claim, .request = f->request, .chosen = true, .way = f->way,
                                    .device = f->number + 1, .from = f->next};
            return GO_ON;
        }
        s->n_frames--;
    }
    return GO_BACK;
}

static int run(struct search *s, struct err *e)
{
    struct position at = {0};
    for (;;) {
        int r = forward(s, &at, e);
        if (r < 0 || r == FOUND)
            return r < 0 ? r : 0;
        r = backward(s, &at, r == GO_BACK_FULL, e);
        if (r != GO_ON)
            return r < 0 ? r : ALLOCATE_IMPOSSIBLE;
    }
}

static void gather_candidates(struct search *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->pools.n; i++)
        for (size_t k = 0; k < s->pools.items[i].n; k++)
            n += s->pools.items[i].slices[k]->n_devices;
    s->candidates = ARENA_ARRAY(s->a, struct candidate, n);
    for (size_t i = 0; i < s->pools.n; i++)
        for (size_t k = 0; k < s->pools.items[i].n; k++)
            for (size_t d = 0; d < s->pools.items[i].slices[k]->n_devices; d++)
                s->candidates[s->n_candidates++] =
                    (struct candidate){&s->pools.items[i].slices[k]->devices[d], &s->pools.items[i]};
    s->uses = ARENA_ARRAY(s->a, struct device_use, s->al->inv->n_devices);
    s->counters = ARENA_ARRAY(s->a, struct pool_counters, s->pools.n);
}

static bool any_invalid(const struct node_pools *pools)
{
    for (size_t i = 0; i < pools->n; i++)
        if (pools->items[i].invalid)
            return true;
    return false;
}

int allocate(struct allocator *al, struct str node, const struct val *node_labels, uint64_t random, struct arena *a,
             const struct val **ret, struct err *e)
{
    struct arena own CLEANUP_ARENA = ARENA_INIT;
    struct search s = {.al = al, .a = &own, .node = node, .labels = node_labels};
    node_pools(al->inv, node, node_labels, &own, &s.pools);
    gather_candidates(&s);
    int r = count_devices(&s, e);
    if (r == 0)
        r = run(&s, e);
    if (r == ALLOCATE_IMPOSSIBLE && any_invalid(&s.pools))
        r = ALLOCATE_INVALID_POOLS;
    for (size_t i = 0; r == 0 && i < al->n_claims; i++)
        ret[i] = allocation_result(&s, i, &random, a);
    arena_done(&s.scratch);
    return r;
}
