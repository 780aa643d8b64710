/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/seal.h"

#include "auth/crypto.h"
#include "base/os.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <sodium/crypto_secretbox.h>

/* ---- AES-GCM ------------------------------------------------------------------------------------------ */

enum { GCM_NONCE = 12, TAG = 16, CBC_IV = 16, BOX_NONCE = 24, BOX_KEY = 32 };

static const EVP_CIPHER *gcm_of(size_t n)
{
    return n == 16 ? EVP_aes_128_gcm() : n == 24 ? EVP_aes_192_gcm() : n == 32 ? EVP_aes_256_gcm() : NULL;
}

static const EVP_CIPHER *cbc_of(size_t n)
{
    return n == 16 ? EVP_aes_128_cbc() : n == 24 ? EVP_aes_192_cbc() : n == 32 ? EVP_aes_256_cbc() : NULL;
}

static const uint8_t *bytes(struct str s)
{
    return (const uint8_t *)(s.p ? s.p : "");
}

static int gcm_encrypt(struct str key, struct str aad, struct str plain, struct buf *b)
{
    uint8_t *p = (uint8_t *)buf_grow(b, GCM_NONCE + plain.n + TAG);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n, m = 0;
    os_random(p, GCM_NONCE);
    bool ok = EVP_EncryptInit_ex(ctx, gcm_of(key.n), NULL, bytes(key), p) == 1 &&
              EVP_EncryptUpdate(ctx, NULL, &n, bytes(aad), (int)aad.n) == 1 &&
              EVP_EncryptUpdate(ctx, p + GCM_NONCE, &m, bytes(plain), (int)plain.n) == 1 &&
              EVP_EncryptFinal_ex(ctx, p + GCM_NONCE + m, &n) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG, p + GCM_NONCE + plain.n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (ok)
        b->n += GCM_NONCE + plain.n + TAG;
    return ok ? 0 : -EIO;
}

static int gcm_decrypt(struct str key, struct str aad, struct str sealed, struct buf *b)
{
    if (sealed.n < GCM_NONCE + TAG)
        return -EBADMSG;
    size_t len = sealed.n - GCM_NONCE - TAG;
    uint8_t *p = (uint8_t *)buf_grow(b, len + TAG), tag[TAG];
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n, m = 0;
    memcpy(tag, sealed.p + GCM_NONCE + len, TAG);
    bool ok = EVP_DecryptInit_ex(ctx, gcm_of(key.n), NULL, bytes(key), bytes(sealed)) == 1 &&
              EVP_DecryptUpdate(ctx, NULL, &n, bytes(aad), (int)aad.n) == 1 &&
              EVP_DecryptUpdate(ctx, p, &m, bytes(sealed) + GCM_NONCE, (int)len) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG, tag) == 1 &&
              EVP_DecryptFinal_ex(ctx, p + m, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (ok)
        b->n += len;
    return ok ? 0 : -EBADMSG;
}

/* ---- data keys out of a seed --------------------------------------------------------------------------- */

/* The first 32 bytes of HKDF-Expand are one round of it. */
static void derive(struct str seed, struct str info, uint8_t ret[static SEAL_SEED])
{
    char round[SEAL_SEED + 1];
    memcpy(round, info.p, SEAL_SEED);
    round[SEAL_SEED] = 1;
    hmac_sha256(seed, str_n(round, sizeof(round)), ret);
}

int seal_seed_encrypt(struct str seed, struct str path, struct str plain, struct buf *b)
{
    uint8_t key[SEAL_SEED];
    size_t start = b->n;
    os_random(buf_grow(b, SEAL_SEED), SEAL_SEED);
    b->n += SEAL_SEED;
    derive(seed, str_n(b->p + start, SEAL_SEED), key);
    int r = gcm_encrypt(str_n((const char *)key, sizeof(key)), path, plain, b);
    secret_wipe(key, sizeof(key));
    ERR_clear_error();
    return r;
}

int seal_seed_decrypt(struct str seed, struct str path, struct str sealed, struct buf *b)
{
    uint8_t key[SEAL_SEED];
    if (sealed.n < SEAL_SEED)
        return -EBADMSG;
    derive(seed, sealed, key);
    int r = gcm_decrypt(str_n((const char *)key, sizeof(key)), path, str_from(sealed, SEAL_SEED), b);
    secret_wipe(key, sizeof(key));
    ERR_clear_error();
    return r;
}

int seal_gcm_decrypt(struct str key, struct str path, struct str sealed, struct buf *b)
{
    int r = gcm_of(key.n) ? gcm_decrypt(key, path, sealed, b) : -EBADMSG;
    ERR_clear_error();
    return r;
}

/* ---- AES-CBC ------------------------------------------------------------------------------------------ */

static int cbc_encrypt(struct str key, struct str plain, struct buf *b)
{
    uint8_t *p = (uint8_t *)buf_grow(b, CBC_IV + plain.n + 16);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0, m = 0;
    os_random(p, CBC_IV);
    bool ok = EVP_EncryptInit_ex(ctx, cbc_of(key.n), NULL, bytes(key), p) == 1 &&
              EVP_EncryptUpdate(ctx, p + CBC_IV, &m, bytes(plain), (int)plain.n) == 1 &&
              EVP_EncryptFinal_ex(ctx, p + CBC_IV + m, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (ok)
        b->n += (size_t)(CBC_IV + m + n);
    return ok ? 0 : -EIO;
}

static int cbc_decrypt(struct str key, struct str sealed, struct buf *b)
{
    if (sealed.n < 2 * CBC_IV || sealed.n % 16)
        return -EBADMSG;
    uint8_t *p = (uint8_t *)buf_grow(b, sealed.n);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0, m = 0;
    bool ok = EVP_DecryptInit_ex(ctx, cbc_of(key.n), NULL, bytes(key), bytes(sealed)) == 1 &&
              EVP_DecryptUpdate(ctx, p, &m, bytes(sealed) + CBC_IV, (int)(sealed.n - CBC_IV)) == 1 &&
              EVP_DecryptFinal_ex(ctx, p + m, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (ok)
        b->n += (size_t)(m + n);
    return ok ? 0 : -EBADMSG;
}

/* ---- XSalsa20-Poly1305, which OpenSSL has not ---------------------------------------------------------- */

static int box_encrypt(struct str key, struct str plain, struct buf *b)
{
    uint8_t *p = (uint8_t *)buf_grow(b, BOX_NONCE + TAG + plain.n);
    os_random(p, BOX_NONCE);
    if (crypto_secretbox_easy(p + BOX_NONCE, bytes(plain), plain.n, p, bytes(key)))
        return -EIO;
    b->n += BOX_NONCE + TAG + plain.n;
    return 0;
}

static int box_decrypt(struct str key, struct str sealed, struct buf *b)
{
    if (sealed.n < BOX_NONCE + TAG)
        return -EBADMSG;
    struct str box = str_from(sealed, BOX_NONCE);
    uint8_t *p = (uint8_t *)buf_grow(b, box.n);
    if (crypto_secretbox_open_easy(p, bytes(box), box.n, bytes(sealed), bytes(key)))
        return -EBADMSG;
    b->n += box.n - TAG;
    return 0;
}

/* ---- providers ---------------------------------------------------------------------------------------- */

static const char *const kind_names[] = {[SEAL_IDENTITY] = "identity",
                                         [SEAL_AESGCM] = "aesgcm",
                                         [SEAL_AESCBC] = "aescbc",
                                         [SEAL_SECRETBOX] = "secretbox",
                                         [SEAL_KMS] = "kms"};
static const struct str any_prefix = {"k8s:enc:", 8};

bool seal_is_sealed(struct str value)
{
    return str_starts(value, any_prefix);
}

int seal_check(const struct seal_key *k, struct err *e)
{
    size_t n = k->secret.n;
    if (k->kind == SEAL_IDENTITY)
        return 0;
    if (k->kind != SEAL_KMS && (k->kind == SEAL_SECRETBOX ? n != BOX_KEY : n != 16 && n != 24 && n != 32))
        return err_set(e, -EINVAL, "%s key \"%s\": %zu bytes; %s", kind_names[k->kind], k->name, n,
                       k->kind == SEAL_SECRETBOX ? "it must be 32" : "it must be 16, 24 or 32");
    if (!k->name || !k->name[0] || strchr(k->name, ':'))
        return err_set(e, -EINVAL, "%s key: a name without colons is needed", kind_names[k->kind]);
    return 0;
}

static struct str prefix_of(struct arena *a, const struct seal_key *k)
{
    return arena_printf(a, "k8s:enc:%s:%s:%s:", kind_names[k->kind], k->kind == SEAL_KMS ? "v2" : "v1", k->name);
}

static int encrypt_with(const struct seal_key *k, struct str path, struct str plain, struct buf *b, struct err *e)
{
    switch (k->kind) {
    case SEAL_IDENTITY:
        buf_putstr(b, plain);
        return 0;
    case SEAL_AESGCM:
        return gcm_encrypt(k->secret, path, plain, b);
    case SEAL_AESCBC:
        return cbc_encrypt(k->secret, plain, b);
    case SEAL_SECRETBOX:
        return box_encrypt(k->secret, plain, b);
    case SEAL_KMS:
        return k->service->encrypt(k->service->ctx, path, plain, b, e);
    }
    return -EINVAL;
}

static int decrypt_with(const struct seal_key *k, struct str path, struct str sealed, struct buf *b, bool *ret_stale, struct err *e)
{
    *ret_stale = false;
    switch (k->kind) {
    case SEAL_IDENTITY:
        buf_putstr(b, sealed);
        return 0;
    case SEAL_AESGCM:
        return gcm_decrypt(k->secret, path, sealed, b);
    case SEAL_AESCBC:
        return cbc_decrypt(k->secret, sealed, b);
    case SEAL_SECRETBOX:
        return box_decrypt(k->secret, sealed, b);
    case SEAL_KMS:
        return k->service->decrypt(k->service->ctx, path, sealed, b, ret_stale, e);
    }
    return -EINVAL;
}

int seal_encrypt(const struct seal *s, struct str path, struct str plain, struct buf *b, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    size_t start = b->n;
    if (s->n == 0) {
        buf_putstr(b, plain);
        return 0;
    }
    if (plain.n > INT32_MAX / 2)
        return err_set(e, -EFBIG, "too large to encrypt");
    if (s->keys[0].kind != SEAL_IDENTITY)
        buf_putstr(b, prefix_of(&a, &s->keys[0]));
    int r = encrypt_with(&s->keys[0], path, plain, b, e);
    ERR_clear_error();
    if (r == 0)
        return 0;
    b->n = start;
    if (s->keys[0].kind == SEAL_KMS)
        return err_wrap(e, r, "key service \"%s\"", s->keys[0].name);
    return err_set(e, r, "encrypting with key \"%s\" failed", s->keys[0].name);
}

static bool opens(struct arena *a, const struct seal_key *k, struct str sealed, struct str *ret_rest)
{
    if (k->kind == SEAL_IDENTITY) {
        *ret_rest = sealed;
        return !str_starts(sealed, any_prefix);
    }
    struct str prefix = prefix_of(a, k);
    *ret_rest = str_from(sealed, prefix.n);
    return str_starts(sealed, prefix);
}

int seal_decrypt(const struct seal *s, struct str path, struct str sealed, struct buf *b, bool *ret_stale,
                 struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str rest;
    if (sealed.n > INT32_MAX / 2)
        return err_set(e, -EBADMSG, "too large to decrypt");
    for (size_t i = 0; i < s->n; i++) {
        bool stale;
        int r = opens(&a, &s->keys[i], sealed, &rest) ? decrypt_with(&s->keys[i], path, rest, b, &stale, e) : -EBADMSG;
        if (r < 0 && r != -EAGAIN)
            continue;
        ERR_clear_error();
        if (ret_stale && r == 0)
            *ret_stale = stale || i != 0;
        return r;
    }
    ERR_clear_error();
    if (s->n || str_starts(sealed, any_prefix))
        return err_set(e, -EBADMSG, "no configured key decrypts " STR_FMT, STR_ARG(path));
    buf_putstr(b, sealed);
    if (ret_stale)
        *ret_stale = false;
    return 0;
}
