/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events. `refs` has one small entry for every event since the compacted revision; values are read from the
 * log (from its tail in memory, mostly) when a watch asks for them. So what a watch has not fetched yet costs
 * nothing, however slow it is, and one that lets itself be overtaken by compaction is told so.
 */
#include "base/os.h"
#include "store/engine.h"

enum { BATCH_EVENTS = 1000, BATCH_BYTES = 1 << 20, KEEP_BYTES = 32 << 10 };

struct watch {
    struct store_watch base;
    struct list link;
    struct engine *store; /* NULL once it has closed */
    char *from, *to;
    size_t from_n, to_n;
    int64_t began; /* revisions after this one were assigned while we watched */
    uint64_t next; /* ref to look at next, when pending */
    bool pending;  /* there may be something to deliver */
    bool want_previous;
    struct waitq wake;
    struct arena arena; /* of the last batch */
    struct buf scratch;
    struct store_event *events;
    size_t n_events, cap_events;
};

void refs_push(struct refs *r, int64_t rev, struct node *n, void *cookie)
{
    if (r->tail - r->head == r->cap) {
        size_t cap = MAX(r->cap * 2, (size_t)64);
        struct ref *ring = xmalloc(cap * sizeof(*ring));
        for (uint64_t i = r->head; i < r->tail; i++)
            ring[i & (cap - 1)] = *ref_at(r, i);
        free(r->ring);
        r->ring = ring;
        r->cap = cap;
    }
    *ref_at(r, r->tail++) = (struct ref){rev, n, cookie};
}

static bool covers(const struct watch *w, const struct node *n)
{
    struct str key = node_key(n);
    return str_cmp(key, str_n(w->from, w->from_n)) >= 0 &&
           (!w->to_n || str_cmp(key, str_n(w->to, w->to_n)) < 0);
}

static void offer(struct watch *w, const struct ref *ref, uint64_t i)
{
    if (w->pending || !covers(w, ref->node))
        return;
    w->pending = true;
    w->next = i;
    waitq_wake_all(&w->wake);
}

void watch_publish(struct engine *s)
{
    for (; s->published < s->refs.tail; s->published++)
        LIST_EACH (&s->watches, l)
            offer(LIST_ENTRY(l, struct watch, link), ref_at(&s->refs, s->published), s->published);
}

/* The first ref after a revision. */
static uint64_t refs_after(const struct refs *r, int64_t rev, uint64_t end)
{
    uint64_t low = r->head, high = end;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (ref_at(r, middle)->revision <= rev)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int engine_watch(struct store *base, struct str from, struct str to, revision after, bool want_previous,
                 struct store_watch **ret)
{
    struct engine *s = engine_of(base);
    if (s->closing)
        return -EPIPE;
    if (after.n > s->committed)
        return STORE_FUTURE;
    if (after.n && after.n < s->compacted)
        return STORE_COMPACTED;
    struct watch *w = NEW(struct watch);
    w->base.ops = &engine_ops;
    w->store = s;
    w->from = str_dup(from);
    w->from_n = from.n;
    w->to = str_dup(to);
    w->to_n = to.n;
    w->want_previous = want_previous;
    w->began = s->assigned;
    w->next = after.n ? refs_after(&s->refs, after.n, s->published) : s->published;
    w->pending = w->next < s->published;
    list_push_back(&s->watches, &w->link);
    s->n_watches++;
    *ret = &w->base;
    return 0;
}

/* ---- a batch ------------------------------------------------------------------------------------------ */

static struct store_event *event_add(struct watch *w)
{
    if (w->n_events == w->cap_events) {
        w->cap_events = MAX(w->cap_events * 2, (size_t)8);
        w->events = xrealloc(w->events, w->cap_events * sizeof(*w->events));
    }
    struct store_event *e = &w->events[w->n_events++];
    *e = (struct store_event){0};
    return e;
}

static int read_value(struct watch *w, const struct node *n, const struct item *it, struct str *ret)
{
    struct op op;
    int r = engine_read(w->store, node_key(n), it, &w->scratch, &op);
    if (r == 0)
        *ret = arena_str(&w->arena, op.value);
    return r;
}

static int add_event(struct watch *w, const struct ref *ref, size_t *bytes)
{
    const struct item *before, *it = node_exact(ref->node, ref->revision, &before);
    if (!it)
        return STORE_COMPACTED;
    struct str value = STR_NULL, previous = STR_NULL;
    int r = it->version ? read_value(w, ref->node, it, &value) : 0;
    if (r == 0 && w->want_previous && before && before->version)
        r = read_value(w, ref->node, before, &previous);
    if (r < 0)
        return r;
    *event_add(w) = (struct store_event){
        .deleted = !it->version,
        .key = arena_str(&w->arena, node_key(ref->node)),
        .value = value,
        .previous = previous,
        .created = it->version == 1,
        .modified = {it->modified},
        .created_at = {it->created},
        .cookie = ref->revision > w->began ? ref->cookie : NULL,
    };
    *bytes += value.n + previous.n + ref->node->key_len;
    return 0;
}

/* Whole revisions until the batch is full or the refs are at an end. */
static int collect(struct watch *w)
{
    const struct engine *s = w->store;
    size_t bytes = 0;
    int64_t last = 0;
    uint64_t i = w->next;
    for (; i < s->published; i++) {
        const struct ref *ref = ref_at(&s->refs, i);
        if (!covers(w, ref->node))
            continue;
        if (ref->revision != last && (w->n_events >= BATCH_EVENTS || bytes >= BATCH_BYTES))
            break;
        int r = add_event(w, ref, &bytes);
        if (r != 0)
            return r;
        last = ref->revision;
    }
    w->next = i;
    w->pending = i < s->published;
    return 0;
}

static bool overtaken(const struct watch *w)
{
    const struct refs *r = &w->store->refs;
    return w->pending && (w->next < r->head || ref_at(r, w->next)->revision <= w->store->compacted);
}

static revision progress(const struct watch *w)
{
    const struct engine *s = w->store;
    return (revision){w->pending ? ref_at(&s->refs, w->next)->revision - 1 : s->committed};
}

/* The last batch is done with. Its memory is kept only when it was small: there may be very many watches. */
static void drop_batch(struct watch *w)
{
    if (w->arena.total > KEEP_BYTES)
        arena_done(&w->arena);
    else
        arena_reset(&w->arena);
    if (w->scratch.cap > KEEP_BYTES)
        buf_done(&w->scratch);
    w->n_events = 0;
}

int engine_watch_next(struct store_watch *base, struct mono deadline, const struct store_event **ret_events,
                      size_t *ret_n, revision *ret_progress)
{
    struct watch *w = (struct watch *)base;
    drop_batch(w);
    for (;;) {
        if (!w->store)
            return -EPIPE;
        if (overtaken(w))
            return STORE_COMPACTED;
        if (w->pending) {
            int r = collect(w);
            if (r != 0)
                return r;
            *ret_progress = progress(w);
        }
        if (w->n_events) {
            *ret_events = w->events;
            *ret_n = w->n_events;
            return 0;
        }
        int r = waitq_wait(&w->wake, deadline);
        if (r == -ETIMEDOUT && w->store && !w->pending)
            *ret_progress = progress(w);
        if (r < 0 && !(w->store && w->pending))
            return r;
    }
}

static void detach(struct watch *w)
{
    if (!w->store)
        return;
    list_remove(&w->link);
    w->store->n_watches--;
    w->store = NULL;
}

void engine_watch_close(struct store_watch *base)
{
    struct watch *w = (struct watch *)base;
    detach(w);
    arena_done(&w->arena);
    buf_done(&w->scratch);
    free(w->events);
    free(w->from);
    free(w->to);
    free(w);
}

void watch_close_all(struct engine *s)
{
    LIST_EACH_SAFE (&s->watches, l) {
        struct watch *w = LIST_ENTRY(l, struct watch, link);
        detach(w);
        waitq_wake_all(&w->wake);
    }
}
