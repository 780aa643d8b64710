/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tar archives as streams: ustar with GNU long names, and pax headers when reading. Pure: bytes in, calls out.
 * Nothing in an archive is to be trusted; tar_place() decides where an entry may be written.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"

enum tar_type { TAR_FILE = '0', TAR_HARD_LINK = '1', TAR_SYMLINK = '2', TAR_DIR = '5' };

struct tar_entry {
    struct str name, link; /* NUL-terminated */
    char type;             /* enum tar_type, or what else there is: devices, fifos */
    unsigned mode;
    uint64_t size;
    int64_t mtime; /* seconds */
};

/* ---- writing ------------------------------------------------------------------------------------------------ */

/* Appends the header of an entry; its content and tar_pad() follow. */
void tar_put(struct buf *b, const struct tar_entry *e);
void tar_pad(struct buf *b, uint64_t size); /* after a content of that size */
void tar_end(struct buf *b);

/* ---- reading ------------------------------------------------------------------------------------------------ */

struct tar_sink {
    /* An entry begins. Its content follows, then end. Negative ends the reading. */
    int (*begin)(void *arg, const struct tar_entry *e);
    int (*content)(void *arg, struct str data);
    int (*end)(void *arg);
    void *arg;
};

struct tar_reader {
    const struct tar_sink *sink;
    struct arena names; /* of the entry that is read */
    struct buf header;  /* a header, or the content of a long name or pax header, not yet whole */
    struct tar_entry entry, next; /* next: what extension headers say about the entry to come */
    bool has_name, has_link, has_size;
    uint64_t left;      /* of the content */
    unsigned pad;
    int state;
    bool done; /* the end of the archive was seen */
};

void tar_reader_init(struct tar_reader *r, const struct tar_sink *sink);
void tar_reader_done(struct tar_reader *r);
/* 0, -EINVAL with a sentence, or what the sink gave. */
int tar_feed(struct tar_reader *r, struct str data, struct err *e);
/* Whether the archive may end here: between two entries. */
bool tar_complete(const struct tar_reader *r);

/* Where an entry goes: below the folder or file dest, in the arena. prefix: what all names must start with. 0;
 * -EINVAL when the name has not the prefix (the archive was tampered with); -EPERM when it would leave dest. */
int tar_place(struct arena *a, struct str dest, struct str prefix, struct str name, struct str *ret);
/* A path without ".", "..", double and trailing slashes, as far as its text tells (Go's path.Clean). */
struct str path_clean(struct arena *a, struct str path);
