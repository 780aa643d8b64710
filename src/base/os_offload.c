/* SPDX-License-Identifier: Apache-2.0 */
#include "base/os_offload.h"

#include "base/fiber.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { MAX_HELPERS = 4 }; /* a lane */

struct call {
    struct list link;
    void (*fn)(void *arg);
    void *arg;
    struct fiber *fiber;
    struct mailbox *home;
    bool done;
};

/* One a loop thread: ended calls come back here. */
struct mailbox {
    pthread_mutex_t lock;
    struct list ended;
    int event;
};

static struct lane {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct list calls;
    int idle, helpers, waiting; /* waiting: calls that no helper has taken yet */
} lanes[OFFLOAD_LANES] = {
    [OFFLOAD_ANY] = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER},
    [OFFLOAD_SYNC] = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER},
};

static _Thread_local struct mailbox mailbox = {.event = -1};

void offload_thread_done(void)
{
    if (mailbox.event < 0)
        return;
    close(mailbox.event);
    pthread_mutex_destroy(&mailbox.lock);
    mailbox.event = -1;
}

int offload_event_fd(void)
{
    if (mailbox.event < 0) {
        mailbox.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        pthread_mutex_init(&mailbox.lock, NULL);
        list_init(&mailbox.ended);
    }
    return mailbox.event;
}

static struct call *next_call(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    lane->idle++;
    struct list *l;
    while (!(l = list_pop_front(&lane->calls)))
        pthread_cond_wait(&lane->more, &lane->lock);
    lane->idle--;
    lane->waiting--;
    pthread_mutex_unlock(&lane->lock);
    return LIST_ENTRY(l, struct call, link);
}

static void *helper(void *lane)
{
    for (;;) {
        struct call *c = next_call(lane);
        struct mailbox *home = c->home;
        c->fn(c->arg);
        pthread_mutex_lock(&home->lock);
        list_push_back(&home->ended, &c->link);
        pthread_mutex_unlock(&home->lock);
        uint64_t one = 1;
        ssize_t r UNUSED = write(home->event, &one, sizeof(one));
    }
    return NULL;
}

static void start_helper(struct lane *lane)
{
    sigset_t all, old;
    pthread_attr_t attr;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 256 << 10);
    if (pthread_create(&thread, &attr, helper, lane) == 0)
        lane->helpers++;
    else if (!lane->helpers)
        panic("cannot start a helper thread");
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void offload_run(enum offload_lane which, void (*fn)(void *arg), void *arg)
{
    struct lane *lane = &lanes[which];
    offload_event_fd();
    struct call c = {.fn = fn, .arg = arg, .fiber = fiber_self(), .home = &mailbox};
    pthread_mutex_lock(&lane->lock);
    list_push_back(&lane->calls, &c.link);
    if (++lane->waiting > lane->idle && lane->helpers < MAX_HELPERS) /* one that is idle may be meant for another call */
        start_helper(lane);
    pthread_cond_signal(&lane->more);
    pthread_mutex_unlock(&lane->lock);
    fiber_shield(true);
    while (!c.done)
        fiber_park(MONO_NEVER);
    fiber_shield(false);
}

void offload_finish(void)
{
    uint64_t n;
    ssize_t r UNUSED = read(mailbox.event, &n, sizeof(n));
    pthread_mutex_lock(&mailbox.lock);
    struct list *l;
    while ((l = list_pop_front(&mailbox.ended))) {
        struct call *c = LIST_ENTRY(l, struct call, link);
        c->done = true;
        fiber_ready(c->fiber);
    }
    pthread_mutex_unlock(&mailbox.lock);
}
