/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/custom_cel.h"

#include <limits.h>

#include "cel/schema.h"
#include "names.h"

/* One rule, compiled. */
struct expression {
    struct cel_program *program, *message; /* NULL: does not compile; says none */
    struct str fault;                      /* of a rule that does not compile */
    struct str message_fault; /* of the messageExpression */
    const struct val *rule;                /* ValidationRule */
    unsigned self, old;                    /* numbers of the variables */
    bool transition, optional_old;
};

struct compiled {
    const struct cel_type *type, *optional;
    struct expression *items;
    size_t n;
    struct cel_regex *pattern;
    bool pattern_tried;
};

/* ---- compiling ----------------------------------------------------------------------------------------- */

void custom_programs_done(struct custom_programs *p)
{
    for (size_t i = 0; i < p->n; i++)
        cel_program_unref(p->items[i]);
    for (size_t i = 0; i < p->n_patterns; i++)
        cel_regex_free(p->patterns[i]);
    free(p->items);
    free(p->patterns);
    arena_done(&p->arena);
    *p = (struct custom_programs){.n = 0};
}

static struct cel_program *keep(struct custom_programs *p, struct cel_program *program)
{
    p->items = xrealloc(p->items, (p->n + 1) * sizeof(*p->items));
    p->items[p->n++] = program;
    return program;
}

/* NULL with the issues in *ret_fault when it does not compile, or not to that type. */
static struct cel_program *compile(struct custom_programs *p, struct cel_env *env, struct str source, const struct cel_type *want,
                                   struct str *ret_fault)
{
    struct arena *a = &p->arena;
    struct cel_program *program = NULL;
    struct cel_issues issues = {.n = 0};
    if (cel_compile(env, source, a, &program, &issues) < 0) {
        *ret_fault = arena_printf(a, "compilation failed: " STR_FMT, STR_ARG(issues.text));
        return NULL;
    }
    keep(p, program);
    if (cel_program_type(program)->kind != want->kind && cel_program_type(program)->kind != CEL_DYN) {
        *ret_fault = arena_printf(a, "must evaluate to a %s", want->kind == CEL_BOOL ? "bool" : "string");
        return NULL;
    }
    return program;
}

static struct compiled *compiled_of(struct custom_programs *p, struct structural_rules *r)
{
    if (!r->compiled)
        r->compiled = ARENA_NEW(&p->arena, struct compiled);
    return r->compiled;
}

static void compile_rule(struct custom_programs *p, const struct cel_type *type, struct expression *x)
{
    struct cel_env *env = cel_env_new(CEL_LIB_KUBERNETES, UINT_MAX);
    struct str message = val_getstr(x->rule, N_messageExpression);
    x->optional_old = val_bool(val_get(x->rule, N_optionalOldSelf), false);
    x->self = cel_env_var(env, "self", type);
    x->old = cel_env_var(env, "oldSelf", x->optional_old ? cel_optional_of(cel_env_arena(env), type) : type);
    x->program = compile(p, env, val_getstr(x->rule, N_rule), &cel_bool, &x->fault);
    if (x->program)
        x->transition = cel_program_uses(x->program, x->old);
    if (x->program && message.n)
        x->message = compile(p, env, message, &cel_string, &x->message_fault);
    cel_env_unref(env);
}

static struct compiled *compile_all(struct custom_programs *p, const struct structural *s, bool root)
{
    struct arena *a = &p->arena;
    struct structural_rules *r = s->rules;
    struct compiled *c = compiled_of(p, r);
    if (c->items)
        return c;
    c->type = cel_schema_type(a, s, root);
    c->optional = c->type ? cel_optional_of(a, c->type) : NULL;
    c->items = ARENA_ARRAY(a, struct expression, val_len(r->expressions) + 1);
    VAL_EACH (r->expressions, rule) {
        struct expression *x = &c->items[c->n++];
        *x = (struct expression){.rule = rule};
        if (c->type)
            compile_rule(p, c->type, x);
    }
    return c;
}

/* ---- patterns ------------------------------------------------------------------------------------------ */

static const struct cel_regex *pattern_of(struct custom_programs *p, struct structural_rules *r)
{
    struct compiled *c = compiled_of(p, r);
    if (c->pattern_tried)
        return c->pattern;
    c->pattern_tried = true;
    c->pattern = cel_regex_new(r->pattern, NULL, 0);
    if (c->pattern) {
        p->patterns = xrealloc(p->patterns, (p->n_patterns + 1) * sizeof(struct cel_regex *));
        p->patterns[p->n_patterns++] = c->pattern;
    }
    return c->pattern;
}

bool custom_match(void *programs, struct structural_rules *rules, struct str text)
{
    const struct cel_regex *re = pattern_of(programs, rules);
    size_t start, end;
    return re && cel_regex_find(re, text, 0, &start, &end);
}

static void check_patterns_of(const struct structural **list, const char *name, struct str at, struct status *s)
{
    for (size_t i = 0; list && list[i]; i++)
        custom_patterns_check(list[i], arena_printf(s->arena, STR_FMT ".%s[%zu]", STR_ARG(at), name, i), s);
}

static void check_pattern(const struct structural_rules *r, struct str at, struct status *s)
{
    char fault[CEL_REGEX_FAULT];
    struct cel_regex *re = cel_regex_new(r->pattern, fault, sizeof(fault));
    struct val v = val_of_str(r->pattern);
    if (!re)
        cause_invalid(s, arena_printf(s->arena, STR_FMT ".pattern", STR_ARG(at)), &v,
                      arena_printf(s->arena, "must be a valid regular expression, but isn't: %s", fault).p);
    cel_regex_free(re);
}

void custom_patterns_check(const struct structural *schema, struct str at, struct status *s)
{
    const struct structural_rules *r = schema->rules;
    for (size_t i = 0; i < schema->n_members; i++)
        custom_patterns_check(schema->members[i].schema, arena_printf(s->arena, STR_FMT ".properties[" STR_FMT "]", STR_ARG(at),
                                                                      STR_ARG(schema->members[i].name)), s);
    if (schema->items)
        custom_patterns_check(schema->items, arena_printf(s->arena, STR_FMT ".items", STR_ARG(at)), s);
    if (schema->additional)
        custom_patterns_check(schema->additional, arena_printf(s->arena, STR_FMT ".additionalProperties", STR_ARG(at)), s);
    if (!r)
        return;
    if (r->pattern.n)
        check_pattern(r, at, s);
    check_patterns_of(r->any, "anyOf", at, s);
    check_patterns_of(r->all, "allOf", at, s);
    check_patterns_of(r->one, "oneOf", at, s);
    if (r->not_)
        custom_patterns_check(r->not_, arena_printf(s->arena, STR_FMT ".not", STR_ARG(at)), s);
}

/* ---- evaluating ---------------------------------------------------------------------------------------- */

struct go {
    struct custom_programs *programs;
    struct status *s;
    struct buf path;
    uint64_t budget;
    bool over;    /* no further rules */
    bool all;     /* also of what did not change */
    /* of the rule at hand */
    const struct expression *x;
    const struct cel_type *type;
    const struct val *v, *old;
};

static struct cel_val variable(void *user, unsigned number, struct arena *a)
{
    const struct go *g = user;
    if (number == g->x->self)
        return cel_view(a, g->v, g->type);
    if (!g->x->optional_old)
        return cel_view(a, g->old, g->type);
    struct cel_val *inner = g->old ? ARENA_NEW(a, struct cel_val) : NULL;
    if (inner)
        *inner = cel_view(a, g->old, g->type);
    return (struct cel_val){.kind = CEL_OPTIONAL, .inner = inner};
}

static struct str rule_text(const struct expression *x)
{
    return str_trim(val_getstr(x->rule, N_rule));
}

static struct str place(struct go *g, const struct expression *x)
{
    struct str more = val_getstr(x->rule, N_fieldPath);
    struct str at = buf_str(&g->path);
    if (!more.n)
        return at.n ? arena_str(g->s->arena, at) : STR("<nil>");
    if (!at.n && more.p[0] == '.')
        more = str_from(more, 1);
    return arena_printf(g->s->arena, STR_FMT STR_FMT, STR_ARG(at), STR_ARG(more));
}

static void say(struct go *g, const struct expression *x, const char *reason, struct str detail)
{
    struct str at = place(g, x);
    bool whole = g->v->kind == VAL_MAP || g->v->kind == VAL_LIST || g->v->kind == VAL_OBJ;
    if (strcmp(reason, "FieldValueForbidden") == 0)
        cause_forbidden(g->s, at, detail.p);
    else if (strcmp(reason, "FieldValueRequired") == 0)
        cause_required(g->s, at, detail.p);
    else if (strcmp(reason, "FieldValueDuplicate") == 0)
        cause_duplicate(g->s, at, g->v);
    else if (whole)
        cause_add(g->s, "FieldValueInvalid", at, "Invalid value: " STR_FMT, STR_ARG(detail));
    else
        cause_invalid(g->s, at, g->v, detail.p);
}

static void say_trouble(struct go *g, const struct expression *x, struct str text)
{
    struct str at = buf_str(&g->path);
    cause_add(g->s, "FieldValueInvalid", at.n ? arena_str(g->s->arena, at) : STR("<nil>"), "Invalid value: \"%s\": " STR_FMT,
              g->v->kind == VAL_LIST ? "array" : "object", STR_ARG(text));
    (void)x;
}

static int evaluate(struct go *g, const struct cel_program *p, struct arena *a, struct cel_val *ret, struct err *e)
{
    struct cel_eval ev = {.variable = variable, .user = g, .arena = a, .limit = MIN(g->budget, (uint64_t)CEL_COST_PER_CALL)};
    int r = cel_eval(p, &ev, ret, e);
    g->budget -= MIN(ev.ret_cost, g->budget);
    return r;
}

/* What is wrong, in the words of the definition's author. */
static struct str message(struct go *g, const struct expression *x, struct arena *a)
{
    struct str own = str_trim(val_getstr(x->rule, N_message)), said;
    struct err e = {0};
    struct cel_val v;
    if (x->message && evaluate(g, x->message, a, &v, &e) == 0 && v.kind == CEL_STRING) {
        said = str_trim(cel_str(v));
        if (said.n && str_find(said, '\n') < 0)
            return arena_str(g->s->arena, said);
    }
    return own.n ? arena_str(g->s->arena, own) : arena_printf(g->s->arena, "failed rule: " STR_FMT, STR_ARG(rule_text(x)));
}

static void judge_rule(struct go *g, const struct expression *x)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct arena *sa = g->s->arena;
    struct err e = {0};
    struct cel_val v;
    if (!x->program) {
        say_trouble(g, x, arena_printf(sa, "rule compile error: " STR_FMT, STR_ARG(x->fault)));
        return;
    }
    bool same = !g->all && g->old && val_same(g->v, g->old);
    if ((x->transition && !g->old && !x->optional_old) || (same && !x->transition))
        return;
    int r = evaluate(g, x->program, &a, &v, &e);
    if (r == CEL_COST_EXCEEDED || !g->budget) {
        say_trouble(g, x, r == CEL_COST_EXCEEDED && g->budget
                              ? arena_printf(sa, "'operation cancelled: actual cost limit exceeded': no further validation rules will be run "
                                                 "due to call cost exceeds limit for rule: " STR_FMT, STR_ARG(rule_text(x)))
                              : STR("validation failed due to running out of cost budget, no further validation rules will be run"));
        g->over = true;
    } else if (r < 0) {
        say_trouble(g, x, arena_printf(sa, "%s evaluating rule: " STR_FMT, err_text(&e, r), STR_ARG(rule_text(x))));
    } else if (v.kind != CEL_BOOL || !v.b) {
        struct str reason = val_getstr(x->rule, N_reason);
        say(g, x, reason.n ? arena_cstr(sa, reason) : "FieldValueInvalid", message(g, x, &a));
    }
}

static void walk(struct go *g, const struct structural *s, const struct val *v, const struct val *old, bool root);

static void walk_member(struct go *g, const struct structural *s, struct str name, const struct val *v, const struct val *old)
{
    size_t at = g->path.n;
    buf_printf(&g->path, "%s" STR_FMT, at ? "." : "", STR_ARG(name));
    walk(g, s, v, old, s->embedded);
    g->path.n = at;
}

static void walk_below(struct go *g, const struct structural *s, const struct val *v, const struct val *old)
{
    size_t i = 0;
    VAL_EACH_ENTRY (v, k, m) {
        const struct structural *below = structural_member(s, val_str(k));
        if (below && m->kind != VAL_OBJ && !g->over)
            walk_member(g, below, val_str(k), m, val_key(old, val_str(k)));
    }
    const struct val **before = s->items && val_is(v, VAL_LIST) ? custom_former_items(g->s->arena, s, v, old) : NULL;
    VAL_EACH (before ? v : NULL, item) {
        size_t at = g->path.n;
        buf_printf(&g->path, "[%zu]", i);
        if (!g->over)
            walk(g, s->items, item, before[i], s->items->embedded);
        g->path.n = at;
        i++;
    }
}

static void walk(struct go *g, const struct structural *s, const struct val *v, const struct val *old, bool root)
{
    if (v->kind == VAL_NULL)
        return;
    if (s->rules && s->rules->expressions) {
        const struct compiled *c = compile_all(g->programs, s, root);
        for (size_t i = 0; i < c->n && !g->over; i++) {
            g->x = &c->items[i];
            g->type = c->type;
            g->v = v;
            g->old = old;
            judge_rule(g, g->x);
        }
    }
    walk_below(g, s, v, old);
}

static bool has_expressions(const struct structural *s)
{
    if (s->rules && s->rules->expressions)
        return true;
    for (size_t i = 0; i < s->n_members; i++)
        if (has_expressions(s->members[i].schema))
            return true;
    return (s->items && has_expressions(s->items)) || (s->additional && has_expressions(s->additional));
}

void custom_expressions(struct custom_programs *programs, const struct structural *schema, const struct val *v, const struct val *old,
                        struct status *s)
{
    struct go g = {.programs = programs, .s = s, .path = BUF_INIT, .budget = CEL_COST_BUDGET};
    if (has_expressions(schema))
        walk(&g, schema, v, old, true);
    buf_done(&g.path);
}

void custom_expressions_of_default(struct custom_programs *programs, const struct structural *schema, struct status *s)
{
    const struct val *v = schema->default_value;
    struct go g = {.programs = programs, .s = s, .path = BUF_INIT, .budget = CEL_COST_BUDGET, .all = true};
    if (has_expressions(schema))
        walk(&g, schema, v, v, schema->embedded);
    if (!s->n_causes)
        walk(&g, schema, v, NULL, schema->embedded);
    buf_done(&g.path);
}

/* ---- definitions --------------------------------------------------------------------------------------- */

/* What is found wrong with a definition, and what its rules may cost all together. */
struct checking {
    struct custom_programs *programs;
    struct status *s;
    uint64_t total;
    struct {
        struct str path;
        uint64_t cost;
    } dear[4]; /* the most expensive ones, dearest first */
};

static uint64_t times(uint64_t x, uint64_t y)
{
    uint64_t r;
    return __builtin_mul_overflow(x, y, &r) ? UINT64_MAX : r;
}

static void count_cost(struct checking *k, struct str path, uint64_t cost)
{
    k->total = k->total > UINT64_MAX - cost ? UINT64_MAX : k->total + cost;
    if (cost < CEL_SCHEMA_TOTAL_COST / 100)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(k->dear); i++) {
        if (cost <= k->dear[i].cost)
            continue;
        memmove(&k->dear[i + 1], &k->dear[i], sizeof(k->dear[0]) * (ARRAY_SIZE(k->dear) - 1 - i));
        k->dear[i].path = path;
        k->dear[i].cost = cost;
        return;
    }
}

static void check_cost(struct checking *k, struct str path, const char *what, uint64_t cost)
{
    if (cost > CEL_SCHEMA_RULE_COST)
        cause_forbidden(k->s, path, arena_cstr(k->s->arena, cel_schema_cost_text(k->s->arena, what, cost, CEL_SCHEMA_RULE_COST)));
    count_cost(k, path, cost);
}

/* often: how many times a request may have the schema's values at most; UINT64_MAX: no limit says. */
static void check_rules(struct checking *k, const struct structural *s, struct str at, bool root, uint64_t often)
{
    struct arena *a = k->s->arena;
    const struct compiled *c = compile_all(k->programs, s, root);
    if (often == UINT64_MAX)
        often = cel_schema_cardinality(s, root);
    for (size_t i = 0; i < c->n; i++) {
        const struct expression *x = &c->items[i];
        struct str path = arena_printf(a, STR_FMT ".x-kubernetes-validations[%zu].", STR_ARG(at), i);
        struct str rule = arena_printf(a, STR_FMT "rule", STR_ARG(path));
        if (x->program)
            check_cost(k, rule, "estimated rule cost", times(cel_estimate(x->program).max, often));
        if (x->fault.n && str_trim(val_getstr(x->rule, N_rule)).n) /* a blank one is told already */
            cause_invalid(k->s, rule, val_get(x->rule, N_rule), arena_cstr(a, x->fault));
        struct str message = val_getstr(x->rule, N_messageExpression);
        if (x->message_fault.n && str_trim(message).n)
            cause_invalid(k->s, arena_printf(a, STR_FMT "messageExpression", STR_ARG(path)), val_get(x->rule, N_messageExpression),
                          arena_cstr(a, x->message_fault));
        if (x->message)
            check_cost(k, arena_printf(a, STR_FMT "messageExpression", STR_ARG(path)), "estimated messageExpression cost",
                       cel_estimate(x->message).max);
    }
}

static void check(struct checking *k, const struct structural *s, struct str at, bool root, uint64_t often)
{
    struct arena *a = k->s->arena;
    uint64_t children = cel_schema_children(s);
    uint64_t below = often == UINT64_MAX || children == UINT64_MAX ? UINT64_MAX : times(often, children);
    if (s->rules && s->rules->expressions)
        check_rules(k, s, at, root, often);
    for (size_t i = 0; i < s->n_members; i++)
        check(k, s->members[i].schema, arena_printf(a, STR_FMT ".properties[" STR_FMT "]", STR_ARG(at), STR_ARG(s->members[i].name)),
              s->members[i].schema->embedded, below);
    if (s->items)
        check(k, s->items, arena_printf(a, STR_FMT ".items", STR_ARG(at)), s->items->embedded, below);
    if (s->additional)
        check(k, s->additional, arena_printf(a, STR_FMT ".additionalProperties", STR_ARG(at)), s->additional->embedded, below);
}

void custom_expressions_check(struct custom_programs *programs, const struct structural *schema, struct str at, struct status *s)
{
    struct checking k = {.programs = programs, .s = s};
    if (has_expressions(schema))
        check(&k, schema, at, true, 1);
    if (k.total > CEL_SCHEMA_TOTAL_COST) {
        for (size_t i = 0; i < ARRAY_SIZE(k.dear) && k.dear[i].cost; i++)
            cause_forbidden(s, k.dear[i].path, "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema");
        struct str text = cel_schema_cost_text(s->arena, "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema",
                                               k.total, CEL_SCHEMA_TOTAL_COST);
        cause_forbidden(s, at, arena_cstr(s->arena, text));
    }
}
