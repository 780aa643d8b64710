/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the segments of a folder to the index. The newest segment is read first: it says which others belong
 * to the log, how far history was compacted and which revisions may have been used. Then everything is read
 * once, in order, and checked. What is broken where the log was known to be durable is damage, and opening
 * fails with file and offset; what is broken beyond is a write that was never acknowledged, and is cut off.
 */
#include "base/os.h"
#include "store/engine.h"

#include <stdio.h>

struct recovery {
    struct engine *s;
    struct arena *a;
    struct err *e;
    struct str *note;
    struct segment_header head; /* of the newest segment */
    struct segment *newest;
    struct numbers {
        uint32_t *numbers;
        size_t n;
    } others; /* segments that belong to the log besides the newest */
    int64_t revision;
    uint32_t durable; /* known to be, of the newest */
};

static int damaged(const struct recovery *rc, const struct segment *seg, uint32_t at, const char *why)
{
    return err_set(rc->e, -EBADMSG, "the store is damaged: %s/%010u.log at byte %u: %s", rc->s->files.dir,
                   seg->number, at, why);
}

/* ---- the newest segment ------------------------------------------------------------------------------- */

static void forget_other(struct recovery *rc, int64_t number)
{
    struct numbers *o = &rc->others;
    for (size_t i = 0; i < o->n; i++)
        if (o->numbers[i] == number)
            o->numbers[i] = o->numbers[--o->n];
}

static int read_others(struct recovery *rc, const struct frame *f, const char *body)
{
    struct op op;
    if (f->n_ops != 1 || op_decode(rc->newest->mark, body, f->length, &op) < 0 || op.value.n % 4)
        return damaged(rc, rc->newest, SEGMENT_HEADER, "the list of segments is missing");
    rc->others.n = op.value.n / 4;
    rc->others.numbers = ARENA_ARRAY(rc->a, uint32_t, rc->others.n + 1);
    for (size_t i = 0; i < rc->others.n; i++) {
        const unsigned char *p = (const unsigned char *)op.value.p + 4 * i;
        rc->others.numbers[i] =
            (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    }
    return 0;
}

/* Checksums keep chance away, not nonsense: revisions stay where adding to them cannot overflow. */
static bool sane(int64_t rev)
{
    return rev >= 0 && rev < INT64_MAX / 4;
}

static int note_frame(struct recovery *rc, const struct frame *f, const char *body)
{
    struct engine *s = rc->s;
    if (!sane(f->number))
        return damaged(rc, rc->newest, SEGMENT_HEADER, "a revision in it cannot be");
    rc->durable = MAX(rc->durable, f->durable);
    switch (f->kind) {
    case FRAME_SEGMENTS:
        return read_others(rc, f, body);
    case FRAME_TXN:
        rc->revision = MAX(rc->revision, f->number);
        break;
    case FRAME_COMPACT:
        s->compacted = MAX(s->compacted, f->number);
        break;
    case FRAME_CEILING:
        s->ceiling = f->number;
        break;
    case FRAME_DROP:
        forget_other(rc, f->number);
        break;
    case FRAME_SEAL:
        rc->newest->sealed = true;
        break;
    case FRAME_MOVE:
    case FRAME_KINDS:
        break;
    }
    return 0;
}

/* What stands at the log's end: nothing, a torn write, or damage. */
static int judge_end(struct recovery *rc, struct scan *c, int outcome)
{
    struct segment *seg = rc->newest;
    bool durable = false;
    seg->end = c->at;
    seg->prev = c->prev;
    if (seg->sealed)
        return 0;
    int r = scan_was_durable(c, &durable);
    if (r < 0)
        return err_wrap(rc->e, r, "cannot read the store's newest segment");
    if (durable)
        return damaged(rc, seg, c->at, "its checksum is wrong");
    if (outcome == SCAN_END)
        return 0;
    if (rc->note)
        *rc->note = arena_printf(rc->a, "cut an unfinished write off the end of %s/%010u.log, at byte %u",
                                 rc->s->files.dir, seg->number, c->at);
    r = segment_cut(&rc->s->files, seg);
    return r < 0 ? err_wrap(rc->e, r, "cannot cut %s/%010u.log", rc->s->files.dir, seg->number) : 0;
}

static int read_newest(struct recovery *rc, uint32_t number)
{
    struct engine *s = rc->s;
    int r = segment_open(&s->files, number, &rc->newest, &rc->head, rc->e);
    if (r < 0)
        return r;
    engine_add_segment(s, rc->newest);
    s->active = rc->newest;
    r = segment_extend(rc->newest, rc->head.size);
    if (r < 0)
        return err_wrap(rc->e, r, "cannot extend the store's newest segment");
    s->id = rc->head.store;
    s->compacted = rc->head.compacted;
    s->ceiling = rc->head.ceiling;
    rc->revision = rc->head.revision;
    if (!sane(s->compacted) || !sane(s->ceiling) || !sane(rc->revision))
        return damaged(rc, rc->newest, 0, "a revision in it cannot be");
    struct scan CLEANUP(scan_done) c = {.segment = rc->newest, .at = SEGMENT_HEADER};
    struct frame f;
    const char *body;
    while ((r = scan_next(&c, &f, &body, NULL)) == 0) {
        if (c.at == frame_size(f.length) + SEGMENT_HEADER && f.kind != FRAME_SEGMENTS)
            break;
        r = note_frame(rc, &f, body);
        if (r < 0)
            return r;
    }
    if (r < 0 && r != -EBADMSG)
        return err_wrap(rc->e, r, "cannot read the store's newest segment");
    if (c.at == SEGMENT_HEADER || r == 0)
        return damaged(rc, rc->newest, SEGMENT_HEADER, "the list of segments is missing");
    return judge_end(rc, &c, r);
}

/* ---- every segment ------------------------------------------------------------------------------------ */

static int replay_frame(struct recovery *rc, struct segment *seg, const struct frame *f, const char *body,
                        uint32_t at)
{
    uint32_t off = at + FRAME_SIZE;
    for (unsigned i = 0; i < f->n_ops; i++) {
        struct op op;
        if (op_decode(seg->mark, body, seg->size, &op) < 0)
            return -EBADMSG; /* checked before */
        if (!op.key.n || op.modified <= 0 || op.modified > rc->revision ||
            (f->kind == FRAME_TXN && op.modified != f->number))
            return damaged(rc, seg, off, "the revision of an operation cannot be");
        struct item it = {
            .modified = op.modified,
            .created = op.created,
            .version = op.version,
            .off = off,
            .len = (uint32_t)op.value.n,
            .slot = seg->slot,
            .sub = op.sub,
        };
        index_replay(&rc->s->index, op.key, &it, rc->s->compacted);
        size_t size = op_size(op.key.n, op.value.n);
        body += size;
        off += (uint32_t)size;
    }
    return 0;
}

static int replay(struct recovery *rc, struct segment *seg)
{
    struct scan CLEANUP(scan_done) c = {.segment = seg, .at = SEGMENT_HEADER};
    struct frame f;
    const char *body;
    uint32_t at;
    bool newest = seg == rc->newest, sealed = false;
    int r = 0;
    while (!(newest && c.at == seg->end) && (r = scan_next(&c, &f, &body, &at)) == 0) {
        sealed = f.kind == FRAME_SEAL;
        if (sealed)
            break;
        r = f.kind == FRAME_TXN || f.kind == FRAME_MOVE ? replay_frame(rc, seg, &f, body, at) : 0;
        if (r < 0)
            return r;
    }
    if (r < 0 && r != -EBADMSG)
        return err_wrap(rc->e, r, "cannot read %s/%010u.log", rc->s->files.dir, seg->number);
    if (!newest && !sealed)
        return damaged(rc, seg, c.at, r == SCAN_END ? "it ends too early" : "its checksum is wrong");
    if (!newest) {
        seg->end = c.at;
        seg->sealed = true;
    }
    return 0;
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int open_other(struct recovery *rc, uint32_t number)
{
    struct segment *seg;
    struct segment_header h;
    int r = segment_open(&rc->s->files, number, &seg, &h, rc->e);
    if (r < 0)
        return r;
    if (h.store != rc->s->id) {
        segment_free(seg);
        return err_set(rc->e, -EBADMSG, "the store is damaged: %s/%010u.log belongs to another store",
                       rc->s->files.dir, number);
    }
    engine_add_segment(rc->s, seg);
    return replay(rc, seg);
}

static int replay_all(struct recovery *rc)
{
    struct numbers *o = &rc->others;
    qsort(o->numbers, o->n, sizeof(o->numbers[0]), compare_numbers);
    for (size_t i = 0; i < o->n; i++) {
        if (o->numbers[i] >= rc->newest->number || o->numbers[i] <= (i ? o->numbers[i - 1] : 0))
            return damaged(rc, rc->newest, SEGMENT_HEADER, "the list of segments cannot be");
        int r = open_other(rc, o->numbers[i]);
        if (r < 0)
            return r;
    }
    int r = replay(rc, rc->newest);
    if (r == 0)
        index_replay_end(&rc->s->index);
    return r;
}

/* ---- making sure -------------------------------------------------------------------------------------- */

/* What was read may be in the page cache only, perhaps after a sync that failed and left its pages looking
 * clean. So the bytes not known to be durable are written again before anybody is shown what they say. */
static int secure_tail(struct recovery *rc)
{
    struct engine *s = rc->s;
    struct segment *seg = rc->newest;
    uint32_t from = MAX(rc->durable, (uint32_t)SEGMENT_HEADER);
    s->unproven = seg->end > from + frame_size(0);
    if (from >= seg->end)
        return 0;
    struct buf CLEANUP_BUF b = {0};
    size_t n = seg->end - from;
    seg->zeroed = MAX(seg->zeroed, seg->end);
    int r = segment_read(seg, buf_grow(&b, n), n, from);
    if (r == 0)
        r = segment_write(&s->files, seg, b.p, n, from);
    if (r == 0)
        r = segment_sync(&s->files, seg);
    return r < 0 ? err_wrap(rc->e, r, "cannot write %s/%010u.log", s->files.dir, seg->number) : 0;
}

/* The newest segment's name may be in memory only as well: killed between renaming and syncing. */
static int secure_names(struct recovery *rc)
{
    const struct files *f = &rc->s->files;
    int r = f->durable ? os_sync_dir(f->dir) : 0;
    return r < 0 ? err_wrap(rc->e, r, "cannot sync %s", f->dir) : 0;
}

static bool belongs(const struct recovery *rc, uint32_t number)
{
    for (size_t i = 0; i < rc->others.n; i++)
        if (rc->others.numbers[i] == number)
            return true;
    return number == rc->newest->number;
}

/* Files of segments whose removal a crash interrupted. */
static void remove_leftovers(struct recovery *rc, const uint32_t *numbers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!belongs(rc, numbers[i]))
            files_remove(&rc->s->files, numbers[i]);
}

/* ---- history ------------------------------------------------------------------------------------------ */

struct past {
    int64_t revision;
    uint16_t sub;
    struct node *node;
};

static int compare_past(const void *a, const void *b)
{
    const struct past *x = a, *y = b;
    if (x->revision != y->revision)
        return (x->revision > y->revision) - (x->revision < y->revision);
    return (int)x->sub - (int)y->sub;
}

/* The events that can still be watched. */
static void rebuild_refs(struct engine *s)
{
    struct buf CLEANUP_BUF all = {0};
    struct node *n;
    for (struct cursor c = {0}; (n = btree_at(&s->index.live, c)); c = btree_next(&s->index.live, c))
        for (uint32_t i = 0; i <= n->n_older; i++) {
            const struct item *it = i < n->n_older ? &n->older[i] : &n->last;
            if (it->modified > s->compacted)
                buf_put(&all, &(struct past){it->modified, it->sub, n}, sizeof(struct past));
        }
    size_t count = all.n / sizeof(struct past);
    struct past *past = (struct past *)all.p;
    if (count)
        qsort(past, count, sizeof(*past), compare_past);
    for (size_t i = 0; i < count; i++)
        refs_push(&s->refs, past[i].revision, past[i].node, NULL);
    s->published = s->refs.tail;
}

int recover(struct engine *s, const uint32_t *numbers, size_t n, struct str *ret_note, struct arena *a,
            struct err *e)
{
    struct recovery rc = {.s = s, .a = a, .e = e, .note = ret_note};
    int r = read_newest(&rc, numbers[n - 1]);
    if (r == 0)
        r = replay_all(&rc);
    if (r == 0)
        r = secure_tail(&rc);
    if (r == 0)
        r = secure_names(&rc);
    if (r < 0)
        return r;
    remove_leftovers(&rc, numbers, n);
    s->committed = s->assigned = MAX(rc.revision, s->ceiling);
    s->ceiling = MAX(s->ceiling, s->committed);
    s->compacted = MIN(s->compacted, s->committed);
    s->compacted_logged = s->forgotten = s->compacted;
    s->tail_at = s->durable = s->active->end;
    rebuild_refs(s);
    writer_spares(s, false);
    return 0;
}
