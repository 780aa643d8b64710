/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services of type LoadBalancer get addresses of a pool (--load-balancer-pool). What says who has which is
 * status.loadBalancer alone; the finalizer is there exactly while an address is. Of several with one address
 * (statuses that a foreign hand wrote, a backup put back) the oldest keeps it.
 *
 * Without a pool the controller is off, and whatever else serves such Services is alone with them.
 */
#include "base/map.h"
#include "controllers/address_pool.h"
#include "controllers/cluster.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

#define CLASS "cube.local/load-balancer"
#define FINALIZER "service.kubernetes.io/load-balancer-cleanup" /* KEP-980 */

enum { FAMILIES = 2, CLAIMS = 8 };

/* That a Service has an address: so its status says, or it was given and is not seen there yet. */
struct claim {
    struct list link; /* in the list of all claims of that address */
    struct holding *by;
    struct cidr ip;
};

struct holding {
    char *key; /* "ns/name" */
    struct wall created;
    bool foreign; /* of another class: not ours to move */
    bool waiting; /* for an address to become free */
    char *told;   /* the complaint that its events have told; NULL: none */
    struct claim seen[CLAIMS], given[FAMILIES];
    size_t n_seen, n_given;
};

struct balancers {
    struct arena arena;
    struct address_pool pool;
    struct map holdings;  /* struct holding by key */
    struct map addresses; /* struct list of claims by ip_key: those in use */
};

/* ---- who has what ------------------------------------------------------------------------------------- */

enum { IP_KEY = 17 };

static struct str ip_key(char buf[static IP_KEY], struct cidr ip)
{
    buf[0] = ip.ipv6 ? '6' : '4';
    memcpy(buf + 1, &ip.base, sizeof(ip.base));
    return str_n(buf, IP_KEY);
}

static const struct list *claims_of(const struct balancers *b, struct cidr ip)
{
    char buf[IP_KEY];
    return map_get(&b->addresses, ip_key(buf, ip));
}

static void add_claim(struct balancers *b, struct holding *h, struct claim *c, struct cidr ip)
{
    char buf[IP_KEY];
    struct list *all = map_get(&b->addresses, ip_key(buf, ip));
    if (!all) {
        all = NEW(struct list);
        list_init(all);
        map_put(&b->addresses, ip_key(buf, ip), all);
    }
    *c = (struct claim){.by = h, .ip = ip};
    list_push_back(all, &c->link);
}

static void drop_claims(struct balancers *b, struct claim *claims, size_t *n)
{
    char buf[IP_KEY];
    for (; *n > 0; (*n)--) {
        struct claim *c = &claims[*n - 1];
        struct list *all = map_get(&b->addresses, ip_key(buf, c->ip));
        list_remove(&c->link);
        if (list_empty(all))
            free(map_del(&b->addresses, ip_key(buf, c->ip)));
    }
}

static bool before(const struct holding *a, const struct holding *b)
{
    if (a->foreign != b->foreign)
        return a->foreign;
    if (a->created.ns != b->created.ns)
        return a->created.ns < b->created.ns;
    return str_cmp(str_of(a->key), str_of(b->key)) < 0;
}

/* Whose the address is if it is not h's; with `strict` anybody else who has it, else only who comes before h. */
static const struct holding *other_owner(const struct balancers *b, const struct holding *h, struct cidr ip, bool strict)
{
    const struct list *all = claims_of(b, ip);
    const struct holding *first = NULL;
    if (!all)
        return NULL;
    LIST_EACH (all, l) {
        const struct holding *other = LIST_ENTRY(l, struct claim, link)->by;
        if (other != h && (strict || before(other, h)) && (!first || before(other, first)))
            first = other;
    }
    return first;
}

static bool has_seen(const struct holding *h, struct cidr ip)
{
    for (size_t i = 0; i < h->n_seen; i++)
        if (h->seen[i].ip.ipv6 == ip.ipv6 && h->seen[i].ip.base == ip.base)
            return true;
    return false;
}

/* ---- choosing ------------------------------------------------------------------------------------------- */

struct pick {
    bool ipv6, found;
    struct cidr ip;
    struct str why; /* not: a sentence */
};

struct choice {
    struct pick picks[FAMILIES];
    size_t n;
    struct str asked; /* spec.loadBalancerIP */
    struct cidr asked_ip;
    struct str asked_why; /* it cannot be had, whatever is free */
};

static const char *family(bool ipv6)
{
    return ipv6 ? "IPv6" : "IPv4";
}

static void read_families(const struct balancers *b, const struct object *o, struct choice *c)
{
    VAL_EACH (val_at(o->val, N_spec, N_ipFamilies), f)
        if (c->n < FAMILIES)
            c->picks[c->n++].ipv6 = str_is(val_str(f), "IPv6");
    if (c->n == 0 && b->pool.n > 0)
        c->picks[c->n++].ipv6 = b->pool.ranges[0].ipv6;
}

static void read_asked(const struct balancers *b, const struct object *o, struct arena *a, struct choice *c)
{
    bool of_family = false;
    c->asked = val_str(val_at(o->val, N_spec, N_loadBalancerIP));
    if (str_empty(c->asked))
        return;
    if (cidr_parse_ip(c->asked, &c->asked_ip) < 0) {
        c->asked_why = arena_printf(a, "\"" STR_FMT "\" is not an IP address", STR_ARG(c->asked));
        return;
    }
    for (size_t i = 0; i < c->n; i++)
        of_family |= c->picks[i].ipv6 == c->asked_ip.ipv6;
    if (!of_family)
        c->asked_why = arena_printf(a, "the requested address " STR_FMT " is of no IP family of the Service", STR_ARG(c->asked));
    else if (!address_pool_has(&b->pool, c->asked_ip))
        c->asked_why = arena_printf(a, "the requested address " STR_FMT " is not in the pool", STR_ARG(c->asked));
}

/* True when it asks: it gets that address, or at least none of our choosing. */
static bool pick_asked(const struct balancers *b, const struct holding *h, struct arena *a, const struct choice *c,
                       struct pick *p)
{
    if (!str_empty(c->asked_why)) {
        p->why = c->asked_why;
        return true;
    }
    if (str_empty(c->asked) || c->asked_ip.ipv6 != p->ipv6)
        return false;
    const struct holding *other = other_owner(b, h, c->asked_ip, !has_seen(h, c->asked_ip));
    p->ip = c->asked_ip;
    p->found = !other;
    if (other)
        p->why = arena_printf(a, "the requested address " STR_FMT " is in use by %s", STR_ARG(c->asked), other->key);
    return true;
}

static void pick_present(const struct balancers *b, const struct holding *h, struct pick *p)
{
    for (size_t i = 0; i < h->n_seen && !p->found; i++) {
        struct cidr ip = h->seen[i].ip;
        p->found = ip.ipv6 == p->ipv6 && !other_owner(b, h, ip, false);
        p->ip = ip;
    }
}

/* The search starts at a place that the name gives: a Service that is made anew gets the address it had, if that is
 * free. Of one more address than are in use, one is free. */
static void pick_free(const struct balancers *b, const struct holding *h, struct arena *a, struct pick *p)
{
    uint64_t n = address_pool_count(&b->pool, p->ipv6);
    uint64_t tries = MIN(n, (uint64_t)b->addresses.n + 1), start = n ? str_hash(str_of(h->key)) % n : 0;
    for (uint64_t i = 0; i < tries && !p->found; i++) {
        p->ip = address_pool_nth(&b->pool, p->ipv6, (start + i) % n);
        p->found = !other_owner(b, h, p->ip, true);
    }
    if (p->found)
        return;
    p->why = n ? arena_printf(a, "all %llu %s addresses of the pool are in use", (unsigned long long)n, family(p->ipv6))
               : arena_printf(a, "the pool has no %s addresses", family(p->ipv6));
}

/* Dual stack is asked for with RequireDualStack, liked with PreferDualStack. */
static void choose(const struct balancers *b, const struct holding *h, const struct object *o, struct arena *a,
                   struct choice *c)
{
    bool missing = false;
    read_families(b, o, c);
    read_asked(b, o, a, c);
    for (size_t i = 0; i < c->n; i++) {
        struct pick *p = &c->picks[i];
        bool settled = pick_asked(b, h, a, c, p);
        if (!p->found)
            pick_present(b, h, p); /* until it can have what it asks for */
        if (!p->found && !settled)
            pick_free(b, h, a, p);
        missing |= !p->found;
    }
    if (missing && str_is(val_str(val_at(o->val, N_spec, N_ipFamilyPolicy)), "RequireDualStack"))
        for (size_t i = 0; i < c->n; i++)
            c->picks[i].found = c->picks[i].found && has_seen(h, c->picks[i].ip);
}

/* What is worth an event. One family of a Service that does without is none if the pool does not know that family. */
static struct str complaint(const struct balancers *b, const struct object *o, struct arena *a, const struct choice *c)
{
    bool relaxed = str_is(val_str(val_at(o->val, N_spec, N_ipFamilyPolicy)), "PreferDualStack"), any = false;
    struct str why[FAMILIES];
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        any |= c->picks[i].found;
    for (size_t i = 0; i < c->n; i++) {
        const struct pick *p = &c->picks[i];
        bool quiet = relaxed && any && address_pool_count(&b->pool, p->ipv6) == 0;
        if (!str_empty(p->why) && !quiet && !(n && str_eq(why[0], p->why)))
            why[n++] = p->why;
    }
    return n ? arena_join(a, why, n, STR("; ")) : STR_NULL;
}

/* ---- writing -------------------------------------------------------------------------------------------- */

static struct val *points(struct arena *a, const struct choice *c)
{
    struct val *list = val_new(a, VAL_LIST);
    for (size_t i = 0; i < c->n; i++)
        if (c->picks[i].found) {
            struct val *point = val_add_obj(a, list);
            val_set_str(a, point, N_ip, cidr_ip_text(a, c->picks[i].ip));
            val_set_str(a, point, N_ipMode, STR("VIP")); /* KEP-1860: nodes may short-circuit */
        }
    return list;
}

/* The finalizer goes with the addresses in one write of the status, which is all that upstream's role allows. */
static bool write_points(struct writes *w, const struct object *o, const struct val *list)
{
    bool held = obj_has_finalizer(o->val, STR(FINALIZER)), hold = val_len(list) > 0;
    if (held == hold && val_equal(val_at(o->val, N_status, N_loadBalancer, N_ingress), list))
        return false;
    struct val *status, *v = with_status(w->arena, o, &status);
    put_finalizer(w->arena, val_set(w->arena, v, N_metadata, *val_copy_shallow(w->arena, o->meta)), STR(FINALIZER), hold);
    if (hold)
        val_set_ref(w->arena, val_set(w->arena, status, N_loadBalancer, *val_new(w->arena, VAL_OBJ)), N_ingress, list);
    else
        val_del(status, N_loadBalancer);
    writes_update_status(w, o->res, v)->may_fail = 404;
    return true;
}

static void tell_trouble(struct writes *w, struct holding *h, const struct object *o, struct str why)
{
    if (str_empty(why) || !h->told || !str_is(why, h->told)) {
        if (!str_empty(why))
            writes_event(w, o->res, o->val, true, "AllocationFailed", "Cannot give an address: " STR_FMT, STR_ARG(why));
        free(h->told);
        h->told = str_empty(why) ? NULL : str_dup(why);
    }
}

static void tell_lost(const struct balancers *b, struct writes *w, const struct holding *h, const struct object *o)
{
    for (size_t i = 0; i < h->n_seen; i++) {
        const struct holding *other = other_owner(b, h, h->seen[i].ip, false);
        if (other)
            writes_event(w, o->res, o->val, true, "AddressConflict", STR_FMT " belongs to %s",
                         STR_ARG(cidr_ip_text(w->arena, h->seen[i].ip)), other->key);
    }
}

static struct str list_points(struct arena *a, const struct val *list)
{
    struct str texts[FAMILIES];
    size_t n = 0;
    VAL_EACH (list, point)
        if (n < FAMILIES)
            texts[n++] = val_getstr(point, N_ip);
    return arena_join(a, texts, n, STR(", "));
}

static void ensure(struct balancers *b, struct holding *h, const struct object *o, struct writes *w)
{
    struct choice c = {0};
    drop_claims(b, h->given, &h->n_given);
    choose(b, h, o, w->arena, &c);
    struct str why = complaint(b, o, w->arena, &c);
    struct val *list = points(w->arena, &c);
    if (write_points(w, o, list)) {
        tell_lost(b, w, h, o);
        if (val_len(list))
            writes_event(w, o->res, o->val, false, "EnsuredLoadBalancer", "Ensured load balancer with " STR_FMT,
                         STR_ARG(list_points(w->arena, list)));
    }
    h->waiting = !str_empty(why);
    tell_trouble(w, h, o, why);
    for (size_t i = 0; i < c.n; i++)
        if (c.picks[i].found && !has_seen(h, c.picks[i].ip))
            add_claim(b, h, &h->given[h->n_given++], c.picks[i].ip);
}

static void release(struct writes *w, const struct object *o)
{
    if (write_points(w, o, NULL))
        writes_event(w, o->res, o->val, false, "DeletedLoadBalancer", "Deleted load balancer");
}

/* ---- the controller --------------------------------------------------------------------------------------- */

static bool is_balanced(const struct object *o)
{
    return str_is(val_str(val_at(o->val, N_spec, N_type)), "LoadBalancer");
}

/* KEP-1959: who names a class is left to its owner. */
static bool is_foreign(const struct object *o)
{
    const struct val *class = val_at(o->val, N_spec, N_loadBalancerClass);
    return class && !str_is(val_str(class), CLASS);
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now UNUSED, struct writes *w)
{
    struct balancers *b = w->state;
    const struct object *o = snapshot_get(world, &resources[RES_SERVICES], key.ns, key.name);
    struct holding *h = o ? map_get(&b->holdings, obj_key(w->arena, key.ns, key.name)) : NULL;
    if (!h || is_foreign(o))
        return 0;
    if (is_balanced(o) && !obj_deleting(o->val))
        ensure(b, h, o, w);
    else if (obj_has_finalizer(o->val, STR(FINALIZER)))
        release(w, o);
    return 0;
}

static struct holding *find_holding(struct balancers *b, struct str key)
{
    struct holding *h = map_get(&b->holdings, key);
    if (!h) {
        h = NEW(struct holding);
        h->key = str_dup(key);
        map_put(&b->holdings, key, h);
    }
    return h;
}

static void free_holding(void *holding)
{
    struct holding *h = holding;
    free(h->key);
    free(h->told);
    free(h);
}

static size_t read_status(const struct balancers *b, const struct object *o, struct cidr ret[static CLAIMS])
{
    size_t n = 0;
    VAL_EACH (val_at(o->val, N_status, N_loadBalancer, N_ingress), point)
        if (n < CLAIMS && cidr_parse_ip(val_getstr(point, N_ip), &ret[n]) == 0 && address_pool_has(&b->pool, ret[n]))
            n++;
    return n;
}

static bool among(const struct cidr *ips, size_t n, struct cidr ip)
{
    for (size_t i = 0; i < n; i++)
        if (ips[i].ipv6 == ip.ipv6 && ips[i].base == ip.base)
            return true;
    return false;
}

/* What the status says replaces all that was known. True when that set an address free. */
static bool note_status(struct balancers *b, struct holding *h, const struct object *o)
{
    struct cidr ips[CLAIMS];
    size_t n = read_status(b, o, ips);
    bool freed = false;
    for (size_t i = 0; i < h->n_seen; i++)
        freed |= !among(ips, n, h->seen[i].ip);
    for (size_t i = 0; i < h->n_given; i++)
        freed |= !among(ips, n, h->given[i].ip);
    drop_claims(b, h->seen, &h->n_seen);
    drop_claims(b, h->given, &h->n_given);
    for (size_t i = 0; i < n; i++)
        if (!has_seen(h, ips[i]))
            add_claim(b, h, &h->seen[h->n_seen++], ips[i]);
    h->foreign = is_foreign(o);
    h->waiting &= is_balanced(o) && !h->foreign;
    h->created = val_time(val_get(o->meta, N_creationTimestamp));
    return freed;
}

static bool forget(struct balancers *b, struct str key)
{
    struct holding *h = map_del(&b->holdings, key);
    bool freed = h && h->n_seen + h->n_given > 0;
    if (h) {
        drop_claims(b, h->seen, &h->n_seen);
        drop_claims(b, h->given, &h->n_given);
        free_holding(h);
    }
    return freed;
}

static void sink_key(const struct holding *h, key_sink *sink, void *arg)
{
    struct key key;
    if (str_cut(str_of(h->key), '/', &key.ns, &key.name))
        sink(arg, key);
}

static int by_age(const void *pa, const void *pb)
{
    const struct holding *const *a = pa, *const *b = pb;
    return before(*a, *b) ? -1 : 1;
}

/* The oldest first. */
static void wake_waiting(const struct balancers *b, key_sink *sink, void *arg)
{
    struct holding **list = xmalloc((b->holdings.n + 1) * sizeof(struct holding *));
    size_t n = 0;
    MAP_EACH (&b->holdings, e)
        if (((struct holding *)e->value)->waiting)
            list[n++] = e->value;
    qsort(list, n, sizeof(*list), by_age);
    for (size_t i = 0; i < n; i++)
        sink_key(list[i], sink, arg);
    free(list);
}

static void wake_rivals(const struct balancers *b, const struct holding *h, key_sink *sink, void *arg)
{
    for (size_t i = 0; i < h->n_seen; i++)
        LIST_EACH (claims_of(b, h->seen[i].ip), l)
            if (LIST_ENTRY(l, struct claim, link)->by != h)
                sink_key(LIST_ENTRY(l, struct claim, link)->by, sink, arg);
}

static void changed(void *state, const struct resource *res UNUSED, const struct object *old, const struct object *new_,
                    key_sink *sink, void *arg)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct balancers *b = state;
    const struct object *o = new_ ? new_ : old;
    struct str key = obj_key(&a, o->namespace_, o->name);
    bool freed;
    if (new_ && (is_balanced(new_) || obj_has_finalizer(new_->val, STR(FINALIZER)))) {
        struct holding *h = find_holding(b, key);
        freed = note_status(b, h, new_);
        sink_key(h, sink, arg);
        wake_rivals(b, h, sink, arg);
    } else {
        freed = forget(b, key);
    }
    if (freed)
        wake_waiting(b, sink, arg);
}

static bool enabled(const struct controllers_config *config)
{
    return config->load_balancer_pool && *config->load_balancer_pool;
}

static void *state_new(const struct controllers_config *config)
{
    struct balancers *b = NEW(struct balancers);
    struct err e = {0};
    if (config->load_balancer_pool) /* controllers_check has seen that it is one */
        address_pool_parse(&b->arena, config->load_balancer_pool, &b->pool, &e);
    return b;
}

static void state_free(void *state)
{
    struct balancers *b = state;
    map_done_with(&b->holdings, free_holding);
    map_done_with(&b->addresses, free);
    arena_done(&b->arena);
    free(b);
}

const struct controller service_lb_controller = {
    .name = "service-lb-controller",
    .alias = "service",
    .source = "service-controller",
    .account = "service-controller",
    .reads = (const uint16_t[]){RES_SERVICES, 0},
    .changed = changed,
    .reconcile = reconcile,
    .state_new = state_new,
    .state_free = state_free,
    .enabled = enabled,
};
