/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A revisioned key-value store: what the API server keeps everything in. Semantics are etcd v3's as
 * Kubernetes uses them: one revision counter for the whole store, +1 a transaction; a key remembers the
 * revision that created it and the one that last changed it; reads at an older revision; compare-and-set by
 * modification revision; watches from a revision that deliver every event once and in order; compaction of
 * old revisions.
 *
 * Promises (each has a test): a transaction is acknowledged only when it is durable; revisions never repeat
 * or go back, whatever crashes; a watch delivers all events of a revision together and none twice, or ends
 * with STORE_COMPACTED; after a crash at any byte everything acknowledged is there.
 *
 * All calls are made from fibers of one loop; "waits" marks those that suspend. Two backends, an append log
 * on disk and the same in memory, are one engine over two kinds of segment (README.md); the third is etcd
 * (src/etcd), which others may write to as well.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/time.h"

struct store;

typedef struct {
    int64_t n;
} revision; /* 0: none, or "now" where a read takes one */

/* Positive outcomes. */
enum store_outcome {
    STORE_CONFLICT = 1, /* the key's modification revision is not the expected one (or it exists / is gone) */
    STORE_COMPACTED = 2, /* that revision is no longer kept */
    STORE_FUTURE = 3,    /* that revision has not been reached */
    STORE_FULL = 4,      /* no space: reads and deletes still work */
};

struct store_entry {
    struct str key, value;
    revision created, modified;
    int64_t version; /* number of writes since created, from 1 */
};

/* ---- opening ---------------------------------------------------------------------------------------- */

struct store_options {
    const char *dir;        /* folder of the embedded store, made when absent (0700) */
    int64_t history_ns;     /* how long revisions are kept before automatic compaction; 0: 5 minutes */
    int64_t history_events; /* and at most that many; 0: 100,000 */
    uint64_t max_bytes;     /* refuse writes (not deletes) beyond; 0: 8 GiB */
    int64_t lazy_ns;        /* how long a lazy write may be in memory only; 0: 30 seconds */
    uint32_t segment_bytes; /* size of one file of the log; 0: 8 MiB; smaller only in tests */
    bool durable;           /* false only in tests and simulation without faults */
};

/* Waits. A damaged tail (torn write) is cut and reported through ret_note; damage before it is an error that
 * names file and offset. */
int store_open_log(const struct store_options *o, struct store **ret, struct str *ret_note, struct arena *a,
                   struct err *e);
int store_open_memory(const struct store_options *o, struct store **ret);
void store_close(struct store *s); /* waits until what was acknowledged is on disk; watches end */

revision store_revision(const struct store *s); /* latest committed, as far as it is known here */
/* One that is not before anything that anybody was acknowledged before this call. Waits where others write, too (etcd); watches
 * are brought up to it then. 0, or what store_get has for trouble. */
int store_latest(struct store *s, revision *ret);
size_t store_ops_max(const struct store *s); /* operations that one transaction may have */
revision store_compacted(const struct store *s); /* 0 where it is not known: oldest readable - 1 */
struct store_stats {
    uint64_t keys, bytes_live, bytes_disk, writes, syncs, watches;
    uint64_t bytes_written; /* to disk, since opening */
    uint64_t bytes_index;   /* of memory, roughly */
    uint64_t segments;
    bool full; /* puts are refused for want of space */
};
void store_stats(const struct store *s, struct store_stats *ret);
/* What went wrong underneath since opening, naming file and offset: writes have stopped (all of them fail
 * until the store is opened anew) or stored bytes are damaged. Empty when nothing has. For health checks. */
const char *store_fault(const struct store *s);

/* ---- reading ---------------------------------------------------------------------------------------- */

/* The entry at a revision (0: latest). 0, -ENOENT, STORE_COMPACTED, STORE_FUTURE. Text in the arena. May
 * wait. */
int store_get(struct store *s, struct str key, revision at, struct arena *a, struct store_entry *ret);
/* Keys in [from, to) in order, at most limit (0: all); calls fn until it returns nonzero (which is returned).
 * The entry lives during the call. *ret_at (may be NULL) is the revision read. An empty `to` has no end. May
 * wait; STORE_COMPACTED also in the middle, when the revision is compacted meanwhile. */
typedef int store_visit(void *arg, const struct store_entry *entry);
int store_range(struct store *s, struct str from, struct str to, revision at, size_t limit, store_visit *fn,
                void *arg, revision *ret_at);
/* The end of the range of all keys with a prefix. */
struct str store_prefix_end(struct arena *a, struct str prefix);

/* ---- writing ---------------------------------------------------------------------------------------- */

enum store_op_kind { STORE_PUT, STORE_DELETE };
enum { STORE_ANY = -1, STORE_ABSENT = 0 }; /* special values of expect */

struct store_op {
    enum store_op_kind kind;
    struct str key, value;
    int64_t expect; /* modification revision the key must have; STORE_ABSENT: must not exist; STORE_ANY */
    bool lazy;      /* may be acknowledged before it is durable (Lease renewals only; docs/store.md) */
    void *cookie;   /* handed to watches of this process with the event; the caller keeps it alive */
    /* Called once, when the revision is known and before any watch sees the event: lets the caller stamp the
     * revision into what the cookie points to. May be NULL. Must not wait. */
    void (*committing)(void *cookie, revision rev);
};
/* All or nothing, in one revision; no key twice. A transaction that changes nothing (deletions of what is not
 * there) makes no revision: *ret_rev is the latest. -E2BIG beyond store_ops_max (1024; 128 of etcd), 4 KiB of key or half a
 * segment. 0, STORE_CONFLICT (*ret_conflict, may be NULL: index of the first op that did not match),
 * STORE_FULL, or a fatal error: then nothing was acknowledged. Waits. */
int store_txn(struct store *s, const struct store_op *ops, size_t n, revision *ret_rev, size_t *ret_conflict);

/* ---- watching --------------------------------------------------------------------------------------- */

struct store_event {
    bool deleted;
    struct str key, value; /* value is empty for a deletion */
    struct str previous;   /* value before; present when the watch asked for it and it is kept */
    bool created;          /* first revision of the key */
    revision modified, created_at;
    void *cookie; /* of the op, when written by this process since the watch began; else NULL */
};

struct store_watch;
/* Watches [from, to) from the first event after `after` (0: from now). STORE_COMPACTED, STORE_FUTURE. */
int store_watch(struct store *s, struct str from, struct str to, revision after, bool want_previous,
                struct store_watch **ret);
/* The next batch: all events of one or more whole revisions, in order, valid until the next call. 0;
 * -ETIMEDOUT; STORE_COMPACTED when it fell too far behind; -EPIPE when the store closes. *ret_progress: every
 * event up to there has been delivered (also set on -ETIMEDOUT). Waits. */
int store_watch_next(struct store_watch *w, struct mono deadline, const struct store_event **ret_events,
                     size_t *ret_n, revision *ret_progress);
void store_watch_close(struct store_watch *w);

/* Forgets revisions up to and including `upto` (never the latest of a live key). STORE_COMPACTED when that
 * was done before, STORE_FUTURE. */
int store_compact(struct store *s, revision upto);
