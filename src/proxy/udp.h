/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of UDP Services. UDP has no end that the kernel could see: an entry in its table of connections keeps
 * sending a client's packets to an endpoint that is gone, or to nobody because there was no endpoint at first, as long
 * as packets come. After rules have changed, entries that lead from a Service to what is no serving endpoint of it are
 * ended; traffic policies do not matter (a connection stays where it is, as with TCP).
 */
#pragma once

#include "netlink/conntrack.h"
#include "proxy/model.h"

struct udp {
    struct map services; /* "ns/name" -> hash of ports and serving endpoints (uint64_t *) */
    struct map fronts;   /* address and port, or port of the node -> struct buf * : endpoints, each as in udp_key */
    bool due;
};

void udp_done(struct udp *u);
/* Notes a Service's present ports: what changed, or is new to us, is looked at in the next sweep. */
void udp_service(struct udp *u, struct str key, const struct service_ports *ports);
/* Is this connection a stale one of a Service that has changed? */
bool udp_stale(void *u, const struct conntrack_flow *f);
/* Ends them and forgets what changed. Waits; nothing is asked of the kernel when nothing is due. */
int udp_sweep(struct udp *u, bool six, size_t *ret_ended, struct err *e);
