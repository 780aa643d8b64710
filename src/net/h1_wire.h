/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/1.x parser with the stream that feeds it: what server and client connections share. Private to
 * net/. */
#pragma once

#include "net/http-internal.h"

struct h1_wire {
    struct stream *stream; /* not owned */
    struct h1 h1;
    struct buf in; /* bytes not yet fed */
};

void h1_wire_done(struct h1_wire *w);
/* Feeds the parser from what is there, else from the stream without waiting. 1: fed something (or a fault,
 * see h1.fault); 0: end of the stream; -EAGAIN; -errno. */
int h1_wire_feed(struct h1_wire *w);
/* Until the head is complete: 0; a fault; -ENODATA when the stream ended before the first byte; -errno. The
 * deadline becomes first_byte + head_timeout once a byte came (0: stays). */
int h1_wire_head(struct h1_wire *w, struct mono deadline, int64_t head_timeout);
/* At least one byte of the body; 0 at its end; -EPROTO; -EPIPE when cut short; -ETIMEDOUT, -ECANCELED. */
ssize_t h1_wire_read(struct h1_wire *w, void *p, size_t n, struct mono deadline);
/* Gives back to the stream what was read beyond the message. */
void h1_wire_unread(struct h1_wire *w);
