/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NetworkPolicy on one node: what its pods may take and send, as nftables rules in a table of its own. What the kernel should
 * hold is kept by plan.h (pure); what is sent to it is the difference.
 */
#pragma once

#include "client/client.h"

/*
 * The kubelet's side, when it runs in the same process: between a pod's network and its first container, policy_placed tells
 * the pod's addresses and waits until the kernel has its rules (at most 2 s). Without it nothing is let through too early
 * either, since an address that was not looked at yet is shut off; the pod's first packets are only lost until its status
 * has told the address.
 */
struct policy_gate;
struct policy_gate *policy_gate_new(void);
void policy_gate_free(struct policy_gate *g);
/* addresses: comma separated. Returns at once while no policies are there. */
void policy_placed(struct policy_gate *g, struct str ns, struct str name, struct str uid, struct str addresses);

struct policy_config {
    struct client *client;
    const char *node_name;
    const char *table;        /* NULL: "cube-policy" (several clusters on one machine need different ones) */
    struct policy_gate *gate; /* NULL: none */
};

/* Until this fiber is cancelled. Leaves the rules in place (they hold while we restart). Without any NetworkPolicy there is
 * no table, and neither pods nor namespaces are followed. */
int policy_run(const struct policy_config *config, struct err *e);
/* Removes everything it ever made. Waits. */
int policy_cleanup(const char *table, struct err *e);
int policy_main(int argc, char **argv);
