/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of the world that are kept: `cache` of a Corefile. Threads may use one cache at the same time. What answers
 * the zones of the cluster is never kept: it is at hand, and fresh.
 */
#pragma once

#include "base/time.h"
#include "dns/message.h"

struct dns_cache_options {
    const char *const *zones; /* whose names are kept */
    size_t n_zones;
    size_t success_size, denial_size;               /* answers */
    int64_t success_max, success_min, denial_max, denial_min; /* seconds */
    int64_t servfail;                               /* seconds a SERVFAIL is kept */
    int64_t stale;                                  /* ns after its end that an answer may be served; 0: not */
    bool verify;                                    /* stale ones only when the world does not answer now */
    int64_t prefetch, prefetch_window;              /* asked so often within so many ns ... */
    unsigned prefetch_percent;                      /* ... it is fetched anew in the last part of its life */
    const char *const *no_success, *const *no_denial; /* zones whose answers are not kept */
    size_t n_no_success, n_no_denial;
    bool keep_ttl;
};
#define CACHE_DEFAULTS                                                                                       \
    ((struct dns_cache_options){.success_size = 10000, .denial_size = 10000, .success_max = 3600, .success_min = 5, \
        .denial_max = 1800, .denial_min = 5, .servfail = 5, .prefetch_window = SECONDS(60), .prefetch_percent = 10})

struct dns_cache;
struct dns_cache *dns_cache_new(const struct dns_cache_options *o); /* texts must outlive it */
void dns_cache_free(struct dns_cache *c);

enum dns_cache_state {
    CACHE_MISS,
    CACHE_FRESH,
    CACHE_PREFETCH, /* fresh, but it is time to ask again */
    CACHE_STALE,
};
/* A kept answer with its TTLs aged, its id and question the query's, appended to ret. */
enum dns_cache_state dns_cache_get(struct dns_cache *c, const struct dns_query *q, struct mono now, struct buf *ret);
void dns_cache_put(struct dns_cache *c, const struct dns_query *q, struct str wire, struct mono now);
/* Whether stale answers wait for the world to fail first. */
bool dns_cache_verifies(const struct dns_cache *c);

struct dns_cache_figures {
    uint64_t hits_success, hits_denial, misses, stale, prefetches, entries_success, entries_denial, evictions;
};
void dns_cache_figures(struct dns_cache *c, struct dns_cache_figures *ret);
