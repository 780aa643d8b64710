/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.x messages out of bytes: llhttp, and on top of it the strictness it lacks. No I/O, no waiting: bytes
 * are fed in, heads and bodies come out. Private to net/.
 *
 * Stricter than llhttp, because what two parsers read differently is what request smuggling is made of: a
 * bare CR or LF in a head, a Transfer-Encoding other than exactly "chunked" or together with Content-Length
 * or in HTTP/1.0, more than one Host, none in HTTP/1.1, an empty or spaced target, versions other than 1.0
 * and 1.1.
 */
#pragma once

#include "net/http.h"

#include <llhttp.h>

enum h1_fault {                  /* positive outcomes of h1_feed */
                H1_BAD = 1,      /* 400 */
                H1_TOO_LARGE,    /* 431 */
                H1_BAD_ENCODING, /* 501 */
                H1_BAD_VERSION,  /* 505 */
};

struct h1_span {
    size_t name, name_n, value, value_n; /* offsets into text */
};

struct h1 {
    llhttp_t parser;
    size_t max_head;
    bool request;
    bool no_body;         /* response to HEAD: set before feeding */
    bool head_done, done; /* done: the whole message was read */
    bool upgrade;         /* what follows is another protocol */
    enum h1_fault fault;
    /* head */
    char method[32];            /* a method that llhttp does not know; else empty */
    struct buf target;          /* request target, or reason phrase */
    struct buf text;            /* names and values */
    struct h1_span *spans, now; /* now: the one being read */
    size_t n_spans, cap_spans, n_trailers;
    bool in_name, keep_alive;
    char last;        /* last byte of the head looked at: for bare CR and LF */
    unsigned matched; /* bytes of the CR LF CR LF that ends the head */
    bool begun;       /* empty lines before the first line do not count */
    /* body */
    struct buf body; /* decoded, not yet taken */
    char *into;      /* body bytes go here first, */
    size_t into_n;   /* as long as there is room */
};

void h1_init(struct h1 *h, bool request, size_t max_head);
void h1_next(struct h1 *h); /* ready for the next message of the same connection */
void h1_done(struct h1 *h);

/* Feeds bytes; *ret_used tells how many belong to this message. 0, or a fault. Stops right after the message.
 */
int h1_feed(struct h1 *h, const char *p, size_t n, size_t *ret_used);
/* The connection ended: 0 when that is a proper end of the message, else H1_BAD. */
int h1_feed_eof(struct h1 *h);

const char *h1_method(const struct h1 *h);
int h1_version(const struct h1 *h); /* 10 or 11 */
bool h1_keep_alive(const struct h1 *h);
int64_t h1_content_length(const struct h1 *h); /* -1 unknown */
/* Names in lower case, copied into the arena. trailers: those after the body. */
struct http_headers h1_headers(const struct h1 *h, struct arena *a, bool trailers);
