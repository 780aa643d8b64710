/* SPDX-License-Identifier: Apache-2.0 */
#include "node/metrics.h"

#include "grpc.h"
#include "net/grpc.h"
#include "node/dra.h"
#include "wire/prom.h"

enum { BUCKETS_MAX = 15 };

/* Upstream's buckets, in seconds: each so many times the one before. */
struct scale {
    unsigned n;
    double first, factor;
};
static const struct scale usual = {14, 0.005, 2.5};
static const struct scale devices = {15, 0.1, 1.534127404634}; /* up to 40 s */

struct histogram {
    const struct scale *scale; /* NULL: the usual one */
    uint64_t counts[BUCKETS_MAX + 1], n;
    double sum;
};

static const struct scale *scale_of(const struct histogram *h)
{
    return h->scale ? h->scale : &usual;
}

static double bucket(const struct scale *s, unsigned i)
{
    double b = s->first;
    while (i--)
        b *= s->factor;
    return b;
}

struct operation {
    struct histogram time;
    uint64_t errors;
};

struct probe_count {
    uint64_t results[3]; /* of enum probe_result */
};

struct metrics {
    struct map operations; /* by upstream's name of the operation */
    struct map probes;     /* labels -> struct probe_count */
    struct map samples;    /* cgroup -> struct cpu_sample */
    struct map dra_pods;   /* labels -> struct histogram: all claims of a Pod */
    struct map dra_calls;  /* labels -> struct histogram: what drivers are asked */
    struct histogram relist;
    struct runtime *rt;
};

static void observe(struct histogram *h, double seconds)
{
    unsigned i = 0;
    const struct scale *s = scale_of(h);
    while (i < s->n && seconds > bucket(s, i))
        i++;
    h->counts[i]++;
    h->n++;
    h->sum += seconds;
}

void metric_head(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* labels: "a=\"b\"" or empty. */
static void write_histogram(struct buf *b, const char *name, struct str labels, const struct histogram *h)
{
    uint64_t sum = 0;
    const char *comma = labels.n ? "," : "", *open = labels.n ? "{" : "", *close = labels.n ? "}" : "";
    for (unsigned i = 0; i < scale_of(h)->n; i++) {
        sum += h->counts[i];
        buf_printf(b, "%s_bucket{" STR_FMT "%sle=\"%g\"} %llu\n", name, STR_ARG(labels), comma, bucket(scale_of(h), i),
                   (unsigned long long)sum);
    }
    buf_printf(b, "%s_bucket{" STR_FMT "%sle=\"+Inf\"} %llu\n", name, STR_ARG(labels), comma, (unsigned long long)h->n);
    buf_printf(b, "%s_sum%s" STR_FMT "%s %.9g\n", name, open, STR_ARG(labels), close, h->sum);
    buf_printf(b, "%s_count%s" STR_FMT "%s %llu\n", name, open, STR_ARG(labels), close, (unsigned long long)h->n);
}

/* ---- what the runtime is asked ------------------------------------------------------------------------------------- */

/* "/runtime.v1.RuntimeService/RunPodSandbox" as "run_podsandbox". */
static void operation_name(const char *path, char *ret, size_t size)
{
    const char *slash = strrchr(path, '/'), *p = slash ? slash + 1 : path;
    size_t n = 0;
    for (size_t i = 0; p[i] && n + 2 < size; i++) {
        bool upper = p[i] >= 'A' && p[i] <= 'Z';
        if (upper && n && !(p[i] == 'S' && i >= 3 && !strncmp(p + i - 3, "PodSandbox", 10)))
            ret[n++] = '_';
        ret[n++] = (char)(upper ? p[i] - 'A' + 'a' : p[i]);
    }
    ret[n] = '\0';
}

static void on_call(void *ctx, unsigned method, int rc, int64_t ns)
{
    struct metrics *m = ctx;
    char name[64];
    operation_name(grpc_methods[method].path, name, sizeof(name));
    struct operation *o = map_get(&m->operations, str_of(name));
    if (!o) {
        o = NEW(struct operation);
        map_put(&m->operations, str_of(name), o);
    }
    observe(&o->time, (double)ns / 1e9);
    o->errors += rc != 0 && rc != -ECANCELED;
}

static uint64_t asked(const struct metrics *m, const char *name, bool errors)
{
    const struct operation *o = map_get(&m->operations, str_of(name));
    return !o ? 0 : errors ? o->errors : o->time.n;
}

static void write_count(struct buf *b, const char *name, const char *help, uint64_t n)
{
    metric_head(b, name, "counter", help);
    buf_printf(b, "%s %llu\n", name, (unsigned long long)n);
}

void metrics_write_runtime(const struct metrics *m, struct buf *b)
{
    metric_head(b, "kubelet_runtime_operations_total", "counter", "Cumulative number of runtime operations by operation type.");
    MAP_EACH (&m->operations, e)
        buf_printf(b, "kubelet_runtime_operations_total{operation_type=\"%s\"} %llu\n", e->key.p,
                   (unsigned long long)((struct operation *)e->value)->time.n);
    metric_head(b, "kubelet_runtime_operations_errors_total", "counter",
                "Cumulative number of runtime operation errors by operation type.");
    MAP_EACH (&m->operations, e)
        if (((struct operation *)e->value)->errors)
            buf_printf(b, "kubelet_runtime_operations_errors_total{operation_type=\"%s\"} %llu\n", e->key.p,
                       (unsigned long long)((struct operation *)e->value)->errors);
    metric_head(b, "kubelet_runtime_operations_duration_seconds", "histogram",
                "Duration in seconds of runtime operations. Broken down by operation type.");
    MAP_EACH (&m->operations, e) {
        struct buf label CLEANUP_BUF = BUF_INIT;
        buf_printf(&label, "operation_type=\"%s\"", e->key.p);
        write_histogram(b, "kubelet_runtime_operations_duration_seconds", buf_str(&label),
                        &((struct operation *)e->value)->time);
    }
    write_count(b, "kubelet_started_pods_total", "Cumulative number of pods started", asked(m, "run_podsandbox", false));
    write_count(b, "kubelet_started_pods_errors_total", "Cumulative number of errors when starting pods",
                asked(m, "run_podsandbox", true));
    write_count(b, "kubelet_started_containers_total", "Cumulative number of containers started",
                asked(m, "start_container", false));
    write_count(b, "kubelet_started_containers_errors_total", "Cumulative number of errors when starting containers",
                asked(m, "start_container", true));
    metric_head(b, "kubelet_pleg_relist_duration_seconds", "histogram", "Duration in seconds for relisting pods in PLEG.");
    write_histogram(b, "kubelet_pleg_relist_duration_seconds", STR(""), &m->relist);
}

void metrics_relisted(struct kubelet *k, int64_t ns)
{
    if (k->metrics)
        observe(&k->metrics->relist, (double)ns / 1e9);
}

/* ---- claims of devices ------------------------------------------------------------------------------------------------ */

static void observe_labelled(struct map *m, struct str labels, int64_t ns)
{
    struct histogram *h = map_get(m, labels);
    if (!h) {
        h = NEW(struct histogram);
        h->scale = &devices;
        map_put(m, labels, h);
    }
    observe(h, (double)ns / 1e9);
}

void metrics_dra_pod(struct kubelet *k, bool prepare, bool failed, int64_t ns)
{
    struct buf labels CLEANUP_BUF = BUF_INIT;
    if (!k->metrics)
        return;
    buf_printf(&labels, "is_error=\"%s\",operation_name=\"%sResources\"", failed ? "true" : "false", prepare ? "Prepare" : "Unprepare");
    observe_labelled(&k->metrics->dra_pods, buf_str(&labels), ns);
}

void metrics_dra_call(struct kubelet *k, struct str driver, unsigned method, int rc, int64_t ns)
{
    struct buf labels CLEANUP_BUF = BUF_INIT;
    if (!k->metrics)
        return;
    buf_printf(&labels, "driver_name=\"" STR_FMT "\",grpc_status_code=\"%s\",method_name=\"%s\"", STR_ARG(driver),
               rc < 0 ? "Unknown" : grpc_code_name(rc), grpc_methods[method].path);
    observe_labelled(&k->metrics->dra_calls, buf_str(&labels), ns);
}

static void write_labelled(struct buf *b, const char *name, const char *help, const struct map *m)
{
    if (!m->n)
        return;
    metric_head(b, name, "histogram", help);
    MAP_EACH (m, e)
        write_histogram(b, name, e->key, e->value);
}

void metrics_write_dra(struct kubelet *k, struct buf *b)
{
    struct map drivers = MAP_INIT;
    write_labelled(b, "dra_operations_duration_seconds", "Seconds that all claims of a pod took when it started or stopped.",
                   &k->metrics->dra_pods);
    write_labelled(b, "dra_grpc_operations_duration_seconds", "Seconds that calls to drivers of devices took.", &k->metrics->dra_calls);
    metric_head(b, "dra_resource_claims_in_use", "gauge", "ResourceClaims in use on the node by driver; <any>: whatever their drivers.");
    buf_printf(b, "dra_resource_claims_in_use{driver_name=\"<any>\"} %zu\n", k->dra.state.claims.n);
    MAP_EACH (&k->dra.state.claims, e) {
        const struct dra_claim *c = e->value;
        VAL_EACH_ENTRY (c->drivers, name, list) {
            (void)list;
            map_put(&drivers, val_str(name), (void *)((uintptr_t)map_get(&drivers, val_str(name)) + 1));
        }
    }
    MAP_EACH (&drivers, e)
        buf_printf(b, "dra_resource_claims_in_use{driver_name=\"%s\"} %zu\n", e->key.p, (size_t)(uintptr_t)e->value);
    map_done(&drivers);
}

/* ---- probes ---------------------------------------------------------------------------------------------------------- */

static void probe_labels(struct buf *b, const struct worker *w, enum probe_kind kind, const char *container)
{
    static const char *const kinds[PROBE_KINDS] = {[PROBE_STARTUP] = "Startup", [PROBE_LIVENESS] = "Liveness",
                                                   [PROBE_READINESS] = "Readiness"};
    buf_printf(b, "%s container=\"%s\",namespace=\"%s\",pod=\"%s\",pod_uid=\"%s\",probe_type=\"%s\"", w->uid, container, w->ns,
               w->name, w->uid, kinds[kind]);
}

void metrics_probe(struct worker *w, enum probe_kind kind, const char *container, enum probe_result r)
{
    struct buf key CLEANUP_BUF = BUF_INIT;
    struct metrics *m = w->k->metrics;
    if (!m || (unsigned)r >= ARRAY_SIZE(((struct probe_count *)0)->results))
        return;
    probe_labels(&key, w, kind, container);
    struct probe_count *c = map_get(&m->probes, buf_str(&key));
    if (!c) {
        c = NEW(struct probe_count);
        map_put(&m->probes, buf_str(&key), c);
    }
    c->results[r]++;
}

void metrics_write_probes(struct kubelet *k, struct buf *b)
{
    static const char *const results[] = {[PROBE_UNKNOWN] = "unknown", [PROBE_SUCCESS] = "successful",
                                          [PROBE_FAILURE] = "failed"};
    metric_head(b, "prober_probe_total", "counter",
                "Cumulative number of a liveness, readiness or startup probe for a container by result.");
    MAP_EACH (&k->metrics->probes, e) {
        struct str uid, labels;
        const struct probe_count *c = e->value;
        str_cut(e->key, ' ', &uid, &labels);
        if (!map_has(&k->workers, uid)) {
            free(map_del(&k->metrics->probes, e->key));
            continue;
        }
        for (size_t i = 0; i < ARRAY_SIZE(results); i++)
            if (c->results[i])
                buf_printf(b, "prober_probe_total{" STR_FMT ",result=\"%s\"} %llu\n", STR_ARG(labels), results[i],
                           (unsigned long long)c->results[i]);
    }
}

/* ---- samples ----------------------------------------------------------------------------------------------------------- */

struct cpu_sample *metrics_sample(struct metrics *m, struct str key)
{
    struct cpu_sample *s = map_get(&m->samples, key);
    if (!s) {
        s = NEW(struct cpu_sample);
        s->nano_cores = -1;
        map_put(&m->samples, key, s);
    }
    return s;
}

void metrics_drop_samples(struct metrics *m, struct wall before)
{
    MAP_EACH (&m->samples, e)
        if (((struct cpu_sample *)e->value)->at.ns < before.ns)
            free(map_del(&m->samples, e->key));
}

/* ---- making ------------------------------------------------------------------------------------------------------------ */

struct metrics *metrics_new(struct runtime *rt)
{
    struct metrics *m = NEW(struct metrics);
    m->rt = rt;
    rt->observe = on_call;
    rt->observe_ctx = m;
    return m;
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    m->rt->observe = NULL;
    map_done_with(&m->operations, free);
    map_done_with(&m->dra_pods, free);
    map_done_with(&m->dra_calls, free);
    map_done_with(&m->probes, free);
    map_done_with(&m->samples, free);
    free(m);
}
