/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/x509.h"

#include "../testing.h"

static const struct wall now = {INT64_C(1800000000) * NSEC_PER_SEC};

static struct wall in_days(int64_t n)
{
    return (struct wall){now.ns + n * 86400 * NSEC_PER_SEC};
}

static struct x509_cert *issue(const struct x509_spec *spec, const struct x509_key *key,
                               const struct x509_cert *ca, const struct x509_key *ca_key)
{
    struct err e = {0};
    struct x509_cert *c = NULL;
    if (x509_issue(spec, key, ca, ca_key, &c, &e) < 0)
        fail_msg("%s", e.text);
    return c;
}

static struct x509_cert *make_ca(struct x509_key **ret_key, const char *cn)
{
    assert_int_equal(x509_key_generate(ret_key), 0);
    struct x509_spec spec = {
        .names = {.cn = cn}, .is_ca = true, .not_before = in_days(-1), .not_after = in_days(3650)};
    return issue(&spec, *ret_key, NULL, NULL);
}

static int verify(const struct x509_cert *leaf, const struct x509_cert *ca, enum x509_usage usage,
                  struct wall at)
{
    struct buf pem CLEANUP_BUF = BUF_INIT, der CLEANUP_BUF = BUF_INIT;
    struct x509_pool *pool;
    struct err e;
    x509_cert_pem(ca, &pem);
    x509_cert_der(leaf, &der);
    assert_int_equal(x509_pool_parse(buf_str(&pem), &pool, &e), 0);
    struct str chain[] = {buf_str(&der)};
    int r = x509_pool_verify(pool, chain, 1, usage, at, &e);
    x509_pool_unref(pool);
    return r;
}

static void certificates(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct x509_key *ca_key, *key, *other_key;
    struct x509_cert *ca = make_ca(&ca_key, "kubernetes"), *other = make_ca(&other_key, "kubernetes");
    const char *const dns[] = {"kubernetes", "*.example.com", NULL}, *const ips[] = {"10.0.0.1", "fd00::1",
                                                                                     NULL};
    const char *const orgs[] = {"system:masters", "b", NULL};
    assert_int_equal(x509_key_generate(&key), 0);
    struct x509_spec spec = {.names = {.cn = "me", .orgs = orgs, .dns = dns, .ips = ips},
                             .usages = X509_SERVER_AUTH,
                             .not_before = in_days(0),
                             .not_after = in_days(365)};
    struct x509_cert *c = issue(&spec, key, ca, ca_key);
    struct x509_names n;
    x509_cert_names(c, &a, &n);
    assert_string_equal(n.cn, "me");
    assert_string_equal(n.orgs[0], "system:masters");
    assert_string_equal(n.orgs[1], "b");
    assert_null(n.orgs[2]);
    assert_string_equal(n.dns[1], "*.example.com");
    assert_string_equal(n.ips[1], "fd00::1");
    assert_true(x509_cert_has_san(c, "kubernetes"));
    assert_true(x509_cert_has_san(c, "a.example.com"));
    assert_true(x509_cert_has_san(c, "10.0.0.1"));
    assert_true(x509_cert_has_san(c, "fd00:0::1"));
    assert_false(x509_cert_has_san(c, "10.0.0.2"));
    assert_false(x509_cert_has_san(c, "me")); /* the common name is no SAN */
    assert_true(x509_cert_not_after(c).ns == in_days(365).ns);
    assert_true(x509_cert_usages(c) == (X509_SERVER_AUTH | X509_DIGITAL_SIGNATURE));
    assert_false(x509_cert_is_ca(c));
    assert_true(x509_cert_is_ca(ca));
    assert_true(x509_cert_signed_by(c, ca));
    assert_false(x509_cert_signed_by(c, other)); /* same name, other key */

    assert_int_equal(verify(c, ca, X509_SERVER_AUTH, in_days(1)), 0);
    assert_int_equal(verify(c, ca, X509_CLIENT_AUTH, in_days(1)), -EACCES);
    assert_int_equal(verify(c, ca, X509_SERVER_AUTH, in_days(366)), -EACCES);
    assert_int_equal(verify(c, ca, X509_SERVER_AUTH, in_days(-1)), -EACCES);
    assert_int_equal(verify(c, other, X509_SERVER_AUTH, in_days(1)), -EACCES);

    /* PEM there and back; the key belongs to it. */
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct x509_cert *again;
    struct err e;
    x509_cert_pem(c, &b);
    assert_int_equal(x509_cert_parse(buf_str(&b), &again, &e), 0);
    char f1[65], f2[65];
    assert_string_equal(x509_cert_fingerprint(c, f1), x509_cert_fingerprint(again, f2));
    struct x509_key *public = x509_cert_key(again);
    assert_true(x509_key_equal(public, key));
    assert_false(x509_key_equal(public, ca_key));
    assert_int_equal(x509_cert_parse(STR("-----BEGIN CERTIFICATE-----\nrubbish\n"), &again, &e), -EINVAL);

    /* A leaf does not outlive its CA. */
    spec.not_after = in_days(10000);
    struct x509_cert *longer = issue(&spec, key, ca, ca_key);
    assert_true(x509_cert_not_after(longer).ns == in_days(3650).ns);
    assert_int_equal(x509_issue(&spec, key, ca, public, &again, &e), -EINVAL); /* no private key */

    x509_key_unref(public);
    struct x509_cert *certs[] = {c, ca, other, longer};
    for (size_t i = 0; i < ARRAY_SIZE(certs); i++)
        x509_cert_unref(certs[i]);
    x509_key_unref(key);
    x509_key_unref(ca_key);
    x509_key_unref(other_key);
    x509_cert_unref(again);
}

static void keys(void **state)
{
    struct x509_key *k, *again, *public;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct err e;
    assert_int_equal(x509_key_generate(&k), 0);
    x509_key_pem(k, &b);
    assert_true(str_starts(buf_str(&b), STR("-----BEGIN EC PRIVATE KEY-----")));
    assert_int_equal(x509_key_parse(buf_str(&b), &again, &e), 0);
    assert_true(x509_key_is_private(again));
    assert_true(x509_key_equal(k, again));
    buf_clear(&b);
    x509_key_public_pem(k, &b);
    assert_int_equal(x509_key_parse(buf_str(&b), &public, &e), 0);
    assert_false(x509_key_is_private(public));
    assert_true(x509_key_equal(k, public));
    /* several in one file */
    x509_key_pem(k, &b);
    struct x509_key **list;
    size_t n;
    assert_int_equal(x509_keys_parse(buf_str(&b), &list, &n, &e), 0);
    assert_int_equal(n, 2);
    for (size_t i = 0; i < n; i++)
        x509_key_unref(list[i]);
    free(list);
    assert_int_equal(x509_key_parse(STR("nothing"), &again, &e), -EINVAL);
    x509_key_unref(k);
    x509_key_unref(public);
    x509_key_unref(again);
}

static void requests(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct x509_key *k;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct err e;
    const char *const orgs[] = {"system:nodes", NULL}, *const dns[] = {"n1", NULL},
                      *const ips[] = {"1.2.3.4", NULL};
    struct x509_names names = {.cn = "system:node:n1", .orgs = orgs, .dns = dns, .ips = ips};
    assert_int_equal(x509_key_generate(&k), 0);
    assert_int_equal(x509_csr_make(&names, k, &b, &e), 0);
    struct x509_csr csr;
    assert_int_equal(x509_csr_parse(&a, buf_str(&b), &csr, &e), 0);
    assert_string_equal(csr.names.cn, "system:node:n1");
    assert_string_equal(csr.names.orgs[0], "system:nodes");
    assert_string_equal(csr.names.dns[0], "n1");
    assert_string_equal(csr.names.ips[0], "1.2.3.4");
    assert_true(x509_key_equal(csr.key, k));
    x509_csr_done(&csr);
    b.p[b.n / 2] ^= 1;
    assert_int_equal(x509_csr_parse(&a, buf_str(&b), &csr, &e), -EINVAL);
    names = (struct x509_names){.cn = "x", .ips = (const char *const[]){"not an address", NULL}};
    assert_int_equal(x509_csr_make(&names, k, &b, &e), -EINVAL);
    x509_key_unref(k);
}

/* Of each kind that Pods may ask for: made, named, written down and read again, and a request that is signed with it. */
static void kinds_of_keys(void **state)
{
    static const char *const names[] = {"ECDSAP256", "ECDSAP384", "ECDSAP521", "RSA3072", "RSA4096", "ED25519"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct buf pem CLEANUP_BUF = BUF_INIT, der CLEANUP_BUF = BUF_INIT;
        struct x509_key *key, *again;
        struct x509_csr csr;
        enum x509_key_kind kind = x509_key_kind_named(str_of(names[i]));
        assert_int_equal(kind, i);
        assert_int_equal(x509_key_make(kind, &key, NULL), 0);
        assert_int_equal(x509_key_kind_of(key), kind);
        x509_key_pkcs8_pem(key, &pem);
        assert_true(str_starts(buf_str(&pem), STR("-----BEGIN PRIVATE KEY-----\n")));
        assert_int_equal(x509_key_parse(buf_str(&pem), &again, NULL), 0);
        assert_true(x509_key_is_private(again) && x509_key_equal(key, again));
        assert_int_equal(x509_csr_make_der(&(const struct x509_names){.cn = NULL}, key, &der, NULL), 0);
        assert_int_equal(x509_csr_parse_der(&a, buf_str(&der), &csr, NULL), 0);
        assert_true(x509_key_equal(csr.key, key) && x509_key_kind_of(csr.key) == kind);
        x509_csr_done(&csr);
        der.p[der.n - 1] ^= 1; /* its signature */
        assert_int_equal(x509_csr_parse_der(&a, buf_str(&der), &csr, NULL) < 0, 1);
        buf_putc(&der, 'x');
        assert_int_equal(x509_csr_parse_der(&a, buf_str(&der), &csr, NULL), -EINVAL);
        x509_key_unref(key);
        x509_key_unref(again);
    }
    struct x509_key *key;
    assert_int_equal(x509_key_kind_named(STR("RSA2048")), X509_KEY_OTHER);
    assert_int_equal(x509_key_make(X509_KEY_OTHER, &key, NULL), -EINVAL);
}

static int count_blocks(void *arg, struct str label, struct str der)
{
    struct buf *b = arg;
    buf_printf(b, STR_FMT "=" STR_FMT ";", STR_ARG(label), STR_ARG(der));
    return str_is(der, "stop") ? 7 : 0;
}

static void pem_texts(void **state)
{
    struct buf text CLEANUP_BUF = BUF_INIT, seen CLEANUP_BUF = BUF_INIT;
    buf_puts(&text, "before\n");
    pem_encode(&text, "A", STR("one"));
    buf_puts(&text, "between\n");
    pem_encode(&text, "B C", STR("two"));
    assert_int_equal(pem_blocks(buf_str(&text), count_blocks, &seen), 0);
    assert_string_equal(buf_str(&seen).p, "A=one;B C=two;");
    pem_encode(&text, "D", STR("stop"));
    pem_encode(&text, "E", STR("never"));
    seen.n = 0;
    assert_int_equal(pem_blocks(buf_str(&text), count_blocks, &seen), 7);
    assert_int_equal(buf_str(&seen).n, strlen("A=one;B C=two;D=stop;"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(certificates), cmocka_unit_test(keys),
                                       cmocka_unit_test(requests), cmocka_unit_test(kinds_of_keys),
                                       cmocka_unit_test(pem_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
