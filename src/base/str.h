/* SPDX-License-Identifier: Apache-2.0 */
/* A string slice (base and length, not owned, not necessarily NUL-terminated) and a growable byte buffer. */
#pragma once

#include "base/base.h"

#include <stdarg.h>

struct str {
    const char *p;
    size_t n;
};

#define STR(lit) ((struct str){"" lit, sizeof(lit) - 1})
#define STR_NULL ((struct str){NULL, 0})
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

static inline struct str str_of(const char *c)
{
    return (struct str){c, c ? strlen(c) : 0};
}
static inline struct str str_n(const char *p, size_t n)
{
    return (struct str){p, n};
}
static inline bool str_empty(struct str s)
{
    return s.n == 0;
}
static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool str_is(struct str a, const char *c)
{
    return str_eq(a, str_of(c));
}
int str_cmp(struct str a, struct str b); /* bytewise, shorter first */
void str_sort(struct str *items, size_t n); /* by str_cmp; n may be 0, items then NULL */
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_contains(struct str s, struct str needle);
ssize_t str_find(struct str s, char c);  /* index of the first c, or -1 */
ssize_t str_rfind(struct str s, char c); /* index of the last c, or -1 */
struct str str_from(struct str s, size_t start);           /* [start, end); start beyond the end gives empty */
struct str str_slice(struct str s, size_t start, size_t n); /* clamped */
struct str str_trim(struct str s);                          /* without spaces, tabs, CR, LF at both ends */
/* Cuts s at the first c: *ret_head before it, *ret_tail after it (empty when there is none). True when found. */
bool str_cut(struct str s, char c, struct str *ret_head, struct str *ret_tail);
/* Iterates fields: while (str_next(&rest, ',', &field)). Gives one empty field for an empty string only if
 * rest.p is not NULL at the start; sets rest->p to NULL at the end. */
bool str_next(struct str *rest, char c, struct str *ret_field);
/* The whole of s as a decimal number: 0, -EINVAL or -ERANGE. */
int str_to_i64(struct str s, int64_t *ret);
int str_to_u64(struct str s, uint64_t *ret);
uint64_t str_hash(struct str s);
char *str_dup(struct str s); /* malloc'd, NUL-terminated */

/* A growable buffer of bytes. Always NUL-terminated beyond n when n > 0 was written by buf_put or buf_printf. */
struct buf {
    char *p;
    size_t n, cap;
};

#define BUF_INIT ((struct buf){0})
#define CLEANUP_BUF CLEANUP(buf_done)

void buf_done(struct buf *b);  /* frees; usable again */
void buf_clear(struct buf *b); /* n = 0, keeps the memory */
char *buf_grow(struct buf *b, size_t n); /* room for n more bytes; returns where they go; does not change n */
void buf_put(struct buf *b, const void *p, size_t n);
void buf_putc(struct buf *b, char c);
void buf_puts(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) PRINTF(2, 0);
void buf_consume(struct buf *b, size_t n); /* drops n bytes from the front */
static inline void buf_putstr(struct buf *b, struct str s)
{
    buf_put(b, s.p, s.n);
}
static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->p, b->n};
}
