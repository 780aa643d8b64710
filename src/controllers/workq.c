/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/workq.h"

int64_t workq_backoff(unsigned failures)
{
    int64_t max = SECONDS(1000), ns = MILLISECONDS(5);
    for (; failures > 0 && ns < max; failures--)
        ns *= 2;
    return MIN(ns, max);
}

void workq_init(struct workq *q, void (*user_free)(void *user))
{
    *q = (struct workq){.user_free = user_free};
    list_init(&q->ready);
}

static void item_free(struct workq *q, struct workq_item *item)
{
    if (q->user_free && item->user)
        q->user_free(item->user);
    free(item->text);
    free(item);
}

void workq_done(struct workq *q)
{
    MAP_EACH (&q->items, e)
        item_free(q, e->value);
    map_done(&q->items);
    free(q->timers);
    workq_init(q, q->user_free);
}

/* ---- timers: a heap by time -------------------------------------------------------------------------- */

static void place(struct workq *q, size_t i, struct workq_item *item)
{
    q->timers[i] = item;
    item->timer = i + 1;
}

static void up(struct workq *q, size_t i, struct workq_item *item)
{
    for (; i > 0 && q->timers[(i - 1) / 2]->when.ns > item->when.ns; i = (i - 1) / 2)
        place(q, i, q->timers[(i - 1) / 2]);
    place(q, i, item);
}

static void down(struct workq *q, size_t i, struct workq_item *item)
{
    for (size_t c; (c = 2 * i + 1) < q->n_timers; i = c) {
        if (c + 1 < q->n_timers && q->timers[c + 1]->when.ns < q->timers[c]->when.ns)
            c++;
        if (q->timers[c]->when.ns >= item->when.ns)
            break;
        place(q, i, q->timers[c]);
    }
    place(q, i, item);
}

static void timer_remove(struct workq *q, struct workq_item *item)
{
    if (!item->timer)
        return;
    size_t i = item->timer - 1;
    struct workq_item *last = q->timers[--q->n_timers];
    item->timer = 0;
    item->when = MONO_NEVER;
    if (last == item)
        return;
    if (i > 0 && q->timers[(i - 1) / 2]->when.ns > last->when.ns)
        up(q, i, last);
    else
        down(q, i, last);
}

static void timer_set(struct workq *q, struct workq_item *item, struct mono when)
{
    if (item->timer && item->when.ns <= when.ns)
        return;
    timer_remove(q, item);
    if (q->n_timers == q->cap_timers) {
        q->cap_timers = MAX(q->cap_timers * 2, (size_t)16);
        q->timers = xrealloc(q->timers, q->cap_timers * sizeof(struct workq_item *));
    }
    item->when = when;
    up(q, q->n_timers++, item);
}

/* ---- keys -------------------------------------------------------------------------------------------- */

static struct workq_item *item_of(struct workq *q, struct str key)
{
    struct workq_item *item = map_get(&q->items, key);
    if (item)
        return item;
    item = NEW(struct workq_item);
    item->text = str_dup(key);
    item->n = key.n;
    item->when = MONO_NEVER;
    map_put(&q->items, key, item);
    return item;
}

static void make_ready(struct workq *q, struct workq_item *item)
{
    if (item->busy)
        item->again = true;
    else if (!list_linked(&item->link))
        list_push_back(&q->ready, &item->link);
}

void workq_add(struct workq *q, struct str key)
{
    make_ready(q, item_of(q, key));
}

void workq_add_at(struct workq *q, struct str key, struct mono when)
{
    timer_set(q, item_of(q, key), when);
}

struct workq_item *workq_get(struct workq *q, struct mono now)
{
    while (q->n_timers > 0 && q->timers[0]->when.ns <= now.ns) {
        struct workq_item *due = q->timers[0];
        timer_remove(q, due);
        make_ready(q, due);
    }
    struct list *l = list_pop_front(&q->ready);
    if (!l)
        return NULL;
    struct workq_item *item = LIST_ENTRY(l, struct workq_item, link);
    item->busy = true;
    return item;
}

struct mono workq_due(const struct workq *q)
{
    return q->n_timers > 0 ? q->timers[0]->when : MONO_NEVER;
}

void workq_finish(struct workq *q, struct workq_item *item, bool well, struct mono now)
{
    item->busy = false;
    if (well)
        item->failures = 0;
    else
        timer_set(q, item, mono_add(now, MIN(workq_backoff(item->failures++), q->backoff_max ? q->backoff_max : INT64_MAX)));
    if (item->again) {
        item->again = false;
        make_ready(q, item);
    }
    if (item->failures > 0 || item->timer || list_linked(&item->link) || item->user)
        return;
    map_del(&q->items, str_n(item->text, item->n));
    item_free(q, item);
}

size_t workq_len(const struct workq *q)
{
    return q->items.n;
}
