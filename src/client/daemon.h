/* SPDX-License-Identifier: Apache-2.0 */
/* What every part has in common when it runs as a program of its own: flags, log level, a client, an end by
 * signal. */
#pragma once

#include "base/flags.h"
#include "base/log.h"
#include "client/client.h"
#include "client/serving.h"

/* Flags that every daemon of upstream takes. */
struct daemon_flags {
    const char *kubeconfig, *master, *version;
    struct log_config log;
};

/* l: a struct log_config. */
#define LOGGING_FLAGS(l)                                                                                                          \
    {"v", 'v', FLAG_INT, &(l)->verbosity, "how much to log: 0 to 10"},                                                            \
        {"vmodule", 0, FLAG_STRING, &(l)->vmodule, "pattern=N,...: how much for components that fit"},                            \
        {"logging-format", 0, FLAG_STRING, &(l)->format, "text or json (text)"},                                                  \
        {"log-text-split-stream", 0, FLAG_BOOL, &(l)->split_text, "text: errors to standard error, the rest to standard output"}, \
        {"log-json-split-stream", 0, FLAG_BOOL, &(l)->split_json, "the same for json"},                                           \
        FLAG_NO_EFFECT("log-flush-frequency", "lines are written at once"),                                                       \
        FLAG_NO_EFFECT("log-text-info-buffer-size", "lines are written at once"),                                                 \
        FLAG_NO_EFFECT("log-json-info-buffer-size", "lines are written at once")

/* Versions and features. */
#define RELEASE_FLAGS(version_)                                                                                           \
    {"version", 0, FLAG_STRING, (version_), "print the version and end", "true"},                                         \
        FLAG_NO_EFFECT("feature-gates", "features are those that are on in v1.37 by default; a gate changes none"),       \
        FLAG_ONLY("emulated-version", "|1.37|kube=1.37|kube=v1.37", "this is v1.37 and nothing else"),                    \
        FLAG_ONLY("min-compatibility-version", "|1.36|kube=1.36|1.37|kube=1.37", "this is v1.37, which reads what v1.36 wrote")

#define METRICS_FLAGS                                                                                                    \
    FLAG_ONLY("allow-metric-labels", "|[]", "the labels of metrics are bounded already"),                                \
        FLAG_ONLY("allow-metric-labels-manifest", "", "the labels of metrics are bounded already"),                      \
        FLAG_ONLY("disabled-metrics", "|[]", "metrics cannot be switched off one by one"),                               \
        FLAG_NO_EFFECT("show-hidden-metrics-for-version", "no metric is hidden")

#define PROFILING_FLAGS                                                                                                  \
    FLAG_NO_EFFECT_BOOL("profiling", "there is no profiler in the program: perf(1) looks at it from outside"),           \
        FLAG_NO_EFFECT_BOOL("contention-profiling", "one thread runs the program; there are no locks to profile")

#define DAEMON_FLAGS(d)                                                                                                  \
    {"kubeconfig", 0, FLAG_STRING, &(d)->kubeconfig, "kubeconfig file with the way to the API server"},                  \
        {"master", 0, FLAG_STRING, &(d)->master, "address of the API server; goes before the kubeconfig's"},             \
        LOGGING_FLAGS(&(d)->log), RELEASE_FLAGS(&(d)->version), METRICS_FLAGS, PROFILING_FLAGS

/* How upstream's programs pace their requests. */
#define CLIENT_PACE_FLAGS                                                                                                \
    FLAG_NO_EFFECT("kube-api-qps", "requests are not paced: the API server's priority and fairness is what shares out"), \
        FLAG_NO_EFFECT("kube-api-burst", "requests are not paced"),                                                      \
        FLAG_NO_EFFECT("kube-api-content-type", "protobuf wherever it is served")

/* What upstream's programs serve for themselves (serving.h); s: a struct serving_flags. */
#define SERVING_FLAGS(s)                                                                                                             \
    {"bind-address", 0, FLAG_STRING, &(s)->bind, "address to serve health, metrics, statusz and flagz on (0.0.0.0)"},                \
        {"secure-port", 0, FLAG_INT, &(s)->port, "port for that; 0: none"},                                                          \
        {"tls-cert-file", 0, FLAG_STRING, &(s)->cert, "certificate to serve with; without one it is of its own making"},             \
        {"tls-private-key-file", 0, FLAG_STRING, &(s)->key, "its key"},                                                              \
        {"client-ca-file", 0, FLAG_STRING, &(s)->client_ca, "CAs of clients that are trusted"},                                      \
        {"authorization-always-allow-paths", 0, FLAG_STRINGS, &(s)->open, "pages for everybody (/healthz,/readyz,/livez)"},          \
        FLAG_NO_EFFECT("authentication-kubeconfig", SAME_WAY), FLAG_NO_EFFECT("authorization-kubeconfig", SAME_WAY),                 \
        FLAG_NO_EFFECT_BOOL("authentication-skip-lookup", LOOKUP), FLAG_NO_EFFECT_BOOL("authentication-tolerate-lookup-failure", LOOKUP), \
        FLAG_NO_EFFECT("authentication-token-webhook-cache-ttl", "answers are kept for two minutes"),                                \
        FLAG_NO_EFFECT("authorization-webhook-cache-authorized-ttl", "answers are kept for five minutes"),                           \
        FLAG_NO_EFFECT("authorization-webhook-cache-unauthorized-ttl", "answers are kept for 30 seconds"),                           \
        FLAG_NO_EFFECT("requestheader-client-ca-file", NO_FRONT_PROXY), FLAG_NO_EFFECT("requestheader-allowed-names", NO_FRONT_PROXY), \
        FLAG_NO_EFFECT("requestheader-uid-headers", NO_FRONT_PROXY), FLAG_NO_EFFECT("requestheader-group-headers", NO_FRONT_PROXY),  \
        FLAG_NO_EFFECT("requestheader-extra-headers-prefix", NO_FRONT_PROXY),                                                        \
        FLAG_NO_EFFECT("requestheader-username-headers", NO_FRONT_PROXY),                                                            \
        FLAG_NO_EFFECT("cert-dir", "a certificate of its own making is kept in memory"),                                             \
        FLAG_ONLY("tls-min-version", "|VersionTLS12", "TLS 1.2 and 1.3 are spoken"),                                                 \
        FLAG_NO_EFFECT("tls-cipher-suites", "AEAD suites with forward secrecy only, whatever is listed"),                            \
        FLAG_NO_EFFECT("tls-curve-preferences", "the library's"),                                                                    \
        FLAG_ONLY("tls-sni-cert-key", "|[]", "there is one certificate: --tls-cert-file"),                                           \
        FLAG_ONLY_BOOL("disable-http2-serving", "false", "HTTP/2 is always offered; its attacks are bounded"),                       \
        FLAG_NO_EFFECT("http2-max-streams-per-connection", "250 requests of one connection at once"),                                \
        FLAG_ONLY_BOOL("permit-address-sharing", "false", "addresses are not shared"),                                               \
        FLAG_ONLY_BOOL("permit-port-sharing", "false", "ports are not shared")
#define SAME_WAY "the API server is asked by --kubeconfig"
#define LOOKUP "clients' CAs come by --client-ca-file only"
#define NO_FRONT_PROXY "nobody stands in front of it"

struct daemon {
    const char *name; /* "kube-scheduler": in messages, and the user agent */
    const char *about;
    struct flag *flags;
    struct daemon_flags *common;
    /* The part itself, in a fiber that is cancelled at SIGINT and SIGTERM. 0, -ECANCELED, or what went wrong.
     */
    int (*run)(void *arg, struct client *c, struct err *e);
    void *arg;
    /* After the flags were read and before anything is connected: configuration files. NULL: nothing. Positive:
     * that was all that was asked for. */
    int (*prepare)(void *arg, struct err *e);
    struct serving_flags *serving; /* NULL: it serves nothing of its own */
};
/* "Kubernetes v1.37.2+cube", as --version prints it. */
const char *daemon_version(void);
/* Parses, connects, runs, ends. Returns the exit code: 0, 1 (failed), 2 (bad flags). */
int daemon_main(const struct daemon *d, int argc, char **argv);
