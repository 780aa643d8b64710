/* SPDX-License-Identifier: Apache-2.0 */
/* Claims of devices for pods, and what becomes of them when pods go. */
#include "controllers/resourceclaim.h"

#include "resources.h"
#include "testing.h"
#include "type/meta.h"
#include "wire/json.h"
#include "world.h"

#define C (&resourceclaim_controller)
#define KEY "x/p"
#define TEMPLATE                                                                                             \
    "{metadata: {namespace: x, name: t}, spec: {metadata: {labels: {l: v}, annotations: {a: b}}, spec: {devices: {requests: [{name: "         \
    "r, exactly: {deviceClassName: gpu, allocationMode: ExactCount, count: 1}}]}}}}"
#define POD(rest) "{metadata: {namespace: x, name: p, uid: u1}, spec: {resourceClaims: [{name: gpu, resourceClaimTemplateName: t}]" rest "}"
#define OWNED "ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: u1, controller: true}]"
#define CLAIM(meta, status) "{metadata: {namespace: x, name: p-gpu-1, uid: c1, " meta "}, spec: {}, status: {" status "}}"
#define USED "allocation: {devices: {results: [{request: r, driver: d, pool: p, device: g}]}}, reservedFor: [{resource: pods, name: p, uid: u1}]"
#define FINALIZER "finalizers: [resource.kubernetes.io/delete-protection]"

static void test_made_from_template(void **state)
{
    (void)state;
    struct world *w = world_new();
    world_add(w, RES_PODS, POD("}"));
    assert_string_equal(world_reconcile(w, C, KEY),
                        "event Warning FailedResourceClaimCreation PodResourceClaim gpu: resource claim template \"t\": "
                        "resourceclaimtemplate.resource.k8s.io \"t\" not found\nerror -2\n");
    const struct object *template = world_add(w, RES_RESOURCECLAIMTEMPLATES, TEMPLATE);
    assert_string_equal(world_keys(w, C, NULL, template), KEY);
    world_reconcile(w, C, KEY);
    struct buf b CLEANUP_BUF = BUF_INIT;
    const struct write *x = world_find(w, WRITE_CREATE);
    assert_non_null(x);
    json_encode(&b, x->res->type, x->body, 0);
    assert_str(buf_str(&b),
               "{\"metadata\":{\"generateName\":\"p-gpu-\",\"namespace\":\"x\",\"labels\":{\"l\":\"v\"},\"annotations\":{\"a\":\"b\","
               "\"resource.kubernetes.io/pod-claim-name\":\"gpu\"},\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"p\","
               "\"uid\":\"u1\",\"controller\":true}]},\"spec\":{\"devices\":{\"requests\":[{\"name\":\"r\",\"exactly\":{\"deviceClassName\":"
               "\"gpu\",\"allocationMode\":\"ExactCount\",\"count\":1}}]}},\"status\":{}}");
    world_refuse(w, C, KEY, 0, 403, "exceeded quota");
    assert_non_null(world_find(w, WRITE_EVENT));
    world_free(w);
}

static void test_told_to_pod(void **state)
{
    (void)state;
    struct world *w = world_new();
    world_add(w, RES_PODS, POD("}"));
    world_add(w, RES_RESOURCECLAIMTEMPLATES, TEMPLATE);
    world_add(w, RES_RESOURCECLAIMS, CLAIM(OWNED ", annotations: {resource.kubernetes.io/pod-claim-name: gpu}", ""));
    assert_string_equal(world_reconcile(w, C, KEY),
                        "patch-status pods x/p {\"status\":{\"resourceClaimStatuses\":[{\"name\":\"gpu\",\"resourceClaimName\":\"p-gpu-1\"}]}}\n");
    world_add(w, RES_PODS, POD("}, status: {resourceClaimStatuses: [{name: gpu, resourceClaimName: p-gpu-1}]}"));
    assert_string_equal(world_reconcile(w, C, KEY), "");
    world_remove(w, RES_RESOURCECLAIMS, "x", "p-gpu-1"); /* deleted by accident: made again */
    world_reconcile(w, C, KEY);
    assert_non_null(world_find(w, WRITE_CREATE));
    world_free(w);
}

static void test_long_names(void **state)
{
    (void)state;
    struct world *w = world_new();
    world_add(w, RES_RESOURCECLAIMTEMPLATES, TEMPLATE);
    world_add(w, RES_PODS, "{metadata: {namespace: x, name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, uid: u1}, spec: {resourceClaims: [{name: "
                           "bbbbbbbbbbbbbbbbbbbbbbbbb, resourceClaimTemplateName: t}]}}");
    world_reconcile(w, C, "x/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    assert_str(val_getstr(obj_meta(world_find(w, WRITE_CREATE)->body), N_generateName),
               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbbbb");
    world_free(w);
}

/* The pod ended: its reservation goes with the devices, then the finalizer, then the claim itself. */
static void test_pod_ended(void **state)
{
    (void)state;
    struct world *w = world_new();
    const char *key = "x/p-gpu-1";
    world_add(w, RES_PODS, POD(", nodeName: n}, status: {phase: Running, resourceClaimStatuses: [{name: gpu, resourceClaimName: p-gpu-1}]}"));
    world_add(w, RES_RESOURCECLAIMS, CLAIM(OWNED ", " FINALIZER, USED));
    assert_string_equal(world_reconcile(w, C, key), "");
    const struct object *ended = world_add(w, RES_PODS, POD(", nodeName: n}, status: {phase: Succeeded, resourceClaimStatuses: [{name: "
                                                            "gpu, resourceClaimName: p-gpu-1}]}"));
    assert_string_equal(world_keys(w, C, ended, ended), "x/p x/p-gpu-1");
    assert_string_equal(world_reconcile(w, C, key), "status resourceclaims x/p-gpu-1 {}\n");
    world_apply(w);
    world_reconcile(w, C, key);
    assert_non_null(world_find(w, WRITE_UPDATE));
    assert_false(obj_has_finalizer(world_find(w, WRITE_UPDATE)->body, STR("resource.kubernetes.io/delete-protection")));
    world_apply(w);
    assert_string_equal(world_reconcile(w, C, key), "delete resourceclaims x/p-gpu-1\n");
    world_free(w);
}

/* A finalizer without devices is the scheduler's, which is about to write them. */
static void test_finalizer_of_scheduler(void **state)
{
    (void)state;
    struct world *w = world_new();
    world_add(w, RES_PODS, POD("}"));
    world_add(w, RES_RESOURCECLAIMS, CLAIM(FINALIZER, ""));
    assert_string_equal(world_reconcile(w, C, "x/p-gpu-1"), "");
    world_add(w, RES_RESOURCECLAIMS, CLAIM(FINALIZER ", deletionTimestamp: '2026-01-01T00:00:00Z'", ""));
    world_reconcile(w, C, "x/p-gpu-1");
    assert_non_null(world_find(w, WRITE_UPDATE));
    world_free(w);
}

static void test_pod_gone(void **state)
{
    (void)state;
    struct world *w = world_new();
    world_add(w, RES_RESOURCECLAIMS, CLAIM(FINALIZER, USED));
    world_reconcile(w, C, "x/p-gpu-1");
    const struct write *x = world_find(w, WRITE_CHECK_ABSENT);
    assert_non_null(x); /* the server is asked first */
    assert_str(x->uid, "u1");
    assert_non_null(world_find(w, WRITE_UPDATE_STATUS));
    world_free(w);
}

static void test_shared_claim_stays(void **state)
{
    (void)state;
    struct world *w = world_new();
    world_add(w, RES_PODS, "{metadata: {namespace: x, name: q, uid: u2}, spec: {nodeName: n, resourceClaims: [{name: gpu, resourceClaimName: s}]}, "
                           "status: {phase: Running}}");
    world_add(w, RES_PODS, "{metadata: {namespace: x, name: p, uid: other}, spec: {}}"); /* another pod of the name */
    world_add(w, RES_RESOURCECLAIMS,
              "{metadata: {namespace: x, name: s, uid: c2, " FINALIZER "}, spec: {}, status: {allocation: {devices: {}}, reservedFor: [{resource: pods, "
              "name: p, uid: u1}, {resource: pods, name: q, uid: u2}]}}");
    assert_string_equal(world_reconcile(w, C, "x/s"),
                        "status resourceclaims x/s {\"allocation\":{\"devices\":{}},\"reservedFor\":[{\"resource\":\"pods\",\"name\":\"q\",\"uid\":"
                        "\"u2\"}]}\n");
    world_free(w);
}

static void test_pod_placed_by_hand(void **state)
{
    (void)state;
    struct world *w = world_new();
    world_add(w, RES_PODS, "{metadata: {namespace: x, name: q, uid: u2}, spec: {nodeName: n, resourceClaims: [{name: gpu, resourceClaimName: s}]}}");
    world_add(w, RES_RESOURCECLAIMS, "{metadata: {namespace: x, name: s, uid: c2}, spec: {}, status: {allocation: {devices: {}}}}");
    assert_string_equal(world_reconcile(w, C, "x/q"),
                        "status resourceclaims x/s {\"allocation\":{\"devices\":{}},\"reservedFor\":[{\"resource\":\"pods\",\"name\":\"q\",\"uid\":"
                        "\"u2\"}]}\n");
    world_free(w);
}

/* ---- taints ---------------------------------------------------------------------------------------------------- */

#define TAINTED(taint) "{metadata: {name: s}, spec: {driver: d, nodeName: n, pool: {name: p, generation: 1, resourceSliceCount: 1}, devices: [{name: g, taints: [" taint "]}]}}"
#define SICK "{key: sick, effect: NoExecute, timeAdded: '2025-12-31T23:59:50Z'}"
#define HELD(tolerations) "allocation: {devices: {results: [{request: r, driver: d, pool: p, device: g, tolerations: [" tolerations "]}]}}, reservedFor: [{resource: pods, name: p, uid: u1}]"

static void test_taints(void **state)
{
    (void)state;
    struct world *w = world_new();
    const struct controller *c = &device_taint_eviction_controller;
    const char *key = "x/p-gpu-1", *gone = "event Normal DeviceTaintManagerEviction Marking for deletion\n";
    world_add(w, RES_PODS, POD(", nodeName: n}, status: {phase: Running, resourceClaimStatuses: [{name: gpu, resourceClaimName: p-gpu-1}]}"));
    world_add(w, RES_RESOURCECLAIMS, CLAIM(OWNED, HELD("")));
    world_add(w, RES_RESOURCESLICES, TAINTED(""));
    assert_string_equal(world_reconcile(w, c, key), "");
    const struct object *slice = world_add(w, RES_RESOURCESLICES, TAINTED(SICK));
    assert_string_equal(world_keys(w, c, slice, slice), key);
    const char *did = world_reconcile(w, c, key);
    assert_true(str_starts(str_of(did), str_of(gone)));
    assert_non_null(world_find(w, WRITE_DELETE));
    assert_non_null(strstr(did, "DeletionByDeviceTaintManager"));
    world_add(w, RES_RESOURCECLAIMS, CLAIM(OWNED, HELD("{key: sick, operator: Exists, effect: NoExecute, tolerationSeconds: 30}")));
    assert_string_equal(world_reconcile(w, c, key), "again 20s\n");
    world_add(w, RES_RESOURCECLAIMS, CLAIM(OWNED, HELD("{key: sick, operator: Exists, effect: NoExecute}")));
    assert_string_equal(world_reconcile(w, c, key), "");
    world_add(w, RES_RESOURCECLAIMS, CLAIM(OWNED, HELD("")));
    world_add(w, RES_RESOURCESLICES, TAINTED("{key: sick, effect: NoSchedule}"));
    assert_string_equal(world_reconcile(w, c, key), "");
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_from_template), cmocka_unit_test(test_told_to_pod),
        cmocka_unit_test(test_long_names),         cmocka_unit_test(test_pod_ended),
        cmocka_unit_test(test_pod_gone),           cmocka_unit_test(test_finalizer_of_scheduler),
        cmocka_unit_test(test_taints),             cmocka_unit_test(test_shared_claim_stays), cmocka_unit_test(test_pod_placed_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
