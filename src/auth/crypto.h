/* SPDX-License-Identifier: Apache-2.0 */
/* Small cryptographic helpers over OpenSSL. */
#pragma once

#include "base/arena.h"
#include "base/base64.h"

void sha256(struct str s, uint8_t ret[static 32]);
/* Lower-case hexadecimal of SHA-256 with NUL: 65 bytes. */
char *sha256_hex(struct str s, char ret[static 65]);
void hmac_sha256(struct str key, struct str s, uint8_t ret[static 32]);
/* Equal? In time that depends on the lengths only. */
bool secret_eq(struct str a, struct str b);
/* Overwrites memory that held a secret. */
void secret_wipe(void *p, size_t n);
/* n random characters of the alphabet bcdfghjklmnpqrstvwxz2456789 (names) in the arena. */
char *random_name(struct arena *a, size_t n);
/* n random characters of [0-9a-z] (bootstrap tokens, kubeadm's alphabet). */
char *random_token(struct arena *a, size_t n);
