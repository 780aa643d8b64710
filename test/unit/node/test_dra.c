/* SPDX-License-Identifier: Apache-2.0 */
/* Claims that drivers prepared: what is kept of them over a restart, and which devices a container gets. */
#include "node/dra.h"

#include "client/fake_client.h"
#include "grpc.h"
#include "net/grpc.h"
#include "node/kubelet-internal.h"
#include "node/metrics.h"
#include "testing.h"
#include "type/meta.h"
#include "types.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static struct arena arena;

#define CLAIM                                                                                                \
    "{metadata: {namespace: ns, name: c, uid: u-c}, status: {allocation: {devices: {results: [{request: r, driver: d, pool: p, device: x}, "    \
    "{request: q/s, driver: e, pool: p, device: y}]}}}}"

static struct dra_claim *prepared(struct dra_state *s)
{
    struct object *o CLEANUP_OBJECT = object_relaxed(RES_RESOURCECLAIMS, CLAIM);
    struct dra_claim *c = dra_state_add(s, o->val);
    const struct type *t = &types[T_dra_v1_NodePrepareResourceResponse];
    map_put(&c->pods, STR("u-p"), c);
    dra_claim_set_devices(c, STR("d"), val_get(val_relaxed(&arena, t, "{devices: [{request_names: [r], pool_name: p, device_name: x, cdi_device_ids: ['v/k=x', 'v/k=all']}]}"), N_devices));
    dra_claim_set_devices(c, STR("e"), val_get(val_relaxed(&arena, t, "{devices: [{request_names: [q/s], pool_name: p, device_name: y, share_id: h, cdi_device_ids: ['v/k=y', 'v/k=all']}]}"), N_devices));
    return c;
}

static const char *given(const struct dra_claim *c, const char *request)
{
    struct val *list = val_new(&arena, VAL_LIST);
    struct buf b CLEANUP_BUF = BUF_INIT;
    dra_claim_devices(c, str_of(request), &arena, list);
    buf_puts(&b, "");
    VAL_EACH (list, d)
        buf_printf(&b, "%s" STR_FMT, b.n ? " " : "", STR_ARG(val_getstr(d, N_name)));
    return arena_cstr(&arena, buf_str(&b));
}

static void test_devices_of_requests(void **state)
{
    (void)state;
    struct dra_state s = {0};
    struct dra_claim *c = prepared(&s);
    assert_string_equal(given(c, ""), "v/k=x v/k=all v/k=y");
    assert_string_equal(given(c, "r"), "v/k=x v/k=all");
    assert_string_equal(given(c, "q"), "v/k=y v/k=all"); /* whichever alternative it was */
    assert_string_equal(given(c, "other"), "");
    dra_claim_set_devices(c, STR("d"), NULL); /* what is said again takes the place of what was said */
    assert_string_equal(given(c, ""), "v/k=y v/k=all");
    dra_state_done(&s);
}

static void test_file(void **state)
{
    (void)state;
    struct dra_state s = {0}, t = {0};
    struct err e = {{0}};
    prepared(&s);
    struct str text = dra_state_text(&s, &arena);
    assert_true(str_contains(text, STR("\\\"kind\\\":\\\"DRACheckpoint\\\"")));
    assert_int_equal(dra_state_read(&t, text, &e), 0);
    struct dra_claim *c = dra_state_find(&t, STR("ns"), STR("c"));
    assert_non_null(c);
    assert_str(c->uid, "u-c");
    assert_true(map_has(&c->pods, STR("u-p")));
    assert_false(c->prepared); /* its drivers are asked again */
    assert_string_equal(given(c, ""), "v/k=x v/k=all v/k=y");
    assert_str(dra_state_text(&t, &arena), arena_cstr(&arena, text));
    dra_state_drop(&t, c);
    assert_null(dra_state_find(&t, STR("ns"), STR("c")));
    dra_state_done(&s);
    dra_state_done(&t);
}

#define UPSTREAMS \
    "{\"Data\":\"{\\\"kind\\\":\\\"DRACheckpoint\\\",\\\"apiVersion\\\":\\\"checkpoint.dra.kubelet.k8s.io/v1\\\",\\\"ClaimInfoStateList\\\":" \
    "[{\\\"ClaimUID\\\":\\\"u\\\",\\\"ClaimName\\\":\\\"n\\\",\\\"Namespace\\\":\\\"ns\\\",\\\"PodUIDs\\\":{\\\"p\\\":{}},\\\"DriverState\\\":{\\\"d\\\":" \
    "{\\\"Devices\\\":null}}}]}\",\"Checksum\":%u}"

/* As upstream's kubelet writes it: members in another order, lists that are null. */
static void test_upstreams_file(void **state)
{
    (void)state;
    static const unsigned sum = 702696322u;
    struct dra_state s = {0};
    struct err e = {{0}};
    assert_int_equal(dra_state_read(&s, arena_printf(&arena, UPSTREAMS, sum), &e), 0);
    assert_non_null(dra_state_find(&s, STR("ns"), STR("n")));
    dra_state_done(&s);
    assert_int_equal(dra_state_read(&s, arena_printf(&arena, UPSTREAMS, sum + 1), &e), -EINVAL);
    assert_int_equal(dra_state_read(&s, STR("{"), &e), -EINVAL);
    assert_int_equal(dra_state_read(&s, STR("[]"), &e), -EINVAL);
    dra_state_done(&s);
}

/* ---- a driver ------------------------------------------------------------------------------------------------------ */

static char dir[64];
static int preparations, unpreparations;
static const char *trouble; /* what the driver says instead */

static int answer_claims(struct grpc_exchange *g, bool prepare)
{
    const struct val *q;
    struct arena *a = grpc_arena(g);
    int rc = grpc_recv_request(g, &q);
    struct val *answer = val_new(a, VAL_OBJ), *claims = val_sub_map(a, answer, N_claims);
    if (rc != 0)
        return rc;
    VAL_EACH (val_get(q, N_claims), c) {
        struct val *one = val_new(a, VAL_OBJ);
        *(prepare ? &preparations : &unpreparations) += 1;
        if (trouble) {
            val_set_str(a, one, N_error, str_of(trouble));
        } else if (prepare) {
            struct val *d = val_add_obj(a, val_sub_list(a, one, N_devices));
            val_set_str(a, d, N_pool_name, STR("p"));
            val_set_str(a, d, N_device_name, STR("x"));
            val_add_str(a, val_sub_list(a, d, N_request_names), STR("r"));
            val_add_str(a, val_sub_list(a, d, N_cdi_device_ids), arena_printf(a, "v/k=" STR_FMT, STR_ARG(val_getstr(c, N_name))));
        }
        val_put(a, claims, val_getstr(c, N_uid), *one);
    }
    return grpc_send(g, answer);
}

static int on_prepare(void *ctx, struct grpc_exchange *g, struct err *e)
{
    (void)ctx, (void)e;
    return answer_claims(g, true);
}

static int on_unprepare(void *ctx, struct grpc_exchange *g, struct err *e)
{
    (void)ctx, (void)e;
    return answer_claims(g, false);
}

static int reports; /* devices that the driver tells of next */
static struct waitq report_more;

static int on_health(void *ctx, struct grpc_exchange *g, struct err *e)
{
    const struct val *q;
    struct arena *a = grpc_arena(g);
    int rc = grpc_recv_request(g, &q);
    (void)ctx, (void)e;
    while (rc == 0) {
        struct val *v = val_new(a, VAL_OBJ), *list = val_sub_list(a, v, N_devices);
        for (int i = 0; i < reports; i++) {
            struct val *d = val_add_obj(a, list), *id = val_sub_obj(a, d, N_device);
            val_set_str(a, id, N_pool_name, STR("p"));
            val_set_str(a, id, N_device_name, arena_printf(a, "of-%d-%d", reports, i));
            val_set_int(a, d, N_health, E_drahealth_v1_HEALTHY);
            val_set_int(a, d, N_health_check_timeout_seconds, 1);
        }
        rc = grpc_send(g, v);
        if (rc == 0)
            rc = waitq_wait(&report_more, MONO_NEVER);
    }
    return GRPC_CANCELLED;
}

static const struct grpc_service driver_services[] = {
    {&grpc_methods[G_drahealth_v1_DRAResourceHealth_NodeWatchResources], on_health},
    {&grpc_methods[G_dra_v1_DRAPlugin_NodePrepareResources], on_prepare},
    {&grpc_methods[G_dra_v1_DRAPlugin_NodeUnprepareResources], on_unprepare},
    {&grpc_methods[G_dra_v1beta1_DRAPlugin_NodePrepareResources], on_prepare},
    {&grpc_methods[G_dra_v1beta1_DRAPlugin_NodeUnprepareResources], on_unprepare},
    {NULL, NULL},
};

#define SHARED(users)                                                                                        \
    "{metadata: {namespace: ns, name: c, uid: u-c}, status: {allocation: {devices: {results: [{request: r, driver: d.x, pool: p, device: x}]}}, "    \
    "reservedFor: [" users "]}}"
#define USER(name) "{resource: pods, name: " name ", uid: u-" name "}"

static struct worker *worker_of(struct kubelet *k, const char *name)
{
    struct object *pod = object_relaxed(
        RES_PODS, arena_printf(&arena, "{metadata: {namespace: ns, name: %s, uid: u-%s}, spec: {resourceClaims: [{name: g, resourceClaimName: c}], containers: "
                                       "[{name: c, resources: {claims: [{name: g}]}}, {name: other}]}}", name, name).p);
    struct worker *w = worker_new(k, pod->uid, pod->namespace_, pod->name);
    w->pod = pod;
    w->started = true;
    return w;
}

static const char *devices_of(struct worker *w, const char *container)
{
    struct cri_container c = {0};
    struct err e = {{0}};
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (dra_give(w, w->pod->val, pod_find_container(w->pod->val, str_of(container), NULL), &arena, &c, &e))
        return arena_cstr(&arena, str_of(e.text));
    buf_puts(&b, "");
    VAL_EACH (c.cdi_devices, d)
        buf_putstr(&b, val_getstr(d, N_name));
    return arena_cstr(&arena, buf_str(&b));
}

static bool file_has(struct kubelet *k, const char *text)
{
    struct str file;
    return k->host->ops->read_file(k->host, &arena, arena_printf(&arena, "%s/dra_manager_state", dir).p, 1 << 20, &file, NULL) == 0 &&
           str_contains(file, str_of(text));
}

static void speak(struct kubelet *k, const char *service)
{
    struct err e = {{0}};
    struct val *versions = val_new(&arena, VAL_LIST);
    struct str endpoint = arena_printf(&arena, "%s/d.sock", dir);
    val_add_str(&arena, versions, str_of(service));
    assert_int_equal(dra_plugin_handler.registered(k, STR("d.x"), endpoint, versions, &e), 0);
    assert_int_equal(dra_plugin_handler.registered(k, STR("d.x"), endpoint, versions, &e), -EEXIST);
}

static void use_driver(struct kubelet *k, struct fake_client *f, const char *service)
{
    struct err e = {{0}};
    struct worker *one = worker_of(k, "one"), *two = worker_of(k, "two");
    struct val *report = val_new(&arena, VAL_OBJ);
    preparations = unpreparations = 0;
    fake_put_text(f, RES_RESOURCECLAIMS, SHARED(USER("one")));
    assert_int_equal(dra_prepare(one, one->pod->val, &e), -ENOENT); /* no driver */
    assert_non_null(strstr(e.text, "DRA driver d.x is not registered"));
    assert_false(file_has(k, "u-one")); /* nothing was begun */
    speak(k, service);
    assert_int_equal(dra_prepare(two, two->pod->val, &e), -EPERM); /* not its claim */
    trouble = "out of order";
    assert_int_equal(dra_prepare(one, one->pod->val, &e), -EIO);
    assert_non_null(strstr(e.text, "NodePrepareResources failed for ResourceClaim c: out of order"));
    assert_true(file_has(k, "u-one")); /* the driver may have done half of it */
    trouble = NULL;
    assert_int_equal(dra_prepare(one, one->pod->val, &e), 0);
    assert_int_equal(preparations, 2);
    fake_put_text(f, RES_RESOURCECLAIMS, SHARED(USER("one") ", " USER("two")));
    assert_int_equal(dra_prepare(two, two->pod->val, &e), 0);
    assert_int_equal(preparations, 2); /* prepared already */
    assert_string_equal(devices_of(two, "c"), "v/k=c");
    assert_string_equal(devices_of(two, "other"), "");
    dra_report(k, two->pod->val, pod_find_container(two->pod->val, STR("c"), NULL), &arena, report);
    const struct val *told = val_item(val_get(val_item(val_get(report, N_dynamic_resources), 0), N_claim_resources), 0);
    assert_str(val_getstr(told, N_driver_name), "d.x");
    assert_str(val_getstr(told, N_device_name), "x");
    const struct val *health = dra_health_of(k, two->pod->val, pod_find_container(two->pod->val, STR("c"), NULL), &arena);
    assert_str(val_getstr(val_item(health, 0), N_name), "claim:g");
    assert_str(val_getstr(val_item(val_get(val_item(health, 0), N_resources), 0), N_health), "Unknown");
    /* The last one ends it. */
    assert_int_equal(dra_unprepare(k, STR("u-one"), &e), 0);
    assert_int_equal(unpreparations, 0);
    trouble = "busy";
    assert_int_equal(dra_unprepare(k, STR("u-two"), &e), -EIO);
    trouble = NULL;
    assert_int_equal(dra_prepare(one, one->pod->val, &e), -EAGAIN); /* on its way out */
    assert_int_equal(dra_unprepare(k, STR("u-two"), &e), 0);
    assert_int_equal(unpreparations, 2);
    assert_false(file_has(k, "u-c"));
    assert_int_equal(dra_unprepare(k, STR("u-two"), &e), 0);
    /* A Pod that went while nobody looked. */
    assert_int_equal(dra_prepare(one, one->pod->val, &e), 0);
    dra_unprepare_stale(k);
    assert_int_equal(unpreparations, 2); /* it is here */
    one->stage = WORKER_FINISHED;
    dra_unprepare_stale(k);
    assert_int_equal(unpreparations, 3);
    dra_plugin_handler.gone(k, STR("d.x"), arena_printf(&arena, "%s/d.sock", dir));
    assert_int_equal(dra_check_driver(k, STR("d.x"), &e), -ENOENT);
    map_del(&k->workers, STR("u-one"));
    map_del(&k->workers, STR("u-two"));
    worker_free(one);
    worker_free(two);
}

/* A claim may be allocated without a device: nobody is asked, and it goes with its last Pod. */
static void use_none(struct kubelet *k, struct fake_client *f)
{
    struct err e = {{0}};
    struct worker *one = worker_of(k, "one");
    unpreparations = 0;
    fake_put_text(f, RES_RESOURCECLAIMS, "{metadata: {namespace: ns, name: c, uid: u-c}, status: {allocation: {devices: {}}, reservedFor: [" USER("one") "]}}");
    assert_int_equal(dra_prepare(one, one->pod->val, &e), 0);
    assert_true(file_has(k, "u-c"));
    assert_int_equal(dra_unprepare(k, STR("u-one"), &e), 0);
    assert_int_equal(unpreparations, 0);
    assert_false(file_has(k, "u-c"));
    assert_int_equal(dra_prepare(one, one->pod->val, &e), 0); /* it can be used again */
    assert_int_equal(dra_unprepare(k, STR("u-one"), &e), 0);
    map_del(&k->workers, STR("u-one"));
    worker_free(one);
}

/* The file is never half there: what was read through an open one is still what it was. */
static void use_file(struct kubelet *k, struct fake_client *f)
{
    struct err e = {{0}};
    struct worker *one = worker_of(k, "one");
    char text[4096], again[4096];
    fake_put_text(f, RES_RESOURCECLAIMS, SHARED(USER("one")));
    assert_int_equal(dra_prepare(one, one->pod->val, &e), 0);
    int fd = open(arena_printf(&arena, "%s/dra_manager_state", dir).p, O_RDONLY | O_CLOEXEC);
    ssize_t n = pread(fd, text, sizeof(text), 0);
    assert_true(n > 0);
    assert_int_equal(dra_unprepare(k, STR("u-one"), &e), 0);
    assert_int_equal(pread(fd, again, sizeof(again), 0), n);
    assert_memory_equal(text, again, (size_t)n);
    close(fd);
    map_del(&k->workers, STR("u-one"));
    worker_free(one);
}

static void wait_for_health(const struct dra_driver *d, size_t n)
{
    for (int i = 0; i < 1000 && d->health.n != n; i++)
        fiber_sleep(MILLISECONDS(10));
    assert_int_equal(d->health.n, n);
}

/* A driver that tells of ever other devices costs no ever growing memory. */
static void use_health(struct kubelet *k)
{
    struct err e = {{0}};
    struct val *versions = val_new(&arena, VAL_LIST);
    struct str endpoint = arena_printf(&arena, "%s/d.sock", dir);
    val_add_str(&arena, versions, STR("v1.DRAPlugin"));
    val_add_str(&arena, versions, STR("v1.DRAResourceHealth"));
    reports = DRA_HEALTH_MAX + 50;
    assert_int_equal(dra_plugin_handler.registered(k, STR("h.x"), endpoint, versions, &e), 0);
    const struct dra_driver *d = map_get(&k->dra.drivers, STR("h.x"));
    wait_for_health(d, DRA_HEALTH_MAX);
    assert_true(map_has(&d->health, arena_printf(&arena, "p/of-%d-0", reports)));
    fiber_sleep(MILLISECONDS(1200)); /* what it said then is worth nothing any more */
    reports = 3;
    waitq_wake_all(&report_more);
    wait_for_health(d, 3);
    assert_true(map_has(&d->health, STR("p/of-3-2")));
    dra_plugin_handler.gone(k, STR("h.x"), endpoint);
}

static struct kubelet *wiped;
static int wipes;

/* While the slices of one driver are deleted, many others come. */
static int on_wipe(void *arg UNUSED, uint16_t verb UNUSED, const struct call *c, const struct val *body UNUSED, struct status *s UNUSED)
{
    struct err e = {{0}};
    struct val *versions = val_new(&arena, VAL_LIST);
    if (c->res != &resources[RES_RESOURCESLICES])
        return 0;
    val_add_str(&arena, versions, STR("v1.DRAPlugin"));
    for (int i = 0; i < 100; i++)
        assert_int_equal(dra_plugin_handler.registered(wiped, arena_printf(&arena, "n%d-%d.x", wipes, i), STR("/nowhere"), versions, &e), 0);
    wipes++;
    return 0;
}

static bool is_wiped(struct kubelet *k, const char *name)
{
    const struct dra_driver *d = map_get(&k->dra.drivers, str_of(name));
    return d && !d->wipe_at.ns;
}

static void use_wipes(struct kubelet *k, struct fake_client *f)
{
    static const char *const names[] = {"w1.x", "w2.x", "w3.x"};
    struct group g = {0};
    struct err e = {{0}};
    struct val *versions = val_new(&arena, VAL_LIST);
    val_add_str(&arena, versions, STR("v1.DRAPlugin"));
    wiped = k;
    k->cfg.node_name = "n";
    k->dra.wiped = true;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        assert_int_equal(dra_plugin_handler.registered(k, str_of(names[i]), STR("/nowhere"), versions, &e), 0);
        dra_plugin_handler.gone(k, str_of(names[i]), STR("/nowhere"));
        struct dra_driver *d = map_get(&k->dra.drivers, str_of(names[i]));
        assert_true(d->wipe_at.ns > os_mono().ns); /* it gets to come back */
        d->wipe_at.ns = 1;
    }
    fake_client_hook(f, on_wipe, NULL);
    group_spawn(&g, "dra", dra_run, k);
    for (int i = 0; i < 1000 && !(is_wiped(k, names[0]) && is_wiped(k, names[1]) && is_wiped(k, names[2])); i++)
        fiber_sleep(MILLISECONDS(10));
    assert_int_equal(wipes, 3);
    group_stop(&g);
    fake_client_hook(f, NULL, NULL);
}

static void check_counts(struct kubelet *k)
{
    static const char *const wanted[] = {
        "\ndra_operations_duration_seconds_count{is_error=\"false\",operation_name=\"PrepareResources\"} ",
        "\ndra_operations_duration_seconds_count{is_error=\"true\",operation_name=\"PrepareResources\"} ",
        "\ndra_operations_duration_seconds_count{is_error=\"true\",operation_name=\"UnprepareResources\"} ",
        "\ndra_grpc_operations_duration_seconds_bucket{driver_name=\"d.x\",grpc_status_code=\"OK\",method_name=\"/k8s.io.kubelet.pkg.apis.dra.v1."
        "DRAPlugin/NodePrepareResources\",le=\"40\"} ",
        "\ndra_resource_claims_in_use{driver_name=\"<any>\"} 1\ndra_resource_claims_in_use{driver_name=\"d.x\"} 1\n",
    };
    struct buf b CLEANUP_BUF = BUF_INIT;
    metrics_write_dra(k, &b);
    buf_putc(&b, '\0');
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
        if (!strstr(b.p, wanted[i]))
            fail_msg("no %s", wanted[i]);
}

FIBER_TEST(test_driver)
{
    struct kubelet *k = NEW(struct kubelet);
    struct runtime rt = {.name = "containerd", .version = "v2.4.2"};
    struct fake_client *f = fake_client_new();
    static struct grpc_server driver = {driver_services, NULL, 0};
    struct err e = {{0}};
    snprintf(dir, sizeof(dir), "/tmp/cube-dra-XXXXXX");
    assert_non_null(mkdtemp(dir));
    k->cfg.root_dir = dir;
    k->host = host_linux_new(dir);
    k->client = fake_client_as(f);
    k->rt = &rt;
    k->metrics = metrics_new(&rt);
    k->relisted = k->statics_seen = true;
    k->events = event_recorder_new(k->client, "kubelet", "n");
    struct http_server *s = http_server_new(&(const struct http_server_config){.handler = grpc_serve, .ctx = &driver});
    assert_int_equal(http_server_listen(s, arena_printf(&arena, "unix:%s/d.sock", dir).p, &e), 0);
    use_driver(k, f, "v1.DRAPlugin");
    use_driver(k, f, "v1beta1.DRAPlugin");
    use_none(k, f);
    speak(k, "v1.DRAPlugin");
    use_file(k, f);
    use_health(k);
    use_wipes(k, f);
    dra_plugin_handler.gone(k, STR("d.x"), arena_printf(&arena, "%s/d.sock", dir));
    /* Over a restart the file tells. */
    struct worker *one = worker_of(k, "one");
    speak(k, "v1.DRAPlugin");
    assert_int_equal(dra_prepare(one, one->pod->val, &e), 0);
    dra_stop(k);
    k->dra = (struct dra){0};
    dra_start(k);
    assert_string_equal(devices_of(one, "c"), "v/k=c");
    /* What cannot be read is kept for somebody to look at. */
    struct kubelet *other = NEW(struct kubelet);
    struct str kept;
    other->cfg.root_dir = dir;
    other->host = k->host;
    assert_int_equal(os_write_file(arena_printf(&arena, "%s/dra_manager_state", dir).p, STR("{\"Data\":\"half"), 0600), 0);
    dra_start(other);
    assert_false(file_has(k, "half"));
    assert_int_equal(os_read_file(&arena, arena_printf(&arena, "%s/dra_manager_state.damaged", dir).p, 1 << 20, &kept), 0);
    assert_str(kept, "{\"Data\":\"half");
    dra_stop(other);
    free(other);
    check_counts(k);
    metrics_free(k->metrics);
    k->metrics = NULL;
    rt.version = "1.6.20~ds1";
    assert_non_null(strstr(devices_of(one, "c"), "does not know CDI devices"));
    map_del(&k->workers, STR("u-one"));
    worker_free(one);
    dra_stop(k);
    http_server_stop(s, os_mono());
    http_server_free(s);
    event_recorder_free(k->events);
    fake_client_free(f);
    linux_remove_tree(k->host, dir, NULL);
    host_free(k->host);
    map_done(&k->workers);
    arena_done(&k->arena);
    free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_devices_of_requests), cmocka_unit_test(test_file),
                                       cmocka_unit_test(test_upstreams_file), cmocka_unit_test(test_driver)};
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    arena_done(&arena);
    return r;
}
