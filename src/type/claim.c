/* SPDX-License-Identifier: Apache-2.0 */
#include "type/claim.h"

#include "type/meta.h"

#define ANN_BETA_CLASS "volume.beta.kubernetes.io/storage-class"

struct str claim_class(const struct val *claim)
{
    struct str beta = obj_annotation(claim, STR(ANN_BETA_CLASS));
    return beta.p ? beta : val_str(val_at(claim, N_spec, N_storageClassName));
}

bool claim_has_class(const struct val *claim)
{
    return obj_annotation(claim, STR(ANN_BETA_CLASS)).p || val_at(claim, N_spec, N_storageClassName);
}

struct str volume_class(const struct val *volume)
{
    return claim_class(volume);
}

struct str volume_mode(const struct val *spec)
{
    struct str mode = val_getstr(spec, N_volumeMode);
    return mode.n ? mode : STR("Filesystem");
}

struct quantity claim_size(const struct val *claim)
{
    return quantity_or_zero(val_str(val_key(val_at(claim, N_spec, N_resources, N_requests), STR("storage"))));
}

struct quantity volume_size(const struct val *volume)
{
    return quantity_or_zero(val_str(val_key(val_at(volume, N_spec, N_capacity), STR("storage"))));
}

bool claim_bound(const struct val *claim)
{
    return val_str(val_at(claim, N_spec, N_volumeName)).n && obj_annotation(claim, STR(ANN_BIND_COMPLETED)).p;
}

bool has_access_mode(const struct val *spec, const char *mode)
{
    VAL_EACH (val_get(spec, N_accessModes), m)
        if (str_is(val_str(m), mode))
            return true;
    return false;
}

static bool has_all_modes(const struct val *volume, const struct val *claim)
{
    VAL_EACH (val_at(claim, N_spec, N_accessModes), m)
        if (!has_access_mode(val_get(volume, N_spec), val_cstr(m)))
            return false;
    return true;
}

bool volume_is_for(const struct val *volume, const struct val *claim)
{
    const struct val *ref = val_at(volume, N_spec, N_claimRef);
    struct str uid = val_getstr(ref, N_uid);
    return ref && str_eq(val_getstr(ref, N_name), obj_name(claim)) &&
           str_eq(val_getstr(ref, N_namespace), obj_namespace(claim)) &&
           (!uid.n || str_eq(uid, obj_uid(claim)));
}

static bool same_attributes_class(const struct val *volume, const struct val *claim)
{
    return str_eq(val_str(val_at(volume, N_spec, N_volumeAttributesClassName)),
                  val_str(val_at(claim, N_spec, N_volumeAttributesClassName)));
}

static bool same_mode(const struct val *volume, const struct val *claim)
{
    return str_eq(volume_mode(val_get(volume, N_spec)), volume_mode(val_get(claim, N_spec)));
}

const char *volume_mismatch(const struct val *volume, const struct val *claim)
{
    if (obj_deleting(volume))
        return "the volume is marked for deletion";
    if (quantity_cmp(volume_size(volume), claim_size(claim)) < 0)
        return "requested PV is too small";
    if (!str_eq(volume_class(volume), claim_class(claim)))
        return "storageClassName does not match";
    if (!same_attributes_class(volume, claim))
        return "volumeAttributesClassName does not match";
    if (!same_mode(volume, claim))
        return "incompatible volumeMode";
    return has_all_modes(volume, claim) ? NULL : "incompatible accessMode";
}

enum volume_fit volume_fit(const struct val *volume, const struct val *claim, const struct selector *selector)
{
    bool ours = volume_is_for(volume, claim);
    if ((val_at(volume, N_spec, N_claimRef) && !ours) || obj_deleting(volume) ||
        !has_all_modes(volume, claim) || quantity_cmp(volume_size(volume), claim_size(claim)) < 0 ||
        !same_mode(volume, claim) || !same_attributes_class(volume, claim))
        return VOLUME_UNFIT;
    if (ours)
        return VOLUME_RESERVED;
    bool free = str_is(val_str(val_at(volume, N_status, N_phase)), "Available");
    return free && str_eq(volume_class(volume), claim_class(claim)) &&
                   selector_matches(selector, obj_labels(volume))
               ? VOLUME_FITS
               : VOLUME_UNFIT;
}

void claim_selector(struct arena *a, const struct val *claim, struct selector *ret)
{
    const struct val *s = val_at(claim, N_spec, N_selector);
    *ret = (struct selector){0};
    if (s && selector_from_val(a, s, ret, NULL) < 0)
        *ret = (struct selector){.nothing = true};
}

struct str pod_claim_name(struct arena *a, struct str pod_name, const struct val *volume)
{
    struct str claim = val_str(val_at(volume, N_persistentVolumeClaim, N_claimName));
    if (claim.n || !val_get(volume, N_ephemeral))
        return claim;
    return arena_printf(a, STR_FMT "-" STR_FMT, STR_ARG(pod_name), STR_ARG(val_getstr(volume, N_name)));
}

bool claim_is_of_pod(const struct val *claim, struct str pod_uid)
{
    return obj_controlled_by(claim, pod_uid);
}

static bool topology_holds(const struct val *term, const struct val *labels)
{
    VAL_EACH (val_get(term, N_matchLabelExpressions), e) {
        const struct val *have = val_key(labels, val_getstr(e, N_key));
        bool in = false;
        VAL_EACH (val_get(e, N_values), v)
            in |= have && str_eq(val_str(v), val_str(have));
        if (!in)
            return false;
    }
    return val_len(val_get(term, N_matchLabelExpressions)) > 0;
}

bool class_allows_node(const struct val *storage_class, const struct val *node_labels)
{
    const struct val *terms = val_get(storage_class, N_allowedTopologies);
    VAL_EACH (terms, t)
        if (topology_holds(t, node_labels))
            return true;
    return !val_len(terms);
}

bool class_is_default(const struct val *c)
{
    return str_is(obj_annotation(c, STR("storageclass.kubernetes.io/is-default-class")), "true") ||
           str_is(obj_annotation(c, STR("storageclass.beta.kubernetes.io/is-default-class")), "true");
}

const struct val *class_better_default(const struct val *a, const struct val *b)
{
    if (!a || !b)
        return a ? a : b;
    int c =
        str_cmp(val_getstr(obj_meta(b), N_creationTimestamp), val_getstr(obj_meta(a), N_creationTimestamp));
    return c > 0 || (c == 0 && str_cmp(obj_name(b), obj_name(a)) < 0) ? b : a;
}
