/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdio.h>

struct arena_block {
    struct arena_block *next;
    size_t size; /* of data */
    _Alignas(16) char data[];
};

enum { FIRST_BLOCK = 2048 - 64, MAX_BLOCK = 1 << 20 };

static void arena_more(struct arena *a, size_t n)
{
    size_t size = a->head ? a->head->size * 2 : FIRST_BLOCK;
    size = MIN(size, (size_t)MAX_BLOCK);
    size = MAX(size, n + 16);
    struct arena_block *b = xmalloc(sizeof(*b) + size);
    b->next = a->head;
    b->size = size;
    a->head = b;
    a->p = b->data;
    a->end = b->data + size;
    a->total += sizeof(*b) + size;
}

char *arena_bytes(struct arena *a, size_t n)
{
    if ((size_t)(a->end - a->p) < n || !a->p)
        arena_more(a, n);
    char *p = a->p;
    a->p += n;
    return p;
}

void *arena_alloc(struct arena *a, size_t n)
{
    size_t pad = -(uintptr_t)a->p & 15;
    if (!a->p || (size_t)(a->end - a->p) < n + pad) {
        arena_more(a, n);
        pad = 0;
    }
    char *p = a->p + pad;
    a->p = p + n;
    return memset(p, 0, n);
}

char *arena_cstr(struct arena *a, struct str s)
{
    char *p = arena_bytes(a, s.n + 1);
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return p;
}

struct str arena_str(struct arena *a, struct str s)
{
    return str_n(arena_cstr(a, s), s.n);
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    char small[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    if ((size_t)n < sizeof(small))
        return arena_str(a, str_n(small, (size_t)n));
    char *p = arena_bytes(a, (size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return str_n(p, (size_t)n);
}

struct str arena_join(struct arena *a, const struct str *parts, size_t n, struct str between)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += parts[i].n + (i ? between.n : 0);
    char *p = arena_bytes(a, total + 1), *to = p;
    for (size_t i = 0; i < n; i++) {
        if (i && between.n)
            to = (char *)memcpy(to, between.p, between.n) + between.n;
        if (parts[i].n)
            to = (char *)memcpy(to, parts[i].p, parts[i].n) + parts[i].n;
    }
    *to = '\0';
    return str_n(p, total);
}

static void arena_free_blocks(struct arena_block *b)
{
    while (b) {
        struct arena_block *next = b->next;
        free(b);
        b = next;
    }
}

void *arena_grow(struct arena *a, const void *items, size_t n, size_t size)
{
    if (n & (n - 1)) /* between two powers of two there is room */
        return (void *)(uintptr_t)items;
    char *more = arena_alloc(a, MAX(n * 2, (size_t)1) * size);
    if (n)
        memcpy(more, items, n * size);
    return more;
}

void arena_done(struct arena *a)
{
    arena_free_blocks(a->head);
    *a = ARENA_INIT;
}

void arena_reset(struct arena *a)
{
    struct arena_block *b = a->head;
    if (!b)
        return;
    arena_free_blocks(b->next);
    b->next = NULL;
    a->p = b->data;
    a->end = b->data + b->size;
    a->total = sizeof(*b) + b->size;
}
