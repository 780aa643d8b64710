/* SPDX-License-Identifier: Apache-2.0 */
#include "trouble.h"

#include <stdio.h>

#include "base/os.h"
#include "resources.h"
#include "sim/world.h"
#include "type/meta.h"

static int64_t some(int64_t min_ms, int64_t max_ms)
{
    return MILLISECONDS(min_ms + (int64_t)sim_below((uint64_t)(max_ms - min_ms)));
}

/* ---- nodes ---------------------------------------------------------------------------------------------------------- */

/* Mostly shorter than it takes to be noticed (50 s), sometimes long enough for its pods to be evicted (5 min). */
static void for_a_while(void)
{
    static const int64_t most_ms[] = {5000, 40000, 120000, 600000};
    fiber_sleep(some(500, most_ms[sim_below(ARRAY_SIZE(most_ms))]));
}

static void loses_kubelet(struct world_node *n)
{
    world_node_kill_kubelet(n);
    for_a_while();
}

static void loses_power(struct world_node *n)
{
    world_node_power_off(n, false);
    for_a_while();
}

static void loses_disk(struct world_node *n)
{
    world_node_power_off(n, true);
    for_a_while();
}

static void is_cut_off(struct world_node *n)
{
    road_set_cut(&n->road, true);
    for_a_while();
}

static void is_badly_connected(struct world_node *n)
{
    n->road.loss = 300000;
    n->road.delay_max_ns = SECONDS(2);
    for_a_while();
}

static void loses_containers(struct world_node *n)
{
    for (uint64_t i = sim_below(10); i-- > 0;) {
        hollow_end_container(n->machine, sim_below(2) ? 1 : 0);
        fiber_sleep(some(100, 20000));
    }
}

static const struct {
    const char *name;
    void (*happens)(struct world_node *n); /* returns when it is over */
} mishaps[] = {
    {"loses its kubelet", loses_kubelet}, {"loses power", loses_power}, {"loses power and disk", loses_disk},
    {"is cut off", is_cut_off}, {"is badly connected", is_badly_connected}, {"loses containers", loses_containers},
};

static void set_road(struct world_node *n, bool bad)
{
    n->road.loss = bad ? (unsigned)sim_below(20000) : 0; /* up to 2 % */
    n->road.delay_max_ns = bad && sim_below(10) == 0 ? MILLISECONDS(200) : n->world->config.delay_max_ns;
    road_set_cut(&n->road, false);
}

static void node_fails(struct trouble *t, struct world_node *n)
{
    size_t which = sim_below(ARRAY_SIZE(mishaps));
    sim_trace("%s %s", n->name, mishaps[which].name);
    t->node_failures++;
    n->troubled = true;
    mishaps[which].happens(n);
    sim_trace("%s is well again", n->name);
    set_road(n, true);
    world_node_start(n);
    n->troubled = false;
}

static void nodes_fail(void *arg)
{
    struct trouble *t = arg;
    while (!t->over) {
        struct world_node *n = &t->world->nodes[sim_below(t->world->config.nodes)];
        if (!n->troubled)
            node_fails(t, n);
        fiber_sleep(some(100, 4000));
    }
}

/* ---- the control plane ------------------------------------------------------------------------------------------------ */

static void dies(struct trouble *t, enum crash how)
{
    struct err e = {0};
    cluster_world_crash(t->world, how);
    fiber_sleep(some(0, sim_below(4) ? 3000 : 50000));
    if (cluster_world_recover(t->world, &e) < 0)
        snprintf(t->why, sizeof(t->why), "the control plane does not come back: %.400s", e.text);
}

static void is_stopped(struct trouble *t)
{
    dies(t, CRASH_STOP);
}

static void is_killed(struct trouble *t)
{
    dies(t, CRASH_KILL);
}

static void loses_its_power(struct trouble *t)
{
    dies(t, CRASH_POWER);
}

/* The store must not go on after a sync that failed, so somebody has to start it anew. */
static void disk_fails(struct trouble *t)
{
    sim_disk_fail_syncs((unsigned)sim_below(50), 1);
    fiber_sleep(some(100, 10000));
    sim_disk_fail_syncs(0, 0);
    dies(t, sim_below(2) ? CRASH_KILL : CRASH_POWER);
}

static void disk_fills(struct trouble *t UNUSED)
{
    sim_disk_capacity(1); /* nothing may grow */
    fiber_sleep(some(100, 30000));
    sim_disk_capacity(0);
}

/* Of all machines alike, forward or back. */
static void clock_jumps(struct trouble *t UNUSED)
{
    int64_t ms = some(100, 7200000) / NSEC_PER_MSEC;
    sim_clock_jump(MILLISECONDS(sim_below(2) ? ms : -ms));
}

static const struct {
    const char *name;
    void (*happens)(struct trouble *t);
} disasters[] = {
    {"is stopped", is_stopped}, {"is killed", is_killed}, {"loses power", loses_its_power}, {"has a failing disk", disk_fails},
    {"has a full disk", disk_fills}, {"has a clock that jumps", clock_jumps},
};

static void control_plane_fails(void *arg)
{
    struct trouble *t = arg;
    for (;;) {
        fiber_sleep(some(500, 500 + 59500 / MAX(t->often, 1u)));
        if (t->over || t->why[0])
            return;
        size_t which = sim_below(ARRAY_SIZE(disasters));
        sim_trace("the control plane %s", disasters[which].name);
        disasters[which].happens(t);
    }
}

/* ---- users ---------------------------------------------------------------------------------------------------------------- */

size_t trouble_fewest(size_t replicas)
{
    return replicas * 4 / 5;
}

static int patch_deployment(struct trouble *t, const char *patch)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    status_init(&s, &a);
    return client_patch(t->world->client, CALL(.res = &resources[RES_DEPLOYMENTS], .ns = STR(NS), .name = STR(NAME)),
                        PATCH_STRATEGIC, str_of(patch), &a, NULL, &s);
}

int user_rolls(struct trouble *t, const char *image, size_t replicas)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    sim_trace("user: %s, %zu replicas", image, replicas);
    return patch_deployment(t, arena_printf(&a, "{\"spec\":{\"paused\":null,\"replicas\":%zu,\"template\":{\"spec\":{\"containers\":[{\"name\":"
                                                "\"web\",\"image\":\"%s\"}]}}}}", replicas, image).p);
}

static void rolls(struct trouble *t)
{
    static const char *const images[] = {IMAGE(1), IMAGE(2), IMAGE(3)};
    user_rolls(t, images[sim_below(ARRAY_SIZE(images))], t->replicas);
}

static void scales(struct trouble *t)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    size_t n = trouble_fewest(t->replicas) + sim_below(t->replicas / 5 + 1);
    sim_trace("user: %zu replicas", n);
    patch_deployment(t, arena_printf(&a, "{\"spec\":{\"replicas\":%zu}}", n).p);
}

static void pauses(struct trouble *t)
{
    sim_trace("user: pause");
    patch_deployment(t, "{\"spec\":{\"paused\":true}}");
    fiber_sleep(some(100, 20000));
    sim_trace("user: resume"); /* when it is refused, the end of all trouble resumes it, too */
    patch_deployment(t, "{\"spec\":{\"paused\":null}}");
}

/* One of a kind, by chance; NULL when there is none. */
static const struct val *any(struct trouble *t, uint16_t res, struct arena *a)
{
    const struct val *list = NULL;
    struct status s;
    status_init(&s, a);
    if (client_list(t->world->client, CALL(.res = &resources[res], .ns = STR(NS)), a, &list, &s) != 0)
        return NULL;
    const struct val *items = val_get(list, N_items);
    return val_len(items) ? val_item(items, sim_below(val_len(items))) : NULL;
}

static void delete_any(struct trouble *t, uint16_t res, const char *propagation)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    const struct val *v = any(t, res, &a);
    status_init(&s, &a);
    if (!v)
        return;
    sim_trace("user: delete %s " STR_FMT " %s", resources[res].name, STR_ARG(obj_name(v)), propagation);
    /* The pods of a ReplicaSet are deleted by the garbage collector, once it is there again and has seen it. */
    watcher_excuse(&t->world->watcher, res == RES_PODS ? 1 : t->replicas, SECONDS(res == RES_PODS ? 60 : 300));
    client_delete(t->world->client,
                  CALL(.res = &resources[res], .ns = STR(NS), .name = obj_name(v), .propagation = propagation), &a, NULL, &s);
}

static void deletes_pods(struct trouble *t)
{
    for (uint64_t i = sim_below(10); i-- > 0;)
        delete_any(t, RES_PODS, "Background");
}

static void deletes_replicaset(struct trouble *t)
{
    static const char *const ways[] = {"Background", "Foreground"}; /* orphans would stay for good */
    delete_any(t, RES_REPLICASETS, ways[sim_below(ARRAY_SIZE(ways))]);
}

static void (*const deeds[])(struct trouble *t) = {rolls, scales, pauses, deletes_pods, deletes_replicaset};

static void users_act(void *arg)
{
    struct trouble *t = arg;
    while (!t->over) {
        deeds[sim_below(ARRAY_SIZE(deeds))](t);
        fiber_sleep(some(100, 30000));
    }
}

/* ---- all of it ------------------------------------------------------------------------------------------------------------- */

static void roads(struct trouble *t, bool bad)
{
    for (unsigned i = 0; i < t->world->config.nodes; i++)
        set_road(&t->world->nodes[i], bad);
}

void trouble_cause(struct trouble *t, int64_t ns)
{
    struct group g = {0};
    roads(t, true);
    for (unsigned i = 0; i < MAX(t->world->config.nodes / 8, 1u); i++)
        group_spawn(&g, "trouble", nodes_fail, t);
    group_spawn(&g, "trouble", control_plane_fails, t);
    if (t->users)
        group_spawn(&g, "trouble", users_act, t);
    fiber_sleep(ns);
    t->over = true;
    group_wait(&g, MONO_NEVER);
    roads(t, false);
    for (int i = 0; t->users && !t->why[0] && user_rolls(t, t->image, t->replicas) != 0; i++)
        fiber_sleep(SECONDS(1));
    sim_trace("no more trouble");
}
