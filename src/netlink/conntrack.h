/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's table of connections, over ctnetlink. */
#pragma once

#include "base/err.h"
#include "base/str.h"

/* One connection as its first packet saw it, and where the answers come from: after address translation that is not
 * where the packet went. Addresses: IPv4 in the first four bytes. */
struct conntrack_flow {
    uint8_t l4;
    uint8_t to[16], answers_from[16];
    uint16_t to_port, answers_from_port;
};

/* Ends the connections of a family (AF_INET, AF_INET6) and protocol that `unwanted` says. It is called on a helper
 * thread: it may touch nothing but arg. Waits. 0, or -errno; a connection that ended by itself meanwhile is no error. */
typedef bool conntrack_unwanted(void *arg, const struct conntrack_flow *f);
int conntrack_sweep(uint8_t family, uint8_t l4, conntrack_unwanted *unwanted, void *arg, size_t *ret_ended, struct err *e);

/* One ctnetlink message as a flow: false for other messages and broken ones. For tests. */
bool conntrack_parse(const void *message, size_t n, struct conntrack_flow *ret);
