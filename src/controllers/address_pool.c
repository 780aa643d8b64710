/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/address_pool.h"

static int parse_range(struct str s, struct address_range *ret)
{
    struct str low, high;
    struct cidr first, last;
    if (str_cut(s, '-', &low, &high)) {
        if (cidr_parse_ip(str_trim(low), &first) < 0 || cidr_parse_ip(str_trim(high), &last) < 0)
            return -EINVAL;
    } else if (cidr_parse_ip(s, &first) == 0) {
        last = first;
    } else if (cidr_parse(s, &first) == 0) {
        last = (struct cidr){.base = cidr_last(first), .ipv6 = first.ipv6};
    } else {
        return -EINVAL;
    }
    if (first.ipv6 != last.ipv6 || first.base > last.base)
        return -EINVAL;
    *ret = (struct address_range){first.base, last.base, first.ipv6};
    return 0;
}

static bool touch(const struct address_range *a, const struct address_range *b)
{
    return a->ipv6 == b->ipv6 && a->first <= b->last && b->first <= a->last;
}

static struct address_range range_of(struct cidr c)
{
    return (struct address_range){c.base, cidr_last(c), c.ipv6};
}

/* Nobody comes from afar to these: this host, loopback, link-local, multicast and beyond (RFC 6890). */
static const char *never_of(const struct address_range *r)
{
    static const char *const never[] = {"0.0.0.0/8",  "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3",
                                        "::/127",     "::ffff:0:0/96", "fe80::/10",    "ff00::/8"};
    for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
        struct cidr c;
        struct address_range n;
        if (cidr_parse(str_of(never[i]), &c) < 0)
            continue;
        n = range_of(c);
        if (touch(&n, r))
            return never[i];
    }
    return NULL;
}

static int add_range(struct address_pool *p, struct str s, struct err *e)
{
    struct address_range r;
    if (parse_range(s, &r) < 0)
        return err_set(e, -EINVAL,
                       "\"" STR_FMT "\" is no address, network or range (as 192.0.2.0/28 or 192.0.2.10-192.0.2.20)", STR_ARG(s));
    const char *never = never_of(&r);
    if (never)
        return err_set(e, -EINVAL, "\"" STR_FMT "\" has addresses of %s, which no Service can have", STR_ARG(s), never);
    for (size_t i = 0; i < p->n; i++)
        if (touch(&p->ranges[i], &r))
            return err_set(e, -EINVAL, "\"" STR_FMT "\" has addresses that were named before", STR_ARG(s));
    p->ranges[p->n++] = r;
    return 0;
}

int address_pool_parse(struct arena *a, const char *text, struct address_pool *ret, struct err *e)
{
    struct str rest = str_of(text), item;
    size_t most = 1;
    for (size_t i = 0; i < rest.n; i++)
        most += rest.p[i] == ',';
    struct address_pool p = {.ranges = ARENA_ARRAY(a, struct address_range, most)};
    while (str_next(&rest, ',', &item)) {
        int r = add_range(&p, str_trim(item), e);
        if (r < 0)
            return r;
    }
    *ret = p;
    return 0;
}

bool address_pool_overlaps(const struct address_pool *p, struct cidr network)
{
    struct address_range r = range_of(network);
    for (size_t i = 0; i < p->n; i++)
        if (touch(&p->ranges[i], &r))
            return true;
    return false;
}

bool address_pool_has(const struct address_pool *p, struct cidr ip)
{
    return address_pool_overlaps(p, ip);
}

static uint64_t count(const struct address_range *r)
{
    unsigned __int128 beyond = r->last - r->first;
    return beyond >= UINT32_MAX ? UINT64_C(1) << 32 : (uint64_t)beyond + 1;
}

uint64_t address_pool_count(const struct address_pool *p, bool ipv6)
{
    uint64_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        n += p->ranges[i].ipv6 == ipv6 ? count(&p->ranges[i]) : 0;
    return n;
}

struct cidr address_pool_nth(const struct address_pool *p, bool ipv6, uint64_t i)
{
    struct cidr ip = {.prefix = ipv6 ? 128 : 32, .ipv6 = ipv6};
    for (size_t k = 0; k < p->n; k++) {
        const struct address_range *r = &p->ranges[k];
        if (r->ipv6 != ipv6)
            continue;
        if (i < count(r)) {
            ip.base = r->first + i;
            break;
        }
        i -= count(r);
    }
    return ip;
}
