/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/queue.h"

#include "names.h"

/* Unschedulable pods are tried again after so long even if nothing happened (upstream's 5 minutes). */
#define FORGOTTEN SECONDS(300)

/* ---- the heap of ready ones: highest priority first, then the oldest --------------------------------------------- */

static bool goes_before(const struct waiting *a, const struct waiting *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->seq < b->seq;
}

static void heap_push(struct pod_queue *q, struct waiting *w)
{
    if (q->n_ready == q->cap_ready) {
        q->cap_ready = MAX(q->cap_ready * 2, (size_t)64);
        q->ready = xrealloc(q->ready, q->cap_ready * sizeof(*q->ready));
    }
    size_t i = q->n_ready++;
    for (; i > 0 && goes_before(w, q->ready[(i - 1) / 2]); i = (i - 1) / 2)
        q->ready[i] = q->ready[(i - 1) / 2];
    q->ready[i] = w;
}

static struct waiting *heap_pop(struct pod_queue *q)
{
    struct waiting *top = q->ready[0], *last = q->ready[--q->n_ready];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < q->n_ready; i = child) {
        if (child + 1 < q->n_ready && goes_before(q->ready[child + 1], q->ready[child]))
            child++;
        if (!goes_before(q->ready[child], last))
            break;
        q->ready[i] = q->ready[child];
    }
    if (q->n_ready)
        q->ready[i] = last;
    return top;
}

static void heap_remove(struct pod_queue *q, struct waiting *w)
{
    size_t n = q->n_ready;
    q->n_ready = 0;
    for (size_t i = 0; i < n; i++)
        if (q->ready[i] != w)
            heap_push(q, q->ready[i]); /* pushes behind what is read: never overtakes i */
}

/* ---- moving ------------------------------------------------------------------------------------------------------- */

static void waiting_free(void *p)
{
    struct waiting *w = p;
    object_unref((struct object *)w->pod);
    free((char *)w->said.p);
    free(w);
}

void pod_queue_done(struct pod_queue *q)
{
    map_done_with(&q->pods, waiting_free);
    free(q->ready);
    q->ready = NULL;
    q->n_ready = q->cap_ready = 0;
}

static void make_ready(struct pod_queue *q, struct waiting *w)
{
    w->place = QUEUE_READY;
    heap_push(q, w);
}

static int64_t backoff_of(const struct pod_queue *q, const struct waiting *w)
{
    int64_t d = q->backoff_first;
    for (unsigned i = 1; i < w->attempts && d < q->backoff_max; i++)
        d *= 2;
    return MIN(d, q->backoff_max);
}

static void make_back_off(struct pod_queue *q, struct waiting *w, struct mono now)
{
    w->ready_at = mono_add(w->tried, backoff_of(q, w));
    if (w->ready_at.ns <= now.ns)
        make_ready(q, w);
    else
        w->place = QUEUE_BACKOFF;
}

void pod_queue_put(struct pod_queue *q, const struct object *pod, struct mono now)
{
    struct waiting *w = map_get(&q->pods, pod->uid);
    if (!w) {
        w = NEW(struct waiting);
        w->seq = ++q->seq;
        w->tried = now;
        w->pod = object_ref(pod);
        w->priority = (int32_t)val_int(val_at(pod->val, N_spec, N_priority), 0);
        map_put(&q->pods, pod->uid, w);
        make_ready(q, w);
        return;
    }
    /* A change of its status alone (our own condition) is no reason to try again. */
    bool same = val_equal(val_get(w->pod->val, N_spec), val_get(pod->val, N_spec)) &&
                val_equal(val_get(w->pod->meta, N_labels), val_get(pod->meta, N_labels));
    object_unref((struct object *)w->pod);
    w->pod = object_ref(pod);
    if (!same && w->place == QUEUE_UNSCHEDULABLE)
        make_back_off(q, w, now);
}

void pod_queue_drop(struct pod_queue *q, struct str uid)
{
    struct waiting *w = map_del(&q->pods, uid);
    if (!w)
        return;
    if (w->place == QUEUE_READY)
        heap_remove(q, w);
    waiting_free(w);
}

struct waiting *pod_queue_take(struct pod_queue *q, struct mono now)
{
    if (!q->n_ready)
        return NULL;
    struct waiting *w = heap_pop(q);
    w->place = QUEUE_TAKEN;
    w->attempts++;
    w->tried = now;
    w->moved = false;
    return w;
}

void pod_queue_unschedulable(struct pod_queue *q, struct waiting *w, struct mono now)
{
    if (w->moved)
        make_back_off(q, w, now);
    else
        w->place = QUEUE_UNSCHEDULABLE;
}

void pod_queue_failed(struct pod_queue *q, struct waiting *w, struct mono now)
{
    make_back_off(q, w, now);
}

void pod_queue_wake_some(struct pod_queue *q, struct mono now, bool (*helps)(void *arg, const struct object *pod), void *arg)
{
    MAP_EACH(&q->pods, e)
    {
        struct waiting *w = e->value;
        if ((w->place != QUEUE_UNSCHEDULABLE && w->place != QUEUE_TAKEN) || !helps(arg, w->pod))
            continue;
        if (w->place == QUEUE_UNSCHEDULABLE)
            make_back_off(q, w, now);
        else
            w->moved = true;
    }
}

static bool helps_all(void *arg UNUSED, const struct object *pod UNUSED)
{
    return true;
}

void pod_queue_wake(struct pod_queue *q, struct mono now)
{
    pod_queue_wake_some(q, now, helps_all, NULL);
}

struct mono pod_queue_tick(struct pod_queue *q, struct mono now)
{
    struct mono next = MONO_NEVER;
    MAP_EACH(&q->pods, e)
    {
        struct waiting *w = e->value;
        if (w->place != QUEUE_BACKOFF && w->place != QUEUE_UNSCHEDULABLE)
            continue;
        struct mono at = w->place == QUEUE_BACKOFF ? w->ready_at : mono_add(w->tried, FORGOTTEN);
        if (at.ns <= now.ns)
            make_ready(q, w);
        else
            next.ns = MIN(next.ns, at.ns);
    }
    return next;
}
