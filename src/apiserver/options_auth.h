/* SPDX-License-Identifier: Apache-2.0 */
/* The command's flags that say who may come in, and what they may do. Private to options.c. */
#pragma once

#include "apiserver/server.h"
#include "base/flags.h"

struct auth_options {
    struct flag_list issuers, sa_keys, audiences, modes, proxy_names, proxy_users, proxy_uids, proxy_groups, proxy_extras, oidc_algs, oidc_claims;
    const char *signing_endpoint;
    bool anonymous, extend;
    int64_t max_token_life, token_ttl, yes_ttl, no_ttl;
    char *lists[10]; /* joined, malloc'd */
    const char **required;
};

#define AUTH_OPTIONS_INIT {.anonymous = true, .extend = true, .token_ttl = SECONDS(120), .yes_ttl = SECONDS(300), .no_ttl = SECONDS(30)}

#define AUTH_FLAGS(c, o)                                                                                                             \
    {"requestheader-client-ca-file", 0, FLAG_STRING, &(c)->front_proxy_ca, "CA bundle for front proxies"},                            \
        {"requestheader-allowed-names", 0, FLAG_STRINGS, &(o)->proxy_names, "common names of front proxies"},                         \
        {"requestheader-username-headers", 0, FLAG_STRINGS, &(o)->proxy_users, "headers with the user's name [X-Remote-User]"},       \
        {"requestheader-uid-headers", 0, FLAG_STRINGS, &(o)->proxy_uids, "headers with the user's uid [X-Remote-Uid]"},               \
        {"requestheader-group-headers", 0, FLAG_STRINGS, &(o)->proxy_groups, "headers with groups [X-Remote-Group]"},                 \
        {"requestheader-extra-headers-prefix", 0, FLAG_STRINGS, &(o)->proxy_extras, "prefixes of headers with more [X-Remote-Extra-]"}, \
        {"service-account-key-file", 0, FLAG_STRINGS, &(o)->sa_keys, "keys to verify service account tokens with"},                   \
        {"service-account-signing-key-file", 0, FLAG_STRING, &(c)->sa_signing_key, "key to sign them with"},                          \
        {"service-account-signing-endpoint", 0, FLAG_STRING, &(o)->signing_endpoint, "not supported: use --service-account-signing-key-file"}, \
        {"service-account-issuer", 0, FLAG_ARRAY, &(o)->issuers, "issuer of service account tokens; further ones are taken, too"},    \
        {"service-account-jwks-uri", 0, FLAG_STRING, &(c)->sa_jwks_uri, "where the keys are published"},                              \
        {"service-account-max-token-expiration", 0, FLAG_DURATION, &(o)->max_token_life, "longest life of a token"},                  \
        {"service-account-extend-token-expiration", 0, FLAG_BOOL, &(o)->extend, "let kubelet tokens live longer", "true"},            \
        FLAG_ONLY_BOOL("service-account-lookup", "true", "what a token names is always looked up"),                                             \
        {"api-audiences", 0, FLAG_STRINGS, &(o)->audiences, "audiences of this server"},                                              \
        {"anonymous-auth", 0, FLAG_BOOL, &(o)->anonymous, "let requests without credentials in as system:anonymous", "true"},         \
        {"enable-bootstrap-token-auth", 0, FLAG_BOOL, &(c)->bootstrap_tokens, "accept bootstrap tokens", "true"},                     \
        {"token-auth-file", 0, FLAG_STRING, &(c)->token_file, "CSV file of tokens: token,user,uid,\"group,...\""},                    \
        {"authentication-config", 0, FLAG_STRING, &(c)->authn_config, "AuthenticationConfiguration: issuers of tokens, anonymous requests"}, \
        {"oidc-issuer-url", 0, FLAG_STRING, &(c)->oidc.issuer, "issuer of OpenID Connect tokens"},                                    \
        {"oidc-client-id", 0, FLAG_STRING, &(c)->oidc.client, "audience of those tokens"},                                            \
        {"oidc-ca-file", 0, FLAG_STRING, &(c)->oidc.ca, "CA bundle for the issuer's server [the system's]"},                          \
        {"oidc-username-claim", 0, FLAG_STRING, &(c)->oidc.username_claim, "claim with the user's name [sub]"},                       \
        {"oidc-username-prefix", 0, FLAG_STRING, &(c)->oidc.username_prefix, "put before it; - for nothing [the issuer's URL and #]"}, \
        {"oidc-groups-claim", 0, FLAG_STRING, &(c)->oidc.groups_claim, "claim with the user's groups"},                               \
        {"oidc-groups-prefix", 0, FLAG_STRING, &(c)->oidc.groups_prefix, "put before them"},                                          \
        {"oidc-signing-algs", 0, FLAG_STRINGS, &(o)->oidc_algs, "algorithms that tokens may be signed with [RS256]"},                 \
        {"oidc-required-claim", 0, FLAG_ARRAY, &(o)->oidc_claims, "key=value that tokens must have; may be repeated"},                \
        {"authentication-token-webhook-config-file", 0, FLAG_STRING, &(c)->token_webhook.kubeconfig, "kubeconfig file of a webhook that knows tokens"}, \
        {"authentication-token-webhook-version", 0, FLAG_STRING, &(c)->token_webhook.version, "version of TokenReview: v1 or v1beta1 [v1beta1]"}, \
        {"authentication-token-webhook-cache-ttl", 0, FLAG_DURATION, &(o)->token_ttl, "how long its answers are kept [2m]"},          \
        {"authorization-mode", 0, FLAG_STRINGS, &(o)->modes, "authorizers in order: Node, RBAC, ABAC, Webhook, AlwaysAllow, AlwaysDeny"}, \
        {"authorization-config", 0, FLAG_STRING, &(c)->authz_config, "AuthorizationConfiguration, in place of the mode"},             \
        {"authorization-policy-file", 0, FLAG_STRING, &(c)->authz_policy, "policies for ABAC, one a line"},                           \
        {"authorization-webhook-config-file", 0, FLAG_STRING, &(c)->authz_webhook.kubeconfig, "kubeconfig file of a webhook that decides"}, \
        {"authorization-webhook-version", 0, FLAG_STRING, &(c)->authz_webhook.version, "version of SubjectAccessReview: v1 or v1beta1 [v1beta1]"}, \
        {"authorization-webhook-cache-authorized-ttl", 0, FLAG_DURATION, &(o)->yes_ttl, "how long a yes is kept [5m]"},               \
        {"authorization-webhook-cache-unauthorized-ttl", 0, FLAG_DURATION, &(o)->no_ttl, "how long a no is kept [30s]"}

int auth_options_check(const struct apiserver_config *c, const struct auth_options *o, struct err *e);
void auth_options_finish(struct apiserver_config *c, struct auth_options *o, const struct flag *flags);
void auth_options_done(struct auth_options *o);
