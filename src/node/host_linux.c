/* SPDX-License-Identifier: Apache-2.0 */
/* The real machine: facts from /proc and /sys, plain files. */
#include "base/fiber.h"
#include "base/os.h"
#include "node/host.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

struct linux_host {
    struct host base;
    char *root_dir;
};

static struct linux_host *linux_of(struct host *h)
{
    return CONTAINER_OF(h, struct linux_host, base);
}

/* ---- small files of /proc and /sys ----------------------------------------------------------------------- */

static struct str slurp(struct arena *a, const char *path)
{
    struct str s;
    return linux_read_file(NULL, a, path, 1 << 20, &s, NULL) == 0 ? s : STR_NULL;
}

static struct str slurp_line(struct arena *a, const char *path)
{
    return str_trim(slurp(a, path));
}

/* The number after "key" in lines "key   123 kB". */
static int64_t field(struct str text, const char *key)
{
    struct str line, k = str_of(key);
    while (str_next(&text, '\n', &line))
        if (str_starts(line, k)) {
            line = str_trim(str_from(line, k.n));
            size_t n = 0;
            while (n < line.n && line.p[n] >= '0' && line.p[n] <= '9')
                n++;
            int64_t v;
            return str_to_i64(str_slice(line, 0, n), &v) == 0 ? v : -1;
        }
    return -1;
}

static struct str os_image(struct arena *a)
{
    struct str text = slurp(a, "/etc/os-release"), line;
    while (str_next(&text, '\n', &line))
        if (str_starts(line, STR("PRETTY_NAME="))) {
            line = str_trim(str_from(line, 12));
            if (line.n >= 2 && (line.p[0] == '"' || line.p[0] == '\''))
                line = str_slice(line, 1, line.n - 2);
            return line;
        }
    return STR("Linux");
}

static struct str go_arch(struct arena *a, const char *machine)
{
    static const char *const names[][2] = {
        {"x86_64", "amd64"}, {"aarch64", "arm64"}, {"armv7l", "arm"}, {"i686", "386"}, {"ppc64le", "ppc64le"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (!strcmp(machine, names[i][0]))
            return str_of(names[i][1]);
    return arena_str(a, str_of(machine));
}

static int linux_facts(struct host *h, struct arena *a, struct host_facts *ret, struct err *e)
{
    struct utsname u;
    struct statvfs fs;
    struct str mem = slurp(a, "/proc/meminfo");
    struct host_facts f = {0};
    f.memory = field(mem, "MemTotal:") * 1024;
    f.swap = field(mem, "SwapTotal:") * 1024;
    if (f.memory <= 0)
        return err_set(e, -EIO, "cannot read the size of the memory from /proc/meminfo");
    f.cpus = MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L);
    if (statvfs(linux_of(h)->root_dir, &fs) < 0)
        return err_set(e, -errno, "cannot look at the file system of %s: %s", linux_of(h)->root_dir, strerror(errno));
    f.fs_bytes = (int64_t)fs.f_blocks * (int64_t)fs.f_frsize;
    f.fs_inodes = (int64_t)fs.f_files;
    if (str_to_i64(slurp_line(a, "/proc/sys/kernel/pid_max"), &f.max_pids) != 0)
        f.max_pids = -1;
    f.machine_id = slurp_line(a, "/etc/machine-id");
    if (!f.machine_id.n)
        f.machine_id = slurp_line(a, "/var/lib/dbus/machine-id");
    f.system_uuid = slurp_line(a, "/sys/class/dmi/id/product_uuid");
    if (!f.system_uuid.n)
        f.system_uuid = f.machine_id;
    f.boot_id = slurp_line(a, "/proc/sys/kernel/random/boot_id");
    f.os_image = os_image(a);
    if (uname(&u) == 0) {
        f.kernel = arena_str(a, str_of(u.release));
        f.arch = go_arch(a, u.machine);
    }
    f.cgroup2 = linux_cgroup2();
    f.cgroups_missing = linux_cgroup_missing(a);
    *ret = f;
    return 0;
}

/* ---- usage ----------------------------------------------------------------------------------------------- */

static void usage_memory(struct arena *a, struct host_usage *u)
{
    struct str mem = slurp(a, "/proc/meminfo"), vm = slurp(a, "/proc/vmstat");
    int64_t total = field(mem, "MemTotal:") * 1024, free_ = field(mem, "MemFree:") * 1024;
    int64_t inactive = field(mem, "Inactive(file):") * 1024;
    u->memory_usage = total - free_;
    u->memory_working_set = MAX(u->memory_usage - inactive, (int64_t)0);
    u->memory_available = total - u->memory_working_set; /* upstream's definition: inactive page cache is free */
    u->memory_rss = (field(mem, "AnonPages:")) * 1024;
    u->swap_total = field(mem, "SwapTotal:") * 1024;
    u->swap_free = field(mem, "SwapFree:") * 1024;
    u->page_faults = field(vm, "pgfault ");
    u->major_page_faults = field(vm, "pgmajfault ");
}

static void usage_cpu(struct arena *a, struct host_usage *u)
{
    struct str stat = slurp(a, "/proc/stat");
    long hz = sysconf(_SC_CLK_TCK);
    unsigned long long t[8] = {0};
    if (stat.n && sscanf(stat.p, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2], &t[3], &t[4],
                         &t[5], &t[6], &t[7]) >= 4 && hz > 0)
        u->cpu_ns = (int64_t)((t[0] + t[1] + t[2] + t[5] + t[6] + t[7]) * (1000000000ULL / (unsigned long long)hz));
    int64_t btime = field(stat, "btime ");
    if (btime > 0)
        u->booted.ns = SECONDS(btime);
}

static void usage_pids(struct arena *a, struct host_usage *u)
{
    struct str load = slurp(a, "/proc/loadavg");
    unsigned running, all;
    if (load.n && sscanf(load.p, "%*f %*f %*f %u/%u", &running, &all) == 2)
        u->pids = all;
    if (str_to_i64(slurp_line(a, "/proc/sys/kernel/pid_max"), &u->max_pids) != 0)
        u->max_pids = -1;
}

static void usage_network(struct arena *a, struct host_usage *u)
{
    struct str routes = slurp(a, "/proc/net/route"), line, dev = slurp(a, "/proc/net/dev");
    char name[32], dest[16];
    while (!u->interface[0] && str_next(&routes, '\n', &line))
        if (line.n && line.n < 250 && sscanf(arena_cstr(a, line), "%31s %15s", name, dest) == 2 &&
            !strcmp(dest, "00000000"))
            snprintf(u->interface, sizeof(u->interface), "%s", name);
    while (u->interface[0] && str_next(&dev, '\n', &line)) {
        long long v[12];
        struct str before, after;
        if (str_cut(line, ':', &before, &after) && str_is(str_trim(before), u->interface) &&
            sscanf(arena_cstr(a, after), "%lld %lld %lld %lld %lld %lld %lld %lld %lld %lld %lld", &v[0], &v[1], &v[2],
                   &v[3], &v[4], &v[5], &v[6], &v[7], &v[8], &v[9], &v[10]) == 11) {
            u->rx_bytes = v[0];
            u->rx_errors = v[2];
            u->tx_bytes = v[8];
            u->tx_errors = v[10];
        }
    }
}

static int linux_usage(struct host *h, struct host_usage *ret)
{
    struct arena a = ARENA_INIT;
    struct statvfs fs;
    struct host_usage u = {.at = os_wall(), .cpu_ns = -1, .pids = -1, .max_pids = -1, .fs_bytes = -1,
                           .fs_available = -1, .fs_inodes = -1, .fs_inodes_free = -1};
    usage_memory(&a, &u);
    usage_cpu(&a, &u);
    usage_pids(&a, &u);
    usage_network(&a, &u);
    if (statvfs(linux_of(h)->root_dir, &fs) == 0) {
        u.fs_bytes = (int64_t)fs.f_blocks * (int64_t)fs.f_frsize;
        u.fs_available = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
        u.fs_inodes = (int64_t)fs.f_files;
        u.fs_inodes_free = (int64_t)fs.f_favail;
    }
    arena_done(&a);
    *ret = u;
    return 0;
}

/* ---- plain files ----------------------------------------------------------------------------------------- */

int linux_make_dir(struct host *h, const char *path, unsigned mode, struct err *e)
{
    bool there = access(path, F_OK) == 0;
    int r = os_mkdir_all(path, 0755);
    if (r == 0 && !there && chmod(path, mode) < 0) /* whatever our umask is */
        r = -errno;
    return r < 0 ? err_set(e, r, "cannot make the folder %s: %s", path, strerror(-r)) : 0;
}

int linux_write_file(struct host *h, const char *path, struct str content, unsigned mode, struct err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return err_set(e, -errno, "cannot write %s: %s", path, strerror(errno));
    int r = fchmod(fd, mode) < 0 ? -errno : 0;
    for (size_t done = 0; r == 0 && done < content.n;) {
        ssize_t n = write(fd, content.p + done, content.n - done);
        if (n < 0 && errno != EINTR)
            r = -errno;
        else if (n > 0)
            done += (size_t)n;
    }
    close(fd);
    return r < 0 ? err_set(e, r, "cannot write %s: %s", path, strerror(-r)) : 0;
}

static int read_fd(int fd, struct arena *a, size_t max, struct str *ret)
{
    struct buf b = BUF_INIT;
    for (;;) {
        char *p = buf_grow(&b, 8192);
        ssize_t n = read(fd, p, 8192);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || b.n + (size_t)n > max) {
            int r = n < 0 ? -errno : n > 0 ? -EFBIG : 0;
            if (r == 0)
                *ret = arena_str(a, buf_str(&b));
            buf_done(&b);
            return r;
        }
        b.n += (size_t)n;
    }
}

int linux_read_file(struct host *h, struct arena *a, const char *path, size_t max, struct str *ret, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : read_fd(fd, a, max, ret);
    if (fd >= 0)
        close(fd);
    return r < 0 ? err_set(e, r, "cannot read %s: %s", path, strerror(-r)) : 0;
}

static int linux_read_tail(struct host *h, struct arena *a, const char *path, size_t max, struct str *ret)
{
    struct stat st; /* containers choose what lies there: opening a FIFO would wait */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), r;
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        r = -EINVAL;
    else if ((size_t)st.st_size > max && lseek(fd, st.st_size - (off_t)max, SEEK_SET) < 0)
        r = -errno;
    else
        r = read_fd(fd, a, max + 65536, ret);
    close(fd);
    if (r == 0 && ret->n > max)
        *ret = str_from(*ret, ret->n - max);
    return r;
}

static int linux_list_dir(struct host *h, struct arena *a, const char *path, char ***ret)
{
    return os_list_dir(a, path, ret);
}

static int linux_symlink(struct host *h, const char *target, const char *path)
{
    if (symlink(target, path) == 0)
        return 0;
    if (errno != EEXIST)
        return -errno;
    unlink(path);
    return symlink(target, path) < 0 ? -errno : 0;
}

/* ---- waiting for the kernel ------------------------------------------------------------------------------ */

static int linux_wait_process(struct host *h, int pid, struct mono deadline)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return -errno;
    int r = os_wait_fd(fd, OS_READABLE, deadline);
    os_forget_fd(fd);
    close(fd);
    return r < 0 ? r : 0;
}

static int linux_watch_dir(struct host *h, const char *path, struct mono deadline)
{
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), r;
    if (fd < 0)
        return -errno;
    if (inotify_add_watch(fd, path, IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CLOSE_WRITE | IN_MODIFY) < 0)
        r = -errno;
    else
        r = os_wait_fd(fd, OS_READABLE, deadline);
    os_forget_fd(fd);
    close(fd);
    return r < 0 ? r : 0;
}

static void linux_free(struct host *h)
{
    struct linux_host *l = linux_of(h);
    free(l->root_dir);
    free(l);
}

static const struct host_ops linux_ops = {
    .facts = linux_facts,
    .usage = linux_usage,
    .make_dir = linux_make_dir,
    .remove_tree = linux_remove_tree,
    .write_file = linux_write_file,
    .read_file = linux_read_file,
    .read_tail = linux_read_tail,
    .list_dir = linux_list_dir,
    .symlink = linux_symlink,
    .payload = linux_payload,
    .tmpfs = linux_tmpfs,
    .own = linux_own,
    .host_path = linux_host_path,
    .subpath = linux_subpath,
    .open_log = linux_open_log,
    .stat = linux_stat,
    .mount = linux_mount,
    .mount_device = linux_mount_device,
    .resize = linux_resize,
    .unmount = linux_unmount,
    .share = linux_share,
    .space = linux_space,
    .du = linux_du,
    .cgroup_set = linux_cgroup_set,
    .cgroup_get = linux_cgroup_get,
    .cgroup_usage = linux_cgroup_usage,
    .cgroup_remove = linux_cgroup_remove,
    .cgroup_exists = linux_cgroup_exists,
    .cgroup_list = linux_cgroup_list,
    .masquerade = linux_masquerade,
    .masquerade_lost = linux_masquerade_lost,
    .wait_process = linux_wait_process,
    .watch_dir = linux_watch_dir,
    .free = linux_free,
};

struct host *host_linux_new(const char *root_dir)
{
    struct linux_host *l = NEW(struct linux_host);
    l->base.ops = &linux_ops;
    l->root_dir = xstrdup(root_dir);
    return &l->base;
}
