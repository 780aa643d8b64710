/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for objects: list and watch of one name until a condition holds. */
#pragma once

#include "cli/request.h"
#include "cli/select.h"

/* Looks at the object; NULL: it does not exist. Positive: done (the caller knows what for). 0: go on. -1: failed, said. */
typedef int poll_fn(void *arg, const struct val *v);

enum { POLL_TIMEOUT = -2 };
/* Calls fn with the present state and after every change, until it is done or the deadline. What fn gave (not 0);
 * POLL_TIMEOUT without a word; -1 when the server refused (said). */
int poll_object(struct cli *c, const struct info *i, struct mono deadline, poll_fn *fn, void *arg);

/* Waits until the object is gone, or is another one than uid (empty: any). Says "timed out ..." after `timeout`
 * nanoseconds (0: look once; negative: a week). 0 or 1. */
int poll_gone(struct cli *c, const struct info *i, struct str uid, int64_t timeout);
