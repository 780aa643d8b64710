/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A local copy of some kinds, kept up to date by list and watch: what controllers, scheduler, kubelet, proxy
 * and DNS read. Snapshots are free (persistent trees). In the all-in-one process the objects are the watch
 * cache's own.
 */
#pragma once

#include "client/client.h"
#include "type/tree.h"

struct replica;

/* One kind to follow, possibly narrowed by selectors. */
struct replica_kind {
    const struct resource *res;
    struct str label_selector, field_selector; /* empty for all */
    struct str ns;                             /* empty for all */
};

/* Called in the loop when an object appears (old NULL), changes, or goes (new NULL). Must not wait and must
 * not call back into the replica except for reading: put a key somewhere and return. */
typedef void replica_changed(void *arg, const struct resource *res, const struct object *old,
                             const struct object *new_);

struct replica *replica_new(struct client *c, const struct replica_kind *kinds, size_t n);
void replica_on_change(struct replica *r, replica_changed *fn,
                       void *arg);     /* before replica_start; several may be set */
/* Called when a kind was listed for the first time; under the same rules. Before replica_start. */
typedef void replica_listed(void *arg, const struct resource *res);
void replica_on_listed(struct replica *r, replica_listed *fn, void *arg);
void replica_start(struct replica *r); /* spawns its fibers; relists by itself after any trouble */
int replica_wait_synced(struct replica *r, struct mono deadline); /* every kind listed once */
bool replica_synced(const struct replica *r);
/* Kinds that come and go after the start: from a fiber, not from replica_changed. Nobody waits for them to be synced. */
void replica_follow(struct replica *r, const struct resource *res);
/* No longer: its objects are told to be gone; it stays among the kinds, with none, until it is forgotten. */
void replica_unfollow(struct replica *r, const struct resource *res);
void replica_forget(struct replica *r, const struct resource *res); /* res is not needed any more */
void replica_free(struct replica *r); /* stops its fibers; waits */

const struct tree *replica_tree(const struct replica *r,
                                const struct resource *res); /* borrowed; NULL is empty */
const struct object *replica_get(const struct replica *r, const struct resource *res, struct str ns,
                                 struct str name);
bool replica_follows(const struct replica *r, const struct resource *res);
int64_t replica_revision(const struct replica *r, const struct resource *res); /* seen so far */
/* Waits until the replica has seen that revision of the kind (read your own writes). */
int replica_wait_revision(struct replica *r, const struct resource *res, int64_t revision,
                          struct mono deadline);
int replica_wait_moved(struct replica *r, struct mono deadline); /* until any kind has seen something more */

/* A second order of a kind: its objects by a text of theirs, e.g. pods by node. Before replica_start. An
 * index is a tree with keys "<text>/<ns>/<name>", so TREE_EACH(tree, text, it) walks the objects with that
 * text. */
typedef struct str index_fn(const struct object *o); /* empty: the object is not in the index */
void replica_add_index(struct replica *r, const struct resource *res, index_fn *fn); /* twice is fine */
const struct tree *replica_index(const struct replica *r, const struct resource *res, index_fn *fn);
struct str index_pod_node(const struct object *o); /* spec.nodeName */
/* uid of the owner reference with controller: true; INDEX_NO_CONTROLLER when there is none. */
struct str index_controller_uid(const struct object *o);
#define INDEX_NO_CONTROLLER "-"

/* Trees of several kinds as they stood at one moment between two events; references held until released. */
struct snapshot {
    struct snapshot_slot {
        const struct resource *res;
        index_fn *index; /* NULL: the objects themselves */
        struct tree *tree;
        bool synced;   /* listed once; always true of what the start waits for */
        bool followed; /* false: see replica_unfollow */
    } * slots;
    size_t n, cap;
};
/* Only these kinds (RES_xxx, ends with 0; NULL: all) and their indexes. */
void snapshot_take_kinds(const struct replica *r, const uint16_t *kinds, struct snapshot *ret);
void snapshot_release(struct snapshot *s);
/* The same without references, for a look between two waits. s starts zeroed and may be refreshed as often as
 * one likes for the same kinds; snapshot_return frees what it needed. */
void snapshot_borrow(const struct replica *r, const uint16_t *kinds, struct snapshot *s);
void snapshot_return(struct snapshot *s);
const struct tree *snapshot_tree(const struct snapshot *s, const struct resource *res);
const struct tree *snapshot_index(const struct snapshot *s, const struct resource *res, index_fn *fn);
const struct object *snapshot_get(const struct snapshot *s, const struct resource *res, struct str ns,
                                  struct str name);
