/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <stdio.h>

int str_cmp(struct str a, struct str b)
{
    size_t n = MIN(a.n, b.n);
    int r = n ? memcmp(a.p, b.p, n) : 0;
    return r ? r : (a.n > b.n) - (a.n < b.n);
}

static int compare_items(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

void str_sort(struct str *items, size_t n)
{
    if (n)
        qsort(items, n, sizeof(*items), compare_items);
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq(str_n(s.p, prefix.n), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_eq(str_n(s.p + (s.n - suffix.n), suffix.n), suffix);
}

bool str_contains(struct str s, struct str needle)
{
    return needle.n == 0 || (s.n >= needle.n && memmem(s.p, s.n, needle.p, needle.n));
}

ssize_t str_find(struct str s, char c)
{
    const char *p = s.n ? memchr(s.p, c, s.n) : NULL;
    return p ? p - s.p : -1;
}

ssize_t str_rfind(struct str s, char c)
{
    const char *p = s.n ? memrchr(s.p, c, s.n) : NULL;
    return p ? p - s.p : -1;
}

struct str str_from(struct str s, size_t start)
{
    return start >= s.n ? str_n(s.p ? s.p + s.n : NULL, 0) : str_n(s.p + start, s.n - start);
}

struct str str_slice(struct str s, size_t start, size_t n)
{
    struct str t = str_from(s, start);
    return str_n(t.p, MIN(t.n, n));
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

struct str str_trim(struct str s)
{
    while (s.n && is_space(s.p[0]))
        s = str_from(s, 1);
    while (s.n && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool str_cut(struct str s, char c, struct str *ret_head, struct str *ret_tail)
{
    ssize_t at = str_find(s, c);
    if (at < 0) {
        *ret_head = s;
        *ret_tail = str_n(s.p ? s.p + s.n : NULL, 0);
        return false;
    }
    *ret_head = str_n(s.p, (size_t)at);
    *ret_tail = str_from(s, (size_t)at + 1);
    return true;
}

bool str_next(struct str *rest, char c, struct str *ret_field)
{
    if (!rest->p)
        return false;
    struct str tail;
    bool more = str_cut(*rest, c, ret_field, &tail);
    *rest = more ? tail : STR_NULL;
    return true;
}

int str_to_u64(struct str s, uint64_t *ret)
{
    uint64_t v = 0;
    if (!s.n)
        return -EINVAL;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return -EINVAL;
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
            return -ERANGE;
    }
    *ret = v;
    return 0;
}

int str_to_i64(struct str s, int64_t *ret)
{
    bool negative = s.n && s.p[0] == '-';
    bool sign = s.n && (s.p[0] == '-' || s.p[0] == '+');
    uint64_t v;
    int r = str_to_u64(str_from(s, sign ? 1 : 0), &v);
    if (r < 0)
        return r;
    if (v > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return -ERANGE;
    *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}

/* FNV-1a over eight bytes a step with a final mix: keys come from clients, but maps of client keys are bounded. */
uint64_t str_hash(struct str s)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ s.n;
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8) {
        uint64_t w;
        memcpy(&w, s.p + i, 8);
        h = (h ^ w) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 32;
    }
    for (; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * UINT64_C(0x100000001b3);
    h ^= h >> 29;
    h *= UINT64_C(0xbf58476d1ce4e5b9);
    return h ^ (h >> 32);
}

char *str_dup(struct str s)
{
    char *p = xmalloc(s.n + 1);
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return p;
}

void buf_done(struct buf *b)
{
    free(b->p);
    *b = BUF_INIT;
}

void buf_clear(struct buf *b)
{
    b->n = 0;
}

char *buf_grow(struct buf *b, size_t n)
{
    if (b->cap < b->n + n + 1) {
        size_t cap = MAX(b->cap * 2, b->n + n + 1);
        b->cap = MAX(cap, (size_t)64);
        b->p = xrealloc(b->p, b->cap);
    }
    return b->p + b->n;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
    char *to = buf_grow(b, n);
    if (n)
        memcpy(to, p, n);
    b->n += n;
    b->p[b->n] = '\0';
}

void buf_putc(struct buf *b, char c)
{
    buf_put(b, &c, 1);
}

void buf_puts(struct buf *b, const char *s)
{
    buf_put(b, s, strlen(s));
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    char *to = buf_grow(b, 128);
    int n = vsnprintf(to, 129, fmt, ap);
    ASSERT(n >= 0);
    if (n > 128) {
        to = buf_grow(b, (size_t)n);
        vsnprintf(to, (size_t)n + 1, fmt, again);
    }
    b->n += (size_t)n;
    va_end(again);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_consume(struct buf *b, size_t n)
{
    ASSERT(n <= b->n);
    b->n -= n;
    if (b->n)
        memmove(b->p, b->p + n, b->n);
    if (b->p)
        b->p[b->n] = '\0';
}
