/* SPDX-License-Identifier: Apache-2.0 */
/* Chains: what a policy lets through, and what holds for all. */
#include "policy/plan-internal.h"

#include "names.h"

static const char *const ip_of[FAMILIES] = {"ip", "ip6"};

struct str members_id(struct arena *a, const struct peer *peer)
{
    return arena_printf(a, "pods " STR_FMT, STR_ARG(peer->pods.id));
}

struct str port_id(struct arena *a, const char *protocol, struct str name)
{
    return arena_printf(a, "port %s/" STR_FMT, protocol, STR_ARG(name));
}

struct writing {
    const struct plan *p;
    enum direction d;
    bool plain;
    struct buf *b;
};

static void put_set(const struct writing *w, struct str id, enum family f)
{
    const struct members *m = map_get(&w->p->members, id);
    if (w->plain || !m)
        buf_printf(w->b, "@<" STR_FMT ">-%d", STR_ARG(id), f == FAMILY_4 ? 4 : 6);
    else
        buf_printf(w->b, "@%s", m->sets[f].name);
}

/* "ip saddr @p1-4 ", "ip6 daddr fd00::/8 ip6 daddr != { ... } "; nothing for everybody. */
static void put_peer(const struct writing *w, const struct peer *peer, enum family f)
{
    const char *side = w->d == INGRESS ? "saddr" : "daddr";
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char text[IP_TEXT_MAX];
    if (!peer)
        return;
    if (peer->kind == PEER_PODS) {
        buf_printf(w->b, "%s %s ", ip_of[f], side);
        put_set(w, members_id(&a, peer), f);
        buf_putc(w->b, ' ');
        return;
    }
    if (peer->block.bits == 0)
        buf_printf(w->b, "meta nfproto %s ", f == FAMILY_4 ? "ipv4" : "ipv6");
    else
        buf_printf(w->b, "%s %s %s ", ip_of[f], side, block_text(&peer->block, text));
    for (size_t i = 0; i < peer->n_except; i++) {
        if (i == 0)
            buf_printf(w->b, "%s %s != { ", ip_of[f], side);
        buf_printf(w->b, "%s%s", i ? ", " : "", block_text(&peer->except[i], text));
    }
    if (peer->n_except)
        buf_puts(w->b, " } ");
}

/* An egress that is let through still has to be taken by the other end: on with its ingress. */
static void end_rule(const struct writing *w)
{
    buf_puts(w->b, w->d == INGRESS ? "accept\n" : "goto taking\n");
}

static void put_ranges(const struct writing *w, const struct ports *p)
{
    buf_printf(w->b, "%s dport { ", p->protocol);
    for (size_t i = 0; i < p->n_ranges; i++) {
        const struct port_range *r = &p->ranges[i];
        buf_printf(w->b, "%s%u", i ? ", " : "", r->first);
        if (r->last != r->first)
            buf_printf(w->b, "-%u", r->last);
    }
    buf_puts(w->b, " } ");
}

static void put_ports(const struct writing *w, const struct peer *peer, const struct ports *p, enum family f)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    if ((p->all || p->n_ranges) && (peer || f == FAMILY_4)) { /* for everybody: one rule for both families */
        put_peer(w, peer, f);
        if (p->all)
            buf_printf(w->b, "meta l4proto %s ", p->protocol);
        else
            put_ranges(w, p);
        end_rule(w);
    }
    for (size_t i = 0; i < p->n_names && !p->all; i++) {
        put_peer(w, peer, f);
        buf_printf(w->b, "meta l4proto %s %s daddr . th dport ", p->protocol, ip_of[f]);
        put_set(w, port_id(&a, p->protocol, p->names[i]), f);
        buf_putc(w->b, ' ');
        end_rule(w);
    }
}

static void put_rule(const struct writing *w, const struct policy_rule *r, const struct peer *peer)
{
    for (enum family f = 0; f < FAMILIES; f++) {
        if (peer && peer->kind == PEER_BLOCK && family_of(&peer->block.ip) != f)
            continue;
        for (size_t i = 0; i < r->n_ports; i++)
            put_ports(w, peer, &r->ports[i], f);
        if (r->n_ports)
            continue;
        put_peer(w, peer, f);
        end_rule(w);
        if (!peer)
            return;
    }
}

void policy_rules(const struct plan *p, const struct policy_spec *s, enum direction d, bool plain, struct buf *b)
{
    const struct writing w = {p, d, plain, b};
    for (size_t i = 0; i < s->to[d].n; i++) {
        const struct policy_rule *r = &s->to[d].rules[i];
        for (size_t k = 0; k < r->n_peers; k++)
            put_rule(&w, r, &r->peers[k]);
        if (!r->n_peers)
            put_rule(&w, r, NULL);
    }
}

/* Nothing between a pod's first packet and its rules: who has an address of this node's ranges and was not looked at
 * yet, waits. */
void guard_rules(const struct plan *p, struct buf *b)
{
    const struct val *spec = p->node ? val_get(p->node->val, N_spec) : NULL, *list = val_get(spec, N_podCIDRs);
    struct val one = val_of_str(val_getstr(spec, N_podCIDR)), whole = {.kind = VAL_LIST, .n = 1, .items = &one};
    VAL_EACH(val_len(list) ? list : &whole, it)
    {
        struct prefix block;
        char text[IP_TEXT_MAX];
        if (block_parse(val_str(it), &block) < 0)
            continue;
        const char *ip = ip_of[family_of(&block.ip)], *n = block.ip.family == AF_INET ? "4" : "6";
        block_text(&block, text);
        buf_printf(b, "%s saddr %s %s saddr != @known-%s drop\n", ip, text, ip, n);
        buf_printf(b, "%s daddr %s %s daddr != @known-%s drop\n", ip, text, ip, n);
    }
}
