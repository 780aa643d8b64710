/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A local copy of some kinds, kept up to date by list and watch: what controllers, scheduler, kubelet, proxy and DNS
 * read. Snapshots are free (persistent trees). In the all-in-one process the trees are the watch cache's own.
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

/* Called in the loop when an object appears (old NULL), changes, or goes (new NULL). Must not wait and must not call
 * back into the replica except for reading: put a key somewhere and return. */
typedef void replica_changed(void *arg, const struct resource *res, const struct object *old,
                             const struct object *new_);

struct replica *replica_new(struct client *c, const struct replica_kind *kinds, size_t n);
void replica_on_change(struct replica *r, replica_changed *fn, void *arg); /* before replica_start; several may be set */
void replica_start(struct replica *r);          /* spawns its fibers; relists by itself after any trouble */
int replica_wait_synced(struct replica *r, struct mono deadline); /* every kind listed once */
bool replica_synced(const struct replica *r);
void replica_free(struct replica *r);           /* stops its fibers; waits */

const struct tree *replica_tree(const struct replica *r, const struct resource *res); /* borrowed; NULL is empty */
const struct object *replica_get(const struct replica *r, const struct resource *res, struct str ns, struct str name);
int64_t replica_revision(const struct replica *r, const struct resource *res); /* seen so far */
/* Waits until the replica has seen that revision of the kind (read your own writes). */
int replica_wait_revision(struct replica *r, const struct resource *res, int64_t revision, struct mono deadline);

/* Trees of several kinds as they stood at one moment between two events; references held until released. */
struct snapshot {
    const struct replica *replica;
    struct tree *trees[16];
    const struct resource *res[16];
    size_t n;
};
void snapshot_take(const struct replica *r, struct snapshot *ret);
void snapshot_release(struct snapshot *s);
const struct tree *snapshot_tree(const struct snapshot *s, const struct resource *res);
const struct object *snapshot_get(const struct snapshot *s, const struct resource *res, struct str ns, struct str name);
