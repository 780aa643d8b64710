/* SPDX-License-Identifier: Apache-2.0 */
/* Flags of upstream's kube-apiserver beside those that say who may come in and what is served (options.c). Private to options.c. */
#pragma once

#include "apiserver/server.h"
#include "client/daemon.h"

/* What upstream counts in other forms. */
struct upstream_options {
    int64_t max_streams, not_ready, unreachable;
    const char *goaway_chance, *version;
    struct flag_list hsts;
    struct log_config log;
    char *hsts_text;
    struct arena arena; /* values of flags */
};
#define UPSTREAM_OPTIONS {.not_ready = 300, .unreachable = 300, .goaway_chance = "0"}


/* c: struct apiserver_config, u: struct upstream_options. */
#define UPSTREAM_FLAGS(c, u)                                                                                                            \
    {"request-timeout", 0, FLAG_DURATION, &(c)->request_timeout, "how long a request may take that is no watch and no stream [1m]"},    \
        {"goaway-chance", 0, FLAG_STRING, &(u)->goaway_chance, "chance of a request to end its HTTP/2 connection, 0 to 0.02"},          \
        {"http2-max-streams-per-connection", 0, FLAG_INT, &(u)->max_streams, "requests of one HTTP/2 connection at once [250]"},        \
        {"strict-transport-security-directives", 0, FLAG_STRINGS, &(u)->hsts, "of the Strict-Transport-Security header; none: no header"}, \
        {"shutdown-delay-duration", 0, FLAG_DURATION, &(c)->shutdown_delay, "at the end: serve that long, but not ready"},              \
        {"shutdown-send-retry-after", 0, FLAG_BOOL, &(c)->send_retry_after, "at the end: answer 429 while the last requests are worked on"}, \
        {"shutdown-watch-termination-grace-period", 0, FLAG_DURATION, &(c)->watch_grace, "at the end: watches have that long"},         \
        {"livez-grace-period", 0, FLAG_DURATION, &(c)->livez_grace, "at the begin: alive that long without being complete"},            \
        {"default-not-ready-toleration-seconds", 0, FLAG_INT, &(u)->not_ready, "how long pods stay on a node that is not ready"},       \
        {"default-unreachable-toleration-seconds", 0, FLAG_INT, &(u)->unreachable, "how long pods stay on a node that is silent"},      \
        LOGGING_FLAGS(&(u)->log), RELEASE_FLAGS(&(u)->version), METRICS_FLAGS, PROFILING_FLAGS,                                         \
        FLAG_ONLY("cors-allowed-origins", "", "no page of another origin is let in: put a proxy in front that says who may"),           \
        FLAG_ONLY_BOOL("emulation-forward-compatible", "false", "this is v1.37 and nothing else"),                                      \
        FLAG_ONLY_BOOL("runtime-config-emulation-forward-compatible", "false", "this is v1.37 and nothing else"),                       \
        FLAG_NO_EFFECT("external-hostname", "the name that a client asked by is used"),                                                 \
        FLAG_NO_EFFECT("storage-initialization-timeout", "etcd has 20 seconds to answer"), FLAG_NO_EFFECT("delete-collection-workers", "one after the other"),  \
        FLAG_ONLY_BOOL("enable-garbage-collector", "true", "owners and finalizers are always observed"),                                \
        FLAG_ONLY("storage-media-type", "application/vnd.kubernetes.protobuf", "objects are stored as protobuf, custom ones as JSON"),  \
        FLAG_ONLY_BOOL("watch-cache", "true", "everything is read from it"),                                                            \
        FLAG_NO_EFFECT("watch-cache-sizes", "events are kept for 75 seconds"),                                                          \
        FLAG_ONLY_BOOL("disable-http2-serving", "false", "HTTP/2 is always offered; its attacks are bounded"),                          \
        FLAG_ONLY_BOOL("permit-address-sharing", "false", "addresses are not shared"),                                                  \
        FLAG_ONLY_BOOL("permit-port-sharing", "false", "ports are not shared"),                                                         \
        FLAG_ONLY("tls-min-version", "|VersionTLS12", "TLS 1.2 and 1.3 are spoken"),                                                    \
        FLAG_NO_EFFECT("tls-cipher-suites", "AEAD suites with forward secrecy only, whatever is listed"),                               \
        FLAG_NO_EFFECT("tls-curve-preferences", "the library's"),                                                                       \
        FLAG_ONLY("tls-sni-cert-key", "|[]", "there is one certificate: --tls-cert-file"),                                              \
        FLAG_NO_EFFECT("cert-dir", "certificates are given: --tls-cert-file"),                                                          \
        FLAG_ONLY_BOOL("audit-log-compress", "false", "rotated logs are not compressed"),                                               \
        FLAG_ONLY_BOOL("audit-log-truncate-enabled", "false", "events are not cut"),                                                    \
        FLAG_NO_EFFECT("audit-log-truncate-max-batch-size", "events are not cut"),                                                      \
        FLAG_NO_EFFECT("audit-log-truncate-max-event-size", "events are not cut"),                                                      \
        FLAG_ONLY_BOOL("audit-webhook-truncate-enabled", "false", "events are not cut"),                                                \
        FLAG_NO_EFFECT("audit-webhook-truncate-max-batch-size", "events are not cut"),                                                  \
        FLAG_NO_EFFECT("audit-webhook-truncate-max-event-size", "events are not cut"),                                                  \
        FLAG_ONLY("debug-socket-path", "", "there is no profiler to be reached by a socket"),                                           \
        FLAG_ONLY("egress-selector-config-file", "", "there are no tunnels (Konnectivity): nodes, pods and services are reached directly"), \
        FLAG_ONLY("admission-control", "|[]", "deprecated since v1.10: use --enable-admission-plugins and --disable-admission-plugins"), \
        FLAG_NO_EFFECT("coordinated-leadership-lease-duration", "nobody is elected by the API server: clients are, by leases"),         \
        FLAG_NO_EFFECT("coordinated-leadership-renew-deadline", "nobody is elected by the API server"),                                 \
        FLAG_NO_EFFECT("coordinated-leadership-retry-period", "nobody is elected by the API server"),                                   \
        FLAG_ONLY_BOOL("enable-logs-handler", "false", "the machine's log files are not served"),                                       \
        FLAG_NO_EFFECT("kubelet-timeout", "a request that goes on to a kubelet has its own time"),                                      \
        FLAG_ONLY("kubernetes-service-node-port", "0", "the kubernetes Service has a cluster address only"),                            \
        FLAG_ONLY("max-connection-bytes-per-sec", "0", "connections are not throttled"),                                                \
        FLAG_ONLY("peer-advertise-ip", "", "API servers do not go on to each other"),                                                   \
        FLAG_ONLY("peer-advertise-port", "", "API servers do not go on to each other"),                                                 \
        FLAG_ONLY("peer-ca-file", "", "API servers do not go on to each other"), \
        FLAG_ONLY_BOOL("aggregator-reject-forwarding-redirect", "true", "redirects of extension servers are not followed"), \
        {"admission-control-config-file", 0, FLAG_STRING, &(c)->admission_config, "AdmissionConfiguration file: settings of PodSecurity"}, \
        FLAG_ONLY("tracing-config-file", "", "there is no tracing yet")
