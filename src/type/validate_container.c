/* SPDX-License-Identifier: Apache-2.0 */
/* Containers of every sort: ports, environment, mounts, resources, probes, security contexts. */
#include "type/validate-internal.h"
#include "wire/quantity.h"

/* ---- ports --------------------------------------------------------------------------------------------- */

static bool same_host_port(const struct val *a, const struct val *b)
{
    int64_t host = val_int(val_get(a, N_hostPort), 0);
    return host && host == val_int(val_get(b, N_hostPort), 0) &&
           str_eq(val_getstr(a, N_protocol), val_getstr(b, N_protocol)) &&
           str_eq(val_getstr(a, N_hostIP), val_getstr(b, N_hostIP));
}

/* Does a port before this one, in this container or one before it, take the same port of the host? */
static bool host_port_taken(const struct val *containers, size_t from, size_t c, size_t p)
{
    const struct val *port = val_item(val_get(val_item(containers, c), N_ports), p);
    for (size_t i = from; i <= c; i++) {
        const struct val *ports = val_get(val_item(containers, i), N_ports);
        for (size_t j = 0; j < val_len(ports) && (i < c || j < p); j++)
            if (same_host_port(val_item(ports, j), port))
                return true;
    }
    return false;
}

/* shared: the containers run at the same time. */
static void check_host_ports(struct validation *x, const struct vpath *p, const struct val *containers,
                             bool shared)
{
    for (size_t i = 0; i < val_len(containers); i++) {
        const struct val *ports = val_get(val_item(containers, i), N_ports);
        for (size_t j = 0; j < val_len(ports); j++)
            if (host_port_taken(containers, shared ? 0 : i, i, j))
                say_duplicate(x, AT(ITEM(AT(ITEM(p, i), N_ports), j), N_hostPort),
                              val_get(val_item(ports, j), N_hostPort));
    }
}

static void check_port_names(struct validation *x, const struct vpath *p, const struct val *ports)
{
    check_unique(x, p, ports, N_name);
}

static void check_port(struct validation *x, const struct vpath *p, const struct val *port)
{
    if (val_is(port, VAL_STR))
        check_text(x, p, val_str(port), check_port_name);
    else
        check_range(x, p, port ?: &(struct val){.kind = VAL_INT}, 1, 65535);
}

/* ---- environment --------------------------------------------------------------------------------------- */

static bool split_subscript(struct str s, struct str *ret_path, struct str *ret_subscript)
{
    ssize_t open = str_find(s, '[');
    if (open < 0 || s.n < (size_t)open + 4 || !str_ends(s, STR("']")) || s.p[open + 1] != '\'')
        return false;
    *ret_path = str_slice(s, 0, (size_t)open);
    *ret_subscript = str_slice(s, (size_t)open + 2, s.n - (size_t)open - 4);
    return true;
}

/* Paths that can be asked for at all, whether or not here. */
static const char *const known_paths[] = {
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "spec.hostNetwork",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
    "spec.host",
    NULL,
};

void check_field_ref(struct validation *x, const struct vpath *p, const struct val *ref,
                     const char *const *paths)
{
    struct str path = val_getstr(ref, N_fieldPath), base, key;
    if (!path.n) {
        say_required(x, AT(p, N_fieldPath), NULL);
        return;
    }
    if (!str_is(val_getstr(ref, N_apiVersion), "v1")) {
        say_invalid_str(x, AT(p, N_fieldPath), path, "error converting fieldPath: unsupported pod version");
        return;
    }
    if (!split_subscript(path, &base, &key)) {
        const struct val *v = val_get(ref, N_fieldPath);
        if (!str_in(path, known_paths))
            say_invalid(x, AT(p, N_fieldPath), v, "error converting fieldPath: field label not supported");
        else if (!str_in(path, paths))
            say_unsupported(x, AT(p, N_fieldPath), v, paths);
    } else if (str_is(base, "metadata.labels")) {
        check_text(x, p, key, check_label_key);
    } else if (str_is(base, "metadata.annotations")) {
        char *lower = arena_cstr(x->s->arena, key);
        for (char *t = lower; *t; t++)
            if (*t >= 'A' && *t <= 'Z')
                *t = (char)(*t + 'a' - 'A');
        check_text(x, p, str_of(lower), check_label_key);
    } else if (!str_in(base, known_paths)) {
        say_invalid_str(x, AT(p, N_fieldPath), path, "error converting fieldPath: field label not supported");
    } else {
        say_invalid_str(x, p, base, "does not support subscript");
    }
}

static const char *const sizes[] = {"1",   "1k",  "1M",  "1G",  "1T",  "1P",  "1E",
                                    "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei", NULL};

static void check_divisor(struct validation *x, const struct vpath *p, struct str resource,
                          struct str divisor)
{
    static const char *const cpu[] = {"1m", "1", NULL};
    bool is_cpu = str_ends(resource, STR(".cpu"));
    if (!divisor.n || quantity_is_zero(quantity_or_zero(divisor)))
        return;
    if (!str_starts(resource, STR("limits.")) && !str_starts(resource, STR("requests.")))
        return;
    if (!str_in(divisor, is_cpu ? cpu : sizes))
        say_invalid_str(x, p, resource, "is not a divisor that the resource supports");
}

void check_resource_ref(struct validation *x, const struct vpath *p, const struct val *ref, bool in_volume)
{
    static const char *const known[] = {"limits.cpu",
                                        "limits.memory",
                                        "limits.ephemeral-storage",
                                        "requests.cpu",
                                        "requests.memory",
                                        "requests.ephemeral-storage",
                                        NULL};
    struct str resource = val_getstr(ref, N_resource);
    bool huge =
        str_starts(resource, STR("requests.hugepages-")) || str_starts(resource, STR("limits.hugepages-"));
    if (in_volume && !val_getstr(ref, N_containerName).n)
        say_required(x, AT(p, N_containerName), NULL);
    else if (!resource.n)
        say_required(x, AT(p, N_resource), NULL);
    else if (!huge && !str_in(resource, known))
        say_unsupported(x, AT(p, N_resource), val_get(ref, N_resource), known);
    check_divisor(x, AT(p, N_divisor), resource, val_getstr(ref, N_divisor));
}

static void rule_env_var(struct validation *x, const struct vpath *p, const struct val *v,
                         const struct val *old)
{
    static const char *const paths[] = {
        "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
        "status.hostIP", "status.hostIPs",     "status.podIP", "status.podIPs", NULL};
    const struct val *from = val_get(v, N_valueFrom), *empty = &(struct val){.kind = VAL_STR, .s = ""};
    const struct vpath *at = AT(p, N_valueFrom);
    if (!from)
        return;
    if (val_get(from, N_fieldRef))
        check_field_ref(x, AT(at, N_fieldRef), val_get(from, N_fieldRef), paths);
    if (val_get(from, N_resourceFieldRef))
        check_resource_ref(x, AT(at, N_resourceFieldRef), val_get(from, N_resourceFieldRef), false);
    if (val_at(from, N_fileKeyRef, N_path))
        check_relative_path(x, AT(AT(at, N_fileKeyRef), N_path), val_str(val_at(from, N_fileKeyRef, N_path)));
    if (!from->n)
        say_invalid(x, at, empty,
                    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` "
                    "or `fileKeyRef`");
    else if (val_getstr(v, N_value).n)
        say_invalid(x, at, empty, "may not be specified when `value` is not empty");
    else if (from->n > 1)
        say_invalid(x, at, empty, "may not have more than one field specified at a time");
}

static void check_env_from(struct validation *x, const struct vpath *p, const struct val *list)
{
    static const name_id refs[] = {N_configMapRef, N_secretRef};
    const struct val *empty = &(struct val){.kind = VAL_STR, .s = ""};
    size_t i = 0;
    VAL_EACH (list, source) {
        unsigned n = 0;
        for (size_t k = 0; k < ARRAY_SIZE(refs); k++) {
            const struct val *ref = val_get(source, refs[k]);
            if (!ref)
                continue;
            n++;
            if (!val_getstr(ref, N_name).n)
                say_required(x, AT(AT(ITEM(p, i), refs[k]), N_name), NULL);
            else
                check_text(x, AT(AT(ITEM(p, i), refs[k]), N_name), val_getstr(ref, N_name), check_subdomain);
        }
        if (n != 1)
            say_invalid(x, p, empty,
                        n ? "may not have more than one field specified at a time"
                          : "must specify one of: `configMapRef` or `secretRef`");
        i++;
    }
}

/* ---- mounts -------------------------------------------------------------------------------------------- */

static const struct val *find_by(const struct val *list, name_id name, struct str s)
{
    VAL_EACH (list, item)
        if (str_eq(val_getstr(item, name), s))
            return item;
    return NULL;
}

/* The volume of that name, NULL when there is none or it is wrong itself. */
static const struct val *find_volume(struct validation *x, struct str name)
{
    static const struct val claim_member = {.kind = VAL_OBJ, .name = N_persistentVolumeClaim};
    static const struct val claim = {
        .kind = VAL_OBJ, .n = 1, .items = (struct val *)(uintptr_t)&claim_member};
    VAL_EACH (x->claim_templates, template)
        if (str_eq(obj_name(template), name))
            return &claim;
    const struct val *volumes = val_get(x->pod, N_volumes), *v = find_by(volumes, N_name, name);
    if (v && has_faults(x, ITEM(AT(x->pod_at, N_volumes), v - volumes->items)))
        return NULL;
    return v;
}

static bool privileged(const struct val *container)
{
    return val_bool(val_at(container, N_securityContext, N_privileged), false);
}

static void check_propagation(struct validation *x, const struct vpath *p, const struct val *container,
                              const struct val *mode)
{
    static const char *const modes[] = {"Bidirectional", "HostToContainer", "None", NULL};
    if (!str_in(val_str(mode), modes))
        say_unsupported(x, p, mode, modes);
    if (str_is(val_str(mode), "Bidirectional") && !privileged(container))
        say_forbidden(x, p, "Bidirectional mount propagation is available only to privileged containers");
}

static void check_recursive(struct validation *x, const struct vpath *p, const struct val *mount)
{
    static const char *const modes[] = {"Disabled", "Enabled", "IfPossible", NULL};
    const struct val *mode = val_get(mount, N_recursiveReadOnly);
    struct str propagation = val_getstr(mount, N_mountPropagation);
    if (!mode || str_is(val_str(mode), "Disabled"))
        return;
    if (!str_in(val_str(mode), modes)) {
        say_unsupported(x, p, mode, modes);
        return;
    }
    if (!val_bool(val_get(mount, N_readOnly), false))
        say_forbidden(x, p, "may only be specified when readOnly is true");
    if (propagation.n && !str_is(propagation, "None"))
        say_forbidden(x, p, "may only be specified when mountPropagation is None or not specified");
}

/* Upstream puts what concerns sub paths, propagation and read-only at the list, not at the item. */
static void check_mount(struct validation *x, const struct vpath *list, size_t i, const struct val *container)
{
    const struct val *mounts = val_get(container, N_volumeMounts), *m = val_item(mounts, i);
    const struct val *devices = val_get(container, N_volumeDevices);
    struct str name = val_getstr(m, N_name), path = val_getstr(m, N_mountPath),
               sub = val_getstr(m, N_subPath);
    struct str expr = val_getstr(m, N_subPathExpr);
    const struct vpath *p = ITEM(list, i);
    if (!name.n)
        say_required(x, AT(p, N_name), NULL);
    if (!path.n)
        say_required(x, AT(p, N_mountPath), NULL);
    if (!find_volume(x, name))
        say_not_found(x, AT(p, N_name), val_get(m, N_name) ?: &(struct val){.kind = VAL_STR, .s = ""});
    if (find_by(mounts, N_mountPath, path) != m)
        say_invalid_str(x, AT(p, N_mountPath), path, "must be unique");
    if (find_by(devices, N_name, name))
        say_invalid_str(x, AT(p, N_name), name, "must not already exist in volumeDevices");
    if (find_by(devices, N_devicePath, path))
        say_invalid_str(x, AT(p, N_mountPath), path, "must not already exist as a path in volumeDevices");
    if (sub.n)
        check_relative_path(x, AT(list, N_subPath), sub);
    if (expr.n && sub.n)
        say_invalid_str(x, AT(p, N_subPathExpr), expr, "subPathExpr and subPath are mutually exclusive");
    if (expr.n)
        check_relative_path(x, AT(list, N_subPathExpr), expr);
    if (val_get(m, N_mountPropagation))
        check_propagation(x, AT(list, N_mountPropagation), container, val_get(m, N_mountPropagation));
    check_recursive(x, AT(list, N_recursiveReadOnly), m);
}

static bool has_backsteps(struct str path)
{
    struct str rest = path, part;
    while (path.p && str_next(&rest, '/', &part))
        if (str_is(part, ".."))
            return true;
    return false;
}

static void check_device(struct validation *x, const struct vpath *p, const struct val *container,
                         const struct val *d)
{
    const struct val *devices = val_get(container, N_volumeDevices),
                     *mounts = val_get(container, N_volumeMounts);
    struct str name = val_getstr(d, N_name), path = val_getstr(d, N_devicePath);
    const struct val *volume = find_volume(x, name);
    if (find_by(devices, N_name, name) != d)
        say_invalid_str(x, AT(p, N_name), name, "must be unique");
    if (!volume)
        say_not_found(x, AT(p, N_name), val_get(d, N_name) ?: &(struct val){.kind = VAL_STR, .s = ""});
    else if (!val_get(volume, N_persistentVolumeClaim) && !val_get(volume, N_ephemeral))
        say_invalid_str(
            x, AT(p, N_name), name,
            "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
    if (find_by(devices, N_devicePath, path) != d)
        say_invalid_str(x, AT(p, N_devicePath), path, "must be unique");
    if (has_backsteps(path))
        say_invalid_str(x, AT(p, N_devicePath), path, "can not contain backsteps ('..')");
    if (find_by(mounts, N_name, name))
        say_invalid_str(x, AT(p, N_name), name, "must not already exist in volumeMounts");
    if (find_by(mounts, N_mountPath, path))
        say_invalid_str(x, AT(p, N_devicePath), path, "must not already exist as a path in volumeMounts");
}

/* ---- resources ----------------------------------------------------------------------------------------- */

/* More may be given out than there is. */
static bool overcommits(struct str resource)
{
    bool native = str_find(resource, '/') < 0 || str_contains(resource, STR("kubernetes.io/"));
    return native && !is_hugepages(resource);
}

static void check_huge_amount(struct validation *x, const struct vpath *p, struct str resource,
                              const struct val *q)
{
    if (!is_hugepages(resource))
        return;
    struct quantity page = quantity_or_zero(str_from(resource, strlen("hugepages-")));
    struct quantity amount = quantity_or_zero(val_str(q));
    if (page.nano <= 0 || amount.nano % page.nano)
        say_invalid(x, p, q, "is not a positive integer multiple of the page size");
}

static void check_resource(struct validation *x, const struct vpath *p, struct str name, const struct val *q,
                           bool of_pod)
{
    static const char *const of_pods[] = {"cpu", "memory", NULL};
    if (!of_pod)
        check_container_resource_name(x, p, name);
    else if (!str_in(name, of_pods) && !is_hugepages(name))
        say_unsupported(x, p, &(struct val){.kind = VAL_STR, .n = (uint32_t)name.n, .s = name.p},
                        (const char *const[]){"cpu", "hugepages-", "memory", NULL});
    check_resource_amount(x, p, name, q);
    check_huge_amount(x, p, name, q);
}

static void check_request(struct validation *x, const struct vpath *p, const struct val *limits,
                          struct str name, const struct val *q)
{
    const struct val *limit = val_key(limits, name);
    if (!limit) {
        if (!overcommits(name))
            say_required(x, AT(p, N_limits), "Limit must be set for non overcommitable resources");
        return;
    }
    int c = quantity_cmp(quantity_or_zero(val_str(q)), quantity_or_zero(val_str(limit)));
    if (c && !overcommits(name))
        say_invalid(x, AT(p, N_requests), q, "must be equal to the limit");
    else if (c > 0)
        say_invalid(x, AT(p, N_requests), q, "must be less than or equal to the limit");
}

static bool has_any(const struct val *map, bool (*is)(struct str))
{
    EACH_KEY (map, k)
        if (is(val_str(k)))
            return true;
    return false;
}

static bool is_cpu_or_memory(struct str s)
{
    return str_is(s, "cpu") || str_is(s, "memory");
}

static void check_claim_refs(struct validation *x, const struct vpath *p, const struct val *refs,
                             const struct val *claims)
{
    for (size_t i = 0; i < val_len(refs); i++) {
        const struct val *ref = val_item(refs, i), *name = val_get(ref, N_name);
        for (size_t j = 0; j < i; j++) {
            const struct val *other = val_item(refs, j);
            struct str a = val_getstr(ref, N_request), b = val_getstr(other, N_request);
            if (!str_eq(val_getstr(other, N_name), val_str(name)) || (a.n && b.n && !str_eq(a, b)))
                continue;
            say_duplicate(x, ITEM(p, i), name);
            break;
        }
        if (val_getstr(ref, N_request).n)
            check_text(x, AT(ITEM(p, i), N_request), val_getstr(ref, N_request), check_label_of_dns);
        if (!val_str(name).n)
            say_required(x, ITEM(p, i), NULL);
        else if (!find_by(claims, N_name, val_str(name)))
            say_not_found(x, ITEM(p, i), name);
    }
}

void check_resources(struct validation *x, const struct vpath *p, const struct val *v,
                     const struct val *claims, bool of_pod)
{
    const struct val *limits = val_get(v, N_limits), *requests = val_get(v, N_requests);
    VAL_EACH_ENTRY (limits, k, q)
        check_resource(x, KEY(AT(p, N_limits), val_str(k)), val_str(k), q, of_pod);
    VAL_EACH_ENTRY (requests, k, q) {
        check_resource(x, KEY(AT(p, N_requests), val_str(k)), val_str(k), q, of_pod);
        check_request(x, p, limits, val_str(k), q);
    }
    bool huge = has_any(limits, is_hugepages) || has_any(requests, is_hugepages);
    if (huge && !has_any(limits, is_cpu_or_memory) && !has_any(requests, is_cpu_or_memory))
        say_forbidden(x, p, "HugePages require cpu or memory");
    if (of_pod && val_get(v, N_claims))
        say_forbidden(x, AT(p, N_claims), "claims may not be set for Resources at pod-level");
    check_claim_refs(x, AT(p, N_claims), val_get(v, N_claims), claims);
}

static void check_resize_policy(struct validation *x, const struct vpath *p, const struct val *list)
{
    static const char *const names[] = {"cpu", "memory", NULL}, *const policies[] = {
                                                                    "NotRequired", "RestartContainer", NULL};
    bool never = str_is(val_getstr(x->pod, N_restartPolicy), "Never");
    for (size_t i = 0; i < val_len(list); i++) {
        const struct val *resource = val_get(val_item(list, i), N_resourceName),
                         *policy = val_get(val_item(list, i), N_restartPolicy);
        for (size_t j = 0; j < i; j++)
            if (str_eq(val_getstr(val_item(list, j), N_resourceName), val_str(resource))) {
                say_duplicate(x, ITEM(p, i), resource);
                break;
            }
        if (!val_str(resource).n)
            say_required(x, p, NULL);
        else if (!str_in(val_str(resource), names))
            say_unsupported(x, p, resource, names);
        if (!val_str(policy).n)
            say_required(x, p, NULL);
        else if (!str_in(val_str(policy), policies))
            say_unsupported(x, p, policy, policies);
        if (never && !str_is(val_str(policy), "NotRequired"))
            say_invalid(x, p, policy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
    }
}

/* ---- probes and hooks ---------------------------------------------------------------------------------- */

static const name_id handlers[] = {N_exec, N_httpGet, N_tcpSocket, N_grpc, N_sleep};

/* Exactly one of the ways. What is wrong with the way itself is its type's affair. */
static void check_handler(struct validation *x, const struct vpath *p, const struct val *v)
{
    unsigned n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
        if (val_get(v, handlers[i]) && n++)
            say_forbidden(x, AT(p, handlers[i]), "may not specify more than 1 handler type");
    if (!n)
        say_required(x, p, "must specify a handler type");
}

static void rule_exec(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    if (!val_len(val_get(v, N_command)))
        say_required(x, AT(p, N_command), NULL);
}

static void rule_http_get(struct validation *x, const struct vpath *p, const struct val *v,
                          const struct val *old)
{
    static const char *const schemes[] = {"HTTP", "HTTPS", NULL};
    if (!val_getstr(v, N_path).n)
        say_required(x, AT(p, N_path), NULL);
    check_port(x, AT(p, N_port), val_get(v, N_port));
    if (!str_in(val_getstr(v, N_scheme), schemes))
        say_unsupported(x, AT(p, N_scheme), val_get(v, N_scheme), schemes);
    VAL_EACH (val_get(v, N_httpHeaders), header)
        check_text(x, AT(p, N_httpHeaders), val_getstr(header, N_name), check_http_header);
}

static void rule_tcp_socket(struct validation *x, const struct vpath *p, const struct val *v,
                            const struct val *old)
{
    check_port(x, AT(p, N_port), val_get(v, N_port));
}

static void check_not_negative(struct validation *x, const struct vpath *p, const struct val *v)
{
    static const name_id counts[] = {N_initialDelaySeconds, N_timeoutSeconds, N_periodSeconds,
                                     N_successThreshold, N_failureThreshold};
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
        check_range(x, AT(p, counts[i]), val_get(v, counts[i]), 0, INT64_MAX);
}

static void check_probe(struct validation *x, const struct vpath *p, const struct val *v, bool readiness)
{
    if (!v)
        return;
    const struct val *grace = val_get(v, N_terminationGracePeriodSeconds);
    check_handler(x, p, v);
    check_not_negative(x, p, v);
    if (grace && val_int(grace, 1) <= 0)
        say_invalid(x, AT(p, N_terminationGracePeriodSeconds), grace, "must be greater than 0");
    if (readiness && grace)
        say_invalid(x, AT(p, N_terminationGracePeriodSeconds), grace, "must not be set for readinessProbes");
    if (!readiness && val_int(val_get(v, N_successThreshold), 0) != 1)
        say_invalid(x, AT(p, N_successThreshold), val_get(v, N_successThreshold), "must be 1");
}

static void check_hook(struct validation *x, const struct vpath *p, const struct val *v)
{
    const struct val *sleep = val_get(v, N_sleep), *grace = val_get(x->pod, N_terminationGracePeriodSeconds);
    if (!v)
        return;
    check_handler(x, p, v);
    int64_t seconds = val_int(val_get(sleep, N_seconds), 0);
    if (sleep && grace && (seconds < 0 || seconds > val_int(grace, 0)))
        say_invalid(x, AT(p, N_sleep), &(struct val){.kind = VAL_INT, .i = seconds},
                    "must be non-negative and less than terminationGracePeriodSeconds");
}

static void check_probes(struct validation *x, const struct vpath *p, const struct val *c)
{
    const struct val *lifecycle = val_get(c, N_lifecycle);
    check_hook(x, AT(AT(p, N_lifecycle), N_postStart), val_get(lifecycle, N_postStart));
    check_hook(x, AT(AT(p, N_lifecycle), N_preStop), val_get(lifecycle, N_preStop));
    check_probe(x, AT(p, N_livenessProbe), val_get(c, N_livenessProbe), false);
    check_probe(x, AT(p, N_readinessProbe), val_get(c, N_readinessProbe), true);
    check_probe(x, AT(p, N_startupProbe), val_get(c, N_startupProbe), false);
}

/* ---- restart rules ------------------------------------------------------------------------------------- */

static void check_restart_rules(struct validation *x, const struct vpath *p, const struct val *c)
{
    const struct val *policy = val_get(c, N_restartPolicy), *rules = val_get(c, N_restartPolicyRules);
    size_t i = 0;
    if (!policy && val_len(rules))
        say_required(x, AT(p, N_restartPolicy), "must specify restartPolicy when restart rules are used");
    if (val_len(rules) > 20)
        say_too_many(x, AT(p, N_restartPolicyRules), val_len(rules), 20);
    VAL_EACH (rules, rule) {
        if (!val_get(rule, N_exitCodes))
            say_required(x, AT(ITEM(AT(p, N_restartPolicyRules), i), N_exitCodes), "must be specified");
        i++;
    }
}

/* ---- security contexts --------------------------------------------------------------------------------- */

void check_local_path(struct validation *x, const struct vpath *p, struct str path)
{
    check_relative_path(x, p, path);
    if (str_starts(path, STR("..")) && !str_starts(path, STR("../")))
        say_invalid_str(x, p, path, "must not start with '..'");
}

static void rule_seccomp(struct validation *x, const struct vpath *p, const struct val *v,
                         const struct val *old)
{
    static const char *const kinds[] = {"Localhost", "RuntimeDefault", "Unconfined", NULL};
    const struct val *type = val_get(v, N_type), *profile = val_get(v, N_localhostProfile);
    bool local = str_is(val_str(type), "Localhost");
    if (!val_str(type).n)
        say_required(x, AT(p, N_type), "type is required when seccompProfile is set");
    else if (!str_in(val_str(type), kinds))
        say_unsupported(x, AT(p, N_type), type, kinds);
    if (local && !profile)
        say_required(x, AT(p, N_localhostProfile), "must be set when seccomp type is Localhost");
    else if (local)
        check_relative_path(x, AT(p, N_localhostProfile), val_str(profile));
    else if (profile)
        say_invalid(x, AT(p, N_localhostProfile), v, "can only be set when seccomp type is Localhost");
}

static void check_app_armor_name(struct validation *x, const struct vpath *p, const struct val *profile)
{
    enum { PATH_MAX_LENGTH = 4095 };
    struct str s = val_str(profile);
    if (!profile || !str_trim(s).n)
        say_required(x, p, "must be set when AppArmor type is Localhost");
    else if (str_trim(s).n != s.n)
        say_invalid(x, p, profile, "must not be padded with whitespace");
    if (s.n > PATH_MAX_LENGTH)
        say_too_long(x, p, PATH_MAX_LENGTH);
}

static void rule_app_armor(struct validation *x, const struct vpath *p, const struct val *v,
                           const struct val *old)
{
    static const char *const kinds[] = {"Localhost", "RuntimeDefault", "Unconfined", NULL};
    const struct val *type = val_get(v, N_type), *profile = val_get(v, N_localhostProfile);
    if (!val_str(type).n)
        say_required(x, AT(p, N_type), "type is required when appArmorProfile is set");
    else if (!str_in(val_str(type), kinds))
        say_unsupported(x, AT(p, N_type), type, kinds);
    else if (str_is(val_str(type), "Localhost"))
        check_app_armor_name(x, AT(p, N_localhostProfile), profile);
    else if (profile)
        say_invalid(x, AT(p, N_localhostProfile), profile, "can only be set when AppArmor type is Localhost");
}

static void rule_security_context(struct validation *x, const struct vpath *p, const struct val *v,
                                  const struct val *old)
{
    const struct val *escalate = val_get(v, N_allowPrivilegeEscalation);
    if (str_is(val_getstr(v, N_procMount), "Unmasked") && val_bool(val_get(x->pod, N_hostUsers), true))
        say_invalid(x, AT(p, N_procMount), val_get(v, N_procMount),
                    "`hostUsers` must be false to use `Unmasked`");
    if (!escalate || escalate->b)
        return;
    if (val_bool(val_get(v, N_privileged), false))
        say_invalid(x, p, v, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    VAL_EACH (val_at(v, N_capabilities, N_add), cap)
        if (str_is(val_str(cap), "CAP_SYS_ADMIN"))
            say_invalid(
                x, p, v,
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
}

static bool is_sysctl_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '/';
}

static bool is_sysctl_name(struct str s)
{
    bool right = s.n && s.n <= 253;
    char before = '.';
    for (size_t i = 0; i < s.n && right; i++) {
        bool mark = strchr("-_./", s.p[i]) != NULL, separator = s.p[i] == '.' || s.p[i] == '/';
        right =
            is_sysctl_char(s.p[i]) && !(mark && strchr("./", before)) && !(separator && strchr("-_", before));
        before = s.p[i];
    }
    return right && !strchr("-_./", before);
}

static bool is_network_sysctl(struct str s)
{
    return str_starts(s, STR("net.")) || str_starts(s, STR("net/"));
}

static bool is_ipc_sysctl(struct str s)
{
    return str_starts(s, STR("kernel.shm")) || str_starts(s, STR("kernel.msg")) || str_is(s, "kernel.sem") ||
           str_starts(s, STR("fs.mqueue."));
}

static void check_sysctls(struct validation *x, const struct vpath *p, const struct val *list)
{
    check_unique(x, p, list, N_name);
    for (size_t i = 0; i < val_len(list); i++) {
        struct str name = val_getstr(val_item(list, i), N_name);
        const struct vpath *at = AT(ITEM(p, i), N_name);
        if (name.n && !is_sysctl_name(name))
            say_invalid_str(x, at, name,
                            "must have at most 253 characters and be made of names with dots or slashes");
        if (val_bool(val_get(x->pod, N_hostNetwork), false) && is_network_sysctl(name))
            say_invalid_str(x, at, name, "may not be specified when 'hostNetwork' is true");
        if (val_bool(val_get(x->pod, N_hostIPC), false) && is_ipc_sysctl(name))
            say_invalid_str(x, at, name, "may not be specified when 'hostIPC' is true");
    }
}

static void rule_pod_security_context(struct validation *x, const struct vpath *p, const struct val *v,
                                      const struct val *old)
{
    size_t i = 0;
    VAL_EACH (val_get(v, N_supplementalGroups), group)
        check_range(x, ITEM(AT(p, N_supplementalGroups), i++), group, 0, INT32_MAX);
    check_sysctls(x, AT(p, N_sysctls), val_get(v, N_sysctls));
}

static void check_windows_user(struct validation *x, const struct vpath *p, const struct val *name)
{
    struct str s = val_str(name), domain = STR_NULL, user = s, rest;
    if (!name)
        return;
    if (str_cut(s, '\\', &domain, &rest))
        user = rest;
    bool wrong = !s.n || !user.n || user.n > 104 || domain.n >= 256 || str_find(user, '\\') >= 0;
    bool plain = true;
    for (size_t i = 0; i < user.n; i++) {
        wrong = wrong || (unsigned char)user.p[i] < 0x20 || strchr("\"/:;|=,+*?<>@[]", user.p[i]);
        plain = plain && (user.p[i] == '.' || user.p[i] == ' ');
    }
    if (wrong || plain)
        say_invalid(x, p, name, "is no name of a Windows user, or of a user of a domain");
}

static void rule_windows_options(struct validation *x, const struct vpath *p, const struct val *v,
                                 const struct val *old)
{
    const struct val *name = val_get(v, N_gmsaCredentialSpecName), *spec = val_get(v, N_gmsaCredentialSpec);
    if (name)
        check_text(x, AT(p, N_gmsaCredentialSpecName), val_str(name), check_subdomain);
    if (spec && (!spec->n || spec->n > 64 * 1024))
        say_invalid(x, AT(p, N_gmsaCredentialSpec), spec,
                    "gmsaCredentialSpec must not be empty, and under 64 KiB");
    check_windows_user(x, AT(p, N_runAsUserName), val_get(v, N_runAsUserName));
}

/* ---- containers ---------------------------------------------------------------------------------------- */

static void check_container(struct validation *x, const struct vpath *p, const struct val *c)
{
    const struct val *mounts = val_get(c, N_volumeMounts), *devices = val_get(c, N_volumeDevices);
    if (!val_getstr(c, N_image).n)
        say_required(x, AT(p, N_image), NULL);
    check_port_names(x, AT(p, N_ports), val_get(c, N_ports));
    check_env_from(x, AT(p, N_envFrom), val_get(c, N_envFrom));
    for (size_t i = 0; i < val_len(mounts); i++)
        check_mount(x, AT(p, N_volumeMounts), i, c);
    for (size_t i = 0; i < val_len(devices); i++)
        check_device(x, ITEM(AT(p, N_volumeDevices), i), c, val_item(devices, i));
    check_resources(x, AT(p, N_resources), val_get(c, N_resources), val_get(x->pod, N_resourceClaims), false);
    check_resize_policy(x, AT(p, N_resizePolicy), val_get(c, N_resizePolicy));
}

/* An earlier container of the Pod has the name. Those that run always are counted first. */
static bool name_taken(const struct val *spec, name_id list, size_t index)
{
    static const name_id lists[] = {N_containers, N_initContainers, N_ephemeralContainers};
    struct str name = val_getstr(val_item(val_get(spec, list), index), N_name);
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
        const struct val *containers = val_get(spec, lists[l]);
        size_t n = lists[l] == list ? index : val_len(containers);
        for (size_t i = 0; i < n; i++)
            if (str_eq(val_getstr(val_item(containers, i), N_name), name))
                return name.n > 0;
        if (lists[l] == list)
            return false;
    }
    return false;
}

static void check_init_container(struct validation *x, const struct vpath *p, const struct val *c)
{
    static const name_id forbidden[] = {N_lifecycle, N_livenessProbe, N_readinessProbe, N_startupProbe};
    size_t i = 0;
    if (str_is(val_getstr(c, N_restartPolicy), "Always")) {
        check_probes(x, p, c);
        return;
    }
    for (size_t k = 0; k < ARRAY_SIZE(forbidden); k++)
        if (val_get(c, forbidden[k]))
            say_forbidden(x, AT(p, forbidden[k]),
                          "may not be set for init containers without restartPolicy=Always");
    VAL_EACH (val_get(c, N_resizePolicy), policy) {
        if (str_is(val_getstr(policy, N_restartPolicy), "RestartContainer"))
            say_invalid(x, AT(ITEM(AT(p, N_resizePolicy), i), N_restartPolicy),
                        val_get(policy, N_restartPolicy),
                        "must not be set to 'RestartContainer' for non-sidecar initContainers");
        i++;
    }
}

static void rule_container(struct validation *x, const struct vpath *p, const struct val *v,
                           const struct val *old)
{
    name_id list = p->up ? p->up->name : N_containers;
    if (!x->pod)
        return;
    check_container(x, p, v);
    check_restart_rules(x, p, v);
    if (name_taken(x->pod, list, (size_t)p->index))
        say_duplicate(x, AT(p, N_name), val_get(v, N_name));
    if (list == N_initContainers)
        check_init_container(x, p, v);
    else
        check_probes(x, p, v);
    if (p->index == 0)
        check_host_ports(x, p->up, val_get(x->pod, list), list == N_containers);
}

static void rule_ephemeral(struct validation *x, const struct vpath *p, const struct val *v,
                           const struct val *old)
{
    static const name_id forbidden[] = {N_ports,          N_resources,     N_livenessProbe,
                                        N_readinessProbe, N_startupProbe,  N_lifecycle,
                                        N_resizePolicy,   N_restartPolicy, N_restartPolicyRules};
    static const char why[] = "cannot be set for an Ephemeral Container";
    const struct val *target = val_get(v, N_targetContainerName), *mounts = val_get(v, N_volumeMounts);
    struct str image = val_getstr(v, N_image);
    check_container(x, p, v);
    if (str_trim(image).n != image.n)
        say_invalid_str(x, AT(p, N_image), image, "must not have leading or trailing whitespace");
    if (name_taken(x->pod, N_ephemeralContainers, (size_t)p->index))
        say_duplicate(x, AT(p, N_name), val_get(v, N_name));
    if (val_str(target).n && !find_by(val_get(x->pod, N_containers), N_name, val_str(target)) &&
        !find_by(val_get(x->pod, N_initContainers), N_name, val_str(target)))
        say_not_found(x, AT(p, N_targetContainerName), target);
    for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++)
        if (val_get(v, forbidden[i]) && !(forbidden[i] == N_resources && !val_len(val_get(v, N_resources))))
            say_forbidden(x, AT(p, forbidden[i]), why);
    for (size_t i = 0; i < val_len(mounts); i++) {
        if (val_getstr(val_item(mounts, i), N_subPath).n)
            say_forbidden(x, AT(ITEM(AT(p, N_volumeMounts), i), N_subPath), why);
        if (val_getstr(val_item(mounts, i), N_subPathExpr).n)
            say_forbidden(x, AT(ITEM(AT(p, N_volumeMounts), i), N_subPathExpr), why);
    }
}

const struct rule rules_container[] = {
    {T_core_v1_AppArmorProfile, RULE_OWN, rule_app_armor},
    {T_core_v1_ConfigMapEnvSource, RULE_OWN, NULL},
    {T_core_v1_Container, 0, rule_container},
    {T_core_v1_ContainerResizePolicy, RULE_OWN, NULL},
    {T_core_v1_EnvVar, 0, rule_env_var},
    {T_core_v1_EphemeralContainer, 0, rule_ephemeral},
    {T_core_v1_ExecAction, RULE_OWN, rule_exec},
    {T_core_v1_HTTPGetAction, RULE_OWN, rule_http_get},
    {T_core_v1_HTTPHeader, RULE_OWN, NULL},
    {T_core_v1_ObjectFieldSelector, RULE_OWN, NULL},
    {T_core_v1_PodSecurityContext, 0, rule_pod_security_context},
    {T_core_v1_Probe, RULE_OWN, NULL},
    {T_core_v1_ResourceClaim, RULE_OWN, NULL},
    {T_core_v1_ResourceFieldSelector, RULE_OWN, NULL},
    {T_core_v1_SeccompProfile, RULE_OWN, rule_seccomp},
    {T_core_v1_SecretEnvSource, RULE_OWN, NULL},
    {T_core_v1_SecurityContext, 0, rule_security_context},
    {T_core_v1_SleepAction, RULE_OWN, NULL},
    {T_core_v1_TCPSocketAction, RULE_OWN, rule_tcp_socket},
    {T_core_v1_VolumeMount, RULE_OWN, NULL},
    {T_core_v1_WindowsSecurityContextOptions, RULE_OWN, rule_windows_options},
    {0, 0, NULL},
};
