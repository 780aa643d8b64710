/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions with the type, value, cost, worst case and errors that upstream's API server v1.37 has for them
 * (recorded.jsonl, made by record/). Usage: test_cel_recorded FILE
 */
#include "cel/cel.h"
#include "rows.h"

enum { S, I, L, INTS, M, D, B };

static struct cel_val from_json(struct arena *a, const char *text)
{
    struct val *v;
    if (json_decode(a, NULL, str_of(text), 0, NULL, &v, NULL) < 0)
        return (struct cel_val){0};
    return cel_view(a, v, NULL);
}

static struct cel_val variable(void *user, unsigned n, struct arena *a)
{
    static const char *const texts[] = {
        [S] = "\"hello\"", [I] = "7", [L] = "[\"x\",\"yy\",\"zzz\"]", [INTS] = "[3,1,2]", [M] = "{\"a\":\"1\"}",
        [D] = "{\"spec\":{\"replicas\":3,\"names\":[\"p\",\"q\"],\"nothing\":null},\"kind\":\"Pod\"}", [B] = "true"};
    return from_json(a, texts[n]);
}

static struct cel_env *new_env(void)
{
    struct cel_env *env = cel_env_new(CEL_LIB_KUBERNETES | CEL_LIB_BIND, 255);
    struct arena *a = cel_env_arena(env);
    cel_env_var(env, "s", &cel_string);
    cel_env_var(env, "i", &cel_int);
    cel_env_var(env, "l", cel_list_of(a, &cel_string));
    cel_env_var(env, "ints", cel_list_of(a, &cel_int));
    cel_env_var(env, "m", cel_map_of(a, &cel_string, &cel_string));
    cel_env_var(env, "d", &cel_dyn);
    cel_env_var(env, "b", &cel_bool);
    return env;
}

static struct str want(const struct val *row, const char *key)
{
    return val_str(val_key(row, str_of(key)));
}

/* Is the number of a row n? What does not fit an int64 was read as a double. */
static bool is_number(const struct val *row, const char *key, uint64_t n)
{
    const struct val *v = val_key(row, str_of(key));
    return v && v->kind == VAL_FLOAT ? (double)n == v->f : (uint64_t)val_int(v, 0) == n;
}

/* Upstream's parser goes on after a mistake and words it as ANTLR does: only that there is one counts there. */
static bool loose(struct str issues)
{
    return str_contains(issues, STR("Syntax error")) || str_contains(issues, STR("program: "));
}

static struct str judge_value(struct arena *a, const struct val *row, const struct cel_program *p)
{
    struct cel_eval ev = {.variable = variable, .arena = a, .limit = CEL_COST_PER_CALL};
    struct cel_val v;
    struct err e = {0};
    int r = cel_eval(p, &ev, &v, &e);
    struct str error = want(row, "error"), value = want(row, "value");
    if ((r != 0) != (error.n > 0))
        return arena_printf(a, "error '%s', not '" STR_FMT "'", e.text, STR_ARG(error));
    if (r && !str_eq(str_of(e.text), error))
        return arena_printf(a, "error '%s', not '" STR_FMT "'", e.text, STR_ARG(error));
    if (!r && value.n && !str_eq(cel_text(a, v), value))
        return arena_printf(a, "value " STR_FMT ", not " STR_FMT, STR_ARG(cel_text(a, v)), STR_ARG(value));
    if (r != CEL_COST_EXCEEDED && !is_number(row, "cost", ev.ret_cost))
        return arena_printf(a, "cost %llu, not %lld", (unsigned long long)ev.ret_cost,
                            (long long)val_int(val_key(row, STR("cost")), 0));
    return STR_NULL;
}

static struct str judge_estimate(struct arena *a, const struct val *row, const struct cel_program *p)
{
    struct cel_cost c = cel_estimate(p);
    if (is_number(row, "min", c.min) && is_number(row, "max", c.max))
        return STR_NULL;
    return arena_printf(a, "estimated %llu..%llu, not %.0f..%.0f", (unsigned long long)c.min, (unsigned long long)c.max,
                        val_float(val_key(row, STR("min")), 0), val_float(val_key(row, STR("max")), 0));
}

static struct str judge(struct arena *a, const struct val *row, struct cel_env *env)
{
    struct cel_issues issues;
    struct cel_program *p;
    struct str wanted = want(row, "issues"), type = want(row, "type"), wrong = STR_NULL;
    if (cel_compile(env, want(row, "expr"), a, &p, &issues) < 0)
        return str_eq(issues.text, wanted) || loose(wanted)
                   ? STR_NULL
                   : arena_printf(a, "issues\n" STR_FMT "\n  not\n" STR_FMT, STR_ARG(issues.text), STR_ARG(wanted));
    struct str got = cel_type_text(a, cel_program_type(p));
    if (wanted.n)
        wrong = arena_printf(a, "compiles, but upstream says\n" STR_FMT, STR_ARG(wanted));
    else if (!str_eq(got, type) && !str_contains(type, STR("null_type")) && !str_starts(type, STR("google.protobuf.")))
        wrong = arena_printf(a, "type " STR_FMT ", not " STR_FMT, STR_ARG(got), STR_ARG(type));
    if (!wrong.n)
        wrong = judge_value(a, row, p);
    if (!wrong.n)
        wrong = judge_estimate(a, row, p);
    cel_program_unref(p);
    return wrong;
}

int main(int argc, char **argv)
{
    struct buf b = BUF_INIT;
    unsigned passed = 0, failed = 0;
    if (argc < 2)
        return 2;
    struct cel_env *env = new_env();
    struct str rest = file_text(argv[1], &b);
    for (;;) {
        CLEANUP_ARENA struct arena a = ARENA_INIT;
        struct val *row = next_row(&a, &rest);
        if (!row)
            break;
        struct str wrong = judge(&a, row, env);
        passed += !wrong.n;
        failed += wrong.n > 0;
        if (wrong.n)
            printf("FAILED " STR_FMT "\n    " STR_FMT "\n", STR_ARG(want(row, "expr")), STR_ARG(wrong));
    }
    cel_env_unref(env);
    buf_done(&b);
    printf("%u passed, %u failed\n", passed, failed);
    return failed || !passed;
}
