/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC over HTTP/2: client (CRI, CSI, etcd, device plugins) and a server (device plugin registration, fake
 * runtimes in tests). Messages are values walked by wire/proto.h; methods are tables (struct grpc_method,
 * made by gen/). No compression.
 */
#pragma once

#include "net/http.h"
#include "wire/schema.h"

struct grpc_method; /* wire/schema.h: path, request and response type */

enum grpc_code {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};
const char *grpc_code_name(int code); /* "NotFound", as Go prints it */

struct grpc_client_config {
    const char *address;     /* "unix:/run/containerd/containerd.sock", "127.0.0.1:2379", "host:port" */
    struct tls_client *tls;  /* NULL: plain */
    const char *authority;   /* NULL: "localhost" for unix sockets, else the address */
    size_t max_message;      /* [16 MiB] largest message taken */
    int64_t connect_timeout; /* [10 s] */
    const struct http_header *metadata; /* sent with every call (copied), e.g. etcd's token */
    size_t n_metadata;
};

struct grpc_client;
/* Connects lazily, and again after losing the connection; never fails. */
struct grpc_client *grpc_client_new(const struct grpc_client_config *config);
void grpc_client_free(struct grpc_client *c);

/* One request, one response (in the arena). Outcomes of this and all below: 0; positive: an enum grpc_code,
 * with the server's message in e (connection trouble is GRPC_UNAVAILABLE, a passed deadline
 * GRPC_DEADLINE_EXCEEDED); -ECANCELED when this fiber was cancelled. */
int grpc_call(struct grpc_client *c, const struct grpc_method *m, const struct val *request,
              struct mono deadline, struct arena *a, const struct val **ret, struct err *e);

struct grpc_stream;
/* Opens a stream of any kind. request, when not NULL, is sent; for server streaming it also ends our side. */
int grpc_stream_open(struct grpc_client *c, const struct grpc_method *m, const struct val *request,
                     struct mono deadline, struct grpc_stream **ret, struct err *e);
int grpc_stream_send(struct grpc_stream *s, const struct val *message, struct mono deadline);
int grpc_stream_close_send(struct grpc_stream *s);
/* 0 with *ret the next message in the arena; 0 with *ret NULL when the server ended with status OK. */
int grpc_stream_recv(struct grpc_stream *s, struct mono deadline, struct arena *a, const struct val **ret,
                     struct err *e);
void grpc_stream_abort(struct grpc_stream *s); /* wakes another fiber's recv with GRPC_CANCELLED */
void grpc_stream_free(struct grpc_stream *s);  /* cancels unless ended; NULL is fine */

/* ---- server ----------------------------------------------------------------------------------------------
 */

struct grpc_exchange;

/* Handles one call: reads messages, writes messages, returns a status code, with its message in e. */
typedef int grpc_handler(void *ctx, struct grpc_exchange *g, struct err *e);

struct grpc_service {
    const struct grpc_method *method;
    grpc_handler *handler;
};

/* An http_handler: pass a struct grpc_server as http_server_config.ctx. Unknown paths answer UNIMPLEMENTED.
 */
struct grpc_server {
    const struct grpc_service *services; /* ends with method NULL */
    void *ctx;
    size_t max_message; /* [16 MiB] */
};
void grpc_serve(void *grpc_server, struct http_exchange *x);

struct arena *grpc_arena(struct grpc_exchange *g);
/* 0 with a message; 0 with *ret NULL at the end of the client's side; positive: a code to return. */
int grpc_recv(struct grpc_exchange *g, struct mono deadline, const struct val **ret);
/* The one message of a unary or server-streaming call. */
int grpc_recv_request(struct grpc_exchange *g, const struct val **ret);
int grpc_send(struct grpc_exchange *g, const struct val *message);
struct http_exchange *grpc_http(struct grpc_exchange *g); /* for http_wait_gone, metadata */
