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
