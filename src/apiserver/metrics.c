/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/metrics.h"

#include <stdio.h>
#include <unistd.h>

#include "apiserver/aggregate.h"
#include "apiserver/audit.h"
#include "apiserver/auth_state.h"
#include "apiserver/encryption.h"
#include "apiserver/flow.h"
#include "apiserver/state.h"
#include "apiserver/request.h"
#include "base/os.h"

enum { ROWS_MAX = 4000, BUCKETS = 12 };
static const double bucket_bounds[BUCKETS] = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 10, 60};

struct metric_row {
    uint64_t n, buckets[BUCKETS];
    double seconds;
    char duration_labels[224]; /* the labels without the code */
};

static struct str labels_of(const struct request *r, int code, char *p, size_t size)
{
    char version[128] = "";
    const char *scope = r->info.name.n        ? "resource"
                        : r->info.ns.n        ? "namespace"
                        : r->info.is_resource ? "cluster"
                                              : "";
    snprintf(version, sizeof(version),
             "group=\"%.*s\",resource=\"%.*s\",scope=\"%s\",subresource=\"%.*s\",verb=\"%.*s\"",
             STR_ARG(r->res ? r->info.group : STR("")), STR_ARG(r->res ? r->info.resource : STR("")), scope,
             STR_ARG(r->sub ? r->info.subresource : STR("")), STR_ARG(r->info.verb));
    int n = snprintf(p, size, "%d|%s,version=\"%.*s\"", code, version,
                     STR_ARG(r->res ? r->info.version : STR("")));
    return str_n(p, MIN((size_t)n, size - 1));
}

void metrics_request(struct metrics *m, const struct request *r)
{
    char text[320];
    int code = r->status.code ? r->status.code : r->answer.code;
    struct str key = labels_of(r, code, text, sizeof(text));
    struct metric_row *row = map_get(&m->requests, key);
    if (!row) {
        if (m->requests.n >= ROWS_MAX)
            return;
        row = NEW(struct metric_row);
        map_put(&m->requests, key, row);
    }
    row->n++;
    if (request_long_running(r))
        return;
    double s = (double)(os_mono().ns - r->begun.ns) / 1e9;
    row->seconds += s;
    for (int i = 0; i < BUCKETS; i++)
        if (s <= bucket_bounds[i])
            row->buckets[i]++;
}

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void gauge(struct buf *b, const char *name, const char *labels, double v)
{
    buf_printf(b, "%s%s%s%s %.17g\n", name, *labels ? "{" : "", labels, *labels ? "}" : "", v);
}

static void write_requests(const struct metrics *m, struct buf *b)
{
    struct str code, labels;
    head(b, "apiserver_request_total", "counter", "Requests by verb, resource and response code.");
    MAP_EACH(&m->requests, e) {
        const struct metric_row *row = e->value;
        str_cut(e->key, '|', &code, &labels);
        buf_printf(b,
                   "apiserver_request_total{code=\"%.*s\",component=\"apiserver\",dry_run=\"\",%.*s} %llu\n",
                   STR_ARG(code), STR_ARG(labels), (unsigned long long)row->n);
    }
    head(b, "apiserver_request_duration_seconds", "histogram", "How long requests took.");
    MAP_EACH(&m->requests, e) {
        const struct metric_row *row = e->value;
        str_cut(e->key, '|', &code, &labels);
        for (int i = 0; i < BUCKETS; i++)
            buf_printf(b, "apiserver_request_duration_seconds_bucket{code=\"%.*s\",%.*s,le=\"%g\"} %llu\n",
                       STR_ARG(code), STR_ARG(labels), bucket_bounds[i], (unsigned long long)row->buckets[i]);
        buf_printf(b, "apiserver_request_duration_seconds_bucket{code=\"%.*s\",%.*s,le=\"+Inf\"} %llu\n",
                   STR_ARG(code), STR_ARG(labels), (unsigned long long)row->n);
        buf_printf(b, "apiserver_request_duration_seconds_sum{code=\"%.*s\",%.*s} %g\n", STR_ARG(code),
                   STR_ARG(labels), row->seconds);
        buf_printf(b, "apiserver_request_duration_seconds_count{code=\"%.*s\",%.*s} %llu\n", STR_ARG(code),
                   STR_ARG(labels), (unsigned long long)row->n);
    }
}

static void write_objects(struct apiserver *s, struct buf *b)
{
    char labels[256];
    head(b, "apiserver_storage_objects", "gauge", "Stored objects by resource.");
    for (unsigned i = 1; i < n_resources; i++) {
        const struct resource *res = &resources[i];
        struct cache_kind *k = cache_kind(s->cache, res);
        if (!k || k->res != res)
            continue;
        snprintf(labels, sizeof(labels), "resource=\"%s%s%s\"", res->name, res->group[0] ? "." : "",
                 res->group);
        gauge(b, "apiserver_storage_objects", labels, (double)tree_count(k->root));
    }
    head(b, "apiserver_longrunning_requests", "gauge", "Watches being served.");
    gauge(b, "apiserver_longrunning_requests", "verb=\"WATCH\"", s->watches);
    head(b, "apiserver_current_inflight_requests", "gauge", "Requests being worked on.");
    gauge(b, "apiserver_current_inflight_requests", "request_kind=\"readOnly\"",
          s->in_flight[IN_FLIGHT_READ]);
    gauge(b, "apiserver_current_inflight_requests", "request_kind=\"mutating\"",
          s->in_flight[IN_FLIGHT_WRITE]);
}

static void write_store(struct apiserver *s, struct buf *b)
{
    struct store_stats st;
    store_stats(s->store, &st);
    head(b, "apiserver_storage_size_bytes", "gauge", "Bytes of the store on disk.");
    gauge(b, "apiserver_storage_size_bytes", "storage_cluster_id=\"cube\"", (double)st.bytes_disk);
    head(b, "cube_store_writes_total", "counter", "Transactions committed.");
    gauge(b, "cube_store_writes_total", "", (double)st.writes);
    head(b, "cube_store_syncs_total", "counter", "Times the log was synced to disk.");
    gauge(b, "cube_store_syncs_total", "", (double)st.syncs);
}

static void write_process(struct apiserver *s, struct buf *b)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str statm;
    long long pages = 0, resident = 0;
    if (os_read_file(&a, "/proc/self/statm", 4096, &statm) == 0)
        sscanf(statm.p, "%lld %lld", &pages, &resident);
    head(b, "process_resident_memory_bytes", "gauge", "Memory in use.");
    gauge(b, "process_resident_memory_bytes", "", (double)(resident * sysconf(_SC_PAGESIZE)));
    head(b, "process_start_time_seconds", "gauge", "When the process began.");
    gauge(b, "process_start_time_seconds", "",
          (double)(os_wall().ns - (os_mono().ns - s->started.ns)) / (double)NSEC_PER_SEC);
    head(b, "kubernetes_build_info", "gauge", "What was built.");
    gauge(b, "kubernetes_build_info", "major=\"1\",minor=\"37\",git_version=\"v1.37.2+cube\"", 1);
}

void metrics_write(struct apiserver *s, struct buf *b)
{
    write_requests(&s->metrics, b);
    write_objects(s, b);
    write_store(s, b);
    write_process(s, b);
    auth_metrics(s, b);
    audit_metrics(s, b);
    flow_metrics(s, b);
    encryption_metrics(s->encryption, b);
    aggregate_metrics(s, b);
    hook_metrics_write(&s->metrics.hooks, b);
}

void metrics_done(struct metrics *m)
{
    map_done_with(&m->requests, free);
    hook_metrics_done(&m->hooks);
}
