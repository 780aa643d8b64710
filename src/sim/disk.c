/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated disk. A file is what programs see (data) and what would be left after a power cut (durable), plus the
 * writes between the two. Names, too, are durable only after the folder was synced.
 */
#include "sim/internal.h"

#include <fcntl.h>

enum { SECTOR = 512 };

/* A write that no sync has covered yet. */
struct pending {
    uint64_t at, n;
};

struct sim_file {
    unsigned refs; /* names (now and durable) and open fds */
    bool dir;
    char *data, *durable;
    uint64_t size, durable_size, cap, durable_cap;
    struct pending *pending;
    size_t n_pending, cap_pending;
    struct sim_fd *locked_by;
};

static struct sim_file *file_ref(struct sim_file *f)
{
    f->refs++;
    return f;
}

static void file_unref(void *p)
{
    struct sim_file *f = p;
    if (!f || --f->refs)
        return;
    free(f->data);
    free(f->durable);
    free(f->pending);
    free(f);
}

static void grow(char **p, uint64_t *cap, uint64_t n)
{
    if (n <= *cap)
        return;
    uint64_t bigger = MAX(*cap * 2, n);
    *p = xrealloc(*p, bigger);
    memset(*p + *cap, 0, bigger - *cap);
    *cap = bigger;
}

static uint64_t used_bytes(void)
{
    uint64_t n = 0;
    MAP_EACH(&sim->files, e)
    {
        n += ((struct sim_file *)e->value)->size;
    }
    return n;
}

static bool has_room(uint64_t more)
{
    return !sim->config.disk_bytes || used_bytes() + more <= sim->config.disk_bytes;
}

static struct sim_file *file_at(const char *path)
{
    return map_get(&sim->files, str_of(path));
}

static bool parent_exists(const char *path)
{
    struct str s = str_of(path);
    ssize_t slash = str_rfind(s, '/');
    if (slash <= 0)
        return true;
    struct sim_file *f = map_get(&sim->files, str_n(path, (size_t)slash));
    return f && f->dir;
}

static struct sim_file *file_new(const char *path, bool dir)
{
    struct sim_file *f = NEW(struct sim_file);
    f->dir = dir;
    map_put(&sim->files, str_of(path), file_ref(f));
    return f;
}

int disk_open(const char *path, int flags, mode_t mode UNUSED)
{
    struct sim_file *f = file_at(path);
    if (f && (flags & O_CREAT) && (flags & O_EXCL))
        return -EEXIST;
    if (!f && !(flags & O_CREAT))
        return -ENOENT;
    if (!f && !parent_exists(path))
        return -ENOENT;
    if (!f)
        f = file_new(path, false);
    int fd = sim_fd_new(FD_FILE);
    struct sim_fd *s = sim_fd_get(fd);
    s->file = file_ref(f);
    s->address = xstrdup(path);
    if (flags & O_TRUNC)
        disk_ftruncate(fd, 0);
    return fd;
}

static struct sim_file *open_file(int fd, int *ret_error)
{
    struct sim_fd *s = sim_fd_get(fd);
    *ret_error = s && s->kind == FD_FILE ? 0 : fd >= FD_BASE ? -EIO : -EBADF;
    return *ret_error ? NULL : s->file;
}

ssize_t disk_pread(int fd, void *p, size_t n, off_t at)
{
    int r;
    struct sim_file *f = open_file(fd, &r);
    if (!f || (uint64_t)at >= f->size)
        return r;
    n = MIN(n, (size_t)(f->size - (uint64_t)at));
    memcpy(p, f->data + at, n);
    return (ssize_t)n;
}

static void add_pending(struct sim_file *f, uint64_t at, uint64_t n)
{
    if (f->n_pending == f->cap_pending) {
        f->cap_pending = MAX(f->cap_pending * 2, (size_t)16);
        f->pending = xrealloc(f->pending, f->cap_pending * sizeof(*f->pending));
    }
    f->pending[f->n_pending++] = (struct pending){at, n};
}

ssize_t disk_pwrite(int fd, const void *p, size_t n, off_t at)
{
    int r;
    struct sim_file *f = open_file(fd, &r);
    if (!f)
        return r;
    uint64_t end = (uint64_t)at + n;
    if (end > f->size && !has_room(end - f->size))
        return -ENOSPC;
    if (!n)
        return 0;
    grow(&f->data, &f->cap, end);
    memcpy(f->data + at, p, n);
    f->size = MAX(f->size, end);
    add_pending(f, (uint64_t)at, n);
    return (ssize_t)n;
}

static void make_durable(struct sim_file *f, uint64_t at, uint64_t n)
{
    n = at >= f->size ? 0 : MIN(n, f->size - at);
    grow(&f->durable, &f->durable_cap, at + n);
    if (n)
        memcpy(f->durable + at, f->data + at, n);
    f->durable_size = MAX(f->durable_size, at + n);
}

static bool sync_fails(void)
{
    if (!sim->fail_times)
        return false;
    if (sim->fail_after) {
        sim->fail_after--;
        return false;
    }
    if (sim->fail_times > 0)
        sim->fail_times--;
    return true;
}

/* What is written while a sync runs is not covered by it, as on a real disk. */
int disk_fdatasync(int fd)
{
    int r;
    struct sim_file *f = open_file(fd, &r);
    if (!f)
        return r;
    file_ref(f);
    size_t covered = f->n_pending;
    uint64_t size = f->size;
    fiber_shield(true);
    fiber_sleep(sim_between(sim->config.sync_min_ns, sim->config.sync_max_ns));
    fiber_shield(false);
    r = sim_fd_get(fd) ? 0 : -EIO;
    if (r == 0 && sync_fails())
        r = -EIO;
    if (r == -EIO)
        covered = MIN(covered, f->n_pending), size = 0; /* the kernel drops dirty pages it could not write */
    for (size_t i = 0; r == 0 && i < MIN(covered, f->n_pending); i++)
        make_durable(f, f->pending[i].at, f->pending[i].n);
    if (r == 0)
        f->durable_size = MAX(f->durable_size, MIN(size, f->size));
    grow(&f->durable, &f->durable_cap, f->durable_size);
    covered = MIN(covered, f->n_pending);
    memmove(f->pending, f->pending + covered, (f->n_pending - covered) * sizeof(*f->pending));
    f->n_pending -= covered;
    file_unref(f);
    return r;
}

int disk_ftruncate(int fd, off_t size)
{
    int r;
    struct sim_file *f = open_file(fd, &r);
    if (!f)
        return r;
    if ((uint64_t)size > f->size && !has_room((uint64_t)size - f->size))
        return -ENOSPC;
    grow(&f->data, &f->cap, (uint64_t)size);
    if ((uint64_t)size < f->size)
        memset(f->data + size, 0, f->size - (uint64_t)size);
    f->size = (uint64_t)size;
    f->durable_size = MIN(f->durable_size, f->size);
    return 0;
}

int disk_fallocate(int fd, off_t at, off_t n)
{
    int r;
    struct sim_file *f = open_file(fd, &r);
    if (!f)
        return r;
    uint64_t end = (uint64_t)(at + n);
    return end > f->size ? disk_ftruncate(fd, (off_t)end) : 0;
}

int disk_fsize(int fd, off_t *ret)
{
    int r;
    struct sim_file *f = open_file(fd, &r);
    if (f)
        *ret = (off_t)f->size;
    return r;
}

int disk_rename(const char *from, const char *to)
{
    struct sim_file *f = file_at(from);
    if (!f)
        return -ENOENT;
    file_ref(f);
    file_unref(map_del(&sim->files, str_of(from)));
    file_unref(map_put(&sim->files, str_of(to), f));
    return 0;
}

int disk_unlink(const char *path)
{
    struct sim_file *f = map_del(&sim->files, str_of(path));
    file_unref(f);
    return f ? 0 : -ENOENT;
}

void sim_disk_remove(const char *path)
{
    struct str top = str_of(path);
    MAP_EACH(&sim->files, e)
    {
        if (str_starts(e->key, top) && (e->key.n == top.n || e->key.p[top.n] == '/'))
            file_unref(map_del(&sim->files, e->key));
    }
}

int disk_mkdir(const char *path, mode_t mode UNUSED)
{
    if (file_at(path))
        return -EEXIST;
    if (!parent_exists(path))
        return -ENOENT;
    file_new(path, true);
    return 0;
}

static bool is_root(const char *path)
{
    return strcmp(path, "/") == 0 || strcmp(path, ".") == 0;
}

static bool is_in(struct str path, struct str dir)
{
    dir.n = str_is(dir, "/") ? 0 : dir.n;
    return str_starts(path, dir) && path.n > dir.n && path.p[dir.n] == '/' && str_find(str_from(path, dir.n + 1), '/') < 0;
}

int disk_sync_dir(const char *path)
{
    struct str dir = str_of(path);
    if (!file_at(path) && !is_root(path))
        return -ENOENT;
    if (sync_fails())
        return -EIO;
    MAP_EACH(&sim->durable_names, e)
    {
        if (is_in(e->key, dir) && map_get(&sim->files, e->key) != e->value)
            file_unref(map_del(&sim->durable_names, e->key));
    }
    MAP_EACH(&sim->files, e)
    {
        if (is_in(e->key, dir) || str_eq(e->key, dir))
            file_unref(map_put(&sim->durable_names, e->key, file_ref(e->value)));
    }
    return 0;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int disk_list_dir(struct arena *a, const char *path, char ***ret)
{
    size_t n = 0;
    struct str dir = str_of(path);
    if (!file_at(path) && !is_root(path))
        return -ENOENT;
    char **names = ARENA_ARRAY(a, char *, sim->files.n + 1);
    MAP_EACH(&sim->files, e)
    {
        if (is_in(e->key, dir))
            names[n++] = arena_cstr(a, str_from(e->key, dir.n + 1));
    }
    qsort(names, n, sizeof(*names), compare_texts);
    *ret = names;
    return 0;
}

int disk_flock(int fd)
{
    int r;
    struct sim_file *f = open_file(fd, &r);
    if (!f)
        return r;
    struct sim_fd *s = sim_fd_get(fd);
    if (f->locked_by && f->locked_by != s)
        return -EWOULDBLOCK;
    f->locked_by = s;
    return 0;
}

void disk_closed(struct sim_fd *s)
{
    if (s->file && s->file->locked_by == s)
        s->file->locked_by = NULL;
    file_unref(s->file);
    s->file = NULL;
}

void disk_done(void)
{
    map_done_with(&sim->files, file_unref);
    map_done_with(&sim->durable_names, file_unref);
}

/* ---- faults ---------------------------------------------------------------------------------------------------- */

static bool is_below(const char *path, struct str dir)
{
    return path && str_starts(str_of(path), dir);
}

void sim_disk_kill(const char *dir)
{
    for (int i = 0; i < sim->n_fds; i++) {
        struct sim_fd *s = &sim->fds[i];
        if (s->kind != FD_FILE || !is_below(s->address, str_of(dir)))
            continue;
        s->dead = true; /* whoever holds the number gets -EIO; the number is not used again before it is closed */
        if (s->file->locked_by == s)
            s->file->locked_by = NULL;
    }
}

/* Each sector of each unsynced write reached the disk or did not; the file is as long as what reached it. */
static void lose_pending(struct sim_file *f)
{
    for (size_t i = 0; i < f->n_pending; i++) {
        uint64_t end = f->pending[i].at + f->pending[i].n;
        for (uint64_t at = f->pending[i].at; at < end;) {
            uint64_t stop = MIN((at / SECTOR + 1) * SECTOR, end);
            if (sim_below(2))
                make_durable(f, at, stop - at);
            at = stop;
        }
    }
    f->n_pending = 0;
    grow(&f->data, &f->cap, MAX(f->durable_size, (uint64_t)1));
    grow(&f->durable, &f->durable_cap, MAX(f->durable_size, (uint64_t)1));
    memset(f->data, 0, f->cap);
    memcpy(f->data, f->durable, f->durable_size);
    f->size = f->durable_size;
}

void sim_disk_power_cut(const char *dir)
{
    struct str d = str_of(dir);
    sim_disk_kill(dir);
    MAP_EACH(&sim->files, e)
    {
        struct sim_file *f = e->value;
        if (!str_starts(e->key, d) || f->dir)
            continue;
        lose_pending(f);
        if (!map_has(&sim->durable_names, e->key) && sim_below(2))
            file_unref(map_del(&sim->files, e->key)); /* a name that was not synced may be gone */
    }
    MAP_EACH(&sim->durable_names, e)
    {
        if (str_starts(e->key, d) && !map_has(&sim->files, e->key) && sim_below(2))
            map_put(&sim->files, e->key, file_ref(e->value)); /* or a removal that was not */
    }
}

void sim_disk_fail_syncs(unsigned after, int times)
{
    sim->fail_after = after;
    sim->fail_times = times;
}

void sim_disk_capacity(uint64_t bytes)
{
    sim->config.disk_bytes = bytes;
}

int sim_disk_flip(const char *path, uint64_t at)
{
    struct sim_file *f = file_at(path);
    if (!f)
        return -ENOENT;
    if (at / 8 >= f->size)
        return -ERANGE;
    f->data[at / 8] = (char)(f->data[at / 8] ^ (1 << (at % 8)));
    return 0;
}
