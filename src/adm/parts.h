/* SPDX-License-Identifier: Apache-2.0 */
/* The parts that `cube up` runs beside the API server, as a table, and what they need prepared. */
#pragma once

#include "adm/cluster.h"
#include "base/fiber.h"
#include "client/client.h"

/* Where the parts of one node keep their things. */
struct node_paths {
    const char *kubelet, *pod_logs, *container_logs, *manifests;
    const char *cni_conf; /* NULL: somebody else sees to the network */
    const char *subnet_file; /* of the overlay, for CNI plug-ins */
    const char *cni_data; /* NULL: host-local's own default */
};

struct policy_gate;
struct parts_input {
    const struct cluster_config *config;
    struct arena *arena;
    struct node_paths paths;
    const char *cri_socket;
    struct str ca_pem, ca_key_pem;
    struct policy_gate *policy_gate; /* between kubelet and policy; NULL: none */
    struct str kubelet_cert, kubelet_key; /* the kubelet's serving certificate */
    void (*trouble)(void *arg, const char *text); /* told when a part ended with an error; NULL: nobody */
    void *trouble_arg;
};

struct part {
    const char *name;
    bool everywhere; /* on every node; the others only beside the API server */
    const char *(*user)(const struct parts_input *in); /* whom its client acts as */
    const char *const *groups;
    int (*run)(const struct parts_input *in, struct client *client, struct err *e);
    bool (*wanted)(const struct cluster_config *c); /* NULL: always */
};
extern const struct part parts[]; /* ends with name NULL */

/* A client for a part, which may be started many times. NULL with a sentence when there cannot be one yet. */
typedef struct client *part_client(void *arg, const struct part *part, struct err *e);
/* Starts the parts (all of them, or those of every node) that --without does not name, a fiber each; one that ends with an
 * error is started again with back-off, the others do not notice. */
void parts_start(struct group *g, const struct parts_input *in, bool everywhere_only, part_client *client, void *arg);
/* The nftables table of the network policies: named after the proxy's. */
const char *parts_policy_table(struct arena *a, const struct cluster_config *c);
/* nft's text: packets to and from this node's DNS are not tracked, or are again. */
struct str parts_dns_untrack(struct arena *a, const struct cluster_config *c, bool on);
/* Refuses names of --without that are no parts. */
int parts_check(const struct cluster_config *c, struct err *e);

/* Makes or renews every certificate and kubeconfig, and reads those that parts want. */
int parts_certificates(struct arena *a, const struct cluster_config *c, struct parts_input *ret, struct err *e);
/* The certificate and key that the kubelet of c->node_name at c->advertise serves with. */
int parts_kubelet_cert(struct arena *a, const struct cluster_config *c, struct str ca_pem, struct str ca_key_pem,
                       struct str *ret_cert, struct str *ret_key, struct err *e);
/* The addresses that cluster DNS answers on, on this node; forwarding of IPv6 where pods have it. */
int parts_network(const struct parts_input *in, struct err *e);
/* The objects that a cluster has from its first day besides the API server's own: what kubeadm makes after init. Those
 * that are there are left alone. Needs a client that may do anything. */
int addons_ensure(const struct cluster_config *c, struct client *client, struct err *e);
