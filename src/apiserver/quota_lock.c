/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/quota_lock.h"

#include "apiserver/state.h"

struct quota_lock {
    struct fmutex mutex;
    unsigned users;
    char *ns;
};

static void drop(struct apiserver *s, struct quota_lock *l)
{
    if (--l->users)
        return;
    map_del(&s->quota_locks, str_of(l->ns));
    free(l->ns);
    free(l);
}

int quota_lock_take(struct request *r, struct str ns)
{
    struct quota_lock *l = map_get(&r->server->quota_locks, ns);
    if (r->quota_lock)
        return 0;
    if (!l) {
        l = NEW(struct quota_lock);
        l->ns = str_dup(ns);
        map_put(&r->server->quota_locks, ns, l);
    }
    l->users++;
    int e = fmutex_lock(&l->mutex);
    if (e < 0) {
        drop(r->server, l);
        return e;
    }
    r->quota_lock = l;
    e = cache_fresh(r->server->cache);
    return e < 0 ? e : 0;
}

void quota_lock_release(struct request *r)
{
    struct quota_lock *l = r->quota_lock;
    if (!l)
        return;
    r->quota_lock = NULL;
    fmutex_unlock(&l->mutex);
    drop(r->server, l);
}
