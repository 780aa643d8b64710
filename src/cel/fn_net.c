/* SPDX-License-Identifier: Apache-2.0 */
/* IP addresses and CIDRs (k8s.io/apiserver/pkg/cel/library: ip, cidr): no zones, no IPv4 within IPv6. */
#include "cel/cel-internal.h"

#include "type/text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>

#define FN(name) static struct cel_val name(struct cel_run *r, const struct cel_val *v, unsigned n)

struct ip_val { /* an address, or a network: with its prefix */
    struct cel_opaque o;
    bool v6;
    int prefix;
    unsigned char b[16];
};

static const struct ip_val *ip_in(struct cel_val v)
{
    return CEL_OPAQUE_AS(v, struct ip_val);
}

static size_t n_bytes(const struct ip_val *x)
{
    return x->v6 ? 16 : 4;
}

/* RFC 5952, as Go prints it: the longest run of zero groups is left out, never one that is alone. */
static struct str v6_text(struct arena *a, const unsigned char *b)
{
    char text[64];
    size_t n = 0;
    int best = -1, best_n = 1;
    unsigned g[8];
    for (int i = 0; i < 8; i++)
        g[i] = (unsigned)b[2 * i] << 8 | b[2 * i + 1];
    for (int i = 0, k; i < 8; i = k + 1) {
        for (k = i; k < 8 && !g[k]; k++)
            ;
        if (k - i > best_n) {
            best = i;
            best_n = k - i;
        }
    }
    for (int i = 0; i < 8; i++) {
        if (i == best) {
            n += (size_t)snprintf(text + n, sizeof(text) - n, "::");
            i += best_n - 1;
            continue;
        }
        bool colon = i > 0 && text[n - 1] != ':';
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%x", colon ? ":" : "", g[i]);
    }
    return arena_str(a, str_n(text, n));
}

static struct str ip_text(struct arena *a, const struct cel_opaque *o)
{
    const struct ip_val *x = (const struct ip_val *)o;
    struct str s = x->v6 ? v6_text(a, x->b) : arena_printf(a, "%u.%u.%u.%u", x->b[0], x->b[1], x->b[2], x->b[3]);
    return x->prefix < 0 ? s : arena_printf(a, STR_FMT "/%d", STR_ARG(s), x->prefix);
}

static bool ip_equal(const struct cel_opaque *p, const struct cel_opaque *q)
{
    const struct ip_val *x = (const struct ip_val *)p, *y = (const struct ip_val *)q;
    return x->v6 == y->v6 && x->prefix == y->prefix && !memcmp(x->b, y->b, n_bytes(x));
}

static struct cel_val make(struct arena *a, const struct ip_val *from, int prefix)
{
    struct ip_val *x = ARENA_NEW(a, struct ip_val);
    *x = *from;
    x->prefix = prefix;
    x->o = (struct cel_opaque){prefix < 0 ? &cel_ip : &cel_cidr, ip_equal, ip_text,
                               prefix < 0 ? n_bytes(x) : (size_t)(prefix + 7) / 8};
    return cel_of_opaque(&x->o);
}

static bool is_mapped(const unsigned char *b)
{
    static const unsigned char head[12] = {[10] = 0xff, [11] = 0xff};
    return !memcmp(b, head, sizeof(head));
}

/* What Go says of what has a dot before any colon. */
static const char *v4_fault(struct arena *a, struct str s)
{
    unsigned value = 0, digits = 0, parts = 0;
    for (size_t i = 0; i < s.n; i++) {
        struct str here = text_quote(a, str_from(s, i));
        if (s.p[i] >= '0' && s.p[i] <= '9') {
            if (digits == 1 && !value)
                return "IPv4 field has octet with leading zero";
            value = value * 10 + (unsigned)(s.p[i] - '0');
            digits++;
            if (value > 255)
                return "IPv4 field has value >255";
        } else if (s.p[i] != '.') {
            return arena_printf(a, "unexpected character (at " STR_FMT ")", STR_ARG(here)).p;
        } else if (i == 0 || i + 1 == s.n || s.p[i - 1] == '.') {
            return arena_printf(a, "IPv4 field must have at least one digit (at " STR_FMT ")", STR_ARG(here)).p;
        } else if (parts == 3) {
            return "IPv4 address too long";
        } else {
            parts++;
            value = digits = 0;
        }
    }
    return "IPv4 address too short";
}

static const char *fault_at(struct arena *a, const char *why, struct str s)
{
    struct str q = text_quote(a, s);
    return arena_printf(a, "%s (at " STR_FMT ")", why, STR_ARG(q)).p;
}

/* The field at the head of *s, moved past; NULL when it is one. bytes: how many came before; wide: there was a "::". */
static const char *v6_field(struct arena *a, struct str *s, int bytes, bool wide)
{
    size_t n = 0;
    while (n < s->n && isxdigit((unsigned char)s->p[n]))
        n++;
    if (n > 4)
        return fault_at(a, "each group must have 4 or less digits", *s);
    if (!n)
        return fault_at(a, "each colon-separated field must have at least one digit", *s);
    if (n < s->n && s->p[n] == '.')
        return !wide && bytes != 12 ? fault_at(a, "embedded IPv4 address must replace the final 2 fields of the address", *s)
               : bytes > 12         ? fault_at(a, "too many hex fields to fit an embedded IPv4 at the end of the address", *s)
                                    : v4_fault(a, *s);
    *s = str_from(*s, n);
    if (s->n && s->p[0] != ':')
        return fault_at(a, "unexpected character, want colon", *s);
    return s->n == 1 ? fault_at(a, "colon must be followed by more characters", *s) : NULL;
}

/* The same of what has a colon first. */
static const char *v6_fault(struct arena *a, struct str s)
{
    struct str zone;
    bool wide = str_starts(s, STR("::"));
    int bytes = 0;
    if (str_cut(s, '%', &s, &zone) && !zone.n)
        return "zone must be a non-empty string";
    s = wide ? str_from(s, 2) : s;
    while (s.n && bytes < 16) {
        const char *why = v6_field(a, &s, bytes, wide);
        if (why)
            return why;
        bytes += 2;
        s = str_from(s, MIN(s.n, (size_t)1));
        if (s.n && s.p[0] == ':' && wide)
            return fault_at(a, "multiple :: in address", s);
        if (s.n && s.p[0] == ':') {
            wide = true;
            s = str_from(s, 1);
        }
    }
    return s.n          ? fault_at(a, "trailing garbage after address", s)
           : bytes < 16 ? "address string too short"
                        : "the :: must expand to at least one field of zeros";
}

static struct str ip_fault(struct arena *a, struct str s)
{
    size_t n = 0;
    while (n < s.n && !strchr(".:%", s.p[n]))
        n++;
    struct str q = text_quote(a, s);
    const char *why = n == s.n ? "unable to parse IP" : s.p[n] == '.' ? v4_fault(a, s) : s.p[n] == ':' ? v6_fault(a, s) : "missing IPv6 address";
    return arena_printf(a, "ParseAddr(" STR_FMT "): %s", STR_ARG(q), why);
}

/* An absent value when it is an address. */
static struct cel_val parse_ip(struct arena *a, struct str s, struct ip_val *ret)
{
    char text[64];
    struct str quoted = text_quote(a, s);
    bool fits = s.n > 0 && s.n < sizeof(text) && !memchr(s.p, 0, s.n);
    *ret = (struct ip_val){.prefix = -1};
    if (fits) {
        memcpy(text, s.p, s.n);
        text[s.n] = 0;
    }
    if (fits && inet_pton(AF_INET, text, ret->b) == 1)
        return CEL_ABSENT;
    char *zone = fits ? strchr(text, '%') : NULL;
    bool zoned = zone && zone[1] && zone > text;
    if (zoned)
        *zone = 0;
    ret->v6 = true;
    if (!fits || inet_pton(AF_INET6, text, ret->b) != 1)
        return cel_fail(a, "IP Address " STR_FMT " parse error during conversion from string: " STR_FMT, STR_ARG(quoted),
                        STR_ARG(ip_fault(a, s)));
    if (zoned)
        return cel_fail(a, "IP address " STR_FMT " with zone value is not allowed", STR_ARG(quoted));
    if (is_mapped(ret->b))
        return cel_fail(a, "IPv4-mapped IPv6 address " STR_FMT " is not allowed", STR_ARG(quoted));
    return CEL_ABSENT;
}

static struct cel_val bad_cidr(struct arena *a, struct str s, const char *why)
{
    struct str q = text_quote(a, s);
    return cel_fail(a, "network address parse error during conversion from string: network address parse error during "
                    "conversion from string: netip.ParsePrefix(" STR_FMT "): %s", STR_ARG(q), why);
}

static struct cel_val parse_cidr(struct arena *a, struct str s, struct ip_val *ret)
{
    ssize_t slash = str_rfind(s, '/');
    int64_t bits;
    if (slash < 0)
        return bad_cidr(a, s, "no '/'");
    struct str head = str_n(s.p, (size_t)slash), tail = str_from(s, (size_t)slash + 1);
    struct str quoted = text_quote(a, s);
    if (!cel_absent(parse_ip(a, head, ret))) {
        if (str_find(head, '%') >= 0)
            return bad_cidr(a, s, "IPv6 zones cannot be present in a prefix");
        if (ret->v6 && is_mapped(ret->b))
            return cel_fail(a, "network address parse error during conversion from string: IPv4-mapped IPv6 address " STR_FMT
                            " is not allowed", STR_ARG(quoted));
        return bad_cidr(a, s, ip_fault(a, head).p);
    }
    bool plain = tail.n && tail.p[0] >= '0' && tail.p[0] <= '9' && (tail.n == 1 || tail.p[0] != '0');
    if (!plain || str_to_i64(tail, &bits) < 0)
        return bad_cidr(a, s, arena_printf(a, "bad bits after slash: " STR_FMT, STR_ARG(text_quote(a, tail))).p);
    if (bits > 8 * (int64_t)n_bytes(ret))
        return bad_cidr(a, s, "prefix length out of range");
    ret->prefix = (int)bits;
    return CEL_ABSENT;
}

/* The same in the first `bits`? */
static bool same_prefix(const struct ip_val *x, const struct ip_val *y, int bits)
{
    if (x->v6 != y->v6 || memcmp(x->b, y->b, (size_t)bits / 8))
        return false;
    int rest = bits % 8;
    return !rest || !((x->b[bits / 8] ^ y->b[bits / 8]) >> (8 - rest));
}

/* ---- addresses ----------------------------------------------------------------------------------------------------- */

FN(ip_from)
{
    struct ip_val x;
    struct cel_val e = parse_ip(r->arena, cel_str(v[0]), &x);
    return cel_absent(e) ? make(r->arena, &x, -1) : e;
}

FN(is_ip)
{
    struct ip_val x;
    return cel_of_bool(cel_absent(parse_ip(r->arena, cel_str(v[0]), &x)));
}

FN(is_canonical)
{
    struct ip_val x;
    struct cel_val e = parse_ip(r->arena, cel_str(v[0]), &x);
    return cel_absent(e) ? cel_of_bool(str_eq(ip_text(r->arena, &x.o), cel_str(v[0]))) : e;
}

FN(family)
{
    return cel_of_int(ip_in(v[0])->v6 ? 6 : 4);
}

FN(to_string)
{
    return cel_of_str(ip_text(r->arena, v[0].opaque));
}

static bool unspecified(const struct ip_val *x)
{
    static const unsigned char zero[16];
    return !memcmp(x->b, zero, n_bytes(x));
}

static bool loopback(const struct ip_val *x)
{
    static const unsigned char one[16] = {[15] = 1};
    return x->v6 ? !memcmp(x->b, one, 16) : x->b[0] == 127;
}

static bool multicast(const struct ip_val *x)
{
    return x->v6 ? x->b[0] == 0xff : (x->b[0] & 0xf0) == 0xe0;
}

static bool link_local_unicast(const struct ip_val *x)
{
    return x->v6 ? x->b[0] == 0xfe && (x->b[1] & 0xc0) == 0x80 : x->b[0] == 169 && x->b[1] == 254;
}

static bool link_local_multicast(const struct ip_val *x)
{
    return x->v6 ? x->b[0] == 0xff && (x->b[1] & 0x0f) == 2 : x->b[0] == 224 && x->b[1] == 0 && x->b[2] == 0;
}

static bool global_unicast(const struct ip_val *x)
{
    static const unsigned char ones[4] = {255, 255, 255, 255};
    return !(!x->v6 && !memcmp(x->b, ones, 4)) && !unspecified(x) && !loopback(x) && !multicast(x) && !link_local_unicast(x);
}

#define IS(name)                                                                                             \
    FN(is_##name)                                                                                            \
    {                                                                                                        \
        return cel_of_bool(name(ip_in(v[0])));                                                               \
    }
IS(unspecified)
IS(loopback)
IS(link_local_unicast)
IS(link_local_multicast)
IS(global_unicast)

/* ---- networks ------------------------------------------------------------------------------------------------------- */

FN(cidr_from)
{
    struct ip_val x;
    struct cel_val e = parse_cidr(r->arena, cel_str(v[0]), &x);
    return cel_absent(e) ? make(r->arena, &x, x.prefix) : e;
}

FN(is_cidr)
{
    struct ip_val x;
    return cel_of_bool(cel_absent(parse_cidr(r->arena, cel_str(v[0]), &x)));
}

FN(contains_ip)
{
    const struct ip_val *net = ip_in(v[0]);
    return cel_of_bool(same_prefix(net, ip_in(v[1]), net->prefix));
}

FN(contains_ip_text)
{
    const struct ip_val *net = ip_in(v[0]);
    struct ip_val x;
    struct cel_val e = parse_ip(r->arena, cel_str(v[1]), &x);
    return cel_absent(e) ? cel_of_bool(same_prefix(net, &x, net->prefix)) : e;
}

static bool within(const struct ip_val *net, const struct ip_val *x)
{
    return net->prefix <= x->prefix && same_prefix(net, x, net->prefix);
}

FN(contains_cidr)
{
    return cel_of_bool(within(ip_in(v[0]), ip_in(v[1])));
}

FN(contains_cidr_text)
{
    struct ip_val x;
    struct cel_val e = parse_cidr(r->arena, cel_str(v[1]), &x);
    return cel_absent(e) ? cel_of_bool(within(ip_in(v[0]), &x)) : e;
}

FN(cidr_to_ip)
{
    return make(r->arena, ip_in(v[0]), -1);
}

FN(prefix_length)
{
    return cel_of_int(ip_in(v[0])->prefix);
}

FN(masked)
{
    struct ip_val x = *ip_in(v[0]);
    for (int i = x.prefix; i < 8 * (int)n_bytes(&x); i++)
        x.b[i / 8] &= (unsigned char)~(0x80 >> i % 8);
    return make(r->arena, &x, x.prefix);
}

#define IP "net.IP"
#define CIDR "net.CIDR"
#define LIB CEL_LIB_KUBERNETES

const struct cel_fn cel_fns_net[] = {
    {"ip", "string_to_ip", "(string) " IP, ip_from, COST_ARG0, LIB, 30},
    {"ip", "cidr_ip", CIDR ".() " IP, cidr_to_ip, COST_ONE, LIB, 30},
    {"ip.isCanonical", "ip_is_canonical", "(string) bool", is_canonical, COST_ARG0_TWICE, LIB, 30},
    {"isIP", "is_ip", "(string) bool", is_ip, COST_ARG0, LIB, 30},
    {"family", "ip_family", IP ".() int", family, COST_ONE, LIB, 30},
    {"isUnspecified", "ip_is_unspecified", IP ".() bool", is_unspecified, COST_ONE, LIB, 30},
    {"isLoopback", "ip_is_loopback", IP ".() bool", is_loopback, COST_ONE, LIB, 30},
    {"isLinkLocalMulticast", "ip_is_link_local_multicast", IP ".() bool", is_link_local_multicast, COST_ONE, LIB, 30},
    {"isLinkLocalUnicast", "ip_is_link_local_unicast", IP ".() bool", is_link_local_unicast, COST_ONE, LIB, 30},
    {"isGlobalUnicast", "ip_is_global_unicast", IP ".() bool", is_global_unicast, COST_ONE, LIB, 30},
    {"string", "ip_to_string", "(" IP ") string", to_string, COST_ONE, LIB, 30},
    {"string", "cidr_to_string", "(" CIDR ") string", to_string, COST_ONE, LIB, 30},
    {"cidr", "string_to_cidr", "(string) " CIDR, cidr_from, COST_ARG0, LIB, 30},
    {"isCIDR", "is_cidr", "(string) bool", is_cidr, COST_ARG0, LIB, 30},
    {"containsIP", "cidr_contains_ip_string", CIDR ".(string) bool", contains_ip_text, COST_CIDR_IP_STRING, LIB, 30},
    {"containsIP", "cidr_contains_ip_ip", CIDR ".(" IP ") bool", contains_ip, COST_CIDR_IP, LIB, 30},
    {"containsCIDR", "cidr_contains_cidr_string", CIDR ".(string) bool", contains_cidr_text, COST_CIDR_CIDR_STRING, LIB, 30},
    {"containsCIDR", "cidr_contains_cidr", CIDR ".(" CIDR ") bool", contains_cidr, COST_CIDR_CIDR, LIB, 30},
    {"prefixLength", "cidr_prefix_length", CIDR ".() int", prefix_length, COST_ONE, LIB, 30},
    {"masked", "cidr_masked", CIDR ".() " CIDR, masked, COST_ONE, LIB, 30},
};
const size_t n_cel_fns_net = ARRAY_SIZE(cel_fns_net);
