/* SPDX-License-Identifier: Apache-2.0 */
/* What became of calls to admission webhooks, under upstream's names (apiserver_admission_webhook_*). */
#pragma once

#include "base/map.h"
#include "base/time.h"

struct hook_seen {
    struct str name;
    const char *operation; /* "CREATE" */
    bool mutating;
    int64_t took; /* ns */
    int code;     /* 200, that of the refusal, 0 where we failed ourselves */
    const char *error; /* of a request that was refused: "no_error", "calling_webhook_error", "apiserver_internal_error"; else NULL */
    bool failed_open;
};

struct hook_metrics {
    struct map counts;    /* "name{labels}" to how often (a uintptr_t) */
    struct map durations; /* labels to struct hook_duration */
};

void hook_metrics_see(struct hook_metrics *m, const struct hook_seen *h);
void hook_metrics_write(const struct hook_metrics *m, struct buf *b);
void hook_metrics_done(struct hook_metrics *m);
