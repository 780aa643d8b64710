/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rules of a custom resource may cost at worst, against upstream's figures (schemas.jsonl: a schema with rules, and the
 * cost of each). Usage: test_cel_schema FILE
 */
#include "cel/schema.h"
#include "names.h"
#include "rows.h"

static unsigned judge_rule(struct arena *a, struct cel_env *env, const struct val *rule, const struct val *want)
{
    struct str source = val_getstr(rule, N_rule);
    struct cel_issues issues;
    struct cel_program *p;
    if (cel_compile(env, source, a, &p, &issues) < 0) {
        printf("FAILED " STR_FMT "\n" STR_FMT "\n", STR_ARG(source), STR_ARG(issues.text));
        return 1;
    }
    uint64_t max = cel_estimate(p).max;
    cel_program_unref(p);
    bool same = want->kind == VAL_FLOAT ? (double)max == want->f : max == (uint64_t)val_int(want, -1);
    if (!same)
        printf("FAILED " STR_FMT ": %llu, not %.0f\n", STR_ARG(source), (unsigned long long)max, val_float(want, -1));
    return !same;
}

int main(int argc, char **argv)
{
    struct buf all CLEANUP_BUF = BUF_INIT;
    unsigned failed = 0, rules = 0;
    struct str rest = argc > 1 ? file_text(argv[1], &all) : STR_NULL;
    for (;;) {
        CLEANUP_ARENA struct arena a = ARENA_INIT;
        struct val *row = next_row(&a, &rest), *props;
        struct buf b = BUF_INIT;
        if (!row)
            break;
        json_encode(&b, NULL, val_key(row, STR("schema")), 0);
        if (json_decode(&a, type_find(STR("apiextensions.v1.JSONSchemaProps")), buf_str(&b), 0, NULL, &props, NULL) < 0)
            return 1;
        const struct structural *s = structural_compile(&a, props);
        struct cel_env *env = cel_env_new(CEL_LIB_KUBERNETES, 255);
        cel_env_var(env, "self", cel_schema_type(&a, s, true));
        size_t i = 0;
        VAL_EACH (s->rules->expressions, rule) {
            failed += judge_rule(&a, env, rule, val_item(val_key(row, STR("costs")), i++));
            rules++;
        }
        if (cel_schema_cardinality(s, true) != (uint64_t)val_int(val_key(row, STR("cardinality")), -1)) {
            printf("FAILED cardinality %llu\n", (unsigned long long)cel_schema_cardinality(s, true));
            failed++;
        }
        cel_env_unref(env);
        buf_done(&b);
    }
    printf("%u rules, %u failed\n", rules, failed);
    return failed || !rules;
}
