/* SPDX-License-Identifier: Apache-2.0 */
/* A node's ranges as Flannel leases them in etcd: keys, values, which to take. Pure. */
#pragma once

#include "overlay/peer.h"

#define LEASE_PREFIX "/coreos.com/network"

/* A node's range of each family; family 0: none. */
struct lease_ranges {
    struct prefix of[FAMILIES];
};

/* "10.5.34.0-24", "10.5.34.0-24&fd00:5:22::-64": what stands behind the prefix and "/subnets/". */
bool lease_key_parse(struct str key, struct lease_ranges *ret);
struct str lease_key(struct arena *a, const struct lease_ranges *r);

/* The value: {"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"..."}}.
 * Into a peer: address, back end, hardware addresses. */
bool lease_value_parse(struct arena *a, struct str json, struct peer *ret);
struct str lease_value(struct arena *a, const struct announcement *say);

/* Whether the configuration (complete) would give that to a node. */
bool lease_fits(const struct netconf *c, const struct lease_ranges *r);
/* One of the first hundred ranges that overlap with none taken: which one, `random` says, so that nodes that start
 * together seldom want the same. False when there is none left. */
bool lease_choose(const struct netconf *c, unsigned family, const struct prefixes *taken, uint64_t random,
                  struct prefix *ret);
