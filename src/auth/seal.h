/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encryption of stored objects at rest, in the formats of upstream's EncryptionConfiguration, so that either
 * side reads what the other wrote:  k8s:enc:<provider>:v1:<key name>:<bytes>. aesgcm     nonce (12) |
 * ciphertext | tag (16); the storage path is authenticated aescbc     IV (16) | ciphertext, PKCS#7 (reading
 * old data; no integrity) secretbox  nonce (24) | XSalsa20-Poly1305
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"

enum seal_kind { SEAL_IDENTITY, SEAL_AESGCM, SEAL_AESCBC, SEAL_SECRETBOX };

struct seal_key {
    enum seal_kind kind;
    const char *name;  /* of the key; "" for identity */
    struct str secret; /* 16, 24 or 32 bytes; secretbox 32 */
};

/* The keys for one kind of resource: the first encrypts, all decrypt. */
struct seal {
    struct seal_key *keys;
    size_t n;
};

bool seal_is_sealed(struct str value); /* by some provider */
int seal_check(const struct seal_key *k, struct err *e); /* length of the secret, characters of the name */
/* Appends the sealed form of plain, for that storage path (the etcd key). */
int seal_encrypt(const struct seal *s, struct str path, struct str plain, struct buf *b, struct err *e);
/* Appends the plain form. *ret_stale (may be NULL): sealed by another than the first key, rewrite when
 * convenient. -EBADMSG: no key opens it. */
int seal_decrypt(const struct seal *s, struct str path, struct str sealed, struct buf *b, bool *ret_stale,
                 struct err *e);
