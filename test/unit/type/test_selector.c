/* SPDX-License-Identifier: Apache-2.0 */
#include "type/selector.h"

#include "cases.h"
#include "names.h"
#include "types.h"

static struct arena arena;

static void test_parse_and_print(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"a=b", "a=b"},
        {" a == b ", "a=b"},
        {"b!=c,a", "a,b!=c"},
        {"!a", "!a"},
        {"a in (c,b)", "a in (b,c)"},
        {"a in (b,b)", "a in (b)"},
        {"a notin ()", "a notin ()"},
        {"a in (,b,)", "a in (,b)"},
        {"in=in", "in=in"},
        {"notin in (in)", "notin in (in)"},
        {"a=", "a="},
        {"a=,b", "a=,b"},
        {"a>1,b<2", "a>1,b<2"},
        {"example.com/a=b", "example.com/a=b"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct selector s;
        struct err e = {0};
        if (selector_parse(&arena, str_of(cases[i][0]), &s, &e) != 0)
            fail_msg("%s: %s", cases[i][0], e.text);
        assert_string_equal(selector_print(&arena, &s).p, cases[i][1]);
    }
}

static void test_parse_refuses(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"},
        {"a,", "found '', expected: identifier after ','"},
        {",a", "found ',', expected: !, identifier, or 'end of string'"},
        {"a=b c", "found 'c', expected: ',' or 'end of string'"},
        {"a in b", "unable to parse requirement: found 'b' expected: '('"},
        {"a in (b", "unable to parse requirement: found '', expected: ',' or ')'"},
        {"a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'"},
        {"!", "unable to parse requirement: found '', expected: identifier"},
        {"a=(", "unable to parse requirement: found '(', expected: identifier"},
        {"a>x", "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the "
                "value must be "
                "an integer"},
        {"/a=b", "unable to parse requirement: <nil>: Invalid value: \"/a\": prefix part must be non-empty"},
        {"a=b@",
         "unable to parse requirement: values[0][a]: Invalid value: \"b@\": a valid label must be an empty "
         "string or "
         "consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
         "character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
         "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct selector s;
        struct err e = {0};
        assert_int_equal(selector_parse(&arena, str_of(cases[i][0]), &s, &e), -EINVAL);
        assert_string_equal(e.text, cases[i][1]);
    }
}

static void test_matches(void **state)
{
    (void)state;
    static const struct {
        const char *selector;
        bool want;
    } cases[] = {
        {"", true},          {"a=1", true},         {"a=2", false},
        {"a!=1", false},     {"x!=1", true},        {"a in (1,2)", true},
        {"x in (1)", false}, {"x notin (1)", true}, {"a notin (1)", false},
        {"a", true},         {"x", false},          {"!a", false},
        {"!x", true},        {"n>4", true},         {"n>5", false},
        {"n<6", true},       {"a=1,n=5", true},     {"a=1,n=6", false},
        {"b>1", false},      {"e=", true},          {"x=", false},
    };
    struct val *labels = case_val(&arena, NULL, "{'a':'1','b':'x','n':'5','e':''}");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct selector s;
        assert_int_equal(selector_parse(&arena, str_of(cases[i].selector), &s, NULL), 0);
        if (selector_matches(&s, labels) != cases[i].want)
            fail_msg("%s", cases[i].selector);
    }
}

static struct str get(void *ctx, struct str path)
{
    return val_str(val_key(ctx, path));
}

static void test_fields(void **state)
{
    (void)state;
    struct selector s;
    struct err e = {0};
    struct val *fields = case_val(&arena, NULL, "{'metadata.name':'x','a':'p=q,r'}");
    assert_int_equal(field_selector_parse(&arena, STR("metadata.name=x,spec.nodeName!=n"), &s, &e), 0);
    assert_int_equal(s.n, 2);
    assert_true(selector_matches_fields(&s, get, fields));
    assert_int_equal(field_selector_parse(&arena, STR("a==p\\=q\\,r"), &s, &e), 0);
    assert_true(selector_matches_fields(&s, get, fields));
    assert_int_equal(field_selector_parse(&arena, STR("spec.nodeName="), &s, &e), 0);
    assert_true(selector_matches_fields(&s, get, fields));
    assert_int_equal(field_selector_parse(&arena, STR("oops"), &s, &e), -EINVAL);
    assert_string_equal(e.text, "invalid selector: 'oops'; can't understand 'oops'");
    assert_int_equal(field_selector_parse(&arena, STR("a=b\\c"), &s, &e), -EINVAL);
    assert_string_equal(e.text, "invalid field selector: invalid escape sequence: \\c");
    assert_int_equal(field_selector_parse(&arena, STR("a=b=c"), &s, &e), -EINVAL);
}

static void test_label_selector_objects(void **state)
{
    (void)state;
    const struct type *t = type_at(T_meta_v1_LabelSelector);
    struct selector s;
    struct err e = {0};
    struct val *labels = case_val(&arena, NULL, "{'a':'1'}");
    assert_int_equal(selector_from_val(&arena, NULL, &s, &e), 0);
    assert_false(selector_matches(&s, labels));
    assert_int_equal(selector_from_val(&arena, case_val(&arena, t, "{}"), &s, &e), 0);
    assert_true(selector_matches(&s, labels));
    struct val *v = case_val(
        &arena, t,
        "{'matchLabels':{'a':'1'},'matchExpressions':[{'key':'b','operator':'NotIn','values':['y','x']},"
        "{'key':'c','operator':'DoesNotExist'}]}");
    assert_int_equal(selector_from_val(&arena, v, &s, &e), 0);
    assert_string_equal(selector_print(&arena, &s).p, "a=1,b notin (x,y),!c");
    assert_true(selector_matches(&s, labels));
    v = case_val(&arena, t, "{'matchExpressions':[{'key':'b','operator':'Foo'}]}");
    assert_int_equal(selector_from_val(&arena, v, &s, &e), -EINVAL);
    assert_string_equal(e.text, "\"Foo\" is not a valid label selector operator");
    v = case_val(&arena, t, "{'matchExpressions':[{'key':'b','operator':'In'}]}");
    assert_int_equal(selector_from_val(&arena, v, &s, &e), -EINVAL);
    selector_from_map(&arena, labels, &s);
    assert_string_equal(selector_print(&arena, &s).p, "a=1");
}

static int teardown(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_and_print),
        cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_label_selector_objects),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
