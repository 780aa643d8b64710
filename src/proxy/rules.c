/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/rules.h"

#include "names.h"
#include "type/meta.h"

#include <stdio.h>

enum { MASQUERADE_MARK = 0x4000 };

/* ---- endpoints ------------------------------------------------------------------------------------------ */

static const struct val *slice_port(const struct val *slice, struct str name)
{
    VAL_EACH(val_get(slice, N_ports), port)
    {
        if (str_eq(val_getstr(port, N_name), name))
            return port;
    }
    return NULL;
}

static bool hinted_elsewhere(const struct rules_node *node, const struct val *ep)
{
    const struct val *zones = val_at(ep, N_hints, N_forZones);
    if (!val_len(zones) || !node->zone[0])
        return false;
    VAL_EACH(zones, z)
    {
        if (str_is(val_getstr(z, N_name), node->zone))
            return false;
    }
    return true;
}

enum readiness { READY, SERVING_WHILE_TERMINATING };

static bool has_readiness(const struct val *ep, enum readiness want)
{
    const struct val *c = val_get(ep, N_conditions);
    bool ready = val_bool(val_get(c, N_ready), true);
    return want == READY ? ready : val_bool(val_get(c, N_serving), ready) && val_bool(val_get(c, N_terminating), false);
}

struct gather {
    const struct rules_node *node;
    struct arena *arena;
    struct rules_endpoint *list;
    size_t n, cap;
    bool local_only, heed_hints;
    enum readiness want;
};

static void gather_slice(struct gather *g, const struct val *slice, struct str port_name)
{
    const struct val *port = slice_port(slice, port_name);
    if (!port || !str_is(val_getstr(slice, N_addressType), g->node->six ? "IPv6" : "IPv4"))
        return;
    VAL_EACH(val_get(slice, N_endpoints), ep)
    {
        struct str ip = val_str(val_item(val_get(ep, N_addresses), 0));
        bool local = str_is(val_getstr(ep, N_nodeName), g->node->name);
        if (!ip.n || !has_readiness(ep, g->want) || (g->local_only && !local) ||
            (g->heed_hints && hinted_elsewhere(g->node, ep)))
            continue;
        if (g->n == g->cap) {
            struct rules_endpoint *bigger = ARENA_ARRAY(g->arena, struct rules_endpoint, g->cap = MAX(g->cap * 2, (size_t)8));
            if (g->n)
                memcpy(bigger, g->list, g->n * sizeof(*bigger));
            g->list = bigger;
        }
        g->list[g->n++] = (struct rules_endpoint){arena_str(g->arena, ip), (uint16_t)val_int(val_get(port, N_port), 0), local};
    }
}

static int compare_endpoints(const void *a, const void *b)
{
    const struct rules_endpoint *x = a, *y = b;
    int r = str_cmp(x->ip, y->ip);
    return r ? r : x->port - y->port;
}

/* Sorted, so that the same world gives the same text; slices may name an endpoint twice while they are rearranged. */
static size_t sort_unique(struct rules_endpoint *list, size_t n)
{
    size_t kept = 0;
    qsort(list, n, sizeof(*list), compare_endpoints);
    for (size_t i = 0; i < n; i++)
        if (!kept || compare_endpoints(&list[kept - 1], &list[i]))
            list[kept++] = list[i];
    return kept;
}

size_t rules_endpoints(const struct rules_node *node, const struct service_entry *e, const struct val *service_port,
                       bool local_only, struct arena *a, struct rules_endpoint **ret)
{
    static const struct {
        enum readiness want;
        bool heed_hints;
    } tries[] = {{READY, true}, {READY, false}, {SERVING_WHILE_TERMINATING, false}};
    struct gather g = {.node = node, .arena = a, .local_only = local_only};
    for (size_t t = 0; t < ARRAY_SIZE(tries) && !g.n; t++) {
        g.want = tries[t].want;
        g.heed_hints = tries[t].heed_hints && !local_only;
        for (size_t i = 0; i < e->n_slices; i++)
            gather_slice(&g, e->slices[i]->val, val_getstr(service_port, N_name));
    }
    *ret = g.list;
    return g.n ? sort_unique(g.list, g.n) : 0;
}

/* ---- items ---------------------------------------------------------------------------------------------- */

static struct item *add_item(struct items *it, enum item_kind kind, struct str name, struct str body)
{
    if (it->n == it->cap) {
        struct item *bigger = ARENA_ARRAY(it->arena, struct item, it->cap = MAX(it->cap * 2, (size_t)8));
        if (it->n)
            memcpy(bigger, it->list, it->n * sizeof(*bigger));
        it->list = bigger;
    }
    it->list[it->n] = (struct item){.kind = kind, .name = name, .body = body};
    return &it->list[it->n++];
}

static void add_element(struct items *it, const char *map, struct str key, struct str verdict)
{
    struct item *i = add_item(it, ITEM_ELEMENT, arena_printf(it->arena, "%s " STR_FMT, map, STR_ARG(key)), verdict);
    i->map = str_of(map);
    i->key = key;
}

/* One port of one Service on its way into items. */
struct port {
    const struct rules_node *node;
    const struct service_entry *e;
    const struct val *spec, *port;
    struct items *items;
    char id[17];     /* hash of name, port name and protocol: chains' names are limited in length */
    char proto[8];   /* "tcp" */
    const char *ip;  /* "ip" or "ip6" */
    int64_t number;
    int64_t affinity_seconds; /* 0: none */
};

static struct str addr_port(const struct port *p, const struct rules_endpoint *ep)
{
    return arena_printf(p->items->arena, STR_FMT " . %u", STR_ARG(ep->ip), ep->port);
}

/* With ClientIP affinity each endpoint has a chain that remembers who came, and a set of them. */
static struct str affinity_chain(const struct port *p, const struct rules_endpoint *ep)
{
    struct arena *a = p->items->arena;
    struct str at = addr_port(p, ep);
    struct str id = arena_printf(a, "%s-%08x", p->id, (unsigned)str_hash(at));
    struct str chain = arena_printf(a, "ep-" STR_FMT, STR_ARG(id)), set = arena_printf(a, "aff-" STR_FMT, STR_ARG(id));
    for (size_t i = 0; i < p->items->n; i++)
        if (p->items->list[i].kind == ITEM_CHAIN && str_eq(p->items->list[i].name, chain))
            return id; /* made for the other traffic policy already */
    add_item(p->items, ITEM_SET, set,
             arena_printf(a, "{ type %s; flags dynamic,timeout; timeout %llds; }", p->node->six ? "ipv6_addr" : "ipv4_addr",
                          (long long)p->affinity_seconds));
    add_item(p->items, ITEM_CHAIN, chain,
             arena_printf(a, "update @" STR_FMT " { %s saddr }\nmeta l4proto %s dnat %s to %s" STR_FMT "%s:%u\n", STR_ARG(set),
                          p->ip, p->proto, p->ip, p->node->six ? "[" : "", STR_ARG(ep->ip), p->node->six ? "]" : "",
                          ep->port));
    return id;
}

static void put_affinity(const struct port *p, const struct rules_endpoint *eps, size_t n, struct buf *b)
{
    struct str *ids = ARENA_ARRAY(p->items->arena, struct str, n);
    for (size_t i = 0; i < n; i++) {
        ids[i] = affinity_chain(p, &eps[i]);
        buf_printf(b, "%s saddr @aff-" STR_FMT " goto ep-" STR_FMT "\n", p->ip, STR_ARG(ids[i]), STR_ARG(ids[i]));
    }
    buf_printf(b, "numgen random mod %zu vmap {", n);
    for (size_t i = 0; i < n; i++)
        buf_printf(b, "%s %zu : goto ep-" STR_FMT, i ? "," : "", i, STR_ARG(ids[i]));
    buf_puts(b, " }\n");
}

/* Rules that send a new connection to one of the endpoints. */
static void put_balance(const struct port *p, const struct rules_endpoint *eps, size_t n, struct buf *b)
{
    if (p->affinity_seconds) {
        put_affinity(p, eps, n, b);
        return;
    }
    if (n == 1) {
        buf_printf(b, "meta l4proto %s dnat %s to %s" STR_FMT "%s:%u\n", p->proto, p->ip, p->node->six ? "[" : "",
                   STR_ARG(eps[0].ip), p->node->six ? "]" : "", eps[0].port);
        return;
    }
    buf_printf(b, "meta l4proto %s dnat %s addr . port to numgen random mod %zu map {", p->proto, p->ip, n);
    for (size_t i = 0; i < n; i++)
        buf_printf(b, "%s %zu : " STR_FMT " . %u", i ? "," : "", i, STR_ARG(eps[i].ip), eps[i].port);
    buf_puts(b, " }\n");
}

static struct str finish_chain(const struct port *p, const char *prefix, struct buf *b)
{
    struct arena *a = p->items->arena;
    struct str name = arena_printf(a, "%s-%s", prefix, p->id);
    add_item(p->items, ITEM_CHAIN, name, arena_str(a, buf_str(b)));
    buf_done(b);
    return name;
}

/* The chain that balances over the endpoints a policy allows; empty when there is none. */
static struct str policy_chain(const struct port *p, bool local_only)
{
    struct rules_endpoint *eps;
    struct buf b = BUF_INIT;
    size_t n = rules_endpoints(p->node, p->e, p->port, local_only, p->items->arena, &eps);
    if (!n)
        return STR_NULL;
    put_balance(p, eps, n, &b);
    return finish_chain(p, local_only ? "loc" : "svc", &b);
}

/* An endpoint on this node that talks to its own Service must be masqueraded, or its answer would skip us (hairpin). */
static void add_hairpins(const struct port *p)
{
    struct rules_endpoint *eps;
    size_t n = rules_endpoints(p->node, p->e, p->port, true, p->items->arena, &eps);
    for (size_t i = 0; i < n; i++) {
        struct str key = arena_printf(p->items->arena, STR_FMT " . " STR_FMT " . %s . %u", STR_ARG(eps[i].ip),
                                      STR_ARG(eps[i].ip), p->proto, eps[i].port);
        add_element(p->items, "hairpin", key, STR_NULL);
    }
}

static struct str address_key(const struct port *p, struct str ip)
{
    return arena_printf(p->items->arena, STR_FMT " . %s . %lld", STR_ARG(ip), p->proto, (long long)p->number);
}

static bool of_family(const struct port *p, struct str ip)
{
    return ip.n && (str_find(ip, ':') >= 0) == p->node->six && !str_is(ip, "None");
}

static bool is_skipped(const struct port *p, struct str ip)
{
    for (const char *const *s = p->node->skip_ips; s && *s; s++)
        if (str_is(ip, *s))
            return true;
    return false;
}

static void refuse(const struct port *p, struct str ip, bool drop)
{
    add_element(p->items, "no_endpoints", address_key(p, ip), drop ? STR("drop") : STR("goto reject-it"));
}

/* ClusterIPs. Traffic from outside of the pods' range is masqueraded so that answers come back through us. */
static void add_cluster_ips(const struct port *p, struct str chain, bool any_endpoint)
{
    struct arena *a = p->items->arena;
    struct buf b = BUF_INIT;
    struct str entry = STR_NULL;
    if (chain.n) {
        if (p->node->cluster_cidr)
            buf_printf(&b, "%s saddr != %s meta mark set meta mark or 0x%x\n", p->ip, p->node->cluster_cidr, MASQUERADE_MARK);
        buf_printf(&b, "goto " STR_FMT "\n", STR_ARG(chain));
        struct str own = finish_chain(p, "cip", &b);
        entry = arena_printf(a, "goto " STR_FMT, STR_ARG(own));
    }
    VAL_EACH(val_get(p->spec, N_clusterIPs), ip)
    {
        struct str text = val_str(ip);
        if (!of_family(p, text) || is_skipped(p, text))
            continue;
        if (entry.n)
            add_element(p->items, "service_ips", address_key(p, text), entry);
        else
            refuse(p, text, any_endpoint);
    }
}

/* What comes from outside: node ports, load balancers, external IPs. With policy Local only this node's endpoints
 * take it and the client's address is kept; pods and this node itself are served by all endpoints even then. */
static struct str external_chain(const struct port *p, bool local, struct str all, struct str own)
{
    struct buf b = BUF_INIT;
    if (!all.n)
        return STR_NULL;
    if (!local) {
        buf_printf(&b, "meta mark set meta mark or 0x%x\ngoto " STR_FMT "\n", MASQUERADE_MARK, STR_ARG(all));
        return finish_chain(p, "ext", &b);
    }
    if (p->node->cluster_cidr)
        buf_printf(&b, "%s saddr %s goto " STR_FMT "\n", p->ip, p->node->cluster_cidr, STR_ARG(all));
    buf_printf(&b, "fib saddr type local meta mark set meta mark or 0x%x\nfib saddr type local goto " STR_FMT "\n",
               MASQUERADE_MARK, STR_ARG(all));
    if (own.n)
        buf_printf(&b, "goto " STR_FMT "\n", STR_ARG(own));
    return finish_chain(p, "ext", &b);
}

static struct str source_range_chain(const struct port *p, struct str external)
{
    const struct val *ranges = val_get(p->spec, N_loadBalancerSourceRanges);
    struct buf b = BUF_INIT;
    if (!val_len(ranges))
        return external;
    VAL_EACH(ranges, r)
    {
        if ((str_find(val_str(r), ':') >= 0) == p->node->six)
            buf_printf(&b, "%s saddr " STR_FMT " goto " STR_FMT "\n", p->ip, STR_ARG(str_trim(val_str(r))), STR_ARG(external));
    }
    struct str name = finish_chain(p, "rng", &b);
    return name;
}

static void add_external_address(const struct port *p, struct str ip, struct str chain, bool drop)
{
    if (!of_family(p, ip))
        return;
    if (chain.n)
        add_element(p->items, "service_ips", address_key(p, ip),
                    arena_printf(p->items->arena, "goto " STR_FMT, STR_ARG(chain)));
    else
        refuse(p, ip, drop);
}

static void add_external(const struct port *p, struct str all, struct str own)
{
    bool local = str_is(val_getstr(p->spec, N_externalTrafficPolicy), "Local");
    int64_t node_port = val_int(val_get(p->port, N_nodePort), 0);
    const struct val *ingress = val_at(p->e->service->val, N_status, N_loadBalancer, N_ingress);
    const struct val *ips = val_get(p->spec, N_externalIPs);
    if (!node_port && !val_len(ingress) && !val_len(ips))
        return;
    struct str chain = external_chain(p, local, all, own);
    VAL_EACH(ips, ip)
    {
        add_external_address(p, val_str(ip), chain, false);
    }
    struct str ranged = val_len(ingress) && chain.n ? source_range_chain(p, chain) : chain;
    VAL_EACH(ingress, i)
    {
        if (!str_is(val_getstr(i, N_ipMode), "Proxy"))
            add_external_address(p, val_getstr(i, N_ip), ranged, false);
    }
    if (!node_port)
        return;
    struct str key = arena_printf(p->items->arena, "%s . %lld", p->proto, (long long)node_port);
    if (chain.n)
        add_element(p->items, "node_ports", key, arena_printf(p->items->arena, "goto " STR_FMT, STR_ARG(chain)));
    else
        add_element(p->items, "no_node_ports", key, STR("goto reject-it"));
}

static void lower(char *to, size_t size, struct str s)
{
    size_t n = MIN(s.n, size - 1);
    for (size_t i = 0; i < n; i++)
        to[i] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char)(s.p[i] + ('a' - 'A')) : s.p[i];
    to[n] = '\0';
}

static void rules_of_port(const struct rules_node *node, const struct service_entry *e, const struct val *port,
                          struct items *items)
{
    const struct val *spec = val_get(e->service->val, N_spec);
    struct port p = {.node = node, .e = e, .spec = spec, .port = port, .items = items, .ip = node->six ? "ip6" : "ip"};
    struct str id = arena_printf(items->arena, STR_FMT "/" STR_FMT ":" STR_FMT ":" STR_FMT, STR_ARG(e->service->namespace_),
                                 STR_ARG(e->service->name), STR_ARG(val_getstr(port, N_name)),
                                 STR_ARG(val_getstr(port, N_protocol)));
    snprintf(p.id, sizeof(p.id), "%016llx", (unsigned long long)str_hash(id));
    p.number = val_int(val_get(port, N_port), 0);
    lower(p.proto, sizeof(p.proto), val_getstr(port, N_protocol).n ? val_getstr(port, N_protocol) : STR("tcp"));
    if (str_is(val_getstr(spec, N_sessionAffinity), "ClientIP"))
        p.affinity_seconds = val_int(val_at(spec, N_sessionAffinityConfig, N_clientIP, N_timeoutSeconds), 10800);
    bool local_inside = str_is(val_getstr(spec, N_internalTrafficPolicy), "Local");
    bool local_outside = str_is(val_getstr(spec, N_externalTrafficPolicy), "Local");
    struct str all = policy_chain(&p, false);
    struct str own = local_inside || local_outside ? policy_chain(&p, true) : STR_NULL;
    add_cluster_ips(&p, local_inside ? own : all, all.n > 0);
    add_external(&p, all, own);
    add_hairpins(&p);
}

/* A ClusterIP is nothing but its ports: other connections to it are refused, rather than sent to the world. */
static void add_refused_ips(const struct rules_node *node, const struct val *spec, struct items *ret)
{
    struct port p = {.node = node, .spec = spec, .items = ret};
    VAL_EACH(val_get(spec, N_clusterIPs), ip)
    {
        if (of_family(&p, val_str(ip)) && !is_skipped(&p, val_str(ip)))
            add_element(ret, "cluster_ips", arena_str(ret->arena, val_str(ip)), STR("goto reject-it"));
    }
}

void rules_of_service(const struct rules_node *node, const struct service_entry *e, struct items *ret)
{
    if (!e || !e->service)
        return;
    const struct val *spec = val_get(e->service->val, N_spec);
    struct str cluster_ip = val_getstr(spec, N_clusterIP);
    if (str_is(val_getstr(spec, N_type), "ExternalName") || !cluster_ip.n || str_is(cluster_ip, "None"))
        return;
    if (obj_label(e->service->val, STR("service.kubernetes.io/service-proxy-name")).n)
        return; /* somebody else's */
    add_refused_ips(node, spec, ret);
    VAL_EACH(val_get(spec, N_ports), port)
    {
        rules_of_port(node, e, port, ret);
    }
}

void rules_base(const struct rules_node *node, const char *table, struct buf *b)
{
    const char *f = node->six ? "ip6" : "ip", *addr = node->six ? "ipv6_addr" : "ipv4_addr";
    const char *loopback = node->six ? "::1" : "127.0.0.0/8";
    buf_printf(b, "add table %s %s\ndelete table %s %s\n", f, table, f, table);
    buf_printf(b,
               "table %s %s {\n"
               "comment \"service proxy of cube\"\n"
               "map service_ips { type %s . inet_proto . inet_service : verdict; }\n"
               "map no_endpoints { type %s . inet_proto . inet_service : verdict; }\n"
               "map node_ports { type inet_proto . inet_service : verdict; }\n"
               "map cluster_ips { type %s : verdict; }\n"
               "map no_node_ports { type inet_proto . inet_service : verdict; }\n"
               "set hairpin { type %s . %s . inet_proto . inet_service; }\n"
               "chain reject-it { reject; }\n",
               f, table, addr, addr, addr, addr, addr);
    buf_printf(b,
               "chain services {\n"
               "%s daddr . meta l4proto . th dport vmap @service_ips\n"
               "fib daddr type local %s daddr != %s meta l4proto . th dport vmap @node_ports\n"
               "}\n"
               "chain refused {\n"
               "%s daddr . meta l4proto . th dport vmap @no_endpoints\n"
               "fib daddr type local %s daddr != %s meta l4proto . th dport vmap @no_node_ports\n"
               "}\n",
               f, f, loopback, f, f, loopback);
    buf_printf(b,
               "chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }\n"
               "chain nat-output { type nat hook output priority -100; jump services; }\n"
               "chain nat-postrouting { type nat hook postrouting priority srcnat;\n"
               "%s saddr . %s daddr . meta l4proto . th dport @hairpin masquerade fully-random\n"
               "meta mark and 0x%x == 0x%x masquerade fully-random\n"
               "}\n"
               "chain filter-input { type filter hook input priority -110; ct state new jump refused; }\n"
               "chain filter-forward { type filter hook forward priority -110; ct state new jump refused;\n"
               "ct state new %s daddr vmap @cluster_ips\n"
               "}\n"
               "chain filter-output { type filter hook output priority -110; ct state new jump refused; }\n"
               "chain filter-output-translated { type filter hook output priority -90;\n"
               "ct state new %s daddr vmap @cluster_ips\n"
               "}\n"
               "}\n",
               f, f, MASQUERADE_MARK, MASQUERADE_MARK, f, f);
}
