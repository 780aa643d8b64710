/* SPDX-License-Identifier: Apache-2.0 */
#include "announce/message.h"

#include <string.h>

enum { SOLICITATION = 135, ADVERTISEMENT = 136, ND_HEADER = 24 };
enum { OPTION_SOURCE_MAC = 1, OPTION_TARGET_MAC = 2 };
enum { FLAG_SOLICITED = 0x40, FLAG_OVERRIDE = 0x20 };

/* ---- ARP ------------------------------------------------------------------------------------------------------ */

/* Ethernet, IPv4, six bytes of the one and four of the other. */
static const uint8_t arp_kind[] = {0, 1, 8, 0, 6, 4};

static struct ip ip4_at(const uint8_t *p)
{
    struct ip ip = {.family = AF_INET};
    memcpy(ip.b, p, 4);
    return ip;
}

bool arp_parse(const uint8_t *p, size_t n, struct arp_message *ret)
{
    if (n < MESSAGE_ARP_SIZE || memcmp(p, arp_kind, sizeof(arp_kind)) != 0)
        return false;
    struct arp_message m = {.op = (unsigned)p[6] << 8 | p[7], .sender = ip4_at(p + 14), .target = ip4_at(p + 24)};
    if (m.op != ARP_REQUEST && m.op != ARP_REPLY)
        return false;
    memcpy(m.sender_mac, p + 8, 6);
    memcpy(m.target_mac, p + 18, 6);
    *ret = m;
    return true;
}

void arp_write(const struct arp_message *m, uint8_t ret[static MESSAGE_ARP_SIZE])
{
    memcpy(ret, arp_kind, sizeof(arp_kind));
    ret[6] = 0;
    ret[7] = (uint8_t)m->op;
    memcpy(ret + 8, m->sender_mac, 6);
    memcpy(ret + 14, m->sender.b, 4);
    memcpy(ret + 18, m->target_mac, 6);
    memcpy(ret + 24, m->target.b, 4);
}

/* ---- neighbour discovery ---------------------------------------------------------------------------------------- */

/* False: an option without a length, or one that goes beyond the end. */
static bool find_mac(const uint8_t *p, size_t n, uint8_t kind, struct neighbour_message *m)
{
    for (size_t at = ND_HEADER; at < n;) {
        if (n - at < 8 || p[at + 1] == 0 || (size_t)p[at + 1] * 8 > n - at)
            return false;
        if (p[at] == kind && p[at + 1] == 1) {
            m->has_mac = true;
            memcpy(m->mac, p + at + 2, 6);
        }
        at += (size_t)p[at + 1] * 8;
    }
    return true;
}

bool neighbour_parse(const uint8_t *p, size_t n, int hops, struct neighbour_message *ret)
{
    struct neighbour_message m = {.target.family = AF_INET6};
    if (n < ND_HEADER || hops != 255 || p[1] != 0 || (p[0] != SOLICITATION && p[0] != ADVERTISEMENT) || p[8] == 0xff)
        return false;
    m.solicitation = p[0] == SOLICITATION;
    memcpy(m.target.b, p + 8, 16);
    if (!find_mac(p, n, m.solicitation ? OPTION_SOURCE_MAC : OPTION_TARGET_MAC, &m))
        return false;
    *ret = m;
    return true;
}

static void write_neighbour(uint8_t *ret, uint8_t kind, uint8_t flags, const struct ip *target, uint8_t option, const uint8_t mac[static 6])
{
    memset(ret, 0, MESSAGE_ADVERT_SIZE);
    ret[0] = kind;
    ret[4] = flags;
    memcpy(ret + 8, target->b, 16);
    ret[24] = option;
    ret[25] = 1;
    memcpy(ret + 26, mac, 6);
}

void neighbour_advertise(const struct ip *target, const uint8_t mac[static 6], bool solicited,
                         uint8_t ret[static MESSAGE_ADVERT_SIZE])
{
    uint8_t flags = FLAG_OVERRIDE | (solicited ? FLAG_SOLICITED : 0); /* it may have moved here from elsewhere */
    write_neighbour(ret, ADVERTISEMENT, flags, target, OPTION_TARGET_MAC, mac);
}

void neighbour_solicit(const struct ip *target, const uint8_t mac[static 6], uint8_t ret[static MESSAGE_ADVERT_SIZE])
{
    write_neighbour(ret, SOLICITATION, 0, target, OPTION_SOURCE_MAC, mac);
}

struct ip neighbour_group(const struct ip *target)
{
    struct ip g = {.family = AF_INET6, .b = {0xff, 2, [11] = 1, [12] = 0xff}};
    memcpy(g.b + 13, target->b + 13, 3);
    return g;
}
