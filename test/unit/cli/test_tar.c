/* SPDX-License-Identifier: Apache-2.0 */
/* Archives that come out of containers: what cp does with them must stay below the destination. */
#include "../testing.h"

#include "base/tar.h"

struct seen {
    struct buf names, content;
};

static int on_begin(void *arg, const struct tar_entry *e)
{
    struct seen *s = arg;
    buf_printf(&s->names, STR_FMT "%c;", STR_ARG(e->name), e->type);
    return 0;
}

static int on_content(void *arg, struct str data)
{
    buf_putstr(&((struct seen *)arg)->content, data);
    return 0;
}

static int on_end(void *arg UNUSED)
{
    return 0;
}

static void write_file(struct buf *b, struct str name, struct str content)
{
    struct tar_entry e = {.name = name, .type = TAR_FILE, .mode = 0644, .size = content.n};
    tar_put(b, &e);
    buf_putstr(b, content);
    tar_pad(b, content.n);
}

/* Feeds in pieces of that size. */
static int feed(struct seen *s, struct str all, size_t piece, bool *ret_complete)
{
    struct tar_sink sink = {.begin = on_begin, .content = on_content, .end = on_end, .arg = s};
    struct tar_reader r;
    struct err e = {0};
    int code = 0;
    tar_reader_init(&r, &sink);
    for (size_t at = 0; code == 0 && at < all.n; at += piece)
        code = tar_feed(&r, str_slice(all, at, piece), &e);
    *ret_complete = tar_complete(&r);
    tar_reader_done(&r);
    return code;
}

static void test_round_trip(void **state)
{
    static const size_t pieces[] = {1, 7, 511, 512, 513, 100000};
    struct buf b CLEANUP_BUF = BUF_INIT, name CLEANUP_BUF = BUF_INIT;
    (void)state;
    for (int i = 0; i < 30; i++)
        buf_puts(&name, "long-name/");
    buf_puts(&name, "x");
    write_file(&b, STR("a/b"), STR("hello"));
    write_file(&b, buf_str(&name), STR(" there"));
    tar_end(&b);
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        struct seen s = {.names = BUF_INIT, .content = BUF_INIT};
        bool complete;
        assert_int_equal(feed(&s, buf_str(&b), pieces[i], &complete), 0);
        assert_true(complete);
        assert_str(buf_str(&s.content), "hello there");
        assert_true(str_starts(buf_str(&s.names), STR("a/b0;long-name/")));
        buf_done(&s.names);
        buf_done(&s.content);
    }
}

static void test_damaged(void **state)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct seen s = {.names = BUF_INIT, .content = BUF_INIT};
    bool complete;
    (void)state;
    write_file(&b, STR("a"), STR("hello"));
    tar_end(&b);
    assert_int_equal(feed(&s, str_slice(buf_str(&b), 0, 514), 512, &complete), 0);
    assert_false(complete); /* it ends inside of the content */
    b.p[3] ^= 1;            /* the checksum does not fit any more */
    assert_int_equal(feed(&s, buf_str(&b), 512, &complete), -EINVAL);
    buf_done(&s.names);
    buf_done(&s.content);
}

static void test_places(void **state)
{
    static const struct {
        const char *name;
        int code;
        const char *to;
    } cases[] = {
        {"var/log", 0, "/tmp/out"},
        {"var/log/a", 0, "/tmp/out/a"},
        {"var/log/a/../b", 0, "/tmp/out/b"},
        {"var/log/../../etc/passwd", -EPERM, NULL},
        {"var/log/../../../tmp/outside", -EPERM, NULL},
        {"etc/passwd", -EINVAL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = {0};
        struct str to;
        int r = tar_place(&a, STR("/tmp/out"), STR("var/log"), str_of(cases[i].name), &to);
        if (cases[i].code == 0) {
            assert_int_equal(r, 0);
            assert_str(to, cases[i].to);
        } else {
            assert_true(r < 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_damaged),
                                       cmocka_unit_test(test_places)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
