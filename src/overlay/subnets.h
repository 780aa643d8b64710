/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nodes' ranges where they are leased in etcd, as Flannel does without Kubernetes: <prefix>/config holds net-conf.json,
 * <prefix>/subnets/<range> each node's lease. A node takes a range, keeps its lease alive, and follows those of the others.
 */
#pragma once

#include "net/etcd.h"
#include "overlay/lease.h"

struct subnets_config {
    struct etcd_config etcd;
    const char *prefix;      /* NULL: LEASE_PREFIX */
    const char *subnet_file; /* where an earlier run left its ranges; NULL: nowhere */
    int64_t ttl;             /* how long a node that says nothing keeps its range; 0: 24 h */
    int64_t margin;          /* how long before its end a lease is renewed; 0: 1 h */
};
struct subnets;

/* Leaves `changed` to be called in the loop when something about peers or ourselves is another. */
int subnets_new(const struct subnets_config *config, void (*changed)(void *arg), void *arg, struct subnets **ret,
                struct err *e);
void subnets_free(struct subnets *s);

/* net-conf.json, in the arena. Waits until there is one. 0, -ECANCELED. */
int subnets_read_conf(struct subnets *s, struct arena *a, struct str *ret);
/* Follows the leases and keeps our own alive until cancelled; conf is complete (netconf_complete). */
void subnets_follow(struct subnets *s, const struct netconf *conf);
/* As peers_of_nodes: false while we have no range yet. */
bool subnets_peers(struct subnets *s, struct arena *a, struct peer **ret, size_t *ret_n, struct peer *ret_self);
/* Takes a range when we have none (an earlier lease of the same address, the range of an earlier run, else one that is
 * free), and writes what we have to say where etcd has something else. 0; -EAGAIN: not yet; else as etcd_call. */
int subnets_announce(struct subnets *s, const struct announcement *say, struct err *e);
