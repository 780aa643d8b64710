/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evaluation walks the tree. Errors are values that make their way up; && and || forget an error when the other side
 * decides. What a step costs is cel-go's account (interpreter/runtimecost.go): a program that upstream lets run must run
 * here, and one that it stops must be stopped.
 */
#include "cel/cel-internal.h"

#include <math.h>

/* ---- cost --------------------------------------------------------------------------------------------------- */

void cel_charge(struct cel_run *r, uint64_t cost)
{
    r->cost = r->cost > UINT64_MAX - cost ? UINT64_MAX : r->cost + cost;
    if (r->limit && r->cost > r->limit)
        r->over = true;
}

/* Sizes as cel-go's traits.Sizer has them: what has none counts as one. */
static uint64_t size_of(struct cel_val v)
{
    switch ((enum cel_kind)v.kind) {
    case CEL_STRING:
    case CEL_BYTES:
    case CEL_LIST:
    case CEL_MAP:
        return cel_size(v);
    case CEL_OPTIONAL:
        return v.inner ? size_of(*v.inner) : 1;
    case CEL_OPAQUE:
        return v.opaque->size ? v.opaque->size : 1;
    default:
        return 1;
    }
}

static uint64_t part(double size, double factor)
{
    return (uint64_t)ceil(size * factor);
}

uint64_t cel_equal_cost(struct cel_val x, struct cel_val y)
{
    if (x.kind == CEL_OPAQUE)
        return 1;
    return part((double)MIN(size_of(x), size_of(y)), 0.1);
}

static uint64_t traversal(struct arena *a, struct cel_val v, unsigned depth)
{
    if (depth > 64)
        return 1;
    if (v.kind == CEL_STRING || v.kind == CEL_BYTES)
        return (uint64_t)(v.n * 0.1);
    if (v.kind != CEL_LIST && v.kind != CEL_MAP)
        return 1;
    uint64_t sum = 0;
    size_t pos = 0;
    struct cel_val k, x;
    while (cel_next(a, v, &pos, &k, &x))
        sum += traversal(a, x, depth + 1) + (v.kind == CEL_MAP ? traversal(a, k, depth + 1) : 0);
    return sum;
}

static uint64_t regex_cost(uint64_t text, uint64_t pattern)
{
    return part(1.0 + (double)text, 0.1) * part((double)pattern, 0.25);
}

static uint64_t sort_cost(struct arena *a, struct cel_val list)
{
    double n = (double)size_of(list), factor = 2.0;
    if (list.n && list.kind == CEL_LIST) {
        uint8_t k = cel_item(a, list, 0).kind;
        factor += k == CEL_STRING || k == CEL_BYTES ? 0.1 : 0;
    }
    return (uint64_t)(n * n * factor) + 11;
}

static uint64_t selector_cost(uint64_t n)
{
    return 10 + part((double)n, 0.1) + part((double)part((double)n, 0.5), 50);
}

uint64_t cel_call_cost(struct cel_run *r, const struct cel_overload *o, bool only, const struct cel_val *args, unsigned n,
                       struct cel_val result)
{
    double s0 = n > 0 ? (double)size_of(args[0]) : 0, s1 = n > 1 ? (double)size_of(args[1]) : 0;
    switch ((enum cel_cost_rule)o->fn->cost) {
    case COST_ONE:
        return 1;
    case COST_NONE:
        return 0;
    case COST_ARG0:
        return part(s0, 0.1);
    case COST_ARG0_TWICE:
        return part(s0, 0.2);
    case COST_RESULT_TWICE:
        return part((double)size_of(result), 0.2);
    case COST_ARG0_ONLY:
        return only ? part(s0, 0.1) : 1;
    case COST_ARG1:
        return part(s1, 0.1);
    case COST_SUM:
        return only ? part(s0 + s1, 0.1) : 1;
    case COST_LESS:
        return only ? part(MIN(s0, s1), 0.1) : 1;
    case COST_IN_LIST:
        return only ? (uint64_t)s1 : 1;
    case COST_CONTAINS:
        return part(s0, 0.1) * part(s1, 0.1);
    case COST_REGEX:
        return regex_cost((uint64_t)s0, (uint64_t)s1);
    case COST_TRAVERSE:
        return n ? traversal(r->arena, args[0], 0) : 0;
    case COST_FORMAT:
        return regex_cost((uint64_t)s1, (uint64_t)s0);
    case COST_CIDR_IP:
        return part(2 * s0, 0.1);
    case COST_CIDR_IP_STRING:
        return part(2 * s0, 0.1) + part(s1, 0.1);
    case COST_CIDR_CIDR:
        return part(2 * s0, 0.1) + part(s0, 0.1) + 1;
    case COST_CIDR_CIDR_STRING:
        return part(2 * s0, 0.1) + part(s0, 0.1) + 1 + part(s1, 0.1);
    case COST_CHECK:
        return 350000;
    case COST_SELECTOR:
        return selector_cost((uint64_t)s1);
    case COST_LIST_RESULT:
        return size_of(result) + 11;
    case COST_FLATTEN:
        return (uint64_t)(s0 * (n == 2 && args[1].kind == CEL_INT && args[1].i >= 0 ? (double)args[1].i : 1.0)) + 11;
    case COST_SORT:
        return sort_cost(r->arena, args[0]);
    case COST_SORT_BY:
        return sort_cost(r->arena, args[1]);
    case COST_SETS:
        return (uint64_t)(s0 * s1) + 1;
    case COST_SETS_TWICE:
        return (uint64_t)(s0 * s1 * 2) + 1;
    }
    return 1;
}

/* ---- names ---------------------------------------------------------------------------------------------------- */

static NOINLINE struct cel_val exec_ident(struct cel_run *r, const struct cel_node *x)
{
    if (x->flags & X_LOCAL)
        return r->locals[x->slot];
    struct cel_val *g = &r->globals[x->variable];
    if (cel_absent(*g)) {
        *g = r->ev->variable(r->ev->user, x->variable, r->arena);
        if (cel_absent(*g))
            *g = cel_fail(r->arena, "no such attribute(s): " STR_FMT, STR_ARG(x->name));
    }
    return *g;
}

/* ---- selections and indexes --------------------------------------------------------------------------------------- */

static NOINLINE struct cel_val optional_of(struct cel_run *r, struct cel_val v)
{
    if (cel_failed(v) && !cel_absent(v))
        return v;
    struct cel_val *inner = NULL;
    if (!cel_absent(v)) {
        inner = ARENA_NEW(r->arena, struct cel_val);
        *inner = v;
    }
    return (struct cel_val){.kind = CEL_OPTIONAL, .inner = inner};
}

/* The field when it is there; CEL_ABSENT when not; an error when it cannot be. */
static struct cel_val field_if(struct cel_run *r, struct cel_val v, struct str name)
{
    struct cel_val e;
    return cel_has_field(r->arena, v, name, &e) ? cel_field_of(r->arena, v, name) : e;
}

/* A step from what failed is not charged. */
static struct cel_val step_from(struct cel_run *r, struct cel_val failed)
{
    r->cost -= r->cost > 0; /* the node's own cost is still to come */
    return failed;
}

static NOINLINE struct cel_val exec_select(struct cel_run *r, const struct cel_node *x)
{
    struct cel_val v = cel_exec(r, x->target), e;
    if (cel_failed(v))
        return step_from(r, v);
    if (x->flags & X_TEST) {
        if (v.kind == CEL_OPTIONAL && !v.inner)
            return cel_of_bool(false);
        bool has = cel_has_field(r->arena, v.kind == CEL_OPTIONAL ? *v.inner : v, x->name, &e);
        return cel_absent(e) ? cel_of_bool(has) : e;
    }
    if (v.kind != CEL_OPTIONAL)
        return cel_field_of(r->arena, v, x->name);
    return v.inner ? optional_of(r, field_if(r, *v.inner, x->name)) : v;
}

/* An index of a list: any number that is whole. */
static bool list_index(struct cel_val i, int64_t *ret)
{
    if (i.kind == CEL_DOUBLE && i.d == floor(i.d) && fabs(i.d) < 9e15) {
        *ret = (int64_t)i.d;
        return true;
    }
    *ret = i.kind == CEL_UINT && i.u > INT64_MAX ? INT64_MAX : i.i;
    return i.kind == CEL_INT || i.kind == CEL_UINT;
}

/* The item or value; CEL_ABSENT when there is none. */
static NOINLINE struct cel_val index_if(struct cel_run *r, struct cel_val v, struct cel_val i)
{
    int64_t at;
    if (v.kind == CEL_LIST) {
        if (!list_index(i, &at))
            return i.kind == CEL_DOUBLE
                       ? cel_fail(r->arena, "unsupported index value " STR_FMT " in list", STR_ARG(cel_double_text(r->arena, i.d)))
                       : cel_fail(r->arena, "unsupported index type '" STR_FMT "' in list", STR_ARG(cel_type_of(i)->name));
        return at < 0 || at >= v.n ? CEL_ABSENT : cel_item(r->arena, v, (size_t)at);
    }
    if (v.kind == CEL_MAP) {
        bool key = i.kind == CEL_STRING || i.kind == CEL_BOOL || i.kind == CEL_INT || i.kind == CEL_UINT ||
                   i.kind == CEL_DOUBLE;
        return key ? cel_lookup(r->arena, v, i)
                   : cel_fail(r->arena, "unsupported key type: " STR_FMT, STR_ARG(cel_type_of(i)->name));
    }
    return v.kind == CEL_OBJECT && i.kind == CEL_STRING ? field_if(r, v, cel_str(i)) : CEL_ABSENT;
}

static NOINLINE struct cel_val no_such(struct cel_run *r, struct cel_val v, struct cel_val i)
{
    if (v.kind == CEL_LIST) {
        int64_t at = 0;
        list_index(i, &at);
        return cel_fail(r->arena, "index out of bounds: %lld", (long long)at);
    }
    struct str key = i.kind == CEL_STRING   ? cel_str(i)
                     : i.kind == CEL_UINT   ? arena_printf(r->arena, "%llu", (unsigned long long)i.u)
                     : i.kind == CEL_DOUBLE ? cel_double_text(r->arena, i.d)
                                            : cel_text(r->arena, i);
    return cel_fail(r->arena, "no such key: " STR_FMT, STR_ARG(key));
}

static NOINLINE struct cel_val exec_index(struct cel_run *r, const struct cel_node *x, bool optional)
{
    struct cel_val v = cel_exec(r, x->args[0]);
    if (cel_failed(v))
        return step_from(r, v);
    struct cel_val i = cel_exec(r, x->args[1]);
    if (cel_failed(i))
        return optional ? step_from(r, i) : i;
    if (v.kind == CEL_OPTIONAL)
        return v.inner ? optional_of(r, index_if(r, *v.inner, i)) : v;
    struct cel_val item = index_if(r, v, i);
    if (optional)
        return optional_of(r, item);
    return cel_absent(item) ? no_such(r, v, i) : item;
}

static NOINLINE struct cel_val exec_optional_select(struct cel_run *r, const struct cel_node *x)
{
    struct cel_val v = cel_exec(r, x->args[0]);
    if (cel_failed(v))
        return step_from(r, v);
    if (v.kind == CEL_OPTIONAL && !v.inner)
        return v;
    return optional_of(r, field_if(r, v.kind == CEL_OPTIONAL ? *v.inner : v, cel_str(x->args[1]->literal)));
}

/* ---- logic ---------------------------------------------------------------------------------------------------------- */

/* && when `decides` is false, || when it is true. */
static NOINLINE struct cel_val exec_logic(struct cel_run *r, const struct cel_node *x, bool decides)
{
    struct cel_val failed = CEL_ABSENT;
    for (unsigned i = 0; i < 2; i++) {
        struct cel_val v = cel_exec(r, x->args[i]);
        if (v.kind == CEL_BOOL && v.b == decides)
            return v;
        if (r->over)
            return v;
        if (v.kind != CEL_BOOL && cel_absent(failed))
            failed = cel_failed(v) ? v : cel_no_overload();
    }
    return cel_absent(failed) ? cel_of_bool(!decides) : failed;
}

static NOINLINE struct cel_val exec_if(struct cel_run *r, const struct cel_node *x)
{
    struct cel_val c = cel_exec(r, x->args[0]);
    if (c.kind != CEL_BOOL)
        return cel_failed(c) ? c : cel_no_overload();
    return cel_exec(r, x->args[c.b ? 1 : 2]);
}

static NOINLINE struct cel_val exec_equal(struct cel_run *r, const struct cel_node *x, bool wanted)
{
    struct cel_val a = cel_exec(r, x->args[0]), b = cel_exec(r, x->args[1]);
    cel_charge(r, cel_equal_cost(a, b));
    if (cel_failed(a) || cel_failed(b))
        return cel_failed(a) ? a : b;
    return cel_of_bool(cel_equal(r->arena, a, b) == wanted);
}

static NOINLINE struct cel_val exec_not_false(struct cel_run *r, const struct cel_node *x)
{
    struct cel_val v = cel_exec(r, x->args[0]);
    return cel_of_bool(v.kind != CEL_BOOL || v.b);
}

/* or() and orValue() look at their argument only when they need it. */
static NOINLINE struct cel_val exec_optional_or(struct cel_run *r, const struct cel_node *x, bool value)
{
    struct cel_val v = cel_exec(r, x->target);
    if (cel_failed(v))
        return v;
    if (v.kind != CEL_OPTIONAL)
        return cel_no_overload();
    if (v.inner)
        return value ? *v.inner : v;
    return cel_exec(r, x->args[0]);
}

/* ---- functions -------------------------------------------------------------------------------------------------------- */

#define K(k) (1u << CEL_##k)
enum { ORDERED = K(BOOL) | K(INT) | K(UINT) | K(DOUBLE) | K(STRING) | K(BYTES) | K(TIMESTAMP) | K(DURATION) };

/* The kinds of left operands that know the operator at all (cel-go's traits). */
static const struct {
    const char *name;
    uint32_t kinds;
} operators[] = {
    {"_+_", (ORDERED & ~K(BOOL)) | K(LIST)},
    {"_-_", K(INT) | K(UINT) | K(DOUBLE) | K(TIMESTAMP) | K(DURATION)},
    {"_*_", K(INT) | K(UINT) | K(DOUBLE)},
    {"_/_", K(INT) | K(UINT) | K(DOUBLE)},
    {"_%_", K(INT) | K(UINT)},
    {"_<_", ORDERED},
    {"_<=_", ORDERED},
    {"_>_", ORDERED},
    {"_>=_", ORDERED},
};
#undef K

static NOINLINE struct cel_val no_overload(struct cel_run *r, const struct cel_node *x, const struct cel_val *args)
{
    bool plain = x->n_overloads == 1 || strchr("_@!-", x->name.p[0]);
    for (size_t i = 0; i < ARRAY_SIZE(operators); i++) {
        if (!str_is(x->name, operators[i].name))
            continue;
        plain = operators[i].kinds >> args[0].kind & 1;
        if (operators[i].kinds == ORDERED && args[0].kind == CEL_DOUBLE && isnan(args[0].d))
            return cel_not_a_number();
    }
    return plain ? cel_no_overload() : cel_fail(r->arena, "no such overload: " STR_FMT, STR_ARG(x->name));
}

static bool accepts(const struct cel_overload *o, const struct cel_val *args, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (!(o->masks[i] >> args[i].kind & 1))
            return false;
        if (args[i].kind == CEL_OPAQUE && o->args[i]->kind == CEL_OPAQUE &&
            !str_eq(args[i].opaque->type->name, o->args[i]->name))
            return false;
    }
    return true;
}

static NOINLINE struct cel_val exec_function(struct cel_run *r, const struct cel_node *x)
{
    struct cel_val args[CEL_MAX_ARGS];
    unsigned n = 0;
    if (x->target)
        args[n++] = cel_exec(r, x->target);
    const struct cel_val *failed = n && cel_failed(args[0]) ? args : NULL;
    unsigned all = n + x->n;
    for (unsigned i = 0; i < x->n; i++) {
        if (failed && all > 2) /* cel-go: three and more stop at the first error and are not charged */
            return *failed;
        args[n] = cel_exec(r, x->args[i]);
        if (!failed && cel_failed(args[n]))
            failed = &args[n];
        n++;
    }
    if (failed) {
        if (x->n_overloads && (all <= 2 || failed == &args[all - 1]))
            cel_charge(r, cel_call_cost(r, x->overloads[0], x->n_overloads == 1, args, n, *failed));
        return *failed;
    }
    for (uint32_t i = 0; i < x->n_overloads; i++) {
        const struct cel_overload *o = x->overloads[i];
        if (!o->fn->call || !accepts(o, args, n))
            continue;
        const struct cel_node *outer = r->site;
        r->site = x;
        struct cel_val v = o->fn->call(r, args, n);
        r->site = outer;
        if (!(x->flags & X_SET))
            cel_charge(r, cel_call_cost(r, o, x->n_overloads == 1, args, n, v));
        return v;
    }
    struct cel_val none = no_overload(r, x, args);
    if (x->n_overloads)
        cel_charge(r, cel_call_cost(r, x->overloads[0], x->n_overloads == 1, args, n, none));
    return none;
}

static struct cel_val exec_call(struct cel_run *r, const struct cel_node *x)
{
    switch ((enum cel_node_op)x->op) {
    case OP_NONE:
        break;
    case OP_AND:
        return exec_logic(r, x, false);
    case OP_OR:
        return exec_logic(r, x, true);
    case OP_IF:
        return exec_if(r, x);
    case OP_EQ:
        return exec_equal(r, x, true);
    case OP_NE:
        return exec_equal(r, x, false);
    case OP_INDEX:
        return exec_index(r, x, false);
    case OP_OPT_INDEX:
        return exec_index(r, x, true);
    case OP_OPT_SELECT:
        return exec_optional_select(r, x);
    case OP_NOT_FALSE:
        return exec_not_false(r, x);
    case OP_OPT_OR:
        return exec_optional_or(r, x, false);
    case OP_OPT_OR_VALUE:
        return exec_optional_or(r, x, true);
    }
    return exec_function(r, x);
}

/* ---- literals ------------------------------------------------------------------------------------------------------------ */

/* The value of an entry marked with ?: CEL_ABSENT leaves it out. */
static NOINLINE struct cel_val unwrap_optional(struct cel_run *r, struct cel_val v)
{
    if (v.kind != CEL_OPTIONAL)
        return cel_fail(r->arena, "cannot initialize optional entry from non-optional value");
    return v.inner ? *v.inner : CEL_ABSENT;
}

static NOINLINE struct cel_val exec_list(struct cel_run *r, const struct cel_node *x)
{
    struct cel_val list = cel_new_list(r->arena, NULL, 0);
    for (uint32_t i = 0; i < x->n; i++) {
        struct cel_val v = cel_exec(r, x->args[i]);
        if (cel_failed(v))
            return v;
        if (x->optional && x->optional[i]) {
            v = unwrap_optional(r, v);
            if (cel_absent(v))
                continue;
            if (cel_failed(v))
                return v;
        }
        list = cel_list_append(r->arena, list, v);
    }
    return list;
}

static NOINLINE struct cel_val exec_map(struct cel_run *r, const struct cel_node *x)
{
    struct cel_val map = cel_new_map(r->arena, NULL, 0);
    for (uint32_t i = 0; i < x->n; i++) {
        struct cel_val k = cel_exec(r, x->args[2 * i]);
        struct cel_val v = cel_failed(k) ? k : cel_exec(r, x->args[2 * i + 1]);
        if (cel_failed(v))
            return v;
        if (x->optional && x->optional[i]) {
            v = unwrap_optional(r, v);
            if (cel_absent(v))
                continue;
            if (cel_failed(v))
                return v;
        }
        map = cel_map_put(r->arena, map, k, v);
    }
    return map;
}

static NOINLINE struct cel_val exec_struct(struct cel_run *r, const struct cel_node *x)
{
    const struct cel_type *t = x->type;
    struct cel_val *values = ARENA_ARRAY(r->arena, struct cel_val, t->n_fields);
    for (uint32_t i = 0; i < x->n; i++) {
        struct cel_val v = cel_exec(r, x->args[i]);
        if (cel_failed(v))
            return v;
        if (x->optional && x->optional[i]) {
            v = unwrap_optional(r, v);
            if (cel_failed(v) && !cel_absent(v))
                return v;
        }
        values[x->field_index[i]] = v;
    }
    return cel_new_object(r->arena, t, values);
}

/* cel-go names its own type there. */
static NOINLINE struct cel_val not_iterable(struct cel_run *r, struct cel_val v)
{
    static const char *const names[] = {[CEL_NULL] = "Null", [CEL_BOOL] = "Bool", [CEL_INT] = "Int", [CEL_UINT] = "Uint",
                                        [CEL_DOUBLE] = "Double", [CEL_STRING] = "String", [CEL_BYTES] = "Bytes",
                                        [CEL_TIMESTAMP] = "Timestamp", [CEL_DURATION] = "Duration"};
    const char *name = v.kind < ARRAY_SIZE(names) ? names[v.kind] : NULL;
    return name ? cel_fail(r->arena, "got 'types.%s', expected iterable type", name)
                : cel_fail(r->arena, "got '" STR_FMT "', expected iterable type", STR_ARG(cel_type_of(v)->name));
}

/* ---- folds -------------------------------------------------------------------------------------------------------------- */

static NOINLINE struct cel_val exec_fold(struct cel_run *r, const struct cel_node *x)
{
    struct cel_val range = cel_exec(r, x->args[FOLD_RANGE]), k, v;
    if (cel_failed(range))
        return range;
    if (range.kind != CEL_LIST && range.kind != CEL_MAP)
        return not_iterable(r, range);
    r->locals[x->accu_slot] = cel_exec(r, x->args[FOLD_INIT]);
    for (size_t pos = 0; !r->over && cel_next(r->arena, range, &pos, &k, &v);) {
        r->locals[x->iter_slot] = x->iter2.n || range.kind == CEL_MAP ? k : v;
        if (x->iter2.n)
            r->locals[x->iter2_slot] = v;
        struct cel_val go_on = cel_exec(r, x->args[FOLD_COND]);
        if (go_on.kind == CEL_BOOL && !go_on.b)
            break;
        r->locals[x->accu_slot] = cel_exec(r, x->args[FOLD_STEP]);
    }
    return cel_exec(r, x->args[FOLD_RESULT]);
}

/* A step that an absent optional leaves out is not charged. */
static bool is_step(const struct cel_node *x)
{
    return x->kind == X_SELECT || (x->kind == X_CALL && (x->op == OP_INDEX || x->op == OP_OPT_INDEX || x->op == OP_OPT_SELECT));
}

/* ---- all of it ------------------------------------------------------------------------------------------------------------ */

struct cel_val cel_exec(struct cel_run *r, const struct cel_node *x)
{
    struct cel_val v = CEL_ABSENT;
    if (r->over) /* an error on the way out: nothing goes on */
        return cel_fail(r->arena, "operation cancelled: actual cost limit exceeded");
    switch ((enum cel_node_kind)x->kind) {
    case X_LITERAL:
        return x->literal;
    case X_IDENT:
        v = exec_ident(r, x);
        break;
    case X_SELECT:
        v = exec_select(r, x);
        break;
    case X_CALL:
        v = exec_call(r, x);
        break;
    case X_LIST:
        v = exec_list(r, x);
        break;
    case X_MAP:
        v = exec_map(r, x);
        break;
    case X_STRUCT:
        v = exec_struct(r, x);
        break;
    case X_FOLD:
        v = exec_fold(r, x);
        break;
    }
    if (x->cost)
        cel_charge(r, x->cost - (v.kind == CEL_OPTIONAL && !v.inner && is_step(x)));
    return v;
}

int cel_eval(const struct cel_program *p, struct cel_eval *ev, struct cel_val *ret, struct err *e)
{
    struct cel_run r = {.program = p, .ev = ev, .arena = ev->arena, .limit = ev->limit};
    r.locals = ARENA_ARRAY(r.arena, struct cel_val, p->n_slots);
    r.globals = ARENA_ARRAY(r.arena, struct cel_val, p->n_uses);
    struct cel_val v = cel_exec(&r, p->root);
    ev->ret_cost = r.cost;
    if (r.over) {
        err_set(e, 0, "operation cancelled: actual cost limit exceeded");
        return CEL_COST_EXCEEDED;
    }
    if (cel_failed(v))
        return err_set(e, -EINVAL, STR_FMT, STR_ARG(cel_str(v)));
    *ret = v;
    return 0;
}
