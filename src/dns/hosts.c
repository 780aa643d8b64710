/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/hosts.h"

#include "dns/zone.h"

#include <arpa/inet.h>
#include <stdio.h>

static void add(struct map *m, struct arena *a, struct str key, struct str item)
{
    struct host_list *l = map_get(m, key);
    if (!l)
        map_put(m, key, l = ARENA_NEW(a, struct host_list));
    l->items = arena_grow(a, l->items, l->n, sizeof(*l->items));
    l->items[l->n++] = item;
}

static bool has(const struct map *m, struct str key, struct str item)
{
    const struct host_list *l = map_get(m, key);
    for (size_t i = 0; l && i < l->n; i++)
        if (str_eq(l->items[i], item))
            return true;
    return false;
}

static struct str lower_name(struct arena *a, struct str s)
{
    char *p = dns_lower(arena_cstr(a, s));
    size_t n = s.n;
    return str_n(p, n && p[n - 1] == '.' ? n - 1 : n);
}

/* "4.3.2.1.in-addr.arpa"; empty: no address. */
static struct str reverse_of(struct arena *a, const char *ip)
{
    uint8_t b[16];
    if (inet_pton(AF_INET, ip, b) == 1)
        return arena_printf(a, "%u.%u.%u.%u.in-addr.arpa", b[3], b[2], b[1], b[0]);
    if (inet_pton(AF_INET6, ip, b) != 1)
        return STR_NULL;
    char *p = arena_bytes(a, 73);
    for (int i = 0; i < 16; i++)
        snprintf(p + 4 * i, 5, "%x.%x.", b[15 - i] & 15, b[15 - i] >> 4);
    memcpy(p + 64, "ip6.arpa", 9);
    return str_of(p);
}

static struct str next_word(struct str *line)
{
    size_t n = 0;
    *line = str_trim(*line);
    while (n < line->n && line->p[n] != ' ' && line->p[n] != '\t')
        n++;
    struct str word = str_slice(*line, 0, n);
    *line = str_from(*line, n);
    return word;
}

void hosts_read(struct hosts *h, struct arena *a, struct str text)
{
    struct str line;
    while (str_next(&text, '\n', &line)) {
        struct str content, comment;
        str_cut(line, '#', &content, &comment);
        struct str ip = arena_str(a, next_word(&content)), reverse = ip.n ? reverse_of(a, ip.p) : STR_NULL;
        if (!reverse.n)
            continue;
        for (struct str name = next_word(&content); name.n; name = next_word(&content)) {
            struct str lower = lower_name(a, name);
            if (!dns_zone_of(h->zones, h->n_zones, lower) || has(&h->by_name, lower, ip)) /* a name has few addresses, an address many names */
                continue;
            add(&h->by_name, a, lower, ip);
            if (!h->no_reverse)
                add(&h->by_reverse, a, reverse, lower);
        }
    }
}

void hosts_done(struct hosts *h)
{
    map_done(&h->by_name);
    map_done(&h->by_reverse);
}

static void put_addresses(const struct hosts *h, const struct dns_query *q, const struct host_list *l, struct dns_reply *reply)
{
    for (size_t i = 0; i < l->n; i++) {
        uint8_t b[16];
        if (q->type == DNS_A && inet_pton(AF_INET, l->items[i].p, b) == 1)
            dns_put_a(reply, DNS_ANSWER, NULL, h->ttl, b);
        else if (q->type == DNS_AAAA && inet_pton(AF_INET6, l->items[i].p, b) == 1)
            dns_put_aaaa(reply, DNS_ANSWER, NULL, h->ttl, b);
    }
}

int hosts_answer(const struct hosts *h, const struct dns_query *q, struct dns_reply *reply, enum dns_code *ret_code)
{
    struct str name = str_of(q->name);
    const struct host_list *names = map_get(&h->by_name, name), *reverse = map_get(&h->by_reverse, name);
    bool ours = dns_zone_of(h->zones, h->n_zones, name) != NULL;
    *ret_code = DNS_NOERROR;
    if (q->type == DNS_PTR && reverse) {
        for (size_t i = 0; i < reverse->n && !reply->truncated; i++)
            dns_put_name(reply, DNS_ANSWER, NULL, DNS_PTR, h->ttl, reverse->items[i].p);
        return HOSTS_ANSWERED;
    }
    if (!ours || q->type == DNS_PTR)
        return HOSTS_NOT_OURS;
    if (names) {
        put_addresses(h, q, names, reply);
        return HOSTS_ANSWERED; /* that a name here has no such address is an answer, too */
    }
    if (dns_zone_of(h->fall, h->n_fall, name))
        return HOSTS_NOT_OURS;
    *ret_code = DNS_SERVFAIL; /* there is no SOA to say "no such name" with (CoreDNS says the same) */
    return HOSTS_ANSWERED;
}
