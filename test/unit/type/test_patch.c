/* SPDX-License-Identifier: Apache-2.0 */
#include "type/patch.h"

#include <stdio.h>
#include <time.h>

#include "cases.h"
#include "types.h"

static struct arena arena;

struct patch_case {
    const char *doc, *patch, *want; /* want: JSON, or NULL when refused with code */
    int code;
};

static void run_cases(enum patch_kind kind, const struct type *t, const struct patch_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct status s;
        struct val *got = NULL;
        status_init(&s, &arena);
        struct str patch = case_text(&arena, cases[i].patch);
        int r = patch_apply(&arena, kind, t, case_val(&arena, t, cases[i].doc), patch, NULL, &got, &s);
        if (r != cases[i].code)
            fail_msg("case %zu: %s on %s: %d " STR_FMT, i, cases[i].patch, cases[i].doc, r,
                     STR_ARG(s.message));
        if (cases[i].want)
            assert_json(&arena, t, got, cases[i].want);
        else
            assert_int_equal(s.code, cases[i].code);
    }
}

static void test_merge(void **state)
{
    (void)state;
    static const struct patch_case cases[] = {
        {"{'a':'b'}", "{'a':'c'}", "{'a':'c'}", 0},
        {"{'a':'b'}", "{'b':'c'}", "{'a':'b','b':'c'}", 0},
        {"{'a':'b'}", "{'a':null}", "{}", 0},
        {"{'a':'b','b':'c'}", "{'a':null}", "{'b':'c'}", 0},
        {"{'a':['b']}", "{'a':'c'}", "{'a':'c'}", 0},
        {"{'a':'c'}", "{'a':['b']}", "{'a':['b']}", 0},
        {"{'a':{'b':'c'}}", "{'a':{'b':'d','c':null}}", "{'a':{'b':'d'}}", 0},
        {"{'a':[{'b':'c'}]}", "{'a':[1]}", "{'a':[1]}", 0},
        {"{'e':null}", "{'a':1}", "{'a':1,'e':null}", 0},
        {"{'a':'foo'}", "{'a':{'b':{'c':null}}}", "{'a':{'b':{}}}", 0},
        {"{}", "{'a':{'bb':{'ccc':null}}}", "{'a':{'bb':{}}}", 0},
        {"{}", "{'a':[null,{'b':null}]}", "{'a':[null,{}]}", 0},
        {"{}", "['c']", NULL, 400},
        {"{}", "null", NULL, 400},
        {"{}", "{not", NULL, 400},
    };
    run_cases(PATCH_MERGE, NULL, cases, ARRAY_SIZE(cases));
}

static void test_json(void **state)
{
    (void)state;
    static const struct patch_case cases[] = {
        {"{'foo':'bar'}", "[{'op':'add','path':'/baz','value':'qux'}]", "{'baz':'qux','foo':'bar'}", 0},
        {"{'foo':['bar','baz']}", "[{'op':'add','path':'/foo/1','value':'qux'}]",
         "{'foo':['bar','qux','baz']}", 0},
        {"{'foo':['bar']}", "[{'op':'add','path':'/foo/-','value':['abc']}]", "{'foo':['bar',['abc']]}", 0},
        {"{'foo':['bar']}", "[{'op':'add','path':'/foo/2','value':1}]", NULL, 422},
        {"{'baz':'qux','foo':'bar'}", "[{'op':'remove','path':'/baz'}]", "{'foo':'bar'}", 0},
        {"{'foo':['bar','qux','baz']}", "[{'op':'remove','path':'/foo/1'}]", "{'foo':['bar','baz']}", 0},
        {"{'foo':['bar','baz']}", "[{'op':'remove','path':'/foo/-1'}]", "{'foo':['bar']}", 0},
        {"{'a':1}", "[{'op':'replace','path':'/a','value':2}]", "{'a':2}", 0},
        {"{'a':[1]}", "[{'op':'replace','path':'/a/0','value':{}}]", "{'a':[{}]}", 0},
        {"{'a':[1]}", "[{'op':'replace','path':'/a/1','value':{}}]", NULL, 422},
        {"{'a':{'b':1},'c':{}}", "[{'op':'move','from':'/a/b','path':'/c/d'}]", "{'a':{},'c':{'d':1}}", 0},
        {"{'foo':['all','grass','cows','eat']}", "[{'op':'move','from':'/foo/1','path':'/foo/3'}]",
         "{'foo':['all','cows','eat','grass']}", 0},
        {"{'a':{'b':1}}", "[{'op':'copy','from':'/a','path':'/c'},{'op':'replace','path':'/c/b','value':2}]",
         "{'a':{'b':1},'c':{'b':2}}", 0},
        {"{'a':1}", "[{'op':'test','path':'/a','value':1},{'op':'remove','path':'/a'}]", "{}", 0},
        {"{'a':{'x':1,'y':[1,2]}}", "[{'op':'test','path':'/a','value':{'y':[1,2],'x':1}}]",
         "{'a':{'x':1,'y':[1,2]}}", 0},
        {"{'a':1}", "[{'op':'test','path':'/a','value':'1'}]", NULL, 422},
        {"{'a':1}", "[{'op':'test','path':'/b','value':null}]", "{'a':1}", 0},
        {"{'a/b':1,'m~n':2}", "[{'op':'remove','path':'/a~1b'},{'op':'replace','path':'/m~0n','value':3}]",
         "{'m~n':3}", 0},
        {"{'a':1}", "[{'op':'remove','path':'/b'}]", NULL, 422},
        {"{'a':1}", "[{'op':'move','from':'/b','path':'/a'}]", NULL, 422},
        {"{'a':1}", "[{'op':'copy','path':'/a'}]", NULL, 422},
        {"{'a':1}", "[{'op':'add','path':'/x/y','value':1}]", NULL, 422},
        {"{'a':1}", "[{'op':'frob','path':'/a'}]", NULL, 422},
        {"{'a':1}", "[{'op':'add','value':1}]", NULL, 422},
        {"{'a':1}", "[{'op':'replace','path':'','value':{'b':2}}]", "{'b':2}", 0},
        {"{'a':1}", "[]", "{'a':1}", 0},
        {"{'a':1}", "{'a':1}", NULL, 400},
        {"{'a':1}", "[1]", NULL, 400},
        {"{'a':[1]}", "[{'op':'remove','path':'/a/x'}]", NULL, 422},
    };
    run_cases(PATCH_JSON, NULL, cases, ARRAY_SIZE(cases));
}

static void test_json_limits(void **state)
{
    (void)state;
    struct status s;
    struct val *got = NULL;
    CLEANUP_BUF struct buf b = BUF_INIT;
    buf_putc(&b, '[');
    for (int i = 0; i <= PATCH_MAX_OPERATIONS; i++)
        buf_printf(&b, "%s{\"op\":\"add\",\"path\":\"/a\",\"value\":1}", i ? "," : "");
    buf_putc(&b, ']');
    status_init(&s, &arena);
    assert_int_equal(patch_json(&arena, NULL, case_val(&arena, NULL, "{}"), buf_str(&b), &got, &s), 413);
    /* Copies that double the document each time stop at the limit. */
    buf_clear(&b);
    buf_puts(&b, "[{\"op\":\"add\",\"path\":\"/a\",\"value\":{\"x\":\"0123456789\"}}");
    for (int i = 0; i < 40; i++)
        buf_printf(&b, ",{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/k%d\"}", i);
    buf_putc(&b, ']');
    status_init(&s, &arena);
    assert_int_equal(patch_json(&arena, NULL, case_val(&arena, NULL, "{}"), buf_str(&b), &got, &s), 422);
    /* Moves that stack maps stop before the stack of a walker does. */
    buf_clear(&b);
    buf_puts(&b, "[{\"op\":\"add\",\"path\":\"/a\",\"value\":{}}");
    for (int i = 0; i < 3000; i++)
        buf_puts(&b, ",{\"op\":\"add\",\"path\":\"/b\",\"value\":{}},{\"op\":\"move\",\"from\":\"/"
                     "a\",\"path\":\"/b/a\"},"
                     "{\"op\":\"move\",\"from\":\"/b\",\"path\":\"/a\"}");
    buf_putc(&b, ']');
    status_init(&s, &arena);
    assert_int_equal(patch_json(&arena, NULL, case_val(&arena, NULL, "{}"), buf_str(&b), &got, &s), 422);
}

static void test_typed_results(void **state)
{
    (void)state;
    const struct type *t = type_at(T_core_v1_ConfigMap);
    static const struct patch_case merges[] = {
        {"{'kind':'ConfigMap','apiVersion':'v1','data':{'a':'1'}}", "{'data':{'b':'2'}}",
         "{'kind':'ConfigMap','apiVersion':'v1','metadata':{},'data':{'a':'1','b':'2'}}", 0},
        {"{'data':{'a':'1'}}", "{'data':{'a':5}}", NULL, 422},
        {"{'data':{'a':'1'}}", "{'data':'x'}", NULL, 422},
        {"{'kind':'ConfigMap','apiVersion':'v1'}", "{'apiVersion':'v2'}", NULL, 422},
        {"{'kind':'ConfigMap','apiVersion':'v1'}", "{'kind':null}",
         "{'kind':'ConfigMap','apiVersion':'v1','metadata':{}}", 0},
    };
    run_cases(PATCH_MERGE, t, merges, ARRAY_SIZE(merges));
    struct status s;
    struct val *got = NULL;
    struct json_report report = {0};
    status_init(&s, &arena);
    assert_int_equal(patch_apply(&arena, PATCH_MERGE, t, case_val(&arena, t, "{}"),
                                 case_text(&arena, "{'data':{'a':'1','a':'2'},'zz':1}"), &report, &got, &s),
                     0);
    assert_int_equal(report.n, 2);
    assert_str(report.problems[0], "duplicate field \"data.a\"");
    assert_str(report.problems[1], "unknown field \"zz\"");
}

#define SPEC "{'containers':[{'name':'a','image':'1'},{'name':'b','image':'2'},{'name':'c','image':'3'}]}"
#define ITEM(n, i) "{'name':'" n "','image':'" i "','resources':{}}"

static void test_strategic_lists(void **state)
{
    (void)state;
    static const struct patch_case cases[] = {
        /* merged by name, in place */
        {SPEC, "{'containers':[{'name':'b','image':'x'}]}",
         "{'containers':[" ITEM("a", "1") "," ITEM("b", "x") "," ITEM("c", "3") "]}", 0},
        /* what is new comes first, as the patch's items do where the server knows no order */
        {SPEC, "{'containers':[{'name':'n','image':'x'}]}",
         "{'containers':[" ITEM("n", "x") "," ITEM("a", "1") "," ITEM("b", "2") "," ITEM("c", "3") "]}", 0},
        {SPEC, "{'containers':[{'name':'b','$patch':'delete'}]}",
         "{'containers':[" ITEM("a", "1") "," ITEM("c", "3") "]}", 0},
        {SPEC, "{'containers':[{'name':'n','image':'x'},{'$patch':'replace'}]}",
         "{'containers':[" ITEM("n", "x") "]}", 0},
        {SPEC, "{'$setElementOrder/containers':[{'name':'c'},{'name':'a'},{'name':'b'}]}",
         "{'containers':[" ITEM("c", "3") "," ITEM("a", "1") "," ITEM("b", "2") "]}", 0},
        {SPEC,
         "{'$setElementOrder/"
         "containers':[{'name':'a'},{'name':'n'},{'name':'b'}],'containers':[{'name':'n','image':'x'}]}",
         "{'containers':[" ITEM("a", "1") "," ITEM("n", "x") "," ITEM("b", "2") "," ITEM("c", "3") "]}", 0},
        {SPEC, "{'$setElementOrder/containers':[{'name':'a'}],'containers':[{'name':'n','image':'x'}]}", NULL,
         400},
        {SPEC, "{'containers':[{'image':'x'}]}", NULL, 400},
        {SPEC, "{'containers':[{'name':'a','$patch':'frob'}]}", NULL, 400},
        {SPEC, "{'containers':[[1]]}", NULL, 422},
        /* atomic lists are replaced, sets of scalars merged */
        {"{'containers':[{'name':'a','args':['x','y']}]}", "{'containers':[{'name':'a','args':['z']}]}",
         "{'containers':[{'name':'a','args':['z'],'resources':{}}]}", 0},
        /* a list where there was none: directives and nulls have no place in it */
        {"{}", "{'containers':[{'name':'a','image':null},{'name':'b','$patch':'delete'}]}",
         "{'containers':[{'name':'a','resources':{}}]}", 0},
    };
    run_cases(PATCH_STRATEGIC, type_at(T_core_v1_PodSpec), cases, ARRAY_SIZE(cases));
    static const struct patch_case metas[] = {
        {"{'finalizers':['a','b']}", "{'finalizers':['c','a']}", "{'finalizers':['c','a','b']}", 0},
        {"{'finalizers':['a','b','c']}", "{'$deleteFromPrimitiveList/finalizers':['b']}",
         "{'finalizers':['a','c']}", 0},
        {"{'finalizers':['a']}", "{'$setElementOrder/finalizers':['b','a'],'finalizers':['b']}",
         "{'finalizers':['b','a']}", 0},
        {"{'ownerReferences':[{'uid':'1','kind':'','name':'','apiVersion':''}]}",
         "{'ownerReferences':[{'uid':'1','$patch':'delete'}]}", "{'ownerReferences':[]}", 0},
        {"{'labels':{'a':'1','b':'2'}}", "{'labels':{'a':null,'c':'3'}}", "{'labels':{'b':'2','c':'3'}}", 0},
        {"{'labels':{'a':'1'}}", "{'labels':{'$patch':'replace','c':'3'}}", "{'labels':{'c':'3'}}", 0},
        {"{'labels':{'a':'1'},'name':'x'}", "{'labels':{'$patch':'delete'}}", "{'name':'x'}", 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(metas); i++) {
        struct status s;
        struct val *got = NULL;
        const struct type *t = type_at(T_meta_v1_ObjectMeta);
        status_init(&s, &arena);
        int r = patch_strategic(&arena, t, case_val(&arena, t, metas[i].doc),
                                case_text(&arena, metas[i].patch), &got, &s);
        assert_int_equal(r, 0);
        assert_true(val_equal(got, case_val(&arena, t, metas[i].want)));
    }
}

static void test_strategic_retain_keys(void **state)
{
    (void)state;
    static const struct patch_case cases[] = {
        {"{'type':'RollingUpdate','rollingUpdate':{'maxSurge':1}}",
         "{'$retainKeys':['type'],'type':'Recreate'}", "{'type':'Recreate'}", 0},
        {"{'type':'RollingUpdate','rollingUpdate':{'maxSurge':1}}",
         "{'$retainKeys':['type'],'type':'RollingUpdate','rollingUpdate':{'maxSurge':2}}", NULL, 400},
        {"{'type':'RollingUpdate'}", "{'$retainKeys':'type'}", NULL, 400},
    };
    run_cases(PATCH_STRATEGIC, type_at(T_apps_v1_DeploymentStrategy), cases, ARRAY_SIZE(cases));
}

static void test_strategic_needs_a_type(void **state)
{
    (void)state;
    static const struct patch_case cases[] = {{"{}", "{'a':1}", NULL, 415}};
    run_cases(PATCH_STRATEGIC, NULL, cases, ARRAY_SIZE(cases));
}

static struct str wide(unsigned n)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (unsigned i = 0; i < n; i++)
        buf_printf(&b, "%s\"%06u\":\"\"", i ? "," : "{\"data\":{", i);
    buf_puts(&b, "}}");
    return arena_str(&arena, buf_str(&b));
}

/* The largest body there may be must not keep the server busy for a minute. */
static void test_cost(void **state)
{
    static const enum patch_kind kinds[] = {PATCH_MERGE, PATCH_STRATEGIC};
    const struct type *t = type_at(T_core_v1_ConfigMap);
    struct val *doc, *small, *got;
    struct status s;
    clock_t begun = clock();
    assert_int_equal(json_decode(&arena, t, wide(150000), 0, NULL, &doc, NULL), 0);
    assert_int_equal(json_decode(&arena, t, wide(3000), 0, NULL, &small, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        status_init(&s, &arena);
        assert_int_equal(patch_apply(&arena, kinds[i], t, doc, wide(150000), NULL, &got, &s), 413);
        assert_int_equal(patch_apply(&arena, kinds[i], t, small, wide(3000), NULL, &got, &s), 0);
        assert_int_equal(patch_apply(&arena, kinds[i], t, doc, wide(300), NULL, &got, &s), 0);
    }
    assert_true(clock() - begun < 10 * CLOCKS_PER_SEC);
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
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_limits),
        cmocka_unit_test(test_cost),
        cmocka_unit_test(test_typed_results),
        cmocka_unit_test(test_strategic_lists),
        cmocka_unit_test(test_strategic_retain_keys),
        cmocka_unit_test(test_strategic_needs_a_type),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
