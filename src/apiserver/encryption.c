/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/encryption.h"

#include "apiserver/state.h"
#include "auth/crypto.h"
#include "base/log.h"
#include "base/os.h"
#include "names.h"
#include "types.h"
#include "wire/json.h"
#include "wire/yaml.h"

enum { FILE_MAX = 1 << 20 };

struct rule {
    const struct val *resources; /* texts: "secrets", "deployments.apps", "*.apps", "*." (core), "*.*" */
    struct seal seal;
};

struct encryption {
    struct arena arena;
    struct rule *rules;
    size_t n;
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

static size_t count_keys(const struct val *providers)
{
    size_t n = 0;
    VAL_EACH(providers, p)
        n += 1 + val_len(val_at(p, N_aesgcm, N_keys)) + val_len(val_at(p, N_aescbc, N_keys)) + val_len(val_at(p, N_secretbox, N_keys));
    return n;
}

static int take_provider(struct arena *a, const struct val *p, struct seal *s, struct err *e)
{
    static const struct {
        name_id at;
        enum seal_kind kind;
    } kinds[] = {{N_aesgcm, SEAL_AESGCM}, {N_aescbc, SEAL_AESCBC}, {N_secretbox, SEAL_SECRETBOX}};
    int named = 0, r = 0;
    if (val_get(p, N_kms))
        return err_set(e, -EINVAL, "kms: key services are not there yet; use aesgcm, secretbox or aescbc");
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const struct val *one = val_get(p, kinds[i].at), *keys = val_get(one, N_keys);
        named += one != NULL;
        if (one && !val_len(keys))
            return err_set(e, -EINVAL, "keys: there must be at least one");
        VAL_EACH(keys, key)
            if (r == 0)
                r = take_key(a, key, kinds[i].kind, s, e);
    }
    if (val_get(p, N_identity)) {
        named++;
        s->keys[s->n++] = (struct seal_key){.kind = SEAL_IDENTITY, .name = ""};
    }
    if (r == 0 && named != 1)
        return err_set(e, -EINVAL, "expected exactly one of aesgcm, aescbc, secretbox and identity");
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
        int r = take_provider(&c->arena, p, &rule->seal, e);
        if (r < 0)
            return err_wrap(e, r, "resources[%zu].providers[%d]", c->n - 1, i);
        i++;
    }
    return 0;
}

static int decode(struct arena *a, const char *path, struct val **ret, struct err *e)
{
    struct json_report rep = {0};
    struct str text, json;
    int r = os_read_file(a, path, FILE_MAX, &text);
    if (r < 0)
        return err_set(e, r, "%s", strerror(-r));
    r = yaml_to_json(a, text, &rep, &json, e);
    if (r == 0)
        r = json_decode(a, &types[T_apiserver_v1_EncryptionConfiguration], json, 0, &rep, ret, e);
    if (r == 0 && rep.n)
        return err_set(e, -EINVAL, STR_FMT, STR_ARG(rep.problems[0]));
    if (r == 0 && (!str_is(val_getstr(*ret, N_kind), "EncryptionConfiguration") ||
                   !str_is(val_getstr(*ret, N_apiVersion), "apiserver.config.k8s.io/v1")))
        return err_set(e, -EINVAL, "expected an apiserver.config.k8s.io/v1 EncryptionConfiguration");
    return r;
}

int encryption_load(const char *path, struct encryption **ret, struct err *e)
{
    struct encryption *c = NEW(struct encryption);
    struct val *v = NULL;
    int r = decode(&c->arena, path, &v, e);
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
            secret_wipe((void *)c->rules[i].seal.keys[j].secret.p, c->rules[i].seal.keys[j].secret.n);
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
