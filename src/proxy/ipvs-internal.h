/* SPDX-License-Identifier: Apache-2.0 */
/* IPVS mode's own: what it remembers (ipvs.c writes it, ipvs_look.c compares the kernel with it), and the names of what it makes. */
#pragma once

#include "base/map.h"
#include "netlink/ipvs.h"
#include "netlink/rtnl.h"
#include "proxy/backend.h"

#define IPVS_DEVICE "kube-ipvs0"

enum set { S_LOOP, S_CLUSTER, S_EXTERNAL, S_EXTERNAL_LOCAL, S_LB, S_LB_LOCAL, S_LB_FW, S_LB_SOURCE_IP, S_LB_SOURCE_CIDR, S_TCP, S_TCP_LOCAL,
           S_UDP, S_UDP_LOCAL, S_SCTP, S_SCTP_LOCAL, S_HEALTH, S_IPS, SETS };
struct ipvs_set {
    const char *name, *type;
};
extern const struct ipvs_set ipvs_sets[SETS];
/* "KUBE-CLUSTER-IP", "KUBE-6-CLUSTER-IP"; the kernel takes 31 characters. */
const char *ipvs_set_name(bool six, enum set s, char ret[static 32]);

struct vserver {
    struct ipvs_server server;
    struct ipvs_dest *dests;
    size_t n;
};
struct kept {
    struct arena arena;
    struct vserver *servers;
    size_t n_servers, cap_servers;
    struct str *entries; /* "KUBE-CLUSTER-IP 10.96.0.1,tcp:80" */
    size_t n_entries, cap_entries;
    struct ip *addresses; /* for the device */
    size_t n_addresses, cap_addresses;
};

struct ipvs_side {
    struct backend base;
    const struct backend_settings *settings;
    struct map services; /* "ns/name" -> struct kept * */
    struct map entries;  /* set entry -> how many want it */
    struct map addresses; /* text -> how many want it */
    struct map leaving;  /* server and destination -> struct ipvs_op *: no new connections go there */
    struct buf set_text, ops; /* of the next commit; ops: struct ipvs_op */
    struct buf add, drop;     /* struct ip */
    size_t rules[2];          /* of nat and filter */
    bool full;
    uint64_t failures;
};

/* By address, protocol and port -> const struct vserver *: all that is wanted. */
struct map ipvs_all_wanted(const struct ipvs_side *t);
struct ipvs_server_key {
    uint8_t b[20];
};
struct ipvs_server_key ipvs_key_of(const struct ipvs_server *s);
const struct vserver *ipvs_wanted(const struct map *all, const struct ipvs_server *s);
bool ipvs_is_as_wanted(const struct ipvs_server *is, const struct ipvs_server *want);
/* Of our family, and not left to others (excludeCIDRs). */
bool ipvs_is_minded(const struct ipvs_side *t, const struct ipvs_server *s);
bool ipvs_has_dest(const struct ipvs_dest *list, size_t n, const struct ipvs_dest *d, uint32_t *ret_weight);
struct str ipvs_leaving_key(struct arena *a, const struct ipvs_server *s, const struct ipvs_dest *d);

/* Do sets, servers and addresses stand in the kernel as they should? 0, 1 when not, -errno. Waits. */
int ipvs_look(struct ipvs_side *t, struct err *e);
