/* SPDX-License-Identifier: Apache-2.0 */
/* Device plug-ins against the kubelet's side of them: registration, lists, allocation, what monitoring agents see. */
#include "testing.h"

#include "client/fake_client.h"
#include "grpc.h"
#include "net/grpc.h"
#include "node/kubelet-internal.h"
#include "types.h"

#include <stdio.h>
#include <unistd.h>

static struct arena arena;
static char dir[64];
static int allocations, starts;
static bool sick; /* the plug-in says that "b" is */
static struct waitq changed;
static bool hangs; /* at Allocate */
static struct waitq goes_on;

/* ---- a plug-in ------------------------------------------------------------------------------------------------------- */

static struct val *device_list(struct arena *a)
{
    struct val *m = val_new(a, VAL_OBJ), *list = val_sub_list(a, m, N_devices);
    static const char *const ids[] = {"a", "b", "c"};
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        struct val *d = val_add_obj(a, list);
        val_set_str(a, d, N_ID, str_of(ids[i]));
        val_set_str(a, d, N_health, sick && i == 1 ? STR("Unhealthy") : STR("Healthy"));
        val_set_int(a, val_add_obj(a, val_sub_list(a, val_sub_obj(a, d, N_topology), N_nodes)), N_ID, 1);
    }
    return m;
}

static int on_watch(void *ctx, struct grpc_exchange *g, struct err *e)
{
    const struct val *q;
    int rc = grpc_recv_request(g, &q);
    while (rc == 0 && (rc = grpc_send(g, device_list(grpc_arena(g)))) == 0)
        rc = waitq_wait(&changed, MONO_NEVER);
    return GRPC_CANCELLED;
}

static int on_allocate(void *ctx, struct grpc_exchange *g, struct err *e)
{
    const struct val *q;
    struct arena *a = grpc_arena(g);
    int rc = grpc_recv_request(g, &q);
    const struct val *ids = val_get(val_item(val_get(q, N_container_requests), 0), N_devices_ids);
    struct val *answer = val_new(a, VAL_OBJ), *one = val_add_obj(a, val_sub_list(a, answer, N_container_responses)), *o;
    if (rc != 0)
        return rc;
    allocations++;
    while (hangs && waitq_wait(&goes_on, MONO_NEVER) == 0)
        ;
    val_put_str(a, val_sub_map(a, one, N_envs), STR("THINGS"), arena_printf(a, "%zu:" STR_FMT, val_len(ids), STR_ARG(val_str(val_item(ids, 0)))));
    o = val_add_obj(a, val_sub_list(a, one, N_devices));
    val_set_str(a, o, N_host_path, STR("/dev/null"));
    val_set_str(a, o, N_container_path, STR("/dev/thing"));
    val_set_str(a, o, N_permissions, STR("rw"));
    return grpc_send(g, answer);
}

static int on_preferred(void *ctx, struct grpc_exchange *g, struct err *e)
{
    const struct val *q;
    struct arena *a = grpc_arena(g);
    int rc = grpc_recv_request(g, &q);
    struct val *answer = val_new(a, VAL_OBJ), *one = val_add_obj(a, val_sub_list(a, answer, N_container_responses));
    if (rc == 0)
        val_add_str(a, val_sub_list(a, one, N_deviceIDs), STR("c"));
    return rc ? rc : grpc_send(g, answer);
}

static int on_start(void *ctx, struct grpc_exchange *g, struct err *e)
{
    const struct val *q;
    int rc = grpc_recv_request(g, &q);
    starts++;
    return rc ? rc : grpc_send(g, val_new(grpc_arena(g), VAL_OBJ));
}

static bool no_options;

static int on_options(void *ctx, struct grpc_exchange *g, struct err *e)
{
    const struct val *q;
    int rc = grpc_recv_request(g, &q);
    struct val *answer = val_new(grpc_arena(g), VAL_OBJ);
    val_set_bool(grpc_arena(g), answer, N_pre_start_required, true);
    return rc ? rc : no_options ? GRPC_UNAVAILABLE : grpc_send(g, answer);
}

static const struct grpc_service plugin_services[] = {
    {&grpc_methods[G_deviceplugin_v1beta1_DevicePlugin_GetDevicePluginOptions], on_options},
    {&grpc_methods[G_deviceplugin_v1beta1_DevicePlugin_ListAndWatch], on_watch},
    {&grpc_methods[G_deviceplugin_v1beta1_DevicePlugin_Allocate], on_allocate},
    {&grpc_methods[G_deviceplugin_v1beta1_DevicePlugin_GetPreferredAllocation], on_preferred},
    {&grpc_methods[G_deviceplugin_v1beta1_DevicePlugin_PreStartContainer], on_start},
    {NULL, NULL},
};

static int call(const char *socket, unsigned method, const char *type_text, uint16_t type, const struct val **ret, struct err *e)
{
    struct grpc_client *c = grpc_client_new(&(const struct grpc_client_config){.address = arena_printf(&arena, "unix:%s/%s", dir, socket).p});
    const struct val *q = val_relaxed(&arena, type_at(type), type_text);
    int rc = grpc_call(c, &grpc_methods[method], q, mono_add(os_mono(), SECONDS(5)), &arena, ret, e);
    grpc_client_free(c);
    return rc;
}

/* ---- the kubelet's part --------------------------------------------------------------------------------------------------- */

static struct object *pod_of(const char *name, int things)
{
    return object_new(&resources[RES_PODS],
                      val_relaxed(&arena, type_at(T_core_v1_Pod),
                                  arena_printf(&arena, "{metadata: {namespace: n, name: %s, uid: u-%s}, spec: {containers: [{name: c, resources: {limits: "
                                                       "{'x.io/thing': '%d'}, requests: {'x.io/thing': '%d'}}}]}}", name, name, things, things).p));
}

static struct worker *worker_of(struct kubelet *k, const char *name, int things)
{
    struct object *pod = pod_of(name, things);
    struct worker *w = worker_new(k, pod->uid, pod->namespace_, pod->name);
    w->pod = pod;
    w->started = true;
    return w;
}

static void wait_for_healthy(struct kubelet *k, size_t n)
{
    const struct device_resource *r;
    for (int i = 0; i < 500; i++) {
        r = map_get(&k->devices.resources, STR("x.io/thing"));
        if (r && r->n == 3 && devices_healthy(r) == n)
            return;
        fiber_sleep(MILLISECONDS(10));
    }
    fail_msg("the list did not come");
}

struct preparing {
    struct worker *w;
    int rc;
    struct err e;
};

static void prepare_fiber(void *arg)
{
    struct preparing *p = arg;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct val *container = pod_find_container(p->w->pod->val, STR("c"), NULL);
    struct cri_container c = {.spec = container};
    struct env_list env = {NULL, 0, 0};
    p->rc = devices_prepare(p->w, p->w->pod->val, container, &a, &c, &env, &p->e);
}

/* The plug-in goes, or comes again, while it is asked for devices. */
static void goes_meanwhile(struct kubelet *k)
{
    struct preparing p = {.w = worker_of(k, "three", 1), .rc = 1};
    struct group g = {0};
    struct str endpoint = arena_printf(&arena, "%s/device-plugins/thing.sock", dir);
    struct val *versions = val_new(&arena, VAL_LIST);
    struct err e = {{0}};
    int before = allocations;
    val_add_str(&arena, versions, STR("v1beta1"));
    hangs = true;
    group_spawn(&g, "prepare", prepare_fiber, &p);
    for (int i = 0; i < 500 && allocations == before; i++)
        fiber_sleep(MILLISECONDS(10));
    assert_int_equal(allocations, before + 1);
    device_plugin_handler.gone(k, STR("x.io/thing"), STR("/elsewhere")); /* not the one that is here */
    wait_for_healthy(k, 2);
    device_plugin_handler.gone(k, STR("x.io/thing"), endpoint);
    wait_for_healthy(k, 0);
    hangs = false;
    waitq_wake_all(&goes_on);
    group_wait(&g, MONO_NEVER);
    assert_int_equal(p.rc, -EIO);
    assert_non_null(strstr(p.e.text, "the device plug-in of x.io/thing is gone"));
    no_options = true; /* what it needs is not known: not as if it needed nothing */
    assert_int_equal(device_plugin_handler.registered(k, STR("x.io/thing"), endpoint, versions, &e), -EIO);
    assert_non_null(strstr(e.text, "failed to get device plugin options"));
    no_options = false;
    assert_int_equal(device_plugin_handler.registered(k, STR("x.io/thing"), endpoint, versions, &e), 0);
    wait_for_healthy(k, 2);
    p.w->fail_reason = "gone";
    devices_release(p.w);
    map_del(&k->workers, STR("u-three"));
    worker_free(p.w);
}

FIBER_TEST(the_whole)
{
    struct kubelet *k = NEW(struct kubelet);
    struct err e = {{0}};
    struct str message;
    const struct val *answer;
    static struct grpc_server plugin = {plugin_services, NULL, 0};
    k->cfg.root_dir = dir;
    k->host = host_linux_new(dir);
    assert_int_equal(devices_start(k, &e), 0);
    assert_int_equal(podresources_start(k, &e), 0);
    struct http_server *s = http_server_new(&(const struct http_server_config){.handler = grpc_serve, .ctx = &plugin});
    assert_int_equal(http_server_listen(s, arena_printf(&arena, "unix:%s/device-plugins/thing.sock", dir).p, &e), 0);
    /* Registration. */
    static const char *const wrong[] = {"{version: v2, endpoint: thing.sock, resource_name: x.io/thing}", "{version: v1beta1, endpoint: ../x, resource_name: x.io/thing}",
                                        "{version: v1beta1, endpoint: thing.sock, resource_name: cpu}"};
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_true(call("device-plugins/kubelet.sock", G_deviceplugin_v1beta1_Registration_Register, wrong[i], T_deviceplugin_v1beta1_RegisterRequest, &answer, &e) > 0);
    assert_int_equal(call("device-plugins/kubelet.sock", G_deviceplugin_v1beta1_Registration_Register,
                          "{version: v1beta1, endpoint: thing.sock, resource_name: x.io/thing, options: {pre_start_required: true, "
                          "get_preferred_allocation_available: true}}", T_deviceplugin_v1beta1_RegisterRequest, &answer, &e), 0);
    wait_for_healthy(k, 3);
    /* What the node shows. */
    struct val *capacity = val_new(&arena, VAL_MAP), *allocatable = val_new(&arena, VAL_MAP);
    sick = true;
    waitq_wake_all(&changed);
    wait_for_healthy(k, 2);
    devices_report(k, &arena, capacity, allocatable);
    assert_str(val_str(val_key(capacity, STR("x.io/thing"))), "3");
    assert_str(val_str(val_key(allocatable, STR("x.io/thing"))), "2");
    /* Admission counts what was promised to others. */
    struct worker *one = worker_of(k, "one", 1), *two;
    assert_null(devices_admit(k, one, one->pod->val, &arena, &message));
    two = worker_of(k, "two", 2);
    assert_string_equal(devices_admit(k, two, two->pod->val, &arena, &message), "UnexpectedAdmissionError");
    assert_str(message, "Allocate failed due to requested number of devices unavailable for x.io/thing. Requested: 2, Available: 1, which is unexpected");
    /* Allocation: what the plug-in prefers; asked once, started every time. */
    const struct val *container = pod_find_container(one->pod->val, STR("c"), NULL);
    for (int i = 1; i <= 2; i++) {
        struct cri_container c = {.spec = container};
        struct env_list env = {NULL, 0, 0};
        assert_int_equal(devices_prepare(one, one->pod->val, container, &arena, &c, &env, &e), 0);
        assert_str(*env_find(&env, STR("THINGS")), "1:c");
        assert_int_equal(c.n_devices, 1);
        assert_str(c.devices[0].container_path, "/dev/thing");
        assert_str(val_str(val_key(c.annotations, STR(CRI_NOTE_DEVICES))), "{\"x.io/thing\":[\"c\"]}");
        assert_int_equal(allocations, 1);
        assert_int_equal(starts, i);
    }
    goes_meanwhile(k);
    struct cri_container c = {.spec = container};
    struct env_list env = {NULL, 0, 0};
    assert_int_equal(devices_prepare(two, two->pod->val, pod_find_container(two->pod->val, STR("c"), NULL), &arena, &c, &env, &e), -ENODEV);
    /* Monitoring agents. */
    assert_int_equal(call("pod-resources/kubelet.sock", G_podresources_v1_PodResourcesLister_Get, "{pod_name: one, pod_namespace: n}",
                          T_podresources_v1_GetPodResourcesRequest, &answer, &e), 0);
    const struct val *held = val_item(val_get(val_item(val_at(answer, N_pod_resources, N_containers), 0), N_devices), 0);
    assert_str(val_getstr(held, N_resource_name), "x.io/thing");
    assert_str(val_str(val_item(val_get(held, N_device_ids), 0)), "c");
    assert_int_equal(val_int(val_get(val_item(val_at(held, N_topology, N_nodes), 0), N_ID), 0), 1);
    assert_int_equal(call("pod-resources/kubelet.sock", G_podresources_v1_PodResourcesLister_List, "{}", T_podresources_v1_ListPodResourcesRequest, &answer, &e), 0);
    assert_int_equal(val_len(val_get(answer, N_pod_resources)), 2);
    assert_int_equal(call("pod-resources/kubelet.sock", G_podresources_v1_PodResourcesLister_GetAllocatableResources, "{}",
                          T_podresources_v1_AllocatableResourcesRequest, &answer, &e), 0);
    assert_int_equal(val_len(val_get(answer, N_devices)), 2);
    assert_true(call("pod-resources/kubelet.sock", G_podresources_v1_PodResourcesLister_Get, "{pod_name: none, pod_namespace: n}",
                     T_podresources_v1_GetPodResourcesRequest, &answer, &e) > 0);
    /* Over a restart of the kubelet, the containers tell. */
    devices_release(one);
    assert_int_equal(k->devices.n, 0);
    struct podstate *state = podstate_new(STR("u-one"), STR("one"), STR("n"));
    state->containers = ARENA_ARRAY(&state->arena, struct rt_container, 1);
    state->containers[state->n_containers++] = (struct rt_container){.name = STR("c"), .state = RT_RUNNING, .devices = STR("{\"x.io/thing\":[\"a\"]}")};
    one->state = state;
    devices_recall(one);
    devices_recall(one);
    assert_int_equal(k->devices.n, 1);
    assert_string_equal(k->devices.grants[0].ids[0], "a");
    /* The plug-in ends: nothing to have, but the resource is still shown. */
    http_server_stop(s, os_mono());
    http_server_free(s);
    wait_for_healthy(k, 0);
    two->fail_reason = "gone";
    devices_release(one);
    assert_string_equal(devices_admit(k, two, two->pod->val, &arena, &message), "UnexpectedAdmissionError");
    assert_str(message, "Allocate failed due to no healthy devices present; cannot allocate unhealthy devices x.io/thing, which is unexpected");
    devices_stop(k);
    podresources_stop(k);
    worker_free(one);
    worker_free(two);
    map_done(&k->workers);
    host_free(k->host);
    arena_done(&k->arena);
    free(k);
}

/* ---- the folder of plug-ins ---------------------------------------------------------------------------------- */

enum { HUNG = 5 };
static bool notified;

static void never_answers(void *ctx, struct http_exchange *x)
{
    fiber_sleep(SECONDS(3600));
}

static int on_info(void *ctx, struct grpc_exchange *g, struct err *e)
{
    const struct val *q;
    int rc = grpc_recv_request(g, &q);
    return rc ? rc : grpc_send(g, val_relaxed(grpc_arena(g), type_at(T_pluginregistration_PluginInfo), "{type: Odd, name: good, supported_versions: [v1]}"));
}

static int on_notified(void *ctx, struct grpc_exchange *g, struct err *e)
{
    const struct val *q;
    int rc = grpc_recv_request(g, &q);
    notified = true;
    return rc ? rc : grpc_send(g, val_new(grpc_arena(g), VAL_OBJ));
}

static const struct grpc_service registration_services[] = {
    {&grpc_methods[G_pluginregistration_Registration_GetInfo], on_info},
    {&grpc_methods[G_pluginregistration_Registration_NotifyRegistrationStatus], on_notified},
    {NULL, NULL},
};

static struct http_server *serve(const char *name, http_handler *handler, void *ctx)
{
    struct err e = {{0}};
    struct http_server *s = http_server_new(&(const struct http_server_config){.handler = handler, .ctx = ctx});
    assert_int_equal(http_server_listen(s, arena_printf(&arena, "unix:%s/plugins_registry/%s.sock", dir, name).p, &e), 0);
    return s;
}

/* Those that do not answer keep nobody waiting who does: each would take ten seconds. */
FIBER_TEST(plug_ins_that_hang)
{
    struct kubelet *k = NEW(struct kubelet);
    static struct grpc_server registration = {registration_services, NULL, 0};
    struct http_server *servers[HUNG + 1];
    struct group g = {0};
    struct err e = {{0}};
    k->cfg.root_dir = dir;
    k->host = host_linux_new(dir);
    assert_int_equal(k->host->ops->make_dir(k->host, arena_printf(&arena, "%s/plugins_registry", dir).p, 0750, &e), 0);
    for (int i = 0; i < HUNG; i++)
        servers[i] = serve(arena_printf(&arena, "hung%d", i).p, never_answers, NULL);
    servers[HUNG] = serve("good", grpc_serve, &registration);
    group_spawn(&g, "plug-ins", plugins_run, k);
    for (int i = 0; i < 500 && !notified; i++)
        fiber_sleep(MILLISECONDS(10));
    assert_true(notified);
    group_stop(&g);
    for (int i = 0; i <= HUNG; i++) {
        http_server_stop(servers[i], os_mono());
        http_server_free(servers[i]);
    }
    host_free(k->host);
    arena_done(&k->arena);
    free(k);
}

static void device_plugins(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/cube-devices-XXXXXX");
    assert_non_null(mkdtemp(dir));
    the_whole(state);
    plug_ins_that_hang(state);
    struct host *h = host_linux_new(dir);
    linux_remove_tree(h, dir, NULL);
    host_free(h);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(device_plugins)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
