/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a Pod's volumes, by what lies in its folder. Nothing is removed that is still mounted: what a
 * driver mounted only a driver may unmount, and what lies below a mount is not the kubelet's.
 */
#include "node/csi.h"
#include "node/volumes-internal.h"

struct tearing {
    struct kubelet *k;
    struct arena *a;
    struct str uid;
    int r; /* of the first that failed */
    struct err *e;
};

static void keep_first(struct tearing *t, int r, const struct err *why, const char *path)
{
    if (r < 0 && t->r == 0)
        t->r = err_set(t->e, r, "UnmountVolume.TearDown failed for %s : %s", path, err_text(why, r));
}

static bool is_mounted_kind(const char *plugin)
{
    return !strcmp(plugin, "kubernetes.io~local-volume") || !strcmp(plugin, "kubernetes.io~nfs");
}

/* Of the others what is mounted is a file system in memory that was made for the Pod: it goes with the
 * folder. */
static void tear_volume(struct tearing *t, const char *plugin, const char *path)
{
    struct err why = {{0}};
    int r = 0;
    if (!strcmp(plugin, "kubernetes.io~csi"))
        r = csi_tear_down(t->k, path, &why);
    else if (is_mounted_kind(plugin))
        r = host_unmount(t->k->host, path, !strcmp(plugin, "kubernetes.io~nfs"), &why);
    keep_first(t, r, &why, path);
}

static void tear_device(struct tearing *t, const char *plugin, const char *path)
{
    struct err why = {{0}};
    int r = !strcmp(plugin, "kubernetes.io~csi") ? csi_tear_down_block(t->k, path, t->uid, &why) : 0;
    if (r == 0)
        r = host_unmount(t->k->host, path, false, &why); /* the link */
    keep_first(t, r, &why, path);
}

static void each(struct tearing *t, const char *dir,
                 void (*tear)(struct tearing *t, const char *plugin, const char *path))
{
    struct host *h = t->k->host;
    char **plugins, **names;
    if (h->ops->list_dir(h, t->a, dir, &plugins) < 0)
        return;
    for (; *plugins; plugins++)
        if (h->ops->list_dir(h, t->a, arena_printf(t->a, "%s/%s", dir, *plugins).p, &names) == 0)
            for (; *names; names++)
                tear(t, *plugins, arena_printf(t->a, "%s/%s/%s", dir, *plugins, *names).p);
}

int volumes_tear_down(struct kubelet *k, struct str uid, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct str dir = pod_dir(&a, k->cfg.root_dir, uid);
    struct str volumes = arena_printf(&a, STR_FMT "/volumes", STR_ARG(dir));
    struct str devices = arena_printf(&a, STR_FMT "/volumeDevices", STR_ARG(dir));
    struct tearing t = {.k = k, .a = &a, .uid = uid, .e = e};
    t.r = k->host->ops->remove_tree(k->host, arena_printf(&a, STR_FMT "/volume-subpaths", STR_ARG(dir)).p, e);
    if (t.r == 0)
        each(&t, volumes.p, tear_volume);
    if (t.r == 0)
        each(&t, devices.p, tear_device);
    if (t.r == 0)
        t.r = k->host->ops->remove_tree(k->host, volumes.p, e);
    if (t.r == 0)
        t.r = k->host->ops->remove_tree(k->host, devices.p, e);
    if (t.r == 0)
        volume_uses_forget_pod(k, uid);
    arena_done(&a);
    return t.r;
}
