/* SPDX-License-Identifier: Apache-2.0 */
/* The pages under /metrics: tables of families, filled in from readings. Names and labels are upstream's. */
#include "net/http.h"

#include "node/metrics.h"
#include "wire/prom.h"

#include <dirent.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/resource.h>

static void put_time(struct buf *b, struct wall at)
{
    if (at.ns)
        buf_printf(b, " %lld", (long long)(at.ns / NSEC_PER_MSEC));
    buf_putc(b, '\n');
}

/* Nanoseconds as seconds, nothing of them lost. */
static void put_seconds(struct buf *b, int64_t ns)
{
    buf_printf(b, "%lld.%09lld", (long long)(ns / NSEC_PER_SEC), (long long)(ns % NSEC_PER_SEC));
}

/* ---- /metrics/resource: what metrics-server reads -------------------------------------------------------------- */

enum unit { SECONDS_OF_NS, PLAIN };

static const struct resource_family {
    const char *name, *type, *help;
    size_t field; /* of struct cgroup_usage */
    enum unit unit;
} of_resource[] = {
    {"cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the %s in core-seconds",
     offsetof(struct cgroup_usage, cpu_ns), SECONDS_OF_NS},
    {"memory_working_set_bytes", "gauge", "Current working set of the %s in bytes",
     offsetof(struct cgroup_usage, memory_working_set), PLAIN},
    {"swap_usage_bytes", "gauge", "Current amount of the %s swap usage in bytes. Reported only on non-windows systems",
     offsetof(struct cgroup_usage, swap), PLAIN},
};

static int64_t field_of(const struct cgroup_usage *u, size_t offset)
{
    return *(const int64_t *)((const char *)u + offset);
}

static void put_value(struct buf *b, int64_t n, enum unit unit)
{
    if (unit == SECONDS_OF_NS)
        put_seconds(b, n);
    else
        buf_printf(b, "%lld", (long long)n);
}

static void head_of(struct buf *b, const char *who, const struct resource_family *f)
{
    char name[96], help[128];
    snprintf(name, sizeof(name), "%s_%s", who, f->name);
    buf_printf(b, "# HELP %s ", name);
    const char *mark = strstr(f->help, "%s");
    snprintf(help, sizeof(help), "%.*s%s%s", (int)(mark - f->help), f->help, who, mark + 2);
    buf_printf(b, "%s\n# TYPE %s %s\n", help, name, f->type);
}

static void put_containers(struct buf *b, const struct readings *r, const struct resource_family *f)
{
    head_of(b, "container", f);
    for (size_t i = 0; i < r->n; i++)
        for (size_t j = 0; j < r->pods[i].n; j++) {
            const struct container_reading *c = &r->pods[i].containers[j];
            int64_t n = field_of(&c->u, f->field);
            if (n < 0)
                continue;
            buf_printf(b, "container_%s{container=\"" STR_FMT "\",namespace=\"" STR_FMT "\",pod=\"" STR_FMT "\"} ", f->name,
                       STR_ARG(c->name), STR_ARG(r->pods[i].ns), STR_ARG(r->pods[i].name));
            put_value(b, n, f->unit);
            put_time(b, c->u.at);
        }
}

static void put_pods(struct buf *b, const struct readings *r, const struct resource_family *f)
{
    head_of(b, "pod", f);
    for (size_t i = 0; i < r->n; i++) {
        const struct pod_reading *p = &r->pods[i];
        int64_t n = field_of(&p->u, f->field);
        if (n < 0)
            continue;
        buf_printf(b, "pod_%s{namespace=\"" STR_FMT "\",pod=\"" STR_FMT "\"} ", f->name, STR_ARG(p->ns), STR_ARG(p->name));
        put_value(b, n, f->unit);
        put_time(b, p->u.at);
    }
}

static void put_node(struct buf *b, const struct host_usage *u, const struct resource_family *f)
{
    struct cgroup_usage all = {.cpu_ns = u->cpu_ns, .memory_working_set = u->memory_working_set,
                               .swap = u->swap_total >= 0 ? u->swap_total - u->swap_free : -1};
    int64_t n = field_of(&all, f->field);
    if (n < 0)
        return;
    head_of(b, "node", f);
    buf_printf(b, "node_%s ", f->name);
    put_value(b, n, f->unit);
    put_time(b, u->at);
}

static void put_started(struct buf *b, const struct readings *r)
{
    metric_head(b, "container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds");
    for (size_t i = 0; i < r->n; i++)
        for (size_t j = 0; j < r->pods[i].n; j++) {
            const struct container_reading *c = &r->pods[i].containers[j];
            buf_printf(b, "container_start_time_seconds{container=\"" STR_FMT "\",namespace=\"" STR_FMT "\",pod=\"" STR_FMT "\"} ",
                       STR_ARG(c->name), STR_ARG(r->pods[i].ns), STR_ARG(r->pods[i].name));
            put_seconds(b, c->started.ns);
            put_time(b, c->u.at);
        }
}

static void page_resource(struct kubelet *k, struct http_exchange *x, struct buf *b)
{
    struct readings r = {.n = 0};
    struct err e = {{0}};
    bool failed = readings_take(k, &x->arena, 0, &r, &e) != 0;
    for (size_t i = 0; !failed && i < ARRAY_SIZE(of_resource); i++) {
        put_containers(b, &r, &of_resource[i]);
        put_node(b, &r.node, &of_resource[i]);
        put_pods(b, &r, &of_resource[i]);
    }
    if (!failed)
        put_started(b, &r);
    metric_head(b, "resource_scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise");
    buf_printf(b, "resource_scrape_error %d\n", failed);
}

/* ---- /metrics/cadvisor --------------------------------------------------------------------------------------------- */

#define F(x) offsetof(struct cgroup_usage, x)
static const struct cadvisor_family {
    const char *name, *type, *help;
    size_t field;
    enum unit unit;
    const char *label; /* one more, as it is printed */
} of_cgroups[] = {
    {"container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.", F(cpu_ns), SECONDS_OF_NS,
     "cpu=\"total\","},
    {"container_cpu_user_seconds_total", "counter", "Cumulative user cpu time consumed in seconds.", F(cpu_user_ns),
     SECONDS_OF_NS, ""},
    {"container_cpu_system_seconds_total", "counter", "Cumulative system cpu time consumed in seconds.", F(cpu_system_ns),
     SECONDS_OF_NS, ""},
    {"container_cpu_cfs_periods_total", "counter", "Number of elapsed enforcement period intervals.", F(cfs_periods), PLAIN, ""},
    {"container_cpu_cfs_throttled_periods_total", "counter", "Number of throttled period intervals.", F(cfs_throttled), PLAIN, ""},
    {"container_cpu_cfs_throttled_seconds_total", "counter", "Total time duration the container has been throttled.",
     F(cfs_throttled_ns), SECONDS_OF_NS, ""},
    {"container_memory_usage_bytes", "gauge",
     "Current memory usage in bytes, including all memory regardless of when it was accessed", F(memory_usage), PLAIN, ""},
    {"container_memory_working_set_bytes", "gauge", "Current working set in bytes.", F(memory_working_set), PLAIN, ""},
    {"container_memory_rss", "gauge", "Size of RSS in bytes.", F(memory_rss), PLAIN, ""},
    {"container_memory_cache", "gauge", "Number of bytes of page cache memory.", F(memory_cache), PLAIN, ""},
    {"container_memory_mapped_file", "gauge", "Size of memory mapped files in bytes.", F(memory_mapped), PLAIN, ""},
    {"container_memory_swap", "gauge", "Container swap usage in bytes.", F(swap), PLAIN, ""},
    {"container_memory_max_usage_bytes", "gauge", "Maximum memory usage recorded in bytes", F(memory_max), PLAIN, ""},
    {"container_memory_failcnt", "counter", "Number of memory usage hits limits", F(memory_failures), PLAIN, ""},
    {"container_spec_memory_limit_bytes", "gauge", "Memory limit for the container.", F(memory_limit), PLAIN, ""},
    {"container_oom_events_total", "counter", "Count of out of memory events observed for the container", F(oom_kills), PLAIN, ""},
    {"container_processes", "gauge", "Number of processes running inside the container.", F(pids), PLAIN, ""},
    {"container_fs_reads_bytes_total", "counter", "Cumulative count of bytes read", F(io_read), PLAIN, ""},
    {"container_fs_writes_bytes_total", "counter", "Cumulative count of bytes written", F(io_written), PLAIN, ""},
    {"container_pressure_cpu_waiting_seconds_total", "counter",
     "Total time duration tasks in the container have waited due to CPU congestion.", F(cpu_pressure.some.total), PLAIN, NULL},
    {"container_pressure_memory_waiting_seconds_total", "counter",
     "Total time duration tasks in the container have waited due to memory congestion.", F(memory_pressure.some.total), PLAIN, NULL},
    {"container_pressure_io_waiting_seconds_total", "counter",
     "Total time duration tasks in the container have waited due to IO resource congestion.", F(io_pressure.some.total), PLAIN, NULL},
};
#undef F

/* c NULL: the Pod as a whole. */
static void put_labels(struct buf *b, const char *more, const struct pod_reading *p, const struct container_reading *c)
{
    buf_puts(b, "{container=\"");
    prom_escape(b, c ? c->name : STR(""));
    buf_printf(b, "\",%sid=\"" STR_FMT "\",image=\"", more, STR_ARG(c ? c->cgroup : p->cgroup));
    prom_escape(b, c ? c->image : STR(""));
    buf_printf(b, "\",name=\"" STR_FMT "\",namespace=\"" STR_FMT "\",pod=\"" STR_FMT "\"} ", STR_ARG(c ? c->id : STR("")),
               STR_ARG(p->ns), STR_ARG(p->name));
}

static void put_sample(struct buf *b, const struct cadvisor_family *f, const struct pod_reading *p,
                       const struct container_reading *c)
{
    const struct cgroup_usage *u = c ? &c->u : &p->u;
    int64_t n = field_of(u, f->field);
    if (n < 0 || (!f->label && !u->cpu_pressure.known))
        return;
    buf_puts(b, f->name);
    put_labels(b, f->label ? f->label : "", p, c);
    if (f->label)
        put_value(b, n, f->unit);
    else
        put_seconds(b, n * NSEC_PER_USEC);
    put_time(b, u->at);
}

static void put_family(struct buf *b, const struct readings *r, const struct cadvisor_family *f)
{
    metric_head(b, f->name, f->type, f->help);
    for (size_t i = 0; i < r->n; i++) {
        put_sample(b, f, &r->pods[i], NULL);
        for (size_t j = 0; j < r->pods[i].n; j++)
            put_sample(b, f, &r->pods[i], &r->pods[i].containers[j]);
    }
}

static const struct net_family {
    const char *name, *help;
    size_t field; /* of struct net_line */
} of_networks[] = {
    {"container_network_receive_bytes_total", "Cumulative count of bytes received", offsetof(struct net_line, rx_bytes)},
    {"container_network_receive_packets_total", "Cumulative count of packets received", offsetof(struct net_line, rx_packets)},
    {"container_network_receive_errors_total", "Cumulative count of errors encountered while receiving",
     offsetof(struct net_line, rx_errors)},
    {"container_network_receive_packets_dropped_total", "Cumulative count of packets dropped while receiving",
     offsetof(struct net_line, rx_dropped)},
    {"container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", offsetof(struct net_line, tx_bytes)},
    {"container_network_transmit_packets_total", "Cumulative count of packets transmitted", offsetof(struct net_line, tx_packets)},
    {"container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting",
     offsetof(struct net_line, tx_errors)},
    {"container_network_transmit_packets_dropped_total", "Cumulative count of packets dropped while transmitting",
     offsetof(struct net_line, tx_dropped)},
};

static void put_networks(struct buf *b, const struct readings *r, const struct net_family *f)
{
    metric_head(b, f->name, "counter", f->help);
    for (size_t i = 0; i < r->n; i++)
        for (size_t j = 0; j < r->pods[i].n_nets; j++) {
            const struct net_line *l = &r->pods[i].nets[j];
            struct buf more CLEANUP_BUF = BUF_INIT;
            buf_printf(&more, "interface=\"" STR_FMT "\",", STR_ARG(l->name));
            buf_puts(b, f->name);
            put_labels(b, more.p, &r->pods[i], NULL);
            buf_printf(b, "%lld", (long long)*(const int64_t *)((const char *)l + f->field));
            put_time(b, r->pods[i].u.at);
        }
}

/* What stands for a container in each case: its start, that it was seen, what its own layer takes. */
static void put_each(struct buf *b, const struct readings *r, const char *name, const char *help, int what)
{
    metric_head(b, name, "gauge", help);
    for (size_t i = 0; i < r->n; i++)
        for (size_t j = 0; j < r->pods[i].n; j++) {
            const struct container_reading *c = &r->pods[i].containers[j];
            int64_t n = what == 0 ? c->started.ns / NSEC_PER_SEC : what == 1 ? c->u.at.ns / NSEC_PER_SEC : c->rootfs_used;
            if (n < 0)
                continue;
            buf_puts(b, name);
            put_labels(b, what == 2 ? "device=\"\"," : "", &r->pods[i], c);
            buf_printf(b, "%lld", (long long)n);
            put_time(b, c->u.at);
        }
}

static void put_machine(struct kubelet *k, struct buf *b, const struct readings *r)
{
    const struct host_facts *f = &k->facts;
    buf_puts(b, "# HELP cadvisor_version_info A metric with a constant '1' value.\n# TYPE cadvisor_version_info gauge\n");
    buf_printf(b, "cadvisor_version_info{cadvisorRevision=\"\",cadvisorVersion=\"cube\",dockerVersion=\"\",kernelVersion=\"");
    prom_escape(b, f->kernel);
    buf_puts(b, "\",osVersion=\"");
    prom_escape(b, f->os_image);
    buf_puts(b, "\"} 1\n");
    metric_head(b, "machine_cpu_cores", "gauge", "Number of logical CPU cores.");
    buf_printf(b, "machine_cpu_cores{boot_id=\"" STR_FMT "\",machine_id=\"" STR_FMT "\",system_uuid=\"" STR_FMT "\"} %lld\n",
               STR_ARG(f->boot_id), STR_ARG(f->machine_id), STR_ARG(f->system_uuid), (long long)f->cpus);
    metric_head(b, "machine_memory_bytes", "gauge", "Amount of memory installed on the machine.");
    buf_printf(b, "machine_memory_bytes{boot_id=\"" STR_FMT "\",machine_id=\"" STR_FMT "\",system_uuid=\"" STR_FMT "\"} %lld\n",
               STR_ARG(f->boot_id), STR_ARG(f->machine_id), STR_ARG(f->system_uuid), (long long)f->memory);
}

/* The node as a whole is cgroup "/". */
static void add_root(struct arena *a, struct readings *r)
{
    struct pod_reading *all = ARENA_ARRAY(a, struct pod_reading, r->n + 1);
    const struct host_usage *u = &r->node;
    if (r->n)
        memcpy(all + 1, r->pods, r->n * sizeof(*all));
    all[0] = (struct pod_reading){.cgroup = STR("/"), .u = CGROUP_USAGE_UNKNOWN};
    all[0].u.at = u->at;
    all[0].u.cpu_ns = u->cpu_ns;
    all[0].u.memory_usage = u->memory_usage;
    all[0].u.memory_working_set = u->memory_working_set;
    all[0].u.memory_rss = u->memory_rss;
    all[0].u.pids = u->pids;
    r->pods = all;
    r->n++;
}

static void page_cadvisor(struct kubelet *k, struct http_exchange *x, struct buf *b)
{
    struct readings r = {.n = 0};
    struct err e = {{0}};
    bool failed = readings_take(k, &x->arena, READ_NETWORK | READ_LAYERS, &r, &e) != 0;
    if (!failed) {
        add_root(&x->arena, &r);
        for (size_t i = 0; i < ARRAY_SIZE(of_cgroups); i++)
            put_family(b, &r, &of_cgroups[i]);
        for (size_t i = 0; i < ARRAY_SIZE(of_networks); i++)
            put_networks(b, &r, &of_networks[i]);
        put_each(b, &r, "container_start_time_seconds", "Start time of the container since unix epoch in seconds.", 0);
        put_each(b, &r, "container_last_seen", "Last time a container was seen by the exporter", 1);
        put_each(b, &r, "container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem.", 2);
    }
    put_machine(k, b, &r);
    metric_head(b, "container_scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise");
    buf_printf(b, "container_scrape_error %d\n", failed);
}

/* ---- /metrics ---------------------------------------------------------------------------------------------------------- */

static void put_pod_counts(struct kubelet *k, struct buf *b)
{
    static const char *const states[] = {"created", "running", "exited", "unknown"};
    unsigned running = 0, containers[RT_UNKNOWN + 1] = {0}, active[2] = {0};
    MAP_EACH (&k->workers, m) {
        const struct worker *w = m->value;
        running += podstate_active_sandbox(w->state) != NULL;
        active[map_has(&k->statics, str_of(w->uid))] += w->pod && w->stage == WORKER_SYNCING;
        for (size_t i = 0; w->state && i < w->state->n_containers; i++)
            containers[w->state->containers[i].state]++;
    }
    metric_head(b, "kubelet_active_pods", "gauge",
                "The number of pods the kubelet considers active and which are being considered when admitting new pods.");
    buf_printf(b, "kubelet_active_pods{static=\"\"} %u\nkubelet_active_pods{static=\"true\"} %u\n", active[0], active[1]);
    metric_head(b, "kubelet_running_pods", "gauge", "Number of pods that have a running pod sandbox");
    buf_printf(b, "kubelet_running_pods %u\n", running);
    metric_head(b, "kubelet_running_containers", "gauge", "Number of containers currently running");
    for (size_t i = 0; i < ARRAY_SIZE(states); i++)
        buf_printf(b, "kubelet_running_containers{container_state=\"%s\"} %u\n", states[i], containers[i]);
}

static const struct volume_family {
    const char *name, *help;
    size_t field; /* of struct host_space */
} of_volumes[] = {
    {"kubelet_volume_stats_available_bytes", "Number of available bytes in the volume", offsetof(struct host_space, available)},
    {"kubelet_volume_stats_capacity_bytes", "Capacity in bytes of the volume", offsetof(struct host_space, capacity)},
    {"kubelet_volume_stats_used_bytes", "Number of used bytes in the volume", offsetof(struct host_space, used)},
    {"kubelet_volume_stats_inodes", "Maximum number of inodes in the volume", offsetof(struct host_space, inodes)},
    {"kubelet_volume_stats_inodes_free", "Number of free inodes in the volume", offsetof(struct host_space, inodes_free)},
    {"kubelet_volume_stats_inodes_used", "Number of used inodes in the volume", offsetof(struct host_space, inodes_used)},
};

struct claim_stats {
    const struct volume_stats *items;
    size_t n;
};

static bool said_before(const struct claim_stats *all, size_t until, size_t item)
{
    const struct volume_stats *s = &all[until].items[item];
    for (size_t i = 0; i <= until; i++)
        for (size_t j = 0; j < (i == until ? item : all[i].n); j++)
            if (str_eq(all[i].items[j].claim, s->claim) && str_eq(all[i].items[j].claim_ns, s->claim_ns))
                return true;
    return false;
}

static void put_volume_family(struct buf *b, const struct claim_stats *all, size_t n, const struct volume_family *f)
{
    metric_head(b, f->name, "gauge", f->help);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < all[i].n; j++) {
            const struct volume_stats *s = &all[i].items[j];
            int64_t value = *(const int64_t *)((const char *)&s->space + f->field);
            if (s->claim.n && value >= 0 && !said_before(all, i, j))
                buf_printf(b, "%s{namespace=\"" STR_FMT "\",persistentvolumeclaim=\"" STR_FMT "\"} %lld\n", f->name,
                           STR_ARG(s->claim_ns), STR_ARG(s->claim), (long long)value);
        }
}

static bool has_claims(const struct worker *w)
{
    VAL_EACH (val_at(w->pod ? w->pod->val : NULL, N_spec, N_volumes), v)
        if (val_get(v, N_persistentVolumeClaim) || val_get(v, N_ephemeral))
            return true;
    return false;
}

static void put_volumes(struct kubelet *k, struct http_exchange *x, struct buf *b)
{
    struct arena *a = &x->arena;
    struct str *uids = ARENA_ARRAY(a, struct str, k->workers.n);
    size_t n = 0;
    MAP_EACH (&k->workers, m)
        if (has_claims(m->value))
            uids[n++] = arena_str(a, m->key);
    struct claim_stats *all = ARENA_ARRAY(a, struct claim_stats, n);
    for (size_t i = 0; i < n; i++) {
        struct worker *w = worker_find(k, uids[i]);
        struct volume_stats *items = NULL;
        all[i].n = w ? worker_volume_stats(w, a, &items) : 0;
        all[i].items = items;
    }
    for (size_t i = 0; n && i < ARRAY_SIZE(of_volumes); i++)
        put_volume_family(b, all, n, &of_volumes[i]);
}

/* Signer and state as the labels that they become, and how many there are of each. */
static void count_certificate(void *arg, const char *signer, const char *state)
{
    struct arena a = ARENA_INIT;
    struct str labels = arena_printf(&a, "signer_name=\"%s\",state=\"%s\"", signer, state);
    map_put(arg, labels, (void *)((uintptr_t)map_get(arg, labels) + 1));
    arena_done(&a);
}

static void put_certificates(struct kubelet *k, struct buf *b)
{
    struct map counts = MAP_INIT;
    MAP_EACH (&k->workers, m)
        pod_certs_each(m->value, os_wall(), count_certificate, &counts);
    if (counts.n)
        metric_head(b, "kubelet_podcertificate_states", "gauge",
                    "Gauge vector reporting the number of pod certificate projected volume sources, faceted by signer_name and state.");
    MAP_EACH (&counts, c)
        buf_printf(b, "kubelet_podcertificate_states{" STR_FMT "} %llu\n", STR_ARG(c->key), (unsigned long long)(uintptr_t)c->value);
    map_done(&counts);
}

/* Client libraries' process_* families. */
static void put_process(struct kubelet *k, struct buf *b)
{
    struct rusage used;
    struct rlimit files = {0};
    long long pages = 0, resident = 0, fds = -3; /* ".", ".." and the folder itself */
    FILE *f = fopen("/proc/self/statm", "re");
    if (f) {
        if (fscanf(f, "%lld %lld", &pages, &resident) != 2)
            pages = resident = 0;
        fclose(f);
    }
    DIR *d = opendir("/proc/self/fd");
    for (; d && readdir(d);)
        fds++;
    if (d)
        closedir(d);
    getrusage(RUSAGE_SELF, &used);
    getrlimit(RLIMIT_NOFILE, &files);
    metric_head(b, "process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.");
    buf_printf(b, "process_cpu_seconds_total %.6f\n",
               (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    metric_head(b, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.");
    buf_printf(b, "process_resident_memory_bytes %lld\n", resident * 4096);
    metric_head(b, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.");
    buf_printf(b, "process_virtual_memory_bytes %lld\n", pages * 4096);
    metric_head(b, "process_open_fds", "gauge", "Number of open file descriptors.");
    buf_printf(b, "process_open_fds %lld\n", MAX(fds, 0LL));
    metric_head(b, "process_max_fds", "gauge", "Maximum number of open file descriptors.");
    buf_printf(b, "process_max_fds %llu\n", (unsigned long long)files.rlim_cur);
    metric_head(b, "process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.");
    buf_printf(b, "process_start_time_seconds %.3f\n", (double)k->started_wall.ns / 1e9);
}

static void page_own(struct kubelet *k, struct http_exchange *x, struct buf *b)
{
    metric_head(b, "kubelet_node_name", "gauge", "The node's name. The count is always 1.");
    buf_printf(b, "kubelet_node_name{node=\"%s\"} 1\n", k->cfg.node_name);
    metric_head(b, "kubelet_cgroup_version", "gauge", "cgroup version on the hosts.");
    buf_printf(b, "kubelet_cgroup_version %d\n", k->facts.cgroup2 ? 2 : 1);
    put_pod_counts(k, b);
    metric_head(b, "kubelet_pleg_last_seen_seconds", "gauge", "Timestamp in seconds when PLEG was last seen active.");
    buf_printf(b, "kubelet_pleg_last_seen_seconds %.3f\n",
               (double)(os_wall().ns - (os_mono().ns - k->relisted_at.ns)) / 1e9);
    metrics_write_runtime(k->metrics, b);
    metrics_write_dra(k, b);
    put_volumes(k, x, b);
    put_certificates(k, b);
    put_process(k, b);
    metric_head(b, "kubernetes_build_info", "gauge", "Version of the API and of the program.");
    buf_puts(b, "kubernetes_build_info{major=\"1\",minor=\"37\",git_version=\"v1.37.2+cube\"} 1\n");
}

void serve_metrics(struct kubelet *k, struct http_exchange *x, struct str which)
{
    struct buf b = BUF_INIT;
    if (str_is(which, "resource")) {
        page_resource(k, x, &b);
    } else if (str_is(which, "cadvisor")) {
        page_cadvisor(k, x, &b);
    } else if (str_is(which, "probes")) {
        metrics_write_probes(k, &b);
    } else if (which.n) {
        http_respond(x, 404, "text/plain; charset=utf-8", STR("404 page not found\n"));
        return;
    } else {
        page_own(k, x, &b);
    }
    http_respond(x, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&b));
    buf_done(&b);
}
