/* SPDX-License-Identifier: Apache-2.0 */
/* Logs of containers. */
#pragma once

#include "cli/cli.h"

struct log_flags {
    const char *container, *since_time;
    bool follow, previous, timestamps, prefix, ignore_errors, insecure;
    int64_t tail, limit_bytes, since; /* tail -1: all; since in ns */
    int64_t retry;                    /* --pod-running-timeout: how long a followed log is asked for again */
};

/* Prints one container's log to stdout. 0 or 1. */
int logs_print(struct cli *c, const struct log_flags *f, struct str ns, struct str pod, struct str container);
