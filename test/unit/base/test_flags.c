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

static void flags_of_upstream(void **state UNUSED)
{
    bool on = true;
    int64_t wait = SECONDS(90);
    struct flag_list list = {0};
    struct flag flags[] = {
        {"on", 0, FLAG_BOOL, &on, "does something"},
        {"wait", 0, FLAG_DURATION, &wait, "waits"},
        {"list", 0, FLAG_STRINGS, &list, "names"},
        FLAG_NO_EFFECT("idle", "there is nothing to do"),
        FLAG_ONLY("mode", "|plain", "only plain is there"),
        FLAG_ONLY_BOOL("extra", "false", "there is no extra"),
        {0},
    };
    static const struct {
        const char *word, *text; /* NULL: taken */
    } cases[] = {
        {"--idle=yes", NULL}, {"--mode=plain", NULL}, {"--mode=", NULL}, {"--extra=false", NULL}, {"--list=a,b", NULL},
        {"--mode=fancy", "--mode=fancy is not supported: only plain is there"},
        {"--extra", "--extra=true is not supported: there is no extra"},
    };
    struct err e = {0};
    int operands;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *argv[] = {(char *)"x", (char *)cases[i].word, NULL};
        assert_int_equal(flags_parse(flags, 2, argv, &operands, NULL, &e), cases[i].text ? -EINVAL : 0);
        if (cases[i].text)
            assert_string_equal(e.text, cases[i].text);
    }
    static const char *const values[] = {"true", "1m30s", "[a,b]", "yes"};
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        CLEANUP_BUF struct buf b = BUF_INIT;
        flag_value(&flags[i], &b);
        assert_str(buf_str(&b), values[i]);
    }
    CLEANUP_BUF struct buf help = BUF_INIT;
    flags_help(flags, &help);
    assert_true(str_contains(buf_str(&help), STR("with these values only:\n\n      --mode ")));
    assert_true(str_contains(buf_str(&help), STR("|plain: only plain is there\n")));
    assert_true(str_contains(buf_str(&help), STR("change nothing:\n\n      --idle ")));
    flag_list_done(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_every_form),
        cmocka_unit_test(refuses_with_the_flags_name),
        cmocka_unit_test(flags_of_upstream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
