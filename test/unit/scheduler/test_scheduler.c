/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler at work against an API server of the mind: pods that need volumes first, profiles,
 * nominations. */
#include "scheduler/scheduler.h"

#include "client/fake_client.h"
#include "testing.h"
#include "type/claim.h"
#include "type/meta.h"

struct fixture {
    struct fake_client *fake;
    struct group group;
    struct scheduler_config config;
    struct profile profiles[2];
};

static void run(void *arg)
{
    scheduler_run(arg, NULL);
}

static void set_up(struct fixture *t)
{
    *t = (struct fixture){.fake = fake_client_new()};
    t->profiles[0] = t->profiles[1] = default_profile;
    t->profiles[1].name = "second";
    t->profiles[0].bind_timeout_ns = MILLISECONDS(300);
    t->config = (struct scheduler_config){.client = fake_client_as(t->fake),
                                          .profiles = t->profiles,
                                          .n_profiles = 2,
                                          .backoff_first_ns = MILLISECONDS(20),
                                          .backoff_max_ns = MILLISECONDS(40)};
    fake_put_text(
        t->fake, RES_NODES,
        "{metadata: {name: a, labels: {kubernetes.io/hostname: a}}, status: {allocatable: {cpu: '2', "
        "memory: 4Gi, pods: '10'}}}");
    fake_put_text(t->fake, RES_STORAGECLASSES,
                  "{metadata: {name: later}, provisioner: p, volumeBindingMode: WaitForFirstConsumer}");
    group_spawn(&t->group, "scheduler", run, &t->config);
}

static void tear_down(struct fixture *t)
{
    group_stop(&t->group);
    fake_client_free(t->fake);
}

static struct str node_of(struct fixture *t, const char *pod)
{
    const struct object *o = fake_get(t->fake, RES_PODS, "x", pod);
    return o ? val_str(val_at(o->val, N_spec, N_nodeName)) : STR_NULL;
}

static bool wait_for_node(struct fixture *t, const char *pod, const char *node)
{
    for (int i = 0; i < 2000 && !str_is(node_of(t, pod), node); i++)
        fiber_sleep(MILLISECONDS(1));
    return str_is(node_of(t, pod), node);
}

static struct str selected_node(struct fixture *t, const char *claim)
{
    const struct object *o = fake_get(t->fake, RES_PERSISTENTVOLUMECLAIMS, "x", claim);
    return obj_annotation(o->val, STR(ANN_SELECTED_NODE));
}

static bool wait_for_selection(struct fixture *t, const char *claim)
{
    for (int i = 0; i < 2000 && !selected_node(t, claim).n; i++)
        fiber_sleep(MILLISECONDS(1));
    return selected_node(t, claim).n > 0;
}

static bool was_told(struct fixture *t, const char *reason, const char *text)
{
    for (int tries = 0; tries < 1000; tries++) {
        for (size_t i = 0; i < fake_count(t->fake, RES_EVENTS); i++) {
            const struct val *e = fake_at(t->fake, RES_EVENTS, i)->val;
            if (str_is(val_getstr(e, N_reason), reason) &&
                str_contains(val_getstr(e, N_message), str_of(text)))
                return true;
        }
        fiber_sleep(MILLISECONDS(1));
    }
    return false;
}

#define POD(name)                                                                                            \
    "{metadata: {namespace: x, name: " name                                                                  \
    "}, spec: {volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]}}"

static void put_claim(struct fixture *t, const char *meta, const char *spec, const char *status)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    fake_put_text(t->fake, RES_PERSISTENTVOLUMECLAIMS,
                  arena_printf(&a,
                               "{metadata: {namespace: x, name: c, uid: uid-c, %s}, spec: {storageClassName: "
                               "later, accessModes: "
                               "[ReadWriteOnce], resources: {requests: {storage: 1Gi}}, %s}, status: {%s}}",
                               meta, spec, status)
                      .p);
}

#define BOUND "annotations: {volume.kubernetes.io/selected-node: a, pv.kubernetes.io/bind-completed: 'yes'}"

FIBER_TEST(a_pod_waits_for_its_volume_to_be_made)
{
    struct fixture t;
    set_up(&t);
    t.profiles[0].bind_timeout_ns = SECONDS(60);
    put_claim(&t, "", "", "phase: Pending");
    fake_put_text(t.fake, RES_PODS, POD("p"));
    assert_true(wait_for_selection(&t, "c"));
    assert_str(selected_node(&t, "c"), "a");
    fiber_sleep(MILLISECONDS(30));
    assert_str(node_of(&t, "p"), "");
    fake_put_text(t.fake, RES_PERSISTENTVOLUMES,
                  "{metadata: {name: v}, spec: {claimRef: {namespace: x, name: c, uid: uid-c}}}");
    put_claim(&t, BOUND, "volumeName: v", "phase: Pending");
    fiber_sleep(MILLISECONDS(30));
    assert_str(node_of(&t, "p"), ""); /* kubelets look at the phase */
    put_claim(&t, BOUND, "volumeName: v", "phase: Bound");
    assert_true(wait_for_node(&t, "p", "a"));
    tear_down(&t);
}

FIBER_TEST(a_volume_that_is_there_is_reserved)
{
    struct fixture t;
    set_up(&t);
    t.profiles[0].bind_timeout_ns = SECONDS(60);
    fake_put_text(t.fake, RES_PERSISTENTVOLUMES,
                  "{metadata: {name: v}, spec: {storageClassName: later, accessModes: [ReadWriteOnce], "
                  "capacity: {storage: 2Gi}}, status: "
                  "{phase: Available}}");
    put_claim(&t, "", "", "phase: Pending");
    fake_put_text(t.fake, RES_PODS, POD("p"));
    const struct object *v = NULL;
    for (int i = 0; i < 2000; i++) {
        v = fake_get(t.fake, RES_PERSISTENTVOLUMES, "", "v");
        if (val_at(v->val, N_spec, N_claimRef))
            break;
        fiber_sleep(MILLISECONDS(1));
    }
    assert_str(val_str(val_at(v->val, N_spec, N_claimRef, N_uid)), "uid-c");
    assert_str(obj_annotation(v->val, STR(ANN_BOUND_BY_CONTROLLER)), "yes");
    put_claim(&t, BOUND, "volumeName: v", "phase: Bound");
    assert_true(wait_for_node(&t, "p", "a"));
    tear_down(&t);
}

FIBER_TEST(a_provisioner_that_gives_up_or_is_silent)
{
    struct fixture t;
    set_up(&t);
    put_claim(&t, "", "", "phase: Pending");
    fake_put_text(t.fake, RES_PODS, POD("p"));
    assert_true(wait_for_selection(&t, "c"));
    put_claim(&t, "", "", "phase: Pending"); /* the provisioner wants another node: the annotation is gone */
    assert_true(was_told(&t, "FailedScheduling",
                         "running PreBind plugin \"VolumeBinding\": binding volumes: provisioning failed "
                         "for PVC \"c\""));
    assert_true(wait_for_selection(&t, "c")); /* and it is tried again */
    assert_true(was_told(&t, "FailedScheduling", "binding volumes: context deadline exceeded"));
    fake_put_text(t.fake, RES_PERSISTENTVOLUMES,
                  "{metadata: {name: v}, spec: {claimRef: {namespace: x, name: c, uid: uid-c}}}");
    put_claim(&t, BOUND, "volumeName: v", "phase: Bound");
    assert_true(wait_for_node(&t, "p", "a"));
    tear_down(&t);
}

FIBER_TEST(a_claim_that_comes_late_wakes_its_pod)
{
    struct fixture t;
    set_up(&t);
    fake_put_text(t.fake, RES_PODS, POD("p"));
    assert_true(was_told(&t, "FailedScheduling", "persistentvolumeclaim \"c\" not found"));
    fake_put_text(t.fake, RES_PERSISTENTVOLUMES,
                  "{metadata: {name: v}, spec: {claimRef: {namespace: x, name: c, uid: uid-c}}}");
    put_claim(&t, BOUND, "volumeName: v", "phase: Bound");
    assert_true(wait_for_node(&t, "p", "a"));
    tear_down(&t);
}

FIBER_TEST(each_profile_serves_its_pods)
{
    struct fixture t;
    set_up(&t);
    t.profiles[1].filters &= ~(1u << PLUGIN_RESOURCES_FIT);
    fake_put_text(
        t.fake, RES_PODS,
        "{metadata: {namespace: x, name: one}, spec: {schedulerName: second, containers: [{name: c, "
        "resources: {requests: {cpu: '9'}}}]}}");
    fake_put_text(t.fake, RES_PODS, "{metadata: {namespace: x, name: other}, spec: {schedulerName: third}}");
    assert_true(wait_for_node(&t, "one", "a"));
    fiber_sleep(MILLISECONDS(20));
    assert_str(node_of(&t, "other"), "");
    tear_down(&t);
}

static void wait_for_end(struct fixture *t, const char *pod)
{
    for (int i = 0; i < 2000; i++) {
        const struct object *o = fake_get(t->fake, RES_PODS, "x", pod);
        if (!o || obj_deleting(o->val))
            return;
        fiber_sleep(MILLISECONDS(1));
    }
}

FIBER_TEST(room_that_was_made_is_kept)
{
    struct fixture t;
    set_up(&t);
    fake_put_text(
        t.fake, RES_PODS,
        "{metadata: {namespace: x, name: low}, spec: {nodeName: a, priority: 0, containers: [{name: c, "
        "resources: {requests: {cpu: '2'}}}]}, status: {phase: Running}}");
    fake_put_text(
        t.fake, RES_PODS,
        "{metadata: {namespace: x, name: high}, spec: {priority: 100, containers: [{name: c, resources: "
        "{requests: {cpu: '2'}}}]}}");
    wait_for_end(&t, "low");
    const struct object *high = fake_get(t.fake, RES_PODS, "x", "high");
    for (int i = 0; i < 2000 && !val_at(high->val, N_status, N_nominatedNodeName) && !node_of(&t, "high").n;
         i++) {
        fiber_sleep(MILLISECONDS(1));
        high = fake_get(t.fake, RES_PODS, "x", "high");
    }
    /* Somebody else comes while the victim goes: the room is not his. */
    fake_put_text(
        t.fake, RES_PODS,
        "{metadata: {namespace: x, name: thief}, spec: {priority: 50, containers: [{name: c, resources: "
        "{requests: {cpu: '2'}}}]}}");
    fake_remove(t.fake, RES_PODS, "x", "low");
    assert_true(wait_for_node(&t, "high", "a"));
    assert_str(node_of(&t, "thief"), "");
    tear_down(&t);
}

static bool wait_for_nomination(struct fixture *t, const char *pod, bool want)
{
    for (int i = 0; i < 1000; i++) {
        if ((val_at(fake_get(t->fake, RES_PODS, "x", pod)->val, N_status, N_nominatedNodeName) != NULL) ==
            want)
            return true;
        fiber_sleep(MILLISECONDS(1));
    }
    return false;
}

FIBER_TEST(the_more_important_displaces_who_waits_for_room)
{
    struct fixture t;
    set_up(&t);
    fake_put_text(
        t.fake, RES_PODS,
        "{metadata: {namespace: x, name: low}, spec: {nodeName: a, priority: 0, containers: [{name: c, "
        "resources: {requests: {cpu: '2'}}}]}, status: {phase: Running}}");
    fake_put_text(
        t.fake, RES_PODS,
        "{metadata: {namespace: x, name: waits}, spec: {priority: 5, containers: [{name: c, resources: "
        "{requests: {cpu: '2'}}}]}}");
    assert_true(wait_for_nomination(&t, "waits", true));
    fiber_sleep(MILLISECONDS(60));
    fake_put_text(
        t.fake, RES_PODS,
        "{metadata: {namespace: x, name: high}, spec: {priority: 100, containers: [{name: c, resources: "
        "{requests: {cpu: '2'}}}]}}");
    assert_true(wait_for_nomination(&t, "waits", false)); /* though the room is not there yet */
    fake_remove(t.fake, RES_PODS, "x", "low");
    assert_true(wait_for_node(&t, "high", "a"));
    tear_down(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pod_waits_for_its_volume_to_be_made),
        cmocka_unit_test(a_volume_that_is_there_is_reserved),
        cmocka_unit_test(a_provisioner_that_gives_up_or_is_silent),
        cmocka_unit_test(a_claim_that_comes_late_wakes_its_pod),
        cmocka_unit_test(each_profile_serves_its_pods),
        cmocka_unit_test(room_that_was_made_is_kept),
        cmocka_unit_test(the_more_important_displaces_who_waits_for_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
