/* SPDX-License-Identifier: Apache-2.0 */
/* The last-applied annotation and the patch that is made of it. */
#include "../testing.h"

#include "cli/apply.h"
#include "cli/write.h"
#include "resources.h"
#include "type/meta.h"
#include "wire/json.h"

/* A kubectl lives for one command and leaves its memory to the end of the process. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

static struct val *decode(struct cli *c, const char *text)
{
    struct val *v = NULL;
    assert_int_equal(json_decode(&c->a, NULL, str_of(text), 0, NULL, &v, NULL), 0);
    return v;
}

#define MAP(data) "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"m\",\"namespace\":\"d\"},\"data\":" data "}"

/* What the server has after `first` was applied and others have added `theirs` to the data. */
static struct val *live(struct cli *c, const char *first, const char *theirs)
{
    struct val *v = decode(c, first);
    applied_set(c, v);
    if (theirs)
        val_put_str(&c->a, (struct val *)val_key(v, STR("data")), str_of(theirs), STR("kept"));
    return v;
}

static struct str patch(struct cli *c, struct val *now, const char *file)
{
    struct str text;
    struct val *modified = decode(c, file);
    struct info i = {.kind = kind_at(c, RES_CONFIGMAPS), .ns = STR("d"), .name = STR("m"), .v = modified, .source = "m.yaml"};
    applied_set(c, modified);
    assert_int_equal(apply_make_patch(c, &i, modified, now, &text), 0);
    return text;
}

FIBER_TEST(test_unchanged)
{
    struct cli *c = NEW(struct cli);
    assert_str(patch(c, live(c, MAP("{\"a\":\"1\"}"), NULL), MAP("{\"a\":\"1\"}")), "{}");
    /* What others added does not make a difference. */
    assert_str(patch(c, live(c, MAP("{\"a\":\"1\"}"), "theirs"), MAP("{\"a\":\"1\"}")), "{}");
}

FIBER_TEST(test_three_ways)
{
    struct cli *c = NEW(struct cli);
    struct str text = patch(c, live(c, MAP("{\"a\":\"1\",\"b\":\"2\"}"), "theirs"), MAP("{\"a\":\"9\"}"));
    const struct val *data = val_key(decode(c, arena_cstr(&c->a, text)), STR("data"));
    assert_int_equal(val_len(data), 2);
    assert_str(val_str(val_key(data, STR("a"))), "9");
    assert_int_equal(val_key(data, STR("b"))->kind, VAL_NULL); /* the file named it before and does no more */
    assert_null(val_key(data, STR("theirs")));
}

FIBER_TEST(test_annotation)
{
    struct cli *c = NEW(struct cli);
    struct val *v = decode(c, MAP("{\"a\":\"1\"}"));
    assert_null(applied_get(v).p);
    struct str text = applied_set(c, v), again;
    assert_true(str_eq(applied_get(v), text));
    again = applied_set(c, v); /* it does not hold itself */
    assert_true(str_eq(again, text));
}

FIBER_TEST(test_nulls)
{
    struct cli *c = NEW(struct cli);
    struct val *v = decode(c, "{\"a\":null,\"b\":{\"c\":null,\"d\":1},\"e\":[{\"f\":null}]}");
    apply_drop_nulls(v);
    assert_str(json_text(c, NULL, v), "{\"b\":{\"d\":1},\"e\":[{}]}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_unchanged), cmocka_unit_test(test_three_ways),
                                       cmocka_unit_test(test_annotation), cmocka_unit_test(test_nulls)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
