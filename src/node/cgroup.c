/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups of Pods and QoS levels, versions 1 and 2, with the cgroupfs driver: folders and small files. On a
 * machine that lacks one (but cpu and memory) the Pods run without its limits (restricted containers, old boards).
 */
#include "base/fiber.h"
#include "base/os.h"
#include "node/host.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#define MOUNT "/sys/fs/cgroup"
#define CGROUP2_MAGIC 0x63677270

bool linux_cgroup2(void)
{
    struct statfs fs;
    return statfs(MOUNT, &fs) == 0 && (unsigned long)fs.f_type == CGROUP2_MAGIC;
}

/* Writes a setting. What the kernel does not have (ENOENT) is passed over. */
static int put(const char *dir, const char *name, struct str value, struct err *e)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_set(e, -errno, "cannot open %s: %s", path, strerror(errno));
    int r = write(fd, value.p, value.n) < 0 ? -errno : 0;
    close(fd);
    return r < 0 ? err_set(e, r, "cannot write \"" STR_FMT "\" to %s: %s", STR_ARG(value), path, strerror(-r)) : 0;
}

static int put_int(const char *dir, const char *name, int64_t v, struct err *e)
{
    char text[32];
    snprintf(text, sizeof(text), "%lld", (long long)v);
    return put(dir, name, str_of(text), e);
}

/* The hierarchies beside each other in a version 1 mount: real folders (cpu,cpuacct and the like are links). A version
 * 2 tree without controllers may be among them (systemd's hybrid mode): runc makes its groups there as well. */
static int each_hierarchy(bool with_v2, int (*fn)(const char *hierarchy, const char *controller, void *arg), void *arg)
{
    struct arena a = ARENA_INIT;
    char **names;
    int r = os_list_dir(&a, MOUNT, &names);
    for (; r == 0 && *names; names++) {
        struct stat st;
        struct statfs fs;
        char path[512];
        snprintf(path, sizeof(path), MOUNT "/%s", *names);
        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && statfs(path, &fs) == 0 &&
            (with_v2 || (unsigned long)fs.f_type != CGROUP2_MAGIC))
            r = fn(path, *names, arg);
    }
    arena_done(&a);
    return r;
}

/* ---- making ---------------------------------------------------------------------------------------------- */

/* A new cpuset is empty and takes no process: it starts as its parent. */
static void inherit_cpuset(const char *parent, const char *dir)
{
    static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
    struct arena a = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        struct str have, up;
        if (linux_read_file(NULL, &a, arena_printf(&a, "%s/%s", dir, files[i]).p, 4096, &have, NULL) == 0 &&
            !str_trim(have).n &&
            linux_read_file(NULL, &a, arena_printf(&a, "%s/%s", parent, files[i]).p, 4096, &up, NULL) == 0)
            put(dir, files[i], str_trim(up), NULL);
    }
    arena_done(&a);
}

/* Makes hierarchy/path part by part. enter is called for each part that was made or found, with its parent. */
static int make_parts(const char *hierarchy, const char *path, void (*enter)(const char *parent, const char *dir),
                      struct err *e)
{
    struct arena a = ARENA_INIT;
    struct str rest = str_of(path), part, dir = str_of(hierarchy);
    int r = 0;
    while (r == 0 && str_next(&rest, '/', &part)) {
        if (!part.n)
            continue;
        struct str next = arena_printf(&a, STR_FMT "/" STR_FMT, STR_ARG(dir), STR_ARG(part));
        if (enter)
            enter(dir.p, NULL);
        if (mkdir(next.p, 0755) < 0 && errno != EEXIST)
            r = err_set(e, -errno, "cannot make the cgroup %s: %s", next.p, strerror(errno));
        else if (enter)
            enter(dir.p, next.p);
        dir = next;
    }
    arena_done(&a);
    return r;
}

static void enter_cpuset(const char *parent, const char *dir)
{
    if (dir)
        inherit_cpuset(parent, dir);
}

/* Version 2: what a parent does not hand down its children do not have. */
static void enter_v2(const char *parent, const char *dir)
{
    static const char *const controllers[] = {"+cpu", "+memory", "+pids", "+cpuset", "+io", "+hugetlb"};
    if (!dir)
        for (size_t i = 0; i < ARRAY_SIZE(controllers); i++)
            put(parent, "cgroup.subtree_control", str_of(controllers[i]), NULL);
}

struct setting {
    const char *path;
    const struct cgroup_limits *l;
    struct err *e;
};

static int set_v1_cpu(const char *dir, const struct cgroup_limits *l, struct err *e)
{
    int r = 0;
    if (l->cpu_shares >= 0)
        r = put_int(dir, "cpu.shares", l->cpu_shares, e);
    if (r == 0 && l->cpu_period > 0)
        r = put_int(dir, "cpu.cfs_period_us", l->cpu_period, e);
    if (r == 0 && l->cpu_quota >= 0)
        r = put_int(dir, "cpu.cfs_quota_us", l->cpu_quota == 0 ? -1 : l->cpu_quota, e);
    return r;
}

static int set_v1(const char *hierarchy, const char *controller, void *arg)
{
    struct setting *s = arg;
    char dir[4096];
    bool cpuset = !strcmp(controller, "cpuset");
    int r = make_parts(hierarchy, s->path, cpuset ? enter_cpuset : NULL, s->e);
    snprintf(dir, sizeof(dir), "%s%s", hierarchy, s->path);
    if (r == 0 && (!strcmp(controller, "cpu") || !strncmp(controller, "cpu,", 4)))
        r = set_v1_cpu(dir, s->l, s->e);
    else if (r == 0 && !strcmp(controller, "memory") && s->l->memory >= 0)
        r = put_int(dir, "memory.limit_in_bytes", s->l->memory == 0 ? -1 : s->l->memory, s->e);
    else if (r == 0 && !strcmp(controller, "pids") && s->l->pids > 0)
        r = put_int(dir, "pids.max", s->l->pids, s->e);
    return r;
}

static int set_v2(const char *path, const struct cgroup_limits *l, struct err *e)
{
    char dir[4096], text[64];
    int r = make_parts(MOUNT, path, enter_v2, e);
    snprintf(dir, sizeof(dir), MOUNT "%s", path);
    if (r == 0 && l->cpu_shares >= 0)
        r = put_int(dir, "cpu.weight", cpu_weight(l->cpu_shares), e);
    if (r == 0 && l->cpu_quota >= 0 && l->cpu_period > 0) {
        if (l->cpu_quota == 0)
            snprintf(text, sizeof(text), "max %lld", (long long)l->cpu_period);
        else
            snprintf(text, sizeof(text), "%lld %lld", (long long)l->cpu_quota, (long long)l->cpu_period);
        r = put(dir, "cpu.max", str_of(text), e);
    }
    if (r == 0 && l->memory >= 0)
        r = l->memory == 0 ? put(dir, "memory.max", STR("max"), e) : put_int(dir, "memory.max", l->memory, e);
    if (r == 0 && l->pids > 0)
        r = put_int(dir, "pids.max", l->pids, e);
    return r;
}

int linux_cgroup_set(struct host *h, const char *path, const struct cgroup_limits *l, struct err *e)
{
    struct setting s = {path, l, e};
    return linux_cgroup2() ? set_v2(path, l, e) : each_hierarchy(false, set_v1, &s);
}

/* ---- looking --------------------------------------------------------------------------------------------- */

/* Where to look: version 2's tree, or the memory (else cpu) hierarchy. */
static const char *main_tree(void)
{
    if (linux_cgroup2())
        return MOUNT;
    return access(MOUNT "/memory", F_OK) == 0 ? MOUNT "/memory" : MOUNT "/cpu";
}

static int64_t read_int(const char *path, const char *controller, const char *file, int64_t absent)
{
    struct arena a = ARENA_INIT;
    struct str text, first;
    int64_t n = absent;
    if (linux_read_file(NULL, &a, arena_printf(&a, "%s%s%s/%s", MOUNT, controller, path, file).p, 4096, &text, NULL) == 0) {
        text = str_trim(text);
        if (!str_next(&text, ' ', &first) || str_to_i64(first, &n) < 0)
            n = str_is(first, "max") ? 0 : absent;
    }
    arena_done(&a);
    return n;
}

/* "quota period" of cpu.max */
static int64_t read_period(const char *path)
{
    struct arena a = ARENA_INIT;
    struct str text, quota, period;
    int64_t n = -1;
    if (linux_read_file(NULL, &a, arena_printf(&a, "%s%s/cpu.max", MOUNT, path).p, 4096, &text, NULL) == 0 &&
        str_cut(str_trim(text), ' ', &quota, &period))
        str_to_i64(period, &n);
    arena_done(&a);
    return n;
}

static void get_v1(const char *path, struct cgroup_state *ret)
{
    int64_t quota = read_int(path, "/cpu", "cpu.cfs_quota_us", -2), memory = read_int(path, "/memory", "memory.limit_in_bytes", -1);
    ret->limits.cpu_shares = read_int(path, "/cpu", "cpu.shares", -1);
    ret->limits.cpu_quota = quota == -2 ? -1 : MAX(quota, (int64_t)0);
    ret->limits.cpu_period = read_int(path, "/cpu", "cpu.cfs_period_us", -1);
    ret->limits.memory = memory >= INT64_MAX - (1 << 20) ? 0 : memory; /* the kernel's "none", rounded down to pages */
    ret->memory_usage = read_int(path, "/memory", "memory.usage_in_bytes", -1);
    ret->pids = read_int(path, "/pids", "pids.current", -1);
}

static void get_v2(const char *path, struct cgroup_state *ret)
{
    int64_t weight = read_int(path, "", "cpu.weight", -1);
    ret->limits.cpu_shares = weight > 0 ? 2 + (weight - 1) * 262142 / 9999 : -1;
    ret->limits.cpu_quota = read_int(path, "", "cpu.max", -1);
    ret->limits.cpu_period = read_period(path);
    ret->limits.memory = read_int(path, "", "memory.max", -1);
    ret->memory_usage = read_int(path, "", "memory.current", -1);
    ret->pids = read_int(path, "", "pids.current", -1);
}

int linux_cgroup_get(struct host *h, const char *path, struct cgroup_state *ret)
{
    struct cgroup_state s = {CGROUP_LIMITS_NONE, -1, -1};
    if (!linux_cgroup_exists(h, path))
        return -ENOENT;
    if (linux_cgroup2())
        get_v2(path, &s);
    else
        get_v1(path, &s);
    *ret = s;
    return 0;
}

static bool has_controller(struct str v2, const char *name)
{
    char path[64];
    struct str rest = str_trim(v2), word;
    snprintf(path, sizeof(path), MOUNT "/%s/tasks", name); /* an empty folder is no hierarchy */
    if (!v2.p)
        return access(path, F_OK) == 0;
    while (str_next(&rest, ' ', &word))
        if (str_is(word, name))
            return true;
    return false;
}

struct str linux_cgroup_missing(struct arena *a)
{
    static const char *const needed[] = {"cpu", "memory"};
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct str v2 = STR_NULL;
    if (linux_cgroup2())
        linux_read_file(NULL, a, MOUNT "/cgroup.controllers", 4096, &v2, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
        if (!has_controller(v2, needed[i]))
            buf_printf(&b, "%s%s", b.n ? ", " : "", needed[i]);
    return arena_str(a, buf_str(&b));
}

bool linux_cgroup_exists(struct host *h, const char *path)
{
    char dir[4096];
    snprintf(dir, sizeof(dir), "%s%s", main_tree(), path);
    return access(dir, F_OK) == 0;
}

int linux_cgroup_list(struct host *h, struct arena *a, const char *path, char ***ret)
{
    char **all, **out;
    struct str dir = arena_printf(a, "%s%s", main_tree(), path);
    int r = os_list_dir(a, dir.p, &all);
    if (r < 0)
        return r;
    for (*ret = out = all; *all; all++) {
        struct stat st;
        if (lstat(arena_printf(a, "%s/%s", dir.p, *all).p, &st) == 0 && S_ISDIR(st.st_mode))
            *out++ = *all;
    }
    *out = NULL;
    return 0;
}

/* ---- removing -------------------------------------------------------------------------------------------- */

static bool kill_all(const char *dir)
{
    struct arena a = ARENA_INIT;
    struct str text, line;
    bool any = false;
    if (linux_read_file(NULL, &a, arena_printf(&a, "%s/cgroup.procs", dir).p, 1 << 20, &text, NULL) == 0)
        while (str_next(&text, '\n', &line)) {
            int64_t pid;
            if (str_to_i64(line, &pid) == 0 && pid > 1) {
                kill((pid_t)pid, SIGKILL);
                any = true;
            }
        }
    arena_done(&a);
    return any;
}

static int remove_dir(const char *dir, unsigned depth)
{
    DIR *d = opendir(dir);
    int r = 0;
    if (!d)
        return errno == ENOENT ? 0 : -errno;
    for (struct dirent *de; depth < 16 && (de = readdir(d));) {
        char sub[4096];
        if (de->d_type != DT_DIR || !strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
            continue;
        snprintf(sub, sizeof(sub), "%s/%s", dir, de->d_name);
        int one = remove_dir(sub, depth + 1);
        r = one < 0 ? one : r;
    }
    closedir(d);
    if (rmdir(dir) == 0 || errno == ENOENT)
        return 0;
    if (errno == EBUSY)
        kill_all(dir);
    return r < 0 ? r : -EBUSY;
}

static int remove_v1(const char *hierarchy, const char *controller, void *arg)
{
    const char *path = arg;
    char dir[4096];
    snprintf(dir, sizeof(dir), "%s%s", hierarchy, path);
    return remove_dir(dir, 0);
}

int linux_cgroup_remove(struct host *h, const char *path, struct err *e)
{
    int r = -EBUSY;
    /* What was just killed takes a moment to be gone. */
    for (unsigned tries = 0; tries < 20 && r == -EBUSY; tries++) {
        if (tries && fiber_sleep(MILLISECONDS(tries < 5 ? 5 : 50)) < 0)
            break;
        r = linux_cgroup2() ? remove_v1(MOUNT, "", (void *)(uintptr_t)path)
                            : each_hierarchy(true, remove_v1, (void *)(uintptr_t)path);
    }
    return r < 0 ? err_set(e, r, "cannot remove the cgroup %s: %s", path, strerror(-r)) : 0;
}
