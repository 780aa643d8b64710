/* SPDX-License-Identifier: Apache-2.0 */
/* DNS over TCP (RFC 7766) and over TLS (RFC 7858): several questions a connection, answered in their order. */
#include "base/os.h"
#include "dns/serving.h"
#include "net/stream.h"

#include <stdio.h>

/* A peer is a pod or a resolver for many: one alone must not have all connections. */
enum { MAX_CONNECTIONS = 500, MAX_OF_ONE_PEER = 100, IDLE_SECONDS = 10 };

struct connection {
    struct server *server;
    int fd;
    struct stream *stream;
    bool over_tls;
    uint16_t port, peer_port;
    char peer[80], local[80];
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

static int serve_question(struct connection *c, struct buf *in, struct dns_reply *reply)
{
    struct mono deadline = mono_add(os_mono(), SECONDS(IDLE_SECONDS)); /* idle connections go after a while */
    char length[2];
    if (stream_read_full(c->stream, length, 2, deadline) < 0)
        return -EPIPE;
    size_t n = dns_get16(length);
    buf_clear(in);
    if (n && stream_read_full(c->stream, buf_grow(in, n), n, deadline) < 0)
        return -EPIPE;
    in->n = n;
    int r = answer(c, buf_str(in), reply);
    if (r < 0)
        return r;
    dns_set16(length, (uint16_t)reply->out.n);
    buf_clear(in);
    buf_put(in, length, 2);
    buf_putstr(in, buf_str(&reply->out)); /* one segment, not two */
    return stream_write(c->stream, in->p, in->n, mono_add(os_mono(), SECONDS(IDLE_SECONDS)));
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
    struct buf in CLEANUP_BUF = BUF_INIT;
    struct dns_reply reply = {0};
    if (shake_hands(c) == 0)
        while (serve_question(c, &in, &reply) == 0)
            ;
    dns_reply_done(&reply);
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
