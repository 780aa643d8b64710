/* SPDX-License-Identifier: Apache-2.0 */
/* The parts that `cube up` runs beside the API server, as a table, and what they need prepared. */
#pragma once

#include "adm/cluster.h"
#include "client/client.h"

struct parts_input {
    const struct cluster_config *config;
    struct arena *arena;
    const char *cri_socket;
    struct str ca_pem, ca_key_pem;
    struct str kubelet_cert, kubelet_key; /* the kubelet's serving certificate */
};

struct part {
    const char *name;
    const char *(*user)(const struct parts_input *in); /* whom its client acts as */
    const char *const *groups;
    int (*run)(const struct parts_input *in, struct client *client, struct err *e);
};
extern const struct part parts[]; /* ends with name NULL */

/* Whether --without names it. */
bool part_is_left_out(const struct cluster_config *c, const char *name);
/* Refuses names of --without that are no parts. */
int parts_check(const struct cluster_config *c, struct err *e);

/* Makes or renews every certificate and kubeconfig, and reads those that parts want. */
int parts_certificates(struct arena *a, const struct cluster_config *c, struct parts_input *ret, struct err *e);
/* The address that cluster DNS answers on, on this node. */
int parts_network(const struct parts_input *in, struct err *e);
/* The objects that a cluster has from its first day besides the API server's own: what kubeadm makes after init. Those
 * that are there are left alone. Needs a client that may do anything. */
int addons_ensure(const struct cluster_config *c, struct client *client, struct err *e);
