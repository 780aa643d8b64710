/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Further nodes on this machine, each in namespaces of its own (network, mounts, processes, host name, IPC),
 * with a containerd, kubelet, service proxy, DNS and overlay of its own. To the cluster they are other
 * machines: they come over HTTPS with certificates of their own. One is a folder below data_dir/nodes and a
 * process 1 that outlives us.
 */
#pragma once

#include "adm/cluster.h"
#include "netlink/prefix.h"
#include "base/flags.h"

struct node {
    const char *name;
    const char *dir;                        /* data_dir/nodes/<name>, on the machine and within */
    const char *program;                    /* this binary; looked up anew at each start */
    const char *link;                       /* the machine's end of its cable */
    const char *gateway;                    /* the machine's addresses on the bridge, one of each family */
    const char *control_plane;              /* the machine's advertised addresses */
    const char *machine_data, *machine_run; /* the machine's folders, whose mounts a node does not want */
    bool stopped;                  /* by hand: stays down when the cluster comes up */
    struct cluster_config cluster; /* as its parts see it: own name, address and folders */
};
struct node_list {
    struct node *list;
    size_t n;
};

/* ---- from the machine's side (nodes.c) ------------------------------------------------------------ */

/* Those on record, by name. */
int nodes_read(struct arena *a, const struct cluster_config *c, struct node_list *ret, struct err *e);
/* NULL when there is none of that name. */
struct node *nodes_find(const struct node_list *l, const char *name);
/* Puts one on record. name NULL: "<node-name>-2" and so on. */
int nodes_add(struct arena *a, const struct cluster_config *c, const char *name, struct node *ret,
              struct err *e);
/* At least so many on record. */
int nodes_ensure(struct arena *a, const struct cluster_config *c, int64_t at_least, struct node_list *ret,
                 struct err *e);
/* Brings up those that are not stopped, side by side; those that run get a fresh agent. ret: those that are
 * up. */
int nodes_start(struct arena *a, const struct cluster_config *c, const struct node_list *which,
                struct node_list *ret, struct err *e);
int node_start(const struct cluster_config *c, struct node *n, struct err *e);
/* As pulling the plug; graceful: containers end first, each with its grace. */
int node_stop(const struct cluster_config *c, struct node *n, bool graceful, struct err *e);
/* Stops it and removes its folder; not its Node object. */
int node_remove(const struct cluster_config *c, struct node *n, struct err *e);
/* Ends the agents (kubelet, proxy ...) of all that run; containers go on. */
int nodes_quiet(const struct cluster_config *c, struct err *e);
/* New certificates where old ones are about to expire. */
int nodes_renew(const struct cluster_config *c, struct err *e);
/* Stops all (pods: orderly), and removes what they had in the kernel; folders stay. */
int nodes_down(const struct cluster_config *c, bool orderly, struct err *e);
/* After nodes_down, for good: bridge, rules, folders made as mount points. */
int nodes_purge(const struct cluster_config *c, struct err *e);
pid_t node_pid(const struct node *n); /* of its process 1; 0 when it is down */
/* Its containerd's socket as the machine sees it; NULL when it is down. */
const char *node_socket(struct arena *a, const struct node *n);

/* ---- its cable (node_net.c) ----------------------------------------------------------------------- */

/* The ranges of further nodes, of the families that pods have: as told, as on record, or such as are free. */
int node_net_range(struct arena *a, const struct cluster_config *c, const struct node_list *known,
                   struct prefixes *ret, struct err *e);
/* Bridge, its addresses, forwarding, and the rule that hides nodes behind the machine. */
int node_net_bridge(const struct cluster_config *c, const struct node *n, struct err *e);
int node_net_plug(const struct cluster_config *c, const struct node *n, pid_t pid, struct err *e);
void node_net_unplug(const struct node *n);
void node_net_remove(const struct cluster_config *c);
/* Within: addresses, routes, what the kernel must forward. Waits for the cable. */
int node_net_within(const struct node *n, struct err *e);

/* ---- certificates (node_certs.c) ------------------------------------------------------------------ */

/* kubeconfigs of its parts and the kubelet's serving certificate, in its folder; what is good is kept. */
int node_certs_ensure(const struct cluster_config *c, const struct node *n, bool *ret_changed, struct err *e);

/* ---- within --------------------------------------------------------------------------------------- */

#define NODE_FLAGS(n)                                                                                        \
    {"program", 0, FLAG_STRING, &(n)->program, NULL}, {"link", 0, FLAG_STRING, &(n)->link, NULL},            \
        {"gateway", 0, FLAG_STRING, &(n)->gateway, NULL},                                                    \
        {"control-plane", 0, FLAG_STRING, &(n)->control_plane, NULL},                                        \
        {"machine-data", 0, FLAG_STRING, &(n)->machine_data, NULL},                                          \
        {"machine-run", 0, FLAG_STRING, &(n)->machine_run, NULL},                                            \
        {"stopped", 0, FLAG_BOOL, &(n)->stopped, NULL},                                                      \
    {                                                                                                        \
        "without", 0, FLAG_STRING, &(n)->cluster.without, NULL                                               \
    }
int node_load(struct arena *a, const char *dir, struct node *ret, struct err *e);
int node_save(const struct node *n, struct err *e);

/* "cube node run --dir DIR": makes the namespaces and process 1 in them, and ends (node_init.c). */
int node_run_main(const char *dir);
/* "cube node agent --dir DIR": kubelet and the others, as a child of process 1 (node_agent.c). */
int node_agent_main(const char *dir);
/* What process 1 says in DIR/state. */
#define NODE_STATE_ON "on"
#define NODE_STATE_OFF "off"
