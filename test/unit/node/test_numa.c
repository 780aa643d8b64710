/* SPDX-License-Identifier: Apache-2.0 */
/* CPUs, memory and devices of NUMA nodes: machines of the mind, the hints of each, what becomes of them, and whole Pods. */
#include "testing.h"

#include "client/fake_client.h"
#include "node/align.h"
#include "node/checkpoint.h"
#include "node/kubelet-internal.h"
#include "node/memory.h"
#include "types.h"

#include <stdio.h>
#include <unistd.h>

static struct arena arena;

/* ---- a machine ------------------------------------------------------------------------------------------------- */

/* Two sockets with a node each, of four CPUs on two cores, 8 GiB and eight pages of 2 MiB. */
static const char *const files[][2] = {
    {"/sys/devices/system/node/online", "0-1\n"},
    {"/sys/devices/system/node/node0/cpulist", "0-3\n"},
    {"/sys/devices/system/node/node1/cpulist", "4-7\n"},
    {"/sys/devices/system/node/node0/meminfo", "\nNode 0 MemTotal:        8388608 kB\nNode 0 MemFree: 1 kB\n"},
    {"/sys/devices/system/node/node1/meminfo", "Node 1 MemTotal:        8388608 kB\n"},
    {"/sys/devices/system/node/node0/distance", "10 21\n"},
    {"/sys/devices/system/node/node1/distance", "21 10\n"},
    {"/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "8\n"},
    {"/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages", "8\n"},
    {"/sys/devices/system/cpu/online", "0-7\n"},
};

static int read_file(struct host *h, struct arena *a, const char *path, size_t max, struct str *ret, struct err *e)
{
    int cpu;
    char what[64], more;
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        if (!strcmp(path, files[i][0])) {
            *ret = arena_str(a, str_of(files[i][1]));
            return 0;
        }
    if (sscanf(path, "/sys/devices/system/cpu/cpu%d/topology/%63s", &cpu, what) == 2) {
        *ret = arena_printf(a, "%d\n", !strcmp(what, "core_id") ? cpu / 2 : cpu / 4);
        return 0;
    }
    if (sscanf(path, "/sys/devices/system/cpu/cpu%d/cache/index3/shared_cpu_lis%c", &cpu, &more) == 2) {
        *ret = arena_printf(a, "%d-%d\n", cpu / 2 * 2, cpu / 2 * 2 + 1);
        return 0;
    }
    return err_set(e, -ENOENT, "%s", path);
}

static int list_dir(struct host *h, struct arena *a, const char *path, char ***ret)
{
    static char name[] = "hugepages-2048kB", *sizes[] = {name, NULL};
    *ret = sizes;
    return strcmp(path, "/sys/kernel/mm/hugepages") == 0 ? 0 : -ENOENT;
}

static const struct host_ops ops = {.read_file = read_file, .list_dir = list_dir};
static struct host host = {.ops = &ops};

static void machines(void **state)
{
    struct numa_machine m;
    assert_int_equal(numa_read(&host, &m, NULL), 0);
    assert_int_equal(m.n, 2);
    assert_int_equal(m.nodes[1].id, 1);
    assert_str(cpuset_text(&arena, &m.nodes[1].cpus), "4-7");
    assert_int_equal(m.nodes[0].memory, INT64_C(8) << 30);
    assert_int_equal(m.n_kinds, 2);
    assert_string_equal(m.kinds[1], "hugepages-2Mi");
    assert_int_equal(m.nodes[1].huge[1], 16 << 20);
    assert_int_equal(m.nodes[0].distance[1], 21);
    assert_str(numa_text(&arena, &m, 3), "0-1");
    arena_done(&arena);
}

/* ---- merging ---------------------------------------------------------------------------------------------------- */

/* Nodes in a row: the further apart, the farther. */
static struct numa_machine row(size_t n)
{
    struct numa_machine m = {.n = n};
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            m.nodes[i].distance[j] = 10 + 5 * (int)(i > j ? i - j : j - i);
    return m;
}

/* "1+ 3": of the first node, preferred; of the first two. "-": cannot be had. Lists are separated by a bar. */
static size_t lists_of(const char *text, struct numa_hints *lists)
{
    struct str rest = str_of(text), one, item;
    size_t n = 0;
    while (rest.n && str_next(&rest, '|', &one)) {
        struct numa_hints h = {ARENA_ARRAY(&arena, struct numa_hint, 16), 0};
        one = str_trim(one);
        while (one.n && str_next(&one, ' ', &item))
            if (item.p[0] != '-')
                h.items[h.n++] = (struct numa_hint){(numa_mask)(item.p[0] <= '9' ? item.p[0] - '0' : item.p[0] - 'a' + 10), item.n > 1};
        lists[n++] = h;
    }
    return n;
}

static void merging(void **state)
{
    static const struct {
        const char *policy, *options, *hints;
        size_t nodes;
        numa_mask want;
        bool preferred, admitted;
    } cases[] = {
        {"best-effort", "", "", 2, 3, true, true},                    /* nobody minds */
        {"best-effort", "", "1+ 3", 2, 1, true, true},
        {"best-effort", "", "1+ 2+ 3 | 2+ 3", 2, 2, true, true},       /* where both agree */
        {"best-effort", "", "1+ 3 | 2+ 3", 2, 1, false, true},        /* they cannot: the narrowest of what they share */
        {"restricted", "", "1+ 3 | 2+ 3", 2, 1, false, false},
        {"restricted", "", "3+", 2, 3, true, true},                   /* it takes two, and two it gets */
        {"single-numa-node", "", "3+", 2, 0, false, false},
        {"single-numa-node", "", "1+ 2+ 3", 2, 1, true, true},
        {"single-numa-node", "", "", 2, 0, true, true},
        {"restricted", "", "1+ 2+ | -", 2, 1, false, false},           /* one cannot be had at all */
        {"best-effort", "", "1+ 2+ | -", 2, 1, false, true},
        {"best-effort", "", "1 2 | 3", 2, 1, false, true},
        {"best-effort", "", "3 6 c 9 | 3 6 c 9", 4, 3, false, true},  /* as many nodes as are needed, not fewer */
        {"best-effort", "", "9+ c+", 4, 9, true, true},
        {"best-effort", "prefer-closest-numa-nodes=true", "9+ c+", 4, 12, true, true},
        {"restricted", "prefer-closest-numa-nodes=true", "5+ 6+ a+ | 5+ 6+ a+ f", 4, 6, true, true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct numa_machine m = row(cases[i].nodes);
        struct topology_options o;
        struct numa_hints lists[4];
        struct numa_hint got;
        assert_int_equal(topology_parse(cases[i].policy, "container", cases[i].options, &o, NULL), 0);
        bool admitted = topology_merge(&m, &o, lists, lists_of(cases[i].hints, lists), &got);
        if (admitted != cases[i].admitted || got.nodes != cases[i].want || got.preferred != cases[i].preferred)
            fail_msg("case %zu (%s): %u %d %d", i, cases[i].hints, got.nodes, got.preferred, admitted);
    }
    arena_done(&arena);
}

/* Eight nodes and six resources that could come from any of their 255 sets: two hundred million million combinations. */
static void many_hints(void **state)
{
    struct numa_machine m = row(8);
    struct topology_options o = {.policy = TOPOLOGY_RESTRICTED};
    struct numa_hints lists[6];
    struct numa_hint got;
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        lists[i] = numa_hints_new(&arena, &m);
        for (numa_mask set = 1; set <= numa_all(&m); set++)
            numa_hints_add(&lists[i], set);
        numa_hints_prefer(&lists[i], i == 5 ? 2 : 1);
    }
    assert_false(topology_merge(&m, &o, lists, 6, &got)); /* one of them prefers two nodes, the others one */
    assert_int_equal(got.nodes, 1);
    assert_true(topology_merge(&m, &o, lists, 5, &got));
    arena_done(&arena);
}

static void settings(void **state)
{
    static const struct {
        const char *policy, *scope, *options, *why;
    } cases[] = {{"odd", "", "", "unknown policy: \"odd\""},
                 {"restricted", "node", "", "unknown scope: \"node\""},
                 {"restricted", "pod", "x=true", "unknown Topology Manager Policy option: \"x\""},
                 {"restricted", "pod", "prefer-closest-numa-nodes=yes", "bad value for option \"prefer-closest-numa-nodes\": \"yes\""},
                 {"restricted", "pod", "max-allowable-numa-nodes=4", "the minimum value of \"max-allowable-numa-nodes\" should not be less than 8"}};
    struct topology_options o;
    struct err e;
    unsigned options;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(topology_parse(cases[i].policy, cases[i].scope, cases[i].options, &o, &e), -EINVAL);
        assert_string_equal(e.text, cases[i].why);
    }
    assert_int_equal(cpus_options_parse("full-pcpus-only=true,strict-cpu-reservation=true", &options, &e), 0);
    assert_int_equal(options, CPUS_FULL_CORES | CPUS_STRICT);
    assert_int_equal(cpus_options_parse("full-pcpus-only=true,full-pcpus-only=false", &options, &e), 0);
    assert_int_equal(options, 0);
    static const char *const bad[] = {"odd=true", "full-pcpus-only", "full-pcpus-only=1",
                                      "distribute-cpus-across-numa=true,prefer-align-cpus-by-uncorecache=true"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(cpus_options_parse(bad[i], &options, &e), -EINVAL);
}

/* ---- CPUs ---------------------------------------------------------------------------------------------------------- */

/* Sockets of two nodes of four CPUs: two cores of two threads; a cache for each core. */
static struct cpu_topology sixteen(void)
{
    static struct cpu_place places[16];
    for (int i = 0; i < 16; i++)
        places[i] = (struct cpu_place){i, i / 8 * CPUS_MAX + i / 2, i / 8, i / 4, i / 2 * 2};
    return (struct cpu_topology){places, 16};
}

static void taking_cpus(void **state)
{
    static const struct {
        const char *free_;
        size_t n;
        numa_mask near;
        unsigned options;
        const char *want;
    } cases[] = {
        {"0-15", 4, 0, 0, "0-3"},
        {"1-15", 4, 0, 0, "4-7"},                         /* a whole node */
        {"0-15", 8, 0, 0, "0-7"},                         /* a whole socket */
        {"0-15", 2, 4, 0, "8-9"},
        {"0-15", 6, 4, 0, "8-11,0-1"},                     /* what the node has not comes from elsewhere */
        {"0-7,12-15", 6, 4, CPUS_BY_SOCKET, "0-1,12-15"}, /* but of its socket */
        {"0-15", 4, 0, CPUS_SPREAD, "0-3"},               /* one node is enough */
        {"0-15", 8, 0, CPUS_SPREAD, "0-7"},
        {"0-1,4-15", 6, 0, CPUS_SPREAD, NULL},
        {"0-15", 6, 0, CPUS_SPREAD, NULL},
        {"0,2-3,5,6", 2, 0, CPUS_BY_CACHE, "2-3"},
        {"0,2,3,5,6", 1, 0, CPUS_BY_CACHE, NULL},
        {"0-1", 3, 0, 0, ""},
    };
    struct cpu_topology t = sixteen();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cpuset free_, got = {{0}}, want = {{0}}, outside;
        assert_int_equal(cpuset_parse(str_of(cases[i].free_), &free_), 0);
        bool enough = cpus_take_near(&t, &free_, cases[i].n, cases[i].near, cases[i].options, &got);
        if (cases[i].want && !*cases[i].want) {
            assert_false(enough);
            continue;
        }
        outside = cpuset_without(&got, &free_);
        assert_true(enough && cpuset_count(&got) == cases[i].n && cpuset_count(&outside) == 0);
        if (cases[i].want && (cpuset_parse(str_of(cases[i].want), &want) < 0 || !cpuset_equal(&want, &got)))
            fail_msg("case %zu: %s", i, cpuset_text(&arena, &got).p);
    }
    /* spread: as many of each node as of the other */
    struct cpuset free_, got = {{0}}, node;
    cpuset_parse(STR("0-15"), &free_);
    assert_true(cpus_take(&t, &free_, 6, CPUS_SPREAD, &got));
    size_t most = 0;
    for (int n = 0; n < 4; n++) {
        node = (struct cpuset){{UINT64_C(15) << (4 * n)}};
        node = cpuset_both(&node, &got);
        most = MAX(most, cpuset_count(&node));
    }
    assert_int_equal(most, 3);
    assert_true(cpus_take(&t, &free_, 12, CPUS_SPREAD | CPUS_FULL_CORES, &got));
    /* two nodes of one socket, if that is asked for, although two others would leave things more even */
    struct cpuset first;
    cpuset_parse(STR("0-7"), &first);
    cpuset_parse(STR("0-6,8-14"), &free_);
    for (unsigned by_socket = 0; by_socket < 2; by_socket++) {
        assert_true(cpus_take(&t, &free_, 6, CPUS_SPREAD | (by_socket ? CPUS_BY_SOCKET : 0), &got));
        got = cpuset_without(&got, &first);
        assert_int_equal(cpuset_count(&got), by_socket ? 0 : 3);
    }
    /* nodes whose first has memory alone */
    for (size_t i = 0; i < t.n; i++)
        t.cpus[i].numa++;
    cpuset_parse(STR("0-15"), &free_);
    assert_true(cpus_take(&t, &free_, 16, CPUS_SPREAD, &got));
    cpuset_parse(STR("12-15"), &free_);
    assert_true(cpus_take(&t, &free_, 4, CPUS_SPREAD, &got));
    assert_str(cpuset_text(&arena, &got), "12-15");
    arena_done(&arena);
}

static struct str hints_text(const struct numa_hints *h)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (size_t i = 0; i < h->n; i++)
        buf_printf(&b, "%s%x%s", i ? " " : "", h->items[i].nodes, h->items[i].preferred ? "+" : "");
    return arena_str(&arena, buf_str(&b));
}

static void hints_of_cpus(void **state)
{
    static const struct {
        const char *free_, *again;
        size_t n;
        unsigned options;
        const char *want;
    } cases[] = {
        {"0-15", "", 2, 0, "1+ 2+ 3 4+ 5 6 7 8+ 9 a b c d e f"},
        {"0-15", "", 14, 0, "f+"},
        {"0,8-15", "", 4, 0, "4+ 5 6 7 8+ 9 a b c d e f"},
        {"0,4,8,12", "", 2, 0, "3 5 6 7 9 a b c d e f"}, /* one node could hold it, none does now */
        {"0-15", "4-5", 2, 0, "2+ 3 6 7 a b e f"},       /* what its init containers had comes along */
        {"0-15", "", 6, CPUS_BY_SOCKET, "3+ 5 6 7 9 a b c+ d e f"},
        {"0-3", "", 5, 0, ""},
    };
    struct cpu_topology t = sixteen();
    struct numa_machine m = row(4);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cpuset free_, again;
        cpuset_parse(str_of(cases[i].free_), &free_);
        cpuset_parse(str_of(cases[i].again), &again);
        struct numa_hints h = cpus_hints(&arena, &m, &t, &free_, &again, cases[i].n, cases[i].options);
        if (!str_is(hints_text(&h), cases[i].want))
            fail_msg("case %zu: %s", i, hints_text(&h).p);
    }
    arena_done(&arena);
}

/* ---- memory -------------------------------------------------------------------------------------------------------- */

#define GiB ((int64_t)1 << 30)

/* Nodes of 8 GiB, one of which is set aside. */
static struct memory_state state_of(struct numa_machine *m, size_t n)
{
    static const struct memory_amount reserved[NUMA_MOST] = {{{GiB}}, {{GiB}}, {{GiB}}, {{GiB}}};
    *m = row(n);
    m->n_kinds = 1;
    for (size_t i = 0; i < n; i++)
        m->nodes[i].memory = 8 * GiB;
    return memory_state_new(m, reserved);
}

static void memory_of_nodes(void **state)
{
    static const struct {
        struct {
            const char *uid;
            int64_t gib;
            numa_mask nodes;
            bool reusable;
        } held[3];
        int64_t gib;
        struct numa_hint hint;
        numa_mask want; /* 0: refused */
        const char *hints;
    } cases[] = {
        {{{0}}, 4, {0}, 1, "1+ 2+ 3"},
        {{{0}}, 7, {2, true}, 2, "1+ 2+ 3"},
        {{{0}}, 10, {0}, 3, "3+"},
        {{{0}}, 15, {0}, 0, ""},
        {{{"u", 4, 1, false}}, 4, {0}, 2, "2+"},   /* both together would mix with what is one's own */
        {{{"u", 10, 3, false}}, 2, {0}, 3, "3"},   /* a group gives to groups only */
        {{{"u", 4, 1, false}, {"v", 4, 2, false}}, 4, {0}, 0, ""},
        {{{"u", 4, 1, false}}, 4, {1, true}, 0, "2+"},
        {{{"me", 6, 1, true}}, 6, {1, true}, 1, "1+ 2+"}, /* an init container's, again */
        {{{"me", 6, 1, true}, {"me", 4, 1, false}}, 3, {1, true}, 1, "1+ 2+"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct numa_machine m;
        struct memory_state empty = state_of(&m, 2);
        struct memory_grant items[3];
        struct memory_grants g = {items, 0, 0};
        for (; g.n < 3 && cases[i].held[g.n].uid; g.n++)
            items[g.n] = (struct memory_grant){arena_cstr(&arena, str_of(cases[i].held[g.n].uid)), NULL, {{cases[i].held[g.n].gib * GiB}},
                                               cases[i].held[g.n].nodes, cases[i].held[g.n].reusable};
        struct memory_state s = memory_state_with(&empty, &g);
        struct memory_amount want = {{cases[i].gib * GiB}};
        struct numa_hints h = memory_hints(&arena, &s, &want, &g, "me");
        numa_mask nodes = 0;
        struct err e;
        int r = memory_choose(&s, &want, &g, "me", cases[i].hint, &nodes, &e);
        if (!str_is(hints_text(&h), cases[i].hints) || (r == 0) != (cases[i].want != 0) || nodes != cases[i].want)
            fail_msg("case %zu: %s, %d %u", i, hints_text(&h).p, r, nodes);
    }
    arena_done(&arena);
}

static void memory_set_aside(void **state)
{
    static const struct {
        const char *text;
        const char *why; /* NULL: good */
    } cases[] = {{"0:memory=1Gi,1:memory=1Gi", NULL},
                 {"0:memory=2Gi", NULL},
                 {"1:memory=1Gi,hugepages-2Mi=2Mi,0:memory=1Gi", "the total amount \"2Mi\" of type \"hugepages-2Mi\" is not equal to the value \"0\" determined by Node Allocatable feature"},
                 {"0:memory=1Gi", "the total amount \"1Gi\" of type \"memory\" is not equal to the value \"2Gi\" determined by Node Allocatable feature"},
                 {"7:memory=2Gi", "the reserved memory configuration references a NUMA node 7 that does not exist on this machine"},
                 {"memory=2Gi", "invalid reserved memory \"memory=2Gi\": expected memory or hugepages-<size> with a quantity"},
                 {"0:cpu=2", "invalid reserved memory \"0:cpu=2\": expected memory or hugepages-<size> with a quantity"},
                 {"x:memory=2Gi", "invalid reserved memory \"x:memory=2Gi\": expected node:resource=quantity"}};
    struct numa_machine m;
    struct memory_amount node = {{2 * GiB}}, none = {{0}};
    struct err e;
    assert_int_equal(numa_read(&host, &m, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct memory_amount got[NUMA_MOST] = {0};
        int r = memory_reserved_parse(&m, cases[i].text, &node, got, &e);
        if ((r == 0) != !cases[i].why || (cases[i].why && strcmp(e.text, cases[i].why) != 0))
            fail_msg("%s: %d %s", cases[i].text, r, e.text);
    }
    struct memory_amount got[NUMA_MOST] = {0};
    assert_int_equal(memory_reserved_parse(&m, "", &none, got, &e), -EINVAL);
    assert_string_equal(e.text, "[memorymanager] you should specify the system reserved memory");
}

/* ---- files --------------------------------------------------------------------------------------------------------- */

static void checkpoints(void **state)
{
    struct val *data = val_new(&arena, VAL_MAP);
    val_put_str(&arena, data, STR("policyName"), STR("static"));
    struct str text = checkpoint_text(&arena, data);
    assert_str(text, "{\"checksum\":0,\"data\":\"{\\\"policyName\\\":\\\"static\\\"}\",\"dataChecksum\":1132569682,\"policyName\":\"static\"}");
    assert_true(val_equal(checkpoint_parse(&arena, text), data));
    char *damaged = arena_cstr(&arena, text);
    *strstr(damaged, "static") = 'S';
    assert_null(checkpoint_parse(&arena, str_of(damaged)));
    assert_null(checkpoint_parse(&arena, STR("nothing")));
    arena_done(&arena);
}

/* ---- whole Pods ---------------------------------------------------------------------------------------------------- */

static struct kubelet *start(const char *policy, const char *scope)
{
    struct kubelet *k = NEW(struct kubelet);
    struct err e = {{0}};
    k->host = &host;
    k->facts.cpus = 8;
    k->facts.memory = 16 * GiB;
    k->cfg = (struct kubelet_config){.root_dir = "/nowhere", .cpu_policy = "static", .reserved_cpus = "0,4", .memory_policy = "Static",
                                     .reserved_memory = "0:memory=1Gi,1:memory=1Gi"};
    static const char *const reserved[] = {"memory=2Gi", NULL}, *const none[] = {NULL};
    k->cfg.kube_reserved = reserved;
    k->cfg.system_reserved = none;
    k->cfg.eviction_hard = none;
    k->machine = NEW(struct numa_machine);
    assert_int_equal(numa_read(&host, k->machine, &e), 0);
    assert_int_equal(topology_parse(policy, scope, "", &k->topology, &e), 0);
    if (cpus_start(k, &e) < 0 || memory_start(k, &e) < 0)
        fail_msg("%s", e.text);
    return k;
}

static void stop(struct kubelet *k)
{
    MAP_EACH (&k->workers, m)
        worker_free(m->value);
    map_done(&k->workers);
    cpus_stop(k);
    memory_stop(k);
    MAP_EACH (&k->devices.resources, m)
        free(m->value);
    map_done(&k->devices.resources);
    free(k->devices.grants);
    free(k->machine);
    arena_done(&k->arena);
    free(k);
    arena_done(&arena);
}

/* "4 2Gi[ 1]": CPUs, memory and things of its one container; containers are separated by a comma. */
static struct worker *pod_of(struct kubelet *k, const char *name, const char *containers)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct str rest = str_of(containers), one;
    for (int i = 0; str_next(&rest, ',', &one); i++) {
        char cpu[8], memory[16], things[8] = "";
        assert_true(sscanf(arena_cstr(&arena, one), "%7s %15s %7s", cpu, memory, things) >= 2);
        struct str list = arena_printf(&arena, "cpu: '%s', memory: %s%s%s%s", cpu, memory, *things ? ", 'x.io/thing': '" : "", things, *things ? "'" : "");
        buf_printf(&b, "%s{name: c%d, resources: {limits: {" STR_FMT "}, requests: {" STR_FMT "}}}", i ? ", " : "", i, STR_ARG(list), STR_ARG(list));
    }
    struct object *pod = object_new(&resources[RES_PODS],
                                    val_relaxed(&arena, type_at(T_core_v1_Pod),
                                                arena_printf(&arena, "{metadata: {namespace: n, name: %s, uid: u-%s}, spec: {containers: [%s]}}", name, name,
                                                             buf_str(&b).p).p));
    struct worker *w = worker_new(k, pod->uid, pod->namespace_, pod->name);
    w->pod = pod;
    w->started = true;
    return w;
}

static const char *admitted(struct worker *w)
{
    struct str message = STR("");
    const char *why = align_admit(w->k, w, w->pod->val, &arena, &message);
    if (why)
        w->fail_reason = "not admitted"; /* what it was to have is nobody's */
    return why ? arena_printf(&arena, "%s: " STR_FMT, why, STR_ARG(message)).p : "";
}

/* "cpus@memory" of a container. */
static struct str given(struct worker *w, const char *container)
{
    struct cpuset s = {{0}};
    cpus_of(w->k, w->uid, str_of(container), &s);
    return arena_printf(&arena, STR_FMT "@" STR_FMT, STR_ARG(cpuset_text(&arena, &s)), STR_ARG(memory_nodes_of(w->k, w->uid, str_of(container), &arena)));
}

#define TOPOLOGY "TopologyAffinityError: Resources cannot be allocated with Topology locality"

static void one_node_or_none(void **state)
{
    struct kubelet *k = start("single-numa-node", "container");
    struct worker *a = pod_of(k, "a", "2 6Gi"), *b = pod_of(k, "b", "2 2Gi"), *c = pod_of(k, "c", "1 6Gi"), *d = pod_of(k, "d", "4 1Gi");
    assert_string_equal(admitted(a), "");
    assert_str(given(a, "c0"), "2-3@0"); /* 0 is reserved */
    assert_string_equal(admitted(b), "");
    assert_str(given(b, "c0"), "6-7@1"); /* memory is on the other node */
    assert_string_equal(admitted(c), TOPOLOGY); /* nowhere is as much left */
    assert_string_equal(admitted(d), TOPOLOGY); /* of four CPUs one is reserved on either node */
    cpus_release(a);
    memory_release(a);
    struct worker *again = pod_of(k, "again", "1 6Gi");
    assert_string_equal(admitted(again), "");
    assert_str(given(again, "c0"), "1@0");
    /* what upstream's files would say */
    const struct val *cpus = cpus_checkpoint(k, &arena), *memory = memory_checkpoint(k, &arena);
    assert_str(val_str(val_key(cpus, STR("defaultCpuSet"))), "0,2-5");
    assert_str(val_str(val_key(val_key(val_key(cpus, STR("entries")), STR("u-b")), STR("c0"))), "6-7");
    const struct val *block = val_item(val_key(val_key(val_key(memory, STR("entries")), STR("u-b")), STR("c0")), 0);
    assert_int_equal(val_int(val_key(block, STR("size")), 0), 2 * GiB);
    const struct val *node = val_key(val_key(memory, STR("machineState")), STR("1"));
    assert_int_equal(val_int(val_key(node, STR("numberOfAssignments")), 0), 1);
    assert_int_equal(val_int(val_key(val_key(val_key(node, STR("memoryMap")), STR("memory")), STR("free")), 0), 8 * GiB - GiB - (16 << 20) - 2 * GiB);
    /* monitoring agents */
    struct val *list = val_new(&arena, VAL_LIST);
    memory_report(k, &arena, "u-b", STR("c0"), list);
    assert_int_equal(val_len(list), 1);
    assert_int_equal(val_int(val_get(val_item(val_at(val_item(list, 0), N_topology, N_nodes), 0), N_ID), -1), 1);
    stop(k);
}

static void scopes(void **state)
{
    struct kubelet *k = start("restricted", "container");
    assert_string_equal(admitted(pod_of(k, "a", "2 1Gi,2 1Gi")), ""); /* each on a node of its own */
    stop(k);
    k = start("single-numa-node", "pod");
    struct worker *apart = pod_of(k, "a", "2 1Gi,2 1Gi"), *together = pod_of(k, "b", "1 1Gi,2 1Gi");
    assert_string_equal(admitted(apart), TOPOLOGY); /* together they are too many for a node */
    assert_string_equal(admitted(together), "");
    struct cpuset first, second;
    assert_true(cpus_of(k, "u-b", STR("c0"), &first) && cpus_of(k, "u-b", STR("c1"), &second));
    first = cpuset_with(&first, &second);
    assert_str(cpuset_text(&arena, &first), "1-3");
    stop(k);
    k = start("best-effort", "container");
    assert_string_equal(admitted(pod_of(k, "a", "5 1Gi")), ""); /* more than a node has */
    stop(k);
    k = start("none", "container");
    assert_string_equal(admitted(pod_of(k, "a", "1 13Gi")), "");
    struct worker *late = pod_of(k, "b", "1 2Gi");
    assert_string_equal(admitted(late), "UnexpectedAdmissionError: Allocate failed due to [memorymanager] failed to get the default NUMA affinity, no NUMA "
                                        "nodes with enough memory is available, which is unexpected");
    stop(k);
}

/* Things on the second node bring CPUs and memory there. */
static void devices_lead(void **state)
{
    struct kubelet *k = start("single-numa-node", "container");
    static char ids[][2] = {"a", "b", "c"}, name[] = "x.io/thing";
    static struct device things[] = {{ids[0], true, 1}, {ids[1], true, 1}, {ids[2], true, 0}};
    struct device_resource *r = NEW(struct device_resource);
    *r = (struct device_resource){.name = name, .client = (struct grpc_client *)(uintptr_t)1, .devices = things, .n = 3, .k = k};
    map_put(&k->devices.resources, STR("x.io/thing"), r);
    struct worker *two = pod_of(k, "two", "1 1Gi 2"), *three = pod_of(k, "three", "1 1Gi 3");
    assert_string_equal(admitted(three), TOPOLOGY);
    assert_string_equal(admitted(two), "");
    assert_str(given(two, "c0"), "5@1");
    assert_int_equal(k->devices.n, 1);
    assert_string_equal(k->devices.grants[0].ids[0], "a");
    devices_release(two);
    stop(k);
}

static void whole_cores(void **state)
{
    struct kubelet *k = start("none", "container");
    cpus_stop(k);
    k->cfg.cpu_options = "full-pcpus-only=true,strict-cpu-reservation=true";
    struct err e;
    assert_int_equal(cpus_start(k, &e), 0);
    assert_string_equal(admitted(pod_of(k, "odd", "3 1Gi")), "SMTAlignmentError: SMT Alignment Error: requested 3 cpus not multiple cpus per core = 2");
    /* 1 and 5 are nobody's, though nobody has them. */
    assert_string_equal(admitted(pod_of(k, "six", "6 1Gi")),
                        "SMTAlignmentError: SMT Alignment Error: not enough free physical CPUs: available physical CPUs = 4, requested CPUs = 6, CPUs per core = 2");
    struct worker *w = pod_of(k, "even", "2 1Gi");
    assert_string_equal(admitted(w), "");
    assert_string_equal(admitted(pod_of(k, "four", "4 1Gi")),
                        "SMTAlignmentError: SMT Alignment Error: not enough free physical CPUs: available physical CPUs = 2, requested CPUs = 4, CPUs per core = 2");
    struct str cpus;
    assert_int_equal(cpus_prepare(w, w->pod->val, pod_find_container(w->pod->val, STR("c0"), NULL), &arena, &cpus, &e), 0);
    assert_str(cpus, "2-3"); /* 0 is reserved, so that 1 is nobody's */
    assert_str(val_str(val_key(cpus_checkpoint(k, &arena), STR("defaultCpuSet"))), "1,5-7"); /* reserved ones are for nobody */
    stop(k);
}

/* ---- the files ---------------------------------------------------------------------------------------------------- */

static int waited;

static void wait_fiber(void *arg)
{
    assert_int_equal(checkpoint_wait(arg), 0);
    waited++;
}

/* A container waits until the file says what it has; one whose file cannot be written does not wait for ever. */
FIBER_TEST(file_before_container)
{
    struct kubelet *k = start("none", "container");
    char dir[] = "/tmp/cube-numa-XXXXXX";
    struct group writer = {0}, waiters = {0};
    struct str text;
    assert_non_null(mkdtemp(dir));
    for (int writable = 1; writable >= 0; writable--) {
        k->cfg.root_dir = writable ? dir : "/nowhere";
        waited = 0;
        struct worker *w = pod_of(k, writable ? "a" : "b", "1 1Gi");
        assert_string_equal(admitted(w), "");
        group_spawn(&waiters, "wait", wait_fiber, k);
        for (int i = 0; i < 5; i++)
            fiber_yield();
        assert_int_equal(waited, 0);
        group_spawn(&writer, "checkpoints", checkpoints_run, k);
        group_wait(&waiters, MONO_NEVER);
        assert_int_equal(waited, 1);
        assert_int_equal(os_read_file(&arena, arena_printf(&arena, "%s/" CHECKPOINT_MEMORY, k->cfg.root_dir).p, 1 << 20, &text), writable ? 0 : -ENOENT);
        assert_true(!writable || str_contains(text, STR("u-a")));
        assert_int_equal(checkpoint_wait(k), 0); /* nothing new */
        group_stop(&writer);
    }
    unlink(arena_printf(&arena, "%s/" CHECKPOINT_MEMORY, dir).p);
    unlink(arena_printf(&arena, "%s/" CHECKPOINT_CPUS, dir).p);
    rmdir(dir);
    stop(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(machines),      cmocka_unit_test(merging),         cmocka_unit_test(many_hints),       cmocka_unit_test(settings),
        cmocka_unit_test(taking_cpus),   cmocka_unit_test(hints_of_cpus),   cmocka_unit_test(memory_of_nodes),  cmocka_unit_test(memory_set_aside),
        cmocka_unit_test(checkpoints),   cmocka_unit_test(one_node_or_none), cmocka_unit_test(scopes),          cmocka_unit_test(devices_lead),
        cmocka_unit_test(whole_cores),   cmocka_unit_test(file_before_container),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
