/* SPDX-License-Identifier: Apache-2.0 */
#include "node/backoff.h"

static bool forgotten(const struct backoff *b, int64_t most, struct wall since)
{
    return b->interval == 0 || since.ns - b->last.ns > 2 * most;
}

int64_t backoff_wait(const struct backoff *b, int64_t most, struct wall since, struct wall now)
{
    if (forgotten(b, most, since))
        return 0;
    int64_t passed = now.ns - since.ns;
    if (passed < 0)
        passed = 0;
    return passed >= b->interval ? 0 : b->interval - passed;
}

void backoff_next(struct backoff *b, int64_t first, int64_t most, struct wall since, struct wall now)
{
    b->interval = forgotten(b, most, since) ? first : MIN(2 * b->interval, most);
    b->last = now;
}
