/* SPDX-License-Identifier: Apache-2.0 */
/* Rules to decisions: the Ingress API's tables of matches, precedence, and what may not be a host or a path. */
#include "../testing.h"

#include "ingress/route.h"

static const struct rule {
    const char *host;
    enum path_type type;
    const char *path, *name;
} rules[] = {
    {"foo.example", PATH_PREFIX, "/", "foo root"},
    {"foo.example", PATH_PREFIX, "/api", "foo api"},
    {"foo.example", PATH_PREFIX, "/api/v1/", "foo v1"},
    {"foo.example", PATH_EXACT, "/api", "foo exact api"},
    {"foo.example", PATH_EXACT, "/only/this", "foo exact"},
    {"foo.example", PATH_PREFIX, "/caf\xc3\xa9", "foo utf8"},
    {"foo.example", PATH_PREFIX, "/%7Euser", "foo tilde"},
    {"bar.example", PATH_PREFIX, "/bar", "bar"},
    {"*.wild.example", PATH_PREFIX, "/", "wild"},
    {"exact.wild.example", PATH_PREFIX, "/x", "exact in wild"},
    {"", PATH_PREFIX, "/shared", "any shared"},
    {"UPPER.Example.", PATH_PREFIX, "/", "upper"},
};

static struct router *make(void)
{
    struct router *r = router_new();
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
        assert_int_equal(router_add(r, str_of(rules[i].host), rules[i].type, str_of(rules[i].path), (void *)rules[i].name), 0);
    return r;
}

static const char *find(const struct router *r, const char *host, const char *path)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char name[HOST_MAX];
    struct str p;
    if (host_canonical(str_of(host), name) < 0 || path_canonical(&a, str_of(path), &p) < 0)
        return "refused";
    const char *target = router_find(r, str_of(name), p);
    return target ? target : "nobody";
}

static void decisions(void **state UNUSED)
{
    static const struct {
        const char *host, *path, *want;
    } cases[] = {
        {"foo.example", "/", "foo root"},
        {"foo.example", "/x", "foo root"},
        {"foo.example", "/api", "foo exact api"}, /* Exact before Prefix */
        {"foo.example", "/api/", "foo api"},
        {"foo.example", "/api/v2", "foo api"},
        {"foo.example", "/apis", "foo root"}, /* whole parts only */
        {"foo.example", "/api/v1", "foo v1"}, /* a slash at the end does not count */
        {"foo.example", "/api/v1/", "foo v1"},
        {"foo.example", "/api/v1/x/y", "foo v1"},
        {"foo.example", "/api/v10", "foo api"},
        {"foo.example", "/only/this", "foo exact"},
        {"foo.example", "/only/this/", "foo root"},
        {"foo.example", "/Only/this", "foo root"},
        {"foo.example", "/caf%c3%a9/x", "foo utf8"},
        {"foo.example", "/~user", "foo tilde"},
        {"foo.example", "/%61pi", "foo exact api"}, /* escapes that are none needed */
        {"foo.example", "/api%2Fv1", "foo root"},   /* a slash that is data */
        {"foo.example", "//api", "foo root"},
        {"FOO.Example:8080", "/api", "foo exact api"},
        {"foo.example.", "/api", "foo exact api"},
        {"upper.example", "/", "upper"},
        {"bar.example", "/bar", "bar"},
        {"bar.example", "/other", "nobody"}, /* the host decides first: not the rules without a host */
        {"bar.example", "/shared", "nobody"},
        {"a.wild.example", "/x", "wild"},
        {"a.b.wild.example", "/shared", "any shared"}, /* one label only */
        {"wild.example", "/shared", "any shared"},
        {"exact.wild.example", "/x", "exact in wild"},
        {"exact.wild.example", "/y", "nobody"},
        {"other.example", "/shared/x", "any shared"},
        {"10.0.0.1:80", "/shared", "any shared"},
        {"[fd00::1]:80", "/shared", "any shared"},
        {"other.example", "/", "nobody"},
        /* what may mean different things to different readers */
        {"foo.example", "/api/../x", "refused"},
        {"foo.example", "/api/%2e%2E/x", "refused"},
        {"foo.example", "/api/..%2fx", "refused"},
        {"foo.example", "/api/.", "refused"},
        {"foo.example", "/..;/api", "refused"},
        {"foo.example", "/api/..%5cx", "refused"},
        {"foo.example", "/api\\x", "refused"},
        {"foo.example", "/api%00", "refused"},
        {"foo.example", "/api%2", "refused"},
        {"foo.example", "/api%zz", "refused"},
        {"foo.example", "/a b", "refused"},
        {"foo.example", "api", "refused"},
        {"foo.example", "*", "refused"},
        {"foo.example", "/...", "foo root"},
        {"foo.example", "/.hidden", "foo root"},
        {"foo example", "/", "refused"},
        {"foo.example/", "/", "refused"},
        {"foo..example", "/", "refused"},
        {"user@foo.example", "/", "refused"},
        {"foo.example:80x", "/", "refused"},
        {"[::1", "/", "refused"},
        {"[x]y", "/", "refused"},
        {"", "/", "refused"},
    };
    struct router *r = make();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *got = find(r, cases[i].host, cases[i].path);
        if (strcmp(got, cases[i].want))
            fail_msg("%s%s: %s instead of %s", cases[i].host, cases[i].path, got, cases[i].want);
    }
    router_free(r);
}

static void conflicts_and_defaults(void **state UNUSED)
{
    struct router *r = make();
    struct str bar = STR("bar.example"), bad = STR("b d");
    char long_path[PATH_RULE_MAX + 2];
    memset(long_path, 'a', sizeof(long_path));
    long_path[0] = '/';
    assert_int_equal(router_add(r, STR("foo.example"), PATH_PREFIX, STR("/api"), (void *)"x"), -EEXIST);
    assert_int_equal(router_add(r, STR("foo.example"), PATH_EXACT, STR("/%61pi"), (void *)"x"), -EEXIST);
    assert_int_equal(router_add(r, STR("foo.example"), PATH_PREFIX, STR("/api/v1"), (void *)"x"), 0); /* the longer one wins */
    assert_string_equal(find(r, "foo.example", "/api/v1"), "foo v1");
    assert_int_equal(router_add(r, STR("foo.example"), PATH_PREFIX, STR("/a/../b"), (void *)"x"), -EINVAL);
    assert_int_equal(router_add(r, STR("foo.example"), PATH_PREFIX, STR("no"), (void *)"x"), -EINVAL);
    assert_int_equal(router_add(r, STR("foo.example"), PATH_PREFIX, str_n(long_path, sizeof(long_path)), (void *)"x"), -EINVAL);
    assert_int_equal(router_add(r, bad, PATH_PREFIX, STR("/"), (void *)"x"), -EINVAL);
    assert_int_equal(router_add_default(r, &bar, (void *)"bar default"), 0);
    assert_int_equal(router_add_default(r, &bar, (void *)"x"), -EEXIST);
    assert_int_equal(router_add_default(r, &bad, (void *)"x"), -EINVAL);
    assert_int_equal(router_add_default(r, NULL, (void *)"default"), 0);
    assert_string_equal(find(r, "bar.example", "/other"), "bar default");
    assert_string_equal(find(r, "nobody.example", "/other"), "default");
    assert_string_equal(find(r, "exact.wild.example", "/y"), "default");
    router_free(r);
}

/* Nobody's request costs more than the rules of its host are long. */
static void long_paths_are_cheap(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct router *r = make();
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (int i = 0; i < 30000; i++)
        buf_puts(&b, "/a");
    for (int i = 0; i < 2000; i++) /* minutes, if each part were looked up */
        assert_string_equal(router_find(r, STR("foo.example"), buf_str(&b)), "foo root");
    router_free(r);
}

static void thousands_of_rules(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct router *r = router_new();
    for (intptr_t i = 0; i < 10000; i++)
        assert_int_equal(router_add(r, arena_printf(&a, "h%d.example", (int)i / 10), PATH_PREFIX, arena_printf(&a, "/p%d", (int)i % 10), (void *)(i + 1)), 0);
    for (intptr_t i = 0; i < 10000; i++)
        assert_int_equal((intptr_t)router_find(r, arena_printf(&a, "h%d.example", (int)i / 10), arena_printf(&a, "/p%d/x", (int)i % 10)), i + 1);
    router_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decisions),
        cmocka_unit_test(conflicts_and_defaults),
        cmocka_unit_test(long_paths_are_cheap),
        cmocka_unit_test(thousands_of_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
