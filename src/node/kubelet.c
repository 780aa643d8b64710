/* SPDX-License-Identifier: Apache-2.0 */
#include "node/checkpoint.h"
#include "node/memory.h"
#include "node/csi.h"
#include "node/metrics.h"
#include "node/plugins.h"

#include "net/http.h"
#include "net/tls.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <unistd.h>

/* ---- configuration -------------------------------------------------------------------------------------------- */

static const char *text_or(struct arena *a, const char *s, const char *otherwise)
{
    if (s && *s)
        return arena_cstr(a, str_of(s));
    return otherwise ? arena_cstr(a, str_of(otherwise)) : NULL;
}

static const char *const *copy_list(struct arena *a, const char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    const char **out = ARENA_ARRAY(a, const char *, n + 1);
    for (size_t i = 0; i < n; i++)
        out[i] = arena_cstr(a, str_of(list[i]));
    return out;
}

static void complete_texts(struct arena *a, struct kubelet_config *c)
{
    char host[256] = "localhost";
    gethostname(host, sizeof(host) - 1);
    c->node_name = text_or(a, c->node_name, host);
    c->hostname = text_or(a, c->hostname, c->node_name);
    c->cri_socket = text_or(a, c->cri_socket, "unix:///run/containerd/containerd.sock");
    c->image_socket = text_or(a, c->image_socket, NULL);
    c->root_dir = text_or(a, c->root_dir, "/var/lib/kubelet");
    c->local_path_dir = text_or(a, c->local_path_dir, arena_printf(a, "%s/local-path", c->root_dir).p);
    c->pod_logs_dir = text_or(a, c->pod_logs_dir, "/var/log/pods");
    c->container_logs_dir = text_or(a, c->container_logs_dir, NULL);
    c->static_pod_path = text_or(a, c->static_pod_path, NULL);
    c->cni_conf_dir = text_or(a, c->cni_conf_dir, NULL);
    c->cni_bridge = text_or(a, c->cni_bridge, "cni0");
    c->cni_data_dir = text_or(a, c->cni_data_dir, NULL);
    c->cni_plugin = text_or(a, c->cni_plugin, NULL);
    c->cni_subnet_file = text_or(a, c->cni_subnet_file, NULL);
    c->pod_cidr = text_or(a, c->pod_cidr, NULL);
    c->cluster_cidr = text_or(a, c->cluster_cidr, NULL);
    c->cluster_domain = text_or(a, c->cluster_domain, "cluster.local");
    c->resolv_conf = text_or(a, c->resolv_conf, "/etc/resolv.conf");
    c->cgroup_root = text_or(a, c->cgroup_root, "/");
    c->provider_id = text_or(a, c->provider_id, NULL);
    c->cpu_policy = text_or(a, c->cpu_policy, "none");
    c->reserved_cpus = text_or(a, c->reserved_cpus, NULL);
    c->cpu_options = text_or(a, c->cpu_options, "");
    c->memory_policy = text_or(a, c->memory_policy, "None");
    c->reserved_memory = text_or(a, c->reserved_memory, "");
    c->topology_policy = text_or(a, c->topology_policy, "none");
    c->topology_scope = text_or(a, c->topology_scope, "container");
    c->topology_options = text_or(a, c->topology_options, "");
    c->listen = text_or(a, c->listen, "0.0.0.0:10250");
    c->healthz_listen = text_or(a, c->healthz_listen, NULL);
    c->tls_cert = arena_str(a, c->tls_cert);
    c->tls_key = arena_str(a, c->tls_key);
    c->client_ca = arena_str(a, c->client_ca);
}

static void complete_lists(struct arena *a, struct kubelet_config *c)
{
    static const char *const eviction[] = {"memory.available=100Mi", "nodefs.available=10%", "nodefs.inodesFree=5%",
                                           "imagefs.available=15%", "imagefs.inodesFree=5%", NULL};
    c->node_ips = copy_list(a, c->node_ips);
    c->cluster_dns = copy_list(a, c->cluster_dns);
    c->node_labels = copy_list(a, c->node_labels);
    c->taints = copy_list(a, c->taints);
    c->allowed_sysctls = copy_list(a, c->allowed_sysctls);
    c->kube_reserved = copy_list(a, c->kube_reserved);
    c->system_reserved = copy_list(a, c->system_reserved);
    c->eviction_hard = copy_list(a, c->eviction_hard ? c->eviction_hard : eviction);
    c->eviction_soft = copy_list(a, c->eviction_soft);
    c->eviction_soft_grace = copy_list(a, c->eviction_soft_grace);
    c->eviction_reclaim = copy_list(a, c->eviction_reclaim);
    c->shutdown_by_priority = copy_list(a, c->shutdown_by_priority);
}

#define DEFAULT(field, value)                                                                                \
    do {                                                                                                     \
        if (c->field <= 0)                                                                                   \
            c->field = (value);                                                                              \
    } while (0)

static void complete_numbers(struct kubelet_config *c)
{
    DEFAULT(cpu_quota_period, MILLISECONDS(100));
    DEFAULT(max_pods, 110);
    DEFAULT(max_parallel_pulls, 5);
    DEFAULT(log_max_size, INT64_C(10) << 20);
    DEFAULT(log_max_files, 5);
    if (c->max_images_reported == 0)
        c->max_images_reported = 50;
    DEFAULT(image_gc_high, 85);
    DEFAULT(image_gc_low, 80);
    DEFAULT(image_min_age, SECONDS(120));
    DEFAULT(max_crash_backoff, BACKOFF_MOST);
    DEFAULT(eviction_transition, SECONDS(300));
    DEFAULT(sync_period, SECONDS(60));
    DEFAULT(status_period, SECONDS(10));
    DEFAULT(status_report_period, SECONDS(300));
    DEFAULT(lease_duration, SECONDS(40));
    DEFAULT(file_check_period, SECONDS(20));
}

/* ---- addresses of the node ------------------------------------------------------------------------------------- */

union node_address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

static bool address_text(const struct sockaddr *from, int family, char text[static INET6_ADDRSTRLEN])
{
    const union node_address *s = (const void *)from;
    if (!from || from->sa_family != family || (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&s->in6.sin6_addr)))
        return false;
    return inet_ntop(family, family == AF_INET ? (const void *)&s->in.sin_addr : &s->in6.sin6_addr, text, INET6_ADDRSTRLEN);
}

/* The interface of the default route has the address that others reach us at. */
static void default_address(struct kubelet *k, int family)
{
    struct host_usage u;
    struct ifaddrs *all, *i;
    char text[INET6_ADDRSTRLEN];
    if (k->host->ops->usage(k->host, &u) < 0 || getifaddrs(&all) < 0)
        return;
    for (i = all; i && !k->n_ips; i = i->ifa_next)
        if (!(i->ifa_flags & IFF_LOOPBACK) && (!u.interface[0] || strcmp(i->ifa_name, u.interface) == 0) &&
            address_text(i->ifa_addr, family, text))
            k->ips[k->n_ips++] = arena_str(&k->arena, str_of(text));
    freeifaddrs(all);
}

/* Without a told one the default IPv4 address, else the IPv6 one; "::" asks for that first (kubelet's --node-ip). */
static void set_addresses(struct kubelet *k)
{
    size_t n = 0;
    bool six = k->cfg.node_ips[0] && !strcmp(k->cfg.node_ips[0], "::");
    while (k->cfg.node_ips[n])
        n++;
    k->ips = ARENA_ARRAY(&k->arena, struct str, n + 1);
    for (size_t i = 0; i < n; i++)
        if (*k->cfg.node_ips[i] && strcmp(k->cfg.node_ips[i], "0.0.0.0") != 0 && strcmp(k->cfg.node_ips[i], "::") != 0)
            k->ips[k->n_ips++] = str_of(k->cfg.node_ips[i]);
    if (!k->n_ips)
        default_address(k, six ? AF_INET6 : AF_INET);
    if (!k->n_ips)
        default_address(k, six ? AF_INET : AF_INET6);
    if (!k->n_ips)
        k->ips[k->n_ips++] = STR("127.0.0.1");
}

/* ---- parts -------------------------------------------------------------------------------------------------------- */

static void set_cri_node(struct kubelet *k)
{
    struct arena a = ARENA_INIT;
    struct str text;
    bool names = k->host->ops->read_file(k->host, &a, k->cfg.resolv_conf, 1 << 20, &text, NULL) == 0;
    if (names)
        resolv_conf_parse(&k->arena, text, &k->resolv);
    arena_done(&a);
    k->cri = (struct cri_node){
        .cgroup_root = k->cfg.cgroup_root,
        .log_root = k->cfg.pod_logs_dir,
        .root_dir = k->cfg.root_dir,
        .cluster_domain = k->cfg.cluster_domain,
        .dns = {k->cfg.cluster_dns, k->cfg.cluster_domain, names ? &k->resolv : NULL},
        .memory = k->facts.memory,
        .cfs_quota = !k->cfg.no_cpu_quota,
        .cfs_period = k->cfg.cpu_quota_period / NSEC_PER_USEC,
        .seccomp_default = k->cfg.seccomp_default,
    };
}

static void set_node_ref(struct kubelet *k)
{
    k->node_ref = val_new(&k->arena, VAL_OBJ);
    val_set_str(&k->arena, k->node_ref, N_kind, STR("Node"));
    val_set_str(&k->arena, k->node_ref, N_name, str_of(k->cfg.node_name));
    val_set_str(&k->arena, k->node_ref, N_uid, str_of(k->cfg.node_name)); /* as upstream: the name */
}

static int set_http(struct kubelet *k, struct err *e)
{
    struct tls_client *tls;
    int r = tls_client_new(&(const struct tls_client_config){.insecure = true, .no_h2 = true}, &tls, e);
    if (r < 0)
        return err_wrap(e, r, "TLS for probes");
    /* Probes must see the server as it is now: nothing is kept open for long. */
    k->http = http_client_new(&(const struct http_client_config){.tls = tls, .idle_timeout = MILLISECONDS(1)});
    tls_client_unref(tls);
    return 0;
}

static void object_changed(void *arg, const struct resource *res, struct str ns, struct str name)
{
    struct kubelet *k = arg;
    MAP_EACH (&k->workers, e) {
        struct worker *w = e->value;
        if (w->pod && str_is(ns, w->ns) && worker_refers(w, res->index == RES_SECRETS, name))
            worker_set_volumes_dirty(w);
    }
}

static void node_changed(void *arg, const struct resource *res, const struct object *old, const struct object *new_)
{
    struct kubelet *k = arg;
    if (res->index != RES_NODES)
        return;
    if (!new_) {
        k->node_registered = false;
        node_touch(k);
    } else if (!old || !val_equal(pod_spec(old->val), pod_spec(new_->val))) {
        node_touch(k); /* it may have got its pod CIDR */
    }
    if (old && new_ && (!val_equal(val_at(old->val, N_status, N_volumesAttached), val_at(new_->val, N_status, N_volumesAttached)) ||
                        !val_equal(val_at(old->val, N_status, N_volumesInUse), val_at(new_->val, N_status, N_volumesInUse))))
        node_volumes_wake(k);
}

static void set_replicas(struct kubelet *k)
{
    const struct resource *classes = resource_find(STR("node.k8s.io"), STR("v1"), STR("runtimeclasses"));
    struct str mine = arena_printf(&k->arena, "spec.nodeName=%s", k->cfg.node_name);
    struct str me = arena_printf(&k->arena, "metadata.name=%s", k->cfg.node_name);
    struct replica_kind pods = {.res = &resources[RES_PODS], .field_selector = mine};
    struct replica_kind world[] = {
        {.res = &resources[RES_SERVICES]},
        {.res = &resources[RES_NODES], .field_selector = me},
        {.res = classes},
        {.res = &resources[RES_CSIDRIVERS]},
    };
    if (!k->client)
        return;
    k->events = event_recorder_new(k->client, "kubelet", k->cfg.node_name);
    k->objects = objects_new(k->client, object_changed, k);
    k->world = replica_new(k->client, world, ARRAY_SIZE(world));
    replica_on_change(k->world, node_changed, k);
    replica_start(k->world);
    k->pods = replica_new(k->client, &pods, 1);
    replica_on_change(k->pods, sources_pod_changed, k);
    replica_start(k->pods);
}

static int make_dirs(struct kubelet *k, struct err *e)
{
    struct host *h = k->host;
    struct str pods = arena_printf(&k->arena, "%s/pods", k->cfg.root_dir);
    int r = h->ops->make_dir(h, pods.p, 0750, e);
    if (r == 0)
        r = h->ops->make_dir(h, k->cfg.pod_logs_dir, 0755, e);
    if (r == 0 && h->ops->share) {
        struct err why = {{0}};
        int shared = h->ops->share(h, k->cfg.root_dir, &why); /* CSI drivers in containers mount into it */
        if (shared < 0)
            log_warn(LOG, "%s", err_text(&why, shared));
    }
    return r;
}

/* CPU that burstable Pods asked for, together: what their level weighs against guaranteed Pods beside it. */
static int64_t burstable_milli(struct kubelet *k)
{
    int64_t sum = 0;
    MAP_EACH (&k->workers, m) {
        const struct worker *w = m->value;
        const struct val *pod = worker_pod(w);
        if (pod && w->stage < WORKER_TERMINATED && pod_qos(pod) == QOS_BURSTABLE)
            sum += quantity_milli(pod_amount(pod, N_requests, "cpu"));
    }
    return sum;
}

int qos_update(struct kubelet *k, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct cgroup_limits none = CGROUP_LIMITS_NONE, least = CGROUP_LIMITS_NONE, burstable = CGROUP_LIMITS_NONE;
    const struct cgroup_limits *limits[] = {[QOS_GUARANTEED] = &none, [QOS_BURSTABLE] = &burstable, [QOS_BEST_EFFORT] = &least};
    int r = 0;
    if (k->cfg.no_cgroups)
        return 0;
    least.cpu_shares = cpu_shares(0);
    burstable.cpu_shares = cpu_shares(burstable_milli(k));
    if (burstable.cpu_shares == k->burstable_shares)
        return 0;
    for (int q = QOS_GUARANTEED; r == 0 && q <= QOS_BEST_EFFORT; q++)
        r = k->host->ops->cgroup_set(k->host, qos_cgroup_path(&a, k->cfg.cgroup_root, (enum qos_class)q).p, limits[q], e);
    if (r == 0)
        k->burstable_shares = burstable.cpu_shares;
    arena_done(&a);
    return r;
}

/* Who hands out CPUs, memory and devices by NUMA node; the machine is looked at only where somebody does. */
static int managers_start(struct kubelet *k, struct err *e)
{
    int r = topology_parse(k->cfg.topology_policy, k->cfg.topology_scope, k->cfg.topology_options, &k->topology, e);
    bool needed = k->topology.policy != TOPOLOGY_NONE || strcmp(k->cfg.cpu_policy, "none") != 0 || strcmp(k->cfg.memory_policy, "None") != 0;
    if (r < 0 || !needed)
        return r;
    k->machine = NEW(struct numa_machine);
    r = numa_read(k->host, k->machine, e);
    if (r == 0 && k->topology.policy != TOPOLOGY_NONE && (int64_t)k->machine->n > k->topology.most_nodes)
        r = err_set(e, -E2BIG, "unsupported on machines with more than %lld NUMA Nodes", (long long)k->topology.most_nodes);
    if (r == 0)
        r = cpus_start(k, e);
    return r == 0 ? memory_start(k, e) : r;
}

static int set_up(struct kubelet *k, const struct kubelet_config *config, struct err *e)
{
    k->cfg = *config;
    complete_texts(&k->arena, &k->cfg);
    complete_lists(&k->arena, &k->cfg);
    complete_numbers(&k->cfg);
    k->client = config->client;
    k->started = os_mono();
    k->started_wall = os_wall();
    k->host = config->host ? config->host : host_linux_new(k->cfg.root_dir);
    k->rt = config->runtime ? config->runtime : runtime_cri_new(k->cfg.cri_socket, k->cfg.image_socket);
    k->metrics = metrics_new(k->rt);
    snprintf(k->runtime_problem, sizeof(k->runtime_problem), "not asked yet");
    int r = make_dirs(k, e);
    if (r == 0)
        r = k->host->ops->facts(k->host, &k->arena, &k->facts, e);
    if (r == 0 && !k->cfg.no_cgroups && k->facts.cgroups_missing.n)
        r = err_set(e, -ENOTSUP, "this machine's kernel gives no cgroup controllers for " STR_FMT " in /sys/fs/cgroup; mount them, "
                    "or boot with cgroup_enable=memory", STR_ARG(k->facts.cgroups_missing));
    gate_init(&k->starts, (unsigned)MAX(2 * k->facts.cpus, (int64_t)4), SECONDS(2));
    if (r == 0)
        r = qos_update(k, e);
    if (r == 0)
        r = set_http(k, e);
    if (r < 0)
        return r;
    r = managers_start(k, e);
    if (r < 0)
        return r;
    set_addresses(k);
    set_cri_node(k);
    set_node_ref(k);
    return 0;
}

static void unref_object(void *o)
{
    object_unref(o);
}

static void free_workers(struct kubelet *k)
{
    for (;;) {
        struct worker *w = NULL;
        MAP_EACH (&k->workers, m)
            w = m->value;
        if (!w)
            break;
        map_del(&k->workers, str_of(w->uid));
        worker_free(w);
    }
    map_done(&k->workers);
}

static void tear_down(struct kubelet *k)
{
    k->stopping = true;
    server_stop(k);
    group_stop(&k->fibers);
    node_volumes_free(k);
    csi_free(k);
    podresources_stop(k);
    devices_stop(k);
    dra_stop(k);
    cpus_stop(k);
    memory_stop(k);
    free(k->machine);
    k->machine = NULL;
    pleg_forget_all(k);
    free_workers(k);
    pod_certs_stop(k);
    objects_free(k->objects);
    replica_free(k->pods);
    replica_free(k->world);
    map_done_with(&k->statics, unref_object);
    images_free(k);
    event_recorder_free(k->events);
    if (k->http)
        http_client_free(k->http);
    metrics_free(k->metrics);
    if (k->rt != k->cfg.runtime)
        runtime_free(k->rt);
    if (k->host != k->cfg.host)
        host_free(k->host);
    arena_done(&k->features_arena);
    arena_done(&k->arena);
}

static void start_fibers(struct kubelet *k)
{
    group_spawn(&k->fibers, "node-status", node_run, k);
    group_spawn(&k->fibers, "pleg", pleg_run, k);
    group_spawn(&k->fibers, "static-pods", sources_static_run, k);
    group_spawn(&k->fibers, "workers", workers_reap, k);
    group_spawn(&k->fibers, "grants", grants_run, k);
    if (cpus_static(k))
        group_spawn(&k->fibers, "cpus", cpus_run, k);
    if (k->cpus || k->memory)
        group_spawn(&k->fibers, "checkpoints", checkpoints_run, k);
    group_spawn(&k->fibers, "garbage", gc_run, k);
    group_spawn(&k->fibers, "log-rotation", logrotate_run, k);
    group_spawn(&k->fibers, "eviction", eviction_run, k);
    if (k->client)
        group_spawn(&k->fibers, "lease", lease_run, k);
    if (!k->host->ops->mount)
        return; /* a machine of the mind has no disk to look after */
    group_spawn(&k->fibers, "storage-limits", storage_limits_run, k);
    group_spawn(&k->fibers, "volumes", node_volumes_run, k);
    group_spawn(&k->fibers, "plugins", plugins_run, k);
    group_spawn(&k->fibers, "dra", dra_run, k);
    if (k->client)
        group_spawn(&k->fibers, "csi-node", csi_node_run, k);
}

/* Pods from the API wait for Services to be known (their environment); then all that stand ready start. */
static void start_when_synced(void *arg)
{
    struct kubelet *k = arg;
    if (k->world && replica_wait_synced(k->world, MONO_NEVER) < 0)
        return;
    sources_reconcile(k);
    if (k->pods && replica_wait_synced(k->pods, MONO_NEVER) < 0)
        return;
    sources_reconcile(k);
    waitq_wake_all(&k->mirrors_changed);
}

/* A node without device plug-ins is still a node. */
static void start_sockets(struct kubelet *k)
{
    struct err e = {{0}};
    if (devices_start(k, &e) < 0 || podresources_start(k, &e) < 0)
        log_warn(LOG, "no device plug-ins: %s", e.text);
}

int kubelet_run(const struct kubelet_config *config, struct err *e)
{
    struct kubelet *k = NEW(struct kubelet);
    int r = set_up(k, config, e);
    if (r == 0 && !k->cfg.no_server)
        r = server_start(k, e);
    if (r == 0 && !config->host) /* sockets are of a real machine */
        start_sockets(k);
    if (r == 0) {
        csi_start(k);
        dra_start(k);
        set_replicas(k);
        node_volumes_start(k);
        node_event(k, false, "Starting", "Starting kubelet.");
        start_fibers(k);
        group_spawn(&k->fibers, "sources", start_when_synced, k);
        while (fiber_sleep(SECONDS(3600)) == 0)
            ;
    }
    fiber_shield(true);
    tear_down(k);
    fiber_shield(false);
    free(k);
    return r;
}
