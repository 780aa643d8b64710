/* SPDX-License-Identifier: Apache-2.0 */
/* Computed cells of the core group, discovery and events. */
#include "names.h"
#include "resources.h"
#include "type/claim.h"
#include "type/meta.h"
#include "type/print-internal.h"
#include "wire/quantity.h"

enum { PARTS_MAX = 64 };

/* ---- ConfigMap, ComponentStatus ------------------------------------------------------------------------ */

static struct str cell_data(const struct cell_in *in)
{
    return arena_printf(in->arena, "%zu",
                        val_len(val_get(in->v, N_data)) + val_len(val_get(in->v, N_binaryData)));
}

static const struct val *healthy(const struct cell_in *in)
{
    return condition_find(val_get(in->v, N_conditions), STR("Healthy"));
}

static struct str cell_component_status(const struct cell_in *in)
{
    const struct val *c = healthy(in);
    return !c ? STR("Unknown") : str_is(val_getstr(c, N_status), "True") ? STR("Healthy") : STR("Unhealthy");
}

static struct str cell_component_message(const struct cell_in *in)
{
    return val_getstr(healthy(in), N_message);
}

static struct str cell_component_error(const struct cell_in *in)
{
    return val_getstr(healthy(in), N_error);
}

/* ---- Endpoints and slices ------------------------------------------------------------------------------ */

static struct str host_port(struct arena *a, struct str ip, int64_t port)
{
    bool v6 = str_find(ip, ':') >= 0;
    return arena_printf(a, "%s" STR_FMT "%s:%lld", v6 ? "[" : "", STR_ARG(ip), v6 ? "]" : "",
                        (long long)port);
}

static struct str cell_endpoints(const struct cell_in *in)
{
    struct str parts[3];
    size_t n = 0, count = 0;
    static const struct val one_port = {.kind = VAL_NULL};
    const struct val *subsets = val_get(in->v, N_subsets);
    if (!val_len(subsets))
        return STR("<none>");
    VAL_EACH (subsets, subset) {
        const struct val *ports = val_get(subset, N_ports), *addresses = val_get(subset, N_addresses);
        for (size_t p = 0; p < MAX(val_len(ports), (size_t)1); p++) {
            const struct val *port = val_item(ports, p) ?: &one_port;
            count += val_len(addresses);
            VAL_EACH (addresses, address)
                if (n < ARRAY_SIZE(parts))
                    parts[n++] = port == &one_port ? val_getstr(address, N_ip)
                                                   : host_port(in->arena, val_getstr(address, N_ip),
                                                               val_int(val_get(port, N_port), 0));
        }
    }
    return join_some(in->arena, parts, n, ARRAY_SIZE(parts), count, ",");
}

static struct str cell_slice_ports(const struct cell_in *in)
{
    struct str parts[3];
    size_t n = 0;
    const struct val *ports = val_get(in->v, N_ports);
    VAL_EACH (ports, port) {
        if (n == ARRAY_SIZE(parts))
            break;
        const struct val *number = val_get(port, N_port);
        parts[n++] = number                  ? arena_printf(in->arena, "%lld", (long long)val_int(number, 0))
                     : val_get(port, N_name) ? val_getstr(port, N_name)
                                             : STR("*");
    }
    return print_or(join_some(in->arena, parts, n, ARRAY_SIZE(parts), val_len(ports), ","), "<unset>");
}

static struct str cell_slice_endpoints(const struct cell_in *in)
{
    struct str parts[3];
    size_t n = 0, count = 0;
    VAL_EACH (val_get(in->v, N_endpoints), e)
        VAL_EACH (val_get(e, N_addresses), address) {
            if (n < ARRAY_SIZE(parts))
                parts[n++] = val_str(address);
            count++;
        }
    return print_or(join_some(in->arena, parts, n, ARRAY_SIZE(parts), count, ","), "<unset>");
}

/* ---- Event, in both its forms -------------------------------------------------------------------------- */

static const struct val *either(const struct val *v, name_id one, name_id other)
{
    return val_get(v, one) ?: val_get(v, other);
}

static const struct val *first_time(const struct val *v)
{
    return either(v, N_firstTimestamp, N_deprecatedFirstTimestamp) ?: val_get(v, N_eventTime);
}

static struct str cell_last_seen(const struct cell_in *in)
{
    const struct val *series = val_get(in->v, N_series),
                     *last = either(in->v, N_lastTimestamp, N_deprecatedLastTimestamp);
    return age_text(in->arena, series ? val_get(series, N_lastObservedTime) : last ?: first_time(in->v), in->now);
}

static struct str cell_first_seen(const struct cell_in *in)
{
    return age_text(in->arena, first_time(in->v), in->now);
}

static struct str cell_event_object(const struct cell_in *in)
{
    const struct val *ref = either(in->v, N_involvedObject, N_regarding);
    char *kind = arena_cstr(in->arena, val_getstr(ref, N_kind));
    for (char *p = kind; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + 'a' - 'A');
    struct str name = val_getstr(ref, N_name);
    return arena_printf(in->arena, "%s%s" STR_FMT, kind, name.n ? "/" : "", STR_ARG(name));
}

static struct str cell_event_subobject(const struct cell_in *in)
{
    return val_getstr(either(in->v, N_involvedObject, N_regarding), N_fieldPath);
}

static struct str cell_event_source(const struct cell_in *in)
{
    const struct val *source = either(in->v, N_source, N_deprecatedSource);
    const struct val *controller = either(in->v, N_reportingComponent, N_reportingController);
    struct str component = print_or(val_getstr(source, N_component), val_cstr(controller));
    struct str host = print_or(val_getstr(source, N_host), val_cstr(val_get(in->v, N_reportingInstance)));
    return arena_printf(in->arena, STR_FMT "%s" STR_FMT, STR_ARG(component), host.n ? ", " : "",
                        STR_ARG(host));
}

static struct str cell_event_message(const struct cell_in *in)
{
    return str_trim(val_str(either(in->v, N_message, N_note)));
}

static struct str cell_event_count(const struct cell_in *in)
{
    const struct val *series = val_get(in->v, N_series), *count = either(in->v, N_count, N_deprecatedCount);
    int64_t n = series ? val_int(val_get(series, N_count), 0) : val_int(count, 0);
    return arena_printf(in->arena, "%lld", (long long)(series || n ? n : 1));
}

/* ---- Node ---------------------------------------------------------------------------------------------- */

static struct str cell_node_status(const struct cell_in *in)
{
    const struct val *ready = condition_find(val_at(in->v, N_status, N_conditions), STR("Ready"));
    const char *text = !ready                                        ? "Unknown"
                       : str_is(val_getstr(ready, N_status), "True") ? "Ready"
                                                                     : "NotReady";
    bool off = val_bool(val_at(in->v, N_spec, N_unschedulable), false);
    return arena_printf(in->arena, "%s%s", text, off ? ",SchedulingDisabled" : "");
}

static struct str node_role(const struct val *k, const struct val *v)
{
    if (str_starts(val_str(k), STR("node-role.kubernetes.io/")))
        return str_from(val_str(k), strlen("node-role.kubernetes.io/"));
    return str_is(val_str(k), "kubernetes.io/role") ? val_str(v) : STR("");
}

static bool among(const struct str *parts, size_t n, struct str s)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(parts[i], s))
            return true;
    return false;
}

/* Each once, sorted. */
static void insert(struct str *parts, size_t *n, struct str s)
{
    size_t i = *n;
    if (!s.n || *n == PARTS_MAX || among(parts, *n, s))
        return;
    for (; i > 0 && str_cmp(parts[i - 1], s) > 0; i--)
        parts[i] = parts[i - 1];
    parts[i] = s;
    ++*n;
}

static struct str cell_node_roles(const struct cell_in *in)
{
    struct str parts[PARTS_MAX];
    size_t n = 0;
    VAL_EACH_ENTRY (obj_labels(in->v), k, v)
        insert(parts, &n, node_role(k, v));
    return print_or(arena_join(in->arena, parts, n, STR(",")), "<none>");
}

static struct str node_address(const struct cell_in *in, const char *type)
{
    VAL_EACH (val_at(in->v, N_status, N_addresses), address)
        if (str_is(val_getstr(address, N_type), type))
            return val_getstr(address, N_address);
    return STR("<none>");
}

static struct str cell_internal_ip(const struct cell_in *in)
{
    return node_address(in, "InternalIP");
}

static struct str cell_external_ip(const struct cell_in *in)
{
    return node_address(in, "ExternalIP");
}

static struct str cell_kernel(const struct cell_in *in)
{
    const struct val *info = val_at(in->v, N_status, N_nodeInfo);
    struct str version = print_or(val_getstr(info, N_kernelVersion), "<unknown>"),
               machine = val_getstr(info, N_architecture);
    return machine.n ? arena_printf(in->arena, STR_FMT " (" STR_FMT ")", STR_ARG(version), STR_ARG(machine))
                     : version;
}

/* ---- volumes and claims -------------------------------------------------------------------------------- */

static struct str access_modes(struct arena *a, const struct val *modes)
{
    static const char *const names[][2] = {{"ReadWriteOnce", "RWO"},
                                           {"ReadOnlyMany", "ROX"},
                                           {"ReadWriteMany", "RWX"},
                                           {"ReadWriteOncePod", "RWOP"}};
    struct str parts[4];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        VAL_EACH (modes, mode)
            if (str_is(val_str(mode), names[i][0])) {
                parts[n++] = str_of(names[i][1]);
                break;
            }
    return arena_join(a, parts, n, STR(","));
}

static struct str cell_phase(const struct cell_in *in)
{
    return obj_deleting(in->v) ? STR("Terminating") : val_str(val_at(in->v, N_status, N_phase));
}

static bool bound(const struct cell_in *in)
{
    return val_str(val_at(in->v, N_spec, N_volumeName)).n > 0;
}

static struct str cell_claim_capacity(const struct cell_in *in)
{
    struct str amount = val_str(val_key(val_at(in->v, N_status, N_capacity), STR("storage")));
    return bound(in) ? print_or(amount, "0") : STR("");
}

static struct str cell_claim_modes(const struct cell_in *in)
{
    return bound(in) ? access_modes(in->arena, val_at(in->v, N_status, N_accessModes)) : STR("");
}

static struct str cell_volume_modes(const struct cell_in *in)
{
    return access_modes(in->arena, val_at(in->v, N_spec, N_accessModes));
}

static struct str cell_storage_class(const struct cell_in *in)
{
    struct str old = obj_annotation(in->v, STR("volume.beta.kubernetes.io/storage-class"));
    return old.n ? old : val_str(val_at(in->v, N_spec, N_storageClassName));
}

static struct str cell_class_name(const struct cell_in *in)
{
    return arena_printf(in->arena, STR_FMT "%s", STR_ARG(obj_name(in->v)), class_is_default(in->v) ? " (default)" : "");
}

static struct str cell_claim(const struct cell_in *in)
{
    const struct val *ref = val_at(in->v, N_spec, N_claimRef);
    if (!ref)
        return STR("");
    return arena_printf(in->arena, STR_FMT "/" STR_FMT, STR_ARG(val_getstr(ref, N_namespace)),
                        STR_ARG(val_getstr(ref, N_name)));
}

/* ---- ResourceQuota ------------------------------------------------------------------------------------- */

static struct str quota_text(const struct cell_in *in, bool limits)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    const struct val *hard = val_at(in->v, N_status, N_hard), *used = val_at(in->v, N_status, N_used);
    struct str names[PARTS_MAX];
    size_t n = 0;
    VAL_EACH_ENTRY (hard, k, v) {
        (void)v;
        if (str_starts(val_str(k), STR("limits.")) == limits)
            insert(names, &n, val_str(k));
    }
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s" STR_FMT ": " STR_FMT "/" STR_FMT, i ? ", " : "", STR_ARG(names[i]),
                   STR_ARG(print_or(val_str(val_key(used, names[i])), "0")),
                   STR_ARG(val_str(val_key(hard, names[i]))));
    return arena_str(in->arena, buf_str(&b));
}

static struct str cell_quota_request(const struct cell_in *in)
{
    return quota_text(in, false);
}

static struct str cell_quota_limit(const struct cell_in *in)
{
    return quota_text(in, true);
}

/* ---- Service ------------------------------------------------------------------------------------------- */

static struct str cell_service_external(const struct cell_in *in)
{
    struct str type = val_str(val_at(in->v, N_spec, N_type)), parts[PARTS_MAX];
    size_t n = 0;
    if (str_is(type, "ExternalName"))
        return val_str(val_at(in->v, N_spec, N_externalName));
    if (str_is(type, "LoadBalancer"))
        VAL_EACH (val_at(in->v, N_status, N_loadBalancer, N_ingress), ingress)
            insert(parts, &n, print_or(val_getstr(ingress, N_ip), val_cstr(val_get(ingress, N_hostname))));
    VAL_EACH (val_at(in->v, N_spec, N_externalIPs), ip)
        if (n < PARTS_MAX)
            parts[n++] = val_str(ip);
    return print_or(arena_join(in->arena, parts, n, STR(",")),
                    str_is(type, "LoadBalancer") ? "<pending>" : "<none>");
}

static struct str cell_service_ports(const struct cell_in *in)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    VAL_EACH (val_at(in->v, N_spec, N_ports), port) {
        long long node = val_int(val_get(port, N_nodePort), 0);
        buf_printf(&b, "%s%lld", b.n ? "," : "", (long long)val_int(val_get(port, N_port), 0));
        if (node)
            buf_printf(&b, ":%lld", node);
        buf_printf(&b, "/" STR_FMT, STR_ARG(val_getstr(port, N_protocol)));
    }
    return print_or(arena_str(in->arena, buf_str(&b)), "<none>");
}

#define EVENT_CELLS(res)                                                                                     \
    {res, "Last Seen", cell_last_seen}, {res, "Object", cell_event_object},                                  \
        {res, "Subobject", cell_event_subobject}, {res, "Source", cell_event_source},                        \
        {res, "Message", cell_event_message}, {res, "First Seen", cell_first_seen},                          \
    {                                                                                                        \
        res, "Count", cell_event_count, true                                                                 \
    }

const struct cell_rule cells_core[] = {
    {RES_COMPONENTSTATUSES, "Status", cell_component_status},
    {RES_COMPONENTSTATUSES, "Message", cell_component_message},
    {RES_COMPONENTSTATUSES, "Error", cell_component_error},
    {RES_CONFIGMAPS, "Data", cell_data, true},
    {RES_ENDPOINTS, "Endpoints", cell_endpoints},
    {RES_ENDPOINTSLICES, "Ports", cell_slice_ports},
    {RES_ENDPOINTSLICES, "Endpoints", cell_slice_endpoints},
    EVENT_CELLS(RES_EVENTS),
    EVENT_CELLS(RES_EVENTS_EVENTS_K8S_IO),
    {RES_NODES, "Status", cell_node_status},
    {RES_NODES, "Roles", cell_node_roles},
    {RES_NODES, "Internal-IP", cell_internal_ip},
    {RES_NODES, "External-IP", cell_external_ip},
    {RES_NODES, "Kernel-Version", cell_kernel},
    {RES_PERSISTENTVOLUMECLAIMS, "Status", cell_phase},
    {RES_PERSISTENTVOLUMECLAIMS, "Capacity", cell_claim_capacity},
    {RES_PERSISTENTVOLUMECLAIMS, "Access Modes", cell_claim_modes},
    {RES_PERSISTENTVOLUMECLAIMS, "StorageClass", cell_storage_class},
    {RES_PERSISTENTVOLUMES, "Access Modes", cell_volume_modes},
    {RES_PERSISTENTVOLUMES, "Status", cell_phase},
    {RES_PERSISTENTVOLUMES, "Claim", cell_claim},
    {RES_PERSISTENTVOLUMES, "StorageClass", cell_storage_class},
    {RES_RESOURCEQUOTAS, "Request", cell_quota_request},
    {RES_RESOURCEQUOTAS, "Limit", cell_quota_limit},
    {RES_STORAGECLASSES, "Name", cell_class_name},
    {RES_SERVICES, "External-IP", cell_service_external},
    {RES_SERVICES, "Port(s)", cell_service_ports},
    {0},
};
