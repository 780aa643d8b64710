/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The links of this node that addresses are announced on, and what is said and heard there. A link is one that others are
 * reached by: it is up, speaks Ethernet, is nobody's port, and has an address that is not the pods'.
 */
#pragma once

#include "announce/message.h"
#include "base/fiber.h"
#include "netlink/rtnl.h"

/* What links ask about addresses. Called in the loop; must not wait. */
enum links_ip { IP_STRANGE, IP_OURS, IP_WATCHED };
struct links_ops {
    enum links_ip (*knows)(void *ctx, const struct ip *ip);
    /* Somebody else said that it has an address, one of ours or one that is watched. */
    void (*heard)(void *ctx, const struct ip *ip);
};

struct links {
    const struct links_ops *ops;
    void *ctx;
    struct prefixes pods;      /* whose links are left out */
    const char *const *only;   /* names; NULL: all that suit */
    struct list list;          /* of struct link */
    struct arena arena;        /* networks */
    struct prefixes networks;  /* that the links are on, sorted */
};

void links_init(struct links *l);
void links_done(struct links *l);
/* Pure: would it be one of ours, by its addresses? */
bool link_suits(const struct rtnl_link *link, const struct rtnl_addresses *addresses, const struct prefixes *pods,
                const char *const *only);
/* Reads them from the kernel; opens what is new, closes what is gone. *ret_changed: there are new ones, or the networks
 * are others now. Waits. */
int links_refresh(struct links *l, bool *ret_changed, struct err *e);
/* The link hears questions for it from now on (IPv6); no more. */
void links_join(struct links *l, const struct ip *ip);
void links_leave(struct links *l, const struct ip *ip);
/* Tells everybody on all links that it is here. */
void links_tell(struct links *l, const struct ip *ip);
/* Asks on all links who has it. */
void links_ask(struct links *l, const struct ip *ip);
