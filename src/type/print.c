/* SPDX-License-Identifier: Apache-2.0 */
#include "type/print.h"

#include "names.h"
#include "type/print-internal.h"
#include "type/meta.h"
#include "type/path.h"
#include "type/selector.h"
#include "wire/json.h"

/* ---- texts --------------------------------------------------------------------------------------------- */

struct str print_or(struct str s, const char *other)
{
    return s.n ? s : str_of(other);
}

struct str age_text(struct arena *a, const struct val *time, struct wall now)
{
    char buf[TIME_TEXT_MAX];
    struct wall t;
    if (!val_is(time, VAL_STR) || time_parse(val_str(time), &t) < 0)
        return STR("<unknown>");
    return arena_str(a, str_of(duration_human(now.ns - t.ns, buf)));
}

struct str join_some(struct arena *a, const struct str *parts, size_t n, size_t max, size_t count,
                     const char *between)
{
    struct str s = arena_join(a, parts, MIN(n, max), str_of(between));
    return count > max ? arena_printf(a, STR_FMT " + %zu more...", STR_ARG(s), count - max) : s;
}

/* A value as text: numbers and booleans plain, the rest as JSON. */
static void put_text(struct buf *b, const struct val *v)
{
    if (val_is(v, VAL_STR))
        buf_putstr(b, val_str(v));
    else if (v && v->kind != VAL_NULL)
        json_encode(b, NULL, v, JSON_NO_HTML);
}

static struct str labels_text(struct arena *a, const struct val *map)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct selector s;
    if (!val_len(map))
        return STR("<none>");
    selector_from_map(a, map, &s); /* sorted */
    for (size_t i = 0; i < s.n; i++)
        buf_printf(&b, "%s" STR_FMT "=" STR_FMT, i ? "," : "", STR_ARG(s.reqs[i].key),
                   STR_ARG(s.reqs[i].values[0]));
    return arena_str(a, buf_str(&b));
}

static struct str selector_text(struct arena *a, const struct val *v)
{
    struct selector s;
    if (selector_from_val(a, v, &s, NULL) < 0)
        return STR("<error>");
    return print_or(s.nothing ? STR("") : selector_print(a, &s), "<none>");
}

/* ---- one part of an expression: {path:filter|fallback} ------------------------------------------------- */

struct part {
    struct str path, filter, fallback;
    bool has_fallback;
};

static struct part part_of(struct str text)
{
    struct part p = {.path = text};
    struct str head, tail;
    if (str_cut(text, '|', &head, &tail)) {
        p.path = head;
        p.fallback = tail;
        p.has_fallback = true;
    }
    if (str_cut(p.path, ':', &head, &tail)) {
        p.path = head;
        p.filter = tail;
    }
    return p;
}

static struct str list_text(struct arena *a, const struct path_hits *hits)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    size_t n = 0;
    for (size_t i = 0; i < hits->n; i++) {
        const struct val *v = hits->items[i];
        if (!val_is(v, VAL_LIST)) {
            if (n++)
                buf_putc(&b, ',');
            put_text(&b, v);
        }
        VAL_EACH (v, item) {
            if (n++)
                buf_putc(&b, ',');
            put_text(&b, item);
        }
    }
    return arena_str(a, buf_str(&b));
}

static struct val filtered(struct arena *a, struct part p, const struct path_hits *hits, struct wall now)
{
    const struct val *v = hits->n ? hits->items[0] : NULL;
    if (str_is(p.filter, "age"))
        return val_of_str(v || !p.has_fallback ? age_text(a, v, now) : p.fallback);
    if (str_is(p.filter, "len"))
        return val_of_int(val_is(v, VAL_STR) ? (int64_t)v->n : (int64_t)val_len(v));
    if (str_is(p.filter, "labels"))
        return val_of_str(labels_text(a, v));
    if (str_is(p.filter, "selector"))
        return val_of_str(selector_text(a, v));
    if (str_is(p.filter, "bool"))
        return val_of_str(val_bool(v, false) ? STR("True") : STR("False"));
    if (p.filter.n || hits->n != 1 || val_is(v, VAL_LIST) || val_is(v, VAL_MAP) || val_is(v, VAL_OBJ))
        return val_of_str(list_text(a, hits));
    return *v;
}

static struct val fallback_value(struct arena *a, struct str text)
{
    int64_t n;
    if (str_to_i64(text, &n) == 0)
        return val_of_int(n);
    if (str_is(text, "true") || str_is(text, "false"))
        return val_of_bool(text.n == 4);
    return val_of_str(arena_str(a, text));
}

static struct val eval_part(struct arena *a, struct str text, const struct val *v, struct wall now)
{
    struct part p = part_of(text);
    struct path_hits hits;
    path_find(a, v, p.path, &hits);
    struct val got = filtered(a, p, &hits, now);
    bool nothing = !hits.n || (val_is(&got, VAL_STR) && !got.n);
    if (nothing && p.has_fallback && !str_is(p.filter, "len"))
        return fallback_value(a, p.fallback);
    got.name = 0;
    return got;
}

static struct val eval(struct arena *a, struct str expr, const struct val *v, struct wall now)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct str head, rest;
    if (expr.n > 1 && expr.p[0] == '{' && str_find(expr, '}') == (ssize_t)expr.n - 1)
        return eval_part(a, str_slice(expr, 1, expr.n - 2), v, now);
    while (str_cut(expr, '{', &head, &rest)) {
        struct str inner;
        buf_putstr(&b, head);
        str_cut(rest, '}', &inner, &expr);
        struct val part = eval_part(a, inner, v, now);
        put_text(&b, &part);
    }
    buf_putstr(&b, expr);
    return val_of_str(arena_str(a, buf_str(&b)));
}

/* ---- columns of custom resources: JSONPath ------------------------------------------------------------- */

static struct val custom_cell(const struct column *c, const struct val *v, struct wall now, struct arena *a)
{
    struct path_hits hits;
    path_find(a, v, str_of(c->path), &hits);
    const struct val *first = hits.n ? hits.items[0] : NULL;
    if (strcmp(c->type, "date") == 0)
        return first ? val_of_str(age_text(a, first, now)) : (struct val){.kind = VAL_NULL};
    if (!first)
        return (struct val){.kind = VAL_NULL};
    bool string = strcmp(c->type, "string") == 0;
    if (string && !val_is(first, VAL_STR))
        return val_of_str(list_text(a, &hits));
    struct val got = *first;
    got.name = 0;
    return got;
}

/* ---- all cells ----------------------------------------------------------------------------------------- */

static const struct cell_rule *cell_find(const struct cell_rule *rules, const struct resource *r,
                                         const char *column)
{
    for (; rules->resource; rules++)
        if (rules->resource == r->index && strcmp(rules->column, column) == 0)
            return rules;
    return NULL;
}

static const struct cell_rule *rule_find(const struct resource *r, const char *column)
{
    static const struct cell_rule *const tables[] = {cells_pod, cells_core, cells_other};
    const struct cell_rule *rule = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(tables) && !rule; i++)
        rule = cell_find(tables[i], r, column);
    return rule;
}

static struct val computed_cell(const struct cell_rule *rule, const struct cell_in *in)
{
    struct str text = rule ? arena_str(in->arena, rule->fn(in)) : STR("");
    return rule && rule->scalar ? fallback_value(in->arena, text) : val_of_str(text);
}

void print_cells(const struct resource *r, const struct val *v, struct wall now, struct arena *a,
                 struct val *cells)
{
    const struct cell_in in = {.arena = a, .v = v, .now = now};
    for (unsigned i = 0; i < r->n_columns; i++) {
        const struct column *c = &r->columns[i];
        const struct cell_rule *rule = rule_find(r, c->name);
        if (rule || !c->path)
            cells[i] = computed_cell(rule, &in);
        else if (c->path[0] == '.' || (c->path[0] == '{' && c->path[1] == '.'))
            cells[i] = custom_cell(c, v, now, a);
        else
            cells[i] = eval(a, str_of(c->path), v, now);
    }
}
