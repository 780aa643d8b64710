/* SPDX-License-Identifier: Apache-2.0 */
/* What can go wrong in a cluster, at random and all at once, and what its users do meanwhile. */
#pragma once

#include "sim/cluster.h"

#define NS "rollout"
#define NAME "web" /* of the Deployment and its Service */
#define IMAGE(n) "example.org/web:" #n

struct trouble {
    struct cluster_world *world;
    const char *image; /* that the Deployment shall have in the end */
    size_t replicas;
    bool users;        /* they scale, roll and delete */
    unsigned often;    /* the control plane fails so many times as often; 0: 1 */
    unsigned node_failures;
    bool over;
    char why[512];     /* what must not happen: the control plane does not come back */
};

/* For so long; then mends everything. */
void trouble_cause(struct trouble *t, int64_t ns);
/* To how few replicas users scale. */
size_t trouble_fewest(size_t replicas);
/* Sets image and replicas. 0 or what client_patch returns. */
int user_rolls(struct trouble *t, const char *image, size_t replicas);
