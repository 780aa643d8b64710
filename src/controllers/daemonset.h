/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DaemonSets: a pod on each node that fits. daemonset.c decides which pods go and which nodes get one,
 * daemonset_nodes.c says which nodes fit and how a pod is pinned to its node, daemonset_update.c rolls.
 */
#pragma once

#include "controllers/engine.h"

extern const struct controller daemonset_controller;

/* ---- between the files of this controller ------------------------------------------------------------ */

#include "controllers/history.h"

/* What of a DaemonSet a node must suit, and what its pods tolerate. */
struct daemon_needs {
    const struct val *spec;        /* of its pods */
    const struct val *tolerations; /* theirs and the standard ones */
    struct str node;               /* spec.nodeName; empty: any */
};

struct fit {
    bool run;  /* a pod belongs there */
    bool stay; /* one that is there may go on */
};

/* A node, or the name of one, with the pods that are there or on their way. */
struct stop {
    const struct object *node; /* NULL: there is no such node */
    struct str name;
    const struct object **pods; /* n of them; the one that counts first */
    size_t n;
    struct fit fit;
};

struct daemon {
    const struct snapshot *world;
    const struct object *set;
    const struct val *spec;
    struct wall now;
    struct writes *w;
    struct daemon_needs needs;
    struct history history;
    struct revision *current;
    struct objects pods; /* all that are its own */
    struct stop *stops;  /* by name; nodes without pods, too */
    size_t n_stops;
    int64_t min_ready, wanted; /* nodes where a pod belongs */
    bool rolling;              /* not OnDelete */
    struct objects to_delete;
    struct str *to_create; /* names of nodes */
    size_t n_create;
};

/* daemonset_nodes.c */
void daemon_needs_read(struct arena *a, const struct object *set, struct daemon_needs *ret);
struct fit daemon_fit(const struct daemon_needs *n, const struct object *node);
/* The node of a pod, be it bound or only pinned; empty: cannot be told. */
struct str daemon_target(const struct val *pod);
/* The set's template for a node. */
const struct val *daemon_template(const struct daemon *d, struct str node);
void keys_of_node(const struct snapshot *world, const struct object *old, const struct object *new_,
                  key_sink *sink, void *arg);

/* daemonset.c */
bool daemon_is_updated(const struct daemon *d, const struct object *pod);
bool daemon_is_available(const struct daemon *d, const struct object *pod);
void daemon_delete(struct daemon *d, const struct object *pod);
void daemon_create(struct daemon *d, struct str node);

/* daemonset_update.c */
int64_t daemon_max_surge(const struct daemon *d, int64_t of);
void daemon_roll(struct daemon *d);
