/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/cidr.h"

#include <arpa/inet.h>
#include <stdio.h>

static unsigned width(bool ipv6)
{
    return ipv6 ? 128 : 32;
}

static unsigned __int128 mask_low(unsigned bits)
{
    return bits >= 128 ? ~(unsigned __int128)0 : ((unsigned __int128)1 << bits) - 1;
}

int cidr_parse_ip(struct str s, struct cidr *ret)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char raw[16];
    if (s.n >= sizeof(text))
        return -EINVAL;
    memcpy(text, s.p ? s.p : "", s.n);
    text[s.n] = 0;
    struct cidr c = {.ipv6 = str_find(s, ':') >= 0};
    if (inet_pton(c.ipv6 ? AF_INET6 : AF_INET, text, raw) != 1)
        return -EINVAL;
    c.prefix = width(c.ipv6);
    for (unsigned i = 0; i < c.prefix / 8; i++)
        c.base = c.base << 8 | raw[i];
    *ret = c;
    return 0;
}

int cidr_parse(struct str s, struct cidr *ret)
{
    struct str ip, bits;
    struct cidr c;
    uint64_t prefix;
    if (!str_cut(s, '/', &ip, &bits) || str_to_u64(bits, &prefix) < 0 || cidr_parse_ip(ip, &c) < 0 || prefix > c.prefix)
        return -EINVAL;
    c.prefix = (unsigned)prefix;
    c.base &= ~mask_low(width(c.ipv6) - c.prefix);
    *ret = c;
    return 0;
}

struct str cidr_ip_text(struct arena *a, struct cidr ip)
{
    unsigned char raw[16];
    char text[INET6_ADDRSTRLEN];
    unsigned bytes = width(ip.ipv6) / 8;
    for (unsigned i = 0; i < bytes; i++)
        raw[i] = (unsigned char)(ip.base >> (8 * (bytes - 1 - i)));
    inet_ntop(ip.ipv6 ? AF_INET6 : AF_INET, raw, text, sizeof(text));
    return arena_str(a, str_of(text));
}

struct str cidr_text(struct arena *a, struct cidr c)
{
    return arena_printf(a, STR_FMT "/%u", STR_ARG(cidr_ip_text(a, c)), c.prefix);
}

unsigned __int128 cidr_last(struct cidr c)
{
    return c.base | mask_low(width(c.ipv6) - c.prefix);
}

bool cidr_overlap(struct cidr a, struct cidr b)
{
    unsigned prefix = MIN(a.prefix, b.prefix);
    return a.ipv6 == b.ipv6 && ((a.base ^ b.base) & ~mask_low(width(a.ipv6) - prefix)) == 0;
}

uint64_t cidr_count(struct cidr c, unsigned prefix)
{
    if (prefix < c.prefix || prefix > width(c.ipv6))
        return 0;
    return UINT64_C(1) << MIN(prefix - c.prefix, 32u);
}

struct cidr cidr_sub(struct cidr c, unsigned prefix, uint64_t i)
{
    unsigned shift = width(c.ipv6) - prefix;
    struct cidr r = {.base = c.base, .prefix = prefix, .ipv6 = c.ipv6};
    if (shift < 128)
        r.base |= (unsigned __int128)i << shift;
    return r;
}
