/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encryption of stored objects at rest, in the formats of upstream's EncryptionConfiguration, so that either
 * side reads what the other wrote:  k8s:enc:<provider>:v1:<key name>:<bytes>.
 *     aesgcm     nonce (12) | ciphertext | tag (16); the storage path is authenticated
 *     aescbc     IV (16) | ciphertext, PKCS#7 (reading old data; no integrity)
 *     secretbox  nonce (24) | XSalsa20-Poly1305
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"

enum seal_kind { SEAL_IDENTITY, SEAL_AESGCM, SEAL_AESCBC, SEAL_SECRETBOX, SEAL_KMS };

/* A key service (KMS v2) behind  k8s:enc:kms:v2:<name>:. Neither function waits. */
struct seal_service {
    int (*encrypt)(void *ctx, struct str path, struct str plain, struct buf *b, struct err *e);
    /* -EAGAIN: the service has to be asked for the value's key first. */
    int (*decrypt)(void *ctx, struct str path, struct str sealed, struct buf *b, bool *ret_stale, struct err *e);
    void *ctx;
};

struct seal_key {
    enum seal_kind kind;
    const char *name;  /* of the key, or of the service; "" for identity */
    struct str secret; /* 16, 24 or 32 bytes; secretbox 32 */
    const struct seal_service *service; /* SEAL_KMS */
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
 * convenient. -EBADMSG: no key opens it; -EAGAIN: its key has to be asked for (struct seal_service). */
int seal_decrypt(const struct seal *s, struct str path, struct str sealed, struct buf *b, bool *ret_stale,
                 struct err *e);

/* What a data key of KMS v2 seals: nonce (12) | ciphertext | tag (16); and a data key made for each value out of a seed
 * (HKDF-Expand, SHA-256, RFC 5869) and 32 random bytes that stand before that. 0, -EIO, -EBADMSG. */
enum { SEAL_SEED = 32 };
int seal_gcm_decrypt(struct str key, struct str path, struct str sealed, struct buf *b);
int seal_seed_encrypt(struct str seed, struct str path, struct str plain, struct buf *b);
int seal_seed_decrypt(struct str seed, struct str path, struct str sealed, struct buf *b);
