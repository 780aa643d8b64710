/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tz.h"

#include "base/os.h"

#define DATABASE "/usr/share/zoneinfo/"

enum { FILE_MAX = 1 << 20, DAY = 86400, WEEKDAY_1970 = 4 };

/* ---- the calendar (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms") --------------------- */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static int64_t days_of(int64_t year, int month, int64_t day)
{
    year += floor_div(month - 1, 12);
    month = (int)((month - 1) - floor_div(month - 1, 12) * 12) + 1;
    year -= month <= 2;
    int64_t era = floor_div(year, 400), of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void set_date(int64_t days, struct civil *ret)
{
    int64_t z = days + 719468, era = floor_div(z, 146097), of_era = z - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100), m = (5 * of_year + 2) / 153;
    ret->month = (int)(m < 10 ? m + 3 : m - 9);
    ret->day = (int)(of_year - (153 * m + 2) / 5 + 1);
    ret->year = year + era * 400 + (ret->month <= 2);
    ret->weekday = (int)(days + WEEKDAY_1970 - floor_div(days + WEEKDAY_1970, 7) * 7);
}

/* ---- zones ------------------------------------------------------------------------------------------- */

enum day_kind { DAY_MONTH_WEEK, DAY_JULIAN, DAY_OF_YEAR };

/* When clocks are changed each year. */
struct change {
    enum day_kind kind;
    int month, week, day; /* DAY_MONTH_WEEK: the week-th (5: last) such weekday; else day alone */
    int64_t time;         /* seconds since that day's midnight, by the clock before */
};

struct rule {
    int64_t standard, summer; /* offsets */
    bool changes;
    struct change to_summer, to_standard;
};

struct transition {
    int64_t at, offset;
};

struct tz {
    struct transition *transitions; /* in order */
    size_t n;
    int64_t first; /* offset before all of them */
    bool has_rule; /* for what comes after them */
    struct rule rule;
};

struct tz *tz_free(struct tz *z)
{
    if (z)
        free(z->transitions);
    free(z);
    return NULL;
}

static int64_t change_in(const struct change *c, int64_t year, int64_t offset_before)
{
    int64_t days = days_of(year, 1, 1);
    if (c->kind == DAY_OF_YEAR) {
        days += c->day;
    } else if (c->kind == DAY_JULIAN) { /* 29 February has no number */
        bool leap = days_of(year, 3, 1) - days_of(year, 2, 1) == 29;
        days += c->day - 1 + (leap && c->day >= 60);
    } else {
        struct civil first;
        int64_t next = days_of(year, c->month + 1, 1);
        days = days_of(year, c->month, 1);
        set_date(days, &first);
        days += (c->day - first.weekday + 7) % 7 + 7 * (c->week - 1);
        if (days >= next)
            days -= 7;
    }
    return days * DAY + c->time - offset_before;
}

static struct tz_span rule_at(const struct rule *r, int64_t seconds)
{
    struct tz_span span = {INT64_MIN, INT64_MAX, r->standard};
    struct civil now;
    if (!r->changes)
        return span;
    set_date(floor_div(seconds + r->standard, DAY), &now);
    for (int64_t year = now.year - 1; year <= now.year + 1; year++) {
        struct transition both[2] = {{change_in(&r->to_summer, year, r->standard), r->summer},
                                     {change_in(&r->to_standard, year, r->summer), r->standard}};
        bool swapped = both[1].at < both[0].at; /* in the south, the year begins in summer */
        for (int i = 0; i < 2; i++) {
            const struct transition *t = &both[swapped ? 1 - i : i];
            if (t->at <= seconds)
                span = (struct tz_span){t->at, INT64_MAX, t->offset};
            else
                span.until = MIN(span.until, t->at);
        }
    }
    return span;
}

struct tz_span tz_at(const struct tz *z, int64_t seconds)
{
    size_t lo = 0, hi = z ? z->n : 0;
    if (!z)
        return (struct tz_span){INT64_MIN, INT64_MAX, 0};
    while (lo < hi) { /* transitions before lo have been */
        size_t mid = lo + (hi - lo) / 2;
        if (z->transitions[mid].at <= seconds)
            lo = mid + 1;
        else
            hi = mid;
    }
    struct tz_span span = {lo ? z->transitions[lo - 1].at : INT64_MIN,
                           lo < z->n ? z->transitions[lo].at : INT64_MAX,
                           lo ? z->transitions[lo - 1].offset : z->first};
    if (lo < z->n || !z->has_rule)
        return span;
    struct tz_span by_rule = rule_at(&z->rule, seconds);
    by_rule.from = MAX(by_rule.from, span.from);
    return by_rule;
}

struct civil tz_civil(const struct tz *z, int64_t seconds)
{
    int64_t local = seconds + tz_at(z, seconds).offset, days = floor_div(local, DAY);
    int of_day = (int)(local - days * DAY);
    struct civil c = {.hour = of_day / 3600, .minute = of_day / 60 % 60, .second = of_day % 60};
    set_date(days, &c);
    return c;
}

int64_t tz_seconds(const struct tz *z, struct civil c)
{
    int64_t local = days_of(c.year, c.month, c.day) * DAY + (int64_t)c.hour * 3600 + (int64_t)c.minute * 60 + c.second;
    struct tz_span span = tz_at(z, local);
    int64_t seconds = local - span.offset;
    if (seconds < span.from || seconds >= span.until)
        seconds = local - tz_at(z, seconds).offset;
    return seconds;
}

char *tz_format(const struct tz *z, struct wall t, char ret[static TIME_TEXT_MAX])
{
    int64_t seconds = floor_div(t.ns, NSEC_PER_SEC), offset = tz_at(z, seconds).offset;
    int64_t minutes = (offset < 0 ? -offset : offset) / 60;
    time_format((struct wall){(seconds + offset) * NSEC_PER_SEC}, ret);
    if (minutes) {
        size_t n = strlen(ret) - 1; /* without the Z */
        struct buf b CLEANUP_BUF = BUF_INIT;
        buf_printf(&b, "%c%02d:%02d", offset < 0 ? '-' : '+', (int)(minutes / 60), (int)(minutes % 60));
        memcpy(ret + n, b.p, MIN(b.n + 1, TIME_TEXT_MAX - n));
    }
    return ret;
}

/* ---- rules as text (POSIX.1-2017, 8.3) ---------------------------------------------------------------- */

struct reader {
    const char *p, *end;
    bool bad;
};

static bool take(struct reader *r, char c)
{
    bool is = r->p < r->end && *r->p == c;
    r->p += is;
    return is;
}

static int number(struct reader *r, int min, int max)
{
    int n = 0;
    const char *start = r->p;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9' && r->p - start < 5)
        n = n * 10 + (*r->p++ - '0');
    r->bad |= r->p == start || n < min || n > max;
    return n;
}

static void zone_name(struct reader *r)
{
    const char *start = r->p;
    if (take(r, '<')) {
        while (r->p < r->end && *r->p != '>')
            r->p++;
        r->bad |= !take(r, '>');
        return;
    }
    while (r->p < r->end && ((*r->p >= 'a' && *r->p <= 'z') || (*r->p >= 'A' && *r->p <= 'Z')))
        r->p++;
    r->bad |= r->p - start < 3;
}

/* [+-]hh[:mm[:ss]]; up to a week, as RFC 9636 allows for changes. */
static int64_t clock_time(struct reader *r)
{
    int sign = take(r, '-') ? -1 : 1;
    if (sign > 0)
        take(r, '+');
    int64_t seconds = (int64_t)number(r, 0, 167) * 3600;
    if (take(r, ':'))
        seconds += (int64_t)number(r, 0, 59) * 60;
    if (take(r, ':'))
        seconds += number(r, 0, 59);
    return sign * seconds;
}

static struct change change_text(struct reader *r)
{
    struct change c = {.time = 7200};
    r->bad |= !take(r, ',');
    if (take(r, 'M')) {
        c.kind = DAY_MONTH_WEEK;
        c.month = number(r, 1, 12);
        r->bad |= !take(r, '.');
        c.week = number(r, 1, 5);
        r->bad |= !take(r, '.');
        c.day = number(r, 0, 6);
    } else if (take(r, 'J')) {
        c.kind = DAY_JULIAN;
        c.day = number(r, 1, 365);
    } else {
        c.kind = DAY_OF_YEAR;
        c.day = number(r, 0, 365);
    }
    if (take(r, '/'))
        c.time = clock_time(r);
    return c;
}

static int rule_text(struct str s, struct rule *ret)
{
    struct reader r = {s.p, s.p + s.n, s.n == 0};
    struct rule rule = {0};
    zone_name(&r);
    rule.standard = -clock_time(&r); /* text counts westwards */
    if (!r.bad && r.p < r.end) {
        rule.changes = true;
        zone_name(&r);
        rule.summer = r.p < r.end && *r.p != ',' ? -clock_time(&r) : rule.standard + 3600;
        rule.to_summer = change_text(&r);
        rule.to_standard = change_text(&r);
    }
    if (r.bad || r.p != r.end)
        return -EINVAL;
    *ret = rule;
    return 0;
}

int tz_parse_rule(struct str rule, struct tz **ret)
{
    struct tz z = {.has_rule = true};
    if (rule_text(rule, &z.rule) < 0)
        return -EINVAL;
    z.first = z.rule.standard;
    *ret = NEW(struct tz);
    **ret = z;
    return 0;
}

/* ---- files (RFC 9636) ---------------------------------------------------------------------------------- */

enum { HEADER = 44, TYPE = 6 };

static int64_t big_endian(const char *p, size_t n)
{
    uint64_t v = (unsigned char)p[0] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | (unsigned char)p[i];
    return (int64_t)v;
}

/* One of the two blocks that a file has. */
struct block {
    size_t utc, standard, leaps, transitions, types, letters; /* how many */
    const char *data;
    size_t size;
};

static int block_at(struct str file, size_t at, size_t time_size, struct block *ret)
{
    struct str s = str_from(file, at);
    if (s.n < HEADER || memcmp(s.p, "TZif", 4) != 0)
        return -EINVAL;
    size_t *counts[] = {&ret->utc, &ret->standard, &ret->leaps, &ret->transitions, &ret->types, &ret->letters};
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        int64_t n = big_endian(s.p + 20 + 4 * i, 4);
        if (n < 0 || n > FILE_MAX)
            return -EINVAL;
        *counts[i] = (size_t)n;
    }
    ret->data = s.p + HEADER;
    ret->size = ret->transitions * (time_size + 1) + ret->types * TYPE + ret->letters +
                ret->leaps * (time_size + 4) + ret->standard + ret->utc;
    return ret->size <= s.n - HEADER && ret->types > 0 ? 0 : -EINVAL;
}

static int64_t offset_of(const struct block *b, size_t time_size, size_t type)
{
    return big_endian(b->data + b->transitions * (time_size + 1) + type * TYPE, 4);
}

static int read_block(const struct block *b, size_t time_size, struct tz *z)
{
    const char *types = b->data + b->transitions * time_size;
    z->first = offset_of(b, time_size, 0);
    z->transitions = xcalloc(b->transitions + 1, sizeof(*z->transitions));
    for (size_t i = 0; i < b->transitions; i++) {
        size_t type = (unsigned char)types[i];
        if (type >= b->types)
            return -EINVAL;
        int64_t at = big_endian(b->data + i * time_size, time_size);
        if (i && at <= z->transitions[i - 1].at)
            return -EINVAL;
        z->transitions[z->n++] = (struct transition){at, offset_of(b, time_size, type)};
    }
    return 0;
}

static bool sane(const struct tz *z)
{
    bool good = z->first > -2 * DAY && z->first < 2 * DAY;
    for (size_t i = 0; i < z->n; i++)
        good = good && z->transitions[i].offset > -2 * DAY && z->transitions[i].offset < 2 * DAY;
    return good;
}

static int read_file(struct str file, struct tz *z)
{
    struct block b;
    if (block_at(file, 0, 4, &b) < 0)
        return -EINVAL;
    if (file.p[4] < '2')
        return read_block(&b, 4, z);
    size_t second = HEADER + b.size;
    if (block_at(file, second, 8, &b) < 0 || read_block(&b, 8, z) < 0)
        return -EINVAL;
    struct str footer = str_from(file, second + HEADER + b.size), rule, rest;
    if (footer.n && footer.p[0] == '\n' && str_cut(str_from(footer, 1), '\n', &rule, &rest) && rule.n)
        z->has_rule = rule_text(rule, &z->rule) == 0;
    return 0;
}

int tz_parse(struct str file, struct tz **ret)
{
    struct tz *z = NEW(struct tz);
    if (read_file(file, z) < 0 || !sane(z)) {
        tz_free(z);
        return -EINVAL;
    }
    *ret = z;
    return 0;
}

/* ---- finding them -------------------------------------------------------------------------------------- */

static bool is_name(struct str name)
{
    struct str rest = name, part;
    while (str_next(&rest, '/', &part)) {
        if (!part.n || part.p[0] == '-' || str_is(part, ".") || str_is(part, ".."))
            return false;
        for (size_t i = 0; i < part.n; i++)
            if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-+", part.p[i]))
                return false;
    }
    return name.n > 0 && name.n < 100;
}

static int load_path(const char *path, struct tz **ret)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str file;
    return os_read_file(&a, path, FILE_MAX, &file) < 0 || tz_parse(file, ret) < 0 ? -ENOENT : 0;
}

static int load_built_in(struct str name, struct tz **ret)
{
    for (size_t i = 0; i < n_tz_rules; i++) {
        struct str rest = str_of(tz_rules[i].names), word;
        while (str_next(&rest, ' ', &word))
            if (str_eq(word, name))
                return tz_parse_rule(str_of(tz_rules[i].rule), ret);
    }
    return -ENOENT;
}

int tz_load(struct str name, struct tz **ret)
{
    struct buf path CLEANUP_BUF = BUF_INIT;
    if (!is_name(name))
        return -EINVAL;
    if (str_is(name, "UTC"))
        return tz_parse_rule(STR("UTC0"), ret);
    buf_printf(&path, DATABASE STR_FMT, STR_ARG(name));
    return load_path(path.p, ret) == 0 ? 0 : load_built_in(name, ret);
}

struct tz *tz_local(void)
{
    struct tz *z = NULL;
    const char *name = getenv("TZ");
    if (name && name[0] == ':')
        name++;
    if (name && name[0] && name[0] != '/')
        tz_load(str_of(name), &z);
    else if (!name || name[0])
        load_path(name ? name : "/etc/localtime", &z);
    return z;
}
