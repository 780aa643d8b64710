/* SPDX-License-Identifier: Apache-2.0 */
/* The autoscaler: tables of what metrics propose, of limits, and whole reconciles. */
#include "controllers/hpa.h"

#include <stdio.h>

#include "testing.h"
#include "type/meta.h"
#include "types.h"
#include "world.h"

#define NOW "2026-01-01T00:00:00Z" /* world_now */

/* ---- proposals --------------------------------------------------------------------------------------- */

/* A pod and its metric, in one word each: "name phase ready value", value in milli of the target's unit; "-" for none.
 * ready: t true, f false and never was, n not ready now but was. Requests are 1000 m each. */
struct proposal_case {
    const char *what;
    const char *pods;   /* separated by commas */
    const char *target; /* of the metric */
    int64_t replicas, want;
    const char *status; /* "percent average" */
};

static const struct proposal_case proposals[] = {
    {"up to the share", "a R t 800,b R t 800", "averageUtilization: 40", 2, 4, "80 800m"},
    {"down to the share", "a R t 100,b R t 100,c R t 100", "averageUtilization: 50", 3, 1, "10 100m"},
    {"within tolerance", "a R t 540,b R t 540", "averageUtilization: 50", 2, 2, "54 540m"},
    {"beyond tolerance", "a R t 560,b R t 560", "averageUtilization: 50", 2, 3, "56 560m"},
    {"average value", "a R t 300,b R t 500", "averageValue: 200m", 2, 4, "- 400m"},
    {"missing counts as idle on the way up", "a R t 1000,b R t 1000,c R t -", "averageUtilization: 50", 3, 4, "100 1"},
    {"missing counts as full on the way down", "a R t 100,b R t 100,c R t -", "averageUtilization: 50", 3, 3, "10 100m"},
    {"missing would turn it around", "a R t 600,b R t -", "averageUtilization: 50", 2, 2, "60 600m"},
    {"missing counts as the target on the way down", "a R t 100,b R t 100,c R t -", "averageValue: 500m", 3, 2, "- 100m"},
    {"unready counts as idle on the way up", "a R t 1000,b R f 900", "averageUtilization: 50", 2, 2, "100 1"},
    {"unready is left out on the way down", "a R t 100,b R f 900", "averageUtilization: 50", 2, 1, "10 100m"},
    {"pending is unready", "a R t 1500,b P t -", "averageUtilization: 50", 2, 3, "150 1500m"},
    {"failed and deleted pods are nobody's", "a R t 500,b F t -,c D t 900", "averageUtilization: 50", 1, 1, "50 500m"},
    {"was ready once: counts", "a R t 800,b R n 800", "averageUtilization: 40", 2, 4, "80 800m"},
};

static struct val *parse(struct arena *a, unsigned type, const char *text)
{
    return val_relaxed(a, &types[type], text);
}

static void add_pods(struct arena *a, const char *list, struct objects *ret, struct val *items)
{
    struct str rest = str_of(list), one;
    while (str_next(&rest, ',', &one)) {
        char name[16], phase, ready, value[16];
        assert_int_equal(sscanf(arena_cstr(a, one), "%15s %c %c %15s", name, &phase, &ready, value), 4);
        struct str text = arena_printf(
            a,
            "{metadata: {namespace: x, name: %s, labels: {app: web} %s}, spec: {containers: [{name: c, resources: "
            "{requests: {cpu: '1'}}}]}, status: {phase: %s, startTime: '2025-12-31T20:00:00Z', conditions: [{type: Ready, "
            "status: '%s', lastTransitionTime: '%s'}]}}",
            name, phase == 'D' ? ", deletionTimestamp: '" NOW "'" : "",
            phase == 'P' ? "Pending" : phase == 'F' ? "Failed" : "Running", ready == 't' ? "True" : "False",
            ready == 'f' ? "2025-12-31T20:00:10Z" : "2025-12-31T21:00:00Z");
        objects_add(a, ret, object_relaxed(RES_PODS, text.p));
        if (value[0] != '-')
            val_add(a, items,
                    *parse(a, T_metrics_v1beta1_PodMetrics,
                           arena_printf(a,
                                        "{metadata: {namespace: x, name: %s}, timestamp: '" NOW
                                        "', window: '15s', containers: [{name: c, usage: {cpu: %sm}}]}",
                                        name, value)
                               .p));
    }
}

static void drop_pods(struct objects *pods)
{
    for (size_t i = 0; i < pods->n; i++)
        object_unref((struct object *)(uintptr_t)pods->items[i]);
}

static struct hpa_view view(struct arena *a, const struct val *hpa, const struct objects *pods, int64_t replicas)
{
    static const struct controllers_config none;
    return (struct hpa_view){a, hpa, pods, replicas, replicas, hpa_settings_of(&none), world_now};
}

static void test_proposals(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(proposals); i++) {
        const struct proposal_case *c = &proposals[i];
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct objects pods = {0};
        struct val *list = val_new(&a, VAL_OBJ), *items = val_sub_list(&a, list, N_items);
        add_pods(&a, c->pods, &pods, items);
        const struct val *hpa = parse(&a, T_autoscaling_v2_HorizontalPodAutoscaler, "{metadata: {namespace: x}}"),
                         *metric = parse(&a, T_autoscaling_v2_MetricSpec,
                                         arena_printf(&a, "{type: Resource, resource: {name: cpu, target: {%s}}}", c->target).p);
        struct hpa_view x = view(&a, hpa, &pods, c->replicas);
        struct hpa_reading r = {.v = list};
        struct hpa_proposal p;
        if (!hpa_propose(&x, metric, &r, &p))
            fail_msg("%s: failed: " STR_FMT, c->what, STR_ARG(p.failed));
        const struct val *now = val_at(p.status, N_resource, N_current);
        int64_t percent = val_int(val_get(now, N_averageUtilization), -1);
        struct str got = percent < 0
                             ? arena_printf(&a, "- " STR_FMT, STR_ARG(val_getstr(now, N_averageValue)))
                             : arena_printf(&a, "%lld " STR_FMT, (long long)percent, STR_ARG(val_getstr(now, N_averageValue)));
        if (p.replicas != c->want || !str_is(got, c->status))
            fail_msg("%s: %lld, %s", c->what, (long long)p.replicas, got.p);
        drop_pods(&pods);
    }
}

/* Values that add up to more than a number holds: as many replicas as there may be, not few. */
static void test_large_values(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct objects pods = {0};
    struct val *list = val_new(&a, VAL_OBJ), *items = val_sub_list(&a, list, N_items), *ignored = val_new(&a, VAL_LIST);
    add_pods(&a, "a R t 1,b R t 1", &pods, ignored);
    for (const char *const *name = (const char *const[]){"a", "b", NULL}; *name; name++)
        val_add(&a, items, *parse(&a, T_metrics_v1beta1_PodMetrics,
                                  arena_printf(&a, "{metadata: {namespace: x, name: %s}, timestamp: '" NOW "', window: '15s', containers: [{name: c, usage: "
                                                   "{cpu: '9000000000000000'}}, {name: d, usage: {cpu: '9000000000000000'}}]}", *name).p));
    const struct val *metric = parse(&a, T_autoscaling_v2_MetricSpec, "{type: Resource, resource: {name: cpu, target: {averageValue: 1}}}");
    struct hpa_view x = view(&a, NULL, &pods, 2);
    struct hpa_reading r = {.v = list};
    struct hpa_proposal p;
    assert_true(hpa_propose(&x, metric, &r, &p));
    assert_int_equal(p.replicas, INT32_MAX);
    drop_pods(&pods);
}

/* What stands in conditions and events, word for word. */
static void test_failures(void **state)
{
    static const struct {
        const char *metric, *pods;
        const char *answer; /* why there is none; NULL: there is one */
        const char *reason, *failed, *first;
    } cases[] = {
        {"{type: Resource, resource: {name: cpu, target: {averageUtilization: 50}}}", "a R t 1",
         "unable to fetch metrics from resource metrics API: the server could not find the requested resource (get "
         "pods.metrics.k8s.io)",
         "FailedGetResourceMetric",
         "failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource "
         "metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)",
         "failed to get cpu resource metric value: failed to get cpu utilization: unable to get metrics for resource cpu: "
         "unable to fetch metrics from resource metrics API: the server could not find the requested resource (get "
         "pods.metrics.k8s.io)"},
        {"{type: Resource, resource: {name: memory, target: {averageUtilization: 50}}}", "a R t 1", NULL,
         "FailedGetResourceMetric",
         "failed to get memory utilization: did not receive metrics for targeted pods (pods might be unready)", NULL},
        {"{type: ContainerResource, containerResource: {name: cpu, container: d, target: {averageUtilization: 50}}}", "a R t 1",
         NULL, "FailedGetContainerResourceMetric",
         "failed to get cpu utilization: did not receive metrics for targeted pods (pods might be unready)", NULL},
        {"{type: Pods, pods: {metric: {name: rps}, target: {averageValue: 1}}}", "a R t 1",
         "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered",
         "FailedGetPodsMetric",
         "unable to get metric rps: unable to fetch metrics from custom metrics API: no custom metrics API "
         "(custom.metrics.k8s.io) registered",
         NULL},
        {"{type: Object, object: {metric: {name: hits}, describedObject: {kind: Ingress, name: main}, target: {type: Value, "
         "value: 1}}}",
         "a R t 1", "gone", "FailedGetObjectMetric", "unable to get metric hits on Ingress x/main: gone",
         "failed to get object metric value: unable to get metric hits on Ingress x/main: gone"},
        {"{type: External, external: {metric: {name: queue, selector: {matchLabels: {q: jobs}}}, target: {averageValue: 1}}}",
         "a R t 1", "gone", "FailedGetExternalMetric",
         "unable to get external metric x/queue/&LabelSelector{MatchLabels:map[string]string{q: jobs,},MatchExpressions:"
         "[]LabelSelectorRequirement{},}: gone",
         NULL},
        {"{type: Resource, resource: {name: cpu, target: {averageUtilization: 50}}}", "", NULL, "FailedGetResourceMetric",
         "failed to get cpu utilization: no pods returned by selector while calculating replica count", NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct objects pods = {0};
        struct val *list = val_new(&a, VAL_OBJ), *items = val_sub_list(&a, list, N_items);
        if (cases[i].pods[0])
            add_pods(&a, cases[i].pods, &pods, items);
        const struct val *hpa = parse(&a, T_autoscaling_v2_HorizontalPodAutoscaler, "{metadata: {namespace: x}}");
        struct hpa_view x = view(&a, hpa, &pods, 1);
        struct hpa_reading r = {.v = list, .failed = str_of(cases[i].answer)};
        struct hpa_proposal p;
        assert_false(hpa_propose(&x, parse(&a, T_autoscaling_v2_MetricSpec, cases[i].metric), &r, &p));
        assert_string_equal(p.failed_reason, cases[i].reason);
        assert_str(p.failed, cases[i].failed);
        if (cases[i].first)
            assert_str(p.failed_first, cases[i].first);
        drop_pods(&pods);
    }
}

static void test_missing_request(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct objects pods = {0};
    struct val *list = val_new(&a, VAL_OBJ), *items = val_sub_list(&a, list, N_items);
    add_pods(&a, "a R t 100", &pods, items);
    drop_pods(&pods);
    pods = (struct objects){0};
    objects_add(&a, &pods,
                object_relaxed(RES_PODS, "{metadata: {namespace: x, name: a}, spec: {containers: [{name: c}]}, status: {phase: "
                                         "Running, startTime: '2025-12-31T20:00:00Z', conditions: [{type: Ready, status: 'True'}]}}"));
    struct hpa_view x = view(&a, NULL, &pods, 1);
    struct hpa_reading r = {.v = list};
    struct hpa_proposal p;
    assert_false(hpa_propose(&x,
                             parse(&a, T_autoscaling_v2_MetricSpec,
                                   "{type: Resource, resource: {name: cpu, target: {averageUtilization: 50}}}"),
                             &r, &p));
    assert_str(p.failed, "failed to get cpu utilization: missing request for cpu in container c of Pod a");
    drop_pods(&pods);
}

static void test_outside(void **state)
{
    static const struct {
        const char *metric, *items;
        int64_t replicas, want;
        const char *name, *value;
    } cases[] = {
        {"{type: External, external: {metric: {name: q}, target: {type: AverageValue, averageValue: 10}}}",
         "[{value: 30},{value: 25}]", 2, 6, "external metric q(nil)", "27500m"},
        {"{type: External, external: {metric: {name: q}, target: {type: Value, value: 10}}}", "[{value: 30}]", 2, 6,
         "external metric q(nil)", "30"},
        {"{type: Object, object: {metric: {name: h}, describedObject: {kind: Ingress, name: i}, target: {type: Value, value: "
         "10}}}",
         "[{value: 10500m}]", 2, 2, "Ingress metric h", "10500m"},
        {"{type: Object, object: {metric: {name: h}, describedObject: {kind: Ingress, name: i}, target: {type: AverageValue, "
         "averageValue: 10}}}",
         "[{value: 5}]", 2, 1, "external metric h(nil)", "2500m"},
        {"{type: External, external: {metric: {name: q}, target: {type: Value, value: 10}}}", "[{value: 0}]", 2, 0,
         "external metric q(nil)", "0"},
        {"{type: External, external: {metric: {name: q}, target: {type: Value, value: 10}}}", "[{value: 25}]", 0, 3,
         "external metric q(nil)", "25"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct objects pods = {0};
        struct val *ignored = val_new(&a, VAL_LIST);
        add_pods(&a, "a R t 1,b R t 1", &pods, ignored);
        struct hpa_view x = view(&a, NULL, &pods, cases[i].replicas);
        struct hpa_reading r = {.v = parse(&a, T_external_metrics_v1beta1_ExternalMetricValueList,
                                           arena_printf(&a, "{items: %s}", cases[i].items).p)};
        struct hpa_proposal p;
        assert_true(hpa_propose(&x, parse(&a, T_autoscaling_v2_MetricSpec, cases[i].metric), &r, &p));
        assert_int_equal(p.replicas, cases[i].want);
        assert_str(p.metric, cases[i].name);
        const struct val *source = val_get(p.status, N_external) ?: val_get(p.status, N_object),
                         *now = val_get(source, N_current);
        assert_str(val_getstr(now, N_value).n ? val_getstr(now, N_value) : val_getstr(now, N_averageValue), cases[i].value);
        drop_pods(&pods);
    }
}

/* ---- limits ------------------------------------------------------------------------------------------ */

#define PLAIN "{spec: {minReplicas: 2, maxReplicas: 20}}"
#define RULES(up, down)                                                                                                \
    "{spec: {minReplicas: 1, maxReplicas: 100, behavior: {scaleUp: {selectPolicy: Max, stabilizationWindowSeconds: 0" up        \
    "}, scaleDown: {selectPolicy: Max, stabilizationWindowSeconds: 0" down "}}}}"

struct step {
    int64_t after, current, wanted; /* seconds since the step before */
    int64_t get;
    const char *able, *limit;
};

struct limit_case {
    const char *what, *hpa;
    struct step steps[4];
};

static const struct limit_case limits[] = {
    {"bounds and speed", PLAIN,
     {{0, 2, 3, 3, "ReadyForNewScale", "DesiredWithinRange"},
      {10, 3, 50, 6, "ReadyForNewScale", "ScaleUpLimit"},
      {10, 15, 50, 20, "ReadyForNewScale", "TooManyReplicas"}}},
    {"to four at once", PLAIN, {{0, 1, 9, 4, "ReadyForNewScale", "ScaleUpLimit"}}},
    {"down only after five minutes", PLAIN,
     {{0, 5, 6, 6, "ReadyForNewScale", "DesiredWithinRange"},
      {60, 6, 1, 6, "ScaleDownStabilized", "DesiredWithinRange"},
      {260, 6, 1, 2, "ReadyForNewScale", "TooFewReplicas"}}},
    {"so many pods in a period", RULES(", policies: [{type: Pods, value: 4, periodSeconds: 60}]",
                                       ", policies: [{type: Percent, value: 100, periodSeconds: 15}]"),
     {{0, 2, 50, 6, "ReadyForNewScale", "ScaleUpLimit"},
      {30, 6, 50, 6, "ReadyForNewScale", "ScaleUpLimit"},
      {31, 6, 50, 10, "ReadyForNewScale", "ScaleUpLimit"}}},
    {"the larger of two policies",
     RULES(", policies: [{type: Pods, value: 1, periodSeconds: 15},{type: Percent, value: 100, periodSeconds: 15}]", ""),
     {{0, 10, 50, 20, "ReadyForNewScale", "ScaleUpLimit"}}},
    {"the smaller of two", "{spec: {maxReplicas: 100, behavior: {scaleUp: {selectPolicy: Min, policies: [{type: Pods, value: 1, "
                           "periodSeconds: 15},{type: Percent, value: 100, periodSeconds: 15}]}}}}",
     {{0, 10, 50, 11, "ReadyForNewScale", "ScaleUpLimit"}}},
    {"down by tenths", RULES("", ", policies: [{type: Percent, value: 10, periodSeconds: 60}]"),
     {{0, 100, 1, 90, "ReadyForNewScale", "ScaleDownLimit"}, {30, 90, 1, 90, "ReadyForNewScale", "ScaleDownLimit"}}},
    {"never down", "{spec: {maxReplicas: 100, behavior: {scaleUp: {selectPolicy: Max}, scaleDown: {selectPolicy: Disabled, "
                   "stabilizationWindowSeconds: 0}}}}",
     {{0, 10, 1, 10, "ReadyForNewScale", "ScaleDownLimit"}}},
    {"up only when it lasts",
     "{spec: {maxReplicas: 100, behavior: {scaleUp: {selectPolicy: Max, stabilizationWindowSeconds: 60, policies: [{type: "
     "Percent, value: 900, periodSeconds: 15}]}, scaleDown: {selectPolicy: Max, stabilizationWindowSeconds: 0}}}}",
     {{0, 3, 3, 3, "ReadyForNewScale", "DesiredWithinRange"},
      {30, 3, 9, 3, "ScaleUpStabilized", "DesiredWithinRange"},
      {31, 3, 9, 9, "ReadyForNewScale", "DesiredWithinRange"}}},
    {"the window of the flags where the behaviour has none",
     "{spec: {maxReplicas: 100, behavior: {scaleUp: {selectPolicy: Max, stabilizationWindowSeconds: 0}, scaleDown: "
     "{selectPolicy: Max, policies: [{type: Percent, value: 100, periodSeconds: 15}]}}}}",
     {{0, 8, 8, 8, "ReadyForNewScale", "DesiredWithinRange"},
      {200, 8, 2, 8, "ScaleDownStabilized", "DesiredWithinRange"},
      {101, 8, 2, 2, "ReadyForNewScale", "DesiredWithinRange"}}},
};

static void test_limits(void **state)
{
    static const struct controllers_config none;
    struct hpa_settings s = hpa_settings_of(&none);
    for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct hpa_memory *m = NEW(struct hpa_memory);
        struct wall now = world_now;
        const struct val *hpa = parse(&a, T_autoscaling_v2_HorizontalPodAutoscaler, limits[i].hpa);
        for (const struct step *t = limits[i].steps; t < limits[i].steps + 4 && t->able; t++) {
            struct hpa_limited got;
            now.ns += SECONDS(t->after);
            hpa_limit(hpa, &s, m, t->current, t->wanted, now, &got);
            if (got.replicas != t->get || strcmp(got.able_reason, t->able) || strcmp(got.limit_reason, t->limit))
                fail_msg("%s, step %td: %lld %s %s", limits[i].what, t - limits[i].steps, (long long)got.replicas,
                         got.able_reason, got.limit_reason);
            assert_int_equal(got.limited, strcmp(got.limit_reason, "DesiredWithinRange") != 0);
            if (got.replicas != t->current)
                hpa_note_change(hpa, m, t->current, got.replicas, now);
        }
        hpa_memory_free(m);
    }
}

/* ---- whole reconciles -------------------------------------------------------------------------------- */

#define HPA                                                                                                            \
    "{metadata: {namespace: x, name: web, generation: 1}, spec: {minReplicas: 1, maxReplicas: 10, scaleTargetRef: {apiVersion: " \
    "apps/v1, kind: Deployment, name: web}, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, "       \
    "averageUtilization: 50}}}]} %s}"

static struct hpa_readings readings(struct arena *a, int64_t replicas, const char *milli)
{
    struct hpa_reading *r = ARENA_NEW(a, struct hpa_reading);
    struct hpa_readings ret = {.res = &resources[RES_DEPLOYMENTS], .metrics = r};
    ret.scale = parse(a, T_autoscaling_v1_Scale,
                      arena_printf(a,
                                   "{kind: Scale, metadata: {name: web, namespace: x, resourceVersion: '7'}, spec: {replicas: "
                                   "%lld}, status: {replicas: %lld, selector: 'app=web'}}",
                                   (long long)replicas, (long long)replicas)
                          .p);
    if (milli)
        r->v = parse(a, T_metrics_v1beta1_PodMetricsList,
                     arena_printf(a,
                                  "{items: [{metadata: {namespace: x, name: p}, timestamp: '" NOW
                                  "', window: '15s', containers: [{name: c, usage: {cpu: %sm}}]}]}",
                                  milli)
                         .p);
    else
        r->failed = STR("no metrics returned from resource metrics API");
    return ret;
}

static void add_pod(struct world *w)
{
    world_add(w, RES_PODS,
              "{metadata: {namespace: x, name: p, labels: {app: web}}, spec: {containers: [{name: c, resources: {requests: {cpu: "
              "'1'}}}]}, status: {phase: Running, startTime: '2025-12-31T20:00:00Z', conditions: [{type: Ready, status: 'True', "
              "lastTransitionTime: '2025-12-31T20:00:10Z'}]}}");
}

#define MEMORY_METRIC "{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 1Mi}}}"

#define AT "\"lastTransitionTime\":\"" NOW "\""

/* While metrics were asked for, somebody wanted more of them: there are no readings of those. */
static void readings_of_another_spec(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct world *w = world_new();
    world_addf(w, RES_HORIZONTALPODAUTOSCALERS, HPA, "");
    const struct object *o =
        snapshot_get(world_snapshot(w), &resources[RES_HORIZONTALPODAUTOSCALERS], STR("x"), STR("web"));
    struct hpa_readings r = readings(&a, 1, "1500");
    r.spec = val_copy(&a, val_get(o->val, N_spec));
    world_gather(w, &r);
    add_pod(w);
    world_addf(w, RES_HORIZONTALPODAUTOSCALERS,
               "{metadata: {namespace: x, name: web}, spec: {maxReplicas: 10, scaleTargetRef: {apiVersion: apps/v1, kind: "
               "Deployment, name: web}, metrics: [%s, %s, %s, %s]}}",
               MEMORY_METRIC, MEMORY_METRIC, MEMORY_METRIC, MEMORY_METRIC);
    assert_string_equal(world_reconcile(w, &hpa_controller, "x/web"), "again 10ms\n");
    world_free(w);
}

static void scales_up(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct world *w = world_new();
    world_addf(w, RES_HORIZONTALPODAUTOSCALERS, HPA, "");
    add_pod(w);
    struct hpa_readings r = readings(&a, 1, "1500");
    world_gather(w, &r);
    assert_string_equal(
        world_reconcile(w, &hpa_controller, "x/web"),
        "update deployments x/web scale\n"
        "event Normal SuccessfulRescale New size: 3; reason: cpu resource utilization (percentage of request) above target\n"
        "status horizontalpodautoscalers x/web {\"observedGeneration\":1,\"lastScaleTime\":\"" NOW
        "\",\"currentReplicas\":1,\"desiredReplicas\":3,\"currentMetrics\":[{\"type\":\"Resource\",\"resource\":{\"name\":"
        "\"cpu\",\"current\":{\"averageValue\":\"1500m\",\"averageUtilization\":150}}}],\"conditions\":[{\"type\":\"AbleToScale\","
        "\"status\":\"True\"," AT ",\"reason\":\"SucceededRescale\",\"message\":\"the HPA controller was able to update the target "
        "scale to 3\"},{\"type\":\"ScalingActive\",\"status\":\"True\"," AT ",\"reason\":\"ValidMetricFound\",\"message\":\"the HPA was "
        "able to successfully calculate a replica count from cpu resource utilization (percentage of request)\"},{\"type\":"
        "\"ScalingLimited\",\"status\":\"False\"," AT ",\"reason\":\"DesiredWithinRange\",\"message\":\"the desired count is within the "
        "acceptable range\"},{\"type\":\"ScaledToZero\",\"status\":\"False\"," AT ",\"reason\":\"NotScaledToZero\",\"message\":\"the HPA "
        "controller did not scale the workload to zero\"}]}\n"
        "again 15s\n");
    const struct val *scale = world_write(w, 0)->body;
    assert_int_equal(val_int(val_at(scale, N_spec, N_replicas), 0), 3);
    assert_int_equal(obj_revision(scale), 7);
    /* The same numbers again, the target being as wanted: only the state is told. */
    world_apply(w);
    r = readings(&a, 3, "500");
    const char *text = world_reconcile(w, &hpa_controller, "x/web");
    assert_non_null(strstr(text, "status horizontalpodautoscalers"));
    assert_null(strstr(text, "update deployments"));
    world_apply(w);
    assert_string_equal(world_reconcile(w, &hpa_controller, "x/web"), "again 15s\n");
    world_free(w);
}

static void waits_before_it_goes_down(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct world *w = world_new();
    struct wall then = world_now;
    world_addf(w, RES_HORIZONTALPODAUTOSCALERS, HPA, "");
    add_pod(w);
    struct hpa_readings r = readings(&a, 3, "100");
    world_gather(w, &r);
    const char *text = world_reconcile(w, &hpa_controller, "x/web");
    assert_null(strstr(text, "update deployments"));
    assert_non_null(strstr(text, "ScaleDownStabilized"));
    world_now.ns += SECONDS(301);
    text = world_reconcile(w, &hpa_controller, "x/web");
    assert_non_null(strstr(text, "New size: 1; reason: All metrics below target"));
    world_now = then;
    world_free(w);
}

static void says_what_fails(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct world *w = world_new();
    world_addf(w, RES_HORIZONTALPODAUTOSCALERS, HPA, "");
    struct hpa_readings r = {.scale_failed = STR("deployments.apps \"web\" not found")};
    world_gather(w, &r);
    assert_string_equal(world_reconcile(w, &hpa_controller, "x/web"),
                        "event Warning FailedGetScale deployments.apps \"web\" not found\n"
                        "status horizontalpodautoscalers x/web {\"desiredReplicas\":0,\"currentMetrics\":null,\"conditions\":[{\"type\":"
                        "\"AbleToScale\",\"status\":\"False\"," AT ",\"reason\":\"FailedGetScale\",\"message\":\"the HPA controller was "
                        "unable to get the target's current scale: deployments.apps \\\"web\\\" not found\"}]}\n"
                        "again 15s\n");
    add_pod(w);
    r = readings(&a, 2, NULL);
    const char *text = world_reconcile(w, &hpa_controller, "x/web");
    assert_non_null(strstr(text, "event Warning FailedGetResourceMetric failed to get cpu utilization: unable to get metrics for "
                                 "resource cpu: no metrics returned from resource metrics API\n"));
    assert_non_null(strstr(text, "event Warning FailedComputeMetricsReplicas invalid metrics (1 invalid out of 1), first error is: "
                                 "failed to get cpu resource metric value: failed to get cpu utilization: "));
    assert_non_null(strstr(text, "\"currentReplicas\":2,\"desiredReplicas\":0,\"currentMetrics\":[{\"type\":\"\"}]"));
    assert_non_null(strstr(text, "\"message\":\"the HPA was unable to compute the replica count: failed to get cpu utilization: "));
    world_free(w);
}

static void keeps_within_bounds_without_metrics(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct world *w = world_new();
    world_addf(w, RES_HORIZONTALPODAUTOSCALERS, HPA, "");
    struct hpa_readings r = readings(&a, 12, NULL);
    r.metrics = NULL;
    world_gather(w, &r);
    assert_non_null(strstr(world_reconcile(w, &hpa_controller, "x/web"),
                           "New size: 10; reason: Current number of replicas above Spec.MaxReplicas"));
    r = readings(&a, 0, NULL);
    r.metrics = NULL;
    const char *text = world_reconcile(w, &hpa_controller, "x/web");
    assert_non_null(strstr(text, "ScalingDisabled"));
    assert_null(strstr(text, "update deployments"));
    world_free(w);
}

static void two_for_the_same_pods(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct world *w = world_new();
    world_addf(w, RES_HORIZONTALPODAUTOSCALERS, HPA, "");
    world_add(w, RES_HORIZONTALPODAUTOSCALERS,
              "{metadata: {namespace: x, name: also}, spec: {maxReplicas: 10, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, "
              "name: web}, metrics: [{type: Resource, resource: {name: cpu, target: {averageUtilization: 50}}}]}}");
    add_pod(w);
    struct hpa_readings r = readings(&a, 1, "500");
    world_gather(w, &r);
    world_reconcile(w, &hpa_controller, "x/web");
    assert_non_null(strstr(world_reconcile(w, &hpa_controller, "x/also"),
                           "event Warning AmbiguousSelector pods by selector app=web are controlled by more than one HPA (e.g. [x/web "
                           "x/also])\n"));
    world_remove(w, RES_HORIZONTALPODAUTOSCALERS, "x", "web");
    world_reconcile(w, &hpa_controller, "x/web");
    assert_null(strstr(world_reconcile(w, &hpa_controller, "x/also"), "AmbiguousSelector"));
    world_free(w);
}

static void a_refusal_is_told(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct world *w = world_new();
    world_addf(w, RES_HORIZONTALPODAUTOSCALERS, HPA, "");
    add_pod(w);
    struct hpa_readings r = readings(&a, 1, "1500");
    world_gather(w, &r);
    world_reconcile(w, &hpa_controller, "x/web");
    const char *text = world_refuse(w, &hpa_controller, "x/web", 0, 403, "no");
    assert_non_null(strstr(text, "event Warning FailedRescale New size: 3; reason: cpu resource utilization (percentage of request) above "
                                 "target; error: no\n"));
    assert_non_null(strstr(text, "\"reason\":\"FailedUpdateScale\",\"message\":\"the HPA controller was unable to update the target scale: no\""));
    assert_non_null(strstr(text, "again 15s"));
    world_free(w);
}

static void keys(void **state)
{
    struct world *w = world_new();
    const struct object *old = world_addf(w, RES_HORIZONTALPODAUTOSCALERS, HPA, "");
    struct object *kept = object_ref(old);
    const struct object *now = world_addf(w, RES_HORIZONTALPODAUTOSCALERS, HPA, ", status: {desiredReplicas: 3}");
    assert_string_equal(world_keys(w, &hpa_controller, NULL, now), "x/web");
    assert_string_equal(world_keys(w, &hpa_controller, kept, now), ""); /* its own status */
    object_unref(kept);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proposals),
        cmocka_unit_test(test_large_values),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_missing_request),
        cmocka_unit_test(test_outside),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(scales_up),
        cmocka_unit_test(waits_before_it_goes_down),
        cmocka_unit_test(says_what_fails),
        cmocka_unit_test(keeps_within_bounds_without_metrics),
        cmocka_unit_test(two_for_the_same_pods),
        cmocka_unit_test(readings_of_another_spec),
        cmocka_unit_test(a_refusal_is_told),
        cmocka_unit_test(keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
