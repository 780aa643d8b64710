/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

#include "cli/jsonpath.h"
#include "wire/json.h"

static const char doc[] =
    "{\"kind\":\"List\",\"items\":["
    "{\"metadata\":{\"name\":\"a\",\"labels\":{\"app.kubernetes.io/name\":\"x\"}},\"n\":3,\"on\":true},"
    "{\"metadata\":{\"name\":\"b\"},\"n\":10,\"on\":false},"
    "{\"metadata\":{\"name\":\"c\"},\"n\":1}]}";

static struct str print(struct arena *a, const char *path, bool allow_missing, int *ret)
{
    struct val *v = NULL;
    struct err e = {0};
    struct buf b CLEANUP_BUF = BUF_INIT;
    const struct jsonpath *p;
    assert_int_equal(json_decode(a, NULL, str_of(doc), 0, NULL, &v, NULL), 0);
    *ret = jsonpath_parse(a, str_of(path), &p, &e);
    if (*ret == 0)
        *ret = jsonpath_print(p, a, v, allow_missing, &b, &e);
    return arena_str(a, buf_str(&b));
}

static void test_paths(void **state)
{
    static const char *const cases[][2] = {
        {"{.kind}", "List"},
        {"{.items[*].metadata.name}", "a b c"},
        {"{.items[0].metadata.name}", "a"},
        {"{.items[-1].metadata.name}", "c"},
        {"{.items[0:2].metadata.name}", "a b"},
        {"{.items[?(@.n>2)].metadata.name}", "a b"},
        {"{.items[?(@.metadata.name==\"b\")].n}", "10"},
        {"{.items[0].metadata.labels.app\\.kubernetes\\.io/name}", "x"},
        {"{..name}", "a b c"},
        {"{range .items[*]}{.metadata.name}={.n}{\"\\n\"}{end}", "a=3\nb=10\nc=1\n"},
        {"plain {.kind} text", "plain List text"},
        {"{.items[0]['n','on']}", "3 true"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = {0};
        int r;
        struct str s = print(&a, cases[i][0], false, &r);
        assert_int_equal(r, 0);
        assert_str(s, cases[i][1]);
    }
}

static void test_missing(void **state)
{
    struct arena a CLEANUP_ARENA = {0};
    int r;
    (void)state;
    print(&a, "{.nope}", false, &r);
    assert_true(r < 0);
    assert_str(print(&a, "{.nope}", true, &r), "");
    assert_int_equal(r, 0);
}

static void test_refused(void **state)
{
    static const char *const bad[] = {"{.items[}", "{.a", "{.items[?(@.n>]}", "{\"open}"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct arena a CLEANUP_ARENA = {0};
        int r;
        print(&a, bad[i], true, &r);
        assert_int_not_equal(r, 0);
    }
}

static void test_relaxed(void **state)
{
    static const char *const same[] = {"metadata.name", ".metadata.name", "{metadata.name}", "{.metadata.name}"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
        struct arena a CLEANUP_ARENA = {0};
        struct err e = {0};
        struct str s;
        assert_int_equal(jsonpath_relaxed(&a, str_of(same[i]), &s, &e), 0);
        assert_str(s, "{.metadata.name}");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_paths), cmocka_unit_test(test_missing),
                                       cmocka_unit_test(test_refused), cmocka_unit_test(test_relaxed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
