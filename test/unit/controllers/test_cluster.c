/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/cluster.h"

#include "client/fake_client.h"
#include "testing.h"
#include "type/meta.h"
#include "world.h"

#define DELETED "deletionTimestamp: '2026-01-01T00:00:00Z'"

static void add_role(struct world *w, const char *name, const char *label, const char *verb)
{
    world_addf(w, RES_CLUSTERROLES,
               "{metadata: {name: %s, labels: {%s: 'true'}}, rules: [{apiGroups: [''], resources: [pods], "
               "verbs: [%s]}]}",
               name, label, verb);
}

static void roles_are_made_of_others(void **state)
{
    struct world *w = world_new();
    world_add(w, RES_CLUSTERROLES,
              "{metadata: {name: view}, aggregationRule: {clusterRoleSelectors: [{matchLabels: {a: 'true'}}, "
              "{matchLabels: {b: 'true'}}]}}");
    add_role(w, "one", "a", "get");
    add_role(w, "three", "c", "delete");
    add_role(w, "twice", "b", "get");
    add_role(w, "two", "b", "list");
    assert_string_equal(world_reconcile(w, &clusterrole_aggregation_controller, "view"),
                        "update clusterroles view\n");
    const struct val *rules = val_get(world_write(w, 0)->body, N_rules);
    assert_int_equal(val_len(rules), 2);
    assert_str(val_str(val_item(val_get(val_item(rules, 0), N_verbs), 0)), "get");
    assert_str(val_str(val_item(val_get(val_item(rules, 1), N_verbs), 0)), "list");
    world_apply(w);
    assert_string_equal(world_reconcile(w, &clusterrole_aggregation_controller, "view"), "");
    assert_string_equal(world_reconcile(w, &clusterrole_aggregation_controller, "one"), "");
    const struct object *two = world_get(w, RES_CLUSTERROLES, "", "two");
    assert_string_equal(world_keys(w, &clusterrole_aggregation_controller, two, NULL), "view");
    world_free(w);
}

static void a_claim_stays_while_a_pod_has_it(void **state)
{
    struct world *w = world_new();
    const struct object *c = world_add(w, RES_PERSISTENTVOLUMECLAIMS,
                                       "{metadata: {namespace: x, name: c, " DELETED
                                       ", finalizers: [kubernetes.io/pvc-protection, a/b]}}");
    world_add(w, RES_PERSISTENTVOLUMECLAIMS,
              "{metadata: {namespace: x, name: p-scratch, " DELETED
              ", finalizers: [kubernetes.io/pvc-protection]}}");
    const struct object *p =
        world_add(w, RES_PODS,
                  "{metadata: {namespace: x, name: p}, spec: {nodeName: n, volumes: [{name: v, "
                  "persistentVolumeClaim: {claimName: c}}, {name: scratch, ephemeral: {}}]}}");
    assert_string_equal(world_reconcile(w, &pvc_protection_controller, "x/c"), "");
    assert_string_equal(world_keys(w, &pvc_protection_controller, NULL, c), "x/c");
    assert_string_equal(world_keys(w, &pvc_protection_controller, NULL, p), "x/c x/p-scratch");
    assert_string_equal(world_keys(w, &pvc_protection_controller, p, NULL), "x/c x/p-scratch");
    world_add(w, RES_PODS,
              "{metadata: {namespace: x, name: p}, spec: {volumes: [{name: v, persistentVolumeClaim: "
              "{claimName: c}}]}}");
    bool used = true;
    assert_string_equal(world_reconcile(w, &pvc_protection_controller, "x/c"), "again 10ms\n"); /* not asked yet */
    world_gather(w, &used);
    assert_string_equal(world_reconcile(w, &pvc_protection_controller, "x/c"), "again 1s\n");
    used = false;
    assert_string_equal(world_reconcile(w, &pvc_protection_controller, "x/c"),
                        "update persistentvolumeclaims x/c\n");
    assert_int_equal(val_len(val_at(world_write(w, 0)->body, N_metadata, N_finalizers)), 1);
    world_add(w, RES_PERSISTENTVOLUMECLAIMS,
              "{metadata: {namespace: x, name: c, finalizers: [kubernetes.io/pvc-protection]}}");
    assert_string_equal(world_reconcile(w, &pvc_protection_controller, "x/c"), "");
    world_free(w);
}

/* Our copy of the pods may lag: the server is asked before a claim is let go. */
FIBER_TEST(the_server_is_asked_for_pods)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct fake_client *fake = fake_client_new();
    struct world *w = world_new();
    struct key key = {STR("x"), STR("c")};
    const struct controller *c = &pvc_protection_controller;
    world_add(w, RES_PERSISTENTVOLUMECLAIMS,
              "{metadata: {namespace: x, name: c, finalizers: [kubernetes.io/pvc-protection]}}");
    assert_null(c->gather(fake_client_as(fake), world_snapshot(w), key, &a)); /* nobody deletes it */
    world_add(w, RES_PERSISTENTVOLUMECLAIMS,
              "{metadata: {namespace: x, name: c, " DELETED ", finalizers: [kubernetes.io/pvc-protection]}}");
    const bool *used = c->gather(fake_client_as(fake), world_snapshot(w), key, &a);
    assert_true(used && !*used);
    fake_put_text(fake, RES_PODS,
                  "{metadata: {namespace: x, name: p}, spec: {nodeName: n, volumes: [{name: v, "
                  "persistentVolumeClaim: {claimName: c}}]}}");
    used = c->gather(fake_client_as(fake), world_snapshot(w), key, &a);
    assert_true(used && *used);
    world_free(w);
    fake_client_free(fake);
}

static void a_bound_claim_says_whether_a_pod_has_it(void **state)
{
    struct world *w = world_new();
    const struct object *c = world_add(w, RES_PERSISTENTVOLUMECLAIMS,
                                       "{metadata: {namespace: x, name: c}, status: {phase: Bound}}");
    assert_string_equal(world_keys(w, &pvc_protection_controller, NULL, c), "x/c");
    world_reconcile(w, &pvc_protection_controller, "x/c");
    world_apply(w);
    c = world_get(w, RES_PERSISTENTVOLUMECLAIMS, "x", "c");
    assert_true(condition_is(val_at(c->val, N_status, N_conditions), STR("Unused"), "True"));
    assert_string_equal(world_keys(w, &pvc_protection_controller, NULL, c), "");
    assert_string_equal(world_reconcile(w, &pvc_protection_controller, "x/c"), "");
    const struct object *p = world_add(w, RES_PODS,
                                       "{metadata: {namespace: x, name: p}, spec: {volumes: [{name: v, "
                                       "persistentVolumeClaim: {claimName: c}}]}}");
    assert_string_equal(world_keys(w, &pvc_protection_controller, NULL, p), "x/c");
    assert_string_equal(world_keys(w, &pvc_protection_controller, p, p), "");
    world_reconcile(w, &pvc_protection_controller, "x/c");
    world_apply(w);
    c = world_get(w, RES_PERSISTENTVOLUMECLAIMS, "x", "c");
    assert_true(condition_is(val_at(c->val, N_status, N_conditions), STR("Unused"), "False"));
    world_free(w);
}

static void a_volume_stays_while_it_is_bound(void **state)
{
    struct world *w = world_new();
    world_add(w, RES_PERSISTENTVOLUMES,
              "{metadata: {name: v, " DELETED
              ", finalizers: [kubernetes.io/pv-protection]}, status: {phase: Bound}}");
    assert_string_equal(world_reconcile(w, &pv_protection_controller, "v"), "");
    world_add(w, RES_PERSISTENTVOLUMES,
              "{metadata: {name: v, " DELETED
              ", finalizers: [kubernetes.io/pv-protection]}, status: {phase: Released}}");
    assert_string_equal(world_reconcile(w, &pv_protection_controller, "v"), "update persistentvolumes v\n");
    world_free(w);
}

static void a_class_stays_while_it_is_named(void **state)
{
    struct world *w = world_new();
    world_add(w, RES_VOLUMEATTRIBUTESCLASSES,
              "{metadata: {name: gold, " DELETED ", finalizers: [kubernetes.io/vac-protection]}}");
    const struct object *c =
        world_add(w, RES_PERSISTENTVOLUMECLAIMS,
                  "{metadata: {namespace: x, name: c}, spec: {volumeAttributesClassName: gold}}");
    assert_string_equal(world_reconcile(w, &vac_protection_controller, "gold"), "");
    assert_string_equal(world_keys(w, &vac_protection_controller, c, NULL), "gold");
    world_remove(w, RES_PERSISTENTVOLUMECLAIMS, "x", "c");
    assert_string_equal(world_reconcile(w, &vac_protection_controller, "gold"),
                        "update volumeattributesclasses gold\n");
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles_are_made_of_others),
        cmocka_unit_test(a_claim_stays_while_a_pod_has_it),
        cmocka_unit_test(the_server_is_asked_for_pods),
        cmocka_unit_test(a_bound_claim_says_whether_a_pod_has_it),
        cmocka_unit_test(a_volume_stays_while_it_is_bound),
        cmocka_unit_test(a_class_stays_while_it_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
