/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 and HTTP/2, server and client, behind one request and response: code that handles or makes a
 * request cannot tell the versions apart, except that upgrades (101) exist in HTTP/1.1 only.
 *
 * Server: one fiber a request runs the handler. The response is whole (http_respond) or streamed
 * (http_start, http_write ..., end at return). When the handler returns without having answered, 500 is sent.
 *
 * Client: a pool of connections (HTTP/2 by ALPN, else HTTP/1.1 with keep-alive), by scheme and authority or
 * unix socket. Redirects are never followed: a 3xx is an answer like any other.
 *
 * Header names that arrive are lower case in both versions. Names to send may have any case.
 */
#pragma once

#include "base/fiber.h"
#include "net/resolve.h"
#include "net/stream.h"
#include "net/tls.h"

struct http_header {
    struct str name, value;
};
struct http_headers {
    const struct http_header *items;
    size_t n;
};

/* The first header of that (lower case) name; .p is NULL when there is none. */
struct str http_header(const struct http_headers *h, const char *name);
/* Is token one of the comma-separated items of any header of that name (ignoring case)? */
bool http_header_has(const struct http_headers *h, const char *name, const char *token);
/* The standard phrase of a status ("Not Found"). */
const char *http_status_text(int status);

/* ---- server ---------------------------------------------------------------------------------------------
 */

/* One request and its response. Lives until the handler returns. */
struct http_exchange {
    struct arena arena;        /* for the handler's use, too; freed after the handler's return */
    struct str method, target; /* target as it was sent: "/api/v1/pods?watch=1" */
    struct str path, query;    /* raw parts of target before and after '?'; not decoded */
    struct str host;           /* Host or :authority */
    struct http_headers headers;
    int64_t content_length;     /* -1 unknown (chunked, or HTTP/2 without), 0 no body */
    int version;                /* 10, 11 or 20 */
    const char *peer;           /* "10.0.0.1:34567", "unix:" */
    const struct tls_peer *tls; /* NULL for plain */
    void *user;                 /* the handler's own */
    void (*started)(struct http_exchange *x); /* called when status is known, before it is sent; NULL: nobody asks */
    int status;                 /* of the response, 0 until it was started */
    uint64_t bytes_written;     /* body bytes of the response so far */
};

typedef void http_handler(void *ctx, struct http_exchange *x);

struct http_server_config {
    http_handler *handler;
    void *ctx;
    struct tls_server *tls; /* NULL: plain, HTTP/1.1 and h2c by prior knowledge. A reference is taken. */
    /* 0 means the default in brackets. */
    unsigned max_connections; /* [10000] further ones wait in the kernel's queue */
    unsigned max_streams;     /* [250] concurrent requests of one HTTP/2 connection */
    size_t max_header_bytes;  /* [65536] request line and headers: else 431 */
    int64_t
        header_timeout;   /* [32 s] from the first byte (or accept) to the end of the headers, TLS included */
    int64_t idle_timeout; /* [120 s] between requests, without open streams */
    int64_t write_timeout; /* [120 s] a peer that takes no byte for so long is gone */
};

struct http_server;
struct http_server *http_server_new(const struct http_server_config *config);
/* Starts accepting on an address (os_listen() form) in fibers of its own. May be called several times. */
int http_server_listen(struct http_server *s, const char *address, struct err *e);
/* As http_server_listen for a socket that listens already; takes the fd. */
void http_server_listen_fd(struct http_server *s, int fd);
/* Serves one plain stream (taken) in fibers of its own: in-process callers, tests. */
void http_server_serve(struct http_server *s, struct stream *stream, const char *peer);
/* The address of the first listener, e.g. to learn the port after ":0". */
int http_server_address(const struct http_server *s, char *ret, size_t size);
unsigned http_server_connections(const struct http_server *s);
uint64_t http_server_tls_failures(const struct http_server *s); /* handshakes so far that failed */
/* The first half of http_server_stop: no new connections, GOAWAY and "Connection: close" on those that stand. Waits for nothing that
 * is being answered. */
void http_server_drain(struct http_server *s);
/* Closes listeners, tells clients (GOAWAY, Connection: close), waits until the requests in flight have ended,
 * and at the deadline cancels the rest. 0, or -ETIMEDOUT when some had to be cancelled. */
int http_server_stop(struct http_server *s, struct mono deadline);
void http_server_free(struct http_server *s); /* stops at once when still running */

/* The body. At least one byte, 0 at its end, -EPIPE when the client went away before its end, or -errno. */
ssize_t http_read(struct http_exchange *x, void *p, size_t n, struct mono deadline);
/* The whole body in x->arena: 0, -EFBIG beyond max, or as http_read. */
int http_read_all(struct http_exchange *x, size_t max, struct mono deadline, struct str *ret);

/* Adds a header to the response; before http_start or http_respond. name and value are copied. CR, LF and NUL
 * in them are refused with -EINVAL. */
int http_add_header(struct http_exchange *x, const char *name, struct str value);
/* Adds a trailer; while a streamed body is open. Sent at the end (HTTP/1.1: when chunked). */
int http_add_trailer(struct http_exchange *x, const char *name, struct str value);
/* Sends a whole response. content_type may be NULL. Waits until all is taken. For HEAD the body is only
 * counted. 0 or -EPIPE when the client has gone. */
int http_respond(struct http_exchange *x, int status, const char *content_type, struct str body);
/* Starts a streamed response. content_length -1: unknown. Headers go out at once. */
int http_start(struct http_exchange *x, int status, const char *content_type, int64_t content_length);
/* Sends a piece, at once; waits until it was taken by the connection (flow control, socket). -EPIPE when the
 * client has gone, -ETIMEDOUT: the exchange is then broken and only good for http_abort(). Make pieces large.
 */
int http_write(struct http_exchange *x, struct str piece, struct mono deadline);
/* Ends the body; at the handler's return this happens by itself. */
int http_end(struct http_exchange *x);
/* The connection takes no further requests: HTTP/1.1 closes it after this answer ("Connection: close", before http_start),
 * HTTP/2 says GOAWAY and ends it after the requests in flight. */
void http_close_after(struct http_exchange *x);
/* Makes the client see a broken response: RST_STREAM, or the connection closed without the end of the body.
 */
void http_abort(struct http_exchange *x);

/* Has the client gone (connection lost, stream reset)? While nobody reads or writes, an HTTP/1.1 connection
 * is looked after only once one of the functions below was called, and only after the body was read to its
 * end. */
bool http_gone(const struct http_exchange *x);
int http_wait_gone(struct http_exchange *x, struct mono deadline); /* 0 when gone, -ETIMEDOUT, -ECANCELED */
/* Wakes q (one queue an exchange, NULL to end) when the client goes: `while (!event && !http_gone(x))
 * wait(q)`. */
void http_notify_gone(struct http_exchange *x, struct waitq *q);
/* Server stopping (http_server_stop was called): long requests (watches) should end. Also wakes the notify
 * queue. */
bool http_stopping(const struct http_exchange *x);

/* Takes over the connection of an HTTP/1.1 request: nothing has been answered, the caller writes what it
 * likes and frees the stream; bytes sent early by the client are in it. Positive HTTP_NO_UPGRADE on HTTP/2.
 * After it only x's request fields may be used. */
#define HTTP_NO_UPGRADE 1
int http_hijack(struct http_exchange *x, struct stream **ret);
/* Answers 101 with Upgrade: protocol, the headers added so far, and takes over the connection. */
int http_upgrade(struct http_exchange *x, const char *protocol, struct stream **ret);
/* Does the request ask for an upgrade to this protocol (ignoring case; NULL: to any)? */
bool http_wants_upgrade(const struct http_exchange *x, const char *protocol);

/* ---- client ---------------------------------------------------------------------------------------------
 */

struct http_client_config {
    struct tls_client *tls;  /* for https; NULL: verify by the system's roots. A reference is taken. */
    const char *server_name; /* name to verify instead of the URL's host (--tls-server-name); NULL: none */
    struct net_gate gate;    /* addresses that may be connected to; without: any */
    bool h2_prior;           /* http: is HTTP/2 without negotiation (gRPC) */
    /* 0 means the default in brackets. */
    unsigned max_conns;      /* [100] connections to one authority; more requests wait */
    size_t max_header_bytes; /* [262144] */
    int64_t connect_timeout; /* [30 s] with TLS handshake */
    int64_t idle_timeout;    /* [90 s] */
    int64_t ping_after;      /* [30 s] HTTP/2: ask whether a silent connection with open requests lives ... */
    int64_t ping_timeout;    /* [15 s] ... and give it up */
};

struct http_client;
struct http_client *http_client_new(const struct http_client_config *config);
/* Closes idle connections now and the others after their present requests: after certificates changed. */
void http_client_reset(struct http_client *c);
void http_client_free(struct http_client *c); /* cancels what is left; calls must have been freed */

struct http_request {
    const char *method;      /* NULL: "GET" */
    const char *url;         /* "https://10.0.0.1:6443/api?x=y", "http://localhost/v1" */
    const char *unix_socket; /* path to connect to instead of url's authority; NULL: none */
    const char *peer_cn;     /* the common name that the server's certificate must have besides; NULL: any */
    const struct http_header *headers;
    size_t n_headers;
    struct str body;        /* whole body, when stream_body is false */
    bool stream_body;       /* the caller sends it with http_call_write and http_call_end */
    int64_t content_length; /* of a streamed body; <= 0: unknown */
};

/* A request in flight and its response. */
struct http_call {
    struct arena arena;                    /* freed with the call */
    int status;                            /* of the response, 0 before */
    int version;                           /* 11 or 20 */
    struct http_headers headers, trailers; /* trailers: after the body's end */
    int64_t content_length;                /* -1 unknown */
    const struct tls_peer *tls;            /* of the server; NULL for plain */
};

/* Sends the request and waits for the response's status and headers. 0, or -errno with a sentence in e
 * (-ECONNREFUSED, -ETIMEDOUT, -ECANCELED, -EPROTO, -EPIPE ...). A request that an idle connection lost before
 * anything was answered is sent once more if that is safe. Free the call with http_call_free. */
int http_do(struct http_client *c, const struct http_request *r, struct mono deadline, struct http_call **ret,
            struct err *e);
/* The same in steps: with a streamed body, possibly reading while still writing (HTTP/2 only). */
int http_begin(struct http_client *c, const struct http_request *r, struct mono deadline,
               struct http_call **ret, struct err *e);
int http_call_write(struct http_call *call, struct str piece, struct mono deadline);
int http_call_end(struct http_call *call);
int http_call_wait(struct http_call *call, struct mono deadline, struct err *e); /* for status and headers */
/* At least one byte of the body, 0 at its end, -EPIPE when it was cut short, or -errno. */
ssize_t http_call_read(struct http_call *call, void *p, size_t n, struct mono deadline);
/* All (that is left) of the body in call->arena: 0, -EFBIG beyond max ... */
int http_call_read_all(struct http_call *call, size_t max, struct mono deadline, struct str *ret);
/* Another fiber's waits on this call end with -ECONNABORTED. */
void http_call_abort(struct http_call *call);
/* NULL is fine. Resets the stream or closes the connection unless the body was read to its end. */
void http_call_free(struct http_call *call);

/* An upgrade, always over a connection of its own that goes back to no pool: r must hold the Upgrade header's
 * value in `protocol`; Connection and Upgrade are added. 0: the server answered 101; *ret_stream is the raw
 * stream (taken by the caller) and *ret_call has status and headers. Positive HTTP_NO_UPGRADE: the server
 * answered something else, to be read from *ret_call as usual. */
int http_client_upgrade(struct http_client *c, const struct http_request *r, const char *protocol,
                        struct mono deadline, struct http_call **ret_call, struct stream **ret_stream,
                        struct err *e);

/* ---- both -----------------------------------------------------------------------------------------------
 */

struct http_proxy {
    struct http_client *client;
    const char *url;                   /* full URL of the backend */
    const char *unix_socket;           /* NULL: none */
    const char *peer_cn;               /* as in http_request */
    const struct http_header *headers; /* set or, with an empty value, removed on the way to the backend */
    size_t n_headers;
    bool no_upgrade; /* do not pass upgrades on */
    /* Changes response headers on the way back (location rewriting): returns the new value, or .p NULL to
     * drop it. */
    struct str (*response_header)(void *ctx, struct arena *a, struct str name, struct str value);
    /* Changes the body on the way back, when it says so by the answer's headers: its length is then unknown. The second
     * appends what a piece becomes; at the end it is called once more with an empty one. */
    bool (*response_filter)(void *ctx, const struct http_call *call);
    void (*response_piece)(void *ctx, struct str piece, bool end, struct buf *ret);
    void *ctx;
};
/* Passes the exchange on to a backend and its answer back, streamed both ways, hop-by-hop headers removed
 * (RFC 9110 section 7.6.1). Upgrades: bytes are copied both ways only after the backend has answered 101;
 * after any other answer the backend connection is closed (CVE-2018-1002105). 0 when an answer was passed on;
 * -errno when there was none: the exchange is then still unanswered and the caller says why. */
int http_proxy(struct http_exchange *x, const struct http_proxy *p, struct err *e);
