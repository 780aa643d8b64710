/* SPDX-License-Identifier: Apache-2.0 */
#include "cases.h"
#include "names.h"
#include "type/patch.h"
#include "types.h"

static struct arena arena;

struct three_case {
    const char *original, *modified, *current; /* original NULL: there is no record of one */
    const char *patch;                         /* what is wanted */
};

static void run_cases(const struct type *t, bool untyped, const struct three_case *cases, size_t n)
{
    const struct type *as = untyped ? NULL : t;
    for (size_t i = 0; i < n; i++) {
        struct str patch;
        struct err e = {0};
        const struct val *original = cases[i].original ? case_val(&arena, as, cases[i].original) : NULL;
        int r = patch_three_way(&arena, t, original, case_val(&arena, as, cases[i].modified),
                                case_val(&arena, as, cases[i].current), &patch, &e);
        if (r)
            fail_msg("case %zu: %s", i, e.text);
        if (!val_same(case_val(&arena, NULL, patch.p), case_val(&arena, NULL, cases[i].patch)))
            fail_msg("case %zu%s: want %s, got " STR_FMT, i, untyped ? " (untyped)" : "", cases[i].patch,
                     STR_ARG(patch));
    }
}

static void test_merge(void **state)
{
    (void)state;
    static const struct three_case cases[] = {
        {"{'a':1}", "{'a':1}", "{'a':1}", "{}"},
        {"{'a':1}", "{'a':2}", "{'a':1}", "{'a':2}"},
        {"{'a':1}", "{'a':1}", "{'a':2}", "{'a':1}"},
        {"{'a':1,'b':2}", "{'a':1}", "{'a':1,'b':2,'c':3}", "{'b':null}"},
        {"{'a':1,'b':2}", "{'a':1}", "{'a':1}", "{}"},
        {NULL, "{'a':1}", "{'a':1,'b':2}", "{}"},
        {"{'m':{'a':1,'b':2}}", "{'m':{'a':1}}", "{'m':{'a':1,'b':2,'c':3}}", "{'m':{'b':null}}"},
        {"{'l':[1,2]}", "{'l':[1]}", "{'l':[1,2,3]}", "{'l':[1]}"},
        {"{'m':{'a':1}}", "{}", "{'m':{'a':1,'c':1}}", "{'m':null}"},
    };
    run_cases(NULL, true, cases, ARRAY_SIZE(cases));
}

static void test_strategic(void **state)
{
    (void)state;
#define C(c) "{'spec':{'containers':[" c "]}}"
    static const struct three_case cases[] = {
        {C("{'name':'a','image':'1'}"), C("{'name':'a','image':'2'}"),
         C("{'name':'a','image':'1','tty':true}"),
         "{'spec':{'$setElementOrder/containers':[{'name':'a'}],'containers':[{'name':'a','image':'2'}]}}"},
        {C("{'name':'a'},{'name':'b'}"), C("{'name':'b'}"), C("{'name':'a'},{'name':'b'},{'name':'side'}"),
         "{'spec':{'$setElementOrder/"
         "containers':[{'name':'b'}],'containers':[{'$patch':'delete','name':'a'}]}}"},
        {C("{'name':'a'}"), C("{'name':'b'},{'name':'a'}"), C("{'name':'a'}"),
         "{'spec':{'$setElementOrder/containers':[{'name':'b'},{'name':'a'}],'containers':[{'name':'b'}]}}"},
        {C("{'name':'a','env':[{'name':'x','value':'1'}]}"), C("{'name':'a'}"),
         C("{'name':'a','env':[{'name':'x','value':'1'}]}"),
         "{'spec':{'$setElementOrder/containers':[{'name':'a'}],'containers':[{'name':'a','env':null}]}}"},
        {C("{'name':'a'}"), C("{'name':'a'}"), C("{'name':'a','image':'x'}"), "{}"},
        {"{'metadata':{'labels':{'a':'1','b':'2'}}}", "{'metadata':{'labels':{'a':'1'}}}",
         "{'metadata':{'labels':{'a':'1','b':'2','c':'3'}}}", "{'metadata':{'labels':{'b':null}}}"},
        {"{'metadata':{'finalizers':['a/b']}}", "{'metadata':{'finalizers':['a/c']}}",
         "{'metadata':{'finalizers':['a/b','o/x']}}",
         "{'metadata':{'$deleteFromPrimitiveList/finalizers':['a/b'],'$setElementOrder/finalizers':['a/c'],"
         "'finalizers':['a/c']}}"},
        {"{'spec':{'containers':[],'nodeSelector':{'a':'b'}}}", "{'spec':{'containers':[]}}",
         "{'spec':{'containers':[],'nodeSelector':{'a':'b'}}}", "{'spec':{'nodeSelector':null}}"},
        {C("{'name':'a','command':['x']}"), C("{'name':'a','command':['y']}"),
         C("{'name':'a','command':['x']}"),
         "{'spec':{'$setElementOrder/"
         "containers':[{'name':'a'}],'containers':[{'name':'a','command':['y']}]}}"},
    };
    run_cases(type_at(T_core_v1_Pod), true, cases, ARRAY_SIZE(cases));
}

static void test_union_keeps_its_keys(void **state)
{
    (void)state;
    static const struct three_case cases[] = {
        {"{'spec':{'strategy':{'type':'RollingUpdate','rollingUpdate':{'maxSurge':1}}}}",
         "{'spec':{'strategy':{'type':'Recreate'}}}",
         "{'spec':{'strategy':{'type':'RollingUpdate','rollingUpdate':{'maxSurge':1,'maxUnavailable':1}}}}",
         "{'spec':{'strategy':{'$retainKeys':['type'],'rollingUpdate':null,'type':'Recreate'}}}"},
    };
    run_cases(type_at(T_apps_v1_Deployment), false, cases, ARRAY_SIZE(cases));
}

/* ---- what is applied arrives --------------------------------------------------------------------------- */

static unsigned seed = 1;

static unsigned roll(unsigned n)
{
    seed = seed * 1103515245u + 12345u;
    return (seed >> 16) % n;
}

/* Names of a..e in some order, each at most once. */
static size_t some_names(char names[5])
{
    size_t n = 0;
    unsigned left = 31;
    for (unsigned tries = roll(7); tries; tries--) {
        unsigned i = roll(5);
        if (left & (1u << i))
            names[n++] = (char)('a' + i);
        left &= ~(1u << i);
    }
    return n;
}

static void put_env(struct buf *b)
{
    char names[5];
    size_t n = some_names(names);
    buf_puts(b, "'env':[");
    for (size_t i = 0; i < n; i++)
        buf_printf(b, "%s{'name':'%c','value':'%u'}", i ? "," : "", names[i], roll(3));
    buf_puts(b, "]");
}

static struct val *random_pod(void)
{
    struct buf b = BUF_INIT;
    char names[5];
    size_t n = some_names(names);
    buf_puts(&b, "{'metadata':{'labels':{");
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s'%c':'%u'", i ? "," : "", names[i], roll(2));
    buf_puts(&b, "},'finalizers':[");
    n = some_names(names);
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s'x/%c'", i ? "," : "", names[i]);
    buf_puts(&b, "]},'spec':{'containers':[");
    n = some_names(names);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&b, "%s{'name':'%c','image':'%u',", i ? "," : "", names[i], roll(3));
        put_env(&b);
        buf_printf(&b, ",'args':['%u']}", roll(3));
    }
    buf_puts(&b, "]}}");
    struct val *v = case_val(&arena, type_at(T_core_v1_Pod), b.p);
    buf_done(&b);
    return v;
}

/* Who changes what only he has set gets exactly what he wants. */
static void test_patches_arrive(void **state)
{
    (void)state;
    const struct type *t = type_at(T_core_v1_Pod);
    for (unsigned i = 0; i < 3000; i++) {
        struct val *from = random_pod(), *to = random_pod(), *got = NULL;
        struct str patch;
        struct status s;
        status_init(&s, &arena);
        assert_int_equal(patch_three_way(&arena, t, from, to, from, &patch, NULL), 0);
        assert_int_equal(patch_apply(&arena, PATCH_STRATEGIC, t, from, patch, NULL, &got, &s), 0);
        if (!val_equal(got, to))
            fail_msg("from " STR_FMT "\nto   " STR_FMT "\ngot  " STR_FMT "\nby   " STR_FMT,
                     STR_ARG(case_json(&arena, t, from)), STR_ARG(case_json(&arena, t, to)),
                     STR_ARG(case_json(&arena, t, got)), STR_ARG(patch));
        if (i % 100 == 0)
            arena_done(&arena);
    }
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
        cmocka_unit_test(test_strategic),
        cmocka_unit_test(test_union_keeps_its_keys),
        cmocka_unit_test(test_patches_arrive),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
