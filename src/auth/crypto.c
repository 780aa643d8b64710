/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/crypto.h"

#include "base/os.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

void sha256(struct str s, uint8_t ret[static 32])
{
    if (EVP_Digest(s.p ? s.p : "", s.n, ret, NULL, EVP_sha256(), NULL) != 1)
        panic("OpenSSL: SHA-256 failed");
}

char *sha256_hex(struct str s, char ret[static 65])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t h[32];
    sha256(s, h);
    for (int i = 0; i < 32; i++) {
        ret[2 * i] = digits[h[i] >> 4];
        ret[2 * i + 1] = digits[h[i] & 15];
    }
    ret[64] = '\0';
    return ret;
}

void hmac_sha256(struct str key, struct str s, uint8_t ret[static 32])
{
    unsigned n = 32;
    if (!HMAC(EVP_sha256(), key.p ? key.p : "", (int)key.n, (const uint8_t *)(s.p ? s.p : ""), s.n, ret, &n))
        panic("OpenSSL: HMAC failed");
}

bool secret_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || CRYPTO_memcmp(a.p, b.p, a.n) == 0);
}

void secret_wipe(void *p, size_t n)
{
    if (n)
        OPENSSL_cleanse(p, n);
}

static char *random_of(struct arena *a, size_t n, const char *alphabet)
{
    size_t letters = strlen(alphabet);
    char *p = arena_bytes(a, n + 1);
    for (size_t i = 0; i < n; i++)
        p[i] = alphabet[os_random_below(letters)];
    p[n] = '\0';
    return p;
}

char *random_name(struct arena *a, size_t n)
{
    return random_of(a, n, "bcdfghjklmnpqrstvwxz2456789");
}

char *random_token(struct arena *a, size_t n)
{
    return random_of(a, n, "0123456789abcdefghijklmnopqrstuvwxyz");
}

/* ---- base64 ------------------------------------------------------------------------------------------- */

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(struct buf *b, struct str s, const char *alphabet, bool pad)
{
    for (size_t i = 0; i < s.n; i += 3) {
        size_t left = MIN(s.n - i, (size_t)3);
        uint32_t v = (uint32_t)(uint8_t)s.p[i] << 16;
        if (left > 1)
            v |= (uint32_t)(uint8_t)s.p[i + 1] << 8;
        if (left > 2)
            v |= (uint8_t)s.p[i + 2];
        for (size_t j = 0; j < 4; j++) {
            if (j <= left)
                buf_putc(b, alphabet[v >> (18 - 6 * j) & 63]);
            else if (pad)
                buf_putc(b, '=');
        }
    }
}

/* Canonical only: unused bits must be zero, or two texts would mean the same token. */
static int decode(struct buf *b, struct str s, const char *alphabet, bool lines)
{
    uint32_t v = 0;
    unsigned bits = 0;
    size_t start = b->n;
    for (size_t i = 0; i < s.n; i++) {
        if (lines && (s.p[i] == '\n' || s.p[i] == '\r'))
            continue;
        const char *at = s.p[i] ? strchr(alphabet, s.p[i]) : NULL;
        if (!at) {
            b->n = start;
            return -EINVAL;
        }
        v = v << 6 | (uint32_t)(at - alphabet);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            buf_putc(b, (char)(v >> bits & 255));
        }
    }
    if (bits == 6 || (v & ((1u << bits) - 1))) {
        b->n = start;
        return -EINVAL;
    }
    return 0;
}

void base64_encode(struct buf *b, struct str s)
{
    encode(b, s, standard, true);
}

int base64_decode(struct buf *b, struct str s)
{
    size_t digits = 0, pads = 0;
    while (s.n && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r' || s.p[s.n - 1] == '=')) {
        pads += s.p[s.n - 1] == '=';
        s.n--;
    }
    for (size_t i = 0; i < s.n; i++)
        digits += s.p[i] != '\n' && s.p[i] != '\r';
    return (digits + pads) % 4 || pads > 2 ? -EINVAL : decode(b, s, standard, true);
}

void base64url_encode(struct buf *b, struct str s)
{
    encode(b, s, url_safe, false);
}

int base64url_decode(struct buf *b, struct str s)
{
    return decode(b, s, url_safe, false);
}
