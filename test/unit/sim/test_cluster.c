/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

#include <stdio.h>

#include "base/log.h"
#include "resources.h"
#include "sim/settled.h"
#include "sim/world.h"
#include "store/store.h"
#include "type/meta.h"
#include "wire/json.h"

/* A small cluster with one Deployment behind a Service; the whole of a test runs in a simulated world. */
struct play {
    struct cluster_world w;
    void (*act)(struct play *p);
    unsigned nodes;
    uint64_t hash;
    int counter;
};

static const struct rollout rollout = {.ns = "default", .name = "web", .image = "example.org/web:1", .replicas = 6};

static int create(struct client *c, uint16_t res, const char *json)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v = NULL;
    struct status s;
    struct err e = {0};
    status_init(&s, &a);
    assert_int_equal(json_decode(&a, resources[res].type, str_of(json), 0, NULL, &v, &e), 0);
    return client_create(c, CALL(.res = &resources[res], .ns = STR("default")), v, &a, NULL, &s);
}

static void make_web(struct play *p)
{
    while (create(p->w.client, RES_SERVICES, "{\"metadata\":{\"name\":\"web\"},\"spec\":{\"selector\":{\"app\":\"web\"},"
                                             "\"ports\":[{\"port\":80}]}}") == 404)
        fiber_sleep(SECONDS(1));
    assert_int_equal(create(p->w.client, RES_DEPLOYMENTS,
        "{\"metadata\":{\"name\":\"web\"},\"spec\":{\"replicas\":6,\"selector\":{\"matchLabels\":{\"app\":\"web\"}},\"template\":"
        "{\"metadata\":{\"labels\":{\"app\":\"web\"}},\"spec\":{\"automountServiceAccountToken\":false,\"containers\":"
        "[{\"name\":\"web\",\"image\":\"example.org/web:1\"}]}}}}"), 0);
}

static void settle(struct play *p)
{
    for (int i = 0;; i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct str why = STR_NULL;
        if (world_settled(&p->w, &rollout, &a, &why) == 0)
            return;
        if (i > 900)
            fail_msg("not settled: " STR_FMT, STR_ARG(why));
        fiber_sleep(SECONDS(1));
    }
}

static void stage(void *arg)
{
    struct play *p = arg;
    struct err e = {0};
    assert_int_equal(cluster_world_start(&p->w, &(struct cluster_world_config){.nodes = p->nodes, .ns = "default"}, &e), 0);
    p->act(p);
    assert_string_equal(p->w.truth.first, "");
    cluster_world_end(&p->w);
    p->hash = sim_trace_hash();
}

static uint64_t act(uint64_t seed, unsigned nodes, void (*fn)(struct play *p))
{
    struct play p = {.act = fn, .nodes = nodes};
    log_set_level(LOG_ERROR);
    sim_run(&(struct sim_config){.seed = seed, .end_ns = SECONDS(86400)}, stage, &p);
    return p.hash;
}

/* ---- all of it together ----------------------------------------------------------------------------------------------- */

static void come_up(struct play *p)
{
    make_web(p);
    settle(p);
}

static void one_seed_one_history(void **state UNUSED)
{
    uint64_t a = act(1, 3, come_up), b = act(1, 3, come_up), c = act(2, 3, come_up);
    assert_true(a == b);
    assert_true(a != c);
}

static size_t ready_pods(struct play *p)
{
    return p->w.watcher.available;
}

static void cut_off(struct play *p)
{
    come_up(p);
    assert_int_equal(ready_pods(p), 6);
    road_set_cut(&p->w.nodes[0].road, true);
    fiber_sleep(SECONDS(100)); /* longer than the 50 s grace, shorter than the 5 min until eviction */
    assert_int_equal(ready_pods(p), 4);
    road_set_cut(&p->w.nodes[0].road, false);
    fiber_sleep(SECONDS(70)); /* its watches were lost, too, and come back with some delay */
    assert_int_equal(ready_pods(p), 6);
    settle(p);
    assert_int_equal(p->w.watcher.deletions, 0);
}

/* The API server's word that a pod is not ready stands only until its kubelet can speak again. */
static void pods_of_a_node_that_was_cut_off_become_ready_again(void **state UNUSED)
{
    act(3, 3, cut_off);
}

static void lose_power_for_long(struct play *p)
{
    come_up(p);
    world_node_power_off(&p->w.nodes[1], false);
    fiber_sleep(SECONDS(40));
    assert_int_equal(ready_pods(p), 6); /* nobody knows yet */
    fiber_sleep(SECONDS(60));
    assert_int_equal(ready_pods(p), 4);
    fiber_sleep(SECONDS(400)); /* evicted after 50 s + 300 s; they go for good when their machine says so */
    assert_int_equal(ready_pods(p), 6);
    assert_int_equal(hollow_pods(p->w.nodes[1].machine), 0);
    world_node_start(&p->w.nodes[1]);
    fiber_sleep(SECONDS(60));
    settle(p);
}

static void pods_of_a_dead_node_are_made_elsewhere(void **state UNUSED)
{
    act(4, 3, lose_power_for_long);
}

static void kill_kubelet(struct play *p)
{
    come_up(p);
    for (int i = 0; i < 3; i++) {
        world_node_kill_kubelet(&p->w.nodes[i]);
        assert_int_equal(hollow_pods(p->w.nodes[i].machine), 2);
        fiber_sleep(SECONDS(2));
        world_node_start(&p->w.nodes[i]);
    }
    fiber_sleep(SECONDS(30));
    settle(p);
    assert_int_equal(ready_pods(p), 6);
    assert_int_equal(p->w.watcher.deletions, 0);
}

static void a_killed_kubelet_leaves_its_pods_alone(void **state UNUSED)
{
    act(5, 3, kill_kubelet);
}

static void crash_again_and_again(struct play *p)
{
    struct err e = {0};
    make_web(p);
    for (int i = 0; i < 9; i++) {
        fiber_sleep(MILLISECONDS(200 * i));
        cluster_world_crash(&p->w, (enum crash)(i % 3));
        fiber_sleep(MILLISECONDS(300));
        assert_int_equal(cluster_world_recover(&p->w, &e), 0);
    }
    settle(p);
    assert_true(p->w.historian.checked > 1000);
    assert_true(p->w.historian.promises > 50);
}

static void a_crashed_control_plane_goes_on_where_it_was(void **state UNUSED)
{
    act(6, 3, crash_again_and_again);
}

static void set_clock_back(struct play *p)
{
    come_up(p);
    sim_clock_jump(-SECONDS(3600));
    assert_true(hollow_end_container(p->w.nodes[0].machine, 1));
    fiber_sleep(SECONDS(60));
    settle(p); /* also: one container for each, not one more at every look */
}

static void a_clock_that_goes_back_makes_no_second_container(void **state UNUSED)
{
    act(12, 1, set_clock_back);
}

static void set_clock_forward(struct play *p)
{
    come_up(p);
    watcher_expect(&p->w.watcher, 6, 0);
    sim_clock_jump(SECONDS(3600));
    fiber_sleep(SECONDS(60));
    assert_int_equal(p->w.watcher.least, 6);
    sim_clock_jump(-SECONDS(7200));
    fiber_sleep(SECONDS(60));
    assert_int_equal(p->w.watcher.least, 6);
    settle(p);
}

static void a_clock_that_jumps_makes_no_node_silent(void **state UNUSED)
{
    act(13, 3, set_clock_forward);
}

/* ---- the road ------------------------------------------------------------------------------------------------------------ */

static int make_map(struct client *c, const char *name)
{
    char json[100];
    snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"%s\"}}", name);
    return create(c, RES_CONFIGMAPS, json);
}

static bool has_map(struct play *p, const char *name)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    status_init(&s, &a);
    return client_get(p->w.client, CALL(.res = &resources[RES_CONFIGMAPS], .ns = STR("default"), .name = str_of(name)), &a,
                      NULL, &s) == 0;
}

static void travel(struct play *p)
{
    struct road road = {.delay_min_ns = MILLISECONDS(3), .delay_max_ns = MILLISECONDS(4)};
    struct client *c = client_faulty_new(&p->w.slot, &road, "test", NULL, NULL);
    struct mono start = os_mono();
    while (make_map(p->w.client, "first") == 404)
        fiber_sleep(MILLISECONDS(100));
    start = os_mono();
    assert_int_equal(make_map(c, "a"), 0);
    assert_in_range(os_mono().ns - start.ns, MILLISECONDS(6), MILLISECONDS(30));
    road.loss = 1000000;
    assert_int_equal(make_map(c, "b"), -ECONNRESET);
    road.loss = 0;
    road_set_cut(&road, true);
    start = os_mono();
    assert_int_equal(make_map(c, "c"), -ETIMEDOUT);
    assert_in_range(os_mono().ns - start.ns, SECONDS(10), SECONDS(11));
    assert_false(has_map(p, "b") || has_map(p, "c"));
    road_set_cut(&road, false);
    cluster_world_crash(&p->w, CRASH_STOP);
    assert_int_equal(make_map(c, "d"), -ECONNREFUSED);
    cluster_world_recover(&p->w, &(struct err){0});
    assert_int_equal(make_map(c, "d"), 0);
    client_free(c);
}

static void calls_are_delayed_lost_and_refused(void **state UNUSED)
{
    act(7, 0, travel);
}

struct caller {
    struct client *client;
    int result;
};

static void call(void *arg)
{
    struct caller *c = arg;
    c->result = make_map(c->client, "left-behind");
}

static void vanish(struct play *p)
{
    struct road road = {.delay_min_ns = 1, .delay_max_ns = 2};
    struct caller c = {.client = client_faulty_new(&p->w.slot, &road, "test", NULL, NULL)};
    struct group g = {0};
    while (make_map(p->w.client, "first") == 404)
        fiber_sleep(MILLISECONDS(100));
    group_spawn(&g, "caller", call, &c);
    fiber_sleep(10 * NSEC_PER_USEC); /* it is at the server, which waits for its disk */
    group_stop(&g);
    client_free(c.client);
    assert_int_equal(c.result, -ECANCELED);
    assert_false(has_map(p, "left-behind"));
    fiber_sleep(SECONDS(1));
    assert_true(has_map(p, "left-behind"));
}

static void a_request_outlives_its_caller(void **state UNUSED)
{
    act(8, 0, vanish);
}

static void watch_on(void *arg)
{
    struct play *p = arg;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct road *road = &p->w.parts_road;
    struct client *c = client_faulty_new(&p->w.slot, road, "test", NULL, NULL);
    struct client_watch *w = NULL;
    struct watch_event e;
    struct status s;
    status_init(&s, &a);
    assert_int_equal(client_watch(c, CALL(.res = &resources[RES_CONFIGMAPS]), 0, &w, &s), 0);
    while (client_watch_next(w, MONO_NEVER, &e, &s) == 0) {
        p->counter += e.kind == WATCH_ADDED;
        object_unref(e.object);
    }
    p->counter += 1000;
    client_watch_close(w);
    client_free(c);
}

static void watch(struct play *p)
{
    struct group g = {0};
    while (make_map(p->w.client, "first") == 404)
        fiber_sleep(MILLISECONDS(100));
    p->w.parts_road = (struct road){.delay_min_ns = MILLISECONDS(5), .delay_max_ns = MILLISECONDS(6)};
    fiber_sleep(SECONDS(5));
    group_spawn(&g, "watch", watch_on, p);
    fiber_sleep(SECONDS(1));
    int before = p->counter;
    road_set_cut(&p->w.parts_road, true);
    make_map(p->w.client, "second");
    fiber_sleep(SECONDS(1));
    assert_int_equal(p->counter, before);
    road_set_cut(&p->w.parts_road, false);
    fiber_sleep(SECONDS(1));
    assert_int_equal(p->counter, before + 1);
    cluster_world_crash(&p->w, CRASH_KILL);
    group_wait(&g, MONO_NEVER);
    assert_int_equal(p->counter, before + 1001);
}

static void a_watch_waits_for_a_mended_road_and_ends_with_its_server(void **state UNUSED)
{
    act(9, 0, watch);
}

/* ---- the witnesses --------------------------------------------------------------------------------------------------------- */

static struct store *open_store(const char *dir)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct store *s = NULL;
    struct str notes = STR_NULL;
    assert_int_equal(store_open_log(&(struct store_options){.dir = dir, .durable = true}, &s, &notes, &a, NULL), 0);
    return s;
}

static void put(struct store *s, const char *key, const char *value)
{
    struct store_op op = {.kind = STORE_PUT, .key = str_of(key), .value = str_of(value), .expect = STORE_ANY};
    assert_int_equal(store_txn(s, &op, 1, NULL, NULL), 0);
}

/* Two stores take each other's place: what the second lacks or has otherwise is noticed. */
static unsigned swap_stores(const char *second_key, const char *second_value)
{
    struct truth t = {0};
    struct historian h = {.truth = &t};
    struct store *a = open_store("/a"), *b = open_store("/b");
    historian_begin(&h, a);
    put(a, "/registry/pods/x", "1");
    put(a, "/registry/pods/y", "2");
    fiber_sleep(SECONDS(1));
    historian_pause(&h);
    put(b, "/registry/pods/x", "1");
    if (second_key)
        put(b, second_key, second_value);
    historian_begin(&h, b);
    historian_pause(&h);
    store_close(a);
    store_close(b);
    sim_disk_remove("/a");
    sim_disk_remove("/b");
    historian_done(&h);
    truth_done(&t);
    return t.violations;
}

static void swap(void *arg UNUSED)
{
    assert_int_equal(swap_stores("/registry/pods/y", "2"), 0);
    assert_true(swap_stores("/registry/pods/y", "3") > 0); /* another value in the same revision */
    assert_true(swap_stores("/registry/pods/z", "2") > 0); /* another key */
    assert_true(swap_stores(NULL, NULL) > 0);              /* went back */
}

static void a_lost_or_changed_revision_is_noticed(void **state UNUSED)
{
    sim_run(&(struct sim_config){.seed = 10}, swap, NULL);
}

static void live(void *arg UNUSED)
{
    struct truth t = {0};
    struct living *a = truth_begin(&t, "m1", STR("u1"), STR("ns/a"), STR("10.0.0.2"));
    assert_non_null(a);
    assert_null(truth_begin(&t, "m2", STR("u1"), STR("ns/a"), STR("10.0.0.3")));
    assert_null(truth_begin(&t, "m2", STR("u2"), STR("ns/b"), STR("10.0.0.2")));
    assert_int_equal(t.violations, 2);
    truth_end(&t, a);
    assert_non_null(truth_begin(&t, "m2", STR("u1"), STR("ns/a"), STR("10.0.0.2")));
    assert_int_equal(t.violations, 2);
    truth_done(&t);
}

static void a_pod_that_lives_twice_is_noticed(void **state UNUSED)
{
    sim_run(&(struct sim_config){.seed = 11}, live, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_seed_one_history),
        cmocka_unit_test(pods_of_a_node_that_was_cut_off_become_ready_again),
        cmocka_unit_test(pods_of_a_dead_node_are_made_elsewhere),
        cmocka_unit_test(a_killed_kubelet_leaves_its_pods_alone),
        cmocka_unit_test(a_crashed_control_plane_goes_on_where_it_was),
        cmocka_unit_test(a_clock_that_goes_back_makes_no_second_container),
        cmocka_unit_test(a_clock_that_jumps_makes_no_node_silent),
        cmocka_unit_test(calls_are_delayed_lost_and_refused),
        cmocka_unit_test(a_request_outlives_its_caller),
        cmocka_unit_test(a_watch_waits_for_a_mended_road_and_ends_with_its_server),
        cmocka_unit_test(a_lost_or_changed_revision_is_noticed),
        cmocka_unit_test(a_pod_that_lives_twice_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
