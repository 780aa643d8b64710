/* SPDX-License-Identifier: Apache-2.0 */
/* DNS over TCP (RFC 7766) and over TLS (RFC 7858): several questions a connection at a time, each
 * answered when its answer is there. */
#include "base/os.h"
#include "dns/serving.h"
#include "net/stream.h"

#include <stdio.h>

/* A peer is a pod or a resolver for many: one alone must not have all connections. */
enum { MAX_CONNECTIONS = 500, MAX_OF_ONE_PEER = 100, IDLE_SECONDS = 10, MAX_UNDER_WAY = 16 };

struct connection {
    struct server *server;
    int fd;
    struct stream *stream;
    bool over_tls, broken;
    uint16_t port, peer_port;
    char peer[80], local[80];
    struct group questions;
    unsigned under_way;
    struct waitq room;
    struct fmutex writing;
};

struct question {
    struct connection *c;
    struct buf wire;
};

static int answer(struct connection *c, struct str wire, struct dns_reply *reply)
{
    struct dns_query q;
    int r = dns_parse(wire, &q);
    if (r < 0)
        return r;
    struct chain_ask a = {.q = &q, .port = c->port, .peer = c->peer, .peer_port = c->peer_port, .local = c->local, .tcp = true,
                          .v6 = strchr(c->peer, ':') != NULL, .may_wait = true, .limit = DNS_TCP_SIZE,
                          .random = os_random_u64(), .now = os_mono()};
    if (r > 0)
        chain_fail(&q, DNS_TCP_SIZE, (enum dns_code)r, reply);
    else if (!answer_on_loop(c->server, &a, wire.n, reply))
        return -EPIPE;
    return 0;
}

static int send_answer(struct connection *c, struct str wire)
{
    struct buf out CLEANUP_BUF = BUF_INIT;
    char length[2];
    dns_set16(length, (uint16_t)wire.n);
    buf_put(&out, length, 2);
    buf_putstr(&out, wire); /* one segment, not two */
    int r = fmutex_lock(&c->writing);
    if (r < 0)
        return r;
    r = c->broken ? -EPIPE : stream_write(c->stream, out.p, out.n, mono_add(os_mono(), SECONDS(IDLE_SECONDS)));
    fmutex_unlock(&c->writing);
    return r;
}

static void serve_question(void *arg)
{
    struct question *q = arg;
    struct connection *c = q->c;
    struct dns_reply reply = {0};
    if (answer(c, buf_str(&q->wire), &reply) < 0 || send_answer(c, buf_str(&reply.out)) < 0) {
        c->broken = true;
        stream_abort(c->stream);
    }
    dns_reply_done(&reply);
    buf_done(&q->wire);
    free(q);
    c->under_way--;
    waitq_wake_all(&c->room);
}

static int read_question(struct connection *c, struct buf *ret)
{
    struct mono deadline = mono_add(os_mono(), SECONDS(IDLE_SECONDS)); /* idle connections go after a while */
    char length[2];
    int r = stream_read_full(c->stream, length, 2, deadline);
    size_t n = r < 0 ? 0 : dns_get16(length);
    if (r == 0 && n)
        r = stream_read_full(c->stream, buf_grow(ret, n), n, deadline);
    ret->n = r < 0 ? 0 : n;
    return r;
}

/* A question that waits for the world does not hold up those behind it (RFC 7766 section 6.2.1.1). */
static void serve_questions(struct connection *c)
{
    while (!c->broken) {
        struct buf wire = BUF_INIT;
        if (read_question(c, &wire) < 0) {
            buf_done(&wire);
            break;
        }
        struct question *q = NEW(struct question);
        *q = (struct question){c, wire};
        c->under_way++;
        group_spawn(&c->questions, "dns-question", serve_question, q);
        while (c->under_way >= MAX_UNDER_WAY && !c->broken)
            if (waitq_wait(&c->room, MONO_NEVER) < 0)
                break;
    }
    group_wait(&c->questions, mono_add(os_mono(), SECONDS(IDLE_SECONDS))); /* who has no more to ask may still listen */
    group_stop(&c->questions);
}

/* Go's policies, which Corefiles name. */
static bool admits(enum client_auth policy, const struct tls_peer *peer)
{
    switch (policy) {
    case CLIENT_NONE:
    case CLIENT_REQUEST: return true;
    case CLIENT_REQUIRE: return peer->n_chain > 0;
    case CLIENT_VERIFY_IF_GIVEN: return !peer->n_chain || peer->verified;
    case CLIENT_REQUIRE_AND_VERIFY: return peer->verified;
    }
    return false;
}

/* By the certificate that the configuration names now. */
static int shake_hands(struct connection *c)
{
    const struct block *b = config_tls(c->server->chain.config, c->port);
    if (!c->over_tls) {
        c->stream = stream_of_fd(TAKE_FD(c->fd));
        return 0;
    }
    if (!b)
        return -ENOENT;
    enum client_auth policy = b->client_auth;
    struct tls_server *tls = tls_server_ref(b->tls); /* the configuration may be replaced meanwhile */
    int r = tls_accept(tls, TAKE_FD(c->fd), mono_add(os_mono(), SECONDS(IDLE_SECONDS)), &c->stream, NULL);
    tls_server_unref(tls);
    return r < 0 ? r : admits(policy, c->stream->tls) ? 0 : -EACCES;
}

static void count_peer(struct server *s, const char *peer, int by)
{
    struct str key = str_of(peer);
    intptr_t n = (intptr_t)map_get(&s->tcp_peers, key) + by;
    s->tcp_connections += (unsigned)by;
    if (n > 0)
        map_put(&s->tcp_peers, key, (void *)n);
    else
        map_del(&s->tcp_peers, key);
}

static void serve_connection(void *arg)
{
    struct connection *c = arg;
    if (shake_hands(c) == 0)
        serve_questions(c);
    stream_free(c->stream);
    if (c->fd >= 0)
        os_close(c->fd);
    count_peer(c->server, c->peer, -1);
    free(c);
}

/* "10.0.0.1:34567", "[::1]:34567" */
static void split(const char *text, char *ret, size_t size, uint16_t *ret_port)
{
    const char *colon = strrchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : strlen(text), from = n > 2 && text[0] == '[';
    snprintf(ret, size, "%.*s", (int)(n - 2 * from), text + from);
    *ret_port = colon ? (uint16_t)atoi(colon + 1) : 0;
}

static void start_connection(const struct tcp_listener *l, int fd, const char *peer)
{
    struct server *s = l->server;
    struct connection *c = NEW(struct connection);
    char local[80] = "";
    uint16_t port;
    *c = (struct connection){.server = s, .fd = fd, .over_tls = l->over_tls, .port = l->port};
    os_local_address(fd, local, sizeof(local));
    split(peer, c->peer, sizeof(c->peer), &c->peer_port);
    split(local, c->local, sizeof(c->local), &port);
    if (s->tcp_connections >= MAX_CONNECTIONS || (intptr_t)map_get(&s->tcp_peers, str_of(c->peer)) >= MAX_OF_ONE_PEER) {
        os_close(fd);
        free(c);
        return;
    }
    count_peer(s, c->peer, 1);
    group_spawn(&s->fibers, "dns-tcp", serve_connection, c);
}

static void accept_main(void *arg)
{
    struct tcp_listener *l = arg;
    for (;;) {
        char peer[80];
        int fd = os_accept(l->fd, peer, sizeof(peer), MONO_NEVER);
        if (fd == -ECANCELED || fd == -EBADF)
            return;
        if (fd >= 0)
            start_connection(l, fd, peer);
        else if (fiber_sleep(MILLISECONDS(50)) < 0) /* out of descriptors: it passes */
            return;
    }
}

int tcp_start(struct server *s, const struct place *at, struct err *e)
{
    if (s->n_tcp == MAX_LISTEN)
        return err_set(e, -E2BIG, "more than %d addresses", MAX_LISTEN);
    int fd = os_listen(at->address, e);
    if (fd < 0)
        return fd;
    struct tcp_listener *l = &s->tcp[s->n_tcp++];
    *l = (struct tcp_listener){s, fd, at->port, at->over_tls};
    group_spawn(&s->accepting, "dns-accept", accept_main, l);
    return 0;
}
