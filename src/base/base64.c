/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(struct buf *b, struct str s, const char *alphabet, bool pad)
{
    for (size_t i = 0; i < s.n; i += 3) {
        size_t left = MIN(s.n - i, (size_t)3);
        uint32_t v = (uint32_t)(uint8_t)s.p[i] << 16;
        if (left > 1)
            v |= (uint32_t)(uint8_t)s.p[i + 1] << 8;
        if (left > 2)
            v |= (uint8_t)s.p[i + 2];
        for (size_t j = 0; j < 4; j++) {
            if (j <= left)
                buf_putc(b, alphabet[v >> (18 - 6 * j) & 63]);
            else if (pad)
                buf_putc(b, '=');
        }
    }
}

static int decode(struct buf *b, struct str s, const char *alphabet, bool lines)
{
    uint32_t v = 0;
    unsigned bits = 0;
    size_t start = b->n;
    for (size_t i = 0; i < s.n; i++) {
        if (lines && (s.p[i] == '\n' || s.p[i] == '\r'))
            continue;
        const char *at = s.p[i] ? strchr(alphabet, s.p[i]) : NULL;
        if (!at) {
            b->n = start;
            return -EINVAL;
        }
        v = v << 6 | (uint32_t)(at - alphabet);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            buf_putc(b, (char)(v >> bits & 255));
        }
    }
    if (bits == 6 || (v & ((1u << bits) - 1))) {
        b->n = start;
        return -EINVAL;
    }
    return 0;
}

void base64_put(struct buf *b, struct str s)
{
    encode(b, s, standard, true);
}

int base64_take(struct buf *b, struct str s)
{
    size_t digits = 0, pads = 0;
    while (s.n && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r' || s.p[s.n - 1] == '=')) {
        pads += s.p[s.n - 1] == '=';
        s.n--;
    }
    for (size_t i = 0; i < s.n; i++)
        digits += s.p[i] != '\n' && s.p[i] != '\r';
    return (digits + pads) % 4 || pads > 2 ? -EINVAL : decode(b, s, standard, true);
}

void base64url_put(struct buf *b, struct str s)
{
    encode(b, s, url_safe, false);
}

int base64url_take(struct buf *b, struct str s)
{
    return decode(b, s, url_safe, false);
}
