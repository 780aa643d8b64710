/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/claims.h"

#include "client/replica.h"
#include "names.h"
#include "resources.h"
#include "scheduler/extended.h"
#include "type/resourceclaim.h"

enum { BINDING_TIMEOUT_SECONDS = 600, FIRST_AVAILABLE_MAX = 8 };

/* ---- promises -------------------------------------------------------------------------------------------- */

static void unref(void *o)
{
    object_unref(o);
}

void claim_promises_done(struct claim_promises *p)
{
    map_done_with(&p->claims, unref);
}

static struct object *with_allocation(const struct object *claim, const struct val *allocation)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v = val_copy(&a, claim->val);
    val_set_ref(&a, val_sub_obj(&a, v, N_status), N_allocation, allocation);
    return object_new(claim->res, v);
}

void claim_promise(struct claim_promises *p, const struct claim_plan *plan)
{
    p->changes++;
    for (size_t i = 0; i < plan->n; i++)
        if (plan->list[i].allocation)
            object_unref(map_put(&p->claims, plan->list[i].claim->uid,
                                 with_allocation(plan->list[i].claim, plan->list[i].allocation)));
}

void claim_unpromise(struct claim_promises *p, const struct claim_plan *plan)
{
    p->changes++;
    for (size_t i = 0; i < plan->n; i++)
        if (plan->list[i].allocation)
            object_unref(map_del(&p->claims, plan->list[i].claim->uid));
}

/* ---- reading the pod ------------------------------------------------------------------------------------- */

struct claims {
    const struct world *w;
    struct needs *pod;
    struct arena *a;
    struct str refusal;
    bool silent;
    const struct object **list; /* each once */
    bool *unavailable;          /* allocated, and of no use on a node that was looked at */
    size_t n;
    const struct val **open; /* those without devices, in the order of the list; room for one more */
    size_t n_open;
    struct inventory *inv; /* NULL: nothing is to be allocated */
    struct inventory *own_inv; /* not remembered for the next decision */
    const struct extended *extended;
    struct variant {
        uint32_t which; /* of the extended resources are devices */
        const struct val *claim, *mappings;
        struct allocator *allocator;
    } * variants; /* nodes differ in what device plug-ins offer: few */
    size_t n_variants;
    bool prioritized;
    const struct val ***found; /* by node: what would be allocated there, for the score */
};

bool claims_made(const struct val *pod)
{
    VAL_EACH (val_at(pod, N_spec, N_resourceClaims), entry) {
        struct str name;
        bool generated;
        if (pod_resource_claim(pod, entry, &name, &generated) == POD_CLAIM_PENDING)
            return false;
    }
    return true;
}

static const struct object *get_claim(const struct world *w, struct str ns, struct str name)
{
    return w->objects ? snapshot_get(w->objects, &resources[RES_RESOURCECLAIMS], ns, name) : NULL;
}

static void wait_for(struct claims *c, struct str why)
{
    c->refusal = why;
    c->silent = true;
}

static void add_claim(struct claims *c, const struct object *claim)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->list[i] == claim)
            return; /* under two names */
    c->list[c->n++] = claim;
}

static void read_entry(struct claims *c, const struct val *entry)
{
    const struct object *pod = c->pod->pod;
    struct str name;
    bool generated;
    enum pod_claim kind = pod_resource_claim(pod->val, entry, &name, &generated);
    const struct object *claim = kind == POD_CLAIM_NAMED ? get_claim(c->w, pod->namespace_, name) : NULL;
    if (kind == POD_CLAIM_NONE)
        return;
    if (kind == POD_CLAIM_PENDING)
        wait_for(c, arena_printf(c->a, "pod \"" STR_FMT "/" STR_FMT "\": ResourceClaim not created yet",
                                 STR_ARG(pod->namespace_), STR_ARG(pod->name)));
    else if (!claim)
        wait_for(c, arena_printf(c->a, "resourceclaim \"" STR_FMT "\" not found", STR_ARG(name)));
    else if (obj_deleting(claim->val))
        wait_for(c, arena_printf(c->a, "resourceclaim \"" STR_FMT "\" is being deleted", STR_ARG(name)));
    else if (generated && !obj_controlled_by(claim->val, pod->uid))
        wait_for(c, arena_printf(c->a,
                                 "ResourceClaim " STR_FMT "/" STR_FMT " was not created for Pod " STR_FMT "/" STR_FMT
                                 " (Pod is not owner)",
                                 STR_ARG(claim->namespace_), STR_ARG(name), STR_ARG(pod->namespace_), STR_ARG(pod->name)));
    else
        add_claim(c, claim);
}

static const struct val *allocation_of(const struct object *claim)
{
    return val_at(claim->val, N_status, N_allocation);
}

/* Do the classes exist that it asks for? */
static struct str missing_class(struct claims *c, const struct object *claim)
{
    const struct tree *classes = snapshot_tree(c->w->objects, &resources[RES_DEVICECLASSES]);
    VAL_EACH (val_at(claim->val, N_spec, N_devices, N_requests), q) {
        const struct val *exactly = val_get(q, N_exactly), *list = val_get(q, N_firstAvailable);
        c->prioritized |= !exactly;
        for (size_t i = 0; i < (exactly ? 1 : val_len(list)); i++) {
            const struct val *way = exactly ?: val_item(list, i);
            struct str name = val_getstr(way, N_deviceClassName);
            if (tree_get(classes, name))
                continue;
            return arena_printf(c->a, "request " STR_FMT "%s" STR_FMT ": device class " STR_FMT " does not exist",
                                STR_ARG(val_getstr(q, N_name)), exactly ? "" : "/",
                                STR_ARG(exactly ? STR("") : val_getstr(way, N_name)), STR_ARG(name));
        }
    }
    return STR_NULL;
}

/* Devices of all claims of the cluster, and of those that were promised some. */
static void take_all(const struct claims *c, struct inventory *inv, struct arena *a)
{
    TREE_EACH (snapshot_tree(c->w->objects, &resources[RES_RESOURCECLAIMS]), STR_NULL, it)
        if (allocation_of(it.object))
            inventory_take(inv, allocation_of(it.object), a);
    if (c->w->claim_promises)
        MAP_EACH (&c->w->claim_promises->claims, e) {
            const struct object *promised = e->value;
            const struct object *now = get_claim(c->w, promised->namespace_, promised->name);
            if (!now || !str_eq(now->uid, promised->uid) || !allocation_of(now))
                inventory_take(inv, allocation_of(promised), a);
        }
}

static void forget_taken(struct inventory_memory *m)
{
    m->counted = false;
    m->claims = tree_unref(m->claims);
    arena_reset(&m->taken);
}

static void forget_devices(struct inventory_memory *m)
{
    forget_taken(m);
    inventory_done(m->inv);
    m->inv = NULL;
    m->slices = tree_unref(m->slices);
    arena_reset(&m->arena);
}

void inventory_memory_done(struct inventory_memory *m)
{
    forget_devices(m);
    arena_done(&m->arena);
    arena_done(&m->taken);
}

static struct inventory *remembered(const struct claims *c, struct inventory_memory *m)
{
    const struct tree *slices = snapshot_tree(c->w->objects, &resources[RES_RESOURCESLICES]);
    const struct tree *claims = snapshot_tree(c->w->objects, &resources[RES_RESOURCECLAIMS]);
    uint64_t promises = c->w->claim_promises ? c->w->claim_promises->changes : 0;
    if (m->inv && m->slices != slices)
        forget_devices(m);
    if (!m->inv) {
        m->slices = tree_ref(slices);
        m->inv = inventory_new(&m->arena, slices);
    }
    if (m->counted && m->claims == claims && m->promises == promises)
        return m->inv;
    forget_taken(m);
    inventory_clear(m->inv);
    take_all(c, m->inv, &m->taken);
    m->claims = tree_ref(claims);
    m->promises = promises;
    m->counted = true;
    return m->inv;
}

enum { VARIANTS_MAX = 8 };

/* The allocator for a node that lacks these extended resources. NULL: with c->refusal. */
static struct variant *variant_of(struct claims *c, uint32_t which)
{
    struct err e = {0};
    for (size_t i = 0; i < c->n_variants; i++)
        if (c->variants[i].which == which)
            return &c->variants[i];
    struct variant *v = &c->variants[c->n_variants < VARIANTS_MAX ? c->n_variants++ : VARIANTS_MAX - 1];
    *v = (struct variant){.which = which};
    if (which)
        c->open[c->n_open] = v->claim = extended_claim(c->extended, which, c->pod, c->a, &v->mappings);
    int r = allocator_new(c->a, c->inv, snapshot_tree(c->w->objects, &resources[RES_DEVICECLASSES]), c->w->judge, c->open,
                          c->n_open + (which ? 1 : 0), &v->allocator, &e);
    if (r < 0)
        c->refusal = arena_str(c->a, str_of(err_text(&e, r)));
    return r < 0 ? NULL : v;
}

static void prepare_allocator(struct claims *c)
{
    if (c->w->inventory) {
        c->inv = remembered(c, c->w->inventory);
    } else {
        c->inv = c->own_inv = inventory_new(c->a, snapshot_tree(c->w->objects, &resources[RES_RESOURCESLICES]));
        take_all(c, c->inv, c->a);
    }
    c->variants = ARENA_ARRAY(c->a, struct variant, VARIANTS_MAX);
    if (c->n_open)
        variant_of(c, 0); /* to say at once when something is wrong with the claims */
    if (c->prioritized)
        c->found = ARENA_ARRAY(c->a, const struct val **, c->w->table->n);
}

static void read_open(struct claims *c)
{
    for (size_t i = 0; i < c->n && !c->refusal.p; i++) {
        const struct object *claim = c->list[i];
        if (allocation_of(claim))
            continue;
        if (c->w->claim_promises && map_has(&c->w->claim_promises->claims, claim->uid))
            c->refusal = arena_printf(c->a, "resource claim " STR_FMT "/" STR_FMT " is in the process of being allocated",
                                      STR_ARG(claim->namespace_), STR_ARG(claim->name));
        else
            c->refusal = missing_class(c, claim);
        c->open[c->n_open++] = claim->val;
    }
    if ((c->n_open || c->extended) && !c->refusal.p)
        prepare_allocator(c);
}

/* One that was made for the pod's extended resources before, when it did not get to its node after all. */
static void read_leftover(struct claims *c)
{
    TREE_EACH (snapshot_tree(c->w->objects, &resources[RES_RESOURCECLAIMS]), c->pod->pod->namespace_, it)
        if (str_is(obj_annotation(it.object->val, STR(ANN_EXTENDED_CLAIM)), "true") &&
            obj_controlled_by(it.object->val, c->pod->pod->uid) && !obj_deleting(it.object->val)) {
            c->refusal = STR("cannot schedule extended resource claim");
            c->unavailable[c->n] = true;
            c->list[c->n++] = it.object;
            return;
        }
}

struct claims *claims_new(const struct world *w, struct needs *pod, const struct extended *extended, struct arena *a)
{
    const struct val *entries = val_get(pod->spec, N_resourceClaims);
    size_t n = val_len(entries);
    if (!n && !extended)
        return NULL;
    struct claims *c = ARENA_NEW(a, struct claims);
    *c = (struct claims){.w = w, .pod = pod, .a = a, .extended = extended};
    c->list = ARENA_ARRAY(a, const struct object *, n + 1);
    c->open = ARENA_ARRAY(a, const struct val *, n + 1);
    c->unavailable = ARENA_ARRAY(a, bool, n + 1);
    VAL_EACH (entries, entry)
        if (!c->refusal.p)
            read_entry(c, entry);
    if (!c->refusal.p && extended)
        read_leftover(c);
    if (!c->refusal.p)
        read_open(c);
    return c;
}

void claims_done(struct claims *c)
{
    if (c)
        inventory_done(c->own_inv);
}

struct str claims_refusal(const struct claims *c, bool *ret_silent)
{
    *ret_silent = c && c->silent;
    return c ? c->refusal : STR_NULL;
}

/* ---- asking about a node --------------------------------------------------------------------------------- */

static bool is_late(const struct world *w, const struct object *claim)
{
    struct wall since = val_time(val_get(allocation_of(claim), N_allocationTimestamp));
    return claim_has_conditions(claim->val) && since.ns && w->now.ns - since.ns > SECONDS(BINDING_TIMEOUT_SECONDS);
}

/* Can the devices that the claim has be used on the node? */
static bool is_usable(const struct claims *c, const struct object *claim, const struct node *n)
{
    const struct val *selector = val_get(allocation_of(claim), N_nodeSelector), *failed;
    if (selector && !selection_reaches(STR_NULL, false, selector, n->object->name, n->labels))
        return false;
    enum claim_binding b = claim_binding(claim->val, &failed);
    return b == CLAIM_READY || (b == CLAIM_WAITS && !is_late(c->w, claim));
}

static struct str try_allocating(struct claims *c, int node, bool *ret_failed)
{
    const struct node *n = &c->w->table->nodes[node];
    const struct val **found = ARENA_ARRAY(c->a, const struct val *, c->n_open + 1);
    struct arena scratch CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    struct variant *v = variant_of(c, extended_on(c->extended, n));
    *ret_failed = !v;
    if (!v)
        return c->refusal;
    int r = allocate(v->allocator, n->object->name, n->labels, 0, c->prioritized ? c->a : &scratch, found, &e);
    *ret_failed = r < 0;
    if (r == 0 && c->prioritized)
        c->found[node] = found;
    if (r < 0)
        return arena_str(c->a, str_of(err_text(&e, r)));
    if (r == ALLOCATE_INVALID_POOLS)
        return STR("invalid resource pools were encountered");
    if (r)
        return e.text[0] ? arena_str(c->a, str_of(e.text)) : STR("cannot allocate all claims");
    return STR_NULL;
}

struct str claims_filter(struct claims *c, int node, bool *ret_failed)
{
    bool usable = true;
    *ret_failed = false;
    for (size_t i = 0; i < c->n; i++)
        if (allocation_of(c->list[i]) && !is_usable(c, c->list[i], &c->w->table->nodes[node])) {
            c->unavailable[i] = true;
            usable = false;
        }
    if (!usable)
        return STR("resourceclaim not available on the node");
    bool any = c->n_open || extended_on(c->extended, &c->w->table->nodes[node]);
    return any ? try_allocating(c, node, ret_failed) : STR_NULL;
}

/* The sooner an alternative stands in its list, the more it counts. */
static int64_t score_of(const struct val *claim, const struct val *allocation)
{
    int64_t score = 0;
    VAL_EACH (val_at(claim, N_spec, N_devices, N_requests), q) {
        const struct val *list = val_get(q, N_firstAvailable);
        for (size_t i = 0; i < val_len(list); i++) {
            struct str way = val_getstr(val_item(list, i), N_name);
            bool chosen = false;
            VAL_EACH (val_at(allocation, N_devices, N_results), x) {
                struct str base, sub;
                chosen |= str_cut(val_getstr(x, N_request), '/', &base, &sub) && str_eq(base, val_getstr(q, N_name)) &&
                          str_eq(sub, way);
            }
            score += chosen ? FIRST_AVAILABLE_MAX - (int64_t)i : 0;
        }
    }
    return score;
}

bool claims_score(const struct claims *c, int node, int64_t *ret)
{
    if (!c || !c->prioritized || !c->found || !c->found[node])
        return false;
    *ret = 0;
    for (size_t i = 0; i < c->n_open; i++)
        *ret += score_of(c->open[i], c->found[node][i]);
    return true;
}

const struct object *claims_obstacle(const struct claims *c)
{
    for (size_t i = 0; c && i < c->n; i++) {
        const struct val *reserved = val_at(c->list[i]->val, N_status, N_reservedFor);
        bool ours = val_len(reserved) == 0 ||
                    (val_len(reserved) == 1 && claim_reserved_for(c->list[i]->val, c->pod->pod->uid));
        if (c->unavailable[i] && ours)
            return c->list[i];
    }
    return NULL;
}

/* ---- the plan -------------------------------------------------------------------------------------------- */

/* Until it is made it goes by a uid of our own, which nothing else has. */
static struct object *new_claim(struct claims *c, const struct val *claim)
{
    struct val *v = val_copy(c->a, claim);
    val_set_str(c->a, val_sub_obj(c->a, v, N_metadata), N_uid,
                arena_printf(c->a, "extended-resources-of-" STR_FMT, STR_ARG(c->pod->pod->uid)));
    return object_new(&resources[RES_RESOURCECLAIMS], v);
}

static bool plan(struct claims *c, int node, uint64_t random, struct arena *a, struct claim_plan *ret)
{
    const struct node *n = &c->w->table->nodes[node];
    const struct val **found = ARENA_ARRAY(c->a, const struct val *, c->n_open + 1);
    uint32_t which = extended_on(c->extended, n);
    struct variant *v = c->n_open || which ? variant_of(c, which) : NULL;
    size_t open = 0;
    struct err e;
    if ((c->n_open || which) && (!v || allocate(v->allocator, n->object->name, n->labels, random, a, found, &e)))
        return false;
    ret->list = ARENA_ARRAY(a, struct claim_bind, c->n + 1);
    for (size_t i = 0; i < c->n; i++) {
        const struct val *allocation = allocation_of(c->list[i]) ? NULL : found[open++];
        ret->list[ret->n++] = (struct claim_bind){.claim = c->list[i], .allocation = allocation};
        VAL_EACH (val_at(allocation ?: allocation_of(c->list[i]), N_devices, N_results), r)
            ret->conditions |= val_len(val_get(r, N_bindingConditions)) > 0;
    }
    if (which) {
        ret->list[ret->n++] = (struct claim_bind){.claim = new_claim(c, v->claim), .allocation = found[open], .mappings = val_copy(a, v->mappings)};
    }
    return true;
}

bool claims_plan_for(const struct world *w, struct needs *pod, int node, uint64_t random, struct arena *a,
                     struct claim_plan *ret)
{
    struct arena own CLEANUP_ARENA = ARENA_INIT;
    struct claims *c = claims_new(w, pod, extended_new(w, pod, &own), &own);
    *ret = (struct claim_plan){0};
    bool ok = !c || (!c->refusal.p && plan(c, node, random, a, ret));
    claims_done(c);
    return ok;
}
