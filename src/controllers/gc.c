/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The garbage collector: what is owned goes when its last owner has gone (background), keeps its owner
 * waiting until it has gone (foreground), or is let go of by it (orphan). The graph says whom to look at;
 * what is decided rests on the objects themselves, and that an owner is absent is asked of the server before
 * anything is deleted.
 */
#include "controllers/gc.h"

#include <stdio.h>

#include "controllers/gc_graph.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

/* ---- keys: which kind, and where --------------------------------------------------------------------- */

struct sinking {
    key_sink *sink;
    void *arg;
};

static void sink_node(void *arg, const struct gc_node *n)
{
    struct sinking *s = arg;
    char ns[320];
    int len = snprintf(ns, sizeof(ns), "%u|%s", n->res->index, n->ns);
    s->sink(s->arg, (struct key){str_n(ns, MIN((size_t)len, sizeof(ns) - 1)), str_of(n->name)});
}

static const struct object *object_of(const struct snapshot *world, struct key key)
{
    struct str index, ns;
    uint64_t i;
    if (!str_cut(key.ns, '|', &index, &ns) || str_to_u64(index, &i) < 0 || i >= n_resources)
        return NULL;
    return snapshot_get(world, &resources[i], ns, key.name);
}

static void changed(void *state, const struct object *old, const struct object *new_, key_sink *sink,
                    void *arg)
{
    struct sinking s = {sink, arg};
    gc_graph_change(state, old, new_, sink_node, &s);
}

/* ---- references -------------------------------------------------------------------------------------- */

enum owner_state { OWNER_SOLID, OWNER_WAITING, OWNER_ABSENT, OWNER_UNKNOWN };

struct sync {
    const struct snapshot *world;
    const struct gc_graph *graph;
    const struct object *item;
    const struct gc_node *node; /* NULL: it has no edges */
    struct writes *w;
};

static const struct resource *kind_of(const struct val *ref)
{
    struct str version = val_getstr(ref, N_apiVersion), group, rest;
    if (str_cut(version, '/', &group, &rest))
        version = rest;
    else
        group = STR_NULL;
    return resource_find_kind(group, version, val_getstr(ref, N_kind));
}

static const struct resource *stored_form(const struct resource *r)
{
    return r->storage && r->storage < n_resources ? &resources[r->storage] : r;
}

static enum owner_state owner_state(const struct sync *s, const struct val *ref,
                                    const struct resource **ret_res)
{
    const struct resource *res = kind_of(ref);
    if (!res || (res->namespaced && !s->item->res->namespaced))
        return OWNER_UNKNOWN; /* a kind that we do not know, or a reference that cannot hold */
    *ret_res = res;
    struct str ns = res->namespaced ? s->item->namespace_ : STR_NULL;
    const struct object *o = snapshot_get(s->world, stored_form(res), ns, val_getstr(ref, N_name));
    if (!o || !str_eq(o->uid, val_getstr(ref, N_uid)))
        return OWNER_ABSENT;
    bool waits = obj_deleting(o->val) && obj_has_finalizer(o->val, STR(FINALIZER_FOREGROUND));
    return waits ? OWNER_WAITING : OWNER_SOLID;
}

static void check_absent(struct sync *s, const struct val *ref, const struct resource *res)
{
    struct str ns = res->namespaced ? s->item->namespace_ : STR_NULL;
    writes_add(s->w, WRITE_CHECK_ABSENT, res, ns, val_getstr(ref, N_name))->uid = val_getstr(ref, N_uid);
}

/* ---- patches ----------------------------------------------------------------------------------------- */

static void patch_object(struct sync *s, const struct resource *res, struct str ns, struct str name,
                         struct str uid, struct str refs)
{
    struct write *x = writes_add(s->w, WRITE_PATCH, res, ns, name);
    x->strategic = true;
    x->may_fail = 404;
    x->patch = arena_printf(s->w->arena,
                            "{\"metadata\":{\"ownerReferences\":[" STR_FMT "],\"uid\":\"" STR_FMT "\"}}",
                            STR_ARG(refs), STR_ARG(uid));
}

static void append_ref(struct buf *b, struct str uid, const char *change)
{
    buf_printf(b, "%s{%s,\"uid\":\"" STR_FMT "\"}", b->n ? "," : "", change, STR_ARG(uid));
}

static void remove_refs(struct sync *s, const struct buf *refs)
{
    patch_object(s, s->item->res, s->item->namespace_, s->item->name, s->item->uid, buf_str(refs));
}

static void unblock_owners(struct sync *s)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    VAL_EACH (val_get(s->item->meta, N_ownerReferences), ref)
        if (val_bool(val_get(ref, N_blockOwnerDeletion), false))
            append_ref(&b, val_getstr(ref, N_uid), "\"blockOwnerDeletion\":false");
    if (b.n)
        remove_refs(s, &b);
}

static void remove_finalizer(struct sync *s, const char *finalizer)
{
    struct arena *a = s->w->arena;
    struct val *meta, *v = with_meta(a, s->item, &meta), *left = val_new(a, VAL_LIST);
    VAL_EACH (val_get(s->item->meta, N_finalizers), f)
        if (!str_is(val_str(f), finalizer))
            val_add(a, left, *f);
    val_set_ref(a, meta, N_finalizers, left->n ? left : NULL);
    writes_update(s->w, s->item->res, v)->may_fail = 404;
}

/* ---- decisions --------------------------------------------------------------------------------------- */

static void let_go_of_dependents(struct sync *s)
{
    for (size_t i = 0; s->node && i < s->node->n_dependents; i++) {
        const struct gc_node *d = s->node->dependents[i]->dependent;
        struct buf b CLEANUP_BUF = BUF_INIT;
        if (!d->res)
            continue;
        append_ref(&b, s->item->uid, "\"$patch\":\"delete\"");
        patch_object(s, d->res, str_of(d->ns), str_of(d->name), str_of(d->uid), buf_str(&b));
    }
    remove_finalizer(s, FINALIZER_ORPHAN);
}

static bool is_held_up(const struct sync *s)
{
    for (size_t i = 0; s->node && i < s->node->n_dependents; i++)
        if (s->node->dependents[i]->blocks && s->node->dependents[i]->dependent->res)
            return true;
    return false;
}

static void delete_item(struct sync *s, const char *propagation)
{
    struct write *x = writes_delete(s->w, s->item);
    x->revision = val_getstr(s->item->meta, N_resourceVersion);
    x->propagation = propagation;
}

static const char *own_propagation(const struct object *o)
{
    return obj_has_finalizer(o->val, STR(FINALIZER_ORPHAN))       ? "Orphan"
           : obj_has_finalizer(o->val, STR(FINALIZER_FOREGROUND)) ? "Foreground"
                                                                  : "Background";
}

/* Its owner waits for it, and it has dependents of its own: they go first. A circle of such is broken up
 * here. */
static void delete_in_foreground(struct sync *s)
{
    for (size_t i = 0; i < s->node->n_dependents; i++)
        if (s->node->dependents[i]->dependent->foreground) {
            unblock_owners(s);
            break;
        }
    struct write *x = writes_delete(s->w, s->item);
    x->propagation = "Foreground";
}

static void judge_owned(struct sync *s)
{
    size_t n[4] = {0};
    struct buf gone CLEANUP_BUF = BUF_INIT;
    VAL_EACH (val_get(s->item->meta, N_ownerReferences), ref) {
        const struct resource *res = NULL;
        enum owner_state state = owner_state(s, ref, &res);
        n[state]++;
        if (state == OWNER_ABSENT)
            check_absent(s, ref, res);
        if (state == OWNER_ABSENT || state == OWNER_WAITING)
            append_ref(&gone, val_getstr(ref, N_uid), "\"$patch\":\"delete\"");
    }
    if (n[OWNER_UNKNOWN] > 0)
        list_init(&s->w->list); /* better to leave it than to be wrong */
    else if (n[OWNER_SOLID] > 0 && gone.n > 0)
        remove_refs(s, &gone);
    else if (n[OWNER_SOLID] > 0)
        return;
    else if (n[OWNER_WAITING] > 0 && s->node && s->node->n_dependents > 0)
        delete_in_foreground(s);
    else
        delete_item(s, own_propagation(s->item));
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *item = object_of(world, key);
    if (!item)
        return 0;
    struct sync s = {
        .world = world, .graph = w->state, .item = item, .w = w, .node = gc_graph_get(w->state, item->uid)};
    bool deleting = obj_deleting(item->val);
    if (deleting && obj_has_finalizer(item->val, STR(FINALIZER_ORPHAN)))
        let_go_of_dependents(&s);
    else if (deleting && obj_has_finalizer(item->val, STR(FINALIZER_FOREGROUND)))
        is_held_up(&s) ? (void)0 : remove_finalizer(&s, FINALIZER_FOREGROUND);
    else if (!deleting && val_len(val_get(item->meta, N_ownerReferences)) > 0)
        judge_owned(&s);
    return 0;
}

static void *state_new(const struct controllers_config *config)
{
    return NEW(struct gc_graph);
}

static void state_free(void *state)
{
    gc_graph_done(state);
    free(state);
}

const struct controller garbage_collector_controller = {
    .name = "garbage-collector-controller",
    .account = "generic-garbage-collector",
    .alias = "garbagecollector",
    .source = "garbage-collector-controller",
    .workers = 20,
    .changed = changed,
    .reconcile = reconcile,
    .state_new = state_new,
    .state_free = state_free,
};
