/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who owns whom, of all objects that own or are owned: what the garbage collector asks. Follows every change
 * of every kind; costs memory only for objects with references, and for those they refer to. Pure.
 */
#pragma once

#include "base/map.h"
#include "type/object.h"

struct gc_node;

/* A reference from dependent to owner. */
struct gc_edge {
    struct gc_node *owner, *dependent;
    bool blocks; /* blockOwnerDeletion */
};

struct gc_node {
    char *uid;
    const struct resource *res; /* NULL while the object was not seen */
    char *ns, *name;
    struct gc_edge **owners;     /* edges from here */
    struct gc_edge **dependents; /* edges to here */
    size_t n_owners, n_dependents, cap_dependents;
    bool deleting, foreground, orphan; /* has a deletion time; waits for its dependents; lets go of them */
};

struct gc_graph {
    struct map nodes; /* by uid */
};

void gc_graph_done(struct gc_graph *g);
struct gc_node *gc_graph_get(const struct gc_graph *g, struct str uid);

/* Who has to be looked at because of this change. */
typedef void gc_touched(void *arg, const struct gc_node *n);
void gc_graph_change(struct gc_graph *g, const struct resource *res, const struct object *old, const struct object *new_,
                     gc_touched *touched, void *arg);

#define FINALIZER_FOREGROUND "foregroundDeletion"
#define FINALIZER_ORPHAN "orphan"
