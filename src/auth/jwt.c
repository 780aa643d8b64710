/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/jwt.h"

#include "auth/crypto.h"
#include "auth/x509-internal.h"
#include "wire/json.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

enum { MAX_TOKEN = 32768, MAX_PART = 66 }; /* 66 bytes: a coordinate of P-521 */

enum jwt_family { FAMILY_EC, FAMILY_RSA };

struct jwt_alg {
    const char *name;
    enum jwt_family family;
    const EVP_MD *(*digest)(void);
    size_t part; /* EC: bytes of r and of s */
    bool pss;
    const char *curve; /* OpenSSL's name */
};

static const struct jwt_alg algs[] = {
    {"ES256", FAMILY_EC, EVP_sha256, 32, false, "prime256v1"},
    {"ES384", FAMILY_EC, EVP_sha384, 48, false, "secp384r1"},
    {"ES512", FAMILY_EC, EVP_sha512, 66, false, "secp521r1"},
    {"RS256", FAMILY_RSA, EVP_sha256, 0, false, ""},
    {"RS384", FAMILY_RSA, EVP_sha384, 0, false, ""},
    {"RS512", FAMILY_RSA, EVP_sha512, 0, false, ""},
    {"PS256", FAMILY_RSA, EVP_sha256, 0, true, ""},
    {"PS384", FAMILY_RSA, EVP_sha384, 0, true, ""},
    {"PS512", FAMILY_RSA, EVP_sha512, 0, true, ""},
};

struct jwt_key {
    struct x509_key *key;
    char *id;
    enum jwt_family family;
    size_t part;               /* EC: bytes of a coordinate */
    const struct jwt_alg *alg; /* to sign with; NULL: it is of no kind for tokens */
    struct str only;           /* of a key set: the one algorithm that it may be used with; empty: any that fits */
};

/* ---- keys --------------------------------------------------------------------------------------------- */

static const struct jwt_alg *alg_of_key(EVP_PKEY *evp, enum jwt_family *ret_family, size_t *ret_part)
{
    int bits = EVP_PKEY_get_bits(evp);
    if (EVP_PKEY_get_base_id(evp) == EVP_PKEY_EC) {
        char curve[64] = "";
        *ret_family = FAMILY_EC;
        *ret_part = (size_t)(bits + 7) / 8;
        EVP_PKEY_get_utf8_string_param(evp, OSSL_PKEY_PARAM_GROUP_NAME, curve, sizeof(curve), NULL);
        for (size_t i = 0; i < ARRAY_SIZE(algs) && algs[i].family == FAMILY_EC; i++)
            if (!strcmp(curve, algs[i].curve))
                return &algs[i];
        return NULL;
    }
    *ret_family = FAMILY_RSA;
    *ret_part = 0;
    return EVP_PKEY_get_base_id(evp) == EVP_PKEY_RSA && bits >= 2048 ? &algs[3] : NULL;
}

static char *key_id(const struct x509_key *k)
{
    struct buf der CLEANUP_BUF = BUF_INIT, id = BUF_INIT;
    uint8_t hash[32];
    x509_key_public_der(k, &der);
    sha256(buf_str(&der), hash);
    base64url_put(&id, str_n((char *)hash, sizeof(hash)));
    return id.p;
}

struct jwt_key *jwt_key_new(const struct x509_key *k)
{
    struct jwt_key *j = NEW(struct jwt_key);
    j->key = x509_key_ref((struct x509_key *)(uintptr_t)k);
    j->alg = alg_of_key(x509_key_evp(k), &j->family, &j->part);
    j->id = key_id(k);
    return j;
}

const char *jwt_key_id(const struct jwt_key *k)
{
    return k->id;
}

void jwt_key_free(struct jwt_key *k)
{
    if (!k)
        return;
    x509_key_unref(k->key);
    free(k->id);
    free((char *)(uintptr_t)k->only.p);
    free(k);
}

int jwt_keys_add(struct jwt_keys *ks, struct str pem, struct err *e)
{
    struct x509_key **keys;
    size_t n;
    int r = x509_keys_parse(pem, &keys, &n, e);
    if (r < 0)
        return r;
    ks->keys = xrealloc(ks->keys, (ks->n + n) * sizeof(*ks->keys));
    for (size_t i = 0; i < n; i++) {
        ks->keys[ks->n++] = jwt_key_new(keys[i]);
        x509_key_unref(keys[i]);
    }
    free(keys);
    return 0;
}

void jwt_keys_done(struct jwt_keys *ks)
{
    for (size_t i = 0; i < ks->n; i++)
        jwt_key_free(ks->keys[i]);
    free(ks->keys);
    *ks = (struct jwt_keys){0};
}

/* ---- key sets (RFC 7517, RFC 7518 section 6) ------------------------------------------------------------ */

static struct str text_at(const struct val *v, const char *name)
{
    return val_str(val_key(v, str_of(name)));
}

static BIGNUM *number_of(const struct val *jwk, const char *name)
{
    enum { BYTES_MAX = 2048 };
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct str text = text_at(jwk, name);
    if (!text.n || base64url_take(&b, text) < 0 || b.n > BYTES_MAX)
        return NULL;
    return BN_bin2bn((const uint8_t *)b.p, (int)b.n, NULL);
}

static EVP_PKEY *key_from(const char *kind, OSSL_PARAM_BLD *params)
{
    EVP_PKEY *evp = NULL;
    OSSL_PARAM *p = OSSL_PARAM_BLD_to_param(params);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
    if (!p || EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &evp, EVP_PKEY_PUBLIC_KEY, p) != 1)
        evp = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(p);
    return evp;
}

static EVP_PKEY *rsa_key(const struct val *jwk, OSSL_PARAM_BLD *params)
{
    BIGNUM *n = number_of(jwk, "n"), *e = number_of(jwk, "e");
    EVP_PKEY *evp = NULL;
    if (n && e && OSSL_PARAM_BLD_push_BN(params, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(params, OSSL_PKEY_PARAM_RSA_E, e) == 1)
        evp = key_from("RSA", params);
    BN_free(n);
    BN_free(e);
    return evp;
}

static EVP_PKEY *ec_key(const struct val *jwk, OSSL_PARAM_BLD *params)
{
    static const struct {
        const char *name;
        size_t part;
    } curves[] = {{"P-256", 32}, {"P-384", 48}, {"P-521", 66}};
    CLEANUP_BUF struct buf x = BUF_INIT, y = BUF_INIT;
    struct str curve = text_at(jwk, "crv");
    uint8_t point[1 + 2 * MAX_PART] = {4}; /* uncompressed */
    if (base64url_take(&x, text_at(jwk, "x")) < 0 || base64url_take(&y, text_at(jwk, "y")) < 0)
        return NULL;
    for (size_t i = 0; i < ARRAY_SIZE(curves); i++) {
        size_t part = curves[i].part;
        if (!str_is(curve, curves[i].name) || x.n != part || y.n != part)
            continue;
        memcpy(point + 1, x.p, part);
        memcpy(point + 1 + part, y.p, part);
        OSSL_PARAM_BLD_push_utf8_string(params, OSSL_PKEY_PARAM_GROUP_NAME, curves[i].name, 0);
        OSSL_PARAM_BLD_push_octet_string(params, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * part);
        return key_from("EC", params);
    }
    return NULL;
}

/* NULL: it is no key that verifies tokens. */
static struct jwt_key *key_of_jwk(const struct val *jwk)
{
    struct str kind = text_at(jwk, "kty"), use = text_at(jwk, "use"), id = text_at(jwk, "kid"), alg = text_at(jwk, "alg");
    if (use.n && !str_is(use, "sig"))
        return NULL;
    OSSL_PARAM_BLD *params = OSSL_PARAM_BLD_new();
    EVP_PKEY *evp = str_is(kind, "RSA") ? rsa_key(jwk, params) : str_is(kind, "EC") ? ec_key(jwk, params) : NULL;
    OSSL_PARAM_BLD_free(params);
    ERR_clear_error();
    if (!evp)
        return NULL;
    struct x509_key *key = x509_key_wrap(evp, false);
    struct jwt_key *j = jwt_key_new(key);
    x509_key_unref(key);
    if (!j->alg) {
        jwt_key_free(j);
        return NULL;
    }
    free(j->id);
    j->id = str_dup(id);
    if (alg.n)
        j->only = str_of(str_dup(alg));
    return j;
}

int jwt_keys_add_set(struct jwt_keys *ks, struct str json, struct err *e)
{
    enum { KEYS_MAX = 1000 };
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v;
    int r = json_decode(&a, NULL, json, JSON_DECODE_DEFAULT, NULL, &v, e);
    if (r < 0)
        return err_wrap(e, -EINVAL, "the key set");
    const struct val *list = val_key(v, STR("keys"));
    if (!val_is(list, VAL_LIST))
        return err_set(e, -EINVAL, "the key set has no \"keys\"");
    VAL_EACH (list, jwk) {
        struct jwt_key *k = ks->n < KEYS_MAX ? key_of_jwk(jwk) : NULL;
        if (!k)
            continue;
        ks->keys = xrealloc(ks->keys, (ks->n + 1) * sizeof(*ks->keys));
        ks->keys[ks->n++] = k;
    }
    return 0;
}

static void put_number(struct buf *b, const char *name, EVP_PKEY *evp, const char *param, size_t width)
{
    BIGNUM *n = NULL;
    uint8_t bytes[1024];
    if (EVP_PKEY_get_bn_param(evp, param, &n) != 1 || BN_num_bytes(n) > (int)sizeof(bytes)) {
        BN_free(n);
        return;
    }
    int len = BN_bn2binpad(n, bytes, width ? (int)width : BN_num_bytes(n));
    buf_printf(b, ",\"%s\":\"", name);
    base64url_put(b, str_n((char *)bytes, len > 0 ? (size_t)len : 0));
    buf_putc(b, '"');
    BN_free(n);
}

/* RFC 7518 section 6. */
static void put_jwk(struct buf *b, const struct jwt_key *k)
{
    EVP_PKEY *evp = x509_key_evp(k->key);
    buf_printf(b, "{\"use\":\"sig\",\"kty\":\"%s\",\"kid\":\"%s\"", k->family == FAMILY_EC ? "EC" : "RSA",
               k->id);
    if (k->family == FAMILY_EC) {
        buf_printf(b, ",\"crv\":\"P-%d\"", EVP_PKEY_get_bits(evp));
        buf_printf(b, ",\"alg\":\"%s\"", k->alg->name);
        put_number(b, "x", evp, OSSL_PKEY_PARAM_EC_PUB_X, k->part);
        put_number(b, "y", evp, OSSL_PKEY_PARAM_EC_PUB_Y, k->part);
    } else {
        buf_printf(b, ",\"alg\":\"%s\"", k->alg->name);
        put_number(b, "n", evp, OSSL_PKEY_PARAM_RSA_N, 0);
        put_number(b, "e", evp, OSSL_PKEY_PARAM_RSA_E, 0);
    }
    buf_putc(b, '}');
}

void jwt_keys_json(const struct jwt_keys *ks, struct buf *b)
{
    bool first = true;
    buf_puts(b, "{\"keys\":[");
    for (size_t i = 0; i < ks->n; i++) {
        if (!ks->keys[i]->alg)
            continue;
        if (!first)
            buf_putc(b, ',');
        first = false;
        put_jwk(b, ks->keys[i]);
    }
    buf_puts(b, "]}");
}

/* ---- signing ------------------------------------------------------------------------------------------ */

/* From OpenSSL's DER to r and s side by side (RFC 7518 section 3.4). */
static int raw_signature(const uint8_t *der, size_t n, size_t part, uint8_t *ret)
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
    bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), ret, (int)part) > 0 &&
              BN_bn2binpad(ECDSA_SIG_get0_s(sig), ret + part, (int)part) > 0;
    ECDSA_SIG_free(sig);
    return ok ? 0 : -EIO;
}

static int sign_bytes(const struct jwt_key *k, struct str s, struct buf *b)
{
    uint8_t der[1024], raw[2 * MAX_PART];
    size_t n = sizeof(der);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestSignInit(ctx, NULL, k->alg->digest(), NULL, x509_key_evp(k->key)) == 1 &&
              EVP_DigestSign(ctx, der, &n, (const uint8_t *)s.p, s.n) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    if (!ok)
        return -EIO;
    if (k->family == FAMILY_RSA) {
        base64url_put(b, str_n((char *)der, n));
        return 0;
    }
    int r = raw_signature(der, n, k->part, raw);
    if (r == 0)
        base64url_put(b, str_n((char *)raw, 2 * k->part));
    return r;
}

int jwt_sign(const struct jwt_key *k, const struct val *claims, struct buf *b, struct err *e)
{
    struct buf json CLEANUP_BUF = BUF_INIT, sig CLEANUP_BUF = BUF_INIT;
    size_t start = b->n;
    if (!k->alg || !x509_key_is_private(k->key))
        return err_set(e, -EINVAL,
                       "signing a token: the key is not private, or of no kind that signs tokens");
    buf_printf(&json, "{\"alg\":\"%s\",\"kid\":\"%s\"}", k->alg->name, k->id);
    base64url_put(b, buf_str(&json));
    buf_putc(b, '.');
    buf_clear(&json);
    json_encode(&json, NULL, claims, JSON_NO_HTML);
    base64url_put(b, buf_str(&json));
    int r = sign_bytes(k, str_n(b->p + start, b->n - start), &sig);
    if (r < 0) {
        b->n = start;
        return err_set(e, r, "signing a token failed");
    }
    buf_putc(b, '.');
    buf_putstr(b, buf_str(&sig));
    return 0;
}

/* ---- verifying ---------------------------------------------------------------------------------------- */

struct token {
    struct str header, claims, signature; /* as sent */
    struct str signed_part;
};

static int split(struct str s, struct token *ret)
{
    struct token t;
    if (s.n > MAX_TOKEN)
        return -EINVAL;
    ssize_t last = str_rfind(s, '.');
    if (last < 0)
        return -EINVAL;
    t.signed_part = str_slice(s, 0, (size_t)last);
    t.signature = str_from(s, (size_t)last + 1);
    if (!str_cut(t.signed_part, '.', &t.header, &t.claims) || str_find(t.claims, '.') >= 0)
        return -EINVAL;
    *ret = t;
    return 0;
}

static int part_value(struct arena *a, struct str part, const struct val **ret, struct err *e)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct val *v;
    if (base64url_take(&b, part) < 0)
        return err_set(e, -EINVAL, "token: bad base64");
    int r = json_decode(a, NULL, buf_str(&b), JSON_DECODE_DEFAULT, NULL, &v, e);
    if (r < 0)
        return err_wrap(e, -EINVAL, "token");
    if (!val_is(v, VAL_MAP))
        return err_set(e, -EINVAL, "token: a part is no JSON object");
    *ret = v;
    return 0;
}

int jwt_parse(struct arena *a, struct str token, const struct val **ret_header, const struct val **ret_claims,
              struct err *e)
{
    struct token t;
    const struct val *header, *claims;
    if (split(token, &t) < 0)
        return err_set(e, -EINVAL, "not a JSON Web Token");
    int r = part_value(a, t.header, &header, e);
    if (r == 0)
        r = part_value(a, t.claims, &claims, e);
    if (r < 0)
        return r;
    if (ret_header)
        *ret_header = header;
    if (ret_claims)
        *ret_claims = claims;
    return 0;
}

/* From r and s side by side to DER; the number of bytes, or 0. */
static size_t der_signature(struct str raw, size_t part, uint8_t *ret, size_t size)
{
    if (raw.n != 2 * part)
        return 0;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn((const uint8_t *)raw.p, (int)part, NULL);
    BIGNUM *s = BN_bin2bn((const uint8_t *)raw.p + part, (int)part, NULL);
    ECDSA_SIG_set0(sig, r, s);
    int n = i2d_ECDSA_SIG(sig, NULL);
    uint8_t *at = ret;
    n = n > 0 && (size_t)n <= size ? i2d_ECDSA_SIG(sig, &at) : 0;
    ECDSA_SIG_free(sig);
    return n > 0 ? (size_t)n : 0;
}

static bool verify_with(const struct jwt_key *k, const struct jwt_alg *alg, struct str text, struct str sig)
{
    uint8_t der[2 * MAX_PART + 16];
    EVP_PKEY_CTX *pctx = NULL;
    if (k->family != alg->family || !k->alg || (alg->family == FAMILY_EC && k->part != alg->part))
        return false;
    if (k->only.n && !str_is(k->only, alg->name))
        return false;
    if (alg->family == FAMILY_EC)
        sig = str_n((char *)der, der_signature(sig, alg->part, der, sizeof(der)));
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = sig.n && EVP_DigestVerifyInit(ctx, &pctx, alg->digest(), NULL, x509_key_evp(k->key)) == 1;
    if (ok && alg->pss)
        ok = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1;
    ok = ok && EVP_DigestVerify(ctx, (const uint8_t *)sig.p, sig.n, (const uint8_t *)text.p, text.n) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

static const struct jwt_alg *find_alg(struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(algs); i++)
        if (str_is(name, algs[i].name))
            return &algs[i];
    return NULL;
}

bool jwt_alg_known(struct str name)
{
    return find_alg(name) != NULL;
}

static bool in_list(const char *list, struct str name)
{
    struct str rest = str_of(list), one;
    while (str_next(&rest, ',', &one))
        if (str_eq(str_trim(one), name))
            return true;
    return !list;
}

/* The key that the header names first, then, as upstream does with its own, all others. */
static bool verify_any(const struct jwt_keys *ks, const struct val *header, const struct token *t, struct str sig, bool others)
{
    struct str kid = val_str(val_key(header, STR("kid")));
    const struct jwt_alg *alg = find_alg(val_str(val_key(header, STR("alg"))));
    if (!alg)
        return false;
    for (int named = 1; named >= 0; named--)
        for (size_t i = 0; i < ks->n; i++)
            if (str_is(kid, ks->keys[i]->id) == (named == 1) && (named || others || !kid.n) &&
                verify_with(ks->keys[i], alg, t->signed_part, sig))
                return true;
    return false;
}

/* A header that demands what nobody here understands (RFC 7515 section 4.1.11) makes it no token for us. */
static int verify(struct arena *a, const struct jwt_keys *ks, const char *accepted, bool others, struct str token,
                  const struct val **ret_claims, struct err *e)
{
    struct token t;
    const struct val *header, *claims;
    struct buf sig CLEANUP_BUF = BUF_INIT;
    int r = jwt_parse(a, token, &header, &claims, e);
    if (r < 0)
        return r;
    split(token, &t);
    if (base64url_take(&sig, t.signature) < 0)
        return err_set(e, -EINVAL, "token: bad base64");
    if (val_key(header, STR("crit")))
        return err_set(e, -EACCES, "token: critical headers are not supported");
    if (!in_list(accepted, text_at(header, "alg")))
        return err_set(e, -EACCES, "token: signed with an algorithm that is not accepted, \"" STR_FMT "\"",
                       STR_ARG(text_at(header, "alg")));
    if (!verify_any(ks, header, &t, buf_str(&sig), others))
        return err_set(e, -EACCES, "token: no key of ours verifies the signature");
    *ret_claims = claims;
    return 0;
}

int jwt_verify(struct arena *a, const struct jwt_keys *ks, struct str token, const struct val **ret_claims, struct err *e)
{
    return verify(a, ks, NULL, true, token, ret_claims, e);
}

int jwt_verify_issued(struct arena *a, const struct jwt_keys *ks, const char *accepted, struct str token, const struct val **ret_claims,
                      struct err *e)
{
    return verify(a, ks, accepted, false, token, ret_claims, e);
}

/* ---- claims ------------------------------------------------------------------------------------------- */

static bool seconds_of(const struct val *claims, const char *name, int64_t *ret)
{
    const struct val *v = val_key(claims, str_of(name));
    if (!val_is(v, VAL_INT) && !val_is(v, VAL_FLOAT))
        return false;
    double s = val_is(v, VAL_INT) ? (double)v->i : v->f;
    if (!(s > -9e9 && s < 9e9)) /* beyond what nanoseconds hold: for ever */
        s = s < 0 ? -9e9 : 9e9;
    *ret = (int64_t)(s * 1e9);
    return true;
}

int jwt_check_times(const struct val *claims, struct wall now, int64_t leeway, struct err *e)
{
    int64_t t;
    if (seconds_of(claims, "exp", &t) && now.ns - leeway >= t)
        return err_set(e, -EACCES, "token has expired");
    if (seconds_of(claims, "nbf", &t) && now.ns + leeway < t)
        return err_set(e, -EACCES, "token is not valid yet");
    if (seconds_of(claims, "iat", &t) && now.ns + leeway < t)
        return err_set(e, -EACCES, "token was issued in the future");
    return 0;
}

int jwt_check_issued(const struct val *claims, struct wall now, int64_t early, struct err *e)
{
    int64_t t;
    if (!seconds_of(claims, "exp", &t))
        return err_set(e, -EACCES, "token does not say when it expires");
    if (now.ns >= t)
        return err_set(e, -EACCES, "token has expired");
    if (seconds_of(claims, "nbf", &t) && now.ns + early < t)
        return err_set(e, -EACCES, "token is not valid yet");
    return 0;
}

bool jwt_has_audience(const struct val *claims, struct str audience)
{
    const struct val *aud = val_key(claims, STR("aud"));
    if (val_is(aud, VAL_STR))
        return str_eq(val_str(aud), audience);
    VAL_EACH (aud, it) {
        if (val_is(it, VAL_STR) && str_eq(val_str(it), audience))
            return true;
    }
    return false;
}
