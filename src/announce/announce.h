/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of LoadBalancer Services on the links of this node, after MetalLB's layer 2 mode: of the nodes that could, one
 * says that it has an address, and takes the packets; when it goes, another says so. Who has which is not negotiated: every
 * node finds the same answer (plan.h) from the same Leases (members.h), Services and EndpointSlices.
 */
#pragma once

#include "client/client.h"

struct announce_config {
    struct client *client;
    const char *node_name;
    const char *pod_cidr;      /* links with such addresses are the pods'; NULL: none */
    const char *const *links;  /* only these; NULL: all that suit */
    int64_t lease_ns;          /* after so much silence a node is gone; 0: 9 s */
};

/* Until this fiber is cancelled. */
int announce_run(const struct announce_config *config, struct err *e);
int announce_main(int argc, char **argv);
