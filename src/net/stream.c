/* SPDX-License-Identifier: Apache-2.0 */
#include "net/stream.h"

#include "base/fiber.h"

/* ---- what all streams share --------------------------------------------------------------------------- */

ssize_t stream_try_read(struct stream *s, void *p, size_t n)
{
    if (s->aborted)
        return -ECONNABORTED;
    if (n == 0)
        return 0;
    if (s->unread.n) {
        size_t take = MIN(n, s->unread.n);
        memcpy(p, s->unread.p, take);
        buf_consume(&s->unread, take);
        if (s->unread.n == 0)
            buf_done(&s->unread);
        return (ssize_t)take;
    }
    return s->ops->try_read(s, p, n);
}

ssize_t stream_try_write(struct stream *s, const void *p, size_t n)
{
    if (s->aborted)
        return -ECONNABORTED;
    return n ? s->ops->try_write(s, p, n) : 0;
}

int stream_wait(struct stream *s, int events, struct mono deadline)
{
    if (s->aborted)
        return -ECONNABORTED;
    if ((events & OS_READABLE) && s->unread.n)
        return 0;
    int r = s->ops->wait(s, events, deadline);
    if (s->aborted)
        return -ECONNABORTED;
    return r < 0 ? r : 0;
}

ssize_t stream_read(struct stream *s, void *p, size_t n, struct mono deadline)
{
    for (;;) {
        ssize_t r = stream_try_read(s, p, n);
        if (r != -EAGAIN)
            return r;
        int w = stream_wait(s, OS_READABLE, deadline);
        if (w < 0)
            return w;
    }
}

int stream_read_full(struct stream *s, void *p, size_t n, struct mono deadline)
{
    for (size_t at = 0; at < n;) {
        ssize_t r = stream_read(s, (char *)p + at, n - at, deadline);
        if (r < 0)
            return (int)r;
        if (r == 0)
            return at ? -EPIPE : -ENODATA;
        at += (size_t)r;
    }
    return 0;
}

int stream_write(struct stream *s, const void *p, size_t n, struct mono deadline)
{
    for (size_t at = 0; at < n;) {
        ssize_t r = stream_try_write(s, (const char *)p + at, n - at);
        if (r >= 0) {
            at += (size_t)r;
            continue;
        }
        if (r != -EAGAIN)
            return (int)r;
        int w = stream_wait(s, OS_WRITABLE, deadline);
        if (w < 0)
            return w;
    }
    return 0;
}

void stream_unread(struct stream *s, const void *p, size_t n)
{
    struct buf b = BUF_INIT;
    buf_put(&b, p, n);
    buf_put(&b, s->unread.p, s->unread.n);
    buf_done(&s->unread);
    s->unread = b;
}

int stream_shutdown(struct stream *s)
{
    return s->aborted ? -ECONNABORTED : s->ops->shutdown(s);
}

void stream_abort(struct stream *s)
{
    if (s->aborted)
        return;
    s->aborted = true;
    s->ops->abort(s);
}

void stream_free(struct stream *s)
{
    if (!s)
        return;
    buf_done(&s->unread);
    s->ops->free(s);
}

/* ---- sockets ------------------------------------------------------------------------------------------ */

struct fd_stream {
    struct stream s;
    int fd;
};

static struct fd_stream *fd_of(struct stream *s)
{
    return CONTAINER_OF(s, struct fd_stream, s);
}

static ssize_t fd_try_read(struct stream *s, void *p, size_t n)
{
    return os_try_recv(fd_of(s)->fd, p, n);
}

static ssize_t fd_try_write(struct stream *s, const void *p, size_t n)
{
    return os_try_send(fd_of(s)->fd, p, n, false);
}

static int fd_wait(struct stream *s, int events, struct mono deadline)
{
    return os_wait_fd(fd_of(s)->fd, events, deadline);
}

static int fd_shutdown(struct stream *s)
{
    return os_shutdown(fd_of(s)->fd);
}

static void fd_abort(struct stream *s)
{
    os_close(TAKE_FD(fd_of(s)->fd));
}

static void fd_free(struct stream *s)
{
    if (fd_of(s)->fd >= 0)
        os_close(fd_of(s)->fd);
    free(fd_of(s));
}

static const struct stream_ops fd_ops = {fd_try_read, fd_try_write, fd_wait, fd_shutdown, fd_abort, fd_free};

struct stream *stream_of_fd(int fd)
{
    struct fd_stream *f = NEW(struct fd_stream);
    f->s.ops = &fd_ops;
    f->fd = fd;
    return &f->s;
}

int stream_connect(const char *address, struct mono deadline, struct stream **ret)
{
    int fd = os_connect(address, deadline);
    if (fd < 0)
        return fd;
    *ret = stream_of_fd(fd);
    return 0;
}

/* ---- pairs in memory ---------------------------------------------------------------------------------- */

struct pipe {
    struct buf data;
    bool closed; /* the writer has ended */
    bool broken; /* the reader has gone, or either end was aborted */
    struct waitq q;
};

struct pair {
    struct pipe pipes[2]; /* pipes[i] is what end i reads */
    size_t cap;
    unsigned ends;
};

struct pair_stream {
    struct stream s;
    struct pair *pair;
    struct pipe *in, *out;
};

static struct pair_stream *pair_of(struct stream *s)
{
    return CONTAINER_OF(s, struct pair_stream, s);
}

static ssize_t pair_try_read(struct stream *s, void *p, size_t n)
{
    struct pipe *in = pair_of(s)->in;
    if (in->data.n == 0)
        return in->broken ? -ECONNRESET : in->closed ? 0 : -EAGAIN;
    size_t take = MIN(n, in->data.n);
    memcpy(p, in->data.p, take);
    buf_consume(&in->data, take);
    waitq_wake_all(&in->q);
    return (ssize_t)take;
}

static ssize_t pair_try_write(struct stream *s, const void *p, size_t n)
{
    struct pair_stream *ps = pair_of(s);
    if (ps->out->closed || ps->out->broken)
        return -EPIPE;
    if (ps->out->data.n >= ps->pair->cap)
        return -EAGAIN;
    size_t take = MIN(n, ps->pair->cap - ps->out->data.n);
    buf_put(&ps->out->data, p, take);
    waitq_wake_all(&ps->out->q);
    return (ssize_t)take;
}

static bool pair_ready(struct pair_stream *ps, int events)
{
    if (events & OS_READABLE)
        return ps->s.aborted || ps->in->data.n || ps->in->closed || ps->in->broken;
    return ps->s.aborted || ps->out->data.n < ps->pair->cap || ps->out->closed || ps->out->broken;
}

static int pair_wait(struct stream *s, int events, struct mono deadline)
{
    struct pair_stream *ps = pair_of(s);
    while (!pair_ready(ps, events)) {
        int r = waitq_wait(events & OS_READABLE ? &ps->in->q : &ps->out->q, deadline);
        if (r < 0)
            return r;
    }
    return 0;
}

static int pair_shutdown(struct stream *s)
{
    pair_of(s)->out->closed = true;
    waitq_wake_all(&pair_of(s)->out->q);
    return 0;
}

static void pair_abort(struct stream *s)
{
    struct pair_stream *ps = pair_of(s);
    ps->in->broken = ps->out->broken = true;
    waitq_wake_all(&ps->in->q);
    waitq_wake_all(&ps->out->q);
}

static void pair_free(struct stream *s)
{
    struct pair_stream *ps = pair_of(s);
    ps->in->broken = true;
    ps->out->closed = true;
    waitq_wake_all(&ps->in->q);
    waitq_wake_all(&ps->out->q);
    if (--ps->pair->ends == 0) {
        buf_done(&ps->pair->pipes[0].data);
        buf_done(&ps->pair->pipes[1].data);
        free(ps->pair);
    }
    free(ps);
}

static const struct stream_ops pair_ops = {pair_try_read, pair_try_write, pair_wait,
                                           pair_shutdown, pair_abort,     pair_free};

void stream_pair(size_t cap, struct stream *ret[2])
{
    struct pair *pair = NEW(struct pair);
    pair->cap = cap;
    pair->ends = 2;
    for (int i = 0; i < 2; i++) {
        struct pair_stream *ps = NEW(struct pair_stream);
        ps->s.ops = &pair_ops;
        ps->pair = pair;
        ps->in = &pair->pipes[i];
        ps->out = &pair->pipes[!i];
        ret[i] = &ps->s;
    }
}

/* ---- splice ------------------------------------------------------------------------------------------- */

struct splice {
    struct stream *a, *b;
    int64_t idle;
    struct mono moved; /* when anything last moved in either direction */
    int error;
};

enum { SPLICE_CHUNK = 16384 };

/* One piece from one stream to the other. 1 when a piece moved, 0 at the end. */
static int splice_piece(struct splice *sp, struct stream *from, struct stream *to, char *chunk)
{
    for (;;) {
        struct mono deadline = sp->idle ? mono_add(sp->moved, sp->idle) : MONO_NEVER;
        ssize_t n = stream_read(from, chunk, SPLICE_CHUNK, deadline);
        if (n == -ETIMEDOUT && os_mono().ns < mono_add(sp->moved, sp->idle).ns)
            continue; /* the other direction is alive */
        if (n <= 0)
            return (int)n;
        sp->moved = os_mono();
        int r = stream_write(to, chunk, (size_t)n, sp->idle ? mono_add(sp->moved, sp->idle) : MONO_NEVER);
        return r < 0 ? r : 1;
    }
}

static void splice_way(struct splice *sp, struct stream *from, struct stream *to)
{
    char *chunk = xmalloc(SPLICE_CHUNK);
    int r;
    do {
        r = splice_piece(sp, from, to, chunk);
    } while (r > 0);
    free(chunk);
    if (r == 0) {
        stream_shutdown(to);
        return;
    }
    if (!sp->error)
        sp->error = r;
    stream_abort(sp->a);
    stream_abort(sp->b);
}

static void splice_back(void *arg)
{
    struct splice *sp = arg;
    splice_way(sp, sp->b, sp->a);
}

int stream_splice(struct stream *a, struct stream *b, int64_t idle)
{
    struct splice sp = {.a = a, .b = b, .idle = idle, .moved = os_mono()};
    struct group g = {0};
    group_spawn(&g, "splice", splice_back, &sp);
    splice_way(&sp, a, b);
    int r = group_wait(&g, MONO_NEVER);
    if (r < 0) {
        stream_abort(a);
        stream_abort(b);
        sp.error = sp.error ? sp.error : r;
    }
    group_stop(&g);
    return sp.error;
}
