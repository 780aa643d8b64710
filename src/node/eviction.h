/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running short of memory, disk or process numbers: which thresholds are crossed, and who goes first. Pure.
 *
 * A soft threshold counts once it has been crossed for its grace period. What was crossed stays so until there is
 * minimum-reclaim more than the threshold. Memory comes before the rest.
 */
#pragma once

#include "base/err.h"
#include "node/pod.h"
#include "wire/quantity.h"

enum eviction_signal {
    EVICT_MEMORY,
    EVICT_NODEFS, EVICT_NODEFS_INODES, /* of the kubelet's folder */
    EVICT_IMAGEFS, EVICT_IMAGEFS_INODES, /* of the runtime's images and containers */
    EVICT_PIDS,
    EVICTION_SIGNALS,
};
enum pressure { PRESSURE_MEMORY, PRESSURE_DISK, PRESSURE_PIDS, PRESSURES };

/* "100Mi" or "10%" */
struct eviction_amount {
    int64_t fixed;
    double part; /* of the whole; negative: fixed counts */
    enum quantity_format format; /* how it was written */
};

struct eviction_rule {
    enum eviction_signal signal;
    bool hard;
    struct eviction_amount least, reclaim;
    int64_t grace;     /* ns */
    struct wall since; /* crossed since; 0: not */
    bool acted;        /* crossed for its grace period at the last look */
};

struct eviction_rules {
    struct eviction_rule *rules;
    size_t n;
    int64_t transition;              /* a pressure stays on for so long after it was last seen; ns */
    struct wall seen[PRESSURES];
};

struct eviction_settings {
    const char *const *hard, *const *soft, *const *soft_grace, *const *reclaim; /* "signal=value" or "signal<value" */
    int64_t transition;
};

/* 0 or -EINVAL with a sentence. Rules live in the arena. */
int eviction_rules_make(struct arena *a, const struct eviction_settings *s, struct eviction_rules *ret, struct err *e);

struct eviction_observation {
    int64_t available, whole; /* available -1: not known */
};
struct eviction_look {
    bool pressure[PRESSURES];
    const struct eviction_rule *reclaim; /* the first to be acted on; NULL */
    int64_t least;                       /* its threshold, in units */
};
void eviction_look(struct eviction_rules *r, const struct eviction_observation obs[EVICTION_SIGNALS], struct wall now,
                   struct eviction_look *ret);

/* What the Pod that goes is told first: which resource, the threshold as it was written, what there is. */
struct str eviction_why(struct arena *a, const struct eviction_look *look, const struct eviction_observation *o);

const char *eviction_resource(enum eviction_signal s); /* "memory", "ephemeral-storage", "inodes", "pids" */

struct eviction_candidate {
    const struct val *pod;
    int64_t usage, request; /* of the resource; usage -1: not known */
    void *owner;
};
/* Orders: who uses more than it asked for, then by priority, then by how much more (upstream's order). pids: by priority
 * and use alone. Whose use nobody knows goes first. */
void eviction_rank(struct eviction_candidate *c, size_t n, enum eviction_signal signal);

/* May the Pod come to a node that is short of these? NULL, or the reason with a message. Short of memory alone, a node takes
 * those that ask for something, or tolerate it. */
const char *eviction_admit(struct arena *a, const struct val *pod, const bool pressure[PRESSURES], struct str *ret_message);

/* A threshold "100Mi" or "10%" of a whole; 0 when there is none. */
int64_t eviction_threshold(const char *const *settings, const char *signal, int64_t whole);
