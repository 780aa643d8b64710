/* SPDX-License-Identifier: Apache-2.0 */
#include "net/gzip.h"

#include <zlib.h>

enum { GZIP_WINDOW = 15 + 16, PIECE = 32768, INPUT_MAX = 1 << 30 };

void gzip_deflate(struct buf *b, struct str s, int level)
{
    z_stream z = {0};
    if (deflateInit2(&z, level, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        panic("zlib: deflateInit2 failed");
    const char *p = s.p;
    size_t left = s.n;
    int r;
    do {
        size_t take = MIN(left, (size_t)INPUT_MAX);
        z.next_in = (Bytef *)(uintptr_t)p;
        z.avail_in = (uInt)take;
        p += take;
        left -= take;
        do {
            z.next_out = (Bytef *)buf_grow(b, PIECE);
            z.avail_out = PIECE;
            r = deflate(&z, left ? Z_NO_FLUSH : Z_FINISH);
            b->n += PIECE - z.avail_out;
        } while (z.avail_out == 0);
    } while (left);
    ASSERT(r == Z_STREAM_END);
    deflateEnd(&z);
}

static int inflate_all(z_stream *z, struct buf *b, size_t limit)
{
    for (;;) {
        z->next_out = (Bytef *)buf_grow(b, PIECE);
        z->avail_out = PIECE;
        int r = inflate(z, Z_NO_FLUSH);
        b->n += PIECE - z->avail_out;
        if (b->n > limit)
            return -EFBIG;
        if (r == Z_STREAM_END)
            return z->avail_in ? -EINVAL : 0;
        if (r != Z_OK)
            return -EINVAL;
    }
}

int gzip_inflate(struct buf *b, struct str s, size_t max)
{
    z_stream z = {0};
    if (s.n > INPUT_MAX)
        return -EFBIG;
    z.next_in = (Bytef *)(uintptr_t)s.p;
    z.avail_in = (uInt)s.n;
    if (inflateInit2(&z, GZIP_WINDOW) != Z_OK)
        panic("zlib: inflateInit2 failed");
    size_t start = b->n;
    int r = inflate_all(&z, b, start + max);
    inflateEnd(&z);
    if (r < 0)
        b->n = start;
    return r;
}
