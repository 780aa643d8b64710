/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/gc_graph.h"

#include "type/meta.h"

static struct gc_node *node_of(struct gc_graph *g, struct str uid)
{
    struct gc_node *n = map_get(&g->nodes, uid);
    if (n)
        return n;
    n = NEW(struct gc_node);
    n->uid = str_dup(uid);
    map_put(&g->nodes, uid, n);
    return n;
}

struct gc_node *gc_graph_get(const struct gc_graph *g, struct str uid)
{
    return map_get(&g->nodes, uid);
}

static void node_free(struct gc_node *n)
{
    for (size_t i = 0; i < n->n_owners; i++)
        free(n->owners[i]);
    free(n->owners);
    free(n->dependents);
    free(n->uid);
    free(n->ns);
    free(n->name);
    free(n);
}

void gc_graph_done(struct gc_graph *g)
{
    MAP_EACH (&g->nodes, e)
        node_free(e->value);
    map_done(&g->nodes);
}

/* An object that neither owns nor is owned is not worth remembering, and neither is one never seen that
 * nobody names. */
static void drop_if_idle(struct gc_graph *g, struct gc_node *n)
{
    if (n->n_dependents > 0 || (n->res && n->n_owners > 0))
        return;
    map_del(&g->nodes, str_of(n->uid));
    node_free(n);
}

/* ---- edges ------------------------------------------------------------------------------------------- */

static void link_dependent(struct gc_edge *e)
{
    struct gc_node *o = e->owner;
    if (o->n_dependents == o->cap_dependents) {
        o->cap_dependents = MAX(o->cap_dependents * 2, (size_t)4);
        o->dependents = xrealloc(o->dependents, o->cap_dependents * sizeof(*o->dependents));
    }
    o->dependents[o->n_dependents++] = e;
}

static void unlink_dependent(struct gc_edge *e)
{
    struct gc_node *o = e->owner;
    for (size_t i = 0; i < o->n_dependents; i++)
        if (o->dependents[i] == e) {
            o->dependents[i] = o->dependents[--o->n_dependents];
            return;
        }
}

static void set_owners(struct gc_graph *g, struct gc_node *n, const struct val *refs)
{
    n->owners = xrealloc(n->owners, (val_len(refs) + 1) * sizeof(*n->owners));
    n->n_owners = 0;
    VAL_EACH (refs, ref) {
        struct gc_edge *e = NEW(struct gc_edge);
        e->dependent = n;
        e->owner = node_of(g, val_getstr(ref, N_uid));
        e->blocks = val_bool(val_get(ref, N_blockOwnerDeletion), false);
        link_dependent(e);
        n->owners[n->n_owners++] = e;
    }
}

/* Owners that nothing else refers to are forgotten, so they are touched before. */
static void clear_owners(struct gc_graph *g, struct gc_node *n)
{
    for (size_t i = 0; i < n->n_owners; i++) {
        struct gc_node *owner = n->owners[i]->owner;
        unlink_dependent(n->owners[i]);
        free(n->owners[i]);
        if (owner != n)
            drop_if_idle(g, owner);
    }
    n->n_owners = 0;
}

/* ---- changes ----------------------------------------------------------------------------------------- */

struct telling_touched {
    gc_touched *fn;
    void *arg;
};

static void touch(const struct telling_touched *t, const struct gc_node *n)
{
    if (n->res)
        t->fn(t->arg, n);
}

static void touch_dependents(const struct telling_touched *t, const struct gc_node *n)
{
    for (size_t i = 0; i < n->n_dependents; i++)
        touch(t, n->dependents[i]->dependent);
}

/* Owners that wait for their dependents want to know that one has gone, or no longer holds them up. */
static void touch_waiting_owners(const struct telling_touched *t, const struct gc_node *n)
{
    for (size_t i = 0; i < n->n_owners; i++)
        if (n->owners[i]->owner->foreground)
            touch(t, n->owners[i]->owner);
}

static void copy_facts(struct gc_node *n, const struct resource *res, const struct object *o)
{
    if (!n->res) {
        n->ns = str_dup(o->namespace_);
        n->name = str_dup(o->name);
        n->res = res;
    }
    n->deleting = obj_deleting(o->val);
    n->foreground = n->deleting && obj_has_finalizer(o->val, STR(FINALIZER_FOREGROUND));
    n->orphan = n->deleting && obj_has_finalizer(o->val, STR(FINALIZER_ORPHAN));
}

static const struct val *refs_of(const struct object *o)
{
    return o ? val_get(o->meta, N_ownerReferences) : NULL;
}

static void appear(struct gc_graph *g, const struct resource *res, const struct object *old, const struct object *o,
                   const struct telling_touched *t)
{
    struct gc_node *n = gc_graph_get(g, o->uid);
    bool waits = obj_deleting(o->val);
    if (!n && val_len(refs_of(o)) == 0 && !waits)
        return; /* owns nothing that we know of and is owned by nobody */
    n = node_of(g, o->uid);
    struct gc_node before = *n;
    copy_facts(n, res, o);
    if (!before.res || !val_equal(refs_of(old), refs_of(o))) {
        touch_waiting_owners(t, n);
        clear_owners(g, n);
        set_owners(g, n, refs_of(o));
        touch(t, n);
    }
    if (n->foreground && !before.foreground)
        touch_dependents(t, n);
    if ((n->foreground && !before.foreground) || (n->orphan && !before.orphan))
        touch(t, n);
    if (n->foreground != before.foreground)
        touch_waiting_owners(t, n);
    if (!n->foreground && !n->orphan)
        drop_if_idle(g, n);
}

static void vanish(struct gc_graph *g, const struct object *o, const struct telling_touched *t)
{
    struct gc_node *n = gc_graph_get(g, o->uid);
    if (!n)
        return;
    touch_waiting_owners(t, n);
    n->res = NULL;
    n->deleting = n->foreground = n->orphan = false;
    free(n->ns);
    free(n->name);
    n->ns = n->name = NULL;
    clear_owners(g, n);
    touch_dependents(t, n);
    drop_if_idle(g, n);
}

void gc_graph_change(struct gc_graph *g, const struct resource *res, const struct object *old, const struct object *new_,
                     gc_touched *touched, void *arg)
{
    struct telling_touched t = {touched, arg};
    if (new_)
        appear(g, res, old, new_, &t);
    else
        vanish(g, old, &t);
}
