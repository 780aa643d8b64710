/* SPDX-License-Identifier: Apache-2.0 */
#include "client/fake_client.h"

#include "client/replica.h"

#include "testing.h"
#include "type/meta.h"

static const struct resource *const pods = &resources[RES_PODS];

FIBER_TEST(creates_with_generated_names_and_refuses_twice)
{
    struct fake_client *f = fake_client_new();
    struct client *c = fake_client_as(f);
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    status_init(&s, &a);
    const struct val *got;
    struct val *v = val_relaxed(&a, pods->type, "{metadata: {generateName: web-}}");
    assert_int_equal(client_create(c, CALL(.res = pods, .ns = STR("x")), v, &a, &got, &s), 0);
    assert_true(str_starts(obj_name(got), STR("web-")));
    assert_str(obj_namespace(got), "x");
    assert_true(obj_revision(got) > 0);
    assert_int_equal(client_create(c, CALL(.res = pods, .ns = STR("x")), got, &a, NULL, &s), 409);
    assert_string_equal(s.reason, "AlreadyExists");
    fake_client_free(f);
}

FIBER_TEST(refuses_updates_of_old_versions_and_counts_generations)
{
    struct fake_client *f = fake_client_new();
    struct client *c = fake_client_as(f);
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    status_init(&s, &a);
    const struct resource *rs = &resources[RES_REPLICASETS];
    fake_put_text(f, RES_REPLICASETS,
                  "{metadata: {namespace: x, name: r, generation: 1}, spec: {replicas: 1}}");
    const struct val *old, *now;
    assert_int_equal(client_get(c, CALL(.res = rs, .ns = STR("x"), .name = STR("r")), &a, &old, &s), 0);
    struct val *v = val_copy(&a, old);
    val_set_int(&a, val_mut(v, N_spec), N_replicas, 2);
    const struct call *call = CALL(.res = rs, .ns = STR("x"), .name = STR("r"));
    assert_int_equal(client_update(c, call, v, &a, &now, &s), 0);
    assert_int_equal(val_int(val_at(now, N_metadata, N_generation), 0), 2);
    assert_int_equal(client_update(c, call, v, &a, &now, &s), 409);
    struct val *status =
        val_relaxed(&a, rs->type, "{metadata: {name: r}, spec: {replicas: 9}, status: {replicas: 7}}");
    call = CALL(.res = rs, .ns = STR("x"), .name = STR("r"), .subresource = "status");
    assert_int_equal(client_update(c, call, status, &a, &now, &s), 0);
    assert_int_equal(val_int(val_at(now, N_spec, N_replicas), 0), 2);
    assert_int_equal(val_int(val_at(now, N_status, N_replicas), 0), 7);
    fake_client_free(f);
}

FIBER_TEST(deletes_gracefully_and_after_finalizers)
{
    struct fake_client *f = fake_client_new();
    struct client *c = fake_client_as(f);
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    status_init(&s, &a);
    fake_put_text(f, RES_PODS, "{metadata: {namespace: x, name: a}, spec: {nodeName: n}}");
    fake_put_text(f, RES_CONFIGMAPS, "{metadata: {namespace: x, name: b, finalizers: [f/g]}}");
    const struct call *call = CALL(.res = pods, .ns = STR("x"), .name = STR("a"));
    assert_int_equal(client_delete(c, call, &a, NULL, &s), 0);
    assert_true(obj_deleting(fake_get(f, RES_PODS, "x", "a")->val));
    call = CALL(.res = pods, .ns = STR("x"), .name = STR("a"), .grace_seconds = 0);
    assert_int_equal(client_delete(c, call, &a, NULL, &s), 0);
    assert_null(fake_get(f, RES_PODS, "x", "a"));
    call = CALL(.res = &resources[RES_CONFIGMAPS], .ns = STR("x"), .name = STR("b"));
    assert_int_equal(client_delete(c, call, &a, NULL, &s), 0);
    const struct object *b = fake_get(f, RES_CONFIGMAPS, "x", "b");
    assert_non_null(b);
    struct val *v = val_copy(&a, b->val);
    val_del(val_mut(v, N_metadata), N_finalizers);
    assert_int_equal(client_update(c, call, v, &a, NULL, &s), 0);
    assert_null(fake_get(f, RES_CONFIGMAPS, "x", "b"));
    fake_client_free(f);
}

FIBER_TEST(watches_deliver_state_then_a_bookmark_then_changes)
{
    struct fake_client *f = fake_client_new();
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    status_init(&s, &a);
    fake_put_text(f, RES_PODS, "{metadata: {namespace: x, name: a, labels: {app: web}}}");
    fake_put_text(f, RES_PODS, "{metadata: {namespace: x, name: b}}");
    struct client_watch *w;
    const struct call *call = CALL(.res = pods, .label_selector = STR("app=web"));
    assert_int_equal(client_watch(fake_client_as(f), call, 0, &w, &s), 0);
    fake_put_text(f, RES_PODS, "{metadata: {namespace: x, name: a}}"); /* leaves the selection */
    static const enum watch_event_kind want[] = {WATCH_ADDED, WATCH_BOOKMARK, WATCH_DELETED};
    for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
        struct watch_event e;
        assert_int_equal(client_watch_next(w, MONO_NEVER, &e, &s), 0);
        assert_int_equal(e.kind, want[i]);
        object_unref(e.object);
    }
    struct watch_event e;
    assert_int_equal(client_watch_next(w, mono_add(os_mono(), MILLISECONDS(1)), &e, &s), -ETIMEDOUT);
    fake_break_watches(f, true);
    assert_int_equal(client_watch_next(w, MONO_NEVER, &e, &s), 410);
    client_watch_close(w);
    fake_client_free(f);
}

FIBER_TEST(binds_pods)
{
    struct fake_client *f = fake_client_new();
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    status_init(&s, &a);
    fake_put_text(f, RES_PODS, "{metadata: {namespace: x, name: a}}");
    struct val *b = val_relaxed(&a, NULL, "{target: {kind: Node, name: n1}}");
    const struct call *call = CALL(.res = pods, .ns = STR("x"), .name = STR("a"), .subresource = "binding");
    assert_int_equal(client_create(fake_client_as(f), call, b, &a, NULL, &s), 0);
    assert_str(index_pod_node(fake_get(f, RES_PODS, "x", "a")), "n1");
    assert_int_equal(client_create(fake_client_as(f), call, b, &a, NULL, &s), 409);
    assert_str(fake_log(f, &a), "create pods x/a binding\n");
    fake_client_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(creates_with_generated_names_and_refuses_twice),
        cmocka_unit_test(refuses_updates_of_old_versions_and_counts_generations),
        cmocka_unit_test(deletes_gracefully_and_after_finalizers),
        cmocka_unit_test(watches_deliver_state_then_a_bookmark_then_changes),
        cmocka_unit_test(binds_pods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
