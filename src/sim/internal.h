/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of sim/: the world's state and its file descriptors. */
#pragma once

#include "base/map.h"
#include "sim/world.h"

struct sim_file;
struct sim_pipe;

enum fd_kind { FD_FREE, FD_FILE, FD_LISTENER, FD_STREAM, FD_DATAGRAM };

/* One open thing. Numbers start at FD_BASE, so that a real fd passed by mistake is found at once. */
enum { FD_BASE = 1000 };
struct sim_fd {
    enum fd_kind kind;
    bool dead;             /* its process was killed */
    char *address;         /* listener, stream: own address; file: path */
    struct sim_file *file;
    struct sim_pipe *in, *out; /* stream */
    struct list backlog;   /* listener */
    struct list datagrams; /* datagram socket */
    struct waitq waiters;
};

struct sim {
    struct sim_config config;
    int64_t now, wall_offset;
    uint64_t os_state, own_state; /* two streams of chance */
    uint64_t trace_hash;
    int trace_fd;
    struct sim_fd *fds;
    int n_fds;
    unsigned next_port;
    struct map files, durable_names; /* path -> struct sim_file *, now and after a power cut */
    struct map listeners;            /* address -> fd + 1 as pointer */
    unsigned fail_after;
    int fail_times;
};
extern _Thread_local struct sim *sim;

uint64_t sim_next(uint64_t *state);
int64_t sim_between(int64_t min, int64_t max);
int sim_fd_new(enum fd_kind kind);
struct sim_fd *sim_fd_get(int fd); /* NULL when free or dead */
void sim_fd_free(int fd);

/* disk.c */
int disk_open(const char *path, int flags, mode_t mode);
ssize_t disk_pread(int fd, void *p, size_t n, off_t at);
ssize_t disk_pwrite(int fd, const void *p, size_t n, off_t at);
int disk_fdatasync(int fd);
int disk_ftruncate(int fd, off_t size);
int disk_fallocate(int fd, off_t at, off_t n);
int disk_fsize(int fd, off_t *ret);
int disk_rename(const char *from, const char *to);
int disk_unlink(const char *path);
int disk_mkdir(const char *path, mode_t mode);
int disk_sync_dir(const char *path);
int disk_list_dir(struct arena *a, const char *path, char ***ret);
int disk_flock(int fd);
void disk_closed(struct sim_fd *f);
void disk_done(void);

/* socket.c */
int sim_listen(const char *address, struct err *e);
int sim_accept(int fd, char *ret_peer, size_t peer_size, struct mono deadline);
int sim_connect(const char *address, struct mono deadline);
ssize_t sim_try_recv(int fd, void *p, size_t n);
ssize_t sim_try_send(int fd, const void *p, size_t n, bool more);
int sim_shutdown(int fd);
int sim_local_address(int fd, char *ret, size_t size);
int sim_udp_bind(const char *address, struct err *e);
ssize_t sim_try_recvfrom(int fd, void *p, size_t n, char *ret_peer, size_t peer_size);
ssize_t sim_sendto(int fd, const void *p, size_t n, const char *peer);
int sim_socketpair(int ret[2]);
int sim_wait_fd(int fd, int events, struct mono deadline);
void socket_closed(struct sim_fd *f);
