/* SPDX-License-Identifier: Apache-2.0 */
#include "ingress/metrics.h"

#include "wire/prom.h"

static void put_labels(struct buf *b, const struct counts *c)
{
    const struct {
        const char *name, *value;
    } labels[] = {{"namespace", c->ns}, {"ingress", c->ingress}, {"host", c->host}};
    for (size_t i = 0; i < ARRAY_SIZE(labels); i++) {
        buf_printf(b, "%s%s=\"", i ? "," : "", labels[i].name);
        prom_escape(b, str_of(labels[i].value));
        buf_putc(b, '"');
    }
}

static void put_requests(void *arg, const struct counts *c)
{
    struct buf *b = arg;
    for (size_t i = 0; i < COUNT_STATUSES; i++) {
        unsigned long n = c->statuses[i];
        if (!n)
            continue;
        buf_puts(b, "cube_ingress_requests_total{");
        put_labels(b, c);
        if (count_statuses[i])
            buf_printf(b, ",status=\"%d\"} %lu\n", count_statuses[i], n);
        else
            buf_printf(b, ",status=\"other\"} %lu\n", n);
    }
}

static void put_durations(void *arg, const struct counts *c)
{
    struct buf *b = arg;
    unsigned long sum = 0;
    for (size_t i = 0; i <= COUNT_BUCKETS; i++) {
        sum += c->buckets[i];
        buf_puts(b, "cube_ingress_request_duration_seconds_bucket{");
        put_labels(b, c);
        if (i < COUNT_BUCKETS)
            buf_printf(b, ",le=\"%g\"} %lu\n", count_bounds[i], sum);
        else
            buf_printf(b, ",le=\"+Inf\"} %lu\n", sum);
    }
    buf_puts(b, "cube_ingress_request_duration_seconds_sum{");
    put_labels(b, c);
    buf_printf(b, "} %.9f\ncube_ingress_request_duration_seconds_count{", (double)c->nanoseconds / 1e9);
    put_labels(b, c);
    buf_printf(b, "} %lu\n", sum);
}

static void put_bytes(void *arg, const struct counts *c)
{
    struct buf *b = arg;
    for (int out = 0; out < 2; out++) {
        buf_puts(b, "cube_ingress_body_bytes_total{");
        put_labels(b, c);
        buf_printf(b, ",direction=\"%s\"} %lu\n", out ? "out" : "in", out ? c->bytes_out : c->bytes_in);
    }
}

void metrics_page(struct maker *m, const struct plane *plane, size_t ingresses, struct buf *b)
{
    static const struct {
        const char *name, *type, *help;
        void (*put)(void *arg, const struct counts *c);
    } families[] = {
        {"cube_ingress_requests_total", "counter", "Requests by rule and status; no ingress: none was for them", put_requests},
        {"cube_ingress_request_duration_seconds", "histogram", "From a request's head to the end of its answer", put_durations},
        {"cube_ingress_body_bytes_total", "counter", "Bytes of bodies from and to clients", put_bytes},
    };
    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", families[i].name, families[i].help, families[i].name, families[i].type);
        maker_counts(m, families[i].put, b);
    }
    buf_printf(b, "# HELP cube_ingress_connections Connections of clients\n# TYPE cube_ingress_connections gauge\n"
                  "cube_ingress_connections %u\n"
                  "# HELP cube_ingress_ingresses Ingresses that are served\n# TYPE cube_ingress_ingresses gauge\n"
                  "cube_ingress_ingresses %zu\n",
               plane ? plane_connections(plane) : 0, ingresses);
}
