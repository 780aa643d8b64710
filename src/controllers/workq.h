/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of one controller: each key at most once in it and never in two hands at once; a key added while
 * in work comes again after it. Failing keys come back later and later. Pure: time is a parameter.
 */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "base/time.h"

struct workq_item {
    struct list link; /* on workq.ready while due */
    char *text;       /* the key, "ns/name" */
    size_t n;
    struct mono when; /* not before; MONO_NEVER when not waiting */
    size_t timer;     /* place in the heap + 1, 0: not there */
    unsigned failures;
    bool busy, again; /* in work; to be done once more after it */
    void *user;       /* the engine's */
};

struct workq {
    struct map items; /* struct workq_item by text */
    struct list ready;
    struct workq_item **timers;
    size_t n_timers, cap_timers;
    void (*user_free)(void *user);
    int64_t backoff_max; /* less than workq_backoff's own; 0: that */
};

void workq_init(struct workq *q, void (*user_free)(void *user));
void workq_done(struct workq *q);
void workq_add(struct workq *q, struct str key);
void workq_add_at(struct workq *q, struct str key, struct mono when); /* the soonest wins */
/* The next key that is due, now in work; NULL when there is none. */
struct workq_item *workq_get(struct workq *q, struct mono now);
struct mono workq_due(const struct workq *q); /* when to ask again if workq_get had none */
/* The work on it has ended: well (its failures are forgotten), or not (it comes again after its back-off). */
void workq_finish(struct workq *q, struct workq_item *item, bool well, struct mono now);
size_t workq_len(const struct workq *q); /* keys known: waiting, due or in work */

int64_t workq_backoff(unsigned failures); /* 5 ms doubling to 1000 s, client-go's */
