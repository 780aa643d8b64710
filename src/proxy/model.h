/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one Service needs of one node in one address family, whatever the kernel's mechanism: a pure function of the
 * Service, its EndpointSlices and the node. The back ends (backend.h) turn service ports into kernel state; they decide
 * nothing about endpoints.
 */
#pragma once

#include "client/services.h"
#include "netlink/prefix.h"

struct ips {
    struct ip *list;
    size_t n;
};

/* Of the wanted family only: false when the text is of the other, or none. */
bool model_ip(bool six, struct str text, struct ip *ret);
bool model_prefix(bool six, struct str text, struct prefix *ret);
bool ip_is_loopback(const struct ip *ip);
static inline size_t address_size(bool six)
{
    return six ? 16 : 4;
}

/* How traffic of this node's Pods is told from other traffic (KubeProxyConfiguration's detectLocalMode). */
enum detect_kind { DETECT_NONE, DETECT_CIDR, DETECT_INTERFACE, DETECT_PREFIX };
struct detect_local {
    enum detect_kind kind;
    struct prefix prefix;
    const char *interface; /* name, or what the names start with */
};

/* What is known of the node in one family. Everything is borrowed. */
struct node_side {
    bool six;
    const char *node_name;
    const char *zone; /* "" when unknown */
    struct ip node_ip;
    bool has_node_ip;
    struct detect_local detect;
    bool masquerade_all;
    uint32_t mark;               /* bit of the packet mark: masquerade this */
    struct prefixes nodeports;      /* addresses that take NodePorts; all local ones when nodeports_all */
    bool nodeports_all;
    bool localhost_nodeports;    /* iptables: also on 127.0.0.0/8 */
    bool tcp_liberal;            /* conntrack is: no rule against INVALID packets */
    struct ips local_addresses;  /* of this node, loopback too: what `nodeports` picks from */
    struct ips skip;             /* ClusterIPs that are served on the node itself (cluster DNS) */
    struct prefixes service_cidrs;  /* empty: unknown */
    struct str proxy_name;       /* of service.kubernetes.io/service-proxy-name; empty: only Services without that label */
};

struct endpoint {
    struct ip ip;
    uint16_t port;
    bool local, ready, serving, terminating;
    bool in_cluster, in_local; /* does "Cluster" or "Local" traffic go there? */
    bool zone_hints, node_hints, hints_zone, hints_node; /* are there any, and do they name us? */
};

struct service_port {
    struct str ns, service, port_name;
    struct str name;   /* "ns/service:port", as upstream prints it: no colon when the port has no name */
    const char *proto; /* "tcp", "udp", "sctp" */
    uint8_t l4;        /* IPPROTO_TCP ... */
    struct ip cluster_ip;
    bool cluster_ip_skipped;
    uint16_t port, node_port, health_port; /* 0: none */
    struct ips external, balancers;        /* spec.externalIPs; status.loadBalancer of mode VIP */
    struct prefixes sources;                  /* loadBalancerSourceRanges; empty: anybody */
    uint32_t affinity_seconds;             /* 0: none */
    bool external_local, internal_local;   /* traffic policies */

    struct endpoint *endpoints; /* all that are known, sorted */
    size_t n_endpoints;
    size_t n_cluster, n_local, n_reachable; /* reachable: in either */
    bool accessible;                        /* from outside: node port, external IP or balancer */
    bool any;                               /* is there a usable endpoint anywhere? Else traffic is refused */
    bool inside, outside;                   /* are there endpoints for traffic to the ClusterIP, and from outside? */
    bool use_cluster, use_local;            /* are there endpoints of that policy which something leads to? */
    bool firewall;                          /* balancers with source ranges */
    bool from_node;                         /* the ranges include this node */
};

struct service_ports {
    struct service_port *list;
    size_t n;
};

/* e may be NULL or have no Service: then, and for Services that are none of ours, there are no ports. */
void model_service(const struct node_side *node, const struct service_entry *e, struct arena *a, struct service_ports *ret);
/* Ready endpoints on this node, over all ports, each address once: what a health-check port tells. */
size_t model_local_ready(const struct service_ports *ports);
/* The node's addresses that take NodePorts when not all do, loopback only when wanted. In the arena. */
struct ips model_nodeport_ips(const struct node_side *node, bool loopback, struct arena *a);
