/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/jwt.h"

#include "../testing.h"
#include "auth/crypto.h"

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
                                       cmocka_unit_test(key_set),         cmocka_unit_test(base64)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
