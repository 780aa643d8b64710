/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The insides of the log engine, shared by its files only:
 *
 *   engine.c   opening, closing, reading
 *   recover.c  from the segments of a folder to the index
 *   commit.c   the writer: one fiber that turns what waits into one group, one write, one sync
 *   clean.c    forgetting old revisions, giving their space back, keeping room for deletes
 *   watch.c    events
 *
 * All of it runs in fibers of one loop, so state changes only where somebody waits.
 */
#pragma once

#include "base/fiber.h"
#include "store/backend.h"
#include "store/index.h"
#include "store/segment.h"

enum {
    GROUP_BYTES = 1 << 20,  /* a group is closed beyond this */
    TAIL_KEPT = 64 << 10,   /* of the newest bytes, for watches */
    LAZY_BYTES = 256 << 10, /* lazy writes waiting in memory */
    CONTROL_ROOM = 256,     /* of a segment, for the frames that steer */
    DELETE_ROOM = 4096,     /* and for dropping segments when deletes have used up the rest */
    CEILING_STEP = 4096,    /* revisions reserved for lazy writes */
    FIRST_REVISION = 1,     /* of an empty store, as etcd has it */
};

/* An event that somebody may still want: a pointer to where its version is. */
struct ref {
    int64_t revision;
    struct node *node;
    void *cookie;
};
/* Numbered from the start of the process; [head, tail) are there. */
struct refs {
    struct ref *ring;
    size_t cap; /* a power of two */
    uint64_t head, tail;
};

enum request_kind { REQUEST_TXN, REQUEST_MOVE, REQUEST_DROP };

/* An operation found in a segment that is being emptied. */
struct moving {
    struct op op;
    uint32_t off;     /* where it lies */
    uint32_t new_off; /* where it went; 0 when it was not needed */
    bool keyed;       /* not needed when it was read: without its value */
};

/* Something for the writer to do; lives on the stack of who waits for it. */
struct request {
    struct list link;
    enum request_kind kind;
    const struct store_op *ops; /* TXN */
    struct moving *moving;      /* MOVE */
    struct segment *from;       /* MOVE, DROP */
    size_t n, bytes;
    bool lazy, puts;
    bool taken, done, effect; /* effect: it made a revision */
    int result;
    int64_t revision;
    size_t conflict;
    struct waitq wait;
};

/* How far history had come at a time: for forgetting by age. */
struct mark {
    struct mono at;
    int64_t revision;
};
enum { MARKS = 16 };

struct engine {
    struct store base;
    struct files files;
    uint64_t id;
    struct store_options options; /* with the defaults filled in */
    struct segment **segments;    /* by slot, with holes */
    size_t n_slots;
    struct segment *active;
    struct segment *spares[SPARES]; /* SPARE: the next segment; RESERVE: so that cleaning finds room when
                                       nobody else does */
    struct segment *emptying;       /* being cleaned */
    struct index index;
    struct refs refs;
    uint64_t published; /* refs before this one are committed */

    /* Newest bytes of the active segment: what is not written yet, and what watches are likely to ask for. */
    struct buf tail;
    uint32_t tail_at;
    uint32_t durable; /* the active segment is durable up to here */
    struct mono lazy_since;

    int64_t assigned, committed; /* revisions: last handed out, last visible */
    int64_t compacted;           /* nobody may read at or before this */
    int64_t forgotten;           /* versions are dropped up to here; follows compacted in slices */
    int64_t compacted_logged;
    int64_t ceiling; /* durable: lazy writes may use revisions up to this */
    uint32_t batch;

    struct list queue;
    struct waitq work, chores, unused;
    struct group writer, cleaner;
    bool stop_writer, chores_due;
    bool closing;
    unsigned users; /* calls under way */
    bool unproven;  /* no later frame says yet that the last group is durable */
    bool full;      /* a spare is missing and cannot be had: puts are refused */
    int broken;     /* a write failed in a way that cannot be trusted again: -errno */
    struct err fault;

    struct mark marks[MARKS];
    size_t n_marks;
    struct list watches;
    uint64_t writes, n_watches;
};

/* engine.c */
extern const struct store_ops engine_ops;
static inline struct engine *engine_of(struct store *s)
{
    return (struct engine *)s; /* its first member */
}
static inline const struct engine *engine_of_const(const struct store *s)
{
    return (const struct engine *)s;
}
struct engine *engine_new(const struct store_options *o);
void engine_free(struct engine *s);
void engine_start(struct engine *s);
uint64_t engine_disk_bytes(const struct engine *s);
void engine_add_segment(struct engine *s, struct segment *seg);
/* The operation behind a version. Slices point into b, which is overwritten. */
int engine_read(struct engine *s, struct str key, const struct item *it, struct buf *b, struct op *ret);
/* Notes the first thing that went wrong for store_fault() and returns r. */
int engine_fault(struct engine *s, int r, const char *what, const struct segment *seg, uint32_t at);

/* watch.c */
int engine_watch(struct store *base, struct str from, struct str to, revision after, bool want_previous,
                 struct store_watch **ret);
int engine_watch_next(struct store_watch *base, struct mono deadline, const struct store_event **ret_events,
                      size_t *ret_n, revision *ret_progress);
void engine_watch_close(struct store_watch *base);
static inline struct ref *ref_at(const struct refs *r, uint64_t i)
{
    return &r->ring[i & (r->cap - 1)];
}
void refs_push(struct refs *r, int64_t rev, struct node *n, void *cookie);
/* Tells the watches about what was committed since last time. */
void watch_publish(struct engine *s);
void watch_close_all(struct engine *s);

/* commit.c */
int request_run(struct engine *s, struct request *r); /* waits */
void writer_main(void *arg);
/* Makes the spares that are missing. urgent: for deletes and cleaning, beyond max_bytes. 0, STORE_FULL or an
 * error. */
int writer_spares(struct engine *s, bool urgent);
/* Makes this spare the active segment. Waits. */
int writer_next_segment(struct engine *s, enum spare_name name, uint32_t number);

/* clean.c */
void cleaner_main(void *arg);
void cleaner_wake(struct engine *s);
void cleaner_forget(struct engine *s, int64_t upto);

/* recover.c */
/* numbers: of the segments in the folder, ascending, at least one. Waits. */
int recover(struct engine *s, const uint32_t *numbers, size_t n, struct str *ret_note, struct arena *a,
            struct err *e);
