/* SPDX-License-Identifier: Apache-2.0 */
/* Two clocks that cannot be mixed up, and RFC 3339 text as the Kubernetes API writes it. Units: nanoseconds. */
#pragma once

#include "base/str.h"

#define NSEC_PER_SEC INT64_C(1000000000)
#define NSEC_PER_MSEC INT64_C(1000000)
#define NSEC_PER_USEC INT64_C(1000)
#define SECONDS(n) ((int64_t)(n)*NSEC_PER_SEC)
#define MILLISECONDS(n) ((int64_t)(n)*NSEC_PER_MSEC)

/* Time since an arbitrary start; never jumps. All timeouts, leases and back-offs use it. */
struct mono {
    int64_t ns;
};
/* Time of day, UTC, since 1970. May jump; only for what people or other machines read. */
struct wall {
    int64_t ns;
};

#define MONO_NEVER ((struct mono){INT64_MAX})

static inline struct mono mono_add(struct mono t, int64_t ns)
{
    return (struct mono){ns > INT64_MAX - t.ns ? INT64_MAX : t.ns + ns};
}

/* Room for any of the forms below with its NUL. */
#define TIME_TEXT_MAX 40
/* "2006-01-02T15:04:05Z": metav1.Time, whole seconds. Returns ret. */
char *time_format(struct wall t, char ret[static TIME_TEXT_MAX]);
/* "2006-01-02T15:04:05.000000Z": metav1.MicroTime. */
char *time_format_micro(struct wall t, char ret[static TIME_TEXT_MAX]);
/* With up to nine fraction digits, trailing zeros cut ("...05.1234Z"): logs, CRI. */
char *time_format_nano(struct wall t, char ret[static TIME_TEXT_MAX]);
/* RFC 3339 with any fraction and offset: 0 or -EINVAL. */
int time_parse(struct str s, struct wall *ret);
/* Go's time.Duration text ("1h30m", "500ms", "2.5s", "0"): 0, -EINVAL or -ERANGE. Result in nanoseconds. */
int duration_parse(struct str s, int64_t *ret);
char *duration_format(int64_t ns, char ret[static TIME_TEXT_MAX]); /* as Go prints it: "1h30m0s" */
/* kubectl's short age: "5s", "3m10s", "4h", "12d", "2y31d" (duration.HumanDuration). */
char *duration_human(int64_t ns, char ret[static TIME_TEXT_MAX]);
