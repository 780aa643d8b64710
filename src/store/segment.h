/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file of the log: preallocated, begun with a durable header, appended to, and later removed whole. In a
 * store without a folder a segment is a piece of memory; nothing above can tell.
 *
 * A file is prepared under the name "spare" or "reserve" and gets its number only when its header is durable,
 * so every numbered file has a header. Files of removed segments become spares: their blocks are allocated
 * and written already, which saves the file system its own bookkeeping at each sync.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "store/frame.h"

enum {
    SEGMENT_FORMAT = 1,
    SEGMENT_HEADER = 64,
    SEGMENT_ZERO_AHEAD = 256 << 10, /* fresh blocks are written with zeros this far ahead of the log's end */
};

enum spare_name { SPARE, RESERVE, SPARES };

struct files {
    char *dir;    /* NULL: segments are pieces of memory */
    bool durable; /* false: syncs are left out */
    int lock;
    uint64_t written, syncs; /* bytes and calls, for figures */
};

struct segment {
    uint32_t number;
    uint32_t mark; /* in every frame; differs from that of the file's former life */
    uint32_t size;
    uint32_t end;            /* of what was appended */
    uint32_t prev;           /* checksum of the last frame */
    uint32_t zeroed;         /* blocks up to here have been written before */
    uint32_t gc_at, gc_prev; /* cleaning has got so far: where, and the checksum of the frame before */
    uint16_t slot;
    enum spare_name spare;         /* its name while number is 0 */
    bool sealed, damaged, dropped; /* dropped: the log says durably that it is gone */
    int fd;
    char *memory;
};

struct segment_header {
    uint32_t number, size;
    uint64_t store;                       /* random, same in all segments of a store */
    int64_t revision, compacted, ceiling; /* when the segment was begun */
};

void files_done(struct files *f);
/* Opens the folder for this process alone. */
int files_lock(struct files *f, const char *dir, struct err *e);
/* The folder's own entry must survive a power cut as well. Waits. */
int files_sync_parent(const struct files *f);
/* The numbers of the segments there, ascending. */
int files_list(const struct files *f, struct arena *a, uint32_t **ret, size_t *ret_n);
int files_remove(const struct files *f, uint32_t number);

/* A spare with its space allocated: what a former process left under that name, or a new file. -ENOSPC,
 * -EDQUOT. */
int segment_spare(struct files *f, enum spare_name name, uint32_t size, struct segment **ret);
/* Makes the spare a segment, durably; others are the numbers of the other segments of the log. Waits. On
 * failure it is still the spare. */
int segment_begin(struct files *f, struct segment *s, const struct segment_header *h, const uint32_t *others,
                  size_t n);
int segment_open(struct files *f, uint32_t number, struct segment **ret, struct segment_header *ret_header,
                 struct err *e);
/* A segment's file, no longer part of the log, becomes the spare of that name, or goes (SPARES; returns
 * NULL). */
struct segment *segment_retire(struct files *f, struct segment *s, enum spare_name name);
void segment_free(struct segment *s); /* closes; the file stays */

int segment_read(const struct segment *s, void *p, size_t n, uint32_t at); /* all n bytes, or an error */
int segment_write(struct files *f, struct segment *s, const void *p, size_t n, uint32_t at);
int segment_sync(struct files *f, struct segment *s); /* waits */
/* Whole again after a crash in the middle of segment_cut(). */
int segment_extend(struct segment *s, uint32_t size);
int segment_cut(struct files *f,
                struct segment *s); /* nothing of an unfinished write stays beyond s->end; waits */

/* ---- walking through the frames of a segment ---------------------------------------------------------- */

struct scan {
    const struct segment *segment;
    uint32_t at;   /* of the next frame */
    uint32_t prev; /* checksum of the last one */
    struct buf window;
    uint32_t window_at;
};
enum scan_outcome { SCAN_END = 1 }; /* no frame follows */
void scan_done(struct scan *c);
/* The next frame and its checked body, valid until the next call; *ret_at (may be NULL) where it begins. 0,
 * SCAN_END, -EBADMSG, or an error of reading. */
int scan_next(struct scan *c, struct frame *ret, const char **ret_body, uint32_t *ret_at);
/* After -EBADMSG or SCAN_END: whether a later frame proves that what begins at c->at had once been durable.
 */
int scan_was_durable(struct scan *c, bool *ret);
