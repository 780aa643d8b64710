/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's links, addresses, routes, neighbours and queues over rtnetlink. Knows no Kubernetes.
 *
 * The calls that talk to the kernel block: from fibers, run them through fiber_offload. What is built goes into a
 * batch first (no kernel yet), so that a hundred changes cost a handful of system calls.
 */
#pragma once

#include "base/time.h"
#include "netlink/prefix.h"

#include <net/if.h>

struct nlmsghdr;

/* ---- the socket ----------------------------------------------------------------------------------- */

struct rtnl {
    int fd;
    uint32_t portid, seq;
};
/* In the network namespace of this thread, or in that of ns_fd (-1: this thread's). -errno. */
int rtnl_open(struct rtnl *ret, int ns_fd);
void rtnl_close(struct rtnl *n);

/* ---- what there is --------------------------------------------------------------------------------- */

struct rtnl_vxlan {
    uint32_t vni;
    uint16_t port;   /* 0: the kernel's default, 8472 */
    int lower;       /* the link that packets leave by; 0: any */
    struct ip local; /* their source address */
    bool learning, gbp;
};
struct rtnl_link {
    int index;
    char name[IFNAMSIZ];
    char alias[80]; /* a note on whose it is; empty: none */
    char kind[16];  /* "vxlan", "bridge", "veth" ...; empty for hardware */
    uint32_t flags; /* IFF_UP ... */
    uint32_t mtu;
    int master;     /* the bridge it is a port of; 0: none */
    int peer;       /* of a veth: the other end's index, in its namespace */
    uint8_t mac[6];
    bool hairpin;   /* as a bridge's port */
    struct rtnl_vxlan vxlan;
};
struct rtnl_address {
    int link;
    struct prefix at; /* the address with its network's size */
    uint32_t flags;   /* IFA_F_NODAD ... */
    uint8_t scope;    /* RT_SCOPE_UNIVERSE ... */
};
struct rtnl_route {
    struct prefix to; /* bits 0: the default route */
    struct ip via;    /* family 0: directly on the link */
    struct ip source; /* preferred source; family 0: none */
    int link;         /* 0: as the gateway says */
    uint8_t protocol, scope;
    bool onlink; /* the gateway is on the link although no network of ours says so */
    uint32_t metric;
};
struct rtnl_neigh {
    int link;
    bool fdb;      /* an entry of a VXLAN device's (or bridge's) table: frames for mac go to ip */
    struct ip ip;
    uint8_t mac[6];
    uint16_t state; /* NUD_PERMANENT ... */
};

struct rtnl_links {
    struct rtnl_link *list;
    size_t n;
};
struct rtnl_addresses {
    struct rtnl_address *list;
    size_t n;
};
struct rtnl_routes {
    struct rtnl_route *list;
    size_t n;
};
struct rtnl_neighs {
    struct rtnl_neigh *list;
    size_t n;
};
struct rtnl_route_filter {
    uint8_t family;   /* 0: both */
    uint8_t protocol; /* 0: any */
    int link;         /* 0: any */
};
int rtnl_links_read(struct rtnl *n, struct arena *a, struct rtnl_links *ret);
int rtnl_link_read(struct rtnl *n, const char *name, struct rtnl_link *ret); /* -ENODEV */
int rtnl_addresses_read(struct rtnl *n, struct arena *a, int link, struct rtnl_addresses *ret); /* link 0: all */
/* Unicast routes of the main table. */
int rtnl_routes_read(struct rtnl *n, struct arena *a, const struct rtnl_route_filter *f, struct rtnl_routes *ret);
/* Neighbours of both families of a link, or its forwarding table (fdb). */
int rtnl_neighs_read(struct rtnl *n, struct arena *a, int link, bool fdb, struct rtnl_neighs *ret);

/* One message, false when it is of another kind or malformed. Pure. */
bool rtnl_parse_link(const struct nlmsghdr *h, struct rtnl_link *ret);
bool rtnl_parse_address(const struct nlmsghdr *h, struct rtnl_address *ret);
bool rtnl_parse_route(const struct nlmsghdr *h, struct rtnl_route *ret);
bool rtnl_parse_neigh(const struct nlmsghdr *h, struct rtnl_neigh *ret);

/* ---- what shall be ---------------------------------------------------------------------------------- */

struct rtnl_batch {
    struct buf b;
    size_t n;    /* messages */
    size_t last; /* where the newest starts */
};
#define CLEANUP_BATCH CLEANUP(rtnl_batch_done)
void rtnl_batch_done(struct rtnl_batch *b);
/* Does all of it, in order, whatever fails; results (may be NULL) gets 0 or -errno of each. Returns the first
 * failure, or what went wrong with the socket itself. Leaves the batch empty. */
int rtnl_run(struct rtnl *n, struct rtnl_batch *b, int *results);

/* Whether what is there already fails with -EEXIST, or is made to be as told. */
enum rtnl_how { RTNL_NEW, RTNL_REPLACE };

struct rtnl_veth {
    const char *name;
    int master; /* 0: no port */
    uint32_t mtu;
    const char *peer_name;
    const uint8_t *peer_mac; /* NULL: the kernel's choice */
    int peer_ns;             /* fd of the namespace the other end goes to; -1: stays here */
};
void rtnl_add_veth(struct rtnl_batch *b, const struct rtnl_veth *v); /* our end comes up */
void rtnl_add_vxlan(struct rtnl_batch *b, const char *name, const uint8_t *mac, uint32_t mtu,
                    const struct rtnl_vxlan *v);
/* bridge, dummy, ifb ...; comes up. mtu 0 and mac NULL: the kernel's choice. */
void rtnl_add_link(struct rtnl_batch *b, const char *kind, const char *name, uint32_t mtu, const uint8_t *mac);

struct rtnl_link_change {
    const char *name; /* which; or by index */
    int index;
    const char *rename, *alias;
    const uint8_t *mac;
    uint32_t mtu;          /* 0: stays */
    int master;            /* 0: stays */
    uint32_t flags, mask;  /* IFF_UP, IFF_PROMISC ...: those in mask become as in flags */
    int hairpin;           /* of a bridge's port: 1 on, -1 off, 0 stays */
};
void rtnl_set_link(struct rtnl_batch *b, const struct rtnl_link_change *c);
void rtnl_delete_link(struct rtnl_batch *b, int index);
void rtnl_add_address(struct rtnl_batch *b, enum rtnl_how how, const struct rtnl_address *at);
void rtnl_delete_address(struct rtnl_batch *b, const struct rtnl_address *at);
void rtnl_add_route(struct rtnl_batch *b, enum rtnl_how how, const struct rtnl_route *r);
void rtnl_delete_route(struct rtnl_batch *b, const struct rtnl_route *r);
void rtnl_add_neigh(struct rtnl_batch *b, const struct rtnl_neigh *e); /* replaces */
void rtnl_delete_neigh(struct rtnl_batch *b, const struct rtnl_neigh *e);

/* Token bucket as a link's root queue: bytes a second, bytes at once, bytes that may wait. */
void rtnl_add_tbf(struct rtnl_batch *b, int link, uint64_t rate, uint32_t burst, uint32_t limit);
/* What comes in by one link goes out by another: an ingress queue and a filter that redirects all. */
void rtnl_add_redirect(struct rtnl_batch *b, int link, int to);
/* The root token buckets of a link: 0 and *ret_rate in bytes a second; -ENOENT when it has none. */
int rtnl_tbf_read(struct rtnl *n, int link, uint64_t *ret_rate, uint32_t *ret_burst);

/* ---- changes as they happen ------------------------------------------------------------------------- */

/* A socket that becomes readable when links, addresses, routes (neighbours) change. */
int rtnl_watch(bool neighbours, int *ret_fd, struct err *e);
void rtnl_unwatch(int fd);
/* Waits for changes, and hands on all that are there; h NULL: too many came at once, some were lost. From a fiber. */
int rtnl_wait(int fd, void (*fn)(void *arg, const struct nlmsghdr *h), void *arg, struct mono deadline);

/* ---- ethtool ------------------------------------------------------------------------------------------ */

/* Checksums of what leaves are made by the CPU. -EOPNOTSUPP where the link cannot do otherwise. */
int rtnl_checksum_in_software(const char *link);
