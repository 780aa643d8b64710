/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/udp.h"

#include <netinet/in.h>
#include <sys/socket.h>

/* An address of either family with a port; the address is zero for a port of the node. */
struct udp_key {
    uint8_t b[18];
};

static struct udp_key key_of(const uint8_t ip[16], uint16_t port)
{
    struct udp_key k;
    memcpy(k.b, ip, 16);
    k.b[16] = (uint8_t)(port >> 8);
    k.b[17] = (uint8_t)port;
    return k;
}

static void front_free(void *p)
{
    buf_done(p);
    free(p);
}

void udp_done(struct udp *u)
{
    map_done_with(&u->services, free);
    map_done_with(&u->fronts, front_free);
    u->due = false;
}

static void add_front(struct udp *u, const uint8_t ip[16], uint16_t port, const struct buf *endpoints)
{
    struct udp_key k = key_of(ip, port);
    struct buf *copy = NEW(struct buf), *old;
    buf_put(copy, endpoints->p, endpoints->n);
    old = map_put(&u->fronts, str_n((const char *)k.b, sizeof(k)), copy);
    if (old)
        front_free(old);
    u->due = true;
}

static void add_fronts(struct udp *u, const struct service_port *p, const struct buf *endpoints)
{
    static const uint8_t node[16];
    if (!p->cluster_ip_skipped) /* else the node itself answers there */
        add_front(u, p->cluster_ip.b, p->port, endpoints);
    for (size_t i = 0; i < p->external.n; i++)
        add_front(u, p->external.list[i].b, p->port, endpoints);
    for (size_t i = 0; i < p->balancers.n; i++)
        add_front(u, p->balancers.list[i].b, p->port, endpoints);
    /* A port of the node is known by its number only: without endpoints to tell ours by, connections that are not ours
     * would go, too. */
    if (p->node_port && endpoints->n)
        add_front(u, node, p->node_port, endpoints);
}

static void serving(const struct service_port *p, struct buf *to)
{
    for (size_t i = 0; i < p->n_endpoints; i++)
        if (p->endpoints[i].serving) {
            struct udp_key k = key_of(p->endpoints[i].ip.b, p->endpoints[i].port);
            buf_put(to, k.b, sizeof(k));
        }
}

static uint64_t hash_ports(const struct service_ports *ports)
{
    uint64_t h = 0;
    for (size_t i = 0; i < ports->n; i++) {
        const struct service_port *p = &ports->list[i];
        struct buf b CLEANUP_BUF = BUF_INIT;
        if (p->l4 != IPPROTO_UDP)
            continue;
        serving(p, &b);
        buf_put(&b, &p->cluster_ip, sizeof(p->cluster_ip));
        buf_put(&b, p->external.list, p->external.n * sizeof(struct ip));
        buf_put(&b, p->balancers.list, p->balancers.n * sizeof(struct ip));
        buf_put(&b, &p->port, sizeof(p->port));
        buf_put(&b, &p->node_port, sizeof(p->node_port));
        h = h * 31 + (str_hash(buf_str(&b)) | 1);
    }
    return h;
}

void udp_service(struct udp *u, struct str key, const struct service_ports *ports)
{
    uint64_t h = hash_ports(ports), *old = map_get(&u->services, key);
    if (!h) {
        free(map_del(&u->services, key));
        return;
    }
    if (old && *old == h)
        return;
    if (!old)
        map_put(&u->services, key, old = NEW(uint64_t));
    *old = h;
    for (size_t i = 0; i < ports->n; i++) {
        struct buf endpoints CLEANUP_BUF = BUF_INIT;
        if (ports->list[i].l4 != IPPROTO_UDP)
            continue;
        serving(&ports->list[i], &endpoints);
        add_fronts(u, &ports->list[i], &endpoints);
    }
}

static bool is_among(const struct buf *endpoints, const struct udp_key *k)
{
    for (size_t at = 0; at < endpoints->n; at += sizeof(*k))
        if (!memcmp(endpoints->p + at, k, sizeof(*k)))
            return true;
    return false;
}

bool udp_stale(void *arg, const struct conntrack_flow *f)
{
    const struct udp *u = arg;
    static const uint8_t node[16];
    struct udp_key from = key_of(f->answers_from, f->answers_from_port), fronts[] = {key_of(f->to, f->to_port), key_of(node, f->to_port)};
    for (size_t i = 0; i < ARRAY_SIZE(fronts); i++) {
        const struct buf *endpoints = map_get(&u->fronts, str_n((const char *)fronts[i].b, sizeof(fronts[i])));
        if (endpoints && !is_among(endpoints, &from))
            return true;
    }
    return false;
}

/* What a sweep could not look for is the next one's, unless it is known anew by then. */
static void look_again(struct udp *u, struct map *fronts)
{
    MAP_EACH(fronts, f)
    {
        if (!map_has(&u->fronts, f->key)) {
            map_put(&u->fronts, f->key, f->value);
            map_del(fronts, f->key);
        }
    }
    u->due = true;
}

int udp_sweep(struct udp *u, bool six, size_t *ret_ended, struct err *e)
{
    *ret_ended = 0;
    if (!u->due)
        return 0;
    struct udp looked_for = {.fronts = u->fronts}; /* what changes meanwhile is the next sweep's */
    u->fronts = MAP_INIT;
    u->due = false;
    int r = conntrack_sweep(six ? AF_INET6 : AF_INET, IPPROTO_UDP, udp_stale, &looked_for, ret_ended, e);
    if (r < 0)
        look_again(u, &looked_for.fronts);
    map_done_with(&looked_for.fronts, front_free);
    return r;
}
