/* SPDX-License-Identifier: Apache-2.0 */
/* How links find out who has an address: ARP (RFC 826) for IPv4, neighbour discovery (RFC 4861) for IPv6. Pure. */
#pragma once

#include "netlink/prefix.h"

enum {
    MESSAGE_ARP_SIZE = 28,
    MESSAGE_ADVERT_SIZE = 32, /* with its one option */
    MESSAGE_MAX = 1500,
};

/* ---- ARP: what follows the Ethernet header ----------------------------------------------------------------- */

enum { ARP_REQUEST = 1, ARP_REPLY = 2 };
struct arp_message {
    unsigned op;
    uint8_t sender_mac[6], target_mac[6];
    struct ip sender, target;
};
/* False when it is not about Ethernet and IPv4, or malformed. */
bool arp_parse(const uint8_t *p, size_t n, struct arp_message *ret);
void arp_write(const struct arp_message *m, uint8_t ret[static MESSAGE_ARP_SIZE]);

/* ---- neighbour discovery: ICMPv6 ----------------------------------------------------------------------------- */

/* A neighbour solicitation, or an advertisement. */
struct neighbour_message {
    bool solicitation;
    struct ip target;
    bool has_mac;
    uint8_t mac[6]; /* of the sender (solicitation), of the target (advertisement) */
};
/* As RFC 4861 7.1 wants it checked; hops: of the packet that brought it. The kernel has seen to the checksum. */
bool neighbour_parse(const uint8_t *p, size_t n, int hops, struct neighbour_message *ret);
/* solicited: an answer to who asked, else unasked news for all. The checksum is the kernel's. */
void neighbour_advertise(const struct ip *target, const uint8_t mac[static 6], bool solicited,
                         uint8_t ret[static MESSAGE_ADVERT_SIZE]);
/* Asks who has it. */
void neighbour_solicit(const struct ip *target, const uint8_t mac[static 6], uint8_t ret[static MESSAGE_ADVERT_SIZE]);
/* The group that solicitations for an address go to: ff02::1:ffXX:XXXX. */
struct ip neighbour_group(const struct ip *target);
