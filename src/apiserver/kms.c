/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/kms.h"

#include <stdio.h>

#include "apiserver/uuid.h"
#include "auth/crypto.h"
#include "base/fiber.h"
#include "base/log.h"
#include "base/map.h"
#include "base/os.h"
#include "grpc.h"
#include "names.h"
#include "net/grpc.h"
#include "type/meta.h"
#include "types.h"
#include "wire/proto.h"

#define POLL_WELL SECONDS(60)
#define POLL_ILL SECONDS(10)
#define SEAL_FOR SECONDS(180) /* after the last good status */
#define GOOD_FOR SECONDS(20)
#define BAD_FOR SECONDS(3)
#define KEY_UNUSED SECONDS(24 * 3600)

enum {
    SOURCE_KEY,  /* EncryptedDEKSourceType AES_GCM_KEY: what upstream wrote before v1.28 */
    SOURCE_SEED, /* HKDF_SHA256_XNONCE_AES_GCM_SEED */
    KEY_ID_MAX = 1024,
    SOURCE_MAX = 1024,
    ANNOTATIONS_MAX = 32 << 10,
    KEYS_MAX = 10000,
    LATENCIES = 20,
    CODES = 17,
};

enum call { CALL_DECRYPT, CALL_ENCRYPT, CALL_STATUS, CALLS };
static const unsigned methods[CALLS] = {G_kms_v2_KeyManagementService_Decrypt, G_kms_v2_KeyManagementService_Encrypt,
                                        G_kms_v2_KeyManagementService_Status};

/* What a sealed seed came to. */
struct opened {
    struct mono used;
    int kind; /* SOURCE_... */
    bool known;
    size_t n;
    uint8_t secret[64];
    struct str ask; /* until it is known: the DecryptRequest, malloc'd */
};

struct usage_row {
    uint64_t n;
    double last;
};

struct latency {
    uint64_t n, buckets[LATENCIES];
    double seconds;
};

struct kms {
    struct kms_config config;
    struct seal_service service;
    struct grpc_client *client;
    struct group fibers;
    struct fmutex asking;
    unsigned refs;
    void (*turned)(void *arg);
    void *turned_arg;

    /* the present seed */
    struct arena seed_arena;
    const struct val *head; /* EncryptedObject without data; NULL: there is none yet */
    uint8_t seed[SEAL_SEED];
    struct mono until; /* sealed with until then */

    struct map opened; /* by the hash of the sealed seed, its key id and annotations */

    struct mono checked; /* the last status */
    int health;
    struct err why;
    char version[16];

    struct latency latency[CALLS][CODES];
    struct map used;      /* usage_row by "to_storage:hash" or "from_storage:hash" */
    struct map said;      /* usage_row by hash: key ids of Status */
    uint64_t empty, long_ids;
};

/* ---- life ---------------------------------------------------------------------------------------------- */

int kms_check_config(const struct kms_config *c, struct err *e)
{
    if (!c->name || !c->name[0])
        return err_set(e, -EINVAL, "kms.name: a name is needed");
    if (strchr(c->name, ':'))
        return err_set(e, -EINVAL, "kms.name: \"%s\" must not have a colon", c->name);
    if (!c->endpoint || !str_starts(str_of(c->endpoint), STR("unix://")) || !c->endpoint[7])
        return err_set(e, -EINVAL, "kms.endpoint: \"%s\" is no unix:///path", c->endpoint ? c->endpoint : "");
    if (c->timeout <= 0)
        return err_set(e, -EINVAL, "kms.timeout: it must be more than nothing");
    return 0;
}

static const struct seal_service service;

struct kms *kms_new(const struct kms_config *c)
{
    struct kms *k = NEW(struct kms);
    k->config = (struct kms_config){.name = str_dup(str_of(c->name)), .endpoint = str_dup(str_of(c->endpoint)), .timeout = c->timeout,
                                    .poll = c->poll ? c->poll : POLL_WELL, .server = str_dup(str_of(c->server ? c->server : ""))};
    k->service = service;
    k->service.ctx = k;
    k->refs = 1;
    k->health = -ENOENT;
    return k;
}

struct kms *kms_ref(struct kms *k)
{
    k->refs++;
    return k;
}

static void free_opened(void *p)
{
    struct opened *o = p;
    secret_wipe(o->secret, sizeof(o->secret));
    free((char *)(uintptr_t)o->ask.p);
    free(o);
}

void kms_unref(struct kms *k)
{
    if (!k || --k->refs)
        return;
    if (k->client)
        grpc_client_free(k->client);
    map_done_with(&k->opened, free_opened);
    map_done_with(&k->used, free);
    map_done_with(&k->said, free);
    arena_done(&k->seed_arena);
    secret_wipe(k->seed, sizeof(k->seed));
    free((char *)(uintptr_t)k->config.name);
    free((char *)(uintptr_t)k->config.endpoint);
    free((char *)(uintptr_t)k->config.server);
    free(k);
}

void kms_stop(struct kms *k)
{
    if (k->fibers.n)
        group_stop(&k->fibers);
    k->turned = NULL;
}

const struct seal_service *kms_service(struct kms *k)
{
    return &k->service;
}

/* ---- figures ------------------------------------------------------------------------------------------- */

static void count_id(struct map *m, const char *prefix, struct str key_id)
{
    enum { IDS_MAX = 100 };
    char hash[65], text[96];
    snprintf(text, sizeof(text), "%ssha256:%s", prefix, sha256_hex(key_id, hash));
    struct usage_row *row = map_get(m, str_of(text));
    if (!row) {
        if (m->n >= IDS_MAX)
            return;
        map_put(m, str_of(text), row = NEW(struct usage_row));
    }
    row->n++;
    row->last = (double)os_wall().ns / 1e9;
}

static void count_call(struct kms *k, enum call call, int code, struct mono begun)
{
    struct latency *l = &k->latency[call][code >= 0 && code < CODES ? code : GRPC_UNKNOWN];
    double s = (double)(os_mono().ns - begun.ns) / 1e9, bound = 0.0001;
    l->n++;
    l->seconds += s;
    for (int i = 0; i < LATENCIES; i++, bound *= 2)
        l->buckets[i] += s <= bound;
}

/* ---- asking -------------------------------------------------------------------------------------------- */

static void connect(struct kms *k)
{
    char address[256];
    const char *path = k->config.endpoint + strlen("unix://");
    if (str_starts(str_of(path), STR("/@")))
        path++;
    snprintf(address, sizeof(address), "unix:%s", path);
    k->client = grpc_client_new(&(const struct grpc_client_config){.address = address, .max_message = 1 << 20,
                                                                   .connect_timeout = k->config.timeout});
}

static int ask(struct kms *k, enum call call, const struct val *request, struct arena *a, const struct val **ret, struct err *e)
{
    struct mono begun = os_mono();
    if (!k->client)
        connect(k);
    int r = grpc_call(k->client, &grpc_methods[methods[call]], request, mono_add(begun, k->config.timeout), a, ret, e);
    count_call(k, call, r, begun);
    if (r > 0)
        return err_wrap(e, -EIO, "%s", grpc_code_name(r));
    return r;
}

static int check_id(struct str id, struct err *e)
{
    if (!id.n)
        return err_set(e, -EBADMSG, "the key id is empty");
    if (id.n > KEY_ID_MAX)
        return err_set(e, -EBADMSG, "the key id has %zu bytes, more than %d", id.n, KEY_ID_MAX);
    return 0;
}

/* Of an EncryptedObject, but for its data. */
static int check_head(const struct val *o, struct err *e)
{
    size_t source = val_getstr(o, N_encryptedDEKSource).n, total = 0;
    int64_t kind = val_int(val_get(o, N_encryptedDEKSourceType), 0);
    if (kind != SOURCE_KEY && kind != SOURCE_SEED)
        return err_set(e, -EBADMSG, "unknown kind %lld of data key", (long long)kind);
    if (!source || source > SOURCE_MAX)
        return err_set(e, -EBADMSG, "the sealed data key has %zu bytes, expected 1 to %d", source, SOURCE_MAX);
    VAL_EACH_ENTRY(val_get(o, N_annotations), key, value)
    {
        struct str name = val_str(key);
        if (check_dns_subdomain(name) || str_find(name, '.') < 0)
            return err_set(e, -EBADMSG, "annotation \"" STR_FMT "\" is no fully qualified name", STR_ARG(name));
        total += name.n + val_str(value).n;
    }
    if (total > ANNOTATIONS_MAX)
        return err_set(e, -EBADMSG, "the annotations have %zu bytes, more than %d", total, ANNOTATIONS_MAX);
    return check_id(val_getstr(o, N_keyID), e);
}

/* What tells sealed keys apart. */
static void hash_head(const struct val *o, uint8_t ret[static 32])
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *head = val_copy_shallow(&a, o);
    val_del(head, N_encryptedData);
    proto_encode(&b, &types[T_kmsstore_v2_EncryptedObject], head);
    sha256(buf_str(&b), ret);
}

static struct str hash_str(const uint8_t hash[static 32])
{
    return str_n((const char *)hash, 32);
}

static struct opened *put_opened(struct kms *k, const uint8_t hash[static 32], int kind)
{
    struct opened *o = NEW(struct opened);
    o->kind = kind;
    o->used = os_mono();
    map_put(&k->opened, hash_str(hash), o);
    return o;
}

static void know(struct opened *o, struct str secret)
{
    memcpy(o->secret, secret.p, secret.n);
    o->n = secret.n;
    o->known = true;
}

static struct val *head_of(struct arena *a, const struct val *answer)
{
    struct val *o = val_new(a, VAL_OBJ);
    val_set(a, o, N_keyID, val_of_str(arena_str(a, val_getstr(answer, N_key_id))));
    val_set(a, o, N_encryptedDEKSource, val_of_bytes(arena_str(a, val_getstr(answer, N_ciphertext))));
    val_set_int(a, o, N_encryptedDEKSourceType, SOURCE_SEED);
    if (val_len(val_get(answer, N_annotations)))
        val_set(a, o, N_annotations, *val_copy(a, val_get(answer, N_annotations)));
    return o;
}

/* A new seed under the key that Status named. The former stays when that fails. */
static int turn(struct kms *k, struct str key_id, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    uint8_t seed[SEAL_SEED], hash[32];
    char uid[UUID_TEXT];
    const struct val *answer;
    struct val *request = val_new(&a, VAL_OBJ);
    os_random(seed, sizeof(seed));
    val_set(&a, request, N_plaintext, val_of_bytes(str_n((const char *)seed, sizeof(seed))));
    val_set_str(&a, request, N_uid, str_of(uuid_new(uid)));
    int r = ask(k, CALL_ENCRYPT, request, &a, &answer, e);
    if (r < 0)
        return err_wrap(e, r, "a seed could not be sealed");
    if ((r = check_head(head_of(&a, answer), e)) < 0)
        return err_wrap(e, r, "what Encrypt answered");
    if (!str_eq(val_getstr(answer, N_key_id), key_id))
        return err_set(e, -EBADMSG, "Encrypt used another key than Status names");
    bool first = !k->head;
    arena_done(&k->seed_arena);
    k->seed_arena = (struct arena)ARENA_INIT;
    k->head = head_of(&k->seed_arena, answer);
    memcpy(k->seed, seed, sizeof(seed));
    hash_head(k->head, hash);
    if (!map_has(&k->opened, hash_str(hash)))
        know(put_opened(k, hash, SOURCE_SEED), str_n((const char *)seed, sizeof(seed)));
    secret_wipe(seed, sizeof(seed));
    if (!first && k->turned)
        k->turned(k->turned_arg);
    return 0;
}

static int judge_status(struct kms *k, const struct val *s, struct err *e)
{
    struct str version = val_getstr(s, N_version), health = val_getstr(s, N_healthz), key_id = val_getstr(s, N_key_id);
    struct mono until = mono_add(os_mono(), SEAL_FOR);
    int r = check_id(key_id, e);
    k->empty += !key_id.n;
    k->long_ids += key_id.n > KEY_ID_MAX;
    if (r < 0)
        return r;
    count_id(&k->said, "", key_id);
    if (!str_is(health, "ok"))
        return err_set(e, -EIO, "unexpected healthz status: " STR_FMT, STR_ARG(health));
    if (!str_is(version, "v2") && !str_is(version, "v2beta1"))
        return err_set(e, -EPROTO, "expected KMS version v2, not \"" STR_FMT "\"", STR_ARG(version));
    if (k->version[0] && !str_is(version, k->version))
        return err_set(e, -EPROTO, "the version was %s and is now " STR_FMT, k->version, STR_ARG(version));
    snprintf(k->version, sizeof(k->version), STR_FMT, STR_ARG(version));
    if (!k->head || !str_eq(val_getstr(k->head, N_keyID), key_id))
        r = turn(k, key_id, e);
    if (r == 0)
        k->until = until;
    return r;
}

static int check_status(struct kms *k, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct val *answer;
    int r = ask(k, CALL_STATUS, val_new(&a, VAL_OBJ), &a, &answer, e);
    if (r == 0)
        r = judge_status(k, answer, e);
    if (r < 0)
        err_wrap(e, r, "key service %s", k->config.name);
    k->health = r;
    k->why = r < 0 && e ? *e : (struct err){0};
    k->checked = os_mono();
    return r;
}

int kms_health(struct kms *k, struct err *e)
{
    kms_ref(k);
    int r = fmutex_lock(&k->asking);
    if (r == 0) {
        struct err why = {0};
        if (k->health != -ENOENT && os_mono().ns - k->checked.ns < (k->health ? BAD_FOR : GOOD_FOR))
            why = k->why;
        else
            check_status(k, &why);
        r = k->health;
        if (r < 0 && e)
            *e = why;
        fmutex_unlock(&k->asking);
    }
    kms_unref(k);
    return r;
}

static void sweep(struct kms *k)
{
    MAP_EACH(&k->opened, entry)
    {
        struct opened *o = entry->value;
        if (os_mono().ns - o->used.ns > KEY_UNUSED || k->opened.n > KEYS_MAX)
            free_opened(map_del(&k->opened, entry->key));
    }
}

static void poll_status(void *arg)
{
    struct kms *k = arg;
    while (fiber_sleep(k->health ? POLL_ILL : k->config.poll) == 0) {
        struct err e = {0};
        int was = k->health, r = fmutex_lock(&k->asking);
        if (r < 0)
            return;
        r = check_status(k, &e);
        fmutex_unlock(&k->asking);
        if (r < 0 && r != -ECANCELED)
            log_warn("apiserver", "%s", err_text(&e, r));
        else if (r == 0 && was)
            log_info("apiserver", "key service %s is well", k->config.name);
        sweep(k);
    }
}

void kms_start(struct kms *k, void (*turned)(void *arg), void *arg)
{
    struct err e = {0};
    int r = kms_health(k, &e);
    k->turned = turned;
    k->turned_arg = arg;
    if (r < 0)
        log_warn("apiserver", "%s", err_text(&e, r));
    group_spawn(&k->fibers, "kms", poll_status, k);
}

/* ---- sealing and opening ------------------------------------------------------------------------------- */

int kms_may_seal(const struct kms *k, struct mono now, struct err *e)
{
    if (!k->head)
        return err_set(e, -EIO, "it has not been well since the server began: %s", err_text(&k->why, k->health));
    if (now.ns > k->until.ns)
        return err_set(e, -EIO, "it has not been well for more than %lld seconds: %s", (long long)(SEAL_FOR / SECONDS(1)),
                       err_text(&k->why, k->health));
    return 0;
}

static int encrypt(void *ctx, struct str path, struct str plain, struct buf *b, struct err *e)
{
    struct kms *k = ctx;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    CLEANUP_BUF struct buf data = BUF_INIT;
    int r = kms_may_seal(k, os_mono(), e);
    if (r == 0)
        r = seal_seed_encrypt(str_n((const char *)k->seed, sizeof(k->seed)), path, plain, &data);
    if (r < 0)
        return r;
    struct val *o = val_copy_shallow(&a, k->head);
    val_set(&a, o, N_encryptedData, val_of_bytes(buf_str(&data)));
    proto_encode(b, &types[T_kmsstore_v2_EncryptedObject], o);
    count_id(&k->used, "to_storage:", val_getstr(o, N_keyID));
    return 0;
}

/* Remembers what to ask for. */
static int want(struct kms *k, const struct val *o, const uint8_t hash[static 32])
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    CLEANUP_BUF struct buf b = BUF_INIT;
    char uid[UUID_TEXT];
    struct val *request = val_new(&a, VAL_OBJ);
    val_set(&a, request, N_ciphertext, val_of_bytes(val_getstr(o, N_encryptedDEKSource)));
    val_set_str(&a, request, N_uid, str_of(uuid_new(uid)));
    val_set_str(&a, request, N_key_id, val_getstr(o, N_keyID));
    if (val_len(val_get(o, N_annotations)))
        val_set(&a, request, N_annotations, *val_get(o, N_annotations));
    proto_encode(&b, &types[T_kms_v2_DecryptRequest], request);
    struct opened *x = put_opened(k, hash, (int)val_int(val_get(o, N_encryptedDEKSourceType), 0));
    x->ask = str_n(str_dup(buf_str(&b)), b.n);
    return -EAGAIN;
}

static int decrypt(void *ctx, struct str path, struct str sealed, struct buf *b, bool *ret_stale, struct err *e)
{
    struct kms *k = ctx;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *o;
    uint8_t hash[32];
    int r = proto_decode(&a, &types[T_kmsstore_v2_EncryptedObject], sealed, &o, e);
    if (r == 0)
        r = check_head(o, e);
    if (r < 0)
        return -EBADMSG;
    hash_head(o, hash);
    struct opened *x = map_get(&k->opened, hash_str(hash));
    if (!x)
        return want(k, o, hash);
    if (!x->known)
        return -EAGAIN;
    struct str secret = str_n((const char *)x->secret, x->n), data = val_getstr(o, N_encryptedData);
    x->used = os_mono();
    count_id(&k->used, "from_storage:", val_getstr(o, N_keyID));
    *ret_stale = !k->head || !str_eq(val_getstr(k->head, N_keyID), val_getstr(o, N_keyID)) || x->kind != SOURCE_SEED;
    return x->kind == SOURCE_SEED ? seal_seed_decrypt(secret, path, data, b) : seal_gcm_decrypt(secret, path, data, b);
}

static const struct seal_service service = {.encrypt = encrypt, .decrypt = decrypt};

static int fetch_one(struct kms *k, struct str hash, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct opened *o = map_get(&k->opened, hash);
    struct val *request;
    const struct val *answer;
    int r = proto_decode(&a, &types[T_kms_v2_DecryptRequest], o->ask, &request, e);
    if (r == 0)
        r = ask(k, CALL_DECRYPT, request, &a, &answer, e);
    if (r == 0) {
        struct str secret = val_getstr(answer, N_plaintext);
        o = map_get(&k->opened, hash);
        if (secret.n < 16 || secret.n > sizeof(o->secret) || (o && o->kind == SOURCE_SEED && secret.n < SEAL_SEED))
            r = err_set(e, -EBADMSG, "Decrypt answered %zu bytes", secret.n);
        else if (o)
            know(o, secret);
    }
    if (r < 0) /* asked anew when it is missed anew */
        free_opened(map_del(&k->opened, hash));
    return r < 0 ? err_wrap(e, r, "key service %s: a data key could not be opened", k->config.name) : 0;
}

int kms_fetch(struct kms *k, struct err *e)
{
    uint8_t hash[32];
    kms_ref(k);
    int r = fmutex_lock(&k->asking);
    bool locked = r == 0, more = r == 0;
    while (r == 0 && more) {
        more = false;
        MAP_EACH(&k->opened, entry)
        {
            if (more || ((struct opened *)entry->value)->known)
                continue;
            memcpy(hash, entry->key.p, sizeof(hash));
            more = true;
        }
        if (more)
            r = fetch_one(k, hash_str(hash), e);
    }
    if (locked)
        fmutex_unlock(&k->asking);
    kms_unref(k);
    return r;
}

/* ---- metrics ------------------------------------------------------------------------------------------- */

#define PREFIX "apiserver_envelope_encryption_"

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP " PREFIX "%s [ALPHA] %s\n# TYPE " PREFIX "%s %s\n", name, help, name, type);
}

static void put_latency(const struct kms *k, struct buf *b, const char *method, const char *code, const struct latency *l)
{
    double bound = 0.0001;
    char labels[256];
    snprintf(labels, sizeof(labels), "grpc_status_code=\"%s\",method_name=\"%s\",provider_name=\"%s\"", code, method, k->config.name);
    for (int i = 0; i < LATENCIES; i++, bound *= 2)
        buf_printf(b, PREFIX "kms_operations_latency_seconds_bucket{%s,le=\"%g\"} %llu\n", labels, bound, (unsigned long long)l->buckets[i]);
    buf_printf(b, PREFIX "kms_operations_latency_seconds_bucket{%s,le=\"+Inf\"} %llu\n", labels, (unsigned long long)l->n);
    buf_printf(b, PREFIX "kms_operations_latency_seconds_sum{%s} %g\n", labels, l->seconds);
    buf_printf(b, PREFIX "kms_operations_latency_seconds_count{%s} %llu\n", labels, (unsigned long long)l->n);
}

static void put_latencies(const struct kms *k, struct buf *b)
{
    for (int call = 0; call < CALLS; call++)
        for (int code = 0; code < CODES; code++)
            if (k->latency[call][code].n)
                put_latency(k, b, grpc_methods[methods[call]].path, code ? grpc_code_name(code) : "OK", &k->latency[call][code]);
}

static void put_used(const struct kms *k, struct buf *b, bool last)
{
    char server[65];
    sha256_hex(str_of(k->config.server), server);
    MAP_EACH(&k->used, entry)
    {
        const struct usage_row *row = entry->value;
        struct str way, hash;
        str_cut(entry->key, ':', &way, &hash);
        buf_printf(b, PREFIX "key_id_hash_%s{apiserver_id_hash=\"sha256:%s\",key_id_hash=\"" STR_FMT "\",provider_name=\"%s\",transformation_type=\"" STR_FMT "\"} ",
                   last ? "last_timestamp_seconds" : "total", server, STR_ARG(hash), k->config.name, STR_ARG(way));
        buf_printf(b, last ? "%.17g\n" : "%.0f\n", last ? row->last : (double)row->n);
    }
}

static void put_said(const struct kms *k, struct buf *b)
{
    char server[65];
    sha256_hex(str_of(k->config.server), server);
    MAP_EACH(&k->said, entry)
        buf_printf(b, PREFIX "key_id_hash_status_last_timestamp_seconds{apiserver_id_hash=\"sha256:%s\",key_id_hash=\"" STR_FMT "\",provider_name=\"%s\"} %.17g\n",
                   server, STR_ARG(entry->key), k->config.name, ((const struct usage_row *)entry->value)->last);
}

static void put_invalid(const struct kms *k, struct buf *b)
{
    if (k->empty)
        buf_printf(b, PREFIX "invalid_key_id_from_status_total{error=\"empty\",provider_name=\"%s\"} %llu\n", k->config.name, (unsigned long long)k->empty);
    if (k->long_ids)
        buf_printf(b, PREFIX "invalid_key_id_from_status_total{error=\"too_long\",provider_name=\"%s\"} %llu\n", k->config.name,
                   (unsigned long long)k->long_ids);
}

void kms_metrics(struct kms *const *all, size_t n, struct buf *b)
{
    head(b, "kms_operations_latency_seconds", "histogram", "How long calls of key services took.");
    for (size_t i = 0; i < n; i++)
        put_latencies(all[i], b);
    head(b, "key_id_hash_total", "counter", "Values sealed and opened by key id.");
    for (size_t i = 0; i < n; i++)
        put_used(all[i], b, false);
    head(b, "key_id_hash_last_timestamp_seconds", "gauge", "When a key id was last used.");
    for (size_t i = 0; i < n; i++)
        put_used(all[i], b, true);
    head(b, "key_id_hash_status_last_timestamp_seconds", "gauge", "When Status last named a key id.");
    for (size_t i = 0; i < n; i++)
        put_said(all[i], b);
    head(b, "invalid_key_id_from_status_total", "counter", "Key ids of Status that are none.");
    for (size_t i = 0; i < n; i++)
        put_invalid(all[i], b);
    head(b, "dek_source_cache_size", "gauge", "Opened data keys that are remembered.");
    for (size_t i = 0; i < n; i++)
        buf_printf(b, PREFIX "dek_source_cache_size{provider_name=\"%s\"} %zu\n", all[i]->config.name, all[i]->opened.n);
}
