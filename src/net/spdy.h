/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SPDY/3.1 framing over a stream, as far as Kubernetes uses it after "Upgrade: SPDY/3.1" (exec, attach,
 * port-forward) and as moby/spdystream behaves: no flow control windows (WINDOW_UPDATE and SETTINGS are
 * ignored, none are sent), back pressure by not reading the connection while a stream's buffer is full, data
 * that comes before the reply to its stream may be dropped by the peer, a reset of a stream after its reply
 * ends it like FIN.
 */
#pragma once

#include "base/fiber.h"
#include "net/http.h"

struct spdy_conn;
struct spdy_stream;

/* Takes the stream and starts a reading fiber. server: we accepted the upgrade (our streams have even
 * numbers). */
struct spdy_conn *spdy_new(struct stream *stream, bool server);
/* Opens a stream with these headers (names lower-cased on the way). fin: we will send nothing on it. */
int spdy_open(struct spdy_conn *c, const struct http_headers *headers, bool fin, struct mono deadline,
              struct spdy_stream **ret);
/* The next stream the peer opened. -EPIPE when the connection has ended. Answer with spdy_reply() or
 * spdy_reset(). */
int spdy_accept(struct spdy_conn *c, struct mono deadline, struct spdy_stream **ret);
int spdy_reply(struct spdy_stream *s, const struct http_headers *headers, bool fin);
int spdy_wait_reply(struct spdy_stream *s, struct mono deadline); /* until the peer replied to our stream */
const struct http_headers *spdy_headers(const struct spdy_stream *s); /* of SYN_STREAM (received or sent) */

/* 0 at FIN and after a reset; -EPIPE when the connection was lost. */
ssize_t spdy_read(struct spdy_stream *s, void *p, size_t n, struct mono deadline);
int spdy_write(struct spdy_stream *s, struct str data, struct mono deadline);
int spdy_close_write(struct spdy_stream *s); /* FIN */
void spdy_reset(struct spdy_stream *s);      /* RST_STREAM (CANCEL) */
/* Gives the stream up; resets it unless both sides have ended. */
void spdy_stream_free(struct spdy_stream *s);
/* A byte stream view; takes s. */
struct stream *spdy_stream_of(struct spdy_stream *s);

int spdy_ping(struct spdy_conn *c, struct mono deadline); /* waits for the answer */
bool spdy_gone(const struct spdy_conn *c);
int spdy_wait_gone(struct spdy_conn *c, struct mono deadline);
void spdy_goaway(struct spdy_conn *c);
void spdy_abort(struct spdy_conn *c); /* wakes everybody with -EPIPE */
void spdy_free(
    struct spdy_conn *c); /* ends the reading fiber and the stream; spdy_streams must have been freed */

/* ---- the pure part, for tests and fuzzing ----------------------------------------------------------------
 */

/* Reads a decompressed header block into the arena: 0 or -EPROTO. */
int spdy_parse_headers(struct arena *a, struct str block, struct http_headers *ret);
void spdy_write_headers(struct buf *b, const struct http_headers *h);
