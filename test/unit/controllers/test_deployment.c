/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/deployment.h"

#include <stdio.h>

#include "controllers/replicaset.h"
#include "testing.h"
#include "type/meta.h"
#include "wire/json.h"
#include "world.h"

static void add_deployment(struct world *w, int replicas, const char *image, const char *more)
{
    world_addf(
        w, RES_DEPLOYMENTS,
        "{metadata: {namespace: x, name: web, uid: u-web, generation: 1}, spec: {replicas: %d, selector: "
        "{matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, "
        "image: %s}]}}, revisionHistoryLimit: 10, progressDeadlineSeconds: 600, %s}}",
        replicas, image, more);
}

#define ROLLING(surge, unavailable)                                                                          \
    "strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: " surge ", maxUnavailable: " unavailable "}}"

static const struct object *add_set(struct world *w, const char *name, const char *image, int replicas,
                                    int available, const char *annotations)
{
    return world_addf(
        w, RES_REPLICASETS,
        "{metadata: {namespace: x, name: %s, uid: u-%s, generation: 1, labels: {app: web}, "
        "creationTimestamp: "
        "'2025-12-31T00:00:00Z', annotations: {%s}, ownerReferences: [{apiVersion: apps/v1, kind: "
        "Deployment, "
        "name: web, uid: u-web, controller: true}]}, spec: {replicas: %d, selector: {matchLabels: {app: web, "
        "pod-template-hash: h}}, template: {metadata: {labels: {app: web, pod-template-hash: h}}, spec: "
        "{containers: [{name: c, image: %s}]}}}, status: {replicas: %d, readyReplicas: %d, "
        "availableReplicas: "
        "%d, observedGeneration: 1, terminatingReplicas: 0}}",
        name, name, annotations, replicas, image, replicas, available, available);
}

#define ANNOTATIONS(desired, max, revision)                                                                  \
    "deployment.kubernetes.io/desired-replicas: '" desired "', deployment.kubernetes.io/max-replicas: '" max \
    "', deployment.kubernetes.io/revision: '" revision "'"

static const char *run(struct world *w)
{
    return world_reconcile(w, &deployment_controller, "x/web");
}

/* What a reconcile wants of a set; -1 when it does not touch it. */
static int64_t wants(struct world *w, const char *name)
{
    for (size_t i = 0;; i++) {
        const struct write *x = world_write(w, i);
        if (!x)
            return -1;
        if (x->verb == WRITE_UPDATE && str_is(x->name, name))
            return val_int(val_at(x->body, N_spec, N_replicas), -1);
    }
}

static const struct val *condition_of(struct world *w, const char *type)
{
    const struct object *d = world_get(w, RES_DEPLOYMENTS, "x", "web");
    return condition_find(val_at(d->val, N_status, N_conditions), str_of(type));
}

static void makes_its_first_set(void **state)
{
    struct world *w = world_new();
    add_deployment(w, 3, "i1", ROLLING("'25%'", "'25%'"));
    const char *got = run(w);
    assert_int_equal(strncmp(got, "create replicasets x/web-", 25), 0);
    assert_non_null(strstr(got, "\nevent Normal ScalingReplicaSet Scaled up replica set web-"));
    assert_non_null(strstr(got, " from 0 to 3\nstatus deployments x/web "));
    const struct val *rs = world_write(w, 0)->body;
    struct str hash = obj_label(rs, STR("pod-template-hash"));
    assert_true(hash.n > 4);
    assert_true(str_ends(obj_name(rs), hash));
    assert_str(obj_annotation(rs, STR("deployment.kubernetes.io/revision")), "1");
    assert_str(obj_annotation(rs, STR("deployment.kubernetes.io/desired-replicas")), "3");
    assert_str(obj_annotation(rs, STR("deployment.kubernetes.io/max-replicas")), "4");
    assert_true(str_eq(
        val_str(val_key(val_at(rs, N_spec, N_selector, N_matchLabels), STR("pod-template-hash"))), hash));
    assert_true(str_eq(
        val_str(val_key(val_at(rs, N_spec, N_template, N_metadata, N_labels), STR("pod-template-hash"))),
        hash));
    assert_true(obj_controlled_by(rs, STR("u-web")));
    const struct val *d = world_write(w, 2)->body;
    assert_str(obj_annotation(d, STR("deployment.kubernetes.io/revision")), "1");
    const struct val *c = condition_find(val_at(d, N_status, N_conditions), STR("Progressing"));
    assert_str(val_getstr(c, N_reason), "NewReplicaSetCreated");
    world_apply(w);
    assert_string_equal(run(w), "again 10m1s\n"); /* nothing more to do but to look at the deadline */
    world_free(w);
}

struct roll_case {
    const char *what, *strategy;
    int wanted, old, old_available, new_, new_available;
    int64_t want_new, want_old; /* -1: not touched */
};

static void rolls_within_its_bounds(void **state)
{
    static const struct roll_case cases[] = {
        {"surge first", ROLLING("1", "0"), 10, 10, 10, 0, 0, 1, -1},
        {"no room for new ones: old ones go", ROLLING("0", "2"), 10, 10, 10, 0, 0, -1, 8},
        {"the room that came is used", ROLLING("0", "2"), 10, 8, 8, 0, 0, 2, -1},
        {"new ones that are not up yet hold back", ROLLING("1", "0"), 10, 10, 10, 1, 0, -1, -1},
        {"new ones that are up let old ones go", ROLLING("1", "0"), 10, 10, 10, 1, 1, -1, 9},
        {"unhealthy old ones go first", ROLLING("2", "2"), 10, 10, 5, 2, 0, -1, 8},
        {"all new, the last old ones go", ROLLING("2", "2"), 10, 2, 2, 10, 10, -1, 0},
        {"percentages: surge up, unavailable down", ROLLING("'25%'", "'25%'"), 10, 10, 10, 0, 0, 3, -1},
        {"neither: one at a time", ROLLING("0", "0"), 4, 4, 4, 0, 0, -1, 3},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct roll_case *c = &cases[i];
        struct world *w = world_new();
        add_deployment(w, c->wanted, "i2", c->strategy);
        add_set(w, "old", "i1", c->old, c->old_available, "deployment.kubernetes.io/revision: '1'");
        add_set(w, "new", "i2", c->new_, c->new_available, "deployment.kubernetes.io/revision: '2'");
        run(w);
        if (wants(w, "new") != c->want_new || wants(w, "old") != c->want_old)
            fail_msg("%s: new %d, old %d", c->what, (int)wants(w, "new"), (int)wants(w, "old"));
        world_free(w);
    }
}

struct scale_case {
    int wanted, old, new_;
    int64_t want_old, want_new;
    const char *annotations;
};

static void scales_in_proportion_while_rolling(void **state)
{
    static const struct scale_case cases[] = {
        {15, 5, 8, 7, 11, ANNOTATIONS("10", "13", "1")}, /* 13 to 18 (15 and a surge of 3) */
        {5, 5, 8, 3, 5, ANNOTATIONS("10", "13", "1")},
        {0, 5, 8, 0, 0, ANNOTATIONS("10", "13", "1")},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct scale_case *c = &cases[i];
        struct world *w = world_new();
        add_deployment(w, c->wanted, "i2", ROLLING("3", "2"));
        add_set(w, "old", "i1", c->old, c->old, c->annotations);
        add_set(w, "new", "i2", c->new_, c->new_, c->annotations);
        run(w);
        if (wants(w, "new") != c->want_new || wants(w, "old") != c->want_old)
            fail_msg("case %zu: new %d, old %d", i, (int)wants(w, "new"), (int)wants(w, "old"));
        world_free(w);
    }
}

static void a_paused_deployment_only_scales(void **state)
{
    struct world *w = world_new();
    add_deployment(w, 5, "i2", ROLLING("1", "1") ", paused: true");
    add_set(w, "old", "i1", 3, 3, ANNOTATIONS("3", "4", "1"));
    run(w);
    assert_int_equal(wants(w, "old"), 5);
    world_apply(w);
    assert_str(val_getstr(condition_of(w, "Progressing"), N_reason), "DeploymentPaused");
    add_deployment(w, 5, "i2", ROLLING("1", "1"));
    world_free(w);
}

static void recreate_waits_until_old_pods_are_gone(void **state)
{
    struct world *w = world_new();
    add_deployment(w, 2, "i2", "strategy: {type: Recreate}");
    add_set(w, "old", "i1", 2, 2, ANNOTATIONS("2", "2", "1"));
    run(w);
    assert_int_equal(wants(w, "old"), 0);
    add_set(w, "old", "i1", 0, 0, ANNOTATIONS("2", "2", "1"));
    world_add(w, RES_PODS,
              "{metadata: {namespace: x, name: p, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, "
              "name: old, uid: u-old, controller: true}]}, status: {phase: Running}}");
    assert_null(strstr(run(w), "create"));
    world_remove(w, RES_PODS, "x", "p");
    assert_non_null(strstr(run(w), "create replicasets x/web-"));
    world_free(w);
}

static void a_rollback_gives_the_old_set_a_new_revision(void **state)
{
    struct world *w = world_new();
    add_deployment(w, 1, "i1", ROLLING("1", "0"));
    add_set(w, "one", "i1", 0, 0, ANNOTATIONS("1", "2", "1"));
    add_set(w, "two", "i2", 1, 1, ANNOTATIONS("1", "2", "2"));
    run(w);
    world_apply(w);
    const struct val *one = world_get(w, RES_REPLICASETS, "x", "one")->val;
    assert_str(obj_annotation(one, STR("deployment.kubernetes.io/revision")), "3");
    assert_str(obj_annotation(one, STR("deployment.kubernetes.io/revision-history")), "1");
    assert_int_equal(val_int(val_at(one, N_spec, N_replicas), 0), 1);
    assert_str(obj_annotation(world_get(w, RES_DEPLOYMENTS, "x", "web")->val,
                              STR("deployment.kubernetes.io/revision")),
               "3");
    world_free(w);
}

static void history_is_limited(void **state)
{
    struct world *w = world_new();
    add_deployment(w, 1, "i9", ROLLING("1", "0"));
    char name[8], image[8], revision[64];
    for (int i = 1; i <= 9; i++) {
        snprintf(name, sizeof(name), "s%d", i);
        snprintf(image, sizeof(image), "i%d", i);
        snprintf(revision, sizeof(revision), "deployment.kubernetes.io/revision: '%d'", i);
        add_set(w, name, image, i == 9, i == 9, revision);
    }
    world_addf(
        w, RES_DEPLOYMENTS,
        "{metadata: {namespace: x, name: web, uid: u-web, generation: 1}, spec: {replicas: 1, "
        "revisionHistoryLimit: 5, "
        "selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: "
        "[{name: "
        "c, image: 'i9'}]}}, strategy: {type: RollingUpdate}}, status: {replicas: 1, updatedReplicas: 1, "
        "availableReplicas: 1, observedGeneration: 1}}");
    const char *got = run(w);
    for (int i = 1; i <= 8; i++) {
        snprintf(image, sizeof(image), "x/s%d\n", i);
        char want[32];
        snprintf(want, sizeof(want), "delete replicasets %s", image);
        assert_int_equal(strstr(got, want) != NULL, i <= 3);
    }
    world_free(w);
}

static void says_when_it_is_complete_and_when_stuck(void **state)
{
    struct world *w = world_new();
    add_deployment(w, 2, "i1", ROLLING("1", "0"));
    add_set(w, "one", "i1", 2, 0, ANNOTATIONS("2", "3", "1"));
    run(w);
    world_apply(w);
    assert_str(val_getstr(condition_of(w, "Progressing"), N_reason), "ReplicaSetUpdated");
    assert_str(val_getstr(condition_of(w, "Available"), N_reason), "MinimumReplicasUnavailable");
    struct wall before = world_now;
    world_now.ns += SECONDS(601);
    run(w);
    world_apply(w);
    assert_str(val_getstr(condition_of(w, "Progressing"), N_reason), "ProgressDeadlineExceeded");
    assert_str(val_getstr(condition_of(w, "Progressing"), N_message),
               "ReplicaSet \"one\" has timed out progressing.");
    add_set(w, "one", "i1", 2, 2, ANNOTATIONS("2", "3", "1"));
    run(w);
    world_apply(w);
    assert_str(val_getstr(condition_of(w, "Progressing"), N_reason), "NewReplicaSetAvailable");
    assert_str(val_getstr(condition_of(w, "Available"), N_reason), "MinimumReplicasAvailable");
    assert_string_equal(run(w), "");
    world_now = before;
    world_free(w);
}

static void a_collision_of_hashes_is_counted(void **state)
{
    struct world *w = world_new();
    add_deployment(w, 1, "i1", ROLLING("1", "0"));
    run(w);
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char *name = arena_cstr(&a, obj_name(world_write(w, 0)->body));
    world_addf(w, RES_REPLICASETS, "{metadata: {namespace: x, name: %s, uid: other}}", name);
    const char *got = world_refuse(w, &deployment_controller, "x/web", 0, 409, "exists");
    assert_non_null(strstr(got, "\"collisionCount\":1"));
    world_apply(w);
    run(w);
    assert_false(str_is(obj_name(world_write(w, 0)->body), name));
    world_free(w);
}

static void a_refused_set_shows_in_the_conditions(void **state)
{
    struct world *w = world_new();
    add_deployment(w, 1, "i1", ROLLING("1", "0"));
    run(w);
    const char *got = world_refuse(w, &deployment_controller, "x/web", 0, 403, "no quota");
    assert_non_null(
        strstr(got, "event Warning ReplicaSetCreateError Failed to create new replica set \"web-"));
    assert_non_null(strstr(got, "\"reason\":\"ReplicaSetCreateError\""));
    world_free(w);
}

/* ---- the whole rollout, step by step ----------------------------------------------------------------- */

/* Makes `n` pods of a set, from the oldest on, available in its status, and its observed numbers right. */
static void play_replicaset(struct world *w, const struct object *set, int64_t available)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v = val_copy(&a, set->val);
    int64_t n = val_int(val_at(v, N_spec, N_replicas), 0);
    struct val *status = val_sub_obj(&a, v, N_status);
    val_set_int(&a, status, N_replicas, n);
    val_set_int(&a, status, N_readyReplicas, MIN(available, n));
    val_set_int(&a, status, N_availableReplicas, MIN(available, n));
    val_set_int(&a, status, N_observedGeneration, val_int(val_at(v, N_metadata, N_generation), 0));
    val_set_int(&a, status, N_terminatingReplicas, 0);
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode(&b, NULL, v, 0);
    world_add(w, RES_REPLICASETS, b.p);
}

static void sum_up(struct world *w, int64_t *total, int64_t *available)
{
    *total = *available = 0;
    TREE_EACH (snapshot_tree(world_snapshot(w), &resources[RES_REPLICASETS]), STR("x"), it) {
        *total += val_int(val_at(it.object->val, N_spec, N_replicas), 0);
        *available += MIN(val_int(val_at(it.object->val, N_status, N_availableReplicas), 0),
                          val_int(val_at(it.object->val, N_spec, N_replicas), 0));
    }
}

static void roll_whole(int wanted, int surge, int unavailable, unsigned seed)
{
    char strategy[128];
    struct world *w = world_new();
    snprintf(strategy, sizeof(strategy),
             "strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: %d, maxUnavailable: %d}}", surge,
             unavailable);
    add_deployment(w, wanted, "i2", strategy);
    add_set(w, "old", "i1", wanted, wanted, "deployment.kubernetes.io/revision: '1'");
    int steps = 0;
    for (; steps < 500; steps++) {
        run(w);
        world_apply(w);
        int64_t total, available;
        sum_up(w, &total, &available);
        assert_true(total <= wanted + surge);
        assert_true(available >= wanted - MAX(unavailable, surge == 0 ? 1 : 0));
        /* Some pods of some sets become available in between. */
        struct tree *sets = tree_ref(snapshot_tree(world_snapshot(w), &resources[RES_REPLICASETS]));
        bool done = true;
        TREE_EACH (sets, STR("x"), it) {
            seed = seed * 1103515245u + 12345u;
            int64_t now = val_int(val_at(it.object->val, N_status, N_availableReplicas), 0);
            play_replicaset(w, it.object, now + (seed >> 16) % 3);
            int64_t n = val_int(val_at(it.object->val, N_spec, N_replicas), 0);
            done &= n == (str_is(it.object->name, "old") ? 0 : wanted) && (n == 0 || now >= n);
        }
        tree_unref(sets);
        if (done)
            break;
    }
    assert_true(steps < 500);
    world_free(w);
}

static void whole_rollouts_end_and_keep_their_bounds(void **state)
{
    static const int cases[][3] = {{10, 3, 2}, {10, 0, 1}, {10, 1, 0}, {1, 1, 0},
                                   {5, 5, 5},  {7, 2, 0},  {3, 0, 0}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        for (unsigned seed = 1; seed <= 5; seed++)
            roll_whole(cases[i][0], cases[i][1], cases[i][2], seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_its_first_set),
        cmocka_unit_test(rolls_within_its_bounds),
        cmocka_unit_test(scales_in_proportion_while_rolling),
        cmocka_unit_test(a_paused_deployment_only_scales),
        cmocka_unit_test(recreate_waits_until_old_pods_are_gone),
        cmocka_unit_test(a_rollback_gives_the_old_set_a_new_revision),
        cmocka_unit_test(history_is_limited),
        cmocka_unit_test(says_when_it_is_complete_and_when_stuck),
        cmocka_unit_test(a_collision_of_hashes_is_counted),
        cmocka_unit_test(a_refused_set_shows_in_the_conditions),
        cmocka_unit_test(whole_rollouts_end_and_keep_their_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
