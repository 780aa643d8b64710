/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The insides of the store in etcd:
 *
 *   store.c    opening, reading, the revision that all have reached
 *   txn.c      transactions, and which of ours are under way
 *   watch.c    events
 *   upkeep.c   compaction; whether etcd answers; moving watches on
 */
#pragma once

#include "base/fiber.h"
#include "base/map.h"
#include "etcd/store.h"
#include "grpc.h"
#include "names.h"
#include "store/backend.h"
#include "wire/schema.h"

#define LOG "etcd"

struct etcd_store {
    struct store base;
    struct etcd *etcd;
    char *prefix;
    int64_t compaction_interval;
    int64_t seen, compacted; /* revisions: the latest that an answer named; the last compaction of which we know */
    /* Of questions for the latest revision, one is under way at a time; whoever comes meanwhile needs the next. */
    uint64_t asked, answered;
    bool asking;
    struct waitq answer;
    /* Transactions under way, by key: how many (as a pointer's value). An event of such a key waits for their outcome, so that it
     * finds its cookie. */
    struct map under_way;
    struct waitq settled;
    struct map cookies; /* of outcomes whose event has not come: "revision/key" -> cookie */
    struct list watches;
    size_t n_watches;
    int64_t wanted; /* the revision that watches are to reach */
    struct waitq nudge;
    struct group fibers;
    bool closing;
    unsigned users;
    struct waitq unused;
    uint64_t writes, disk_bytes;
    bool full;
    struct err fault; /* while nobody answers */
};

static inline struct etcd_store *etcd_store_of(struct store *s)
{
    return (struct etcd_store *)s; /* its first member */
}
static inline const struct etcd_store *etcd_store_of_const(const struct store *s)
{
    return (const struct etcd_store *)s;
}

/* store.c */
struct val etcd_bytes(struct arena *a, struct str s);
/* "/registry/pods/" <-> "<prefix>/pods/" */
struct str etcd_key_out(const struct etcd_store *s, struct arena *a, struct str key);
struct str etcd_key_in(const struct etcd_store *s, struct arena *a, struct str key);
/* One call; what it says of etcd's health and of revisions is noted. 0, a store_outcome, or -errno. */
int etcd_ask(struct etcd_store *s, unsigned method, const struct val *request, struct arena *a, const struct val **ret);
/* The same until somebody answers, half a minute long. */
int etcd_insist(struct etcd_store *s, unsigned method, const struct val *request, struct arena *a, const struct val **ret);
void etcd_saw(struct etcd_store *s, int64_t revision);

/* txn.c */
int etcd_txn(struct store *base, const struct store_op *ops, size_t n, revision *ret_rev, size_t *ret_conflict);
/* The cookie of an event, once; waits until no transaction of ours is under way that may have caused it. -ECANCELED. */
int etcd_claim_cookie(struct etcd_store *s, struct str key, int64_t revision, void **ret);

/* watch.c */
int etcd_watch(struct store *base, struct str from, struct str to, revision after, bool want_previous,
               struct store_watch **ret);
int etcd_watch_next(struct store_watch *base, struct mono deadline, const struct store_event **ret_events, size_t *ret_n,
                    revision *ret_progress);
void etcd_watch_close(struct store_watch *base);
void etcd_watches_end(struct etcd_store *s);             /* each says -EPIPE from now on */
bool etcd_watches_reached(const struct etcd_store *s, int64_t revision);

/* upkeep.c */
void etcd_upkeep_start(struct etcd_store *s);
int etcd_compact(struct store *base, revision upto);
