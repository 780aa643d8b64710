/* SPDX-License-Identifier: Apache-2.0 */
/* Random work on the store and on a naive model, compared at every step: answers, old revisions, ranges,
 * watches, compaction, cleaning and reopening. */
#include "../testing.h"

#include "disk.h"
#include "model.h"

#include <stdio.h>

enum { WATCHES = 6 };

struct watching {
    struct store_watch *w;
    char from[8], to[8];
    int64_t at; /* seen up to there */
    bool previous;
};

struct run {
    struct store_options options;
    bool on_disk;
    struct store *s;
    struct model m;
    struct watching watches[WATCHES];
    struct buf why;
    int steps;
    size_t events, compacted;
};

static void open_store(struct run *r)
{
    struct arena CLEANUP_ARENA a = {0};
    struct err e = {0};
    int result =
        r->on_disk ? store_open_log(&r->options, &r->s, NULL, &a, &e) : store_open_memory(&r->options, &r->s);
    if (result)
        print_error("%s\n", err_text(&e, result));
    assert_int_equal(result, 0);
}

#define CHECK(r, x)                                                                                          \
    do {                                                                                                     \
        if (!(x)) {                                                                                          \
            print_error("%s\n", (r)->why.n ? (r)->why.p : "");                                               \
            fail();                                                                                          \
        }                                                                                                    \
    } while (0)

static void step_txn(struct run *r)
{
    static struct model_txn t;
    model_txn_make(&r->m, &t);
    bool effect;
    int want = model_txn_expect(&r->m, &t, &effect);
    revision rev = {0};
    assert_int_equal(store_txn(r->s, t.ops, t.n, &rev, NULL), want);
    if (want)
        return;
    assert_int_equal(rev.n, r->m.revision + effect);
    r->m.revision = rev.n;
    if (effect)
        model_txn_apply(&r->m, &t, rev.n);
}

static int64_t some_revision(struct run *r)
{
    int64_t from = store_compacted(r->s).n;
    return from == r->m.revision ? from
                                 : from + 1 + (int64_t)model_random(&r->m, (uint64_t)(r->m.revision - from));
}

static void step_read(struct run *r)
{
    int64_t at = some_revision(r);
    if (at <= store_compacted(r->s).n)
        return;
    CHECK(r, model_same(&r->m, r->s, at, at, &r->why));
    char key[32];
    struct arena CLEANUP_ARENA a = {0};
    struct store_entry e;
    snprintf(key, sizeof(key), "/k/%02u", (unsigned)model_random(&r->m, MODEL_KEYS));
    const struct model_event *want = model_at(&r->m, key, at);
    int result = store_get(r->s, str_of(key), (revision){at}, &a, &e);
    assert_int_equal(result, want && want->version ? 0 : -ENOENT);
    if (result == 0) {
        assert_int_equal(e.modified.n, want->modified);
        assert_int_equal(e.created.n, want->created);
        assert_int_equal(e.version, want->version);
        assert_true(str_is(e.value, want->value));
    }
}

static int count(void *arg, const struct store_entry *e UNUSED)
{
    ++*(size_t *)arg;
    return 0;
}

static void step_limit(struct run *r)
{
    size_t limit = 1 + model_random(&r->m, 10), n = 0, want = 0;
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        char key[32];
        snprintf(key, sizeof(key), "/k/%02u", i);
        const struct model_event *e = model_at(&r->m, key, INT64_MAX);
        want += i >= 10 && i < 30 && e && e->version;
    }
    assert_int_equal(store_range(r->s, STR("/k/10"), STR("/k/30"), (revision){0}, limit, count, &n, NULL), 0);
    assert_int_equal(n, MIN(limit, want));
}

/* ---- watches ------------------------------------------------------------------------------------------ */

static void watch_open(struct run *r, struct watching *w)
{
    unsigned from = (unsigned)model_random(&r->m, MODEL_KEYS);
    snprintf(w->from, sizeof(w->from), "/k/%02u", from);
    snprintf(w->to, sizeof(w->to), "/k/%02u", from + 1 + (unsigned)model_random(&r->m, MODEL_KEYS));
    w->at = MAX(some_revision(r) - 1, store_compacted(r->s).n);
    w->previous = model_random(&r->m, 2);
    int result = store_watch(r->s, str_of(w->from), str_of(w->to), (revision){w->at}, w->previous, &w->w);
    assert_int_equal(result, 0);
    if (!w->at)
        w->at = r->m.revision;
}

static const struct model_event *next_event(const struct run *r, const struct watching *w, size_t *i)
{
    for (; *i < r->m.n; ++*i) {
        const struct model_event *e = &r->m.events[*i];
        if (e->modified > w->at && strcmp(e->key, w->from) >= 0 && strcmp(e->key, w->to) < 0)
            return &r->m.events[(*i)++];
    }
    return NULL;
}

static void check_event(struct run *r, const struct watching *w, const struct model_event *want,
                        const struct store_event *e)
{
    assert_non_null(want);
    assert_int_equal(e->modified.n, want->modified);
    assert_true(str_is(e->key, want->key));
    assert_int_equal(e->deleted, !want->version);
    assert_int_equal(e->created, want->version == 1);
    assert_true(str_is(e->value, want->value ? want->value : ""));
    const struct model_event *before = model_at(&r->m, want->key, want->modified - 1);
    if (w->previous && before && before->version)
        assert_true(str_is(e->previous, before->value));
    else
        assert_int_equal(e->previous.n, 0);
    r->events++;
}

static void step_watch(struct run *r)
{
    struct watching *w = &r->watches[model_random(&r->m, WATCHES)];
    if (!w->w)
        watch_open(r, w);
    const struct store_event *ev;
    size_t n, i = 0;
    revision progress;
    int result = store_watch_next(w->w, os_mono(), &ev, &n, &progress);
    if (result == STORE_COMPACTED) {
        assert_true(store_compacted(r->s).n > w->at);
        r->compacted++;
    } else if (result == 0) {
        for (size_t k = 0; k < n; k++)
            check_event(r, w, next_event(r, w, &i), &ev[k]);
        assert_true(progress.n >= ev[n - 1].modified.n);
        const struct model_event *next = next_event(r, w, &i);
        assert_true(!next || next->modified > progress.n);
        w->at = progress.n;
    } else {
        assert_int_equal(result, -ETIMEDOUT);
        assert_null(next_event(r, w, &i));
    }
    if (result == STORE_COMPACTED || model_random(&r->m, 20) == 0) {
        store_watch_close(w->w);
        w->w = NULL;
    }
}

/* ---- the rest ----------------------------------------------------------------------------------------- */

static void step_compact(struct run *r)
{
    int64_t upto = some_revision(r);
    int result = store_compact(r->s, (revision){upto});
    assert_true(result == 0 || result == STORE_COMPACTED);
    assert_true(store_compacted(r->s).n >= upto);
    struct arena CLEANUP_ARENA a = {0};
    struct store_entry e;
    if (upto != r->m.revision)
        assert_int_equal(store_get(r->s, STR("/k/00"), (revision){upto}, &a, &e), STORE_COMPACTED);
}

static void close_watches(struct run *r)
{
    for (int i = 0; i < WATCHES; i++) {
        store_watch_close(r->watches[i].w);
        r->watches[i].w = NULL;
    }
}

static void step_reopen(struct run *r)
{
    close_watches(r);
    int64_t compacted = store_compacted(r->s).n;
    store_close(r->s);
    open_store(r);
    assert_int_equal(store_revision(r->s).n, r->m.revision);
    int64_t now = store_compacted(r->s).n;
    assert_true(now <= compacted);
    CHECK(r, model_same(&r->m, r->s, 0, r->m.revision, &r->why));
    if (now)
        CHECK(r, model_same_events(&r->m, r->s, now, r->m.revision, &r->why));
}

static void step(struct run *r)
{
    unsigned d = (unsigned)model_random(&r->m, 1000);
    if (d < 500)
        step_txn(r);
    else if (d < 600)
        step_read(r);
    else if (d < 650)
        step_limit(r);
    else if (d < 950)
        step_watch(r);
    else if (d < 975)
        step_compact(r);
    else if (d < 990)
        fiber_sleep((int64_t)model_random(&r->m, SECONDS(2)));
    else if (r->on_disk)
        step_reopen(r);
}

static void run_main(void *arg)
{
    struct run *r = arg;
    open_store(r);
    r->m.revision = store_revision(r->s).n;
    for (int i = 0; i < r->steps; i++)
        step(r);
    CHECK(r, model_same(&r->m, r->s, 0, r->m.revision, &r->why));
    assert_string_equal(store_fault(r->s), "");
    close_watches(r);
    store_close(r->s);
}

static void run(uint64_t seed, bool on_disk, size_t *events, size_t *compacted)
{
    struct disk *d = disk_new(seed);
    disk_use(d);
    struct run r = {
        .options = {.dir = "/s", .durable = true, .segment_bytes = 32 << 10, .history_events = 200},
        .on_disk = on_disk,
        .m = {.random = seed, .lazy = true},
        .steps = 3000,
    };
    loop_run(run_main, &r);
    *events += r.events;
    *compacted += r.compacted;
    model_done(&r.m);
    buf_done(&r.why);
    os_use(NULL);
    disk_free(d);
}

static void random_work(bool on_disk)
{
    size_t events = 0, compacted = 0;
    for (uint64_t seed = 1; seed <= 12; seed++)
        run(seed, on_disk, &events, &compacted);
    assert_true(events > 10000); /* the work meant something */
    assert_true(compacted > 10);
}

static void random_work_in_memory(void **state UNUSED)
{
    random_work(false);
}

static void random_work_on_disk(void **state UNUSED)
{
    random_work(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_work_in_memory),
        cmocka_unit_test(random_work_on_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
