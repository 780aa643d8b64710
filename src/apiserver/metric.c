/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/metric.h"

enum { BOUNDS_MAX = 24, ROWS_MAX = 2000 };

/* The bounds of upstream's histograms; each ends with 0 (or is full). */
static const double request_bounds[] = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60, 0};
static const double field_bounds[] = {0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60, 0};
static const double filter_bounds[] = {0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 5.0, 10.0, 15.0, 30.0, 0};
static const double admission_bounds[] = {0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 0};
static const double body_bounds[] = {50000, 150000, 250000, 350000, 450000, 550000, 650000, 750000, 850000, 950000, 1050000, 1150000, 1250000,
                                     1350000, 1450000, 1550000, 1650000, 1750000, 1850000, 1950000, 2050000, 3050000, 0};
static const double event_bounds[] = {1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 0};
static const double certificate_bounds[] = {0.5, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 345600, 604800, 2592000, 7776000, 15552000, 31104000, 0};

static const struct definition {
    const char *name, *help;
    const double *bounds; /* NULL: a counter */
    enum metric counts;   /* a counter of another family's observations; 0: of its own */
} definitions[METRICS] = {
    [METRIC_USER_REQUESTS] = {"authenticated_user_requests", "Requests of known clients.", NULL},
    [METRIC_FILTER_SECONDS] = {"apiserver_request_filter_duration_seconds", "How long a stage before the work took.", filter_bounds},
    [METRIC_CERTIFICATE_SECONDS] = {"apiserver_client_certificate_expiration_seconds", "Life that was left of clients' certificates.", certificate_bounds},
    [METRIC_BODY_BYTES] = {"apiserver_request_body_size_bytes", "Bodies of requests.", body_bounds},
    [METRIC_FIELD_VALIDATION_SECONDS] = {"field_validation_request_duration_seconds", "How long writes took by fieldValidation.", field_bounds},
    [METRIC_ADMISSION_STEP_SECONDS] = {"apiserver_admission_step_admission_duration_seconds", "How long all plugins took.", admission_bounds},
    [METRIC_ADMISSION_PLUGIN_SECONDS] = {"apiserver_admission_controller_admission_duration_seconds", "How long a plugin took.", admission_bounds},
    [METRIC_POD_SECURITY] = {"pod_security_evaluations_total", "Pods judged by Pod Security.", NULL},
    [METRIC_STORE_REQUESTS] = {"etcd_requests_total", "Transactions of the store.", NULL, METRIC_STORE_SECONDS},
    [METRIC_STORE_SECONDS] = {"etcd_request_duration_seconds", "How long they took until they were durable.", request_bounds},
    [METRIC_LISTS] = {"apiserver_storage_list_total", "Lists that were read.", NULL},
    [METRIC_LIST_FETCHED] = {"apiserver_storage_list_fetched_objects_total", "Objects looked at for lists.", NULL},
    [METRIC_LIST_EVALUATED] = {"apiserver_storage_list_evaluated_objects_total", "Objects compared with selectors.", NULL},
    [METRIC_LIST_RETURNED] = {"apiserver_storage_list_returned_objects_total", "Objects in lists.", NULL},
    [METRIC_WATCH_EVENTS] = {"apiserver_watch_events_total", "Events sent to watchers.", NULL, METRIC_WATCH_BYTES},
    [METRIC_WATCH_BYTES] = {"apiserver_watch_events_sizes", "Their sizes.", event_bounds},
};

struct row {
    uint64_t n, buckets[BOUNDS_MAX];
    double sum;
};

static struct row *row_of(struct metric_set *m, enum metric which, struct str labels)
{
    struct map *rows = &m->rows[which];
    struct row *row = map_get(rows, labels);
    if (!row && rows->n < ROWS_MAX)
        map_put(rows, labels, row = NEW(struct row));
    return row;
}

void metric_add(struct metric_set *m, enum metric which, struct str labels, double v)
{
    struct row *row = row_of(m, which, labels);
    if (row)
        row->sum += v;
}

void metric_observe(struct metric_set *m, enum metric which, struct str labels, double v)
{
    struct row *row = row_of(m, which, labels);
    const double *bounds = definitions[which].bounds;
    if (!row)
        return;
    row->n++;
    row->sum += v;
    for (int i = 0; i < BOUNDS_MAX && bounds[i]; i++)
        if (v <= bounds[i]) {
            row->buckets[i]++; /* each its own only: summed up when written */
            break;
        }
}

static void write_histogram(const struct definition *d, struct str labels, const struct row *row, struct buf *b)
{
    const char *comma = labels.n ? "," : "";
    uint64_t n = 0;
    for (int i = 0; i < BOUNDS_MAX && d->bounds[i]; i++) {
        n += row->buckets[i];
        buf_printf(b, "%s_bucket{" STR_FMT "%sle=\"%g\"} %llu\n", d->name, STR_ARG(labels), comma, d->bounds[i], (unsigned long long)n);
    }
    buf_printf(b, "%s_bucket{" STR_FMT "%sle=\"+Inf\"} %llu\n", d->name, STR_ARG(labels), comma, (unsigned long long)row->n);
    const char *open = labels.n ? "{" : "", *close = labels.n ? "}" : "";
    buf_printf(b, "%s_sum%s" STR_FMT "%s %.17g\n", d->name, open, STR_ARG(labels), close, row->sum);
    buf_printf(b, "%s_count%s" STR_FMT "%s %llu\n", d->name, open, STR_ARG(labels), close, (unsigned long long)row->n);
}

void metric_write(const struct metric_set *m, struct buf *b)
{
    for (int which = 0; which < METRICS; which++) {
        const struct definition *d = &definitions[which];
        buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", d->name, d->help, d->name, d->bounds ? "histogram" : "counter");
        MAP_EACH(&m->rows[d->counts ? d->counts : which], e)
        {
            const struct row *row = e->value;
            if (d->bounds)
                write_histogram(d, e->key, row, b);
            else
                buf_printf(b, "%s%s" STR_FMT "%s %.17g\n", d->name, e->key.n ? "{" : "", STR_ARG(e->key), e->key.n ? "}" : "",
                           d->counts ? (double)row->n : row->sum);
        }
    }
}

void metric_done(struct metric_set *m)
{
    for (int i = 0; i < METRICS; i++)
        map_done_with(&m->rows[i], free);
}
