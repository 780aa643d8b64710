/* SPDX-License-Identifier: Apache-2.0 */
#include "overlay/kernel.h"

#include "base/fiber.h"
#include "base/os.h"

#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

void kernel_done(struct kernel *k)
{
    arena_done(&k->arena);
}

/* Repaired in 5.7 ("net: Fix offloading of masqueraded packets in tunnels", as Flannel's users met it with
 * --random-fully). */
bool kernel_spoils_checksums(const char *release)
{
    int major = 0, minor = 0;
    return sscanf(release, "%d.%d", &major, &minor) == 2 && (major < 5 || (major == 5 && minor < 7));
}

/* ---- looking ---------------------------------------------------------------------------------------- */

struct job {
    struct kernel *k;
    struct kernel_sync *s;
    struct rtnl rtnl;
    struct rtnl_links links;
    struct rtnl_addresses addresses;
    struct rtnl_routes routes;
    struct err *e;
    int r;
};

static bool is_device(const struct kernel *k, int link)
{
    return link && (link == k->devices[V4].index || link == k->devices[V6].index);
}

/* What links have addresses of, or plain routes without a gateway lead to. */
static void find_networks(struct job *j)
{
    struct kernel *k = j->k;
    k->networks = (struct prefixes){ARENA_ARRAY(&k->arena, struct prefix, j->routes.n + 1), 0};
    for (size_t i = 0; i < j->routes.n; i++) {
        const struct rtnl_route *r = &j->routes.list[i];
        if (!r->via.family && r->link && r->to.bits && !is_device(k, r->link) && r->protocol != OVERLAY_PROTOCOL)
            k->networks.list[k->networks.n++] = r->to;
    }
}

static bool concerns_us(const struct job *j, const struct rtnl_route *r)
{
    return is_device(j->k, r->link) ||
           (r->protocol == OVERLAY_PROTOCOL && (!j->s->within->n || prefixes_contain(j->s->within, &r->to)));
}

static void take_routes(struct job *j, struct entries *to)
{
    for (size_t i = 0; i < j->routes.n; i++) {
        const struct rtnl_route *r = &j->routes.list[i];
        if (r->protocol == RTPROT_KERNEL || r->protocol == RTPROT_RA || !concerns_us(j, r))
            continue;
        to->list[to->n++] = (struct entry){.kind = ENTRY_ROUTE,
                                           .protocol = r->protocol,
                                           .to = r->to,
                                           .via = r->via,
                                           .device = is_device(j->k, r->link) ? r->link : 0,
                                           .onlink = is_device(j->k, r->link)};
    }
}

static void take_neighs(const struct rtnl_neighs *from, struct entries *to)
{
    static const uint8_t none[6];
    for (size_t i = 0; i < from->n; i++) {
        const struct rtnl_neigh *n = &from->list[i];
        if (!(n->state & NUD_PERMANENT) || !n->ip.family || !memcmp(n->mac, none, 6) ||
            (!n->fdb && n->ip.family == AF_INET6 && n->ip.b[0] == 0xff))
            continue;
        struct entry e = {.kind = n->fdb ? ENTRY_FORWARD : ENTRY_NEIGHBOUR, .device = n->link};
        if (n->fdb)
            e.via = n->ip;
        else
            e.to = (struct prefix){n->ip, (uint8_t)ip_bits(&n->ip)};
        memcpy(e.mac, n->mac, 6);
        to->list[to->n++] = e;
    }
}

static int read_have(struct job *j)
{
    struct arena *a = j->s->arena;
    struct rtnl_neighs neighs[FAMILIES * 2] = {{0}};
    size_t n = j->routes.n;
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(neighs); i++) {
        int link = j->k->devices[i / 2].index;
        r = link ? rtnl_neighs_read(&j->rtnl, a, link, i % 2, &neighs[i]) : 0;
        n += neighs[i].n;
    }
    if (r < 0)
        return r;
    struct entries have = {ARENA_ARRAY(&j->k->arena, struct entry, n + 1), 0};
    take_routes(j, &have);
    for (size_t i = 0; i < ARRAY_SIZE(neighs); i++)
        take_neighs(&neighs[i], &have);
    entries_sort(&have);
    j->k->have = have;
    return 0;
}

/* ---- devices ----------------------------------------------------------------------------------------- */

static const struct rtnl_link *named(const struct rtnl_links *links, const char *name)
{
    for (size_t i = 0; i < links->n; i++)
        if (!strcmp(links->list[i].name, name))
            return &links->list[i];
    return NULL;
}

static bool fits(const struct rtnl_link *l, const struct rtnl_vxlan *v)
{
    return l->vxlan.vni == v->vni && l->vxlan.port == v->port && l->vxlan.lower == v->lower &&
           ip_equal(&l->vxlan.local, &v->local) && l->vxlan.learning == v->learning && l->vxlan.gbp == v->gbp;
}

/* What it had, what its Node says it had, or one of its own making. */
static void choose_mac(const struct job *j, const struct rtnl_link *old, unsigned f, uint8_t ret[static 6])
{
    const struct peer *self = j->s->self;
    if (old && !strcmp(old->kind, "vxlan"))
        memcpy(ret, old->mac, 6);
    else if (self->has_mac[f])
        memcpy(ret, self->mac[f], 6);
    else
        os_random(ret, 6);
    ret[0] = (uint8_t)((ret[0] & 0xfe) | (old || self->has_mac[f] ? 0 : 2));
}

static const struct prefix *own_range(const struct job *j, unsigned f)
{
    const struct peer *self = j->s->self;
    for (size_t i = 0; self && i < self->pods.n; i++)
        if (family_of(&self->pods.list[i].ip) == f)
            return &self->pods.list[i];
    return NULL;
}

static void no_router_advertisements(const char *link)
{
    char path[80];
    snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_ra", link);
    int fd = os_open(path, O_WRONLY, 0);
    if (fd >= 0)
        os_pwrite(fd, "0", 1, 0);
    os_close(fd);
}

static int make_device(struct job *j, struct rtnl_batch *b, const struct rtnl_link *old, const struct rtnl_vxlan *v,
                       struct device *d)
{
    if (old && strcmp(old->kind, "vxlan"))
        return err_set(j->e, -EEXIST, "there is a link %s that is no VXLAN device", d->name);
    if (old)
        rtnl_delete_link(b, old->index);
    rtnl_add_vxlan(b, d->name, d->mac, d->mtu, v);
    char alias[OVERLAY_NAME_MAX];
    rtnl_set_link(b, &(struct rtnl_link_change){.name = d->name, .alias = overlay_name(j->s->within, alias)});
    int r = rtnl_run(&j->rtnl, b, NULL);
    struct rtnl_link l;
    if (r == 0)
        r = rtnl_link_read(&j->rtnl, d->name, &l);
    if (r < 0)
        return err_set(j->e, r, "the VXLAN device %s cannot be made: %s", d->name, strerror(-r));
    d->index = l.index;
    struct utsname u;
    if (uname(&u) == 0 && kernel_spoils_checksums(u.release))
        rtnl_checksum_in_software(d->name);
    no_router_advertisements(d->name);
    return 0;
}

/* The range's first address, alone: the source of what the node itself says to pods elsewhere. */
static void address_device(struct job *j, struct rtnl_batch *b, const struct device *d, const struct ip *ip)
{
    bool there = false;
    for (size_t i = 0; i < j->addresses.n; i++) {
        const struct rtnl_address *at = &j->addresses.list[i];
        if (at->link != d->index || at->scope != RT_SCOPE_UNIVERSE || at->at.ip.family != ip->family)
            continue;
        if (ip_equal(&at->at.ip, ip) && at->at.bits == ip_bits(ip))
            there = true;
        else
            rtnl_delete_address(b, at);
    }
    struct rtnl_address own = {.link = d->index, .at = {*ip, (uint8_t)ip_bits(ip)},
                               .flags = ip->family == AF_INET6 ? IFA_F_NODAD : 0};
    if (!there)
        rtnl_add_address(b, RTNL_REPLACE, &own);
}

static int ensure_device(struct job *j, unsigned f)
{
    const struct netconf *c = j->s->conf;
    const struct prefix *own = own_range(j, f);
    struct device d = {0};
    struct rtnl_batch b CLEANUP_BATCH = {0};
    if (c->backend != BACKEND_VXLAN || !c->enabled[f] || !own || !j->k->uplink.address[f].family) {
        j->k->devices[f] = d;
        return 0;
    }
    snprintf(d.name, sizeof(d.name), f == V4 ? "flannel.%u" : "flannel-v6.%u", c->vni);
    d.mtu = (c->mtu ? c->mtu : j->k->uplink.mtu) - vxlan_overhead(f);
    const struct rtnl_link *old = named(&j->links, d.name);
    struct rtnl_vxlan v = {.vni = c->vni, .port = c->port ? c->port : 8472, .lower = j->k->uplink.link,
                           .local = j->k->uplink.address[f], .learning = c->learning, .gbp = c->gbp};
    choose_mac(j, old, f, d.mac);
    int r = 0;
    if (old && !strcmp(old->kind, "vxlan") && fits(old, &v))
        d.index = old->index;
    else
        r = make_device(j, &b, old, &v, &d);
    if (r == 0 && old && old->index == d.index && (old->mtu != d.mtu || !(old->flags & IFF_UP)))
        rtnl_set_link(&b, &(struct rtnl_link_change){.index = d.index, .mtu = d.mtu, .flags = IFF_UP, .mask = IFF_UP});
    if (r == 0) {
        struct ip first = prefix_network(own);
        address_device(j, &b, &d, &first);
        r = rtnl_run(&j->rtnl, &b, NULL);
        r = r < 0 ? err_set(j->e, r, "the VXLAN device %s cannot be set up: %s", d.name, strerror(-r)) : 0;
    }
    if (r == 0)
        j->k->devices[f] = d;
    return r;
}

static int read_routes(struct job *j)
{
    return rtnl_routes_read(&j->rtnl, j->s->arena, &(struct rtnl_route_filter){0}, &j->routes);
}

static int look(struct job *j)
{
    struct kernel *k = j->k;
    struct arena *a = j->s->arena;
    int r = rtnl_links_read(&j->rtnl, a, &j->links);
    r = r ? r : rtnl_addresses_read(&j->rtnl, a, 0, &j->addresses);
    r = r ? r : read_routes(j);
    if (r < 0)
        return err_set(j->e, r, "the kernel's links and routes cannot be read: %s", strerror(-r));
    arena_reset(&k->arena);
    k->looked = false;
    k->networks = (struct prefixes){0};
    k->have = (struct entries){0};
    r = uplink_find(j->s->choice, j->s->self, &j->links, &j->addresses, &j->routes, &k->uplink, j->e);
    if (r < 0 && j->s->conf->backend == BACKEND_VXLAN)
        return r;
    r = 0;
    for (unsigned f = 0; r == 0 && f < FAMILIES; f++)
        r = ensure_device(j, f);
    r = r ? r : read_routes(j); /* a device that goes takes its routes with it */
    if (r == 0) {
        find_networks(j);
        r = read_have(j);
    }
    k->looked = r == 0;
    return r;
}

/* ---- setting ------------------------------------------------------------------------------------------ */

static void put(struct rtnl_batch *b, const struct entry *e, bool set)
{
    struct rtnl_route r = {.to = e->to,
                           .via = e->via,
                           .link = e->device,
                           .onlink = e->onlink,
                           .protocol = set ? OVERLAY_PROTOCOL : e->protocol};
    struct rtnl_neigh n = {.link = e->device, .fdb = e->kind == ENTRY_FORWARD, .state = NUD_PERMANENT,
                           .ip = e->kind == ENTRY_FORWARD ? e->via : e->to.ip};
    memcpy(n.mac, e->mac, 6);
    /* Replacing does not ask whose route it is, so it is done only where ours is; else a foreign one would be lost. */
    if (e->kind == ENTRY_ROUTE)
        set ? rtnl_add_route(b, e->replaces ? RTNL_REPLACE : RTNL_NEW, &r) : rtnl_delete_route(b, &r);
    else
        set ? rtnl_add_neigh(b, &n) : rtnl_delete_neigh(b, &n);
}

/* A route that replaces one by another way in IPv6 stands beside it unless the old one goes. */
static int apply(struct job *j)
{
    const struct entry_changes *c = &j->s->changes;
    struct rtnl_batch b CLEANUP_BATCH = {0};
    for (size_t i = 0; i < c->set.n; i++)
        put(&b, &c->set.list[i], true);
    for (size_t i = 0; i < c->drop.n; i++)
        put(&b, &c->drop.list[i], false);
    j->s->results = ARENA_ARRAY(j->s->arena, int, b.n + 1);
    size_t n = b.n;
    rtnl_run(&j->rtnl, &b, j->s->results);
    for (size_t i = c->set.n; i < n; i++) /* what is gone already is no error */
        if (j->s->results[i] == -ESRCH || j->s->results[i] == -ENOENT || j->s->results[i] == -ENODEV)
            j->s->results[i] = 0;
    return 0;
}

static void keep(struct entries *to, const struct entries *from, const int *results)
{
    for (size_t i = 0; i < from->n; i++)
        if (results[i] < 0)
            to->list[to->n++] = from->list[i];
}

/* It has what was wanted but for what failed. */
static void remember(struct job *j)
{
    struct kernel_sync *s = j->s;
    struct entries failed = {ARENA_ARRAY(s->arena, struct entry, s->changes.set.n + 1), 0}, now;
    struct entry_changes rest;
    keep(&failed, &s->changes.set, s->results);
    entries_sort(&failed);
    entries_compare(s->arena, &failed, &s->plan.want, &rest);
    arena_reset(&j->k->arena); /* what was there before is not looked at again */
    now = (struct entries){ARENA_ARRAY(&j->k->arena, struct entry, s->plan.want.n + s->changes.drop.n + 1), 0};
    for (size_t i = 0; i < rest.set.n; i++) {
        now.list[now.n] = rest.set.list[i];
        now.list[now.n].protocol = OVERLAY_PROTOCOL;
        now.list[now.n++].replaces = false;
    }
    keep(&now, &s->changes.drop, s->results + s->changes.set.n);
    entries_sort(&now);
    j->k->have = now;
    s->failing = failed.n > 0;
}

static int sync_now(struct job *j)
{
    struct kernel_sync *s = j->s;
    struct kernel *k = j->k;
    int r = s->look || !k->looked ? look(j) : 0;
    if (r < 0)
        return r;
    struct plan_input in = {.conf = s->conf, .self = s->self, .peers = s->peers, .n = s->n, .within = s->within,
                            .networks = k->networks};
    memcpy(in.devices, k->devices, sizeof(in.devices));
    plan_make(s->arena, &in, &s->plan);
    entries_compare(s->arena, &k->have, &s->plan.want, &s->changes);
    if (!s->changes.set.n && !s->changes.drop.n)
        return 0;
    apply(j);
    struct prefixes networks = {ARENA_ARRAY(s->arena, struct prefix, k->networks.n + 1), k->networks.n};
    if (networks.n)
        memcpy(networks.list, k->networks.list, networks.n * sizeof(*networks.list));
    remember(j);
    k->networks.list = ARENA_ARRAY(&k->arena, struct prefix, networks.n + 1);
    if (networks.n)
        memcpy(k->networks.list, networks.list, networks.n * sizeof(*networks.list));
    return 0;
}

/* On a helper thread: a list of a router's whole table takes its time. */
static void run(void *arg)
{
    struct job *j = arg;
    j->r = rtnl_open(&j->rtnl, -1);
    if (j->r == 0)
        j->r = sync_now(j);
    else
        err_set(j->e, j->r, "no netlink socket: %s", strerror(-j->r));
    rtnl_close(&j->rtnl);
    if (j->r < 0)
        j->k->looked = false;
}

int kernel_sync(struct kernel *k, struct kernel_sync *s, struct err *e)
{
    struct job j = {.k = k, .s = s, .e = e};
    fiber_offload(run, &j);
    return j.r;
}

/* ---- the end -------------------------------------------------------------------------------------------- */

struct cleanup {
    const struct prefixes *within;
    int r;
};

static bool is_of(const struct rtnl_link *l, const struct prefixes *within)
{
    char name[OVERLAY_NAME_MAX];
    if (strcmp(l->kind, "vxlan"))
        return false;
    return within->n ? !strcmp(l->alias, overlay_name(within, name)) : !strncmp(l->alias, OVERLAY_NAME, strlen(OVERLAY_NAME));
}

static int clean(struct rtnl *n, const struct prefixes *within)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct rtnl_batch b CLEANUP_BATCH = {0};
    struct rtnl_routes routes;
    struct rtnl_links links;
    int r = rtnl_routes_read(n, &a, &(struct rtnl_route_filter){.protocol = OVERLAY_PROTOCOL}, &routes);
    r = r ? r : rtnl_links_read(n, &a, &links);
    for (size_t i = 0; r == 0 && i < routes.n; i++)
        if (!within->n || prefixes_contain(within, &routes.list[i].to))
            rtnl_delete_route(&b, &routes.list[i]);
    for (size_t i = 0; r == 0 && i < links.n; i++)
        if (is_of(&links.list[i], within))
            rtnl_delete_link(&b, links.list[i].index);
    if (r < 0 || !b.n)
        return r;
    r = rtnl_run(n, &b, NULL);
    return r == -ESRCH || r == -ENODEV ? 0 : r;
}

static void run_cleanup(void *arg)
{
    struct cleanup *c = arg;
    struct rtnl n = {0};
    c->r = rtnl_open(&n, -1);
    if (c->r == 0)
        c->r = clean(&n, c->within);
    rtnl_close(&n);
}

int kernel_cleanup(const struct prefixes *within, struct err *e)
{
    struct cleanup c = {.within = within};
    fiber_offload(run_cleanup, &c);
    return c.r < 0 ? err_set(e, c.r, "the overlay's routes and devices cannot be removed: %s", strerror(-c.r)) : 0;
}

/* ---- changes -------------------------------------------------------------------------------------------- */

/* Ports of bridges are pods' cables: they come and go all the time and are none of ours. A link or an address that changes
 * takes routes away without a word (IPv4); a removed route is told. */
bool kernel_change_matters(const struct kernel *k, const struct nlmsghdr *h)
{
    struct rtnl_route route;
    struct rtnl_neigh neigh;
    struct rtnl_link link;
    if (!h)
        return true;
    switch (h->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
        return rtnl_parse_link(h, &link) && !link.master;
    case RTM_NEWADDR:
    case RTM_DELADDR:
        return true;
    case RTM_DELROUTE:
        return rtnl_parse_route(h, &route) && (route.protocol == OVERLAY_PROTOCOL || is_device(k, route.link));
    case RTM_DELNEIGH:
        return rtnl_parse_neigh(h, &neigh) && is_device(k, neigh.link);
    default:
        return false;
    }
}
