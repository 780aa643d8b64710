/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes as the network sees them: where they are, and which pods' ranges they have. Pure. */
#pragma once

#include "base/time.h"
#include "overlay/netconf.h"
#include "type/tree.h"

/* The annotations that Flannel's nodes tell each other with, so that its nodes and ours are one network. */
#define FLANNEL_PREFIX "flannel.alpha.coreos.com"
/* Of annotations: "" or a prefix of one's own, with at most one slash. Empty text when it cannot be one. */
struct str annotation_prefix(struct arena *a, const char *prefix);

struct peer {
    struct str name;
    struct wall since;             /* made when */
    struct prefixes pods;
    struct ip address[FAMILIES];   /* where packets for it go; family 0: none */
    struct ip internal[FAMILIES];  /* InternalIP of the Node */
    struct ip overwrite[FAMILIES]; /* public-ip-overwrite: what others shall be told instead */
    uint8_t mac[FAMILIES][6];      /* of its VXLAN device */
    bool has_mac[FAMILIES];
    bool announced; /* it has said which back end it has */
    struct str backend;
};

/* Whether a change of a Node means anything to us. Either may be NULL. */
bool peer_differs(const struct object *old, const struct object *new_, struct str prefix);
/* Every node but self that has pods' ranges and an address, by age. ret_self (when there is one of that name): whatever it
 * has by now; false when there is none. */
bool peers_of_nodes(struct arena *a, const struct tree *nodes, struct str self, struct str prefix, struct peer **ret,
                    size_t *ret_n, struct peer *ret_self);
void peers_sort(struct peer *list, size_t n); /* by age */
/* {"VNI":1,"VtepMAC":"..."} */
bool vtep_parse(struct str json, uint8_t ret_mac[static 6]);
bool vtep_read(const struct val *v, uint8_t ret_mac[static 6]); /* decoded */
struct str vtep_format(struct arena *a, uint32_t vni, const uint8_t mac[static 6]);

/* What a node has to say about itself. */
struct announcement {
    enum backend_kind backend;
    uint32_t vni;
    struct ip address[FAMILIES]; /* family 0: none */
    uint8_t mac[FAMILIES][6];
};
/* A merge patch of a Node that says so; empty when it says so already. */
struct str announcement_patch(struct arena *a, const struct object *node, struct str prefix,
                              const struct announcement *say);
/* A strategic patch of a Node's status: its network is there (the condition NetworkUnavailable is False). Empty when it says
 * so already. */
struct str network_available_patch(struct arena *a, const struct object *node, struct wall now);
