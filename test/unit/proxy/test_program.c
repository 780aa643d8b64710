/* SPDX-License-Identifier: Apache-2.0 */
/* Programs with much to read and to say. */
#include "../testing.h"

#include "base/fiber.h"
#include "base/os.h"
#include "proxy/program.h"

/* More than a pipe holds goes in, more than os_run collects comes out. */
static void all_comes_back(void)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str in = {arena_bytes(&a, 3 << 20), 3 << 20}, out = STR_NULL;
    struct err e = {0};
    const char *argv[] = {"cat", NULL};
    for (size_t i = 0; i < in.n; i++)
        ((char *)in.p)[i] = (char)('a' + i % 23);
    assert_int_equal(program_run(&a, argv, in, &out, &e), 0);
    assert_true(str_eq(in, out));
    assert_int_equal(program_run(&a, argv, STR_NULL, &out, &e), 0);
    assert_int_equal(out.n, 0);
}

static void complaints_are_told(void)
{
    static const struct {
        const char *script, *text;
    } cases[] = {
        {"echo first >&2; echo 'line 7 failed' >&2; echo 'Try `x -h` for more' >&2; exit 3", "sh: exit code 3: line 7 failed"},
        {"exit 1", "sh: exit code 1: "},
        {"kill -9 $$", "sh: ended by signal 9"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct err e = {0};
        const char *argv[] = {"sh", "-c", cases[i].script, NULL}, *none[] = {"cube-no-such-program", NULL};
        assert_int_equal(program_run(&a, argv, STR_NULL, NULL, &e), -EIO);
        assert_string_equal(e.text, cases[i].text);
        assert_true(program_run(&a, none, STR_NULL, NULL, &e) < 0);
        assert_true(str_starts(str_of(e.text), STR("cube-no-such-program: ")));
    }
}

static void body(void *arg UNUSED)
{
    all_comes_back();
    complaints_are_told();
}

static void programs(void **state UNUSED)
{
    loop_run(body, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(programs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
