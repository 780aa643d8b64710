/* SPDX-License-Identifier: Apache-2.0 */
/* SPDY's header blocks (draft-mbelshe-httpbis-spdy-00 section 2.6.10): name/value pairs, zlib with a
 * dictionary. */
#include "net/spdy-internal.h"

#include <pthread.h>

/* The first part of the dictionary is these words, each behind its length in four bytes; the second is plain
 * text. */
static const char *const dictionary_words[] = {
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
};

static const char dictionary_text[] =
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static char dictionary[1500];
static size_t dictionary_n;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_dictionary(void)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(dictionary_words); i++) {
        spdy_put_u32(&b, (uint32_t)strlen(dictionary_words[i]));
        buf_puts(&b, dictionary_words[i]);
    }
    buf_puts(&b, dictionary_text);
    ASSERT(b.n <= sizeof(dictionary));
    memcpy(dictionary, b.p, b.n);
    dictionary_n = b.n;
}

struct str spdy_dictionary(void)
{
    pthread_once(&once, make_dictionary);
    return str_n(dictionary, dictionary_n);
}

void spdy_put_u32(struct buf *b, uint32_t v)
{
    const uint8_t p[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    buf_put(b, p, 4);
}

/* ---- compression -------------------------------------------------------------------------------------- */

void spdy_zlib_init(z_stream *deflater, z_stream *inflater)
{
    struct str d = spdy_dictionary();
    *deflater = *inflater = (z_stream){0};
    /* A small window: a dozen headers a connection are not worth 256 KiB. */
    if (deflateInit2(deflater, Z_BEST_SPEED, Z_DEFLATED, 11, 1, Z_DEFAULT_STRATEGY) != Z_OK ||
        deflateSetDictionary(deflater, (const Bytef *)d.p, (uInt)d.n) != Z_OK ||
        inflateInit(inflater) != Z_OK)
        panic("zlib: cannot start");
}

void spdy_zlib_done(z_stream *deflater, z_stream *inflater)
{
    deflateEnd(deflater);
    inflateEnd(inflater);
}

enum { PIECE = 4096 };

void spdy_compress(z_stream *z, struct buf *b, struct str plain)
{
    z->next_in = (Bytef *)(uintptr_t)plain.p;
    z->avail_in = (uInt)plain.n;
    do {
        z->next_out = (Bytef *)buf_grow(b, PIECE);
        z->avail_out = PIECE;
        deflate(z, Z_SYNC_FLUSH);
        b->n += PIECE - z->avail_out;
    } while (z->avail_out == 0);
}

int spdy_decompress(z_stream *z, struct buf *b, struct str packed)
{
    struct str d = spdy_dictionary();
    z->next_in = (Bytef *)(uintptr_t)packed.p;
    z->avail_in = (uInt)packed.n;
    do {
        z->next_out = (Bytef *)buf_grow(b, PIECE);
        z->avail_out = PIECE;
        int r = inflate(z, Z_SYNC_FLUSH);
        if (r == Z_NEED_DICT)
            r = inflateSetDictionary(z, (const Bytef *)d.p, (uInt)d.n) == Z_OK ? inflate(z, Z_SYNC_FLUSH)
                                                                               : Z_DATA_ERROR;
        b->n += PIECE - z->avail_out;
        if ((r != Z_OK && r != Z_BUF_ERROR) || b->n > SPDY_HEADERS_MAX)
            return -EPROTO;
    } while (z->avail_in || z->avail_out == 0);
    return 0;
}

/* ---- frames and blocks -------------------------------------------------------------------------------- */

int spdy_parse_frame(const uint8_t p[static 8], struct spdy_frame *ret)
{
    struct spdy_frame f = {.control = p[0] & 0x80, .flags = p[4], .length = spdy_u32(p + 4) & 0xffffff};
    if (f.control) {
        if ((spdy_u32(p) >> 16 & 0x7fff) != 3)
            return -EPROTO;
        f.type = (uint16_t)(spdy_u32(p) & 0xffff);
    } else {
        f.stream_id = spdy_u32(p);
    }
    *ret = f;
    return 0;
}

static int take_text(struct str *rest, struct str *ret)
{
    if (rest->n < 4)
        return -EPROTO;
    uint32_t n = spdy_u32((const uint8_t *)rest->p);
    *rest = str_from(*rest, 4);
    if (n > rest->n)
        return -EPROTO;
    *ret = str_slice(*rest, 0, n);
    *rest = str_from(*rest, n);
    return 0;
}

int spdy_parse_headers(struct arena *a, struct str block, struct http_headers *ret)
{
    if (block.n < 4)
        return -EPROTO;
    uint32_t n = spdy_u32((const uint8_t *)block.p);
    struct str rest = str_from(block, 4);
    if (n > rest.n / 8) /* each pair has two lengths */
        return -EPROTO;
    struct http_header *items = ARENA_ARRAY(a, struct http_header, n);
    for (uint32_t i = 0; i < n; i++) {
        struct str name, value;
        if (take_text(&rest, &name) < 0 || take_text(&rest, &value) < 0 || name.n == 0)
            return -EPROTO;
        for (size_t j = 0; j < name.n; j++)
            if (name.p[j] >= 'A' && name.p[j] <= 'Z')
                return -EPROTO;
        /* Several values of a name are joined by NUL: the first is enough for us. */
        ssize_t nul = str_find(value, '\0');
        items[i] = (struct http_header){arena_str(a, name),
                                        arena_str(a, nul < 0 ? value : str_slice(value, 0, (size_t)nul))};
    }
    if (rest.n)
        return -EPROTO;
    *ret = (struct http_headers){items, n};
    return 0;
}

void spdy_write_headers(struct buf *b, const struct http_headers *h)
{
    size_t n = h ? h->n : 0;
    spdy_put_u32(b, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        struct str name = h->items[i].name;
        spdy_put_u32(b, (uint32_t)name.n);
        for (size_t j = 0; j < name.n; j++)
            buf_putc(b, name.p[j] >= 'A' && name.p[j] <= 'Z' ? (char)(name.p[j] + 32) : name.p[j]);
        spdy_put_u32(b, (uint32_t)h->items[i].value.n);
        buf_putstr(b, h->items[i].value);
    }
}
