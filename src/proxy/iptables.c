/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iptables mode. A full write names every chain of ours and so replaces it; a change writes the Service's own chains and
 * deletes and inserts its lines in the shared ones, so that its text does not grow with the number of Services.
 */
#include "proxy/iptables.h"

#include "base/os.h"
#include "proxy/backend.h"
#include "proxy/ipt_rules.h"
#include "proxy/program.h"

enum { RUN_SECONDS = 60, LARGE = 1000 /* endpoints in all: beyond, rules of one have no comments */, COUNT_MAX = 20000 /* rules: beyond, saving them all takes too long to do it regularly */ };

/* ---- the programs --------------------------------------------------------------------------------------- */

int iptables_restore(bool six, struct str text, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *argv[] = {six ? "ip6tables-restore" : "iptables-restore", "-w", "5", "--noflush", NULL};
    return program_run(&a, argv, text, NULL, e);
}

int iptables_save(bool six, const char *table, struct arena *a, struct str *ret, struct err *e)
{
    const char *argv[] = {six ? "ip6tables-save" : "iptables-save", "-t", table, NULL};
    return program_run(a, argv, STR_NULL, ret, e);
}

bool iptables_has_chain(bool six, const char *table, const char *chain)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *argv[] = {six ? "ip6tables" : "iptables", "-w", "5", "-t", table, "-S", chain, "1", NULL};
    struct str ignored;
    return os_run(&a, argv, &ignored, &ignored, mono_add(os_mono(), SECONDS(RUN_SECONDS))) == 0;
}

static bool is_among(struct str name, const char *const *names)
{
    for (; *names; names++)
        if (str_is(name, *names))
            return true;
    return false;
}

size_t iptables_count(struct str saved, const char *const *chains)
{
    size_t n = 0;
    struct str line, name, rest;
    while (str_next(&saved, '\n', &line))
        n += str_starts(line, STR("-A KUBE-")) && str_cut(str_from(line, 3), ' ', &name, &rest) &&
             (ipt_is_service_chain(name) || is_among(name, chains));
    return n;
}

struct str iptables_marker(struct arena *a, const char *proxy, const char *mode)
{
    return ipt_chain_name(a, "CUBE-PROXY-", arena_printf(a, "%s/%s", proxy, mode));
}

bool iptables_was_here(const char *proxy, const char *mode)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    return iptables_has_chain(false, "nat", iptables_marker(&a, proxy, mode).p);
}

/* ---- what was written ----------------------------------------------------------------------------------- */

/* What one Service has: its chains, each with a hash of its rules, and its lines. One text, so that 10,000 are cheap. */
struct kept {
    struct buf chains; /* struct kept_chain, name ... */
    struct buf lines;  /* enum ipt_shared as a byte, length, text ... */
};
struct kept_chain {
    uint64_t hash;
    uint32_t rules;
    uint32_t name_len;
};
struct kept_line {
    uint32_t chain, len;
};

struct iptables {
    struct backend base;
    const char *proxy;
    struct map services;          /* "ns/name" -> struct kept * */
    struct buf make, rules, drop; /* of nat: chain lines, rules, "-X" */
    struct buf add[2], del[2];    /* lines in shared chains of nat and filter */
    bool full, large;
    size_t n_rules[2], base_rules[2], written[2]; /* nat, filter */
    size_t changes;
    uint64_t failures, partial_failures;
};

static void kept_free(void *p)
{
    struct kept *k = p;
    buf_done(&k->chains);
    buf_done(&k->lines);
    free(k);
}

static void clear_text(struct iptables *t)
{
    struct buf *all[] = {&t->make, &t->rules, &t->drop, &t->add[0], &t->add[1], &t->del[0], &t->del[1]};
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        buf_done(all[i]);
}

static void iptables_begin(struct backend *b, bool full)
{
    struct iptables *t = (struct iptables *)b;
    clear_text(t);
    t->full = full;
    t->changes = 0;
    t->written[0] = t->written[1] = 0;
    if (!full)
        return;
    map_done_with(&t->services, kept_free);
    t->large = b->endpoints > LARGE;
    t->n_rules[0] = t->n_rules[1] = 0;
}

static bool next_chain(struct str *rest, struct kept_chain *ret, struct str *ret_name)
{
    if (rest->n < sizeof(*ret))
        return false;
    memcpy(ret, rest->p, sizeof(*ret));
    *ret_name = str_slice(*rest, sizeof(*ret), ret->name_len);
    *rest = str_from(*rest, sizeof(*ret) + ret->name_len);
    return true;
}

static bool next_line(struct str *rest, struct kept_line *ret, struct str *ret_text)
{
    if (rest->n < sizeof(*ret))
        return false;
    memcpy(ret, rest->p, sizeof(*ret));
    *ret_text = str_slice(*rest, sizeof(*ret), ret->len);
    *rest = str_from(*rest, sizeof(*ret) + ret->len);
    return true;
}

static void remember(struct kept *k, const struct ipt_items *want)
{
    for (size_t i = 0; i < want->n_chains; i++) {
        const struct ipt_chain *c = &want->chains[i];
        struct kept_chain head = {str_hash(c->rules), (uint32_t)c->n, (uint32_t)c->name.n};
        buf_put(&k->chains, &head, sizeof(head));
        buf_putstr(&k->chains, c->name);
    }
    for (size_t i = 0; i < want->n_lines; i++) {
        struct kept_line head = {want->lines[i].chain, (uint32_t)want->lines[i].text.n};
        buf_put(&k->lines, &head, sizeof(head));
        buf_putstr(&k->lines, want->lines[i].text);
    }
}

/* ---- the difference ------------------------------------------------------------------------------------- */

static bool has_chain(const struct kept *k, struct str name, struct kept_chain *ret)
{
    struct str rest = k ? buf_str(&k->chains) : STR_NULL, at;
    while (next_chain(&rest, ret, &at))
        if (str_eq(at, name))
            return true;
    return false;
}

static bool has_line(const struct kept *k, enum ipt_shared chain, struct str text)
{
    struct str rest = k ? buf_str(&k->lines) : STR_NULL, at;
    struct kept_line l;
    while (next_line(&rest, &l, &at))
        if (l.chain == chain && str_eq(at, text))
            return true;
    return false;
}

static bool wants_chain(const struct ipt_items *want, struct str name)
{
    for (size_t i = 0; i < want->n_chains; i++)
        if (str_eq(want->chains[i].name, name))
            return true;
    return false;
}

static bool wants_line(const struct ipt_items *want, enum ipt_shared chain, struct str text)
{
    for (size_t i = 0; i < want->n_lines; i++)
        if (want->lines[i].chain == chain && str_eq(want->lines[i].text, text))
            return true;
    return false;
}

static void write_wanted(struct iptables *t, const struct kept *had, const struct ipt_items *want)
{
    for (size_t i = 0; i < want->n_chains; i++) {
        const struct ipt_chain *c = &want->chains[i];
        struct kept_chain was;
        bool there = has_chain(had, c->name, &was);
        if (there && was.hash == str_hash(c->rules) && was.rules == c->n)
            continue;
        buf_printf(&t->make, ":" STR_FMT " - [0:0]\n", STR_ARG(c->name));
        buf_putstr(&t->rules, c->rules);
        t->n_rules[0] += c->n - (there ? was.rules : 0);
        t->written[0] += c->n;
        t->changes++;
    }
    for (size_t i = 0; i < want->n_lines; i++) {
        const struct ipt_line *l = &want->lines[i];
        const struct ipt_shared_chain *s = &ipt_shared_chains[l->chain];
        if (has_line(had, l->chain, l->text))
            continue;
        /* At the head: nat's KUBE-SERVICES must end with the jump to KUBE-NODEPORTS. */
        buf_printf(&t->add[s->filter], "%s %s " STR_FMT, t->full ? "-A" : "-I", s->name, STR_ARG(l->text));
        t->n_rules[s->filter]++;
        t->written[s->filter]++;
        t->changes++;
    }
}

static void drop_unwanted(struct iptables *t, const struct kept *had, const struct ipt_items *want)
{
    struct str rest = had ? buf_str(&had->chains) : STR_NULL, text;
    struct kept_chain c;
    struct kept_line l;
    while (next_chain(&rest, &c, &text)) {
        if (wants_chain(want, text))
            continue;
        buf_printf(&t->make, ":" STR_FMT " - [0:0]\n", STR_ARG(text));
        buf_printf(&t->drop, "-X " STR_FMT "\n", STR_ARG(text));
        t->n_rules[0] -= c.rules;
        t->changes++;
    }
    rest = had ? buf_str(&had->lines) : STR_NULL;
    while (next_line(&rest, &l, &text)) {
        const struct ipt_shared_chain *s = &ipt_shared_chains[l.chain];
        if (wants_line(want, (enum ipt_shared)l.chain, text))
            continue;
        buf_printf(&t->del[s->filter], "-D %s " STR_FMT, s->name, STR_ARG(text));
        t->n_rules[s->filter]--;
        t->changes++;
    }
}

static void iptables_service(struct backend *b, struct str key, const struct service_ports *ports)
{
    struct iptables *t = (struct iptables *)b;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct ipt_items want = {.arena = &a};
    ipt_items_of(b->node, ports, t->large, &want);
    struct kept *had = map_get(&t->services, key);
    write_wanted(t, had, &want);
    drop_unwanted(t, had, &want);
    if (had) {
        map_del(&t->services, key);
        kept_free(had);
    }
    if (want.n_chains || want.n_lines) {
        struct kept *now = NEW(struct kept);
        remember(now, &want);
        map_put(&t->services, key, now);
    }
}

/* ---- a full write --------------------------------------------------------------------------------------- */

static const char *const top_chains[2][7] = {
    {"KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ", "KUBE-PROXY-CANARY", NULL},
    {"KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL", "KUBE-PROXY-CANARY", NULL},
};

static bool has_jump(struct str saved, const struct ipt_jump *j)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str line, head = arena_printf(&a, "-A %s ", j->from), tail = arena_printf(&a, "-j %s", j->to);
    while (str_next(&saved, '\n', &line))
        if (str_starts(line, head) && str_ends(line, tail))
            return true;
    return false;
}

/* Before everything else, as kube-proxy has it: the table's later jumps would come first otherwise. */
static void add_jumps(struct str saved, bool filter, struct buf *b)
{
    for (const struct ipt_jump *j = ipt_jumps; j->from; j++) {
        if (j->filter != filter || has_jump(saved, j))
            continue;
        buf_printf(b, "-I %s %s", j->from, j->only_new ? "-m conntrack --ctstate NEW " : "");
        if (j->comment[0])
            buf_printf(b, "-m comment --comment \"%s\" ", j->comment);
        buf_printf(b, "-j %s\n", j->to);
    }
}

/* Chains of Services that are gone. */
static void drop_leftovers(struct iptables *t, struct str saved)
{
    struct map now = MAP_INIT;
    struct str line, name, rest, made = buf_str(&t->make);
    while (str_next(&made, '\n', &line))
        if (line.n && str_cut(str_from(line, 1), ' ', &name, &rest))
            map_put(&now, name, t);
    while (str_next(&saved, '\n', &line)) {
        if (!str_starts(line, STR(":")) || !str_cut(str_from(line, 1), ' ', &name, &rest) || !ipt_is_service_chain(name) || map_has(&now, name))
            continue;
        buf_printf(&t->make, ":" STR_FMT " - [0:0]\n", STR_ARG(name));
        buf_printf(&t->drop, "-X " STR_FMT "\n", STR_ARG(name));
    }
    map_done(&now);
}

static void write_top(const struct iptables *t, bool filter, struct str saved, struct buf *b)
{
    for (size_t i = 0; top_chains[filter][i]; i++)
        buf_printf(b, ":%s - [0:0]\n", top_chains[filter][i]);
    if (filter) {
        /* The kubelet has rules there, too: emptied only by who writes the same rule. */
        if (t->base.node->localhost_nodeports || !str_contains(saved, STR(":KUBE-FIREWALL ")))
            buf_puts(b, ":KUBE-FIREWALL - [0:0]\n");
        return;
    }
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    buf_printf(b, ":" STR_FMT " - [0:0]\n", STR_ARG(iptables_marker(&a, t->proxy, "iptables")));
}

static int compare_lines(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)b, *(const struct str *)a);
}

/* The last name first: iptables-restore 1.8 keeps new chains in a sorted list, and looks for the place from its start. With
 * 50,000 chains that makes minutes of seconds. */
static void put_chains(struct str lines, struct buf *b)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str line, rest = lines;
    size_t n = 0;
    while (str_next(&rest, '\n', &line))
        n++;
    struct str *list = ARENA_ARRAY(&a, struct str, n + 1);
    for (n = 0; str_next(&lines, '\n', &line);)
        if (line.n)
            list[n++] = line;
    qsort(list, n, sizeof(*list), compare_lines);
    for (size_t i = 0; i < n; i++)
        buf_printf(b, STR_FMT "\n", STR_ARG(list[i]));
}

static int write_full(struct iptables *t, struct buf *b, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    bool six = t->base.node->six;
    struct str nat, filter;
    int r = iptables_save(six, "filter", &a, &filter, e);
    if (r == 0)
        r = iptables_save(six, "nat", &a, &nat, e);
    if (r < 0)
        return r;
    buf_puts(b, "*mangle\n:KUBE-PROXY-CANARY - [0:0]\nCOMMIT\n*filter\n");
    write_top(t, true, filter, b);
    add_jumps(filter, true, b);
    buf_putstr(b, buf_str(&t->add[1]));
    t->base_rules[1] = ipt_base_rules(t->base.node, true, b);
    buf_puts(b, "COMMIT\n*nat\n");
    drop_leftovers(t, nat);
    write_top(t, false, nat, b);
    add_jumps(nat, false, b);
    put_chains(buf_str(&t->make), b);
    t->base_rules[0] = ipt_base_rules(t->base.node, false, b);
    buf_putstr(b, buf_str(&t->add[0]));
    t->base_rules[0] += ipt_nodeport_jumps(t->base.node, b);
    buf_putstr(b, buf_str(&t->rules));
    buf_putstr(b, buf_str(&t->drop));
    buf_puts(b, "COMMIT\n");
    return 0;
}

static void write_table(struct buf *b, const char *table, const struct buf *const *parts, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += parts[i]->n;
    if (!bytes)
        return;
    buf_printf(b, "*%s\n", table);
    for (size_t i = 0; i < n; i++)
        buf_putstr(b, buf_str(parts[i]));
    buf_puts(b, "COMMIT\n");
}

/* Tables change one after the other. What has no endpoints is refused (filter) before its way is taken from it (nat), and until it has one
 * again: a packet between would leave for the Service's address itself, and its connection be remembered so. */
static void write_change(struct iptables *t, struct buf *b)
{
    const struct buf *nat[] = {&t->make, &t->del[0], &t->rules, &t->add[0], &t->drop}, *refused = &t->add[1], *no_more = &t->del[1];
    write_table(b, "filter", &refused, 1);
    write_table(b, "nat", nat, ARRAY_SIZE(nat));
    write_table(b, "filter", &no_more, 1);
}

static int iptables_commit(struct backend *base, struct err *e)
{
    struct iptables *t = (struct iptables *)base;
    struct buf b CLEANUP_BUF = BUF_INIT;
    int r = 0;
    if (!t->full && !t->changes)
        return 0;
    if (t->full)
        r = write_full(t, &b, e);
    else
        write_change(t, &b);
    if (r == 0)
        r = iptables_restore(base->node->six, buf_str(&b), e);
    clear_text(t);
    t->failures += r < 0;
    t->partial_failures += r < 0 && !t->full;
    return r;
}

/* ---- looking, and the end ------------------------------------------------------------------------------- */

static bool lacks_jump(struct str saved, bool filter)
{
    for (const struct ipt_jump *j = ipt_jumps; j->from; j++)
        if (j->filter == filter && !has_jump(saved, j))
            return true;
    return false;
}

/* A chain in each table that nobody else has a reason to remove: when it is gone, so are the others. */
static int iptables_verify(struct backend *base, bool deep, struct err *e)
{
    struct iptables *t = (struct iptables *)base;
    static const char *const tables[] = {"nat", "filter"};
    bool six = base->node->six;
    for (int i = 0; i < 2; i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct str saved;
        if (!deep || t->n_rules[i] > COUNT_MAX) {
            if (!iptables_has_chain(six, tables[i], "KUBE-PROXY-CANARY"))
                return 1;
            continue;
        }
        int r = iptables_save(six, tables[i], &a, &saved, e);
        if (r < 0)
            return r;
        if (iptables_count(saved, top_chains[i]) != t->n_rules[i] + t->base_rules[i] || lacks_jump(saved, i))
            return 1;
    }
    return 0;
}

static void iptables_figures(const struct backend *b, struct backend_figures *ret)
{
    const struct iptables *t = (const struct iptables *)b;
    *ret = (struct backend_figures){.rules_nat = t->n_rules[0] + t->base_rules[0],
                                    .rules_filter = t->n_rules[1] + t->base_rules[1],
                                    .last_nat = t->written[0],
                                    .last_filter = t->written[1],
                                    .failures = t->failures,
                                    .partial_failures = t->partial_failures};
}

static void iptables_free(struct backend *b)
{
    struct iptables *t = (struct iptables *)b;
    clear_text(t);
    map_done_with(&t->services, kept_free);
    free(t);
}

static const struct backend_ops iptables_ops = {
    "iptables", false, iptables_begin, iptables_service, iptables_commit, NULL, iptables_verify, iptables_figures, iptables_free,
};

struct backend *backend_iptables(const struct node_side *node, const struct backend_settings *s)
{
    struct iptables *t = NEW(struct iptables);
    t->base = (struct backend){&iptables_ops, node};
    t->proxy = s->table;
    return &t->base;
}
