/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/issuer_keys.h"

#include "auth/crypto.h"
#include "base/log.h"
#include "base/os.h"
#include "names.h"
#include "net/http.h"
#include "wire/json.h"

enum { DOCUMENT_MAX = 1 << 20 };

#define WELL_KNOWN "/.well-known/openid-configuration"
#define TRY_AGAIN SECONDS(10)
#define REFRESH SECONDS(600)
#define TIMEOUT SECONDS(30)

struct issuer_keys {
    struct str issuer;
    const char *algs;
    char *discovery, *jwks; /* URLs; jwks NULL until the issuer was found */
    struct http_client *http;
    struct group fibers;
    struct jwt_keys keys;
    struct err fault;
    bool fetching, used;
    struct waitq fetched;
    struct mono last; /* when the last fetch ended */
    struct issuer_counts counts;
};

/* ---- making --------------------------------------------------------------------------------------------- */

static char *discovery_url(const struct val *issuer)
{
    struct str given = val_getstr(issuer, N_discoveryURL), url = val_getstr(issuer, N_url);
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    if (given.n)
        return str_dup(given);
    if (str_ends(url, STR("/")))
        url.n--;
    return str_dup(arena_printf(&a, STR_FMT WELL_KNOWN, STR_ARG(url)));
}

int issuer_keys_new(const struct val *issuer, const char *algs, struct issuer_keys **ret, struct err *e)
{
    struct tls_client *tls = NULL;
    int r = tls_client_new(&(struct tls_client_config){.ca = val_getstr(issuer, N_certificateAuthority)}, &tls, e);
    if (r < 0)
        return r;
    struct issuer_keys *k = NEW(struct issuer_keys);
    k->issuer = val_getstr(issuer, N_url);
    k->algs = algs;
    k->discovery = discovery_url(issuer);
    k->http = http_client_new(&(struct http_client_config){.tls = tls, .max_conns = 4});
    err_set(&k->fault, 0, "authenticator not initialized");
    tls_client_unref(tls);
    *ret = k;
    return 0;
}

void issuer_keys_free(struct issuer_keys *k)
{
    if (!k)
        return;
    group_stop(&k->fibers);
    http_client_free(k->http);
    jwt_keys_done(&k->keys);
    free(k->discovery);
    free(k->jwks);
    free(k);
}

/* ---- fetching ------------------------------------------------------------------------------------------- */

static int get(struct issuer_keys *k, struct arena *a, const char *url, struct str *ret, struct err *e)
{
    static const struct http_header headers[] = {{{"accept", 6}, {"application/json", 16}}, {{"user-agent", 10}, {"kube-apiserver", 14}}};
    struct mono deadline = mono_add(os_mono(), TIMEOUT);
    struct http_request q = {.url = url, .headers = headers, .n_headers = ARRAY_SIZE(headers)};
    struct http_call *c = NULL;
    struct str text;
    int r = http_do(k->http, &q, deadline, &c, e);
    if (r == 0 && c->status != 200)
        r = err_set(e, -EREMOTEIO, "it answered %d", c->status);
    if (r == 0 && (r = http_call_read_all(c, DOCUMENT_MAX, deadline, &text)) < 0)
        err_set(e, r, r == -EFBIG ? "the answer is too large" : "%s", strerror(-r));
    if (r == 0)
        *ret = arena_str(a, text);
    http_call_free(c);
    return r < 0 ? err_wrap(e, r, "Get \"%s\"", url) : 0;
}

/* It has to be who it is taken for, and its keys must not be anybody's who sits between. */
static int discover(struct issuer_keys *k, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str text;
    struct val *v = NULL;
    int r = get(k, &a, k->discovery, &text, e);
    if (r == 0)
        r = json_decode(&a, NULL, text, 0, NULL, &v, e);
    if (r < 0)
        return r;
    struct str issuer = val_str(val_key(v, STR("issuer"))), jwks = val_str(val_key(v, STR("jwks_uri")));
    if (!str_eq(issuer, k->issuer))
        return err_set(e, -EINVAL, "issuer did not match the issuer returned by provider, expected \"" STR_FMT "\" got \"" STR_FMT "\"",
                       STR_ARG(k->issuer), STR_ARG(issuer));
    if (!str_starts(jwks, STR("https://")))
        return err_set(e, -EINVAL, "the provider has no jwks_uri with https: \"" STR_FMT "\"", STR_ARG(jwks));
    free(k->jwks);
    k->jwks = str_dup(jwks);
    return 0;
}

static int fetch_keys(struct issuer_keys *k, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct jwt_keys now = {0};
    struct str text;
    int r = get(k, &a, k->jwks, &text, e);
    if (r == 0)
        r = jwt_keys_add_set(&now, text, e);
    if (r < 0) {
        k->counts.failed++;
        k->counts.last_failed = os_wall();
        return r;
    }
    jwt_keys_done(&k->keys);
    k->keys = now;
    k->counts.fetched++;
    k->counts.last_fetched = os_wall();
    sha256_hex(text, k->counts.hash);
    return 0;
}

/* One at a time: who comes meanwhile has its outcome. */
static void refresh(struct issuer_keys *k)
{
    struct err e = {0};
    if (k->fetching) {
        while (k->fetching && waitq_wait(&k->fetched, MONO_NEVER) == 0)
            ;
        return;
    }
    if (!k->jwks || os_mono().ns - k->last.ns < SECONDS(1))
        return;
    k->fetching = true;
    int r = fetch_keys(k, &e);
    k->fetching = false;
    k->last = os_mono();
    k->fault = e;
    if (r < 0 && r != -ECANCELED)
        log_warn("apiserver", "keys of the token issuer %.*s: %s", STR_ARG(k->issuer), err_text(&e, r));
    waitq_wake_all(&k->fetched);
}

static void follow(void *arg)
{
    struct issuer_keys *k = arg;
    while (!k->jwks && !fiber_cancelled()) {
        struct err e = {0};
        int r = discover(k, &e);
        k->fault = e;
        if (r < 0 && r != -ECANCELED) {
            log_warn("apiserver", "token issuer %.*s: %s", STR_ARG(k->issuer), err_text(&e, r));
            fiber_sleep(TRY_AGAIN);
        }
    }
    while (fiber_sleep(REFRESH) == 0)
        if (k->used) { /* keys that the issuer has taken back do not verify for ever */
            k->used = false;
            refresh(k);
        }
}

void issuer_keys_start(struct issuer_keys *k)
{
    group_spawn(&k->fibers, "token-issuer", follow, k);
}

bool issuer_keys_ready(const struct issuer_keys *k, struct err *why)
{
    if (!k->jwks && why)
        *why = k->fault;
    return k->jwks != NULL;
}

const struct issuer_counts *issuer_keys_counts(const struct issuer_keys *k)
{
    return &k->counts;
}

/* ---- verifying ------------------------------------------------------------------------------------------ */

int issuer_keys_verify(struct issuer_keys *k, struct arena *a, struct str token, const struct val **ret_claims, struct err *e)
{
    const struct val *claims = NULL;
    if (!k->jwks)
        return err_set(e, -EACCES, "oidc: authenticator not initialized: %s", k->fault.text);
    k->used = true;
    int r = jwt_verify_issued(a, &k->keys, k->algs, token, &claims, e);
    if (r == -EACCES) {
        refresh(k);
        *e = (struct err){0};
        r = jwt_verify_issued(a, &k->keys, k->algs, token, &claims, e);
    }
    if (r < 0)
        return err_wrap(e, r, "oidc: verify token");
    *ret_claims = claims;
    return 0;
}
