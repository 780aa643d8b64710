/* SPDX-License-Identifier: Apache-2.0 */
/* What the walkers of this folder ask about fields. */
#pragma once

#include "wire/schema.h"

/* A value that Go could not tell from an absent one in this field (false for pointers). */
bool field_is_zero(const struct field *f, const struct val *v);
/* The alternative of a K_JSON_OR field that is a message (CARD_ONE) or a list (CARD_LIST); NULL when it has
 * none. */
const struct field *field_alternative(const struct field *f, enum field_card card);
/* The type of an OBJ that stands in field f: its message, or the message among its alternatives. */
const struct type *field_object_type(const struct field *f);
/* Puts n members of an OBJ of that type into declared order. */
void sort_declared(const struct type *t, struct val *m, uint32_t n);
