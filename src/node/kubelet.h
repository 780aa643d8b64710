/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kubelet as a library: runs the Pods of one node, tells the API server about them and about the node, and serves
 * logs, exec and statistics over HTTPS.
 *
 * Everything it needs of the world comes in through the configuration: a client (client/client.h), a container
 * runtime (node/runtime.h) and a machine (node/host.h). A hollow node is a kubelet with the latter two made up.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct client;
struct runtime;
struct host;

/* Texts are copied by kubelet_run's start; NULL or "" means the value in brackets. */
struct kubelet_config {
    const char *node_name;
    const char *const *node_ips;    /* NULL-terminated [the address of the default route] */
    const char *hostname;           /* of the address type Hostname [node_name] */
    struct client *client;          /* borrowed; NULL: static pods only */
    struct runtime *runtime;        /* borrowed; NULL: made for cri_socket */
    struct host *host;              /* borrowed; NULL: this machine */
    const struct flag_text *flags;  /* client/zpages.h, for /flagz; NULL: none */
    const char *cri_socket;         /* [unix:///run/containerd/containerd.sock] */
    const char *image_socket;       /* [cri_socket] */
    const char *root_dir;           /* [/var/lib/kubelet] */
    const char *local_path_dir;     /* where directories go that are PersistentVolumes [root_dir/local-path] */
    const char *pod_logs_dir;       /* [/var/log/pods] */
    const char *container_logs_dir; /* links for log collectors; NULL: none */
    const char *static_pod_path;    /* folder or file; NULL: none */
    const char *cni_conf_dir;       /* where to write a network configuration for the node's pod CIDR; NULL: do not */
    const char *cni_bridge;         /* [cni0] */
    const char *cni_plugin;         /* one that does it all: "cube-cni" [bridge, host-local and portmap] */
    const char *cni_subnet_file;    /* what tells cube-cni the MTU (FLANNEL_MTU); NULL: the bridge's own */
    const char *cni_data_dir;       /* where host-local keeps its addresses [its own default] */
    const char *cluster_cidr;       /* all Pods' addresses: between them nothing is masqueraded; NULL: the node's own range */
    const char *pod_cidr;           /* without API server, or before it has given one */
    const char *const *cluster_dns; /* NULL-terminated */
    const char *cluster_domain;     /* [cluster.local] */
    const char *resolv_conf;        /* [/etc/resolv.conf] */
    const char *cgroup_root;        /* [/] */
    const char *provider_id;
    const char *const *node_labels; /* "key=value", NULL-terminated */
    const char *const *taints;      /* "key=value:Effect", NULL-terminated: at registration */
    const char *const *allowed_sysctls; /* unsafe ones, "net.*" */
    const char *const *kube_reserved, *const *system_reserved, *const *eviction_hard; /* "memory=100Mi"; "nodefs.available=10%" */
    const char *const *eviction_soft, *const *eviction_soft_grace, *const *eviction_reclaim; /* "memory.available=1m30s"; minimum */
    const char *cpu_policy;    /* "static": CPUs of their own for Guaranteed Pods that ask for whole ones [none] */
    const char *cpu_options;   /* of that policy: "full-pcpus-only=true,..." (cpus.h) */
    const char *memory_policy; /* "Static": memory of NUMA nodes for Guaranteed Pods [None] */
    const char *reserved_memory; /* of each node: "0:memory=1Gi,1:memory=1Gi" */
    const char *topology_policy; /* none, best-effort, restricted, single-numa-node [none] */
    const char *topology_scope;  /* container, pod [container] */
    const char *topology_options; /* "prefer-closest-numa-nodes=true,..." (numa.h) */
    const char *reserved_cpus; /* that no Pod gets for itself: "0-1" [as many as is reserved of cpu] */
    int64_t shutdown_grace, shutdown_critical; /* of the node, and the part for critical Pods; ns [30 s, 10 s] */
    const char *const *shutdown_by_priority;   /* "priority=seconds", instead */
    int64_t eviction_max_grace;  /* seconds that Pods get when a soft threshold evicts them, at most [0] */
    int64_t eviction_transition; /* how long the node tells of a pressure that is over; ns [5 min] */
    bool no_register;
    bool no_cgroups;          /* no Pod and QoS cgroups (cgroupsPerQOS: false) */
    bool no_cpu_quota;
    bool seccomp_default;
    bool serial_pulls;
    bool no_server;
    bool no_system_logs; /* /var/log is not served */
    int64_t cpu_quota_period; /* ns [100 ms] */
    int max_pods;             /* [110] */
    int pods_per_core;        /* [no limit] */
    int64_t pod_pids;         /* [no limit] */
    int max_parallel_pulls;   /* [5] */
    int64_t log_max_size;     /* bytes [10 MiB] */
    int log_max_files;        /* [5] */
    int max_images_reported;  /* [50] */
    int image_gc_high, image_gc_low; /* percent [85, 80] */
    int64_t image_min_age;    /* ns [2 min] */
    int64_t max_crash_backoff; /* ns [5 min] */
    /* ns */
    int64_t sync_period;          /* [1 min] */
    int64_t status_period;        /* how often the node's state is looked at [10 s] */
    int64_t status_report_period; /* and written when nothing changed [5 min] */
    int64_t lease_duration;       /* [40 s]; renewed four times as often */
    int64_t file_check_period;    /* [20 s] */

    /* Told a Pod's addresses (comma separated) between its network and its first container, which waits for it; NULL:
     * nobody. uid is empty where the API knows the Pod by another. */
    void (*placed)(void *ctx, struct str ns, struct str name, struct str uid, struct str addresses);
    void *placed_ctx;

    /* The HTTPS face */
    const char *listen;           /* [0.0.0.0:10250] */
    const char *healthz_listen;   /* plain HTTP; NULL: none */
    struct str tls_cert, tls_key; /* PEM; empty: a certificate of its own is made */
    struct str client_ca;         /* PEM; empty: no client certificates */
    bool anonymous;               /* without credentials: system:anonymous */
    bool token_webhook;           /* bearer tokens by TokenReview */
    bool authorize_always;        /* else by SubjectAccessReview */
};

/* Runs until the fiber is cancelled: 0; or an error that keeps it from starting. Pods go on running. */
int kubelet_run(const struct kubelet_config *config, struct err *e);

/* The program: upstream's flags and KubeletConfiguration file (options.c). Returns an exit code. */
int kubelet_main(int argc, char **argv);
