/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be known before the first evaluation: constant lists, maps and conversions become literals, membership in a
 * constant list is free, constant patterns are compiled, and nodes get what they cost. All of it as cel-go's planner
 * does, because it shows in the cost: a constant list costs nothing, one with a variable in it costs ten.
 */
#include "cel/cel-internal.h"

struct planner {
    struct cel_maker *m;
    struct cel_program *p;
    int error;
};

enum { COST_NAME = 1, COST_LIST = 10, COST_MAP = 30, COST_STRUCT = 40 };

static bool is_literal(const struct cel_node *x)
{
    return x->kind == X_LITERAL;
}

static bool all_literal(const struct cel_node *x, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (!is_literal(x->args[i]))
            return false;
    return true;
}

static struct cel_val never(void *user, unsigned variable, struct arena *a)
{
    return CEL_ABSENT;
}

/* The node's value goes into the program. */
static void make_literal(struct planner *k, struct cel_node *x)
{
    struct cel_eval ev = {.variable = never, .arena = k->m->arena};
    struct cel_run r = {.program = k->p, .ev = &ev, .arena = k->m->arena};
    x->cost = 0;
    struct cel_val v = cel_exec(&r, x);
    if (cel_failed(v)) {
        cel_issue_add(k->m->report, x->pos, STR_FMT, STR_ARG(cel_str(v)));
        k->error = -EINVAL;
        return;
    }
    x->kind = X_LITERAL;
    x->literal = v;
}

/* ---- what a node costs --------------------------------------------------------------------------------------- */

static bool is_index(const struct cel_node *x)
{
    return x->kind == X_CALL && (x->op == OP_INDEX || x->op == OP_OPT_INDEX || x->op == OP_OPT_SELECT);
}

static bool is_if(const struct cel_node *x)
{
    return x->kind == X_CALL && x->op == OP_IF;
}

/* A name, a selection from one, or a condition: what cel-go calls an attribute. Reading one costs one, and each further
 * step one; a condition costs nothing by itself. */
static bool is_attribute(const struct cel_node *x)
{
    return x->kind == X_IDENT || x->kind == X_SELECT || is_index(x) || is_if(x);
}

static struct cel_node *operand(struct cel_node *x)
{
    return x->kind == X_SELECT ? x->target : x->args[0];
}

/* The one for reading the attribute at all is not charged where it is a branch of a condition or an index. */
static void take_root_cost(struct cel_node *x)
{
    while (x->kind == X_SELECT || is_index(x)) {
        struct cel_node *o = operand(x);
        if (x->kind == X_SELECT && (x->flags & X_TEST))
            return;
        if (!is_attribute(o)) {
            x->cost -= x->cost > 0;
            return;
        }
        x = o;
    }
    if (x->kind == X_IDENT)
        x->cost = 0;
}

static void set_step_cost(struct cel_node *x)
{
    struct cel_node *o = operand(x);
    bool test = x->kind == X_SELECT && (x->flags & X_TEST);
    x->cost = is_attribute(o) ? COST_NAME : 2 * COST_NAME;
    if (test)
        x->cost--;
    if (x->kind == X_CALL && x->op != OP_OPT_SELECT && is_attribute(x->args[1]))
        take_root_cost(x->args[1]);
}

/* ---- calls ------------------------------------------------------------------------------------------------------ */

static bool is_conversion(const struct cel_node *x)
{
    static const char *const names[] = {"bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (!x->target && x->n == 1 && str_is(x->name, names[i]))
            return true;
    return false;
}

/* cel-go makes a set of a constant list of plain values: membership costs nothing then. */
static bool is_constant_set(const struct cel_node *x)
{
    if (x->n_overloads != 1 || !str_is(str_of(x->overloads[0]->fn->id), "in_list") || !is_literal(x->args[1]))
        return false;
    struct cel_val list = x->args[1]->literal;
    for (size_t i = 0; i < list.n; i++) {
        uint8_t kind = list.list->items[i].kind;
        if (kind < CEL_NULL || kind > CEL_STRING)
            return false;
    }
    return true;
}

static void keep_regex(struct planner *k, struct cel_node *x)
{
    struct cel_node *pattern = x->n ? x->args[x->target ? 0 : x->n - 1] : NULL;
    bool uses = str_is(x->name, "matches") || str_is(x->name, "find") || str_is(x->name, "findAll");
    if (!uses || !pattern || !is_literal(pattern) || pattern->literal.kind != CEL_STRING)
        return;
    char fault[CEL_REGEX_FAULT];
    x->regex = cel_regex_new(cel_str(pattern->literal), fault, sizeof(fault));
    if (!x->regex) {
        cel_issue_add(k->m->report, pattern->pos, "%s", fault);
        k->error = -EINVAL;
        return;
    }
    k->p->regexes = xrealloc(k->p->regexes, (k->p->n_regexes + 1) * sizeof(*k->p->regexes));
    k->p->regexes[k->p->n_regexes++] = x->regex;
}

static void plan_call(struct planner *k, struct cel_node *x)
{
    if (is_index(x)) {
        set_step_cost(x);
    } else if (is_if(x)) {
        take_root_cost(x->args[1]);
        take_root_cost(x->args[2]);
    } else if (x->op == OP_NOT_FALSE) {
        x->cost = 1;
    } else if (x->op == OP_NONE) {
        if (is_conversion(x) && all_literal(x, 1)) {
            make_literal(k, x);
            return;
        }
        if (str_is(x->name, "@in") && is_constant_set(x)) {
            x->flags |= X_SET;
            if (!x->args[1]->literal.n) { /* nothing is in an empty list: its left side is not even looked at */
                x->kind = X_LITERAL;
                x->literal = cel_of_bool(false);
                return;
            }
        }
        keep_regex(k, x);
    }
}

static void plan(struct planner *k, struct cel_node *x)
{
    unsigned n = x->kind == X_FOLD ? 5 : x->kind == X_MAP ? 2 * x->n : x->n;
    if (x->target)
        plan(k, x->target);
    for (unsigned i = 0; i < n && !k->error; i++)
        plan(k, x->args[i]);
    if (k->error)
        return;
    switch ((enum cel_node_kind)x->kind) {
    case X_IDENT:
        x->cost = COST_NAME;
        break;
    case X_SELECT:
        set_step_cost(x);
        break;
    case X_CALL:
        plan_call(k, x);
        break;
    case X_LIST:
        x->cost = COST_LIST;
        if (all_literal(x, x->n) && !x->optional)
            make_literal(k, x);
        break;
    case X_MAP:
        x->cost = COST_MAP;
        if (all_literal(x, 2 * x->n) && !x->optional)
            make_literal(k, x);
        break;
    case X_STRUCT:
        x->cost = COST_STRUCT;
        break;
    case X_LITERAL:
    case X_FOLD:
        break;
    }
}

int cel_plan(struct cel_maker *m, struct cel_program *p)
{
    struct planner k = {.m = m, .p = p};
    plan(&k, p->root);
    return k.error;
}
