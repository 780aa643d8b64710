/* SPDX-License-Identifier: Apache-2.0 */
/* Routes of the kernel's main table over rtnetlink. Ours carry a protocol number, so that nobody else's are
 * touched. */
#pragma once

#include "base/time.h"
#include "overlay/route.h"

/* Free in iproute2's rt_protos and in the kernel's list; for `ip route`: an entry "67 cube" in rt_protos.d
 * names it. */
#define OVERLAY_PROTOCOL 67

/* Our routes within these ranges (n 0: all of ours), sorted. Waits. */
int rtnl_read(struct arena *a, const struct prefixes *within, struct routes *ret, struct err *e);
/* One by one; results[i] is 0 or -errno of set[i], then of drop[i]; what is gone already is no error. Waits.
 */
int rtnl_apply(const struct route_changes *c, int *results, struct err *e);
/* A socket that becomes readable when links, addresses or routes change; close it with rtnl_unwatch. */
int rtnl_watch(int *ret_fd, struct err *e);
void rtnl_unwatch(int fd);
/* Waits for changes, takes all that are there, and says whether one may have cost us a route. */
int rtnl_wait(int fd, bool *ret_matters, struct mono deadline);
