/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

#include "cli/template.h"
#include "wire/json.h"

static const char doc[] = "{\"kind\":\"List\",\"data\":{\"a\":\"aGk=\",\"b\":\"two\"},\"n\":3,\"items\":[{\"name\":\"x\"},{\"name\":\"y\"}]}";

static struct str print(struct arena *a, const char *text, int *ret)
{
    struct val *v = NULL;
    struct err e = {0};
    struct buf b CLEANUP_BUF = BUF_INIT;
    const struct template *t;
    assert_int_equal(json_decode(a, NULL, str_of(doc), 0, NULL, &v, NULL), 0);
    *ret = template_parse(a, str_of(text), &t, &e);
    if (*ret == 0)
        *ret = template_print(t, a, v, true, &b, &e);
    return arena_str(a, buf_str(&b));
}

static void test_output(void **state)
{
    static const char *const cases[][2] = {
        {"{{.kind}}", "List"},
        {"{{range .items}}{{.name}} {{end}}", "x y "},
        {"{{range $i, $e := .items}}{{$i}}:{{$e.name}};{{end}}", "0:x;1:y;"},
        {"{{if eq .kind \"List\"}}yes{{else}}no{{end}}", "yes"},
        {"{{if .nope}}yes{{else}}no{{end}}", "no"},
        {"{{.data.a | base64decode}}", "hi"},
        {"{{len .items}}", "2"},
        {"{{index .data \"b\"}}", "two"},
        {"a {{- .kind -}} b", "aListb"},
        {"{{printf \"%s-%v\" .kind .n}}", "List-3"},
        {"{{/* nothing */}}{{.nope}}", "<no value>"},
        {"{{with .data}}{{.b}}{{end}}", "two"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = {0};
        int r;
        struct str s = print(&a, cases[i][0], &r);
        assert_int_equal(r, 0);
        assert_str(s, cases[i][1]);
    }
}

static void test_refused(void **state)
{
    static const char *const bad[] = {"{{", "{{if}}", "{{range .items}}", "{{end}}", "{{nofunction .kind}}", "{{.a", "{{\"open}}"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct arena a CLEANUP_ARENA = {0};
        int r;
        print(&a, bad[i], &r);
        assert_int_not_equal(r, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_output), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
