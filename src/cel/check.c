/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The type checker: every name finds its variable, type or functions, every node gets a type. Type parameters of
 * functions and of empty literals are variables that unification binds; what stays free is dyn. The rules of what may
 * stand for what are cel-go's (checker/types.go), for an expression that upstream accepts must be accepted here.
 */
#include "cel/cel-internal.h"

struct binding {
    struct str name;
    const struct cel_type *type;
    uint16_t slot;
};

struct checker {
    struct cel_maker *m;
    struct cel_program *p;
    const struct cel_type **subst; /* of each type variable, NULL while free */
    uint32_t n_vars, cap_vars;
    uint32_t *trail; /* variables in the order they were bound, to take it back */
    const struct cel_type **was;
    uint32_t n_trail, cap_trail;
    struct binding *scope; /* variables of folds, innermost last */
    unsigned n_scope, cap_scope;
    unsigned n_slots;
};

static void check(struct checker *c, struct cel_node *x);

/* ---- type variables --------------------------------------------------------------------------------------- */

#define GROW(c, array, n, cap)                                                                               \
    do {                                                                                                     \
        if ((n) == (cap)) {                                                                                  \
            __typeof__(array) more_ = arena_alloc((c)->m->arena, sizeof(*(array)) * ((cap) ? 2 * (cap) : 16)); \
            if (n)                                                                                           \
                memcpy(more_, (array), (n) * sizeof(*(array)));                                              \
            (array) = more_;                                                                                 \
        }                                                                                                    \
    } while (0)

static const struct cel_type *new_var(struct checker *c)
{
    struct cel_type *t = ARENA_NEW(c->m->arena, struct cel_type);
    t->kind = CEL_PARAM;
    t->n_fields = c->n_vars; /* of a variable: its number */
    t->name = arena_printf(c->m->arena, "_var%u", c->n_vars);
    GROW(c, c->subst, c->n_vars, c->cap_vars);
    c->cap_vars = c->n_vars == c->cap_vars ? (c->cap_vars ? 2 * c->cap_vars : 16) : c->cap_vars;
    c->subst[c->n_vars++] = NULL;
    return t;
}

static void bind_var(struct checker *c, const struct cel_type *var, const struct cel_type *t)
{
    bool full = c->n_trail == c->cap_trail;
    GROW(c, c->was, c->n_trail, c->cap_trail); /* both grow at once */
    GROW(c, c->trail, c->n_trail, c->cap_trail);
    if (full)
        c->cap_trail = c->cap_trail ? 2 * c->cap_trail : 16;
    c->trail[c->n_trail] = var->n_fields;
    c->was[c->n_trail++] = c->subst[var->n_fields];
    c->subst[var->n_fields] = t;
}

static void take_back(struct checker *c, uint32_t mark)
{
    while (c->n_trail > mark) {
        c->n_trail--;
        c->subst[c->trail[c->n_trail]] = c->was[c->n_trail];
    }
}

static const struct cel_type *bound(const struct checker *c, const struct cel_type *t)
{
    return t->kind == CEL_PARAM ? c->subst[t->n_fields] : NULL;
}

static const struct cel_type *substitute(struct checker *c, const struct cel_type *t, bool free_to_dyn)
{
    for (const struct cel_type *b; (b = bound(c, t));)
        t = b;
    if (t->kind == CEL_PARAM)
        return free_to_dyn ? &cel_dyn : t;
    if (!t->n_params)
        return t;
    const struct cel_type *params[4];
    bool changed = false;
    unsigned n = MIN((unsigned)t->n_params, 4u);
    for (unsigned i = 0; i < n; i++) {
        params[i] = substitute(c, t->params[i], free_to_dyn);
        changed |= params[i] != t->params[i];
    }
    if (!changed)
        return t;
    struct cel_type *copy = (struct cel_type *)cel_type_new(c->m->arena, t->kind, t->name, params, n);
    copy->flags = t->flags;
    copy->keys = t->keys;
    copy->max = t->max;
    return copy;
}

/* Does the variable not stand within t? (Binding it to t would make a type without end.) */
static bool not_within(struct checker *c, const struct cel_type *var, const struct cel_type *t)
{
    if (t->kind == CEL_PARAM) {
        if (t->n_fields == var->n_fields)
            return false;
        const struct cel_type *b = bound(c, t);
        return !b || not_within(c, var, b);
    }
    for (unsigned i = 0; i < t->n_params; i++)
        if (!not_within(c, var, t->params[i]))
            return false;
    return true;
}

/* ---- what may stand for what --------------------------------------------------------------------------------- */

static bool is_any(const struct cel_type *t)
{
    return t->kind == CEL_DYN || t->kind == CEL_ERROR;
}

static bool less_specific(const struct cel_type *a, const struct cel_type *b)
{
    if (a->kind == CEL_DYN || a->kind == CEL_PARAM)
        return true;
    if (b->kind == CEL_DYN || b->kind == CEL_PARAM || a->kind != b->kind)
        return false;
    if (a->kind == CEL_TYPE)
        return true;
    if (a->kind != CEL_LIST && a->kind != CEL_MAP && a->kind != CEL_OPTIONAL)
        return cel_type_same(a, b);
    for (unsigned i = 0; i < a->n_params; i++)
        if (!less_specific(a->params[i], b->params[i]))
            return false;
    return true;
}

static const struct cel_type *most_general(const struct cel_type *a, const struct cel_type *b)
{
    return less_specific(a, b) ? a : b;
}

static bool unify(struct checker *c, const struct cel_type *a, const struct cel_type *b);

static bool may_bind(struct checker *c, const struct cel_type *t, const struct cel_type *var, bool *ret_bound)
{
    *ret_bound = true;
    if (t->kind == CEL_PARAM && t->n_fields == var->n_fields)
        return true;
    const struct cel_type *now = bound(c, var);
    if (now) {
        if (t == now || cel_type_same(t, now))
            return true;
        if (!unify(c, t, now))
            return false;
        const struct cel_type *wide = most_general(t, now);
        if (wide != now && not_within(c, var, wide))
            bind_var(c, var, wide);
        return true;
    }
    *ret_bound = false;
    if (!not_within(c, var, t))
        return false;
    bind_var(c, var, t);
    return true;
}

static bool nullable(const struct cel_type *t)
{
    return t->kind == CEL_NULL || t->kind == CEL_OPAQUE || t->kind == CEL_OPTIONAL || t->kind == CEL_OBJECT ||
           t->kind == CEL_DURATION || t->kind == CEL_TIMESTAMP || t->kind == CEL_WRAPPER;
}

static bool unify_same_kind(struct checker *c, const struct cel_type *a, const struct cel_type *b)
{
    if (a->kind == CEL_TYPE)
        return true;
    if ((a->kind == CEL_OPAQUE || a->kind == CEL_OBJECT) && !str_eq(a->name, b->name))
        return false;
    if (a->n_params != b->n_params)
        return false;
    for (unsigned i = 0; i < a->n_params; i++)
        if (!unify(c, a->params[i], b->params[i]))
            return false;
    return true;
}

/* May a value of type a stand where b is asked for? Binds variables; what it bound stays after a failure, too. */
static bool unify(struct checker *c, const struct cel_type *a, const struct cel_type *b)
{
    bool is_bound;
    if (b->kind == CEL_PARAM) {
        if (may_bind(c, a, b, &is_bound))
            return true;
        if (is_bound)
            return false;
    }
    if (a->kind == CEL_PARAM)
        return may_bind(c, b, a, &is_bound);
    if (is_any(a) || is_any(b))
        return true;
    if (a->kind == CEL_NULL)
        return nullable(b);
    if (b->kind == CEL_NULL)
        return nullable(a);
    if (a->kind == CEL_WRAPPER)
        a = a->params[0];
    if (b->kind == CEL_WRAPPER)
        b = b->params[0];
    return a->kind == b->kind && unify_same_kind(c, a, b);
}

static bool assignable(struct checker *c, const struct cel_type *a, const struct cel_type *b)
{
    uint32_t mark = c->n_trail;
    if (unify(c, a, b))
        return true;
    take_back(c, mark);
    return false;
}

/* ---- issues --------------------------------------------------------------------------------------------------- */

static struct str text(struct checker *c, const struct cel_type *t)
{
    return cel_type_text(c->m->report->arena, t);
}

static NOINLINE void mismatch(struct checker *c, const struct cel_node *x, const struct cel_type *want, const struct cel_type *got)
{
    cel_issue_add(c->m->report, x->pos, "expected type '" STR_FMT "' but found '" STR_FMT "'", STR_ARG(text(c, want)),
                  STR_ARG(text(c, got)));
}

static NOINLINE void undeclared(struct checker *c, struct cel_node *x, struct str name)
{
    cel_issue_add(c->m->report, x->pos, "undeclared reference to '" STR_FMT "' (in container '" STR_FMT "')",
                  STR_ARG(name), STR_ARG(c->m->env->container));
    x->type = &cel_error_type;
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

/* The i-th name that `name` may stand for within the container: a.b.name, a.name, name. */
static bool candidate(struct checker *c, struct str name, unsigned i, struct str *ret)
{
    struct str k = c->m->env->container;
    if (name.n && name.p[0] == '.') {
        *ret = str_from(name, 1);
        return i == 0;
    }
    for (; i > 0 && k.n; i--) {
        ssize_t dot = str_rfind(k, '.');
        k = str_n(k.p, dot < 0 ? 0 : (size_t)dot);
    }
    if (i > 0)
        return false;
    *ret = k.n ? arena_printf(c->m->arena, STR_FMT "." STR_FMT, STR_ARG(k), STR_ARG(name)) : name;
    return true;
}

static const struct binding *find_local(const struct checker *c, struct str name)
{
    for (unsigned i = c->n_scope; i > 0; i--)
        if (str_eq(c->scope[i - 1].name, name))
            return &c->scope[i - 1];
    return NULL;
}

static void become_type(struct checker *c, struct cel_node *x, const struct cel_type *t)
{
    x->kind = X_LITERAL;
    x->literal = (struct cel_val){.kind = CEL_TYPE, .type = t};
    x->type = cel_type_new(c->m->arena, CEL_TYPE, STR("type"), &t, 1);
}

/* x becomes the variable or type of that (dotted) name; false when there is none. */
static bool resolve_global(struct checker *c, struct cel_node *x, struct str name)
{
    struct str full;
    for (unsigned i = 0; candidate(c, name, i, &full); i++) {
        int var = cel_env_find(c->m->env, full);
        const struct cel_type *t = var < 0 ? cel_env_find_type(c->m->env, full) : NULL;
        if (var >= 0) {
            x->kind = X_IDENT;
            x->name = full;
            x->target = NULL;
            x->flags = 0;
            x->variable = (unsigned)var;
            x->type = c->m->env->vars[var].type;
            c->p->uses[var] = true;
            return true;
        }
        if (t) {
            become_type(c, x, t);
            return true;
        }
    }
    return false;
}

static NOINLINE void check_ident(struct checker *c, struct cel_node *x)
{
    const struct binding *b = x->flags & X_ROOTED ? NULL : find_local(c, x->name);
    if (b) {
        x->flags |= X_LOCAL;
        x->slot = b->slot;
        x->type = b->type;
        return;
    }
    struct str name = x->flags & X_ROOTED ? arena_printf(c->m->arena, "." STR_FMT, STR_ARG(x->name)) : x->name;
    if (!resolve_global(c, x, name))
        undeclared(c, x, name);
}

/* "a.b.c" of a chain of selections that ends in a name which is no variable of a fold. */
static bool dotted(struct checker *c, const struct cel_node *x, struct buf *b)
{
    if (x->kind == X_IDENT) {
        if (!(x->flags & X_ROOTED) && find_local(c, x->name))
            return false;
        if (x->flags & X_ROOTED)
            buf_putc(b, '.');
    } else if (x->kind == X_SELECT && !(x->flags & X_TEST)) {
        if (!dotted(c, x->target, b))
            return false;
        buf_putc(b, '.');
    } else {
        return false;
    }
    buf_putstr(b, x->name);
    return true;
}

static NOINLINE bool resolve_dotted(struct checker *c, struct cel_node *x)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    return dotted(c, x, &b) && resolve_global(c, x, arena_str(c->m->arena, buf_str(&b)));
}

/* ---- selections --------------------------------------------------------------------------------------------------- */

static NOINLINE const struct cel_type *type_of_field(struct checker *c, size_t pos, const struct cel_type *t, struct str name)
{
    const struct cel_field *f = cel_type_field(t, name);
    if (f)
        return f->type;
    if (t->flags & CEL_OPEN)
        return &cel_dyn;
    cel_issue_add(c->m->report, pos, "undefined field '" STR_FMT "'", STR_ARG(name));
    return NULL;
}

static const struct cel_type *select_type(struct checker *c, struct cel_node *x, struct cel_node *operand, struct str name,
                                          bool optional)
{
    check(c, operand);
    const struct cel_type *t = substitute(c, operand->type, false), *r = &cel_dyn;
    bool wrapped = t->kind == CEL_OPTIONAL;
    if (wrapped)
        t = substitute(c, t->params[0], false);
    if (t->kind == CEL_MAP) {
        r = t->params[1];
    } else if (t->kind == CEL_OBJECT) {
        r = type_of_field(c, x->pos, t, name);
        r = r ? r : &cel_error_type;
    } else if (t->kind == CEL_PARAM) {
        assignable(c, &cel_dyn, t);
    } else if (!is_any(t)) {
        cel_issue_add(c->m->report, x->pos, "type '" STR_FMT "' does not support field selection", STR_ARG(text(c, t)));
    }
    return wrapped || optional ? cel_optional_of(c->m->arena, r) : r;
}

static NOINLINE void check_select(struct checker *c, struct cel_node *x)
{
    if (!(x->flags & X_TEST) && resolve_dotted(c, x))
        return;
    const struct cel_type *t = select_type(c, x, x->target, x->name, false);
    x->type = x->flags & X_TEST ? &cel_bool : substitute(c, t, false);
}

/* ---- calls ------------------------------------------------------------------------------------------------------------ */

static enum cel_node_op op_of(struct str name)
{
    static const struct {
        const char *name;
        enum cel_node_op op;
    } ops[] = {{"_&&_", OP_AND},     {"_||_", OP_OR},          {"_?_:_", OP_IF},
               {"_==_", OP_EQ},      {"_!=_", OP_NE},          {"_[_]", OP_INDEX},
               {"_[?_]", OP_OPT_INDEX}, {"_?._", OP_OPT_SELECT}, {"@not_strictly_false", OP_NOT_FALSE},
               {"or", OP_OPT_OR},    {"orValue", OP_OPT_OR_VALUE}};
    for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
        if (str_is(name, ops[i].name))
            return ops[i].op;
    return OP_NONE;
}

/* The function of that name as the container has it. */
static NOINLINE const struct cel_fn_name *find_function(struct checker *c, struct str name, struct str *ret_name)
{
    struct str full;
    for (unsigned i = 0; candidate(c, name, i, &full); i++) {
        const struct cel_fn_name *f = cel_functions(full);
        for (size_t k = 0; f && k < f->n; k++)
            if (cel_fn_allowed(f->overloads[k].fn, c->m->env)) {
                *ret_name = full;
                return f;
            }
    }
    return NULL;
}

/* A type of a signature with its letters replaced by variables of this call. */
static const struct cel_type *instantiate(struct checker *c, const struct cel_type *t, const struct cel_type **letters)
{
    if (t->kind == CEL_PARAM) {
        const struct cel_type **v = &letters[(t->name.p[0] - 'A') & 31];
        return *v ? *v : (*v = new_var(c));
    }
    if (!t->n_params)
        return t;
    const struct cel_type *params[4];
    for (unsigned i = 0; i < t->n_params && i < 4; i++)
        params[i] = instantiate(c, t->params[i], letters);
    return cel_type_new(c->m->arena, t->kind, t->name, params, t->n_params);
}

struct call {
    struct cel_node *x;
    const struct cel_type *types[CEL_MAX_ARGS];
    struct cel_node *nodes[CEL_MAX_ARGS];
    unsigned n;
    bool member;
};

static bool overload_fits(struct checker *c, const struct cel_overload *o, const struct call *k,
                          const struct cel_type **ret_result)
{
    const struct cel_type *letters[32] = {0};
    if (o->member != k->member || o->n_args != k->n || !cel_fn_allowed(o->fn, c->m->env))
        return false;
    uint32_t mark = c->n_trail;
    for (unsigned i = 0; i < k->n; i++) {
        const struct cel_type *want = o->generic ? instantiate(c, o->args[i], letters) : o->args[i];
        if (!unify(c, k->types[i], want)) {
            take_back(c, mark);
            return false;
        }
    }
    const struct cel_type *r = o->generic ? instantiate(c, o->result, letters) : o->result;
    *ret_result = substitute(c, r, false);
    return true;
}

static void no_overload(struct checker *c, const struct call *k, struct str name)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    unsigned i = 0;
    if (k->member) {
        struct str t = text(c, substitute(c, k->types[i++], true));
        buf_printf(&b, STR_FMT ".", STR_ARG(t));
    }
    buf_putc(&b, '(');
    for (unsigned first = i; i < k->n; i++) {
        struct str t = text(c, substitute(c, k->types[i], true));
        buf_printf(&b, "%s" STR_FMT, i > first ? ", " : "", STR_ARG(t));
    }
    buf_putc(&b, ')');
    cel_issue_add(c->m->report, k->x->pos, "found no matching overload for '" STR_FMT "' applied to '" STR_FMT "'",
                  STR_ARG(name), STR_ARG(buf_str(&b)));
    k->x->type = &cel_error_type;
}

static void resolve_overload(struct checker *c, struct call *k, const struct cel_fn_name *f)
{
    const struct cel_type *result = NULL;
    struct cel_node *x = k->x;
    x->overloads = ARENA_ARRAY(c->m->arena, const struct cel_overload *, f->n);
    for (size_t i = 0; i < f->n; i++) {
        const struct cel_type *r;
        if (!overload_fits(c, &f->overloads[i], k, &r))
            continue;
        x->overloads[x->n_overloads++] = &f->overloads[i];
        if (!result)
            result = r;
        else if (result->kind != CEL_DYN && !cel_type_same(result, r))
            result = &cel_dyn;
    }
    if (!result) {
        no_overload(c, k, x->name);
        return;
    }
    x->type = result;
}

static NOINLINE void check_logic(struct checker *c, struct cel_node *x)
{
    x->type = &cel_bool;
    for (unsigned i = 0; i < x->n; i++)
        if (!assignable(c, x->args[i]->type, &cel_bool)) {
            mismatch(c, x->args[i], &cel_bool, substitute(c, x->args[i]->type, true));
            x->type = &cel_error_type;
        }
}

static NOINLINE void check_optional_select(struct checker *c, struct cel_node *x)
{
    x->type = substitute(c, select_type(c, x, x->args[0], cel_str(x->args[1]->literal), true), false);
    x->args[1]->type = &cel_string;
}

/* Overloads by the types of receiver and arguments, which were checked. */
static NOINLINE void check_function(struct checker *c, struct cel_node *x, const struct cel_fn_name *f)
{
    struct call k = {.x = x, .member = x->target != NULL};
    if (x->target)
        k.types[k.n++] = x->target->type;
    if (x->n + k.n > CEL_MAX_ARGS) {
        cel_issue_add(c->m->report, x->pos, "found no matching overload for '" STR_FMT "' applied to %u arguments",
                      STR_ARG(x->name), x->n);
        x->type = &cel_error_type;
        return;
    }
    for (unsigned i = 0; i < x->n; i++)
        k.types[k.n++] = x->args[i]->type;
    resolve_overload(c, &k, f);
}

/* a.b.c(x) may be the function a.b.c. */
static NOINLINE const struct cel_fn_name *qualified_function(struct checker *c, struct cel_node *x, struct str *ret_name)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    if (!dotted(c, x->target, &b))
        return NULL;
    buf_putc(&b, '.');
    buf_putstr(&b, x->name);
    return find_function(c, arena_str(c->m->arena, buf_str(&b)), ret_name);
}

static void check_call(struct checker *c, struct cel_node *x)
{
    x->op = x->target && !str_is(x->name, "or") && !str_is(x->name, "orValue") ? OP_NONE : (uint8_t)op_of(x->name);
    if (!x->target && (x->op == OP_OPT_OR || x->op == OP_OPT_OR_VALUE))
        x->op = OP_NONE;
    if (x->op == OP_OPT_SELECT) {
        if (!(c->m->env->libs & CEL_LIB_KUBERNETES))
            cel_issue_add(c->m->report, x->pos, "unsupported syntax '.?'");
        check_optional_select(c, x);
        return;
    }
    for (unsigned i = 0; i < x->n; i++)
        check(c, x->args[i]);
    if (x->op == OP_AND || x->op == OP_OR) {
        check_logic(c, x);
        return;
    }
    struct str name = x->name;
    const struct cel_fn_name *f = x->target ? qualified_function(c, x, &name) : find_function(c, name, &name);
    if (f) {
        x->target = NULL;
    } else if (x->target) {
        check(c, x->target);
        f = find_function(c, name, &name);
    }
    if (!f) {
        undeclared(c, x, x->name);
        return;
    }
    x->name = name;
    check_function(c, x, f);
}

/* ---- literals of lists, maps, objects ----------------------------------------------------------------------------------- */

static NOINLINE const struct cel_type *join(struct checker *c, struct cel_node *x, const struct cel_type *before,
                                   const struct cel_type *now)
{
    if (!before)
        return now;
    if (assignable(c, before, now))
        return most_general(before, now);
    return &cel_dyn; /* Kubernetes refuses it afterwards: validate() */
}

static NOINLINE const struct cel_type *entry_type(struct checker *c, struct cel_node *x, bool optional)
{
    const struct cel_type *t = substitute(c, x->type, false);
    if (!optional)
        return t;
    if (t->kind == CEL_OPTIONAL)
        return t->params[0];
    if (!is_any(t))
        mismatch(c, x, cel_optional_of(c->m->arena, t), t);
    return t;
}

static NOINLINE void check_list(struct checker *c, struct cel_node *x)
{
    const struct cel_type *item = NULL;
    for (unsigned i = 0; i < x->n; i++) {
        check(c, x->args[i]);
        item = join(c, x->args[i], item, entry_type(c, x->args[i], x->optional && x->optional[i]));
    }
    x->type = cel_list_of(c->m->arena, item ? item : new_var(c));
}

static NOINLINE void check_map(struct checker *c, struct cel_node *x)
{
    const struct cel_type *key = NULL, *value = NULL;
    for (unsigned i = 0; i < x->n; i++) {
        struct cel_node *k = x->args[2 * i], *v = x->args[2 * i + 1];
        check(c, k);
        key = join(c, k, key, k->type);
        check(c, v);
        value = join(c, v, value, entry_type(c, v, x->optional && x->optional[i]));
    }
    x->type = cel_map_of(c->m->arena, key ? key : new_var(c), value ? value : new_var(c));
}

static NOINLINE const struct cel_type *struct_type(struct checker *c, struct cel_node *x)
{
    struct str full;
    for (unsigned i = 0; candidate(c, x->name, i, &full); i++) {
        const struct cel_type *t = cel_env_find_type(c->m->env, full);
        if (t && t->kind == CEL_OBJECT)
            return t;
        if (t) {
            cel_issue_add(c->m->report, x->pos, "'" STR_FMT "' is not a message type", STR_ARG(full));
            return &cel_error_type;
        }
        if (cel_env_find(c->m->env, full) >= 0) {
            cel_issue_add(c->m->report, x->pos, "'" STR_FMT "' is not a type", STR_ARG(full));
            return &cel_error_type;
        }
    }
    return NULL;
}

/* An object about whose fields nothing is known has those that it is made with. */
static const struct cel_type *type_as_made(struct checker *c, const struct cel_node *x)
{
    struct cel_type *t = ARENA_NEW(c->m->arena, struct cel_type);
    struct cel_field *f = ARENA_ARRAY(c->m->arena, struct cel_field, x->n);
    for (unsigned i = 0; i < x->n; i++)
        f[i] = (struct cel_field){.name = x->fields[i], .json = x->fields[i], .type = &cel_dyn};
    *t = *x->type;
    t->fields = f;
    t->n_fields = x->n;
    return t;
}

static NOINLINE void check_struct(struct checker *c, struct cel_node *x)
{
    x->type = struct_type(c, x);
    if (!x->type) {
        undeclared(c, x, x->name);
        return;
    }
    bool known = x->type->kind == CEL_OBJECT;
    if (known && x->type->flags & CEL_OPEN)
        x->type = type_as_made(c, x);
    uint32_t *index = ARENA_ARRAY(c->m->arena, uint32_t, x->n);
    for (unsigned i = 0; i < x->n; i++) {
        struct cel_node *v = x->args[i];
        check(c, v);
        const struct cel_field *f = known ? cel_type_field(x->type, x->fields[i]) : NULL;
        const struct cel_type *t = entry_type(c, v, x->optional && x->optional[i]);
        if (known && !f)
            cel_issue_add(c->m->report, v->pos, "undefined field '" STR_FMT "'", STR_ARG(x->fields[i]));
        else if (f && !assignable(c, f->type, t))
            cel_issue_add(c->m->report, v->pos,
                          "expected type of field '" STR_FMT "' is '" STR_FMT "' but provided type is '" STR_FMT "'",
                          STR_ARG(x->fields[i]), STR_ARG(text(c, f->type)), STR_ARG(text(c, substitute(c, t, true))));
        index[i] = f ? (uint32_t)(f - x->type->fields) : 0;
    }
    x->field_index = index;
}

/* ---- folds ------------------------------------------------------------------------------------------------------------- */

static uint16_t push(struct checker *c, struct str name, const struct cel_type *t)
{
    if (c->n_scope == c->cap_scope) {
        GROW(c, c->scope, c->n_scope, c->cap_scope);
        c->cap_scope = c->cap_scope ? 2 * c->cap_scope : 16;
    }
    unsigned slot = c->n_scope; /* a slot for each that is visible at once */
    c->scope[c->n_scope++] = (struct binding){name, t, (uint16_t)slot};
    c->n_slots = MAX(c->n_slots, c->n_scope);
    return (uint16_t)slot;
}

/* Types of the one or two variables over a range. */
static NOINLINE void range_types(struct checker *c, struct cel_node *range, bool two, const struct cel_type **first,
                        const struct cel_type **second)
{
    const struct cel_type *t = substitute(c, range->type, false);
    *first = *second = &cel_dyn;
    if (t->kind == CEL_LIST) {
        *first = two ? &cel_int : t->params[0];
        *second = t->params[0];
    } else if (t->kind == CEL_MAP) {
        *first = t->params[0];
        *second = t->params[1];
    } else if (is_any(t) || t->kind == CEL_PARAM) {
        assignable(c, &cel_dyn, t);
    } else {
        cel_issue_add(c->m->report, range->pos,
                      "expression of type '" STR_FMT "' cannot be range of a comprehension (must be list, map, or dynamic)",
                      STR_ARG(text(c, t)));
        *first = *second = &cel_error_type;
    }
}

static void check_is(struct checker *c, struct cel_node *x, const struct cel_type *t)
{
    check(c, x);
    if (!assignable(c, t, x->type))
        mismatch(c, x, substitute(c, t, true), substitute(c, x->type, true));
}

static NOINLINE void check_fold(struct checker *c, struct cel_node *x)
{
    const struct cel_type *first, *second;
    check(c, x->args[FOLD_RANGE]);
    check(c, x->args[FOLD_INIT]);
    range_types(c, x->args[FOLD_RANGE], x->iter2.n > 0, &first, &second);
    const struct cel_type *accu = x->args[FOLD_INIT]->type;
    unsigned outside = c->n_scope;
    x->accu_slot = push(c, x->accu, accu);
    x->iter_slot = push(c, x->iter, first);
    if (x->iter2.n)
        x->iter2_slot = push(c, x->iter2, second);
    check_is(c, x->args[FOLD_COND], &cel_bool);
    check_is(c, x->args[FOLD_STEP], accu);
    c->n_scope = outside + 1;
    check(c, x->args[FOLD_RESULT]);
    c->n_scope = outside;
    x->type = substitute(c, x->args[FOLD_RESULT]->type, false);
}

static void check(struct checker *c, struct cel_node *x)
{
    switch ((enum cel_node_kind)x->kind) {
    case X_LITERAL:
        x->type = cel_type_of(x->literal);
        break;
    case X_IDENT:
        check_ident(c, x);
        break;
    case X_SELECT:
        check_select(c, x);
        break;
    case X_CALL:
        check_call(c, x);
        break;
    case X_LIST:
        check_list(c, x);
        break;
    case X_MAP:
        check_map(c, x);
        break;
    case X_STRUCT:
        check_struct(c, x);
        break;
    case X_FOLD:
        check_fold(c, x);
        break;
    }
}

/* ---- afterwards ------------------------------------------------------------------------------------------------------------ */

/* Variables of types that nothing bound are dyn. Slots that a fold's body used again are known by now. */
static void settle(struct checker *c, struct cel_node *x)
{
    unsigned n = x->kind == X_FOLD ? 5 : x->kind == X_MAP ? 2 * x->n : x->n;
    if (x->type)
        x->type = substitute(c, x->type, true);
    if (x->target)
        settle(c, x->target);
    for (unsigned i = 0; i < n; i++)
        settle(c, x->args[i]);
}

/* Kubernetes refuses literals of mixed types even where dyn() made them fit. */
static NOINLINE void same_types(struct checker *c, struct cel_node *x, unsigned step, unsigned offset, unsigned n)
{
    const struct cel_type *first = NULL;
    for (unsigned i = 0; i < n; i++) {
        struct cel_node *v = x->args[step * i + offset];
        const struct cel_type *t = v->type;
        if (x->optional && x->optional[i] && (step == 1 || offset == 1) && t->kind == CEL_OPTIONAL)
            t = t->params[0];
        if (!first) {
            first = t;
        } else if (!cel_type_same(first, t)) {
            mismatch(c, v, first, t);
            return;
        }
    }
}

static NOINLINE bool bad_literal_arg(struct checker *c, const struct cel_node *x, const char **ret_what)
{
    static const char *const names[] = {"duration", "timestamp", "matches"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (!str_is(x->name, names[i]) || !x->n)
            continue;
        const struct cel_node *a = x->args[x->n - 1];
        if (a->kind != X_LITERAL || a->literal.kind != CEL_STRING)
            return false;
        struct str s = cel_str(a->literal);
        struct cel_val v;
        int64_t ns;
        struct cel_regex *re = i == 2 ? cel_regex_new(s, NULL, 0) : NULL;
        bool ok = i == 0 ? cel_duration_parse(s, &ns) : i == 1 ? cel_timestamp_parse(s, &v) : re != NULL;
        cel_regex_free(re);
        *ret_what = names[i];
        return !ok;
    }
    return false;
}

static void validate(struct checker *c, struct cel_node *x, bool exempt)
{
    const char *what;
    unsigned n = x->kind == X_FOLD ? 5 : x->kind == X_MAP ? 2 * x->n : x->n;
    exempt |= x->kind == X_CALL && str_is(x->name, "format");
    if (x->kind == X_CALL && bad_literal_arg(c, x, &what))
        cel_issue_add(c->m->report, x->args[x->n - 1]->pos, "invalid %s argument", what);
    if (x->kind == X_CALL && str_is(x->name, "format") && x->target)
        cel_format_check(c->m->report, x);
    if (x->kind == X_LIST && !exempt)
        same_types(c, x, 1, 0, x->n);
    if (x->kind == X_MAP && !exempt) {
        same_types(c, x, 2, 0, x->n);
        same_types(c, x, 2, 1, x->n);
    }
    if (x->target)
        validate(c, x->target, exempt);
    for (unsigned i = 0; i < n; i++)
        validate(c, x->args[i], exempt);
}

bool cel_check(struct cel_maker *m, struct cel_program *p)
{
    struct checker c = {.m = m, .p = p};
    check(&c, p->root);
    if (m->report->n)
        return false;
    settle(&c, p->root);
    if ((m->env->libs & CEL_LIB_KUBERNETES) && !m->env->mixed)
        validate(&c, p->root, false);
    p->type = p->root->type;
    p->n_slots = c.n_slots;
    return m->report->n == 0;
}
