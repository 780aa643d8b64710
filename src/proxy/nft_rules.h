/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nftables mode wants in its table: a pure function of service ports. The unit is an item: a chain with its rules,
 * a set, or an element of one of the table's maps. The table's fixed part is nft_base().
 *
 * Lay-out and names follow kube-proxy's nftables mode: verdict maps from (address, protocol, port) and (protocol, port)
 * to a chain a Service port, so that the first packet of a connection costs two look-ups however many Services there are.
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

enum nft_item_kind { ITEM_SET, ITEM_CHAIN, ITEM_ELEMENT };
struct nft_item {
    enum nft_item_kind kind;
    struct str name;         /* of sets and chains; of elements: the set's number and the key, so that it is unique */
    uint64_t content[2];     /* of what stands below, hashed: equal means nothing is to be done */
    struct nft_set set;      /* ITEM_SET */
    struct nft_rule *rules;  /* ITEM_CHAIN */
    size_t n_rules;
    enum nft_table_set map;  /* ITEM_ELEMENT */
    struct str element, key; /* ITEM_ELEMENT: as messages have it, whole and with the key only */
};

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
