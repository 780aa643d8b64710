/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Go templates (text/template) over values, as `-o go-template` has them: text, pipelines, variables, if, with, range,
 * else, break, continue, comments, trimmed blanks, the built-in functions, and kubectl's exists and base64decode. What is
 * left out, and refused: define, template, block, methods, call. Pure.
 */
#pragma once

#include "base/err.h"
#include "wire/value.h"

struct template;

/* In the arena. 0, or -EINVAL with a sentence. */
int template_parse(struct arena *a, struct str text, const struct template **ret, struct err *e);
/* Appends the output for v. allow_missing: a key that is not there prints "<no value>" instead of failing. */
int template_print(const struct template *t, struct arena *a, const struct val *v, bool allow_missing, struct buf *out,
                   struct err *e);
