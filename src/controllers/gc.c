/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The garbage collector: what is owned goes when its last owner has gone (background), keeps its owner
 * waiting until it has gone (foreground), or is let go of by it (orphan). The graph says whom to look at;
 * what is decided rests on the objects themselves, and that an owner is absent is asked of the server before
 * anything is deleted.
 */
#include "controllers/gc.h"

#include <stdio.h>

#include "controllers/customs.h"
#include "controllers/gc_graph.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"
#include "types.h"
#include "wire/json.h"

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

/* The object of a key, and its resource: of a custom one the object's own may be the server's. */
static const struct object *object_of(const struct snapshot *world, struct key key, const struct resource **ret_res)
{
    struct str index, ns;
    uint64_t i;
    if (!str_cut(key.ns, '|', &index, &ns) || str_to_u64(index, &i) < 0)
        return NULL;
    *ret_res = i < n_resources ? &resources[i] : customs_at(world, i);
    return *ret_res ? snapshot_get(world, *ret_res, ns, key.name) : NULL;
}

static void changed(void *state, const struct resource *res, const struct object *old, const struct object *new_,
                    key_sink *sink, void *arg)
{
    struct sinking s = {sink, arg};
    gc_graph_change(state, res, old, new_, sink_node, &s);
}

/* ---- references -------------------------------------------------------------------------------------- */

enum owner_state {
    OWNER_SOLID,
    OWNER_WAITING,
    OWNER_ABSENT,
    OWNER_UNKNOWN,    /* of a kind that we do not know (yet) */
    OWNER_IMPOSSIBLE, /* a reference that cannot hold */
};

struct sync {
    const struct snapshot *world;
    const struct resource *res;
    const struct object *item;
    const struct gc_node *node; /* NULL: it has no edges */
    struct writes *w;
};

static const struct resource *kind_of(const struct snapshot *world, const struct val *ref)
{
    struct str version = val_getstr(ref, N_apiVersion), kind = val_getstr(ref, N_kind), group, rest;
    if (str_cut(version, '/', &group, &rest))
        version = rest;
    else
        group = STR_NULL;
    const struct resource *res = resource_find_kind(group, version, kind);
    return res ? res : customs_find(world, group, kind);
}

static const struct resource *stored_form(const struct resource *r)
{
    return r->storage && r->storage < n_resources ? &resources[r->storage] : r;
}

static enum owner_state owner_state(const struct sync *s, const struct val *ref,
                                    const struct resource **ret_res)
{
    const struct resource *res = kind_of(s->world, ref);
    if (!res)
        return OWNER_UNKNOWN;
    if (res->namespaced && !s->res->namespaced)
        return OWNER_IMPOSSIBLE;
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

/* What becomes of the references to some owners: they go, or no longer hold them up. */
struct change {
    struct str *uids;
    size_t n;
    bool unblock;
};

static struct change change_new(struct sync *s, size_t most, bool unblock)
{
    return (struct change){.uids = ARENA_ARRAY(s->w->arena, struct str, most), .unblock = unblock};
}

static bool changes(const struct change *c, const struct val *ref)
{
    for (size_t i = 0; i < c->n; i++)
        if (str_eq(c->uids[i], val_getstr(ref, N_uid)))
            return true;
    return false;
}

static struct str strategic(struct arena *a, const struct change *c, struct str uid)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (size_t i = 0; i < c->n; i++)
        buf_printf(&b, "%s{%s,\"uid\":\"" STR_FMT "\"}", i ? "," : "",
                   c->unblock ? "\"blockOwnerDeletion\":false" : "\"$patch\":\"delete\"", STR_ARG(c->uids[i]));
    return arena_printf(a, "{\"metadata\":{\"ownerReferences\":[" STR_FMT "],\"uid\":\"" STR_FMT "\"}}",
                        STR_ARG(buf_str(&b)), STR_ARG(uid));
}

/* A merge patch gives the list whole, so it holds for the revision that that was made from. */
static struct str merge(struct arena *a, const struct object *o, const struct val *refs)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_puts(&b, "{\"metadata\":{\"ownerReferences\":[");
    for (size_t i = 0; i < val_len(refs); i++) {
        buf_puts(&b, i ? "," : "");
        json_encode(&b, &types[T_meta_v1_OwnerReference], val_item(refs, i), 0);
    }
    buf_printf(&b, "],\"resourceVersion\":\"" STR_FMT "\",\"uid\":\"" STR_FMT "\"}}",
               STR_ARG(val_getstr(o->meta, N_resourceVersion)), STR_ARG(o->uid));
    return arena_str(a, buf_str(&b));
}

static struct val *changed_refs(struct arena *a, const struct object *o, const struct change *c)
{
    struct val *refs = val_new(a, VAL_LIST);
    VAL_EACH (val_get(o->meta, N_ownerReferences), ref) {
        if (!changes(c, ref))
            val_add(a, refs, *ref);
        else if (c->unblock)
            val_set_bool(a, val_add(a, refs, *val_copy(a, ref)), N_blockOwnerDeletion, false);
    }
    return refs;
}

static struct write *patch(struct sync *s, const struct resource *res, struct str ns, struct str name, struct str text)
{
    struct write *x = writes_add(s->w, WRITE_PATCH, res, ns, name);
    x->may_fail = 404;
    x->patch = text;
    return x;
}

/* Custom kinds have no strategic patches. */
static void patch_refs(struct sync *s, const struct resource *res, const struct object *o, const struct change *c)
{
    struct arena *a = s->w->arena;
    if (!is_custom(res))
        patch(s, res, o->namespace_, o->name, strategic(a, c, o->uid))->strategic = true;
    else
        patch(s, res, o->namespace_, o->name, merge(a, o, changed_refs(a, o, c)));
}

static void unblock_owners(struct sync *s)
{
    const struct val *refs = val_get(s->item->meta, N_ownerReferences);
    struct change c = change_new(s, val_len(refs), true);
    VAL_EACH (refs, ref)
        if (val_bool(val_get(ref, N_blockOwnerDeletion), false))
            c.uids[c.n++] = val_getstr(ref, N_uid);
    if (c.n)
        patch_refs(s, s->res, s->item, &c);
}

/* An update, which goes after the patches of dependents and not with them. */
static void remove_finalizer(struct sync *s, const char *finalizer)
{
    struct arena *a = s->w->arena;
    struct val *meta, *v = with_meta(a, s->item, &meta), *left = val_new(a, VAL_LIST);
    VAL_EACH (val_get(s->item->meta, N_finalizers), f)
        if (!str_is(val_str(f), finalizer))
            val_add(a, left, *f);
    val_set_ref(a, meta, N_finalizers, left->n ? left : NULL);
    if (is_custom(s->res)) /* stored, it may be of another version than the one that we talk in */
        val_set_str(a, v, N_apiVersion, api_version(a, s->res));
    writes_update(s->w, s->res, v)->may_fail = 404;
}

/* ---- decisions --------------------------------------------------------------------------------------- */

static void let_go_of_dependents(struct sync *s)
{
    struct str uid = s->item->uid;
    for (size_t i = 0; s->node && i < s->node->n_dependents; i++) {
        const struct gc_node *d = s->node->dependents[i]->dependent;
        const struct object *o = d->res ? snapshot_get(s->world, d->res, str_of(d->ns), str_of(d->name)) : NULL;
        if (o && str_is(o->uid, d->uid))
            patch_refs(s, d->res, o, &(struct change){.uids = &uid, .n = 1});
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

static struct write *delete_this(struct sync *s)
{
    struct write *x = writes_delete(s->w, s->item);
    x->res = s->res;
    return x;
}

static void delete_item(struct sync *s, const char *propagation)
{
    struct write *x = delete_this(s);
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
    delete_this(s)->propagation = "Foreground";
}

/* -EAGAIN when the kind of an owner may come up yet. */
static int judge_owned(struct sync *s)
{
    size_t n[OWNER_IMPOSSIBLE + 1] = {0};
    const struct val *refs = val_get(s->item->meta, N_ownerReferences);
    struct change gone = change_new(s, val_len(refs), false);
    if (!val_len(refs))
        return 0;
    VAL_EACH (refs, ref) {
        const struct resource *res = NULL;
        enum owner_state state = owner_state(s, ref, &res);
        n[state]++;
        if (state == OWNER_ABSENT)
            check_absent(s, ref, res);
        if (state == OWNER_ABSENT || state == OWNER_WAITING)
            gone.uids[gone.n++] = val_getstr(ref, N_uid);
    }
    if (n[OWNER_UNKNOWN] + n[OWNER_IMPOSSIBLE] > 0)
        list_init(&s->w->list); /* better to leave it than to be wrong */
    else if (n[OWNER_SOLID] > 0 && gone.n > 0)
        patch_refs(s, s->res, s->item, &gone);
    else if (n[OWNER_SOLID] > 0)
        return 0;
    else if (n[OWNER_WAITING] > 0 && s->node && s->node->n_dependents > 0)
        delete_in_foreground(s);
    else
        delete_item(s, own_propagation(s->item));
    return n[OWNER_UNKNOWN] > 0 ? -EAGAIN : 0;
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct resource *res = NULL;
    const struct object *item = object_of(world, key, &res);
    if (!item)
        return 0;
    struct sync s = {.world = world, .res = res, .item = item, .w = w, .node = gc_graph_get(w->state, item->uid)};
    if (!obj_deleting(item->val))
        return judge_owned(&s);
    if (obj_has_finalizer(item->val, STR(FINALIZER_ORPHAN)))
        let_go_of_dependents(&s);
    else if (obj_has_finalizer(item->val, STR(FINALIZER_FOREGROUND)))
        is_held_up(&s) ? (void)0 : remove_finalizer(&s, FINALIZER_FOREGROUND);
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
