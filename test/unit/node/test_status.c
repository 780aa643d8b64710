/* SPDX-License-Identifier: Apache-2.0 */
/* The status of a Pod, from what the runtime and the probes say. */
#include "testing.h"

#include "client/fake_client.h"
#include "node/podstatus.h"
#include "types.h"

static struct arena arena;
static const struct wall now = {SECONDS(1700000000)};

struct setup {
    const char *spec;     /* of the Pod, relaxed */
    const char *before;   /* its status */
    const char *meta;
    struct rt_container containers[4]; /* newest first; ends with name .p NULL */
    bool no_sandbox, ended;
    const char *waiting;  /* reason for container "main" */
    const char *fail_reason;
    bool probes_succeed, restarting;
};

static struct wait_reason reason;

static const struct wait_reason *waiting(void *ctx, struct str container)
{
    const struct setup *s = ctx;
    reason = (struct wait_reason){str_of(s->waiting), STR("because")};
    return s->waiting && str_is(container, "main") ? &reason : NULL;
}

static enum probe_result probe(void *ctx, enum probe_kind kind, struct str id)
{
    const struct setup *s = ctx;
    return s->probes_succeed ? PROBE_SUCCESS : PROBE_UNKNOWN;
}

static const struct val *pod_for(const struct setup *s)
{
    return val_relaxed(&arena, type_at(T_core_v1_Pod),
                       arena_printf(&arena, "{metadata: {namespace: n, name: p, uid: u, generation: 3 %s}, spec: {%s}, status: {%s}}",
                                    s->meta ? s->meta : "", s->spec, s->before ? s->before : "phase: Pending").p);
}

static struct val *make(const struct setup *s)
{
    static const struct str host[] = {STR("192.0.2.1")}, ip[] = {STR("10.0.0.9")};
    struct podstate *state = podstate_new(STR("u"), STR("p"), STR("n"));
    const struct val *pod = pod_for(s);
    state->sandboxes = ARENA_ARRAY(&state->arena, struct rt_sandbox, 1);
    state->containers = ARENA_ARRAY(&state->arena, struct rt_container, 4);
    if (!s->no_sandbox)
        state->sandboxes[state->n_sandboxes++] = (struct rt_sandbox){.id = STR("box"), .ready = !s->ended, .ips = (struct str *)(uintptr_t)ip, .n_ips = 1};
    for (size_t i = 0; i < ARRAY_SIZE(s->containers) && s->containers[i].name.p; i++) {
        state->containers[i] = s->containers[i];
        state->containers[i].sandbox_id = STR("box");
        state->containers[i].created.ns = 1000 - (int64_t)i;
        state->n_containers++;
    }
    struct val *v = pod_status_make(&arena, &(struct status_input){.pod = pod, .state = state, .probe = probe, .waiting = waiting,
                                                                   .ctx = (void *)(uintptr_t)s, .runtime = "containerd", .ended = s->ended, .restarting = s->restarting,
                                                                   .fail_reason = s->fail_reason, .fail_message = STR("said so"),
                                                                   .host_ips = host, .n_host_ips = 1, .now = now});
    struct val *copy = val_copy(&arena, v);
    podstate_unref(state);
    return copy;
}

static const struct val *container(const struct val *status, const char *name)
{
    const struct val *c = val_named(pod_statuses(status, CK_MAIN), str_of(name));
    return c ? c : val_named(pod_statuses(status, CK_INIT), str_of(name));
}

static struct str condition_reason(const struct val *status, const char *type)
{
    return val_getstr(condition_find(val_get(status, N_conditions), str_of(type)), N_reason);
}

static bool is_true(const struct val *status, const char *type)
{
    return condition_is(val_get(status, N_conditions), str_of(type), "True");
}

#define MAIN "containers: [{name: main, image: img}]"
#define RUNNING {.name = STR("main"), .id = STR("c1"), .image = STR("img"), .image_ref = STR("sha256:1"), .state = RT_RUNNING, .started = {SECONDS(5)}}
#define ENDED(code) {.name = STR("main"), .id = STR("c1"), .state = RT_EXITED, .exit_code = (code), .reason = STR("Error"), .started = {SECONDS(5)}, .finished = {SECONDS(6)}}

static void a_new_pod(void **state)
{
    struct val *s = make(&(struct setup){.spec = MAIN, .no_sandbox = true});
    assert_str(val_getstr(s, N_phase), "Pending");
    assert_str(val_str(val_at(container(s, "main"), N_state, N_waiting, N_reason)), "ContainerCreating");
    assert_str(condition_reason(s, "PodReadyToStartContainers"), "PodSandboxNotReady");
    assert_str(condition_reason(s, "Ready"), "ContainersNotReady");
    assert_true(is_true(s, "Initialized") && is_true(s, "PodScheduled"));
    assert_str(val_getstr(s, N_hostIP), "192.0.2.1");
    assert_int_equal(val_getstr(s, N_podIP).n, 0);
    assert_str(val_getstr(s, N_startTime), "2023-11-14T22:13:20Z");
    assert_int_equal(val_int(val_get(s, N_observedGeneration), 0), 3);
    assert_int_equal(val_int(val_get(condition_find(val_get(s, N_conditions), STR("Ready")), N_observedGeneration), 0), 3);
    s = make(&(struct setup){.spec = "initContainers: [{name: i}], " MAIN, .no_sandbox = true});
    assert_str(val_str(val_at(container(s, "main"), N_state, N_waiting, N_reason)), "PodInitializing");
    assert_str(condition_reason(s, "Initialized"), "ContainersNotInitialized");
    assert_str(val_getstr(condition_find(val_get(s, N_conditions), STR("Initialized")), N_message),
               "containers with incomplete status: [i]");
    /* Made, but not started: still the same reason. */
    s = make(&(struct setup){.spec = "initContainers: [{name: i}], " MAIN,
                             .containers = {{.name = STR("i"), .id = STR("c0"), .state = RT_CREATED}}});
    assert_str(val_str(val_at(container(s, "i"), N_state, N_waiting, N_reason)), "PodInitializing");
    arena_done(&arena);
}

static void a_running_pod(void **state)
{
    struct val *s = make(&(struct setup){.spec = MAIN, .containers = {RUNNING}});
    const struct val *c = container(s, "main");
    assert_str(val_getstr(s, N_phase), "Running");
    assert_str(val_getstr(s, N_podIP), "10.0.0.9");
    assert_str(val_getstr(c, N_containerID), "containerd://c1");
    assert_str(val_getstr(c, N_imageID), "sha256:1");
    assert_true(val_bool(val_get(c, N_ready), false) && val_bool(val_get(c, N_started), false));
    assert_true(is_true(s, "Ready") && is_true(s, "ContainersReady") && is_true(s, "PodReadyToStartContainers"));
    /* Probes have their say. */
    s = make(&(struct setup){.spec = "containers: [{name: main, readinessProbe: {exec: {}}}]", .containers = {RUNNING}});
    assert_false(is_true(s, "Ready"));
    assert_true(val_bool(val_get(container(s, "main"), N_started), false));
    s = make(&(struct setup){.spec = "containers: [{name: main, startupProbe: {exec: {}}}]", .containers = {RUNNING}});
    assert_false(val_bool(val_get(container(s, "main"), N_started), false));
    s = make(&(struct setup){.spec = "containers: [{name: main, startupProbe: {exec: {}}, readinessProbe: {exec: {}}}]",
                             .containers = {RUNNING}, .probes_succeed = true});
    assert_true(is_true(s, "Ready"));
    /* And so have readiness gates. */
    s = make(&(struct setup){.spec = "readinessGates: [{conditionType: 'x.io/ok'}], " MAIN, .containers = {RUNNING}});
    assert_str(condition_reason(s, "Ready"), "ReadinessGatesNotReady");
    assert_str(val_getstr(condition_find(val_get(s, N_conditions), STR("Ready")), N_message),
               "corresponding condition of pod readiness gate \"x.io/ok\" does not exist.");
    s = make(&(struct setup){.spec = "readinessGates: [{conditionType: 'x.io/ok'}], " MAIN, .containers = {RUNNING},
                             .before = "phase: Running, conditions: [{type: 'x.io/ok', status: 'True'}]"});
    assert_true(is_true(s, "Ready") && is_true(s, "x.io/ok")); /* what others wrote is kept */
    arena_done(&arena);
}

static void phases(void **state)
{
    static const struct {
        const char *policy;
        int code;
        bool ended;
        const char *want;
    } cases[] = {
        {"Always", 0, false, "Running"},     {"Always", 1, false, "Running"},    {"Always", 1, true, "Failed"},
        {"Always", 0, true, "Succeeded"},    {"OnFailure", 0, false, "Succeeded"}, {"OnFailure", 1, false, "Running"},
        {"OnFailure", 1, true, "Failed"},    {"Never", 0, false, "Succeeded"},   {"Never", 2, false, "Failed"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct setup in = {.spec = arena_printf(&arena, "restartPolicy: %s, " MAIN, cases[i].policy).p, .ended = cases[i].ended,
                           .containers = {ENDED(cases[i].code)}};
        struct str phase = val_getstr(make(&in), N_phase);
        if (!str_is(phase, cases[i].want))
            fail_msg("%s, exit %d%s: " STR_FMT, cases[i].policy, cases[i].code, cases[i].ended ? ", ended" : "", STR_ARG(phase));
    }
    struct val *s = make(&(struct setup){.spec = "restartPolicy: Never, " MAIN, .containers = {ENDED(0)}});
    assert_str(condition_reason(s, "Ready"), "PodCompleted");
    assert_str(condition_reason(s, "Initialized"), "PodCompleted");
    s = make(&(struct setup){.spec = "restartPolicy: Never, initContainers: [{name: i}], " MAIN,
                             .containers = {{.name = STR("i"), .id = STR("c0"), .state = RT_EXITED, .exit_code = 1}}});
    assert_str(val_getstr(s, N_phase), "Failed");
    /* There is no way back from a terminal phase. */
    s = make(&(struct setup){.spec = MAIN, .before = "phase: Succeeded", .containers = {RUNNING}});
    assert_str(val_getstr(s, N_phase), "Succeeded");
    s = make(&(struct setup){.spec = MAIN, .containers = {RUNNING}, .fail_reason = "Evicted"});
    assert_str(val_getstr(s, N_phase), "Failed");
    assert_str(val_getstr(s, N_reason), "Evicted");
    assert_str(val_getstr(s, N_message), "said so");
    arena_done(&arena);
}

static void between_two_lives(void **state)
{
    struct val *s = make(&(struct setup){.spec = MAIN, .containers = {ENDED(3)}, .waiting = "CrashLoopBackOff"});
    const struct val *c = container(s, "main");
    assert_str(val_str(val_at(c, N_state, N_waiting, N_reason)), "CrashLoopBackOff");
    assert_int_equal(val_int(val_at(c, N_lastState, N_terminated, N_exitCode), 0), 3);
    assert_str(val_getstr(s, N_phase), "Running");
    struct rt_container again = RUNNING;
    again.id = STR("c2");
    again.restarts = 1;
    struct setup in = {.spec = MAIN, .containers = {again, ENDED(3)}};
    s = make(&in);
    c = container(s, "main");
    assert_true(val_at(c, N_state, N_running) != NULL);
    assert_int_equal(val_int(val_get(c, N_restartCount), 0), 1);
    assert_str(val_str(val_at(c, N_lastState, N_terminated, N_containerID)), "containerd://c1");
    /* A reason for one that has ended for good does not hide its end. */
    s = make(&(struct setup){.spec = "restartPolicy: Never, " MAIN, .containers = {ENDED(3)}, .waiting = "CrashLoopBackOff"});
    assert_int_equal(val_int(val_at(container(s, "main"), N_state, N_terminated, N_exitCode), 0), 3);
    arena_done(&arena);
}

static void what_the_runtime_forgot(void **state)
{
    struct val *s = make(&(struct setup){
        .spec = MAIN, .no_sandbox = true,
        .before = "phase: Running, podIP: '10.0.0.5', startTime: '2020-01-01T00:00:00Z', containerStatuses: [{name: main, restartCount: 2, state: {running: {startedAt: '2020-01-01T00:00:00Z'}}}]"});
    const struct val *c = container(s, "main");
    assert_int_equal(val_int(val_at(c, N_lastState, N_terminated, N_exitCode), 0), 137);
    assert_str(val_str(val_at(c, N_lastState, N_terminated, N_reason)), "ContainerStatusUnknown");
    assert_int_equal(val_int(val_get(c, N_restartCount), 0), 3);
    assert_str(val_getstr(s, N_startTime), "2020-01-01T00:00:00Z");
    assert_str(val_getstr(s, N_podIP), "10.0.0.5"); /* until there is another */
    /* An init container that was collected after it had done its part. */
    s = make(&(struct setup){.spec = "initContainers: [{name: i}], " MAIN, .containers = {RUNNING}});
    assert_int_equal(val_int(val_at(container(s, "i"), N_state, N_terminated, N_exitCode), 0), 0);
    assert_true(val_at(container(s, "i"), N_state, N_terminated) && val_bool(val_get(container(s, "i"), N_ready), false));
    assert_true(is_true(s, "Initialized"));
    arena_done(&arena);
}

static void transition_times(void **state)
{
    struct val *s = make(&(struct setup){
        .spec = MAIN, .containers = {RUNNING},
        .before = "phase: Running, conditions: [{type: Ready, status: 'True', lastTransitionTime: '2020-01-01T00:00:00Z'},"
                  " {type: ContainersReady, status: 'False', lastTransitionTime: '2020-01-01T00:00:00Z'}]"});
    const struct val *list = val_get(s, N_conditions);
    assert_str(val_getstr(condition_find(list, STR("Ready")), N_lastTransitionTime), "2020-01-01T00:00:00Z");
    assert_str(val_getstr(condition_find(list, STR("ContainersReady")), N_lastTransitionTime), "2023-11-14T22:13:20Z");
    arena_done(&arena);
}

static void the_last_word(void **state)
{
    const struct setup in = {.spec = MAIN, .containers = {RUNNING}, .before = "phase: Running"};
    struct val *s = make(&in);
    pod_status_finish(&arena, pod_for(&in), s, now);
    assert_str(val_getstr(s, N_phase), "Failed");
    assert_str(val_str(val_at(container(s, "main"), N_state, N_terminated, N_reason)), "ContainerStatusUnknown");
    assert_str(condition_reason(s, "Ready"), "PodFailed");
    assert_false(is_true(s, "ContainersReady"));
    /* What an init container that failed kept from beginning goes on waiting. */
    const struct setup init = {.spec = "restartPolicy: Never, initContainers: [{name: i}, {name: j}], " MAIN, .before = "phase: Pending",
                               .containers = {{.name = STR("j"), .id = STR("c2"), .state = RT_EXITED, .exit_code = 1},
                                              {.name = STR("i"), .id = STR("c1"), .state = RT_EXITED}}};
    s = make(&init);
    pod_status_finish(&arena, pod_for(&init), s, now);
    assert_str(val_getstr(s, N_phase), "Failed");
    assert_str(val_str(val_at(container(s, "main"), N_state, N_waiting, N_reason)), "PodInitializing");
    /* While something may run, nobody may think it has finished. */
    const struct setup over = {.spec = "restartPolicy: Never, " MAIN, .containers = {ENDED(0)}};
    s = make(&over);
    pod_status_hold_phase(&arena, s, val_relaxed(&arena, NULL, "{phase: Running}"));
    assert_str(val_getstr(s, N_phase), "Running");
    s = make(&over);
    pod_status_hold_phase(&arena, s, val_relaxed(&arena, NULL, "{phase: Failed}"));
    assert_str(val_getstr(s, N_phase), "Succeeded");
    arena_done(&arena);
}

/* KEP-5532: what was taken away to begin anew is told once, and is no failure. */
static void all_over_again(void **state)
{
    const struct setup in = {
        .spec = "restartPolicy: Never, containers: [{name: main, restartPolicy: Never, restartPolicyRules: [{action: RestartAllContainers, exitCodes: "
                "{operator: In, values: [42]}}]}, {name: other}]",
        .before = "phase: Running, containerStatuses: [{name: main, restartCount: 1, state: {terminated: {exitCode: 42}}}, "
                  "{name: other, restartCount: 0, state: {running: {}}}]",
        .restarting = true, .containers = {ENDED(42)},
    };
    struct val *s = make(&in);
    assert_str(val_getstr(s, N_phase), "Running");
    assert_true(is_true(s, "AllContainersRestarting"));
    assert_str(val_str(val_at(container(s, "other"), N_state, N_waiting, N_reason)), "RestartingAllContainers");
    assert_int_equal(val_int(val_at(container(s, "other"), N_lastState, N_terminated, N_exitCode), 0), 137);
    assert_int_equal(val_int(val_get(container(s, "other"), N_restartCount), 0), 1);
    /* Nothing is left: it is over, and the count stays. */
    const struct setup after = {.spec = in.spec, .restarting = true,
                                .before = "phase: Running, containerStatuses: [{name: main, restartCount: 1, state: {terminated: {exitCode: 42}}}, {name: other, "
                                          "restartCount: 1, state: {waiting: {reason: RestartingAllContainers}}, lastState: {terminated: {exitCode: 137, reason: "
                                          "RestartingAllContainers}}}]"};
    s = make(&after);
    assert_false(is_true(s, "AllContainersRestarting"));
    assert_int_equal(val_int(val_get(container(s, "other"), N_restartCount), 0), 1);
    assert_int_equal(val_int(val_get(container(s, "main"), N_restartCount), 0), 2);
    assert_str(val_getstr(s, N_phase), "Running");
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_pod),         cmocka_unit_test(a_running_pod),           cmocka_unit_test(phases),
        cmocka_unit_test(between_two_lives), cmocka_unit_test(what_the_runtime_forgot), cmocka_unit_test(transition_times),
        cmocka_unit_test(the_last_word),     cmocka_unit_test(all_over_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
