/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment.h"

#include "base/os.h"
#include "store/crc32c.h"

#include <endian.h>
#include <fcntl.h>
#include <stdio.h>

enum { PATH_SIZE = 4200, WINDOW = 256 << 10 };

static const char magic[8] = "cubelog\n";

static const char *const spare_names[SPARES] = {[SPARE] = "spare", [RESERVE] = "reserve"};

static void number_path(const struct files *f, uint32_t number, char ret[static PATH_SIZE])
{
    snprintf(ret, PATH_SIZE, "%s/%010u.log", f->dir, number);
}

static void spare_path(const struct files *f, enum spare_name name, char ret[static PATH_SIZE])
{
    snprintf(ret, PATH_SIZE, "%s/%s", f->dir, spare_names[name]);
}

/* ---- the folder --------------------------------------------------------------------------------------- */

void files_done(struct files *f)
{
    if (f->dir)
        os_close(f->lock);
    free(f->dir);
    f->dir = NULL;
}

int files_lock(struct files *f, const char *dir, struct err *e)
{
    char path[PATH_SIZE];
    if (strlen(dir) > 4000)
        return err_set(e, -ENAMETOOLONG, "the store's folder has too long a name");
    int r = os_mkdir_all(dir, 0700);
    if (r < 0)
        return err_wrap(e, r, "cannot make the store's folder %s", dir);
    snprintf(path, sizeof(path), "%s/lock", dir);
    int fd = os_open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0)
        return err_wrap(e, fd, "cannot open %s", path);
    r = os_flock(fd);
    if (r == -EWOULDBLOCK)
        err_set(e, r, "the store in %s is in use by another process", dir);
    else if (r < 0)
        err_wrap(e, r, "cannot lock %s", path);
    if (r < 0) {
        os_close(fd);
        return r;
    }
    f->lock = fd;
    f->dir = xstrdup(dir);
    return 0;
}

int files_sync_parent(const struct files *f)
{
    if (!f->dir || !f->durable)
        return 0;
    CLEANUP_FREE char *parent = xstrdup(f->dir);
    size_t n = strlen(parent);
    while (n > 1 && parent[n - 1] == '/')
        parent[--n] = 0;
    char *slash = strrchr(parent, '/');
    if (!slash)
        return os_sync_dir(".");
    slash[slash == parent] = 0;
    return os_sync_dir(parent);
}

/* "0000000012.log" */
static uint32_t number_of(const char *name)
{
    uint64_t n;
    struct str s = str_of(name);
    if (s.n != 14 || !str_ends(s, STR(".log")) || str_to_u64(str_slice(s, 0, 10), &n) < 0 || n > UINT32_MAX)
        return 0;
    return (uint32_t)n;
}

int files_list(const struct files *f, struct arena *a, uint32_t **ret, size_t *ret_n)
{
    char **names;
    int r = os_list_dir(a, f->dir, &names);
    if (r < 0)
        return r;
    size_t n = 0;
    while (names[n])
        n++;
    uint32_t *numbers = ARENA_ARRAY(a, uint32_t, n);
    *ret_n = 0;
    for (size_t i = 0; i < n; i++) { /* sorted by name, so by number */
        uint32_t number = number_of(names[i]);
        if (number)
            numbers[(*ret_n)++] = number;
    }
    *ret = numbers;
    return 0;
}

int files_remove(const struct files *f, uint32_t number)
{
    char path[PATH_SIZE];
    number_path(f, number, path);
    return os_unlink(path);
}

/* ---- a segment's life --------------------------------------------------------------------------------- */

static struct segment *segment_new(int fd, uint32_t size)
{
    struct segment *s = NEW(struct segment);
    s->fd = fd;
    s->size = size;
    return s;
}

void segment_free(struct segment *s)
{
    if (!s)
        return;
    if (s->memory)
        free(s->memory);
    else
        os_close(s->fd);
    free(s);
}

static int spare_in_memory(uint32_t size, struct segment **ret)
{
    struct segment *s = segment_new(-1, size);
    s->memory = xcalloc(1, size);
    s->zeroed = size;
    *ret = s;
    return 0;
}

static int allocate(int fd, uint32_t size)
{
    int r = os_fallocate(fd, 0, size);
    if (r == -EOPNOTSUPP || r == -ENOSYS)
        r = os_ftruncate(fd, size);
    return r;
}

static int spare_in_file(struct files *f, enum spare_name name, uint32_t size, struct segment **ret)
{
    char path[PATH_SIZE];
    spare_path(f, name, path);
    off_t now = 0;
    int fd = os_open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0)
        return fd;
    int r = os_fsize(fd, &now);
    if (r == 0 && now > (off_t)size)
        r = os_ftruncate(fd, 0);
    if (r == 0)
        r = allocate(fd, size);
    if (r < 0) {
        os_close(fd);
        os_unlink(path); /* gives back what was allocated in part */
        return r;
    }
    *ret = segment_new(fd, size);
    return 0;
}

int segment_spare(struct files *f, enum spare_name name, uint32_t size, struct segment **ret)
{
    int r = f->dir ? spare_in_file(f, name, size, ret) : spare_in_memory(size, ret);
    if (r == 0)
        (*ret)->spare = name;
    return r;
}

static void put(char **p, const void *v, size_t n)
{
    memcpy(*p, v, n);
    *p += n;
}
#define PUT(p, v) put(&(p), &(v), sizeof(v))
#define GET(p, v) (memcpy(&(v), (p), sizeof(v)), (p) += sizeof(v))

/* Magic 0, format 8, salt 12, number 16, size 20, store 24, revision 32, compacted 40, ceiling 48, zero 56,
 * crc 60. */
static void header_encode(char *to, const struct segment_header *h, uint32_t size, uint32_t salt)
{
    char *p = to;
    memset(to, 0, SEGMENT_HEADER);
    put(&p, magic, sizeof(magic));
    uint32_t words[] = {htole32(SEGMENT_FORMAT), htole32(salt), htole32(h->number), htole32(size)};
    uint64_t longs[] = {htole64(h->store), htole64((uint64_t)h->revision), htole64((uint64_t)h->compacted),
                        htole64((uint64_t)h->ceiling)};
    PUT(p, words);
    PUT(p, longs);
    uint32_t crc = htole32(crc32c(0, to, SEGMENT_HEADER - 4));
    memcpy(to + SEGMENT_HEADER - 4, &crc, 4);
}

/* What distinguishes this segment's frames from all others'. */
static uint32_t mark_of(uint32_t salt, uint32_t number, uint64_t store)
{
    uint64_t words[] = {htole64(store), htole64((uint64_t)salt << 32 | number)};
    uint32_t mark = crc32c(0, words, sizeof(words));
    return mark ? mark : 1;
}

static int header_decode(const char *from, uint32_t number, struct segment_header *ret, uint32_t *ret_mark,
                         const char **ret_why)
{
    uint32_t words[4], crc;
    uint64_t longs[4];
    const char *p = from + sizeof(magic);
    GET(p, words);
    GET(p, longs);
    memcpy(&crc, from + SEGMENT_HEADER - 4, 4);
    if (memcmp(from, magic, sizeof(magic)) != 0)
        return *ret_why = "it does not begin like a segment of the store", -EBADMSG;
    if (le32toh(words[0]) > SEGMENT_FORMAT)
        return *ret_why = "it was written by a newer version of cube", -EPROTONOSUPPORT;
    if (le32toh(crc) != crc32c(0, from, SEGMENT_HEADER - 4))
        return *ret_why = "the checksum of its header is wrong", -EBADMSG;
    *ret = (struct segment_header){
        .number = le32toh(words[2]),
        .size = le32toh(words[3]),
        .store = le64toh(longs[0]),
        .revision = (int64_t)le64toh(longs[1]),
        .compacted = (int64_t)le64toh(longs[2]),
        .ceiling = (int64_t)le64toh(longs[3]),
    };
    *ret_mark = mark_of(le32toh(words[1]), ret->number, ret->store);
    if (ret->number != number)
        return *ret_why = "its header has another number than its name", -EBADMSG;
    return 0;
}

static int give_number(struct files *f, const struct segment *s, uint32_t number)
{
    char from[PATH_SIZE], to[PATH_SIZE];
    if (s->memory)
        return 0;
    spare_path(f, s->spare, from);
    number_path(f, number, to);
    int r = os_rename(from, to);
    return r < 0 || !f->durable ? r : os_sync_dir(f->dir);
}

/* The first frame: what else belongs to the log. */
static void list_others(struct buf *b, struct segment *s, const uint32_t *others, size_t n)
{
    struct buf value = {0};
    for (size_t i = 0; i < n; i++) {
        uint32_t number = htole32(others[i]);
        buf_put(&value, &number, sizeof(number));
    }
    size_t size = op_size(0, value.n);
    char *to = buf_grow(b, frame_size(size));
    memset(to, 0, frame_size(size));
    struct frame f = {.kind = FRAME_SEGMENTS};
    op_encode(to + FRAME_SIZE, s->mark, &(struct op){.value = buf_str(&value), .version = 1});
    frame_add_op(&f, to + FRAME_SIZE, size);
    s->prev = frame_encode(to, s->mark, &f);
    b->n += frame_size(size);
    buf_done(&value);
}

int segment_begin(struct files *f, struct segment *s, const struct segment_header *h, const uint32_t *others,
                  size_t n)
{
    struct buf CLEANUP_BUF b = {0};
    uint32_t salt = (uint32_t)os_random_u64();
    s->mark = mark_of(salt, h->number, h->store);
    header_encode(buf_grow(&b, SEGMENT_HEADER), h, s->size, salt);
    b.n = SEGMENT_HEADER;
    list_others(&b, s, others, n);
    int r = segment_write(f, s, b.p, b.n, 0);
    if (r == 0)
        r = segment_sync(f, s);
    if (r == 0)
        r = give_number(f, s, h->number);
    if (r < 0)
        return r;
    s->number = h->number;
    s->end = (uint32_t)b.n;
    return 0;
}

int segment_open(struct files *f, uint32_t number, struct segment **ret, struct segment_header *ret_header,
                 struct err *e)
{
    char path[PATH_SIZE], header[SEGMENT_HEADER];
    number_path(f, number, path);
    int fd = os_open(path, O_RDWR, 0);
    if (fd < 0)
        return err_wrap(e, fd, "cannot open %s", path);
    struct segment *s = segment_new(fd, UINT32_MAX);
    const char *why = "it is too short";
    off_t length = 0;
    int r = os_fsize(fd, &length);
    if (r == 0)
        r = length < SEGMENT_HEADER ? -EBADMSG : segment_read(s, header, sizeof(header), 0);
    struct segment_header h;
    if (r == 0)
        r = header_decode(header, number, &h, &s->mark, &why);
    if (r == -EBADMSG || r == -EPROTONOSUPPORT)
        err_set(e, r, "cannot read %s: %s (byte 0)", path, why);
    else if (r < 0)
        err_wrap(e, r, "cannot read %s", path);
    if (r < 0) {
        segment_free(s);
        return r;
    }
    s->number = number;
    s->size = (uint32_t)MIN((off_t)h.size, length);
    s->end = SEGMENT_HEADER;
    *ret_header = h;
    *ret = s;
    return 0;
}

struct segment *segment_retire(struct files *f, struct segment *s, enum spare_name name)
{
    char from[PATH_SIZE], to[PATH_SIZE];
    bool wanted = name != SPARES && f->dir;
    if (f->dir) {
        number_path(f, s->number, from);
        if (wanted)
            spare_path(f, name, to);
        /* Neither has to succeed: the log says that the segment is gone, so the next start removes it. */
        if (!wanted || os_rename(from, to) < 0) {
            os_unlink(from);
            wanted = false;
        }
    }
    struct segment *spare = NULL;
    if (wanted) {
        spare = segment_new(TAKE_FD(s->fd), s->size);
        spare->spare = name;
        spare->zeroed = s->size;
    }
    segment_free(s);
    return spare;
}

/* ---- bytes -------------------------------------------------------------------------------------------- */

int segment_read(const struct segment *s, void *p, size_t n, uint32_t at)
{
    if (s->memory) {
        memcpy(p, s->memory + at, n);
        return 0;
    }
    for (size_t done = 0; done < n;) {
        ssize_t r = os_pread(s->fd, (char *)p + done, n - done, (off_t)at + (off_t)done);
        if (r < 0)
            return (int)r;
        if (r == 0)
            return -EIO; /* shorter than it was */
        done += (size_t)r;
    }
    return 0;
}

static int write_all(struct files *f, const struct segment *s, const char *p, size_t n, uint32_t at)
{
    for (size_t done = 0; done < n;) {
        ssize_t r = os_pwrite(s->fd, p + done, n - done, (off_t)at + (off_t)done);
        if (r < 0)
            return (int)r;
        if (r == 0)
            return -EIO;
        done += (size_t)r;
        f->written += (uint64_t)r;
    }
    return 0;
}

int segment_write(struct files *f, struct segment *s, const void *p, size_t n, uint32_t at)
{
    static const char zeros[64 << 10];
    if (s->memory) {
        memcpy(s->memory + at, p, n);
        return 0;
    }
    int r = write_all(f, s, p, n, at);
    uint32_t end = at + (uint32_t)n;
    if (r < 0 || end <= s->zeroed)
        return r;
    /* The first write to an allocated block makes the file system note that it is in use now: that costs it a
     * journal entry with the sync. Doing it for many blocks in one go leaves the following syncs without. */
    uint32_t until = MIN(end + SEGMENT_ZERO_AHEAD, s->size);
    for (uint32_t z = end; z < until && r == 0; z += sizeof(zeros))
        r = write_all(f, s, zeros, MIN(sizeof(zeros), until - z), z);
    if (r == 0)
        s->zeroed = until;
    return r;
}

int segment_sync(struct files *f, struct segment *s)
{
    f->syncs++;
    return s->memory || !f->durable ? 0 : os_fdatasync(s->fd);
}

int segment_extend(struct segment *s, uint32_t size)
{
    int r = s->size < size ? os_ftruncate(s->fd, size) : 0;
    if (r == 0)
        s->size = MAX(s->size, size);
    return r;
}

int segment_cut(struct files *f, struct segment *s)
{
    int r = os_ftruncate(s->fd, s->end);
    if (r == 0)
        r = allocate(s->fd, s->size);
    if (r == -ENOSPC || r == -EDQUOT)
        r = os_ftruncate(s->fd, s->size); /* writes into it will find out */
    s->zeroed = 0;
    return r < 0 ? r : segment_sync(f, s);
}

/* ---- scanning ----------------------------------------------------------------------------------------- */

void scan_done(struct scan *c)
{
    buf_done(&c->window);
}

/* Bytes [at, at + n) of the segment, which has them. */
static int scan_bytes(struct scan *c, uint32_t at, uint32_t n, const char **ret)
{
    if (at < c->window_at || at + n > c->window_at + c->window.n) {
        uint32_t size = MIN(MAX(n, (uint32_t)WINDOW), c->segment->size - at);
        buf_clear(&c->window);
        buf_grow(&c->window, size);
        int r = segment_read(c->segment, c->window.p, size, at);
        if (r < 0)
            return r;
        c->window.n = size;
        c->window_at = at;
    }
    *ret = c->window.p + (at - c->window_at);
    return 0;
}

int scan_next(struct scan *c, struct frame *ret, const char **ret_body, uint32_t *ret_at)
{
    const struct segment *s = c->segment;
    const char *p;
    struct frame f;
    if (c->at + FRAME_SIZE > s->size)
        return SCAN_END;
    int r = scan_bytes(c, c->at, FRAME_SIZE, &p);
    if (r == 0)
        r = frame_decode(s->mark, p, &f);
    if (r != 0)
        return r < 0 ? r : SCAN_END;
    if (f.prev != c->prev)
        return SCAN_END;
    if (f.length > s->size - c->at - FRAME_SIZE)
        return -EBADMSG;
    r = scan_bytes(c, c->at, FRAME_SIZE + f.length, &p);
    if (r == 0)
        r = frame_check_body(s->mark, &f, p + FRAME_SIZE);
    if (r < 0)
        return r;
    *ret = f;
    *ret_body = p + FRAME_SIZE;
    if (ret_at)
        *ret_at = c->at;
    c->at += (uint32_t)frame_size(f.length);
    c->prev = f.crc;
    return 0;
}

int scan_was_durable(struct scan *c, bool *ret)
{
    const struct segment *s = c->segment;
    for (uint32_t at = c->at; at + FRAME_SIZE <= s->size; at += FRAME_ALIGN) {
        const char *p;
        struct frame f;
        int r = scan_bytes(c, at, FRAME_SIZE, &p);
        if (r < 0)
            return r;
        if (frame_decode(s->mark, p, &f) == 0 && f.durable > c->at) {
            *ret = true;
            return 0;
        }
    }
    *ret = false;
    return 0;
}
