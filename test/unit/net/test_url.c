/* SPDX-License-Identifier: Apache-2.0 */
#include "net/url.h"

#include "../testing.h"

static void urls(void **state)
{
    static const struct {
        const char *text, *scheme, *userinfo, *host, *path, *query, *fragment;
        int port; /* -1: refused */
    } cases[] = {
        {"https://10.0.0.1:6443/api?x=1#f", "https", "", "10.0.0.1", "/api", "x=1", "f", 6443},
        {"http://example.com", "http", "", "example.com", "", "", "", 0},
        {"http://u:p@h:1/", "http", "u:p", "h", "/", "", "", 1},
        {"https://[::1]:6443/a", "https", "", "::1", "/a", "", "", 6443},
        {"https://[fe80::1%25eth0]/", "https", "", "fe80::1%25eth0", "/", "", "", 0},
        {"/api/v1?watch=1", "", "", "", "/api/v1", "watch=1", "", 0},
        {"http://h:/x", "http", "", "h", "/x", "", "", 0},
        {"http://h?q", "http", "", "h", "", "q", "", 0},
        {"http://h:99999/", "", "", "", "", "", "", -1},
        {"http://h:x/", "", "", "", "", "", "", -1},
        {"http://[::1/", "", "", "", "", "", "", -1},
        {"http://[::1]x/", "", "", "", "", "", "", -1},
        {"http://a b/", "", "", "", "", "", "", -1},
        {"http://a/\r\n", "", "", "", "", "", "", -1},
        {"1http://a/", "", "", "", "", "", "", -1},
        {"://a", "", "", "", "", "", "", -1},
        {"", "", "", "", "", "", "", -1},
        {"//h/p", "", "", "", "", "", "", -1},
        {"relative", "", "", "", "", "", "", -1},
        {"http://h\\x/", "", "", "", "", "", "", -1},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct url u;
        int r = url_parse(str_of(cases[i].text), &u);
        if (r != (cases[i].port < 0 ? -EINVAL : 0))
            fail_msg("%s: %d", cases[i].text, r);
        if (r < 0)
            continue;
        assert_str(u.scheme, cases[i].scheme);
        assert_str(u.userinfo, cases[i].userinfo);
        assert_str(u.host, cases[i].host);
        assert_str(u.path, cases[i].path);
        assert_str(u.query, cases[i].query);
        assert_str(u.fragment, cases[i].fragment);
        assert_int_equal(u.port, cases[i].port);
    }
    struct url u;
    url_parse(STR("https://a"), &u);
    assert_int_equal(url_port(&u), 443);
    url_parse(STR("http://a"), &u);
    assert_int_equal(url_port(&u), 80);
}

static void queries(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    static const char *const want[][2] = {{"a", "1"}, {"b", ""}, {"c d", "e&f"}, {"", "x"}, {"a", "2"}};
    struct str rest = STR("a=1&b&c+d=e%26f&&=x&bad=%zz&semi;colon=1&a=2"), k, v;
    for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
        assert_true(query_next(&a, &rest, &k, &v));
        assert_str(k, want[i][0]);
        assert_str(v, want[i][1]);
    }
    assert_false(query_next(&a, &rest, &k, &v));
    assert_true(query_get(&a, STR("x=1&watch=true"), "watch", &v));
    assert_str(v, "true");
    assert_false(query_get(&a, STR("x=1"), "watch", &v));
    assert_true(query_bool(&a, STR("watch"), "watch", false));
    assert_true(query_bool(&a, STR("watch=1"), "watch", false));
    assert_false(query_bool(&a, STR("watch=0"), "watch", true));
    assert_false(query_bool(&a, STR("watch=false"), "watch", true));
    assert_true(query_bool(&a, STR(""), "watch", true));
}

static void escapes(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct str s;
    query_add(&b, "fieldSelector", STR("metadata.name=a b"));
    query_add(&b, "x", STR("\xc3\xa4/~"));
    assert_str(buf_str(&b), "fieldSelector=metadata.name%3Da+b&x=%C3%A4%2F~");
    buf_clear(&b);
    url_encode_segment(&b, STR("a/b c:d@e"));
    assert_str(buf_str(&b), "a%2Fb%20c:d@e");
    assert_int_equal(url_decode(&a, STR("a%2fb+c"), false, &s), 0);
    assert_str(s, "a/b+c");
    assert_int_equal(url_decode(&a, STR("%"), false, &s), -EINVAL);
    assert_int_equal(url_decode(&a, STR("%4"), false, &s), -EINVAL);
    assert_int_equal(url_decode(&a, STR("%4g"), false, &s), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(urls), cmocka_unit_test(queries),
                                       cmocka_unit_test(escapes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
