/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill -9 of a real process with a real disk. A child writes under load and tells its parent through a pipe
 * what was acknowledged; the parent kills it at a random moment, starts another, and the child checks first
 * that everything the parent heard of is there. CUBE_TEST_KILLS sets the number of rounds (20).
 */
#include "../testing.h"

#include "store/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WRITERS = 8, KEYS = 64 };

/* Word of one operation: when it is begun (revision 0) and when it is acknowledged. Operations on a key are
 * numbered. */
struct said {
    int64_t revision;
    uint32_t key, number;
    bool lazy, deleted;
};
/* What the parent has heard. */
struct known {
    int64_t seen;            /* highest revision */
    uint32_t sure[KEYS];     /* last durable operation acknowledged */
    uint32_t begun[KEYS];    /* last operation begun */
    uint32_t deletion[KEYS]; /* last deletion begun */
};

struct child {
    const char *dir;
    const struct known *known;
    int out;
    unsigned seed;
    struct store *s;
    uint32_t next[KEYS];
};

static struct child the;

static void complain(const char *what, int a, int b)
{
    fprintf(stderr, "child: %s: %d %d\n", what, a, b);
    _exit(1);
}

static void say(struct said w)
{
    if (write(the.out, &w, sizeof(w)) != sizeof(w))
        _exit(2);
}

static struct str key_text(char *b, size_t n, uint32_t key)
{
    return str_n(b, (size_t)snprintf(b, n, "/registry/things/%02u", key));
}

/* Each writer has keys of its own, so that what it says of them is in order. */
static void write_on(void *arg)
{
    uint32_t mine = (uint32_t)(intptr_t)arg;
    unsigned random = the.seed + mine;
    for (;;) {
        random = random * 1103515245 + 12345;
        uint32_t key = mine + WRITERS * ((random >> 16) % (KEYS / WRITERS));
        char k[64], v[4100];
        struct said word = {.key = key,
                            .number = ++the.next[key],
                            .lazy = random >> 20 & 1,
                            .deleted = (random >> 21 & 7) == 0};
        int n = snprintf(v, sizeof(v), "%u %*s", word.number, (int)(random >> 18 & 0x7ff) + 1, "x");
        struct store_op op = {
            .kind = word.deleted ? STORE_DELETE : STORE_PUT,
            .key = key_text(k, sizeof(k), key),
            .value = word.deleted ? STR_NULL : str_n(v, (size_t)n),
            .expect = STORE_ANY,
            .lazy = word.lazy,
        };
        say(word);
        revision rev;
        int r = store_txn(the.s, &op, 1, &rev, NULL);
        if (r)
            complain("a transaction failed", r, 0);
        word.revision = rev.n;
        say(word);
    }
}

/* Later operations than the last sure one may be there; it, or what came before it, must not be missing. */
static void check_key(uint32_t key)
{
    struct arena CLEANUP_ARENA a = {0};
    struct store_entry e;
    struct str first, rest;
    char k[64];
    int64_t number;
    const struct known *known = the.known;
    int r = store_get(the.s, key_text(k, sizeof(k), key), (revision){0}, &a, &e);
    if (r == -ENOENT) {
        if (known->sure[key] > known->deletion[key])
            complain("an acknowledged write is gone", (int)key, (int)known->sure[key]);
        return;
    }
    if (r)
        complain("cannot read", (int)key, r);
    str_cut(e.value, ' ', &first, &rest);
    if (str_to_i64(first, &number) < 0 || number > known->begun[key])
        complain("not what was written", (int)key, (int)number);
    if (number < known->sure[key])
        complain("an acknowledged write is gone", (int)known->sure[key], (int)number);
}

static void child_main(void *arg UNUSED)
{
    struct arena CLEANUP_ARENA a = {0};
    struct err e = {0};
    struct str note = STR_NULL;
    struct store_options o = {.dir = the.dir,
                              .durable = true,
                              .segment_bytes = 256 << 10,
                              .history_events = 200,
                              .lazy_ns = MILLISECONDS(5)};
    int r = store_open_log(&o, &the.s, &note, &a, &e);
    if (r) {
        fprintf(stderr, "child: %s\n", err_text(&e, r));
        _exit(1);
    }
    if (store_revision(the.s).n < the.known->seen)
        complain("the revision went back", (int)the.known->seen, (int)store_revision(the.s).n);
    for (uint32_t key = 0; key < KEYS; key++) {
        the.next[key] = the.known->begun[key];
        check_key(key);
    }
    say((struct said){0}); /* ready */
    for (intptr_t i = 0; i < WRITERS; i++)
        fiber_spawn("writer", write_on, (void *)i);
    fiber_sleep(SECONDS(60));
}

/* ---- the parent --------------------------------------------------------------------------------------- */

static pid_t start_child(const char *dir, const struct known *known, unsigned seed, int *ret_in)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(fds[0]);
        the = (struct child){.dir = dir, .known = known, .out = fds[1], .seed = seed};
        loop_run(child_main, NULL);
        _exit(3);
    }
    close(fds[1]);
    *ret_in = fds[0];
    return pid;
}

static bool hear(int in, struct said *w)
{
    size_t have = 0;
    while (have < sizeof(*w)) {
        ssize_t r = read(in, (char *)w + have, sizeof(*w) - have);
        if (r <= 0)
            return false;
        have += (size_t)r;
    }
    return true;
}

static void learn(struct known *known, const struct said *w)
{
    known->seen = MAX(known->seen, w->revision);
    known->begun[w->key] = MAX(known->begun[w->key], w->number);
    if (w->deleted)
        known->deletion[w->key] = MAX(known->deletion[w->key], w->number);
    if (w->revision && !w->lazy)
        known->sure[w->key] = MAX(known->sure[w->key], w->number);
}

static void sleep_us(long us)
{
    nanosleep(&(struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000}, NULL);
}

static size_t one_round(const char *dir, struct known *known, unsigned seed)
{
    int in, status;
    size_t heard = 0;
    struct said w;
    pid_t pid = start_child(dir, known, seed, &in);
    bool ready = hear(in, &w);
    /* Mostly in the middle of work, sometimes while it is still opening or just open. */
    if (ready)
        sleep_us(seed % 7 ? (long)(seed * 7919 % 60000) : 0);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    while (hear(in, &w)) {
        learn(known, &w);
        heard += w.revision != 0;
    }
    close(in);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* it did not complain by itself */
    assert_true(ready);
    return heard;
}

/* A child killed before it has said that it is ready: recovery itself is interrupted. */
static void kill_while_opening(const char *dir, struct known *known, unsigned seed)
{
    int in, status;
    pid_t pid = start_child(dir, known, seed, &in);
    sleep_us((long)(seed * 104729 % 4000));
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    struct said w;
    while (hear(in, &w))
        learn(known, &w);
    close(in);
    assert_true(WIFSIGNALED(status));
}

static void remove_dir(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[600];
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        unlink(path);
    }
    if (d)
        closedir(d);
    rmdir(dir);
}

static void killed_under_load(void **state UNUSED)
{
    char dir[] = "/tmp/cube-kill-XXXXXX";
    assert_non_null(mkdtemp(dir));
    const char *more = getenv("CUBE_TEST_KILLS");
    unsigned rounds = more ? (unsigned)atoi(more) : 20;
    struct known known = {0};
    size_t heard = 0;
    for (unsigned i = 1; i <= rounds; i++) {
        heard += one_round(dir, &known, i);
        if (i % 3 == 0)
            kill_while_opening(dir, &known, i);
    }
    print_message("%u kills, %zu acknowledged writes, revision %lld\n", rounds, heard, (long long)known.seen);
    assert_true(heard > rounds * 10);
    remove_dir(dir);
}

/* ---- one process at a time ---------------------------------------------------------------------------- */

static void open_twice(void *arg)
{
    struct arena CLEANUP_ARENA a = {0};
    struct err e = {0};
    struct store *s, *second;
    struct store_options o = {.dir = arg, .durable = true, .segment_bytes = 64 << 10};
    assert_int_equal(store_open_log(&o, &s, NULL, &a, &e), 0);
    assert_int_equal(store_open_log(&o, &second, NULL, &a, &e), -EWOULDBLOCK);
    assert_non_null(strstr(e.text, "in use by another process"));
    assert_non_null(strstr(e.text, arg));
    struct store_op op = {.kind = STORE_PUT, .key = STR("a"), .value = STR("1"), .expect = STORE_ANY};
    assert_int_equal(store_txn(s, &op, 1, NULL, NULL), 0);
    store_close(s);
    assert_int_equal(store_open_log(&o, &s, NULL, &a, &e), 0);
    assert_int_equal(store_revision(s).n, 2);
    store_close(s);
}

static void one_process_at_a_time(void **state UNUSED)
{
    char dir[] = "/tmp/cube-lock-XXXXXX";
    assert_non_null(mkdtemp(dir));
    loop_run(open_twice, dir);
    remove_dir(dir);
}

/* A loop that ends without store_close() leaves everything on disk as well. */
static void leave_open(void *arg)
{
    struct arena CLEANUP_ARENA a = {0};
    struct err e = {0};
    struct store *s;
    struct store_options o = {
        .dir = arg, .durable = true, .segment_bytes = 64 << 10, .history_ns = SECONDS(1)};
    assert_int_equal(store_open_log(&o, &s, NULL, &a, &e), 0);
    for (int i = 0; i < 10; i++) {
        struct store_op op = {
            .kind = STORE_PUT, .key = STR("a"), .value = STR("1"), .expect = STORE_ANY, .lazy = true};
        assert_int_equal(store_txn(s, &op, 1, NULL, NULL), 0);
    }
}

static void check_left(void *arg)
{
    struct arena CLEANUP_ARENA a = {0};
    struct store_entry entry;
    struct err e = {0};
    struct store *s;
    struct store_options o = {.dir = arg, .durable = true};
    assert_int_equal(store_open_log(&o, &s, NULL, &a, &e), 0);
    assert_int_equal(store_revision(s).n, 11);
    assert_int_equal(store_get(s, STR("a"), (revision){0}, &a, &entry), 0);
    assert_int_equal(entry.version, 10);
    store_close(s);
}

static void a_loop_that_just_ends(void **state UNUSED)
{
    char dir[] = "/tmp/cube-left-XXXXXX";
    assert_non_null(mkdtemp(dir));
    pid_t pid = fork(); /* the lock goes with the process */
    if (pid == 0) {
        loop_run(leave_open, dir);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    loop_run(check_left, dir);
    remove_dir(dir);
}

static void refuse_a_file(void *arg)
{
    struct arena CLEANUP_ARENA a = {0};
    struct err e = {0};
    struct store *s;
    struct store_options o = {.dir = arg, .durable = true};
    assert_true(store_open_log(&o, &s, NULL, &a, &e) < 0);
    assert_non_null(strstr(e.text, arg));
}

static void a_folder_that_cannot_be(void **state UNUSED)
{
    char dir[] = "/dev/null/store";
    loop_run(refuse_a_file, dir);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_under_load),
        cmocka_unit_test(a_loop_that_just_ends), /* forks: before this process has helper threads */
        cmocka_unit_test(one_process_at_a_time),
        cmocka_unit_test(a_folder_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
