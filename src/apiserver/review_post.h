/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reviews that webhooks answer (TokenReview, SubjectAccessReview): POSTed to the server that a kubeconfig file names. What
 * comes back as 429, 500, 504 or with a Retry-After, or is cut off, is tried again, five times in all, as upstream.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/time.h"
#include "wire/schema.h"
#include "wire/value.h"

struct review_hook;

int review_hook_open(const char *kubeconfig, struct review_hook **ret, struct err *e);
void review_hook_close(struct review_hook *h); /* NULL is fine */
/* asked: an OBJ of type t; the answer has to be of its apiVersion and kind. body: its text, .p NULL: as JSON has the type.
 * timeout of each try. 0, -ETIMEDOUT, or another -errno with a sentence. Waits. */
int review_hook_ask(struct review_hook *h, struct arena *a, const struct type *t, const struct val *asked, struct str body,
                    int64_t timeout_ns, struct val **ret, struct err *e);
