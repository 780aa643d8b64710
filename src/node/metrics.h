/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers: what Pods and the node use (read when somebody asks, from their cgroups or else from the runtime), and what the
 * kubelet counts of its own doing. Private to this folder.
 *
 *     stats.c            readings, and /stats/summary
 *     metrics.c          what is counted while working
 *     metrics_pages.c    /metrics, /metrics/resource, /metrics/cadvisor, /metrics/probes
 *     metrics_cgroup.c   what the kernel says of a cgroup
 */
#pragma once

#include "node/kubelet-internal.h"

/* ---- readings: one moment, in the caller's arena ----------------------------------------------------------------- */

struct net_line {
    struct str name;
    int64_t rx_bytes, rx_packets, rx_errors, rx_dropped, tx_bytes, tx_packets, tx_errors, tx_dropped;
};

struct container_reading {
    struct str name, id, image, cgroup;
    struct wall started;
    int pid;
    struct cgroup_usage u;
    int64_t nano_cores;                 /* -1: not known (yet) */
    int64_t rootfs_used, rootfs_inodes; /* -1 */
};

struct pod_reading {
    struct str uid, ns, name, cgroup, log_dir;
    struct wall started;
    bool host_network;
    struct cgroup_usage u;
    int64_t nano_cores;
    struct container_reading *containers;
    size_t n;
    struct net_line *nets;
    size_t n_nets, n_net; /* which of them is the default */
};

struct readings {
    struct host_usage node;
    int64_t node_nano_cores;
    struct pod_reading *pods;
    size_t n;
};

enum { READ_RATES = 1, READ_NETWORK = 2, READ_LAYERS = 4 };
/* Of all running Pods. rates: CPU over a window, for which the numbers may have to be read twice. 0, or an error. Waits. */
int readings_take(struct kubelet *k, struct arena *a, unsigned what, struct readings *ret, struct err *e);
size_t net_parse(struct arena *a, struct str proc_net_dev, struct net_line **ret, size_t *ret_default);

/* ---- counting ------------------------------------------------------------------------------------------------------ */

struct metrics;
struct metrics *metrics_new(struct runtime *rt); /* counts what the runtime is asked */
void metrics_free(struct metrics *m);            /* NULL is fine */
void metrics_probe(struct worker *w, enum probe_kind kind, const char *container, enum probe_result r);
void metrics_relisted(struct kubelet *k, int64_t ns);
/* All claims of a Pod were (un)prepared; a driver was asked. */
void metrics_dra_pod(struct kubelet *k, bool prepare, bool failed, int64_t ns);
void metrics_dra_call(struct kubelet *k, struct str driver, unsigned method, int rc, int64_t ns);
void metrics_write_dra(struct kubelet *k, struct buf *b);
void metrics_write_runtime(const struct metrics *m, struct buf *b);
void metrics_write_probes(struct kubelet *k, struct buf *b); /* forgets those of Pods that are gone */

/* The sample of a processor's time before: what the share is made of. */
struct cpu_sample {
    struct wall at;
    int64_t cpu_ns, nano_cores; /* the share over the last window, -1 */
};
struct cpu_sample *metrics_sample(struct metrics *m, struct str key); /* made when there is none */
void metrics_drop_samples(struct metrics *m, struct wall before);     /* of what is gone */

/* Text exposition. */
void metric_head(struct buf *b, const char *name, const char *type, const char *help);
