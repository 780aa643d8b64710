/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/expire.h"

#include "apiserver/state.h"
#include "base/os.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

enum { BATCH = 256 };

/* When an Event (its stored form) was last seen. */
static struct wall last_seen(const struct val *event)
{
    const struct val *times[] = {val_get(obj_meta(event), N_creationTimestamp),
                                 val_get(event, N_firstTimestamp), val_get(event, N_lastTimestamp),
                                 val_get(event, N_eventTime), val_at(event, N_series, N_lastObservedTime)};
    struct wall last = {0};
    for (size_t i = 0; i < ARRAY_SIZE(times); i++)
        last.ns = MAX(last.ns, val_time(times[i]).ns);
    return last;
}

bool expire_before(struct apiserver *s, struct wall before)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct cache_kind *k = state_kind(s, RES_EVENTS);
    struct store_op *ops = ARENA_ARRAY(&a, struct store_op, BATCH);
    size_t n = 0, most = MIN((size_t)BATCH, store_ops_max(s->store));
    for (struct tree_iter it = tree_begin_ns(k->root, STR("")); n < most && tree_in_ns(&it, STR(""));
         tree_next(&it)) {
        const struct object *o = it.object;
        if (last_seen(o->val).ns >= before.ns)
            continue;
        ops[n++] = (struct store_op){.kind = STORE_DELETE, .key = cache_key(&a, k, o->namespace_, o->name),
            .expect = o->revision, .cookie = object_new(o->res, o->val), .committing = cache_committing};
    }
    int r = n ? store_txn(s->store, ops, n, NULL, NULL) : 0;
    for (size_t i = 0; i < n; i++)
        object_unref(ops[i].cookie);
    return n == most && r == 0 && cache_fresh(s->cache) == 0;
}

void expire_events(void *arg)
{
    struct apiserver *s = arg;
    if (s->config.event_ttl < 0)
        return;
    while (fiber_sleep(SECONDS(60)) == 0)
        while (expire_before(s, (struct wall){os_wall().ns - SECONDS(s->config.event_ttl)}))
            fiber_yield();
}
