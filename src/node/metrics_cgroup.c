/* SPDX-License-Identifier: Apache-2.0 */
/* What a control group has used, versions 1 and 2: small files of the kernel, read at the moment that somebody asks. */
#include "base/os.h"
#include "node/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOUNT "/sys/fs/cgroup"

enum { TEXT_MAX = 16384 };

/* One group's files, through one buffer. */
struct reading {
    const char *mount, *path;
    char text[TEXT_MAX];
    char file[4096];
};

/* The file's text; empty when there is none. controller: "" in version 2. */
static struct str slurp(struct reading *r, const char *controller, const char *name)
{
    size_t n = 0;
    snprintf(r->file, sizeof(r->file), "%s%s%s%s/%s", r->mount, controller[0] ? "/" : "", controller, r->path, name);
    int fd = open(r->file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return STR("");
    while (n < sizeof(r->text)) {
        ssize_t got = read(fd, r->text + n, sizeof(r->text) - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    close(fd);
    return str_n(r->text, n);
}

/* Limits beyond what a machine can have mean none. */
static int64_t number(struct str text)
{
    uint64_t n;
    text = str_trim(text);
    if (str_to_u64(text, &n) < 0)
        return -1;
    return n > INT64_MAX / 2 ? -1 : (int64_t)n;
}

static int64_t read_number(struct reading *r, const char *controller, const char *name)
{
    return number(slurp(r, controller, name));
}

/* The number behind a word at the beginning of a line. */
static int64_t word(struct str text, const char *key)
{
    struct str line, head, tail;
    while (text.p && str_next(&text, '\n', &line))
        if (str_cut(line, ' ', &head, &tail) && str_is(head, key))
            return number(tail);
    return -1;
}

static int64_t times(int64_t n, int64_t by)
{
    return n < 0 ? -1 : n * by;
}

static int64_t less(int64_t a, int64_t b)
{
    return a < 0 ? -1 : b < 0 ? a : MAX(a - b, (int64_t)0);
}

/* ---- pressure (PSI) -------------------------------------------------------------------------------------------- */

static void parse_psi_line(struct str line, struct psi_line *ret)
{
    struct str field, key, value;
    while (line.p && str_next(&line, ' ', &field)) {
        char text[32];
        if (!str_cut(field, '=', &key, &value) || value.n >= sizeof(text))
            continue;
        memcpy(text, value.p, value.n);
        text[value.n] = '\0';
        if (str_is(key, "avg10"))
            ret->avg10 = strtod(text, NULL);
        else if (str_is(key, "avg60"))
            ret->avg60 = strtod(text, NULL);
        else if (str_is(key, "avg300"))
            ret->avg300 = strtod(text, NULL);
        else if (str_is(key, "total"))
            ret->total = number(value);
    }
}

void psi_parse(struct str text, struct psi *ret)
{
    struct str line;
    *ret = (struct psi){0};
    while (text.p && str_next(&text, '\n', &line)) {
        bool full = str_starts(line, STR("full "));
        if (!full && !str_starts(line, STR("some ")))
            continue;
        ret->known = true;
        parse_psi_line(str_from(line, 5), full ? &ret->full : &ret->some);
    }
}

/* ---- version 1 ------------------------------------------------------------------------------------------------- */

static int64_t sum_io(struct str text, const char *what)
{
    int64_t sum = 0;
    bool any = false;
    struct str line, device, rest, op, n;
    while (text.p && str_next(&text, '\n', &line))
        if (str_cut(line, ' ', &device, &rest) && str_cut(rest, ' ', &op, &n) && str_is(op, what) && number(n) >= 0) {
            sum += number(n);
            any = true;
        }
    return any ? sum : -1;
}

static void cpu_v1(struct reading *r, struct cgroup_usage *u)
{
    long hz = sysconf(_SC_CLK_TCK);
    u->cpu_ns = read_number(r, "cpuacct", "cpuacct.usage");
    struct str stat = slurp(r, "cpuacct", "cpuacct.stat");
    u->cpu_user_ns = times(word(stat, "user"), NSEC_PER_SEC / MAX(hz, 1L));
    u->cpu_system_ns = times(word(stat, "system"), NSEC_PER_SEC / MAX(hz, 1L));
    stat = slurp(r, "cpu", "cpu.stat");
    u->cfs_periods = word(stat, "nr_periods");
    u->cfs_throttled = word(stat, "nr_throttled");
    u->cfs_throttled_ns = word(stat, "throttled_time");
}

static void memory_v1(struct reading *r, struct cgroup_usage *u)
{
    u->memory_usage = read_number(r, "memory", "memory.usage_in_bytes");
    u->memory_max = read_number(r, "memory", "memory.max_usage_in_bytes");
    u->memory_failures = read_number(r, "memory", "memory.failcnt");
    u->memory_limit = read_number(r, "memory", "memory.limit_in_bytes");
    int64_t both_limit = read_number(r, "memory", "memory.memsw.limit_in_bytes");
    if (both_limit >= 0 && u->memory_limit >= 0)
        u->swap_limit = MAX(both_limit - u->memory_limit, (int64_t)0);
    struct str stat = slurp(r, "memory", "memory.stat");
    u->memory_working_set = less(u->memory_usage, word(stat, "total_inactive_file"));
    u->memory_rss = word(stat, "total_rss");
    u->memory_cache = word(stat, "total_cache");
    u->memory_mapped = word(stat, "total_mapped_file");
    u->swap = word(stat, "total_swap");
    u->page_faults = word(stat, "total_pgfault");
    u->major_page_faults = word(stat, "total_pgmajfault");
    u->oom_kills = word(slurp(r, "memory", "memory.oom_control"), "oom_kill");
}

static void read_v1(struct reading *r, struct cgroup_usage *u)
{
    cpu_v1(r, u);
    memory_v1(r, u);
    u->pids = read_number(r, "pids", "pids.current");
    struct str io = slurp(r, "blkio", "blkio.throttle.io_service_bytes");
    u->io_read = sum_io(io, "Read");
    u->io_written = sum_io(io, "Write");
}

/* ---- version 2 ------------------------------------------------------------------------------------------------- */

static void cpu_v2(struct reading *r, struct cgroup_usage *u)
{
    struct str stat = slurp(r, "", "cpu.stat");
    u->cpu_ns = times(word(stat, "usage_usec"), NSEC_PER_USEC);
    u->cpu_user_ns = times(word(stat, "user_usec"), NSEC_PER_USEC);
    u->cpu_system_ns = times(word(stat, "system_usec"), NSEC_PER_USEC);
    u->cfs_periods = word(stat, "nr_periods");
    u->cfs_throttled = word(stat, "nr_throttled");
    u->cfs_throttled_ns = times(word(stat, "throttled_usec"), NSEC_PER_USEC);
}

static void memory_v2(struct reading *r, struct cgroup_usage *u)
{
    u->memory_usage = read_number(r, "", "memory.current");
    u->memory_max = read_number(r, "", "memory.peak");
    u->memory_limit = read_number(r, "", "memory.max");
    u->swap = read_number(r, "", "memory.swap.current");
    u->swap_limit = read_number(r, "", "memory.swap.max");
    struct str stat = slurp(r, "", "memory.stat");
    u->memory_working_set = less(u->memory_usage, word(stat, "inactive_file"));
    u->memory_rss = word(stat, "anon");
    u->memory_cache = word(stat, "file");
    u->memory_mapped = word(stat, "file_mapped");
    u->page_faults = word(stat, "pgfault");
    u->major_page_faults = word(stat, "pgmajfault");
    struct str events = slurp(r, "", "memory.events");
    u->oom_kills = word(events, "oom_kill");
    u->memory_failures = word(events, "max");
}

static void io_v2(struct reading *r, struct cgroup_usage *u)
{
    struct str text = slurp(r, "", "io.stat"), line, field, key, value;
    while (text.p && str_next(&text, '\n', &line))
        while (line.p && str_next(&line, ' ', &field)) {
            int64_t *sum = str_cut(field, '=', &key, &value) && str_is(key, "rbytes") ? &u->io_read
                           : str_is(key, "wbytes")                                  ? &u->io_written
                                                                                    : NULL;
            if (sum && number(value) >= 0)
                *sum = MAX(*sum, (int64_t)0) + number(value);
        }
}

static void read_v2(struct reading *r, struct cgroup_usage *u)
{
    cpu_v2(r, u);
    memory_v2(r, u);
    io_v2(r, u);
    u->pids = read_number(r, "", "pids.current");
    psi_parse(slurp(r, "", "cpu.pressure"), &u->cpu_pressure);
    psi_parse(slurp(r, "", "memory.pressure"), &u->memory_pressure);
    psi_parse(slurp(r, "", "io.pressure"), &u->io_pressure);
}

int cgroup_usage_read(const char *mount, bool v2, const char *path, struct cgroup_usage *ret)
{
    struct cgroup_usage u = CGROUP_USAGE_UNKNOWN;
    char dir[4096];
    snprintf(dir, sizeof(dir), "%s%s%s", mount, v2 ? "" : "/cpuacct", path);
    if (access(dir, F_OK) < 0)
        return -errno;
    struct reading *r = xmalloc(sizeof(*r));
    r->mount = mount;
    r->path = path;
    u.at = os_wall();
    (v2 ? read_v2 : read_v1)(r, &u);
    free(r);
    *ret = u;
    return 0;
}

int linux_cgroup_usage(struct host *h, const char *path, struct cgroup_usage *ret)
{
    return cgroup_usage_read(MOUNT, linux_cgroup2(), path, ret);
}
