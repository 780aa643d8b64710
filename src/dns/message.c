/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/message.h"

#include <stdio.h>
#include <strings.h>

enum { FLAG_QR = 0x8000, FLAG_AA = 0x0400, FLAG_TC = 0x0200, FLAG_RD = 0x0100, FLAG_RA = 0x0080, FLAG_CD = 0x0010 };
enum { OPCODE_MASK = 0x7800, EDNS_DO = 0x8000 };

/* ---- reading ------------------------------------------------------------------------------------------ */

char *dns_lower(char *name)
{
    for (char *c = name; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
    return name;
}

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
            ret[n++] = c == '.' || c == '\0' ? '?' : c; /* no name of ours holds these; they must not pass for a border of labels */
        }
    }
    ret[n] = '\0';
    dns_lower(ret);
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

bool dns_read_name(struct str wire, size_t *at, char ret[static DNS_NAME_MAX])
{
    size_t n = 0, after = 0, here = *at;
    for (unsigned jumps = 0;;) {
        if (here >= wire.n)
            return false;
        uint8_t len = (uint8_t)wire.p[here];
        if (len >= 0xc0) {
            if (here + 2 > wire.n || ++jumps > 64)
                return false;
            after = after ? after : here + 2;
            here = dns_get16(wire.p + here) & 0x3fff;
            continue;
        }
        if (len > 63 || here + 1 + len > wire.n || n + len + 2 > DNS_NAME_MAX)
            return false;
        here++;
        if (len == 0)
            break;
        if (n)
            ret[n++] = '.';
        for (size_t i = 0; i < len; i++, n++)
            ret[n] = wire.p[here + i] == '.' || !wire.p[here + i] ? '?' : wire.p[here + i];
        here += len;
    }
    ret[n] = '\0';
    *at = after ? after : here;
    return true;
}

static bool read_record(struct str wire, size_t *at, struct dns_record *ret)
{
    ret->name_at = *at;
    if (!dns_skip_name(wire, at) || *at + 10 > wire.n)
        return false;
    const char *p = wire.p + *at;
    size_t n = dns_get16(p + 8);
    ret->type = dns_get16(p);
    ret->class_ = dns_get16(p + 2);
    ret->ttl = dns_get32(p + 4);
    ret->ttl_at = *at + 4;
    *at += 10;
    ret->data = str_slice(wire, *at, n);
    *at += n;
    return *at <= wire.n;
}

/* Calls fn with every record, OPT among them. */
static bool each_record(struct str wire, bool (*fn)(void *arg, const struct dns_record *r), void *arg)
{
    size_t at = DNS_HEADER;
    if (wire.n < DNS_HEADER)
        return false;
    for (unsigned i = dns_get16(wire.p + 4); i; i--)
        if (!dns_skip_name(wire, &at) || (at += 4) > wire.n)
            return false;
    for (int section = DNS_ANSWER; section <= DNS_ADDITIONAL; section++)
        for (unsigned i = dns_get16(wire.p + 4 + 2 * section); i; i--) {
            struct dns_record r = {.section = (enum dns_section)section};
            if (!read_record(wire, &at, &r) || !fn(arg, &r))
                return false;
        }
    return true;
}

struct reader {
    bool (*fn)(void *arg, const struct dns_record *r);
    void *arg;
};

static bool but_for_opt(void *arg, const struct dns_record *r)
{
    const struct reader *to = arg;
    return r->type == DNS_OPT || to->fn(to->arg, r);
}

bool dns_each_record(struct str wire, bool (*fn)(void *arg, const struct dns_record *r), void *arg)
{
    struct reader to = {fn, arg};
    return each_record(wire, but_for_opt, &to);
}

static bool keep_opt(void *arg, const struct dns_record *r)
{
    if (r->type == DNS_OPT)
        *(struct dns_record *)arg = *r;
    return true;
}

bool dns_find_opt(struct str wire, size_t *ret_at, struct str *ret_options)
{
    struct dns_record opt = {0};
    if (!each_record(wire, keep_opt, &opt) || opt.type != DNS_OPT)
        return false;
    *ret_at = opt.name_at;
    *ret_options = opt.data;
    return true;
}

/* RFC 6891 section 6.1: one OPT record at most. */
static bool take_edns(void *arg, const struct dns_record *r)
{
    struct dns_query *q = arg;
    if (r->type != DNS_OPT)
        return true;
    if (q->edns)
        return false;
    q->edns = true;
    q->edns_version = r->ttl >> 16 & 0xff;
    q->udp_size = r->class_ < 512 ? 512 : r->class_;
    q->dnssec_ok = r->ttl & EDNS_DO;
    q->options = r->data;
    return true;
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
    ret->flags = flags;
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
    if (!each_record(wire, take_edns, ret))
        return DNS_FORMERR;
    return ret->edns_version ? DNS_BADVERS : 0; /* RFC 6891 section 6.1.3: a version that we do not speak */
}

bool dns_same_question(struct str a, struct str b)
{
    struct dns_query x, y;
    size_t at = DNS_HEADER, other = DNS_HEADER;
    if (a.n < DNS_HEADER || b.n < DNS_HEADER || dns_get16(a.p + 4) != 1 || dns_get16(b.p + 4) != 1)
        return false;
    if (read_question_name(a, &at, x.name) || read_question_name(b, &other, y.name) || at + 4 > a.n || at != other || other + 4 > b.n)
        return false;
    return !strcmp(x.name, y.name) && !memcmp(a.p + at, b.p + at, 4);
}

/* ---- names of types and codes --------------------------------------------------------------------------- */

static const struct {
    uint16_t type;
    const char *text;
} type_names[] = {
    {DNS_A, "A"},       {DNS_NS, "NS"},   {DNS_CNAME, "CNAME"}, {DNS_SOA, "SOA"},     {DNS_PTR, "PTR"},
    {DNS_HINFO, "HINFO"}, {DNS_MX, "MX"}, {DNS_TXT, "TXT"},     {DNS_AAAA, "AAAA"},   {DNS_SRV, "SRV"},
    {DNS_NAPTR, "NAPTR"},      {DNS_DNAME, "DNAME"}, {43, "DS"},       {46, "RRSIG"},        {47, "NSEC"},
    {48, "DNSKEY"},     {52, "TLSA"},     {64, "SVCB"},         {65, "HTTPS"},        {99, "SPF"},
    {DNS_IXFR, "IXFR"}, {DNS_AXFR, "AXFR"}, {DNS_ANY, "ANY"},   {257, "CAA"},
};

const char *dns_type_text(uint16_t type, char buf[static 16])
{
    for (size_t i = 0; i < ARRAY_SIZE(type_names); i++)
        if (type_names[i].type == type)
            return type_names[i].text;
    snprintf(buf, 16, "TYPE%u", type);
    return buf;
}

int dns_type_find(struct str text)
{
    for (size_t i = 0; i < ARRAY_SIZE(type_names); i++)
        if (strlen(type_names[i].text) == text.n && !strncasecmp(type_names[i].text, text.p, text.n))
            return type_names[i].type;
    return -1;
}

static const char *const code_names[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP",  "REFUSED",
                                         "YXDOMAIN", "YXRRSET", "NXRRSET",  "NOTAUTH",  "NOTZONE"};

const char *dns_code_text(unsigned code)
{
    return code < ARRAY_SIZE(code_names) ? code_names[code] : code == DNS_BADVERS ? "BADVERS" : "OTHER";
}

int dns_code_find(struct str text)
{
    uint64_t n;
    if (str_to_u64(text, &n) == 0)
        return n <= DNS_BADVERS ? (int)n : -1;
    for (size_t i = 0; i < ARRAY_SIZE(code_names); i++)
        if (strlen(code_names[i]) == text.n && !strncasecmp(code_names[i], text.p, text.n))
            return (int)i;
    return -1;
}

static const struct {
    uint16_t class_;
    const char *text;
} class_names[] = {{DNS_IN, "IN"}, {DNS_CH, "CH"}, {DNS_HS, "HS"}, {DNS_ANY, "ANY"}};

const char *dns_class_text(uint16_t class_)
{
    for (size_t i = 0; i < ARRAY_SIZE(class_names); i++)
        if (class_names[i].class_ == class_)
            return class_names[i].text;
    return "OTHER";
}

int dns_class_find(struct str text)
{
    for (size_t i = 0; i < ARRAY_SIZE(class_names); i++)
        if (strlen(class_names[i].text) == text.n && !strncasecmp(class_names[i].text, text.p, text.n))
            return class_names[i].class_;
    return -1;
}

/* ---- writing ------------------------------------------------------------------------------------------ */

void dns_reply_start(struct dns_reply *r, const struct dns_query *q, size_t limit)
{
    struct buf memory = r->out;
    *r = (struct dns_reply){.limit = limit, .query = q, .out = memory};
    r->out.n = 0;
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

/* What is too long is cut at 63: our own names never are. */
bool dns_write_name(struct buf *b, const char *name)
{
    struct str rest = str_of(name), label;
    size_t start = b->n;
    bool fits = true;
    while (rest.n && str_next(&rest, '.', &label)) {
        if (!label.n)
            continue;
        fits = fits && label.n <= 63;
        buf_putc(b, (char)MIN(label.n, (size_t)63));
        buf_put(b, label.p, MIN(label.n, (size_t)63));
    }
    buf_putc(b, '\0');
    return fits && b->n - start <= 255;
}

bool dns_write_question(struct buf *b, const char *name, uint16_t type, uint16_t class_)
{
    bool fits = dns_write_name(b, name);
    put16(b, type);
    put16(b, class_);
    return fits;
}

/* Begins a record and returns where it starts; end_record fills its length or takes it back when it is too much. */
static size_t start_record(struct dns_reply *r, const char *name, unsigned type, uint32_t ttl, size_t *ret_length_at)
{
    size_t start = r->out.n;
    if (name)
        dns_write_name(&r->out, name);
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
    size_t reserve = r->query->edns ? OPT_SIZE + r->options.n : 0;
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
    dns_write_name(&r->out, target);
    end_record(r, s, start, length_at);
}

void dns_put_srv(struct dns_reply *r, enum dns_section s, const char *name, uint32_t ttl, uint16_t weight, uint16_t port,
                 const char *target)
{
    size_t length_at, start = start_record(r, name, DNS_SRV, ttl, &length_at);
    put16(&r->out, 0);
    put16(&r->out, weight);
    put16(&r->out, port);
    dns_write_name(&r->out, target); /* RFC 2782: never compressed */
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

void dns_put_soa(struct dns_reply *r, enum dns_section s, const char *zone, uint32_t ttl, uint32_t minimum, uint32_t serial)
{
    size_t length_at, start = start_record(r, zone, DNS_SOA, ttl, &length_at);
    const char *dot = *zone ? "." : "";
    char name[DNS_NAME_MAX + 16];
    snprintf(name, sizeof(name), "ns.dns%s%s", dot, zone);
    dns_write_name(&r->out, name);
    snprintf(name, sizeof(name), "hostmaster%s%s", dot, zone);
    dns_write_name(&r->out, name);
    put32(&r->out, serial);
    put32(&r->out, 7200);    /* refresh */
    put32(&r->out, 1800);    /* retry */
    put32(&r->out, 86400);   /* expire */
    put32(&r->out, minimum); /* RFC 2308 */
    end_record(r, s, start, length_at);
}

void dns_put_data(struct dns_reply *r, enum dns_section s, const char *name, uint16_t type, uint32_t ttl, struct str data)
{
    put_bytes(r, s, name, type, ttl, data.p, data.n);
}

/* How many names a record's data holds, and how many bytes stand before them. */
static unsigned names_in(uint16_t type, struct str data, size_t *ret_before)
{
    *ret_before = type == DNS_MX ? 2 : type == DNS_SRV ? 6 : 0;
    switch (type) {
    case DNS_NS:
    case DNS_CNAME:
    case DNS_PTR:
    case DNS_DNAME:
    case DNS_MX:
    case DNS_SRV: return 1;
    case DNS_SOA: return 2;
    case DNS_NAPTR: /* RFC 3403: two numbers and three texts */
        *ret_before = 4;
        for (int i = 0; i < 3; i++)
            *ret_before += *ret_before < data.n ? 1u + (uint8_t)data.p[*ret_before] : data.n;
        return 1;
    default: return 0;
    }
}

void dns_put_record(struct dns_reply *r, enum dns_section s, const char *owner, const struct dns_record *from, struct str wire,
                    dns_rename *rename, void *arg)
{
    size_t before, length_at, start = start_record(r, owner, from->type, from->ttl, &length_at);
    size_t at = (size_t)(from->data.p - wire.p), end = at + from->data.n;
    unsigned names = names_in(from->type, from->data, &before);
    bool whole = names == 0 || from->data.n >= before;
    if (names && whole) {
        buf_put(&r->out, wire.p + at, before);
        at += before;
    }
    for (unsigned i = 0; i < names && whole; i++) {
        char name[DNS_NAME_MAX];
        whole = dns_read_name(str_slice(wire, 0, end), &at, name);
        if (whole && rename && i == 0)
            rename(arg, name);
        if (whole)
            dns_write_name(&r->out, name);
    }
    if (!whole) { /* broken: it is left out */
        r->out.n = start;
        return;
    }
    buf_put(&r->out, wire.p + at, end - at);
    end_record(r, s, start, length_at);
}

static void put_opt(struct dns_reply *r, unsigned code)
{
    buf_putc(&r->out, '\0');
    put16(&r->out, DNS_OPT);
    put16(&r->out, DNS_UDP_SIZE);
    put32(&r->out, (uint32_t)(code >> 4) << 24 | (r->query->dnssec_ok ? EDNS_DO : 0u));
    put16(&r->out, (unsigned)r->options.n);
    buf_putstr(&r->out, r->options);
    r->counts[DNS_ADDITIONAL]++;
}

void dns_reply_end(struct dns_reply *r, enum dns_code code, bool authoritative)
{
    const struct dns_query *q = r->query;
    if (q->edns)
        put_opt(r, code);
    unsigned flags = FLAG_QR | FLAG_RA | ((unsigned)code & 15) | (q->flags & OPCODE_MASK);
    flags |= (authoritative ? FLAG_AA : 0u) | (r->truncated ? FLAG_TC : 0u) | (q->recursion_desired ? FLAG_RD : 0u) |
             (q->checking_disabled ? FLAG_CD : 0u);
    char *h = r->out.p;
    dns_set16(h, q->id);
    dns_set16(h + 2, (uint16_t)flags);
    dns_set16(h + 4, q->question.n ? 1 : 0);
    for (int s = DNS_ANSWER; s <= DNS_ADDITIONAL; s++)
        dns_set16(h + 4 + 2 * s, r->counts[s]);
}
