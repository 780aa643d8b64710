/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of nodes and of the pods placed on them: what every decision reads. The columns that each pod is compared
 * with (free resources, taints, flags) are one dense row of numbers a node, so that 5,000 nodes fit in a second-level
 * cache; the rest (labels, ports, images, pods) stands apart. Taint sets are interned: a pod's tolerations are
 * compared once a distinct set, not once a node.
 */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "type/object.h"

enum { MAX_EXTENDED = 16 }; /* distinct extended resources a cluster: further ones are not scheduled by */

struct host_port {
    struct str ip; /* empty: any */
    char proto;    /* 'T', 'U', 'S' */
    uint16_t port;
};

/* What a pod asks for. Made once a pod. */
struct needs {
    struct arena arena;
    const struct object *pod; /* referenced */
    int64_t cpu, memory, ephemeral;        /* milli-CPU, bytes, bytes */
    int64_t cpu_score, memory_score;       /* with 100m and 200Mi where nothing is asked for: only for scores */
    int64_t extended[MAX_EXTENDED];
    bool any_extended, unknown_extended;   /* unknown: a resource that no node ever had */
    struct str unknown_name;
    const struct host_port *ports;
    size_t n_ports;
    int32_t priority;
    const struct val *spec, *labels;
    const struct val *required_affinity, *required_anti_affinity; /* of pods: terms */
    const struct val *preferred_affinity, *preferred_anti_affinity;
    bool volumes_matter;                   /* has claims, or disks that not every pod may share */
    const struct str *claims;              /* "ns/name" of those named in its volumes (not of ephemeral ones) */
    size_t n_claims;
    struct list on_node;                   /* placed: on the node's list */
    struct list nominee;                   /* nominated: on the node's list of those */
    int nominated_to;
    int node;                              /* placed: index of the node, else -1 */
};

/* One dense row. */
struct row {
    int64_t cpu_free, memory_free, ephemeral_free;
    int64_t cpu_total, memory_total;
    int64_t cpu_scored, memory_scored;     /* sums of needs.cpu_score, memory_score */
    int32_t pods_free;
    uint16_t taints;                       /* interned set; 0: none */
    bool present, unschedulable;
};

struct node {
    struct object *object; /* NULL: the slot is free */
    const struct val *labels, *images;
    struct list pods;      /* struct needs.on_node */
    size_t n_pods, n_anti; /* pods with required anti-affinity among them */
    struct list nominated; /* struct needs.nominee: others made room for them here */
    size_t n_nominated;
    int64_t extended_free[MAX_EXTENDED];
};

struct table {
    struct row *rows;
    struct node *nodes;
    size_t n, cap, n_present;
    struct map by_name;          /* name -> index + 1 */
    struct map placed;           /* pod uid -> struct needs * */
    struct map nominated;        /* pod uid -> struct needs *: not placed, see table_nominate */
    struct map claims;           /* "ns/name" -> number of placed pods that have the claim, as pointer */
    const struct val **taint_sets; /* [0] is NULL; LISTs kept in arena */
    uint16_t n_taint_sets;
    struct map taint_ids;        /* text -> id */
    struct str extended[MAX_EXTENDED];
    size_t n_extended;
    size_t n_anti, n_preferring; /* placed pods with required anti-affinity; with preferred terms of either kind */
    struct arena arena;          /* interned texts and sets: few, and never freed */
};

void table_done(struct table *t);
/* A node appeared, changed (new_ not NULL) or went (new_ NULL; its pods stay known). */
void table_node(struct table *t, const struct object *old, const struct object *new_);
int table_find(const struct table *t, struct str name); /* index, or -1 */
/* Reads what a pod asks for. Free with needs_free, unless it was placed. */
struct needs *needs_new(struct table *t, const struct object *pod);
void needs_free(struct needs *n);
/* Places a pod on a node by name (which need not be known yet); replaces an earlier placement of that uid. */
void table_place(struct table *t, struct needs *n, struct str node);
/* Takes a pod out; its needs are freed. */
void table_unplace(struct table *t, struct str uid);
/* A pod waits for its victims to leave a node (status.nominatedNodeName): it takes no room, but decisions about pods that
 * are no more important heed it. Replaces an earlier nomination. */
void table_nominate(struct table *t, struct needs *n, struct str node);
void table_unnominate(struct table *t, struct str uid); /* its needs are freed; fine when there is none */
/* For "what if": out and in again without freeing. */
void table_lift(struct table *t, struct needs *n);
void table_drop(struct table *t, struct needs *n, int node);
