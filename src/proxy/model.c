/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/model.h"

#include "names.h"
#include "type/meta.h"

#include <netinet/in.h>

/* ---- addresses ------------------------------------------------------------------------------------------ */

bool model_ip(bool six, struct str text, struct ip *ret)
{
    struct ip ip;
    if (!ip_parse(text, &ip) || ip.family != (six ? AF_INET6 : AF_INET))
        return false;
    *ret = ip;
    return true;
}

bool model_prefix(bool six, struct str text, struct prefix *ret)
{
    struct prefix p;
    if (!prefix_parse(str_trim(text), &p) || p.ip.family != (six ? AF_INET6 : AF_INET))
        return false;
    *ret = p;
    return true;
}

bool ip_is_loopback(const struct ip *ip)
{
    static const struct ip one = {AF_INET6, {[15] = 1}};
    return ip->family == AF_INET ? ip->b[0] == 127 : ip_equal(ip, &one);
}

/* The addresses of a list that are of the family. */
static struct ips take_ips(bool six, const struct val *texts, struct arena *a)
{
    struct ips ret = {.list = ARENA_ARRAY(a, struct ip, val_len(texts))};
    VAL_EACH(texts, t)
    {
        if (model_ip(six, val_str(t), &ret.list[ret.n]))
            ret.n++;
    }
    return ret;
}

struct ips model_nodeport_ips(const struct node_side *node, bool loopback, struct arena *a)
{
    struct ips ret = {.list = ARENA_ARRAY(a, struct ip, node->local_addresses.n)};
    for (size_t i = 0; i < node->local_addresses.n; i++) {
        const struct ip *ip = &node->local_addresses.list[i];
        bool in = node->nodeports_all, seen = false;
        for (size_t k = 0; k < node->nodeports.n; k++)
            in |= prefix_has(&node->nodeports.list[k], ip);
        for (size_t k = 0; in && k < ret.n; k++) /* several links may have one address */
            seen |= ip_equal(&ret.list[k], ip);
        if (in && !seen && (loopback || !ip_is_loopback(ip)))
            ret.list[ret.n++] = *ip;
    }
    return ret;
}

/* ---- endpoints ------------------------------------------------------------------------------------------ */

static bool names_one(const struct val *hints, const char *name)
{
    VAL_EACH(hints, h)
    {
        if (str_is(val_getstr(h, N_name), name))
            return true;
    }
    return false;
}

static void read_endpoint(const struct node_side *node, const struct val *v, uint16_t port, struct endpoint *ret)
{
    const struct val *c = val_get(v, N_conditions), *zones = val_at(v, N_hints, N_forZones),
                     *nodes = val_at(v, N_hints, N_forNodes);
    ret->port = port;
    ret->local = node->node_name[0] && str_is(val_getstr(v, N_nodeName), node->node_name);
    ret->ready = val_bool(val_get(c, N_ready), true);
    ret->serving = val_bool(val_get(c, N_serving), true);
    ret->terminating = val_bool(val_get(c, N_terminating), false);
    ret->zone_hints = val_len(zones) > 0;
    ret->node_hints = val_len(nodes) > 0;
    ret->hints_zone = names_one(zones, node->zone);
    ret->hints_node = names_one(nodes, node->node_name);
}

static int compare_endpoints(const void *a, const void *b)
{
    const struct endpoint *x = a, *y = b;
    int r = memcmp(&x->ip, &y->ip, sizeof(x->ip));
    if (r == 0)
        r = x->port - y->port;
    return r ? r : x->terminating - y->terminating; /* of two Pods with one address the one that goes stands last */
}

/* Sorted, so that the same world gives the same rules; slices may name an endpoint twice while they are rearranged. */
static size_t sort_unique(struct endpoint *list, size_t n)
{
    size_t kept = 0;
    qsort(list, n, sizeof(*list), compare_endpoints);
    for (size_t i = 0; i < n; i++)
        if (!kept || memcmp(&list[kept - 1].ip, &list[i].ip, sizeof(list->ip)) || list[kept - 1].port != list[i].port)
            list[kept++] = list[i];
    return kept;
}

/* The number that a slice gives a Service port; 0 when it has none. Name and protocol must be the Service port's. */
static uint16_t slice_port(const struct val *slice, struct str name, struct str protocol)
{
    VAL_EACH(val_get(slice, N_ports), port)
    {
        struct str proto = val_getstr(port, N_protocol);
        int64_t n = val_int(val_get(port, N_port), 0);
        if (str_eq(val_getstr(port, N_name), name) && str_eq(proto.n ? proto : STR("TCP"), protocol) && n > 0 && n < 65536)
            return (uint16_t)n;
    }
    return 0;
}

/* Such slices are for DNS only, whatever their Service is. */
static bool is_headless(const struct val *slice)
{
    return val_key(val_get(obj_meta(slice), N_labels), STR("service.kubernetes.io/headless"));
}

static void gather_endpoints(const struct node_side *node, const struct service_entry *e, struct str protocol,
                             struct service_port *p, struct arena *a)
{
    size_t most = 0;
    for (size_t i = 0; i < e->n_slices; i++)
        most += val_len(val_get(e->slices[i]->val, N_endpoints));
    p->endpoints = ARENA_ARRAY(a, struct endpoint, most);
    for (size_t i = 0; i < e->n_slices; i++) {
        const struct val *slice = e->slices[i]->val;
        uint16_t port = slice_port(slice, p->port_name, protocol);
        if (!port || !str_is(val_getstr(slice, N_addressType), node->six ? "IPv6" : "IPv4") || is_headless(slice))
            continue;
        VAL_EACH(val_get(slice, N_endpoints), ep)
        {
            struct endpoint *to = &p->endpoints[p->n_endpoints];
            if (!model_ip(node->six, val_str(val_item(val_get(ep, N_addresses), 0)), &to->ip))
                continue;
            read_endpoint(node, ep, port, to);
            p->n_endpoints++;
        }
    }
    p->n_endpoints = sort_unique(p->endpoints, p->n_endpoints);
}

/* ---- which of them take traffic ------------------------------------------------------------------------- */

enum topology { ANYWHERE, SAME_ZONE, SAME_NODE };

/* Hints count only when every ready endpoint has them and one of them is for us: a hint that is missing means that the
 * slices are being rewritten, and traffic for nobody is worse than traffic far away (KEP-2433, KEP-3015). */
static enum topology topology_of(const struct service_port *p)
{
    bool ready = false, all_node = true, all_zone = true, one_node = false, one_zone = false;
    for (size_t i = 0; i < p->n_endpoints; i++) {
        const struct endpoint *ep = &p->endpoints[i];
        if (!ep->ready)
            continue;
        ready = true;
        all_node &= ep->node_hints;
        all_zone &= ep->zone_hints;
        one_node |= ep->hints_node;
        one_zone |= ep->hints_zone;
    }
    if (!ready)
        return ANYWHERE;
    return all_node && one_node ? SAME_NODE : all_zone && one_zone ? SAME_ZONE : ANYWHERE;
}

static bool suits(const struct endpoint *ep, enum topology t)
{
    return t == SAME_NODE ? ep->hints_node : t == SAME_ZONE ? ep->hints_zone : true;
}

static bool leaving_but_serving(const struct endpoint *ep)
{
    return ep->serving && ep->terminating;
}

static size_t choose_cluster(struct service_port *p)
{
    enum topology t = topology_of(p);
    size_t n = 0;
    for (size_t i = 0; i < p->n_endpoints; i++)
        n += p->endpoints[i].in_cluster = p->endpoints[i].ready && suits(&p->endpoints[i], t);
    for (size_t i = 0; i < p->n_endpoints && !n; i++) /* KEP-1669: better an endpoint that is leaving than none */
        if (leaving_but_serving(&p->endpoints[i])) {
            for (size_t k = i; k < p->n_endpoints; k++)
                n += p->endpoints[k].in_cluster = leaving_but_serving(&p->endpoints[k]);
        }
    return n;
}

static size_t choose_local(struct service_port *p)
{
    size_t ready = 0, leaving = 0;
    for (size_t i = 0; i < p->n_endpoints; i++)
        if (p->endpoints[i].local) {
            ready += p->endpoints[i].ready;
            leaving += leaving_but_serving(&p->endpoints[i]);
        }
    for (size_t i = 0; i < p->n_endpoints; i++) {
        struct endpoint *ep = &p->endpoints[i];
        ep->in_local = ep->local && (ready ? ep->ready : leaving_but_serving(ep));
    }
    return ready ? ready : leaving;
}

static bool usable_anywhere(const struct service_port *p)
{
    for (size_t i = 0; i < p->n_endpoints; i++)
        if (p->endpoints[i].ready || leaving_but_serving(&p->endpoints[i]))
            return true;
    return false;
}

/* "Cluster" endpoints serve the ClusterIP unless its policy is Local; and whoever comes from this node itself, even
 * where outsiders get only "Local" ones. */
static void choose(struct service_port *p)
{
    bool cluster = !p->internal_local || p->accessible;
    bool local = p->internal_local || (p->external_local && p->accessible);
    if (cluster)
        p->n_cluster = choose_cluster(p);
    if (local)
        p->n_local = choose_local(p);
    for (size_t i = 0; i < p->n_endpoints; i++)
        p->n_reachable += p->endpoints[i].in_cluster || p->endpoints[i].in_local;
    p->any = p->n_cluster || (local && usable_anywhere(p));
    p->inside = p->any && (!p->internal_local || p->n_local);
    p->outside = p->any && (!p->external_local || p->n_local);
    p->use_cluster = p->n_cluster > 0;
    p->use_local = p->n_local > 0;
}

/* ---- the Service ---------------------------------------------------------------------------------------- */

static const struct {
    struct str name;
    const char *lower;
    uint8_t l4;
} protocols[] = {{{"TCP", 3}, "tcp", IPPROTO_TCP}, {{"UDP", 3}, "udp", IPPROTO_UDP}, {{"SCTP", 4}, "sctp", IPPROTO_SCTP}};

static struct ips take_balancers(bool six, const struct val *service, struct arena *a)
{
    const struct val *ingress = val_at(service, N_status, N_loadBalancer, N_ingress);
    struct ips ret = {.list = ARENA_ARRAY(a, struct ip, val_len(ingress))};
    VAL_EACH(ingress, i)
    {
        struct str mode = val_getstr(i, N_ipMode);
        if ((!mode.n || str_is(mode, "VIP")) && model_ip(six, val_getstr(i, N_ip), &ret.list[ret.n]))
            ret.n++; /* KEP-1860: with mode Proxy, traffic must reach the balancer */
    }
    return ret;
}

static struct prefixes take_sources(bool six, const struct val *texts, struct arena *a)
{
    struct prefixes ret = {.list = ARENA_ARRAY(a, struct prefix, val_len(texts))};
    VAL_EACH(texts, t)
    {
        if (!model_prefix(six, val_str(t), &ret.list[ret.n]))
            continue;
        if (!ret.list[ret.n++].bits)
            return (struct prefixes){0}; /* everybody */
    }
    return ret;
}

static bool is_skipped(const struct node_side *node, const struct ip *ip)
{
    for (size_t i = 0; i < node->skip.n; i++)
        if (!memcmp(&node->skip.list[i], ip, sizeof(*ip)))
            return true;
    return false;
}

/* What all ports of a Service have in common. */
static void read_common(const struct node_side *node, const struct object *o, struct service_port *p, struct arena *a)
{
    const struct val *spec = val_get(o->val, N_spec);
    p->ns = o->namespace_;
    p->service = o->name;
    p->cluster_ip_skipped = is_skipped(node, &p->cluster_ip);
    p->external = take_ips(node->six, val_get(spec, N_externalIPs), a);
    p->balancers = take_balancers(node->six, o->val, a);
    p->sources = take_sources(node->six, val_get(spec, N_loadBalancerSourceRanges), a);
    for (size_t i = 0; node->has_node_ip && i < p->sources.n; i++)
        p->from_node |= prefix_has(&p->sources.list[i], &node->node_ip);
    p->external_local = str_is(val_getstr(spec, N_externalTrafficPolicy), "Local");
    p->internal_local = str_is(val_getstr(spec, N_internalTrafficPolicy), "Local");
    p->health_port = p->external_local && str_is(val_getstr(spec, N_type), "LoadBalancer")
                         ? (uint16_t)val_int(val_get(spec, N_healthCheckNodePort), 0)
                         : 0;
    if (str_is(val_getstr(spec, N_sessionAffinity), "ClientIP"))
        p->affinity_seconds = (uint32_t)val_int(val_at(spec, N_sessionAffinityConfig, N_clientIP, N_timeoutSeconds), 10800);
}

static bool read_port(const struct node_side *node, const struct service_entry *e, const struct val *v,
                      struct service_port *p, struct arena *a)
{
    struct str protocol = val_getstr(v, N_protocol);
    if (!protocol.n)
        protocol = protocols[0].name;
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
        if (str_eq(protocol, protocols[i].name))
            p->proto = protocols[i].lower, p->l4 = protocols[i].l4;
    p->port = (uint16_t)val_int(val_get(v, N_port), 0);
    p->node_port = (uint16_t)val_int(val_get(v, N_nodePort), 0);
    if (!p->proto || !p->port)
        return false;
    p->port_name = val_getstr(v, N_name);
    p->name = arena_printf(a, STR_FMT "/" STR_FMT "%s" STR_FMT, STR_ARG(p->ns), STR_ARG(p->service), p->port_name.n ? ":" : "",
                           STR_ARG(p->port_name));
    p->accessible = p->node_port || p->external.n || p->balancers.n;
    p->firewall = p->balancers.n && p->sources.n;
    gather_endpoints(node, e, protocol, p, a);
    choose(p);
    return true;
}

/* The Service's address in our family: false when it has none, is headless or somebody else's. */
static bool is_ours(const struct node_side *node, const struct val *service, struct ip *ret_cluster_ip)
{
    const struct val *spec = val_get(service, N_spec), *ips = val_get(spec, N_clusterIPs);
    struct str cluster_ip = val_getstr(spec, N_clusterIP);
    if (str_is(val_getstr(spec, N_type), "ExternalName") || !cluster_ip.n || str_is(cluster_ip, "None"))
        return false;
    if (!str_eq(obj_label(service, STR("service.kubernetes.io/service-proxy-name")), node->proxy_name))
        return false;
    VAL_EACH(ips, ip)
    {
        if (model_ip(node->six, val_str(ip), ret_cluster_ip))
            return true;
    }
    return !val_len(ips) && model_ip(node->six, cluster_ip, ret_cluster_ip);
}

void model_service(const struct node_side *node, const struct service_entry *e, struct arena *a, struct service_ports *ret)
{
    struct service_port common = {0};
    *ret = (struct service_ports){0};
    if (!e || !e->service || !is_ours(node, e->service->val, &common.cluster_ip))
        return;
    const struct val *ports = val_at(e->service->val, N_spec, N_ports);
    read_common(node, e->service, &common, a);
    ret->list = ARENA_ARRAY(a, struct service_port, val_len(ports));
    VAL_EACH(ports, v)
    {
        ret->list[ret->n] = common;
        ret->n += read_port(node, e, v, &ret->list[ret->n], a);
    }
}

size_t model_local_ready(const struct service_ports *ports)
{
    size_t n = 0;
    for (size_t i = 0; i < ports->n; i++)
        for (size_t k = 0; k < ports->list[i].n_endpoints; k++) {
            const struct endpoint *ep = &ports->list[i].endpoints[k];
            bool seen = !ep->ready || !ep->local;
            for (size_t j = 0; !seen && j <= i; j++)
                for (size_t m = 0; !seen && m < (j < i ? ports->list[j].n_endpoints : k); m++) {
                    const struct endpoint *other = &ports->list[j].endpoints[m];
                    seen = other->ready && other->local && !memcmp(&other->ip, &ep->ip, sizeof(ep->ip));
                }
            n += !seen;
        }
    return n;
}
