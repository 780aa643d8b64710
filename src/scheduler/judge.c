/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/judge.h"

void selector_cache_done(struct selector_cache *c)
{
    map_done_with(&c->compiled, free);
}

static int matches(void *ctx, struct str expression, struct str driver, const struct val *device, bool *ret,
                   struct err *e)
{
    (void)ctx, (void)driver, (void)device, (void)ret;
    return err_set(e, -EINVAL, "CEL expression cannot be evaluated: " STR_FMT, STR_ARG(expression));
}

struct device_judge selector_judge(struct selector_cache *c)
{
    return (struct device_judge){matches, c};
}
