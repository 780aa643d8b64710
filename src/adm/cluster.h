/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole cluster in one process (D7): what `cube up` runs. Paths, ports and ranges are all here, so that several
 * clusters can share a machine.
 */
#pragma once

#include "base/err.h"
#include "base/arena.h"

struct cluster_config {
    const char *data_dir;       /* /var/lib/cube: store, containerd's root, kubelet's pods, logs */
    const char *run_dir;        /* /run/cube: sockets, containerd's state */
    const char *conf_dir;       /* /etc/kubernetes: pki, kubeconfigs */
    const char *node_name;      /* host name in lower case */
    const char *advertise;      /* address of the node; found when NULL */
    int64_t port;               /* 6443 */
    int64_t kubelet_port;       /* 10250 */
    const char *service_cidr;   /* 10.96.0.0/12 */
    const char *pod_cidr;       /* 10.244.0.0/16 */
    const char *dns_ip;         /* 10.96.0.10 */
    const char *cluster_domain; /* cluster.local */
    const char *cri_socket;     /* NULL: containerd is started as a child that outlives us */
    const char *bridge;         /* cni0 */
    const char *cgroup_root;    /* "/" */
    const char *proxy_table;    /* cube-proxy */
    const char *node_ports;     /* 30000-32767 */
    const char *without;        /* comma list of parts that somebody else runs; NULL: none */
};

/* Fills what is NULL or 0 with the defaults above; texts in the arena. */
int cluster_config_complete(struct arena *a, struct cluster_config *c, struct err *e);
/* Refuses what cannot work (a bad range, a DNS address outside of the services' range), naming the flag. */
int cluster_config_check(const struct cluster_config *c, struct err *e);

/* Called with each step done, and the last time with "ready". */
typedef void cluster_progress(void *arg, const char *step);

/* Brings the cluster up and serves until SIGINT or SIGTERM. 0 after an orderly end. */
int cluster_run(const struct cluster_config *c, cluster_progress *progress, void *arg, struct err *e);

/* ---- the files a cluster leaves ------------------------------------------------------------------------- */

/* One process a data_dir: a locked file with its pid. 0, or -EBUSY with the pid of the running one in the sentence. */
int cluster_lock(const struct cluster_config *c, int *ret_fd, struct err *e);
/* The pid of the running cluster, 0 when none runs. */
pid_t cluster_pid(const struct cluster_config *c);

/* ---- containerd (containerd.c) --------------------------------------------------------------------------- */

/* The socket to use: c->cri_socket, or our own containerd's, started when it does not answer. */
int containerd_ensure(struct arena *a, const struct cluster_config *c, const char **ret_socket, struct err *e);
const char *containerd_socket(struct arena *a, const struct cluster_config *c);
/* Ends our own containerd and its shims. */
int containerd_stop(const struct cluster_config *c, struct err *e);

/* ---- images (image.c) ------------------------------------------------------------------------------------ */

#define PAUSE_IMAGE "cube.local/pause:1"
/* Composes the pause image and imports it unless it is there. */
int image_ensure_pause(const struct cluster_config *c, const char *socket, struct err *e);
/* Imports an OCI or docker archive. */
int image_import(const char *socket, const char *file, struct err *e);

/* ---- taking down (down.c) -------------------------------------------------------------------------------- */

/* Ends every pod of our containerd through CRI. */
int cluster_stop_pods(const struct cluster_config *c, struct err *e);
/* Removes what a cluster leaves in the kernel and on disk: mounts, links, namespaces, rules, cgroups, folders. */
int cluster_purge(const struct cluster_config *c, struct err *e);
