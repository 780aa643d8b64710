/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine a node is: its size, its cgroups, and the files and mounts that volumes are made of. Everything of the
 * kubelet that is Linux stands behind this interface (host_linux.c, host_volume.c, cgroup.c); a hollow node has a
 * machine of the mind (hollow.h).
 *
 * Functions wait where the disk may be slow. 0 or -errno with a sentence.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/time.h"
#include "node/qos.h"

struct host;

struct host_facts {
    int64_t cpus;
    int64_t memory, swap;         /* bytes */
    int64_t fs_bytes, fs_inodes;  /* of the file system with the kubelet's folder */
    int64_t max_pids;
    struct str machine_id, system_uuid, boot_id, kernel, os_image, arch;
    bool cgroup2;
    struct str cgroups_missing;   /* controllers that Pods need and this machine does not have: "cpu, memory"; empty: none */
};

/* What is in use now; -1 unknown. */
struct host_usage {
    struct wall at;
    struct wall booted;
    int64_t cpu_ns;               /* since boot */
    int64_t memory_available, memory_working_set, memory_usage, memory_rss;
    int64_t page_faults, major_page_faults;
    int64_t fs_bytes, fs_available, fs_inodes, fs_inodes_free;
    int64_t pids, max_pids;
    int64_t swap_total, swap_free;
    int64_t rx_bytes, tx_bytes, rx_errors, tx_errors;
    char interface[32]; /* that of the default route */
};

/* Pressure stall information: how long was waited for a resource, by some or by all tasks. */
struct psi_line {
    double avg10, avg60, avg300; /* per cent */
    int64_t total;               /* microseconds */
};
struct psi {
    bool known;
    struct psi_line some, full;
};
void psi_parse(struct str text, struct psi *ret); /* of /proc/pressure/x or a cgroup's x.pressure */

/* What a cgroup has used; -1 unknown. */
struct cgroup_usage {
    struct wall at;
    int64_t cpu_ns, cpu_user_ns, cpu_system_ns;
    int64_t cfs_periods, cfs_throttled, cfs_throttled_ns;
    int64_t memory_usage, memory_working_set, memory_rss, memory_cache, memory_mapped;
    int64_t memory_max, memory_limit, memory_failures; /* limit -1: none */
    int64_t swap, swap_limit;
    int64_t page_faults, major_page_faults, oom_kills;
    int64_t pids, io_read, io_written;
    struct psi cpu_pressure, memory_pressure, io_pressure;
};
#define CGROUP_USAGE_UNKNOWN                                                                                             \
    ((struct cgroup_usage){.cpu_ns = -1, .cpu_user_ns = -1, .cpu_system_ns = -1, .cfs_periods = -1, .cfs_throttled = -1, \
        .cfs_throttled_ns = -1, .memory_usage = -1, .memory_working_set = -1, .memory_rss = -1, .memory_cache = -1,      \
        .memory_mapped = -1, .memory_max = -1, .memory_limit = -1, .memory_failures = -1, .swap = -1, .swap_limit = -1,   \
        .page_faults = -1, .major_page_faults = -1, .oom_kills = -1, .pids = -1, .io_read = -1, .io_written = -1})

/* One file of a projected volume. path is relative and may have folders. */
struct payload_file {
    struct str path, content;
    unsigned mode;
    int64_t uid; /* owner; -1: root */
};
struct payload {
    const struct payload_file *files;
    size_t n;
    int64_t gid; /* fsGroup: all files become readable for it; -1: none */
};

/* What lies at a path (symlinks followed). */
struct host_stat {
    char kind;    /* 'd' folder, 'f' file, 'b' and 'c' devices, 's' socket, 'o' anything else */
    bool mounted; /* something is mounted right there */
    unsigned mode;
    int64_t uid, gid;
    uint64_t id;     /* another one when it was made anew */
    uint64_t device; /* of a device: its number */
};

/* As for mount(8). type "": a bind mount. */
struct host_mount {
    const char *source, *target, *type;
    const struct str *options;
    size_t n_options;
};

/* Of the file system, or (du) of one tree: then only what is used. */
struct host_space {
    int64_t capacity, available, used, inodes, inodes_free, inodes_used;
};

struct host_ops {
    int (*facts)(struct host *h, struct arena *a, struct host_facts *ret, struct err *e);
    int (*usage)(struct host *h, struct host_usage *ret);

    int (*make_dir)(struct host *h, const char *path, unsigned mode, struct err *e); /* with parents; 0 when it is there */
    /* Unmounts what is mounted at and below it, then removes it all; 0 when there is nothing. */
    int (*remove_tree)(struct host *h, const char *path, struct err *e);
    int (*write_file)(struct host *h, const char *path, struct str content, unsigned mode, struct err *e);
    int (*read_file)(struct host *h, struct arena *a, const char *path, size_t max, struct str *ret, struct err *e);
    int (*read_tail)(struct host *h, struct arena *a, const char *path, size_t max, struct str *ret);
    int (*list_dir)(struct host *h, struct arena *a, const char *path, char ***ret);
    int (*symlink)(struct host *h, const char *target, const char *path); /* replaces what is there */

    /* Makes dir hold exactly these files, all at once for whoever looks (..data symlink). *ret_changed may be NULL. */
    int (*payload)(struct host *h, const char *dir, const struct payload *p, bool *ret_changed, struct err *e);
    /* A tmpfs at path, once; size 0: the kernel's default. */
    int (*tmpfs)(struct host *h, const char *path, int64_t size, struct err *e);
    /* Gives the tree to a group (fsGroup). always false: only when its top is not that group's already. */
    int (*own)(struct host *h, const char *path, int64_t gid, bool always, struct err *e);
    /* A descriptor of what lies at that path below /var/log; links that lead out of it lead nowhere. May be NULL: there are none. */
    int (*open_log)(struct host *h, const char *path);
    /* Is it of that hostPath type ("Directory", "FileOrCreate" ...)? Makes it where the type says so. */
    int (*host_path)(struct host *h, const char *path, const char *type, struct err *e);
    /* Mounts volume/sub at target, without ever leaving volume by a symlink; makes a missing sub. */
    int (*subpath)(struct host *h, const char *volume, const char *sub, const char *target, struct err *e);

    /* These may be NULL where there are no mounts (call them through the host_* functions below). */
    int (*stat)(struct host *h, const char *path, struct host_stat *ret);
    int (*mount)(struct host *h, const struct host_mount *m, struct err *e);
    /* A block device: makes a file system of m->type when it has none. */
    int (*mount_device)(struct host *h, const struct host_mount *m, struct err *e);
    int (*resize)(struct host *h, const char *device, const char *mounted, struct err *e); /* file system to its device's size */
    /* All that is mounted right there, then the empty folder or file itself; 0 when there is nothing. */
    int (*unmount)(struct host *h, const char *path, bool force, struct err *e);
    /* What is mounted below it here is seen by containers that have it mounted, and the other way round (propagation). */
    int (*share)(struct host *h, const char *path, struct err *e);
    int (*space)(struct host *h, const char *path, struct host_space *ret);
    int (*du)(struct host *h, const char *path, struct host_space *ret);

    int (*cgroup_set)(struct host *h, const char *path, const struct cgroup_limits *l, struct err *e);
    int (*cgroup_get)(struct host *h, const char *path, struct cgroup_state *ret); /* -ENOENT; may be NULL: no cgroups */
    int (*cgroup_usage)(struct host *h, const char *path, struct cgroup_usage *ret); /* the same */
    int (*cgroup_remove)(struct host *h, const char *path, struct err *e); /* ends processes left in it */
    bool (*cgroup_exists)(struct host *h, const char *path);
    int (*cgroup_list)(struct host *h, struct arena *a, const char *path, char ***ret); /* names of children */

    /* Lets Pods of these ranges out under the machine's own address, except to each other. May be NULL. */
    int (*masquerade)(struct host *h, const char *bridge, const struct str *cidrs, size_t n, const char *cluster_cidr,
                      struct err *e);
    /* Has somebody taken that away? *generation: of the kernel's rules when they were last looked at. May be NULL: never. */
    bool (*masquerade_lost)(struct host *h, const char *bridge, uint32_t *generation);

    /* Waits until that process has ended: 0; -ESRCH at once when there is none, -ETIMEDOUT, -ECANCELED. */
    int (*wait_process)(struct host *h, int pid, struct mono deadline);
    /* Waits until something in the folder changed: 0, -ETIMEDOUT, -ECANCELED. */
    int (*watch_dir)(struct host *h, const char *path, struct mono deadline);
    void (*free)(struct host *h);
};

struct host {
    const struct host_ops *ops;
};

/* root_dir: the kubelet's folder, whose file system is the node's. cgroup_mount: "/sys/fs/cgroup". */
struct host *host_linux_new(const char *root_dir);
static inline void host_free(struct host *h)
{
    if (h)
        h->ops->free(h);
}

int host_stat(struct host *h, const char *path, struct host_stat *ret);
bool host_mounted(struct host *h, const char *path);
int host_mount(struct host *h, const struct host_mount *m, struct err *e);
int host_mount_device(struct host *h, const struct host_mount *m, struct err *e);
int host_resize(struct host *h, const char *device, const char *mounted, struct err *e);
int host_unmount(struct host *h, const char *path, bool force, struct err *e);
int host_space(struct host *h, const char *path, struct host_space *ret);
int host_du(struct host *h, const char *path, struct host_space *ret);

/* ---- the Linux machine's parts, private to host_*.c and cgroup.c ------------------------------------------- */

int linux_payload(struct host *h, const char *dir, const struct payload *p, bool *ret_changed, struct err *e);
int linux_tmpfs(struct host *h, const char *path, int64_t size, struct err *e);
int linux_own(struct host *h, const char *path, int64_t gid, bool always, struct err *e);
int linux_open_log(struct host *h, const char *path);
int linux_host_path(struct host *h, const char *path, const char *type, struct err *e);
int linux_subpath(struct host *h, const char *volume, const char *sub, const char *target, struct err *e);
int linux_remove_tree(struct host *h, const char *path, struct err *e);
int linux_stat(struct host *h, const char *path, struct host_stat *ret);
int linux_mount(struct host *h, const struct host_mount *m, struct err *e);
int linux_mount_device(struct host *h, const struct host_mount *m, struct err *e);
int linux_resize(struct host *h, const char *device, const char *mounted, struct err *e);
int linux_unmount(struct host *h, const char *path, bool force, struct err *e);
int linux_share(struct host *h, const char *path, struct err *e);
int linux_space(struct host *h, const char *path, struct host_space *ret);
int linux_du(struct host *h, const char *path, struct host_space *ret);
int linux_make_dir(struct host *h, const char *path, unsigned mode, struct err *e);
int linux_write_file(struct host *h, const char *path, struct str content, unsigned mode, struct err *e);
int linux_read_file(struct host *h, struct arena *a, const char *path, size_t max, struct str *ret, struct err *e);
int linux_cgroup_set(struct host *h, const char *path, const struct cgroup_limits *l, struct err *e);
int linux_cgroup_get(struct host *h, const char *path, struct cgroup_state *ret);
int linux_cgroup_usage(struct host *h, const char *path, struct cgroup_usage *ret);
int cgroup_usage_read(const char *mount, bool v2, const char *path, struct cgroup_usage *ret);
int linux_cgroup_remove(struct host *h, const char *path, struct err *e);
struct str linux_cgroup_missing(struct arena *a);
bool linux_cgroup_exists(struct host *h, const char *path);
int linux_cgroup_list(struct host *h, struct arena *a, const char *path, char ***ret);
bool linux_cgroup2(void);
int linux_masquerade(struct host *h, const char *bridge, const struct str *cidrs, size_t n, const char *cluster_cidr,
                     struct err *e);
bool linux_masquerade_lost(struct host *h, const char *bridge, uint32_t *generation);
