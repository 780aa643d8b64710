/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/host.h"

#include "base/os.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static bool take_address(const struct ifaddrs *i, bool six, struct ip *ret)
{
    *ret = (struct ip){.family = six ? AF_INET6 : AF_INET};
    if (!i->ifa_addr || i->ifa_addr->sa_family != (six ? AF_INET6 : AF_INET) || !(i->ifa_flags & IFF_UP))
        return false;
    if (six)
        memcpy(ret->b, &((struct sockaddr_in6 *)(void *)i->ifa_addr)->sin6_addr, 16);
    else
        memcpy(ret->b, &((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr, 4);
    return true;
}

struct ips host_addresses(bool six, const char *except, struct arena *a)
{
    struct ifaddrs *all = NULL;
    struct ips ret = {0};
    size_t n = 0;
    if (getifaddrs(&all) < 0)
        return ret;
    for (struct ifaddrs *i = all; i; i = i->ifa_next)
        n++;
    ret.list = ARENA_ARRAY(a, struct ip, n);
    for (struct ifaddrs *i = all; i; i = i->ifa_next)
        if (!(except && !strcmp(i->ifa_name, except)) && take_address(i, six, &ret.list[ret.n]))
            ret.n++;
    freeifaddrs(all);
    return ret;
}

static void sysctl_path(const char *name, char *ret, size_t size)
{
    snprintf(ret, size, "/proc/sys/%s", name);
}

int host_sysctl_read(const char *name, int64_t *ret)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char path[256];
    struct str text;
    sysctl_path(name, path, sizeof(path));
    int r = os_read_file(&a, path, 256, &text);
    return r < 0 ? r : str_to_i64(str_trim(text), ret);
}

int host_sysctl_write(const char *name, int64_t value)
{
    char path[256], text[32];
    int64_t now;
    int r = host_sysctl_read(name, &now);
    if (r < 0 || now == value)
        return r;
    sysctl_path(name, path, sizeof(path));
    int fd = os_open(path, O_WRONLY, 0);
    if (fd < 0)
        return fd;
    int n = snprintf(text, sizeof(text), "%lld", (long long)value);
    ssize_t w = os_pwrite(fd, text, (size_t)n, 0);
    os_close(fd);
    return w < 0 ? (int)w : 0;
}

bool host_has_ipv6(void)
{
    int64_t disabled = 0;
    if (access("/proc/net/if_inet6", R_OK) < 0)
        return false;
    return host_sysctl_read("net/ipv6/conf/all/disable_ipv6", &disabled) < 0 || !disabled;
}

/* A container's settings, or a kernel's without them: what is there will do. */
static bool is_not_ours(int r)
{
    return r == -EACCES || r == -EROFS || r == -EPERM || r == -ENOENT;
}

/* Only ever up: somebody may have a reason for more. */
static int raise_max(const struct proxy_conntrack *c, struct err *e)
{
    int64_t cores = MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L), want = MAX(c->max_per_core * cores, c->min), now = 0;
    if (!c->max_per_core || (host_sysctl_read("net/netfilter/nf_conntrack_max", &now) == 0 && now >= want))
        return 0;
    int r = host_sysctl_write("net/netfilter/nf_conntrack_max", want);
    return r < 0 && !is_not_ours(r) ? err_set(e, r, "net/netfilter/nf_conntrack_max: %s", strerror(-r)) : 0;
}

/* Before the first rule that asks for connections, the kernel may not have loaded what tracks them, nor its settings. */
static void load_conntrack(void)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    int64_t now;
    if (host_sysctl_read("net/netfilter/nf_conntrack_max", &now) == -ENOENT)
        os_run(&a, (const char *const[]){"modprobe", "nf_conntrack", NULL}, NULL, NULL, mono_add(os_mono(), SECONDS(10)));
}

int host_conntrack(const struct proxy_conntrack *c, struct err *e)
{
    const struct {
        const char *name;
        int64_t value;
    } settings[] = {
        {"net/netfilter/nf_conntrack_tcp_timeout_established", c->tcp_established / NSEC_PER_SEC},
        {"net/netfilter/nf_conntrack_tcp_timeout_close_wait", c->tcp_close_wait / NSEC_PER_SEC},
        {"net/netfilter/nf_conntrack_tcp_be_liberal", c->tcp_liberal},
        {"net/netfilter/nf_conntrack_udp_timeout", c->udp / NSEC_PER_SEC},
        {"net/netfilter/nf_conntrack_udp_timeout_stream", c->udp_stream / NSEC_PER_SEC},
    };
    load_conntrack();
    int r = raise_max(c, e);
    for (size_t i = 0; i < ARRAY_SIZE(settings) && r == 0; i++) {
        r = settings[i].value ? host_sysctl_write(settings[i].name, settings[i].value) : 0;
        r = is_not_ours(r) ? 0 : r;
        if (r < 0)
            err_set(e, r, "%s: %s", settings[i].name, strerror(-r));
    }
    return r;
}
