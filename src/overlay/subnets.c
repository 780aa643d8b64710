/* SPDX-License-Identifier: Apache-2.0 */
#include "overlay/subnets.h"

#include "base/fiber.h"
#include "base/log.h"
#include "base/map.h"
#include "base/os.h"
#include "grpc.h"
#include "names.h"
#include "netlink/subnet_env.h"

#define LOG "overlay"

enum { RETRY_S = 1, RENEW_RETRY_S = 10, TRIES = 10 };

struct lease {
    struct lease_ranges ranges;
    char *value;
    int64_t made, changed; /* revisions */
    int64_t id;            /* 0: for ever (Flannel's "reservation") */
};

struct subnets {
    struct etcd *etcd;
    char *prefix, *subnet_file;
    int64_t ttl, margin;
    const struct netconf *conf;
    void (*on_change)(void *arg);
    void *arg;
    struct map all; /* "10.5.34.0-24" -> struct lease * */
    bool listed;
    int64_t revision; /* of the list */
    /* ours */
    bool has; /* ranges are those that we have, or had last */
    struct lease_ranges own;
    struct str own_key; /* in the map's form; malloc'd; of what we have now, else empty */
    uint8_t mac[FAMILIES][6]; /* what a device that is not made yet will have */
    struct mono renew;
    struct waitq taken;
};

static const struct grpc_method *method(unsigned m)
{
    return &grpc_methods[m];
}

static struct val bytes(struct arena *a, struct str s)
{
    return val_of_bytes(arena_str(a, s));
}

static struct str key_of(const struct subnets *s, struct arena *a, struct str name)
{
    return arena_printf(a, "%s/subnets/" STR_FMT, s->prefix, STR_ARG(name));
}

int subnets_new(const struct subnets_config *c, void (*changed)(void *arg), void *arg, struct subnets **ret, struct err *e)
{
    struct etcd *etcd;
    int r = etcd_new(&c->etcd, &etcd, e);
    if (r < 0)
        return r;
    struct subnets *s = NEW(struct subnets);
    struct str prefix = str_of(c->prefix ? c->prefix : LEASE_PREFIX);
    while (str_ends(prefix, STR("/")))
        prefix.n--;
    s->etcd = etcd;
    s->prefix = str_dup(prefix);
    s->subnet_file = c->subnet_file ? xstrdup(c->subnet_file) : NULL;
    s->ttl = c->ttl ? c->ttl : SECONDS(24 * 3600);
    s->margin = c->margin ? c->margin : SECONDS(3600);
    s->on_change = changed;
    s->arg = arg;
    for (unsigned f = 0; f < FAMILIES; f++) {
        os_random(s->mac[f], 6);
        s->mac[f][0] = (uint8_t)((s->mac[f][0] & 0xfe) | 2);
    }
    *ret = s;
    return 0;
}

static void lease_free(void *arg)
{
    struct lease *l = arg;
    free(l->value);
    free(l);
}

void subnets_free(struct subnets *s)
{
    if (!s)
        return;
    etcd_free(s->etcd);
    map_done_with(&s->all, lease_free);
    free((char *)s->own_key.p);
    free(s->prefix);
    free(s->subnet_file);
    free(s);
}

int subnets_read_conf(struct subnets *s, struct arena *a, struct str *ret)
{
    bool told = false;
    for (;;) {
        struct err e = {0};
        struct val *request = val_new(a, VAL_OBJ);
        const struct val *answer;
        val_set(a, request, N_key, bytes(a, arena_printf(a, "%s/config", s->prefix)));
        int r = etcd_call(s->etcd, method(G_etcdserverpb_KV_Range), request, a, &answer, &e);
        struct str text = r == 0 ? val_getstr(val_item(val_get(answer, N_kvs), 0), N_value) : STR_NULL;
        if (text.n || r < 0) {
            *ret = text;
            return r < 0 ? r : 0;
        }
        if (!told)
            log_warn(LOG, "waiting for the key %s/config in etcd: %s", s->prefix, r ? err_text(&e, -EIO) : "it is not there");
        told = true;
        if ((r = fiber_sleep(SECONDS(RETRY_S))) < 0)
            return r;
    }
}

/* ---- what there is ------------------------------------------------------------------------------------------ */

static struct str name_of(const struct subnets *s, struct str key)
{
    size_t n = strlen(s->prefix) + strlen("/subnets/");
    return key.n > n ? str_from(key, n) : STR_NULL;
}

static void put_lease(struct subnets *s, struct map *to, const struct val *kv)
{
    struct str name = name_of(s, val_getstr(kv, N_key));
    struct lease_ranges ranges;
    if (!lease_key_parse(name, &ranges))
        return;
    struct lease *l = NEW(struct lease), *old;
    *l = (struct lease){.ranges = ranges,
                        .value = str_dup(val_getstr(kv, N_value)),
                        .made = val_int(val_get(kv, N_create_revision), 0),
                        .changed = val_int(val_get(kv, N_mod_revision), 0),
                        .id = val_int(val_get(kv, N_lease), 0)};
    if ((old = map_put(to, name, l)))
        lease_free(old);
}

static bool is_own(const struct subnets *s, struct str name)
{
    return s->own_key.n && str_eq(s->own_key, name);
}

static void lose(struct subnets *s)
{
    log_warn(LOG, "the lease of this node's range " STR_FMT " is gone; it is taken again", STR_ARG(s->own_key));
    free((char *)s->own_key.p);
    s->own_key = STR_NULL;
}

static int list(struct subnets *s, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *request = val_new(&a, VAL_OBJ);
    const struct val *answer;
    struct str all = key_of(s, &a, STR_NULL);
    struct map now = MAP_INIT;
    val_set(&a, request, N_key, val_of_bytes(all));
    val_set(&a, request, N_range_end, val_of_bytes(etcd_range_end(&a, all)));
    int r = etcd_call(s->etcd, method(G_etcdserverpb_KV_Range), request, &a, &answer, e);
    if (r)
        return r;
    VAL_EACH (val_get(answer, N_kvs), kv)
        put_lease(s, &now, kv);
    map_done_with(&s->all, lease_free);
    s->all = now;
    s->listed = true;
    s->revision = val_int(val_at(answer, N_header, N_revision), 0);
    if (s->own_key.n && !map_has(&s->all, s->own_key))
        lose(s);
    s->on_change(s->arg);
    return 0;
}

static void take_event(struct subnets *s, const struct val *event)
{
    const struct val *kv = val_get(event, N_kv);
    struct str name = name_of(s, val_getstr(kv, N_key));
    int64_t revision = val_int(val_get(kv, N_mod_revision), 0);
    const struct lease *have = map_get(&s->all, name);
    if (revision <= s->revision || (have && have->changed >= revision))
        return; /* of before the list, or of our own doing */
    if (val_int(val_get(event, N_type), 0) != E_mvccpb_Event_DELETE) {
        put_lease(s, &s->all, kv);
    } else if (have) {
        lease_free(map_del(&s->all, name));
        if (is_own(s, name))
            lose(s);
    }
    s->on_change(s->arg);
}

static int take_events(struct subnets *s, struct grpc_stream *w, struct err *e)
{
    for (;;) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        const struct val *m;
        int r = grpc_stream_recv(w, MONO_NEVER, &a, &m, e);
        if (r || !m)
            return r ? r : GRPC_UNAVAILABLE;
        VAL_EACH (val_get(m, N_events), event)
            take_event(s, event);
        if (val_bool(val_get(m, N_canceled), false)) /* its history was compacted: list again */
            return err_set(e, GRPC_OUT_OF_RANGE, STR_FMT, STR_ARG(val_getstr(m, N_cancel_reason)));
    }
}

static int watch(struct subnets *s, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *request = val_new(&a, VAL_OBJ), *create = val_sub_obj(&a, request, N_create_request);
    struct grpc_stream *w;
    struct str all = key_of(s, &a, STR_NULL);
    val_set(&a, create, N_key, val_of_bytes(all));
    val_set(&a, create, N_range_end, val_of_bytes(etcd_range_end(&a, all)));
    val_set_int(&a, create, N_start_revision, s->revision + 1);
    int r = etcd_stream(s->etcd, method(G_etcdserverpb_Watch_Watch), request, &w, e);
    if (r)
        return r;
    r = take_events(s, w, e);
    grpc_stream_free(w);
    if (r == GRPC_UNAVAILABLE)
        etcd_pass_over(s->etcd);
    return r;
}

/* ---- our own -------------------------------------------------------------------------------------------------- */

static int grant(struct subnets *s, int64_t *ret_id, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *request = val_new(&a, VAL_OBJ);
    const struct val *answer;
    val_set_int(&a, request, N_TTL, MAX(s->ttl / SECONDS(1), (int64_t)1));
    int r = etcd_call(s->etcd, method(G_etcdserverpb_Lease_LeaseGrant), request, &a, &answer, e);
    if (r == 0)
        *ret_id = val_int(val_get(answer, N_ID), 0);
    return r;
}

static void revoke(struct subnets *s, int64_t id)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *request = val_new(&a, VAL_OBJ);
    const struct val *answer;
    struct err ignored = {0}; /* it ends by itself, too */
    val_set_int(&a, request, N_ID, id);
    etcd_call(s->etcd, method(G_etcdserverpb_Lease_LeaseRevoke), request, &a, &answer, &ignored);
}

/* Seconds that it lives from now on; 0: it is no more. */
static int keep_alive(struct subnets *s, int64_t id, int64_t *ret_ttl, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *request = val_new(&a, VAL_OBJ);
    const struct val *m = NULL;
    struct grpc_stream *k;
    val_set_int(&a, request, N_ID, id);
    int r = etcd_stream(s->etcd, method(G_etcdserverpb_Lease_LeaseKeepAlive), request, &k, e);
    if (r)
        return r;
    r = grpc_stream_recv(k, mono_add(os_mono(), SECONDS(5)), &a, &m, e);
    grpc_stream_free(k);
    if (r == 0)
        *ret_ttl = MAX(val_int(val_get(m, N_TTL), 0), (int64_t)0);
    else if (r == GRPC_UNAVAILABLE || r == GRPC_DEADLINE_EXCEEDED)
        etcd_pass_over(s->etcd);
    return r;
}

static void renew_after(struct subnets *s, int64_t ttl_s)
{
    int64_t ttl = ttl_s * SECONDS(1);
    s->renew = mono_add(os_mono(), ttl > s->margin ? ttl - s->margin : ttl / 3);
}

static struct val *put_request(struct arena *a, struct str key, struct str value, int64_t id)
{
    struct val *put = val_new(a, VAL_OBJ);
    val_set(a, put, N_key, bytes(a, key));
    val_set(a, put, N_value, bytes(a, value));
    val_set_int(a, put, N_lease, id);
    return put;
}

static void hold(struct subnets *s, const struct lease_ranges *r, struct str name, struct str value, int64_t id,
                 int64_t revision)
{
    const struct lease *before = map_get(&s->all, name);
    struct lease *l = NEW(struct lease), *old;
    *l = (struct lease){.ranges = *r, .value = str_dup(value), .made = before ? before->made : revision,
                        .changed = revision, .id = id};
    if ((old = map_put(&s->all, name, l)))
        lease_free(old);
    if (!is_own(s, name)) {
        free((char *)s->own_key.p);
        s->own_key = str_of(str_dup(name));
        log_info(LOG, "this node's range is " STR_FMT, STR_ARG(name));
    }
    s->own = *r;
    s->has = true;
    waitq_wake_all(&s->taken);
    s->on_change(s->arg);
}

/* What is there stays there; only the value and the lease's id are ours to say. */
static int write_own(struct subnets *s, const struct lease_ranges *r, struct str name, struct str value, int64_t id,
                     struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct val *answer;
    int c = etcd_call(s->etcd, method(G_etcdserverpb_KV_Put), put_request(&a, key_of(s, &a, name), value, id), &a, &answer, e);
    if (c == 0)
        hold(s, r, name, value, id, val_int(val_at(answer, N_header, N_revision), 0));
    return c;
}

/* 0: it is ours. -EEXIST: somebody was quicker. */
static int take(struct subnets *s, const struct lease_ranges *r, struct str value, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *txn = val_new(&a, VAL_OBJ), *compare = val_add_obj(&a, val_sub_list(&a, txn, N_compare));
    struct str name = lease_key(&a, r), key = key_of(s, &a, name);
    const struct val *answer;
    int64_t id;
    int c = grant(s, &id, e);
    if (c)
        return c;
    val_set_int(&a, compare, N_result, E_etcdserverpb_Compare_EQUAL);
    val_set_int(&a, compare, N_target, E_etcdserverpb_Compare_VERSION);
    val_set(&a, compare, N_key, val_of_bytes(key));
    val_set_int(&a, compare, N_version, 0);
    val_set_ref(&a, val_add_obj(&a, val_sub_list(&a, txn, N_success)), N_request_put, put_request(&a, key, value, id));
    c = etcd_call(s->etcd, method(G_etcdserverpb_KV_Txn), txn, &a, &answer, e);
    if (c == 0 && !val_bool(val_get(answer, N_succeeded), false))
        c = -EEXIST;
    if (c)
        revoke(s, id);
    else
        hold(s, r, name, value, id, val_int(val_at(answer, N_header, N_revision), 0)), renew_after(s, s->ttl / SECONDS(1));
    return c;
}

static int forget(struct subnets *s, struct str name, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *request = val_new(&a, VAL_OBJ);
    const struct val *answer;
    val_set(&a, request, N_key, val_of_bytes(key_of(s, &a, name)));
    return etcd_call(s->etcd, method(G_etcdserverpb_KV_DeleteRange), request, &a, &answer, e);
}

static bool is_of(const struct lease *l, const struct announcement *say)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct peer p;
    if (!lease_value_parse(&a, str_of(l->value), &p))
        return false;
    unsigned f = say->address[V4].family ? V4 : V6;
    return p.address[f].family && ip_equal(&p.address[f], &say->address[f]);
}

/* The lease of an earlier life, by our address. What the network has no place for any more goes. 0, -ENOENT. */
static int take_over(struct subnets *s, const struct announcement *say, struct str value, struct err *e)
{
    MAP_EACH (&s->all, it) {
        const struct lease *l = it->value;
        struct lease_ranges ranges = l->ranges;
        int64_t id = l->id, ttl = 0;
        if (!is_of(l, say))
            continue;
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct str name = arena_str(&a, it->key);
        if (!lease_fits(s->conf, &ranges)) {
            int c = forget(s, name, e);
            return c ? c : -ENOENT;
        }
        int c = id ? keep_alive(s, id, &ttl, e) : 0;
        if (c == 0 && id && !ttl && (c = grant(s, &id, e)) == 0)
            ttl = s->ttl / SECONDS(1);
        c = c ? c : write_own(s, &ranges, name, value, id, e);
        if (c == 0)
            renew_after(s, ttl);
        return c;
    }
    return -ENOENT;
}

static struct lease_ranges of_earlier_run(const struct subnets *s)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct subnet_env env;
    struct str text;
    if (s->has)
        return s->own;
    if (!s->subnet_file || os_read_file(&a, s->subnet_file, 4096, &text) < 0)
        return (struct lease_ranges){0};
    subnet_env_read(text, &env);
    return (struct lease_ranges){{env.subnet[V4], env.subnet[V6]}};
}

static bool find_free(const struct subnets *s, struct lease_ranges *ret)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct lease_ranges earlier = of_earlier_run(s);
    bool fits = lease_fits(s->conf, &earlier);
    for (unsigned f = 0; f < FAMILIES; f++) {
        struct prefixes taken = {ARENA_ARRAY(&a, struct prefix, s->all.n + 1), 0};
        MAP_EACH (&s->all, it) {
            const struct lease *l = it->value;
            if (l->ranges.of[f].bits)
                taken.list[taken.n++] = l->ranges.of[f];
        }
        ret->of[f] = (struct prefix){0};
        for (size_t i = 0; i < taken.n; i++)
            fits = fits && !(earlier.of[f].bits && prefix_overlaps(&taken.list[i], &earlier.of[f]));
        if (s->conf->enabled[f] && !lease_choose(s->conf, f, &taken, os_random_u64(), &ret->of[f]))
            return false;
    }
    if (fits)
        *ret = earlier;
    return true;
}

static int acquire(struct subnets *s, const struct announcement *say, struct str value, struct err *e)
{
    struct lease_ranges r;
    int c = take_over(s, say, value, e);
    for (unsigned tries = 0; tries < TRIES && (c == -ENOENT || c == -EEXIST); tries++) {
        if (c == -EEXIST && (c = list(s, e)))
            break;
        if (!find_free(s, &r))
            return err_set(e, -ENOSPC, "the network has no range left for this node");
        c = take(s, &r, value, e);
    }
    return c == -EEXIST ? err_set(e, c, "other nodes were quicker each time") : c;
}

int subnets_announce(struct subnets *s, const struct announcement *say, struct err *e)
{
    static const uint8_t none[6];
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct announcement mine = *say;
    if (!s->listed || (!say->address[V4].family && !say->address[V6].family))
        return -EAGAIN;
    for (unsigned f = 0; f < FAMILIES; f++)
        if (memcmp(mine.mac[f], none, 6))
            memcpy(s->mac[f], mine.mac[f], 6);
        else
            memcpy(mine.mac[f], s->mac[f], 6);
    struct str value = lease_value(&a, &mine);
    if (!s->own_key.n)
        return acquire(s, &mine, value, e);
    const struct lease *l = map_get(&s->all, s->own_key);
    if (!l || str_is(value, l->value))
        return 0;
    return write_own(s, &s->own, arena_str(&a, s->own_key), value, l->id, e);
}

/* ---- peers ------------------------------------------------------------------------------------------------------ */

static void fill_ranges(struct arena *a, const struct lease_ranges *r, struct peer *p)
{
    p->pods = (struct prefixes){ARENA_ARRAY(a, struct prefix, FAMILIES), 0};
    for (unsigned f = 0; f < FAMILIES; f++)
        if (r->of[f].bits)
            p->pods.list[p->pods.n++] = r->of[f];
}

bool subnets_peers(struct subnets *s, struct arena *a, struct peer **ret, size_t *ret_n, struct peer *ret_self)
{
    struct peer *all = ARENA_ARRAY(a, struct peer, s->all.n + 1);
    size_t n = 0;
    MAP_EACH (&s->all, it) {
        const struct lease *l = it->value;
        struct peer *p = &all[n];
        if (is_own(s, it->key) || !lease_value_parse(a, arena_str(a, str_of(l->value)), p))
            continue;
        p->name = arena_str(a, it->key);
        p->since.ns = l->made; /* who took it first */
        fill_ranges(a, &l->ranges, p);
        n++;
    }
    peers_sort(all, n);
    *ret = all;
    *ret_n = n;
    if (!s->has)
        return false;
    *ret_self = (struct peer){.name = arena_str(a, s->own_key)};
    fill_ranges(a, &s->own, ret_self);
    for (unsigned f = 0; f < FAMILIES; f++) {
        memcpy(ret_self->mac[f], s->mac[f], 6);
        ret_self->has_mac[f] = true;
    }
    return true;
}

/* ---- following ----------------------------------------------------------------------------------------------------- */

/* Our lease. One that etcd has forgotten is told by the watch, too. */
static void keep(void *arg)
{
    struct subnets *s = arg;
    for (;;) {
        struct err e = {0};
        const struct lease *l = s->own_key.n ? map_get(&s->all, s->own_key) : NULL;
        int64_t ttl = 0;
        if (!l || !l->id) {
            if (waitq_wait(&s->taken, MONO_NEVER) < 0)
                return;
            continue;
        }
        int64_t id = l->id;
        if (os_mono().ns < s->renew.ns) { /* then it may be another one */
            if (fiber_sleep_until(s->renew) < 0)
                return;
            continue;
        }
        int r = keep_alive(s, id, &ttl, &e);
        if (r < 0)
            return;
        if (r) {
            log_warn(LOG, "the lease of this node's range cannot be renewed: %s", err_text(&e, -EIO));
            s->renew = mono_add(os_mono(), SECONDS(RENEW_RETRY_S));
        } else if (ttl) {
            renew_after(s, ttl);
        } else {
            s->renew = mono_add(os_mono(), SECONDS(RENEW_RETRY_S));
            if (s->own_key.n) {
                lease_free(map_del(&s->all, s->own_key));
                lose(s);
            }
            s->on_change(s->arg);
        }
    }
}

void subnets_follow(struct subnets *s, const struct netconf *conf)
{
    struct group g = {0};
    s->conf = conf;
    group_spawn(&g, "lease", keep, s);
    for (bool told = false;;) {
        struct err e = {0};
        int r = list(s, &e);
        told = told && r;
        r = r ? r : watch(s, &e);
        if (r < 0)
            break;
        if (!told && r != GRPC_OUT_OF_RANGE)
            log_warn(LOG, "the leases in etcd cannot be followed: %s", err_text(&e, -EIO));
        told = true;
        if (fiber_sleep(SECONDS(RETRY_S)) < 0)
            break;
    }
    group_stop(&g);
}
