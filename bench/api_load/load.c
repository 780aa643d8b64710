/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load of bench/api on one API server: one kind of request after the other, each a line of JSON on standard output with its rate,
 * latencies and what it cost the server's processes of processor time and memory. HTTP/2 over TLS with a client certificate, as
 * client-go speaks; bodies are read to their end and not decoded. Needs an empty server.
 */
#include "base/fiber.h"
#include "base/flags.h"
#include "base/os.h"
#include "net/http.h"
#include "net/tls.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    CONNECTIONS = 4,
    WATCHES_A_CONNECTION = 100, /* upstream's limit of streams */
    PIDS_MAX = 4,
    WORKERS_MAX = 64,
    LIST_PAGE = 500,
};
#define PODS "/api/v1/namespaces/bench/pods"
#define LEASES "/apis/coordination.k8s.io/v1/namespaces/bench/leases"
#define JSON "application/json"
#define PROTO "application/vnd.kubernetes.protobuf"
#define TABLE "application/json;as=Table;v=v1;g=meta.k8s.io"
#define SENT "\"bench/sent\":\""

struct load {
    const char *server, *ca, *cert, *key, *rates;
    struct flag_list pids;
    int64_t pods, gets, patches, leases, lists, watchers, updates, fixed_seconds;
    struct http_client *conns[CONNECTIONS];
    struct tls_client *tls;
    int code;
};

/* ---- what the server's processes use --------------------------------------------------------------------- */

static int64_t cpu_of(const char *pid)
{
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(atoi(pid), &clock) || clock_gettime(clock, &t))
        return 0;
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int64_t cpu(const struct load *l)
{
    int64_t sum = 0;
    for (size_t i = 0; i < l->pids.n; i++)
        sum += cpu_of(l->pids.items[i]);
    return sum;
}

/* Of the first process, in bytes: what is its own (pages of the binary left out). */
static int64_t private_bytes(const struct load *l)
{
    char path[64], line[256];
    long sum = 0, kb;
    snprintf(path, sizeof(path), "/proc/%s/smaps_rollup", l->pids.items[0]);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof(line), f))
        if (!strncmp(line, "Private_", 8) && sscanf(strchr(line, ':') + 1, "%ld", &kb) == 1)
            sum += kb;
    if (f)
        fclose(f);
    return sum * 1024;
}

/* ---- one request ----------------------------------------------------------------------------------------- */

struct ask {
    const char *method, *path, *accept, *type;
    struct str body;
};

/* 0, with the answer's body in the call's arena when keep, its size in *ret_n. */
static int ask(struct load *l, struct http_client *c, const struct ask *q, bool keep, struct http_call **ret_call, struct str *ret)
{
    char url[512];
    struct err e;
    struct http_call *call;
    snprintf(url, sizeof(url), "%s%s", l->server, q->path);
    struct http_header headers[] = {
        {STR("accept"), str_of(q->accept ? q->accept : JSON)},
        {STR("user-agent"), STR("bench-api")},
        {STR("content-type"), str_of(q->type ? q->type : JSON)},
    };
    struct http_request r = {.method = q->method, .url = url, .headers = headers, .n_headers = q->body.n ? 3 : 2, .body = q->body};
    int error = http_do(c, &r, MONO_NEVER, &call, &e);
    if (error < 0) {
        fprintf(stderr, "%s %s: %s\n", q->method, q->path, e.text);
        return error;
    }
    if (keep) {
        error = http_call_read_all(call, 1 << 28, MONO_NEVER, ret);
    } else {
        static char scrap[1 << 18];
        ssize_t n;
        ret->n = 0;
        while ((n = http_call_read(call, scrap, sizeof(scrap), MONO_NEVER)) > 0)
            ret->n += (size_t)n;
        error = (int)n;
    }
    if (call->status >= 300) {
        fprintf(stderr, "%s %s: %d %.*s\n", q->method, q->path, call->status, keep ? (int)MIN(ret->n, 400u) : 0, keep ? ret->p : "");
        error = -EPROTO;
    }
    *ret_call = call;
    return error;
}

static int simply(struct load *l, const char *method, const char *path, const char *body)
{
    struct http_call *call;
    struct str answer;
    int e = ask(l, l->conns[0], &(struct ask){.method = method, .path = path, .body = str_of(body)}, true, &call, &answer);
    http_call_free(call);
    return e;
}

/* ---- what is sent ---------------------------------------------------------------------------------------- */

static void put_container(struct buf *b, const char *name, int n)
{
    buf_printf(b, "{\"name\":\"%s\",\"image\":\"registry.example.com/platform/%s:v1.%d.0\",\"imagePullPolicy\":\"IfNotPresent\","
                  "\"command\":[\"/usr/bin/%s\",\"--config=/etc/config/%s.yaml\",\"--listen=:8080\"],\"env\":[", name, name, n, name, name);
    for (int i = 0; i < 5; i++)
        buf_printf(b, "%s{\"name\":\"SETTING_NUMBER_%d\",\"value\":\"value-of-setting-%d\"}", i ? "," : "", i, i);
    buf_puts(b, ",{\"name\":\"POD_NAME\",\"valueFrom\":{\"fieldRef\":{\"apiVersion\":\"v1\",\"fieldPath\":\"metadata.name\"}}}],"
                "\"ports\":[{\"name\":\"http\",\"containerPort\":8080,\"protocol\":\"TCP\"}],"
                "\"resources\":{\"limits\":{\"cpu\":\"500m\",\"memory\":\"512Mi\"},\"requests\":{\"cpu\":\"100m\",\"memory\":\"128Mi\"}},");
    for (int i = 0; i < 2; i++)
        buf_printf(b, "\"%s\":{\"httpGet\":{\"path\":\"/%s\",\"port\":8080,\"scheme\":\"HTTP\"},\"initialDelaySeconds\":5,\"timeoutSeconds\":2,"
                      "\"periodSeconds\":10,\"successThreshold\":1,\"failureThreshold\":3},", i ? "readinessProbe" : "livenessProbe", i ? "ready" : "live");
    buf_puts(b, "\"volumeMounts\":[{\"name\":\"config\",\"mountPath\":\"/etc/config\",\"readOnly\":true},{\"name\":\"scratch\",\"mountPath\":\"/tmp\"}],"
                "\"terminationMessagePath\":\"/dev/termination-log\",\"terminationMessagePolicy\":\"File\"}");
}

/* A pod as a Deployment's with a sidecar has it: 3.8 KB. */
static void put_pod(struct buf *b, const char *prefix, int64_t i)
{
    buf_printf(b, "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s-%06lld\",\"namespace\":\"bench\",\"labels\":{"
                  "\"app.kubernetes.io/name\":\"web\",\"app.kubernetes.io/instance\":\"web-%lld\",\"app.kubernetes.io/part-of\":\"shop\","
                  "\"pod-template-hash\":\"7d9c6f5b8d\"},\"annotations\":{\"prometheus.io/scrape\":\"true\",\"prometheus.io/port\":\"8080\","
                  "\"checksum/config\":\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\",\"note\":\"", prefix, (long long)i, (long long)i % 100);
    for (int n = 0; n < 12; n++)
        buf_puts(b, "a sentence as operators write them; ");
    buf_puts(b, "\"}},\"spec\":{\"serviceAccountName\":\"default\",\"automountServiceAccountToken\":false,\"restartPolicy\":\"Always\","
                "\"terminationGracePeriodSeconds\":30,\"dnsPolicy\":\"ClusterFirst\",\"schedulerName\":\"default-scheduler\","
                "\"securityContext\":{\"runAsNonRoot\":true,\"runAsUser\":1000,\"fsGroup\":2000},\"containers\":[");
    put_container(b, "server", (int)i % 7);
    buf_putc(b, ',');
    put_container(b, "sidecar", 3);
    buf_puts(b, "],\"tolerations\":[{\"key\":\"node.kubernetes.io/not-ready\",\"operator\":\"Exists\",\"effect\":\"NoExecute\",\"tolerationSeconds\":300},"
                "{\"key\":\"node.kubernetes.io/unreachable\",\"operator\":\"Exists\",\"effect\":\"NoExecute\",\"tolerationSeconds\":300}],"
                "\"volumes\":[{\"name\":\"config\",\"configMap\":{\"name\":\"web-config\",\"defaultMode\":420}},{\"name\":\"scratch\",\"emptyDir\":{}}]}}");
}

static void put_status(struct buf *b, int64_t i)
{
    static const char *const conditions[] = {"Initialized", "Ready", "ContainersReady", "PodScheduled"};
    buf_printf(b, "{\"status\":{\"phase\":\"Running\",\"hostIP\":\"10.1.0.%lld\",\"podIP\":\"10.2.%lld.%lld\",\"startTime\":\"2026-01-01T00:00:%02lldZ\",\"conditions\":[",
               (long long)(i % 250), (long long)(i / 250 % 250), (long long)(i % 250), (long long)(i / 7 % 60));
    for (size_t c = 0; c < ARRAY_SIZE(conditions); c++)
        buf_printf(b, "%s{\"type\":\"%s\",\"status\":\"True\",\"lastProbeTime\":null,\"lastTransitionTime\":\"2026-01-01T00:00:%02lldZ\"}", c ? "," : "",
                   conditions[c], (long long)(i / 3 % 60));
    buf_puts(b, "]}}");
}

static void put_lease(struct buf *b, int64_t i, const char *version, int64_t now)
{
    buf_printf(b, "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":\"node-%lld\",\"namespace\":\"bench\",", (long long)i);
    if (version[0])
        buf_printf(b, "\"resourceVersion\":\"%s\",", version);
    buf_printf(b, "\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"node-%lld\",\"uid\":\"b1946ac9-2492-4d23-8f2e-6f0d3e0b%04lld\"}]},"
                  "\"spec\":{\"holderIdentity\":\"node-%lld\",\"leaseDurationSeconds\":40,\"renewTime\":\"2026-01-01T00:%02lld:%02lld.%06lldZ\"}}",
               (long long)i, (long long)i, (long long)i, (long long)(now / 60 % 60), (long long)(now % 60), (long long)(now % 1000000));
}

/* ---- phases ---------------------------------------------------------------------------------------------- */

struct phase {
    struct load *l;
    const char *name;
    int64_t n, next, bytes;
    double rate;      /* requests are sent at; 0: as fast as they are answered */
    unsigned workers; /* requests at a time */
    int (*one)(struct phase *p, unsigned worker, int64_t i, size_t *ret_n);
    const void *arg;
    int64_t *took;
    int error;
    struct mono begun;
};

struct worker {
    struct phase *p;
    unsigned number;
};

static void worker_main(void *arg)
{
    struct worker *w = arg;
    struct phase *p = w->p;
    for (int64_t i; (i = p->next++) < p->n && !p->error;) {
        struct mono due = os_mono();
        if (p->rate > 0) {
            due = mono_add(p->begun, (int64_t)((double)i / p->rate * 1e9));
            if (fiber_sleep_until(due) == -ECANCELED)
                return;
        }
        size_t n = 0;
        int e = p->one(p, w->number, i, &n);
        if (e < 0)
            p->error = e;
        p->took[i] = os_mono().ns - due.ns;
        p->bytes += (int64_t)n;
    }
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static double percentile(int64_t *sorted, int64_t n, double p)
{
    return n ? (double)sorted[(int64_t)((double)(n - 1) * p)] / 1e6 : 0;
}

static void phase_print(struct phase *p, int64_t cpu_ns, int64_t wall_ns)
{
    qsort(p->took, (size_t)p->n, sizeof(*p->took), by_number);
    printf("{\"name\":\"%s\",\"n\":%lld,\"rate\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"cpu_us\":%.2f,\"bytes\":%lld}\n", p->name, (long long)p->n,
           (double)p->n / ((double)wall_ns / 1e9), percentile(p->took, p->n, 0.5), percentile(p->took, p->n, 0.99),
           (double)cpu_ns / 1e3 / (double)p->n, (long long)(p->bytes / p->n));
    fflush(stdout);
}

static int phase_run(struct load *l, struct phase p)
{
    struct group g = {0};
    struct worker workers[WORKERS_MAX];
    p.l = l;
    p.took = calloc((size_t)p.n, sizeof(*p.took));
    p.begun = os_mono();
    int64_t used = cpu(l);
    for (unsigned i = 0; i < p.workers; i++) {
        workers[i] = (struct worker){&p, i};
        group_spawn(&g, "load", worker_main, &workers[i]);
    }
    group_wait(&g, MONO_NEVER);
    if (!p.error)
        phase_print(&p, cpu(l) - used, os_mono().ns - p.begun.ns);
    free(p.took);
    return p.error;
}

/* ---- kinds of requests ----------------------------------------------------------------------------------- */

static int done(struct http_call *call, int e, struct str answer, size_t *ret_n)
{
    *ret_n = answer.n;
    http_call_free(call);
    return e;
}

static int one(struct phase *p, unsigned worker, const struct ask *q, size_t *ret_n)
{
    struct http_call *call = NULL;
    struct str answer = STR_NULL;
    int e = ask(p->l, p->l->conns[worker % CONNECTIONS], q, false, &call, &answer);
    return done(call, e, answer, ret_n);
}

static int create_pod(struct phase *p, unsigned worker, int64_t i, size_t *ret_n)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    put_pod(&b, p->arg, i);
    return one(p, worker, &(struct ask){.method = "POST", .path = PODS, .body = buf_str(&b)}, ret_n);
}

static int get_pod(struct phase *p, unsigned worker, int64_t i, size_t *ret_n)
{
    char path[256];
    snprintf(path, sizeof(path), PODS "/web-%06lld%s", (long long)(i * 7919 % p->l->pods), (const char *)p->arg);
    return one(p, worker, &(struct ask){.method = "GET", .path = path}, ret_n);
}

static int patch_status(struct phase *p, unsigned worker, int64_t i, size_t *ret_n)
{
    char path[256];
    struct buf b CLEANUP_BUF = BUF_INIT;
    put_status(&b, i);
    snprintf(path, sizeof(path), PODS "/web-%06lld/status", (long long)(i * 7919 % p->l->pods));
    return one(p, worker, &(struct ask){.method = "PATCH", .path = path, .body = buf_str(&b), .type = p->arg}, ret_n);
}

static int list_pods(struct phase *p, unsigned worker, int64_t i, size_t *ret_n)
{
    struct ask q = *(const struct ask *)p->arg;
    q.method = "GET";
    return one(p, worker, &q, ret_n);
}

/* A list in pages, one after the other, each as a request of its own; the whole is what is timed. */
static int list_paged(struct phase *p, unsigned worker, int64_t i, size_t *ret_n)
{
    char path[4096] = "";
    snprintf(path, sizeof(path), PODS "?limit=%d", LIST_PAGE);
    for (size_t n = 0; path[0];) {
        struct http_call *call = NULL;
        struct str answer = STR_NULL;
        int e = ask(p->l, p->l->conns[0], &(struct ask){.method = "GET", .path = path}, true, &call, &answer);
        const char *token = e ? NULL : memmem(answer.p, MIN(answer.n, 4096u), "\"continue\":\"", 12);
        const char *end = token ? memchr(token + 12, '"', 2048) : NULL;
        path[0] = 0;
        if (end)
            snprintf(path, sizeof(path), PODS "?limit=%d&continue=%.*s", LIST_PAGE, (int)(end - token - 12), token + 12);
        done(call, e, answer, &n);
        *ret_n += n;
        if (e)
            return e;
    }
    return 0;
}

static char lease_versions[WORKERS_MAX][32];

/* Each worker has a Lease of its own, as each kubelet. */
static int put_lease_of(struct phase *p, unsigned worker, int64_t i, size_t *ret_n)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    char path[128], *version = lease_versions[worker];
    bool first = !version[0];
    struct http_call *call = NULL;
    struct str answer = STR_NULL;
    put_lease(&b, worker, version, i);
    snprintf(path, sizeof(path), first ? LEASES : LEASES "/node-%u", worker);
    int e = ask(p->l, p->l->conns[worker % CONNECTIONS], &(struct ask){.method = first ? "POST" : "PUT", .path = path, .body = buf_str(&b)}, true, &call, &answer);
    const char *at = e ? NULL : memmem(answer.p, answer.n, "\"resourceVersion\":\"", 19);
    if (at)
        snprintf(version, sizeof(lease_versions[0]), "%.*s", (int)strcspn(at + 19, "\""), at + 19);
    return done(call, e, answer, ret_n);
}

/* What a cluster asks for at a rate: mostly reads and Leases. */
static int mixed(struct phase *p, unsigned worker, int64_t i, size_t *ret_n)
{
    struct phase as = *p;
    switch (i % 10) {
    case 0:
        return create_pod(p, worker, i, ret_n);
    case 3:
        as.arg = "application/merge-patch+json";
        return patch_status(&as, worker, i, ret_n);
    case 6:
    case 9:
        return put_lease_of(p, worker, i, ret_n);
    default:
        as.arg = i % 10 == 1 ? "?resourceVersion=0" : "";
        return get_pod(&as, worker, i, ret_n);
    }
}

/* ---- watches --------------------------------------------------------------------------------------------- */

struct fan {
    struct load *l;
    char version[32];
    int64_t open, events, *took, n_took, cap;
    bool failed;
    struct waitq q;
};

struct watcher {
    struct fan *f;
    struct http_client *c;
};

static void look_at(struct fan *f, const char *p, size_t n, int64_t now)
{
    for (const char *end = p + n, *at; (at = memmem(p, (size_t)(end - p), SENT, sizeof(SENT) - 1)); p = at + 1)
        if (f->n_took < f->cap)
            f->took[f->n_took++] = now - strtoll(at + sizeof(SENT) - 1, NULL, 10);
    waitq_wake_all(&f->q);
}

/* Events are looked at whole: what is after the last end of a line is kept for the next piece. */
static void watch_read(struct fan *f, struct http_call *call)
{
    enum { PIECE = 1 << 16 };
    static char piece[PIECE];
    struct buf part CLEANUP_BUF = BUF_INIT;
    ssize_t n;
    while ((n = http_call_read(call, piece, PIECE, MONO_NEVER)) > 0) {
        int64_t now = os_mono().ns;
        const char *last = memrchr(piece, '\n', (size_t)n);
        if (!last) {
            buf_put(&part, piece, (size_t)n);
            continue;
        }
        const char *first = memchr(piece, '\n', (size_t)n);
        buf_put(&part, piece, (size_t)(first - piece));
        look_at(f, part.p, part.n, now);
        look_at(f, first, (size_t)(last - first), now);
        for (const char *p = first; p; p = memchr(p + 1, '\n', (size_t)(piece + n - p - 1)))
            f->events++;
        buf_done(&part);
        part = (struct buf)BUF_INIT;
        buf_put(&part, last + 1, (size_t)(piece + n - last - 1));
    }
}

static void watcher_main(void *arg)
{
    struct watcher *w = arg;
    struct fan *f = w->f;
    char url[512];
    struct err e;
    struct http_call *call;
    snprintf(url, sizeof(url), "%s/api/v1/pods?watch=1&allowWatchBookmarks=true&timeoutSeconds=3600&resourceVersion=%s", f->l->server, f->version);
    struct http_header headers[] = {{STR("accept"), STR(JSON)}, {STR("user-agent"), STR("bench-api")}};
    if (http_do(w->c, &(struct http_request){.method = "GET", .url = url, .headers = headers, .n_headers = 2}, MONO_NEVER, &call, &e) < 0 || call->status != 200) {
        f->failed = true;
        return;
    }
    f->open++;
    waitq_wake_all(&f->q);
    watch_read(f, call);
    http_call_free(call);
}

static int patch_sent(struct phase *p, unsigned worker, int64_t i, size_t *ret_n)
{
    char path[256], body[256];
    snprintf(path, sizeof(path), PODS "/web-%06lld", (long long)(i % p->l->pods));
    snprintf(body, sizeof(body), "{\"metadata\":{\"annotations\":{\"bench/sent\":\"%lld\"}}}", (long long)os_mono().ns);
    return one(p, worker, &(struct ask){.method = "PATCH", .path = path, .body = str_of(body), .type = "application/merge-patch+json"}, ret_n);
}

static int heap(struct load *l, int64_t *ret);

static void fan_print(struct fan *f, int64_t expected, double seconds, int64_t used)
{
    qsort(f->took, (size_t)f->n_took, sizeof(*f->took), by_number);
    printf("{\"name\":\"watch event\",\"n\":%lld,\"rate\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"cpu_us\":%.3f,\"missing\":%lld}\n",
           (long long)f->n_took, (double)f->n_took / seconds, percentile(f->took, f->n_took, 0.5), percentile(f->took, f->n_took, 0.99),
           (double)used / 1e3 / (double)expected, (long long)(expected - f->n_took));
    fflush(stdout);
}

static int fan_out(struct fan *f)
{
    struct load *l = f->l;
    int64_t expected = l->watchers * l->updates;
    struct mono begun = os_mono(), until = mono_add(begun, SECONDS(120));
    int64_t used = cpu(l);
    int e = phase_run(l, (struct phase){.name = "update while watched", .n = l->updates, .workers = 4, .one = patch_sent});
    while (!e && f->n_took < expected && waitq_wait(&f->q, until) == 0)
        ;
    fan_print(f, expected, (double)(os_mono().ns - begun.ns) / 1e9, cpu(l) - used);
    return e;
}

static int memory_print(struct load *l, const char *name, int64_t before, int64_t heap_before, int64_t n)
{
    int64_t now = 0, private_now = private_bytes(l);
    int e = heap(l, &now);
    printf("{\"name\":\"%s\",\"n\":%lld,\"bytes\":%.1f,\"heap\":%.1f}\n", name, (long long)n, (double)(private_now - before) / (double)n,
           (double)(now - heap_before) / (double)n);
    fflush(stdout);
    return e;
}

static int watch_version(struct load *l, char ret[static 32])
{
    struct http_call *call = NULL;
    struct str answer;
    int e = ask(l, l->conns[0], &(struct ask){.method = "GET", .path = PODS "?limit=1"}, true, &call, &answer);
    const char *at = e ? NULL : memmem(answer.p, MIN(answer.n, 4096u), "\"resourceVersion\":\"", 19);
    if (at)
        snprintf(ret, 32, "%.*s", (int)strcspn(at + 19, "\""), at + 19);
    http_call_free(call);
    return at ? 0 : -EPROTO;
}

static struct http_client *client_new(struct load *l)
{
    return http_client_new(&(struct http_client_config){.tls = l->tls, .max_conns = 1});
}

static int watches(struct load *l)
{
    struct fan f = {.l = l, .cap = l->watchers * l->updates};
    struct group g = {0};
    int64_t n_clients = (l->watchers + WATCHES_A_CONNECTION - 1) / WATCHES_A_CONNECTION, heap_before = 0;
    struct http_client **clients = calloc((size_t)n_clients, sizeof(struct http_client *));
    struct watcher *watchers = calloc((size_t)l->watchers, sizeof(*watchers));
    f.took = calloc((size_t)f.cap, sizeof(*f.took));
    int e = watch_version(l, f.version);
    for (int64_t i = 0; i < n_clients && !e; i++) { /* the connections are there before */
        clients[i] = client_new(l);
        struct http_call *call = NULL;
        struct str answer;
        e = ask(l, clients[i], &(struct ask){.method = "GET", .path = "/version"}, true, &call, &answer);
        http_call_free(call);
    }
    fiber_sleep(SECONDS(2));
    e = e ? e : heap(l, &heap_before);
    int64_t before = private_bytes(l);
    for (int64_t i = 0; i < l->watchers; i++) {
        watchers[i] = (struct watcher){&f, clients[i / WATCHES_A_CONNECTION]};
        group_spawn(&g, "watch", watcher_main, &watchers[i]);
    }
    while (f.open < l->watchers && !f.failed && waitq_wait(&f.q, mono_add(os_mono(), SECONDS(60))) == 0)
        ;
    fiber_sleep(SECONDS(12)); /* stacks are given back by then */
    e = e ? e : f.failed || f.open < l->watchers ? -EPROTO : memory_print(l, "idle watch", before, heap_before, l->watchers);
    if (!e)
        e = fan_out(&f);
    group_stop(&g);
    for (int64_t i = 0; i < n_clients; i++)
        http_client_free(clients[i]);
    free(clients);
    free(watchers);
    free(f.took);
    return e;
}

/* ---- all of it ------------------------------------------------------------------------------------------- */

/* Live heap and stacks of a Go server after a collection; 0 of one that is none. */
static int heap(struct load *l, int64_t *ret)
{
    struct http_call *call = NULL;
    struct str answer = STR_NULL;
    struct err err;
    char url[256];
    snprintf(url, sizeof(url), "%s/debug/pprof/heap?gc=1&debug=1", l->server);
    int e = http_do(l->conns[0], &(struct http_request){.method = "GET", .url = url}, MONO_NEVER, &call, &err);
    if (e < 0)
        return e;
    http_call_read_all(call, 1 << 26, MONO_NEVER, &answer);
    *ret = 0;
    static const char *const parts[] = {"\n# HeapAlloc = ", "\n# Stack = "};
    for (size_t i = 0; i < ARRAY_SIZE(parts) && call->status == 200; i++) {
        const char *at = memmem(answer.p, answer.n, parts[i], strlen(parts[i]));
        *ret += at ? strtoll(at + strlen(parts[i]), NULL, 10) : 0;
    }
    http_call_free(call);
    return 0;
}

static int objects(struct load *l)
{
    int64_t heap_before = 0, before;
    int e = heap(l, &heap_before);
    before = private_bytes(l);
    e = e ? e : phase_run(l, (struct phase){.name = "create", .n = l->pods, .workers = 16, .one = create_pod, .arg = "web"});
    fiber_sleep(SECONDS(3));
    return e ? e : memory_print(l, "object", before, heap_before, l->pods);
}

static int lists(struct load *l)
{
    static const struct {
        const char *name;
        struct ask q;
    } forms[] = {
        {"list JSON rv=0", {.path = PODS "?resourceVersion=0", .accept = JSON}},
        {"list JSON", {.path = PODS, .accept = JSON}},
        {"list protobuf rv=0", {.path = PODS "?resourceVersion=0", .accept = PROTO}},
        {"list Table rv=0", {.path = PODS "?resourceVersion=0", .accept = TABLE}},
    };
    int e = 0;
    for (size_t i = 0; i < ARRAY_SIZE(forms) && !e; i++)
        e = phase_run(l, (struct phase){.name = forms[i].name, .n = l->lists, .workers = 1, .one = list_pods, .arg = &forms[i].q});
    return e ? e : phase_run(l, (struct phase){.name = "list JSON paged", .n = l->lists, .workers = 1, .one = list_paged});
}

static int fixed(struct load *l)
{
    int e = 0;
    const char *at = l->rates;
    while (*at && !e) {
        char *end, name[64], prefix[32];
        double rate = strtod(at, &end);
        if (end == at || rate < 1)
            return -EINVAL;
        snprintf(name, sizeof(name), "mixed at %g/s", rate);
        snprintf(prefix, sizeof(prefix), "mixed%g", rate);
        e = phase_run(l, (struct phase){.name = name, .n = (int64_t)(rate * (double)l->fixed_seconds), .rate = rate, .workers = WORKERS_MAX, .one = mixed, .arg = prefix});
        at = *end == ',' ? end + 1 : end;
    }
    return e;
}

static int requests(struct load *l)
{
    int e = phase_run(l, (struct phase){.name = "get", .n = l->gets, .workers = 32, .one = get_pod, .arg = ""});
    e = e ? e : phase_run(l, (struct phase){.name = "get rv=0", .n = l->gets, .workers = 32, .one = get_pod, .arg = "?resourceVersion=0"});
    e = e ? e : phase_run(l, (struct phase){.name = "patch status, merge", .n = l->patches, .workers = 16, .one = patch_status, .arg = "application/merge-patch+json"});
    e = e ? e : phase_run(l, (struct phase){.name = "patch status, strategic", .n = l->patches, .workers = 16, .one = patch_status, .arg = "application/strategic-merge-patch+json"});
    return e ? e : phase_run(l, (struct phase){.name = "lease", .n = l->leases, .workers = 64, .one = put_lease_of});
}

static int prepare(struct load *l)
{
    int e = simply(l, "POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"bench\"}}");
    e = e ? e : simply(l, "POST", "/api/v1/namespaces/bench/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}");
    struct phase warm = {.name = "first creates", .n = 200, .workers = 16, .one = create_pod, .arg = "warm"};
    return e ? e : phase_run(l, warm);
}

static int clients_make(struct load *l)
{
    struct err e;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct tls_client_config c = {0};
    if (os_read_file(&a, l->ca, 1 << 20, &c.ca) < 0 || os_read_file(&a, l->cert, 1 << 20, &c.key.cert_pem) < 0 ||
        os_read_file(&a, l->key, 1 << 20, &c.key.key_pem) < 0)
        return -ENOENT;
    if (tls_client_new(&c, &l->tls, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        return -EINVAL;
    }
    for (unsigned i = 0; i < CONNECTIONS; i++)
        l->conns[i] = client_new(l);
    return 0;
}

static void run(void *arg)
{
    struct load *l = arg;
    int e = clients_make(l);
    e = e ? e : prepare(l);
    e = e ? e : objects(l);
    e = e ? e : requests(l);
    e = e ? e : lists(l);
    e = e ? e : watches(l);
    e = e ? e : fixed(l);
    for (unsigned i = 0; i < CONNECTIONS && l->conns[i]; i++)
        http_client_free(l->conns[i]);
    tls_client_unref(l->tls);
    l->code = e ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct load l = {.pods = 5000, .gets = 10000, .patches = 2000, .leases = 4000, .lists = 8, .watchers = 1000, .updates = 100, .fixed_seconds = 10, .rates = "50,100,200,400"};
    struct flag flags[] = {
        {"server", 0, FLAG_STRING, &l.server, "https://HOST:PORT"},
        {"ca", 0, FLAG_STRING, &l.ca, "of the server's certificate"},
        {"cert", 0, FLAG_STRING, &l.cert, "the client's"},
        {"key", 0, FLAG_STRING, &l.key, "the client's"},
        {"pid", 0, FLAG_STRINGS, &l.pids, "processes whose time is counted; the memory of the first"},
        {"pods", 0, FLAG_INT, &l.pods, "to create, read and list"},
        {"gets", 0, FLAG_INT, &l.gets, "requests"},
        {"patches", 0, FLAG_INT, &l.patches, "requests"},
        {"leases", 0, FLAG_INT, &l.leases, "requests"},
        {"lists", 0, FLAG_INT, &l.lists, "requests of each form"},
        {"watchers", 0, FLAG_INT, &l.watchers, "at once"},
        {"updates", 0, FLAG_INT, &l.updates, "that all watchers see"},
        {"rates", 0, FLAG_STRING, &l.rates, "mixed requests a second, one load after the other"},
        {"seconds", 0, FLAG_INT, &l.fixed_seconds, "of each of them"},
        {0},
    };
    struct err e;
    int n;
    signal(SIGPIPE, SIG_IGN);
    int r = flags_parse(flags, argc, argv, &n, NULL, &e);
    if (r || n || !l.server || !l.ca || !l.cert || !l.key || !l.pids.n) {
        struct buf help CLEANUP_BUF = BUF_INIT;
        flags_help(flags, &help);
        fprintf(stderr, "%s\nusage: %s --server URL --ca FILE --cert FILE --key FILE --pid PID\n%.*s", r < 0 ? e.text : "", argv[0], (int)help.n, help.p);
        return 2;
    }
    loop_run(run, &l);
    flag_list_done(&l.pids);
    return l.code;
}
