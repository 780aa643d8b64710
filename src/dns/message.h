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
    DNS_HINFO = 13,
    DNS_MX = 15,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_SRV = 33,
    DNS_NAPTR = 35,
    DNS_DNAME = 39,
    DNS_OPT = 41,
    DNS_IXFR = 251,
    DNS_AXFR = 252,
    DNS_ANY = 255,
};
enum dns_class { DNS_IN = 1, DNS_CH = 3, DNS_HS = 4 };
enum dns_code {
    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
    DNS_REFUSED = 5,
    DNS_BADVERS = 16,
};

enum { DNS_HEADER = 12, DNS_NAME_MAX = 256, DNS_UDP_SIZE = 1232, DNS_TCP_SIZE = 65535 };

struct dns_query {
    uint16_t id;
    bool recursion_desired, checking_disabled, dnssec_ok, edns;
    uint16_t udp_size;         /* what the asker takes over UDP: 512 without EDNS */
    uint16_t flags;            /* of the header, as they came */
    uint8_t edns_version;
    uint16_t type, class_;
    char name[DNS_NAME_MAX];   /* lower case, labels joined by dots, without the last dot */
    struct str question;       /* the question section as it came (case kept) */
    struct str options;        /* of EDNS, as they came: code, length, bytes each */
    struct str onward;         /* the same, for whoever is asked in turn: what rules made */
};

/* 0; or a dns_code to answer with when at least the header could be read; -EBADMSG when nothing can be answered (too
 * short, or a response). */
int dns_parse(struct str wire, struct dns_query *ret);

/* A response being built. Records go into sections in order: answers, then authority, then additional. */
struct dns_reply {
    struct buf out;
    size_t limit;  /* bytes; what does not fit sets TC */
    bool truncated;
    bool foreign;  /* a message of somebody else */
    uint16_t counts[4];
    struct str options; /* of the OPT record, when there is one; set before the records */
    const struct dns_query *query;
};
enum dns_section { DNS_ANSWER = 1, DNS_AUTHORITY = 2, DNS_ADDITIONAL = 3 };

/* r is zeroed or was used before: its memory is used again. */
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
/* ttl: of the record; minimum: how long a "no" may be kept. */
void dns_put_soa(struct dns_reply *r, enum dns_section s, const char *zone, uint32_t ttl, uint32_t minimum, uint32_t serial);
/* Record data that is there already, without compressed names. */
void dns_put_data(struct dns_reply *r, enum dns_section s, const char *name, uint16_t type, uint32_t ttl, struct str data);
/* Sets flags and counts, adds OPT when asked with EDNS. The message is r->out. */
void dns_reply_end(struct dns_reply *r, enum dns_code code, bool authoritative);

/* Steps over the name at *at within a message; false when it is broken. */
bool dns_skip_name(struct str wire, size_t *at);
/* The name at *at as dotted text, case kept, compression followed; false when it is broken. */
bool dns_read_name(struct str wire, size_t *at, char ret[static DNS_NAME_MAX]);
/* A name's wire form; false when a label or the whole is too long. "" and "." are the root. */
bool dns_write_name(struct buf *b, const char *name);
/* A question section for name, appended. */
bool dns_write_question(struct buf *b, const char *name, uint16_t type, uint16_t class_);

/* One record of a message that was read. */
struct dns_record {
    enum dns_section section;
    size_t name_at; /* where its name stands, for dns_read_name */
    uint16_t type, class_;
    uint32_t ttl;
    size_t ttl_at; /* where its TTL stands */
    struct str data;
};
/* Calls fn with each record (OPT left out); false when the message is broken or fn returned false. */
bool dns_each_record(struct str wire, bool (*fn)(void *arg, const struct dns_record *r), void *arg);
/* The OPT record of a message: where it stands and its options; false when there is none. */
bool dns_find_opt(struct str wire, size_t *ret_at, struct str *ret_options);
/* Puts a record of another message, with its names written out. owner: NULL for the question's name. rename (may be NULL)
 * may change the name that the record leads to. */
typedef void dns_rename(void *arg, char name[static DNS_NAME_MAX]);
void dns_put_record(struct dns_reply *r, enum dns_section s, const char *owner, const struct dns_record *from, struct str wire,
                    dns_rename *rename, void *arg);
/* Whether both messages ask the same, names in any case. */
bool dns_same_question(struct str a, struct str b);

/* ASCII letters to lower case, in place (RFC 4343); returns it. */
char *dns_lower(char *name);
const char *dns_type_text(uint16_t type, char buf[static 16]); /* "A", "TYPE65280" */
int dns_type_find(struct str text);                             /* -1: unknown; "ANY" is 255 */
const char *dns_code_text(unsigned code);                       /* "NOERROR" */
int dns_code_find(struct str text);                             /* any case, or a number; -1: unknown */
const char *dns_class_text(uint16_t class_); /* "IN" */
int dns_class_find(struct str text);         /* -1: unknown; "ANY" is 255 */

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
