/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys, certificates, requests and CA pools. Our own keys are EC P-256; the other kinds are made for those who ask, or
 * read. All handles are immutable and reference counted.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/time.h"

/* ---- PEM (RFC 7468) ------------------------------------------------------------------------------------
 */

/* Visits the blocks of a text one after the other; text between them is passed over. Ends early when a visit does not
 * return 0, and returns that. */
int pem_blocks(struct str text, int (*visit)(void *arg, struct str label, struct str der), void *arg);
void pem_encode(struct buf *b, const char *label, struct str der);

/* ---- keys -----------------------------------------------------------------------------------------------
 */

struct x509_key; /* a private or a public key */

int x509_key_generate(struct x509_key **ret); /* EC P-256 */
enum x509_key_kind { X509_ECDSA_P256, X509_ECDSA_P384, X509_ECDSA_P521, X509_RSA_3072, X509_RSA_4096, X509_ED25519, X509_KEY_OTHER };
/* By their names in the API, "ECDSAP256" ...; X509_KEY_OTHER: none of them. */
enum x509_key_kind x509_key_kind_named(struct str name);
enum x509_key_kind x509_key_kind_of(const struct x509_key *k);
/* RSA takes its time: not on the loop. -EINVAL for X509_KEY_OTHER. */
int x509_key_make(enum x509_key_kind kind, struct x509_key **ret, struct err *e);
/* A private key ("EC PRIVATE KEY", "RSA PRIVATE KEY", "PRIVATE KEY") or a public one ("PUBLIC KEY",
 * "RSA PUBLIC KEY", the key of a "CERTIFICATE"): the first in the text. */
int x509_key_parse(struct str pem, struct x509_key **ret, struct err *e);
/* All of them (service account key files may hold several): malloc'd array, each to be unref'd. */
int x509_keys_parse(struct str pem, struct x509_key ***ret, size_t *ret_n, struct err *e);
bool x509_key_is_private(const struct x509_key *k);
bool x509_key_equal(const struct x509_key *a, const struct x509_key *b); /* the public halves */
void x509_key_pem(const struct x509_key *k, struct buf *b);        /* "EC PRIVATE KEY", as kubeadm writes */
void x509_key_pkcs8_pem(const struct x509_key *k, struct buf *b);  /* "PRIVATE KEY", of any kind */
void x509_key_public_pem(const struct x509_key *k, struct buf *b); /* "PUBLIC KEY" */
void x509_key_public_der(const struct x509_key *k, struct buf *b); /* SubjectPublicKeyInfo */
void *x509_key_evp(const struct x509_key *k);                      /* EVP_PKEY *, for auth/ itself */
struct x509_key *x509_key_ref(struct x509_key *k);
struct x509_key *x509_key_unref(struct x509_key *k); /* returns NULL */

/* ---- certificates ---------------------------------------------------------------------------------------
 */

enum x509_usage {
    X509_SERVER_AUTH = 1 << 0,
    X509_CLIENT_AUTH = 1 << 1,
    X509_CODE_SIGNING = 1 << 2,
    X509_EMAIL_PROTECTION = 1 << 3,
    X509_OCSP_SIGNING = 1 << 4,
    X509_ANY_USAGE = 1 << 5,
    X509_DIGITAL_SIGNATURE = 1 << 8, /* from here: key usage */
    X509_CONTENT_COMMITMENT = 1 << 9,
    X509_KEY_ENCIPHERMENT = 1 << 10,
    X509_DATA_ENCIPHERMENT = 1 << 11,
    X509_KEY_AGREEMENT = 1 << 12,
    X509_CERT_SIGN = 1 << 13,
    X509_CRL_SIGN = 1 << 14,
    X509_ENCIPHER_ONLY = 1 << 15,
    X509_DECIPHER_ONLY = 1 << 16,
};

/* Names of a subject, as read or as wanted. Arrays are NULL-terminated; NULL is none. */
struct x509_names {
    const char *cn; /* "" or NULL: none */
    const char *const *orgs;
    const char *const *dns;
    const char *const *ips; /* text */
    const char *const *uris;
    const char *const *emails;
};

struct x509_spec {
    struct x509_names names;
    bool is_ca;
    unsigned usages; /* 0: cert+crl sign for a CA, else digital signature */
    struct wall not_before, not_after;
};

struct x509_cert;
int x509_cert_parse(struct str pem_or_der, struct x509_cert **ret, struct err *e); /* the first of a bundle */
/* Names in the arena; fields that are absent are NULL ("" for cn). */
void x509_cert_names(const struct x509_cert *c, struct arena *a, struct x509_names *ret);
struct wall x509_cert_not_before(const struct x509_cert *c);
struct wall x509_cert_not_after(const struct x509_cert *c);
bool x509_cert_is_ca(const struct x509_cert *c);
unsigned x509_cert_usages(const struct x509_cert *c);
char *x509_cert_fingerprint(const struct x509_cert *c, char ret[static 65]); /* SHA-256 of the DER, hex */
/* "sha256:<hex>" of the public key: kubeadm's --discovery-token-ca-cert-hash. */
char *x509_cert_key_hash(const struct x509_cert *c, struct arena *a);
struct x509_key *x509_cert_key(const struct x509_cert *c); /* the public key; a new reference */
bool x509_cert_has_san(const struct x509_cert *c, const char *dns_or_ip);
bool x509_cert_signed_by(const struct x509_cert *c, const struct x509_cert *ca);
void x509_cert_pem(const struct x509_cert *c, struct buf *b);
void x509_cert_der(const struct x509_cert *c, struct buf *b);
struct x509_cert *x509_cert_ref(struct x509_cert *c);
struct x509_cert *x509_cert_unref(struct x509_cert *c);

/* Issues a certificate for a public key. ca and ca_key NULL: self-signed, key must be private. Never beyond
 * the CA's own not_after. */
int x509_issue(const struct x509_spec *spec, const struct x509_key *key, const struct x509_cert *ca,
               const struct x509_key *ca_key, struct x509_cert **ret, struct err *e);

/* ---- certificate signing requests -------------------------------------------------------------------------
 */

struct x509_csr {
    struct x509_names names; /* in the arena given to parse */
    struct x509_key *key;    /* the public key */
};
/* Makes a PEM request. */
int x509_csr_make(const struct x509_names *names, const struct x509_key *key, struct buf *b, struct err *e);
int x509_csr_make_der(const struct x509_names *names, const struct x509_key *key, struct buf *b, struct err *e);
/* Parses and checks the self-signature: 0 or -EINVAL. */
int x509_csr_parse(struct arena *a, struct str pem, struct x509_csr *ret, struct err *e);
/* 0; -EINVAL: it is no request; -EACCES: it is not signed with its own key. */
int x509_csr_parse_der(struct arena *a, struct str der, struct x509_csr *ret, struct err *e);
void x509_csr_done(struct x509_csr *c);

/* ---- pools ------------------------------------------------------------------------------------------------
 */

struct x509_pool;
int x509_pool_parse(struct str pem, struct x509_pool **ret, struct err *e); /* -EINVAL when it holds none */
/* Does a DER chain (leaf first, then intermediates) lead to the pool, at `now`, for this usage? 0 or -EACCES
 * with the reason ("certificate has expired"). */
int x509_pool_verify(const struct x509_pool *p, const struct str *chain, size_t n, enum x509_usage usage,
                     struct wall now, struct err *e);
/* Is a certificate of the one among those of the other? */
bool x509_bundles_overlap(struct str pem, struct str other);
struct x509_pool *x509_pool_ref(struct x509_pool *p);
struct x509_pool *x509_pool_unref(struct x509_pool *p);
