/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of the server, shown at /metrics under upstream's names. */
#pragma once

#include "apiserver/hook_metrics.h"
#include "base/map.h"

struct request;
struct apiserver;

struct metrics {
    struct map requests; /* labels of apiserver_request_total to struct metric_row */
    struct hook_metrics hooks;
};

void metrics_request(struct metrics *m, const struct request *r);
void metrics_write(struct apiserver *s, struct buf *b);
void metrics_done(struct metrics *m);
