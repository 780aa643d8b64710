/* SPDX-License-Identifier: Apache-2.0 */
/* What every world shares: dispatch to the door in use, and the functions built from its primitives. */
#include "base/os.h"

#include "base/fiber.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static _Thread_local const struct os_ops *ops_in_use;

void os_use(const struct os_ops *ops)
{
    ops_in_use = ops;
}

const struct os_ops *os_in_use(void)
{
    return ops_in_use ? ops_in_use : &os_real;
}

#define OS os_in_use()

struct mono os_mono(void)
{
    return OS->mono();
}
struct wall os_wall(void)
{
    return OS->wall();
}
void os_random(void *p, size_t n)
{
    OS->random(p, n);
}

uint64_t os_random_u64(void)
{
    uint64_t v;
    os_random(&v, sizeof(v));
    return v;
}

uint64_t os_random_below(uint64_t n)
{
    uint64_t limit = UINT64_MAX - UINT64_MAX % n, v;
    do {
        v = os_random_u64();
    } while (v >= limit);
    return v % n;
}

/* ---- memory -------------------------------------------------------------------------------------------- */

/* Files that are mapped as they are: code and constants. What was relocated (Anonymous) would be lost. */
static void drop_code(void)
{
    FILE *f = fopen("/proc/self/smaps", "re");
    char line[4352], perms[8];
    unsigned long from = 0, to = 0, inode, kib, a, b;
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "%lx-%lx %4s %*s %*s %lu", &a, &b, perms, &inode) == 4) {
            from = inode && perms[1] == '-' ? a : 0;
            to = b;
        } else if (from && sscanf(line, "Anonymous: %lu kB", &kib) == 1 && kib == 0) {
            madvise((void *)from, to - from, MADV_DONTNEED);
        }
    if (f)
        fclose(f);
}

void os_give_back(bool starting)
{
    fiber_trim_stacks();
    malloc_trim(0);
    if (starting)
        drop_code();
}

/* ---- disk --------------------------------------------------------------------------------------------- */

int os_open(const char *path, int flags, mode_t mode)
{
    return OS->open(path, flags, mode);
}
int os_close(int fd)
{
    return fd < 0 ? 0 : OS->close(fd);
}
ssize_t os_pread(int fd, void *p, size_t n, off_t at)
{
    return OS->pread(fd, p, n, at);
}
ssize_t os_pwrite(int fd, const void *p, size_t n, off_t at)
{
    return OS->pwrite(fd, p, n, at);
}
int os_fdatasync(int fd)
{
    return OS->fdatasync(fd);
}
int os_ftruncate(int fd, off_t size)
{
    return OS->ftruncate(fd, size);
}
int os_fallocate(int fd, off_t at, off_t n)
{
    return OS->fallocate(fd, at, n);
}
int os_fsize(int fd, off_t *ret)
{
    return OS->fsize(fd, ret);
}
int os_rename(const char *from, const char *to)
{
    return OS->rename(from, to);
}
int os_unlink(const char *path)
{
    return OS->unlink(path);
}
int os_mkdir(const char *path, mode_t mode)
{
    int r = OS->mkdir(path, mode);
    return r == -EEXIST ? 0 : r;
}
int os_sync_dir(const char *path)
{
    return OS->sync_dir(path);
}
int os_list_dir(struct arena *a, const char *path, char ***ret)
{
    return OS->list_dir(a, path, ret);
}
int os_flock(int fd)
{
    return OS->flock(fd);
}

int os_mkdir_all(const char *path, mode_t mode)
{
    char *p CLEANUP_FREE = xstrdup(path);
    for (char *at = p + 1; *at; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        int r = os_mkdir(p, mode);
        if (r < 0 && r != -EROFS && r != -EACCES)
            return r;
        *at = '/';
    }
    return os_mkdir(p, mode);
}

/* Files that do not tell their size (/proc, /sys) are read too: until the end, not until st_size. */
static int read_all(int fd, struct arena *a, size_t max, struct str *ret)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (;;) {
        char *to = buf_grow(&b, 16384);
        ssize_t n = os_pread(fd, to, 16384, (off_t)b.n);
        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        b.n += (size_t)n;
        if (b.n > max)
            return -EFBIG;
    }
    *ret = arena_str(a, buf_str(&b));
    return 0;
}

int os_read_file(struct arena *a, const char *path, size_t max, struct str *ret)
{
    int fd = os_open(path, O_RDONLY, 0);
    if (fd < 0)
        return fd;
    int r = read_all(fd, a, max, ret);
    os_close(fd);
    return r;
}

static int write_all(int fd, struct str content)
{
    for (size_t at = 0; at < content.n;) {
        ssize_t n = os_pwrite(fd, content.p + at, content.n - at, (off_t)at);
        if (n < 0)
            return (int)n;
        at += (size_t)n;
    }
    return os_fdatasync(fd);
}

int os_write_file(const char *path, struct str content, mode_t mode)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *temporary = arena_printf(&a, "%s.%016llx.tmp", path, (unsigned long long)os_random_u64()).p;
    int fd = os_open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode);
    if (fd < 0)
        return fd;
    int r = write_all(fd, content);
    os_close(fd);
    if (r == 0)
        r = os_rename(temporary, path);
    if (r < 0) {
        os_unlink(temporary);
        return r;
    }
    ssize_t slash = str_rfind(str_of(path), '/');
    return os_sync_dir(slash < 0 ? "." : slash == 0 ? "/" : arena_cstr(&a, str_n(path, (size_t)slash)));
}

/* ---- sockets ------------------------------------------------------------------------------------------ */

int os_listen(const char *address, struct err *e)
{
    return OS->listen(address, e);
}
int os_accept(int fd, char *ret_peer, size_t peer_size, struct mono deadline)
{
    return OS->accept(fd, ret_peer, peer_size, deadline);
}
int os_connect(const char *address, struct mono deadline)
{
    return OS->connect(address, deadline);
}
ssize_t os_try_recv(int fd, void *p, size_t n)
{
    return OS->try_recv(fd, p, n);
}
ssize_t os_try_send(int fd, const void *p, size_t n, bool more)
{
    return OS->try_send(fd, p, n, more);
}
int os_shutdown(int fd)
{
    return OS->shutdown(fd);
}
int os_local_address(int fd, char *ret, size_t size)
{
    return OS->local_address(fd, ret, size);
}
int os_udp_bind(const char *address, struct err *e)
{
    return OS->udp_bind(address, e);
}
ssize_t os_sendto(int fd, const void *p, size_t n, const char *peer)
{
    return OS->sendto(fd, p, n, peer);
}
int os_link_open(enum os_link_kind kind, int link, struct err *e)
{
    return OS->link_open(kind, link, e);
}
int os_link_join(int link, const uint8_t group[static 16], struct err *e)
{
    return OS->link_join(link, group, e);
}
ssize_t os_link_send(int fd, const void *p, size_t n, const struct os_link_peer *to)
{
    return OS->link_send(fd, p, n, to);
}
int os_socketpair(int ret[2])
{
    return OS->socketpair(ret);
}
int os_wait_fd(int fd, int events, struct mono deadline)
{
    return OS->wait_fd(fd, events, deadline);
}
void os_forget_fd(int fd)
{
    OS->forget_fd(fd);
}

ssize_t os_recv(int fd, void *p, size_t n, struct mono deadline)
{
    for (;;) {
        ssize_t r = os_try_recv(fd, p, n);
        if (r != -EAGAIN)
            return r;
        int w = os_wait_fd(fd, OS_READABLE, deadline);
        if (w < 0)
            return w;
    }
}

ssize_t os_send(int fd, const void *p, size_t n, struct mono deadline)
{
    size_t at = 0;
    while (at < n) {
        ssize_t r = os_try_send(fd, (const char *)p + at, n - at, false);
        if (r == -EAGAIN) {
            r = os_wait_fd(fd, OS_WRITABLE, deadline);
            if (r < 0)
                return r;
            continue;
        }
        if (r < 0)
            return r;
        at += (size_t)r;
    }
    return (ssize_t)n;
}

ssize_t os_link_recv(int fd, void *p, size_t n, struct os_link_peer *ret_from, struct mono deadline)
{
    for (;;) {
        ssize_t r = OS->link_try_recv(fd, p, n, ret_from);
        if (r != -EAGAIN)
            return r;
        int w = os_wait_fd(fd, OS_READABLE, deadline);
        if (w < 0)
            return w;
    }
}

ssize_t os_recvfrom(int fd, void *p, size_t n, char *ret_peer, size_t peer_size, struct mono deadline)
{
    for (;;) {
        ssize_t r = OS->try_recvfrom(fd, p, n, ret_peer, peer_size);
        if (r != -EAGAIN)
            return r;
        int w = os_wait_fd(fd, OS_READABLE, deadline);
        if (w < 0)
            return w;
    }
}

/* ---- processes ---------------------------------------------------------------------------------------- */

int os_spawn(const struct os_spawn *s, pid_t *ret_pid)
{
    return OS->spawn(s, ret_pid);
}
int os_wait_pid(pid_t pid, int *ret_status, struct mono deadline)
{
    return OS->wait_pid(pid, ret_status, deadline);
}
int os_kill(pid_t pid, int sig)
{
    return OS->kill(pid, sig);
}
int os_wait_signal(struct mono deadline)
{
    return OS->wait_signal(deadline);
}

struct collect {
    int fd;
    struct buf out;
    struct mono deadline;
};

static void collect_output(void *arg)
{
    enum { MAX_OUTPUT = 1 << 20 };
    struct collect *c = arg;
    for (;;) {
        char *to = buf_grow(&c->out, 4096);
        ssize_t n = os_recv(c->fd, to, 4096, c->deadline);
        if (n <= 0)
            return;
        if (c->out.n < MAX_OUTPUT)
            c->out.n += (size_t)n;
    }
}

static int exit_code(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run_and_wait(const struct os_spawn *s, struct collect c[2], struct mono deadline)
{
    pid_t pid;
    int r = os_spawn(s, &pid);
    os_close(s->out);
    os_close(s->err);
    if (r < 0)
        return r;
    struct group g = {0};
    for (int i = 0; i < 2; i++)
        group_spawn(&g, "collect", collect_output, &c[i]);
    int status = 0;
    r = os_wait_pid(pid, &status, deadline);
    if (r < 0) {
        os_kill(pid, SIGKILL);
        fiber_shield(true);
        os_wait_pid(pid, &status, MONO_NEVER);
        fiber_shield(false);
        group_cancel(&g);
    }
    /* A grandchild may hold the pipes open: what it says after the end of our child is not waited for long. */
    if (group_wait(&g, mono_add(os_mono(), MILLISECONDS(200))) < 0)
        group_stop(&g);
    return r < 0 ? r : exit_code(status);
}

int os_run(struct arena *a, const char *const *argv, struct str *ret_out, struct str *ret_err, struct mono deadline)
{
    int out[2], err[2];
    int r = os_socketpair(out);
    if (r < 0)
        return r;
    r = os_socketpair(err);
    if (r < 0) {
        os_close(out[0]);
        os_close(out[1]);
        return r;
    }
    struct collect c[2] = {{.fd = out[0], .deadline = deadline}, {.fd = err[0], .deadline = deadline}};
    struct os_spawn s = {.argv = argv, .in = -1, .out = out[1], .err = err[1]};
    r = run_and_wait(&s, c, deadline);
    if (ret_out && a)
        *ret_out = arena_str(a, buf_str(&c[0].out));
    if (ret_err && a)
        *ret_err = arena_str(a, buf_str(&c[1].out));
    for (int i = 0; i < 2; i++) {
        buf_done(&c[i].out);
        os_close(c[i].fd);
    }
    return r;
}
