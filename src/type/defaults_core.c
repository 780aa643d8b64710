/* SPDX-License-Identifier: Apache-2.0 */
/* Defaults of the core group that depend on other fields (the SetDefaults_X functions of pkg/apis/core/v1).
 */
#include "names.h"
#include "type/defaults-internal.h"
#include "type/image.h"
#include "type/meta.h"
#include "types.h"

static bool empty(const struct val *v, name_id name)
{
    return val_getstr(v, name).n == 0;
}

/* ---- Pods ---------------------------------------------------------------------------------------------- */

static void set_pull_policy(struct arena *a, struct val *v, name_id policy, struct str image)
{
    if (empty(v, policy))
        val_set_str(a, v, policy, str_is(image_tag(image), "latest") ? STR("Always") : STR("IfNotPresent"));
}

static void default_container(struct arena *a, struct val *c)
{
    set_pull_policy(a, c, N_imagePullPolicy, val_getstr(c, N_image));
}

static void default_volume(struct arena *a, struct val *v)
{
    bool has_source = false;
    VAL_EACH_MEMBER (v, m)
        has_source = has_source || m->name != N_name;
    if (!has_source)
        val_set(a, v, N_emptyDir, (struct val){.kind = VAL_OBJ});
    struct val *image = val_mut(v, N_image);
    if (image)
        set_pull_policy(a, image, N_pullPolicy, val_getstr(image, N_reference));
}

static void default_pod_spec(struct arena *a, struct val *spec)
{
    if (empty(spec, N_serviceAccountName) && !empty(spec, N_serviceAccount))
        val_set_str(a, spec, N_serviceAccountName, val_getstr(spec, N_serviceAccount));
    if (empty(spec, N_serviceAccountName))
        val_del(spec, N_serviceAccount);
    else
        val_set_str(a, spec, N_serviceAccount, val_getstr(spec, N_serviceAccountName));
}

/* Of a Pod alone, not of a template: what is limited is requested, too. */
static void default_requests(struct arena *a, struct val *container)
{
    const struct val *limits = val_at(container, N_resources, N_limits);
    if (!val_len(limits))
        return;
    struct val *requests = val_sub_map(a, val_sub_obj(a, container, N_resources), N_requests);
    VAL_EACH_ENTRY (val_at(container, N_resources, N_limits), k, v)
        if (!val_key(requests, val_str(k)))
            val_put(a, requests, val_str(k), *v);
}

static void default_host_ports(struct arena *a, struct val *container)
{
    struct val *ports = val_mut(container, N_ports);
    for (size_t i = 0; i < val_len(ports); i++) {
        const struct val *port = val_get(&ports->items[i], N_containerPort);
        if (port && !val_int(val_get(&ports->items[i], N_hostPort), 0))
            val_set(a, &ports->items[i], N_hostPort, *port);
    }
}

static void each_container(struct arena *a, struct val *spec, name_id list, default_fn *fn)
{
    struct val *containers = val_mut(spec, list);
    for (size_t i = 0; i < val_len(containers); i++)
        fn(a, &containers->items[i]);
}

static void default_pod(struct arena *a, struct val *pod)
{
    struct val *spec = val_sub_obj(a, pod, N_spec);
    if (val_int(val_get(spec, N_terminationGracePeriodSeconds), 0) < 0)
        val_set_int(a, spec, N_terminationGracePeriodSeconds, 1);
    each_container(a, spec, N_containers, default_requests);
    each_container(a, spec, N_initContainers, default_requests);
    if (!val_get(spec, N_enableServiceLinks))
        val_set_bool(a, spec, N_enableServiceLinks, true);
    if (val_bool(val_get(spec, N_hostNetwork), false)) {
        each_container(a, spec, N_containers, default_host_ports);
        each_container(a, spec, N_initContainers, default_host_ports);
    }
}

/* podIP and the first of podIPs say the same. */
static void default_pod_status(struct arena *a, struct val *status)
{
    struct str ip = val_getstr(status, N_podIP);
    struct str first = val_getstr(val_item(val_get(status, N_podIPs), 0), N_ip);
    if (!ip.n && val_len(val_get(status, N_podIPs))) {
        if (first.n)
            val_set_str(a, status, N_podIP, first);
    } else if (ip.n && !str_eq(ip, first)) {
        struct val *list = val_new(a, VAL_LIST);
        val_set_str(a, val_add_obj(a, list), N_ip, ip);
        val_set(a, status, N_podIPs, *list);
    }
}

/* ---- Services ------------------------------------------------------------------------------------------ */

static void default_affinity(struct arena *a, struct val *spec)
{
    enum { THREE_HOURS = 10800 };
    if (str_is(val_getstr(spec, N_sessionAffinity), "None"))
        val_del(spec, N_sessionAffinityConfig);
    if (!str_is(val_getstr(spec, N_sessionAffinity), "ClientIP") ||
        val_at(spec, N_sessionAffinityConfig, N_clientIP, N_timeoutSeconds))
        return;
    struct val *config = val_new(a, VAL_OBJ);
    val_set_int(a, val_sub_obj(a, config, N_clientIP), N_timeoutSeconds, THREE_HOURS);
    val_set(a, spec, N_sessionAffinityConfig, *config);
}

static bool reached_from_outside(const struct val *spec)
{
    struct str type = val_getstr(spec, N_type);
    return str_is(type, "LoadBalancer") || str_is(type, "NodePort") ||
           (str_is(type, "ClusterIP") && val_len(val_get(spec, N_externalIPs)));
}

static void default_service_ports(struct arena *a, struct val *spec)
{
    struct val *ports = val_mut(spec, N_ports);
    for (size_t i = 0; i < val_len(ports); i++) {
        struct val *port = &ports->items[i];
        const struct val *target = val_get(port, N_targetPort);
        bool none =
            !target || (val_is(target, VAL_INT) && !target->i) || (val_is(target, VAL_STR) && !target->n);
        if (none)
            val_set_int(a, port, N_targetPort, val_int(val_get(port, N_port), 0));
    }
}

static void default_service_spec(struct arena *a, struct val *spec)
{
    struct str type = val_getstr(spec, N_type);
    default_affinity(a, spec);
    default_service_ports(a, spec);
    if (reached_from_outside(spec) && empty(spec, N_externalTrafficPolicy))
        val_set_str(a, spec, N_externalTrafficPolicy, STR("Cluster"));
    if (!val_get(spec, N_internalTrafficPolicy) && !str_is(type, "ExternalName"))
        val_set_str(a, spec, N_internalTrafficPolicy, STR("Cluster"));
    if (str_is(type, "LoadBalancer") && !val_get(spec, N_allocateLoadBalancerNodePorts))
        val_set_bool(a, spec, N_allocateLoadBalancerNodePorts, true);
}

static void default_service(struct arena *a, struct val *service)
{
    struct val *ingress = val_mut(val_mut(val_mut(service, N_status), N_loadBalancer), N_ingress);
    if (!str_is(val_getstr(val_get(service, N_spec), N_type), "LoadBalancer"))
        return;
    for (size_t i = 0; i < val_len(ingress); i++)
        if (!empty(&ingress->items[i], N_ip) && !val_get(&ingress->items[i], N_ipMode))
            val_set_str(a, &ingress->items[i], N_ipMode, STR("VIP"));
}

/* ---- the rest ------------------------------------------------------------------------------------------ */

static void default_replication_controller(struct arena *a, struct val *rc)
{
    const struct val *labels = val_at(rc, N_spec, N_template, N_metadata, N_labels);
    if (!labels)
        return;
    if (!val_len(val_at(rc, N_spec, N_selector)))
        val_set(a, val_sub_obj(a, rc, N_spec), N_selector, *val_copy(a, labels));
    if (!val_len(obj_labels(rc)))
        val_set(a, val_sub_obj(a, rc, N_metadata), N_labels, *val_copy(a, labels));
}

static void default_namespace(struct arena *a, struct val *ns)
{
    if (obj_name(ns).n)
        val_put_str(a, val_sub_map(a, val_sub_obj(a, ns, N_metadata), N_labels),
                    STR("kubernetes.io/metadata.name"), obj_name(ns));
}

/* What was given as text becomes data; it is never stored as text. */
static void default_secret(struct arena *a, struct val *secret)
{
    const struct val *texts = val_get(secret, N_stringData);
    if (!texts)
        return;
    struct val *data = val_copy_shallow(a, val_get(secret, N_data)) ?: val_new(a, VAL_MAP);
    VAL_EACH_ENTRY (texts, k, v)
        val_put(a, data, val_str(k), val_of_bytes(val_str(v)));
    val_set(a, secret, N_data, *data);
    val_del(secret, N_stringData);
}

static void default_node_status(struct arena *a, struct val *status)
{
    if (!val_get(status, N_allocatable) && val_get(status, N_capacity))
        val_set(a, status, N_allocatable, *val_copy(a, val_get(status, N_capacity)));
}

static void put_missing(struct arena *a, struct val *to, const struct val *from)
{
    VAL_EACH_ENTRY (from, k, v)
        if (!val_key(to, val_str(k)))
            val_put(a, to, val_str(k), *v);
}

/* Of containers: a default limit is the maximum, a default request the default limit, else the minimum. */
static void default_limit_range_item(struct arena *a, struct val *item)
{
    if (!str_is(val_getstr(item, N_type), "Container"))
        return;
    struct val *limits = val_copy(a, val_get(item, N_default)) ?: val_new(a, VAL_MAP);
    struct val *requests = val_copy(a, val_get(item, N_defaultRequest)) ?: val_new(a, VAL_MAP);
    put_missing(a, limits, val_get(item, N_max));
    put_missing(a, requests, limits);
    put_missing(a, requests, val_get(item, N_min));
    if (limits->n)
        val_set(a, item, N_default, *limits);
    if (requests->n)
        val_set(a, item, N_defaultRequest, *requests);
}

const struct default_rule defaults_core[] = {
    {T_core_v1_Container, default_container},
    {T_core_v1_EphemeralContainer, default_container},
    {T_core_v1_LimitRangeItem, default_limit_range_item},
    {T_core_v1_Namespace, default_namespace},
    {T_core_v1_NodeStatus, default_node_status},
    {T_core_v1_Pod, default_pod},
    {T_core_v1_PodSpec, default_pod_spec},
    {T_core_v1_PodStatus, default_pod_status},
    {T_core_v1_ReplicationController, default_replication_controller},
    {T_core_v1_Secret, default_secret},
    {T_core_v1_Service, default_service},
    {T_core_v1_ServiceSpec, default_service_spec},
    {T_core_v1_Volume, default_volume},
    {0, NULL},
};
