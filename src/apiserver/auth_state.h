/* SPDX-License-Identifier: Apache-2.0 */
/* What authentication and authorisation keep between requests. Private to this folder. */
#pragma once

#include "apiserver/answers.h"
#include "apiserver/authn_config.h"
#include "apiserver/authz.h"
#include "apiserver/review_post.h"
#include "apiserver/state.h"

enum { AUTH_BUCKETS = 12 };
struct auth_histogram {
    uint64_t n, buckets[AUTH_BUCKETS];
    double seconds;
};

enum auth_outcome { AUTH_SUCCESS, AUTH_FAILURE, AUTH_ERROR, AUTH_OUTCOMES };
enum impersonation_mode { IMPERSONATE_NODE, IMPERSONATE_ANY_NODE, IMPERSONATE_ACCOUNT, IMPERSONATE_USER, IMPERSONATE_LEGACY, IMPERSONATION_MODES };

struct reload_counts {
    uint64_t good, bad;
    struct wall last_good, last_bad;
    char hash[65]; /* of the file in use */
};

struct auth_state {
    struct authn_config *authn;
    struct authz_chain *authz;
    struct map static_tokens; /* SHA-256 of the token to struct static_token */
    struct map verified;      /* SHA-256 of service account tokens whose signature is good by the keys of now */
    struct review_hook *token_hook;
    struct answers token_answers;
    struct flag_texts user_headers, uid_headers, group_headers, extra_prefixes; /* lower case */

    struct auth_histogram authentications[AUTH_OUTCOMES], authorizations[AUTH_OUTCOMES];
    uint64_t impersonated[IMPERSONATION_MODES], not_impersonated;
    struct reload_counts authn_reloads, authz_reloads;
};

int auth_open(struct apiserver *s, struct err *e);
void auth_close(struct apiserver *s);
/* A fiber: takes up changes of the configuration files within ten seconds. */
void auth_follow(void *apiserver);
/* Now. 0, or what was wrong; then all stays as it was. Waits up to a minute for new issuers' keys. */
int auth_reload(struct apiserver *s, struct err *e);
void auth_metrics(struct apiserver *s, struct buf *b);
void auth_count(struct auth_histogram *h, int64_t ns);

/* static_tokens.c: "token,user,uid,"group,group"" lines. */
int static_tokens_load(const char *path, struct map *ret, struct err *e);
void static_tokens_free(struct map *m);
