/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ResourceQuotas: counts anew what a namespace uses. Admission charges what comes (and knows nothing of what
 * goes), so this looks when something goes, gets smaller or changes its scope, and at everything every few
 * minutes.
 */
#include "controllers/quota.h"

#include "controllers/customs.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"
#include "type/quota.h"

enum { RESYNC_SECONDS = 300 };

/* One count of one quota. */
struct counting {
    const struct snapshot *world;
    const struct object *quota;
    struct wall now;
    struct writes *w;
    struct amounts used; /* of the names that anything counts */
};

static bool counts_any(const struct val *hard, const struct resource *res)
{
    VAL_EACH_ENTRY (hard, k, v)
        if (v && quota_counts(res, val_str(k)))
            return true;
    return false;
}

/* ---- counting ---------------------------------------------------------------------------------------- */

/* A name that is tracked is told even when nothing uses it. */
static void begin_names(struct counting *c, const struct val *hard, const struct resource *res)
{
    VAL_EACH_ENTRY (hard, k, v)
        if (v && quota_counts(res, val_str(k)))
            amounts_add(c->w->arena, &c->used, val_str(k), quantity_of(0, QUANTITY_DECIMAL_SI));
}

static void count_object(struct counting *c, const struct resource *res, const struct object *o)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct amounts use;
    if (!quota_takes(c->quota->val, res, o->val))
        return;
    quota_usage(&a, res, o->val, c->now, &use);
    for (size_t i = 0; i < use.n; i++) {
        struct quantity *sum = amounts_find(&c->used, use.items[i].name);
        if (sum)
            *sum = quantity_add(*sum, use.items[i].q);
    }
    struct wall overdue = quota_overdue(res, o->val);
    if (overdue.ns && overdue.ns >= c->now.ns)
        writes_again(c->w, overdue.ns - c->now.ns + MILLISECONDS(100));
}

static void count_kind(struct counting *c, const struct resource *res)
{
    const struct val *hard = val_at(c->quota->val, N_spec, N_hard);
    if (quota_ignores(res) || !counts_any(hard, res))
        return;
    begin_names(c, hard, res);
    TREE_EACH (snapshot_tree(c->world, res), c->quota->namespace_, it)
        count_object(c, res, it.object);
}

/* A custom kind that was not listed yet stays as it was counted before. */
static void count_all(struct counting *c)
{
    for (unsigned i = 1; i < n_resources; i++)
        if (resources[i].storage == i)
            count_kind(c, &resources[i]);
    EACH_CUSTOM (c->world, slot)
        if (slot->synced)
            count_kind(c, slot->res);
}

/* ---- status ------------------------------------------------------------------------------------------ */

static bool same_amounts(const struct val *a, const struct val *b)
{
    if (val_len(a) != val_len(b))
        return false;
    VAL_EACH_ENTRY (a, k, v) {
        const struct val *other = val_key(b, val_str(k));
        if (!other || quantity_cmp(quantity_or_zero(val_str(v)), quantity_or_zero(val_str(other))) != 0)
            return false;
    }
    return true;
}

/* What nothing counts (yet) stays as somebody else left it. */
static struct val *used_map(struct counting *c, const struct val *hard, const struct val *old)
{
    struct arena *a = c->w->arena;
    struct val *map = val_new(a, VAL_MAP);
    char text[QUANTITY_TEXT_MAX];
    VAL_EACH_ENTRY (hard, k, v) {
        const struct quantity *q = amounts_find(&c->used, val_str(k));
        const struct val *was = val_key(old, val_str(k));
        if (v && q)
            val_put_str(a, map, val_str(k), str_of(quantity_text(*q, text)));
        else if (v && was)
            val_put_str(a, map, val_str(k), val_str(was));
    }
    return map;
}

static void write_status(struct counting *c)
{
    const struct val *hard = val_at(c->quota->val, N_spec, N_hard), *old = val_get(c->quota->val, N_status);
    struct val *used = used_map(c, hard, val_get(old, N_used)), *status;
    if (same_amounts(hard, val_get(old, N_hard)) && same_amounts(used, val_get(old, N_used)) && old)
        return;
    struct val *v = with_status(c->w->arena, c->quota, &status);
    val_set_ref(c->w->arena, status, N_hard, hard);
    val_set_ref(c->w->arena, status, N_used, used);
    writes_update_status(c->w, c->quota->res, v);
}

static void look_at(const struct snapshot *world, const struct object *quota, struct wall now,
                    struct writes *w)
{
    struct counting c = {.world = world, .quota = quota, .now = now, .w = w};
    count_all(&c);
    write_status(&c);
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *ret)
{
    const struct resource *res = &resources[RES_RESOURCEQUOTAS];
    if (key.name.n) {
        const struct object *quota = snapshot_get(world, res, key.ns, key.name);
        if (quota)
            look_at(world, quota, now, ret);
        return 0;
    }
    TREE_EACH (snapshot_tree(world, res), STR(""), it)
        look_at(world, it.object, now, ret);
    return 0;
}

/* ---- when to look ------------------------------------------------------------------------------------ */

static bool same_usage(const struct resource *res, const struct object *old, const struct object *now)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct amounts was, is;
    quota_usage(&a, res, old->val, (struct wall){0}, &was);
    quota_usage(&a, res, now->val, (struct wall){0}, &is);
    if (was.n != is.n)
        return false;
    for (size_t i = 0; i < was.n; i++) {
        const struct quantity *q = amounts_find(&is, was.items[i].name);
        if (!q || quantity_cmp(*q, was.items[i].q) != 0)
            return false;
    }
    return true;
}

static bool matters(const struct resource *res, const struct object *old, const struct object *now,
                    const struct object *quota)
{
    if (!counts_any(val_at(quota->val, N_spec, N_hard), res))
        return false;
    if (!now || !same_usage(res, old, now) || quota_overdue(res, now->val).ns != quota_overdue(res, old->val).ns)
        return true;
    return quota_takes(quota->val, res, old->val) != quota_takes(quota->val, res, now->val);
}

/* The quotas there are: every change of anything asks for those of its namespace. */
struct memory {
    struct tree *quotas;
};

static void note_quota(struct memory *m, const struct object *old, const struct object *now, key_sink *sink,
                       void *arg)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct object *o = now ? now : old;
    struct str key = obj_key(&a, o->namespace_, o->name);
    m->quotas = now ? tree_put(m->quotas, key, now) : tree_del(m->quotas, key);
    if (!old || !now || !val_equal(val_get(old->val, N_spec), val_get(now->val, N_spec)))
        sink(arg, (struct key){o->namespace_, o->name});
}

static void changed(void *state, const struct resource *res, const struct object *old, const struct object *new_,
                    key_sink *sink, void *arg)
{
    struct memory *m = state;
    if (res == &resources[RES_RESOURCEQUOTAS])
        note_quota(m, old, new_, sink, arg);
    if (!old || quota_ignores(res))
        return; /* what comes was charged when it came */
    TREE_EACH (m->quotas, old->namespace_, it)
        if (matters(res, old, new_, it.object))
            sink(arg, (struct key){it.object->namespace_, it.object->name});
}

static void *state_new(const struct controllers_config *config)
{
    return NEW(struct memory);
}

static void state_free(void *state)
{
    struct memory *m = state;
    tree_unref(m->quotas);
    free(m);
}

static int64_t resync(const struct controllers_config *config)
{
    return config->quota_sync_period > 0 ? config->quota_sync_period : SECONDS(RESYNC_SECONDS);
}

const struct controller quota_controller = {
    .name = "resourcequota-controller",
    .alias = "resourcequota",
    .workers = 5,
    .changed = changed,
    .reconcile = reconcile,
    .state_new = state_new,
    .state_free = state_free,
    .resync_of = resync,
};
