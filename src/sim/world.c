/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/world.h"

#include "sim/internal.h"

#include <stdarg.h>
#include <unistd.h>

_Thread_local struct sim *sim;

/* ---- chance ---------------------------------------------------------------------------------------------- */

/* SplitMix64: small, and good enough to be lived in. */
uint64_t sim_next(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t sim_below(uint64_t n)
{
    return sim_next(&sim->own_state) % n;
}

int64_t sim_between(int64_t min, int64_t max)
{
    return max <= min ? min : min + (int64_t)sim_below((uint64_t)(max - min));
}

static void world_random(void *p, size_t n)
{
    for (size_t at = 0; at < n; at += 8) {
        uint64_t v = sim_next(&sim->os_state);
        memcpy((char *)p + at, &v, MIN(n - at, (size_t)8));
    }
}

/* ---- time ------------------------------------------------------------------------------------------------ */

static struct mono world_mono(void)
{
    return (struct mono){sim->now};
}

static struct wall world_wall(void)
{
    return (struct wall){sim->now + sim->wall_offset};
}

/* Every fiber waits: time moves on to the first deadline. Nothing else can happen in this world. */
static void world_poll(struct mono deadline)
{
    if (deadline.ns == INT64_MAX)
        panic("simulated world: every fiber waits for ever (virtual time %lld s, seed %llu)",
              (long long)(sim->now / NSEC_PER_SEC), (unsigned long long)sim->config.seed);
    sim->now = MAX(sim->now, deadline.ns);
    if (sim->now > sim->config.end_ns)
        panic("simulated world: not at its end after %lld s of virtual time (seed %llu)",
              (long long)(sim->config.end_ns / NSEC_PER_SEC), (unsigned long long)sim->config.seed);
}

void sim_clock_jump(int64_t ns)
{
    sim->wall_offset += ns;
}

static void world_offload(void (*fn)(void *arg), void *arg)
{
    fn(arg);
}

/* ---- history --------------------------------------------------------------------------------------------- */

void sim_trace_mix(uint64_t hash)
{
    sim->trace_hash = (sim->trace_hash ^ hash) * UINT64_C(0x100000001b3);
}

void sim_trace(const char *fmt, ...)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    va_list ap;
    buf_printf(&b, "%10.6f ", (double)sim->now / NSEC_PER_SEC);
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    buf_putc(&b, '\n');
    sim_trace_mix(str_hash(buf_str(&b)));
    if (sim->trace_fd >= 0) {
        ssize_t r UNUSED = write(sim->trace_fd, b.p, b.n);
    }
}

uint64_t sim_trace_hash(void)
{
    return sim->trace_hash;
}

void sim_trace_to(int fd)
{
    sim->trace_fd = fd;
}

/* ---- file descriptors -------------------------------------------------------------------------------------- */

int sim_fd_new(enum fd_kind kind)
{
    int i = 0;
    while (i < sim->n_fds && sim->fds[i].kind != FD_FREE)
        i++;
    if (i == sim->n_fds) {
        int n = MAX(sim->n_fds * 2, 64);
        struct sim_fd *bigger = xcalloc((size_t)n, sizeof(*bigger));
        for (int k = 0; k < sim->n_fds; k++) {
            /* Waiters and queues are intrusive lists: an fd that somebody waits on must not move. */
            ASSERT(list_empty(&sim->fds[k].waiters.waiters) && list_empty(&sim->fds[k].backlog) &&
                   list_empty(&sim->fds[k].datagrams));
            bigger[k] = sim->fds[k];
            bigger[k].waiters = (struct waitq){0};
            bigger[k].backlog = bigger[k].datagrams = (struct list){0};
        }
        free(sim->fds);
        sim->fds = bigger;
        sim->n_fds = n;
    }
    sim->fds[i] = (struct sim_fd){.kind = kind};
    return FD_BASE + i;
}

struct sim_fd *sim_fd_get(int fd)
{
    int i = fd - FD_BASE;
    if (i < 0 || i >= sim->n_fds || sim->fds[i].kind == FD_FREE || sim->fds[i].dead)
        return NULL;
    return &sim->fds[i];
}

void sim_fd_free(int fd)
{
    int i = fd - FD_BASE;
    if (i < 0 || i >= sim->n_fds || sim->fds[i].kind == FD_FREE)
        return;
    struct sim_fd *f = &sim->fds[i];
    enum fd_kind kind = f->kind;
    f->dead = true;
    waitq_wake_all(&f->waiters);
    if (kind == FD_FILE)
        disk_closed(f);
    else
        socket_closed(f);
    free(f->address);
    f->address = NULL;
    f->kind = FD_FREE;
}

static int world_close(int fd)
{
    int i = fd - FD_BASE;
    if (i < 0 || i >= sim->n_fds || sim->fds[i].kind == FD_FREE)
        return -EBADF;
    sim_fd_free(fd);
    return 0;
}

static void world_forget_fd(int fd UNUSED)
{
}

/* ---- what this world has not --------------------------------------------------------------------------------- */

static int no_link(enum os_link_kind kind UNUSED, int link UNUSED, struct err *e)
{
    return err_set(e, -EOPNOTSUPP, "this world has no links");
}

static int no_group(int link UNUSED, const uint8_t group[static 16] UNUSED, struct err *e)
{
    return err_set(e, -EOPNOTSUPP, "this world has no links");
}

static ssize_t no_link_recv(int fd UNUSED, void *p UNUSED, size_t n UNUSED, struct os_link_peer *ret_from UNUSED)
{
    return -EOPNOTSUPP;
}

static ssize_t no_link_send(int fd UNUSED, const void *p UNUSED, size_t n UNUSED, const struct os_link_peer *to UNUSED)
{
    return -EOPNOTSUPP;
}

static int no_spawn(const struct os_spawn *s UNUSED, pid_t *ret_pid UNUSED)
{
    return -ENOSYS;
}

static int no_wait_pid(pid_t pid UNUSED, int *ret_status UNUSED, struct mono deadline UNUSED)
{
    return -ECHILD;
}

static int no_kill(pid_t pid UNUSED, int sig UNUSED)
{
    return -ESRCH;
}

static int no_signal(struct mono deadline)
{
    int r = fiber_sleep_until(deadline);
    return r < 0 ? r : -ETIMEDOUT;
}

const struct os_ops os_sim = {
    .name = "simulated",
    .mono = world_mono,
    .wall = world_wall,
    .random = world_random,
    .poll = world_poll,
    .offload = world_offload,
    .open = disk_open,
    .close = world_close,
    .pread = disk_pread,
    .pwrite = disk_pwrite,
    .fdatasync = disk_fdatasync,
    .ftruncate = disk_ftruncate,
    .fallocate = disk_fallocate,
    .fsize = disk_fsize,
    .rename = disk_rename,
    .unlink = disk_unlink,
    .mkdir = disk_mkdir,
    .sync_dir = disk_sync_dir,
    .list_dir = disk_list_dir,
    .flock = disk_flock,
    .listen = sim_listen,
    .accept = sim_accept,
    .connect = sim_connect,
    .try_recv = sim_try_recv,
    .try_send = sim_try_send,
    .shutdown = sim_shutdown,
    .local_address = sim_local_address,
    .udp_bind = sim_udp_bind,
    .try_recvfrom = sim_try_recvfrom,
    .sendto = sim_sendto,
    .link_open = no_link,
    .link_join = no_group,
    .link_try_recv = no_link_recv,
    .link_send = no_link_send,
    .socketpair = sim_socketpair,
    .wait_fd = sim_wait_fd,
    .forget_fd = world_forget_fd,
    .spawn = no_spawn,
    .wait_pid = no_wait_pid,
    .kill = no_kill,
    .wait_signal = no_signal,
};

/* ---- a run ----------------------------------------------------------------------------------------------------- */

static void default_ns(int64_t *value, int64_t otherwise)
{
    if (!*value)
        *value = otherwise;
}

void sim_run(const struct sim_config *config, fiber_fn *main_fn, void *arg)
{
    ASSERT(!sim);
    struct sim here = {.config = *config, .trace_fd = -1, .next_port = 40000};
    default_ns(&here.config.start.ns, SECONDS(1767225600)); /* 2026-01-01 */
    default_ns(&here.config.latency_min_ns, 50 * NSEC_PER_USEC);
    default_ns(&here.config.latency_max_ns, MILLISECONDS(2));
    default_ns(&here.config.sync_min_ns, 100 * NSEC_PER_USEC);
    default_ns(&here.config.sync_max_ns, MILLISECONDS(2));
    default_ns(&here.config.end_ns, SECONDS(30 * 86400));
    here.now = NSEC_PER_SEC; /* zero would mean "no time" in many a place */
    here.wall_offset = here.config.start.ns - here.now;
    here.os_state = config->seed;
    here.own_state = config->seed ^ UINT64_C(0x5851f42d4c957f2d);
    /* Room for every fd of a large run: descriptors that are waited on cannot move. */
    here.n_fds = 65536;
    here.fds = xcalloc((size_t)here.n_fds, sizeof(*here.fds));
    sim = &here;
    const struct os_ops *before = os_in_use();
    os_use(&os_sim);
    loop_run(main_fn, arg);
    for (int i = 0; i < here.n_fds; i++)
        sim_fd_free(FD_BASE + i);
    disk_done();
    map_done(&here.listeners);
    free(here.fds);
    os_use(before);
    sim = NULL;
}
