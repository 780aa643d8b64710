/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of webhooks, kept for a while: texts by text, at most so many; the oldest goes when there is no room. */
#pragma once

#include "base/map.h"
#include "base/time.h"

struct answers {
    struct map map;
    size_t max;
};

void answers_done(struct answers *c);
void answers_clear(struct answers *c);
/* The text; .p is NULL when there is none or it is too old. Lives until the next change. */
struct str answers_get(struct answers *c, struct str key, struct mono now);
void answers_put(struct answers *c, struct str key, struct str text, struct mono until);
