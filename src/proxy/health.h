/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What balancers ask: is this node a good place to send traffic to? /healthz and /livez tell of the proxy, each
 * health-check node port of one Service's endpoints on this node. And the page of figures.
 */
#pragma once

#include "proxy/metrics.h"
#include "proxy/proxy.h"

struct health_side {
    const char *family; /* NULL: does not run */
    bool queued;        /* changes wait since then */
    struct mono queued_at;
    struct wall updated; /* 0: not yet */
};

struct health {
    struct health_side sides[2];
    int64_t timeout_ns; /* changes that wait longer are a fault */
    bool node_known, node_going; /* going: is being deleted, or is to be (the autoscaler's taint) */
    struct metrics *metrics;
    struct str configz;
    const struct flag_text *flags; /* client/zpages.h */
    struct mono started;
    const char *mode;
    struct http_server *healthz, *pages;
    struct map ports[2]; /* "ns/name" -> struct health_port * */
};

void health_queued(struct health *h, int side, struct mono now);
/* more: changes came while it was written, none of them before `since`. */
void health_updated(struct health *h, int side, struct wall now, bool more, struct mono since);
bool health_alive(const struct health *h, struct mono now); /* no changes wait for too long */
/* The answer to /healthz (whole) or /livez, as JSON; the HTTP status is returned. */
int health_answer(const struct health *h, bool whole, struct mono now, struct wall wall, struct buf *b);
/* The answer of a health-check port. */
int health_port_answer(struct str ns, struct str name, size_t endpoints, bool alive, struct buf *b);

/* Opens the addresses that the configuration names. */
int health_open(struct health *h, const struct proxy_config *c, struct err *e);
/* Brings a Service's port and number of endpoints on this node up to date; port 0 closes. ips: where to listen, n 0:
 * everywhere. */
void health_port_set(struct health *h, int side, struct str key, uint16_t port, size_t endpoints, const struct ips *ips);
/* Calls fn with each port that somebody else had when it was set: setting it again tries once more. fn sets nothing. */
void health_each_deaf(const struct health *h, int side, void (*fn)(void *arg, struct str key, uint16_t port, size_t endpoints), void *arg);
void health_close(struct health *h);
