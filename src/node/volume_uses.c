/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes that the node has once for all its Pods (staged by a CSI driver, mounted from a local device): who
 * uses them, what the API hears of it (volumesInUse), and undoing when the last Pod has gone.
 */
#include "node/csi.h"
#include "node/volumes-internal.h"

#define RETRY SECONDS(2) /* a driver that cannot unstage now */
#define RECLAIM_RETRY SECONDS(5) /* an API server that is away, a directory that cannot be removed */

struct node_volumes {
    struct map uses; /* unique name -> struct volume_use */
    struct waitq look;
    bool asked;
    struct replica *local_path; /* PersistentVolumes that are directories of ours */
};

/* ---- uses ---------------------------------------------------------------------------------------------- */

/* What a Pod is to a volume: it comes for it, or has it. */
static char use_wants, use_has;

static void use_free(void *p)
{
    struct volume_use *u = p;
    group_stop(&u->unstaging);
    map_done(&u->pods);
    free(u->unique);
    free(u->driver);
    free(u->handle);
    free(u->spec_name);
    free(u);
}

static struct volume_use *find_or_make(struct kubelet *k, const struct volume *v)
{
    struct volume_use *u = map_get(&k->volumes->uses, v->unique);
    if (u)
        return u;
    u = NEW(struct volume_use);
    *u = (struct volume_use){
        .unique = str_dup(v->unique), .type = v->type, .block = v->block, .spec_name = str_dup(v->spec_name), .k = k};
    if (v->type == VOLUME_CSI) {
        u->driver = str_dup(val_getstr(v->source, N_driver));
        u->handle = str_dup(val_getstr(v->source, N_volumeHandle));
    }
    map_put(&k->volumes->uses, v->unique, u);
    return u;
}

struct volume_use *volume_use_hold(struct kubelet *k, const struct volume *v, struct str uid)
{
    struct volume_use *u = find_or_make(k, v);
    if (!map_has(&u->pods, uid)) {
        map_put(&u->pods, uid, &use_wants);
        node_touch(k);
    }
    u->holds++;
    return u;
}

static void free_unused(struct kubelet *k, struct volume_use *u)
{
    if (u->holds || u->pods.n || u->to_unstage || u->unstaging.n)
        return;
    map_del(&k->volumes->uses, str_of(u->unique));
    use_free(u);
    node_touch(k);
}

void volume_use_drop(struct kubelet *k, struct volume_use *u)
{
    u->holds--;
    free_unused(k, u);
}

bool volume_is_used(struct kubelet *k, struct str unique)
{
    const struct volume_use *u = map_get(&k->volumes->uses, unique);
    return u && (u->pods.n || u->to_unstage);
}

bool volume_used_by_other(const struct volume_use *u, struct str uid)
{
    MAP_EACH (&u->pods, m)
        if (m->value == &use_has && !str_eq(m->key, uid))
            return true;
    return false;
}

void volume_use_done(struct volume_use *u, struct str uid)
{
    map_put(&u->pods, uid, &use_has);
}

void volume_uses_forget_pod(struct kubelet *k, struct str uid)
{
    bool any = false;
    MAP_EACH (&k->volumes->uses, m) {
        struct volume_use *u = m->value;
        if (!map_del(&u->pods, uid))
            continue;
        any = true;
        free_unused(k, u);
    }
    if (any)
        node_volumes_look(k);
}

void volume_use_found(struct kubelet *k, const struct volume *v, struct str uid)
{
    struct volume_use *u = find_or_make(k, v);
    u->to_unstage = true;
    if (uid.n)
        map_put(&u->pods, uid, &use_has);
}

/* ---- undoing ------------------------------------------------------------------------------------------- */

int volume_unstage(struct kubelet *k, struct volume_use *u, struct err *e)
{
    if (u->type == VOLUME_CSI)
        return csi_unstage(k, u, e);
    struct arena a = ARENA_INIT;
    struct str at =
        arena_printf(&a, "%s/plugins/kubernetes.io/local-volume/mounts/%s", k->cfg.root_dir, u->spec_name);
    int r = host_unmount(k->host, at.p, false, e);
    arena_done(&a);
    return r;
}

/* 0: undone, or in use again. */
static int unstage_once(struct volume_use *u, struct err *e)
{
    int r = fmutex_lock(&u->lock);
    if (r < 0)
        return r;
    if (!u->pods.n && u->to_unstage && (r = volume_unstage(u->k, u, e)) == 0)
        u->to_unstage = u->staged = false;
    fmutex_unlock(&u->lock);
    return r;
}

/* node_volumes_run frees what is not used any more: a fiber cannot wait for its own end. */
static void unstage_fiber(void *arg)
{
    struct volume_use *u = arg;
    while (u->to_unstage && !u->pods.n) {
        struct err e = {{0}};
        int r = unstage_once(u, &e);
        if (r == -ECANCELED || fiber_cancelled())
            return;
        if (r < 0)
            log_warn(LOG, "UnmountDevice failed for volume \"%s\" : %s", u->spec_name, err_text(&e, r));
        if (r != 0 && fiber_sleep(RETRY) < 0)
            return;
    }
    u->undone = true;
    node_volumes_look(u->k);
}

static struct volume_use *undone_use(struct kubelet *k)
{
    MAP_EACH (&k->volumes->uses, m)
        if (((struct volume_use *)m->value)->undone)
            return m->value;
    return NULL;
}

static void unstage_idle(struct kubelet *k)
{
    for (struct volume_use *u; (u = undone_use(k));) {
        group_stop(&u->unstaging);
        u->undone = false;
        free_unused(k, u);
    }
    MAP_EACH (&k->volumes->uses, m) {
        struct volume_use *u = m->value;
        if (u->to_unstage && !u->pods.n && !u->unstaging.n)
            group_spawn(&u->unstaging, "unstage", unstage_fiber, u);
    }
}

void node_volumes_look(struct kubelet *k)
{
    if (!k->volumes)
        return;
    k->volumes->asked = true;
    waitq_wake_all(&k->volumes->look);
}

void node_volumes_run(void *arg)
{
    struct kubelet *k = arg;
    while (!fiber_cancelled()) {
        k->volumes->asked = false;
        unstage_idle(k);
        bool good = local_path_reclaim(k);
        if (!k->volumes->asked)
            waitq_wait(&k->volumes->look, good ? MONO_NEVER : mono_add(os_mono(), RECLAIM_RETRY));
    }
}

/* ---- what the API hears -------------------------------------------------------------------------------- */

void node_volumes_report(struct kubelet *k, struct arena *a, struct val *status)
{
    size_t n = 0;
    if (!k->volumes || !k->world || !replica_synced(k->world))
        return;
    struct str *names = ARENA_ARRAY(a, struct str, k->volumes->uses.n);
    MAP_EACH (&k->volumes->uses, m) {
        const struct volume_use *u = m->value;
        if (u->type == VOLUME_CSI && csi_attach_required(k, str_of(u->driver)))
            names[n++] = str_of(u->unique);
    }
    str_sort(names, n);
    struct val *list = val_new(a, VAL_LIST);
    for (size_t i = 0; i < n; i++)
        val_add_str(a, list, names[i]);
    val_set_ref(a, status, N_volumesInUse, list);
}

void node_volumes_wake(struct kubelet *k)
{
    MAP_EACH (&k->workers, m) {
        struct worker *w = m->value;
        if (w->stage == WORKER_SYNCING && w->volumes && !w->volumes_ready)
            worker_set_volumes_dirty(w);
    }
    node_volumes_look(k);
}

/* ---- beginning and end --------------------------------------------------------------------------------- */

/* Local volumes: a Pod's folder, or the mount of a device. */
static void find_local(struct kubelet *k, struct str spec_name, struct str uid)
{
    struct arena a = ARENA_INIT;
    struct volume v = {.type = VOLUME_LOCAL, .spec_name = spec_name};
    v.unique = arena_printf(&a, "kubernetes.io/local-volume/" STR_FMT, STR_ARG(spec_name));
    volume_use_found(k, &v, uid);
    arena_done(&a);
}

static void find_locals(struct kubelet *k, struct arena *a, const char *dir, struct str uid)
{
    char **names;
    if (k->host->ops->list_dir(k->host, a, dir, &names) == 0)
        for (; *names; names++)
            find_local(k, str_of(*names), uid);
}

void node_volumes_start(struct kubelet *k)
{
    struct arena a = ARENA_INIT;
    const char *root = k->cfg.root_dir;
    char **uids;
    k->volumes = NEW(struct node_volumes);
    if (k->host->ops->list_dir(k->host, &a, arena_printf(&a, "%s/pods", root).p, &uids) == 0)
        for (; *uids; uids++) {
            find_locals(k, &a,
                        arena_printf(&a, "%s/pods/%s/volumes/kubernetes.io~local-volume", root, *uids).p,
                        str_of(*uids));
            find_locals(
                k, &a, arena_printf(&a, "%s/pods/%s/volumeDevices/kubernetes.io~local-volume", root, *uids).p,
                str_of(*uids));
            csi_find_volumes(k, str_of(*uids));
        }
    find_locals(k, &a, arena_printf(&a, "%s/plugins/kubernetes.io/local-volume/mounts", root).p, STR_NULL);
    csi_find_staged(k);
    arena_done(&a);
    k->volumes->local_path = k->client && k->host->ops->mount ? local_path_follow(k) : NULL;
}

struct replica *node_local_path_volumes(struct kubelet *k)
{
    return k->volumes->local_path;
}

void node_volumes_free(struct kubelet *k)
{
    if (!k->volumes)
        return;
    replica_free(k->volumes->local_path);
    map_done_with(&k->volumes->uses, use_free);
    free(k->volumes);
    k->volumes = NULL;
}
