/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/template-internal.h"

#include "cli/jsonpath.h"

struct variable {
    struct str name;
    const struct val *v;
};

enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

enum { MAX_VARIABLES = 256, MAX_STEPS = 10 * 1000 * 1000 };

struct run {
    struct arena *a;
    struct buf *out;
    bool allow_missing;
    struct err *e;
    struct variable vars[MAX_VARIABLES];
    unsigned n_vars;
    unsigned steps;
};

static int run_list(struct run *x, const struct tp_list *l, const struct val *dot, enum flow *ret);
static int eval_pipe(struct run *x, const struct tp_pipe *p, const struct val *dot, const struct val **ret);

static bool is_nil(const struct val *v)
{
    return !v || v->kind == VAL_NULL;
}

bool template_truth(const struct val *v)
{
    switch (v ? (enum val_kind)v->kind : VAL_NULL) {
    case VAL_NULL:
        return false;
    case VAL_BOOL:
        return v->b;
    case VAL_INT:
        return v->i != 0;
    case VAL_FLOAT:
        return v->f < 0 || v->f > 0;
    default:
        return v->n > 0;
    }
}

/* ---- evaluating ----------------------------------------------------------------------------------------------- */

static int get_fields(struct run *x, const struct tp_arg *arg, const struct val *v, const struct val **ret)
{
    for (size_t i = 0; i < arg->n_fields; i++) {
        struct str name = arg->fields[i];
        if (is_nil(v)) {
            if (i == 0 && arg->kind == TA_DOT)
                return err_set(x->e, -EINVAL, "template: output: nil data; no entry for key \"" STR_FMT "\"", STR_ARG(name));
            *ret = NULL;
            return 0;
        }
        if (!val_is(v, VAL_MAP) && !val_is(v, VAL_OBJ)) {
            struct buf b CLEANUP_BUF = BUF_INIT;
            text_of_value(&b, v);
            return err_set(x->e, -EINVAL, "template: output: can't evaluate field " STR_FMT " in value " STR_FMT, STR_ARG(name),
                           STR_ARG(str_slice(buf_str(&b), 0, 100)));
        }
        v = val_key(v, name);
        if (!v && !x->allow_missing)
            return err_set(x->e, -ENOENT, "template: output: map has no entry for key \"" STR_FMT "\"", STR_ARG(name));
    }
    *ret = v;
    return 0;
}

static int get_variable(struct run *x, struct str name, const struct val **ret)
{
    for (unsigned i = x->n_vars; i-- > 0;) {
        if (str_eq(x->vars[i].name, name)) {
            *ret = x->vars[i].v;
            return 0;
        }
    }
    return err_set(x->e, -EINVAL, "template: output: undefined variable \"" STR_FMT "\"", STR_ARG(name));
}

static int eval_arg(struct run *x, const struct tp_arg *arg, const struct val *dot, const struct val **ret)
{
    const struct val *v = NULL;
    int r = 0;
    switch (arg->kind) {
    case TA_DOT:
        v = dot;
        break;
    case TA_VARIABLE:
        r = get_variable(x, arg->name, &v);
        break;
    case TA_CONSTANT:
        *ret = &arg->constant;
        return 0;
    case TA_FUNCTION:
        return template_call(x->a, arg->name, NULL, 0, ret, x->e);
    case TA_PIPE:
        r = eval_pipe(x, arg->pipe, dot, &v);
        break;
    }
    return r < 0 ? r : get_fields(x, arg, v, ret);
}

/* last: the value of the command before, handed on as the last argument; NULL pointer pointer for none. */
static int eval_command(struct run *x, const struct tp_command *c, const struct val *dot, const struct val **last,
                        const struct val **ret)
{
    const struct val **args = ARENA_ARRAY(x->a, const struct val *, c->n + 1);
    size_t n = 0;
    if (c->args[0].kind != TA_FUNCTION) {
        if (c->n > 1 || last)
            return err_set(x->e, -EINVAL, "template: output: can't give argument to non-function");
        return eval_arg(x, &c->args[0], dot, ret);
    }
    bool is_and = str_is(c->args[0].name, "and"), is_or = str_is(c->args[0].name, "or");
    for (size_t i = 1; i < c->n; i++) {
        int r = eval_arg(x, &c->args[i], dot, &args[n]);
        if (r < 0)
            return r;
        bool truth = template_truth(args[n++]);
        if ((is_and && !truth) || (is_or && truth)) { /* what follows is not looked at */
            *ret = args[n - 1];
            return 0;
        }
    }
    if (last)
        args[n++] = *last;
    return template_call(x->a, c->args[0].name, args, n, ret, x->e);
}

static void set_variable(struct run *x, struct str name, const struct val *v, bool assign)
{
    for (unsigned i = x->n_vars; assign && i-- > 0;) {
        if (str_eq(x->vars[i].name, name)) {
            x->vars[i].v = v;
            return;
        }
    }
    if (x->n_vars < MAX_VARIABLES)
        x->vars[x->n_vars++] = (struct variable){name, v};
}

static int eval_pipe(struct run *x, const struct tp_pipe *p, const struct val *dot, const struct val **ret)
{
    const struct val *v = NULL;
    for (size_t i = 0; i < p->n; i++) {
        const struct val *next = NULL;
        int r = eval_command(x, &p->commands[i], dot, i ? &v : NULL, &next);
        if (r < 0)
            return r;
        v = next;
    }
    *ret = v;
    return 0;
}

/* ---- nodes ------------------------------------------------------------------------------------------------------ */

static int run_action(struct run *x, const struct tp_node *n, const struct val *dot)
{
    const struct val *v;
    int r = eval_pipe(x, n->pipe, dot, &v);
    if (r < 0)
        return r;
    if (n->pipe->n_vars)
        set_variable(x, n->pipe->vars[0], v, n->pipe->assigns);
    else if (is_nil(v))
        buf_puts(x->out, "<no value>");
    else
        text_of_value(x->out, v);
    return 0;
}

static int run_if(struct run *x, const struct tp_node *n, const struct val *dot, enum flow *flow)
{
    const struct val *v;
    unsigned mark = x->n_vars;
    int r = eval_pipe(x, n->pipe, dot, &v);
    if (r < 0)
        return r;
    if (n->pipe->n_vars)
        set_variable(x, n->pipe->vars[0], v, n->pipe->assigns);
    if (template_truth(v))
        r = run_list(x, n->body, n->kind == TN_WITH ? v : dot, flow);
    else if (n->otherwise)
        r = run_list(x, n->otherwise, dot, flow);
    x->n_vars = mark;
    return r;
}

static int run_round(struct run *x, const struct tp_node *n, const struct val *key, const struct val *item, bool *stop)
{
    enum flow flow = FLOW_ON;
    unsigned mark = x->n_vars;
    if (n->pipe->n_vars == 2)
        set_variable(x, n->pipe->vars[0], key, n->pipe->assigns);
    if (n->pipe->n_vars)
        set_variable(x, n->pipe->vars[n->pipe->n_vars - 1], item, n->pipe->assigns);
    int r = run_list(x, n->body, item, &flow);
    x->n_vars = mark;
    *stop = flow == FLOW_BREAK;
    return r;
}

static const struct val *number(struct run *x, int64_t i)
{
    struct val *v = ARENA_NEW(x->a, struct val);
    *v = val_of_int(i);
    return v;
}

static const struct val *key_of(struct run *x, const struct val *v, size_t i)
{
    if (v->kind == VAL_MAP)
        return &v->items[2 * i];
    if (v->kind == VAL_OBJ)
        return val_new_str(x->a, name_str(v->items[i].name));
    return number(x, (int64_t)i);
}

static int run_range(struct run *x, const struct tp_node *n, const struct val *dot)
{
    const struct val *v;
    bool stop = false;
    enum flow flow;
    int r = eval_pipe(x, n->pipe, dot, &v);
    if (r < 0)
        return r;
    bool counts = val_is(v, VAL_INT), walks = val_is(v, VAL_LIST) || val_is(v, VAL_MAP) || val_is(v, VAL_OBJ);
    if (!is_nil(v) && !counts && !walks)
        return err_set(x->e, -EINVAL, "template: output: range can't iterate over this value");
    size_t len = counts ? (size_t)MAX(v->i, 0) : walks ? v->n : 0;
    if (!len && n->otherwise)
        return run_list(x, n->otherwise, dot, &flow);
    for (size_t i = 0; r == 0 && i < len && !stop; i++) {
        const struct val *item = counts ? number(x, (int64_t)i) : v->kind == VAL_MAP ? &v->items[2 * i + 1] : &v->items[i];
        r = run_round(x, n, counts ? item : key_of(x, v, i), item, &stop);
    }
    return r;
}

static int run_list(struct run *x, const struct tp_list *l, const struct val *dot, enum flow *ret)
{
    *ret = FLOW_ON;
    for (size_t i = 0; i < l->n && *ret == FLOW_ON; i++) {
        const struct tp_node *n = &l->items[i];
        int r = 0;
        if (++x->steps > MAX_STEPS)
            return err_set(x->e, -E2BIG, "template: output: the template runs for too long");
        switch (n->kind) {
        case TN_TEXT:
            buf_putstr(x->out, n->text);
            break;
        case TN_ACTION:
            r = run_action(x, n, dot);
            break;
        case TN_IF:
        case TN_WITH:
            r = run_if(x, n, dot, ret);
            break;
        case TN_RANGE:
            r = run_range(x, n, dot);
            break;
        case TN_BREAK:
            *ret = FLOW_BREAK;
            break;
        case TN_CONTINUE:
            *ret = FLOW_CONTINUE;
            break;
        }
        if (r < 0)
            return r;
    }
    return 0;
}

int template_print(const struct template *t, struct arena *a, const struct val *v, bool allow_missing, struct buf *out,
                   struct err *e)
{
    struct run *x = ARENA_NEW(a, struct run);
    enum flow flow;
    *x = (struct run){.a = a, .out = out, .allow_missing = allow_missing, .e = e};
    set_variable(x, STR("$"), v, false);
    return run_list(x, t->root, v, &flow);
}
