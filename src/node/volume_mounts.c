/* SPDX-License-Identifier: Apache-2.0 */
/* Where containers see volumes: mounts with their sub paths, propagation and modes, and block devices. */
#include "node/volume.h"

#include "base/log.h"

enum { PROPAGATION_PRIVATE, PROPAGATION_HOST_TO_CONTAINER, PROPAGATION_BIDIRECTIONAL };

static const struct volume *find_volume(const struct volume_list *list, struct str name)
{
    for (size_t i = 0; i < list->n; i++)
        if (str_eq(list->items[i].name, name))
            return &list->items[i];
    return NULL;
}

static unsigned propagation_number(struct str s)
{
    return str_is(s, "HostToContainer") ? PROPAGATION_HOST_TO_CONTAINER
           : str_is(s, "Bidirectional") ? PROPAGATION_BIDIRECTIONAL
                                        : PROPAGATION_PRIVATE;
}

/* ---- sub paths ----------------------------------------------------------------------------------------- */

static int check_sub(struct str sub, struct err *e)
{
    struct str rest = sub, part;
    if (sub.n && sub.p[0] == '/')
        return err_set(e, -EINVAL, "error SubPath `" STR_FMT "` must not be an absolute path", STR_ARG(sub));
    while (str_next(&rest, '/', &part))
        if (str_is(part, ".."))
            return err_set(e, -EINVAL, "unable to provision SubPath `" STR_FMT "`: must not contain '..'",
                           STR_ARG(sub));
    return 0;
}

struct mounting {
    struct arena *arena;
    struct host *h;
    const char *root_dir;
    const struct val *pod, *container;
    const struct env_list *env;
    const struct volume_list *volumes;
    struct err *e;
};

static struct str container_name(const struct mounting *m)
{
    return val_getstr(m->container, N_name);
}

static void add_missing(struct mounting *m, struct str *names, size_t *n, struct str name)
{
    const struct str *value = env_find(m->env, name);
    size_t i = 0;
    if (value && value->n)
        return;
    while (i < *n && str_cmp(names[i], name) < 0)
        i++;
    if (i < *n && str_eq(names[i], name))
        return;
    memmove(names + i + 1, names + i, (*n - i) * sizeof(*names));
    names[i] = name;
    (*n)++;
}

/* The variables that a subPathExpr names must be there and say something, or the container does not start. */
static int expand_sub(struct mounting *m, struct str expr, struct str *ret)
{
    struct str *missing = ARENA_ARRAY(m->arena, struct str, expr.n / 3 + 1);
    size_t n = 0;
    for (size_t i = 0; i + 1 < expr.n; i++) {
        if (expr.p[i] != '$')
            continue;
        struct str rest = str_from(expr, i + 2);
        ssize_t end = str_find(rest, ')');
        if (expr.p[++i] == '(' && end >= 0)
            add_missing(m, missing, &n, str_slice(rest, 0, (size_t)end));
    }
    if (n)
        return err_set(m->e, -EINVAL, "missing value for " STR_FMT,
                       STR_ARG(arena_join(m->arena, missing, n, STR(", "))));
    *ret = env_expand(m->arena, expr, m->env);
    return 0;
}

static int find_sub(struct mounting *m, const struct val *mount, struct str *ret)
{
    struct str expr = val_getstr(mount, N_subPathExpr);
    *ret = val_getstr(mount, N_subPath);
    int r = expr.n ? expand_sub(m, expr, ret) : 0;
    return r == 0 ? check_sub(*ret, m->e) : r;
}

/* What went wrong inside is for the log only: it would tell containers about the machine. */
static int mount_sub(struct mounting *m, struct str name, size_t index, struct str sub, struct str *path)
{
    struct err why = {{0}};
    struct str target = arena_printf(m->arena, STR_FMT "/volume-subpaths/" STR_FMT "/" STR_FMT "/%zu",
                                     STR_ARG(pod_dir(m->arena, m->root_dir, obj_uid(m->pod))), STR_ARG(name),
                                     STR_ARG(container_name(m)), index);
    int r = m->h->ops->subpath(m->h, path->p, arena_cstr(m->arena, sub), target.p, &why);
    *path = target;
    if (r >= 0 || r == -ECANCELED)
        return r;
    log_warn("kubelet", STR_FMT "/" STR_FMT ": %s", STR_ARG(obj_namespace(m->pod)), STR_ARG(obj_name(m->pod)),
             err_text(&why, r));
    return err_set(m->e, r,
                   "failed to prepare subPath for volumeMount \"" STR_FMT "\" of container \"" STR_FMT "\"",
                   STR_ARG(name), STR_ARG(container_name(m)));
}

/* ---- read-only, in every depth (KEP-3857) -------------------------------------------------------------- */

/* What the kubelet goes on writing to is not the containers' to change (CVE-2017-1002102). */
static bool is_read_only(const struct volume *v)
{
    return v->type == VOLUME_FILES || v->type == VOLUME_IMAGE ||
           (v->type != VOLUME_HOST_PATH && v->read_only) || (v->pv && v->read_only);
}

static int find_recursive(struct mounting *m, const struct val *mount, bool *ret)
{
    struct str mode = val_getstr(mount, N_recursiveReadOnly), name = val_getstr(mount, N_name);
    struct str propagation = val_getstr(mount, N_mountPropagation);
    *ret = false;
    if (!mode.n || str_is(mode, "Disabled"))
        return 0;
    if (!val_bool(val_get(mount, N_readOnly), false))
        return err_set(m->e, -EINVAL,
                       "failed to resolve recursive read-only mode: volume \"" STR_FMT
                       "\" requested recursive read-only mode, but it is not read-only",
                       STR_ARG(name));
    if (propagation.n && !str_is(propagation, "None"))
        return err_set(
            m->e, -EINVAL,
            "failed to resolve recursive read-only mode: volume \"" STR_FMT
            "\" requested recursive read-only mode, but it is not compatible with propagation " STR_FMT,
            STR_ARG(name), STR_ARG(propagation));
    if (str_is(mode, "Enabled") && !m->volumes->recursive_read_only)
        return err_set(m->e, -ENOTSUP,
                       "failed to resolve recursive read-only mode: volume \"" STR_FMT
                       "\" requested recursive read-only mode, but it is not supported by the runtime",
                       STR_ARG(name));
    *ret = m->volumes->recursive_read_only;
    return 0;
}

/* ---- mounts -------------------------------------------------------------------------------------------- */

static int mount_one(struct mounting *m, const struct val *mount, size_t index, struct cri_mount *ret)
{
    struct str name = val_getstr(mount, N_name), at = val_getstr(mount, N_mountPath), sub = STR("");
    const struct volume *v = find_volume(m->volumes, name);
    struct cri_mount out = {.propagation = propagation_number(val_getstr(mount, N_mountPropagation))};
    if (!v || v->block)
        return err_set(m->e, -EINVAL,
                       "cannot find volume \"" STR_FMT "\" to mount into container \"" STR_FMT "\"",
                       STR_ARG(name), STR_ARG(container_name(m)));
    int r = find_sub(m, mount, &sub);
    if (r == 0)
        r = find_recursive(m, mount, &out.recursive_read_only);
    out.host_path = v->path;
    if (r == 0 && sub.n && v->type != VOLUME_IMAGE)
        r = mount_sub(m, name, index, sub, &out.host_path);
    if (r < 0)
        return r;
    if (v->type == VOLUME_IMAGE) {
        out.image = val_getstr(v->source, N_reference);
        out.image_sub_path = sub;
    }
    out.container_path = at.n && at.p[0] == '/' ? at : arena_printf(m->arena, "/" STR_FMT, STR_ARG(at));
    out.read_only = val_bool(val_get(mount, N_readOnly), false) || is_read_only(v);
    out.relabel =
        v->type == VOLUME_EMPTY_DIR || v->type == VOLUME_FILES || (v->type == VOLUME_LOCAL && !v->read_only);
    out.volume = name;
    *ret = out;
    return 0;
}

/* The runtime follows the link to the device. */
static int device_one(struct mounting *m, const struct val *device, struct cri_device *ret)
{
    struct str name = val_getstr(device, N_name), at = val_getstr(device, N_devicePath);
    const struct volume *v = find_volume(m->volumes, name);
    if (!at.n || at.p[0] != '/')
        return err_set(m->e, -EINVAL, "error DevicePath `" STR_FMT "` must be an absolute path", STR_ARG(at));
    if (!v || !v->block)
        return err_set(m->e, -EINVAL,
                       "cannot find volume \"" STR_FMT "\" to pass into container \"" STR_FMT "\"",
                       STR_ARG(name), STR_ARG(container_name(m)));
    *ret = (struct cri_device){
        .container_path = at, .host_path = v->path, .permissions = v->read_only ? STR("r") : STR("mrw")};
    return 0;
}

int volume_mounts(struct arena *a, struct host *h, const char *root_dir, const struct val *pod,
                  const struct val *container, const struct env_list *env, const struct volume_list *volumes,
                  struct container_volumes *ret, struct err *e)
{
    const struct val *mounts = val_get(container, N_volumeMounts),
                     *devices = val_get(container, N_volumeDevices);
    struct mounting m = {a, h, root_dir, pod, container, env, volumes, e};
    struct container_volumes out = {.mounts = ARENA_ARRAY(a, struct cri_mount, val_len(mounts) + 2),
                                    .devices = ARENA_ARRAY(a, struct cri_device, val_len(devices))};
    VAL_EACH (devices, device) {
        int r = device_one(&m, device, &out.devices[out.n_devices++]);
        if (r < 0)
            return r;
    }
    VAL_EACH (mounts, mount) {
        int r = mount_one(&m, mount, out.n_mounts, &out.mounts[out.n_mounts]);
        if (r < 0)
            return r;
        out.n_mounts++;
    }
    *ret = out;
    return 0;
}
