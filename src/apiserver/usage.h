/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nodes and their pods use: the resource metrics API (metrics.k8s.io), with nothing installed.
 *
 * The numbers come from the kubelets' /metrics/resource, as metrics-server's do, so upstream's kubelets serve
 * as well as ours. They are asked for when somebody asks us, and not before: the numbers of the last few
 * seconds are good enough, older ones are asked for again, and when there are none (or they are too old to
 * tell a rate from) the kubelets are asked twice, a second apart. A cluster where nobody looks does nothing.
 */
#pragma once

#include "apiserver/request.h"
#include "base/map.h"

/* ---- what is known of one node (pure) ---------------------------------------------------------------- */

struct usage_point {
    struct wall at;      /* when the kubelet measured */
    int64_t cpu_ns;      /* processor time so far; -1: unknown */
    int64_t memory;      /* working set in bytes; -1: unknown */
    struct wall started; /* of a container; 0: unknown */
};

/* Of a node (key "") or a container ("ns/pod/container"): the last two points that differ in time. */
struct usage_entry {
    struct usage_point last, before; /* before.at 0: there is none */
};

struct usage_node {
    struct arena arena;
    struct map entries; /* struct usage_entry in the arena */
};
void usage_node_free(struct usage_node *n);
/* The node after a /metrics/resource page, `was` (may be NULL) being what was known: a new one, nothing in
 * common with the old. NULL when the page holds no numbers. now: for lines without a time of their own. */
struct usage_node *usage_node_next(const struct usage_node *was, struct str page, struct wall now);

struct usage {
    struct wall at; /* end of what was measured */
    int64_t window; /* its length, ns */
    int64_t cpu_nano, memory;
};
/* What an entry says: false while its rate is not known. */
bool usage_of(const struct usage_node *n, struct str key, struct usage *ret);
bool usage_known(const struct usage_node *n, struct str key); /* is there an entry, with or without a rate */

/* ---- asking (usage_gather.c) ------------------------------------------------------------------------- */

struct usage_state; /* in struct apiserver; made at the first request */
void usage_free(struct apiserver *s);
/* Makes sure that what is known is of the last seconds. Waits, but never long for nodes that do not answer. 0
 * or -ECANCELED. */
int usage_refresh(struct apiserver *s);
const struct usage_node *usage_find(struct apiserver *s,
                                    struct str node); /* borrowed until the next wait; or NULL */

/* ---- answering (usage_api.c) ------------------------------------------------------------------------- */

request_stage usage_nodes, usage_pods;
