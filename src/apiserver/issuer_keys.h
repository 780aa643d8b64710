/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of a token issuer: found by OpenID Connect Discovery 1.0, fetched as a JSON Web Key Set, and fetched again when a
 * token comes that none of them verifies (at most once a second), and every ten minutes while the issuer's tokens are used.
 */
#pragma once

#include "auth/jwt.h"
#include "base/fiber.h"

struct issuer_keys;

struct issuer_counts {
    uint64_t fetched, failed;
    struct wall last_fetched, last_failed;
    char hash[65]; /* SHA-256 of the last key set; empty: none yet */
};

/* issuer: an Issuer of the configuration, valid. Its texts must outlive it. algs: comma list of algorithms, NULL: all there are. */
int issuer_keys_new(const struct val *issuer, const char *algs, struct issuer_keys **ret, struct err *e);
void issuer_keys_free(struct issuer_keys *k); /* NULL is fine; stops its fiber, waits */
void issuer_keys_start(struct issuer_keys *k);
/* Was the issuer found? why: what went wrong last. */
bool issuer_keys_ready(const struct issuer_keys *k, struct err *why);
/* As jwt_verify_issued, and the issuer is the token's. Waits when keys have to be fetched. */
int issuer_keys_verify(struct issuer_keys *k, struct arena *a, struct str token, const struct val **ret_claims, struct err *e);
const struct issuer_counts *issuer_keys_counts(const struct issuer_keys *k);
