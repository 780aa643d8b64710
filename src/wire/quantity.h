/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resource.Quantity: a fixed-point number with the suffix its owner likes ("100m", "1536Mi", "12e6"). Held in
 * billionths (the API's finest unit) in 128 bits, so sums over a cluster do not overflow; beyond 1.7e29 is
 * -ERANGE.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum quantity_format { QUANTITY_DECIMAL_SI, QUANTITY_BINARY_SI, QUANTITY_DECIMAL_EXPONENT };

struct quantity {
    __int128 nano;
    enum quantity_format format; /* how it likes to be written */
};

/* Room for the text of any quantity with its NUL. */
#define QUANTITY_TEXT_MAX 64

/* 0, -EINVAL or -ERANGE; the sentences are upstream's. Digits beyond billionths round away from zero. */
int quantity_parse(struct str s, struct quantity *ret, struct err *e);
/* The text the API gives back for the text s, in ret or s itself: upstream keeps what is nearly canonical. */
int quantity_canonical(struct str s, char ret[static QUANTITY_TEXT_MAX], struct str *ret_text, struct err *e);
/* Canonical text: no fraction, the largest suffix that keeps the number whole. Returns ret. */
char *quantity_text(struct quantity q, char ret[static QUANTITY_TEXT_MAX]);

struct quantity quantity_of(int64_t units, enum quantity_format format);
struct quantity quantity_of_milli(int64_t milli, enum quantity_format format);
/* Parsed, or zero when s is no quantity: for text that was validated before. */
struct quantity quantity_or_zero(struct str s);

static inline bool quantity_is_zero(struct quantity q)
{
    return q.nano == 0;
}
static inline int quantity_cmp(struct quantity a, struct quantity b)
{
    return (a.nano > b.nano) - (a.nano < b.nano);
}
/* The sum keeps a's format, or b's when a is zero, as upstream does. */
struct quantity quantity_add(struct quantity a, struct quantity b);
struct quantity quantity_sub(struct quantity a, struct quantity b);
/* In whole units and in thousandths, rounded away from zero and cut to 64 bits. */
int64_t quantity_units(struct quantity q);
int64_t quantity_milli(struct quantity q);
double quantity_float(struct quantity q);
