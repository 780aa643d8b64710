/* SPDX-License-Identifier: Apache-2.0 */
#include "node/options.h"

#include "base/flags.h"
#include "base/fiber.h"
#include "base/log.h"
#include "base/os.h"
#include "client/client.h"
#include "client/daemon.h"
#include "client/zpages.h"
#include "client/kubeconfig.h"
#include "names.h"
#include "node/certs.h"
#include "type/resource.h"
#include "types.h"
#include "wire/json.h"
#include "wire/quantity.h"
#include "wire/yaml.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LOG "kubelet"

/* ---- what can be said ------------------------------------------------------------------------------------------ */

/* Settings in the form in which flags give them; the file is brought into the same form first. */
struct settings {
    const char *config, *kubeconfig, *hostname, *node_ip, *root_dir, *cri, *images, *cgroup_root, *domain, *resolv_conf, *pod_cidr;
    const char *static_path, *address, *cert, *key, *client_ca, *authorization, *provider_id, *healthz_address;
    const char *log_max_size, *logs_dir, *cert_dir, *bootstrap;
    struct flag_list dns, labels, taints, kube_reserved, system_reserved, eviction_hard, sysctls;
    struct flag_list eviction_soft, soft_grace, eviction_reclaim, shutdown_priorities;
    int64_t shutdown_grace, shutdown_critical;
    const char *cpu_policy, *reserved_cpus, *memory_policy, *topology_policy, *topology_scope;
    struct flag_list cpu_options, reserved_memory, topology_options;
    bool rotate_client, rotate_server;
    bool cgroups, anonymous, webhook, register_node, cfs_quota, serial_pulls, seccomp_default, enable_server, system_logs;
    const char *version;
    struct log_config log;
    int64_t evict_grace, evict_transition;
    int64_t port, max_pods, pods_per_core, healthz_port, log_files, pids, gc_high, gc_low, max_images, parallel_pulls;
    int64_t status_period, report_period, sync_period, file_period, cfs_period, image_age, crash_most, lease_seconds;
};

static const struct settings defaults = {
    .root_dir = "/var/lib/kubelet",
    .cri = "unix:///run/containerd/containerd.sock",
    .resolv_conf = "/etc/resolv.conf",
    .address = "0.0.0.0",
    .healthz_address = "127.0.0.1",
    .logs_dir = "/var/log/pods",
    .domain = "cluster.local",
    .cgroups = true,
    .register_node = true,
    .cfs_quota = true,
    .serial_pulls = true,
    .enable_server = true,
    .system_logs = true,
    .port = 10250,
    .healthz_port = 10248,
    .max_pods = 110,
    .log_files = 5,
    .pids = -1,
    .gc_high = 85,
    .gc_low = 80,
    .max_images = 50,
};

/* Flags of upstream's that change nothing here, or must not. */
#define UPSTREAM_FLAGS \
    FLAG_NO_EFFECT("authentication-token-webhook-cache-ttl", "answers are kept for two minutes"), \
    FLAG_NO_EFFECT("authorization-webhook-cache-authorized-ttl", "answers are kept for five minutes"), \
    FLAG_NO_EFFECT("authorization-webhook-cache-unauthorized-ttl", "answers are kept for 30 seconds"), \
    FLAG_NO_EFFECT("cgroup-driver", "the runtime is asked; cgroups are made as it makes them"), \
    FLAG_NO_EFFECT("cloud-provider", "clouds bring controllers of their own"), \
    FLAG_NO_EFFECT("cpu-manager-reconcile-period", "processors are given when containers start"), \
    FLAG_NO_EFFECT("enforce-node-allocatable", "pods are bounded by the node's allocatable; --cgroup-root is where"), \
    FLAG_NO_EFFECT("event-burst", "events are not paced"), \
    FLAG_NO_EFFECT("event-qps", "events are not paced"), \
    FLAG_NO_EFFECT("experimental-mounter-path", "mounts are made by the kernel"), \
    FLAG_NO_EFFECT("hairpin-mode", "the CNI plug-in sets it"), \
    FLAG_NO_EFFECT("housekeeping-interval", "cgroups are read when somebody asks"), \
    FLAG_NO_EFFECT("http-check-frequency", "there are no pods from URLs"), \
    FLAG_NO_EFFECT("kube-reserved-cgroup", "reserved resources are counted, not enforced on others"), \
    FLAG_NO_EFFECT("kubelet-cgroups", "the service manager says where the program runs"), \
    FLAG_NO_EFFECT("max-open-files", "the service manager sets the limit"), \
    FLAG_NO_EFFECT("maximum-dead-containers", "dead containers go with their pods"), \
    FLAG_NO_EFFECT("maximum-dead-containers-per-container", "one dead container of each is kept"), \
    FLAG_NO_EFFECT("minimum-container-ttl-duration", "dead containers go with their pods"), \
    FLAG_NO_EFFECT("oom-score-adj", "the service manager sets it"), \
    FLAG_NO_EFFECT("registry-burst", "pulls are paced by --serialize-image-pulls"), \
    FLAG_NO_EFFECT("registry-qps", "pulls are paced by --serialize-image-pulls"), \
    FLAG_NO_EFFECT("runtime-cgroups", "the service manager says where the runtime runs"), \
    FLAG_NO_EFFECT("runtime-request-timeout", "two minutes, as upstream's default"), \
    FLAG_NO_EFFECT("streaming-connection-idle-timeout", "streams last as long as their two ends"), \
    FLAG_NO_EFFECT("system-cgroups", "reserved resources are counted, not enforced on others"), \
    FLAG_NO_EFFECT("system-reserved-cgroup", "reserved resources are counted, not enforced on others"), \
    FLAG_NO_EFFECT("tls-cipher-suites", "TLS 1.2 and later with AEAD suites only"), \
    FLAG_NO_EFFECT("tls-min-version", "TLS 1.2 and later with AEAD suites only"), \
    FLAG_NO_EFFECT("volume-plugin-dir", "FlexVolume is deprecated and not there"), \
    FLAG_NO_EFFECT("volume-stats-agg-period", "volumes are looked at when somebody asks"), \
    FLAG_NO_EFFECT_BOOL("enable-controller-attach-detach", "the controller always attaches"), \
    FLAG_NO_EFFECT_BOOL("enable-debugging-handlers", "logs, exec and port-forward are there; --enable-server=false switches off the whole server"), \
    FLAG_NO_EFFECT_BOOL("experimental-allocatable-ignore-eviction", "deprecated"), \
    FLAG_NO_EFFECT_BOOL("fail-cgroupv1", "cgroup v2 is needed anyway"), \
    FLAG_NO_EFFECT_BOOL("fail-swap-on", "swap is no obstacle"), \
    FLAG_NO_EFFECT_BOOL("kernel-memcg-notification", "memory is watched by pressure"), \
    FLAG_NO_EFFECT_BOOL("local-storage-capacity-isolation", "local storage is always counted"), \
    FLAG_NO_EFFECT_BOOL("make-iptables-util-chains", "no chains are made for others"), \
    FLAG_NO_EFFECT_BOOL("protect-kernel-defaults", "kernel settings are left alone"), \
    FLAG_ONLY("config-dir", "", "only --config is read"), \
    FLAG_ONLY("image-credential-provider-bin-dir", "", "credential plug-ins are not there: imagePullSecrets are"), \
    FLAG_ONLY("image-credential-provider-config", "", "credential plug-ins are not there: imagePullSecrets are"), \
    FLAG_ONLY("lock-file", "", "there is no lock: the service manager runs it once"), \
    FLAG_ONLY("manifest-url", "", "static pods come from files: --pod-manifest-path"), \
    FLAG_ONLY("manifest-url-header", "|[]", "static pods come from files: --pod-manifest-path"), \
    FLAG_ONLY("qos-reserved", "|[]", "an alpha feature that is off in v1.37"), \
    FLAG_NO_EFFECT("read-only-port", "nothing is served without authentication; use --port"), \
    FLAG_ONLY_BOOL("exit-on-lock-contention", "false|0", "there is no lock"), \
    FLAG_ONLY_BOOL("runonce", "false|0", "static pods are run for as long as the program runs"), \
    PROFILING_FLAGS, CLIENT_PACE_FLAGS

#define FLAGS(s)                                                                                             \
    {                                                                                                        \
        {"config", 0, FLAG_STRING, &(s)->config, "KubeletConfiguration file; flags go before its values"},   \
        {"kubeconfig", 0, FLAG_STRING, &(s)->kubeconfig, "kubeconfig file; without it: static pods only"},   \
        {"bootstrap-kubeconfig", 0, FLAG_STRING, &(s)->bootstrap, "to get a certificate with, when --kubeconfig is not there"}, \
        {"rotate-certificates", 0, FLAG_BOOL, &(s)->rotate_client, "renew the client certificate in time"},     \
        {"rotate-server-certificates", 0, FLAG_BOOL, &(s)->rotate_server, "ask the API server for the serving certificate"}, \
        {"cert-dir", 0, FLAG_STRING, &(s)->cert_dir, "folder of certificates; pki in --root-dir unless given"}, \
        {"hostname-override", 0, FLAG_STRING, &(s)->hostname, "name of the node instead of the host's"},     \
        {"node-ip", 0, FLAG_STRING, &(s)->node_ip, "addresses of the node, comma separated"},                \
        {"node-labels", 0, FLAG_STRINGS, &(s)->labels, "key=value labels for the node"},                     \
        {"register-node", 0, FLAG_BOOL, &(s)->register_node, "make the Node object"},                        \
        {"register-with-taints", 0, FLAG_STRINGS, &(s)->taints, "key=value:effect taints for a new node"},   \
        {"provider-id", 0, FLAG_STRING, &(s)->provider_id, "the node's identifier at its cloud"},            \
        {"container-runtime-endpoint", 0, FLAG_STRING, &(s)->cri, "CRI socket"},                             \
        {"image-service-endpoint", 0, FLAG_STRING, &(s)->images, "CRI socket for images, when another"},     \
        {"root-dir", 0, FLAG_STRING, &(s)->root_dir, "folder for volumes and the like"},                     \
        {"pod-manifest-path", 0, FLAG_STRING, &(s)->static_path, "folder or file of static pods"},           \
        {"file-check-frequency", 0, FLAG_DURATION, &(s)->file_period, "how often to look there at least"},   \
        {"cgroup-root", 0, FLAG_STRING, &(s)->cgroup_root, "cgroup above all pods"},                         \
        {"cgroups-per-qos", 0, FLAG_BOOL, &(s)->cgroups, "cgroups for pods and their QoS classes"},          \
        {"cpu-cfs-quota", 0, FLAG_BOOL, &(s)->cfs_quota, "enforce CPU limits"},                              \
        {"cpu-cfs-quota-period", 0, FLAG_DURATION, &(s)->cfs_period, "period of CPU limits"},                \
        {"pod-max-pids", 0, FLAG_INT, &(s)->pids, "processes a pod may have; -1: no limit"},                 \
        {"max-pods", 0, FLAG_INT, &(s)->max_pods, "pods this node runs at most"},                            \
        {"pods-per-core", 0, FLAG_INT, &(s)->pods_per_core, "pods for each core at most; 0: no limit"},      \
        {"kube-reserved", 0, FLAG_STRINGS, &(s)->kube_reserved, "resource=quantity kept for the node agent"}, \
        {"system-reserved", 0, FLAG_STRINGS, &(s)->system_reserved, "resource=quantity kept for the system"}, \
        {"eviction-hard", 0, FLAG_STRINGS, &(s)->eviction_hard, "signal<quantity at which pods are evicted"}, \
        {"cpu-manager-policy", 0, FLAG_STRING, &(s)->cpu_policy, "none, or static: whole CPUs for guaranteed pods that ask for them"}, \
        {"cpu-manager-policy-options", 0, FLAG_STRINGS, &(s)->cpu_options, "option=true of that policy"}, \
        {"memory-manager-policy", 0, FLAG_STRING, &(s)->memory_policy, "None, or Static: guaranteed pods get memory of as few NUMA nodes as can be"}, \
        {"reserved-memory", 0, FLAG_STRINGS, &(s)->reserved_memory, "node:memory=quantity kept from pods, of each NUMA node"}, \
        {"topology-manager-policy", 0, FLAG_STRING, &(s)->topology_policy, "none, best-effort, restricted or single-numa-node"}, \
        {"topology-manager-scope", 0, FLAG_STRING, &(s)->topology_scope, "container, or pod: all containers of a pod together"}, \
        {"topology-manager-policy-options", 0, FLAG_STRINGS, &(s)->topology_options, "option=value of that policy"}, \
        {"reserved-cpus", 0, FLAG_STRING, &(s)->reserved_cpus, "CPUs that no pod gets for itself"},             \
        {"shutdown-grace-period", 0, FLAG_DURATION, &(s)->shutdown_grace, "time pods have when the node is told to shut down"}, \
        {"shutdown-grace-period-critical-pods", 0, FLAG_DURATION, &(s)->shutdown_critical, "part of it for critical pods"}, \
        {"eviction-soft", 0, FLAG_STRINGS, &(s)->eviction_soft, "the same, after a grace period"},           \
        {"eviction-soft-grace-period", 0, FLAG_STRINGS, &(s)->soft_grace, "signal=duration of soft thresholds"}, \
        {"eviction-minimum-reclaim", 0, FLAG_STRINGS, &(s)->eviction_reclaim, "signal=quantity to win back at least"}, \
        {"eviction-max-pod-grace-period", 0, FLAG_INT, &(s)->evict_grace, "seconds for pods that soft thresholds evict"}, \
        {"eviction-pressure-transition-period", 0, FLAG_DURATION, &(s)->evict_transition, "how long a pressure is told of at least"}, \
        {"allowed-unsafe-sysctls", 0, FLAG_STRINGS, &(s)->sysctls, "sysctls pods may set; * at the end fits all"}, \
        {"cluster-dns", 0, FLAG_STRINGS, &(s)->dns, "addresses of the cluster's DNS"},                       \
        {"cluster-domain", 0, FLAG_STRING, &(s)->domain, "domain of the cluster"},                           \
        {"resolv-conf", 0, FLAG_STRING, &(s)->resolv_conf, "resolver configuration for pods"},               \
        {"pod-cidr", 0, FLAG_STRING, &(s)->pod_cidr, "pods' addresses without an API server"},               \
        {"address", 0, FLAG_STRING, &(s)->address, "address to serve on"},                                   \
        {"port", 0, FLAG_INT, &(s)->port, "port to serve on"},                                               \
        {"enable-server", 0, FLAG_BOOL, &(s)->enable_server, "serve logs, exec and statistics"},             \
        {"healthz-bind-address", 0, FLAG_STRING, &(s)->healthz_address, "address of /healthz"},              \
        {"healthz-port", 0, FLAG_INT, &(s)->healthz_port, "port of /healthz; 0: none"},                      \
        {"tls-cert-file", 0, FLAG_STRING, &(s)->cert, "certificate to serve with"},                          \
        {"tls-private-key-file", 0, FLAG_STRING, &(s)->key, "its key"},                                      \
        {"client-ca-file", 0, FLAG_STRING, &(s)->client_ca, "CAs of clients that are trusted"},              \
        {"anonymous-auth", 0, FLAG_BOOL, &(s)->anonymous, "let clients without credentials in"},             \
        {"authentication-token-webhook", 0, FLAG_BOOL, &(s)->webhook, "check bearer tokens by TokenReview"}, \
        {"authorization-mode", 0, FLAG_STRING, &(s)->authorization, "Webhook or AlwaysAllow"},               \
        {"node-status-update-frequency", 0, FLAG_DURATION, &(s)->status_period, "how often to look at the node"}, \
        {"node-status-max-images", 0, FLAG_INT, &(s)->max_images, "images to report; -1: all"},              \
        {"sync-frequency", 0, FLAG_DURATION, &(s)->sync_period, "how often to look at each pod at least"},   \
        {"serialize-image-pulls", 0, FLAG_BOOL, &(s)->serial_pulls, "pull one image at a time"},             \
        {"image-gc-high-threshold", 0, FLAG_INT, &(s)->gc_high, "percent of disk at which images are removed"}, \
        {"image-gc-low-threshold", 0, FLAG_INT, &(s)->gc_low, "percent of disk down to which"},              \
        {"minimum-image-ttl-duration", 0, FLAG_DURATION, &(s)->image_age, "unused images stay that long"},   \
        {"container-log-max-size", 0, FLAG_STRING, &(s)->log_max_size, "size at which a log is rotated"},    \
        {"container-log-max-files", 0, FLAG_INT, &(s)->log_files, "files kept of each log"},                 \
        {"seccomp-default", 0, FLAG_BOOL, &(s)->seccomp_default, "RuntimeDefault for those that say nothing"}, \
        LOGGING_FLAGS(&(s)->log), RELEASE_FLAGS(&(s)->version), UPSTREAM_FLAGS,                              \
        {0},                                                                                                 \
    }

/* ---- the file --------------------------------------------------------------------------------------------------- */

enum file_kind { FILE_TEXT, FILE_INT, FILE_BOOL, FILE_DURATION, FILE_LIST, FILE_MAP, FILE_TAINTS, FILE_PRIORITIES, FILE_MEMORY };

struct file_entry {
    name_id path[4]; /* ends with 0 */
    enum file_kind kind;
    size_t to;        /* offset in struct settings */
    const char *flag; /* that goes before it; NULL: none */
};

#define TO(field) offsetof(struct settings, field)

static const struct file_entry entries[] = {
    {{N_staticPodPath}, FILE_TEXT, TO(static_path), "pod-manifest-path"},
    {{N_podLogsDir}, FILE_TEXT, TO(logs_dir), NULL},
    {{N_syncFrequency}, FILE_DURATION, TO(sync_period), "sync-frequency"},
    {{N_fileCheckFrequency}, FILE_DURATION, TO(file_period), "file-check-frequency"},
    {{N_address}, FILE_TEXT, TO(address), "address"},
    {{N_port}, FILE_INT, TO(port), "port"},
    {{N_enableServer}, FILE_BOOL, TO(enable_server), "enable-server"},
    {{N_enableSystemLogHandler}, FILE_BOOL, TO(system_logs), NULL},
    {{N_tlsCertFile}, FILE_TEXT, TO(cert), "tls-cert-file"},
    {{N_tlsPrivateKeyFile}, FILE_TEXT, TO(key), "tls-private-key-file"},
    {{N_authentication, N_x509, N_clientCAFile}, FILE_TEXT, TO(client_ca), "client-ca-file"},
    {{N_authentication, N_anonymous, N_enabled}, FILE_BOOL, TO(anonymous), "anonymous-auth"},
    {{N_authentication, N_webhook, N_enabled}, FILE_BOOL, TO(webhook), "authentication-token-webhook"},
    {{N_authorization, N_mode}, FILE_TEXT, TO(authorization), "authorization-mode"},
    {{N_healthzPort}, FILE_INT, TO(healthz_port), "healthz-port"},
    {{N_healthzBindAddress}, FILE_TEXT, TO(healthz_address), "healthz-bind-address"},
    {{N_clusterDomain}, FILE_TEXT, TO(domain), "cluster-domain"},
    {{N_clusterDNS}, FILE_LIST, TO(dns), "cluster-dns"},
    {{N_nodeStatusUpdateFrequency}, FILE_DURATION, TO(status_period), "node-status-update-frequency"},
    {{N_nodeStatusReportFrequency}, FILE_DURATION, TO(report_period), NULL},
    {{N_nodeLeaseDurationSeconds}, FILE_INT, TO(lease_seconds), NULL},
    {{N_imageMinimumGCAge}, FILE_DURATION, TO(image_age), "minimum-image-ttl-duration"},
    {{N_imageGCHighThresholdPercent}, FILE_INT, TO(gc_high), "image-gc-high-threshold"},
    {{N_imageGCLowThresholdPercent}, FILE_INT, TO(gc_low), "image-gc-low-threshold"},
    {{N_cgroupRoot}, FILE_TEXT, TO(cgroup_root), "cgroup-root"},
    {{N_cgroupsPerQOS}, FILE_BOOL, TO(cgroups), "cgroups-per-qos"},
    {{N_maxPods}, FILE_INT, TO(max_pods), "max-pods"},
    {{N_podsPerCore}, FILE_INT, TO(pods_per_core), "pods-per-core"},
    {{N_podCIDR}, FILE_TEXT, TO(pod_cidr), "pod-cidr"},
    {{N_podPidsLimit}, FILE_INT, TO(pids), "pod-max-pids"},
    {{N_resolvConf}, FILE_TEXT, TO(resolv_conf), "resolv-conf"},
    {{N_cpuCFSQuota}, FILE_BOOL, TO(cfs_quota), "cpu-cfs-quota"},
    {{N_cpuCFSQuotaPeriod}, FILE_DURATION, TO(cfs_period), "cpu-cfs-quota-period"},
    {{N_nodeStatusMaxImages}, FILE_INT, TO(max_images), "node-status-max-images"},
    {{N_serializeImagePulls}, FILE_BOOL, TO(serial_pulls), "serialize-image-pulls"},
    {{N_maxParallelImagePulls}, FILE_INT, TO(parallel_pulls), NULL},
    {{N_evictionHard}, FILE_MAP, TO(eviction_hard), "eviction-hard"},
    {{N_cpuManagerPolicy}, FILE_TEXT, TO(cpu_policy), "cpu-manager-policy"},
    {{N_cpuManagerPolicyOptions}, FILE_MAP, TO(cpu_options), "cpu-manager-policy-options"},
    {{N_memoryManagerPolicy}, FILE_TEXT, TO(memory_policy), "memory-manager-policy"},
    {{N_reservedMemory}, FILE_MEMORY, TO(reserved_memory), "reserved-memory"},
    {{N_topologyManagerPolicy}, FILE_TEXT, TO(topology_policy), "topology-manager-policy"},
    {{N_topologyManagerScope}, FILE_TEXT, TO(topology_scope), "topology-manager-scope"},
    {{N_topologyManagerPolicyOptions}, FILE_MAP, TO(topology_options), "topology-manager-policy-options"},
    {{N_reservedSystemCPUs}, FILE_TEXT, TO(reserved_cpus), "reserved-cpus"},
    {{N_rotateCertificates}, FILE_BOOL, TO(rotate_client), "rotate-certificates"},
    {{N_serverTLSBootstrap}, FILE_BOOL, TO(rotate_server), "rotate-server-certificates"},
    {{N_shutdownGracePeriod}, FILE_DURATION, TO(shutdown_grace), "shutdown-grace-period"},
    {{N_shutdownGracePeriodCriticalPods}, FILE_DURATION, TO(shutdown_critical), "shutdown-grace-period-critical-pods"},
    {{N_shutdownGracePeriodByPodPriority}, FILE_PRIORITIES, TO(shutdown_priorities), NULL},
    {{N_evictionSoft}, FILE_MAP, TO(eviction_soft), "eviction-soft"},
    {{N_evictionSoftGracePeriod}, FILE_MAP, TO(soft_grace), "eviction-soft-grace-period"},
    {{N_evictionMinimumReclaim}, FILE_MAP, TO(eviction_reclaim), "eviction-minimum-reclaim"},
    {{N_evictionMaxPodGracePeriod}, FILE_INT, TO(evict_grace), "eviction-max-pod-grace-period"},
    {{N_evictionPressureTransitionPeriod}, FILE_DURATION, TO(evict_transition), "eviction-pressure-transition-period"},
    {{N_systemReserved}, FILE_MAP, TO(system_reserved), "system-reserved"},
    {{N_kubeReserved}, FILE_MAP, TO(kube_reserved), "kube-reserved"},
    {{N_allowedUnsafeSysctls}, FILE_LIST, TO(sysctls), "allowed-unsafe-sysctls"},
    {{N_containerLogMaxSize}, FILE_TEXT, TO(log_max_size), "container-log-max-size"},
    {{N_containerLogMaxFiles}, FILE_INT, TO(log_files), "container-log-max-files"},
    {{N_providerID}, FILE_TEXT, TO(provider_id), "provider-id"},
    {{N_registerNode}, FILE_BOOL, TO(register_node), "register-node"},
    {{N_registerWithTaints}, FILE_TAINTS, TO(taints), "register-with-taints"},
    {{N_seccompDefault}, FILE_BOOL, TO(seccomp_default), "seccomp-default"},
    {{N_containerRuntimeEndpoint}, FILE_TEXT, TO(cri), "container-runtime-endpoint"},
    {{N_imageServiceEndpoint}, FILE_TEXT, TO(images), "image-service-endpoint"},
    {{N_crashLoopBackOff, N_maxContainerRestartPeriod}, FILE_DURATION, TO(crash_most), NULL},
};

static void list_add(struct flag_list *l, struct str s)
{
    l->items = xrealloc(l->items, (l->n + 1) * sizeof(*l->items));
    l->items[l->n++] = str_dup(s);
}

static void take_map(struct arena *a, const struct val *v, struct flag_list *to)
{
    VAL_EACH_ENTRY (v, key, value)
        list_add(to, arena_printf(a, STR_FMT "=" STR_FMT, STR_ARG(val_str(key)), STR_ARG(val_str(value))));
}

static void take_taints(struct arena *a, const struct val *v, struct flag_list *to)
{
    VAL_EACH (v, t)
        list_add(to, arena_printf(a, STR_FMT "%s" STR_FMT ":" STR_FMT, STR_ARG(val_getstr(t, N_key)),
                                  val_getstr(t, N_value).n ? "=" : "", STR_ARG(val_getstr(t, N_value)),
                                  STR_ARG(val_getstr(t, N_effect))));
}

/* In the flag's form: "0:memory=1Gi,hugepages-2Mi=64Mi". */
static void take_reservations(struct arena *a, const struct val *v, struct flag_list *to)
{
    VAL_EACH (v, node) {
        struct buf b CLEANUP_BUF = BUF_INIT;
        VAL_EACH_ENTRY (val_get(node, N_limits), key, value)
            buf_printf(&b, "%s" STR_FMT "=" STR_FMT, b.n ? "," : "", STR_ARG(val_str(key)), STR_ARG(val_str(value)));
        list_add(to, arena_printf(a, "%lld:" STR_FMT, (long long)val_int(val_get(node, N_numaNode), 0), STR_ARG(buf_str(&b))));
    }
}

static void take_entry(struct arena *a, const struct file_entry *f, const struct val *v, struct settings *s)
{
    void *to = (char *)s + f->to;
    switch (f->kind) {
    case FILE_TEXT:
        *(const char **)to = arena_cstr(a, val_str(v));
        break;
    case FILE_INT:
        *(int64_t *)to = val_int(v, 0);
        break;
    case FILE_BOOL:
        *(bool *)to = val_bool(v, false);
        break;
    case FILE_DURATION:
        duration_parse(val_str(v), to);
        break;
    case FILE_LIST:
        VAL_EACH (v, item)
            list_add(to, val_str(item));
        break;
    case FILE_MAP:
        take_map(a, v, to);
        break;
    case FILE_TAINTS:
        take_taints(a, v, to);
        break;
    case FILE_MEMORY:
        take_reservations(a, v, to);
        break;
    case FILE_PRIORITIES:
        VAL_EACH (v, item)
            list_add(to, arena_printf(a, "%lld=%lld", (long long)val_int(val_get(item, N_priority), 0),
                                      (long long)val_int(val_get(item, N_shutdownGracePeriodSeconds), 0)));
        break;
    }
}

static int read_text(struct arena *a, const char *path, struct str *ret, struct err *e)
{
    int r = os_read_file(a, path, 16 << 20, ret);
    return r < 0 ? err_set(e, r, "cannot read %s: %s", path, strerror(-r)) : 0;
}

static int check_kind(struct arena *a, struct str json, const char *path, struct err *e)
{
    struct str version, kind;
    int r = json_type_meta(a, json, &version, &kind, e);
    if (r == 0 && !(str_is(kind, "KubeletConfiguration") && str_is(version, "kubelet.config.k8s.io/v1beta1")))
        r = err_set(e, -EINVAL, "%s holds a " STR_FMT " " STR_FMT
                    ", expected a kubelet.config.k8s.io/v1beta1 KubeletConfiguration",
                    path, STR_ARG(version), STR_ARG(kind));
    return r;
}

/* What upstream's defaults for a file are where they differ from those of flags. */
static void file_defaults(struct settings *s)
{
    s->webhook = true;
    s->anonymous = false;
    s->authorization = "Webhook";
}

static int take_file(struct arena *a, const char *path, struct flag *flags, struct settings *s, struct err *e)
{
    struct str text, json;
    struct val *v;
    struct json_report report = {0};
    int r = read_text(a, path, &text, e);
    if (r == 0)
        r = yaml_to_json(a, text, &report, &json, e);
    if (r == 0)
        r = check_kind(a, json, path, e);
    if (r == 0)
        r = json_decode(a, type_at(T_kubelet_v1beta1_KubeletConfiguration), json, 0, &report, &v, e);
    if (r == 0 && report.n)
        r = err_set(e, -EINVAL, STR_FMT, STR_ARG(report.problems[0]));
    if (r < 0)
        return err_wrap(e, r, "the configuration file %s", path);
    file_defaults(s);
    for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
        const struct val *at = val_path(v, entries[i].path);
        struct flag *flag = entries[i].flag ? flags_find(flags, entries[i].flag) : NULL;
        if (at && !(flag && flag->given))
            take_entry(a, &entries[i], at, s);
    }
    return 0;
}

/* ---- from settings to the configuration ------------------------------------------------------------------------- */

static const char *joined(struct arena *a, const struct flag_list *l)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (size_t i = 0; i < l->n; i++)
        buf_printf(&b, "%s%s", i ? "," : "", l->items[i]);
    return arena_cstr(a, buf_str(&b));
}

static const char *const *list_of(struct arena *a, const struct flag_list *l)
{
    const char **out = ARENA_ARRAY(a, const char *, l->n + 1);
    for (size_t i = 0; i < l->n; i++)
        out[i] = arena_cstr(a, str_of(l->items[i]));
    return out;
}

static const char *const *split(struct arena *a, const char *text)
{
    struct str rest = str_of(text), part;
    const char **out = ARENA_ARRAY(a, const char *, rest.n + 2);
    size_t n = 0;
    while (rest.n && str_next(&rest, ',', &part))
        out[n++] = arena_cstr(a, str_trim(part));
    return out;
}

static int check_port(int64_t port, const char *flag, struct err *e)
{
    return port >= 0 && port < 65536 ? 0 : err_set(e, -EINVAL, "--%s %lld: expected 0 to 65535", flag, (long long)port);
}

static int set_files(struct kubelet_options *o, const struct settings *s, struct err *e)
{
    struct arena *a = &o->arena;
    int r = 0;
    if ((s->cert && *s->cert) != (s->key && *s->key))
        return err_set(e, -EINVAL, "--tls-cert-file and --tls-private-key-file go together");
    if (s->cert && *s->cert) {
        r = read_text(a, s->cert, &o->config.tls_cert, e);
        if (r == 0)
            r = read_text(a, s->key, &o->config.tls_key, e);
    }
    if (r == 0 && s->client_ca && *s->client_ca)
        r = read_text(a, s->client_ca, &o->config.client_ca, e);
    return r;
}

static const char *address(struct arena *a, const char *host, int64_t port)
{
    bool six = strchr(host, ':') != NULL;
    return arena_printf(a, "%s%s%s:%lld", six ? "[" : "", host, six ? "]" : "", (long long)port).p;
}

static void set_texts(struct arena *a, const struct settings *s, struct kubelet_config *c)
{
    c->node_name = s->hostname;
    c->hostname = s->hostname;
    c->node_ips = s->node_ip ? split(a, s->node_ip) : NULL;
    c->cri_socket = s->cri;
    c->image_socket = s->images;
    c->root_dir = s->root_dir;
    c->pod_logs_dir = s->logs_dir;
    c->container_logs_dir = "/var/log/containers";
    c->static_pod_path = s->static_path;
    c->pod_cidr = s->pod_cidr;
    c->cluster_dns = list_of(a, &s->dns);
    c->cluster_domain = s->domain;
    c->resolv_conf = s->resolv_conf;
    c->cgroup_root = s->cgroup_root;
    c->provider_id = s->provider_id;
    c->node_labels = list_of(a, &s->labels);
    c->taints = list_of(a, &s->taints);
    c->allowed_sysctls = list_of(a, &s->sysctls);
    c->cpu_options = joined(a, &s->cpu_options);
    c->reserved_memory = joined(a, &s->reserved_memory);
    c->topology_options = joined(a, &s->topology_options);
    c->kube_reserved = list_of(a, &s->kube_reserved);
    c->system_reserved = list_of(a, &s->system_reserved);
    c->eviction_hard = s->eviction_hard.n ? list_of(a, &s->eviction_hard) : NULL;
    c->eviction_soft = list_of(a, &s->eviction_soft);
    c->eviction_soft_grace = list_of(a, &s->soft_grace);
    c->eviction_reclaim = list_of(a, &s->eviction_reclaim);
    c->shutdown_by_priority = list_of(a, &s->shutdown_priorities);
    c->listen = address(a, s->address, s->port);
    c->healthz_listen = s->healthz_port ? address(a, s->healthz_address, s->healthz_port) : NULL;
}

static void set_rest(const struct settings *s, struct kubelet_config *c)
{
    c->no_register = !s->register_node;
    c->no_cgroups = !s->cgroups;
    c->no_cpu_quota = !s->cfs_quota;
    c->no_server = !s->enable_server;
    c->no_system_logs = !s->system_logs;
    c->seccomp_default = s->seccomp_default;
    c->serial_pulls = s->serial_pulls && s->parallel_pulls <= 1;
    c->max_parallel_pulls = (int)s->parallel_pulls;
    c->cpu_quota_period = s->cfs_period;
    c->max_pods = (int)s->max_pods;
    c->pods_per_core = (int)s->pods_per_core;
    c->pod_pids = s->pids;
    c->log_max_files = (int)s->log_files;
    c->cpu_policy = s->cpu_policy;
    c->reserved_cpus = s->reserved_cpus;
    c->memory_policy = s->memory_policy;
    c->topology_policy = s->topology_policy;
    c->topology_scope = s->topology_scope;
    c->shutdown_grace = s->shutdown_grace;
    c->shutdown_critical = s->shutdown_critical;
    c->eviction_max_grace = s->evict_grace;
    c->eviction_transition = s->evict_transition;
    c->max_images_reported = (int)s->max_images;
    c->image_gc_high = (int)s->gc_high;
    c->image_gc_low = (int)s->gc_low;
    c->image_min_age = s->image_age;
    c->max_crash_backoff = s->crash_most;
    c->sync_period = s->sync_period;
    c->status_period = s->status_period;
    c->status_report_period = s->report_period;
    c->lease_duration = SECONDS(s->lease_seconds);
    c->file_check_period = s->file_period;
    c->anonymous = s->anonymous;
    c->token_webhook = s->webhook;
    c->authorize_always = !s->authorization || !*s->authorization || !strcmp(s->authorization, "AlwaysAllow");
}

static int apply(struct kubelet_options *o, const struct settings *s, struct err *e)
{
    struct quantity size;
    int r = check_port(s->port, "port", e);
    if (r == 0)
        r = check_port(s->healthz_port, "healthz-port", e);
    if (r == 0 && s->authorization && *s->authorization && strcmp(s->authorization, "AlwaysAllow") != 0 &&
        strcmp(s->authorization, "Webhook") != 0)
        r = err_set(e, -EINVAL, "--authorization-mode %s: expected Webhook or AlwaysAllow", s->authorization);
    if (r == 0 && s->log_max_size && *s->log_max_size) {
        r = quantity_parse(str_of(s->log_max_size), &size, e);
        if (r < 0)
            return err_wrap(e, r, "--container-log-max-size %s", s->log_max_size);
        o->config.log_max_size = quantity_units(size);
    }
    if (r < 0)
        return r;
    set_texts(&o->arena, s, &o->config);
    set_rest(s, &o->config);
    o->kubeconfig = s->kubeconfig;
    o->bootstrap = s->bootstrap && *s->bootstrap ? s->bootstrap : NULL;
    o->cert_dir = s->cert_dir && *s->cert_dir
                      ? s->cert_dir
                      : arena_printf(&o->arena, "%s/pki", o->config.root_dir && *o->config.root_dir ? o->config.root_dir : "/var/lib/kubelet").p;
    o->rotate_client = s->rotate_client;
    o->rotate_server = s->rotate_server;
    o->log = s->log;
    o->version = s->version != NULL;
    return set_files(o, s, e);
}

static void settings_done(struct settings *s)
{
    struct flag_list *lists[] = {&s->dns, &s->labels, &s->taints, &s->kube_reserved, &s->system_reserved, &s->eviction_hard,
                                 &s->sysctls, &s->eviction_soft, &s->soft_grace, &s->eviction_reclaim, &s->shutdown_priorities,
                                 &s->cpu_options, &s->reserved_memory, &s->topology_options};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        flag_list_done(lists[i]);
}

/* flags_parse reorders what it is given. */
static int parse(struct arena *a, struct flag *flags, int argc, char **argv, struct err *e)
{
    char **copy = ARENA_ARRAY(a, char *, argc + 1);
    int operands = 0;
    memcpy(copy, argv, sizeof(*copy) * (size_t)argc);
    int r = flags_parse(flags, argc, copy, &operands, NULL, e);
    if (r == 0 && operands)
        r = err_set(e, -EINVAL, "unknown command \"%s\"", copy[1]);
    return r;
}

int kubelet_options_read(struct kubelet_options *o, int argc, char **argv, struct err *e)
{
    /* Once to learn which file, and which of its values do not count; once more on top of the file's values. */
    struct settings first = defaults, s = defaults;
    struct flag look[] = FLAGS(&first), flags[] = FLAGS(&s);
    int r = parse(&o->arena, look, argc, argv, e);
    if (r == 0 && first.config && *first.config)
        r = take_file(&o->arena, first.config, look, &s, e);
    else if (r == 0 && first.client_ca && *first.client_ca)
        file_defaults(&s); /* who says which clients are trusted means to keep the others out */
    else if (r == 0)
        s.anonymous = true; /* flags alone have upstream's oldest defaults */
    if (r == 0)
        r = parse(&o->arena, flags, argc, argv, e);
    if (r == 0)
        r = apply(o, &s, e);
    if (r == 0)
        o->config.flags = zpages_flags(&o->arena, flags);
    settings_done(&first);
    settings_done(&s);
    return r;
}

void kubelet_options_done(struct kubelet_options *o)
{
    arena_done(&o->arena);
}

void kubelet_options_help(struct buf *b)
{
    struct settings s = defaults;
    struct flag flags[] = FLAGS(&s);
    flags_help(flags, b);
}

/* ---- the program -------------------------------------------------------------------------------------------------- */

struct program {
    struct kubelet_options *options;
    struct err err;
    int r;
    struct waitq ended;
    bool done, connected, again; /* again: with a new certificate */
    struct certs certs;
    struct client *client;
};

static void run_kubelet(void *arg)
{
    struct program *p = arg;
    p->r = kubelet_run(&p->options->config, &p->err);
    p->done = true;
    waitq_wake_all(&p->ended);
}

static void wait_signal(void *arg)
{
    struct program *p = arg;
    if (os_wait_signal(MONO_NEVER) > 0) {
        p->done = true;
        waitq_wake_all(&p->ended);
    }
}

static void renew(struct program *p, enum cert_use use)
{
    if (certs_renew(&p->certs, p->client, use) == 0) {
        log_info(LOG, "starting anew with a new certificate");
        p->again = p->done = true;
        waitq_wake_all(&p->ended);
    }
}

static void renew_client(void *arg)
{
    renew(arg, CERT_CLIENT);
}

static void renew_server(void *arg)
{
    renew(arg, CERT_SERVER);
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* The certificate to serve with, once there is one. */
static void take_server_cert(struct program *p, struct arena *a)
{
    struct kubelet_options *o = p->options;
    struct str pem;
    if (o->rotate_server && os_read_file(a, cert_path(a, &p->certs, CERT_SERVER), 1 << 20, &pem) == 0)
        o->config.tls_cert = o->config.tls_key = pem;
}

/* May take long: somebody has to approve. */
static void connect_client(void *arg)
{
    struct program *p = arg;
    struct kubelet_options *o = p->options;
    if (o->kubeconfig && o->bootstrap && !exists(o->kubeconfig))
        p->r = certs_bootstrap(&p->certs, o->bootstrap, o->kubeconfig, &p->err);
    if (p->r == 0 && o->kubeconfig)
        p->r = kubeconfig_client(o->kubeconfig, "kubelet", &p->client, &p->err);
    p->connected = true;
    waitq_wake_all(&p->ended);
}

/* One life with one set of certificates. Pods do not notice when another begins. */
static void live(struct program *p)
{
    struct kubelet_options *o = p->options;
    struct arena a = ARENA_INIT;
    struct group g = {0};
    bool served = o->config.tls_cert.n > 0;
    p->done = p->again = p->connected = false;
    group_spawn(&g, "signal", wait_signal, p);
    group_spawn(&g, "connect", connect_client, p);
    while (!p->done && !p->connected && waitq_wait(&p->ended, MONO_NEVER) == 0)
        ;
    if (p->r == 0 && !p->done && p->connected) {
        o->config.client = p->client;
        if (!served)
            take_server_cert(p, &a);
        group_spawn(&g, "kubelet", run_kubelet, p);
        if (p->client && o->rotate_client && exists(cert_path(&a, &p->certs, CERT_CLIENT)))
            group_spawn(&g, "client-certificate", renew_client, p);
        if (p->client && o->rotate_server && !served)
            group_spawn(&g, "server-certificate", renew_server, p);
        while (!p->done && waitq_wait(&p->ended, MONO_NEVER) == 0)
            ;
    }
    group_stop(&g);
    if (p->client)
        client_free(p->client);
    p->client = NULL;
    if (!served)
        o->config.tls_cert = o->config.tls_key = STR_NULL;
    arena_done(&a);
}

static void run(void *arg)
{
    struct program *p = arg;
    char host[256] = "localhost";
    gethostname(host, sizeof(host) - 1);
    const char *name = p->options->config.node_name;
    p->certs = (struct certs){p->options->cert_dir, name && *name ? name : host};
    do
        live(p);
    while (p->again && !fiber_cancelled());
}

static void print_help(void)
{
    struct buf b = BUF_INIT;
    kubelet_options_help(&b);
    printf("The node agent: runs the pods that are bound to its node.\n\nUsage:\n  kubelet [flags]\n\nFlags:\n%s", b.p);
    buf_done(&b);
}

int kubelet_main(int argc, char **argv)
{
    struct kubelet_options o = {0};
    struct program p = {.options = &o};
    int r = kubelet_options_read(&o, argc, argv, &p.err);
    if (r == FLAGS_HELP || (r == 0 && o.version)) {
        if (r == FLAGS_HELP)
            print_help();
        else
            puts(daemon_version());
        kubelet_options_done(&o);
        return 0;
    }
    if (r == 0)
        r = log_configure(&o.log, &p.err);
    if (r < 0) {
        fprintf(stderr, "kubelet: %s\n", err_text(&p.err, r));
        kubelet_options_done(&o);
        return 2;
    }
    loop_run(run, &p);
    kubelet_options_done(&o);
    if (p.r == 0 || p.r == -ECANCELED)
        return 0;
    fprintf(stderr, "kubelet: %s\n", err_text(&p.err, p.r));
    return 1;
}
