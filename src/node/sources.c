/* SPDX-License-Identifier: Apache-2.0 */
/* Which Pods are wanted here: those the API binds to this node, and those in files. */
#include "node/align.h"
#include "node/eviction.h"
#include "node/kubelet-internal.h"
#include "node/memory.h"
#include "type/defaults.h"
#include "types.h"
#include "wire/json.h"
#include "wire/yaml.h"

enum { MANIFEST_MAX = 10 << 20 };

/* ---- admission -------------------------------------------------------------------------------------------- */

/* What the API has already forgotten (a preempted pod without grace) does not count while it ends, as upstream. */
static bool counts(const struct worker *w)
{
    return w->started && w->pod && !w->removed && w->stage < WORKER_TERMINATED && !w->fail_reason && !pod_terminal(w->pod->val);
}

void admit_world_of(struct kubelet *k, const struct worker *w, struct arena *a, struct admit_world *ret)
{
    const struct val **others = ARENA_ARRAY(a, const struct val *, k->workers.n);
    const struct object *node =
        k->world ? replica_get(k->world, &resources[RES_NODES], STR_NULL, str_of(k->cfg.node_name)) : NULL;
    *ret = (struct admit_world){.node = node ? node->val : NULL, .others = others,
                                .allocatable = node_allocatable(k, a), .allowed_sysctls = k->cfg.allowed_sysctls};
    MAP_EACH (&k->workers, e)
        if (e->value != w && counts(e->value))
            others[ret->n_others++] = worker_pod(e->value);
}

static void admit(struct kubelet *k, struct worker *w)
{
    struct arena a = ARENA_INIT;
    struct str message = STR("");
    struct admit_world world;
    const struct val *pod = worker_pod(w);
    admit_world_of(k, w, &a, &world);
    const bool pressure[PRESSURES] = {k->memory_pressure, k->disk_pressure, k->pid_pressure};
    const char *why = k->shutting_down ? "NodeShutdown" : eviction_admit(&a, pod, pressure, &message);
    if (!why)
        why = admit_pod(&a, pod, &world, &message);
    if (!why)
        why = align_admit(k, w, pod, &a, &message);
    if (k->shutting_down)
        message = STR("Pod was rejected as the node is shutting down.");
    if (why) {
        pod_event(k, pod, true, why, STR_FMT, STR_ARG(message));
        worker_fail(w, why, message, -1, NULL);
    } else {
        grant_first(w);
    }
    arena_done(&a);
}

/* ---- starting --------------------------------------------------------------------------------------------- */

static bool ready_for(struct kubelet *k, const struct worker *w)
{
    bool is_static = w->pod && pod_is_static(w->pod->val);
    return k->relisted && (!w->pod || is_static || !k->world || replica_synced(k->world));
}

/* A static pod that was changed has a new uid and the old name: it waits until the old one has ended. */
static bool name_taken(struct kubelet *k, const struct worker *w)
{
    MAP_EACH (&k->workers, e) {
        const struct worker *o = e->value;
        if (o != w && o->started && !strcmp(o->name, w->name) && !strcmp(o->ns, w->ns) && o->stage != WORKER_FINISHED)
            return true;
    }
    return false;
}

static void start_if_ready(struct kubelet *k, struct worker *w)
{
    if (w->started || !ready_for(k, w) || (w->pod && name_taken(k, w)))
        return;
    struct podstate *s = pleg_state(k, str_of(w->uid));
    podstate_unref(w->state);
    w->state = s;
    podstate_forgive_cut_starts(s, pod_status(worker_pod(w)), k->started_wall);
    /* What runs already was admitted by whoever started it. */
    if (w->pod && s) {
        devices_recall(w);
        cpus_recall(w);
        memory_recall(w);
    }
    if (w->pod && s)
        grant_recall(w);
    else if (w->pod && !obj_deleting(w->pod->val) && !pod_terminal(w->pod->val))
        admit(k, w);
    worker_start(w);
}

static bool sources_ready(struct kubelet *k)
{
    return k->relisted && (!k->pods || replica_synced(k->pods)) && k->statics_seen;
}

void sources_reconcile(struct kubelet *k)
{
    MAP_EACH (&k->workers, e)
        start_if_ready(k, e->value);
    if (!sources_ready(k))
        return;
    MAP_EACH (&k->records, e) {
        const struct pod_record *r = e->value;
        if (!r->state || worker_find(k, e->key))
            continue;
        log_info(LOG, "stopping a pod that nobody wants: " STR_FMT "/" STR_FMT " (" STR_FMT ")",
                 STR_ARG(r->state->namespace_), STR_ARG(r->state->name), STR_ARG(e->key));
        worker_start(worker_new(k, e->key, r->state->namespace_, r->state->name));
    }
}

/* ---- the API ---------------------------------------------------------------------------------------------- */

static struct worker *static_worker(struct kubelet *k, struct str ns, struct str name)
{
    MAP_EACH (&k->statics, e) {
        const struct object *o = e->value;
        if (str_eq(o->namespace_, ns) && str_eq(o->name, name))
            return worker_find(k, o->uid);
    }
    return NULL;
}

void sources_pod_changed(void *arg, const struct resource *res, const struct object *old, const struct object *new_)
{
    struct kubelet *k = arg;
    const struct object *o = new_ ? new_ : old;
    if (k->stopping)
        return;
    if (pod_is_mirror(o->val)) {
        struct worker *w = static_worker(k, o->namespace_, o->name);
        if (w) {
            w->posted = false; /* it may lack the status */
            worker_wake(w);
        }
        waitq_wake_all(&k->mirrors_changed);
        return;
    }
    struct worker *w = worker_find(k, o->uid);
    if (!new_) {
        if (w)
            worker_set_removed(w);
        return;
    }
    if (old && !str_eq(old->uid, new_->uid)) { /* deleted and made again between two looks */
        struct worker *before = worker_find(k, old->uid);
        if (before)
            worker_set_removed(before);
    }
    if (!w)
        w = worker_new(k, o->uid, o->namespace_, o->name);
    worker_set_pod(w, new_);
    start_if_ready(k, w);
}

/* ---- files ------------------------------------------------------------------------------------------------- */

static struct str static_uid(struct arena *a, struct kubelet *k, const char *path, struct str text)
{
    struct str all = arena_printf(a, STR_FMT "\nhost:%s file:%s", STR_ARG(text), k->cfg.node_name, path);
    uint64_t h = str_hash(all), g = h;
    for (size_t i = all.n; i-- > 0;)
        g = (g ^ (unsigned char)all.p[i]) * UINT64_C(0x100000001b3);
    return arena_printf(a, "%016llx%016llx", (unsigned long long)h, (unsigned long long)g);
}

static struct str lower(struct arena *a, const char *s)
{
    char *p = arena_cstr(a, str_of(s));
    for (char *c = p; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
    return str_of(p);
}

/* What upstream's kubelet adds to a Pod from a file. */
static void complete_static(struct arena *a, struct kubelet *k, struct val *pod, const char *path, struct str text)
{
    struct val *meta = val_sub_obj(a, pod, N_metadata), *spec = val_sub_obj(a, pod, N_spec), *notes, *toleration;
    char now[TIME_TEXT_MAX];
    if (!val_getstr(meta, N_uid).n)
        val_set_str(a, meta, N_uid, static_uid(a, k, path, text));
    val_set_str(a, meta, N_name,
                arena_printf(a, STR_FMT "-" STR_FMT, STR_ARG(val_getstr(meta, N_name)), STR_ARG(lower(a, k->cfg.node_name))));
    if (!val_getstr(meta, N_namespace).n)
        val_set_str(a, meta, N_namespace, STR("default"));
    notes = val_sub_map(a, meta, N_annotations);
    val_put_str(a, notes, STR(POD_ANNOTATION_HASH), val_getstr(meta, N_uid));
    val_put_str(a, notes, STR(POD_ANNOTATION_SOURCE), STR("file"));
    val_put_str(a, notes, STR(POD_ANNOTATION_SEEN), str_of(time_format_nano(k->started_wall, now)));
    val_set_str(a, spec, N_nodeName, str_of(k->cfg.node_name));
    toleration = val_add_obj(a, val_sub_list(a, spec, N_tolerations));
    val_set_str(a, toleration, N_operator, STR("Exists"));
    val_set_str(a, toleration, N_effect, STR("NoExecute"));
    val_set_str(a, val_sub_obj(a, pod, N_status), N_phase, STR("Pending"));
}

static int decode_static(struct arena *a, struct kubelet *k, const char *path, struct str text, struct object **ret,
                         struct err *e)
{
    struct str json, version, kind;
    struct val *pod;
    struct status s;
    const struct resource *res = &resources[RES_PODS];
    int r = yaml_to_json(a, text, NULL, &json, e);
    if (r == 0)
        r = json_type_meta(a, json, &version, &kind, e);
    if (r == 0 && !(str_is(version, "v1") && str_is(kind, "Pod")))
        r = err_set(e, -EINVAL, "a " STR_FMT " " STR_FMT " is no v1 Pod", STR_ARG(version), STR_ARG(kind));
    if (r == 0)
        r = json_decode(a, res->type, json, 0, NULL, &pod, e);
    if (r == 0 && !obj_name(pod).n)
        r = err_set(e, -EINVAL, "invalid pod: name is needed for the pod");
    if (r < 0)
        return r;
    complete_static(a, k, pod, path, text);
    defaults_apply(a, res->type, pod);
    status_init(&s, a);
    validate_create(res, pod, &s);
    if (status_invalid(&s, STR(""), STR("Pod"), obj_name(pod)))
        return err_set(e, -EINVAL, STR_FMT, STR_ARG(s.message));
    *ret = object_new(res, pod);
    return 0;
}

static void read_static(struct kubelet *k, const char *path, struct map *found)
{
    struct arena a = ARENA_INIT;
    struct str text;
    struct object *o = NULL;
    struct err e = {{0}};
    int r = k->host->ops->read_file(k->host, &a, path, MANIFEST_MAX, &text, &e);
    if (r == 0)
        r = decode_static(&a, k, path, text, &o, &e);
    if (r < 0)
        log_error(LOG, "the static pod %s cannot be used: %s", path, err_text(&e, r));
    else
        object_unref(map_put(found, o->uid, o));
    arena_done(&a);
}

static void scan(struct kubelet *k, struct map *found)
{
    struct arena a = ARENA_INIT;
    char **names;
    if (k->host->ops->list_dir(k->host, &a, k->cfg.static_pod_path, &names) == 0) {
        for (; *names; names++)
            if ((*names)[0] != '.')
                read_static(k, arena_printf(&a, "%s/%s", k->cfg.static_pod_path, *names).p, found);
    } else {
        struct str path = str_of(k->cfg.static_pod_path), text;
        if (k->host->ops->read_file(k->host, &a, path.p, MANIFEST_MAX, &text, NULL) != -ENOENT)
            read_static(k, path.p, found); /* one file instead of a folder of them */
    }
    arena_done(&a);
}

static void unref_object(void *o)
{
    object_unref(o);
}

static void apply_scan(struct kubelet *k, struct map *found)
{
    MAP_EACH (&k->statics, e) {
        struct worker *w = worker_find(k, e->key);
        if (w && !map_has(found, e->key))
            worker_set_removed(w);
    }
    MAP_EACH (found, e) {
        const struct object *o = e->value;
        if (map_has(&k->statics, e->key))
            continue;
        struct worker *w = worker_find(k, o->uid);
        if (!w)
            w = worker_new(k, o->uid, o->namespace_, o->name);
        worker_set_pod(w, o);
    }
    map_done_with(&k->statics, unref_object);
    k->statics = *found;
    *found = MAP_INIT;
}

/* ---- mirrors ------------------------------------------------------------------------------------------------ */

const struct object *mirror_of(struct kubelet *k, const struct val *pod)
{
    const struct object *o = k->pods ? replica_get(k->pods, &resources[RES_PODS], obj_namespace(pod), obj_name(pod)) : NULL;
    return o && pod_is_mirror(o->val) ? o : NULL;
}

static int delete_mirror(struct kubelet *k, const struct object *o, struct arena *a)
{
    struct status s;
    struct call call = *CALL(.res = o->res, .ns = o->namespace_, .name = o->name, .uid = o->uid);
    call.grace_seconds = 0;
    status_init(&s, a);
    return client_delete(k->client, &call, a, NULL, &s);
}

static struct val *make_mirror(struct kubelet *k, const struct val *pod, struct arena *a)
{
    const struct object *node = replica_get(k->world, &resources[RES_NODES], STR_NULL, str_of(k->cfg.node_name));
    struct val *v = val_copy(a, pod), *meta = val_mut(v, N_metadata);
    if (!node)
        return NULL;
    val_put_str(a, val_sub_map(a, meta, N_annotations), STR(POD_ANNOTATION_MIRROR),
                obj_annotation(pod, STR(POD_ANNOTATION_HASH)));
    val_del(meta, N_uid);
    val_del(meta, N_resourceVersion);
    val_del(meta, N_creationTimestamp);
    val_del(v, N_status);
    struct val owner = obj_owner_ref(a, "v1", "Node", node->val);
    val_del(&owner, N_blockOwnerDeletion); /* a node may not hold up its own deletion (NodeRestriction) */
    val_add(a, val_sub_list(a, meta, N_ownerReferences), owner);
    return v;
}

int mirror_ensure(struct worker *w)
{
    struct kubelet *k = w->k;
    struct arena a = ARENA_INIT;
    struct status s;
    struct object *held CLEANUP_OBJECT = object_ref(w->pod);
    const struct val *pod = held->val;
    int r = 0;
    if (!k->client || !replica_synced(k->pods) || !replica_synced(k->world))
        return 0;
    struct object *have CLEANUP_OBJECT = NULL;
    const struct object *now = mirror_of(k, pod);
    have = now ? object_ref(now) : NULL;
    bool good = have && !obj_deleting(have->val) &&
                str_eq(obj_annotation(have->val, STR(POD_ANNOTATION_MIRROR)), obj_annotation(pod, STR(POD_ANNOTATION_HASH)));
    if (have && !good)
        r = delete_mirror(k, have, &a);
    struct val *mirror = good ? NULL : make_mirror(k, pod, &a);
    if (mirror) {
        status_init(&s, &a);
        r = client_create(k->client, CALL(.res = &resources[RES_PODS], .ns = obj_namespace(pod)), mirror, &a, NULL, &s);
        if (r > 0 && r != 409)
            log_warn(LOG, "cannot show the static pod %s/%s in the API: " STR_FMT, w->ns, w->name, STR_ARG(s.message));
    }
    arena_done(&a);
    return r;
}

/* Images of static pods that are no longer there. One at a time, as deleting waits. */
static struct object *stale_mirror(struct kubelet *k)
{
    struct tree_iter it;
    for (tree_seek(&it, replica_tree(k->pods, &resources[RES_PODS]), STR_NULL); it.object; tree_next(&it))
        if (pod_is_mirror(it.object->val) && !static_worker(k, it.object->namespace_, it.object->name))
            return object_ref(it.object);
    return NULL;
}

static void delete_stale_mirrors(struct kubelet *k)
{
    struct object *o;
    while (k->client && replica_synced(k->pods) && (o = stale_mirror(k))) {
        struct arena a = ARENA_INIT;
        int r = delete_mirror(k, o, &a);
        arena_done(&a);
        object_unref(o);
        if (r < 0 || fiber_sleep(MILLISECONDS(100)) < 0)
            return;
    }
}

static void mirrors_fiber(void *arg)
{
    struct kubelet *k = arg;
    while (!fiber_cancelled()) {
        waitq_wait(&k->mirrors_changed, mono_add(os_mono(), SECONDS(20)));
        delete_stale_mirrors(k);
        MAP_EACH (&k->statics, e) {
            struct worker *w = worker_find(k, e->key);
            const struct object *mirror = w ? mirror_of(k, worker_pod(w)) : NULL;
            if (w && w->stage == WORKER_SYNCING && (!mirror || obj_deleting(mirror->val)))
                worker_set_volumes_dirty(w); /* a pass makes it anew */
        }
    }
}

void sources_static_run(void *arg)
{
    struct kubelet *k = arg;
    bool any = k->cfg.static_pod_path && *k->cfg.static_pod_path;
    if (k->client)
        group_spawn(&k->fibers, "mirror-pods", mirrors_fiber, k);
    do {
        struct map found = MAP_INIT;
        if (any)
            scan(k, &found);
        apply_scan(k, &found);
        k->statics_seen = true;
        waitq_wake_all(&k->mirrors_changed);
        sources_reconcile(k);
        if (!any)
            return;
        int r = k->host->ops->watch_dir(k->host, k->cfg.static_pod_path, mono_add(os_mono(), k->cfg.file_check_period));
        if (r == 0)
            fiber_sleep(MILLISECONDS(20)); /* whoever writes may not be done */
        else if (r != -ETIMEDOUT)
            fiber_sleep(k->cfg.file_check_period);
    } while (!fiber_cancelled());
}
