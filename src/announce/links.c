/* SPDX-License-Identifier: Apache-2.0 */
#include "announce/links.h"

#include "base/log.h"
#include "base/map.h"
#include "base/os.h"
#include "announce/plan.h"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#define LOG "announce"

enum { FAIR_SHARE = 64 }; /* messages after which others on the loop have their turn */

struct link {
    struct list link;
    struct links *of;
    int index;
    char name[IFNAMSIZ];
    uint8_t mac[6];
    bool seen; /* at this look */
    int arp, icmp6; /* -EXXX: there is none */
    struct group listening;
    struct map joined; /* ip_map_key -> fd + 1 */
};

static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};

/* ---- which links ------------------------------------------------------------------------------------------- */

static bool is_named(const char *const *only, const char *name)
{
    for (; *only; only++)
        if (!strcmp(*only, name))
            return true;
    return false;
}

static bool is_within(const struct prefixes *all, const struct ip *ip)
{
    for (size_t i = 0; i < all->n; i++)
        if (prefix_has(&all->list[i], ip))
            return true;
    return false;
}

bool link_suits(const struct rtnl_link *link, const struct rtnl_addresses *addresses, const struct prefixes *pods,
                const char *const *only)
{
    static const uint8_t none[6];
    bool reachable = false;
    if (!(link->flags & IFF_UP) || link->flags & (IFF_LOOPBACK | IFF_NOARP | IFF_POINTOPOINT) || !(link->flags & IFF_BROADCAST) ||
        !memcmp(link->mac, none, 6))
        return false;
    if (only)
        return is_named(only, link->name);
    if (link->master || !strcmp(link->kind, "dummy"))
        return false;
    for (size_t i = 0; i < addresses->n; i++) {
        const struct rtnl_address *at = &addresses->list[i];
        if (at->link != link->index || at->scope != RT_SCOPE_UNIVERSE)
            continue;
        if (is_within(pods, &at->at.ip))
            return false;
        reachable = true;
    }
    return reachable;
}

/* ---- saying --------------------------------------------------------------------------------------------------- */

static void say_arp(struct link *l, unsigned op, const struct ip *ip, const uint8_t to_mac[6], const struct ip *to)
{
    struct arp_message m = {.op = op, .sender = *ip, .target = *to};
    struct os_link_peer peer = {0};
    uint8_t frame[MESSAGE_ARP_SIZE];
    memcpy(m.sender_mac, l->mac, 6);
    memcpy(m.target_mac, to_mac, 6);
    memcpy(peer.mac, to_mac, 6);
    arp_write(&m, frame);
    if (l->arp >= 0)
        os_link_send(l->arp, frame, sizeof(frame), &peer); /* lost like any message: who asks asks again */
}

static void say_neighbour(struct link *l, const struct ip *ip, const uint8_t to[16])
{
    struct os_link_peer peer = {0};
    uint8_t text[MESSAGE_ADVERT_SIZE];
    static const uint8_t nobody[16];
    bool asked = memcmp(to, nobody, 16) != 0 && memcmp(to, all_nodes, 16) != 0;
    memcpy(peer.ip, asked ? to : all_nodes, 16);
    neighbour_advertise(ip, l->mac, asked, text);
    if (l->icmp6 >= 0)
        os_link_send(l->icmp6, text, sizeof(text), &peer);
}

static void tell_on(struct link *l, const struct ip *ip)
{
    if (ip->family == AF_INET6) {
        say_neighbour(l, ip, all_nodes);
        return;
    }
    say_arp(l, ARP_REQUEST, ip, everybody, ip); /* some heed the one, some the other (RFC 5944 4.6) */
    say_arp(l, ARP_REPLY, ip, everybody, ip);
}

/* Without an address of our own in it nobody learns anything by the question (RFC 5227). */
static void ask_on(struct link *l, const struct ip *ip)
{
    static const struct ip none = {.family = AF_INET};
    struct arp_message m = {.op = ARP_REQUEST, .sender = none, .target = *ip};
    struct os_link_peer peer = {0};
    struct ip group = neighbour_group(ip);
    uint8_t text[MESSAGE_ADVERT_SIZE];
    memcpy(m.sender_mac, l->mac, 6);
    memcpy(peer.mac, everybody, 6);
    memcpy(peer.ip, group.b, 16);
    if (ip->family == AF_INET6 && l->icmp6 >= 0) {
        neighbour_solicit(ip, l->mac, text);
        os_link_send(l->icmp6, text, MESSAGE_ADVERT_SIZE, &peer);
    } else if (ip->family == AF_INET && l->arp >= 0) {
        arp_write(&m, text);
        os_link_send(l->arp, text, MESSAGE_ARP_SIZE, &peer);
    }
}

void links_ask(struct links *ls, const struct ip *ip)
{
    LIST_EACH (&ls->list, l)
        ask_on(LIST_ENTRY(l, struct link, link), ip);
}

void links_tell(struct links *ls, const struct ip *ip)
{
    LIST_EACH (&ls->list, l)
        tell_on(LIST_ENTRY(l, struct link, link), ip);
}

/* ---- hearing ----------------------------------------------------------------------------------------------------- */

static bool is_own_mac(const struct links *ls, const uint8_t mac[6])
{
    LIST_EACH (&ls->list, l)
        if (!memcmp(LIST_ENTRY(l, struct link, link)->mac, mac, 6))
            return true;
    return false;
}

static void hear_arp(struct link *l, const uint8_t *p, size_t n, const struct os_link_peer *from UNUSED)
{
    struct links *ls = l->of;
    struct arp_message m;
    if (!arp_parse(p, n, &m) || is_own_mac(ls, m.sender_mac))
        return;
    if (ls->ops->knows(ls->ctx, &m.sender) != IP_STRANGE)
        ls->ops->heard(ls->ctx, &m.sender);
    else if (m.op == ARP_REQUEST && ls->ops->knows(ls->ctx, &m.target) == IP_OURS)
        say_arp(l, ARP_REPLY, &m.target, m.sender_mac, &m.sender);
}

static void hear_neighbour(struct link *l, const uint8_t *p, size_t n, const struct os_link_peer *from)
{
    struct links *ls = l->of;
    struct neighbour_message m;
    if (!neighbour_parse(p, n, from->hops, &m) || (m.has_mac && is_own_mac(ls, m.mac)))
        return;
    enum links_ip kind = ls->ops->knows(ls->ctx, &m.target);
    if (m.solicitation && kind == IP_OURS)
        say_neighbour(l, &m.target, from->ip);
    else if (!m.solicitation && kind != IP_STRANGE)
        ls->ops->heard(ls->ctx, &m.target);
}

static void listen_to(struct link *l, int fd, void (*hear)(struct link *, const uint8_t *, size_t, const struct os_link_peer *))
{
    uint8_t p[MESSAGE_MAX];
    struct os_link_peer from;
    ssize_t n;
    for (unsigned count = 1; (n = os_link_recv(fd, p, sizeof(p), &from, MONO_NEVER)) != -ECANCELED && n != -EBADF; count++) {
        if (n >= 0)
            hear(l, p, (size_t)n, &from);
        else if (fiber_sleep(SECONDS(1)) < 0) /* the link went down: it may come up again */
            return;
        if (count % FAIR_SHARE == 0)
            fiber_yield();
    }
}

static void listen_arp(void *arg)
{
    struct link *l = arg;
    listen_to(l, l->arp, hear_arp);
}

static void listen_icmp6(void *arg)
{
    struct link *l = arg;
    listen_to(l, l->icmp6, hear_neighbour);
}

/* ---- coming and going ---------------------------------------------------------------------------------------------- */

static struct link *link_new(struct links *ls, const struct rtnl_link *from)
{
    struct link *l = NEW(struct link);
    struct err e = {0};
    *l = (struct link){.of = ls, .index = from->index};
    memcpy(l->name, from->name, sizeof(l->name));
    memcpy(l->mac, from->mac, 6);
    l->arp = os_link_open(OS_LINK_ARP, l->index, &e);
    if (l->arp < 0)
        log_warn(LOG, "%s: %s", l->name, e.text);
    l->icmp6 = os_link_open(OS_LINK_ICMP6, l->index, &e); /* may be switched off on this machine */
    list_push_back(&ls->list, &l->link);
    if (l->arp >= 0)
        group_spawn(&l->listening, "announce-arp", listen_arp, l);
    if (l->icmp6 >= 0)
        group_spawn(&l->listening, "announce-icmp6", listen_icmp6, l);
    return l;
}

static void leave(struct link *l, struct str key)
{
    intptr_t fd = (intptr_t)map_del(&l->joined, key);
    if (fd)
        os_close((int)fd - 1);
}

static void link_free(struct link *l)
{
    list_remove(&l->link);
    group_stop(&l->listening);
    MAP_EACH (&l->joined, e)
        leave(l, e->key);
    map_done(&l->joined);
    os_close(l->arp);
    os_close(l->icmp6);
    free(l);
}

static void join(struct link *l, const struct ip *ip)
{
    char buf[IP_KEY_MAX];
    struct err e = {0};
    struct str key = ip_map_key(ip, buf);
    struct ip group = neighbour_group(ip);
    if (ip->family != AF_INET6 || l->icmp6 < 0 || map_has(&l->joined, key))
        return;
    int fd = os_link_join(l->index, group.b, &e);
    if (fd >= 0)
        map_put(&l->joined, key, (void *)(intptr_t)(fd + 1));
    else
        log_warn(LOG, "%s: %s", l->name, e.text);
}

void links_join(struct links *ls, const struct ip *ip)
{
    LIST_EACH (&ls->list, l)
        join(LIST_ENTRY(l, struct link, link), ip);
}

void links_leave(struct links *ls, const struct ip *ip)
{
    char buf[IP_KEY_MAX];
    LIST_EACH (&ls->list, l)
        leave(LIST_ENTRY(l, struct link, link), ip_map_key(ip, buf));
}

void links_init(struct links *l)
{
    list_init(&l->list);
}

void links_done(struct links *ls)
{
    LIST_EACH_SAFE (&ls->list, l)
        link_free(LIST_ENTRY(l, struct link, link));
    arena_done(&ls->arena);
}

/* ---- looking --------------------------------------------------------------------------------------------------------- */

struct look {
    struct arena arena;
    struct rtnl_links links;
    struct rtnl_addresses addresses;
    int r;
};

static void look(void *arg)
{
    struct look *k = arg;
    struct rtnl n = {0};
    k->r = rtnl_open(&n, -1);
    if (k->r < 0)
        return;
    k->r = rtnl_links_read(&n, &k->arena, &k->links);
    k->r = k->r ? k->r : rtnl_addresses_read(&n, &k->arena, 0, &k->addresses);
    rtnl_close(&n);
}

static struct link *find(const struct links *ls, const struct rtnl_link *one)
{
    LIST_EACH (&ls->list, l) {
        struct link *have = LIST_ENTRY(l, struct link, link);
        if (have->index == one->index && !memcmp(have->mac, one->mac, 6) && !strcmp(have->name, one->name))
            return have;
    }
    return NULL;
}

static int by_prefix(const void *a, const void *b)
{
    return prefix_compare(a, b);
}

/* What the addresses of our links say, but for link-local ones. */
static bool take_networks(struct links *ls, const struct look *k)
{
    struct arena a = ARENA_INIT;
    struct prefixes all = {ARENA_ARRAY(&a, struct prefix, k->addresses.n + 1), 0};
    for (size_t i = 0; i < k->addresses.n; i++) {
        const struct rtnl_address *at = &k->addresses.list[i];
        bool ours = false;
        LIST_EACH (&ls->list, l)
            ours |= LIST_ENTRY(l, struct link, link)->index == at->link;
        if (ours && at->scope == RT_SCOPE_UNIVERSE && at->at.bits < ip_bits(&at->at.ip))
            all.list[all.n++] = (struct prefix){prefix_network(&at->at), at->at.bits};
    }
    if (all.n)
        qsort(all.list, all.n, sizeof(*all.list), by_prefix);
    bool same = all.n == ls->networks.n;
    for (size_t i = 0; same && i < all.n; i++)
        same = prefix_compare(&all.list[i], &ls->networks.list[i]) == 0;
    if (same) {
        arena_done(&a);
        return false;
    }
    arena_done(&ls->arena);
    ls->arena = a;
    ls->networks = all;
    return true;
}

int links_refresh(struct links *ls, bool *ret_changed, struct err *e)
{
    struct look k = {0};
    bool changed = false;
    fiber_offload(look, &k);
    if (k.r < 0) {
        arena_done(&k.arena);
        return err_set(e, k.r, "the kernel's links cannot be read: %s", strerror(-k.r));
    }
    for (size_t i = 0; i < k.links.n; i++) {
        const struct rtnl_link *one = &k.links.list[i];
        if (!link_suits(one, &k.addresses, &ls->pods, ls->only))
            continue;
        struct link *l = find(ls, one);
        changed |= !l;
        l = l ? l : link_new(ls, one);
        l->seen = true;
    }
    LIST_EACH_SAFE (&ls->list, x) {
        struct link *l = LIST_ENTRY(x, struct link, link);
        bool gone = !l->seen;
        l->seen = false;
        if (gone)
            link_free(l);
    }
    changed |= take_networks(ls, &k);
    arena_done(&k.arena);
    *ret_changed = changed;
    return 0;
}
