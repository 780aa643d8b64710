/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/udp.h"

#include "base/os.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 32, IN_SIZE = 1536, CONTROL = 64, MAX_DEFERRED = 1000, RECEIVE_BUFFER = 4 << 20 };

/* Where an answer goes back: the same socket, from the address that was asked. */
struct udp_way {
    int fd;
    struct sockaddr_storage peer;
    socklen_t peer_size;
    char control[CONTROL] __attribute__((aligned(8)));
    size_t control_size;
};

struct worker {
    struct udp_server *server;
    unsigned number;
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    int *fds; /* one an address */
    uint64_t random;
    /* of the batch at hand */
    char in[BATCH][IN_SIZE];
    struct udp_way ways[BATCH];
    struct dns_reply replies[BATCH];
};

struct udp_server {
    atomic_uint refs;
    udp_answer *answer;
    void *ctx;
    size_t n_addresses;
    uint16_t *ports;
    struct worker *workers;
    unsigned n_workers;
    int stop, deferred_event;
    pthread_mutex_t queue_lock;
    struct udp_deferred *first, **last;
    unsigned n_deferred; /* queued or being answered */
};

/* ---- sockets -------------------------------------------------------------------------------------------------- */

static int parse_address(const char *text, struct sockaddr_storage *ret, socklen_t *ret_size, uint16_t *ret_port)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
    char host[64];
    const char *colon = strrchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : 0;
    int64_t port;
    bool six = n > 2 && text[0] == '[';
    if (!colon || n - (six ? 2 : 0) >= sizeof(host) || str_to_i64(str_of(colon + 1), &port) || port < 0 || port > 65535)
        return -EINVAL;
    memset(ret, 0, sizeof(*ret));
    snprintf(host, sizeof(host), "%.*s", (int)(six ? n - 2 : n), text + six);
    *ret_port = (uint16_t)port;
    *ret_size = six ? sizeof(*v6) : sizeof(*v4);
    if (six) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1 ? 0 : -EINVAL;
    }
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &v4->sin_addr) == 1 ? 0 : -EINVAL;
}

static bool is_any(const struct sockaddr_storage *a)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;
    return a->ss_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr) : v4->sin_addr.s_addr == INADDR_ANY;
}

static int open_socket(const char *address, uint16_t *ret_port)
{
    struct sockaddr_storage a;
    socklen_t size;
    int on = 1, buffer = RECEIVE_BUFFER, r = parse_address(address, &a, &size, ret_port);
    if (r < 0)
        return r;
    int fd = socket(a.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
    if (a.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (is_any(&a)) /* else there is one address that can have been asked, and telling it with each datagram costs */
        setsockopt(fd, a.ss_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP,
                   a.ss_family == AF_INET6 ? IPV6_RECVPKTINFO : IP_PKTINFO, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&a, size) < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

/* The control message of a datagram that came, as one for the answer: from the address that was asked. */
static size_t turn_control(struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            info.ipi_spec_dst = info.ipi_addr;
            info.ipi_ifindex = 0;
            memcpy(CMSG_DATA(c), &info, sizeof(info));
        } else if (c->cmsg_level != IPPROTO_IPV6 || c->cmsg_type != IPV6_PKTINFO) {
            return 0;
        }
    }
    return m->msg_controllen;
}

/* ---- what must wait --------------------------------------------------------------------------------------------- */

static void address_text(const struct sockaddr_storage *a, char ret[static 64], uint16_t *ret_port)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;
    bool six = a->ss_family == AF_INET6;
    if (!inet_ntop(a->ss_family, six ? (const void *)&v6->sin6_addr : (const void *)&v4->sin_addr, ret, 64))
        ret[0] = '\0';
    *ret_port = ntohs(six ? v6->sin6_port : v4->sin_port);
}

/* The address that was asked: as the datagram says, else the socket's one. */
static void local_text(const struct udp_way *w, char ret[static 64])
{
    struct sockaddr_storage own = {0};
    socklen_t size = sizeof(own);
    uint16_t port;
    struct msghdr m = {.msg_control = (void *)(uintptr_t)w->control, .msg_controllen = w->control_size};
    struct cmsghdr *c = w->control_size ? CMSG_FIRSTHDR(&m) : NULL;
    struct in_pktinfo four;
    struct in6_pktinfo six;
    bool v6 = c && c->cmsg_level == IPPROTO_IPV6;
    ret[0] = '\0';
    if (!c) {
        if (getsockname(w->fd, (struct sockaddr *)&own, &size) == 0)
            address_text(&own, ret, &port);
        return;
    }
    memcpy(v6 ? (void *)&six : (void *)&four, CMSG_DATA(c), v6 ? sizeof(six) : sizeof(four));
    inet_ntop(v6 ? AF_INET6 : AF_INET, v6 ? (const void *)&six.ipi6_addr : (const void *)&four.ipi_spec_dst, ret, 64);
}

/* False: too many wait already. */
static bool defer(struct udp_server *s, const struct udp_way *way, uint16_t port, struct str wire)
{
    uint64_t one = 1;
    bool room;
    pthread_mutex_lock(&s->queue_lock);
    room = s->n_deferred < MAX_DEFERRED;
    s->n_deferred += room;
    pthread_mutex_unlock(&s->queue_lock);
    if (!room)
        return false;
    struct udp_deferred *d = NEW(struct udp_deferred);
    d->server = s;
    d->port = port;
    d->way = NEW(struct udp_way);
    *d->way = *way;
    buf_putstr(&d->wire, wire);
    address_text(&way->peer, d->peer, &d->peer_port);
    local_text(way, d->local);
    atomic_fetch_add(&s->refs, 1);
    pthread_mutex_lock(&s->queue_lock);
    *s->last = d;
    s->last = &d->next;
    pthread_mutex_unlock(&s->queue_lock);
    return write(s->deferred_event, &one, sizeof(one)) == sizeof(one);
}

int udp_next_deferred(struct udp_server *s, struct udp_deferred **ret)
{
    for (;;) {
        uint64_t n;
        pthread_mutex_lock(&s->queue_lock);
        struct udp_deferred *d = s->first;
        if (d)
            s->first = d->next;
        if (!s->first)
            s->last = &s->first;
        pthread_mutex_unlock(&s->queue_lock);
        if (d) {
            d->next = NULL;
            *ret = d;
            return 0;
        }
        int r = os_wait_fd(s->deferred_event, OS_READABLE, MONO_NEVER);
        if (r < 0)
            return r;
        if (read(s->deferred_event, &n, sizeof(n)) < 0 && errno != EAGAIN)
            return -errno;
    }
}

void udp_send(const struct udp_deferred *d, struct str wire)
{
    struct iovec v = {(void *)wire.p, wire.n};
    struct msghdr m = {.msg_name = &d->way->peer, .msg_namelen = d->way->peer_size, .msg_iov = &v, .msg_iovlen = 1,
                       .msg_control = d->way->control_size ? d->way->control : NULL,
                       .msg_controllen = d->way->control_size};
    if (wire.n)
        sendmsg(d->way->fd, &m, MSG_DONTWAIT); /* what does not go out is asked again */
}

void udp_deferred_free(struct udp_deferred *d)
{
    struct udp_server *s = d->server;
    pthread_mutex_lock(&s->queue_lock);
    s->n_deferred--;
    pthread_mutex_unlock(&s->queue_lock);
    buf_done(&d->wire);
    free(d->way);
    free(d);
    udp_unref(s);
}

/* ---- the threads ------------------------------------------------------------------------------------------------ */

static int receive(struct worker *w, int fd, struct mmsghdr *messages, struct iovec *vectors)
{
    for (int i = 0; i < BATCH; i++) {
        struct udp_way *way = &w->ways[i];
        vectors[i] = (struct iovec){w->in[i], IN_SIZE};
        messages[i].msg_hdr = (struct msghdr){.msg_name = &way->peer, .msg_namelen = sizeof(way->peer), .msg_iov = &vectors[i],
                                              .msg_iovlen = 1, .msg_control = way->control, .msg_controllen = CONTROL};
    }
    return recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
}

static uint64_t next_random(struct worker *w) /* xorshift: it only turns the order of addresses */
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}

/* Answers what came, and leaves in messages what is to be sent; returns how many. */
static int answer_batch(struct worker *w, int fd, uint16_t port, struct mmsghdr *messages, struct iovec *vectors, int n)
{
    struct udp_server *s = w->server;
    struct mono now = os_mono();
    int send = 0;
    pthread_mutex_lock(&w->lock);
    for (int i = 0; i < n; i++) {
        struct udp_way *way = &w->ways[i];
        struct udp_question q = {.wire = str_n(w->in[i], messages[i].msg_len), .worker = w->number, .port = port,
                                 .v6 = way->peer.ss_family == AF_INET6, .random = next_random(w), .now = now};
        way->fd = fd;
        way->peer_size = messages[i].msg_hdr.msg_namelen;
        way->control_size = turn_control(&messages[i].msg_hdr);
        enum udp_verdict v = messages[i].msg_hdr.msg_flags & MSG_TRUNC ? UDP_DROP : s->answer(s->ctx, &q, &w->replies[i]);
        if (v == UDP_DEFER)
            defer(s, way, port, q.wire); /* one that finds no room is dropped: it is asked again */
        if (v != UDP_SEND)
            continue;
        vectors[send] = (struct iovec){w->replies[i].out.p, w->replies[i].out.n};
        messages[send].msg_hdr = (struct msghdr){.msg_name = &way->peer, .msg_namelen = way->peer_size,
                                                 .msg_iov = &vectors[send], .msg_iovlen = 1,
                                                 .msg_control = way->control_size ? way->control : NULL,
                                                 .msg_controllen = way->control_size};
        send++;
    }
    pthread_mutex_unlock(&w->lock);
    return send;
}

/* One batch of one socket that has something to read. */
static void serve_socket(struct worker *w, int fd, uint16_t port)
{
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    int n = receive(w, fd, messages, vectors);
    if (n <= 0)
        return; /* errors of earlier sends (ICMP) come back here and mean nothing */
    int send = answer_batch(w, fd, port, messages, vectors, n);
    for (int at = 0; at < send;) {
        int r = sendmmsg(fd, messages + at, (unsigned)(send - at), 0);
        if (r < 0 && errno == EAGAIN) {
            struct pollfd p = {fd, POLLOUT, 0};
            poll(&p, 1, 100);
        }
        at += r > 0 ? r : 1; /* one that cannot be sent does not hold up the others */
    }
}

/* Three calls of the kernel a batch, if it is of one question, too: whether there is more is asked only by waiting for it. */
static void serve(struct worker *w, struct pollfd *polls)
{
    struct udp_server *s = w->server;
    while (poll(polls, s->n_addresses + 1, -1) >= 0 || errno == EINTR) {
        if (polls[s->n_addresses].revents)
            return;
        for (size_t i = 0; i < s->n_addresses; i++)
            if (polls[i].revents)
                serve_socket(w, w->fds[i], s->ports[i]);
    }
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct udp_server *s = w->server;
    struct pollfd *polls = xcalloc(s->n_addresses + 1, sizeof(*polls));
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL); /* signals are the loop's */
    os_use(&os_real);
    for (size_t i = 0; i < s->n_addresses; i++)
        polls[i] = (struct pollfd){w->fds[i], POLLIN, 0};
    polls[s->n_addresses] = (struct pollfd){s->stop, POLLIN, 0};
    serve(w, polls);
    free(polls);
    os_thread_done();
    return NULL;
}

void udp_lock(struct udp_server *s)
{
    for (unsigned i = 0; s && i < s->n_workers; i++)
        pthread_mutex_lock(&s->workers[i].lock);
}

void udp_unlock(struct udp_server *s)
{
    for (unsigned i = s ? s->n_workers : 0; i; i--)
        pthread_mutex_unlock(&s->workers[i - 1].lock);
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

static int open_all(struct udp_server *s, const struct udp_config *c, struct err *e)
{
    for (unsigned i = 0; i < s->n_workers; i++) {
        struct worker *w = &s->workers[i];
        for (size_t j = 0; j < c->n; j++) {
            w->fds[j] = open_socket(c->addresses[j], &s->ports[j]);
            if (w->fds[j] < 0)
                return err_set(e, w->fds[j], "cannot answer at %s (UDP): %s", c->addresses[j], strerror(-w->fds[j]));
        }
    }
    return 0;
}

static int start_threads(struct udp_server *s, struct err *e)
{
    for (unsigned i = 0; i < s->n_workers; i++) {
        struct worker *w = &s->workers[i];
        int r = pthread_create(&w->thread, NULL, worker_main, w);
        if (r)
            return err_set(e, -r, "cannot start a thread: %s", strerror(r));
        w->running = true;
    }
    return 0;
}

int udp_start(const struct udp_config *c, struct udp_server **ret, struct err *e)
{
    struct udp_server *s = NEW(struct udp_server);
    atomic_init(&s->refs, 1);
    s->answer = c->answer;
    s->ctx = c->ctx;
    s->n_addresses = c->n;
    s->ports = xcalloc(MAX(c->n, (size_t)1), sizeof(*s->ports));
    s->n_workers = c->threads;
    s->workers = xcalloc(MAX(c->threads, 1u), sizeof(*s->workers));
    s->last = &s->first;
    s->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->deferred_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&s->queue_lock, NULL);
    for (unsigned i = 0; i < s->n_workers; i++) {
        struct worker *w = &s->workers[i];
        w->server = s;
        w->number = i;
        w->random = os_random_u64() | 1;
        w->fds = xcalloc(MAX(c->n, (size_t)1), sizeof(*w->fds));
        for (size_t j = 0; j < c->n; j++)
            w->fds[j] = -1;
        pthread_mutex_init(&w->lock, NULL);
    }
    int r = s->stop < 0 || s->deferred_event < 0 ? -EMFILE : open_all(s, c, e);
    if (r == 0)
        r = start_threads(s, e);
    if (r < 0) {
        udp_stop(s);
        udp_unref(s);
        return r;
    }
    *ret = s;
    return 0;
}

void udp_stop(struct udp_server *s)
{
    uint64_t one = 1;
    if (write(s->stop, &one, sizeof(one)) < 0)
        return; /* cannot be: an event that nobody reads has room */
    for (unsigned i = 0; i < s->n_workers; i++)
        if (s->workers[i].running)
            pthread_join(s->workers[i].thread, NULL);
    for (unsigned i = 0; i < s->n_workers; i++)
        s->workers[i].running = false;
    os_forget_fd(s->deferred_event);
    for (struct udp_deferred *d = s->first, *next; d; d = next) {
        next = d->next;
        udp_deferred_free(d);
    }
    s->first = NULL;
    s->last = &s->first;
}

void udp_unref(struct udp_server *s)
{
    if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    for (unsigned i = 0; i < s->n_workers; i++) {
        struct worker *w = &s->workers[i];
        for (size_t j = 0; j < s->n_addresses; j++)
            if (w->fds[j] >= 0)
                close(w->fds[j]);
        for (int j = 0; j < BATCH; j++)
            dns_reply_done(&w->replies[j]);
        free(w->fds);
        pthread_mutex_destroy(&w->lock);
    }
    close(s->stop);
    close(s->deferred_event);
    pthread_mutex_destroy(&s->queue_lock);
    free(s->workers);
    free(s->ports);
    free(s);
}
