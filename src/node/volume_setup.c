/* SPDX-License-Identifier: Apache-2.0 */
/* Setting up what needs no driver: emptyDir, hostPath, files of API objects, local volumes, NFS. Each again
 * at will. */
#include "node/volumes-internal.h"

#include "type/claim.h"

/* ---- emptyDir ------------------------------------------------------------------------------------------ */

static int64_t tmpfs_size(const struct volume_job *j)
{
    int64_t size = node_allocatable_of(j->k, "memory");
    int64_t own = quantity_units(quantity_or_zero(val_getstr(j->v->source, N_sizeLimit)));
    int64_t limit =
        pod_limits_declared(j->pod, "memory") ? quantity_units(pod_amount(j->pod, N_limits, "memory")) : 0;
    if (limit > 0)
        size = MIN(size, limit);
    if (own > 0)
        size = MIN(size, own);
    return size;
}

/* "2Mi" of "hugepages-2Mi" and "HugePages-2Mi" */
static struct str page_size(struct str name)
{
    ssize_t dash = str_find(name, '-');
    return dash < 0 ? STR("") : str_from(name, (size_t)dash + 1);
}

static int add_page_size(const struct val *requests, struct str wanted, struct str *found, struct err *e)
{
    VAL_EACH_ENTRY (requests, name, amount) {
        (void)amount;
        struct str size = page_size(val_str(name));
        if (!str_starts(val_str(name), STR("hugepages-")))
            continue;
        if (wanted.n ? quantity_cmp(quantity_or_zero(size), quantity_or_zero(wanted)) != 0 : false)
            continue;
        if (!wanted.n && found->n && quantity_cmp(quantity_or_zero(size), quantity_or_zero(*found)) != 0)
            return err_set(e, -EINVAL,
                           "medium: HugePages can't be used if container requests multiple huge page sizes");
        *found = size;
    }
    return 0;
}

/* The size of pages that the medium names, or else that containers ask for. */
static int find_page_size(const struct volume_job *j, struct str medium, struct str *ret, struct err *e)
{
    struct str wanted = page_size(medium);
    int r = add_page_size(val_at(j->pod, N_spec, N_resources, N_requests), wanted, ret, e);
    for (int k = CK_INIT; k <= CK_MAIN; k++)
        VAL_EACH (pod_containers(j->pod, (enum container_kind)k), c)
            if (r == 0)
                r = add_page_size(val_at(c, N_resources, N_requests), wanted, ret, e);
    if (r == 0 && !ret->n)
        r = err_set(e, -EINVAL,
                    "medium " STR_FMT
                    ": hugePages storage requested, but there is no resource request for huge pages",
                    STR_ARG(medium));
    return r;
}

static int set_up_huge(struct volume_job *j, struct str medium, struct err *e)
{
    struct str size = STR("");
    struct host *h = j->k->host;
    int r = find_page_size(j, medium, &size, e);
    if (r == 0)
        r = h->ops->make_dir(h, j->v->path.p, 0777, e);
    if (r < 0 || host_mounted(h, j->v->path.p))
        return r;
    struct str option = arena_printf(j->a, "pagesize=" STR_FMT, STR_ARG(size));
    struct host_mount m = {"nodev", j->v->path.p, "hugetlbfs", &option, 1};
    return host_mount(h, &m, e);
}

int set_up_empty_dir(struct volume_job *j, struct err *e)
{
    struct str medium = val_getstr(j->v->source, N_medium);
    struct host *h = j->k->host;
    int64_t group = pod_fs_group(j->pod);
    int r;
    if (str_starts(medium, STR("HugePages")))
        r = set_up_huge(j, medium, e);
    else if (str_is(medium, "Memory"))
        r = h->ops->tmpfs(h, j->v->path.p, tmpfs_size(j), e);
    else if (medium.n)
        r = err_set(e, -EINVAL, "unknown storage medium \"" STR_FMT "\"", STR_ARG(medium));
    else
        r = h->ops->make_dir(h, j->v->path.p, 0777, e);
    if (r == 0 && group >= 0)
        r = h->ops->own(h, j->v->path.p, group, false, e);
    return r;
}

/* ---- hostPath ------------------------------------------------------------------------------------------ */

int set_up_host_path(struct volume_job *j, struct err *e)
{
    struct str rest = j->v->path, part;
    while (str_next(&rest, '/', &part))
        if (str_is(part, ".."))
            return err_set(e, -EINVAL, "invalid HostPath `" STR_FMT "`: must not contain '..'",
                           STR_ARG(j->v->path));
    return j->k->host->ops->host_path(j->k->host, j->v->path.p, val_cstr(val_get(j->v->source, N_type)), e);
}

/* ---- files of API objects ------------------------------------------------------------------------------ */

int set_up_files(struct volume_job *j, struct err *e)
{
    struct host *h = j->k->host;
    struct payload p;
    int r = volume_payload(j->a, j->pod, j->v->entry, &j->world->v, &p, e);
    if (r == 0 && volume_is_secret(j->v->entry))
        r = h->ops->tmpfs(h, j->v->path.p, 0, e);
    return r == 0 ? h->ops->payload(h, j->v->path.p, &p, NULL, e) : r;
}

/* ---- mounts -------------------------------------------------------------------------------------------- */

static const struct str *mount_options(struct volume_job *j, size_t *ret_n)
{
    const struct val *list = j->v->pv ? val_at(j->v->pv, N_spec, N_mountOptions) : NULL;
    struct str *out = ARENA_ARRAY(j->a, struct str, val_len(list) + 1);
    size_t n = 0;
    VAL_EACH (list, o)
        out[n++] = val_str(o);
    if (j->v->read_only)
        out[n++] = STR("ro");
    *ret_n = n;
    return out;
}

int set_up_nfs(struct volume_job *j, struct err *e)
{
    struct host *h = j->k->host;
    struct str server = val_getstr(j->v->source, N_server);
    struct host_mount m = {.target = j->v->path.p, .type = "nfs"};
    if (host_mounted(h, j->v->path.p))
        return 0;
    if (str_starts(server, STR("-"))) /* of programs that it is handed to, an option */
        return err_set(e, -EINVAL, "\"" STR_FMT "\" is no NFS server", STR_ARG(server));
    m.source = arena_printf(j->a, str_find(server, ':') >= 0 ? "[" STR_FMT "]:" STR_FMT : STR_FMT ":" STR_FMT,
                            STR_ARG(server), STR_ARG(val_getstr(j->v->source, N_path)))
                   .p;
    m.options = mount_options(j, &m.n_options);
    int r = h->ops->make_dir(h, j->v->path.p, 0750, e);
    if (r == 0 && (r = host_mount(h, &m, e)) < 0)
        host_unmount(h, j->v->path.p, true, NULL);
    return r;
}

/* ---- local --------------------------------------------------------------------------------------------- */

/* A block device with a file system is mounted once; its Pods get binds of that. */
static int stage_device(struct volume_job *j, struct volume_use *u, struct str *source, struct err *e)
{
    struct host *h = j->k->host;
    struct str type = val_getstr(j->v->source, N_fsType);
    struct str at = arena_printf(j->a, "%s/plugins/kubernetes.io/local-volume/mounts/" STR_FMT,
                                 j->k->cfg.root_dir, STR_ARG(j->v->spec_name));
    struct host_mount m = {
        .source = source->p, .target = at.p, .type = type.n ? arena_cstr(j->a, type) : "ext4"};
    int r = 0;
    m.options = mount_options(j, &m.n_options);
    j->stage = "MountVolume.MountDevice failed";
    u->to_unstage = true;
    if (!host_mounted(h, at.p)) {
        struct err why = {{0}};
        r = h->ops->make_dir(h, at.p, 0750, e);
        if (r == 0 && (r = host_mount_device(h, &m, &why)) < 0) {
            host_unmount(h, at.p, false, NULL);
            err_set(e, r, "local: failed to mount device %s at %s (fstype: %s), error %s", m.source, m.target,
                    m.type, err_text(&why, r));
        }
    }
    *source = at;
    if (r == 0)
        j->stage = "MountVolume.SetUp failed";
    return r;
}

/* Pods of one volume share its group; who comes second hears when it wants another. */
static int own_local(struct volume_job *j, const struct volume_use *u, struct err *e)
{
    struct host *h = j->k->host;
    struct host_stat st;
    int64_t group = pod_fs_group(j->pod);
    if (group < 0 || j->v->read_only)
        return 0;
    if (!volume_used_by_other(u, obj_uid(j->pod)))
        return h->ops->own(h, j->v->path.p, group, fs_group_always(j->pod), e);
    if (host_stat(h, j->v->path.p, &st) == 0 && st.gid != group)
        pod_event(j->k, j->pod, true, "AlreadyMountedVolume",
                  "The requested fsGroup is %lld, but the volume " STR_FMT
                  " has GID %lld. The volume may not be shareable.",
                  (long long)group, STR_ARG(j->v->spec_name), (long long)st.gid);
    return 0;
}

static int bind_local(struct volume_job *j, struct volume_use *u, struct str source, struct err *e)
{
    struct host *h = j->k->host;
    struct str ro = STR("ro");
    struct host_mount m = {source.p, j->v->path.p, "", &ro, j->v->read_only ? 1 : 0};
    if (host_mounted(h, j->v->path.p))
        return 0;
    int r = h->ops->make_dir(h, j->v->path.p, 0750, e);
    if (r == 0)
        r = host_mount(h, &m, e);
    if (r == 0)
        r = own_local(j, u, e);
    if (r < 0)
        host_unmount(h, j->v->path.p, false, NULL);
    return r;
}

static int link_device(struct volume_job *j, struct str device, struct err *e)
{
    struct host *h = j->k->host;
    struct str dir = str_slice(j->v->path, 0, (size_t)str_rfind(j->v->path, '/'));
    int r = h->ops->make_dir(h, arena_cstr(j->a, dir), 0750, e);
    if (r == 0 && (r = h->ops->symlink(h, device.p, j->v->path.p)) < 0)
        err_set(e, r, "cannot make the link " STR_FMT ": %s", STR_ARG(j->v->path), strerror(-r));
    return r;
}

static int local_with(struct volume_job *j, struct volume_use *u, struct err *e)
{
    struct host *h = j->k->host;
    struct str path = val_getstr(j->v->source, N_path), rest = path, part;
    struct host_stat st = {0};
    while (str_next(&rest, '/', &part))
        if (str_is(part, ".."))
            return err_set(e, -EINVAL, "invalid path: " STR_FMT " must not contain '..'", STR_ARG(path));
    int r = host_stat(h, path.p, &st);
    if (r == -ENOENT && !j->v->block && local_path_is_ours(j->k, j->v->pv)) {
        r = h->ops->make_dir(h, path.p, 0777, e);
        st.kind = 'd';
    }
    if (r < 0)
        return err_set(
            e, r, r == -ENOENT ? "path \"" STR_FMT "\" does not exist" : "cannot look at \"" STR_FMT "\"",
            STR_ARG(path));
    if (j->v->block)
        return st.kind == 'b'
                   ? link_device(j, path, e)
                   : err_set(e, -EINVAL, "path \"" STR_FMT "\" is not a block device", STR_ARG(path));
    if (st.kind == 'b')
        r = stage_device(j, u, &path, e);
    else if (st.kind != 'd')
        r = err_set(e, -EINVAL, "only directory and block device are supported");
    return r == 0 ? bind_local(j, u, path, e) : r;
}

int set_up_local(struct volume_job *j, struct err *e)
{
    struct volume_use *u = volume_use_hold(j->k, j->v, obj_uid(j->pod));
    int r = fmutex_lock(&u->lock);
    if (r == 0) {
        r = local_with(j, u, e);
        if (r == 0)
            volume_use_done(u, obj_uid(j->pod));
        fmutex_unlock(&u->lock);
    }
    volume_use_drop(j->k, u);
    return r;
}
