/* SPDX-License-Identifier: Apache-2.0 */
/* Events do not last: each goes some time after it was last seen (--event-ttl). */
#pragma once

#include "base/time.h"
#include "wire/value.h"

/* Removes some of those last seen before that, in one transaction; true when there may be more. Waits. */
struct apiserver;
bool expire_before(struct apiserver *s, struct wall before);
/* A fiber: removes what is over, every minute. */
void expire_events(void *apiserver);
