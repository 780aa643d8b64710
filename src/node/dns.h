/* SPDX-License-Identifier: Apache-2.0 */
/* Name resolution of a Pod: resolv.conf by dnsPolicy and dnsConfig, and its /etc/hosts. Pure. */
#pragma once

#include "node/pod.h"

struct resolv_conf {
    struct str *servers, *searches, *options;
    size_t n_servers, n_searches, n_options;
};

/* resolv.conf(5) as the resolver reads it: the last search or domain line counts. */
void resolv_conf_parse(struct arena *a, struct str text, struct resolv_conf *ret);

struct dns_settings {
    const char *const *cluster_dns; /* NULL-terminated; NULL: none */
    const char *cluster_domain;     /* "cluster.local"; NULL or "": none */
    const struct resolv_conf *host; /* NULL: the node has none, names do not resolve */
};

/* What the Pod's containers get, within the limits of libc as upstream keeps them: 3 servers, 32 search domains of
 * 2048 bytes in all. */
void pod_dns(struct arena *a, const struct val *pod, const struct dns_settings *s, struct resolv_conf *ret);

/* The text of /etc/hosts for a Pod with those addresses (its own names behind them), hostAliases at the end.
 * host_file: of the node, for a Pod on the host's network; else empty. */
struct str pod_hosts_file(struct arena *a, const struct val *pod, const struct str *ips, size_t n_ips,
                          const char *cluster_domain, struct str host_file);
