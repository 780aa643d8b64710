/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket (RFC 6455), server and client. Fragments are put together, pings answered, control frames handled
 * inside websocket_read(). No extensions.
 */
#pragma once

#include "net/http.h"

struct websocket;

enum websocket_opcode { WS_TEXT = 1, WS_BINARY = 2 };

struct websocket_message {
    enum websocket_opcode opcode;
    struct str data; /* valid until the next read */
};

/* Is this request a WebSocket handshake? */
bool websocket_wanted(const struct http_exchange *x);
/* Answers the handshake with the first of our protocols (NULL-terminated, best first; NULL: any, none chosen)
 * that the client offers. 0; or -EPROTO after having answered 400 itself (bad handshake, no common protocol).
 */
int websocket_accept(struct http_exchange *x, const char *const *protocols, struct websocket **ret,
                     struct err *e);
/* The client's handshake. HTTP_NO_UPGRADE: *ret_call holds the other answer. *ret_call is always to be freed.
 */
int websocket_connect(struct http_client *c, const struct http_request *r, const char *const *protocols,
                      struct mono deadline, struct websocket **ret, struct http_call **ret_call,
                      struct err *e);
/* For a stream (taken) after the handshake was done elsewhere. client: frames must be masked by us. */
struct websocket *websocket_of_stream(struct stream *stream, bool client, const char *protocol);

const char *websocket_protocol(const struct websocket *w); /* "" for none */
void websocket_set_max(struct websocket *w, size_t max);   /* largest message taken; default 4 MiB */

/* 0 with a message; -ENODATA when the peer closed in order; -EPIPE, -EPROTO, -EMSGSIZE, -ETIMEDOUT ... */
int websocket_read(struct websocket *w, struct websocket_message *ret, struct mono deadline);
int websocket_write(struct websocket *w, enum websocket_opcode opcode, struct str data, struct mono deadline);
/* As websocket_write for a message whose first byte is `first` (Kubernetes channels). */
int websocket_write_channel(struct websocket *w, uint8_t first, struct str data, struct mono deadline);
int websocket_ping(struct websocket *w, struct mono deadline);
struct mono websocket_last_heard(const struct websocket *w); /* when anything last came in */
/* Sends a close frame once. 1000 is the normal code. */
int websocket_close(struct websocket *w, unsigned code, const char *reason, struct mono deadline);
void websocket_abort(struct websocket *w); /* wakes readers and writers with an error */
void websocket_free(struct websocket *w);

/* A byte stream whose bytes travel as binary messages (KEP-4006 tunnelling); takes w. */
struct stream *websocket_stream(struct websocket *w);

/* ---- the pure part: frames, for tests and fuzzing --------------------------------------------------------
 */

struct websocket_frame {
    bool fin, masked;
    uint8_t rsv, opcode;
    uint8_t mask[4];
    uint64_t length;
};
/* Parses a frame's header: its size (2 to 14), 0 when more bytes are needed, -EPROTO when it breaks the
 * rules. */
int websocket_parse_frame(const uint8_t *p, size_t n, struct websocket_frame *ret);
