/* SPDX-License-Identifier: Apache-2.0 */
/* Resizing in place: what is decided, what is shown, what is remembered over a restart. */
#include "testing.h"

#include "client/fake_client.h"
#include "node/actions.h"
#include "node/podstatus.h"
#include "types.h"
#include "wire/json.h"

static struct arena arena;

static const struct val *pod_of(const char *text)
{
    return val_relaxed(&arena, type_at(T_core_v1_Pod),
                       arena_printf(&arena, "{metadata: {namespace: n, name: p, uid: u, generation: 2}, %s}", text).p);
}

static const struct val *resources_of(const char *text)
{
    return val_relaxed(&arena, type_at(T_core_v1_ResourceRequirements), text);
}

/* ---- deciding ----------------------------------------------------------------------------------------------- */

static const struct val *c1_has, *c2_has, *whole_has;

static const struct val *in_force(void *ctx, struct str container, bool *ret_known)
{
    const struct val *v = !container.n ? whole_has : str_is(container, "c1") ? c1_has : c2_has;
    *ret_known = v != NULL;
    return v;
}

static struct podstate *running(const char *const *names, size_t n)
{
    static struct str ips[] = {STR("10.0.0.1")};
    struct podstate *s = podstate_new(STR("u"), STR("p"), STR("n"));
    s->sandboxes = ARENA_ARRAY(&s->arena, struct rt_sandbox, 1);
    s->containers = ARENA_ARRAY(&s->arena, struct rt_container, n);
    s->sandboxes[s->n_sandboxes++] = (struct rt_sandbox){.id = STR("box"), .ready = true, .ips = ips, .n_ips = 1};
    for (size_t i = 0; i < n; i++)
        s->containers[s->n_containers++] = (struct rt_container){.id = str_of(names[i]), .name = str_of(names[i]), .sandbox_id = STR("box"),
                                                                 .state = RT_RUNNING, .created = {1}, .started = {1}};
    return s;
}

/* "~c1 -c2 +c2 resize": updated, killed, started. */
static struct str decide(const struct val *pod, bool cgroup_differs)
{
    static const char *const names[] = {"c1", "c2"};
    struct podstate *s = running(names, 2);
    struct actions act;
    struct buf b = BUF_INIT;
    struct actions_input in = {.pod = pod, .state = s, .in_force = in_force, .cgroup_differs = cgroup_differs};
    actions_compute(&arena, &in, &act);
    for (size_t i = 0; i < act.n_updates; i++)
        buf_printf(&b, "~" STR_FMT " ", STR_ARG(act.updates[i].container->name));
    for (size_t i = 0; i < act.n_kills; i++)
        buf_printf(&b, "-" STR_FMT " ", STR_ARG(act.kills[i].container->name));
    for (size_t i = 0; i < act.n_starts; i++)
        buf_printf(&b, "+" STR_FMT " ", STR_ARG(val_getstr(act.starts[i].spec, N_name)));
    if (act.resize)
        buf_puts(&b, "resize ");
    if (resize_in_progress(&in))
        buf_puts(&b, "in-progress");
    struct str r = arena_str(&arena, str_trim(buf_str(&b)));
    buf_done(&b);
    podstate_unref(s);
    return r;
}

#define C1(r) "{name: c1, image: i, resources: {requests: {" r "}}, resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]}"
#define C2(r) "{name: c2, image: i, resources: {limits: {" r "}}}"

static void decisions(void **state)
{
    static const struct {
        const char *c1, *c2, *spec;
        bool cgroup;
        const char *want;
    } cases[] = {
        {"requests: {cpu: 10m, memory: 1Mi}", "limits: {cpu: 10m}", C1("cpu: 10m, memory: 1Mi") ", " C2("cpu: 10m"), false, ""},
        /* what nobody knows is as it should be */
        {NULL, NULL, C1("cpu: 10m, memory: 1Mi") ", " C2("cpu: 10m"), false, ""},
        {"requests: {cpu: 5m, memory: 1Mi}", "limits: {cpu: 10m}", C1("cpu: 10m, memory: 1Mi") ", " C2("cpu: 10m"), false, "~c1 resize in-progress"},
        {"requests: {cpu: 10m, memory: 2Mi}", "limits: {cpu: 10m}", C1("cpu: 10m, memory: 1Mi") ", " C2("cpu: 10m"), false, "-c1 +c1 resize in-progress"},
        {"requests: {cpu: 10m, memory: 1Mi}", "limits: {cpu: 5m}", C1("cpu: 10m, memory: 1Mi") ", " C2("cpu: 10m"), false, "~c2 resize in-progress"},
        {"requests: {cpu: 10m, memory: 1Mi}", "limits: {cpu: 10m}", C1("cpu: 10m, memory: 1Mi") ", " C2("cpu: 10m"), true, "resize"},
        /* the same amount in other words is the same */
        {"requests: {cpu: '0.01', memory: '1048576'}", "limits: {cpu: 10m}", C1("cpu: 10m, memory: 1Mi") ", " C2("cpu: 10m"), false, ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        c1_has = cases[i].c1 ? resources_of(arena_printf(&arena, "{%s}", cases[i].c1).p) : NULL;
        c2_has = cases[i].c2 ? resources_of(arena_printf(&arena, "{%s}", cases[i].c2).p) : NULL;
        struct str got = decide(pod_of(arena_printf(&arena, "spec: {containers: [%s]}", cases[i].spec).p), cases[i].cgroup);
        if (!str_is(got, cases[i].want))
            fail_msg("case %zu: " STR_FMT ", not %s", i, STR_ARG(got), cases[i].want);
    }
    /* Limits of the Pod as a whole hold containers that have none. */
    whole_has = resources_of("{limits: {memory: 10Mi}}");
    c1_has = c2_has = resources_of("{limits: {memory: 10Mi}}");
    assert_str(decide(pod_of("spec: {resources: {limits: {memory: 20Mi}}, containers: [{name: c1, image: i}, {name: c2, image: i}]}"), false),
               "~c1 ~c2 resize in-progress");
    whole_has = NULL;
    arena_done(&arena);
}

/* ---- showing ------------------------------------------------------------------------------------------------ */

static struct str json_of(const struct val *v)
{
    struct buf b = BUF_INIT;
    json_encode(&b, type_at(T_core_v1_ResourceRequirements), v, 0);
    struct str s = arena_str(&arena, buf_str(&b));
    buf_done(&b);
    return s;
}

static void what_is_in_force(void **state)
{
    static const struct {
        const char *granted;
        struct rt_container c;
        const char *actuated, *want;
    } cases[] = {
        /* the runtime's word goes before what was granted */
        {"{limits: {cpu: 30m, memory: 50Mi}, requests: {cpu: 20m, memory: 40Mi}}",
         {.state = RT_RUNNING, .cpu_shares = 25, .cpu_quota = 3500, .cpu_period = 100000, .memory_limit = 45 << 20},
         "{requests: {memory: 35Mi}}", "{\"limits\":{\"cpu\":\"35m\",\"memory\":\"45Mi\"},\"requests\":{\"cpu\":\"25m\",\"memory\":\"35Mi\"}}"},
        /* the kernel's least: what was granted is shown */
        {"{limits: {cpu: 5m}, requests: {cpu: 1m}}", {.state = RT_RUNNING, .cpu_shares = 2, .cpu_quota = 1000, .cpu_period = 100000}, NULL,
         "{\"limits\":{\"cpu\":\"5m\"},\"requests\":{\"cpu\":\"1m\"}}"},
        /* a runtime that says nothing */
        {"{limits: {memory: 50Mi}, requests: {memory: 50Mi}}", {.state = RT_RUNNING}, "{limits: {memory: 45Mi}, requests: {memory: 45Mi}}",
         "{\"limits\":{\"memory\":\"45Mi\"},\"requests\":{\"memory\":\"45Mi\"}}"},
        {"{requests: {cpu: 20m}}", {.state = RT_EXITED, .cpu_shares = 99}, NULL, "{\"requests\":{\"cpu\":\"20m\"}}"},
        {"{}", {.state = RT_RUNNING, .cpu_shares = 2, .cpu_quota = 100, .cpu_period = 100000}, NULL, "{}"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct val *actuated = cases[i].actuated ? resources_of(cases[i].actuated) : NULL;
        assert_str(json_of(resize_in_force(&arena, resources_of(cases[i].granted), &cases[i].c, actuated)), cases[i].want);
    }
    arena_done(&arena);
}

#define SPEC "spec: {containers: [{name: c1, image: i, resources: {requests: {cpu: 2, memory: 20Mi}, limits: {cpu: 3}}}]}"

static void what_a_restart_recalls(void **state)
{
    /* A resize came while nobody looked: what was granted is in the status. */
    const struct val *pod = pod_of(SPEC ", status: {containerStatuses: [{name: c1, allocatedResources: {cpu: 1, memory: 10Mi}, "
                                        "resources: {requests: {cpu: 1, memory: 10Mi}, limits: {cpu: 1500m}}}]}");
    const struct val *r = resize_recall(&arena, pod);
    assert_true(resize_differs(r, pod));
    assert_str(json_of(val_get(pod_find_container(r, STR("c1"), NULL), N_resources)),
               "{\"limits\":{\"cpu\":\"1500m\"},\"requests\":{\"cpu\":\"1\",\"memory\":\"10Mi\"}}");
    assert_false(resize_shrinks(r, pod));
    assert_true(resize_shrinks(pod, r));
    /* What only the kernel's units make different is no resize. */
    pod = pod_of("spec: {containers: [{name: c1, image: i, resources: {requests: {cpu: 1m}, limits: {cpu: 5m}}}]}, status: {containerStatuses: "
                 "[{name: c1, allocatedResources: {cpu: 1m}, resources: {requests: {cpu: 2m}, limits: {cpu: 10m}}}]}");
    assert_false(resize_differs(resize_recall(&arena, pod), pod));
    /* Never seen to run: as the spec says. */
    pod = pod_of(SPEC ", status: {containerStatuses: [{name: c1}]}");
    assert_false(resize_differs(resize_recall(&arena, pod), pod));
    /* A request that was not there before. */
    pod = pod_of(SPEC ", status: {containerStatuses: [{name: c1, allocatedResources: {cpu: 2}, resources: {requests: {cpu: 2}, limits: {cpu: 3}}}]}");
    assert_str(json_of(val_get(pod_find_container(resize_recall(&arena, pod), STR("c1"), NULL), N_resources)),
               "{\"limits\":{\"cpu\":\"3\"},\"requests\":{\"cpu\":\"2\"}}");
    /* Everything else of a Pod is what the API says now. */
    const struct val *other = pod_of("spec: {containers: [{name: c1, image: new}]}");
    assert_str(val_getstr(pod_find_container(resize_with(&arena, other, pod), STR("c1"), NULL), N_image), "new");
    arena_done(&arena);
}

static void messages(void **state)
{
    const struct val *pod = pod_of("spec: {initContainers: [{name: i, restartPolicy: Always, resources: {limits: {cpu: 200m}, requests: {cpu: 100m}}}], "
                                   "containers: [{name: a}, {name: b, resources: {requests: {memory: 100}}}]}");
    assert_str(resize_message(&arena, pod, "Pod resize completed", 2, STR_NULL),
               "Pod resize completed: {\"initContainers\":[{\"name\":\"i\",\"resources\":{\"limits\":{\"cpu\":\"200m\"},\"requests\":{\"cpu\":\"100m\"}}}],"
               "\"containers\":[{\"name\":\"a\",\"resources\":{}},{\"name\":\"b\",\"resources\":{\"requests\":{\"memory\":\"100\"}}}],\"generation\":2}");
    assert_str(resize_message(&arena, pod_of("spec: {}"), "Pod resize error", 3, STR("no \"room\"")),
               "Pod resize error: {\"generation\":3,\"error\":\"no \\\"room\\\"\"}");
    arena_done(&arena);
}

static void conditions_and_the_whole(void **state)
{
    static char full[] = "no room";
    const struct resize_condition pending = {true, "Deferred", full, 7, {SECONDS(100)}, {SECONDS(101)}}, progress = {.set = false, .reason = ""};
    const struct cgroup_limits held = {.cpu_shares = 1024, .cpu_quota = 200000, .cpu_period = 100000, .memory = 30 << 20, .pids = -1};
    const struct val *pod = pod_of("spec: {resources: {requests: {cpu: 1}}, containers: [{name: c1, image: i, resources: {requests: {memory: 20Mi}}}]}, "
                                   "status: {phase: Running}");
    struct status_input in = {.pod = pod, .pending = &pending, .progress = &progress, .cgroup = &held, .runtime = "containerd", .now = {SECONDS(200)}};
    const struct val *s = pod_status_make(&arena, &in);
    const struct val *c = condition_find(val_get(s, N_conditions), STR("PodResizePending"));
    assert_str(val_getstr(c, N_reason), "Deferred");
    assert_str(val_getstr(c, N_message), "no room");
    assert_int_equal(val_int(val_get(c, N_observedGeneration), 0), 7);
    assert_null(condition_find(val_get(s, N_conditions), STR("PodResizeInProgress")));
    assert_str(val_str(val_key(val_get(s, N_allocatedResources), STR("memory"))), "20Mi");
    assert_str(json_of(val_get(s, N_resources)),
               "{\"limits\":{\"cpu\":\"2\",\"memory\":\"30Mi\"},\"requests\":{\"cpu\":\"1\",\"memory\":\"20Mi\"}}");
    in.fail_reason = "Evicted";
    s = pod_status_make(&arena, &in);
    assert_null(condition_find(val_get(s, N_conditions), STR("PodResizePending")));
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decisions), cmocka_unit_test(what_is_in_force), cmocka_unit_test(what_a_restart_recalls),
        cmocka_unit_test(messages),  cmocka_unit_test(conditions_and_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
