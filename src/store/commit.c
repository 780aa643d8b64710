/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer. One fiber takes what waits, applies it to the index under revisions nobody can see yet, encodes
 * it behind the log's end, and makes the whole group durable with one write and one sync, while the next
 * group gathers. Then, and only then, the revisions become visible, watches hear of them and the callers get
 * their answers. Lazy transactions skip the sync as long as their revisions lie below the durable ceiling.
 */
#include "base/os.h"
#include "store/engine.h"

/* What must be put back when a group cannot be written. */
struct batch {
    struct list taken;
    uint32_t start, prev;
    uint64_t refs;
    int64_t compacted_logged, ceiling;
    size_t n_frames;
    bool durable; /* somebody waits for the disk */
};

/* ---- frames behind the log's end ---------------------------------------------------------------------- */

static void frame_begin(struct engine *s, struct frame *f, enum frame_kind kind, int64_t number)
{
    *f = (struct frame){
        .kind = kind, .number = number, .prev = s->active->prev, .durable = s->durable, .batch = s->batch};
    buf_grow(&s->tail, FRAME_SIZE);
    s->tail.n += FRAME_SIZE;
}

/* Returns the place of the operation in the segment. */
static uint32_t frame_op(struct engine *s, struct frame *f, const struct op *op)
{
    size_t size = op_size(op->key.n, op->value.n);
    char *to = buf_grow(&s->tail, size);
    op_encode(to, s->active->mark, op);
    frame_add_op(f, to, size);
    uint32_t off = s->tail_at + (uint32_t)s->tail.n;
    s->tail.n += size;
    return off;
}

static void frame_end(struct engine *s, struct batch *b, const struct frame *f)
{
    static const char zeros[FRAME_ALIGN];
    buf_put(&s->tail, zeros, frame_size(f->length) - FRAME_SIZE - f->length);
    s->active->prev = frame_encode(s->tail.p + s->tail.n - frame_size(f->length), s->active->mark, f);
    s->active->end = s->tail_at + (uint32_t)s->tail.n;
    if (b)
        b->n_frames++;
}

static void frame_bare(struct engine *s, struct batch *b, enum frame_kind kind, int64_t number)
{
    struct frame f;
    frame_begin(s, &f, kind, number);
    frame_end(s, b, &f);
}

/* ---- to the disk -------------------------------------------------------------------------------------- */

static bool out_of_space(int r)
{
    return r == -ENOSPC || r == -EDQUOT;
}

/* After a failed sync the kernel may have dropped the pages and will call the next sync a success: nothing
 * written from here on could be trusted. */
static int fail_stop(struct engine *s, int r, const char *what)
{
    s->broken = r;
    return engine_fault(s, r, what, s->active, s->active->end);
}

/* Of what is on disk only the newest stays in memory. */
static void trim_tail(struct engine *s)
{
    if (s->tail.n <= 2 * TAIL_KEPT)
        return;
    struct buf kept = {0};
    buf_put(&kept, s->tail.p + s->tail.n - TAIL_KEPT, TAIL_KEPT);
    s->tail_at += (uint32_t)(s->tail.n - TAIL_KEPT);
    buf_done(&s->tail);
    s->tail = kept;
}

/* Writes and syncs what is in memory only. Waits. STORE_FULL leaves everything as it was. */
static int flush(struct engine *s)
{
    struct segment *a = s->active;
    if (s->durable == a->end)
        return 0;
    uint32_t end = a->end;
    int r = segment_write(&s->files, a, s->tail.p + (s->durable - s->tail_at), end - s->durable, s->durable);
    if (out_of_space(r)) {
        s->full = true;
        return STORE_FULL;
    }
    if (r < 0)
        return fail_stop(s, r, "writing");
    r = segment_sync(&s->files, a);
    if (r < 0)
        return fail_stop(s, r, "syncing");
    s->durable = end;
    s->unproven = true;
    s->lazy_since = MONO_NEVER;
    trim_tail(s);
    return 0;
}

static int make_spare(struct engine *s, enum spare_name name, bool urgent)
{
    uint32_t size = s->options.segment_bytes;
    if (s->spares[name])
        return 0;
    if (!urgent && engine_disk_bytes(s) + size > s->options.max_bytes)
        return STORE_FULL;
    int r = segment_spare(&s->files, name, size, &s->spares[name]);
    return out_of_space(r) ? STORE_FULL : r;
}

int writer_spares(struct engine *s, bool urgent)
{
    int r = make_spare(s, RESERVE, urgent);
    if (r == 0)
        r = make_spare(s, SPARE, urgent);
    s->full = r != 0;
    return r;
}

int writer_next_segment(struct engine *s, enum spare_name name, uint32_t number)
{
    CLEANUP_FREE char *list = xmalloc((s->n_slots + 1) * sizeof(uint32_t));
    uint32_t *others = (uint32_t *)list;
    size_t n = 0;
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->segments[i] && !s->segments[i]->dropped)
            others[n++] = s->segments[i]->number;
    struct segment_header h = {
        .number = number,
        .store = s->id,
        .revision = s->committed,
        .compacted = s->compacted_logged,
        .ceiling = s->ceiling,
    };
    int r = segment_begin(&s->files, s->spares[name], &h, others, n);
    if (r < 0)
        return r;
    s->active = TAKE_PTR(s->spares[name]);
    engine_add_segment(s, s->active);
    buf_done(&s->tail);
    s->tail_at = s->durable = s->active->end;
    return 0;
}

static int seal(struct engine *s)
{
    uint32_t end = s->active->end, prev = s->active->prev;
    size_t tail = s->tail.n;
    if (s->active->sealed)
        return 0;
    frame_bare(s, NULL, FRAME_SEAL, 0);
    int r = flush(s);
    if (r == 0) {
        s->active->sealed = true;
        return 0;
    }
    s->active->end = end;
    s->active->prev = prev;
    s->tail.n = tail;
    return r;
}

/* Ends the active segment and begins the next. Nothing is pending. Only cleaning may use the reserve: it
 * gives back more than it takes. 0, STORE_FULL or an error. */
static int rotate(struct engine *s, const struct request *q)
{
    bool put = q->kind == REQUEST_TXN && q->puts;
    enum spare_name name = SPARE;
    int r = writer_spares(s, !put);
    if (!s->spares[SPARE] && s->spares[RESERVE] && q->kind != REQUEST_TXN)
        name = RESERVE;
    else if (!s->spares[SPARE])
        return r;
    r = seal(s);
    if (r != 0)
        return r;
    r = writer_next_segment(s, name, s->active->number + 1);
    if (out_of_space(r))
        return STORE_FULL;
    if (r < 0)
        return fail_stop(s, r, "beginning a segment after");
    writer_spares(s, false);
    cleaner_wake(s);
    return 0;
}

/* The least that cleaning must be able to copy to get anywhere. */
static uint64_t room_for_cleaning(const struct engine *s)
{
    if (s->emptying)
        return index_used(&s->index, s->emptying->slot);
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->segments[i] && s->segments[i] != s->active && !s->segments[i]->damaged)
            least = MIN(least, index_used(&s->index, (uint16_t)i));
    return least == UINT64_MAX ? 0 : least;
}

/* What a request must leave of the segment. A full disk is a matter of who may use the last of it: cleaning
 * leaves a quarter for deletes while it has the reserve to go to, and deletes leave cleaning what it needs
 * once it has not. */
static uint64_t room_to_leave(const struct engine *s, const struct request *r)
{
    if (r->kind == REQUEST_DROP)
        return CONTROL_ROOM;
    uint64_t room = CONTROL_ROOM + DELETE_ROOM;
    if (s->full && r->kind == REQUEST_MOVE && s->spares[RESERVE])
        room += s->active->size / 4;
    else if (s->full && r->kind == REQUEST_TXN && !s->spares[RESERVE])
        room += room_for_cleaning(s);
    return room;
}

static bool fits(const struct engine *s, const struct request *r)
{
    return !s->active->sealed && s->active->end + r->bytes + room_to_leave(s, r) <= s->active->size;
}

/* ---- transactions ------------------------------------------------------------------------------------- */

static bool expected(const struct engine *s, const struct store_op *op)
{
    const struct item *now = node_current(btree_find(&s->index.live, op->key));
    return op->expect == STORE_ANY || op->expect == (now ? now->modified : STORE_ABSENT);
}

static bool has_effect(const struct engine *s, const struct store_op *op)
{
    return op->kind == STORE_PUT || node_current(btree_find(&s->index.live, op->key));
}

static void apply_op(struct engine *s, struct frame *f, const struct store_op *op)
{
    const struct item *now = node_current(btree_find(&s->index.live, op->key));
    bool put = op->kind == STORE_PUT;
    struct op log = {
        .key = op->key,
        .value = put ? op->value : STR_NULL,
        .modified = s->assigned,
        .created = now ? now->created : s->assigned,
        .version = !put                               ? 0
                   : now && now->version < UINT32_MAX ? now->version + 1
                                                      : 1,
        .sub = f->n_ops,
    };
    struct item it = {
        .modified = log.modified,
        .created = log.created,
        .version = log.version,
        .len = (uint32_t)log.value.n,
        .slot = s->active->slot,
        .sub = log.sub,
    };
    it.off = frame_op(s, f, &log);
    refs_push(&s->refs, s->assigned, index_push(&s->index, op->key, &it), op->cookie);
}

/* A full disk takes no puts; Lease renewals may use half of what is kept for deletes, lest nodes seem dead as
 * well. */
static bool refused(const struct engine *s, const struct request *r)
{
    return s->full && r->puts && !(r->lazy && s->active->end < s->active->size / 2);
}

static void take_txn(struct engine *s, struct batch *b, struct request *r)
{
    bool effect = false;
    for (size_t i = 0; i < r->n; i++) {
        if (!expected(s, &r->ops[i])) {
            r->conflict = i;
            r->result = STORE_CONFLICT;
            return;
        }
        effect |= has_effect(s, &r->ops[i]);
    }
    r->revision = s->assigned;
    if (!effect)
        return;
    if (refused(s, r)) {
        r->result = STORE_FULL;
        return;
    }
    struct frame f;
    r->effect = true;
    r->revision = ++s->assigned;
    frame_begin(s, &f, FRAME_TXN, s->assigned);
    for (size_t i = 0; i < r->n; i++)
        if (has_effect(s, &r->ops[i]))
            apply_op(s, &f, &r->ops[i]);
    frame_end(s, b, &f);
    b->durable |= !r->lazy;
}

/* ---- cleaning ----------------------------------------------------------------------------------------- */

/* Copies what is still needed of these operations. */
static void take_move(struct engine *s, struct batch *b, struct request *r)
{
    struct frame f;
    frame_begin(s, &f, FRAME_MOVE, 0);
    for (size_t i = 0; i < r->n; i++) {
        struct moving *m = &r->moving[i];
        m->new_off = 0;
        if (m->keyed || !index_needs(&s->index, m->op.key, m->op.modified, r->from->slot, m->off))
            continue;
        m->new_off = frame_op(s, &f, &m->op);
        index_move(&s->index, m->op.key, m->op.modified, s->active->slot, m->new_off, true);
    }
    if (f.n_ops)
        frame_end(s, b, &f);
    else
        s->tail.n -= FRAME_SIZE;
    b->durable |= f.n_ops > 0;
}

static void undo_move(struct engine *s, struct request *r)
{
    for (size_t i = r->n; i-- > 0;) {
        struct moving *m = &r->moving[i];
        if (m->new_off && index_needs(&s->index, m->op.key, m->op.modified, s->active->slot, m->new_off))
            index_move(&s->index, m->op.key, m->op.modified, r->from->slot, m->off, false);
    }
}

/* The puts among them will go with their segment. */
static void moved(struct engine *s, const struct request *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->moving[i].op.version)
            index_forget_copy(&s->index, r->moving[i].op.key);
}

static void take(struct engine *s, struct batch *b, struct request *r)
{
    r->result = 0;
    switch (r->kind) {
    case REQUEST_TXN:
        take_txn(s, b, r);
        break;
    case REQUEST_MOVE:
        take_move(s, b, r);
        break;
    case REQUEST_DROP:
        frame_bare(s, b, FRAME_DROP, r->from->number);
        b->durable = true;
        break;
    }
}

/* ---- a group ------------------------------------------------------------------------------------------ */

static void answer(struct request *r)
{
    r->done = true;
    waitq_wake_all(&r->wait);
}

/* Makes room for the first in the queue, or answers it. */
static bool make_room(struct engine *s, struct request *r)
{
    int result = s->broken;
    if (!result && !fits(s, r))
        result = rotate(s, r);
    if (!result && !fits(s, r))
        result = s->full ? STORE_FULL : -E2BIG;
    if (!result)
        return true;
    list_remove(&r->link);
    r->taken = true;
    r->result = result;
    answer(r);
    return false;
}

static void batch_begin(struct engine *s, struct batch *b)
{
    *b = (struct batch){
        .start = s->active->end,
        .prev = s->active->prev,
        .refs = s->refs.tail,
        .compacted_logged = s->compacted_logged,
        .ceiling = s->ceiling,
    };
    s->batch++;
    if (s->compacted > s->compacted_logged) {
        s->compacted_logged = s->compacted;
        frame_bare(s, b, FRAME_COMPACT, s->compacted);
        b->n_frames = 0; /* no reason to write by itself */
    }
}

static void gather(struct engine *s, struct batch *b)
{
    while (!list_empty(&s->queue) && s->active->end - b->start < GROUP_BYTES) {
        struct request *r = LIST_ENTRY(s->queue.next, struct request, link);
        if (!fits(s, r))
            return;
        list_remove(&r->link);
        r->taken = true;
        list_push_back(&b->taken, &r->link);
        take(s, b, r);
    }
}

static void roll_back(struct engine *s, struct batch *b)
{
    for (struct list *l = b->taken.prev; l && l != &b->taken; l = l->prev) {
        struct request *r = LIST_ENTRY(l, struct request, link);
        if (r->kind == REQUEST_MOVE)
            undo_move(s, r);
    }
    while (s->refs.tail > b->refs)
        index_pop(&s->index, node_key(ref_at(&s->refs, --s->refs.tail)->node), s->forgotten);
    s->tail.n -= s->active->end - b->start;
    s->active->end = b->start;
    s->active->prev = b->prev;
    s->compacted_logged = b->compacted_logged;
    s->ceiling = b->ceiling;
    s->assigned = s->committed;
}

static void commit(struct engine *s, struct batch *b)
{
    s->committed = s->assigned;
    LIST_EACH (&b->taken, l) {
        struct request *r = LIST_ENTRY(l, struct request, link);
        if (r->kind == REQUEST_MOVE)
            moved(s, r);
        if (r->kind == REQUEST_DROP)
            r->from->dropped = true;
        if (r->kind != REQUEST_TXN || !r->effect)
            continue;
        s->writes++;
        for (size_t i = 0; i < r->n; i++)
            if (r->ops[i].committing)
                r->ops[i].committing(r->ops[i].cookie, (revision){r->revision});
    }
    watch_publish(s);
    if (!s->n_marks || s->refs.tail - s->refs.head > (uint64_t)s->options.history_events / 16 * 17)
        cleaner_wake(s);
}

static bool lazy_due(const struct engine *s)
{
    return s->active->end != s->durable && (s->stop_writer || s->active->end - s->durable > LAZY_BYTES ||
                                            os_mono().ns >= mono_add(s->lazy_since, s->options.lazy_ns).ns);
}

/* Durable when somebody waits for that, or when it is time. */
static int write_group(struct engine *s, struct batch *b)
{
    if (b->n_frames && !b->durable && s->assigned > s->ceiling) {
        s->ceiling = s->assigned + CEILING_STEP;
        frame_bare(s, b, FRAME_CEILING, s->ceiling);
        b->durable = true;
    }
    if (b->n_frames && !b->durable && s->lazy_since.ns == INT64_MAX)
        s->lazy_since = os_mono();
    if (!b->durable && !lazy_due(s))
        return 0;
    int r = flush(s);
    if (r != 0 && s->lazy_since.ns != INT64_MAX)
        s->lazy_since = os_mono(); /* and try again in a while */
    return r;
}

static void run_group(struct engine *s)
{
    struct batch b;
    if (!list_empty(&s->queue) && !make_room(s, LIST_ENTRY(s->queue.next, struct request, link)))
        return;
    if (s->broken || s->active->sealed)
        return;
    batch_begin(s, &b);
    gather(s, &b);
    int r = write_group(s, &b);
    if (r != 0) {
        roll_back(s, &b);
        cleaner_wake(s);
    } else {
        commit(s, &b);
    }
    struct list *l;
    while ((l = list_pop_front(&b.taken))) {
        struct request *q = LIST_ENTRY(l, struct request, link);
        if (r != 0)
            q->result = r;
        answer(q);
    }
}

/* ---- the fiber ---------------------------------------------------------------------------------------- */

static void wait_for_work(struct engine *s)
{
    while (list_empty(&s->queue) && !s->stop_writer) {
        struct mono due = s->broken ? MONO_NEVER : mono_add(s->lazy_since, s->options.lazy_ns);
        int r = waitq_wait(&s->work, due);
        if (r == -ECANCELED)
            s->stop_writer = s->closing = true; /* the loop ends: leave everything on disk */
        if (r == -ETIMEDOUT)
            return;
    }
}

/* The last frame of a closed store: the next start goes on with the next revision instead of above the
 * ceiling, and everything before this frame is known to have been durable, so damage to it cannot be mistaken
 * for a torn write. */
static void say_goodbye(struct engine *s)
{
    if (s->broken || s->active->sealed || flush(s) != 0 || !s->unproven)
        return;
    s->batch++;
    frame_bare(s, NULL, FRAME_CEILING, s->committed);
    if (flush(s) == 0)
        s->ceiling = s->committed;
}

void writer_main(void *arg)
{
    struct engine *s = arg;
    for (;;) {
        wait_for_work(s);
        fiber_shield(true);
        run_group(s);
        /* Let those who were answered ask for more, so that they all share the next group. */
        fiber_yield();
        fiber_shield(false);
        if (s->stop_writer && list_empty(&s->queue))
            break;
    }
    fiber_shield(true);
    say_goodbye(s);
    fiber_shield(false);
}

static void enqueue(struct engine *s, struct request *r)
{
    list_push_back(&s->queue, &r->link);
    waitq_wake_one(&s->work);
}

int request_run(struct engine *s, struct request *r)
{
    if (s->stop_writer || s->closing)
        return -EPIPE;
    enqueue(s, r);
    s->users++;
    bool shielded = false;
    while (!r->done) {
        int w = waitq_wait(&r->wait, MONO_NEVER);
        if (w == -ECANCELED && !r->taken) {
            list_remove(&r->link);
            r->result = -ECANCELED;
            break;
        }
        if (w == -ECANCELED) { /* it is under way: the outcome must be known */
            fiber_shield(true);
            shielded = true;
        }
    }
    if (shielded)
        fiber_shield(false);
    if (--s->users == 0)
        waitq_wake_all(&s->unused);
    return r->result;
}
