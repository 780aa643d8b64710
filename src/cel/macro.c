/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Macros become folds: a range is walked, each step computes a new accumulator, a condition may end it early. The
 * shapes are cel-go's, because what an evaluation costs follows from them.
 */
#include "cel/cel-internal.h"

static const struct str accu_name = {"@result", 7};

struct macro_call {
    struct cel_maker *m;
    struct cel_node *x; /* the call */
    size_t pos;
};

static struct cel_node *accu(struct macro_call *c)
{
    return cel_node_ident(c->m, c->pos, accu_name);
}

static struct cel_node *constant(struct macro_call *c, struct cel_val v)
{
    return cel_node_literal(c->m, c->pos, v);
}

static struct cel_node *call1(struct macro_call *c, const char *name, struct cel_node *a)
{
    return cel_node_call(c->m, c->pos, name, NULL, &a, 1);
}

static struct cel_node *call2(struct macro_call *c, const char *name, struct cel_node *a, struct cel_node *b)
{
    return cel_node_call(c->m, c->pos, name, NULL, (struct cel_node *[]){a, b}, 2);
}

static struct cel_node *call3(struct macro_call *c, const char *name, struct cel_node *a, struct cel_node *b,
                              struct cel_node *d)
{
    return cel_node_call(c->m, c->pos, name, NULL, (struct cel_node *[]){a, b, d}, 3);
}

static struct cel_node *list_of(struct macro_call *c, struct cel_node *item)
{
    struct cel_node *l = cel_node_new(c->m, X_LIST, c->pos);
    if (item) {
        l->args = ARENA_NEW(c->m->arena, struct cel_node *);
        l->args[0] = item;
        l->n = 1;
    }
    cel_node_measure(l);
    return l;
}

struct fold {
    struct str iter, iter2, accu;
    struct cel_node *range, *init, *cond, *step, *result;
};

static struct cel_node *make_fold(struct macro_call *c, const struct fold *f)
{
    struct cel_node *x = cel_node_new(c->m, X_FOLD, c->pos);
    x->iter = f->iter;
    x->iter2 = f->iter2;
    x->accu = f->accu.n ? f->accu : accu_name;
    x->args = ARENA_ARRAY(c->m->arena, struct cel_node *, 5);
    x->args[FOLD_RANGE] = f->range;
    x->args[FOLD_INIT] = f->init;
    x->args[FOLD_COND] = f->cond;
    x->args[FOLD_STEP] = f->step;
    x->args[FOLD_RESULT] = f->result;
    cel_node_measure(x);
    return x;
}

/* The name that args[i] introduces; an issue when it is none. */
static bool variable(struct macro_call *c, unsigned i, const char *otherwise, struct str *ret)
{
    const struct cel_node *a = c->x->args[i];
    if (a->kind != X_IDENT || (a->flags & X_ROOTED)) {
        cel_issue_add(c->m->report, a->pos, "%s", otherwise);
        return false;
    }
    if (str_is(a->name, "__result__")) {
        cel_issue_add(c->m->report, a->pos, "iteration variable overwrites accumulator variable");
        return false;
    }
    *ret = a->name;
    return true;
}

/* The one or two variables of a fold over the target; first argument behind them in *ret_next. */
static bool variables(struct macro_call *c, bool two, const char *otherwise, struct fold *f, unsigned *ret_next)
{
    f->range = c->x->target;
    if (!variable(c, 0, otherwise, &f->iter) || (two && !variable(c, 1, otherwise, &f->iter2)))
        return false;
    if (two && str_eq(f->iter, f->iter2)) {
        cel_issue_add(c->m->report, c->x->args[1]->pos, "duplicate variable name: " STR_FMT, STR_ARG(f->iter));
        return false;
    }
    *ret_next = two ? 2 : 1;
    return true;
}

static const char simple_name[] = "argument must be a simple name";

static struct cel_node *expand_all(struct macro_call *c, bool two)
{
    struct fold f = {0};
    unsigned i;
    if (!variables(c, two, simple_name, &f, &i))
        return NULL;
    f.init = constant(c, cel_of_bool(true));
    f.cond = call1(c, "@not_strictly_false", accu(c));
    f.step = call2(c, "_&&_", accu(c), c->x->args[i]);
    f.result = accu(c);
    return make_fold(c, &f);
}

static struct cel_node *expand_exists(struct macro_call *c, bool two)
{
    struct fold f = {0};
    unsigned i;
    if (!variables(c, two, simple_name, &f, &i))
        return NULL;
    f.init = constant(c, cel_of_bool(false));
    f.cond = call1(c, "@not_strictly_false", call1(c, "!_", accu(c)));
    f.step = call2(c, "_||_", accu(c), c->x->args[i]);
    f.result = accu(c);
    return make_fold(c, &f);
}

static struct cel_node *expand_exists_one(struct macro_call *c, bool two)
{
    struct fold f = {0};
    unsigned i;
    if (!variables(c, two, simple_name, &f, &i))
        return NULL;
    f.init = constant(c, cel_of_int(0));
    f.cond = constant(c, cel_of_bool(true));
    f.step = call3(c, "_?_:_", c->x->args[i], call2(c, "_+_", accu(c), constant(c, cel_of_int(1))), accu(c));
    f.result = call2(c, "_==_", accu(c), constant(c, cel_of_int(1)));
    return make_fold(c, &f);
}

/* Collects `item` of each that passes `filter` (may be NULL). */
static struct cel_node *collect(struct macro_call *c, struct fold *f, struct cel_node *filter, struct cel_node *item)
{
    f->init = list_of(c, NULL);
    f->cond = constant(c, cel_of_bool(true));
    f->step = call2(c, "_+_", accu(c), list_of(c, item));
    if (filter)
        f->step = call3(c, "_?_:_", filter, f->step, accu(c));
    f->result = accu(c);
    return make_fold(c, f);
}

static struct cel_node *expand_map(struct macro_call *c, bool two)
{
    struct fold f = {0};
    unsigned i;
    if (!variables(c, two, two ? simple_name : "argument is not an identifier", &f, &i))
        return NULL;
    bool filtered = c->x->n == i + 2;
    return collect(c, &f, filtered ? c->x->args[i] : NULL, c->x->args[i + filtered]);
}

static struct cel_node *expand_filter(struct macro_call *c, bool two)
{
    struct fold f = {0};
    unsigned i;
    if (!variables(c, two, "argument is not an identifier", &f, &i))
        return NULL;
    return collect(c, &f, c->x->args[i], c->x->args[0]);
}

static struct cel_node *collect_map(struct macro_call *c, bool entries)
{
    struct fold f = {0};
    unsigned i;
    if (!variables(c, true, simple_name, &f, &i))
        return NULL;
    bool filtered = c->x->n == i + 2;
    struct cel_node *value = c->x->args[i + filtered];
    f.init = cel_node_new(c->m, X_MAP, c->pos);
    f.cond = constant(c, cel_of_bool(true));
    f.step = entries ? call2(c, "cel.@mapInsert", accu(c), value)
                     : call3(c, "cel.@mapInsert", accu(c), cel_node_ident(c->m, c->pos, f.iter), value);
    if (filtered)
        f.step = call3(c, "_?_:_", c->x->args[i], f.step, accu(c));
    f.result = accu(c);
    return make_fold(c, &f);
}

static struct cel_node *expand_transform_map(struct macro_call *c, bool two)
{
    return collect_map(c, false);
}

static struct cel_node *expand_transform_map_entry(struct macro_call *c, bool two)
{
    return collect_map(c, true);
}

static struct cel_node *expand_has(struct macro_call *c, bool two)
{
    struct cel_node *a = c->x->args[0];
    if (a->kind != X_SELECT || (a->flags & X_TEST)) {
        cel_issue_add(c->m->report, a->pos, "invalid argument to has() macro");
        return NULL;
    }
    struct cel_node *t = cel_node_new(c->m, X_SELECT, c->pos);
    t->target = a->target;
    t->name = a->name;
    t->flags = X_TEST;
    cel_node_measure(t);
    return t;
}

/* A fold that never steps: the accumulator is the variable. */
static struct cel_node *bind(struct macro_call *c, struct str name, struct cel_node *value, struct cel_node *body)
{
    struct fold f = {.iter = STR("#unused"), .accu = name, .range = list_of(c, NULL), .init = value,
                     .cond = constant(c, cel_of_bool(false)), .step = cel_node_ident(c->m, c->pos, name), .result = body};
    return make_fold(c, &f);
}

static struct cel_node *expand_bind(struct macro_call *c, bool two)
{
    struct str name;
    return variable(c, 0, "cel.bind() variable names must be simple identifiers", &name)
               ? bind(c, name, c->x->args[1], c->x->args[2])
               : NULL;
}

static struct cel_node *optional_map(struct macro_call *c, bool flat)
{
    struct str name;
    if (!variable(c, 0, flat ? "optFlatMap() variable name must be a simple identifier"
                             : "optMap() variable name must be a simple identifier", &name))
        return NULL;
    struct cel_node *target = c->x->target, *again = cel_node_copy(c->m, target);
    struct cel_node *body = bind(c, name, cel_node_call(c->m, c->pos, "value", again, NULL, 0), c->x->args[1]);
    return call3(c, "_?_:_", cel_node_call(c->m, c->pos, "hasValue", target, NULL, 0),
                 flat ? body : call1(c, "optional.of", body), cel_node_call(c->m, c->pos, "optional.none", NULL, NULL, 0));
}

static struct cel_node *expand_opt_map(struct macro_call *c, bool two)
{
    return optional_map(c, false);
}

static struct cel_node *expand_opt_flat_map(struct macro_call *c, bool two)
{
    return optional_map(c, true);
}

static struct cel_node *expand_sort_by(struct macro_call *c, bool two)
{
    static const struct str input = {"@__sortBy_input__", 17};
    struct fold f = {.range = cel_node_ident(c->m, c->pos, input)};
    if (!variable(c, 0, "argument is not an identifier", &f.iter))
        return NULL;
    struct cel_node *keys = collect(c, &f, NULL, c->x->args[1]);
    struct cel_node *sorted =
        cel_node_call(c->m, c->pos, "@sortByAssociatedKeys", cel_node_ident(c->m, c->pos, input), &keys, 1);
    return bind(c, input, c->x->target, sorted);
}

/* ---- the table -------------------------------------------------------------------------------------------- */

static const struct macro {
    const char *name;
    const char *receiver; /* NULL: a function; "": of any value; else of that namespace */
    uint8_t args_min, args_max;
    bool two; /* two variables */
    uint8_t libs, since;
    struct cel_node *(*expand)(struct macro_call *c, bool two);
} macros[] = {
    {"has", NULL, 1, 1, false, 0, 0, expand_has},
    {"all", "", 2, 2, false, 0, 0, expand_all},
    {"exists", "", 2, 2, false, 0, 0, expand_exists},
    {"exists_one", "", 2, 2, false, 0, 0, expand_exists_one},
    {"existsOne", "", 2, 2, false, CEL_LIB_EXTENSIONS, 0, expand_exists_one},
    {"map", "", 2, 3, false, 0, 0, expand_map},
    {"filter", "", 2, 2, false, 0, 0, expand_filter},
    {"bind", "cel", 3, 3, false, CEL_LIB_BIND, 0, expand_bind},
    {"optMap", "", 2, 2, false, CEL_LIB_KUBERNETES, 28, expand_opt_map},
    {"optFlatMap", "", 2, 2, false, CEL_LIB_KUBERNETES, 28, expand_opt_flat_map},
    {"all", "", 3, 3, true, CEL_LIB_KUBERNETES, 32, expand_all},
    {"exists", "", 3, 3, true, CEL_LIB_KUBERNETES, 32, expand_exists},
    {"existsOne", "", 3, 3, true, CEL_LIB_KUBERNETES, 32, expand_exists_one},
    {"exists_one", "", 3, 3, true, CEL_LIB_KUBERNETES, 32, expand_exists_one},
    {"transformList", "", 3, 4, true, CEL_LIB_KUBERNETES, 32, expand_map},
    {"transformMap", "", 3, 4, true, CEL_LIB_KUBERNETES, 32, expand_transform_map},
    {"transformMapEntry", "", 3, 4, true, CEL_LIB_KUBERNETES, 32, expand_transform_map_entry},
    {"sortBy", "", 2, 2, false, CEL_LIB_KUBERNETES, 34, expand_sort_by},
};

static bool macro_fits(const struct macro *k, const struct cel_node *x, const struct cel_env *env)
{
    if (!str_is(x->name, k->name) || x->n < k->args_min || x->n > k->args_max || !k->receiver != !x->target)
        return false;
    if ((k->libs && !(k->libs & env->libs)) || k->since > env->version)
        return false;
    return !k->receiver || !*k->receiver || (x->target->kind == X_IDENT && str_is(x->target->name, k->receiver));
}

struct cel_node *cel_macro(struct cel_maker *m, struct cel_node *x)
{
    struct macro_call c = {.m = m, .x = x, .pos = x->pos};
    for (size_t i = 0; i < ARRAY_SIZE(macros); i++)
        if (macro_fits(&macros[i], x, m->env))
            return macros[i].expand(&c, macros[i].two);
    return x;
}
