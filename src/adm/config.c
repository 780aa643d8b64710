/* SPDX-License-Identifier: Apache-2.0 */
/* Defaults and checks of a cluster's configuration, and its lock file. */
#include "adm/cluster.h"

#include "adm/addresses.h"
#include "adm/options.h"
#include "adm/parts.h"

#include "base/fiber.h"
#include "base/os.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static const char *host_name(struct arena *a)
{
    char name[256] = {0};
    gethostname(name, sizeof(name) - 1);
    for (char *p = name; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + ('a' - 'A'));
        else if (*p == '_')
            *p = '-';
    return arena_cstr(a, str_of(name[0] ? name : "node"));
}

/* Where the ranges are none, that is said later, by cluster_config_check. */
static void complete_addresses(struct arena *a, struct cluster_config *c)
{
    struct prefixes services, pods;
    if (!c->dns_ip)
        c->dns_ip = ranges_parse(a, "service-cidr", c->service_cidr, &services, NULL) == 0 ? addresses_at(a, &services, 10) : "";
    if (!c->advertise)
        c->advertise = ranges_parse(a, "pod-cidr", c->pod_cidr, &pods, NULL) == 0 ? find_addresses(a, &pods) : "";
}

int cluster_config_complete(struct arena *a, struct cluster_config *c, struct err *e)
{
    const struct {
        const char **to;
        const char *value;
    } texts[] = {
        {&c->data_dir, "/var/lib/cube"},      {&c->run_dir, "/run/cube"},
        {&c->conf_dir, "/etc/kubernetes"},    {&c->service_cidr, "10.96.0.0/12"},
        {&c->pod_cidr, "10.244.0.0/16"},
        {&c->cluster_domain, "cluster.local"}, {&c->bridge, "cni0"}, {&c->cni_plugin, "cube-cni"},
        {&c->cgroup_root, "/"},               {&c->proxy_table, "cube-proxy"},
        {&c->proxy_mode, "nftables"},
        {&c->node_ports, "30000-32767"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (!*texts[i].to)
            *texts[i].to = texts[i].value;
    if (!c->node_bridge) /* names of links have 15 characters; each node adds its number */
        c->node_bridge = strlen(c->bridge) <= 10 ? arena_printf(a, "%sn", c->bridge).p
                                                 : arena_printf(a, "cn%08xn", (unsigned)str_hash(str_of(c->bridge))).p;
    c->port = c->port ? c->port : 6443;
    c->kubelet_port = c->kubelet_port ? c->kubelet_port : 10250;
    c->proxy_health_port = c->proxy_health_port ? c->proxy_health_port : 10256;
    c->proxy_metrics_port = c->proxy_metrics_port ? c->proxy_metrics_port : 10249;
    c->ingress_http = c->ingress_http ? c->ingress_http : 80;
    c->ingress_https = c->ingress_https ? c->ingress_https : 443;
    c->node_name = c->node_name ? c->node_name : host_name(a);
    complete_addresses(a, c);
    if (!c->advertise)
        return err_set(e, -EADDRNOTAVAIL, "no network interface with an %s address is up; name one with "
                                          "--advertise-address", has_family(list_first(a, c->pod_cidr), AF_INET6) ? "IPv6" : "IPv4");
    return 0;
}

/* ---- what cannot work --------------------------------------------------------------------------------- */

/* No address of the one is the other's. */
static bool overlap(const struct prefixes *a, const struct prefixes *b)
{
    for (size_t i = 0; i < a->n; i++)
        for (size_t j = 0; j < b->n; j++)
            if (prefix_overlaps(&a->list[i], &b->list[j]))
                return true;
    return false;
}

/* Each node gets a range of 24 bits (IPv4) or 64 bits (IPv6) for its pods. */
static int check_pods(const struct cluster_config *c, const struct prefixes *pods, const struct prefixes *services, struct err *e)
{
    for (size_t i = 0; i < pods->n; i++)
        if (pods->list[i].bits > (pods->list[i].ip.family == AF_INET ? 24 : 64))
            return err_set(e, -EINVAL, "--pod-cidr %s: each node needs a range of its own, of 24 bits (IPv6: 64 bits)", c->pod_cidr);
    if (services->list[0].ip.family != pods->list[0].ip.family || services->n > pods->n)
        return err_set(e, -EINVAL, "--service-cidr %s: Services need the families that --pod-cidr %s has, in the same order", c->service_cidr,
                       c->pod_cidr);
    return 0;
}

static int check_ranges(struct arena *a, const struct cluster_config *c, struct prefixes *ret_services, struct err *e)
{
    struct prefixes services, pods, nodes = {0};
    int r = ranges_parse(a, "service-cidr", c->service_cidr, &services, e);
    if (r == 0)
        r = ranges_parse(a, "pod-cidr", c->pod_cidr, &pods, e);
    if (r == 0 && c->node_cidr)
        r = ranges_parse(a, "node-cidr", c->node_cidr, &nodes, e);
    if (r < 0)
        return r;
    if (overlap(&services, &pods))
        return err_set(e, -EINVAL, "--service-cidr %s and --pod-cidr %s overlap", c->service_cidr, c->pod_cidr);
    if (overlap(&nodes, &services) || overlap(&nodes, &pods))
        return err_set(e, -EINVAL, "--node-cidr %s overlaps with --service-cidr %s or --pod-cidr %s", c->node_cidr,
                       c->service_cidr, c->pod_cidr);
    *ret_services = services;
    return check_pods(c, &pods, &services, e);
}

/* One address of each family at most, the first of the first family. */
static bool are_addresses(struct arena *a, const char *list, const char *like, struct ip *ret, size_t *ret_n)
{
    size_t n = 0;
    for (const char **i = list_items(a, list); *i; i++)
        if (n == 2 || !ip_parse(str_of(*i), &ret[n++]))
            return false;
    *ret_n = n;
    return n && (n == 1 || ret[0].family != ret[1].family) && has_family(list_first(a, like), ret[0].family);
}

static int check_dns(struct arena *a, const struct cluster_config *c, const struct prefixes *services, struct err *e)
{
    struct ip dns[2];
    size_t n;
    bool good = are_addresses(a, c->dns_ip, c->service_cidr, dns, &n);
    for (size_t i = 0; good && i < n; i++) {
        const struct prefix *range = range_of(services, dns[i].family);
        struct ip first = {0}, last = {0};
        if (range) {
            first = prefix_network(range);
            last = prefix_last(range);
        }
        good = range && prefix_has(range, &dns[i]) && !ip_equal(&dns[i], &first) && !ip_equal(&dns[i], &last);
    }
    return good ? 0 : err_set(e, -EINVAL, "--dns-ip %s: expected an address within --service-cidr %s", c->dns_ip, c->service_cidr);
}

static int check_addresses(const struct cluster_config *c, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct prefixes services;
    struct ip node[2];
    size_t n;
    int r = check_ranges(&a, c, &services, e);
    if (r == 0)
        r = check_dns(&a, c, &services, e);
    if (r == 0 && !are_addresses(&a, c->advertise, c->pod_cidr, node, &n))
        r = err_set(e, -EINVAL, "--advertise-address %s: expected an %s address of this machine, or one of each family", c->advertise,
                    has_family(list_first(&a, c->pod_cidr), AF_INET6) ? "IPv6" : "IPv4");
    return r;
}

int cluster_config_check(const struct cluster_config *c, struct err *e)
{
    const struct {
        const char *flag;
        int64_t port;
    } ports[] = {{"port", c->port},
                 {"kubelet-port", c->kubelet_port},
                 {"proxy-health-port", c->proxy_health_port},
                 {"proxy-metrics-port", c->proxy_metrics_port}};
    int r = check_addresses(c, e);
    if (r < 0)
        return r;
    if (strcmp(c->cni_plugin, "cube-cni") && strcmp(c->cni_plugin, "reference"))
        return err_set(e, -EINVAL, "--cni-plugin %s: expected cube-cni or reference", c->cni_plugin);
    if (!c->etcd_servers && (c->etcd_prefix || c->etcd_ca || c->etcd_cert || c->etcd_key))
        return err_set(e, -EINVAL, "--etcd-prefix and the files for etcd: --etcd-servers is missing");
    if (!c->etcd_cert != !c->etcd_key)
        return err_set(e, -EINVAL, "--etcd-certfile and --etcd-keyfile go together");
    if (c->overlay_backend && strcmp(c->overlay_backend, "host-gw") && strcmp(c->overlay_backend, "vxlan"))
        return err_set(e, -EINVAL, "--overlay-backend %s: expected host-gw or vxlan", c->overlay_backend);
    for (size_t i = 0; i < ARRAY_SIZE(ports); i++)
        if (ports[i].port < 1 || ports[i].port > 65535)
            return err_set(e, -EINVAL, "--%s %lld: expected 1 to 65535", ports[i].flag, (long long)ports[i].port);
    if (c->ingress_http < 1 || c->ingress_http > 65535 || c->ingress_https < 1 || c->ingress_https > 65535)
        return err_set(e, -EINVAL, "--ingress-http-port and --ingress-https-port: expected 1 to 65535");
    const char *const files[][2] = {{"authentication-config", c->authn_config}, {"authorization-config", c->authz_config}};
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        if (files[i][1] && files[i][1][0] != '/')
            return err_set(e, -EINVAL, "--%s %s: expected an absolute path, since it is read again later", files[i][0], files[i][1]);
    if (c->node_grace && c->node_grace < SECONDS(2))
        return err_set(e, -EINVAL, "--node-monitor-grace-period: expected at least 2s");
    return parts_check(c, e);
}

static const char *saved_path(struct arena *a, const struct cluster_config *c)
{
    return arena_printf(a, "%s/cluster.conf", c->data_dir ? c->data_dir : "/var/lib/cube").p;
}

int cluster_config_load(struct arena *a, struct cluster_config *c, struct err *e)
{
    struct cluster_config saved = {0};
    struct flag from[] = {CLUSTER_FLAGS(&saved), {0}}, to[] = {CLUSTER_FLAGS(c), {0}};
    int r = flags_load(a, from, saved_path(a, c), e);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    for (size_t i = 0; from[i].name; i++) {
        if (from[i].kind == FLAG_STRING && !*(const char **)to[i].to)
            *(const char **)to[i].to = *(const char **)from[i].to;
        else if ((from[i].kind == FLAG_INT || from[i].kind == FLAG_DURATION) && !*(int64_t *)to[i].to)
            *(int64_t *)to[i].to = *(int64_t *)from[i].to;
    }
    return 0;
}

int cluster_config_save(const struct cluster_config *c, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct cluster_config copy = *c;
    struct flag flags[] = {CLUSTER_FLAGS(&copy), {0}};
    return flags_save(flags, saved_path(&a, c), e);
}

static const char *pid_path(struct arena *a, const struct cluster_config *c)
{
    return arena_printf(a, "%s/cube.pid", c->data_dir).p;
}

static pid_t pid_in(int fd)
{
    char text[32] = {0};
    int64_t pid = 0;
    ssize_t n = os_pread(fd, text, sizeof(text) - 1, 0);
    if (n <= 0 || str_to_i64(str_trim(str_of(text)), &pid) < 0)
        return 0;
    return (pid_t)pid;
}

/* The words of /proc/PID/stat after "PID (name)", proc(5): its third field is word 0. */
enum { STAT_STATE = 0, STAT_FLAGS = 6, STAT_SIGNAL = 28 };

/* A killed process keeps its lock until its last thread has ended, and who looks whether one runs has it for a moment. It is gone
 * for us from the kill on: a pending SIGKILL, then PF_EXITING (linux/sched.h), then a zombie. */
static bool pid_is_gone(struct arena *a, pid_t pid)
{
    struct str text, word;
    if (pid <= 0 || os_read_file(a, arena_printf(a, "/proc/%d/stat", (int)pid).p, 4096, &text) < 0)
        return true;
    ssize_t name_end = str_rfind(text, ')');
    if (name_end < 0)
        return true;
    text = str_trim(str_from(text, (size_t)(name_end + 1)));
    for (int i = STAT_STATE; str_next(&text, ' ', &word); i++) {
        int64_t bits = 0;
        if (i == STAT_STATE && (str_eq(word, STR("Z")) || str_eq(word, STR("X"))))
            return true;
        if (i == STAT_FLAGS && str_to_i64(word, &bits) == 0 && (bits & 0x4))
            return true;
        if (i == STAT_SIGNAL && str_to_i64(word, &bits) == 0 && (bits & (1 << (SIGKILL - 1))))
            return true;
    }
    return false;
}

int cluster_lock(const struct cluster_config *c, int *ret_fd, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *path = pid_path(&a, c);
    int fd = os_open(path, O_RDWR | O_CREAT, 0644);
    if (fd < 0)
        return err_set(e, fd, "cannot write %s: %s", path, strerror(-fd));
    struct mono deadline = mono_add(os_mono(), SECONDS(10));
    int r;
    while ((r = os_flock(fd)) < 0 && pid_is_gone(&a, pid_in(fd)) && os_mono().ns < deadline.ns)
        if (fiber_sleep(MILLISECONDS(10)) < 0)
            break;
    if (r < 0) {
        pid_t pid = pid_in(fd);
        os_close(fd);
        return err_set(e, -EBUSY, "a cluster with --data-dir %s runs already (pid %d)", c->data_dir, (int)pid);
    }
    struct str text = arena_printf(&a, "%d\n", (int)getpid());
    os_ftruncate(fd, 0);
    os_pwrite(fd, text.p, text.n, 0);
    *ret_fd = fd;
    return 0;
}

pid_t cluster_pid(const struct cluster_config *c)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    int fd = os_open(pid_path(&a, c), O_RDWR, 0);
    if (fd < 0)
        return 0;
    pid_t pid = os_flock(fd) < 0 ? pid_in(fd) : 0;
    os_close(fd);
    return pid_is_gone(&a, pid) ? 0 : pid;
}
