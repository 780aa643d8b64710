/* SPDX-License-Identifier: Apache-2.0 */
#include "adm/addresses.h"

#include "net/resolve.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- lists ------------------------------------------------------------------------------------------ */

const char **list_items(struct arena *a, const char *list)
{
    struct str rest = str_of(list), item;
    const char **out = ARENA_ARRAY(a, const char *, rest.n + 2);
    size_t n = 0;
    while (list && str_next(&rest, ',', &item))
        if (str_trim(item).n)
            out[n++] = arena_cstr(a, str_trim(item));
    return out;
}

const char *list_first(struct arena *a, const char *list)
{
    return list_items(a, list)[0];
}

bool has_family(const char *list, unsigned family)
{
    struct str rest = str_of(list), item;
    while (list && str_next(&rest, ',', &item))
        if ((str_find(item, ':') >= 0) == (family == AF_INET6))
            return true;
    return false;
}

/* ---- ranges ----------------------------------------------------------------------------------------- */

int ranges_parse(struct arena *a, const char *flag, const char *text, struct prefixes *ret, struct err *e)
{
    struct prefixes p = {0};
    bool good = prefixes_parse(a, text, &p, NULL) == 0 && (p.n == 1 || (p.n == 2 && p.list[0].ip.family != p.list[1].ip.family));
    for (size_t i = 0; good && i < p.n; i++)
        good = p.list[i].bits >= 1 && p.list[i].bits <= ip_bits(&p.list[i].ip) - 2;
    if (!good)
        return err_set(e, -EINVAL, "--%s %s: expected a range like 10.244.0.0/16 or fd00:10:244::/56, or one of each family", flag, text);
    *ret = p;
    return 0;
}

const struct prefix *range_of(const struct prefixes *ranges, unsigned family)
{
    for (size_t i = 0; i < ranges->n; i++)
        if (ranges->list[i].ip.family == family)
            return &ranges->list[i];
    return NULL;
}

const char *addresses_at(struct arena *a, const struct prefixes *ranges, uint64_t n)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    char text[IP_TEXT_MAX];
    struct ip ip;
    for (size_t i = 0; i < ranges->n; i++)
        if (ip_add(&ranges->list[i].ip, n, &ip))
            buf_printf(&b, "%s%s", b.n ? "," : "", ip_format(&ip, text));
    return arena_cstr(a, buf_str(&b));
}

const char *ranges_text(struct arena *a, const struct prefixes *ranges)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    char text[IP_TEXT_MAX];
    for (size_t i = 0; i < ranges->n; i++)
        buf_printf(&b, "%s%s", i ? "," : "", prefix_format(&ranges->list[i], text));
    return arena_cstr(a, buf_str(&b));
}

/* ---- this machine ----------------------------------------------------------------------------------- */

union socket_address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

static bool take_ip(const struct sockaddr *from, struct ip *ret)
{
    const union socket_address *s = (const void *)from;
    struct ip ip = {0};
    if (!from || (from->sa_family != AF_INET && from->sa_family != AF_INET6))
        return false;
    ip.family = (uint8_t)from->sa_family;
    if (from->sa_family == AF_INET)
        memcpy(ip.b, &s->in.sin_addr, 4);
    else if (IN6_IS_ADDR_LINKLOCAL(&s->in6.sin6_addr))
        return false;
    else
        memcpy(ip.b, &s->in6.sin6_addr, 16);
    *ret = ip;
    return true;
}

/* Documentation's addresses (RFC 5737, RFC 3849): nothing is sent, only a route looked up. */
static bool ask_route(unsigned family, struct ip *ret)
{
    union socket_address to = {.any = {.sa_family = (sa_family_t)family}}, from = {.any = {0}};
    socklen_t n = sizeof(from);
    bool six = family == AF_INET6;
    if (six)
        to.in6.sin6_port = htons(53);
    else
        to.in.sin_port = htons(53);
    inet_pton((int)family, six ? "2001:db8::1" : "198.51.100.1", six ? (void *)&to.in6.sin6_addr : (void *)&to.in.sin_addr);
    int fd = socket((int)family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool found = fd >= 0 && connect(fd, &to.any, six ? sizeof(to.in6) : sizeof(to.in)) == 0 &&
                 getsockname(fd, &from.any, &n) == 0 && take_ip(&from.any, ret);
    if (fd >= 0)
        close(fd);
    return found;
}

static bool is_bridge(const char *link)
{
    char path[64];
    snprintf(path, sizeof(path), "/sys/class/net/%.16s/bridge", link);
    return access(path, F_OK) == 0;
}

static bool first_of_links(unsigned family, struct ip *ret)
{
    struct ifaddrs *all = NULL;
    bool found = false;
    if (getifaddrs(&all) < 0)
        return false;
    for (struct ifaddrs *i = all; i && !found; i = i->ifa_next)
        found = i->ifa_addr && i->ifa_addr->sa_family == family && (i->ifa_flags & IFF_UP) && !(i->ifa_flags & IFF_LOOPBACK) &&
                !is_bridge(i->ifa_name) && take_ip(i->ifa_addr, ret);
    freeifaddrs(all);
    return found;
}

const char *find_addresses(struct arena *a, const struct prefixes *pods)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    char text[IP_TEXT_MAX];
    for (size_t i = 0; i < pods->n; i++) {
        struct ip ip;
        unsigned family = pods->list[i].ip.family;
        if (ask_route(family, &ip) || first_of_links(family, &ip))
            buf_printf(&b, "%s%s", b.n ? "," : "", ip_format(&ip, text));
        else if (!i)
            return NULL;
    }
    return arena_cstr(a, buf_str(&b));
}

bool machine_has_address_in(const struct prefix *range, const char *except_link)
{
    struct ifaddrs *all = NULL;
    bool has = false;
    struct ip ip;
    if (getifaddrs(&all) < 0)
        return false;
    for (struct ifaddrs *i = all; i && !has; i = i->ifa_next)
        has = strcmp(i->ifa_name, except_link) && take_ip(i->ifa_addr, &ip) && prefix_has(range, &ip);
    freeifaddrs(all);
    return has;
}

/* ---- as others want them ---------------------------------------------------------------------------- */

const char *api_url(struct arena *a, const struct cluster_config *c)
{
    return arena_printf(a, "https://%s", net_join(a, list_first(a, c->advertise), (uint16_t)c->port)).p;
}

const char *every_address(struct arena *a, const struct cluster_config *c, int64_t port)
{
    return net_join(a, has_family(c->pod_cidr, AF_INET6) ? "::" : "0.0.0.0", (uint16_t)port);
}

const char *as_host(struct arena *a, const char *address)
{
    return arena_printf(a, "%s/%d", address, strchr(address, ':') ? 128 : 32).p;
}
