/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSONPath templates as kubectl has them: "{.items[*].metadata.name}", {range ...}{end}, filters, slices, unions,
 * recursive descent, quoted text. Pure.
 */
#pragma once

#include "base/err.h"
#include "wire/value.h"

struct jsonpath;

/* In the arena. 0, or -EINVAL with a sentence. */
int jsonpath_parse(struct arena *a, struct str text, const struct jsonpath **ret, struct err *e);

struct jsonpath_values {
    const struct val **items; /* in the arena; a NULL item never occurs, JSON null is a VAL_NULL */
    size_t n, cap;
};

/* Appends what the template prints for v. allow_missing: a field that is not there prints nothing instead of failing. */
int jsonpath_print(const struct jsonpath *p, struct arena *a, const struct val *v, bool allow_missing, struct buf *out,
                   struct err *e);
/* The values that the template's parts find, all in one list. */
int jsonpath_find(const struct jsonpath *p, struct arena *a, const struct val *v, bool allow_missing,
                  struct jsonpath_values *ret, struct err *e);

/* "name", ".name" and "{.name}" as "{.name}": what --sort-by and custom columns take. -EINVAL with a sentence. */
int jsonpath_relaxed(struct arena *a, struct str text, struct str *ret, struct err *e);

/* A value as Go's fmt prints it: scalars plain, "map[a:b]", "[a b]". */
void text_of_value(struct buf *b, const struct val *v);
/* Less than, equal, greater, as kubectl sorts: numbers, quantities and times by what they mean, texts naturally. */
int value_order(const struct val *a, const struct val *b);
/* -1, 0 or 1 of two scalars of one kind; false when they cannot be compared. */
bool scalars_order(const struct val *a, const struct val *b, int *ret);
