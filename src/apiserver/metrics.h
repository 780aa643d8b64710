/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of the server, shown at /metrics under upstream's names. */
#pragma once

#include "apiserver/hook_metrics.h"
#include "apiserver/metric.h"
#include "base/map.h"
#include "base/time.h"

struct request;
struct apiserver;

struct metrics {
    struct map requests; /* labels of apiserver_request_total to struct metric_row */
    struct hook_metrics hooks;
    struct metric_set set;
};

enum metrics_stage { METRICS_AUTHENTICATION, METRICS_IMPERSONATION, METRICS_FAIRNESS, METRICS_AUTHORIZATION };
/* A stage that began then has ended with that outcome. */
void metrics_stage(struct metrics *m, const struct request *r, enum metrics_stage stage, int e, struct mono begun);

void metrics_request(struct metrics *m, const struct request *r);
void metrics_write(struct apiserver *s, struct buf *b);
void metrics_done(struct metrics *m);
