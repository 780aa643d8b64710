/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/spec.h"

#include "type/meta.h"


/* ---- ranges of addresses ------------------------------------------------------------------------------ */

int block_parse(struct str text, struct prefix *ret)
{
    struct prefix p;
    bool good = str_find(text, '/') >= 0 ? prefix_parse(text, &p) : ip_parse(text, &p.ip);
    if (!good)
        return -EINVAL;
    if (str_find(text, '/') < 0)
        p.bits = (uint8_t)ip_bits(&p.ip);
    *ret = p;
    return 0;
}

const char *block_text(const struct prefix *b, char ret[static IP_TEXT_MAX])
{
    return b->bits == ip_bits(&b->ip) ? ip_format(&b->ip, ret) : prefix_format(b, ret);
}

/* ---- peers -------------------------------------------------------------------------------------------- */

struct reading {
    struct arena *a;
    struct str ns;
    struct err *e;
    int r; /* the first mistake */
};

static void mistake(struct reading *rd, const char *what, struct str text)
{
    if (rd->r == 0)
        rd->r = err_set(rd->e, -EINVAL, "%s \"" STR_FMT "\" cannot be understood and lets nothing through", what,
                        STR_ARG(text));
}

static bool read_selector(struct reading *rd, const struct val *v, struct selector *ret)
{
    struct err e = {0};
    if (selector_from_val(rd->a, v, ret, &e) == 0)
        return true;
    mistake(rd, "a selector:", str_of(e.text));
    return false;
}

static bool read_pods(struct reading *rd, const struct val *v, struct peer *ret)
{
    const struct val *pods = val_get(v, N_podSelector), *namespaces = val_get(v, N_namespaceSelector);
    struct selection *s = &ret->pods;
    if (namespaces && !read_selector(rd, namespaces, &s->namespaces))
        return false;
    if (pods && !read_selector(rd, pods, &s->pods))
        return false;
    struct str labels = selector_print(rd->a, &s->pods);
    if (!namespaces)
        s->ns = arena_str(rd->a, rd->ns);
    s->id = namespaces ? arena_printf(rd->a, "[" STR_FMT "]" STR_FMT, STR_ARG(selector_print(rd->a, &s->namespaces)),
                                      STR_ARG(labels))
                       : arena_printf(rd->a, STR_FMT "/" STR_FMT, STR_ARG(rd->ns), STR_ARG(labels));
    ret->kind = PEER_PODS;
    return true;
}

/* The kernel takes no ranges within ranges: who is within another adds nothing. */
static size_t drop_nested(struct prefix *list, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        bool nested = false;
        for (size_t k = 0; k < n && !nested; k++)
            nested = k != i && prefix_contains(&list[k], &list[i]) && (list[i].bits > list[k].bits || k < i);
        if (!nested)
            list[kept++] = list[i];
    }
    return kept;
}

/* An exception that we do not understand must not let through what it was to keep out. */
static bool read_block(struct reading *rd, const struct val *v, struct peer *ret)
{
    const struct val *except = val_get(v, N_except);
    ret->kind = PEER_BLOCK;
    if (block_parse(val_getstr(v, N_cidr), &ret->block) < 0) {
        mistake(rd, "the range", val_getstr(v, N_cidr));
        return false;
    }
    ret->except = ARENA_ARRAY(rd->a, struct prefix, val_len(except) + 1);
    VAL_EACH(except, it)
    {
        if (block_parse(val_str(it), &ret->except[ret->n_except]) < 0) {
            mistake(rd, "the exception", val_str(it));
            return false;
        }
        if (prefix_contains(&ret->except[ret->n_except], &ret->block))
            return false; /* nothing is left */
        if (prefix_contains(&ret->block, &ret->except[ret->n_except]))
            ret->n_except++;
    }
    ret->n_except = drop_nested(ret->except, ret->n_except);
    return true;
}

/* False when there were peers and none of them can be used: then the rule lets nobody through. */
static bool read_peers(struct reading *rd, const struct val *list, struct policy_rule *ret)
{
    ret->peers = ARENA_ARRAY(rd->a, struct peer, val_len(list) + 1);
    VAL_EACH(list, it)
    {
        const struct val *block = val_get(it, N_ipBlock);
        struct peer p = {0};
        if (block ? read_block(rd, block, &p) : read_pods(rd, it, &p))
            ret->peers[ret->n_peers++] = p;
    }
    return ret->n_peers || !val_len(list);
}

/* ---- ports -------------------------------------------------------------------------------------------- */

static struct ports *ports_of(struct reading *rd, struct policy_rule *rule, struct str protocol, size_t most)
{
    static const struct {
        const char *name, *nft;
    } known[PROTOCOLS] = {{"TCP", "tcp"}, {"UDP", "udp"}, {"SCTP", "sctp"}};
    const char *nft = protocol.n ? NULL : "tcp";
    for (size_t i = 0; i < PROTOCOLS; i++)
        if (str_is(protocol, known[i].name))
            nft = known[i].nft;
    for (size_t i = 0; nft && i < rule->n_ports; i++)
        if (rule->ports[i].protocol == nft || !strcmp(rule->ports[i].protocol, nft))
            return &rule->ports[i];
    if (!nft) {
        mistake(rd, "the protocol", protocol);
        return NULL;
    }
    struct ports *p = &rule->ports[rule->n_ports++];
    *p = (struct ports){.protocol = nft,
                        .ranges = ARENA_ARRAY(rd->a, struct port_range, most),
                        .names = ARENA_ARRAY(rd->a, struct str, most)};
    return p;
}

static void read_port(struct reading *rd, const struct val *v, struct ports *ret)
{
    const struct val *port = val_get(v, N_port);
    int64_t first = val_int(port, 0), last = val_int(val_get(v, N_endPort), first);
    if (!port)
        ret->all = true;
    else if (val_is(port, VAL_STR) && val_str(port).n)
        ret->names[ret->n_names++] = arena_str(rd->a, val_str(port));
    else if (first > 0 && last >= first && last <= 65535)
        ret->ranges[ret->n_ranges++] = (struct port_range){(uint16_t)first, (uint16_t)last};
    else
        mistake(rd, "the port", arena_printf(rd->a, "%lld-%lld", (long long)first, (long long)last));
}

static int compare_ranges(const void *a, const void *b)
{
    const struct port_range *x = a, *y = b;
    return x->first != y->first ? x->first - y->first : x->last - y->last;
}

static void join_ranges(struct ports *p)
{
    size_t kept = 0;
    qsort(p->ranges, p->n_ranges, sizeof(*p->ranges), compare_ranges);
    for (size_t i = 0; i < p->n_ranges; i++)
        if (kept && p->ranges[i].first <= p->ranges[kept - 1].last + 1)
            p->ranges[kept - 1].last = MAX(p->ranges[kept - 1].last, p->ranges[i].last);
        else
            p->ranges[kept++] = p->ranges[i];
    p->n_ranges = kept;
}

static bool read_ports(struct reading *rd, const struct val *list, struct policy_rule *ret)
{
    size_t kept = 0;
    VAL_EACH(list, it)
    {
        struct ports *p = ports_of(rd, ret, val_getstr(it, N_protocol), val_len(list));
        if (p)
            read_port(rd, it, p);
    }
    for (size_t i = 0; i < ret->n_ports; i++) {
        struct ports *p = &ret->ports[i];
        join_ranges(p);
        if (p->all || p->n_ranges || p->n_names)
            ret->ports[kept++] = *p;
    }
    ret->n_ports = kept;
    return kept || !val_len(list);
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

static void read_rules(struct reading *rd, const struct val *list, name_id peers, struct policy_spec *ret,
                       enum direction d)
{
    ret->to[d].rules = ARENA_ARRAY(rd->a, struct policy_rule, val_len(list) + 1);
    VAL_EACH(list, it)
    {
        struct policy_rule rule = {0};
        if (read_peers(rd, val_get(it, peers), &rule) & read_ports(rd, val_get(it, N_ports), &rule))
            ret->to[d].rules[ret->to[d].n++] = rule;
    }
}

static bool has_type(const struct val *spec, const char *type)
{
    VAL_EACH(val_get(spec, N_policyTypes), it)
    {
        if (str_is(val_str(it), type))
            return true;
    }
    return false;
}

/* API conventions of NetworkPolicySpec.policyTypes: without any, Ingress always, Egress when there are rules of it. */
static void read_types(const struct val *spec, struct policy_spec *ret)
{
    bool told = val_len(val_get(spec, N_policyTypes)) > 0;
    ret->to[INGRESS].applies = !told || has_type(spec, "Ingress");
    ret->to[EGRESS].applies = told ? has_type(spec, "Egress") : val_len(val_get(spec, N_egress)) > 0;
}

int policy_spec_of(struct arena *a, const struct val *policy, struct policy_spec *ret, struct err *e)
{
    const struct val *spec = val_get(policy, N_spec);
    struct reading rd = {.a = a, .ns = obj_namespace(policy), .e = e};
    struct policy_spec s = {.ns = arena_str(a, rd.ns)};
    const struct val *pods = val_get(spec, N_podSelector);
    if (pods && !read_selector(&rd, pods, &s.pods)) /* absent: all. Not understood: all, too, to be safe */
        s.pods = (struct selector){0};
    read_types(spec, &s);
    if (s.to[INGRESS].applies)
        read_rules(&rd, val_get(spec, N_ingress), N_from, &s, INGRESS);
    if (s.to[EGRESS].applies)
        read_rules(&rd, val_get(spec, N_egress), N_to, &s, EGRESS);
    *ret = s;
    return rd.r;
}
