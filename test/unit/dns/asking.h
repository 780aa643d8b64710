/* SPDX-License-Identifier: Apache-2.0 */
/* Makes questions and prints answers as text, for the tests of dns/. */
#pragma once

#include "../testing.h"

#include "dns/message.h"

/* The wire form of a question; edns adds an OPT record with a UDP size of 1232. */
static inline void make_question(const char *name, uint16_t type, bool edns, struct buf *b)
{
    const char header[12] = {0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, edns};
    struct str rest = str_of(name), label;
    buf_put(b, header, sizeof(header));
    while (rest.n && str_next(&rest, '.', &label)) {
        buf_putc(b, (char)label.n);
        buf_putstr(b, label);
    }
    const char end[5] = {0, (char)(type >> 8), (char)type, 0, 1};
    buf_put(b, end, sizeof(end));
    if (edns)
        buf_put(b, "\0\0\x29\x04\xd0\0\0\0\0\0\0", 11);
}

static inline size_t print_name(struct str wire, size_t at, struct buf *out)
{
    size_t after = 0;
    const char *dot = "";
    for (;;) {
        uint8_t len = (uint8_t)wire.p[at];
        if (len >= 0xc0) {
            after = after ? after : at + 2;
            at = dns_get16(wire.p + at) & 0x3fff;
            continue;
        }
        if (!len)
            return after ? after : at + 1;
        buf_printf(out, "%s%.*s", dot, len, wire.p + at + 1);
        dot = ".";
        at += 1u + len;
    }
}

static inline void print_data(struct str wire, size_t at, uint16_t type, uint16_t n, struct buf *out)
{
    const uint8_t *p = (const uint8_t *)wire.p + at;
    if (type == DNS_A)
        buf_printf(out, "A %u.%u.%u.%u", p[0], p[1], p[2], p[3]);
    else if (type == DNS_AAAA)
        buf_printf(out, "AAAA ..%02x%02x", p[14], p[15]);
    else if (type == DNS_SRV)
        buf_printf(out, "SRV %u ", dns_get16(wire.p + at + 4)), print_name(wire, at + 6, out);
    else if (type == DNS_TXT)
        buf_printf(out, "TXT %.*s", p[0], (const char *)p + 1);
    else if (type == DNS_CNAME || type == DNS_PTR || type == DNS_NS)
        buf_puts(out, type == DNS_CNAME ? "CNAME " : type == DNS_PTR ? "PTR " : "NS "), print_name(wire, at, out);
    else
        buf_printf(out, type == DNS_SOA ? "SOA" : "type%u(%u)", type, n);
}

/* "0 aa | name A 1.2.3.4; name ... | authority | additional" without OPT: code, flags, sections. */
static inline struct str print_reply(struct arena *a, struct str wire)
{
    struct buf out CLEANUP_BUF = BUF_INIT;
    size_t at = DNS_HEADER;
    buf_printf(&out, "%d%s%s", wire.p[3] & 15, wire.p[2] & 4 ? " aa" : "", wire.p[2] & 2 ? " tc" : "");
    for (unsigned i = dns_get16(wire.p + 4); i; i--) {
        dns_skip_name(wire, &at);
        at += 4;
    }
    for (int section = 6; section <= 10; section += 2) {
        buf_puts(&out, " |");
        for (unsigned i = dns_get16(wire.p + section); i; i--) {
            struct buf name CLEANUP_BUF = BUF_INIT;
            at = print_name(wire, at, &name);
            uint16_t type = dns_get16(wire.p + at), n = dns_get16(wire.p + at + 8);
            at += 10;
            if (type != DNS_OPT) {
                buf_printf(&out, " %s ", name.p);
                print_data(wire, at, type, n, &out);
                buf_putc(&out, ';');
            }
            at += n;
        }
    }
    return arena_str(a, buf_str(&out));
}
