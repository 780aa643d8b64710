/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Pods may take of the node's disk: emptyDir's sizeLimit, ephemeral-storage limits of containers and of
 * the Pod. Only Pods that have such a limit are measured; who is over it is evicted at once.
 */
#include "grpc.h"
#include "node/volumes-internal.h"

#define PERIOD SECONDS(10)

static int64_t storage_limit(const struct val *container)
{
    const struct val *limit = val_key(val_at(container, N_resources, N_limits), STR("ephemeral-storage"));
    return limit ? quantity_units(quantity_or_zero(val_str(limit))) : 0;
}

/* On disk, with a size: file systems in memory limit themselves. */
static int64_t dir_limit(const struct val *entry)
{
    const struct val *dir = val_get(entry, N_emptyDir);
    if (!dir || val_getstr(dir, N_medium).n)
        return 0;
    return quantity_units(quantity_or_zero(val_getstr(dir, N_sizeLimit)));
}

static bool counts(const struct val *c, enum container_kind kind)
{
    return kind == CK_MAIN || (kind == CK_INIT && container_is_sidecar(c));
}

static bool has_limits(const struct val *pod)
{
    VAL_EACH (val_at(pod, N_spec, N_volumes), v)
        if (dir_limit(v) > 0)
            return true;
    for (int k = CK_INIT; k <= CK_MAIN; k++)
        VAL_EACH (pod_containers(pod, (enum container_kind)k), c)
            if (storage_limit(c) > 0)
                return true;
    return val_key(val_at(pod, N_spec, N_resources, N_limits), STR("ephemeral-storage")) != NULL;
}

/* ---- measuring ----------------------------------------------------------------------------------------- */

struct measuring {
    struct kubelet *k;
    struct arena *a;
    const struct val *pod;
    struct podstate *state;
    int64_t total;
};

static int64_t used_below(struct measuring *m, struct str path)
{
    struct host_space s;
    return path.n && host_du(m->k->host, path.p, &s) == 0 ? s.used : 0;
}

/* The message when some emptyDir is over its limit; all add to the Pod's total. */
static struct str check_dirs(struct measuring *m, const struct volume_list *volumes)
{
    for (size_t i = 0; i < volumes->n; i++) {
        const struct volume *v = &volumes->items[i];
        if (v->type != VOLUME_EMPTY_DIR || val_getstr(v->source, N_medium).n)
            continue;
        int64_t used = used_below(m, v->path), limit = dir_limit(v->entry);
        m->total += used;
        if (limit > 0 && used > limit)
            return arena_printf(
                m->a, "Usage of EmptyDir volume \"" STR_FMT "\" exceeds the limit \"" STR_FMT "\". ",
                STR_ARG(v->name), STR_ARG(val_getstr(v->source, N_sizeLimit)));
    }
    return STR_NULL;
}

static int64_t writable_layer(struct measuring *m, const struct rt_container *c)
{
    struct val *q = val_new(m->a, VAL_OBJ);
    const struct val *answer;
    val_set_str(m->a, q, N_container_id, c->id);
    if (runtime_call(m->k->rt, G_runtime_v1_RuntimeService_ContainerStats, q,
                     mono_add(os_mono(), SECONDS(10)), m->a, &answer, NULL) != 0)
        return 0;
    return MAX(val_int(val_at(answer, N_stats, N_writable_layer, N_used_bytes, N_value), 0), (int64_t)0);
}

static struct str check_container(struct measuring *m, const struct val *c)
{
    struct str name = val_getstr(c, N_name);
    const struct rt_container *rt = podstate_find(m->state, name);
    int64_t limit = storage_limit(c);
    if (!rt)
        return STR_NULL;
    int64_t used = writable_layer(m, rt) +
                   used_below(m, arena_printf(m->a, STR_FMT "/" STR_FMT,
                                              STR_ARG(pod_log_dir(m->a, m->k->cfg.pod_logs_dir, m->pod)),
                                              STR_ARG(name)));
    m->total += used;
    if (limit <= 0 || used <= limit)
        return STR_NULL;
    return arena_printf(
        m->a, "Container " STR_FMT " exceeded its local ephemeral storage limit \"" STR_FMT "\". ",
        STR_ARG(name), STR_ARG(val_str(val_key(val_at(c, N_resources, N_limits), STR("ephemeral-storage")))));
}

static struct str check_pod(struct measuring *m)
{
    struct quantity limit = pod_amount(m->pod, N_limits, "ephemeral-storage");
    char text[QUANTITY_TEXT_MAX];
    if (quantity_is_zero(limit) || m->total <= quantity_units(limit))
        return STR_NULL;
    return arena_printf(m->a, "Pod ephemeral local storage usage exceeds the total limit of containers %s. ",
                        quantity_text(limit, text));
}

/* Upstream's order: volumes, the Pod, its containers. The Pod's total needs all of them first. */
static struct str find_excess(struct measuring *m, const struct volume_list *volumes)
{
    struct str first = check_dirs(m, volumes), container = STR_NULL;
    if (first.n)
        return first;
    for (int k = CK_INIT; k <= CK_MAIN; k++)
        VAL_EACH (pod_containers(m->pod, (enum container_kind)k), c)
            if (counts(c, (enum container_kind)k)) {
                struct str one = check_container(m, c);
                container = container.n ? container : one;
            }
    first = check_pod(m);
    return first.n ? first : container;
}

/* ---- evicting ------------------------------------------------------------------------------------------ */

static void check_worker(struct kubelet *k, struct str uid)
{
    struct arena a = ARENA_INIT;
    struct worker *w = worker_find(k, uid);
    struct object *pod CLEANUP_OBJECT = object_ref(w->pod);
    struct volume_list list = worker_volumes(w);
    struct volume *copies = ARENA_ARRAY(&a, struct volume, list.n); /* the worker may go while we wait */
    struct measuring m = {.k = k, .a = &a, .pod = pod->val, .state = podstate_ref(w->state)};
    for (size_t i = 0; i < list.n; i++)
        copies[i] = volume_copy(&a, &list.items[i]);
    list.items = copies;
    struct str excess = find_excess(&m, &list);
    w = worker_find(k, uid);
    if (excess.n && w && w->stage == WORKER_SYNCING && !w->fail_reason && !pod_critical(pod->val)) {
        pod_event(k, pod->val, true, "Evicted", STR_FMT, STR_ARG(excess));
        worker_fail(w, "Evicted", excess, 1, NULL);
    }
    podstate_unref(m.state);
    arena_done(&a);
}

void storage_limits_run(void *arg)
{
    struct kubelet *k = arg;
    while (fiber_sleep(PERIOD) == 0) {
        struct arena a = ARENA_INIT;
        struct str *uids = ARENA_ARRAY(&a, struct str, k->workers.n);
        size_t n = 0;
        MAP_EACH (&k->workers, m) {
            const struct worker *w = m->value;
            if (w->stage == WORKER_SYNCING && w->volumes && worker_pod(w) && has_limits(worker_pod(w)))
                uids[n++] = arena_str(&a, m->key);
        }
        for (size_t i = 0; i < n && !fiber_cancelled(); i++)
            if (worker_find(k, uids[i]) && worker_find(k, uids[i])->pod)
                check_worker(k, uids[i]);
        arena_done(&a);
    }
}
