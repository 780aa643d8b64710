/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/forward.h"

#include "base/fiber.h"
#include "base/map.h"
#include "base/os.h"

#include <stdio.h>

enum { MAX_KEPT = 10000, KEEP_SECONDS = 30, STALE_SECONDS = 3600, TRIES = 3 };

struct kept {
    struct buf wire; /* as it came, id 0 */
    struct mono since;
    int64_t fresh_seconds;
};

struct forwarder {
    char **upstreams;
    size_t n, next; /* next: the one that answered last is asked first */
    struct map cache; /* question (type, class, DO, name) -> struct kept */
};

struct forwarder *forwarder_new(const char *const *upstreams, size_t n)
{
    struct forwarder *f = NEW(struct forwarder);
    f->upstreams = xcalloc(n, sizeof(*f->upstreams));
    for (; f->n < n; f->n++)
        f->upstreams[f->n] = xstrdup(upstreams[f->n]);
    return f;
}

static void kept_free(void *p)
{
    struct kept *k = p;
    buf_done(&k->wire);
    free(k);
}

void forwarder_free(struct forwarder *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->n; i++)
        free(f->upstreams[i]);
    free(f->upstreams);
    map_done_with(&f->cache, kept_free);
    free(f);
}

/* ---- what is kept --------------------------------------------------------------------------------------- */

static struct str cache_key(const struct dns_query *q, char buf[static DNS_NAME_MAX + 16])
{
    int n = snprintf(buf, DNS_NAME_MAX + 16, "%04x%04x%d%s", q->type, q->class_, q->dnssec_ok, q->name);
    return str_n(buf, (size_t)n);
}

static void smallest_ttl(void *arg, size_t at UNUSED, uint16_t type UNUSED, uint32_t ttl)
{
    int64_t *least = arg;
    *least = MIN(*least, (int64_t)ttl);
}

struct aging {
    char *wire;
    uint32_t seconds, least;
};

static void age_ttl(void *arg, size_t at, uint16_t type UNUSED, uint32_t ttl)
{
    struct aging *a = arg;
    dns_set32(a->wire + at, ttl > a->seconds + a->least ? ttl - a->seconds : a->least);
}

static void keep(struct forwarder *f, const struct dns_query *q, struct str wire, struct mono now)
{
    char key[DNS_NAME_MAX + 16];
    unsigned code = (uint8_t)wire.p[3] & 15;
    int64_t ttl = KEEP_SECONDS;
    bool truncated = wire.p[2] & 2;
    if (truncated || (code != DNS_NOERROR && code != DNS_NXDOMAIN) || !dns_each_ttl(wire, smallest_ttl, &ttl) || ttl == 0)
        return;
    struct kept *k = NEW(struct kept);
    buf_putstr(&k->wire, wire);
    k->since = now;
    k->fresh_seconds = ttl;
    struct kept *old = map_put(&f->cache, cache_key(q, key), k);
    if (old)
        kept_free(old);
    if (f->cache.n > MAX_KEPT) { /* the oldest goes: insertion order is age */
        MAP_EACH(&f->cache, e)
        {
            kept_free(map_del(&f->cache, e->key));
            break;
        }
    }
}

/* Copies a kept answer with its TTLs aged; false when there is none that is fresh enough. */
static bool recall(struct forwarder *f, const struct dns_query *q, struct mono now, bool stale, struct buf *ret)
{
    char key[DNS_NAME_MAX + 16];
    struct kept *k = map_get(&f->cache, cache_key(q, key));
    int64_t age = k ? (now.ns - k->since.ns) / NSEC_PER_SEC : 0;
    if (!k || age > (stale ? STALE_SECONDS : k->fresh_seconds))
        return false;
    buf_putstr(ret, buf_str(&k->wire));
    struct aging a = {ret->p, (uint32_t)age, stale ? KEEP_SECONDS : 0};
    dns_each_ttl(buf_str(ret), age_ttl, &a);
    return true;
}

/* ---- asking --------------------------------------------------------------------------------------------- */

static void write_question(const struct dns_query *q, uint16_t id, struct buf *b)
{
    char header[DNS_HEADER] = {0};
    dns_set16(header, id);
    dns_set16(header + 2, (uint16_t)(0x0100 | (q->checking_disabled ? 0x10 : 0)));
    dns_set16(header + 4, 1);
    dns_set16(header + 10, 1);
    buf_put(b, header, sizeof(header));
    buf_putstr(b, q->question);
    const char opt[11] = {0, 0, DNS_OPT, (char)(DNS_UDP_SIZE >> 8), (char)DNS_UDP_SIZE, 0, 0,
                          q->dnssec_ok ? (char)0x80 : 0, 0, 0, 0};
    buf_put(b, opt, sizeof(opt));
}

/* Only an answer to our question counts: the id and the question must come back (RFC 5452). */
static bool answers(const struct dns_query *q, uint16_t id, struct str wire)
{
    return wire.n >= DNS_HEADER + q->question.n && dns_get16(wire.p) == id && ((uint8_t)wire.p[2] & 0x80) &&
           strncasecmp(wire.p + DNS_HEADER, q->question.p, q->question.n) == 0;
}

static int ask_udp(const char *upstream, const struct dns_query *q, uint16_t id, struct buf *ret)
{
    struct buf question CLEANUP_BUF = BUF_INIT;
    char data[4096], peer[128];
    struct mono deadline = mono_add(os_mono(), SECONDS(2));
    int fd = os_udp_bind(upstream[0] == '[' ? "[::]:0" : "0.0.0.0:0", NULL); /* a new port each time: hard to guess */
    if (fd < 0)
        return fd;
    write_question(q, id, &question);
    ssize_t n = os_sendto(fd, question.p, question.n, upstream);
    while (n >= 0) {
        n = os_recvfrom(fd, data, sizeof(data), peer, sizeof(peer), deadline);
        if (n < 0 || (!strcmp(peer, upstream) && answers(q, id, str_n(data, (size_t)n))))
            break;
    }
    os_close(fd);
    if (n < 0)
        return (int)n;
    buf_put(ret, data, (size_t)n);
    return 0;
}

static int recv_all(int fd, char *p, size_t n, struct mono deadline)
{
    for (size_t at = 0; at < n;) {
        ssize_t r = os_recv(fd, p + at, n - at, deadline);
        if (r <= 0)
            return r < 0 ? (int)r : -EPIPE;
        at += (size_t)r;
    }
    return 0;
}

static int exchange_tcp(int fd, const struct dns_query *q, uint16_t id, struct mono deadline, struct buf *ret)
{
    struct buf question CLEANUP_BUF = BUF_INIT;
    char length[2];
    buf_put(&question, "\0\0", 2);
    write_question(q, id, &question);
    dns_set16(question.p, (uint16_t)(question.n - 2));
    ssize_t r = os_send(fd, question.p, question.n, deadline);
    if (r < 0 || (r = recv_all(fd, length, 2, deadline)) < 0)
        return (int)r;
    size_t n = dns_get16(length);
    r = recv_all(fd, buf_grow(ret, n), n, deadline);
    if (r < 0)
        return (int)r;
    ret->n += n;
    return answers(q, id, buf_str(ret)) ? 0 : -EBADMSG;
}

static int ask_tcp(const char *upstream, const struct dns_query *q, uint16_t id, struct buf *ret)
{
    struct mono deadline = mono_add(os_mono(), SECONDS(3));
    int fd = os_connect(upstream, deadline);
    if (fd < 0)
        return fd;
    int r = exchange_tcp(fd, q, id, deadline, ret);
    os_close(fd);
    return r;
}

static int ask_upstreams(struct forwarder *f, const struct dns_query *q, bool tcp, struct buf *ret)
{
    int r = -EHOSTUNREACH;
    for (size_t i = 0; i < TRIES && f->n; i++) {
        size_t which = (f->next + i) % f->n;
        uint16_t id = (uint16_t)os_random_u64();
        buf_clear(ret);
        r = tcp ? ask_tcp(f->upstreams[which], q, id, ret) : ask_udp(f->upstreams[which], q, id, ret);
        if (r == 0)
            f->next = which;
        if (r == 0 || r == -ECANCELED)
            return r;
    }
    return r;
}

/* A UDP client gets no more than it takes: then only the header and the question, with TC set. */
static void fit(const struct dns_query *q, size_t limit, struct buf *b)
{
    if (b->n <= limit)
        return;
    b->n = DNS_HEADER + q->question.n;
    b->p[2] = (char)(b->p[2] | 2);
    memset(b->p + 6, 0, 6);
}

int forwarder_ask(struct forwarder *f, const struct dns_query *q, size_t limit, bool tcp, struct buf *ret)
{
    struct mono now = os_mono();
    int r = 0;
    if (!recall(f, q, now, false, ret)) {
        r = ask_upstreams(f, q, tcp, ret);
        if (r == 0)
            keep(f, q, buf_str(ret), now);
        else if (r != -ECANCELED && (buf_clear(ret), recall(f, q, now, true, ret)))
            r = 0;
    }
    if (r < 0)
        return r;
    dns_set16(ret->p, q->id);
    fit(q, limit, ret);
    return 0;
}

int forwarder_resolve(struct forwarder *f, const char *name, uint16_t type, struct buf *ret)
{
    struct dns_query q = {.type = type, .class_ = 1, .udp_size = DNS_UDP_SIZE, .recursion_desired = true};
    struct buf question CLEANUP_BUF = BUF_INIT;
    struct str rest = str_of(name), label;
    snprintf(q.name, sizeof(q.name), "%s", name);
    while (rest.n && str_next(&rest, '.', &label)) {
        if (!label.n || label.n > 63)
            return -EINVAL;
        buf_putc(&question, (char)label.n);
        buf_putstr(&question, label);
    }
    const char end[5] = {0, (char)(type >> 8), (char)type, 0, 1};
    buf_put(&question, end, sizeof(end));
    q.question = buf_str(&question);
    return forwarder_ask(f, &q, DNS_TCP_SIZE, false, ret);
}
