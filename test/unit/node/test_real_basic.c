/* SPDX-License-Identifier: Apache-2.0 */
/* The life of simple Pods in a real containerd: status, logs, ends, restarts, a kubelet that goes and comes back. */
#include "testing.h"

#include "node/runtime.h"
#include "real.h"
#include "types.h"

#include <stdio.h>

#define BUSYBOX "image: 'cube.test/busybox:1'"
#define SLEEPER "containers: [{name: main, " BUSYBOX ", command: [sleep, '10741']}]"

static struct str state_reason(const struct val *status, name_id which, name_id state)
{
    return val_getstr(val_get(val_get(status, which), state), N_reason);
}

FIBER_TEST(a_pod_runs_and_its_log_comes_back)
{
    struct real real, *t = &real;
    real_start(t);
    real_pod(t, "hello", "containers: [{name: main, " BUSYBOX ","
                         " command: [sh, -c, 'echo hello $(WHO); trap exit TERM; sleep 1000 & wait'],"
                         " env: [{name: WHO, value: world}]}]");
    real_wait_ready(t, "hello", 20);
    const struct val *s = real_status(t, "hello"), *c = real_container(t, "hello", 0);
    real_expect(val_getstr(s, N_phase), "Running");
    assert_true(str_starts(val_getstr(s, N_podIP), STR("10.201.0.")));
    real_expect(val_getstr(val_item(val_get(s, N_podIPs), 0), N_ip), val_cstr(val_get(s, N_podIP)));
    real_expect(val_getstr(s, N_hostIP), "127.0.0.1");
    real_expect(val_getstr(s, N_qosClass), "BestEffort");
    assert_true(val_getstr(s, N_startTime).n > 0);
    assert_true(str_starts(val_getstr(c, N_containerID), STR("containerd://")));
    assert_true(str_starts(val_getstr(c, N_imageID), STR("sha256:")));
    real_expect(val_getstr(c, N_image), "cube.test/busybox:1");
    assert_int_equal(val_int(val_get(c, N_restartCount), 0), 0);
    assert_true(val_bool(val_get(c, N_ready), false) && val_bool(val_get(c, N_started), false));
    static const char *const conditions[] = {"PodReadyToStartContainers", "Initialized", "ContainersReady", "PodScheduled"};
    for (size_t i = 0; i < ARRAY_SIZE(conditions); i++)
        assert_true(condition_is(val_get(s, N_conditions), str_of(conditions[i]), "True"));
    real_until(t, 5, str_is(real_logs(t, "hello", "main", ""), "hello world\n"));
    real_wait_event(t, "hello", "Pulled", 5);
    real_wait_event(t, "hello", "Created", 5);
    real_wait_event(t, "hello", "Started", 5);
    real_delete(t, "hello", 5);
    real_wait_gone(t, "hello", 4);
    real_wait_event(t, "hello", "Killing", 5);
    /* nothing is left behind */
    real_until(t, 5, real_sh(t, arena_printf(&t->arena, "ls %s/kubelet/pods %s/pods", t->dir, t->dir).p).n < 200 &&
                         str_find(real_sh(t, arena_printf(&t->arena, "ls %s/pods", t->dir).p), 'h') < 0);
    struct str cgroups = real_sh(t, arena_printf(&t->arena, "find /sys/fs/cgroup -path '*/%s/*' -name 'pod*'", t->dir + 5).p);
    assert_int_equal(cgroups.n, 0);
    real_stop(t);
}

FIBER_TEST(pods_that_end)
{
    struct real real, *t = &real;
    real_start(t);
    real_pod(t, "good", "restartPolicy: Never, containers: [{name: main, " BUSYBOX ","
                        " command: [sh, -c, 'echo -n well done > /dev/termination-log'],"
                        " terminationMessagePath: /dev/termination-log, terminationMessagePolicy: File}]");
    real_pod(t, "bad", "restartPolicy: Never, containers: [{name: main, " BUSYBOX ", command: [sh, -c, 'echo oh no; exit 3'],"
                       " terminationMessagePath: /dev/termination-log, terminationMessagePolicy: FallbackToLogsOnError}]");
    real_pod(t, "late", "restartPolicy: Never, activeDeadlineSeconds: 2, containers: [{name: main, " BUSYBOX ","
                        " command: [sleep, '1000']}]");
    real_pod(t, "again", "restartPolicy: OnFailure, containers: [{name: main, " BUSYBOX ","
                         " command: [sh, -c, 'test -e /data/x && exit 0; touch /data/x; exit 7'],"
                         " volumeMounts: [{name: d, mountPath: /data}]}], volumes: [{name: d, emptyDir: {}}]");
    real_wait_phase(t, "good", "Succeeded", 20);
    real_wait_phase(t, "bad", "Failed", 20);
    real_wait_phase(t, "again", "Succeeded", 20);
    real_wait_phase(t, "late", "Failed", 20);
    const struct val *ended = val_at(real_container(t, "good", 0), N_state, N_terminated);
    real_expect(val_getstr(ended, N_message), "well done");
    real_expect(val_getstr(ended, N_reason), "Completed");
    assert_int_equal(val_int(val_get(ended, N_exitCode), 0), 0);
    assert_true(val_getstr(ended, N_startedAt).n && val_getstr(ended, N_finishedAt).n);
    ended = val_at(real_container(t, "bad", 0), N_state, N_terminated);
    real_expect(val_getstr(ended, N_message), "oh no\n");
    real_expect(val_getstr(ended, N_reason), "Error");
    assert_int_equal(val_int(val_get(ended, N_exitCode), -1), 3);
    real_expect(val_getstr(real_status(t, "late"), N_reason), "DeadlineExceeded");
    assert_int_equal(val_int(val_get(real_container(t, "again", 0), N_restartCount), -1), 1);
    real_expect(val_getstr(condition_find(val_get(real_status(t, "good"), N_conditions), STR("Ready")), N_reason), "PodCompleted");
    assert_true(str_is(real_logs(t, "bad", "main", ""), "oh no\n")); /* logs of what has ended stay */
    real_delete(t, "good", 30);
    real_wait_gone(t, "good", 5);
    real_stop(t);
}

FIBER_TEST(a_container_that_crashes_backs_off)
{
    struct real real, *t = &real;
    real_start(t);
    real_pod(t, "crash", "containers: [{name: main, " BUSYBOX ", command: [sh, -c, 'echo life; exit 1']}]");
    real_until(t, 20, str_is(state_reason(real_container(t, "crash", 0), N_state, N_waiting), "CrashLoopBackOff"));
    const struct val *c = real_container(t, "crash", 0);
    assert_int_equal(val_int(val_get(c, N_restartCount), -1), 1); /* the first restart is at once */
    assert_int_equal(val_int(val_at(c, N_lastState, N_terminated, N_exitCode), -1), 1);
    assert_true(str_starts(val_str(val_at(c, N_state, N_waiting, N_message)),
                           STR("back-off 10s restarting failed container=main pod=crash_ns1(")));
    real_expect(val_getstr(real_status(t, "crash"), N_phase), "Running");
    real_expect(real_logs(t, "crash", "main", "previous=true"), "life\n");
    real_wait_event(t, "crash", "BackOff", 5);
    real_delete(t, "crash", 1);
    real_wait_gone(t, "crash", 5);
    real_stop(t);
}

FIBER_TEST(init_containers_and_sidecars)
{
    struct real real, *t = &real;
    real_start(t);
    real_pod(t, "init", "initContainers: ["
                        "{name: one, " BUSYBOX ", command: [sh, -c, 'echo one >> /data/log'], volumeMounts: [{name: d, mountPath: /data}]},"
                        "{name: side, restartPolicy: Always, " BUSYBOX ", command: [sh, -c, 'echo side >> /data/log; sleep 1000'],"
                        " volumeMounts: [{name: d, mountPath: /data}],"
                        " startupProbe: {exec: {command: [grep, side, /data/log]}, periodSeconds: 1}},"
                        "{name: two, " BUSYBOX ", command: [sh, -c, 'echo two >> /data/log'], volumeMounts: [{name: d, mountPath: /data}]}],"
                        "containers: [{name: main, " BUSYBOX ", command: [sh, -c, 'cat /data/log; sleep 1000'],"
                        " volumeMounts: [{name: d, mountPath: /data}]}], volumes: [{name: d, emptyDir: {}}]");
    real_wait_ready(t, "init", 20);
    real_until(t, 5, str_is(real_logs(t, "init", "main", ""), "one\nside\ntwo\n"));
    const struct val *list = val_get(real_status(t, "init"), N_initContainerStatuses);
    assert_int_equal(val_len(list), 3);
    real_expect(val_str(val_at(val_item(list, 0), N_state, N_terminated, N_reason)), "Completed");
    assert_true(val_bool(val_get(val_item(list, 0), N_ready), false));
    assert_true(val_at(val_item(list, 1), N_state, N_running) != NULL);
    assert_true(val_bool(val_get(val_item(list, 1), N_started), false));
    /* A Job with a sidecar ends when its own container does. */
    real_pod(t, "job", "restartPolicy: Never, initContainers: [{name: side, restartPolicy: Always, " BUSYBOX ","
                       " command: [sh, -c, 'trap \"exit 0\" TERM; sleep 1000 & wait']}],"
                       "containers: [{name: main, " BUSYBOX ", command: [sleep, '0.2']}]");
    real_wait_phase(t, "job", "Succeeded", 20);
    real_pod(t, "broken", "restartPolicy: Never, initContainers: [{name: one, " BUSYBOX ", command: [sh, -c, 'exit 4']}], " SLEEPER);
    real_wait_phase(t, "broken", "Failed", 20);
    assert_int_equal(val_int(val_at(val_item(val_get(real_status(t, "broken"), N_initContainerStatuses), 0), N_state,
                                    N_terminated, N_exitCode), -1), 4);
    real_stop(t);
}

static struct str main_pid(struct real *t)
{
    return real_sh(t, "pgrep -f '^sleep 1073'");
}

FIBER_TEST(a_kubelet_that_comes_back_leaves_containers_alone)
{
    struct real real, *t = &real;
    real_start(t);
    real_pod(t, "keep", "containers: [{name: main, " BUSYBOX ", command: [sleep, '1073'],"
                        " readinessProbe: {exec: {command: ['true']}, periodSeconds: 1}}]");
    real_pod(t, "drop", SLEEPER);
    real_wait_ready(t, "keep", 20);
    real_wait_ready(t, "drop", 20);
    struct str pid = main_pid(t), id = arena_str(&t->arena, val_getstr(real_container(t, "keep", 0), N_containerID));
    real_kubelet_stop(t);
    fake_remove(t->fake, RES_PODS, "ns1", "drop"); /* deleted by force meanwhile */
    real_kubelet_start(t);
    fiber_sleep(SECONDS(2));
    assert_true(str_eq(pid, main_pid(t)));
    assert_true(str_eq(id, val_getstr(real_container(t, "keep", 0), N_containerID)));
    assert_int_equal(val_int(val_get(real_container(t, "keep", 0), N_restartCount), 0), 0);
    assert_true(condition_is(val_get(real_status(t, "keep"), N_conditions), STR("Ready"), "True"));
    real_until(t, 10, real_sh(t, "pgrep -f '^sleep 10741'").n == 0);
    /* And still looks after them. */
    real_sh(t, arena_printf(&t->arena, "kill -9 " STR_FMT, STR_ARG(str_trim(pid))).p);
    real_until(t, 10, val_int(val_get(real_container(t, "keep", 0), N_restartCount), -1) == 1);
    real_stop(t);
}

FIBER_TEST(static_pods)
{
    struct real real, *t = &real;
    real_start(t);
    real_sh(t, arena_printf(&t->arena,
                            "mkdir -p %s/manifests; cat > %s/manifests/a.yaml <<E\n"
                            "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: ns1}\n"
                            "spec:\n  terminationGracePeriodSeconds: 1\n"
                            "  containers:\n  - name: main\n    image: cube.test/busybox:1\n    command: [sleep, '10741']\nE",
                            t->dir, t->dir).p);
    real_kubelet_stop(t); /* the folder was not there before */
    real_kubelet_start(t);
    real_until(t, 20, fake_get(t->fake, RES_PODS, "ns1", "web-node-a"));
    real_wait_phase(t, "web-node-a", "Running", 20);
    const struct object *mirror = fake_get(t->fake, RES_PODS, "ns1", "web-node-a");
    assert_true(obj_annotation(mirror->val, STR("kubernetes.io/config.mirror")).n > 0);
    fake_remove(t->fake, RES_PODS, "ns1", "web-node-a"); /* the image comes back, the pod does not notice */
    real_until(t, 25, fake_get(t->fake, RES_PODS, "ns1", "web-node-a"));
    real_sh(t, arena_printf(&t->arena, "rm %s/manifests/a.yaml", t->dir).p);
    real_until(t, 20, !fake_get(t->fake, RES_PODS, "ns1", "web-node-a"));
    real_until(t, 10, real_sh(t, "pgrep -f '^sleep 10741'").n == 0);
    real_stop(t);
}

/* What a start leaves whose asker was killed: a process of which CRI knows nothing, so that it can neither stop the
 * container nor remove it. */
FIBER_TEST(containers_whose_task_was_lost_are_removed)
{
    struct real real, *t = &real;
    real_start(t);
    real_pod(t, "box", SLEEPER);
    real_wait_ready(t, "box", 20);
    struct runtime *rt = runtime_cri_new(t->socket, NULL);
    const struct val *boxes, *containers;
    struct str id;
    struct err e = {{0}};
    assert_int_equal(runtime_connect(rt, mono_add(os_mono(), SECONDS(10)), &e), 0);
    assert_int_equal(runtime_list(rt, STR_NULL, &t->arena, &boxes, &containers, &e), 0);
    struct str box = val_getstr(val_item(boxes, 0), N_id);
    struct val *config = val_relaxed(&t->arena, type_at(T_runtime_v1_ContainerConfig),
                                     "{metadata: {name: lost}, image: {image: 'cube.test/busybox:1'}, command: [sleep, '10742'], log_path: lost.log}"),
               *box_config = val_relaxed(&t->arena, type_at(T_runtime_v1_PodSandboxConfig),
                                         "{metadata: {name: box, namespace: ns1, uid: u}, log_directory: /tmp}");
    if (runtime_create_container(rt, box, config, box_config, &t->arena, &id, &e) != 0)
        fail_msg("%s", e.text);
    real_sh(t, arena_printf(&t->arena, "ctr --address %s/containerd.sock -n k8s.io tasks start -d --null-io " STR_FMT, t->dir, STR_ARG(id)).p);
    real_until(t, 30, real_sh(t, "pgrep -f '^sleep 10742'").n > 0);
    if (runtime_remove_container(rt, id, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(real_sh(t, "pgrep -f '^sleep 10742'").n, 0);
    assert_int_equal(real_sh(t, arena_printf(&t->arena, "ctr --address %s/containerd.sock -n k8s.io containers ls -q | grep " STR_FMT, t->dir, STR_ARG(id)).p).n, 0);
    runtime_free(rt);
    real_stop(t);
}

static int run(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pod_runs_and_its_log_comes_back),
        cmocka_unit_test(pods_that_end),
        cmocka_unit_test(a_container_that_crashes_backs_off),
        cmocka_unit_test(init_containers_and_sidecars),
        cmocka_unit_test(a_kubelet_that_comes_back_leaves_containers_alone),
        cmocka_unit_test(static_pods),
        cmocka_unit_test(containers_whose_task_was_lost_are_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return real_main(run);
}
