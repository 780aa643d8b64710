/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods of different nodes reach each other: keeps this node's kernel told where every other node's pods are, from the Nodes
 * of a replica, and tells the others where this one is. After Flannel: its back ends host-gw and VXLAN, its net-conf.json,
 * annotations, device names and subnet.env, so that its nodes and ours are one network.
 */
#pragma once

#include "client/client.h"
#include "overlay/kernel.h"
#include "overlay/subnets.h"

struct overlay_config {
    struct client *client;
    const char *node_name;
    const struct subnets_config *subnets; /* leased in etcd, without Kubernetes: no client, no name; NULL: by the Nodes */
    /* All pods' ranges, comma separated. Only routes into them are made, and only such routes of ours are removed, so that
     * clusters can share a machine. NULL: those of net-conf.json, else any. */
    const char *cluster_cidr;
    const char *backend;       /* NULL: as net-conf.json says, else fallback */
    const char *fallback;      /* NULL: "host-gw" */
    const char *net_conf_path; /* net-conf.json; NULL or not there: the ConfigMap kube-flannel/kube-flannel-cfg */
    const char *subnet_file;   /* subnet.env, for CNI plug-ins; NULL: not written */
    const char *annotation_prefix; /* NULL: Flannel's */
    bool tell_network; /* by the Node's condition NetworkUnavailable that there is one */
    bool ip_masq;              /* packets from pods to elsewhere leave under the node's address: a table of our own */
    bool masq_predictable;     /* without random ports */
    struct uplink_choice uplink;
};

/* Until this fiber is cancelled. Leaves the routes in place (traffic goes on while we restart). */
int overlay_run(const struct overlay_config *config, struct err *e);
/* Removes every route into the ranges that an overlay made, its devices and its table. Waits. */
int overlay_cleanup(const char *cluster_cidr, struct err *e);
int overlay_main(int argc, char **argv);

/* ---- texts (texts.c); pure ------------------------------------------------------------------------------ */

/* subnet.env as Flannel writes it: networks as configured, the node's ranges with their second address. */
void subnet_file_text(struct buf *b, const struct netconf *conf, const struct prefixes *own, uint32_t mtu, bool ip_masq);
/* nft commands for the table `table`, made anew: pods' packets to elsewhere get the node's address. */
void masquerade_text(struct buf *b, const char *table, const struct prefixes *networks, const struct prefixes *own,
                     bool predictable);
