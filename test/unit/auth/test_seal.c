/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/seal.h"

#include "../testing.h"

static const char secret[] = "0123456789abcdef0123456789abcdef";

static struct seal_key key(enum seal_kind kind, const char *name, size_t n)
{
    return (struct seal_key){kind, name, str_n(secret, n)};
}

static void round_trip(void **state)
{
    static const enum seal_kind kinds[] = {SEAL_IDENTITY, SEAL_AESGCM, SEAL_AESCBC, SEAL_SECRETBOX};
    static const char *const prefixes[] = {
        "", "k8s:enc:aesgcm:v1:k1:", "k8s:enc:aescbc:v1:k1:", "k8s:enc:secretbox:v1:k1:"};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct seal_key k = key(kinds[i], "k1", 32);
        struct seal s = {&k, 1};
        struct err e;
        assert_int_equal(seal_check(&k, &e), 0);
        for (size_t n = 0; n < 300; n += 13) {
            char plain[300];
            struct buf sealed CLEANUP_BUF = BUF_INIT, open CLEANUP_BUF = BUF_INIT;
            bool stale = true;
            memset(plain, 'x', sizeof(plain));
            assert_int_equal(seal_encrypt(&s, STR("/registry/secrets/a"), str_n(plain, n), &sealed, &e), 0);
            assert_true(str_starts(buf_str(&sealed), str_of(prefixes[i])));
            assert_int_equal(
                seal_decrypt(&s, STR("/registry/secrets/a"), buf_str(&sealed), &open, &stale, &e), 0);
            assert_true(str_eq(buf_str(&open), str_n(plain, n)));
            assert_false(stale);
        }
    }
}

static void tampering(void **state)
{
    static const enum seal_kind kinds[] = {SEAL_AESGCM, SEAL_SECRETBOX};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct seal_key k = key(kinds[i], "k1", 32);
        struct seal s = {&k, 1};
        struct err e;
        struct buf sealed CLEANUP_BUF = BUF_INIT, open CLEANUP_BUF = BUF_INIT;
        assert_int_equal(seal_encrypt(&s, STR("/a"), STR("hello world"), &sealed, &e), 0);
        for (size_t at = 0; at < sealed.n; at++) {
            sealed.p[at] ^= 4;
            assert_int_equal(seal_decrypt(&s, STR("/a"), buf_str(&sealed), &open, NULL, &e), -EBADMSG);
            sealed.p[at] ^= 4;
        }
        for (size_t n = 8; n < sealed.n; n++)
            assert_int_equal(seal_decrypt(&s, STR("/a"), str_n(sealed.p, n), &open, NULL, &e), -EBADMSG);
        if (kinds[i] == SEAL_AESGCM) /* a value moved to another key of the store */
            assert_int_equal(seal_decrypt(&s, STR("/b"), buf_str(&sealed), &open, NULL, &e), -EBADMSG);
        assert_int_equal(open.n, 0);
    }
}

static void rotation(void **state)
{
    struct seal_key keys[] = {key(SEAL_SECRETBOX, "new", 32), key(SEAL_AESGCM, "old", 16),
                              key(SEAL_IDENTITY, "", 0)};
    struct seal old = {&keys[1], 1}, all = {keys, 3}, only_new = {keys, 1};
    struct err e;
    bool stale;
    struct buf sealed CLEANUP_BUF = BUF_INIT, open CLEANUP_BUF = BUF_INIT;
    assert_int_equal(seal_encrypt(&old, STR("/a"), STR("x"), &sealed, &e), 0);
    assert_int_equal(seal_decrypt(&all, STR("/a"), buf_str(&sealed), &open, &stale, &e), 0);
    assert_true(stale);
    assert_int_equal(seal_decrypt(&only_new, STR("/a"), buf_str(&sealed), &open, &stale, &e), -EBADMSG);
    assert_int_equal(seal_decrypt(&all, STR("/a"), STR("k8s\0plain"), &open, &stale, &e), 0);
    assert_true(stale);
    assert_int_equal(seal_decrypt(&only_new, STR("/a"), STR("k8s\0plain"), &open, &stale, &e), -EBADMSG);
}

/* NaCl's own vector for crypto_secretbox (tests/secretbox in its distribution). */
static void secretbox_vector(void **state)
{
    static const uint8_t k[32] = {0x1b, 0x27, 0x55, 0x64, 0x73, 0xe9, 0x85, 0xd4, 0x62, 0xcd, 0x51,
                                  0x19, 0x7a, 0x9a, 0x46, 0xc7, 0x60, 0x09, 0x54, 0x9e, 0xac, 0x64,
                                  0x74, 0xf2, 0x06, 0xc4, 0xee, 0x08, 0x44, 0xf6, 0x83, 0x89};
    static const uint8_t box[] = {/* nonce */ 0x69,
                                  0x69,
                                  0x6e,
                                  0xe9,
                                  0x55,
                                  0xb6,
                                  0x2b,
                                  0x73,
                                  0xcd,
                                  0x62,
                                  0xbd,
                                  0xa8,
                                  0x75,
                                  0xfc,
                                  0x73,
                                  0xd6,
                                  0x82,
                                  0x19,
                                  0xe0,
                                  0x03,
                                  0x6b,
                                  0x7a,
                                  0x0b,
                                  0x37,
                                  /* tag */ 0xf3,
                                  0xff,
                                  0xc7,
                                  0x70,
                                  0x3f,
                                  0x94,
                                  0x00,
                                  0xe5,
                                  0x2a,
                                  0x7d,
                                  0xfb,
                                  0x4b,
                                  0x3d,
                                  0x33,
                                  0x05,
                                  0xd9,
                                  /* text */ 0x8e,
                                  0x99,
                                  0x3b,
                                  0x9f,
                                  0x48,
                                  0x68,
                                  0x12,
                                  0x73,
                                  0xc2,
                                  0x96,
                                  0x50,
                                  0xba,
                                  0x32,
                                  0xfc,
                                  0x76,
                                  0xce,
                                  0x48,
                                  0x33,
                                  0x2e,
                                  0xa7,
                                  0x16,
                                  0x4d,
                                  0x96,
                                  0xa4,
                                  0x47,
                                  0x6f,
                                  0xb8,
                                  0xc5,
                                  0x31,
                                  0xa1,
                                  0x18,
                                  0x6a,
                                  0xc0,
                                  0xdf,
                                  0xc1,
                                  0x7c,
                                  0x98,
                                  0xdc,
                                  0xe8,
                                  0x7b,
                                  0x4d,
                                  0xa7,
                                  0xf0,
                                  0x11,
                                  0xec,
                                  0x48,
                                  0xc9,
                                  0x72,
                                  0x71,
                                  0xd2,
                                  0xc2,
                                  0x0f,
                                  0x9b,
                                  0x92,
                                  0x8f,
                                  0xe2,
                                  0x27,
                                  0x0d,
                                  0x6f,
                                  0xb8,
                                  0x63,
                                  0xd5,
                                  0x17,
                                  0x38,
                                  0xb4,
                                  0x8e,
                                  0xee,
                                  0xe3,
                                  0x14,
                                  0xa7,
                                  0xcc,
                                  0x8a,
                                  0xb9,
                                  0x32,
                                  0x16,
                                  0x45,
                                  0x48,
                                  0xe5,
                                  0x26,
                                  0xae,
                                  0x90,
                                  0x22,
                                  0x43,
                                  0x68,
                                  0x51,
                                  0x7a,
                                  0xcf,
                                  0xea,
                                  0xbd,
                                  0x6b,
                                  0xb3,
                                  0x73,
                                  0x2b,
                                  0xc0,
                                  0xe9,
                                  0xda,
                                  0x99,
                                  0x83,
                                  0x2b,
                                  0x61,
                                  0xca,
                                  0x01,
                                  0xb6,
                                  0xde,
                                  0x56,
                                  0x24,
                                  0x4a,
                                  0x9e,
                                  0x88,
                                  0xd5,
                                  0xf9,
                                  0xb3,
                                  0x79,
                                  0x73,
                                  0xf6,
                                  0x22,
                                  0xa4,
                                  0x3d,
                                  0x14,
                                  0xa6,
                                  0x59,
                                  0x9b,
                                  0x1f,
                                  0x65,
                                  0x4c,
                                  0xb4,
                                  0x5a,
                                  0x74,
                                  0xe3,
                                  0x55,
                                  0xa5};
    struct seal_key sk = {SEAL_SECRETBOX, "k", str_n((const char *)k, sizeof(k))};
    struct seal s = {&sk, 1};
    struct buf sealed CLEANUP_BUF = BUF_INIT, open CLEANUP_BUF = BUF_INIT;
    struct err e;
    buf_puts(&sealed, "k8s:enc:secretbox:v1:k:");
    buf_put(&sealed, box, sizeof(box));
    assert_int_equal(seal_decrypt(&s, STR("/a"), buf_str(&sealed), &open, NULL, &e), 0);
    assert_int_equal(open.n, 131);
    assert_int_equal((uint8_t)open.p[0], 0xbe);
    assert_int_equal((uint8_t)open.p[1], 0x07);
    assert_int_equal((uint8_t)open.p[130], 0x05);
}

static void bad_keys(void **state)
{
    struct err e;
    struct seal_key bad[] = {key(SEAL_AESGCM, "a", 15), key(SEAL_SECRETBOX, "a", 16),
                             key(SEAL_AESGCM, "a:b", 16), key(SEAL_AESCBC, "", 16)};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(seal_check(&bad[i], &e), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(tampering),
                                       cmocka_unit_test(rotation), cmocka_unit_test(secretbox_vector),
                                       cmocka_unit_test(bad_keys)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
