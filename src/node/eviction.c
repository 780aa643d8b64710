/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running short of memory, disk or process numbers: says so in the node's conditions (for five minutes at least, so
 * that it does not flap), and ends Pods, one at a time, when memory is about to run out.
 */
#include "node/eviction.h"

#include "node/kubelet-internal.h"

#define PERIOD SECONDS(10)
#define TRANSITION SECONDS(300)

/* ---- pure ---------------------------------------------------------------------------------------------------------- */

static int64_t priority_of(const struct val *pod)
{
    return val_int(val_at(pod, N_spec, N_priority), 0);
}

static int order(const void *pa, const void *pb)
{
    const struct eviction_candidate *a = pa, *b = pb;
    bool over_a = a->usage > a->request, over_b = b->usage > b->request;
    int64_t p_a = priority_of(a->pod), p_b = priority_of(b->pod);
    if (over_a != over_b)
        return over_a ? -1 : 1;
    if (p_a != p_b)
        return p_a < p_b ? -1 : 1;
    int64_t more_a = a->usage - a->request, more_b = b->usage - b->request;
    return more_a > more_b ? -1 : more_a < more_b;
}

void eviction_rank(struct eviction_candidate *c, size_t n)
{
    if (n)
        qsort(c, n, sizeof(*c), order);
}

int64_t eviction_threshold(const char *const *settings, const char *signal, int64_t whole)
{
    struct str key, value;
    for (; settings && *settings; settings++) {
        int64_t percent;
        ssize_t at = str_find(str_of(*settings), '<');
        char mark = at > 0 ? '<' : '=';
        if (!str_cut(str_of(*settings), mark, &key, &value) || !str_is(key, signal) || !value.n)
            continue;
        if (value.p[value.n - 1] == '%')
            return str_to_i64(str_slice(value, 0, value.n - 1), &percent) == 0 ? whole / 100 * percent : 0;
        return quantity_units(quantity_or_zero(value));
    }
    return 0;
}

/* ---- conditions ------------------------------------------------------------------------------------------------------ */

static bool below(struct kubelet *k, const char *signal, int64_t available, int64_t whole)
{
    int64_t limit = eviction_threshold(k->cfg.eviction_hard, signal, whole);
    return available >= 0 && limit > 0 && available < limit;
}

/* On at once, off only when it has been quiet for a while. */
static void set_pressure(struct kubelet *k, bool *flag, struct wall *until, bool now_short)
{
    struct wall now = os_wall();
    bool was = *flag;
    if (now_short)
        until->ns = now.ns + TRANSITION;
    *flag = now_short || now.ns < until->ns;
    if (*flag != was)
        node_touch(k);
}

/* ---- ending Pods ------------------------------------------------------------------------------------------------------- */

static size_t candidates(struct kubelet *k, struct map *usage, struct eviction_candidate *ret)
{
    size_t n = 0;
    MAP_EACH (&k->workers, m) {
        struct worker *w = m->value;
        const struct val *pod = worker_pod(w);
        if (!pod || w->stage != WORKER_SYNCING || pod_critical(pod))
            continue;
        const int64_t *bytes = map_get(usage, str_of(w->uid));
        ret[n++] = (struct eviction_candidate){pod, bytes ? *bytes : 0, quantity_units(pod_amount(pod, N_requests, "memory")), w};
    }
    return n;
}

static const struct val *disruption(struct kubelet *k, struct arena *a, struct str message)
{
    struct val *c = val_new(a, VAL_OBJ);
    val_set_str(a, c, N_type, STR("DisruptionTarget"));
    val_set_str(a, c, N_status, STR("True"));
    val_set_str(a, c, N_reason, STR("TerminationByKubelet"));
    val_set_str(a, c, N_message, message);
    val_set_time(a, c, N_lastTransitionTime, os_wall());
    return c;
}

static void evict_for_memory(struct kubelet *k, int64_t available, int64_t limit)
{
    struct arena a = ARENA_INIT;
    struct map usage = MAP_INIT;
    char have[QUANTITY_TEXT_MAX], want[QUANTITY_TEXT_MAX], used[QUANTITY_TEXT_MAX], asked[QUANTITY_TEXT_MAX];
    node_event(k, true, "EvictionThresholdMet", "Attempting to reclaim memory");
    if (pod_memory_usage(k, &usage, NULL) == 0) {
        struct eviction_candidate *c = ARENA_ARRAY(&a, struct eviction_candidate, k->workers.n);
        size_t n = candidates(k, &usage, c);
        eviction_rank(c, n);
        if (n) {
            struct worker *w = c[0].owner;
            struct str message = arena_printf(
                &a, "The node was low on resource: memory. Threshold quantity: %s, available: %s. The pod was using %s, request is %s. ",
                quantity_text(quantity_of(limit, QUANTITY_BINARY_SI), want),
                quantity_text(quantity_of(available / 1024 * 1024, QUANTITY_BINARY_SI), have),
                quantity_text(quantity_of(c[0].usage / 1024 * 1024, QUANTITY_BINARY_SI), used),
                quantity_text(quantity_of(c[0].request, QUANTITY_BINARY_SI), asked));
            pod_event(k, c[0].pod, true, "Evicted", STR_FMT, STR_ARG(message));
            worker_fail(w, "Evicted", message, 1, disruption(k, &a, message));
        }
    }
    map_done_with(&usage, free);
    arena_done(&a);
}

void eviction_run(void *arg)
{
    struct kubelet *k = arg;
    while (fiber_sleep(PERIOD) == 0) {
        struct host_usage u;
        if (k->host->ops->usage(k->host, &u) < 0)
            continue;
        bool memory = below(k, "memory.available", u.memory_available, k->facts.memory);
        bool disk = below(k, "nodefs.available", u.fs_available, u.fs_bytes) ||
                    below(k, "nodefs.inodesFree", u.fs_inodes_free, u.fs_inodes);
        bool pids = u.max_pids > 0 && below(k, "pid.available", u.max_pids - u.pids, u.max_pids);
        set_pressure(k, &k->memory_pressure, &k->pressure_until[0], memory);
        set_pressure(k, &k->disk_pressure, &k->pressure_until[1], disk);
        set_pressure(k, &k->pid_pressure, &k->pressure_until[2], pids);
        if (memory)
            evict_for_memory(k, u.memory_available, eviction_threshold(k->cfg.eviction_hard, "memory.available", k->facts.memory));
    }
}
