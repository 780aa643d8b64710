/* SPDX-License-Identifier: Apache-2.0 */
/* What really runs on the machines of a simulated cluster, whatever anybody thinks: pods by uid, by address and by name
 * (two of one name at once would be two of one StatefulSet's identity). What must never be is found where it happens and
 * kept as a sentence. */
#pragma once

#include "base/map.h"

struct truth {
    struct map by_uid, by_ip, by_name; /* -> struct living */
    unsigned violations;
    char first[512]; /* the first violation, with its time */
};

struct living {
    char *uid, *ip, *pod; /* "ns/name" */
    const char *machine;
};

/* A pod has begun to live on a machine. NULL when it may not (a violation was noted). */
struct living *truth_begin(struct truth *t, const char *machine, struct str uid, struct str pod, struct str ip);
void truth_end(struct truth *t, struct living *l); /* NULL is fine */
void truth_done(struct truth *t);
/* Something happened that must never be. */
void truth_violated(struct truth *t, const char *fmt, ...) PRINTF(2, 3);
