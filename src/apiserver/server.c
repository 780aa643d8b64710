/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/server.h"

#include "apiserver/admit.h"
#include "apiserver/admit_config.h"
#include "apiserver/aggregate.h"
#include "apiserver/audit.h"
#include "apiserver/encryption.h"
#include "apiserver/flow.h"
#include "apiserver/auth_state.h"
#include "apiserver/auth.h"
#include "apiserver/backend.h"
#include "apiserver/bootstrap.h"
#include "apiserver/custom.h"
#include "apiserver/dynamic.h"
#include "apiserver/expire.h"
#include "apiserver/peers.h"
#include "apiserver/service.h"
#include "apiserver/state.h"
#include "apiserver/usage.h"
#include "apiserver/uuid.h"
#include "auth/crypto.h"
#include "base/log.h"
#include "base/os.h"

enum {
    FILE_MAX = 4 << 20,
    DEFAULT_IN_FLIGHT = 400,
    DEFAULT_WRITES = 200,
    DEFAULT_WATCHES = 20000,
    DEFAULT_EVENT_TTL = 3600
};

#define DEFAULT_ISSUER "https://kubernetes.default.svc.cluster.local"

/* ---- texts ------------------------------------------------------------------------------------------- */

void flag_texts_set(struct flag_texts *t, const char *list)
{
    struct str rest = str_of(list), one;
    size_t n = 0;
    if (!list || !*list)
        return;
    t->items = xcalloc(strlen(list) + 2, sizeof(char *));
    while (str_next(&rest, ',', &one))
        if (str_trim(one).n)
            t->items[n++] = str_dup(str_trim(one));
}

void flag_texts_done(struct flag_texts *t)
{
    for (size_t i = 0; t->items && t->items[i]; i++)
        free(t->items[i]);
    free(t->items);
    t->items = NULL;
}

static int read_file(struct arena *a, const char *path, struct str *ret, struct err *e)
{
    int r = os_read_file(a, path, FILE_MAX, ret);
    return r < 0 ? err_set(e, r, "%s: %s", path, strerror(-r)) : 0;
}

/* ---- TLS --------------------------------------------------------------------------------------------- */

static int tls_config(const struct apiserver *s, struct arena *a, struct tls_server_config *ret,
                      struct err *e)
{
    const struct apiserver_config *c = &s->config;
    struct tls_keypair *k = ARENA_NEW(a, struct tls_keypair);
    int r = read_file(a, c->tls_cert, &k->cert_pem, e);
    if (!r)
        r = read_file(a, c->tls_key, &k->key_pem, e);
    *ret = (struct tls_server_config){.keys = k, .n_keys = 1, .client_auth = TLS_CLIENT_REQUEST};
    if (!r && c->client_ca)
        r = read_file(a, c->client_ca, &ret->client_ca, e);
    return r;
}

static int load_tls(struct apiserver *s, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct tls_server_config t;
    if (!s->config.tls_cert)
        return 0;
    int r = tls_config(s, &a, &t, e);
    if (r < 0)
        return r;
    return s->tls ? tls_server_set(s->tls, &t, e) : tls_server_new(&t, &s->tls, e);
}

static int load_front_proxy(struct apiserver *s, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str pem;
    struct x509_pool *pool = NULL;
    if (!s->config.front_proxy_ca)
        return 0;
    int r = read_file(&a, s->config.front_proxy_ca, &pem, e);
    if (!r)
        r = x509_pool_parse(pem, &pool, e);
    if (r < 0)
        return r;
    if (s->front_proxy_ca)
        x509_pool_unref(s->front_proxy_ca);
    s->front_proxy_ca = pool;
    return 0;
}

static void set_text(struct str *t, struct str now)
{
    free((char *)(uintptr_t)t->p);
    *t = now.n ? (struct str){str_dup(now), now.n} : STR_NULL;
}

/* What we show to extension servers. */
static int load_proxy_client(struct apiserver *s, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct apiserver_config *c = &s->config;
    struct str cert = STR_NULL, key = STR_NULL;
    int r = c->proxy_client_cert ? read_file(&a, c->proxy_client_cert, &cert, e) : 0;
    if (!r && c->proxy_client_key)
        r = read_file(&a, c->proxy_client_key, &key, e);
    if (r < 0)
        return r;
    set_text(&s->proxy_cert, cert);
    set_text(&s->proxy_key, key);
    return 0;
}

/* Of everything that apiserver_reload reads, but for what auth_follow looks after. */
static void files_hash(const struct apiserver *s, uint8_t ret[static 32])
{
    const char *const files[] = {s->config.tls_cert, s->config.tls_key, s->config.client_ca,
                                 s->config.front_proxy_ca, s->config.encryption,
                                 s->config.proxy_client_cert, s->config.proxy_client_key,
                                 s->config.sa_signing_key};
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    CLEANUP_BUF struct buf all = BUF_INIT;
    struct str rest = str_of(s->config.sa_keys ? s->config.sa_keys : ""), one, keys;
    while (str_next(&rest, ',', &one))
        if (os_read_file(&a, arena_cstr(&a, str_trim(one)), FILE_MAX, &keys) == 0)
            buf_putstr(&all, keys);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        struct str text = STR_NULL;
        if (files[i] && os_read_file(&a, files[i], FILE_MAX, &text) == 0)
            buf_putstr(&all, text);
        buf_putc(&all, '\n');
    }
    sha256(buf_str(&all), ret);
}

/* ---- service account keys ---------------------------------------------------------------------------- */

static int add_keys(struct apiserver *s, const char *files, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str rest = str_of(files), one, pem;
    while (str_next(&rest, ',', &one)) {
        int r = read_file(&a, arena_cstr(&a, str_trim(one)), &pem, e);
        if (!r)
            r = jwt_keys_add(&s->sa_keys, pem, e);
        if (r < 0)
            return err_wrap(e, r, "service account keys");
    }
    return 0;
}

static int load_signing_key(struct apiserver *s, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str pem;
    struct x509_key *key = NULL;
    int r = read_file(&a, s->config.sa_signing_key, &pem, e);
    if (!r)
        r = x509_key_parse(pem, &key, e);
    if (!r && !x509_key_is_private(key))
        r = err_set(e, -EINVAL, "%s holds no private key", s->config.sa_signing_key);
    if (!r)
        s->sa_sign = jwt_key_new(key);
    if (key)
        x509_key_unref(key);
    return r;
}

/* Those that are taken: our own first. */
static void set_issuers(struct apiserver *s)
{
    const struct apiserver_config *c = &s->config;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    s->sa_issuer = c->sa_issuer ? c->sa_issuer : DEFAULT_ISSUER;
    const char *more = c->sa_more_issuers && *c->sa_more_issuers ? c->sa_more_issuers : "";
    struct str all = arena_printf(&a, "%s%s%s", s->sa_issuer, *more ? "," : "", more);
    flag_texts_set(&s->sa_issuers, all.p);
    flag_texts_set(&s->sa_audiences, c->sa_audiences && *c->sa_audiences ? c->sa_audiences : all.p);
}

static int load_tokens(struct apiserver *s, struct err *e)
{
    const struct apiserver_config *c = &s->config;
    int r = 0;
    if (c->sa_signing_key)
        r = load_signing_key(s, e);
    const char *files = c->sa_keys ? c->sa_keys : c->sa_signing_key;
    return r || !files ? r : add_keys(s, files, e);
}

/* Keys that a file no longer has verify nothing any more. Nobody holds one across a wait. */
static int reload_tokens(struct apiserver *s, struct err *e)
{
    struct jwt_keys was = s->sa_keys;
    struct jwt_key *sign = s->sa_sign;
    s->sa_keys = (struct jwt_keys){0};
    s->sa_sign = NULL;
    int r = load_tokens(s, e);
    if (r < 0) {
        jwt_keys_done(&s->sa_keys);
        jwt_key_free(s->sa_sign);
        s->sa_keys = was;
        s->sa_sign = sign;
        return r;
    }
    map_done(&s->auth->verified); /* by the old ones */
    jwt_keys_done(&was);
    jwt_key_free(sign);
    return 0;
}

/* ---- life -------------------------------------------------------------------------------------------- */

static void set_defaults(struct apiserver_config *c)
{
    if (!c->max_in_flight)
        c->max_in_flight = DEFAULT_IN_FLIGHT;
    if (!c->max_mutating_in_flight)
        c->max_mutating_in_flight = DEFAULT_WRITES;
    if (!c->max_watches)
        c->max_watches = DEFAULT_WATCHES;
    if (!c->max_body)
        c->max_body = 3 << 20;
    if (!c->event_ttl)
        c->event_ttl = DEFAULT_EVENT_TTL;
    if (!c->min_request_timeout)
        c->min_request_timeout = 1800;
    if (!c->request_timeout)
        c->request_timeout = SECONDS(60);
}

static int load(struct apiserver *s, struct err *e)
{
    set_issuers(s);
    int r = auth_open(s, e);
    if (!r)
        r = admit_setup(s, e);
    if (!r && s->config.admission_config)
        r = admit_config_load(s->config.admission_config, &s->admit_config, e);
    if (!r)
        r = load_tls(s, e);
    if (!r)
        r = load_front_proxy(s, e);
    if (!r)
        r = load_proxy_client(s, e);
    if (!r)
        r = load_tokens(s, e);
    if (!r)
        r = backend_setup(s, e);
    if (!r && s->config.encryption)
        r = encryption_load(s->config.encryption, s->instance, &s->encryption, e);
    return r ? r : audit_open(s, e);
}

/* New certificates are taken over without being told (D10: they rotate in the process). */
static void renew(void *arg)
{
    struct apiserver *s = arg;
    uint8_t was[32], is[32];
    files_hash(s, was);
    while (fiber_sleep(SECONDS(60)) == 0) {
        struct err e = {0};
        files_hash(s, is);
        if (memcmp(was, is, sizeof(was)) == 0)
            continue;
        int r = apiserver_reload(s, &e);
        if (r < 0)
            log_warn("apiserver", "new certificates cannot be used yet: %s", err_text(&e, r));
        else
            memcpy(was, is, sizeof(was));
    }
}

static int serve(struct apiserver *s, struct err *e)
{
    s->http =
        http_server_new(&(struct http_server_config){.handler = request_serve, .ctx = s, .tls = s->tls, .max_streams = s->config.max_streams});
    int r = s->config.listen ? http_server_listen(s->http, s->config.listen, e) : 0;
    if (!r)
        r = bootstrap_run(s, e);
    if (r)
        return r;
    s->ready = true;
    group_spawn(&s->fibers, "expire", expire_events, s);
    group_spawn(&s->fibers, "custom-kinds", custom_follow, s);
    group_spawn(&s->fibers, "api-services", aggregate_register, s);
    group_spawn(&s->fibers, "policy-status", policy_status_follow, s);
    group_spawn(&s->fibers, "flow-status", flow_status_follow, s);
    group_spawn(&s->fibers, "auth-files", auth_follow, s);
    if (s->flow)
        group_spawn(&s->fibers, "flow", flow_adjust, s);
    if (s->encryption)
        group_spawn(&s->fibers, "encryption", encryption_refresh, s);
    if (s->tls)
        group_spawn(&s->fibers, "certificates", renew, s);
    return 0;
}

int apiserver_start(const struct apiserver_config *config, struct apiserver **ret, struct err *e)
{
    struct apiserver *s = NEW(struct apiserver);
    s->config = *config;
    s->store = config->store;
    s->started = os_mono();
    set_defaults(&s->config);
    uuid_new(s->instance);
    flag_texts_set(&s->front_proxy_names, config->front_proxy_names);
    int r = load(s, e);
    if (!r && s->encryption)
        encryption_start(s->encryption, s);
    if (!r)
        r = cache_open(s->store, s->encryption, &s->cache, e);
    if (!r) {
        s->rbac = rbac_index_new(s->cache);
        r = service_alloc_new(s, e);
    }
    if (!r) {
        if (!s->config.fairness_off)
            flow_open(s);
        custom_open(s);
        aggregate_open(s);
        dynamic_open(s);
    }
    if (!r)
        r = serve(s, e);
    if (r < 0) {
        apiserver_stop(s, 0);
        return r;
    }
    *ret = s;
    return 0;
}

int apiserver_address(const struct apiserver *s, char *ret, size_t size)
{
    return s->http && s->config.listen ? http_server_address(s->http, ret, size) : -ENOENT;
}

bool apiserver_ready(const struct apiserver *s)
{
    return s->ready && !s->stopping && !s->winding_down;
}

/* Nobody holds keys across a wait, so the old ones may go at once. */
static int reload_encryption(struct apiserver *s, struct err *e)
{
    struct encryption *now = NULL;
    if (!s->config.encryption)
        return 0;
    int r = encryption_load(s->config.encryption, s->instance, &now, e);
    if (r < 0)
        return r;
    encryption_start(now, s);
    cache_set_encryption(s->cache, now);
    encryption_free(s->encryption);
    s->encryption = now;
    group_spawn(&s->fibers, "encryption", encryption_refresh, s);
    return 0;
}

int apiserver_reload(struct apiserver *s, struct err *e)
{
    int r = load_tls(s, e);
    if (!r)
        r = load_front_proxy(s, e);
    if (!r)
        r = load_proxy_client(s, e);
    if (!r)
        r = reload_tokens(s, e);
    if (!r)
        r = auth_reload(s, e);
    return r ? r : reload_encryption(s, e);
}

struct http_server *apiserver_http(struct apiserver *s)
{
    return s->http;
}

static void free_tokens(struct apiserver *s)
{
    jwt_keys_done(&s->sa_keys);
    if (s->sa_sign)
        jwt_key_free(s->sa_sign);
    flag_texts_done(&s->sa_issuers);
    flag_texts_done(&s->sa_audiences);
    flag_texts_done(&s->front_proxy_names);
    set_text(&s->proxy_cert, STR_NULL);
    set_text(&s->proxy_key, STR_NULL);
    if (s->front_proxy_ca)
        x509_pool_unref(s->front_proxy_ca);
}

static bool working(const struct apiserver *s)
{
    for (int i = 0; i < IN_FLIGHT_KINDS; i++)
        if (s->in_flight[i])
            return true;
    return false;
}

void apiserver_wind_down(struct apiserver *s)
{
    s->winding_down = true;
    fiber_sleep(s->config.shutdown_delay);
    s->refusing = s->config.send_retry_after;
    if (s->http && !s->refusing)
        http_server_drain(s->http);
    struct mono latest = mono_add(os_mono(), s->config.request_timeout);
    while (working(s) && waitq_wait(&s->idle_q, latest) == 0)
        ;
    if (s->http)
        http_server_drain(s->http);
    latest = mono_add(os_mono(), s->config.watch_grace);
    while (s->watches && waitq_wait(&s->idle_q, latest) == 0)
        ;
}

void apiserver_stop(struct apiserver *s, int64_t grace_ns)
{
    if (!s)
        return;
    s->stopping = true;
    if (s->http) {
        http_server_stop(s->http, mono_add(os_mono(), grace_ns));
        http_server_free(s->http);
    }
    group_stop(&s->fibers);
    if (s->services)
        service_alloc_free(s);
    auth_close(s);
    rbac_index_free(s->rbac);
    dynamic_close(s);
    aggregate_close(s);
    peers_free(s);
    flow_close(s);
    cache_close(s->cache);
    encryption_free(s->encryption);
    custom_close(s);
    usage_free(s);
    backend_free(s);
    audit_close(s);
    free_tokens(s);
    if (s->tls)
        tls_server_unref(s->tls);
    free(s->plugins);
    admit_config_free(s->admit_config);
    metrics_done(&s->metrics);
    map_done(&s->pages);
    arena_done(&s->pages_arena);
    free(s);
}
