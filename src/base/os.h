/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one door to the world: clock, randomness, disk, sockets, processes. Nothing above base/ calls the kernel for
 * these by itself. Behind the door stands the real system (os_real.c) or a simulated one (sim/), chosen per thread
 * with os_use() before loop_run(). Functions marked "waits" suspend the calling fiber, nothing else.
 *
 * File descriptors are the door's own: pass them to nothing but this door. Errors are -errno.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/time.h"

#include <sys/uio.h>

struct fiber;

/* ---- which world ------------------------------------------------------------------------------------- */

struct os_ops;
extern const struct os_ops os_real;
void os_use(const struct os_ops *ops); /* this thread's door; os_real unless told otherwise */
const struct os_ops *os_in_use(void);
/* Gives back what this thread's loops used of the real world: last in a thread that ends before the process. */
void os_thread_done(void);

/* ---- clock and chance -------------------------------------------------------------------------------- */

struct mono os_mono(void);
struct wall os_wall(void);
void os_random(void *p, size_t n); /* cryptographically strong in the real world, seeded in the simulated one */
uint64_t os_random_u64(void);
uint64_t os_random_below(uint64_t n); /* uniform in [0, n); n > 0 */
/* Gives to the kernel what this process does not need now: free heap, stacks of fibers; starting: also code that was
 * needed to start (it comes back from the page cache when it runs again). */
void os_give_back(bool starting);

/* ---- disk -------------------------------------------------------------------------------------------- */

int os_open(const char *path, int flags, mode_t mode); /* open(2) flags; O_CLOEXEC is added */
int os_close(int fd);                                  /* any fd of this door; wakes its waiters with -EBADF */
ssize_t os_pread(int fd, void *p, size_t n, off_t at);
ssize_t os_pwrite(int fd, const void *p, size_t n, off_t at);
int os_fdatasync(int fd); /* waits (helper thread) */
int os_ftruncate(int fd, off_t size);
int os_fallocate(int fd, off_t at, off_t n);
int os_fsize(int fd, off_t *ret);
int os_rename(const char *from, const char *to);
int os_unlink(const char *path);
int os_mkdir(const char *path, mode_t mode); /* 0 also when it is there already */
int os_mkdir_all(const char *path, mode_t mode);
int os_sync_dir(const char *path); /* waits */
/* Names in a directory without "." and "..", sorted, NULL-terminated, from the arena. */
int os_list_dir(struct arena *a, const char *path, char ***ret);
int os_flock(int fd); /* exclusive, does not wait: -EWOULDBLOCK when somebody else has it */
/* A whole file, at most max bytes (-EFBIG). */
int os_read_file(struct arena *a, const char *path, size_t max, struct str *ret);
/* Replaces a file atomically and durably: temporary beside it, fsync, rename, fsync of the folder. Waits. */
int os_write_file(const char *path, struct str content, mode_t mode);

/* ---- sockets ----------------------------------------------------------------------------------------- */

/* Addresses are text: "127.0.0.1:80", "[::1]:443", "unix:/run/x.sock", "unix:@abstract". Names are not resolved
 * here (net/resolve.h does). */
int os_listen(const char *address, struct err *e); /* the fd of a listening stream socket */
int os_accept(int fd, char *ret_peer, size_t peer_size, struct mono deadline); /* waits; peer as text, may be NULL */
int os_connect(const char *address, struct mono deadline);                     /* waits; the fd of a stream socket */
ssize_t os_recv(int fd, void *p, size_t n, struct mono deadline);              /* waits; 0 at end of stream */
ssize_t os_send(int fd, const void *p, size_t n, struct mono deadline);        /* waits until all n are taken */
ssize_t os_try_recv(int fd, void *p, size_t n);                                /* -EAGAIN instead of waiting */
/* more: there are bytes to come at once, so that what does not fill a packet may wait for them. */
ssize_t os_try_send(int fd, const void *p, size_t n, bool more);
int os_shutdown(int fd); /* no more sending */
int os_local_address(int fd, char *ret, size_t size);
int os_udp_bind(const char *address, struct err *e);
ssize_t os_recvfrom(int fd, void *p, size_t n, char *ret_peer, size_t peer_size, struct mono deadline); /* waits */
ssize_t os_sendto(int fd, const void *p, size_t n, const char *peer);
/* What links say to find out who has an address, for root: ARP without its Ethernet header, or ICMPv6 messages about
 * neighbours (solicitations and advertisements; sent with hop limit 255). Bound to one link. */
enum os_link_kind { OS_LINK_ARP, OS_LINK_ICMP6 };
struct os_link_peer {
    uint8_t mac[6]; /* ARP */
    uint8_t ip[16]; /* ICMPv6 */
    int hops;       /* ICMPv6: what was left of its hop limit; -1: not known */
};
int os_link_open(enum os_link_kind kind, int link, struct err *e);
/* An fd that makes the link hear an IPv6 multicast group until it is closed. */
int os_link_join(int link, const uint8_t group[static 16], struct err *e);
ssize_t os_link_recv(int fd, void *p, size_t n, struct os_link_peer *ret_from, struct mono deadline); /* waits */
ssize_t os_link_send(int fd, const void *p, size_t n, const struct os_link_peer *to); /* -EAGAIN instead of waiting */
/* A pair of connected stream sockets, as socketpair(2). */
int os_socketpair(int ret[2]);

enum { OS_READABLE = 1, OS_WRITABLE = 4 }; /* as POLLIN, POLLOUT */
/* Waits until fd (also one that a library opened: netlink, inotify, pidfd, a pty) is ready. Returns the events. */
int os_wait_fd(int fd, int events, struct mono deadline);
/* Tell the door that an fd it was asked to wait for is about to be closed by somebody else (a library). */
void os_forget_fd(int fd);

/* ---- processes --------------------------------------------------------------------------------------- */

struct os_spawn {
    const char *const *argv; /* argv[0] is looked up in PATH when it has no slash */
    const char *const *env;  /* NULL: inherit */
    const char *cwd;         /* NULL: inherit */
    int in, out, err;        /* -1: /dev/null (in), inherit (out, err) */
    bool new_session;        /* setsid: outlives us and our terminal */
};
int os_spawn(const struct os_spawn *s, pid_t *ret_pid);
int os_wait_pid(pid_t pid, int *ret_status, struct mono deadline); /* waits; wait(2)'s status */
int os_kill(pid_t pid, int sig);
/* Runs a program to its end, with both outputs collected (at most 1 MiB; either may be NULL). Returns its exit
 * code (128 + n when ended by signal n) or -errno. Waits. */
int os_run(struct arena *a, const char *const *argv, struct str *ret_out, struct str *ret_err, struct mono deadline);
/* Waits for one of SIGINT, SIGTERM, SIGHUP; returns its number. One waiter a process. */
int os_wait_signal(struct mono deadline);

/* ---- for doors ---------------------------------------------------------------------------------------- */

/* What another world must supply. Everything above that is not here is built from these in os.c. */
struct os_ops {
    const char *name;
    struct mono (*mono)(void);
    struct wall (*wall)(void);
    void (*random)(void *p, size_t n);
    /* Sleeps until something is ready or the deadline; makes fibers ready. Called when no fiber can run. */
    void (*poll)(struct mono deadline);
    void (*offload)(void (*fn)(void *arg), void *arg); /* see fiber_offload */

    int (*open)(const char *path, int flags, mode_t mode);
    int (*close)(int fd);
    ssize_t (*pread)(int fd, void *p, size_t n, off_t at);
    ssize_t (*pwrite)(int fd, const void *p, size_t n, off_t at);
    int (*fdatasync)(int fd);
    int (*ftruncate)(int fd, off_t size);
    int (*fallocate)(int fd, off_t at, off_t n);
    int (*fsize)(int fd, off_t *ret);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*mkdir)(const char *path, mode_t mode);
    int (*sync_dir)(const char *path);
    int (*list_dir)(struct arena *a, const char *path, char ***ret);
    int (*flock)(int fd);

    int (*listen)(const char *address, struct err *e);
    int (*accept)(int fd, char *ret_peer, size_t peer_size, struct mono deadline);
    int (*connect)(const char *address, struct mono deadline);
    ssize_t (*try_recv)(int fd, void *p, size_t n);
    ssize_t (*try_send)(int fd, const void *p, size_t n, bool more);
    int (*shutdown)(int fd);
    int (*local_address)(int fd, char *ret, size_t size);
    int (*udp_bind)(const char *address, struct err *e);
    ssize_t (*try_recvfrom)(int fd, void *p, size_t n, char *ret_peer, size_t peer_size);
    ssize_t (*sendto)(int fd, const void *p, size_t n, const char *peer);
    int (*link_open)(enum os_link_kind kind, int link, struct err *e);
    int (*link_join)(int link, const uint8_t group[static 16], struct err *e);
    ssize_t (*link_try_recv)(int fd, void *p, size_t n, struct os_link_peer *ret_from);
    ssize_t (*link_send)(int fd, const void *p, size_t n, const struct os_link_peer *to);
    int (*socketpair)(int ret[2]);
    int (*wait_fd)(int fd, int events, struct mono deadline);
    void (*forget_fd)(int fd);

    int (*spawn)(const struct os_spawn *s, pid_t *ret_pid);
    int (*wait_pid)(pid_t pid, int *ret_status, struct mono deadline);
    int (*kill)(pid_t pid, int sig);
    int (*wait_signal)(struct mono deadline);
};
