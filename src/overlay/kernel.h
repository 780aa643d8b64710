/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's side: which link packets leave by, the VXLAN devices, and what they and the routes hold. */
#pragma once

#include "base/flags.h"
#include "netlink/rtnl.h"
#include "overlay/plan.h"

/* Routes of ours carry this, so that nobody else's are touched. Free in iproute2's rt_protos and in the kernel's list; for
 * `ip route`: an entry "67 cube" in rt_protos.d names it. */
enum { OVERLAY_PROTOCOL = 67 };
/* The alias of devices of ours and the name of our table: "cube-overlay-10.244.0.0/16" after the first of the pods' ranges
 * (none: without it), so that clusters can share a machine. */
#define OVERLAY_NAME "cube-overlay"
enum { OVERLAY_NAME_MAX = 16 + IP_TEXT_MAX };
const char *overlay_name(const struct prefixes *within, char ret[static OVERLAY_NAME_MAX]);

/* Which link packets for other nodes leave by, in the order of looking: names or addresses, patterns of either, the link
 * towards an address; else the one with the node's own address; else the one of the default route. */
struct uplink_choice {
    const struct flag_list *links, *patterns;
    const char *can_reach;
    struct ip public[FAMILIES]; /* what others are told; family 0: the link's address */
};
struct uplink {
    int link;
    char name[IFNAMSIZ];
    uint32_t mtu;
    struct ip address[FAMILIES]; /* family 0: none */
};
/* Pure: of what the kernel has. -ENODEV with a sentence. */
int uplink_find(const struct uplink_choice *choice, const struct peer *self, const struct rtnl_links *links,
                const struct rtnl_addresses *addresses, const struct rtnl_routes *routes, struct uplink *ret,
                struct err *e);
/* Whether this kernel ("5.4.0-42-generic") makes wrong checksums when a packet is masqueraded and then put into a VXLAN
 * by a device that is to make them. Pure. */
bool kernel_spoils_checksums(const char *release);

/* What we know of the kernel between two looks. */
struct kernel {
    struct arena arena;
    struct uplink uplink;
    struct device devices[FAMILIES];
    struct prefixes networks;
    struct entries have; /* sorted */
    bool looked;
};
void kernel_done(struct kernel *k);

struct kernel_sync {
    const struct netconf *conf;
    const struct uplink_choice *choice;
    const struct peer *self; /* NULL: not known yet */
    const struct peer *peers;
    size_t n;
    const struct prefixes *within;
    bool look;                     /* the kernel may have changed under us: read it first */
    /* out; in the arena */
    struct arena *arena;
    struct plan plan;
    struct entry_changes changes;
    int *results; /* of changes.set, then of changes.drop: 0 or -errno */
    bool failing;
};
/* Brings the kernel to what it must have. Waits. What fails singly is in results. */
int kernel_sync(struct kernel *k, struct kernel_sync *s, struct err *e);
/* Removes the devices of the cluster with these ranges, and routes of ours into them (n 0: of all clusters). Waits. */
int kernel_cleanup(const struct prefixes *within, struct err *e);
/* Whether a change of the kernel may have cost us something. h NULL: changes were lost. */
bool kernel_change_matters(const struct kernel *k, const struct nlmsghdr *h);
