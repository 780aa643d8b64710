/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/message.h"

#include <stdio.h>

enum { FLAG_QR = 0x8000, FLAG_AA = 0x0400, FLAG_TC = 0x0200, FLAG_RD = 0x0100, FLAG_RA = 0x0080, FLAG_CD = 0x0010 };
enum { OPCODE_MASK = 0x7800, EDNS_DO = 0x8000 };

/* ---- reading ------------------------------------------------------------------------------------------ */

/* The question's name, which may not be compressed (nothing stands before it). */
static int read_question_name(struct str wire, size_t *at, char ret[static DNS_NAME_MAX])
{
    size_t n = 0;
    for (;;) {
        if (*at >= wire.n)
            return DNS_FORMERR;
        size_t len = (uint8_t)wire.p[(*at)++];
        if (len == 0)
            break;
        if (len > 63 || *at + len > wire.n || n + len + 1 >= DNS_NAME_MAX)
            return DNS_FORMERR;
        if (n)
            ret[n++] = '.';
        for (size_t i = 0; i < len; i++) {
            char c = wire.p[(*at)++];
            if (c == '.' || c == '\0') /* no name of ours holds these; they must not pass for a border of labels */
                c = '?';
            ret[n++] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
        }
    }
    ret[n] = '\0';
    return 0;
}

bool dns_skip_name(struct str wire, size_t *at)
{
    for (;;) {
        if (*at >= wire.n)
            return false;
        uint8_t len = (uint8_t)wire.p[*at];
        if (len >= 0xc0) {
            *at += 2;
            return *at <= wire.n;
        }
        if (len > 63)
            return false;
        *at += 1u + len;
        if (len == 0)
            return *at <= wire.n;
    }
}

struct record {
    uint16_t type, class_;
    size_t ttl_at;
    uint32_t ttl;
};

static bool read_record(struct str wire, size_t *at, struct record *ret)
{
    if (!dns_skip_name(wire, at) || *at + 10 > wire.n)
        return false;
    const char *p = wire.p + *at;
    *ret = (struct record){dns_get16(p), dns_get16(p + 2), *at + 4, dns_get32(p + 4)};
    *at += 10u + dns_get16(p + 8);
    return *at <= wire.n;
}

static int read_edns(struct str wire, size_t at, struct dns_query *q)
{
    unsigned records = (unsigned)dns_get16(wire.p + 6) + dns_get16(wire.p + 8) + dns_get16(wire.p + 10);
    for (unsigned i = 0; i < records; i++) {
        struct record r;
        if (!read_record(wire, &at, &r))
            return DNS_FORMERR;
        if (r.type != DNS_OPT)
            continue;
        q->edns = true;
        q->udp_size = r.class_ < 512 ? 512 : r.class_;
        q->dnssec_ok = r.ttl & EDNS_DO;
    }
    return 0;
}

int dns_parse(struct str wire, struct dns_query *ret)
{
    *ret = (struct dns_query){.udp_size = 512};
    if (wire.n < DNS_HEADER)
        return -EBADMSG;
    uint16_t flags = dns_get16(wire.p + 2);
    if (flags & FLAG_QR)
        return -EBADMSG;
    ret->id = dns_get16(wire.p);
    ret->recursion_desired = flags & FLAG_RD;
    ret->checking_disabled = flags & FLAG_CD;
    if (flags & OPCODE_MASK)
        return DNS_NOTIMP;
    if (dns_get16(wire.p + 4) != 1)
        return DNS_FORMERR;
    size_t at = DNS_HEADER;
    int r = read_question_name(wire, &at, ret->name);
    if (r || at + 4 > wire.n)
        return DNS_FORMERR;
    ret->type = dns_get16(wire.p + at);
    ret->class_ = dns_get16(wire.p + at + 2);
    ret->question = str_slice(wire, DNS_HEADER, at + 4 - DNS_HEADER);
    return read_edns(wire, at + 4, ret);
}

bool dns_each_ttl(struct str wire, void (*fn)(void *arg, size_t at, uint16_t type, uint32_t ttl), void *arg)
{
    size_t at = DNS_HEADER;
    if (wire.n < DNS_HEADER)
        return false;
    for (unsigned i = dns_get16(wire.p + 4); i; i--)
        if (!dns_skip_name(wire, &at) || (at += 4) > wire.n)
            return false;
    for (int section = 6; section <= 10; section += 2)
        for (unsigned i = dns_get16(wire.p + section); i; i--) {
            struct record r;
            if (!read_record(wire, &at, &r))
                return false;
            if (r.type != DNS_OPT)
                fn(arg, r.ttl_at, r.type, r.ttl);
        }
    return true;
}

/* ---- writing ------------------------------------------------------------------------------------------ */

void dns_reply_start(struct dns_reply *r, const struct dns_query *q, size_t limit)
{
    *r = (struct dns_reply){.limit = limit, .query = q};
    memset(buf_grow(&r->out, DNS_HEADER), 0, DNS_HEADER);
    r->out.n = DNS_HEADER;
    buf_putstr(&r->out, q->question);
}

void dns_reply_done(struct dns_reply *r)
{
    buf_done(&r->out);
}

static void put16(struct buf *b, unsigned v)
{
    char p[2];
    dns_set16(p, (uint16_t)v);
    buf_put(b, p, 2);
}

static void put32(struct buf *b, uint32_t v)
{
    char p[4];
    dns_set32(p, v);
    buf_put(b, p, 4);
}

static void put_name(struct buf *b, const char *name)
{
    struct str rest = str_of(name), label;
    while (rest.n && str_next(&rest, '.', &label)) {
        if (!label.n)
            continue;
        buf_putc(b, (char)MIN(label.n, (size_t)63));
        buf_put(b, label.p, MIN(label.n, (size_t)63));
    }
    buf_putc(b, '\0');
}

/* Begins a record and returns where it starts; end_record fills its length or takes it back when it is too much. */
static size_t start_record(struct dns_reply *r, const char *name, unsigned type, uint32_t ttl, size_t *ret_length_at)
{
    size_t start = r->out.n;
    if (name)
        put_name(&r->out, name);
    else
        put16(&r->out, 0xc000 | DNS_HEADER); /* the question's name */
    put16(&r->out, type);
    put16(&r->out, 1);
    put32(&r->out, ttl);
    *ret_length_at = r->out.n;
    put16(&r->out, 0);
    return start;
}

enum { OPT_SIZE = 11 };

static void end_record(struct dns_reply *r, enum dns_section s, size_t start, size_t length_at)
{
    size_t reserve = r->query->edns ? OPT_SIZE : 0;
    if (r->truncated || r->out.n + reserve > r->limit) {
        r->out.n = start;
        if (s != DNS_ADDITIONAL) /* RFC 2181 section 9: TC only when something required is missing */
            r->truncated = true;
        return;
    }
    dns_set16(r->out.p + length_at, (uint16_t)(r->out.n - length_at - 2));
    r->counts[s]++;
}

static void put_bytes(struct dns_reply *r, enum dns_section s, const char *name, unsigned type, uint32_t ttl,
                      const void *data, size_t n)
{
    size_t length_at, start = start_record(r, name, type, ttl, &length_at);
    buf_put(&r->out, data, n);
    end_record(r, s, start, length_at);
}

void dns_put_a(struct dns_reply *r, enum dns_section s, const char *name, uint32_t ttl, const uint8_t ip[4])
{
    put_bytes(r, s, name, DNS_A, ttl, ip, 4);
}

void dns_put_aaaa(struct dns_reply *r, enum dns_section s, const char *name, uint32_t ttl, const uint8_t ip[16])
{
    put_bytes(r, s, name, DNS_AAAA, ttl, ip, 16);
}

void dns_put_name(struct dns_reply *r, enum dns_section s, const char *name, enum dns_type type, uint32_t ttl,
                  const char *target)
{
    size_t length_at, start = start_record(r, name, type, ttl, &length_at);
    put_name(&r->out, target);
    end_record(r, s, start, length_at);
}

void dns_put_srv(struct dns_reply *r, enum dns_section s, const char *name, uint32_t ttl, uint16_t weight, uint16_t port,
                 const char *target)
{
    size_t length_at, start = start_record(r, name, DNS_SRV, ttl, &length_at);
    put16(&r->out, 0);
    put16(&r->out, weight);
    put16(&r->out, port);
    put_name(&r->out, target); /* RFC 2782: never compressed */
    end_record(r, s, start, length_at);
}

void dns_put_txt(struct dns_reply *r, enum dns_section s, const char *name, uint32_t ttl, struct str text)
{
    size_t length_at, start = start_record(r, name, DNS_TXT, ttl, &length_at);
    text.n = MIN(text.n, (size_t)255);
    buf_putc(&r->out, (char)text.n);
    buf_putstr(&r->out, text);
    end_record(r, s, start, length_at);
}

void dns_put_soa(struct dns_reply *r, enum dns_section s, const char *zone, uint32_t ttl, uint32_t serial)
{
    size_t length_at, start = start_record(r, zone, DNS_SOA, ttl, &length_at);
    char name[DNS_NAME_MAX + 16];
    snprintf(name, sizeof(name), "ns.dns.%s", zone);
    put_name(&r->out, name);
    snprintf(name, sizeof(name), "hostmaster.%s", zone);
    put_name(&r->out, name);
    put32(&r->out, serial);
    put32(&r->out, 7200);  /* refresh */
    put32(&r->out, 1800);  /* retry */
    put32(&r->out, 86400); /* expire */
    put32(&r->out, ttl);   /* how long a "no" may be kept (RFC 2308) */
    end_record(r, s, start, length_at);
}

static void put_opt(struct dns_reply *r)
{
    buf_putc(&r->out, '\0');
    put16(&r->out, DNS_OPT);
    put16(&r->out, DNS_UDP_SIZE);
    put32(&r->out, 0);
    put16(&r->out, 0);
    r->counts[DNS_ADDITIONAL]++;
}

void dns_reply_end(struct dns_reply *r, enum dns_code code, bool authoritative)
{
    const struct dns_query *q = r->query;
    if (q->edns)
        put_opt(r);
    unsigned flags = FLAG_QR | FLAG_RA | (unsigned)code;
    flags |= (authoritative ? FLAG_AA : 0u) | (r->truncated ? FLAG_TC : 0u) | (q->recursion_desired ? FLAG_RD : 0u) |
             (q->checking_disabled ? FLAG_CD : 0u);
    char *h = r->out.p;
    dns_set16(h, q->id);
    dns_set16(h + 2, (uint16_t)flags);
    dns_set16(h + 4, q->question.n ? 1 : 0);
    for (int s = DNS_ANSWER; s <= DNS_ADDITIONAL; s++)
        dns_set16(h + 4 + 2 * s, r->counts[s]);
}
