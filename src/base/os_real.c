/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real world: Linux. Sockets are nonblocking and watched edge-triggered by one epoll a thread; an fd enters it at
 * the first wait. Calls that block (fsync) run on a few helper threads, see os_offload.c.
 */
#include "base/os.h"

#include "base/fiber.h"
#include "base/os_offload.h"
#include "base/os_socket.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* ---- clock and chance --------------------------------------------------------------------------------- */

static int64_t clock_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
}

static struct mono real_mono(void)
{
    return (struct mono){clock_ns(CLOCK_MONOTONIC)};
}

static struct wall real_wall(void)
{
    return (struct wall){clock_ns(CLOCK_REALTIME)};
}

static void real_random(void *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t r = getrandom((char *)p + at, n - at, 0);
        if (r < 0 && errno != EINTR)
            panic("getrandom: %s", strerror(errno));
        at += r > 0 ? (size_t)r : 0;
    }
}

/* ---- readiness ---------------------------------------------------------------------------------------- */

struct fd_wait {
    struct waitq readers, writers;
    bool watched;
    bool dry, full; /* the last try through this door found nothing to read, no room; no edge since */
    unsigned forgotten; /* how often: the number may be another file's by the time a waiter runs */
};

struct poller {
    int epoll;
    struct fd_wait **fds; /* by fd, allocated at first use */
    size_t n_fds;
};

static _Thread_local struct poller poller = {.epoll = -1};

static int poller_fd(void)
{
    if (poller.epoll < 0) {
        poller.epoll = epoll_create1(EPOLL_CLOEXEC);
        if (poller.epoll < 0)
            panic("epoll_create1: %s", strerror(errno));
        struct epoll_event ev = {.events = EPOLLIN, .data.fd = offload_event_fd()};
        epoll_ctl(poller.epoll, EPOLL_CTL_ADD, ev.data.fd, &ev);
    }
    return poller.epoll;
}

void os_thread_done(void)
{
    if (poller.epoll >= 0)
        close(poller.epoll);
    for (size_t i = 0; i < poller.n_fds; i++)
        free(poller.fds[i]);
    free(poller.fds);
    poller = (struct poller){.epoll = -1};
    offload_thread_done();
}

static struct fd_wait *fd_wait_of(int fd)
{
    if ((size_t)fd >= poller.n_fds) {
        size_t n = MAX((size_t)fd + 1, poller.n_fds * 2);
        poller.fds = xrealloc(poller.fds, n * sizeof(*poller.fds));
        memset(poller.fds + poller.n_fds, 0, (n - poller.n_fds) * sizeof(*poller.fds));
        poller.n_fds = n;
    }
    if (!poller.fds[fd])
        poller.fds[fd] = NEW(struct fd_wait);
    return poller.fds[fd];
}

static void real_poll(struct mono deadline)
{
    struct epoll_event events[64];
    int timeout = -1;
    if (deadline.ns != INT64_MAX) {
        int64_t left = deadline.ns - (deadline.ns ? real_mono().ns : 0);
        timeout = left <= 0 ? 0 : (int)MIN((left + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC, INT64_C(3600000));
    }
    int n = epoll_wait(poller_fd(), events, ARRAY_SIZE(events), timeout);
    for (int i = 0; i < n; i++) {
        if (events[i].data.fd == offload_event_fd()) {
            offload_finish();
            continue;
        }
        struct fd_wait *w = fd_wait_of(events[i].data.fd);
        if (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) {
            w->dry = false;
            waitq_wake_all(&w->readers);
        }
        if (events[i].events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
            w->full = false;
            waitq_wake_all(&w->writers);
        }
    }
}

static int watch_fd(int fd, struct fd_wait *w)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET, .data.fd = fd};
    int r = epoll_ctl(poller_fd(), w->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev);
    if (r < 0 && errno == ENOENT) /* somebody closed it behind our back and the number was used again */
        r = epoll_ctl(poller_fd(), EPOLL_CTL_ADD, fd, &ev);
    if (r < 0 && errno == EEXIST)
        r = 0;
    w->watched = r == 0;
    return r < 0 ? -errno : 0;
}

static int ready_now(int fd, int events)
{
    struct pollfd p = {.fd = fd, .events = (short)events};
    int n = poll(&p, 1, 0);
    return n <= 0 ? 0 : (p.revents & POLLNVAL) ? -EBADF : p.revents;
}

/* What a try through this door has found is still so unless an edge has come, if edges were told of all the while. */
static bool known_to_block(const struct fd_wait *w, int events)
{
    return w->watched && (events & OS_READABLE ? w->dry : w->full);
}

/* An edge may have passed before the wait began, so the state is asked first; after that a new edge will come. */
static int real_wait_fd(int fd, int events, struct mono deadline)
{
    for (;;) {
        struct fd_wait *w = fd_wait_of(fd);
        unsigned before = w->forgotten;
        int r = 0;
        if (!known_to_block(w, events)) {
            int now = ready_now(fd, events);
            if (now)
                return now;
            r = watch_fd(fd, w);
        }
        if (r < 0)
            return r;
        r = waitq_wait(events & OS_READABLE ? &w->readers : &w->writers, deadline);
        if (r < 0)
            return r;
        if (!w->watched || w->forgotten != before)
            return -EBADF;
    }
}

/* Files that nobody has waited for yet are not looked up: most are read from disk. */
static struct fd_wait *fd_wait_known(int fd)
{
    return fd >= 0 && (size_t)fd < poller.n_fds ? poller.fds[fd] : NULL;
}

static ssize_t real_try_recv(int fd, void *p, size_t n)
{
    ssize_t r = socket_try_recv(fd, p, n);
    struct fd_wait *w = r == -EAGAIN ? fd_wait_known(fd) : NULL;
    if (w)
        w->dry = true;
    return r;
}

static ssize_t real_try_send(int fd, const void *p, size_t n, bool more)
{
    ssize_t r = socket_try_send(fd, p, n, more);
    struct fd_wait *w = r == -EAGAIN ? fd_wait_known(fd) : NULL;
    if (w)
        w->full = true;
    return r;
}

static void real_forget_fd(int fd)
{
    if (fd < 0 || (size_t)fd >= poller.n_fds || !poller.fds[fd])
        return;
    struct fd_wait *w = poller.fds[fd];
    if (w->watched && poller.epoll >= 0)
        epoll_ctl(poller.epoll, EPOLL_CTL_DEL, fd, NULL);
    w->watched = w->dry = w->full = false;
    w->forgotten++;
    waitq_wake_all(&w->readers);
    waitq_wake_all(&w->writers);
}

static int real_close(int fd)
{
    real_forget_fd(fd);
    return close(fd) < 0 ? -errno : 0;
}

/* ---- disk --------------------------------------------------------------------------------------------- */

static int real_open(const char *path, int flags, mode_t mode)
{
    int fd = open(path, flags | O_CLOEXEC, mode);
    return fd < 0 ? -errno : fd;
}

static ssize_t real_pread(int fd, void *p, size_t n, off_t at)
{
    ssize_t r;
    do {
        r = pread(fd, p, n, at);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

static ssize_t real_pwrite(int fd, const void *p, size_t n, off_t at)
{
    ssize_t r;
    do {
        r = pwrite(fd, p, n, at);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

struct sync_call {
    int fd, r;
};

static void do_fdatasync(void *arg)
{
    struct sync_call *c = arg;
    c->r = fdatasync(c->fd) < 0 ? -errno : 0;
}

static void do_fsync(void *arg)
{
    struct sync_call *c = arg;
    c->r = fsync(c->fd) < 0 ? -errno : 0;
}

static void off_loop(void (*fn)(void *arg), void *arg)
{
    if (fiber_self())
        offload_run(OFFLOAD_SYNC, fn, arg);
    else
        fn(arg);
}

static int real_fdatasync(int fd)
{
    struct sync_call c = {.fd = fd};
    off_loop(do_fdatasync, &c);
    return c.r;
}

static void offload_any(void (*fn)(void *arg), void *arg)
{
    offload_run(OFFLOAD_ANY, fn, arg);
}

static int real_ftruncate(int fd, off_t size)
{
    return ftruncate(fd, size) < 0 ? -errno : 0;
}

static int real_fallocate(int fd, off_t at, off_t n)
{
    int r = posix_fallocate(fd, at, n);
    return -r;
}

static int real_fsize(int fd, off_t *ret)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    *ret = st.st_size;
    return 0;
}

static int real_rename(const char *from, const char *to)
{
    return rename(from, to) < 0 ? -errno : 0;
}

static int real_unlink(const char *path)
{
    return unlink(path) < 0 ? -errno : 0;
}

static int real_mkdir(const char *path, mode_t mode)
{
    return mkdir(path, mode) < 0 ? -errno : 0;
}

static int real_sync_dir(const char *path)
{
    struct sync_call c = {.fd = real_open(path, O_RDONLY | O_DIRECTORY, 0)};
    if (c.fd < 0)
        return c.fd;
    off_loop(do_fsync, &c);
    close(c.fd);
    return c.r;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int real_list_dir(struct arena *a, const char *path, char ***ret)
{
    DIR *d = opendir(path);
    if (!d)
        return -errno;
    size_t n = 0, cap = 16;
    char **names = xcalloc(cap, sizeof(*names));
    for (struct dirent *e; (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if (n == cap)
            names = xrealloc(names, (cap *= 2) * sizeof(*names));
        names[n++] = arena_cstr(a, str_of(e->d_name));
    }
    closedir(d);
    qsort(names, n, sizeof(*names), compare_names);
    char **out = ARENA_ARRAY(a, char *, n + 1);
    memcpy(out, names, n * sizeof(*names));
    free(names);
    *ret = out;
    return 0;
}

static int real_flock(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

/* ---- processes ---------------------------------------------------------------------------------------- */

/* Programs expect their standard files to block; the other end, ours, stays as it is. */
static void make_blocking(int fd)
{
    if (fd >= 0)
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
}

static void spawn_files(posix_spawn_file_actions_t *fa, const struct os_spawn *s)
{
    make_blocking(s->in);
    make_blocking(s->out);
    make_blocking(s->err);
    posix_spawn_file_actions_init(fa);
    if (s->in < 0)
        posix_spawn_file_actions_addopen(fa, 0, "/dev/null", O_RDONLY, 0);
    else
        posix_spawn_file_actions_adddup2(fa, s->in, 0);
    if (s->out >= 0)
        posix_spawn_file_actions_adddup2(fa, s->out, 1);
    if (s->err >= 0)
        posix_spawn_file_actions_adddup2(fa, s->err, 2);
    if (s->cwd)
        posix_spawn_file_actions_addchdir_np(fa, s->cwd);
}

static int real_spawn(const struct os_spawn *s, pid_t *ret_pid)
{
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    sigset_t none, all;
    spawn_files(&fa, s);
    posix_spawnattr_init(&attr);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    posix_spawnattr_setflags(&attr, (short)(flags | (s->new_session ? POSIX_SPAWN_SETSID : 0)));
    pid_t pid;
    int r = posix_spawnp(&pid, s->argv[0], &fa, &attr, (char *const *)s->argv,
                         s->env ? (char *const *)s->env : environ);
    posix_spawn_file_actions_destroy(&fa);
    posix_spawnattr_destroy(&attr);
    if (r)
        return -r;
    *ret_pid = pid;
    return 0;
}

static int real_wait_pid(pid_t pid, int *ret_status, struct mono deadline)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0 && errno != ESRCH)
        return -errno;
    int r = fd < 0 ? 0 : real_wait_fd(fd, OS_READABLE, deadline);
    if (fd >= 0)
        real_close(fd);
    if (r < 0)
        return r;
    int status = 0;
    if (waitpid(pid, &status, 0) < 0 && errno != ECHILD) /* not our child: it has ended, that is all we know */
        return -errno;
    *ret_status = status;
    return 0;
}

static int real_kill(pid_t pid, int sig)
{
    return kill(pid, sig) < 0 ? -errno : 0;
}

/* A handler and a pipe, not a blocked mask and a signalfd: every fiber's context has a mask of its own, which switching
 * to it restores. */
static int signal_pipe[2] = {-1, -1};

static void on_signal(int number)
{
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    if (write(signal_pipe[1], &byte, 1) < 0) { /* full: others are waiting to be read */
    }
    errno = saved;
}

static int catch_signals(void)
{
    static const int caught[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    for (size_t i = 0; i < ARRAY_SIZE(caught); i++) {
        struct sigaction old;
        if (sigaction(caught[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN)
            continue; /* nohup, or a shell's background: whoever started us wants it so */
        sigaction(caught[i], &action, NULL);
    }
    return 0;
}

static int real_wait_signal(struct mono deadline)
{
    int r = signal_pipe[0] < 0 ? catch_signals() : 0;
    if (r < 0)
        return r;
    for (;;) {
        unsigned char number;
        if (read(signal_pipe[0], &number, 1) == 1)
            return number;
        r = real_wait_fd(signal_pipe[0], OS_READABLE, deadline);
        if (r < 0)
            return r;
    }
}

const struct os_ops os_real = {
    .name = "real",
    .mono = real_mono,
    .wall = real_wall,
    .random = real_random,
    .poll = real_poll,
    .offload = offload_any,
    .open = real_open,
    .close = real_close,
    .pread = real_pread,
    .pwrite = real_pwrite,
    .fdatasync = real_fdatasync,
    .ftruncate = real_ftruncate,
    .fallocate = real_fallocate,
    .fsize = real_fsize,
    .rename = real_rename,
    .unlink = real_unlink,
    .mkdir = real_mkdir,
    .sync_dir = real_sync_dir,
    .list_dir = real_list_dir,
    .flock = real_flock,
    .listen = socket_listen,
    .accept = socket_accept,
    .connect = socket_connect,
    .try_recv = real_try_recv,
    .try_send = real_try_send,
    .shutdown = socket_shutdown,
    .local_address = socket_local_address,
    .udp_bind = socket_udp_bind,
    .try_recvfrom = socket_try_recvfrom,
    .sendto = socket_sendto,
    .link_open = link_open,
    .link_join = link_join,
    .link_try_recv = link_try_recv,
    .link_send = link_send,
    .socketpair = socket_pair,
    .wait_fd = real_wait_fd,
    .forget_fd = real_forget_fd,
    .spawn = real_spawn,
    .wait_pid = real_wait_pid,
    .kill = real_kill,
    .wait_signal = real_wait_signal,
};
