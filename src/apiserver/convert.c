/* SPDX-License-Identifier: Apache-2.0 */
/* Served versions that are stored as another: the core and events.k8s.io Event, autoscaling v1 and v2 (D3). A
 * conversion renames members of the root; autoscaling's spec has its own. */
#include "apiserver/conversion.h"
#include "apiserver/custom.h"
#include "apiserver/request.h"

#include "names.h"
#include "resources.h"

const struct resource *stored_resource(const struct resource *r)
{
    if (r->index >= n_resources)
        return custom_stored(r);
    return r->storage && r->storage != r->index ? &resources[r->storage] : r;
}

bool converts_to(const struct resource *stored, const struct resource *to)
{
    return stored_resource(to) == stored_resource(stored);
}

/* Versions of a custom kind differ in name, and in what their schemas know (conversion strategy None). */
static struct val *renamed(struct arena *a, const struct resource *to, const struct val *v)
{
    char version[512];
    struct val *out = val_copy(a, v);
    val_set_str(a, out, N_apiVersion, str_of(resource_api_version(to, version, sizeof(version))));
    structural_prune(a, type_schema(to->type), out, true, NULL);
    structural_default(a, type_schema(to->type), out);
    return out;
}

static bool is_version(const struct resource *r, const struct val *v)
{
    char version[512];
    return str_is(val_getstr(v, N_apiVersion), resource_api_version(r, version, sizeof(version)));
}

struct rename {
    name_id served, stored;
};

static const struct rename event_names[] = {
    {N_note, N_message},
    {N_regarding, N_involvedObject},
    {N_reportingController, N_reportingComponent},
    {N_deprecatedSource, N_source},
    {N_deprecatedFirstTimestamp, N_firstTimestamp},
    {N_deprecatedLastTimestamp, N_lastTimestamp},
    {N_deprecatedCount, N_count},
};

static struct val *rename_members(struct arena *a, const struct val *v, const struct rename *map, size_t n,
                                  bool back, const struct resource *to)
{
    struct val *out = val_new(a, VAL_OBJ);
    char version[128];
    VAL_EACH_MEMBER(v, m) {
        name_id name = m->name;
        for (size_t i = 0; i < n; i++)
            if (name == (back ? map[i].stored : map[i].served)) {
                name = back ? map[i].served : map[i].stored;
                break;
            }
        val_set(a, out, name, *m);
    }
    val_set_str(a, out, N_kind, str_of(to->kind));
    val_set_str(a, out, N_apiVersion, str_of(resource_api_version(to, version, sizeof(version))));
    return out;
}

/* ---- autoscaling ------------------------------------------------------------------------------------- */

static void metric_target(struct arena *a, struct val *spec, int64_t percent)
{
    struct val *m = val_add_obj(a, val_sub_list(a, spec, N_metrics));
    val_set_str(a, m, N_type, STR("Resource"));
    struct val *res = val_sub_obj(a, m, N_resource);
    val_set_str(a, res, N_name, STR("cpu"));
    struct val *target = val_sub_obj(a, res, N_target);
    val_set_str(a, target, N_type, STR("Utilization"));
    val_set_int(a, target, N_averageUtilization, percent);
}

static bool is_cpu(const struct val *metric, name_id value, const struct val **ret)
{
    const struct val *res = val_get(metric, N_resource);
    *ret = value == N_target ? val_at(res, N_target, N_averageUtilization)
                             : val_at(res, N_current, N_averageUtilization);
    return str_is(val_getstr(res, N_name), "cpu") && *ret;
}

static struct val *hpa_to_v2(struct arena *a, const struct resource *to, struct val *v)
{
    struct val *out = rename_members(a, v, NULL, 0, false, to);
    const struct val *spec = val_get(v, N_spec);
    const struct val *percent = val_get(spec, N_targetCPUUtilizationPercentage);
    if (!percent)
        return out;
    struct val *s = val_copy_shallow(a, spec);
    val_del(s, N_targetCPUUtilizationPercentage);
    metric_target(a, s, val_int(percent, 80));
    val_set_ref(a, out, N_spec, s);
    return out;
}

static struct val *hpa_to_v1(struct arena *a, const struct resource *to, const struct val *v)
{
    struct val *out = rename_members(a, v, NULL, 0, true, to);
    const struct val *percent = NULL;
    const struct val *spec = val_get(v, N_spec), *status = val_get(v, N_status);
    if (spec) {
        struct val *s = val_copy_shallow(a, spec);
        VAL_EACH(val_get(spec, N_metrics), m)
            if (is_cpu(m, N_target, &percent))
                val_set_int(a, s, N_targetCPUUtilizationPercentage, val_int(percent, 0));
        val_del(s, N_metrics);
        val_del(s, N_behavior);
        val_set_ref(a, out, N_spec, s);
    }
    if (status) {
        struct val *s = val_copy_shallow(a, status);
        VAL_EACH(val_get(status, N_currentMetrics), m)
            if (is_cpu(m, N_current, &percent))
                val_set_int(a, s, N_currentCPUUtilizationPercentage, val_int(percent, 0));
        val_del(s, N_currentMetrics);
        val_del(s, N_conditions);
        val_set_ref(a, out, N_status, s);
    }
    return out;
}

/* ---- by kind ----------------------------------------------------------------------------------------- */

const struct val *convert_from_stored(struct arena *a, const struct resource *to, const struct val *v)
{
    if (to->index >= n_resources)
        return is_version(to, v) ? v : conversion_by_webhook(to) ? conversion_take(a, to, v) : renamed(a, to, v);
    switch (to->index) {
    case RES_EVENTS_EVENTS_K8S_IO:
        return rename_members(a, v, event_names, ARRAY_SIZE(event_names), true, to);
    case RES_HORIZONTALPODAUTOSCALERS_V1:
    case RES_HORIZONTALPODAUTOSCALERS:
        return stored_resource(to) == to ? v : hpa_to_v1(a, to, v);
    }
    return v;
}

struct val *convert_to_stored(struct arena *a, const struct resource *from, struct val *v)
{
    const struct resource *to = stored_resource(from);
    if (to == from)
        return v;
    if (to->index >= n_resources)
        return conversion_by_webhook(to) ? conversion_take(a, to, v) : renamed(a, to, v);
    if (from->index == RES_EVENTS_EVENTS_K8S_IO)
        return rename_members(a, v, event_names, ARRAY_SIZE(event_names), false, to);
    return hpa_to_v2(a, to, v);
}
