/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods of different nodes reach each other: keeps this node's kernel told where every other node's pods are,
 * from the Nodes of a replica. The back end is Flannel's host-gw: a plain route for each range via the node
 * that has it.
 */
#pragma once

#include "client/client.h"

struct overlay_config {
    struct client *client;
    const char *node_name;
    /* All pods' ranges, comma separated. Only routes into them are made, and only such routes of ours are
     * removed, so that clusters can share a machine. NULL: any. */
    const char *cluster_cidr;
    const char *backend; /* NULL: "host-gw" */
};

/* Until this fiber is cancelled. Leaves the routes in place (traffic goes on while we restart). */
int overlay_run(const struct overlay_config *config, struct err *e);
/* Removes every route into the ranges that an overlay made. Waits. */
int overlay_cleanup(const char *cluster_cidr, struct err *e);
int overlay_main(int argc, char **argv);
