/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/chain.h"

#include "base/os.h"
#include "dns/plugins.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <strings.h>

enum { MAX_DEPTH = 8, FLAG_TC = 2, FLAG_AA = 4, HINFO_TTL = 8482 };

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

/* The message of one reply in the place of another's. */
static void take(struct dns_reply *to, struct dns_reply *from)
{
    struct buf out = to->out;
    to->out = from->out;
    to->foreign = from->foreign;
    from->out = out;
}

static unsigned code_of(const struct dns_reply *r)
{
    return r->out.n >= DNS_HEADER ? (uint8_t)r->out.p[3] & 15 : DNS_SERVFAIL;
}

/* ---- other names, asked on the way to an answer ----------------------------------------------------------------------- */

static int rewritten(const struct walk *w, struct dns_reply *ret);
static int resolve(const struct walk *w, struct dns_reply *ret);

/* What there is here under another name: the whole answer, without limit. CHAIN_*, or -ENOENT: nobody is to be asked.
 * inner: by the rest of this block, else from the start, by the block of that name. */
static int look_up(const struct walk *w, const char *name, uint16_t type, bool inner, struct dns_reply *sub)
{
    struct buf question CLEANUP_BUF = BUF_INIT;
    struct dns_query q = *w->q;
    struct walk next = *w;
    struct chain_ask whole = *w->a;
    snprintf(q.name, sizeof(q.name), "%s", name);
    dns_lower(q.name);
    if (w->depth >= MAX_DEPTH || !dns_write_question(&question, name, type, q.class_))
        return -ENOENT;
    q.type = type;
    q.question = buf_str(&question);
    q.edns = false;
    whole.limit = DNS_TCP_SIZE;
    next.q = &q;
    next.a = &whole;
    next.depth++;
    if (inner)
        return resolve(&next, sub);
    next.b = config_block(w->c->config, w->a->port, str_of(q.name));
    return next.b ? rewritten(&next, sub) : -ENOENT;
}

/* Records of another message into ours; those of the question's own name get it as it was written. */
struct copy {
    struct dns_reply *to;
    const struct dns_query *q;
    struct str wire;
    bool answers_only;
};

static bool copy_record(void *arg, const struct dns_record *r)
{
    const struct copy *c = arg;
    char owner[DNS_NAME_MAX];
    size_t at = r->name_at;
    if (c->answers_only && r->section != DNS_ANSWER)
        return true;
    if (!dns_read_name(c->wire, &at, owner))
        return false;
    dns_put_record(c->to, r->section, strcasecmp(owner, c->q->name) ? owner : NULL, r, c->wire, NULL, NULL);
    return true;
}

/* The addresses of a CNAME's target follow it, asked of whoever answers for that name here. */
static int follow(const struct walk *w, const char *alias, struct dns_reply *reply)
{
    struct dns_reply sub = {0};
    int r = look_up(w, alias, w->q->type, false, &sub);
    struct copy c = {.to = reply, .q = w->q, .wire = buf_str(&sub.out), .answers_only = true};
    if (r == CHAIN_ANSWERED)
        dns_each_record(c.wire, copy_record, &c);
    dns_reply_done(&sub);
    return r == -ENOENT ? CHAIN_ANSWERED : r;
}

/* ---- the world ---------------------------------------------------------------------------------------------------- */

/* An answer of the world as this asker takes it: its OPT record is about us (RFC 6891 section 7: who asks without one gets
 * none); too large, only header and question go, with TC. Servers put OPT last, as we do. */
static void finish(const struct walk *w, struct dns_reply *ret)
{
    struct buf *b = &ret->out;
    struct str options;
    size_t at;
    bool opt = dns_find_opt(buf_str(b), &at, &options);
    ret->foreign = true;
    if (opt && w->q->edns) {
        dns_set16(b->p + at + 3, DNS_UDP_SIZE);
    } else if (opt && options.p + options.n == b->p + b->n) {
        b->n = at;
        dns_set16(b->p + 10, (uint16_t)(dns_get16(b->p + 10) - 1));
    }
    b->p[2] = (char)((b->p[2] & ~1) | (w->q->recursion_desired ? 1 : 0));
    if (b->n <= w->a->limit)
        return;
    enum dns_code code = (enum dns_code)code_of(ret);
    dns_reply_start(ret, w->q, w->a->limit);
    ret->truncated = true;
    dns_reply_end(ret, code, false);
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
        take(ret, &fresh);
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
    const struct kubernetes *k = w->b->kubernetes;
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

/* The first policy that fits decides; without one everybody may ask. */
static enum acl_action judge(const struct walk *w)
{
    struct ip ip;
    if (!w->b->n_acls || !ip_parse(str_of(w->a->peer), &ip))
        return ACL_ALLOW;
    for (size_t i = 0; i < w->b->n_acls; i++) {
        const struct acl_rule *rule = &w->b->acls[i];
        for (size_t j = 0; dns_within(str_of(w->q->name), str_of(rule->zone)) && j < rule->n_policies; j++) {
            const struct acl_policy *p = &rule->policies[j];
            bool fits = !p->networks.n;
            for (size_t k = 0; k < p->networks.n; k++)
                fits = fits || prefix_has(&p->networks.list[k], &ip);
            if (fits && (!p->type || p->type == DNS_ANY || p->type == w->q->type))
                return p->action;
        }
    }
    return ACL_ALLOW;
}

static int local_answer(const struct walk *w, struct dns_reply *ret)
{
    const struct block *b = w->b;
    enum dns_code code;
    int r;
    if (b->templates.n && (r = templates(w, ret)) >= 0)
        return r;
    if (b->hosts) {
        dns_reply_start(ret, w->q, w->a->limit);
        if (hosts_answer(b->hosts, w->q, ret, &code) == HOSTS_ANSWERED) {
            dns_reply_end(ret, code, code == DNS_NOERROR);
            return CHAIN_ANSWERED;
        }
    }
    return b->kubernetes ? kubernetes(w, ret) : -ENOENT;
}

static int resolve(const struct walk *w, struct dns_reply *ret)
{
    const struct block *b = w->b;
    switch (judge(w)) {
    case ACL_DROP: return CHAIN_DROP;
    case ACL_BLOCK: return fail(w, DNS_REFUSED, ret);
    case ACL_FILTER: return fail(w, DNS_NOERROR, ret);
    case ACL_ALLOW: break;
    }
    if (w->q->class_ != DNS_IN && !b->chaos_version && !b->templates.n)
        return fail(w, DNS_REFUSED, ret);
    int r = local_answer(w, ret);
    if (r >= 0)
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
        return fail(w, b->kubernetes || b->n_forwards || b->templates.n || b->hosts ? DNS_SERVFAIL : DNS_REFUSED, ret);
    answer_whoami(w, ret);
    return CHAIN_ANSWERED;
}

/* ---- autopath --------------------------------------------------------------------------------------------------------- */

enum { SEARCH_MAX = 16 };

/* The list that the asker's resolver goes through; *ret_n is 0 when it is not known. */
static void search_list(const struct walk *w, char own[3][DNS_NAME_MAX], const char **ret, size_t *ret_n)
{
    const struct autopath *a = w->b->autopath;
    const struct kubernetes *k = w->b->kubernetes;
    size_t n = 0;
    *ret_n = 0;
    if (a->by_pod) {
        struct str ns = zone_namespace_of(w->c->zone, str_of(w->a->peer));
        const char *zone = dns_zone_of(k->options.zones, k->options.n_zones, str_of(w->q->name));
        if (!ns.n || !zone || k->options.pods != ZONE_PODS_VERIFIED)
            return;
        const char *dot = *zone ? "." : "";
        snprintf(own[0], DNS_NAME_MAX, STR_FMT ".svc%s%s", STR_ARG(ns), dot, zone);
        snprintf(own[1], DNS_NAME_MAX, "svc%s%s", dot, zone);
        snprintf(own[2], DNS_NAME_MAX, "%s", zone);
        for (; n < 3; n++)
            ret[n] = own[n];
    }
    for (size_t i = 0; i < a->n_search && n < SEARCH_MAX; i++)
        ret[n++] = a->search[i];
    *ret_n = n;
}

struct first_owner {
    struct str wire;
    const char *asked;
    char name[DNS_NAME_MAX];
    uint32_t ttl;
};

static bool find_other_owner(void *arg, const struct dns_record *r)
{
    struct first_owner *f = arg;
    char name[DNS_NAME_MAX];
    size_t at = r->name_at;
    if (f->name[0] || r->section != DNS_ANSWER || !dns_read_name(f->wire, &at, name) || !strcasecmp(name, f->asked))
        return true;
    memcpy(f->name, name, sizeof(name));
    f->ttl = r->ttl;
    return true;
}

/* The answer found further down the list: a CNAME leads to it from what was asked. */
static void put_found(const struct walk *w, const struct dns_reply *sub, struct dns_reply *ret)
{
    struct str wire = buf_str(&sub->out);
    struct copy c = {.to = ret, .q = w->q, .wire = wire};
    struct first_owner f = {.wire = wire, .asked = w->q->name};
    dns_reply_start(ret, w->q, w->a->limit);
    dns_each_record(wire, find_other_owner, &f);
    if (f.name[0])
        dns_put_name(ret, DNS_ANSWER, NULL, DNS_CNAME, f.ttl, f.name);
    dns_each_record(wire, copy_record, &c);
    ret->truncated = ret->truncated || wire.p[2] & FLAG_TC;
    dns_reply_end(ret, (enum dns_code)code_of(sub), wire.p[2] & FLAG_AA);
}

/* The list from its second zone on; true when a name there exists. */
static bool search(const struct walk *w, const char *base, const char *const *zones, size_t n, struct dns_reply *ret)
{
    for (size_t i = 1; i < n; i++) {
        struct dns_reply sub = {0};
        char name[2 * DNS_NAME_MAX];
        snprintf(name, sizeof(name), "%s%s%s", base, *zones[i] ? "." : "", zones[i]);
        bool found = strlen(name) < DNS_NAME_MAX && look_up(w, name, w->q->type, true, &sub) == CHAIN_ANSWERED && code_of(&sub) == DNS_NOERROR;
        if (found)
            put_found(w, &sub, ret);
        dns_reply_done(&sub);
        if (found)
            return true;
    }
    return false;
}

/* A name in the first zone of the list that does not exist is looked for in the others at once. */
static int with_autopath(const struct walk *w, struct dns_reply *ret)
{
    struct autopath *a = w->b->autopath;
    const char *zones[SEARCH_MAX];
    char own[3][DNS_NAME_MAX], base[DNS_NAME_MAX];
    struct str name = str_of(w->q->name);
    size_t n = 0;
    if (dns_zone_of(a->zones, a->n_zones, name))
        search_list(w, own, zones, &n);
    int r = resolve(w, ret);
    if (!n || r != CHAIN_ANSWERED || !dns_within(name, str_of(zones[0])) || name.n == strlen(zones[0]))
        return r;
    if (code_of(ret) == DNS_NOERROR)
        return r;
    snprintf(base, sizeof(base), STR_FMT, STR_ARG(str_slice(name, 0, name.n - strlen(zones[0]) - (*zones[0] ? 1 : 0))));
    struct dns_reply found = {0};
    if (search(w, base, zones, n, &found)) {
        a->found++;
        take(ret, &found);
    }
    dns_reply_done(&found);
    return r;
}

static int autopathed(const struct walk *w, struct dns_reply *ret)
{
    return w->b->autopath ? with_autopath(w, ret) : resolve(w, ret);
}

/* ---- rewrite ---------------------------------------------------------------------------------------------------------- */

/* The CNAMEs of an answer up to the first whose target a rule changes. */
struct retarget {
    const struct rewriting *rules;
    struct copy copy;
    char target[DNS_NAME_MAX]; /* the new one; "": no rule was for any */
};

static bool copy_until_changed(void *arg, const struct dns_record *r)
{
    struct retarget *t = arg;
    char owner[DNS_NAME_MAX], target[DNS_NAME_MAX];
    size_t at = (size_t)(r->data.p - t->copy.wire.p), name_at = r->name_at;
    if (t->target[0] || r->section != DNS_ANSWER || r->type != DNS_CNAME)
        return true;
    if (!dns_read_name(t->copy.wire, &at, target) || !dns_read_name(t->copy.wire, &name_at, owner))
        return false;
    if (rewrite_target(t->rules, target))
        memcpy(t->target, target, sizeof(target));
    bool own = !strcasecmp(owner, t->copy.q->name);
    dns_put_name(t->copy.to, DNS_ANSWER, own ? NULL : owner, DNS_CNAME, r->ttl, target);
    return true;
}

/* `rewrite cname`: behind a changed target its own answer takes the place of what was there. */
static void change_target(const struct walk *w, const struct rewriting *rules, struct dns_reply *reply)
{
    struct dns_reply fresh = {0}, sub = {0};
    struct retarget t = {.rules = rules, .copy = {.to = &fresh, .q = w->q, .wire = buf_str(&reply->out)}};
    enum dns_code code = (enum dns_code)code_of(reply);
    dns_reply_start(&fresh, w->q, DNS_TCP_SIZE);
    bool changed = dns_each_record(t.copy.wire, copy_until_changed, &t) && t.target[0];
    if (changed && look_up(w, t.target, w->q->type, false, &sub) == CHAIN_ANSWERED) {
        struct copy c = {.to = &fresh, .q = w->q, .wire = buf_str(&sub.out), .answers_only = true};
        dns_each_record(c.wire, copy_record, &c);
        fresh.truncated = fresh.truncated || sub.out.p[2] & FLAG_TC;
        dns_reply_end(&fresh, code, reply->out.p[2] & FLAG_AA);
        take(reply, &fresh);
    }
    dns_reply_done(&sub);
    dns_reply_done(&fresh);
}

static int rewrite_and_resolve(const struct walk *w, struct dns_reply *ret)
{
    struct buf question CLEANUP_BUF = BUF_INIT;
    struct dns_query q = *w->q;
    struct dns_reply inner = {0};
    struct rewriting done;
    struct walk next = *w;
    struct chain_ask whole = *w->a;
    rewrite_question(&w->b->rewrites, w->a, &q, &question, &done);
    whole.limit = DNS_TCP_SIZE; /* what is too large is cut when the names are final */
    next.q = &q;
    next.a = &whole;
    int r = done.changed ? autopathed(&next, &inner) : autopathed(w, ret);
    if (done.changed && r == CHAIN_ANSWERED) {
        change_target(&next, &done, &inner);
        rewrite_reply(&done, w->q, &q, &inner, w->a->limit, ret);
    }
    dns_reply_done(&inner);
    rewriting_done(&done);
    return r;
}

static int rewritten(const struct walk *w, struct dns_reply *ret)
{
    if (w->b->waits && !w->a->may_wait)
        return CHAIN_WAIT;
    return w->b->rewrites.n ? rewrite_and_resolve(w, ret) : autopathed(w, ret);
}

/* ---- from the start ----------------------------------------------------------------------------------------------------- */

/* `minimal`: of a positive answer only the answer. */
static void minimize(const struct walk *w, struct dns_reply *ret)
{
    struct buf *b = &ret->out;
    if (b->n < DNS_HEADER || !dns_get16(b->p + 6) || code_of(ret) != DNS_NOERROR)
        return;
    struct dns_reply small = {0};
    struct copy c = {.to = &small, .q = w->q, .wire = buf_str(b), .answers_only = true};
    size_t at;
    dns_reply_start(&small, w->q, w->a->limit);
    small.truncated = b->p[2] & FLAG_TC;
    dns_find_opt(c.wire, &at, &small.options);
    if (dns_each_record(c.wire, copy_record, &c)) {
        dns_reply_end(&small, DNS_NOERROR, b->p[2] & FLAG_AA);
        take(ret, &small);
    }
    dns_reply_done(&small);
}

static int answer(const struct walk *w, struct dns_reply *ret)
{
    const struct block *b = w->b;
    if (b->any && w->q->type == DNS_ANY) {
        answer_any(w, ret);
        return CHAIN_ANSWERED;
    }
    return chaos(w, ret) ? CHAIN_ANSWERED : rewritten(w, ret);
}

/* What DNS64 needs to know of an answer for AAAA. */
struct six {
    bool any;      /* there are AAAA records */
    uint32_t soa;  /* how long a "no" may be kept */
};

static bool look_for_six(void *arg, const struct dns_record *r)
{
    struct six *s = arg;
    s->any = s->any || (r->section == DNS_ANSWER && r->type == DNS_AAAA);
    if (r->section == DNS_AUTHORITY && r->type == DNS_SOA)
        s->soa = r->ttl;
    return true;
}

struct synthesis {
    struct copy copy;
    const struct dns64 *d;
    uint32_t most; /* TTL */
};

/* RFC 6052 section 2.2: the address behind the prefix, around bits 64 to 71, which are zero. */
static void embed(const struct prefix *prefix, const char *v4, uint8_t ret[static 16])
{
    size_t at = prefix->bits / 8;
    memset(ret, 0, 16);
    memcpy(ret, prefix->ip.b, at);
    for (size_t i = 0; i < 4; i++) {
        at += at == 8;
        ret[at++] = (uint8_t)v4[i];
    }
}

static bool synthesize(void *arg, const struct dns_record *r)
{
    struct synthesis *s = arg;
    char owner[DNS_NAME_MAX];
    uint8_t six[16];
    size_t at = r->name_at;
    if (r->section != DNS_ANSWER || r->type != DNS_A || r->data.n != 4)
        return copy_record(&s->copy, r);
    if (!dns_read_name(s->copy.wire, &at, owner))
        return false;
    embed(&s->d->prefix, r->data.p, six);
    bool own = !strcasecmp(owner, s->copy.q->name);
    dns_put_aaaa(s->copy.to, DNS_ANSWER, own ? NULL : owner, MIN(r->ttl, s->most), six);
    return true;
}

static bool wants_dns64(const struct walk *w)
{
    const struct dns64 *d = w->b->dns64;
    return d && w->q->type == DNS_AAAA && w->q->class_ == DNS_IN && (d->v4 || w->a->v6);
}

/* AAAA records made of A records where there are no others (RFC 6147 section 5.1). */
static int answer_dns64(const struct walk *w, struct dns_reply *ret)
{
    struct six seen = {.soa = 600}; /* of a zone that says nothing: section 5.1.7 */
    struct dns_reply four = {0};
    int r = w->a->may_wait ? answer(w, ret) : CHAIN_WAIT;
    if (r != CHAIN_ANSWERED || code_of(ret) == DNS_NXDOMAIN)
        return r;
    dns_each_record(buf_str(&ret->out), look_for_six, &seen);
    if (seen.any && !w->b->dns64->all)
        return r;
    if (look_up(w, w->q->name, DNS_A, false, &four) == CHAIN_ANSWERED) {
        struct str wire = buf_str(&four.out);
        struct synthesis s = {.copy = {.to = ret, .q = w->q, .wire = wire}, .d = w->b->dns64, .most = seen.soa};
        dns_reply_start(ret, w->q, w->a->limit);
        dns_each_record(wire, synthesize, &s);
        ret->truncated = ret->truncated || wire.p[2] & FLAG_TC;
        dns_reply_end(ret, (enum dns_code)code_of(&four), false);
        w->b->dns64->translated++;
    }
    dns_reply_done(&four);
    return r;
}

int chain_answer(struct chain *c, const struct chain_ask *a, struct dns_reply *ret)
{
    struct walk w = {.c = c, .a = a, .q = a->q};
    w.b = config_block(c->config, a->port, str_of(a->q->name));
    if (!w.b)
        return fail(&w, DNS_REFUSED, ret);
    int r = wants_dns64(&w) ? answer_dns64(&w, ret) : answer(&w, ret);
    if (r == CHAIN_ANSWERED && w.b->minimal)
        minimize(&w, ret);
    return r;
}
