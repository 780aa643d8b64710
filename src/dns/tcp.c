/* SPDX-License-Identifier: Apache-2.0 */
/* DNS over TCP (RFC 7766): several questions a connection, answered in their order. */
#include "base/os.h"
#include "dns/serving.h"

#include <stdio.h>

enum { MAX_CONNECTIONS = 500, IDLE_SECONDS = 10 };

struct connection {
    struct server *server;
    int fd;
    uint16_t port, peer_port;
    char peer[80];
};

static int recv_exact(int fd, char *p, size_t n, struct mono deadline)
{
    for (size_t at = 0; at < n;) {
        ssize_t r = os_recv(fd, p + at, n - at, deadline);
        if (r <= 0)
            return -EPIPE;
        at += (size_t)r;
    }
    return 0;
}

static int answer(struct connection *c, struct str wire, struct dns_reply *reply)
{
    struct dns_query q;
    int r = dns_parse(wire, &q);
    if (r < 0)
        return r;
    struct chain_ask a = {.q = &q, .port = c->port, .peer = c->peer, .peer_port = c->peer_port, .tcp = true,
                          .may_wait = true, .limit = DNS_TCP_SIZE, .random = os_random_u64(), .now = os_mono()};
    if (r > 0)
        chain_fail(&q, DNS_TCP_SIZE, (enum dns_code)r, reply);
    else if (!answer_on_loop(c->server, &a, wire.n, reply))
        return -EPIPE;
    return 0;
}

static int serve_question(struct connection *c, struct buf *in, struct dns_reply *reply)
{
    struct mono deadline = mono_add(os_mono(), SECONDS(IDLE_SECONDS)); /* idle connections go after a while */
    char length[2];
    if (recv_exact(c->fd, length, 2, deadline) < 0)
        return -EPIPE;
    size_t n = dns_get16(length);
    buf_clear(in);
    if (recv_exact(c->fd, buf_grow(in, n), n, deadline) < 0)
        return -EPIPE;
    in->n = n;
    int r = answer(c, buf_str(in), reply);
    if (r < 0)
        return r;
    dns_set16(length, (uint16_t)reply->out.n);
    deadline = mono_add(os_mono(), SECONDS(IDLE_SECONDS));
    buf_clear(in);
    buf_put(in, length, 2);
    buf_putstr(in, buf_str(&reply->out)); /* one segment, not two */
    return os_send(c->fd, in->p, in->n, deadline) < 0 ? -EPIPE : 0;
}

static void serve_connection(void *arg)
{
    struct connection *c = arg;
    struct buf in CLEANUP_BUF = BUF_INIT;
    struct dns_reply reply = {0};
    while (serve_question(c, &in, &reply) == 0)
        ;
    dns_reply_done(&reply);
    os_close(c->fd);
    c->server->tcp_connections--;
    free(c);
}

/* "10.0.0.1:34567", "[::1]:34567" */
static void split_peer(const char *text, struct connection *c)
{
    const char *colon = strrchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : strlen(text), from = n > 2 && text[0] == '[';
    snprintf(c->peer, sizeof(c->peer), "%.*s", (int)(n - 2 * from), text + from);
    c->peer_port = colon ? (uint16_t)atoi(colon + 1) : 0;
}

static void accept_main(void *arg)
{
    struct tcp_listener *l = arg;
    struct server *s = l->server;
    for (;;) {
        char peer[80];
        int fd = os_accept(l->fd, peer, sizeof(peer), MONO_NEVER);
        if (fd == -ECANCELED || fd == -EBADF)
            return;
        if (fd < 0) {
            if (fiber_sleep(MILLISECONDS(50)) < 0) /* out of descriptors: it passes */
                return;
            continue;
        }
        if (s->tcp_connections >= MAX_CONNECTIONS) {
            os_close(fd);
            continue;
        }
        struct connection *c = NEW(struct connection);
        *c = (struct connection){.server = s, .fd = fd, .port = l->port};
        split_peer(peer, c);
        s->tcp_connections++;
        group_spawn(&s->fibers, "dns-tcp", serve_connection, c);
    }
}

int tcp_start(struct server *s, const char *address, uint16_t port, struct err *e)
{
    if (s->n_tcp == MAX_LISTEN)
        return err_set(e, -E2BIG, "more than %d addresses", MAX_LISTEN);
    int fd = os_listen(address, e);
    if (fd < 0)
        return fd;
    struct tcp_listener *l = &s->tcp[s->n_tcp++];
    *l = (struct tcp_listener){s, fd, port};
    group_spawn(&s->accepting, "dns-accept", accept_main, l);
    return 0;
}
