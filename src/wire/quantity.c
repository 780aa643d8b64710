/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/quantity.h"

#include <stdio.h>

enum { MAX_DIGITS = 38 }; /* that surely fit 127 bits, less one */

static const __int128 nano_per_unit = 1000000000;

/* ---- the parts of the text ------------------------------------------------------------------------ */

struct parts {
    bool negative;
    struct str whole, fraction, suffix; /* whole without leading zeros */
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static struct str take_digits(struct str *s)
{
    size_t n = 0;
    while (n < s->n && is_digit(s->p[n]))
        n++;
    struct str digits = {s->p, n};
    *s = str_from(*s, n);
    return digits;
}

/* ([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*) as upstream's scanner takes it: one point, digits on either side
 * or none at all. */
static bool split(struct str s, struct parts *ret)
{
    struct parts parts = {0};
    if (s.n && (s.p[0] == '-' || s.p[0] == '+')) {
        parts.negative = s.p[0] == '-';
        s = str_from(s, 1);
    }
    while (s.n && s.p[0] == '0')
        s = str_from(s, 1);
    parts.whole = take_digits(&s);
    if (s.n && s.p[0] == '.') {
        s = str_from(s, 1);
        parts.fraction = take_digits(&s);
    }
    parts.suffix = s;
    while (s.n && memchr("eEinumkKMGTP", s.p[0], 12))
        s = str_from(s, 1);
    if (s.n && (s.p[0] == '-' || s.p[0] == '+'))
        s = str_from(s, 1);
    take_digits(&s);
    *ret = parts;
    return s.n == 0;
}

struct suffix {
    char text[3];
    int8_t exponent;
};

static const struct suffix decimal_suffixes[] = {{"n", -9}, {"u", -6}, {"m", -3}, {"", 0},   {"k", 3},
                                                 {"M", 6},  {"G", 9},  {"T", 12}, {"P", 15}, {"E", 18}};
static const struct suffix binary_suffixes[] = {{"Ki", 10}, {"Mi", 20}, {"Gi", 30},
                                                {"Ti", 40}, {"Pi", 50}, {"Ei", 60}};

static const struct suffix *suffix_find(const struct suffix *table, size_t n, struct str s)
{
    for (size_t i = 0; i < n; i++)
        if (str_is(s, table[i].text))
            return &table[i];
    return NULL;
}

/* The number behind the letter e of a decimal exponent, which may carry a sign. */
static bool exponent_parse(struct str s, int64_t *ret)
{
    if (s.n < 2 || (s.p[0] != 'e' && s.p[0] != 'E'))
        return false;
    s = str_from(s, s.p[1] == '+' ? 2 : 1);
    return str_to_i64(s, ret) == 0 && *ret >= INT32_MIN && *ret <= INT32_MAX;
}

static bool suffix_parse(struct str s, int64_t *ret_exponent, enum quantity_format *ret_format)
{
    const struct suffix *f = suffix_find(decimal_suffixes, ARRAY_SIZE(decimal_suffixes), s);
    enum quantity_format format = QUANTITY_DECIMAL_SI;
    if (!f) {
        f = suffix_find(binary_suffixes, ARRAY_SIZE(binary_suffixes), s);
        format = QUANTITY_BINARY_SI;
    }
    if (f)
        *ret_exponent = f->exponent;
    else if (exponent_parse(s, ret_exponent))
        format = QUANTITY_DECIMAL_EXPONENT;
    else
        return false;
    *ret_format = format;
    return true;
}

/* ---- the value ------------------------------------------------------------------------------------ */

static bool times(__int128 *x, __int128 by)
{
    return !__builtin_mul_overflow(*x, by, x);
}

static char digit_at(const struct parts *p, size_t i)
{
    return i < p->whole.n ? p->whole.p[i] : p->fraction.p[i - p->whole.n];
}

static int decimal_nano(const struct parts *p, int64_t exponent, __int128 *ret)
{
    int64_t shift = exponent + 9 - (int64_t)p->fraction.n;
    size_t n = p->whole.n + p->fraction.n;
    int64_t keep = (int64_t)n + MIN(shift, (int64_t)0);
    __int128 x = 0;
    bool rest = false;
    for (size_t i = 0; i < n; i++) {
        if ((int64_t)i >= keep)
            rest |= digit_at(p, i) != '0';
        else if (!times(&x, 10) || __builtin_add_overflow(x, digit_at(p, i) - '0', &x))
            return -ERANGE;
    }
    for (; shift > 0 && x; shift--)
        if (!times(&x, 10))
            return -ERANGE;
    *ret = x + rest;
    return 0;
}

/* Upstream caps binary quantities at the largest int64. */
static __int128 binary_nano(const struct parts *p, int64_t exponent)
{
    const __int128 limit = (__int128)INT64_MAX * nano_per_unit, unit = (__int128)1 << exponent;
    __int128 whole = 0, fraction = 0, tail = 0;
    for (size_t i = 0; i < p->whole.n && whole <= INT64_MAX; i++)
        whole = 10 * whole + (p->whole.p[i] - '0');
    if (whole > INT64_MAX / unit)
        return limit;
    for (size_t i = 0; i < MAX(p->fraction.n, (size_t)18); i++) {
        int digit = i < p->fraction.n ? p->fraction.p[i] - '0' : 0;
        if (i < 18)
            fraction = 10 * fraction + digit;
        else
            tail |= digit;
    }
    fraction *= unit; /* at most 10^18 * 2^60 */
    fraction = fraction / nano_per_unit + (fraction % nano_per_unit || tail);
    return MIN(whole * unit * nano_per_unit + fraction, limit);
}

static int parse(struct str s, struct parts *ret_parts, int64_t *ret_exponent, struct quantity *ret,
                 struct err *e)
{
    struct quantity q = {0};
    if (!s.n || !split(s, ret_parts))
        return err_set(e, -EINVAL,
                       "quantities must match the regular expression "
                       "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
    if (!suffix_parse(ret_parts->suffix, ret_exponent, &q.format))
        return err_set(e, -EINVAL, "unable to parse quantity's suffix");
    if (q.format == QUANTITY_BINARY_SI)
        q.nano = binary_nano(ret_parts, *ret_exponent);
    else if (decimal_nano(ret_parts, *ret_exponent, &q.nano) < 0)
        return err_set(e, -ERANGE, "the quantity is too large");
    if (q.format == QUANTITY_BINARY_SI && q.nano < nano_per_unit && q.nano)
        q.format = QUANTITY_DECIMAL_SI;
    if (ret_parts->negative)
        q.nano = -q.nano;
    *ret = q;
    return 0;
}

int quantity_parse(struct str s, struct quantity *ret, struct err *e)
{
    struct parts parts;
    int64_t exponent;
    return parse(s, &parts, &exponent, ret, e);
}

/* Upstream keeps the text of what it parses by its quick way and finds to be about canonical. */
static bool keeps_text(const struct parts *p, int64_t exponent, enum quantity_format format)
{
    int64_t whole = p->whole.n ? (int64_t)p->whole.n : 1, fraction = (int64_t)p->fraction.n;
    if (format == QUANTITY_BINARY_SI) {
        uint64_t value;
        return !fraction && 15 - whole - exponent * 3 / 10 - 1 >= 0 && str_to_u64(p->whole, &value) == 0 &&
               (value & 7);
    }
    size_t n = p->whole.n + p->fraction.n;
    bool thousands =
        n >= 3 && digit_at(p, n - 1) == '0' && digit_at(p, n - 2) == '0' && digit_at(p, n - 3) == '0';
    int64_t scale = exponent - fraction;
    return 18 - whole - fraction >= 0 && scale >= -9 && scale % 3 == 0 && p->whole.n && !thousands;
}

int quantity_canonical(struct str s, char ret[static QUANTITY_TEXT_MAX], struct str *ret_text, struct err *e)
{
    struct parts parts;
    struct quantity q;
    int64_t exponent;
    int r = parse(s, &parts, &exponent, &q, e);
    if (r < 0)
        return r;
    *ret_text = keeps_text(&parts, exponent, q.format) ? s : str_of(quantity_text(q, ret));
    return 0;
}

/* ---- the text ------------------------------------------------------------------------------------- */

static char *put_int(char *to, __int128 x)
{
    char digits[MAX_DIGITS + 2];
    size_t n = 0;
    unsigned __int128 u = x < 0 ? -(unsigned __int128)x : (unsigned __int128)x;
    do
        digits[n++] = (char)('0' + (int)(u % 10));
    while (u /= 10);
    if (x < 0)
        *to++ = '-';
    while (n)
        *to++ = digits[--n];
    *to = '\0';
    return to;
}

static char *decimal_text(struct quantity q, char *ret)
{
    int exponent = -9;
    __int128 x = q.nano;
    for (; x % 1000 == 0; x /= 1000)
        exponent += 3;
    for (; q.format != QUANTITY_DECIMAL_EXPONENT && exponent > 18; exponent -= 3)
        x *= 1000;
    char *end = put_int(ret, x);
    if (q.format == QUANTITY_DECIMAL_EXPONENT) {
        if (exponent)
            sprintf(end, "e%d", exponent);
        return ret;
    }
    for (size_t i = 0; i < ARRAY_SIZE(decimal_suffixes); i++)
        if (decimal_suffixes[i].exponent == exponent)
            strcpy(end, decimal_suffixes[i].text);
    return ret;
}

static char *binary_text(struct quantity q, char *ret)
{
    __int128 x = q.nano / nano_per_unit;
    size_t powers = 0;
    for (; x % 1024 == 0 && powers < ARRAY_SIZE(binary_suffixes); x /= 1024)
        powers++;
    char *end = put_int(ret, x);
    if (powers)
        strcpy(end, binary_suffixes[powers - 1].text);
    return ret;
}

char *quantity_text(struct quantity q, char ret[static QUANTITY_TEXT_MAX])
{
    const __int128 kibi = 1024 * nano_per_unit;
    if (!q.nano)
        return strcpy(ret, "0");
    if (q.format == QUANTITY_BINARY_SI) {
        bool small = q.nano > -kibi && q.nano < kibi;
        if (!small && q.nano % nano_per_unit == 0)
            return binary_text(q, ret);
        q.format = QUANTITY_DECIMAL_SI;
    }
    return decimal_text(q, ret);
}

/* ---- counting ------------------------------------------------------------------------------------- */

struct quantity quantity_of(int64_t units, enum quantity_format format)
{
    return (struct quantity){units * nano_per_unit, format};
}

struct quantity quantity_of_milli(int64_t milli, enum quantity_format format)
{
    return (struct quantity){milli * (nano_per_unit / 1000), format};
}

struct quantity quantity_or_zero(struct str s)
{
    struct quantity q = {0};
    quantity_parse(s, &q, NULL);
    return q;
}

static __int128 sum_cut(__int128 a, __int128 b)
{
    const __int128 max = (__int128)(~(unsigned __int128)0 >> 1);
    __int128 sum;
    if (!__builtin_add_overflow(a, b, &sum))
        return sum;
    return a > 0 ? max : -max;
}

struct quantity quantity_add(struct quantity a, struct quantity b)
{
    return (struct quantity){sum_cut(a.nano, b.nano), a.nano ? a.format : b.format};
}

struct quantity quantity_sub(struct quantity a, struct quantity b)
{
    return (struct quantity){sum_cut(a.nano, -b.nano), a.nano ? a.format : b.format};
}

static int64_t in_units_of(struct quantity q, __int128 unit)
{
    __int128 x = q.nano / unit;
    if (q.nano % unit)
        x += q.nano > 0 ? 1 : -1;
    if (x > INT64_MAX)
        return INT64_MAX;
    return x < INT64_MIN ? INT64_MIN : (int64_t)x;
}

int64_t quantity_units(struct quantity q)
{
    return in_units_of(q, nano_per_unit);
}

int64_t quantity_milli(struct quantity q)
{
    return in_units_of(q, nano_per_unit / 1000);
}

double quantity_float(struct quantity q)
{
    return (double)q.nano / (double)nano_per_unit;
}
