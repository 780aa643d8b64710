/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One key service: a plug-in that speaks KMS v2 (KEP-3299) on a unix socket. It seals a seed that is made here; a key for each
 * value comes out of the seed (auth/seal.h), so that the plug-in is asked once, not once a value. Its status is asked for every
 * minute: another key id means a new seed, and when it has not been well for three minutes nothing is sealed any more.
 */
#pragma once

#include "auth/seal.h"
#include "base/time.h"

struct kms;

struct kms_config {
    const char *name;     /* without colons */
    const char *endpoint; /* "unix:///path", "unix:///@abstract" */
    int64_t timeout;      /* of one call */
    const char *server;   /* who we are, for metrics */
    int64_t poll;         /* [1 min] between two questions for the status of one that is well */
};

/* 0, or -EINVAL with the field in the sentence. */
int kms_check_config(const struct kms_config *c, struct err *e);
struct kms *kms_new(const struct kms_config *c); /* copies; with one reference */
struct kms *kms_ref(struct kms *k);
void kms_unref(struct kms *k); /* NULL is fine */
/* Asks for the status once (waits), then in a fiber of its own until kms_stop; turned is told of every new seed but the first. */
void kms_start(struct kms *k, void (*turned)(void *arg), void *arg);
void kms_stop(struct kms *k);

const struct seal_service *kms_service(struct kms *k);
/* Asks for the keys that opening missed: 0, or the first failure. Waits. */
int kms_fetch(struct kms *k, struct err *e);
/* Is the plug-in well? An answer is good for 20 seconds, a bad one for 3. Waits. */
int kms_health(struct kms *k, struct err *e);
/* May values be sealed at that moment? 0, or -EIO with why not. */
int kms_may_seal(const struct kms *k, struct mono now, struct err *e);

/* Rows of upstream's apiserver_envelope_encryption_*. */
void kms_metrics(struct kms *const *all, size_t n, struct buf *b);
