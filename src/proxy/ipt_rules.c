/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/ipt_rules.h"

#include "auth/crypto.h"

#include <stdio.h>

const struct ipt_shared_chain ipt_shared_chains[IPT_SHARED_MAX] = {
    [NAT_SERVICES] = {"KUBE-SERVICES", false},          [NAT_NODEPORTS] = {"KUBE-NODEPORTS", false},
    [NAT_EXTERNAL] = {"KUBE-EXTERNAL-SERVICES", false},
    [FILTER_SERVICES] = {"KUBE-SERVICES", true},        [FILTER_EXTERNAL] = {"KUBE-EXTERNAL-SERVICES", true},
    [FILTER_NODEPORTS] = {"KUBE-NODEPORTS", true},      [FILTER_FIREWALL] = {"KUBE-PROXY-FIREWALL", true},
};

const struct ipt_jump ipt_jumps[] = {
    {true, "INPUT", "KUBE-EXTERNAL-SERVICES", "kubernetes externally-visible service portals", true},
    {true, "FORWARD", "KUBE-EXTERNAL-SERVICES", "kubernetes externally-visible service portals", true},
    {true, "INPUT", "KUBE-NODEPORTS", "kubernetes health check service ports", false},
    {true, "FORWARD", "KUBE-SERVICES", "kubernetes service portals", true},
    {true, "OUTPUT", "KUBE-SERVICES", "kubernetes service portals", true},
    {true, "FORWARD", "KUBE-FORWARD", "kubernetes forwarding rules", false},
    {true, "INPUT", "KUBE-PROXY-FIREWALL", "kubernetes load balancer firewall", true},
    {true, "OUTPUT", "KUBE-PROXY-FIREWALL", "kubernetes load balancer firewall", true},
    {true, "FORWARD", "KUBE-PROXY-FIREWALL", "kubernetes load balancer firewall", true},
    {false, "OUTPUT", "KUBE-SERVICES", "kubernetes service portals", false},
    {false, "PREROUTING", "KUBE-SERVICES", "kubernetes service portals", false},
    {false, "POSTROUTING", "KUBE-POSTROUTING", "kubernetes postrouting rules", false},
    {true, "INPUT", "KUBE-FIREWALL", "", false},
    {true, "OUTPUT", "KUBE-FIREWALL", "", false},
    {0},
};

static const char *const service_chains[] = {"KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-FW-", "KUBE-EXT-"};

bool ipt_is_service_chain(struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(service_chains); i++)
        if (str_starts(name, str_of(service_chains[i])))
            return true;
    return false;
}

struct str ipt_chain_name(struct arena *a, const char *prefix, struct str text)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint8_t sum[32];
    char code[17];
    sha256(text, sum);
    for (size_t i = 0; i < 16; i++) { /* five bits a letter, the highest first */
        size_t bit = i * 5;
        unsigned two = (unsigned)sum[bit / 8] << 8 | sum[bit / 8 + 1];
        code[i] = letters[two >> (11 - bit % 8) & 31];
    }
    code[16] = '\0';
    return arena_printf(a, "%s%s", prefix, code);
}

/* ---- items ---------------------------------------------------------------------------------------------- */

static void *grow(struct arena *a, void *list, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return list;
    void *bigger = arena_alloc(a, (*cap = MAX(*cap * 2, (size_t)8)) * size);
    if (n)
        memcpy(bigger, list, n * size);
    return bigger;
}

static void add_line(struct ipt_items *t, enum ipt_shared chain, struct str text)
{
    t->lines = grow(t->arena, t->lines, t->n_lines, &t->cap_lines, sizeof(*t->lines));
    t->lines[t->n_lines++] = (struct ipt_line){chain, text};
}

/* A port on its way into items. */
struct port {
    const struct node_side *node;
    const struct service_port *p;
    struct ipt_items *t;
    bool large;
    struct str svc, svl, ext, fw; /* chain names */
    struct str *sep;              /* of each endpoint */
    struct str name;              /* of the chain being written */
    struct buf rules;
    size_t n_rules;
};

static void begin_chain(struct port *p, struct str name)
{
    p->name = name;
    p->n_rules = 0;
    buf_clear(&p->rules);
}

static void finish_chain(struct port *p)
{
    struct ipt_items *t = p->t;
    t->chains = grow(t->arena, t->chains, t->n_chains, &t->cap_chains, sizeof(*t->chains));
    t->chains[t->n_chains++] = (struct ipt_chain){p->name, arena_str(t->arena, buf_str(&p->rules)), p->n_rules};
}

/* "-A CHAIN "; the caller writes the rest, with its end of line. */
static struct buf *rule(struct port *p)
{
    p->n_rules++;
    buf_printf(&p->rules, "-A " STR_FMT " ", STR_ARG(p->name));
    return &p->rules;
}

static const char *text_of(const struct port *p, const struct ip *ip)
{
    char text[IP_TEXT_MAX];
    return arena_cstr(p->t->arena, str_of(ip_format(ip, text)));
}

static struct str endpoint_text(const struct port *p, const struct endpoint *ep)
{
    return arena_printf(p->t->arena, p->node->six ? "[%s]:%u" : "%s:%u", text_of(p, &ep->ip), ep->port);
}

/* ---- chains --------------------------------------------------------------------------------------------- */

static void write_endpoint(struct port *p, size_t i)
{
    const struct endpoint *ep = &p->p->endpoints[i];
    struct str comment = p->large ? STR_NULL : arena_printf(p->t->arena, "-m comment --comment \"" STR_FMT "\" ", STR_ARG(p->p->name));
    begin_chain(p, p->sep[i]);
    buf_printf(rule(p), STR_FMT "-s %s -j KUBE-MARK-MASQ\n", STR_ARG(comment), text_of(p, &ep->ip));
    struct buf *b = rule(p);
    buf_putstr(b, comment);
    if (p->p->affinity_seconds)
        buf_printf(b, "-m recent --name " STR_FMT " --set ", STR_ARG(p->sep[i]));
    buf_printf(b, "-m %s -p %s -j DNAT --to-destination " STR_FMT "\n", p->p->proto, p->p->proto, STR_ARG(endpoint_text(p, ep)));
    finish_chain(p);
}

static void to_endpoint(struct port *p, size_t i, const char *match)
{
    struct buf *b = rule(p);
    if (!p->large)
        buf_printf(b, "-m comment --comment \"" STR_FMT " -> " STR_FMT "\" ", STR_ARG(p->p->name), STR_ARG(endpoint_text(p, &p->p->endpoints[i])));
    buf_printf(b, "%s-j " STR_FMT "\n", match, STR_ARG(p->sep[i]));
}

static void write_choices(struct port *p, bool local)
{
    size_t left = local ? p->p->n_local : p->p->n_cluster;
    char match[160];
    for (size_t i = 0; p->p->affinity_seconds && i < p->p->n_endpoints; i++)
        if (local ? p->p->endpoints[i].in_local : p->p->endpoints[i].in_cluster) {
            snprintf(match, sizeof(match), "-m recent --name " STR_FMT " --rcheck --seconds %u --reap ", STR_ARG(p->sep[i]), p->p->affinity_seconds);
            to_endpoint(p, i, match);
        }
    for (size_t i = 0; i < p->p->n_endpoints; i++)
        if (local ? p->p->endpoints[i].in_local : p->p->endpoints[i].in_cluster) {
            match[0] = '\0';
            if (left > 1)
                snprintf(match, sizeof(match), "-m statistic --mode random --probability %.10f ", 1.0 / (double)left);
            to_endpoint(p, i, match);
            left--;
        }
}

static struct str detect_args(const struct port *p, bool not_pods)
{
    const struct detect_local *d = &p->node->detect;
    char text[IP_TEXT_MAX];
    const char *no = not_pods ? "! " : "";
    switch (d->kind) {
    case DETECT_CIDR:
        return arena_printf(p->t->arena, "%s-s %s ", no, prefix_format(&d->prefix, text));
    case DETECT_INTERFACE:
        return arena_printf(p->t->arena, "%s-i %s ", no, d->interface);
    case DETECT_PREFIX:
        return arena_printf(p->t->arena, "%s-i %s+ ", no, d->interface);
    case DETECT_NONE:
        break;
    }
    return STR_NULL;
}

/* Whoever comes to a ClusterIP and is no Pod of ours may need his answers to come back through here. */
static void mark_outsiders(struct port *p)
{
    if (!p->node->masquerade_all && p->node->detect.kind == DETECT_NONE)
        return;
    struct str who = p->node->masquerade_all ? STR_NULL : detect_args(p, true);
    buf_printf(rule(p), "-m comment --comment \"" STR_FMT " cluster IP\" -m %s -p %s -d %s --dport %u " STR_FMT "-j KUBE-MARK-MASQ\n",
               STR_ARG(p->p->name), p->p->proto, p->p->proto, text_of(p, &p->p->cluster_ip), p->p->port, STR_ARG(who));
}

static void write_policy(struct port *p, bool local)
{
    if (local ? !p->p->use_local : !p->p->use_cluster)
        return;
    begin_chain(p, local ? p->svl : p->svc);
    if (p->p->inside && p->p->internal_local == local && !p->p->cluster_ip_skipped)
        mark_outsiders(p);
    write_choices(p, local);
    finish_chain(p);
}

static void write_external(struct port *p)
{
    const struct service_port *s = p->p;
    begin_chain(p, p->ext);
    if (!s->external_local) {
        buf_printf(rule(p), "-m comment --comment \"masquerade traffic for " STR_FMT " external destinations\" -j KUBE-MARK-MASQ\n", STR_ARG(s->name));
    } else if (s->use_cluster) {
        if (p->node->detect.kind != DETECT_NONE)
            buf_printf(rule(p), "-m comment --comment \"pod traffic for " STR_FMT " external destinations\" " STR_FMT "-j " STR_FMT "\n",
                       STR_ARG(s->name), STR_ARG(detect_args(p, false)), STR_ARG(p->svc));
        buf_printf(rule(p), "-m comment --comment \"masquerade LOCAL traffic for " STR_FMT " external destinations\" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ\n",
                   STR_ARG(s->name));
        buf_printf(rule(p), "-m comment --comment \"route LOCAL traffic for " STR_FMT " external destinations\" -m addrtype --src-type LOCAL -j " STR_FMT "\n",
                   STR_ARG(s->name), STR_ARG(p->svc));
    }
    if (s->outside)
        buf_printf(rule(p), "-j " STR_FMT "\n", STR_ARG(s->external_local ? p->svl : p->svc));
    finish_chain(p);
}

static void write_firewall(struct port *p)
{
    const struct service_port *s = p->p;
    char text[IP_TEXT_MAX];
    begin_chain(p, p->fw);
    for (size_t i = 0; i < s->sources.n; i++)
        buf_printf(rule(p), "-m comment --comment \"" STR_FMT " loadbalancer IP\" -s %s -j " STR_FMT "\n", STR_ARG(s->name),
                   prefix_format(&s->sources.list[i], text), STR_ARG(p->ext));
    /* The balancer's address is often on the node, too: what the node sends to it comes from that very address. */
    for (size_t i = 0; s->from_node && i < s->balancers.n; i++)
        buf_printf(rule(p), "-m comment --comment \"" STR_FMT " loadbalancer IP\" -s %s -j " STR_FMT "\n", STR_ARG(s->name),
                   text_of(p, &s->balancers.list[i]), STR_ARG(p->ext));
    buf_printf(rule(p), "-m comment --comment \"other traffic to " STR_FMT " will be dropped by KUBE-PROXY-FIREWALL\"\n", STR_ARG(s->name));
    finish_chain(p);
}

/* ---- lines in shared chains ----------------------------------------------------------------------------- */

static void address_line(struct port *p, enum ipt_shared chain, const struct ip *ip, const char *comment, const char *target)
{
    add_line(p->t, chain,
             arena_printf(p->t->arena, "-m comment --comment \"%s\" -m %s -p %s -d %s --dport %u -j %s\n", comment, p->p->proto,
                          p->p->proto, text_of(p, ip), p->p->port, target));
}

static const char *comment_of(const struct port *p, const char *what)
{
    return arena_printf(p->t->arena, STR_FMT " %s", STR_ARG(p->p->name), what).p;
}

/* No endpoint anywhere is said at once; none for this kind of traffic is passed over in silence. */
static const char *refusal(const struct port *p)
{
    return comment_of(p, p->p->any ? "has no local endpoints" : "has no endpoints");
}

static const char *refusal_target(const struct port *p)
{
    return p->p->any ? "DROP" : "REJECT";
}

static void outside_lines(struct port *p, const struct ips *ips, const char *what, bool wall)
{
    const struct service_port *s = p->p;
    for (size_t i = 0; i < ips->n; i++) {
        if (s->any)
            address_line(p, NAT_EXTERNAL, &ips->list[i], comment_of(p, what), wall ? p->fw.p : p->ext.p);
        if (wall)
            address_line(p, FILTER_FIREWALL, &ips->list[i],
                         arena_printf(p->t->arena, STR_FMT " traffic not accepted by " STR_FMT, STR_ARG(s->name), STR_ARG(p->fw)).p, "DROP");
        if (!s->outside)
            address_line(p, FILTER_EXTERNAL, &ips->list[i], refusal(p), refusal_target(p));
    }
}

static void nodeport_lines(struct port *p)
{
    const struct service_port *s = p->p;
    if (s->node_port && s->any)
        add_line(p->t, NAT_NODEPORTS,
                 arena_printf(p->t->arena, "-m comment --comment \"" STR_FMT "\" -m %s -p %s --dport %u -j " STR_FMT "\n", STR_ARG(s->name),
                              s->proto, s->proto, s->node_port, STR_ARG(p->ext)));
    if (s->node_port && !s->outside)
        add_line(p->t, FILTER_EXTERNAL,
                 arena_printf(p->t->arena, "-m comment --comment \"%s\" -m addrtype --dst-type LOCAL -m %s -p %s --dport %u -j %s\n",
                              refusal(p), s->proto, s->proto, s->node_port, refusal_target(p)));
    if (s->health_port)
        add_line(p->t, FILTER_NODEPORTS,
                 arena_printf(p->t->arena, "-m comment --comment \"%s\" -m tcp -p tcp --dport %u -j ACCEPT\n",
                              comment_of(p, "health check node port"), s->health_port));
}

static void lines_of(struct port *p)
{
    const struct service_port *s = p->p;
    if (!s->cluster_ip_skipped) {
        if (s->inside)
            address_line(p, NAT_SERVICES, &s->cluster_ip, comment_of(p, "cluster IP"), s->internal_local ? p->svl.p : p->svc.p);
        else
            address_line(p, FILTER_SERVICES, &s->cluster_ip, refusal(p), refusal_target(p));
    }
    outside_lines(p, &s->external, "external IP", false);
    outside_lines(p, &s->balancers, "loadbalancer IP", s->firewall && s->any);
    nodeport_lines(p);
}

/* ---- a port --------------------------------------------------------------------------------------------- */

static void name_chains(struct port *p)
{
    struct arena *a = p->t->arena;
    struct str id = arena_printf(a, STR_FMT "%s", STR_ARG(p->p->name), p->p->proto);
    p->svc = ipt_chain_name(a, "KUBE-SVC-", id);
    p->svl = ipt_chain_name(a, "KUBE-SVL-", id);
    p->ext = ipt_chain_name(a, "KUBE-EXT-", id);
    p->fw = ipt_chain_name(a, "KUBE-FW-", id);
    p->sep = ARENA_ARRAY(a, struct str, p->p->n_endpoints);
    for (size_t i = 0; i < p->p->n_endpoints; i++)
        p->sep[i] = ipt_chain_name(a, "KUBE-SEP-", arena_printf(a, STR_FMT STR_FMT, STR_ARG(id), STR_ARG(endpoint_text(p, &p->p->endpoints[i]))));
}

static void items_of_port(struct port *p)
{
    const struct service_port *s = p->p;
    name_chains(p);
    for (size_t i = 0; i < s->n_endpoints; i++)
        if (s->endpoints[i].in_cluster || s->endpoints[i].in_local)
            write_endpoint(p, i);
    write_policy(p, false);
    write_policy(p, true);
    if (s->any && s->accessible)
        write_external(p);
    if (s->any && s->firewall)
        write_firewall(p);
    lines_of(p);
}

void ipt_items_of(const struct node_side *node, const struct service_ports *ports, bool large, struct ipt_items *ret)
{
    for (size_t i = 0; i < ports->n; i++) {
        struct port p = {.node = node, .p = &ports->list[i], .t = ret, .large = large};
        items_of_port(&p);
        buf_done(&p.rules);
    }
}

/* ---- what is always there ------------------------------------------------------------------------------- */

static size_t filter_rules(const struct node_side *node, struct buf *b)
{
    size_t n = 2;
    if (node->localhost_nodeports) /* what route_localnet would let in (CVE-2020-8558) */
        buf_puts(b, "-A KUBE-FIREWALL -m comment --comment \"block incoming localnet connections\" -d 127.0.0.0/8 ! -s 127.0.0.0/8 "
                    "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP\n");
    if (!node->tcp_liberal) { /* packets out of window would go out untranslated and reset the connection */
        buf_puts(b, "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\n");
        n++;
    }
    buf_printf(b, "-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding rules\" -m mark --mark %#08x/%#08x -j ACCEPT\n", node->mark, node->mark);
    buf_puts(b, "-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n");
    return n;
}

size_t ipt_base_rules(const struct node_side *node, bool filter, struct buf *b)
{
    if (filter)
        return filter_rules(node, b);
    buf_printf(b, "-A KUBE-POSTROUTING -m mark ! --mark %#08x/%#08x -j RETURN\n", node->mark, node->mark);
    buf_printf(b, "-A KUBE-POSTROUTING -j MARK --xor-mark %#08x\n", node->mark);
    buf_puts(b, "-A KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully\n");
    buf_printf(b, "-A KUBE-MARK-MASQ -j MARK --or-mark %#08x\n", node->mark);
    return 4;
}

size_t ipt_nodeport_jumps(const struct node_side *node, struct buf *b)
{
    buf_puts(b, "-A KUBE-SERVICES -m comment --comment \"kubernetes externally-visible service portals\" -j KUBE-EXTERNAL-SERVICES\n");
    static const char head[] = "-A KUBE-SERVICES -m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in this chain\" ";
    if (node->nodeports_all) {
        buf_printf(b, "%s-m addrtype --dst-type LOCAL %s-j KUBE-NODEPORTS\n", head,
                   node->six ? "! -d ::1/128 " : node->localhost_nodeports ? "" : "! -d 127.0.0.0/8 ");
        return 2;
    }
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct ips ips = model_nodeport_ips(node, node->localhost_nodeports, &a);
    char text[IP_TEXT_MAX];
    for (size_t i = 0; i < ips.n; i++)
        buf_printf(b, "%s-d %s -j KUBE-NODEPORTS\n", head, ip_format(&ips.list[i], text));
    return 1 + ips.n;
}
