/* SPDX-License-Identifier: Apache-2.0 */
/* ServiceAccount: a pod runs as one, which must exist, and finds its token, the CA and its namespace at the
 * usual place. */
#include "apiserver/admit.h"
#include "auth/crypto.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

#define MOUNT "/var/run/secrets/kubernetes.io/serviceaccount"
#define MIRROR "kubernetes.io/config.mirror"
enum { TOKEN_SECONDS = 3607, FILE_MODE = 420 };

static bool is_pod_create(const struct admission *a)
{
    return admit_is(a, RES_PODS, NULL) && a->op == ADMIT_CREATE;
}

static bool is_mirror(const struct val *pod)
{
    return obj_annotation(pod, STR(MIRROR)).n > 0;
}

static void add_source(struct arena *a, struct val *sources, name_id kind, struct val **ret)
{
    *ret = val_sub_obj(a, val_add_obj(a, sources), kind);
}

/* The projected volume that upstream's plugin makes, field for field. */
static void add_token_volume(struct arena *a, struct val *spec, struct str name)
{
    struct val *volume = val_add_obj(a, val_sub_list(a, spec, N_volumes)), *s, *item;
    val_set_str(a, volume, N_name, name);
    struct val *p = val_sub_obj(a, volume, N_projected);
    val_set_int(a, p, N_defaultMode, FILE_MODE);
    struct val *sources = val_sub_list(a, p, N_sources);
    add_source(a, sources, N_serviceAccountToken, &s);
    val_set_int(a, s, N_expirationSeconds, TOKEN_SECONDS);
    val_set_str(a, s, N_path, STR("token"));
    add_source(a, sources, N_configMap, &s);
    val_set_str(a, s, N_name, STR("kube-root-ca.crt"));
    item = val_add_obj(a, val_sub_list(a, s, N_items));
    val_set_str(a, item, N_key, STR("ca.crt"));
    val_set_str(a, item, N_path, STR("ca.crt"));
    add_source(a, sources, N_downwardAPI, &s);
    item = val_add_obj(a, val_sub_list(a, s, N_items));
    val_set_str(a, item, N_path, STR("namespace"));
    struct val *ref = val_sub_obj(a, item, N_fieldRef);
    val_set_str(a, ref, N_apiVersion, STR("v1"));
    val_set_str(a, ref, N_fieldPath, STR("metadata.namespace"));
}

static bool mounts(const struct val *container)
{
    VAL_EACH(val_get(container, N_volumeMounts), m)
        if (str_is(val_getstr(m, N_mountPath), MOUNT))
            return true;
    return false;
}

static bool mount_in(struct arena *a, struct val *containers, struct str name)
{
    bool any = false;
    for (size_t i = 0; i < val_len(containers); i++) {
        struct val *c = &containers->items[i];
        if (mounts(c))
            continue;
        struct val *m = val_add_obj(a, val_sub_list(a, c, N_volumeMounts));
        val_set_str(a, m, N_name, name);
        val_set_bool(a, m, N_readOnly, true);
        val_set_str(a, m, N_mountPath, STR(MOUNT));
        any = true;
    }
    return any;
}

static void mount_token(struct arena *a, struct val *spec)
{
    struct str name = STR_NULL;
    VAL_EACH(val_get(spec, N_volumes), v)
        if (str_starts(val_getstr(v, N_name), STR("kube-api-access-")) && val_get(v, N_projected))
            name = val_getstr(v, N_name);
    bool there = name.n > 0;
    if (!there)
        name = arena_printf(a, "kube-api-access-%s", random_name(a, 5));
    bool init = mount_in(a, val_mut(spec, N_initContainers), name);
    bool main = mount_in(a, val_mut(spec, N_containers), name);
    if ((init || main) && !there)
        add_token_volume(a, spec, name);
}

static bool wants_token(const struct val *spec, const struct val *account)
{
    const struct val *own = val_get(spec, N_automountServiceAccountToken);
    return own ? val_bool(own, true) : val_bool(val_get(account, N_automountServiceAccountToken), true);
}

static int mirror_pod(struct admission *a)
{
    const struct val *spec = val_get(a->v, N_spec);
    if (val_getstr(spec, N_serviceAccountName).n)
        return admit_forbid(a, "a mirror pod may not reference service accounts");
    VAL_EACH(val_get(spec, N_volumes), v)
        VAL_EACH(val_at(v, N_projected, N_sources), s)
            if (val_get(s, N_serviceAccountToken))
                return admit_forbid(a, "a mirror pod may not use ServiceAccountToken volume projections");
    return 0;
}

int admit_service_account(struct admission *a)
{
    if (!is_pod_create(a))
        return 0;
    if (is_mirror(a->v))
        return mirror_pod(a);
    struct arena *mem = a->r->arena;
    struct val *spec = val_sub_obj(mem, a->v, N_spec);
    if (!val_getstr(spec, N_serviceAccountName).n)
        val_set_str(mem, spec, N_serviceAccountName, STR("default"));
    struct str name = val_getstr(spec, N_serviceAccountName);
    const struct val *account = admit_find(a, RES_SERVICEACCOUNTS, a->ns, name);
    if (!account)
        return admit_forbid(a,
                            "error looking up service account %.*s/%.*s: serviceaccount \"%.*s\" not found",
                            STR_ARG(a->ns), STR_ARG(name), STR_ARG(name));
    val_set_str(mem, spec, N_serviceAccount, name);
    if (wants_token(spec, account))
        mount_token(mem, spec);
    if (!val_len(val_get(spec, N_imagePullSecrets)) && val_len(val_get(account, N_imagePullSecrets)))
        val_set_ref(mem, spec, N_imagePullSecrets, val_copy(mem, val_get(account, N_imagePullSecrets)));
    return 0;
}

static bool may_mount(const struct val *account, name_id list, struct str secret)
{
    VAL_EACH(val_get(account, list), s)
        if (str_eq(val_getstr(s, N_name), secret))
            return true;
    return false;
}

static int forbid_secret(struct admission *a, const struct val *account, struct str what, struct str secret)
{
    return admit_forbid(a, "%.*s secret.secretName=\"%.*s\" is not allowed because service account %.*s does not reference that secret",
                        STR_ARG(what), STR_ARG(secret), STR_ARG(obj_name(account)));
}

/* Environment of containers: a way around volumes (CVE-2023-2728, CVE-2024-3177). */
static int check_containers(struct admission *a, const struct val *account, name_id list, const char *kind)
{
    VAL_EACH(val_at(a->v, N_spec, list), c)
    {
        struct str name = val_getstr(c, N_name);
        VAL_EACH(val_get(c, N_env), env)
        {
            struct str secret = val_str(val_at(env, N_valueFrom, N_secretKeyRef, N_name));
            if (secret.n && !may_mount(account, N_secrets, secret))
                return forbid_secret(a, account, arena_printf(a->r->arena, "%s %.*s with envVar %.*s referencing", kind, STR_ARG(name),
                                                              STR_ARG(val_getstr(env, N_name))), secret);
        }
        VAL_EACH(val_get(c, N_envFrom), from)
        {
            struct str secret = val_str(val_at(from, N_secretRef, N_name));
            if (secret.n && !may_mount(account, N_secrets, secret))
                return forbid_secret(a, account, arena_printf(a->r->arena, "%s %.*s with envFrom referencing", kind, STR_ARG(name)), secret);
        }
    }
    return 0;
}

static int check_volumes(struct admission *a, const struct val *account)
{
    VAL_EACH(val_at(a->v, N_spec, N_volumes), v)
    {
        struct str secret = val_str(val_at(v, N_secret, N_secretName));
        if (secret.n && !may_mount(account, N_secrets, secret))
            return forbid_secret(a, account, STR("volume with"), secret);
    }
    VAL_EACH(val_at(a->v, N_spec, N_imagePullSecrets), s)
        if (!may_mount(account, N_imagePullSecrets, val_getstr(s, N_name)))
            return admit_forbid(a,
                                "imagePullSecret reference \"%.*s\" is not allowed because service account %.*s does not reference that "
                                "imagePullSecret",
                                STR_ARG(val_getstr(s, N_name)), STR_ARG(obj_name(account)));
    return 0;
}

static bool is_ephemeral_update(const struct admission *a)
{
    return a->res->index == RES_PODS && a->op == ADMIT_UPDATE && a->sub && strcmp(a->sub, "ephemeralcontainers") == 0;
}

/* Accounts with kubernetes.io/enforce-mountable-secrets let pods use only the secrets they list. */
int admit_service_account_check(struct admission *a)
{
    bool ephemeral = is_ephemeral_update(a);
    if ((!is_pod_create(a) && !ephemeral) || is_mirror(a->v))
        return 0;
    const struct val *account = admit_find(a, RES_SERVICEACCOUNTS, a->ns, val_str(val_at(a->v, N_spec, N_serviceAccountName)));
    if (!str_is(obj_annotation(account, STR("kubernetes.io/enforce-mountable-secrets")), "true"))
        return 0;
    if (ephemeral)
        return check_containers(a, account, N_ephemeralContainers, "ephemeral container");
    int e = check_volumes(a, account);
    if (!e)
        e = check_containers(a, account, N_initContainers, "init container");
    return e ? e : check_containers(a, account, N_containers, "container");
}
