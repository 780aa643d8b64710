/* SPDX-License-Identifier: Apache-2.0 */
/* What the kubelet decides about a Pod: actions, back-off, admission, eviction order, resources. All pure. */
#include "testing.h"

#include "client/fake_client.h"
#include "node/actions.h"
#include "node/backoff.h"
#include "node/eviction.h"
#include "node/kubelet-internal.h"
#include "node/qos.h"
#include "node/shutdown.h"
#include "types.h"

#include <stdio.h>

static struct arena arena;

static struct val *pod_of(const char *spec)
{
    return val_relaxed(&arena, type_at(T_core_v1_Pod),
                       arena_printf(&arena, "{metadata: {namespace: n, name: p, uid: u}, spec: {%s}}", spec).p);
}

/* ---- the runtime's side in a few letters ------------------------------------------------------------------------ *
 * "S" a ready sandbox, "s" one that is not; then containers "name=state": r running, c created, x<code> exited, u
 * unknown; newest first. */
static struct podstate *state_of(const struct val *pod, const char *text)
{
    struct podstate *s = podstate_new(STR("u"), STR("p"), STR("n"));
    struct str rest = str_of(text), word, name, st;
    s->sandboxes = ARENA_ARRAY(&s->arena, struct rt_sandbox, 8);
    s->containers = ARENA_ARRAY(&s->arena, struct rt_container, 16);
    static struct str ips[] = {STR("10.0.0.1")};
    int64_t created = 1000;
    while (str_next(&rest, ' ', &word)) {
        created--;
        if (str_is(word, "S") || str_is(word, "s")) {
            s->sandboxes[s->n_sandboxes] = (struct rt_sandbox){
                .id = arena_printf(&s->arena, "box%zu", s->n_sandboxes), .ready = word.p[0] == 'S', .attempt = 0, .ips = ips, .n_ips = 1};
            s->n_sandboxes++;
            continue;
        }
        str_cut(word, '=', &name, &st);
        struct rt_container *c = &s->containers[s->n_containers++];
        const struct val *spec = pod_find_container(pod, name, NULL);
        *c = (struct rt_container){.id = arena_printf(&s->arena, STR_FMT "-%lld", STR_ARG(name), (long long)created),
                                   .name = arena_str(&s->arena, name), .sandbox_id = STR("box0"), .created = {created},
                                   .started = {created}, .hash = spec ? container_hash(&s->arena, spec) : STR("gone"), .grace = -1};
        int64_t code = 0;
        if (str_ends(st, STR("@1"))) {
            c->sandbox_id = STR("box1");
            st = str_slice(st, 0, st.n - 2);
        }
        str_to_i64(str_from(st, 1), &code);
        c->exit_code = (int32_t)code;
        c->state = st.p[0] == 'r' ? RT_RUNNING : st.p[0] == 'c' ? RT_CREATED : st.p[0] == 'x' ? RT_EXITED : RT_UNKNOWN;
        if (c->state == RT_CREATED)
            c->started.ns = 0;
    }
    return s;
}

static const char *probe_says; /* "startup main fails" and so on: words looked for */

static enum probe_result probe(void *ctx, enum probe_kind kind, struct str id)
{
    static const char *const words[] = {"startup", "liveness", "readiness"};
    struct str rest = str_of(probe_says), clause;
    ssize_t dash = str_rfind(id, '-');
    struct str name = str_slice(id, 0, (size_t)dash);
    while (probe_says && str_next(&rest, ',', &clause)) {
        struct str want = arena_printf(&arena, "%s " STR_FMT " ", words[kind], STR_ARG(name));
        clause = str_trim(clause);
        if (str_starts(clause, want))
            return str_ends(clause, STR("fails")) ? PROBE_FAILURE : PROBE_SUCCESS;
    }
    return PROBE_UNKNOWN;
}

/* "kill-pod sandbox:1 -main +main" */
static struct str decide(const char *spec, const char *state, const char *probes)
{
    struct val *pod = pod_of(spec);
    struct podstate *s = state ? state_of(pod, state) : NULL;
    struct actions act;
    struct buf b = BUF_INIT;
    probe_says = probes;
    actions_compute(&arena, &(struct actions_input){pod, s, probe, NULL}, &act);
    if (act.kill_pod)
        buf_puts(&b, "kill-pod ");
    if (act.create_sandbox)
        buf_printf(&b, "sandbox:%u ", act.attempt);
    for (size_t i = 0; i < act.n_kills; i++)
        buf_printf(&b, "-" STR_FMT " ", STR_ARG(act.kills[i].container->name));
    for (size_t i = 0; i < act.n_starts; i++)
        buf_printf(&b, "+" STR_FMT " ", STR_ARG(val_getstr(act.starts[i].spec, N_name)));
    struct str r = arena_str(&arena, str_trim(buf_str(&b)));
    buf_done(&b);
    podstate_unref(s);
    return r;
}

#define MAIN "containers: [{name: main, image: i}]"
#define TWO "containers: [{name: main, image: i}, {name: other, image: i}]"
#define INITS "initContainers: [{name: i1, image: i}, {name: i2, image: i}], "
#define SIDE "initContainers: [{name: i1, image: i}, {name: side, image: i, restartPolicy: Always, startupProbe: {exec: {}}}, {name: i2, image: i}], "

static void actions_table(void **state)
{
    static const struct {
        const char *spec, *state, *probes, *want;
    } cases[] = {
        {MAIN, NULL, NULL, "kill-pod sandbox:0 +main"},
        {MAIN, "S", NULL, "+main"},
        {MAIN, "S main=r", NULL, ""},
        {MAIN, "s main=x0", NULL, "kill-pod sandbox:1 +main"},
        {MAIN, "S S main=r", NULL, "kill-pod sandbox:1 +main"},
        {MAIN, "S main=x1", NULL, "+main"},
        {MAIN, "S main=c", NULL, "+main"},
        {MAIN, "S main=u", NULL, "-main +main"},
        {"hostNetwork: true, " MAIN, "S main=r", NULL, "kill-pod sandbox:1 +main"},
        /* restart policies */
        {"restartPolicy: Never, " MAIN, "S main=x1", NULL, "kill-pod"},
        {"restartPolicy: Never, " TWO, "S main=x1 other=r", NULL, ""},
        {"restartPolicy: Never, " MAIN, "s main=x0", NULL, "kill-pod"},
        {"restartPolicy: OnFailure, " MAIN, "S main=x0", NULL, "kill-pod"},
        {"restartPolicy: OnFailure, " MAIN, "S main=x2", NULL, "+main"},
        {"restartPolicy: OnFailure, " TWO, "s main=x0 other=x1", NULL, "kill-pod sandbox:1 +other"},
        {"restartPolicy: OnFailure, " TWO, "s main=x0 other=x0", NULL, "kill-pod"},
        {"restartPolicy: Never, containers: [{name: main, image: i, restartPolicy: Never, restartPolicyRules: [{action: Restart,"
         " exitCodes: {operator: In, values: [42]}}]}]", "S main=x42", NULL, "+main"},
        {"restartPolicy: Always, containers: [{name: main, image: i, restartPolicy: Never}]", "S main=x1", NULL, "kill-pod"},
        /* a definition that changed (the hash is another) */
        {"containers: [{name: main, image: new}]", "S main=r", NULL, ""},
        /* probes */
        {MAIN, "S main=r", "liveness main fails", "-main +main"},
        {MAIN, "S main=r", "startup main fails", "-main +main"},
        {MAIN, "S main=r", "liveness main succeeds", ""},
        {MAIN, "S main=r", "readiness main fails", ""},
        {"restartPolicy: Never, " MAIN, "S main=r", "liveness main fails", "kill-pod -main"},
        /* init containers */
        {INITS MAIN, NULL, NULL, "kill-pod sandbox:0 +i1"},
        {INITS MAIN, "S", NULL, "+i1"},
        {INITS MAIN, "S i1=r", NULL, ""},
        {INITS MAIN, "S i1=x0", NULL, "+i2"},
        {INITS MAIN, "S i1=x1", NULL, "+i1"},
        {INITS MAIN, "S i1=c", NULL, "+i1"},
        {INITS MAIN, "S i2=x0", NULL, "+main"},  /* i1 was collected */
        {INITS MAIN, "S i2=x0 i1=x0 main=r", NULL, ""},
        {INITS MAIN, "S main=r", NULL, ""},      /* both were */
        {"restartPolicy: Never, " INITS MAIN, "S i1=x1", NULL, "kill-pod"},
        {"restartPolicy: OnFailure, " INITS MAIN, "S i1=x1", NULL, "+i1"},
        /* sidecars */
        {SIDE MAIN, "S i1=x0", NULL, "+side"},
        {SIDE MAIN, "S i1=x0 side=r", NULL, ""},
        {SIDE MAIN, "S i1=x0 side=r", "startup side succeeds", "+i2"},
        {SIDE MAIN, "S i1=x0 side=r", "startup side fails", "-side +side"},
        {SIDE MAIN, "S i2=x0 i1=x0 side=r", "startup side succeeds", "+main"},
        {SIDE MAIN, "S i2=x0 i1=x0 side=x1 main=r", NULL, "+side"},
        {SIDE MAIN, "S i2=x0 side=r main=r", "startup side succeeds", ""},
        {SIDE MAIN, "S main=r", NULL, "+side"},
        {"restartPolicy: Never, " SIDE MAIN, "S i2=x0 i1=x0 side=r main=x0", "startup side succeeds", "kill-pod"},
        /* ephemeral containers run once */
        {"ephemeralContainers: [{name: debug, image: i}], " MAIN, "S main=r", NULL, "+debug"},
        {"ephemeralContainers: [{name: debug, image: i}], " MAIN, "S main=r debug=x1", NULL, ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct str have = decide(cases[i].spec, cases[i].state, cases[i].probes);
        if (!str_is(have, cases[i].want))
            fail_msg("{%s} with %s and %s: \"" STR_FMT "\", not \"%s\"", cases[i].spec, cases[i].state ? cases[i].state : "nothing",
                     cases[i].probes ? cases[i].probes : "no probes", STR_ARG(have), cases[i].want);
    }
    arena_done(&arena);
}

static void a_changed_image_replaces_the_container(void **state)
{
    struct val *pod = pod_of(MAIN);
    struct podstate *s = state_of(pod, "S main=r");
    struct actions act;
    s->containers[0].hash = STR("another");
    actions_compute(&arena, &(struct actions_input){pod, s, NULL, NULL}, &act);
    assert_int_equal(act.n_kills, 1);
    assert_int_equal(act.n_starts, 1);
    assert_str(act.kills[0].message, "Container main definition changed, will be restarted");
    podstate_unref(s);
    arena_done(&arena);
}

static void backing_off(void **state)
{
    struct backoff b = {0};
    struct wall now = {SECONDS(1000000)};
    int64_t want[] = {10, 20, 40, 80, 160, 300, 300};
    assert_int_equal(backoff_wait(&b, BACKOFF_MOST, now, now), 0); /* the first restart is at once */
    for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
        backoff_next(&b, BACKOFF_FIRST, BACKOFF_MOST, now, now);
        now.ns += SECONDS(1); /* it ran for a second */
        assert_int_equal(backoff_wait(&b, BACKOFF_MOST, now, now) / NSEC_PER_SEC, want[i]);
        struct wall later = {now.ns + SECONDS(4)};
        assert_int_equal(backoff_wait(&b, BACKOFF_MOST, now, later) / NSEC_PER_SEC, want[i] - 4);
        struct wall back = {now.ns - SECONDS(86400)}; /* somebody set the clock back */
        assert_int_equal(backoff_wait(&b, BACKOFF_MOST, now, back) / NSEC_PER_SEC, want[i]);
        now.ns += SECONDS(want[i]);
        assert_int_equal(backoff_wait(&b, BACKOFF_MOST, (struct wall){now.ns - SECONDS(want[i])}, now), 0);
    }
    now.ns += SECONDS(601); /* healthy for ten minutes: forgotten */
    assert_int_equal(backoff_wait(&b, BACKOFF_MOST, now, now), 0);
    backoff_next(&b, BACKOFF_FIRST, BACKOFF_MOST, now, now);
    assert_int_equal(b.interval, BACKOFF_FIRST);
}

/* ---- resources ---------------------------------------------------------------------------------------------------- */

static void qos_and_sums(void **state)
{
    static const struct {
        const char *spec, *qos;
        int64_t cpu_milli, memory;
    } cases[] = {
        {MAIN, "BestEffort", 0, 0},
        {"containers: [{name: a, resources: {requests: {cpu: 100m}}}]", "Burstable", 100, 0},
        {"containers: [{name: a, resources: {requests: {cpu: '1', memory: 1Ki}, limits: {cpu: '1', memory: 1Ki}}}]", "Guaranteed", 1000, 1024},
        {"containers: [{name: a, resources: {requests: {cpu: '1', memory: 1Ki}, limits: {cpu: '1', memory: 1Ki}}}, {name: b}]", "Burstable", 1000, 1024},
        {"containers: [{name: a, resources: {requests: {cpu: '1', memory: 1Ki}, limits: {cpu: '2', memory: 1Ki}}}]", "Burstable", 1000, 1024},
        {"containers: [{name: a, resources: {limits: {'example.com/x': '1'}, requests: {'example.com/x': '1'}}}]", "BestEffort", 0, 0},
        {"initContainers: [{name: i, resources: {requests: {cpu: '3'}}}], containers: [{name: a, resources: {requests: {cpu: '1'}}}, {name: b, resources: {requests: {cpu: '1'}}}]",
         "Burstable", 3000, 0},
        {"initContainers: [{name: s, restartPolicy: Always, resources: {requests: {cpu: '1'}}}, {name: i, resources: {requests: {cpu: '3'}}}], containers: [{name: a, resources: {requests: {cpu: '2'}}}]",
         "Burstable", 4000, 0},
        {"overhead: {cpu: 250m}, containers: [{name: a, resources: {requests: {cpu: '1'}}}]", "Burstable", 1250, 0},
        {"resources: {requests: {cpu: '5'}, limits: {cpu: '5'}}, containers: [{name: a, resources: {requests: {cpu: '1'}}}]", "Burstable", 5000, 0},
        {"resources: {requests: {cpu: '5', memory: 1Ki}, limits: {cpu: '5', memory: 1Ki}}, containers: [{name: a}]", "Guaranteed", 5000, 1024},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct val *pod = pod_of(cases[i].spec);
        if (strcmp(qos_name(pod_qos(pod)), cases[i].qos) != 0 ||
            quantity_milli(pod_amount(pod, N_requests, "cpu")) != cases[i].cpu_milli ||
            quantity_units(pod_amount(pod, N_requests, "memory")) != cases[i].memory)
            fail_msg("{%s}: %s, %lld m, %lld", cases[i].spec, qos_name(pod_qos(pod)),
                     (long long)quantity_milli(pod_amount(pod, N_requests, "cpu")),
                     (long long)quantity_units(pod_amount(pod, N_requests, "memory")));
    }
    assert_int_equal(cpu_shares(0), 2);
    assert_int_equal(cpu_shares(1000), 1024);
    assert_int_equal(cpu_shares(1), 2);
    assert_int_equal(cpu_shares(INT64_MAX), 262144);
    assert_int_equal(cpu_quota(0, 100000), 0);
    assert_int_equal(cpu_quota(1, 100000), 1000);
    assert_int_equal(cpu_quota(1500, 100000), 150000);
    assert_int_equal(cpu_weight(2), 1);
    assert_int_equal(cpu_weight(262144), 10000);
    arena_done(&arena);
}

static void oom_scores(void **state)
{
    static const struct {
        const char *spec;
        int want;
    } cases[] = {
        {MAIN, 1000},
        {"containers: [{name: main, resources: {requests: {cpu: '1', memory: 1Ki}, limits: {cpu: '1', memory: 1Ki}}}]", -997},
        {"containers: [{name: main, resources: {requests: {memory: 100Mi}}}]", 900},
        {"containers: [{name: main, resources: {requests: {memory: 1000Mi}}}]", 3},
        {"containers: [{name: main, resources: {requests: {cpu: 1m}}}]", 999},
        {"priority: 2000001000, " MAIN, -997},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct val *pod = pod_of(cases[i].spec);
        const struct val *c = pod_find_container(pod, STR("main"), NULL);
        assert_int_equal(pod_oom_score_adj(pod, c, INT64_C(1000) << 20), cases[i].want);
    }
    arena_done(&arena);
}

/* ---- admission, eviction --------------------------------------------------------------------------------------------- */

static void admission(void **state)
{
    static const struct {
        const char *spec, *want;
    } cases[] = {
        {MAIN, NULL},
        {"containers: [{name: a, resources: {requests: {cpu: '1'}}}]", NULL},
        {"containers: [{name: a, resources: {requests: {cpu: 1001m}}}]", "OutOfcpu"},
        {"containers: [{name: a, resources: {requests: {memory: 2Gi}}}]", "OutOfmemory"},
        {"containers: [{name: a, ports: [{containerPort: 1, hostPort: 80}]}]", "NodePorts"},
        {"containers: [{name: a, ports: [{containerPort: 1, hostPort: 80, protocol: UDP}]}]", NULL},
        {"containers: [{name: a, ports: [{containerPort: 1, hostPort: 81}]}]", NULL},
        {"nodeSelector: {zone: a}, " MAIN, NULL},
        {"nodeSelector: {zone: b}, " MAIN, "NodeAffinity"},
        {"os: {name: windows}, " MAIN, "PodOSNotSupported"},
        {"securityContext: {sysctls: [{name: kernel.shm_rmid_forced, value: '1'}]}, " MAIN, NULL},
        {"securityContext: {sysctls: [{name: kernel/msgmax, value: '1'}]}, " MAIN, "SysctlForbidden"},
        {"securityContext: {sysctls: [{name: net.core.somaxconn, value: '1'}]}, " MAIN, NULL},
    };
    static const char *const allowed[] = {"net.*", NULL};
    const struct val *other = pod_of("containers: [{name: a, resources: {requests: {cpu: '1'}}, ports: [{containerPort: 9, hostPort: 80}]}]");
    const struct val *others[] = {other};
    struct admit_world w = {
        .node = val_relaxed(&arena, NULL, "{metadata: {labels: {zone: a}}}"),
        .others = others,
        .n_others = 1,
        .allocatable = val_relaxed(&arena, NULL, "{cpu: '2', memory: 1Gi, pods: '2'}"),
        .allowed_sysctls = allowed,
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct str message = STR("");
        const char *why = admit_pod(&arena, pod_of(cases[i].spec), &w, &message);
        if ((why == NULL) != (cases[i].want == NULL) || (why && strcmp(why, cases[i].want) != 0))
            fail_msg("{%s}: %s, not %s", cases[i].spec, why ? why : "admitted", cases[i].want ? cases[i].want : "admitted");
    }
    struct str message;
    const struct val *full[] = {other, other};
    w.others = full;
    w.n_others = 2;
    assert_string_equal(admit_pod(&arena, pod_of(MAIN), &w, &message), "OutOfpods");
    assert_str(message, "Node didn't have enough resource: pods, requested: 1, used: 2, capacity: 2");
    arena_done(&arena);
}

static void eviction_order(void **state)
{
    struct eviction_candidate c[] = {
        {pod_of("priority: 0, " MAIN), 100, 200, (char *)(uintptr_t)"within"},
        {pod_of("priority: 10, " MAIN), 900, 100, (char *)(uintptr_t)"over, important"},
        {pod_of("priority: 0, " MAIN), 300, 100, (char *)(uintptr_t)"over by 200"},
        {pod_of("priority: 0, " MAIN), 500, 100, (char *)(uintptr_t)"over by 400"},
    };
    static const char *const want[] = {"over by 400", "over by 200", "over, important", "within"};
    static const char *const settings[] = {"memory.available<100Mi", "nodefs.available=10%", NULL};
    eviction_rank(c, ARRAY_SIZE(c), EVICT_MEMORY);
    for (size_t i = 0; i < ARRAY_SIZE(c); i++)
        assert_string_equal(c[i].owner, want[i]);
    assert_int_equal(eviction_threshold(settings, "memory.available", 1000), 100 << 20);
    assert_int_equal(eviction_threshold(settings, "nodefs.available", 1000), 100);
    assert_int_equal(eviction_threshold(settings, "pid.available", 1000), 0);
    arena_done(&arena);
}

/* The threshold as it was written; process numbers and inodes in tens, bytes in twos. */
static void eviction_says_why(void **state)
{
    static const struct {
        const char *rule;
        struct eviction_observation seen;
        const char *want;
    } cases[] = {
        {"memory.available<100Mi", {50 << 20, 1 << 30}, "memory. Threshold quantity: 100Mi, available: 50Mi. "},
        {"memory.available<100M", {1 << 20, 1 << 30}, "memory. Threshold quantity: 100M, available: 1Mi. "},
        {"memory.available<10%", {1025, 1001 << 10}, "memory. Threshold quantity: 102502, available: 1025. "},
        {"nodefs.available<1Gi", {0, 1 << 30}, "ephemeral-storage. Threshold quantity: 1Gi, available: 0. "},
        {"nodefs.inodesFree<5000", {4096, 9999}, "inodes. Threshold quantity: 5k, available: 4096. "},
        {"pid.available<32767", {32442, 32768}, "pids. Threshold quantity: 32767, available: 32442. "},
        {"pid.available<50%", {100, 32768}, "pids. Threshold quantity: 16Ki, available: 100. "},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *const hard[] = {cases[i].rule, NULL};
        struct eviction_observation obs[EVICTION_SIGNALS];
        struct eviction_rules rules;
        struct eviction_look look;
        struct err e = {{0}};
        assert_int_equal(eviction_rules_make(&arena, &(const struct eviction_settings){.hard = hard}, &rules, &e), 0);
        for (int o = 0; o < EVICTION_SIGNALS; o++)
            obs[o] = (struct eviction_observation){-1, 0};
        obs[rules.rules[0].signal] = cases[i].seen;
        eviction_look(&rules, obs, (struct wall){SECONDS(1)}, &look);
        assert_non_null(look.reclaim);
        struct str got = eviction_why(&arena, &look, &cases[i].seen);
        if (!str_eq(got, arena_printf(&arena, "The node was low on resource: %s", cases[i].want)))
            fail_msg("%s: " STR_FMT, cases[i].rule, STR_ARG(got));
    }
    arena_done(&arena);
}

/* Seconds since the start, what is available of 1000, and what comes of it: "m" pressure, "M" to be acted on. */
static void who_comes_in_when_it_is_tight(void **state)
{
#define ASKS "containers: [{name: c, resources: {requests: {cpu: 1m}}}]"
#define NOTHING "containers: [{name: c}]"
#define TOLERATES(key) NOTHING ", tolerations: [{key: 'node.kubernetes.io/" key "', operator: Exists, effect: NoSchedule}]"
    static const struct {
        const char *spec;
        bool pressure[PRESSURES];
        const char *message; /* NULL: it may */
    } cases[] = {
        {NOTHING, {false, false, false}, NULL},
        {NOTHING, {true, false, false}, "The node had condition: [MemoryPressure]. "},
        {ASKS, {true, false, false}, NULL},
        {TOLERATES("memory-pressure"), {true, false, false}, NULL},
        {TOLERATES("disk-pressure"), {false, true, false}, "The node had condition: [DiskPressure]. "},
        {ASKS, {true, true, false}, "The node had condition: [MemoryPressure DiskPressure]. "},
        {ASKS, {false, false, true}, "The node had condition: [PIDPressure]. "},
        {NOTHING ", priority: 2000001000", {true, true, true}, NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct str message = STR("");
        const struct val *pod = val_relaxed(&a, type_at(T_core_v1_Pod), arena_printf(&a, "{metadata: {name: p}, spec: {%s}}", cases[i].spec).p);
        const char *why = eviction_admit(&a, pod, cases[i].pressure, &message);
        if (!why != !cases[i].message || (why && (strcmp(why, "Evicted") != 0 || !str_is(message, cases[i].message))))
            fail_msg("case %zu: %s " STR_FMT, i, why ? why : "may", STR_ARG(message));
    }
}

static void eviction_over_time(void **state)
{
    static const char *const hard[] = {"memory.available=100", "nodefs.available<10%", "pid.available=0", NULL};
    static const char *const soft[] = {"memory.available=200", NULL}, *const grace[] = {"memory.available=30s", NULL};
    static const char *const least[] = {"memory.available=50", NULL};
    static const struct {
        int64_t at, memory, disk;
        const char *want;
    } looks[] = {
        {10, 300, 500, ""},
        {20, 150, 500, "m"},      /* soft: not yet */
        {49, 150, 500, "m"},
        {50, 150, 500, "mM soft"},
        {60, 240, 500, "mM soft"}, /* not 50 above the threshold yet */
        {70, 251, 500, "m"},      /* over, but told of for a while */
        {80, 90, 50, "mdM hard"}, /* memory before disk; the soft one waits again */
        {90, 300, 50, "mdD hard"},
        {100, 300, 100, "md"},
        {159, 300, 100, "d"},
        {161, 300, 100, ""},
    };
    const struct eviction_settings s = {hard, soft, grace, least, SECONDS(70)};
    struct eviction_rules rules;
    struct err e = {{0}};
    assert_int_equal(eviction_rules_make(&arena, &s, &rules, &e), 0);
    assert_int_equal(rules.n, 3);
    for (size_t i = 0; i < ARRAY_SIZE(looks); i++) {
        struct eviction_observation obs[EVICTION_SIGNALS];
        struct eviction_look look;
        for (int o = 0; o < EVICTION_SIGNALS; o++)
            obs[o] = (struct eviction_observation){-1, 1000};
        obs[EVICT_MEMORY].available = looks[i].memory;
        obs[EVICT_NODEFS].available = looks[i].disk;
        eviction_look(&rules, obs, (struct wall){SECONDS(looks[i].at)}, &look);
        const char *what = !look.reclaim ? "" : look.reclaim->signal == EVICT_MEMORY ? "M" : "D";
        struct str got = arena_printf(&arena, "%s%s%s%s", look.pressure[PRESSURE_MEMORY] ? "m" : "", look.pressure[PRESSURE_DISK] ? "d" : "", what,
                                      !look.reclaim ? "" : look.reclaim->hard ? " hard" : " soft");
        if (!str_is(got, looks[i].want))
            fail_msg("at %lld: " STR_FMT ", not %s", (long long)looks[i].at, STR_ARG(got), looks[i].want);
    }
    const char *const *const bad[] = {(const char *const[]){"memory=1", NULL}, (const char *const[]){"memory.available=x", NULL},
                                             (const char *const[]){"memory.available=100%", NULL}, (const char *const[]){"memory.available", NULL}};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(eviction_rules_make(&arena, &(const struct eviction_settings){.hard = bad[i]}, &rules, &e), -EINVAL);
    assert_int_equal(eviction_rules_make(&arena, &(const struct eviction_settings){.soft = soft}, &rules, &e), -EINVAL); /* no grace period */
    struct eviction_candidate c[] = {
        {pod_of("priority: 5, " MAIN), 900, 0, (char *)(uintptr_t)"important"},
        {pod_of("priority: 0, " MAIN), 10, 0, (char *)(uintptr_t)"few"},
        {pod_of("priority: 0, " MAIN), 20, 0, (char *)(uintptr_t)"many"},
    };
    eviction_rank(c, ARRAY_SIZE(c), EVICT_PIDS);
    assert_string_equal(c[0].owner, "many");
    assert_string_equal(c[2].owner, "important");
    arena_done(&arena);
}

static void shutdown_order(void **state)
{
    static const char *const settings[] = {"100=20", "0=10", "2000000000=5", NULL};
    size_t n;
    const struct shutdown_group *g = shutdown_groups(&arena, settings, 0, 0, &n);
    static const struct {
        int64_t priority;
        size_t group;
    } cases[] = {{-5, 0}, {0, 0}, {99, 0}, {100, 1}, {1999999999, 1}, {2000000000, 2}, {2000001000, 2}};
    assert_int_equal(n, 3);
    assert_int_equal(g[1].seconds, 20);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(shutdown_group_of(g, n, cases[i].priority), cases[i].group);
    g = shutdown_groups(&arena, NULL, SECONDS(30), SECONDS(10), &n);
    assert_int_equal(n, 2);
    assert_int_equal(g[0].seconds, 20);
    assert_int_equal(g[1].seconds, 10);
    shutdown_groups(&arena, NULL, 0, 0, &n);
    assert_int_equal(n, 0);
    static const char *const endless[] = {"0=9223372036854775807", "5=-1", NULL};
    g = shutdown_groups(&arena, endless, 0, 0, &n);
    assert_int_equal(n, 1);
    assert_int_equal(g[0].seconds, 7 * 86400);
    arena_done(&arena);
}

/* Two sockets of two cores of two threads: 0-3 and 4-7, siblings next to each other. */
static void own_cpus(void **state)
{
    static struct cpu_place places[8];
    struct cpu_topology t = {places, 8};
    static const struct {
        const char *free_;
        size_t n;
        const char *want; /* NULL: not enough */
    } cases[] = {
        {"0-7", 1, "0"},     {"0-7", 2, "0-1"},  {"0-7", 4, "0-3"},  {"0-7", 6, "0-5"}, {"0-7", 8, "0-7"},
        {"1-7", 4, "4-7"},   /* a whole socket before parts of two */
        {"1-7", 1, "1"},     /* the thread of a core that is in use already */
        {"1-7", 3, "1-3"},   {"2,5,7", 2, "2,5"}, {"2", 2, NULL},     {"", 1, NULL},
    };
    for (int i = 0; i < 8; i++)
        places[i] = (struct cpu_place){i, i / 4 * CPUS_MAX + i / 2, i / 4, i / 4, i / 4 * 4};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cpuset free_, got = {{0}};
        assert_int_equal(cpuset_parse(str_of(cases[i].free_), &free_), 0);
        bool enough = cpus_take(&t, &free_, cases[i].n, 0, &got);
        struct str text = cpuset_text(&arena, &got);
        if (enough != (cases[i].want != NULL) || (enough && !str_is(text, cases[i].want)))
            fail_msg("%zu of %s: " STR_FMT ", not %s", cases[i].n, cases[i].free_, STR_ARG(text), cases[i].want ? cases[i].want : "too few");
    }
    struct cpuset s;
    static const char *const bad[] = {"x", "3-1", "-1", "0-99999", "1,"};
    for (size_t i = 0; i < ARRAY_SIZE(bad) - 1; i++)
        assert_int_equal(cpuset_parse(str_of(bad[i]), &s), -EINVAL);
    assert_int_equal(cpuset_parse(STR("0-2,5,7-8\n"), &s), 0);
    assert_str(cpuset_text(&arena, &s), "0-2,5,7-8");
    assert_int_equal(cpuset_count(&s), 6);
#define WHOLE(cpu) "containers: [{name: c, resources: {requests: {cpu: " cpu ", memory: 1Mi}, limits: {cpu: " cpu ", memory: 1Mi}}}]"
    static const struct {
        const char *spec;
        size_t n;
    } pods[] = {{WHOLE("2"), 2}, {WHOLE("1500m"), 0}, {"containers: [{name: c, resources: {requests: {cpu: 2}}}]", 0}, {WHOLE("2000m"), 2}};
    for (size_t i = 0; i < ARRAY_SIZE(pods); i++) {
        const struct val *pod = pod_of(pods[i].spec);
        assert_int_equal(cpus_exclusive(pod, pod_find_container(pod, STR("c"), NULL)), pods[i].n);
    }
    arena_done(&arena);
}

/* KEP-5532: one ends, and all begin anew. */
static void all_over_again(void **state)
{
#define RULE "restartPolicy: Never, restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [42]}}]"
    static const char spec[] = "restartPolicy: Never, initContainers: [{name: i, image: i}], containers: [{name: main, image: i, " RULE "}, {name: other, image: i}]";
    static const struct {
        const char *state;
        bool restarting;
        const char *want;
    } cases[] = {
        {"S main=r other=r i=x0", false, ""},
        {"S main=x42 other=r i=x0", false, "other i main"},
        {"S main=x41 other=r i=x0", false, ""},
        {"S main=x42 other=x1 i=x0", false, "other i main"},
        {"S i=x0", true, "i"},   /* it had begun */
        {"S", true, ""},         /* and is done: the init container's turn */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct val *pod = pod_of(spec);
        struct podstate *s = state_of(pod, cases[i].state);
        struct actions act;
        struct buf b = BUF_INIT;
        actions_compute(&arena, &(struct actions_input){.pod = pod, .state = s, .restarting = cases[i].restarting}, &act);
        for (size_t j = 0; j < act.n_resets; j++)
            buf_printf(&b, "%s" STR_FMT, j ? " " : "", STR_ARG(act.resets[j]->name));
        if (!str_is(buf_str(&b), cases[i].want))
            fail_msg("%s: " STR_FMT ", not %s", cases[i].state, STR_ARG(buf_str(&b)), cases[i].want);
        assert_false(act.n_resets && (act.kill_pod || act.n_starts));
        buf_done(&b);
        podstate_unref(s);
    }
    arena_done(&arena);
}

/* What is cleared away; "@1": in the second sandbox. */
static void spent(void **state)
{
    static const struct {
        const char *state, *want;
    } cases[] = {
        {"S main=r", ""},
        {"S main=c", ""}, /* about to be started */
        {"S main=x1", ""},
        {"S main=r main=x1", ""}, /* its log is still to be read */
        {"S main=r main=x1 main=x1 main=x1", "main-996 main-995"},
        {"S main=r main=c", "main-997"}, /* starting it was interrupted */
        {"S main=r main=c main=x1 main=x1", "main-997 main-995"},
        {"S main=r other=c", ""},
        {"S s main=r main=c@1", "main-996 box1"}, /* and the node went down with it */
        {"S s main=r main=c@1 other=x1@1", "main-996"},
        {"S s main=r main=u@1", ""},
        {"S s main=r", "box1"},
        {"S S main=r", ""},
        {"s main=c", ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct podstate *s = state_of(pod_of(TWO), cases[i].state);
        struct buf b = BUF_INIT;
        for (size_t j = 0; j < s->n_containers; j++)
            if (podstate_is_spent(s, j))
                buf_printf(&b, "%s" STR_FMT, b.n ? " " : "", STR_ARG(s->containers[j].id));
        for (size_t j = 0; j < s->n_sandboxes; j++)
            if (podstate_is_spent_sandbox(s, j))
                buf_printf(&b, "%s" STR_FMT, b.n ? " " : "", STR_ARG(s->sandboxes[j].id));
        if (!str_is(buf_str(&b), cases[i].want))
            fail_msg("%s: " STR_FMT ", not %s", cases[i].state, STR_ARG(buf_str(&b)), cases[i].want);
        buf_done(&b);
        podstate_unref(s);
    }
    arena_done(&arena);
}

/* Nothing was restarted when the kubelet was killed between making a container and starting it. */
static void next_number(void **state)
{
    static const struct {
        enum rt_state state;
        unsigned restarts, want;
    } cases[] = {{RT_CREATED, 0, 0}, {RT_CREATED, 3, 3}, {RT_RUNNING, 0, 1}, {RT_EXITED, 0, 1}, {RT_EXITED, 3, 4}, {RT_UNKNOWN, 1, 2}};
    unsigned n = 77;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct podstate *s = state_of(pod_of(TWO), "S main=r");
        s->containers[0].state = cases[i].state;
        s->containers[0].restarts = cases[i].restarts;
        assert_true(podstate_next_number(s, STR("main"), &n));
        assert_int_equal(n, cases[i].want);
        assert_false(podstate_next_number(s, STR("other"), &n));
        assert_int_equal(n, cases[i].want);
        podstate_unref(s);
    }
    arena_done(&arena);
}

/* "-": it ended without having begun, before this kubelet began; "+": afterwards; "!": the API knows of it. */
static void starts_cut_short(void **state)
{
    static const struct {
        const char *how;
        enum rt_state was, want;
    } cases[] = {{"-", RT_EXITED, RT_CREATED}, {"+", RT_EXITED, RT_EXITED}, {"-!", RT_EXITED, RT_EXITED}, {"-r", RT_EXITED, RT_EXITED},
                 {"-", RT_RUNNING, RT_RUNNING}, {"-", RT_UNKNOWN, RT_UNKNOWN}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct podstate *s = state_of(pod_of(TWO), "S main=x128");
        struct rt_container *c = &s->containers[0];
        c->state = cases[i].was;
        c->started.ns = strchr(cases[i].how, 'r') ? 5 : 0;
        c->created.ns = strchr(cases[i].how, '+') ? 2000 : 1000;
        struct val *status = val_new(&arena, VAL_OBJ), *list = val_sub_list(&arena, status, N_containerStatuses);
        struct val *told = val_sub_obj(&arena, val_sub_obj(&arena, val_add_obj(&arena, list), N_lastState), N_terminated);
        if (strchr(cases[i].how, '!'))
            val_set_str(&arena, told, N_containerID, arena_printf(&arena, "containerd://" STR_FMT, STR_ARG(c->id)));
        podstate_forgive_cut_starts(s, status, (struct wall){1500});
        if (c->state != cases[i].want)
            fail_msg("%s: %d, not %d", cases[i].how, c->state, cases[i].want);
        assert_int_equal(c->exit_code, cases[i].want == RT_CREATED ? 0 : 128);
        podstate_unref(s);
    }
    podstate_forgive_cut_starts(NULL, NULL, (struct wall){1500});
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(actions_table), cmocka_unit_test(a_changed_image_replaces_the_container),
        cmocka_unit_test(backing_off),   cmocka_unit_test(qos_and_sums),
        cmocka_unit_test(oom_scores),    cmocka_unit_test(admission),
        cmocka_unit_test(eviction_order), cmocka_unit_test(eviction_says_why), cmocka_unit_test(who_comes_in_when_it_is_tight), cmocka_unit_test(eviction_over_time),
        cmocka_unit_test(shutdown_order), cmocka_unit_test(own_cpus), cmocka_unit_test(all_over_again),
        cmocka_unit_test(spent), cmocka_unit_test(next_number), cmocka_unit_test(starts_cut_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
