/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/dns.h"

#include "base/fiber.h"
#include "base/log.h"
#include "base/os.h"
#include "client/replica.h"
#include "dns/forward.h"
#include "dns/zone.h"
#include "resources.h"

#include <stdio.h>

enum { MAX_FORWARDED = 1000, MAX_TCP = 500, MAX_LISTEN = 8, MAX_UPSTREAMS = 8 };

struct server {
    struct zone *zone;
    struct forwarder *forwarder;
    struct group fibers;
    unsigned forwarded, tcp; /* under way */
};

/* ---- one question ----------------------------------------------------------------------------------------- */

static void put_failure(const struct dns_query *q, size_t limit, enum dns_code code, struct buf *ret)
{
    struct dns_reply reply;
    dns_reply_start(&reply, q, limit);
    dns_reply_end(&reply, code, false);
    buf_putstr(ret, buf_str(&reply.out));
    dns_reply_done(&reply);
}

/* The records of an answer from the world that follow the question, as they are when nothing in them points before
 * itself: they are read again record by record, A and AAAA only. */
struct addresses {
    struct dns_reply *reply;
    struct str wire;
    const char *owner;
};

static void copy_address(void *arg, size_t ttl_at, uint16_t type, uint32_t ttl)
{
    struct addresses *a = arg;
    const uint8_t *data = (const uint8_t *)a->wire.p + ttl_at + 6;
    if (type == DNS_A)
        dns_put_a(a->reply, DNS_ANSWER, a->owner, ttl, data);
    else if (type == DNS_AAAA)
        dns_put_aaaa(a->reply, DNS_ANSWER, a->owner, ttl, data);
}

/* An ExternalName: the addresses of its target follow the CNAME. */
static void follow_alias(struct server *s, const struct dns_query *q, const char *alias, struct dns_reply *reply)
{
    struct buf world CLEANUP_BUF = BUF_INIT;
    if (forwarder_resolve(s->forwarder, alias, q->type, &world) < 0)
        return;
    struct addresses a = {reply, buf_str(&world), alias};
    dns_each_ttl(a.wire, copy_address, &a);
}

/* Answers from the zone at once; true when the world must be asked (then *ret is empty). */
static bool answer_now(struct server *s, const struct dns_query *q, size_t limit, bool may_wait, struct buf *ret)
{
    struct dns_reply reply;
    enum dns_code code;
    char alias[DNS_NAME_MAX];
    dns_reply_start(&reply, q, limit);
    int r = zone_answer(s->zone, q, os_random_u64(), &reply, &code, alias);
    if (r == ZONE_NOT_OURS || (r == ZONE_ALIAS && !may_wait)) {
        dns_reply_done(&reply);
        return true;
    }
    if (r == ZONE_ALIAS)
        follow_alias(s, q, alias, &reply);
    dns_reply_end(&reply, code, true);
    buf_putstr(ret, buf_str(&reply.out));
    dns_reply_done(&reply);
    return false;
}

static void answer_waiting(struct server *s, const struct dns_query *q, size_t limit, bool tcp, struct buf *ret)
{
    if (!answer_now(s, q, limit, true, ret))
        return;
    if (forwarder_ask(s->forwarder, q, limit, tcp, ret) < 0) {
        buf_clear(ret);
        put_failure(q, limit, DNS_SERVFAIL, ret);
    }
}

/* ---- UDP ---------------------------------------------------------------------------------------------------- */

struct udp_ask {
    struct server *server;
    struct dns_query query;
    char *question; /* query.question points here */
    char peer[80];
    int fd;
};

static void answer_udp_later(void *arg)
{
    struct udp_ask *u = arg;
    struct buf out CLEANUP_BUF = BUF_INIT;
    answer_waiting(u->server, &u->query, u->query.udp_size, false, &out);
    os_sendto(u->fd, out.p, out.n, u->peer);
    u->server->forwarded--;
    free(u->question);
    free(u);
}

static void defer_udp(struct server *s, int fd, const struct dns_query *q, const char *peer)
{
    struct udp_ask *u = NEW(struct udp_ask);
    *u = (struct udp_ask){.server = s, .query = *q, .question = str_dup(q->question), .fd = fd};
    u->query.question.p = u->question;
    snprintf(u->peer, sizeof(u->peer), "%s", peer);
    s->forwarded++;
    group_spawn(&s->fibers, "dns-forward", answer_udp_later, u);
}

static void handle_udp(struct server *s, int fd, struct str wire, const char *peer, struct buf *out)
{
    struct dns_query q;
    int r = dns_parse(wire, &q);
    buf_clear(out);
    if (r < 0)
        return;
    q.udp_size = MIN(q.udp_size, (uint16_t)DNS_UDP_SIZE);
    if (r > 0) {
        put_failure(&q, q.udp_size, (enum dns_code)r, out);
    } else if (answer_now(s, &q, q.udp_size, false, out)) {
        if (s->forwarded < MAX_FORWARDED) {
            defer_udp(s, fd, &q, peer);
            return;
        }
        put_failure(&q, q.udp_size, DNS_SERVFAIL, out);
    }
    os_sendto(fd, out->p, out->n, peer);
}

struct listener {
    struct server *server;
    int fd;
};

static void serve_udp(void *arg)
{
    struct listener *l = arg;
    struct buf out CLEANUP_BUF = BUF_INIT;
    char data[4096], peer[80];
    for (unsigned n = 0;; n++) {
        ssize_t got = os_recvfrom(l->fd, data, sizeof(data), peer, sizeof(peer), MONO_NEVER);
        if (got == -ECANCELED || got == -EBADF)
            return;
        if (got > 0) /* errors of earlier sends (ICMP) come back here and mean nothing */
            handle_udp(l->server, l->fd, str_n(data, (size_t)got), peer, &out);
        if (n % 64 == 63)
            fiber_yield();
    }
}

/* ---- TCP ---------------------------------------------------------------------------------------------------- */

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

static int serve_tcp_question(struct server *s, int fd)
{
    struct buf in CLEANUP_BUF = BUF_INIT, out CLEANUP_BUF = BUF_INIT;
    struct mono deadline = mono_add(os_mono(), SECONDS(10)); /* RFC 7766: idle connections go after a while */
    struct dns_query q;
    char length[2];
    if (recv_exact(fd, length, 2, deadline) < 0)
        return -EPIPE;
    in.n = dns_get16(length);
    size_t n = in.n;
    in.n = 0;
    if (recv_exact(fd, buf_grow(&in, n), n, deadline) < 0)
        return -EPIPE;
    in.n = n;
    int r = dns_parse(buf_str(&in), &q);
    if (r < 0)
        return r;
    if (r > 0)
        put_failure(&q, DNS_TCP_SIZE, (enum dns_code)r, &out);
    else
        answer_waiting(s, &q, DNS_TCP_SIZE, true, &out);
    dns_set16(length, (uint16_t)out.n);
    deadline = mono_add(os_mono(), SECONDS(10));
    return os_send(fd, length, 2, deadline) < 0 || os_send(fd, out.p, out.n, deadline) < 0 ? -EPIPE : 0;
}

static void serve_tcp_connection(void *arg)
{
    struct listener *l = arg;
    while (serve_tcp_question(l->server, l->fd) == 0)
        ;
    os_close(l->fd);
    l->server->tcp--;
    free(l);
}

static void serve_tcp(void *arg)
{
    struct listener *l = arg;
    for (;;) {
        int fd = os_accept(l->fd, NULL, 0, MONO_NEVER);
        if (fd == -ECANCELED || fd == -EBADF)
            return;
        if (fd < 0) {
            fiber_sleep(MILLISECONDS(50)); /* out of descriptors: it passes */
            continue;
        }
        if (l->server->tcp >= MAX_TCP) {
            os_close(fd);
            continue;
        }
        struct listener *c = NEW(struct listener);
        *c = (struct listener){l->server, fd};
        l->server->tcp++;
        group_spawn(&l->server->fibers, "dns-tcp", serve_tcp_connection, c);
    }
}

/* ---- putting it together ------------------------------------------------------------------------------------ */

/* "nameserver" lines as addresses with port; those that are ourselves would loop. */
static size_t read_resolv_conf(struct arena *a, const struct dns_config *c, const char **ret, size_t max)
{
    struct str text, line;
    size_t n = 0;
    if (os_read_file(a, c->resolv_conf ? c->resolv_conf : "/etc/resolv.conf", 1 << 20, &text) < 0)
        return 0;
    while (n < max && str_next(&text, '\n', &line)) {
        struct str word, rest;
        if (!str_cut(str_trim(line), ' ', &word, &rest) || !str_is(word, "nameserver"))
            continue;
        struct str ip = str_trim(rest);
        const char *at = arena_printf(a, str_find(ip, ':') < 0 ? STR_FMT ":53" : "[" STR_FMT "]:53", STR_ARG(ip)).p;
        bool own = false;
        for (const char *const *l = c->listen; *l; l++)
            own = own || !strcmp(*l, at);
        if (!own)
            ret[n++] = at;
    }
    return n;
}

static struct forwarder *make_forwarder(struct arena *a, const struct dns_config *c)
{
    const char *upstreams[MAX_UPSTREAMS];
    size_t n = 0;
    for (; c->forward && c->forward[n] && n < MAX_UPSTREAMS; n++)
        upstreams[n] = c->forward[n];
    if (!c->forward)
        n = read_resolv_conf(a, c, upstreams, MAX_UPSTREAMS);
    return forwarder_new(upstreams, n);
}

static int listen_all(struct server *s, const struct dns_config *c, struct listener *udp, struct listener *tcp,
                      struct err *e)
{
    for (size_t i = 0; c->listen[i] && i < MAX_LISTEN; i++) {
        udp[i] = (struct listener){s, os_udp_bind(c->listen[i], e)};
        if (udp[i].fd < 0)
            return udp[i].fd;
        tcp[i] = (struct listener){s, os_listen(c->listen[i], e)};
        if (tcp[i].fd < 0)
            return tcp[i].fd;
        group_spawn(&s->fibers, "dns-udp", serve_udp, &udp[i]);
        group_spawn(&s->fibers, "dns-accept", serve_tcp, &tcp[i]);
    }
    return 0;
}

int dns_run(const struct dns_config *c, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct replica_kind kinds[] = {
        {.res = &resources[RES_NAMESPACES]}, {.res = &resources[RES_SERVICES]}, {.res = &resources[RES_ENDPOINTSLICES]}};
    struct server s = {.zone = zone_new(c->cluster_domain ? c->cluster_domain : "cluster.local",
                                        (uint32_t)(c->ttl ? c->ttl / NSEC_PER_SEC : 30))};
    struct listener udp[MAX_LISTEN] = {0}, tcp[MAX_LISTEN] = {0};
    struct replica *replica = replica_new(c->client, kinds, ARRAY_SIZE(kinds));
    s.forwarder = make_forwarder(&a, c);
    replica_on_change(replica, zone_changed, s.zone);
    replica_start(replica);
    int r = replica_wait_synced(replica, MONO_NEVER); /* a "no" from a half-filled zone would be a lie */
    if (r == 0)
        r = listen_all(&s, c, udp, tcp, e);
    if (r == 0)
        while ((r = fiber_sleep(SECONDS(3600))) == 0)
            ;
    group_stop(&s.fibers);
    for (size_t i = 0; i < MAX_LISTEN; i++) {
        os_close(udp[i].server ? udp[i].fd : -1);
        os_close(tcp[i].server ? tcp[i].fd : -1);
    }
    replica_free(replica);
    zone_free(s.zone);
    forwarder_free(s.forwarder);
    return r;
}
