/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IPVS mode: a virtual server for each address and port, addresses on the device kube-ipvs0, sets of addresses and ports
 * (ipset) for what iptables still has to do: masquerading and source ranges. Names are kube-proxy's. The iptables rules do
 * not depend on Services; a change costs its servers, destinations and set entries.
 */
#include "proxy/ipvs-internal.h"

#include "base/fiber.h"
#include "proxy/host.h"
#include "proxy/ipt_rules.h"
#include "proxy/iptables.h"
#include "proxy/program.h"

#include <linux/ip_vs.h>
#include <netinet/in.h>
#include <stdio.h>

static int ipset(struct str text, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *argv[] = {"ipset", "restore", "-exist", NULL};
    return program_run(&a, argv, text, NULL, e);
}

/* ---- what one Service wants ----------------------------------------------------------------------------- */

static void *grow(struct arena *a, void *list, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return list;
    void *bigger = arena_alloc(a, (*cap = MAX(*cap * 2, (size_t)4)) * size);
    if (n)
        memcpy(bigger, list, n * size);
    return bigger;
}

static void add_entry(struct kept *k, bool six, enum set s, struct str text)
{
    char name[32];
    k->entries = grow(&k->arena, k->entries, k->n_entries, &k->cap_entries, sizeof(*k->entries));
    k->entries[k->n_entries++] = arena_printf(&k->arena, "%s " STR_FMT, ipvs_set_name(six, s, name), STR_ARG(text));
}

static void add_address(struct kept *k, const struct ip *ip)
{
    k->addresses = grow(&k->arena, k->addresses, k->n_addresses, &k->cap_addresses, sizeof(*k->addresses));
    k->addresses[k->n_addresses++] = *ip;
}

struct port {
    const struct ipvs_side *t;
    const struct service_port *p;
    struct kept *k;
    bool six;
};

static struct str ip_port(const struct port *p, const struct ip *ip, uint16_t port)
{
    char text[IP_TEXT_MAX];
    return arena_printf(&p->k->arena, "%s,%s:%u", ip_format(ip, text), p->p->proto, port);
}

/* Without local endpoints, those of other nodes serve the node itself; outsiders' answers would not come back this way. */
static void add_server(struct port *p, const struct ip *ip, uint16_t port, bool local)
{
    struct kept *k = p->k;
    const struct service_port *s = p->p;
    const char *scheduler = p->t->settings->scheduler && p->t->settings->scheduler[0] ? p->t->settings->scheduler : "rr";
    bool own = local && s->n_local;
    struct vserver v = {.server = {.ip = *ip, .port = port, .l4 = s->l4, .timeout = s->affinity_seconds}};
    snprintf(v.server.scheduler, sizeof(v.server.scheduler), "%s", scheduler);
    v.server.flags = (s->affinity_seconds ? IP_VS_SVC_F_PERSISTENT : 0) | (!strcmp(scheduler, "mh") ? IP_VS_SVC_F_SCHED1 : 0);
    v.dests = ARENA_ARRAY(&k->arena, struct ipvs_dest, s->n_endpoints);
    for (size_t i = 0; i < s->n_endpoints; i++)
        if (own ? s->endpoints[i].in_local : s->endpoints[i].in_cluster)
            v.dests[v.n++] = (struct ipvs_dest){s->endpoints[i].ip, s->endpoints[i].port, 1, 0};
    k->servers = grow(&k->arena, k->servers, k->n_servers, &k->cap_servers, sizeof(*k->servers));
    k->servers[k->n_servers++] = v;
}

static bool is_nodes_own(const struct port *p, const struct ip *ip)
{
    const struct ips *all = &p->t->base.node->local_addresses;
    for (size_t i = 0; i < all->n; i++)
        if (ip_equal(&all->list[i], ip))
            return true;
    return false;
}

static void bind_address(struct port *p, const struct ip *ip)
{
    char text[IP_TEXT_MAX];
    if (is_nodes_own(p, ip))
        return;
    add_address(p->k, ip);
    add_entry(p->k, p->six, S_IPS, str_of(ip_format(ip, text)));
}

static void hairpins(struct port *p)
{
    for (size_t i = 0; i < p->p->n_endpoints; i++) {
        const struct endpoint *ep = &p->p->endpoints[i];
        char text[IP_TEXT_MAX];
        if (ep->local)
            add_entry(p->k, p->six, S_LOOP, arena_printf(&p->k->arena, STR_FMT ",%s", STR_ARG(ip_port(p, &ep->ip, ep->port)), ip_format(&ep->ip, text)));
    }
}

static void sources(struct port *p, const struct ip *ip)
{
    const struct service_port *s = p->p;
    struct str at = ip_port(p, ip, s->port);
    char text[IP_TEXT_MAX];
    add_entry(p->k, p->six, S_LB_FW, at);
    for (size_t i = 0; i < s->sources.n; i++)
        add_entry(p->k, p->six, S_LB_SOURCE_CIDR, arena_printf(&p->k->arena, STR_FMT ",%s", STR_ARG(at), prefix_format(&s->sources.list[i], text)));
    if (s->from_node)
        add_entry(p->k, p->six, S_LB_SOURCE_IP, arena_printf(&p->k->arena, STR_FMT ",%s", STR_ARG(at), ip_format(ip, text)));
}

static void balancers(struct port *p)
{
    const struct service_port *s = p->p;
    for (size_t i = 0; i < s->balancers.n; i++) {
        const struct ip *ip = &s->balancers.list[i];
        add_entry(p->k, p->six, S_LB, ip_port(p, ip, s->port));
        if (s->external_local)
            add_entry(p->k, p->six, S_LB_LOCAL, ip_port(p, ip, s->port));
        if (s->firewall)
            sources(p, ip);
        bind_address(p, ip);
        add_server(p, ip, s->port, s->external_local);
    }
}

static void node_port(struct port *p)
{
    const struct service_port *s = p->p;
    struct ips ips = model_nodeport_ips(p->t->base.node, false, &p->k->arena);
    bool tcp = s->l4 == IPPROTO_TCP, udp = s->l4 == IPPROTO_UDP;
    struct str number = arena_printf(&p->k->arena, "%u", s->node_port);
    for (size_t i = 0; i < ips.n; i++) {
        struct str text = tcp || udp ? number : ip_port(p, &ips.list[i], s->node_port);
        if (!i || !(tcp || udp)) {
            add_entry(p->k, p->six, tcp ? S_TCP : udp ? S_UDP : S_SCTP, text);
            if (s->external_local)
                add_entry(p->k, p->six, tcp ? S_TCP_LOCAL : udp ? S_UDP_LOCAL : S_SCTP_LOCAL, text);
        }
        add_server(p, &ips.list[i], s->node_port, s->external_local);
    }
}

static void want_port(struct port *p)
{
    const struct service_port *s = p->p;
    hairpins(p);
    if (!s->cluster_ip_skipped) {
        add_entry(p->k, p->six, S_CLUSTER, ip_port(p, &s->cluster_ip, s->port));
        bind_address(p, &s->cluster_ip);
        add_server(p, &s->cluster_ip, s->port, s->internal_local);
    }
    for (size_t i = 0; i < s->external.n; i++) {
        add_entry(p->k, p->six, s->external_local ? S_EXTERNAL_LOCAL : S_EXTERNAL, ip_port(p, &s->external.list[i], s->port));
        bind_address(p, &s->external.list[i]);
        add_server(p, &s->external.list[i], s->port, s->external_local);
    }
    balancers(p);
    if (s->node_port)
        node_port(p);
    if (s->health_port)
        add_entry(p->k, p->six, S_HEALTH, arena_printf(&p->k->arena, "%u", s->health_port));
}

static void kept_free(void *arg)
{
    struct kept *k = arg;
    arena_done(&k->arena);
    free(k);
}

/* ---- the difference ------------------------------------------------------------------------------------- */

static uintptr_t count(struct map *m, struct str key, int more)
{
    uintptr_t n = (uintptr_t)map_get(m, key) + (uintptr_t)more;
    if (n)
        map_put(m, key, (void *)n);
    else
        map_del(m, key);
    return n;
}

static void put_op(struct ipvs_side *t, enum ipvs_what what, const struct ipvs_server *s, const struct ipvs_dest *d)
{
    struct ipvs_op op = {.what = what, .server = *s};
    if (d)
        op.dest = *d;
    buf_put(&t->ops, &op, sizeof(op));
}

static bool same_server(const struct ipvs_server *a, const struct ipvs_server *b)
{
    return ip_equal(&a->ip, &b->ip) && a->port == b->port && a->l4 == b->l4;
}

static const struct vserver *find_server(const struct kept *k, const struct ipvs_server *s)
{
    for (size_t i = 0; k && i < k->n_servers; i++)
        if (same_server(&k->servers[i].server, s))
            return &k->servers[i];
    return NULL;
}

/* No new connections go there; it goes when the old ones have ended. UDP has no end. */
static void leave(struct ipvs_side *t, const struct ipvs_server *s, const struct ipvs_dest *d)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct ipvs_dest quiet = *d;
    if (s->l4 == IPPROTO_UDP) {
        put_op(t, IPVS_DELETE_DEST, s, d);
        return;
    }
    struct ipvs_op *op = NEW(struct ipvs_op);
    *op = (struct ipvs_op){IPVS_DELETE_DEST, *s, *d};
    quiet.weight = 0;
    put_op(t, IPVS_CHANGE_DEST, s, &quiet);
    free(map_put(&t->leaving, ipvs_leaving_key(&a, s, d), op));
}

static void diff_dests(struct ipvs_side *t, const struct vserver *want, const struct ipvs_dest *had, size_t n)
{
    uint32_t weight;
    for (size_t i = 0; i < want->n; i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        void *was = map_del(&t->leaving, ipvs_leaving_key(&a, &want->server, &want->dests[i]));
        if (!ipvs_has_dest(had, n, &want->dests[i], &weight) && !was)
            put_op(t, IPVS_ADD_DEST, &want->server, &want->dests[i]);
        else if (was || weight != 1)
            put_op(t, IPVS_CHANGE_DEST, &want->server, &want->dests[i]);
        free(was);
    }
    for (size_t i = 0; i < n; i++)
        if (!ipvs_has_dest(want->dests, want->n, &had[i], &weight))
            leave(t, &want->server, &had[i]);
}

static void diff_servers(struct ipvs_side *t, const struct kept *had, const struct kept *want)
{
    for (size_t i = 0; i < want->n_servers; i++) {
        const struct vserver *v = &want->servers[i], *old = find_server(had, &v->server);
        if (!old)
            put_op(t, IPVS_ADD_SERVER, &v->server, NULL);
        else if (memcmp(&old->server, &v->server, sizeof(v->server)))
            put_op(t, IPVS_CHANGE_SERVER, &v->server, NULL);
        diff_dests(t, v, old ? old->dests : NULL, old ? old->n : 0);
    }
    for (size_t i = 0; had && i < had->n_servers; i++)
        if (!find_server(want, &had->servers[i].server))
            put_op(t, IPVS_DELETE_SERVER, &had->servers[i].server, NULL);
}

static void count_all(struct ipvs_side *t, const struct kept *k, int more)
{
    char text[IP_TEXT_MAX];
    for (size_t i = 0; k && i < k->n_entries; i++) {
        uintptr_t n = count(&t->entries, k->entries[i], more);
        if (!t->full && n == (more > 0 ? 1u : 0u))
            buf_printf(&t->set_text, "%s " STR_FMT "\n", more > 0 ? "add" : "del", STR_ARG(k->entries[i]));
    }
    for (size_t i = 0; k && i < k->n_addresses; i++) {
        uintptr_t n = count(&t->addresses, str_of(ip_format(&k->addresses[i], text)), more);
        if (!t->full && n == (more > 0 ? 1u : 0u))
            buf_put(more > 0 ? &t->add : &t->drop, &k->addresses[i], sizeof(struct ip));
    }
}

static void ipvs_begin(struct backend *b, bool full)
{
    struct ipvs_side *t = (struct ipvs_side *)b;
    struct buf *all[] = {&t->set_text, &t->ops, &t->add, &t->drop};
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        buf_done(all[i]);
    t->full = full;
    if (!full)
        return;
    map_done_with(&t->services, kept_free);
    map_done_with(&t->leaving, free);
    map_done(&t->entries);
    map_done(&t->addresses);
}

static void ipvs_service(struct backend *b, struct str key, const struct service_ports *ports)
{
    struct ipvs_side *t = (struct ipvs_side *)b;
    struct kept *now = NEW(struct kept), *had = map_get(&t->services, key);
    for (size_t i = 0; i < ports->n; i++)
        want_port(&(struct port){t, &ports->list[i], now, b->node->six});
    count_all(t, now, 1);
    count_all(t, had, -1);
    if (!t->full)
        diff_servers(t, had, now);
    if (had) {
        map_del(&t->services, key);
        kept_free(had);
    }
    if (now->n_servers)
        map_put(&t->services, key, now);
    else
        kept_free(now);
}

/* ---- iptables' part ------------------------------------------------------------------------------------- */

struct jump {
    const char *from, *to, *comment;
};
static const struct jump nat_jumps[] = {{"OUTPUT", "KUBE-SERVICES", "kubernetes service portals"},
                                        {"PREROUTING", "KUBE-SERVICES", "kubernetes service portals"},
                                        {"POSTROUTING", "KUBE-POSTROUTING", "kubernetes postrouting rules"},
                                        {0}};
static const struct jump filter_jumps[] = {{"FORWARD", "KUBE-FORWARD", "kubernetes forwarding rules"},
                                           {"INPUT", "KUBE-NODE-PORT", "kubernetes health check rules"},
                                           {"INPUT", "KUBE-PROXY-FIREWALL", "kube-proxy firewall rules"},
                                           {"FORWARD", "KUBE-PROXY-FIREWALL", "kube-proxy firewall rules"},
                                           {"INPUT", "KUBE-IPVS-FILTER", "kubernetes ipvs access filter"},
                                           {0}};
static const char *const nat_chains[] = {"KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER", "KUBE-MARK-MASQ", NULL};
static const char *const filter_chains[] = {"KUBE-FORWARD", "KUBE-NODE-PORT", "KUBE-PROXY-FIREWALL", "KUBE-SOURCE-RANGES-FIREWALL", "KUBE-IPVS-FILTER", NULL};

static struct str jump_line(struct arena *a, const struct jump *j)
{
    return arena_printf(a, "-A %s -m comment --comment \"%s\" -j %s\n", j->from, j->comment, j->to);
}

static void put_top(struct str saved, const char *const *chains, const struct jump *jumps, struct buf *b)
{
    for (; *chains; chains++)
        buf_printf(b, ":%s - [0:0]\n", *chains);
    for (; jumps->from; jumps++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct str line = jump_line(&a, jumps);
        if (!str_contains(saved, line))
            buf_printf(b, "-I " STR_FMT, STR_ARG(str_from(line, 3)));
    }
}

/* "-A CHAIN [extra] -m set --match-set SET dst,dst -j TARGET" */
static void match_set(bool six, struct buf *b, const char *chain, const char *extra, enum set s, const char *dirs, const char *target)
{
    char name[32];
    buf_printf(b, "-A %s %s-m set --match-set %s %s -j %s\n", chain, extra, ipvs_set_name(six, s, name), dirs, target);
}

static void put_services(const struct node_side *n, struct buf *b)
{
    char text[IP_TEXT_MAX], who[80] = "";
    match_set(n->six, b, "KUBE-SERVICES", "", S_LB, "dst,dst", "KUBE-LOAD-BALANCER");
    if (n->detect.kind == DETECT_CIDR)
        snprintf(who, sizeof(who), "! -s %s ", prefix_format(&n->detect.prefix, text));
    else if (n->detect.kind != DETECT_NONE)
        snprintf(who, sizeof(who), "! -i %s%s ", n->detect.interface, n->detect.kind == DETECT_PREFIX ? "+" : "");
    if (n->masquerade_all || who[0])
        match_set(n->six, b, "KUBE-SERVICES", n->masquerade_all ? "" : who, S_CLUSTER, "dst,dst", "KUBE-MARK-MASQ");
    else /* the node itself would speak from the ClusterIP, which stands on its device */
        match_set(n->six, b, "KUBE-SERVICES", "", S_CLUSTER, "src,dst", "KUBE-MARK-MASQ");
    match_set(n->six, b, "KUBE-SERVICES", "", S_EXTERNAL, "dst,dst", "KUBE-MARK-MASQ");
    buf_puts(b, "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT\n");
    match_set(n->six, b, "KUBE-SERVICES", "", S_CLUSTER, "dst,dst", "ACCEPT");
    match_set(n->six, b, "KUBE-SERVICES", "", S_LB, "dst,dst", "ACCEPT");
}

static void put_nat(const struct node_side *n, struct buf *b)
{
    bool six = n->six;
    put_services(n, b);
    match_set(six, b, "KUBE-NODE-PORT", "-p tcp ", S_TCP_LOCAL, "dst", "RETURN");
    match_set(six, b, "KUBE-NODE-PORT", "-p tcp ", S_TCP, "dst", "KUBE-MARK-MASQ");
    match_set(six, b, "KUBE-NODE-PORT", "-p udp ", S_UDP_LOCAL, "dst", "RETURN");
    match_set(six, b, "KUBE-NODE-PORT", "-p udp ", S_UDP, "dst", "KUBE-MARK-MASQ");
    match_set(six, b, "KUBE-NODE-PORT", "-p sctp ", S_SCTP_LOCAL, "dst,dst", "RETURN");
    match_set(six, b, "KUBE-NODE-PORT", "-p sctp ", S_SCTP, "dst,dst", "KUBE-MARK-MASQ");
    match_set(six, b, "KUBE-LOAD-BALANCER", "", S_LB_LOCAL, "dst,dst", "RETURN");
    buf_puts(b, "-A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ\n");
    match_set(six, b, "KUBE-POSTROUTING", "", S_LOOP, "dst,dst,src", "MASQUERADE");
    ipt_base_rules(n, false, b);
}

static void put_filter(const struct node_side *n, struct buf *b)
{
    static const enum set served[] = {S_LB, S_CLUSTER, S_EXTERNAL, S_EXTERNAL_LOCAL};
    bool six = n->six;
    match_set(six, b, "KUBE-PROXY-FIREWALL", "", S_LB_FW, "dst,dst", "KUBE-SOURCE-RANGES-FIREWALL");
    match_set(six, b, "KUBE-SOURCE-RANGES-FIREWALL", "", S_LB_SOURCE_CIDR, "dst,dst,src", "RETURN");
    match_set(six, b, "KUBE-SOURCE-RANGES-FIREWALL", "", S_LB_SOURCE_IP, "dst,dst,src", "RETURN");
    buf_puts(b, "-A KUBE-SOURCE-RANGES-FIREWALL -j DROP\n");
    buf_printf(b, "-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding rules\" -m mark --mark %#08x/%#08x -j ACCEPT\n", n->mark, n->mark);
    buf_puts(b, "-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n");
    match_set(six, b, "KUBE-NODE-PORT", "", S_HEALTH, "dst", "ACCEPT");
    for (size_t i = 0; i < ARRAY_SIZE(served); i++)
        match_set(six, b, "KUBE-IPVS-FILTER", "", served[i], "dst,dst", "RETURN");
    match_set(six, b, "KUBE-IPVS-FILTER", "", S_HEALTH, "dst", "RETURN");
    match_set(six, b, "KUBE-IPVS-FILTER", "-m conntrack --ctstate NEW ", S_IPS, "dst", "REJECT"); /* the host's own ports */
}

static int write_iptables(struct ipvs_side *t, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct str nat, filter;
    const struct node_side *n = t->base.node;
    int r = iptables_save(n->six, "nat", &a, &nat, e);
    r = r < 0 ? r : iptables_save(n->six, "filter", &a, &filter, e);
    if (r < 0)
        return r;
    buf_puts(&b, "*filter\n:KUBE-PROXY-CANARY - [0:0]\n");
    put_top(filter, filter_chains, filter_jumps, &b);
    put_filter(n, &b);
    t->rules[1] = iptables_count(buf_str(&b), filter_chains);
    size_t at = b.n;
    buf_printf(&b, "COMMIT\n*nat\n:KUBE-PROXY-CANARY - [0:0]\n:" STR_FMT " - [0:0]\n", STR_ARG(iptables_marker(&a, t->settings->table, "ipvs")));
    put_top(nat, nat_chains, nat_jumps, &b);
    put_nat(n, &b);
    buf_puts(&b, "COMMIT\n");
    t->rules[0] = iptables_count(str_from(buf_str(&b), at), nat_chains);
    return iptables_restore(n->six, buf_str(&b), e);
}

/* Each set is filled beside itself and then put in its place. */
static int write_sets(struct ipvs_side *t, struct err *e)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    bool six = t->base.node->six;
    char name[32];
    for (int s = 0; s < SETS; s++) {
        const char *more = !strcmp(ipvs_sets[s].type, "bitmap:port") ? "range 0-65535" : six ? "family inet6 maxelem 65536" : "family inet maxelem 65536";
        ipvs_set_name(six, (enum set)s, name);
        struct str head = str_of(name);
        buf_printf(&b, "create %s %s %s\ncreate CUBE-NEW-%d %s %s\nflush CUBE-NEW-%d\n", name, ipvs_sets[s].type, more, s, ipvs_sets[s].type, more, s);
        MAP_EACH(&t->entries, entry)
        {
            if (str_starts(entry->key, head) && entry->key.p[head.n] == ' ')
                buf_printf(&b, "add CUBE-NEW-%d" STR_FMT "\n", s, STR_ARG(str_from(entry->key, head.n)));
        }
        buf_printf(&b, "swap CUBE-NEW-%d %s\ndestroy CUBE-NEW-%d\n", s, name, s);
    }
    return ipset(buf_str(&b), e);
}

/* ---- the kernel, on a helper thread --------------------------------------------------------------------- */

struct work {
    struct ipvs_side *t;
    struct err *e;
    int r;
};

static int device_index(struct rtnl *n, struct err *e)
{
    struct rtnl_link l;
    struct rtnl_batch b CLEANUP_BATCH = {0};
    int r = rtnl_link_read(n, IPVS_DEVICE, &l);
    if (r == -ENODEV) {
        rtnl_add_link(&b, "dummy", IPVS_DEVICE, 0, NULL);
        r = rtnl_run(n, &b, NULL);
        r = r < 0 ? r : rtnl_link_read(n, IPVS_DEVICE, &l);
    }
    return r < 0 ? err_set(e, r, "cannot make %s: %s", IPVS_DEVICE, strerror(-r)) : l.index;
}

static struct rtnl_address on_device(int link, const struct ip *ip)
{
    return (struct rtnl_address){.link = link, .at = {*ip, (uint8_t)ip_bits(ip)}, .flags = ip->family == AF_INET6 ? 2 /* NODAD */ : 0};
}

static int write_addresses(struct ipvs_side *t, struct rtnl *n, int link)
{
    struct rtnl_batch b CLEANUP_BATCH = {0};
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct rtnl_addresses have = {0};
    const struct ip *ip;
    char text[IP_TEXT_MAX];
    int r = t->full ? rtnl_addresses_read(n, &a, link, &have) : 0;
    if (r < 0)
        return r;
    for (size_t i = 0; i < have.n; i++) {
        bool ours = have.list[i].at.ip.family == (t->base.node->six ? AF_INET6 : AF_INET), link_local = have.list[i].scope == 253;
        if (ours && !link_local && !map_has(&t->addresses, str_of(ip_format(&have.list[i].at.ip, text))))
            rtnl_delete_address(&b, &have.list[i]);
    }
    if (t->full)
        MAP_EACH(&t->addresses, e)
        {
            struct ip one;
            if (ip_parse(e->key, &one))
                rtnl_add_address(&b, RTNL_REPLACE, &(struct rtnl_address){.link = link, .at = {one, (uint8_t)ip_bits(&one)}, .flags = t->base.node->six ? 2 : 0});
        }
    for (ip = (const struct ip *)(void *)t->drop.p; ip && (const char *)ip < t->drop.p + t->drop.n; ip++)
        rtnl_delete_address(&b, &(struct rtnl_address){.link = link, .at = {*ip, (uint8_t)ip_bits(ip)}});
    for (ip = (const struct ip *)(void *)t->add.p; ip && (const char *)ip < t->add.p + t->add.n; ip++) {
        struct rtnl_address at = on_device(link, ip);
        rtnl_add_address(&b, RTNL_REPLACE, &at);
    }
    int *results = ARENA_ARRAY(&a, int, b.n + 1);
    size_t total = b.n;
    rtnl_run(n, &b, results);
    for (size_t i = 0; i < total; i++)
        if (results[i] < 0 && results[i] != -EEXIST && results[i] != -EADDRNOTAVAIL)
            return results[i];
    return 0;
}

/* A full write: what the kernel has is looked at first. */
static int reconcile(struct ipvs_side *t, struct ipvs *v, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct ipvs_server *have;
    size_t n, n_dests;
    struct map all = ipvs_all_wanted(t);
    int r = ipvs_servers(v, &a, &have, &n, e);
    for (size_t i = 0; i < n && r == 0; i++) {
        struct ipvs_dest *dests;
        if (!ipvs_is_minded(t, &have[i]))
            continue;
        const struct vserver *want = ipvs_wanted(&all, &have[i]);
        if (!want) {
            put_op(t, IPVS_DELETE_SERVER, &have[i], NULL);
            continue;
        }
        struct ipvs_server_key k = ipvs_key_of(&have[i]);
        map_del(&all, str_n((const char *)k.b, sizeof(k)));
        if (!ipvs_is_as_wanted(&have[i], &want->server))
            put_op(t, IPVS_CHANGE_SERVER, &want->server, NULL);
        r = ipvs_dests(v, &have[i], &a, &dests, &n_dests, e);
        if (r == 0)
            diff_dests(t, want, dests, n_dests);
    }
    MAP_EACH(&all, missing)
    {
        const struct vserver *one = missing->value;
        put_op(t, IPVS_ADD_SERVER, &one->server, NULL);
        diff_dests(t, one, NULL, 0);
    }
    map_done(&all);
    return r;
}

static bool lacks_jump(struct str saved, const struct jump *jumps)
{
    bool lacks = false;
    for (; jumps->from; jumps++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        lacks |= !str_contains(saved, jump_line(&a, jumps));
    }
    return lacks;
}

static int look_at_iptables(const struct ipvs_side *t, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str nat, filter;
    int r = iptables_save(t->base.node->six, "nat", &a, &nat, e);
    r = r < 0 ? r : iptables_save(t->base.node->six, "filter", &a, &filter, e);
    return r < 0 ? r
                 : iptables_count(nat, nat_chains) != t->rules[0] || iptables_count(filter, filter_chains) != t->rules[1] ||
                       lacks_jump(nat, nat_jumps) || lacks_jump(filter, filter_jumps);
}

/* ---- writing -------------------------------------------------------------------------------------------- */

static int do_ops(struct ipvs_side *t, struct ipvs *v, struct err *e)
{
    int first = 0;
    for (size_t at = 0; at < t->ops.n; at += sizeof(struct ipvs_op)) {
        struct ipvs_op op;
        memcpy(&op, t->ops.p + at, sizeof(op));
        int r = ipvs_do(v, &op, first ? NULL : e);
        first = first ? first : r;
    }
    return first;
}

/* Destinations whose last connection has ended. */
static void end_leaving(struct ipvs_side *t, struct ipvs *v)
{
    MAP_EACH(&t->leaving, k)
    {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct ipvs_op *op = k->value;
        struct ipvs_dest *dests;
        size_t n = 0;
        bool busy = false;
        int r = ipvs_dests(v, &op->server, &a, &dests, &n, NULL);
        for (size_t i = 0; i < n; i++)
            busy |= ip_equal(&dests[i].ip, &op->dest.ip) && dests[i].port == op->dest.port && dests[i].connections;
        if (r == 0 && busy)
            continue;
        ipvs_do(v, op, NULL);
        free(map_del(&t->leaving, k->key));
    }
}

static void run_work(void *arg)
{
    struct work *w = arg;
    struct ipvs_side *t = w->t;
    struct ipvs v;
    struct rtnl n;
    w->r = ipvs_open(&v, w->e);
    if (w->r < 0)
        return;
    const struct backend_settings *s = t->settings;
    if (t->full && (s->tcp_timeout || s->tcp_fin_timeout || s->udp_timeout))
        w->r = ipvs_timeouts(&v, (uint32_t)(s->tcp_timeout / NSEC_PER_SEC), (uint32_t)(s->tcp_fin_timeout / NSEC_PER_SEC), (uint32_t)(s->udp_timeout / NSEC_PER_SEC), w->e);
    if (w->r == 0 && t->full)
        w->r = reconcile(t, &v, w->e);
    if (w->r == 0)
        w->r = do_ops(t, &v, w->e);
    ipvs_close(&v);
    if (w->r < 0 || (w->r = rtnl_open(&n, -1)) < 0)
        return;
    int link = device_index(&n, w->e);
    w->r = link < 0 ? link : write_addresses(t, &n, link);
    if (w->r < 0 && link >= 0)
        err_set(w->e, w->r, "%s: %s", IPVS_DEVICE, strerror(-w->r));
    rtnl_close(&n);
}

static void run_leaving(void *arg)
{
    struct work *w = arg;
    struct ipvs v;
    if (ipvs_open(&v, NULL) < 0)
        return;
    end_leaving(w->t, &v);
    ipvs_close(&v);
}

static void set_kernel(const struct ipvs_side *t)
{
    static const struct {
        const char *name;
        int64_t value;
        bool strict_arp;
    } settings[] = {{"net/ipv4/vs/conntrack", 1, false},           {"net/ipv4/vs/expire_nodest_conn", 1, false},
                    {"net/ipv4/vs/expire_quiescent_template", 1, false}, {"net/ipv4/ip_forward", 1, false},
                    {"net/ipv4/conf/all/arp_ignore", 1, true},     {"net/ipv4/conf/all/arp_announce", 2, true}};
    for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
        if (!settings[i].strict_arp || t->settings->strict_arp)
            host_sysctl_write(settings[i].name, settings[i].value);
}

static int ipvs_commit(struct backend *b, struct err *e)
{
    struct ipvs_side *t = (struct ipvs_side *)b;
    int r = 0;
    if (t->full)
        set_kernel(t);
    if (t->full)
        r = write_sets(t, e);
    else if (t->set_text.n)
        r = ipset(buf_str(&t->set_text), e);
    if (r == 0 && t->full)
        r = write_iptables(t, e);
    struct work w = {t, e, 0};
    if (r == 0 && (t->full || t->ops.n || t->add.n || t->drop.n)) {
        fiber_offload(run_work, &w);
        r = w.r;
    }
    t->failures += r < 0;
    return r;
}

static bool ipvs_tidy(struct backend *b)
{
    struct ipvs_side *t = (struct ipvs_side *)b;
    struct work w = {t, NULL, 0};
    if (t->leaving.n)
        fiber_offload(run_leaving, &w);
    return t->leaving.n > 0;
}

/* There are no transactions that could be counted: each period everything is compared with what it should be. */
static int ipvs_verify(struct backend *b, bool deep, struct err *e)
{
    struct ipvs_side *t = (struct ipvs_side *)b;
    if (!deep)
        return !iptables_has_chain(b->node->six, "nat", "KUBE-PROXY-CANARY") || !iptables_has_chain(b->node->six, "filter", "KUBE-PROXY-CANARY");
    int r = look_at_iptables(t, e);
    return r ? r : ipvs_look(t, e);
}

static void ipvs_figures(const struct backend *b, struct backend_figures *ret)
{
    *ret = (struct backend_figures){.failures = ((const struct ipvs_side *)b)->failures};
}

static void ipvs_free(struct backend *b)
{
    ipvs_begin(b, true);
    free(b);
}

static const struct backend_ops ipvs_ops = {"ipvs", false, ipvs_begin, ipvs_service, ipvs_commit, ipvs_tidy, ipvs_verify, ipvs_figures, ipvs_free};

struct backend *backend_ipvs(const struct node_side *node, const struct backend_settings *s)
{
    struct ipvs_side *t = NEW(struct ipvs_side);
    t->base = (struct backend){&ipvs_ops, node};
    t->settings = s;
    return &t->base;
}

