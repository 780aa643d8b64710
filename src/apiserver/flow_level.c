/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/flow_level.h"

#include <math.h>

#include "base/os.h"

struct flow_waiter {
    struct list link;
    struct waitq q;
    unsigned seats;
    bool granted;
};

struct flow_level *flow_level_new(struct str name)
{
    struct flow_level *l = NEW(struct flow_level);
    l->name = str_dup(name);
    l->since = l->sampled = os_mono();
    return l;
}

void flow_level_free(struct flow_level *l)
{
    free(l->queues);
    free((char *)(uintptr_t)l->uid.p);
    free(l->name);
    free(l);
}

bool flow_level_idle(const struct flow_level *l)
{
    return !l->running && !l->waiting;
}

/* ---- demand -------------------------------------------------------------------------------------------- */

/* Called before what is asked for changes. */
static void sample(struct flow_level *l)
{
    struct mono now = os_mono();
    double n = l->asked, seconds = (double)(now.ns - l->sampled.ns) / NSEC_PER_SEC;
    l->sum += n * seconds;
    l->square += n * n * seconds;
    l->sampled = now;
}

double flow_level_demand(struct flow_level *l, struct mono now)
{
    sample(l);
    double seconds = (double)(now.ns - l->since.ns) / NSEC_PER_SEC, mean = 0, spread = 0;
    if (seconds > 0) {
        mean = l->sum / seconds;
        spread = sqrt(MAX(l->square / seconds - mean * mean, 0.0));
    }
    double envelope = MIN(mean + spread, l->high);
    l->smoothed = MAX(envelope, 0.977 * l->smoothed + 0.023 * envelope); /* half of it is gone after five minutes */
    l->sum = l->square = 0;
    l->high = l->asked;
    l->since = now;
    return l->smoothed;
}

/* ---- queues -------------------------------------------------------------------------------------------- */

void flow_deal(uint64_t hash, unsigned queues, unsigned hand, unsigned *ret)
{
    for (unsigned i = 0; i < hand; i++) {
        unsigned left = queues - i, card = (unsigned)(hash % left), sorted[64];
        hash /= left;
        /* The card is the n-th of those that were not dealt yet. */
        memcpy(sorted, ret, i * sizeof(*sorted));
        for (unsigned a = 1; a < i; a++)
            for (unsigned b = a; b && sorted[b - 1] > sorted[b]; b--) {
                unsigned t = sorted[b];
                sorted[b] = sorted[b - 1];
                sorted[b - 1] = t;
            }
        for (unsigned a = 0; a < i && sorted[a] <= card; a++)
            card++;
        ret[i] = card;
    }
}

static struct flow_queue *choose_queue(struct flow_level *l, uint64_t hash)
{
    unsigned hand[64], best = 0;
    flow_deal(hash, l->n_queues, l->hand, hand);
    for (unsigned i = 1; i < l->hand; i++) {
        const struct flow_queue *a = &l->queues[hand[i]], *b = &l->queues[hand[best]];
        if (a->n + a->in_use < b->n + b->in_use)
            best = i;
    }
    return &l->queues[hand[best]];
}

static bool fits(const struct flow_level *l, unsigned seats)
{
    return l->in_use == 0 || l->in_use + seats <= l->limit; /* nobody is too wide for ever */
}

static void take(struct flow_level *l, struct flow_queue *q, unsigned seats)
{
    l->in_use += seats;
    l->running++;
    if (!q)
        return;
    q->in_use += seats;
    l->now = MAX(l->now, q->start);
    q->start = MAX(q->start, l->now) + seats;
}

static struct flow_queue *next_queue(struct flow_level *l)
{
    struct flow_queue *best = NULL;
    for (unsigned i = 0; i < l->n_queues; i++) {
        struct flow_queue *q = &l->queues[i];
        if (q->n && (!best || q->start < best->start))
            best = q;
    }
    return best;
}

static void dispatch(struct flow_level *l)
{
    while (l->waiting) {
        struct flow_queue *q = next_queue(l);
        struct flow_waiter *w = LIST_ENTRY(q->waiting.next, struct flow_waiter, link);
        if (!fits(l, w->seats))
            break;
        list_remove(&w->link);
        q->n--;
        l->waiting--;
        take(l, q, w->seats);
        w->granted = true;
        waitq_wake_all(&w->q);
    }
}

/* Requests that wait in the old queues are let through: a change of configuration is rare, and they were first. */
static void release_all(struct flow_level *l)
{
    for (unsigned i = 0; i < l->n_queues; i++)
        while (l->queues[i].n) {
            struct flow_waiter *w = LIST_ENTRY(l->queues[i].waiting.next, struct flow_waiter, link);
            list_remove(&w->link);
            l->queues[i].n--;
            l->waiting--;
            take(l, NULL, w->seats);
            w->granted = true;
            waitq_wake_all(&w->q);
        }
}

void flow_level_configure(struct flow_level *l, const struct flow_level_config *c)
{
    unsigned n = c->queues_requests ? MAX(c->queues, 1u) : 0;
    if (n != l->n_queues) {
        release_all(l);
        free(l->queues);
        l->queues = n ? xcalloc(n, sizeof(*l->queues)) : NULL;
        l->n_queues = n;
        for (unsigned i = 0; i < n; i++)
            list_init(&l->queues[i].waiting);
    }
    l->config = *c;
    unsigned most = MIN(n, 64u);
    l->hand = MIN(c->hand, most);
    if (n && !l->hand)
        l->hand = 1;
    flow_level_set_limit(l, c->nominal);
}

void flow_level_set_limit(struct flow_level *l, unsigned seats)
{
    l->limit = seats;
    dispatch(l);
}

/* ---- a request ----------------------------------------------------------------------------------------- */

static int wait_in(struct flow_level *l, struct flow_queue *q, unsigned seats, struct mono deadline)
{
    struct flow_waiter w = {.seats = seats};
    int r = 0;
    if (!q->n)
        q->start = MAX(q->start, l->now);
    list_push_back(&q->waiting, &w.link);
    q->n++;
    l->waiting++;
    while (!w.granted && r == 0)
        r = waitq_wait(&w.q, deadline);
    if (w.granted)
        return 0; /* also when the time ran out just then */
    list_remove(&w.link);
    q->n--;
    l->waiting--;
    return r == -ETIMEDOUT ? FLOW_TIMED_OUT : r;
}

static void ask(struct flow_level *l, int seats)
{
    sample(l);
    l->asked += (unsigned)seats;
    l->high = MAX(l->high, (double)l->asked);
}

int flow_enter(struct flow_level *l, uint64_t hash, unsigned seats, struct mono deadline, struct flow_seat *ret)
{
    struct flow_queue *q = l->n_queues ? choose_queue(l, hash) : NULL;
    const struct flow_queue *queues = l->queues;
    unsigned width = l->config.exempt ? seats : MIN(seats, MAX(l->config.nominal, 1u));
    bool now = l->config.exempt || (!l->waiting && fits(l, width));
    if (!now && (!q || q->n >= l->config.length))
        return FLOW_FULL;
    ask(l, (int)width);
    int r = 0;
    if (now)
        take(l, q, width);
    else
        r = wait_in(l, q, width, deadline);
    if (r) {
        ask(l, -(int)width);
        return r;
    }
    *ret = (struct flow_seat){.level = l, .queue = l->queues == queues ? q : NULL, .seats = width};
    return 0;
}

void flow_leave(struct flow_seat *s)
{
    struct flow_level *l = s->level;
    if (!l)
        return;
    ask(l, -(int)s->seats);
    l->in_use -= s->seats;
    l->running--;
    if (s->queue >= l->queues && s->queue < l->queues + l->n_queues)
        s->queue->in_use -= MIN(s->queue->in_use, s->seats);
    *s = (struct flow_seat){0};
    dispatch(l);
}

/* ---- sharing out --------------------------------------------------------------------------------------- */

static double given(struct flow_share *s, size_t n, double factor)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += s[i].got = MIN(MAX(s[i].want * factor, s[i].low), s[i].high);
    return sum;
}

void flow_share_out(struct flow_share *s, size_t n, double total)
{
    double low = 0, high = 1;
    for (size_t i = 0; i < n; i++)
        s[i].want = MAX(s[i].want, 0.001); /* upstream's least: who wants nothing gets some, too */
    while (given(s, n, high) < total && high < 1e9)
        high *= 2;
    for (int i = 0; i < 80; i++) {
        double middle = (low + high) / 2;
        if (given(s, n, middle) < total)
            low = middle;
        else
            high = middle;
    }
    given(s, n, high);
}
