/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands behind store.h: the log engine of this folder, or etcd (src/etcd). A backend's own struct begins with a struct
 * store, those of its watches with a struct store_watch. The functions are those of store.h, which has their contracts; NULL
 * never reaches close and watch_close.
 */
#pragma once

#include "store/store.h"

struct store_ops {
    void (*close)(struct store *s);
    revision (*revision)(const struct store *s);
    int (*latest)(struct store *s, revision *ret);
    revision (*compacted)(const struct store *s);
    void (*stats)(const struct store *s, struct store_stats *ret);
    const char *(*fault)(const struct store *s);
    size_t ops_max;
    int (*get)(struct store *s, struct str key, revision at, struct arena *a, struct store_entry *ret);
    int (*range)(struct store *s, struct str from, struct str to, revision at, size_t limit, store_visit *fn, void *arg,
                 revision *ret_at);
    int (*txn)(struct store *s, const struct store_op *ops, size_t n, revision *ret_rev, size_t *ret_conflict);
    int (*watch)(struct store *s, struct str from, struct str to, revision after, bool want_previous,
                 struct store_watch **ret);
    int (*watch_next)(struct store_watch *w, struct mono deadline, const struct store_event **ret_events, size_t *ret_n,
                      revision *ret_progress);
    void (*watch_close)(struct store_watch *w);
    int (*compact)(struct store *s, revision upto);
};

struct store {
    const struct store_ops *ops;
};

struct store_watch {
    const struct store_ops *ops;
};
