/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/store-internal.h"

#include "base/log.h"
#include "base/os.h"

#define RETRY MILLISECONDS(250)

struct watch {
    struct store_watch base;
    struct list link;
    struct etcd_store *store; /* NULL once it has closed */
    char *from, *to;          /* keys in etcd */
    int64_t reached;          /* every event up to there was delivered */
    bool want_previous;
    struct grpc_stream *stream; /* NULL: to be opened */
    struct mono retry;
    struct arena arena; /* of the last batch */
    struct store_event *events;
    size_t n_events, cap_events;
};

int etcd_watch(struct store *base, struct str from, struct str to, revision after, bool want_previous,
               struct store_watch **ret)
{
    struct etcd_store *s = etcd_store_of(base);
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    if (s->closing)
        return -EPIPE;
    if (after.n && after.n < s->compacted)
        return STORE_COMPACTED;
    struct watch *w = NEW(struct watch);
    w->base.ops = base->ops;
    w->store = s;
    w->from = str_dup(etcd_key_out(s, &a, from));
    w->to = str_dup(to.n ? etcd_key_out(s, &a, to) : etcd_range_end(&a, str_of(s->prefix)));
    w->reached = after.n ? after.n : s->seen;
    w->want_previous = want_previous;
    list_push_back(&s->watches, &w->link);
    s->n_watches++;
    *ret = &w->base;
    return 0;
}

bool etcd_watches_reached(const struct etcd_store *s, int64_t rev)
{
    LIST_EACH (&s->watches, l)
        if (LIST_ENTRY(l, struct watch, link)->reached < rev)
            return false;
    return true;
}

static void detach(struct watch *w)
{
    if (!w->store)
        return;
    list_remove(&w->link);
    w->store->n_watches--;
    w->store = NULL;
    if (w->stream)
        grpc_stream_abort(w->stream);
}

void etcd_watches_end(struct etcd_store *s)
{
    LIST_EACH_SAFE (&s->watches, l)
        detach(LIST_ENTRY(l, struct watch, link));
}

void etcd_watch_close(struct store_watch *base)
{
    struct watch *w = (struct watch *)base;
    detach(w);
    grpc_stream_free(w->stream);
    arena_done(&w->arena);
    free(w->events);
    free(w->from);
    free(w->to);
    free(w);
}

/* ---- a batch ----------------------------------------------------------------------------------------------- */

static int add_event(struct watch *w, const struct val *event, bool first)
{
    const struct val *kv = val_get(event, N_kv);
    struct store_event e = {
        .deleted = val_int(val_get(event, N_type), 0) == E_mvccpb_Event_DELETE,
        .key = etcd_key_in(w->store, &w->arena, val_getstr(kv, N_key)),
        .value = val_getstr(kv, N_value),
        .previous = val_getstr(val_get(event, N_prev_kv), N_value),
        .created = val_int(val_get(kv, N_version), 0) == 1,
        .modified = {val_int(val_get(kv, N_mod_revision), 0)},
        .created_at = {val_int(val_get(kv, N_create_revision), 0)},
    };
    int r = first ? etcd_claim_cookie(w->store, e.key, e.modified.n, &e.cookie) : 0;
    if (r < 0 || !w->store)
        return r < 0 ? r : -EPIPE;
    if (e.deleted)
        e.value = STR_NULL;
    if (w->n_events == w->cap_events) {
        w->cap_events = MAX(w->cap_events * 2, (size_t)8);
        w->events = xrealloc(w->events, w->cap_events * sizeof(*w->events));
    }
    w->events[w->n_events++] = e;
    return 0;
}

/* A message of etcd's: whole revisions in order, or that everything has been told (no event), or an end. */
static int take_message(struct watch *w, const struct val *m)
{
    int64_t compacted = val_int(val_get(m, N_compact_revision), 0);
    bool first = w->store->watches.next == &w->link;
    if (compacted) {
        w->store->compacted = MAX(w->store->compacted, compacted);
        return STORE_COMPACTED;
    }
    if (val_bool(val_get(m, N_canceled), false)) {
        log_warn(LOG, "etcd ends a watch: " STR_FMT, STR_ARG(val_getstr(m, N_cancel_reason)));
        return -EIO;
    }
    if (val_bool(val_get(m, N_created), false))
        return 0;
    size_t n = val_len(val_get(m, N_events));
    VAL_EACH (val_get(m, N_events), event) {
        int r = add_event(w, event, first);
        if (r)
            return r;
    }
    w->reached = MAX(w->reached, n ? w->events[w->n_events - 1].modified.n : val_int(val_at(m, N_header, N_revision), 0));
    etcd_saw(w->store, w->reached);
    return 0;
}

/* ---- the stream -------------------------------------------------------------------------------------------- */

static int open_stream(struct watch *w, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *request = val_new(&a, VAL_OBJ), *create = val_sub_obj(&a, request, N_create_request);
    val_set(&a, create, N_key, val_of_bytes(str_of(w->from)));
    val_set(&a, create, N_range_end, val_of_bytes(str_of(w->to)));
    val_set_int(&a, create, N_start_revision, w->reached + 1);
    val_set_bool(&a, create, N_progress_notify, true);
    val_set_bool(&a, create, N_prev_kv, w->want_previous);
    return etcd_stream(w->store->etcd, &grpc_methods[G_etcdserverpb_Watch_Watch], request, &w->stream, e);
}

/* It goes on with another member, a moment later. */
static int lose_stream(struct watch *w)
{
    grpc_stream_free(TAKE_PTR(w->stream));
    if (!w->store)
        return -EPIPE;
    etcd_pass_over(w->store->etcd);
    w->retry = mono_add(os_mono(), RETRY);
    return 0;
}

/* 0 with a message or NULL (lost, or the time of a pause is up), -ETIMEDOUT, -ECANCELED, -EPIPE */
static int next_message(struct watch *w, struct mono deadline, const struct val **ret)
{
    struct err e = {0};
    *ret = NULL;
    if (!w->stream) {
        int r = w->retry.ns > os_mono().ns ? fiber_sleep_until(w->retry.ns < deadline.ns ? w->retry : deadline) : 0;
        if (r < 0)
            return r;
        if (!w->store)
            return -EPIPE;
        if (w->retry.ns >= deadline.ns)
            return -ETIMEDOUT;
        r = open_stream(w, &e);
        return r < 0 ? r : r ? lose_stream(w) : 0;
    }
    int r = grpc_stream_recv(w->stream, deadline, &w->arena, ret, &e);
    if (!w->store)
        return -EPIPE;
    if (r < 0)
        return r;
    if (r == GRPC_DEADLINE_EXCEEDED && os_mono().ns >= deadline.ns)
        return -ETIMEDOUT;
    return r || !*ret ? lose_stream(w) : 0;
}

int etcd_watch_next(struct store_watch *base, struct mono deadline, const struct store_event **ret_events, size_t *ret_n,
                    revision *ret_progress)
{
    struct watch *w = (struct watch *)base;
    arena_reset(&w->arena);
    w->n_events = 0;
    for (;;) {
        const struct val *m;
        if (!w->store)
            return -EPIPE;
        int64_t before = w->reached;
        int r = next_message(w, deadline, &m);
        if (r == 0 && m)
            r = take_message(w, m);
        if (r == -EIO)
            r = lose_stream(w);
        if (r == -ETIMEDOUT)
            ret_progress->n = w->reached;
        if (r)
            return r;
        if (w->n_events || w->reached > before) {
            *ret_events = w->events;
            *ret_n = w->n_events;
            ret_progress->n = w->reached;
            return 0;
        }
    }
}
