/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/sync.h"

/* What one Service has in the kernel. */
struct kept {
    struct arena arena;
    struct items items;
};

static void kept_free(void *p)
{
    struct kept *k = p;
    arena_done(&k->arena);
    free(k);
}

void sync_done(struct sync *s)
{
    map_done_with(&s->services, kept_free);
    map_done_with(&s->owners, free);
}

void sync_text_done(struct sync_text *t)
{
    struct buf *all[] = {&t->add_sets, &t->drop_elements, &t->add_chains, &t->add_elements, &t->drop_chains, &t->drop_sets};
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        buf_done(all[i]);
}

void sync_text_join(const struct sync_text *t, struct buf *b)
{
    /* Chains must be there before elements lead to them, and elements gone before their chains go. A chain that is
     * added empties itself first, so new chains may refer to each other whatever their order. */
    const struct buf *order[] = {&t->add_sets, &t->drop_elements, &t->add_chains,
                                 &t->add_elements, &t->drop_chains, &t->drop_sets};
    for (size_t i = 0; i < ARRAY_SIZE(order); i++)
        buf_putstr(b, buf_str(order[i]));
}

static const struct item *find_item(const struct items *list, const struct item *like)
{
    for (size_t i = 0; list && i < list->n; i++)
        if (list->list[i].kind == like->kind && str_eq(list->list[i].name, like->name))
            return &list->list[i];
    return NULL;
}

struct sync_call {
    struct sync *s;
    const char *family, *table;
    struct str key;
    struct sync_text *t;
};

static void put_element(const struct sync_call *c, struct buf *b, const char *verb, const struct item *i, bool verdict)
{
    buf_printf(b, "%s element %s %s " STR_FMT " { " STR_FMT, verb, c->family, c->table, STR_ARG(i->map), STR_ARG(i->key));
    if (verdict && i->body.n)
        buf_printf(b, " : " STR_FMT, STR_ARG(i->body));
    buf_puts(b, " }\n");
}

static void put_rules(const struct sync_call *c, const struct item *i)
{
    struct str rest = i->body, line;
    while (str_next(&rest, '\n', &line))
        if (line.n)
            buf_printf(&c->t->add_chains, "add rule %s %s " STR_FMT " " STR_FMT "\n", c->family, c->table,
                       STR_ARG(i->name), STR_ARG(line));
}

/* An address and port that another Service has already stays with that one, as in upstream the first one wins. */
static bool take_name(const struct sync_call *c, const struct item *i)
{
    const char *owner = map_get(&c->s->owners, i->name);
    if (owner)
        return str_is(c->key, owner);
    map_put(&c->s->owners, i->name, str_dup(c->key));
    return true;
}

static void add_item_text(const struct sync_call *c, const struct item *i, bool was_there)
{
    switch (i->kind) {
    case ITEM_SET:
        if (!was_there)
            buf_printf(&c->t->add_sets, "add set %s %s " STR_FMT " " STR_FMT "\n", c->family, c->table, STR_ARG(i->name),
                       STR_ARG(i->body));
        return;
    case ITEM_CHAIN:
        buf_printf(&c->t->add_sets, "add chain %s %s " STR_FMT "\n", c->family, c->table, STR_ARG(i->name));
        if (was_there)
            buf_printf(&c->t->add_sets, "flush chain %s %s " STR_FMT "\n", c->family, c->table, STR_ARG(i->name));
        put_rules(c, i);
        return;
    case ITEM_ELEMENT:
        put_element(c, &c->t->add_elements, "add", i, true);
        return;
    }
}

static void drop_item_text(const struct sync_call *c, const struct item *i)
{
    switch (i->kind) {
    case ITEM_SET:
        buf_printf(&c->t->drop_sets, "delete set %s %s " STR_FMT "\n", c->family, c->table, STR_ARG(i->name));
        return;
    case ITEM_CHAIN:
        buf_printf(&c->t->drop_chains, "flush chain %s %s " STR_FMT "\n", c->family, c->table, STR_ARG(i->name));
        buf_printf(&c->t->drop_sets, "delete chain %s %s " STR_FMT "\n", c->family, c->table, STR_ARG(i->name));
        return;
    case ITEM_ELEMENT:
        put_element(c, &c->t->drop_elements, "delete", i, false);
        return;
    }
}

static void remember(struct kept *k, const struct item *i)
{
    struct arena *a = &k->arena;
    k->items.arena = a;
    if (k->items.n == k->items.cap) {
        struct item *bigger = ARENA_ARRAY(a, struct item, k->items.cap = MAX(k->items.cap * 2, (size_t)8));
        if (k->items.n)
            memcpy(bigger, k->items.list, k->items.n * sizeof(*bigger));
        k->items.list = bigger;
    }
    k->items.list[k->items.n++] = (struct item){i->kind, arena_str(a, i->name), arena_str(a, i->map),
                                                arena_str(a, i->key), arena_str(a, i->body)};
}

static void add_changed(const struct sync_call *c, const struct items *had, const struct items *want, struct kept *k)
{
    for (size_t n = 0; n < want->n; n++) {
        const struct item *i = &want->list[n], *old = find_item(had, i);
        if (!take_name(c, i))
            continue;
        remember(k, i);
        if (old && str_eq(old->body, i->body))
            continue;
        if (old && i->kind == ITEM_ELEMENT)
            drop_item_text(c, old);
        add_item_text(c, i, old != NULL);
        c->t->changes++;
    }
}

static void drop_gone(const struct sync_call *c, const struct items *had, const struct items *want)
{
    for (size_t n = 0; had && n < had->n; n++) {
        const struct item *i = &had->list[n];
        if (find_item(want, i))
            continue;
        drop_item_text(c, i);
        free(map_del(&c->s->owners, i->name));
        c->t->changes++;
    }
}

void sync_service(struct sync *s, const char *family, const char *table, struct str key, const struct items *want,
                  struct sync_text *t)
{
    struct sync_call c = {s, family, table, key, t};
    struct kept *had = map_get(&s->services, key), *now = NEW(struct kept);
    add_changed(&c, had ? &had->items : NULL, want, now);
    drop_gone(&c, had ? &had->items : NULL, want);
    if (now->items.n) {
        map_put(&s->services, key, now);
    } else {
        map_del(&s->services, key);
        kept_free(now);
    }
    if (had)
        kept_free(had);
}
