/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes, nominated pods and profiles in decisions: a cluster in a few lines, a pod, and where it goes or
 * why not. */
#include "scheduler/volumes.h"

#include <stdio.h>

#include "client/fake_client.h"
#include "client/replica.h"
#include "scheduler/preempt.h"
#include "testing.h"
#include "type/meta.h"
#include "types.h"

static const uint16_t kinds[] = {
    RES_PERSISTENTVOLUMECLAIMS, RES_PERSISTENTVOLUMES, RES_STORAGECLASSES, RES_CSINODES, RES_CSIDRIVERS,
    RES_CSISTORAGECAPACITIES,   RES_VOLUMEATTACHMENTS};

struct setup {
    struct table table;
    struct world world;
    struct snapshot_slot slots[ARRAY_SIZE(kinds)];
    struct snapshot objects;
    struct volume_promises promises;
    struct arena arena;
};

static void setup_init(struct setup *s)
{
    *s = (struct setup){0};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        s->slots[i].res = &resources[kinds[i]];
    s->objects = (struct snapshot){s->slots, ARRAY_SIZE(kinds)};
    s->world = (struct world){.table = &s->table, .objects = &s->objects, .promises = &s->promises};
}

static void setup_done(struct setup *s)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        tree_unref(s->slots[i].tree);
    volume_promises_done(&s->promises);
    table_done(&s->table);
    arena_done(&s->arena);
}

static void add(struct setup *s, uint16_t res, const char *text)
{
    struct object *o CLEANUP_OBJECT = object_relaxed(res, text);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (kinds[i] == res)
            s->slots[i].tree = tree_put(s->slots[i].tree, obj_key(&s->arena, o->namespace_, o->name), o);
}

static void addf(struct setup *s, uint16_t res, const char *fmt, ...) PRINTF(3, 4);
static void addf(struct setup *s, uint16_t res, const char *fmt, ...)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    add(s, res, b.p);
}

static void add_node(struct setup *s, const char *name, const char *labels)
{
    struct object *o CLEANUP_OBJECT = object_relaxed(
        RES_NODES,
        arena_printf(
            &s->arena,
            "{metadata: {name: %s, uid: %s, labels: {kubernetes.io/hostname: %s, %s}}, status: {allocatable: "
            "{cpu: '2', memory: 4Gi, pods: '10'}}}",
            name, name, name, labels)
            .p);
    table_node(&s->table, NULL, o);
}

static struct needs *pod(struct setup *s, const char *name, const char *spec)
{
    struct object *o CLEANUP_OBJECT = object_relaxed(
        RES_PODS,
        arena_printf(&s->arena, "{metadata: {name: %s, namespace: x, uid: %s}, spec: {%s}}", name, name, spec)
            .p);
    return needs_new(&s->table, o);
}

static void place(struct setup *s, const char *name, const char *spec, const char *node)
{
    table_place(&s->table, pod(s, name, spec), str_of(node));
}

static const char *where(struct setup *s, const char *spec)
{
    struct decision d;
    struct needs *n = pod(s, "new", spec);
    decide(&s->world, n, 1, &d);
    const char *r = d.node >= 0 ? arena_cstr(&s->arena, s->table.nodes[d.node].object->name)
                                : decision_message(&s->arena, &d, s->table.n_present).p;
    needs_free(n);
    return r;
}

/* "claim=volume claim=*": what has to be done for the node. */
static const char *plan(struct setup *s, const char *spec, const char *node, bool promise)
{
    struct volume_plan p;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct needs *n = pod(s, "new", spec);
    volumes_plan_for(&s->world, n, table_find(&s->table, str_of(node)), &s->arena, &p);
    buf_puts(&b, "");
    for (size_t i = 0; i < p.n; i++)
        buf_printf(&b, "%s" STR_FMT "=" STR_FMT, i ? " " : "", STR_ARG(p.list[i].claim->name),
                   STR_ARG(p.list[i].volume ? p.list[i].volume->name : STR("*")));
    if (promise)
        volume_promise(&s->promises, &p, str_of(node));
    needs_free(n);
    return arena_cstr(&s->arena, buf_str(&b));
}

#define CLAIM(c) "volumes: [{name: v, persistentVolumeClaim: {claimName: " c "}}]"
#define TWO_CLAIMS(c, d)                                                                                     \
    "volumes: [{name: v, persistentVolumeClaim: {claimName: " c                                              \
    "}}, {name: w, persistentVolumeClaim: {claimName: " d "}}]"

static void add_claim(struct setup *s, const char *name, const char *size, const char *spec, const char *meta)
{
    addf(s, RES_PERSISTENTVOLUMECLAIMS,
         "{metadata: {namespace: x, name: %s, uid: uid-%s, %s}, spec: {accessModes: [ReadWriteOnce], "
         "resources: {requests: "
         "{storage: %s}}, %s}, status: {phase: Pending}}",
         name, name, meta, size, spec);
}

#define IS_BOUND "annotations: {pv.kubernetes.io/bind-completed: 'yes'}"
#define ON(key, value)                                                                                       \
    "nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: " key                           \
    ", operator: In, values: [" value "]}]}]}},"

static void add_volume(struct setup *s, const char *name, const char *size, const char *spec,
                       const char *meta)
{
    addf(s, RES_PERSISTENTVOLUMES,
         "{metadata: {name: %s, uid: uid-%s, %s}, spec: {capacity: {storage: %s}, accessModes: "
         "[ReadWriteOnce], %s}, status: "
         "{phase: Available}}",
         name, name, meta, size, spec);
}

static void add_classes(struct setup *s)
{
    add(s, RES_STORAGECLASSES, "{metadata: {name: now}, provisioner: p, volumeBindingMode: Immediate}");
    add(s, RES_STORAGECLASSES,
        "{metadata: {name: static}, provisioner: kubernetes.io/no-provisioner, volumeBindingMode: "
        "WaitForFirstConsumer}");
    add(s, RES_STORAGECLASSES,
        "{metadata: {name: later}, provisioner: p.example.com, volumeBindingMode: WaitForFirstConsumer, "
        "allowedTopologies: [{matchLabelExpressions: [{key: zone, values: [z1]}]}]}");
    add(s, RES_STORAGECLASSES,
        "{metadata: {name: anywhere}, provisioner: p.example.com, volumeBindingMode: "
        "WaitForFirstConsumer}");
}

/* ---- the whole pod ------------------------------------------------------------------------------------ */

static void claims_that_let_a_pod_go_nowhere(void **state)
{
    struct setup s;
    setup_init(&s);
    add_node(&s, "a", "");
    add_classes(&s);
    assert_string_equal(where(&s, CLAIM("c")),
                        "0/1 nodes are available: persistentvolumeclaim \"c\" not found.");
    add_claim(&s, "c", "1Gi", "storageClassName: now", "");
    assert_string_equal(where(&s, CLAIM("c")),
                        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.");
    add_claim(&s, "c", "1Gi", "storageClassName: anywhere, volumeName: v", "");
    assert_string_equal(where(&s, CLAIM("c")),
                        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.");
    add_claim(&s, "c", "1Gi", "storageClassName: now, volumeName: v", IS_BOUND);
    assert_string_equal(where(&s, CLAIM("c")), "0/1 nodes are available: persistentvolume \"v\" not found.");
    add_volume(&s, "v", "1Gi", "", "");
    assert_string_equal(where(&s, CLAIM("c")), "a");
    add_claim(&s, "c", "1Gi", "volumeName: v", "deletionTimestamp: '2026-01-01T00:00:00Z', " IS_BOUND);
    assert_string_equal(where(&s, CLAIM("c")),
                        "0/1 nodes are available: persistentvolumeclaim \"c\" is being deleted.");
    add(&s, RES_PERSISTENTVOLUMECLAIMS,
        "{metadata: {namespace: x, name: c}, spec: {volumeName: v}, status: {phase: Lost}}");
    assert_string_equal(
        where(&s, CLAIM("c")),
        "0/1 nodes are available: persistentvolumeclaim \"c\" bound to non-existent persistentvolume \"v\".");
    setup_done(&s);
}

static void ephemeral_claims_are_the_pods_own(void **state)
{
    struct setup s;
    setup_init(&s);
    add_node(&s, "a", "");
    add_volume(&s, "v", "1Gi", "", "");
    const char *spec = "volumes: [{name: s, ephemeral: {volumeClaimTemplate: {}}}]";
    assert_string_equal(where(&s, spec),
                        "0/1 nodes are available: waiting for ephemeral volume controller to create the "
                        "persistentvolumeclaim \"new-s\".");
    add_claim(&s, "new-s", "1Gi", "volumeName: v", IS_BOUND);
    assert_string_equal(
        where(&s, spec),
        "0/1 nodes are available: PVC x/new-s was not created for pod x/new (pod is not owner).");
    add_claim(&s, "new-s", "1Gi", "volumeName: v",
              IS_BOUND
              ", ownerReferences: [{apiVersion: v1, kind: Pod, name: new, uid: new, controller: true}]");
    assert_string_equal(where(&s, spec), "a");
    setup_done(&s);
}

/* ---- binding ------------------------------------------------------------------------------------------ */

static void a_pod_goes_where_its_volume_is(void **state)
{
    struct setup s;
    setup_init(&s);
    add_node(&s, "a", "");
    add_node(&s, "b", "");
    add_claim(&s, "c", "1Gi", "volumeName: v", IS_BOUND);
    add_volume(&s, "v", "1Gi", ON("kubernetes.io/hostname", "b"), "");
    assert_string_equal(where(&s, CLAIM("c")), "b");
    assert_string_equal(where(&s, CLAIM("c") ", nodeSelector: {kubernetes.io/hostname: a}"),
                        "0/2 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity, 1 "
                        "node(s) didn't match "
                        "Pod's node affinity/selector.");
    setup_done(&s);
}

static void the_first_consumer_chooses_among_volumes(void **state)
{
    struct setup s;
    setup_init(&s);
    add_node(&s, "a", "");
    add_node(&s, "b", "");
    add_classes(&s);
    add_volume(&s, "a-large", "9Gi", "storageClassName: static," ON("kubernetes.io/hostname", "a"), "");
    add_volume(&s, "b-large", "9Gi", "storageClassName: static," ON("kubernetes.io/hostname", "b"), "");
    add_volume(&s, "b-small", "2Gi", "storageClassName: static," ON("kubernetes.io/hostname", "b"), "");
    add_claim(&s, "one", "1Gi", "storageClassName: static", "");
    add_claim(&s, "two", "3Gi", "storageClassName: static", "");
    assert_string_equal(plan(&s, CLAIM("one"), "a", false), "one=a-large");
    assert_string_equal(plan(&s, CLAIM("one"), "b", false), "one=b-small");
    assert_string_equal(plan(&s, TWO_CLAIMS("two", "one"), "b", false), "one=b-small two=b-large");
    assert_string_equal(where(&s, TWO_CLAIMS("two", "one")), "b"); /* a has only one volume */
    /* More room is left over on b: half of 2Gi against a ninth of 9Gi. */
    assert_string_equal(where(&s, CLAIM("one")), "a");
    /* What was promised to another claim is not there any more. */
    assert_string_equal(plan(&s, CLAIM("one"), "b", true), "one=b-small");
    assert_string_equal(plan(&s, CLAIM("two"), "b", true), "two=b-large");
    add_claim(&s, "three", "1Gi", "storageClassName: static", "");
    assert_string_equal(where(&s, CLAIM("three") ", nodeSelector: {kubernetes.io/hostname: b}"),
                        "0/2 nodes are available: 1 node(s) didn't find available persistent volumes to "
                        "bind, 1 node(s) didn't "
                        "match Pod's node affinity/selector.");
    setup_done(&s);
}

static void what_is_not_there_is_provisioned(void **state)
{
    struct setup s;
    setup_init(&s);
    add_node(&s, "a", "zone: z1");
    add_node(&s, "b", "zone: z2");
    add_classes(&s);
    add_claim(&s, "c", "1Gi", "storageClassName: later", "");
    assert_string_equal(where(&s, CLAIM("c")), "a");
    assert_string_equal(plan(&s, CLAIM("c"), "a", true), "c=*");
    add_claim(&s, "d", "1Gi", "storageClassName: anywhere",
              "annotations: {volume.kubernetes.io/selected-node: b}");
    assert_string_equal(where(&s, CLAIM("d")), "b");
    assert_string_equal(
        where(&s, TWO_CLAIMS("c", "d")),
        "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind.");
    /* Promised to a on the way there: as good as written. */
    add_claim(&s, "e", "1Gi", "storageClassName: anywhere", "");
    assert_string_equal(plan(&s, CLAIM("e"), "b", true), "e=*");
    assert_string_equal(where(&s, CLAIM("e")), "b");
    setup_done(&s);
}

static void there_must_be_room_for_it(void **state)
{
    struct setup s;
    setup_init(&s);
    add_node(&s, "a", "zone: z1");
    add_node(&s, "b", "zone: z2");
    add_classes(&s);
    add_claim(&s, "c", "5Gi", "storageClassName: anywhere", "");
    add(&s, RES_CSIDRIVERS, "{metadata: {name: p.example.com}, spec: {storageCapacity: true}}");
    assert_string_equal(where(&s, CLAIM("c")),
                        "0/2 nodes are available: 2 node(s) did not have enough free storage.");
    add(&s, RES_CSISTORAGECAPACITIES,
        "{metadata: {namespace: k, name: one}, storageClassName: anywhere, capacity: 4Gi, "
        "nodeTopology: {matchLabels: {zone: z1}}}");
    add(&s, RES_CSISTORAGECAPACITIES,
        "{metadata: {namespace: k, name: two}, storageClassName: anywhere, capacity: 10Gi, "
        "nodeTopology: {matchLabels: {zone: z2}}}");
    assert_string_equal(where(&s, CLAIM("c")), "b");
    add(&s, RES_CSISTORAGECAPACITIES,
        "{metadata: {namespace: k, name: one}, storageClassName: anywhere, capacity: 100Gi, "
        "maximumVolumeSize: 1Gi, nodeTopology: {matchLabels: {zone: z1}}}");
    assert_string_equal(where(&s, CLAIM("c")), "b");
    add(&s, RES_CSISTORAGECAPACITIES,
        "{metadata: {namespace: k, name: one}, storageClassName: anywhere, capacity: 100Gi, "
        "nodeTopology: {matchLabels: {zone: z1}}}");
    assert_string_equal(where(&s, CLAIM("c")), "a"); /* more is left over */
    setup_done(&s);
}

/* ---- restrictions, limits, zones ---------------------------------------------------------------------- */

static void one_pod_means_one_pod(void **state)
{
    struct setup s;
    struct preemption p;
    setup_init(&s);
    add_node(&s, "a", "");
    add_node(&s, "b", "");
    add_volume(&s, "v", "1Gi", "", "");
    add(&s, RES_PERSISTENTVOLUMECLAIMS,
        "{metadata: {namespace: x, name: c, " IS_BOUND
        "}, spec: {accessModes: [ReadWriteOncePod], volumeName: v}}");
    place(&s, "has", CLAIM("c"), "a");
    assert_string_equal(
        where(&s, CLAIM("c")),
        "0/2 nodes are available: 2 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod "
        "access mode already in-use by another pod.");
    struct needs *n = pod(&s, "high", "priority: 100, " CLAIM("c"));
    preempt_find(&s.world, n, NULL, 0, &s.arena, &p);
    assert_int_equal(p.node, table_find(&s.table, STR("a")));
    needs_free(n);
    table_unplace(&s.table, STR("has"));
    assert_int_equal(strlen(where(&s, CLAIM("c"))), 1);
    setup_done(&s);
}

static void a_node_carries_only_so_many_volumes(void **state)
{
    struct setup s;
    setup_init(&s);
    add_node(&s, "a", "");
    for (int i = 1; i <= 3; i++) {
        addf(&s, RES_PERSISTENTVOLUMES,
             "{metadata: {name: v%d}, spec: {csi: {driver: d, volumeHandle: h%d}}}", i, i);
        addf(&s, RES_PERSISTENTVOLUMECLAIMS,
             "{metadata: {namespace: x, name: c%d, " IS_BOUND "}, spec: {volumeName: v%d}}", i, i);
    }
    add(&s, RES_CSINODES,
        "{metadata: {name: a}, spec: {drivers: [{name: d, nodeID: a, allocatable: {count: 2}}]}}");
    place(&s, "one", CLAIM("c1"), "a");
    assert_string_equal(where(&s, CLAIM("c2")), "a");
    assert_string_equal(where(&s, TWO_CLAIMS("c2", "c3")),
                        "0/1 nodes are available: 1 node(s) exceed max volume count.");
    assert_string_equal(where(&s, TWO_CLAIMS("c1", "c2")), "a"); /* c1 is there already */
    /* Attached by an earlier pod and not yet detached. */
    add(&s, RES_VOLUMEATTACHMENTS,
        "{metadata: {name: t}, spec: {attacher: d, nodeName: a, source: {persistentVolumeName: v3}}}");
    assert_string_equal(where(&s, CLAIM("c2")),
                        "0/1 nodes are available: 1 node(s) exceed max volume count.");
    add(&s, RES_VOLUMEATTACHMENTS,
        "{metadata: {name: t}, spec: {attacher: d, nodeName: b, source: {persistentVolumeName: v3}}}");
    assert_string_equal(where(&s, CLAIM("c2")), "a");
    add(&s, RES_CSIDRIVERS, "{metadata: {name: d}, spec: {preventPodSchedulingIfMissing: true}}");
    add(&s, RES_CSINODES, "{metadata: {name: a}, spec: {drivers: []}}");
    assert_string_equal(where(&s, CLAIM("c2")),
                        "0/1 nodes are available: 1 d CSI driver is not installed on the node.");
    setup_done(&s);
}

static void volumes_have_zones(void **state)
{
    struct setup s;
    setup_init(&s);
    add_node(&s, "a", "topology.kubernetes.io/zone: z1");
    add_claim(&s, "c", "1Gi", "volumeName: v", IS_BOUND);
    add_volume(&s, "v", "1Gi", "", "labels: {topology.kubernetes.io/zone: z2__z3}");
    assert_string_equal(where(&s, CLAIM("c")),
                        "0/1 nodes are available: 1 node(s) had no available volume zone.");
    add_volume(&s, "v", "1Gi", "", "labels: {failure-domain.beta.kubernetes.io/zone: z2__z1}");
    assert_string_equal(where(&s, CLAIM("c")), "a"); /* the newer label serves for the older */
    add_volume(&s, "v", "1Gi", "", "labels: {topology.kubernetes.io/zone: z2}");
    add_node(&s, "b", "");
    assert_string_equal(where(&s, CLAIM("c")), "b"); /* knows no zones at all */
    setup_done(&s);
}

static void some_disks_go_to_one_pod(void **state)
{
    struct setup s;
    setup_init(&s);
    add_node(&s, "a", "");
#define DISK(more) "volumes: [{name: d, iscsi: {iqn: i, targetPortal: t, lun: 0" more "}}]"
    place(&s, "has", DISK(""), "a");
    assert_string_equal(where(&s, DISK("")), "0/1 nodes are available: 1 node(s) had no available disk.");
    place(&s, "has", DISK(", readOnly: true"), "a");
    assert_string_equal(where(&s, DISK(", readOnly: true")), "a");
    setup_done(&s);
}

/* ---- nominated pods ----------------------------------------------------------------------------------- */

#define CPU(n) "containers: [{name: c, resources: {requests: {cpu: '" n "'}}}]"

static void others_heed_who_is_nominated(void **state)
{
    struct setup s;
    setup_init(&s);
    add_node(&s, "a", "");
    table_nominate(&s.table, pod(&s, "waits", "priority: 10, " CPU("2")), STR("a"));
    assert_string_equal(where(&s, "priority: 10, " CPU("1")), "0/1 nodes are available: 1 Insufficient cpu.");
    assert_string_equal(where(&s, "priority: 20, " CPU("1")), "a");
    assert_int_equal(s.table.rows[0].cpu_free, 2000); /* as it was */
    /* Among others it counts, too: for spreading and affinity. */
    table_nominate(&s.table, pod(&s, "waits", "priority: 10, " CPU("1")), STR("a"));
    assert_string_equal(where(&s, "priority: 0, " CPU("1")), "a");
    table_unnominate(&s.table, STR("waits"));
    assert_int_equal(s.table.nodes[0].n_nominated, 0);
    assert_string_equal(where(&s, CPU("2")), "a");
    setup_done(&s);
}

static void the_nominated_node_is_taken(void **state)
{
    struct setup s;
    struct decision d;
    setup_init(&s);
    add_node(&s, "full", "");
    add_node(&s, "empty", "");
    place(&s, "x", CPU("1"), "full");
    struct object *o CLEANUP_OBJECT =
        object_relaxed(RES_PODS, "{metadata: {name: n, namespace: x, uid: n}, spec: {" CPU(
                                     "1") "}, status: {nominatedNodeName: full}}");
    struct needs *n = needs_new(&s.table, o);
    table_nominate(&s.table, needs_new(&s.table, o), STR("full"));
    decide(&s.world, n, 1, &d);
    assert_int_equal(d.node, table_find(&s.table, STR("full")));
    needs_free(n);
    setup_done(&s);
}

/* ---- profiles ----------------------------------------------------------------------------------------- */

static int read(struct setup *s, const char *text, struct profile **ret, size_t *ret_n, struct err *e)
{
    const struct type *t = &types[T_kubescheduler_v1_KubeSchedulerConfiguration];
    struct val *v = val_relaxed(&s->arena, t, text);
    return profiles_read(&s->arena, val_get(v, N_profiles), ret, ret_n, e);
}

static void profiles_choose_plugins(void **state)
{
    struct setup s;
    struct profile *p;
    size_t n;
    struct err e = {0};
    setup_init(&s);
    assert_int_equal(read(&s, "{}", &p, &n, &e), 0);
    assert_int_equal(n, 1);
    assert_string_equal(p->name, "default-scheduler");
    assert_memory_equal(p, &default_profile, sizeof(*p));
    assert_int_equal(
        read(&s,
             "{profiles: [{schedulerName: a, plugins: {filter: {disabled: [{name: TaintToleration}]}, score: "
             "{disabled: [{name: '*'}], enabled: [{name: ImageLocality, weight: 7}]}}}, {schedulerName: b, "
             "plugins: "
             "{multiPoint: {disabled: [{name: NodeResourcesFit}, {name: DefaultPreemption}]}}}]}",
             &p, &n, &e),
        0);
    assert_int_equal(n, 2);
    assert_false(profile_filters(&p[0], PLUGIN_TAINT_TOLERATION));
    assert_int_equal(p[0].weights[PLUGIN_IMAGE_LOCALITY], 7);
    assert_int_equal(p[0].weights[PLUGIN_TAINT_TOLERATION], 0);
    assert_false(profile_filters(&p[1], PLUGIN_RESOURCES_FIT));
    assert_false(profile_filters(&p[1], PLUGIN_PREEMPTION));
    assert_int_equal(p[1].weights[PLUGIN_RESOURCES_FIT], 0);
    add_node(&s, "a", "");
    s.world.profile = &p[1];
    assert_string_equal(where(&s, CPU("9")), "a");
    s.world.profile = &p[0];
    assert_string_equal(where(&s, CPU("9")), "0/1 nodes are available: 1 Insufficient cpu.");
    setup_done(&s);
}

static void profiles_have_arguments(void **state)
{
    struct setup s;
    struct profile *p;
    size_t n;
    struct err e = {0};
    setup_init(&s);
    assert_int_equal(
        read(&s,
             "{profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: "
             "MostAllocated, "
             "resources: [{name: cpu, weight: 3}]}}}, {name: VolumeBinding, args: {bindTimeoutSeconds: 5}}, "
             "{name: "
             "NodeAffinity, args: {addedAffinity: {requiredDuringSchedulingIgnoredDuringExecution: "
             "{nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: Exists}]}]}}}}]}]}",
             &p, &n, &e),
        0);
    assert_int_equal(p->fit, FIT_MOST_ALLOCATED);
    assert_int_equal(p->cpu_weight, 3);
    assert_int_equal(p->memory_weight, 0);
    assert_int_equal(p->bind_timeout_ns, SECONDS(5));
    add_node(&s, "outside", "");
    add_node(&s, "a", "zone: z");
    add_node(&s, "b", "zone: z");
    place(&s, "x", CPU("1"), "b");
    s.world.profile = p;
    assert_string_equal(where(&s, CPU("1")), "b"); /* the fuller one */
    s.world.profile = NULL;
    assert_true(strcmp(where(&s, CPU("1")), "b") != 0);
    setup_done(&s);
}

static void profiles_that_make_no_sense(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"{profiles: [{}, {}]}", "profiles[1].schedulerName: \"default-scheduler\" has a profile already"},
        {"{profiles: [{plugins: {filter: {enabled: [{name: Mine}]}}}]}",
         "profiles[0].plugins.filter.enabled: no plugin \"Mine\" is known"},
        {"{profiles: [{plugins: {preFilter: {disabled: [{name: VolumeBinding}]}}}]}",
         "profiles[0].plugins.preFilter.disabled: only at multiPoint, filter, score and postFilter can "
         "plugins be disabled"},
        {"{profiles: [{pluginConfig: [{name: Mine, args: {}}]}]}",
         "profiles[0]: pluginConfig: \"Mine\" has no arguments"},
        {"{profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {resources: [{name: "
         "gpu}]}}}]}]}",
         "profiles[0]: NodeResourcesFitArgs: only cpu and memory can be scored by, not gpu"},
    };
    struct setup s;
    setup_init(&s);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct profile *p;
        size_t n;
        struct err e = {0};
        assert_int_equal(read(&s, cases[i].text, &p, &n, &e), -EINVAL);
        assert_string_equal(e.text, cases[i].why);
    }
    setup_done(&s);
}

static void a_broken_line_scores(void **state)
{
    const struct shape s = {{{10, 0}, {50, 100}, {90, 20}}, 3};
    assert_int_equal(shape_score(&s, 0), 0);
    assert_int_equal(shape_score(&s, 30), 50);
    assert_int_equal(shape_score(&s, 50), 100);
    assert_int_equal(shape_score(&s, 70), 60);
    assert_int_equal(shape_score(&s, 100), 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims_that_let_a_pod_go_nowhere),
        cmocka_unit_test(ephemeral_claims_are_the_pods_own),
        cmocka_unit_test(a_pod_goes_where_its_volume_is),
        cmocka_unit_test(the_first_consumer_chooses_among_volumes),
        cmocka_unit_test(what_is_not_there_is_provisioned),
        cmocka_unit_test(there_must_be_room_for_it),
        cmocka_unit_test(one_pod_means_one_pod),
        cmocka_unit_test(a_node_carries_only_so_many_volumes),
        cmocka_unit_test(volumes_have_zones),
        cmocka_unit_test(some_disks_go_to_one_pod),
        cmocka_unit_test(others_heed_who_is_nominated),
        cmocka_unit_test(the_nominated_node_is_taken),
        cmocka_unit_test(profiles_choose_plugins),
        cmocka_unit_test(profiles_have_arguments),
        cmocka_unit_test(profiles_that_make_no_sense),
        cmocka_unit_test(a_broken_line_scores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
