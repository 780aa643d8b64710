/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel has: messages taken apart, lists made of them. */
#include "netlink/rtnl-internal.h"

#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/pkt_sched.h>
#include <stdio.h>

/* ---- attributes ------------------------------------------------------------------------------------- */

#define ATTRS(h, header, attr)                                                                               \
    for (const struct nlattr *attr = mnl_nlmsg_get_payload_offset(h, header);                                \
         mnl_attr_ok(attr, (int)((const char *)mnl_nlmsg_get_payload_tail(h) - (const char *)attr));         \
         attr = mnl_attr_next(attr))
#define NESTED(outer, attr)                                                                                  \
    for (const struct nlattr *attr = mnl_attr_get_payload(outer);                                            \
         mnl_attr_ok(attr, (int)((const char *)mnl_attr_get_payload(outer) +                                 \
                                 mnl_attr_get_payload_len(outer) - (const char *)attr));                     \
         attr = mnl_attr_next(attr))

static bool has_header(const struct nlmsghdr *h, uint16_t type, size_t size)
{
    return h->nlmsg_type == type && h->nlmsg_len >= NLMSG_LENGTH(size);
}

static uint32_t get_u32(const struct nlattr *attr)
{
    return mnl_attr_get_payload_len(attr) >= 4 ? mnl_attr_get_u32(attr) : 0;
}

static uint8_t get_u8(const struct nlattr *attr)
{
    return mnl_attr_get_payload_len(attr) >= 1 ? mnl_attr_get_u8(attr) : 0;
}

static void get_text(const struct nlattr *attr, char *ret, size_t size)
{
    size_t n = MIN((size_t)mnl_attr_get_payload_len(attr), size - 1);
    memcpy(ret, mnl_attr_get_payload(attr), n);
    ret[n] = 0;
}

static void get_mac(const struct nlattr *attr, uint8_t ret[static 6])
{
    if (mnl_attr_get_payload_len(attr) == 6)
        memcpy(ret, mnl_attr_get_payload(attr), 6);
}

/* Of the length that its family has, or of any family's (family 0). */
static bool get_ip(const struct nlattr *attr, uint8_t family, struct ip *ret)
{
    size_t n = mnl_attr_get_payload_len(attr);
    if ((n != 4 && n != 16) || (family == AF_INET && n != 4) || (family == AF_INET6 && n != 16))
        return false;
    *ret = (struct ip){.family = n == 4 ? AF_INET : AF_INET6};
    memcpy(ret->b, mnl_attr_get_payload(attr), n);
    return true;
}

/* ---- links ------------------------------------------------------------------------------------------ */

static void read_vxlan(const struct nlattr *data, struct rtnl_vxlan *v)
{
    NESTED (data, at)
        switch (mnl_attr_get_type(at)) {
        case IFLA_VXLAN_ID:
            v->vni = get_u32(at);
            break;
        case IFLA_VXLAN_LINK:
            v->lower = (int)get_u32(at);
            break;
        case IFLA_VXLAN_LOCAL:
            get_ip(at, AF_INET, &v->local);
            break;
        case IFLA_VXLAN_LOCAL6:
            get_ip(at, AF_INET6, &v->local);
            break;
        case IFLA_VXLAN_PORT: /* in network order */
            if (mnl_attr_get_payload_len(at) >= 2)
                v->port = ntohs(mnl_attr_get_u16(at));
            break;
        case IFLA_VXLAN_LEARNING:
            v->learning = get_u8(at);
            break;
        case IFLA_VXLAN_GBP:
            v->gbp = true;
            break;
        default:
            break;
        }
}

static void read_kind(const struct nlattr *info, struct rtnl_link *l)
{
    const struct nlattr *data = NULL, *port = NULL;
    NESTED (info, at) {
        if (mnl_attr_get_type(at) == IFLA_INFO_KIND)
            get_text(at, l->kind, sizeof(l->kind));
        else if (mnl_attr_get_type(at) == IFLA_INFO_DATA)
            data = at;
        else if (mnl_attr_get_type(at) == IFLA_INFO_SLAVE_DATA)
            port = at;
    }
    if (data && !strcmp(l->kind, "vxlan"))
        read_vxlan(data, &l->vxlan);
    if (port)
        NESTED (port, at)
            if (mnl_attr_get_type(at) == IFLA_BRPORT_MODE)
                l->hairpin = get_u8(at);
}

bool rtnl_parse_link(const struct nlmsghdr *h, struct rtnl_link *ret)
{
    const struct ifinfomsg *m = mnl_nlmsg_get_payload(h);
    if ((h->nlmsg_type != RTM_NEWLINK && h->nlmsg_type != RTM_DELLINK) || h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)))
        return false;
    struct rtnl_link l = {.index = m->ifi_index, .flags = m->ifi_flags};
    ATTRS (h, sizeof(*m), at)
        switch (mnl_attr_get_type(at)) {
        case IFLA_IFNAME:
            get_text(at, l.name, sizeof(l.name));
            break;
        case IFLA_IFALIAS:
            get_text(at, l.alias, sizeof(l.alias));
            break;
        case IFLA_MTU:
            l.mtu = get_u32(at);
            break;
        case IFLA_MASTER:
            l.master = (int)get_u32(at);
            break;
        case IFLA_LINK:
            l.peer = (int)get_u32(at);
            break;
        case IFLA_ADDRESS:
            get_mac(at, l.mac);
            break;
        case IFLA_LINKINFO:
            read_kind(at, &l);
            break;
        default:
            break;
        }
    *ret = l;
    return true;
}

bool rtnl_parse_address(const struct nlmsghdr *h, struct rtnl_address *ret)
{
    const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
    struct ip local = {0}, address = {0};
    if (!has_header(h, RTM_NEWADDR, sizeof(*m)) || (m->ifa_family != AF_INET && m->ifa_family != AF_INET6))
        return false;
    struct rtnl_address out = {.link = (int)m->ifa_index, .scope = m->ifa_scope, .flags = m->ifa_flags};
    ATTRS (h, sizeof(*m), at) {
        if (mnl_attr_get_type(at) == IFA_LOCAL)
            get_ip(at, m->ifa_family, &local);
        else if (mnl_attr_get_type(at) == IFA_ADDRESS)
            get_ip(at, m->ifa_family, &address);
        else if (mnl_attr_get_type(at) == IFA_FLAGS)
            out.flags = get_u32(at);
    }
    out.at = (struct prefix){local.family ? local : address, m->ifa_prefixlen};
    if (!out.at.ip.family || out.at.bits > ip_bits(&out.at.ip))
        return false;
    *ret = out;
    return true;
}

bool rtnl_parse_route(const struct nlmsghdr *h, struct rtnl_route *ret)
{
    const struct rtmsg *m = mnl_nlmsg_get_payload(h);
    if ((h->nlmsg_type != RTM_DELROUTE && h->nlmsg_type != RTM_NEWROUTE) || h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)) ||
        (m->rtm_family != AF_INET && m->rtm_family != AF_INET6) || m->rtm_table != RT_TABLE_MAIN ||
        m->rtm_type != RTN_UNICAST || (m->rtm_flags & RTM_F_CLONED))
        return false;
    struct rtnl_route r = {.to = {.ip.family = m->rtm_family, .bits = m->rtm_dst_len},
                           .protocol = m->rtm_protocol,
                           .scope = m->rtm_scope,
                           .onlink = m->rtm_flags & RTNH_F_ONLINK};
    bool good = r.to.bits <= ip_bits(&r.to.ip);
    ATTRS (h, sizeof(*m), at)
        switch (mnl_attr_get_type(at)) {
        case RTA_DST:
            good = good && get_ip(at, m->rtm_family, &r.to.ip);
            break;
        case RTA_GATEWAY:
            good = good && get_ip(at, m->rtm_family, &r.via);
            break;
        case RTA_PREFSRC:
            good = good && get_ip(at, m->rtm_family, &r.source);
            break;
        case RTA_OIF:
            r.link = (int)get_u32(at);
            break;
        case RTA_PRIORITY:
            r.metric = get_u32(at);
            break;
        default:
            break;
        }
    if (good)
        *ret = r;
    return good;
}

bool rtnl_parse_neigh(const struct nlmsghdr *h, struct rtnl_neigh *ret)
{
    const struct ndmsg *m = mnl_nlmsg_get_payload(h);
    if ((h->nlmsg_type != RTM_NEWNEIGH && h->nlmsg_type != RTM_DELNEIGH) || h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)))
        return false;
    struct rtnl_neigh n = {.link = m->ndm_ifindex, .fdb = m->ndm_family == AF_BRIDGE, .state = m->ndm_state};
    ATTRS (h, sizeof(*m), at) {
        if (mnl_attr_get_type(at) == NDA_DST)
            get_ip(at, n.fdb ? 0 : m->ndm_family, &n.ip);
        else if (mnl_attr_get_type(at) == NDA_LLADDR)
            get_mac(at, n.mac);
    }
    *ret = n;
    return true;
}

/* ---- lists ------------------------------------------------------------------------------------------ */

/* A list that grows in an arena. */
struct growing {
    struct arena *arena;
    char *items;
    size_t n, cap, size;
    int link;
    const struct rtnl_route_filter *filter;
    bool fdb;
};

static void add(struct growing *g, const void *item)
{
    if (g->n == g->cap) {
        g->cap = g->cap ? g->cap * 2 : 16;
        char *more = arena_alloc(g->arena, g->cap * g->size);
        if (g->n)
            memcpy(more, g->items, g->n * g->size);
        g->items = more;
    }
    memcpy(g->items + g->n++ * g->size, item, g->size);
}

enum { DUMP_TRIES = 20 };

/* Again when things changed while they were read: some may be missing then. */
static int read_list(struct rtnl *n, struct rtnl_batch *request, rtnl_take *take, struct growing *g)
{
    size_t before = g->n;
    int r = -EINTR;
    for (unsigned i = 0; r == -EINTR && i < DUMP_TRIES; i++) {
        g->n = before;
        r = rtnl_dump(n, request, take, g);
    }
    rtnl_batch_done(request);
    return r;
}

static void take_link(void *arg, const struct nlmsghdr *h)
{
    struct rtnl_link l;
    if (rtnl_parse_link(h, &l))
        add(arg, &l);
}

int rtnl_links_read(struct rtnl *n, struct arena *a, struct rtnl_links *ret)
{
    struct growing g = {.arena = a, .size = sizeof(struct rtnl_link)};
    struct rtnl_batch b = {0};
    rtnl_begin(&b, RTM_GETLINK, 0, &(struct ifinfomsg){0}, sizeof(struct ifinfomsg));
    int r = read_list(n, &b, take_link, &g);
    if (r == 0)
        *ret = (struct rtnl_links){(void *)g.items, g.n};
    return r;
}

static void take_one_link(void *arg, const struct nlmsghdr *h)
{
    rtnl_parse_link(h, arg);
}

int rtnl_link_read(struct rtnl *n, const char *name, struct rtnl_link *ret)
{
    struct rtnl_link l = {0};
    struct rtnl_batch b CLEANUP_BATCH = {0};
    if (strlen(name) >= IFNAMSIZ)
        return -ENODEV;
    rtnl_begin(&b, RTM_GETLINK, 0, &(struct ifinfomsg){0}, sizeof(struct ifinfomsg));
    rtnl_attr_text(&b, IFLA_IFNAME, name);
    int r = rtnl_ask(n, &b, take_one_link, &l);
    if (r < 0 || !l.index)
        return r < 0 ? r : -ENODEV;
    *ret = l;
    return 0;
}

static void take_address(void *arg, const struct nlmsghdr *h)
{
    struct growing *g = arg;
    struct rtnl_address at;
    if (rtnl_parse_address(h, &at) && (!g->link || at.link == g->link))
        add(g, &at);
}

int rtnl_addresses_read(struct rtnl *n, struct arena *a, int link, struct rtnl_addresses *ret)
{
    struct growing g = {.arena = a, .size = sizeof(struct rtnl_address), .link = link};
    struct rtnl_batch b = {0};
    rtnl_begin(&b, RTM_GETADDR, 0, &(struct ifaddrmsg){.ifa_index = (uint32_t)link}, sizeof(struct ifaddrmsg));
    int r = read_list(n, &b, take_address, &g);
    if (r == 0)
        *ret = (struct rtnl_addresses){(void *)g.items, g.n};
    return r;
}

static void take_route(void *arg, const struct nlmsghdr *h)
{
    struct growing *g = arg;
    struct rtnl_route r;
    if (h->nlmsg_type == RTM_NEWROUTE && rtnl_parse_route(h, &r) &&
        (!g->filter->protocol || r.protocol == g->filter->protocol) &&
        (!g->filter->link || r.link == g->filter->link))
        add(g, &r);
}

int rtnl_routes_read(struct rtnl *n, struct arena *a, const struct rtnl_route_filter *f, struct rtnl_routes *ret)
{
    static const uint8_t families[] = {AF_INET, AF_INET6};
    struct growing g = {.arena = a, .size = sizeof(struct rtnl_route), .filter = f};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(families); i++) {
        struct rtnl_batch b = {0};
        struct rtmsg m = {.rtm_family = families[i], .rtm_protocol = f->protocol};
        if (f->family && f->family != families[i])
            continue;
        rtnl_begin(&b, RTM_GETROUTE, 0, &m, sizeof(m));
        if (f->link)
            rtnl_attr_u32(&b, RTA_OIF, (uint32_t)f->link);
        r = read_list(n, &b, take_route, &g);
    }
    if (r == 0)
        *ret = (struct rtnl_routes){(void *)g.items, g.n};
    return r;
}

static void take_neigh(void *arg, const struct nlmsghdr *h)
{
    struct growing *g = arg;
    struct rtnl_neigh e;
    if (rtnl_parse_neigh(h, &e) && e.fdb == g->fdb && (!g->link || e.link == g->link))
        add(g, &e);
}

int rtnl_neighs_read(struct rtnl *n, struct arena *a, int link, bool fdb, struct rtnl_neighs *ret)
{
    struct growing g = {.arena = a, .size = sizeof(struct rtnl_neigh), .link = link, .fdb = fdb};
    struct rtnl_batch b = {0};
    struct ndmsg m = {.ndm_family = fdb ? AF_BRIDGE : AF_UNSPEC, .ndm_ifindex = fdb ? link : 0};
    rtnl_begin(&b, RTM_GETNEIGH, 0, &m, sizeof(m));
    if (!fdb && link)
        rtnl_attr_u32(&b, NDA_IFINDEX, (uint32_t)link);
    int r = read_list(n, &b, take_neigh, &g);
    if (r == 0)
        *ret = (struct rtnl_neighs){(void *)g.items, g.n};
    return r;
}

/* ---- queues ------------------------------------------------------------------------------------------- */

struct tbf_job {
    int link;
    bool found;
    uint64_t rate;
    uint32_t burst;
};

static void read_tbf(struct tbf_job *j, const struct nlattr *options)
{
    const struct tc_tbf_qopt *q = NULL;
    NESTED (options, at) {
        if (mnl_attr_get_type(at) == TCA_TBF_PARMS && mnl_attr_get_payload_len(at) >= sizeof(*q))
            q = mnl_attr_get_payload(at);
        else if (mnl_attr_get_type(at) == TCA_TBF_RATE64 && mnl_attr_get_payload_len(at) >= 8)
            j->rate = mnl_attr_get_u64(at);
    }
    if (!q)
        return;
    j->found = true;
    j->rate = j->rate ? j->rate : q->rate.rate;
    j->burst = (uint32_t)((double)q->buffer * (double)j->rate / RTNL_TICKS_PER_SECOND + 0.5);
}

static void take_queue(void *arg, const struct nlmsghdr *h)
{
    struct tbf_job *j = arg;
    const struct tcmsg *m = mnl_nlmsg_get_payload(h);
    const struct nlattr *options = NULL;
    char kind[16] = "";
    if (!has_header(h, RTM_NEWQDISC, sizeof(*m)) || m->tcm_ifindex != j->link || m->tcm_parent != TC_H_ROOT)
        return;
    ATTRS (h, sizeof(*m), at) {
        if (mnl_attr_get_type(at) == TCA_KIND)
            get_text(at, kind, sizeof(kind));
        else if (mnl_attr_get_type(at) == TCA_OPTIONS)
            options = at;
    }
    if (options && !strcmp(kind, "tbf"))
        read_tbf(j, options);
}

int rtnl_tbf_read(struct rtnl *n, int link, uint64_t *ret_rate, uint32_t *ret_burst)
{
    struct tbf_job j = {.link = link};
    struct rtnl_batch b CLEANUP_BATCH = {0};
    rtnl_begin(&b, RTM_GETQDISC, 0, &(struct tcmsg){.tcm_ifindex = link}, sizeof(struct tcmsg));
    int r = rtnl_dump(n, &b, take_queue, &j);
    if (r < 0 || !j.found)
        return r < 0 ? r : -ENOENT;
    *ret_rate = j.rate;
    *ret_burst = j.burst;
    return 0;
}
