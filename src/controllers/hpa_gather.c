/* SPDX-License-Identifier: Apache-2.0 */
/* Asks for what an autoscaler goes by: the Scale of its target, and its metrics. Waits. */
#include "controllers/hpa.h"

#include "net/url.h"
#include "resources.h"
#include "type/meta.h"
#include "types.h"

/* The APIs of adapters (k8s.io/metrics); not ours to serve, so not among resources[]. */
#define CUSTOM "custom.metrics.k8s.io"
#define EXTERNAL "external.metrics.k8s.io"

struct gathering {
    struct client *client;
    struct arena *arena;
    const struct val *hpa;
    struct str ns, selector;
    struct hpa_reading pods; /* PodMetrics are asked for once, whatever is made of them */
    bool asked_pods;
};

static struct hpa_reading failed(struct str why)
{
    return (struct hpa_reading){.failed = why};
}

/* ---- the target -------------------------------------------------------------------------------------- */

static bool has_scale(const struct resource *r)
{
    return resource_subresource(r, STR("scale")) != NULL;
}

/* The kind of that group, in whatever version. */
static const struct resource *find_kind(struct str group, struct str kind)
{
    const struct resource *found = NULL;
    for (unsigned i = 1; i < n_resources; i++) {
        const struct resource *r = &resources[i];
        if (str_is(group, r->group) && str_is(kind, r->kind) &&
            (!found || (!has_scale(found) && has_scale(r))))
            found = r;
    }
    return found;
}

static bool split_version(struct str api_version, struct str *ret_group)
{
    struct str version, more;
    *ret_group = STR("");
    if (!str_cut(api_version, '/', ret_group, &version)) {
        *ret_group = STR("");
        return true;
    }
    return !str_cut(version, '/', &version, &more);
}

static void get_scale(struct gathering *g, struct hpa_readings *ret)
{
    const struct val *ref = val_at(g->hpa, N_spec, N_scaleTargetRef);
    struct str group, version = val_getstr(ref, N_apiVersion), kind = val_getstr(ref, N_kind);
    struct status s;
    status_init(&s, g->arena);
    if (!split_version(version, &group)) {
        ret->scale_failed =
            arena_printf(g->arena, "unexpected GroupVersion string: " STR_FMT, STR_ARG(version));
        return;
    }
    ret->res = find_kind(group, kind);
    if (!ret->res) {
        ret->scale_failed =
            arena_printf(g->arena, "no matches for kind \"" STR_FMT "\" in group \"" STR_FMT "\"",
                         STR_ARG(kind), STR_ARG(group));
        return;
    }
    int r = client_get(
        g->client,
        CALL(.res = ret->res, .ns = g->ns, .name = val_getstr(ref, N_name), .subresource = "scale"), g->arena,
        &ret->scale, &s);
    if (r) {
        ret->scale = NULL;
        ret->scale_failed =
            s.message.n ? s.message : arena_printf(g->arena, "%s", strerror(r < 0 ? -r : EIO));
    }
}

/* ---- metrics of pods --------------------------------------------------------------------------------- */

static struct hpa_reading list(struct gathering *g, const struct call *call, const char *api,
                               const char *absent)
{
    const struct val *v = NULL;
    struct status s;
    status_init(&s, g->arena);
    int r = client_list(g->client, call, g->arena, &v, &s);
    if ((r == 404 || r == 405) && absent && !s.kind.n)
        return failed(arena_printf(g->arena, "unable to fetch metrics from %s metrics API: %s", api, absent));
    if (r)
        return failed(arena_printf(g->arena, "unable to fetch metrics from %s metrics API: " STR_FMT, api,
                                   STR_ARG(s.message)));
    if (!val_len(val_get(v, N_items)))
        return failed(arena_printf(g->arena, "no metrics returned from %s metrics API", api));
    return (struct hpa_reading){.v = v};
}

static struct hpa_reading ask_resource(struct gathering *g)
{
    if (!g->asked_pods)
        g->pods = list(
            g, CALL(.res = &resources[RES_PODS_METRICS_K8S_IO], .ns = g->ns, .label_selector = g->selector),
            "resource", NULL);
    g->asked_pods = true;
    return g->pods;
}

/* ---- custom and external metrics --------------------------------------------------------------------- */

static struct str selector_of(struct gathering *g, const struct val *id)
{
    struct selector s;
    const struct val *v = val_get(id, N_selector);
    if (!v || selector_from_val(g->arena, v, &s, NULL) < 0)
        return STR("");
    return selector_print(g->arena, &s);
}

static const struct resource *adapter(struct gathering *g, const char *group, const char *version,
                                      struct str name, unsigned type)
{
    struct resource *r = ARENA_NEW(g->arena, struct resource);
    *r = (struct resource){.group = group,
                           .version = version,
                           .name = arena_cstr(g->arena, name),
                           .kind = "MetricValueList",
                           .type = &types[type],
                           .list_type = &types[type],
                           .verbs = VERB_LIST,
                           .namespaced = true};
    return r;
}

static struct hpa_reading ask_custom(struct gathering *g, struct str resource, struct str name,
                                     const char *metric, struct str pods, const struct val *id)
{
    struct buf query CLEANUP_BUF = BUF_INIT;
    struct str selector = selector_of(g, id);
    if (selector.n)
        query_add(&query, "metricLabelSelector", selector);
    const struct resource *res =
        adapter(g, CUSTOM, "v1beta2", resource, T_custom_metrics_v1beta2_MetricValueList);
    return list(g,
                CALL(.res = res, .ns = g->ns, .name = name, .subresource = metric, .label_selector = pods,
                     .query = arena_str(g->arena, buf_str(&query))),
                "custom", "no custom metrics API (" CUSTOM ") registered");
}

static struct hpa_reading ask_pods(struct gathering *g, const struct val *source)
{
    const struct val *id = val_get(source, N_metric);
    return ask_custom(g, STR("pods"), STR("*"), val_cstr(val_get(id, N_name)), g->selector, id);
}

static struct hpa_reading ask_object(struct gathering *g, const struct val *source)
{
    const struct val *id = val_get(source, N_metric), *about = val_get(source, N_describedObject);
    struct str kind = val_getstr(about, N_kind), group;
    const char *metric = val_cstr(val_get(id, N_name));
    if (!split_version(val_getstr(about, N_apiVersion), &group))
        group = STR("");
    if (str_is(kind, "Namespace") && !group.n) /* the namespace itself: .../namespaces/x/metrics/y */
        return ask_custom(g, STR("metrics"), str_of(metric), NULL, STR(""), id);
    const struct resource *r = find_kind(group, kind);
    if (!r)
        return failed(
            arena_printf(g->arena,
                         "unable to fetch metrics from custom metrics API: no matches for kind \"" STR_FMT
                         "\" in group \"" STR_FMT "\"",
                         STR_ARG(kind), STR_ARG(group)));
    struct str resource = arena_printf(g->arena, "%s%s" STR_FMT, r->name, group.n ? "." : "", STR_ARG(group));
    return ask_custom(g, resource, val_getstr(about, N_name), metric, STR(""), id);
}

static struct hpa_reading ask_external(struct gathering *g, const struct val *source)
{
    const struct val *id = val_get(source, N_metric);
    struct str name = val_getstr(id, N_name);
    const struct resource *res =
        adapter(g, EXTERNAL, "v1beta1", name, T_external_metrics_v1beta1_ExternalMetricValueList);
    const char *absent =
        arena_printf(g->arena,
                     "the server could not find the requested resource (get " STR_FMT "." EXTERNAL ")",
                     STR_ARG(name))
            .p;
    return list(g, CALL(.res = res, .ns = g->ns, .label_selector = selector_of(g, id)), "external", absent);
}

static struct hpa_reading ask(struct gathering *g, const struct val *metric)
{
    struct str type = val_getstr(metric, N_type);
    if (str_is(type, "Resource") || str_is(type, "ContainerResource"))
        return ask_resource(g);
    if (str_is(type, "Pods"))
        return ask_pods(g, val_get(metric, N_pods));
    if (str_is(type, "Object"))
        return ask_object(g, val_get(metric, N_object));
    if (str_is(type, "External"))
        return ask_external(g, val_get(metric, N_external));
    return failed(STR("unknown metric source type"));
}

const void *hpa_gather(struct client *c, const struct snapshot *world, struct key key, struct arena *a)
{
    const struct object *hpa =
        snapshot_get(world, &resources[RES_HORIZONTALPODAUTOSCALERS], key.ns, key.name);
    if (!hpa || obj_deleting(hpa->val))
        return NULL;
    struct hpa_readings *ret = ARENA_NEW(a, struct hpa_readings);
    struct gathering g = {.client = c, .arena = a, .hpa = hpa->val, .ns = key.ns};
    ret->spec = val_copy(a, val_get(hpa->val, N_spec));
    get_scale(&g, ret);
    if (!ret->scale || !hpa_needs_metrics(hpa->val, val_int(val_at(ret->scale, N_spec, N_replicas), 0)))
        return ret;
    const struct val *metrics = val_at(hpa->val, N_spec, N_metrics);
    struct hpa_reading *all = ARENA_ARRAY(a, struct hpa_reading, val_len(metrics));
    g.selector = val_str(val_at(ret->scale, N_status, N_selector));
    size_t n = 0;
    VAL_EACH (metrics, m)
        all[n++] = ask(&g, m);
    ret->metrics = all;
    return ret;
}
