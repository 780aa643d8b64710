/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cleaner. Forgets old revisions by age and number, empties the segments that hold most garbage by
 * copying what is still needed to the log's end, and sees to it that there is a spare, so that a full disk
 * refuses puts while deletes, and the cleaning that follows from them, still have room. Everything goes
 * through the writer in slices of bounded size. What a crash interrupts is simply done again: nothing is
 * removed before the log durably says so.
 */
#include "base/os.h"
#include "store/engine.h"

enum {
    FORGET_SLICE = 500, /* refs between two yields */
    MOVE_SLICE = 256 << 10,
    MOVE_OPS = 4096,
    MOVE_PAUSE_US = 500, /* between slices, for others */
    FULL_RETRY_S = 1,
};

void cleaner_wake(struct engine *s)
{
    s->chores_due = true;
    waitq_wake_one(&s->chores);
}

/* ---- forgetting --------------------------------------------------------------------------------------- */

void cleaner_forget(struct engine *s, int64_t upto)
{
    upto = MIN(upto, s->committed);
    if (upto <= s->compacted)
        return;
    s->compacted = upto;
    cleaner_wake(s);
}

/* Drops versions that compaction has put out of reach. Returns whether more is left. */
static bool forget_slice(struct engine *s)
{
    struct refs *refs = &s->refs;
    for (int i = 0; i < FORGET_SLICE; i++) {
        if (refs->head == s->published || ref_at(refs, refs->head)->revision > s->compacted)
            return false;
        /* Not further than this event: those that follow need their node. */
        const struct ref *ref = ref_at(refs, refs->head++);
        s->forgotten = ref->revision;
        index_prune(&s->index, ref->node, ref->revision);
    }
    return true;
}

static void forget_by_number(struct engine *s)
{
    uint64_t keep = (uint64_t)s->options.history_events;
    if (s->published - s->refs.head > keep)
        cleaner_forget(s, ref_at(&s->refs, s->published - keep - 1)->revision);
}

/* Remembers how far history has come, and forgets what had come about history_ns ago. */
static void forget_by_age(struct engine *s, struct mono now)
{
    size_t old = 0;
    while (old < s->n_marks && mono_add(s->marks[old].at, s->options.history_ns).ns <= now.ns)
        old++;
    if (old) {
        cleaner_forget(s, s->marks[old - 1].revision);
        s->n_marks -= old;
        memmove(s->marks, s->marks + old, s->n_marks * sizeof(s->marks[0]));
    }
    const struct mark *last = s->n_marks ? &s->marks[s->n_marks - 1] : NULL;
    int64_t known = last ? last->revision : s->compacted;
    bool time = !last || now.ns - last->at.ns >= s->options.history_ns / (MARKS - 2);
    if (time && s->committed > known && s->n_marks < MARKS)
        s->marks[s->n_marks++] = (struct mark){now, s->committed};
}

static struct mono next_chore(const struct engine *s, struct mono now)
{
    int64_t in = INT64_MAX;
    if (s->n_marks)
        in = MIN(s->options.history_ns / (MARKS - 2),
                 mono_add(s->marks[0].at, s->options.history_ns).ns - now.ns);
    if (s->full && !s->broken)
        in = MIN(in, SECONDS(FULL_RETRY_S));
    return mono_add(now, in);
}

/* ---- emptying a segment ------------------------------------------------------------------------------- */

static uint64_t garbage_of(const struct engine *s, const struct segment *seg)
{
    return seg->end - MIN((uint64_t)seg->end, index_used(&s->index, seg->slot));
}

static bool may_empty(const struct engine *s, const struct segment *seg)
{
    return seg && seg != s->active && !seg->damaged;
}

/* The segment with most garbage, if it is time to clean: no more than half of the disk space is garbage, or
 * next to none when the disk is full. */
static struct segment *choose_segment(const struct engine *s)
{
    struct segment *best = NULL;
    uint64_t garbage = 0, used = 0;
    for (size_t i = 0; i < s->n_slots; i++) {
        struct segment *seg = s->segments[i];
        if (!may_empty(s, seg))
            continue;
        if (seg->gc_at)
            return seg; /* begun */
        garbage += garbage_of(s, seg);
        used += index_used(&s->index, seg->slot);
        if (!best || garbage_of(s, seg) > garbage_of(s, best))
            best = seg;
    }
    if (!best || !index_used(&s->index, best->slot))
        return best;
    uint64_t size = s->options.segment_bytes;
    uint64_t allowed = s->full ? size / 2 : MAX(used, 2 * size), worth = s->full ? 2 * DELETE_ROOM : 0;
    return garbage < allowed || garbage_of(s, best) < worth ? NULL : best;
}

/* A slice of a segment: copies of its operations, so that the window they were read into may go. */
struct slice {
    struct arena arena;
    struct moving *moving;
    size_t n, cap, bytes;
};

/* Of what nobody needs only the key matters: its copy is about to go (index_forget_copy). */
static void slice_add(struct slice *sl, const struct op *op, uint32_t off, bool needed)
{
    if (sl->n == sl->cap) {
        sl->cap = MAX(sl->cap * 2, (size_t)64);
        sl->moving = xrealloc(sl->moving, sl->cap * sizeof(*sl->moving));
    }
    struct moving *m = &sl->moving[sl->n++];
    *m = (struct moving){.op = *op, .off = off, .keyed = !needed};
    m->op.key = arena_str(&sl->arena, op->key);
    m->op.value = needed ? arena_str(&sl->arena, op->value) : STR_NULL;
    sl->bytes += op_size(op->key.n, m->op.value.n);
}

static void slice_frame(struct engine *s, struct slice *sl, struct segment *seg, const struct frame *f,
                        const char *body, uint32_t at)
{
    uint32_t off = at + FRAME_SIZE;
    for (unsigned i = 0; i < f->n_ops; i++) {
        struct op op;
        if (op_decode(seg->mark, body, seg->size, &op) < 0)
            return; /* checked before */
        size_t size = op_size(op.key.n, op.value.n);
        slice_add(sl, &op, off, index_needs(&s->index, op.key, op.modified, seg->slot, off));
        body += size;
        off += (uint32_t)size;
    }
}

/* Fills a slice; *ret_end: the segment has no more. */
static int slice_read(struct engine *s, struct slice *sl, struct scan *c, struct segment *seg, bool *ret_end)
{
    size_t enough = MIN((uint32_t)MOVE_SLICE, s->options.segment_bytes / 8);
    while (sl->bytes < enough && sl->n < MOVE_OPS) {
        struct frame f;
        const char *body;
        uint32_t at;
        int r = scan_next(c, &f, &body, &at);
        if (r == SCAN_END || (r == 0 && f.kind == FRAME_SEAL)) {
            *ret_end = true;
            return 0;
        }
        if (r < 0)
            return r;
        if (f.kind == FRAME_TXN || f.kind == FRAME_MOVE)
            slice_frame(s, sl, seg, &f, body, at);
    }
    return 0;
}

static void slice_clear(struct slice *sl)
{
    arena_reset(&sl->arena);
    sl->n = sl->bytes = 0;
}

static int slice_move(struct engine *s, struct slice *sl, struct segment *seg)
{
    if (!sl->n)
        return 0;
    struct request r = {
        .kind = REQUEST_MOVE,
        .moving = sl->moving,
        .from = seg,
        .n = sl->n,
        .bytes = frame_size(sl->bytes),
    };
    return request_run(s, &r);
}

/* The segment is empty: the log says so, then the file goes. */
static int drop_segment(struct engine *s, struct segment *seg)
{
    if (index_used(&s->index, seg->slot)) {
        /* It was read whole, yet something in it is still needed: never throw that away. */
        seg->damaged = true;
        s->emptying = NULL;
        return engine_fault(s, -EBADMSG, "cleaning", seg, seg->end);
    }
    struct request r = {.kind = REQUEST_DROP, .from = seg, .bytes = frame_size(0)};
    int result = request_run(s, &r);
    if (result != 0)
        return result;
    s->segments[seg->slot] = NULL;
    s->emptying = NULL;
    enum spare_name name = !s->spares[RESERVE] ? RESERVE : !s->spares[SPARE] ? SPARE : SPARES;
    struct segment *spare =
        segment_retire(&s->files, seg, seg->size == s->options.segment_bytes ? name : SPARES);
    if (spare)
        s->spares[name] = spare;
    writer_spares(s, false);
    return 0;
}

/* Goes on where the last attempt ended: each operation's copy is counted once. */
static int empty_segment(struct engine *s, struct segment *seg, struct slice *sl)
{
    struct scan CLEANUP(scan_done) c = {.segment = seg, .at = seg->gc_at, .prev = seg->gc_prev};
    if (!seg->gc_at)
        c.at = seg->gc_at = SEGMENT_HEADER;
    s->emptying = seg;
    bool end = false;
    while (!end) {
        slice_clear(sl);
        int r = slice_read(s, sl, &c, seg, &end);
        if (r < 0) {
            seg->damaged = true;
            s->emptying = NULL;
            return engine_fault(s, r, "cleaning", seg, c.at);
        }
        r = slice_move(s, sl, seg);
        if (r != 0)
            return r;
        seg->gc_at = c.at;
        seg->gc_prev = c.prev;
        r = fiber_sleep(MOVE_PAUSE_US * NSEC_PER_USEC);
        if (r < 0)
            return r;
    }
    return drop_segment(s, seg);
}

static int clean(struct engine *s)
{
    struct slice sl = {0};
    struct segment *seg;
    int r = 0;
    while (r == 0 && !s->closing && !s->broken && (seg = choose_segment(s)))
        r = empty_segment(s, seg, &sl);
    arena_done(&sl.arena);
    free(sl.moving);
    return r;
}

/* ---- the fiber ---------------------------------------------------------------------------------------- */

/* Without a spare puts are refused: give up all history for room, and look for a spare now and then. */
static void make_room(struct engine *s)
{
    writer_spares(s, false);
    if (s->full)
        cleaner_forget(s, s->committed);
}

void cleaner_main(void *arg)
{
    struct engine *s = arg;
    while (!s->closing) {
        if (!s->chores_due) {
            int r = waitq_wait(&s->chores, next_chore(s, os_mono()));
            if (r == -ECANCELED)
                return;
        }
        s->chores_due = false;
        forget_by_age(s, os_mono());
        forget_by_number(s);
        if (s->full && !s->broken)
            make_room(s);
        while (!s->closing && forget_slice(s))
            fiber_yield();
        if (clean(s) != 0 && fiber_sleep(SECONDS(FULL_RETRY_S)) < 0)
            return;
    }
}
