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
    /* Addresses and ranges: one, or one of each family with a comma, as addresses.h says. */
    const char *advertise;      /* address of the node, the first also of the API; found when NULL */
    int64_t port;               /* 6443 */
    int64_t kubelet_port;       /* 10250 */
    const char *service_cidr;   /* 10.96.0.0/12 */
    const char *pod_cidr;       /* 10.244.0.0/16 */
    const char *dns_ip;         /* the tenth of service_cidr */
    const char *cluster_domain; /* cluster.local */
    const char *cri_socket;     /* NULL: containerd is started as a child that outlives us */
    const char *bridge;         /* cni0 */
    const char *cgroup_root;    /* "/" */
    const char *proxy_table;    /* cube-proxy */
    const char *proxy_mode;     /* nftables */
    int64_t proxy_health_port, proxy_metrics_port; /* 10256, on every address; 10249, on loopback */
    const char *node_ports;     /* 30000-32767 */
    const char *authn_config, *authz_config; /* configuration files of the API server, absolute; NULL: none */
    const char *load_balancer_pool; /* addresses of LoadBalancer Services; NULL: nobody gives them any */
    int64_t ingress_http, ingress_https; /* 80, 443: ports that Ingresses are served on, while there are any */
    const char *ingress_log;    /* file for a line a request; NULL: none */
    int64_t node_grace;         /* ns of silence after which a node counts as lost; 0: 50 s, upstream's */
    const char *without;        /* comma list of parts that somebody else runs; NULL: none */
    const char *containerd, *runc; /* programs; NULL: found in PATH */
    const char *cni_plugin;     /* "cube-cni", or "reference": bridge, host-local and portmap of the machine */
    const char *cni_bin_dir;    /* NULL: a folder of links to those of /opt/cni/bin and /usr/lib/cni and to our own */
    const char *cni_conf_dir;   /* whose network configuration somebody else writes; NULL: our own */
    const char *etcd_servers;   /* where objects are kept: "http://10.0.0.5:2379,..."; NULL: in data_dir, by ourselves */
    const char *etcd_prefix, *etcd_ca, *etcd_cert, *etcd_key; /* what keys begin with there, /registry; PEM files or NULL */
    const char *overlay_backend; /* NULL: as net-conf.json in the cluster says, else host-gw */
    const char *node_cidr;      /* addresses of the further nodes on this machine; one is found when NULL */
    const char *node_bridge;    /* and the bridge that links them; NULL: named after `bridge` */
};

/* Fills what is NULL or 0 with the defaults above; texts in the arena. */
int cluster_config_complete(struct arena *a, struct cluster_config *c, struct err *e);
/* Refuses what cannot work (a bad range, a DNS address outside of the services' range), naming the flag. */
int cluster_config_check(const struct cluster_config *c, struct err *e);

/* What `cube up` was told, for the commands that come later: fills what c does not say from the file in its data_dir. A file
 * that is not there is fine. Texts in the arena. */
int cluster_config_load(struct arena *a, struct cluster_config *c, struct err *e);
int cluster_config_save(const struct cluster_config *c, struct err *e);

/* Called with each step done, and the last time with "ready". */
typedef void cluster_progress(void *arg, const char *step);

/* Brings the cluster up and serves until SIGINT or SIGTERM. 0 after an orderly end. nodes: how many there shall be at least,
 * this machine's own among them; those that are on record come up anyway. */
int cluster_run(const struct cluster_config *c, int64_t nodes, cluster_progress *progress, void *arg, struct err *e);

/* ---- the files a cluster leaves ------------------------------------------------------------------------- */

/* One process a data_dir: a locked file with its pid. 0, or -EBUSY with the pid of the running one in the sentence. */
int cluster_lock(const struct cluster_config *c, int *ret_fd, struct err *e);
/* The pid of the running cluster, 0 when none runs. */
pid_t cluster_pid(const struct cluster_config *c);

/* ---- containerd (containerd.c) --------------------------------------------------------------------------- */

/* A containerd of ours: that of the machine's own node, or one in a further node's namespaces. */
struct containerd {
    const char *socket;
    bool foreign; /* somebody else's, by --cri-socket: only used */
    const char *root, *state, *config, *log, *pid_file, *cni_conf_dir;
    const char *containerd, *runc, *cni_bin_dir; /* as in cluster_config */
};
void containerd_of_cluster(struct arena *a, const struct cluster_config *c, struct containerd *ret);
/* Starts it when it does not answer: a child that outlives us. */
int containerd_ensure(const struct containerd *r, struct err *e);
/* Starts it again whenever it ends, until the fiber is cancelled. */
void containerd_keep(const struct containerd *r);
/* Ends our own containerd and its shims. */
int containerd_stop(const struct containerd *r, struct err *e);
const char *containerd_socket(struct arena *a, const struct cluster_config *c);

/* ---- images (image.c) ------------------------------------------------------------------------------------ */

#define PAUSE_IMAGE "cube.local/pause:1"
/* Composes the pause image and imports it unless it is there. */
int image_ensure_pause(const struct containerd *r, const char *work_dir, struct err *e);
/* Imports an OCI or docker archive. ctr: the program, by ctr_of. */
int image_import(const char *ctr, const char *socket, const char *file, struct err *e);
/* The ctr that lies beside this containerd, or the one in PATH. containerd may be NULL. */
const char *ctr_of(struct arena *a, const char *containerd);

/* ---- taking down (pods.c, down.c) --------------------------------------------------------------------------- */

/* Ends every pod of a runtime through CRI. orderly: its containers are asked to end first, all at once, each within its
 * own grace. */
int cri_stop_pods(const char *socket, bool orderly, struct err *e);
/* Removes what a cluster leaves in the kernel and on disk: mounts, links, namespaces, rules, cgroups, folders. */
int cluster_purge(const struct cluster_config *c, struct err *e);
