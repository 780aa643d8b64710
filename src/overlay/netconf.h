/* SPDX-License-Identifier: Apache-2.0 */
/* How packets travel, as Flannel's net-conf.json says it. Pure. */
#pragma once

#include "netlink/prefix.h"

enum backend_kind { BACKEND_HOST_GW, BACKEND_VXLAN };
enum { V4, V6, FAMILIES }; /* index of what there is one of a family */

static inline unsigned family_of(const struct ip *ip)
{
    return ip->family == AF_INET6 ? V6 : V4;
}

struct netconf {
    enum backend_kind backend;
    bool enabled[FAMILIES];
    struct prefix network[FAMILIES]; /* all pods' range; family 0: not said */
    /* vxlan */
    uint32_t vni;        /* 1 */
    uint16_t port;       /* 0: the kernel's, 8472 */
    uint32_t mtu;        /* of the link; 0: as it is */
    bool gbp, learning;
    bool direct_routing; /* plain routes to nodes of our own network */
    /* subnets leased in etcd */
    unsigned subnet_bits[FAMILIES];           /* of a node's range */
    struct ip first[FAMILIES], last[FAMILIES]; /* the first and last range's address */
};

/* What holds without a file: VXLAN number 1 on the kernel's port, both families. */
void netconf_default(enum backend_kind backend, struct netconf *ret);
/* "host-gw", "vxlan": false for others. */
bool backend_parse(struct str name, enum backend_kind *ret);
const char *backend_name(enum backend_kind kind);
/* Names of members in any case, as Go reads them; unknown ones are nothing. -EINVAL with a sentence. */
int netconf_parse(struct str text, struct netconf *ret, struct err *e);
/* What leases need, filled in and checked: sizes, first and last range. Networks of /22 and larger give a /24 (IPv6: a
 * /64 of a /48) to each node; the first range stays free, since its first address is the network's own. */
int netconf_complete(struct netconf *c, struct err *e);
/* The ranges of all pods that it names. */
struct prefixes netconf_networks(struct arena *a, const struct netconf *c);
/* What a packet grows by on its way through a VXLAN of that family. */
unsigned vxlan_overhead(unsigned family);
