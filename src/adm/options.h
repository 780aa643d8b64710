/* SPDX-License-Identifier: Apache-2.0 */
/* The flags that up, down, status and image share: which cluster is meant. */
#pragma once

#include "adm/cluster.h"
#include "base/flags.h"

#define CLUSTER_FLAGS(c)                                                                                     \
    {"data-dir", 0, FLAG_STRING, &(c)->data_dir, "Objects, images, pods and logs (/var/lib/cube)"},          \
        {"run-dir", 0, FLAG_STRING, &(c)->run_dir, "Sockets and process ids (/run/cube)"},                   \
        {"config-dir", 0, FLAG_STRING, &(c)->conf_dir, "Certificates and kubeconfigs (/etc/kubernetes)"},    \
        {"cri-socket", 0, FLAG_STRING, &(c)->cri_socket,                                                     \
         "A running container runtime's socket; without it containerd is started"},                          \
        {"bridge", 0, FLAG_STRING, &(c)->bridge, "Name of the pods' bridge (cni0)"},                         \
        {"cgroup-root", 0, FLAG_STRING, &(c)->cgroup_root, "Where pods' cgroups go (/)"},                    \
        {"proxy-table", 0, FLAG_STRING, &(c)->proxy_table, "nftables table of the service proxy (cube-proxy)"}, \
        {"proxy-mode", 0, FLAG_STRING, &(c)->proxy_mode, "How Services are served: nftables, iptables or ipvs (nftables)"}, \
        {"proxy-health-port", 0, FLAG_INT, &(c)->proxy_health_port, "Port of the service proxy's /healthz and /livez (10256)"}, \
        {"proxy-metrics-port", 0, FLAG_INT, &(c)->proxy_metrics_port, "Loopback port of its /metrics and /proxyMode (10249)"}, \
        {"node-name", 0, FLAG_STRING, &(c)->node_name, "Name of this node (the host name)"},                 \
        {"port", 0, FLAG_INT, &(c)->port, "Port of the API (6443)"},                                         \
        {"advertise-address", 0, FLAG_STRING, &(c)->advertise, "Address of this node; a second of the other family for dual stack (found)"},              \
        {"service-cidr", 0, FLAG_STRING, &(c)->service_cidr, "Addresses of Services, or two ranges for dual stack (10.96.0.0/12)"},        \
        {"pod-cidr", 0, FLAG_STRING, &(c)->pod_cidr, "Addresses of pods, or two as 10.244.0.0/16,fd00:10:244::/56 (10.244.0.0/16)"},                   \
        {"dns-ip", 0, FLAG_STRING, &(c)->dns_ip, "Address of the cluster's DNS (the tenth of --service-cidr)"},               \
        {"cluster-domain", 0, FLAG_STRING, &(c)->cluster_domain, "DNS domain of the cluster (cluster.local)"}, \
        {"kubelet-port", 0, FLAG_INT, &(c)->kubelet_port, "Port of the node agent (10250)"},                 \
        {"authentication-config", 0, FLAG_STRING, &(c)->authn_config, "AuthenticationConfiguration file: whose tokens are taken (none)"}, \
        {"authorization-config", 0, FLAG_STRING, &(c)->authz_config, "AuthorizationConfiguration file (Node and RBAC)"}, \
        {"service-node-port-range", 0, FLAG_STRING, &(c)->node_ports, "Ports of NodePort Services (30000-32767)"}, \
        {"load-balancer-pool", 0, FLAG_STRING, &(c)->load_balancer_pool,                                      \
         "Addresses for LoadBalancer Services, as 192.0.2.0/28,192.0.2.40-192.0.2.60 (none)"},           \
        {"ingress-http-port", 0, FLAG_INT, &(c)->ingress_http, "Port for Ingresses, bound while there are any (80)"}, \
        {"ingress-https-port", 0, FLAG_INT, &(c)->ingress_https, "The same for HTTPS (443)"},                 \
        {"ingress-access-log", 0, FLAG_STRING, &(c)->ingress_log, "File for a line a request to Ingresses (none)"}, \
        {"containerd", 0, FLAG_STRING, &(c)->containerd, "containerd's program (found in PATH)"},            \
        {"runc", 0, FLAG_STRING, &(c)->runc, "runc's, or crun's (found in PATH)"},                           \
        {"cni-bin-dir", 0, FLAG_STRING, &(c)->cni_bin_dir, \
         "Folder of CNI plugins (links to those of /opt/cni/bin and /usr/lib/cni, and to our own)"},    \
        {"cni-plugin", 0, FLAG_STRING, &(c)->cni_plugin,                                                     \
         "What links pods to their node: cube-cni, or reference for the machine's bridge, host-local, portmap (cube-cni)"}, \
        {"cni-conf-dir", 0, FLAG_STRING, &(c)->cni_conf_dir,                                                 \
         "Network configurations that somebody else writes, as /etc/cni/net.d"},                            \
        {"etcd-servers", 0, FLAG_STRING, &(c)->etcd_servers, "Members of an etcd to keep objects in, as http://10.0.0.5:2379,... (in --data-dir)"}, \
        {"etcd-prefix", 0, FLAG_STRING, &(c)->etcd_prefix, "What keys begin with there (/registry)"},       \
        {"etcd-cafile", 0, FLAG_STRING, &(c)->etcd_ca, "Authorities of etcd's certificates"},               \
        {"etcd-certfile", 0, FLAG_STRING, &(c)->etcd_cert, "Certificate towards etcd"},                     \
        {"etcd-keyfile", 0, FLAG_STRING, &(c)->etcd_key, "Its key"},                                        \
        {"overlay-backend", 0, FLAG_STRING, &(c)->overlay_backend,                                           \
         "How packets travel between nodes: host-gw, vxlan (host-gw)"},                                     \
        {"node-cidr", 0, FLAG_STRING, &(c)->node_cidr, "Addresses of further nodes on this machine (found)"}, \
        {"node-bridge", 0, FLAG_STRING, &(c)->node_bridge, "Name of their bridge (cni0n)"},          \
        {"node-monitor-grace-period", 0, FLAG_DURATION, &(c)->node_grace,                                    \
         "After how much silence a node counts as lost (50s)"}

/* Parses, prints help or the mistake: 0 to go on, else the exit code + 1. usage: "cube up [flags]". */
int cluster_flags(const char *usage, const char *about, struct flag *flags, int argc, char **argv, int *ret_operands);
/* A table of flags as a file, one "--name=value" a line; what is not set is left out. */
int flags_save(const struct flag *flags, const char *path, struct err *e);
/* Reads such a file into the flags' variables; texts in the arena. -ENOENT when it is not there. */
int flags_load(struct arena *a, struct flag *flags, const char *path, struct err *e);
/* Root is needed: says so and returns an exit code, else 0. */
int require_root(const char *command);
/* Prints "cube: " and the sentence; returns 1. */
int complain(const struct err *e, int r);
