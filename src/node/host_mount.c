/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts, devices and file systems for volumes: by system call where that is enough, by mount(8) for what has
 * helpers. */
#include "base/fiber.h"
#include "base/os.h"
#include "node/host.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* ---- looking ------------------------------------------------------------------------------------------- */

static char kind_of(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return 'd';
    case S_IFREG:
        return 'f';
    case S_IFBLK:
        return 'b';
    case S_IFCHR:
        return 'c';
    case S_IFSOCK:
        return 's';
    }
    return 'o';
}

/* With a kernel before 5.8 only mounts of another device are seen: bind mounts of the same one are not. */
static bool is_mount(const char *path)
{
    struct statx sx;
    struct stat st, up;
    char parent[4096];
    if (statx(AT_FDCWD, path, AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &sx) == 0 &&
        (sx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT))
        return sx.stx_attributes & STATX_ATTR_MOUNT_ROOT;
    snprintf(parent, sizeof(parent), "%s/..", path);
    return lstat(path, &st) == 0 && stat(parent, &up) == 0 && st.st_dev != up.st_dev;
}

struct stat_job {
    const char *path;
    struct host_stat *ret;
    int r;
};

static void stat_run(void *arg)
{
    struct stat_job *j = arg;
    struct stat st;
    if (stat(j->path, &st) < 0) {
        j->r = -errno;
        return;
    }
    *j->ret = (struct host_stat){
        .kind = kind_of(st.st_mode),
        .mode = st.st_mode & 07777,
        .uid = st.st_uid,
        .gid = st.st_gid,
        /* Not the time of its last change: who opens its socket to others has not made it anew. */
        .id = (uint64_t)st.st_ino * 31 + (uint64_t)st.st_mtim.tv_sec * 1000000007ULL + (uint64_t)st.st_mtim.tv_nsec,
        .device = st.st_rdev,
        .mounted = is_mount(j->path),
    };
}

/* On a helper thread: the server of a network file system may be gone. */
int linux_stat(struct host *h, const char *path, struct host_stat *ret)
{
    struct stat_job j = {path, ret, 0};
    fiber_offload(stat_run, &j);
    return j.r;
}

/* ---- mounting ------------------------------------------------------------------------------------------ */

static bool has_option(const struct host_mount *m, const char *option)
{
    for (size_t i = 0; i < m->n_options; i++)
        if (str_is(m->options[i], option))
            return true;
    return false;
}

static struct str join_options(struct arena *a, const struct host_mount *m)
{
    return arena_join(a, m->options, m->n_options, STR(","));
}

struct bind_job {
    const char *source, *target;
    bool read_only;
    int r;
};

static void bind_run(void *arg)
{
    struct bind_job *j = arg;
    if (mount(j->source, j->target, NULL, MS_BIND | MS_REC, NULL) < 0)
        j->r = -errno;
    else if (j->read_only && mount(NULL, j->target, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) < 0)
        j->r = -errno;
    if (j->r < 0)
        umount2(j->target, UMOUNT_NOFOLLOW | MNT_DETACH);
}

static int bind_mount(const struct host_mount *m, struct err *e)
{
    struct bind_job j = {m->source, m->target, has_option(m, "ro"), 0};
    fiber_offload(bind_run, &j);
    return j.r < 0 ? err_set(e, j.r, "cannot mount %s at %s: %s", m->source, m->target, strerror(-j.r)) : 0;
}

/* A type becomes the name of a program ("mkfs.ext4") and an argument; whoever may make volumes names it. */
static int check_type(const char *type, struct err *e)
{
    bool good = *type && *type != '-' && *type != '.' && strlen(type) < 64;
    for (const char *p = type; *p; p++)
        good = good && (isalnum((unsigned char)*p) || strchr("._-", *p));
    return good ? 0 : err_set(e, -EINVAL, "\"%.100s\" is no type of a file system", type);
}

/* Programs that know no "--" take it. */
static int check_device(const char *device, struct err *e)
{
    return *device == '/' ? 0 : err_set(e, -EINVAL, "\"%.200s\" is no path of a device", device);
}

/* Upstream's sentence: people (and tests) look for "Mounting arguments" and "Output". */
static int mount_program(const struct host_mount *m, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct str options = join_options(&a, m), out = STR(""), wrong = STR("");
    const char *argv[9] = {"mount", "-t", m->type, NULL};
    size_t n = 3;
    if (check_type(m->type, e) < 0) {
        arena_done(&a);
        return -EINVAL;
    }
    if (options.n) {
        argv[n++] = "-o";
        argv[n++] = options.p;
    }
    argv[n++] = "--"; /* the source may be any Pod author's word */
    argv[n++] = m->source;
    argv[n++] = m->target;
    argv[n] = NULL;
    int code = os_run(&a, argv, &out, &wrong, mono_add(os_mono(), SECONDS(120)));
    int r = code == 0 ? 0 : code < 0 ? code : -EIO;
    if (code > 0)
        err_set(e, r,
                "mount failed: exit status %d\nMounting command: mount\nMounting arguments: -t %s %s" STR_FMT
                "%s%s %s\n"
                "Output: " STR_FMT STR_FMT "\n",
                code, m->type, options.n ? "-o " : "", STR_ARG(options), options.n ? " " : "", m->source,
                m->target, STR_ARG(out), STR_ARG(wrong));
    else if (code < 0)
        err_set(e, r, "cannot run mount -t %s: %s", m->type, strerror(-code));
    arena_done(&a);
    return r;
}

int linux_mount(struct host *h, const struct host_mount *m, struct err *e)
{
    if (!*m->type)
        return bind_mount(m, e);
    if (strcmp(m->type, "tmpfs") != 0 && strcmp(m->type, "hugetlbfs") != 0)
        return mount_program(m, e);
    struct arena a = ARENA_INIT;
    struct str options = join_options(&a, m);
    int r = 0;
    if (mount(m->source, m->target, m->type, 0, arena_cstr(&a, options)) < 0)
        r = err_set(e, -errno, "cannot mount a %s at %s: %s", m->type, m->target, strerror(errno));
    arena_done(&a);
    return r;
}

struct unmount_job {
    const char *path;
    bool force;
    int r;
};

static void unmount_run(void *arg)
{
    struct unmount_job *j = arg;
    struct stat st;
    if (lstat(j->path, &st) < 0) {
        j->r = errno == ENOENT ? 0 : -errno;
        if (j->r == 0 || (j->r != -ESTALE && j->r != -EIO && j->r != -ENOTCONN))
            return;
        j->force = true; /* what was mounted there is gone */
    }
    unsigned turns = 0;
    while (turns++ < 64 && umount2(j->path, UMOUNT_NOFOLLOW | (j->force ? MNT_FORCE : 0)) == 0)
        ;
    j->r = errno == EINVAL || errno == ENOENT ? 0 : -errno;
    if (j->r == -EBUSY && j->force)
        j->r = umount2(j->path, UMOUNT_NOFOLLOW | MNT_DETACH) < 0 ? -errno : 0;
    /* Only what is empty goes: never what somebody has below it. */
    if (j->r == 0 && unlink(j->path) < 0 && errno != ENOENT && rmdir(j->path) < 0 && errno != ENOENT)
        j->r = -errno;
}

int linux_unmount(struct host *h, const char *path, bool force, struct err *e)
{
    struct unmount_job j = {path, force, 0};
    fiber_offload(unmount_run, &j);
    return j.r < 0 ? err_set(e, j.r, "cannot unmount %s: %s", path, strerror(-j.r)) : 0;
}

/* The mount that a path lies on is the longest that it starts with; "shared:N" among its tags. */
static bool is_shared(struct arena *a, const char *path)
{
    struct str text, line, best = STR(""), at = str_of(path);
    bool shared = false;
    if (linux_read_file(NULL, a, "/proc/self/mountinfo", 64 << 20, &text, NULL) < 0)
        return true; /* nobody knows: left alone */
    while (str_next(&text, '\n', &line)) {
        struct str rest = line, field, point = STR("");
        bool tag = false;
        for (unsigned i = 0; str_next(&rest, ' ', &field) && !str_is(field, "-"); i++) {
            if (i == 4)
                point = field;
            tag = tag || (i > 5 && str_starts(field, STR("shared:")));
        }
        bool on_it =
            str_is(point, "/") || (str_starts(at, point) && (at.n == point.n || at.p[point.n] == '/'));
        if (on_it && point.n >= best.n) {
            best = point;
            shared = tag;
        }
    }
    return shared;
}

int linux_share(struct host *h, const char *path, struct err *e)
{
    struct arena a = ARENA_INIT;
    char *real = realpath(path, NULL);
    int r = 0;
    if (!real || geteuid() != 0 || is_shared(&a, real))
        r = 0;
    else if ((!is_mount(real) && mount(real, real, NULL, MS_BIND | MS_REC, NULL) < 0) ||
             mount(NULL, real, NULL, MS_SHARED | MS_REC, NULL) < 0)
        r = err_set(e, -errno, "cannot make the mounts below %s shared: %s", path, strerror(errno));
    free(real);
    arena_done(&a);
    return r;
}

/* ---- file systems on block devices --------------------------------------------------------------------- */

static int run_quietly(const char *const *argv, struct arena *a, struct str *ret_out)
{
    struct str out = STR(""), wrong = STR("");
    int code = os_run(a, argv, &out, &wrong, mono_add(os_mono(), SECONDS(600)));
    *ret_out = !wrong.n ? out
               : !out.n ? wrong
                        : arena_printf(a, STR_FMT STR_FMT, STR_ARG(out), STR_ARG(wrong));
    return code;
}

/* "ext4", empty when there is nothing on the device. */
static int disk_format(struct arena *a, const char *device, struct str *ret, struct err *e)
{
    const char *argv[] = {"blkid", "-p", "-s", "TYPE", "-s", "PTTYPE", "-o", "export", device, NULL};
    struct str out, line;
    int code = run_quietly(argv, a, &out);
    *ret = STR("");
    if (code == 2)
        return 0; /* blkid: nothing is known on it */
    if (code != 0)
        return err_set(e, code < 0 ? code : -EIO, "cannot find out what is on %s: " STR_FMT, device,
                       STR_ARG(str_trim(out)));
    while (str_next(&out, '\n', &line)) {
        if (str_starts(line, STR("TYPE=")))
            *ret = str_from(line, 5);
        else if (str_starts(line, STR("PTTYPE=")))
            return err_set(e, -EINVAL, "%s has a partition table, no file system", device);
    }
    return 0;
}

static int make_filesystem(struct arena *a, const char *device, const char *type, struct err *e)
{
    const char *program = arena_printf(a, "mkfs.%s", type).p;
    bool ext = !strncmp(type, "ext", 3);
    const char *for_ext[] = {program, "-F", "-m0", device, NULL}, *plain[] = {program, device, NULL};
    struct str out;
    int code = run_quietly(ext ? for_ext : plain, a, &out);
    if (code == 0)
        return 0;
    return err_set(e, code < 0 ? code : -EIO, "format of disk \"%s\" failed: type:(\"%s\"): " STR_FMT, device,
                   type, STR_ARG(str_trim(out)));
}

/* Errors that fsck left as they are must not be mounted; a missing fsck stops nobody. */
static int check_filesystem(struct arena *a, const char *device, struct err *e)
{
    const char *argv[] = {"fsck", "-a", device, NULL};
    struct str out;
    if (run_quietly(argv, a, &out) == 4)
        return err_set(e, -EIO, "'fsck' found errors on device %s but could not correct them: " STR_FMT,
                       device, STR_ARG(str_trim(out)));
    return 0;
}

int linux_mount_device(struct host *h, const struct host_mount *m, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct str format;
    bool read_only = has_option(m, "ro");
    int r = check_type(m->type, e);
    if (r == 0)
        r = check_device(m->source, e);
    if (r == 0)
        r = disk_format(&a, m->source, &format, e);
    if (r == 0 && !format.n && read_only)
        r = err_set(e, -EROFS, "cannot mount unformatted disk %s as we are manipulating it in read-only mode",
                    m->source);
    else if (r == 0 && !format.n)
        r = make_filesystem(&a, m->source, m->type, e);
    else if (r == 0 && !read_only)
        r = check_filesystem(&a, m->source, e);
    if (r == 0)
        r = mount_program(m, e);
    arena_done(&a);
    return r;
}

int linux_resize(struct host *h, const char *device, const char *mounted, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct str format, out = STR("");
    int r = check_device(device, e), code = 0;
    if (r == 0)
        r = disk_format(&a, device, &format, e);
    const char *ext[] = {"resize2fs", device, NULL}, *xfs[] = {"xfs_growfs", "-d", mounted, NULL};
    if (r == 0 && str_starts(format, STR("ext")))
        code = run_quietly(ext, &a, &out);
    else if (r == 0 && str_is(format, "xfs"))
        code = run_quietly(xfs, &a, &out);
    else if (r == 0)
        r = err_set(e, -ENOTSUP, "resize of format " STR_FMT " is not supported for device %s mounted at %s",
                    STR_ARG(format), device, mounted);
    if (code != 0)
        r = err_set(e, code < 0 ? code : -EIO, "resize of device %s failed: " STR_FMT, device,
                    STR_ARG(str_trim(out)));
    arena_done(&a);
    return r;
}

/* ---- how much ------------------------------------------------------------------------------------------ */

struct space_job {
    const char *path;
    struct host_space *ret;
    int r;
};

static void space_run(void *arg)
{
    struct space_job *j = arg;
    struct statvfs fs;
    if (statvfs(j->path, &fs) < 0) {
        j->r = -errno;
        return;
    }
    int64_t unit = (int64_t)fs.f_frsize;
    *j->ret = (struct host_space){
        .capacity = (int64_t)fs.f_blocks * unit,
        .available = (int64_t)fs.f_bavail * unit,
        .used = (int64_t)(fs.f_blocks - fs.f_bfree) * unit,
        .inodes = (int64_t)fs.f_files,
        .inodes_free = (int64_t)fs.f_ffree,
        .inodes_used = (int64_t)(fs.f_files - fs.f_ffree),
    };
}

int linux_space(struct host *h, const char *path, struct host_space *ret)
{
    struct space_job j = {path, ret, 0};
    fiber_offload(space_run, &j);
    return j.r;
}
