/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time zones: what the clock on the wall shows. Zones come from the machine's database (TZif files, RFC 9636) or, where
 * it has none, from rules that are built in (tz_names.c): they know how each zone keeps its clocks now, not how it did.
 */
#pragma once

#include "base/time.h"

struct tz; /* NULL is UTC */

/* The zone with that IANA name ("Europe/Berlin"). 0, -EINVAL for what cannot be a name, -ENOENT. Does not wait. */
int tz_load(struct str name, struct tz **ret);
/* The machine's own: TZ, or /etc/localtime; UTC (NULL) when neither makes sense. */
struct tz *tz_local(void);
int tz_parse(struct str file, struct tz **ret);      /* the content of a TZif file: 0 or -EINVAL */
int tz_parse_rule(struct str rule, struct tz **ret); /* POSIX' TZ: "CET-1CEST,M3.5.0,M10.5.0/3" */
struct tz *tz_free(struct tz *z);                    /* returns NULL */

/* How far east of UTC clocks are at a moment (seconds), and since and until when it is so. */
struct tz_span {
    int64_t from, until; /* seconds since 1970: [from, until) */
    int64_t offset;
};
struct tz_span tz_at(const struct tz *z, int64_t seconds);

/* A date and time as people say it. */
struct civil {
    int64_t year;
    int month, day; /* from 1 */
    int hour, minute, second;
    int weekday; /* from Sunday 0; not read by tz_seconds */
};
struct civil tz_civil(const struct tz *z, int64_t seconds);
/* The moment that the clock shows it. Members beyond their range carry over (day 32, month 13). Of what it shows twice,
 * one of the two; of what it skips, a moment as far beside the jump: which, is as Go's time.Date has it. */
int64_t tz_seconds(const struct tz *z, struct civil c);
/* RFC 3339 with the zone's offset: "2006-01-02T15:04:05+02:00". */
char *tz_format(const struct tz *z, struct wall t, char ret[static TIME_TEXT_MAX]);

/* Rules that are built in (tz_names.c). names: with a space after each. */
struct tz_rule {
    const char *rule, *names;
};
extern const struct tz_rule tz_rules[];
extern const size_t n_tz_rules;
