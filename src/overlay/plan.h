/* SPDX-License-Identifier: Apache-2.0 */
/* What a node's kernel must have, from the nodes; and what must change for it to have that. Pure: no kernel here. */
#pragma once

#include "overlay/peer.h"

/* A forwarding entry, a neighbour or a route of the kernel. */
enum entry_kind { ENTRY_FORWARD, ENTRY_NEIGHBOUR, ENTRY_ROUTE };
struct entry {
    uint8_t kind;       /* enum entry_kind, in the order of making */
    uint8_t protocol;   /* ROUTE, of what is there */
    bool onlink;        /* ROUTE: by the device, whose network the gateway is not on */
    int device;         /* VXLAN device; 0: a plain route */
    struct prefix to;   /* ROUTE: the range; NEIGHBOUR: the address */
    uint8_t mac[6];     /* FORWARD: of which frames; NEIGHBOUR: its answer */
    struct ip via;      /* ROUTE: gateway; FORWARD: where the frames go */
    bool replaces;      /* of a change: one of ours is there already */
};
struct entries {
    struct entry *list;
    size_t n;
};

/* The VXLAN device of a family. */
struct device {
    int index; /* 0: there is none */
    char name[16];
    uint8_t mac[6];
    uint32_t mtu;
};

struct plan_input {
    const struct netconf *conf;
    const struct peer *self;       /* NULL: not known yet */
    const struct peer *peers;      /* by age */
    size_t n;
    const struct prefixes *within; /* ranges of all pods; n 0: any */
    struct device devices[FAMILIES];
    struct prefixes networks; /* those this machine is on: their addresses need no gateway */
};
/* A range that no node may have: another has it or a part of it. */
struct refusal {
    struct str node, other; /* other: this node's name or the older node's */
    struct prefix range;
};
struct plan {
    struct entries want; /* sorted */
    struct refusal *refused;
    size_t n_refused;
};
/* host-gw: every range via the node's address. vxlan: via the range's first address, which the device answers for by
 * the node's hardware address, whose frames go to the node's address; nodes of our own networks plainly (DirectRouting).
 * Ranges outside of `within` are not made. Of ranges that overlap, the older node's stays, and our own before all. */
void plan_make(struct arena *a, const struct plan_input *in, struct plan *ret);

struct entry_changes {
    struct entries set, drop; /* in the order of doing */
};
void entries_sort(struct entries *e);
void entries_compare(struct arena *a, const struct entries *have, const struct entries *want,
                     struct entry_changes *ret);

#define ENTRY_TEXT_MAX 160
/* "10.244.1.0/24 via 10.0.0.2"; "... via 10.244.1.0 device 7"; "10.244.1.0 is aa:..."; "aa:... at 10.0.0.2" */
const char *entry_text(const struct entry *e, char ret[static ENTRY_TEXT_MAX]);
