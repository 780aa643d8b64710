/* SPDX-License-Identifier: Apache-2.0 */
/* The Linux face of a machine of the mind: files on the simulated disk; what has no file has no effect. */
#include <fcntl.h>
#include <stdio.h>

#include "base/os.h"
#include "grpc.h"
#include "sim/hollow-internal.h"
#include "sim/world.h"

#define GIB (INT64_C(1) << 30)

static struct hollow *hollow_of(struct host *h)
{
    return CONTAINER_OF(h, struct hollow, host);
}

/* ---- what it is ------------------------------------------------------------------------------------------------------- */

static int facts(struct host *host, struct arena *a, struct host_facts *ret, struct err *e UNUSED)
{
    struct hollow *h = hollow_of(host);
    *ret = (struct host_facts){
        .cpus = 8,
        .memory = 32 * GIB,
        .fs_bytes = 100 * GIB,
        .fs_inodes = 1 << 20,
        .max_pids = 32768,
        .machine_id = arena_str(a, str_of(h->name)),
        .system_uuid = arena_str(a, str_of(h->name)),
        .boot_id = arena_printf(a, "%s-%u", h->name, h->boot),
        .kernel = STR("6.1.0"),
        .os_image = STR("a machine of the mind"),
        .arch = STR("amd64"),
        .cgroup2 = true,
    };
    return 0;
}

static int usage(struct host *host UNUSED, struct host_usage *ret)
{
    *ret = (struct host_usage){
        .at = os_wall(),
        .booted = {SECONDS(1)},
        .cpu_ns = os_mono().ns / 10,
        .memory_available = 24 * GIB,
        .memory_working_set = 8 * GIB,
        .memory_usage = 8 * GIB,
        .memory_rss = 4 * GIB,
        .fs_bytes = 100 * GIB,
        .fs_available = 80 * GIB,
        .fs_inodes = 1 << 20,
        .fs_inodes_free = 1 << 19,
        .pids = 200,
        .max_pids = 32768,
        .interface = "eth0",
    };
    return 0;
}

/* ---- files -------------------------------------------------------------------------------------------------------------- */

static int make_dir(struct host *host UNUSED, const char *path, unsigned mode, struct err *e)
{
    int r = os_mkdir_all(path, mode);
    return r < 0 ? err_set(e, r, "cannot make %s: %s", path, strerror(-r)) : 0;
}

static int remove_tree(struct host *host UNUSED, const char *path, struct err *e UNUSED)
{
    sim_disk_remove(path);
    return 0;
}

static int put_file(const char *path, struct str content, unsigned mode)
{
    int fd = os_open(path, O_RDWR | O_CREAT | O_TRUNC, mode);
    if (fd < 0)
        return fd;
    ssize_t n = os_pwrite(fd, content.p, content.n, 0);
    os_close(fd);
    return n < 0 ? (int)n : 0;
}

/* The runtime reads its network's configuration from the folder that the kubelet writes it to. */
static void learn_network(struct hollow *h, struct str content)
{
    static const char key[] = "\"subnet\":\"";
    unsigned a, b, c, d;
    const char *at = content.n ? memmem(content.p, content.n, key, sizeof(key) - 1) : NULL;
    if (at && sscanf(at + sizeof(key) - 1, "%u.%u.%u.%u/", &a, &b, &c, &d) == 4)
        h->net = a << 24 | b << 16 | c << 8 | d;
}

static int write_file(struct host *host, const char *path, struct str content, unsigned mode, struct err *e)
{
    int r = put_file(path, content, mode);
    if (r == 0 && strstr(path, "/cni/"))
        learn_network(hollow_of(host), content);
    return r < 0 ? err_set(e, r, "cannot write %s: %s", path, strerror(-r)) : 0;
}

static int read_file(struct host *host UNUSED, struct arena *a, const char *path, size_t max, struct str *ret, struct err *e)
{
    int r = os_read_file(a, path, max, ret);
    return r < 0 ? err_set(e, r, "cannot read %s: %s", path, strerror(-r)) : 0;
}

static int read_tail(struct host *host UNUSED, struct arena *a, const char *path, size_t max, struct str *ret)
{
    struct str all;
    int r = os_read_file(a, path, 1 << 20, &all);
    if (r == 0)
        *ret = all.n > max ? str_from(all, all.n - max) : all;
    return r;
}

static int list_dir(struct host *host UNUSED, struct arena *a, const char *path, char ***ret)
{
    return os_list_dir(a, path, ret);
}

static int make_symlink(struct host *host UNUSED, const char *target, const char *path)
{
    return put_file(path, str_of(target), 0777);
}

static bool has_content(const char *path, struct str content)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str is = STR_NULL;
    return os_read_file(&a, path, 16 << 20, &is) == 0 && str_eq(is, content);
}

static int payload(struct host *host UNUSED, const char *dir, const struct payload *p, bool *ret_changed, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    bool changed = false;
    int r = os_mkdir_all(dir, 0755);
    for (size_t i = 0; r == 0 && i < p->n; i++) {
        struct str path = arena_printf(&a, "%s/" STR_FMT, dir, STR_ARG(p->files[i].path));
        if (has_content(path.p, p->files[i].content))
            continue;
        changed = true;
        r = os_mkdir_all(arena_cstr(&a, str_slice(path, 0, (size_t)str_rfind(path, '/'))), 0755);
        if (r == 0)
            r = put_file(path.p, p->files[i].content, p->files[i].mode);
    }
    if (ret_changed)
        *ret_changed = changed;
    return r < 0 ? err_set(e, r, "cannot fill %s: %s", dir, strerror(-r)) : 0;
}

static int tmpfs(struct host *host, const char *path, int64_t size UNUSED, struct err *e)
{
    return make_dir(host, path, 0755, e);
}

static int own(struct host *host UNUSED, const char *path UNUSED, int64_t gid UNUSED, bool always UNUSED, struct err *e UNUSED)
{
    return 0;
}

static int host_path(struct host *host UNUSED, const char *path UNUSED, const char *type UNUSED, struct err *e UNUSED)
{
    return 0;
}

static int subpath(struct host *host, const char *volume UNUSED, const char *sub UNUSED, const char *target, struct err *e)
{
    return make_dir(host, target, 0755, e);
}

/* ---- cgroups: as if they were there ------------------------------------------------------------------------------------ */

static int cgroup_set(struct host *host UNUSED, const char *path UNUSED, const struct cgroup_limits *l UNUSED,
                      struct err *e UNUSED)
{
    return 0;
}

static int cgroup_remove(struct host *host UNUSED, const char *path UNUSED, struct err *e UNUSED)
{
    return 0;
}

static bool cgroup_exists(struct host *host UNUSED, const char *path UNUSED)
{
    return true;
}

static int cgroup_list(struct host *host UNUSED, struct arena *a, const char *path UNUSED, char ***ret)
{
    *ret = ARENA_ARRAY(a, char *, 1);
    return 0;
}

/* ---- processes ------------------------------------------------------------------------------------------------------------ */

static struct container *process_find(struct hollow *h, int pid)
{
    LIST_EACH(&h->containers, l)
    {
        struct container *c = LIST_ENTRY(l, struct container, link);
        if (c->pid == pid && c->state == E_runtime_v1_CONTAINER_RUNNING)
            return c;
    }
    return NULL;
}

static int wait_process(struct host *host, int pid, struct mono deadline)
{
    struct container *c = process_find(hollow_of(host), pid);
    if (!c)
        return -ESRCH;
    for (; c; c = process_find(hollow_of(host), pid)) {
        int r = waitq_wait(&c->ended, deadline);
        if (r < 0)
            return r;
    }
    return 0;
}

static int watch_dir(struct host *host UNUSED, const char *path UNUSED, struct mono deadline)
{
    int r = fiber_sleep_until(deadline);
    return r < 0 ? r : -ETIMEDOUT;
}

static void keep(struct host *host UNUSED)
{
}

const struct host_ops hollow_host_ops = {
    .facts = facts,
    .usage = usage,
    .make_dir = make_dir,
    .remove_tree = remove_tree,
    .write_file = write_file,
    .read_file = read_file,
    .read_tail = read_tail,
    .list_dir = list_dir,
    .symlink = make_symlink,
    .payload = payload,
    .tmpfs = tmpfs,
    .own = own,
    .host_path = host_path,
    .subpath = subpath,
    .cgroup_set = cgroup_set,
    .cgroup_remove = cgroup_remove,
    .cgroup_exists = cgroup_exists,
    .cgroup_list = cgroup_list,
    .wait_process = wait_process,
    .watch_dir = watch_dir,
    .free = keep,
};
