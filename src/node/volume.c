/* SPDX-License-Identifier: Apache-2.0 */
/* What stands behind an entry of spec.volumes: claims are followed, kinds told apart, folders named. */
#include "node/volume.h"

#include "auth/crypto.h"
#include "resources.h"
#include "type/claim.h"

/* ---- names --------------------------------------------------------------------------------------------- */

struct str pod_dir(struct arena *a, const char *root_dir, struct str uid)
{
    return arena_printf(a, "%s/pods/" STR_FMT, root_dir, STR_ARG(uid));
}

struct str csi_attachment_name(struct arena *a, struct str handle, struct str driver, struct str node)
{
    char hex[65];
    struct str all =
        arena_printf(a, STR_FMT STR_FMT STR_FMT, STR_ARG(handle), STR_ARG(driver), STR_ARG(node));
    return arena_printf(a, "csi-%s", sha256_hex(all, hex));
}

struct str csi_inline_handle(struct arena *a, struct str pod_uid, struct str name)
{
    return csi_attachment_name(a, pod_uid, name, STR(""));
}

/* Kinds, by the member of a volume's entry or of a PersistentVolume's spec. */
static const struct kind {
    name_id source;
    enum volume_type type;
    const char *folder; /* below volumes/ and volumeDevices/; NULL: not in the Pod's folder */
    bool claimed_too;   /* PersistentVolumes may be of it */
    bool block;         /* and be devices */
} kinds[] = {
    {N_emptyDir, VOLUME_EMPTY_DIR, "kubernetes.io~empty-dir", false, false},
    {N_configMap, VOLUME_FILES, "kubernetes.io~configmap", false, false},
    {N_secret, VOLUME_FILES, "kubernetes.io~secret", false, false},
    {N_downwardAPI, VOLUME_FILES, "kubernetes.io~downward-api", false, false},
    {N_projected, VOLUME_FILES, "kubernetes.io~projected", false, false},
    {N_hostPath, VOLUME_HOST_PATH, NULL, true, false},
    {N_local, VOLUME_LOCAL, "kubernetes.io~local-volume", true, true},
    {N_nfs, VOLUME_NFS, "kubernetes.io~nfs", true, false},
    {N_csi, VOLUME_CSI, "kubernetes.io~csi", true, true},
    {N_image, VOLUME_IMAGE, NULL, false, false},
};

static const struct kind *find_kind(const struct val *parent, bool claimed)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (val_get(parent, kinds[i].source) && (!claimed || kinds[i].claimed_too))
            return &kinds[i];
    return NULL;
}

/* ---- who uses it --------------------------------------------------------------------------------------- */

static bool names_it(const struct val *list, struct str name)
{
    VAL_EACH (list, m)
        if (str_eq(val_getstr(m, N_name), name))
            return true;
    return false;
}

void volume_used(const struct val *pod, struct str name, bool *ret_mounted, bool *ret_device)
{
    *ret_mounted = *ret_device = false;
    for (int k = 0; k < CONTAINER_KINDS; k++)
        VAL_EACH (pod_containers(pod, (enum container_kind)k), c) {
            *ret_mounted = *ret_mounted || names_it(val_get(c, N_volumeMounts), name);
            *ret_device = *ret_device || names_it(val_get(c, N_volumeDevices), name);
        }
}

/* ---- claims -------------------------------------------------------------------------------------------- */

/* A Pod must not come to run with what is on its way out; one that does keeps it (and the claim waits for its end). */
static bool has_begun(const struct val *pod)
{
    for (int kind = CK_INIT; kind <= CK_MAIN; kind++)
        VAL_EACH (pod_statuses(pod_status(pod), (enum container_kind)kind), c)
            if (val_getstr(c, N_containerID).n)
                return true;
    return false;
}

static int get_claim(struct arena *a, const struct val *pod, struct str claim, bool ephemeral,
                     const struct volume_world *w, const struct val **ret, struct err *e)
{
    struct err why = {{0}};
    const struct val *pvc = NULL;
    int r = w->get(w->ctx, RES_PERSISTENTVOLUMECLAIMS, obj_namespace(pod), claim, &pvc, &why);
    if (r < 0)
        return r == -ECANCELED ? r
                               : err_set(e, r, "failed to fetch PVC from API server: %s", err_text(&why, r));
    if (obj_deleting(pvc) && !has_begun(pod))
        return err_set(e, -ENOENT, "PVC is being deleted");
    if (!str_is(val_str(val_at(pvc, N_status, N_phase)), "Bound"))
        return err_set(e, -ENOENT, "PVC is not bound");
    if (!val_str(val_at(pvc, N_spec, N_volumeName)).n)
        return err_set(e, -ENOENT, "PVC has empty pvc.Spec.VolumeName");
    if (ephemeral && !claim_is_of_pod(pvc, obj_uid(pod)))
        return err_set(
            e, -EPERM,
            "PVC " STR_FMT "/" STR_FMT " was not created for pod " STR_FMT "/" STR_FMT " (pod is not owner)",
            STR_ARG(obj_namespace(pod)), STR_ARG(claim), STR_ARG(obj_namespace(pod)), STR_ARG(obj_name(pod)));
    *ret = pvc;
    return 0;
}

static int get_volume(const struct val *pvc, const struct volume_world *w, const struct val **ret,
                      struct err *e)
{
    struct str name = val_str(val_at(pvc, N_spec, N_volumeName));
    struct err why = {{0}};
    const struct val *pv = NULL, *ref;
    int r = w->get(w->ctx, RES_PERSISTENTVOLUMES, STR_NULL, name, &pv, &why);
    if (r < 0)
        return r == -ECANCELED ? r
                               : err_set(e, r, "failed to fetch PV " STR_FMT " from API server: %s",
                                         STR_ARG(name), err_text(&why, r));
    ref = val_at(pv, N_spec, N_claimRef);
    if (!ref)
        return err_set(e, -ENOENT,
                       "found PV object " STR_FMT
                       " but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim",
                       STR_ARG(name));
    if (!str_eq(val_getstr(ref, N_uid), obj_uid(pvc)))
        return err_set(e, -EPERM,
                       "found PV object " STR_FMT " but its pv.Spec.ClaimRef.UID " STR_FMT
                       " does not point to claim.UID " STR_FMT,
                       STR_ARG(name), STR_ARG(val_getstr(ref, N_uid)), STR_ARG(obj_uid(pvc)));
    *ret = pv;
    return 0;
}

static int check_mode(const struct val *pod, const struct volume *v, struct err *e)
{
    bool mounted, device;
    volume_used(pod, v->name, &mounted, &device);
    if (mounted && v->block)
        return err_set(e, -EINVAL,
                       "volume " STR_FMT " has volumeMode Block, but is specified in volumeMounts",
                       STR_ARG(v->name));
    if (device && !v->block)
        return err_set(e, -EINVAL,
                       "volume " STR_FMT " has volumeMode Filesystem, but is specified in volumeDevices",
                       STR_ARG(v->name));
    return 0;
}

static int follow_claim(struct arena *a, const struct val *pod, struct volume *v,
                        const struct volume_world *w, struct err *e)
{
    struct str claim = pod_claim_name(a, obj_name(pod), v->entry);
    struct err why = {{0}};
    int r = w->get ? 0 : err_set(&why, -ENOTCONN, "this node has no API server to ask for claims");
    if (r == 0)
        r = get_claim(a, pod, claim, val_get(v->entry, N_ephemeral), w, &v->pvc, &why);
    if (r == 0)
        r = get_volume(v->pvc, w, &v->pv, &why);
    if (r < 0)
        return r == -ECANCELED ? r
                               : err_set(e, r, "error processing PVC " STR_FMT "/" STR_FMT ": %s",
                                         STR_ARG(obj_namespace(pod)), STR_ARG(claim), err_text(&why, r));
    v->spec_name = obj_name(v->pv);
    v->read_only = val_bool(val_at(v->entry, N_persistentVolumeClaim, N_readOnly), false);
    v->block = str_is(volume_mode(val_get(v->pv, N_spec)), "Block");
    return check_mode(pod, v, e);
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static void set_unique(struct arena *a, struct volume *v)
{
    if (!v->pv)
        return;
    if (v->type == VOLUME_CSI)
        v->unique = arena_printf(a, "kubernetes.io/csi/" STR_FMT "^" STR_FMT,
                                 STR_ARG(val_getstr(v->source, N_driver)),
                                 STR_ARG(val_getstr(v->source, N_volumeHandle)));
    else if (v->type == VOLUME_LOCAL)
        v->unique = arena_printf(a, "kubernetes.io/local-volume/" STR_FMT, STR_ARG(v->spec_name));
}

static void set_path(struct arena *a, const char *root_dir, const struct val *pod, const struct kind *k,
                     struct volume *v)
{
    struct str dir = pod_dir(a, root_dir, obj_uid(pod));
    if (k->type == VOLUME_HOST_PATH)
        v->path = arena_str(a, val_getstr(v->source, N_path));
    else if (k->folder)
        v->path = arena_printf(a, STR_FMT "/%s/%s/" STR_FMT "%s", STR_ARG(dir),
                               v->block ? "volumeDevices" : "volumes", k->folder, STR_ARG(v->spec_name),
                               k->type == VOLUME_CSI && !v->block ? "/mount" : "");
}

int volume_resolve(struct arena *a, const char *root_dir, const struct val *pod, const struct val *entry,
                   const struct volume_world *w, struct volume *ret, struct err *e)
{
    struct volume v = {.entry = entry, .name = val_getstr(entry, N_name)};
    bool claimed = val_get(entry, N_persistentVolumeClaim) || val_get(entry, N_ephemeral);
    v.spec_name = v.name;
    int r = claimed ? follow_claim(a, pod, &v, w, e) : 0;
    if (r < 0)
        return r;
    const struct val *parent = claimed ? val_get(v.pv, N_spec) : entry;
    const struct kind *k = find_kind(parent, claimed);
    if (!k || (v.block && !k->block))
        return err_set(e, -ENOTSUP,
                       "no volume plugin matched name: " STR_FMT ": this node does not support its kind%s",
                       STR_ARG(v.spec_name), v.block ? " as a block device" : "");
    v.type = k->type;
    v.source = val_get(parent, k->source);
    if (!claimed)
        v.read_only = val_bool(val_get(v.source, N_readOnly), false);
    set_unique(a, &v);
    set_path(a, root_dir, pod, k, &v);
    *ret = v;
    return 0;
}

struct volume volume_copy(struct arena *a, const struct volume *v)
{
    struct volume c = *v;
    const struct val *spec;
    c.entry = val_copy(a, v->entry);
    c.pvc = val_copy(a, v->pvc);
    c.pv = val_copy(a, v->pv);
    c.name = arena_str(a, v->name);
    c.spec_name = arena_str(a, v->spec_name);
    c.path = arena_str(a, v->path);
    c.unique = arena_str(a, v->unique);
    spec = c.pv ? val_get(c.pv, N_spec) : c.entry;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (kinds[i].type == v->type && val_get(spec, kinds[i].source))
            c.source = val_get(spec, kinds[i].source);
    return c;
}
