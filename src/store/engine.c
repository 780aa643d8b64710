/* SPDX-License-Identifier: Apache-2.0 */
#include "store/engine.h"

#include "base/os.h"

#include <stdio.h>

enum {
    SEGMENT_DEFAULT = 8 << 20,
    SEGMENT_IN_MEMORY = 8 << 20,
    SEGMENT_SMALLEST = 32 << 10,
    SEGMENTS_WANTED = 1024, /* open files of a store at its largest */
    RANGE_ENTRIES = 64,     /* of a range, between two yields */
};

/* ---- the engine's common parts ------------------------------------------------------------------------ */

static void fill_defaults(struct store_options *o)
{
    if (!o->history_ns)
        o->history_ns = SECONDS(300);
    if (!o->history_events)
        o->history_events = 100000;
    if (!o->max_bytes)
        o->max_bytes = UINT64_C(8) << 30;
    if (!o->lazy_ns)
        o->lazy_ns = SECONDS(30);
    if (!o->segment_bytes) {
        o->segment_bytes = o->dir ? SEGMENT_DEFAULT : SEGMENT_IN_MEMORY;
        while (o->max_bytes / o->segment_bytes > SEGMENTS_WANTED && o->segment_bytes < 1u << 30)
            o->segment_bytes *= 2;
    }
    o->segment_bytes = MAX(o->segment_bytes, (uint32_t)SEGMENT_SMALLEST) & ~(uint32_t)(FRAME_ALIGN - 1);
}

struct engine *engine_new(const struct store_options *o)
{
    struct engine *s = NEW(struct engine);
    s->base.ops = &engine_ops;
    s->options = *o;
    fill_defaults(&s->options);
    s->files.lock = -1;
    s->files.durable = o->durable;
    s->lazy_since = MONO_NEVER;
    s->batch = (uint32_t)os_random_u64();
    list_init(&s->queue);
    list_init(&s->watches);
    return s;
}

void engine_free(struct engine *s)
{
    for (size_t i = 0; i < s->n_slots; i++)
        segment_free(s->segments[i]);
    for (int i = 0; i < SPARES; i++)
        segment_free(s->spares[i]);
    free(s->segments);
    index_done(&s->index);
    free(s->refs.ring);
    buf_done(&s->tail);
    files_done(&s->files);
    free(s);
}

void engine_start(struct engine *s)
{
    s->chores_due = true;
    group_spawn(&s->writer, "store writer", writer_main, s);
    group_spawn(&s->cleaner, "store cleaner", cleaner_main, s);
}

void engine_add_segment(struct engine *s, struct segment *seg)
{
    size_t slot = 0;
    while (slot < s->n_slots && s->segments[slot])
        slot++;
    ASSERT(slot < UINT16_MAX);
    if (slot == s->n_slots)
        s->segments = xrealloc(s->segments, ++s->n_slots * sizeof(*s->segments));
    s->segments[slot] = seg;
    seg->slot = (uint16_t)slot;
}

uint64_t engine_disk_bytes(const struct engine *s)
{
    uint64_t n = 0;
    for (int i = 0; i < SPARES; i++)
        n += s->spares[i] ? s->spares[i]->size : 0;
    for (size_t i = 0; i < s->n_slots; i++)
        n += s->segments[i] ? s->segments[i]->size : 0;
    return n;
}

int engine_fault(struct engine *s, int r, const char *what, const struct segment *seg, uint32_t at)
{
    if (s->fault.text[0])
        return r;
    return err_set(&s->fault, r, "%s %s/%010u.log at byte %u: %s", what,
                   s->files.dir ? s->files.dir : "(memory)", seg->number, at,
                   r == -EBADMSG ? "damaged" : strerror(-r));
}

int engine_read(struct engine *s, struct str key, const struct item *it, struct buf *b, struct op *ret)
{
    const struct segment *seg = s->segments[it->slot];
    size_t n = op_size(key.n, it->len);
    int r = 0;
    buf_clear(b);
    if (seg == s->active && it->off >= s->tail_at)
        buf_put(b, s->tail.p + (it->off - s->tail_at), n);
    else
        r = segment_read(seg, buf_grow(b, n), n, it->off);
    if (r == 0)
        r = op_decode(seg->mark, b->p, n, ret);
    if (r == 0 && (ret->modified != it->modified || !str_eq(ret->key, key)))
        r = -EBADMSG;
    return r < 0 ? engine_fault(s, r, "reading", seg, it->off) : 0;
}

/* ---- opening and closing ------------------------------------------------------------------------------ */

static int begin_fresh(struct engine *s)
{
    int r = segment_spare(&s->files, SPARE, s->options.segment_bytes, &s->spares[SPARE]);
    if (r < 0)
        return r;
    s->id = os_random_u64();
    s->assigned = s->committed = s->ceiling = FIRST_REVISION;
    r = writer_next_segment(s, SPARE, 1);
    if (r == 0)
        writer_spares(s, false);
    return r;
}

int store_open_memory(const struct store_options *o, struct store **ret)
{
    struct store_options mine = o ? *o : (struct store_options){0};
    mine.dir = NULL;
    struct engine *s = engine_new(&mine);
    int r = begin_fresh(s);
    if (r < 0) {
        engine_free(s);
        return r;
    }
    engine_start(s);
    *ret = &s->base;
    return 0;
}

/* The folder has no segments: a new store. */
static int open_fresh(struct engine *s, struct err *e)
{
    int r = files_sync_parent(&s->files);
    if (r == 0)
        r = begin_fresh(s);
    if (r < 0)
        return err_wrap(e, r, "cannot begin a store in %s", s->files.dir);
    return 0;
}

int store_open_log(const struct store_options *o, struct store **ret, struct str *ret_note, struct arena *a,
                   struct err *e)
{
    struct engine *s = engine_new(o);
    struct str note = STR_NULL;
    uint32_t *numbers;
    size_t n;
    int r = files_lock(&s->files, o->dir, e);
    if (r == 0) {
        r = files_list(&s->files, a, &numbers, &n);
        if (r < 0)
            err_wrap(e, r, "cannot list %s", o->dir);
    }
    if (r == 0)
        r = n ? recover(s, numbers, n, &note, a, e) : open_fresh(s, e);
    if (r < 0) {
        engine_free(s);
        return r;
    }
    engine_start(s);
    if (ret_note)
        *ret_note = note;
    *ret = &s->base;
    return 0;
}

static void engine_close(struct store *base)
{
    struct engine *s = engine_of(base);
    fiber_shield(true);
    s->closing = true;
    watch_close_all(s);
    group_stop(&s->cleaner);
    s->stop_writer = true;
    waitq_wake_all(&s->work);
    group_wait(&s->writer, MONO_NEVER);
    while (s->users)
        waitq_wait(&s->unused, MONO_NEVER);
    engine_free(s);
    fiber_shield(false);
}

/* ---- reading ------------------------------------------------------------------------------------------ */

static revision engine_revision(const struct store *base)
{
    return (revision){engine_of_const(base)->committed};
}

/* Nobody else writes here. */
static int engine_latest(struct store *base, revision *ret)
{
    *ret = engine_revision(base);
    return 0;
}

static revision engine_compacted(const struct store *base)
{
    return (revision){engine_of_const(base)->compacted};
}

static void engine_stats(const struct store *base, struct store_stats *ret)
{
    const struct engine *s = engine_of_const(base);
    *ret = (struct store_stats){
        .keys = s->index.keys,
        .bytes_disk = engine_disk_bytes(s),
        .writes = s->writes,
        .syncs = s->files.syncs,
        .watches = s->n_watches,
        .bytes_written = s->files.written,
        .bytes_index = s->index.bytes,
        .full = s->full,
    };
    for (size_t i = 0; i < s->n_slots; i++) {
        ret->segments += s->segments[i] != NULL;
        ret->bytes_live += s->segments[i] ? index_used(&s->index, (uint16_t)i) : 0;
    }
}

static const char *engine_fault_text(const struct store *base)
{
    return engine_of_const(base)->fault.text;
}

static int readable(const struct engine *s, int64_t at)
{
    if (s->closing)
        return -EPIPE;
    if (at > s->committed)
        return STORE_FUTURE;
    return at <= s->compacted && at != s->committed ? STORE_COMPACTED : 0;
}

static struct store_entry entry_of(const struct op *op)
{
    return (struct store_entry){
        .key = op->key,
        .value = op->value,
        .created = {op->created},
        .modified = {op->modified},
        .version = op->version,
    };
}

static int engine_get(struct store *base, struct str key, revision at, struct arena *a, struct store_entry *ret)
{
    struct engine *s = engine_of(base);
    if (!at.n)
        at.n = s->committed;
    int r = readable(s, at.n);
    if (r != 0)
        return r;
    const struct node *n = btree_find(&s->index.live, key);
    const struct item *it = n ? node_at(n, at.n) : NULL;
    if (!it || !it->version)
        return -ENOENT;
    struct buf CLEANUP_BUF b = {0};
    struct op op;
    r = engine_read(s, key, it, &b, &op);
    if (r < 0)
        return r;
    *ret = entry_of(&op);
    ret->key = arena_str(a, op.key);
    ret->value = arena_str(a, op.value);
    return 0;
}

/* A walk that others may come between: the tree may change whenever the visitor, or we, wait. */
struct walk {
    struct engine *s;
    struct cursor cursor;
    uint64_t changes;
    struct buf entry; /* the operation as read; its key is where we are */
    struct str key;
};

static struct node *walk_node(struct walk *w)
{
    const struct tree *t = &w->s->index.live;
    if (w->changes != t->changes) {
        w->cursor = btree_seek(t, w->key, true);
        w->changes = t->changes;
    }
    return btree_at(t, w->cursor);
}

static int walk(struct walk *w, struct str to, int64_t at, size_t limit, store_visit *fn, void *arg)
{
    struct engine *s = w->s;
    struct node *n;
    size_t seen = 0, since_yield = 0;
    while ((n = walk_node(w)) && (!to.n || str_cmp(node_key(n), to) < 0)) {
        const struct item *it = node_at(n, at);
        struct op op;
        w->cursor = btree_next(&s->index.live, w->cursor);
        if (!it || !it->version)
            continue;
        int r = engine_read(s, node_key(n), it, &w->entry, &op);
        if (r < 0)
            return r;
        w->key = op.key;
        struct store_entry entry = entry_of(&op);
        r = fn(arg, &entry);
        if (r != 0 || ++seen == limit)
            return r;
        if (++since_yield == RANGE_ENTRIES) {
            since_yield = 0;
            fiber_yield();
        }
        if (s->closing)
            return -EPIPE;
        if (at < s->compacted)
            return STORE_COMPACTED;
    }
    return 0;
}

static int engine_range(struct store *base, struct str from, struct str to, revision at, size_t limit, store_visit *fn,
                        void *arg, revision *ret_at)
{
    struct engine *s = engine_of(base);
    if (!at.n)
        at.n = s->committed;
    int r = readable(s, at.n);
    if (r != 0)
        return r;
    struct walk w = {
        .s = s, .cursor = btree_seek(&s->index.live, from, false), .changes = s->index.live.changes};
    s->users++;
    r = walk(&w, to, at.n, limit, fn, arg);
    buf_done(&w.entry);
    if (--s->users == 0)
        waitq_wake_all(&s->unused);
    if (r >= 0 && r != STORE_COMPACTED && ret_at)
        *ret_at = at;
    return r;
}

/* ---- writing ------------------------------------------------------------------------------------------ */

static bool key_twice(const struct store_op *ops, size_t n)
{
    for (size_t i = 1; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (str_eq(ops[i].key, ops[k].key))
                return true;
    return false;
}

/* The request for a transaction: 0, -EINVAL or -E2BIG. */
static int txn_request(const struct engine *s, const struct store_op *ops, size_t n, struct request *ret)
{
    if (!n || key_twice(ops, MIN(n, (size_t)STORE_OPS_MAX)))
        return -EINVAL;
    struct request r = {.kind = REQUEST_TXN, .ops = ops, .n = n, .lazy = true};
    size_t bytes = 0, most = s->options.segment_bytes / 2;
    for (size_t i = 0; i < n; i++) {
        if (!ops[i].key.n)
            return -EINVAL;
        if (ops[i].key.n > STORE_KEY_MAX || ops[i].value.n > most)
            return -E2BIG;
        bytes += op_size(ops[i].key.n, ops[i].value.n);
        if (bytes > most || i == STORE_OPS_MAX)
            return -E2BIG;
        r.lazy &= ops[i].lazy;
        r.puts |= ops[i].kind == STORE_PUT;
    }
    r.bytes = frame_size(bytes);
    *ret = r;
    return 0;
}

static int engine_txn(struct store *base, const struct store_op *ops, size_t n, revision *ret_rev, size_t *ret_conflict)
{
    struct engine *s = engine_of(base);
    struct request req;
    int r = txn_request(s, ops, n, &req);
    if (r == 0)
        r = request_run(s, &req);
    if (r == 0 && ret_rev)
        *ret_rev = (revision){req.revision};
    if (r == STORE_CONFLICT && ret_conflict)
        *ret_conflict = req.conflict;
    return r;
}

static int engine_compact(struct store *base, revision upto)
{
    struct engine *s = engine_of(base);
    if (s->closing)
        return -EPIPE;
    if (upto.n > s->committed)
        return STORE_FUTURE;
    if (upto.n <= s->compacted)
        return STORE_COMPACTED;
    cleaner_forget(s, upto.n);
    return 0;
}

const struct store_ops engine_ops = {
    .close = engine_close,
    .revision = engine_revision,
    .latest = engine_latest,
    .compacted = engine_compacted,
    .stats = engine_stats,
    .fault = engine_fault_text,
    .ops_max = STORE_OPS_MAX,
    .get = engine_get,
    .range = engine_range,
    .txn = engine_txn,
    .watch = engine_watch,
    .watch_next = engine_watch_next,
    .watch_close = engine_watch_close,
    .compact = engine_compact,
};
