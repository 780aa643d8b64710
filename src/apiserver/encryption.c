/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/encryption.h"

#include "apiserver/config_file.h"
#include "apiserver/kms.h"
#include "apiserver/state.h"
#include "auth/crypto.h"
#include "base/log.h"
#include "names.h"
#include "types.h"

struct rule {
    const struct val *resources; /* texts: "secrets", "deployments.apps", "*.apps", "*." (core), "*.*" */
    struct seal seal;
};

struct encryption {
    struct arena arena;
    struct rule *rules;
    size_t n;
    struct kms **services;
    size_t n_services;
    const char *server;
};

static const struct seal plain;

/* ---- reading ------------------------------------------------------------------------------------------- */

static int take_key(struct arena *a, const struct val *v, enum seal_kind kind, struct seal *s, struct err *e)
{
    CLEANUP_BUF struct buf secret = BUF_INIT;
    struct seal_key *k = &s->keys[s->n];
    if (base64_take(&secret, val_getstr(v, N_secret)) < 0)
        return err_set(e, -EINVAL, "key \"" STR_FMT "\": the secret is no base64", STR_ARG(val_getstr(v, N_name)));
    *k = (struct seal_key){.kind = kind, .name = arena_cstr(a, val_getstr(v, N_name)), .secret = arena_str(a, buf_str(&secret))};
    secret_wipe(secret.p, secret.n);
    int r = seal_check(k, e);
    s->n += r == 0;
    return r;
}

/* Names must differ: they are what tells values apart. */
static int take_service(struct encryption *c, const struct val *v, struct seal *s, struct err *e)
{
    struct kms_config k = {.name = arena_cstr(&c->arena, val_getstr(v, N_name)), .timeout = SECONDS(3),
                           .endpoint = arena_cstr(&c->arena, val_getstr(v, N_endpoint))};
    struct str version = val_getstr(v, N_apiVersion), timeout = val_getstr(v, N_timeout);
    if (!version.n || str_is(version, "v1"))
        return err_set(e, -EINVAL, "kms.apiVersion: KMS v1 is deprecated and not spoken; use a plug-in of v2 with apiVersion: v2");
    if (!str_is(version, "v2"))
        return err_set(e, -EINVAL, "kms.apiVersion: \"" STR_FMT "\" is not v2", STR_ARG(version));
    if (val_get(v, N_cachesize))
        return err_set(e, -EINVAL, "kms.cachesize: it is not supported in v2");
    if (timeout.n && duration_parse(timeout, &k.timeout) < 0)
        return err_set(e, -EINVAL, "kms.timeout: \"" STR_FMT "\" is no duration", STR_ARG(timeout));
    int r = kms_check_config(&k, e);
    if (r < 0)
        return r;
    for (size_t i = 0; i < c->n; i++)
        for (size_t j = 0; j < c->rules[i].seal.n; j++)
            if (c->rules[i].seal.keys[j].kind == SEAL_KMS && !strcmp(c->rules[i].seal.keys[j].name, k.name))
                return err_set(e, -EINVAL, "kms.name: there is another \"%s\"", k.name);
    k.server = c->server;
    struct kms *service = kms_new(&k);
    c->services = xrealloc(c->services, (c->n_services + 1) * sizeof(struct kms *));
    c->services[c->n_services++] = service;
    s->keys[s->n++] = (struct seal_key){.kind = SEAL_KMS, .name = k.name, .service = kms_service(service)};
    return 0;
}

static size_t count_keys(const struct val *providers)
{
    size_t n = 0;
    VAL_EACH(providers, p)
        n += 1 + val_len(val_at(p, N_aesgcm, N_keys)) + val_len(val_at(p, N_aescbc, N_keys)) + val_len(val_at(p, N_secretbox, N_keys));
    return n;
}

static int take_provider(struct encryption *c, const struct val *p, struct seal *s, struct err *e)
{
    struct arena *a = &c->arena;
    static const struct {
        name_id at;
        enum seal_kind kind;
    } kinds[] = {{N_aesgcm, SEAL_AESGCM}, {N_aescbc, SEAL_AESCBC}, {N_secretbox, SEAL_SECRETBOX}};
    int named = 0, r = 0;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const struct val *one = val_get(p, kinds[i].at), *keys = val_get(one, N_keys);
        named += one != NULL;
        if (one && !val_len(keys))
            return err_set(e, -EINVAL, "keys: there must be at least one");
        VAL_EACH(keys, key)
            if (r == 0)
                r = take_key(a, key, kinds[i].kind, s, e);
    }
    if (val_get(p, N_kms)) {
        named++;
        if (r == 0 && named == 1)
            r = take_service(c, val_get(p, N_kms), s, e);
    }
    if (val_get(p, N_identity)) {
        named++;
        s->keys[s->n++] = (struct seal_key){.kind = SEAL_IDENTITY, .name = ""};
    }
    if (r == 0 && named != 1)
        return err_set(e, -EINVAL, "expected exactly one of aesgcm, aescbc, secretbox, kms and identity");
    return r;
}

static int take_rule(struct encryption *c, const struct val *v, struct err *e)
{
    struct rule *rule = &c->rules[c->n++];
    const struct val *providers = val_get(v, N_providers);
    int i = 0;
    rule->resources = val_get(v, N_resources);
    if (!val_len(rule->resources) || !val_len(providers))
        return err_set(e, -EINVAL, "resources[%zu]: resources and providers must not be empty", c->n - 1);
    rule->seal.keys = ARENA_ARRAY(&c->arena, struct seal_key, count_keys(providers));
    VAL_EACH(providers, p)
    {
        int r = take_provider(c, p, &rule->seal, e);
        if (r < 0)
            return err_wrap(e, r, "resources[%zu].providers[%d]", c->n - 1, i);
        i++;
    }
    return 0;
}

int encryption_load(const char *path, const char *server, struct encryption **ret, struct err *e)
{
    struct encryption *c = NEW(struct encryption);
    c->server = server;
    struct val *v = NULL;
    int r = config_file_read(&c->arena, path, &types[T_apiserver_v1_EncryptionConfiguration], "EncryptionConfiguration", "v1", NULL, &v, e);
    const struct val *rules = val_get(v, N_resources);
    if (r == 0)
        c->rules = ARENA_ARRAY(&c->arena, struct rule, val_len(rules) + 1);
    VAL_EACH(rules, rule)
        if (r == 0)
            r = take_rule(c, rule, e);
    if (r < 0) {
        encryption_free(c);
        return err_wrap(e, r, "--encryption-provider-config %s", path);
    }
    *ret = c;
    return 0;
}

void encryption_free(struct encryption *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++)
        for (size_t j = 0; j < c->rules[i].seal.n; j++)
            if (c->rules[i].seal.keys[j].secret.n)
                secret_wipe((void *)c->rules[i].seal.keys[j].secret.p, c->rules[i].seal.keys[j].secret.n);
    for (size_t i = 0; i < c->n_services; i++) {
        kms_stop(c->services[i]);
        kms_unref(c->services[i]);
    }
    free(c->services);
    arena_done(&c->arena);
    free(c);
}

/* ---- which keys ---------------------------------------------------------------------------------------- */

static bool fits(struct str want, const struct resource *res)
{
    struct str name, group;
    if (!str_cut(want, '.', &name, &group))
        return str_is(want, res->name) && !res->group[0];
    return (str_is(name, "*") || str_is(name, res->name)) && (str_is(group, "*") || str_is(group, res->group));
}

const struct seal *encryption_of(const struct encryption *enc, const struct resource *res)
{
    for (size_t i = 0; enc && i < enc->n; i++)
        VAL_EACH(enc->rules[i].resources, v)
            if (fits(val_str(v), res))
                return &enc->rules[i].seal;
    return &plain;
}

/* ---- key services -------------------------------------------------------------------------------------- */

static void turned(void *arg)
{
    struct apiserver *s = arg;
    if (s->ready)
        group_spawn(&s->fibers, "encryption", encryption_refresh, s);
}

void encryption_start(struct encryption *enc, struct apiserver *s)
{
    for (size_t i = 0; i < enc->n_services; i++)
        kms_start(enc->services[i], turned, s);
}

bool encryption_has_services(const struct encryption *enc)
{
    return enc && enc->n_services;
}

/* Does something that waits with every service, though enc may be replaced meanwhile. */
static int with_services(const struct encryption *enc, int (*fn)(struct kms *k, struct err *e), struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    size_t n = enc ? enc->n_services : 0;
    struct kms **all = ARENA_ARRAY(&a, struct kms *, n + 1);
    int r = 0;
    for (size_t i = 0; i < n; i++)
        all[i] = kms_ref(enc->services[i]);
    for (size_t i = 0; i < n; i++) {
        if (r == 0)
            r = fn(all[i], e);
        kms_unref(all[i]);
    }
    return r;
}

int encryption_fetch(const struct encryption *enc, struct err *e)
{
    return with_services(enc, kms_fetch, e);
}

int encryption_health(const struct encryption *enc, struct err *e)
{
    return with_services(enc, kms_health, e);
}

void encryption_metrics(const struct encryption *enc, struct buf *b)
{
    if (encryption_has_services(enc))
        kms_metrics(enc->services, enc->n_services, b);
}

/* ---- sealing ------------------------------------------------------------------------------------------- */

int encryption_seal(struct apiserver *s, struct arena *a, struct store_op *ops, size_t n, struct err *e)
{
    for (size_t i = 0; s->encryption && i < n; i++) {
        const struct object *o = ops[i].cookie;
        const struct cache_kind *k = ops[i].kind == STORE_PUT && o ? cache_kind(s->cache, o->res) : NULL;
        CLEANUP_BUF struct buf sealed = BUF_INIT;
        if (!k || !k->seal->n)
            continue;
        int r = seal_encrypt(k->seal, ops[i].key, ops[i].value, &sealed, e);
        if (r < 0)
            return r;
        ops[i].value = arena_str(a, buf_str(&sealed));
    }
    return 0;
}

/* ---- sealing anew -------------------------------------------------------------------------------------- */

/* 1 when it was written anew, 0 when there was no need or somebody else wrote it. */
static int refresh_one(struct apiserver *s, struct cache_kind *k, struct str key, struct arena *a)
{
    CLEANUP_BUF struct buf open = BUF_INIT;
    CLEANUP_BUF struct buf sealed = BUF_INIT;
    struct store_entry entry;
    struct err e = {0};
    bool stale = false;
    int r = store_get(s->store, key, (revision){0}, a, &entry);
    if (r == 0)
        r = seal_decrypt(k->seal, key, entry.value, &open, &stale, &e);
    if (r == -EAGAIN && (r = encryption_fetch(s->encryption, &e)) == 0)
        r = seal_decrypt(k->seal, key, entry.value, &open, &stale, &e);
    if (r == 0 && stale)
        r = seal_encrypt(k->seal, key, buf_str(&open), &sealed, &e);
    if (r || !stale)
        return r < 0 ? r : 0;
    struct store_op op = {.kind = STORE_PUT, .key = key, .value = buf_str(&sealed), .expect = entry.modified.n};
    r = store_txn(s->store, &op, 1, NULL, NULL);
    return r < 0 ? r : r == 0;
}

static int refresh_kind(struct apiserver *s, struct cache_kind *k)
{
    enum { AT_ONCE = 16 };
    struct tree *now = tree_ref(k->root);
    int n = 0, seen = 0, r = 0;
    for (struct tree_iter it = tree_begin_ns(now, STR("")); r >= 0 && tree_in_ns(&it, STR("")); tree_next(&it)) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        r = refresh_one(s, k, cache_key(&a, k, it.object->namespace_, it.object->name), &a);
        n += r > 0;
        if (++seen % AT_ONCE == 0)
            fiber_yield();
    }
    tree_unref(now);
    if (r < 0)
        log_error("apiserver", "%s cannot be sealed anew: %s", k->res->name, strerror(-r));
    return n;
}

void encryption_refresh(void *apiserver)
{
    struct apiserver *s = apiserver;
    struct cache_kind *k;
    for (size_t i = 0; !fiber_cancelled() && i < cache_count(s->cache); i++)
        if ((k = cache_at(s->cache, i)) && k->seal->n) {
            int n = refresh_kind(s, k);
            if (n)
                log_info("apiserver", "%d of %s were sealed anew", n, k->res->name);
        }
}
