/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CSI volumes that are block devices, in upstream's layout below
 * <root>/plugins/kubernetes.io/csi/volumeDevices: staging/<volume>          where the driver stages it
 *   publish/<volume>/<uid>    where the driver puts the device for a Pod
 *   <volume>/data             vol_data.json
 * and in the Pod's folder volumeDevices/kubernetes.io~csi/<volume>, a link to the published device.
 */
#include "node/csi.h"

#include "grpc.h"

struct str csi_devices_dir(struct arena *a, struct kubelet *k)
{
    return arena_printf(a, "%s/plugins/kubernetes.io/csi/volumeDevices", k->cfg.root_dir);
}

static struct str path_of(struct arena *a, struct kubelet *k, const char *what, struct str volume,
                          struct str uid)
{
    return arena_printf(a, STR_FMT "/%s" STR_FMT "%s" STR_FMT, STR_ARG(csi_devices_dir(a, k)), what,
                        STR_ARG(volume), uid.n ? "/" : "", STR_ARG(uid));
}

static int make_parent(struct kubelet *k, struct arena *a, struct str path, struct err *e)
{
    struct str dir = str_slice(path, 0, (size_t)str_rfind(path, '/'));
    return k->host->ops->make_dir(k->host, arena_cstr(a, dir), 0750, e);
}

static int stage(struct volume_job *j, struct volume_use *u, struct csi_volume *c, struct err *e)
{
    c->staging = path_of(j->a, j->k, "staging/", j->v->spec_name, STR_NULL);
    if (!csi_can(c->capabilities, E_csi_v1_NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME)) {
        u->to_unstage = true; /* its folders */
        return 0;
    }
    if (u->staged)
        return 0;
    int r = j->k->host->ops->make_dir(j->k->host, c->staging.p, 0750, e);
    u->to_unstage = true;
    if (r == 0)
        r = csi_stage_call(j, c, e);
    if (r == 0)
        u->staged = true;
    return r;
}

static int link_device(struct volume_job *j, struct str device, struct err *e)
{
    struct host *h = j->k->host;
    struct host_stat st;
    int r = host_stat(h, device.p, &st);
    if (r < 0)
        return err_set(e, r, "the driver has put no device at " STR_FMT, STR_ARG(device));
    r = make_parent(j->k, j->a, j->v->path, e);
    if (r == 0 && (r = h->ops->symlink(h, device.p, j->v->path.p)) < 0)
        err_set(e, r, "cannot make the link " STR_FMT ": %s", STR_ARG(j->v->path), strerror(-r));
    return r;
}

int csi_set_up_block(struct volume_job *j, struct volume_use *u, struct csi_volume *c, struct err *e)
{
    struct csi_data d = {j->v->spec_name, c->handle, c->driver, false};
    struct str data =
        arena_printf(j->a, STR_FMT "/data", STR_ARG(path_of(j->a, j->k, "", j->v->spec_name, STR_NULL)));
    j->stage = "MapVolume.SetUpDevice failed";
    int r = csi_save_data(j->k, j->a, data.p, &d, true, e);
    if (r == 0)
        r = stage(j, u, c, e);
    if (r != 0)
        return r;
    j->stage = "MapVolume.MapPodDevice failed";
    c->target = path_of(j->a, j->k, "publish/", j->v->spec_name, obj_uid(j->pod));
    r = make_parent(j->k, j->a, c->target, e);
    /* The link comes first: it says that the volume is to be unpublished for this Pod. */
    if (r == 0)
        r = make_parent(j->k, j->a, j->v->path, e);
    if (r == 0 && j->k->host->ops->symlink(j->k->host, c->target.p, j->v->path.p) < 0)
        r = err_set(e, -EIO, "cannot make the link " STR_FMT, STR_ARG(j->v->path));
    if (r == 0)
        r = csi_publish(j, c, e);
    return r == 0 ? link_device(j, c->target, e) : r;
}

int csi_tear_down_block(struct kubelet *k, const char *link, struct str uid, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct csi_data d;
    struct str volume = str_from(str_of(link), (size_t)str_rfind(str_of(link), '/') + 1);
    struct str target = path_of(&a, k, "publish/", volume, uid);
    struct str data = arena_printf(&a, STR_FMT "/data", STR_ARG(path_of(&a, k, "", volume, STR_NULL)));
    int r = csi_load_data(k, &a, data.p, &d, NULL);
    r = r == 0 && d.driver.n ? csi_unpublish(k, &d, target, e) : host_unmount(k->host, target.p, true, e);
    if (r == 0)
        r = host_unmount(k->host, target.p, false, e); /* what is left of an empty file */
    arena_done(&a);
    return r;
}

int csi_unstage_block(struct kubelet *k, struct volume_use *u, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct csi_data d = {.driver = str_of(u->driver), .handle = str_of(u->handle)};
    struct str volume = str_of(u->spec_name), staging = path_of(&a, k, "staging/", volume, STR_NULL);
    struct str dir = path_of(&a, k, "", volume, STR_NULL);
    struct host_stat st;
    int r = host_stat(k->host, staging.p, &st) == -ENOENT ? 0 : csi_unstage_call(k, &d, staging, e);
    if (r == 0)
        r = csi_remove_unmounted(k, staging.p, e) == -EBUSY ? -EBUSY : 0;
    if (r == 0)
        r = k->host->ops->remove_tree(k->host, path_of(&a, k, "publish/", volume, STR_NULL).p, e);
    if (r == 0)
        r = k->host->ops->remove_tree(k->host, staging.p, e);
    if (r == 0)
        r = k->host->ops->remove_tree(k->host, dir.p, e);
    arena_done(&a);
    return r;
}
