/* SPDX-License-Identifier: Apache-2.0 */
/* What machines may leave out. A machine without mounts has folders only. */
#include "node/host.h"

static int cannot(struct err *e, const char *what)
{
    return err_set(e, -ENOTSUP, "this machine cannot %s", what);
}

int host_stat(struct host *h, const char *path, struct host_stat *ret)
{
    if (h->ops->stat)
        return h->ops->stat(h, path, ret);
    *ret = (struct host_stat){.kind = 'd', .mode = 0755};
    return 0;
}

bool host_mounted(struct host *h, const char *path)
{
    struct host_stat st;
    return host_stat(h, path, &st) == 0 && st.mounted;
}

int host_mount(struct host *h, const struct host_mount *m, struct err *e)
{
    if (!h->ops->mount)
        return h->ops->make_dir(h, m->target, 0755, e);
    return h->ops->mount(h, m, e);
}

int host_mount_device(struct host *h, const struct host_mount *m, struct err *e)
{
    return h->ops->mount_device ? h->ops->mount_device(h, m, e) : cannot(e, "mount devices");
}

int host_resize(struct host *h, const char *device, const char *mounted, struct err *e)
{
    return h->ops->resize ? h->ops->resize(h, device, mounted, e) : cannot(e, "resize file systems");
}

int host_unmount(struct host *h, const char *path, bool force, struct err *e)
{
    if (!h->ops->unmount)
        return h->ops->remove_tree(h, path, e);
    return h->ops->unmount(h, path, force, e);
}

int host_space(struct host *h, const char *path, struct host_space *ret)
{
    return h->ops->space ? h->ops->space(h, path, ret) : -ENOTSUP;
}

int host_du(struct host *h, const char *path, struct host_space *ret)
{
    return h->ops->du ? h->ops->du(h, path, ret) : -ENOTSUP;
}
