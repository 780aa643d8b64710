/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/podrefs.h"

#include "names.h"
#include "resources.h"
#include "type/meta.h"

/* A name of nothing (.p NULL) stands for any. */
static bool same(struct str referred, struct str name)
{
    return referred.n && (!name.p || str_eq(referred, name));
}

static bool named(const struct val *ref, struct str name)
{
    return same(val_getstr(ref, N_name), name);
}

static bool env_refers(const struct val *c, name_id from_ref, name_id key_ref, struct str name)
{
    VAL_EACH(val_get(c, N_envFrom), e)
        if (named(val_get(e, from_ref), name))
            return true;
    VAL_EACH(val_get(c, N_env), e)
        if (named(val_at(e, N_valueFrom, key_ref), name))
            return true;
    return false;
}

static bool containers_refer(const struct val *spec, name_id from_ref, name_id key_ref, struct str name)
{
    static const name_id lists[] = {N_containers, N_initContainers, N_ephemeralContainers};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        VAL_EACH(val_get(spec, lists[i]), c)
            if (env_refers(c, from_ref, key_ref, name))
                return true;
    return false;
}

static bool projected_refers(const struct val *volume, name_id source, struct str name)
{
    VAL_EACH(val_at(volume, N_projected, N_sources), s)
        if (named(val_get(s, source), name))
            return true;
    return false;
}

/* Volume sources that read a Secret, and the member that names it. */
static const struct {
    name_id source, ref;
} secret_sources[] = {
    {N_azureFile, 0},
    {N_cephfs, N_secretRef},
    {N_cinder, N_secretRef},
    {N_flexVolume, N_secretRef},
    {N_iscsi, N_secretRef},
    {N_rbd, N_secretRef},
    {N_scaleIO, N_secretRef},
    {N_storageos, N_secretRef},
    {N_csi, N_nodePublishSecretRef},
};

static bool volume_has_secret(const struct val *volume, struct str name)
{
    if (same(val_str(val_at(volume, N_secret, N_secretName)), name) ||
        projected_refers(volume, N_secret, name))
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(secret_sources); i++) {
        const struct val *s = val_get(volume, secret_sources[i].source);
        if (!s)
            continue;
        if (secret_sources[i].ref ? named(val_get(s, secret_sources[i].ref), name)
                                  : same(val_getstr(s, N_secretName), name))
            return true;
    }
    return false;
}

static bool refers_secret(const struct val *spec, struct str name)
{
    VAL_EACH(val_get(spec, N_imagePullSecrets), s)
        if (named(s, name))
            return true;
    VAL_EACH(val_get(spec, N_volumes), v)
        if (volume_has_secret(v, name))
            return true;
    return containers_refer(spec, N_secretRef, N_secretKeyRef, name);
}

static bool refers_config_map(const struct val *spec, struct str name)
{
    VAL_EACH(val_get(spec, N_volumes), v)
        if (named(val_get(v, N_configMap), name) || projected_refers(v, N_configMap, name))
            return true;
    return containers_refer(spec, N_configMapRef, N_configMapKeyRef, name);
}

/* Ephemeral claims are named after pod and volume. */
static bool is_ephemeral_claim(const struct val *pod, const struct val *volume, struct str name)
{
    struct str p = obj_name(pod), v = val_getstr(volume, N_name);
    return val_get(volume, N_ephemeral) && (!name.p || (name.n == p.n + 1 + v.n && str_starts(name, p) &&
           name.p[p.n] == '-' && str_ends(name, v)));
}

static bool refers_claim(const struct val *pod, struct str name)
{
    VAL_EACH(val_at(pod, N_spec, N_volumes), v)
        if (same(val_str(val_at(v, N_persistentVolumeClaim, N_claimName)), name) ||
            is_ephemeral_claim(pod, v, name))
            return true;
    return false;
}

static bool refers_resource_claim(const struct val *pod, struct str name)
{
    VAL_EACH(val_at(pod, N_spec, N_resourceClaims), c)
        if (same(val_getstr(c, N_resourceClaimName), name))
            return true;
    if (same(val_str(val_at(pod, N_status, N_extendedResourceClaimStatus, N_resourceClaimName)), name))
        return true;
    VAL_EACH(val_at(pod, N_status, N_resourceClaimStatuses), c)
        if (same(val_getstr(c, N_resourceClaimName), name))
            return true;
    return false;
}

static bool refers(const struct val *pod, uint16_t res, struct str name)
{
    const struct val *spec = val_get(pod, N_spec);
    switch (res) {
    case RES_SECRETS:
        return refers_secret(spec, name);
    case RES_CONFIGMAPS:
        return refers_config_map(spec, name);
    case RES_PERSISTENTVOLUMECLAIMS:
        return refers_claim(pod, name);
    case RES_SERVICEACCOUNTS:
        return same(val_getstr(spec, N_serviceAccountName), name);
    case RES_RESOURCECLAIMS:
        return refers_resource_claim(pod, name);
    }
    return false;
}

bool pod_refers(const struct val *pod, uint16_t res, struct str name)
{
    /* Nodes make mirror pods: they would grant themselves what they name there. */
    return name.n && !obj_annotation(pod, STR("kubernetes.io/config.mirror")).p && refers(pod, res, name);
}

const char *pod_refers_any(const struct val *pod)
{
    static const struct {
        uint16_t res;
        const char *name;
    } kinds[] = {{RES_SERVICEACCOUNTS, "serviceaccounts"}, {RES_SECRETS, "secrets"}, {RES_CONFIGMAPS, "configmaps"},
                 {RES_PERSISTENTVOLUMECLAIMS, "persistentvolumeclaims"}};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (refers(pod, kinds[i].res, STR_NULL))
            return kinds[i].name;
    VAL_EACH(val_at(pod, N_spec, N_volumes), v)
        VAL_EACH(val_at(v, N_projected, N_sources), s)
            if (val_get(s, N_clusterTrustBundle) || val_get(s, N_serviceAccountToken) || val_get(s, N_podCertificate))
                return val_get(s, N_clusterTrustBundle) ? "clustertrustbundles" : val_get(s, N_podCertificate) ? "podcertificates" : "serviceaccounts";
    return val_len(val_at(pod, N_spec, N_resourceClaims)) ? "resourceclaims" : NULL;
}
