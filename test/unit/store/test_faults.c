/* SPDX-License-Identifier: Apache-2.0 */
/* What the store does when the disk fails it: errors, no space, bytes that changed, files that are missing or
 * not its own. */
#include "../testing.h"

#include "disk.h"
#include "model.h"

#include <stdio.h>

static struct disk *disk;
static struct store_options options;
static struct err why;
static struct arena notes;
static struct str note;

static int try_open(struct store **ret)
{
    why = (struct err){0};
    note = STR_NULL;
    return store_open_log(&options, ret, &note, &notes, &why);
}

static struct store *open_store(void)
{
    struct store *s = NULL;
    int r = try_open(&s);
    if (r)
        print_error("%s\n", err_text(&why, r));
    assert_int_equal(r, 0);
    return s;
}

static int put(struct store *s, const char *key, struct str value, bool lazy)
{
    struct store_op op = {
        .kind = STORE_PUT, .key = str_of(key), .value = value, .expect = STORE_ANY, .lazy = lazy};
    return store_txn(s, &op, 1, NULL, NULL);
}

static int del(struct store *s, const char *key)
{
    struct store_op op = {.kind = STORE_DELETE, .key = str_of(key), .expect = STORE_ANY};
    return store_txn(s, &op, 1, NULL, NULL);
}

static bool has(struct store *s, const char *key, const char *value)
{
    struct arena CLEANUP_ARENA a = {0};
    struct store_entry e;
    int r = store_get(s, str_of(key), (revision){0}, &a, &e);
    return value ? r == 0 && str_is(e.value, value) : r == -ENOENT;
}

/* Goes on with what a power cut leaves of the disk. */
static void cut(unsigned kindness)
{
    struct disk *left = disk_cut(disk, disk_changes(disk), 77, kindness);
    disk_free(disk);
    disk_use(disk = left);
}

static void run(fiber_fn *fn)
{
    options = (struct store_options){
        .dir = "/s", .durable = true, .segment_bytes = 64 << 10, .history_events = 100};
    disk_use(disk = disk_new(1));
    loop_run(fn, NULL);
    os_use(NULL);
    disk_free(disk);
    arena_done(&notes);
}

#define FAULT_TEST(name)                                                                                     \
    static void name##_body(void *arg);                                                                      \
    static void name(void **state UNUSED)                                                                    \
    {                                                                                                        \
        run(name##_body);                                                                                    \
    }                                                                                                        \
    static void name##_body(void *arg UNUSED)

/* ---- a sync that fails -------------------------------------------------------------------------------- */

FAULT_TEST(a_failed_sync_stops_writing)
{
    struct store *s = open_store();
    assert_int_equal(put(s, "a", STR("1"), false), 0);
    disk_fail_sync(disk, 0, -EIO);
    assert_int_equal(put(s, "a", STR("2"), false), -EIO);
    assert_int_equal(put(s, "b", STR("1"), false), -EIO); /* though the disk would do it again */
    assert_int_equal(del(s, "a"), -EIO);
    assert_true(has(s, "a", "1"));
    assert_true(has(s, "b", NULL));
    assert_int_equal(store_revision(s).n, 2);
    assert_non_null(strstr(store_fault(s), "/s/0000000001.log at byte"));
    store_close(s);
}

/* After a failed sync the kernel forgets that the pages are not on disk: whatever is shown after reopening
 * must have been written once more. */
FAULT_TEST(what_is_shown_after_a_failed_sync_is_durable)
{
    struct store *s = open_store();
    assert_int_equal(put(s, "a", STR("1"), false), 0);
    disk_fail_sync(disk, 0, -EIO);
    assert_int_equal(put(s, "a", STR("2"), false), -EIO);
    store_close(s);
    s = open_store();
    bool second = has(s, "a", "2");
    int64_t rev = store_revision(s).n;
    store_close(s);
    cut(0);
    s = open_store();
    assert_true(has(s, "a", second ? "2" : "1"));
    assert_int_equal(store_revision(s).n, rev);
    store_close(s);
}

FAULT_TEST(a_failed_write_stops_writing)
{
    struct store *s = open_store();
    disk_fail_write(disk, 0, -EIO);
    assert_int_equal(put(s, "a", STR("1"), false), -EIO);
    assert_int_equal(put(s, "a", STR("1"), false), -EIO);
    assert_true(has(s, "a", NULL));
    store_close(s);
}

/* ---- what a failed write leaves behind ---------------------------------------------------------------- */

struct writer {
    struct store *s;
    const char *key;
    int r;
};

static void put_one(void *arg)
{
    struct writer *w = arg;
    w->r = put(w->s, w->key, STR("value"), false);
}

/* Three writes in one group fail for want of space, yet their bytes are in the file. The first, tried again,
 * is the same to the byte; the two behind it must not follow. */
FAULT_TEST(leftovers_do_not_connect)
{
    struct store *s = open_store();
    assert_int_equal(put(s, "k", STR("v"), false), 0);
    disk_fail_write(disk, 0, -ENOSPC);
    struct writer w[] = {{.s = s, .key = "a"}, {.s = s, .key = "b"}, {.s = s, .key = "c"}};
    struct group g = {0};
    for (int i = 0; i < 3; i++)
        group_spawn(&g, "writer", put_one, &w[i]);
    group_wait(&g, MONO_NEVER);
    for (int i = 0; i < 3; i++)
        assert_int_equal(w[i].r, STORE_FULL);
    assert_int_equal(store_revision(s).n, 2);
    fiber_sleep(SECONDS(3)); /* there is space after all */
    assert_int_equal(put(s, "a", STR("value"), false), 0);
    struct disk *left = disk_kill(disk, disk_changes(disk), 5);
    store_close(s);
    disk_free(disk);
    disk_use(disk = left);
    s = open_store();
    assert_true(has(s, "a", "value"));
    assert_true(has(s, "b", NULL));
    assert_true(has(s, "c", NULL));
    assert_int_equal(store_revision(s).n, 3);
    store_close(s);
}

/* ---- no space ----------------------------------------------------------------------------------------- */

static struct str big_value(void)
{
    static char text[1000];
    memset(text, 'x', sizeof(text));
    return str_n(text, sizeof(text));
}

/* Puts until the store is full. Returns how many there are. */
static int fill(struct store *s, int from)
{
    char key[32];
    for (int i = from;; i++) {
        snprintf(key, sizeof(key), "fill%05d", i);
        int r = put(s, key, big_value(), false);
        if (r == STORE_FULL)
            return i;
        assert_int_equal(r, 0);
    }
}

static void delete_some(struct store *s, int from, int n)
{
    char key[32];
    for (int i = from; i < from + n; i++) {
        snprintf(key, sizeof(key), "fill%05d", i);
        assert_int_equal(del(s, key), 0);
    }
}

static void full_and_well_again(void)
{
    struct store *s = open_store();
    struct store_stats st;
    assert_int_equal(put(s, "first", STR("1"), false), 0);
    int n = fill(s, 0);
    assert_true(n > 400);
    store_stats(s, &st);
    assert_true(st.full);
    assert_true(has(s, "first", "1"));
    assert_int_equal(put(s, "more", STR("1"), false), STORE_FULL);
    assert_int_equal(put(s, "first", STR("2"), true), 0); /* a Lease is renewed */
    fiber_sleep(SECONDS(10));
    assert_int_equal(put(s, "more", STR("1"), false), STORE_FULL); /* it is really full */

    store_close(s); /* opening a full store works */
    s = open_store();
    assert_true(has(s, "first", "2"));
    assert_int_equal(put(s, "more", STR("1"), false), STORE_FULL);
    delete_some(s, 0, n / 2);
    fiber_sleep(SECONDS(10));
    assert_int_equal(put(s, "more", STR("1"), false), 0);
    int m = fill(s, n);
    assert_true(m - n > n / 4); /* the space has really come back */
    delete_some(s, n / 2, m - n / 2);
    fiber_sleep(SECONDS(1000));
    store_stats(s, &st);
    assert_int_equal(st.keys, 2);
    assert_true(st.bytes_live < 20000);
    assert_int_equal(put(s, "more", STR("2"), false), 0);
    assert_string_equal(store_fault(s), "");
    store_close(s);
    s = open_store();
    assert_true(has(s, "more", "2"));
    assert_true(has(s, "first", "2"));
    store_close(s);
}

FAULT_TEST(a_full_disk)
{
    disk_set_space(disk, 1 << 20);
    full_and_well_again();
    assert_true(disk_used(disk) <= 1 << 20);
}

FAULT_TEST(the_limit_of_the_options)
{
    options.max_bytes = 1 << 20;
    full_and_well_again();
}

/* Deletes one by one, each followed by as many puts as go: nothing gets stuck. */
FAULT_TEST(at_the_brink)
{
    disk_set_space(disk, 512 << 10);
    struct store *s = open_store();
    int n = fill(s, 0), oldest = 0;
    for (int i = 0; i < 300; i++) {
        delete_some(s, oldest++, 1);
        if (i % 40 == 0) {
            fiber_sleep(SECONDS(5));
            n = fill(s, n);
        }
    }
    assert_true(n > 500);
    struct store_stats st;
    store_stats(s, &st);
    assert_int_equal(st.keys, n - oldest);
    assert_string_equal(store_fault(s), "");
    store_close(s);
    s = open_store();
    store_stats(s, &st);
    assert_int_equal(st.keys, n - oldest);
    store_close(s);
}

FAULT_TEST(no_space_from_the_start)
{
    disk_set_space(disk, 1000);
    struct store *s;
    assert_int_equal(try_open(&s), -ENOSPC);
    assert_non_null(strstr(why.text, "/s"));
}

/* ---- changed bytes ------------------------------------------------------------------------------------ */

/* Some work in several segments, closed. Returns the model of it. */
static struct model prepare(void)
{
    struct model m = {.random = 9};
    static struct model_txn t;
    struct store *s = open_store();
    for (int i = 0; i < 250; i++) {
        bool effect;
        revision rev;
        model_txn_make(&m, &t);
        if (model_txn_expect(&m, &t, &effect) != 0)
            continue;
        assert_int_equal(store_txn(s, t.ops, t.n, &rev, NULL), 0);
        if (effect)
            model_txn_apply(&m, &t, rev.n);
        m.revision = rev.n;
    }
    fiber_sleep(SECONDS(1));
    store_close(s);
    return m;
}

/* One damaged byte anywhere is noticed and named, or it was in nothing that matters. */
FAULT_TEST(flipped_bits)
{
    struct model m = prepare();
    struct buf CLEANUP_BUF text = {0};
    int found = 0, harmless = 0;
    char name[32];
    for (unsigned number = 1; number < 20; number++) {
        size_t n;
        snprintf(name, sizeof(name), "%010u.log", number);
        if (!disk_bytes(disk, name, &n))
            continue;
        for (size_t i = 0; i < n; i += 1 + model_random(&m, 300)) {
            struct disk *copy = disk_cut(disk, disk_changes(disk), 3, 100), *was = disk;
            disk_use(disk = copy);
            disk_bytes(copy, name, &n)[i] ^= (char)(1 << model_random(&m, 8));
            struct store *s;
            int r = try_open(&s);
            if (r < 0) {
                assert_true(r == -EBADMSG || r == -EPROTONOSUPPORT);
                assert_non_null(strstr(why.text, name));
                assert_non_null(strstr(why.text, "byte"));
                found++;
            } else {
                if (!model_same(&m, s, 0, m.revision, &text))
                    print_error("%s %zu: %s\n", name, i, text.p);
                assert_int_equal(text.n, 0);
                store_close(s);
                harmless++;
            }
            disk_free(copy);
            disk_use(disk = was);
        }
    }
    assert_true(found > 200);
    assert_true(harmless > 0);
    model_done(&m);
}

/* Bytes that change while the store is open are not served. */
FAULT_TEST(a_damaged_value_is_not_served)
{
    struct store *s = open_store();
    char key[32];
    for (int i = 0; i < 1000; i++) { /* beyond what is kept in memory */
        snprintf(key, sizeof(key), "k%d", i);
        assert_int_equal(put(s, key, big_value(), false), 0);
    }
    size_t n;
    char *p = disk_bytes(disk, "0000000001.log", &n);
    p[5000] ^= 1;
    int damaged = 0;
    for (int i = 0; i < 1000; i++) {
        struct arena CLEANUP_ARENA a = {0};
        struct store_entry e;
        snprintf(key, sizeof(key), "k%d", i);
        int r = store_get(s, str_of(key), (revision){0}, &a, &e);
        damaged += r == -EBADMSG;
        assert_true(r == -EBADMSG || (r == 0 && str_eq(e.value, big_value())));
    }
    assert_int_equal(damaged, 1);
    assert_non_null(strstr(store_fault(s), "0000000001.log at byte"));
    assert_int_equal(put(s, "on", STR("we go"), false), 0);
    store_close(s);
}

/* Cleaning must not throw away what it cannot read. */
FAULT_TEST(a_damaged_segment_is_kept)
{
    struct store *s = open_store();
    assert_int_equal(put(s, "cold", STR("cold"), false), 0);
    for (int i = 0; i < 150; i++)
        assert_int_equal(put(s, "hot", big_value(), false), 0);
    size_t n;
    char *p = disk_bytes(disk, "0000000001.log", &n);
    p[9000] ^= 1;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(put(s, "hot", big_value(), false), 0);
    fiber_sleep(SECONDS(5));
    assert_non_null(disk_bytes(disk, "0000000001.log", &n));
    assert_true(has(s, "cold", "cold"));
    assert_non_null(strstr(store_fault(s), "cleaning /s/0000000001.log at byte"));
    store_close(s);
}

/* ---- not what it should be ---------------------------------------------------------------------------- */

FAULT_TEST(a_newer_format)
{
    struct store *s = open_store();
    store_close(s);
    size_t n;
    disk_bytes(disk, "0000000001.log", &n)[8] = 2;
    assert_int_equal(try_open(&s), -EPROTONOSUPPORT);
    assert_non_null(strstr(why.text, "newer version"));
}

FAULT_TEST(a_foreign_file)
{
    disk_put_file(disk, "0000000001.log",
                  "#!/bin/sh\necho hello, this is not a segment, but it is long enough\n", 66);
    struct store *s;
    assert_int_equal(try_open(&s), -EBADMSG);
    assert_non_null(strstr(why.text, "/s/0000000001.log"));
}

FAULT_TEST(an_empty_file)
{
    disk_put_file(disk, "0000000001.log", "", 0);
    struct store *s;
    assert_int_equal(try_open(&s), -EBADMSG);
    assert_non_null(strstr(why.text, "too short"));
}

FAULT_TEST(other_files_do_not_matter)
{
    disk_put_file(disk, "README", "x", 1);
    disk_put_file(disk, "12.log", "x", 1);
    disk_put_file(disk, "0000000000.log", "x", 1);
    store_close(open_store());
}

FAULT_TEST(a_missing_segment)
{
    struct model m = prepare();
    model_done(&m);
    size_t n;
    char name[32];
    unsigned number = 1;
    do
        snprintf(name, sizeof(name), "%010u.log", number++);
    while (!disk_bytes(disk, name, &n));
    char path[64];
    snprintf(path, sizeof(path), "/s/%s", name);
    assert_int_equal(os_unlink(path), 0);
    struct store *s;
    assert_int_equal(try_open(&s), -ENOENT);
    assert_non_null(strstr(why.text, name));
}

FAULT_TEST(a_segment_of_another_store)
{
    struct model m = prepare();
    model_done(&m);
    struct disk *one = disk;
    disk_use(disk = disk_new(99));
    m = prepare();
    model_done(&m);
    char name[32];
    unsigned number = 1;
    size_t n, k;
    do
        snprintf(name, sizeof(name), "%010u.log", number++);
    while (!disk_bytes(disk, name, &n) || !disk_bytes(one, name, &k));
    memcpy(disk_bytes(one, name, &k), disk_bytes(disk, name, &n), MIN(n, k));
    disk_free(disk);
    disk_use(disk = one);
    struct store *s;
    assert_int_equal(try_open(&s), -EBADMSG);
    assert_non_null(strstr(why.text, "another store"));
}

FAULT_TEST(a_torn_tail_is_cut_and_told)
{
    struct store *s = open_store();
    assert_int_equal(put(s, "a", STR("1"), false), 0);
    assert_int_equal(put(s, "b", big_value(), false), 0);
    struct disk *left = disk_kill(disk, disk_changes(disk), 5);
    store_close(s);
    disk_free(disk);
    disk_use(disk = left);
    size_t n;
    char *p = disk_bytes(disk, "0000000001.log", &n);
    for (size_t i = 0; i + 4 < n; i++)
        if (memcmp(p + i, "xxxx", 4) == 0)
            p[i] = 0; /* of the last write, part is missing */
    s = open_store();
    assert_non_null(
        strstr(arena_cstr(&notes, note), "cut an unfinished write off the end of /s/0000000001.log"));
    assert_true(has(s, "a", "1"));
    assert_true(has(s, "b", NULL));
    store_close(s);
    s = open_store();
    assert_int_equal(note.n, 0);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_sync_stops_writing),
        cmocka_unit_test(what_is_shown_after_a_failed_sync_is_durable),
        cmocka_unit_test(a_failed_write_stops_writing),
        cmocka_unit_test(leftovers_do_not_connect),
        cmocka_unit_test(a_full_disk),
        cmocka_unit_test(the_limit_of_the_options),
        cmocka_unit_test(at_the_brink),
        cmocka_unit_test(no_space_from_the_start),
        cmocka_unit_test(flipped_bits),
        cmocka_unit_test(a_damaged_value_is_not_served),
        cmocka_unit_test(a_damaged_segment_is_kept),
        cmocka_unit_test(a_newer_format),
        cmocka_unit_test(a_foreign_file),
        cmocka_unit_test(an_empty_file),
        cmocka_unit_test(other_files_do_not_matter),
        cmocka_unit_test(a_missing_segment),
        cmocka_unit_test(a_segment_of_another_store),
        cmocka_unit_test(a_torn_tail_is_cut_and_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
