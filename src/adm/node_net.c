/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network of further nodes: a bridge on the machine, a veth pair as each node's cable, the machine as
 * their router. Addresses: the range's first is the machine's, then one a node.
 */
#include "adm/forward.h"
#include "adm/nodes.h"

#include "base/fiber.h"
#include "base/os.h"
#include "netlink/nft.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <unistd.h>

const char *ip_text(struct arena *a, uint32_t ip)
{
    char text[INET_ADDRSTRLEN];
    struct in_addr addr = {htonl(ip)};
    return arena_cstr(a, str_of(inet_ntop(AF_INET, &addr, text, sizeof(text))));
}

/* ---- which range ---------------------------------------------------------------------------------- */

static bool overlap(const struct range4 *a, const struct range4 *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Whether the machine has an address in it already, but for that of our own bridge. */
static bool is_in_use(const struct range4 *range, const char *bridge)
{
    struct ifaddrs *all = NULL;
    bool used = false;
    if (getifaddrs(&all) < 0)
        return false;
    for (struct ifaddrs *i = all; i && !used; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !strcmp(i->ifa_name, bridge))
            continue;
        uint32_t ip = ntohl(((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr.s_addr);
        used = ip >= range->first && ip <= range->last;
    }
    freeifaddrs(all);
    return used;
}

/* 10.123.N.0/24, with the first N from the data folder's name on that collides with nothing: clusters share a
 * machine. */
static int find_range(const struct cluster_config *c, struct range4 *ret, struct err *e)
{
    struct range4 services = {0}, pods = {0};
    uint32_t start = (uint32_t)(str_hash(str_of(c->data_dir)) % 256);
    range4_parse(c->service_cidr, &services);
    range4_parse(c->pod_cidr, &pods);
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t first = (10u << 24) | (123u << 16) | (((start + i) % 256) << 8);
        struct range4 range = {first, first | 255, 24};
        if (overlap(&range, &services) || overlap(&range, &pods) || is_in_use(&range, c->node_bridge))
            continue;
        *ret = range;
        return 0;
    }
    return err_set(e, -EADDRNOTAVAIL,
                   "no range in 10.123.0.0/16 is free for further nodes; name one with --node-cidr");
}

int node_net_range(struct arena *a UNUSED, const struct cluster_config *c, const struct node_list *known,
                   struct range4 *ret, struct err *e)
{
    struct range4 told = {0}, recorded = {0};
    if (c->node_cidr && !range4_parse(c->node_cidr, &told))
        return err_set(e, -EINVAL, "--node-cidr %s: expected an IPv4 range like 10.123.0.0/24", c->node_cidr);
    if (known->n && range4_parse(known->list[0].cluster.node_cidr, &recorded)) {
        if (c->node_cidr && (told.first != recorded.first || told.last != recorded.last))
            return err_set(e, -EINVAL, "--node-cidr %s: there are nodes with addresses of %s", c->node_cidr,
                           known->list[0].cluster.node_cidr);
        *ret = recorded;
        return 0;
    }
    if (!c->node_cidr)
        return find_range(c, ret, e);
    *ret = told;
    return 0;
}

/* ---- the machine's side --------------------------------------------------------------------------- */

/* Runs ip with words; NULL-terminated. */
static int ip_run(const char *const *argv, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct str text = STR_NULL;
    int r = os_run(&a, argv, NULL, &text, mono_add(os_mono(), SECONDS(10)));
    if (r == -ENOENT)
        return err_set(e, r, "the program ip was not found: apt-get install iproute2");
    if (r < 0)
        return err_set(e, r, "cannot run ip: %s", strerror(-r));
    for (; r && *argv; argv++)
        buf_printf(&b, "%s ", *argv);
    return r ? err_set(e, -EIO, "\"" STR_FMT "\" fails: " STR_FMT, STR_ARG(str_trim(buf_str(&b))),
                       STR_ARG(str_trim(text)))
             : 0;
}
#define IP(e, ...) ip_run((const char *const[]){"ip", __VA_ARGS__, NULL}, e)

/* A kernel without the setting does not need it. */
static void sysctl(const char *name, const char *value)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    int fd = os_open(arena_printf(&a, "/proc/sys/net/%s", name).p, O_WRONLY, 0);
    if (fd >= 0)
        os_pwrite(fd, value, strlen(value), 0);
    os_close(fd);
}

static int hide_nodes(struct arena *a, const struct cluster_config *c, const struct node *n, struct err *e)
{
    const char *nodes = n->cluster.node_cidr, *bridge = c->node_bridge;
    struct str rules =
        arena_printf(a,
                     "table inet cube-nodes-%s\ndelete table inet cube-nodes-%s\ntable inet cube-nodes-%s {\n"
                     "chain postrouting {\ntype nat hook postrouting priority srcnat; policy accept;\n"
                     "ip saddr %s ip daddr { %s, %s, %s } return\n"
                     "ip saddr %s oifname != \"%s\" masquerade\n}\n}\n",
                     bridge, bridge, bridge, nodes, nodes, c->pod_cidr, c->service_cidr, nodes, bridge);
    int r = nft_apply(rules, e);
    return r < 0 ? err_wrap(e, r, "the rule that hides nodes behind the machine") : 0;
}

int node_net_bridge(const struct cluster_config *c, const struct node *n, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *address = arena_printf(&a, "%s/%lld", n->gateway, (long long)n->prefix_bits).p;
    int r = if_nametoindex(c->node_bridge) ? 0 : IP(e, "link", "add", c->node_bridge, "type", "bridge");
    if (r == 0)
        r = IP(e, "address", "replace", address, "dev", c->node_bridge);
    if (r == 0)
        r = IP(e, "link", "set", c->node_bridge, "up");
    sysctl("ipv4/ip_forward", "1");
    if (r == 0)
        r = forward_allow(c->node_bridge, e);
    return r < 0 ? r : hide_nodes(&a, c, n, e);
}

int node_net_plug(const struct cluster_config *c, const struct node *n, pid_t pid, struct err *e)
{
    char text[16];
    snprintf(text, sizeof(text), "%d", (int)pid);
    node_net_unplug(n);
    int r = IP(e, "link", "add", n->link, "type", "veth", "peer", "name", "eth0", "netns", text);
    if (r == 0)
        r = IP(e, "link", "set", n->link, "master", c->node_bridge, "up");
    /* A node that asks the machine for a NodePort may be sent back to a pod of its own. While bridged packets pass the
     * machine's filters (net.bridge), the bridge does that itself, and only through ports that may turn packets round. */
    return r < 0 ? r : IP(e, "link", "set", n->link, "type", "bridge_slave", "hairpin", "on");
}

/* Whatever a record says, only what is of the kind that we make is taken away. */
static bool is_link_of(const char *link, const char *type)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str text = STR_NULL;
    const char *argv[] = {"ip", "-o", "link", "show", "dev", link, "type", type, NULL};
    return if_nametoindex(link) &&
           os_run(&a, argv, &text, NULL, mono_add(os_mono(), SECONDS(10))) == 0 && text.n;
}

/* A network namespace whose last process has ended takes a while to go, and its cable with it: not waited
 * for. */
void node_net_unplug(const struct node *n)
{
    if (is_link_of(n->link, "veth"))
        IP(NULL, "link", "delete", n->link);
}

void node_net_remove(const struct cluster_config *c)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str rules = arena_printf(&a, "add table inet cube-nodes-%s\ndelete table inet cube-nodes-%s\n",
                                    c->node_bridge, c->node_bridge);
    if (is_link_of(c->node_bridge, "bridge"))
        IP(NULL, "link", "delete", c->node_bridge);
    nft_apply(rules, NULL);
    forward_forget(c->node_bridge);
}

/* ---- within --------------------------------------------------------------------------------------- */

int node_net_within(const struct node *n, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *address = arena_printf(&a, "%s/%lld", n->cluster.advertise, (long long)n->prefix_bits).p;
    struct mono deadline = mono_add(os_mono(), SECONDS(30));
    int r = 0;
    while (!if_nametoindex("eth0"))
        if (os_mono().ns > deadline.ns)
            return err_set(e, -ETIMEDOUT, "the machine did not plug in this node's network within 30 s");
        else if ((r = fiber_sleep(MILLISECONDS(5))) < 0)
            return r;
    sysctl("ipv4/ip_forward", "1");
    sysctl("ipv6/conf/all/forwarding", "1");
    sysctl("ipv4/conf/all/rp_filter", "0");
    sysctl("bridge/bridge-nf-call-iptables", "1");
    sysctl("bridge/bridge-nf-call-ip6tables", "1");
    r = IP(e, "link", "set", "lo", "up");
    if (r == 0)
        r = IP(e, "address", "replace", address, "dev", "eth0");
    if (r == 0)
        r = IP(e, "link", "set", "eth0", "up");
    if (r == 0) /* the machine answers for all its addresses: its pods' routes can name the advertised one */
        r = IP(e, "route", "replace", arena_printf(&a, "%s/32", n->control_plane).p, "dev", "eth0");
    return r < 0 ? r : IP(e, "route", "replace", "default", "via", n->gateway);
}
