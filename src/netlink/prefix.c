/* SPDX-License-Identifier: Apache-2.0 */
#include "netlink/prefix.h"

#include <arpa/inet.h>
#include <stdio.h>

/* ---- texts ---------------------------------------------------------------------------------------- */

bool ip_parse(struct str text, struct ip *ret)
{
    char c[INET6_ADDRSTRLEN];
    struct ip ip = {0};
    if (text.n >= sizeof(c) || (text.n && memchr(text.p, 0, text.n)))
        return false;
    snprintf(c, sizeof(c), STR_FMT, STR_ARG(text));
    ip.family = strchr(c, ':') ? AF_INET6 : AF_INET;
    if (inet_pton(ip.family, c, ip.b) != 1)
        return false;
    *ret = ip;
    return true;
}

bool prefix_parse_address(struct str text, struct prefix *ret)
{
    struct str ip, bits;
    struct prefix p = {0};
    int64_t n;
    if (!str_cut(text, '/', &ip, &bits) || !ip_parse(ip, &p.ip) || str_to_i64(bits, &n) < 0 || n < 0 ||
        n > ip_bits(&p.ip))
        return false;
    p.bits = (uint8_t)n;
    *ret = p;
    return true;
}

bool prefix_parse(struct str text, struct prefix *ret)
{
    struct prefix p;
    if (!prefix_parse_address(text, &p))
        return false;
    p.ip = prefix_network(&p);
    *ret = p;
    return true;
}

int prefixes_parse(struct arena *a, const char *list, struct prefixes *ret, struct err *e)
{
    struct str rest = str_of(list), word;
    struct prefixes out = {ARENA_ARRAY(a, struct prefix, rest.n + 1), 0};
    while (list && str_next(&rest, ',', &word))
        if (!prefix_parse(str_trim(word), &out.list[out.n++]))
            return err_set(e, -EINVAL, "\"" STR_FMT "\" is no address range like 10.244.0.0/16",
                           STR_ARG(word));
    *ret = out;
    return 0;
}

const char *ip_format(const struct ip *ip, char ret[static IP_TEXT_MAX])
{
    if (!ip->family || !inet_ntop(ip->family, ip->b, ret, IP_TEXT_MAX))
        ret[0] = 0;
    return ret;
}

const char *prefix_format(const struct prefix *p, char ret[static IP_TEXT_MAX])
{
    char ip[IP_TEXT_MAX];
    snprintf(ret, IP_TEXT_MAX, "%s/%u", ip_format(&p->ip, ip), p->bits);
    return ret;
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool mac_parse(struct str text, uint8_t ret[static 6])
{
    uint8_t mac[6];
    if (text.n != 17)
        return false;
    for (size_t i = 0; i < 6; i++) {
        int high = hex(text.p[i * 3]), low = hex(text.p[i * 3 + 1]);
        if (high < 0 || low < 0 || (i < 5 && text.p[i * 3 + 2] != ':'))
            return false;
        mac[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(ret, mac, 6);
    return true;
}

const char *mac_format(const uint8_t mac[static 6], char ret[static MAC_TEXT_MAX])
{
    snprintf(ret, MAC_TEXT_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    return ret;
}

/* ---- arithmetic ----------------------------------------------------------------------------------- */

int ip_compare(const struct ip *a, const struct ip *b)
{
    return a->family != b->family ? (int)a->family - (int)b->family : memcmp(a->b, b->b, sizeof(a->b));
}

bool ip_equal(const struct ip *a, const struct ip *b)
{
    return ip_compare(a, b) == 0;
}

bool ip_add(const struct ip *ip, uint64_t n, struct ip *ret)
{
    struct ip out = *ip;
    uint64_t carry = n;
    for (size_t i = ip_size(ip); i-- > 0 && carry;) {
        uint64_t sum = (carry & 255) + out.b[i];
        out.b[i] = (uint8_t)sum;
        carry = (carry >> 8) + (sum >> 8);
    }
    if (carry)
        return false;
    *ret = out;
    return true;
}

static struct ip fill(const struct prefix *p, bool ones)
{
    struct ip ip = p->ip;
    for (unsigned bit = p->bits; bit < ip_bits(&ip); bit++) {
        uint8_t one = (uint8_t)(0x80u >> (bit % 8));
        ip.b[bit / 8] = (uint8_t)(ones ? ip.b[bit / 8] | one : ip.b[bit / 8] & ~one);
    }
    return ip;
}

struct ip prefix_network(const struct prefix *p)
{
    return fill(p, false);
}

struct ip prefix_last(const struct prefix *p)
{
    return fill(p, true);
}

bool prefix_has(const struct prefix *p, const struct ip *ip)
{
    struct prefix whole = {*ip, (uint8_t)ip_bits(ip)};
    return prefix_contains(p, &whole);
}

bool prefix_contains(const struct prefix *outer, const struct prefix *inner)
{
    struct prefix cut = *inner;
    if (outer->ip.family != inner->ip.family || outer->bits > inner->bits)
        return false;
    cut.bits = outer->bits;
    struct ip a = prefix_network(&cut), b = prefix_network(outer);
    return ip_equal(&a, &b);
}

bool prefix_overlaps(const struct prefix *a, const struct prefix *b)
{
    return prefix_contains(a, b) || prefix_contains(b, a);
}

bool prefixes_contain(const struct prefixes *outer, const struct prefix *inner)
{
    for (size_t i = 0; i < outer->n; i++)
        if (prefix_contains(&outer->list[i], inner))
            return true;
    return false;
}

int prefix_compare(const struct prefix *a, const struct prefix *b)
{
    int r = ip_compare(&a->ip, &b->ip);
    return r ? r : (int)a->bits - (int)b->bits;
}
