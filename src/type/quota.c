/* SPDX-License-Identifier: Apache-2.0 */
#include "type/quota.h"

#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "type/qos.h"

enum { CLAIM_ALL_DEVICES = 32 }; /* the most that a request for all devices can be given */

#define STORAGE_CLASS ".storageclass.storage.k8s.io/"
#define DEVICE_CLASS ".deviceclass.resource.k8s.io/devices"

static struct quantity units(int64_t n)
{
    return quantity_of(n, QUANTITY_DECIMAL_SI);
}

bool quota_ignores(const struct resource *res)
{
    return !res->namespaced || !res->stored || res->index == RES_EVENTS ||
           res->index == RES_EVENTS_EVENTS_K8S_IO;
}

/* ---- names ------------------------------------------------------------------------------------------- */

/* Names from before "count/..." */
static const struct {
    uint16_t res;
    const char *name;
} old_names[] = {
    {RES_PODS, "pods"},
    {RES_SERVICES, "services"},
    {RES_REPLICATIONCONTROLLERS, "replicationcontrollers"},
    {RES_RESOURCEQUOTAS, "resourcequotas"},
    {RES_SECRETS, "secrets"},
    {RES_CONFIGMAPS, "configmaps"},
    {RES_PERSISTENTVOLUMECLAIMS, "persistentvolumeclaims"},
};

static const char *const pod_names[] = {"cpu",          "memory",          "ephemeral-storage",
                                        "requests.cpu", "requests.memory", "requests.ephemeral-storage",
                                        "limits.cpu",   "limits.memory",   "limits.ephemeral-storage"};

static bool is_count(const struct resource *res, struct str name)
{
    struct str head, kind, group;
    if (!str_cut(name, '/', &head, &kind) || !str_is(head, "count"))
        return false;
    if (!res->group[0])
        return str_is(kind, res->name);
    return str_cut(kind, '.', &kind, &group) && str_is(kind, res->name) && str_is(group, res->group);
}

/* Of a device plug-in or the like: a name with a domain that is not Kubernetes' own. */
static bool is_extended(struct str name)
{
    return str_find(name, '/') > 0 && !str_contains(name, STR("kubernetes.io/"));
}

static bool counts_for_pod(struct str name)
{
    struct str requests = STR("requests.");
    for (size_t i = 0; i < ARRAY_SIZE(pod_names); i++)
        if (str_is(name, pod_names[i]))
            return true;
    return str_starts(name, STR("hugepages-")) || str_starts(name, STR("requests.hugepages-")) ||
           (str_starts(name, requests) && is_extended(str_from(name, requests.n)));
}

bool quota_counts(const struct resource *res, struct str name)
{
    if (is_count(res, name))
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(old_names); i++)
        if (old_names[i].res == res->index && str_is(name, old_names[i].name))
            return true;
    switch (res->index) {
    case RES_PODS:
        return counts_for_pod(name);
    case RES_SERVICES:
        return str_is(name, "services.nodeports") || str_is(name, "services.loadbalancers");
    case RES_PERSISTENTVOLUMECLAIMS:
        return str_is(name, "requests.storage") || str_ends(name, STR(STORAGE_CLASS "requests.storage")) ||
               str_ends(name, STR(STORAGE_CLASS "persistentvolumeclaims"));
    case RES_RESOURCECLAIMS:
        return str_ends(name, STR(DEVICE_CLASS));
    }
    return false;
}

/* ---- pods -------------------------------------------------------------------------------------------- */

struct wall quota_overdue(const struct resource *res, const struct val *v)
{
    const struct val *meta = obj_meta(v), *grace = val_get(meta, N_deletionGracePeriodSeconds);
    struct wall deleted = val_time(val_get(meta, N_deletionTimestamp));
    if (res->index != RES_PODS || !deleted.ns || !grace)
        return (struct wall){0};
    int64_t ns = SECONDS(MIN(val_int(grace, 0), (int64_t)UINT32_MAX)); /* the server takes no more */
    return (struct wall){ns > INT64_MAX - deleted.ns ? INT64_MAX : deleted.ns + ns};
}

/* A node that is lost must not keep those who run pods from running others. */
static bool pod_is_over(const struct val *pod, struct wall now)
{
    struct str phase = val_str(val_at(pod, N_status, N_phase));
    struct wall overdue = quota_overdue(&resources[RES_PODS], pod);
    return str_is(phase, "Failed") || str_is(phase, "Succeeded") || (overdue.ns && now.ns > overdue.ns);
}

static void use_pod(struct arena *a, const struct val *pod, struct amounts *u)
{
    static const char *const basic[] = {"cpu", "memory", "ephemeral-storage"};
    struct amounts requests, limits;
    pod_amounts_held(a, pod, N_requests, &requests);
    pod_amounts_held(a, pod, N_limits, &limits);
    for (size_t i = 0; i < ARRAY_SIZE(basic); i++) {
        const struct quantity *q = amounts_find(&requests, str_of(basic[i])),
                              *l = amounts_find(&limits, str_of(basic[i]));
        if (q) {
            amounts_add(a, u, str_of(basic[i]), *q);
            amounts_add(a, u, arena_printf(a, "requests.%s", basic[i]), *q);
        }
        if (l)
            amounts_add(a, u, arena_printf(a, "limits.%s", basic[i]), *l);
    }
    for (size_t i = 0; i < requests.n; i++) {
        struct str name = requests.items[i].name;
        bool huge = str_starts(name, STR("hugepages-"));
        if (huge)
            amounts_add(a, u, name, requests.items[i].q);
        if (huge || is_extended(name))
            amounts_add(a, u, arena_printf(a, "requests." STR_FMT, STR_ARG(name)), requests.items[i].q);
    }
}

/* ---- services, claims -------------------------------------------------------------------------------- */

static int64_t fixed_node_ports(const struct val *ports)
{
    int64_t n = 0;
    VAL_EACH (ports, p)
        n += val_int(val_get(p, N_nodePort), 0) != 0;
    return n;
}

/* Ports are not allocated yet when this is asked: what counts is the intent. */
static void use_service(struct arena *a, const struct val *svc, struct amounts *u)
{
    const struct val *ports = val_at(svc, N_spec, N_ports);
    struct str type = val_str(val_at(svc, N_spec, N_type));
    bool balanced = str_is(type, "LoadBalancer");
    bool allocated = val_bool(val_at(svc, N_spec, N_allocateLoadBalancerNodePorts), true);
    int64_t n = 0;
    if (str_is(type, "NodePort") || (balanced && allocated))
        n = (int64_t)val_len(ports);
    else if (balanced)
        n = fixed_node_ports(ports);
    amounts_add(a, u, STR("services.nodeports"), units(n));
    amounts_add(a, u, STR("services.loadbalancers"), units(balanced));
}

static struct quantity whole(struct str text)
{
    struct quantity q = quantity_or_zero(text);
    return quantity_of(quantity_units(q), q.format);
}

static struct str class_of(const struct val *claim)
{
    struct str old = obj_annotation(claim, STR("volume.beta.kubernetes.io/storage-class"));
    return old.n ? old : val_str(val_at(claim, N_spec, N_storageClassName));
}

static void use_claim(struct arena *a, const struct val *claim, struct amounts *u)
{
    const struct val *asked = val_key(val_at(claim, N_spec, N_resources, N_requests), STR("storage")),
                     *given = val_key(val_at(claim, N_status, N_allocatedResources), STR("storage"));
    struct str class = class_of(claim);
    struct quantity q = whole(val_str(asked)), has = whole(val_str(given));
    if (quantity_cmp(has, q) > 0)
        q = has;
    if (class.n)
        amounts_add(a, u, arena_printf(a, STR_FMT STORAGE_CLASS "persistentvolumeclaims", STR_ARG(class)),
                    units(1));
    if (!asked)
        return;
    amounts_add(a, u, STR("requests.storage"), q);
    if (class.n)
        amounts_add(a, u, arena_printf(a, STR_FMT STORAGE_CLASS "requests.storage", STR_ARG(class)), q);
}

static int64_t devices_of(const struct val *request)
{
    struct str mode = val_getstr(request, N_allocationMode);
    if (str_is(mode, "All"))
        return CLAIM_ALL_DEVICES;
    return str_is(mode, "ExactCount") ? val_int(val_get(request, N_count), 0) : 0;
}

static struct str device_class(struct arena *a, const struct val *request)
{
    return arena_printf(a, STR_FMT DEVICE_CLASS, STR_ARG(val_getstr(request, N_deviceClassName)));
}

/* Of alternatives, the dearest of each class. */
static void use_devices(struct arena *a, const struct val *claim, struct amounts *u)
{
    VAL_EACH (val_at(claim, N_spec, N_devices, N_requests), r) {
        struct amounts most = {.n = 0};
        const struct val *exactly = val_get(r, N_exactly);
        if (exactly)
            amounts_add(a, u, device_class(a, exactly), units(devices_of(exactly)));
        VAL_EACH (val_get(r, N_firstAvailable), one) {
            struct str name = device_class(a, one);
            struct quantity q = units(devices_of(one)), *has = amounts_find(&most, name);
            if (!has)
                amounts_add(a, &most, name, q);
            else if (quantity_cmp(q, *has) > 0)
                *has = q;
        }
        amounts_add_all(a, u, &most);
    }
}

void quota_usage(struct arena *a, const struct resource *res, const struct val *v, struct wall now,
                 struct amounts *ret)
{
    bool over = res->index == RES_PODS && pod_is_over(v, now);
    *ret = (struct amounts){.n = 0};
    amounts_add(a, ret, arena_printf(a, "count/%s%s%s", res->name, res->group[0] ? "." : "", res->group),
                units(1));
    for (size_t i = 0; i < ARRAY_SIZE(old_names) && !over; i++)
        if (old_names[i].res == res->index)
            amounts_add(a, ret, str_of(old_names[i].name), units(1));
    if (res->index == RES_PODS && !over)
        use_pod(a, v, ret);
    else if (res->index == RES_SERVICES)
        use_service(a, v, ret);
    else if (res->index == RES_PERSISTENTVOLUMECLAIMS)
        use_claim(a, v, ret);
    else if (res->index == RES_RESOURCECLAIMS)
        use_devices(a, v, ret);
}

/* ---- scopes ------------------------------------------------------------------------------------------ */

static bool in_set(const struct val *list, struct str s)
{
    VAL_EACH (list, i)
        if (str_eq(val_str(i), s))
            return true;
    return false;
}

/* name: empty for none. */
static bool class_matches(struct str name, struct str op, const struct val *values)
{
    if (str_is(op, "In"))
        return name.n && in_set(values, name);
    if (str_is(op, "NotIn"))
        return !name.n || !in_set(values, name);
    return str_is(op, "DoesNotExist") ? !name.n : name.n > 0;
}

static bool reaches_out(const struct val *term)
{
    return val_len(val_get(term, N_namespaces)) || val_get(term, N_namespaceSelector);
}

static bool has_cross_affinity(const struct val *spec)
{
    static const name_id kinds[] = {N_podAffinity, N_podAntiAffinity};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const struct val *k = val_at(spec, N_affinity, kinds[i]);
        VAL_EACH (val_get(k, N_requiredDuringSchedulingIgnoredDuringExecution), t)
            if (reaches_out(t))
                return true;
        VAL_EACH (val_get(k, N_preferredDuringSchedulingIgnoredDuringExecution), t)
            if (reaches_out(val_get(t, N_podAffinityTerm)))
                return true;
    }
    return false;
}

static bool terminating(const struct val *pod)
{
    const struct val *seconds = val_at(pod, N_spec, N_activeDeadlineSeconds);
    return seconds && val_int(seconds, 0) >= 0;
}

static bool pod_in_scope(const struct val *pod, struct str scope, struct str op, const struct val *values)
{
    const struct val *spec = val_get(pod, N_spec);
    if (str_is(scope, "Terminating"))
        return terminating(pod);
    if (str_is(scope, "NotTerminating"))
        return !terminating(pod);
    if (str_is(scope, "BestEffort"))
        return strcmp(pod_qos_class(spec), "BestEffort") == 0;
    if (str_is(scope, "NotBestEffort"))
        return strcmp(pod_qos_class(spec), "BestEffort") != 0;
    if (str_is(scope, "CrossNamespacePodAffinity"))
        return has_cross_affinity(spec);
    return str_is(scope, "PriorityClass") && class_matches(val_getstr(spec, N_priorityClassName), op, values);
}

/* A claim that is on its way from one class of attributes to another is one of both. */
static bool claim_in_scope(const struct val *claim, struct str scope, struct str op, const struct val *values)
{
    const struct val *status = val_get(claim, N_status);
    struct str names[] = {val_str(val_at(claim, N_spec, N_volumeAttributesClassName)),
                          val_getstr(status, N_currentVolumeAttributesClassName),
                          val_str(val_at(status, N_modifyVolumeStatus, N_targetVolumeAttributesClassName))};
    bool any = false;
    if (!str_is(scope, "VolumeAttributesClass"))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        any |= names[i].n > 0;
        if (names[i].n && class_matches(names[i], op, values))
            return true;
    }
    return !any && class_matches(STR(""), op, values);
}

static bool in_scope(const struct resource *res, const struct val *v, struct str scope, struct str op,
                     const struct val *values)
{
    if (res->index == RES_PODS)
        return pod_in_scope(v, scope, op, values);
    return res->index == RES_PERSISTENTVOLUMECLAIMS && claim_in_scope(v, scope, op, values);
}

bool quota_takes(const struct val *quota, const struct resource *res, const struct val *v)
{
    VAL_EACH (val_at(quota, N_spec, N_scopes), s)
        if (!in_scope(res, v, val_str(s), STR("Exists"), NULL))
            return false;
    VAL_EACH (val_at(quota, N_spec, N_scopeSelector, N_matchExpressions), e)
        if (!in_scope(res, v, val_getstr(e, N_scopeName), val_getstr(e, N_operator), val_get(e, N_values)))
            return false;
    return true;
}

/* ---- which changes ----------------------------------------------------------------------------------- */

static bool differ(const struct val *a, const struct val *b, const name_id *path)
{
    return !val_equal(val_path(a, path), val_path(b, path));
}

static bool claim_status_counts(const struct val *old, const struct val *v)
{
    static const name_id allocated[] = {N_status, N_allocatedResources, 0},
                         current[] = {N_status, N_currentVolumeAttributesClassName, 0},
                         target[] = {N_status, N_modifyVolumeStatus, N_targetVolumeAttributesClassName, 0};
    return differ(old, v, allocated) || differ(old, v, current) || differ(old, v, target);
}

bool quota_watches_update(const struct resource *res, const char *sub, const struct val *old,
                          const struct val *v)
{
    switch (res->index) {
    case RES_PODS:
        return sub ? strcmp(sub, "resize") == 0 : terminating(old) != terminating(v);
    case RES_PERSISTENTVOLUMECLAIMS:
        return !sub || (strcmp(sub, "status") == 0 && claim_status_counts(old, v));
    case RES_SERVICES:
    case RES_RESOURCECLAIMS:
        return !sub;
    }
    return false;
}
