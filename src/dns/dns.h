/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cluster DNS, answered on each node in process: the Kubernetes DNS specification 1.1.0 (services, headless, SRV, pods,
 * PTR, ExternalName) from a replica, and the rest as a Corefile says. UDP and TCP, EDNS0.
 */
#pragma once

#include "client/client.h"

struct dns_config {
    struct client *client;        /* NULL: the Corefile must do without `kubernetes` */
    const char *const *listen;    /* "10.96.0.10", "[fd00::a]:53" ...; NULL-terminated; UDP and TCP each. The port of the
                                     first is where server blocks with 53 or without a port are */
    const char *corefile;         /* path; NULL: the ConfigMap kube-system/coredns, and kubeadm's while there is none */
    const char *cluster_domain;   /* of the built-in Corefile; NULL: "cluster.local" */
    const char *const *forward;   /* "1.1.1.1:53", for the built-in Corefile; NULL: the nameservers of resolv_conf */
    const char *resolv_conf;      /* NULL: /etc/resolv.conf; looping nameservers (our own addresses) are left out */
    int64_t ttl;                  /* of the built-in Corefile; 0: 30 s */
    unsigned threads;             /* that answer; 0: as many as there are processors, four at most */
    bool lame_duck;               /* serve on for `health`'s lameduck when the fiber is cancelled */
};

/* Until this fiber is cancelled. */
int dns_run(const struct dns_config *config, struct err *e);
int dns_main(int argc, char **argv);
/* kubeadm's Corefile, as `cube up` puts it into the ConfigMap; appended. forward: "/etc/resolv.conf", "1.1.1.1 8.8.8.8". */
void dns_default_corefile(struct buf *b, const char *cluster_domain, const char *forward, int64_t ttl);
