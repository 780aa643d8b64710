/* SPDX-License-Identifier: Apache-2.0 */
/* What a request may not decide: status on writes of the spec and the other way round, generation, fields of
 * features that are off. */
#include <pthread.h>

#include "base/os.h"
#include "names.h"
#include "resources.h"
#include "type/defaults.h"
#include "type/meta.h"
#include "type/resourceclaim.h"
#include "type/podresources.h"
#include "type/qos.h"
#include "type/service.h"
#include "type/strategy.h"
#include "types.h"
#include "wire/schema-internal.h"

/* ---- fields of features that are off ------------------------------------------------------------------- */

/* Upstream has them behind gates that are off by default in v1.37; an object that has one keeps it. */
static const struct {
    uint16_t type;
    name_id field;
} off[] = {
    {T_core_v1_EmptyDirVolumeSource, N_mode},           /* EmptyDirVolumeMode */
    {T_core_v1_GRPCAction, N_mode},                     /* GRPCContainerProbeTLS */
    {T_core_v1_HTTPGetAction, N_protocol},              /* H2CContainerProbe */
    {T_core_v1_Lifecycle, N_stopSignal},                /* ContainerStopSignals */
    {T_core_v1_KeyToPath, N_user},                      /* AtomicWriteVolumeUserFields */
    {T_core_v1_SecretVolumeSource, N_defaultUser},      /* AtomicWriteVolumeUserFields */
    {T_core_v1_ConfigMapVolumeSource, N_defaultUser},   /* AtomicWriteVolumeUserFields */
    {T_core_v1_DownwardAPIVolumeSource, N_defaultUser}, /* AtomicWriteVolumeUserFields */
    {T_core_v1_ProjectedVolumeSource, N_defaultUser},   /* AtomicWriteVolumeUserFields */
    {T_core_v1_ServiceAccountTokenProjection, N_user},  /* AtomicWriteVolumeUserFields */
    {T_core_v1_PodCertificateProjection, N_user},       /* AtomicWriteVolumeUserFields */
    {T_core_v1_NodeSpec, N_configSource},               /* DynamicKubeletConfig, gone */
    {T_core_v1_NodeSpec, N_podPreemptionPolicy},        /* PodLevelPreemption */
    {T_batch_v1_JobSpec, N_scheduling},                 /* GenericWorkload */
    {T_core_v1_VolumeMount, N_bindMountOptions},        /* VolumeBindMountOptions */
    {T_coordination_v1_LeaseSpec, N_preferredHolder},   /* CoordinatedLeaderElection */
    {T_coordination_v1_LeaseSpec, N_strategy},          /* CoordinatedLeaderElection */
    {T_discovery_v1_Endpoint, N_deprecatedTopology},    /* left from v1beta1 */
    {T_core_v1_PodSpec, N_schedulingGroup},             /* GenericWorkload */
    {T_core_v1_PodSpec, N_evictionResponders},          /* EvictionRequestAPI */
    {T_resource_v1_ExactDeviceRequest, N_derivedAttributes},          /* DRADerivedAttributes */
    {T_resource_v1_DeviceSubRequest, N_derivedAttributes},            /* DRADerivedAttributes */
    {T_resource_v1_DeviceAttribute, N_ints},                          /* DRAListTypeAttributes */
    {T_resource_v1_DeviceAttribute, N_bools},                         /* DRAListTypeAttributes */
    {T_resource_v1_DeviceAttribute, N_strings},                       /* DRAListTypeAttributes */
    {T_resource_v1_DeviceAttribute, N_versions},                      /* DRAListTypeAttributes */
    {T_resource_v1_DeviceCounterConsumption, N_compatibilityGroups},  /* DRADeviceCompatibilityGroups */
    {T_resource_v1_Device, N_nodeAllocatableResources},               /* DRANodeAllocatableResources */
    {T_resource_v1_ResourceSliceSpec, N_skipNodeOperations},          /* DRAOptionalNodeOperations */
    {T_resource_v1_DeviceRequestAllocationResult, N_skipNodeOperations}, /* DRAOptionalNodeOperations */
    {T_resource_v1_ResourceSliceSpec, N_partitionTypeAttribute},      /* DRAPartitionableDevicesType */
};

static uint8_t *has_off; /* by type: it or something below it is in the table */
static pthread_once_t off_once = PTHREAD_ONCE_INIT;

static bool off_grow(const struct type *t)
{
    for (unsigned i = 0; i < t->n_fields && !has_off[t->index]; i++) {
        const struct type *child = field_object_type(&t->fields[i]);
        if (child && has_off[child->index]) {
            has_off[t->index] = 1;
            return true;
        }
    }
    return false;
}

/* Lives as long as the process. */
static void off_make(void)
{
    has_off = xcalloc(n_types, sizeof(*has_off));
    for (size_t i = 0; i < ARRAY_SIZE(off); i++)
        has_off[off[i].type] = 1;
    for (bool grown = true; grown;) {
        grown = false;
        for (unsigned i = 1; i < n_types; i++)
            grown |= off_grow(&types[i]);
    }
}

static void drop_off(const struct type *t, struct val *v, const struct val *old)
{
    if (t < types || t >= types + n_types || !has_off[t->index])
        return;
    for (size_t i = 0; i < ARRAY_SIZE(off); i++)
        if (off[i].type == t->index && !val_get(old, off[i].field))
            val_del(v, off[i].field);
    for (unsigned i = 0; i < t->n_fields; i++) {
        const struct type *child = field_object_type(&t->fields[i]);
        struct val *m = child ? val_mut(v, t->fields[i].name) : NULL;
        const struct val *was = child ? val_get(old, t->fields[i].name) : NULL;
        if (m && m->kind == VAL_OBJ)
            drop_off(child, m, was);
        for (size_t j = 0; m && m->kind == VAL_LIST && j < m->n; j++)
            if (m->items[j].kind == VAL_OBJ)
                drop_off(child, &m->items[j], val_item(was, j));
        for (size_t j = 0; m && m->kind == VAL_MAP && j < m->n; j++)
            if (m->items[2 * j + 1].kind == VAL_OBJ)
                drop_off(child, &m->items[2 * j + 1], val_key(was, val_str(&m->items[2 * j])));
    }
}

/* ---- small changes ------------------------------------------------------------------------------------- */

/* The metadata as something to write to. */
static struct val *meta_of(struct arena *a, struct val *v)
{
    struct val *meta = val_mut(v, N_metadata);
    if (meta && val_len(meta))
        return meta;
    struct val empty = {.kind = VAL_OBJ};
    val_set_ref(a, v, N_metadata, &empty);
    return val_mut(v, N_metadata);
}

static void set_generation(struct arena *a, struct val *v, int64_t n)
{
    struct val g = val_of_int(n);
    val_set_ref(a, meta_of(a, v), N_generation, n ? &g : NULL);
}

static bool has_status(const struct resource *r)
{
    return resource_subresource(r, STR("status")) != NULL;
}

/* ---- kinds with more to do ----------------------------------------------------------------------------- */

static void put_label(struct arena *a, struct val *map, const char *key, struct str value)
{
    if (!val_key(map, str_of(key)))
        val_put_str(a, map, str_of(key), value);
}

/* A Job finds its Pods by labels that name it; its uid has to be there by now. */
static void create_job(struct arena *a, struct val *job)
{
    struct val *spec = val_sub_obj(a, job, N_spec);
    if (val_bool(val_get(spec, N_manualSelector), false))
        return;
    struct val *labels =
        val_sub_map(a, val_sub_obj(a, val_sub_obj(a, spec, N_template), N_metadata), N_labels);
    put_label(a, labels, "job-name", obj_name(job));
    put_label(a, labels, "batch.kubernetes.io/job-name", obj_name(job));
    put_label(a, labels, "controller-uid", obj_uid(job));
    put_label(a, labels, "batch.kubernetes.io/controller-uid", obj_uid(job));
    put_label(a, val_sub_map(a, val_sub_obj(a, val_mut(job, N_spec), N_selector), N_matchLabels),
              "batch.kubernetes.io/controller-uid", obj_uid(job));
    /* Upstream's defaults find the labels when the Job is read back; a name that is no label never gets
     * there. */
    labels = val_mut(val_mut(val_mut(val_mut(job, N_spec), N_template), N_metadata), N_labels);
    if (!val_len(obj_labels(job)) && !check_label_value(obj_name(job)))
        val_set(a, val_sub_obj(a, job, N_metadata), N_labels, *val_copy(a, labels));
}

/* Upstream keeps count of templates in an annotation that nobody reads any more. */
static void count_template(struct arena *a, struct val *set, const struct val *old)
{
    struct str key = STR("deprecated.daemonset.template.generation");
    int64_t n = 0;
    if (str_to_i64(obj_annotation(old, key), &n) != 0)
        n = 0;
    if (!old || !val_equal(val_at(set, N_spec, N_template), val_at(old, N_spec, N_template)))
        n++;
    struct val *map = val_copy(a, val_get(obj_meta(set), N_annotations)) ?: val_new(a, VAL_MAP);
    val_put_str(a, map, key, arena_printf(a, "%lld", (long long)n));
    val_set(a, val_sub_obj(a, set, N_metadata), N_annotations, *map);
}

static void create_daemon_set(struct arena *a, struct val *set)
{
    count_template(a, set, NULL);
}

/* The one kind whose objects need no name. */
static void create_limit_range(struct arena *a, struct val *range)
{
    if (!obj_name(range).n)
        val_set_str(a, val_sub_obj(a, range, N_metadata), N_name, obj_uid(range));
}

/* matchLabelKeys become requirements of the selector (KEP-3633). */
static void add_label_keys(struct arena *a, struct val *term, name_id keys, const char *op,
                           const struct val *labels)
{
    VAL_EACH (val_get(term, keys), key) {
        const struct val *value = val_key(labels, val_str(key));
        if (!value)
            continue;
        struct val *expr =
            val_add_obj(a, val_sub_list(a, val_mut(term, N_labelSelector), N_matchExpressions));
        val_set_str(a, expr, N_key, val_str(key));
        val_set_str(a, expr, N_operator, str_of(op));
        val_add_str(a, val_sub_list(a, expr, N_values), val_str(value));
    }
}

static void expand_term(struct arena *a, struct val *term, const struct val *labels)
{
    if (!term || !val_get(term, N_labelSelector))
        return;
    add_label_keys(a, term, N_matchLabelKeys, "In", labels);
    add_label_keys(a, term, N_mismatchLabelKeys, "NotIn", labels);
}

static void expand_affinity(struct arena *a, struct val *affinity, const struct val *labels)
{
    struct val *list = val_mut(affinity, N_preferredDuringSchedulingIgnoredDuringExecution);
    for (size_t i = 0; i < val_len(list); i++)
        expand_term(a, val_mut(&list->items[i], N_podAffinityTerm), labels);
    list = val_mut(affinity, N_requiredDuringSchedulingIgnoredDuringExecution);
    for (size_t i = 0; i < val_len(list); i++)
        expand_term(a, &list->items[i], labels);
}

static void expand_scheduling(struct arena *a, struct val *pod)
{
    struct val *spec = val_mut(pod, N_spec), *affinity = val_mut(spec, N_affinity);
    const struct val *labels = obj_labels(pod);
    expand_affinity(a, val_mut(affinity, N_podAffinity), labels);
    expand_affinity(a, val_mut(affinity, N_podAntiAffinity), labels);
    struct val *spread = val_mut(spec, N_topologySpreadConstraints);
    for (size_t i = 0; i < val_len(spread); i++)
        expand_term(a, &spread->items[i], labels);
}

static void create_pod(struct arena *a, struct val *pod)
{
    struct val *status = val_new(a, VAL_OBJ);
    expand_scheduling(a, pod);
    pod_resources_default(a, pod);
    val_set_str(a, status, N_phase, STR("Pending"));
    val_set_str(a, status, N_qosClass, str_of(pod_qos_class(val_get(pod, N_spec))));
    if (val_len(val_at(pod, N_spec, N_schedulingGates))) {
        struct val *c = val_add_obj(a, val_sub_list(a, status, N_conditions));
        val_set_str(a, c, N_type, STR("PodScheduled"));
        val_set_str(a, c, N_status, STR("False"));
        val_set_time(a, c, N_lastTransitionTime, os_wall());
        val_set_str(a, c, N_reason, STR("SchedulingGated"));
        val_set_str(a, c, N_message, STR("Scheduling is blocked due to non-empty scheduling gates"));
    }
    val_set(a, pod, N_status, *status);
}

static void create_service(struct arena *a, struct val *service)
{
    (void)a;
    service_drop_internal(service);
}

static void set_phase(struct arena *a, struct val *v, const char *phase)
{
    val_set_str(a, val_sub_obj(a, v, N_status), N_phase, str_of(phase));
}

static void create_volume(struct arena *a, struct val *pv)
{
    set_phase(a, pv, "Pending");
    val_set_time(a, val_mut(pv, N_status), N_lastPhaseTransitionTime, os_wall());
}

static bool core_group(const struct val *ref)
{
    return !val_getstr(ref, N_apiGroup).n;
}

/* dataSource and dataSourceRef say the same where the old field can (KEP-1495). */
static void create_claim(struct arena *a, struct val *pvc)
{
    set_phase(a, pvc, "Pending");
    struct val *spec = val_sub_obj(a, pvc, N_spec);
    const struct val *source = val_get(spec, N_dataSource), *ref = val_get(spec, N_dataSourceRef);
    if (source && !((core_group(source) && str_is(val_getstr(source, N_kind), "PersistentVolumeClaim")) ||
                    (str_is(val_getstr(source, N_apiGroup), "snapshot.storage.k8s.io") &&
                     str_is(val_getstr(source, N_kind), "VolumeSnapshot")))) {
        val_del(spec, N_dataSource);
        source = NULL;
        ref = val_get(spec, N_dataSourceRef);
    }
    if (source && !ref)
        val_set(a, spec, N_dataSourceRef, *val_copy(a, source));
    else if (ref && !source && !val_getstr(ref, N_namespace).n)
        val_set(a, spec, N_dataSource, *val_copy(a, ref));
}

static void create_namespace(struct arena *a, struct val *ns)
{
    set_phase(a, ns, "Active");
    struct val *finalizers = val_sub_list(a, val_sub_obj(a, ns, N_spec), N_finalizers);
    VAL_EACH (finalizers, f)
        if (str_is(val_str(f), "kubernetes"))
            return;
    val_add_str(a, finalizers, STR("kubernetes"));
}

static void create_crd(struct arena *a, struct val *crd)
{
    VAL_EACH (val_at(crd, N_spec, N_versions), version)
        if (val_bool(val_get(version, N_storage), false)) {
            struct val *stored = val_sub_list(a, val_sub_obj(a, crd, N_status), N_storedVersions);
            val_add_str(a, stored, val_getstr(version, N_name));
            return;
        }
}

/* Who has no service is served here. */
static void create_api_service(struct arena *a, struct val *v)
{
    if (!val_at(v, N_spec, N_service))
        condition_set(a, val_sub_list(a, val_sub_obj(a, v, N_status), N_conditions), STR("Available"), "True", "Local",
                      STR("Local APIServices are always available"), os_wall());
}

typedef void create_fn(struct arena *a, struct val *v);

/* A taint that does not say since when it is there is there since now: tolerating it for a while counts from then. */
static void stamp_taints(struct arena *a, struct val *v)
{
    struct val *devices = val_mut(val_mut(v, N_spec), N_devices);
    struct wall now = {os_wall().ns / SECONDS(1) * SECONDS(1)};
    for (uint32_t i = 0; devices && devices->kind == VAL_LIST && i < devices->n; i++) {
        struct val *taints = val_mut(&devices->items[i], N_taints);
        for (uint32_t k = 0; taints && taints->kind == VAL_LIST && k < taints->n; k++)
            if (!val_get(&taints->items[k], N_timeAdded))
                val_set_time(a, &taints->items[k], N_timeAdded, now);
    }
}

static void stamp_taint_rule(struct arena *a, struct val *v)
{
    struct val *taint = val_mut(val_mut(v, N_spec), N_taint);
    if (taint && !val_get(taint, N_timeAdded))
        val_set_time(a, taint, N_timeAdded, (struct wall){os_wall().ns / SECONDS(1) * SECONDS(1)});
}

static const struct {
    uint16_t resource;
    create_fn *fn;
} creators[] = {
    {RES_APISERVICES, create_api_service},
    {RES_CUSTOMRESOURCEDEFINITIONS, create_crd},
    {RES_DAEMONSETS, create_daemon_set},
    {RES_DEVICETAINTRULES, stamp_taint_rule},
    {RES_JOBS, create_job},
    {RES_LIMITRANGES, create_limit_range},
    {RES_NAMESPACES, create_namespace},
    {RES_PERSISTENTVOLUMECLAIMS, create_claim},
    {RES_PERSISTENTVOLUMES, create_volume},
    {RES_PODS, create_pod},
    {RES_RESOURCESLICES, stamp_taints},
    {RES_SERVICES, create_service},
};

/* Of the references to Secrets only names are kept. */
static void trim_secrets(struct arena *a, struct val *v)
{
    const struct val *list = val_get(v, N_secrets);
    struct val *names = val_new(a, VAL_LIST);
    if (!val_len(list))
        return;
    VAL_EACH (list, ref) {
        struct val *to = val_add_obj(a, names);
        if (val_getstr(ref, N_name).n)
            val_set_ref(a, to, N_name, val_get(ref, N_name));
    }
    val_set_ref(a, v, N_secrets, names);
}

/* The list and its first item say the same; where they do not, the single one counts. */
static void join_pod_cidrs(struct arena *a, struct val *v)
{
    struct val *spec = val_mut(v, N_spec);
    struct str one = val_getstr(spec, N_podCIDR);
    const struct val *list = val_get(spec, N_podCIDRs);
    if (!spec || (!one.n && !val_len(list)))
        return;
    if (!one.n) {
        val_set_ref(a, spec, N_podCIDR, val_item(list, 0));
    } else if (!str_eq(one, val_str(val_item(list, 0)))) {
        struct val *fresh = val_new(a, VAL_LIST);
        val_add_str(a, fresh, one);
        val_set_ref(a, spec, N_podCIDRs, fresh);
    }
}

static void normalize(struct arena *a, const struct resource *r, struct val *v)
{
    if (r->index == RES_SERVICEACCOUNTS)
        trim_secrets(a, v);
    else if (r->index == RES_NODES)
        join_pod_cidrs(a, v);
}

void prepare_create(struct arena *a, const struct resource *r, struct val *v)
{
    const struct strategy *s = resource_strategy(r);
    pthread_once(&off_once, off_make);
    val_set_ref(a, meta_of(a, v), N_deletionTimestamp, NULL);
    val_set_ref(a, meta_of(a, v), N_deletionGracePeriodSeconds, NULL);
    if (has_status(r) && !(s->flags & STRATEGY_KEEP_STATUS))
        val_set_ref(a, v, N_status, NULL);
    if (s->flags & STRATEGY_GENERATION)
        set_generation(a, v, 1);
    if (r->type && v->kind == VAL_OBJ)
        drop_off(r->type, v, NULL);
    normalize(a, r, v);
    for (size_t i = 0; i < ARRAY_SIZE(creators); i++)
        if (creators[i].resource == r->index)
            creators[i].fn(a, v);
}

/* ---- updates ------------------------------------------------------------------------------------------- */

/* What a client cannot change, and what it may leave out. */
static void keep_meta(struct arena *a, struct val *v, const struct val *old)
{
    struct val *meta = meta_of(a, v);
    const struct val *was = obj_meta(old);
    if (!val_getstr(meta, N_uid).n)
        val_set_ref(a, meta, N_uid, val_get(was, N_uid));
    val_set_ref(a, meta, N_creationTimestamp, val_get(was, N_creationTimestamp));
    val_set_ref(a, meta, N_generation, val_get(was, N_generation));
    if (val_get(was, N_deletionTimestamp))
        val_set_ref(a, meta, N_deletionTimestamp, val_get(was, N_deletionTimestamp));
    if (val_get(was, N_deletionGracePeriodSeconds) && !val_get(meta, N_deletionGracePeriodSeconds))
        val_set_ref(a, meta, N_deletionGracePeriodSeconds, val_get(was, N_deletionGracePeriodSeconds));
}

static bool is_body(struct str name)
{
    return !str_is(name, "metadata") && !str_is(name, "status") && !str_is(name, "kind") &&
           !str_is(name, "apiVersion");
}

/* Every member of one beside metadata and status is the same in the other. */
static bool body_within(const struct val *one, const struct val *other)
{
    VAL_EACH_MEMBER (one, m)
        if (is_body(name_str(m->name)) && !val_equal(m, val_get(other, m->name)))
            return false;
    VAL_EACH_ENTRY (one, k, m)
        if (is_body(val_str(k)) && !val_same(m, val_key(other, val_str(k))))
            return false;
    return true;
}

static bool body_changed(const struct val *v, const struct val *old)
{
    return !body_within(v, old) || !body_within(old, v);
}

static bool counts(const struct strategy *s, const struct val *v, const struct val *old)
{
    unsigned f = s->flags;
    if (f & STRATEGY_COUNT_SPEC && !val_equal(val_get(v, N_spec), val_get(old, N_spec)))
        return true;
    if (f & STRATEGY_COUNT_BODY && body_changed(v, old))
        return true;
    if (f & STRATEGY_COUNT_LABELS && !val_equal(obj_labels(v), obj_labels(old)))
        return true;
    return f & STRATEGY_COUNT_ANNOTATIONS &&
           !val_equal(val_get(obj_meta(v), N_annotations), val_get(obj_meta(old), N_annotations));
}

static void update_whole(struct arena *a, const struct resource *r, struct val *v, const struct val *old)
{
    const struct strategy *s = resource_strategy(r);
    if (has_status(r))
        val_set_ref(a, v, N_status, val_get(old, N_status));
    if (r->index == RES_NAMESPACES || r->index == RES_CERTIFICATESIGNINGREQUESTS)
        val_set_ref(a, v, N_spec, val_get(old, N_spec)); /* written otherwise, or not at all */
    if (r->type && v->kind == VAL_OBJ)
        drop_off(r->type, v, old);
    if (r->index == RES_SERVICES)
        prepare_service_update(a, v, old);
    if (r->index == RES_DAEMONSETS)
        count_template(a, v, old);
    if (r->index == RES_RESOURCESLICES)
        stamp_taints(a, v);
    if (counts(s, v, old))
        set_generation(a, v, val_int(val_get(obj_meta(old), N_generation), 0) + 1);
}

/* Everything beside metadata and status is as it was. */
static void keep_body(struct arena *a, struct val *v, const struct val *old)
{
    VAL_EACH_MEMBER (old, m)
        if (is_body(name_str(m->name)))
            val_set_ref(a, v, m->name, m);
    for (size_t i = val_is(v, VAL_MAP) ? v->n : 0; i-- > 0;)
        if (is_body(val_str(&v->items[2 * i])))
            val_unput(v, val_str(&v->items[2 * i]));
    VAL_EACH_ENTRY (old, k, m)
        if (is_body(val_str(k)))
            val_put(a, v, val_str(k), *m);
    if (!val_get(old, N_spec))
        val_set_ref(a, v, N_spec, NULL);
}

static void keep_if_absent(struct arena *a, struct val *v, const struct val *old, name_id name)
{
    if (!val_get(v, name) && val_get(old, name))
        val_set(a, v, name, *val_get(old, name));
}

static void update_pod_status(struct arena *a, struct val *v, const struct val *old)
{
    static const name_id kept[] = {N_qosClass, N_resourceClaimStatuses, N_extendedResourceClaimStatus,
                                   N_observedGeneration};
    struct val *status = val_sub_obj(a, v, N_status);
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
        keep_if_absent(a, status, val_get(old, N_status), kept[i]);
    val_set_ref(a, meta_of(a, v), N_ownerReferences, val_get(obj_meta(old), N_ownerReferences));
    val_set_ref(a, meta_of(a, v), N_deletionTimestamp, val_get(obj_meta(old), N_deletionTimestamp));
}

static bool has_device(const struct val *list, const struct val *device)
{
    VAL_EACH (list, x)
        if (same_allocated_device(x, device))
            return true;
    return false;
}

/* What drivers said of devices goes with them (KEP-4817). */
static void update_claim_status(struct arena *a, struct val *v, const struct val *old)
{
    const struct val *had = val_at(old, N_status, N_allocation, N_devices, N_results);
    const struct val *has = val_at(v, N_status, N_allocation, N_devices, N_results);
    const struct val *told = val_at(v, N_status, N_devices);
    struct val *left = val_new(a, VAL_LIST);
    VAL_EACH (told, d)
        if (has_device(has, d) || !has_device(had, d))
            val_add(a, left, *d);
    if (left->n < val_len(told))
        val_set_ref(a, val_sub_obj(a, v, N_status), N_devices, left->n ? left : NULL);
}

static void update_volume_status(struct arena *a, struct val *v, const struct val *old)
{
    const struct val *was = val_at(old, N_status, N_lastPhaseTransitionTime);
    struct val *status = val_sub_obj(a, v, N_status);
    bool same_phase = str_eq(val_getstr(status, N_phase), val_getstr(val_get(old, N_status), N_phase));
    if (same_phase)
        keep_if_absent(a, status, val_get(old, N_status), N_lastPhaseTransitionTime);
    else if (val_equal(val_get(status, N_lastPhaseTransitionTime), was))
        val_set_time(a, status, N_lastPhaseTransitionTime, os_wall());
}

/* Writes to some subresources leave metadata as it was. */
static void keep_whole_meta(struct arena *a, struct val *v, const struct val *old)
{
    struct val meta = *val_copy_shallow(a, obj_meta(old));
    const struct val *managed = val_get(obj_meta(v), N_managedFields),
                     *rv = val_get(obj_meta(v), N_resourceVersion);
    val_set_ref(a, &meta, N_managedFields, managed);
    val_set_ref(a, &meta, N_resourceVersion, rv);
    val_set_ref(a, v, N_metadata, &meta);
}

static void update_status(struct arena *a, const struct resource *r, struct val *v, const struct val *old)
{
    keep_body(a, v, old);
    switch (r->index) {
    case RES_PODS:
        update_pod_status(a, v, old);
        break;
    case RES_PERSISTENTVOLUMES:
        update_volume_status(a, v, old);
        break;
    case RES_RESOURCECLAIMS:
        update_claim_status(a, v, old);
        keep_whole_meta(a, v, old);
        break;
    case RES_DEPLOYMENTS:
        val_set_ref(a, meta_of(a, v), N_labels, val_get(obj_meta(old), N_labels));
        break;
    default:
        if (r->index < n_resources)
            break;
        keep_whole_meta(a, v, old);
    }
}

/* Only the members named (of spec) may change: the rest is what it was. */
static void take_spec_member(struct arena *a, struct val *v, const struct val *old, name_id name)
{
    const struct val *want = val_at(v, N_spec, name);
    struct val *spec = val_copy_shallow(a, val_get(old, N_spec)) ?: val_new(a, VAL_OBJ);
    val_set_ref(a, spec, name, want);
    val_set(a, v, N_spec, *spec);
    val_set_ref(a, v, N_status, val_get(old, N_status));
}

/* The containers there were, with the resources that are wanted now. What is no resize at all is left to
 * validation. */
static const struct val *resized(struct arena *a, const struct val *wanted, const struct val *old)
{
    struct val *list = val_new(a, VAL_LIST);
    for (size_t i = 0; i < val_len(old); i++) {
        const struct val *want = val_item(wanted, i);
        struct val *c = val_copy_shallow(a, val_item(old, i));
        if (!str_eq(val_getstr(want, N_name), val_getstr(c, N_name)))
            return wanted;
        val_set_ref(a, c, N_resources, val_get(want, N_resources));
        val_set_ref(a, c, N_resizePolicy, val_get(want, N_resizePolicy));
        val_add(a, list, *c);
    }
    return val_len(old) ? list : NULL;
}

static void update_resize(struct arena *a, struct val *v, const struct val *old)
{
    static const name_id lists[] = {N_containers, N_initContainers};
    const struct val *want = val_get(v, N_spec), *was = val_get(old, N_spec);
    struct val *spec = val_copy_shallow(a, was) ?: val_new(a, VAL_OBJ);
    val_set_ref(a, v, N_status, val_get(old, N_status));
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        if (val_len(val_get(want, lists[i])) != val_len(val_get(was, lists[i])))
            return;
        val_set_ref(a, spec, lists[i], resized(a, val_get(want, lists[i]), val_get(was, lists[i])));
    }
    val_set_ref(a, spec, N_resources, val_get(want, N_resources) ?: val_get(was, N_resources));
    val_set(a, v, N_spec, *spec);
    pod_resources_default(a, v);
    keep_whole_meta(a, v, old);
}

void prepare_update(struct arena *a, const struct resource *r, const char *subresource, struct val *v,
                    const struct val *old)
{
    struct str sub = str_of(subresource);
    pthread_once(&off_once, off_make);
    keep_meta(a, v, old);
    normalize(a, r, v);
    if (!sub.n) {
        update_whole(a, r, v, old);
        return;
    }
    if (str_is(sub, "status") || str_is(sub, "approval"))
        update_status(a, r, v, old);
    if (str_is(sub, "ephemeralcontainers")) {
        take_spec_member(a, v, old, N_ephemeralContainers);
        keep_whole_meta(a, v, old);
    }
    if (str_is(sub, "resize"))
        update_resize(a, v, old);
    if (str_is(sub, "finalize"))
        take_spec_member(a, v, old, N_finalizers);
    if (!str_is(sub, "status") && !val_equal(val_get(v, N_spec), val_get(old, N_spec)) &&
        resource_strategy(r)->flags & STRATEGY_COUNT_SPEC)
        set_generation(a, v, val_int(val_get(obj_meta(old), N_generation), 0) + 1);
}
