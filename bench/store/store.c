/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store costs, beside what others cost for the same in the same run: durable puts at three depths,
 * opening with many keys, memory for a key, ranges, watches. Usage: bench_store [passes] [keys]
 */
#include "base/fiber.h"
#include "base/os.h"
#include "store/store.h"
#include "peers.h"

#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { VALUE = 600, PORT = 42379, ROUNDS = 400 };

static const int depths[] = {1, 16, 64};
static char value_bytes[VALUE];
static char top[64] = "/var/tmp/cube-bench-XXXXXX";

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void bench_key(char *ret, unsigned number)
{
    snprintf(ret, 64, "/registry/pods/namespace-%02u/deployment-%08x", number % 20, number * 2654435761u);
}

static size_t resident(void)
{
    struct arena CLEANUP_ARENA a = {0};
    struct str text, size, pages;
    int64_t n = 0;
    if (os_read_file(&a, "/proc/self/statm", 1000, &text) == 0) {
        str_cut(text, ' ', &size, &text);
        str_cut(text, ' ', &pages, &text);
        str_to_i64(pages, &n);
    }
    return (size_t)n * 4096;
}

static void fresh_dir(char *ret, const char *name)
{
    static int n;
    snprintf(ret, 100, "%s/%s%d", top, name, n++);
    os_mkdir(ret, 0700);
}

static struct store *open_store(const char *dir, bool durable)
{
    struct arena CLEANUP_ARENA a = {0};
    struct err e = {0};
    struct store *s = NULL;
    struct store_options o = {.dir = dir, .durable = durable};
    if (store_open_log(&o, &s, NULL, &a, &e) < 0) {
        fprintf(stderr, "%s\n", err_text(&e, -1));
        exit(1);
    }
    return s;
}

/* ---- puts --------------------------------------------------------------------------------------------- */

struct load {
    struct store *s;
    int next, total;
    double worst;
};

static void put_one(struct store *s, unsigned number)
{
    char key[64];
    bench_key(key, number);
    struct store_op op = {
        .kind = STORE_PUT, .key = str_of(key), .value = {value_bytes, VALUE}, .expect = STORE_ANY};
    if (store_txn(s, &op, 1, NULL, NULL) != 0)
        exit(1);
}

static void put_many(void *arg)
{
    struct load *l = arg;
    while (l->next < l->total) {
        double start = bench_now();
        put_one(l->s, (unsigned)l->next++);
        l->worst = MAX(l->worst, bench_now() - start);
    }
}

static double store_puts(int depth, int total, double *ret_worst, struct store_stats *ret)
{
    char dir[100];
    fresh_dir(dir, "store");
    struct load l = {.s = open_store(dir, true), .total = total};
    struct group g = {0};
    double start = bench_now();
    for (int i = 0; i < depth; i++)
        group_spawn(&g, "putter", put_many, &l);
    group_wait(&g, MONO_NEVER);
    double rate = total / (bench_now() - start);
    store_stats(l.s, ret);
    store_close(l.s);
    *ret_worst = l.worst;
    return rate;
}

static void bench_puts(int passes)
{
    char dir[100];
    fresh_dir(dir, "etcd");
    int etcd = etcd_start(dir, PORT);
    printf("Durable puts a second (%d-byte values), by number in flight\n", VALUE);
    printf("%-10s %12s %12s %12s %12s %14s %14s\n", "in flight", "cube store", "LMDB", "etcd", "bare file",
           "bytes a put", "worst, ms");
    for (int pass = 0; pass < passes; pass++)
        for (size_t i = 0; i < ARRAY_SIZE(depths); i++) {
            int depth = depths[i], total = ROUNDS * (depth == 1 ? 5 : depth * 4);
            double worst;
            struct store_stats st;
            double ours = store_puts(depth, total, &worst, &st);
            fresh_dir(dir, "lmdb");
            double lmdb = lmdb_puts(dir, total, depth, VALUE);
            double theirs = etcd > 0 ? etcd_puts(PORT, total / 2, depth, VALUE) : -1;
            double bare = raw_puts(top, total, depth, VALUE);
            printf("%-10d %12.0f %12.0f %12.0f %12.0f %14.0f %14.1f\n", depth, ours, lmdb, theirs, bare,
                   (double)st.bytes_written / (double)st.writes, worst * 1000);
            fflush(stdout);
        }
    if (etcd > 0)
        etcd_stop(etcd);
}

/* ---- many keys ---------------------------------------------------------------------------------------- */

static int count(void *arg, const struct store_entry *e)
{
    *(size_t *)arg += e->value.n != 0;
    return 0;
}

/* In a process of its own, so that the next one's memory is that of the open store alone. */
static void fill(const char *dir, int keys)
{
    struct load l = {.s = open_store(dir, false), .total = keys};
    struct group g = {0};
    double start = bench_now();
    for (int i = 0; i < 64; i++)
        group_spawn(&g, "putter", put_many, &l);
    group_wait(&g, MONO_NEVER);
    printf("\n%d keys of 54 bytes: put without syncs at %.0f a second\n", keys, keys / (bench_now() - start));
    store_close(l.s);
}

static void bench_open(const char *dir, int keys)
{
    struct store_stats st;
    size_t before = resident();
    double start = bench_now();
    struct store *s = open_store(dir, true);
    double took = bench_now() - start;
    store_stats(s, &st);
    printf("opened in %.2f s; %.0f bytes of memory a key; %.0f MB of disk\n", took,
           (double)(resident() - before) / keys, (double)st.bytes_disk / 1e6);
    size_t n = 0;
    start = bench_now();
    store_range(s, STR(""), STR(""), (revision){0}, 0, count, &n, NULL);
    double rate = (double)n / (bench_now() - start);
    char lmdb_dir[100];
    fresh_dir(lmdb_dir, "lmdb");
    printf("range over all, values read and checked: %.0f rows a second (LMDB, values mapped: %.0f)\n", rate,
           lmdb_open_and_count(lmdb_dir, (size_t)MIN(keys, 200000)));
    struct arena CLEANUP_ARENA a = {0};
    start = bench_now();
    for (unsigned i = 0; i < 200000; i++) {
        char key[64];
        struct store_entry e;
        bench_key(key, i * 7919u % (unsigned)keys);
        store_get(s, str_of(key), (revision){0}, &a, &e);
        arena_reset(&a);
    }
    printf("gets of single keys: %.0f a second\n", 200000 / (bench_now() - start));
    store_close(s);
}

/* ---- watches ------------------------------------------------------------------------------------------ */

struct watcher {
    struct store_watch *w;
    size_t want;
};

static void watch_all(void *arg)
{
    struct watcher *w = arg;
    const struct store_event *ev;
    size_t n;
    revision progress;
    while (w->want && store_watch_next(w->w, MONO_NEVER, &ev, &n, &progress) == 0)
        w->want -= n;
}

static void bench_watches(int watchers)
{
    enum { EVENTS = 20000 };
    struct store *s;
    struct store_options o = {.history_events = 2 * EVENTS};
    if (store_open_memory(&o, &s) < 0)
        return;
    struct watcher w[100];
    struct group g = {0}, putters = {0};
    for (int i = 0; i < watchers; i++) {
        w[i] = (struct watcher){.want = EVENTS};
        store_watch(s, STR("/registry/"), STR("/registry0"), (revision){0}, false, &w[i].w);
        group_spawn(&g, "watcher", watch_all, &w[i]);
    }
    struct load l = {.s = s, .total = EVENTS};
    double start = bench_now();
    for (int i = 0; i < 64; i++)
        group_spawn(&putters, "putter", put_many, &l);
    group_wait(&putters, MONO_NEVER);
    group_wait(&g, MONO_NEVER);
    double took = bench_now() - start;
    printf("%3d watches: %.0f puts a second, %.0f events a second delivered\n", watchers, EVENTS / took,
           EVENTS * (double)watchers / took);
    for (int i = 0; i < watchers; i++)
        store_watch_close(w[i].w);
    store_close(s);
}

/* Renewing leases of ten nodes: what an idle cluster writes. */
static void bench_idle(void)
{
    char dir[100];
    fresh_dir(dir, "idle");
    struct arena CLEANUP_ARENA a = {0};
    struct err e = {0};
    struct store *s;
    struct store_stats before, after;
    struct store_options o = {
        .dir = dir, .durable = true, .lazy_ns = MILLISECONDS(300)}; /* a hundredth of the default */
    if (store_open_log(&o, &s, NULL, &a, &e) < 0)
        return;
    store_stats(s, &before);
    for (int i = 0; i < 300; i++) {
        struct store_op op = {.kind = STORE_PUT,
                              .key = STR("/registry/leases/kube-node-lease/node"),
                              .value = {value_bytes, 350},
                              .expect = STORE_ANY,
                              .lazy = true};
        store_txn(s, &op, 1, NULL, NULL);
        if (i % 10 == 9)
            fiber_sleep(MILLISECONDS(100)); /* ten nodes, every 10 s, a hundred times as fast */
    }
    store_stats(s, &after);
    printf("leases of ten nodes for 5 minutes (a hundred times as fast): %.1f KB written in %d syncs\n",
           (double)(after.bytes_written - before.bytes_written) / 1000, (int)(after.syncs - before.syncs));
    store_close(s);
}

/* ---- phases, each in a process of its own ------------------------------------------------------------- */

static struct {
    int passes, keys;
    char dir[100];
} the;

static void phase_puts(void *arg UNUSED)
{
    bench_puts(the.passes);
}

static void phase_fill(void *arg UNUSED)
{
    fill(the.dir, the.keys);
}

static void phase_open(void *arg UNUSED)
{
    bench_open(the.dir, the.keys);
}

static void phase_rest(void *arg UNUSED)
{
    bench_idle();
    bench_watches(1);
    bench_watches(10);
    bench_watches(100);
}

static int run_phase(fiber_fn *fn)
{
    int status = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        loop_run(fn, NULL);
        fflush(stdout);
        _exit(0);
    }
    return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static fiber_fn *const phases[] = {phase_puts, phase_fill, phase_open, phase_rest};
    the.passes = argc > 1 ? atoi(argv[1]) : 3;
    the.keys = argc > 2 ? atoi(argv[2]) : 1000000;
    if (!mkdtemp(top)) {
        perror(top);
        return 1;
    }
    fresh_dir(the.dir, "keys");
    int r = 0;
    for (size_t i = 0; i < ARRAY_SIZE(phases); i++)
        r |= run_phase(phases[i]);
    char command[100];
    snprintf(command, sizeof(command), "rm -rf %s", top);
    return system(command) != 0 || r;
}
