/* SPDX-License-Identifier: Apache-2.0 */
/* When one family's rules are tried again after the kernel has refused them: a machine may lack IPv6's half, and IPv4's
 * changes do not wait for it. Pure. */
#pragma once

#include "base/time.h"

struct retry {
    unsigned failures; /* in a row */
    struct mono at;    /* not before */
};

static inline bool retry_due(const struct retry *r, struct mono now)
{
    return !r->failures || now.ns >= r->at.ns;
}

/* After 1, 2, 4 ... 32 seconds. */
static inline void retry_note(struct retry *r, bool failed, struct mono now)
{
    r->failures = failed ? r->failures + 1 : 0;
    if (failed)
        r->at = mono_add(now, SECONDS(1 << MIN(r->failures - 1, 5u)));
}
