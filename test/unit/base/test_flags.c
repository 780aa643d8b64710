/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

#include "base/flags.h"

struct values {
    bool all, watch;
    const char *output, *dry_run;
    int64_t n, timeout;
    struct flag_list files;
};

/* What flags_parse made of the words: operands in front. */
static char *parsed[32];

static int parse(struct values *v, const char *const *words, int *operands, int *dash, struct err *e)
{
    struct flag flags[] = {
        {"all", 'A', FLAG_BOOL, &v->all, "everything"},
        {"watch", 'w', FLAG_BOOL, &v->watch, "go on"},
        {"output", 'o', FLAG_STRING, &v->output, "form"},
        {"dry-run", 0, FLAG_STRING, &v->dry_run, "do nothing", .no_value = "unchanged"},
        {"count", 'n', FLAG_INT, &v->n, "how many"},
        {"timeout", 0, FLAG_DURATION, &v->timeout, "how long"},
        {"filename", 'f', FLAG_STRINGS, &v->files, "files"},
        {0},
    };
    int argc = 0;
    for (; words[argc]; argc++)
        parsed[argc] = (char *)words[argc];
    return flags_parse(flags, argc, parsed, operands, dash, e);
}

static void takes_every_form(void **state UNUSED)
{
    struct values v = {0};
    struct err e = {0};
    int operands, dash;
    const char *argv[] = {"x",  "get", "-Aw",       "pods", "-ojson", "--count=3", "--timeout", "1m30s", "-f",
                    "a,b", "-f",  "c", "--dry-run", "--",     "-x",        "y",     NULL};
    assert_int_equal(parse(&v, argv, &operands, &dash, &e), 0);
    assert_true(v.all && v.watch);
    assert_string_equal(v.output, "json");
    assert_string_equal(v.dry_run, "unchanged");
    assert_int_equal(v.n, 3);
    assert_true(v.timeout == SECONDS(90));
    assert_int_equal(v.files.n, 3);
    assert_string_equal(v.files.items[2], "c");
    assert_int_equal(operands, 4);
    assert_int_equal(dash, 2);
    assert_string_equal(parsed[1], "get");
    assert_string_equal(parsed[3], "-x");
    flag_list_done(&v.files);
}

static void refuses_with_the_flags_name(void **state UNUSED)
{
    static const struct {
        const char *argv[4];
        const char *text;
    } cases[] = {
        {{"x", "--nope"}, "unknown flag: --nope"},
        {{"x", "-z"}, "unknown shorthand flag: 'z' in -z"},
        {{"x", "--output"}, "flag needs an argument: --output"},
        {{"x", "--count=many"}, "invalid argument \"many\" for \"--count\": expected a whole number"},
        {{"x", "--all=perhaps"}, "invalid argument \"perhaps\" for \"--all\": expected true or false"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct values v = {0};
        struct err e = {0};
        int operands;
        assert_int_equal(parse(&v, cases[i].argv, &operands, NULL, &e), -EINVAL);
        assert_string_equal(e.text, cases[i].text);
    }
    struct values v = {0};
    int operands;
    const char *help[] = {"x", "-h", NULL};
    assert_int_equal(parse(&v, help, &operands, NULL, NULL), FLAGS_HELP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_every_form),
        cmocka_unit_test(refuses_with_the_flags_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
