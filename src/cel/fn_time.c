/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of timestamps, in a time zone or UTC, and of durations. */
#include "cel/cel-internal.h"

#include "base/time.h"
#include "base/tz.h"

/* "+05:30", "-08:00", "02:00": seconds east of UTC; cel-go asks for no range. */
enum { NUMBER_MAX = 100000 };

static bool fixed_zone(struct str s, int64_t *ret)
{
    int64_t sign = s.n && s.p[0] == '-' ? -1 : 1, h, m;
    struct str hours, minutes;
    if (s.n && (s.p[0] == '+' || s.p[0] == '-'))
        s = str_from(s, 1);
    if (!str_cut(s, ':', &hours, &minutes) || str_to_i64(hours, &h) < 0 || str_to_i64(minutes, &m) < 0 || h < 0 || h > NUMBER_MAX ||
        m < 0 || m > NUMBER_MAX)
        return false;
    *ret = sign * (h * 3600 + m * 60);
    return true;
}

/* The time on a clock there; an error value when there is no such zone. */
static struct cel_val civil_of(struct cel_run *r, const struct cel_val *v, unsigned n, struct civil *ret)
{
    struct str name = n > 1 ? cel_str(v[1]) : STR_NULL;
    struct tz *z = NULL;
    int64_t offset = 0;
    bool utc = !name.n || str_is(name, "UTC") || str_is(name, "Local"); /* servers run in UTC */
    if (!utc && !fixed_zone(name, &offset) && tz_load(name, &z) < 0)
        return cel_fail(r->arena, "unknown time zone " STR_FMT, STR_ARG(name));
    *ret = tz_civil(z, v[0].i + offset);
    tz_free(z);
    return CEL_ABSENT;
}

static int day_of_year(const struct civil *c)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    bool leap = (c->year % 4 == 0 && c->year % 100 != 0) || c->year % 400 == 0;
    return before[c->month - 1] + c->day - 1 + (leap && c->month > 2);
}

#define PART(name, expr)                                                                                     \
    static struct cel_val name(struct cel_run *r, const struct cel_val *v, unsigned n)                       \
    {                                                                                                        \
        struct civil c;                                                                                      \
        struct cel_val e = civil_of(r, v, n, &c);                                                            \
        return cel_absent(e) ? cel_of_int(expr) : e;                                                         \
    }
PART(year, c.year)
PART(month, c.month - 1)
PART(day_in_year, day_of_year(&c))
PART(date, c.day)
PART(day_in_month, c.day - 1)
PART(day_in_week, c.weekday)
PART(hours, c.hour)
PART(minutes, c.minute)
PART(seconds, c.second)
PART(millis, v[0].n / 1000000)

#define OF_DURATION(name, expr)                                                                              \
    static struct cel_val name(struct cel_run *r, const struct cel_val *v, unsigned n)                       \
    {                                                                                                        \
        return cel_of_int(expr);                                                                             \
    }
OF_DURATION(duration_hours, v[0].i / SECONDS(3600))
OF_DURATION(duration_minutes, v[0].i / SECONDS(60))
OF_DURATION(duration_seconds, v[0].i / NSEC_PER_SEC)
OF_DURATION(duration_millis, v[0].i / NSEC_PER_MSEC)

#define IN_ZONE(name, id, fn)                                                                                \
    {name, id, "timestamp.() int", fn, COST_ONE, 0, 0}, {name, id "_with_tz", "timestamp.(string) int", fn, COST_ONE, 0, 0}

const struct cel_fn cel_fns_time[] = {
    IN_ZONE("getFullYear", "timestamp_to_year", year),
    IN_ZONE("getMonth", "timestamp_to_month", month),
    IN_ZONE("getDayOfYear", "timestamp_to_day_of_year", day_in_year),
    IN_ZONE("getDate", "timestamp_to_day_of_month_1_based", date),
    IN_ZONE("getDayOfMonth", "timestamp_to_day_of_month", day_in_month),
    IN_ZONE("getDayOfWeek", "timestamp_to_day_of_week", day_in_week),
    IN_ZONE("getHours", "timestamp_to_hours", hours),
    IN_ZONE("getMinutes", "timestamp_to_minutes", minutes),
    IN_ZONE("getSeconds", "timestamp_to_seconds", seconds),
    IN_ZONE("getMilliseconds", "timestamp_to_milliseconds", millis),
    {"getHours", "duration_to_hours", "duration.() int", duration_hours, COST_ONE, 0, 0},
    {"getMinutes", "duration_to_minutes", "duration.() int", duration_minutes, COST_ONE, 0, 0},
    {"getSeconds", "duration_to_seconds", "duration.() int", duration_seconds, COST_ONE, 0, 0},
    {"getMilliseconds", "duration_to_milliseconds", "duration.() int", duration_millis, COST_ONE, 0, 0},
};
const size_t n_cel_fns_time = ARRAY_SIZE(cel_fns_time);
