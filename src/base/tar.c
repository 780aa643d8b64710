/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tar.h"

#include <stdio.h>

enum { BLOCK = 512, MAX_EXTENSION = 1 << 20 };

/* Offsets and sizes of a header's fields (POSIX.1-1988 ustar). */
enum {
    AT_NAME = 0, N_NAME = 100, AT_MODE = 100, AT_UID = 108, AT_GID = 116, AT_SIZE = 124, AT_MTIME = 136, AT_SUM = 148,
    AT_TYPE = 156, AT_LINK = 157, N_LINK = 100, AT_MAGIC = 257, AT_PREFIX = 345, N_PREFIX = 155,
};

/* ---- writing ------------------------------------------------------------------------------------------------ */

static void put_octal(char *at, unsigned digits, uint64_t n)
{
    for (unsigned i = digits; i-- > 0; n >>= 3)
        at[i] = (char)('0' + (n & 7));
}

/* Numbers that octal digits cannot hold are binary with the top bit set (GNU). */
static void put_number(char *at, unsigned size, uint64_t n)
{
    if (n >> (3 * (size - 1)) == 0) {
        put_octal(at, size - 1, n);
        return;
    }
    for (unsigned i = size; i-- > 0; n >>= 8)
        at[i] = (char)(n & 0xff);
    at[0] |= (char)0x80;
}

static unsigned checksum(const char *h)
{
    unsigned sum = 0;
    for (int i = 0; i < BLOCK; i++)
        sum += i >= AT_SUM && i < AT_SUM + 8 ? ' ' : (unsigned char)h[i];
    return sum;
}

static void put_block(struct buf *b, const struct tar_entry *e)
{
    char h[BLOCK] = {0};
    memcpy(h + AT_NAME, e->name.p, MIN(e->name.n, (size_t)N_NAME));
    put_octal(h + AT_MODE, 7, e->mode & 07777);
    put_octal(h + AT_UID, 7, 0);
    put_octal(h + AT_GID, 7, 0);
    put_number(h + AT_SIZE, 12, e->size);
    put_number(h + AT_MTIME, 12, e->mtime > 0 ? (uint64_t)e->mtime : 0);
    h[AT_TYPE] = e->type;
    if (e->link.n)
        memcpy(h + AT_LINK, e->link.p, MIN(e->link.n, (size_t)N_LINK));
    memcpy(h + AT_MAGIC, "ustar  ", 8); /* GNU's magic, which long names belong to */
    put_octal(h + AT_SUM, 6, checksum(h));
    h[AT_SUM + 7] = ' ';
    buf_put(b, h, BLOCK);
}

void tar_pad(struct buf *b, uint64_t size)
{
    static const char zeros[BLOCK];
    if (size % BLOCK)
        buf_put(b, zeros, BLOCK - size % BLOCK);
}

static void put_long(struct buf *b, char type, struct str text)
{
    put_block(b, &(struct tar_entry){.name = STR("././@LongLink"), .type = type, .size = text.n + 1});
    buf_putstr(b, text);
    buf_putc(b, 0);
    tar_pad(b, text.n + 1);
}

void tar_put(struct buf *b, const struct tar_entry *e)
{
    if (e->link.n > N_LINK)
        put_long(b, 'K', e->link);
    if (e->name.n > N_NAME)
        put_long(b, 'L', e->name);
    put_block(b, e);
}

void tar_end(struct buf *b)
{
    static const char zeros[2 * BLOCK];
    buf_put(b, zeros, sizeof(zeros));
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

enum { IN_HEADER, IN_EXTENSION, IN_CONTENT, IN_PADDING };

void tar_reader_init(struct tar_reader *r, const struct tar_sink *sink)
{
    *r = (struct tar_reader){.sink = sink};
}

void tar_reader_done(struct tar_reader *r)
{
    arena_done(&r->names);
    buf_done(&r->header);
}

static struct str text_field(const char *p, size_t n)
{
    return str_n(p, strnlen(p, n));
}

static bool get_number(const char *p, size_t n, uint64_t *ret)
{
    uint64_t v = 0;
    if ((unsigned char)p[0] & 0x80) {
        for (size_t i = 0; i < n; i++) {
            if (v >> 56)
                return false;
            v = v << 8 | (i ? (unsigned char)p[i] : (unsigned char)p[0] & 0x7f);
        }
        *ret = v;
        return v <= INT64_MAX;
    }
    size_t i = 0;
    while (i < n && p[i] == ' ')
        i++;
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
        v = v << 3 | (uint64_t)(p[i] - '0');
    *ret = v;
    return i == n || p[i] == 0 || p[i] == ' ';
}

static bool all_zero(const char *p)
{
    for (int i = 0; i < BLOCK; i++)
        if (p[i])
            return false;
    return true;
}

static struct str full_name(struct tar_reader *r, const char *h)
{
    struct str name = text_field(h + AT_NAME, N_NAME), prefix = text_field(h + AT_PREFIX, N_PREFIX);
    if (memcmp(h + AT_MAGIC, "ustar", 6) || !prefix.n) /* GNU's headers have other things there */
        return arena_str(&r->names, name);
    return arena_printf(&r->names, STR_FMT "/" STR_FMT, STR_ARG(prefix), STR_ARG(name));
}

static int parse_header(struct tar_reader *r, const char *h, struct err *e)
{
    uint64_t sum, mode, size, mtime;
    if (!get_number(h + AT_SUM, 8, &sum) || sum != checksum(h))
        return err_set(e, -EINVAL, "archive/tar: invalid tar header");
    if (!get_number(h + AT_MODE, 8, &mode) || !get_number(h + AT_SIZE, 12, &size) || !get_number(h + AT_MTIME, 12, &mtime))
        return err_set(e, -EINVAL, "archive/tar: invalid tar header");
    r->entry = (struct tar_entry){.name = r->has_name ? r->next.name : full_name(r, h),
                                  .link = r->has_link ? r->next.link
                                                      : arena_str(&r->names, text_field(h + AT_LINK, N_LINK)),
                                  .type = h[AT_TYPE] ? h[AT_TYPE] : TAR_FILE,
                                  .mode = (unsigned)mode & 07777,
                                  .size = size,
                                  .mtime = (int64_t)mtime};
    return 0;
}

static bool is_extension(char type)
{
    return type == 'L' || type == 'K' || type == 'x' || type == 'g';
}

static int start_entry(struct tar_reader *r, struct err *e)
{
    if (is_extension(r->entry.type)) {
        if (r->entry.size > MAX_EXTENSION)
            return err_set(e, -EINVAL, "archive/tar: header field too long");
        r->left = r->entry.size;
        r->state = IN_EXTENSION;
        return 0;
    }
    if (r->has_size)
        r->entry.size = r->next.size;
    if (r->entry.type == TAR_DIR || r->entry.type == TAR_SYMLINK || r->entry.type == TAR_HARD_LINK)
        r->entry.size = 0;
    r->left = r->entry.size;
    r->has_name = r->has_link = r->has_size = false;
    r->state = IN_CONTENT;
    return r->sink->begin(r->sink->arg, &r->entry);
}

/* Records "LENGTH KEY=VALUE\n" of a pax header. */
static void parse_pax(struct tar_reader *r, struct str s)
{
    while (s.n) {
        struct str head, rest, key, value;
        int64_t len, size;
        if (!str_cut(s, ' ', &head, &rest) || str_to_i64(head, &len) < 0 || len <= (int64_t)head.n + 2 || (size_t)len > s.n)
            return;
        struct str record = str_slice(s, head.n + 1, (size_t)len - head.n - 2);
        s = str_from(s, (size_t)len);
        if (!str_cut(record, '=', &key, &value))
            continue;
        if (str_is(key, "path")) {
            r->next.name = arena_str(&r->names, value);
            r->has_name = true;
        } else if (str_is(key, "linkpath")) {
            r->next.link = arena_str(&r->names, value);
            r->has_link = true;
        } else if (str_is(key, "size") && str_to_i64(value, &size) == 0 && size >= 0) {
            r->next.size = (uint64_t)size;
            r->has_size = true;
        }
    }
}

static void end_extension(struct tar_reader *r)
{
    struct str text = text_field(r->header.p, r->header.n);
    if (r->entry.type == 'L') {
        r->next.name = arena_str(&r->names, text);
        r->has_name = true;
    } else if (r->entry.type == 'K') {
        r->next.link = arena_str(&r->names, text);
        r->has_link = true;
    } else if (r->entry.type == 'x') {
        parse_pax(r, buf_str(&r->header));
    }
    buf_clear(&r->header);
}

static struct str take(struct str *data, uint64_t max)
{
    struct str piece = str_slice(*data, 0, (size_t)MIN((uint64_t)data->n, max));
    *data = str_from(*data, piece.n);
    return piece;
}

static int feed_header(struct tar_reader *r, struct str *data, struct err *e)
{
    buf_putstr(&r->header, take(data, BLOCK - r->header.n));
    if (r->header.n < BLOCK)
        return 0;
    char h[BLOCK];
    memcpy(h, r->header.p, BLOCK);
    buf_clear(&r->header);
    if (all_zero(h)) {
        r->done = true;
        return 0;
    }
    int x = parse_header(r, h, e);
    return x < 0 ? x : start_entry(r, e);
}

static int feed_content(struct tar_reader *r, struct str *data)
{
    struct str piece = take(data, r->left);
    r->left -= piece.n;
    if (r->state == IN_EXTENSION)
        buf_putstr(&r->header, piece);
    int x = piece.n && r->state == IN_CONTENT ? r->sink->content(r->sink->arg, piece) : 0;
    if (x < 0 || r->left)
        return x;
    r->pad = (unsigned)(-r->entry.size % BLOCK);
    if (r->state == IN_EXTENSION)
        end_extension(r);
    else
        x = r->sink->end(r->sink->arg);
    r->state = IN_PADDING;
    return x;
}

static void feed_padding(struct tar_reader *r, struct str *data)
{
    r->pad -= (unsigned)take(data, r->pad).n;
    if (r->pad)
        return;
    r->state = IN_HEADER;
    if (!is_extension(r->entry.type))
        arena_reset(&r->names);
}

int tar_feed(struct tar_reader *r, struct str data, struct err *e)
{
    while ((data.n || (r->state != IN_HEADER && !r->left && !r->pad)) && !r->done) {
        int x = 0;
        if (r->state == IN_HEADER)
            x = feed_header(r, &data, e);
        else if (r->state == IN_PADDING)
            feed_padding(r, &data);
        else
            x = feed_content(r, &data);
        if (x < 0)
            return x;
    }
    return 0;
}

bool tar_complete(const struct tar_reader *r)
{
    return r->done || (r->state == IN_HEADER && !r->header.n);
}

/* ---- paths -------------------------------------------------------------------------------------------------- */

struct str path_clean(struct arena *a, struct str path)
{
    struct str *parts = ARENA_ARRAY(a, struct str, path.n + 1), rest = path, part;
    bool rooted = path.n && path.p[0] == '/';
    size_t n = 0;
    while (str_next(&rest, '/', &part)) {
        if (!part.n || str_is(part, "."))
            continue;
        if (str_is(part, "..") && n && !str_is(parts[n - 1], ".."))
            n--;
        else if (!str_is(part, "..") || !rooted)
            parts[n++] = part;
    }
    struct str joined = arena_join(a, parts, n, STR("/"));
    if (rooted)
        return arena_printf(a, "/" STR_FMT, STR_ARG(joined));
    return joined.n ? joined : STR(".");
}

static bool is_below(struct str dest, struct str path)
{
    if (str_eq(dest, path) || str_is(dest, "/"))
        return true;
    if (str_is(dest, "."))
        return !str_is(path, "..") && !str_starts(path, STR("../")) && !str_starts(path, STR("/"));
    return str_starts(path, dest) && path.n > dest.n && path.p[dest.n] == '/';
}

int tar_place(struct arena *a, struct str dest, struct str prefix, struct str name, struct str *ret)
{
    if (!str_starts(name, prefix) || memchr(name.p ? name.p : "", 0, name.n))
        return -EINVAL;
    struct str below = str_from(name, prefix.n);
    if (prefix.n && below.n && below.p[0] != '/') /* "a/bc" has not the prefix "a/b" */
        return -EINVAL;
    struct str clean_dest = path_clean(a, dest);
    *ret = path_clean(a, arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(dest), STR_ARG(below)));
    return is_below(clean_dest, *ret) ? 0 : -EPERM;
}
