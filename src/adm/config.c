/* SPDX-License-Identifier: Apache-2.0 */
/* Defaults and checks of a cluster's configuration, and its lock file. */
#include "adm/cluster.h"
#include "adm/options.h"
#include "adm/parts.h"

#include "base/fiber.h"
#include "base/os.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* The address that traffic to the world would leave from; else the first that is up and no loopback. */
static const char *find_address(struct arena *a)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)}, from = {0};
    socklen_t n = sizeof(from);
    char text[INET_ADDRSTRLEN];
    inet_pton(AF_INET, "198.51.100.1", &to.sin_addr); /* TEST-NET-2: nothing is sent, only a route looked up */
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool found = fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
                 getsockname(fd, (struct sockaddr *)&from, &n) == 0;
    if (fd >= 0)
        close(fd);
    if (found)
        return arena_cstr(a, str_of(inet_ntop(AF_INET, &from.sin_addr, text, sizeof(text))));
    struct ifaddrs *all = NULL;
    const char *first = NULL;
    if (getifaddrs(&all) == 0)
        for (struct ifaddrs *i = all; i && !first; i = i->ifa_next)
            if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && (i->ifa_flags & IFF_UP) &&
                !(i->ifa_flags & IFF_LOOPBACK))
                first = arena_cstr(a, str_of(inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr,
                                                       text, sizeof(text))));
    freeifaddrs(all);
    return first;
}

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

int cluster_config_complete(struct arena *a, struct cluster_config *c, struct err *e)
{
    const struct {
        const char **to;
        const char *value;
    } texts[] = {
        {&c->data_dir, "/var/lib/cube"},      {&c->run_dir, "/run/cube"},
        {&c->conf_dir, "/etc/kubernetes"},    {&c->service_cidr, "10.96.0.0/12"},
        {&c->pod_cidr, "10.244.0.0/16"},      {&c->dns_ip, "10.96.0.10"},
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
    c->ingress_http = c->ingress_http ? c->ingress_http : 80;
    c->ingress_https = c->ingress_https ? c->ingress_https : 443;
    c->node_name = c->node_name ? c->node_name : host_name(a);
    c->advertise = c->advertise ? c->advertise : find_address(a);
    if (!c->advertise)
        return err_set(e, -EADDRNOTAVAIL, "no network interface with an IPv4 address is up; name one with "
                                          "--advertise-address");
    return 0;
}

bool range4_parse(const char *text, struct range4 *ret)
{
    struct str ip, bits;
    struct in_addr addr;
    char ip_text[INET_ADDRSTRLEN];
    int64_t n;
    if (!str_cut(str_of(text), '/', &ip, &bits) || ip.n >= sizeof(ip_text) || str_to_i64(bits, &n) < 0 || n < 1 || n > 30)
        return false;
    snprintf(ip_text, sizeof(ip_text), STR_FMT, STR_ARG(ip));
    if (inet_pton(AF_INET, ip_text, &addr) != 1)
        return false;
    uint32_t mask = UINT32_MAX << (32 - n);
    ret->bits = (int)n;
    ret->first = ntohl(addr.s_addr) & mask;
    ret->last = ret->first | ~mask;
    return true;
}

static int bad_cidr(const char *flag, const char *value, struct err *e)
{
    return err_set(e, -EINVAL, "--%s %s: expected an IPv4 range like 10.244.0.0/16", flag, value);
}

static bool overlap(const struct range4 *a, const struct range4 *b)
{
    return a->first <= b->last && b->first <= a->last;
}

int cluster_config_check(const struct cluster_config *c, struct err *e)
{
    struct range4 services, pods, nodes;
    struct in_addr dns, node;
    if (!range4_parse(c->service_cidr, &services))
        return bad_cidr("service-cidr", c->service_cidr, e);
    if (!range4_parse(c->pod_cidr, &pods))
        return bad_cidr("pod-cidr", c->pod_cidr, e);
    if (overlap(&services, &pods))
        return err_set(e, -EINVAL, "--service-cidr %s and --pod-cidr %s overlap", c->service_cidr, c->pod_cidr);
    if (c->node_cidr && !range4_parse(c->node_cidr, &nodes))
        return bad_cidr("node-cidr", c->node_cidr, e);
    if (c->node_cidr && (overlap(&nodes, &services) || overlap(&nodes, &pods)))
        return err_set(e, -EINVAL, "--node-cidr %s overlaps with --service-cidr %s or --pod-cidr %s", c->node_cidr,
                       c->service_cidr, c->pod_cidr);
    if (inet_pton(AF_INET, c->dns_ip, &dns) != 1 || ntohl(dns.s_addr) <= services.first ||
        ntohl(dns.s_addr) >= services.last)
        return err_set(e, -EINVAL, "--dns-ip %s: expected an address within --service-cidr %s", c->dns_ip, c->service_cidr);
    if (inet_pton(AF_INET, c->advertise, &node) != 1)
        return err_set(e, -EINVAL, "--advertise-address %s: expected an IPv4 address of this machine", c->advertise);
    if (strcmp(c->cni_plugin, "cube-cni") && strcmp(c->cni_plugin, "reference"))
        return err_set(e, -EINVAL, "--cni-plugin %s: expected cube-cni or reference", c->cni_plugin);
    if (c->overlay_backend && strcmp(c->overlay_backend, "host-gw") && strcmp(c->overlay_backend, "vxlan"))
        return err_set(e, -EINVAL, "--overlay-backend %s: expected host-gw or vxlan", c->overlay_backend);
    if (c->port < 1 || c->port > 65535)
        return err_set(e, -EINVAL, "--port %lld: expected 1 to 65535", (long long)c->port);
    if (c->ingress_http < 1 || c->ingress_http > 65535 || c->ingress_https < 1 || c->ingress_https > 65535)
        return err_set(e, -EINVAL, "--ingress-http-port and --ingress-https-port: expected 1 to 65535");
    if (c->kubelet_port < 1 || c->kubelet_port > 65535)
        return err_set(e, -EINVAL, "--kubelet-port %lld: expected 1 to 65535", (long long)c->kubelet_port);
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
