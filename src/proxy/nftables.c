/* SPDX-License-Identifier: Apache-2.0 */
/* nftables mode: the difference between the items that a Service had and those that it wants, as one transaction. */
#include "proxy/backend.h"

#include "base/os.h"
#include "netlink/nft.h"
#include "proxy/nft_rules.h"

#include <linux/netfilter.h>

/* A batch is put together of parts, in this order: what is named must stand before who names it. */
enum part { PART_MAKE, PART_RULES, PART_ELEMENTS, PART_EMPTY, PART_UNMAKE, PARTS };

/* What one Service has in the kernel, packed: 10,000 of them are kept. */
struct kept {
    struct buf items; /* struct kept_item, name, ... */
};
struct kept_item {
    uint64_t content[2];
    uint16_t name_len;
    uint8_t kind, rules_low;
    uint16_t rules;
};

struct nftables {
    struct backend base;
    const char *table;
    struct nft_link link;
    struct map services; /* "ns/name" -> struct kept * */
    struct map owners;   /* element's name -> struct kept * : two Services cannot share one, the first has it */
    struct map contested; /* element's name that another Service asked for, too */
    struct map hairpins;  /* element's name -> how many have it: endpoints of several Services are the rule */
    struct map stale;    /* chains that nothing leads to any more -> since when (struct mono *) */
    struct nft_batch parts[PARTS];
    struct buf add[SET_MAX], drop[SET_MAX]; /* elements of the maps */
    struct nft_counts counts; /* what must be in the table beside its base */
    size_t elements[SET_MAX], nodeport_ips;
    bool full, anew; /* anew: a contested element has become free */
    size_t changes;
    uint64_t failures, cleanup_failures;
};

static uint8_t family(const struct nftables *t)
{
    return t->base.node->six ? NFPROTO_IPV6 : NFPROTO_IPV4;
}

static void kept_free(void *p)
{
    struct kept *k = p;
    buf_done(&k->items);
    free(k);
}

static void forget(struct nftables *t)
{
    map_done_with(&t->services, kept_free);
    map_done(&t->owners);
    map_done(&t->contested);
    map_done(&t->hairpins);
    map_done_with(&t->stale, free);
    t->counts = (struct nft_counts){0};
    memset(t->elements, 0, sizeof(t->elements));
}

static void drop_parts(struct nftables *t)
{
    for (size_t i = 0; i < PARTS; i++)
        nft_batch_done(&t->parts[i]);
    for (size_t i = 0; i < SET_MAX; i++) {
        buf_done(&t->add[i]);
        buf_done(&t->drop[i]);
    }
}

static void nftables_begin(struct backend *b, bool full)
{
    struct nftables *t = (struct nftables *)b;
    drop_parts(t);
    for (unsigned i = 0; i < PARTS; i++)
        nft_batch_init_part(&t->parts[i], family(t), t->table, i + 1);
    t->full = full;
    t->changes = 0;
    if (!full)
        return;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    forget(t);
    t->anew = false;
    t->nodeport_ips = b->node->nodeports_all ? 0 : model_nodeport_ips(b->node, false, &a).n;
}

/* ---- the difference ------------------------------------------------------------------------------------- */

/* Walks packed items; name points into them. False at the end. */
static bool next_kept(struct str *rest, struct kept_item *ret, struct str *ret_name)
{
    if (rest->n < sizeof(*ret))
        return false;
    memcpy(ret, rest->p, sizeof(*ret));
    *ret_name = str_slice(*rest, sizeof(*ret), ret->name_len);
    *rest = str_from(*rest, sizeof(*ret) + ret->name_len);
    return true;
}

static bool find_kept(const struct kept *k, enum nft_item_kind kind, struct str name, struct kept_item *ret)
{
    struct str rest = k ? buf_str(&k->items) : STR_NULL, at;
    while (next_kept(&rest, ret, &at))
        if (ret->kind == kind && str_eq(at, name))
            return true;
    return false;
}

static bool is_wanted(const struct nft_items *want, enum nft_item_kind kind, struct str name)
{
    for (size_t i = 0; i < want->n; i++)
        if (want->list[i].kind == kind && str_eq(want->list[i].name, name))
            return true;
    return false;
}

static void remember(struct kept *k, const struct nft_item *i)
{
    struct kept_item head = {{i->content[0], i->content[1]}, (uint16_t)i->name.n, (uint8_t)i->kind, 0, (uint16_t)i->n_rules};
    buf_put(&k->items, &head, sizeof(head));
    buf_putstr(&k->items, i->name);
}

/* How many Services have the endpoint after one more or less has it. */
static size_t count_hairpin(struct nftables *t, struct str name, int more)
{
    uintptr_t n = (uintptr_t)map_get(&t->hairpins, name) + (uintptr_t)more;
    if (n)
        map_put(&t->hairpins, name, (void *)n);
    else
        map_del(&t->hairpins, name);
    return n;
}

/* An element that another Service has already stays with that one. */
static bool take_element(struct nftables *t, struct kept *k, const struct kept *had, struct str name)
{
    if (name.p[0] == SET_HAIRPIN)
        return true;
    const struct kept *owner = map_get(&t->owners, name);
    if (owner && owner != had && owner != k) {
        map_put(&t->contested, name, t);
        return false;
    }
    map_put(&t->owners, name, k);
    return true;
}

static void write_rules(struct nftables *t, struct str chain, const struct nft_item *i)
{
    struct nft_batch *b = &t->parts[PART_RULES];
    for (size_t r = 0; r < i->n_rules; r++) {
        struct nft_rule *rule = &i->rules[r];
        for (size_t s = 0; s < rule->n_sets; s++) {
            uint32_t id = nft_set_add(b, &rule->sets[s].set);
            nft_elements_add(b, rule->sets[s].set.flags & NFT_SET_MAP ? STR("__map%d") : STR("__set%d"), id, rule->sets[s].elements);
            nftx_set_id((char *)rule->exprs.p, rule->sets[s].id_at, id);
        }
        nft_rule_add(b, chain, rule->exprs);
    }
}

static void put_key(struct buf *to, struct str element_name)
{
    nft_element_put(to, element_name.p + 1, element_name.n - 1, NULL, 0);
}

static void write_item(struct nftables *t, const struct nft_item *i, const struct kept_item *was)
{
    switch (i->kind) {
    case ITEM_SET:
        if (!was) {
            nft_set_add(&t->parts[PART_MAKE], &i->set);
            t->counts.sets++;
        }
        return;
    case ITEM_CHAIN:
        nft_chain_add(&t->parts[PART_MAKE], i->name, NULL);
        if (was)
            nft_chain_flush(&t->parts[PART_MAKE], i->name);
        free(map_del(&t->stale, i->name));
        write_rules(t, i->name, i);
        t->counts.chains += !was;
        t->counts.rules += i->n_rules - (was ? was->rules : 0);
        return;
    case ITEM_ELEMENT:
        if (i->map == SET_HAIRPIN && count_hairpin(t, i->name, 1) > 1)
            return;
        if (was)
            put_key(&t->drop[i->map], i->name);
        buf_putstr(&t->add[i->map], i->element);
        t->elements[i->map] += !was;
        return;
    }
}

static void drop_item(struct nftables *t, const struct kept *k, const struct kept_item *i, struct str name)
{
    switch ((enum nft_item_kind)i->kind) {
    case ITEM_SET:
        nft_set_delete(&t->parts[PART_UNMAKE], name);
        t->counts.sets--;
        return;
    case ITEM_CHAIN: {
        /* Kernels before 6.2 learn late that an element no longer leads here: the chain itself goes a little later. */
        struct mono *since = NEW(struct mono);
        *since = os_mono();
        nft_chain_flush(&t->parts[PART_EMPTY], name);
        free(map_put(&t->stale, name, since));
        t->counts.chains--;
        t->counts.rules -= i->rules;
        return;
    }
    case ITEM_ELEMENT:
        if (name.p[0] == SET_HAIRPIN && count_hairpin(t, name, -1))
            return;
        put_key(&t->drop[(unsigned char)name.p[0]], name);
        t->elements[(unsigned char)name.p[0]]--;
        if (map_get(&t->owners, name) == k)
            map_del(&t->owners, name);
        t->anew |= map_has(&t->contested, name);
        return;
    }
}

static void write_wanted(struct nftables *t, const struct kept *had, const struct nft_items *want, struct kept *now)
{
    for (size_t n = 0; n < want->n; n++) {
        const struct nft_item *i = &want->list[n];
        struct kept_item was;
        bool is_there = find_kept(had, i->kind, i->name, &was);
        if (i->kind == ITEM_ELEMENT && (!take_element(t, now, had, i->name) || find_kept(now, i->kind, i->name, &(struct kept_item){0})))
            continue;
        remember(now, i);
        if (is_there && !memcmp(was.content, i->content, sizeof(was.content)))
            continue;
        write_item(t, i, is_there ? &was : NULL);
        t->changes++;
    }
}

static void drop_unwanted(struct nftables *t, const struct kept *had, const struct nft_items *want)
{
    struct str rest = had ? buf_str(&had->items) : STR_NULL, name;
    struct kept_item i;
    while (next_kept(&rest, &i, &name))
        if (!is_wanted(want, (enum nft_item_kind)i.kind, name)) {
            drop_item(t, had, &i, name);
            t->changes++;
        }
}

static void nftables_service(struct backend *b, struct str key, const struct service_ports *ports)
{
    struct nftables *t = (struct nftables *)b;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct nft_items want = {.arena = &a};
    nft_items_of(b->node, ports, &want);
    struct kept *had = map_get(&t->services, key), *now = NEW(struct kept);
    write_wanted(t, had, &want, now);
    drop_unwanted(t, had, &want);
    if (now->items.n) {
        map_put(&t->services, key, now);
    } else {
        map_del(&t->services, key);
        kept_free(now);
    }
    if (had)
        kept_free(had);
}

/* ---- the kernel ----------------------------------------------------------------------------------------- */

/* In a transaction of its own: when the kernel still holds one of them, nothing else fails. */
static void delete_stale(struct nftables *t)
{
    struct nft_batch b;
    struct mono before = mono_add(os_mono(), -SECONDS(1));
    struct err ignored = {0};
    nft_batch_init(&b, family(t), t->table);
    MAP_EACH(&t->stale, e)
    {
        if (((struct mono *)e->value)->ns < before.ns)
            nft_chain_delete(&b, e->key);
    }
    if (b.n && nft_batch_send(&b, &t->link, &ignored) < 0)
        t->cleanup_failures++;
    else if (b.n)
        MAP_EACH(&t->stale, e)
        {
            if (((struct mono *)e->value)->ns < before.ns)
                free(map_del(&t->stale, e->key));
        }
    nft_batch_done(&b);
}

static void put_elements(struct nftables *t)
{
    struct nft_batch *b = &t->parts[PART_ELEMENTS];
    for (size_t i = 0; i < SET_MAX; i++)
        nft_elements_delete(b, str_of(nft_table_set_names[i]), buf_str(&t->drop[i]));
    for (size_t i = 0; i < SET_MAX; i++)
        nft_elements_add(b, str_of(nft_table_set_names[i]), 0, buf_str(&t->add[i]));
}

static int nftables_commit(struct backend *base, struct err *e)
{
    struct nftables *t = (struct nftables *)base;
    struct nft_batch b;
    if (!t->full && !t->changes)
        return 0;
    if (!t->full)
        delete_stale(t);
    nft_batch_init(&b, family(t), t->table);
    if (t->full)
        nft_base(base->node, &b);
    put_elements(t);
    for (size_t i = 0; i < PARTS; i++)
        nft_batch_append(&b, &t->parts[i]);
    int r = nft_batch_send(&b, &t->link, e);
    nft_batch_done(&b);
    drop_parts(t);
    t->failures += r < 0;
    return r < 0 ? r : t->anew;
}

static int nftables_verify(struct backend *base, bool deep, struct err *e)
{
    struct nftables *t = (struct nftables *)base;
    struct nft_counts is, want;
    if (t->stale.n)
        delete_stale(t);
    int r = nft_count(family(t), t->table, &is, e);
    nft_base_counts(base->node, &want);
    if (r < 0)
        return r == -ENOENT ? 1 : r == -EINTR ? 0 : r;
    if (is.chains != want.chains + t->counts.chains + t->stale.n || is.rules != want.rules + t->counts.rules ||
        is.sets != want.sets + t->counts.sets)
        return 1;
    for (size_t i = 0; deep && i < SET_MAX; i++) {
        size_t n, expected = t->elements[i] + (i == SET_NODEPORT_IPS ? t->nodeport_ips : 0);
        r = nft_count_elements(family(t), t->table, str_of(nft_table_set_names[i]), &n, e);
        if (r < 0)
            return r == -ENOENT ? 1 : r == -EINTR ? 0 : r;
        if (n != expected)
            return 1;
    }
    return 0;
}

static void nftables_figures(const struct backend *b, struct backend_figures *ret)
{
    const struct nftables *t = (const struct nftables *)b;
    *ret = (struct backend_figures){.failures = t->failures, .cleanup_failures = t->cleanup_failures};
}

static void nftables_free(struct backend *b)
{
    struct nftables *t = (struct nftables *)b;
    forget(t);
    drop_parts(t);
    nft_link_done(&t->link);
    free(t);
}

static const struct backend_ops nftables_ops = {
    "nftables", nftables_begin, nftables_service, nftables_commit, nftables_verify, nftables_figures, nftables_free,
};

struct backend *backend_nftables(const struct node_side *node, const struct backend_settings *s)
{
    struct nftables *t = NEW(struct nftables);
    t->base = (struct backend){&nftables_ops, node};
    t->table = s->table;
    return &t->base;
}

int nftables_cleanup(const char *table, struct err *e)
{
    static const uint8_t families[] = {NFPROTO_IPV4, NFPROTO_IPV6};
    int first = 0;
    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        struct nft_batch b;
        nft_batch_init(&b, families[i], table);
        nft_table_add(&b, NULL); /* deleting what is not there is an error */
        nft_table_delete(&b);
        int r = nft_batch_send(&b, NULL, first ? NULL : e);
        nft_batch_done(&b);
        if (r < 0 && !first)
            first = r;
    }
    return first;
}
