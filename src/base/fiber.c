/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fiber.h"

#include "base/os.h"

#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif
#ifdef FIBER_ASAN
#include <sanitizer/common_interface_defs.h>
enum { STACK_SIZE = 512 << 10 };
#else
enum { STACK_SIZE = 128 << 10 };
#endif

enum { GUARD_SIZE = 4096, STACKS_KEPT = 64 };

/* ---- one side's registers ----------------------------------------------------------------------------- */

#if defined(__x86_64__) && !defined(FIBER_ASAN)

/* What a call may not change lies on the stack, so a context is where that ends. swapcontext() asks the kernel about signals at
 * every switch, which costs more than the switch, and needs a kilobyte. */
struct context {
    char *sp;
};

void fiber_switch_stacks(char **save, char *to) __attribute__((visibility("hidden")));
__asm__(".text\n"
        ".globl fiber_switch_stacks\n"
        ".hidden fiber_switch_stacks\n"
        ".type fiber_switch_stacks, @function\n"
        "fiber_switch_stacks:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size fiber_switch_stacks, .-fiber_switch_stacks\n");

static void context_switch(struct context *from, struct context *to)
{
    fiber_switch_stacks(&from->sp, to->sp);
}

/* Six registers, where to go, and nowhere to return to. */
static void context_make(struct context *c, char *stack, size_t size, void (*fn)(void))
{
    void *frame[8] = {[6] = (void *)(uintptr_t)fn};
    c->sp = stack + size - sizeof(frame);
    memcpy(c->sp, frame, sizeof(frame));
}

static char *context_end(const struct context *c)
{
    return c->sp;
}

#else
#include <ucontext.h>

struct context {
    ucontext_t u;
};

static void context_switch(struct context *from, struct context *to)
{
    swapcontext(&from->u, &to->u);
}

static void context_make(struct context *c, char *stack, size_t size, void (*fn)(void))
{
    getcontext(&c->u);
    c->u.uc_stack.ss_sp = stack;
    c->u.uc_stack.ss_size = size;
    c->u.uc_link = NULL;
    makecontext(&c->u, fn, 0);
}

/* NULL: not known on this machine. */
static char *context_end(const struct context *c)
{
#if defined(__aarch64__) && !defined(FIBER_ASAN)
    return (char *)(uintptr_t)c->u.uc_mcontext.sp;
#else
    return NULL;
#endif
}
#endif

struct fiber {
    struct context context;
    struct list link;       /* on the ready list or a waitq */
    struct list all;        /* on loop.all */
    struct list group_link; /* on group.fibers */
    struct group *group;
    const char *name;
    fiber_fn *fn;
    void *arg;
    char *stack; /* mapping: guard page, then stack */
    struct mono deadline;
    size_t timer; /* place in the timer heap + 1; 0 when not there */
    int wake;     /* what park returns */
    unsigned shield;
    bool cancelled, parked, ready, ended;
#ifdef FIBER_ASAN
    void *fake_stack;
#endif
};

/* One a thread. */
struct loop {
    struct context context;
    struct fiber *current;
    struct list ready, all, afterwards;
    struct fiber **timers; /* binary heap by deadline */
    size_t n_timers, cap_timers;
    char *stacks[STACKS_KEPT]; /* of ended fibers, to be used again */
    size_t n_stacks;
    unsigned n_fibers;
#ifdef FIBER_ASAN
    const void *stack_bottom;
    size_t stack_size;
    void *fake_stack;
#endif
};

static _Thread_local struct loop *loop;

struct fiber *fiber_self(void)
{
    return loop ? loop->current : NULL;
}

/* ---- timers: a heap of parked fibers ------------------------------------------------------------------ */

static void timer_place(size_t i, struct fiber *f)
{
    loop->timers[i] = f;
    f->timer = i + 1;
}

static void timer_up(size_t i, struct fiber *f)
{
    for (; i > 0 && loop->timers[(i - 1) / 2]->deadline.ns > f->deadline.ns; i = (i - 1) / 2)
        timer_place(i, loop->timers[(i - 1) / 2]);
    timer_place(i, f);
}

static void timer_down(size_t i, struct fiber *f)
{
    for (size_t child; (child = 2 * i + 1) < loop->n_timers; i = child) {
        if (child + 1 < loop->n_timers && loop->timers[child + 1]->deadline.ns < loop->timers[child]->deadline.ns)
            child++;
        if (loop->timers[child]->deadline.ns >= f->deadline.ns)
            break;
        timer_place(i, loop->timers[child]);
    }
    timer_place(i, f);
}

static void timer_add(struct fiber *f)
{
    if (loop->n_timers == loop->cap_timers) {
        loop->cap_timers = MAX(loop->cap_timers * 2, (size_t)64);
        loop->timers = xrealloc(loop->timers, loop->cap_timers * sizeof(struct fiber *));
    }
    timer_up(loop->n_timers++, f);
}

static void timer_remove(struct fiber *f)
{
    if (!f->timer)
        return;
    size_t i = f->timer - 1;
    struct fiber *last = loop->timers[--loop->n_timers];
    f->timer = 0;
    if (last == f)
        return;
    if (i > 0 && loop->timers[(i - 1) / 2]->deadline.ns > last->deadline.ns)
        timer_up(i, last);
    else
        timer_down(i, last);
}

/* ---- switching ---------------------------------------------------------------------------------------- */

static void switch_to_loop(struct fiber *f)
{
#ifdef FIBER_ASAN
    __sanitizer_start_switch_fiber(f->ended ? NULL : &f->fake_stack, loop->stack_bottom, loop->stack_size);
#endif
    context_switch(&f->context, &loop->context);
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(f->fake_stack, NULL, NULL);
#endif
}

static void fiber_main(void)
{
    struct fiber *f = loop->current;
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(NULL, &loop->stack_bottom, &loop->stack_size);
#endif
    f->fn(f->arg);
    f->ended = true;
    switch_to_loop(f);
}

static char *stack_get(void)
{
    if (loop->n_stacks)
        return loop->stacks[--loop->n_stacks];
    char *p = mmap(NULL, GUARD_SIZE + STACK_SIZE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (p == MAP_FAILED)
        panic("no memory for a fiber's stack");
    mprotect(p, GUARD_SIZE, PROT_NONE);
    return p;
}

static void stack_put(char *p)
{
    if (loop->n_stacks < STACKS_KEPT)
        loop->stacks[loop->n_stacks++] = p;
    else
        munmap(p, GUARD_SIZE + STACK_SIZE);
}

size_t fiber_stack_left(void)
{
    const struct fiber *f = loop ? loop->current : NULL;
    const char *here = __builtin_frame_address(0);
    return f && here > f->stack + GUARD_SIZE ? (size_t)(here - (f->stack + GUARD_SIZE)) : SIZE_MAX;
}

void fiber_trim_stacks(void)
{
    enum { RED_ZONE = 512, PAGE = 4096 };
    for (size_t i = 0; i < loop->n_stacks; i++)
        madvise(loop->stacks[i] + GUARD_SIZE, STACK_SIZE, MADV_DONTNEED);
    LIST_EACH(&loop->all, l)
    {
        struct fiber *f = LIST_ENTRY(l, struct fiber, all);
        char *from = f->stack + GUARD_SIZE, *end = f == loop->current ? NULL : context_end(&f->context);
        if (end && end - RED_ZONE > from)
            madvise(from, (size_t)(end - RED_ZONE - from) / PAGE * PAGE, MADV_DONTNEED);
    }
}

static void fiber_end(struct fiber *f)
{
    struct group *g = f->group;
    list_remove(&f->all);
    list_remove(&f->group_link);
    stack_put(f->stack);
    loop->n_fibers--;
    free(f);
    if (g && --g->n == 0)
        waitq_wake_all(&g->ended);
}

static void run_fiber(struct fiber *f)
{
    loop->current = f;
    f->ready = false;
#ifdef FIBER_ASAN
    __sanitizer_start_switch_fiber(&loop->fake_stack, f->stack + GUARD_SIZE, STACK_SIZE);
#endif
    context_switch(&loop->context, &f->context);
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(loop->fake_stack, NULL, NULL);
#endif
    loop->current = NULL;
    if (f->ended)
        fiber_end(f);
}

void fiber_ready(struct fiber *f)
{
    if (f->ready || !f->parked)
        return;
    f->parked = false;
    f->ready = true;
    timer_remove(f);
    list_remove(&f->link);
    list_push_back(&loop->ready, &f->link);
}

int fiber_park(struct mono deadline)
{
    struct fiber *f = loop->current;
    if (f->cancelled && !f->shield) {
        list_remove(&f->link);
        return -ECANCELED;
    }
    f->wake = 0;
    f->parked = true;
    f->deadline = deadline;
    if (deadline.ns != INT64_MAX)
        timer_add(f);
    switch_to_loop(f);
    return f->wake;
}

static void expire_timers(void)
{
    struct mono now = loop->n_timers ? os_mono() : (struct mono){0};
    while (loop->n_timers && loop->timers[0]->deadline.ns <= now.ns) {
        struct fiber *f = loop->timers[0];
        f->wake = -ETIMEDOUT;
        fiber_ready(f);
    }
}

void afterwards_do(struct afterwards *a)
{
    list_remove(&a->link);
    list_push_back(&loop->afterwards, &a->link);
}

void afterwards_cancel(struct afterwards *a)
{
    list_remove(&a->link);
}

/* Runs what is ready now, but not what becomes ready meanwhile: the poll in between keeps fibers fair to sockets. */
static void run_ready(void)
{
    struct list batch = {0};
    struct list *l;
    while ((l = list_pop_front(&loop->ready)))
        list_push_back(&batch, l);
    while ((l = list_pop_front(&batch)))
        run_fiber(LIST_ENTRY(l, struct fiber, link));
    while ((l = list_pop_front(&loop->afterwards))) {
        struct afterwards *a = LIST_ENTRY(l, struct afterwards, link);
        a->fn(a);
    }
}

/* ending: the main fiber has returned; what is left was cancelled and is not waited for by the clock. */
static void loop_turn(const bool *ending)
{
    run_ready();
    struct mono until = MONO_NEVER;
    if (*ending)
        return;
    if (!list_empty(&loop->ready))
        until = (struct mono){0};
    else if (loop->n_timers)
        until = loop->timers[0]->deadline;
    if (loop->n_fibers)
        os_in_use()->poll(until);
    expire_timers();
}

static void cancel_all(void)
{
    LIST_EACH(&loop->all, l)
    {
        struct fiber *f = LIST_ENTRY(l, struct fiber, all);
        f->cancelled = true;
        if (f->parked && !f->shield) {
            f->wake = -ECANCELED;
            fiber_ready(f);
        }
    }
}

static struct fiber *spawn(const char *name, fiber_fn *fn, void *arg)
{
    ASSERT(loop);
    struct fiber *f = NEW(struct fiber);
    f->name = name;
    f->fn = fn;
    f->arg = arg;
    f->stack = stack_get();
    context_make(&f->context, f->stack + GUARD_SIZE, STACK_SIZE, fiber_main);
    list_push_back(&loop->all, &f->all);
    loop->n_fibers++;
    f->parked = true;
    fiber_ready(f);
    return f;
}

struct main_call {
    fiber_fn *fn;
    void *arg;
    bool done;
};

static void main_fiber(void *arg)
{
    struct main_call *m = arg;
    m->fn(m->arg);
    m->done = true;
}

void loop_run(fiber_fn *main_fn, void *arg)
{
    ASSERT(!loop);
    struct loop here = {0};
    loop = &here;
    list_init(&here.ready);
    list_init(&here.all);
    list_init(&here.afterwards);
    struct main_call m = {main_fn, arg, false};
    spawn("main", main_fiber, &m);
    while (!m.done)
        loop_turn(&m.done);
    while (here.n_fibers) {
        bool ending = false;
        cancel_all();
        loop_turn(&ending);
    }
    while (here.n_stacks)
        munmap(here.stacks[--here.n_stacks], GUARD_SIZE + STACK_SIZE);
    free(here.timers);
    loop = NULL;
}

struct fiber *fiber_spawn(const char *name, fiber_fn *fn, void *arg)
{
    return spawn(name, fn, arg);
}

void fiber_yield(void)
{
    struct fiber *f = loop->current;
    f->parked = true;
    fiber_ready(f);
    switch_to_loop(f);
}

int fiber_sleep_until(struct mono deadline)
{
    int r = fiber_park(deadline);
    return r == -ETIMEDOUT ? 0 : r;
}

int fiber_sleep(int64_t ns)
{
    return fiber_sleep_until(mono_add(os_mono(), ns));
}

bool fiber_cancelled(void)
{
    return loop && loop->current && loop->current->cancelled && !loop->current->shield;
}

void fiber_shield(bool on)
{
    struct fiber *f = loop->current;
    ASSERT(on || f->shield);
    f->shield += on ? 1 : -1u;
}

/* ---- groups ------------------------------------------------------------------------------------------- */

void group_spawn(struct group *g, const char *name, fiber_fn *fn, void *arg)
{
    struct fiber *f = spawn(name, fn, arg);
    f->group = g;
    g->n++;
    list_push_back(&g->fibers, &f->group_link);
}

void group_cancel(struct group *g)
{
    LIST_EACH(&g->fibers, l)
    {
        struct fiber *f = LIST_ENTRY(l, struct fiber, group_link);
        f->cancelled = true;
        if (f->parked && !f->shield) {
            f->wake = -ECANCELED;
            fiber_ready(f);
        }
    }
}

int group_wait(struct group *g, struct mono deadline)
{
    while (g->n) {
        int r = waitq_wait(&g->ended, deadline);
        if (r < 0)
            return r;
    }
    return 0;
}

void group_stop(struct group *g)
{
    group_cancel(g);
    fiber_shield(true);
    group_wait(g, MONO_NEVER);
    fiber_shield(false);
}

/* ---- waiting ------------------------------------------------------------------------------------------ */

int waitq_wait(struct waitq *q, struct mono deadline)
{
    struct fiber *f = loop->current;
    list_push_back(&q->waiters, &f->link);
    return fiber_park(deadline);
}

void waitq_wake_one(struct waitq *q)
{
    if (!list_empty(&q->waiters))
        fiber_ready(LIST_ENTRY(q->waiters.next, struct fiber, link));
}

void waitq_wake_all(struct waitq *q)
{
    while (!list_empty(&q->waiters))
        fiber_ready(LIST_ENTRY(q->waiters.next, struct fiber, link));
}

int fmutex_lock(struct fmutex *m)
{
    while (m->locked) {
        int r = waitq_wait(&m->q, MONO_NEVER);
        if (r < 0)
            return r;
    }
    m->locked = true;
    return 0;
}

void fmutex_unlock(struct fmutex *m)
{
    m->locked = false;
    waitq_wake_one(&m->q);
}

void queue_init(struct queue *q, size_t cap)
{
    *q = (struct queue){.items = xcalloc(cap, sizeof(void *)), .cap = cap};
}

void queue_done(struct queue *q)
{
    free(q->items);
    *q = (struct queue){0};
}

bool queue_try_push(struct queue *q, void *item)
{
    if (q->closed || q->n == q->cap)
        return false;
    q->items[(q->head + q->n++) % q->cap] = item;
    waitq_wake_one(&q->not_empty);
    return true;
}

int queue_push(struct queue *q, void *item, struct mono deadline)
{
    while (!queue_try_push(q, item)) {
        if (q->closed)
            return -EPIPE;
        int r = waitq_wait(&q->not_full, deadline);
        if (r < 0)
            return r;
    }
    return 0;
}

int queue_pop(struct queue *q, void **ret, struct mono deadline)
{
    while (!q->n) {
        if (q->closed)
            return -EPIPE;
        int r = waitq_wait(&q->not_empty, deadline);
        if (r < 0)
            return r;
    }
    *ret = q->items[q->head];
    q->head = (q->head + 1) % q->cap;
    q->n--;
    waitq_wake_one(&q->not_full);
    return 0;
}

void queue_close(struct queue *q)
{
    q->closed = true;
    waitq_wake_all(&q->not_empty);
    waitq_wake_all(&q->not_full);
}

void fiber_offload(void (*fn)(void *arg), void *arg)
{
    if (!fiber_self()) {
        fn(arg);
        return;
    }
    os_in_use()->offload(fn, arg);
}
