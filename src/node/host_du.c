/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much a tree takes on its disk: what du(1) would say, but without leaving its file system, following a
 * symlink, counting a hard link twice, or keeping more descriptors open than a few. Containers write while we
 * count.
 */
#include "base/fiber.h"
#include "node/host.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A folder still to be read is remembered by its path below the root: containers make trees as deep as they
 * like. */
struct pending {
    struct pending *next;
    char path[];
};

struct du {
    int root;
    dev_t dev;
    struct pending *todo;
    ino_t *linked; /* inodes with more names than one that were counted: a hash table, 0 is a free place */
    size_t n_linked, cap_linked;
    struct host_space sum;
};

enum { LINKED_MAX = 65536 };

static ino_t *place_of(const struct du *d, ino_t ino)
{
    size_t i = (size_t)(ino * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (d->cap_linked - 1);
    while (d->linked[i] && d->linked[i] != ino)
        i = (i + 1) & (d->cap_linked - 1);
    return &d->linked[i];
}

static void grow(struct du *d)
{
    struct du more = {.cap_linked = d->cap_linked ? 2 * d->cap_linked : 64};
    more.linked = xcalloc(more.cap_linked, sizeof(*more.linked));
    for (size_t i = 0; i < d->cap_linked; i++)
        if (d->linked[i])
            *place_of(&more, d->linked[i]) = d->linked[i];
    free(d->linked);
    d->linked = more.linked;
    d->cap_linked = more.cap_linked;
}

/* More than the most are counted each time: a tree of nothing but links costs neither memory nor time without end. */
static bool seen(struct du *d, ino_t ino)
{
    if (d->n_linked * 2 >= d->cap_linked && d->n_linked < LINKED_MAX)
        grow(d);
    ino_t *place = place_of(d, ino);
    if (*place)
        return true;
    if (d->n_linked < LINKED_MAX) {
        *place = ino;
        d->n_linked++;
    }
    return false;
}

static void push(struct du *d, const char *dir, const char *name)
{
    size_t a = strlen(dir), b = strlen(name);
    if (a + b + 2 > 4000)
        return; /* deeper than a path can say: not counted, as du does not */
    struct pending *p = xmalloc(sizeof(*p) + a + b + 2);
    memcpy(p->path, dir, a);
    if (a)
        p->path[a++] = '/';
    memcpy(p->path + a, name, b + 1);
    p->next = d->todo;
    d->todo = p;
}

static void count(struct du *d, const struct stat *st)
{
    if (st->st_nlink > 1 && !S_ISDIR(st->st_mode) && seen(d, st->st_ino))
        return;
    d->sum.used += (int64_t)st->st_blocks * 512;
    d->sum.inodes_used++;
}

static int read_folder(struct du *d, const char *path)
{
    int fd = openat(d->root, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        int r = errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
        if (fd >= 0)
            close(fd);
        return r;
    }
    for (struct dirent *de; (de = readdir(dir));) {
        if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
            continue;
        if (fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != d->dev)
            continue; /* gone meanwhile, or another file system */
        count(d, &st);
        if (S_ISDIR(st.st_mode))
            push(d, path, de->d_name);
    }
    closedir(dir);
    return 0;
}

struct du_job {
    const char *path;
    struct host_space *ret;
    int r;
};

static void du_run(void *arg)
{
    struct du_job *j = arg;
    struct du d = {.root = open(j->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    struct stat st;
    if (d.root < 0 || fstat(d.root, &st) < 0) {
        j->r = -errno;
    } else {
        d.dev = st.st_dev;
        count(&d, &st);
        j->r = read_folder(&d, "");
    }
    while (d.todo) {
        struct pending *p = d.todo;
        d.todo = p->next;
        if (j->r == 0)
            j->r = read_folder(&d, p->path);
        free(p);
    }
    if (d.root >= 0)
        close(d.root);
    free(d.linked);
    if (j->r == 0)
        *j->ret = d.sum;
}

int linux_du(struct host *h, const char *path, struct host_space *ret)
{
    struct du_job j = {path, ret, 0};
    fiber_offload(du_run, &j);
    return j.r;
}
