/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens from strangers: never accepted unless they are one that we signed. Key sets of issuers: any text may come. */
#include "auth/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char public_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                                 "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9\n"
                                 "q9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==\n"
                                 "-----END PUBLIC KEY-----\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct jwt_keys keys;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str token = str_n((const char *)data, size);
    const struct val *header, *claims;
    struct err e;
    if (!keys.n && jwt_keys_add(&keys, str_of(public_pem), &e) < 0)
        panic("%s", e.text);
    if (jwt_parse(&a, token, &header, &claims, &e) == 0) {
        jwt_check_times(claims, (struct wall){0}, 0, &e);
        jwt_has_audience(claims, STR("api"));
    }
    /* The one good token is in the corpus; nobody can make another without the private key. */
    if (jwt_verify(&a, &keys, token, &claims, &e) == 0)
        ASSERT(str_is(val_str(val_key(claims, STR("sub"))), "1234567890"));
    struct jwt_keys theirs = {0};
    jwt_keys_add_set(&theirs, token, &e);
    if (theirs.n && jwt_verify_issued(&a, &theirs, NULL, STR("e30.e30.AAAA"), &claims, &e) == 0)
        panic("a signature of three bytes");
    jwt_keys_done(&theirs);
    return 0;
}
