/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS by OpenSSL: 1.2 and later, AEAD suites with forward secrecy only, ALPN. Contexts can be given new
 * certificates while they serve: connections that stand keep the old ones, new handshakes use the new.
 *
 * A server never refuses a handshake over a client certificate unless TLS_CLIENT_REQUIRE is set: as in
 * upstream's servers the certificate is only requested, the outcome of checking it is in `struct tls_peer`,
 * and who the client is gets decided by the authenticator (which has several CA bundles to try; auth/x509.h
 * takes the DER chain).
 */
#pragma once

#include "net/stream.h"

struct tls_server;
struct tls_client;

enum tls_client_auth {
    TLS_CLIENT_NONE,    /* do not ask */
    TLS_CLIENT_REQUEST, /* ask; a missing or unverifiable one is no error */
    TLS_CLIENT_REQUIRE, /* ask; without one that verifies against client_ca the handshake fails */
};

/* A certificate chain and its key as PEM. A server chooses by the SNI name, the first is the default. */
struct tls_keypair {
    struct str cert_pem, key_pem;
};

/* A certificate by itself, for servers that choose by rules of their own. References may be given to other threads. */
struct tls_certificate;
int tls_certificate_new(const struct tls_keypair *key, struct tls_certificate **ret, struct err *e);
struct tls_certificate *tls_certificate_ref(struct tls_certificate *c);
struct tls_certificate *tls_certificate_unref(struct tls_certificate *c); /* NULL is fine; returns NULL */

struct tls_server_config {
    const struct tls_keypair *keys; /* copied */
    size_t n_keys;
    struct str client_ca; /* PEM bundle; empty: no client certificate verifies */
    enum tls_client_auth client_auth;
    bool no_h2;          /* offer http/1.1 only */
    bool h2_only;        /* gRPC */
    int min_version;     /* 0 or 0x0303 (1.2), 0x0304 (1.3) */
    const char *ciphers; /* OpenSSL names of TLS 1.2 suites; NULL: the safe default */
    /* Who serves the SNI name, whatever stands in the certificates: a reference, or NULL for the first of keys. NULL: by
     * the names in the certificates of keys. */
    struct tls_certificate *(*choose)(void *ctx, const char *name);
    void *choose_ctx;
};

struct tls_client_config {
    struct str ca;          /* PEM bundle; empty: the system's */
    struct tls_keypair key; /* client certificate; empty for none */
    bool insecure;          /* do not verify the server (--insecure-skip-tls-verify) */
    bool no_h2;             /* offer http/1.1 only */
    bool h2_only;
    bool no_alpn;           /* what is spoken is no HTTP */
};

/* Who is at the other end. Lives as long as its stream. */
struct tls_peer {
    const char *alpn;    /* "h2", "http/1.1" or "" */
    const char *version; /* "TLSv1.3" */
    const char *cipher;
    const char *server_name; /* SNI the client sent (server side); "" for none */
    bool verified; /* the peer sent a certificate and it verifies against the CA bundle, now, for its use */
    const char *why_not;     /* when it sent one that does not verify */
    const struct str *chain; /* DER, leaf first; n_chain is 0 when it sent none */
    size_t n_chain;
    const char *cn;          /* subject common name of the leaf, "" */
    const char *const *orgs; /* subject organisations (groups) */
    size_t n_orgs;
    struct wall not_after; /* of the leaf */
};

int tls_server_new(const struct tls_server_config *config, struct tls_server **ret, struct err *e);
/* New certificates and CAs for handshakes from now on. On failure the old stay in use. */
int tls_server_set(struct tls_server *t, const struct tls_server_config *config, struct err *e);
struct tls_server *tls_server_ref(struct tls_server *t);
struct tls_server *tls_server_unref(struct tls_server *t); /* returns NULL */

int tls_client_new(const struct tls_client_config *config, struct tls_client **ret, struct err *e);
struct tls_client *tls_client_ref(struct tls_client *t);
struct tls_client *tls_client_unref(struct tls_client *t);

/* Handshakes over a connected fd, which they take in any case. The peer is in (*ret)->tls. */
int tls_accept(struct tls_server *t, int fd, struct mono deadline, struct stream **ret, struct err *e);
/* server_name: DNS name or IP address that the certificate must hold among its SANs. alpn_h1: http/1.1 only,
 * for upgrades. */
int tls_connect(struct tls_client *t, int fd, const char *server_name, bool alpn_h1, struct mono deadline,
                struct stream **ret, struct err *e);
