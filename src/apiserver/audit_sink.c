/* SPDX-License-Identifier: Apache-2.0 */
/* Batches, their pace, and what is done when sending fails; the ways to send are in audit_log.c and audit_webhook.c. */
#include "apiserver/audit_sink-internal.h"

#include "base/log.h"
#include "base/os.h"

#define LAST_WORDS SECONDS(2)
#define COMPLAIN_EVERY SECONDS(30)

struct audit_sink {
    struct audit_sender *sender;
    enum audit_mode mode;
    struct audit_batching batching;
    struct audit_counts counts;
    struct mono complained;
    struct fmutex sending; /* one at a time: lines stay whole and in order */

    struct queue waiting; /* AUDIT_BATCH: struct buf * */
    struct group fibers;
    int64_t tokens; /* thousandths of a batch */
    struct mono filled;
};

int audit_mode_parse(const char *flag, const char *text, enum audit_mode *ret, struct err *e)
{
    static const char *const names[] = {"batch", "blocking", "blocking-strict"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (!strcmp(text, names[i])) {
            *ret = (enum audit_mode)i;
            return 0;
        }
    return err_set(e, -EINVAL, "--%s: \"%s\" is no mode, expected batch, blocking or blocking-strict", flag, text);
}

static void lost(struct audit_sink *s, size_t n, const char *why)
{
    struct mono now = os_mono();
    s->counts.lost += n;
    if (s->complained.ns && now.ns - s->complained.ns < COMPLAIN_EVERY)
        return;
    s->complained = now;
    log_error("apiserver", "%s: %zu events lost (%llu so far): %s", s->sender->name, n, (unsigned long long)s->counts.lost, why);
}

static int send_now(struct audit_sink *s, const struct str *events, size_t n, struct err *e)
{
    int r = fmutex_lock(&s->sending);
    if (r == 0) {
        r = s->sender->send(s->sender, events, n, e);
        fmutex_unlock(&s->sending);
    }
    if (r < 0)
        lost(s, n, err_text(e, r));
    else
        s->counts.sent += n;
    return r;
}

/* ---- batches ------------------------------------------------------------------------------------------- */

/* Waits until the pace allows one more batch. */
static void pace(struct audit_sink *s)
{
    if (s->batching.qps < 0)
        return;
    for (;;) {
        struct mono now = os_mono();
        int64_t more = (now.ns - s->filled.ns) / NSEC_PER_MSEC * s->batching.qps;
        if (more > 0) {
            s->tokens = MIN(s->tokens + more, s->batching.burst * 1000);
            s->filled = now;
        }
        if (s->tokens >= 1000 || fiber_sleep(MILLISECONDS(20)) < 0)
            break;
    }
    s->tokens -= 1000;
}

/* The first event that comes, and what comes after it until the batch is full or has waited long enough. */
static size_t gather(struct audit_sink *s, struct buf **events)
{
    size_t n = 0;
    void *item;
    if (queue_pop(&s->waiting, &item, MONO_NEVER) < 0)
        return 0;
    struct mono deadline = mono_add(os_mono(), s->batching.wait_ns);
    events[n++] = item;
    while (n < (size_t)s->batching.size && queue_pop(&s->waiting, &item, deadline) == 0)
        events[n++] = item;
    return n;
}

static void send_batch(struct audit_sink *s, struct buf **events, size_t n)
{
    struct str *texts = xcalloc(n, sizeof(*texts));
    struct err e = {0};
    for (size_t i = 0; i < n; i++)
        texts[i] = buf_str(events[i]);
    send_now(s, texts, n, &e);
    for (size_t i = 0; i < n; i++) {
        buf_done(events[i]);
        free(events[i]);
    }
    free(texts);
}

static void run_batches(void *arg)
{
    struct audit_sink *s = arg;
    struct buf **events = xcalloc((size_t)s->batching.size, sizeof(*events));
    size_t n;
    while ((n = gather(s, events)) > 0) {
        pace(s);
        send_batch(s, events, n);
    }
    free(events);
}

/* ---- the sink ------------------------------------------------------------------------------------------ */

static void set_default(int64_t *v, int64_t value)
{
    if (!*v)
        *v = value;
}

struct audit_sink *audit_sink_new(struct audit_sender *sender, enum audit_mode mode, const struct audit_batching *b)
{
    struct audit_sink *s = NEW(struct audit_sink);
    s->sender = sender;
    s->mode = mode;
    s->batching = *b;
    set_default(&s->batching.buffer, 10000);
    set_default(&s->batching.size, 400);
    set_default(&s->batching.wait_ns, SECONDS(30));
    set_default(&s->batching.qps, 10);
    set_default(&s->batching.burst, 15);
    s->tokens = s->batching.burst * 1000;
    s->filled = os_mono();
    if (mode == AUDIT_BATCH) {
        queue_init(&s->waiting, (size_t)s->batching.buffer);
        group_spawn(&s->fibers, "audit", run_batches, s);
    }
    return s;
}

int audit_sink_put(struct audit_sink *s, struct str event, struct err *e)
{
    if (s->mode != AUDIT_BATCH) {
        int r = send_now(s, &event, 1, e);
        return s->mode == AUDIT_STRICT ? r : 0;
    }
    struct buf *b = NEW(struct buf);
    buf_putstr(b, event);
    if (!queue_try_push(&s->waiting, b)) {
        buf_done(b);
        free(b);
        lost(s, 1, "the buffer is full");
    }
    return 0;
}

struct audit_counts audit_sink_counts(const struct audit_sink *s)
{
    return s->counts;
}

void audit_sink_close(struct audit_sink *s)
{
    void *item;
    if (!s)
        return;
    if (s->mode == AUDIT_BATCH) {
        queue_close(&s->waiting);
        group_wait(&s->fibers, mono_add(os_mono(), LAST_WORDS));
        group_stop(&s->fibers);
        while (queue_pop(&s->waiting, &item, MONO_NEVER) == 0) {
            buf_done(item);
            free(item);
        }
        queue_done(&s->waiting);
    }
    s->sender->free(s->sender);
    free(s);
}
