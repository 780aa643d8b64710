/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and ranges of both families, as bytes. Pure. */
#pragma once

#include "base/arena.h"
#include "base/err.h"

#include <netinet/in.h>

struct ip {
    uint8_t family; /* AF_INET, AF_INET6; 0: none */
    uint8_t b[16];  /* network order; the first 4 for AF_INET, the rest zero */
};
struct prefix {
    struct ip ip; /* bits beyond the prefix are zero, unless it is an address with its network */
    uint8_t bits;
};
struct prefixes {
    struct prefix *list;
    size_t n;
};

bool ip_parse(struct str text, struct ip *ret);
/* With the bits beyond the prefix made zero. */
bool prefix_parse(struct str text, struct prefix *ret);
/* "10.244.1.7/24": the address with the size of its network, as it stands. */
bool prefix_parse_address(struct str text, struct prefix *ret);
/* "10.244.1.0/24,fd00::/56"; -EINVAL with a sentence. NULL: none. */
int prefixes_parse(struct arena *a, const char *list, struct prefixes *ret, struct err *e);

static inline unsigned ip_bits(const struct ip *ip)
{
    return ip->family == AF_INET ? 32 : 128;
}
static inline size_t ip_size(const struct ip *ip)
{
    return ip->family == AF_INET ? 4 : 16;
}
int ip_compare(const struct ip *a, const struct ip *b);
bool ip_equal(const struct ip *a, const struct ip *b);
/* The address n further on; false when that leaves the family's space. */
bool ip_add(const struct ip *ip, uint64_t n, struct ip *ret);
struct ip prefix_network(const struct prefix *p); /* the first address of its network */
struct ip prefix_last(const struct prefix *p);    /* the last one: IPv4's broadcast address */
bool prefix_has(const struct prefix *p, const struct ip *ip);
bool prefix_contains(const struct prefix *outer, const struct prefix *inner);
bool prefix_overlaps(const struct prefix *a, const struct prefix *b);
bool prefixes_contain(const struct prefixes *outer, const struct prefix *inner);
/* By family, address, length. */
int prefix_compare(const struct prefix *a, const struct prefix *b);

#define IP_TEXT_MAX 50
const char *ip_format(const struct ip *ip, char ret[static IP_TEXT_MAX]);        /* "" for none */
const char *prefix_format(const struct prefix *p, char ret[static IP_TEXT_MAX]); /* "10.244.1.0/24" */

#define MAC_TEXT_MAX 18
bool mac_parse(struct str text, uint8_t ret[static 6]);
const char *mac_format(const uint8_t mac[static 6], char ret[static MAC_TEXT_MAX]);
