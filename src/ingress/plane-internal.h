/* SPDX-License-Identifier: Apache-2.0 */
/* Between plane.c (threads, listeners) and forward.c (requests). */
#pragma once

#include "ingress/plane.h"
#include "net/http.h"

struct worker {
    struct plane *plane;
    pthread_t thread;
    bool running;
    int stop[2];      /* a byte here ends it */
    int fds[2];       /* listeners: plain, TLS; -1: none */
    pthread_mutex_t lock;
    struct table *table; /* under lock */
    atomic_uint connections;
    /* within its thread */
    struct http_client *clients[3]; /* by enum protocol */
    struct map bad;                 /* address -> struct mono * until which it is not asked */
};

struct plane {
    struct plane_config config;
    struct worker *workers;
    unsigned n;
    int http_port, https_port;
    struct tls_keypair fallback; /* for names that nobody serves */
    struct buf cert, key;
};

struct table *worker_table(struct worker *w); /* a reference */
void serve_request(void *worker, struct http_exchange *x);
