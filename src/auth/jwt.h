/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON Web Tokens (RFC 7519, compact form): signed with ES256 (our keys) or RS256 (keys from elsewhere),
 * verified with ES256/384/512, RS256/384/512 and PS256/384/512. Keys are parsed once; the algorithm follows from the
 * key, never from the token alone ("none" and HMAC do not exist here).
 */
#pragma once

#include "auth/x509.h"
#include "wire/value.h"

struct jwt_key; /* a key with its id */

/* The id is Kubernetes': base64url of SHA-256 of the public key's DER. */
struct jwt_key *jwt_key_new(const struct x509_key *k);
const char *jwt_key_id(const struct jwt_key *k);
void jwt_key_free(struct jwt_key *k);

/* Keys to verify with. */
struct jwt_keys {
    struct jwt_key **keys;
    size_t n;
};
int jwt_keys_add(struct jwt_keys *ks, struct str pem, struct err *e); /* all keys of a PEM text */
/* Those of a JSON Web Key Set (RFC 7517) that verify signatures: RSA of 2048 bits or more, P-256, P-384, P-521. Others are
 * passed over. -EINVAL when it is none; how many there are is for the caller to look at. */
int jwt_keys_add_set(struct jwt_keys *ks, struct str json, struct err *e);
void jwt_keys_done(struct jwt_keys *ks);
/* The JSON Web Key Set of the public halves: {"keys":[...]}. */
void jwt_keys_json(const struct jwt_keys *ks, struct buf *b);

/* Appends the token. claims: an OBJ or MAP, written as JSON. The key must be private. */
int jwt_sign(const struct jwt_key *k, const struct val *claims, struct buf *b, struct err *e);
/* The claims (in the arena) when the signature is good: 0; -EINVAL not a token; -EACCES no key verifies it.
 * Times, issuer and audience are not looked at. */
int jwt_verify(struct arena *a, const struct jwt_keys *ks, struct str token, const struct val **ret_claims,
               struct err *e);
/* The same for the keys of another issuer: only with one of these algorithms (comma list; NULL: any), and, when the token
 * names a key, with no other than that one. */
int jwt_verify_issued(struct arena *a, const struct jwt_keys *ks, const char *accepted, struct str token, const struct val **ret_claims,
                      struct err *e);
bool jwt_alg_known(struct str name);
/* Claims without any verification: to look at the issuer first. */
int jwt_parse(struct arena *a, struct str token, const struct val **ret_header, const struct val **ret_claims,
              struct err *e);
/* exp, nbf, iat against now with that much leeway (ns): 0 or -EACCES with a sentence. Pure. */
int jwt_check_times(const struct val *claims, struct wall now, int64_t leeway, struct err *e);
/* Of a token of another issuer, as OpenID Connect has it: it must say when it ends, and be valid now, or in `early` ns. */
int jwt_check_issued(const struct val *claims, struct wall now, int64_t early, struct err *e);
/* Does aud (a string or a list) hold it? */
bool jwt_has_audience(const struct val *claims, struct str audience);
