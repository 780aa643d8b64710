/* SPDX-License-Identifier: Apache-2.0 */
/* kube-controller-manager as a program. */
#include "base/log.h"
#include "base/os.h"
#include "client/daemon.h"
#include "client/leader.h"
#include "controllers/engine.h"

/* Flags of upstream's that say nothing here. */
#define ONE_LOOP "a key is worked on when it changes; nothing is to be gained by more workers"
#define UPSTREAM_FLAGS \
    FLAG_NO_EFFECT("concurrent-deployment-syncs", ONE_LOOP), \
    FLAG_NO_EFFECT("concurrent-disruption-syncs", ONE_LOOP), \
    FLAG_NO_EFFECT("concurrent-device-taint-eviction-syncs", ONE_LOOP), \
    FLAG_NO_EFFECT("concurrent-resourceclaim-syncs", ONE_LOOP), \
    FLAG_NO_EFFECT("concurrent-statefulset-syncs", ONE_LOOP), \
    FLAG_NO_EFFECT("concurrent-daemonset-syncs", ONE_LOOP), \
    FLAG_NO_EFFECT("concurrent-endpoint-syncs", ONE_LOOP), \
    FLAG_NO_EFFECT("concurrent-service-endpoint-syncs", ONE_LOOP), \
    FLAG_NO_EFFECT("concurrent-gc-syncs", ONE_LOOP), \
    FLAG_NO_EFFECT("concurrent-job-syncs", ONE_LOOP), \
    FLAG_NO_EFFECT("concurrent-cron-job-syncs", ONE_LOOP), \
    FLAG_NO_EFFECT("concurrent-namespace-syncs", ONE_LOOP), \
    FLAG_NO_EFFECT("concurrent-replicaset-syncs", ONE_LOOP), \
    FLAG_NO_EFFECT("concurrent-rc-syncs", ONE_LOOP), \
    FLAG_NO_EFFECT("concurrent-serviceaccount-token-syncs", ONE_LOOP), \
    FLAG_NO_EFFECT("concurrent-ttl-after-finished-syncs", ONE_LOOP), \
    FLAG_NO_EFFECT("concurrent-validating-admission-policy-status-syncs", ONE_LOOP), \
    FLAG_NO_EFFECT("mirroring-concurrent-service-endpoint-syncs", ONE_LOOP), \
    FLAG_NO_EFFECT("endpoint-updates-batch-period", "changes that come together are written together by themselves"), \
    FLAG_NO_EFFECT("endpointslice-updates-batch-period", "changes that come together are written together by themselves"), \
    FLAG_NO_EFFECT("mirroring-endpointslice-updates-batch-period", "changes that come together are written together by themselves"), \
    FLAG_NO_EFFECT("mirroring-max-endpoints-per-subset", "1000, as upstream's default"), \
    FLAG_NO_EFFECT("namespace-sync-period", "namespaces are worked on when they change"), \
    FLAG_NO_EFFECT("controller-shutdown-timeout", "the process ends when its last write was answered"), \
    FLAG_NO_EFFECT("route-reconciliation-period", "routes of clouds are not made"), \
    FLAG_ONLY("cloud-config", "", "there are no clouds in it: a cloud controller manager does that"), \
    FLAG_ONLY("cidr-allocator-type", "RangeAllocator", "node networks come from --cluster-cidr only"), \
    FLAG_ONLY_BOOL("enable-leader-migration", "false", "there is one lease only"), \
    FLAG_ONLY("leader-migration-config", "", "there is one lease only"), \
    FLAG_ONLY_BOOL("enable-hostpath-provisioner", "false", "local-path provisions on the node"), \
    FLAG_NO_EFFECT("legacy-service-account-token-clean-up-period", "no tokens are made as Secrets by themselves"), \
    FLAG_ONLY("large-cluster-size-threshold", "50", "a zone of more than 50 nodes is large"), \
    FLAG_ONLY("secondary-node-eviction-rate", "0.01", "one node in 100 seconds, where most nodes of a large zone are bad"), \
    FLAG_ONLY("unhealthy-zone-threshold", "0.55", "a zone is ill when 55 % of its nodes are"), \
    FLAG_NO_EFFECT("pv-recycler-increment-timeout-nfs", "volumes are not recycled (deprecated)"), \
    FLAG_NO_EFFECT("pv-recycler-minimum-timeout-hostpath", "volumes are not recycled (deprecated)"), \
    FLAG_NO_EFFECT("pv-recycler-minimum-timeout-nfs", "volumes are not recycled (deprecated)"), \
    FLAG_NO_EFFECT("pv-recycler-pod-template-filepath-hostpath", "volumes are not recycled (deprecated)"), \
    FLAG_NO_EFFECT("pv-recycler-pod-template-filepath-nfs", "volumes are not recycled (deprecated)"), \
    FLAG_NO_EFFECT("pv-recycler-timeout-increment-hostpath", "volumes are not recycled (deprecated)"), \
    FLAG_ONLY("cluster-signing-kube-apiserver-client-cert-file", "", "one CA signs for all signers: --cluster-signing-cert-file"), \
    FLAG_ONLY("cluster-signing-kube-apiserver-client-key-file", "", "one CA signs for all signers: --cluster-signing-key-file"), \
    FLAG_ONLY("cluster-signing-kubelet-client-cert-file", "", "one CA signs for all signers: --cluster-signing-cert-file"), \
    FLAG_ONLY("cluster-signing-kubelet-client-key-file", "", "one CA signs for all signers: --cluster-signing-key-file"), \
    FLAG_ONLY("cluster-signing-kubelet-serving-cert-file", "", "one CA signs for all signers: --cluster-signing-cert-file"), \
    FLAG_ONLY("cluster-signing-kubelet-serving-key-file", "", "one CA signs for all signers: --cluster-signing-key-file"), \
    FLAG_ONLY("cluster-signing-legacy-unknown-cert-file", "", "one CA signs for all signers: --cluster-signing-cert-file"), \
    FLAG_ONLY("cluster-signing-legacy-unknown-key-file", "", "one CA signs for all signers: --cluster-signing-key-file")

struct options {
    struct daemon_flags common;
    struct controllers_config config;
    struct flag_list controllers;
    struct arena arena;
    const char *root_ca_file, *signing_cert_file, *signing_key_file, *eviction_rate, *hpa_tolerance;
    struct leader_config leader;
    struct serving_flags serving;
    int64_t mask, mask_ipv4, mask_ipv6;
    bool leader_elect, allocate_cidrs, dynamic_provisioning;
};

struct work {
    struct options *options;
    struct client *client;
};

static int read_file(struct options *o, const char *path, struct str *ret, struct err *e)
{
    if (!path || !*path)
        return 0;
    int r = os_read_file(&o->arena, path, 1 << 20, ret);
    return r < 0 ? err_set(e, r, "cannot read %s: %s", path, strerror(-r)) : 0;
}

static const char *join_names(struct options *o)
{
    struct str *parts = ARENA_ARRAY(&o->arena, struct str, o->controllers.n);
    for (size_t i = 0; i < o->controllers.n; i++)
        parts[i] = str_of(o->controllers.items[i]);
    return o->controllers.n ? arena_cstr(&o->arena, arena_join(&o->arena, parts, o->controllers.n, STR(",")))
                            : NULL;
}

static int check_number(const char *flag, const char *text, double *ret, struct err *e)
{
    char *end;
    if (!text)
        return 0;
    *ret = strtod(text, &end);
    if (*end || end == text || !(*ret >= 0))
        return err_set(e, -EINVAL, "--%s: \"%s\" is not a number", flag, text);
    return 0;
}

static int check_mask(int64_t given, int64_t common, unsigned max, unsigned *ret, struct err *e)
{
    int64_t mask = given ? given : common;
    if (mask < 0 || mask > max)
        return err_set(e, -EINVAL, "a node mask of /%lld is not possible", (long long)mask);
    *ret = (unsigned)mask;
    return 0;
}

/* What flags mean for the configuration. */
static int prepare(void *arg, struct err *e)
{
    struct options *o = arg;
    int r = read_file(o, o->root_ca_file, &o->config.root_ca, e);
    if (r == 0)
        r = read_file(o, o->signing_cert_file, &o->config.signing_cert, e);
    if (r == 0)
        r = read_file(o, o->signing_key_file, &o->config.signing_key, e);
    if (r == 0)
        r = check_number("node-eviction-rate", o->eviction_rate, &o->config.node_eviction_rate, e);
    if (r == 0)
        r = check_number("horizontal-pod-autoscaler-tolerance", o->hpa_tolerance, &o->config.hpa_tolerance, e);
    if (r == 0)
        r = check_mask(o->mask_ipv4, o->mask, 32, &o->config.node_mask_ipv4, e);
    if (r == 0)
        r = check_mask(o->mask_ipv6, 0, 128, &o->config.node_mask_ipv6, e);
    o->config.names = join_names(o);
    if (r == 0)
        r = controllers_check(&o->config, e);
    if (!o->allocate_cidrs)
        o->config.cluster_cidr = NULL;
    o->config.no_dynamic_provisioning = !o->dynamic_provisioning;
    return r;
}

static int work(void *arg, struct err *e)
{
    struct work *w = arg;
    return controllers_run_with(w->client, &w->options->config, e);
}

static int run(void *arg, struct client *c, struct err *e)
{
    struct options *o = arg;
    struct work w = {o, c};
    if (!o->leader_elect)
        return work(&w, e);
    o->leader.client = c;
    return leader_run(&o->leader, work, &w, e);
}

int controller_manager_main(int argc, char **argv)
{
    struct options o = {
        .leader_elect = true,
        .serving = {.bind = "0.0.0.0", .port = 10257},
        .dynamic_provisioning = true,
        .leader = {.ns = "kube-system", .name = "kube-controller-manager", .component = "kube-controller-manager"}};
    struct controllers_config *c = &o.config;
    struct flag flags[] = {
        DAEMON_FLAGS(&o.common),
        {"controllers", 0, FLAG_STRINGS, &o.controllers,
         "which to run: \"*\" all that are on, \"x\" that one, \"-x\" not that one"},
        {"allocate-node-cidrs", 0, FLAG_BOOL, &o.allocate_cidrs, "give every node a network for its pods"},
        {"cluster-cidr", 0, FLAG_STRING, &c->cluster_cidr, "networks these are cut from"},
        {"service-cluster-ip-range", 0, FLAG_STRING, &c->service_cidr,
         "networks of services, left out of them"},
        {"service-node-port-range", 0, FLAG_STRING, &c->service_node_ports,
         "ports that service-repair-controller takes for right (any)"},
        {"load-balancer-pool", 0, FLAG_STRING, &c->load_balancer_pool,
         "addresses for Services of type LoadBalancer: networks, ranges (none: they are left alone)"},
        {"node-cidr-mask-size", 0, FLAG_INT, &o.mask, "prefix length of a node's network (24)"},
        {"node-cidr-mask-size-ipv4", 0, FLAG_INT, &o.mask_ipv4, "the same with two families, IPv4 (24)"},
        {"node-cidr-mask-size-ipv6", 0, FLAG_INT, &o.mask_ipv6, "the same, IPv6 (64)"},
        {"root-ca-file", 0, FLAG_STRING, &o.root_ca_file, "CA that every namespace gets as kube-root-ca.crt"},
        {"cluster-signing-cert-file", 0, FLAG_STRING, &o.signing_cert_file,
         "CA that signs certificate requests"},
        {"cluster-signing-key-file", 0, FLAG_STRING, &o.signing_key_file, "its key"},
        {"cluster-signing-duration", 0, FLAG_DURATION, &c->signing_duration,
         "longest life of such certificates (8760h)"},
        {"node-monitor-grace-period", 0, FLAG_DURATION, &c->node_monitor_grace,
         "silence after which a node is Unknown (50s)"},
        {"node-monitor-period", 0, FLAG_DURATION, &c->node_monitor_period,
         "how often nodes are looked at (5s)"},
        {"node-startup-grace-period", 0, FLAG_DURATION, &c->node_startup_grace,
         "the same for nodes that never spoke (1m)"},
        {"node-eviction-rate", 0, FLAG_STRING, &o.eviction_rate,
         "nodes emptied a second when they fail (0.1)"},
        {"terminated-pod-gc-threshold", 0, FLAG_INT, &c->terminated_pod_threshold,
         "finished pods that are kept (12500)"},
        {"horizontal-pod-autoscaler-sync-period", 0, FLAG_DURATION, &c->hpa_sync_period,
         "time between two looks at an autoscaler's metrics (15s)"},
        {"horizontal-pod-autoscaler-downscale-stabilization", 0, FLAG_DURATION, &c->hpa_downscale_stabilization,
         "fewer pods only when nothing in that time asked for more (5m)"},
        {"horizontal-pod-autoscaler-cpu-initialization-period", 0, FLAG_DURATION, &c->hpa_cpu_initialization,
         "time after a pod's start in which its processor time may mean nothing (5m)"},
        {"horizontal-pod-autoscaler-initial-readiness-delay", 0, FLAG_DURATION, &c->hpa_initial_readiness_delay,
         "time after a pod's start in which becoming ready is its first time (30s)"},
        {"horizontal-pod-autoscaler-tolerance", 0, FLAG_STRING, &o.hpa_tolerance,
         "how far a metric may be off before anything happens (0.1)"},
        FLAG_NO_EFFECT("concurrent-horizontal-pod-autoscaler-syncs", ONE_LOOP),
        {"resource-quota-sync-period", 0, FLAG_DURATION, &c->quota_sync_period,
         "time between two counts of everything under quota (5m)"},
        FLAG_NO_EFFECT("concurrent-resource-quota-syncs", ONE_LOOP),
        {"enable-dynamic-provisioning", 0, FLAG_BOOL, &o.dynamic_provisioning,
         "claims may get volumes made for them (true)"},
        {"disable-force-detach-on-timeout", 0, FLAG_BOOL, &c->no_force_detach,
         "volumes of a node that is down stay attached for ever, not for six minutes"},
        FLAG_NO_EFFECT("pvclaimbinder-sync-period", "claims are worked on when they change"),
        FLAG_NO_EFFECT("attach-detach-reconcile-sync-period", "attachments are worked on when they change"),
        FLAG_NO_EFFECT_BOOL("disable-attach-detach-reconcile-sync", "attachments are worked on when they change"),
        FLAG_NO_EFFECT("concurrent-ephemeralvolume-syncs", ONE_LOOP),
        FLAG_NO_EFFECT("flex-volume-plugin-dir", "FlexVolume is deprecated and not there"),
        FLAG_NO_EFFECT("external-cloud-volume-plugin", "volumes of clouds are CSI drivers'"),
        {"max-endpoints-per-slice", 0, FLAG_INT, &c->endpoints_per_slice,
         "endpoints of one EndpointSlice (100)"},
        LEADER_FLAGS(&o.leader_elect, &o.leader),
        SERVING_FLAGS(&o.serving),
        CLIENT_PACE_FLAGS,
        UPSTREAM_FLAGS,
        FLAG_NO_EFFECT("service-account-private-key-file", "tokens are made by TokenRequest; none are made as Secrets"),
        {"use-service-account-credentials", 0, FLAG_BOOL, &c->service_accounts,
         "every controller writes as its own service account"},
        FLAG_NO_EFFECT("cluster-name", "no cloud asks for it"),
        FLAG_NO_EFFECT("min-resync-period", "nothing is done again without a change"),
        FLAG_NO_EFFECT("controller-start-interval", "controllers start at once"),
        FLAG_NO_EFFECT("cloud-provider", "clouds bring controllers of their own"),
        FLAG_NO_EFFECT_BOOL("configure-cloud-routes", "routes of clouds are not made"),
        FLAG_NO_EFFECT_BOOL("enable-garbage-collector", "it always collects"),
        {0},
    };
    struct daemon d = {"kube-controller-manager",
                       "Brings the cluster from what is to what is wanted.",
                       flags,
                       &o.common,
                       run,
                       &o,
                       prepare,
                       &o.serving};
    int code = daemon_main(&d, argc, argv);
    flag_list_done(&o.controllers);
    arena_done(&o.arena);
    return code;
}
