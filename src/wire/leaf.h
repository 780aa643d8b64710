/* SPDX-License-Identifier: Apache-2.0 */
/* The leaf forms that JSON, YAML and protobuf share: canonical times and durations, base64, numbers. Private
 * to this folder. */
#pragma once

#include "base/arena.h"
#include "base/err.h"

/* A moment as protobuf has it. Years 1 to 9999, which struct wall does not reach. */
struct moment {
    int64_t seconds; /* since 1970 */
    int32_t nanos;
};

#define MOMENT_TEXT_MAX 48

/* RFC 3339. 0 or -EINVAL. */
int moment_parse(struct str s, struct moment *ret);
/* "2006-01-02T15:04:05Z", with six digits of a fraction when micro. */
struct str moment_text(struct moment m, bool micro, char ret[static MOMENT_TEXT_MAX]);
/* Go's zero time, which the API writes as null: 1 January of the year 1. */
bool moment_is_zero(struct moment m);

/* The canonical text of s, from the arena unless it is s itself; empty for the zero time. The sentences are
 * Go's. */
int time_canonical(struct arena *a, struct str s, bool micro, struct str *ret, struct err *e);
int duration_canonical(struct arena *a, struct str s, struct str *ret, struct err *e);

/* Standard alphabet with padding; line ends inside are skipped as Go does. */
int base64_decode(struct arena *a, struct str s, struct str *ret);
size_t base64_size(size_t n);
void base64_encode(struct str s, char *to); /* base64_size(s.n) bytes */

/* s with U+FFFD in place of each byte that is no UTF-8, from the arena unless it is s itself. s is
 * NUL-terminated. */
struct str utf8_repair(struct arena *a, struct str s);

#define FLOAT_TEXT_MAX 64

/* A finite number with the fewest digits that give it back (as a float when single). With an exponent, of at
 * least two digits, when that is below `low` or not below `high` (at most 21), else without. */
struct str float_text(double f, int low, int high, bool single, char ret[static FLOAT_TEXT_MAX]);
