/* SPDX-License-Identifier: Apache-2.0 */
/* Hands calls on to the backend. */
#include "store/backend.h"

void store_close(struct store *s)
{
    if (s)
        s->ops->close(s);
}

revision store_revision(const struct store *s)
{
    return s->ops->revision(s);
}

int store_latest(struct store *s, revision *ret)
{
    return s->ops->latest(s, ret);
}

revision store_compacted(const struct store *s)
{
    return s->ops->compacted(s);
}

void store_stats(const struct store *s, struct store_stats *ret)
{
    s->ops->stats(s, ret);
}

const char *store_fault(const struct store *s)
{
    return s->ops->fault(s);
}

size_t store_ops_max(const struct store *s)
{
    return s->ops->ops_max;
}

int store_get(struct store *s, struct str key, revision at, struct arena *a, struct store_entry *ret)
{
    return s->ops->get(s, key, at, a, ret);
}

int store_range(struct store *s, struct str from, struct str to, revision at, size_t limit, store_visit *fn, void *arg,
                revision *ret_at)
{
    return s->ops->range(s, from, to, at, limit, fn, arg, ret_at);
}

int store_txn(struct store *s, const struct store_op *ops, size_t n, revision *ret_rev, size_t *ret_conflict)
{
    return s->ops->txn(s, ops, n, ret_rev, ret_conflict);
}

int store_watch(struct store *s, struct str from, struct str to, revision after, bool want_previous,
                struct store_watch **ret)
{
    return s->ops->watch(s, from, to, after, want_previous, ret);
}

int store_watch_next(struct store_watch *w, struct mono deadline, const struct store_event **ret_events, size_t *ret_n,
                     revision *ret_progress)
{
    return w->ops->watch_next(w, deadline, ret_events, ret_n, ret_progress);
}

void store_watch_close(struct store_watch *w)
{
    if (w)
        w->ops->watch_close(w);
}

int store_compact(struct store *s, revision upto)
{
    return s->ops->compact(s, upto);
}

struct str store_prefix_end(struct arena *a, struct str prefix)
{
    size_t n = prefix.n;
    while (n && (unsigned char)prefix.p[n - 1] == 0xff)
        n--;
    if (!n)
        return STR_NULL;
    char *end = arena_cstr(a, str_n(prefix.p, n));
    end[n - 1]++;
    return str_n(end, n);
}
