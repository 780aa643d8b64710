/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many Pods are brought to their feet at once. A runtime that is given a hundred does them all at the same time and
 * has the first one ready when it has the last: a few at a time end just as early together, and most of them far
 * earlier. Who takes long (a network that does not answer) stops counting after a while, so that it keeps nobody up.
 */
#pragma once

#include "base/fiber.h"

struct gate {
    struct list inside; /* gate_pass, oldest first */
    struct waitq q;
    unsigned most;
    int64_t patience; /* so long somebody inside counts */
};

struct gate_pass {
    struct list link;
    struct gate *gate; /* NULL: not inside */
    struct mono since;
};

void gate_init(struct gate *g, unsigned most, int64_t patience);
/* Waits for room. 0 or -ECANCELED. */
int gate_enter(struct gate *g, struct gate_pass *p);
void gate_leave(struct gate_pass *p); /* also of who is not inside */
#define CLEANUP_GATE_PASS __attribute__((cleanup(gate_leave)))
