/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/own.h"

#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"
#include "wire/json.h"

int owner_selector(struct arena *a, const struct object *owner, struct selector *ret)
{
    const struct val *s = val_at(owner->val, N_spec, N_selector);
    if (owner->res == &resources[RES_REPLICATIONCONTROLLERS]) {
        selector_from_map(a, s, ret);
        return 0;
    }
    return selector_from_val(a, s, ret, NULL);
}

/* ---- adoption and release ---------------------------------------------------------------------------- */

/* Whose children these are and which. */
struct claim {
    const struct object *owner;
    const struct selector *selector;
    is_member_fn *is_member; /* NULL: the selector alone decides */
    const char *finalizer;   /* that comes with the reference and goes with it; NULL: none */
    bool active_only;
};

static struct write *metadata_patch(const struct claim *c, const struct object *child, struct str owner_refs,
                                    const char *finalizers, struct writes *w)
{
    struct arena *a = w->arena;
    struct write *x = writes_add(w, WRITE_PATCH, child->res, child->namespace_, child->name);
    struct str more = c->finalizer ? arena_printf(a, ",\"%s\":[\"%s\"]", finalizers, c->finalizer) : STR("");
    x->strategic = true;
    x->patch = arena_printf(
        a, "{\"metadata\":{\"ownerReferences\":[" STR_FMT "],\"uid\":\"" STR_FMT "\"" STR_FMT "}}",
        STR_ARG(owner_refs), STR_ARG(child->uid), STR_ARG(more));
    return x;
}

static void adopt(const struct claim *c, const struct object *child, struct writes *w)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    const struct object *owner = c->owner;
    struct val ref =
        obj_owner_ref(w->arena, api_version(w->arena, owner->res).p, owner->res->kind, owner->val);
    json_encode(&b, NULL, &ref, 0);
    metadata_patch(c, child, arena_str(w->arena, buf_str(&b)), "finalizers", w);
}

static void release(const struct claim *c, const struct object *child, struct writes *w)
{
    struct str ref =
        arena_printf(w->arena, "{\"$patch\":\"delete\",\"uid\":\"" STR_FMT "\"}", STR_ARG(c->owner->uid));
    metadata_patch(c, child, ref, "$deleteFromPrimitiveList/finalizers", w)->may_fail = 404;
}

/* Whether the owner has it from now on. */
static bool claim(const struct claim *c, const struct object *child, struct writes *w)
{
    const struct val *ref = obj_controller(child->val);
    bool matches = selector_matches(c->selector, obj_labels(child->val)) &&
                   (!c->is_member || c->is_member(c->owner, child));
    if (ref) {
        if (!str_eq(val_getstr(ref, N_uid), c->owner->uid))
            return false;
        if (!matches && !obj_deleting(c->owner->val))
            release(c, child, w);
        return matches;
    }
    if (!matches || obj_deleting(c->owner->val) || obj_deleting(child->val))
        return false;
    adopt(c, child, w);
    return true;
}

static void claim_from(const struct claim *c, const struct tree *index, struct str prefix, struct writes *w,
                       struct objects *ret)
{
    TREE_EACH (index, prefix, it) {
        if (c->active_only && !pod_active(it.object->val))
            continue;
        if (claim(c, it.object, w))
            objects_add(w->arena, ret, it.object);
    }
}

static void claim_all(const struct claim *c, const struct snapshot *world, const struct resource *child_res,
                      struct writes *w, struct objects *ret)
{
    const struct object *owner = c->owner;
    const struct tree *index = snapshot_index(world, child_res, index_controller_uid);
    struct str own =
        arena_printf(w->arena, STR_FMT "/" STR_FMT, STR_ARG(owner->uid), STR_ARG(owner->namespace_));
    struct str orphans = arena_printf(w->arena, INDEX_NO_CONTROLLER "/" STR_FMT, STR_ARG(owner->namespace_));
    claim_from(c, index, own, w, ret);
    claim_from(c, index, orphans, w, ret);
}

void claim_children(const struct snapshot *world, const struct resource *child_res,
                    const struct object *owner, const struct selector *selector, bool active_only,
                    struct writes *w, struct objects *ret)
{
    const struct claim c = {.owner = owner, .selector = selector, .active_only = active_only};
    claim_all(&c, world, child_res, w, ret);
}

void claim_members(const struct snapshot *world, const struct resource *child_res, const struct object *owner,
                   const struct selector *selector, is_member_fn *is_member, struct writes *w,
                   struct objects *ret)
{
    const struct claim c = {.owner = owner, .selector = selector, .is_member = is_member};
    claim_all(&c, world, child_res, w, ret);
}

void claim_tracked_pods(const struct snapshot *world, const struct object *owner,
                        const struct selector *selector, const char *finalizer, struct writes *w,
                        struct objects *ret)
{
    const struct claim c = {.owner = owner, .selector = selector, .finalizer = finalizer};
    claim_all(&c, world, &resources[RES_PODS], w, ret);
}

void owned_children(const struct snapshot *world, const struct resource *child_res, struct arena *a,
                    struct str ns, struct str uid, struct objects *ret)
{
    const struct tree *index = snapshot_index(world, child_res, index_controller_uid);
    struct str own = arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(uid), STR_ARG(ns));
    TREE_EACH (index, own, it)
        objects_add(a, ret, it.object);
}

/* ---- keys -------------------------------------------------------------------------------------------- */

const struct object *controlling_owner(const struct snapshot *world, const struct resource *owner_res,
                                       const struct object *o)
{
    char buf[256];
    const struct val *ref = o ? obj_controller(o->val) : NULL;
    if (!ref || !str_is(val_getstr(ref, N_kind), owner_res->kind))
        return NULL;
    struct str version = val_getstr(ref, N_apiVersion), group, rest;
    if (!str_cut(version, '/', &group, &rest))
        group = STR_NULL;
    if (!str_is(group, owner_res->group) &&
        !str_is(version, resource_api_version(owner_res, buf, sizeof(buf))))
        return NULL;
    const struct object *owner = snapshot_get(world, owner_res, o->namespace_, val_getstr(ref, N_name));
    return owner && str_eq(owner->uid, val_getstr(ref, N_uid)) ? owner : NULL;
}

static void key_of_owner(const struct snapshot *world, const struct resource *owner_res,
                         const struct object *o, key_sink *sink, void *arg)
{
    const struct object *owner = controlling_owner(world, owner_res, o);
    if (owner)
        sink(arg, (struct key){owner->namespace_, owner->name});
}

static void keys_of_takers(const struct snapshot *world, const struct resource *owner_res,
                           const struct object *orphan, key_sink *sink, void *arg)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    TREE_EACH (snapshot_tree(world, owner_res), orphan->namespace_, it) {
        struct selector s;
        if (owner_selector(&a, it.object, &s) == 0 && !s.nothing && s.n > 0 &&
            selector_matches(&s, obj_labels(orphan->val)))
            sink(arg, (struct key){it.object->namespace_, it.object->name});
    }
}

void keys_of_owners(const struct snapshot *world, const struct resource *owner_res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    key_of_owner(world, owner_res, old, sink, arg);
    key_of_owner(world, owner_res, new_, sink, arg);
    if (!new_ || obj_controller(new_->val) || obj_deleting(new_->val))
        return;
    bool relabelled =
        !old || !val_equal(obj_labels(old->val), obj_labels(new_->val)) || obj_controller(old->val);
    if (relabelled)
        keys_of_takers(world, owner_res, new_, sink, arg);
}
