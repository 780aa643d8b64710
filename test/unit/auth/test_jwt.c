/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/jwt.h"

#include "../testing.h"
#include "auth/crypto.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>

static struct x509_key *key;
static struct jwt_key *signer;
static struct jwt_keys keys;

static void setup(void)
{
    struct err e;
    struct buf pem CLEANUP_BUF = BUF_INIT;
    assert_int_equal(x509_key_generate(&key), 0);
    signer = jwt_key_new(key);
    x509_key_public_pem(key, &pem);
    assert_int_equal(jwt_keys_add(&keys, buf_str(&pem), &e), 0);
}

static void teardown(void)
{
    jwt_keys_done(&keys);
    jwt_key_free(signer);
    x509_key_unref(key);
}

static struct val *claims(struct arena *a)
{
    struct val *v = val_new(a, VAL_MAP);
    val_put_str(a, v, STR("iss"), STR("https://kubernetes.default.svc"));
    val_put(a, v, STR("exp"), val_of_int(2000));
    val_put(a, v, STR("nbf"), val_of_int(1000));
    val_put(a, v, STR("iat"), val_of_int(1000));
    struct val aud = {.kind = VAL_LIST};
    val_add_str(a, &aud, STR("api"));
    val_add_str(a, &aud, STR("vault"));
    val_put(a, v, STR("aud"), aud);
    return v;
}

static void sign_and_verify(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf t CLEANUP_BUF = BUF_INIT;
    struct err e;
    const struct val *got, *header;
    setup();
    assert_int_equal(jwt_sign(signer, claims(&a), &t, &e), 0);
    assert_int_equal(jwt_verify(&a, &keys, buf_str(&t), &got, &e), 0);
    assert_str(val_str(val_key(got, STR("iss"))), "https://kubernetes.default.svc");
    assert_true(jwt_has_audience(got, STR("vault")));
    assert_false(jwt_has_audience(got, STR("other")));
    assert_int_equal(jwt_parse(&a, buf_str(&t), &header, NULL, &e), 0);
    assert_str(val_str(val_key(header, STR("alg"))), "ES256");
    assert_str(val_str(val_key(header, STR("kid"))), jwt_key_id(signer));
    /* any changed byte of any part breaks it */
    for (size_t i = 0; i < t.n; i += 7) {
        char kept = t.p[i];
        t.p[i] = kept == 'A' ? 'B' : 'A';
        assert_true(jwt_verify(&a, &keys, buf_str(&t), &got, &e) < 0);
        t.p[i] = kept;
    }
    assert_int_equal(jwt_verify(&a, &(struct jwt_keys){0}, buf_str(&t), &got, &e), -EACCES);
    assert_int_equal(jwt_sign(keys.keys[0], claims(&a), &t, &e), -EINVAL); /* public half */
    teardown();
}

static void forged(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e;
    const struct val *got;
    setup();
    static const char *const headers[] = {
        "{\"alg\":\"none\"}", "{\"alg\":\"HS256\"}", "{\"alg\":\"RS256\"}", "{}", "[]", "{\"alg\":7}"};
    for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
        struct buf t CLEANUP_BUF = BUF_INIT;
        base64url_put(&t, str_of(headers[i]));
        buf_putc(&t, '.');
        base64url_put(&t, STR("{\"sub\":\"x\"}"));
        buf_putc(&t, '.');
        assert_true(jwt_verify(&a, &keys, buf_str(&t), &got, &e) < 0);
        base64url_put(&t, STR("signature"));
        assert_true(jwt_verify(&a, &keys, buf_str(&t), &got, &e) < 0);
    }
    static const char *const no_tokens[] = {"", ".", "..", "a.b", "a.b.c.d", "....", "%.%.%"};
    for (size_t i = 0; i < ARRAY_SIZE(no_tokens); i++)
        assert_int_equal(jwt_verify(&a, &keys, str_of(no_tokens[i]), &got, &e), -EINVAL);
    teardown();
}

/* CVE-2022-21449: a signature of zeros verified for every text. CVE-2015-9235: the public key taken for a shared secret. */
static void signatures_that_need_no_key(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    CLEANUP_BUF struct buf t = BUF_INIT, pem = BUF_INIT;
    struct err e;
    const struct val *got;
    uint8_t zeros[64] = {0}, mac[32];
    setup();
    base64url_put(&t, STR("{\"alg\":\"ES256\"}"));
    buf_putc(&t, '.');
    base64url_put(&t, STR("{\"sub\":\"x\"}"));
    buf_putc(&t, '.');
    base64url_put(&t, str_n((char *)zeros, sizeof(zeros)));
    assert_int_equal(jwt_verify(&a, &keys, buf_str(&t), &got, &e), -EACCES);
    buf_clear(&t);
    base64url_put(&t, STR("{\"alg\":\"HS256\"}"));
    buf_putc(&t, '.');
    base64url_put(&t, STR("{\"sub\":\"x\"}"));
    x509_key_public_pem(key, &pem);
    hmac_sha256(buf_str(&pem), buf_str(&t), mac);
    buf_putc(&t, '.');
    base64url_put(&t, str_n((char *)mac, sizeof(mac)));
    assert_int_equal(jwt_verify(&a, &keys, buf_str(&t), &got, &e), -EACCES);
    teardown();
}

static void times(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e;
    static const struct {
        int64_t now;
        int want;
    } cases[] = {{999, -EACCES}, {1000, 0}, {1999, 0}, {2000, -EACCES}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(jwt_check_times(claims(&a), (struct wall){SECONDS(cases[i].now)}, 0, &e),
                         cases[i].want);
    assert_int_equal(jwt_check_times(claims(&a), (struct wall){SECONDS(2000)}, SECONDS(10), &e), 0);
    assert_int_equal(jwt_check_times(val_new(&a, VAL_MAP), (struct wall){0}, 0, &e), 0);
}

/* RFC 7515 appendix A.2: somebody else's RS256 token. */
static void rs256(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e;
    const struct val *got;
    struct jwt_keys ks = {0};
    static const char pem[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJj\n"
                              "NiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz\n"
                              "P1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo\n"
                              "9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB\n"
                              "EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxX\n"
                              "FvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp\n"
                              "oQIDAQAB\n-----END PUBLIC KEY-----\n";
    static const char token[] =
        "eyJhbGciOiJSUzI1NiJ9."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
        "cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_"
        "O8W2Fp5jujGbds9uJdbF"
        "9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_"
        "eSN9383LcOLn6_dO"
        "--xi12jzDwusC-"
        "eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_Io"
        "ypGlUPQGe77Rw";
    assert_int_equal(jwt_keys_add(&ks, str_of(pem), &e), 0);
    assert_int_equal(jwt_verify(&a, &ks, str_of(token), &got, &e), 0);
    assert_str(val_str(val_key(got, STR("iss"))), "joe");
    struct buf b CLEANUP_BUF = BUF_INIT;
    jwt_keys_json(&ks, &b);
    assert_non_null(strstr(b.p, "\"kty\":\"RSA\""));
    assert_non_null(strstr(b.p, "\"e\":\"AQAB\""));
    jwt_keys_done(&ks);
}

static void key_set(void **state)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    setup();
    jwt_keys_json(&keys, &b);
    assert_true(str_starts(buf_str(&b), STR("{\"keys\":[{\"use\":\"sig\",\"kty\":\"EC\",\"kid\":\"")));
    assert_non_null(strstr(b.p, "\"crv\":\"P-256\",\"alg\":\"ES256\",\"x\":\""));
    teardown();
}

/* ---- key sets of others -------------------------------------------------------------------------------- */

/* A token signed with that key by any algorithm: what jwt_sign does not make. */
static void sign_as(const struct x509_key *k, const char *alg, const char *kid, const EVP_MD *md, bool pss, struct buf *b)
{
    uint8_t sig[1024];
    size_t n = sizeof(sig);
    EVP_PKEY_CTX *pctx = NULL;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    base64url_put(b, arena_printf(&a, "{\"alg\":\"%s\",\"kid\":\"%s\"}", alg, kid));
    buf_putc(b, '.');
    base64url_put(b, STR("{\"sub\":\"x\"}"));
    assert_int_equal(EVP_DigestSignInit(ctx, &pctx, md, NULL, x509_key_evp(k)), 1);
    if (pss) {
        EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST);
    }
    assert_int_equal(EVP_DigestSign(ctx, sig, &n, (const uint8_t *)b->p, b->n), 1);
    EVP_MD_CTX_free(ctx);
    buf_putc(b, '.');
    base64url_put(b, str_n((char *)sig, n));
}

static const struct {
    const char *name;
    const EVP_MD *(*md)(void);
    bool pss;
} rsa_algs[] = {{"RS256", EVP_sha256, false}, {"RS384", EVP_sha384, false}, {"RS512", EVP_sha512, false},
                {"PS256", EVP_sha256, true},  {"PS384", EVP_sha384, true},  {"PS512", EVP_sha512, true}};

static void every_rsa_algorithm(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    CLEANUP_BUF struct buf pem = BUF_INIT, set = BUF_INIT;
    struct x509_key *rsa = NULL;
    struct jwt_keys own = {0}, theirs = {0};
    const struct val *got;
    struct err e = {0};
    assert_int_equal(x509_key_make(X509_RSA_3072, &rsa, &e), 0);
    x509_key_public_pem(rsa, &pem);
    assert_int_equal(jwt_keys_add(&own, buf_str(&pem), &e), 0);
    jwt_keys_json(&own, &set);
    /* the set says RS256: then it is for nothing else */
    assert_int_equal(jwt_keys_add_set(&theirs, buf_str(&set), &e), 0);
    assert_int_equal(theirs.n, 1);
    struct str open = arena_printf(&a, STR_FMT, STR_ARG(buf_str(&set)));
    char *alg = strstr((char *)(uintptr_t)open.p, ",\"alg\":\"RS256\"");
    assert_non_null(alg);
    memset(alg, ' ', strlen(",\"alg\":\"RS256\""));
    struct jwt_keys any = {0};
    assert_int_equal(jwt_keys_add_set(&any, open, &e), 0);
    for (size_t i = 0; i < ARRAY_SIZE(rsa_algs); i++) {
        CLEANUP_BUF struct buf t = BUF_INIT, other = BUF_INIT;
        const char *id = jwt_key_id(any.keys[0]);
        sign_as(rsa, rsa_algs[i].name, id, rsa_algs[i].md(), rsa_algs[i].pss, &t);
        assert_int_equal(jwt_verify_issued(&a, &any, NULL, buf_str(&t), &got, &e), 0);
        assert_int_equal(jwt_verify_issued(&a, &any, rsa_algs[i].name, buf_str(&t), &got, &e), 0);
        assert_int_equal(jwt_verify_issued(&a, &any, "ES256", buf_str(&t), &got, &e), -EACCES); /* not accepted */
        assert_int_equal(jwt_verify_issued(&a, &theirs, NULL, buf_str(&t), &got, &e), i ? -EACCES : 0);
        sign_as(rsa, rsa_algs[(i + 1) % ARRAY_SIZE(rsa_algs)].name, id, rsa_algs[i].md(), rsa_algs[i].pss, &other); /* says another */
        assert_int_equal(jwt_verify_issued(&a, &any, NULL, buf_str(&other), &got, &e), -EACCES);
        buf_clear(&other);
        sign_as(rsa, rsa_algs[i].name, "else", rsa_algs[i].md(), rsa_algs[i].pss, &other); /* names a key that is not there */
        assert_int_equal(jwt_verify_issued(&a, &any, NULL, buf_str(&other), &got, &e), -EACCES);
    }
    jwt_keys_done(&own);
    jwt_keys_done(&theirs);
    jwt_keys_done(&any);
    x509_key_unref(rsa);
}

static void every_curve(void **state)
{
    static const enum x509_key_kind kinds[] = {X509_ECDSA_P256, X509_ECDSA_P384, X509_ECDSA_P521};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        CLEANUP_BUF struct buf pem = BUF_INIT, set = BUF_INIT, t = BUF_INIT;
        struct x509_key *ec = NULL;
        struct jwt_keys own = {0}, theirs = {0};
        const struct val *got;
        struct err e = {0};
        assert_int_equal(x509_key_make(kinds[i], &ec, &e), 0);
        x509_key_public_pem(ec, &pem);
        assert_int_equal(jwt_keys_add(&own, buf_str(&pem), &e), 0);
        jwt_keys_json(&own, &set);
        assert_int_equal(jwt_keys_add_set(&theirs, buf_str(&set), &e), 0);
        struct jwt_key *mine = jwt_key_new(ec);
        assert_int_equal(jwt_sign(mine, claims(&a), &t, &e), 0);
        assert_int_equal(jwt_verify_issued(&a, &theirs, NULL, buf_str(&t), &got, &e), 0);
        jwt_key_free(mine);
        jwt_keys_done(&own);
        jwt_keys_done(&theirs);
        x509_key_unref(ec);
    }
}

static void odd_key_sets(void **state)
{
    static const struct {
        const char *text;
        int want;
    } cases[] = {
        {"", -EINVAL},
        {"[]", -EINVAL},
        {"{}", -EINVAL},
        {"{\"keys\":{}}", -EINVAL},
        {"{\"keys\":[]}", 0},
        {"{\"keys\":[1,{},{\"kty\":\"oct\",\"k\":\"AAAA\"},{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}]}", 0}, /* of kinds that sign no tokens */
        {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"ofgW\",\"e\":\"AQAB\"}]}", 0},                                                    /* far too short */
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\"}]}", 0},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\",\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\"}]}", 0}, /* on no curve */
        {"{\"keys\":[{\"use\":\"enc\",\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"EVs_o5-uQbTjL3chynL4wXgUg2R9q9UU8I5mEovUf84\",\"y\":\"kGe5DgSIycKp8w9aJoGnhB1sB3QTugfnRWm5nU_T8RQ\"}]}", 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct jwt_keys ks = {0};
        struct err e = {0};
        if (jwt_keys_add_set(&ks, str_of(cases[i].text), &e) != cases[i].want || ks.n)
            fail_msg("case %zu: %zu keys", i, ks.n);
    }
}

/* RFC 7515 section 4.1.11: who does not understand what is critical takes nothing for granted. */
static void critical_headers(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    CLEANUP_BUF struct buf t = BUF_INIT, head = BUF_INIT;
    const struct val *got;
    struct err e = {0};
    setup();
    assert_int_equal(jwt_sign(signer, claims(&a), &t, &e), 0);
    base64url_put(&head, STR("{\"alg\":\"ES256\",\"crit\":[\"b64\"],\"b64\":false}"));
    struct str rest = str_from(buf_str(&t), (size_t)str_find(buf_str(&t), '.'));
    assert_int_equal(jwt_verify(&a, &keys, arena_printf(&a, STR_FMT STR_FMT, STR_ARG(buf_str(&head)), STR_ARG(rest)), &got, &e), -EACCES);
    assert_non_null(strstr(e.text, "critical"));
    teardown();
}

static void tokens_of_others_end(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    assert_int_equal(jwt_check_issued(val_new(&a, VAL_MAP), (struct wall){0}, 0, &e), -EACCES); /* those that never do */
    assert_int_equal(jwt_check_issued(claims(&a), (struct wall){SECONDS(1999)}, 0, &e), 0);
    assert_int_equal(jwt_check_issued(claims(&a), (struct wall){SECONDS(2000)}, SECONDS(300), &e), -EACCES); /* not a second longer */
    assert_int_equal(jwt_check_issued(claims(&a), (struct wall){SECONDS(701)}, SECONDS(300), &e), 0);
    assert_int_equal(jwt_check_issued(claims(&a), (struct wall){SECONDS(699)}, SECONDS(300), &e), -EACCES);
}

static void base64(void **state)
{
    static const struct {
        const char *plain, *text;
    } cases[] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct buf b CLEANUP_BUF = BUF_INIT;
        base64_put(&b, str_of(cases[i].plain));
        assert_str(buf_str(&b), cases[i].text);
        buf_clear(&b);
        assert_int_equal(base64_take(&b, str_of(cases[i].text)), 0);
        assert_str(buf_str(&b), cases[i].plain);
    }
    static const char *const bad[] = {"Zg", "Zg=", "Zh==", "Z", "Zm9v=", "Zm 9v", "===="};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct buf b CLEANUP_BUF = BUF_INIT;
        assert_int_equal(base64_take(&b, str_of(bad[i])), -EINVAL);
    }
    struct buf b CLEANUP_BUF = BUF_INIT;
    base64url_put(&b, STR("\xff\xfe\xfd\xfc"));
    assert_str(buf_str(&b), "__79_A");
    assert_int_equal(base64url_take(&b, STR("_/")), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sign_and_verify), cmocka_unit_test(forged),
                                       cmocka_unit_test(times),           cmocka_unit_test(rs256),
                                       cmocka_unit_test(key_set),         cmocka_unit_test(base64),
                                       cmocka_unit_test(every_rsa_algorithm), cmocka_unit_test(every_curve),
                                       cmocka_unit_test(odd_key_sets),    cmocka_unit_test(critical_headers),
                                       cmocka_unit_test(tokens_of_others_end), cmocka_unit_test(signatures_that_need_no_key)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
