/* SPDX-License-Identifier: Apache-2.0 */
/* subnet.env, which the overlay leaves for CNI plug-ins: the node's ranges, all pods' ranges, MTU, whether the overlay
 * masquerades. Pure. */
#pragma once

#include "netlink/prefix.h"

/* IPv4, then IPv6; family 0: none. */
struct subnet_env {
    struct prefix subnet[2];
    struct prefix network[2];
    uint32_t mtu;
    bool ip_masq;
};
void subnet_env_read(struct str text, struct subnet_env *ret);
