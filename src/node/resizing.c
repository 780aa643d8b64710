/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bringing what runs to what was granted. Memory first, then CPU; for each of them the Pod's cgroup is raised before its
 * containers and lowered after them, and containers that get less come before those that get more: at no time does a child
 * have more than its parent (which version 1 refuses).
 */
#include "node/kubelet-internal.h"

struct resizing {
    struct worker *w;
    const struct val *pod;
    struct actions *act;
    const char *path; /* of the Pod's cgroup; NULL: there are none */
    struct cgroup_limits have, want;
    struct arena *arena;
    struct err *e;
};

/* No limit is more than any limit. */
static int64_t height(int64_t limit)
{
    return limit == 0 ? INT64_MAX : limit;
}

static int put(struct resizing *r, struct cgroup_limits l)
{
    struct kubelet *k = r->w->k;
    int rc = k->host->ops->cgroup_set(k->host, r->path, &l, r->e);
    if (rc < 0)
        return rc;
    struct cgroup_limits *now = &r->w->cgroup;
    if (l.memory >= 0)
        now->memory = l.memory;
    if (l.cpu_shares >= 0)
        now->cpu_shares = l.cpu_shares;
    if (l.cpu_quota >= 0) {
        now->cpu_quota = l.cpu_quota;
        now->cpu_period = l.cpu_period;
    }
    return 0;
}

static int put_memory(struct resizing *r)
{
    struct cgroup_limits l = CGROUP_LIMITS_NONE;
    l.memory = r->want.memory;
    return put(r, l);
}

static int put_quota(struct resizing *r)
{
    struct cgroup_limits l = CGROUP_LIMITS_NONE;
    l.cpu_quota = r->want.cpu_quota;
    l.cpu_period = r->want.cpu_period;
    return put(r, l);
}

static int put_shares(struct resizing *r)
{
    struct cgroup_limits l = CGROUP_LIMITS_NONE;
    l.cpu_shares = r->want.cpu_shares;
    return put(r, l);
}

/* ---- containers ------------------------------------------------------------------------------------------ */

static void put_amount(struct arena *a, struct val *resources_, name_id list, const char *name, struct quantity q)
{
    char text[QUANTITY_TEXT_MAX];
    val_put_str(a, val_sub_map(a, resources_, list), str_of(name), str_of(quantity_text(q, text)));
}

static struct val *resources_of(struct arena *a, const struct resize_amounts *m)
{
    struct val *r = val_new(a, VAL_OBJ);
    put_amount(a, r, N_requests, "cpu", quantity_of_milli(m->cpu_request, QUANTITY_DECIMAL_SI));
    put_amount(a, r, N_requests, "memory", quantity_of(m->memory_request, QUANTITY_BINARY_SI));
    put_amount(a, r, N_limits, "cpu", quantity_of_milli(m->cpu_limit, QUANTITY_DECIMAL_SI));
    put_amount(a, r, N_limits, "memory", quantity_of(m->memory_limit, QUANTITY_BINARY_SI));
    return r;
}

/* One resource of one container; `have` follows. */
static int update(struct resizing *r, struct update_action *u, bool memory)
{
    struct resize_amounts next = u->have;
    if (memory) {
        next.memory_limit = u->want.memory_limit;
        next.memory_request = u->want.memory_request;
    } else {
        next.cpu_limit = u->want.cpu_limit;
        next.cpu_request = u->want.cpu_request;
    }
    if (resize_same(&next, &u->have))
        return 0;
    struct val *spec = val_copy_shallow(r->arena, u->spec);
    val_set_ref(r->arena, spec, N_resources, resources_of(r->arena, &next));
    struct val cri = cri_container_resources(r->arena, r->pod, spec, &r->w->k->cri);
    int rc = runtime_update_container(r->w->k->rt, u->container->id, &cri, r->e);
    if (rc == 0)
        u->have = next;
    return rc;
}

static bool grows(const struct update_action *u, bool memory)
{
    int64_t have = memory ? u->have.memory_limit : u->have.cpu_limit, want = memory ? u->want.memory_limit : u->want.cpu_limit;
    if (have != want)
        return height(want) > height(have);
    return memory ? u->want.memory_request > u->have.memory_request : u->want.cpu_request > u->have.cpu_request;
}

static int update_all(struct resizing *r, bool memory)
{
    int rc = 0;
    for (int turn = 0; turn < 2; turn++)
        for (size_t i = 0; i < r->act->n_updates && rc == 0; i++)
            if (grows(&r->act->updates[i], memory) == (turn == 1))
                rc = update(r, &r->act->updates[i], memory);
    return rc;
}

/* ---- the order ------------------------------------------------------------------------------------------- */

static int resize_memory(struct resizing *r)
{
    bool set = r->path && r->want.memory >= 0 && r->want.memory != r->have.memory;
    bool up = height(r->want.memory) > height(r->have.memory);
    int rc = set && up ? put_memory(r) : 0;
    if (rc == 0)
        rc = update_all(r, true);
    return rc == 0 && set && !up ? put_memory(r) : rc;
}

static int resize_cpu(struct resizing *r)
{
    bool quota = r->path && r->want.cpu_quota >= 0 && r->want.cpu_quota != r->have.cpu_quota;
    bool quota_up = height(r->want.cpu_quota) > height(r->have.cpu_quota);
    bool shares = r->path && r->want.cpu_shares >= 0 && r->want.cpu_shares != r->have.cpu_shares;
    bool shares_up = r->want.cpu_shares > r->have.cpu_shares;
    int rc = quota && quota_up ? put_quota(r) : 0;
    if (rc == 0 && shares && shares_up)
        rc = put_shares(r);
    if (rc == 0)
        rc = update_all(r, false);
    if (rc == 0 && shares && !shares_up)
        rc = put_shares(r);
    return rc == 0 && quota && !quota_up ? put_quota(r) : rc;
}

/* ---- what is in use ---------------------------------------------------------------------------------------- */

static int64_t usage_of(struct resizing *r, struct str container_id)
{
    struct host *h = r->w->k->host;
    struct cgroup_state now;
    struct str path = container_id.n ? arena_printf(r->arena, "%s/" STR_FMT, r->path, STR_ARG(container_id)) : str_of(r->path);
    return h->ops->cgroup_get(h, path.p, &now) == 0 ? now.memory_usage : -1;
}

static bool lowers(int64_t have, int64_t want)
{
    return want > 0 && height(want) < height(have);
}

static void complain(struct resizing *r, struct buf *b, unsigned *n, struct str what)
{
    buf_printf(b, "%s" STR_FMT, (*n)++ ? ", " : "", STR_ARG(what));
}

/* A limit below what is in use would have the kernel kill something: better to refuse. */
static int check_memory(struct resizing *r)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    unsigned n = 0;
    if (!r->path || !r->w->k->host->ops->cgroup_get)
        return 0;
    if (lowers(r->have.memory, r->want.memory)) {
        int64_t used = usage_of(r, STR_NULL);
        if (used < 0)
            complain(r, &b, &n, STR("missing pod memory usage"));
        else if (used >= r->want.memory)
            complain(r, &b, &n, arena_printf(r->arena, "attempting to set pod memory limit (%lld) below current usage (%lld)",
                                             (long long)r->want.memory, (long long)used));
    }
    for (size_t i = 0; i < r->act->n_updates; i++) {
        const struct update_action *u = &r->act->updates[i];
        if (!lowers(u->have.memory_limit, u->want.memory_limit))
            continue;
        int64_t used = usage_of(r, u->container->id);
        if (used >= u->want.memory_limit)
            complain(r, &b, &n,
                     arena_printf(r->arena, "attempting to set container \"" STR_FMT "\" memory limit (%lld) below current usage (%lld)",
                                  STR_ARG(val_getstr(u->spec, N_name)), (long long)u->want.memory_limit, (long long)used));
    }
    if (!n)
        return 0;
    return err_set(r->e, -EBUSY, "cannot decrease memory limits: %s" STR_FMT "%s", n > 1 ? "[" : "", STR_ARG(buf_str(&b)),
                   n > 1 ? "]" : "");
}

/* ---- all of it --------------------------------------------------------------------------------------------- */

/* Remembers what is in force now, once the runtime has been asked: the status must not show old numbers as new. */
static void remember(struct resizing *r, bool whole)
{
    for (size_t i = 0; i < r->act->n_updates; i++) {
        const struct update_action *u = &r->act->updates[i];
        if (resize_same(&u->have, &u->want))
            worker_set_in_force(r->w, val_getstr(u->spec, N_name), r->pod);
    }
    if (whole)
        worker_set_in_force(r->w, STR(""), r->pod);
}

int resize_pod(struct worker *w, const struct val *pod, struct actions *act, struct err *e)
{
    struct kubelet *k = w->k;
    struct arena a = ARENA_INIT;
    struct err why = {{0}};
    struct cgroup_state now;
    struct resizing r = {.w = w, .pod = pod, .act = act, .arena = &a, .e = &why, .have = w->cgroup,
                         .want = pod_cgroup_limits(pod, k->cri.cfs_quota, k->cri.cfs_period, -1)};
    if (!k->cfg.no_cgroups && w->cgroup_known)
        r.path = pod_cgroup_path(&a, k->cfg.cgroup_root, pod).p;
    if (r.path && k->host->ops->cgroup_get && k->host->ops->cgroup_get(k->host, r.path, &now) == 0)
        r.have = now.limits;
    int rc = check_memory(&r);
    if (rc == 0)
        rc = resize_memory(&r);
    if (rc == 0)
        rc = resize_cpu(&r);
    if (rc != -ECANCELED) {
        int again = pleg_refresh(k, str_of(w->uid), NULL);
        remember(&r, rc == 0);
        qos_update(k, NULL);
        if (rc != 0) {
            grant_failed(w, err_text(&why, rc));
            err_set(e, rc, "resizing: %s", err_text(&why, rc));
        } else {
            rc = again;
        }
        worker_wake(w);
    }
    arena_done(&a);
    return rc;
}
