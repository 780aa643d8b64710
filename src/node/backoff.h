/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting longer after each failure: crash loops (10 s doubling to 5 min, forgotten after 10 min of health) and image
 * pulls (the same numbers). Pure; times are of day, because what is waited from is a container's end, which the
 * runtime tells in those. A clock that was set back makes nobody wait longer than one full interval.
 */
#pragma once

#include "base/time.h"

#define BACKOFF_FIRST SECONDS(10)
#define BACKOFF_MOST SECONDS(300)

struct backoff {
    int64_t interval; /* ns; 0: no failure yet */
    struct wall last; /* when it was last moved on */
};

/* How long from now until something that failed at `since` may be tried again; 0: at once. */
int64_t backoff_wait(const struct backoff *b, int64_t most, struct wall since, struct wall now);
/* It is being tried again, now: the next interval is longer, or the first when it was healthy for 2 * most. */
void backoff_next(struct backoff *b, int64_t first, int64_t most, struct wall since, struct wall now);
