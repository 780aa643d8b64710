/* SPDX-License-Identifier: Apache-2.0 */
/* Who charges the quotas of a namespace, from reading them until what was charged is stored: one request at a
 * time. */
#pragma once

#include "apiserver/request.h"

/* The request's until its write has come to an end; taken twice is taken once. What was read before is read
 * anew: the cache is fresh afterwards. Waits; 0 or -ECANCELED. */
int quota_lock_take(struct request *r, struct str ns);
void quota_lock_release(struct request *r); /* nothing when it was not taken */
