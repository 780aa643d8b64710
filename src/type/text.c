/* SPDX-License-Identifier: Apache-2.0 */
#include "type/text.h"

#include "wire/json.h"

/* The bytes of the UTF-8 sequence at s, 0 when it is none; *ret_rune what it says. */
static size_t rune_at(struct str s, uint32_t *ret_rune)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t n = p[0] < 0x80                   ? 1
               : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
               : (p[0] & 0xf0) == 0xe0       ? 3
               : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                             : 0;
    if (!n || n > s.n)
        return 0;
    static const uint8_t lead[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t r = p[0] & lead[n];
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        r = r << 6 | (p[i] & 0x3f);
    }
    if (r < least[n] || r > 0x10ffff || (r >= 0xd800 && r < 0xe000))
        return 0;
    *ret_rune = r;
    return n;
}

/* Not exactly Go's IsPrint: the control, format and private ranges that matter. */
static bool rune_prints(uint32_t r)
{
    if (r < 0x20 || (r >= 0x7f && r <= 0xa0) || r == 0xad)
        return false;
    if ((r >= 0x2000 && r <= 0x200f) || (r >= 0x2028 && r <= 0x202f) || (r >= 0x205f && r <= 0x206f))
        return false;
    return !(r >= 0xe000 && r <= 0xf8ff) && r != 0xfeff && r != 0x3000 && !(r >= 0xfff0 && r <= 0xfffb) &&
           r < 0xe0000;
}

static const char *short_escape(uint32_t r)
{
    static const char *const seven[] = {"\\a", "\\b", "\\t", "\\n", "\\v", "\\f", "\\r"};
    if (r >= 7 && r <= 13)
        return seven[r - 7];
    return r == '"' ? "\\\"" : r == '\\' ? "\\\\" : NULL;
}

static void put_rune(struct buf *b, uint32_t r, struct str bytes)
{
    if (short_escape(r))
        buf_puts(b, short_escape(r));
    else if (rune_prints(r))
        buf_putstr(b, bytes);
    else
        buf_printf(b, r < 0x80 ? "\\x%02x" : r < 0x10000 ? "\\u%04x" : "\\U%08x", r);
}

struct str text_quote(struct arena *a, struct str s)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    buf_putc(&b, '"');
    while (s.n) {
        uint32_t r = 0;
        size_t n = rune_at(s, &r);
        if (n)
            put_rune(&b, r, str_n(s.p, n));
        else
            buf_printf(&b, "\\x%02x", (unsigned char)s.p[0]);
        s = str_from(s, n ? n : 1);
    }
    buf_putc(&b, '"');
    return arena_str(a, buf_str(&b));
}

struct str text_value(struct arena *a, const struct val *v)
{
    if (!v || v->kind == VAL_NULL)
        return STR("null");
    if (v->kind == VAL_STR)
        return text_quote(a, val_str(v));
    CLEANUP_BUF struct buf b = BUF_INIT;
    json_encode(&b, NULL, v, 0);
    return arena_str(a, buf_str(&b));
}

