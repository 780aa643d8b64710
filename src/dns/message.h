/* SPDX-License-Identifier: Apache-2.0 */
/* DNS messages on the wire (RFC 1035, RFC 6891, RFC 2782, RFC 3596): one question in, records out. */
#pragma once

#include "base/arena.h"

enum dns_type {
    DNS_A = 1,
    DNS_NS = 2,
    DNS_CNAME = 5,
    DNS_SOA = 6,
    DNS_PTR = 12,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_SRV = 33,
    DNS_OPT = 41,
    DNS_ANY = 255,
};
enum dns_code { DNS_NOERROR = 0, DNS_FORMERR = 1, DNS_SERVFAIL = 2, DNS_NXDOMAIN = 3, DNS_NOTIMP = 4, DNS_REFUSED = 5 };

enum { DNS_HEADER = 12, DNS_NAME_MAX = 256, DNS_UDP_SIZE = 1232, DNS_TCP_SIZE = 65535 };

struct dns_query {
    uint16_t id;
    bool recursion_desired, checking_disabled, dnssec_ok, edns;
    uint16_t udp_size;         /* what the asker takes over UDP: 512 without EDNS */
    uint16_t type, class_;
    char name[DNS_NAME_MAX];   /* lower case, labels joined by dots, without the last dot */
    struct str question;       /* the question section as it came (case kept) */
};

/* 0; or a dns_code to answer with when at least the header could be read; -EBADMSG when nothing can be answered (too
 * short, or a response). */
int dns_parse(struct str wire, struct dns_query *ret);

/* A response being built. Records go into sections in order: answers, then authority, then additional. */
struct dns_reply {
    struct buf out;
    size_t limit;  /* bytes; what does not fit sets TC */
    bool truncated;
    uint16_t counts[4];
    const struct dns_query *query;
};
enum dns_section { DNS_ANSWER = 1, DNS_AUTHORITY = 2, DNS_ADDITIONAL = 3 };

void dns_reply_start(struct dns_reply *r, const struct dns_query *q, size_t limit);
void dns_reply_done(struct dns_reply *r);
/* name: dotted text, any case; NULL: the question's name. */
void dns_put_a(struct dns_reply *r, enum dns_section s, const char *name, uint32_t ttl, const uint8_t ip[4]);
void dns_put_aaaa(struct dns_reply *r, enum dns_section s, const char *name, uint32_t ttl, const uint8_t ip[16]);
/* CNAME, PTR, NS */
void dns_put_name(struct dns_reply *r, enum dns_section s, const char *name, enum dns_type type, uint32_t ttl,
                  const char *target);
void dns_put_srv(struct dns_reply *r, enum dns_section s, const char *name, uint32_t ttl, uint16_t weight, uint16_t port,
                 const char *target);
void dns_put_txt(struct dns_reply *r, enum dns_section s, const char *name, uint32_t ttl, struct str text);
void dns_put_soa(struct dns_reply *r, enum dns_section s, const char *zone, uint32_t ttl, uint32_t serial);
/* Sets flags and counts, adds OPT when asked with EDNS. The message is r->out. */
void dns_reply_end(struct dns_reply *r, enum dns_code code, bool authoritative);

/* Steps over the name at *at within a message; false when it is broken. */
bool dns_skip_name(struct str wire, size_t *at);
/* Calls fn with the offset of each record's TTL (OPT left out), and its type; false when the message is broken. */
bool dns_each_ttl(struct str wire, void (*fn)(void *arg, size_t at, uint16_t type, uint32_t ttl), void *arg);

static inline uint16_t dns_get16(const char *p)
{
    return (uint16_t)((uint8_t)p[0] << 8 | (uint8_t)p[1]);
}
static inline uint32_t dns_get32(const char *p)
{
    return (uint32_t)dns_get16(p) << 16 | dns_get16(p + 2);
}
static inline void dns_set16(char *p, uint16_t v)
{
    p[0] = (char)(v >> 8);
    p[1] = (char)v;
}
static inline void dns_set32(char *p, uint32_t v)
{
    dns_set16(p, (uint16_t)(v >> 16));
    dns_set16(p + 2, (uint16_t)v);
}
