/* SPDX-License-Identifier: Apache-2.0 */
/* The end of CSI volumes, and what an earlier life left: by vol_data.json, the driver does the unmounting. */
#include "node/csi.h"

#include "auth/crypto.h"
#include "grpc.h"

/* ---- calls --------------------------------------------------------------------------------------------- */

int csi_unpublish(struct kubelet *k, const struct csi_data *d, struct str target, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct val *q = val_new(&a, VAL_OBJ);
    const struct val *answer;
    val_set_str(&a, q, N_volume_id, d->handle);
    val_set_str(&a, q, N_target_path, target);
    int r = csi_call(k, d->driver, G_csi_v1_Node_NodeUnpublishVolume, q, &a, &answer, e);
    arena_done(&a);
    return r > 0 ? -EIO : r;
}

int csi_unstage_call(struct kubelet *k, const struct csi_data *d, struct str staging, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct val *q = val_new(&a, VAL_OBJ);
    const struct val *answer;
    unsigned capabilities = 0;
    int r = csi_capabilities(k, d->driver, &capabilities, e);
    val_set_str(&a, q, N_volume_id, d->handle);
    val_set_str(&a, q, N_staging_target_path, staging);
    if (r == 0 && csi_can(capabilities, E_csi_v1_NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME))
        r = csi_call(k, d->driver, G_csi_v1_Node_NodeUnstageVolume, q, &a, &answer, e);
    arena_done(&a);
    return r > 0 ? -EIO : r;
}

/* ---- a Pod's ------------------------------------------------------------------------------------------- */

static int remove_data(struct kubelet *k, struct arena *a, const char *dir, const char *folder, struct err *e)
{
    int r = csi_remove_unmounted(k, arena_printf(a, "%s/%s", dir, folder).p, e);
    if (r == 0)
        r = host_unmount(k->host, arena_printf(a, "%s/vol_data.json", dir).p, false, e);
    return r == 0 ? host_unmount(k->host, dir, false, e) : r;
}

/* Without its data nobody knows whose it was: only then it is unmounted over the driver's head. */
int csi_tear_down(struct kubelet *k, const char *dir, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct csi_data d;
    struct str target = arena_printf(&a, "%s/mount", dir);
    int r = csi_load_data(k, &a, dir, &d, NULL);
    r = r == 0 && d.driver.n ? csi_unpublish(k, &d, target, e) : host_unmount(k->host, target.p, true, e);
    if (r == 0)
        r = remove_data(k, &a, dir, "mount", e);
    arena_done(&a);
    return r;
}

/* ---- the node's ---------------------------------------------------------------------------------------- */

int csi_unstage(struct kubelet *k, struct volume_use *u, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct csi_data d = {.driver = str_of(u->driver), .handle = str_of(u->handle)};
    struct host_stat st;
    if (u->block)
        return csi_unstage_block(k, u, e);
    struct str dir = csi_staging_dir(&a, k, d.driver, d.handle);
    struct str staging = arena_printf(&a, STR_FMT "/globalmount", STR_ARG(dir));
    int r = host_stat(k->host, dir.p, &st) == -ENOENT ? 0 : csi_unstage_call(k, &d, staging, e);
    if (r == 0)
        r = remove_data(k, &a, dir.p, "globalmount", e);
    arena_done(&a);
    return r;
}

/* ---- after a restart ----------------------------------------------------------------------------------- */

void csi_find_one(struct kubelet *k, const struct csi_data *d, bool block, struct str uid)
{
    struct arena a = ARENA_INIT;
    if (d->inline_ || !d->driver.n || !d->handle.n)
        return;
    struct val *source = val_new(&a, VAL_OBJ);
    val_set_str(&a, source, N_driver, d->driver);
    val_set_str(&a, source, N_volumeHandle, d->handle);
    struct volume v = {.type = VOLUME_CSI, .block = block, .spec_name = d->spec_name, .source = source};
    v.unique =
        arena_printf(&a, "kubernetes.io/csi/" STR_FMT "^" STR_FMT, STR_ARG(d->driver), STR_ARG(d->handle));
    volume_use_found(k, &v, uid);
    arena_done(&a);
}

static char **list(struct kubelet *k, struct arena *a, const char *dir)
{
    static char *none[] = {NULL};
    char **names;
    return k->host->ops->list_dir(k->host, a, dir, &names) == 0 ? names : none;
}

void csi_find_volumes(struct kubelet *k, struct str uid)
{
    struct arena a = ARENA_INIT;
    struct csi_data d;
    struct str pod = pod_dir(&a, k->cfg.root_dir, uid);
    struct str mounts = arena_printf(&a, STR_FMT "/volumes/kubernetes.io~csi", STR_ARG(pod));
    struct str devices = arena_printf(&a, STR_FMT "/volumeDevices/kubernetes.io~csi", STR_ARG(pod));
    for (char **n = list(k, &a, mounts.p); *n; n++)
        if (csi_load_data(k, &a, arena_printf(&a, STR_FMT "/%s", STR_ARG(mounts), *n).p, &d, NULL) == 0)
            csi_find_one(k, &d, false, uid);
    for (char **n = list(k, &a, devices.p); *n; n++)
        if (csi_load_data(k, &a, arena_printf(&a, STR_FMT "/%s/data", STR_ARG(csi_devices_dir(&a, k)), *n).p,
                          &d, NULL) == 0)
            csi_find_one(k, &d, true, uid);
    arena_done(&a);
}

void csi_find_staged(struct kubelet *k)
{
    struct arena a = ARENA_INIT;
    struct csi_data d;
    struct str root = arena_printf(&a, "%s/plugins/kubernetes.io/csi", k->cfg.root_dir),
               devices = csi_devices_dir(&a, k);
    for (char **driver = list(k, &a, root.p); *driver; driver++) {
        const char *dir = arena_printf(&a, STR_FMT "/%s", STR_ARG(root), *driver).p;
        if (!strcmp(*driver, "volumeDevices"))
            continue;
        for (char **n = list(k, &a, dir); *n; n++)
            if (csi_load_data(k, &a, arena_printf(&a, "%s/%s", dir, *n).p, &d, NULL) == 0) {
                d.spec_name = d.spec_name.n ? d.spec_name : d.handle;
                csi_find_one(k, &d, false, STR_NULL);
            }
    }
    for (char **n = list(k, &a, devices.p); *n; n++)
        if (csi_load_data(k, &a, arena_printf(&a, STR_FMT "/%s/data", STR_ARG(devices), *n).p, &d, NULL) == 0)
            csi_find_one(k, &d, true, STR_NULL);
    arena_done(&a);
}
