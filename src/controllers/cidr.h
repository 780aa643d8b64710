/* SPDX-License-Identifier: Apache-2.0 */
/* Networks as numbers: IPv4 and IPv6 alike, in 128 bits. Pure. */
#pragma once

#include "base/arena.h"

struct cidr {
    unsigned __int128 base; /* IPv4 in the lowest 32 bits; host bits are zero */
    unsigned prefix;        /* of 32 or 128 */
    bool ipv6;
};

int cidr_parse(struct str s, struct cidr *ret); /* 0 or -EINVAL */
/* An address is a network of one: prefix 32 or 128. */
int cidr_parse_ip(struct str s, struct cidr *ret); /* 0 or -EINVAL */
struct str cidr_ip_text(struct arena *a, struct cidr ip); /* RFC 5952 */
unsigned __int128 cidr_last(struct cidr c);
struct str cidr_text(struct arena *a, struct cidr c);
bool cidr_overlap(struct cidr a, struct cidr b);
/* The i-th network of that prefix within c; i must be below cidr_count. */
struct cidr cidr_sub(struct cidr c, unsigned prefix, uint64_t i);
uint64_t cidr_count(struct cidr c, unsigned prefix); /* 0 when prefix is shorter than c's; at most 2^32 */
