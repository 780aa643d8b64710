/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/endpoints.h"

#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

#define HEADLESS_LABEL "service.kubernetes.io/headless"

bool service_has_selector(const struct val *service)
{
    return val_len(val_at(service, N_spec, N_selector)) > 0 &&
           !str_is(val_str(val_at(service, N_spec, N_type)), "ExternalName");
}

bool service_is_headless(const struct val *service)
{
    struct str ip = val_str(val_at(service, N_spec, N_clusterIP));
    return str_empty(ip) || str_is(ip, "None");
}

bool service_selects(const struct val *service, const struct val *pod)
{
    const struct val *labels = obj_labels(pod);
    VAL_EACH_ENTRY (val_at(service, N_spec, N_selector), k, v)
        if (!val_key(labels, val_str(k)) || !str_eq(val_str(val_key(labels, val_str(k))), val_str(v)))
            return false;
    return true;
}

static bool has_address(const struct val *pod)
{
    return !str_empty(val_str(val_at(pod, N_status, N_podIP))) ||
           val_len(val_at(pod, N_status, N_podIPs)) > 0;
}

void service_pods(const struct snapshot *world, const struct object *service, bool terminating,
                  struct arena *a, struct objects *ret)
{
    TREE_EACH (snapshot_tree(world, &resources[RES_PODS]), service->namespace_, it) {
        const struct val *pod = it.object->val;
        if (service_selects(service->val, pod) && !pod_finished(pod) && has_address(pod) &&
            (terminating || !obj_deleting(pod)))
            objects_add(a, ret, it.object);
    }
}

/* ---- ports ------------------------------------------------------------------------------------------- */

static int64_t named_port_in(const struct val *containers, bool only_sidecars, struct str name,
                             struct str protocol)
{
    VAL_EACH (containers, c) {
        if (only_sidecars && !str_is(val_getstr(c, N_restartPolicy), "Always"))
            continue;
        VAL_EACH (val_get(c, N_ports), p) {
            struct str proto = val_getstr(p, N_protocol);
            if (str_eq(val_getstr(p, N_name), name) &&
                str_eq(str_empty(proto) ? STR("TCP") : proto, protocol))
                return val_int(val_get(p, N_containerPort), 0);
        }
    }
    return 0;
}

int64_t service_target_port(const struct val *service_port, const struct val *pod)
{
    const struct val *target = val_get(service_port, N_targetPort);
    struct str protocol = val_getstr(service_port, N_protocol);
    if (!val_is(target, VAL_STR))
        return val_int(target, 0) ? val_int(target, 0) : val_int(val_get(service_port, N_port), 0);
    if (str_empty(protocol))
        protocol = STR("TCP");
    int64_t port = named_port_in(val_at(pod, N_spec, N_containers), false, val_str(target), protocol);
    return port ? port
                : named_port_in(val_at(pod, N_spec, N_initContainers), true, val_str(target), protocol);
}

/* ---- addresses --------------------------------------------------------------------------------------- */

struct val *pod_addresses(struct arena *a, const struct val *pod, bool ipv6)
{
    struct val *list = val_new(a, VAL_LIST);
    VAL_EACH (val_at(pod, N_status, N_podIPs), p) {
        struct str ip = val_getstr(p, N_ip);
        if (!str_empty(ip) && (str_find(ip, ':') >= 0) == ipv6)
            val_add_str(a, list, ip);
    }
    struct str ip = val_str(val_at(pod, N_status, N_podIP));
    if (val_len(val_at(pod, N_status, N_podIPs)) == 0 && !str_empty(ip) && (str_find(ip, ':') >= 0) == ipv6)
        val_add_str(a, list, ip);
    return list;
}

struct str service_hostname(const struct val *service, const struct val *pod)
{
    struct str subdomain = val_str(val_at(pod, N_spec, N_subdomain));
    return str_eq(subdomain, obj_name(service)) ? val_str(val_at(pod, N_spec, N_hostname)) : STR_NULL;
}

struct val *service_labels(struct arena *a, const struct val *service)
{
    static const char *const reserved[] = {HEADLESS_LABEL, "kubernetes.io/service-name",
                                           "endpointslice.kubernetes.io/managed-by"};
    struct val *labels = val_new(a, VAL_MAP);
    VAL_EACH_ENTRY (obj_labels(service), k, v) {
        bool skip = false;
        for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
            skip |= str_is(val_str(k), reserved[i]);
        if (!skip)
            val_put_str(a, labels, val_str(k), val_str(v));
    }
    if (service_is_headless(service))
        val_put_str(a, labels, STR(HEADLESS_LABEL), STR(""));
    return labels;
}

struct val *pod_target_ref(struct arena *a, const struct object *pod)
{
    struct val *ref = val_new(a, VAL_OBJ);
    val_set_str(a, ref, N_kind, STR("Pod"));
    val_set_str(a, ref, N_namespace, pod->namespace_);
    val_set_str(a, ref, N_name, pod->name);
    val_set_str(a, ref, N_uid, pod->uid);
    return ref;
}

/* ---- keys -------------------------------------------------------------------------------------------- */

/* Has anything changed that endpoints are made of? */
static bool matters(const struct object *old, const struct object *new_)
{
    if (!old || !new_)
        return true;
    const struct val *a = old->val, *b = new_->val;
    return obj_deleting(a) != obj_deleting(b) || pod_ready(a) != pod_ready(b) ||
           pod_finished(a) != pod_finished(b) || !str_eq(index_pod_node(old), index_pod_node(new_)) ||
           !val_equal(obj_labels(a), obj_labels(b)) ||
           !val_equal(val_at(a, N_status, N_podIPs), val_at(b, N_status, N_podIPs)) ||
           !val_equal(val_at(a, N_status, N_podIP), val_at(b, N_status, N_podIP)) ||
           !val_equal(val_at(a, N_spec, N_hostname), val_at(b, N_spec, N_hostname)) ||
           !val_equal(val_at(a, N_spec, N_subdomain), val_at(b, N_spec, N_subdomain));
}

void keys_of_service_pod(const struct snapshot *world, const struct object *old, const struct object *new_,
                         key_sink *sink, void *arg)
{
    if (!matters(old, new_))
        return;
    const struct object *any = new_ ? new_ : old;
    TREE_EACH (snapshot_tree(world, &resources[RES_SERVICES]), any->namespace_, it) {
        const struct val *service = it.object->val;
        if (service_has_selector(service) &&
            ((old && service_selects(service, old->val)) || (new_ && service_selects(service, new_->val))))
            sink(arg, (struct key){it.object->namespace_, it.object->name});
    }
}
