/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static int format_seconds(struct wall t, char *ret, int64_t *ret_nanos)
{
    int64_t sec = floor_div(t.ns, NSEC_PER_SEC);
    *ret_nanos = t.ns - sec * NSEC_PER_SEC;
    time_t tt = (time_t)sec;
    struct tm tm;
    gmtime_r(&tt, &tm);
    return snprintf(ret, TIME_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                    tm.tm_hour, tm.tm_min, tm.tm_sec);
}

char *time_format(struct wall t, char ret[static TIME_TEXT_MAX])
{
    int64_t nanos;
    int n = format_seconds(t, ret, &nanos);
    memcpy(ret + n, "Z", 2);
    return ret;
}

char *time_format_micro(struct wall t, char ret[static TIME_TEXT_MAX])
{
    int64_t nanos;
    int n = format_seconds(t, ret, &nanos);
    snprintf(ret + n, TIME_TEXT_MAX - (size_t)n, ".%06" PRId64 "Z", nanos / 1000);
    return ret;
}

char *time_format_nano(struct wall t, char ret[static TIME_TEXT_MAX])
{
    int64_t nanos;
    int n = format_seconds(t, ret, &nanos);
    if (nanos) {
        n += snprintf(ret + n, TIME_TEXT_MAX - (size_t)n, ".%09" PRId64, nanos);
        while (ret[n - 1] == '0')
            n--;
    }
    memcpy(ret + n, "Z", 2);
    return ret;
}

/* Reads exactly `digits` decimal digits at *at within s and moves on; false when there are none. */
static bool read_digits(struct str s, size_t *at, int digits, int *ret)
{
    int v = 0;
    for (int i = 0; i < digits; i++, (*at)++) {
        if (*at >= s.n || s.p[*at] < '0' || s.p[*at] > '9')
            return false;
        v = v * 10 + (s.p[*at] - '0');
    }
    *ret = v;
    return true;
}

static bool read_char(struct str s, size_t *at, const char *any)
{
    return *at < s.n && strchr(any, s.p[*at]) && s.p[*at] && (*at)++ < s.n;
}

static bool read_fraction(struct str s, size_t *at, int64_t *ret_nanos)
{
    int64_t scale = NSEC_PER_SEC / 10;
    size_t start = *at;
    for (; *at < s.n && s.p[*at] >= '0' && s.p[*at] <= '9'; (*at)++, scale /= 10)
        *ret_nanos += (s.p[*at] - '0') * scale;
    return *at > start;
}

static bool read_offset(struct str s, size_t *at, int *ret_seconds)
{
    int hours, minutes;
    if (read_char(s, at, "Z"))
        return true;
    int sign = *at < s.n && s.p[*at] == '-' ? -1 : 1;
    if (!read_char(s, at, "+-") || !read_digits(s, at, 2, &hours) || !read_char(s, at, ":") ||
        !read_digits(s, at, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret_seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

static bool tm_valid(const struct tm *tm)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int y = tm->tm_year + 1900;
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    if (tm->tm_mon < 0 || tm->tm_mon > 11 || tm->tm_mday < 1)
        return false;
    return tm->tm_mday <= days[tm->tm_mon] + (leap && tm->tm_mon == 1) && tm->tm_hour < 24 && tm->tm_min < 60 &&
           tm->tm_sec < 60;
}

int time_parse(struct str s, struct wall *ret)
{
    struct tm tm = {0};
    size_t at = 0;
    int64_t nanos = 0;
    int offset = 0;
    if (!read_digits(s, &at, 4, &tm.tm_year) || !read_char(s, &at, "-") || !read_digits(s, &at, 2, &tm.tm_mon) ||
        !read_char(s, &at, "-") || !read_digits(s, &at, 2, &tm.tm_mday) || !read_char(s, &at, "T") ||
        !read_digits(s, &at, 2, &tm.tm_hour) || !read_char(s, &at, ":") || !read_digits(s, &at, 2, &tm.tm_min) ||
        !read_char(s, &at, ":") || !read_digits(s, &at, 2, &tm.tm_sec))
        return -EINVAL;
    if (read_char(s, &at, ".") && !read_fraction(s, &at, &nanos))
        return -EINVAL;
    if (!read_offset(s, &at, &offset) || at != s.n)
        return -EINVAL;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    if (!tm_valid(&tm))
        return -EINVAL;
    int64_t ns;
    if (__builtin_mul_overflow((int64_t)timegm(&tm) - offset, NSEC_PER_SEC, &ns))
        return -EINVAL;
    *ret = (struct wall){ns + nanos};
    return 0;
}

static const struct unit {
    const char *text;
    int64_t ns;
} units[] = {
    {"ns", 1}, {"us", 1000}, {"\xc2\xb5s", 1000}, {"\xce\xbcs", 1000}, {"ms", NSEC_PER_MSEC},
    {"s", NSEC_PER_SEC}, {"m", SECONDS(60)}, {"h", SECONDS(3600)},
};

static int64_t unit_at(struct str s, size_t *at)
{
    size_t end = *at;
    while (end < s.n && s.p[end] != '.' && (s.p[end] < '0' || s.p[end] > '9'))
        end++;
    struct str text = str_slice(s, *at, end - *at);
    *at = end;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++)
        if (str_is(text, units[i].text))
            return units[i].ns;
    return 0;
}

/* One "number unit" of a duration: adds it to *total. */
static int duration_part(struct str s, size_t *at, __int128 *total)
{
    __int128 whole = 0, fraction = 0, scale = 1;
    size_t start = *at;
    for (; *at < s.n && s.p[*at] >= '0' && s.p[*at] <= '9'; (*at)++)
        if ((whole = whole * 10 + (s.p[*at] - '0')) > INT64_MAX)
            return -ERANGE;
    size_t digits = *at - start;
    if (*at < s.n && s.p[*at] == '.')
        for ((*at)++; *at < s.n && s.p[*at] >= '0' && s.p[*at] <= '9'; (*at)++, digits++)
            if (scale < NSEC_PER_SEC * INT64_C(1000000)) {
                fraction = fraction * 10 + (s.p[*at] - '0');
                scale *= 10;
            }
    int64_t unit = digits ? unit_at(s, at) : 0;
    if (!unit)
        return -EINVAL;
    *total += whole * unit + fraction * unit / scale;
    return *total > -(__int128)INT64_MIN ? -ERANGE : 0;
}

int duration_parse(struct str s, int64_t *ret)
{
    __int128 total = 0;
    bool negative = s.n && s.p[0] == '-';
    size_t at = s.n && (s.p[0] == '-' || s.p[0] == '+') ? 1 : 0;
    if (at == s.n)
        return -EINVAL;
    bool zero = s.n == at + 1 && s.p[at] == '0';
    while (!zero && at < s.n) {
        int r = duration_part(s, &at, &total);
        if (r < 0)
            return r;
    }
    if (!negative && total > INT64_MAX)
        return -ERANGE;
    *ret = (int64_t)(negative ? -total : total);
    return 0;
}

/* value/scale with the fraction's trailing zeros cut: 1500/1000 is "1.5". */
static int format_fraction(char *to, size_t size, uint64_t value, uint64_t scale, const char *unit)
{
    int n = snprintf(to, size, "%" PRIu64, value / scale);
    uint64_t rest = value % scale;
    if (rest) {
        to[n++] = '.';
        while (rest) {
            scale /= 10;
            to[n++] = (char)('0' + rest / scale);
            rest %= scale;
        }
    }
    return n + snprintf(to + n, size - (size_t)n, "%s", unit);
}

char *duration_format(int64_t ns, char ret[static TIME_TEXT_MAX])
{
    uint64_t u = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    int n = 0;
    if (ns < 0)
        ret[n++] = '-';
    if (u == 0) {
        memcpy(ret, "0s", 3);
    } else if (u < (uint64_t)NSEC_PER_SEC) {
        const char *unit = u < 1000 ? "ns" : u < (uint64_t)NSEC_PER_MSEC ? "\xc2\xb5s" : "ms";
        uint64_t scale = u < 1000 ? 1 : u < (uint64_t)NSEC_PER_MSEC ? 1000 : (uint64_t)NSEC_PER_MSEC;
        format_fraction(ret + n, TIME_TEXT_MAX - (size_t)n, u, scale, unit);
    } else {
        uint64_t hours = u / (uint64_t)SECONDS(3600), minutes = u / (uint64_t)SECONDS(60) % 60;
        if (hours)
            n += snprintf(ret + n, TIME_TEXT_MAX - (size_t)n, "%" PRIu64 "h", hours);
        if (hours || minutes)
            n += snprintf(ret + n, TIME_TEXT_MAX - (size_t)n, "%" PRIu64 "m", minutes);
        format_fraction(ret + n, TIME_TEXT_MAX - (size_t)n, u % (uint64_t)SECONDS(60), (uint64_t)NSEC_PER_SEC, "s");
    }
    return ret;
}

char *duration_human(int64_t ns, char ret[static TIME_TEXT_MAX])
{
    long long s = ns / NSEC_PER_SEC, m = s / 60, h = m / 60, d = h / 24;
    if (s < -1)
        snprintf(ret, TIME_TEXT_MAX, "<invalid>");
    else if (s < 0)
        snprintf(ret, TIME_TEXT_MAX, "0s");
    else if (s < 120)
        snprintf(ret, TIME_TEXT_MAX, "%llds", s);
    else if (m < 10)
        snprintf(ret, TIME_TEXT_MAX, s % 60 ? "%lldm%llds" : "%lldm", m, s % 60);
    else if (m < 180)
        snprintf(ret, TIME_TEXT_MAX, "%lldm", m);
    else if (h < 8)
        snprintf(ret, TIME_TEXT_MAX, m % 60 ? "%lldh%lldm" : "%lldh", h, m % 60);
    else if (h < 48)
        snprintf(ret, TIME_TEXT_MAX, "%lldh", h);
    else if (h < 192)
        snprintf(ret, TIME_TEXT_MAX, h % 24 ? "%lldd%lldh" : "%lldd", d, h % 24);
    else if (d < 730)
        snprintf(ret, TIME_TEXT_MAX, "%lldd", d);
    else if (d < 2920)
        snprintf(ret, TIME_TEXT_MAX, d % 365 ? "%lldy%lldd" : "%lldy", d / 365, d % 365);
    else
        snprintf(ret, TIME_TEXT_MAX, "%lldy", d / 365);
    return ret;
}
