/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

void panic(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("cube: fatal: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    abort();
}

static void *check_memory(void *p, size_t n)
{
    if (!p && n)
        panic("out of memory (%zu bytes wanted)", n);
    return p;
}

void *xmalloc(size_t n)
{
    return check_memory(malloc(n ? n : 1), n ? n : 1);
}

void *xcalloc(size_t n, size_t size)
{
    return check_memory(calloc(n ? n : 1, size ? size : 1), 1);
}

void *xrealloc(void *p, size_t n)
{
    return check_memory(realloc(p, n ? n : 1), n ? n : 1);
}

char *xstrdup(const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(xmalloc(n), s, n);
}

/* Cuts visibly: a reader must see that text is missing. */
static PRINTF(3, 0) void err_format(char *to, size_t size, const char *fmt, va_list ap)
{
    int n = vsnprintf(to, size, fmt, ap);
    if (n >= 0 && (size_t)n >= size)
        memcpy(to + size - 4, "...", 4);
}

int err_set(struct err *e, int r, const char *fmt, ...)
{
    if (!e)
        return r;
    va_list ap;
    va_start(ap, fmt);
    err_format(e->text, sizeof(e->text), fmt, ap);
    va_end(ap);
    return r;
}

int err_wrap(struct err *e, int r, const char *fmt, ...)
{
    if (!e)
        return r;
    char inner[sizeof(e->text)], context[sizeof(e->text)];
    snprintf(inner, sizeof(inner), "%s", err_text(e, r));
    va_list ap;
    va_start(ap, fmt);
    err_format(context, sizeof(context), fmt, ap);
    va_end(ap);
    return err_set(e, r, "%s: %s", context, inner);
}

const char *err_text(const struct err *e, int r)
{
    return e && e->text[0] ? e->text : strerror(r < 0 ? -r : r);
}
