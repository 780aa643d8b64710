/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/nft_rules.h"

#include "auth/crypto.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/rtnetlink.h>
#include <stdio.h>

enum { AFFINITY_MAX = 65535 };

const char *const nft_table_set_names[SET_MAX] = {
    [SET_CLUSTER_IPS] = "cluster-ips",
    [SET_SERVICE_IPS] = "service-ips",
    [SET_NODEPORTS] = "service-nodeports",
    [SET_NO_ENDPOINTS] = "no-endpoint-services",
    [SET_NO_ENDPOINTS_NODEPORTS] = "no-endpoint-nodeports",
    [SET_FIREWALL] = "firewall-ips",
    [SET_HAIRPIN] = "hairpin-connections",
    [SET_NODEPORT_IPS] = "nodeport-ips",
    [SET_SERVICE_ENDPOINTS] = "service-endpoints",
    [SET_LOCAL_ENDPOINTS] = "local-endpoints",
    [SET_NODEPORT_ENDPOINTS] = "nodeport-endpoints",
    [SET_NODEPORT_LOCAL_ENDPOINTS] = "nodeport-local-endpoints",
};

static struct str set_name(enum nft_table_set s)
{
    return str_of(nft_table_set_names[s]);
}

static uint8_t family_of(const struct node_side *node)
{
    return node->six ? NFPROTO_IPV6 : NFPROTO_IPV4;
}

/* Words of a register that an address fills. */
static unsigned address_words(const struct node_side *node)
{
    return node->six ? 4 : 1;
}

/* ---- pieces of rules ------------------------------------------------------------------------------------ */

static void load_source(const struct node_side *node, struct buf *x, unsigned reg)
{
    nftx_payload(x, NFT_PAYLOAD_NETWORK_HEADER, node->six ? 8 : 12, (uint32_t)address_size(node->six), reg);
}

static void load_destination(const struct node_side *node, struct buf *x, unsigned reg)
{
    nftx_payload(x, NFT_PAYLOAD_NETWORK_HEADER, node->six ? 24 : 16, (uint32_t)address_size(node->six), reg);
}

/* meta l4proto . th dport, from reg on. */
static void load_port(struct buf *x, unsigned reg)
{
    nftx_meta(x, NFT_META_L4PROTO, reg);
    nftx_payload(x, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, reg + 1);
}

static void match_protocol(struct buf *x, uint8_t l4)
{
    nftx_meta(x, NFT_META_L4PROTO, 0);
    nftx_cmp(x, NFT_CMP_EQ, 0, &l4, 1);
}

static void match_bits(struct buf *x, uint32_t bits)
{
    const uint32_t zero = 0;
    nftx_bits(x, 0, &bits, &zero, sizeof(bits));
    nftx_cmp(x, NFT_CMP_NEQ, 0, &zero, sizeof(zero));
}

static void match_new(struct buf *x)
{
    nftx_ct(x, NFT_CT_STATE, 0);
    match_bits(x, NF_CT_STATE_BIT(IP_CT_NEW));
}

static void match_source_local(struct buf *x)
{
    const uint32_t local = RTN_LOCAL;
    nftx_fib_type(x, NFTA_FIB_F_SADDR, 0);
    nftx_cmp(x, NFT_CMP_EQ, 0, &local, sizeof(local));
}

static void match_source(const struct node_side *node, struct buf *x, const struct prefix *c, bool not_in)
{
    uint8_t mask[16] = {0};
    const uint8_t zero[16] = {0};
    size_t n = address_size(node->six);
    for (size_t i = 0; i < c->bits; i++)
        mask[i / 8] |= (uint8_t)(0x80 >> i % 8);
    load_source(node, x, 0);
    if (c->bits < n * 8)
        nftx_bits(x, 0, mask, zero, n);
    nftx_cmp(x, not_in ? NFT_CMP_NEQ : NFT_CMP_EQ, 0, c->ip.b, n);
}

/* Traffic of this node's Pods, or of others. */
static void match_pods(const struct node_side *node, struct buf *x, bool not_pods)
{
    const struct detect_local *d = &node->detect;
    char name[16] = {0};
    if (d->kind == DETECT_CIDR) {
        match_source(node, x, &d->prefix, not_pods);
        return;
    }
    size_t n = MIN(strlen(d->interface), sizeof(name) - 1);
    memcpy(name, d->interface, n);
    nftx_meta(x, NFT_META_IIFNAME, 0);
    nftx_cmp(x, not_pods ? NFT_CMP_NEQ : NFT_CMP_EQ, 0, name, d->kind == DETECT_PREFIX ? n : sizeof(name));
}

static void match_not_loopback(const struct node_side *node, struct buf *x)
{
    static const uint8_t four = 127, six[16] = {[15] = 1};
    if (node->six) {
        load_destination(node, x, 0);
        nftx_cmp(x, NFT_CMP_NEQ, 0, six, sizeof(six));
        return;
    }
    nftx_payload(x, NFT_PAYLOAD_NETWORK_HEADER, 16, 1, 0);
    nftx_cmp(x, NFT_CMP_NEQ, 0, &four, 1);
}

static void set_mark(const struct node_side *node, struct buf *x)
{
    uint32_t keep = ~node->mark;
    nftx_meta(x, NFT_META_MARK, 0);
    nftx_bits(x, 0, &keep, &node->mark, sizeof(keep));
    nftx_meta_set(x, NFT_META_MARK, 0);
}

/* ---- items ---------------------------------------------------------------------------------------------- */

static void hash_more(uint64_t h[2], const void *p, size_t n)
{
    struct str s = {p, n};
    h[0] = (h[0] ^ str_hash(s)) * UINT64_C(0x9e3779b97f4a7c15);
    h[0] ^= h[0] >> 29;
    for (size_t i = 0; i < n; i++)
        h[1] = (h[1] ^ (unsigned char)s.p[i]) * UINT64_C(0x100000001b3);
}

static struct nft_item *add_item(struct nft_items *items, enum nft_item_kind kind, struct str name)
{
    if (items->n == items->cap) {
        struct nft_item *bigger = ARENA_ARRAY(items->arena, struct nft_item, items->cap = MAX(items->cap * 2, (size_t)8));
        if (items->n)
            memcpy(bigger, items->list, items->n * sizeof(*bigger));
        items->list = bigger;
    }
    struct nft_item *i = &items->list[items->n++];
    *i = (struct nft_item){.kind = kind, .name = name, .content = {1, UINT64_C(0xcbf29ce484222325)}};
    return i;
}

/* One Service port on its way into items. */
struct port {
    const struct node_side *node;
    const struct service_port *p;
    struct nft_items *items;
    struct str base; /* end of all names of its own: hash, namespace, Service, protocol, port */
    struct str all, own;   /* with affinity: its chains to endpoints everywhere and to those of this node */
    struct nft_item chain; /* being written */
};

static void begin_chain(struct port *p, size_t most_rules)
{
    p->chain = (struct nft_item){.kind = ITEM_CHAIN, .content = {1, UINT64_C(0xcbf29ce484222325)}};
    p->chain.rules = ARENA_ARRAY(p->items->arena, struct nft_rule, most_rules);
}

/* Takes the expressions. */
static struct nft_rule *add_rule(struct port *p, struct buf *x)
{
    struct nft_rule *r = &p->chain.rules[p->chain.n_rules++];
    r->exprs = arena_str(p->items->arena, buf_str(x));
    hash_more(p->chain.content, r->exprs.p, r->exprs.n);
    buf_done(x);
    return r;
}

static void add_rule_set(struct port *p, struct nft_rule *r, size_t id_at, struct nft_set set, struct buf *elements)
{
    struct nft_rule_set *s = &r->sets[r->n_sets++];
    *s = (struct nft_rule_set){set, arena_str(p->items->arena, buf_str(elements)), id_at};
    hash_more(p->chain.content, s->elements.p, s->elements.n);
    buf_done(elements);
}

static struct str finish_chain_as(struct port *p, struct str name, bool shared)
{
    struct nft_item *i = add_item(p->items, ITEM_CHAIN, name);
    i->shared = shared;
    i->rules = p->chain.rules;
    i->n_rules = p->chain.n_rules;
    memcpy(i->content, p->chain.content, sizeof(i->content));
    return name;
}

static struct str finish_chain(struct port *p, const char *kind)
{
    return finish_chain_as(p, arena_printf(p->items->arena, "%s-" STR_FMT, kind, STR_ARG(p->base)), false);
}

static void goto_rule(struct port *p, struct buf *x, struct str chain)
{
    nftx_verdict(x, NFT_GOTO, chain);
    add_rule(p, x);
}

/* ---- elements ------------------------------------------------------------------------------------------- */

/* Keys as the maps have them: every part fills whole words. */
struct key {
    uint8_t b[64];
    size_t n;
};

static void key_add(struct key *k, const void *p, size_t n)
{
    memcpy(k->b + k->n, p, n);
    k->n += (n + 3) / 4 * 4;
}

static void key_port(struct key *k, uint8_t l4, uint16_t port)
{
    uint16_t wire = htons(port);
    key_add(k, &l4, 1);
    key_add(k, &wire, 2);
}

static struct str key_name(struct arena *a, enum nft_table_set map, const struct key *k)
{
    char *name = arena_bytes(a, k->n + 1);
    name[0] = (char)map;
    memcpy(name + 1, k->b, k->n);
    return str_n(name, k->n + 1);
}

/* Takes the bytes. */
static struct nft_item *add_element(struct port *p, enum nft_table_set map, const struct key *k, struct buf *element)
{
    struct arena *a = p->items->arena;
    struct nft_item *i = add_item(p->items, ITEM_ELEMENT, key_name(a, map, k));
    i->map = map;
    i->element = arena_str(a, buf_str(element));
    hash_more(i->content, element->p, element->n);
    buf_done(element);
    return i;
}

static struct nft_item *add_member(struct port *p, enum nft_table_set set, const struct key *k)
{
    struct buf b = BUF_INIT;
    nft_element_put(&b, k->b, k->n, NULL, 0);
    return add_element(p, set, k, &b);
}

static void add_verdict(struct port *p, enum nft_table_set map, const struct key *k, int32_t verdict, struct str chain)
{
    struct buf b = BUF_INIT;
    nft_element_put_verdict(&b, k->b, k->n, verdict, chain, p->p->name);
    add_element(p, map, k, &b);
}

static struct key address_key(const struct port *p, const struct ip *ip)
{
    struct key k = {0};
    key_add(&k, ip->b, address_size(p->node->six));
    key_port(&k, p->p->l4, p->p->port);
    return k;
}

static struct key nodeport_key(const struct port *p)
{
    struct key k = {0};
    key_port(&k, p->p->l4, p->p->node_port);
    return k;
}

static void add_address(struct port *p, enum nft_table_set map, const struct ip *ip, int32_t verdict, struct str chain)
{
    struct key k = address_key(p, ip);
    add_verdict(p, map, &k, verdict, chain);
}

/* No endpoint anywhere is said at once; none for this kind of traffic is passed over in silence, so that a balancer's
 * probe or a retry finds another node. */
static void refuse(struct port *p, const struct ip *ip)
{
    bool nowhere = !p->p->any;
    add_address(p, SET_NO_ENDPOINTS, ip, nowhere ? NFT_GOTO : NF_DROP, nowhere ? STR("reject-chain") : STR_NULL);
}

static void add_hairpins(struct port *p)
{
    for (size_t i = 0; i < p->p->n_endpoints; i++) {
        const struct endpoint *ep = &p->p->endpoints[i];
        if (!ep->local || !(ep->in_cluster || ep->in_local))
            continue;
        struct key k = {0};
        key_add(&k, ep->ip.b, address_size(p->node->six));
        key_add(&k, ep->ip.b, address_size(p->node->six));
        key_port(&k, p->p->l4, ep->port);
        add_member(p, SET_HAIRPIN, &k)->shared = true;
    }
}

/* ---- chains to endpoints -------------------------------------------------------------------------------- */

static bool takes(const struct endpoint *ep, bool local)
{
    return local ? ep->in_local : ep->in_cluster;
}

static struct key endpoint_key(const struct port *p, const struct endpoint *ep)
{
    struct key k = {0};
    uint16_t wire = htons(ep->port);
    key_add(&k, ep->ip.b, address_size(p->node->six));
    key_add(&k, &wire, 2);
    return k;
}

size_t nft_endpoint_size(bool six)
{
    return address_size(six) + 4;
}

static uint32_t address_type(const struct node_side *node)
{
    return node->six ? NFT_TYPE_IP6ADDR : NFT_TYPE_IPADDR;
}

static void dnat(const struct port *p, struct buf *x, unsigned reg)
{
    nftx_dnat(x, family_of(p->node), reg, reg + address_words(p->node));
}

static enum nft_table_set list_map(bool nodeport, bool local)
{
    return nodeport ? local ? SET_NODEPORT_LOCAL_ENDPOINTS : SET_NODEPORT_ENDPOINTS : local ? SET_LOCAL_ENDPOINTS : SET_SERVICE_ENDPOINTS;
}

/* The endpoints that stand under the key k, which the packet has, too; front leads to them. */
static void add_list(struct port *p, enum nft_table_set front, bool nodeport, bool local, const struct key *k)
{
    struct arena *a = p->items->arena;
    enum nft_table_set map = list_map(nodeport, local);
    size_t size = nft_endpoint_size(p->node->six), n = 0;
    char *all = arena_bytes(a, size * p->p->n_endpoints + 1);
    for (size_t i = 0; i < p->p->n_endpoints; i++)
        if (takes(&p->p->endpoints[i], local)) {
            struct key one = endpoint_key(p, &p->p->endpoints[i]);
            memcpy(all + size * n++, one.b, size);
        }
    if (!n)
        return;
    struct nft_item *i = add_item(p->items, ITEM_LIST, key_name(a, map, k));
    i->map = map;
    i->front = key_name(a, front, k);
    i->endpoints = str_n(all, size * n);
}

static void draw_rule(struct port *p, bool nodeport, enum nft_table_set map, size_t n)
{
    struct buf x = BUF_INIT;
    unsigned at = nodeport ? 0 : address_words(p->node);
    if (!nodeport)
        load_destination(p->node, &x, 0);
    load_port(&x, at);
    nftx_numgen(&x, (uint32_t)n, at + 2);
    nftx_lookup(&x, set_name(map), 0, 0, false);
    dnat(p, &x, 0);
    add_rule(p, &x);
}

/* Draws one of n endpoints. When another transaction shortened the list meanwhile there is still the first. */
static struct str draw_chain(struct port *p, bool nodeport, bool local)
{
    size_t n = local ? p->p->n_local : p->p->n_cluster;
    enum nft_table_set map = list_map(nodeport, local);
    if (!n)
        return STR_NULL;
    begin_chain(p, 2);
    draw_rule(p, nodeport, map, n);
    if (n > 1)
        draw_rule(p, nodeport, map, 1);
    return finish_chain_as(p, arena_printf(p->items->arena, "%s-%zu", nft_table_set_names[map], n), true);
}

/* ---- session affinity: who was here lately goes where he went ------------------------------------------- */

static struct str endpoint_name(const struct port *p, const char *kind, const struct endpoint *ep)
{
    char text[IP_TEXT_MAX];
    return arena_printf(p->items->arena, "%s-" STR_FMT "/%s/%u", kind, STR_ARG(str_slice(p->base, 0, 60)), ip_format(&ep->ip, text), ep->port);
}

/* A set of clients for each endpoint, and a chain that puts them in. It goes with the endpoint, and so does what was
 * remembered. */
static void endpoint_items(struct port *p, const struct endpoint *ep)
{
    struct str clients = endpoint_name(p, "affinity", ep), chain = endpoint_name(p, "endpoint", ep);
    struct nft_item *i = add_item(p->items, ITEM_SET, clients);
    struct buf x = BUF_INIT;
    i->keep_seconds = p->p->affinity_seconds;
    i->set = (struct nft_set){.name = clients,
                              .flags = NFT_SET_TIMEOUT | NFT_SET_EVAL,
                              .key_type = address_type(p->node),
                              .key_len = (uint32_t)address_size(p->node->six),
                              .size = AFFINITY_MAX};
    begin_chain(p, 2);
    load_source(p->node, &x, 0);
    nftx_dynset(&x, NFT_DYNSET_OP_UPDATE, clients, 0, -1, (uint64_t)p->p->affinity_seconds * 1000);
    add_rule(p, &x); /* when the set is full, the next rule still counts */
    struct key k = endpoint_key(p, ep);
    match_protocol(&x, p->p->l4);
    nftx_immediate(&x, 0, k.b, address_size(p->node->six));
    nftx_immediate(&x, address_words(p->node), k.b + address_size(p->node->six), 2);
    dnat(p, &x, 0);
    add_rule(p, &x);
    finish_chain_as(p, chain, false);
}

static void remembered_rule(struct port *p, const struct endpoint *ep)
{
    struct buf x = BUF_INIT;
    load_source(p->node, &x, 0);
    nftx_lookup(&x, endpoint_name(p, "affinity", ep), 0, -1, false);
    goto_rule(p, &x, endpoint_name(p, "endpoint", ep));
}

static void random_chain_rule(struct port *p, size_t n, bool local)
{
    struct buf x = BUF_INIT, elements = BUF_INIT;
    uint32_t number = 0;
    for (size_t i = 0; i < p->p->n_endpoints; i++)
        if (takes(&p->p->endpoints[i], local)) {
            nft_element_put_verdict(&elements, &number, sizeof(number), NFT_GOTO, endpoint_name(p, "endpoint", &p->p->endpoints[i]), STR_NULL);
            number++;
        }
    nftx_numgen(&x, (uint32_t)n, 0);
    size_t id_at = nftx_lookup(&x, STR_NULL, 0, -2, false);
    struct nft_set map = {.flags = NFT_SET_MAP, .key_type = NFT_TYPE_INTEGER, .key_len = 4, .data_type = (uint32_t)NFT_TYPE_TO_VERDICT, .size = (uint32_t)n, .host_order = true};
    add_rule_set(p, add_rule(p, &x), id_at, map, &elements);
}

static struct str affinity_chain(struct port *p, bool local)
{
    size_t n = local ? p->p->n_local : p->p->n_cluster;
    if (!n)
        return STR_NULL;
    begin_chain(p, n + 1);
    for (size_t i = 0; i < p->p->n_endpoints; i++)
        if (takes(&p->p->endpoints[i], local))
            remembered_rule(p, &p->p->endpoints[i]);
    random_chain_rule(p, n, local);
    return finish_chain(p, local ? "local" : "service");
}

/* ---- from outside --------------------------------------------------------------------------------------- */

static struct str external_name(const struct port *p, bool nodeport)
{
    const char *front = nodeport ? "-nodeport" : "";
    if (p->p->affinity_seconds)
        return arena_printf(p->items->arena, "external-" STR_FMT, STR_ARG(p->base));
    if (p->p->external_local)
        return arena_printf(p->items->arena, "external%s-local-%zu-%zu", front, p->p->n_cluster, p->p->n_local);
    return arena_printf(p->items->arena, "external%s-%zu", front, p->p->n_cluster);
}

/* What comes from outside the cluster. With policy Cluster it is masqueraded; with Local only this node's endpoints take
 * it and the client's address is kept. Pods and this node itself are served by all endpoints even then: they stand for
 * a client that goes out to a balancer and comes back through any node. */
static struct str external_chain(struct port *p, bool nodeport)
{
    const struct service_port *s = p->p;
    struct buf x = BUF_INIT;
    bool sticky = s->affinity_seconds;
    struct str all = sticky ? p->all : draw_chain(p, nodeport, false);
    struct str own = sticky || !s->external_local ? p->own : draw_chain(p, nodeport, true);
    begin_chain(p, 5);
    if (!s->external_local) {
        set_mark(p->node, &x);
        add_rule(p, &x);
    } else if (all.n) {
        if (p->node->detect.kind != DETECT_NONE) {
            match_pods(p->node, &x, false);
            goto_rule(p, &x, all);
        }
        match_source_local(&x);
        set_mark(p->node, &x);
        add_rule(p, &x);
        match_source_local(&x);
        goto_rule(p, &x, all);
    }
    struct str to = s->external_local ? own : all;
    if (s->outside && to.n)
        goto_rule(p, &x, to);
    return finish_chain_as(p, external_name(p, nodeport), !sticky);
}

/* Before addresses are translated: sources that are not in the ranges. */
static struct str firewall_chain(struct port *p)
{
    const struct service_port *s = p->p;
    struct buf x = BUF_INIT;
    begin_chain(p, s->sources.n + (s->from_node ? s->balancers.n : 0) + 1);
    for (size_t i = 0; i < s->sources.n; i++) {
        match_source(p->node, &x, &s->sources.list[i], false);
        nftx_verdict(&x, NFT_RETURN, STR_NULL);
        add_rule(p, &x);
    }
    /* The balancer's address is often on the node, too: what the node sends to it comes from that very address. */
    for (size_t i = 0; s->from_node && i < s->balancers.n; i++) {
        struct prefix one = {s->balancers.list[i], (uint8_t)ip_bits(&s->balancers.list[i])};
        match_source(p->node, &x, &one, false);
        nftx_verdict(&x, NFT_RETURN, STR_NULL);
        add_rule(p, &x);
    }
    nftx_verdict(&x, NF_DROP, STR_NULL);
    add_rule(p, &x);
    return finish_chain(p, "firewall");
}

/* ---- a port --------------------------------------------------------------------------------------------- */

static void add_lists(struct port *p, enum nft_table_set front, bool nodeport, const struct key *k)
{
    if (p->p->affinity_seconds)
        return;
    add_list(p, front, nodeport, false, k);
    if (p->p->external_local)
        add_list(p, front, nodeport, true, k);
}

static void add_outside(struct port *p, const struct ips *ips, struct str chain)
{
    for (size_t i = 0; i < ips->n; i++) {
        struct key k = address_key(p, &ips->list[i]);
        if (p->p->any) {
            add_verdict(p, SET_SERVICE_IPS, &k, NFT_GOTO, chain);
            add_lists(p, SET_SERVICE_IPS, false, &k);
        }
        if (!p->p->outside)
            refuse(p, &ips->list[i]);
    }
}

static void nodeport_items(struct port *p)
{
    const struct service_port *s = p->p;
    struct key k = nodeport_key(p);
    if (s->any) {
        add_verdict(p, SET_NODEPORTS, &k, NFT_GOTO, external_chain(p, true));
        add_lists(p, SET_NODEPORTS, true, &k);
    }
    if (!s->outside)
        add_verdict(p, SET_NO_ENDPOINTS_NODEPORTS, &k, s->any ? NF_DROP : NFT_GOTO, s->any ? STR_NULL : STR("reject-chain"));
}

static void external_items(struct port *p)
{
    const struct service_port *s = p->p;
    struct str chain = s->any && (s->external.n || s->balancers.n) ? external_chain(p, false) : STR_NULL;
    add_outside(p, &s->external, chain);
    add_outside(p, &s->balancers, chain);
    if (s->firewall) {
        struct str wall = firewall_chain(p);
        for (size_t i = 0; i < s->balancers.n; i++)
            add_address(p, SET_FIREWALL, &s->balancers.list[i], NFT_GOTO, wall);
    }
    if (s->node_port)
        nodeport_items(p);
}

static void cluster_ip_items(struct port *p)
{
    const struct service_port *s = p->p;
    struct key k = address_key(p, &s->cluster_ip);
    if (!s->inside) {
        refuse(p, &s->cluster_ip);
        return;
    }
    if (s->affinity_seconds) {
        add_verdict(p, SET_SERVICE_IPS, &k, NFT_GOTO, s->internal_local ? p->own : p->all);
        return;
    }
    add_verdict(p, SET_SERVICE_IPS, &k, NFT_GOTO, draw_chain(p, false, s->internal_local));
    add_list(p, SET_SERVICE_IPS, false, s->internal_local, &k);
}

/* Names are readable, unique by their hash, and at most 127 bytes long (the kernel's older limit). */
static struct str base_name(const struct service_port *s, struct arena *a)
{
    uint8_t sum[32];
    struct str id = arena_printf(a, STR_FMT "/%s", STR_ARG(s->name), s->proto);
    sha256(id, sum);
    struct str text = arena_printf(a, STR_FMT "/" STR_FMT "/%s/" STR_FMT, STR_ARG(s->ns), STR_ARG(s->service), s->proto, STR_ARG(s->port_name));
    return arena_printf(a, "%02X%02X%02X%02X%02X%02X-" STR_FMT, sum[0], sum[1], sum[2], sum[3], sum[4], sum[5],
                        STR_ARG(str_slice(text, 0, 100)));
}

static void items_of_port(const struct node_side *node, const struct service_port *s, struct nft_items *items)
{
    struct port p = {.node = node, .p = s, .items = items, .base = base_name(s, items->arena)};
    for (size_t i = 0; s->affinity_seconds && i < s->n_endpoints; i++)
        if (s->endpoints[i].in_cluster || s->endpoints[i].in_local)
            endpoint_items(&p, &s->endpoints[i]);
    if (s->affinity_seconds) {
        p.all = affinity_chain(&p, false);
        p.own = affinity_chain(&p, true);
    }
    if (!s->cluster_ip_skipped)
        cluster_ip_items(&p);
    if (s->accessible)
        external_items(&p);
    add_hairpins(&p);
}

void nft_items_of(const struct node_side *node, const struct service_ports *ports, struct nft_items *ret)
{
    for (size_t i = 0; i < ports->n; i++)
        items_of_port(node, &ports->list[i], ret);
    if (!ports->n || ports->list[0].cluster_ip_skipped)
        return;
    struct port p = {.node = node, .p = &ports->list[0], .items = ret};
    struct key k = {0};
    key_add(&k, ports->list[0].cluster_ip.b, address_size(node->six));
    add_member(&p, SET_CLUSTER_IPS, &k);
}

/* ---- the table ------------------------------------------------------------------------------------------ */

static void add_sets(const struct node_side *node, struct nft_batch *b)
{
    uint32_t ip = address_type(node), ip_len = (uint32_t)address_size(node->six);
    uint32_t port = NFT_TYPE_PROTO << 6 | NFT_TYPE_PORT, ip_port = ip << 12 | port;
    const struct {
        enum nft_table_set set;
        uint32_t key, len;
        bool verdict;
    } sets[] = {
        {SET_CLUSTER_IPS, ip, ip_len, false},
        {SET_SERVICE_IPS, ip_port, ip_len + 8, true},
        {SET_NODEPORTS, port, 8, true},
        {SET_NO_ENDPOINTS, ip_port, ip_len + 8, true},
        {SET_NO_ENDPOINTS_NODEPORTS, port, 8, true},
        {SET_FIREWALL, ip_port, ip_len + 8, true},
        {SET_HAIRPIN, ip << 18 | ip_port, ip_len * 2 + 8, false},
        {SET_NODEPORT_IPS, ip, ip_len, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
        nft_set_add(b, &(struct nft_set){.name = set_name(sets[i].set),
                                         .flags = sets[i].verdict ? NFT_SET_MAP : 0,
                                         .key_type = sets[i].key,
                                         .key_len = sets[i].len,
                                         .data_type = sets[i].verdict ? (uint32_t)NFT_TYPE_TO_VERDICT : 0});
    /* Ports of endpoints are any protocol's; nft 1.0.6 does not read back what says so. */
    const enum nft_part address = node->six ? NFT_PART_IP6_DADDR : NFT_PART_IP_DADDR;
    const enum nft_part by_address[] = {address, NFT_PART_L4PROTO, NFT_PART_DPORT, NFT_PART_RANDOM, NFT_PARTS},
                        by_port[] = {NFT_PART_L4PROTO, NFT_PART_DPORT, NFT_PART_RANDOM, NFT_PARTS},
                        endpoint[] = {address, NFT_PART_TCP_DPORT, NFT_PARTS};
    for (int nodeport = 0; nodeport < 2; nodeport++)
        for (int local = 0; local < 2; local++)
            nft_set_add(b, &(struct nft_set){.name = set_name(list_map(nodeport, local)),
                                             .flags = NFT_SET_MAP,
                                             .key_parts = nodeport ? by_port : by_address,
                                             .data_parts = endpoint});
}

/* Base chains at the places where kube-proxy's stand. */
static const struct {
    const char *name;
    struct nft_hook hook;
} base_chains[] = {
    {"filter-prerouting-pre-dnat", {"filter", NF_INET_PRE_ROUTING, -110}},
    {"filter-output-pre-dnat", {"filter", NF_INET_LOCAL_OUT, -110}},
    {"filter-input", {"filter", NF_INET_LOCAL_IN, 0}},
    {"filter-forward", {"filter", NF_INET_FORWARD, 0}},
    {"filter-output", {"filter", NF_INET_LOCAL_OUT, 0}},
    {"nat-prerouting", {"nat", NF_INET_PRE_ROUTING, -100}},
    {"nat-output", {"nat", NF_INET_LOCAL_OUT, -100}},
    {"nat-postrouting", {"nat", NF_INET_POST_ROUTING, 100}},
};
static const char *const jumped_to[] = {"services", "service-endpoints-check", "nodeport-endpoints-check", "firewall-check",
                                        "cluster-ips-check", "masquerading", "reject-chain"};
static const struct {
    const char *from, *to;
    bool only_new;
} jumps[] = {
    {"filter-input", "nodeport-endpoints-check", true},  {"filter-input", "service-endpoints-check", true},
    {"filter-forward", "service-endpoints-check", true}, {"filter-output", "service-endpoints-check", true},
    {"filter-prerouting-pre-dnat", "firewall-check", true}, {"filter-output-pre-dnat", "firewall-check", true},
    {"nat-output", "services", false},                   {"nat-prerouting", "services", false},
    {"nat-postrouting", "masquerading", false},          {"filter-forward", "cluster-ips-check", true},
    {"filter-output", "cluster-ips-check", true},
};

static void rule(struct nft_batch *b, const char *chain, struct buf *x)
{
    nft_rule_add(b, str_of(chain), buf_str(x));
    buf_clear(x);
}

static void look_up_address(const struct node_side *node, struct buf *x, enum nft_table_set map)
{
    load_destination(node, x, 0);
    load_port(x, address_words(node));
    nftx_lookup(x, set_name(map), 0, -2, false);
}

/* On addresses that take NodePorts. Loopback never does in this mode: such packets would leave with a source that
 * nobody can answer. */
static void look_up_nodeport(const struct node_side *node, struct buf *x, enum nft_table_set map, bool routed_here)
{
    const uint32_t local = RTN_LOCAL;
    if (!node->nodeports_all) {
        load_destination(node, x, 0);
        nftx_lookup(x, set_name(SET_NODEPORT_IPS), 0, -1, false);
    } else {
        if (!routed_here) {
            nftx_fib_type(x, NFTA_FIB_F_DADDR, 0);
            nftx_cmp(x, NFT_CMP_EQ, 0, &local, sizeof(local));
        }
        match_not_loopback(node, x);
    }
    load_port(x, 0);
    nftx_lookup(x, set_name(map), 0, -2, false);
}

static bool masquerades_cluster_ips(const struct node_side *node)
{
    return node->masquerade_all || node->detect.kind != DETECT_NONE;
}

static void add_services(const struct node_side *node, struct nft_batch *b, struct buf *x)
{
    if (masquerades_cluster_ips(node)) {
        /* Who routes the Services' range to this node must get his answers through it. */
        if (!node->masquerade_all)
            match_pods(node, x, true);
        load_destination(node, x, 0);
        nftx_lookup(x, set_name(SET_CLUSTER_IPS), 0, -1, false);
        set_mark(node, x);
        rule(b, "services", x);
    }
    look_up_address(node, x, SET_SERVICE_IPS);
    rule(b, "services", x);
    look_up_nodeport(node, x, SET_NODEPORTS, false);
    rule(b, "services", x);
}

static void add_checks(const struct node_side *node, struct nft_batch *b, struct buf *x)
{
    look_up_address(node, x, SET_NO_ENDPOINTS);
    rule(b, "service-endpoints-check", x);
    look_up_nodeport(node, x, SET_NO_ENDPOINTS_NODEPORTS, true);
    rule(b, "nodeport-endpoints-check", x);
    look_up_address(node, x, SET_FIREWALL);
    rule(b, "firewall-check", x);
    nftx_reject(x, family_of(node));
    rule(b, "reject-chain", x);
    /* A ClusterIP is nothing but its ports, and what is no Service's address must not go out into the world. */
    load_destination(node, x, 0);
    nftx_lookup(x, set_name(SET_CLUSTER_IPS), 0, -1, false);
    nftx_reject(x, family_of(node));
    rule(b, "cluster-ips-check", x);
}

static void match_destination(const struct node_side *node, struct buf *x, const struct prefix *c)
{
    uint8_t mask[16] = {0};
    const uint8_t zero[16] = {0};
    for (size_t i = 0; i < c->bits; i++)
        mask[i / 8] |= (uint8_t)(0x80 >> i % 8);
    load_destination(node, x, 0);
    nftx_bits(x, 0, mask, zero, address_size(node->six));
    nftx_cmp(x, NFT_CMP_EQ, 0, c->ip.b, address_size(node->six));
}

static void add_unallocated(const struct node_side *node, struct nft_batch *b, struct buf *x)
{
    for (size_t i = 0; node->service_cidrs.n && i < node->skip.n; i++) {
        load_destination(node, x, 0);
        nftx_cmp(x, NFT_CMP_EQ, 0, node->skip.list[i].b, address_size(node->six));
        nftx_verdict(x, NFT_RETURN, STR_NULL);
        rule(b, "cluster-ips-check", x);
    }
    for (size_t i = 0; i < node->service_cidrs.n; i++) {
        match_destination(node, x, &node->service_cidrs.list[i]);
        nftx_verdict(x, NF_DROP, STR_NULL);
        rule(b, "cluster-ips-check", x);
    }
}

static void add_masquerading(const struct node_side *node, struct nft_batch *b, struct buf *x)
{
    const uint32_t all = UINT32_MAX;
    unsigned words = address_words(node);
    nftx_meta(x, NFT_META_MARK, 0);
    match_bits(x, node->mark);
    nftx_meta(x, NFT_META_MARK, 0); /* off again: the packet may come through here once more */
    nftx_bits(x, 0, &all, &node->mark, sizeof(all));
    nftx_meta_set(x, NFT_META_MARK, 0);
    nftx_masquerade(x);
    rule(b, "masquerading", x);
    nftx_ct(x, NFT_CT_STATUS, 0);
    match_bits(x, IPS_DST_NAT);
    load_source(node, x, 0);
    load_destination(node, x, words);
    load_port(x, words * 2);
    nftx_lookup(x, set_name(SET_HAIRPIN), 0, -1, false);
    nftx_masquerade(x);
    rule(b, "masquerading", x);
}

static void add_nodeport_ips(const struct node_side *node, struct nft_batch *b)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf elements CLEANUP_BUF = BUF_INIT;
    struct ips ips = node->nodeports_all ? (struct ips){0} : model_nodeport_ips(node, false, &a);
    for (size_t i = 0; i < ips.n; i++)
        nft_element_put(&elements, ips.list[i].b, address_size(node->six), NULL, 0);
    nft_elements_add(b, set_name(SET_NODEPORT_IPS), 0, buf_str(&elements));
}

void nft_base(const struct node_side *node, struct nft_batch *b)
{
    struct buf x CLEANUP_BUF = BUF_INIT;
    nft_table_add(b, NULL);
    nft_table_delete(b);
    nft_table_add(b, "service proxy");
    add_sets(node, b);
    for (size_t i = 0; i < ARRAY_SIZE(base_chains); i++)
        nft_chain_add(b, str_of(base_chains[i].name), &base_chains[i].hook);
    for (size_t i = 0; i < ARRAY_SIZE(jumped_to); i++)
        nft_chain_add(b, str_of(jumped_to[i]), NULL);
    for (size_t i = 0; i < ARRAY_SIZE(jumps); i++) {
        if (jumps[i].only_new)
            match_new(&x);
        nftx_verdict(&x, NFT_JUMP, str_of(jumps[i].to));
        rule(b, jumps[i].from, &x);
    }
    add_services(node, b, &x);
    add_checks(node, b, &x);
    add_unallocated(node, b, &x);
    add_masquerading(node, b, &x);
    add_nodeport_ips(node, b);
}

void nft_base_counts(const struct node_side *node, struct nft_counts *ret)
{
    *ret = (struct nft_counts){.chains = ARRAY_SIZE(base_chains) + ARRAY_SIZE(jumped_to), .sets = SET_MAX};
    ret->rules = ARRAY_SIZE(jumps) + masquerades_cluster_ips(node) + 2 + 5 + 2 + node->service_cidrs.n +
                 (node->service_cidrs.n ? node->skip.n : 0);
}
