/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts. Several writers work on a disk that records every change; then the power goes after each of
 * those changes in turn, what was not synced is lost, torn or reordered by chance, and the store is opened on
 * what is left. It must open, hold everything that was acknowledged, be some prefix of what was asked for,
 * and never use a revision twice. Recovery itself is cut as well.
 */
#include "../testing.h"

#include "disk.h"
#include "model.h"

#include <stdio.h>

struct done {
    int64_t rev;
    size_t changes; /* of the disk, when it was acknowledged */
    bool lazy;
    struct model_txn t;
};

struct life {
    struct disk *d;
    struct model m; /* what is known to be there at the start; after the work, all of it */
    int64_t seen;   /* highest revision anybody saw before */
    int64_t sure;   /* revisions up to there must be there */
    int64_t found;  /* revision the store began with */
    int64_t is;     /* the last of the model's revisions that was there */
    size_t opened;  /* changes of the disk until the store was open */
    unsigned txns;  /* still to do */
    unsigned writers;
    size_t began; /* changes of the disk before */
    uint64_t space; /* of the disk; 0: plenty */
    bool close, verify_only;
    size_t ended; /* changes of the disk until the power may go at the latest: closing may come too late */
    struct done *done;
    size_t n_done;
    struct store *s;
    struct buf why;
};

static struct store_options options(void)
{
    return (struct store_options){
        .dir = "/s", .durable = true, .segment_bytes = 32 << 10, .history_events = 30};
}

static void open_store(struct life *l)
{
    struct arena CLEANUP_ARENA a = {0};
    struct err e = {0};
    struct store_options o = options();
    int r = store_open_log(&o, &l->s, NULL, &a, &e);
    if (r)
        print_error("%s\n", err_text(&e, r));
    assert_int_equal(r, 0);
}

/* The store must be the model at some revision not before what is sure. The rest of the model never happened.
 */
static void verify(struct life *l)
{
    l->found = store_revision(l->s).n;
    if (l->found < l->seen) {
        print_error("revision %d, but %d had been seen\n", (int)l->found, (int)l->seen);
        fail();
    }
    int64_t last = l->m.n ? l->m.events[l->m.n - 1].modified : 1, is = 0;
    int64_t after = MAX(store_compacted(l->s).n, 1);
    assert_true(after <= l->found);
    for (int64_t rev = MAX(l->sure, 1); rev <= MAX(last, l->sure) && !is; rev++)
        if (model_same(&l->m, l->s, 0, rev, &l->why) && model_same_events(&l->m, l->s, after, rev, &l->why))
            is = rev;
    if (!is) {
        print_error("no revision from %d to %d fits: %s\n", (int)l->sure, (int)last, l->why.p);
        fail();
    }
    model_truncate(&l->m, is);
    l->m.revision = l->found;
    l->is = is;
    l->opened = disk_changes(l->d);
}

static void note_effect(void *cookie, revision r UNUSED)
{
    *(bool *)cookie = true;
}

static void write_some(void *arg)
{
    struct life *l = arg;
    while (l->txns) {
        l->txns--;
        struct model_txn *t = NEW(struct model_txn);
        model_txn_make(&l->m, t);
        bool lazy = t->ops[0].lazy, effect = false;
        revision rev = {0};
        t->ops[0].cookie = &effect;
        t->ops[0].committing = note_effect;
        int r = store_txn(l->s, t->ops, t->n, &rev, NULL);
        assert_true(r == 0 || r == STORE_CONFLICT || (r == STORE_FULL && l->space));
        if (r == 0 && effect) {
            l->done = xrealloc(l->done, (l->n_done + 1) * sizeof(*l->done));
            l->done[l->n_done++] = (struct done){.rev = rev.n, .changes = disk_changes(l->d), .lazy = lazy};
            memcpy(&l->done[l->n_done - 1].t, t, sizeof(*t));
        }
        free(t);
        if (model_random(&l->m, 40) == 0)
            store_compact(l->s, (revision){store_revision(l->s).n - (int64_t)model_random(&l->m, 10)});
        if (model_random(&l->m, 60) == 0)
            fiber_sleep(MILLISECONDS(1));
    }
}

static void live(void *arg)
{
    struct life *l = arg;
    open_store(l);
    verify(l);
    if (!l->verify_only) {
        struct group g = {0};
        for (int i = 0; i < (int)l->writers; i++)
            group_spawn(&g, "writer", write_some, l);
        group_wait(&g, MONO_NEVER);
        fiber_sleep(MILLISECONDS(1));
    }
    assert_string_equal(store_fault(l->s), "");
    l->ended = disk_changes(l->d);
    store_close(l->s);
    if (l->close)
        l->ended = disk_changes(l->d);
}

static int by_revision(const void *a, const void *b)
{
    const struct done *x = a, *y = b;
    return (x->rev > y->rev) - (x->rev < y->rev);
}

/* One life of the store on a disk; afterwards the model holds all that was done in it. */
static void run_life(struct life *l)
{
    if (l->space)
        disk_set_space(l->d, l->space);
    disk_use(l->d);
    loop_run(live, l);
    os_use(NULL);
    if (l->n_done)
        qsort(l->done, l->n_done, sizeof(*l->done), by_revision);
    for (size_t i = 0; i < l->n_done; i++) {
        struct model_txn *t = &l->done[i].t;
        assert_true(l->done[i].rev > l->found); /* none was ever used before */
        assert_true(i == 0 || l->done[i].rev > l->done[i - 1].rev);
        for (size_t k = 0; k < t->n; k++) /* the copy's own text */
            model_add(&l->m, t->keys[k], t->ops[k].kind == STORE_PUT ? t->values[k] : NULL, l->done[i].rev);
    }
}

static void life_done(struct life *l)
{
    model_done(&l->m);
    free(l->done);
    buf_done(&l->why);
    disk_free(l->d);
}

enum { KILLED = 1000 };
static const unsigned kindnesses[] = {0, 20, 50, 80, 100, KILLED};

/* The next life, after the process was killed (kindness KILLED) or the power went behind so many changes. */
static struct life after_cut(const struct life *l, size_t changes, uint64_t seed, unsigned kindness)
{
    struct life next = {
        .d = kindness == KILLED ? disk_kill(l->d, changes, seed) : disk_cut(l->d, changes, seed, kindness),
        .m = model_copy(&l->m),
        .seen = l->seen,
        .sure = l->sure,
        .close = true,
        .space = l->space,
    };
    if (changes >= l->opened) { /* what it found was shown to others */
        next.seen = MAX(l->found, l->seen);
        next.sure = MAX(l->is, l->sure);
    }
    next.m.random = seed;
    next.began = disk_changes(next.d);
    for (size_t i = 0; i < l->n_done; i++) {
        const struct done *d = &l->done[i];
        if (d->changes > changes)
            continue;
        next.seen = MAX(next.seen, d->rev);
        if (!d->lazy)
            next.sure = MAX(next.sure, d->rev);
    }
    return next;
}

static struct life first_life(uint64_t seed, unsigned txns)
{
    struct life l = {.d = disk_new(seed),
                     .m = {.random = seed, .lazy = true},
                     .txns = txns,
                     .writers = 4,
                     .seen = 1,
                     .close = true};
    disk_set_sync_yields(l.d, (unsigned)seed % 4);
    return l;
}

/* The cut, opened; and a second cut in the middle of that opening, opened again. */
static void check_cut(const struct life *l, size_t changes, uint64_t seed)
{
    struct life next = after_cut(l, changes, seed, kindnesses[seed % 6]);
    next.verify_only = true;
    run_life(&next);
    size_t more = disk_changes(next.d) - next.began;
    if (seed % 3 == 0 || next.began) {
        struct life again =
            after_cut(&next, next.began + seed / 3 % (more + 1), seed + 1, kindnesses[seed / 5 % 5]);
        again.verify_only = true;
        run_life(&again);
        life_done(&again);
    }
    life_done(&next);
}

/* Killed, started again, written to, and then the power goes and takes all it can. */
static void check_kill(const struct life *l, size_t changes, uint64_t seed)
{
    struct life next = after_cut(l, changes, seed, KILLED);
    next.txns = 5;
    next.writers = 2;
    next.close = false;
    run_life(&next);
    struct life last = after_cut(&next, next.ended, seed, 0);
    last.verify_only = true;
    run_life(&last);
    life_done(&last);
    life_done(&next);
}

static void a_cut_after_every_change(void **state UNUSED)
{
    struct life l = first_life(3, 900);
    run_life(&l);
    assert_true(l.n_done > 400);
    size_t n = disk_changes(l.d);
    for (size_t k = 0; k <= n; k++) {
        check_cut(&l, k, 1000 + k);
        check_kill(&l, k, 1000 + k);
    }
    life_done(&l);
}

/* Life after life on the same disk, each ended by a cut at some point. */
static void many_lives(uint64_t seed, unsigned lives)
{
    struct life l = first_life(seed, 150);
    l.m.uniform = seed % 2;
    if (seed % 3 == 0) /* the disk is full most of the time */
        l.space = (4 + seed / 3 % 5) * (32 << 10);
    for (unsigned i = 0; i < lives; i++) {
        run_life(&l);
        uint64_t r = model_random(&l.m, UINT32_MAX);
        size_t n = l.ended - l.began;
        size_t at = l.began + (r % 3 ? r % (n + 1) : n - r % (MIN(n, (size_t)10) + 1));
        struct life next = after_cut(&l, at, seed * 100 + i, kindnesses[r / 3 % 6]);
        next.txns = r / 7 % 2 ? 1 + (unsigned)(r % 5) : 30 + (unsigned)(r % 150);
        next.writers = 1 + (unsigned)(r / 11 % 4);
        next.close = r % 2;
        disk_set_sync_yields(next.d, (unsigned)(r % 5));
        life_done(&l);
        l = next;
    }
    life_done(&l);
}

static void lives_ended_by_cuts(void **state UNUSED)
{
    const char *more = getenv("CUBE_TEST_SEEDS");
    const char *first = getenv("CUBE_TEST_FIRST_SEED");
    uint64_t seeds = more ? strtoull(more, NULL, 10) : 25;
    for (uint64_t seed = first ? strtoull(first, NULL, 10) : 1; seed <= seeds; seed++) {
        if (more && (first || seed % 100 == 0))
            print_message("seed %d\n", (int)seed);
        many_lives(seed, 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_after_every_change),
        cmocka_unit_test(lives_ended_by_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
