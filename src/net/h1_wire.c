/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h1_wire.h"

void h1_wire_done(struct h1_wire *w)
{
    h1_done(&w->h1);
    buf_done(&w->in);
}

int h1_wire_feed(struct h1_wire *w)
{
    size_t used;
    if (w->in.n) {
        h1_feed(&w->h1, w->in.p, w->in.n, &used);
        buf_consume(&w->in, used);
        if (w->in.n == 0)
            buf_done(&w->in);
        return 1;
    }
    char *scratch = http_scratch();
    ssize_t n = stream_try_read(w->stream, scratch, HTTP_SCRATCH);
    if (n <= 0)
        return (int)n;
    h1_feed(&w->h1, scratch, (size_t)n, &used);
    if (used < (size_t)n && !w->h1.fault)
        buf_put(&w->in, scratch + used, (size_t)n - used);
    return 1;
}

int h1_wire_head(struct h1_wire *w, struct mono deadline, int64_t head_timeout)
{
    bool first = true;
    while (!w->h1.head_done && !w->h1.fault) {
        int r = h1_wire_feed(w);
        if (r == 1 && first) {
            first = false;
            if (head_timeout)
                deadline = mono_add(os_mono(), head_timeout);
        }
        if (r == 0)
            return first ? -ENODATA : -EPIPE;
        if (r == -EAGAIN)
            r = stream_wait(w->stream, OS_READABLE, deadline);
        if (r < 0)
            return r;
    }
    return w->h1.fault;
}

/* The stream has ended: fine for a response whose body ends with it. */
static int at_eof(struct h1_wire *w)
{
    return h1_feed_eof(&w->h1) ? -EPIPE : 0;
}

ssize_t h1_wire_read(struct h1_wire *w, void *p, size_t n, struct mono deadline)
{
    struct h1 *h = &w->h1;
    if (h->body.n) {
        size_t take = MIN(n, h->body.n);
        memcpy(p, h->body.p, take);
        buf_consume(&h->body, take);
        return (ssize_t)take;
    }
    while (!h->done && !h->fault) {
        h->into = p;
        h->into_n = n;
        int r = h1_wire_feed(w);
        size_t got = n - h->into_n;
        h->into_n = 0;
        if (got)
            return (ssize_t)got;
        if (r == 0)
            return at_eof(w);
        if (r == -EAGAIN)
            r = stream_wait(w->stream, OS_READABLE, deadline);
        if (r < 0)
            return r == -ETIMEDOUT || r == -ECANCELED || r == -ECONNABORTED ? r : -EPIPE;
    }
    return h->fault ? -EPROTO : 0;
}

void h1_wire_unread(struct h1_wire *w)
{
    if (w->in.n)
        stream_unread(w->stream, w->in.p, w->in.n);
    if (w->h1.body.n)
        stream_unread(w->stream, w->h1.body.p, w->h1.body.n);
    buf_done(&w->in);
}
