/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which node says that it has a Service's address: every node finds the same answer for itself from the same objects, so
 * that nobody has to be asked, and a node that comes or goes moves only the addresses that it gets or had. Pure.
 */
#pragma once

#include "base/map.h"
#include "client/services.h"
#include "netlink/prefix.h"

#define ANNOUNCE_CLASS "cube.local/load-balancer"

/* A node that could. */
struct member {
    struct str node;
    struct prefixes networks; /* that its links are on */
};

/* The addresses of a Service that are for us to announce; at most n of them. How many there are. */
size_t service_addresses(const struct object *service, struct ip *ret, size_t n);
/* Of the members the one that announces it; NULL: nobody, since there is nothing behind the Service, or not there. With
 * externalTrafficPolicy Local, a node with endpoints of its own. A node that is on the address's own network goes before
 * one that is not: the others might not hear who asks. */
const struct member *choose_member(const struct service_entry *s, const struct ip *ip, const struct member *members,
                                   size_t n);
/* How many of the members go before self, all of them on the address's own network; -1: self is not for it. */
int member_rank(const struct service_entry *s, const struct ip *ip, const struct member *members, size_t n, struct str self);
/* May the node take part: it is not excluded by its label, and its network is there. */
bool node_takes_part(const struct val *node);

/* A key for maps. */
enum { IP_KEY_MAX = 17 };
struct str ip_map_key(const struct ip *ip, char ret[static IP_KEY_MAX]);
