/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cluster DNS, answered on each node in process: the Kubernetes DNS specification 1.1.0 (services, headless, SRV, pods,
 * PTR, ExternalName) from a replica, and forwarding with a cache for all other names. UDP and TCP, EDNS0.
 */
#pragma once

#include "client/client.h"

struct dns_config {
    struct client *client;
    const char *const *listen;    /* "10.96.0.10:53", ... ; NULL-terminated; UDP and TCP each */
    const char *cluster_domain;   /* NULL: "cluster.local" */
    const char *const *forward;   /* "1.1.1.1:53"; NULL: the nameservers of resolv_conf */
    const char *resolv_conf;      /* NULL: /etc/resolv.conf; looping nameservers (our own addresses) are left out */
    int64_t ttl;                  /* 0: 30 s */
};

/* Until this fiber is cancelled. */
int dns_run(const struct dns_config *config, struct err *e);
int dns_main(int argc, char **argv);
