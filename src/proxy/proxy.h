/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service proxy of one node (kube-proxy): ClusterIP, NodePort, headless, session affinity and traffic policies by
 * nftables rules in a table of its own. What the rules should be is a pure function of Services, EndpointSlices and the
 * node (rules.h); what is sent to the kernel is the difference to what was sent before.
 */
#pragma once

#include "client/client.h"

struct proxy_config {
    struct client *client;
    const char *node_name;
    const char *cluster_cidr;         /* pods' range: traffic from outside of it to a ClusterIP is masqueraded; NULL: none */
    const char *node_ip;              /* NULL: from the Node */
    const char *const *skip_ips;      /* ClusterIPs served on the node itself (cluster DNS); NULL-terminated, may be NULL */
    const char *const *nodeport_addresses; /* CIDRs; NULL: all local addresses */
    const char *table;                /* NULL: "cube-proxy" (several clusters on one machine need different ones) */
    const char *healthz_address;      /* NULL: none */
    int64_t min_sync_ns;              /* 0: 100 ms; changes are gathered that long at most */
};

/* Until this fiber is cancelled. Leaves the rules in place (traffic goes on while we restart). */
int proxy_run(const struct proxy_config *config, struct err *e);
/* Removes everything the proxy ever made. Waits. */
int proxy_cleanup(const char *table, struct err *e);
int proxy_main(int argc, char **argv);
