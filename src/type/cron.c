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

/* What the reference parser's library does when clocks are changed is what people rely on: a time that is skipped is no
 * time, one that comes twice comes twice. It walks from unit to unit, and so does this. */
struct walk {
    const struct cron *cron;
    const struct tz *zone;
    int64_t t;  /* seconds since 1970; a whole minute */
    bool moved; /* smaller units have been set back to their start */
};

static bool day_matches(const struct cron *c, struct civil d)
{
    bool day = c->days >> d.day & 1, week = c->weekdays >> d.weekday & 1;
    return c->any_day || c->any_weekday ? day && week : day || week;
}

static struct civil now_of(const struct walk *w)
{
    return tz_civil(w->zone, w->t);
}

static void set_to(struct walk *w, struct civil c)
{
    w->t = tz_seconds(w->zone, c);
    w->moved = true;
}

/* Each of these goes on to the first unit that matches. False when a larger one has begun on the way. */
static bool find_month(struct walk *w)
{
    struct civil c;
    while (c = now_of(w), !(w->cron->months >> c.month & 1)) {
        struct civil next = w->moved ? c : (struct civil){.year = c.year, .month = c.month, .day = 1};
        next.month++;
        set_to(w, next);
        if (now_of(w).month == 1)
            return false;
    }
    return true;
}

static bool find_day(struct walk *w)
{
    struct civil c;
    while (c = now_of(w), !day_matches(w->cron, c)) {
        struct civil next = w->moved ? c : (struct civil){.year = c.year, .month = c.month, .day = c.day};
        next.day++;
        set_to(w, next);
        c = now_of(w);
        if (c.hour) /* there was no midnight */
            w->t += (int64_t)(c.hour > 12 ? 24 - c.hour : -c.hour) * 3600;
        if (now_of(w).day == 1)
            return false;
    }
    return true;
}

static bool find_hour(struct walk *w)
{
    struct civil c;
    while (c = now_of(w), !(w->cron->hours >> c.hour & 1)) {
        if (!w->moved)
            set_to(w, (struct civil){.year = c.year, .month = c.month, .day = c.day, .hour = c.hour});
        w->t += 3600;
        if (now_of(w).hour == 0)
            return false;
    }
    return true;
}

static bool find_minute(struct walk *w)
{
    struct civil c;
    while (c = now_of(w), !(w->cron->minutes >> c.minute & 1)) {
        w->moved = true;
        w->t += 60;
        if (c.minute == 59)
            return false;
    }
    return true;
}

struct wall cron_next(const struct cron *c, struct wall after, const struct tz *zone)
{
    enum { SEARCH_YEARS = 5 };
    int64_t seconds = after.ns / NSEC_PER_SEC;
    if (c->every)
        return (struct wall){(seconds * NSEC_PER_SEC) + c->every};
    struct walk w = {.cron = c, .zone = zone, .t = (seconds / 60 + 1) * 60};
    int64_t last = tz_civil(zone, seconds).year + SEARCH_YEARS;
    while (now_of(&w).year <= last)
        if (find_month(&w) && find_day(&w) && find_hour(&w) && find_minute(&w))
            return (struct wall){w.t * NSEC_PER_SEC};
    return (struct wall){0};
}
