/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/x509-internal.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>

int x509_fail(struct err *e, int r, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    err_set(e, r, "%s: %s", what, reason ? reason : "malformed");
    ERR_clear_error();
    return r;
}

BIO *x509_bio_of(struct str s)
{
    return BIO_new_mem_buf(s.p ? s.p : "", (int)MIN(s.n, (size_t)INT32_MAX));
}

void x509_bio_to_buf(BIO *bio, struct buf *b)
{
    char *p;
    long n = BIO_get_mem_data(bio, &p);
    if (n > 0)
        buf_put(b, p, (size_t)n);
    BIO_free(bio);
}

int pem_blocks(struct str text, int (*visit)(void *arg, struct str label, struct str der), void *arg)
{
    BIO *bio = x509_bio_of(text);
    char *label, *header;
    uint8_t *der;
    long n;
    int r = 0;
    while (r == 0 && PEM_read_bio(bio, &label, &header, &der, &n) == 1) {
        r = visit(arg, str_of(label), str_n((const char *)der, (size_t)n));
        OPENSSL_clear_free(der, (size_t)n);
        OPENSSL_free(label);
        OPENSSL_free(header);
    }
    BIO_free(bio);
    ERR_clear_error();
    return r;
}

void pem_encode(struct buf *b, const char *label, struct str der)
{
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio(bio, label, "", (const uint8_t *)der.p, (long)der.n);
    x509_bio_to_buf(bio, b);
}

struct x509_key *x509_key_wrap(EVP_PKEY *evp, bool is_private)
{
    struct x509_key *k = NEW(struct x509_key);
    k->refs = 1;
    k->evp = evp;
    k->private_ = is_private;
    return k;
}

/* What each kind is called in the API and by OpenSSL. */
static const struct {
    const char *name, *type, *group;
    size_t bits;
} kinds[] = {
    [X509_ECDSA_P256] = {"ECDSAP256", "EC", "P-256", 256}, [X509_ECDSA_P384] = {"ECDSAP384", "EC", "P-384", 384},
    [X509_ECDSA_P521] = {"ECDSAP521", "EC", "P-521", 521}, [X509_RSA_3072] = {"RSA3072", "RSA", NULL, 3072},
    [X509_RSA_4096] = {"RSA4096", "RSA", NULL, 4096},      [X509_ED25519] = {"ED25519", "ED25519", NULL, 256},
};

enum x509_key_kind x509_key_kind_named(struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (str_is(name, kinds[i].name))
            return (enum x509_key_kind)i;
    return X509_KEY_OTHER;
}

/* Curves of other families have as many bits: the group's own name tells. */
static bool in_group(const EVP_PKEY *evp, const char *group)
{
    char name[64];
    size_t n;
    return EVP_PKEY_get_group_name(evp, name, sizeof(name), &n) == 1 && OBJ_sn2nid(name) == EC_curve_nist2nid(group);
}

enum x509_key_kind x509_key_kind_of(const struct x509_key *k)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (EVP_PKEY_is_a(k->evp, kinds[i].type) &&
            (kinds[i].group ? in_group(k->evp, kinds[i].group) : !strcmp(kinds[i].type, "ED25519") || (size_t)EVP_PKEY_get_bits(k->evp) == kinds[i].bits))
            return (enum x509_key_kind)i;
    return X509_KEY_OTHER;
}

int x509_key_make(enum x509_key_kind kind, struct x509_key **ret, struct err *e)
{
    EVP_PKEY *evp = NULL;
    if ((size_t)kind >= ARRAY_SIZE(kinds))
        return err_set(e, -EINVAL, "unknown key type");
    if (kinds[kind].group)
        evp = EVP_EC_gen(kinds[kind].group);
    else if (!strcmp(kinds[kind].type, "RSA"))
        evp = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", kinds[kind].bits);
    else
        evp = EVP_PKEY_Q_keygen(NULL, NULL, kinds[kind].type);
    if (!evp)
        return x509_fail(e, -EIO, "generating a key");
    *ret = x509_key_wrap(evp, true);
    return 0;
}

int x509_key_generate(struct x509_key **ret)
{
    return x509_key_make(X509_ECDSA_P256, ret, NULL);
}

static EVP_PKEY *key_of_cert(const uint8_t **der, long n)
{
    X509 *x = d2i_X509(NULL, der, n);
    EVP_PKEY *evp = x ? X509_get_pubkey(x) : NULL;
    X509_free(x);
    return evp;
}

static EVP_PKEY *key_of_rsa_public(const uint8_t **der, long n)
{
    return d2i_PublicKey(EVP_PKEY_RSA, NULL, der, n);
}

/* PEM labels that hold keys. */
static EVP_PKEY *key_of_block(const char *label, const uint8_t *der, long n, bool *ret_private)
{
    *ret_private = true;
    if (!strcmp(label, "EC PRIVATE KEY"))
        return d2i_PrivateKey(EVP_PKEY_EC, NULL, &der, n);
    if (!strcmp(label, "RSA PRIVATE KEY"))
        return d2i_PrivateKey(EVP_PKEY_RSA, NULL, &der, n);
    if (!strcmp(label, "PRIVATE KEY"))
        return d2i_AutoPrivateKey(NULL, &der, n);
    *ret_private = false;
    if (!strcmp(label, "PUBLIC KEY"))
        return d2i_PUBKEY(NULL, &der, n);
    if (!strcmp(label, "RSA PUBLIC KEY"))
        return key_of_rsa_public(&der, n);
    if (!strcmp(label, "CERTIFICATE"))
        return key_of_cert(&der, n);
    return NULL;
}

/* Calls for each key of a PEM text; at most max keys. Negative when one is broken. */
static int read_keys(struct str pem, struct x509_key **keys, size_t max, size_t *ret_n, struct err *e)
{
    BIO *bio = x509_bio_of(pem);
    char *label, *header;
    uint8_t *der;
    long n;
    size_t found = 0;
    int r = 0;
    while (r == 0 && found < max && PEM_read_bio(bio, &label, &header, &der, &n) == 1) {
        bool is_private, wanted = strcmp(label, "EC PARAMETERS") != 0;
        EVP_PKEY *evp = key_of_block(label, der, n, &is_private);
        if (evp)
            keys[found++] = x509_key_wrap(evp, is_private);
        else if (wanted)
            r = x509_fail(e, -EINVAL, label);
        OPENSSL_clear_free(der, (size_t)n);
        OPENSSL_free(label);
        OPENSSL_free(header);
    }
    BIO_free(bio);
    ERR_clear_error();
    if (r == 0 && found == 0)
        r = err_set(e, -EINVAL, "no key in the PEM text");
    for (size_t i = 0; r < 0 && i < found; i++)
        x509_key_unref(keys[i]);
    if (r == 0)
        *ret_n = found;
    return r;
}

int x509_key_parse(struct str pem, struct x509_key **ret, struct err *e)
{
    struct x509_key *k;
    size_t n;
    int r = read_keys(pem, &k, 1, &n, e);
    if (r == 0)
        *ret = k;
    return r;
}

int x509_keys_parse(struct str pem, struct x509_key ***ret, size_t *ret_n, struct err *e)
{
    enum { MAX_KEYS = 64 };
    struct x509_key *keys[MAX_KEYS];
    size_t n;
    int r = read_keys(pem, keys, MAX_KEYS, &n, e);
    if (r < 0)
        return r;
    *ret = xcalloc(n, sizeof(*keys));
    memcpy(*ret, keys, n * sizeof(*keys));
    *ret_n = n;
    return 0;
}

bool x509_key_is_private(const struct x509_key *k)
{
    return k->private_;
}

bool x509_key_equal(const struct x509_key *a, const struct x509_key *b)
{
    bool same = EVP_PKEY_eq(a->evp, b->evp) == 1;
    ERR_clear_error();
    return same;
}

void x509_key_pem(const struct x509_key *k, struct buf *b)
{
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey_traditional(bio, k->evp, NULL, NULL, 0, NULL, NULL);
    x509_bio_to_buf(bio, b);
}

void x509_key_pkcs8_pem(const struct x509_key *k, struct buf *b)
{
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PKCS8PrivateKey(bio, k->evp, NULL, NULL, 0, NULL, NULL);
    x509_bio_to_buf(bio, b);
}

void x509_key_public_pem(const struct x509_key *k, struct buf *b)
{
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(bio, k->evp);
    x509_bio_to_buf(bio, b);
}

void x509_key_public_der(const struct x509_key *k, struct buf *b)
{
    uint8_t *der = NULL;
    int n = i2d_PUBKEY(k->evp, &der);
    if (n > 0)
        buf_put(b, der, (size_t)n);
    OPENSSL_free(der);
}

void *x509_key_evp(const struct x509_key *k)
{
    return k->evp;
}

struct x509_key *x509_key_ref(struct x509_key *k)
{
    k->refs++;
    return k;
}

struct x509_key *x509_key_unref(struct x509_key *k)
{
    if (k && --k->refs == 0) {
        EVP_PKEY_free(k->evp);
        free(k);
    }
    return NULL;
}
