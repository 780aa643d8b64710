/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/leaf.h"

#include "wire/json_scan.h"

#include "base/time.h"

#include <stdio.h>

/* ---- times ---------------------------------------------------------------------------------------- */

/* Days since 1970-01-01 of a day of the proleptic Gregorian calendar; years count from March. */
static int64_t days_of(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_of(int64_t days, int *ret_year, int *ret_month, int *ret_day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097, of_era = days - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    *ret_day = (int)(of_year - (153 * month + 2) / 5 + 1);
    *ret_month = (int)(month < 10 ? month + 3 : month - 9);
    *ret_year = (int)(year + era * 400 + (*ret_month <= 2));
}

static int days_in(int year, int month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && leap ? 29 : days[month - 1];
}

/* n digits at p, or -1. */
static int number_at(const char *p, int n)
{
    int x = 0;
    for (; n; n--, p++) {
        if (*p < '0' || *p > '9')
            return -1;
        x = 10 * x + (*p - '0');
    }
    return x;
}

/* ".123456789", any number of digits, into nanoseconds. */
static struct str fraction_of(struct str s, int32_t *ret_nanos)
{
    size_t i = 1;
    int32_t nanos = 0, unit = 100000000;
    for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++, unit /= 10)
        nanos += (s.p[i] - '0') * unit;
    if (i == 1)
        return s; /* a point alone: the caller stumbles over it */
    *ret_nanos = nanos;
    return str_from(s, i);
}

static int zone_seconds(struct str s, int *ret)
{
    if (str_is(s, "Z")) {
        *ret = 0;
        return 0;
    }
    if (s.n != 6 || (s.p[0] != '+' && s.p[0] != '-') || s.p[3] != ':')
        return -EINVAL;
    int hours = number_at(s.p + 1, 2), minutes = number_at(s.p + 4, 2);
    if (hours < 0 || hours > 24 || minutes < 0 || minutes > 60)
        return -EINVAL;
    *ret = (s.p[0] == '-' ? -60 : 60) * (60 * hours + minutes);
    return 0;
}

int moment_parse(struct str s, struct moment *ret)
{
    if (s.n < 20 || s.p[4] != '-' || s.p[7] != '-' || s.p[10] != 'T' || s.p[13] != ':' || s.p[16] != ':')
        return -EINVAL;
    int year = number_at(s.p, 4), month = number_at(s.p + 5, 2), day = number_at(s.p + 8, 2);
    int hour = number_at(s.p + 11, 2), minute = number_at(s.p + 14, 2), second = number_at(s.p + 17, 2);
    if (year < 0 || month < 1 || month > 12 || day < 1 || day > days_in(year, month) || hour < 0 ||
        hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
        return -EINVAL;
    struct moment m = {.nanos = 0};
    int zone;
    s = str_from(s, 19);
    if (s.p[0] == '.' || s.p[0] == ',') /* Go takes either */
        s = fraction_of(s, &m.nanos);
    if (zone_seconds(s, &zone) < 0)
        return -EINVAL;
    m.seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - zone;
    *ret = m;
    return 0;
}

static const int64_t year_one = -INT64_C(62135596800), year_10000 = INT64_C(253402300800);

bool moment_is_zero(struct moment m)
{
    return m.seconds == year_one && m.nanos == 0;
}

static char *put_digits(char *to, int x, int n, char after)
{
    for (int i = n; i-- > 0; x /= 10)
        to[i] = (char)('0' + x % 10);
    to[n] = after;
    return to + n + 1;
}

struct str moment_text(struct moment m, bool micro, char ret[static MOMENT_TEXT_MAX])
{
    int64_t seconds = MIN(MAX(m.seconds, year_one), year_10000 - 1);
    int64_t days = (seconds - (seconds < 0 ? 86399 : 0)) / 86400;
    int year, month, day, of_day = (int)(seconds - days * 86400);
    date_of(days, &year, &month, &day);
    char *to = put_digits(ret, year, 4, '-');
    to = put_digits(to, month, 2, '-');
    to = put_digits(to, day, 2, 'T');
    to = put_digits(to, of_day / 3600, 2, ':');
    to = put_digits(to, of_day / 60 % 60, 2, ':');
    to = put_digits(to, of_day % 60, 2, micro ? '.' : 'Z');
    if (micro)
        to = put_digits(to, m.nanos / 1000, 6, 'Z');
    *to = '\0';
    return str_n(ret, (size_t)(to - ret));
}

/* Whether a moment's text that moment_parse took is as moment_text would write it: UTC and the digits of the
 * form. */
static bool is_canonical(struct str s, bool micro)
{
    return s.p[s.n - 1] == 'Z' && (micro ? s.n == 27 && s.p[19] == '.' : s.n == 20) && number_at(s.p, 4) > 0;
}

/* Six digits behind the seconds: Go's layout of these times wants them all. */
static bool has_micros(struct str s)
{
    size_t digits = 0;
    while (s.n > 20 && s.p[19] == '.' && 20 + digits < s.n && s.p[20 + digits] >= '0' && s.p[20 + digits] <= '9')
        digits++;
    return digits == 6;
}

int time_canonical(struct arena *a, struct str s, bool micro, struct str *ret, struct err *e)
{
    struct moment m;
    if (moment_parse(s, &m) < 0 || (micro && !has_micros(s))) {
        const char *layout = micro ? "2006-01-02T15:04:05.000000Z07:00" : "2006-01-02T15:04:05Z07:00";
        return err_set(e, -EINVAL,
                       "parsing time \"" STR_FMT "\" as \"%s\": cannot parse \"" STR_FMT "\" as \"2006\"",
                       STR_ARG(s), layout, STR_ARG(s));
    }
    if (moment_is_zero(m)) {
        *ret = STR("");
        return 0;
    }
    char text[MOMENT_TEXT_MAX];
    *ret = is_canonical(s, micro) ? s : arena_str(a, moment_text(m, micro, text));
    return 0;
}

int duration_canonical(struct arena *a, struct str s, struct str *ret, struct err *e)
{
    int64_t ns;
    char text[TIME_TEXT_MAX];
    if (duration_parse(s, &ns) < 0)
        return err_set(e, -EINVAL, "time: invalid duration \"" STR_FMT "\"", STR_ARG(s));
    struct str canonical = str_of(duration_format(ns, text));
    *ret = str_eq(canonical, s) ? s : arena_str(a, canonical);
    return 0;
}

/* ---- base64 --------------------------------------------------------------------------------------- */

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int base64_decode(struct arena *a, struct str s, struct str *ret)
{
    char *out = arena_bytes(a, s.n / 4 * 3 + 4), *to = out;
    uint32_t bits = 0;
    unsigned digits = 0, padding = 0;
    for (size_t i = 0; i < s.n; i++) {
        int v = base64_value(s.p[i]);
        if (s.p[i] == '\n' || s.p[i] == '\r')
            continue;
        if (s.p[i] == '=' ? digits % 4 + padding < 2 : (v < 0 || padding))
            return -EINVAL;
        if (s.p[i] == '=') {
            padding++;
            continue;
        }
        bits = bits << 6 | (uint32_t)v;
        if (++digits % 4 == 0) {
            *to++ = (char)(bits >> 16);
            *to++ = (char)(bits >> 8);
            *to++ = (char)bits;
        }
    }
    if ((digits + padding) % 4 || padding > 2)
        return -EINVAL;
    if (padding)
        *to++ = (char)(bits >> (padding == 1 ? 10 : 4));
    if (padding == 1)
        *to++ = (char)(bits >> 2);
    *to = '\0';
    *ret = str_n(out, (size_t)(to - out));
    return 0;
}

size_t base64_size(size_t n)
{
    return (n + 2) / 3 * 4;
}

void base64_encode(struct str s, char *to)
{
    const unsigned char *p = (const unsigned char *)s.p;
    for (; s.n >= 3; s.n -= 3, p += 3) {
        *to++ = base64_digits[p[0] >> 2];
        *to++ = base64_digits[(p[0] & 3) << 4 | p[1] >> 4];
        *to++ = base64_digits[(p[1] & 15) << 2 | p[2] >> 6];
        *to++ = base64_digits[p[2] & 63];
    }
    if (!s.n)
        return;
    unsigned second = s.n > 1 ? p[1] : 0;
    *to++ = base64_digits[p[0] >> 2];
    *to++ = base64_digits[(p[0] & 3) << 4 | second >> 4];
    *to++ = s.n > 1 ? base64_digits[(second & 15) << 2] : '=';
    *to = '=';
}

/* ---- text ----------------------------------------------------------------------------------------- */

/* The first byte at or behind `at` that is no UTF-8. */
static size_t utf8_end(struct str s, size_t at)
{
    for (size_t n = 1; at < s.n && n; at += n) {
        n = (unsigned char)s.p[at] < 0x80 ? 1 : utf8_len((const unsigned char *)s.p + at);
        if (!n || at + n > s.n)
            break;
    }
    return at;
}

struct str utf8_repair(struct arena *a, struct str s)
{
    size_t good = utf8_end(s, 0), at = 0;
    if (good == s.n)
        return s;
    CLEANUP_BUF struct buf b = BUF_INIT;
    for (; at < s.n; good = utf8_end(s, at)) {
        buf_put(&b, s.p + at, good - at);
        if (good < s.n)
            buf_puts(&b, "\xef\xbf\xbd");
        at = good + 1;
    }
    return arena_str(a, buf_str(&b));
}

/* ---- numbers -------------------------------------------------------------------------------------- */

/* The shortest of "d.ddde-xx" that gives f back. */
static void shortest(double f, bool single, char ret[static 40])
{
    int precision = 0;
    do
        snprintf(ret, 40, "%.*e", precision, f);
    while ((single ? strtof(ret, NULL) != (float)f : strtod(ret, NULL) != f) && ++precision < 17);
}

struct str float_text(double f, int low, int high, bool single, char ret[static FLOAT_TEXT_MAX])
{
    char digits[40];
    shortest(f, single, digits);
    char *e = strchr(digits, 'e'), *to = ret, *p = digits;
    int exponent = (int)strtol(e + 1, NULL, 10);
    if (f != 0 && (exponent < low || exponent >= high))
        return str_n(ret, (size_t)snprintf(ret, FLOAT_TEXT_MAX, "%s", digits));
    if (*p == '-')
        *to++ = *p++;
    if (exponent < 0)
        to += snprintf(to, 24, "0.%.*s", -exponent - 1, "00000000000000000000");
    for (; p < e || exponent >= 0; exponent--) {
        if (p < e && *p == '.')
            p++;
        *to++ = p < e ? *p++ : '0';
        if (exponent == 0 && p < e)
            *to++ = '.';
    }
    *to = '\0';
    return str_n(ret, (size_t)(to - ret));
}
