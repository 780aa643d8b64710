/* SPDX-License-Identifier: Apache-2.0 */
/* nftables mode: the difference between the items that a Service had and those that it wants, as one transaction. */
#include "proxy/backend.h"

#include "base/os.h"
#include "netlink/nft.h"
#include "proxy/nft_rules.h"

#include <linux/netfilter.h>

/* A batch is put together of parts, in this order: what is named must stand before who names it. */
enum part { PART_MAKE, PART_RULES, PART_ELEMENTS, PART_UNMAKE, PARTS };

enum { LISTED_MAX = 20000 }; /* elements that older kernels are made to list, so that they can be counted */

/* What one Service has in the kernel, packed: 10,000 of them are kept. */
struct kept {
    struct buf items; /* struct kept_item, name, ... */
};
struct kept_item {
    uint64_t content[2];
    uint32_t data_len; /* of a list: its endpoints as they stand in the kernel, behind the name */
    uint16_t name_len, rules;
    uint8_t kind, shared;
};

struct nftables {
    struct backend base;
    const char *table;
    struct nft_link link;
    struct map services; /* "ns/name" -> struct kept * */
    struct map owners;   /* element's name -> struct kept * : two Services cannot share one, the first has it */
    struct map contested; /* element's name that another Service asked for, too */
    struct map shared;   /* name of what several Services have -> how many */
    struct map stale;    /* chains that nothing leads to any more -> since when (struct mono *) */
    struct buf memories; /* struct memory: sets that are made anew in a full write */
    struct arena memory_arena;
    struct nft_batch parts[PARTS];
    struct buf add[SET_MAX], drop[SET_MAX]; /* elements of the maps */
    struct nft_counts counts; /* what must be in the table beside its base */
    size_t elements[SET_MAX], nodeport_ips;
    bool full, anew; /* anew: a contested element has become free */
    size_t changes;
    uint64_t failures, cleanup_failures;
};

struct memory {
    struct str set;
    uint32_t seconds;
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
    map_done(&t->shared);
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
    buf_done(&t->memories);
    arena_done(&t->memory_arena);
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

/* Walks packed items; name and data point into them. False at the end. */
static bool next_kept(struct str *rest, struct kept_item *ret, struct str *ret_name, struct str *ret_data)
{
    if (rest->n < sizeof(*ret))
        return false;
    memcpy(ret, rest->p, sizeof(*ret));
    *ret_name = str_slice(*rest, sizeof(*ret), ret->name_len);
    *ret_data = str_slice(*rest, sizeof(*ret) + ret->name_len, ret->data_len);
    *rest = str_from(*rest, sizeof(*ret) + ret->name_len + ret->data_len);
    return true;
}

static bool find_kept(const struct kept *k, enum nft_item_kind kind, struct str name, struct kept_item *ret, struct str *ret_data)
{
    struct str rest = k ? buf_str(&k->items) : STR_NULL, at;
    while (next_kept(&rest, ret, &at, ret_data))
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

static void remember(struct kept *k, const struct nft_item *i, struct str data)
{
    struct kept_item head = {.content = {i->content[0], i->content[1]},
                             .data_len = (uint32_t)data.n,
                             .name_len = (uint16_t)i->name.n,
                             .rules = (uint16_t)i->n_rules,
                             .kind = (uint8_t)i->kind,
                             .shared = i->shared};
    buf_put(&k->items, &head, sizeof(head));
    buf_putstr(&k->items, i->name);
    buf_putstr(&k->items, data);
}

/* How many Services have it after one more or less has it. */
static size_t count_shared(struct nftables *t, struct str name, int more)
{
    uintptr_t n = (uintptr_t)map_get(&t->shared, name) + (uintptr_t)more;
    if (n)
        map_put(&t->shared, name, (void *)n);
    else
        map_del(&t->shared, name);
    return n;
}

/* An element that another Service has already stays with that one. */
static bool take_element(struct nftables *t, struct kept *k, const struct kept *had, struct str name)
{
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
    if (i->shared && !was && count_shared(t, i->name, 1) > 1)
        return;
    switch (i->kind) {
    case ITEM_SET:
        if (was)
            return;
        nft_set_add(&t->parts[PART_MAKE], &i->set);
        t->counts.sets++;
        if (t->full)
            buf_put(&t->memories, &(struct memory){arena_str(&t->memory_arena, i->name), i->keep_seconds}, sizeof(struct memory));
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
        if (was)
            put_key(&t->drop[i->map], i->name);
        buf_putstr(&t->add[i->map], i->element);
        t->elements[i->map] += !was;
        return;
    case ITEM_LIST:
        return;
    }
}

/* ---- lists ---------------------------------------------------------------------------------------------- */

static bool differs(struct str a, struct str b, size_t at, size_t size)
{
    return at + size > b.n || memcmp(a.p + at, b.p + at, size) != 0;
}

/* The endpoints of data that do not stand in the same place of other. */
static void put_slots(struct nftables *t, bool add, struct str name, struct str data, struct str other)
{
    size_t size = nft_endpoint_size(t->base.node->six);
    unsigned map = (unsigned char)name.p[0];
    char key[64];
    memcpy(key, name.p + 1, name.n - 1);
    for (uint32_t i = 0; i < data.n / size; i++) {
        if (!differs(data, other, i * size, size))
            continue;
        memcpy(key + name.n - 1, &i, sizeof(i)); /* as numgen writes it into a register */
        if (add)
            nft_element_put(&t->add[map], key, name.n - 1 + sizeof(i), data.p + i * size, size);
        else
            nft_element_put(&t->drop[map], key, name.n - 1 + sizeof(i), NULL, 0);
        t->changes++;
    }
}

struct slot {
    uint8_t endpoint[20];
    uint32_t at;
};

static int compare_slots(const void *a, const void *b)
{
    return memcmp(((const struct slot *)a)->endpoint, ((const struct slot *)b)->endpoint, sizeof(((struct slot *)0)->endpoint));
}

/* Where endpoints of `want` stood already, the rest in what is free: who stays costs nothing. */
static struct str arrange(struct arena *a, struct str had, struct str want, size_t size)
{
    size_t n_had = had.n / size, n = want.n / size, i = 0;
    struct slot *slots = ARENA_ARRAY(a, struct slot, n_had + 1);
    bool *taken = ARENA_ARRAY(a, bool, n + 1), *placed = ARENA_ARRAY(a, bool, n + 1);
    char *ret = arena_bytes(a, want.n + 1);
    for (size_t k = 0; k < n_had; k++) {
        slots[k] = (struct slot){.at = (uint32_t)k};
        memcpy(slots[k].endpoint, had.p + k * size, size);
    }
    qsort(slots, n_had, sizeof(*slots), compare_slots);
    for (size_t k = 0; k < n; k++) {
        int r = 1;
        while (i < n_had && (r = memcmp(slots[i].endpoint, want.p + k * size, size)) < 0)
            i++;
        if (r || slots[i].at >= n)
            continue;
        memcpy(ret + slots[i].at * size, want.p + k * size, size);
        taken[slots[i].at] = placed[k] = true;
    }
    for (size_t k = 0, to = 0; k < n; k++) {
        if (placed[k])
            continue;
        while (taken[to])
            to++;
        memcpy(ret + to++ * size, want.p + k * size, size);
    }
    return str_n(ret, n * size);
}

static void write_list(struct nftables *t, const struct nft_item *i, struct str had, struct kept *now)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    size_t size = nft_endpoint_size(t->base.node->six);
    struct str list = had.n ? arrange(&a, had, i->endpoints, size) : i->endpoints;
    put_slots(t, false, i->name, had, list);
    put_slots(t, true, i->name, list, had);
    t->elements[i->map] += list.n / size - had.n / size;
    remember(now, i, list);
}

static void drop_list(struct nftables *t, struct str name, struct str data)
{
    put_slots(t, false, name, data, STR_NULL);
    t->elements[(unsigned char)name.p[0]] -= data.n / nft_endpoint_size(t->base.node->six);
}

/* ---- what is no longer wanted --------------------------------------------------------------------------- */

/* Kernels before 6.2 learn late that an element no longer leads to a chain: the chain itself goes a little later. It is emptied before
 * rules are written: another Service may want it in this very batch. */
static void drop_chain(struct nftables *t, struct str name, size_t rules)
{
    struct mono *since = NEW(struct mono);
    *since = os_mono();
    nft_chain_flush(&t->parts[PART_MAKE], name);
    free(map_put(&t->stale, name, since));
    t->counts.chains--;
    t->counts.rules -= rules;
}

static void drop_element(struct nftables *t, const struct kept *k, struct str name)
{
    put_key(&t->drop[(unsigned char)name.p[0]], name);
    t->elements[(unsigned char)name.p[0]]--;
    if (map_get(&t->owners, name) == k)
        map_del(&t->owners, name);
    t->anew |= map_has(&t->contested, name);
}

static void drop_item(struct nftables *t, const struct kept *k, const struct kept_item *i, struct str name, struct str data)
{
    if (i->shared && count_shared(t, name, -1))
        return;
    switch ((enum nft_item_kind)i->kind) {
    case ITEM_SET:
        nft_set_delete(&t->parts[PART_UNMAKE], name);
        t->counts.sets--;
        return;
    case ITEM_CHAIN:
        drop_chain(t, name, i->rules);
        return;
    case ITEM_ELEMENT:
        drop_element(t, k, name);
        return;
    case ITEM_LIST:
        drop_list(t, name, data);
        return;
    }
}

/* Of what several ask for, in one Service or in two, the first has it. */
static bool may_have(struct nftables *t, const struct nft_item *i, const struct kept *had, struct kept *now)
{
    if (i->kind == ITEM_LIST && map_get(&t->owners, i->front) != now)
        return false;
    if (i->kind == ITEM_ELEMENT && !i->shared && !take_element(t, now, had, i->name))
        return false;
    bool once = i->kind == ITEM_SET || (i->kind == ITEM_CHAIN && !i->shared);
    return once || !find_kept(now, i->kind, i->name, &(struct kept_item){0}, &(struct str){0});
}

static void write_wanted(struct nftables *t, const struct kept *had, const struct nft_items *want, struct kept *now)
{
    for (size_t n = 0; n < want->n; n++) {
        const struct nft_item *i = &want->list[n];
        struct kept_item was;
        struct str data = STR_NULL;
        if (!may_have(t, i, had, now))
            continue;
        bool is_there = find_kept(had, i->kind, i->name, &was, &data);
        if (i->kind == ITEM_LIST) {
            write_list(t, i, is_there ? data : STR_NULL, now);
            continue;
        }
        remember(now, i, STR_NULL);
        if (is_there && !memcmp(was.content, i->content, sizeof(was.content)))
            continue;
        write_item(t, i, is_there ? &was : NULL);
        t->changes++;
    }
}

static void drop_unwanted(struct nftables *t, const struct kept *had, const struct nft_items *want)
{
    struct str rest = had ? buf_str(&had->items) : STR_NULL, name, data;
    struct kept_item i;
    while (next_kept(&rest, &i, &name, &data))
        if (!is_wanted(want, (enum nft_item_kind)i.kind, name)) {
            drop_item(t, had, &i, name, data);
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

static int send_batch(struct nftables *t, struct nft_batch *b, struct err *e)
{
    int r = nft_batch_send(b, &t->link, e);
    t->base.transactions += r == 0 && b->n;
    return r;
}

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
    if (b.n && send_batch(t, &b, &ignored) < 0)
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
    for (size_t i = 0; i < SET_MAX; i++) {
        nft_elements_add(b, str_of(nft_table_set_names[i]), 0, buf_str(&t->add[i]));
        buf_done(&t->add[i]);
    }
}

struct remembering {
    struct nftables *t;
    size_t set;
    struct buf clients; /* of this set */
};

static void flush_clients(struct remembering *r)
{
    const struct memory *m = (const struct memory *)(void *)r->t->memories.p + r->set;
    if (r->clients.n)
        nft_elements_add(&r->t->parts[PART_ELEMENTS], m->set, 0, buf_str(&r->clients));
    buf_clear(&r->clients);
}

static void keep_client(void *arg, size_t set, struct str key, uint64_t left_ms)
{
    struct remembering *r = arg;
    const struct memory *m = (const struct memory *)(void *)r->t->memories.p + set;
    uint64_t timeout = (uint64_t)m->seconds * 1000;
    if (set != r->set)
        flush_clients(r);
    r->set = set;
    if (left_ms && key.n == address_size(r->t->base.node->six))
        nft_element_put_timed(&r->clients, key.p, key.n, timeout, MIN(left_ms, timeout));
}

/* Which client went where outlives the table that a full write replaces (session affinity), and our restarts. Who comes for the
 * first time between this look and the write is forgotten. */
static int keep_clients(struct nftables *t, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    size_t n = t->memories.n / sizeof(struct memory);
    struct str *names = ARENA_ARRAY(&a, struct str, n);
    struct remembering rem = {.t = t};
    for (size_t i = 0; i < n; i++)
        names[i] = ((const struct memory *)(void *)t->memories.p)[i].set;
    int r = nft_each_element(family(t), t->table, names, n, keep_client, &rem, e);
    flush_clients(&rem);
    buf_done(&rem.clients);
    return r;
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
    int r = keep_clients(t, e);
    for (size_t i = 0; i < PARTS; i++)
        nft_batch_append(&b, &t->parts[i]);
    if (r == 0)
        r = send_batch(t, &b, e);
    nft_batch_done(&b);
    drop_parts(t);
    t->failures += r < 0;
    return r < 0 ? r : t->anew;
}

static bool nftables_tidy(struct backend *base)
{
    struct nftables *t = (struct nftables *)base;
    delete_stale(t);
    return t->stale.n > 0;
}

static int nftables_verify(struct backend *base, bool deep, struct err *e)
{
    struct nftables *t = (struct nftables *)base;
    struct nft_counts is, want;
    int r = nft_count(family(t), t->table, &is, e);
    nft_base_counts(base->node, &want);
    if (r < 0)
        return r == -ENOENT ? 1 : r == -EINTR ? 0 : r;
    if (is.chains != want.chains + t->counts.chains + t->stale.n || is.rules != want.rules + t->counts.rules ||
        is.sets != want.sets + t->counts.sets)
        return 1;
    for (size_t i = 0; deep && i < SET_MAX; i++) {
        size_t n, expected = t->elements[i] + (i == SET_NODEPORT_IPS ? t->nodeport_ips : 0);
        r = nft_count_elements(family(t), t->table, str_of(nft_table_set_names[i]), expected > LISTED_MAX, &n, e);
        if (r < 0 && r != -ENODATA)
            return r == -ENOENT ? 1 : r == -EINTR ? 0 : r;
        if (r == 0 && n != expected)
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
    "nftables", true, nftables_begin, nftables_service, nftables_commit, nftables_tidy, nftables_verify, nftables_figures, nftables_free,
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
