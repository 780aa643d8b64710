/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes of an expression's tree, and issues with their places. */
#include "cel/cel-internal.h"

#include <stdarg.h>
#include <stdio.h>

struct cel_node *cel_node_new(struct cel_maker *m, enum cel_node_kind kind, size_t pos)
{
    struct cel_node *x = ARENA_NEW(m->arena, struct cel_node);
    m->n_nodes++;
    x->kind = (uint8_t)kind;
    x->pos = (uint32_t)pos;
    x->height = 1;
    return x;
}

struct cel_node *cel_node_literal(struct cel_maker *m, size_t pos, struct cel_val v)
{
    struct cel_node *x = cel_node_new(m, X_LITERAL, pos);
    x->literal = v;
    return x;
}

struct cel_node *cel_node_ident(struct cel_maker *m, size_t pos, struct str name)
{
    struct cel_node *x = cel_node_new(m, X_IDENT, pos);
    x->name = name;
    return x;
}

static uint32_t n_args(const struct cel_node *x)
{
    return x->kind == X_FOLD ? 5 : x->kind == X_MAP ? 2 * x->n : x->n;
}

void cel_node_measure(struct cel_node *x)
{
    unsigned h = x->target ? x->target->height : 0;
    for (uint32_t i = 0; i < n_args(x); i++)
        h = MAX(h, (unsigned)x->args[i]->height);
    x->height = (uint16_t)MIN(h + 1, (unsigned)UINT16_MAX);
}

struct cel_node *cel_node_call(struct cel_maker *m, size_t pos, const char *name, struct cel_node *target,
                               struct cel_node *const *args, unsigned n)
{
    struct cel_node *x = cel_node_new(m, X_CALL, pos);
    x->name = str_of(name);
    x->target = target;
    x->n = n;
    x->args = ARENA_ARRAY(m->arena, struct cel_node *, n);
    if (n)
        memcpy(x->args, args, n * sizeof(*args));
    cel_node_measure(x);
    return x;
}

struct cel_node *cel_node_copy(struct cel_maker *m, const struct cel_node *x)
{
    if (m->n_nodes > CEL_MAX_NODES) /* the parser gives up at the next chance */
        return cel_node_ident(m, x->pos, STR("?"));
    struct cel_node *c = cel_node_new(m, x->kind, x->pos);
    *c = *x;
    if (x->target)
        c->target = cel_node_copy(m, x->target);
    uint32_t n = n_args(x);
    c->args = ARENA_ARRAY(m->arena, struct cel_node *, n);
    for (uint32_t i = 0; i < n; i++)
        c->args[i] = cel_node_copy(m, x->args[i]);
    return c;
}

/* ---- issues ------------------------------------------------------------------------------------------------ */

static void place(struct str source, size_t pos, struct cel_issue *i)
{
    i->line = 1;
    i->column = 1;
    for (size_t k = 0; k < MIN(pos, source.n);) {
        uint32_t rune;
        size_t n = cel_rune(str_from(source, k), &rune);
        i->column = rune == '\n' ? 1 : i->column + 1;
        i->line += rune == '\n';
        k += n;
    }
}

void cel_issue_add(struct cel_report *r, size_t pos, const char *fmt, ...)
{
    if (r->n >= CEL_MAX_ISSUES)
        return;
    if (r->n == r->cap) {
        struct cel_issue *more = ARENA_ARRAY(r->arena, struct cel_issue, r->cap = r->cap ? 2 * r->cap : 4);
        if (r->n)
            memcpy(more, r->items, r->n * sizeof(*more));
        r->items = more;
    }
    struct cel_issue *i = &r->items[r->n++];
    *i = (struct cel_issue){0};
    if (pos != SIZE_MAX)
        place(r->source, pos, i);
    CLEANUP_BUF struct buf b = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    i->message = arena_str(r->arena, buf_str(&b));
}
