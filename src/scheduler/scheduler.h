/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler: finds a node for every pod that has none. What it decides (decide.h) is a pure function of the table
 * of nodes (table.h), the pod and a random number; this part waits: queue, back-off, binding, conditions and events.
 */
#pragma once

#include "client/client.h"
#include "scheduler/profile.h"

struct scheduler_config {
    struct client *client;
    const char *name;         /* without profiles: pods with this spec.schedulerName; NULL: "default-scheduler" */
    const struct profile *profiles; /* NULL: the default one alone */
    size_t n_profiles;
    uint64_t seed;            /* of the choice among equals; 0: from the door */
    int64_t backoff_first_ns; /* 0: 1 s */
    int64_t backoff_max_ns;   /* 0: 10 s */
};

/* Until this fiber is cancelled. */
int scheduler_run(const struct scheduler_config *config, struct err *e);
int scheduler_main(int argc, char **argv);
