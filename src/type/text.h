/* SPDX-License-Identifier: Apache-2.0 */
/* Text as Go's fmt prints it, for messages that clients know. */
#pragma once

#include "wire/value.h"

/* "%q": in double quotes, with Go's escapes. */
struct str text_quote(struct arena *a, struct str s);
/* A value in a field error: strings quoted, numbers and booleans plain, anything else as JSON. */
struct str text_value(struct arena *a, const struct val *v);
