/* SPDX-License-Identifier: Apache-2.0 */
#include "disk.h"

#include "base/fiber.h"

#include <fcntl.h>

enum { MAX_FDS = 256, FD_BASE = 1000, SECTOR = 512 };

enum change_kind { WRITE, RESIZE, SYNC, CREATE, RENAME, UNLINK, SYNC_DIR };

struct change {
    enum change_kind kind;
    unsigned file;
    off_t at; /* WRITE; RESIZE: the new size */
    char *bytes;
    size_t n;
    char *name, *to;
    bool doomed;
};

struct file {
    char *p;
    size_t n;
};

struct name {
    char *text;
    unsigned file;
};

struct image {
    struct file *files;
    size_t n_files;
    struct name *names;
    size_t n_names;
};

struct disk {
    struct image start, now;
    struct change *changes;
    size_t n_changes, cap_changes;
    unsigned fds[MAX_FDS]; /* file + 1 */
    uint64_t random, space;
    int64_t clock;
    unsigned sync_yields;
    struct fault {
        unsigned after;
        int error;
    } sync_fault, write_fault;
};

static struct disk *in_use;

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* ---- images ------------------------------------------------------------------------------------------- */

static void image_done(struct image *im)
{
    for (size_t i = 0; i < im->n_files; i++)
        free(im->files[i].p);
    for (size_t i = 0; i < im->n_names; i++)
        free(im->names[i].text);
    free(im->files);
    free(im->names);
    *im = (struct image){0};
}

static void file_resize(struct file *f, size_t n)
{
    f->p = xrealloc(f->p, n + 1);
    if (n > f->n)
        memset(f->p + f->n, 0, n - f->n);
    f->n = n;
}

static void file_write(struct file *f, const char *p, size_t n, size_t at)
{
    if (at + n > f->n)
        file_resize(f, at + n);
    if (n)
        memcpy(f->p + at, p, n);
}

static struct image image_copy(const struct image *im)
{
    struct image c = {
        .files = xcalloc(im->n_files + 1, sizeof(struct file)),
        .n_files = im->n_files,
        .names = xcalloc(im->n_names + 1, sizeof(struct name)),
        .n_names = im->n_names,
    };
    for (size_t i = 0; i < im->n_files; i++)
        file_write(&c.files[i], im->files[i].p ? im->files[i].p : "", im->files[i].n, 0);
    for (size_t i = 0; i < im->n_names; i++)
        c.names[i] = (struct name){xstrdup(im->names[i].text), im->names[i].file};
    return c;
}

static struct name *name_find(struct image *im, const char *text)
{
    for (size_t i = 0; i < im->n_names; i++)
        if (strcmp(im->names[i].text, text) == 0)
            return &im->names[i];
    return NULL;
}

static void name_add(struct image *im, const char *text, unsigned file)
{
    im->names = xrealloc(im->names, (im->n_names + 1) * sizeof(struct name));
    im->names[im->n_names++] = (struct name){xstrdup(text), file};
}

static void name_remove(struct image *im, const char *text)
{
    struct name *n = name_find(im, text);
    if (!n)
        return;
    free(n->text);
    *n = im->names[--im->n_names];
}

static unsigned file_add(struct image *im)
{
    im->files = xrealloc(im->files, (im->n_files + 1) * sizeof(struct file));
    im->files[im->n_files] = (struct file){0};
    return (unsigned)im->n_files++;
}

static void apply(struct image *im, const struct change *c)
{
    switch (c->kind) {
    case WRITE:
        file_write(&im->files[c->file], c->bytes, c->n, (size_t)c->at);
        break;
    case RESIZE:
        file_resize(&im->files[c->file], (size_t)c->at);
        break;
    case CREATE:
        if (!name_find(im, c->name))
            name_add(im, c->name, c->file);
        break;
    case RENAME:
        if (name_find(im, c->name)) {
            unsigned file = name_find(im, c->name)->file;
            name_remove(im, c->name);
            name_remove(im, c->to);
            name_add(im, c->to, file);
        }
        break;
    case UNLINK:
        name_remove(im, c->name);
        break;
    case SYNC:
    case SYNC_DIR:
        break;
    }
}

/* ---- the record --------------------------------------------------------------------------------------- */

static void record(struct disk *d, struct change c)
{
    if (d->n_changes == d->cap_changes) {
        d->cap_changes = MAX(d->cap_changes * 2, (size_t)256);
        d->changes = xrealloc(d->changes, d->cap_changes * sizeof(*d->changes));
    }
    apply(&d->now, &c);
    d->changes[d->n_changes++] = c;
}

struct disk *disk_new(uint64_t seed)
{
    struct disk *d = NEW(struct disk);
    d->random = seed;
    d->space = UINT64_MAX;
    d->clock = SECONDS(1000);
    return d;
}

void disk_free(struct disk *d)
{
    if (!d)
        return;
    image_done(&d->start);
    image_done(&d->now);
    for (size_t i = 0; i < d->n_changes; i++) {
        free(d->changes[i].bytes);
        free(d->changes[i].name);
        free(d->changes[i].to);
    }
    free(d->changes);
    free(d);
}

size_t disk_changes(const struct disk *d)
{
    return d->n_changes;
}

static bool on_directory(const struct change *c)
{
    return c->kind == CREATE || c->kind == RENAME || c->kind == UNLINK;
}

/* Whether a later sync among the first n made this change durable. */
static bool synced(const struct disk *d, size_t i, size_t n)
{
    const struct change *c = &d->changes[i];
    if (c->doomed)
        return false;
    for (size_t k = i + 1; k < n; k++) {
        const struct change *s = &d->changes[k];
        if (on_directory(c) ? s->kind == SYNC_DIR : s->kind == SYNC && s->file == c->file)
            return true;
    }
    return false;
}

static void apply_torn(struct image *im, const struct change *c, uint64_t *random, unsigned kindness)
{
    for (size_t done = 0; done < c->n;) {
        size_t piece = MIN(c->n - done, SECTOR - (size_t)(c->at + (off_t)done) % SECTOR);
        if (next_random(random) % 100 < kindness)
            file_write(&im->files[c->file], c->bytes + done, piece, (size_t)c->at + done);
        done += piece;
    }
}

struct disk *disk_cut(const struct disk *d, size_t n, uint64_t seed, unsigned kindness)
{
    struct disk *cut = disk_new(seed);
    cut->clock = d->clock + SECONDS(10);
    cut->start = image_copy(&d->start);
    struct image *im = &cut->start;
    while (im->n_files < d->now.n_files)
        file_add(im);
    for (size_t i = 0; i < n; i++) {
        const struct change *c = &d->changes[i];
        bool all = synced(d, i, n) || next_random(&cut->random) % 100 < kindness;
        if (all)
            apply(im, c);
        else if (c->kind == WRITE)
            apply_torn(im, c, &cut->random, kindness);
    }
    cut->now = image_copy(im);
    return cut;
}

struct disk *disk_kill(const struct disk *d, size_t n, uint64_t seed)
{
    struct disk *next = disk_new(seed);
    next->clock = d->clock + SECONDS(10);
    next->start = image_copy(&d->start);
    while (next->start.n_files < d->now.n_files)
        file_add(&next->start);
    next->now = image_copy(&next->start);
    for (size_t i = 0; i < n; i++) {
        struct change c = d->changes[i];
        if (c.bytes) {
            c.bytes = xmalloc(c.n + 1);
            memcpy(c.bytes, d->changes[i].bytes, c.n);
        }
        c.name = c.name ? xstrdup(c.name) : NULL;
        c.to = c.to ? xstrdup(c.to) : NULL;
        record(next, c);
    }
    return next;
}

void disk_fail_sync(struct disk *d, unsigned after, int error)
{
    d->sync_fault = (struct fault){after, error};
}

void disk_fail_write(struct disk *d, unsigned after, int error)
{
    d->write_fault = (struct fault){after, error};
}

static int fault_now(struct fault *f)
{
    if (!f->error || f->after-- > 0)
        return 0;
    int error = f->error;
    f->error = 0;
    return error;
}

void disk_set_space(struct disk *d, uint64_t bytes)
{
    d->space = bytes;
}

void disk_set_sync_yields(struct disk *d, unsigned n)
{
    d->sync_yields = n;
}

void disk_advance(struct disk *d, int64_t ns)
{
    d->clock += ns;
}

uint64_t disk_used(const struct disk *d)
{
    uint64_t n = 0;
    for (size_t i = 0; i < d->now.n_names; i++)
        n += d->now.files[d->now.names[i].file].n;
    return n;
}

char *disk_bytes(struct disk *d, const char *name, size_t *ret_n)
{
    struct name *n = name_find(&d->now, name);
    if (!n)
        return NULL;
    *ret_n = d->now.files[n->file].n;
    return d->now.files[n->file].p;
}

void disk_put_file(struct disk *d, const char *name, const void *p, size_t n)
{
    unsigned file = file_add(&d->now);
    name_add(&d->now, name, file);
    file_write(&d->now.files[file], p, n, 0);
}

/* ---- the door ----------------------------------------------------------------------------------------- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static unsigned *fd_slot(int fd)
{
    return fd >= FD_BASE && fd < FD_BASE + MAX_FDS && in_use->fds[fd - FD_BASE] ? &in_use->fds[fd - FD_BASE]
                                                                                : NULL;
}

static int d_open(const char *path, int flags, mode_t mode UNUSED)
{
    struct name *n = name_find(&in_use->now, base_name(path));
    if (!n && !(flags & O_CREAT))
        return -ENOENT;
    unsigned file = n ? n->file : file_add(&in_use->now);
    if (!n)
        record(in_use, (struct change){.kind = CREATE, .file = file, .name = xstrdup(base_name(path))});
    for (int i = 0; i < MAX_FDS; i++)
        if (!in_use->fds[i]) {
            in_use->fds[i] = file + 1;
            return FD_BASE + i;
        }
    return -EMFILE;
}

static int d_close(int fd)
{
    unsigned *f = fd_slot(fd);
    if (!f)
        return -EBADF;
    *f = 0;
    return 0;
}

static struct file *file_of(int fd)
{
    unsigned *f = fd_slot(fd);
    return f ? &in_use->now.files[*f - 1] : NULL;
}

static ssize_t d_pread(int fd, void *p, size_t n, off_t at)
{
    struct file *f = file_of(fd);
    if (!f)
        return -EBADF;
    if ((size_t)at >= f->n)
        return 0;
    n = MIN(n, f->n - (size_t)at);
    memcpy(p, f->p + at, n);
    return (ssize_t)n;
}

static bool no_space(const struct file *f, size_t end)
{
    return end > f->n && disk_used(in_use) + (end - f->n) > in_use->space;
}

static ssize_t d_pwrite(int fd, const void *p, size_t n, off_t at)
{
    struct file *f = file_of(fd);
    if (!f)
        return -EBADF;
    if (no_space(f, (size_t)at + n))
        return -ENOSPC;
    char *copy = xmalloc(n + 1);
    memcpy(copy, p, n);
    record(in_use, (struct change){.kind = WRITE, .file = *fd_slot(fd) - 1, .at = at, .bytes = copy, .n = n});
    int r = fault_now(&in_use->write_fault);
    return r < 0 ? r : (ssize_t)n;
}

static int d_fdatasync(int fd)
{
    if (!file_of(fd))
        return -EBADF;
    for (unsigned i = 0; i < in_use->sync_yields && fiber_self(); i++)
        fiber_yield();
    int r = fault_now(&in_use->sync_fault);
    for (size_t i = 0; r < 0 && i < in_use->n_changes; i++) {
        struct change *c = &in_use->changes[i];
        if (c->kind == WRITE && c->file == *fd_slot(fd) - 1 && !synced(in_use, i, in_use->n_changes))
            c->doomed = true;
    }
    if (r < 0)
        return r;
    record(in_use, (struct change){.kind = SYNC, .file = *fd_slot(fd) - 1});
    return 0;
}

static int d_ftruncate(int fd, off_t size)
{
    if (!file_of(fd))
        return -EBADF;
    record(in_use, (struct change){.kind = RESIZE, .file = *fd_slot(fd) - 1, .at = size});
    return 0;
}

static int d_fallocate(int fd, off_t at, off_t n)
{
    struct file *f = file_of(fd);
    if (!f)
        return -EBADF;
    if (no_space(f, (size_t)(at + n)))
        return -ENOSPC;
    return (size_t)(at + n) > f->n ? d_ftruncate(fd, at + n) : 0;
}

static int d_fsize(int fd, off_t *ret)
{
    struct file *f = file_of(fd);
    if (!f)
        return -EBADF;
    *ret = (off_t)f->n;
    return 0;
}

static int d_rename(const char *from, const char *to)
{
    if (!name_find(&in_use->now, base_name(from)))
        return -ENOENT;
    record(in_use,
           (struct change){.kind = RENAME, .name = xstrdup(base_name(from)), .to = xstrdup(base_name(to))});
    return 0;
}

static int d_unlink(const char *path)
{
    if (!name_find(&in_use->now, base_name(path)))
        return -ENOENT;
    record(in_use, (struct change){.kind = UNLINK, .name = xstrdup(base_name(path))});
    return 0;
}

static int d_mkdir(const char *path UNUSED, mode_t mode UNUSED)
{
    return 0;
}

static int d_sync_dir(const char *path UNUSED)
{
    record(in_use, (struct change){.kind = SYNC_DIR});
    return 0;
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int d_list_dir(struct arena *a, const char *path UNUSED, char ***ret)
{
    size_t n = in_use->now.n_names;
    char **list = ARENA_ARRAY(a, char *, n + 1);
    for (size_t i = 0; i < n; i++)
        list[i] = arena_cstr(a, str_of(in_use->now.names[i].text));
    qsort(list, n, sizeof(*list), compare_text);
    *ret = list;
    return 0;
}

static int d_flock(int fd UNUSED)
{
    return 0;
}

static struct mono d_mono(void)
{
    return (struct mono){in_use->clock += 100};
}

static void d_poll(struct mono deadline)
{
    if (deadline.ns == INT64_MAX)
        panic("everybody waits for ever");
    in_use->clock = MAX(in_use->clock, deadline.ns);
}

static void d_random(void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((unsigned char *)p)[i] = (unsigned char)next_random(&in_use->random);
}

void disk_use(struct disk *d)
{
    static struct os_ops door;
    door = os_real;
    door.name = "faulty disk";
    door.mono = d_mono;
    door.poll = d_poll;
    door.random = d_random;
    door.open = d_open;
    door.close = d_close;
    door.pread = d_pread;
    door.pwrite = d_pwrite;
    door.fdatasync = d_fdatasync;
    door.ftruncate = d_ftruncate;
    door.fallocate = d_fallocate;
    door.fsize = d_fsize;
    door.rename = d_rename;
    door.unlink = d_unlink;
    door.mkdir = d_mkdir;
    door.sync_dir = d_sync_dir;
    door.list_dir = d_list_dir;
    door.flock = d_flock;
    in_use = d;
    os_use(&door);
}
