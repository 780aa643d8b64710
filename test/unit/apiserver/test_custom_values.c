/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What upstream's API server v1.37 keeps of objects, and what it says of their values, by their schemas: values.jsonl, a line a
 * schema with an object (and what it was before). Usage: test_custom_values FILE
 */
#include "../cel/rows.h"
#include "apiserver/custom_cel.h"
#include "type/structural.h"
#include "type/validate_custom.h"
#include "types.h"

static const struct structural *schema_of(struct arena *a, const struct val *row)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct val *props = NULL;
    json_encode(&b, NULL, val_key(row, STR("schema")), 0);
    json_decode(a, &types[T_apiextensions_v1_JSONSchemaProps], arena_str(a, buf_str(&b)), 0, NULL, &props, NULL);
    return structural_compile(a, props);
}

static const struct val *settled(struct arena *a, const struct structural *s, const struct val *from)
{
    struct val *v = val_copy(a, from);
    if (!v)
        return NULL;
    structural_prune(a, s, v, true, NULL);
    structural_default(a, s, v);
    return v;
}

static struct val *sentences(struct arena *a, const struct status *s)
{
    struct val *list = val_new(a, VAL_LIST);
    struct str *texts = ARENA_ARRAY(a, struct str, s->n_causes);
    for (size_t i = 0; i < s->n_causes; i++)
        texts[i] = arena_printf(a, "%s " STR_FMT ": " STR_FMT, s->causes[i].reason, STR_ARG(s->causes[i].field), STR_ARG(s->causes[i].message));
    str_sort(texts, s->n_causes);
    for (size_t i = 0; i < s->n_causes; i++)
        val_add_str(a, list, texts[i]);
    return list;
}

static void tell(const char *what, const struct val *v)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode(&b, NULL, v, 0);
    printf("    %s " STR_FMT "\n", what, STR_ARG(buf_str(&b)));
}

static bool judge(struct arena *a, const struct val *row)
{
    struct custom_programs programs = {.n = 0};
    struct custom_checks checks = {custom_match, &programs};
    const struct structural *s = schema_of(a, row);
    const struct val *v = settled(a, s, val_key(row, STR("obj"))), *old = settled(a, s, val_key(row, STR("old")));
    const struct val *kept = val_key(row, STR("kept")), *want = val_key(row, STR("errors"));
    struct status st;
    status_init(&st, a);
    custom_validate(s, v, old, &checks, &st);
    const struct val *got = sentences(a, &st);
    bool right = val_same(v, kept) && val_same(got, want);
    if (!right) {
        printf("FAILED\n");
        tell("row ", row);
        if (!val_same(v, kept))
            tell("kept", v);
        if (!val_same(got, want))
            tell("says", got);
    }
    custom_programs_done(&programs);
    return right;
}

int main(int argc, char **argv)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    unsigned passed = 0, failed = 0;
    struct str rest = argc > 1 ? file_text(argv[1], &b) : STR_NULL;
    for (;;) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        const struct val *row = next_row(&a, &rest);
        if (!row)
            break;
        judge(&a, row) ? passed++ : failed++;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed || !passed;
}
