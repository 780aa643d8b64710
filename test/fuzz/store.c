/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a folder whose files hold anything at all: it works or says why, and what it opened can be used, closed and
 * opened again. The first byte of the input chooses what the rest is: a file; changes to bytes of a good file; or frames
 * with right checksums and arbitrary content behind a good beginning.
 */
#include "base/fiber.h"
#include "disk.h"
#include "store/frame.h"
#include "store/segment.h"
#include "store/store.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char file_name[] = "0000000001.log";

struct input {
    const uint8_t *p;
    size_t n;
};

static unsigned byte(struct input *in)
{
    if (!in->n)
        return 0;
    in->n--;
    return *in->p++;
}

static int try_open(struct store **ret)
{
    struct arena CLEANUP_ARENA a = {0};
    struct err e = {0};
    struct str note;
    struct store_options o = {.dir = "/s", .durable = true, .segment_bytes = 32 << 10, .history_events = 20};
    int r = store_open_log(&o, ret, &note, &a, &e);
    if (r < 0 && !e.text[0])
        panic("opening failed without a word: %d", r);
    return r;
}

static int put(struct store *s, const char *key, enum store_op_kind kind)
{
    struct store_op op = {.kind = kind, .key = str_of(key), .value = STR("value"), .expect = STORE_ANY};
    if (kind == STORE_DELETE)
        op.value = STR_NULL;
    return store_txn(s, &op, 1, NULL, NULL);
}

static int visit(void *arg, const struct store_entry *e)
{
    *(size_t *)arg += e->value.n;
    return 0;
}

static void use(struct store *s)
{
    size_t n = 0;
    const struct store_event *ev;
    revision progress;
    struct store_watch *w;
    store_range(s, STR(""), STR(""), (revision){0}, 0, visit, &n, NULL);
    if (store_watch(s, STR(""), STR(""), store_compacted(s), true, &w) == 0) {
        while (store_watch_next(w, os_mono(), &ev, &n, &progress) == 0)
            ;
        store_watch_close(w);
    }
    for (int i = 0; i < 60; i++)
        put(s, i % 2 ? "k1" : "k2", i % 5 ? STORE_PUT : STORE_DELETE);
    store_compact(s, store_revision(s));
    fiber_sleep(SECONDS(1));
}

/* A folder with a good first segment that has a few entries. */
static void make_good(void *arg)
{
    struct store *s;
    if (try_open(&s) < 0)
        panic("cannot make a store");
    for (int i = 0; i < 10; i++)
        put(s, i % 3 ? "k1" : "k3", i % 4 ? STORE_PUT : STORE_DELETE);
    store_close(s);
    (void)arg;
}

static void change_bytes(struct disk *d, struct input *in)
{
    size_t n;
    char *p = disk_bytes(d, file_name, &n);
    while (in->n) {
        size_t at = byte(in);
        at |= (size_t)byte(in) << 8;
        p[at % 2048] ^= (char)byte(in);
    }
}

static size_t make_op(struct input *in, uint32_t mark, int64_t number, char *to)
{
    static const char keys[][4] = {"k0", "k1", "k2", "k3", "", "a", "b", "c"};
    static char value[256];
    struct op op = {
        .key = str_of(keys[byte(in) % 8]),
        .value = {value, byte(in)},
        .version = byte(in) % 4,
        .sub = (uint16_t)byte(in),
        .modified = number,
        .created = byte(in),
    };
    if (byte(in) % 4 == 0)
        op.modified = byte(in);
    op_encode(to, mark, &op);
    return op_size(op.key.n, op.value.n);
}

/* Frames that check out, behind those that are there or instead of all but the first. */
static void add_frames(struct disk *d, struct input *in)
{
    size_t n;
    char *p = disk_bytes(d, file_name, &n);
    struct frame f, first = {0};
    uint32_t mark;
    memcpy(&mark, p + SEGMENT_HEADER + 4, 4);
    frame_decode(mark, p + SEGMENT_HEADER, &first);
    size_t at = SEGMENT_HEADER + frame_size(first.length);
    uint32_t prev = first.crc;
    bool keep = byte(in) % 2;
    while (keep && frame_decode(mark, p + at, &f) == 0) {
        at += frame_size(f.length);
        prev = f.crc;
    }
    while (in->n && at + 4000 < n) {
        f = (struct frame){.kind = (enum frame_kind)(1 + byte(in) % 7), .prev = prev};
        f.number = (int64_t)byte(in) << (byte(in) % 4 ? 0 : 40);
        f.durable = byte(in) << (byte(in) % 8);
        if (byte(in) % 16 == 0)
            f.number = -f.number;
        for (unsigned ops = byte(in) % 5; ops; ops--) {
            char *to = p + at + FRAME_SIZE + f.length;
            frame_add_op(&f, to, make_op(in, mark, f.number, to));
        }
        prev = frame_encode(p + at, mark, &f);
        at += frame_size(f.length);
    }
}

static void run(void *arg UNUSED)
{
    for (int i = 0; i < 2; i++) {
        struct store *s;
        int r = try_open(&s);
        if (r < 0 && i == 0)
            return;
        if (r < 0)
            panic("what could be opened once cannot be opened again: %d", r);
        use(s);
        store_close(s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    unsigned mode = byte(&in) % 3;
    struct disk *d = disk_new(1);
    disk_use(d);
    if (mode == 0) {
        disk_put_file(d, file_name, in.p, in.n);
    } else {
        loop_run(make_good, NULL);
        (mode == 1 ? change_bytes : add_frames)(d, &in);
    }
    loop_run(run, NULL);
    os_use(NULL);
    disk_free(d);
    return 0;
}
