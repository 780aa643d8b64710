/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least and the most an expression may cost, before it ever runs: what decides whether a custom resource's rule is
 * admitted. The rules are cel-go's (checker/cost.go) and Kubernetes' (library/cost.go); sizes of what is not in the
 * source come from declared types (cel_type.max), followed along names, selections, indexes and variables of folds.
 */
#include "cel/cel-internal.h"

#include <math.h>

struct range { /* of a size or a cost */
    uint64_t min, max;
};

struct size {
    bool known;
    struct range r;
};

struct entries { /* sizes of what is in a list or map literal or fold */
    bool known;
    uint8_t kind;
    struct range key, value;
};

struct note { /* what is known of a node */
    struct size size;
    struct entries entries;
    const struct cel_type *decl; /* the declared type that its path leads to */
    bool pathed;                 /* it has a path, also one that leads nowhere */
};

struct local {
    const struct cel_type *decl;
    bool pathed;
    struct size size;
    struct entries entries;
};

struct estimator {
    struct arena arena;
    struct local *locals;
    /* A rule's `self`: upstream's estimator for custom resources takes every path to start there, also those that start at
     * a type's name or behind a call. NULL for other uses. */
    const struct cel_type *root;
};

static const struct range unknown = {0, UINT64_MAX}, one = {1, 1};

/* ---- arithmetic that stays at the top --------------------------------------------------------------------------- */

static uint64_t add64(uint64_t x, uint64_t y)
{
    return x > UINT64_MAX - y ? UINT64_MAX : x + y;
}

static uint64_t mul64(uint64_t x, uint64_t y)
{
    uint64_t r;
    return __builtin_mul_overflow(x, y, &r) ? UINT64_MAX : r;
}

static uint64_t scale64(uint64_t x, double by)
{
    double d = ceil((double)x * by);
    return d >= 18446744073709551616.0 ? UINT64_MAX : (uint64_t)d;
}

static struct range fixed(uint64_t n)
{
    return (struct range){n, n};
}

static struct range add(struct range x, struct range y)
{
    return (struct range){add64(x.min, y.min), add64(x.max, y.max)};
}

static struct range mul(struct range x, struct range y)
{
    return (struct range){mul64(x.min, y.min), mul64(x.max, y.max)};
}

static struct range scale(struct range x, double by)
{
    return (struct range){scale64(x.min, by), scale64(x.max, by)};
}

static struct range join(struct range x, struct range y)
{
    return (struct range){MIN(x.min, y.min), MAX(x.max, y.max)};
}

static struct size sized(struct range r)
{
    return (struct size){true, r};
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

static struct note *note(struct estimator *k, struct cel_node *x)
{
    if (!x->note)
        x->note = ARENA_NEW(&k->arena, struct note);
    return x->note;
}

static const struct cel_type *decl_of(struct estimator *k, struct cel_node *x)
{
    return x->kind == X_IDENT && (x->flags & X_LOCAL) ? k->locals[x->slot].decl : note(k, x)->decl;
}

static bool is_pathed(struct estimator *k, struct cel_node *x)
{
    return x->kind == X_IDENT && (x->flags & X_LOCAL) ? k->locals[x->slot].pathed : note(k, x)->pathed;
}

static struct size decl_size(const struct cel_type *t)
{
    return t && (t->max || (t->flags & CEL_SIZED)) ? sized((struct range){0, t->max}) : (struct size){0};
}

static bool is_scalar(const struct cel_type *t)
{
    if (t->kind == CEL_OPTIONAL)
        return is_scalar(t->params[0]);
    return t->kind == CEL_BOOL || t->kind == CEL_DOUBLE || t->kind == CEL_DURATION || t->kind == CEL_INT ||
           t->kind == CEL_TIMESTAMP || t->kind == CEL_UINT;
}

/* What the source alone says. */
static struct size source_size(const struct cel_node *x)
{
    if (x->kind == X_LIST || x->kind == X_MAP)
        return sized(fixed(x->n));
    if (x->kind != X_LITERAL || x->literal.kind == CEL_TYPE)
        return (struct size){0};
    return sized(fixed(x->literal.kind == CEL_STRING || x->literal.kind == CEL_BYTES ? cel_size(x->literal) : 1));
}

static struct size size_of(struct estimator *k, struct cel_node *x)
{
    struct note *n = note(k, x);
    if (n->size.known)
        return n->size;
    struct size s = source_size(x);
    if (!s.known)
        s = n->size = decl_size(decl_of(k, x));
    if (!s.known && is_scalar(x->type))
        s = sized(one);
    if (!s.known && x->kind == X_IDENT && (x->flags & X_LOCAL))
        s = k->locals[x->slot].size;
    return s;
}

static struct range size_or_unknown(struct estimator *k, struct cel_node *x)
{
    struct size s = size_of(k, x);
    return s.known ? s.r : unknown;
}

static struct entries entries_of(struct estimator *k, struct cel_node *x)
{
    struct note *n = note(k, x);
    if (!n->entries.known && x->kind == X_IDENT && (x->flags & X_LOCAL))
        return k->locals[x->slot].entries;
    return n->entries;
}

static struct entries join_entries(struct entries a, struct entries b)
{
    if (!a.known || !b.known)
        return (struct entries){0};
    return (struct entries){true, a.kind, join(a.key, b.key), join(a.value, b.value)};
}

static void set_entries(struct estimator *k, struct cel_node *x, struct entries e)
{
    if (e.known)
        note(k, x)->entries = e;
}

/* Types below a declared type: of items, keys and values. */
static const struct cel_type *decl_param(const struct cel_type *t, enum cel_kind kind, unsigned i)
{
    return t && t->kind == kind && t->n_params > i ? t->params[i] : NULL;
}

/* The type that one step further leads to, `next` being what it leads to from x's declared type. */
static const struct cel_type *step_decl(struct estimator *k, struct cel_node *x, const struct cel_type *next)
{
    return is_pathed(k, x) ? next : k->root;
}

static const struct cel_type *decl_field(const struct cel_type *t, struct str name)
{
    const struct cel_field *f = t && t->kind == CEL_OBJECT ? cel_type_field(t, name) : NULL;
    if (f)
        return f->type;
    /* Names of DRA's attributes: all have one declared size. */
    const struct cel_type *value = decl_param(t, CEL_MAP, 1);
    return value && value->kind == CEL_DYN && value->max ? value : NULL;
}

/* ---- calls -------------------------------------------------------------------------------------------------------- */

struct call {
    struct estimator *k;
    const struct cel_overload *o;
    struct cel_node *x;
    struct cel_node *v[CEL_MAX_ARGS]; /* the receiver first */
    unsigned n;
    struct size result;
};

static struct range sz(struct call *c, unsigned i)
{
    return i < c->n ? size_or_unknown(c->k, c->v[i]) : unknown;
}

static uint64_t constant(const struct cel_node *x, uint64_t otherwise)
{
    if (x->kind != X_LITERAL || x->literal.kind != CEL_INT)
        return otherwise;
    return x->literal.i < 0 ? 0 : (uint64_t)x->literal.i;
}

static struct range list_call(struct call *c, double factor, struct range size)
{
    c->result = sized(size);
    return add(scale(size, factor), fixed(11));
}

/* As Go converts on amd64 what is too large for 64 bits: stored rules were admitted by that. */
static uint64_t whole(double d)
{
    d = ceil(d);
    return d >= 18446744073709551616.0 ? UINT64_C(1) << 63 : (uint64_t)d;
}

/* The longest and shortest that replace() may give. */
static struct range replaced_size(struct call *c)
{
    struct range s = sz(c, 0), from = sz(c, 1), to = sz(c, 2), count = {0, 0}, kept = {0, 0};
    if (from.min == 0) {
        count.max = add64(s.max, 1);
        kept.max = s.max;
    } else if (to.max <= from.min) {
        kept.max = s.max;
    } else {
        count.max = whole((double)s.max / (double)from.min);
    }
    if (from.max == 0) {
        count.min = add64(s.min, 1);
        kept.min = s.min;
    } else if (from.max <= to.min) {
        kept.min = s.min;
    } else {
        count.min = whole((double)s.min / (double)from.max);
    }
    return add(mul(count, to), kept);
}

static struct range text_twice(struct call *c)
{
    struct str name = str_of(c->o->fn->name);
    if (str_is(name, "replace")) {
        c->result = sized(replaced_size(c));
    } else if (str_is(name, "split")) {
        c->result = sized((struct range){0, c->n > 2 ? constant(c->v[2], sz(c, 0).max) : sz(c, 0).max});
    }
    return scale(sz(c, 0), 0.2);
}

/* The size of each item of the list v[i], from its declaration. */
static struct range item_size(struct call *c, unsigned i)
{
    struct size s = decl_size(decl_param(decl_of(c->k, c->v[i]), CEL_LIST, 0));
    return s.known ? s.r : unknown;
}

static struct range joined(struct call *c)
{
    struct range list = sz(c, 0), size = mul(list, item_size(c, 0));
    if (c->n > 1)
        size = add(size, mul(sz(c, 1), (struct range){list.min - (list.min > 0), list.max - (list.max > 0)}));
    c->result = sized(size);
    return scale(size, 0.1);
}

static struct range traversed(struct call *c)
{
    const struct cel_type *t = c->v[0]->type;
    struct range each = one;
    if (!t->n_params)
        return scale(sz(c, 0), str_is(str_of(c->o->fn->name), "includes") ? 1 : 0.1);
    if (t->params[0]->kind == CEL_STRING || t->params[0]->kind == CEL_BYTES)
        each = add(each, scale(item_size(c, 0), 0.1));
    return mul(sz(c, 0), each);
}

static struct range regex(struct call *c)
{
    if (str_starts(str_of(c->o->fn->name), STR("find")))
        c->result = sized((struct range){0, sz(c, 0).max});
    return mul(scale(add(sz(c, 0), one), 0.1), scale(sz(c, 1), 0.25));
}

static struct range arg0(struct call *c)
{
    static const char *const same[] = {"url", "jsonpatch.escapeKey", "lowerAscii", "upperAscii", "substring", "trim"};
    for (size_t i = 0; i < ARRAY_SIZE(same); i++)
        if (!strcmp(c->o->fn->name, same[i]))
            c->result = sized(sz(c, 0));
    return scale(sz(c, 0), 0.1);
}

/* bytes(), string(bytes), quote(), format() */
static struct range converted(struct call *c)
{
    struct range s = sz(c, 0);
    const char *id = c->o->fn->id;
    if (!strcmp(id, "string_to_bytes"))
        c->result = sized((struct range){s.min, s.max * 4});
    else if (!strcmp(id, "bytes_to_string"))
        c->result = sized((struct range){s.min / 4, s.max});
    else if (!strcmp(id, "strings_quote"))
        c->result = sized((struct range){s.min + 2, s.max * 2 + 2});
    return scale(s, 0.1);
}

static struct range added(struct call *c)
{
    struct range size = add(sz(c, 0), sz(c, 1));
    set_entries(c->k, c->x, join_entries(entries_of(c->k, c->v[0]), entries_of(c->k, c->v[1])));
    c->result = sized(size);
    return c->o->fn->cost == COST_SUM ? scale(size, 0.1) : one;
}

static struct range compared(struct call *c)
{
    uint64_t max = MIN(sz(c, 0).max, sz(c, 1).max);
    return scale((struct range){max > 0, max}, 0.1);
}

static struct range equality(struct call *c, bool equal)
{
    const struct cel_type *t = c->v[0]->type;
    if (equal && t->kind == CEL_OPAQUE && cel_type_same(t, c->v[1]->type)) {
        struct size right = size_of(c->k, c->v[1]);
        if (str_eq(t->name, cel_url.name) && right.known)
            return scale((struct range){1, right.r.max}, 0.1);
        return str_eq(t->name, cel_format.name) ? (struct range){1, 7} : one;
    }
    return compared(c);
}

static struct range list_result(struct call *c)
{
    struct range list = sz(c, 0);
    if (!strcmp(c->o->fn->name, "slice"))
        list = fixed(constant(c->v[2], list.max) - constant(c->v[1], 0));
    else if (!strcmp(c->o->fn->name, "lists.range"))
        list = fixed(constant(c->v[0], UINT64_MAX));
    return list_call(c, 1, list);
}

static struct range sorted(struct call *c, unsigned i)
{
    const struct cel_type *t = c->o->args[i];
    bool text = t->kind == CEL_LIST && (t->params[0]->kind == CEL_STRING || t->params[0]->kind == CEL_BYTES);
    return list_call(c, text ? 2.1 : 2, mul(sz(c, i), sz(c, i)));
}

static struct range selector(struct call *c)
{
    return add(add(fixed(10), scale(sz(c, 1), 0.1)), scale(scale(sz(c, 1), 0.5), 50));
}

/* What the function itself costs, without its arguments. */
static struct range call_cost(struct call *c)
{
    switch ((enum cel_cost_rule)c->o->fn->cost) {
    case COST_ONE:
    case COST_NONE:
        return !strcmp(c->o->fn->id, "add_list") ? added(c) : one;
    case COST_ARG0:
        return arg0(c);
    case COST_ARG0_TWICE:
        return text_twice(c);
    case COST_RESULT_TWICE:
        return joined(c);
    case COST_ARG0_ONLY:
        return converted(c);
    case COST_ARG1:
        return scale(sz(c, 1), 0.1);
    case COST_SUM:
        return added(c);
    case COST_LESS:
        return compared(c);
    case COST_IN_LIST:
        return sz(c, 1);
    case COST_CONTAINS:
        return mul(scale(sz(c, 0), 0.1), scale(sz(c, 1), 0.1));
    case COST_REGEX:
        return regex(c);
    case COST_TRAVERSE:
        return traversed(c);
    case COST_FORMAT:
        return scale(scale(sz(c, 1), 0.1), 32);
    case COST_CIDR_IP:
        return (struct range){1, 4};
    case COST_CIDR_IP_STRING:
        return add((struct range){1, 4}, scale(sz(c, 1), 0.1));
    case COST_CIDR_CIDR:
        return (struct range){3, 7};
    case COST_CIDR_CIDR_STRING:
        return add((struct range){3, 7}, scale(sz(c, 1), 0.1));
    case COST_CHECK:
        return fixed(350000);
    case COST_SELECTOR:
        return selector(c);
    case COST_LIST_RESULT:
        return list_result(c);
    case COST_FLATTEN:
        return list_call(c, c->n > 1 ? (double)constant(c->v[1], UINT64_MAX) : 1, sz(c, 0));
    case COST_SORT:
        return sorted(c, 0);
    case COST_SORT_BY:
        return sorted(c, 1);
    case COST_SETS:
        return add(mul(sz(c, 0), sz(c, 1)), one);
    case COST_SETS_TWICE:
        return add(scale(mul(sz(c, 0), sz(c, 1)), 2), one);
    }
    return one;
}

static struct range estimate(struct estimator *k, struct cel_node *x);

static struct range overload_cost(struct call *c)
{
    switch ((enum cel_node_op)c->x->op) {
    case OP_EQ:
        return equality(c, true);
    case OP_NE:
        return equality(c, false);
    case OP_INDEX:
        return one;
    default:
        return call_cost(c);
    }
}

/* The overloads' union; each may tell how long the result is. */
static NOINLINE struct range function_cost(struct call *c)
{
    struct range sum = {UINT64_MAX, 0};
    struct cel_node *x = c->x;
    for (uint32_t i = 0; i < x->n_overloads; i++) {
        c->o = x->overloads[i];
        struct size before = c->result;
        c->result = (struct size){0};
        sum = join(sum, overload_cost(c));
        if (before.known && c->result.known)
            c->result = sized(join(before.r, c->result.r));
        else if (before.known)
            c->result = before;
        if (x->op == OP_INDEX && c->o->args[0]->kind != CEL_OPTIONAL) {
            struct entries e = entries_of(c->k, c->v[0]);
            bool list = c->o->args[0]->kind == CEL_LIST;
            c->result = e.known ? sized(e.value) : (struct size){0};
            note(c->k, x)->decl =
                step_decl(c->k, c->v[0], decl_param(decl_of(c->k, c->v[0]), list ? CEL_LIST : CEL_MAP, list ? 0 : 1));
            note(c->k, x)->pathed = true;
        }
        if (!c->result.known)
            c->result = size_of(c->k, x);
    }
    if (c->result.known)
        note(c->k, x)->size = c->result;
    return sum;
}

static NOINLINE struct range estimate_if(struct estimator *k, struct cel_node *x)
{
    struct range c = estimate(k, x->args[0]), yes = estimate(k, x->args[1]), no = estimate(k, x->args[2]);
    note(k, x)->size = sized(join(size_or_unknown(k, x->args[1]), size_or_unknown(k, x->args[2])));
    set_entries(k, x, join_entries(entries_of(k, x->args[1]), entries_of(k, x->args[2])));
    return add(c, join(yes, no));
}

static NOINLINE struct range estimate_call(struct estimator *k, struct cel_node *x)
{
    struct call c = {.k = k, .x = x};
    struct range sum = {0, 0};
    if (x->op == OP_IF)
        return estimate_if(k, x);
    if (x->op == OP_AND || x->op == OP_OR) {
        struct range left = estimate(k, x->args[0]), right = estimate(k, x->args[1]);
        return (struct range){left.min, add(left, right).max};
    }
    if (x->target)
        c.v[c.n++] = x->target;
    for (uint32_t i = 0; i < x->n && c.n < CEL_MAX_ARGS; i++)
        c.v[c.n++] = x->args[i];
    for (unsigned i = 0; i < c.n; i++)
        sum = add(sum, estimate(k, c.v[i]));
    if (x->op == OP_OPT_SELECT)
        return add(sum, one);
    if (!x->target && x->n == 1 && str_is(x->name, "dyn")) {
        note(k, x)->size = size_of(k, x->args[0]);
        set_entries(k, x, entries_of(k, x->args[0]));
        return add(sum, one);
    }
    return add(sum, function_cost(&c));
}

/* ---- the rest -------------------------------------------------------------------------------------------------------- */

static NOINLINE struct range estimate_select(struct estimator *k, struct cel_node *x)
{
    struct range sum = estimate(k, x->target);
    if (x->flags & X_TEST)
        return sum;
    note(k, x)->decl = step_decl(k, x->target, decl_field(decl_of(k, x->target), x->name));
    note(k, x)->pathed = true;
    uint8_t kind = x->target->type->kind;
    return kind == CEL_MAP || kind == CEL_OBJECT ? add(sum, one) : sum;
}

static NOINLINE struct range estimate_literal(struct estimator *k, struct cel_node *x, bool map)
{
    struct range sum = {0, 0}, none = {x->n ? UINT64_MAX : 0, 0};
    struct entries e = {true, map ? CEL_MAP : CEL_LIST, map ? none : one, none};
    for (uint32_t i = 0; i < x->n; i++) {
        struct cel_node *value = x->args[map ? 2 * i + 1 : i];
        if (map) {
            sum = add(sum, estimate(k, x->args[2 * i]));
            e.key = join(e.key, size_or_unknown(k, x->args[2 * i]));
        }
        sum = add(sum, estimate(k, value));
        e.value = join(e.value, size_or_unknown(k, value));
    }
    set_entries(k, x, e);
    return add(sum, fixed(map ? 30 : 10));
}

static NOINLINE struct range estimate_struct(struct estimator *k, struct cel_node *x)
{
    struct range sum = fixed(40);
    for (uint32_t i = 0; i < x->n; i++)
        sum = add(sum, estimate(k, x->args[i]));
    return sum;
}

static NOINLINE void set_local(struct estimator *k, unsigned slot, const struct cel_type *decl, bool pathed, struct size size,
                      struct entries e)
{
    k->locals[slot] = (struct local){decl, pathed, size, e};
}

static bool is_bind(const struct cel_node *x)
{
    const struct cel_node *range = x->args[FOLD_RANGE], *cond = x->args[FOLD_COND];
    return range->kind == X_LIST && range->n == 0 && cond->kind == X_LITERAL && cond->literal.kind == CEL_BOOL &&
           !cond->literal.b;
}

/* Variables of the fold by its range: the index or key, and the item or value. */
static NOINLINE void set_range_locals(struct estimator *k, struct cel_node *x)
{
    struct cel_node *range = x->args[FOLD_RANGE];
    const struct cel_type *decl = decl_of(k, range);
    struct entries e = entries_of(k, range);
    bool list = (e.known ? e.kind : range->type->kind) == CEL_LIST;
    struct size key = e.known ? sized(e.key) : (struct size){0}, value = e.known ? sized(e.value) : (struct size){0};
    const struct cel_type *of_key = step_decl(k, range, list ? NULL : decl_param(decl, CEL_MAP, 0));
    const struct cel_type *of_value = step_decl(k, range, decl_param(decl, list ? CEL_LIST : CEL_MAP, list ? 0 : 1));
    bool item = list && !x->iter2.n;
    set_local(k, x->iter_slot, item ? of_value : of_key, true, item ? value : key, (struct entries){0});
    if (x->iter2.n)
        set_local(k, x->iter2_slot, of_value, true, value, (struct entries){0});
}

static NOINLINE struct range estimate_fold(struct estimator *k, struct cel_node *x)
{
    struct cel_node *range = x->args[FOLD_RANGE], *init = x->args[FOLD_INIT];
    struct range sum = add(estimate(k, range), estimate(k, init));
    set_local(k, x->accu_slot, decl_of(k, init), is_pathed(k, init), size_of(k, init), entries_of(k, init));
    if (is_bind(x)) {
        struct cel_node *body = x->args[FOLD_RESULT];
        sum = add(sum, estimate(k, body));
        note(k, x)->size = size_of(k, body);
        set_entries(k, x, entries_of(k, body));
        return sum;
    }
    set_range_locals(k, x);
    struct range loop = estimate(k, x->args[FOLD_COND]), step = estimate(k, x->args[FOLD_STEP]);
    sum = add(sum, estimate(k, x->args[FOLD_RESULT]));
    struct range count = size_or_unknown(k, range);
    if (init->kind == X_LITERAL) {
        note(k, x)->size = size_of(k, init);
    } else if (init->kind == X_LIST || init->kind == X_MAP) {
        note(k, x)->size = sized(count);
        set_entries(k, x, entries_of(k, x->args[FOLD_STEP]));
    }
    return add(sum, mul(count, add(step, loop)));
}

static struct range estimate(struct estimator *k, struct cel_node *x)
{
    switch ((enum cel_node_kind)x->kind) {
    case X_LITERAL: /* a type's name is one to upstream */
        if (x->literal.kind == CEL_TYPE)
            *note(k, x) = (struct note){.decl = k->root, .pathed = true};
        return fixed(x->literal.kind == CEL_TYPE);
    case X_IDENT:
        if (!(x->flags & X_LOCAL)) {
            note(k, x)->decl = x->type;
            note(k, x)->pathed = true;
        }
        return one;
    case X_SELECT:
        return estimate_select(k, x);
    case X_CALL:
        return estimate_call(k, x);
    case X_LIST:
        return estimate_literal(k, x, false);
    case X_MAP:
        return estimate_literal(k, x, true);
    case X_STRUCT:
        return estimate_struct(k, x);
    case X_FOLD:
        return estimate_fold(k, x);
    }
    return unknown;
}

void cel_estimate_program(struct cel_program *p)
{
    struct estimator k = {.arena = ARENA_INIT};
    if (p->env->n_vars && (p->env->vars[0].type->flags & CEL_SIZED))
        k.root = p->env->vars[0].type;
    k.locals = ARENA_ARRAY(&k.arena, struct local, p->n_slots + 1);
    struct range r = estimate(&k, p->root);
    p->estimate = (struct cel_cost){r.min, r.max};
    arena_done(&k.arena); /* the notes of the nodes with it: nobody looks at them again */
}

struct cel_cost cel_estimate(const struct cel_program *p)
{
    return p->estimate;
}
