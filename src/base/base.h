/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every file may lean on: small macros, ownership attributes, the error model.
 *
 * Errors. Functions that can fail return int: 0 is success, negative is fatal (-errno; hand it on unchanged),
 * positive is an outcome that the module documents and the caller must handle. Where a person will read the
 * reason, the function also takes a `struct err *` (err.h).
 *
 * Memory. Two regimes. Long-lived things are malloc'd, have x_new/x_free (or x_ref/x_unref) and the cleanup
 * attribute; what lives for one request, reconcile or list comes from an arena (arena.h). Running out of memory
 * aborts: every size that a client can influence is bounded where it enters, and a crash loses nothing (see
 * docs/architecture.md, "Memory").
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(p, T, m) ((T *)((char *)(p)-offsetof(T, m)))
#define MIN(a, b)                                                                                            \
    ({                                                                                                       \
        __typeof__(a) min_a_ = (a);                                                                          \
        __typeof__(b) min_b_ = (b);                                                                          \
        min_a_ < min_b_ ? min_a_ : min_b_;                                                                   \
    })
#define MAX(a, b)                                                                                            \
    ({                                                                                                       \
        __typeof__(a) max_a_ = (a);                                                                          \
        __typeof__(b) max_b_ = (b);                                                                          \
        max_a_ > max_b_ ? max_a_ : max_b_;                                                                   \
    })

#define UNUSED __attribute__((unused))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define NORETURN __attribute__((noreturn))
#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* Takes the value of an owning variable and leaves it empty: ownership moves where this stands. */
#define TAKE_PTR(p)                                                                                          \
    ({                                                                                                       \
        __typeof__(p) *take_p_ = &(p);                                                                       \
        __typeof__(p) take_v_ = *take_p_;                                                                    \
        *take_p_ = NULL;                                                                                     \
        take_v_;                                                                                             \
    })
#define TAKE_FD(fd)                                                                                          \
    ({                                                                                                       \
        int *take_f_ = &(fd);                                                                                \
        int take_v_ = *take_f_;                                                                              \
        *take_f_ = -1;                                                                                       \
        take_v_;                                                                                             \
    })

/* Never NULL; abort when memory is exhausted. xcalloc'd memory is zero. */
void *xmalloc(size_t n) __attribute__((malloc, alloc_size(1), returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, alloc_size(1, 2), returns_nonnull));
void *xrealloc(void *p, size_t n) __attribute__((alloc_size(2), returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));

#define NEW(T) ((T *)xcalloc(1, sizeof(T)))

static inline void free_charp(char **p)
{
    free(*p);
}
#define CLEANUP_FREE CLEANUP(free_charp)

/* Ends the process after saying why: for broken invariants only, never for bad input. */
NORETURN void panic(const char *fmt, ...) PRINTF(1, 2);

#define ASSERT(x)                                                                                            \
    do {                                                                                                     \
        if (__builtin_expect(!(x), 0))                                                                       \
            panic("%s:%d: assertion failed: %s", __FILE__, __LINE__, #x);                                    \
    } while (0)
