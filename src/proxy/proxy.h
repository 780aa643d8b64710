/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service proxy of one node (kube-proxy): ClusterIP, NodePort, LoadBalancer, externalIPs, affinity and traffic
 * policies, for IPv4 and IPv6. What Services need is a pure function of Services, EndpointSlices and the node (model.h);
 * a back end (backend.h) makes kernel state of it, and writes the difference to what it wrote before.
 */
#pragma once

#include "client/client.h"

/* Connection tracking's own settings. 0: left as they are. */
struct proxy_conntrack {
    int64_t max_per_core, min;
    int64_t tcp_established, tcp_close_wait, udp, udp_stream; /* ns */
    bool tcp_liberal;
};

struct proxy_config {
    struct client *client;
    const char *node_name;
    const char *mode;                 /* "nftables", "iptables", "ipvs"; NULL: nftables */
    const char *node_ip;              /* or two of both families with a comma; NULL, or none of a family: from the Node */
    const char *detect_local;         /* "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"; NULL: ClusterCIDR */
    const char *cluster_cidr;         /* pods' range, or two of both families with a comma; NULL: none */
    const char *bridge, *interface_prefix;
    const char *const *skip_ips;      /* ClusterIPs served on the node itself (cluster DNS); NULL-terminated, may be NULL */
    const char *const *nodeport_addresses; /* CIDRs, "primary", "localhost", "all"; NULL-terminated; NULL: all local ones */
    const char *table;                /* NULL: "cube-proxy": of nftables mode, and names this proxy among those of the machine */
    const char *healthz_address;      /* /healthz, /livez; NULL: none */
    const char *metrics_address;      /* /metrics, /proxyMode, /configz; NULL: none */
    bool bind_hard_fail;              /* an address that cannot be had is fatal */
    const struct flag_text *flags;    /* client/zpages.h, for /flagz; NULL: none */
    struct str configz;               /* the configuration as JSON; empty: {} */
    int64_t min_sync_ns;              /* 0: 100 ms; changes are gathered that long at most */
    int64_t sync_ns;                  /* 0: 30 s; how often the kernel is looked at */
    uint32_t masquerade_mark;         /* 0: 0x4000 */
    bool masquerade_all, no_localhost_nodeports;
    bool init_only;                   /* only what needs root: settings of the kernel */
    const struct proxy_conntrack *conntrack; /* NULL: all as it is */
    const char *ipvs_scheduler;       /* NULL: rr */
    const char *const *ipvs_exclude;  /* CIDRs whose virtual servers are left alone; NULL-terminated, may be NULL */
    int64_t ipvs_tcp_timeout, ipvs_tcp_fin_timeout, ipvs_udp_timeout; /* ns; 0: as they are */
    bool ipvs_strict_arp;
    struct str proxy_name;            /* serve Services with this service.kubernetes.io/service-proxy-name; empty: without */
};

/* Until this fiber is cancelled. Leaves the rules in place (traffic goes on while we restart). */
int proxy_run(const struct proxy_config *config, struct err *e);
/* Removes everything the proxy of that table ever made, in any mode. whole: also iptables chains that some other
 * kube-proxy made. Waits. */
int proxy_cleanup(const char *table, bool whole, struct err *e);
int proxy_main(int argc, char **argv);
