/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/chain.h"

#include "base/os.h"
#include "dns/plugins.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <strings.h>

enum { MAX_DEPTH = 8, FLAG_TC = 2, HINFO_TTL = 8482 };

/* One question on its way; `depth` counts the names that stand for others. */
struct walk {
    struct chain *c;
    const struct block *b;
    const struct chain_ask *a;
    const struct dns_query *q;
    unsigned depth;
};

void chain_fail(const struct dns_query *q, size_t limit, enum dns_code code, struct dns_reply *ret)
{
    dns_reply_start(ret, q, limit);
    dns_reply_end(ret, code, false);
}

static int fail(const struct walk *w, enum dns_code code, struct dns_reply *ret)
{
    chain_fail(w->q, w->a->limit, code, ret);
    return CHAIN_ANSWERED;
}

static int resolve(const struct walk *w, struct dns_reply *ret);

/* ---- names that stand for others ----------------------------------------------------------------------------------- */

struct copy {
    struct dns_reply *to;
    struct str wire;
};

static bool copy_answer(void *arg, const struct dns_record *r)
{
    const struct copy *c = arg;
    if (r->section == DNS_ANSWER)
        dns_put_record(c->to, DNS_ANSWER, r->name, r, c->wire);
    return true;
}

/* The addresses of a CNAME's target follow it, asked of whoever answers for that name here. */
static int follow(const struct walk *w, const char *alias, struct dns_reply *reply)
{
    struct buf question CLEANUP_BUF = BUF_INIT;
    struct dns_query q = *w->q;
    struct walk next = *w;
    struct dns_reply sub = {0};
    char lower[DNS_NAME_MAX];
    snprintf(lower, sizeof(lower), "%s", alias);
    for (char *c = lower; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
    memcpy(q.name, lower, sizeof(lower));
    if (w->depth >= MAX_DEPTH || !dns_write_question(&question, alias, q.type, q.class_))
        return CHAIN_ANSWERED;
    q.question = buf_str(&question);
    next.q = &q;
    next.depth++;
    next.b = config_block(w->c->config, w->a->port, str_of(lower));
    if (!next.b)
        return CHAIN_ANSWERED;
    struct chain_ask whole = *w->a;
    whole.limit = DNS_TCP_SIZE;
    next.a = &whole;
    int r = resolve(&next, &sub);
    struct copy c = {reply, buf_str(&sub.out)};
    if (r == CHAIN_ANSWERED)
        dns_each_record(c.wire, copy_answer, &c);
    dns_reply_done(&sub);
    return r;
}

/* ---- the world ---------------------------------------------------------------------------------------------------- */


/* RFC 6891 section 7: who asks without EDNS gets none. Servers put it last, as we do. */
static void drop_opt(struct buf *b)
{
    static const char opt[3] = {0, 0, DNS_OPT};
    size_t records = b->n > DNS_HEADER ? dns_get16(b->p + 10) : 0;
    if (records && b->n >= DNS_HEADER + 11 && !memcmp(b->p + b->n - 11, opt, 3) && dns_get16(b->p + b->n - 2) == 0) {
        b->n -= 11;
        dns_set16(b->p + 10, (uint16_t)(records - 1));
    }
}

/* An answer of the world as this asker takes it: too large, only its header and question go, with TC. */
static void finish(const struct walk *w, struct dns_reply *ret)
{
    struct buf *b = &ret->out;
    if (!w->q->edns)
        drop_opt(b);
    b->p[2] = (char)((b->p[2] & ~1) | (w->q->recursion_desired ? 1 : 0));
    if (b->n <= w->a->limit)
        return;
    b->n = DNS_HEADER + w->q->question.n;
    b->p[2] = (char)(b->p[2] | FLAG_TC);
    memset(b->p + 6, 0, 6);
}

/* The first that takes the name, and on codes that it shall go on with the next ones. Waits. */
static int ask_forwarders(const struct walk *w, struct buf *ret)
{
    int r = -ENOENT;
    for (size_t i = 0; i < w->b->n_forwards; i++) {
        struct forwarder *f = w->b->forwards[i];
        if (!forwarder_takes(f, w->q->name))
            continue;
        buf_clear(ret);
        r = forwarder_ask(f, w->q, w->a->tcp, ret);
        if (r != 0 || !forwarder_goes_on(f, (uint8_t)ret->p[3] & 15))
            break;
    }
    return r;
}

static bool somebody_takes(const struct walk *w)
{
    for (size_t i = 0; i < w->b->n_forwards; i++)
        if (forwarder_takes(w->b->forwards[i], w->q->name))
            return true;
    return false;
}

static int ask_world(const struct walk *w, struct dns_reply *ret)
{
    struct buf answer CLEANUP_BUF = BUF_INIT;
    struct mono now = os_mono();
    int r = ask_forwarders(w, &answer);
    if (r == 0 && w->b->cache)
        dns_cache_put(w->b->cache, w->q, buf_str(&answer), now);
    if (r == 0) {
        buf_clear(&ret->out);
        buf_putstr(&ret->out, buf_str(&answer));
        finish(w, ret);
    }
    return r;
}

static int forward(const struct walk *w, struct dns_reply *ret)
{
    struct dns_cache *cache = w->b->cache;
    enum dns_cache_state state = CACHE_MISS;
    bool looped = __atomic_load_n(&w->c->looped, __ATOMIC_RELAXED);
    ret->out.n = 0;
    if (cache && !looped)
        state = dns_cache_get(cache, w->q, w->a->now, &ret->out);
    bool ask_first = state == CACHE_STALE && dns_cache_verifies(cache);
    if (state != CACHE_FRESH && state != CACHE_MISS && !w->a->may_wait)
        return CHAIN_WAIT;
    if (state != CACHE_MISS && !ask_first) {
        if (state != CACHE_FRESH && w->c->refresh)
            w->c->refresh(w->c->ctx, w->b, w->q);
        finish(w, ret);
        return CHAIN_ANSWERED;
    }
    if (!w->a->may_wait)
        return CHAIN_WAIT;
    struct dns_reply fresh = {0};
    int r = looped ? -ELOOP : ask_world(w, &fresh);
    if (r == 0) {
        buf_clear(&ret->out);
        buf_putstr(&ret->out, buf_str(&fresh.out));
    } else if (ask_first) {
        finish(w, ret);
    } else {
        fail(w, r == FORWARD_BUSY ? DNS_REFUSED : DNS_SERVFAIL, ret);
    }
    dns_reply_done(&fresh);
    return CHAIN_ANSWERED;
}

void chain_fetch(struct chain *c, const struct block *b, const struct dns_query *q)
{
    struct chain_ask a = {.q = q, .limit = DNS_TCP_SIZE, .may_wait = true};
    struct walk w = {.c = c, .b = b, .a = &a, .q = q};
    struct dns_reply ignored = {0};
    ask_world(&w, &ignored);
    dns_reply_done(&ignored);
}

/* ---- plug-ins that answer themselves --------------------------------------------------------------------------------- */

static void put_texts(struct dns_reply *r, uint16_t class_, const char *text)
{
    size_t start = r->out.n;
    dns_put_txt(r, DNS_ANSWER, NULL, 0, str_of(text));
    if (r->out.n > start) /* the class stands behind the question's pointer and the type */
        dns_set16(r->out.p + start + 4, class_);
}

/* RFC 4892 and what grew around it. */
static bool chaos(const struct walk *w, struct dns_reply *ret)
{
    const struct block *b = w->b;
    char host[256];
    if (!b->chaos_version || w->q->class_ != DNS_CH || w->q->type != DNS_TXT)
        return false;
    struct str name = str_of(w->q->name);
    dns_reply_start(ret, w->q, w->a->limit);
    if (str_is(name, "version.bind") || str_is(name, "version.server")) {
        put_texts(ret, DNS_CH, b->chaos_version);
    } else if (str_is(name, "authors.bind")) {
        for (size_t i = 0; i < b->n_chaos_authors; i++)
            put_texts(ret, DNS_CH, b->chaos_authors[i].p);
    } else if (str_is(name, "hostname.bind") || str_is(name, "id.server")) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct str text;
        int r = os_read_file(&a, "/proc/sys/kernel/hostname", sizeof(host) - 1, &text);
        put_texts(ret, DNS_CH, r < 0 ? "localhost" : arena_cstr(&a, str_trim(text)));
    } else {
        return false;
    }
    dns_reply_end(ret, DNS_NOERROR, true);
    return true;
}

/* RFC 8482: a small answer that is no lie. */
static void answer_any(const struct walk *w, struct dns_reply *ret)
{
    static const char data[] = "\x0d" "ANY obsoleted" "\x0c" "See RFC 8482";
    dns_reply_start(ret, w->q, w->a->limit);
    dns_put_data(ret, DNS_ANSWER, NULL, DNS_HINFO, HINFO_TTL, str_n(data, sizeof(data) - 1));
    dns_reply_end(ret, DNS_NOERROR, true);
}

static void answer_whoami(const struct walk *w, struct dns_reply *ret)
{
    uint8_t ip[16];
    char srv[DNS_NAME_MAX + 16];
    dns_reply_start(ret, w->q, w->a->limit);
    if (inet_pton(AF_INET, w->a->peer, ip) == 1)
        dns_put_a(ret, DNS_ADDITIONAL, NULL, 0, ip);
    else if (inet_pton(AF_INET6, w->a->peer, ip) == 1)
        dns_put_aaaa(ret, DNS_ADDITIONAL, NULL, 0, ip);
    snprintf(srv, sizeof(srv), "_%s.%s", w->a->tcp ? "tcp" : "udp", w->q->name);
    dns_put_srv(ret, DNS_ADDITIONAL, srv, 0, 0, w->a->peer_port, "");
    dns_reply_end(ret, DNS_NOERROR, true);
}

/* ---- the chain --------------------------------------------------------------------------------------------------------- */

static int kubernetes(const struct walk *w, struct dns_reply *ret)
{
    const struct kubernetes *k = &w->b->kubernetes[0];
    char alias[DNS_NAME_MAX];
    enum dns_code code;
    if (!w->c->ready && dns_zone_of(k->options.zones, k->options.n_zones, str_of(w->q->name)))
        return fail(w, DNS_SERVFAIL, ret); /* a "no such name" from a half-filled zone would be a lie that is kept */
    dns_reply_start(ret, w->q, w->a->limit);
    int r = zone_answer(w->c->zone, &k->options, w->q, w->b->loadbalance ? w->a->random : 0, ret, &code, alias);
    if (r == ZONE_NOT_OURS)
        return -ENOENT;
    if (r == ZONE_ALIAS && follow(w, alias, ret) != CHAIN_ANSWERED)
        return CHAIN_WAIT;
    dns_reply_end(ret, code, true);
    return CHAIN_ANSWERED;
}

static int templates(const struct walk *w, struct dns_reply *ret)
{
    char alias[DNS_NAME_MAX];
    enum dns_code code;
    dns_reply_start(ret, w->q, w->a->limit);
    int r = template_answer(&w->b->templates, w->q, w->a->peer, ret, &code, alias);
    if (r == TEMPLATE_NOT_OURS)
        return -ENOENT;
    if (r == TEMPLATE_FAILED)
        return fail(w, DNS_SERVFAIL, ret);
    if (*alias && follow(w, alias, ret) != CHAIN_ANSWERED)
        return CHAIN_WAIT;
    dns_reply_end(ret, code, true);
    return CHAIN_ANSWERED;
}

/* A question of our own that came back: forwarding goes in circles. */
static bool is_loop(const struct walk *w)
{
    if (!w->b->loop || w->q->type != DNS_HINFO || !w->c->loop_name[0] || strcmp(w->q->name, w->c->loop_name) != 0)
        return false;
    if (++w->c->loop_seen >= 2)
        __atomic_store_n(&w->c->looped, true, __ATOMIC_RELAXED);
    return w->c->looped;
}

static int resolve(const struct walk *w, struct dns_reply *ret)
{
    const struct block *b = w->b;
    enum dns_code code;
    int r;
    if (w->q->class_ != DNS_IN && !b->chaos_version && !b->templates.n)
        return fail(w, DNS_REFUSED, ret);
    if (b->waits && !w->a->may_wait)
        return CHAIN_WAIT;
    if (b->templates.n && (r = templates(w, ret)) >= 0)
        return r;
    if (b->hosts) {
        dns_reply_start(ret, w->q, w->a->limit);
        if (hosts_answer(b->hosts, w->q, ret, &code) == HOSTS_ANSWERED) {
            dns_reply_end(ret, code, code == DNS_NOERROR);
            return CHAIN_ANSWERED;
        }
    }
    if (b->n_kubernetes && (r = kubernetes(w, ret)) >= 0)
        return r;
    if (w->q->type == DNS_HINFO && b->loop && !w->a->may_wait)
        return CHAIN_WAIT;
    if (w->q->type == DNS_AXFR || w->q->type == DNS_IXFR)
        return fail(w, DNS_REFUSED, ret);
    if (is_loop(w))
        return fail(w, DNS_SERVFAIL, ret);
    if (somebody_takes(w))
        return forward(w, ret);
    if (!b->whoami)
        return fail(w, b->n_kubernetes || b->n_forwards || b->templates.n || b->hosts ? DNS_SERVFAIL : DNS_REFUSED, ret);
    answer_whoami(w, ret);
    return CHAIN_ANSWERED;
}

static bool in_network(const struct network *n, const uint8_t ip[16])
{
    for (unsigned i = 0; i < n->bits; i++)
        if ((ip[i / 8] ^ n->address[i / 8]) & (0x80 >> i % 8))
            return false;
    return true;
}

/* The first policy that fits decides; without one everybody may ask. */
static enum acl_action judge(const struct walk *w)
{
    uint8_t ip[16];
    if (!acl_address(str_of(w->a->peer), ip))
        return ACL_ALLOW;
    for (size_t i = 0; i < w->b->n_acls; i++) {
        const struct acl_rule *rule = &w->b->acls[i];
        for (size_t j = 0; dns_within(str_of(w->q->name), str_of(rule->zone)) && j < rule->n_policies; j++) {
            const struct acl_policy *p = &rule->policies[j];
            bool fits = !p->n_networks;
            for (size_t k = 0; k < p->n_networks; k++)
                fits = fits || in_network(&p->networks[k], ip);
            if (fits && (!p->type || p->type == DNS_ANY || p->type == w->q->type))
                return p->action;
        }
    }
    return ACL_ALLOW;
}

/* `minimal`: of a positive answer only the answer. */
static bool keep_answer(void *arg, const struct dns_record *r)
{
    const struct copy *c = arg;
    bool own = c->to->query && !strcasecmp(r->name, c->to->query->name);
    if (r->section == DNS_ANSWER)
        dns_put_record(c->to, DNS_ANSWER, own ? NULL : r->name, r, c->wire);
    return true;
}

static void minimize(const struct walk *w, struct dns_reply *ret)
{
    struct buf *b = &ret->out;
    if (b->n < DNS_HEADER || !dns_get16(b->p + 6) || (b->p[3] & 15) != DNS_NOERROR)
        return;
    struct dns_reply small = {0};
    struct copy c = {&small, buf_str(b)};
    dns_reply_start(&small, w->q, w->a->limit);
    if (dns_each_record(c.wire, keep_answer, &c)) {
        dns_reply_end(&small, DNS_NOERROR, b->p[2] & 4);
        buf_clear(b);
        buf_putstr(b, buf_str(&small.out));
    }
    dns_reply_done(&small);
}

static int rewrite_and_resolve(const struct walk *w, struct dns_reply *ret)
{
    struct buf question CLEANUP_BUF = BUF_INIT;
    struct dns_query q = *w->q;
    struct dns_reply inner = {0};
    struct rewriting done;
    struct walk next = *w;
    struct chain_ask whole = *w->a;
    rewrite_question(&w->b->rewrites, &q, &question, &done);
    if (!done.changed)
        return resolve(w, ret);
    whole.limit = DNS_TCP_SIZE; /* what is too large is cut when the names are final */
    next.q = &q;
    next.a = &whole;
    int r = resolve(&next, &inner);
    if (r == CHAIN_ANSWERED)
        rewrite_reply(&done, w->q, &q, buf_str(&inner.out), w->a->limit, ret);
    dns_reply_done(&inner);
    return r;
}

static int through(const struct walk *w, struct dns_reply *ret)
{
    const struct block *b = w->b;
    if (b->waits && !w->a->may_wait)
        return CHAIN_WAIT;
    switch (b->n_acls ? judge(w) : ACL_ALLOW) {
    case ACL_DROP: return CHAIN_DROP;
    case ACL_BLOCK: return fail(w, DNS_REFUSED, ret);
    case ACL_FILTER: return fail(w, DNS_NOERROR, ret);
    case ACL_ALLOW: break;
    }
    if (b->any && w->q->type == DNS_ANY) {
        answer_any(w, ret);
        return CHAIN_ANSWERED;
    }
    if (chaos(w, ret))
        return CHAIN_ANSWERED;
    int r = b->rewrites.n ? rewrite_and_resolve(w, ret) : resolve(w, ret);
    if (r == CHAIN_ANSWERED && b->minimal)
        minimize(w, ret);
    return r;
}

int chain_answer(struct chain *c, const struct chain_ask *a, struct dns_reply *ret)
{
    struct walk w = {.c = c, .a = a, .q = a->q};
    w.b = config_block(c->config, a->port, str_of(a->q->name));
    return w.b ? through(&w, ret) : fail(&w, DNS_REFUSED, ret);
}
