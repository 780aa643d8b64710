/* SPDX-License-Identifier: Apache-2.0 */
/* Text as Go's fmt prints it, for messages that clients know. */
#pragma once

#include "wire/value.h"

/* "%q": in double quotes, with Go's escapes. */
struct str text_quote(struct arena *a, struct str s);
/* A value in a field error: strings quoted, numbers and booleans plain, anything else as JSON. */
struct str text_value(struct arena *a, const struct val *v);
/* A path of a message: text_path(a, base, "spec.x") joins with ".", without base when it is empty. */
struct str text_path(struct arena *a, struct str base, const char *name);
struct str text_index(struct arena *a, struct str base, size_t i);       /* base[3] */
struct str text_keyed(struct arena *a, struct str base, struct str key); /* base[key] */
