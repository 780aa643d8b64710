/* SPDX-License-Identifier: Apache-2.0 */
/* The promises of store.h, each kept by the store in memory and by the one on disk. */
#include "../testing.h"

#include "disk.h"
#include "store/store.h"

#include <stdio.h>

/* Every test of the list below runs twice: on segments in memory, and on files of the virtual disk. */
static struct store_options options;
static struct disk *disk;
static bool on_disk;
static struct store *current; /* closed behind the test */

static struct store *open_store(void)
{
    struct arena CLEANUP_ARENA a = {0};
    struct store *s = NULL;
    struct err e = {0};
    int r = on_disk ? store_open_log(&options, &s, NULL, &a, &e) : store_open_memory(&options, &s);
    if (r < 0)
        print_error("%s\n", err_text(&e, r));
    assert_int_equal(r, 0);
    return current = s;
}

static struct store *reopen(struct store *s)
{
    store_close(s);
    return open_store();
}

typedef void body_fn(struct store *s);

static void run_body(void *arg)
{
    (*(body_fn **)arg)(open_store());
    store_close(current);
}

static void run(body_fn *fn, bool disk_too)
{
    options = (struct store_options){.dir = "/s", .durable = true, .segment_bytes = 64 << 10};
    on_disk = disk_too;
    disk = disk_new(7);
    disk_set_sync_yields(disk, 3);
    disk_use(disk);
    loop_run(run_body, &fn);
    os_use(NULL);
    disk_free(disk);
}

#define STORE_TEST(name)                                                                                     \
    static void name##_body(struct store *s);                                                                \
    static void name##_in_memory(void **state UNUSED)                                                        \
    {                                                                                                        \
        run(name##_body, false);                                                                             \
    }                                                                                                        \
    static void name##_on_disk(void **state UNUSED)                                                          \
    {                                                                                                        \
        run(name##_body, true);                                                                              \
    }                                                                                                        \
    static void name##_body(struct store *s UNUSED)

/* ---- short forms -------------------------------------------------------------------------------------- */

static revision rev(int64_t n)
{
    return (revision){n};
}

static int txn1(struct store *s, enum store_op_kind kind, const char *key, const char *value, int64_t expect,
                int64_t *ret_rev)
{
    struct store_op op = {.kind = kind, .key = str_of(key), .value = str_of(value), .expect = expect};
    revision r = {0};
    int result = store_txn(s, &op, 1, &r, NULL);
    if (ret_rev)
        *ret_rev = r.n;
    return result;
}

static int64_t put(struct store *s, const char *key, const char *value)
{
    int64_t r;
    assert_int_equal(txn1(s, STORE_PUT, key, value, STORE_ANY, &r), 0);
    return r;
}

static int64_t del(struct store *s, const char *key)
{
    int64_t r;
    assert_int_equal(txn1(s, STORE_DELETE, key, NULL, STORE_ANY, &r), 0);
    return r;
}

static struct arena get_arena;
static struct store_entry got;
static int get(struct store *s, const char *key, int64_t at)
{
    arena_reset(&get_arena);
    return store_get(s, str_of(key), rev(at), &get_arena, &got);
}

static struct buf listed;
static int list_one(void *arg UNUSED, const struct store_entry *e)
{
    buf_printf(&listed, STR_FMT "=" STR_FMT "@%d ", STR_ARG(e->key), STR_ARG(e->value), (int)e->modified.n);
    return 0;
}

static const char *list(struct store *s, const char *from, const char *to, int64_t at, size_t limit)
{
    buf_clear(&listed);
    buf_puts(&listed, "");
    revision was;
    assert_int_equal(store_range(s, str_of(from), str_of(to), rev(at), limit, list_one, NULL, &was), 0);
    assert_int_equal(was.n, at ? at : store_revision(s).n);
    return listed.n ? listed.p : "";
}

static struct buf heard;
/* Events as text, until `n` have come or nothing comes for a while. Returns the outcome. */
static int hear(struct store_watch *w, size_t n)
{
    const struct store_event *ev;
    size_t count;
    revision progress;
    buf_clear(&heard);
    int r = 0;
    for (size_t k = 0; k < n; k += count) {
        r = store_watch_next(w, mono_add(os_mono(), SECONDS(1)), &ev, &count, &progress);
        if (r != 0)
            return r;
        for (size_t i = 0; i < count; i++) {
            const struct store_event *e = &ev[i];
            buf_printf(&heard, "%s" STR_FMT, e->deleted ? "-" : e->created ? "+" : "", STR_ARG(e->key));
            if (!e->deleted)
                buf_printf(&heard, "=" STR_FMT, STR_ARG(e->value));
            if (e->previous.n)
                buf_printf(&heard, "<" STR_FMT, STR_ARG(e->previous));
            buf_printf(&heard, "@%d ", (int)e->modified.n);
        }
        assert_true(progress.n >= ev[count - 1].modified.n);
    }
    return r;
}

static struct store_watch *watch(struct store *s, const char *from, const char *to, int64_t after)
{
    struct store_watch *w = NULL;
    assert_int_equal(store_watch(s, str_of(from), str_of(to), rev(after), true, &w), 0);
    return w;
}

/* ---- reading and writing ------------------------------------------------------------------------------ */

STORE_TEST(an_empty_store)
{
    assert_int_equal(store_revision(s).n, 1);
    assert_int_equal(store_compacted(s).n, 0);
    assert_int_equal(get(s, "a", 0), -ENOENT);
    assert_string_equal(list(s, "", "", 0, 0), "");
    assert_string_equal(store_fault(s), "");
}

STORE_TEST(put_get_delete)
{
    assert_int_equal(put(s, "a", "1"), 2);
    assert_int_equal(put(s, "a", "2"), 3);
    assert_int_equal(get(s, "a", 0), 0);
    assert_str(got.key, "a");
    assert_str(got.value, "2");
    assert_int_equal(got.created.n, 2);
    assert_int_equal(got.modified.n, 3);
    assert_int_equal(got.version, 2);
    assert_int_equal(del(s, "a"), 4);
    assert_int_equal(get(s, "a", 0), -ENOENT);
    assert_int_equal(put(s, "a", "3"), 5);
    assert_int_equal(get(s, "a", 0), 0);
    assert_int_equal(got.created.n, 5);
    assert_int_equal(got.version, 1);
}

STORE_TEST(reads_at_old_revisions)
{
    put(s, "a", "1");
    put(s, "b", "1");
    put(s, "a", "2");
    del(s, "b");
    assert_int_equal(get(s, "a", 1), -ENOENT);
    assert_int_equal(get(s, "a", 3), 0);
    assert_str(got.value, "1");
    assert_int_equal(get(s, "b", 4), 0);
    assert_int_equal(get(s, "b", 5), -ENOENT);
    assert_int_equal(get(s, "a", 6), STORE_FUTURE);
    assert_string_equal(list(s, "", "", 4, 0), "a=2@4 b=1@3 ");
    assert_string_equal(list(s, "", "", 0, 0), "a=2@4 ");
    assert_string_equal(list(s, "", "", 1, 0), "");
}

STORE_TEST(ranges_and_limits)
{
    for (const char *k = "hdbfaceg"; *k; k++)
        put(s, (char[]){*k, 0}, "v");
    assert_string_equal(list(s, "b", "e", 0, 0), "b=v@4 c=v@7 d=v@3 ");
    assert_string_equal(list(s, "b", "", 0, 2), "b=v@4 c=v@7 ");
    assert_string_equal(list(s, "bb", "bz", 0, 0), "");
    struct arena CLEANUP_ARENA a = {0};
    assert_str(store_prefix_end(&a, STR("/pods/")), "/pods0");
    assert_str(store_prefix_end(&a, STR("a\xff\xff")), "b");
    assert_int_equal(store_prefix_end(&a, STR("\xff")).n, 0);
}

static int stop_at_c(void *arg, const struct store_entry *e)
{
    ++*(int *)arg;
    return str_is(e->key, "c") ? 42 : 0;
}

STORE_TEST(a_visitor_may_stop)
{
    int n = 0;
    for (const char *k = "abcd"; *k; k++)
        put(s, (char[]){*k, 0}, "v");
    assert_int_equal(store_range(s, STR(""), STR(""), rev(0), 0, stop_at_c, &n, NULL), 42);
    assert_int_equal(n, 3);
}

/* The visitor waits, and others write meanwhile: the range still shows one revision. */
static int write_while_visiting(void *arg, const struct store_entry *e)
{
    struct store *s = arg;
    char key[64];
    CLEANUP_FREE char *was = str_dup(e->key);
    snprintf(key, sizeof(key), "%sx", was);
    put(s, key, "new");
    del(s, "b");
    assert_true(str_is(e->key, was));
    return list_one(NULL, e);
}

STORE_TEST(a_range_is_of_one_revision)
{
    put(s, "a", "1");
    put(s, "b", "1");
    put(s, "c", "1");
    buf_clear(&listed);
    revision at;
    assert_int_equal(store_range(s, STR(""), STR(""), rev(0), 0, write_while_visiting, s, &at), 0);
    assert_string_equal(listed.p, "a=1@2 b=1@3 c=1@4 ");
    assert_int_equal(at.n, 4);
}

STORE_TEST(compare_and_set)
{
    assert_int_equal(txn1(s, STORE_PUT, "a", "1", 5, NULL), STORE_CONFLICT);
    assert_int_equal(txn1(s, STORE_PUT, "a", "1", STORE_ABSENT, NULL), 0);
    assert_int_equal(txn1(s, STORE_PUT, "a", "1", STORE_ABSENT, NULL), STORE_CONFLICT);
    assert_int_equal(txn1(s, STORE_PUT, "a", "2", 2, NULL), 0);
    assert_int_equal(txn1(s, STORE_PUT, "a", "3", 2, NULL), STORE_CONFLICT);
    assert_int_equal(txn1(s, STORE_DELETE, "a", NULL, 2, NULL), STORE_CONFLICT);
    assert_int_equal(txn1(s, STORE_DELETE, "a", NULL, 3, NULL), 0);
    assert_int_equal(txn1(s, STORE_DELETE, "a", NULL, 4, NULL), STORE_CONFLICT);
    assert_int_equal(store_revision(s).n, 4); /* conflicts make no revisions */
}

STORE_TEST(all_or_nothing)
{
    put(s, "a", "1");
    struct store_op ops[] = {
        {.kind = STORE_PUT, .key = STR("b"), .value = STR("1"), .expect = STORE_ABSENT},
        {.kind = STORE_DELETE, .key = STR("a"), .expect = 9},
        {.kind = STORE_PUT, .key = STR("c"), .value = STR("1"), .expect = STORE_ANY},
    };
    size_t conflict = 99;
    assert_int_equal(store_txn(s, ops, 3, NULL, &conflict), STORE_CONFLICT);
    assert_int_equal(conflict, 1);
    assert_string_equal(list(s, "", "", 0, 0), "a=1@2 ");
    ops[1].expect = 2;
    revision r;
    assert_int_equal(store_txn(s, ops, 3, &r, NULL), 0);
    assert_int_equal(r.n, 3);
    assert_string_equal(list(s, "", "", 0, 0), "b=1@3 c=1@3 ");
}

STORE_TEST(a_transaction_without_effect)
{
    put(s, "a", "1");
    assert_int_equal(del(s, "nothing"), 2);
    assert_int_equal(store_revision(s).n, 2);
    assert_int_equal(txn1(s, STORE_DELETE, "nothing", NULL, STORE_ABSENT, NULL), 0);
}

STORE_TEST(bad_transactions)
{
    static char big[70000];
    struct store_op op = {
        .kind = STORE_PUT, .key = STR("k"), .value = {big, sizeof(big)}, .expect = STORE_ANY};
    assert_int_equal(store_txn(s, &op, 1, NULL, NULL), -E2BIG);
    op.value.n = 1;
    op.key = (struct str){big, 5000};
    assert_int_equal(store_txn(s, &op, 1, NULL, NULL), -E2BIG);
    op.key = STR("");
    assert_int_equal(store_txn(s, &op, 1, NULL, NULL), -EINVAL);
    assert_int_equal(store_txn(s, &op, 0, NULL, NULL), -EINVAL);
    struct store_op twice[2] = {{.kind = STORE_PUT, .key = STR("k"), .expect = STORE_ANY},
                                {.kind = STORE_DELETE, .key = STR("k"), .expect = STORE_ANY}};
    assert_int_equal(store_txn(s, twice, 2, NULL, NULL), -EINVAL);
    assert_int_equal(store_revision(s).n, 1);
}

/* ---- at the same time --------------------------------------------------------------------------------- */

struct worker {
    struct store *s;
    int n, conflicts;
};

static void increment(void *arg)
{
    struct worker *w = arg;
    for (int i = 0; i < 50; i++) {
        struct arena CLEANUP_ARENA a = {0};
        struct store_entry e;
        char text[32];
        int64_t n = 0, expect = STORE_ABSENT;
        if (store_get(w->s, STR("counter"), rev(0), &a, &e) == 0) {
            str_to_i64(e.value, &n);
            expect = e.modified.n;
        }
        snprintf(text, sizeof(text), "%d", (int)n + 1);
        int r = txn1(w->s, STORE_PUT, "counter", text, expect, NULL);
        assert_true(r == 0 || r == STORE_CONFLICT);
        if (r == 0)
            w->n++;
        else
            w->conflicts++;
    }
}

/* Compare-and-set among many: no increment is lost, and they share syncs. */
STORE_TEST(concurrent_counters)
{
    struct worker w[8];
    struct group g = {0};
    for (int i = 0; i < 8; i++) {
        w[i] = (struct worker){.s = s};
        group_spawn(&g, "worker", increment, &w[i]);
    }
    group_wait(&g, MONO_NEVER);
    int64_t n, sum = 0, conflicts = 0;
    for (int i = 0; i < 8; i++) {
        sum += w[i].n;
        conflicts += w[i].conflicts;
    }
    assert_int_equal(get(s, "counter", 0), 0);
    assert_int_equal(str_to_i64(got.value, &n), 0);
    assert_int_equal(n, sum);
    assert_int_equal(got.version, sum);
    assert_true(conflicts > 0);
    assert_int_equal(store_revision(s).n, 1 + sum);
}

static void put_many(void *arg)
{
    struct worker *w = arg;
    char key[32];
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "w%d-%d", w->n, i);
        put(w->s, key, "v");
    }
}

STORE_TEST(groups_share_a_sync)
{
    struct worker w[16];
    struct group g = {0};
    struct store_stats before, after;
    store_stats(s, &before);
    for (int i = 0; i < 16; i++) {
        w[i] = (struct worker){.s = s, .n = i};
        group_spawn(&g, "worker", put_many, &w[i]);
    }
    group_wait(&g, MONO_NEVER);
    store_stats(s, &after);
    assert_int_equal(after.writes - before.writes, 1600);
    assert_int_equal(after.keys, 1600);
    assert_true(after.syncs - before.syncs < 130);
}

static void put_one(void *arg)
{
    struct worker *w = arg;
    w->n = txn1(w->s, STORE_PUT, "late", "v", STORE_ANY, NULL);
}

/* What is not durable is not visible, not even as a conflict. */
STORE_TEST(nothing_is_visible_before_it_is_durable)
{
    if (!on_disk)
        return;
    disk_set_sync_yields(disk, 50);
    struct worker w = {.s = s};
    struct store_watch *watching = watch(s, "", "", 0);
    struct group g = {0};
    group_spawn(&g, "worker", put_one, &w);
    for (int i = 0; i < 20; i++) {
        fiber_yield();
        assert_int_equal(get(s, "late", 0), -ENOENT);
        assert_int_equal(store_revision(s).n, 1);
    }
    group_wait(&g, MONO_NEVER);
    assert_int_equal(w.n, 0);
    assert_int_equal(get(s, "late", 0), 0);
    assert_int_equal(hear(watching, 1), 0);
    assert_string_equal(heard.p, "+late=v@2 ");
    store_watch_close(watching);
}

/* A caller that is cancelled while its write is under way learns the outcome; one that still queues gives up.
 */
STORE_TEST(cancelled_callers)
{
    disk_set_sync_yields(disk, 20);
    struct worker w = {.s = s}, w2 = {.s = s};
    struct group g = {0}, g2 = {0};
    group_spawn(&g, "worker", put_one, &w);
    for (int i = 0; i < 5; i++)
        fiber_yield();
    group_spawn(&g2, "worker", put_one, &w2);
    fiber_yield();
    group_stop(&g2);
    group_stop(&g);
    assert_int_equal(w.n, 0);
    assert_int_equal(w2.n, on_disk ? -ECANCELED : w2.n);
}

/* ---- watching ----------------------------------------------------------------------------------------- */

STORE_TEST(watch_from_now)
{
    put(s, "a", "0");
    struct store_watch *w = watch(s, "a", "b", 0);
    put(s, "a", "1");
    put(s, "b", "1");
    put(s, "a", "2");
    del(s, "a");
    assert_int_equal(hear(w, 3), 0);
    assert_string_equal(heard.p, "a=1<0@3 a=2<1@5 -a<2@6 ");
    assert_int_equal(hear(w, 1), -ETIMEDOUT);
    put(s, "a", "3");
    assert_int_equal(hear(w, 1), 0);
    assert_string_equal(heard.p, "+a=3@7 ");
    store_watch_close(w);
}

STORE_TEST(watch_from_a_revision)
{
    put(s, "a", "1");
    put(s, "a", "2");
    put(s, "b", "1");
    struct store_watch *w = watch(s, "", "", 2);
    put(s, "c", "1");
    assert_int_equal(hear(w, 3), 0);
    assert_string_equal(heard.p, "a=2<1@3 +b=1@4 +c=1@5 ");
    store_watch_close(w);
    w = watch(s, "", "", 1);
    assert_int_equal(hear(w, 4), 0);
    assert_string_equal(heard.p, "+a=1@2 a=2<1@3 +b=1@4 +c=1@5 ");
    store_watch_close(w);
    struct store_watch *none;
    assert_int_equal(store_watch(s, STR(""), STR(""), rev(6), false, &none), STORE_FUTURE);
    assert_int_equal(store_watch(s, STR(""), STR(""), rev(5), false, &none), 0);
    store_watch_close(none);
}

/* Also when a batch is full: the events of a revision come together. */
STORE_TEST(whole_revisions)
{
    struct store_watch *w = watch(s, "", "", 0);
    static char keys[700][16];
    static struct store_op ops[700];
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 700; i++) {
            snprintf(keys[i], sizeof(keys[i]), "k%03d", i);
            ops[i] = (struct store_op){.kind = STORE_PUT, .key = str_of(keys[i]), .expect = STORE_ANY};
        }
        assert_int_equal(store_txn(s, ops, 700, NULL, NULL), 0);
    }
    int64_t next = 2;
    while (next < 7) {
        const struct store_event *ev;
        size_t n;
        revision progress;
        assert_int_equal(store_watch_next(w, mono_add(os_mono(), SECONDS(1)), &ev, &n, &progress), 0);
        assert_int_equal(n % 700, 0);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(ev[i].modified.n, next + (int64_t)i / 700);
            assert_string_equal(arena_cstr(&get_arena, ev[i].key), keys[i % 700]);
        }
        next += (int64_t)n / 700;
        assert_int_equal(progress.n, next - 1);
    }
    store_watch_close(w);
}

STORE_TEST(progress_without_events)
{
    struct store_watch *w = watch(s, "a", "b", 0);
    put(s, "x", "1");
    put(s, "y", "1");
    const struct store_event *ev;
    size_t n;
    revision progress = {0};
    assert_int_equal(store_watch_next(w, os_mono(), &ev, &n, &progress), -ETIMEDOUT);
    assert_int_equal(progress.n, 3);
    store_watch_close(w);
}

static int stamps;
static void stamp(void *cookie, revision r)
{
    *(int64_t *)cookie = r.n;
    stamps++;
}

STORE_TEST(cookies)
{
    int64_t mine = 0;
    stamps = 0;
    struct store_watch *early = watch(s, "", "", 0);
    struct store_op op = {
        .kind = STORE_PUT, .key = STR("a"), .expect = STORE_ANY, .cookie = &mine, .committing = stamp};
    assert_int_equal(store_txn(s, &op, 1, NULL, NULL), 0);
    assert_int_equal(mine, 2);
    assert_int_equal(stamps, 1);
    op.expect = 1;
    assert_int_equal(store_txn(s, &op, 1, NULL, NULL), STORE_CONFLICT);
    assert_int_equal(stamps, 1);
    op.kind = STORE_DELETE;
    op.key = STR("nothing");
    op.expect = STORE_ANY;
    assert_int_equal(store_txn(s, &op, 1, NULL, NULL), 0); /* makes no revision */
    assert_int_equal(stamps, 1);
    struct store_watch *late = watch(s, "", "", 1);
    const struct store_event *ev;
    size_t n;
    revision progress;
    assert_int_equal(store_watch_next(early, MONO_NEVER, &ev, &n, &progress), 0);
    assert_ptr_equal(ev[0].cookie, &mine);
    assert_int_equal(store_watch_next(late, MONO_NEVER, &ev, &n, &progress), 0);
    assert_null(ev[0].cookie);
    store_watch_close(early);
    store_watch_close(late);
}

struct listener {
    struct store_watch *w;
    int result;
};

static void listen_on(void *arg)
{
    struct listener *l = arg;
    const struct store_event *ev;
    size_t n;
    revision progress;
    l->result = store_watch_next(l->w, MONO_NEVER, &ev, &n, &progress);
}

STORE_TEST(closing_ends_watches)
{
    struct store *other;
    assert_int_equal(store_open_memory(NULL, &other), 0);
    struct listener l = {.w = watch(other, "", "", 0)};
    struct group g = {0};
    group_spawn(&g, "listener", listen_on, &l);
    fiber_yield();
    store_close(other);
    group_wait(&g, MONO_NEVER);
    assert_int_equal(l.result, -EPIPE);
    store_watch_close(l.w);
}

/* ---- forgetting --------------------------------------------------------------------------------------- */

static void settle(void)
{
    fiber_sleep(MILLISECONDS(200));
}

STORE_TEST(compaction)
{
    put(s, "a", "1"); /* 2 */
    put(s, "b", "1"); /* 3 */
    put(s, "a", "2"); /* 4 */
    del(s, "b");      /* 5 */
    put(s, "a", "3"); /* 6 */
    struct store_watch *slow = watch(s, "", "", 1), *quick = watch(s, "", "", 4);
    assert_int_equal(store_compact(s, rev(7)), STORE_FUTURE);
    assert_int_equal(store_compact(s, rev(4)), 0);
    assert_int_equal(store_compact(s, rev(4)), STORE_COMPACTED);
    settle();
    assert_int_equal(store_compacted(s).n, 4);
    assert_int_equal(get(s, "a", 4), STORE_COMPACTED);
    assert_int_equal(get(s, "b", 3), STORE_COMPACTED);
    assert_int_equal(get(s, "a", 5), 0);
    assert_str(got.value, "2");
    assert_int_equal(get(s, "b", 5), -ENOENT);
    assert_int_equal(get(s, "a", 0), 0);
    assert_str(got.value, "3");
    struct store_watch *w;
    assert_int_equal(store_watch(s, STR(""), STR(""), rev(3), false, &w), STORE_COMPACTED);
    assert_int_equal(hear(slow, 1), STORE_COMPACTED);
    assert_int_equal(hear(quick, 2), 0);
    assert_string_equal(heard.p, "-b<1@5 a=3<2@6 "); /* compaction takes no event from a watch behind it */
    store_watch_close(slow);
    store_watch_close(quick);
    assert_int_equal(store_compact(s, rev(6)), 0);
    settle();
    assert_string_equal(list(s, "", "", 0, 0), "a=3@6 ");
    assert_int_equal(get(s, "a", 6), 0); /* the latest revision is always readable */
}

STORE_TEST(history_is_bounded_by_number)
{
    options.history_events = 100;
    s = reopen(s);
    struct store_watch *slow = watch(s, "", "", 0);
    for (int i = 0; i < 1000; i++)
        put(s, "k", "v");
    settle();
    assert_true(store_compacted(s).n > 800);
    assert_true(store_compacted(s).n <= 901);
    assert_int_equal(hear(slow, 1), STORE_COMPACTED);
    store_watch_close(slow);
    struct store_stats st;
    store_stats(s, &st);
    assert_true(st.bytes_index < 20000);
}

STORE_TEST(history_is_bounded_by_age)
{
    put(s, "a", "1");
    int64_t first = store_revision(s).n;
    fiber_sleep(SECONDS(100));
    put(s, "a", "2");
    fiber_sleep(SECONDS(150));
    assert_int_equal(store_compacted(s).n, 0);
    assert_int_equal(get(s, "a", first), 0);
    fiber_sleep(SECONDS(100));
    assert_int_equal(store_compacted(s).n, first);
    fiber_sleep(SECONDS(200));
    assert_int_equal(store_compacted(s).n, first + 1);
}

/* Overwriting the same few keys for long must not make the log grow, and nothing is lost by the cleaning. */
STORE_TEST(space_is_reclaimed)
{
    options.history_events = 50;
    s = reopen(s);
    char key[16], value[900];
    memset(value, 'v', sizeof(value));
    value[899] = 0;
    put(s, "cold", "cold");
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof(key), "hot%d", i % 7);
        put(s, key, value);
        if (i % 10 == 0) {
            snprintf(key, sizeof(key), "gone%d", i);
            put(s, key, value);
            del(s, key);
        }
    }
    fiber_sleep(SECONDS(2));
    struct store_stats st;
    store_stats(s, &st);
    assert_int_equal(st.keys, 8);
    assert_true(st.bytes_disk <= 8 * (64 << 10)); /* 5.5 MB were written */
    assert_int_equal(get(s, "cold", 0), 0);
    assert_str(got.value, "cold");
    assert_int_equal(got.modified.n, 2);
    if (on_disk) {
        s = reopen(s);
        store_stats(s, &st);
        assert_int_equal(st.keys, 8);
        assert_int_equal(get(s, "cold", 0), 0);
        assert_int_equal(get(s, "gone0", 0), -ENOENT);
    }
}

/* What is left of a key that is gone goes too, once its puts have gone. */
STORE_TEST(deleted_keys_leave_nothing)
{
    options.history_events = 20;
    s = reopen(s);
    for (int i = 0; i < 6000; i++) {
        char key[32];
        snprintf(key, sizeof(key), "gone%05d", i);
        put(s, key, "some value or other");
        del(s, key);
    }
    fiber_sleep(SECONDS(2));
    struct store_stats st;
    store_stats(s, &st);
    assert_int_equal(st.keys, 0);
    /* At most what lies in the segments that may wait for cleaning. */
    assert_true(st.bytes_live < 64 << 10);
    assert_true(st.bytes_index < 300 << 10);
    assert_string_equal(store_fault(s), "");
}

/* ---- starting again ----------------------------------------------------------------------------------- */

STORE_TEST(everything_is_there_after_reopening)
{
    if (!on_disk)
        return;
    put(s, "a", "1");
    put(s, "b", "1");
    put(s, "a", "2");
    del(s, "b");
    struct store_op two[] = {{.kind = STORE_PUT, .key = STR("z"), .value = STR("1"), .expect = STORE_ANY},
                             {.kind = STORE_PUT, .key = STR("c"), .value = STR("1"), .expect = STORE_ANY}};
    assert_int_equal(store_txn(s, two, 2, NULL, NULL), 0);
    s = reopen(s);
    assert_int_equal(store_revision(s).n, 6);
    assert_string_equal(list(s, "", "", 0, 0), "a=2@4 c=1@6 z=1@6 ");
    assert_string_equal(list(s, "", "", 4, 0), "a=2@4 b=1@3 ");
    struct store_watch *w = watch(s, "", "", 1); /* history survives, in the order of each transaction */
    assert_int_equal(hear(w, 6), 0);
    assert_string_equal(heard.p, "+a=1@2 +b=1@3 a=2<1@4 -b<1@5 +z=1@6 +c=1@6 ");
    store_watch_close(w);
    assert_int_equal(put(s, "a", "3"), 7);
    assert_int_equal(get(s, "a", 0), 0);
    assert_int_equal(got.version, 3);
}

STORE_TEST(compaction_survives_reopening)
{
    if (!on_disk)
        return;
    for (int i = 0; i < 10; i++)
        put(s, "a", "v");
    assert_int_equal(store_compact(s, rev(5)), 0);
    put(s, "a", "v");
    s = reopen(s);
    assert_int_equal(store_compacted(s).n, 5);
    assert_int_equal(get(s, "a", 5), STORE_COMPACTED);
    assert_int_equal(get(s, "a", 6), 0);
}

/* ---- lazy writes -------------------------------------------------------------------------------------- */

static int64_t put_lazy(struct store *s, const char *key, const char *value)
{
    struct store_op op = {
        .kind = STORE_PUT, .key = str_of(key), .value = str_of(value), .expect = STORE_ANY, .lazy = true};
    revision r;
    assert_int_equal(store_txn(s, &op, 1, &r, NULL), 0);
    return r.n;
}

STORE_TEST(lazy_writes_wait_for_company)
{
    struct store_stats before, after;
    put_lazy(s, "lease", "0"); /* the first reserves revisions */
    store_stats(s, &before);
    struct store_watch *w = watch(s, "", "", 0);
    assert_int_equal(put_lazy(s, "lease", "1"), 3);
    assert_int_equal(put_lazy(s, "lease", "2"), 4);
    store_stats(s, &after);
    assert_int_equal(after.syncs, before.syncs);
    assert_int_equal(hear(w, 2), 0);
    assert_string_equal(heard.p, "lease=1<0@3 lease=2<1@4 ");
    fiber_sleep(SECONDS(31));
    store_stats(s, &after);
    assert_int_equal(after.syncs, before.syncs + 1);
    fiber_sleep(SECONDS(100)); /* and then the disk may sleep */
    store_stats(s, &after);
    assert_int_equal(after.syncs, before.syncs + 1);
    store_watch_close(w);
}

STORE_TEST(lazy_writes_are_kept_by_closing)
{
    if (!on_disk)
        return;
    put_lazy(s, "a", "1");
    put_lazy(s, "a", "2");
    int64_t last = put_lazy(s, "b", "1");
    s = reopen(s);
    assert_int_equal(store_revision(s).n, last); /* the ceiling came down again */
    assert_string_equal(list(s, "", "", 0, 0), "a=2@3 b=1@4 ");
}

STORE_TEST(many_lazy_writes_pass_the_ceiling)
{
    for (int i = 0; i < 10000; i++)
        assert_int_equal(put_lazy(s, "lease", "v"), 2 + i);
    struct store_stats st;
    store_stats(s, &st);
    assert_true(st.syncs < 60);
}

#define BOTH(name) cmocka_unit_test(name##_in_memory), cmocka_unit_test(name##_on_disk)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(an_empty_store),
        BOTH(put_get_delete),
        BOTH(reads_at_old_revisions),
        BOTH(ranges_and_limits),
        BOTH(a_visitor_may_stop),
        BOTH(a_range_is_of_one_revision),
        BOTH(compare_and_set),
        BOTH(all_or_nothing),
        BOTH(a_transaction_without_effect),
        BOTH(bad_transactions),
        BOTH(concurrent_counters),
        BOTH(groups_share_a_sync),
        BOTH(nothing_is_visible_before_it_is_durable),
        BOTH(cancelled_callers),
        BOTH(watch_from_now),
        BOTH(watch_from_a_revision),
        BOTH(whole_revisions),
        BOTH(progress_without_events),
        BOTH(cookies),
        BOTH(closing_ends_watches),
        BOTH(compaction),
        BOTH(history_is_bounded_by_number),
        BOTH(history_is_bounded_by_age),
        BOTH(space_is_reclaimed),
        BOTH(deleted_keys_leave_nothing),
        BOTH(everything_is_there_after_reopening),
        BOTH(compaction_survives_reopening),
        BOTH(lazy_writes_wait_for_company),
        BOTH(lazy_writes_are_kept_by_closing),
        BOTH(many_lazy_writes_pass_the_ceiling),
    };
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    arena_done(&get_arena);
    buf_done(&listed);
    buf_done(&heard);
    return r;
}
