/* SPDX-License-Identifier: Apache-2.0 */
/* Has a simulated cluster come to rest, with everything as it must be then? */
#pragma once

#include "sim/cluster.h"

/* A Deployment and the Service of the same name in front of it. */
struct rollout {
    const char *ns, *name, *image; /* the image that all its pods must have in the end */
    size_t replicas;
};

/* 0: settled; 1: not yet, with what is missing in *ret_why (in the arena). Only when the API server is up. Checks that
 * - every node that is up is Ready;
 * - the Deployment says that all replicas are updated, ready and available, and no more are there;
 * - its pods are exactly those of its one ReplicaSet with replicas, with that image, ready and bound to nodes that are up;
 *   nobody else has pods there, and the addresses differ;
 * - Endpoints and EndpointSlices hold exactly the addresses of these pods, as ready;
 * - what really lives on the machines are exactly these pods, each on its node with its address and containers. */
int world_settled(struct cluster_world *w, const struct rollout *r, struct arena *a, struct str *ret_why);
