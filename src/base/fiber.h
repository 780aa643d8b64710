/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fibers: code that waits is written straight down. All fibers of a thread share one loop and switch only where
 * they wait, so no locks are needed between them; between two waits nothing else of this thread runs.
 *
 * Waiting functions take a deadline (MONO_NEVER for none) and return 0 or their result, -ETIMEDOUT, or -ECANCELED
 * when the fiber was cancelled. Cancellation is sticky: every later wait of that fiber fails at once, so a
 * cancelled fiber unwinds; clean-up code must not need to wait (or uses fiber_shield).
 *
 * Stacks are 128 KiB with a guard page: no deep recursion, no large arrays on the stack.
 */
#pragma once

#include "base/list.h"
#include "base/time.h"

struct fiber;
typedef void fiber_fn(void *arg);

/* Runs main_fn as the first fiber of this thread's loop and returns when it has returned and every other fiber
 * was cancelled and has ended. Uses the door that os_use() chose (os.h). */
void loop_run(fiber_fn *main_fn, void *arg);

/* Starts a fiber that nobody waits for. name must be a literal. It first runs when the caller waits or yields. */
struct fiber *fiber_spawn(const char *name, fiber_fn *fn, void *arg);
struct fiber *fiber_self(void); /* NULL outside loop_run */
void fiber_yield(void);
int fiber_sleep(int64_t ns);
int fiber_sleep_until(struct mono deadline);
bool fiber_cancelled(void);
/* Between shield(true) and shield(false) cancellation does not interrupt this fiber's waits. Nests. */
void fiber_shield(bool on);

/* What is to be done once every fiber that is ready has had its turn, before the loop looks for events: what they all produced
 * then goes out together. Runs outside of fibers and must not wait. Zero-initialised is idle; asking twice is asking once. */
struct afterwards {
    void (*fn)(struct afterwards *a);
    struct list link;
};
void afterwards_do(struct afterwards *a);
void afterwards_cancel(struct afterwards *a);

/* A place to wait at. Zero-initialised is ready. Wake-ups are not remembered: check the condition in a loop. */
struct waitq {
    struct list waiters;
};
int waitq_wait(struct waitq *q, struct mono deadline);
void waitq_wake_one(struct waitq *q);
void waitq_wake_all(struct waitq *q);

/* A set of fibers that end together. Zero-initialised is empty. */
struct group {
    struct list fibers;
    struct waitq ended;
    unsigned n;
};
void group_spawn(struct group *g, const char *name, fiber_fn *fn, void *arg);
void group_cancel(struct group *g);           /* cancels all; does not wait */
int group_wait(struct group *g, struct mono deadline); /* until all have ended */
void group_stop(struct group *g);             /* cancels and waits, shielded */

/* A mutex between fibers of one thread, for critical sections that wait inside. */
struct fmutex {
    struct waitq q;
    bool locked;
};
int fmutex_lock(struct fmutex *m); /* 0 or -ECANCELED */
void fmutex_unlock(struct fmutex *m);

/* A bounded queue of pointers between fibers of one thread. */
struct queue {
    void **items;
    size_t head, n, cap;
    bool closed;
    struct waitq not_empty, not_full;
};
void queue_init(struct queue *q, size_t cap);
void queue_done(struct queue *q);                               /* frees the ring; not the items */
int queue_push(struct queue *q, void *item, struct mono deadline); /* -EPIPE when closed */
bool queue_try_push(struct queue *q, void *item);               /* false when full or closed */
int queue_pop(struct queue *q, void **ret, struct mono deadline);  /* -EPIPE when closed and empty */
void queue_close(struct queue *q);

/* Runs fn(arg) on a helper thread while this fiber waits: for calls that block in the kernel or a library
 * (fsync, getaddrinfo, nft). fn must touch nothing of the loop. Not interrupted by cancellation. In the simulated
 * world it runs at once on this thread. */
void fiber_offload(void (*fn)(void *arg), void *arg);

/* Gives to the kernel what stacks held once and hold no longer: of fibers that have ended, and below what those that
 * wait have in use. */
void fiber_trim_stacks(void);

/* Bytes that are left of this fiber's stack, for what calls itself as deep as its input is; SIZE_MAX outside of fibers. */
size_t fiber_stack_left(void);

/* For doors (os_real.c, sim): park the current fiber until fiber_ready() or the deadline. */
int fiber_park(struct mono deadline);
void fiber_ready(struct fiber *f);
