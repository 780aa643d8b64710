/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data plane: threads, each with a loop, listeners and connections of its own, that serve requests by the table they were
 * given last. A request keeps the table it began with, so nothing that changes drops a connection.
 */
#pragma once

#include "ingress/table.h"

struct plane_config {
    const char *http, *https; /* addresses: "0.0.0.0:80", ":443" (all, of both families), "[::1]:0"; NULL: none */
    int64_t public_https_port; /* that redirects name; 0: that of https */
    unsigned threads;          /* 0: one a processor, at most 8 */
    struct prefixes trusted;   /* proxies before us whose X-Forwarded-* headers are believed */
    int64_t header_timeout;    /* ns from a request's first byte to the end of its headers; 0: 10 s */
    int access_log;            /* file descriptor; -1: none */
    struct counts *no_rule;    /* outlives the plane */
};

struct plane;
/* Listens, then serves. -EADDRINUSE and the like with a sentence. Takes a reference of the table. */
int plane_start(const struct plane_config *c, struct table *table, struct plane **ret, struct err *e);
void plane_set(struct plane *p, struct table *table); /* takes a reference */
/* The ports that were bound; 0 for none. */
void plane_ports(const struct plane *p, int *ret_http, int *ret_https);
unsigned plane_connections(const struct plane *p);
/* Requests in flight get 5 s. Waits. */
void plane_stop(struct plane *p);

/* "1.2.3.4", "fd00::1" of a peer's "1.2.3.4:567", "[::ffff:1.2.3.4]:567"; pure. */
void peer_address(const char *peer, char ret[static IP_TEXT_MAX]);
