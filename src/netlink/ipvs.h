/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's virtual servers (IPVS), over generic netlink. Calls block: from fibers, run them through fiber_offload. */
#pragma once

#include "netlink/prefix.h"

struct ipvs_server {
    struct ip ip;
    uint16_t port;
    uint8_t l4;         /* IPPROTO_TCP ... */
    char scheduler[16]; /* "rr" ... */
    uint32_t flags;     /* IP_VS_SVC_F_PERSISTENT ... */
    uint32_t timeout;   /* seconds a persistent client is remembered */
};
struct ipvs_dest {
    struct ip ip;
    uint16_t port;
    uint32_t weight;
    uint32_t connections; /* read only: active and inactive */
};

enum ipvs_what { IPVS_ADD_SERVER, IPVS_CHANGE_SERVER, IPVS_DELETE_SERVER, IPVS_ADD_DEST, IPVS_CHANGE_DEST, IPVS_DELETE_DEST };
struct ipvs_op {
    enum ipvs_what what;
    struct ipvs_server server;
    struct ipvs_dest dest;
};

struct ipvs {
    struct mnl_socket *socket;
    uint16_t family; /* generic netlink's number for IPVS */
};
/* -ENOENT: the kernel has no IPVS. */
int ipvs_open(struct ipvs *ret, struct err *e);
void ipvs_close(struct ipvs *v);
/* What is there already when it shall be added, or gone when it shall go, is no error. */
int ipvs_do(struct ipvs *v, const struct ipvs_op *op, struct err *e);
int ipvs_servers(struct ipvs *v, struct arena *a, struct ipvs_server **ret, size_t *ret_n, struct err *e);
int ipvs_dests(struct ipvs *v, const struct ipvs_server *s, struct arena *a, struct ipvs_dest **ret, size_t *ret_n, struct err *e);
/* Seconds; 0 leaves one as it is. */
int ipvs_timeouts(struct ipvs *v, uint32_t tcp, uint32_t tcp_fin, uint32_t udp, struct err *e);

struct nlmsghdr;
/* One message. Pure; for tests too. */
size_t ipvs_write(char *msg, uint16_t family, const struct ipvs_op *op); /* msg: 4096 bytes */
bool ipvs_parse_server(const struct nlmsghdr *h, struct ipvs_server *ret);
bool ipvs_parse_dest(const struct nlmsghdr *h, uint8_t family, struct ipvs_dest *ret);
