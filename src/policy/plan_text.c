/* SPDX-License-Identifier: Apache-2.0 */
/* Sets and chains: what is wanted, what the kernel was told, and the text of the difference. */
#include "policy/plan-internal.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- sets --------------------------------------------------------------------------------------------- */

void kset_init(struct kset *s, const char *type, bool is_map, const char *fmt, ...)
{
    va_list ap;
    *s = (struct kset){.type = type, .is_map = is_map};
    va_start(ap, fmt);
    vsnprintf(s->name, sizeof(s->name), fmt, ap);
    va_end(ap);
}

static void elem_free(void *arg)
{
    struct elem *e = arg;
    free((char *)e->key.p);
    free(e);
}

void kset_drop(struct plan *p, struct kset *s)
{
    if (s->held)
        buf_printf(&p->dead_sets, "%s\n", s->name);
    p->dirty = true;
    map_done_with(&s->elems, elem_free);
    free(s->dirty);
    s->dirty = NULL;
    s->n_dirty = s->cap_dirty = 0;
}

static void mark(struct plan *p, struct elem *e)
{
    struct kset *s = e->set;
    p->dirty = true;
    if (e->dirty)
        return;
    if (s->n_dirty == s->cap_dirty)
        s->dirty = xrealloc(s->dirty, (s->cap_dirty = MAX(s->cap_dirty * 2, (size_t)4)) * sizeof(*s->dirty));
    s->dirty[s->n_dirty++] = e;
    e->dirty = true;
}

struct elem *kset_want(struct plan *p, struct kset *s, struct str key, unsigned to)
{
    struct elem *e = map_get(&s->elems, key);
    if (!e) {
        e = NEW(struct elem);
        e->set = s;
        map_put(&s->elems, key, e);
        e->key = str_of(str_dup(key));
    }
    e->wanted = true;
    e->to = to;
    mark(p, e);
    return e;
}

void elem_unwant(struct plan *p, struct elem *e)
{
    e->wanted = false;
    mark(p, e);
}

static void put_elem(struct buf *b, const struct elem *e, bool first, bool adding)
{
    buf_printf(b, "%s" STR_FMT, first ? " { " : ", ", STR_ARG(e->key));
    if (e->set->is_map && adding)
        buf_printf(b, " : goto s%u", e->to);
}

/* One command for all that goes (adding false) or comes. */
static void put_elems(const struct kset *s, const char *table, bool adding, struct buf *b)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_dirty; i++) {
        const struct elem *e = s->dirty[i];
        bool same = e->held && e->wanted && e->held_to == e->to;
        if (same || !(adding ? e->wanted : e->held))
            continue;
        if (!n)
            buf_printf(b, "%s element inet %s %s", adding ? "add" : "delete", table, s->name);
        put_elem(b, e, n++ == 0, adding);
    }
    if (n)
        buf_puts(b, " }\n");
}

static void settle(struct kset *s)
{
    for (size_t i = 0; i < s->n_dirty; i++) {
        struct elem *e = s->dirty[i];
        e->dirty = false;
        e->held = e->wanted;
        e->held_to = e->wanted ? e->to : 0;
        if (!e->wanted) {
            map_del(&s->elems, e->key);
            elem_free(e);
        }
    }
    s->n_dirty = 0;
}

/* ---- chains ------------------------------------------------------------------------------------------- */

void chain_set(struct plan *p, struct chain *c, struct buf *body)
{
    char *text = str_dup(buf_str(body));
    buf_done(body);
    if (c->body && !strcmp(c->body, text)) {
        free(text);
        return;
    }
    free(c->body);
    c->body = text;
    c->dirty = p->dirty = true;
}

void chain_drop(struct plan *p, struct chain *c)
{
    if (c->held)
        buf_printf(&p->dead_chains, "%s\n", c->name);
    p->dirty = true;
    free(c->body);
    *c = (struct chain){0};
}

static void put_rules(const struct chain *c, const char *table, struct buf *b)
{
    struct str rest = str_of(c->body), line;
    if (c->held)
        buf_printf(b, "flush chain inet %s %s\n", table, c->name);
    while (str_next(&rest, '\n', &line))
        if (line.n)
            buf_printf(b, "add rule inet %s %s " STR_FMT "\n", table, c->name, STR_ARG(line));
}

/* ---- all of them -------------------------------------------------------------------------------------- */

typedef void set_fn(struct kset *s, void *arg);
typedef void chain_fn(struct chain *c, void *arg);

static void each_set(const struct plan *plan, set_fn *fn, void *arg)
{
    struct plan *p = (struct plan *)plan;
    for (enum family f = 0; f < FAMILIES; f++) {
        struct kset *fixed[] = {&p->known[f], &p->self[f], &p->maps[INGRESS][f], &p->maps[EGRESS][f]};
        for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
            fn(fixed[i], arg);
        MAP_EACH(&p->members, e)
        {
            fn(&((struct members *)e->value)->sets[f], arg);
        }
    }
}

static void each_chain(const struct plan *plan, chain_fn *fn, void *arg)
{
    struct plan *p = (struct plan *)plan;
    fn(&p->guard, arg);
    MAP_EACH(&p->spaces, s)
    {
        MAP_EACH(&((struct space *)s->value)->policies, e)
        {
            struct policy *policy = e->value;
            for (enum direction d = 0; d < DIRECTIONS; d++)
                if (policy->chains[d].name[0])
                    fn(&policy->chains[d], arg);
        }
    }
    MAP_EACH(&p->stacks, e)
    {
        fn(&((struct stack *)e->value)->chain, arg);
    }
}

struct text {
    const char *table;
    struct buf *b;
};

static void new_set(struct kset *s, void *arg)
{
    struct text *t = arg;
    if (!s->held)
        buf_printf(t->b, "add %s inet %s %s { type %s%s; }\n", s->is_map ? "map" : "set", t->table, s->name, s->type,
                   s->is_map ? " : verdict" : "");
    s->held = true;
}

static void new_chain(struct chain *c, void *arg)
{
    struct text *t = arg;
    if (!c->held)
        buf_printf(t->b, "add chain inet %s %s\n", t->table, c->name);
}

static void new_rules(struct chain *c, void *arg)
{
    struct text *t = arg;
    if (!c->held || c->dirty)
        put_rules(c, t->table, t->b);
    c->held = true;
    c->dirty = false;
}

static void old_elems(struct kset *s, void *arg)
{
    struct text *t = arg;
    put_elems(s, t->table, false, t->b);
}

static void new_elems(struct kset *s, void *arg)
{
    struct text *t = arg;
    put_elems(s, t->table, true, t->b);
    settle(s);
}

static void put_dead(const struct text *t, struct buf *names, const char *what)
{
    struct str rest = buf_str(names), name;
    while (rest.n && str_next(&rest, '\n', &name))
        if (name.n)
            buf_printf(t->b, "%s inet %s " STR_FMT "\n", what, t->table, STR_ARG(name));
}

/*
 * After the translation of Services (their pods' own addresses are what policies are about) and before masquerading:
 * the forward hook. Traffic within the node's bridge comes by here since bridge-nf-call-iptables is on; the bridge family
 * has no connection tracking in many kernels. What the node itself sends to its pods, and takes from them, does not come
 * by: it is always permitted (NetworkPolicy's concept page, kubelet's probes).
 * Neighbour discovery is the ground that IPv6 stands on, and link-local addresses are nobody's in particular.
 */
static void base_text(const char *table, struct buf *b)
{
    buf_printf(b,
               "table inet %s {\n"
               "comment \"network policies of cube\"\n"
               "set known-4 { type ipv4_addr; }\nset known-6 { type ipv6_addr; }\n"
               "set self-4 { type ipv4_addr . ipv4_addr; }\nset self-6 { type ipv6_addr . ipv6_addr; }\n"
               "map in-4 { type ipv4_addr : verdict; }\nmap in-6 { type ipv6_addr : verdict; }\n"
               "map out-4 { type ipv4_addr : verdict; }\nmap out-6 { type ipv6_addr : verdict; }\n"
               "chain guard { }\n"
               "chain taking {\nip daddr vmap @in-4\nip6 daddr vmap @in-6\naccept\n}\n"
               "chain forward {\ntype filter hook forward priority filter; policy accept;\n"
               "ct state established,related accept\n"
               "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n"
               "ip6 saddr fe80::/10 drop\nip6 daddr fe80::/10 drop\n"
               "jump guard\n"
               "ip saddr . ip daddr @self-4 accept\nip6 saddr . ip6 daddr @self-6 accept\n"
               "ip saddr vmap @out-4\nip6 saddr vmap @out-6\n"
               "goto taking\n}\n}\n",
               table);
}

void plan_remove_text(const char *table, struct buf *b)
{
    buf_printf(b, "add table inet %s\ndelete table inet %s\n", table, table); /* removing what is not there is an error */
}

static void held_set(struct kset *s, void *arg UNUSED)
{
    s->held = true;
}

static void start_whole(struct plan *p, const char *table, struct buf *b)
{
    plan_remove_text(table, b);
    base_text(table, b);
    for (enum family f = 0; f < FAMILIES; f++) {
        held_set(&p->known[f], NULL);
        held_set(&p->self[f], NULL);
        held_set(&p->maps[INGRESS][f], NULL);
        held_set(&p->maps[EGRESS][f], NULL);
    }
    p->guard.held = true;
    p->guard.dirty = true;
    p->held = true;
}

void plan_text(struct plan *p, const char *table, struct buf *b)
{
    struct text t = {table, b};
    if (p->held && !p->dirty)
        return;
    if (!p->held)
        start_whole(p, table, b);
    each_set(p, new_set, &t);
    each_chain(p, new_chain, &t); /* all before any rule: rules lead to others */
    each_chain(p, new_rules, &t);
    each_set(p, old_elems, &t); /* who changes hands goes first */
    each_set(p, new_elems, &t);
    put_dead(&t, &p->dead_chains, "flush chain");
    put_dead(&t, &p->dead_chains, "delete chain");
    put_dead(&t, &p->dead_sets, "delete set");
    buf_clear(&p->dead_chains);
    buf_clear(&p->dead_sets);
    p->dirty = false;
}

static void forget_set(struct kset *s, void *arg)
{
    s->held = false;
    MAP_EACH(&s->elems, entry)
    {
        struct elem *e = entry->value;
        e->held = false;
        e->held_to = 0;
        mark(arg, e);
    }
}

static void forget_chain(struct chain *c, void *arg UNUSED)
{
    c->held = false;
}

void plan_forget(struct plan *p)
{
    each_set(p, forget_set, p);
    each_chain(p, forget_chain, p);
    buf_clear(&p->dead_chains);
    buf_clear(&p->dead_sets);
    p->held = false;
    p->dirty = true;
}
