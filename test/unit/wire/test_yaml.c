/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

#include "wire/yaml.h"

#include "names.h"
#include "types.h"

#include <stdio.h>

/* YAML and the JSON that it is. */
static const struct {
    const char *yaml, *json;
} readings[] = {
    {"", "null"},
    {"# nothing\n", "null"},
    {"a: b\nc: 1\n", "{\"a\":\"b\",\"c\":1}"},
    {"b: 1\na: 2\n", "{\"a\":2,\"b\":1}"},
    {"- a\n- - b\n  - c\n- {d: e, f: [g]}\n", "[\"a\",[\"b\",\"c\"],{\"d\":\"e\",\"f\":[\"g\"]}]"},
    {"[yes, No, ON, off, y, n, true, False, YES]", "[true,false,true,false,true,false,true,false,true]"},
    {"[~, null, Null, NULL, nUll]", "[null,null,null,null,\"nUll\"]"},
    {"a:\nb: \n", "{\"a\":null,\"b\":null}"},
    {"[0, -1, +5, 0777, 08, 0x1F, 0b11, 0o17, 1_000, -0x10, 00]", "[0,-1,5,511,8,31,3,15,1000,-16,0]"},
    {"[1.5, .5, -.5, 5., 1e3, 1.0, 1e21, 1E5, 1_0.5]", "[1.5,0.5,-0.5,5,1000,1,1e+21,100000,10.5]"},
    {"[9223372036854775807, -9223372036854775808, 1e999]",
     "[9223372036854775807,-9223372036854775808,\"1e999\"]"},
    {"[2001-01-01, 2001-1-1T1:2:3Z, 2001-01-01 00:00:00, 2001-13-01, 1:30]",
     "[\"2001-01-01\",\"2001-1-1T1:2:3Z\",\"2001-01-01 00:00:00\",\"2001-13-01\",\"1:30\"]"},
    {"[\"yes\", 'no', \"1\", '~', '', \"\"]", "[\"yes\",\"no\",\"1\",\"~\",\"\",\"\"]"},
    {"[10.0.0.1, v1, 80/tcp, a-b, 0x, 0b, -, +, ., .., 1.2.3]",
     "[\"10.0.0.1\",\"v1\",\"80/tcp\",\"a-b\",\"0x\",\"0b\",\"-\",\"+\",\".\",\"..\",\"1.2.3\"]"},
    {"[!!str 5, !!int \"5\", !!float 5, !!bool \"yes\", !!null \"\", !!binary aGk=, !local x, !!timestamp "
     "2001-01-01]",
     "[\"5\",5,5,true,null,\"hi\",\"x\",\"2001-01-01\"]"},
    {"1: a\n2.5: b\ntrue: c\n.inf: d\n1e3: e\n",
     "{\".inf\":\"d\",\"1\":\"a\",\"1000\":\"e\",\"2.5\":\"b\",\"true\":\"c\"}"},
    {"a: |\n  x\n   y\n\nb: >-\n  one\n  two\n\n  three\nc: |+\n  z\n\n",
     "{\"a\":\"x\\n y\\n\",\"b\":\"one two\\nthree\",\"c\":\"z\\n\\n\"}"},
    {"a: \"x\\u00e9\\n\\x41\"\nb: 'it''s'\n", "{\"a\":\"x\xc3\xa9\\nA\",\"b\":\"it's\"}"},
    {"a: &x {p: 1}\nb: *x\nc: [*x, *x]\n", "{\"a\":{\"p\":1},\"b\":{\"p\":1},\"c\":[{\"p\":1},{\"p\":1}]}"},
    {"a: &x 1\nb: &x 2\nc: *x\n", "{\"a\":1,\"b\":2,\"c\":2}"},
    {"base: &b {p: 1, q: 2}\nd:\n  <<: *b\n  q: 3\n", "{\"base\":{\"p\":1,\"q\":2},\"d\":{\"p\":1,\"q\":3}}"},
    {"<<: [{a: 1}, {a: 2, b: 3}]\nc: 4\n", "{\"a\":1,\"b\":3,\"c\":4}"},
    {"\"<<\": 1\n", "{\"\\u003c\\u003c\":1}"},
    {"? a\n: b\n", "{\"a\":\"b\"}"},
    {"a: 1\na: 2\n", "{\"a\":2}"},
    {"--- x\n--- y\n", "\"x\""},
    {"a: b\r\nc: d\r\n", "{\"a\":\"b\",\"c\":\"d\"}"},
    {"\xef\xbb\xbf"
     "a: b\n",
     "{\"a\":\"b\"}"},
    {"{\"a\": [1, 2.0, \"x\"]}", "{\"a\":[1,2,\"x\"]}"},
};

static void is_read_as_go_yaml_does(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(readings); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct str json;
        struct err e = {0};
        if (yaml_to_json(&a, str_of(readings[i].yaml), NULL, &json, &e) < 0)
            fail_msg("%s: %s", readings[i].yaml, e.text);
        if (!str_is(json, readings[i].json))
            fail_msg("%s\n gives " STR_FMT "\n not   %s", readings[i].yaml, STR_ARG(json), readings[i].json);
    }
}

static void errors_name_the_line(void **state UNUSED)
{
    static const struct {
        const char *yaml, *error;
    } cases[] = {
        {"a: b: c\n", "yaml: mapping values are not allowed in this context"},
        {"a:\n  b\nc: d: e\n", "yaml: line 3: mapping values are not allowed in this context"},
        {"a: [1, 2\n", "yaml: line 1: did not find expected ',' or ']'"},
        {"a: b\n\tc: d\n", "yaml: line 2: found a tab character that violates indentation"},
        {"x: *nope\n", "yaml: unknown anchor 'nope' referenced"},
        {"x: &a [*a]\n", "yaml: anchor 'a' value contains itself"},
        {"<<: 1\n", "yaml: map merge requires map or sequence of maps as the value"},
        {"<<: [1]\n", "yaml: map merge requires map or sequence of maps as the value"},
        {"? [a]\n: b\n", "yaml: invalid map key"},
        {"~: x\n", "unsupported map key of type: null"},
        {"a: .nan\n", "json: unsupported value: NaN"},
        {"a: -.inf\n", "json: unsupported value: -Inf"},
        {"a: !!int x\n", "yaml: cannot decode !!str `x` as a !!int"},
        {"a: !!binary \"?\"\n", "yaml: !!binary value contains invalid base64 data"},
        {"a: \x01\n", "yaml: control characters are not allowed"},
        {"a: \xff\n", "yaml: invalid leading UTF-8 octet"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct val *v = NULL;
        struct err e = {0};
        assert_int_equal(yaml_decode(&a, str_of(cases[i].yaml), NULL, &v, &e), -EINVAL);
        if (strcmp(e.text, cases[i].error) != 0)
            fail_msg("%s says %s", cases[i].yaml, e.text);
        assert_null(v);
    }
}

static void duplicate_keys_are_reported(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct json_report report = {0};
    struct val *v;
    assert_int_equal(yaml_decode(&a, STR("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\na: 4\n"), &report, &v, NULL), 0);
    assert_int_equal(report.n, 1);
    assert_str(report.problems[0], "yaml: unmarshal errors:\n  line 5: key \"c\" already set in map\n"
                                   "  line 6: key \"a\" already set in map");
    report = (struct json_report){0};
    assert_int_equal(yaml_decode(&a, STR("- a: 1\n- a: 2\n"), &report, &v, NULL), 0);
    assert_int_equal(report.n, 0);
}

static void documents_come_one_by_one(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    struct val *v;
    struct yaml_stream *s = yaml_open(STR("# first\na: 1\n---\n---\n- 2\n...\n---\nb: [\n"));
    assert_int_equal(yaml_next(s, &a, NULL, &v, &e), 0);
    assert_int_equal(val_int(val_key(v, STR("a")), 0), 1);
    assert_int_equal(yaml_next(s, &a, NULL, &v, &e), 0);
    assert_true(val_is(v, VAL_NULL));
    assert_int_equal(yaml_next(s, &a, NULL, &v, &e), 0);
    assert_int_equal(val_int(val_item(v, 0), 0), 2);
    assert_int_equal(yaml_next(s, &a, NULL, &v, &e), -EINVAL);
    assert_string_equal(e.text, "yaml: line 8: did not find expected node content");
    assert_int_equal(yaml_next(s, &a, NULL, &v, &e), YAML_END);
    assert_null(yaml_close(s));
    assert_null(yaml_close(NULL));
}

/* Each line ten times the one before: nothing of it is ever built, but what walks it would not end. */
static void aliases_do_not_explode(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct val *v;
    struct err e = {0};
    buf_puts(&b, "a0: &a0 [x]\n");
    for (int i = 1; i < 30; i++) {
        buf_printf(&b, "a%d: &a%d [", i, i);
        for (int j = 0; j < 10; j++)
            buf_printf(&b, "*a%d%s", i - 1, j < 9 ? ", " : "]\n");
    }
    assert_int_equal(yaml_decode(&a, buf_str(&b), NULL, &v, &e), -EINVAL);
    assert_string_equal(e.text, "yaml: document contains excessive aliasing");
}

static void nesting_ends_somewhere(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char text[4096];
    struct val *v;
    memset(text, '[', sizeof(text));
    assert_int_equal(yaml_decode(&a, str_n(text, sizeof(text)), NULL, &v, NULL), -EINVAL);
}

/* JSON and the YAML that kubectl prints for it. */
static const struct {
    const char *json, *yaml;
} writings[] = {
    {"null", "null\n"},
    {"{}", "{}\n"},
    {"[]", "[]\n"},
    {"\"x\"", "x\n"},
    {"{\"b\":[],\"a\":{},\"c\":[[1],{\"d\":[null,true,1.5]}]}",
     "a: {}\nb: []\nc:\n- - 1\n- d:\n  - null\n  - true\n  - 1.5\n"},
    {"[\"yes\",\"No\",\"n\",\"~\",\"null\",\"\",\"1\",\"0x1\",\"1e3\",\".5\",\"-\",\"2001-01-01\",\"1:30\","
     "\".inf\"]",
     "- \"yes\"\n- \"No\"\n- \"n\"\n- \"~\"\n- \"null\"\n- \"\"\n- \"1\"\n- \"0x1\"\n- \"1e3\"\n- \".5\"\n- "
     "'-'\n"
     "- \"2001-01-01\"\n- \"1:30\"\n- \".inf\"\n"},
    {"[\"a b\",\"a: b\",\"a #b\",\"#x\",\"- x\",\" x\",\"x "
     "\",\"*a\",\"&a\",\"!x\",\"@x\",\"`x\",\"{a}\",\"[a]\",\"it's\",\"\\\"q\\\"\"]",
     "- a b\n- 'a: b'\n- 'a #b'\n- '#x'\n- '- x'\n- ' x'\n- 'x '\n- '*a'\n- '&a'\n- '!x'\n- '@x'\n- '`x'\n- "
     "'{a}'\n"
     "- '[a]'\n- it's\n- '\"q\"'\n"},
    {"[\"a\\tb\",\"\\u0007\",\"\xc3\xa9\",\"a\\\\b\",\"\\u2028\",\"\\ufeff\"]",
     "- \"a\\tb\"\n- \"\\a\"\n- \xc3\xa9\n- a\\b\n- \"\\L\"\n- \"\\uFEFF\"\n"},
    {"{\"a\":\"x\\ny\\n\",\"b\":\"x\\ny\",\"c\":\"x\\n\\n\",\"d\":\"\\n x\",\"e\":\"x \\ny\"}",
     "a: |\n  x\n  y\nb: |-\n  x\n  y\nc: |+\n  x\n\nd: |2-\n\n   x\ne: \"x \\ny\"\n"},
    {"{\"a\":\"x\\n\\n\"}", "a: |+\n  x\n\n"}, /* and no end of the document behind it */
    {"[1,-1,1.5,1e21,1e-7,100000000000000000000,9223372036854775807,1234567.5]",
     "- 1\n- -1\n- 1.5\n- 1e+21\n- 1e-07\n- 1e+20\n- 9223372036854775807\n- 1.2345675e+06\n"},
    {"{\"a10\":1,\"a2\":2,\"B\":3,\"b\":4,\"a-b\":5,\"a.b\":6,\"_\":7,\"1\":8,\"a\":9,\"a02\":10}",
     "_: 7\n\"1\": 8\nB: 3\na: 9\na-b: 5\na.b: 6\na2: 2\na02: 10\na10: 1\nb: 4\n"},
};

static void is_written_as_go_yaml_does(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(writings); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct buf b CLEANUP_BUF = BUF_INIT;
        struct val *v, *w;
        struct err e = {0};
        assert_int_equal(json_decode(&a, NULL, str_of(writings[i].json), 0, NULL, &v, NULL), 0);
        yaml_encode(&b, NULL, v);
        if (!str_is(buf_str(&b), writings[i].yaml))
            fail_msg("%s\n gives\n" STR_FMT "\n not\n%s", writings[i].json, STR_ARG(buf_str(&b)),
                     writings[i].yaml);
        if (yaml_decode(&a, buf_str(&b), NULL, &w, &e) < 0)
            fail_msg("%s: %s", writings[i].yaml, e.text);
        if (!strchr(writings[i].json, '.') && !strstr(writings[i].json, "e2"))
            assert_true(val_equal(v, w));
    }
}

static void long_lines_are_folded(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct val *v = val_new(&a, VAL_MAP);
    val_put_str(&a, v, STR("message"),
                STR("0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 "
                    "0123456789 0123456789 0123456789"));
    yaml_encode(&b, NULL, v);
    assert_str(buf_str(&b),
               "message: 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789\n"
               "  0123456789 0123456789\n");
}

static void typed_values_are_written_with_their_zeros(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct val *v = val_new(&a, VAL_OBJ);
    val_set_str(&a, v, N_kind, STR("ReplicaSet"));
    val_set_str(&a, val_sub_obj(&a, v, N_metadata), N_name, STR("true"));
    yaml_encode(&b, type_at(T_apps_v1_ReplicaSet), v);
    assert_str(buf_str(&b), "kind: ReplicaSet\nmetadata:\n  name: \"true\"\nspec:\n  selector: null\n"
                            "  template:\n    metadata: {}\n    spec:\n      containers: null\n"
                            "status:\n  replicas: 0\n");
}

static void manifests_may_be_json(void **state UNUSED)
{
    assert_true(yaml_is_json(STR(" \n\t{")));
    assert_false(yaml_is_json(STR("a: {}")));
    assert_false(yaml_is_json(STR("[")));
    assert_false(yaml_is_json(STR("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_read_as_go_yaml_does),
        cmocka_unit_test(errors_name_the_line),
        cmocka_unit_test(duplicate_keys_are_reported),
        cmocka_unit_test(documents_come_one_by_one),
        cmocka_unit_test(aliases_do_not_explode),
        cmocka_unit_test(nesting_ends_somewhere),
        cmocka_unit_test(is_written_as_go_yaml_does),
        cmocka_unit_test(long_lines_are_folded),
        cmocka_unit_test(typed_values_are_written_with_their_zeros),
        cmocka_unit_test(manifests_may_be_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
