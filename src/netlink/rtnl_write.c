/* SPDX-License-Identifier: Apache-2.0 */
/* What shall be, as messages. */
#include "netlink/rtnl-internal.h"

#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/tc_act/tc_mirred.h>
#include <linux/veth.h>

enum { MAKE = NLM_F_CREATE | NLM_F_EXCL, PUT = NLM_F_CREATE | NLM_F_REPLACE };

static uint16_t how_flags(enum rtnl_how how)
{
    return how == RTNL_NEW ? MAKE : PUT;
}

static void put_ip(struct rtnl_batch *b, uint16_t type, const struct ip *ip)
{
    rtnl_attr(b, type, ip->b, ip_size(ip));
}

/* ---- links ------------------------------------------------------------------------------------------ */

static const struct ifinfomsg link_up = {.ifi_flags = IFF_UP, .ifi_change = IFF_UP};

static void begin_link(struct rtnl_batch *b, const char *name, uint32_t mtu, const uint8_t *mac)
{
    rtnl_begin(b, RTM_NEWLINK, MAKE, &link_up, sizeof(link_up));
    rtnl_attr_text(b, IFLA_IFNAME, name);
    if (mtu)
        rtnl_attr_u32(b, IFLA_MTU, mtu);
    if (mac)
        rtnl_attr(b, IFLA_ADDRESS, mac, 6);
}

/* What is particular to a kind of link (or of bridge port) stands two nests deep. */
struct details {
    size_t info, data;
};

static struct details open_details(struct rtnl_batch *b, uint16_t kind_attr, const char *kind, uint16_t data_attr)
{
    struct details d = {.info = rtnl_nest(b, IFLA_LINKINFO, NULL, 0)};
    rtnl_attr_text(b, kind_attr, kind);
    d.data = rtnl_nest(b, data_attr, NULL, 0);
    return d;
}

static void close_details(struct rtnl_batch *b, struct details d)
{
    rtnl_nest_end(b, d.data);
    rtnl_nest_end(b, d.info);
}

void rtnl_add_link(struct rtnl_batch *b, const char *kind, const char *name, uint32_t mtu, const uint8_t *mac)
{
    begin_link(b, name, mtu, mac);
    size_t info = rtnl_nest(b, IFLA_LINKINFO, NULL, 0);
    rtnl_attr_text(b, IFLA_INFO_KIND, kind);
    rtnl_nest_end(b, info);
}

void rtnl_add_veth(struct rtnl_batch *b, const struct rtnl_veth *v)
{
    static const struct ifinfomsg none;
    begin_link(b, v->name, v->mtu, NULL);
    if (v->master)
        rtnl_attr_u32(b, IFLA_MASTER, (uint32_t)v->master);
    struct details d = open_details(b, IFLA_INFO_KIND, "veth", IFLA_INFO_DATA);
    size_t peer = rtnl_nest(b, VETH_INFO_PEER, &none, sizeof(none));
    rtnl_attr_text(b, IFLA_IFNAME, v->peer_name);
    if (v->mtu)
        rtnl_attr_u32(b, IFLA_MTU, v->mtu);
    if (v->peer_mac)
        rtnl_attr(b, IFLA_ADDRESS, v->peer_mac, 6);
    if (v->peer_ns >= 0)
        rtnl_attr_u32(b, IFLA_NET_NS_FD, (uint32_t)v->peer_ns);
    rtnl_nest_end(b, peer);
    close_details(b, d);
}

void rtnl_add_vxlan(struct rtnl_batch *b, const char *name, const uint8_t *mac, uint32_t mtu,
                    const struct rtnl_vxlan *v)
{
    uint16_t port = htons(v->port ? v->port : 8472);
    begin_link(b, name, mtu, mac);
    struct details d = open_details(b, IFLA_INFO_KIND, "vxlan", IFLA_INFO_DATA);
    rtnl_attr_u32(b, IFLA_VXLAN_ID, v->vni);
    rtnl_attr(b, IFLA_VXLAN_PORT, &port, sizeof(port));
    rtnl_attr_u8(b, IFLA_VXLAN_LEARNING, v->learning);
    if (v->lower)
        rtnl_attr_u32(b, IFLA_VXLAN_LINK, (uint32_t)v->lower);
    if (v->local.family)
        put_ip(b, v->local.family == AF_INET ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6, &v->local);
    if (v->gbp)
        rtnl_attr(b, IFLA_VXLAN_GBP, NULL, 0);
    close_details(b, d);
}

void rtnl_set_link(struct rtnl_batch *b, const struct rtnl_link_change *c)
{
    struct ifinfomsg m = {.ifi_index = c->index, .ifi_flags = c->flags, .ifi_change = c->mask};
    rtnl_begin(b, RTM_NEWLINK, 0, &m, sizeof(m));
    if (!c->index || c->rename)
        rtnl_attr_text(b, IFLA_IFNAME, c->rename ? c->rename : c->name);
    if (c->alias)
        rtnl_attr(b, IFLA_IFALIAS, c->alias, strlen(c->alias));
    if (c->mtu)
        rtnl_attr_u32(b, IFLA_MTU, c->mtu);
    if (c->mac)
        rtnl_attr(b, IFLA_ADDRESS, c->mac, 6);
    if (c->master)
        rtnl_attr_u32(b, IFLA_MASTER, (uint32_t)c->master);
    if (!c->hairpin)
        return;
    struct details d = open_details(b, IFLA_INFO_SLAVE_KIND, "bridge", IFLA_INFO_SLAVE_DATA);
    rtnl_attr_u8(b, IFLA_BRPORT_MODE, c->hairpin > 0);
    close_details(b, d);
}

void rtnl_delete_link(struct rtnl_batch *b, int index)
{
    struct ifinfomsg m = {.ifi_index = index};
    rtnl_begin(b, RTM_DELLINK, 0, &m, sizeof(m));
}

/* ---- addresses, routes, neighbours -------------------------------------------------------------------- */

static void put_address(struct rtnl_batch *b, uint16_t type, uint16_t flags, const struct rtnl_address *at)
{
    struct ifaddrmsg m = {.ifa_family = at->at.ip.family,
                          .ifa_prefixlen = at->at.bits,
                          .ifa_scope = at->scope,
                          .ifa_index = (uint32_t)at->link};
    struct ip last = prefix_last(&at->at);
    rtnl_begin(b, type, flags, &m, sizeof(m));
    put_ip(b, IFA_LOCAL, &at->at.ip);
    put_ip(b, IFA_ADDRESS, &at->at.ip);
    if (at->at.ip.family == AF_INET && at->at.bits < 31 && type == RTM_NEWADDR)
        put_ip(b, IFA_BROADCAST, &last);
    if (at->flags)
        rtnl_attr_u32(b, IFA_FLAGS, at->flags);
}

void rtnl_add_address(struct rtnl_batch *b, enum rtnl_how how, const struct rtnl_address *at)
{
    put_address(b, RTM_NEWADDR, how_flags(how), at);
}

void rtnl_delete_address(struct rtnl_batch *b, const struct rtnl_address *at)
{
    put_address(b, RTM_DELADDR, 0, at);
}

static void put_route(struct rtnl_batch *b, uint16_t type, uint16_t flags, const struct rtnl_route *r)
{
    struct rtmsg m = {.rtm_family = r->to.ip.family,
                      .rtm_dst_len = r->to.bits,
                      .rtm_table = RT_TABLE_MAIN,
                      .rtm_protocol = r->protocol,
                      .rtm_scope = r->scope,
                      .rtm_type = RTN_UNICAST,
                      .rtm_flags = r->onlink ? RTNH_F_ONLINK : 0};
    rtnl_begin(b, type, flags, &m, sizeof(m));
    if (r->to.bits)
        put_ip(b, RTA_DST, &r->to.ip);
    if (r->via.family)
        put_ip(b, RTA_GATEWAY, &r->via);
    if (r->source.family)
        put_ip(b, RTA_PREFSRC, &r->source);
    if (r->link)
        rtnl_attr_u32(b, RTA_OIF, (uint32_t)r->link);
    if (r->metric)
        rtnl_attr_u32(b, RTA_PRIORITY, r->metric);
}

void rtnl_add_route(struct rtnl_batch *b, enum rtnl_how how, const struct rtnl_route *r)
{
    put_route(b, RTM_NEWROUTE, how_flags(how), r);
}

void rtnl_delete_route(struct rtnl_batch *b, const struct rtnl_route *r)
{
    put_route(b, RTM_DELROUTE, 0, r);
}

static void put_neigh(struct rtnl_batch *b, uint16_t type, uint16_t flags, const struct rtnl_neigh *e)
{
    struct ndmsg m = {.ndm_family = e->fdb ? AF_BRIDGE : e->ip.family,
                      .ndm_ifindex = e->link,
                      .ndm_state = e->state,
                      .ndm_flags = e->fdb ? NTF_SELF : 0,
                      .ndm_type = e->fdb ? 0 : RTN_UNICAST};
    static const uint8_t no_mac[6];
    rtnl_begin(b, type, flags, &m, sizeof(m));
    if (e->ip.family)
        put_ip(b, NDA_DST, &e->ip);
    if (e->fdb || memcmp(e->mac, no_mac, 6))
        rtnl_attr(b, NDA_LLADDR, e->mac, 6);
}

void rtnl_add_neigh(struct rtnl_batch *b, const struct rtnl_neigh *e)
{
    put_neigh(b, RTM_NEWNEIGH, PUT, e);
}

void rtnl_delete_neigh(struct rtnl_batch *b, const struct rtnl_neigh *e)
{
    put_neigh(b, RTM_DELNEIGH, 0, e);
}

/* ---- queues ------------------------------------------------------------------------------------------- */

static void begin_queue(struct rtnl_batch *b, int link, uint32_t parent, uint32_t handle, const char *kind)
{
    struct tcmsg m = {.tcm_ifindex = link, .tcm_parent = parent, .tcm_handle = handle};
    rtnl_begin(b, RTM_NEWQDISC, PUT, &m, sizeof(m));
    rtnl_attr_text(b, TCA_KIND, kind);
}

/* As tc-tbf(8). The kernel takes the bucket's size in time at that rate, in ticks of 64 ns. */
void rtnl_add_tbf(struct rtnl_batch *b, int link, uint64_t rate, uint32_t burst, uint32_t limit)
{
    struct tc_tbf_qopt q = {.limit = limit};
    rate = rate ? rate : 1;
    q.rate.rate = rate > UINT32_MAX ? UINT32_MAX : (uint32_t)rate;
    q.rate.linklayer = TC_LINKLAYER_ETHERNET;
    double ticks = (double)burst / (double)rate * RTNL_TICKS_PER_SECOND;
    q.buffer = ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks;
    begin_queue(b, link, TC_H_ROOT, 0, "tbf");
    size_t options = rtnl_nest(b, TCA_OPTIONS, NULL, 0);
    rtnl_attr(b, TCA_TBF_PARMS, &q, sizeof(q));
    rtnl_attr_u32(b, TCA_TBF_BURST, burst);
    if (rate > UINT32_MAX)
        rtnl_attr(b, TCA_TBF_RATE64, &rate, sizeof(rate));
    rtnl_nest_end(b, options);
}

void rtnl_add_redirect(struct rtnl_batch *b, int link, int to)
{
    struct tcmsg m = {.tcm_ifindex = link,
                      .tcm_parent = TC_H_MAKE(0xffff0000, 0),
                      .tcm_info = TC_H_MAKE(1 << 16, htons(ETH_P_ALL))};
    struct {
        struct tc_u32_sel sel;
        struct tc_u32_key key;
    } any = {.sel = {.flags = TC_U32_TERMINAL, .nkeys = 1}}; /* a mask of nothing: every packet */
    struct tc_mirred redirect = {.action = TC_ACT_STOLEN, .eaction = TCA_EGRESS_REDIR, .ifindex = (uint32_t)to};
    begin_queue(b, link, TC_H_INGRESS, TC_H_MAKE(0xffff0000, 0), "ingress");
    rtnl_attr(b, TCA_OPTIONS, NULL, 0);
    rtnl_begin(b, RTM_NEWTFILTER, MAKE, &m, sizeof(m));
    rtnl_attr_text(b, TCA_KIND, "u32");
    size_t options = rtnl_nest(b, TCA_OPTIONS, NULL, 0);
    rtnl_attr_u32(b, TCA_U32_CLASSID, TC_H_MAKE(1 << 16, 1));
    rtnl_attr(b, TCA_U32_SEL, &any, sizeof(any.sel) + sizeof(any.key));
    size_t actions = rtnl_nest(b, TCA_U32_ACT, NULL, 0);
    size_t first = rtnl_nest(b, 1, NULL, 0);
    rtnl_attr_text(b, TCA_ACT_KIND, "mirred");
    size_t data = rtnl_nest(b, TCA_ACT_OPTIONS, NULL, 0);
    rtnl_attr(b, TCA_MIRRED_PARMS, &redirect, sizeof(redirect));
    rtnl_nest_end(b, data);
    rtnl_nest_end(b, first);
    rtnl_nest_end(b, actions);
    rtnl_nest_end(b, options);
}
