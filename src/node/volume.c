/* SPDX-License-Identifier: Apache-2.0 */
#include "node/volume.h"

#include <stdio.h>

/* ---- folders --------------------------------------------------------------------------------------------- */

struct str pod_dir(struct arena *a, const char *root_dir, struct str uid)
{
    return arena_printf(a, "%s/pods/" STR_FMT, root_dir, STR_ARG(uid));
}

/* Kinds that live in a folder of the Pod. */
static const struct {
    name_id source;
    const char *folder;
} kinds[] = {
    {N_emptyDir, "kubernetes.io~empty-dir"},       {N_configMap, "kubernetes.io~configmap"},
    {N_secret, "kubernetes.io~secret"},            {N_downwardAPI, "kubernetes.io~downward-api"},
    {N_projected, "kubernetes.io~projected"},
};

static int claim_path(struct arena *a, const struct val *pod, struct str claim, const struct volume_world *w,
                      struct str *ret, struct err *e)
{
    const struct val *pv = NULL;
    int r = w->claim ? w->claim(w->ctx, obj_namespace(pod), claim, &pv, e) : 0;
    if (r < 0)
        return r;
    if (!pv)
        return err_set(e, -ENOENT, "persistentvolumeclaim \"" STR_FMT "\" is not bound", STR_ARG(claim));
    struct str path = val_str(val_at(pv, N_spec, N_hostPath, N_path));
    if (!path.n)
        path = val_str(val_at(pv, N_spec, N_local, N_path));
    if (!path.n)
        return err_set(e, -ENOTSUP, "the kind of persistent volume \"" STR_FMT "\" is not supported by this node",
                       STR_ARG(obj_name(pv)));
    *ret = arena_str(a, path);
    return 0;
}

int volume_path(struct arena *a, const char *root_dir, const struct val *pod, const struct val *volume,
                const struct volume_world *w, struct str *ret, struct err *e)
{
    struct str name = val_getstr(volume, N_name);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (val_get(volume, kinds[i].source)) {
            *ret = arena_printf(a, STR_FMT "/volumes/%s/" STR_FMT, STR_ARG(pod_dir(a, root_dir, obj_uid(pod))),
                                kinds[i].folder, STR_ARG(name));
            return 0;
        }
    if (val_get(volume, N_hostPath)) {
        *ret = arena_str(a, val_str(val_at(volume, N_hostPath, N_path)));
        return 0;
    }
    if (val_get(volume, N_persistentVolumeClaim))
        return claim_path(a, pod, val_str(val_at(volume, N_persistentVolumeClaim, N_claimName)), w, ret, e);
    if (val_get(volume, N_ephemeral))
        return claim_path(a, pod, arena_printf(a, STR_FMT "-" STR_FMT, STR_ARG(obj_name(pod)), STR_ARG(name)), w, ret,
                          e);
    return err_set(e, -ENOTSUP, "the kind of volume \"" STR_FMT "\" is not supported by this node", STR_ARG(name));
}

/* ---- files ----------------------------------------------------------------------------------------------- */

struct gather {
    struct arena *arena;
    const struct val *pod;
    const struct volume_world *w;
    struct payload_file *files;
    size_t n, cap;
    int64_t mode;
    int64_t fs_group, fs_user; /* -1: none */
    struct err *e;
};

/* A later source takes the place of an earlier one at the same path. */
static void add_file(struct gather *g, struct str path, struct str content, int64_t mode, int64_t uid)
{
    size_t i = 0;
    while (i < g->n && !str_eq(g->files[i].path, path))
        i++;
    if (i == g->cap) {
        size_t cap = g->cap ? 2 * g->cap : 16;
        struct payload_file *more = ARENA_ARRAY(g->arena, struct payload_file, cap);
        if (g->n)
            memcpy(more, g->files, g->n * sizeof(*more));
        g->files = more;
        g->cap = cap;
    }
    if (i == g->n)
        g->n++;
    g->files[i] = (struct payload_file){arena_str(g->arena, path), content, (unsigned)(mode & 07777), uid};
}

static int64_t item_mode(const struct gather *g, const struct val *item)
{
    return val_int(val_get(item, N_mode), g->mode);
}

static const struct val *data_of(const struct val *object, struct str key)
{
    const struct val *v = val_key(val_get(object, N_data), key);
    return v ? v : val_key(val_get(object, N_binaryData), key);
}

static void add_all(struct gather *g, const struct val *map)
{
    VAL_EACH_ENTRY (map, k, v)
        add_file(g, val_str(k), val_str(v), g->mode, -1);
}

static int from_object(struct gather *g, bool secret, struct str name, const struct val *source)
{
    const struct env_world *w = &g->w->env;
    const struct val *object = NULL, *items = val_get(source, N_items);
    bool optional = val_bool(val_get(source, N_optional), false);
    int r = (secret ? w->secret : w->config_map)(w->ctx, obj_namespace(g->pod), name, &object, g->e);
    if (r < 0)
        return r;
    if (!object && !optional)
        return err_set(g->e, -ENOENT, "%s \"" STR_FMT "\" not found", secret ? "secret" : "configmap", STR_ARG(name));
    if (!val_len(items)) {
        add_all(g, val_get(object, N_data));
        add_all(g, val_get(object, N_binaryData));
        return 0;
    }
    VAL_EACH (items, item) {
        struct str key = val_getstr(item, N_key);
        const struct val *v = data_of(object, key);
        if (v)
            add_file(g, val_getstr(item, N_path), val_str(v), item_mode(g, item), -1);
        else if (!optional)
            return err_set(g->e, -ENOENT, secret ? "references non-existent secret key: " STR_FMT
                                                 : "configmap references non-existent config key: " STR_FMT,
                           STR_ARG(key));
    }
    return 0;
}

static int from_pod(struct gather *g, const struct val *items)
{
    VAL_EACH (items, item) {
        const struct val *field = val_get(item, N_fieldRef), *resource = val_get(item, N_resourceFieldRef);
        struct str value = STR("");
        int r = 0;
        if (field)
            r = env_field_value(g->arena, g->pod, val_getstr(field, N_fieldPath), &g->w->env, &value, g->e);
        else if (resource)
            r = resource_value(g->arena, g->pod, NULL, resource, &g->w->env, &value, g->e);
        if (r < 0)
            return r;
        add_file(g, val_getstr(item, N_path), value, item_mode(g, item), -1);
    }
    return 0;
}

/* Keys and tokens are for the containers' own user alone where there is one (KEP-2451). */
static int64_t private_mode(const struct gather *g)
{
    return g->fs_user >= 0 || g->fs_group >= 0 ? 0600 : g->mode;
}

static int from_token(struct gather *g, const struct val *source)
{
    struct str token;
    if (!g->w->token)
        return err_set(g->e, -ENOTSUP, "there is nobody to ask for service account tokens");
    int r = g->w->token(g->w->ctx, val_getstr(source, N_audience), val_int(val_get(source, N_expirationSeconds), 3600),
                        g->arena, &token, g->e);
    if (r == 0)
        add_file(g, val_getstr(source, N_path), token, private_mode(g), g->fs_user);
    return r;
}

static int from_trust_bundle(struct gather *g, const struct val *source)
{
    struct str pem = STR_NULL;
    int r = g->w->trust_bundle ? g->w->trust_bundle(g->w->ctx, source, g->arena, &pem, g->e) : 0;
    if (r == 0 && !pem.p && !val_bool(val_get(source, N_optional), false))
        r = err_set(g->e, -ENOENT, "no ClusterTrustBundle for \"" STR_FMT "\"", STR_ARG(val_getstr(source, N_path)));
    if (r == 0)
        add_file(g, val_getstr(source, N_path), pem.p ? pem : STR(""), private_mode(g), g->fs_user);
    return r;
}

static int from_projection(struct gather *g, const struct val *source)
{
    const struct val *s;
    if ((s = val_get(source, N_secret)))
        return from_object(g, true, val_getstr(s, N_name), s);
    if ((s = val_get(source, N_configMap)))
        return from_object(g, false, val_getstr(s, N_name), s);
    if ((s = val_get(source, N_downwardAPI)))
        return from_pod(g, val_get(s, N_items));
    if ((s = val_get(source, N_serviceAccountToken)))
        return from_token(g, s);
    if ((s = val_get(source, N_clusterTrustBundle)))
        return from_trust_bundle(g, s);
    return err_set(g->e, -ENOTSUP, "a projected volume source is not supported by this node");
}

static int gather(struct gather *g, const struct val *volume)
{
    const struct val *s;
    int r = 0;
    if ((s = val_get(volume, N_configMap))) {
        g->mode = val_int(val_get(s, N_defaultMode), 0644);
        return from_object(g, false, val_getstr(s, N_name), s);
    }
    if ((s = val_get(volume, N_secret))) {
        g->mode = val_int(val_get(s, N_defaultMode), 0644);
        return from_object(g, true, val_getstr(s, N_secretName), s);
    }
    if ((s = val_get(volume, N_downwardAPI))) {
        g->mode = val_int(val_get(s, N_defaultMode), 0644);
        return from_pod(g, val_get(s, N_items));
    }
    if (!(s = val_get(volume, N_projected)))
        return VOLUME_PLAIN;
    g->mode = val_int(val_get(s, N_defaultMode), 0644);
    VAL_EACH (val_get(s, N_sources), source)
        if (r == 0)
            r = from_projection(g, source);
    return r;
}

/* The user that all containers run as, when it is one and the same; else -1. */
static int64_t common_user(const struct val *pod)
{
    int64_t user = -2;
    for (int k = 0; k < CONTAINER_KINDS; k++)
        VAL_EACH (pod_containers(pod, (enum container_kind)k), c) {
            int64_t one = val_int(security_setting(pod, c, N_runAsUser), -1);
            if (one < 0 || (user != -2 && user != one))
                return -1;
            user = one;
        }
    return user < 0 ? -1 : user;
}

int volume_payload(struct arena *a, const struct val *pod, const struct val *volume, const struct volume_world *w,
                   struct payload *ret, struct err *e)
{
    const struct val *group = val_at(pod, N_spec, N_securityContext, N_fsGroup);
    struct gather g = {.arena = a, .pod = pod, .w = w, .fs_group = val_int(group, -1), .e = e};
    g.fs_user = common_user(pod);
    int r = gather(&g, volume);
    if (r == 0)
        *ret = (struct payload){g.files, g.n, g.fs_group};
    return r;
}

/* ---- setting up ------------------------------------------------------------------------------------------ */

static int64_t tmpfs_size(const struct val *pod, const struct val *empty_dir, int64_t node_memory)
{
    int64_t size = node_memory;
    int64_t own = quantity_units(quantity_or_zero(val_getstr(empty_dir, N_sizeLimit)));
    int64_t pod_limit = pod_limits_declared(pod, "memory") ? quantity_units(pod_amount(pod, N_limits, "memory")) : 0;
    if (pod_limit > 0)
        size = MIN(size, pod_limit);
    if (own > 0)
        size = MIN(size, own);
    return size;
}

static int setup_empty_dir(struct host *h, const struct val *pod, const struct val *source, const char *path,
                           int64_t node_memory, struct err *e)
{
    struct str medium = val_getstr(source, N_medium);
    const struct val *group = val_at(pod, N_spec, N_securityContext, N_fsGroup);
    int r;
    if (str_starts(medium, STR("HugePages")))
        return err_set(e, -ENOTSUP, "emptyDir volumes of medium " STR_FMT " are not supported", STR_ARG(medium));
    if (str_is(medium, "Memory"))
        r = h->ops->tmpfs(h, path, tmpfs_size(pod, source, node_memory), e);
    else
        r = h->ops->make_dir(h, path, 0777, e);
    if (r == 0 && group)
        r = h->ops->own(h, path, val_int(group, 0), false, e);
    return r;
}

/* Secrets and tokens never touch the disk. */
static bool is_secret(const struct val *volume)
{
    return val_get(volume, N_secret) || val_get(volume, N_projected) || val_get(volume, N_downwardAPI);
}

static int setup_one(struct arena *a, struct host *h, const char *root_dir, const struct val *pod,
                     const struct val *volume, const struct volume_world *w, int64_t node_memory, struct err *e)
{
    struct str path;
    struct payload p;
    const struct val *source;
    int r = volume_path(a, root_dir, pod, volume, w, &path, e);
    if (r < 0)
        return r;
    if ((source = val_get(volume, N_emptyDir)))
        return setup_empty_dir(h, pod, source, path.p, node_memory, e);
    if ((source = val_get(volume, N_hostPath)))
        return h->ops->host_path(h, path.p, val_cstr(val_get(source, N_type)), e);
    r = volume_payload(a, pod, volume, w, &p, e);
    if (r == VOLUME_PLAIN)
        return h->ops->host_path(h, path.p, "Directory", e); /* what a claim leads to */
    if (r == 0 && is_secret(volume))
        r = h->ops->tmpfs(h, path.p, 0, e);
    if (r == 0)
        r = h->ops->payload(h, path.p, &p, NULL, e);
    return r;
}

int volumes_setup(struct host *h, const char *root_dir, const struct val *pod, const struct volume_world *w,
                  int64_t node_memory, struct err *e)
{
    int first = 0;
    VAL_EACH (val_at(pod, N_spec, N_volumes), volume) {
        struct arena a = ARENA_INIT;
        struct err one = {{0}};
        int r = setup_one(&a, h, root_dir, pod, volume, w, node_memory, &one);
        if (r < 0 && first == 0)
            first = err_set(e, r, "MountVolume.SetUp failed for volume \"" STR_FMT "\" : %s",
                            STR_ARG(val_getstr(volume, N_name)), err_text(&one, r));
        arena_done(&a);
        if (r == -ECANCELED)
            return r;
    }
    return first;
}

/* ---- where containers see them ---------------------------------------------------------------------------- */

static const struct val *find_volume(const struct val *pod, struct str name)
{
    VAL_EACH (val_at(pod, N_spec, N_volumes), v)
        if (str_eq(val_getstr(v, N_name), name))
            return v;
    return NULL;
}

static unsigned propagation_number(struct str s)
{
    return str_is(s, "HostToContainer") ? 1 : str_is(s, "Bidirectional") ? 2 : 0;
}

static int check_sub(struct str sub, struct err *e)
{
    struct str rest = sub, part;
    if (sub.n && sub.p[0] == '/')
        return err_set(e, -EINVAL, "error SubPath `" STR_FMT "` must not be an absolute path", STR_ARG(sub));
    while (str_next(&rest, '/', &part))
        if (str_is(part, ".."))
            return err_set(e, -EINVAL, "unable to provision SubPath `" STR_FMT "`: must not contain '..'", STR_ARG(sub));
    return 0;
}

struct mounting {
    struct arena *arena;
    struct host *h;
    const char *root_dir;
    const struct val *pod, *container;
    const struct env_list *env;
    const struct volume_world *w;
    struct err *e;
};

/* What the kubelet goes on writing to is not the containers' to change (CVE-2017-1002102). */
static bool is_read_only(const struct val *volume)
{
    return val_get(volume, N_configMap) || is_secret(volume) || val_get(volume, N_image) ||
           val_bool(val_at(volume, N_persistentVolumeClaim, N_readOnly), false);
}

static int mount_one(struct mounting *m, const struct val *mount, size_t index, struct cri_mount *ret)
{
    struct arena *a = m->arena;
    struct str name = val_getstr(mount, N_name), path, sub = val_getstr(mount, N_subPath);
    const struct val *volume = find_volume(m->pod, name);
    if (!volume)
        return err_set(m->e, -EINVAL, "cannot find volume \"" STR_FMT "\" to mount into container \"" STR_FMT "\"",
                       STR_ARG(name), STR_ARG(val_getstr(m->container, N_name)));
    int r = volume_path(a, m->root_dir, m->pod, volume, m->w, &path, m->e);
    if (r == 0 && val_getstr(mount, N_subPathExpr).n)
        sub = env_expand(a, val_getstr(mount, N_subPathExpr), m->env);
    if (r == 0)
        r = check_sub(sub, m->e);
    if (r == 0 && sub.n) {
        struct str target = arena_printf(a, STR_FMT "/volume-subpaths/" STR_FMT "/" STR_FMT "/%zu",
                                         STR_ARG(pod_dir(a, m->root_dir, obj_uid(m->pod))), STR_ARG(name),
                                         STR_ARG(val_getstr(m->container, N_name)), index);
        struct err why = {{0}};
        r = m->h->ops->subpath(m->h, path.p, arena_cstr(a, sub), target.p, &why);
        if (r < 0)
            err_set(m->e, r, "failed to prepare subPath for volumeMount \"" STR_FMT "\" of container \"" STR_FMT "\": %s",
                    STR_ARG(name), STR_ARG(val_getstr(m->container, N_name)), err_text(&why, r));
        path = target;
    }
    if (r < 0)
        return r;
    struct str at = val_getstr(mount, N_mountPath);
    *ret = (struct cri_mount){
        .container_path = at.n && at.p[0] == '/' ? at : arena_printf(a, "/" STR_FMT, STR_ARG(at)),
        .host_path = path,
        .read_only = val_bool(val_get(mount, N_readOnly), false) || is_read_only(volume),
        .propagation = propagation_number(val_getstr(mount, N_mountPropagation)),
    };
    return 0;
}

int volume_mounts(struct arena *a, struct host *h, const char *root_dir, const struct val *pod,
                  const struct val *container, const struct env_list *env, const struct volume_world *w,
                  struct cri_mount **ret, size_t *ret_n, struct err *e)
{
    const struct val *mounts = val_get(container, N_volumeMounts);
    struct mounting m = {a, h, root_dir, pod, container, env, w, e};
    size_t n = 0;
    *ret = ARENA_ARRAY(a, struct cri_mount, val_len(mounts) + 2); /* room for the caller's two */
    VAL_EACH (mounts, mount) {
        int r = mount_one(&m, mount, n, &(*ret)[n]);
        if (r < 0)
            return r;
        n++;
    }
    *ret_n = n;
    return 0;
}

/* ---- references ------------------------------------------------------------------------------------------ */

static void visit_named(reference_visit *visit, void *arg, bool secret, const struct val *ref, name_id name)
{
    struct str s = val_getstr(ref, name);
    if (s.n)
        visit(arg, secret, s);
}

static void container_references(const struct val *c, reference_visit *visit, void *arg)
{
    VAL_EACH (val_get(c, N_envFrom), f) {
        visit_named(visit, arg, false, val_get(f, N_configMapRef), N_name);
        visit_named(visit, arg, true, val_get(f, N_secretRef), N_name);
    }
    VAL_EACH (val_get(c, N_env), v) {
        visit_named(visit, arg, false, val_at(v, N_valueFrom, N_configMapKeyRef), N_name);
        visit_named(visit, arg, true, val_at(v, N_valueFrom, N_secretKeyRef), N_name);
    }
}

void pod_references(const struct val *pod, reference_visit *visit, void *arg)
{
    for (int k = 0; k < CONTAINER_KINDS; k++)
        VAL_EACH (pod_containers(pod, (enum container_kind)k), c)
            container_references(c, visit, arg);
    VAL_EACH (val_at(pod, N_spec, N_imagePullSecrets), s)
        visit_named(visit, arg, true, s, N_name);
    VAL_EACH (val_at(pod, N_spec, N_volumes), v) {
        visit_named(visit, arg, false, val_get(v, N_configMap), N_name);
        visit_named(visit, arg, true, val_get(v, N_secret), N_secretName);
        VAL_EACH (val_at(v, N_projected, N_sources), s) {
            visit_named(visit, arg, false, val_get(s, N_configMap), N_name);
            visit_named(visit, arg, true, val_get(s, N_secret), N_name);
        }
    }
}
