/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind http.h share. Private to net/. */
#pragma once

#include "net/h1.h"
#include "net/http.h"

/* Headers being collected; memory from an arena. */
struct http_fields {
    struct http_header *items;
    size_t n, cap;
};

bool http_name_ok(struct str name);   /* a token (RFC 9110 section 5.6.2) */
bool http_value_ok(struct str value); /* no CR, LF, NUL */
/* Copies both; lower: name in lower case. */
void http_fields_add(struct arena *a, struct http_fields *f, struct str name, struct str value, bool lower);
struct str http_fields_get(const struct http_fields *f, const char *lower_name); /* any case */
char *http_date(char ret[static 32]);
bool http_fold_eq(struct str a, struct str b); /* equal but for ASCII case */
void http_put_header(struct buf *b, const struct http_header *h); /* "name: value" and the line's end */
/* May a header of that name be sent by callers? Not those that frame messages or belong to one connection. */
bool http_is_hop_header(struct str lower_name);

/* As stream_write, but gives up (-ETIMEDOUT) also when nothing was taken for stall ns. */
int http_stream_write(struct stream *s, const void *p, size_t n, struct mono deadline, int64_t stall);
static inline struct mono mono_min(struct mono a, struct mono b)
{
    return a.ns < b.ns ? a : b;
}
/* Room for bytes on their way from a socket to a parser. One a thread: do not wait while using it. */
enum { HTTP_SCRATCH = 16384 };
char *http_scratch(void);

/* ---- server ---------------------------------------------------------------------------------------------
 */

struct exchange;

struct exchange_ops {
    ssize_t (*read)(struct exchange *ex, void *p, size_t n, struct mono deadline);
    /* Sends status and headers, and the first (end: only) piece of the body. length: of the whole, -1
     * unknown. */
    int (*start)(struct exchange *ex, int64_t length, struct str piece, bool end);
    int (*write)(struct exchange *ex, struct str piece, struct mono deadline);
    int (*end)(struct exchange *ex);
    void (*abort)(struct exchange *ex);
    void (*watch)(struct exchange *ex); /* begin to look whether the client goes */
    int (*hijack)(struct exchange *ex, struct stream **ret);
    void (*close_after)(struct exchange *ex);
};

struct exchange {
    struct http_exchange x;
    const struct exchange_ops *ops;
    struct http_server *server;
    struct list link; /* server->exchanges */
    struct http_fields headers, trailers;
    struct waitq gone_q, *notify;
    int64_t length; /* declared, -1 unknown */
    bool gone, started, ended, broken, hijacked;
    bool bodyless; /* HEAD, 204, 304: the body is counted and thrown away */
};

struct server_conn {
    struct http_server *server;
    struct list link; /* server->conns */
    struct stream *stream;
    char peer[64];
    int fd; /* before the stream is there */
    void (*drain)(
        struct server_conn *c); /* finish what is running, take nothing new; NULL: nothing runs yet */
    void *proto;
    bool draining;
};

struct http_server {
    struct http_server_config config;
    struct list listeners, conns, exchanges;
    struct group acceptors, fibers;
    unsigned n_conns;
    uint64_t tls_failures;
    struct waitq conns_q;
    bool stopping;
};

void exchange_init(struct exchange *ex, struct server_conn *c, const struct exchange_ops *ops);
/* Splits target, runs the handler, completes the response. */
void exchange_run(struct exchange *ex);
void exchange_gone(struct exchange *ex);
void exchange_done(struct exchange *ex);

void h1_serve(struct server_conn *c, const char *early, size_t n);
void h2_serve(struct server_conn *c, const char *early, size_t n);
