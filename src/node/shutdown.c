/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Graceful shutdown of the node. Upstream holds the machine's shutdown up by an inhibitor lock of logind. We speak no D-Bus
 * (and many of the machines we run on have no logind): whoever stops the node tells us first, by POST /shutdown, which
 * answers when all Pods have ended or had their time; DELETE /shutdown calls it off for Pods that come later. As with
 * upstream, SIGTERM ends the kubelet alone and leaves Pods running: that is what an update of it needs.
 */
#include "node/shutdown.h"

#include "net/http.h"
#include "net/url.h"
#include "node/kubelet-internal.h"

#define MESSAGE "Pod was terminated in response to imminent node shutdown."
#define POLL MILLISECONDS(100)
#define TEXT "text/plain; charset=utf-8"

enum { SYSTEM_CRITICAL = 2000000000, LONGEST = 7 * 86400 /* seconds for a group; more would overflow what waits */ };

/* ---- pure ------------------------------------------------------------------------------------------------ */

static int by_priority(const void *pa, const void *pb)
{
    const struct shutdown_group *a = pa, *b = pb;
    return (a->priority > b->priority) - (a->priority < b->priority);
}

const struct shutdown_group *shutdown_groups(struct arena *a, const char *const *settings, int64_t whole, int64_t critical,
                                             size_t *ret_n)
{
    size_t most = 2, n = 0;
    for (const char *const *s = settings; s && *s; s++)
        most++;
    struct shutdown_group *g = ARENA_ARRAY(a, struct shutdown_group, most);
    for (; settings && *settings; settings++) {
        struct str key, value;
        struct shutdown_group one;
        if (!str_cut(str_of(*settings), '=', &key, &value) || str_to_i64(key, &one.priority) < 0 || str_to_i64(value, &one.seconds) < 0 ||
            one.seconds < 0)
            continue;
        one.seconds = MIN(one.seconds, (int64_t)LONGEST);
        g[n++] = one;
    }
    if (n == 0 && whole > 0) {
        critical = MIN(MAX(critical, (int64_t)0), whole);
        g[n++] = (struct shutdown_group){0, (whole - critical) / NSEC_PER_SEC};
        g[n++] = (struct shutdown_group){SYSTEM_CRITICAL, critical / NSEC_PER_SEC};
    }
    if (n)
        qsort(g, n, sizeof(*g), by_priority);
    *ret_n = n;
    return g;
}

size_t shutdown_group_of(const struct shutdown_group *g, size_t n, int64_t priority)
{
    size_t i = 0;
    while (i + 1 < n && g[i + 1].priority <= priority)
        i++;
    return i;
}

/* ---- doing ------------------------------------------------------------------------------------------------- */

static bool belongs(const struct worker *w, const struct shutdown_group *g, size_t n, size_t group)
{
    const struct val *pod = worker_pod(w);
    return pod && w->started && w->stage < WORKER_FINISHED &&
           shutdown_group_of(g, n, val_int(val_at(pod, N_spec, N_priority), 0)) == group;
}

static bool any_left(struct kubelet *k, const struct shutdown_group *g, size_t n, size_t group)
{
    MAP_EACH (&k->workers, m)
        if (belongs(m->value, g, n, group))
            return true;
    return false;
}

static void end_group(struct kubelet *k, const struct shutdown_group *g, size_t n, size_t group)
{
    struct arena a = ARENA_INIT;
    MAP_EACH (&k->workers, m) {
        struct worker *w = m->value;
        if (!belongs(w, g, n, group))
            continue;
        int64_t own = val_int(val_at(worker_pod(w), N_spec, N_terminationGracePeriodSeconds), g[group].seconds);
        worker_fail(w, "Terminated", STR(MESSAGE), MIN(own, g[group].seconds), pod_disruption(&a, worker_pod(w), STR(MESSAGE)));
    }
    arena_done(&a);
    struct mono end = mono_add(os_mono(), SECONDS(g[group].seconds)); /* bounded by shutdown_groups */
    while (any_left(k, g, n, group) && os_mono().ns < end.ns && fiber_sleep(POLL) == 0)
        ;
}

/* 0 when all have ended, else how many have not. */
static size_t shut_down(struct kubelet *k, const struct shutdown_group *g, size_t n)
{
    size_t left = 0;
    for (size_t i = 0; i < n && k->shutting_down && !fiber_cancelled(); i++)
        end_group(k, g, n, i);
    for (size_t i = 0; i < n; i++)
        MAP_EACH (&k->workers, m)
            left += belongs(m->value, g, n, i);
    return left;
}

static int64_t duration_of(struct http_exchange *x, const char *name, int64_t otherwise)
{
    struct str text;
    int64_t ns;
    return query_get(&x->arena, x->query, name, &text) && duration_parse(text, &ns) == 0 && ns >= 0 ? ns : otherwise;
}

void serve_shutdown(struct kubelet *k, struct http_exchange *x)
{
    size_t n;
    if (str_is(x->method, "DELETE")) {
        k->shutting_down = false;
        node_touch(k);
        http_respond(x, 200, TEXT, STR("ok"));
        return;
    }
    if (!str_is(x->method, "POST")) {
        http_respond(x, 405, TEXT, STR("POST begins the shutdown, DELETE calls it off"));
        return;
    }
    int64_t whole = duration_of(x, "grace", k->cfg.shutdown_grace > 0 ? k->cfg.shutdown_grace : SECONDS(30));
    int64_t critical = duration_of(x, "critical", k->cfg.shutdown_grace > 0 ? k->cfg.shutdown_critical : SECONDS(10));
    const struct shutdown_group *g = shutdown_groups(&x->arena, k->cfg.shutdown_by_priority, whole, critical, &n);
    k->shutting_down = true;
    node_event(k, false, "Shutdown", "Shutdown manager detected shutdown event");
    node_touch(k);
    size_t left = shut_down(k, g, n);
    http_respond(x, 200, TEXT, left ? arena_printf(&x->arena, "%zu pods have not ended in time", left) : STR("ok"));
}
