/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods that wait for a node: ready ones by priority and age, those in back-off by time, and those that fit nowhere until
 * something changes. Pure: `now` comes in.
 */
#pragma once

#include "base/map.h"
#include "base/time.h"
#include "type/object.h"

enum queue_place { QUEUE_READY, QUEUE_BACKOFF, QUEUE_UNSCHEDULABLE, QUEUE_TAKEN };

struct waiting {
    const struct object *pod; /* referenced */
    enum queue_place place;
    int32_t priority;
    uint64_t seq;             /* age among equals */
    unsigned attempts;
    struct mono tried, ready_at;
    struct str said;          /* last message told, malloc'd; not told again */
    bool moved;               /* something changed while it was being tried: try again soon */
};

struct pod_queue {
    struct map pods;          /* uid -> struct waiting * */
    struct waiting **ready;   /* heap */
    size_t n_ready, cap_ready;
    uint64_t seq;
    int64_t backoff_first, backoff_max;
};

void pod_queue_done(struct pod_queue *q);
/* A pod without a node appeared or changed. */
void pod_queue_put(struct pod_queue *q, const struct object *pod, struct mono now);
void pod_queue_drop(struct pod_queue *q, struct str uid);
/* The next to try; it is then QUEUE_TAKEN until put back or dropped. NULL when none is ready. */
struct waiting *pod_queue_take(struct pod_queue *q, struct mono now);
/* It fits nowhere now. */
void pod_queue_unschedulable(struct pod_queue *q, struct waiting *w, struct mono now);
/* It failed for another reason: again after its back-off. */
void pod_queue_failed(struct pod_queue *q, struct waiting *w, struct mono now);
/* Something changed that may help: unschedulable ones are tried again, after their back-off. */
void pod_queue_wake(struct pod_queue *q, struct mono now);
/* The same for those that it may help. */
void pod_queue_wake_some(struct pod_queue *q, struct mono now, bool (*helps)(void *arg, const struct object *pod), void *arg);
/* Moves those whose time has come; when the next one's comes (MONO_NEVER). */
struct mono pod_queue_tick(struct pod_queue *q, struct mono now);
