/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which nodes are there to announce addresses. Each keeps a Lease in a namespace for that alone, with the networks that it
 * is on. How old a claim is is measured by one's own clock from when it was last seen to change (as client/leader.h does),
 * so clocks of different machines need not agree. Pure but for the memory.
 */
#pragma once

#include "announce/plan.h"
#include "base/time.h"
#include "client/client.h"

#define ANNOUNCE_NAMESPACE "cube-announce"

struct members {
    struct str self; /* this node */
    struct map all;  /* node -> struct member_state */
};
void members_done(struct members *m);
/* Follows the Leases. True when who is there, or what networks they are on, is other now than before. When we see our own
 * life again after a silence, nobody could be seen meanwhile: who was there gets as long as anew. */
bool members_change(struct members *m, const struct object *old, const struct object *new_, struct mono now);
/* Takes note of those that are silent; true when there were any. *ret_next: when to look again. */
bool members_expire(struct members *m, struct mono now, struct mono *ret_next);
/* Do we see our own signs of life? Else what we know of others is old. */
bool members_self_present(const struct members *m);
/* Those that are there, in an array in the arena (borrowed otherwise); silent: and those that were. */
struct member *members_list(const struct members *m, bool silent, struct arena *a, size_t *ret_n);

/* The Lease of a node (NULL: has none yet) as it shall be now. node may be NULL: nobody removes the Lease then. */
struct val *member_lease(struct arena *a, const struct val *lease, const struct val *node, struct str name,
                         const struct prefixes *networks, int64_t duration_ns, struct wall now);
