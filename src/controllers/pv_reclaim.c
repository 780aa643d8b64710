/* SPDX-License-Identifier: Apache-2.0 */
/* persistentvolume-binder, the volumes' half: phases, release when the claim has gone, and what the policy
 * asks for then. */
#include "controllers/pods.h"
#include "controllers/util.h"
#include "controllers/volumes.h"
#include "resources.h"
#include "type/meta.h"

static struct str phase_of(const struct object *volume)
{
    return val_str(val_at(volume->val, N_status, N_phase));
}

static bool is_freed(const struct object *volume) /* and no longer to be called Released again */
{
    return str_is(phase_of(volume), "Released") || str_is(phase_of(volume), "Failed");
}

/* What the controller bound it takes back whole; what the user reserved stays reserved, for a claim of that
 * name. */
static void unbind(struct writes *w, const struct object *volume)
{
    struct val *meta, *v = with_meta(w->arena, volume, &meta);
    struct val *spec =
        val_set(w->arena, v, N_spec, *val_copy_shallow(w->arena, val_get(volume->val, N_spec)));
    if (obj_annotation(volume->val, STR(ANN_BOUND_BY_CONTROLLER)).p) {
        val_unput(own_map(w->arena, meta, N_annotations), STR(ANN_BOUND_BY_CONTROLLER));
        val_del(spec, N_claimRef);
    } else {
        struct val *ref =
            val_set(w->arena, spec, N_claimRef, *val_copy_shallow(w->arena, val_get(spec, N_claimRef)));
        val_del(ref, N_uid);
    }
    writes_update(w, volume->res, v);
}

static void fail(struct writes *w, const struct object *volume, const char *reason, struct str message)
{
    if (str_is(phase_of(volume), "Failed"))
        return;
    pv_write_phase(w, volume, "Failed", message);
    writes_event(w, volume->res, volume->val, true, reason, STR_FMT, STR_ARG(message));
}

/* ---- Recycle (deprecated upstream): a pod empties the volume, which is then free again ---------- */

#define RECYCLER_IMAGE "registry.k8s.io/build-image/debian-base:bookworm-v1.0.6"
#define RECYCLER_SCRIPT                                                                                      \
    "test -e /scrub && find /scrub -mindepth 1 -delete && test -z \"$(ls -A /scrub)\" || exit 1"
enum { RECYCLER_SECONDS = 60, RECYCLER_SECONDS_NFS = 300, RECYCLER_SECONDS_A_GIB = 30 };

static struct val *recycler_container(struct arena *a, struct val *spec)
{
    struct val *c = val_add_obj(a, val_sub_list(a, spec, N_containers));
    val_set_str(a, c, N_name, STR("pv-recycler"));
    val_set_str(a, c, N_image, STR(RECYCLER_IMAGE));
    val_add_str(a, val_sub_list(a, c, N_command), STR("/bin/sh"));
    struct val *args = val_sub_list(a, c, N_args);
    val_add_str(a, args, STR("-c"));
    val_add_str(a, args, STR(RECYCLER_SCRIPT));
    struct val *mount = val_add_obj(a, val_sub_list(a, c, N_volumeMounts));
    val_set_str(a, mount, N_name, STR("vol"));
    val_set_str(a, mount, N_mountPath, STR("/scrub"));
    return c;
}

static void make_recycler(struct writes *w, const struct object *volume, struct str name)
{
    struct arena *a = w->arena;
    struct val *pod = val_new(a, VAL_OBJ), *spec = val_sub_obj(a, pod, N_spec),
               *meta = val_sub_obj(a, pod, N_metadata);
    int64_t gib = quantity_units(volume_size(volume->val)) >> 30;
    val_set_str(a, meta, N_name, name);
    val_set_str(a, meta, N_namespace, STR("default"));
    val_set_str(a, spec, N_restartPolicy, STR("Never"));
    val_set_int(a, spec, N_activeDeadlineSeconds,
                MAX(gib * RECYCLER_SECONDS_A_GIB,
                    (int64_t)(val_at(volume->val, N_spec, N_nfs) ? RECYCLER_SECONDS_NFS : RECYCLER_SECONDS)));
    recycler_container(a, spec);
    struct val *v = val_add_obj(a, val_sub_list(a, spec, N_volumes));
    val_set_str(a, v, N_name, STR("vol"));
    val_set_ref(a, v, N_hostPath, val_at(volume->val, N_spec, N_hostPath));
    val_set_ref(a, v, N_nfs, val_at(volume->val, N_spec, N_nfs));
    writes_add(w, WRITE_CREATE, &resources[RES_PODS], STR("default"), STR_NULL)->body = pod;
}

static void end_recycling(struct writes *w, const struct object *volume, const struct object *pod)
{
    struct str why = val_str(val_at(pod->val, N_status, N_message));
    writes_delete(w, pod);
    if (str_is(pod_phase(pod->val), "Succeeded")) {
        writes_event(w, volume->res, volume->val, false, "VolumeRecycled", "Volume recycled");
        unbind(w, volume);
    } else {
        fail(w, volume, "VolumeFailedRecycle",
             arena_printf(w->arena, "Recycle failed: failed to recycle volume: " STR_FMT,
                          STR_ARG(why.n ? why : STR("pod failed, pod.Status.Message unknown"))));
    }
}

/* Names of live pods with the claim, as upstream lists them; empty when there is none. */
static struct str users_of(const struct snapshot *world, const struct val *volume, struct arena *a)
{
    const struct val *ref = val_at(volume, N_spec, N_claimRef);
    struct str ns = val_getstr(ref, N_namespace), list = STR_NULL;
    TREE_EACH (snapshot_tree(world, &resources[RES_PODS]), ns, it) {
        if (pod_finished(it.object->val))
            continue;
        VAL_EACH (val_at(it.object->val, N_spec, N_volumes), v)
            if (str_eq(pod_claim_name(a, it.object->name, v), val_getstr(ref, N_name))) {
                list = arena_printf(a, STR_FMT "%s" STR_FMT "/" STR_FMT, STR_ARG(list), list.n ? "," : "",
                                    STR_ARG(ns), STR_ARG(it.object->name));
                break;
            }
    }
    return list;
}

static void recycle(const struct snapshot *world, const struct object *volume, struct writes *w)
{
    struct str name = arena_printf(w->arena, "recycler-for-" STR_FMT, STR_ARG(volume->name));
    const struct object *pod = snapshot_get(world, &resources[RES_PODS], STR("default"), name);
    struct str users =
        claim_of_volume(world, volume->val) ? STR_NULL : users_of(world, volume->val, w->arena);
    const struct val *spec = val_get(volume->val, N_spec);
    if (!val_get(spec, N_hostPath) && !val_get(spec, N_nfs)) {
        fail(w, volume, "VolumeFailedRecycle", STR("No recycler plugin found for the volume!"));
    } else if (users.n) {
        writes_event(w, volume->res, volume->val, false, "VolumeFailedRecycle",
                     "Volume is used by pods: " STR_FMT, STR_ARG(users));
        writes_again(w, SECONDS(15));
    } else if (!pod) {
        make_recycler(w, volume, name);
    } else if (pod_finished(pod->val)) {
        end_recycling(w, volume, pod);
    }
}

/* ---- Delete ------------------------------------------------------------------------------------------ */

/* Why nobody will delete what is behind the volume; empty: somebody outside does (a CSI provisioner,
 * local-path). */
static struct str undeletable(struct arena *a, const struct object *volume)
{
    struct str by = obj_annotation(volume->val, STR(ANN_PROVISIONED_BY));
    const struct val *spec = val_get(volume->val, N_spec);
    struct str path = val_str(val_at(spec, N_hostPath, N_path));
    if ((by.n && !str_starts(by, STR("kubernetes.io/"))) ||
        obj_annotation(volume->val, STR(ANN_MIGRATED_TO)).p || val_get(spec, N_csi))
        return STR_NULL;
    if (by.n && !str_is(by, "kubernetes.io/host-path"))
        return arena_printf(a, "no volume plugin matched name: " STR_FMT, STR_ARG(by));
    if (!path.n)
        return arena_printf(a,
                            "error getting deleter volume plugin for volume \"" STR_FMT
                            "\": no deletable volume plugin matched",
                            STR_ARG(volume->name));
    /* Upstream's controller manager removes folders below /tmp of its own machine: a trick of its tests. */
    return str_starts(path, STR("/tmp/")) && path.n > 5
               ? STR("host_path deleter: this controller manager removes no files of its machine")
               : arena_printf(a, "host_path deleter only supports /tmp/.+ but received provided " STR_FMT,
                              STR_ARG(path));
}

static void reclaim(const struct snapshot *world, const struct object *volume, struct writes *w)
{
    struct str policy = val_str(val_at(volume->val, N_spec, N_persistentVolumeReclaimPolicy));
    if (obj_annotation(volume->val, STR(ANN_MIGRATED_TO)).p || !policy.n || str_is(policy, "Retain"))
        return;
    if (str_is(policy, "Recycle")) {
        recycle(world, volume, w);
    } else if (str_is(policy, "Delete")) {
        struct str why = undeletable(w->arena, volume);
        if (why.n)
            fail(w, volume, "VolumeFailedDelete", why);
    } else {
        fail(w, volume, "VolumeUnknownReclaimPolicy",
             STR("Volume has unrecognized PersistentVolumeReclaimPolicy"));
    }
}

/* Said first; what follows from it when that has been seen. */
static void release(const struct snapshot *world, const struct object *volume, struct writes *w)
{
    if (is_freed(volume))
        reclaim(world, volume, w);
    else
        pv_write_phase(w, volume, "Released", STR(""));
}

/* ---- one volume -------------------------------------------------------------------------------------- */

/* That our copy does not have the claim may mean that it is behind: the server is asked before data is given
 * up. */
static void claim_is_gone(const struct snapshot *world, const struct object *volume, struct writes *w)
{
    const struct val *ref = val_at(volume->val, N_spec, N_claimRef);
    if (!is_freed(volume))
        writes_add(w, WRITE_CHECK_ABSENT, &resources[RES_PERSISTENTVOLUMECLAIMS],
                   val_getstr(ref, N_namespace), val_getstr(ref, N_name))
            ->uid = val_getstr(ref, N_uid);
    release(world, volume, w);
}

static void claim_has_no_volume(const struct object *volume, const struct object *claim, struct writes *w)
{
    if (str_eq(volume_mode(val_get(claim->val, N_spec)), volume_mode(val_get(volume->val, N_spec))))
        return; /* the claim's turn: it will find the volume that is kept for it */
    writes_event(w, volume->res, volume->val, true, "VolumeMismatch",
                 "Cannot bind PersistentVolume to requested PersistentVolumeClaim \"" STR_FMT
                 "\" due to incompatible volumeMode.",
                 STR_ARG(claim->name));
    writes_event(w, claim->res, claim->val, true, "VolumeMismatch",
                 "Cannot bind PersistentVolume \"" STR_FMT
                 "\" to requested PersistentVolumeClaim due to incompatible volumeMode.",
                 STR_ARG(volume->name));
}

static void claim_is_elsewhere(const struct snapshot *world, const struct object *volume, struct writes *w)
{
    bool made_for_it =
        obj_annotation(volume->val, STR(ANN_PROVISIONED_BY)).p &&
        str_is(val_str(val_at(volume->val, N_spec, N_persistentVolumeReclaimPolicy)), "Delete");
    if (made_for_it)
        release(world, volume, w);
    else
        unbind(w, volume);
}

int pv_sync_volume(const struct snapshot *world, const struct object *volume, struct writes *w)
{
    struct str uid = val_str(val_at(volume->val, N_spec, N_claimRef, N_uid));
    if (!uid.n) { /* unused, or reserved for a claim that may come */
        pv_write_phase(w, volume, "Available", STR(""));
        return 0;
    }
    const struct object *claim = claim_of_volume(world, volume->val);
    struct str has = claim ? val_str(val_at(claim->val, N_spec, N_volumeName)) : STR_NULL;
    if (!claim || !str_eq(claim->uid, uid))
        claim_is_gone(world, volume, w);
    else if (!has.n)
        claim_has_no_volume(volume, claim, w);
    else if (str_eq(has, volume->name))
        pv_write_phase(w, volume, "Bound", STR(""));
    else
        claim_is_elsewhere(world, volume, w);
    return 0;
}
