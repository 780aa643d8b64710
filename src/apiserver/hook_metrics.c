/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/hook_metrics.h"

#include <stdio.h>

enum { ROWS_MAX = 4000, BUCKETS = 8 };
static const double bounds[BUCKETS] = {0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 25};

struct hook_duration {
    uint64_t n, buckets[BUCKETS];
    double seconds;
};

static const struct {
    const char *name, *help;
} counters[] = {
    {"apiserver_admission_webhook_request_total", "Calls to admission webhooks by answer."},
    {"apiserver_admission_webhook_rejection_count", "Requests that admission webhooks, or failures to call them, refused."},
    {"apiserver_admission_webhook_fail_open_count", "Requests that went on though a webhook could not be called."},
};
enum { REQUESTS, REJECTIONS, OPEN };

static void count(struct hook_metrics *m, int which, const char *labels)
{
    char key[700];
    int n = snprintf(key, sizeof(key), "%s{%s}", counters[which].name, labels);
    struct str k = str_n(key, MIN((size_t)n, sizeof(key) - 1));
    uintptr_t was = (uintptr_t)map_get(&m->counts, k);
    if (was || m->counts.n < ROWS_MAX)
        map_put(&m->counts, k, (void *)(was + 1));
}

static void add_duration(struct hook_metrics *m, const char *labels, int64_t took)
{
    struct hook_duration *d = map_get(&m->durations, str_of(labels));
    double s = (double)took / (double)NSEC_PER_SEC;
    if (!d && m->durations.n >= ROWS_MAX)
        return;
    if (!d) {
        d = NEW(struct hook_duration);
        map_put(&m->durations, str_of(labels), d);
    }
    d->n++;
    d->seconds += s;
    for (int i = 0; i < BUCKETS; i++)
        d->buckets[i] += s <= bounds[i];
}

void hook_metrics_see(struct hook_metrics *m, const struct hook_seen *h)
{
    const char *type = h->mutating ? "admit" : "validating", *rejected = h->error ? "true" : "false";
    int code = MIN(h->code, 600); /* a webhook may say anything */
    char labels[600];
    snprintf(labels, sizeof(labels), "code=\"%d\",name=\"" STR_FMT "\",operation=\"%s\",rejected=\"%s\",type=\"%s\"", code, STR_ARG(h->name),
             h->operation, rejected, type);
    count(m, REQUESTS, labels);
    snprintf(labels, sizeof(labels), "name=\"" STR_FMT "\",operation=\"%s\",rejected=\"%s\",type=\"%s\"", STR_ARG(h->name), h->operation, rejected, type);
    add_duration(m, labels, h->took);
    if (h->error) {
        snprintf(labels, sizeof(labels), "error_type=\"%s\",name=\"" STR_FMT "\",operation=\"%s\",rejection_code=\"%d\",type=\"%s\"", h->error,
                 STR_ARG(h->name), h->operation, code, type);
        count(m, REJECTIONS, labels);
    }
    snprintf(labels, sizeof(labels), "name=\"" STR_FMT "\",type=\"%s\"", STR_ARG(h->name), type);
    if (h->failed_open)
        count(m, OPEN, labels);
}

static void write_durations(const struct hook_metrics *m, struct buf *b)
{
    static const char name[] = "apiserver_admission_webhook_admission_duration_seconds";
    buf_printf(b, "# HELP %s How long admission webhooks took.\n# TYPE %s histogram\n", name, name);
    MAP_EACH (&m->durations, e) {
        const struct hook_duration *d = e->value;
        for (int i = 0; i < BUCKETS; i++)
            buf_printf(b, "%s_bucket{" STR_FMT ",le=\"%g\"} %llu\n", name, STR_ARG(e->key), bounds[i], (unsigned long long)d->buckets[i]);
        buf_printf(b, "%s_bucket{" STR_FMT ",le=\"+Inf\"} %llu\n", name, STR_ARG(e->key), (unsigned long long)d->n);
        buf_printf(b, "%s_sum{" STR_FMT "} %g\n", name, STR_ARG(e->key), d->seconds);
        buf_printf(b, "%s_count{" STR_FMT "} %llu\n", name, STR_ARG(e->key), (unsigned long long)d->n);
    }
}

void hook_metrics_write(const struct hook_metrics *m, struct buf *b)
{
    for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
        buf_printf(b, "# HELP %s %s\n# TYPE %s counter\n", counters[i].name, counters[i].help, counters[i].name);
        MAP_EACH (&m->counts, e)
            if (str_starts(e->key, str_of(counters[i].name)))
                buf_printf(b, STR_FMT " %llu\n", STR_ARG(e->key), (unsigned long long)(uintptr_t)e->value);
    }
    write_durations(m, b);
}

void hook_metrics_done(struct hook_metrics *m)
{
    map_done(&m->counts);
    map_done_with(&m->durations, free);
}
