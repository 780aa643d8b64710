/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watch cache (D9): for every stored resource a persistent tree of its objects and a ring of its recent
 * events, fed by one watch of the whole store. One watch means one revision for all kinds: what a reader sees
 * of two kinds belongs together, and "has everything up to revision R been seen" is one number. Objects that
 * this process wrote arrive as cookies, never decoded again.
 *
 * Readers take the root and walk it. Watchers keep a position in the ring and are woken when it grows;
 * nothing is queued for them, so a slow one costs nothing and simply finds its position gone.
 */
#pragma once

#include "base/fiber.h"
#include "store/store.h"
#include "type/tree.h"

struct cache;
struct encryption;
struct seal;

struct cache_event {
    int64_t revision;
    const struct object *old; /* NULL: created */
    const struct object *now; /* NULL: deleted */
    struct object
        *gone; /* of a deletion: the last state with the deletion's revision; see cache_event_gone */
    struct mono at;           /* when it came in */
};

typedef void cache_changed(void *arg, const struct object *old, const struct object *now);
struct cache_hook {
    cache_changed *fn;
    void *arg;
    struct list link;
};

struct cache_kind {
    struct cache *cache;
    const struct resource *res;
    struct str prefix;    /* "/registry/pods/" */
    const struct seal *seal; /* never NULL; encryption.h */
    struct tree *root;
    int64_t changed;      /* revision of the last event */
    int64_t oldest;       /* watches may begin at this revision or later */
    struct cache_event *ring;
    size_t cap;           /* power of two */
    uint64_t first, next; /* sequence numbers of the events in the ring: [first, next) */
    struct list followers; /* struct cache_follower.link */
    struct list hooks;
    struct list pins;     /* old roots for continue tokens */
    size_t n_pins;
    unsigned n_followers;
    struct list link; /* among removed kinds */
};

/* Somebody who follows the events of a kind from a position on. Who has seen everything and is not concerned
 * by the next event is moved past it without being woken: of a thousand kubelets only one looks at a pod. */
struct cache_follower {
    struct cache_kind *kind;
    struct list link;
    struct waitq q;    /* woken when there may be something to see */
    uint64_t position; /* of the next event to look at */
    bool (*concerns)(struct cache_follower *f, const struct cache_event *e); /* NULL: everything does */
};

/* Reads everything and starts following. Waits. */
int cache_open(struct store *store, const struct encryption *enc, struct cache **ret, struct err *e);
/* Other keys from now on; the old ones may go. */
void cache_set_encryption(struct cache *c, const struct encryption *enc);
/* Kinds by number, from 0 on; NULL in between. */
size_t cache_count(const struct cache *c);
struct cache_kind *cache_at(const struct cache *c, size_t i);
void cache_close(struct cache *c); /* NULL is fine; every watcher must have ended */

struct cache_kind *cache_kind(struct cache *c,
                              const struct resource *r); /* of the stored form; NULL when not stored */
/* A kind that came up later: what there is of it is read as of the present revision. Waits. */
int cache_add(struct cache *c, const struct resource *r, struct cache_kind **ret, struct err *e);
/* Another version is stored from now on; the index is the same. */
void cache_rename(struct cache_kind *k, const struct resource *r);
/* Makes the objects anew from what they are, where that is something else now (a schema has other defaults). Nobody is told.
 * Yields; only who may remove the kind may call it. */
void cache_reread(struct cache_kind *k);
/* It is no longer served: watchers lose their place. The memory stays until cache_close, since they may look at it. */
void cache_remove(struct cache *c, struct cache_kind *k);
/* Drops events that are neither young nor among the last of their kind. By itself every 75 seconds while there are some: a kind of
 * which much was written at once and nothing after that would keep all its former states. */
void cache_trim(struct cache *c, struct mono now);
int64_t cache_revision(const struct cache *c);
/* Waits until everything up to that revision has come in. 0, -ETIMEDOUT, -ECANCELED, -EPIPE when closed. */
int cache_wait(struct cache *c, int64_t revision, struct mono deadline);
/* Waits until everything that was acknowledged before this call has come in. */
int cache_fresh(struct cache *c);

/* Borrowed until the next wait; NULL when there is none. */
const struct object *cache_get(const struct cache_kind *k, struct str ns, struct str name);
/* The objects as of an older revision: a reference in *ret. 0, or STORE_COMPACTED when that is no longer
 * known. */
int cache_root_at(struct cache_kind *k, int64_t revision, struct tree **ret);
/* Keeps a root findable for some minutes. */
void cache_pin(struct cache_kind *k, int64_t revision, struct tree *root);

/* Called for every change before watchers wake. The hook's memory is the caller's. */
void cache_on_change(struct cache_kind *k, struct cache_hook *h, cache_changed *fn, void *arg);
void cache_off_change(struct cache_hook *h);

/* ---- following --------------------------------------------------------------------------------------- */

/* The position after a revision: 0, STORE_COMPACTED when older than the ring. */
int cache_seek(const struct cache_kind *k, int64_t revision, uint64_t *ret_position);
/* The event at a position: NULL when there is none yet (or when the position was lost: cache_lost). */
struct cache_event *cache_event_at(const struct cache_kind *k, uint64_t position);
static inline bool cache_lost(const struct cache_kind *k, uint64_t position)
{
    return position < k->first;
}
void cache_follow(struct cache_kind *k, struct cache_follower *f, uint64_t position,
                  bool (*concerns)(struct cache_follower *f, const struct cache_event *e));
void cache_unfollow(struct cache_follower *f);
/* For a deletion: its object as watchers get it (borrowed). */
const struct object *cache_event_gone(struct cache_event *e);

/* The key of an object in the store, in the arena. */
struct str cache_key(struct arena *a, const struct cache_kind *k, struct str ns, struct str name);
/* store_op.committing for ops whose cookie is the struct object that is written (or the last state of a
 * deleted one): stamps it, and takes the reference that the cache keeps. */
void cache_committing(void *cookie, revision rev);
