/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/forward.h"

#include "base/os.h"
#include "dns/zone.h"
#include "net/resolve.h"
#include "net/tls.h"

#include <stdio.h>

enum { TRIES = 3, MAX_IDLE = 8 };

/* A connection that waits for the next question. */
struct idle {
    struct stream *stream;
    struct mono since;
};

struct upstream {
    const struct forward_server *server;
    struct idle idle[MAX_IDLE];
    unsigned n_idle, fails;
    bool checking;
    struct forward_figures figures;
};

struct forwarder {
    struct forward_options o;
    struct upstream *upstreams;
    struct tls_client *tls;
    size_t turn; /* of round_robin */
    unsigned under_way;
    uint64_t rejected;
    struct group checks;
};

int forwarder_new(const struct forward_options *o, struct forwarder **ret, struct err *e)
{
    struct forwarder *f = NEW(struct forwarder);
    struct tls_client_config tls = {.ca = o->tls_ca, .key = {o->tls_cert, o->tls_key}, .no_alpn = true};
    bool wants_tls = false;
    int r = 0;
    f->o = *o;
    f->upstreams = xcalloc(MAX(o->n, (size_t)1), sizeof(*f->upstreams));
    for (size_t i = 0; i < o->n; i++) {
        f->upstreams[i].server = &o->servers[i];
        f->upstreams[i].figures.server = o->servers[i].address;
        wants_tls = wants_tls || o->servers[i].tls;
    }
    if (wants_tls)
        r = tls_client_new(&tls, &f->tls, e);
    if (r < 0) {
        forwarder_free(f);
        return r;
    }
    *ret = f;
    return 0;
}

void forwarder_free(struct forwarder *f)
{
    if (!f)
        return;
    if (f->checks.n) /* also freed where there are no fibers, by whoever reads a configuration only to check it */
        group_stop(&f->checks);
    for (size_t i = 0; i < f->o.n; i++)
        while (f->upstreams[i].n_idle)
            stream_free(f->upstreams[i].idle[--f->upstreams[i].n_idle].stream);
    if (f->tls)
        tls_client_unref(f->tls);
    free(f->upstreams);
    free(f);
}

bool forwarder_takes(const struct forwarder *f, const char *name)
{
    return dns_within(str_of(name), str_of(f->o.from)) && !dns_zone_of(f->o.except, f->o.n_except, str_of(name));
}

bool forwarder_goes_on(const struct forwarder *f, unsigned code)
{
    return f->o.n_next && memchr(f->o.next, (int)code, f->o.n_next) != NULL;
}

/* ---- one question to one server ----------------------------------------------------------------------------- */

static void write_question(const struct dns_query *q, uint16_t id, struct buf *b)
{
    char header[DNS_HEADER] = {0};
    dns_set16(header, id);
    dns_set16(header + 2, (uint16_t)(0x0100 | (q->checking_disabled ? 0x10 : 0)));
    dns_set16(header + 4, 1);
    dns_set16(header + 10, 1);
    buf_put(b, header, sizeof(header));
    buf_putstr(b, q->question);
    const char opt[9] = {0, 0, DNS_OPT, (char)(DNS_UDP_SIZE >> 8), (char)DNS_UDP_SIZE, 0, 0, q->dnssec_ok ? (char)0x80 : 0, 0};
    char length[2];
    dns_set16(length, (uint16_t)q->onward.n);
    buf_put(b, opt, sizeof(opt));
    buf_put(b, length, sizeof(length));
    buf_putstr(b, q->onward);
}

/* Only an answer to our question counts: the id and the question must come back (RFC 5452). */
static bool answers(struct str question, struct str wire)
{
    return wire.n >= DNS_HEADER && dns_get16(wire.p) == dns_get16(question.p) && ((uint8_t)wire.p[2] & 0x80) &&
           dns_same_question(question, wire);
}

static int ask_udp(const struct forwarder *f, struct upstream *u, const struct dns_query *q, uint16_t id, struct buf *ret)
{
    struct buf question CLEANUP_BUF = BUF_INIT;
    char data[4096], peer[128];
    const char *address = u->server->address;
    struct mono deadline = mono_add(os_mono(), f->o.read_timeout);
    int fd = os_udp_bind(address[0] == '[' ? "[::]:0" : "0.0.0.0:0", NULL); /* a new port each time: hard to guess */
    if (fd < 0)
        return fd;
    write_question(q, id, &question);
    ssize_t n = os_sendto(fd, question.p, question.n, address);
    while (n >= 0) {
        n = os_recvfrom(fd, data, sizeof(data), peer, sizeof(peer), deadline);
        if (n < 0 || (!strcmp(peer, address) && answers(buf_str(&question), str_n(data, (size_t)n))))
            break;
    }
    os_close(fd);
    if (n < 0)
        return (int)n;
    buf_put(ret, data, (size_t)n);
    return 0;
}

static int connect_to(const struct forwarder *f, const struct upstream *u, struct mono deadline, struct stream **ret)
{
    if (!u->server->tls)
        return stream_connect(u->server->address, deadline, ret);
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char *host;
    uint16_t port;
    int fd = os_connect(u->server->address, deadline);
    if (fd < 0)
        return fd;
    const char *name = u->server->server_name;
    if (!name && net_split(&a, str_of(u->server->address), &host, &port) == 0)
        name = host;
    return tls_connect(f->tls, fd, name, false, deadline, ret, NULL);
}

static struct stream *take_idle(const struct forwarder *f, struct upstream *u, struct mono now)
{
    while (u->n_idle) {
        struct idle i = u->idle[--u->n_idle];
        if (now.ns - i.since.ns < f->o.expire)
            return i.stream;
        stream_free(i.stream);
    }
    return NULL;
}

static void give_idle(struct upstream *u, struct stream *s, struct mono now)
{
    if (u->n_idle == MAX_IDLE) {
        stream_free(u->idle[0].stream);
        memmove(u->idle, u->idle + 1, --u->n_idle * sizeof(*u->idle));
    }
    u->idle[u->n_idle++] = (struct idle){s, now};
}

static int exchange(struct stream *s, const struct dns_query *q, uint16_t id, struct mono deadline, struct buf *ret)
{
    struct buf question CLEANUP_BUF = BUF_INIT;
    char length[2];
    buf_put(&question, "\0\0", 2);
    write_question(q, id, &question);
    dns_set16(question.p, (uint16_t)(question.n - 2));
    int r = stream_write(s, question.p, question.n, deadline);
    if (r < 0 || (r = stream_read_full(s, length, 2, deadline)) < 0)
        return r;
    size_t n = dns_get16(length);
    r = stream_read_full(s, buf_grow(ret, n), n, deadline);
    if (r < 0)
        return r;
    ret->n += n;
    return answers(str_from(buf_str(&question), 2), buf_str(ret)) ? 0 : -EBADMSG;
}

/* A kept connection may be gone at the other end: then a new one gets the question. */
static int ask_stream(const struct forwarder *f, struct upstream *u, const struct dns_query *q, uint16_t id, struct buf *ret)
{
    struct mono deadline = mono_add(os_mono(), f->o.read_timeout + SECONDS(1));
    struct stream *s = take_idle(f, u, os_mono());
    int r = s ? exchange(s, q, id, deadline, ret) : -EPIPE;
    if (r < 0 && r != -ECANCELED && r != -ETIMEDOUT) {
        stream_free(s);
        s = NULL;
        buf_clear(ret);
        r = connect_to(f, u, deadline, &s);
        if (r == 0)
            r = exchange(s, q, id, deadline, ret);
    }
    if (r == 0)
        give_idle(u, s, os_mono());
    else
        stream_free(s);
    return r;
}

/* ret holds nothing but this answer. */
static int ask(const struct forwarder *f, struct upstream *u, const struct dns_query *q, bool tcp, struct buf *ret)
{
    uint16_t id = (uint16_t)os_random_u64();
    bool stream = u->server->tls || f->o.force_tcp || (tcp && !f->o.prefer_udp);
    int r = stream ? ask_stream(f, u, q, id, ret) : ask_udp(f, u, q, id, ret);
    if (r == 0 && !stream && tcp && ret->p[2] & 2) { /* cut short, and the client can take it whole */
        buf_clear(ret);
        r = ask_stream(f, u, q, id, ret);
    }
    return r;
}

/* ---- which server ----------------------------------------------------------------------------------------------- */

static bool is_down(const struct forwarder *f, const struct upstream *u)
{
    return f->o.max_fails && u->fails >= f->o.max_fails;
}

/* Any answer counts: a server that refuses is alive. */
static void check_until_well(struct forwarder *f, struct upstream *u)
{
    struct buf question CLEANUP_BUF = BUF_INIT;
    struct dns_query q = {.type = DNS_NS, .class_ = DNS_IN, .recursion_desired = true};
    snprintf(q.name, sizeof(q.name), "%s", f->o.health_domain);
    dns_write_question(&question, q.name, DNS_NS, DNS_IN);
    q.question = buf_str(&question);
    while (u->fails) {
        struct buf answer CLEANUP_BUF = BUF_INIT;
        int r = ask(f, u, &q, false, &answer);
        if (r == 0) {
            u->fails = 0;
            break;
        }
        if (r != -ECANCELED)
            u->figures.failed_checks++;
        u->fails++;
        if (fiber_sleep(f->o.health_check) < 0)
            break;
    }
}

struct check {
    struct forwarder *f;
    struct upstream *u;
};

static void check_main(void *arg)
{
    struct check c = *(struct check *)arg;
    free(arg);
    check_until_well(c.f, c.u);
    c.u->checking = false;
}

static void start_check(struct forwarder *f, struct upstream *u)
{
    if (u->checking || !f->o.max_fails)
        return;
    struct check *c = NEW(struct check);
    *c = (struct check){f, u};
    u->checking = true;
    group_spawn(&f->checks, "dns-health", check_main, c);
}

static size_t first_server(struct forwarder *f)
{
    switch (f->o.policy) {
    case FORWARD_RANDOM: return (size_t)os_random_below(f->o.n);
    case FORWARD_ROUND_ROBIN: return f->turn++ % f->o.n;
    case FORWARD_SEQUENTIAL: return 0;
    }
    return 0;
}

static void count(struct upstream *u, int r, const struct buf *b, struct mono since)
{
    u->figures.requests[r < 0 ? 16 : (uint8_t)b->p[3] & 15]++;
    u->figures.nanoseconds += (uint64_t)(os_mono().ns - since.ns);
}

/* Servers that are well in their order; when none is, any (CoreDNS does so, too, unless it shall fail fast). */
static int ask_servers(struct forwarder *f, const struct dns_query *q, bool tcp, struct buf *ret)
{
    size_t first = first_server(f), asked = 0;
    int r = -EHOSTUNREACH;
    for (int round = 0; round < (f->o.fail_fast ? 1 : 2) && !asked; round++)
        for (size_t i = 0; i < f->o.n && asked < TRIES; i++) {
            struct upstream *u = &f->upstreams[(first + i) % f->o.n];
            struct mono since = os_mono();
            if (round == 0 && is_down(f, u))
                continue;
            asked++;
            buf_clear(ret);
            r = ask(f, u, q, tcp, ret);
            if (r == -ECANCELED)
                return r;
            count(u, r, ret, since);
            if (r == 0)
                return 0;
            u->fails++;
            start_check(f, u);
        }
    return r;
}

int forwarder_ask(struct forwarder *f, const struct dns_query *q, bool tcp, struct buf *ret)
{
    struct buf answer CLEANUP_BUF = BUF_INIT;
    if (!f->o.n)
        return -EHOSTUNREACH;
    if (f->o.max_concurrent && f->under_way >= f->o.max_concurrent) {
        f->rejected++;
        return FORWARD_BUSY;
    }
    f->under_way++;
    int r = ask_servers(f, q, tcp, &answer);
    f->under_way--;
    if (r < 0)
        return r;
    dns_set16(answer.p, q->id);
    memcpy(answer.p + DNS_HEADER, q->question.p, q->question.n);
    buf_putstr(ret, buf_str(&answer));
    return 0;
}

size_t forwarder_figures(const struct forwarder *f, struct forward_figures *ret, size_t max)
{
    size_t n = MIN(f->o.n, max);
    for (size_t i = 0; i < n; i++) {
        ret[i] = f->upstreams[i].figures;
        ret[i].healthy = !is_down(f, &f->upstreams[i]);
    }
    return n;
}

uint64_t forwarder_rejected(const struct forwarder *f)
{
    return f->rejected;
}
