/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/jsonpath-internal.h"

#include "wire/json.h"
#include "wire/quantity.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>

enum { MAX_VALUES = 1 << 22, MAX_DEPTH = 200 };

struct eval {
    struct arena *a;
    bool allow_missing;
    struct err *e;
    size_t total;
    int depth;
};

static int add(struct eval *x, struct jsonpath_values *l, const struct val *v)
{
    if (++x->total > MAX_VALUES)
        return err_set(x->e, -E2BIG, "the jsonpath gives too many values");
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 8;
        const struct val **items = ARENA_ARRAY(x->a, const struct val *, cap);
        if (l->n)
            memcpy(items, l->items, l->n * sizeof(*items));
        l->items = items;
        l->cap = cap;
    }
    l->items[l->n++] = v;
    return 0;
}

static int run_list(struct eval *x, const struct jsonpath_values *in, const struct jp_list *l,
                    struct jsonpath_values *out);

/* ---- steps ------------------------------------------------------------------------------------------------------ */

static int eval_field(struct eval *x, const struct jsonpath_values *in, const struct jp_node *n, struct jsonpath_values *out)
{
    for (size_t i = 0; i < in->n; i++) {
        const struct val *v = val_key(in->items[i], n->text);
        int r = v ? add(x, out, v) : 0;
        if (r < 0)
            return r;
    }
    if (in->n && !out->n && !x->allow_missing)
        return err_set(x->e, -ENOENT, STR_FMT " is not found", STR_ARG(n->text));
    return 0;
}

static int out_of_bounds(struct eval *x, int64_t index, int64_t len)
{
    return err_set(x->e, -ERANGE, "array index out of bounds: index %lld, length %lld", (long long)index, (long long)len);
}

static int eval_slice(struct eval *x, const struct val *v, const struct jp_node *n, struct jsonpath_values *out)
{
    int64_t len = v->n, from = n->index[0].known ? n->index[0].value : 0, to = n->index[1].known ? n->index[1].value : len;
    int64_t step = n->index[2].known ? n->index[2].value : 1;
    if (from < 0)
        from += len;
    if (to < 0 || (to == 0 && n->index[1].derived))
        to += len;
    if (from == to)
        return 0;
    if (from >= len || from < 0)
        return out_of_bounds(x, from, len);
    if (to > len || to < 0)
        return out_of_bounds(x, to - 1, len);
    if (from > to)
        return err_set(x->e, -ERANGE, "starting index %lld is greater than ending index %lld", (long long)from, (long long)to);
    if (step <= 0)
        return err_set(x->e, -ERANGE, "step must be > 0");
    for (; from < to; from += step) {
        int r = add(x, out, &v->items[from]);
        if (r < 0)
            return r;
    }
    return 0;
}

static const char *kind_word(const struct val *v)
{
    switch ((enum val_kind)v->kind) {
    case VAL_OBJ:
    case VAL_MAP:
        return "map[string]interface {}";
    case VAL_INT:
        return "int64";
    case VAL_FLOAT:
        return "float64";
    case VAL_BOOL:
        return "bool";
    default:
        return "string";
    }
}

static int eval_array(struct eval *x, const struct jsonpath_values *in, const struct jp_node *n, struct jsonpath_values *out)
{
    for (size_t i = 0; i < in->n; i++) {
        if (val_is(in->items[i], VAL_NULL))
            continue;
        if (!val_is(in->items[i], VAL_LIST))
            return err_set(x->e, -EINVAL, "%s is not array or slice", kind_word(in->items[i]));
        int r = eval_slice(x, in->items[i], n, out);
        if (r < 0)
            return r;
    }
    return 0;
}

static int add_children(struct eval *x, const struct val *v, struct jsonpath_values *out)
{
    bool pairs = val_is(v, VAL_MAP);
    int r = 0;
    if (!pairs && !val_is(v, VAL_OBJ) && !val_is(v, VAL_LIST))
        return 0;
    for (size_t i = 0; r == 0 && i < v->n; i++)
        r = add(x, out, pairs ? &v->items[2 * i + 1] : &v->items[i]);
    return r;
}

static int eval_wildcard(struct eval *x, const struct jsonpath_values *in, struct jsonpath_values *out)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < in->n; i++)
        r = add_children(x, in->items[i], out);
    return r;
}

static int eval_recursive(struct eval *x, const struct jsonpath_values *in, struct jsonpath_values *out)
{
    int r = 0;
    if (++x->depth > MAX_DEPTH)
        return err_set(x->e, -E2BIG, "the value is nested too deeply");
    for (size_t i = 0; r == 0 && i < in->n; i++) {
        struct jsonpath_values below = {0};
        r = add_children(x, in->items[i], &below);
        if (r < 0 || !below.n)
            continue;
        r = add(x, out, in->items[i]);
        if (r == 0)
            r = eval_recursive(x, &below, out);
    }
    x->depth--;
    return r;
}

static int eval_union(struct eval *x, const struct jsonpath_values *in, const struct jp_node *n, struct jsonpath_values *out)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < n->n_lists; i++) {
        struct jsonpath_values part = {0};
        r = run_list(x, in, n->lists[i], &part);
        for (size_t k = 0; r == 0 && k < part.n; k++)
            r = add(x, out, part.items[k]);
    }
    return r;
}

/* ---- filters -------------------------------------------------------------------------------------------------------- */

bool scalars_order(const struct val *a, const struct val *b, int *ret)
{
    if (a->kind != b->kind)
        return false;
    switch ((enum val_kind)a->kind) {
    case VAL_BOOL:
        *ret = a->b - b->b;
        return true;
    case VAL_INT:
        *ret = (a->i > b->i) - (a->i < b->i);
        return true;
    case VAL_FLOAT:
        *ret = (a->f > b->f) - (a->f < b->f);
        return true;
    case VAL_STR:
        *ret = str_cmp(val_str(a), val_str(b));
        return true;
    default:
        return false;
    }
}

static int bad_comparison(struct eval *x)
{
    return err_set(x->e, -EINVAL, "incompatible types for comparison");
}

static int passes(struct eval *x, const struct jp_node *n, const struct val *a, const struct val *b, bool *ret)
{
    static const struct {
        const char *op;
        bool less, equal, greater;
    } ops[] = {{"<", true, false, false},  {">", false, false, true},   {"==", false, true, false},
               {"!=", true, false, true},  {"<=", true, true, false}, {">=", false, true, true}};
    int order = 0, r;
    for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
        if (!str_is(n->op, ops[i].op))
            continue;
        r = scalars_order(a, b, &order) ? 0 : bad_comparison(x);
        *ret = order < 0 ? ops[i].less : order > 0 ? ops[i].greater : ops[i].equal;
        return r;
    }
    return err_set(x->e, -EINVAL, "unrecognized filter operator " STR_FMT, STR_ARG(n->op));
}

static int filter_item(struct eval *x, const struct jp_node *n, const struct val *item, bool *ret)
{
    struct jsonpath_values self = {.items = &item, .n = 1}, left = {0}, right = {0};
    int r = run_list(x, &self, n->left, &left);
    *ret = false;
    if (str_is(n->op, "exists")) {
        *ret = left.n > 0;
        return 0; /* what is missing does not exist: no error */
    }
    if (r < 0)
        return r;
    r = run_list(x, &self, n->right, &right);
    if (r < 0 || !left.n || !right.n)
        return r;
    if (left.n > 1 || right.n > 1)
        return err_set(x->e, -EINVAL, "can only compare one element at a time");
    return passes(x, n, left.items[0], right.items[0], ret);
}

static int eval_filter(struct eval *x, const struct jsonpath_values *in, const struct jp_node *n, struct jsonpath_values *out)
{
    for (size_t i = 0; i < in->n; i++) {
        const struct val *v = in->items[i];
        if (!val_is(v, VAL_LIST)) {
            struct buf b CLEANUP_BUF = BUF_INIT;
            text_of_value(&b, v);
            return err_set(x->e, -EINVAL, STR_FMT " is not array or slice and cannot be filtered", STR_ARG(buf_str(&b)));
        }
        for (size_t k = 0; k < v->n; k++) {
            bool pass;
            int r = filter_item(x, n, &v->items[k], &pass);
            if (r == 0 && pass)
                r = add(x, out, &v->items[k]);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* ---- walking ---------------------------------------------------------------------------------------------------------- */

static int repeat(struct eval *x, const struct jsonpath_values *in, const struct val *v, struct jsonpath_values *out)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < in->n; i++)
        r = add(x, out, v);
    return r;
}

static int step(struct eval *x, const struct jsonpath_values *in, const struct jp_node *n, struct jsonpath_values *out)
{
    switch (n->kind) {
    case JP_TEXT:
        return add(x, out, &n->value);
    case JP_LIST:
        return run_list(x, in, n->list, out);
    case JP_FIELD:
        return eval_field(x, in, n, out);
    case JP_ARRAY:
        return eval_array(x, in, n, out);
    case JP_FILTER:
        return eval_filter(x, in, n, out);
    case JP_INT:
    case JP_FLOAT:
    case JP_BOOL:
        return repeat(x, in, &n->value, out);
    case JP_WILDCARD:
        return eval_wildcard(x, in, out);
    case JP_RECURSIVE:
        return eval_recursive(x, in, out);
    case JP_UNION:
        return eval_union(x, in, n, out);
    case JP_RANGE:
        *out = *in;
        return 0;
    case JP_END:
        return 0;
    }
    return 0;
}

static int run_list(struct eval *x, const struct jsonpath_values *in, const struct jp_list *l, struct jsonpath_values *out)
{
    struct jsonpath_values now = *in;
    for (size_t i = 0; i < l->n; i++) {
        struct jsonpath_values next = {0};
        int r = step(x, &now, &l->items[i], &next);
        if (r < 0)
            return r;
        now = next;
    }
    *out = now;
    return 0;
}

static bool has(const struct jp_node *n, enum jp_kind kind)
{
    return n->kind == JP_LIST && n->list->n && n->list->items[0].kind == kind;
}

/* The index of the {end} that closes the range whose body starts at `from`; l->n when it is missing. */
static size_t find_end(const struct jp_list *l, size_t from)
{
    int depth = 1;
    for (; from < l->n; from++) {
        depth += has(&l->items[from], JP_RANGE) - has(&l->items[from], JP_END);
        if (!depth)
            break;
    }
    return from;
}

/* What one part of the template gave. */
typedef int sink_fn(struct eval *x, void *arg, const struct jsonpath_values *v);

static int run(struct eval *x, const struct jp_list *l, size_t from, size_t to, const struct val *v, sink_fn *sink, void *arg)
{
    struct jsonpath_values self = {.items = &v, .n = v ? 1 : 0};
    for (size_t i = from; i < to; i++) {
        const struct jp_node *n = &l->items[i];
        struct jsonpath_values out = {0};
        if (has(n, JP_END))
            return err_set(x->e, -EINVAL, "not in range, nothing to end");
        int r = step(x, &self, n, &out);
        if (r == 0 && has(n, JP_RANGE)) {
            size_t end = find_end(l, i + 1);
            for (size_t k = 0; r == 0 && k < out.n; k++)
                r = run(x, l, i + 1, MIN(end, to), out.items[k], sink, arg);
            i = end;
        } else if (r == 0) {
            r = sink(x, arg, &out);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- results ------------------------------------------------------------------------------------------------------------ */

static int print_values(struct eval *x UNUSED, void *arg, const struct jsonpath_values *v)
{
    struct buf *b = arg;
    for (size_t i = 0; i < v->n; i++) {
        const struct val *it = v->items[i];
        if (i)
            buf_putc(b, ' ');
        if (val_is(it, VAL_MAP) || val_is(it, VAL_OBJ) || val_is(it, VAL_LIST))
            json_encode(b, NULL, it, JSON_SORTED);
        else if (val_is(it, VAL_NULL))
            buf_puts(b, "null");
        else
            text_of_value(b, it);
    }
    return 0;
}

static int collect_values(struct eval *x, void *arg, const struct jsonpath_values *v)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < v->n; i++)
        r = add(x, arg, v->items[i]);
    return r;
}

int jsonpath_print(const struct jsonpath *p, struct arena *a, const struct val *v, bool allow_missing, struct buf *out,
                   struct err *e)
{
    struct eval x = {.a = a, .allow_missing = allow_missing, .e = e};
    return run(&x, &p->root, 0, p->root.n, v, print_values, out);
}

int jsonpath_find(const struct jsonpath *p, struct arena *a, const struct val *v, bool allow_missing,
                  struct jsonpath_values *ret, struct err *e)
{
    struct eval x = {.a = a, .allow_missing = allow_missing, .e = e};
    *ret = (struct jsonpath_values){0};
    return run(&x, &p->root, 0, p->root.n, v, collect_values, ret);
}

/* ---- texts and order ------------------------------------------------------------------------------------------------------ */

static void text_of_pairs(struct buf *b, const struct val *v)
{
    buf_puts(b, "map[");
    for (size_t i = 0; i < v->n; i++) {
        bool pair = v->kind == VAL_MAP;
        struct str key = pair ? val_str(&v->items[2 * i]) : name_str(v->items[i].name);
        buf_printf(b, "%s" STR_FMT ":", i ? " " : "", STR_ARG(key));
        text_of_value(b, pair ? &v->items[2 * i + 1] : &v->items[i]);
    }
    buf_putc(b, ']');
}

void text_of_value(struct buf *b, const struct val *v)
{
    switch (v ? (enum val_kind)v->kind : VAL_NULL) {
    case VAL_NULL:
        buf_puts(b, "<nil>");
        return;
    case VAL_BOOL:
        buf_puts(b, v->b ? "true" : "false");
        return;
    case VAL_INT:
        buf_printf(b, "%lld", (long long)v->i);
        return;
    case VAL_FLOAT:
        json_encode_float(b, v->f);
        return;
    case VAL_STR:
    case VAL_BYTES:
    case VAL_RAW:
        buf_putstr(b, val_str(v));
        return;
    case VAL_LIST:
        buf_putc(b, '[');
        for (size_t i = 0; i < v->n; i++) {
            if (i)
                buf_putc(b, ' ');
            text_of_value(b, &v->items[i]);
        }
        buf_putc(b, ']');
        return;
    case VAL_OBJ:
    case VAL_MAP:
        text_of_pairs(b, v);
        return;
    }
}

static struct str digits(struct str s, size_t at)
{
    size_t n = 0;
    while (at + n < s.n && isdigit((unsigned char)s.p[at + n]))
        n++;
    return str_slice(s, at, n);
}

static struct str without_zeros(struct str s)
{
    while (s.n > 1 && s.p[0] == '0')
        s = str_from(s, 1);
    return s;
}

/* "pod-2" before "pod-10": runs of digits compare as numbers. */
static int natural_order(struct str a, struct str b)
{
    size_t i = 0, k = 0;
    while (i < a.n && k < b.n) {
        struct str da = digits(a, i), db = digits(b, k);
        if (da.n && db.n) {
            struct str na = without_zeros(da), nb = without_zeros(db);
            int r = na.n != nb.n ? (na.n > nb.n) - (na.n < nb.n) : str_cmp(na, nb);
            if (r)
                return r;
            if (da.n != db.n)
                return da.n < db.n ? -1 : 1;
            i += da.n;
            k += db.n;
            continue;
        }
        if (a.p[i] != b.p[k])
            return (unsigned char)a.p[i] < (unsigned char)b.p[k] ? -1 : 1;
        i++;
        k++;
    }
    return (i < a.n) - (k < b.n);
}

int value_order(const struct val *a, const struct val *b)
{
    struct quantity qa, qb;
    bool na = !a || a->kind == VAL_NULL, nb = !b || b->kind == VAL_NULL;
    if (na || nb)
        return nb - na;
    if ((a->kind == VAL_INT || a->kind == VAL_FLOAT) && (b->kind == VAL_INT || b->kind == VAL_FLOAT)) {
        double da = val_float(a, (double)val_int(a, 0)), db = val_float(b, (double)val_int(b, 0));
        return (da > db) - (da < db);
    }
    if (a->kind == VAL_BOOL && b->kind == VAL_BOOL)
        return a->b - b->b;
    struct str sa = val_str(a), sb = val_str(b);
    if (quantity_parse(sa, &qa, NULL) == 0 && quantity_parse(sb, &qb, NULL) == 0)
        return quantity_cmp(qa, qb);
    return natural_order(sa, sb);
}
