/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/json_scan.h"

#include "wire/value-internal.h"

#include <stdio.h>

struct json_scan json_scan_start(struct arena *a, struct str text)
{
    char *p = arena_bytes(a, text.n + JSON_SCAN_PAD);
    if (text.n)
        memcpy(p, text.p, text.n);
    memset(p + text.n, 0, JSON_SCAN_PAD);
    return (struct json_scan){p, p + text.n};
}

/* A character as Go quotes it in its sentences. */
static const char *quoted(const char *p, char ret[static 16])
{
    unsigned char c = (unsigned char)*p;
    if (c == '\'')
        return "'\\''";
    if (c == '"')
        return "'\"'";
    if (c == '\\')
        return "'\\\\'";
    if (c == '\n' || c == '\r' || c == '\t')
        snprintf(ret, 16, "'\\%c'", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    else if (c < 0x20 || c == 0x7f)
        snprintf(ret, 16, "'\\x%02x'", c);
    else if (c < 0x80)
        snprintf(ret, 16, "'%c'", c);
    else if (c >= 0xa1) /* Go takes the byte for a rune of that number */
        snprintf(ret, 16, "'%c%c'", 0xc0 | c >> 6, 0x80 | (c & 0x3f));
    else
        snprintf(ret, 16, "'\\u%04x'", c);
    return ret;
}

int json_scan_bad(const struct json_scan *s, const char *where, struct err *e)
{
    char c[16];
    if (s->p >= s->end)
        return err_set(e, -EINVAL, "unexpected end of JSON input");
    return err_set(e, -EINVAL, "invalid character %s %s", quoted(s->p, c), where);
}

/* ---- strings -------------------------------------------------------------------------------------- */

#define BYTES(c) (UINT64_C(0x0101010101010101) * (c))

/* The high bit of the first byte that ends a plain run is set: a quote, a backslash, a control, not ASCII. */
static inline uint64_t stops(uint64_t w)
{
    uint64_t quote = w ^ BYTES('"'), slash = w ^ BYTES('\\');
    return (((quote - BYTES(1)) & ~quote) | ((slash - BYTES(1)) & ~slash) | (w - BYTES(0x20)) | w) &
           BYTES(0x80);
}

static inline char *plain_run(char *p)
{
    for (;; p += 8) {
        uint64_t w;
        memcpy(&w, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        w = __builtin_bswap64(w);
#endif
        uint64_t hit = stops(w);
        if (hit)
            return p + __builtin_ctzll(hit) / 8;
    }
}

size_t utf8_len(const unsigned char *p)
{
    if (p[0] < 0xc2 || p[0] > 0xf4 || (p[1] & 0xc0) != 0x80)
        return 0;
    if (p[0] < 0xe0)
        return 2;
    if ((p[2] & 0xc0) != 0x80)
        return 0;
    if (p[0] < 0xf0)
        return (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ? 0 : 3;
    if ((p[3] & 0xc0) != 0x80 || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return 4;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Over one escape; p stands on the backslash. */
static int scan_escape(struct json_scan *s, struct err *e)
{
    s->p++;
    if (*s->p != 'u') {
        if (!*s->p || !strchr("\"\\/bfnrt", *s->p))
            return json_scan_bad(s, "in string escape code", e);
        s->p++;
        return 0;
    }
    s->p++;
    for (int i = 0; i < 4; i++, s->p++)
        if (hex_digit(*s->p) < 0)
            return json_scan_bad(s, "in \\u hexadecimal character escape", e);
    return 0;
}

int json_scan_string(struct json_scan *s, struct str *ret, bool *ret_escaped, struct err *e)
{
    char *start = ++s->p;
    bool escaped = false;
    for (;;) {
        s->p = plain_run(s->p);
        unsigned char c = (unsigned char)*s->p;
        if (c == '"')
            break;
        if (c == '\\') {
            int r = scan_escape(s, e);
            if (r < 0)
                return r;
            escaped = true;
        } else if (c < 0x20) {
            return json_scan_bad(s, "in string literal", e);
        } else {
            size_t n = utf8_len((const unsigned char *)s->p);
            if (!n)
                return err_set(e, -EINVAL, "invalid UTF-8 in string literal");
            s->p += n;
        }
    }
    *ret = str_n(start, (size_t)(s->p - start));
    *ret_escaped = escaped;
    s->p++;
    return 0;
}

static uint32_t hex4(const char *p)
{
    uint32_t x = 0;
    for (int i = 0; i < 4; i++)
        x = x << 4 | (uint32_t)hex_digit(p[i]);
    return x;
}

static char *put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
        return to;
    }
    if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *to++ = (char)(0xe0 | c >> 12);
        } else {
            *to++ = (char)(0xf0 | c >> 18);
            *to++ = (char)(0x80 | (c >> 12 & 0x3f));
        }
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
    }
    *to++ = (char)(0x80 | (c & 0x3f));
    return to;
}

/* The character of a checked \u escape, p behind its u. A surrogate without its other half is U+FFFD as in
 * Go. */
static const char *unescape_u(const char *p, const char *end, uint32_t *ret)
{
    uint32_t c = hex4(p);
    p += 4;
    if (c >= 0xd800 && c < 0xe000) {
        uint32_t low = c < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? hex4(p + 2) : 0;
        if (low >= 0xdc00 && low < 0xe000) {
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
            p += 6;
        } else {
            c = 0xfffd;
        }
    }
    *ret = c;
    return p;
}

/* In place: an escape is never shorter than what it stands for. Returns the new length. */
static size_t unescape(char *start, size_t n)
{
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *p = start, *end = start + n;
    char *to = start;
    while (p < end) {
        if (*p != '\\') {
            *to++ = *p++;
        } else if (p[1] == 'u') {
            uint32_t c;
            p = unescape_u(p + 2, end, &c);
            to = put_utf8(to, c);
        } else {
            *to++ = meant[strchr(letters, p[1]) - letters];
            p += 2;
        }
    }
    return (size_t)(to - start);
}

int json_take_string(struct json_scan *s, struct str *ret, struct err *e)
{
    char *start = s->p + 1;
    bool escaped;
    struct str text;
    int r = json_scan_string(s, &text, &escaped, e);
    if (r < 0)
        return r;
    size_t n = escaped ? unescape(start, text.n) : text.n;
    start[n] = '\0';
    *ret = str_n(start, n);
    return 0;
}

/* ---- numbers and words ---------------------------------------------------------------------------- */

static inline bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static int scan_digits(struct json_scan *s, const char *where, struct err *e)
{
    if (!digit(*s->p))
        return json_scan_bad(s, where, e);
    while (digit(*s->p))
        s->p++;
    return 0;
}

int json_scan_number(struct json_scan *s, struct json_number *ret, struct err *e)
{
    char *start = s->p;
    bool whole = true;
    int r = 0;
    if (*s->p == '-')
        s->p++;
    if (*s->p == '0')
        s->p++;
    else
        r = scan_digits(s, "in numeric literal", e);
    if (r == 0 && *s->p == '.') {
        whole = false;
        s->p++;
        r = scan_digits(s, "after decimal point in numeric literal", e);
    }
    if (r == 0 && (*s->p == 'e' || *s->p == 'E')) {
        whole = false;
        s->p++;
        if (*s->p == '+' || *s->p == '-')
            s->p++;
        r = scan_digits(s, "in exponent of numeric literal", e);
    }
    if (r < 0)
        return r;
    ret->text = str_n(start, (size_t)(s->p - start));
    ret->whole = whole;
    return 0;
}

int json_scan_word(struct json_scan *s, struct str word, struct err *e)
{
    for (size_t i = 0; i < word.n; i++, s->p++) {
        char where[64];
        if (*s->p != word.p[i]) {
            snprintf(where, sizeof(where), "in literal %s (expecting '%c')", word.p, word.p[i]);
            return json_scan_bad(s, where, e);
        }
    }
    return 0;
}

double json_number_float(struct str digits)
{
    return strtod(digits.p,
                  NULL); /* the grammar was checked, and what follows a number is none of its letters */
}

/* ---- whole values --------------------------------------------------------------------------------- */

static int skip_scalar(struct json_scan *s, struct err *e)
{
    struct str text;
    struct json_number number;
    bool escaped;
    switch (*s->p) {
    case '"':
        return json_scan_string(s, &text, &escaped, e);
    case 't':
        return json_scan_word(s, STR("true"), e);
    case 'f':
        return json_scan_word(s, STR("false"), e);
    case 'n':
        return json_scan_word(s, STR("null"), e);
    default:
        if (!digit(*s->p) && *s->p != '-')
            return json_scan_bad(s, "looking for beginning of value", e);
        return json_scan_number(s, &number, e);
    }
}

/* The key of a pair and the colon behind it. */
static int skip_key(struct json_scan *s, struct err *e)
{
    struct str key;
    bool escaped;
    if (*s->p != '"')
        return json_scan_bad(s, "looking for beginning of object key string", e);
    int r = json_scan_string(s, &key, &escaped, e);
    if (r < 0)
        return r;
    json_scan_space(s);
    if (*s->p != ':')
        return json_scan_bad(s, "after object key", e);
    s->p++;
    json_scan_space(s);
    return 0;
}

/* Behind a value: closes what ends here. Leaves p on the next value, or depth 0. */
static int skip_after(struct json_scan *s, const bool *in_object, unsigned *depth, struct err *e)
{
    while (*depth) {
        bool object = in_object[*depth - 1];
        json_scan_space(s);
        if (*s->p == ',') {
            s->p++;
            json_scan_space(s);
            return object ? skip_key(s, e) : 0;
        }
        if (*s->p != (object ? '}' : ']'))
            return json_scan_bad(s, object ? "after object key:value pair" : "after array element", e);
        s->p++;
        --*depth;
    }
    return 0;
}

int json_scan_skip(struct json_scan *s, struct err *e)
{
    bool in_object[WIRE_MAX_DEPTH];
    unsigned depth = 0;
    do {
        int r = 0;
        bool open = *s->p == '{' || *s->p == '[';
        if (open) {
            bool object = *s->p == '{';
            if (depth == WIRE_MAX_DEPTH)
                return err_set(e, -EINVAL, "exceeded max depth");
            in_object[depth++] = object;
            s->p++;
            json_scan_space(s);
            if (*s->p == (object ? '}' : ']')) {
                s->p++;
                depth--;
                open = false;
            } else if (object) {
                r = skip_key(s, e);
            }
        } else {
            r = skip_scalar(s, e);
        }
        if (r == 0 && !open)
            r = skip_after(s, in_object, &depth, e);
        if (r < 0)
            return r;
    } while (depth);
    return 0;
}

/* Checked text without the space outside of its strings. */
static size_t squeeze(char *to, const char *p, const char *end)
{
    char *start = to;
    bool in_string = false;
    for (; p < end; p++) {
        if (!in_string && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
            continue;
        if (in_string && *p == '\\')
            *to++ = *p++;
        else if (*p == '"')
            in_string = !in_string;
        *to++ = *p;
    }
    return (size_t)(to - start);
}

int json_scan_raw(struct json_scan *s, struct arena *a, struct str *ret, struct err *e)
{
    const char *start = s->p;
    int r = json_scan_skip(s, e);
    if (r < 0)
        return r;
    char *to = arena_bytes(a, (size_t)(s->p - start) + 1);
    size_t n = squeeze(to, start, s->p);
    to[n] = '\0';
    *ret = str_n(to, n);
    return 0;
}
