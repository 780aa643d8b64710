/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/x509-internal.h"

#include "auth/crypto.h"
#include "base/os.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <time.h>

/* ---- reading ------------------------------------------------------------------------------------------ */

static struct x509_cert *cert_wrap(X509 *x)
{
    struct x509_cert *c = NEW(struct x509_cert);
    c->refs = 1;
    c->x = x;
    X509_check_purpose(x, -1, 0); /* reads the extensions now, so that the handle is immutable after */
    ERR_clear_error();
    return c;
}

static X509 *cert_read(struct str s)
{
    if (s.n && (uint8_t)s.p[0] == 0x30) {
        const uint8_t *p = (const uint8_t *)s.p;
        X509 *x = d2i_X509(NULL, &p, (long)s.n);
        if (x)
            return x;
    }
    BIO *bio = x509_bio_of(s);
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    return x;
}

int x509_cert_parse(struct str pem_or_der, struct x509_cert **ret, struct err *e)
{
    X509 *x = cert_read(pem_or_der);
    if (!x)
        return x509_fail(e, -EINVAL, "certificate");
    *ret = cert_wrap(x);
    return 0;
}

void x509_cert_names(const struct x509_cert *c, struct arena *a, struct x509_names *ret)
{
    STACK_OF(GENERAL_NAME) *sans = X509_get_ext_d2i(c->x, NID_subject_alt_name, NULL, NULL);
    x509_read_names(a, X509_get_subject_name(c->x), sans, ret);
    sk_GENERAL_NAME_pop_free(sans, GENERAL_NAME_free);
    ERR_clear_error();
}

struct wall x509_cert_not_before(const struct x509_cert *c)
{
    return x509_wall(X509_get0_notBefore(c->x));
}

struct wall x509_cert_not_after(const struct x509_cert *c)
{
    return x509_wall(X509_get0_notAfter(c->x));
}

bool x509_cert_is_ca(const struct x509_cert *c)
{
    return X509_check_ca(c->x) == 1;
}

unsigned x509_cert_usages(const struct x509_cert *c)
{
    static const struct {
        uint32_t openssl;
        unsigned ours;
    } key[] = {{KU_DIGITAL_SIGNATURE, X509_DIGITAL_SIGNATURE},
               {KU_NON_REPUDIATION, X509_CONTENT_COMMITMENT},
               {KU_KEY_ENCIPHERMENT, X509_KEY_ENCIPHERMENT},
               {KU_DATA_ENCIPHERMENT, X509_DATA_ENCIPHERMENT},
               {KU_KEY_AGREEMENT, X509_KEY_AGREEMENT},
               {KU_KEY_CERT_SIGN, X509_CERT_SIGN},
               {KU_CRL_SIGN, X509_CRL_SIGN}},
      extended[] = {{XKU_SSL_SERVER, X509_SERVER_AUTH}, {XKU_SSL_CLIENT, X509_CLIENT_AUTH},
                    {XKU_CODE_SIGN, X509_CODE_SIGNING}, {XKU_SMIME, X509_EMAIL_PROTECTION},
                    {XKU_OCSP_SIGN, X509_OCSP_SIGNING}, {XKU_ANYEKU, X509_ANY_USAGE}};
    uint32_t flags = X509_get_extension_flags(c->x);
    unsigned out = 0;
    for (size_t i = 0; (flags & EXFLAG_KUSAGE) && i < ARRAY_SIZE(key); i++)
        out |= X509_get_key_usage(c->x) & key[i].openssl ? key[i].ours : 0;
    for (size_t i = 0; (flags & EXFLAG_XKUSAGE) && i < ARRAY_SIZE(extended); i++)
        out |= X509_get_extended_key_usage(c->x) & extended[i].openssl ? extended[i].ours : 0;
    return out;
}

char *x509_cert_fingerprint(const struct x509_cert *c, char ret[static 65])
{
    struct buf der CLEANUP_BUF = BUF_INIT;
    x509_cert_der(c, &der);
    return sha256_hex(buf_str(&der), ret);
}

char *x509_cert_key_hash(const struct x509_cert *c, struct arena *a)
{
    char hex[65];
    uint8_t *der = NULL;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(c->x), &der);
    sha256_hex(str_n((char *)der, n > 0 ? (size_t)n : 0), hex);
    OPENSSL_free(der);
    return (char *)(uintptr_t)arena_printf(a, "sha256:%s", hex).p;
}

struct x509_key *x509_cert_key(const struct x509_cert *c)
{
    EVP_PKEY *evp = X509_get_pubkey(c->x);
    ERR_clear_error();
    return evp ? x509_key_wrap(evp, false) : NULL;
}

bool x509_cert_has_san(const struct x509_cert *c, const char *name)
{
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(name);
    ASN1_OCTET_STRING_free(ip);
    bool has = ip ? X509_check_ip_asc(c->x, name, 0) == 1
                  : X509_check_host(c->x, name, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1;
    ERR_clear_error();
    return has;
}

bool x509_cert_signed_by(const struct x509_cert *c, const struct x509_cert *ca)
{
    EVP_PKEY *key = X509_get0_pubkey(ca->x);
    bool is = key && X509_NAME_cmp(X509_get_issuer_name(c->x), X509_get_subject_name(ca->x)) == 0 &&
              X509_verify(c->x, key) == 1;
    ERR_clear_error();
    return is;
}

void x509_cert_pem(const struct x509_cert *c, struct buf *b)
{
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, c->x);
    x509_bio_to_buf(bio, b);
}

void x509_cert_der(const struct x509_cert *c, struct buf *b)
{
    uint8_t *der = NULL;
    int n = i2d_X509(c->x, &der);
    if (n > 0)
        buf_put(b, der, (size_t)n);
    OPENSSL_free(der);
}

struct x509_cert *x509_cert_ref(struct x509_cert *c)
{
    c->refs++;
    return c;
}

struct x509_cert *x509_cert_unref(struct x509_cert *c)
{
    if (c && --c->refs == 0) {
        X509_free(c->x);
        free(c);
    }
    return NULL;
}

/* ---- issuing ------------------------------------------------------------------------------------------ */

static bool set_times(X509 *x, const struct x509_spec *spec, const struct x509_cert *ca)
{
    struct wall end = spec->not_after;
    if (ca && x509_cert_not_after(ca).ns < end.ns)
        end = x509_cert_not_after(ca);
    return ASN1_TIME_set(X509_getm_notBefore(x), (time_t)(spec->not_before.ns / NSEC_PER_SEC)) &&
           ASN1_TIME_set(X509_getm_notAfter(x), (time_t)(end.ns / NSEC_PER_SEC));
}

/* 63 random bits: positive, and never 0. */
static bool set_serial(X509 *x)
{
    return ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), (os_random_u64() >> 1) | 1) == 1;
}

static bool add_extensions(X509 *x, const struct x509_spec *spec, struct err *e)
{
    STACK_OF(X509_EXTENSION) *list = x509_extensions(spec, e);
    bool ok = list != NULL;
    for (int i = 0; ok && i < sk_X509_EXTENSION_num(list); i++)
        ok = X509_add_ext(x, sk_X509_EXTENSION_value(list, i), -1) == 1;
    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    return ok;
}

/* Key identifiers, so that chains are found when a CA was renewed under its old name. */
static bool add_key_ids(X509 *x, const struct x509_spec *spec, const struct x509_cert *ca)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, ca ? ca->x : x, x, NULL, NULL, 0);
    X509_EXTENSION *subject =
        spec->is_ca ? X509V3_EXT_nconf_nid(NULL, &ctx, NID_subject_key_identifier, "hash") : NULL;
    bool ok = !spec->is_ca || (subject && X509_add_ext(x, subject, -1) == 1);
    X509_EXTENSION_free(subject);
    if (!ca || X509_get0_subject_key_id(ca->x) == NULL)
        return ok;
    X509_EXTENSION *authority = X509V3_EXT_nconf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid");
    ok = ok && authority && X509_add_ext(x, authority, -1) == 1;
    X509_EXTENSION_free(authority);
    return ok;
}

int x509_issue(const struct x509_spec *spec, const struct x509_key *key, const struct x509_cert *ca,
               const struct x509_key *ca_key, struct x509_cert **ret, struct err *e)
{
    X509 *x = X509_new();
    const struct x509_key *signer = ca ? ca_key : key;
    if (!x)
        panic("OpenSSL: no memory");
    if (!signer || !signer->private_) {
        X509_free(x);
        return err_set(e, -EINVAL, "issuing a certificate: no private key to sign with");
    }
    bool ok =
        X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) && set_times(x, spec, ca) &&
        X509_set_pubkey(x, key->evp) == 1 && x509_set_subject(X509_get_subject_name(x), &spec->names) == 0 &&
        X509_set_issuer_name(x, X509_get_subject_name(ca ? ca->x : x)) == 1 && add_extensions(x, spec, e) &&
        add_key_ids(x, spec, ca) && X509_sign(x, signer->evp, EVP_sha256()) > 0;
    if (!ok) {
        X509_free(x);
        return x509_fail(e, -EINVAL, "issuing a certificate");
    }
    *ret = cert_wrap(x);
    return 0;
}

/* ---- requests ----------------------------------------------------------------------------------------- */

static bool csr_fill(X509_REQ *req, const struct x509_names *names, const struct x509_key *key)
{
    STACK_OF(GENERAL_NAME) *sans = x509_general_names(names);
    bool ok = sans && X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 &&
              x509_set_subject(X509_REQ_get_subject_name(req), names) == 0 &&
              X509_REQ_set_pubkey(req, key->evp) == 1;
    if (ok && sk_GENERAL_NAME_num(sans) > 0) {
        STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
        X509_EXTENSION *x = X509V3_EXT_i2d(NID_subject_alt_name, 0, sans);
        ok = x && sk_X509_EXTENSION_push(list, x) > 0 && X509_REQ_add_extensions(req, list) == 1;
        sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    }
    sk_GENERAL_NAME_pop_free(sans, GENERAL_NAME_free);
    /* Ed25519 signs the text itself (RFC 8410). */
    return ok && X509_REQ_sign(req, key->evp, EVP_PKEY_is_a(key->evp, "ED25519") ? NULL : EVP_sha256()) > 0;
}

static int csr_make(const struct x509_names *names, const struct x509_key *key, bool der, struct buf *b, struct err *e)
{
    X509_REQ *req = X509_REQ_new();
    if (!csr_fill(req, names, key)) {
        X509_REQ_free(req);
        return x509_fail(e, -EINVAL, "certificate request");
    }
    BIO *bio = BIO_new(BIO_s_mem());
    if (der)
        i2d_X509_REQ_bio(bio, req);
    else
        PEM_write_bio_X509_REQ(bio, req);
    x509_bio_to_buf(bio, b);
    X509_REQ_free(req);
    return 0;
}

int x509_csr_make(const struct x509_names *names, const struct x509_key *key, struct buf *b, struct err *e)
{
    return csr_make(names, key, false, b, e);
}

int x509_csr_make_der(const struct x509_names *names, const struct x509_key *key, struct buf *b, struct err *e)
{
    return csr_make(names, key, true, b, e);
}

static void csr_names(struct arena *a, X509_REQ *req, struct x509_names *ret)
{
    STACK_OF(X509_EXTENSION) *list = X509_REQ_get_extensions(req);
    STACK_OF(GENERAL_NAME) *sans = list ? X509V3_get_d2i(list, NID_subject_alt_name, NULL, NULL) : NULL;
    x509_read_names(a, X509_REQ_get_subject_name(req), sans, ret);
    sk_GENERAL_NAME_pop_free(sans, GENERAL_NAME_free);
    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
}

/* Takes req. */
static int csr_read(struct arena *a, X509_REQ *req, struct x509_csr *ret, struct err *e)
{
    EVP_PKEY *evp = req ? X509_REQ_get_pubkey(req) : NULL;
    int r = !evp ? -EINVAL : X509_REQ_verify(req, evp) != 1 ? -EACCES : 0;
    if (r < 0) {
        EVP_PKEY_free(evp);
        X509_REQ_free(req);
        return x509_fail(e, r, "certificate request");
    }
    csr_names(a, req, &ret->names);
    ret->key = x509_key_wrap(evp, false);
    X509_REQ_free(req);
    ERR_clear_error();
    return 0;
}

int x509_csr_parse(struct arena *a, struct str pem, struct x509_csr *ret, struct err *e)
{
    BIO *bio = x509_bio_of(pem);
    X509_REQ *req = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
    BIO_free(bio);
    return csr_read(a, req, ret, e) < 0 ? -EINVAL : 0;
}

int x509_csr_parse_der(struct arena *a, struct str der, struct x509_csr *ret, struct err *e)
{
    const uint8_t *p = (const uint8_t *)der.p;
    X509_REQ *req = der.n ? d2i_X509_REQ(NULL, &p, (long)MIN(der.n, (size_t)INT32_MAX)) : NULL;
    if (req && (size_t)(p - (const uint8_t *)der.p) != der.n) { /* Go takes nothing after it either */
        X509_REQ_free(req);
        req = NULL;
    }
    return csr_read(a, req, ret, e);
}

void x509_csr_done(struct x509_csr *c)
{
    c->key = x509_key_unref(c->key);
}

/* ---- pools -------------------------------------------------------------------------------------------- */

struct x509_pool {
    atomic_uint refs;
    X509_STORE *store;
};

int x509_pool_parse(struct str pem, struct x509_pool **ret, struct err *e)
{
    X509_STORE *store = X509_STORE_new();
    BIO *bio = x509_bio_of(pem);
    size_t n = 0;
    for (X509 *x; (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)); X509_free(x))
        n += X509_STORE_add_cert(store, x) == 1;
    BIO_free(bio);
    ERR_clear_error();
    if (n == 0) {
        X509_STORE_free(store);
        return err_set(e, -EINVAL, "no certificate in the CA bundle");
    }
    struct x509_pool *p = NEW(struct x509_pool);
    p->refs = 1;
    p->store = store;
    *ret = p;
    return 0;
}

static STACK_OF(X509) * read_chain(const struct str *chain, size_t n)
{
    STACK_OF(X509) *list = sk_X509_new_null();
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = (const uint8_t *)chain[i].p;
        X509 *x = d2i_X509(NULL, &p, (long)chain[i].n);
        if (x && sk_X509_push(list, x) > 0)
            continue;
        sk_X509_pop_free(list, X509_free);
        return NULL;
    }
    return list;
}

static int purpose_of(enum x509_usage usage)
{
    return usage == X509_CLIENT_AUTH   ? X509_PURPOSE_SSL_CLIENT
           : usage == X509_SERVER_AUTH ? X509_PURPOSE_SSL_SERVER
                                       : X509_PURPOSE_ANY;
}

int x509_pool_verify(const struct x509_pool *p, const struct str *chain, size_t n, enum x509_usage usage,
                     struct wall now, struct err *e)
{
    STACK_OF(X509) *list = n ? read_chain(chain, n) : NULL;
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    if (!list || X509_STORE_CTX_init(ctx, p->store, sk_X509_value(list, 0), list) != 1) {
        X509_STORE_CTX_free(ctx);
        sk_X509_pop_free(list, X509_free);
        return x509_fail(e, -EACCES, "certificate chain");
    }
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_purpose(param, purpose_of(usage));
    X509_VERIFY_PARAM_set_time(param, (time_t)(now.ns / NSEC_PER_SEC));
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
    int ok = X509_verify_cert(ctx);
    int error = X509_STORE_CTX_get_error(ctx);
    X509_STORE_CTX_free(ctx);
    sk_X509_pop_free(list, X509_free);
    ERR_clear_error();
    return ok == 1 ? 0 : err_set(e, -EACCES, "%s", X509_verify_cert_error_string(error));
}

struct overlap {
    struct str other, der; /* der .p NULL: none to look for yet */
};

static int same_block(void *arg, struct str label, struct str der)
{
    const struct overlap *o = arg;
    return str_is(label, "CERTIFICATE") && str_eq(o->der, der);
}

static int look_for_block(void *arg, struct str label, struct str der)
{
    struct overlap *o = arg;
    o->der = der;
    return str_is(label, "CERTIFICATE") && pem_blocks(o->other, same_block, o);
}

bool x509_bundles_overlap(struct str pem, struct str other)
{
    struct overlap o = {.other = other};
    return pem_blocks(pem, look_for_block, &o) != 0;
}

struct x509_pool *x509_pool_ref(struct x509_pool *p)
{
    p->refs++;
    return p;
}

struct x509_pool *x509_pool_unref(struct x509_pool *p)
{
    if (p && --p->refs == 0) {
        X509_STORE_free(p->store);
        free(p);
    }
    return NULL;
}
