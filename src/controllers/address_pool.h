/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses to be given out, as a person names them: networks, ranges and single addresses of both families. Pure. */
#pragma once

#include "base/err.h"
#include "controllers/cidr.h"

struct address_range {
    unsigned __int128 first, last;
    bool ipv6;
};

struct address_pool {
    struct address_range *ranges; /* in the order of the text; no two overlap */
    size_t n;
};

/* "192.0.2.0/28,192.0.2.100-192.0.2.120,2001:db8::5": 0, or -EINVAL with a sentence. Every address of a network is
 * meant, its first and last too: who must leave them out names a range. */
int address_pool_parse(struct arena *a, const char *text, struct address_pool *ret, struct err *e);
bool address_pool_has(const struct address_pool *p, struct cidr ip);
bool address_pool_overlaps(const struct address_pool *p, struct cidr network);
/* How many addresses of a family are given out unasked: of a range longer than 2^32 its first. */
uint64_t address_pool_count(const struct address_pool *p, bool ipv6);
/* The i-th of them; i must be below the count. */
struct cidr address_pool_nth(const struct address_pool *p, bool ipv6, uint64_t i);
