/* SPDX-License-Identifier: Apache-2.0 */
/* A watch before its encoding: which events a selection sees, from which revision on. Used for HTTP watches
 * and for those inside this process. */
#pragma once

#include "apiserver/select.h"
#include "client/client.h"

struct follow {
    struct cache_follower waiter; /* waiter.q is woken when there may be more */
    struct selection *sel;
    struct tree *initial; /* objects still to be sent as ADDED */
    struct tree_iter at;
    bool initial_done;    /* the end of the initial events was reported */
    int64_t initial_revision; /* 0: there are none */
    int64_t revision;     /* everything up to there was seen */
    struct object *made;  /* keeps what the last event showed */
    /* Of what is looked at next, when the selection looks at another version; waits. NULL: nothing to do. Not 0: follow_next
     * answers with it. */
    int (*ahead)(struct follow *f, const struct val *const *v, size_t n);
};

/* from: events after that revision; initial: the present state first. 0, or STORE_COMPACTED. */
int follow_begin(struct follow *f, struct cache_kind *k, struct selection *sel, int64_t from, bool initial);
/* The next event: its kind and object (borrowed until the next call or wait). WATCH_BOOKMARK without an
 * object marks the end of the initial events. 0 none at the moment; 1 an event; STORE_COMPACTED: too slow,
 * events were lost. */
int follow_next(struct follow *f, enum watch_event_kind *ret_kind, const struct object **ret);
void follow_end(struct follow *f);
