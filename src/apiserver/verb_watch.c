/* SPDX-License-Identifier: Apache-2.0 */
/* watch over HTTP: chunks of JSON lines or length-delimited protobuf. (WebSocket watches are not served.) */
#include "apiserver/conversion.h"
#include "apiserver/follow.h"
#include "apiserver/state.h"
#include "apiserver/verbs.h"
#include "base/os.h"

#define BOOKMARK_EVERY SECONDS(60)
enum { WATCH_PIECE = 64 << 10 };

struct watching {
    struct request *r;
    struct follow f;
    struct arena frame_arena; /* for what one piece needs */
    struct buf out;
    struct mono end, bookmark;
    bool columns_sent;
    int64_t told; /* the revision the client knows of */
    struct str labels; /* of metrics */
};

static const char *const kind_names[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"};

static struct mono watch_end(struct request *r)
{
    int64_t min = r->server->config.min_request_timeout;
    int64_t seconds = r->opt.timeout > 0 ? r->opt.timeout : min + (int64_t)os_random_below((uint64_t)min + 1);
    return mono_add(r->begun, SECONDS(MIN(seconds, (int64_t)1 << 30)));
}

static void put_event(struct watching *w, enum watch_event_kind kind, const struct object *o)
{
    struct request *r = w->r;
    if (kind == WATCH_BOOKMARK) {
        if (r->opt.send_initial > 0)
            encode_bookmark(r, &w->out, w->f.initial_revision, true);
        return;
    }
    size_t before = w->out.n;
    encode_event(r, &w->out, kind_names[kind], o, !w->columns_sent);
    w->columns_sent = true;
    metric_observe(&r->server->metrics.set, METRIC_WATCH_BYTES, w->labels, (double)(w->out.n - before));
}

static void put_expired(struct watching *w)
{
    struct status s;
    status_init(&s, w->r->arena);
    status_gone(&s, "too old resource version: %lld (%lld)", (long long)w->f.revision,
                (long long)w->r->kind->oldest);
    encode_error_event(w->r, &w->out, &s);
}

static void put_failed(struct watching *w)
{
    encode_error_event(w->r, &w->out, &w->r->status);
    status_init(&w->r->status, w->r->arena);
}

/* In the version that is watched; what cannot be had in it ends the watch. */
static int put_converted(struct watching *w, enum watch_event_kind kind, const struct object *o)
{
    struct request *r = w->r;
    if (!o || !r->res || !conversion_needed(r->res, o->val)) {
        put_event(w, kind, o);
        return 0;
    }
    struct object *held = object_ref(o);
    int e = conversion_ahead(r, r->res, &held->val, 1);
    if (e > 0)
        put_failed(w);
    else if (!e)
        put_event(w, kind, held);
    object_unref(held);
    return e ? -EPIPE : 0;
}

/* For selections by fields of another version. What a webhook did wrong stands in the request's status. */
static int ahead(struct follow *f, const struct val *const *v, size_t n)
{
    struct watching *w = CONTAINER_OF(f, struct watching, f);
    return conversion_ahead(w->r, w->r->res, v, n) ? -EREMOTEIO : 0;
}

/* All there is now, up to a piece. 0 when nothing is left, 1 when there is more, negative at the end of the
 * watch. */
static int gather(struct watching *w)
{
    enum watch_event_kind kind;
    const struct object *o;
    while (w->out.n < WATCH_PIECE) {
        int e = follow_next(&w->f, &kind, &o);
        if (e == STORE_COMPACTED) {
            put_expired(w);
            return -EPIPE;
        }
        if (e == -EREMOTEIO)
            put_failed(w);
        if (e < 0)
            return -EPIPE;
        if (!e)
            return 0;
        if (put_converted(w, kind, o) < 0)
            return -EPIPE;
    }
    return 1;
}

static int flush(struct watching *w)
{
    int e = w->out.n ? http_write(w->r->x, buf_str(&w->out), mono_add(os_mono(), SECONDS(120))) : 0;
    if (w->out.n) {
        w->told = w->f.revision;
        w->bookmark = mono_add(os_mono(), BOOKMARK_EVERY);
    }
    buf_done(&w->out); /* most watches wait for long, and there are many */
    arena_done(&w->frame_arena);
    return e;
}

static void put_bookmark(struct watching *w)
{
    w->bookmark = mono_add(os_mono(), BOOKMARK_EVERY);
    if (w->r->opt.bookmarks && w->f.revision > w->told)
        encode_bookmark(w->r, &w->out, w->f.revision, false);
}

static bool over(const struct watching *w)
{
    return http_gone(w->r->x) || http_stopping(w->r->x) || os_mono().ns >= w->end.ns;
}

static void follow_loop(struct watching *w)
{
    while (!over(w)) {
        int e = gather(w);
        if (e == 0 && os_mono().ns >= w->bookmark.ns)
            put_bookmark(w);
        bool waited = w->out.n > 0; /* writing may wait, and wake-ups are not remembered: look again */
        if (flush(w) < 0 || e < 0)
            return;
        if (e > 0 || waited)
            continue;
        struct mono until = {MIN(w->end.ns, w->bookmark.ns)};
        if (waitq_wait(&w->f.waiter.q, until) == -ECANCELED)
            return;
    }
    put_bookmark(w);
    flush(w);
}

static const char *stream_type(const struct request *r)
{
    return r->media == MEDIA_PROTO ? "application/vnd.kubernetes.protobuf;stream=watch" : "application/json";
}

/* Where the watch begins: 0, or a status. *ret_initial: the present state first. */
static int choose_start(struct request *r, const struct selection *s, bool *ret_initial)
{
    struct cache *c = r->server->cache;
    bool initial = s->revision == 0 || r->opt.send_initial > 0;
    if (s->revision == 0 && r->opt.send_initial == 0)
        initial = s->any;
    int64_t wait_for = s->revision;
    int e = wait_for ? cache_wait(c, wait_for, mono_add(os_mono(), SECONDS(3))) : s->any ? 0 : cache_fresh(c);
    if (e == -ETIMEDOUT)
        return status_set(&r->status, 504, "Timeout",
                          "Timeout: Too large resource version: %lld, current: %lld", (long long)wait_for,
                          (long long)cache_revision(c));
    *ret_initial = initial;
    return e;
}

static int begin(struct watching *w, struct selection *s)
{
    bool initial = false;
    int e = choose_start(w->r, s, &initial);
    if (e)
        return e;
    int64_t from = s->revision ? s->revision : cache_revision(w->r->server->cache);
    e = follow_begin(&w->f, w->r->kind, s, from, initial);
    if (!e && s->by_version) {
        w->f.ahead = ahead;
        e = w->f.initial ? selection_ahead(w->r, s, w->f.initial) : 0;
        if (e)
            follow_end(&w->f);
    }
    if (e != STORE_COMPACTED)
        return e;
    http_start(w->r->x, 200, stream_type(w->r), -1);
    w->f.revision = from;
    put_expired(w);
    flush(w);
    w->r->answer.kind = ANSWER_SENT;
    return 0;
}

/* What it took to begin lies below what a watch that waits needs of its stack: it goes back for all that began of late. */
static void trim(void *arg)
{
    struct apiserver *s = arg;
    if (fiber_sleep(SECONDS(5)) == 0)
        fiber_trim_stacks();
    s->trimming = false;
}

static int serve(struct watching *w, struct selection *s)
{
    struct request *r = w->r;
    int e = begin(w, s);
    if (e || r->answer.kind == ANSWER_SENT)
        return e;
    r->server->watches++;
    if (!r->server->trimming)
        group_spawn(&r->server->fibers, "trim", trim, r->server);
    r->server->trimming = true;
    r->answer.kind = ANSWER_SENT;
    r->answer.code = 200;
    http_notify_gone(r->x, &w->f.waiter.q);
    if (http_start(r->x, 200, stream_type(r), -1) == 0)
        follow_loop(w);
    http_notify_gone(r->x, NULL);
    follow_end(&w->f);
    r->server->watches--;
    return 0;
}

int verb_watch(struct request *r)
{
    struct selection s;
    if (!r->x)
        return status_bad_request(&r->status, "watches from inside the process have their own door");
    r->opt.watch = true;
    int e = selection_parse(r, &s);
    if (e)
        return e;
    if (r->server->watches >= r->server->config.max_watches)
        return status_set(&r->status, 429, "TooManyRequests", "too many watches");
    if (r->media == MEDIA_YAML)
        r->media = MEDIA_JSON;
    http_add_header(r->x, "Cache-Control", STR("no-cache, private"));
    struct watching w = {.r = r, .end = watch_end(r), .bookmark = mono_add(os_mono(), BOOKMARK_EVERY)};
    w.told = s.revision;
    w.labels = arena_printf(r->arena, "group=\"%s\",resource=\"%s\",version=\"%s\"", r->res->group, r->res->name, r->res->version);
    struct arena *whole = r->arena;
    r->arena = &w.frame_arena; /* a watch lives long: what its events need goes piece by piece */
    e = serve(&w, &s);
    r->arena = whole;
    buf_done(&w.out);
    arena_done(&w.frame_arena);
    return e;
}
