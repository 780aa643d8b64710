/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/namespace.h"

#include "testing.h"
#include "type/meta.h"
#include "type/structural.h"
#include "world.h"

#define NS(phase, more)                                                                                      \
    "{metadata: {name: x, uid: u-x, " more "}, spec: {finalizers: [kubernetes]}, status: {phase: " phase "}" \
                                                                                                         "}"
#define DELETED "deletionTimestamp: '2026-01-01T00:00:00Z'"

static void gives_every_namespace_a_service_account(void **state)
{
    struct world *w = world_new();
    world_add(w, RES_NAMESPACES, NS("Active", ""));
    assert_string_equal(world_reconcile(w, &serviceaccount_controller, "x"), "create serviceaccounts x/default\n");
    assert_str(obj_name(world_write(w, 0)->body), "default");
    world_apply(w);
    assert_string_equal(world_reconcile(w, &serviceaccount_controller, "x"), "");
    world_remove(w, RES_SERVICEACCOUNTS, "x", "default");
    world_add(w, RES_NAMESPACES, NS("Terminating", DELETED));
    assert_string_equal(world_reconcile(w, &serviceaccount_controller, "x"), "");
    struct object *sa = object_relaxed(RES_SERVICEACCOUNTS, "{metadata: {namespace: x, name: default}}");
    assert_string_equal(world_keys(w, &serviceaccount_controller, sa, NULL), "x");
    object_unref(sa);
    world_free(w);
}

static void publishes_the_root_ca(void **state)
{
    struct world *w = world_new();
    world_config(w)->root_ca = STR("PEM");
    world_add(w, RES_NAMESPACES, NS("Active", ""));
    assert_string_equal(world_reconcile(w, &root_ca_controller, "x"), "create configmaps x/kube-root-ca.crt\n");
    assert_str(obj_name(world_write(w, 0)->body), "kube-root-ca.crt");
    world_apply(w);
    assert_string_equal(world_reconcile(w, &root_ca_controller, "x"), "");
    world_add(w, RES_CONFIGMAPS,
              "{metadata: {namespace: x, name: kube-root-ca.crt}, data: {ca.crt: other, more: things}}");
    assert_string_equal(world_reconcile(w, &root_ca_controller, "x"),
                        "update configmaps x/kube-root-ca.crt\n");
    const struct val *data = val_get(world_write(w, 0)->body, N_data);
    assert_int_equal(val_len(data), 1);
    assert_str(val_str(val_key(data, STR("ca.crt"))), "PEM");
    world_free(w);
}

static void a_living_namespace_is_left_alone(void **state)
{
    struct world *w = world_new();
    world_add(w, RES_NAMESPACES, NS("Active", ""));
    world_add(w, RES_PODS, "{metadata: {namespace: x, name: p}}");
    assert_string_equal(world_reconcile(w, &namespace_controller, "x"), "");
    world_free(w);
}

static void deletes_pods_first_then_the_rest_then_itself(void **state)
{
    struct world *w = world_new();
    world_add(w, RES_NAMESPACES, NS("Terminating", DELETED));
    world_add(w, RES_PODS, "{metadata: {namespace: x, name: p}}");
    world_add(w, RES_PODS, "{metadata: {namespace: other, name: p}}");
    world_add(w, RES_CONFIGMAPS, "{metadata: {namespace: x, name: c, finalizers: [a/b]}}");
    const char *got = world_reconcile(w, &namespace_controller, "x");
    assert_non_null(strstr(got, "delete pods x/ Background\n"));
    assert_null(strstr(got, "configmaps"));
    assert_non_null(strstr(got, "Some resources are remaining: pods. has 1 resource instances"));
    world_remove(w, RES_PODS, "x", "p");
    got = world_reconcile(w, &namespace_controller, "x");
    assert_non_null(strstr(got, "delete configmaps x/ Background\n"));
    assert_non_null(strstr(got, "finalizers remaining: a/b in 1 resource instances"));
    world_add(w, RES_CONFIGMAPS, "{metadata: {namespace: x, name: c, finalizers: [a/b], " DELETED "}}");
    got = world_reconcile(w, &namespace_controller, "x");
    assert_null(strstr(got, "delete configmaps")); /* asked for already */
    assert_non_null(strstr(got, "again 5s"));
    world_remove(w, RES_CONFIGMAPS, "x", "c");
    assert_string_equal(world_reconcile(w, &namespace_controller, "x"),
                        "delete events x/ Background\nupdate namespaces x finalize\n");
    assert_int_equal(val_len(val_at(world_write(w, 1)->body, N_spec, N_finalizers)), 0);
    world_free(w);
}

static void says_what_could_not_be_deleted(void **state)
{
    struct world *w = world_new();
    world_add(w, RES_NAMESPACES, NS("Terminating", DELETED));
    world_add(w, RES_PODS, "{metadata: {namespace: x, name: p}}");
    world_reconcile(w, &namespace_controller, "x");
    size_t i = 0;
    while (world_write(w, i)->verb != WRITE_DELETE)
        i++;
    const char *got = world_refuse(w, &namespace_controller, "x", i, 500, "no such luck");
    assert_non_null(strstr(got, "Failed to delete all resource types, 1 remaining: no such luck"));
    world_free(w);
}

static void content_wakes_its_namespace_only_when_it_goes(void **state)
{
    struct world *w = world_new();
    struct object *p = object_relaxed(RES_PODS, "{metadata: {namespace: x, name: p}}");
    world_add(w, RES_NAMESPACES, NS("Active", ""));
    assert_string_equal(world_keys(w, &namespace_controller, p, NULL), "");
    world_add(w, RES_NAMESPACES, NS("Terminating", DELETED));
    assert_string_equal(world_keys(w, &namespace_controller, p, NULL), "x");
    object_unref(p);
    world_free(w);
}

static void custom_objects_go_too(void **state)
{
    struct custom_type type;
    struct world *w = world_new();
    const struct resource *res = world_things(&type);
    world_add(w, RES_NAMESPACES, NS("Terminating", DELETED));
    world_add(w, RES_CUSTOMRESOURCEDEFINITIONS,
              "{metadata: {name: things.example.com}, spec: {group: example.com, scope: Namespaced, versions: [{name: v1, served: "
              "true, storage: true}]}, status: {acceptedNames: {plural: things, kind: Thing}, conditions: [{type: Established, "
              "status: 'True'}]}}");
    const char *got = world_reconcile(w, &namespace_controller, "x"); /* nobody follows them yet */
    assert_non_null(strstr(got, "Discovery failed for some groups, 1 failing: things.example.com"));
    assert_null(strstr(got, "x finalize"));
    struct snapshot_slot *slot = world_custom(w, res);
    slot->synced = false;
    assert_null(strstr(world_reconcile(w, &namespace_controller, "x"), "x finalize"));
    slot->synced = true;
    world_put(w, res, "{metadata: {namespace: x, name: t}}");
    got = world_reconcile(w, &namespace_controller, "x");
    assert_non_null(strstr(got, "delete things x/ Background\n"));
    assert_non_null(strstr(got, "things.example.com has 1 resource instances"));
    slot->tree = tree_unref(slot->tree);
    assert_non_null(strstr(world_reconcile(w, &namespace_controller, "x"), "update namespaces x finalize\n"));
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_every_namespace_a_service_account),
        cmocka_unit_test(publishes_the_root_ca),
        cmocka_unit_test(a_living_namespace_is_left_alone),
        cmocka_unit_test(deletes_pods_first_then_the_rest_then_itself),
        cmocka_unit_test(says_what_could_not_be_deleted),
        cmocka_unit_test(custom_objects_go_too),
        cmocka_unit_test(content_wakes_its_namespace_only_when_it_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
