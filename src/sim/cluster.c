/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cluster.h"

#include <stdio.h>

#include "apiserver/server.h"
#include "base/log.h"
#include "base/os.h"
#include "controllers/engine.h"
#include "node/kubelet.h"
#include "scheduler/scheduler.h"
#include "sim/world.h"
#include "store/store.h"

#define STORE_DIR "/store"
#define CLUSTER_CIDR "10.244.0.0/16"

const char *const crash_names[] = {"stopped", "killed", "without power"};

static const char *const node_groups[] = {"system:nodes", NULL};
static const char *const master_groups[] = {"system:masters", NULL};

/* ---- parts of the control plane ------------------------------------------------------------------------------------ */

static int run_controllers(struct client *c, struct err *e)
{
    static const struct controllers_config config = {.cluster_cidr = CLUSTER_CIDR, .service_cidr = "10.96.0.0/12"};
    return controllers_run_with(c, &config, e);
}

static int run_scheduler(struct client *c, struct err *e)
{
    return scheduler_run(&(const struct scheduler_config){.client = c}, e);
}

static const struct part {
    const char *name, *user;
    const char *const *groups;
    int (*run)(struct client *c, struct err *e);
} parts[] = {
    {"kube-controller-manager", "system:kube-controller-manager", master_groups, run_controllers},
    {"kube-scheduler", "system:kube-scheduler", NULL, run_scheduler},
};

struct part_run {
    struct cluster_world *world;
    const struct part *part;
};

/* A part that ends is started again, as its manager would. */
static void run_part(void *arg)
{
    struct part_run *p = arg;
    struct cluster_world *w = p->world;
    struct client *c = client_faulty_new(&w->slot, w->config.apart ? &w->parts_road : NULL, p->part->name, p->part->user,
                                         p->part->groups);
    while (!fiber_cancelled()) {
        struct err e = {0};
        int r = p->part->run(c, &e);
        if (!fiber_cancelled())
            truth_violated(&w->truth, "%s ends by itself: %s", p->part->name, err_text(&e, r));
        fiber_sleep(SECONDS(1));
    }
    client_free(c);
    free(p);
}

static void start_parts(struct cluster_world *w)
{
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        struct part_run *p = NEW(struct part_run);
        *p = (struct part_run){w, &parts[i]};
        group_spawn(&w->parts, parts[i].name, run_part, p);
    }
}

/* ---- store and API server --------------------------------------------------------------------------------------------- */

static int open_store(struct cluster_world *w, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct store_options o = {.dir = STORE_DIR, .durable = true};
    struct str note = STR_NULL;
    int r = store_open_log(&o, &w->store, &note, &a, e);
    if (r == 0)
        sim_trace("store open at revision %lld" STR_FMT STR_FMT, (long long)store_revision(w->store).n,
                  STR_ARG(note.n ? STR(": ") : STR_NULL), STR_ARG(note));
    return r;
}

static int start_server(struct cluster_world *w, struct err *e)
{
    struct apiserver_config c = {.store = w->store, .authorization = "Node,RBAC"};
    int r = apiserver_start(&c, &w->server, e);
    if (r == 0)
        slot_up(&w->slot, w->server);
    return r;
}

static int start_control_plane(struct cluster_world *w, struct err *e)
{
    int r = open_store(w, e);
    if (r < 0)
        return r;
    historian_begin(&w->historian, w->store);
    r = start_server(w, e);
    if (r < 0)
        return r;
    watcher_begin(&w->watcher, w->watcher_client);
    return 0;
}

void cluster_world_crash(struct cluster_world *w, enum crash how)
{
    sim_trace("control plane %s", crash_names[how]);
    w->crashes++;
    if (how == CRASH_KILL)
        sim_disk_kill(STORE_DIR);
    else if (how == CRASH_POWER)
        sim_disk_power_cut(STORE_DIR);
    if (!w->config.apart)
        group_stop(&w->parts);
    watcher_pause(&w->watcher);
    slot_down(&w->slot);
    apiserver_stop(w->server, 0);
    w->server = NULL;
    historian_pause(&w->historian);
    store_close(w->store);
    w->store = NULL;
}

int cluster_world_recover(struct cluster_world *w, struct err *e)
{
    int r = start_control_plane(w, e);
    if (r == 0 && !w->config.apart)
        start_parts(w);
    return r;
}

/* ---- nodes ---------------------------------------------------------------------------------------------------------------- */

static int kubelet_of(struct world_node *n, struct client *c, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *ips[] = {n->ip, NULL};
    const struct kubelet_config config = {
        .node_name = n->name,
        .node_ips = ips,
        .client = c,
        .runtime = hollow_runtime(n->machine),
        .host = hollow_host(n->machine),
        .root_dir = arena_printf(&a, "%s/kubelet", n->root).p,
        .pod_logs_dir = arena_printf(&a, "%s/logs", n->root).p,
        .cni_conf_dir = arena_printf(&a, "%s/cni", n->root).p,
        .no_server = true,
    };
    return kubelet_run(&config, e);
}

static void run_kubelet(void *arg)
{
    struct world_node *n = arg;
    struct client *c = client_faulty_new(&n->world->slot, &n->road, "kubelet", n->user, node_groups);
    struct err e = {0};
    int r = kubelet_of(n, c, &e);
    if (!fiber_cancelled())
        truth_violated(&n->world->truth, "the kubelet of %s ends by itself: %s", n->name, err_text(&e, r));
    client_free(c);
}

void world_node_start(struct world_node *n)
{
    n->up = true;
    if (n->kubelet)
        return;
    n->kubelet = true;
    group_spawn(&n->fibers, "kubelet", run_kubelet, n);
}

void world_node_kill_kubelet(struct world_node *n)
{
    group_stop(&n->fibers);
    n->kubelet = false;
}

void world_node_power_off(struct world_node *n, bool disk_lost)
{
    world_node_kill_kubelet(n);
    if (disk_lost)
        hollow_wipe(n->machine);
    else
        hollow_power_off(n->machine);
    n->up = false;
}

static void make_node(struct cluster_world *w, unsigned i)
{
    struct world_node *n = &w->nodes[i];
    *n = (struct world_node){.world = w, .number = i};
    snprintf(n->name, sizeof(n->name), "node-%03u", i);
    snprintf(n->user, sizeof(n->user), "system:node:node-%03u", i);
    snprintf(n->ip, sizeof(n->ip), "10.0.%u.%u", i / 250, i % 250 + 1);
    n->road = (struct road){.delay_min_ns = w->config.delay_min_ns, .delay_max_ns = w->config.delay_max_ns};
    snprintf(n->root, sizeof(n->root), "/%s", n->name);
    n->machine = hollow_new(n->name, n->root, &w->truth);
}

/* ---- all of it ---------------------------------------------------------------------------------------------------------------- */

int cluster_world_start(struct cluster_world *w, const struct cluster_world_config *config, struct err *e)
{
    *w = (struct cluster_world){.config = *config};
    if (!w->config.delay_max_ns) {
        w->config.delay_min_ns = 100 * NSEC_PER_USEC;
        w->config.delay_max_ns = MILLISECONDS(2);
    }
    w->historian.truth = w->watcher.truth = &w->truth;
    w->watcher.ns = config->ns;
    w->slot.acknowledged = historian_acknowledged;
    w->slot.arg = &w->historian;
    w->parts_road = (struct road){.delay_min_ns = w->config.delay_min_ns, .delay_max_ns = w->config.delay_max_ns};
    w->client = client_faulty_new(&w->slot, NULL, "test", NULL, NULL);
    w->watcher_client = client_faulty_new(&w->slot, NULL, "watcher", NULL, NULL);
    w->nodes = xcalloc(config->nodes, sizeof(*w->nodes));
    for (unsigned i = 0; i < config->nodes; i++)
        make_node(w, i);
    int r = start_control_plane(w, e);
    if (r < 0)
        return r;
    start_parts(w);
    for (unsigned i = 0; i < config->nodes; i++)
        world_node_start(&w->nodes[i]);
    return 0;
}

void cluster_world_end(struct cluster_world *w)
{
    for (unsigned i = 0; i < w->config.nodes; i++) {
        world_node_power_off(&w->nodes[i], false);
        hollow_free(w->nodes[i].machine);
    }
    group_stop(&w->parts);
    if (w->server)
        cluster_world_crash(w, CRASH_STOP);
    client_free(w->client);
    client_free(w->watcher_client);
    free(w->nodes);
    historian_done(&w->historian);
    watcher_done(&w->watcher);
    truth_done(&w->truth);
}
