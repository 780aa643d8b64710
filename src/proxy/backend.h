/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How service ports become kernel state in one address family. A back end remembers what it wrote for each Service and
 * writes the difference: begin, a service() for each that changed (all of them after begin(full)), commit. It touches
 * nothing that it did not make.
 */
#pragma once

#include "base/err.h"
#include "proxy/model.h"

struct backend {
    const struct backend_ops *ops;
    const struct node_side *node; /* may change between two full writes */
    size_t endpoints;             /* how many there are in all, about: set before a full write */
    uint32_t transactions;        /* of nftables, ours so far: others' are told from them by the kernel's count of all */
};

struct backend_settings {
    const char *table;                 /* nftables: name of our table */
    const char *scheduler;             /* IPVS: "rr" ... */
    struct prefixes exclude[2];           /* IPVS: virtual addresses not to be touched; IPv4, IPv6 */
    bool strict_arp;
    int64_t tcp_timeout, tcp_fin_timeout, udp_timeout; /* IPVS, ns; 0: as they are */
};

/* How often something happened since the start. */
struct backend_figures {
    size_t rules_filter, rules_nat, last_filter, last_nat; /* iptables: in all, and written last */
    uint64_t failures, partial_failures, cleanup_failures;
};

struct backend_ops {
    const char *name; /* as --proxy-mode has it */
    bool counted;     /* all that it does to the kernel's rules are transactions that it counts */
    void (*begin)(struct backend *b, bool full);
    /* ports: none when the Service is gone. Everything it points to is copied. */
    void (*service)(struct backend *b, struct str key, const struct service_ports *ports);
    /* Waits. 0, or -errno: the kernel is as it was (or, in modes without transactions, half changed), and everything
     * must be written anew. */
    int (*commit)(struct backend *b, struct err *e);
    /* Removes what could not go at once; true when something still cannot. Called about once a second while there is nothing
     * else to do; may be NULL. Waits. */
    bool (*tidy)(struct backend *b);
    /* Is everything there that was written? 0, 1 when not, 2 when that is not known and
     * everything should be written anew, -errno. deep: also what costs more to find out. Waits. */
    int (*verify)(struct backend *b, bool deep, struct err *e);
    void (*figures)(const struct backend *b, struct backend_figures *ret);
    void (*free)(struct backend *b); /* leaves the kernel as it is */
};

struct backend *backend_nftables(const struct node_side *node, const struct backend_settings *s);
struct backend *backend_iptables(const struct node_side *node, const struct backend_settings *s);
struct backend *backend_ipvs(const struct node_side *node, const struct backend_settings *s);

/* Remove what a back end ever made; nothing there is no error. Wait. */
int nftables_cleanup(const char *table, struct err *e);
int iptables_cleanup(struct err *e); /* chains of iptables mode and of IPVS mode */
int ipvs_cleanup(struct err *e);     /* virtual servers, addresses, sets; iptables_cleanup comes before */
