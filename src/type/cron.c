/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar is that of github.com/robfig/cron's standard parser, which CronJobs are written for. */
#include "type/cron.h"

/* ---- parsing ------------------------------------------------------------------------------------------- */

struct range {
    unsigned min, max;
    const char *const *names; /* of min, min + 1 ...; NULL for none */
};

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                          "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const day_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

static const struct range ranges[] = {
    {0, 59, NULL}, {0, 23, NULL}, {1, 31, NULL}, {1, 12, month_names}, {0, 6, day_names}};

static const struct {
    const char *word, *schedule;
} words[] = {
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
    {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"},
};

static bool same_name(struct str s, const char *name)
{
    for (size_t i = 0; i < 3; i++) {
        char c = i < s.n ? s.p[i] : 0;
        if ((c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c) != name[i])
            return false;
    }
    return s.n == 3;
}

static bool number(struct str s, const struct range *r, unsigned *ret)
{
    uint64_t n;
    for (unsigned i = 0; r->names && r->names[i]; i++)
        if (same_name(s, r->names[i])) {
            *ret = r->min + i;
            return true;
        }
    if (str_to_u64(s, &n) != 0 || n > 1000000)
        return false;
    *ret = (unsigned)n;
    return true;
}

/* "*", "5", "1-5", each with "/step". */
static int parse_part(struct str s, const struct range *r, uint64_t *mask, bool *ret_any)
{
    struct str base, step_text = STR_NULL, from, to;
    unsigned lo = r->min, hi = r->max, step = 1;
    bool stepped = str_cut(s, '/', &base, &step_text);
    bool any = str_is(base, "*") || str_is(base, "?");
    if (!any) {
        bool span = str_cut(base, '-', &from, &to);
        if (!number(from, r, &lo))
            return -EINVAL;
        hi = lo;
        if (span && !number(to, r, &hi))
            return -EINVAL;
        if (!span && stepped)
            hi = r->max;
    }
    if (stepped && (!number(step_text, &(struct range){0, UINT32_MAX, NULL}, &step) || !step))
        return -EINVAL;
    if (lo < r->min || hi > r->max || lo > hi)
        return -EINVAL;
    *ret_any |= any && step == 1;
    for (unsigned i = lo; i <= hi; i += step)
        *mask |= UINT64_C(1) << i;
    return 0;
}

static int parse_field(struct str s, const struct range *r, uint64_t *ret_mask, bool *ret_any)
{
    struct str rest = s, part;
    uint64_t mask = 0;
    bool any = false;
    while (str_next(&rest, ',', &part))
        if (part.n && parse_part(part, r, &mask, &any) < 0)
            return -EINVAL;
    *ret_mask = mask;
    *ret_any = any;
    return mask ? 0 : -EINVAL;
}

/* Fields between any blanks. */
static unsigned split(struct str s, struct str *fields, unsigned max)
{
    unsigned n = 0;
    for (size_t i = 0; i < s.n;) {
        size_t start = i;
        while (i < s.n && s.p[i] != ' ' && s.p[i] != '\t')
            i++;
        if (i > start) {
            if (n < max)
                fields[n] = str_slice(s, start, i - start);
            n++;
        }
        i += i < s.n;
    }
    return n;
}

static int parse_word(struct str s, struct cron *ret, struct err *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (str_is(s, words[i].word))
            return cron_parse(str_of(words[i].schedule), ret, e);
    struct cron c = {0};
    if (!str_starts(s, STR("@every ")) || duration_parse(str_from(s, 7), &c.every) < 0)
        return err_set(e, -EINVAL, "unrecognized descriptor: " STR_FMT, STR_ARG(s));
    c.every = MAX(c.every - c.every % NSEC_PER_SEC, NSEC_PER_SEC);
    *ret = c;
    return 0;
}

int cron_parse(struct str s, struct cron *ret, struct err *e)
{
    struct str fields[5];
    struct cron c = {0};
    uint64_t *masks[] = {&c.minutes, &c.hours, &c.days, &c.months, &c.weekdays};
    bool any[5] = {0};
    if (!s.n)
        return err_set(e, -EINVAL, "empty spec string");
    if (s.p[0] == '@')
        return parse_word(s, ret, e);
    unsigned n = split(s, fields, 5);
    if (n != 5)
        return err_set(e, -EINVAL, "expected exactly 5 fields, found %u: " STR_FMT, n, STR_ARG(s));
    for (unsigned i = 0; i < 5; i++)
        if (parse_field(fields[i], &ranges[i], masks[i], &any[i]) < 0)
            return err_set(e, -EINVAL, "failed to parse field: " STR_FMT, STR_ARG(fields[i]));
    c.any_day = any[2];
    c.any_weekday = any[4];
    *ret = c;
    return 0;
}

/* ---- the next time ------------------------------------------------------------------------------------- */

struct date {
    int64_t year;
    unsigned month, day; /* from 1 */
};

/* Days since 1970 and back (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"). */
static struct date date_of(int64_t days)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned of_era = (unsigned)(days - era * 146097);
    unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
    unsigned m = (5 * of_year + 2) / 153;
    struct date d = {.year = (int64_t)year + era * 400,
                     .month = m < 10 ? m + 3 : m - 9,
                     .day = of_year - (153 * m + 2) / 5 + 1};
    d.year += d.month <= 2;
    return d;
}

static bool day_matches(const struct cron *c, int64_t days)
{
    struct date d = date_of(days);
    unsigned weekday = (unsigned)((days % 7 + 11) % 7); /* 1 January 1970 was a Thursday */
    bool day = c->days >> d.day & 1, week = c->weekdays >> weekday & 1;
    if (!(c->months >> d.month & 1))
        return false;
    return c->any_day || c->any_weekday ? day && week : day || week;
}

/* The first minute of the day at or after `from` that matches, or -1. */
static int minute_of_day(const struct cron *c, int from)
{
    for (int m = from; m < 1440; m++) {
        if (!(c->hours >> (m / 60) & 1))
            m += 59 - m % 60;
        else if (c->minutes >> (m % 60) & 1)
            return m;
    }
    return -1;
}

struct wall cron_next(const struct cron *c, struct wall after, int64_t offset)
{
    enum { MINUTE = 60, DAY = 86400, SEARCH_DAYS = 5 * 366 };
    int64_t seconds = after.ns / NSEC_PER_SEC;
    if (c->every)
        return (struct wall){(seconds * NSEC_PER_SEC) + c->every};
    int64_t local = seconds + offset / NSEC_PER_SEC;
    local = (local / MINUTE + 1) * MINUTE;
    int64_t day = local / DAY, last = day + SEARCH_DAYS;
    for (int from = (int)(local % DAY / MINUTE); day < last; day++, from = 0) {
        int m = day_matches(c, day) ? minute_of_day(c, from) : -1;
        if (m >= 0)
            return (struct wall){(day * DAY + (int64_t)m * MINUTE) * NSEC_PER_SEC - offset};
    }
    return (struct wall){0};
}
