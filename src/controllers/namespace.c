/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A namespace that is being deleted loses its content: the pods first, and when they are gone everything else
 * (KEP-5080). When nothing is left the finalizer "kubernetes" goes, and with it the namespace.
 */
#include "controllers/namespace.h"

#include "base/map.h"
#include "controllers/customs.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

#define FINALIZER "kubernetes"

struct sync {
    const struct snapshot *world;
    const struct object *ns;
    struct writes *w;
    struct wall now;
    struct buf remaining, finalizers; /* texts of the conditions */
    struct buf unlisted;              /* custom kinds of which nobody knows yet what there is */
    size_t n_unlisted;
    struct map by_finalizer;          /* counts */
    size_t left;
};

static bool has_content(const struct resource *r, unsigned index)
{
    return r->namespaced && r->stored && r->storage == index && (r->verbs & VERB_DELETE);
}

/* ---- counting and deleting --------------------------------------------------------------------------- */

static size_t count_kind(struct sync *s, const struct resource *res, size_t *ret_alive)
{
    size_t n = 0;
    TREE_EACH (snapshot_tree(s->world, res), s->ns->name, it) {
        n++;
        *ret_alive += !obj_deleting(it.object->val);
        VAL_EACH (val_get(it.object->meta, N_finalizers), f) {
            uintptr_t count = (uintptr_t)map_get(&s->by_finalizer, val_str(f));
            map_put(&s->by_finalizer, val_str(f), (void *)(count + 1));
        }
    }
    return n;
}

static void delete_kind(struct sync *s, const struct resource *res)
{
    if (res->verbs & VERB_DELETECOLLECTION) {
        struct write *w = writes_add(s->w, WRITE_DELETE, res, s->ns->name, STR_NULL);
        w->propagation = "Background";
        w->may_fail = 405;
        return;
    }
    TREE_EACH (snapshot_tree(s->world, res), s->ns->name, it)
        if (!obj_deleting(it.object->val))
            writes_delete(s->w, it.object);
}

/* Counts what is there of a kind and deletes it. */
static void clear_kind(struct sync *s, const struct resource *res)
{
    size_t alive = 0, n = count_kind(s, res, &alive);
    if (n > 0)
        buf_printf(&s->remaining, "%s%s.%s has %zu resource instances", s->remaining.n ? ", " : "", res->name,
                   res->group, n);
    if (alive > 0)
        delete_kind(s, res);
    s->left += n;
}

static bool is_listed(const struct snapshot *world, const struct val *crd)
{
    struct str group = val_str(val_at(crd, N_spec, N_group)), kind = val_str(val_at(crd, N_status, N_acceptedNames, N_kind));
    EACH_CUSTOM (world, slot)
        if (slot->followed && slot->synced && str_is(group, slot->res->group) && str_is(kind, slot->res->kind))
            return true;
    return false;
}

/* Definitions that nobody follows yet may have objects all the same. */
static void note_unlisted(struct sync *s)
{
    TREE_EACH (snapshot_tree(s->world, &resources[RES_CUSTOMRESOURCEDEFINITIONS]), STR(""), it)
        if (customs_version(it.object->val) && !is_listed(s->world, it.object->val))
            buf_printf(&s->unlisted, "%s" STR_FMT, s->n_unlisted++ ? ", " : "", STR_ARG(it.object->name));
}

static void clear_customs(struct sync *s)
{
    EACH_CUSTOM (s->world, slot)
        if (slot->res->namespaced)
            clear_kind(s, slot->res);
    note_unlisted(s);
}

static void clear_content(struct sync *s)
{
    clear_kind(s, &resources[RES_PODS]);
    for (unsigned i = 1; i < n_resources && s->left == 0; i++)
        if (i == RES_EVENTS)
            delete_kind(s, &resources[i]); /* nobody follows these, so nobody counts them */
    bool pods_left = s->left > 0;
    for (unsigned i = 1; i < n_resources && !pods_left; i++)
        if (has_content(&resources[i], i) && i != RES_PODS && i != RES_EVENTS)
            clear_kind(s, &resources[i]);
    if (!pods_left)
        clear_customs(s);
    MAP_EACH (&s->by_finalizer, e)
        buf_printf(&s->finalizers, "%s" STR_FMT " in %zu resource instances", s->finalizers.n ? ", " : "",
                   STR_ARG(e->key), (size_t)(uintptr_t)e->value);
}

/* ---- conditions -------------------------------------------------------------------------------------- */

static bool set_all_conditions(struct sync *s, struct val *list, const char *failure)
{
    struct arena *a = s->w->arena;
    struct str remain =
        arena_printf(a, "Some resources are remaining: " STR_FMT, STR_ARG(buf_str(&s->remaining)));
    struct str waits = arena_printf(a, "Some content in the namespace has finalizers remaining: " STR_FMT,
                                    STR_ARG(buf_str(&s->finalizers)));
    const struct {
        const char *type, *reason;
        struct str message;
        bool bad;
        const char *bad_reason;
        struct str bad_message;
    } c[] = {
        {"NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered",
         STR("All resources successfully discovered"), s->n_unlisted > 0, "DiscoveryFailed",
         arena_printf(a, "Discovery failed for some groups, %zu failing: " STR_FMT, s->n_unlisted, STR_ARG(buf_str(&s->unlisted)))},
        {"NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions",
         STR("All legacy kube types successfully parsed")},
        {"NamespaceDeletionContentFailure", "ContentDeleted",
         STR("All content successfully deleted, may be waiting on finalization"), failure != NULL,
         "ContentDeletionFailed",
         arena_printf(a, "Failed to delete all resource types, 1 remaining: %s", failure ? failure : "")},
        {"NamespaceContentRemaining", "ContentRemoved", STR("All content successfully removed"), s->left > 0,
         "SomeResourcesRemain", remain},
        {"NamespaceFinalizersRemaining", "ContentHasNoFinalizers",
         STR("All content-preserving finalizers finished"), s->finalizers.n > 0, "SomeFinalizersRemain",
         waits},
    };
    bool changed = false;
    for (size_t i = 0; i < ARRAY_SIZE(c); i++)
        changed |= condition_set(a, list, str_of(c[i].type), c[i].bad ? "True" : "False",
                                 c[i].bad ? c[i].bad_reason : c[i].reason,
                                 c[i].bad ? c[i].bad_message : c[i].message, s->now);
    return changed;
}

static void write_status(struct sync *s, const char *failure)
{
    struct arena *a = s->w->arena;
    struct val *status, *v = with_status(a, s->ns, &status);
    const struct val *old = val_get(status, N_conditions);
    struct val *list = old ? val_copy(a, old) : val_new(a, VAL_LIST);
    if (!set_all_conditions(s, list, failure))
        return;
    val_set_ref(a, status, N_conditions, list);
    writes_update_status(s->w, s->ns->res, v)->may_fail = 409; /* it comes round again */
}

/* ---- the end ----------------------------------------------------------------------------------------- */

static void finalize(struct sync *s)
{
    struct arena *a = s->w->arena;
    struct val *v = val_copy_shallow(a, s->ns->val), *left = val_new(a, VAL_LIST);
    struct val *spec = val_set(a, v, N_spec, *val_copy_shallow(a, val_get(v, N_spec)));
    VAL_EACH (val_at(s->ns->val, N_spec, N_finalizers), f)
        if (!str_is(val_str(f), FINALIZER))
            val_add(a, left, *f);
    val_set_ref(a, spec, N_finalizers, left->n ? left : NULL);
    struct write *w = writes_update(s->w, s->ns->res, v);
    w->subresource = "finalize";
    w->may_fail = 404;
}

static bool has_our_finalizer(const struct val *ns)
{
    VAL_EACH (val_at(ns, N_spec, N_finalizers), f)
        if (str_is(val_str(f), FINALIZER))
            return true;
    return false;
}

static void sync_done(struct sync *s)
{
    buf_done(&s->remaining);
    buf_done(&s->finalizers);
    buf_done(&s->unlisted);
    map_done(&s->by_finalizer);
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *ns = snapshot_get(world, &resources[RES_NAMESPACES], STR_NULL, key.name);
    if (!ns || !obj_deleting(ns->val) || !has_our_finalizer(ns->val))
        return 0;
    struct sync s = {.world = world, .ns = ns, .w = w, .now = now};
    clear_content(&s);
    if (s.left + s.n_unlisted > 0) {
        write_status(&s, NULL);
        writes_again(w, SECONDS(s.left ? 5 : 1)); /* should a change go unseen */
    } else {
        finalize(&s);
    }
    sync_done(&s);
    return 0;
}

static void refused(const struct snapshot *world, struct key key, const struct write *w,
                    const struct status *why, struct wall now, struct writes *ret)
{
    const struct object *ns = snapshot_get(world, &resources[RES_NAMESPACES], STR_NULL, key.name);
    if (!ns || w->verb != WRITE_DELETE)
        return;
    struct writes ignored = {.arena = ret->arena, .config = ret->config};
    struct sync s = {.world = world, .ns = ns, .w = &ignored, .now = now};
    list_init(&ignored.list);
    clear_content(&s);
    s.w = ret;
    write_status(&s, arena_cstr(ret->arena, why->message));
    sync_done(&s);
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    const struct object *o = new_ ? new_ : old;
    struct str name = res == &resources[RES_NAMESPACES] ? o->name : o->namespace_;
    const struct object *ns = snapshot_get(world, &resources[RES_NAMESPACES], STR_NULL, name);
    if (ns && obj_deleting(ns->val))
        sink(arg, (struct key){STR_NULL, name});
}

const struct controller namespace_controller = {
    .name = "namespace-controller",
    .alias = "namespace",
    .workers = 5,
    .keys_of = keys_of,
    .reconcile = reconcile,
    .refused = refused,
};
