/* SPDX-License-Identifier: Apache-2.0 */
/* What /metrics says of authentication and authorisation, under upstream's names. */
#include "apiserver/auth_state.h"

#include <stdio.h>

#include "apiserver/authz_webhook.h"
#include "apiserver/issuer_keys.h"
#include "auth/crypto.h"

static const double bounds[AUTH_BUCKETS] = {0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 4.096};

void auth_count(struct auth_histogram *h, int64_t ns)
{
    double s = (double)ns / (double)NSEC_PER_SEC;
    h->n++;
    h->seconds += s;
    for (int i = 0; i < AUTH_BUCKETS; i++)
        h->buckets[i] += s <= bounds[i];
}

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_count(struct buf *b, const char *name, const char *labels, uint64_t n)
{
    buf_printf(b, "%s{%s} %llu\n", name, labels, (unsigned long long)n);
}

static void put_histogram(struct buf *b, const char *name, const char *labels, const struct auth_histogram *h)
{
    for (int i = 0; i < AUTH_BUCKETS; i++)
        buf_printf(b, "%s_bucket{%s,le=\"%g\"} %llu\n", name, labels, bounds[i], (unsigned long long)h->buckets[i]);
    buf_printf(b, "%s_bucket{%s,le=\"+Inf\"} %llu\n", name, labels, (unsigned long long)h->n);
    buf_printf(b, "%s_sum{%s} %g\n%s_count{%s} %llu\n", name, labels, h->seconds, name, labels, (unsigned long long)h->n);
}

static void put_outcomes(struct buf *b, const char *counter, const char *histogram, const struct auth_histogram *h, const char *const *names)
{
    char labels[64];
    head(b, counter, "counter", "Attempts by how they ended.");
    for (int i = 0; i < AUTH_OUTCOMES; i++) {
        snprintf(labels, sizeof(labels), "result=\"%s\"", names[i]);
        put_count(b, counter, labels, h[i].n);
    }
    head(b, histogram, "histogram", "How long attempts took, by how they ended.");
    for (int i = 0; i < AUTH_OUTCOMES; i++) {
        snprintf(labels, sizeof(labels), "result=\"%s\"", names[i]);
        put_histogram(b, histogram, labels, &h[i]);
    }
}

/* ---- authorizers ---------------------------------------------------------------------------------------- */

static void put_decisions(struct buf *b, const struct authz_chain *c)
{
    char labels[512];
    static const char name[] = "apiserver_authorization_decisions_total";
    head(b, name, "counter", "Terminal decisions by authorizer.");
    for (size_t i = 0; i < c->n; i++) {
        const struct authorizer *z = &c->items[i];
        for (int yes = 0; yes < 2; yes++) {
            snprintf(labels, sizeof(labels), "decision=\"%s\",name=\"%s\",type=\"%s\"", yes ? "allowed" : "denied", z->name, authz_kind_names[z->kind]);
            put_count(b, name, labels, yes ? z->allowed : z->denied);
        }
    }
}

static void put_hook_results(struct buf *b, const struct authz_chain *c, const char *name, bool open)
{
    char labels[512];
    for (size_t i = 0; i < c->n; i++)
        for (int k = 0; c->items[i].webhook && k < HOOK_RESULTS; k++) {
            const struct authz_hook_counts *n = authz_webhook_counts(c->items[i].webhook);
            snprintf(labels, sizeof(labels), "name=\"%s\",result=\"%s\"", c->items[i].name, authz_hook_results[k]);
            put_count(b, name, labels, open ? n->fail_open[k] : n->evaluations[k]);
        }
}

static void put_hooks(struct buf *b, const struct authz_chain *c)
{
    char labels[512];
    head(b, "apiserver_authorization_webhook_evaluations_total", "counter", "Questions to authorization webhooks by how they ended.");
    put_hook_results(b, c, "apiserver_authorization_webhook_evaluations_total", false);
    head(b, "apiserver_authorization_webhook_evaluations_fail_open_total", "counter", "Webhooks that were passed over since they could not be asked.");
    put_hook_results(b, c, "apiserver_authorization_webhook_evaluations_fail_open_total", true);
    head(b, "apiserver_authorization_webhook_duration_seconds", "histogram", "How long webhooks took.");
    for (size_t i = 0; i < c->n; i++)
        for (int k = 0; c->items[i].webhook && k < HOOK_RESULTS; k++) {
            snprintf(labels, sizeof(labels), "name=\"%s\",result=\"%s\"", c->items[i].name, authz_hook_results[k]);
            put_histogram(b, "apiserver_authorization_webhook_duration_seconds", labels, &authz_webhook_counts(c->items[i].webhook)->durations[k]);
        }
}

static void put_conditions(struct buf *b, const struct authz_chain *c)
{
    char labels[512];
    static const char *const names[] = {"apiserver_authorization_match_condition_evaluation_errors_total",
                                        "apiserver_authorization_match_condition_exclusions_total"};
    for (int k = 0; k < 2; k++) {
        head(b, names[k], "counter", k ? "Webhooks that match conditions left out." : "Match conditions that failed.");
        for (size_t i = 0; i < c->n; i++)
            if (c->items[i].webhook) {
                const struct authz_hook_counts *n = authz_webhook_counts(c->items[i].webhook);
                snprintf(labels, sizeof(labels), "name=\"%s\",type=\"Webhook\"", c->items[i].name);
                put_count(b, names[k], labels, k ? n->exclusions : n->match_errors);
            }
    }
    head(b, "apiserver_authorization_match_condition_evaluation_seconds", "histogram", "How long match conditions took.");
    for (size_t i = 0; i < c->n; i++)
        if (c->items[i].webhook) {
            snprintf(labels, sizeof(labels), "name=\"%s\",type=\"Webhook\"", c->items[i].name);
            put_histogram(b, "apiserver_authorization_match_condition_evaluation_seconds", labels, authz_webhook_counts(c->items[i].webhook)->matches);
        }
}

/* ---- issuers and files ---------------------------------------------------------------------------------- */

static void put_issuers(struct buf *b, const struct authn_config *c, const char *server)
{
    char hex[65];
    static const char name[] = "apiserver_authentication_jwt_authenticator_jwks_fetch_last_timestamp_seconds";
    static const char info[] = "apiserver_authentication_jwt_authenticator_jwks_fetch_last_key_set_info";
    head(b, name, "gauge", "When keys of an issuer were last fetched, by how that ended.");
    for (size_t i = 0; i < c->n; i++) {
        const struct issuer_counts *n = issuer_keys_counts(c->issuers[i].keys);
        sha256_hex(c->issuers[i].url, hex);
        const struct wall when[] = {n->last_fetched, n->last_failed};
        for (int k = 0; k < 2; k++)
            if (when[k].ns)
                buf_printf(b, "%s{apiserver_id_hash=\"sha256:%s\",jwt_issuer_hash=\"sha256:%s\",result=\"%s\"} %.3f\n", name, server, hex,
                           k ? "failure" : "success", (double)when[k].ns / (double)NSEC_PER_SEC);
    }
    head(b, info, "gauge", "Which keys of an issuer are in use.");
    for (size_t i = 0; i < c->n; i++) {
        const struct issuer_counts *n = issuer_keys_counts(c->issuers[i].keys);
        sha256_hex(c->issuers[i].url, hex);
        if (n->hash[0])
            buf_printf(b, "%s{apiserver_id_hash=\"sha256:%s\",hash=\"sha256:%s\",jwt_issuer_hash=\"sha256:%s\"} 1\n", info, server, n->hash, hex);
    }
}

static void put_reloads(struct buf *b, const char *what, const struct reload_counts *c, const char *server)
{
    char name[128];
    snprintf(name, sizeof(name), "apiserver_%s_config_controller_automatic_reloads_total", what);
    head(b, name, "counter", "Changes of the configuration file that were taken up, or not.");
    for (int bad = 0; bad < 2; bad++)
        if (bad ? c->bad : c->good)
            buf_printf(b, "%s{apiserver_id_hash=\"sha256:%s\",status=\"%s\"} %llu\n", name, server, bad ? "failure" : "success",
                       (unsigned long long)(bad ? c->bad : c->good));
    snprintf(name, sizeof(name), "apiserver_%s_config_controller_automatic_reload_last_timestamp_seconds", what);
    head(b, name, "gauge", "When that was.");
    for (int bad = 0; bad < 2; bad++)
        if (bad ? c->bad : c->good)
            buf_printf(b, "%s{apiserver_id_hash=\"sha256:%s\",status=\"%s\"} %.3f\n", name, server, bad ? "failure" : "success",
                       (double)(bad ? c->last_bad : c->last_good).ns / (double)NSEC_PER_SEC);
}

static void put_impersonation(struct buf *b, const struct auth_state *a)
{
    static const char *const modes[IMPERSONATION_MODES] = {"associated-node", "arbitrary-node", "serviceaccount", "user-info", "legacy"};
    char labels[96];
    head(b, "apiserver_impersonation_attempts_total", "counter", "Impersonation by mode and decision.");
    for (int i = 0; i < IMPERSONATION_MODES; i++) {
        snprintf(labels, sizeof(labels), "decision=\"allowed\",mode=\"%s\"", modes[i]);
        put_count(b, "apiserver_impersonation_attempts_total", labels, a->impersonated[i]);
    }
    put_count(b, "apiserver_impersonation_attempts_total", "decision=\"denied\",mode=\"\"", a->not_impersonated);
}

void auth_metrics(struct apiserver *s, struct buf *b)
{
    static const char *const authn[] = {"success", "failure", "error"}, *const authz[] = {"allowed", "denied", "error"};
    const struct auth_state *a = s->auth;
    char server[65];
    sha256_hex(str_of(s->instance), server);
    put_outcomes(b, "authentication_attempts", "authentication_duration_seconds", a->authentications, authn);
    put_outcomes(b, "authorization_attempts_total", "authorization_duration_seconds", a->authorizations, authz);
    put_decisions(b, a->authz);
    put_hooks(b, a->authz);
    put_conditions(b, a->authz);
    put_issuers(b, a->authn, server);
    put_reloads(b, "authentication", &a->authn_reloads, server);
    put_reloads(b, "authorization", &a->authz_reloads, server);
    put_impersonation(b, a);
}
