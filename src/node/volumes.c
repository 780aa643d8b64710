/* SPDX-License-Identifier: Apache-2.0 */
/* All volumes of one Pod, one pass at a time: those that are missing are set up, those that change are
 * brought up to date. */
#include "node/volumes-internal.h"

#include "node/csi.h"
#include "type/fit.h"

#define PATIENCE SECONDS(123) /* then an event says what is still missing; upstream's 2 min 3 s */
#define REFRESH SECONDS(60)   /* between looks that nothing asks for: republishing, growing, what failed */

struct pod_volumes {
    struct pod_volume *items;
    size_t n;
    struct volume *known; /* of those that are: what others may look at */
    size_t n_known;
    struct mono since; /* the first pass that left something missing; 0: none did */
    struct mono due;   /* another look without a change */
};

int64_t pod_fs_group(const struct val *pod)
{
    return val_int(val_at(pod, N_spec, N_securityContext, N_fsGroup), -1);
}

bool fs_group_always(const struct val *pod)
{
    return !str_is(val_str(val_at(pod, N_spec, N_securityContext, N_fsGroupChangePolicy)), "OnRootMismatch");
}

const struct val *this_node(struct kubelet *k)
{
    const struct object *o =
        k->world ? replica_get(k->world, &resources[RES_NODES], STR_NULL, str_of(k->cfg.node_name)) : NULL;
    return o ? o->val : NULL;
}

/* ---- what there is ------------------------------------------------------------------------------------- */

static struct pod_volumes *make_list(const struct val *pod)
{
    const struct val *entries = val_at(pod, N_spec, N_volumes);
    struct pod_volumes *p = NEW(struct pod_volumes);
    p->items = xcalloc(val_len(entries) + 1, sizeof(*p->items));
    p->known = xcalloc(val_len(entries) + 1, sizeof(*p->known));
    p->due = MONO_NEVER;
    VAL_EACH (entries, entry) {
        struct pod_volume *v = &p->items[p->n++];
        v->name = arena_str(&v->arena, val_getstr(entry, N_name));
    }
    return p;
}

void pod_volumes_free(struct pod_volumes *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++)
        arena_done(&p->items[i].arena);
    free(p->items);
    free(p->known);
    free(p);
}

struct volume_list worker_volumes(const struct worker *w)
{
    struct volume_list list = {0};
    if (w->volumes) {
        list.items = w->volumes->known;
        list.n = w->volumes->n_known;
    }
    return list;
}

struct mono worker_volumes_due(const struct worker *w)
{
    return w->volumes && w->stage == WORKER_SYNCING ? w->volumes->due : MONO_NEVER;
}

/* ---- one ----------------------------------------------------------------------------------------------- */

static bool node_fits(struct kubelet *k, const struct val *pv)
{
    const struct val *required = val_at(pv, N_spec, N_nodeAffinity, N_required), *node = this_node(k);
    if (!required || !node)
        return true;
    VAL_EACH (val_get(required, N_nodeSelectorTerms), term)
        if (match_node_term(term, obj_labels(node), str_of(k->cfg.node_name)))
            return true;
    return false;
}

static int (*const set_up_kind[])(struct volume_job *j, struct err *e) = {
    [VOLUME_EMPTY_DIR] = set_up_empty_dir,
    [VOLUME_HOST_PATH] = set_up_host_path,
    [VOLUME_FILES] = set_up_files,
    [VOLUME_LOCAL] = set_up_local,
    [VOLUME_NFS] = set_up_nfs,
    [VOLUME_CSI] = set_up_csi,
    [VOLUME_IMAGE] = NULL, /* the runtime's; pulled when a container starts */
};

/* Does what is there already want doing again? */
static bool refreshes(const struct pod_volume *pv)
{
    return pv->v.type == VOLUME_FILES || pv->v.type == VOLUME_CSI;
}

static int set_up(struct volume_job *j, struct err *e)
{
    if (j->v->pv && !j->pv->ready && !node_fits(j->k, j->v->pv)) {
        j->stage =
            j->v->block ? "MapVolume.NodeAffinity check failed" : "MountVolume.NodeAffinity check failed";
        return err_set(e, -EPERM, "no matching NodeSelectorTerms");
    }
    int (*fn)(struct volume_job *, struct err *) = set_up_kind[j->v->type];
    return fn ? fn(j, e) : 0;
}

static int set_up_one(struct worker *w, const struct val *pod, struct world *world, struct pod_volume *pv,
                      struct err *e)
{
    struct arena a = ARENA_INIT;
    struct err why = {{0}};
    struct volume_job j = {.k = w->k,
                           .w = w,
                           .world = world,
                           .pod = pod,
                           .pv = pv,
                           .v = &pv->v,
                           .a = &a,
                           .stage = pv->v.block ? "MapVolume.SetUpDevice failed" : "MountVolume.SetUp failed",
                           .reason = pv->v.block ? "FailedMapVolume" : "FailedMount"};
    int r = set_up(&j, &why);
    if (r == 0)
        pv->ready = true;
    if (r < 0 && r != -ECANCELED && r != -EAGAIN) {
        err_set(e, r, "%s for volume \"" STR_FMT "\" : %s", j.stage, STR_ARG(pv->v.spec_name),
                err_text(&why, r));
        pod_event(w->k, pod, true, j.reason, "%s", e->text);
    }
    arena_done(&a);
    return r;
}

/* Claims are followed until they have led somewhere; then what they led to stays. */
static int know(struct worker *w, const struct val *pod, struct world *world, struct pod_volume *pv,
                const struct val *entry, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct volume v;
    bool mounted, device;
    if (pv->known)
        return 0;
    volume_used(pod, pv->name, &mounted, &device);
    pv->used = mounted || device;
    if (!pv->used)
        return 0;
    int r = volume_resolve(&a, w->k->cfg.root_dir, pod, entry, &world->v, &v, e);
    if (r == 0) {
        pv->v = volume_copy(&pv->arena, &v);
        pv->known = true;
        w->volumes->known[w->volumes->n_known++] = pv->v;
    }
    arena_done(&a);
    return r;
}

/* ---- words --------------------------------------------------------------------------------------------- */

/* "[a b]", sorted, of those that the question is true for. */
static struct str names_of(struct arena *a, const struct pod_volumes *p,
                           bool (*is)(const struct pod_volume *v))
{
    struct str *names = ARENA_ARRAY(a, struct str, p->n);
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        if (is(&p->items[i]))
            names[n++] = p->items[i].name;
    str_sort(names, n);
    return arena_printf(a, "[" STR_FMT "]", STR_ARG(arena_join(a, names, n, STR(" "))));
}

static bool is_unmounted(const struct pod_volume *v)
{
    return v->used && !v->ready;
}

static bool is_unattached(const struct pod_volume *v)
{
    return v->used && v->waits_attached && !v->ready;
}

static bool is_unknown(const struct pod_volume *v)
{
    return v->used && !v->known;
}

static void tell_missing(struct worker *w, const struct val *pod, const char *why)
{
    struct arena a = ARENA_INIT;
    pod_event(w->k, pod, true, "FailedMount",
              "Unable to attach or mount volumes: unmounted volumes=" STR_FMT ", unattached volumes=" STR_FMT
              ", failed to process volumes=" STR_FMT ": %s",
              STR_ARG(names_of(&a, w->volumes, is_unmounted)),
              STR_ARG(names_of(&a, w->volumes, is_unattached)), STR_ARG(names_of(&a, w->volumes, is_unknown)),
              why);
    arena_done(&a);
}

/* Some are missing after a pass: says so where nobody has, once in a while. */
static void after_failure(struct worker *w, const struct val *pod, struct str unknown)
{
    struct mono now = os_mono();
    if (unknown.n) {
        tell_missing(w, pod, unknown.p);
        w->volumes->since = (struct mono){0};
    } else if (!w->volumes->since.ns) {
        w->volumes->since = now;
    } else if (now.ns - w->volumes->since.ns >= PATIENCE) {
        tell_missing(w, pod, "timed out waiting for the condition");
        w->volumes->since = now;
    }
}

/* ---- all ----------------------------------------------------------------------------------------------- */

struct pass {
    struct worker *w;
    const struct val *pod;
    struct world *world;
    struct buf unknown; /* why claims lead nowhere */
    bool missing;       /* one that containers cannot start without */
    bool again;         /* one that is there could not be brought up to date */
    int r;
};

static void note(struct pass *p, int r, const struct err *why, struct err *e)
{
    if (r < 0 && (p->r == 0 || (p->r == -EAGAIN && r != -EAGAIN))) {
        p->r = r;
        err_set(e, r, "%s", r == -EAGAIN ? "a volume is waited for" : why->text);
    }
}

static int pass_one(struct pass *p, struct pod_volume *pv, const struct val *entry, struct err *e)
{
    struct err why = {{0}};
    int r = know(p->w, p->pod, p->world, pv, entry, &why);
    if (r == -ECANCELED)
        return r;
    if (r < 0) {
        buf_printf(&p->unknown, "%s%s", p->unknown.n ? "; " : "", err_text(&why, r));
        p->missing = true;
        note(p, r, &why, e);
        return 0;
    }
    if (!pv->used || (pv->ready && !refreshes(pv)))
        return 0;
    r = set_up_one(p->w, p->pod, p->world, pv, &why);
    if (r == -ECANCELED)
        return r;
    if (r < 0 && pv->ready) {
        p->again = true; /* containers go on with what is there */
    } else if (r < 0) {
        p->missing = true;
        note(p, r, &why, e);
    }
    return 0;
}

static bool any_republish(const struct pod_volumes *v)
{
    for (size_t i = 0; i < v->n; i++)
        if (v->items[i].republish ||
            (v->items[i].ready && v->items[i].v.pvc && v->items[i].v.type == VOLUME_CSI))
            return true;
    return false;
}

int volumes_set_up(struct worker *w, const struct val *pod, struct world *world, struct err *e)
{
    const struct val *entries = val_at(pod, N_spec, N_volumes);
    struct pass p = {.w = w, .pod = pod, .world = world};
    size_t i = 0;
    int r = 0;
    if (!w->volumes)
        w->volumes = make_list(pod);
    w->volumes->due = MONO_NEVER; /* this is the look */
    VAL_EACH (entries, entry)
        if (r == 0 && i < w->volumes->n)
            r = pass_one(&p, &w->volumes->items[i++], entry, e);
    if (r == 0 && p.missing)
        after_failure(w, pod, buf_str(&p.unknown));
    else if (r == 0)
        w->volumes->since = (struct mono){0};
    buf_done(&p.unknown);
    w->volumes->due = p.again || any_republish(w->volumes) ? mono_add(os_mono(), REFRESH) : MONO_NEVER;
    return r < 0 ? r : p.r;
}

bool runtime_mounts_recursively_read_only(struct kubelet *k, const struct val *pod)
{
    struct str class = val_str(val_at(pod, N_spec, N_runtimeClassName));
    const struct object *o =
        class.n && k->world ? replica_get(k->world, &resources[RES_RUNTIMECLASSES], STR_NULL, class) : NULL;
    struct str handler = o ? val_getstr(o->val, N_handler) : STR("");
    VAL_EACH (val_at(this_node(k), N_status, N_runtimeHandlers), h)
        if (str_eq(val_getstr(h, N_name), handler))
            return val_bool(val_at(h, N_features, N_recursiveReadOnlyMounts), false);
    return false;
}

/* ---- statistics ---------------------------------------------------------------------------------------- */

static bool has_stats(const struct pod_volume *v)
{
    return v->ready && v->used && !v->v.block && v->v.path.n && v->v.type != VOLUME_HOST_PATH &&
           v->v.type != VOLUME_IMAGE;
}

/* Folders of the node's own disk are counted, file systems are asked. */
static void one_stats(struct kubelet *k, const struct volume *v, struct volume_stats *ret)
{
    bool own = v->type == VOLUME_EMPTY_DIR || v->type == VOLUME_FILES;
    bool tmpfs = own && host_mounted(k->host, v->path.p);
    struct host_space space = {-1, -1, -1, -1, -1, -1}, tree;
    if (host_space(k->host, v->path.p, &space) == 0 && own && !tmpfs &&
        host_du(k->host, v->path.p, &tree) == 0) {
        space.used = tree.used;
        space.inodes_used = tree.inodes_used;
    }
    ret->space = space;
    ret->abnormal = -1;
    if (v->type == VOLUME_CSI)
        csi_volume_stats(k, v, ret);
}

size_t worker_volume_stats(struct worker *w, struct arena *a, struct volume_stats **ret)
{
    struct kubelet *k = w->k;
    struct volume_stats *out = ARENA_ARRAY(a, struct volume_stats, w->volumes ? w->volumes->n : 0);
    struct volume *copies = ARENA_ARRAY(a, struct volume, w->volumes ? w->volumes->n : 0);
    size_t n = 0;
    for (size_t i = 0; w->volumes && i < w->volumes->n; i++)
        if (has_stats(&w->volumes->items[i]))
            copies[n++] = volume_copy(a, &w->volumes->items[i].v); /* the worker may go while we wait */
    for (size_t i = 0; i < n; i++) {
        out[i].name = copies[i].name;
        out[i].claim = obj_name(copies[i].pvc);
        out[i].claim_ns = obj_namespace(copies[i].pvc);
        one_stats(k, &copies[i], &out[i]);
    }
    *ret = out;
    return n;
}
