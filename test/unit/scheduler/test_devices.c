/* SPDX-License-Identifier: Apache-2.0 */
/* The allocator of devices: what there is, what is asked for, and which devices that gives. */
#include "scheduler/devices.h"

#include "client/fake_client.h"
#include "resources.h"
#include "testing.h"
#include "type/meta.h"
#include "types.h"
#include "wire/json.h"

/* An expression of these tests: "name=value" of a string attribute, "true", or "broken". */
static int judge(void *ctx, struct str expression, struct str driver, const struct val *device, bool *ret, struct err *e)
{
    struct str name, value;
    int *asked = ctx;
    (void)driver;
    ++*asked;
    if (str_is(expression, "broken"))
        return err_set(e, -EINVAL, "no such key");
    *ret = str_is(expression, "true") ||
           (str_cut(expression, '=', &name, &value) &&
            str_eq(val_getstr(val_key(val_get(device, N_attributes), name), N_string), value));
    return 0;
}

struct setup {
    struct arena a;
    struct tree *slices, *classes;
    struct inventory *inv;
    int asked;
};

static void put(struct tree **t, uint16_t res, const char *text)
{
    struct object *o CLEANUP_OBJECT = object_relaxed(res, text);
    *t = tree_put(*t, o->name, o);
}

#define GPU(name) "{name: " name ", attributes: {kind: {string: gpu}}}"

static void setup_init(struct setup *s, const char *const *slices)
{
    *s = (struct setup){0};
    for (; *slices; slices++)
        put(&s->slices, RES_RESOURCESLICES, *slices);
    put(&s->classes, RES_DEVICECLASSES, "{metadata: {name: any}, spec: {}}");
    put(&s->classes, RES_DEVICECLASSES,
        "{metadata: {name: gpu}, spec: {selectors: [{cel: {expression: kind=gpu}}], config: [{opaque: {driver: d, "
        "parameters: {of: class}}}]}}");
    s->inv = inventory_new(&s->a, s->slices);
}

static void setup_done(struct setup *s)
{
    inventory_done(s->inv);
    tree_unref(s->slices);
    tree_unref(s->classes);
    arena_done(&s->a);
}

static const struct val *claim_of(struct setup *s, const char *devices)
{
    struct str text = arena_printf(&s->a, "{metadata: {namespace: x, name: c}, spec: {devices: %s}}", devices);
    struct object *o CLEANUP_OBJECT = object_relaxed(RES_RESOURCECLAIMS, text.p);
    return val_copy(&s->a, o->val);
}

/* "r=pool/device, ...; ..." of all claims, or "no", "invalid" or the complaint. */
static struct str allocated(struct setup *s, const char *node, const char *const *claims)
{
    const struct val *list[8], *results[8];
    struct device_judge j = {judge, &s->asked};
    struct allocator *al;
    struct err e = {0};
    struct buf b CLEANUP_BUF = BUF_INIT;
    size_t n = 0;
    for (; claims[n]; n++)
        list[n] = claim_of(s, claims[n]);
    int r = allocator_new(&s->a, s->inv, s->classes, &j, list, n, &al, &e);
    struct val *labels = val_new(&s->a, VAL_MAP);
    val_put_str(&s->a, labels, STR("zone"), str_of(node));
    r = r ? r : allocate(al, str_of(node), labels, 1, &s->a, results, &e);
    if (r)
        return r == ALLOCATE_IMPOSSIBLE       ? STR("no")
               : r == ALLOCATE_INVALID_POOLS ? STR("invalid")
                                             : arena_str(&s->a, str_of(err_text(&e, r)));
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        buf_puts(&b, i ? "; " : "");
        VAL_EACH (val_at(results[i], N_devices, N_results), x)
            buf_printf(&b, "%s" STR_FMT "=" STR_FMT "/" STR_FMT, k++ ? ", " : "", STR_ARG(val_getstr(x, N_request)),
                       STR_ARG(val_getstr(x, N_pool)), STR_ARG(val_getstr(x, N_device)));
    }
    return arena_str(&s->a, buf_str(&b));
}

#define SLICE(name, node, pool, devices)                                                                     \
    "{metadata: {name: " name "}, spec: {driver: d, nodeName: " node ", pool: {name: " pool                   \
    ", generation: 1, resourceSliceCount: 1}, devices: [" devices "]}}"
#define ONE(request) "{requests: [{name: r, exactly: {" request "}}]}"

struct row {
    const char *what, *slices[4], *claims[4], *taken, *want;
};

static const struct row rows[] = {
    {"one of a class", {SLICE("s", "n", "p", "{name: cpu}, " GPU("g"))}, {ONE("deviceClassName: gpu")}, NULL, "r=p/g"},
    {"no such device", {SLICE("s", "n", "p", "{name: cpu}")}, {ONE("deviceClassName: gpu")}, NULL, "no"},
    {"another node's", {SLICE("s", "m", "p", GPU("g"))}, {ONE("deviceClassName: gpu")}, NULL, "no"},
    {"a class that is not there", {SLICE("s", "n", "p", GPU("g"))}, {ONE("deviceClassName: nix")}, NULL,
     "claim x/c, request r: device class nix does not exist"},
    {"the claim's own selector", {SLICE("s", "n", "p", "{name: a, attributes: {v: {string: x}}}, {name: b, attributes: {v: {string: y}}}")},
     {ONE("deviceClassName: any, selectors: [{cel: {expression: v=y}}]")}, NULL, "r=p/b"},
    {"a selector that fails", {SLICE("s", "n", "p", "{name: a}")}, {ONE("deviceClassName: any, selectors: [{cel: {expression: broken}}]")}, NULL,
     "claim x/c: selector #0 on device d/p/a: no such key"},
    {"pools and slices by name", {SLICE("z", "n", "a", "{name: x}"), SLICE("b", "n", "b", "{name: y}")}, {ONE("deviceClassName: any, count: 2")}, NULL,
     "r=a/x, r=b/y"},
    {"a count", {SLICE("s", "n", "p", "{name: a}, {name: b}, {name: c}")}, {ONE("deviceClassName: any, count: 2")}, NULL, "r=p/a, r=p/b"},
    {"more than there are", {SLICE("s", "n", "p", "{name: a}, {name: b}")}, {ONE("deviceClassName: any, count: 3")}, NULL, "no"},
    {"more than a claim may have", {SLICE("s", "n", "p", "{name: a}")}, {ONE("deviceClassName: any, count: 33")}, NULL,
     "claim x/c, request r: adding 33 devices exceeds the claim limit of 32, with 0 already accounted for"},
    {"all of them", {SLICE("s", "n", "p", "{name: cpu}, " GPU("g") ", " GPU("h"))}, {ONE("deviceClassName: gpu, allocationMode: All")}, NULL, "r=p/g, r=p/h"},
    {"all of none", {SLICE("s", "n", "p", "{name: cpu}")}, {ONE("deviceClassName: gpu, allocationMode: All")}, NULL, "no"},
    {"all, but one is taken", {SLICE("s", "n", "p", GPU("g") ", " GPU("h"))}, {ONE("deviceClassName: gpu, allocationMode: All")},
     "{devices: {results: [{driver: d, pool: p, device: g, request: q}]}}", "no"},
    {"taken by others", {SLICE("s", "n", "p", "{name: a}, {name: b}")}, {ONE("deviceClassName: any")},
     "{devices: {results: [{driver: d, pool: p, device: a, request: q}]}}", "r=p/b"},
    {"admin access of others takes nothing", {SLICE("s", "n", "p", "{name: a}")}, {ONE("deviceClassName: any")},
     "{devices: {results: [{driver: d, pool: p, device: a, request: q, adminAccess: true}]}}", "r=p/a"},
    {"admin access beside others", {SLICE("s", "n", "p", "{name: a}")}, {ONE("deviceClassName: any, adminAccess: true")},
     "{devices: {results: [{driver: d, pool: p, device: a, request: q}]}}", "r=p/a"},
    {"admin access twice in a claim", {SLICE("s", "n", "p", "{name: a}, {name: b}")}, {ONE("deviceClassName: any, adminAccess: true, count: 2")}, NULL,
     "r=p/a, r=p/b"},
    {"two claims", {SLICE("s", "n", "p", "{name: a}, {name: b}")}, {ONE("deviceClassName: any"), ONE("deviceClassName: any")}, NULL, "r=p/a; r=p/b"},
    {"two claims, one device", {SLICE("s", "n", "p", "{name: a}")}, {ONE("deviceClassName: any"), ONE("deviceClassName: any")}, NULL, "no"},
    /* The first request takes g first and has to give it back. */
    {"going back", {SLICE("s", "n", "p", GPU("g") ", {name: z}")},
     {"{requests: [{name: r, exactly: {deviceClassName: any}}, {name: q, exactly: {deviceClassName: gpu}}]}"}, NULL, "r=p/z, q=p/g"},
    {"going back over claims", {SLICE("s", "n", "p", GPU("g") ", " GPU("h") ", {name: y}, {name: z}")},
     {ONE("deviceClassName: any, count: 2"), ONE("deviceClassName: gpu, count: 2")}, NULL, "r=p/y, r=p/z; r=p/g, r=p/h"},
    {"the first that is available", {SLICE("s", "n", "p", "{name: z}")},
     {"{requests: [{name: r, firstAvailable: [{name: best, deviceClassName: gpu}, {name: other, deviceClassName: any}]}]}"}, NULL, "r/other=p/z"},
    {"the best comes first", {SLICE("s", "n", "p", "{name: z}, " GPU("g"))},
     {"{requests: [{name: r, firstAvailable: [{name: best, deviceClassName: gpu}, {name: other, deviceClassName: any}]}]}"}, NULL, "r/best=p/g"},
    {"going back to another way", {SLICE("s", "n", "p", GPU("g") ", {name: z}")},
     {"{requests: [{name: r, firstAvailable: [{name: best, deviceClassName: gpu}, {name: other, deviceClassName: any}]}, {name: q, exactly: "
      "{deviceClassName: gpu}}]}"}, NULL, "r/other=p/z, q=p/g"},
    {"a way that needs too many", {SLICE("s", "n", "p", "{name: a}, {name: b}")},
     {"{requests: [{name: r, firstAvailable: [{name: many, deviceClassName: any, count: 40}, {name: few, deviceClassName: any, count: 2}]}]}"}, NULL,
     "r/few=p/a, r/few=p/b"},
    {"the same attribute", {SLICE("s", "n", "p", "{name: a, attributes: {m: {int: 1}}}, {name: b, attributes: {m: {int: 2}}}, {name: c, attributes: {m: {int: 2}}}")},
     {"{requests: [{name: r, exactly: {deviceClassName: any, count: 2}}], constraints: [{matchAttribute: d/m}]}"}, NULL, "r=p/b, r=p/c"},
    {"the same attribute, one has none", {SLICE("s", "n", "p", "{name: a}, {name: b, attributes: {m: {bool: true}}}")},
     {"{requests: [{name: r, exactly: {deviceClassName: any, count: 2}}], constraints: [{matchAttribute: d/m}]}"}, NULL, "no"},
    {"a constraint of other requests", {SLICE("s", "n", "p", "{name: a}, {name: b, attributes: {m: {bool: true}}}")},
     {"{requests: [{name: r, exactly: {deviceClassName: any}}, {name: q, exactly: {deviceClassName: any}}], constraints: [{matchAttribute: d/m, "
      "requests: [q]}]}"}, NULL, "r=p/a, q=p/b"},
    {"another attribute each", {SLICE("s", "n", "p", "{name: a, attributes: {m: {version: 1.0.0}}}, {name: b, attributes: {m: {version: 1.0.0}}}, {name: c, attributes: {m: {version: 1.0.1}}}")},
     {"{requests: [{name: r, exactly: {deviceClassName: any, count: 2}}], constraints: [{distinctAttribute: d/m}]}"}, NULL, "r=p/a, r=p/c"},
    {"all, but a constraint does not hold", {SLICE("s", "n", "p", "{name: a, attributes: {m: {int: 1}}}, {name: b, attributes: {m: {int: 2}}}")},
     {"{requests: [{name: r, exactly: {deviceClassName: any, allocationMode: All}}], constraints: [{matchAttribute: d/m}]}"}, NULL,
     "claim x/c, request r: cannot add device b because a claim constraint would not be satisfied"},
    {"a taint", {SLICE("s", "n", "p", "{name: a, taints: [{key: k, effect: NoSchedule}]}, {name: b, taints: [{key: k, effect: None}]}")},
     {ONE("deviceClassName: any")}, NULL, "r=p/b"},
    {"a taint that is tolerated", {SLICE("s", "n", "p", "{name: a, taints: [{key: k, value: v, effect: NoExecute}]}")},
     {ONE("deviceClassName: any, tolerations: [{key: k, operator: Equal, value: v}]")}, NULL, "r=p/a"},
    {"an older generation", {SLICE("s", "n", "p", "{name: a}"),
     "{metadata: {name: t}, spec: {driver: d, nodeName: n, pool: {name: p, generation: 2, resourceSliceCount: 1}, devices: [{name: b}]}}"},
     {ONE("deviceClassName: any")}, NULL, "r=p/b"},
    {"a pool that is not whole", {"{metadata: {name: t}, spec: {driver: d, nodeName: n, pool: {name: p, generation: 2, resourceSliceCount: 2}, devices: [{name: b}]}}"},
     {ONE("deviceClassName: any")}, NULL, "no"},
    {"a pool whose other slice is elsewhere", {"{metadata: {name: t}, spec: {driver: d, nodeName: n, pool: {name: p, generation: 2, resourceSliceCount: 2}, devices: [{name: b}]}}",
     "{metadata: {name: u}, spec: {driver: d, nodeName: m, pool: {name: p, generation: 2, resourceSliceCount: 2}, devices: [{name: c}]}}"},
     {ONE("deviceClassName: any")}, NULL, "r=p/b"},
    {"a name twice", {SLICE("s", "n", "p", "{name: a}, {name: a}")}, {ONE("deviceClassName: any")}, NULL, "invalid"},
    {"on all nodes", {"{metadata: {name: t}, spec: {driver: d, allNodes: true, pool: {name: p, generation: 1, resourceSliceCount: 1}, devices: [{name: b}]}}"},
     {ONE("deviceClassName: any")}, NULL, "r=p/b"},
    {"on nodes with a label", {"{metadata: {name: t}, spec: {driver: d, nodeSelector: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [n]}]}]}, pool: {name: p, generation: 1, resourceSliceCount: 1}, devices: [{name: b}]}}"},
     {ONE("deviceClassName: any")}, NULL, "r=p/b"},
    {"not on nodes with another", {"{metadata: {name: t}, spec: {driver: d, nodeSelector: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [m]}]}]}, pool: {name: p, generation: 1, resourceSliceCount: 1}, devices: [{name: b}]}}"},
     {ONE("deviceClassName: any")}, NULL, "no"},
    {"each device says where", {"{metadata: {name: t}, spec: {driver: d, perDeviceNodeSelection: true, pool: {name: p, generation: 1, resourceSliceCount: 1}, devices: [{name: a, nodeName: m}, {name: b, nodeName: n}, {name: c, allNodes: true}]}}"},
     {ONE("deviceClassName: any, allocationMode: All")}, NULL, "r=p/b, r=p/c"},
    {"devices with conditions come last", {SLICE("s", "n", "a", "{name: x, bindingConditions: [ready], bindingFailureConditions: [bad]}"), SLICE("t", "n", "b", "{name: y}")},
     {ONE("deviceClassName: any")}, NULL, "r=b/y"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct setup s;
        setup_init(&s, rows[i].slices);
        if (rows[i].taken) {
            const struct type *t = &types[T_resource_v1_AllocationResult];
            inventory_take(s.inv, val_relaxed(&s.a, t, rows[i].taken), &s.a);
        }
        struct str got = allocated(&s, "n", rows[i].claims);
        if (!str_is(got, rows[i].want))
            print_error("%s: " STR_FMT "\n", rows[i].what, STR_ARG(got));
        assert_str(got, rows[i].want);
        setup_done(&s);
    }
}

/* ---- counters and capacity ------------------------------------------------------------------------------- */

#define CARD                                                                                                 \
    "{metadata: {name: s}, spec: {driver: d, nodeName: n, pool: {name: p, generation: 1, resourceSliceCount: 2}, devices: "                \
    "[{name: whole, consumesCounters: [{counterSet: card, counters: {memory: {value: 4Gi}}}]}, {name: half-1, consumesCounters: "           \
    "[{counterSet: card, counters: {memory: {value: 2Gi}}}]}, {name: half-2, consumesCounters: [{counterSet: card, counters: {memory: "     \
    "{value: 2Gi}}}]}]}}"
#define COUNTERS                                                                                             \
    "{metadata: {name: t}, spec: {driver: d, nodeName: n, pool: {name: p, generation: 1, resourceSliceCount: 2}, sharedCounters: [{name: "  \
    "card, counters: {memory: {value: 4Gi}}}]}}"

static void test_partitions(void **state)
{
    (void)state;
    static const char *const slices[] = {CARD, COUNTERS, NULL}, *const lonely[] = {CARD, NULL};
    static const char *const one[] = {ONE("deviceClassName: any"), NULL}, *const two[] = {ONE("deviceClassName: any, count: 2"), NULL},
                             *const three[] = {ONE("deviceClassName: any, count: 3"), NULL};
    struct setup s;
    setup_init(&s, slices);
    assert_str(allocated(&s, "n", one), "r=p/whole");
    assert_str(allocated(&s, "n", two), "r=p/half-1, r=p/half-2");
    assert_str(allocated(&s, "n", three), "no");
    inventory_take(s.inv, val_relaxed(&s.a, &types[T_resource_v1_AllocationResult],
                                      "{devices: {results: [{driver: d, pool: p, device: half-2, request: q}]}}"), &s.a);
    assert_str(allocated(&s, "n", one), "r=p/half-1"); /* the whole card is no longer there */
    setup_done(&s);
    setup_init(&s, lonely);
    assert_str(allocated(&s, "n", one), "no"); /* the slice with the counters is to come */
    setup_done(&s);
}

#define SHARED                                                                                               \
    SLICE("s", "n", "p",                                                                                     \
          "{name: nic, allowMultipleAllocations: true, capacity: {bandwidth: {value: 10Gi, requestPolicy: {default: 1Gi, validRange: {min: " \
          "1Gi, step: 1Gi}}}}}")

static void test_shares(void **state)
{
    (void)state;
    static const char *const slices[] = {SHARED, NULL};
    static const char *const small[] = {ONE("deviceClassName: any"), ONE("deviceClassName: any, capacity: {requests: {bandwidth: 1500Mi}}"), NULL};
    static const char *const big[] = {ONE("deviceClassName: any, capacity: {requests: {bandwidth: 6Gi}}"),
                                      ONE("deviceClassName: any, capacity: {requests: {bandwidth: 5Gi}}"), NULL};
    static const char *const rest[] = {ONE("deviceClassName: any, capacity: {requests: {bandwidth: 8Gi}}"), NULL};
    static const char *const unknown[] = {ONE("deviceClassName: any, capacity: {requests: {colour: 1}}"), NULL};
    struct setup s;
    setup_init(&s, slices);
    assert_str(allocated(&s, "n", small), "r=p/nic; r=p/nic");
    assert_str(allocated(&s, "n", big), "no"); /* 11 of 10 */
    assert_str(allocated(&s, "n", rest), "r=p/nic");
    assert_str(allocated(&s, "n", unknown), "no");
    inventory_take(s.inv, val_relaxed(&s.a, &types[T_resource_v1_AllocationResult],
                                      "{devices: {results: [{driver: d, pool: p, device: nic, request: q, shareID: u, consumedCapacity: "
                                      "{bandwidth: 3Gi}}]}}"), &s.a);
    assert_str(allocated(&s, "n", rest), "no"); /* 3 are taken */
    setup_done(&s);
}

/* ---- what is written --------------------------------------------------------------------------------------- */

static struct str written(struct setup *s, const char *node, const char *devices)
{
    const struct val *claim = claim_of(s, devices), *result;
    struct device_judge j = {judge, &s->asked};
    struct allocator *al;
    struct err e = {0};
    struct buf b = BUF_INIT;
    assert_int_equal(allocator_new(&s->a, s->inv, s->classes, &j, &claim, 1, &al, &e), 0);
    assert_int_equal(allocate(al, str_of(node), NULL, 7, &s->a, &result, &e), 0);
    json_encode(&b, &types[T_resource_v1_AllocationResult], result, 0);
    struct str text = arena_str(&s->a, buf_str(&b));
    buf_done(&b);
    return text;
}

static void test_result(void **state)
{
    (void)state;
    static const char *const slices[] = {SLICE("s", "n", "p", "{name: cpu}, " GPU("g")),
        "{metadata: {name: t}, spec: {driver: e, allNodes: true, pool: {name: q, generation: 1, resourceSliceCount: 1}, devices: [{name: z}]}}", NULL};
    struct setup s;
    setup_init(&s, slices);
    /* The class's setting is for its own request, the claim's for all. */
    assert_str(written(&s, "n",
                       "{requests: [{name: a, exactly: {deviceClassName: gpu}}, {name: b, firstAvailable: [{name: c, deviceClassName: "
                       "any}]}], config: [{requests: [a, b], opaque: {driver: d, parameters: {x: 1}}}, {requests: [b/c], opaque: {driver: d, "
                       "parameters: {x: 2}}}]}"),
               "{\"devices\":{\"results\":[{\"request\":\"a\",\"driver\":\"d\",\"pool\":\"p\",\"device\":\"g\"},{\"request\":\"b/c\",\"driver\":"
               "\"d\",\"pool\":\"p\",\"device\":\"cpu\"}],\"config\":[{\"source\":\"FromClass\",\"requests\":[\"a\"],\"opaque\":{\"driver\":\"d\","
               "\"parameters\":{\"of\":\"class\"}}},{\"source\":\"FromClaim\",\"opaque\":{\"driver\":\"d\",\"parameters\":{\"x\":1}}},{\"source\":"
               "\"FromClaim\",\"requests\":[\"b/c\"],\"opaque\":{\"driver\":\"d\",\"parameters\":{\"x\":2}}}]},\"nodeSelector\":{"
               "\"nodeSelectorTerms\":[{\"matchFields\":[{\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":[\"n\"]}]}]}}");
    assert_str(written(&s, "m", "{requests: [{name: a, exactly: {deviceClassName: any}}]}"),
               "{\"devices\":{\"results\":[{\"request\":\"a\",\"driver\":\"e\",\"pool\":\"q\",\"device\":\"z\"}]}}");
    setup_done(&s);
}

static void test_share_result(void **state)
{
    (void)state;
    static const char *const slices[] = {SHARED, NULL};
    struct setup s;
    setup_init(&s, slices);
    struct str text = written(&s, "n", ONE("deviceClassName: any, capacity: {requests: {bandwidth: 1500Mi}}"));
    assert_true(str_contains(text, STR("\"consumedCapacity\":{\"bandwidth\":\"2Gi\"}")));
    assert_true(str_contains(text, STR("\"shareID\":\"")));
    setup_done(&s);
}

/* ---- cost --------------------------------------------------------------------------------------------------- */

static void test_bound(void **state)
{
    (void)state;
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (int i = 0; i < 60; i++)
        buf_printf(&b, "%s{name: d%d, attributes: {m: {int: %d}}}", i ? ", " : "", i, i / 2);
    struct setup s;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *const slices[] = {arena_printf(&a, "{metadata: {name: s}, spec: {driver: d, nodeName: n, pool: {name: p, generation: 1, "
                                                   "resourceSliceCount: 1}, devices: [" STR_FMT "]}}", STR_ARG(buf_str(&b))).p, NULL};
    /* 31 of 30 values: no choice of 31 from 60 devices will do, and there are 10^17 of them. */
    static const char *const claims[] = {"{requests: [{name: r, exactly: {deviceClassName: any, count: 31}}], constraints: [{distinctAttribute: d/m}]}", NULL};
    setup_init(&s, slices);
    assert_str(allocated(&s, "n", claims), "node n: timed out trying to allocate devices");
    setup_done(&s);
}

/* Many nodes that each cost less than the most for one. */
static void test_bound_of_all(void **state)
{
    (void)state;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct setup s;
    struct device_judge j = {judge, &s.asked};
    struct allocator *al;
    struct err e = {0};
    const struct val *result;
    int r, n = 0;
    for (int i = 0; i < 20; i++)
        buf_printf(&b, "%s{name: d%d, attributes: {m: {int: %d}}}", i ? ", " : "", i, i / 2);
    const char *const slices[] = {arena_printf(&a, "{metadata: {name: s}, spec: {driver: d, allNodes: true, pool: {name: p, generation: 1, "
                                                   "resourceSliceCount: 1}, devices: [" STR_FMT "]}}", STR_ARG(buf_str(&b))).p, NULL};
    setup_init(&s, slices);
    const struct val *claim = claim_of(&s, "{requests: [{name: r, exactly: {deviceClassName: any, count: 11}}], constraints: [{distinctAttribute: d/m}]}");
    assert_int_equal(allocator_new(&s.a, s.inv, s.classes, &j, &claim, 1, &al, &e), 0);
    while ((r = allocate(al, STR("n"), NULL, 1, &s.a, &result, &e)) == ALLOCATE_IMPOSSIBLE && n < 1000)
        n++;
    assert_int_equal(r, -ETIME);
    assert_true(n > 10);
    setup_done(&s);
}

static void test_selectors_asked_once(void **state)
{
    (void)state;
    static const char *const slices[] = {
        "{metadata: {name: t}, spec: {driver: d, allNodes: true, pool: {name: p, generation: 1, resourceSliceCount: 1}, devices: [{name: a}, {name: b}]}}", NULL};
    struct setup s;
    const struct val *result;
    struct allocator *al;
    struct err e = {0};
    setup_init(&s, slices);
    const struct val *claim = claim_of(&s, ONE("deviceClassName: gpu"));
    struct device_judge j = {judge, &s.asked};
    assert_int_equal(allocator_new(&s.a, s.inv, s.classes, &j, &claim, 1, &al, &e), 0);
    assert_int_equal(allocate(al, STR("n"), NULL, 1, &s.a, &result, &e), ALLOCATE_IMPOSSIBLE);
    assert_int_equal(allocate(al, STR("m"), NULL, 1, &s.a, &result, &e), ALLOCATE_IMPOSSIBLE);
    assert_int_equal(s.asked, 2);
    setup_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),         cmocka_unit_test(test_partitions), cmocka_unit_test(test_shares),
        cmocka_unit_test(test_result),       cmocka_unit_test(test_share_result), cmocka_unit_test(test_bound), cmocka_unit_test(test_bound_of_all),
        cmocka_unit_test(test_selectors_asked_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
