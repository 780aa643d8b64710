/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules of CronJobs: five fields of crontab(5), names of months and weekdays, and the words "@daily" ...
 */
#pragma once

#include "base/err.h"
#include "base/tz.h"

struct cron {
    uint64_t minutes, hours, days, months,
        weekdays;              /* a bit each: days and months from 1, weekdays from Sunday 0 */
    bool any_day, any_weekday; /* "*": the other of the two decides alone */
    int64_t every;             /* of "@every 1h": nanoseconds; the masks are empty then */
};

/* 0 or -EINVAL. "TZ=..." in front is not understood: timeZone has a field of its own. */
int cron_parse(struct str s, struct cron *ret, struct err *e);
/* The first moment after `after` that the schedule names on the zone's clocks (NULL: UTC); {0} when there is none
 * within five years. */
struct wall cron_next(const struct cron *c, struct wall after, const struct tz *zone);
