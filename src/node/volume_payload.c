/* SPDX-License-Identifier: Apache-2.0 */
/* The files of volumes that are made of API objects. Pure: objects come in through struct volume_world. */
#include "node/volume.h"

#include "base/map.h"

/* ---- files ----------------------------------------------------------------------------------------------- */

struct gather {
    struct arena *arena;
    const struct val *pod;
    const struct volume_world *w;
    struct payload_file *files;
    size_t n, cap;
    struct map numbers; /* path -> number of its file, from 1; a ConfigMap may have 100000 keys */
    int64_t mode;
    int64_t fs_group, fs_user; /* -1: none */
    struct err *e;
};

/* A later source takes the place of an earlier one at the same path. */
static void add_file(struct gather *g, struct str path, struct str content, int64_t mode, int64_t uid)
{
    size_t known = (size_t)(uintptr_t)map_get(&g->numbers, path), i = known ? known - 1 : g->n;
    if (i == g->cap) {
        size_t cap = g->cap ? 2 * g->cap : 16;
        struct payload_file *more = ARENA_ARRAY(g->arena, struct payload_file, cap);
        if (g->n)
            memcpy(more, g->files, g->n * sizeof(*more));
        g->files = more;
        g->cap = cap;
    }
    if (!known)
        map_put(&g->numbers, path, (void *)(uintptr_t)++g->n);
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

/* Any of three files: key, certificates, both in one. */
static int from_certificate(struct gather *g, struct str volume, size_t index, const struct val *source)
{
    struct str key, chain, all = val_getstr(source, N_credentialBundlePath), key_path = val_getstr(source, N_keyPath),
                           chain_path = val_getstr(source, N_certificateChainPath);
    int64_t user = val_int(val_get(source, N_user), g->fs_user), mode = val_get(source, N_user) ? 0600 : private_mode(g);
    if (!g->w->certificate)
        return err_set(g->e, -ENOTSUP, "there is nobody to ask for pod certificates");
    int r = g->w->certificate(g->w->ctx, volume, index, source, g->arena, &key, &chain, g->e);
    if (r == 0 && all.n)
        add_file(g, all, arena_printf(g->arena, STR_FMT STR_FMT, STR_ARG(key), STR_ARG(chain)), mode, user);
    if (r == 0 && key_path.n)
        add_file(g, key_path, key, mode, user);
    if (r == 0 && chain_path.n)
        add_file(g, chain_path, chain, mode, user);
    return r;
}

static int from_projection(struct gather *g, const struct val *volume, size_t index, const struct val *source)
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
    if ((s = val_get(source, N_podCertificate)))
        return from_certificate(g, val_getstr(volume, N_name), index, s);
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
    size_t index = 0;
    VAL_EACH (val_get(s, N_sources), source)
        if (r == 0)
            r = from_projection(g, volume, index++, source);
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
    map_done(&g.numbers);
    return r;
}

bool volume_is_secret(const struct val *entry)
{
    return val_get(entry, N_secret) || val_get(entry, N_projected) || val_get(entry, N_downwardAPI);
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
