/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encryption at rest: apiserver.config.k8s.io/v1 EncryptionConfiguration (--encryption-provider-config), sealed as auth/seal.h
 * has it. Keys are turned by adding a new first one: what is sealed with another is sealed anew in the background.
 */
#pragma once

#include "auth/seal.h"
#include "store/store.h"
#include "type/resource.h"

struct apiserver;
struct encryption;

/* -EINVAL with the field in the sentence. */
int encryption_load(const char *path, struct encryption **ret, struct err *e);
void encryption_free(struct encryption *e); /* NULL is fine */
/* The keys of a kind; without any (plain) when none are configured for it. enc may be NULL. */
const struct seal *encryption_of(const struct encryption *enc, const struct resource *res);

/* Seals the values of the puts among ops, whose cookies are their objects; new texts in the arena. Right before a transaction. */
int encryption_seal(struct apiserver *s, struct arena *a, struct store_op *ops, size_t n, struct err *e);

/* A fiber: seals anew what is not sealed with the first key of its kind, once. */
void encryption_refresh(void *apiserver);
