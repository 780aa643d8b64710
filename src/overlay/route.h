/* SPDX-License-Identifier: Apache-2.0 */
/* Which routes a node wants, and what must change for it to have them. Pure: no kernel here. */
#pragma once

#include "base/err.h"
#include "type/tree.h"

#include <netinet/in.h>

struct ip {
    uint8_t family; /* AF_INET, AF_INET6 */
    uint8_t b[16];  /* network order; the first 4 for AF_INET */
};
struct prefix {
    struct ip ip; /* bits beyond the prefix are zero */
    uint8_t bits;
};
struct route {
    struct prefix to;
    struct ip via;
    bool replaces; /* of a change: one of ours leads there already */
};
struct routes {
    struct route *list;
    size_t n;
};
struct prefixes {
    struct prefix *list;
    size_t n;
};

bool ip_parse(struct str text, struct ip *ret);
bool prefix_parse(struct str text, struct prefix *ret);
bool prefix_contains(const struct prefix *outer, const struct prefix *inner);
/* "10.244.1.0/24,fd00::/56"; -EINVAL with a sentence. NULL: none. */
int prefixes_parse(struct arena *a, const char *list, struct prefixes *ret, struct err *e);

/* Another node, as far as the network goes. */
struct peer {
    struct str name;
    struct prefixes pods;
    struct ip address4, address6; /* InternalIP; family 0: none */
};
/* Whether a change of a Node means anything to us. Either may be NULL. */
bool peer_differs(const struct object *old, const struct object *new_);
/* Every node but self that has both ranges and an address of their family. */
size_t peers_of_nodes(struct arena *a, const struct tree *nodes, struct str self, struct peer **ret);

/* host-gw: every range within `within` (n 0: any) via the node's own address of that family. Sorted; of nodes
 * that claim the same range the first by name has it. */
void routes_wanted(struct arena *a, const struct peer *peers, size_t n, const struct prefixes *within,
                   struct routes *ret);

/* What to add (or replace, when the way has changed) and what to remove. Both inputs sorted by routes_sort.
 */
struct route_changes {
    struct routes set, drop;
};
void routes_sort(struct routes *r);
void routes_compare(struct arena *a, const struct routes *have, const struct routes *want,
                    struct route_changes *ret);

#define ROUTE_TEXT_MAX 120
const char *route_text(const struct route *r,
                       char ret[static ROUTE_TEXT_MAX]); /* "10.244.1.0/24 via 10.0.0.2" */
