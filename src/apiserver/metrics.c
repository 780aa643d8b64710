/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/metrics.h"

#include <stdio.h>

#include "apiserver/aggregate.h"
#include "apiserver/audit.h"
#include "apiserver/auth_state.h"
#include "apiserver/encryption.h"
#include "apiserver/flow.h"
#include "apiserver/state.h"
#include "apiserver/request.h"
#include "base/os.h"
#include "client/serving.h"

enum { ROWS_MAX = 4000, BUCKETS = 23, SIZES = 7 };
static const double bucket_bounds[BUCKETS] = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60};
static const double size_bounds[SIZES] = {1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};

/* Buckets count what is their own only; they are summed up when written. */
struct metric_row {
    uint64_t n, timed, buckets[BUCKETS], sli_buckets[BUCKETS], sized, sizes[SIZES];
    double seconds, sli_seconds, bytes;
};

/* Upstream's words: of resources the verb's, else the method's. */
static const char *verb_text(const struct request *r)
{
    static const char *const verbs[][2] = {{"get", "GET"}, {"list", "LIST"}, {"watch", "WATCH"}, {"create", "POST"}, {"update", "PUT"},
                                           {"patch", "PATCH"}, {"delete", "DELETE"}, {"deletecollection", "DELETECOLLECTION"}, {"post", "POST"},
                                           {"put", "PUT"}, {"head", "HEAD"}, {"options", "OPTIONS"}};
    if (r->body_media == MEDIA_APPLY_PATCH)
        return "APPLY";
    if (r->sub && request_long_running(r) && !str_is(r->info.verb, "watch"))
        return "CONNECT";
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (str_is(r->info.verb, verbs[i][0]))
            return verbs[i][1];
    return "other";
}

static struct str labels_of(const struct request *r, int code, char *p, size_t size)
{
    const char *scope = r->info.name.n        ? "resource"
                        : r->info.ns.n        ? "namespace"
                        : r->info.is_resource ? "cluster"
                                              : "";
    int n = snprintf(p, size, "%d|component=\"apiserver\",dry_run=\"%s\",group=\"%.*s\",resource=\"%.*s\",scope=\"%s\",subresource=\"%.*s\",verb=\"%s\",version=\"%.*s\"",
                     code, r->opt.dry_run ? "All" : "", STR_ARG(r->res ? r->info.group : STR("")), STR_ARG(r->res ? r->info.resource : STR("")), scope,
                     STR_ARG(r->sub ? r->info.subresource : STR("")), verb_text(r), STR_ARG(r->res ? r->info.version : STR("")));
    return str_n(p, MIN((size_t)n, size - 1));
}

static void fill(uint64_t *buckets, const double *bounds, int n, double v)
{
    for (int i = 0; i < n; i++)
        if (v <= bounds[i]) {
            buckets[i]++;
            return;
        }
}

/* What else is told of requests for resources. */
static void observe_more(struct metrics *m, const struct request *r, double seconds)
{
    char text[256];
    bool writes = str_is(r->info.verb, "create") || str_is(r->info.verb, "update") || str_is(r->info.verb, "patch");
    if (r->x->tls && r->x->tls->verified)
        metric_observe(&m->set, METRIC_CERTIFICATE_SECONDS, STR(""), (double)(r->x->tls->not_after.ns - r->now.ns) / 1e9);
    if (!r->res || !writes)
        return;
    struct str v = r->opt.field_validation.n ? r->opt.field_validation : STR("Warn");
    int n = snprintf(text, sizeof(text), "field_validation=\"%.*s\"", STR_ARG(v));
    if (str_is(v, "Warn") || str_is(v, "Strict") || str_is(v, "Ignore"))
        metric_observe(&m->set, METRIC_FIELD_VALIDATION_SECONDS, str_n(text, (size_t)n), seconds);
    n = snprintf(text, sizeof(text), "group=\"%.*s\",resource=\"%.*s\",verb=\"%.*s\"", STR_ARG(r->info.group), STR_ARG(r->info.resource),
                 STR_ARG(r->info.verb));
    if ((size_t)n < sizeof(text))
        metric_observe(&m->set, METRIC_BODY_BYTES, str_n(text, (size_t)n), (double)r->body.n);
}

void metrics_request(struct metrics *m, const struct request *r)
{
    char text[400];
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
    double s = (double)(os_mono().ns - r->begun.ns) / 1e9, sli = s - (double)r->not_ours / 1e9;
    row->timed++;
    row->seconds += s;
    row->sli_seconds += sli;
    fill(row->buckets, bucket_bounds, BUCKETS, s);
    fill(row->sli_buckets, bucket_bounds, BUCKETS, sli);
    if (str_is(r->info.verb, "get") || str_is(r->info.verb, "list")) {
        row->sized++;
        row->bytes += (double)r->x->bytes_written;
        fill(row->sizes, size_bounds, SIZES, (double)r->x->bytes_written);
    }
    observe_more(m, r, s);
}

static const char *known_user(struct str name)
{
    static const char *const known[] = {"admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default"};
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (str_is(name, known[i]))
            return known[i];
    return str_find(name, '@') >= 0 ? "email_id" : "other";
}

void metrics_stage(struct metrics *m, const struct request *r, enum metrics_stage stage, int e, struct mono begun)
{
    static const struct str filters[] = {{"filter=\"authentication\"", 23}, {"filter=\"impersonation\"", 22},
                                         {"filter=\"priorityandfairness\"", 28}, {"filter=\"authorization\"", 22}};
    double s = (double)(os_mono().ns - begun.ns) / 1e9;
    metric_observe(&m->set, METRIC_FILTER_SECONDS, filters[stage], s);
    char text[96];
    int n = snprintf(text, sizeof(text), "username=\"%s\"", known_user(r->user.name));
    if (stage == METRICS_AUTHENTICATION && e == 0)
        metric_add(&m->set, METRIC_USER_REQUESTS, str_n(text, (size_t)n), 1);
}

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void gauge(struct buf *b, const char *name, const char *labels, double v)
{
    buf_printf(b, "%s%s%s%s %.17g\n", name, *labels ? "{" : "", labels, *labels ? "}" : "", v);
}

static void put_histogram(struct buf *b, const char *name, struct str labels, const double *bounds, int n_bounds, const uint64_t *buckets,
                          uint64_t count, double sum)
{
    uint64_t n = 0;
    for (int i = 0; i < n_bounds; i++)
        buf_printf(b, "%s_bucket{" STR_FMT ",le=\"%g\"} %llu\n", name, STR_ARG(labels), bounds[i], (unsigned long long)(n += buckets[i]));
    buf_printf(b, "%s_bucket{" STR_FMT ",le=\"+Inf\"} %llu\n", name, STR_ARG(labels), (unsigned long long)count);
    buf_printf(b, "%s_sum{" STR_FMT "} %.17g\n%s_count{" STR_FMT "} %llu\n", name, STR_ARG(labels), sum, name, STR_ARG(labels), (unsigned long long)count);
}

/* Rows of all codes of the same labels together: those of histograms have no code. */
static void sum_up(const struct metrics *m, struct map *ret)
{
    struct str code, labels;
    MAP_EACH(&m->requests, e)
    {
        const struct metric_row *row = e->value;
        str_cut(e->key, '|', &code, &labels);
        struct metric_row *all = map_get(ret, labels);
        if (!all)
            map_put(ret, labels, all = NEW(struct metric_row));
        all->timed += row->timed;
        all->seconds += row->seconds;
        all->sli_seconds += row->sli_seconds;
        all->sized += row->sized;
        all->bytes += row->bytes;
        for (int i = 0; i < BUCKETS; i++) {
            all->buckets[i] += row->buckets[i];
            all->sli_buckets[i] += row->sli_buckets[i];
        }
        for (int i = 0; i < SIZES; i++)
            all->sizes[i] += row->sizes[i];
    }
}

static void write_requests(const struct metrics *m, struct buf *b)
{
    struct map sums = MAP_INIT;
    struct str code, labels;
    head(b, "apiserver_request_total", "counter", "Requests by verb, resource and response code.");
    MAP_EACH(&m->requests, e) {
        str_cut(e->key, '|', &code, &labels);
        buf_printf(b, "apiserver_request_total{code=\"%.*s\",%.*s} %llu\n", STR_ARG(code), STR_ARG(labels),
                   (unsigned long long)((const struct metric_row *)e->value)->n);
    }
    sum_up(m, &sums);
    head(b, "apiserver_request_duration_seconds", "histogram", "How long requests took.");
    MAP_EACH(&sums, e)
    {
        const struct metric_row *row = e->value;
        if (row->timed)
            put_histogram(b, "apiserver_request_duration_seconds", e->key, bucket_bounds, BUCKETS, row->buckets, row->timed, row->seconds);
    }
    head(b, "apiserver_request_sli_duration_seconds", "histogram", "The same without waiting for a turn and for webhooks.");
    MAP_EACH(&sums, e)
    {
        const struct metric_row *row = e->value;
        if (row->timed)
            put_histogram(b, "apiserver_request_sli_duration_seconds", e->key, bucket_bounds, BUCKETS, row->sli_buckets, row->timed, row->sli_seconds);
    }
    head(b, "apiserver_response_sizes", "histogram", "Bytes of answers to reads.");
    MAP_EACH(&sums, e)
    {
        const struct metric_row *row = e->value;
        if (row->sized)
            put_histogram(b, "apiserver_response_sizes", e->key, size_bounds, SIZES, row->sizes, row->sized, row->bytes);
    }
    map_done_with(&sums, free);
}

/* ---- what is known of kinds ---------------------------------------------------------------------------- */

static double objects_of(const struct cache_kind *k)
{
    return (double)tree_count(k->root);
}

static double capacity_of(const struct cache_kind *k)
{
    return (double)k->cap;
}

static double events_of(const struct cache_kind *k)
{
    return (double)k->next - 1;
}

static double revision_of(const struct cache_kind *k)
{
    return (double)k->changed;
}

static double one(const struct cache_kind *k UNUSED)
{
    return 1;
}

static const struct kind_metric {
    const char *name, *type, *help;
    double (*value)(const struct cache_kind *k);
} kind_metrics[] = {
    {"apiserver_resource_objects", "gauge", "Stored objects.", objects_of},
    {"apiserver_storage_events_received_total", "counter", "Changes that the store told of.", events_of},
    {"apiserver_watch_cache_events_received_total", "counter", "Changes that the watch cache took.", events_of},
    {"apiserver_watch_cache_initializations_total", "counter", "Times that the watch cache was filled.", one},
    {"apiserver_watch_cache_resource_version", "gauge", "Revision of the last change.", revision_of},
    {"watch_cache_capacity", "gauge", "Recent changes for which there is room.", capacity_of},
};

static void write_kinds(struct apiserver *s, struct buf *b)
{
    for (size_t m = 0; m < ARRAY_SIZE(kind_metrics); m++) {
        const struct kind_metric *km = &kind_metrics[m];
        head(b, km->name, km->type, km->help);
        for (size_t i = 0; i < cache_count(s->cache); i++) {
            const struct cache_kind *k = cache_at(s->cache, i);
            if (k)
                buf_printf(b, "%s{group=\"%s\",resource=\"%s\"} %.17g\n", km->name, k->res->group, k->res->name, km->value(k));
        }
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
    write_kinds(s, b);
    head(b, "apiserver_longrunning_requests", "gauge", "Watches being served.");
    gauge(b, "apiserver_longrunning_requests", "component=\"apiserver\",verb=\"WATCH\"", s->watches);
    head(b, "apiserver_current_inqueue_requests", "gauge", "Requests that wait for their turn.");
    gauge(b, "apiserver_current_inqueue_requests", "request_kind=\"readOnly\"", s->in_queue[IN_FLIGHT_READ]);
    gauge(b, "apiserver_current_inqueue_requests", "request_kind=\"mutating\"", s->in_queue[IN_FLIGHT_WRITE]);
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
    process_metrics(s->started, b);
    head(b, "apiserver_tls_handshake_errors_total", "counter", "Connections that were no TLS.");
    gauge(b, "apiserver_tls_handshake_errors_total", "", s->http ? (double)http_server_tls_failures(s->http) : 0);
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
    metric_write(&s->metrics.set, b);
    encryption_metrics(s->encryption, b);
    aggregate_metrics(s, b);
    hook_metrics_write(&s->metrics.hooks, b);
}

void metrics_done(struct metrics *m)
{
    map_done_with(&m->requests, free);
    hook_metrics_done(&m->hooks);
    metric_done(&m->set);
}
