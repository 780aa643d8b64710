/* SPDX-License-Identifier: Apache-2.0 */
/* DefaultStorageClass, DefaultIngressClass, StorageObjectInUseProtection, PersistentVolumeClaimResize,
 * DenyServiceExternalIPs. */
#include "apiserver/admit.h"
#include "apiserver/state.h"
#include "names.h"
#include "resources.h"
#include "type/claim.h"
#include "type/meta.h"
#include "wire/quantity.h"

/* The class that carries the annotation; of several the newest, then the first by name (KEP-3333). */
static const struct val *default_of(const struct admission *a, uint16_t res, struct str annotation)
{
    const struct val *best = NULL;
    TREE_EACH(state_kind(a->r->server, res)->root, STR(""), it) {
        const struct val *v = it.object->val;
        if (!str_is(obj_annotation(v, annotation), "true"))
            continue;
        if (!best || str_cmp(val_getstr(obj_meta(v), N_creationTimestamp),
                             val_getstr(obj_meta(best), N_creationTimestamp)) > 0)
            best = v;
    }
    return best;
}

int admit_default_storage_class(struct admission *a)
{
    if (!admit_is(a, RES_PERSISTENTVOLUMECLAIMS, NULL))
        return 0;
    struct val *spec = val_sub_obj(a->r->arena, a->v, N_spec);
    struct str beta = obj_annotation(a->v, STR("volume.beta.kubernetes.io/storage-class"));
    if (val_get(spec, N_storageClassName) || beta.p)
        return 0;
    const struct val *class =
        default_of(a, RES_STORAGECLASSES, STR("storageclass.kubernetes.io/is-default-class"));
    if (!class)
        class = default_of(a, RES_STORAGECLASSES, STR("storageclass.beta.kubernetes.io/is-default-class"));
    if (class)
        val_set_str(a->r->arena, spec, N_storageClassName, obj_name(class));
    return 0;
}

int admit_default_ingress_class(struct admission *a)
{
    if (!admit_is(a, RES_INGRESSES, NULL))
        return 0;
    struct val *spec = val_sub_obj(a->r->arena, a->v, N_spec);
    if (val_get(spec, N_ingressClassName) || obj_annotation(a->v, STR("kubernetes.io/ingress.class")).p)
        return 0;
    const struct val *class =
        default_of(a, RES_INGRESSCLASSES, STR("ingressclass.kubernetes.io/is-default-class"));
    if (class)
        val_set_str(a->r->arena, spec, N_ingressClassName, obj_name(class));
    return 0;
}

int admit_storage_in_use(struct admission *a)
{
    const char *finalizer = admit_is(a, RES_PERSISTENTVOLUMECLAIMS, NULL) ? "kubernetes.io/pvc-protection"
                            : admit_is(a, RES_PERSISTENTVOLUMES, NULL)    ? "kubernetes.io/pv-protection"
                            : admit_is(a, RES_VOLUMEATTRIBUTESCLASSES, NULL) ? "kubernetes.io/vac-protection"
                                                                             : NULL;
    if (!finalizer || obj_has_finalizer(a->v, str_of(finalizer)))
        return 0;
    struct val *meta = val_sub_obj(a->r->arena, a->v, N_metadata);
    val_add_str(a->r->arena, val_sub_list(a->r->arena, meta, N_finalizers), str_of(finalizer));
    return 0;
}

int admit_pvc_resize(struct admission *a)
{
    if (!admit_is(a, RES_PERSISTENTVOLUMECLAIMS, NULL) ||
        quantity_cmp(claim_size(a->v), claim_size(a->old)) <= 0)
        return 0;
    if (!str_is(val_str(val_at(a->old, N_status, N_phase)), "Bound"))
        return 0;
    struct str name = val_str(val_at(a->v, N_spec, N_storageClassName));
    const struct val *class = name.n ? admit_find(a, RES_STORAGECLASSES, STR(""), name) : NULL;
    if (val_bool(val_get(class, N_allowVolumeExpansion), false))
        return 0;
    return admit_forbid(
        a, "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc "
           "must support resize");
}

static bool in_list(const struct val *list, struct str s)
{
    VAL_EACH(list, i)
        if (str_eq(val_str(i), s))
            return true;
    return false;
}

/* KEP-2621, CVE-2020-8554: addresses outside of the cluster cannot be taken over through a Service. */
int admit_deny_external_ips(struct admission *a)
{
    if (!admit_is(a, RES_SERVICES, NULL))
        return 0;
    const struct val *was = val_at(a->old, N_spec, N_externalIPs);
    VAL_EACH(val_at(a->v, N_spec, N_externalIPs), ip)
        if (!in_list(was, val_str(ip)))
            return admit_forbid(a, "Use of external IPs is denied by admission control.");
    return 0;
}
