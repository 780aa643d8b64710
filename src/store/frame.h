/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of the log (docs/store.md has the layout): frames, each a head and a body of operations. Pure:
 * nothing here touches a file. A frame is believed only when its head, every operation in it and its place
 * after the frame before it check out, so a torn write is recognised whatever part of it reached the disk.
 */
#pragma once

#include "base/str.h"

enum {
    FRAME_SIZE = 40, /* of a head */
    OP_SIZE = 32,    /* of an operation before its key and value */
    FRAME_ALIGN = 8,
    STORE_KEY_MAX = 4096,
    STORE_OPS_MAX = 1024, /* in one transaction */
};

enum frame_kind {
    FRAME_TXN = 1,      /* a transaction; number: its revision */
    FRAME_MOVE = 2,     /* operations copied forward from a segment about to go */
    FRAME_COMPACT = 3,  /* number: revisions up to there are forgotten */
    FRAME_CEILING = 4,  /* number: revisions up to there may have been handed out */
    FRAME_SEGMENTS = 5, /* first in a segment; one operation whose value lists the other segments */
    FRAME_DROP = 6,     /* number: this segment is no longer part of the log */
    FRAME_SEAL = 7,     /* last in a segment that has a successor */
    FRAME_KINDS
};

struct frame {
    enum frame_kind kind;
    uint32_t length; /* of the body */
    uint32_t prev;   /* checksum of the frame before, 0 for the first */
    uint32_t batch;  /* differs for each group of frames, also for the same ones tried again: what a failed or
                        unfinished write left behind has another prev and never connects */
    uint32_t durable; /* this segment was durable up to here when the frame was made: what is broken before
                         this offset was damaged, what is broken after it may merely be unfinished */
    uint32_t crc;
    uint32_t ops_crc; /* over the checksums of the operations: ties this head to this body */
    uint16_t n_ops;
    int64_t number;
};

/* What a key became. version 0 says deleted. */
struct op {
    struct str key, value;
    int64_t modified, created;
    uint32_t version;
    uint16_t sub; /* place within its transaction */
};

static inline size_t op_size(size_t key, size_t value)
{
    return OP_SIZE + key + value;
}
static inline size_t frame_size(size_t body)
{
    return (FRAME_SIZE + body + FRAME_ALIGN - 1) & ~(size_t)(FRAME_ALIGN - 1);
}

/* mark is the segment's own number (segment.h) that keeps bytes of its former life from being taken for
 * frames. */
void op_encode(char *to, uint32_t mark, const struct op *op);
/* Adds an encoded operation to a frame under construction: length, n_ops, ops_crc. */
void frame_add_op(struct frame *f, const char *op, size_t size);
/* 0 or -EBADMSG. The slices point into p. */
int op_decode(uint32_t mark, const char *p, size_t n, struct op *ret);

/* Returns the checksum, for the prev of the next frame. */
uint32_t frame_encode(char *to, uint32_t mark, const struct frame *f);
enum frame_outcome { FRAME_NONE = 1 }; /* no frame of this segment begins here */
/* Checks the head only. 0, FRAME_NONE or -EBADMSG. p has FRAME_SIZE bytes. */
int frame_decode(uint32_t mark, const char *p, struct frame *ret);
/* Checks every operation of a body and that they fill it. */
int frame_check_body(uint32_t mark, const struct frame *f, const char *body);
