/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects as trees of owned fields (KEP-555, structured merge): which fields a value has, what differs between two, what
 * applying one onto another gives, and a value without some fields. What is one field follows from the type: atomic
 * lists, maps and structs are one; items of associative lists are found by their keys.
 *
 * A value is either typed (VAL_OBJ), and then has the fields that its JSON would have (`resources: {}`, `containers:
 * null`), or plain (VAL_MAP, as decoded without a type), and then has what stands there. metadata.managedFields is no
 * field.
 */
#pragma once

#include "type/fieldset.h"
#include "wire/schema.h"

/* The fields of a value. -EINVAL with a sentence when the items of an associative list have no keys, or one twice. */
int typed_fields(struct arena *a, const struct type *t, const struct val *v, struct fieldset **ret, struct err *e);

/* The fields of what stands already, where such items may be: they are left out, of those that are there twice the first
 * counts. v may be NULL. */
struct fieldset *typed_fields_there(struct arena *a, const struct type *t, const struct val *v);

struct typed_diff {
    struct fieldset *added, *modified, *removed;
};
/* from may be NULL: an object as it is before anything is set in it. */
void typed_compare(struct arena *a, const struct type *t, const struct val *from, const struct val *to,
                   struct typed_diff *ret);

/* Both plain; the result is. Items of lists keep their order as far as the right side says nothing else. */
const struct val *typed_merge(struct arena *a, const struct type *t, const struct val *left, const struct val *right);
/* Plain. NULL when nothing is left. */
const struct val *typed_remove(struct arena *a, const struct type *t, const struct val *v, const struct fieldset *gone);

/* Fields of structs that have members below them count as members, too. */
struct fieldset *typed_with_parents(struct arena *a, const struct type *t, const struct fieldset *s);
/* Where a plain value has lists, maps or structs that are replaced as a whole: ".spec.a, .spec.b[0]"; empty: nowhere. */
struct str typed_atomics(struct arena *a, const struct type *t, const struct val *v);
/* Does a plain value have only fields that the type has, of kinds that they can be of? -EINVAL with path and reason. */
int typed_check(struct arena *a, const struct type *t, const struct val *v, struct err *e);
