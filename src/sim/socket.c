/* SPDX-License-Identifier: Apache-2.0 */
/* Simulated sockets: a stream is two pipes; what is sent can be received after a latency, in order. */
#include "sim/internal.h"

#include <stdio.h>

enum { PIPE_BYTES = 256 << 10, DATAGRAMS = 256 };

/* A piece on its way. */
struct chunk {
    struct list link;
    int64_t arrives;
    size_t n, taken;
    char data[];
};

struct sim_pipe {
    unsigned refs;
    struct list chunks;
    size_t bytes;
    int64_t last_arrival;
    bool ended, broken; /* no more will come; the reader has gone */
    struct waitq *reader, *writer; /* of the fds at its ends; NULL when closed */
};

struct datagram {
    struct list link;
    char from[64];
    size_t n;
    char data[];
};

struct pending_connection {
    struct list link;
    int fd; /* the server's end, ready to use */
};

/* ---- pipes ------------------------------------------------------------------------------------------------ */

static struct sim_pipe *pipe_ref(struct sim_pipe *p)
{
    p->refs++;
    return p;
}

static void pipe_unref(struct sim_pipe *p)
{
    if (!p || --p->refs)
        return;
    struct list *l;
    while ((l = list_pop_front(&p->chunks)))
        free(LIST_ENTRY(l, struct chunk, link));
    free(p);
}

static int new_pair(int ret[2])
{
    struct sim_pipe *ab = NEW(struct sim_pipe), *ba = NEW(struct sim_pipe);
    for (int i = 0; i < 2; i++) {
        ret[i] = sim_fd_new(FD_STREAM);
        struct sim_fd *f = sim_fd_get(ret[i]);
        f->out = pipe_ref(i ? ba : ab);
        f->in = pipe_ref(i ? ab : ba);
        f->out->writer = &f->waiters;
        f->in->reader = &f->waiters;
        f->address = xstrdup("sim:0");
    }
    return 0;
}

int sim_socketpair(int ret[2])
{
    return new_pair(ret);
}

ssize_t sim_try_recv(int fd, void *p, size_t n)
{
    struct sim_fd *f = sim_fd_get(fd);
    if (!f || f->kind != FD_STREAM)
        return -EBADF;
    struct list *l = list_empty(&f->in->chunks) ? NULL : f->in->chunks.next;
    if (!l)
        return f->in->ended ? 0 : -EAGAIN;
    struct chunk *c = LIST_ENTRY(l, struct chunk, link);
    if (c->arrives > sim->now)
        return -EAGAIN;
    n = MIN(n, c->n - c->taken);
    memcpy(p, c->data + c->taken, n);
    c->taken += n;
    f->in->bytes -= n;
    if (c->taken == c->n) {
        list_remove(&c->link);
        free(c);
    }
    if (f->in->writer)
        waitq_wake_all(f->in->writer);
    return (ssize_t)n;
}

ssize_t sim_try_send(int fd, const void *p, size_t n, bool more UNUSED)
{
    struct sim_fd *f = sim_fd_get(fd);
    if (!f || f->kind != FD_STREAM)
        return -EBADF;
    struct sim_pipe *out = f->out;
    if (out->broken || out->ended)
        return -EPIPE;
    if (out->bytes >= PIPE_BYTES)
        return -EAGAIN;
    n = MIN(n, PIPE_BYTES - out->bytes);
    struct chunk *c = xcalloc(1, sizeof(*c) + n);
    memcpy(c->data, p, n);
    c->n = n;
    int64_t latency = sim_between(sim->config.latency_min_ns, sim->config.latency_max_ns);
    c->arrives = out->last_arrival = MAX(out->last_arrival, sim->now + latency);
    list_push_back(&out->chunks, &c->link);
    out->bytes += n;
    if (out->reader)
        waitq_wake_all(out->reader);
    return (ssize_t)n;
}

int sim_shutdown(int fd)
{
    struct sim_fd *f = sim_fd_get(fd);
    if (!f || f->kind != FD_STREAM)
        return -EBADF;
    f->out->ended = true;
    if (f->out->reader)
        waitq_wake_all(f->out->reader);
    return 0;
}

/* ---- connections -------------------------------------------------------------------------------------------- */

int sim_listen(const char *address, struct err *e)
{
    char own[128];
    struct str s = str_of(address);
    snprintf(own, sizeof(own), "%s", address);
    if (str_ends(s, STR(":0")))
        snprintf(own, sizeof(own), STR_FMT ":%u", (int)(s.n - 2), address, sim->next_port++);
    if (map_has(&sim->listeners, str_of(own)))
        return err_set(e, -EADDRINUSE, "cannot listen on %s: another program already uses this address and port", own);
    int fd = sim_fd_new(FD_LISTENER);
    sim_fd_get(fd)->address = xstrdup(own);
    map_put(&sim->listeners, str_of(own), (void *)(intptr_t)fd);
    return fd;
}

static int find_listener(const char *address)
{
    char any[128];
    void *fd = map_get(&sim->listeners, str_of(address));
    ssize_t colon = str_rfind(str_of(address), ':');
    if (!fd && colon >= 0) {
        snprintf(any, sizeof(any), "0.0.0.0%s", address + colon);
        fd = map_get(&sim->listeners, str_of(any));
    }
    return fd ? (int)(intptr_t)fd : -1;
}

int sim_connect(const char *address, struct mono deadline UNUSED)
{
    int r = fiber_sleep(sim_between(sim->config.latency_min_ns, sim->config.latency_max_ns)), pair[2];
    if (r < 0)
        return r;
    int server = find_listener(address);
    if (server < 0)
        return -ECONNREFUSED;
    new_pair(pair);
    struct pending_connection *p = NEW(struct pending_connection);
    p->fd = pair[1];
    struct sim_fd *l = sim_fd_get(server);
    list_push_back(&l->backlog, &p->link);
    waitq_wake_all(&l->waiters);
    return pair[0];
}

int sim_accept(int fd, char *ret_peer, size_t peer_size, struct mono deadline)
{
    for (;;) {
        struct sim_fd *l = sim_fd_get(fd);
        if (!l || l->kind != FD_LISTENER)
            return -EBADF;
        struct list *first = list_pop_front(&l->backlog);
        if (first) {
            struct pending_connection *p = LIST_ENTRY(first, struct pending_connection, link);
            int c = p->fd;
            free(p);
            if (ret_peer)
                snprintf(ret_peer, peer_size, "10.255.0.1:1");
            return c;
        }
        int r = waitq_wait(&l->waiters, deadline);
        if (r < 0)
            return r;
    }
}

int sim_local_address(int fd, char *ret, size_t size)
{
    struct sim_fd *f = sim_fd_get(fd);
    if (!f)
        return -EBADF;
    snprintf(ret, size, "%s", f->address ? f->address : "");
    return 0;
}

/* Readable: bytes that have arrived, or the end. The wait ends when something changes or arrives. */
int sim_wait_fd(int fd, int events, struct mono deadline)
{
    for (;;) {
        struct sim_fd *f = sim_fd_get(fd);
        struct mono until = deadline;
        if (!f)
            return -EBADF;
        if (f->kind == FD_DATAGRAM && !list_empty(&f->datagrams))
            return OS_READABLE;
        if (f->kind == FD_STREAM) {
            struct chunk *c = list_empty(&f->in->chunks) ? NULL : LIST_ENTRY(f->in->chunks.next, struct chunk, link);
            if ((events & OS_READABLE) && ((c && c->arrives <= sim->now) || (!c && f->in->ended)))
                return OS_READABLE;
            if ((events & OS_WRITABLE) && (f->out->bytes < PIPE_BYTES || f->out->broken))
                return OS_WRITABLE;
            if ((events & OS_READABLE) && c)
                until.ns = MIN(until.ns, c->arrives);
        }
        int r = waitq_wait(&f->waiters, until);
        if (r < 0 && !(r == -ETIMEDOUT && until.ns < deadline.ns))
            return r;
    }
}

/* ---- datagrams ---------------------------------------------------------------------------------------------- */

int sim_udp_bind(const char *address, struct err *e)
{
    char own[128];
    int fd = sim_listen(address, e);
    if (fd < 0)
        return fd;
    struct sim_fd *f = sim_fd_get(fd);
    f->kind = FD_DATAGRAM;
    snprintf(own, sizeof(own), "udp!%s", f->address);
    map_del(&sim->listeners, str_of(f->address));
    map_put(&sim->listeners, str_of(own), (void *)(intptr_t)fd);
    return fd;
}

ssize_t sim_sendto(int fd, const void *p, size_t n, const char *peer)
{
    char key[128];
    struct sim_fd *from = sim_fd_get(fd);
    if (!from)
        return -EBADF;
    snprintf(key, sizeof(key), "udp!%s", peer);
    int to = find_listener(key);
    struct sim_fd *f = to < 0 ? NULL : sim_fd_get(to);
    if (!f)
        return (ssize_t)n; /* nobody there: a datagram is lost in silence */
    struct datagram *d = xcalloc(1, sizeof(*d) + n);
    memcpy(d->data, p, n);
    d->n = n;
    snprintf(d->from, sizeof(d->from), "%s", from->address);
    list_push_back(&f->datagrams, &d->link);
    waitq_wake_all(&f->waiters);
    return (ssize_t)n;
}

ssize_t sim_try_recvfrom(int fd, void *p, size_t n, char *ret_peer, size_t peer_size)
{
    struct sim_fd *f = sim_fd_get(fd);
    if (!f || f->kind != FD_DATAGRAM)
        return -EBADF;
    struct list *l = list_pop_front(&f->datagrams);
    if (!l)
        return -EAGAIN;
    struct datagram *d = LIST_ENTRY(l, struct datagram, link);
    n = MIN(n, d->n);
    memcpy(p, d->data, n);
    if (ret_peer)
        snprintf(ret_peer, peer_size, "%s", d->from);
    free(d);
    return (ssize_t)n;
}

/* ---- closing ------------------------------------------------------------------------------------------------ */

static void close_listener(struct sim_fd *f)
{
    char key[160];
    struct list *l;
    snprintf(key, sizeof(key), "%s%s", f->kind == FD_DATAGRAM ? "udp!" : "", f->address ? f->address : "");
    map_del(&sim->listeners, str_of(key));
    while ((l = list_pop_front(&f->backlog))) {
        struct pending_connection *p = LIST_ENTRY(l, struct pending_connection, link);
        sim_fd_free(p->fd);
        free(p);
    }
    while ((l = list_pop_front(&f->datagrams)))
        free(LIST_ENTRY(l, struct datagram, link));
}

void socket_closed(struct sim_fd *f)
{
    if (f->kind != FD_STREAM) {
        close_listener(f);
        return;
    }
    f->out->ended = true;
    f->in->broken = true;
    f->out->writer = NULL;
    f->in->reader = NULL;
    if (f->out->reader)
        waitq_wake_all(f->out->reader);
    if (f->in->writer)
        waitq_wake_all(f->in->writer);
    pipe_unref(f->in);
    pipe_unref(f->out);
}
