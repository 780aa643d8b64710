/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers: /stats/summary as metrics pipelines read it, /metrics/resource as metrics-server does, /metrics for us. */
#include "net/http.h"

#include "grpc.h"
#include "node/kubelet-internal.h"
#include "types.h"
#include "wire/json.h"


/* ---- from the runtime ------------------------------------------------------------------------------------------ */

static int container_stats(struct kubelet *k, struct arena *a, const struct val **ret, struct err *e)
{
    const struct val *v;
    int rc = runtime_call(k->rt, G_runtime_v1_RuntimeService_ListContainerStats, val_new(a, VAL_OBJ),
                          mono_add(os_mono(), SECONDS(30)), a, &v, e);
    if (rc == 0)
        *ret = val_get(v, N_stats);
    return rc;
}

/* With the network's numbers; a runtime may not have them (they are optional in CRI). */
static const struct val *sandbox_stats(struct kubelet *k, struct arena *a)
{
    const struct val *v;
    int rc = runtime_call(k->rt, G_runtime_v1_RuntimeService_ListPodSandboxStats, val_new(a, VAL_OBJ),
                          mono_add(os_mono(), SECONDS(30)), a, &v, NULL);
    return rc == 0 ? val_get(v, N_stats) : NULL;
}

static struct str label(const struct val *stats, const char *key)
{
    return val_str(val_key(val_at(stats, N_attributes, N_labels), str_of(key)));
}

static int64_t wrapped(const struct val *v, name_id name)
{
    return val_int(val_get(val_get(v, name), N_value), -1);
}

int pod_memory_usage(struct kubelet *k, struct map *ret, struct err *e)
{
    struct arena a = ARENA_INIT;
    const struct val *stats;
    int rc = container_stats(k, &a, &stats, e);
    if (rc == 0)
        VAL_EACH (stats, s) {
            struct str uid = label(s, CRI_LABEL_POD_UID);
            int64_t *sum = map_get(ret, uid);
            if (!sum) {
                sum = xcalloc(1, sizeof(*sum));
                map_put(ret, uid, sum);
            }
            *sum += MAX(wrapped(val_get(s, N_memory), N_working_set_bytes), (int64_t)0);
        }
    arena_done(&a);
    return rc;
}

/* ---- /stats/summary --------------------------------------------------------------------------------------------- */

static void set_known(struct arena *a, struct val *o, name_id name, int64_t n)
{
    if (n >= 0)
        val_set_int(a, o, name, n);
}

static void set_fs(struct arena *a, struct val *parent, name_id name, const struct host_usage *u, int64_t used)
{
    struct val *o = val_sub_obj(a, parent, name);
    val_set_time(a, o, N_time, u->at);
    set_known(a, o, N_availableBytes, u->fs_available);
    set_known(a, o, N_capacityBytes, u->fs_bytes);
    set_known(a, o, N_usedBytes, used);
    set_known(a, o, N_inodesFree, u->fs_inodes_free);
    set_known(a, o, N_inodes, u->fs_inodes);
    if (u->fs_inodes >= 0 && u->fs_inodes_free >= 0)
        val_set_int(a, o, N_inodesUsed, u->fs_inodes - u->fs_inodes_free);
}

static void set_node(struct kubelet *k, struct arena *a, struct val *node, const struct host_usage *u)
{
    struct val *o;
    val_set_str(a, node, N_nodeName, str_of(k->cfg.node_name));
    val_sub_list(a, node, N_systemContainers);
    val_set_time(a, node, N_startTime, u->booted);
    o = val_sub_obj(a, node, N_cpu);
    val_set_time(a, o, N_time, u->at);
    set_known(a, o, N_usageCoreNanoSeconds, u->cpu_ns);
    set_known(a, o, N_usageNanoCores, k->node_nano_cores);
    o = val_sub_obj(a, node, N_memory);
    val_set_time(a, o, N_time, u->at);
    set_known(a, o, N_availableBytes, u->memory_available);
    set_known(a, o, N_usageBytes, u->memory_usage);
    set_known(a, o, N_workingSetBytes, u->memory_working_set);
    set_known(a, o, N_rssBytes, u->memory_rss);
    set_known(a, o, N_pageFaults, u->page_faults);
    set_known(a, o, N_majorPageFaults, u->major_page_faults);
    o = val_sub_obj(a, node, N_network);
    val_set_time(a, o, N_time, u->at);
    val_set_str(a, o, N_name, str_of(u->interface));
    set_known(a, o, N_rxBytes, u->rx_bytes);
    set_known(a, o, N_rxErrors, u->rx_errors);
    set_known(a, o, N_txBytes, u->tx_bytes);
    set_known(a, o, N_txErrors, u->tx_errors);
    set_fs(a, node, N_fs, u, u->fs_bytes < 0 ? -1 : u->fs_bytes - u->fs_available);
    struct val *runtime = val_sub_obj(a, node, N_runtime);
    set_fs(a, runtime, N_imageFs, u, u->fs_bytes < 0 ? -1 : u->fs_bytes - u->fs_available);
    o = val_sub_obj(a, node, N_rlimit);
    val_set_time(a, o, N_time, u->at);
    set_known(a, o, N_maxpid, u->max_pids);
    set_known(a, o, N_curproc, u->pids);
}

static void set_usage(struct arena *a, struct val *to, const struct val *from)
{
    const struct val *cpu = val_get(from, N_cpu), *memory = val_get(from, N_memory);
    struct val *o;
    if (cpu) {
        o = val_sub_obj(a, to, N_cpu);
        val_set_time(a, o, N_time, (struct wall){val_int(val_get(cpu, N_timestamp), 0)});
        set_known(a, o, N_usageCoreNanoSeconds, wrapped(cpu, N_usage_core_nano_seconds));
        set_known(a, o, N_usageNanoCores, wrapped(cpu, N_usage_nano_cores));
    }
    if (memory) {
        o = val_sub_obj(a, to, N_memory);
        val_set_time(a, o, N_time, (struct wall){val_int(val_get(memory, N_timestamp), 0)});
        set_known(a, o, N_availableBytes, wrapped(memory, N_available_bytes));
        set_known(a, o, N_usageBytes, wrapped(memory, N_usage_bytes));
        set_known(a, o, N_workingSetBytes, wrapped(memory, N_working_set_bytes));
        set_known(a, o, N_rssBytes, wrapped(memory, N_rss_bytes));
        set_known(a, o, N_pageFaults, wrapped(memory, N_page_faults));
        set_known(a, o, N_majorPageFaults, wrapped(memory, N_major_page_faults));
    }
}

static void set_container(struct arena *a, struct val *o, const struct val *stats, const struct rt_container *c)
{
    const struct val *layer = val_get(stats, N_writable_layer);
    val_set_str(a, o, N_name, c->name);
    val_set_time(a, o, N_startTime, c->started);
    set_usage(a, o, stats);
    if (layer) {
        struct val *fs = val_sub_obj(a, o, N_rootfs);
        val_set_time(a, fs, N_time, (struct wall){val_int(val_get(layer, N_timestamp), 0)});
        set_known(a, fs, N_usedBytes, wrapped(layer, N_used_bytes));
        set_known(a, fs, N_inodesUsed, wrapped(layer, N_inodes_used));
    }
}

/* What the runtime does not say of a Pod as a whole is the sum over its containers. */
static void add_sums(struct arena *a, struct val *pod)
{
    static const struct {
        name_id group, fields[4];
    } sums[] = {
        {N_cpu, {N_usageNanoCores, N_usageCoreNanoSeconds}},
        {N_memory, {N_availableBytes, N_usageBytes, N_workingSetBytes, N_rssBytes}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(sums); i++) {
        const struct val *time = NULL;
        struct val *o = val_sub_obj(a, pod, sums[i].group);
        for (size_t f = 0; f < ARRAY_SIZE(sums[i].fields) && sums[i].fields[f]; f++) {
            int64_t sum = 0;
            VAL_EACH (val_get(pod, N_containers), c) {
                sum += val_int(val_at(c, sums[i].group, sums[i].fields[f]), 0);
                time = val_at(c, sums[i].group, N_time);
            }
            val_set_int(a, o, sums[i].fields[f], sum);
        }
        if (time)
            val_set_ref(a, o, N_time, time);
    }
}

static void set_pod_network(struct arena *a, struct val *pod, const struct val *sandboxes, struct str uid)
{
    VAL_EACH (sandboxes, s) {
        const struct val *net = val_at(s, N_linux, N_network), *i = val_get(net, N_default_interface);
        if (!i || !str_eq(label(s, CRI_LABEL_POD_UID), uid))
            continue;
        struct val *o = val_sub_obj(a, pod, N_network);
        val_set_time(a, o, N_time, (struct wall){val_int(val_get(net, N_timestamp), 0)});
        val_set_str(a, o, N_name, val_getstr(i, N_name));
        set_known(a, o, N_rxBytes, wrapped(i, N_rx_bytes));
        set_known(a, o, N_rxErrors, wrapped(i, N_rx_errors));
        set_known(a, o, N_txBytes, wrapped(i, N_tx_bytes));
        set_known(a, o, N_txErrors, wrapped(i, N_tx_errors));
        return;
    }
}

static const struct val *stats_of(const struct val *stats, struct str id)
{
    VAL_EACH (stats, s)
        if (str_eq(val_str(val_at(s, N_attributes, N_id)), id))
            return s;
    return NULL;
}

static void add_pod(struct arena *a, struct val *pods, const struct worker *w, const struct val *stats,
                    const struct val *sandboxes)
{
    struct val *pod = val_add_obj(a, pods), *ref = val_sub_obj(a, pod, N_podRef), *list;
    const struct rt_sandbox *box = podstate_active_sandbox(w->state);
    val_set_str(a, ref, N_name, str_of(w->name));
    val_set_str(a, ref, N_namespace, str_of(w->ns));
    val_set_str(a, ref, N_uid, str_of(w->uid));
    if (box)
        val_set_time(a, pod, N_startTime, box->created);
    list = val_sub_list(a, pod, N_containers);
    for (size_t i = 0; w->state && i < w->state->n_containers; i++) {
        const struct rt_container *c = &w->state->containers[i];
        if (c->state == RT_RUNNING)
            set_container(a, val_add_obj(a, list), stats_of(stats, c->id), c);
    }
    add_sums(a, pod);
    set_pod_network(a, pod, sandboxes, str_of(w->uid));
}

/* What a core's share is takes two looks: the last two. */
static void note_usage(struct kubelet *k, const struct host_usage *u)
{
    int64_t passed = u->at.ns - k->usage_at.ns;
    if (k->usage_at.ns && passed >= SECONDS(1) && u->cpu_ns >= k->usage_cpu)
        k->node_nano_cores = (int64_t)((double)(u->cpu_ns - k->usage_cpu) * 1e9 / (double)passed);
    if (!k->usage_at.ns || passed >= SECONDS(1)) {
        k->usage_at = u->at;
        k->usage_cpu = u->cpu_ns;
    }
}

void serve_stats(struct kubelet *k, struct http_exchange *x)
{
    struct arena *a = &x->arena;
    struct val *summary = val_new(a, VAL_OBJ), *pods;
    const struct val *stats = NULL, *sandboxes;
    struct host_usage u;
    struct buf b = BUF_INIT;
    struct err e = {{0}};
    if (k->host->ops->usage(k->host, &u) < 0 || container_stats(k, a, &stats, &e) != 0) {
        http_respond(x, 500, "text/plain; charset=utf-8", str_of(e.text[0] ? e.text : "no statistics"));
        return;
    }
    sandboxes = sandbox_stats(k, a);
    note_usage(k, &u);
    set_node(k, a, val_sub_obj(a, summary, N_node), &u);
    pods = val_sub_list(a, summary, N_pods);
    MAP_EACH (&k->workers, m) {
        const struct worker *w = m->value;
        if (w->pod && podstate_active_sandbox(w->state))
            add_pod(a, pods, w, stats, sandboxes);
    }
    json_encode(&b, type_at(T_stats_v1alpha1_Summary), summary, 0);
    http_respond(x, 200, "application/json", buf_str(&b));
    buf_done(&b);
}

/* ---- /metrics ----------------------------------------------------------------------------------------------------- */

static void metric(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

struct series {
    const char *name, *type, *help;
    name_id group, field;
    double scale;
};

static void put_containers(struct kubelet *k, struct buf *b, const struct val *stats, const struct series *s)
{
    metric(b, s->name, s->type, s->help);
    VAL_EACH (stats, one) {
        int64_t n = wrapped(val_get(one, s->group), s->field);
        if (n >= 0)
            buf_printf(b, "%s{container=\"" STR_FMT "\",namespace=\"" STR_FMT "\",pod=\"" STR_FMT "\"} %.9g %lld\n", s->name,
                       STR_ARG(label(one, CRI_LABEL_CONTAINER)), STR_ARG(label(one, CRI_LABEL_POD_NAMESPACE)),
                       STR_ARG(label(one, CRI_LABEL_POD_NAME)), (double)n * s->scale,
                       (long long)(val_int(val_at(one, s->group, N_timestamp), 0) / NSEC_PER_MSEC));
    }
}

static void put_pods(struct kubelet *k, struct buf *b, const struct val *stats, const struct series *s)
{
    metric(b, s->name, s->type, s->help);
    MAP_EACH (&k->workers, m) {
        const struct worker *w = m->value;
        int64_t sum = 0;
        bool any = false;
        VAL_EACH (stats, one)
            if (str_is(label(one, CRI_LABEL_POD_UID), w->uid)) {
                sum += MAX(wrapped(val_get(one, s->group), s->field), (int64_t)0);
                any = true;
            }
        if (any)
            buf_printf(b, "%s{namespace=\"%s\",pod=\"%s\"} %.9g\n", s->name, w->ns, w->name, (double)sum * s->scale);
    }
}

static void put_resource(struct kubelet *k, struct buf *b, const struct val *stats, const struct host_usage *u, bool failed)
{
    static const struct series containers[] = {
        {"container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the container in core-seconds",
         N_cpu, N_usage_core_nano_seconds, 1e-9},
        {"container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes", N_memory,
         N_working_set_bytes, 1},
    };
    static const struct series pods[] = {
        {"pod_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the pod in core-seconds", N_cpu,
         N_usage_core_nano_seconds, 1e-9},
        {"pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes", N_memory, N_working_set_bytes, 1},
    };
    for (size_t i = 0; i < ARRAY_SIZE(containers); i++)
        put_containers(k, b, stats, &containers[i]);
    metric(b, "container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds");
    MAP_EACH (&k->workers, m) {
        const struct worker *w = m->value;
        for (size_t i = 0; w->state && i < w->state->n_containers; i++)
            if (w->state->containers[i].state == RT_RUNNING)
                buf_printf(b, "container_start_time_seconds{container=\"" STR_FMT "\",namespace=\"%s\",pod=\"%s\"} %.9g\n",
                           STR_ARG(w->state->containers[i].name), w->ns, w->name,
                           (double)w->state->containers[i].started.ns / 1e9);
    }
    metric(b, "node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds");
    buf_printf(b, "node_cpu_usage_seconds_total %.9g %lld\n", (double)u->cpu_ns / 1e9, (long long)(u->at.ns / NSEC_PER_MSEC));
    metric(b, "node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes");
    buf_printf(b, "node_memory_working_set_bytes %lld %lld\n", (long long)u->memory_working_set,
               (long long)(u->at.ns / NSEC_PER_MSEC));
    for (size_t i = 0; i < ARRAY_SIZE(pods); i++)
        put_pods(k, b, stats, &pods[i]);
    metric(b, "resource_scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise");
    buf_printf(b, "resource_scrape_error %d\n", failed);
}

static void put_own(struct kubelet *k, struct buf *b)
{
    unsigned pods = 0, containers[RT_UNKNOWN + 1] = {0};
    static const char *const states[] = {"created", "running", "exited", "unknown"};
    MAP_EACH (&k->workers, m) {
        const struct worker *w = m->value;
        pods += podstate_active_sandbox(w->state) != NULL;
        for (size_t i = 0; w->state && i < w->state->n_containers; i++)
            containers[w->state->containers[i].state]++;
    }
    metric(b, "kubelet_node_name", "gauge", "The node's name. The count is always 1.");
    buf_printf(b, "kubelet_node_name{node=\"%s\"} 1\n", k->cfg.node_name);
    metric(b, "kubelet_running_pods", "gauge", "Number of pods that have a running pod sandbox");
    buf_printf(b, "kubelet_running_pods %u\n", pods);
    metric(b, "kubelet_running_containers", "gauge", "Number of containers currently running");
    for (size_t i = 0; i < ARRAY_SIZE(states); i++)
        buf_printf(b, "kubelet_running_containers{container_state=\"%s\"} %u\n", states[i], containers[i]);
    metric(b, "process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.");
    buf_printf(b, "process_start_time_seconds %.3f\n", (double)k->started_wall.ns / 1e9);
    metric(b, "kubernetes_build_info", "gauge", "Version of the API and of the program.");
    buf_puts(b, "kubernetes_build_info{major=\"1\",minor=\"37\",git_version=\"v1.37.2+cube\"} 1\n");
}

void serve_metrics(struct kubelet *k, struct http_exchange *x, struct str which)
{
    struct buf b = BUF_INIT;
    const struct val *stats = NULL;
    struct host_usage u = {0};
    if (str_is(which, "resource")) {
        bool failed = k->host->ops->usage(k->host, &u) < 0 || container_stats(k, &x->arena, &stats, NULL) != 0;
        put_resource(k, &b, stats, &u, failed);
    } else {
        put_own(k, &b);
    }
    http_respond(x, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&b));
    buf_done(&b);
}
