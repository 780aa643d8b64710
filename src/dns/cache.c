/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/cache.h"

#include "base/map.h"
#include "dns/zone.h"

#include <pthread.h>
#include <stdio.h>

/* Many locks, so that threads seldom meet at one. */
enum { SHARDS = 32, STALE_TTL = 0, KEY_MAX = DNS_NAME_MAX + 16 };
enum { MOST_BYTES = 4096 }; /* of an answer: sizes are counted in answers, so each must be bounded */

struct kept {
    struct buf wire; /* as it came, id 0 */
    struct mono since;
    int64_t seconds; /* it is fresh for */
    struct mono window; /* since when its askers are counted */
    unsigned asked;
};

struct shard {
    pthread_mutex_t lock;
    struct map kinds[2]; /* success, denial: question (type, class, DO, CD, options, name) -> struct kept */
    struct dns_cache_figures figures;
};

struct dns_cache {
    struct dns_cache_options o;
    struct shard shards[SHARDS];
};

enum { SUCCESS, DENIAL };

struct dns_cache *dns_cache_new(const struct dns_cache_options *o)
{
    struct dns_cache *c = NEW(struct dns_cache);
    c->o = *o;
    for (size_t i = 0; i < SHARDS; i++)
        pthread_mutex_init(&c->shards[i].lock, NULL);
    return c;
}

static void kept_free(void *p)
{
    struct kept *k = p;
    buf_done(&k->wire);
    free(k);
}

void dns_cache_free(struct dns_cache *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < SHARDS; i++) {
        map_done_with(&c->shards[i].kinds[SUCCESS], kept_free);
        map_done_with(&c->shards[i].kinds[DENIAL], kept_free);
        pthread_mutex_destroy(&c->shards[i].lock);
    }
    free(c);
}

bool dns_cache_verifies(const struct dns_cache *c)
{
    return c->o.verify;
}

static struct str key_of(const struct dns_query *q, char buf[static KEY_MAX])
{
    size_t n = strlen(q->name);
    dns_set16(buf, q->type);
    dns_set16(buf + 2, q->class_);
    buf[4] = (char)('0' + q->dnssec_ok + 2 * q->checking_disabled);
    dns_set32(buf + 5, q->onward.n ? (uint32_t)str_hash(q->onward) : 0); /* who is asked for a subnet answers for that one */
    memcpy(buf + 9, q->name, n);
    return str_n(buf, n + 9);
}

static struct shard *shard_of(struct dns_cache *c, struct str key)
{
    return &c->shards[str_hash(key) % SHARDS];
}

/* ---- what is kept for how long -------------------------------------------------------------------------------- */

struct ttl_look {
    int64_t least, soa;
    unsigned answers;
    uint16_t asked;
};

static bool look_at(void *arg, const struct dns_record *r)
{
    struct ttl_look *l = arg;
    l->least = MIN(l->least, (int64_t)r->ttl);
    l->answers += r->section == DNS_ANSWER && (r->type == l->asked || l->asked == DNS_ANY);
    if (r->type == DNS_SOA && r->section == DNS_AUTHORITY && r->data.n >= 20) /* RFC 2308: the lesser of TTL and minimum */
        l->soa = MIN((int64_t)r->ttl, (int64_t)dns_get32(r->data.p + r->data.n - 4));
    return true;
}

/* Seconds, 0 for not at all; *ret_kind: what it is. */
static int64_t life_of(const struct dns_cache *c, const struct dns_query *q, struct str wire, int *ret_kind)
{
    const struct dns_cache_options *o = &c->o;
    struct ttl_look l = {.least = INT32_MAX, .soa = -1, .asked = q->type};
    unsigned code = (uint8_t)wire.p[3] & 15;
    if (wire.p[2] & 2 || !dns_each_record(wire, look_at, &l))
        return 0;
    *ret_kind = DENIAL;
    if (code == DNS_SERVFAIL)
        return o->servfail;
    bool denial = code == DNS_NXDOMAIN || (code == DNS_NOERROR && !l.answers && l.soa >= 0);
    if (!denial && code != DNS_NOERROR)
        return 0;
    *ret_kind = denial ? DENIAL : SUCCESS;
    const char *const *never = denial ? o->no_denial : o->no_success;
    if (dns_zone_of(never, denial ? o->n_no_denial : o->n_no_success, str_of(q->name)))
        return 0;
    if (denial)
        return MIN(MAX(l.soa >= 0 ? l.soa : l.least == INT32_MAX ? 0 : l.least, o->denial_min), o->denial_max);
    if (l.least == INT32_MAX) /* nothing in it says how long it holds */
        return 0;
    return MIN(MAX(l.least, o->success_min), o->success_max);
}

static void drop_oldest(struct shard *s, struct map *m)
{
    MAP_EACH(m, e) /* insertion order is age */
    {
        kept_free(map_del(m, e->key));
        s->figures.evictions++;
        return;
    }
}

void dns_cache_put(struct dns_cache *c, const struct dns_query *q, struct str wire, struct mono now)
{
    char buf[KEY_MAX];
    int kind;
    if (wire.n < DNS_HEADER || wire.n > MOST_BYTES || !dns_zone_of(c->o.zones, c->o.n_zones, str_of(q->name)))
        return;
    int64_t seconds = life_of(c, q, wire, &kind);
    if (seconds <= 0)
        return;
    struct str key = key_of(q, buf);
    struct shard *s = shard_of(c, key);
    struct kept *k = NEW(struct kept);
    buf_putstr(&k->wire, wire);
    k->since = k->window = now;
    k->seconds = seconds;
    size_t size = MAX((kind == SUCCESS ? c->o.success_size : c->o.denial_size) / SHARDS, (size_t)1);
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < 2; i++) {
        struct kept *old = map_del(&s->kinds[i], key);
        k->asked = old ? old->asked : k->asked;
        k->window = old ? old->window : k->window;
        if (old)
            kept_free(old);
    }
    map_put(&s->kinds[kind], key, k);
    if (s->kinds[kind].n > size)
        drop_oldest(s, &s->kinds[kind]);
    pthread_mutex_unlock(&s->lock);
}

/* ---- asking --------------------------------------------------------------------------------------------------- */

struct aging {
    char *wire;
    uint32_t seconds;
};

static bool age_ttl(void *arg, const struct dns_record *r)
{
    const struct aging *a = arg;
    dns_set32(a->wire + r->ttl_at, r->ttl > a->seconds ? r->ttl - a->seconds : STALE_TTL);
    return true;
}

/* Whether this asker is one of many near its end (CoreDNS' prefetch). */
static bool time_to_fetch(const struct dns_cache *c, struct kept *k, struct mono now, int64_t age)
{
    if (!c->o.prefetch)
        return false;
    if (now.ns - k->window.ns > c->o.prefetch_window) {
        k->window = now;
        k->asked = 0;
    }
    k->asked++;
    return k->asked >= c->o.prefetch && k->seconds - age <= k->seconds * (int64_t)c->o.prefetch_percent / 100;
}

static enum dns_cache_state judge(const struct dns_cache *c, struct kept *k, struct mono now, int64_t age)
{
    if (age < k->seconds)
        return time_to_fetch(c, k, now, age) ? CACHE_PREFETCH : CACHE_FRESH;
    return c->o.stale && now.ns - k->since.ns < k->seconds * NSEC_PER_SEC + c->o.stale ? CACHE_STALE : CACHE_MISS;
}

static void copy_out(const struct dns_cache *c, const struct dns_query *q, const struct kept *k, int64_t age, struct buf *ret)
{
    size_t start = ret->n;
    buf_putstr(ret, buf_str(&k->wire));
    char *wire = ret->p + start;
    if (!c->o.keep_ttl) {
        struct aging a = {wire, (uint32_t)age};
        dns_each_record(str_n(wire, ret->n - start), age_ttl, &a);
    }
    dns_set16(wire, q->id);
    if (k->wire.n >= DNS_HEADER + q->question.n)
        memcpy(wire + DNS_HEADER, q->question.p, q->question.n); /* the asker's own case */
}

enum dns_cache_state dns_cache_get(struct dns_cache *c, const struct dns_query *q, struct mono now, struct buf *ret)
{
    char buf[KEY_MAX];
    struct str key = key_of(q, buf);
    struct shard *s = shard_of(c, key);
    pthread_mutex_lock(&s->lock);
    struct kept *k = map_get(&s->kinds[SUCCESS], key);
    int kind = k ? SUCCESS : DENIAL;
    if (!k)
        k = map_get(&s->kinds[DENIAL], key);
    int64_t age = k ? (now.ns - k->since.ns) / NSEC_PER_SEC : 0;
    enum dns_cache_state state = k ? judge(c, k, now, age) : CACHE_MISS;
    if (state == CACHE_MISS) {
        s->figures.misses++;
    } else {
        copy_out(c, q, k, age, ret);
        s->figures.hits_success += kind == SUCCESS;
        s->figures.hits_denial += kind == DENIAL;
        s->figures.stale += state == CACHE_STALE;
        s->figures.prefetches += state == CACHE_PREFETCH;
    }
    pthread_mutex_unlock(&s->lock);
    return state;
}

void dns_cache_figures(struct dns_cache *c, struct dns_cache_figures *ret)
{
    struct dns_cache_figures sum = {0};
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shards[i];
        pthread_mutex_lock(&s->lock);
        sum.hits_success += s->figures.hits_success;
        sum.hits_denial += s->figures.hits_denial;
        sum.misses += s->figures.misses;
        sum.stale += s->figures.stale;
        sum.prefetches += s->figures.prefetches;
        sum.evictions += s->figures.evictions;
        sum.entries_success += s->kinds[SUCCESS].n;
        sum.entries_denial += s->kinds[DENIAL].n;
        pthread_mutex_unlock(&s->lock);
    }
    *ret = sum;
}
