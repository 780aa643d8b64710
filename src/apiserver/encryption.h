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
struct kms;

/* -EINVAL with the field in the sentence. server: who we are, for metrics. */
int encryption_load(const char *path, const char *server, struct encryption **ret, struct err *e);
void encryption_free(struct encryption *e); /* NULL is fine */
/* Starts talking to key services (kms.h), if there are any; keys of s are sealed anew when one of them turns its own. Waits. */
void encryption_start(struct encryption *enc, struct apiserver *s);
/* Asks key services for the keys that opening missed (seal_decrypt said -EAGAIN). Waits; enc may go meanwhile. */
int encryption_fetch(const struct encryption *enc, struct err *e);
/* Are the key services well? 0 also without any. Waits; enc may go meanwhile. */
int encryption_health(const struct encryption *enc, struct err *e);
bool encryption_has_services(const struct encryption *enc);
void encryption_metrics(const struct encryption *enc, struct buf *b);
/* The keys of a kind; without any (plain) when none are configured for it. enc may be NULL. */
const struct seal *encryption_of(const struct encryption *enc, const struct resource *res);

/* Seals the values of the puts among ops, whose cookies are their objects; new texts in the arena. Right before a transaction. */
int encryption_seal(struct apiserver *s, struct arena *a, struct store_op *ops, size_t n, struct err *e);

/* A fiber: seals anew what is not sealed with the first key of its kind, once. */
void encryption_refresh(void *apiserver);
