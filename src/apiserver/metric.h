/* SPDX-License-Identifier: Apache-2.0 */
/* Families of counters, gauges and histograms under upstream's names, each a row for its labels. What stands in the table of metric.c
 * is all there is; memory is bounded by rows. */
#pragma once

#include "base/map.h"

enum metric {
    METRIC_USER_REQUESTS,
    METRIC_FILTER_SECONDS,
    METRIC_CERTIFICATE_SECONDS,
    METRIC_BODY_BYTES,
    METRIC_FIELD_VALIDATION_SECONDS,
    METRIC_ADMISSION_STEP_SECONDS,
    METRIC_ADMISSION_PLUGIN_SECONDS,
    METRIC_POD_SECURITY,
    METRIC_STORE_REQUESTS,
    METRIC_STORE_SECONDS,
    METRIC_LISTS,
    METRIC_LIST_FETCHED,
    METRIC_LIST_EVALUATED,
    METRIC_LIST_RETURNED,
    METRIC_WATCH_EVENTS,
    METRIC_WATCH_BYTES,
    METRICS,
};

struct metric_set {
    struct map rows[METRICS];
};

/* Of a family without bounds, and of one with. labels: "a=\"b\",c=\"d\"", or "". */
void metric_add(struct metric_set *m, enum metric which, struct str labels, double v);
void metric_observe(struct metric_set *m, enum metric which, struct str labels, double v);
void metric_write(const struct metric_set *m, struct buf *b); /* families without a row only their heads */
void metric_done(struct metric_set *m);
