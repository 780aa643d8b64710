/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nftables mode wants in its table: a pure function of service ports. The unit is an item: a chain with its rules, a
 * set, an element of one of the table's maps, or a list of endpoints. The table's fixed part is nft_base().
 *
 * A verdict map leads from (address, protocol, port), another from (protocol, port) of NodePorts, to a chain. The endpoints
 * stand in maps, too, under the same key and a number; the chain draws the number. So all Services with as many endpoints
 * share one chain, and a change of endpoints is a change of elements: the kernel checks all chains of a table again when a rule
 * or a verdict is added, and takes time that grows with the square of the number of anonymous sets in a transaction. Only
 * session affinity and source ranges need chains of a Service's own.
 */
#pragma once

#include "netlink/nftmsg.h"
#include "proxy/model.h"

enum nft_table_set {
    SET_CLUSTER_IPS,
    SET_SERVICE_IPS,
    SET_NODEPORTS,
    SET_NO_ENDPOINTS,
    SET_NO_ENDPOINTS_NODEPORTS,
    SET_FIREWALL,
    SET_HAIRPIN,
    SET_NODEPORT_IPS,
    SET_SERVICE_ENDPOINTS, /* key and number -> endpoint */
    SET_LOCAL_ENDPOINTS,   /* those of this node, for traffic of policy Local from outside */
    SET_NODEPORT_ENDPOINTS,
    SET_NODEPORT_LOCAL_ENDPOINTS,
    SET_MAX
};
extern const char *const nft_table_set_names[SET_MAX];

/* A rule as expressions, and the anonymous sets it looks into (their ids are filled in when it is sent). */
struct nft_rule_set {
    struct nft_set set;
    struct str elements;
    size_t id_at;
};
struct nft_rule {
    struct str exprs;
    struct nft_rule_set sets[2];
    size_t n_sets;
};

enum nft_item_kind { ITEM_SET, ITEM_CHAIN, ITEM_ELEMENT, ITEM_LIST };
struct nft_item {
    enum nft_item_kind kind;
    bool shared;           /* several Services have the same */
    struct str name;       /* of sets and chains; of elements and lists: the map's number and the key, so that it is unique */
    uint64_t content[2];   /* of what stands below, hashed: equal means nothing is to be done (lists are compared whole) */
    struct nft_set set;    /* ITEM_SET */
    uint32_t keep_seconds; /* how long it remembers a client */
    struct nft_rule *rules; /* ITEM_CHAIN */
    size_t n_rules;
    enum nft_table_set map; /* ITEM_ELEMENT, ITEM_LIST */
    struct str element;     /* ITEM_ELEMENT: as messages have it */
    struct str front;       /* ITEM_LIST: the element that leads there; whose that is, theirs is the list */
    struct str endpoints;   /* ITEM_LIST: one after the other, sorted, as the map has them */
};
/* How long the data of an endpoint is. */
size_t nft_endpoint_size(bool six);

struct nft_items {
    struct arena *arena;
    struct nft_item *list;
    size_t n, cap;
};

void nft_items_of(const struct node_side *node, const struct service_ports *ports, struct nft_items *ret);
/* Makes the table anew in the batch: what was there is gone, base chains and empty maps stand. */
void nft_base(const struct node_side *node, struct nft_batch *b);
/* How many chains, rules and named sets nft_base makes. */
void nft_base_counts(const struct node_side *node, struct nft_counts *ret);
