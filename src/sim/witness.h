/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who watches a simulated cluster and knows what must hold at every moment:
 *
 * - the historian reads every event of the store and compares them, after a crash, with what the store says then: what
 *   was seen stays, and no revision is used again; what callers were told was written is there;
 * - the watcher follows pods through the API: a pod is bound once, an object's revision only grows, and a Deployment
 *   does not take away more of its available pods than maxUnavailable lets it.
 */
#pragma once

#include "base/fiber.h"
#include "base/map.h"
#include "client/client.h"
#include "sim/truth.h"

struct store;

/* ---- history ------------------------------------------------------------------------------------------------------- */

struct happened {
    int64_t revision;
    uint64_t key, value; /* hashes */
    bool lazy;           /* may be lost in a crash */
};

struct historian {
    struct truth *truth;
    struct store *store;
    struct happened *log; /* in order of revisions */
    size_t n, cap;
    int64_t *acknowledged;
    size_t n_acknowledged, cap_acknowledged;
    uint64_t checked;     /* events found again after crashes */
    uint64_t promises;    /* acknowledged writes found again */
    struct group fibers;
};
/* The store was opened, for the first time or again: compares, then goes on reading. Waits. */
void historian_begin(struct historian *h, struct store *s);
void historian_pause(struct historian *h); /* before the store is closed */
/* For server_slot.acknowledged; arg is the historian. */
void historian_acknowledged(void *historian, uint16_t verb, const struct call *call, const struct val *answer);
void historian_done(struct historian *h);

/* ---- pods ------------------------------------------------------------------------------------------------------------ */

struct pod_seen;

struct watcher {
    struct truth *truth;
    struct replica *replica;
    struct map pods;     /* uid -> struct pod_seen */
    const char *ns;      /* of the Deployment; it has nothing else that runs */
    size_t replicas;     /* what must be available; 0: not watched at the moment */
    size_t available_min;
    size_t available;    /* of all its pods */
    size_t excused;      /* available pods lost to something else than the Deployment, not long ago */
    struct mono excused_until;
    size_t least;        /* that were ever available since watcher_expect */
    uint64_t bindings, deletions;
};
/* With a client to a server that is up. Pods are known by uid over several such times. */
void watcher_begin(struct watcher *w, struct client *c);
void watcher_pause(struct watcher *w); /* waits */
/* From now on so many of `replicas` pods must be available at any time. 0, 0: ends that. */
void watcher_expect(struct watcher *w, size_t replicas, size_t available_min);
/* So many of its available pods will be deleted by somebody else, at the latest after so long. */
void watcher_excuse(struct watcher *w, size_t pods, int64_t ns);
void watcher_done(struct watcher *w);
