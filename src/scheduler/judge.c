/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/judge.h"

#include "cel/dra.h"

enum { KEPT_MAX = 1000 }; /* expressions; beyond that all are forgotten and compiled anew */

struct compiled {
    struct dra_selector *selector; /* NULL: it cannot be compiled, says why */
    struct err why;
};

static void compiled_free(void *p)
{
    struct compiled *c = p;
    dra_selector_unref(c->selector);
    free(c);
}

void selector_cache_done(struct selector_cache *c)
{
    map_done_with(&c->compiled, compiled_free);
}

static const struct compiled *compile(struct selector_cache *cache, struct str expression)
{
    struct compiled *c = map_get(&cache->compiled, expression);
    if (c)
        return c;
    if (cache->compiled.n >= KEPT_MAX)
        selector_cache_done(cache);
    c = NEW(struct compiled);
    if (dra_selector_compile(expression, &c->selector, &c->why) < 0)
        c->selector = NULL;
    map_put(&cache->compiled, expression, c);
    return c;
}

static int matches(void *ctx, struct str expression, struct str driver, const struct val *device, bool *ret, struct err *e)
{
    const struct compiled *c = compile(ctx, expression);
    struct err why = {{0}};
    if (!c->selector)
        return err_set(e, -EINVAL, "CEL compile error: %s", c->why.text);
    if (dra_selector_match(c->selector, driver, device, ret, &why) < 0)
        return err_set(e, -EINVAL, "CEL runtime error: %s", why.text);
    return 0;
}

struct device_judge selector_judge(struct selector_cache *c)
{
    return (struct device_judge){matches, c};
}
