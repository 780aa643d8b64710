/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/quota.h"

#include "testing.h"
#include "type/meta.h"
#include "type/structural.h"
#include "world.h"

static void add_pod(struct world *w, const char *name, const char *more_meta, const char *more_spec, const char *phase)
{
    world_addf(w, RES_PODS,
               "{metadata: {namespace: x, name: %s %s}, spec: {containers: [{name: c, resources: {requests: {cpu: 100m, memory: "
               "1Gi}, limits: {cpu: '1'}}}] %s}, status: {phase: %s}}",
               name, more_meta, more_spec, phase);
}

static void counts_pods(void **state)
{
    struct world *w = world_new();
    world_add(w, RES_RESOURCEQUOTAS,
              "{metadata: {namespace: x, name: q}, spec: {hard: {pods: 5, cpu: 1, requests.memory: 4Gi, limits.cpu: 9, count/pods: 9, "
              "requests.example.com/gpu: 2, hugepages-2Mi: 1}}}");
    add_pod(w, "a", "", "", "Running");
    add_pod(w, "b", "", "", "Pending");
    add_pod(w, "done", "", "", "Succeeded"); /* only its object counts */
    world_add(w, RES_PODS, "{metadata: {namespace: y, name: far}}");
    assert_string_equal(world_reconcile(w, &quota_controller, "x/q"),
                        "status resourcequotas x/q {\"hard\":{\"count/pods\":\"9\",\"cpu\":\"1\",\"hugepages-2Mi\":\"1\",\"limits.cpu\":"
                        "\"9\",\"pods\":\"5\",\"requests.example.com/gpu\":\"2\",\"requests.memory\":\"4Gi\"},\"used\":{\"count/pods\":"
                        "\"3\",\"cpu\":\"200m\",\"hugepages-2Mi\":\"0\",\"limits.cpu\":\"2\",\"pods\":\"2\",\"requests.example.com/gpu\":"
                        "\"0\",\"requests.memory\":\"2Gi\"}}\n");
    world_apply(w);
    assert_string_equal(world_reconcile(w, &quota_controller, "x/q"), "");
    assert_string_equal(world_reconcile(w, &quota_controller, ""), ""); /* the round over everything */
    world_free(w);
}

static void counts_objects(void **state)
{
    struct world *w = world_new();
    world_add(w, RES_RESOURCEQUOTAS,
              "{metadata: {namespace: x, name: q}, spec: {hard: {count/deployments.apps: 2, configmaps: 3, resourcequotas: 1, services: 5, "
              "services.nodeports: 4, services.loadbalancers: 1, persistentvolumeclaims: 3, requests.storage: 10Gi, "
              "gold.storageclass.storage.k8s.io/requests.storage: 5Gi, gold.storageclass.storage.k8s.io/persistentvolumeclaims: 2, "
              "gpu.deviceclass.resource.k8s.io/devices: 8}}}");
    world_add(w, RES_DEPLOYMENTS, "{metadata: {namespace: x, name: d}}");
    world_add(w, RES_CONFIGMAPS, "{metadata: {namespace: x, name: c}}");
    world_add(w, RES_SERVICES, "{metadata: {namespace: x, name: n}, spec: {type: NodePort, ports: [{port: 1},{port: 2}]}}");
    world_add(w, RES_SERVICES,
              "{metadata: {namespace: x, name: l}, spec: {type: LoadBalancer, allocateLoadBalancerNodePorts: false, ports: [{port: 1, "
              "nodePort: 30000},{port: 2}]}}");
    world_add(w, RES_PERSISTENTVOLUMECLAIMS,
              "{metadata: {namespace: x, name: g}, spec: {storageClassName: gold, resources: {requests: {storage: 1Gi}}}, status: "
              "{allocatedResources: {storage: 2Gi}}}");
    world_add(w, RES_PERSISTENTVOLUMECLAIMS, "{metadata: {namespace: x, name: s}, spec: {resources: {requests: {storage: 1Gi}}}}");
    world_add(w, RES_RESOURCECLAIMS,
              "{metadata: {namespace: x, name: r}, spec: {devices: {requests: [{name: a, exactly: {deviceClassName: gpu, allocationMode: "
              "ExactCount, count: 2}},{name: b, firstAvailable: [{name: m, deviceClassName: gpu, allocationMode: ExactCount, count: "
              "1},{name: n, deviceClassName: gpu, allocationMode: ExactCount, count: 3}]}]}}}");
    const char *text = world_reconcile(w, &quota_controller, "x/q");
    const char *used = strstr(text, "\"used\":");
    assert_non_null(used);
    assert_string_equal(used, "\"used\":{\"configmaps\":\"1\",\"count/deployments.apps\":\"1\",\"gold.storageclass.storage.k8s.io/"
                              "persistentvolumeclaims\":\"1\",\"gold.storageclass.storage.k8s.io/requests.storage\":\"2Gi\","
                              "\"gpu.deviceclass.resource.k8s.io/devices\":\"5\",\"persistentvolumeclaims\":\"2\",\"requests.storage\":"
                              "\"3Gi\",\"resourcequotas\":\"1\",\"services\":\"2\",\"services.loadbalancers\":\"1\",\"services.nodeports\":"
                              "\"3\"}}\n");
    world_free(w);
}

/* Pods in each scope: how many of "plain" (best effort aside, none of them has a deadline) count. */
static void scopes(void **state)
{
    static const struct {
        const char *spec;
        const char *pods;
    } cases[] = {
        {"", "6"},
        {"scopes: [Terminating],", "1"},
        {"scopes: [NotTerminating],", "5"},
        {"scopes: [BestEffort],", "1"},
        {"scopes: [NotBestEffort, NotTerminating],", "4"},
        {"scopes: [CrossNamespacePodAffinity],", "1"},
        {"scopes: [PriorityClass],", "2"},
        {"scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In, values: [high]}]},", "1"},
        {"scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: NotIn, values: [high]}]},", "5"},
        {"scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: DoesNotExist}]},", "4"},
        {"scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: Exists},{scopeName: BestEffort, operator: Exists}]},", "0"},
        {"scopes: [VolumeAttributesClass],", "0"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world *w = world_new();
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        world_addf(w, RES_RESOURCEQUOTAS, "{metadata: {namespace: x, name: q}, spec: {%s hard: {pods: 9}}}", cases[i].spec);
        add_pod(w, "plain", "", "", "Running");
        add_pod(w, "ends", "", ", activeDeadlineSeconds: 5", "Running");
        add_pod(w, "high", "", ", priorityClassName: high", "Running");
        add_pod(w, "low", "", ", priorityClassName: low", "Running");
        add_pod(w, "reaches", "", ", affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: k, "
                                  "namespaceSelector: {}}]}}", "Running");
        world_add(w, RES_PODS, "{metadata: {namespace: x, name: best}, spec: {containers: [{name: c}]}}");
        const char *text = world_reconcile(w, &quota_controller, "x/q");
        if (!strstr(text, arena_printf(&a, "\"used\":{\"pods\":\"%s\"}", cases[i].pods).p))
            fail_msg("%s: %s", cases[i].spec, text);
        world_free(w);
    }
}

static void classes_of_attributes(void **state)
{
    static const struct {
        const char *expression, *claims;
    } cases[] = {
        {"operator: In, values: [gold]", "2"}, {"operator: In, values: [silver]", "1"}, {"operator: Exists", "2"},
        {"operator: DoesNotExist", "1"},       {"operator: NotIn, values: [gold]", "2"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world *w = world_new();
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        world_addf(w, RES_RESOURCEQUOTAS,
                   "{metadata: {namespace: x, name: q}, spec: {scopeSelector: {matchExpressions: [{scopeName: VolumeAttributesClass, %s}]}, "
                   "hard: {persistentvolumeclaims: 9, pods: 9}}}",
                   cases[i].expression);
        world_add(w, RES_PERSISTENTVOLUMECLAIMS, "{metadata: {namespace: x, name: a}, spec: {volumeAttributesClassName: gold}}");
        world_add(w, RES_PERSISTENTVOLUMECLAIMS,
                  "{metadata: {namespace: x, name: b}, spec: {volumeAttributesClassName: silver}, status: {currentVolumeAttributesClassName: "
                  "gold}}");
        world_add(w, RES_PERSISTENTVOLUMECLAIMS, "{metadata: {namespace: x, name: c}}");
        world_add(w, RES_PODS, "{metadata: {namespace: x, name: p}}");
        const char *text = world_reconcile(w, &quota_controller, "x/q");
        if (!strstr(text, arena_printf(&a, "\"used\":{\"persistentvolumeclaims\":\"%s\",\"pods\":\"0\"}", cases[i].claims).p))
            fail_msg("%s: %s", cases[i].expression, text);
        world_free(w);
    }
}

/* The pod of a lost node stays for ever: it does not count once its time has passed. */
static void overdue_pods(void **state)
{
    struct world *w = world_new();
    struct wall then = world_now;
    world_add(w, RES_RESOURCEQUOTAS, "{metadata: {namespace: x, name: q}, spec: {hard: {pods: 5}}}");
    add_pod(w, "stuck", ", deletionTimestamp: '2026-01-01T00:00:10Z', deletionGracePeriodSeconds: 30", "", "Running");
    const char *text = world_reconcile(w, &quota_controller, "x/q");
    assert_non_null(strstr(text, "\"used\":{\"pods\":\"1\"}"));
    assert_non_null(strstr(text, "again 40.1s"));
    world_now.ns += SECONDS(41);
    assert_non_null(strstr(world_reconcile(w, &quota_controller, "x/q"), "\"used\":{\"pods\":\"0\"}"));
    world_now = then;
    world_free(w);
}

static void keys(void **state)
{
    struct world *w = world_new();
    world_follow(w, &quota_controller);
    world_add(w, RES_RESOURCEQUOTAS, "{metadata: {namespace: x, name: pods}, spec: {hard: {pods: 5}}}");
    world_add(w, RES_RESOURCEQUOTAS, "{metadata: {namespace: x, name: maps}, spec: {hard: {configmaps: 5}}}");
    add_pod(w, "p", "", "", "Pending");
    struct object *pending = object_ref(world_get(w, RES_PODS, "x", "p"));
    add_pod(w, "p", "", "", "Running");
    struct object *running = object_ref(world_get(w, RES_PODS, "x", "p"));
    add_pod(w, "p", "", "", "Failed");
    struct object *failed = object_ref(world_get(w, RES_PODS, "x", "p"));
    assert_string_equal(world_keys(w, &quota_controller, NULL, pending), ""); /* charged by admission */
    assert_string_equal(world_keys(w, &quota_controller, pending, running), "");
    assert_string_equal(world_keys(w, &quota_controller, running, failed), "x/pods");
    assert_string_equal(world_keys(w, &quota_controller, running, NULL), "x/pods");
    object_unref(pending);
    object_unref(running);
    object_unref(failed);
    world_free(w);
}

static void counts_custom_objects(void **state)
{
    struct custom_type type;
    struct world *w = world_new();
    const struct resource *res = world_things(&type);
    world_add(w, RES_RESOURCEQUOTAS,
              "{metadata: {namespace: x, name: q}, spec: {hard: {count/things.example.com: 4}}, status: {hard: "
              "{count/things.example.com: 4}, used: {count/things.example.com: 3}}}");
    struct snapshot_slot *slot = world_custom(w, res);
    world_put(w, res, "{metadata: {namespace: x, name: t}}");
    slot->synced = false;
    assert_string_equal(world_reconcile(w, &quota_controller, "x/q"), ""); /* as it was counted before */
    slot->synced = true;
    assert_string_equal(world_reconcile(w, &quota_controller, ""),
                        "status resourcequotas x/q {\"hard\":{\"count/things.example.com\":\"4\"},\"used\":{"
                        "\"count/things.example.com\":\"1\"}}\n");
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_pods),           cmocka_unit_test(counts_objects), cmocka_unit_test(scopes),
        cmocka_unit_test(classes_of_attributes), cmocka_unit_test(overdue_pods),   cmocka_unit_test(keys),
        cmocka_unit_test(counts_custom_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
