/* SPDX-License-Identifier: Apache-2.0 */
#include "node/metrics.h"

#include "grpc.h"
#include "wire/prom.h"

enum { BUCKETS = 14 };

/* Upstream's, in seconds: 5 ms and then each two and a half times the one before. */
static double bucket(unsigned i)
{
    double b = 0.005;
    while (i--)
        b *= 2.5;
    return b;
}

struct histogram {
    uint64_t counts[BUCKETS + 1], n;
    double sum;
};

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
    struct histogram relist;
    struct runtime *rt;
};

static void observe(struct histogram *h, double seconds)
{
    unsigned i = 0;
    while (i < BUCKETS && seconds > bucket(i))
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
    for (unsigned i = 0; i < BUCKETS; i++) {
        sum += h->counts[i];
        buf_printf(b, "%s_bucket{" STR_FMT "%sle=\"%g\"} %llu\n", name, STR_ARG(labels), comma, bucket(i),
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
    map_done_with(&m->probes, free);
    map_done_with(&m->samples, free);
    free(m);
}
