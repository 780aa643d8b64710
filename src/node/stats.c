/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the node and its Pods use: read from their cgroups at the moment somebody asks (nothing is measured while nobody
 * does), from the runtime where there are none that we can see; and /stats/summary made of it.
 */
#include "net/http.h"

#include "grpc.h"
#include "net/url.h"
#include "node/metrics.h"
#include "types.h"
#include "wire/json.h"

#include <stdio.h>

enum {
    WINDOW_LEAST_MS = 1000, /* a share of a processor over less is noise */
    WINDOW_MOST_S = 90,     /* over more it says nothing about now */
    SECOND_LOOK_MS = 500,   /* when there is no first one */
    FILE_MAX = 1 << 20,
};

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

static int64_t wrapped(const struct val *v, name_id name)
{
    return val_int(val_get(val_get(v, name), N_value), -1);
}

static const struct val *stats_of(const struct val *stats, struct str id)
{
    VAL_EACH (stats, s)
        if (str_eq(val_str(val_at(s, N_attributes, N_id)), id))
            return s;
    return NULL;
}

static void take_runtime_usage(const struct val *s, struct cgroup_usage *u)
{
    const struct val *cpu = val_get(s, N_cpu), *memory = val_get(s, N_memory);
    u->at.ns = val_int(val_get(cpu, N_timestamp), 0);
    u->cpu_ns = wrapped(cpu, N_usage_core_nano_seconds);
    u->memory_usage = wrapped(memory, N_usage_bytes);
    u->memory_working_set = wrapped(memory, N_working_set_bytes);
    u->memory_rss = wrapped(memory, N_rss_bytes);
    u->page_faults = wrapped(memory, N_page_faults);
    u->major_page_faults = wrapped(memory, N_major_page_faults);
}

int pod_memory_usage(struct kubelet *k, struct map *ret, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct readings r;
    int rc = readings_take(k, &a, 0, &r, e);
    for (size_t i = 0; rc == 0 && i < r.n; i++)
        if (r.pods[i].u.memory_working_set >= 0 && !map_has(ret, r.pods[i].uid)) {
            int64_t *bytes = xmalloc(sizeof(*bytes));
            *bytes = r.pods[i].u.memory_working_set;
            map_put(ret, r.pods[i].uid, bytes);
        }
    arena_done(&a);
    return rc;
}

/* ---- readings: who runs ------------------------------------------------------------------------------------------- */

static void add_container(struct kubelet *k, struct arena *a, struct pod_reading *p, const struct rt_container *c)
{
    struct container_reading *r = &p->containers[p->n++];
    *r = (struct container_reading){.name = arena_str(a, c->name), .id = arena_str(a, c->id), .image = arena_str(a, c->image),
                                    .started = c->started, .pid = c->pid, .u = CGROUP_USAGE_UNKNOWN, .nano_cores = -1,
                                    .rootfs_used = -1, .rootfs_inodes = -1};
    r->cgroup = arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(p->cgroup), STR_ARG(c->id));
}

static void add_pod(struct kubelet *k, struct arena *a, struct readings *r, const struct worker *w)
{
    const struct rt_sandbox *box = podstate_active_sandbox(w->state);
    struct pod_reading *p = &r->pods[r->n];
    if (!w->pod || !box)
        return;
    r->n++;
    *p = (struct pod_reading){.uid = arena_str(a, str_of(w->uid)), .ns = arena_str(a, str_of(w->ns)),
                              .name = arena_str(a, str_of(w->name)), .started = box->created,
                              .host_network = box->host_network, .u = CGROUP_USAGE_UNKNOWN, .nano_cores = -1};
    p->cgroup = pod_cgroup_path(a, k->cfg.cgroup_root, w->pod->val);
    p->log_dir = pod_log_dir(a, k->cfg.pod_logs_dir, w->pod->val);
    p->containers = ARENA_ARRAY(a, struct container_reading, w->state->n_containers);
    for (size_t i = 0; i < w->state->n_containers; i++)
        if (w->state->containers[i].state == RT_RUNNING)
            add_container(k, a, p, &w->state->containers[i]);
}

static void list_pods(struct kubelet *k, struct arena *a, struct readings *r)
{
    r->pods = ARENA_ARRAY(a, struct pod_reading, k->workers.n);
    MAP_EACH (&k->workers, m)
        add_pod(k, a, r, m->value);
}

/* ---- readings: how much ---------------------------------------------------------------------------------------------- */

static bool read_group(struct kubelet *k, struct str path, struct cgroup_usage *u)
{
    return k->host->ops->cgroup_usage && k->host->ops->cgroup_usage(k->host, path.p, u) == 0;
}

/* What the kernel does not say of a Pod as a whole is the sum over its containers. */
static void add_up(struct pod_reading *p)
{
    static const size_t fields[] = {offsetof(struct cgroup_usage, cpu_ns),        offsetof(struct cgroup_usage, memory_usage),
                                    offsetof(struct cgroup_usage, memory_rss),    offsetof(struct cgroup_usage, memory_working_set),
                                    offsetof(struct cgroup_usage, page_faults),   offsetof(struct cgroup_usage, major_page_faults)};
    for (size_t f = 0; f < ARRAY_SIZE(fields); f++) {
        int64_t sum = 0, *to = (int64_t *)((char *)&p->u + fields[f]);
        for (size_t i = 0; i < p->n; i++)
            sum += MAX(*(const int64_t *)((const char *)&p->containers[i].u + fields[f]), (int64_t)0);
        *to = sum;
    }
    for (size_t i = 0; i < p->n; i++)
        p->u.at.ns = MAX(p->u.at.ns, p->containers[i].u.at.ns);
}

/* Whether all of it could be read from cgroups. */
static bool read_groups(struct kubelet *k, struct pod_reading *p)
{
    bool whole = read_group(k, p->cgroup, &p->u), all = true;
    for (size_t i = 0; i < p->n; i++)
        all &= read_group(k, p->containers[i].cgroup, &p->containers[i].u);
    if (!whole)
        add_up(p);
    return all;
}

static void take_layers(struct readings *r, const struct val *stats)
{
    for (size_t i = 0; i < r->n; i++)
        for (size_t j = 0; j < r->pods[i].n; j++) {
            struct container_reading *c = &r->pods[i].containers[j];
            const struct val *s = stats_of(stats, c->id), *layer = val_get(s, N_writable_layer);
            c->rootfs_used = wrapped(layer, N_used_bytes);
            c->rootfs_inodes = wrapped(layer, N_inodes_used);
            if (s && c->u.cpu_ns < 0)
                take_runtime_usage(s, &c->u);
        }
}

static int read_usage(struct kubelet *k, struct arena *a, bool layers, struct readings *r, struct err *e)
{
    const struct val *stats = NULL;
    bool all = true;
    for (size_t i = 0; i < r->n; i++)
        all &= read_groups(k, &r->pods[i]);
    if (all && !layers)
        return 0;
    int rc = container_stats(k, a, &stats, e);
    if (rc != 0)
        return all ? 0 : rc;
    take_layers(r, stats);
    for (size_t i = 0; i < r->n; i++)
        if (r->pods[i].u.at.ns == 0 || r->pods[i].u.cpu_ns <= 0)
            add_up(&r->pods[i]);
    return 0;
}

/* ---- readings: shares of a processor ------------------------------------------------------------------------------------ */

/* True when the share is known now. */
static bool take_share(struct kubelet *k, struct str key, const struct cgroup_usage *u, int64_t least, int64_t *ret)
{
    struct cpu_sample *s = metrics_sample(k->metrics, key);
    int64_t passed = u->at.ns - s->at.ns;
    if (u->cpu_ns < 0)
        return true;
    if (!s->at.ns || passed > SECONDS(WINDOW_MOST_S) || u->cpu_ns < s->cpu_ns || passed < 0) {
        *s = (struct cpu_sample){u->at, u->cpu_ns, -1};
        return false;
    }
    if (passed >= least) {
        s->nano_cores = (int64_t)((double)(u->cpu_ns - s->cpu_ns) * 1e9 / (double)passed);
        s->at = u->at;
        s->cpu_ns = u->cpu_ns;
    }
    *ret = s->nano_cores;
    return s->nano_cores >= 0;
}

static bool take_shares(struct kubelet *k, struct readings *r, int64_t least)
{
    struct cgroup_usage node = {.at = r->node.at, .cpu_ns = r->node.cpu_ns};
    bool all = take_share(k, STR("node"), &node, least, &r->node_nano_cores);
    for (size_t i = 0; i < r->n; i++) {
        struct pod_reading *p = &r->pods[i];
        all &= take_share(k, p->cgroup, &p->u, least, &p->nano_cores);
        for (size_t j = 0; j < p->n; j++)
            all &= take_share(k, p->containers[j].cgroup, &p->containers[j].u, least, &p->containers[j].nano_cores);
    }
    return all;
}

/* ---- readings: network --------------------------------------------------------------------------------------------------- */

size_t net_parse(struct arena *a, struct str text, struct net_line **ret, size_t *ret_default)
{
    struct str line, name, rest;
    struct net_line *lines = NULL;
    size_t n = 0, cap = 0;
    *ret_default = 0;
    while (text.p && str_next(&text, '\n', &line)) {
        long long v[12];
        if (!str_cut(line, ':', &name, &rest) || str_is(str_trim(name), "lo") ||
            sscanf(arena_cstr(a, rest), "%lld %lld %lld %lld %lld %lld %lld %lld %lld %lld %lld %lld", &v[0], &v[1], &v[2],
                   &v[3], &v[4], &v[5], &v[6], &v[7], &v[8], &v[9], &v[10], &v[11]) != 12)
            continue;
        if (n == cap) {
            struct net_line *more = ARENA_ARRAY(a, struct net_line, cap = cap ? cap * 2 : 4);
            if (n)
                memcpy(more, lines, n * sizeof(*more));
            lines = more;
        }
        lines[n] = (struct net_line){arena_str(a, str_trim(name)), v[0], v[1], v[2], v[3], v[8], v[9], v[10], v[11]};
        if (str_is(lines[n].name, "eth0"))
            *ret_default = n;
        n++;
    }
    *ret = lines;
    return n;
}

/* The Pod's interfaces, as any of its processes sees them. */
static void read_network(struct kubelet *k, struct arena *a, struct pod_reading *p)
{
    struct str text;
    for (size_t i = 0; i < p->n && !p->n_nets && !p->host_network; i++)
        if (p->containers[i].pid > 0 &&
            k->host->ops->read_file(k->host, a, arena_printf(a, "/proc/%d/net/dev", p->containers[i].pid).p, FILE_MAX, &text,
                                    NULL) == 0)
            p->n_nets = net_parse(a, text, &p->nets, &p->n_net);
}

int readings_take(struct kubelet *k, struct arena *a, unsigned what, struct readings *ret, struct err *e)
{
    struct readings r = {.node_nano_cores = -1};
    list_pods(k, a, &r);
    int rc = k->host->ops->usage(k->host, &r.node);
    if (rc < 0)
        return err_set(e, rc, "cannot read what the node uses: %s", strerror(-rc));
    rc = read_usage(k, a, what & READ_LAYERS, &r, e);
    if (rc != 0)
        return rc;
    if ((what & READ_RATES) && !take_shares(k, &r, MILLISECONDS(WINDOW_LEAST_MS))) {
        metrics_drop_samples(k->metrics, (struct wall){r.node.at.ns - 2 * SECONDS(WINDOW_MOST_S)});
        rc = fiber_sleep(MILLISECONDS(SECOND_LOOK_MS));
        if (rc == 0)
            rc = k->host->ops->usage(k->host, &r.node);
        if (rc == 0)
            rc = read_usage(k, a, false, &r, e);
        if (rc != 0)
            return rc;
        take_shares(k, &r, MILLISECONDS(SECOND_LOOK_MS / 2));
    }
    for (size_t i = 0; (what & READ_NETWORK) && i < r.n; i++)
        read_network(k, a, &r.pods[i]);
    *ret = r;
    return 0;
}

/* ---- /stats/summary --------------------------------------------------------------------------------------------- */

/* One answer being made. */
struct summary {
    struct kubelet *k;
    struct arena *a;
    bool brief; /* processors and memory only */
};

static void set_known(struct arena *a, struct val *o, name_id name, int64_t n)
{
    if (n >= 0)
        val_set_int(a, o, name, n);
}

static void set_psi_line(struct arena *a, struct val *psi, name_id name, const struct psi_line *l)
{
    struct val *o = val_sub_obj(a, psi, name);
    val_set_int(a, o, N_total, MAX(l->total, (int64_t)0));
    val_set(a, o, N_avg10, val_of_float(l->avg10));
    val_set(a, o, N_avg60, val_of_float(l->avg60));
    val_set(a, o, N_avg300, val_of_float(l->avg300));
}

static void set_psi(struct arena *a, struct val *o, const struct psi *p)
{
    if (!p->known)
        return;
    struct val *psi = val_sub_obj(a, o, N_psi);
    set_psi_line(a, psi, N_full, &p->full);
    set_psi_line(a, psi, N_some, &p->some);
}

static void set_cpu(struct arena *a, struct val *to, struct wall at, int64_t ns, int64_t nano_cores, const struct psi *psi)
{
    struct val *o = val_sub_obj(a, to, N_cpu);
    val_set_time(a, o, N_time, at);
    set_known(a, o, N_usageNanoCores, nano_cores);
    set_known(a, o, N_usageCoreNanoSeconds, ns);
    set_psi(a, o, psi);
}

static void set_memory(struct arena *a, struct val *to, const struct cgroup_usage *u)
{
    struct val *o = val_sub_obj(a, to, N_memory);
    val_set_time(a, o, N_time, u->at);
    if (u->memory_limit > 0 && u->memory_working_set >= 0)
        val_set_int(a, o, N_availableBytes, MAX(u->memory_limit - u->memory_working_set, (int64_t)0));
    set_known(a, o, N_usageBytes, u->memory_usage);
    set_known(a, o, N_workingSetBytes, u->memory_working_set);
    set_known(a, o, N_rssBytes, u->memory_rss);
    set_known(a, o, N_pageFaults, u->page_faults);
    set_known(a, o, N_majorPageFaults, u->major_page_faults);
    set_psi(a, o, &u->memory_pressure);
}

static void set_rest(struct arena *a, struct val *to, const struct cgroup_usage *u)
{
    struct val *o;
    if (u->io_pressure.known) {
        o = val_sub_obj(a, to, N_io);
        val_set_time(a, o, N_time, u->at);
        set_psi(a, o, &u->io_pressure);
    }
    if (u->swap >= 0) {
        o = val_sub_obj(a, to, N_swap);
        val_set_time(a, o, N_time, u->at);
        if (u->swap_limit >= 0)
            val_set_int(a, o, N_swapAvailableBytes, MAX(u->swap_limit - u->swap, (int64_t)0));
        val_set_int(a, o, N_swapUsageBytes, u->swap);
    }
}

static void set_fs(struct arena *a, struct val *o, struct wall at, const struct host_usage *u, int64_t used, int64_t inodes_used)
{
    val_set_time(a, o, N_time, at);
    set_known(a, o, N_availableBytes, u->fs_available);
    set_known(a, o, N_capacityBytes, u->fs_bytes);
    set_known(a, o, N_usedBytes, used);
    set_known(a, o, N_inodesFree, u->fs_inodes_free);
    set_known(a, o, N_inodes, u->fs_inodes);
    set_known(a, o, N_inodesUsed, inodes_used);
}

/* ---- the node ------------------------------------------------------------------------------------------------------ */

static void read_pressure(const struct summary *s, const char *name, struct psi *ret)
{
    struct str text;
    *ret = (struct psi){0};
    if (s->k->host->ops->read_file(s->k->host, s->a, arena_printf(s->a, "/proc/pressure/%s", name).p, FILE_MAX, &text, NULL) == 0)
        psi_parse(text, ret);
}

static void set_net_line(struct arena *a, struct val *o, const struct net_line *l)
{
    val_set_str(a, o, N_name, l->name);
    set_known(a, o, N_rxBytes, l->rx_bytes);
    set_known(a, o, N_rxErrors, l->rx_errors);
    set_known(a, o, N_txBytes, l->tx_bytes);
    set_known(a, o, N_txErrors, l->tx_errors);
}

static void set_network(struct arena *a, struct val *to, struct wall at, const struct net_line *lines, size_t n, size_t which)
{
    if (!n)
        return;
    struct val *o = val_sub_obj(a, to, N_network);
    val_set_time(a, o, N_time, at);
    set_net_line(a, o, &lines[which]);
    struct val *list = val_sub_list(a, o, N_interfaces);
    for (size_t i = 0; i < n; i++)
        set_net_line(a, val_add_obj(a, list), &lines[i]);
}

static void set_node_network(const struct summary *s, struct val *node, const struct host_usage *u)
{
    struct str text;
    struct net_line *lines;
    size_t which = 0, n;
    if (s->k->host->ops->read_file(s->k->host, s->a, "/proc/net/dev", FILE_MAX, &text, NULL) != 0) {
        struct net_line one = {.name = str_of(u->interface), .rx_bytes = u->rx_bytes, .rx_errors = u->rx_errors,
                               .tx_bytes = u->tx_bytes, .tx_errors = u->tx_errors};
        set_network(s->a, node, u->at, &one, 1, 0);
        return;
    }
    n = net_parse(s->a, text, &lines, &which);
    for (size_t i = 0; i < n; i++)
        if (str_is(lines[i].name, u->interface))
            which = i;
    set_network(s->a, node, u->at, lines, n, which);
}

/* All Pods together, as one of the parts of the system. */
static void add_system(const struct summary *s, struct val *list)
{
    struct cgroup_usage u;
    struct str path = arena_printf(s->a, "%s/kubepods", s->k->cfg.cgroup_root[1] ? s->k->cfg.cgroup_root : "");
    int64_t share = -1;
    if (!read_group(s->k, path, &u))
        return;
    struct val *o = val_add_obj(s->a, list);
    val_set_str(s->a, o, N_name, STR("pods"));
    val_set_time(s->a, o, N_startTime, s->k->started_wall);
    take_share(s->k, path, &u, MILLISECONDS(WINDOW_LEAST_MS), &share);
    set_cpu(s->a, o, u.at, u.cpu_ns, share, &u.cpu_pressure);
    set_memory(s->a, o, &u);
    if (!s->brief)
        set_rest(s->a, o, &u);
}

static void set_node_rest(const struct summary *s, struct val *node, const struct host_usage *u)
{
    struct arena *a = s->a;
    int64_t used = u->fs_bytes < 0 ? -1 : u->fs_bytes - u->fs_available,
            inodes = u->fs_inodes < 0 || u->fs_inodes_free < 0 ? -1 : u->fs_inodes - u->fs_inodes_free;
    struct cgroup_usage rest = {.at = u->at, .swap = u->swap_total >= 0 ? u->swap_total - u->swap_free : -1,
                                .swap_limit = u->swap_total};
    read_pressure(s, "io", &rest.io_pressure);
    set_node_network(s, node, u);
    set_fs(a, val_sub_obj(a, node, N_fs), u->at, u, used, inodes);
    struct val *runtime = val_sub_obj(a, node, N_runtime);
    set_fs(a, val_sub_obj(a, runtime, N_imageFs), u->at, u, used, inodes);
    set_fs(a, val_sub_obj(a, val_mut(node, N_runtime), N_containerFs), u->at, u, used, inodes);
    struct val *o = val_sub_obj(a, node, N_rlimit);
    val_set_time(a, o, N_time, u->at);
    set_known(a, o, N_maxpid, u->max_pids);
    set_known(a, o, N_curproc, u->pids);
    set_rest(a, node, &rest);
}

static void set_node(const struct summary *s, struct val *node, const struct readings *r)
{
    struct arena *a = s->a;
    const struct host_usage *u = &r->node;
    struct psi psi;
    val_set_str(a, node, N_nodeName, str_of(s->k->cfg.node_name));
    add_system(s, val_sub_list(a, node, N_systemContainers));
    val_set_time(a, node, N_startTime, u->booted);
    read_pressure(s, "cpu", &psi);
    set_cpu(a, node, u->at, u->cpu_ns, r->node_nano_cores, &psi);
    struct val *o = val_sub_obj(a, node, N_memory);
    val_set_time(a, o, N_time, u->at);
    set_known(a, o, N_availableBytes, u->memory_available);
    set_known(a, o, N_usageBytes, u->memory_usage);
    set_known(a, o, N_workingSetBytes, u->memory_working_set);
    set_known(a, o, N_rssBytes, u->memory_rss);
    set_known(a, o, N_pageFaults, u->page_faults);
    set_known(a, o, N_majorPageFaults, u->major_page_faults);
    read_pressure(s, "memory", &psi);
    set_psi(a, o, &psi);
    if (!s->brief)
        set_node_rest(s, node, u);
}

/* ---- Pods ------------------------------------------------------------------------------------------------------------- */

/* What a Pod's own files take of the node's disk. */
struct ephemeral {
    int64_t bytes, inodes;
};

static void count_in(struct ephemeral *e, int64_t bytes, int64_t inodes)
{
    e->bytes += MAX(bytes, (int64_t)0);
    e->inodes += MAX(inodes, (int64_t)0);
}

static void set_container(const struct summary *s, struct val *o, const struct pod_reading *p,
                          const struct container_reading *c, const struct host_usage *node, struct ephemeral *sum)
{
    struct arena *a = s->a;
    struct host_space logs = {.used = -1, .inodes_used = -1};
    val_set_str(a, o, N_name, c->name);
    val_set_time(a, o, N_startTime, c->started);
    set_cpu(a, o, c->u.at, c->u.cpu_ns, c->nano_cores, &c->u.cpu_pressure);
    set_memory(a, o, &c->u);
    if (s->brief)
        return;
    set_rest(a, o, &c->u);
    set_fs(a, val_sub_obj(a, o, N_rootfs), c->u.at, node, c->rootfs_used, c->rootfs_inodes);
    host_du(s->k->host, arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(p->log_dir), STR_ARG(c->name)).p, &logs);
    set_fs(a, val_sub_obj(a, o, N_logs), c->u.at, node, logs.used, logs.inodes_used);
    count_in(sum, c->rootfs_used, c->rootfs_inodes);
    count_in(sum, logs.used, logs.inodes_used);
}

static bool on_nodes_disk(const struct worker *w, struct str name)
{
    VAL_EACH (val_at(w->pod ? w->pod->val : NULL, N_spec, N_volumes), v)
        if (str_eq(val_getstr(v, N_name), name)) {
            const struct val *dir = val_get(v, N_emptyDir);
            return (dir && !val_getstr(dir, N_medium).n) || val_get(v, N_configMap) || val_get(v, N_downwardAPI);
        }
    return false;
}

static void set_volumes(const struct summary *s, struct val *pod, struct str uid, struct wall at, struct ephemeral *sum)
{
    struct arena *a = s->a;
    struct worker *w = worker_find(s->k, uid);
    struct volume_stats *stats;
    size_t n = w ? worker_volume_stats(w, a, &stats) : 0;
    w = n ? worker_find(s->k, uid) : NULL; /* that took time */
    for (size_t i = 0; w && i < n; i++) {
        const struct host_space *u = &stats[i].space;
        struct val *o = val_add_obj(a, val_sub_list(a, pod, N_volume));
        val_set_time(a, o, N_time, at);
        set_known(a, o, N_availableBytes, u->available);
        set_known(a, o, N_capacityBytes, u->capacity);
        set_known(a, o, N_usedBytes, u->used);
        set_known(a, o, N_inodesFree, u->inodes_free);
        set_known(a, o, N_inodes, u->inodes);
        set_known(a, o, N_inodesUsed, u->inodes_used);
        val_set_str(a, o, N_name, stats[i].name);
        if (stats[i].claim.n) {
            struct val *ref = val_sub_obj(a, o, N_pvcRef);
            val_set_str(a, ref, N_name, stats[i].claim);
            val_set_str(a, ref, N_namespace, stats[i].claim_ns);
        }
        if (on_nodes_disk(w, stats[i].name))
            count_in(sum, u->used, u->inodes_used);
    }
}

static void set_pod(const struct summary *s, struct val *pod, const struct pod_reading *p, const struct host_usage *node)
{
    struct arena *a = s->a;
    struct ephemeral sum = {0};
    struct val *ref = val_sub_obj(a, pod, N_podRef), *list;
    val_set_str(a, ref, N_name, p->name);
    val_set_str(a, ref, N_namespace, p->ns);
    val_set_str(a, ref, N_uid, p->uid);
    val_set_time(a, pod, N_startTime, p->started);
    list = val_sub_list(a, pod, N_containers);
    for (size_t i = 0; i < p->n; i++)
        set_container(s, val_add_obj(a, list), p, &p->containers[i], node, &sum);
    set_cpu(a, pod, p->u.at, p->u.cpu_ns, p->nano_cores, &p->u.cpu_pressure);
    set_memory(a, pod, &p->u);
    if (s->brief)
        return;
    set_rest(a, pod, &p->u);
    set_network(a, pod, p->u.at, p->nets, p->n_nets, p->n_net);
    if (p->u.pids >= 0)
        val_set_int(a, val_sub_obj(a, pod, N_process_stats), N_process_count, p->u.pids);
    set_volumes(s, pod, p->uid, p->u.at, &sum);
    set_fs(a, val_sub_obj(a, pod, N_ephemeral_storage), p->u.at, node, sum.bytes, sum.inodes);
}

void serve_stats(struct kubelet *k, struct http_exchange *x)
{
    struct arena *a = &x->arena;
    struct summary s = {k, a, query_bool(a, x->query, "only_cpu_and_memory", false)};
    struct val *answer = val_new(a, VAL_OBJ), *pods;
    struct buf b = BUF_INIT;
    struct readings r;
    struct err e = {{0}};
    int rc = readings_take(k, a, READ_RATES | (s.brief ? 0 : READ_NETWORK | READ_LAYERS), &r, &e);
    if (rc != 0) {
        http_respond(x, 500, "text/plain; charset=utf-8", str_of(err_text(&e, rc)));
        return;
    }
    set_node(&s, val_sub_obj(a, answer, N_node), &r);
    pods = val_sub_list(a, answer, N_pods);
    for (size_t i = 0; i < r.n; i++)
        set_pod(&s, val_add_obj(a, pods), &r.pods[i], &r.node);
    json_encode(&b, type_at(T_stats_v1alpha1_Summary), answer, 0);
    http_respond(x, 200, "application/json", buf_str(&b));
    buf_done(&b);
}
