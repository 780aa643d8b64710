/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etcd v3 (3.4 or later) behind store.h: one member or several, shared with other API servers. Keys that begin with
 * "/registry" are found in etcd below the prefix instead, values are as they come.
 *
 * What differs from the log engine: a transaction has at most 128 operations (etcd's default for --max-txn-ops); one whose
 * answer was lost may have been carried out (-EIO, -ETIMEDOUT); "lazy" has no meaning; cookies are handed to the first open
 * watch only; STORE_FUTURE is known when reading, not when watching. Reads and watches wait while no member can be reached
 * (a read half a minute), and go on with the next member when theirs went. store_fault() says that none answers, as long as
 * that is so.
 */
#pragma once

#include "net/etcd.h"
#include "store/store.h"

struct etcd_store_config {
    struct etcd_config etcd;
    const char *prefix;          /* ["/registry"] */
    int64_t compaction_interval; /* ns [5 min]; revisions older than that are compacted (upstream's protocol among API servers,
                                  * key compact_rev_key); -1: never */
    int64_t patience;            /* ns [20 s] of opening, while nobody answers */
};

/* Waits until a member has answered. -EINVAL or what a file gave for the configuration, -ETIMEDOUT when nobody answers. */
int etcd_store_open(const struct etcd_store_config *c, struct store **ret, struct err *e);
