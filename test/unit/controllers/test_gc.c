/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/gc.h"

#include <stdio.h>

#include "controllers/gc_graph.h"
#include "testing.h"
#include "type/meta.h"
#include "world.h"

#define DELETED "deletionTimestamp: '2026-01-01T00:00:00Z'"
#define OWNER(kind, name, more) "{apiVersion: apps/v1, kind: " kind ", name: " name ", uid: u-" name more "}"

static const char *run(struct world *w, uint16_t res, const char *name)
{
    char key[128];
    snprintf(key, sizeof(key), "%u|x/%s", res, name);
    return world_reconcile(w, &garbage_collector_controller, key);
}

static struct world *new_world(void)
{
    struct world *w = world_new();
    world_follow(w, &garbage_collector_controller);
    return w;
}

static void set(struct world *w, const char *name, const char *more)
{
    world_addf(w, RES_REPLICASETS, "{metadata: {namespace: x, name: %s, uid: u-%s, %s}}", name, name, more);
}

static void pod(struct world *w, const char *name, const char *more)
{
    world_addf(w, RES_PODS, "{metadata: {namespace: x, name: %s, uid: u-%s, %s}}", name, name, more);
}

static void what_has_an_owner_stays(void **state)
{
    struct world *w = new_world();
    set(w, "rs", "");
    pod(w, "a", "ownerReferences: [" OWNER("ReplicaSet", "rs", "") "]");
    pod(w, "b", "");
    assert_string_equal(run(w, RES_PODS, "a"), "");
    assert_string_equal(run(w, RES_PODS, "b"), "");
    assert_string_equal(run(w, RES_PODS, "nosuch"), "");
    world_free(w);
}

static void what_lost_its_owner_goes_after_a_look_at_the_server(void **state)
{
    struct world *w = new_world();
    pod(w, "a", "ownerReferences: [" OWNER("ReplicaSet", "rs", "") "]");
    assert_string_equal(run(w, RES_PODS, "a"), "check-absent replicasets x/rs\ndelete pods x/a Background\n");
    assert_str(world_write(w, 0)->uid, "u-rs");
    assert_str(world_write(w, 1)->uid, "u-a");
    assert_false(str_empty(world_write(w, 1)->revision));
    world_addf(w, RES_REPLICASETS, "{metadata: {namespace: x, name: rs, uid: another}}");
    assert_non_null(strstr(run(w, RES_PODS, "a"), "delete pods x/a"));
    world_free(w);
}

static void one_living_owner_is_enough(void **state)
{
    struct world *w = new_world();
    set(w, "rs", "");
    pod(w, "a", "ownerReferences: [" OWNER("ReplicaSet", "rs", "") ", " OWNER("ReplicaSet", "gone", "") "]");
    assert_string_equal(
        run(w, RES_PODS, "a"),
        "check-absent replicasets x/gone\npatch pods x/a {\"metadata\":{\"ownerReferences\":[{\"$patch\":"
        "\"delete\",\"uid\":\"u-gone\"}],\"uid\":\"u-a\"}}\n");
    world_free(w);
}

static void unknown_kinds_of_owners_are_trusted(void **state)
{
    struct world *w = new_world();
    pod(w, "a",
        "ownerReferences: [{apiVersion: example.com/v1, kind: Thing, name: t, uid: u-t}, " OWNER(
            "ReplicaSet", "gone", "") "]");
    assert_string_equal(run(w, RES_PODS, "a"), "error -11\n"); /* it may come up */
    world_add(w, RES_NODES,
              "{metadata: {name: n, ownerReferences: [{apiVersion: v1, kind: Pod, name: a, uid: u-a}]}}");
    char key[32];
    snprintf(key, sizeof(key), "%u|/n", RES_NODES);
    assert_string_equal(world_reconcile(w, &garbage_collector_controller, key),
                        ""); /* a namespaced owner cannot be */
    world_free(w);
}

static void foreground_waits_for_those_that_block(void **state)
{
    struct world *w = new_world();
    set(w, "rs", DELETED ", finalizers: [foregroundDeletion]");
    pod(w, "a", "ownerReferences: [" OWNER("ReplicaSet", "rs", ", blockOwnerDeletion: true") "]");
    pod(w, "b", "ownerReferences: [" OWNER("ReplicaSet", "rs", "") "]");
    assert_string_equal(run(w, RES_REPLICASETS, "rs"), "");
    assert_string_equal(run(w, RES_PODS, "a"), "delete pods x/a Background\n");
    world_remove(w, RES_PODS, "x", "a");
    assert_string_equal(run(w, RES_REPLICASETS, "rs"), "update replicasets x/rs\n");
    assert_int_equal(val_len(val_at(world_write(w, 0)->body, N_metadata, N_finalizers)), 0);
    world_free(w);
}

static void a_dependent_with_dependents_goes_in_foreground_too(void **state)
{
    struct world *w = new_world();
    world_add(w, RES_DEPLOYMENTS,
              "{metadata: {namespace: x, name: d, uid: u-d, " DELETED ", finalizers: [foregroundDeletion]}}");
    set(w, "rs", "ownerReferences: [" OWNER("Deployment", "d", ", blockOwnerDeletion: true") "]");
    pod(w, "a", "ownerReferences: [" OWNER("ReplicaSet", "rs", ", blockOwnerDeletion: true") "]");
    assert_string_equal(run(w, RES_REPLICASETS, "rs"), "delete replicasets x/rs Foreground\n");
    /* A circle: the dependent waits for the one that it holds up. */
    pod(w, "a",
        DELETED ", finalizers: [foregroundDeletion], ownerReferences: [" OWNER(
            "ReplicaSet", "rs", ", blockOwnerDeletion: true") "]");
    assert_string_equal(
        run(w, RES_REPLICASETS, "rs"),
        "patch replicasets x/rs {\"metadata\":{\"ownerReferences\":[{\"blockOwnerDeletion\":false,\"uid\":"
        "\"u-d\"}],\"uid\":\"u-rs\"}}\ndelete replicasets x/rs Foreground\n");
    world_free(w);
}

static void orphans_are_let_go(void **state)
{
    struct world *w = new_world();
    set(w, "rs", DELETED ", finalizers: [orphan, other/one]");
    pod(w, "a", "ownerReferences: [" OWNER("ReplicaSet", "rs", "") "]");
    assert_string_equal(
        run(w, RES_REPLICASETS, "rs"),
        "patch pods x/a {\"metadata\":{\"ownerReferences\":[{\"$patch\":\"delete\",\"uid\":\"u-rs\"}],"
        "\"uid\":\"u-a\"}}\nupdate replicasets x/rs\n");
    assert_int_equal(val_len(val_at(world_write(w, 1)->body, N_metadata, N_finalizers)), 1);
    world_free(w);
}

static void changes_find_those_they_concern(void **state)
{
    struct world *w = new_world();
    char pod_key[32], set_key[32], both[64];
    snprintf(pod_key, sizeof(pod_key), "%u|x/a", RES_PODS);
    snprintf(set_key, sizeof(set_key), "%u|x/rs", RES_REPLICASETS);
    snprintf(both, sizeof(both), "%s %s", pod_key, set_key);
    struct object *p =
        object_relaxed(RES_PODS, "{metadata: {namespace: x, name: a, uid: u-a, ownerReferences: [" OWNER(
                                     "ReplicaSet", "rs", ", blockOwnerDeletion: true") "]}}");
    struct object *s = object_relaxed(RES_REPLICASETS, "{metadata: {namespace: x, name: rs, uid: u-rs}}");
    struct object *going =
        object_relaxed(RES_REPLICASETS, "{metadata: {namespace: x, name: rs, uid: u-rs, " DELETED
                                        ", finalizers: [foregroundDeletion]}}");
    const struct controller *c = &garbage_collector_controller;
    assert_string_equal(world_keys(w, c, NULL, p), pod_key);
    assert_string_equal(world_keys(w, c, p, p), "");
    assert_string_equal(world_keys(w, c, NULL, s), set_key);
    assert_string_equal(world_keys(w, c, s, going), both);
    assert_string_equal(world_keys(w, c, p, NULL), set_key);
    assert_string_equal(world_keys(w, c, NULL, p), pod_key);
    assert_string_equal(world_keys(w, c, going, NULL), pod_key);
    assert_string_equal(world_keys(w, c, p, NULL), "");
    object_unref(p);
    object_unref(s);
    object_unref(going);
    world_free(w);
}

/* ---- the whole, against a server --------------------------------------------------------------------- */

static void run_controller(void *arg)
{
    controller_run(arg, &garbage_collector_controller, NULL, NULL);
}

static void put_tree(struct fake_client *f)
{
    fake_put_text(f, RES_DEPLOYMENTS, "{metadata: {namespace: x, name: d, uid: u-d}}");
    fake_put_text(f, RES_REPLICASETS,
                  "{metadata: {namespace: x, name: rs, uid: u-rs, ownerReferences: [" OWNER(
                      "Deployment", "d", ", blockOwnerDeletion: true") "]}}");
    fake_put_text(f, RES_PODS,
                  "{metadata: {namespace: x, name: a, uid: u-a, ownerReferences: [" OWNER(
                      "ReplicaSet", "rs", ", blockOwnerDeletion: true") "]}}");
    fake_put_text(f, RES_PODS, "{metadata: {namespace: x, name: free, uid: u-free}}");
}

static void delete_and_settle(struct fake_client *f, const char *propagation)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    status_init(&s, &a);
    const struct call *call = CALL(.res = &resources[RES_DEPLOYMENTS], .ns = STR("x"), .name = STR("d"),
                                   .propagation = propagation);
    assert_int_equal(client_delete(fake_client_as(f), call, &a, NULL, &s), 0);
    for (int i = 0; i < 300 && (fake_get(f, RES_DEPLOYMENTS, "x", "d") || fake_get(f, RES_PODS, "x", "a"));
         i++)
        fiber_sleep(MILLISECONDS(1));
}

static void play(const char *propagation, bool sets_stay)
{
    struct fake_client *f = fake_client_new();
    struct group g = {0};
    put_tree(f);
    group_spawn(&g, "gc", run_controller, fake_client_as(f));
    fiber_sleep(MILLISECONDS(5));
    assert_int_equal(fake_count(f, RES_PODS), 2);
    delete_and_settle(f, propagation);
    assert_null(fake_get(f, RES_DEPLOYMENTS, "x", "d"));
    assert_int_equal(fake_get(f, RES_REPLICASETS, "x", "rs") != NULL, sets_stay);
    assert_int_equal(fake_get(f, RES_PODS, "x", "a") != NULL, sets_stay);
    assert_non_null(fake_get(f, RES_PODS, "x", "free"));
    if (sets_stay)
        assert_int_equal(val_len(val_get(fake_get(f, RES_REPLICASETS, "x", "rs")->meta, N_ownerReferences)),
                         0);
    group_stop(&g);
    fake_client_free(f);
}

FIBER_TEST(a_tree_goes_in_background)
{
    play("Background", false);
}

FIBER_TEST(a_tree_goes_in_foreground)
{
    play("Foreground", false);
}

FIBER_TEST(a_tree_is_orphaned)
{
    play("Orphan", true);
}

/* ---- the graph against what a full look would find --------------------------------------------------- */

static void ignore(void *arg, const struct gc_node *n) {}

static void the_graph_forgets_what_it_needs_no_more(void **state)
{
    struct gc_graph g = {0};
    struct object *objects[40] = {0};
    unsigned seed = 7;
    for (int step = 0; step < 5000; step++) {
        seed = seed * 1103515245u + 12345u;
        unsigned i = (seed >> 16) % 40, owner = (seed >> 8) % 40, what = (seed >> 24) % 4;
        struct object *now = NULL;
        char refs[128] = "", whole[512];
        if (what < 2)
            snprintf(refs, sizeof(refs), "{apiVersion: v1, kind: Pod, name: p%u, uid: u%u}", owner, owner);
        snprintf(whole, sizeof(whole),
                 "{metadata: {namespace: x, name: p%u, uid: u%u, ownerReferences: [%s]}}", i, i, refs);
        if (what < 3)
            now = object_relaxed(RES_PODS, whole);
        if (now || objects[i])
            gc_graph_change(&g, &resources[RES_PODS], objects[i], now, ignore, NULL);
        object_unref(objects[i]);
        objects[i] = now;
    }
    size_t edges = 0, found = 0;
    for (unsigned i = 0; i < 40; i++)
        edges += objects[i] ? val_len(val_get(objects[i]->meta, N_ownerReferences)) : 0;
    MAP_EACH (&g.nodes, e)
        found += ((struct gc_node *)e->value)->n_dependents;
    assert_int_equal(found, edges);
    for (unsigned i = 0; i < 40; i++) {
        if (objects[i])
            gc_graph_change(&g, objects[i]->res, objects[i], NULL, ignore, NULL);
        object_unref(objects[i]);
    }
    assert_int_equal(g.nodes.n, 0);
    gc_graph_done(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_an_owner_stays),
        cmocka_unit_test(what_lost_its_owner_goes_after_a_look_at_the_server),
        cmocka_unit_test(one_living_owner_is_enough),
        cmocka_unit_test(unknown_kinds_of_owners_are_trusted),
        cmocka_unit_test(foreground_waits_for_those_that_block),
        cmocka_unit_test(a_dependent_with_dependents_goes_in_foreground_too),
        cmocka_unit_test(orphans_are_let_go),
        cmocka_unit_test(changes_find_those_they_concern),
        cmocka_unit_test(a_tree_goes_in_background),
        cmocka_unit_test(a_tree_goes_in_foreground),
        cmocka_unit_test(a_tree_is_orphaned),
        cmocka_unit_test(the_graph_forgets_what_it_needs_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
