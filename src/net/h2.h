/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/2 connection over a stream, for either side: nghttp2 does the protocol, this moves its bytes and
 * gives each HTTP/2 stream a face that fibers can wait at. Private to net/.
 *
 * One fiber of the owner calls h2_pump() in a loop. Whoever has produced something calls h2_flush(): it
 * writes without waiting; when the socket is full a writing fiber takes over until it is drained. Callbacks
 * of nghttp2 never wait, so nghttp2 is never entered twice.
 */
#pragma once

#include "net/http-internal.h"

#include <nghttp2/nghttp2.h>

struct h2;

struct h2_stream {
    struct h2 *h2;
    struct list link; /* h2->streams */
    int32_t id;
    void *owner;
    struct arena *arena; /* where received headers go */
    struct http_fields fields, received_trailers;
    size_t header_bytes;
    bool head_done; /* the (final) head was received */
    bool too_large; /* head beyond the limit */
    struct buf in;  /* received body, not yet read */
    size_t in_at;   /* of which this much was read */
    bool in_end;    /* the peer has ended its side */
    struct str out; /* piece being sent; belongs to a waiting writer */
    bool out_end;   /* nothing follows it */
    bool out_done;  /* the end was handed to nghttp2 */
    bool deferred;
    const struct http_fields *trailers; /* to send at the end */
    bool closed;
    uint32_t error; /* HTTP/2 error code it was closed with */
    bool aborted;   /* by our side */
    struct waitq q; /* woken at each change */
};

struct h2_role {
    /* Server: the peer opened a stream; NULL refuses it. */
    struct h2_stream *(*open)(struct h2 *h, int32_t id);
    void (*head)(struct h2_stream *s);   /* the head is complete */
    void (*closed)(struct h2_stream *s); /* the stream has closed (no frame will come or go) */
};

enum { H2_ENDED_MAX = 16 };

struct h2 {
    nghttp2_session *session;
    struct stream *stream;
    const struct h2_role *role;
    void *owner;
    struct list streams;
    unsigned n_streams; /* not freed yet */
    struct buf out;     /* bytes on their way */
    struct afterwards send; /* writes them, when all that is ready has added to them */
    size_t out_at;
    struct group writer;
    bool writing, broken, server, got_goaway, got_settings;
    int32_t last_opened;           /* server: the highest stream of the peer's */
    int32_t ended[H2_ENDED_MAX];   /* server: streams that the peer has ended or reset of late, negative: passed over; a ring */
    unsigned n_ended;
    uint8_t head[9]; /* server: of the frame that begins, and what is left of the one before */
    unsigned n_head, skip;
    int error; /* why broken */
    size_t max_header_bytes;
    int64_t write_timeout, ping_after, ping_timeout;
    struct mono heard;  /* when bytes last came in */
    struct mono pinged; /* 0: no ping is out */
};

struct h2_config {
    bool server;
    uint32_t max_streams; /* that the peer may open */
    uint32_t stream_window, connection_window;
    size_t max_header_bytes;
    int64_t write_timeout, ping_after, ping_timeout;
};

/* Takes neither stream nor owner. Our SETTINGS go out with the first flush. */
void h2_init(struct h2 *h, struct stream *stream, const struct h2_config *c, const struct h2_role *role,
             void *owner);
/* Closes what is open (streams see an error), stops the writer. h2_streams must be done before or ended by
 * role. */
void h2_done(struct h2 *h);
int h2_feed(struct h2 *h, const char *p, size_t n);
/* Waits for bytes and handles them; sends pings for a silent peer when streams are open. 0; -ETIMEDOUT when
 * nothing came by the deadline; -EPIPE at the end, -errno. */
int h2_pump(struct h2 *h, struct mono deadline);
/* What nghttp2 has to say goes out when all fibers that are ready have had their turn, or at once when it is much. */
void h2_flush(struct h2 *h);
void h2_send(struct h2 *h); /* at once */
/* The connection is at its end: what was said before still goes if the socket takes it, and all are woken. */
void h2_break(struct h2 *h, int error);
bool h2_finished(const struct h2 *h);   /* neither side wants anything */

void h2_stream_init(struct h2_stream *s, struct h2 *h, int32_t id, struct arena *a, void *owner);
/* Forgets the stream: resets it with code unless it has closed or ended both ways. */
void h2_stream_done(struct h2_stream *s, uint32_t code);
ssize_t h2_stream_read(struct h2_stream *s, void *p, size_t n, struct mono deadline);
/* Sends a piece (and the end). Waits until nghttp2 took it. -EPIPE when the stream has closed. */
int h2_stream_write(struct h2_stream *s, struct str piece, bool end, struct mono deadline);
void h2_stream_reset(struct h2_stream *s, uint32_t code);
int h2_stream_error(
    const struct h2_stream *s); /* -EPIPE, -ECONNABORTED ... when closed before its time, else 0 */
nghttp2_data_provider h2_provider(struct h2_stream *s);
nghttp2_nv h2_nv(struct str name, struct str value);
