/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster in a simulated world: store, API server, controllers and scheduler as one process that can be killed, and
 * any number of nodes, each a machine of the mind with the real kubelet, behind a road of its own. All within sim_run.
 */
#pragma once

#include "sim/client_faulty.h"
#include "sim/hollow.h"
#include "sim/witness.h"

struct cluster_world_config {
    unsigned nodes;
    const char *ns; /* whose pods are watched */
    bool apart;   /* controllers and scheduler are processes of their own, behind roads, and survive the API server */
    int64_t delay_min_ns, delay_max_ns; /* of roads; 0: 100 us, 2 ms */
};

enum crash {
    CRASH_STOP,  /* an orderly end */
    CRASH_KILL,  /* kill -9: what was written stays, synced or not */
    CRASH_POWER, /* the power goes: what was not synced may be lost */
};
extern const char *const crash_names[];

struct world_node {
    struct cluster_world *world;
    char name[24], user[40], ip[16], root[32];
    unsigned number;
    struct road road;
    struct hollow *machine;
    struct group fibers; /* its kubelet */
    bool up;             /* the machine */
    bool kubelet;        /* its kubelet runs */
    bool troubled;       /* for tests: something is being done to it */
};

struct cluster_world {
    struct cluster_world_config config;
    struct truth truth;
    struct historian historian;
    struct watcher watcher;
    struct store *store;
    struct apiserver *server;
    struct server_slot slot;
    struct group parts, checks;
    struct road parts_road;
    struct client *client;         /* for tests: nothing is lost on its way */
    struct client *watcher_client;
    struct world_node *nodes;
    unsigned crashes;
};

/* Everything starts; waits until the API server serves. 0 or -errno. */
int cluster_world_start(struct cluster_world *w, const struct cluster_world_config *config, struct err *e);
/* The process of the control plane ends that way. Waits. */
void cluster_world_crash(struct cluster_world *w, enum crash how);
/* And comes back. */
int cluster_world_recover(struct cluster_world *w, struct err *e);
void cluster_world_end(struct cluster_world *w);

void world_node_kill_kubelet(struct world_node *n);
void world_node_power_off(struct world_node *n, bool disk_lost);
void world_node_start(struct world_node *n); /* machine and kubelet, what of the two is down */
