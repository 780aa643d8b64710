/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API server. Everything it knows of kinds is in resources[] (type/resource.h); see README.md for the way
 * of a request through it.
 */
#pragma once

#include "apiserver/audit_sink.h"
#include "base/err.h"
#include "base/time.h"

struct store;
struct apiserver;
struct http_server;

/* Audit (audit.h): nothing is noted without a log or a webhook. */
struct audit_config {
    const char *policy; /* file; NULL: metadata of every request for a resource */
    struct audit_log_config log;
    struct audit_webhook_config webhook;
    const char *log_mode, *webhook_mode; /* NULL: "blocking", "batch" */
    struct audit_batching log_batching, webhook_batching;
};

/* --oidc-*: one issuer of tokens. NULL: not given. */
struct oidc_flags {
    const char *issuer, *client, *ca;
    const char *username_claim, *username_prefix; /* "sub"; the issuer's URL and # unless the claim is "email" */
    const char *groups_claim, *groups_prefix;
    const char *algs;            /* comma list; "RS256" */
    const char *const *required; /* key=value each, NULL-terminated */
};

/* A webhook that answers reviews. */
struct review_flags {
    const char *kubeconfig; /* NULL: none */
    const char *version;    /* of the review: "v1" or "v1beta1"; NULL: "v1beta1" */
    int64_t yes_ttl_ns, no_ttl_ns; /* how long answers are kept; negative: not at all, 0: the default */
};

struct apiserver_config {
    struct store *store; /* stays the caller's; must outlive the server */

    /* listening */
    const char *listen;     /* "0.0.0.0:6443", os_listen() form; NULL: none (in-process only, tests) */
    const char *advertise;  /* address of the `kubernetes` endpoints; NULL: not published */
    int advertise_port;     /* 0: that of listen */
    const char *tls_cert, *tls_key; /* files; NULL: plain HTTP (tests only) */

    /* who may come in; files, NULL for none */
    const char *client_ca;
    const char *front_proxy_ca;
    const char *front_proxy_names; /* comma list of allowed CNs; NULL: any */
    const char *proxy_client_cert, *proxy_client_key; /* who we are to extension servers */
    const char *sa_signing_key;
    const char *sa_keys;           /* comma list of files to verify with; NULL: the signing key */
    const char *sa_issuer;         /* NULL: "https://kubernetes.default.svc.cluster.local" */
    const char *sa_audiences;      /* comma list; NULL: the issuer */
    const char *sa_jwks_uri;       /* NULL: made from the advertised address */
    int64_t sa_max_expiration;     /* seconds, 0: no limit */
    bool sa_extend_off;            /* do not extend kubelet's one-hour tokens to a year */
    bool anonymous_off, anonymous_given; /* --anonymous-auth was given at all */
    bool bootstrap_tokens;
    const char *proxy_user_headers, *proxy_uid_headers, *proxy_group_headers, *proxy_extra_prefixes; /* comma lists; NULL: X-Remote-... */
    const char *sa_more_issuers;   /* comma list: their tokens are taken, too, but not made */
    const char *token_file;        /* --token-auth-file */
    const char *authn_config;      /* --authentication-config */
    struct oidc_flags oidc;
    struct review_flags token_webhook; /* yes_ttl_ns: two minutes */
    const char *authorization;     /* "Node,RBAC"; "AlwaysAllow" switches it off */
    const char *authz_config;      /* --authorization-config, in place of it */
    const char *authz_policy;      /* lines for ABAC */
    struct review_flags authz_webhook; /* five minutes, thirty seconds */

    /* admission */
    const char *admission_config; /* AdmissionConfiguration file; NULL: none */
    const char *admission_on, *admission_off; /* comma lists on top of the defaults */

    /* towards nodes; files */
    const char
        *kubelet_ca; /* NULL: kubelet serving certificates are not verified by a CA but refused (D10) */
    const char *kubelet_cert, *kubelet_key;
    bool proxy_local;         /* pods/proxy and services/proxy may lead to loopback and link-local addresses (tests) */
    bool kubelet_insecure;    /* do not verify the kubelet's certificate: upstream's default without a CA */

    /* services */
    const char *service_cidr;     /* comma list; NULL: "10.96.0.0/12" */
    int node_port_first, node_port_last; /* 0: 30000, 32767 */

    /* limits; 0: default */
    unsigned max_in_flight;          /* [400] reads */
    unsigned max_mutating_in_flight; /* [200] */
    bool fairness_off;               /* no priority and fairness: the two bounds above hold */
    unsigned max_watches;            /* [20000] */
    size_t max_body;                 /* [3 MiB] */
    int64_t min_request_timeout;     /* seconds, [1800]: watches end between that and twice that */

    int64_t request_timeout;         /* ns [60 s] for requests that do not last as long as their client likes */
    unsigned max_streams;            /* requests of one HTTP/2 connection at once [250] */
    double goaway_chance;            /* of a request to end its HTTP/2 connection [0] */
    const char *hsts;                /* value of Strict-Transport-Security; NULL: not sent */
    int64_t tolerate_not_ready, tolerate_unreachable; /* seconds that pods get by default [300]; -1: none at once */

    /* the end; ns */
    int64_t shutdown_delay;          /* [0] served as ever, but not ready */
    int64_t watch_grace;             /* [0] watches have that long after requests have ended */
    bool send_retry_after;           /* answer 429 while the last requests are worked on, rather than closing the door */
    int64_t livez_grace;             /* [0] alive that long though the server has not begun to answer */
    const struct flag_text *flags;   /* client/zpages.h, for /flagz; NULL: none */

    int64_t event_ttl; /* seconds, [3600]: Events go that long after they were last seen; -1: never */

    struct audit_config audit;
    const char *encryption; /* EncryptionConfiguration file; NULL: none */
    const char *git_version; /* NULL: "v1.37.2+cube" */
};

/* Reads the store, makes the bootstrap objects, listens. Waits. The texts of the configuration must outlive
 * it. */
int apiserver_start(const struct apiserver_config *config, struct apiserver **ret, struct err *e);
/* The address it listens on ("127.0.0.1:38123"), e.g. to learn the port after ":0". */
int apiserver_address(const struct apiserver *s, char *ret, size_t size);
/* Bootstrap objects are there and requests are answered. */
bool apiserver_ready(const struct apiserver *s);
/* Reads the certificate and CA files again: new connections use them. */
int apiserver_reload(struct apiserver *s, struct err *e);
/* Its HTTP server, for tests that serve a stream of their own. */
struct http_server *apiserver_http(struct apiserver *s);
/* Ends as upstream's does: not ready at once, served for shutdown_delay, then no new requests, waits for those in flight as long as
 * one may take; watches have watch_grace. apiserver_stop comes after it. */
void apiserver_wind_down(struct apiserver *s);
/* Ends watches, waits for the requests in flight at most that long, frees. NULL is fine. */
void apiserver_stop(struct apiserver *s, int64_t grace_ns);

/* The command: parses upstream's flags, opens the store, serves until a signal. Returns the exit code. */
int apiserver_main(int argc, char **argv);
