/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte stream: a socket, TLS over a socket, a tunnel inside a WebSocket, or a pair in memory. Everything
 * above (HTTP, SPDY, gRPC) speaks to this and cannot tell which.
 *
 * At any time one fiber may read and another may write. stream_abort() may be called by anybody: it makes
 * every present and later read and write fail. stream_free() ends the stream; nobody may be inside a call on
 * it then.
 */
#pragma once

#include "base/os.h"

struct stream;
struct tls_peer;

struct stream_ops {
    /* Bytes read (0 at the end) or -EAGAIN instead of waiting. */
    ssize_t (*try_read)(struct stream *s, void *p, size_t n);
    /* Bytes taken (at least 1) or -EAGAIN. After -EAGAIN the next call must offer the same bytes first. */
    ssize_t (*try_write)(struct stream *s, const void *p, size_t n);
    /* Waits until trying again makes sense. events is OS_READABLE or OS_WRITABLE. 0 or -errno. */
    int (*wait)(struct stream *s, int events, struct mono deadline);
    int (*shutdown)(struct stream *s);
    void (*abort)(struct stream *s);
    void (*free)(struct stream *s);
};

struct stream {
    const struct stream_ops *ops;
    const struct tls_peer *tls; /* NULL unless TLS */
    struct buf unread;          /* bytes given back: read before anything else */
    bool aborted;
};

/* A stream of a connected socket; takes the fd. */
struct stream *stream_of_fd(int fd);
/* Two streams, each reading what the other writes; each direction holds at most cap bytes. */
void stream_pair(size_t cap, struct stream *ret[2]);
/* Connects to an address as os_connect() takes it. */
int stream_connect(const char *address, struct mono deadline, struct stream **ret);

/* At least one byte, 0 at the end of the stream, or -errno. */
ssize_t stream_read(struct stream *s, void *p, size_t n, struct mono deadline);
/* Exactly n bytes: 0, -ENODATA when the stream ended at once, -EPIPE when it ended in between, or -errno. */
int stream_read_full(struct stream *s, void *p, size_t n, struct mono deadline);
/* All of it: 0 or -errno. After an error how much was taken is unknown. */
int stream_write(struct stream *s, const void *p, size_t n, struct mono deadline);
ssize_t stream_try_read(struct stream *s, void *p, size_t n);
ssize_t stream_try_write(struct stream *s, const void *p, size_t n);
int stream_wait(struct stream *s, int events, struct mono deadline);
void stream_unread(struct stream *s, const void *p, size_t n); /* the next read gives these first */
int stream_shutdown(struct stream *s);                         /* no more writing; reading goes on */
void stream_abort(struct stream *s);
void stream_free(struct stream *s); /* NULL is fine */

/* Copies both ways until both directions have ended, one fails, or nothing moved for idle ns (0: no limit).
 * An end of one direction is passed on with stream_shutdown(). Waits; 0 or the first error. Frees neither. */
int stream_splice(struct stream *a, struct stream *b, int64_t idle);
