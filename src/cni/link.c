/* SPDX-License-Identifier: Apache-2.0 */
/* The bridge, and the cable from it into a container's namespace. */
#include "cni/cni.h"

#include "base/os.h"
#include "netlink/nft.h"
#include "netlink/rtnl.h"

#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

/* Both sides of a cable. */
struct sides {
    int ns;
    struct rtnl host, within;
};

static void close_sides(struct sides *s)
{
    rtnl_close(&s->host);
    rtnl_close(&s->within);
    if (s->ns >= 0)
        close(s->ns);
}

static int failed(struct err *e, int r, const char *what)
{
    return err_set(e, CNI_FAILED, "%s: %s", what, strerror(-r));
}

static int open_sides(const struct cni_request *r, struct sides *ret, struct err *e)
{
    struct sides s = {.ns = open(r->netns, O_RDONLY | O_CLOEXEC)};
    if (s.ns < 0)
        return err_set(e, CNI_UNKNOWN_CONTAINER, "the network namespace %s cannot be opened: %s", r->netns, strerror(errno));
    int n = rtnl_open(&s.host, -1);
    n = n ? n : rtnl_open(&s.within, s.ns);
    if (n < 0) {
        close_sides(&s);
        return err_set(e, CNI_UNKNOWN_CONTAINER, "the network namespace %s cannot be entered: %s", r->netns, strerror(-n));
    }
    *ret = s;
    return 0;
}

static void sysctl(const char *value, const char *fmt, ...) PRINTF(2, 3);
static void sysctl(const char *value, const char *fmt, ...)
{
    char path[160];
    va_list ap;
    int n = snprintf(path, sizeof(path), "/proc/sys/net/");
    va_start(ap, fmt);
    vsnprintf(path + n, sizeof(path) - (size_t)n, fmt, ap);
    va_end(ap);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return; /* a kernel without it does not need it */
    if (write(fd, value, strlen(value)) < 0) {
        /* read-only in a container of ours: whoever made it that saw to it */
    }
    close(fd);
}

/* ---- the bridge ------------------------------------------------------------------------------------------ */

/* Its own hardware address, or it would take a port's and change with each pod. */
static void mac_of_ip(const struct ip *ip, uint8_t ret[static 6])
{
    size_t n = ip_size(ip);
    const uint8_t mac[6] = {0x0a, 0x58, ip->b[n - 4], ip->b[n - 3], ip->b[n - 2], ip->b[n - 1]};
    memcpy(ret, mac, 6);
}

static int ensure_bridge(struct rtnl *n, const struct cni_request *r, const struct cni_result *result,
                         struct rtnl_link *ret, struct err *e)
{
    struct rtnl_batch b CLEANUP_BATCH = {0};
    uint8_t mac[6];
    int c = rtnl_link_read(n, r->bridge, ret);
    if (c == -ENODEV) {
        if (result->n_addresses)
            mac_of_ip(&result->addresses[0].gateway, mac);
        rtnl_add_link(&b, "bridge", r->bridge, r->mtu, result->n_addresses && result->addresses[0].gateway.family ? mac : NULL);
        c = rtnl_run(n, &b, NULL);
        sysctl("0", "ipv6/conf/%s/accept_ra", r->bridge); /* pods are no routers of the node's (CVE-2020-10749) */
        c = c == 0 || c == -EEXIST ? rtnl_link_read(n, r->bridge, ret) : c; /* somebody may have been quicker */
    }
    if (c < 0)
        return failed(e, c, "the bridge cannot be made");
    if (strcmp(ret->kind, "bridge"))
        return err_set(e, CNI_FAILED, "there is a link %s that is no bridge", r->bridge);
    if (!(ret->flags & IFF_UP) || (r->promisc && !(ret->flags & IFF_PROMISC)))
        rtnl_set_link(&b, &(struct rtnl_link_change){.index = ret->index, .flags = IFF_UP | (r->promisc ? IFF_PROMISC : 0),
                                                     .mask = IFF_UP | (r->promisc ? IFF_PROMISC : 0)});
    c = rtnl_run(n, &b, NULL);
    return c < 0 ? failed(e, c, "the bridge cannot be brought up") : 0;
}

/* forceAddress: an address of another range on the bridge goes. Else it is a mistake that is told. */
static int clear_gateways(struct rtnl *n, struct rtnl_batch *b, const struct cni_request *r, int bridge,
                          const struct prefix *gateway, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct rtnl_addresses have;
    int c = rtnl_addresses_read(n, &a, bridge, &have);
    if (c < 0)
        return failed(e, c, "the bridge's addresses cannot be read");
    for (size_t i = 0; i < have.n; i++) {
        const struct rtnl_address *at = &have.list[i];
        char text[IP_TEXT_MAX];
        if (at->at.ip.family != gateway->ip.family || at->scope != RT_SCOPE_UNIVERSE || prefix_compare(&at->at, gateway) == 0)
            continue;
        if (r->force_address)
            rtnl_delete_address(b, at);
        else if (gateway->ip.family == AF_INET || prefix_overlaps(&at->at, gateway))
            return err_set(e, CNI_FAILED, "the bridge %s has another address already: %s", r->bridge,
                           prefix_format(&at->at, text));
    }
    return 0;
}

static int ensure_gateways(struct rtnl *n, const struct cni_request *r, const struct cni_result *result, int bridge,
                           struct err *e)
{
    struct rtnl_batch b CLEANUP_BATCH = {0};
    bool families[2] = {false, false};
    for (size_t i = 0; r->is_gateway && i < result->n_addresses; i++) {
        const struct cni_address *at = &result->addresses[i];
        if (!at->gateway.family)
            continue;
        struct rtnl_address own = {.link = bridge, .at = {at->gateway, at->at.bits},
                                   .flags = at->gateway.family == AF_INET6 ? IFA_F_NODAD : 0};
        int c = clear_gateways(n, &b, r, bridge, &own.at, e);
        if (c)
            return c;
        rtnl_add_address(&b, RTNL_REPLACE, &own);
        families[at->gateway.family == AF_INET6] = true;
    }
    int c = rtnl_run(n, &b, NULL);
    if (c < 0)
        return failed(e, c, "the gateway's address cannot be given to the bridge");
    if (families[0])
        sysctl("1", "ipv4/ip_forward");
    if (families[1])
        sysctl("1", "ipv6/conf/all/forwarding");
    return 0;
}

/* ---- the cable -------------------------------------------------------------------------------------------- */

bool cni_is_host_link(const char *name)
{
    return !strncmp(name, "veth", 4);
}

static void make_name(char ret[static IFNAMSIZ])
{
    uint32_t n;
    os_random(&n, sizeof(n));
    snprintf(ret, IFNAMSIZ, "veth%08x", n);
}

/* The same address always comes with the same hardware address, so that what neighbours remember of an earlier pod with
 * this address is right for this one. */
static const uint8_t *choose_mac(const struct cni_request *r, const struct cni_result *result, uint8_t to[static 6])
{
    if (r->has_mac)
        return r->mac;
    if (!result->n_addresses)
        return NULL;
    mac_of_ip(&result->addresses[0].at.ip, to);
    return to;
}

static void unplug(struct rtnl *n, const char *name)
{
    struct rtnl_batch b CLEANUP_BATCH = {0};
    struct rtnl_link l;
    if (rtnl_link_read(n, name, &l) < 0)
        return;
    rtnl_delete_link(&b, l.index);
    rtnl_run(n, &b, NULL);
}

/* All of it or nothing. */
static int plug(struct sides *s, const struct cni_request *r, const struct cni_result *result, int bridge,
                struct rtnl_link *ret_host, struct rtnl_link *ret_within, struct err *e)
{
    struct rtnl_batch b CLEANUP_BATCH = {0};
    uint8_t mac[6];
    char name[IFNAMSIZ];
    int c = -EEXIST;
    if (rtnl_link_read(&s->within, r->ifname, ret_within) == 0)
        return err_set(e, CNI_FAILED, "the container has an interface %s already", r->ifname);
    for (unsigned tries = 0; c == -EEXIST && tries < 10; tries++) {
        make_name(name);
        rtnl_add_veth(&b, &(struct rtnl_veth){.name = name, .master = bridge, .mtu = r->mtu, .peer_name = r->ifname,
                                              .peer_mac = choose_mac(r, result, mac), .peer_ns = s->ns});
        if (r->hairpin)
            rtnl_set_link(&b, &(struct rtnl_link_change){.name = name, .hairpin = 1});
        c = rtnl_run(&s->host, &b, NULL);
    }
    if (c == -EEXIST)
        return failed(e, c, "the container's cable cannot be made"); /* whatever has that name is not ours */
    c = c ? c : rtnl_link_read(&s->host, name, ret_host);
    c = c ? c : rtnl_link_read(&s->within, r->ifname, ret_within);
    if (c < 0)
        unplug(&s->host, name);
    return c < 0 ? failed(e, c, "the container's cable cannot be made") : 0;
}

/* Nobody's router advertisements are for it: its addresses and routes are those that were given. */
static void settle(const struct sides *s, const char *ifname, bool six)
{
    int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (own >= 0 && setns(s->ns, CLONE_NEWNET) == 0) {
        sysctl("0", "ipv6/conf/%s/accept_ra", ifname);
        if (six)
            sysctl("0", "ipv6/conf/%s/disable_ipv6", ifname);
        if (setns(own, CLONE_NEWNET) < 0)
            panic("cannot go back to our own network namespace: %s", strerror(errno));
    }
    if (own >= 0)
        close(own);
}

static const struct ip *gateway_of(const struct cni_result *result, uint8_t family)
{
    for (size_t i = 0; i < result->n_addresses; i++)
        if (result->addresses[i].gateway.family == family)
            return &result->addresses[i].gateway;
    return NULL;
}

static int dress(struct sides *s, const struct cni_request *r, const struct cni_result *result, int link, struct err *e)
{
    struct rtnl_batch b CLEANUP_BATCH = {0};
    bool six = false;
    for (size_t i = 0; i < result->n_addresses; i++)
        six = six || result->addresses[i].at.ip.family == AF_INET6;
    settle(s, r->ifname, six);
    for (size_t i = 0; i < result->n_addresses; i++) {
        const struct prefix *at = &result->addresses[i].at;
        rtnl_add_address(&b, RTNL_NEW,
                         &(struct rtnl_address){.link = link, .at = *at,
                                                .flags = at->ip.family == AF_INET6 ? IFA_F_NODAD : 0});
    }
    rtnl_set_link(&b, &(struct rtnl_link_change){.index = link, .flags = IFF_UP, .mask = IFF_UP});
    for (size_t i = 0; i < result->n_routes; i++) {
        const struct cni_route *t = &result->routes[i];
        const struct ip *via = t->via.family ? &t->via : gateway_of(result, t->to.ip.family);
        struct rtnl_route route = {.to = t->to, .link = link, .protocol = RTPROT_BOOT,
                                   .scope = via ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK};
        if (via)
            route.via = *via;
        rtnl_add_route(&b, RTNL_REPLACE, &route);
    }
    int c = rtnl_run(&s->within, &b, NULL);
    return c < 0 ? failed(e, c, "the container's addresses and routes cannot be set") : 0;
}

/* ---- ADD ---------------------------------------------------------------------------------------------------- */

/* isDefaultGateway: what leads nowhere else goes there. */
static void default_routes(struct arena *a, const struct cni_request *r, struct cni_result *result)
{
    struct cni_route *routes = ARENA_ARRAY(a, struct cni_route, r->ipam.n_routes + result->n_addresses + 1);
    size_t n = 0;
    for (size_t i = 0; i < r->ipam.n_routes; i++)
        routes[n++] = r->ipam.routes[i];
    for (size_t i = 0; r->is_default_gateway && i < result->n_addresses; i++) {
        struct prefix all = {{.family = result->addresses[i].at.ip.family}, 0};
        bool there = !result->addresses[i].gateway.family;
        for (size_t j = 0; j < n; j++)
            there = there || prefix_compare(&routes[j].to, &all) == 0;
        if (!there)
            routes[n++] = (struct cni_route){.to = all, .via = result->addresses[i].gateway};
    }
    result->routes = routes;
    result->n_routes = n;
    result->dns = r->ipam.dns;
}

static void describe(struct arena *a, const struct cni_request *r, const struct rtnl_link *const links[3],
                     struct cni_result *result)
{
    result->interfaces = ARENA_ARRAY(a, struct cni_interface, 3);
    result->n_interfaces = 3;
    for (size_t i = 0; i < 3; i++) {
        struct cni_interface *l = &result->interfaces[i];
        snprintf(l->name, sizeof(l->name), "%s", links[i]->name);
        mac_format(links[i]->mac, l->mac);
        l->mtu = links[i]->mtu;
        l->sandbox = i == 2 ? r->netns : NULL;
    }
    for (size_t i = 0; i < result->n_addresses; i++)
        result->addresses[i].interface = 2;
}

static int masquerade(const struct cni_request *r, const struct cni_result *result, struct err *e);

int cni_bridge_add(struct arena *a, const struct cni_request *r, struct cni_result *result, struct err *e)
{
    struct sides s;
    struct rtnl_link bridge, host, within;
    int c = open_sides(r, &s, e);
    if (c)
        return c;
    default_routes(a, r, result);
    for (size_t i = 0; i < result->n_addresses; i++) /* as bridge does where ipam names none */
        if (r->is_gateway && !result->addresses[i].gateway.family) {
            struct ip network = prefix_network(&result->addresses[i].at);
            ip_add(&network, 1, &result->addresses[i].gateway);
        }
    c = ensure_bridge(&s.host, r, result, &bridge, e);
    c = c ? c : ensure_gateways(&s.host, r, result, bridge.index, e);
    c = c ? c : plug(&s, r, result, bridge.index, &host, &within, e);
    if (c == 0) {
        c = dress(&s, r, result, within.index, e);
        c = c || !r->ip_masq ? c : masquerade(r, result, e);
        if (c)
            unplug(&s.host, host.name);
    }
    close_sides(&s);
    if (c == 0)
        describe(a, r, (const struct rtnl_link *const[3]){&bridge, &host, &within}, result);
    return c;
}

/* One table an own network, whose rules are for all its pods. */
static int masquerade(const struct cni_request *r, const struct cni_result *result, struct err *e)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    char table[64], net[IP_TEXT_MAX];
    snprintf(table, sizeof(table), "cube-cni-masq-%016llx", (unsigned long long)str_hash(r->name));
    buf_printf(&b, "table inet %s\ndelete table inet %s\ntable inet %s {\nchain postrouting {\n"
                   "type nat hook postrouting priority srcnat; policy accept;\n", table, table, table);
    for (size_t i = 0; i < result->n_addresses; i++) {
        bool four = result->addresses[i].at.ip.family == AF_INET;
        struct prefix p = {prefix_network(&result->addresses[i].at), result->addresses[i].at.bits};
        const char *ip = four ? "ip" : "ip6";
        prefix_format(&p, net);
        buf_printf(&b, "%s saddr %s %s daddr != %s %s daddr != %s masquerade\n", ip, net, ip, net, ip,
                   four ? "224.0.0.0/4" : "ff00::/8");
    }
    buf_puts(&b, "}\n}\n");
    return nft_apply(buf_str(&b), e) < 0 ? CNI_FAILED : 0;
}

/* ---- DEL, CHECK ----------------------------------------------------------------------------------------------- */

int cni_bridge_del(const struct cni_request *r, struct err *e)
{
    struct rtnl within = {0};
    struct rtnl_link l;
    struct rtnl_batch b CLEANUP_BATCH = {0};
    int ns = *r->netns ? open(r->netns, O_RDONLY | O_CLOEXEC) : -1;
    if (ns < 0)
        return 0; /* it took its links with it */
    int c = rtnl_open(&within, ns);
    if (c == 0 && rtnl_link_read(&within, r->ifname, &l) == 0) {
        rtnl_delete_link(&b, l.index);
        c = rtnl_run(&within, &b, NULL);
    }
    rtnl_close(&within);
    close(ns);
    return c < 0 && c != -ENODEV && c != -EINVAL ? failed(e, c, "the container's cable cannot be removed") : 0;
}

static int check_address(const struct rtnl_addresses *have, const struct prefix *at, struct err *e)
{
    char text[IP_TEXT_MAX];
    for (size_t i = 0; i < have->n; i++)
        if (prefix_compare(&have->list[i].at, at) == 0)
            return 0;
    return err_set(e, CNI_CHECK_FAILED, "the container has lost the address %s", prefix_format(at, text));
}

static int check_route(const struct rtnl_routes *have, const struct cni_route *want, const struct cni_result *prev,
                       struct err *e)
{
    char text[IP_TEXT_MAX];
    const struct ip *via = want->via.family ? &want->via : gateway_of(prev, want->to.ip.family);
    for (size_t i = 0; i < have->n; i++)
        if (prefix_compare(&have->list[i].to, &want->to) == 0 && (!via || ip_equal(&have->list[i].via, via)))
            return 0;
    return err_set(e, CNI_CHECK_FAILED, "the container has lost the route to %s", prefix_format(&want->to, text));
}

static int check_links(struct sides *s, const struct cni_request *r, const struct cni_result *prev, struct rtnl_link *ret,
                       struct err *e)
{
    struct rtnl_link bridge, host;
    char mac[MAC_TEXT_MAX];
    if (rtnl_link_read(&s->host, r->bridge, &bridge) < 0)
        return err_set(e, CNI_CHECK_FAILED, "the bridge %s is gone", r->bridge);
    if (rtnl_link_read(&s->within, r->ifname, ret) < 0)
        return err_set(e, CNI_CHECK_FAILED, "the container's interface %s is gone", r->ifname);
    for (size_t i = 0; i < prev->n_interfaces; i++) {
        const struct cni_interface *l = &prev->interfaces[i];
        if (l->sandbox && !strcmp(l->name, r->ifname) && l->mac[0] && strcasecmp(l->mac, mac_format(ret->mac, mac)))
            return err_set(e, CNI_CHECK_FAILED, "the container's interface has the hardware address %s, not %s", mac, l->mac);
        if (l->sandbox || !cni_is_host_link(l->name))
            continue;
        if (rtnl_link_read(&s->host, l->name, &host) < 0 || host.master != bridge.index || !(host.flags & IFF_UP))
            return err_set(e, CNI_CHECK_FAILED, "the cable %s is not in the bridge %s", l->name, r->bridge);
    }
    return ret->flags & IFF_UP ? 0 : err_set(e, CNI_CHECK_FAILED, "the container's interface %s is down", r->ifname);
}

int cni_bridge_check(struct arena *a, const struct cni_request *r, const struct cni_result *prev, struct err *e)
{
    struct sides s;
    struct rtnl_link within;
    struct rtnl_addresses addresses = {0};
    struct rtnl_routes routes = {0};
    int c = open_sides(r, &s, e);
    if (c)
        return c;
    c = check_links(&s, r, prev, &within, e);
    if (c == 0 && (rtnl_addresses_read(&s.within, a, within.index, &addresses) < 0 ||
                   rtnl_routes_read(&s.within, a, &(struct rtnl_route_filter){.link = within.index}, &routes) < 0))
        c = err_set(e, CNI_IO, "the container's addresses cannot be read");
    for (size_t i = 0; c == 0 && i < prev->n_addresses; i++)
        c = check_address(&addresses, &prev->addresses[i].at, e);
    for (size_t i = 0; c == 0 && i < prev->n_routes; i++)
        c = check_route(&routes, &prev->routes[i], prev, e);
    close_sides(&s);
    return c;
}

/* ---- loopback --------------------------------------------------------------------------------------------------- */

int cni_loopback(const struct cni_request *r, struct cni_result *result, struct arena *a, struct err *e)
{
    struct sides s;
    struct rtnl_link lo;
    struct rtnl_batch b CLEANUP_BATCH = {0};
    int c = open_sides(r, &s, e);
    if (c)
        return c;
    int n = rtnl_link_read(&s.within, "lo", &lo);
    if (n == 0 && r->command == CNI_CHECK && !(lo.flags & IFF_UP))
        c = err_set(e, CNI_CHECK_FAILED, "lo is down");
    if (n == 0 && r->command == CNI_ADD) {
        rtnl_set_link(&b, &(struct rtnl_link_change){.index = lo.index, .flags = IFF_UP, .mask = IFF_UP});
        n = rtnl_run(&s.within, &b, NULL);
    }
    close_sides(&s);
    if (n < 0)
        return failed(e, n, "lo cannot be brought up");
    result->interfaces = ARENA_ARRAY(a, struct cni_interface, 1);
    result->interfaces[0] = (struct cni_interface){.name = "lo", .mac = "00:00:00:00:00:00", .sandbox = r->netns};
    result->n_interfaces = 1;
    result->addresses = ARENA_ARRAY(a, struct cni_address, 2);
    prefix_parse_address(STR("127.0.0.1/8"), &result->addresses[0].at);
    prefix_parse_address(STR("::1/128"), &result->addresses[1].at);
    result->n_addresses = 2;
    return c;
}
