/* SPDX-License-Identifier: Apache-2.0 */
/* Subjects, alternative names, extensions: between x509.h's structs and OpenSSL's. */
#include "auth/x509-internal.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <time.h>

struct wall x509_wall(const ASN1_TIME *t)
{
    struct tm tm;
    if (!t || ASN1_TIME_to_tm(t, &tm) != 1)
        return (struct wall){0};
    return (struct wall){timegm(&tm) * NSEC_PER_SEC};
}

/* ---- out ---------------------------------------------------------------------------------------------- */

static int add_entry(X509_NAME *name, int nid, const char *text)
{
    return X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, (const uint8_t *)text, -1, -1, 0) == 1
               ? 0
               : -EINVAL;
}

int x509_set_subject(X509_NAME *name, const struct x509_names *names)
{
    for (const char *const *o = names->orgs; o && *o; o++)
        if (add_entry(name, NID_organizationName, *o) < 0)
            return -EINVAL;
    return names->cn && names->cn[0] ? add_entry(name, NID_commonName, names->cn) : 0;
}

static bool push_text(STACK_OF(GENERAL_NAME) * list, int type, const char *text)
{
    ASN1_IA5STRING *s = ASN1_IA5STRING_new();
    GENERAL_NAME *g = GENERAL_NAME_new();
    if (!s || !g)
        panic("OpenSSL: no memory");
    ASN1_STRING_set(s, text, -1);
    GENERAL_NAME_set0_value(g, type, s);
    return sk_GENERAL_NAME_push(list, g) > 0;
}

static bool push_ip(STACK_OF(GENERAL_NAME) * list, const char *text)
{
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(text);
    if (!ip)
        return false;
    GENERAL_NAME *g = GENERAL_NAME_new();
    if (!g)
        panic("OpenSSL: no memory");
    GENERAL_NAME_set0_value(g, GEN_IPADD, ip);
    return sk_GENERAL_NAME_push(list, g) > 0;
}

STACK_OF(GENERAL_NAME) * x509_general_names(const struct x509_names *names)
{
    STACK_OF(GENERAL_NAME) *list = sk_GENERAL_NAME_new_null();
    bool ok = true;
    for (const char *const *p = names->dns; ok && p && *p; p++)
        ok = push_text(list, GEN_DNS, *p);
    for (const char *const *p = names->ips; ok && p && *p; p++)
        ok = push_ip(list, *p);
    for (const char *const *p = names->uris; ok && p && *p; p++)
        ok = push_text(list, GEN_URI, *p);
    for (const char *const *p = names->emails; ok && p && *p; p++)
        ok = push_text(list, GEN_EMAIL, *p);
    if (!ok) {
        sk_GENERAL_NAME_pop_free(list, GENERAL_NAME_free);
        return NULL;
    }
    return list;
}

static const struct {
    enum x509_usage usage;
    const char *text;
} key_usages[] = {
    {X509_DIGITAL_SIGNATURE, "digitalSignature"},
    {X509_CONTENT_COMMITMENT, "nonRepudiation"},
    {X509_KEY_ENCIPHERMENT, "keyEncipherment"},
    {X509_DATA_ENCIPHERMENT, "dataEncipherment"},
    {X509_KEY_AGREEMENT, "keyAgreement"},
    {X509_CERT_SIGN, "keyCertSign"},
    {X509_CRL_SIGN, "cRLSign"},
    {X509_ENCIPHER_ONLY, "encipherOnly"},
    {X509_DECIPHER_ONLY, "decipherOnly"},
};

static const struct {
    enum x509_usage usage;
    const char *text;
} extended_usages[] = {
    {X509_SERVER_AUTH, "serverAuth"},   {X509_CLIENT_AUTH, "clientAuth"},
    {X509_CODE_SIGNING, "codeSigning"}, {X509_EMAIL_PROTECTION, "emailProtection"},
    {X509_OCSP_SIGNING, "OCSPSigning"}, {X509_ANY_USAGE, "anyExtendedKeyUsage"},
};

static bool push_conf(STACK_OF(X509_EXTENSION) * list, int nid, const char *value)
{
    X509_EXTENSION *x = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    return x && sk_X509_EXTENSION_push(list, x) > 0;
}

static bool push_usages(STACK_OF(X509_EXTENSION) * list, unsigned usages)
{
    struct buf key CLEANUP_BUF = BUF_INIT, extended CLEANUP_BUF = BUF_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(key_usages); i++)
        if (usages & key_usages[i].usage)
            buf_printf(&key, ",%s", key_usages[i].text);
    for (size_t i = 0; i < ARRAY_SIZE(extended_usages); i++)
        if (usages & extended_usages[i].usage)
            buf_printf(&extended, ",%s", extended_usages[i].text);
    bool ok = true;
    if (key.n) {
        struct buf value CLEANUP_BUF = BUF_INIT;
        buf_printf(&value, "critical%s", key.p);
        ok = push_conf(list, NID_key_usage, value.p);
    }
    return ok && (!extended.n || push_conf(list, NID_ext_key_usage, extended.p + 1));
}

STACK_OF(X509_EXTENSION) * x509_extensions(const struct x509_spec *spec, struct err *e)
{
    STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
    unsigned usages = spec->usages;
    if (!(usages & ~(X509_DIGITAL_SIGNATURE - 1u)))
        usages |=
            spec->is_ca ? X509_CERT_SIGN | X509_CRL_SIGN | X509_DIGITAL_SIGNATURE : X509_DIGITAL_SIGNATURE;
    bool ok =
        push_conf(list, NID_basic_constraints, spec->is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE") &&
        push_usages(list, usages);
    STACK_OF(GENERAL_NAME) *sans = ok ? x509_general_names(&spec->names) : NULL;
    if (!sans)
        ok = false;
    if (ok && sk_GENERAL_NAME_num(sans) > 0) {
        /* RFC 5280 section 4.2.1.6: critical when the subject is empty. */
        bool nameless = !(spec->names.cn && spec->names.cn[0]) && !(spec->names.orgs && spec->names.orgs[0]);
        X509_EXTENSION *x = X509V3_EXT_i2d(NID_subject_alt_name, nameless, sans);
        ok = x && sk_X509_EXTENSION_push(list, x) > 0;
    }
    sk_GENERAL_NAME_pop_free(sans, GENERAL_NAME_free);
    if (ok)
        return list;
    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    x509_fail(e, -EINVAL, "names of a certificate");
    return NULL;
}

/* ---- in ----------------------------------------------------------------------------------------------- */

/* A growing NULL-terminated list in an arena. */
struct texts {
    const char **items;
    size_t n, cap;
};

static void texts_add(struct arena *a, struct texts *t, struct str s)
{
    if (memchr(s.p ? s.p : "", '\0', s.n)) /* not a name but an attack */
        return;
    if (t->n + 2 > t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 8;
        const char **items = ARENA_ARRAY(a, const char *, cap);
        if (t->n)
            memcpy(items, t->items, t->n * sizeof(*items));
        t->items = items;
        t->cap = cap;
    }
    t->items[t->n++] = arena_cstr(a, s);
    t->items[t->n] = NULL;
}

static struct texts subject_texts(struct arena *a, X509_NAME *name, int nid)
{
    struct texts t = {0};
    for (int i = -1; (i = X509_NAME_get_index_by_NID(name, nid, i)) >= 0;) {
        uint8_t *utf8 = NULL;
        int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i)));
        if (n >= 0)
            texts_add(a, &t, str_n((char *)utf8, (size_t)n));
        OPENSSL_free(utf8);
    }
    return t;
}

static struct str string_of(const ASN1_STRING *s)
{
    return str_n((const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
}

static void add_ip(struct arena *a, struct texts *t, const ASN1_OCTET_STRING *ip)
{
    char text[INET6_ADDRSTRLEN];
    int n = ASN1_STRING_length(ip);
    if ((n == 4 || n == 16) &&
        inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(ip), text, sizeof(text)))
        texts_add(a, t, str_of(text));
}

void x509_read_names(struct arena *a, X509_NAME *subject, const STACK_OF(GENERAL_NAME) * sans,
                     struct x509_names *ret)
{
    struct texts cn = subject_texts(a, subject, NID_commonName), dns = {0}, ips = {0}, uris = {0},
                 emails = {0};
    for (int i = 0; sans && i < sk_GENERAL_NAME_num(sans); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(sans, i);
        if (g->type == GEN_DNS)
            texts_add(a, &dns, string_of(g->d.dNSName));
        else if (g->type == GEN_URI)
            texts_add(a, &uris, string_of(g->d.uniformResourceIdentifier));
        else if (g->type == GEN_EMAIL)
            texts_add(a, &emails, string_of(g->d.rfc822Name));
        else if (g->type == GEN_IPADD)
            add_ip(a, &ips, g->d.iPAddress);
    }
    /* The last common name counts, as in Go. */
    *ret = (struct x509_names){.cn = cn.n ? cn.items[cn.n - 1] : "",
                               .orgs = subject_texts(a, subject, NID_organizationName).items,
                               .dns = dns.items,
                               .ips = ips.items,
                               .uris = uris.items,
                               .emails = emails.items};
}
