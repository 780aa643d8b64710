/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions of any bytes: whatever compiles evaluates to a value of its type's kind, an error or the cost limit. */
#include "cel/cel.h"
#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LIMIT = 20000 };

static struct cel_val variable(void *user, unsigned n, struct arena *a)
{
    static const char *const texts[] = {"\"hello\"", "7", "[\"x\",\"yy\",\"zzz\"]", "{\"a\":\"1\"}",
                                        "{\"spec\":{\"replicas\":3,\"names\":[\"p\",\"q\"],\"nothing\":null},\"kind\":\"Pod\"}"};
    struct val *v;
    ASSERT(json_decode(a, NULL, str_of(texts[n]), 0, NULL, &v, NULL) == 0);
    return cel_view(a, v, NULL);
}

static struct cel_env *make_env(void)
{
    struct cel_env *env = cel_env_new(CEL_LIB_KUBERNETES | CEL_LIB_BIND | CEL_LIB_JSONPATCH, 255);
    struct arena *a = cel_env_arena(env);
    cel_env_var(env, "s", &cel_string);
    cel_env_var(env, "i", &cel_int);
    cel_env_var(env, "l", cel_list_of(a, &cel_string));
    cel_env_var(env, "m", cel_map_of(a, &cel_string, &cel_string));
    cel_env_var(env, "d", &cel_dyn);
    return env;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cel_env *env;
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    struct cel_issues issues;
    struct cel_program *p;
    env = env ? env : make_env();
    if (size > 4096)
        return 0;
    if (cel_compile(env, str_n((const char *)data, size), &a, &p, &issues) < 0) {
        ASSERT(issues.n > 0 && issues.text.n > 0);
        return 0;
    }
    struct cel_eval ev = {.variable = variable, .arena = &a, .limit = LIMIT};
    struct cel_val v;
    struct val json;
    struct err e = {0};
    int r = cel_eval(p, &ev, &v, &e);
    ASSERT(r == 0 || (e.text[0] && (r == -EINVAL || r == CEL_COST_EXCEEDED)));
    if (r == 0) {
        cel_text(&a, v);
        cel_to_val(&a, v, &json, &e);
        uint8_t kind = cel_program_type(p)->kind;
        ASSERT(kind == CEL_DYN || kind == CEL_WRAPPER || kind == CEL_OPAQUE || v.kind == kind || v.kind == CEL_NULL);
    }
    cel_estimate(p); /* its least may be above its most: upstream's rules for replace() say so, and rules were admitted by them */
    cel_program_unref(p);
    return 0;
}
