/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One JWTAuthenticator of an AuthenticationConfiguration (KEP-3331): whose tokens they are, what their claims have to be like,
 * and which user they stand for. Checked and compiled once; the decision is pure. Its keys are issuer_keys.h's.
 */
#pragma once

#include "apiserver/request.h"
#include "cel/cel.h"

struct issuer_keys;

struct issuer_rule {
    struct str source, message;
    struct str key;              /* of an extra */
    struct cel_program *program; /* NULL: there is no such expression */
};

struct issuer_rules {
    struct issuer_rule *items;
    size_t n;
};

struct issuer {
    const struct val *v; /* the JWTAuthenticator */
    struct str url;
    struct issuer_rule username, groups, uid;
    struct issuer_rules extra, claims, users; /* extra mappings, claim validation, user validation */
    struct issuer_keys *keys;
};

struct issuer_env { /* for the expressions of one configuration */
    struct cel_env *claims, *user;
};
void issuer_env_init(struct issuer_env *env);
void issuer_env_done(struct issuer_env *env);

/* What is wrong goes to st as causes at path ("jwt[0]"). ret is to be freed in any case. own: issuers of service account tokens. */
void issuer_compile(struct arena *a, const struct issuer_env *env, const struct val *v, struct str path, const char *const *own,
                    struct status *st, struct issuer *ret);
void issuer_done(struct issuer *i);

/* The issuer that a token says it is from; empty: it says none. Nothing was verified. */
struct str issuer_of_token(struct arena *a, struct str token);
/* Is one of its audiences in the claims? */
int issuer_check_audience(const struct issuer *i, const struct val *claims, struct err *e);
/* The user that verified claims stand for: 0, or -EACCES with upstream's sentence. */
int issuer_user(const struct issuer *i, struct arena *a, const struct val *claims, struct user *ret, struct err *e);
