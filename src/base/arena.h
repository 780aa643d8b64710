/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An arena: memory that lives as long as one request, reconcile or list, and goes all at once. Nothing in it
 * is freed by itself; nothing that outlives the arena may point into it.
 */
#pragma once

#include "base/str.h"

struct arena_block;

struct arena {
    struct arena_block *head; /* newest block first */
    char *p, *end;            /* free space of the newest block */
    size_t total;             /* bytes obtained from malloc */
};

#define ARENA_INIT ((struct arena){0})
#define CLEANUP_ARENA CLEANUP(arena_done)

/* 16-byte aligned, zeroed. Never NULL; n may be 0. */
void *arena_alloc(struct arena *a, size_t n) __attribute__((returns_nonnull, alloc_size(2)));
/* As arena_alloc without the zeroing and with byte alignment: for text. */
char *arena_bytes(struct arena *a, size_t n) __attribute__((returns_nonnull, alloc_size(2)));
/* Copies; the copy is NUL-terminated beyond its n. */
struct str arena_str(struct arena *a, struct str s);
char *arena_cstr(struct arena *a, struct str s);
struct str arena_printf(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
struct str arena_join(struct arena *a, const struct str *parts, size_t n, struct str between);
/* Room for one item more behind n of an array that grows one by one: the items, or a copy twice as large. */
void *arena_grow(struct arena *a, const void *items, size_t n, size_t size);
/* Frees everything; the arena is empty and usable again. */
void arena_done(struct arena *a);
/* As arena_done but keeps one block: for loops. */
void arena_reset(struct arena *a);

#define ARENA_NEW(a, T) ((T *)arena_alloc((a), sizeof(T)))
#define ARENA_ARRAY(a, T, n) ((T *)arena_alloc((a), sizeof(T) * (size_t)(n)))
