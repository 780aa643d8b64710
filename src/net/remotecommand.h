/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec, attach and port-forward over either of their carriers, as one set of named byte channels.
 *
 *   WebSocket  v5.channel.k8s.io, v4.channel.k8s.io, channel.k8s.io (v1) and their base64. forms: a message's
 *              first byte is the channel; v5 adds "close channel" (255, channel).
 *   SPDY/3.1   v4.channel.k8s.io .. v1 by X-Stream-Protocol-Version: one SPDY stream a channel, named by the
 *              header streamType.
 *   port-forward  "portforward.k8s.io" over SPDY, or the same tunnelled in a WebSocket
 *              (SPDY/3.1+portforward.k8s.io), or WebSocket v4.channel.k8s.io with ports in the query.
 *
 * The session ends with the error channel: a metav1.Status as JSON (v4, v5), or plain text (older).
 */
#pragma once

#include "net/http.h"

enum rc_channel { RC_STDIN, RC_STDOUT, RC_STDERR, RC_ERROR, RC_RESIZE, RC_CHANNELS };

/* Which channels take part: bit 1 << RC_x. RC_ERROR always does; a TTY has RC_RESIZE (if asked) and no
 * RC_STDERR. */
struct rc_options {
    bool stdin_, stdout_, stderr_, tty;
};
/* From the query (stdin, stdout, stderr, tty; old clients: input, output, error): 0 or -EINVAL with the
 * sentence upstream gives ("you must specify at least 1 of stdin, stdout, stderr"). */
int rc_options_parse(struct arena *a, struct str query, struct rc_options *ret, struct err *e);

struct rc_session;

/* Server: negotiates, answers the upgrade and waits until the client has opened its channels. 0; -EPROTO
 * after it has answered the refusal itself; -ETIMEDOUT, -EPIPE after the upgrade. */
int rc_accept(struct http_exchange *x, const struct rc_options *o, struct mono deadline,
              struct rc_session **ret, struct err *e);
/* Client. HTTP_NO_UPGRADE: *ret_call holds the server's other answer (a Status); it is to be freed in any
 * case. websocket: try v5 over WebSocket (kubectl's default since 1.31), else SPDY. r's url has the whole
 * query. */
int rc_connect(struct http_client *c, const struct http_request *r, const struct rc_options *o,
               bool websocket, struct mono deadline, struct rc_session **ret, struct http_call **ret_call,
               struct err *e);
const char *rc_protocol(const struct rc_session *s); /* "v5.channel.k8s.io" */

/* Bytes of an incoming channel: at least one, 0 at its end (also for channels that do not take part), -EPIPE
 * when the session broke, or -errno. Each channel may be read by a fiber of its own. */
ssize_t rc_read(struct rc_session *s, enum rc_channel ch, void *p, size_t n, struct mono deadline);
int rc_write(struct rc_session *s, enum rc_channel ch, struct str data, struct mono deadline);
/* No more of that channel. Over v4 and older WebSockets the peer cannot be told (no message exists). */
int rc_close_channel(struct rc_session *s, enum rc_channel ch);
/* Next terminal size (server): 0, -ENODATA at the end. */
int rc_read_resize(struct rc_session *s, uint16_t *ret_width, uint16_t *ret_height, struct mono deadline);
int rc_write_resize(struct rc_session *s, uint16_t width, uint16_t height, struct mono deadline);
/* Server, last act: writes the outcome to the error channel, closes all channels, waits briefly for the peer.
 * status_json: a metav1.Status, `{"metadata":{},"status":"Success"}`. Older protocols get `text` when it
 * failed. */
int rc_finish(struct rc_session *s, struct str status_json, struct str text);
/* Client: the whole outcome (Status JSON or text; empty: success), after the error channel's end. */
int rc_read_outcome(struct rc_session *s, struct arena *a, struct str *ret, struct mono deadline);
void rc_abort(struct rc_session *s); /* wakes everybody with -EPIPE */
void rc_free(struct rc_session *s);

/* API server: carries every channel of a client's session to a backend's session and back, until both ended.
 * For when the two speak different carriers (client WebSocket v5, kubelet SPDY v4). */
int rc_bridge(struct rc_session *client, struct rc_session *backend);

/* ---- port-forward ----------------------------------------------------------------------------------------
 */

struct pf_session;

/* One forwarded connection. */
struct pf_pair {
    uint16_t port;
    char id[32]; /* request id, "" when the client sent none */
    struct stream *data;
    struct stream *error; /* the server writes a sentence here on failure and closes it; reads nothing */
};

/* Server: as rc_accept, for any of the three carriers. */
int pf_accept(struct http_exchange *x, struct pf_session **ret, struct err *e);
/* The next connection a client wants: 0 and its pair (taken by the caller), -EPIPE when the session is over.
 */
int pf_next(struct pf_session *s, struct mono deadline, struct pf_pair *ret);
/* Client. */
int pf_connect(struct http_client *c, const struct http_request *r, bool websocket, struct mono deadline,
               struct pf_session **ret, struct http_call **ret_call, struct err *e);
int pf_open(struct pf_session *s, uint16_t port, struct mono deadline, struct pf_pair *ret);
bool pf_gone(const struct pf_session *s);
int pf_wait_gone(struct pf_session *s, struct mono deadline);
void pf_pair_done(struct pf_pair *p);
void pf_abort(struct pf_session *s);
void pf_free(struct pf_session *s); /* pairs must be done */

/* Serves one pair: copies between data and a connected stream, reports on the error stream. fault: text when
 * there is no connection (backend NULL). Both streams are freed with pf_pair_done by the caller. */
int pf_serve(struct pf_pair *p, struct stream *backend, const char *fault);

/* API server: a client's tunnelled port-forward (WebSocket SPDY/3.1+portforward.k8s.io) towards a backend
 * that speaks SPDY only; r is the backend request. As http_proxy: -errno when nothing was answered yet. */
int pf_tunnel(struct http_exchange *x, struct http_client *c, const struct http_request *r, struct err *e);
bool pf_tunnel_wanted(const struct http_exchange *x);
