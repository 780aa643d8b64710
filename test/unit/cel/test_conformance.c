/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The language's own conformance cases. conformance.jsonl is made by convert/ from the Go module cel.dev/expr
 * (tests/simple/testdata, Copyright Google LLC, Apache-2.0); conformance-not.txt lists what cannot apply and why: a case
 * named there must not pass by now, and each line must name one.
 *
 * Usage: test_cel_conformance CASES NOT [NAME-PREFIX]: with a prefix, tells what each of those cases gives.
 */
#include "cel/cel.h"
#include "rows.h"

#include <math.h>

/* ---- one case ------------------------------------------------------------------------------------------------ */

struct bindings {
    struct str names[16];
    struct cel_val values[16];
    unsigned n;
    const struct cel_env *env;
};

static struct cel_val no_variable(void *user, unsigned variable, struct arena *a)
{
    return (struct cel_val){0};
}

static struct cel_val binding(void *user, unsigned variable, struct arena *a)
{
    const struct bindings *b = user;
    return variable < b->n ? b->values[variable] : (struct cel_val){0};
}

static struct cel_env *new_env(void)
{
    struct cel_env *env = cel_env_new(CEL_LIB_KUBERNETES | CEL_LIB_BIND | CEL_LIB_EXTENSIONS, 255);
    cel_env_mixed_literals(env, true);
    return env;
}

/* Programs whose literals values of the case point to. */
static struct cel_program *kept[64];
static unsigned n_kept;

static void drop_kept(void)
{
    while (n_kept)
        cel_program_unref(kept[--n_kept]);
}

/* A literal of the case as a value; false when it cannot be read. */
static bool literal(struct arena *a, struct str expr, struct cel_val *ret)
{
    struct cel_env *env = new_env();
    struct cel_issues issues;
    struct cel_program *p;
    struct cel_eval ev = {.variable = no_variable, .arena = a};
    bool ok = cel_compile(env, expr, a, &p, &issues) == 0;
    cel_env_unref(env);
    if (!ok)
        return false;
    ok = n_kept < ARRAY_SIZE(kept) && cel_eval(p, &ev, ret, NULL) == 0;
    if (n_kept < ARRAY_SIZE(kept))
        kept[n_kept++] = p;
    return ok;
}

static const struct cel_type *type_from(struct arena *a, struct str *s)
{
    static const struct {
        const char *name;
        const struct cel_type *t;
    } names[] = {{"bool", &cel_bool}, {"int", &cel_int}, {"uint", &cel_uint}, {"double", &cel_double}, {"string", &cel_string},
                 {"bytes", &cel_bytes}, {"null_type", &cel_null}, {"timestamp", &cel_timestamp}, {"duration", &cel_duration},
                 {"type", &cel_type_type}};
    size_t n = strcspn(s->p, "(), ");
    struct str name = str_n(s->p, MIN(n, s->n));
    const struct cel_type *params[2] = {&cel_dyn, &cel_dyn};
    *s = str_from(*s, name.n);
    for (int i = 0; s->n && (s->p[0] == '(' || s->p[0] == ',') && i < 2; i++) {
        *s = str_from(*s, s->p[0] == ',' ? 2 : 1);
        params[i] = type_from(a, s);
        if (s->n && s->p[0] == ')') {
            *s = str_from(*s, 1);
            break;
        }
    }
    if (str_is(name, "list"))
        return cel_list_of(a, params[0]);
    if (str_is(name, "map"))
        return cel_map_of(a, params[0], params[1]);
    if (str_is(name, "optional_type"))
        return cel_optional_of(a, params[0]);
    if (str_is(name, "wrapper")) {
        struct cel_type *t = ARENA_NEW(a, struct cel_type);
        const struct cel_type **p = ARENA_NEW(a, const struct cel_type *);
        *p = params[0];
        *t = (struct cel_type){.kind = CEL_WRAPPER, .n_params = 1, .name = STR("wrapper"), .params = p};
        return t;
    }
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (str_is(name, names[i].name))
            return names[i].t;
    return &cel_dyn;
}

static bool declare(struct arena *a, const struct val *c, struct cel_env *env, struct bindings *b)
{
    const struct val *declared = val_key(c, STR("types")), *values = val_key(c, STR("bindings"));
    VAL_EACH_ENTRY(declared, k, v) {
        struct str text = val_str(v);
        b->names[b->n] = val_str(k);
        cel_env_var(env, val_cstr(k), type_from(cel_env_arena(env), &text));
        const struct val *bound = val_key(values, val_str(k));
        if (bound && !literal(a, val_str(bound), &b->values[b->n]))
            return false;
        b->n++;
    }
    VAL_EACH_ENTRY(values, k, v) {
        if (val_key(declared, val_str(k)))
            continue;
        b->names[b->n] = val_str(k);
        cel_env_var(env, val_cstr(k), &cel_dyn);
        if (!literal(a, val_str(v), &b->values[b->n]))
            return false;
        b->n++;
    }
    return true;
}

/* The same value of the same kind; NaN is NaN. */
static bool same(struct arena *a, struct cel_val x, struct cel_val y)
{
    if (x.kind != y.kind)
        return false;
    if (x.kind == CEL_DOUBLE && isnan(x.d))
        return isnan(y.d);
    return cel_equal(a, x, y);
}

static bool wants_error(const struct val *c)
{
    return val_bool(val_key(c, STR("error")), false);
}

/* What is wrong with the program's type or value; empty when nothing is. */
static struct str judge(struct arena *a, const struct val *c, const struct cel_program *p, struct bindings *b)
{
    struct cel_eval ev = {.variable = binding, .user = b, .arena = a};
    struct cel_val got, want;
    struct err e = {0};
    struct str type = val_str(val_key(c, STR("type"))), value = val_str(val_key(c, STR("value")));
    struct str deduced = cel_type_text(a, cel_program_type(p));
    if (str_is(deduced, "null"))
        deduced = STR("null_type");
    if (str_starts(deduced, STR("type(")))
        deduced = STR("type");
    if (type.n && !val_bool(val_key(c, STR("unchecked")), false) && !str_eq(type, deduced))
        return arena_printf(a, "type is " STR_FMT ", not " STR_FMT, STR_ARG(deduced), STR_ARG(type));
    if (val_bool(val_key(c, STR("checkOnly")), false))
        return STR_NULL;
    int r = cel_eval(p, &ev, &got, &e);
    if (r < 0)
        return wants_error(c) ? STR_NULL : arena_printf(a, "evaluation: %s", e.text);
    if (wants_error(c))
        return arena_printf(a, "no error but " STR_FMT, STR_ARG(cel_text(a, got)));
    if (!value.n)
        return STR_NULL;
    if (!literal(a, value, &want))
        return arena_printf(a, "expected value " STR_FMT " cannot be read", STR_ARG(value));
    return same(a, got, want) ? STR_NULL
                              : arena_printf(a, "value is " STR_FMT ", not " STR_FMT, STR_ARG(cel_text(a, got)), STR_ARG(value));
}

static struct str run(struct arena *a, const struct val *c)
{
    struct bindings b = {.n = 0};
    struct cel_env *env = new_env();
    struct cel_issues issues;
    struct cel_program *p;
    struct str wrong;
    if (val_key(c, STR("needs"))) {
        cel_env_unref(env);
        return arena_printf(a, "needs " STR_FMT, STR_ARG(val_str(val_key(c, STR("needs")))));
    }
    cel_env_container(env, val_cstr(val_key(c, STR("container"))));
    if (!declare(a, c, env, &b))
        wrong = STR("a binding cannot be read");
    else if (cel_compile(env, val_str(val_key(c, STR("expr"))), a, &p, &issues) < 0)
        wrong = wants_error(c) ? STR_NULL : arena_printf(a, "compilation: " STR_FMT, STR_ARG(issues.items[0].message));
    else {
        wrong = judge(a, c, p, &b);
        cel_program_unref(p);
    }
    cel_env_unref(env);
    drop_kept();
    return wrong;
}

/* ---- all of them ---------------------------------------------------------------------------------------------- */

/* A case that cannot apply, or a group of them. */
struct exception {
    struct str pattern, reason;
    bool named; /* there is such a case */
};

static size_t read_exceptions(struct arena *a, struct str text, struct exception **ret)
{
    struct str rest = text, line;
    size_t n = 0, most = 0;
    for (size_t i = 0; i < text.n; i++)
        most += text.p[i] == '\n';
    struct exception *x = ARENA_ARRAY(a, struct exception, most + 1);
    while (str_next(&rest, '\n', &line))
        if (!str_starts(line, STR("#")) && str_cut(line, ' ', &x[n].pattern, &x[n].reason))
            n++;
    *ret = x;
    return n;
}

static struct str reason_of(struct exception *x, size_t n, struct str name)
{
    struct str reason = STR_NULL;
    for (size_t i = 0; i < n; i++)
        if (str_eq(x[i].pattern, name) || (str_ends(x[i].pattern, STR("/")) && str_starts(name, x[i].pattern))) {
            x[i].named = true;
            reason = reason.n ? reason : x[i].reason;
        }
    return reason;
}

int main(int argc, char **argv)
{
    struct buf cases = BUF_INIT, not = BUF_INIT;
    struct arena own = ARENA_INIT;
    struct exception *except;
    unsigned passed = 0, failed = 0, outside = 0, unexpected = 0;
    if (argc < 3) {
        fprintf(stderr, "usage: %s CASES NOT [NAME-PREFIX]\n", argv[0]);
        return 2;
    }
    struct str rest = file_text(argv[1], &cases);
    size_t n_except = read_exceptions(&own, file_text(argv[2], &not), &except);
    for (;;) {
        CLEANUP_ARENA struct arena a = ARENA_INIT;
        struct val *c = next_row(&a, &rest);
        if (!c)
            break;
        struct str name = val_str(val_key(c, STR("name")));
        if (argc > 3 && !str_starts(name, str_of(argv[3])))
            continue;
        struct str wrong = run(&a, c), reason = reason_of(except, n_except, name);
        bool whole_group = reason.n && str_starts(reason, STR("*"));
        outside += reason.n > 0 && wrong.n > 0;
        passed += !wrong.n;
        failed += wrong.n && !reason.n;
        if (reason.n && !wrong.n && !whole_group) {
            unexpected++;
            printf("passes by now: " STR_FMT "\n", STR_ARG(name));
        }
        if (wrong.n && (!reason.n || argc > 3))
            printf("FAILED " STR_FMT ": " STR_FMT "\n    " STR_FMT "\n", STR_ARG(name),
                   STR_ARG(val_str(val_key(c, STR("expr")))), STR_ARG(wrong));
    }
    for (size_t i = 0; i < n_except && argc == 3; i++)
        if (!except[i].named) {
            unexpected++;
            printf("names no case: " STR_FMT "\n", STR_ARG(except[i].pattern));
        }
    printf("%u passed, %u failed, %u cannot apply\n", passed, failed, outside);
    arena_done(&own);
    buf_done(&cases);
    buf_done(&not);
    return failed || unexpected || !passed;
}
