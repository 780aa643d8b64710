/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/follow.h"

static bool concerns(struct cache_follower *waiter, const struct cache_event *e)
{
    const struct follow *f = CONTAINER_OF(waiter, struct follow, waiter);
    if (f->sel->by_version) /* a webhook knows, whom follow_next can ask */
        return true;
    return (e->old && selection_matches(f->sel, e->old)) || (e->now && selection_matches(f->sel, e->now));
}

int follow_begin(struct follow *f, struct cache_kind *k, struct selection *sel, int64_t from, bool initial)
{
    uint64_t position = k->next;
    int64_t rev = cache_revision(k->cache);
    if (!initial) {
        int r = cache_seek(k, from, &position);
        if (r)
            return r;
        rev = from;
    }
    *f = (struct follow){.sel = sel, .revision = rev};
    cache_follow(k, &f->waiter, position, concerns);
    if (initial) {
        f->initial_revision = rev;
        f->initial = tree_ref(k->root);
        f->at = tree_begin_ns(f->initial, sel->ns);
    }
    return 0;
}

/* 1: there is one; 0: no more. */
static int next_initial(struct follow *f, const struct object **ret)
{
    while (f->initial && tree_in_ns(&f->at, f->sel->ns)) {
        const struct object *o = f->at.object;
        int r = f->ahead ? f->ahead(f, (const struct val *const[]){o->val}, 1) : 0;
        if (r)
            return r;
        tree_next(&f->at);
        if (selection_matches(f->sel, o)) {
            *ret = o;
            return 1;
        }
    }
    return 0;
}

/* While it waits the event may go; its objects are kept. */
static int look_ahead(struct follow *f, struct cache_event **e)
{
    if (!f->ahead)
        return 0;
    struct object *old = object_ref((*e)->old), *now = object_ref((*e)->now);
    const struct val *const v[] = {old ? old->val : NULL, now ? now->val : NULL};
    int r = f->ahead(f, v, ARRAY_SIZE(v));
    object_unref(old);
    object_unref(now);
    *e = cache_event_at(f->waiter.kind, f->waiter.position);
    return r ? r : *e ? 0 : STORE_COMPACTED;
}

/* The last state that was shown, with the revision at which it went out of sight. */
static const struct object *out_of_sight(struct follow *f, const struct cache_event *e)
{
    object_unref(f->made);
    f->made = object_new(e->old->res, e->old->val);
    object_stamp(f->made, e->revision);
    return f->made;
}

static bool see(struct follow *f, struct cache_event *e, enum watch_event_kind *ret_kind,
                const struct object **ret)
{
    bool before = e->old && selection_matches(f->sel, e->old);
    bool after = e->now && selection_matches(f->sel, e->now);
    if (!before && !after)
        return false;
    *ret_kind = !before ? WATCH_ADDED : after ? WATCH_MODIFIED : WATCH_DELETED;
    if (after)
        *ret = e->now;
    else
        *ret = e->now ? out_of_sight(f, e) : cache_event_gone(e);
    return true;
}

int follow_next(struct follow *f, enum watch_event_kind *ret_kind, const struct object **ret)
{
    struct cache_kind *k = f->waiter.kind;
    if (f->initial_revision && !f->initial_done) {
        *ret_kind = WATCH_ADDED;
        int r = next_initial(f, ret);
        if (r)
            return r;
        f->initial_done = true;
        *ret_kind = WATCH_BOOKMARK;
        *ret = NULL;
        return 1;
    }
    f->initial = tree_unref(f->initial);
    if (cache_lost(k, f->waiter.position))
        return STORE_COMPACTED;
    for (struct cache_event *e; (e = cache_event_at(k, f->waiter.position)) != NULL;) {
        int r = look_ahead(f, &e);
        if (r)
            return r;
        f->waiter.position++;
        f->revision = e->revision;
        if (see(f, e, ret_kind, ret))
            return 1;
    }
    f->revision = MAX(f->revision, cache_revision(k->cache));
    return 0;
}

void follow_end(struct follow *f)
{
    cache_unfollow(&f->waiter);
    f->initial = tree_unref(f->initial);
    f->made = object_unref(f->made);
}
