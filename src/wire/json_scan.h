/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lexical layer of JSON. A scanner stands in a writable copy of the text that ends with NUL bytes, so
 * that looking ahead needs no check and strings are unescaped and NUL-terminated where they stand. Private to
 * this folder.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"

struct json_scan {
    char *p;
    const char *end; /* at least JSON_SCAN_PAD zero bytes follow */
};

enum { JSON_SCAN_PAD = 16 };

struct json_number {
    struct str text;
    bool whole; /* no fraction and no exponent */
};

/* Copies text into the arena. */
struct json_scan json_scan_start(struct arena *a, struct str text);

static inline void json_scan_space(struct json_scan *s)
{
    while (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r')
        s->p++;
}
/* The sentence for a character that does not belong: "invalid character 'x' <where>". Returns -EINVAL. */
int json_scan_bad(const struct json_scan *s, const char *where, struct err *e);

/* Length of the UTF-8 sequence at p (not ASCII), 0 when it is none: RFC 3629, no surrogates, no long forms.
 * Looks no further than the first byte that does not belong. */
size_t utf8_len(const unsigned char *p);

/* p stands on the opening quote and goes behind the closing one. ret is what stands between, checked but raw.
 */
int json_scan_string(struct json_scan *s, struct str *ret, bool *ret_escaped, struct err *e);
/* The same with escapes resolved and a NUL in place of the closing quote. */
int json_take_string(struct json_scan *s, struct str *ret, struct err *e);
int json_scan_number(struct json_scan *s, struct json_number *ret, struct err *e);
/* p stands on the first letter of true, false or null. */
int json_scan_word(struct json_scan *s, struct str word, struct err *e);
/* Over one whole value, checked. p must stand on its first character. */
int json_scan_skip(struct json_scan *s, struct err *e);
/* As json_scan_skip; ret is the value's text without space between its parts, in the arena. */
int json_scan_raw(struct json_scan *s, struct arena *a, struct str *ret, struct err *e);
double
json_number_float(struct str digits); /* the nearest double; infinite when too large; NUL-terminated or so */
