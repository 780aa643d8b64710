/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nanoseconds to compile and to evaluate, and bytes that a program holds. Usage: bench_cel <expressions.txt
 * One line an expression: NAME, compile ns, evaluate ns, bytes. celgo/ prints the same of cel-go with the API server's
 * environment; run.sh runs both and prints the ratios.
 */
#include "cel/cel.h"
#include "wire/json.h"

#include <stdio.h>
#include <time.h>

static const char object[] =
    "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"web-1\",\"labels\":{\"app\":\"web\",\"tier\":\"front\"}},\"spec\":{\"replicas\":3,"
    "\"containers\":[{\"name\":\"a\",\"image\":\"registry.local/a:1\"},{\"name\":\"b\",\"image\":\"registry.local/b:2\"},"
    "{\"name\":\"c\",\"image\":\"registry.local/c:3\"},{\"name\":\"d\",\"image\":\"registry.local/d:4\"}]}}";

static struct cel_val variable(void *user, unsigned n, struct arena *a)
{
    return cel_view(a, user, NULL);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void measure(struct cel_env *env, const char *expr, struct val *v)
{
    struct arena a = ARENA_INIT;
    struct cel_issues issues;
    struct cel_program *p = NULL;
    struct cel_val r;
    unsigned n = 0, m = 0;
    double start = now(), compile, eval;
    for (; n % 64 || now() - start < 1e8; n++) {
        cel_program_unref(p);
        arena_reset(&a);
        if (cel_compile(env, str_of(expr), &a, &p, &issues) < 0) {
            printf("%s: %s\n", expr, issues.items[0].message.p);
            exit(1);
        }
    }
    compile = (now() - start) / n;
    for (start = now(); m % 64 || now() - start < 1e8; m++) {
        struct cel_eval ev = {.variable = variable, .user = v, .arena = &a, .limit = CEL_COST_PER_CALL};
        arena_reset(&a);
        if (cel_eval(p, &ev, &r, NULL))
            exit(1);
    }
    eval = (now() - start) / m;
    printf("%.0f\t%.0f\t%zu\t%s\n", compile, eval, cel_program_bytes(p), expr);
    cel_program_unref(p);
    arena_done(&a);
}

int main(void)
{
    struct arena a = ARENA_INIT;
    struct val *v;
    char line[4096];
    struct cel_env *env = cel_env_new(CEL_LIB_KUBERNETES, 255);
    if (json_decode(&a, NULL, str_of(object), 0, NULL, &v, NULL) < 0)
        return 1;
    cel_env_var(env, "object", &cel_dyn);
    while (fgets(line, sizeof(line), stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (*line)
            measure(env, line, v);
    }
    cel_env_unref(env);
    arena_done(&a);
    return 0;
}
