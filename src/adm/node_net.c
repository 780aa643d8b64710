/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network of further nodes: a bridge on the machine, a veth pair as each node's cable, the machine as
 * their router. Addresses: each range's first is the machine's, then one a node.
 */
#include "adm/nodes.h"

#include "adm/addresses.h"
#include "adm/forward.h"

#include "base/fiber.h"
#include "base/os.h"
#include "netlink/nft.h"

#include <net/if.h>
#include <stdio.h>

/* ---- which ranges --------------------------------------------------------------------------------- */

static bool overlaps(const struct prefix *range, const struct prefixes *with)
{
    for (size_t i = 0; i < with->n; i++)
        if (prefix_overlaps(range, &with->list[i]))
            return true;
    return false;
}

/* 10.123.N.0/24, fd7b:N::/64 (RFC 4193 wants a random number there; the data folder's name makes it). */
static struct prefix candidate(unsigned family, uint32_t hash, uint32_t n)
{
    struct prefix p = {{.family = (uint8_t)family}, family == AF_INET ? 24 : 64};
    if (family == AF_INET)
        memcpy(p.ip.b, (uint8_t[]){10, 123, (uint8_t)(hash + n)}, 3);
    else
        memcpy(p.ip.b, (uint8_t[]){0xfd, 0x7b, (uint8_t)(hash >> 24), (uint8_t)(hash >> 16), (uint8_t)(hash >> 8), (uint8_t)(hash + n)}, 6);
    return p;
}

/* With the first N from the data folder's name on that collides with nothing: clusters share a machine. */
static int find_range(const struct cluster_config *c, unsigned family, const struct prefixes *services, const struct prefixes *pods,
                      struct prefix *ret, struct err *e)
{
    uint32_t hash = (uint32_t)str_hash(str_of(c->data_dir));
    for (uint32_t i = 0; i < 256; i++) {
        struct prefix range = candidate(family, hash, i);
        if (overlaps(&range, services) || overlaps(&range, pods) || machine_has_address_in(&range, c->node_bridge))
            continue;
        *ret = range;
        return 0;
    }
    return err_set(e, -EADDRNOTAVAIL, "no range in %s is free for further nodes; name one with --node-cidr",
                   family == AF_INET ? "10.123.0.0/16" : "fd7b::/16");
}

static int find_ranges(struct arena *a, const struct cluster_config *c, const struct prefixes *pods, struct prefixes *ret, struct err *e)
{
    struct prefixes services, out = {ARENA_ARRAY(a, struct prefix, pods->n), 0};
    int r = ranges_parse(a, "service-cidr", c->service_cidr, &services, e);
    for (size_t i = 0; r == 0 && i < pods->n; i++)
        r = find_range(c, pods->list[i].ip.family, &services, pods, &out.list[out.n++], e);
    if (r == 0)
        *ret = out;
    return r;
}

int node_net_range(struct arena *a, const struct cluster_config *c, const struct node_list *known,
                   struct prefixes *ret, struct err *e)
{
    struct prefixes told = {0}, recorded = {0}, pods = {0};
    int r = ranges_parse(a, "pod-cidr", c->pod_cidr, &pods, e);
    if (r == 0 && c->node_cidr)
        r = ranges_parse(a, "node-cidr", c->node_cidr, &told, e);
    for (size_t i = 0; r == 0 && c->node_cidr && i < pods.n; i++)
        if (!range_of(&told, pods.list[i].ip.family) || told.n != pods.n)
            r = err_set(e, -EINVAL, "--node-cidr %s: nodes need the families that --pod-cidr %s has", c->node_cidr, c->pod_cidr);
    if (r < 0)
        return r;
    if (known->n && ranges_parse(a, "node-cidr", known->list[0].cluster.node_cidr, &recorded, NULL) == 0) {
        if (c->node_cidr && strcmp(ranges_text(a, &told), ranges_text(a, &recorded)))
            return err_set(e, -EINVAL, "--node-cidr %s: there are nodes with addresses of %s", c->node_cidr,
                           known->list[0].cluster.node_cidr);
        *ret = recorded;
        return 0;
    }
    if (!c->node_cidr)
        return find_ranges(a, c, &pods, ret, e);
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

/* "10.123.4.2/24,fd7b::2/64" of the addresses and the ranges they are of. */
static const char **with_bits(struct arena *a, const char *addresses, const char *ranges)
{
    const char **out = list_items(a, addresses);
    struct prefixes p = {0};
    (void)prefixes_parse(a, ranges, &p, NULL);
    for (const char **i = out; *i; i++) {
        const struct prefix *range = range_of(&p, strchr(*i, ':') ? AF_INET6 : AF_INET);
        *i = range ? arena_printf(a, "%s/%u", *i, range->bits).p : as_host(a, *i);
    }
    return out;
}

/* Nobody else can have them: no time is lost on asking (duplicate address detection). */
static int take_addresses(struct arena *a, const char *addresses, const char *ranges, const char *link, struct err *e)
{
    int r = 0;
    for (const char **i = with_bits(a, addresses, ranges); r == 0 && *i; i++)
        r = strchr(*i, ':') ? IP(e, "address", "replace", *i, "dev", link, "nodad") : IP(e, "address", "replace", *i, "dev", link);
    return r;
}

/* The items of a list that are of that family, in nft's words. */
static void put_of_family(struct buf *b, struct arena *a, const char *list, unsigned family)
{
    for (const char **i = list_items(a, list); *i; i++)
        if (has_family(*i, family))
            buf_printf(b, "%s%s", b->n ? ", " : "", *i);
}

static void hide_family(struct buf *rules, struct arena *a, const struct cluster_config *c, const char *nodes, unsigned family)
{
    struct buf own CLEANUP_BUF = BUF_INIT, all CLEANUP_BUF = BUF_INIT;
    const char *ip = family == AF_INET ? "ip" : "ip6";
    const char *everybody = arena_printf(a, "%s,%s,%s", nodes, c->pod_cidr, c->service_cidr).p;
    put_of_family(&own, a, nodes, family);
    put_of_family(&all, a, everybody, family);
    if (own.n)
        buf_printf(rules,
                   "%s saddr " STR_FMT " %s daddr { " STR_FMT " } return\n"
                   "%s saddr " STR_FMT " oifname != \"%s\" masquerade\n",
                   ip, STR_ARG(buf_str(&own)), ip, STR_ARG(buf_str(&all)), ip, STR_ARG(buf_str(&own)), c->node_bridge);
}

static int hide_nodes(struct arena *a, const struct cluster_config *c, const struct node *n, struct err *e)
{
    const char *bridge = c->node_bridge;
    struct buf rules CLEANUP_BUF = BUF_INIT;
    buf_printf(&rules,
               "table inet cube-nodes-%s\ndelete table inet cube-nodes-%s\ntable inet cube-nodes-%s {\n"
               "chain postrouting {\ntype nat hook postrouting priority srcnat; policy accept;\n",
               bridge, bridge, bridge);
    hide_family(&rules, a, c, n->cluster.node_cidr, AF_INET);
    hide_family(&rules, a, c, n->cluster.node_cidr, AF_INET6);
    buf_puts(&rules, "}\n}\n");
    int r = nft_apply(buf_str(&rules), e);
    return r < 0 ? err_wrap(e, r, "the rule that hides nodes behind the machine") : 0;
}

/* Nodes look for the machine's advertised address on their link. IPv4 answers for every address of the machine, IPv6 only for those of
 * the link that was asked, unless it is told to. */
static int answer_for_machine(struct arena *a, const struct cluster_config *c, struct err *e)
{
    const char *bridge = c->node_bridge;
    int r = 0;
    for (const char **ip = list_items(a, c->advertise); r == 0 && *ip; ip++) {
        if (!has_family(*ip, AF_INET6))
            continue;
        net_setting(arena_printf(a, "ipv6/conf/%s/proxy_ndp", bridge).p, "1");
        net_setting(arena_printf(a, "ipv6/neigh/%s/proxy_delay", bridge).p, "0");
        r = IP(e, "-6", "neighbour", "replace", "proxy", *ip, "dev", bridge);
    }
    return r;
}

/* A link's hardware address follows from its first address: what others remember of it is right after it has been made anew, and a
 * bridge without one of its own changes it with each node that comes or goes. */
static const char *hardware_address(struct arena *a, const char *addresses)
{
    uint32_t n = (uint32_t)str_hash(str_of(list_first(a, addresses)));
    return arena_printf(a, "0a:7b:%02x:%02x:%02x:%02x", n >> 24, n >> 16 & 255, n >> 8 & 255, n & 255).p;
}

int node_net_bridge(const struct cluster_config *c, const struct node *n, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    int r = if_nametoindex(c->node_bridge) ? 0 : IP(e, "link", "add", c->node_bridge, "address", hardware_address(&a, n->gateway), "type", "bridge");
    if (r == 0)
        r = take_addresses(&a, n->gateway, n->cluster.node_cidr, c->node_bridge, e);
    if (r == 0)
        r = IP(e, "link", "set", c->node_bridge, "up");
    net_setting("ipv4/ip_forward", "1");
    if (r == 0)
        r = forward_allow(c->node_bridge, e);
    if (r == 0)
        r = answer_for_machine(&a, c, e);
    return r < 0 ? r : hide_nodes(&a, c, n, e);
}

int node_net_plug(const struct cluster_config *c, const struct node *n, pid_t pid, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char text[16];
    snprintf(text, sizeof(text), "%d", (int)pid);
    node_net_unplug(n);
    int r = IP(e, "link", "add", n->link, "type", "veth", "peer", "name", "eth0", "address", hardware_address(&a, n->cluster.advertise),
               "netns", text);
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

static int wait_for_cable(struct err *e)
{
    struct mono deadline = mono_add(os_mono(), SECONDS(30));
    int r;
    while (!if_nametoindex("eth0"))
        if (os_mono().ns > deadline.ns)
            return err_set(e, -ETIMEDOUT, "the machine did not plug in this node's network within 30 s");
        else if ((r = fiber_sleep(MILLISECONDS(5))) < 0)
            return r;
    return 0;
}

/* The machine answers for all its addresses: its pods' routes can name the advertised ones. */
static int set_routes(struct arena *a, const struct node *n, struct err *e)
{
    int r = 0;
    for (const char **ip = list_items(a, n->control_plane); r == 0 && *ip; ip++)
        if (has_family(n->gateway, has_family(*ip, AF_INET6) ? AF_INET6 : AF_INET))
            r = IP(e, "route", "replace", as_host(a, *ip), "dev", "eth0");
    for (const char **ip = list_items(a, n->gateway); r == 0 && *ip; ip++)
        r = IP(e, has_family(*ip, AF_INET6) ? "-6" : "-4", "route", "replace", "default", "via", *ip);
    return r;
}

int node_net_within(const struct node *n, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    int r = wait_for_cable(e);
    if (r < 0)
        return r;
    net_setting("ipv4/ip_forward", "1");
    net_setting("ipv6/conf/all/forwarding", "1");
    net_setting("ipv4/conf/all/rp_filter", "0");
    net_setting("bridge/bridge-nf-call-iptables", "1");
    net_setting("bridge/bridge-nf-call-ip6tables", "1");
    r = IP(e, "link", "set", "lo", "up");
    if (r == 0)
        r = take_addresses(&a, n->cluster.advertise, n->cluster.node_cidr, "eth0", e);
    if (r == 0)
        r = IP(e, "link", "set", "eth0", "up");
    return r < 0 ? r : set_routes(&a, n, e);
}
