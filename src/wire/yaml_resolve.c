/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/yaml-internal.h"

#include <math.h>

struct word {
    const char *text;
    enum yaml_scalar what;
    double value;
};

static const struct word words[] = {
    {"y", YAML_BOOL, 1},
    {"Y", YAML_BOOL, 1},
    {"yes", YAML_BOOL, 1},
    {"Yes", YAML_BOOL, 1},
    {"YES", YAML_BOOL, 1},
    {"true", YAML_BOOL, 1},
    {"True", YAML_BOOL, 1},
    {"TRUE", YAML_BOOL, 1},
    {"on", YAML_BOOL, 1},
    {"On", YAML_BOOL, 1},
    {"ON", YAML_BOOL, 1},
    {"n", YAML_BOOL, 0},
    {"N", YAML_BOOL, 0},
    {"no", YAML_BOOL, 0},
    {"No", YAML_BOOL, 0},
    {"NO", YAML_BOOL, 0},
    {"false", YAML_BOOL, 0},
    {"False", YAML_BOOL, 0},
    {"FALSE", YAML_BOOL, 0},
    {"off", YAML_BOOL, 0},
    {"Off", YAML_BOOL, 0},
    {"OFF", YAML_BOOL, 0},
    {"", YAML_NULL, 0},
    {"~", YAML_NULL, 0},
    {"null", YAML_NULL, 0},
    {"Null", YAML_NULL, 0},
    {"NULL", YAML_NULL, 0},
    {".nan", YAML_FLOAT, NAN},
    {".NaN", YAML_FLOAT, NAN},
    {".NAN", YAML_FLOAT, NAN},
    {".inf", YAML_FLOAT, INFINITY},
    {".Inf", YAML_FLOAT, INFINITY},
    {".INF", YAML_FLOAT, INFINITY},
    {"+.inf", YAML_FLOAT, INFINITY},
    {"+.Inf", YAML_FLOAT, INFINITY},
    {"+.INF", YAML_FLOAT, INFINITY},
    {"-.inf", YAML_FLOAT, -INFINITY},
    {"-.Inf", YAML_FLOAT, -INFINITY},
    {"-.INF", YAML_FLOAT, -INFINITY},
};

/* Longer scalars are no numbers: 64 bits in binary with underscores between all digits fit. */
enum { MAX_NUMBER = 160 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ---- times ---------------------------------------------------------------------------------------- */

/* One or two digits within [min, max]; moves s. */
static bool take_two(struct str *s, int min, int max)
{
    int x = 0;
    size_t n = 0;
    for (; n < 2 && n < s->n && is_digit(s->p[n]); n++)
        x = 10 * x + (s->p[n] - '0');
    *s = str_from(*s, n);
    return n && x >= min && x <= max;
}

static bool take_char(struct str *s, const char *any)
{
    if (!s->n || !*s->p || !strchr(any, *s->p))
        return false;
    *s = str_from(*s, 1);
    return true;
}

static int two_digits(struct str s)
{
    return s.n > 1 && is_digit(s.p[1]) ? 10 * (s.p[0] - '0') + (s.p[1] - '0') : s.p[0] - '0';
}

static bool date_exists(struct str day, int year, int month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 || year % 400 == 0);
    return two_digits(day) <= days[month - 1] + (month == 2 && leap);
}

static bool is_zone(struct str s)
{
    if (str_is(s, "Z"))
        return true;
    return s.n == 6 && (s.p[0] == '+' || s.p[0] == '-') && is_digit(s.p[1]) && is_digit(s.p[2]) &&
           s.p[3] == ':' && is_digit(s.p[4]) && is_digit(s.p[5]) && two_digits(str_from(s, 1)) <= 24 &&
           two_digits(str_from(s, 4)) <= 60;
}

/* "2001-2-3", "2001-02-03T4:5:6.7Z" (or with t), "2001-02-03 4:5:6.7". */
static bool is_time(struct str s)
{
    if (s.n < 8 || !is_digit(s.p[0]) || !is_digit(s.p[1]) || !is_digit(s.p[2]) || !is_digit(s.p[3]) ||
        s.p[4] != '-')
        return false;
    int year = 100 * two_digits(s) + two_digits(str_from(s, 2));
    struct str month = s = str_from(s, 5);
    if (!take_two(&s, 1, 12) || !take_char(&s, "-"))
        return false;
    struct str day = s;
    if (!take_two(&s, 1, 31) || !date_exists(day, year, two_digits(month)))
        return false;
    if (!s.n)
        return true;
    bool zoned = *s.p != ' ';
    if (!take_char(&s, "Tt ") || !take_two(&s, 0, 23) || !take_char(&s, ":") || !take_two(&s, 0, 59) ||
        !take_char(&s, ":") || !take_two(&s, 0, 59))
        return false;
    if (s.n > 1 && (*s.p == '.' || *s.p == ',') && is_digit(s.p[1]))
        for (s = str_from(s, 1); s.n && is_digit(*s.p);)
            s = str_from(s, 1);
    return zoned ? is_zone(s) : !s.n;
}

/* ---- numbers -------------------------------------------------------------------------------------- */

static int digit_of(char c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

/* Go's strconv.ParseInt and ParseUint with base 0. */
static bool is_int(struct str s, bool *ret_negative, uint64_t *ret)
{
    bool sign = s.n && (*s.p == '-' || *s.p == '+');
    *ret_negative = sign && *s.p == '-';
    s = str_from(s, sign);
    int base = 10;
    if (s.n > 1 && *s.p == '0') {
        char c = s.p[1] | 0x20;
        base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
        s = str_from(s, base != 8 || c == 'o' ? 2 : 1);
    }
    uint64_t x = 0;
    for (size_t i = 0; i < s.n; i++) {
        int digit = digit_of(s.p[i]);
        if (digit >= base || __builtin_mul_overflow(x, (uint64_t)base, &x) ||
            __builtin_add_overflow(x, (uint64_t)digit, &x))
            return false;
    }
    *ret = x;
    return s.n > 0 && (!sign || x <= (uint64_t)INT64_MAX + *ret_negative);
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool is_float(struct str s)
{
    size_t whole = 0, fraction = 0;
    take_char(&s, "+-");
    for (; s.n && is_digit(*s.p); whole++)
        s = str_from(s, 1);
    if (take_char(&s, "."))
        for (; s.n && is_digit(*s.p); fraction++)
            s = str_from(s, 1);
    if (!whole && !fraction)
        return false;
    if (!s.n)
        return true;
    if (!take_char(&s, "eE"))
        return false;
    take_char(&s, "+-");
    size_t n = s.n;
    while (s.n && is_digit(*s.p))
        s = str_from(s, 1);
    return n && !s.n;
}

static enum yaml_scalar number_of(struct str s, struct val *ret)
{
    char plain[MAX_NUMBER + 1];
    struct str number = {plain, 0};
    if (s.n > MAX_NUMBER)
        return YAML_STR;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != '_' || *s.p == '.')
            plain[number.n++] = s.p[i];
    plain[number.n] = '\0';
    bool negative;
    uint64_t x;
    if (*s.p != '.' && is_int(number, &negative, &x)) {
        bool fits = x <= (uint64_t)INT64_MAX + negative;
        *ret = fits ? val_of_int(negative ? (int64_t)(0 - x) : (int64_t)x) : val_of_float((double)x);
        return YAML_INT;
    }
    if (!is_float(number))
        return YAML_STR;
    *ret = val_of_float(strtod(plain, NULL));
    return isinf(ret->f) ? YAML_STR : YAML_FLOAT;
}

static const struct word *word_of(struct str s)
{
    for (size_t i = 0; s.n <= 5 && i < ARRAY_SIZE(words); i++)
        if (str_is(s, words[i].text))
            return &words[i];
    return NULL;
}

enum yaml_scalar yaml_resolve(struct str s, struct val *ret)
{
    *ret = (struct val){0};
    if (s.n && !(*s.p && strchr("+-0123456789.~yYnNtTfFoO", *s.p)))
        return YAML_STR;
    const struct word *w = word_of(s);
    if (w) {
        if (w->what == YAML_BOOL)
            *ret = val_of_bool(w->value != 0);
        else if (w->what == YAML_FLOAT)
            *ret = val_of_float(w->value);
        return w->what;
    }
    if (!strchr("+-0123456789.", *s.p))
        return YAML_STR;
    return is_time(s) ? YAML_TIME : number_of(s, ret);
}

/* [-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)? */
bool yaml_is_base60(struct str s)
{
    unsigned parts = 0;
    take_char(&s, "+-");
    if (!s.n || !is_digit(*s.p))
        return false;
    while (s.n && (is_digit(*s.p) || *s.p == '_'))
        s = str_from(s, 1);
    for (; s.n > 1 && *s.p == ':'; parts++) {
        s = str_from(s, 1);
        if (!take_two(&s, 0, 59))
            return false;
    }
    if (take_char(&s, "."))
        while (s.n && (is_digit(*s.p) || *s.p == '_'))
            s = str_from(s, 1);
    return parts && !s.n;
}
