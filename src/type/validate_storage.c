/* SPDX-License-Identifier: Apache-2.0 */
/* PersistentVolumes, claims, and the kinds of storage.k8s.io. */
#include "type/validate-internal.h"
#include "wire/quantity.h"

/* ---- shared by volumes and claims ---------------------------------------------------------------------- */

static const char *const access_modes[] = {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce",
                                           "ReadWriteOncePod", NULL};

static void check_access_modes(struct validation *x, const struct vpath *p, const struct val *modes)
{
    bool one_pod = false, others = false;
    if (!val_len(modes))
        say_required(x, p, "at least 1 access mode is required");
    VAL_EACH (modes, mode) {
        bool known = str_in(val_str(mode), access_modes);
        if (!known)
            say_unsupported(x, p, mode, access_modes);
        if (str_is(val_str(mode), "ReadWriteOncePod"))
            one_pod = true;
        else
            others = others || known;
    }
    if (one_pod && others)
        say_forbidden(x, p, "may not use ReadWriteOncePod with other access modes");
}

static void check_positive(struct validation *x, const struct vpath *p, const struct val *q)
{
    if (quantity_or_zero(val_str(q)).nano <= 0)
        say_invalid(x, p, q, "must be greater than zero");
}

static void check_volume_mode(struct validation *x, const struct vpath *p, const struct val *mode)
{
    static const char *const modes[] = {"Block", "Filesystem", NULL};
    if (mode && !str_in(val_str(mode), modes))
        say_unsupported(x, p, mode, modes);
}

/* ---- PersistentVolume ---------------------------------------------------------------------------------- */

static bool is_source(name_id name)
{
    static const name_id others[] = {
        N_capacity,     N_accessModes, N_claimRef,     N_persistentVolumeReclaimPolicy, N_storageClassName,
        N_mountOptions, N_volumeMode,  N_nodeAffinity, N_volumeAttributesClassName};
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        if (others[i] == name)
            return false;
    return true;
}

static void check_sources(struct validation *x, const struct vpath *p, const struct val *spec)
{
    unsigned n = 0;
    VAL_EACH_MEMBER (spec, m)
        if (is_source(m->name) && n++)
            say_forbidden(x, AT(p, m->name), "may not specify more than 1 volume type");
    if (!n)
        say_required(x, p, "must specify a volume type");
}

static void check_capacity(struct validation *x, const struct vpath *p, const struct val *map)
{
    static const char *const storage[] = {"storage", NULL};
    if (!val_len(map))
        say_required(x, p, NULL);
    if (val_len(map) != 1 || !val_key(map, STR("storage")))
        say_unsupported(x, p, map ?: &(struct val){.kind = VAL_MAP}, storage);
    VAL_EACH_ENTRY (map, k, q) {
        check_quantity(x, KEY(p, val_str(k)), q);
        check_positive(x, KEY(p, val_str(k)), q);
    }
}

static void check_sources_same(struct validation *x, const struct vpath *p, const struct val *v,
                               const struct val *old)
{
    const struct val *lists[] = {v, old};
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
        VAL_EACH_MEMBER (lists[l], m)
            if (is_source(m->name) && !val_equal(val_get(v, m->name), val_get(old, m->name))) {
                struct val *plain = val_copy_shallow(x->s->arena, val_get(v, m->name));
                if (m->name == N_csi && plain && !val_at(old, N_csi, N_controllerExpandSecretRef))
                    val_del(plain, N_controllerExpandSecretRef);
                if (plain && val_equal(plain, val_get(old, m->name)))
                    continue;
                say_forbidden(x, AT_TEXT(p, "persistentvolumesource"),
                              "spec.persistentvolumesource is immutable after creation");
                return;
            }
}

static void rule_volume_spec(struct validation *x, const struct vpath *p, const struct val *v,
                             const struct val *old)
{
    static const char *const policies[] = {"Delete", "Recycle", "Retain", NULL};
    const struct val *policy = val_get(v, N_persistentVolumeReclaimPolicy),
                     *affinity = val_get(v, N_nodeAffinity);
    static const struct vpath root = {0};
    check_access_modes(x, AT(p, N_accessModes), val_get(v, N_accessModes));
    check_capacity(x, AT(p, N_capacity), val_get(v, N_capacity));
    if (val_str(policy).n && !str_in(val_str(policy), policies))
        say_unsupported(x, AT(p, N_persistentVolumeReclaimPolicy), policy, policies);
    if (affinity && val_get(affinity, N_required))
        check_node_selector(x, AT(AT(p, N_nodeAffinity), N_required), val_get(affinity, N_required));
    else if (affinity)
        say_required(x, AT(AT(p, N_nodeAffinity), N_required), "must specify required node constraints");
    check_sources(x, p, v);
    if (val_get(v, N_local) && !val_get(affinity, N_required))
        say_required(x, AT(p, N_nodeAffinity), "Local volume requires node affinity");
    if (str_is(val_getstr(val_get(v, N_hostPath), N_path), "/") && str_is(val_str(policy), "Recycle"))
        say_forbidden(x, AT(p, N_persistentVolumeReclaimPolicy),
                      "may not be 'recycle' for a hostPath mount of '/'");
    if (val_getstr(v, N_storageClassName).n)
        check_text(x, AT(p, N_storageClassName), val_getstr(v, N_storageClassName), check_subdomain);
    check_volume_mode(x, AT(p, N_volumeMode), val_get(v, N_volumeMode));
    if (!old)
        return;
    check_sources_same(x, p, v, old);
    check_same(x, AT(&root, N_volumeMode), val_get(v, N_volumeMode), val_get(old, N_volumeMode));
    if (val_get(old, N_nodeAffinity) && !val_equal(affinity, val_get(old, N_nodeAffinity)))
        say_invalid(x, AT(&root, N_nodeAffinity), affinity,
                    "field is immutable, except for updating from beta label to GA");
}

static void rule_local(struct validation *x, const struct vpath *p, const struct val *v,
                       const struct val *old)
{
    struct str path = val_getstr(v, N_path), rest = path, part;
    while (path.p && str_next(&rest, '/', &part))
        if (str_is(part, "..")) {
            say_invalid_str(x, AT(p, N_path), path, "must not contain '..'");
            return;
        }
}

static void rule_csi_volume(struct validation *x, const struct vpath *p, const struct val *v,
                            const struct val *old)
{
    static const name_id secrets[] = {N_controllerPublishSecretRef, N_controllerExpandSecretRef,
                                      N_nodePublishSecretRef, N_nodeExpandSecretRef};
    check_driver_name(x, AT(p, N_driver), val_getstr(v, N_driver));
    if (!val_getstr(v, N_volumeHandle).n)
        say_required(x, AT(p, N_volumeHandle), NULL);
    for (size_t i = 0; i < ARRAY_SIZE(secrets); i++) {
        const struct val *secret = val_get(v, secrets[i]);
        if (secret && !val_getstr(secret, N_name).n)
            say_required(x, AT(AT(p, secrets[i]), N_name), NULL);
        if (secret && !val_getstr(secret, N_namespace).n)
            say_required(x, AT(AT(p, secrets[i]), N_namespace), NULL);
    }
}

/* ---- PersistentVolumeClaim ----------------------------------------------------------------------------- */

static void check_data_source(struct validation *x, const struct vpath *p, const struct val *ref)
{
    struct str group = val_getstr(ref, N_apiGroup);
    if (!ref)
        return;
    if (!val_getstr(ref, N_name).n)
        say_required(x, AT(p, N_name), NULL);
    if (!val_getstr(ref, N_kind).n)
        say_required(x, AT(p, N_kind), NULL);
    if (!group.n && !str_is(val_getstr(ref, N_kind), "PersistentVolumeClaim"))
        say_invalid(x, p, ref, "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
    if (group.n)
        check_text(x, AT(p, N_apiGroup), group, check_subdomain);
}

void check_claim_spec(struct validation *x, const struct vpath *p, const struct val *spec)
{
    const struct val *storage = val_key(val_at(spec, N_resources, N_requests), STR("storage"));
    const struct vpath *at = KEY(AT(p, N_resources), STR("storage"));
    const struct val *source = val_get(spec, N_dataSource), *ref = val_get(spec, N_dataSourceRef);
    check_access_modes(x, AT(p, N_accessModes), val_get(spec, N_accessModes));
    if (storage)
        check_positive(x, at, storage);
    else
        say_required(x, at, NULL);
    if (val_getstr(spec, N_storageClassName).n)
        check_text(x, AT(p, N_storageClassName), val_getstr(spec, N_storageClassName), check_subdomain);
    check_volume_mode(x, AT(p, N_volumeMode), val_get(spec, N_volumeMode));
    check_data_source(x, AT(p, N_dataSource), source);
    check_data_source(x, AT(p, N_dataSourceRef), ref);
    if (ref && val_getstr(ref, N_namespace).n && source)
        say_invalid(x, p, &(struct val){.kind = VAL_STR, .s = "dataSource"},
                    "may not be specified when dataSourceRef.namespace is specified");
    else if (source && ref &&
             !(val_equal(val_get(source, N_kind), val_get(ref, N_kind)) &&
               val_equal(val_get(source, N_name), val_get(ref, N_name)) &&
               val_equal(val_get(source, N_apiGroup), val_get(ref, N_apiGroup))))
        say_invalid(x, p, spec, "must match dataSourceRef");
}

/* Only the size may grow, and the class of attributes change. */
static void check_claim_update(struct validation *x, const struct vpath *p, const struct val *v,
                               const struct val *old)
{
    const struct val *size = val_key(val_at(v, N_resources, N_requests), STR("storage"));
    const struct val *was = val_key(val_at(old, N_resources, N_requests), STR("storage"));
    struct val *munged = val_copy_shallow(x->s->arena, v);
    bool bound = val_getstr(old, N_volumeName).n > 0;
    val_set_ref(x->s->arena, munged, N_resources, val_get(old, N_resources));
    val_set_ref(x->s->arena, munged, N_volumeAttributesClassName, val_get(old, N_volumeAttributesClassName));
    if (!bound)
        val_set_ref(x->s->arena, munged, N_volumeName, val_get(old, N_volumeName));
    if (!val_get(old, N_storageClassName))
        val_set_ref(x->s->arena, munged, N_storageClassName, NULL);
    struct val *limits =
        val_copy_shallow(x->s->arena, val_get(v, N_resources)) ?: val_new(x->s->arena, VAL_OBJ);
    struct val *requests =
        val_copy(x->s->arena, val_get(limits, N_requests)) ?: val_new(x->s->arena, VAL_MAP);
    if (was && bound &&
        str_is(val_at(x->old, N_status, N_phase) ? val_str(val_at(x->old, N_status, N_phase)) : STR(""),
               "Bound"))
        val_put(x->s->arena, requests, STR("storage"), *was);
    val_set(x->s->arena, limits, N_requests, *requests);
    if (!val_equal(munged, old) || !val_equal(limits, val_get(old, N_resources)))
        say_forbidden(
            x, p,
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
            "bound claims");
    if (size && was && bound &&
        quantity_cmp(quantity_or_zero(val_str(size)), quantity_or_zero(val_str(was))) < 0)
        say_forbidden(x, KEY(AT(AT(p, N_resources), N_requests), STR("storage")),
                      "field can not be less than status.capacity");
    check_same(x, AT(p, N_volumeMode), val_get(v, N_volumeMode), val_get(old, N_volumeMode));
}

static void rule_claim(struct validation *x, const struct vpath *p, const struct val *v,
                       const struct val *old)
{
    check_claim_spec(x, AT(p, N_spec), val_get(v, N_spec));
    if (old && !x->subresource)
        check_claim_update(x, AT(p, N_spec), val_get(v, N_spec), val_get(old, N_spec));
}

static void rule_claim_template(struct validation *x, const struct vpath *p, const struct val *v,
                                const struct val *old)
{
    check_template_meta(x, AT(p, N_metadata), obj_meta(v));
    check_claim_spec(x, AT(p, N_spec), val_get(v, N_spec));
}

/* ---- storage.k8s.io ------------------------------------------------------------------------------------ */

static void check_parameters(struct validation *x, const struct vpath *p, const struct val *parameters)
{
    enum { PARAMETERS_MAX = 512, PARAMETERS_BYTES_MAX = 256 * 1024 };
    size_t total = 0;
    if (val_len(parameters) > PARAMETERS_MAX)
        say_too_long(x, p, PARAMETERS_MAX);
    VAL_EACH_ENTRY (parameters, k, value) {
        if (!k->n)
            say_invalid(x, p, k, "field can not be empty");
        total += k->n + val_str(value).n;
    }
    if (total > PARAMETERS_BYTES_MAX)
        say_too_long(x, p, PARAMETERS_BYTES_MAX);
}

static void check_provisioner(struct validation *x, const struct vpath *p, struct str name)
{
    char *lower = arena_cstr(x->s->arena, name);
    for (char *t = lower; *t; t++)
        if (*t >= 'A' && *t <= 'Z')
            *t = (char)(*t + 'a' - 'A');
    if (name.n)
        check_text(x, p, str_of(lower), check_label_key);
    else
        say_required(x, p, NULL);
}

/* Of a key that stands twice the last one counts. */
static const struct val *expression_of(const struct val *exprs, struct str key)
{
    const struct val *found = NULL;
    VAL_EACH (exprs, e)
        if (str_eq(val_getstr(e, N_key), key))
            found = e;
    return found;
}

static bool has_all(const struct val *list, const struct val *wanted)
{
    VAL_EACH (wanted, w) {
        bool found = false;
        VAL_EACH (list, v)
            found = found || val_equal(v, w);
        if (!found)
            return false;
    }
    return true;
}

/* Does b have what a has? Values are sets. */
static bool topology_within(const struct val *a, const struct val *b)
{
    VAL_EACH (a, e) {
        struct str key = val_getstr(e, N_key);
        const struct val *mine = expression_of(a, key), *theirs = expression_of(b, key);
        if (!theirs || !has_all(val_get(mine, N_values), val_get(theirs, N_values)) ||
            !has_all(val_get(theirs, N_values), val_get(mine, N_values)))
            return false;
    }
    return true;
}

static void check_topologies(struct validation *x, const struct vpath *p, const struct val *list)
{
    enum { TERMS_COMPARED = 1000 }; /* nobody has more, and a client may send millions */
    size_t i = 0;
    VAL_EACH (list, term) {
        size_t j = 0;
        const struct val *exprs = val_get(term, N_matchLabelExpressions);
        /* Upstream compares with as many empty terms as there are terms, too. */
        for (size_t k = 0; !val_len(exprs) && k < val_len(list) && k < TERMS_COMPARED; k++)
            say_duplicate(x, AT(ITEM(p, i), N_matchLabelExpressions), &(struct val){.kind = VAL_STR, .s = ""});
        for (size_t k = 0; k < i && i < TERMS_COMPARED; k++) {
            const struct val *other = val_get(val_item(list, k), N_matchLabelExpressions);
            if (topology_within(exprs, other) && topology_within(other, exprs))
                say_duplicate(x, AT(ITEM(p, i), N_matchLabelExpressions), &(struct val){.kind = VAL_STR, .s = ""});
        }
        check_unique(x, AT(ITEM(p, i), N_matchLabelExpressions), exprs, N_key);
        VAL_EACH (exprs, e) {
            const struct vpath *at = ITEM(AT(ITEM(p, i), N_matchLabelExpressions), j++);
            const struct val *values = val_get(e, N_values);
            check_text(x, AT(at, N_key), val_getstr(e, N_key), check_label_key);
            if (!val_len(values))
                say_required(x, AT(at, N_values), NULL);
            check_unique(x, AT(at, N_values), values, 0);
        }
        i++;
    }
}

static void rule_storage_class(struct validation *x, const struct vpath *p, const struct val *v,
                               const struct val *old)
{
    if (val_getstr(v, N_provisioner).n)
        check_provisioner(x, AT(p, N_provisioner), val_getstr(v, N_provisioner));
    static const char *const policies[] = {"Delete", "Retain", NULL};
    const struct val *policy = val_get(v, N_reclaimPolicy);
    if (val_str(policy).n && !str_in(val_str(policy), policies))
        say_unsupported(x, AT(p, N_reclaimPolicy), policy, policies);
    check_parameters(x, AT(p, N_parameters), val_get(v, N_parameters));
    check_topologies(x, AT(p, N_allowedTopologies), val_get(v, N_allowedTopologies));
}

static void rule_attributes_class(struct validation *x, const struct vpath *p, const struct val *v,
                                  const struct val *old)
{
    static const name_id fixed[] = {N_driverName, N_parameters};
    check_provisioner(x, AT(p, N_driverName), val_getstr(v, N_driverName));
    check_parameters(x, AT(p, N_parameters), val_get(v, N_parameters));
    if (!val_len(val_get(v, N_parameters)))
        say_required(x, AT(p, N_parameters), "must contain at least one key/value pair");
    for (size_t i = 0; old && i < ARRAY_SIZE(fixed); i++)
        if (!val_equal(val_get(v, fixed[i]), val_get(old, fixed[i])))
            say_forbidden(x, AT(p, fixed[i]), "updates to the field are forbidden.");
}

static void rule_csi_driver(struct validation *x, const struct vpath *p, const struct val *v,
                            const struct val *old)
{
    static const char *const modes[] = {"Ephemeral", "Persistent", NULL};
    const struct vpath *at = AT(p, N_spec);
    const struct val *requests = val_at(v, N_spec, N_tokenRequests);
    VAL_EACH (val_at(v, N_spec, N_volumeLifecycleModes), mode)
        if (!str_in(val_str(mode), modes))
            say_unsupported(x, AT(at, N_volumeLifecycleModes), mode, modes);
    check_unique(x, AT(at, N_tokenRequests), requests, N_audience);
}

static void rule_csi_node_driver(struct validation *x, const struct vpath *p, const struct val *v,
                                 const struct val *old)
{
    const struct val *count = val_at(v, N_allocatable, N_count), *keys = val_get(v, N_topologyKeys);
    check_driver_name(x, AT(p, N_name), val_getstr(v, N_name));
    if (!val_getstr(v, N_nodeID).n)
        say_required(x, AT(p, N_nodeID), NULL);
    if (val_getstr(v, N_nodeID).n > 192)
        say_invalid(x, AT(p, N_nodeID), val_get(v, N_nodeID), "must be 192 characters or less");
    if (count && count->i < 0)
        say_invalid(x, AT(AT(p, N_allocatable), N_count), count, "must be greater than or equal to 0");
    for (size_t i = 0; i < val_len(keys); i++) {
        struct str key = val_str(val_item(keys, i));
        if (!key.n)
            say_required(x, p, NULL);
        check_text(x, p, key, check_label_key);
        for (size_t j = 0; j < i; j++)
            if (str_eq(val_str(val_item(keys, j)), key)) {
                say_duplicate(x, p, val_item(keys, i));
                break;
            }
    }
}

static void rule_storage_capacity(struct validation *x, const struct vpath *p, const struct val *v,
                                  const struct val *old)
{
    (void)old;
    check_quantity(x, AT(p, N_capacity), val_get(v, N_capacity));
}

static void rule_csi_node(struct validation *x, const struct vpath *p, const struct val *v,
                          const struct val *old)
{
    check_unique(x, AT(AT(p, N_spec), N_drivers), val_at(v, N_spec, N_drivers), N_name);
}

static void rule_attachment(struct validation *x, const struct vpath *p, const struct val *v,
                            const struct val *old)
{
    const struct val *source = val_get(v, N_source);
    const struct vpath *at = AT(p, N_source);
    const struct val *name = val_get(source, N_persistentVolumeName),
                     *inline_ = val_get(source, N_inlineVolumeSpec);
    check_driver_name(x, AT(p, N_attacher), val_getstr(v, N_attacher));
    check_text(x, AT(p, N_nodeName), val_getstr(v, N_nodeName), check_subdomain);
    if (name && inline_)
        say_forbidden(x, at, "persistentVolumeName and inlineVolumeSpec are mutually exclusive");
    if (!name && !inline_)
        say_required(x, at, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
    if (name && !name->n)
        say_required(x, AT(at, N_persistentVolumeName), "must specify non empty persistentVolumeName");
    else if (name)
        check_text(x, AT(at, N_persistentVolumeName), val_str(name), check_subdomain);
}

const struct rule rules_storage[] = {
    {T_core_v1_CSIPersistentVolumeSource, RULE_OWN, rule_csi_volume},
    {T_core_v1_LocalVolumeSource, 0, rule_local},
    {T_core_v1_PersistentVolumeClaim, 0, rule_claim},
    {T_core_v1_PersistentVolumeClaimSpec, RULE_OWN, NULL},
    {T_core_v1_PersistentVolumeClaimTemplate, 0, rule_claim_template},
    {T_core_v1_PersistentVolumeSpec, RULE_OWN, rule_volume_spec},
    {T_core_v1_TypedLocalObjectReference, RULE_OWN, NULL},
    {T_core_v1_TypedObjectReference, RULE_OWN, NULL},
    {T_core_v1_VolumeNodeAffinity, RULE_OWN, NULL},
    {T_core_v1_VolumeResourceRequirements, RULE_OWN, NULL},
    {T_storage_v1_CSIDriver, 0, rule_csi_driver},
    {T_storage_v1_CSINode, 0, rule_csi_node},
    {T_storage_v1_CSINodeDriver, RULE_OWN, rule_csi_node_driver},
    {T_core_v1_TopologySelectorLabelRequirement, RULE_OWN, NULL},
    {T_storage_v1_CSIStorageCapacity, 0, rule_storage_capacity},
    {T_storage_v1_StorageClass, 0, rule_storage_class},
    {T_storage_v1_VolumeAttributesClass, RULE_OWN, rule_attributes_class},
    {T_storage_v1_VolumeAttachmentSource, RULE_OWN, NULL},
    {T_storage_v1_VolumeAttachmentSpec, RULE_OWN, rule_attachment},
    {T_storage_v1_VolumeNodeResources, RULE_OWN, NULL},
    {0, 0, NULL},
};
