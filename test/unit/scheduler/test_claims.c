/* SPDX-License-Identifier: Apache-2.0 */
/* Claims of devices in decisions: a cluster in a few lines, a pod, and where it goes or why not; and what is written for it. */
#include "scheduler/claims.h"

#include "base/os.h"
#include "client/fake_client.h"
#include "client/replica.h"
#include "scheduler/claim_binding.h"
#include "testing.h"
#include "type/resourceclaim.h"

static const uint16_t kinds[] = {RES_RESOURCECLAIMS, RES_RESOURCESLICES, RES_DEVICECLASSES};

static int judge_any(void *ctx, struct str expression, struct str driver, const struct val *device, bool *ret, struct err *e)
{
    (void)ctx, (void)driver, (void)device;
    *ret = true;
    return str_is(expression, "broken") ? err_set(e, -EINVAL, "no such key") : 0;
}

struct setup {
    struct table table;
    struct world world;
    struct snapshot_slot slots[ARRAY_SIZE(kinds)];
    struct snapshot objects;
    struct claim_promises promises;
    struct inventory_memory inventory;
    struct device_judge judge;
    struct arena arena;
};

static void setup_init(struct setup *s)
{
    *s = (struct setup){.judge = {judge_any, NULL}};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        s->slots[i].res = &resources[kinds[i]];
    s->objects = (struct snapshot){s->slots, ARRAY_SIZE(kinds)};
    s->world = (struct world){.table = &s->table, .objects = &s->objects, .claim_promises = &s->promises, .judge = &s->judge};
    time_parse(STR("2026-01-01T00:00:00Z"), &s->world.now);
}

static void setup_done(struct setup *s)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        tree_unref(s->slots[i].tree);
    claim_promises_done(&s->promises);
    inventory_memory_done(&s->inventory);
    table_done(&s->table);
    arena_done(&s->arena);
}

static void add(struct setup *s, uint16_t res, const char *fmt, ...) PRINTF(3, 4);
static void add(struct setup *s, uint16_t res, const char *fmt, ...)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    struct object *o CLEANUP_OBJECT = object_relaxed(res, b.p);
    if (res == RES_NODES)
        table_node(&s->table, NULL, o);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (kinds[i] == res)
            s->slots[i].tree = tree_put(s->slots[i].tree, obj_key(&s->arena, o->namespace_, o->name), o);
}

static void two_nodes(struct setup *s)
{
    for (const char *n = "ab"; *n; n++) {
        add(s, RES_NODES, "{metadata: {name: %c, uid: %c, labels: {name: %c}}, status: {allocatable: {cpu: '2', memory: 4Gi, pods: '10'}}}", *n, *n, *n);
        add(s, RES_RESOURCESLICES, "{metadata: {name: s%c}, spec: {driver: d, nodeName: %c, pool: {name: %c, generation: 1, resourceSliceCount: 1}, "
                                   "devices: [{name: x}]}}", *n, *n, *n);
    }
    add(s, RES_DEVICECLASSES, "{metadata: {name: any}, spec: {}}");
}

#define CLAIM_OF(name, request, status)                                                                      \
    "{metadata: {namespace: ns, name: " name ", uid: u-" name "}, spec: {devices: {requests: [{name: r, " request "}]}}, status: {" status "}}"
#define ANY "exactly: {deviceClassName: any, count: 1, allocationMode: ExactCount}"
#define ON(node) "allocation: {devices: {results: [{request: r, driver: d, pool: " node ", device: x}]}, nodeSelector: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [" node "]}]}]}}"
#define POD(claims) "{metadata: {namespace: ns, name: p, uid: u-p}, spec: {resourceClaims: [" claims "]}}"
#define USES(claim) "{name: " claim ", resourceClaimName: " claim "}"

static struct needs *pod_of(struct setup *s, const char *text)
{
    struct object *o CLEANUP_OBJECT = object_relaxed(RES_PODS, text);
    return needs_new(&s->table, o);
}

static const char *where(struct setup *s, const char *text)
{
    struct decision d;
    struct needs *n = pod_of(s, text);
    s->world.inventory = NULL;
    decide(&s->world, n, 1, &d);
    int anew = d.node;
    s->world.inventory = &s->inventory; /* what it remembers of earlier decisions changes nothing */
    decide(&s->world, n, 1, &d);
    assert_int_equal(d.node, anew);
    const char *r = d.node >= 0 ? arena_cstr(&s->arena, s->table.nodes[d.node].object->name)
                    : d.silent  ? "(silent)"
                    : d.failed  ? arena_printf(&s->arena, "failed: " STR_FMT, STR_ARG(d.whole)).p
                                : decision_message(&s->arena, &d, s->table.n_present).p;
    needs_free(n);
    return r;
}

static void test_allocated_where_it_can_be(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s);
    two_nodes(&s);
    add(&s, RES_RESOURCECLAIMS, CLAIM_OF("taken", ANY, ON("a")));
    add(&s, RES_RESOURCECLAIMS, CLAIM_OF("c", ANY, ""));
    assert_string_equal(where(&s, POD(USES("c"))), "b");     /* what a has is taken */
    assert_string_equal(where(&s, POD(USES("taken"))), "a"); /* where its device is */
    assert_string_equal(where(&s, POD(USES("taken") ", " USES("c"))),
                        "0/2 nodes are available: 1 cannot allocate all claims, 1 resourceclaim not available on the node.");
    setup_done(&s);
}

static void test_devices_are_remembered(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s);
    two_nodes(&s);
    add(&s, RES_RESOURCECLAIMS, CLAIM_OF("c", ANY, ""));
    where(&s, POD(USES("c")));
    const struct inventory *first = s.inventory.inv;
    assert_non_null(first);
    add(&s, RES_RESOURCECLAIMS, CLAIM_OF("taken", ANY, ON("a")));
    assert_string_equal(where(&s, POD(USES("c"))), "b");
    assert_ptr_equal(s.inventory.inv, first); /* only what is taken was counted anew */
    add(&s, RES_RESOURCECLAIMS, CLAIM_OF("taken", ANY, ON("b")));
    assert_string_equal(where(&s, POD(USES("c"))), "a");
    add(&s, RES_RESOURCESLICES, "{metadata: {name: sa}, spec: {driver: d, nodeName: a, pool: {name: a, generation: 2, resourceSliceCount: 1}, devices: []}}");
    assert_string_equal(where(&s, POD(USES("c"))), "0/2 nodes are available: 2 cannot allocate all claims.");
    setup_done(&s);
}

static void test_what_is_to_come_is_waited_for(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s);
    two_nodes(&s);
    assert_string_equal(where(&s, POD(USES("nix"))), "(silent)");
    assert_string_equal(where(&s, POD("{name: t, resourceClaimTemplateName: t}")), "(silent)");
    struct object *o CLEANUP_OBJECT = object_relaxed(RES_PODS, POD("{name: t, resourceClaimTemplateName: t}"));
    assert_false(claims_made(o->val));
    add(&s, RES_RESOURCECLAIMS, CLAIM_OF("c", "exactly: {deviceClassName: nix}", ""));
    assert_string_equal(where(&s, POD(USES("c"))), "0/2 nodes are available: request r: device class nix does not exist.");
    setup_done(&s);
}

static void test_a_selector_that_fails(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s);
    two_nodes(&s);
    add(&s, RES_RESOURCECLAIMS, CLAIM_OF("c", "exactly: {deviceClassName: any, selectors: [{cel: {expression: broken}}]}", ""));
    assert_string_equal(where(&s, POD(USES("c"))), "failed: claim ns/c: selector #0 on device d/a/x: no such key");
    setup_done(&s);
}

static void test_promises(void **state)
{
    (void)state;
    struct setup s;
    struct claim_plan plan;
    setup_init(&s);
    two_nodes(&s);
    add(&s, RES_RESOURCECLAIMS, CLAIM_OF("c", ANY, ""));
    add(&s, RES_RESOURCECLAIMS, CLAIM_OF("e", ANY, ""));
    struct needs *n = pod_of(&s, POD(USES("c")));
    assert_true(claims_plan_for(&s.world, n, table_find(&s.table, STR("a")), 1, &s.arena, &plan));
    assert_int_equal(plan.n, 1);
    claim_promise(&s.promises, &plan);
    assert_string_equal(where(&s, POD(USES("c"))), "0/2 nodes are available: resource claim ns/c is in the process of being allocated.");
    assert_string_equal(where(&s, POD(USES("e"))), "b"); /* though nothing is written yet */
    claim_unpromise(&s.promises, &plan);
    needs_free(n);
    setup_done(&s);
}

static const struct object *obstacle(struct setup *s, const char *text)
{
    struct decision d;
    struct needs *n = pod_of(s, text);
    decide(&s->world, n, 1, &d);
    needs_free(n);
    assert_int_equal(d.node, -1);
    return d.obstacle;
}

static void test_obstacles(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s);
    two_nodes(&s);
    add(&s, RES_RESOURCECLAIMS, CLAIM_OF("far", ANY, ON("elsewhere")));
    add(&s, RES_RESOURCECLAIMS, CLAIM_OF("used", ANY, ON("elsewhere") ", reservedFor: [{resource: pods, name: q, uid: u-q}]"));
    assert_str(obstacle(&s, POD(USES("far")))->name, "far");
    assert_null(obstacle(&s, POD(USES("used"))));
    setup_done(&s);
}

#define WAITS "devices: {results: [{request: r, driver: d, pool: a, device: x, bindingConditions: [ready], bindingFailureConditions: [broken]}]}"

static void test_conditions(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s);
    two_nodes(&s);
    add(&s, RES_RESOURCECLAIMS, CLAIM_OF("new", ANY, "allocation: {allocationTimestamp: '2025-12-31T23:59:00Z', " WAITS "}"));
    add(&s, RES_RESOURCECLAIMS, CLAIM_OF("late", ANY, "allocation: {allocationTimestamp: '2025-12-31T23:00:00Z', " WAITS "}"));
    add(&s, RES_RESOURCECLAIMS, CLAIM_OF("bad", ANY, "allocation: {allocationTimestamp: '2025-12-31T23:59:00Z', " WAITS "}, devices: [{driver: d, pool: a, "
                                                     "device: x, conditions: [{type: broken, status: 'True'}]}]"));
    assert_string_not_equal(where(&s, POD(USES("new"))), "0/2 nodes are available: 2 resourceclaim not available on the node.");
    assert_string_equal(where(&s, POD(USES("late"))), "0/2 nodes are available: 2 resourceclaim not available on the node.");
    assert_string_equal(where(&s, POD(USES("bad"))), "0/2 nodes are available: 2 resourceclaim not available on the node.");
    setup_done(&s);
}

static void test_better_alternatives_attract(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s);
    two_nodes(&s);
    add(&s, RES_RESOURCESLICES, "{metadata: {name: t}, spec: {driver: d, nodeName: b, pool: {name: more, generation: 1, resourceSliceCount: 1}, devices: [{name: y}]}}");
    add(&s, RES_RESOURCECLAIMS, CLAIM_OF("c", "firstAvailable: [{name: two, deviceClassName: any, count: 2, allocationMode: ExactCount}, {name: one, deviceClassName: any, "
                                             "count: 1, allocationMode: ExactCount}]", ""));
    assert_string_equal(where(&s, POD(USES("c"))), "b");
    setup_done(&s);
}

/* ---- extended resources ---------------------------------------------------------------------------------------- */

#define ASKS "{metadata: {namespace: ns, name: p, uid: u-p}, spec: {initContainers: [{name: i, resources: {requests: {x.y/gpu: '1'}}}], containers: [{name: c, resources: "     \
             "{requests: {cpu: 1m, x.y/gpu: '1'}}}, {name: e, resources: {requests: {cpu: 1m}}}]}}"

static void test_extended_resources(void **state)
{
    (void)state;
    struct setup s;
    struct claim_plan plan;
    setup_init(&s);
    two_nodes(&s);
    assert_string_equal(where(&s, ASKS), "0/2 nodes are available: 2 Insufficient x.y/gpu.");
    add(&s, RES_DEVICECLASSES, "{metadata: {name: gpu}, spec: {extendedResourceName: x.y/gpu}}");
    add(&s, RES_RESOURCECLAIMS, CLAIM_OF("taken", ANY, ON("a")));
    assert_string_equal(where(&s, ASKS), "b"); /* what a has is taken */
    add(&s, RES_NODES, "{metadata: {name: c, uid: c}, status: {allocatable: {cpu: '2', memory: 4Gi, pods: '10', x.y/gpu: '1'}}}");
    struct needs *n = pod_of(&s, ASKS);
    assert_true(claims_plan_for(&s.world, n, table_find(&s.table, STR("c")), 1, &s.arena, &plan));
    assert_int_equal(plan.n, 0); /* a device plug-in offers it there */
    assert_true(claims_plan_for(&s.world, n, table_find(&s.table, STR("b")), 1, &s.arena, &plan));
    assert_int_equal(plan.n, 1);
    const struct val *claim = plan.list[0].claim->val, *q = val_item(val_at(claim, N_spec, N_devices, N_requests), 0);
    assert_str(val_getstr(q, N_name), "container-1-request-1"); /* which the init container used before */
    assert_str(val_str(val_at(q, N_exactly, N_deviceClassName)), "gpu");
    assert_int_equal(val_len(plan.list[0].mappings), 2);
    assert_str(val_getstr(val_item(plan.list[0].mappings, 1), N_containerName), "i");
    assert_str(val_getstr(val_item(plan.list[0].mappings, 1), N_requestName), "container-1-request-1");
    claim_promise(&s.promises, &plan);
    assert_string_equal(where(&s, "{metadata: {namespace: ns, name: q, uid: u-q}, spec: {containers: [{name: c, resources: {requests: {x.y/gpu: '2'}}}]}}"),
                        "0/3 nodes are available: 1 Insufficient x.y/gpu, 2 cannot allocate all claims.");
    claim_unpromise(&s.promises, &plan);
    object_unref((struct object *)(uintptr_t)plan.list[0].claim);
    needs_free(n);
    setup_done(&s);
}

/* ---- writing ------------------------------------------------------------------------------------------------- */

static const struct val *stored(struct fake_client *f, struct arena *a, const char *name)
{
    const struct val *v;
    struct status st;
    status_init(&st, a);
    assert_int_equal(client_get(fake_client_as(f), CALL(.res = &resources[RES_RESOURCECLAIMS], .ns = STR("ns"), .name = str_of(name)), a, &v, &st), 0);
    return v;
}

FIBER_TEST(test_binding_writes)
{
    struct arena a = ARENA_INIT;
    struct fake_client *f = fake_client_new();
    fake_put_text(f, RES_RESOURCECLAIMS, CLAIM_OF("c", ANY, ""));
    const struct replica_kind kind = {.res = &resources[RES_RESOURCECLAIMS]};
    struct replica *r = replica_new(fake_client_as(f), &kind, 1);
    replica_start(r);
    assert_int_equal(replica_wait_synced(r, mono_add(os_mono(), SECONDS(5))), 0);
    struct object *pod = object_relaxed(RES_PODS, POD(USES("c")));
    struct object *claim = object_ref(replica_get(r, &resources[RES_RESOURCECLAIMS], STR("ns"), STR("c")));
    struct val *allocation = val_new(&a, VAL_OBJ);
    val_set_str(&a, val_add_obj(&a, val_sub_list(&a, val_sub_obj(&a, allocation, N_devices), N_results)), N_device, STR("x"));
    struct claim_bind one = {.claim = claim, .allocation = allocation};
    struct claim_plan plan = {&one, 1, false};
    struct waitq moved = {0};
    struct claim_work work = {.client = fake_client_as(f), .replica = r, .moved = &moved, .pod = pod};
    struct err e = {{0}};
    assert_int_equal(claims_bind(&work, &plan, &a, &e), 0);
    const struct val *v = stored(f, &a, "c");
    assert_true(obj_has_finalizer(v, STR(CLAIM_FINALIZER)));
    assert_true(claim_reserved_for(v, STR("u-p")));
    assert_str(val_getstr(val_item(val_at(v, N_status, N_allocation, N_devices, N_results), 0), N_device), "x");
    assert_true(val_at(v, N_status, N_allocation, N_allocationTimestamp) != NULL);
    assert_int_equal(claims_bind(&work, &plan, &a, &e), 0); /* once more: it is done already */
    struct claim_plan other = {&(struct claim_bind){.claim = claim, .allocation = allocation}, 1, false};
    struct object *second = object_relaxed(RES_PODS, "{metadata: {namespace: ns, name: q, uid: u-q}}");
    struct claim_work late = work;
    late.pod = second;
    assert_int_equal(claims_bind(&late, &other, &a, &e), 1); /* somebody else was faster */
    assert_non_null(strstr(e.text, "got allocated elsewhere"));
    object_unref(second);
    object_unref(claim);
    object_unref(pod);
    replica_free(r);
    fake_client_free(f);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocated_where_it_can_be), cmocka_unit_test(test_devices_are_remembered), cmocka_unit_test(test_what_is_to_come_is_waited_for),
        cmocka_unit_test(test_a_selector_that_fails),     cmocka_unit_test(test_promises),
        cmocka_unit_test(test_obstacles),                 cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_better_alternatives_attract), cmocka_unit_test(test_extended_resources), cmocka_unit_test(test_binding_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
