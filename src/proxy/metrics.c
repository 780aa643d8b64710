/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/metrics.h"

static double sync_bound(size_t i)
{
    return 0.001 * (double)(1u << i);
}

static double programming_bound(size_t i)
{
    if (i < 2)
        return 0.25 * (double)(i + 1);
    if (i < 61)
        return (double)(i - 1);
    if (i < 73)
        return 60 + 5 * (double)(i - 61);
    return 120 + 30 * (double)(i - 73);
}

static void observe(struct metric_histogram *h, int64_t ns, double (*bound)(size_t i), size_t n)
{
    double s = (double)ns / 1e9;
    size_t i = 0;
    while (i < n && s > bound(i))
        i++;
    h->counts[i]++;
    h->n++;
    h->sum += s;
}

void proxy_metrics_sync(struct metric_histogram *h, int64_t ns)
{
    observe(h, ns, sync_bound, METRIC_SYNC_BUCKETS);
}

void proxy_metrics_programming(struct metric_histogram *h, int64_t ns)
{
    observe(h, ns, programming_bound, METRIC_PROGRAMMING_BUCKETS);
}

static void head(struct buf *b, const char *name, const char *kind, const char *help)
{
    buf_printf(b, "# HELP kubeproxy_%s [ALPHA] %s\n# TYPE kubeproxy_%s %s\n", name, help, name, kind);
}

static void histogram(struct buf *b, const char *name, const char *family, const struct metric_histogram *h,
                      double (*bound)(size_t i), size_t n)
{
    uint64_t so_far = 0;
    for (size_t i = 0; i < n; i++)
        buf_printf(b, "kubeproxy_%s_bucket{ip_family=\"%s\",le=\"%g\"} %llu\n", name, family, bound(i),
                   (unsigned long long)(so_far += h->counts[i]));
    buf_printf(b, "kubeproxy_%s_bucket{ip_family=\"%s\",le=\"+Inf\"} %llu\n", name, family, (unsigned long long)h->n);
    buf_printf(b, "kubeproxy_%s_sum{ip_family=\"%s\"} %.9g\nkubeproxy_%s_count{ip_family=\"%s\"} %llu\n", name, family, h->sum, name,
               family, (unsigned long long)h->n);
}

enum source { HISTOGRAM, WALL, U64, SIZE };

static const struct {
    const char *name, *kind, *help;
    enum source source;
    size_t offset; /* in struct metrics_side */
    const char *label;
    const char *only_mode; /* NULL: in all */
} by_side[] = {
    {"sync_proxy_rules_duration_seconds", "histogram", "SyncProxyRules latency in seconds", HISTOGRAM, offsetof(struct metrics_side, sync), "", NULL},
    {"sync_full_proxy_rules_duration_seconds", "histogram", "SyncProxyRules latency in seconds for full resyncs", HISTOGRAM, offsetof(struct metrics_side, full), "", NULL},
    {"sync_partial_proxy_rules_duration_seconds", "histogram", "SyncProxyRules latency in seconds for partial resyncs", HISTOGRAM, offsetof(struct metrics_side, partial), "", NULL},
    {"conntrack_reconciler_sync_duration_seconds", "histogram", "Time that looking through the table of connections took", HISTOGRAM, offsetof(struct metrics_side, conntrack), "", NULL},
    {"conntrack_reconciler_deleted_entries_total", "counter", "Connections that were ended", U64, offsetof(struct metrics_side, conntrack_ended), "", NULL},
    {"sync_proxy_rules_last_timestamp_seconds", "gauge", "The last time proxy rules were successfully synced", WALL, offsetof(struct metrics_side, last_sync), "", NULL},
    {"sync_proxy_rules_last_queued_timestamp_seconds", "gauge", "The last time a sync of proxy rules was queued", WALL, offsetof(struct metrics_side, last_queued), "", NULL},
    {"sync_proxy_rules_no_local_endpoints_total", "gauge", "Number of services with a Local traffic policy and no endpoints", SIZE, offsetof(struct metrics_side, no_local_internal), ",traffic_policy=\"internal\"", NULL},
    {"sync_proxy_rules_no_local_endpoints_total", NULL, NULL, SIZE, offsetof(struct metrics_side, no_local_external), ",traffic_policy=\"external\"", NULL},
    {"sync_proxy_rules_nftables_sync_failures_total", "counter", "Cumulative proxy nftables sync failures", U64, offsetof(struct metrics_side, backend.failures), "", "nftables"},
    {"sync_proxy_rules_nftables_cleanup_failures_total", "counter", "Cumulative proxy nftables cleanup failures", U64, offsetof(struct metrics_side, backend.cleanup_failures), "", "nftables"},
    {"sync_proxy_rules_iptables_restore_failures_total", "counter", "Cumulative proxy iptables restore failures", U64, offsetof(struct metrics_side, backend.failures), "", "iptables"},
    {"sync_proxy_rules_iptables_partial_restore_failures_total", "counter", "Cumulative proxy iptables partial restore failures", U64, offsetof(struct metrics_side, backend.partial_failures), "", "iptables"},
    {"sync_proxy_rules_iptables_total", "gauge", "Total number of iptables rules owned by kube-proxy", SIZE, offsetof(struct metrics_side, backend.rules_filter), ",table=\"filter\"", "iptables"},
    {"sync_proxy_rules_iptables_total", NULL, NULL, SIZE, offsetof(struct metrics_side, backend.rules_nat), ",table=\"nat\"", "iptables"},
    {"sync_proxy_rules_iptables_last", "gauge", "Number of iptables rules written by kube-proxy in last sync", SIZE, offsetof(struct metrics_side, backend.last_filter), ",table=\"filter\"", "iptables"},
    {"sync_proxy_rules_iptables_last", NULL, NULL, SIZE, offsetof(struct metrics_side, backend.last_nat), ",table=\"nat\"", "iptables"},
};

static void one_side(struct buf *b, size_t row, const struct metrics_side *s)
{
    const void *at = (const char *)s + by_side[row].offset;
    const char *name = by_side[row].name;
    double v = 0;
    switch (by_side[row].source) {
    case HISTOGRAM:
        histogram(b, name, s->family, at, sync_bound, METRIC_SYNC_BUCKETS);
        return;
    case WALL:
        v = (double)((const struct wall *)at)->ns / 1e9;
        break;
    case U64:
        v = (double)*(const uint64_t *)at;
        break;
    case SIZE:
        v = (double)*(const size_t *)at;
        break;
    }
    buf_printf(b, "kubeproxy_%s{ip_family=\"%s\"%s} %.17g\n", name, s->family, by_side[row].label, v);
}

static void single(struct buf *b, const char *name, const char *kind, const char *help, uint64_t v)
{
    head(b, name, kind, help);
    buf_printf(b, "kubeproxy_%s %llu\n", name, (unsigned long long)v);
}

static void codes(struct buf *b, const char *name, const char *help, const uint64_t v[2])
{
    head(b, name, "counter", help);
    for (int i = 0; i < 2; i++)
        if (v[i])
            buf_printf(b, "kubeproxy_%s{code=\"%s\"} %llu\n", name, i ? "503" : "200", (unsigned long long)v[i]);
}

void proxy_metrics_write(const struct metrics *m, struct buf *b)
{
    for (size_t row = 0; row < ARRAY_SIZE(by_side); row++) {
        if (by_side[row].only_mode && !str_is(str_of(m->mode), by_side[row].only_mode))
            continue;
        if (by_side[row].kind)
            head(b, by_side[row].name, by_side[row].kind, by_side[row].help);
        for (int i = 0; i < 2; i++)
            if (m->sides[i].family)
                one_side(b, row, &m->sides[i]);
    }
    head(b, "network_programming_duration_seconds", "histogram", "In Cluster Network Programming Latency in seconds");
    for (int i = 0; i < 2; i++)
        if (m->sides[i].family)
            histogram(b, "network_programming_duration_seconds", m->sides[i].family, &m->sides[i].programming, programming_bound,
                      METRIC_PROGRAMMING_BUCKETS);
    single(b, "sync_proxy_rules_endpoint_changes_pending", "gauge", "Pending proxy rules Endpoint changes", m->endpoints_pending);
    single(b, "sync_proxy_rules_endpoint_changes_total", "counter", "Cumulative proxy rules Endpoint changes", m->endpoints);
    single(b, "sync_proxy_rules_service_changes_pending", "gauge", "Pending proxy rules Service changes", m->services_pending);
    single(b, "sync_proxy_rules_service_changes_total", "counter", "Cumulative proxy rules Service changes", m->services);
    codes(b, "proxy_healthz_total", "Cumulative proxy healthz HTTP status", m->healthz);
    codes(b, "proxy_livez_total", "Cumulative proxy livez HTTP status", m->livez);
}
