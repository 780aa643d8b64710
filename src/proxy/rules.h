/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel should hold for one Service: a pure function of the Service, its EndpointSlices and the node. The
 * unit is an item: a chain with its rules, a set, or an element of a map or set. The table's fixed part (base chains,
 * maps) is rules_base().
 *
 * Lay-out, as kube-proxy's nftables mode: verdict maps from (address, protocol, port) and (protocol, port) to a chain
 * a Service port, so that the first packet costs two look-ups however many Services there are.
 */
#pragma once

#include "client/services.h"

enum item_kind { ITEM_SET, ITEM_CHAIN, ITEM_ELEMENT }; /* in the order in which they are added */

struct item {
    enum item_kind kind;
    struct str name; /* "svc-4ZK..." ; an element: "service_ips { 10.96.0.1 . tcp . 443 }" without braces' right side */
    struct str map;  /* ITEM_ELEMENT: the map or set */
    struct str key;  /* ITEM_ELEMENT: "10.96.0.1 . tcp . 443" */
    struct str body; /* chain: its rules, a line each; set: its definition; element: its verdict, empty in sets */
};

struct items {
    struct arena *arena;
    struct item *list;
    size_t n, cap;
};

struct rules_node {
    const char *name, *zone; /* zone "" when unknown */
    const char *cluster_cidr; /* of the family; NULL: none */
    bool six;                 /* IPv6: otherwise IPv4 */
    const char *const *skip_ips;
};

/* Items of one Service, in the arena of ret. e may have no Service: then there are none. */
void rules_of_service(const struct rules_node *node, const struct service_entry *e, struct items *ret);
/* The text that makes an empty table with its base chains, maps and sets, replacing one of that name. */
void rules_base(const struct rules_node *node, const char *table, struct buf *b);
/* Which endpoints take traffic: ready ones, or when there is none the terminating ones that still serve. Sorted. */
struct rules_endpoint {
    struct str ip;
    uint16_t port;
    bool local;
};
size_t rules_endpoints(const struct rules_node *node, const struct service_entry *e, const struct val *service_port,
                       bool local_only, struct arena *a, struct rules_endpoint **ret);
