/* SPDX-License-Identifier: Apache-2.0 */
/* An error that a person will read: one sentence, made where the fault is known, printed once at the edge. */
#pragma once

#include "base/base.h"

struct err {
    char text[512]; /* NUL-terminated; cut with "..." when longer; empty when nothing was said */
};

/* Sets the sentence (e may be NULL) and returns r, so that `return err_set(e, -EINVAL, "...")` reads well. */
int err_set(struct err *e, int r, const char *fmt, ...) PRINTF(3, 4);
/* Puts "context: " before what is there (or before strerror(-r) when nothing is there) and returns r. */
int err_wrap(struct err *e, int r, const char *fmt, ...) PRINTF(3, 4);
/* The sentence, or strerror(-r) when nothing was said. */
const char *err_text(const struct err *e, int r);
