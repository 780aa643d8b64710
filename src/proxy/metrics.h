/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy's figures, under kube-proxy's names. */
#pragma once

#include "base/time.h"
#include "proxy/backend.h"

enum { METRIC_SYNC_BUCKETS = 15, METRIC_PROGRAMMING_BUCKETS = 80 };

struct metric_histogram {
    uint64_t counts[METRIC_PROGRAMMING_BUCKETS + 1]; /* the last: beyond all */
    uint64_t n;
    double sum;
};

struct metrics_side {
    const char *family; /* "IPv4", "IPv6"; NULL: this side does not run */
    struct metric_histogram sync, full, partial, programming, conntrack;
    struct wall last_sync, last_queued;
    uint64_t conntrack_ended;
    size_t no_local_internal, no_local_external;
    struct backend_figures backend;
};

struct metrics {
    const char *mode;
    struct metrics_side sides[2];
    size_t services_pending, endpoints_pending;
    uint64_t services, endpoints; /* changes so far */
    uint64_t healthz[2], livez[2]; /* answered 200, 503 */
};

void proxy_metrics_sync(struct metric_histogram *h, int64_t ns);        /* 1 ms, 2 ms ... 16 s */
void proxy_metrics_programming(struct metric_histogram *h, int64_t ns); /* a quarter of a second to five minutes */
void proxy_metrics_write(const struct metrics *m, struct buf *b);
