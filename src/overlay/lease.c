/* SPDX-License-Identifier: Apache-2.0 */
#include "overlay/lease.h"

#include "wire/json.h"

#include <stdio.h>

/* ---- keys ------------------------------------------------------------------------------------------------ */

/* "10.5.34.0-24": "0.0.0.0-0" is how Flannel says that there is none. */
static bool part_parse(struct str text, unsigned family, struct prefix *ret)
{
    struct str ip, bits;
    char c[IP_TEXT_MAX + 8];
    struct prefix p;
    if (!str_cut(text, '-', &ip, &bits) || text.n >= sizeof(c))
        return false;
    snprintf(c, sizeof(c), STR_FMT "/" STR_FMT, STR_ARG(ip), STR_ARG(bits));
    if (!prefix_parse(str_of(c), &p) || family_of(&p.ip) != family)
        return false;
    *ret = p.bits ? p : (struct prefix){0};
    return true;
}

bool lease_key_parse(struct str key, struct lease_ranges *ret)
{
    struct lease_ranges r = {0};
    struct str four = key, six;
    bool dual = str_cut(key, '&', &four, &six);
    if (!part_parse(four, V4, &r.of[V4]) || (dual && !part_parse(six, V6, &r.of[V6])) ||
        (!r.of[V4].bits && !r.of[V6].bits))
        return false;
    *ret = r;
    return true;
}

struct str lease_key(struct arena *a, const struct lease_ranges *r)
{
    char four[IP_TEXT_MAX] = "0.0.0.0", six[IP_TEXT_MAX];
    if (r->of[V4].bits)
        ip_format(&r->of[V4].ip, four);
    if (!r->of[V6].bits)
        return arena_printf(a, "%s-%u", four, r->of[V4].bits);
    return arena_printf(a, "%s-%u&%s-%u", four, r->of[V4].bits, ip_format(&r->of[V6].ip, six), r->of[V6].bits);
}

/* ---- values ---------------------------------------------------------------------------------------------- */

static const char *const names_address[FAMILIES] = {"PublicIP", "PublicIPv6"};
static const char *const names_data[FAMILIES] = {"BackendData", "BackendV6Data"};

bool lease_value_parse(struct arena *a, struct str json, struct peer *ret)
{
    static const struct ip none = {.family = AF_INET};
    struct val *v = NULL;
    struct peer p = {.announced = true};
    if (json_decode(a, NULL, json, 0, NULL, &v, NULL) < 0 || !val_is(v, VAL_MAP))
        return false;
    p.backend = val_str(val_key(v, STR("BackendType")));
    for (unsigned f = 0; f < FAMILIES; f++) {
        struct str text = val_str(val_key(v, str_of(names_address[f])));
        struct ip ip;
        if (text.n && (!ip_parse(text, &ip) || family_of(&ip) != f))
            return false;
        if (text.n && !ip_equal(&ip, &none))
            p.address[f] = ip;
        p.has_mac[f] = vtep_read(val_key(v, str_of(names_data[f])), p.mac[f]);
    }
    *ret = p;
    return true;
}

struct str lease_value(struct arena *a, const struct announcement *say)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    char text[IP_TEXT_MAX];
    buf_printf(&b, "{\"PublicIP\":\"%s\"", say->address[V4].family ? ip_format(&say->address[V4], text) : "0.0.0.0");
    if (say->address[V6].family)
        buf_printf(&b, ",\"PublicIPv6\":\"%s\"", ip_format(&say->address[V6], text));
    else
        buf_puts(&b, ",\"PublicIPv6\":null");
    buf_printf(&b, ",\"BackendType\":\"%s\"", backend_name(say->backend));
    for (unsigned f = 0; say->backend == BACKEND_VXLAN && f < FAMILIES; f++)
        if (say->address[f].family)
            buf_printf(&b, ",\"%s\":" STR_FMT, names_data[f], STR_ARG(vtep_format(a, say->vni, say->mac[f])));
    buf_putc(&b, '}');
    return arena_str(a, buf_str(&b));
}

/* ---- which ------------------------------------------------------------------------------------------------ */

bool lease_fits(const struct netconf *c, const struct lease_ranges *r)
{
    for (unsigned f = 0; f < FAMILIES; f++) {
        const struct prefix *p = &r->of[f];
        if (c->enabled[f] != (p->bits != 0))
            return false;
        if (c->enabled[f] && (p->bits != c->subnet_bits[f] || ip_compare(&p->ip, &c->first[f]) < 0 ||
                              ip_compare(&p->ip, &c->last[f]) > 0))
            return false;
    }
    return true;
}

static bool is_taken(const struct prefixes *taken, const struct prefix *p)
{
    for (size_t i = 0; i < taken->n; i++)
        if (prefix_overlaps(&taken->list[i], p))
            return true;
    return false;
}

bool lease_choose(const struct netconf *c, unsigned family, const struct prefixes *taken, uint64_t random,
                  struct prefix *ret)
{
    struct prefix free[100], p = {c->first[family], (uint8_t)c->subnet_bits[family]};
    size_t n = 0;
    for (;;) {
        if (!is_taken(taken, &p))
            free[n++] = p;
        struct ip last = prefix_last(&p);
        if (n == ARRAY_SIZE(free) || ip_compare(&p.ip, &c->last[family]) >= 0 || !ip_add(&last, 1, &p.ip))
            break;
    }
    if (n)
        *ret = free[random % n];
    return n > 0;
}
