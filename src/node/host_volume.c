/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What volumes are made of: folders whose files change all at once, tmpfs, group ownership, host paths, sub paths.
 *
 * Folders below a volume belong to the containers that use it, and a container is not trusted: everything here that
 * walks into one goes by file descriptors and follows no symlink out of it (CVE-2017-1002101, CVE-2021-25741).
 */
#include "base/fiber.h"
#include "base/map.h"
#include "base/os.h"
#include "node/host.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <mntent.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define TMPFS_MAGIC 0x01021994

static int fault(struct err *e, const char *what, const char *path)
{
    int r = -errno;
    return err_set(e, r, "cannot %s %s: %s", what, path, strerror(-r));
}

/* ---- all at once ----------------------------------------------------------------------------------------- *
 *
 * dir/..<time>.<random>/a/b      the files
 * dir/..data -> ..<time>.<random>   moved by one rename: the moment of change
 * dir/a -> ..data/a              what containers open
 */

static struct str first_part(struct str path)
{
    ssize_t slash = str_find(path, '/');
    return slash < 0 ? path : str_slice(path, 0, (size_t)slash);
}

static bool path_is_safe(struct str path)
{
    enum { DEEPEST = 64 };
    struct str rest = path, part;
    unsigned depth = 0;
    if (!path.n || path.p[0] == '/' || str_starts(path, STR("..")))
        return false;
    while (str_next(&rest, '/', &part))
        if (++depth > DEEPEST || !part.n || str_is(part, "..") || str_is(part, ".") || memchr(part.p, 0, part.n))
            return false;
    return true;
}

static unsigned file_mode(const struct payload *p, const struct payload_file *f)
{
    return p->gid >= 0 ? f->mode | 0440 : f->mode;
}

/* Does the present content, at data, hold this file as it should be? */
static bool same_file(struct arena *a, const char *data, const struct payload *p, const struct payload_file *f)
{
    struct stat st;
    struct str have, path = arena_printf(a, "%s/" STR_FMT, data, STR_ARG(f->path));
    if (lstat(path.p, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & 07777) != file_mode(p, f) ||
        (size_t)st.st_size != f->content.n || st.st_uid != (f->uid < 0 ? 0 : (uid_t)f->uid) ||
        (p->gid >= 0 && st.st_gid != (gid_t)p->gid))
        return false;
    return linux_read_file(NULL, a, path.p, f->content.n + 1, &have, NULL) == 0 && str_eq(have, f->content);
}

/* As deep as path_is_safe allows. */
static size_t count_files(int dirfd, const char *name)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    size_t n = 0;
    for (struct dirent *de; d && (de = readdir(d));) {
        if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
            continue;
        n += de->d_type == DT_DIR ? count_files(fd, de->d_name) : 1;
    }
    if (d)
        closedir(d);
    return n;
}

static bool payload_is_there(struct arena *a, const char *dir, const struct payload *p)
{
    struct str data = arena_printf(a, "%s/..data", dir);
    if (access(data.p, F_OK) != 0 || count_files(AT_FDCWD, data.p) != p->n)
        return false;
    for (size_t i = 0; i < p->n; i++)
        if (!same_file(a, data.p, p, &p->files[i]))
            return false;
    return true;
}

static int make_parents(struct arena *a, const char *root, struct str path, int64_t gid, struct err *e)
{
    for (size_t i = 0; i < path.n; i++)
        if (path.p[i] == '/') {
            struct str sub = arena_printf(a, "%s/" STR_FMT, root, STR_ARG(str_slice(path, 0, i)));
            if (mkdir(sub.p, 0755) < 0 && errno != EEXIST)
                return fault(e, "make the folder", sub.p);
            if (chmod(sub.p, 0755) < 0 || (gid >= 0 && lchown(sub.p, 0, (gid_t)gid) < 0))
                return fault(e, "set the owner of", sub.p);
        }
    return 0;
}

static int write_files(struct arena *a, const char *root, const struct payload *p, struct err *e)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct payload_file *f = &p->files[i];
        struct str path = arena_printf(a, "%s/" STR_FMT, root, STR_ARG(f->path));
        int r = make_parents(a, root, f->path, p->gid, e);
        if (r == 0)
            r = linux_write_file(NULL, path.p, f->content, file_mode(p, f), e);
        if (r < 0)
            return r;
        if ((f->uid >= 0 || p->gid >= 0) &&
            lchown(path.p, f->uid < 0 ? 0 : (uid_t)f->uid, p->gid < 0 ? (gid_t)-1 : (gid_t)p->gid) < 0)
            return fault(e, "set the owner of", path.p);
        if (chmod(path.p, file_mode(p, f)) < 0) /* chown cleared special bits */
            return fault(e, "set the mode of", path.p);
    }
    return 0;
}

static int link_names(struct arena *a, const char *dir, const struct payload *p, struct err *e)
{
    char **names;
    struct map wanted CLEANUP(map_done) = MAP_INIT;
    for (size_t i = 0; i < p->n; i++) {
        struct str name = first_part(p->files[i].path);
        if (map_put(&wanted, name, a))
            continue;
        struct str path = arena_printf(a, "%s/" STR_FMT, dir, STR_ARG(name));
        struct str target = arena_printf(a, "..data/" STR_FMT, STR_ARG(name));
        if (symlink(target.p, path.p) < 0 && errno != EEXIST)
            return fault(e, "make the link", path.p);
    }
    if (os_list_dir(a, dir, &names) == 0)
        for (; *names; names++)
            if (strncmp(*names, "..", 2) != 0 && !map_has(&wanted, str_of(*names)))
                unlink(arena_printf(a, "%s/%s", dir, *names).p);
    return 0;
}

static void remove_here(const char *path); /* on this thread */

static void remove_old(struct arena *a, const char *dir, const char *keep)
{
    char **names;
    if (os_list_dir(a, dir, &names) == 0)
        for (; *names; names++)
            if (!strncmp(*names, "..", 2) && strcmp(*names, "..data") != 0 && strcmp(*names, keep) != 0)
                remove_here(arena_printf(a, "%s/%s", dir, *names).p);
}

static int payload_write(struct arena *a, const char *dir, const struct payload *p, struct err *e)
{
    char stamp[TIME_TEXT_MAX];
    struct str name = arena_printf(a, "..%s.%08x", time_format_nano(os_wall(), stamp), (unsigned)os_random_below(UINT32_MAX));
    struct str root = arena_printf(a, "%s/" STR_FMT, dir, STR_ARG(name));
    struct str tmp = arena_printf(a, "%s/..data_tmp", dir), data = arena_printf(a, "%s/..data", dir);
    if (mkdir(root.p, 0755) < 0)
        return fault(e, "make the folder", root.p);
    int r = chmod(root.p, 0755) < 0 ? fault(e, "set the mode of", root.p) : write_files(a, root.p, p, e);
    if (r == 0 && p->gid >= 0 && (lchown(dir, 0, (gid_t)p->gid) < 0 || lchown(root.p, 0, (gid_t)p->gid) < 0))
        r = fault(e, "set the group of", dir);
    if (r == 0) {
        unlink(tmp.p);
        if (symlink(name.p, tmp.p) < 0 || rename(tmp.p, data.p) < 0)
            r = fault(e, "switch", data.p);
    }
    if (r < 0) {
        remove_here(root.p);
        return r;
    }
    r = link_names(a, dir, p, e);
    remove_old(a, dir, name.p);
    return r;
}

struct payload_job {
    const char *dir;
    const struct payload *p;
    bool there;
    int r;
    struct err e;
};

static void payload_run(void *arg)
{
    struct payload_job *j = arg;
    struct arena a = ARENA_INIT;
    j->there = payload_is_there(&a, j->dir, j->p);
    j->r = j->there ? 0 : payload_write(&a, j->dir, j->p, &j->e);
    arena_done(&a);
}

/* On a helper thread: an object may have a hundred thousand keys, and a disk may be slow. */
int linux_payload(struct host *h, const char *dir, const struct payload *p, bool *ret_changed, struct err *e)
{
    struct payload_job j = {.dir = dir, .p = p};
    for (size_t i = 0; i < p->n; i++)
        if (!path_is_safe(p->files[i].path))
            return err_set(e, -EINVAL, "\"" STR_FMT "\" is no path for a file of a volume",
                           STR_ARG(p->files[i].path));
    int r = linux_make_dir(h, dir, 0755, e);
    if (r < 0)
        return r;
    fiber_offload(payload_run, &j);
    if (j.r < 0 && e)
        *e = j.e;
    if (j.r == 0 && ret_changed)
        *ret_changed = !j.there;
    return j.r;
}

/* ---- tmpfs ----------------------------------------------------------------------------------------------- */

static bool is_mount_point(const char *path)
{
    struct stat st, up;
    char parent[4096];
    snprintf(parent, sizeof(parent), "%s/..", path);
    return lstat(path, &st) == 0 && stat(parent, &up) == 0 && st.st_dev != up.st_dev;
}

int linux_tmpfs(struct host *h, const char *path, int64_t size, struct err *e)
{
    struct statfs fs;
    char options[64] = "";
    int r = linux_make_dir(h, path, 0777, e);
    if (r < 0)
        return r;
    if (is_mount_point(path) && statfs(path, &fs) == 0 && (unsigned long)fs.f_type == TMPFS_MAGIC)
        return 0;
    if (size > 0)
        snprintf(options, sizeof(options), "size=%lld", (long long)size);
    if (mount("tmpfs", path, "tmpfs", 0, options) < 0)
        return fault(e, "mount a tmpfs at", path);
    return 0;
}

/* ---- group ownership ------------------------------------------------------------------------------------- */

/* As upstream's SetVolumeOwnership: the group may read and write, folders hand their group on. */
static int own_one(int dirfd, const char *name, const struct stat *st, gid_t gid)
{
    if (S_ISLNK(st->st_mode))
        return fchownat(dirfd, name, (uid_t)-1, gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
    mode_t mode = (st->st_mode & 07777) | 0660 | (S_ISDIR(st->st_mode) ? 02110 : 0);
    int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    char self[64];
    if (fd < 0)
        return -errno;
    snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    int r = fchownat(fd, "", (uid_t)-1, gid, AT_EMPTY_PATH) < 0 || chmod(self, mode) < 0 ? -errno : 0;
    close(fd);
    return r;
}

static int own_tree(int dirfd, const char *name, gid_t gid, unsigned depth)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    int r = own_one(dirfd, name, &st, gid);
    if (r < 0 || !S_ISDIR(st.st_mode) || depth > 200)
        return r;
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d)
        return -errno;
    for (struct dirent *de; r == 0 && (de = readdir(d));)
        if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
            r = own_tree(fd, de->d_name, gid, depth + 1);
    closedir(d);
    return r;
}

struct own_job {
    const char *path;
    gid_t gid;
    int r;
};

static void own_run(void *arg)
{
    struct own_job *j = arg;
    j->r = own_tree(AT_FDCWD, j->path, j->gid, 0);
}

int linux_own(struct host *h, const char *path, int64_t gid, bool always, struct err *e)
{
    struct stat st;
    if (!always && stat(path, &st) == 0 && st.st_gid == (gid_t)gid && (st.st_mode & 02770) == 02770)
        return 0;
    struct own_job j = {path, (gid_t)gid, 0};
    fiber_offload(own_run, &j);
    return j.r < 0 ? err_set(e, j.r, "cannot give %s to group %lld: %s", path, (long long)gid, strerror(-j.r)) : 0;
}

/* ---- host paths ------------------------------------------------------------------------------------------ */

static int make_file(const char *path, struct err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return fault(e, "make", path);
    close(fd);
    return 0;
}

int linux_host_path(struct host *h, const char *path, const char *type, struct err *e)
{
    static const struct {
        const char *type;
        mode_t format;
        const char *what;
    } kinds[] = {
        {"Directory", S_IFDIR, "a directory"},       {"DirectoryOrCreate", S_IFDIR, "a directory"},
        {"File", S_IFREG, "a file"},                 {"FileOrCreate", S_IFREG, "a file"},
        {"Socket", S_IFSOCK, "a socket file"},       {"CharDevice", S_IFCHR, "a character device"},
        {"BlockDevice", S_IFBLK, "a block device"},
    };
    struct stat st;
    bool there = stat(path, &st) == 0;
    if (!*type)
        return 0;
    if (!there && !strcmp(type, "DirectoryOrCreate"))
        return linux_make_dir(h, path, 0755, e);
    if (!there && !strcmp(type, "FileOrCreate"))
        return make_file(path, e);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (!strcmp(type, kinds[i].type)) {
            if (there && (st.st_mode & S_IFMT) == kinds[i].format)
                return 0;
            return err_set(e, -EINVAL, "hostPath type check failed: %s is not %s", path, kinds[i].what);
        }
    return err_set(e, -EINVAL, "hostPath type \"%s\" does not exist", type);
}

/* ---- sub paths ------------------------------------------------------------------------------------------- */

static int open_beneath(int root, const char *path, uint64_t flags)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
    return fd < 0 ? -errno : fd;
}

int linux_open_log(struct host *h UNUSED, const char *path)
{
    int root = open("/var/log", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return -errno;
    int fd = open_beneath(root, *path ? path : ".", O_RDONLY | O_NONBLOCK | O_NOCTTY); /* a fifo keeps nobody waiting */
    close(root);
    return fd;
}

/* A folder of that mode whatever our umask is. It is set on what was made, not on what lies there by now. */
static int make_in(int up, const char *name, mode_t mode)
{
    if (mkdirat(up, name, mode) < 0)
        return errno == EEXIST ? 0 : -errno;
    int fd = openat(up, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = fchmod(fd, mode) < 0 ? -errno : 0;
    close(fd);
    return r;
}

/* Opens root/sub, making the folders that are missing one by one, as the volume's own folder is. */
static int open_or_make(struct arena *a, int root, struct str sub)
{
    int fd = open_beneath(root, arena_cstr(a, sub), O_PATH);
    if (fd != -ENOENT)
        return fd;
    struct stat st;
    mode_t mode = fstat(root, &st) == 0 ? st.st_mode & 02777 : 0750;
    for (size_t i = 1; i <= sub.n; i++) {
        if (i < sub.n && sub.p[i] != '/')
            continue;
        struct str part = str_slice(sub, 0, i), name = part;
        ssize_t slash = str_rfind(part, '/');
        int up = slash < 0 ? dup(root) : open_beneath(root, arena_cstr(a, str_slice(part, 0, (size_t)slash)), O_PATH | O_DIRECTORY);
        if (up < 0)
            return up;
        name = str_from(part, slash < 0 ? 0 : (size_t)slash + 1);
        int r = name.n ? make_in(up, arena_cstr(a, name), mode) : 0;
        close(up);
        if (r < 0)
            return r;
    }
    return open_beneath(root, arena_cstr(a, sub), O_PATH);
}

static int make_target(const char *target, bool dir, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct str parent = str_slice(str_of(target), 0, (size_t)MAX(str_rfind(str_of(target), '/'), (ssize_t)1));
    while (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
        ;
    int r = linux_make_dir(NULL, arena_cstr(&a, parent), 0750, e);
    if (r == 0 && dir) {
        unlink(target);
        r = linux_make_dir(NULL, target, 0750, e);
    } else if (r == 0) {
        rmdir(target);
        r = make_file(target, e);
    }
    arena_done(&a);
    return r;
}

int linux_subpath(struct host *h, const char *volume, const char *sub, const char *target, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct stat st;
    char from[64];
    int root = open(volume, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
    int r = root < 0 ? fault(e, "open the volume", volume) : 0;
    if (r == 0) {
        fd = open_or_make(&a, root, str_of(sub));
        if (fd < 0)
            r = err_set(e, fd, fd == -EXDEV ? "subPath \"%s\" leads out of its volume: %s" : "cannot open subPath \"%s\": %s",
                        sub, strerror(-fd));
    }
    if (r == 0 && fstat(fd, &st) < 0)
        r = fault(e, "look at", sub);
    if (r == 0)
        r = make_target(target, S_ISDIR(st.st_mode), e);
    if (r == 0) {
        snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
        if (mount(from, target, NULL, MS_BIND, NULL) < 0)
            r = fault(e, "mount a subPath at", target);
    }
    if (fd >= 0)
        close(fd);
    if (root >= 0)
        close(root);
    arena_done(&a);
    return r;
}

/* ---- the end of a folder --------------------------------------------------------------------------------- */

/* Unmounts everything at and below path, deepest (last mounted) first. */
static int unmount_below(const char *path)
{
    struct arena a = ARENA_INIT;
    struct str *points = NULL, root = str_of(path);
    size_t n = 0, cap = 0;
    FILE *f = setmntent("/proc/self/mounts", "r");
    struct mntent m;
    char line[8192];
    int r = 0;
    while (f && getmntent_r(f, &m, line, sizeof(line))) {
        struct str p = str_of(m.mnt_dir);
        if (!str_starts(p, root) || (p.n > root.n && p.p[root.n] != '/'))
            continue;
        if (n == cap) {
            cap = cap ? 2 * cap : 16;
            points = xrealloc(points, cap * sizeof(*points));
        }
        points[n++] = arena_str(&a, p);
    }
    if (f)
        endmntent(f);
    while (n-- > 0)
        if (umount2(points[n].p, UMOUNT_NOFOLLOW) < 0 && umount2(points[n].p, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 &&
            errno != EINVAL)
            r = -errno;
    free(points);
    arena_done(&a);
    return r;
}

/* Something mounted there is never reached into: it may be a piece of the host, and on the same device. */
static bool is_mount_root(int fd, dev_t dev)
{
    struct statx sx;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &sx) < 0 || makedev(sx.stx_dev_major, sx.stx_dev_minor) != dev)
        return true;
    return (sx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) && (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

struct removal {
    int top;    /* the folder that goes; what lies too deep is moved up into it */
    dev_t dev;
    unsigned moved;
};

/* Containers make trees as deep as they like; our stack and our descriptors end sooner. */
enum { REMOVE_DEPTH = 64 };

static int move_up(struct removal *j, int dirfd, const char *name)
{
    char to[64];
    snprintf(to, sizeof(to), ".cube-deep-%u-%08x", j->moved++, (unsigned)os_random_below(UINT32_MAX));
    return renameat(dirfd, name, j->top, to) < 0 ? -errno : 0;
}

static int remove_at(struct removal *j, int dirfd, const char *name, unsigned depth);

static int remove_entries(struct removal *j, DIR *d, unsigned depth)
{
    int r = 0;
    for (struct dirent *de; r == 0 && (de = readdir(d));)
        if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
            r = remove_at(j, dirfd(d), de->d_name, depth + 1);
    return r;
}

static int remove_at(struct removal *j, int dirfd, const char *name, unsigned depth)
{
    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0)
        return 0;
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d)
        return -errno;
    unsigned moved;
    int r = 0;
    if (is_mount_root(fd, j->dev))
        r = -EBUSY;
    else if (depth > REMOVE_DEPTH)
        r = move_up(j, dirfd, name);
    else if (depth > 0)
        r = remove_entries(j, d, depth);
    else
        for (j->top = fd; r == 0; rewinddir(d)) { /* again for what was moved up */
            moved = j->moved;
            r = remove_entries(j, d, depth);
            if (moved == j->moved)
                break;
        }
    closedir(d);
    if (r == 0 && depth <= REMOVE_DEPTH && unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        r = -errno;
    return r;
}

struct remove_job {
    const char *path;
    int r;
};

static void remove_run(void *arg)
{
    struct remove_job *j = arg;
    struct removal all = {.top = -1};
    struct stat st;
    char *real = NULL; /* as the kernel names mounts: no symlinks, no double slashes */
    if (lstat(j->path, &st) < 0)
        return;
    all.dev = st.st_dev;
    if (!S_ISLNK(st.st_mode)) {
        real = realpath(j->path, NULL);
        j->r = real && strcmp(real, "/") != 0 ? unmount_below(real) : real ? -EINVAL : -errno;
        if (j->r == 0 && lstat(real, &st) == 0)
            all.dev = st.st_dev;
    }
    if (j->r == 0)
        j->r = remove_at(&all, AT_FDCWD, real ? real : j->path, 0);
    free(real);
}

static void remove_here(const char *path)
{
    remove_run(&(struct remove_job){path, 0});
}

int linux_remove_tree(struct host *h, const char *path, struct err *e)
{
    struct remove_job j = {path, 0};
    struct stat st;
    if (lstat(path, &st) < 0 && errno == ENOENT)
        return 0;
    fiber_offload(remove_run, &j);
    return j.r < 0 ? err_set(e, j.r, "cannot remove %s: %s", path, strerror(-j.r)) : 0;
}
